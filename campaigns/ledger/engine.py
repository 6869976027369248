"""Opening the ledger: SQLite or PostgreSQL behind one handle, migrated before it is handed out."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from enum import IntEnum
from pathlib import Path
from typing import Any, Literal, TypeVar

from sqlalchemy import Connection, Engine, Transaction, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DBAPIError,
    InterfaceError,
    InternalError,
    OperationalError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout

from campaigns.campaign import Campaign
from campaigns.ledger.clock import DatabaseClock, wall_clock
from campaigns.ledger.postgresql import postgresql_engine
from campaigns.ledger.reached import Memory
from campaigns.ledger.sqlite import LOCK_PATIENCE_SECONDS, read_only_sqlite_engine, sqlite_engine
from campaigns.ledger.together import Together
from campaigns.mistake import Mistake

HEAD = "0009"
"""The newest migration that this program knows; tests compare it with Alembic's own answer."""

_Result = TypeVar("_Result")


class Errand(IntEnum):
    """What only one process does at a time (NUMBER: for each number): keys of PostgreSQL's advisory locks."""

    MIGRATE = 727274001
    LOAD = 727274002
    FEED = 727274003
    SETTLE = 727274004
    NUMBER = 727274005
    TALLY = 727274006
    BRAKE = 727274007


class LedgerUnavailable(Exception):
    """The ledger cannot be reached."""


class NothingToRead(Exception):
    """There is no ledger that could be looked at as it is. The text says why, and completes a sentence."""


