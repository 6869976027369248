"""A list waits in a table of its own until all of it is read.

Only this connection can see the table, so that reading and checking a long file holds no lock on the ledger,
and a load that is killed leaves nothing behind: the database drops the table itself.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from json.encoder import encode_basestring
from typing import Any

from sqlalchemy import Connection, text

from campaigns.ledger.engine import LedgerUnavailable, begun
from campaigns.ledger.tables import AT_ONCE, microseconds
from campaigns.recipient import Recipient

_BATCH = 2_000  # rows that are held in memory at once

_STAGING = """
    CREATE TEMPORARY TABLE staging (
        line INTEGER NOT NULL, key TEXT NOT NULL, phone TEXT NOT NULL,
        time_zone TEXT, zones TEXT, appointment_at BIGINT, reminder TEXT, due_at BIGINT NOT NULL,
        expires_at BIGINT, attributes JSON NOT NULL, "row" JSON NOT NULL,
        list_key TEXT, dated_key TEXT, enter_as TEXT
    )
"""
_PUT = "INSERT INTO staging VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"

_SQLITE_CACHE_KIB = 64_000
"""A list's numbers go into the indexes in no order: what does not stay in memory is written many times."""

_AT_ONCE = microseconds(AT_ONCE)


@dataclass(slots=True)
class Rejections:
    """What is known of the rows that were not handed on; `stage` reads it along with the recipients."""

    count: int = 0
    appointments: list[tuple[int, str, datetime]] = field(default_factory=list)
    """(line, key, time) of rejected rows with an appointment: nobody is called for another time of theirs."""


def stage(db: Connection, people: Iterable[Recipient], rejections: Rejections) -> int:
    """Write the recipients to a table `staging` of this connection. Returns how many rows of the list.

    Between the batches, while `people` is read, no transaction is open. Raises LedgerUnavailable.
    """
    with begun(db, "DEFERRED"):
        db.execute(text(_STAGING))
        if db.dialect.name == "sqlite":
            db.exec_driver_sql(f"PRAGMA cache_size = -{_SQLITE_CACHE_KIB}")
    staged, line, stream = 0, 0, iter(people)
    while True:
        rows = []
        for person in islice(stream, _BATCH):
            rows.append(_row(person))
            # Several reminders of one appointment are one row.
            staged += person.reminder is None or person.line != line
            line = person.line
        if not rows:
            break
        _put(db, rows)
        _put_rejected(db, rejections)
    _put_rejected(db, rejections)
    if db.dialect.name == "sqlite":
        with begun(db, "DEFERRED"):
            # Or a million rows would be sorted while everybody waits for the ledger's lock.
            db.execute(text("CREATE INDEX staging_line ON staging (line)"))
    return staged


def as_json(cells: dict[str, str]) -> str:
    """Just what json.dumps makes of it with ensure_ascii=False, which takes twice as long."""
    pairs = [f"{encode_basestring(name)}: {encode_basestring(cell)}" for name, cell in cells.items()]
    return f"{{{', '.join(pairs)}}}"


def _row(person: Recipient) -> tuple[Any, ...]:
    """In the order of the table's columns."""
    at = person.appointment_at
    return (
        person.line,
        person.key,
        person.phone,
        person.time_zone,
        person.zones,
        None if at is None else microseconds(at),
        person.reminder,
        # Not the present: were this clock ahead, nobody would be due when it is put back.
        _AT_ONCE if person.due_at is None else microseconds(person.due_at),
        None if person.expires_at is None else microseconds(person.expires_at),
        as_json(person.attributes),
        as_json(person.row),
        None if at is None else _list_key(person),
        None if at is None else f"{person.key} {at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
        person.key,
    )


def _list_key(person: Recipient) -> str:
    """The key as the list has it."""
    return person.key if person.reminder is None else person.key.removesuffix(f" {person.reminder}")


def _put_rejected(db: Connection, rejections: Rejections) -> None:
    """The times of rejected rows, which are entered as nobody: that the list has them is what counts."""
    if not rejections.appointments:
        return
    # Without a key, or they would keep out a good row further down.
    rows = [
        (line, "", "", None, None, microseconds(at), None, 0, None, "{}", "{}", key, None, None)
        for line, key, at in rejections.appointments
    ]
    rejections.appointments.clear()
    for first in range(0, len(rows), _BATCH):
        _put(db, rows[first : first + _BATCH])


def _put(db: Connection, rows: list[tuple[Any, ...]]) -> None:
    with begun(db, "DEFERRED"):
        if db.dialect.name == "sqlite":
            db.exec_driver_sql(_PUT, rows)
            return
        driver: Any = db.dialect.loaded_dbapi
        try:
            with db.connection.cursor().copy("COPY staging FROM STDIN") as copy:
                for row in rows:
                    copy.write_row(row)
        except (driver.OperationalError, driver.InterfaceError, driver.InternalError) as error:
            # Its first line: in those that follow stands the row at which it happened.
            why = str(error).partition("\n")[0]
            raise LedgerUnavailable(f"the ledger's database does not answer: {why}") from None
