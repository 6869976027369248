"""Recipients are taken out, by an operator or by a list that no longer has them; and are put back.

Of a recipient who is taken out no other call begins. A call that is under way goes on, and its outcome is
learned. What a list has taken out, a list that has the recipient again puts back; what an operator has taken
out, only an operator does: the same list is loaded again by the same command.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from sqlalchemy import Connection, text

from campaigns.ledger.engine import Ledger
from campaigns.ledger.new_rows import cells_differ
from campaigns.ledger.preparation import create_temporary
from campaigns.ledger.readmissions import readmit
from campaigns.ledger.tables import microseconds, recipients


class DroppedBy(StrEnum):
    """Who has taken a recipient out: `recipients.dropped_by`."""

    OPERATOR = "operator"
    LIST = "list"


_PIECE = 500  # ids a statement, well under the parameters that the databases allow

_CHOSEN = "CREATE TEMPORARY TABLE chosen (recipient_id BIGINT PRIMARY KEY)"

# Whose key is on the list, in a rejected row too, is not gone. A row whose key cannot be read, as its number
# is the key, cannot be told from one that is not there.
_NOT_LISTED = """
    NOT EXISTS (SELECT 1 FROM staging WHERE staging.{key} = r.{key})
    AND r.{key} NOT IN (SELECT key FROM unreadable)
"""
_LISTED = "EXISTS (SELECT 1 FROM staging WHERE staging.key = r.key)"
_LISTED_APPOINTMENT = """
    EXISTS (
        SELECT 1 FROM staging
        WHERE staging.list_key = r.list_key AND staging.appointment_at = r.appointment_at
        AND staging.key <> ''
    )
"""

# The list has another row for them, which cannot be used, and the one in the ledger is out of date: its
# number may be another person's by now. A row that stands as it was loaded says nothing new.
_SPOILED = """
    r.{key} IN (SELECT key FROM unreadable)
    AND r.dropped_by IS NULL AND r.state NOT IN ('expired', 'cancelled', 'done')
    AND EXISTS (
        SELECT 1 FROM unreadable
        WHERE unreadable.key = r.{key} AND unreadable."row" IS NOT NULL AND {differ}
    )
    AND NOT EXISTS (SELECT 1 FROM staging WHERE staging.{key} = r.{key} AND staging.key <> '')
    AND NOT EXISTS (
        SELECT 1 FROM attempts
        WHERE attempts.recipient_id = r.id AND attempts.state NOT IN ('queued', 'returned')
    )
"""

_COUNT = "SELECT count({what}) FROM recipients AS r WHERE r.run_id = :run_id AND {which}"

_CHOOSE = """
    INSERT INTO chosen
    SELECT r.id FROM recipients AS r WHERE r.run_id = :run_id AND {which}
"""

# As everywhere: the run, then its attempts in this order, then the recipients in the order of their ids.
_HOLD_RUN = "SELECT id FROM runs WHERE id = :run_id {for_update}"
_TAKE_BACK_QUEUED = """
    UPDATE attempts SET state = 'returned', reason = 'the recipient was taken out'
    WHERE id IN (
        SELECT attempts.id FROM attempts
        WHERE attempts.state = 'queued' AND attempts.recipient_id IN (SELECT recipient_id FROM chosen)
        ORDER BY attempts.lease_until, attempts.id {for_update}
    )
"""
_HOLD = """
    SELECT id FROM recipients WHERE id IN (SELECT recipient_id FROM chosen) ORDER BY id {for_update}
"""

_CAN_BE_DROPPED = """
    id IN (SELECT recipient_id FROM chosen) AND state NOT IN ('expired', 'cancelled')
    AND (dropped_by IS NULL OR (dropped_by = 'list' AND CAST(:by AS TEXT) = 'operator'))
"""
_TELL = """
    INSERT INTO recipient_history (recipient_id, what, at)
    SELECT id, CAST(:what AS TEXT), :now FROM recipients WHERE {which} ORDER BY id
