"""The numbers and the reasons that people read: status, and why nothing dials if nothing does."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
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
from campaigns.ledger.health import Heartbeat, ahead, alive
from campaigns.ledger.identity import Identity, identity_of
from campaigns.ledger.rehearsal import Rehearsal
from campaigns.ledger.runs import OPERATOR, OPERATOR_ALL, Run, find_to_come, latest_runs
from campaigns.ledger.schedules import Leftover, is_scheduled, leftovers, schedule_of
from campaigns.ledger.stored_choices import campaign_of_run, problem_of
from campaigns.ledger.waiting import waiting
from campaigns.ledger.writable import why_not_writable
from campaigns.problem import CALLS_GO_ON, ProblemCode
from campaigns.reasons import Crew, Reason, ReasonCode, moving, why_not
from campaigns.schedule_view import Upcoming, upcoming
from campaigns.stored import Unreadable, unreadable_in_words
from campaigns.waits import Wait, Waiting, places, waits

if TYPE_CHECKING:
    from sqlalchemy import Connection


_BESIDE_A_BRAKE = CALLS_GO_ON | {ReasonCode.SEARCHED, ReasonCode.WAITING}
"""What may be so as well while a brake holds calls back, and keeps no probe from being tried."""

BY_HAND = (OPERATOR, OPERATOR_ALL)
"""The reason codes of a pause that is no fault."""


@dataclass(frozen=True, slots=True)
class Status:
    """One campaign at one moment."""

    at: datetime
    run: Run
    figures: Figures
    why: Reason | None
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
    processes: tuple[Heartbeat, ...] = ()
    """The living processes of its side."""

    @property
    def reason(self) -> str | None:
        """Why nothing dials, in words."""
        return self.why.text if self.why else None

    unreadable: Unreadable | None = None
    """Why this version cannot read the campaign's choices in the ledger."""
    brake: Brake | None = None
    """What holds its calls back because Connect answers them with errors."""
    rehearsal: Rehearsal | None = None
    """The clock of the rehearsal that its ledger is kept for."""
    rehearsal_runs: bool = False
    """Whether that clock runs."""

    @property
    def alarm(self) -> str | None:
        """What has gone wrong with its schedule since its last run, if anything."""
        return self.schedule.alarm if self.schedule else None

    @property
    def waits_are_why(self) -> bool:
        """Whether the reason is these rules, which keep everybody who waits."""
        return self.why is not None and self.why.code == ReasonCode.WAITING

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
            "reason_code": self.why.code if self.why else None,
            "reason_data": self.why.data if self.why else {},
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
            "rehearsal": {
                "as_of": self.rehearsal.as_of.isoformat(timespec="seconds"),
                "now": self.at.isoformat(timespec="seconds"),
                "speed": self.rehearsal.speed,
                "running": self.rehearsal_runs,
            }
            if self.rehearsal
            else None,
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
            "processes": [process.as_json() for process in self.processes],
        }


def status(ledger: Ledger, name: str, now: datetime, *, number: int | None = None) -> Status:
    """The status of a campaign's run of this number; without one, of its latest. Raises Mistake."""
    crew = _crew(ledger, now)
    with ledger.read() as db:
        found = _status(db, find_to_come(db, name, number), crew, now)
    return _rehearsed(ledger, found)


def every_status(ledger: Ledger, now: datetime) -> list[Status]:
    """The status of every campaign, by name."""
    crew = _crew(ledger, now)
    with ledger.read() as db:
        every = [_status(db, run, crew, now) for run in latest_runs(db)]
    return [_rehearsed(ledger, each) for each in every]


def _rehearsed(ledger: Ledger, found: Status) -> Status:
    clock = ledger.rehearsal
    if clock is None:
        return found
    return replace(found, rehearsal=clock, rehearsal_runs=clock.runs(ledger.real_now()))


def _crew(ledger: Ledger, now: datetime) -> Crew:
    return Crew(alive(ledger, now), ahead(ledger, now), why_not_writable(ledger))


def _stopped(db: "Connection") -> Identity | None:
    who = identity_of(db)
    return who if who.stopped else None


def _status(db: "Connection", run: Run, crew: Crew, now: datetime) -> Status:
    numbers = figures(db, run.id, now)
    campaign, groups = None, list[Waiting]()
    problem = problem_of(db, run.campaign_id)
    if numbers.waiting and problem is None:
        campaign = campaign_of_run(db, run.id)
        by_zones = campaign.timetable.asks_for_zones
        groups = waiting(db, run.id, now, counted=numbers.waiting, by_zones=by_zones)
    kept = waits(groups, campaign, now) if campaign else ()
    could_be_dialed = sum(group.recipients for group in groups) - sum(wait.recipients for wait in kept)
    seconds = numbers.over.total_seconds()
    rate = numbers.dialed_lately / seconds if seconds >= 1 else 0.0
    # Whoever waits for a redial in an hour is not dialed any sooner for a high rate.
    brake = brake_of(db, run.id, run.exchange) if run.state == RunState.RUNNING else None
    going = rate > 0 and could_be_dialed > 0 and moving(run, numbers, crew, now) and not brake
    nobody_for_ever = not any(wait.until is None for wait in kept)
    all_wait = waits_view.reason(kept, now) if kept and not could_be_dialed else None
    why = why_not(run, numbers, crew, all_wait)
    if brake and not all_wait:
        why = _with_brake(brake, why)
    if problem is not None and run.state != RunState.CANCELLED and not _over(run, numbers, db):
        text = f"not dialed: {unreadable_in_words(problem.code, problem.key)}{_then(run)}"
        why = Reason(problem.code, text, {"key": problem.key})
    stopped = _stopped(db)
    if stopped and run.state == RunState.RUNNING:
        why, going = Reason(ProblemCode.LEDGER_STOPPED, stopped.stopped_reason or ""), False
    each = schedule_of(db, run.campaign_id)
    schedule = upcoming(each, crew.alive, now) if each else None
    if schedule and (run.number == 0 or (run.state == RunState.FINISHED and why is None)):
        why = Reason(ReasonCode.SCHEDULED, schedule.in_words())
    return Status(
        at=now,
        run=run,
        figures=numbers,
        why=why,
        calls_per_second=rate,
        finishes_at=_end(groups, campaign, rate, now) if campaign and going and nobody_for_ever else None,
        waits=kept,
        schedule=schedule,
        older=tuple(leftovers(db, run.campaign_id, run.number)),
        stopped=stopped,
        endpoint=_endpoint(run, crew.alive),
        processes=tuple(p for p in crew.alive if run.exchange in (None, p.exchange)),
        unreadable=problem,
        brake=brake,
    )


def _with_brake(brake: Brake, why: Reason | None) -> Reason:
    """The reason with the brake in it. What keeps even the probe from being tried comes first."""
    told = brake_view.told(brake)
    if why is None or why.code in _BESIDE_A_BRAKE:
        return Reason(brake.code, f"{told}; {why.text}" if why else told, brake_view.as_json(brake))
    return Reason(why.code, f"{why.text}; {told}", why.data)


def _over(run: Run, numbers: Figures, db: "Connection") -> bool:
    """Whether a run is finished, all its calls are known, and no other is to come."""
    in_progress = numbers.recipients.get(RecipientState.IN_PROGRESS, 0)
    return run.state == RunState.FINISHED and not in_progress and not is_scheduled(db, run.campaign_id)


def _then(run: Run) -> str:
    """What is to be done after the choices are mended."""
    return f"; then: dialer resume {run.name}" if run.state == RunState.PAUSED else ""


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
