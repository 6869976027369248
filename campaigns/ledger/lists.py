"""A list goes into the ledger: whole, or not at all."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from sqlalchemy import Connection, insert, text, update

from campaigns.attempt import RecipientState
from campaigns.campaign import Campaign
from campaigns.campaign_source import CampaignSource
from campaigns.changes import Change, changes
from campaigns.ledger import appointments, runs, schedules, trials
from campaigns.ledger.choices import put_campaign
from campaigns.ledger.corrections import Corrected, correct
from campaigns.ledger.drops import Gone, settle_gone
from campaigns.ledger.engine import Errand, Ledger, begun
from campaigns.ledger.one_telephone import unite
from campaigns.ledger.preparation import entering, prepare
from campaigns.ledger.rules import Judged, judge_again, rehearse
from campaigns.ledger.schedules import Fire
from campaigns.ledger.staging import Batch, Miscounted, stage
from campaigns.ledger.tables import loads, microseconds
from campaigns.mistake import Mistake
from campaigns.side import Exchange

_SUPPRESSED_OR_WAITING = """
    CASE WHEN EXISTS (
        SELECT 1 FROM suppressions
        WHERE suppressions.phone = staging.phone AND suppressions.campaign_id IN (0, :campaign_id)
    ) THEN 'suppressed' ELSE 'waiting' END
"""

# Everything at once: the first line wins among equal keys, and recipients who are there already stay as they
# are (corrections.py comes afterwards).
_MERGE = """
    INSERT INTO recipients
        (run_id, load_id, line, key, list_key, phone, time_zone, zones, appointment_at, reminder, due_at,
         expires_at, attributes, "row", state, attempts)
    SELECT :run_id, :load_id, line, enter_as, list_key, phone, time_zone, zones, appointment_at, reminder,
           due_at, expires_at, attributes, "row", {state}, 0
    FROM staging
    WHERE enter_as IS NOT NULL
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
    changes: tuple[Change, ...] = ()
    """The campaign's choices that differ from those in the ledger until now."""
    judged: Judged = field(default_factory=Judged)
    """What new redial rules have changed for people, if they are among the changes."""
    moved: int = 0
    """Rows, accepted or duplicates, whose appointment had another time in the ledger until now."""
    changed_rows: int = 0
    """Duplicates that say something else than the ledger did: another number, text or appointment."""
    updated: int = 0
    """Those of them whose recipients were never called, and have the new row now."""
    other_zones: int = 0
    """Duplicates that had another time zone, or none, in the ledger until now."""
    gone: Gone = field(default_factory=Gone)
    """Who is in the run, but not on the list."""
    kept_out: int = 0
    """Accepted, but taken out: an operator had taken them out of the latest trial."""

    @property
    def changed(self) -> tuple[str, ...]:
        """The keys of the campaign's file that have changed."""
        return tuple(change.key for change in self.changes)


