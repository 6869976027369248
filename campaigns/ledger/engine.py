"""Opening the ledger: SQLite or PostgreSQL behind one handle, migrated before it is handed out."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from enum import IntEnum
from pathlib import Path
from typing import Any, Literal, TypeVar

from sqlalchemy import Connection, Engine, Transaction, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import (
    DBAPIError,
    InterfaceError,
    InternalError,
    InvalidRequestError,
    OperationalError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout

from campaigns.campaign import Campaign
from campaigns.ledger.address import checked_url
from campaigns.ledger.clock import DatabaseClock, wall_clock
from campaigns.ledger.ledger_file import refuse_anothers
from campaigns.ledger.postgresql import login_of, postgresql_engine
from campaigns.ledger.reached import Memory
from campaigns.ledger.rehearsal import Rehearsal, read_rehearsal
from campaigns.ledger.sqlite import LOCK_PATIENCE_SECONDS, read_only_sqlite_engine, sqlite_engine
from campaigns.ledger.together import Together
from campaigns.mistake import Mistake

HEAD = "0014"
"""The newest migration that this program knows; tests compare it with Alembic's own answer."""

_READ_ONLY = "25006"
"""SQLSTATE of a server that only reads: a standby, or a primary that was demoted in a failover."""

_UNDONE = ("40001", "40P01")
"""SQLSTATEs of a transaction that PostgreSQL has undone for another's sake: serialization, deadlock."""

_TRIES = 4
"""How often a move is made, at most, that is undone each time."""

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
    """The ledger cannot be reached, or has undone a transaction; what was to be done may be tried again.

    code: the SQLSTATE of PostgreSQL, where it gave one.
    """

    def __init__(self, message: str, code: str | None = None) -> None:
        super().__init__(message)
        self.code = code


class OtherVersion(LedgerUnavailable):
    """The ledger's tables are those of another version of this program. Nothing is dialed from it."""

    def __init__(self, version: str | None) -> None:
        super().__init__(
            f"this process is of another version than the ledger (its tables have revision {version}, and it "
            f"needs {HEAD}), and does nothing more: stop it, and start the version that the ledger is of"
        )


class NothingToRead(Exception):
    """There is no ledger that could be looked at as it is. The text says why, and completes a sentence."""


class Ledger:
    """A handle on the ledger's database. Safe to share between threads, not between forked processes."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.is_sqlite = engine.dialect.name == "sqlite"
        self.path = engine.url.database if self.is_sqlite else None
        """The file of a ledger in SQLite."""
        self._writer = threading.Lock()
        self._together = Together(lambda: self.write())
        self.campaigns: dict[tuple[int, str], Campaign] = {}
        """Choices already read, by campaign and version: one entry each, for as long as the process lives."""
        self.unreadable: set[int] = set()
        """Campaigns whose choices this process could not read lately; see `stored_choices.py`."""
        self.reached = Memory()
        """How far this process has seen the ledger come."""
        self._clock = DatabaseClock(self._ask_for_the_time, away=LedgerUnavailable)
        self.rehearsal: Rehearsal | None = None
        """The clock of a rehearsal, as last read; None: the ledger's clock is the database's own."""

    def now(self) -> datetime:
        """The present by the ledger's clock, in UTC: the one clock of all processes that share the ledger.

        In a rehearsal's ledger it is the rehearsal's. Asks the database only the first time, and when its
        last answer is a minute old. Raises LedgerUnavailable the first time.
        """
        real = self.real_now()
        return real if self.rehearsal is None else self.rehearsal.shows(real)

    def real_now(self) -> datetime:
        """The present by the database's clock, in UTC, in a rehearsal too. Raises as `now`."""
        return wall_clock() if self.is_sqlite else self._clock.now()

    @property
    def clock_speed(self) -> float:
        """Seconds that the ledger's clock shows in a real second: 1, but for a rehearsal.

        What machines need real time for, such as a lease, is this many times as long by the ledger's clock.
        """
        return 1.0 if self.rehearsal is None else self.rehearsal.speed

    def read_rehearsal(self) -> None:
        """Read the clock of a rehearsal from the ledger. Raises LedgerUnavailable."""
        with self.read() as db:
            self.rehearsal = read_rehearsal(db)

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
        for left in reversed(range(_TRIES)):
            try:
                with self.write() as db:
                    return move(db)
            except LedgerUnavailable as error:
                if error.code not in _UNDONE or not left:
                    raise
            # Apart, or the two that were in each other's way would meet again.
            time.sleep(random.uniform(0.005, 0.05))  # noqa: S311 (not a secret)
        raise AssertionError

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
        connected = False
        try:
            with self._engine.connect() as connection:
                connected = True
                try:
                    yield connection
                except InternalError as error:
                    if _code(error) == _READ_ONLY:
                        # The server goes on to answer; a new connection finds the one that writes.
                        self._forget_connections(connection)
                    raise
        except (OperationalError, InterfaceError, InternalError) as error:
            # Internal is what PostgreSQL calls a server that became read-only, as in a failover.
            raise LedgerUnavailable(_plain(error), _code(error)) from error
        except InvalidRequestError as error:
            if connected:
                raise  # the program's own mistake
            # The pool has tried it twice: the server takes connections, and ends them at once.
            raise LedgerUnavailable("the ledger's database does not answer: it ends connections") from error
        except PoolTimeout as error:
            raise LedgerUnavailable("the ledger's database is too slow: all connections are busy") from error
        except DBAPIError as error:
            if error.connection_invalidated:
                raise LedgerUnavailable(_plain(error), _code(error)) from error
            raise

    def _forget_connections(self, connection: Connection) -> None:
        """Throw this connection away, and those that wait in the pool: they lead to the same server."""
        connection.invalidate()
        self._engine.dispose()

    def require_own_version(self) -> None:
        """Raises OtherVersion if the ledger was brought up to date by another version of this program."""
        with self.read() as db:
            require_own_version(db.execute(_VERSION).scalar())

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


