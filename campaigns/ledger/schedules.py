"""Which campaigns begin runs by themselves, and the fires that did not become one, or not yet.

A fire that did become a run is that run: `runs.fire_at`. Everything that decides over fires first makes sure
that the schedule still stands as it was read (`_hold`), so of two schedulers only one has its way.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update

from campaigns.attempt import RecipientState, RunState
from campaigns.campaign import Campaign
from campaigns.ledger.binding import decide
from campaigns.ledger.engine import Ledger
from campaigns.ledger.tables import CLOCKS_DIFFER_BY, STORED_CHOICES, campaigns, fires, runs
from campaigns.ledger.tallies import tallied
from campaigns.mistake import Mistake
from campaigns.schedule import Skipped
from campaigns.side import Exchange
from campaigns.stored import Unreadable, paused_because, read_stored
from campaigns.when import ScheduleOptions

WAITING = "waiting"
SKIPPED = "skipped"
UNSAID = "unsaid"
"""Waiting, but not for so long that anybody need know."""
FAILED = "failed"
"""No fire, but a moment at which nobody could say which fires there are."""
GROWN = "grown"
"""No fire, but the moment at which the last run's list was found to be longer than what was read of it."""


_STORED = select(
    campaigns.c.id,
    campaigns.c.name,
    campaigns.c.version,
    campaigns.c.folder,
    campaigns.c.schedule_from,
    campaigns.c.exchange,
    STORED_CHOICES,
)


class FireGone(Exception):
    """Somebody else has decided over this fire, or has changed or paused its schedule."""


@dataclass(frozen=True, slots=True)
class Fire:
    """One time of one campaign's schedule, as it was read."""

    campaign_id: int
    version: int
    since: datetime
    """Until when the fires had been decided over."""
    at: datetime


@dataclass(frozen=True, slots=True)
class Trouble:
    """A fire that did not become a run, or not yet; or the moment of what else went wrong."""

    fire_at: datetime
    state: str
    reason: str
    tried_at: datetime


@dataclass(frozen=True, slots=True)
class LastRun:
    """The latest run that the schedule has begun."""

    number: int
    fire_at: datetime
    state: RunState


@dataclass(frozen=True, slots=True)
class Scheduled:
    """A campaign that begins runs by itself, and how that stands."""

    campaign_id: int
    version: int
    campaign: Campaign
    options: ScheduleOptions
    folder: str
    since: datetime
    """Until when its fires have been decided over."""
    paused: str | None
    """Why nothing fires for now."""
    trouble: Trouble | None
    """The latest fire that did not become a run, if none has since."""
    last: LastRun | None
    exchange: str | None = None
    """Which side begins its runs, and dials them; None: it is not decided, and no run begins."""

    def fire(self, at: datetime) -> Fire:
        """One of its fires."""
        return Fire(self.campaign_id, self.version, self.since, at)

    def list_path(self, at: datetime) -> Path:
        """The list that a fire reads."""
        return Path(self.folder) / self.options.list_of(at)


@dataclass(frozen=True, slots=True)
class Leftover:
    """A run that is not over though a later one has begun."""

    number: int
    state: RunState
    waiting: int
    in_progress: int


def leftovers(db: Connection, campaign_id: int, number: int) -> list[Leftover]:
    """The campaign's runs before this number that are not over, in order."""
    over = runs.c.state.in_((RunState.FINISHED, RunState.CANCELLED))
    query = select(runs.c.id, runs.c.number, runs.c.state).where(runs.c.campaign_id == campaign_id)
    query = query.where(runs.c.number < number, ~over).order_by(runs.c.number)
    return [
        Leftover(
            run.number,
            RunState(run.state),
            counted.get(RecipientState.WAITING, 0),
            counted.get(RecipientState.IN_PROGRESS, 0),
        )
        for run in db.execute(query).all()
        for counted in [tallied(db, run.id).recipients]
    ]


def scheduled(ledger: Ledger, exchange: str | None = None) -> list[Scheduled]:
    """All campaigns that begin runs by themselves, by name; with `exchange` those of that side alone."""
    # Another side's are not so much as looked at: whatever this side decided over them would be lost there.
    of_side = () if exchange is None else (campaigns.c.exchange == exchange,)
    with ledger.read() as db:
        return _scheduled(db, *of_side)


