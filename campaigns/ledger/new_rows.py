"""A recipient who was never called takes the row of the latest list; the old one stays in the history."""

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, text

# Whether two JSON objects of texts, `a` and `b`, say the same. A cell that a list lacks, or has in another
# place, says nothing else than an empty one. Nearly always they are the same text, and are not parsed.
_CELLS_DIFFER = """
    CASE WHEN {a_text} = {b_text} THEN FALSE ELSE
        EXISTS (
            SELECT key, value FROM {each}({a}) WHERE value <> '' EXCEPT SELECT key, value FROM {each}({b})
        )
        OR EXISTS (
            SELECT key, value FROM {each}({b}) WHERE value <> '' EXCEPT SELECT key, value FROM {each}({a})
        )
    END
"""

_DIFFERS = "(r.phone <> staging.phone OR {rows_differ} OR {attributes_differ})"

# What was queued and came back did not ring: Connect has told so, or the request was never sent. A client
# token that belongs to such an attempt may go out with another number. A number that Connect has refused did
# not ring either: its recipient is done, and waits again for the number that is right.
_TAKES = """
    UPDATE corrected SET taken = TRUE
    WHERE other_row AND EXISTS (
        SELECT 1 FROM recipients AS r
        WHERE r.id = corrected.recipient_id
        AND (
            r.state IN ('waiting', 'suppressed', 'dropped')
            OR (r.state = 'done' AND EXISTS (
                SELECT 1 FROM attempts AS latest
                WHERE latest.recipient_id = r.id AND latest.number = r.attempts AND latest.state = 'refused'
            ))
            OR (r.state = 'in_progress' AND EXISTS (
                SELECT 1 FROM attempts AS latest
                WHERE latest.recipient_id = r.id AND latest.number = r.attempts AND latest.state = 'returned'
            ))
        )
        AND NOT EXISTS (
            SELECT 1 FROM attempts
            WHERE attempts.recipient_id = r.id AND attempts.state NOT IN ('queued', 'returned', 'refused')
        )
    )
"""

KEEP_OLD = """
    INSERT INTO recipient_history
        (recipient_id, what, at, load_id, line, phone, time_zone, appointment_at, attributes, "row")
    SELECT r.id, 'replaced', :now, r.load_id, r.line, r.phone, r.time_zone, r.appointment_at, r.attributes,
           r."row"
    FROM recipients AS r WHERE {these} ORDER BY r.id
"""
"""Enter the present rows of some recipients (`r`) in the history."""

# With another number everything that was found out for the old one is void: its zones, its limits, whether
# it is suppressed.
_REPLACE = """
    UPDATE recipients SET
        load_id = :load_id,
        line = corrected.line,
        phone = corrected.phone,
        attributes = corrected.attributes,
        "row" = corrected."row",
        time_zone = CASE WHEN corrected.other_phone THEN corrected.time_zone ELSE recipients.time_zone END,
        zones = CASE WHEN corrected.other_phone THEN corrected.zones ELSE recipients.zones END,
        due_at = CASE
            WHEN corrected.other_phone THEN coalesce(corrected.due_at, recipients.due_at)
            ELSE recipients.due_at
        END,
        waits_for = CASE
            WHEN corrected.other_phone THEN nullif(recipients.waits_for, 'limit')
            ELSE recipients.waits_for
        END,
        state = CASE
            WHEN recipients.state = 'dropped' OR recipients.dropped_by IS NOT NULL THEN 'dropped'
            WHEN NOT corrected.other_phone AND recipients.state = 'done' THEN 'done'
            WHEN NOT corrected.other_phone AND recipients.state = 'suppressed' THEN 'suppressed'
            WHEN corrected.other_phone AND EXISTS (
                SELECT 1 FROM suppressions
                WHERE suppressions.phone = corrected.phone
                AND suppressions.campaign_id IN (0, :campaign_id)
            ) THEN 'suppressed'
            ELSE 'waiting'
        END
    FROM corrected
    WHERE corrected.recipient_id = recipients.id AND corrected.taken
"""

_ANY_WAITING = """
    SELECT EXISTS (
        SELECT 1 FROM recipients WHERE run_id = :run_id AND state = 'waiting'
        AND id IN (SELECT recipient_id FROM corrected WHERE taken)
    )
"""


def differs(db: Connection) -> str:
    """The condition that a row of `staging` says something else than the recipient `r` has, as SQL.

    Cells and attributes that are empty, or in another order, are no difference.
    """
    rows, attributes = (cells_differ(db, f"r.{each}", f"staging.{each}") for each in ('"row"', "attributes"))
    return _DIFFERS.format(rows_differ=rows, attributes_differ=attributes)


def cells_differ(db: Connection, a: str, b: str) -> str:
    """The condition that two columns of JSON objects say something else, as SQL."""
    in_postgresql = db.dialect.name == "postgresql"
    # PostgreSQL compares no JSON, but keeps its text as it was written.
    a_text, b_text = (f"CAST({a} AS text)", f"CAST({b} AS text)") if in_postgresql else (a, b)
    each = "json_each_text" if in_postgresql else "json_each"
    return _CELLS_DIFFER.format(a=a, b=b, a_text=a_text, b_text=b_text, each=each)


def take(db: Connection, this: Mapping[str, Any]) -> bool:
    """Give the new rows in `corrected` to the recipients who were never called, who are locked.

    `this`: `load_id`, `run_id`, `campaign_id` and `now` in microseconds. Returns whether any of them waits
    in the run.
    """
    if not db.execute(text(_TAKES)).rowcount:
        return False
    these = "r.id IN (SELECT recipient_id FROM corrected WHERE taken)"
    db.execute(text(KEEP_OLD.format(these=these)), this)
    db.execute(text(_REPLACE), this)
    return bool(db.execute(text(_ANY_WAITING), this).scalar_one())