_VERSION = text("SELECT version_num FROM alembic_version")


def require_own_version(version: str | None) -> None:
    """Raises OtherVersion for a ledger whose tables are not those that this program knows."""
    if version != HEAD:
        raise OtherVersion(version)


def open_ledger(url: str, *, create: bool = True, migrate: bool = True) -> Ledger:
    """Open the ledger at an SQLAlchemy URL and bring its tables up to date.

    create: make a ledger where there is none. Without it that is a Mistake, so that asking for a status never
    makes an empty ledger somewhere.
    migrate: bring the tables of an older version up to date. Without it an older ledger is a Mistake, so that
    a command that only reads never takes it away from processes that run.

    Raises Mistake for a URL that cannot be used, for a database that will not let this program in until a
    person changes something, and for a ledger that is newer than this program; LedgerUnavailable when the
    database does not answer.
    """
    parsed = checked_url(url)
    sqlite = parsed.get_backend_name() == "sqlite"
    if sqlite:
        refuse_anothers(parsed.database, write=create)
    ledger = Ledger(sqlite_engine(parsed, create) if sqlite else postgresql_engine(parsed))

    def bring_up_to_date() -> None:
        version = _version(ledger)
        if version is None and not (create or migrate):
            raise Mistake(
                f"there is no ledger in {parsed.database} yet; load a list first: "
                "dialer load CAMPAIGN.toml LIST.csv"
            )
        _bring_up_to_date(ledger, version, migrate=migrate or version is None)
        ledger.read_rehearsal()

    _usable(ledger, parsed, bring_up_to_date)
    return ledger


def open_to_read(url: str) -> Ledger:
    """Open the ledger for `read()` alone: nothing is created, brought up to date, or changed in any way.

    Raises NothingToRead where there is none yet, or an older one; else as `open_ledger`.
    """
    parsed = checked_url(url)
    if parsed.get_backend_name() == "sqlite":
        refuse_anothers(parsed.database, write=False)
        if not parsed.database or not Path(parsed.database).exists():
            raise NothingToRead("there is none yet")
        engine = read_only_sqlite_engine(parsed)
    else:
        engine = postgresql_engine(parsed, read_only=True)
    ledger = Ledger(engine)
    version = _usable(ledger, parsed, lambda: _version(ledger))
    if version != HEAD:
        ledger.close()
        raise NothingToRead("it has no tables yet" if version is None else "it is of another version")
    _usable(ledger, parsed, ledger.read_rehearsal)
    return ledger


def _usable(ledger: Ledger, url: URL, look: Callable[[], _Result]) -> _Result:
    """What a first look at a ledger returns. If it fails the ledger is closed; raises as `open_ledger`."""
    try:
        try:
            return look()
        except LedgerUnavailable:
            if ledger.is_sqlite or not _refused_for_good(url):
                raise
        # Once more: the server may have become ready between the two.
        try:
            return look()
        except LedgerUnavailable as error:
            raise Mistake(f"DIALER_DATABASE_URL: {_without_password(url, error)}") from None
    except DBAPIError as error:
        # A file that is something else, an option that the driver does not know, a role that may not create.
        ledger.close()
        raise Mistake(
            f"DIALER_DATABASE_URL: {url.database} cannot be used as a ledger: {_words(error)}"
        ) from None
    except BaseException:
        ledger.close()
        raise


def _refused_for_good(url: URL) -> bool:
    # Only here: the driver is not installed where no ledger is in PostgreSQL.
    from campaigns.ledger.logins import refused_for_good

    return refused_for_good(login_of(url))


def _without_password(url: URL, error: LedgerUnavailable) -> str:
    """The server's own words. A URL that was put together wrongly may have its password in another place."""
    cause = error.__cause__
    words = _words(cause) if isinstance(cause, DBAPIError) else str(error)
    return words.replace(str(url.password), "***") if url.password else words


def _bring_up_to_date(ledger: Ledger, version: str | None, *, migrate: bool) -> None:
    if version == HEAD:
        return
    # Alembic takes a while to import, and almost every start finds an up-to-date ledger.
    from campaigns.ledger.migrations import refuse_newer, upgrade

    refuse_newer(version)
    if not migrate:
        raise Mistake(
            f"the ledger's tables are those of an older version (revision {version}; this one reads {HEAD}): "
            "stop that version's processes, then bring the ledger up to date with dialer up, dialer start "
            "NAME, or any other command that writes"
        )
    with ledger.write() as db:
        ledger.in_turn(db, Errand.MIGRATE)
        upgrade(db)


def _version(ledger: Ledger) -> str | None:
    with ledger.read() as db:
        if not db.dialect.has_table(db, "alembic_version"):
            return None
        return db.execute(_VERSION).scalar()


def _code(error: DBAPIError) -> str | None:
    """The SQLSTATE, where the server gave one."""
    cause: Any = error.orig
    code: str | None = getattr(cause, "sqlstate", None)
    return code


def _plain(error: DBAPIError) -> str:
    return f"the ledger's database does not answer: {_words(error)}"


def _words(error: DBAPIError) -> str:
    """The driver's own words, without statement, parameters or URL, in one line."""
    cause: Any = error.orig
    return " ".join(str(cause).split())