def unreadable(ledger: Ledger, exchange: str | None = None) -> list[Unreadable]:
    """What is wrong with each campaign that would begin runs by itself, could its choices be read."""
    of_side = () if exchange is None else (campaigns.c.exchange == exchange,)
    found = []
    with ledger.read() as db:
        scheduled_ones = _STORED.where(campaigns.c.schedule_from.is_not(None), *of_side)
        for row in db.execute(scheduled_ones.order_by(campaigns.c.name)).all():
            try:
                read_stored(row.stored)
            except Unreadable as problem:
                found.append(problem.of(row.name))
    return found


def is_scheduled(db: Connection, campaign_id: int) -> bool:
    """Whether a campaign is to begin runs by itself, whether its choices can be read or not."""
    query = select(campaigns.c.id).where(
        campaigns.c.id == campaign_id, campaigns.c.schedule_from.is_not(None)
    )
    return db.execute(query).first() is not None


def schedule_of(db: Connection, campaign_id: int) -> Scheduled | None:
    """How a campaign's schedule stands; None if it has none."""
    return next(iter(_scheduled(db, campaigns.c.id == campaign_id)), None)


def enter(db: Connection, campaign_id: int, folder: Path, now: datetime, *, exchange: Exchange) -> bool:
    """Let a campaign begin runs by itself, at the times after `now`. Returns whether it has not until now.

    `exchange`: the side that begins and dials them, for ever. Raises Mistake if the campaign belongs to the
    other one. What a clock has written down that was ahead is forgotten, or no run would begin until then.
    """
    decide(db, campaign_id, exchange)
    since = _from(db, campaign_id, now)
    ahead = (campaigns.c.id == campaign_id) & (campaigns.c.schedule_from > now + CLOCKS_DIFFER_BY)
    if db.execute(update(campaigns).where(ahead).values(schedule_from=since)).rowcount:
        _forget_what_is_ahead(db, campaign_id, now)
    new = (campaigns.c.id == campaign_id) & campaigns.c.schedule_from.is_(None)
    db.execute(update(campaigns).where(campaigns.c.id == campaign_id).values(folder=str(folder)))
    # Whatever has been told of an earlier schedule's fires is over.
    entered = db.execute(
        update(campaigns).where(new).values(schedule_from=since, schedule_paused=None)
    ).rowcount
    if entered:
        db.execute(delete(fires).where(fires.c.campaign_id == campaign_id))
    return bool(entered)


def changed(db: Connection, campaign_id: int, schedule: ScheduleOptions | None, now: datetime) -> None:
    """The times are others from now on: those of the past are not held against them."""
    still = (campaigns.c.id == campaign_id) & campaigns.c.schedule_from.is_not(None)
    since = _from(db, campaign_id, now) if schedule is not None else None
    db.execute(update(campaigns).where(still).values(schedule_from=since))
    _forget_what_is_ahead(db, campaign_id, now)
    waiting = (fires.c.campaign_id == campaign_id) & fires.c.state.in_((WAITING, UNSAID))
    db.execute(update(fires).where(waiting).values(state=SKIPPED, reason="the schedule was changed"))


def end(db: Connection, campaign_id: int) -> bool:
    """Nothing fires any more. Returns whether anything would have."""
    ended = db.execute(
        update(campaigns)
        .where(campaigns.c.id == campaign_id, campaigns.c.schedule_from.is_not(None))
        .values(schedule_from=None, schedule_paused=None)
    ).rowcount
    return bool(ended)


def pause(db: Connection, campaign_id: int, reason: str) -> bool:
    """Nothing fires until it is resumed. Returns whether anything would have."""
    going = (campaigns.c.id == campaign_id) & campaigns.c.schedule_from.is_not(None)
    going &= campaigns.c.schedule_paused.is_(None)
    return bool(db.execute(update(campaigns).where(going).values(schedule_paused=reason)).rowcount)


def resume(db: Connection, campaign_id: int, reason: str | None = None) -> bool:
    """Let it fire again. Returns whether it was paused; for this reason, if one is given."""
    paused = (campaigns.c.id == campaign_id) & campaigns.c.schedule_paused.is_not(None)
    if reason is not None:
        paused &= campaigns.c.schedule_paused == reason
    return bool(db.execute(update(campaigns).where(paused).values(schedule_paused=None)).rowcount)


