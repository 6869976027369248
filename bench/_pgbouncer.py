"""A real PgBouncer in front of a server's Unix socket, as a user without rights. It must be installed."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

_SETTINGS = """
[databases]
* = host={socket_dir} port=5432
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
max_client_conn = 500
default_pool_size = 60
logfile = {home}/log
pidfile = {home}/pid
"""


class PgBouncer:
    """One pooler on a port of its own."""

    def __init__(self, home: Path, socket_dir: str, mode: str, user: str) -> None:
        self._user = user
        with closing(socket.create_server(("127.0.0.1", 0))) as free:
            self.port = free.getsockname()[1]
        self._file = home / "pgbouncer.ini"
        text = _SETTINGS.format(socket_dir=socket_dir, port=self.port, mode=mode, home=home)
        # `any` needs a user for the server's side, where a client's name is not asked for.
        self._file.write_text(text.replace("port=5432\n", "port=5432 user=postgres\n"))
        home.chmod(0o755)
        if os.geteuid() == 0:
            shutil.chown(home, user)
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it takes connections."""
        user = ["-u", self._user] if os.geteuid() == 0 else []
        self._process = subprocess.Popen(
            ["pgbouncer", "-q", *user, str(self._file)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        until = time.monotonic() + 10
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.1)

    def kill(self) -> None:
        """End it, and every connection through it."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    @contextmanager
    def suspended(self) -> Iterator[None]:
        """It takes connections and packets, and does nothing."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)


@contextmanager
def pgbouncer(socket_dir: str, mode: str, user: str) -> Iterator[PgBouncer]:
    """A pooler in `session` or `transaction` mode. As root it runs as a user who may enter `socket_dir`."""
    with tempfile.TemporaryDirectory(prefix="pgbouncer-", dir="/tmp") as home:
        pooler = PgBouncer(Path(home), socket_dir, mode, user)
        pooler.start()
        try:
            yield pooler
        finally:
            pooler.kill()
