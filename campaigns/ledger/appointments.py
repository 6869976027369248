"""A list of appointments meets those that the ledger has: the same ones, moved ones, new ones.

An appointment is the list's key and a time. However many lists it stands on, in however many runs, it is
entered once. A key that is on the new list, but not with the time that the ledger has, is an appointment that
has moved: nobody is called for the old time any more. All of it is asked of the list as a whole, in the table
`staging` of lists.py, and of `recipients.list_key`.
"""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, TextClause, bindparam, text

from campaigns.ledger.new_rows import KEEP_OLD, differs
from campaigns.ledger.preparation import create_temporary
from campaigns.ledger.tables import microseconds

# These are put into the statements below by name. A recipient is called `r` there.
_PARTS = {
    # What was claimed and came back did not ring.
    "never_dialed": """
        NOT EXISTS (
            SELECT 1 FROM attempts
            WHERE attempts.recipient_id = r.id AND attempts.state NOT IN ('queued', 'returned')
        )
    """,
    "same": """
        SELECT 1 FROM recipients AS r JOIN runs ON runs.id = r.run_id
        WHERE r.list_key = staging.list_key AND r.appointment_at = staging.appointment_at
        AND runs.campaign_id = :campaign_id
    """,
    # Nobody was called for it, and nobody is going to be.
    "in_vain": """
        (r.state IN ('expired', 'cancelled') OR (r.state = 'suppressed' AND r.run_id <> :run_id))
        AND {never_dialed}
    """,
}

_WITHDRAWN = """
    CREATE TEMPORARY TABLE withdrawn (
        recipient_id BIGINT PRIMARY KEY, list_key TEXT NOT NULL, moved BOOLEAN NOT NULL
    )
"""

# The runs first, and all at once in order, as everybody has it who goes on to attempts and recipients. Also
# those that are over and have these keys: who is there may be withdrawn, or get another time zone.
_HOLD_RUNS = """
    SELECT id FROM runs WHERE campaign_id = :campaign_id AND (
        state NOT IN ('finished', 'cancelled')
        OR number = (SELECT max(number) FROM runs WHERE campaign_id = :campaign_id)
        OR id IN (SELECT run_id FROM recipients WHERE list_key IN (SELECT list_key FROM staging))
    )
    ORDER BY id {for_update}
"""

# What is not entered: a row that stands further up too, a reminder that the ledger has, and any reminder of
# an appointment that it has by other reminders than there are in the campaign's file by now.
_KNOWN = """
    UPDATE staging SET enter_as = NULL
    WHERE EXISTS (
        SELECT 1 FROM staging AS above
        WHERE above.key = staging.key AND above.appointment_at = staging.appointment_at
        AND above.line < staging.line
    )
    OR EXISTS ({same} AND coalesce(r.reminder, '') = coalesce(staging.reminder, '') AND NOT ({in_vain}))
    OR EXISTS ({same} AND coalesce(r.reminder, '') NOT IN :names AND NOT ({in_vain}))
"""

# Old times of keys that the list has with others, rejected ones too. Nobody knows what becomes of an
# appointment whose key is not on the list. Who is done, or suppressed, may be asked for again.
_MOVED = """
    INSERT INTO withdrawn
    SELECT r.id, r.list_key, r.state <> 'done' FROM recipients AS r JOIN runs ON runs.id = r.run_id
    WHERE runs.campaign_id = :campaign_id AND (
        r.state IN ('waiting', 'in_progress', 'held')
        OR (r.state IN ('suppressed', 'done') AND r.expires_at > :now)
    )
    AND r.list_key IN (SELECT list_key FROM staging)
    AND NOT EXISTS (
        SELECT 1 FROM staging
        WHERE staging.list_key = r.list_key AND staging.appointment_at = r.appointment_at
    )
"""

# Whoever is entered again leaves the run in which they were suppressed. Taken off the suppression list, they
# would wait in both.
_ENTERED_AGAIN = """
    INSERT INTO withdrawn
    SELECT r.id, r.list_key, false FROM recipients AS r JOIN runs ON runs.id = r.run_id
    WHERE runs.campaign_id = :campaign_id AND r.run_id <> :run_id AND r.state = 'suppressed'
    AND EXISTS (
        SELECT 1 FROM staging
        WHERE staging.list_key = r.list_key AND staging.appointment_at = r.appointment_at
        AND staging.enter_as IS NOT NULL
    )
    AND {never_dialed}
"""