class Ledger:
    """A handle on the ledger's database. Safe to share between threads, not between forked processes."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.is_sqlite = engine.dialect.name == "sqlite"
        self._writer = threading.Lock()
        self._together = Together(lambda: self.write())
        self.campaigns: dict[tuple[int, str], Campaign] = {}
        """Choices already read, by campaign and version: one entry each, for as long as the process lives."""
        self.reached = Memory()
        """How far this process has seen the ledger come."""
        self._clock = DatabaseClock(self._ask_for_the_time, away=LedgerUnavailable)

    def now(self) -> datetime:
        """The present by the ledger's clock, in UTC: the one clock of all processes that share the ledger.

        Asks the database only the first time, and when its last answer is a minute old. Raises
        LedgerUnavailable the first time.
        """
        return wall_clock() if self.is_sqlite else self._clock.now()

    def set_clock(self) -> None:
        """Compare the ledger's clock with this machine's once more. Costs one question."""
        if not self.is_sqlite:
            self._clock.refresh()

    def _ask_for_the_time(self) -> datetime:
        with self.read() as db:
            shown: datetime = db.execute(text("SELECT clock_timestamp()")).scalar_one()
            return shown

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """One transaction that writes: committed durably at the end of the block, or not at all.

        Raises LedgerUnavailable when the database is out of reach or stays locked.
        """
        with self._turn(), self.connection() as connection, begun(connection, "IMMEDIATE"):
            yield connection

    def make(self, move: Callable[[Connection], _Result]) -> _Result:
        """One move, durable when this returns, in a transaction that other threads' moves may share.

        Raises what the move raises, and LedgerUnavailable; then nothing of it is left. It may be tried twice,
        and so must change nothing but the ledger. In PostgreSQL each has a transaction of its own: there
        the server itself writes to the disk once for all who commit, and their locks want to be held shortly.
        """
        if self.is_sqlite:
            return self._together.make(move)
        with self.write() as db:
            return move(db)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """In SQLite the threads of a process write one after the other anyway; so they queue here.

        Out there they would poll for the database's lock with all the others, and one in bad luck would
        wait for seconds.
        """
        if not self.is_sqlite:
            yield
            return
        if not self._writer.acquire(timeout=LOCK_PATIENCE_SECONDS):
            raise LedgerUnavailable("the ledger's database does not answer: it is locked")
        try:
            yield
        finally:
            self._writer.release()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One transaction that only reads. Keep it short: in SQLite a reader holds up the writers."""
        with self.connection() as connection, begun(connection, "DEFERRED"):
            yield connection

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """One connection, for several transactions (`begun`). Raises LedgerUnavailable."""
        try:
            with self._engine.connect() as connection:
                yield connection
        except (OperationalError, InterfaceError, InternalError) as error:
            # Internal is what PostgreSQL calls a server that became read-only, as in a failover.
            raise LedgerUnavailable(_plain(error)) from error
        except PoolTimeout as error:
            raise LedgerUnavailable("the ledger's database is too slow: all connections are busy") from error
        except DBAPIError as error:
            if error.connection_invalidated:
                raise LedgerUnavailable(_plain(error)) from error
            raise

    def alone(self, db: Connection, errand: Errand) -> bool:
        """Take the errand's lock until the end of the transaction; False if another process has it.

        In SQLite a writing transaction has the whole ledger to itself anyway.
        """
        if self.is_sqlite:
            return True
        return bool(db.execute(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": errand}).scalar())

    def in_turn(self, db: Connection, errand: Errand) -> None:
        """Take the errand's lock until the end of the transaction, after whoever has it now."""
        if not self.is_sqlite:
            db.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": errand})

    def close(self) -> None:
        """Close the pool's connections."""
        self._engine.dispose()


@contextmanager
def begun(connection: Connection, mode: Literal["IMMEDIATE", "DEFERRED"]) -> Iterator[Transaction]:
    """One transaction on a connection; the mode says when SQLite takes its write lock."""
    connection.execution_options(begin_mode=mode)
    with connection.begin() as transaction:
        yield transaction


def open_ledger(url: str, *, create: bool = True) -> Ledger:
    """Open the ledger at an SQLAlchemy URL and bring its tables up to date.

    Raises Mistake for a URL that cannot be used and for a ledger that is newer than this program,
    LedgerUnavailable when the database does not answer. With `create=False` an SQLite ledger that does not
    exist yet is a Mistake too, so that asking for a status never makes an empty ledger somewhere.
    """
    parsed = _checked(url)
    sqlite = parsed.get_backend_name() == "sqlite"
    engine = sqlite_engine(parsed, create) if sqlite else postgresql_engine(parsed)
    ledger = Ledger(engine)
    try:
        _bring_up_to_date(ledger)
    except DBAPIError as error:
        # A file that is something else, an option that the driver does not know, a role that may not create.
        ledger.close()
        raise Mistake(
            f"DIALER_DATABASE_URL: {parsed.database} cannot be used as a ledger: {_words(error)}"
        ) from None
    except BaseException:
        ledger.close()
        raise
    return ledger


def open_to_read(url: str) -> Ledger:
    """Open the ledger for `read()` alone: nothing is created, brought up to date, or changed in any way.

    Raises NothingToRead where there is none yet, or an older one; else as `open_ledger`.
    """
    parsed = _checked(url)
    if parsed.get_backend_name() == "sqlite":
        if not parsed.database or not Path(parsed.database).exists():
            raise NothingToRead("there is none yet")
        engine = read_only_sqlite_engine(parsed)
    else:
        engine = postgresql_engine(parsed, read_only=True)
    ledger = Ledger(engine)
    try:
        version = _version(ledger)
    except (DBAPIError, LedgerUnavailable) as error:
        ledger.close()
        if isinstance(error, LedgerUnavailable):
            raise
        raise Mistake(
            f"DIALER_DATABASE_URL: {parsed.database} cannot be used as a ledger: {_words(error)}"
        ) from None
    if version != HEAD:
        ledger.close()
        raise NothingToRead("it has no tables yet" if version is None else "it is of another version")
    return ledger


def _checked(url: str) -> URL:
    # The URL may hold a password, so no message repeats it.
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # a ValueError is a port that is no number
        raise Mistake(
            "DIALER_DATABASE_URL: is not a database URL; "
            "expected sqlite:///path/to/ledger.sqlite or postgresql://user:password@host/name"
        ) from None
    if "@" in (parsed.host or ""):
        # What is taken for the host is then the end of the password, and stands in the driver's errors.
        raise Mistake("DIALER_DATABASE_URL: has more than one @; write the one in the password as %40")
    if parsed.get_backend_name() in ("postgresql", "postgres"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.get_backend_name() not in ("sqlite", "postgresql"):
        raise Mistake(
            f"DIALER_DATABASE_URL: {parsed.get_backend_name()} is not supported; use sqlite or postgresql"
        )
    return parsed


def _bring_up_to_date(ledger: Ledger) -> None:
    if _version(ledger) == HEAD:
        return
    # Alembic takes a while to import, and almost every start finds an up-to-date ledger.
    from campaigns.ledger.migrations import upgrade

    with ledger.write() as db:
        ledger.in_turn(db, Errand.MIGRATE)
        upgrade(db)


def _version(ledger: Ledger) -> str | None:
    with ledger.read() as db:
        if not db.dialect.has_table(db, "alembic_version"):
            return None
        return db.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _plain(error: DBAPIError) -> str:
    return f"the ledger's database does not answer: {_words(error)}"


def _words(error: DBAPIError) -> str:
    """The driver's own words, without statement, parameters or URL, in one line."""
    cause: Any = error.orig
    return " ".join(str(cause).split())
