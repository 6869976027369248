"""What is prepared in temporary tables before the ledger is locked.

Reading and checking a long list holds no lock on the ledger's rows, and a process that is killed meanwhile
leaves nothing behind: the database drops the tables itself.

SQLite: the tables belong to the connection, and no transaction is open between the steps, because a reader
holds up the writers there.

PostgreSQL: preparing and entering are one transaction. A pooler in transaction mode may give the next one
another session, with another process's tables of the same names in it.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, text

from campaigns.ledger.engine import Errand, Ledger, begun
from campaigns.ledger.postgresql import IDLE_SECONDS

_READING_SECONDS = 3_600
"""How long PostgreSQL waits for the next rows of a list. Longer than for any other transaction: all that this
one can hold up is the clean-up of dead rows."""


def prepare(ledger: Ledger, db: Connection) -> None:
    """Begin a preparation: steps, and then `entering`, which commits all of it. Without that it is undone."""
    if not ledger.is_sqlite:
        db.begin()
        _allow_idle(db, _READING_SECONDS)


@contextmanager
def step(db: Connection) -> Iterator[None]:
    """A part of a preparation: a short transaction in SQLite, a part of the one under way in PostgreSQL."""
    if db.in_transaction():
        yield
        return
    with begun(db, "DEFERRED"):
        yield


@contextmanager
def entering(ledger: Ledger, db: Connection) -> Iterator[None]:
    """What was prepared is entered in this block, with the lock of those who load, and then committed."""
    if ledger.is_sqlite:
        with begun(db, "IMMEDIATE"):
            yield
        return
    prepared = db.get_transaction()
    assert prepared is not None
    with prepared:
        # Before the lock: from here on, others wait for us.
        _allow_idle(db, IDLE_SECONDS)
        ledger.in_turn(db, Errand.LOAD)
        yield


def create_temporary(db: Connection, table: str) -> None:
    """Create a temporary table that lasts as long as its preparation."""
    end = "ON COMMIT DROP" if db.dialect.name == "postgresql" else ""
    db.execute(text(f"{table} {end}"))


def _allow_idle(db: Connection, seconds: int) -> None:
    db.exec_driver_sql(f"SET LOCAL idle_in_transaction_session_timeout TO '{seconds}s'")
