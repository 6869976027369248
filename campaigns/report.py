"""The numbers and the reasons that people read: status, and why nothing dials if nothing does."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from campaigns import brake_view, waits_view
from campaigns.attempt import AttemptState, RecipientState, RunState
from campaigns.brake import Brake
from campaigns.calling_hours import windows
from campaigns.campaign import Campaign
from campaigns.forecast import Group, forecast
from campaigns.ledger import Ledger
from campaigns.ledger.brakes import brake_of
from campaigns.ledger.figures import Figures, figures
from campaigns.ledger.health import Heartbeat, alive
from campaigns.ledger.identity import Identity, identity_of
from campaigns.ledger.runs import OPERATOR, OPERATOR_ALL, Run, campaign_of, find_to_come, latest_runs
from campaigns.ledger.schedules import Leftover, leftovers, schedule_of
from campaigns.ledger.waiting import waiting
from campaigns.schedule_view import Upcoming, upcoming
from campaigns.side import either_way, flag
from campaigns.waits import Wait, Waiting, places, waits

if TYPE_CHECKING:
    from sqlalchemy import Connection


BY_HAND = (OPERATOR, OPERATOR_ALL)
"""The reason codes of a pause that is no fault."""

_OTHERS = {"connect": "only a trial's processes are", "sandbox": "only the processes for real calls are"}
"""Who is there, by the side that nothing is there for."""

NOT_REPORTED = "has reported lately"
"""What the reason says of a process that is not there, or has only just been started."""


@dataclass(frozen=True, slots=True)
class Status:
    """One campaign at one moment."""

    at: datetime
    run: Run
    figures: Figures
    reason: str | None
    """Why nothing dials, if nothing does, and what to do about it."""
    calls_per_second: float
    """Over the last minute."""
    finishes_at: datetime | None
    """When everybody who is waiting will have been dialed at that rate, in their calling hours."""
    waits: tuple[Wait, ...]
    """Which rules keep people from being dialed now, the largest part first."""
    schedule: Upcoming | None = None
    """What comes next, if it begins runs by itself."""
    older: tuple[Leftover, ...] = ()
    """Runs before this one that are not over."""
    stopped: Identity | None = None
    """The ledger's identity, where dialing from it is stopped as a whole."""
    endpoint: str | None = None
    """Where its calls go, if that is not AWS's own address; several with commas between."""
    brake: Brake | None = None
    """What holds its calls back because Connect answers them with errors."""

    @property
    def alarm(self) -> str | None:
        """What has gone wrong with its schedule since its last run, if anything."""
        return self.schedule.alarm if self.schedule else None

    @property
    def waits_are_why(self) -> bool:
        """Whether the reason is these rules, which keep everybody who waits."""
        return self.reason is not None and self.reason == waits_view.reason(self.waits, self.at)

    @property
    def waiting(self) -> int:
        """Recipients who are still to be dialed."""
        return self.figures.recipients.get(RecipientState.WAITING, 0)

    @property
    def in_progress(self) -> int:
        """Recipients whose call is on its way, or whose outcome is not known yet."""
        return self.figures.recipients.get(RecipientState.IN_PROGRESS, 0)

    @property
    def total(self) -> int:
        """Every accepted row."""
        return sum(self.figures.recipients.values())

    @property
    def over(self) -> bool:
        """Whether nobody is waiting or in progress."""
        return self.waiting == 0 and self.in_progress == 0

    @property
    def fault(self) -> bool:
        """Whether it paused itself or the ledger is stopped, and an operator has to mend something."""
        if self.run.state == RunState.RUNNING:
            return self.stopped is not None
        return self.run.state == RunState.PAUSED and self.run.reason_code not in (None, *BY_HAND)

    def as_json(self) -> dict[str, Any]:
        """The same for machines."""
        return {
            "name": self.run.name,
            "run": self.run.number,
            "state": self.run.state,
            "reason": self.reason,
            "waiting_for": [
                {
                    "rule": wait.rule,
                    "recipients": wait.recipients,
                    "until": wait.until.isoformat(timespec="seconds") if wait.until else None,
                    "time_zone": wait.time_zone,
                    "why": wait.why,
                }
                for wait in self.waits
            ],
            "stopped": {
                "code": self.stopped.stopped_code,
                "at": self.stopped.stopped_at.isoformat(timespec="seconds"),
            }
            if self.stopped and self.stopped.stopped_at
            else None,
            "brake": brake_view.as_json(self.brake) if self.brake else None,
            "exchange": self.run.exchange,
            "endpoint": self.endpoint,
            "recipients": {
                "total": self.total,
                **{state: self.figures.recipients.get(state, 0) for state in RecipientState},
            },
            "attempts": {state: self.figures.attempts.get(state, 0) for state in AttemptState},
            "outcomes": self.figures.outcomes,
            "unknowns": {
                "searched": self.figures.unknowns.searched,
                "held": self.figures.recipients.get(RecipientState.HELD, 0),
                "not_found": self.figures.unknowns.not_found,
                "untold": self.figures.unknowns.untold,
            },
            "calls_per_second": round(self.calls_per_second, 3),
            "finishes_at": self.finishes_at.isoformat(timespec="seconds") if self.finishes_at else None,
            "schedule": self.schedule.as_json() if self.schedule else None,
            "unfinished_runs": [
                {
                    "run": each.number,
                    "state": each.state,
                    "waiting": each.waiting,
                    "in_progress": each.in_progress,
                }
                for each in self.older
            ],
        }