def put_list(
    ledger: Ledger,
    campaign: Campaign,
    batches: Iterable[Batch],
    *,
    file_name: str,
    columns: Sequence[str],
    now: datetime,
    fire: Fire | None = None,
    source: CampaignSource | None = None,
    drop_gone: bool = False,
) -> Loaded:
    """Enter a campaign and the recipients of its list who are not in it yet, in one transaction.

    Loading the same list again adds no recipient, a longer one adds the new rows; who is there and was never
    called gets the row that the list has now. `source`: the campaign's file. `drop_gone`: recipients
    of the run who are not on the list are taken out. `batches` are read before the ledger is locked. Raises
    Mistake for a campaign that cannot take the list, and Miscounted when the counts do not add up; then
    nothing was entered.

    `fire`: the list is a run of its own, which begins with this transaction; the campaign stays as it is in
    the ledger. Raises FireGone if somebody else has begun that run, or has changed the campaign.
    """
    with ledger.connection() as db:
        db.detach()  # closed at the end instead of pooled, and its staging table with it
        with begun(db, "IMMEDIATE") as rehearsal:
            # Says no before a million rows are read; asked again below, where it counts.
            ledger.in_turn(db, Errand.LOAD)
            campaign_id, was, run_id = _put_run(db, campaign, fire, now, source)
            unfinished = runs.ids_of(db, campaign_id)
            compared = campaign.reminder is None and _has_anybody(db, run_id)
            rehearsal.rollback()
        prepare(ledger, db)
        staged, rejected = stage(db, batches, by_key=compared)
        if was is not None and was.redial != campaign.redial:
            for each in unfinished:
                rehearse(db, each, campaign.redial)
        with entering(ledger, db):
            campaign_id, was, run_id = _put_run(db, campaign, fire, now, source)
            if campaign.reminder:
                appointments.hold_runs(db, campaign_id)
            judged = Judged()
            if was is not None and was.redial != campaign.redial:
                # With the change itself, or people would be dialed by rules that hold no more.
                judged = judge_all(db, campaign_id, was, campaign)
            row = insert(loads).values(
                run_id=run_id,
                file_name=file_name,
                columns=list(columns),
                loaded_at=now,
                rows=staged + rejected,
                accepted=0,
                duplicates=0,
                rejected=rejected,
                suppressed=0,
            )
            load_id = int(db.execute(row.returning(loads.c.id)).scalar_one())
            this = {"run_id": run_id, "load_id": load_id, "campaign_id": campaign_id}
            unite(db, run_id)
            all_are_new = not _has_anybody(db, run_id)
            moved = back = replaced = 0
            names = campaign.reminder.names.values() if campaign.reminder else None
            if names is not None:
                moved = appointments.meet(db, campaign_id, run_id, names, now)
            entered = db.execute(text(_MERGE.format(state=_SUPPRESSED_OR_WAITING)), this).rowcount
            if names is not None:
                entered = _count_rows(db, run_id, load_id)
            suppressed = _count_suppressed(db, run_id, load_id)
            accepted = entered - suppressed
            if names is not None:
                # After the counting: who they are is in the ledger already.
                places = {**this, "now": microseconds(now)}
                back, replaced = appointments.take_places(db, places, _SUPPRESSED_OR_WAITING)
            kept_out = trials.keep_out(db, campaign.name, run_id, load_id, now) if entered else 0
            corrected, gone = Corrected(), Gone()
            # Of a row with two reminders, one may be new and the other there. And a recipient whom only this
            # list has, it does not correct: the first line wins.
            if names is not None or (staged > entered and not all_are_new):
                corrected = correct(db, campaign_id, run_id, load_id, reminders=names, now=now)
            if not all_are_new:
                gone = settle_gone(
                    ledger, db, run_id, appointments=names is not None, drop=drop_gone, now=now
                )
            _check_counts(staged + rejected, accepted, staged - entered, suppressed, rejected)
            db.execute(
                update(loads)
                .where(loads.c.id == load_id)
                .values(accepted=accepted, suppressed=suppressed, duplicates=staged - entered)
            )
            if accepted or back or corrected.waiting or gone.waiting:
                runs.reopen(db, run_id, campaign.name)
        return Loaded(
            campaign=campaign.name,
            rows=staged + rejected,
            accepted=accepted,
            duplicates=staged - entered,
            rejected=rejected,
            suppressed=suppressed,
            changes=changes(was, campaign) if was is not None else (),
            judged=judged,
            moved=moved,
            changed_rows=corrected.changed + replaced,
            updated=corrected.updated + replaced,
            other_zones=corrected.other_zones,
            gone=gone,
            kept_out=kept_out,
        )


@dataclass(frozen=True, slots=True)
class Entered:
    """What became of a campaign whose schedule was entered."""

    new: bool
    """Whether it had not begun runs by itself until now."""
    changes: tuple[Change, ...]
    judged: Judged


def put_schedule(
    ledger: Ledger,
    campaign: Campaign,
    folder: Path,
    now: datetime,
    *,
    exchange: Exchange,
    source: CampaignSource | None = None,
) -> Entered:
    """Enter a campaign, or what has changed in its file, and let it begin runs by itself from now on.

    `folder`: from where its lists are found. `exchange`: the side that dials them. `source`: the campaign's
    file. Raises Mistake for a change that cannot be made, another side among them.
    """
    return _put_choices(
        ledger,
        campaign,
        now,
        source,
        lambda db, campaign_id: schedules.enter(db, campaign_id, folder, now, exchange=exchange),
    )