# In the order in which all who take back what is queued have it, or they would wait for each other.
_TAKE_BACK_QUEUED = """
    UPDATE attempts SET state = 'returned', reason = 'the appointment has moved'
    WHERE id IN (
        SELECT attempts.id FROM attempts
        WHERE attempts.state = 'queued' AND attempts.recipient_id IN (SELECT recipient_id FROM withdrawn)
        ORDER BY attempts.lease_until, attempts.id {for_update}
    )
"""

# A call that has left goes on. If it is to be followed by another, that one finds its time over. Whoever is
# done stays so, and whoever was dialed and is suppressed.
_WITHDRAW = """
    UPDATE recipients SET
        expires_at = :now,
        waits_for = NULL,
        state = CASE
            WHEN state = 'waiting' OR (state = 'in_progress' AND EXISTS (
                SELECT 1 FROM attempts WHERE attempts.recipient_id = recipients.id
                AND attempts.number = recipients.attempts AND attempts.state = 'returned'
            )) OR (state = 'suppressed' AND NOT EXISTS (
                SELECT 1 FROM attempts WHERE attempts.recipient_id = recipients.id
                AND attempts.state NOT IN ('queued', 'returned')
            )) THEN 'expired'
            ELSE state
        END
    WHERE id IN (
        SELECT id FROM recipients WHERE id IN (SELECT recipient_id FROM withdrawn) ORDER BY id {for_update}
    )
"""

# The list has a time again that was withdrawn: it counts for what follows a call that was made for it.
_BACK = """
    UPDATE recipients SET expires_at = (
        SELECT max(staging.expires_at) FROM staging
        WHERE staging.list_key = recipients.list_key AND staging.appointment_at = recipients.appointment_at
        AND coalesce(staging.reminder, '') = coalesce(recipients.reminder, '')
    )
    WHERE id IN (
        SELECT id FROM recipients WHERE id IN (
            SELECT r.id FROM recipients AS r JOIN staging ON r.list_key = staging.list_key
            AND r.appointment_at = staging.appointment_at
            AND coalesce(r.reminder, '') = coalesce(staging.reminder, '')
            WHERE r.run_id IN (SELECT id FROM runs WHERE campaign_id = :campaign_id)
            AND r.state IN ('in_progress', 'held', 'done', 'suppressed')
            AND r.expires_at <= :now AND staging.expires_at > :now
        )
        ORDER BY id {for_update}
    )
"""

# The list's own key, for the first time of it. Another one has its time in the key, unless it takes the
# place of a time in the same run for which nobody was called.
_NAME = """
    UPDATE staging SET enter_as = dated_key
    WHERE enter_as IS NOT NULL AND NOT (
        line = (
            SELECT min(line) FROM staging AS first
            WHERE first.key = staging.key AND first.enter_as IS NOT NULL
        )
        AND NOT EXISTS (
            SELECT 1 FROM recipients AS r WHERE r.run_id = :run_id AND r.key = staging.key AND NOT (
                r.state = 'expired' AND {never_dialed} AND (
                    r.appointment_at = staging.appointment_at
                    OR r.id IN (SELECT recipient_id FROM withdrawn)
                )
            )
        )
    )
"""

# The rows with the new times; or the first one of its key, if the ledger has them all. A rejected one, which
# is without a key of its own in `staging`, counts as that.
_COUNT_MOVED = """
    SELECT count(DISTINCT line) FROM staging
    WHERE key <> '' AND list_key IN (SELECT list_key FROM withdrawn WHERE moved) AND (
        enter_as IS NOT NULL
        OR line = (
            SELECT min(line) FROM staging AS first
            WHERE first.list_key = staging.list_key AND first.key <> ''
            AND NOT EXISTS (
                SELECT 1 FROM staging AS entered
                WHERE entered.list_key = staging.list_key AND entered.enter_as IS NOT NULL
            )
        )
    )
"""

