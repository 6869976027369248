"""How soon does it start: a command, the first call after `dialer start`, and all of it from nothing?

    python bench/start.py [--recipients 30000] [--rounds 3] [--database sqlite|postgresql]

Loads so many recipients into one campaign. Then, everything with default settings, but in the sandbox:

- `dialer …`: the processors' time (user and system) of the whole process, Python's own start included;
- after `dialer start`: all processes of `dialer up` run already. Seconds from the command until the stand-in
  for Amazon Connect got the first call, by its journal. Then the campaign is paused, and started once more;
- from nothing, `dialer up`: everybody waits in a running campaign. Seconds from the command until the first
  call; Redis, the stand-in, the workers and the scheduler are all started in them;
- from nothing, `dialer run`: the same for a list of ten, with an SQLite ledger that is made for it.

For comparison bench/_plain_peer.py: its imports alone; one task sent, and its worker running already; and its
worker started, with the task waiting, in a Redis and beside a stand-in that run already. Prints a table in
Markdown, the ratios of the medians in the last column.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import IO

from _ground import postgresql
from _office import ANSWERED, Office, Stolen, markdown
from load import AREAS, folder
from phonenumbers import PhoneNumber, is_valid_number

from worker.settings import DialerSettings

BENCH = Path(__file__).resolve().parent
PATIENCE_SECONDS = 120.0


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--recipients", type=int, default=30_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    options = parser.parse_args()
    rounds, stolen = range(options.rounds), Stolen()
    # More than the calls of all rounds: those of one shall not hold up the next.
    settings: dict[str, object] = {"DIALER_MAX_ACTIVE_CALLS": 1000}
    with ExitStack() as end:
        home = end.enter_context(folder())
        if options.database == "postgresql":
            settings["DIALER_DATABASE_URL"] = end.enter_context(postgresql(home))
        here = Office(home, numbers(options.recipients), settings)
        print(markdown("what", "least", "median", "longest", "to compare"))
        print(markdown("---", *["--:"] * 3, "---"), flush=True)
        commands(rounds)
        peer = Peer(here)
        started, sent = [], []
        with here.up():
            with peer.worker():
                peer.sends()
                for _ in rounds:
                    started.append(after_start(here))
                    sent.append(peer.sends())
            began = [peer.begins() for _ in rounds]
        tell("a plain one, after a task was sent", sent)
        tell("after `dialer start`", started, sent)
        here.dialer("start", "bench", "--sandbox")
        up = [from_nothing(here) for _ in rounds]
        tell("a plain one, its worker started", began)
        tell("from nothing, `dialer up`", up, began)
        tell("from nothing, `dialer run`", [run(here, home / f"run-{n}") for n in rounds], began)
    print(f"\n{options.recipients:,} recipients, {options.database}; stolen {stolen}")


def numbers(wanted: int) -> Iterator[Mapping[str, object]]:
    """A list of so many numbers of North America, which a person answers in the sandbox."""
    # Some islands have numbers of their own form.
    areas = [area for area in AREAS if is_valid_number(PhoneNumber(1, area * 10**7 + 2_000_000))]
    for n in range(wanted):
        line, area = divmod(n, len(areas))
        yield {"phone": f"+1{areas[area]}{20_000 + line // len(ANSWERED)}{line % len(ANSWERED):02}"}


def commands(rounds: Sequence[int]) -> None:
    """What commands cost that are over at once, by turns."""
    plain = ["-c", "from celery import Celery; import boto3, csv, phonenumbers, sqlite3"]
    ours = {
        "`dialer --help`": ["--help"],
        "`dialer status --help`": ["status", "--help"],
        "`dialer bogus`": ["bogus"],
        "`dialer run nowhere.toml list.csv`": ["run", "nowhere.toml", "list.csv"],
        "`dialer status nobody`": ["status", "nobody"],
    }
    taken: dict[str, list[float]] = {"a plain one, its imports": [], **{name: [] for name in ours}}
    for _ in range(2 * len(rounds)):
        taken["a plain one, its imports"].append(cpu_seconds(plain))
        for name, words in ours.items():
            taken[name].append(cpu_seconds(["-m", "worker.cli", *words]))
    for name, seconds in taken.items():
        against = None if name.startswith("a plain one") else taken["a plain one, its imports"]
        tell(f"{name}, CPU", seconds, against)


def cpu_seconds(arguments: Sequence[str]) -> float:
    """The processors' time of a Python process, whatever it says and however it ends."""
    nowhere = {"PYTHONPATH": str(BENCH.parent), "DIALER_DATA_DIR": "/nowhere"}
    before = os.times()
    subprocess.run([sys.executable, *arguments], env=os.environ | nowhere, capture_output=True)
    after = os.times()
    user, system = after.children_user - before.children_user, after.children_system - before.children_system
    return user + system


