"""The runs of campaigns: begun, started, paused, cancelled, finished."""

import json
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    case,
    exists,
    func,
    insert,
    literal_column,
    select,
    update,
)

from campaigns.attempt import AttemptState, RecipientState, RunState
from campaigns.ledger import schedules
from campaigns.ledger.binding import decide
from campaigns.ledger.engine import Ledger
from campaigns.ledger.stored_choices import campaign_of_run
from campaigns.ledger.tables import attempts, campaigns, recipients, runs
from campaigns.mistake import Mistake
from campaigns.nearest import nearest
from campaigns.side import Exchange
from campaigns.stored import Unreadable, paused_because

OPERATOR = "operator"
"""The reason code of a pause that a person asked for; any other code is a fault that dialing ran into."""

OPERATOR_ALL = "operator_all"
"""The reason code of a pause by `pause --all`: `resume --all` resumes what has it, and nothing else."""

PAUSED_WITH_ALL = "by an operator, with all others"
"""The reason of the same, also of a schedule, which has no code."""

REFUSED_IN_A_ROW = 25
"""So many refusals with one code, and nothing else between them, pause a run."""

UNFINISHED = (RecipientState.WAITING, RecipientState.IN_PROGRESS)


@dataclass(frozen=True, slots=True)
class Run:
    """One execution of a campaign. Number 0 stands for the one to come of a schedule that never fired."""

    id: int
    campaign_id: int
    name: str
    number: int
    state: RunState
    reason: str | None
    reason_code: str | None
    exchange: str | None
    endpoint: str | None = None
    """Where its calls went lately, if that is not AWS's own address."""
    hang_up_at: datetime | None = None
    """Since when its calls in progress are to be hung up; it is cancelled then."""


def put_run(db: Connection, campaign_id: int, now: datetime) -> int:
    """The id of the campaign's latest run; a new campaign gets run 1. Raises Mistake if it was cancelled."""
    latest = (
        select(runs.c.id, runs.c.state, campaigns.c.name)
        .join(campaigns)
        .where(runs.c.campaign_id == campaign_id)
        .order_by(runs.c.number.desc())
        .limit(1)
    )
    known = db.execute(latest).one_or_none()
    if known is None:
        of_campaign = select(campaigns.c.exchange).where(campaigns.c.id == campaign_id).scalar_subquery()
        row = insert(runs).values(
            campaign_id=campaign_id, number=1, state=RunState.LOADED, loaded_at=now, exchange=of_campaign
        )
        return int(db.execute(row.returning(runs.c.id)).scalar_one())
    if known.state == RunState.CANCELLED:
        raise _cancelled(known.name)
    return int(known.id)


def put_fire(db: Connection, fire: schedules.Fire, now: datetime) -> int:
    """The id of the new run that a fire becomes; it is running. Raises FireGone."""
    return schedules.begun(db, fire, now, _first_turn(db))


def reopen(db: Connection, run_id: int, name: str) -> None:
    """A finished run that was given more recipients waits to be started again.

    Raises Mistake if it was cancelled while they were entered.
    """
    # Whoever finishes or cancels the run now waits for us, and then sees the recipients.
    held = select(runs.c.state).where(runs.c.id == run_id).with_for_update(key_share=True)
    if db.execute(held).scalar_one() == RunState.CANCELLED:
        raise _cancelled(name)
    db.execute(
        update(runs)
        .where(runs.c.id == run_id, runs.c.state == RunState.FINISHED)
        .values(state=RunState.LOADED, finished_at=None)
    )


def find(db: Connection, name: str, number: int | None = None) -> Run:
    """The run of this number of the campaign of that name; without a number, the latest.

    Raises Mistake naming the nearest one there is.
    """
    run = find_to_come(db, name, number)
    if run.number == 0:
        raise Mistake(f"{name} has not begun a run yet; what comes next: dialer schedule")
    return run


def find_to_come(db: Connection, name: str, number: int | None = None) -> Run:
    """The same; for a campaign whose schedule never fired, the run to come, in which there is nobody yet."""
    query = _RUN.where(campaigns.c.name == name).order_by(runs.c.number.desc()).limit(1)
    row = db.execute(query).one_or_none()
    if row is not None and number is not None and number != row.number:
        latest, row = row.number, db.execute(query.where(runs.c.number == number)).one_or_none()
        if row is None:
            there_are = "is only run 1" if latest == 1 else f"are runs 1 to {latest}"
            raise Mistake(f"{name} has no run {number}; there {there_are}")
    if row is None:
        for to_come in _to_come(db, campaigns.c.name == name):
            return to_come
        names = list(db.execute(select(campaigns.c.name).order_by(campaigns.c.name)).scalars())
        if not names:
            raise Mistake(
                f"there is no campaign {name!r}: the ledger is empty; "
                "load a list first: dialer load CAMPAIGN.toml LIST.csv"
            )
        near = nearest(name, names)
        hint = f"did you mean {near}?" if near else "there are: " + ", ".join(names[:10])
        raise Mistake(f"there is no campaign {name!r}; {hint}")
    return _run(row)