def put_choices(
    ledger: Ledger, campaign: Campaign, now: datetime, source: CampaignSource | None = None
) -> Entered:
    """Enter what has changed in the file of a campaign that was loaded before, without a list.

    Raises Mistake for a campaign that is not in the ledger, and for a change that cannot be made.
    """

    def refuse_new(db: Connection, campaign_id: int) -> bool:
        if not db.execute(text("SELECT 1 FROM runs WHERE campaign_id = :id"), {"id": campaign_id}).first():
            raise Mistake(
                f"{campaign.name} has no list in the ledger yet; name one: dialer load CAMPAIGN.toml LIST.csv"
            )
        return False

    return _put_choices(ledger, campaign, now, source, refuse_new)


def _put_choices(
    ledger: Ledger,
    campaign: Campaign,
    now: datetime,
    source: CampaignSource | None,
    then: Callable[[Connection, int], bool],
) -> Entered:
    """Enter a campaign's choices, judge the redials by them, and do what else is to be done with its id."""
    with ledger.connection() as db:
        db.detach()  # as for a list: judging leaves a table behind
        with begun(db, "IMMEDIATE") as rehearsal:
            ledger.in_turn(db, Errand.LOAD)
            campaign_id, was = put_campaign(db, campaign, now, source)
            unfinished = runs.ids_of(db, campaign_id)
            rehearsal.rollback()
        prepare(ledger, db)
        other_rules = was is not None and was.redial != campaign.redial
        for each in unfinished if other_rules else ():
            rehearse(db, each, campaign.redial)
        with entering(ledger, db):
            campaign_id, was = put_campaign(db, campaign, now, source)
            judged = Judged()
            if was is not None and was.redial != campaign.redial:
                judged = judge_all(db, campaign_id, was, campaign)
            new = then(db, campaign_id)
        return Entered(new, changes(was, campaign) if was is not None else (), judged)


def judge_all(db: Connection, campaign_id: int, was: Campaign, campaign: Campaign) -> Judged:
    """Judge the redials of all runs of a campaign by its new rules, in the transaction that enters them."""
    # All the runs before any of their people, as everywhere.
    ids = runs.ids_of(db, campaign_id, hold=True)
    judged = [judge_again(db, each, was.redial, campaign.redial) for each in ids]
    return Judged(
        sum(each.moved for each in judged),
        sum(each.done for each in judged),
        tuple(dict.fromkeys(outcome for each in judged for outcome in each.too_late)),
    )


def _check_counts(rows: int, accepted: int, duplicates: int, suppressed: int, rejected: int) -> None:
    """Raises Miscounted if the rows of a list are not all accounted for, each once."""
    counts = {
        "accepted": accepted,
        "duplicates": duplicates,
        "suppressed": suppressed,
        "rejected": rejected,
    }
    if sum(counts.values()) != rows or min(counts.values()) < 0:
        said = ", ".join(f"{count:,} {name}" for name, count in counts.items())
        raise Miscounted(f"of {rows:,} rows the ledger's database counts {said}; nothing was loaded")


def _put_run(
    db: Connection, campaign: Campaign, fire: Fire | None, now: datetime, source: CampaignSource | None
) -> tuple[int, Campaign | None, int]:
    """(the campaign's id, its choices until now if they may differ, the id of the run)."""
    if fire is not None:
        return fire.campaign_id, None, runs.put_fire(db, fire, now)
    campaign_id, was = put_campaign(db, campaign, now, source)
    return campaign_id, was, runs.put_run(db, campaign_id, now)


def _has_anybody(db: Connection, run_id: int) -> bool:
    query = text("SELECT EXISTS (SELECT 1 FROM recipients WHERE run_id = :run_id)")
    return bool(db.execute(query, {"run_id": run_id}).scalar_one())


def _count_rows(db: Connection, run_id: int, load_id: int) -> int:
    query = text("SELECT count(DISTINCT line) FROM recipients WHERE run_id = :run_id AND load_id = :load_id")
    return int(db.execute(query, {"run_id": run_id, "load_id": load_id}).scalar_one())


def _count_suppressed(db: Connection, run_id: int, load_id: int) -> int:
    query = text(
        "SELECT count(DISTINCT line) FROM recipients "
        "WHERE run_id = :run_id AND state = :state AND load_id = :load_id"
    )
    this = {"run_id": run_id, "load_id": load_id, "state": RecipientState.SUPPRESSED}
    return int(db.execute(query, this).scalar_one())