"""
# A recipient who is done is marked too, so that no late outcome and no requeue leads to another call.
_DROP = f"""
    UPDATE recipients SET
        dropped_by = CAST(:by AS TEXT),
        state = CASE
            WHEN state IN ('waiting', 'suppressed', 'held') OR (state = 'in_progress' AND EXISTS (
                SELECT 1 FROM attempts WHERE attempts.recipient_id = recipients.id
                AND attempts.number = recipients.attempts AND attempts.state = 'returned'
            )) THEN 'dropped'
            ELSE state
        END
    WHERE {_CAN_BE_DROPPED}
"""  # noqa: S608 (a constant)

_CAN_BE_PUT_BACK = "id IN (SELECT recipient_id FROM chosen) AND dropped_by IS NOT NULL"
_SIMPLE = """
    NOT EXISTS (
        SELECT 1 FROM attempts WHERE attempts.recipient_id = recipients.id
        AND attempts.state NOT IN ('queued', 'returned')
    )
    AND (expires_at IS NULL OR expires_at > :now)
"""
# Those who were called go where their last call leads (readmissions.py).
_TO_BE_JUDGED = f"""
    SELECT id FROM recipients
    WHERE {_CAN_BE_PUT_BACK} AND state = 'dropped' AND NOT ({_SIMPLE}) ORDER BY id
"""  # noqa: S608
_PUT_BACK = f"""
    UPDATE recipients SET
        dropped_by = NULL,
        state = CASE
            WHEN state <> 'dropped' THEN state
            WHEN NOT ({_SIMPLE}) OR EXISTS (
                SELECT 1 FROM suppressions JOIN runs ON runs.id = recipients.run_id
                WHERE suppressions.phone = recipients.phone
                AND suppressions.campaign_id IN (0, runs.campaign_id)
            ) THEN 'suppressed'
            ELSE 'waiting'
        END
    WHERE {_CAN_BE_PUT_BACK}
"""  # noqa: S608
_WAITING = """
    SELECT count(*) FROM recipients
    WHERE id IN (SELECT recipient_id FROM chosen) AND state = 'waiting'