# In whose place: recipients of this run who were never called, and whose time is over.
_PLACES = """
    r.run_id = :run_id AND r.state = 'expired' AND {never_dialed}
    AND r.key IN (SELECT enter_as FROM staging WHERE enter_as IS NOT NULL)
"""

_COUNT_CHANGED = """
    SELECT count(DISTINCT staging.line) FROM staging JOIN recipients AS r ON r.key = staging.enter_as
    WHERE {places} AND (r.appointment_at <> staging.appointment_at OR {differs})
"""

# What `lists.py` could not enter, because its key is there.
_TAKE_PLACES = """
    UPDATE recipients SET
        (load_id, line, phone, time_zone, zones, appointment_at, due_at, expires_at, waits_for,
         attributes, "row", state) = (
            SELECT :load_id, line, phone, time_zone, zones, appointment_at, due_at, expires_at, 'appointment',
                   attributes, "row", {state}
            FROM staging WHERE staging.enter_as = recipients.key ORDER BY line LIMIT 1
        )
    WHERE id IN (SELECT r.id FROM recipients AS r WHERE {places})
"""


def hold_runs(db: Connection, campaign_id: int) -> None:
    """Nobody is claimed, or ends a call, in the runs that have appointments of the staged keys."""
    db.execute(text("CREATE INDEX staging_appointment ON staging (key, appointment_at)"))
    db.execute(text("CREATE INDEX staging_list_key ON staging (list_key, appointment_at)"))
    if _is_postgresql(db):
        db.execute(text("ANALYZE staging"))
        db.execute(_statement(db, _HOLD_RUNS), {"campaign_id": campaign_id})


def meet(db: Connection, campaign_id: int, run_id: int, names: Collection[str | None], now: datetime) -> int:
    """Decide as what each staged recipient is entered (`enter_as`; NULL: not at all), and withdraw old times.

    `names`: those of the campaign's reminders. `hold_runs` comes first. Returns of how many rows the
    appointment has moved.
    """
    this = {"campaign_id": campaign_id, "run_id": run_id, "now": microseconds(now)}
    create_temporary(db, _WITHDRAWN)
    known = _statement(db, _KNOWN).bindparams(bindparam("names", expanding=True))
    db.execute(known, {**this, "names": [name or "" for name in names]})
    withdrawn = [db.execute(_statement(db, each), this).rowcount for each in (_MOVED, _ENTERED_AGAIN)]
    if any(withdrawn):
        db.execute(_statement(db, _TAKE_BACK_QUEUED))
        db.execute(_statement(db, _WITHDRAW), this)
    db.execute(_statement(db, _BACK), this)
    db.execute(_statement(db, _NAME), this)
    db.execute(text("CREATE INDEX staging_enter_as ON staging (enter_as)"))
    return int(db.execute(text(_COUNT_MOVED)).scalar_one())


def take_places(db: Connection, this: Mapping[str, Any], state: str) -> tuple[int, int]:
    """Those for whom nobody was called in this run get the time that has taken the place of theirs.

    To be done after the others are entered, whose keys are not there yet. `this`: `load_id`, `run_id`,
    `campaign_id`, and `now` in microseconds. `state`: that of a new recipient, as SQL. Returns how many
    recipients, and how many rows of the list have brought them something else than they had.
    """
    changed = int(db.execute(_statement(db, _COUNT_CHANGED, differs=differs(db)), this).scalar_one())
    if changed:
        db.execute(_statement(db, KEEP_OLD, these=_PLACES), this)
    return db.execute(_statement(db, _TAKE_PLACES, state=state), this).rowcount, changed


def _statement(db: Connection, template: str, **others: str) -> TextClause:
    # SQLite has no locks on rows, nor needs them.
    for_update = "FOR NO KEY UPDATE" if _is_postgresql(db) else ""
    parts = {**_PARTS, "places": _PLACES, **others, "for_update": for_update}
    while "{" in template:
        template = template.format_map(parts)
    return text(template)


def _is_postgresql(db: Connection) -> bool:
    return db.dialect.name == "postgresql"
