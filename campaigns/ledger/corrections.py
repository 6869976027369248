"""A list says something else of a recipient who is there already: another number, text, time or time zone.

A recipient who was never called takes the new row as a whole (new_rows.py). A recipient who was called keeps
the row that the call was made with. A time zone alone is taken by every recipient who is not over: it only
says when they may be rung, and is what mends a list without time zones.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, bindparam, text

from campaigns.ledger import new_rows
from campaigns.ledger.preparation import create_temporary
from campaigns.ledger.staging import index_keys
from campaigns.ledger.tables import microseconds

_CORRECTED = """
    CREATE TEMPORARY TABLE corrected (
        recipient_id BIGINT NOT NULL, key TEXT NOT NULL, line INTEGER NOT NULL, phone TEXT NOT NULL,
        time_zone TEXT, zones TEXT, appointment_at BIGINT, due_at BIGINT, expires_at BIGINT,
        attributes JSON NOT NULL, "row" JSON NOT NULL,
        other_zones BOOLEAN NOT NULL, other_row BOOLEAN NOT NULL, other_phone BOOLEAN NOT NULL,
        taken BOOLEAN NOT NULL
    )
"""

# A list that says nothing of a time zone corrects nothing; nor does a row with another number, whose zones
# belong to that number. A recipient who is over keeps the zones that the calls were made by.
_OTHER_ZONES = """
    r.state IN ('waiting', 'in_progress', 'held', 'suppressed', 'dropped') AND r.phone = staging.phone
    AND staging.zones IS NOT NULL AND (staging.time_zone IS NOT NULL OR r.time_zone IS NULL)
    AND (
        coalesce(r.zones, '') <> staging.zones
        OR coalesce(r.time_zone, '') <> coalesce(staging.time_zone, '')
    )
"""

_COLUMNS = """
    r.id AS recipient_id, staging.key, staging.line, staging.phone, staging.time_zone, staging.zones,
    staging.appointment_at, {due_at} AS due_at, {expires_at} AS expires_at, staging.attributes, staging."row",
    ({other_zones}) AS other_zones, ({other_row}) AS other_row, r.phone <> staging.phone AS other_phone,
    FALSE AS taken
"""

_FIND = """
    INSERT INTO corrected
    SELECT * FROM (SELECT {columns} FROM staging JOIN recipients AS r ON {same}) AS found
    WHERE other_zones OR other_row
"""

# The other reminders of such an appointment, which the list no longer brings: without times.
_FIND_OTHERS = """
    INSERT INTO corrected
    SELECT * FROM (
        SELECT {columns}
        FROM staging JOIN recipients AS r
        ON r.list_key = staging.list_key AND r.appointment_at = staging.appointment_at
        WHERE r.run_id IN (SELECT id FROM runs WHERE campaign_id = :campaign_id)
        AND staging.key <> ''
        AND NOT EXISTS (
            SELECT 1 FROM staging AS before
            WHERE before.list_key = staging.list_key AND before.appointment_at = staging.appointment_at
            AND before.key <> ''
            AND (before.line < staging.line OR (before.line = staging.line AND before.key < staging.key))
        )
        AND NOT EXISTS (
            SELECT 1 FROM staging AS own
            WHERE own.list_key = r.list_key AND own.appointment_at = r.appointment_at
            AND own.key <> '' AND coalesce(own.reminder, '') = coalesce(r.reminder, '')
        )
    ) AS found
    WHERE other_zones OR other_row
"""

_BY_KEY = "r.run_id = :run_id AND r.key = staging.key"
# However many runs there are: an appointment is entered once.
_BY_APPOINTMENT = """
    r.list_key = staging.list_key AND r.appointment_at = staging.appointment_at
    AND coalesce(r.reminder, '') = coalesce(staging.reminder, '') AND staging.key <> ''
    AND r.run_id IN (SELECT id FROM runs WHERE campaign_id = :campaign_id)
"""

# The first line wins among equal keys, as when they were entered, or the same list would never come to rest.
_FIRST_LINE_WINS = """
    DELETE FROM corrected WHERE EXISTS (
        SELECT 1 FROM staging AS above
        WHERE above.key = corrected.key AND above.line < corrected.line
        AND coalesce(above.appointment_at, 0) = coalesce(corrected.appointment_at, 0)
    )
"""

# The run first, and everything in order, as everybody has it, or this and another that takes several would
# wait for each other. Other runs, with the same appointments, are held already (appointments.py).
_HOLD_RUN = "SELECT id FROM runs WHERE id = :run_id {for_update}"

# A worker that moves one of them to `dialing` just now has read the old row, and would call by it. A redial
# of a recipient whose row stays is left alone.
_TAKE_BACK_QUEUED = """
    UPDATE attempts SET state = 'returned', reason = 'the list says something else of the recipient'
    WHERE id IN (
        SELECT attempts.id FROM attempts
        WHERE attempts.state = 'queued' AND attempts.recipient_id IN (
            SELECT recipient_id FROM corrected WHERE other_zones OR NOT EXISTS (
                SELECT 1 FROM attempts AS dialed
                WHERE dialed.recipient_id = corrected.recipient_id
                AND dialed.state NOT IN ('queued', 'returned', 'refused')
            )
        )
        ORDER BY attempts.lease_until, attempts.id {for_update}
    )
