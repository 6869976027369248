"""A list says another time zone of somebody who is there already: from now on that one counts.

Nobody is rung twice for it: it only says when they may be. It is what mends a list without time zones.
"""

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import Connection, bindparam, text

from campaigns.ledger.preparation import create_temporary
from campaigns.ledger.tables import microseconds

_CORRECTED = """
    CREATE TEMPORARY TABLE corrected (
        recipient_id BIGINT NOT NULL, key TEXT NOT NULL, line INTEGER NOT NULL, time_zone TEXT,
        zones TEXT NOT NULL, appointment_at BIGINT, due_at BIGINT, expires_at BIGINT
    )
"""

# A list that says nothing of a time zone corrects nothing; nor does a row with another number, whose zones
# are none of theirs. Whoever is over stays as they were called.
_OTHER_ZONES = """
    r.state IN ('waiting', 'in_progress', 'held', 'suppressed') AND r.phone = staging.phone
    AND staging.zones IS NOT NULL AND (staging.time_zone IS NOT NULL OR r.time_zone IS NULL)
    AND (
        coalesce(r.zones, '') <> staging.zones
        OR coalesce(r.time_zone, '') <> coalesce(staging.time_zone, '')
    )
"""

_FIND = """
    INSERT INTO corrected
    SELECT r.id, staging.key, staging.line, staging.time_zone, staging.zones,
           staging.appointment_at, staging.due_at, staging.expires_at
    FROM staging JOIN recipients AS r ON {same}
    WHERE {other_zones}
"""

# The other reminders of such an appointment, which the list does not bring any more: without times.
_FIND_OTHERS = """
    INSERT INTO corrected
    SELECT r.id, min(staging.key), staging.line, staging.time_zone, staging.zones, staging.appointment_at,
           NULL, NULL
    FROM staging JOIN recipients AS r
    ON r.list_key = staging.list_key AND r.appointment_at = staging.appointment_at
    WHERE r.run_id IN (SELECT id FROM runs WHERE campaign_id = :campaign_id)
    AND NOT EXISTS (
        SELECT 1 FROM staging AS own
        WHERE own.list_key = r.list_key AND own.appointment_at = r.appointment_at
        AND own.key <> '' AND coalesce(own.reminder, '') = coalesce(r.reminder, '')
    )
    AND {other_zones}
    GROUP BY r.id, staging.line, staging.time_zone, staging.zones, staging.appointment_at
"""

_BY_KEY = "r.run_id = :run_id AND r.key = staging.key"
# However many runs there are: an appointment is entered once.
_BY_APPOINTMENT = """
    r.list_key = staging.list_key AND r.appointment_at = staging.appointment_at
    AND coalesce(r.reminder, '') = coalesce(staging.reminder, '')
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

# A worker that is letting one of them be dialed just now has seen the old zones, and would go by these.
_TAKE_BACK_QUEUED = """
    UPDATE attempts SET state = 'returned', reason = 'the list says another time zone'
    WHERE id IN (
        SELECT attempts.id FROM attempts
        WHERE attempts.state = 'queued' AND attempts.recipient_id IN (SELECT recipient_id FROM corrected)
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
    WHERE corrected.recipient_id = recipients.id
    AND recipients.state IN ('waiting', 'in_progress', 'held', 'suppressed')
"""

# A reminder comes earlier where it would come in closed hours, and which those are, the zone says. Once it
# was claimed, it keeps its times.
_REMIND = """
    UPDATE recipients SET due_at = corrected.due_at, expires_at = corrected.expires_at, waits_for = NULL
    FROM corrected
    WHERE corrected.recipient_id = recipients.id AND recipients.attempts = 0
    AND corrected.due_at IS NOT NULL AND recipients.state IN ('waiting', 'suppressed')
"""

# By these zones it has come together with the next one, or there is no open hour left for it. One that is not
# in the campaign's file any more is made, as it is all that the appointment has.
_NOT_MADE = """
    UPDATE recipients SET state = 'expired', expires_at = :now, waits_for = NULL
    FROM corrected
    WHERE corrected.recipient_id = recipients.id AND corrected.due_at IS NULL
    AND coalesce(recipients.reminder, '') IN :names AND recipients.state IN ('waiting', 'suppressed')
    AND NOT EXISTS (
        SELECT 1 FROM attempts
        WHERE attempts.recipient_id = recipients.id AND attempts.state NOT IN ('queued', 'returned')
    )
"""

_COUNT = "SELECT count(DISTINCT line) FROM corrected"


def correct_zones(
    db: Connection, campaign_id: int, run_id: int, *, reminders: Collection[str | None] | None, now: datetime
) -> int:
    """Give those of the staged list (lists.py) who are there the time zones that it says.

    `reminders`: the names of the campaign's, if it has appointments. Whoever is queued comes back, and is
    queued again when the new zones allow it. In the transaction in which the others are entered. Returns how
    many rows.
    """
    finds = [_FIND.format(same=_BY_KEY, other_zones=_OTHER_ZONES)]
    this = {"run_id": run_id}
    if reminders is not None:
        this = {"campaign_id": campaign_id}
        finds = [
            each.format(same=_BY_APPOINTMENT, other_zones=_OTHER_ZONES) for each in (_FIND, _FIND_OTHERS)
        ]
    create_temporary(db, _CORRECTED)
    if not sum(db.execute(text(find), this).rowcount for find in finds):
        return 0
    if reminders is None:
        db.execute(text("CREATE INDEX staging_key ON staging (key, line)"))
    db.execute(text("CREATE UNIQUE INDEX corrected_line ON corrected (recipient_id, line)"))
    db.execute(text(_FIRST_LINE_WINS))
    # SQLite has no locks on rows, nor needs them.
    for_update = "FOR NO KEY UPDATE" if db.dialect.name == "postgresql" else ""
    if for_update:
        db.execute(text("ANALYZE corrected"))
        db.execute(text(_HOLD_RUN.format(for_update=for_update)), {"run_id": run_id})
    db.execute(text(_TAKE_BACK_QUEUED.format(for_update=for_update)))
    if for_update:
        db.execute(text(_HOLD.format(for_update=for_update)))
    db.execute(text(_CORRECT))
    if reminders is not None:
        db.execute(text(_REMIND))
        not_made = text(_NOT_MADE).bindparams(bindparam("names", expanding=True))
        db.execute(not_made, {"names": [name or "" for name in reminders], "now": microseconds(now)})
    return int(db.execute(text(_COUNT)).scalar_one())
