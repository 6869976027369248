"""Why nothing dials, and what to do about it: a code that programs decide by, and words for people."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from campaigns.attempt import RecipientState, RunState
from campaigns.ledger.figures import Figures
from campaigns.ledger.health import Heartbeat, troubles
from campaigns.ledger.runs import OPERATOR, OPERATOR_ALL, Run
from campaigns.ledger.writable import NOT_WRITABLE
from campaigns.problem import CALLS_GO_ON, REDIS, Problem, ProblemCode, gravest_first
from campaigns.side import either_way, flag

_OTHERS = {"connect": "only a trial's processes are", "sandbox": "only the processes for real calls are"}
"""Who is there, by the side that nothing is there for."""

_ROLES = (("dial", "no worker is dialing"), ("control", "nobody feeds"), ("beat", "no scheduler"))
"""The roles that a running campaign needs, and what is said where one is missing."""

_FEWEST_SECONDS = 20.0
_MEAN_GAPS = 5
"""Without a call for 20 s, and for five times the mean time between two, calls have ceased."""


class ReasonCode(StrEnum):
    """Why nothing dials; beside these, the codes of `ProblemCode`. `status --json` shows them."""

    NOBODY_LOADED = "nobody_loaded"
    NOT_STARTED = "not_started"
    PAUSED = "paused"
    HELD = "held"
    CANCELLED_CALLS = "cancelled_calls"
    UNDECIDED_SIDE = "undecided_side"
    PROCESS_MISSING = "process_missing"
    CLOCK_SET_BACK = "clock_set_back"
    LEDGER_NOT_WRITABLE = NOT_WRITABLE
    LEASES_PASSED = "leases_passed"
    SEARCHED = "searched"
    WAITING = "waiting"
    SCHEDULED = "scheduled"
    STARTING = "starting"


@dataclass(frozen=True, slots=True)
class Reason:
    """Why nothing dials, if nothing does."""

    code: str
    """A ReasonCode or a ProblemCode."""
    text: str
    data: dict[str, Any] = field(default_factory=dict)
    """What the words are made of, for machines."""


@dataclass(frozen=True, slots=True)
class Crew:
    """The processes, and what is wrong around them."""

    alive: Sequence[Heartbeat]
    ahead: Sequence[Heartbeat] = ()
    """Those whose last report lies in the future."""
    not_writable: Problem | None = None
    """Why the ledger cannot be written to, if that is known."""


def why_not(run: Run, numbers: Figures, crew: Crew, waits: str | None) -> Reason | None:
    """Why nothing dials, and what to do; None when calls can be placed, or all have been.

    `waits`: the rules that keep all recipients who wait; None if one of them is kept by no rule.
    """
    waiting = numbers.recipients.get(RecipientState.WAITING, 0)
    in_progress = numbers.recipients.get(RecipientState.IN_PROGRESS, 0)
    match run.state:
        case RunState.LOADED if run.number == 0:
            return Reason(ReasonCode.NOBODY_LOADED, "nobody is loaded, and it is not scheduled any more")
        case RunState.LOADED:
            start = f"dialer start {run.name}"
            how = either_way(start) if run.exchange is None else start + flag(run.exchange)
            return Reason(ReasonCode.NOT_STARTED, f"not started; start it with: {how}")
        case RunState.PAUSED:
            return _paused(run)
        case RunState.FINISHED:
            return _if_any(ReasonCode.HELD, held(run, numbers))
        case RunState.CANCELLED:
            return _if_any(ReasonCode.CANCELLED_CALLS, calls_left(run, numbers, crew.alive))
    if not waiting and not in_progress:
        return None
    if run.exchange is None:
        how = either_way(f"dialer start {run.name}")
        text = f"it is not decided whether its calls are real or a trial, and no worker dials it; say: {how}"
        return Reason(ReasonCode.UNDECIDED_SIDE, text)
    if crew.not_writable is not None:
        return Reason(crew.not_writable.code, str(crew.not_writable))
    found = _missing(run, crew) or _of_processes(run, crew.alive) or _leases_passed(numbers)
    if found is not None:
        return found
    if not waiting and in_progress == numbers.unknowns.searched:
        return _if_any(ReasonCode.SEARCHED, searched(numbers))
    return _if_any(ReasonCode.WAITING, waits if waiting else None)


def moving(run: Run, numbers: Figures, crew: Crew, now: datetime) -> bool:
    """Whether calls of a run are being placed, by processes that can go on with it."""
    if run.state != RunState.RUNNING or numbers.last_dialed_at is None or not numbers.dialed_lately:
        return False
    if crew.not_writable is not None or numbers.leases_passed:
        return False
    for role, _ in _ROLES:
        fit = (
            p
            for p in crew.alive
            if p.role == role
            and p.exchange == run.exchange
            and all(problem.code in CALLS_GO_ON for problem in troubles(p))
        )
        if not any(fit):
            return False
    gap = numbers.over.total_seconds() / numbers.dialed_lately
    return now - numbers.last_dialed_at <= timedelta(seconds=max(_FEWEST_SECONDS, _MEAN_GAPS * gap))


def _paused(run: Run) -> Reason:
    data = {"paused_code": run.reason_code}
    if run.reason_code == OPERATOR_ALL:
        text = f"paused {run.reason}; go on with: dialer resume --all, or dialer resume {run.name}"
    elif run.reason_code == OPERATOR:
        text = f"paused {run.reason}; go on with: dialer resume {run.name}"
    else:
        text = f"paused: {run.reason}; when that is mended: dialer resume {run.name}"
    return Reason(ReasonCode.PAUSED, text, data)


def _missing(run: Run, crew: Crew) -> Reason | None:
    """Which role no living process of the run's side has, and why, as far as that is known."""
    assert run.exchange is not None
    for role, what in _ROLES:
        if any(p.role == role and p.exchange == run.exchange for p in crew.alive):
            continue
        for late in crew.ahead:
            if late.role == role and late.exchange == run.exchange:
                return Reason(
                    ReasonCode.CLOCK_SET_BACK,
                    f"{what}: the last report of {late.process} was written at "
                    f"{late.seen_at.astimezone():%Y-%m-%d %H:%M:%S %Z}, which is still to come: the clock of "
                    "the ledger's database was set back, or was ahead; check that it is right now, and "
                    f"restart {late.process} if this stays",
                    {"process": late.process, "seen_at": late.seen_at.isoformat(timespec="seconds")},
                )
        others = any(p.role == role for p in crew.alive)
        there = f" ({_OTHERS[run.exchange]} there, and do not dial it)" if others else ""
        text = f"{what}: no {role} process has reported lately{there}; start one with: {start_workers(run)}"
        return Reason(ReasonCode.PROCESS_MISSING, text, {"role": role})
    return None