"""


@dataclass(frozen=True, slots=True)
class Gone:
    """Recipients of the run who are not on the list that was loaded, and those who were taken out."""

    gone: int = 0
    """Those who are not on it and were not taken out before."""
    dropped: int = 0
    """Those of them of whom no other call begins."""
    put_back: int = 0
    """Those whom an earlier list had taken out, and who are on this one."""
    stay_dropped: int = 0
    """Those who are on it, and stay as an operator has taken them out."""
    waiting: bool = False
    """Whether any who were put back wait."""
    spoiled: int = 0
    """Those who were never called, and whose row has changed to one that is rejected: they are taken out."""


def settle_gone(
    ledger: Ledger, db: Connection, run_id: int, *, appointments: bool, drop: bool, now: datetime
) -> Gone:
    """Compare the run with the staged list: count who is gone, and take them out if `drop`.

    `appointments`: those of a list with reminders are counted by the list's keys. In the transaction in which
    the list is entered.
    """
    key = "list_key" if appointments else "key"
    absent = _NOT_LISTED.format(key=key)
    listed = _LISTED_APPOINTMENT if appointments else _LISTED
    put_back_count, waiting, stay = 0, False, 0
    if _any_dropped(db, run_id):
        dropped = "r.dropped_by = '{by}' AND {listed}"
        stays = dropped.format(by=DroppedBy.OPERATOR, listed=listed) + " AND r.state = 'dropped'"
        stay = _count(db, run_id, "*", stays)
        _choose(db, run_id, dropped.format(by=DroppedBy.LIST, listed=listed))
        put_back_count, waits = put_back(ledger, db, now, hold=run_id)
        waiting = waits > 0
        db.execute(text("DROP TABLE chosen"))
    if appointments:
        open_ones = f"{absent} AND r.dropped_by IS NULL AND r.state NOT IN ('expired', 'cancelled')"
        gone = _count(db, run_id, "DISTINCT r.list_key", open_ones)
    else:
        # No recipient is expired or cancelled there. In two looks, each of which an index answers by itself.
        gone = _count(db, run_id, "*", absent)
        gone -= _count(db, run_id, "*", f"r.dropped_by IS NOT NULL AND {absent}") if gone else 0
    taken_out = 0
    if gone and drop:
        _choose(db, run_id, f"r.dropped_by IS NULL AND {absent}")
        taken_out = drop_chosen(db, DroppedBy.LIST, now, hold=run_id)
        db.execute(text("DROP TABLE chosen"))
    return Gone(gone, taken_out, put_back_count, stay, waiting, _take_out_spoiled(db, run_id, key, now))


def _take_out_spoiled(db: Connection, run_id: int, key: str, now: datetime) -> int:
    """Take out those whose row has changed to one that cannot be used. Returns how many keys they have."""
    if not db.execute(text('SELECT EXISTS (SELECT 1 FROM unreadable WHERE "row" IS NOT NULL)')).scalar_one():
        return 0
    db.execute(text("CREATE INDEX unreadable_key ON unreadable (key)"))
    spoiled = _SPOILED.format(key=key, differ=cells_differ(db, 'r."row"', 'unreadable."row"'))
    count = _count(db, run_id, f"DISTINCT r.{key}", spoiled)
    if count:
        _choose(db, run_id, spoiled)
        drop_chosen(db, DroppedBy.LIST, now, hold=run_id, what="spoiled")
        db.execute(text("DROP TABLE chosen"))
    return count


def drop_chosen(
    db: Connection, by: DroppedBy, now: datetime, *, hold: int | None = None, what: str | None = None
) -> int:
    """Take out those in the table `chosen`. Returns how many.

    `hold`: the run, if it is not held yet. `what`: as the history has it; else by who takes them out.
    """
    _hold(db, hold)
    what = what or ("dropped" if by == DroppedBy.OPERATOR else "gone")
    tell = {"what": what, "by": str(by), "now": microseconds(now)}
    db.execute(text(_TELL.format(which=_CAN_BE_DROPPED)), tell)
    return db.execute(text(_DROP), {"by": str(by)}).rowcount


def put_back(ledger: Ledger, db: Connection, now: datetime, *, hold: int | None = None) -> tuple[int, int]:
    """Those in the table `chosen` go where they would stand if they had not been taken out.

    `hold`: as for `drop_chosen`. Returns how many they are, and how many of them wait for a call.
    """
    _hold(db, hold, queued=False)
    at = {"now": microseconds(now)}
    judged = list(db.execute(text(_TO_BE_JUDGED), at).scalars())
    db.execute(text(_TELL.format(which=_CAN_BE_PUT_BACK)), {"what": "put_back", **at})
    back = db.execute(text(_PUT_BACK), at).rowcount
    for first in range(0, len(judged), _PIECE):
        readmit(ledger, db, now, recipients.c.id.in_(judged[first : first + _PIECE]))
    return back, int(db.execute(text(_WAITING)).scalar_one()) if back else 0


def choose(db: Connection, ids: Sequence[int]) -> None:
    """Make the table `chosen` of these recipients."""
    create_temporary(db, _CHOSEN)
    if ids:
        db.execute(text("INSERT INTO chosen VALUES (:id)"), [{"id": each} for each in ids])


def _choose(db: Connection, run_id: int, which: str) -> None:
    create_temporary(db, _CHOSEN)
    db.execute(text(_CHOOSE.format(which=which)), {"run_id": run_id})


def _hold(db: Connection, run_id: int | None, *, queued: bool = True) -> None:
    # SQLite has no locks on rows, nor needs them.
    for_update = "FOR NO KEY UPDATE" if db.dialect.name == "postgresql" else ""
    if for_update and run_id is not None:
        db.execute(text(_HOLD_RUN.format(for_update=for_update)), {"run_id": run_id})
    if queued:
        db.execute(text(_TAKE_BACK_QUEUED.format(for_update=for_update)))
    if for_update:
        db.execute(text(_HOLD.format(for_update=for_update)))


def _any_dropped(db: Connection, run_id: int) -> bool:
    query = "SELECT EXISTS (SELECT 1 FROM recipients WHERE run_id = :run_id AND dropped_by IS NOT NULL)"
    return bool(db.execute(text(query), {"run_id": run_id}).scalar_one())


def _count(db: Connection, run_id: int, what: str, which: str) -> int:
    query = text(_COUNT.format(what=what, which=which))
    return int(db.execute(query, {"run_id": run_id}).scalar_one())