"""

_HOLD = """
    SELECT id FROM recipients WHERE id IN (SELECT recipient_id FROM corrected) ORDER BY id {for_update}
"""

_CORRECT = """
    UPDATE recipients SET
        time_zone = corrected.time_zone,
        zones = corrected.zones,
        state = CASE
            WHEN state = 'in_progress' AND EXISTS (
                SELECT 1 FROM attempts WHERE attempts.recipient_id = recipients.id
                AND attempts.number = recipients.attempts AND attempts.state = 'returned'
            ) THEN 'waiting'
            ELSE state
        END
    FROM corrected
    WHERE corrected.recipient_id = recipients.id AND corrected.other_zones
    AND recipients.state IN ('waiting', 'in_progress', 'held', 'suppressed', 'dropped')
"""

# A reminder comes earlier where it would come in closed hours, and which those are, the zone says. Once it
# was claimed, it keeps its times.
_REMIND = """
    UPDATE recipients SET due_at = corrected.due_at, expires_at = corrected.expires_at, waits_for = NULL
    FROM corrected
    WHERE corrected.recipient_id = recipients.id AND recipients.attempts = 0
    AND (corrected.other_zones OR corrected.other_phone)
    AND corrected.due_at IS NOT NULL AND recipients.state IN ('waiting', 'suppressed', 'dropped')
"""

# By these zones it has come together with the next one, or there is no open hour left for it. One that is
# no longer in the campaign's file is made, as it is all that the appointment has.
_NOT_MADE = """
    UPDATE recipients SET state = 'expired', expires_at = :now, waits_for = NULL
    FROM corrected
    WHERE corrected.recipient_id = recipients.id AND corrected.due_at IS NULL
    AND (corrected.other_zones OR corrected.other_phone)
    AND coalesce(recipients.reminder, '') IN :names AND recipients.state IN ('waiting', 'suppressed')
    AND NOT EXISTS (
        SELECT 1 FROM attempts
        WHERE attempts.recipient_id = recipients.id AND attempts.state NOT IN ('queued', 'returned')
    )
"""

_COUNT = "SELECT count(DISTINCT line) FROM corrected WHERE {which}"


@dataclass(frozen=True, slots=True)
class Corrected:
    """How many rows of the list say something else than the ledger did."""

    changed: int = 0
    """Another number, or another text in a cell or in what is said."""
    updated: int = 0
    """Those of them whose recipients were never called, and have the new row now."""
    other_zones: int = 0
    """Rows with another time zone, for recipients who are not over."""
    waiting: bool = False
    """Whether a recipient waits who has the new row: a run that had finished has recipients to call."""


def correct(
    db: Connection,
    campaign_id: int,
    run_id: int,
    load_id: int,
    *,
    reminders: Collection[str | None] | None,
    now: datetime,
) -> Corrected:
    """Give the recipients of the staged list (lists.py) who are there already what it says of them now.

    `reminders`: the names of the campaign's, if it has appointments. A recipient who is queued comes back,
    and is queued again by the new row. In the transaction in which the others are entered.
    """
    this = {"campaign_id": campaign_id, "run_id": run_id, "load_id": load_id, "now": microseconds(now)}
    create_temporary(db, _CORRECTED)
    if not sum(db.execute(text(find), this).rowcount for find in _finds(db, reminders is not None)):
        return Corrected()
    if reminders is None:
        index_keys(db)
    db.execute(text("CREATE UNIQUE INDEX corrected_line ON corrected (recipient_id, line)"))
    db.execute(text(_FIRST_LINE_WINS))
    # SQLite has no locks on rows, nor needs them.
    for_update = "FOR NO KEY UPDATE" if db.dialect.name == "postgresql" else ""
    if for_update:
        db.execute(text("ANALYZE corrected"))
        db.execute(text(_HOLD_RUN.format(for_update=for_update)), this)
    db.execute(text(_TAKE_BACK_QUEUED.format(for_update=for_update)))
    if for_update:
        db.execute(text(_HOLD.format(for_update=for_update)))
    waiting = new_rows.take(db, this)
    db.execute(text(_CORRECT))
    if reminders is not None:
        db.execute(text(_REMIND))
        not_made = text(_NOT_MADE).bindparams(bindparam("names", expanding=True))
        db.execute(not_made, {"names": [name or "" for name in reminders], "now": microseconds(now)})
    changed, updated, zones = (
        int(db.execute(text(_COUNT.format(which=which))).scalar_one())
        for which in ("other_row", "taken", "other_zones")
    )
    return Corrected(changed, updated, zones, waiting)


def _finds(db: Connection, by_appointment: bool) -> list[str]:
    # Of a recipient whose time has passed, or whose run was cancelled, no row leads to a call.
    other_row = f"r.state NOT IN ('expired', 'cancelled') AND {new_rows.differs(db)}"
    parts = {"other_zones": _OTHER_ZONES, "other_row": other_row}
    own = _COLUMNS.format(due_at="staging.due_at", expires_at="staging.expires_at", **parts)
    if not by_appointment:
        return [_FIND.format(columns=own, same=_BY_KEY)]
    no_time = "CAST(NULL AS BIGINT)"
    others = _COLUMNS.format(due_at=no_time, expires_at=no_time, **parts)
    return [_FIND.format(columns=own, same=_BY_APPOINTMENT), _FIND_OTHERS.format(columns=others)]