def skip(ledger: Ledger, each: Scheduled, skipped: Sequence[Skipped], now: datetime) -> bool:
    """Give these fires up, in order, and all before them. False if somebody else has decided meanwhile."""
    with ledger.write() as db:
        try:
            _hold(db, each.fire(skipped[-1].at), paused=True)
        except FireGone:
            return False
        until = skipped[-1].at
        db.execute(update(campaigns).where(campaigns.c.id == each.campaign_id).values(schedule_from=until))
        for fire in skipped:
            # What kept it waiting tells more than that it has waited too long.
            _tell(db, each.campaign_id, fire.at, SKIPPED, None, now) or _tell(
                db, each.campaign_id, fire.at, SKIPPED, fire.reason, now
            )
    return True


def wait(ledger: Ledger, each: Scheduled, at: datetime, reason: str, now: datetime) -> bool:
    """Say why a fire has not become a run yet. False if somebody else has decided over it meanwhile."""
    with ledger.write() as db:
        try:
            _hold(db, each.fire(at), paused=True)
        except FireGone:
            return False
        _tell(db, each.campaign_id, at, WAITING, reason, now)
    return True


def remember(ledger: Ledger, each: Scheduled, at: datetime, reason: str, now: datetime) -> None:
    """Keep why a fire has not become a run yet: nobody is told before it is skipped, or waits for longer."""
    with ledger.write() as db:
        try:
            _hold(db, each.fire(at), paused=True)
        except FireGone:
            return
        this = (fires.c.campaign_id == each.campaign_id) & (fires.c.fire_at == at)
        # What has been told already stays to be seen.
        if db.execute(select(fires.c.state).where(this)).scalar() in (None, UNSAID):
            _tell(db, each.campaign_id, at, UNSAID, reason, now)


def fail(ledger: Ledger, each: Scheduled, reason: str, now: datetime) -> None:
    """Say why nobody can decide over its fires just now."""
    with ledger.write() as db:
        _mend(db, each.campaign_id)
        _tell(db, each.campaign_id, now, FAILED, reason, now)


def grown(ledger: Ledger, each: Scheduled, reason: str, now: datetime) -> None:
    """Say that the last run's list has become longer after it was read."""
    with ledger.write() as db:
        _tell(db, each.campaign_id, now, GROWN, reason, now)


def mend(ledger: Ledger, each: Scheduled) -> None:
    """Its fires can be decided over again."""
    with ledger.write() as db:
        _mend(db, each.campaign_id)


def _mend(db: Connection, campaign_id: int) -> None:
    failed = (fires.c.campaign_id == campaign_id) & (fires.c.state == FAILED)
    db.execute(delete(fires).where(failed))


def begun(db: Connection, fire: Fire, now: datetime, turn: float) -> int:
    """The id of the run that a fire becomes: new, empty and running.

    Raises FireGone, and Mistake if there is a run of that time, begun by a clock that was ahead, or if it is
    not decided which side dials it.
    """
    _hold(db, fire)
    exchange = db.execute(select(campaigns.c.exchange).where(campaigns.c.id == fire.campaign_id)).scalar()
    if exchange is None:
        raise Mistake("it is not decided whether its calls are real; enter the schedule again")
    before = select(runs.c.number).where(runs.c.campaign_id == fire.campaign_id, runs.c.fire_at == fire.at)
    if (number := db.execute(before).scalar()) is not None:
        raise Mistake(f"run {number} was begun for that time before, by a clock that was ahead")
    latest = select(func.max(runs.c.number)).where(runs.c.campaign_id == fire.campaign_id)
    row = insert(runs).values(
        campaign_id=fire.campaign_id,
        number=int(db.execute(latest).scalar() or 0) + 1,
        state=RunState.RUNNING,
        turn=turn,
        exchange=exchange,
        loaded_at=now,
        started_at=now,
        fire_at=fire.at,
    )
    run_id = int(db.execute(row.returning(runs.c.id)).scalar_one())
    db.execute(update(campaigns).where(campaigns.c.id == fire.campaign_id).values(schedule_from=fire.at))
    db.execute(delete(fires).where(fires.c.campaign_id == fire.campaign_id, fires.c.fire_at == fire.at))
    return run_id