def status(ledger: Ledger, name: str, now: datetime, *, number: int | None = None) -> Status:
    """The status of a campaign's run of this number; without one, of its latest. Raises Mistake."""
    processes = alive(ledger, now)
    with ledger.read() as db:
        return _status(db, find_to_come(db, name, number), processes, now)


def every_status(ledger: Ledger, now: datetime) -> list[Status]:
    """The status of every campaign, by name."""
    processes = alive(ledger, now)
    with ledger.read() as db:
        return [_status(db, run, processes, now) for run in latest_runs(db)]


def why_not(run: Run, numbers: Figures, processes: Sequence[Heartbeat], waits: str | None) -> str | None:
    """Why nothing dials, and what to do; None when calls can be placed, or all have been.

    `waits`: the rules that keep everybody who waits; None if there is somebody whom none of them keeps.
    """
    waiting = numbers.recipients.get(RecipientState.WAITING, 0)
    in_progress = numbers.recipients.get(RecipientState.IN_PROGRESS, 0)
    match run.state:
        case RunState.LOADED if run.number == 0:
            return "nobody is loaded, and it is not scheduled any more"
        case RunState.LOADED:
            start = f"dialer start {run.name}"
            how = either_way(start) if run.exchange is None else start + flag(run.exchange)
            return f"not started; start it with: {how}"
        case RunState.PAUSED:
            if run.reason_code == OPERATOR_ALL:
                return f"paused {run.reason}; go on with: dialer resume --all, or dialer resume {run.name}"
            if run.reason_code == OPERATOR:
                return f"paused {run.reason}; go on with: dialer resume {run.name}"
            return f"paused: {run.reason}; when that is mended: dialer resume {run.name}"
        case RunState.FINISHED:
            return held(run, numbers)
        case RunState.CANCELLED:
            return calls_left(run, numbers, processes)
    if not waiting and not in_progress:
        return None
    if run.exchange is None:
        how = either_way(f"dialer start {run.name}")
        return f"it is not decided whether its calls are real or a trial, and no worker dials it; say: {how}"
    ours = [p for p in processes if p.exchange == run.exchange]
    for role, what in (
        ("dial", "no worker is dialing"),
        ("control", "nobody feeds"),
        ("beat", "no scheduler"),
    ):
        if not any(p.role == role for p in ours):
            others = any(p.role == role for p in processes)
            there = f" ({_OTHERS[run.exchange]} there, and do not dial it)" if others else ""
            return f"{what}: no {role} process {NOT_REPORTED}{there}; start one with: {start_workers(run)}"
    problems = sorted({p.problem for p in ours if p.problem})
    if problems:
        return "; ".join(problems)
    if not waiting and in_progress == numbers.unknowns.searched:
        return searched(numbers)
    return waits if waiting else None


def calls_left(run: Run, numbers: Figures, processes: Sequence[Heartbeat]) -> str | None:
    """What becomes of the calls that a cancelled campaign has in progress; None if there are none."""
    count = numbers.recipients.get(RecipientState.IN_PROGRESS, 0) - numbers.unknowns.searched
    if count <= 0:
        return None
    calls = f"{count:,} call{'' if count == 1 else 's'} in progress"
    if run.hang_up_at is None:
        return f"{calls}; to hang up: dialer cancel {run.name} --hang-up"
    ours = [p for p in processes if p.exchange == run.exchange]
    if not any(p.role == "control" for p in ours):
        return f"hanging up: {calls}, as soon as workers run: {start_workers(run)}"
    # What keeps others from being dialed is of no interest here.
    problems = {p.problem for p in ours if p.problem and p.problem.startswith(("calls cannot", "Redis"))}
    return "; ".join([f"hanging up: {calls}", *sorted(problems)])