def latest_runs(db: Connection) -> list[Run]:
    """The latest run of every campaign, by name; or the run to come."""
    newest = (
        select(runs.c.campaign_id, func.max(runs.c.number).label("number"))
        .group_by(runs.c.campaign_id)
        .subquery()
    )
    query = _RUN.join(
        newest, (newest.c.campaign_id == runs.c.campaign_id) & (newest.c.number == runs.c.number)
    )
    latest = [_run(row) for row in db.execute(query)]
    return sorted(latest + _to_come(db), key=lambda run: run.name)


def ids_of(db: Connection, campaign_id: int, *, hold: bool = False) -> list[int]:
    """The ids of a campaign's runs that are not over, and of its latest one, in order; `hold` locks them."""
    latest = select(func.max(runs.c.number)).where(runs.c.campaign_id == campaign_id).scalar_subquery()
    over = runs.c.state.in_((RunState.FINISHED, RunState.CANCELLED))
    query = select(runs.c.id).where(runs.c.campaign_id == campaign_id, ~over | (runs.c.number == latest))
    query = query.order_by(runs.c.id)
    return list(db.execute(query.with_for_update(key_share=True) if hold else query).scalars())


def before(db: Connection, latest: Run) -> list[Run]:
    """All runs of a campaign before its latest, the last one first."""
    query = _RUN.where(runs.c.campaign_id == latest.campaign_id, runs.c.number < latest.number)
    return [_run(row) for row in db.execute(query.order_by(runs.c.number.desc()))]


def all_of(db: Connection, latest: Run) -> list[Run]:
    """The latest run of a campaign, and before it those that are not over, by number."""
    unfinished = runs.c.state.in_((RunState.LOADED, RunState.RUNNING, RunState.PAUSED))
    query = _RUN.where(runs.c.campaign_id == latest.campaign_id, unfinished, runs.c.number < latest.number)
    return [*(_run(row) for row in db.execute(query.order_by(runs.c.number))), latest]


def start_all(
    db: Connection, latest: Run, now: datetime, *, exchange: Exchange | None, resumed: bool = False
) -> RunState:
    """Let a campaign be dialed: its latest run, and those before it that are not over.

    `exchange`: as for `start`. Returns the latest run's state afterwards. Raises Mistake if that was
    cancelled, unless it was the campaign's schedule that was to be resumed, or if the campaign belongs to
    the other side.
    """
    every = _held(db, latest)
    state = every[-1].state
    if every[-1].number == 0 or (resumed and state == RunState.CANCELLED):
        return state
    for run in every:
        state = start(db, run, now, exchange=exchange)
    return state


def all_cancelled(db: Connection, latest: Run) -> bool:
    """Whether the latest run of a campaign was cancelled, and none before it is left."""
    return latest.state == RunState.CANCELLED and all_of(db, latest) == [latest]


def cancelled_of(db: Connection, latest: Run) -> list[int]:
    """The ids of the cancelled runs of a campaign."""
    cancelled = (runs.c.campaign_id == latest.campaign_id) & (runs.c.state == RunState.CANCELLED)
    return list(db.execute(select(runs.c.id).where(cancelled).order_by(runs.c.id)).scalars())


def pause_all(db: Connection, latest: Run, reason: str, code: str = OPERATOR) -> bool:
    """Stop dialing a campaign: all its running runs, and its schedule. Returns whether any was going on."""
    every = _held(db, latest)
    paused = schedules.pause(db, latest.campaign_id, reason)
    for run in every:
        paused |= pause(db, run.id, reason, code)
    return paused


def resume_paused_with_all(db: Connection, latest: Run, now: datetime) -> bool:
    """Go on with what `pause --all` has paused of a campaign, and only that. Returns whether it was any."""
    every = _held(db, latest)
    resumed = schedules.resume(db, latest.campaign_id, PAUSED_WITH_ALL)
    for run in every:
        if run.state == RunState.PAUSED and run.reason_code == OPERATOR_ALL:
            start(db, run, now, exchange=None)
            resumed = True
    return resumed


def cancel_all(db: Connection, latest: Run, now: datetime, *, hang_up: bool = False) -> int:
    """Give up everybody of a campaign who has not been called, and end its schedule. Returns how many."""
    every = _held(db, latest)
    schedules.end(db, latest.campaign_id)
    given_up = sum(cancel(db, run, now, hang_up=hang_up) for run in every)
    if hang_up:
        # Those of earlier runs that were cancelled by other words.
        unsaid = runs.c.id.in_(cancelled_of(db, latest)) & runs.c.hang_up_at.is_(None)
        db.execute(update(runs).where(unsaid).values(hang_up_at=now))
    return given_up