def _hold(db: Connection, fire: Fire, *, paused: bool = False) -> None:
    """Make sure that the schedule stands as it was read, until the end of the transaction.

    Raises FireGone if not; also if it is paused, unless that does not matter.
    """
    # Locked, so that whoever pauses or changes it now waits for us. Runs of the campaign may still go in.
    held = (
        select(campaigns.c.id)
        .where(campaigns.c.id == fire.campaign_id, campaigns.c.version == fire.version)
        .where(campaigns.c.schedule_from == fire.since)
        .with_for_update(key_share=True)
    )
    if db.execute(held).one_or_none() is None or fire.since >= fire.at:
        raise FireGone
    if not paused and _paused(db, fire.campaign_id) is not None:
        raise FireGone


def _tell(
    db: Connection, campaign_id: int, at: datetime, state: str, reason: str | None, now: datetime
) -> bool:
    """Write down how a fire stands. Without a reason only if there is one already. Returns whether it is."""
    values: dict[str, Any] = {"state": state, "tried_at": now} | ({"reason": reason} if reason else {})
    this = (fires.c.campaign_id == campaign_id) & (fires.c.fire_at == at)
    if db.execute(update(fires).where(this).values(values)).rowcount:
        return True
    if reason is None:
        return False
    db.execute(insert(fires).values(campaign_id=campaign_id, fire_at=at, **values))
    return True


def _scheduled(db: Connection, *which: Any) -> list[Scheduled]:
    found = []
    rows = db.execute(
        _STORED.where(campaigns.c.schedule_from.is_not(None), *which).order_by(campaigns.c.name)
    ).all()
    for row in rows:
        try:
            campaign = read_stored(row.stored)
        except Unreadable:
            continue  # see `unreadable`
        if campaign.schedule is None:
            continue
        last = _last_run(db, row.id)
        found.append(
            Scheduled(
                campaign_id=row.id,
                version=row.version,
                campaign=campaign,
                options=campaign.schedule,
                folder=row.folder or "",
                since=row.schedule_from,
                paused=_paused(db, row.id),
                trouble=_trouble(db, row.id, last, row.schedule_from),
                last=last,
                exchange=row.exchange,
            )
        )
    return found


def _paused(db: Connection, campaign_id: int) -> str | None:
    """Why no run of a campaign may begin: itself or a run of it that is not over is paused."""
    reason = db.execute(select(campaigns.c.schedule_paused).where(campaigns.c.id == campaign_id)).scalar()
    if reason is not None:
        return str(reason)
    paused = select(runs.c.reason, runs.c.reason_code).where(
        runs.c.campaign_id == campaign_id, runs.c.state == RunState.PAUSED
    )
    found = db.execute(paused.order_by(runs.c.number.desc()).limit(1)).one_or_none()
    return None if found is None else str(paused_because(found.reason_code, found.reason))


def _from(db: Connection, campaign_id: int, now: datetime) -> datetime:
    """From when on a schedule fires that is entered now: not again at a time that has become a run."""
    # The clock of whoever enters it may be a little behind that of the control process. What is further ahead
    # of it was written by a clock that was wrong; nor is it run again, as the ledger has each time once.
    fired = (runs.c.campaign_id == campaign_id) & (runs.c.fire_at <= now + CLOCKS_DIFFER_BY)
    last = db.execute(select(func.max(runs.c.fire_at)).where(fired)).scalar()
    return now if last is None else max(now, last)


def _forget_what_is_ahead(db: Connection, campaign_id: int, now: datetime) -> None:
    ahead = (fires.c.campaign_id == campaign_id) & (fires.c.fire_at > now + CLOCKS_DIFFER_BY)
    db.execute(delete(fires).where(ahead))


def _last_run(db: Connection, campaign_id: int) -> LastRun | None:
    fired = (runs.c.campaign_id == campaign_id) & runs.c.fire_at.is_not(None)
    query = select(runs.c.number, runs.c.fire_at, runs.c.state).where(fired)
    row = db.execute(query.order_by(runs.c.number.desc()).limit(1)).one_or_none()
    return None if row is None else LastRun(row.number, row.fire_at, RunState(row.state))


def _trouble(db: Connection, campaign_id: int, last: LastRun | None, since: datetime) -> Trouble | None:
    query = select(fires).where(fires.c.campaign_id == campaign_id, fires.c.state != UNSAID)
    if last is not None:
        # The mark is before the last run only where that was begun by a clock that was ahead.
        query = query.where(fires.c.fire_at > min(last.fire_at, since))
    row = db.execute(query.order_by(fires.c.fire_at.desc()).limit(1)).one_or_none()
    return None if row is None else Trouble(row.fire_at, row.state, row.reason, row.tried_at)
