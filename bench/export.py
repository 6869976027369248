"""How fast is `dialer export`, and does its memory stay flat?

    python bench/export.py [--recipients 100000 1000000]

Writes campaigns of so many recipients straight into an SQLite ledger, two attempts for every third of them,
and exports each: as CSV and as JSON Lines, to a file and to standard output. Rows a second are those of the
whole command, its start included; memory is the peak of its process (ru_maxrss).
"""

import argparse
import json
import os
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from _office import markdown

from campaigns.campaign import Campaign
from campaigns.ledger import open_ledger
from campaigns.ledger.lists import put_list
from campaigns.ledger.tables import microseconds

ROOT = Path(__file__).resolve().parents[1]
CAMPAIGN = {
    "name": "bench",
    "connect": {
        "instance_id": "10a4c4eb-f57e-4d4c-b602-bf39176ced07",
        "contact_flow_id": "b0b8f2dd-ed1b-4c44-af36-ce189a178181",
        "source_phone_number": "+14155550199",
    },
}
COLUMNS = ("phone", "first_name", "city", "appointment_at")


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--recipients", type=int, nargs="+", default=[100_000, 1_000_000])
    print(markdown("recipients", "format", "to", "seconds", "rows/s", "peak memory", "size"))
    print(markdown(*["---"] * 2, "---", *["---:"] * 4))
    for recipients in parser.parse_args().recipients:
        with tempfile.TemporaryDirectory(prefix="dialer-bench-") as folder:
            fill(Path(folder) / "ledger.sqlite", recipients)
            for written_as in ("csv", "jsonl"):
                for to in ("file", "stdout"):
                    seconds, peak, size = exported(Path(folder), written_as, to, recipients)
                    rate = f"{recipients / seconds:,.0f}"
                    figures = (f"{seconds:.1f}", rate, f"{peak / 1e6:.0f} MB", f"{size / 1e6:.0f} MB")
                    print(markdown(f"{recipients:,}", written_as, to, *figures), flush=True)


def fill(path: Path, count: int) -> None:
    """A ledger with one campaign of so many recipients, who have been called."""
    now = datetime.now(UTC)
    with closing(open_ledger(f"sqlite:///{path}")) as ledger:
        campaign = Campaign.model_validate(CAMPAIGN)
        put_list(ledger, campaign, [], file_name="people.csv", columns=COLUMNS, now=now)
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA synchronous = OFF")
        db.executemany(
            "INSERT INTO recipients (id, run_id, load_id, line, key, phone, attributes, row, state, due_at,"
            " attempts) VALUES (?, 1, 1, ?, ?, ?, '{}', ?, 'done', 0, ?)",
            people(count),
        )
        db.executemany(
            "INSERT INTO attempts (run_id, recipient_id, number, client_token, state, fence, lease_until,"
            " queued_at, dialing_at, placed_at, ended_at, contact_id, outcome, follows)"
            " VALUES (1, ?1, ?2, ?3, 'ended', 1, ?4, ?4, ?4, ?4, ?4, ?3, 'answered', 1)",
            attempts(count, microseconds(now)),
        )
        db.commit()


def tries(person: int) -> int:
    """How often somebody was called."""
    return 2 if person % 3 == 0 else 1


def people(count: int) -> Iterator[tuple[object, ...]]:
    """Rows of `recipients`."""
    for n in range(1, count + 1):
        phone = f"+1415{n:07}"
        cells = (phone, f"Zoë {n}", "San José", "2026-03-02 09:30")
        row = json.dumps(dict(zip(COLUMNS, cells, strict=True)), ensure_ascii=False)
        yield n, n + 1, f"appointment-{n}", phone, row, tries(n)


def attempts(count: int, at: int) -> Iterator[tuple[object, ...]]:
    """Rows of `attempts`."""
    for n in range(1, count + 1):
        for number in range(1, tries(n) + 1):
            yield n, number, f"{n:028}-{number:07}", at


def exported(folder: Path, written_as: str, to: str, count: int) -> tuple[float, int, int]:
    """(seconds, peak bytes of memory, bytes written) of one command, in a process of its own."""
    results = folder / f"results.{written_as}"
    command = [sys.executable, "-m", "worker.cli", "export", "bench"]
    command += ["-o", str(results)] if to == "file" else ["--format", written_as]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("DIALER_")}
    environment = {**clean, "PYTHONPATH": str(ROOT), "DIALER_DATA_DIR": str(folder)}
    out = os.open(results if to == "stdout" else os.devnull, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    began = time.perf_counter()
    child = os.posix_spawn(sys.executable, command, environment, file_actions=[(os.POSIX_SPAWN_DUP2, out, 1)])
    # Not subprocess: only wait4 tells the peak of this one child.
    _, status, usage = os.wait4(child, 0)
    seconds = time.perf_counter() - began
    os.close(out)
    if status:
        raise SystemExit("dialer export failed")
    with results.open("rb") as file:
        lines = sum(1 for _ in file)
    if lines != count + (written_as == "csv"):
        raise SystemExit(f"{count:,} rows were to be exported, and there are {lines:,} lines")
    # Linux counts in KiB, macOS in bytes.
    unit = 1 if sys.platform == "darwin" else 1024
    return seconds, usage.ru_maxrss * unit, results.stat().st_size


if __name__ == "__main__":
    main()
