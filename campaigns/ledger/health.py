"""Which processes are alive, when each last did its work, and what keeps it from it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, insert, select, update

from campaigns.ledger.engine import Ledger
from campaigns.ledger.tables import heartbeats
from campaigns.problem import Problem, ProblemCode, gravest_first

BEAT = timedelta(seconds=5)
"""How often a process reports."""
MISSED = timedelta(seconds=20)
"""After this long without a word a process counts as gone."""
STALLED = timedelta(seconds=60)
"""A process that reports, but has not done its work for this long before the report, does not work.

Longer than one process of several waits for its turn, and than Celery waits before it connects again.
"""


@dataclass(frozen=True, slots=True)
class Failure:
    """The last failure of one of a process's tasks."""

    code: str
    """`verb:kind`, for instance `feed:LedgerUnavailable`."""
    at: datetime
    count: int
    """How often in a row that task has failed."""


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """One process of the dialer, as it last reported."""

    process: str
    """role@host:pid"""
    role: str
    """dial, control or beat."""
    exchange: str
    seen_at: datetime
    problem: str | None
    """What keeps it from its work, in words."""
    endpoint: str | None = None
    """Where its calls go, if that is not AWS's own address."""
    problems: tuple[Problem, ...] = ()
    """The same, each with its code, the gravest first."""
    worked_at: datetime | None = None
    """When it last did its work, or was started; None for a process of an older program.

    dial: a task done, or a look into its queue that found none. control: a round of feeding completed.
    beat: a task sent.
    """
    failure: Failure | None = None
    """What last failed, also if it has worked again since."""
    clock_skew: timedelta | None = None
    """How far the ledger's clock was ahead of the process's machine."""

    @property
    def problem_code(self) -> str | None:
        """The code of the gravest problem."""
        return self.problems[0].code if self.problems else None

    def as_json(self) -> dict[str, Any]:
        """The same for machines."""
        failure = self.failure
        return {
            "process": self.process,
            "role": self.role,
            "seen_at": _iso(self.seen_at),
            "worked_at": _iso(self.worked_at),
            "problem_code": self.problem_code,
            "problem": self.problem,
            "problem_codes": [problem.code for problem in self.problems],
            "failure": failure and {"code": failure.code, "at": _iso(failure.at), "in_a_row": failure.count},
            # The + 0.0 makes a zero of a negative one.
            "clock_skew_seconds": None
            if self.clock_skew is None
            else round(self.clock_skew.total_seconds(), 3) + 0.0,
        }


def beat(
    ledger: Ledger,
    process: str,
    role: str,
    exchange: str,
    problem: str | None,
    now: datetime,
    *,
    endpoint: str | None = None,
    problems: Sequence[Problem] = (),
    worked_at: datetime | None = None,
    failure: Failure | None = None,
    clock_skew: timedelta | None = None,
) -> None:
    """Report that this process lives, when it last worked, and what keeps it from its work, if anything does.

    `problem` stands for a single one, `problems` for several.
    """
    if problem is not None:
        problems = [*problems, problem if isinstance(problem, Problem) else Problem(problem)]
    sorted_problems = gravest_first(problems)
    values = {
        "role": role,
        "exchange": exchange,
        "seen_at": now,
        "problem": "; ".join(sorted_problems) or None,
        "endpoint": endpoint,
        "problem_code": sorted_problems[0].code if sorted_problems else None,
        "problems": [{"code": each.code, "text": str(each)} for each in sorted_problems],
        "worked_at": worked_at,
        "failure_code": failure.code[:80] if failure else None,
        "failed_at": failure.at if failure else None,
        "failures": failure.count if failure else None,
        "clock_skew": None if clock_skew is None else clock_skew // timedelta(microseconds=1),
    }
    with ledger.write() as db:
        if db.execute(update(heartbeats).where(heartbeats.c.process == process).values(values)).rowcount == 0:
            db.execute(insert(heartbeats).values(process=process, **values))


def leave(ledger: Ledger, process: str, now: datetime) -> None:
    """Take this process off the list, and those that have been silent for a day."""
    with ledger.write() as db:
        db.execute(delete(heartbeats).where(heartbeats.c.process == process))
        db.execute(delete(heartbeats).where(heartbeats.c.seen_at < now - timedelta(days=1)))


def alive(ledger: Ledger, now: datetime) -> list[Heartbeat]:
    """The processes that have reported lately."""
    # Nor is who died under a clock that was ahead, and has been put back since, alive until then.
    missed = MISSED * ledger.clock_speed
    return _reported(ledger, heartbeats.c.seen_at > now - missed, heartbeats.c.seen_at < now + missed)


def ahead(ledger: Ledger, now: datetime) -> list[Heartbeat]:
    """The processes whose last report lies in the future: the ledger's clock has been put back since."""
    return _reported(ledger, heartbeats.c.seen_at >= now + MISSED * ledger.clock_speed)


def troubles(process: Heartbeat) -> tuple[Problem, ...]:
    """What keeps a process from its work: what it says itself, or that it has not worked for too long."""
    problems = process.problems
    if process.worked_at is None or problems or process.seen_at - process.worked_at <= STALLED:
        return problems
    seconds = (process.seen_at - process.worked_at).total_seconds()
    did = {"dial": "taken no task from its queue", "control": "completed no round of feeding"}
    what = did.get(process.role, "sent nothing")
    text = f"{process.process} runs, but has {what} for {seconds:,.0f} s; restart it if that goes on"
    return (Problem(text, ProblemCode.WORK_STALLED),)


def _reported(ledger: Ledger, *which: Any) -> list[Heartbeat]:
    with ledger.read() as db:
        return [_heartbeat(row) for row in db.execute(select(heartbeats).where(*which).order_by("process"))]


def _heartbeat(row: Any) -> Heartbeat:
    if row.problems is not None and row.problem is not None:
        problems = tuple(Problem(each["text"], each["code"]) for each in row.problems)
    else:
        # An older program has reported: it knows no codes. Or it has overwritten the words of a newer one.
        problems = (Problem(row.problem),) if row.problem else ()
    failed = row.failure_code is not None and row.failed_at is not None
    return Heartbeat(
        process=row.process,
        role=row.role,
        exchange=row.exchange,
        seen_at=row.seen_at,
        problem=row.problem,
        endpoint=row.endpoint,
        problems=problems,
        worked_at=row.worked_at,
        failure=Failure(row.failure_code, row.failed_at, row.failures or 1) if failed else None,
        clock_skew=None if row.clock_skew is None else timedelta(microseconds=row.clock_skew),
    )


def _iso(instant: datetime | None) -> str | None:
    return instant.isoformat(timespec="seconds") if instant else None