campaign_of = campaign_of_run


def start(db: Connection, run: Run, now: datetime, *, exchange: Exchange | None) -> RunState:
    """Let a run be dialed, unless it is finished with nobody waiting. Returns its state afterwards.

    `exchange`: the side that dials the campaign from now on and for ever, if that was not decided before.
    None: what was decided holds; a run that no side was decided for is not dialed though it is running.
    Raises Mistake if the run was cancelled, or if the campaign belongs to the other side.
    """
    if run.state == RunState.CANCELLED:
        raise Mistake(
            f"{run.name} was cancelled, which is for ever; load it under another name to call again"
        )
    if exchange is not None:
        decide(db, run.campaign_id, exchange)
    somebody = exists().where(
        recipients.c.run_id == run.id, recipients.c.state == literal_column(f"'{RecipientState.WAITING}'")
    )
    finished = (runs.c.state == RunState.FINISHED) & ~somebody
    db.execute(
        update(runs)
        .where(runs.c.id == run.id, runs.c.state.not_in((RunState.RUNNING, RunState.CANCELLED)), ~finished)
        .values(
            state=RunState.RUNNING,
            reason=None,
            # A pause for refusals is remembered, as it is not to come again for what has been looked at.
            reason_code=case((runs.c.reason_code.like("refused:%"), runs.c.reason_code)),
            turn=_first_turn(db),
            started_at=now,
            finished_at=None,
        )
    )
    return RunState(db.execute(select(runs.c.state).where(runs.c.id == run.id)).scalar_one())


def pause(db: Connection, run_id: int, reason: str, code: str = OPERATOR) -> bool:
    """Stop dialing a running run, and take back what is queued. Returns whether it was running.

    The tasks already on their way find their claims gone; calls whose request has left go on.
    """
    paused = db.execute(
        update(runs)
        .where(runs.c.id == run_id, runs.c.state == RunState.RUNNING)
        .values(state=RunState.PAUSED, reason=reason, reason_code=code)
    ).rowcount
    if paused:
        _take_back_queued(db, run_id, RecipientState.WAITING, "paused")
    return bool(paused)


def pause_unreadable(db: Connection, run_id: int, problem: Unreadable) -> bool:
    """Pause a running run whose campaign's choices cannot be read. Returns whether it was running.

    `reason` holds the key that it is about, in JSON; the words are made where it is shown (`paused_because`).
    """
    return pause(db, run_id, json.dumps({"key": problem.key}), code=problem.code)


def pause_unreadable_of(db: Connection, attempt_id: int, problem: Unreadable) -> bool:
    """The same for the run of an attempt."""
    run_id = db.execute(select(attempts.c.run_id).where(attempts.c.id == attempt_id)).scalar()
    return run_id is not None and pause_unreadable(db, run_id, problem)


def pause_if_all_refused(db: Connection, run_id: int, code: str) -> bool:
    """Pause a run whose latest calls were all refused with one code: perhaps it is the campaign's fault.

    A flow that was never published refuses the whole list, one recipient after the other. Whoever resumes
    the run has seen it, and it is not paused for the same code again. Returns whether it was paused.
    """
    seen = select(runs.c.id).where(runs.c.id == run_id, runs.c.reason_code == f"refused:{code}"[:40])
    if db.execute(seen).first() is not None:
        return False
    latest = (
        select(attempts.c.state, attempts.c.reason)
        .join(runs, runs.c.id == attempts.c.run_id)
        .where(attempts.c.run_id == run_id, attempts.c.dialing_at >= runs.c.started_at)
        .order_by(attempts.c.dialing_at.desc())
        .limit(REFUSED_IN_A_ROW)
    )
    rows = db.execute(latest).all()
    if len(rows) < REFUSED_IN_A_ROW or any(
        row.state != AttemptState.REFUSED or not (row.reason or "").startswith(f"{code}:") for row in rows
    ):
        return False
    reason = f"the last {REFUSED_IN_A_ROW} calls were all refused ({rows[0].reason}); check the campaign"
    return pause(db, run_id, reason, code=f"refused:{code}"[:40])


