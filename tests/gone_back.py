"""A ledger is set back to how it was, as a standby without the last commits or a restored backup would be."""

from typing import Any

from sqlalchemy import delete, insert, select, text

from campaigns.ledger import Ledger
from campaigns.ledger.tables import metadata

Saved = dict[str, list[dict[str, Any]]]


def saved(ledger: Ledger) -> Saved:
    """All that a ledger holds."""
    with ledger.read() as db:
        return {
            table.name: [dict(row._mapping) for row in db.execute(select(table))]
            for table in metadata.sorted_tables
            if table.name != "tallies"  # the database counts by itself
        }


def set_back(ledger: Ledger, then: Saved) -> None:
    """Let a ledger hold what it held then. Whoever has it open notices nothing."""
    with ledger.write() as db:
        if ledger.is_sqlite:
            for table in reversed(metadata.sorted_tables):
                db.execute(delete(table))
        else:
            db.execute(text("TRUNCATE " + ", ".join(metadata.tables)))
        for table in metadata.sorted_tables:
            if then.get(table.name):
                db.execute(insert(table), then[table.name])
