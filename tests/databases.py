"""Databases in a real PostgreSQL, one for each test: emptied and used again instead of copied anew each time.

Copying one costs more processor time than most tests. What a test has done to a database beyond its rows
(triggers, columns, settings) cannot be seen in it any more: such a database is dropped.
"""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import count

import psycopg
from psycopg.sql import SQL, Identifier
from sqlalchemy.engine import make_url

# Made later, a thing has a higher oid; and what is gone is missed in the count.
_SHAPE = SQL(
    "SELECT (SELECT (count(*), max(oid)) FROM pg_class WHERE oid >= 16384 AND relkind <> 't'),"
    " (SELECT (count(*), max(oid)) FROM pg_trigger), (SELECT (count(*), max(oid)) FROM pg_proc),"
    " (SELECT (count(*), max(oid)) FROM pg_constraint), (SELECT (count(*), max(oid)) FROM pg_namespace),"
    " (SELECT (count(*), sum(attnum), sum(atttypid::bigint), count(*) FILTER (WHERE attnotnull),"
    " count(*) FILTER (WHERE atthasdef)) FROM pg_attribute WHERE attrelid >= 16384),"
    " (SELECT count(*) FROM pg_db_role_setting), (SELECT (count(*), max(oid)) FROM pg_extension)"
)
_TABLES = SQL("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename")
_OTHERS = SQL(
    "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
)


class Databases:
    """Copies of a template."""

    def __init__(self, server: psycopg.Connection, url: str, template: str) -> None:
        self._server, self._url, self._template = server, url, template
        self._free: list[str] = []
        self._names = count(1)
        self._shape: object = None
        self._seeds: dict[str, bytes] = {}

    @contextmanager
    def one(self) -> Iterator[str]:
        """The URL of a database as the template is, for one test."""
        name = self._free.pop() if self._free else self._new()
        try:
            yield self.url_of(name)
        finally:
            if self._emptied(name):
                self._free.append(name)
            else:
                # FORCE for the sake of a connection in a thread or a killed process.
                self._server.execute(SQL("DROP DATABASE {} WITH (FORCE)").format(Identifier(name)))

    def url_of(self, name: str) -> str:
        """The URL of another database of the server."""
        return make_url(self._url).set(database=name).render_as_string(hide_password=False)

    def _new(self) -> str:
        name = f"{self._template}_{next(self._names)}"
        self._server.execute(
            SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy").format(
                Identifier(name), Identifier(self._template)
            )
        )
        if self._shape is None:
            with closing(psycopg.connect(self.url_of(name), autocommit=True)) as db:
                self._shape = db.execute(_SHAPE).fetchone()
                for table in _names(db):
                    with db.cursor().copy(SQL("COPY {} TO STDOUT").format(Identifier(table))) as rows:
                        if seed := b"".join(rows):
                            self._seeds[table] = seed
        return name

    def _emptied(self, name: str) -> bool:
        """Whether a database is again as the template is."""
        try:
            with closing(psycopg.connect(self.url_of(name), autocommit=True)) as db:
                db.execute(_OTHERS)
                if db.execute(_SHAPE).fetchone() != self._shape:
                    return False
                tables = _names(db)
                used = SQL(" UNION ALL ").join(
                    SQL("SELECT {} WHERE EXISTS (SELECT 1 FROM {})").format(table, Identifier(table))
                    for table in tables
                )
                dirty = {str(row[0]) for row in db.execute(used)} | set(self._seeds)
                names = SQL(", ").join(map(Identifier, sorted(dirty)))
                db.execute(SQL("TRUNCATE {} RESTART IDENTITY CASCADE").format(names))
                # Of a table whose rows are all gone the numbers go on.
                db.execute(
                    "SELECT setval(seqrelid::regclass, seqstart, false) FROM pg_sequence"
                    " JOIN pg_sequences ON seqrelid = (schemaname || '.' || sequencename)::regclass"
                    " WHERE last_value IS NOT NULL"
                )
                for table, seed in self._seeds.items():
                    with db.cursor().copy(SQL("COPY {} FROM STDIN").format(Identifier(table))) as rows:
                        rows.write(seed)
                return True
        except psycopg.Error:
            return False


def _names(db: psycopg.Connection) -> list[str]:
    return [str(row[0]) for row in db.execute(_TABLES)]