def start_workers(run: Run) -> str:
    """The command that starts all that works for a run."""
    return f"dialer up{flag(run.exchange)}"


def searched(numbers: Figures) -> str | None:
    """How many are searched for in Connect because they may have rung, and when; None if there are none."""
    unknowns = numbers.unknowns
    if not unknowns.searched or unknowns.next_search is None:
        return None
    are = "is" if unknowns.searched == 1 else "are"
    return (
        f"unknown: {unknowns.searched:,} may have rung and {are} searched for in Connect, "
        f"the next time at {unknowns.next_search.astimezone():%Y-%m-%d %H:%M:%S %Z}"
    )


def held(run: Run, numbers: Figures) -> str | None:
    """How many are held, and why; None if there are none."""
    untold = numbers.unknowns.untold
    in_doubt = numbers.recipients.get(RecipientState.HELD, 0) - untold
    parts = []
    if in_doubt > 0:
        parts.append(f"{in_doubt:,} held: a call to them may have rung and nobody can tell")
    if untold:
        parts.append(
            f"{untold:,} held: Connect has not told how their calls ended; another attempt: "
            f"dialer requeue {run.name} --outcome no_outcome"
        )
    if not parts:
        return None
    return "; ".join([*parts, f"see: dialer explain {run.name} --unknown"])


def _stopped(db: "Connection") -> Identity | None:
    who = identity_of(db)
    return who if who.stopped else None


def _status(db: "Connection", run: Run, processes: Sequence[Heartbeat], now: datetime) -> Status:
    numbers = figures(db, run.id, now)
    campaign, groups = None, list[Waiting]()
    if numbers.waiting:
        campaign = campaign_of(db, run.id)
        by_zones = campaign.timetable.asks_for_zones
        groups = waiting(db, run.id, now, counted=numbers.waiting, by_zones=by_zones)
    kept = waits(groups, campaign, now) if campaign else ()
    could_be_dialed = sum(group.recipients for group in groups) - sum(wait.recipients for wait in kept)
    seconds = numbers.over.total_seconds()
    rate = numbers.dialed_lately / seconds if seconds >= 1 else 0.0
    dialing = any(p.role == "dial" and p.exchange == run.exchange for p in processes)
    # Whoever waits for a redial in an hour is not dialed any sooner for a high rate.
    brake = brake_of(db, run.id, run.exchange) if run.state == RunState.RUNNING else None
    going = run.state == RunState.RUNNING and rate > 0 and could_be_dialed > 0 and dialing and not brake
    nobody_for_ever = not any(wait.until is None for wait in kept)
    all_wait = waits_view.reason(kept, now) if kept and not could_be_dialed else None
    reason = why_not(run, numbers, processes, all_wait)
    if brake and not all_wait:
        reason = "; ".join(part for part in (brake_view.told(brake), reason) if part)
    stopped = _stopped(db)
    if stopped and run.state == RunState.RUNNING:
        reason = stopped.stopped_reason
    each = schedule_of(db, run.campaign_id)
    schedule = upcoming(each, processes, now) if each else None
    if schedule and (run.number == 0 or (run.state == RunState.FINISHED and reason is None)):
        reason = schedule.in_words()
    return Status(
        at=now,
        run=run,
        figures=numbers,
        reason=reason,
        calls_per_second=rate,
        finishes_at=_end(groups, campaign, rate, now) if campaign and going and nobody_for_ever else None,
        waits=kept,
        schedule=schedule,
        older=tuple(leftovers(db, run.campaign_id, run.number)),
        stopped=stopped,
        endpoint=_endpoint(run, processes),
        brake=brake,
    )


def _endpoint(run: Run, processes: Sequence[Heartbeat]) -> str | None:
    """Where a run's calls went lately, and where those that dial it now send them."""
    known = {run.endpoint}
    if run.state == RunState.RUNNING:
        known |= {p.endpoint for p in processes if p.role == "dial" and p.exchange == run.exchange}
    return ", ".join(sorted(each for each in known if each is not None)) or None


def _end(groups: Sequence[Waiting], campaign: Campaign, rate: float, now: datetime) -> datetime | None:
    """When everybody who waits has been dialed, whoever is due later not before the last of those is."""
    rules = campaign.timetable.rules
    flows = [
        Group(
            [(now, group.due), *((later.last, later.recipients) for later in group.later)],
            windows(rules, places(campaign, group.zones), now) if rules else None,
        )
        for group in groups
    ]
    return forecast(flows, rate, now).finishes_at
