"""A table on the disk that is gone when it is closed, so that memory does not grow with a list."""

import sqlite3
from types import TracebackType
from typing import Self


class ScratchTable:
    """One table of SQLite's, for one thread. `self._db` is its connection."""

    def __init__(self, table: str) -> None:
        # A database without a name is SQLite's own temporary file.
        self._db = sqlite3.connect("", isolation_level=None)
        self._db.executescript(
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -32000;"
            f"CREATE TABLE {table} WITHOUT ROWID; BEGIN"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._db.close()
