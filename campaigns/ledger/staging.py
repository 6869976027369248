"""A list waits in a temporary table until all of it is read (preparation.py)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from json.encoder import encode_basestring
from typing import Any

from sqlalchemy import Connection, text

from campaigns.ledger.engine import LedgerUnavailable
from campaigns.ledger.postgresql import POOLER
from campaigns.ledger.preparation import create_temporary, step
from campaigns.ledger.tables import AT_ONCE, microseconds
from campaigns.recipient import Recipient
from campaigns.same_telephone import forms

_STAGING = """
    CREATE TEMPORARY TABLE staging (
        line INTEGER NOT NULL, key TEXT NOT NULL, phone TEXT NOT NULL,
        time_zone TEXT, zones TEXT, appointment_at BIGINT, reminder TEXT, due_at BIGINT NOT NULL,
        expires_at BIGINT, attributes JSON NOT NULL, "row" JSON NOT NULL,
        list_key TEXT, dated_key TEXT, enter_as TEXT, other_key TEXT, third_key TEXT
    )
"""
# Keys of rejected rows: their recipients are on the list, whatever is wrong with the rest of the row.
_UNREADABLE = 'CREATE TEMPORARY TABLE unreadable (key TEXT NOT NULL, "row" JSON)'
_PUT = "INSERT INTO staging VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"

_MEMORY = {
    # A list's numbers go into the indexes in no order: what does not stay in memory is written many times.
    "sqlite": "PRAGMA cache_size = -64000",
    # For this table alone; it is 8 MB, and everything goes through a file before it is entered.
    "postgresql": "SET LOCAL temp_buffers = '64MB'",
}
"""What gives this connection 64 MB to work in."""

_AT_ONCE = microseconds(AT_ONCE)
_NO_OTHERS = (None, None)


Row = tuple[Any, ...]
"""One recipient, in the order of the staging table's columns."""


class Miscounted(Exception):
    """The database has other rows than those of the list. The text says how many; nothing was loaded."""


@dataclass(slots=True)
class Batch:
    """Some rows of a list."""

    rows: list[Row] = field(default_factory=list)
    """Those who can be called: a row for each reminder of theirs."""
    accepted: int = 0
    """How many rows of the list that are."""
    rejected: int = 0
    rejected_keys: list[str] = field(default_factory=list)
    """The keys of rejected rows, where they can be read."""
    rejected_rows: list[tuple[str, str]] = field(default_factory=list)
    """(key, cells as JSON) of rejected rows whose keys can be read, as the list has them."""
    appointments: list[tuple[int, str, datetime]] = field(default_factory=list)
    """(line, key, time) of rejected rows with an appointment: nobody is called for another time of theirs."""

    def reject(self, key: str, cells: dict[str, str]) -> None:
        """Note the key and the cells of a rejected row."""
        self.rejected_rows.append((key, as_json(cells)))

    def accept(self, row: Sequence[Recipient]) -> None:
        """Add a row of the list: the recipients that it makes."""
        self.rows += map(_row, row)
        self.accepted += 1


def stage(db: Connection, batches: Iterable[Batch], *, by_key: bool = False) -> tuple[int, int]:
    """Write a list to a table `staging`. Returns how many rows are accepted and rejected.

    In a preparation, before anything else of it. The keys of rejected rows go to a table `unreadable`.
    `by_key`: there are recipients in the run already, with whom the list will be compared. Raises
    LedgerUnavailable, and Miscounted if the table does not hold what was sent.
    """
    with step(db):
        # Before the table: afterwards PostgreSQL does not change it any more. A pooler's session is not ours,
        # may have had temporary tables already, and would keep the memory for good.
        if not db.info.get(POOLER):
            db.exec_driver_sql(_MEMORY[db.dialect.name])
        create_temporary(db, _STAGING)
        create_temporary(db, _UNREADABLE)
    accepted = rejected = sent = 0
    for batch in batches:
        _put(db, batch.rows)
        _put(db, [_row_of_nobody(*each) for each in batch.appointments])
        _put_keys(db, [*((key, None) for key in batch.rejected_keys), *batch.rejected_rows])
        sent += len(batch.rows) + len(batch.appointments)
        accepted += batch.accepted
        rejected += batch.rejected
    with step(db):
        staged = int(db.execute(text("SELECT count(*) FROM staging")).scalar_one())
        if staged != sent:
            raise Miscounted(
                f"{sent:,} rows were sent to the ledger's database, and it has {staged:,}; nothing was loaded"
            )
        if db.dialect.name == "sqlite":
            # Or a million rows would be sorted while everybody waits for the ledger's lock.
            db.execute(text("CREATE INDEX staging_line ON staging (line)"))
            if by_key:
                index_keys(db)
    return accepted, rejected


def index_keys(db: Connection) -> None:
    """Let the staged list be looked through by its keys."""
    db.execute(text("CREATE INDEX IF NOT EXISTS staging_key ON staging (key, line)"))


def as_json(cells: dict[str, str]) -> str:
    """Just what json.dumps makes of it with ensure_ascii=False, which takes twice as long."""
    pairs = [f"{encode_basestring(name)}: {encode_basestring(cell)}" for name, cell in cells.items()]
    return f"{{{', '.join(pairs)}}}"


def _row(person: Recipient) -> Row:
    """A recipient laid out for `stage`."""
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
        *(_NO_OTHERS if at is not None or person.key != person.phone else _other_keys(person.phone)),
    )


def _other_keys(phone: str) -> tuple[str | None, str | None]:
    """The other numbers of a telephone whose number is the key."""
    _, *others = forms(phone)
    return (*others, None, None)[:2] if others else _NO_OTHERS  # type: ignore[return-value]


def _list_key(person: Recipient) -> str:
    """The key as the list has it."""
    return person.key if person.reminder is None else person.key.removesuffix(f" {person.reminder}")


def _row_of_nobody(line: int, key: str, at: datetime) -> Row:
    """The time of a rejected row: that the list has it is what counts."""
    # Without a key of a recipient, or it would keep out a good row further down.
    return (
        line,
        "",
        "",
        None,
        None,
        microseconds(at),
        None,
        0,
        None,
        "{}",
        "{}",
        key,
        None,
        None,
        None,
        None,
    )


def _put_keys(db: Connection, keys: Sequence[tuple[str, str | None]]) -> None:
    if keys:
        with step(db):
            put = text("INSERT INTO unreadable VALUES (:key, CAST(:cells AS JSON))")
            if db.dialect.name == "sqlite":  # to which that would be a number
                put = text("INSERT INTO unreadable VALUES (:key, :cells)")
            db.execute(put, [{"key": key, "cells": cells} for key, cells in keys])


def _put(db: Connection, rows: list[Row]) -> None:
    if not rows:
        return
    with step(db):
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