def _of_processes(run: Run, processes: Sequence[Heartbeat]) -> Reason | None:
    """What the processes of a run's side have said of themselves, or what their reports show."""
    ours = [p for p in processes if p.exchange == run.exchange]
    fit = {p.role for p in ours if not troubles(p)}
    # A process that takes no tasks holds up nothing while another one of its role does.
    local = (ProblemCode.CONSUMER_STUCK, ProblemCode.WORK_STALLED)
    problems = sorted(
        {
            (each.code, each)
            for p in ours
            for each in troubles(p)
            if each.code not in local or p.role not in fit
        }
    )
    if not problems:
        return None
    sorted_problems = gravest_first(each for _, each in problems)
    codes = [each.code for each in sorted_problems]
    return Reason(codes[0], "; ".join(sorted_problems), {"codes": codes})


def _leases_passed(numbers: Figures) -> Reason | None:
    count = numbers.leases_passed
    if not count:
        return None
    are = "attempt has been" if count == 1 else "attempts have been"
    text = (
        f"{count:,} {are} queued for longer than DIALER_CLAIM_LEASE_SECONDS allows, and no worker has taken "
        "or returned them; see what the dial and control workers log"
    )
    return Reason(ReasonCode.LEASES_PASSED, text, {"attempts": count})


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
    matter = REDIS | {ProblemCode.NOT_HUNG_UP}
    problems = {each for p in ours for each in p.problems if each.code in matter}
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


def _if_any(code: ReasonCode, text: str | None) -> Reason | None:
    return None if text is None else Reason(code, text)
