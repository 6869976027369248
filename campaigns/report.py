"""The numbers and the reasons that people read: status, and why nothing dials if nothing does."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from campaigns.attempt import AttemptState, RecipientState, RunState
from campaigns.ledger import Ledger
from campaigns.ledger.figures import Figures, figures
from campaigns.ledger.health import Heartbeat, alive
from campaigns.ledger.runs import OPERATOR, Run, find, latest_runs


@dataclass(frozen=True, slots=True)
class Status:
    """One campaign at one moment."""

    run: Run
    figures: Figures
    reason: str | None
    """Why nothing dials, if nothing does, and what to do about it."""
    calls_per_second: float
    """Over the last minute."""
    finishes_at: datetime | None
    """When everybody who is waiting will have been dialed at that rate."""

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
        """Whether the campaign paused itself, and somebody has to mend something."""
        return self.run.state == RunState.PAUSED and self.run.reason_code not in (None, OPERATOR)

    def as_json(self) -> dict[str, Any]:
        """The same for machines."""
        return {
            "name": self.run.name,
            "run": self.run.number,
            "state": self.run.state,
            "reason": self.reason,
            "exchange": self.run.exchange,
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
            },
            "calls_per_second": round(self.calls_per_second, 3),
            "finishes_at": self.finishes_at.isoformat(timespec="seconds") if self.finishes_at else None,
        }


def status(ledger: Ledger, name: str, now: datetime) -> Status:
    """One campaign's status. Raises Mistake if there is none of that name."""
    processes = alive(ledger, now)
    with ledger.read() as db:
        run = find(db, name)
        return _status(run, figures(db, run.id, now), processes, now)


def every_status(ledger: Ledger, now: datetime) -> list[Status]:
    """The status of every campaign, by name."""
    processes = alive(ledger, now)
    with ledger.read() as db:
        return [_status(run, figures(db, run.id, now), processes, now) for run in latest_runs(db)]


def why_not(run: Run, numbers: Figures, processes: Sequence[Heartbeat], now: datetime) -> str | None:
    """Why nothing dials, and what to do; None when calls can be placed, or all have been."""
    waiting = numbers.recipients.get(RecipientState.WAITING, 0)
    in_progress = numbers.recipients.get(RecipientState.IN_PROGRESS, 0)
    match run.state:
        case RunState.LOADED:
            return f"not started; start it with: dialer start {run.name}"
        case RunState.PAUSED:
            if run.reason_code == OPERATOR:
                return f"paused {run.reason}; go on with: dialer resume {run.name}"
            return f"paused: {run.reason}; when that is mended: dialer resume {run.name}"
        case RunState.FINISHED:
            return held(run, numbers)
        case RunState.CANCELLED:
            return calls_left(run, numbers, processes)
    if not waiting and not in_progress:
        return None
    ours = [p for p in processes if run.exchange is None or p.exchange == run.exchange]
    for role, what in (
        ("dial", "no worker is dialing"),
        ("control", "nobody feeds"),
        ("beat", "no scheduler"),
    ):
        if not any(p.role == role for p in ours):
            return f"{what}: no {role} process has reported lately; start one with: {start_workers(run)}"
    problems = sorted({p.problem for p in ours if p.problem})
    if problems:
        return "; ".join(problems)
    if not waiting and in_progress == numbers.unknowns.searched:
        return searched(numbers)
    later = _due_later(numbers, now)
    if waiting and later is not None:
        return f"the next call is due at {later.astimezone():%Y-%m-%d %H:%M:%S %Z}"
    return None


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
    return "dialer up --sandbox" if run.exchange == "sandbox" else "dialer up"


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
    """How many are held because nobody can tell whether they rang; None if there are none."""
    count = numbers.recipients.get(RecipientState.HELD, 0)
    if not count:
        return None
    return (
        f"{count:,} held: a call to them may have rung and nobody can tell; "
        f"see: dialer explain {run.name} --unknown"
    )


def _due_later(numbers: Figures, now: datetime) -> datetime | None:
    """When the first of the waiting is due, if none is due yet."""
    due_at = numbers.next_due
    return due_at if due_at is not None and due_at > now + timedelta(seconds=5) else None


def _status(run: Run, numbers: Figures, processes: Sequence[Heartbeat], now: datetime) -> Status:
    seconds = numbers.over.total_seconds()
    rate = numbers.dialed_lately / seconds if seconds >= 1 else 0.0
    waiting = numbers.recipients.get(RecipientState.WAITING, 0)
    dialing = any(p.role == "dial" and p.exchange == run.exchange for p in processes)
    # Whoever waits for a redial in an hour is not dialed any sooner for a high rate.
    due = waiting > 0 and _due_later(numbers, now) is None
    going = run.state == RunState.RUNNING and rate > 0 and due and dialing
    return Status(
        run=run,
        figures=numbers,
        reason=why_not(run, numbers, processes, now),
        calls_per_second=rate,
        finishes_at=now + timedelta(seconds=waiting / rate) if going else None,
    )