def cancel(db: Connection, run: Run, now: datetime, *, hang_up: bool = False) -> int:
    """Give up everybody who has not been called. Returns how many.

    Calls under way end by themselves, or, with `hang_up`, as soon as somebody who talks to Connect sees the
    wish. It may come later than the cancelling.
    """
    db.execute(
        update(runs)
        .where(runs.c.id == run.id, runs.c.state != RunState.CANCELLED)
        .values(state=RunState.CANCELLED, reason=None, reason_code=None, finished_at=now)
    )
    if hang_up:
        unsaid = runs.c.hang_up_at.is_(None)
        db.execute(update(runs).where(runs.c.id == run.id, unsaid).values(hang_up_at=now))
    taken_back = _take_back_queued(db, run.id, RecipientState.CANCELLED, "cancelled")
    waiting = db.execute(
        update(recipients)
        .where(recipients.c.run_id == run.id, recipients.c.state == RecipientState.WAITING)
        .values(state=RecipientState.CANCELLED)
    ).rowcount
    return int(waiting) + taken_back


def finish(ledger: Ledger, now: datetime) -> int:
    """Close the running runs in which nobody is waiting or in progress. Returns how many."""
    finished = (
        select(runs.c.id)
        .where(runs.c.state == RunState.RUNNING)
        # Two looks, each into a partial index of its own, instead of one through all recipients.
        .where(
            *(
                ~exists().where(
                    recipients.c.run_id == runs.c.id, recipients.c.state == literal_column(f"'{state}'")
                )
                for state in UNFINISHED
            )
        )
    )
    with ledger.read() as db:
        ids = list(db.execute(finished).scalars())
    if not ids:
        return 0
    with ledger.write() as db:
        # First the lock and then the look, or a list that is being loaded would be overlooked.
        db.execute(
            select(runs.c.id).where(runs.c.id.in_(ids)).order_by(runs.c.id).with_for_update(key_share=True)
        )
        return db.execute(
            update(runs)
            .where(runs.c.id.in_(finished))
            .values(state=RunState.FINISHED, finished_at=now, reason=None, reason_code=None)
        ).rowcount


def _held(db: Connection, latest: Run) -> list[Run]:
    """`all_of` as it stands from now on until the end of the transaction: no other run begins meanwhile."""
    # A fire may be about to commit a run that is newer than any we have seen, and its people would be dialed.
    # So we wait for it, and then look again. First the campaign and then its runs, as a fire takes them.
    this = select(campaigns.c.id).where(campaigns.c.id == latest.campaign_id)
    db.execute(this.with_for_update(key_share=True))
    return all_of(db, find_to_come(db, latest.name))


_RUN = select(
    runs.c.id,
    runs.c.campaign_id,
    campaigns.c.name,
    runs.c.number,
    runs.c.state,
    runs.c.reason,
    runs.c.reason_code,
    runs.c.exchange,
    runs.c.endpoint,
    runs.c.hang_up_at,
).join(campaigns)


def _run(row: Row[*tuple[object, ...]]) -> Run:
    run = row._mapping
    reason = paused_because(run["reason_code"], run["reason"])
    return Run(**{**run, "state": RunState(run["state"]), "reason": reason})


def _to_come(db: Connection, *which: ColumnElement[bool]) -> list[Run]:
    """For each campaign without a run, the one to come."""
    query = select(campaigns.c.id, campaigns.c.name, campaigns.c.exchange).where(*which)
    never = ~exists().where(runs.c.campaign_id == campaigns.c.id)
    rows = db.execute(query.where(never)).all()
    return [Run(0, row.id, row.name, 0, RunState.LOADED, None, None, row.exchange) for row in rows]


def _cancelled(name: str) -> Mistake:
    return Mistake(
        f"{name} was cancelled, which is for ever; "
        "to call these people again, give the campaign file another name"
    )


def _first_turn(db: Connection) -> float:
    """Where a run that starts now joins the others' turns: beside the one whose turn is next."""
    # Starting from zero it would take every slot until it had caught up with all that they ever dialed.
    lowest = select(func.min(runs.c.turn)).where(runs.c.state == RunState.RUNNING)
    return float(db.execute(lowest).scalar_one() or 0.0)


def _take_back_queued(db: Connection, run_id: int, becomes: RecipientState, reason: str) -> int:
    queued = attempts.c.state == literal_column(f"'{AttemptState.QUEUED}'")
    # In order, or two who take several would wait for each other (SQLite has no such locks, nor needs them).
    in_order = select(attempts.c.id).where(attempts.c.run_id == run_id, queued)
    in_order = in_order.order_by(attempts.c.lease_until, attempts.c.id).with_for_update()
    taken = update(attempts).where(attempts.c.id.in_(in_order))
    ids = list(
        db.execute(
            taken.values(state=AttemptState.RETURNED, reason=reason).returning(attempts.c.recipient_id)
        ).scalars()
    )
    # In pieces, because SQLite before 3.32 takes 999 parameters a statement, and PostgreSQL 65,535.
    for first in range(0, len(ids), 500):
        db.execute(
            update(recipients)
            .where(recipients.c.id.in_(ids[first : first + 500]))
            .where(recipients.c.state == RecipientState.IN_PROGRESS)
            .values(state=becomes)
        )
    return len(ids)
