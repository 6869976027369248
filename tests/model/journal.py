"""What the ledger's tables went through, logged by the model's own triggers, and read without the program."""

import sqlite3
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Engine

_LOG = "CREATE TABLE model_log (id {serial}, what TEXT, row_id BIGINT, was TEXT, becomes TEXT, detail TEXT)"

# (what, table, event, condition, was, becomes, detail)
_WATCHED = (
    ("attempt", "attempts", "INSERT", "", "NULL", "NEW.state", "NEW.client_token"),
    (
        "attempt",
        "attempts",
        "UPDATE",
        "OLD.state <> NEW.state OR coalesce(OLD.contact_id, '') <> coalesce(NEW.contact_id, '')",
        "OLD.state",
        "NEW.state",
        "NEW.contact_id",
    ),
    ("attempt", "attempts", "DELETE", "", "OLD.state", "NULL", "OLD.client_token"),
    (
        "requeue",
        "attempts",
        "UPDATE",
        "OLD.requeued_at IS NULL AND NEW.requeued_at IS NOT NULL",
        "NULL",
        "NULL",
        "NULL",
    ),
    (
        "searched again",
        "attempts",
        "UPDATE",
        "OLD.state = 'unknown' AND NEW.state = 'unknown'"
        " AND OLD.settle_at IS NULL AND NEW.settle_at IS NOT NULL",
        "NULL",
        "NULL",
        "NULL",
    ),
    ("recipient", "recipients", "UPDATE", "OLD.state <> NEW.state", "OLD.state", "NEW.state", "NULL"),
    ("choices", "campaigns", "INSERT", "", "NULL", "NULL", "NEW.choices"),
    ("choices", "campaigns", "UPDATE", "", "NULL", "NULL", "NEW.choices"),
)


class Journal:
    """The log of one ledger, and questions to its tables, over a connection of its own."""

    def __init__(self, engine: Engine) -> None:
        self._sqlite = engine.dialect.name == "sqlite"
        if self._sqlite:
            self._raw: Any = sqlite3.connect(
                str(engine.url.database), isolation_level=None, check_same_thread=False
            )
        else:
            import psycopg

            url = engine.url.set(drivername="postgresql").render_as_string(hide_password=False)
            self._raw = psycopg.connect(url, autocommit=True)
        self._last = 0
        self._put_up()

    def query(self, sql: str, *values: Any) -> list[Any]:
        """The rows of a SELECT; each parameter is a `?`."""
        if not self._sqlite:
            sql = sql.replace("?", "%s")
        return list(self._raw.execute(sql, values).fetchall())

    def news(self) -> Sequence[tuple[str, int, str | None, str | None, str | None]]:
        """What was committed since the last time, in order: (what, id, was, becomes, detail)."""
        rows = self.query(
            "SELECT id, what, row_id, was, becomes, detail FROM model_log WHERE id > ? ORDER BY id",
            self._last,
        )
        if rows:
            self._last = rows[-1][0]
        return [row[1:] for row in rows]

    def forget(self) -> None:
        """Begin anew, for an emptied ledger."""
        self._raw.execute("DELETE FROM model_log")
        rows = self.query("SELECT coalesce(max(id), 0) FROM model_log")
        self._last = rows[0][0] if self._sqlite else self._last

    def close(self) -> None:
        """Close the connection."""
        self._raw.close()

    def _put_up(self) -> None:
        serial = "INTEGER PRIMARY KEY" if self._sqlite else "BIGSERIAL PRIMARY KEY"
        self._raw.execute(_LOG.format(serial=serial))
        for number, (what, table, happens, when, was, becomes, detail) in enumerate(_WATCHED):
            row = "OLD" if happens == "DELETE" else "NEW"
            if detail == "NEW.choices":
                detail = "CAST(NEW.choices AS TEXT)"
            entry = (
                "INSERT INTO model_log (what, row_id, was, becomes, detail) "
                f"VALUES ('{what}', {row}.id, {was}, {becomes}, {detail});"
            )
            condition = f"WHEN ({when})" if when else ""
            head = f"CREATE TRIGGER model_{number} AFTER {happens} ON {table} FOR EACH ROW {condition}"
            if self._sqlite:
                self._raw.execute(f"{head} BEGIN {entry} END")
            else:
                self._raw.execute(
                    f"CREATE FUNCTION model_{number}() RETURNS trigger LANGUAGE plpgsql AS "
                    f"$$ BEGIN {entry} RETURN NULL; END $$"
                )
                self._raw.execute(f"{head} EXECUTE FUNCTION model_{number}()")