def after_start(here: Office) -> float:
    """Seconds from `dialer start` until the first call. The campaign is paused again, and at rest."""
    with next_call(here.data) as seconds:
        here.dialer("start", "bench", "--sandbox")
        found = next(seconds)
    here.dialer("pause", "bench")
    at_rest(here)
    return found


def from_nothing(here: Office) -> float:
    """Seconds from `dialer up` until the first call."""
    with next_call(here.data) as seconds, here.up():
        return next(seconds)


def run(here: Office, home: Path) -> float:
    """Seconds from `dialer run` until the first call, in a folder where nothing is."""
    home.mkdir()
    rows = islice(numbers(100), 10)
    (home / "list.csv").write_text("\n".join(["phone", *(str(row["phone"]) for row in rows)]))
    environment = here._environment | {"DIALER_DATA_DIR": str(home / "data"), "DIALER_DATABASE_URL": ""}
    words = ["-m", "worker.cli", "run", str(here.home / "campaign.toml"), "list.csv", "--sandbox"]
    with next_call(home / "data") as seconds, (home / "said.txt").open("wb") as said:
        process = subprocess.Popen(
            [sys.executable, *words], cwd=home, env=environment, stdout=said, stderr=said
        )
        try:
            return next(seconds)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()


class Peer:
    """The plain dialer, beside a running one, whose Redis and stand-in it uses."""

    def __init__(self, here: Office) -> None:
        self._here = here
        self._numbers = (str(row["phone"]) for row in islice(numbers(10**6), 10**5, None))

    @contextmanager
    def worker(self) -> Iterator[None]:
        """Its worker, started; with as many processes as there are processors."""
        command = ["-m", "celery", "-A", "_plain_peer", "worker"]
        with (self._here.home / "peer.log").open("wb") as log:
            process = self._start(command, log)
            try:
                yield
            finally:
                process.terminate()
                process.wait()

    def sends(self) -> float:
        """Seconds from its command that sends a task until the call."""
        with next_call(self._here.data) as seconds:
            self._send()
            return next(seconds)

    def begins(self) -> float:
        """Seconds from the start of its worker until the call whose task waits."""
        self._send()
        with next_call(self._here.data) as seconds, self.worker():
            return next(seconds)

    def _send(self) -> None:
        (self._here.home / "one.csv").write_text(f"phone\n{next(self._numbers)}\n")
        self._start(["-m", "_plain_peer", "one.csv"]).wait()

    def _start(self, words: Sequence[str], log: IO[bytes] | None = None) -> subprocess.Popen[bytes]:
        socket = DialerSettings(data_dir=self._here.data).runtime_dir / "valkey.sock"
        port = (self._here.data / "sandbox.port").read_text()
        environment = self._here._environment | {
            "PYTHONPATH": str(BENCH),
            "PEER_BROKER": f"redis+socket://{socket}",
            "AWS_ENDPOINT_URL_CONNECT": f"http://127.0.0.1:{port}",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "sandbox",
            "AWS_SECRET_ACCESS_KEY": "sandbox",
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }
        command = [sys.executable, *words]
        return subprocess.Popen(command, cwd=self._here.home, env=environment, stdout=log, stderr=log)


@contextmanager
def next_call(data: Path) -> Iterator[Iterator[float]]:
    """Gives what waits for the next call that the stand-in gets, and says after how many seconds it came."""
    journal = data / "sandbox-journal.jsonl"
    written = journal.stat().st_size if journal.exists() else 0
    began = time.time()

    def wait() -> Iterator[float]:
        while time.time() < began + PATIENCE_SECONDS:
            if journal.exists() and journal.stat().st_size > written:
                with journal.open() as file:
                    file.seek(written)
                    lines = file.read().splitlines(keepends=True)
                if lines[0].endswith("\n"):
                    yield json.loads(lines[0])["epoch"] - began
            time.sleep(0.02)
        raise SystemExit(f"no call within {PATIENCE_SECONDS:.0f} s")

    yield wait()


def at_rest(here: Office) -> None:
    """Wait until no call has come for two seconds."""
    journal, since, size = here.data / "sandbox-journal.jsonl", time.monotonic(), -1
    while time.monotonic() < since + 2:
        if journal.stat().st_size != size:
            since, size = time.monotonic(), journal.stat().st_size
        time.sleep(0.1)


def tell(what: str, seconds: Sequence[float], against: Sequence[float] | None = None) -> None:
    """Print a row of the table."""
    figures = (f"{least:.2f} s" for least in (min(seconds), statistics.median(seconds), max(seconds)))
    ratio = f"{statistics.median(seconds) / statistics.median(against):.2f}×" if against else ""
    print(markdown(what, *figures, ratio), flush=True)


if __name__ == "__main__":
    main()
