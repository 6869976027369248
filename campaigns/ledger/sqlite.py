"""SQLite: a ledger in a file, durable, with one writer at a time."""

import os
import random
import sqlite3
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL
from sqlalchemy.exc import OperationalError

from campaigns.mistake import Mistake

LOCK_PATIENCE_SECONDS = 30
"""How long to wait for whoever is writing."""

_LARGEST_JOURNAL = 16 << 20
"""Bytes of the journal that stay on the disk; only loading a list needs more for a while."""

# Two connections that write or checkpoint at once could corrupt a write-ahead log before these releases
# (sqlite.org/wal.html, "the WAL-reset bug"); older ones keep a rollback journal.
_WAL_FIXED = ((3, 51, 3), (3, 50, 7), (3, 44, 6))


def sqlite_engine(url: URL, create: bool) -> Engine:
    if not url.database or url.database == ":memory:":
        raise Mistake("DIALER_DATABASE_URL: an SQLite ledger needs a file: sqlite:///path/to/ledger.sqlite")
    path = Path(url.database)
    if not path.exists():
        if not create:
            raise Mistake(
                f"there is no ledger at {path} yet; load a list first: dialer load CAMPAIGN.toml LIST.csv"
            )
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            # Telephone numbers are in it: for its owner's eyes only.
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        except OSError as error:
            raise Mistake(
                f"the ledger cannot be created at {path}: {error.strerror}; set DIALER_DATA_DIR"
            ) from None
    engine = create_engine(
        url,
        hide_parameters=True,  # or numbers would stand in error messages
        pool_size=20,
        connect_args={"timeout": LOCK_PATIENCE_SECONDS, "isolation_level": None},
    )

    @event.listens_for(engine, "connect")
    def _set_up(dbapi: sqlite3.Connection, _record: object) -> None:
        safe_wal = any(
            sqlite3.sqlite_version_info[:2] == fixed[:2] and sqlite3.sqlite_version_info >= fixed
            for fixed in _WAL_FIXED
        ) or sqlite3.sqlite_version_info >= max(_WAL_FIXED)
        # PERSIST and not DELETE: FULL syncs the cleared header of a journal, but not the folder from which
        # one was deleted, so that after a power cut a commit could be rolled back (sqlite.org/pragma.html).
        # It is the fastest of the rollback modes, too.
        _set_journal(dbapi, "WAL" if safe_wal else "PERSIST")
        dbapi.execute(f"PRAGMA journal_size_limit = {_LARGEST_JOURNAL}")
        # `dialing` must survive a power cut, or a call could be placed twice.
        dbapi.execute("PRAGMA synchronous = FULL")
        dbapi.execute("PRAGMA foreign_keys = ON")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A transaction that will write takes the lock at once: two that start by reading would both wait
        # for each other to write, and SQLite would fail one of them.
        if connection.get_execution_options().get("begin_mode", "IMMEDIATE") == "IMMEDIATE":
            _begin_immediate(connection.connection.dbapi_connection)
        else:
            connection.exec_driver_sql("BEGIN DEFERRED")

    return engine


def read_only_sqlite_engine(url: URL) -> Engine:
    """For a look that changes nothing, not even the journal's mode."""
    path = Path(url.database or "").absolute()
    engine = create_engine(
        URL.create("sqlite", database=f"file:{quote(str(path))}", query={"mode": "rw", "uri": "true"}),
        hide_parameters=True,
        connect_args={"timeout": LOCK_PATIENCE_SECONDS, "isolation_level": None},
    )

    @event.listens_for(engine, "connect")
    def _set_up(dbapi: sqlite3.Connection, _record: object) -> None:
        # Not mode=ro: that leaves the files of a write-ahead log behind, which it may not remove.
        dbapi.execute("PRAGMA query_only = ON")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN DEFERRED")

    return engine


def _begin_immediate(dbapi: Any) -> None:
    """Take the write lock, asking for it every millisecond or two.

    SQLite's own waiting asks ever more rarely, up to 0.1 s apart. Among several processes that write all the
    time the lock is then mostly taken by whoever came last, and calls miss their slots by seconds.
    """
    until = time.monotonic() + LOCK_PATIENCE_SECONDS
    dbapi.execute("PRAGMA busy_timeout = 0")
    try:
        while True:
            try:
                dbapi.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() >= until:
                    raise OperationalError("BEGIN IMMEDIATE", None, error) from error
                time.sleep(random.uniform(0.001, 0.002))  # noqa: S311 (not a secret)
    finally:
        # The commit waits for readers in SQLite's own way; they are soon gone.
        dbapi.execute(f"PRAGMA busy_timeout = {LOCK_PATIENCE_SECONDS * 1000}")


def _set_journal(dbapi: sqlite3.Connection, mode: str) -> None:
    for last_try in [False] * 20 + [True]:
        try:
            dbapi.execute(f"PRAGMA journal_mode = {mode}")
            return
        except sqlite3.OperationalError:
            if last_try:
                raise
            # Two that open a new ledger at once: the change to WAL does not wait for the other; this does.
            dbapi.execute("BEGIN EXCLUSIVE")
            dbapi.execute("COMMIT")
