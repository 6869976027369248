"""A list goes into the ledger: whole, or not at all."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice

from sqlalchemy import Connection, insert, text, update

from campaigns.attempt import RecipientState
from campaigns.campaign import Campaign
from campaigns.changes import Change, changes
from campaigns.ledger import runs
from campaigns.ledger.engine import Errand, Ledger, begun
from campaigns.ledger.rules import Judged, judge_again, rehearse
from campaigns.ledger.tables import AT_ONCE, loads, microseconds
from campaigns.recipient import Recipient

_BATCH = 2_000  # rows that are held in memory at once

# Rows wait in a table that only this connection can see, so that reading and checking a long file holds no
# lock on the ledger, and a load that is killed leaves nothing behind: the database drops the table itself.
_STAGING = """
    CREATE TEMPORARY TABLE staging (
        line INTEGER NOT NULL, key TEXT NOT NULL, phone TEXT NOT NULL,
        time_zone TEXT, zones TEXT, appointment_at BIGINT, reminder TEXT, due_at BIGINT NOT NULL,
        expires_at BIGINT, attributes TEXT NOT NULL, "row" TEXT NOT NULL
    )
"""

# Everything at once: the first line wins among equal keys, and whoever is there already stays as they are.
_MERGE = """
    INSERT INTO recipients
        (run_id, load_id, line, key, phone, time_zone, zones, appointment_at, reminder, due_at, expires_at,
         attributes, "row", state, attempts)
    SELECT :run_id, :load_id, line, key, phone, time_zone, zones, appointment_at, reminder, due_at,
           expires_at, {attributes}, {row},
           CASE WHEN EXISTS (
               SELECT 1 FROM suppressions
               WHERE suppressions.phone = staging.phone AND suppressions.campaign_id IN (0, :campaign_id)
           ) THEN 'suppressed' ELSE 'waiting' END, 0
    FROM staging
    WHERE true
    ORDER BY line
    ON CONFLICT (run_id, key) DO NOTHING
"""


@dataclass(frozen=True, slots=True)
class Loaded:
    """What became of a list's rows. rows = accepted + duplicates + rejected + suppressed."""

    campaign: str
    rows: int
    accepted: int
    duplicates: int
    rejected: int
    suppressed: int
    changes: tuple[Change, ...]
    """The campaign's choices that differ from those in the ledger until now."""
    judged: Judged
    """What new redial rules have changed for people, if they are among the changes."""

    @property
    def changed(self) -> tuple[str, ...]:
        """The keys of what has changed."""
        return tuple(change.key for change in self.changes)


@dataclass(slots=True)
class Rejections:
    """Counts the rows that were not handed on; `put_list` reads it after the last recipient."""

    count: int = 0


def put_list(
    ledger: Ledger,
    campaign: Campaign,
    people: Iterable[Recipient],
    *,
    file_name: str,
    columns: Sequence[str],
    rejections: Rejections,
    now: datetime,
) -> Loaded:
    """Enter a campaign and the recipients of its list who are not in it yet, in one transaction.

    Loading the same list again adds nobody, a longer one adds the new rows. `people` is consumed before
    the ledger is locked. Raises Mistake for a campaign that cannot take the list.
    """
    with ledger.connection() as db:
        db.detach()  # closed at the end instead of pooled, and its staging table with it
        with begun(db, "IMMEDIATE") as rehearsal:
            # Says no before a million rows are read; asked again below, where it counts.
            ledger.in_turn(db, Errand.LOAD)
            campaign_id, was = runs.put_campaign(db, campaign, now)
            run_id = runs.put_run(db, campaign_id, now)
            rehearsal.rollback()
        staged = _stage(db, people)
        if was is not None and was.redial != campaign.redial:
            rehearse(db, run_id, campaign.redial)
        with begun(db, "IMMEDIATE"):
            ledger.in_turn(db, Errand.LOAD)
            campaign_id, was = runs.put_campaign(db, campaign, now)
            run_id = runs.put_run(db, campaign_id, now)
            judged = Judged()
            if was is not None and was.redial != campaign.redial:
                # With the change itself, or people would be dialed by rules that hold no more.
                judged = judge_again(db, run_id, was.redial, campaign.redial)
            row = insert(loads).values(
                run_id=run_id,
                file_name=file_name,
                columns=list(columns),
                loaded_at=now,
                rows=staged + rejections.count,
                accepted=0,
                duplicates=0,
                rejected=rejections.count,
                suppressed=0,
            )
            load_id = int(db.execute(row.returning(loads.c.id)).scalar_one())
            as_json = "{}" if ledger.is_sqlite else "CAST({} AS JSON)"
            merge = _MERGE.format(
                attributes=as_json.format("attributes"), row=as_json.format('staging."row"')
            )
            this = {"run_id": run_id, "load_id": load_id, "campaign_id": campaign_id}
            entered = db.execute(text(merge), this).rowcount
            suppressed = _count_suppressed(db, load_id)
            accepted = entered - suppressed
            db.execute(
                update(loads)
                .where(loads.c.id == load_id)
                .values(accepted=accepted, suppressed=suppressed, duplicates=staged - entered)
            )
            if accepted:
                runs.reopen(db, run_id, campaign.name)
        return Loaded(
            campaign=campaign.name,
            rows=staged + rejections.count,
            accepted=accepted,
            duplicates=staged - entered,
            rejected=rejections.count,
            suppressed=suppressed,
            changes=changes(was, campaign) if was is not None else (),
            judged=judged,
        )


def _stage(db: Connection, people: Iterable[Recipient]) -> int:
    """Write the recipients to the connection's own table. Returns how many."""
    with begun(db, "DEFERRED"):
        db.execute(text(_STAGING))
    put = text(
        "INSERT INTO staging VALUES (:line, :key, :phone, :time_zone, :zones, :appointment_at, :reminder, "
        ":due_at, :expires_at, :attributes, :row)"
    )
    staged, stream = 0, iter(people)
    while batch := list(islice(stream, _BATCH)):
        with begun(db, "DEFERRED"):
            db.execute(
                put,
                [
                    {
                        "line": person.line,
                        "key": person.key,
                        "phone": person.phone,
                        "time_zone": person.time_zone,
                        "zones": person.zones,
                        "appointment_at": _microseconds(person.appointment_at),
                        "reminder": person.reminder,
                        # Not the present: were this clock ahead, nobody would be due when it is put back.
                        "due_at": microseconds(person.due_at or AT_ONCE),
                        "expires_at": _microseconds(person.expires_at),
                        "attributes": json.dumps(person.attributes, ensure_ascii=False),
                        "row": json.dumps(person.row, ensure_ascii=False),
                    }
                    for person in batch
                ],
            )
        staged += len(batch)
    return staged


def _microseconds(instant: datetime | None) -> int | None:
    return None if instant is None else microseconds(instant)


def _count_suppressed(db: Connection, load_id: int) -> int:
    query = text("SELECT count(*) FROM recipients WHERE load_id = :load_id AND state = :state")
    return int(db.execute(query, {"load_id": load_id, "state": RecipientState.SUPPRESSED}).scalar_one())
