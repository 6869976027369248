"""What keeps a process from its work: a code that the program decides by, and words for people."""

import re
from collections.abc import Iterable
from enum import StrEnum
from typing import Self


class ProblemCode(StrEnum):
    """What is wrong with a process. Stored in the ledger and shown by `status --json`: never renamed."""

    REDIS_AWAY = "redis_away"
    REDIS_FULL = "redis_full"
    REDIS_READ_ONLY = "redis_read_only"
    REDIS_NOT_SAVING = "redis_not_saving"
    REDIS_NOT_PERMITTED = "redis_not_permitted"
    REDIS_REFUSES = "redis_refuses"
    CLOCK_SKEW = "clock_skew"
    CONSUMER_STUCK = "consumer_stuck"
    WORK_FAILING = "work_failing"
    WORK_STALLED = "work_stalled"
    OTHER_LEDGER = "other_ledger"
    OTHER_VERSION = "other_version"
    NO_WAY_OUT = "no_way_out"
    LEDGER_STOPPED = "ledger_stopped"
    TASKS_UNTAKEN = "tasks_untaken"
    NO_CAPACITY = "no_capacity"
    THROTTLED = "throttled"
    CALLS_IN_PROGRESS = "calls_in_progress"
    MALFORMED_MESSAGES = "malformed_messages"
    UNKNOWNS_NOT_SEARCHED = "unknowns_not_searched"
    OUTCOMES_NOT_TOLD = "outcomes_not_told"
    EVENTS_NOT_READ = "events_not_read"
    NOT_HUNG_UP = "not_hung_up"
    OTHER = "other"


REDIS = frozenset(code for code in ProblemCode if code.startswith("redis_"))
"""Redis is away, or does not take what the dialer writes."""

CALLS_GO_ON = frozenset(
    {
        ProblemCode.THROTTLED,
        ProblemCode.NO_CAPACITY,
        ProblemCode.CALLS_IN_PROGRESS,
        ProblemCode.MALFORMED_MESSAGES,
        ProblemCode.UNKNOWNS_NOT_SEARCHED,
        ProblemCode.OUTCOMES_NOT_TOLD,
        ProblemCode.EVENTS_NOT_READ,
        ProblemCode.NOT_HUNG_UP,
    }
)
"""With these, calls are placed all the same, if perhaps more slowly."""

NOT_BROKEN = CALLS_GO_ON | {
    ProblemCode.LEDGER_STOPPED,
    ProblemCode.TASKS_UNTAKEN,
}
"""The cause lies outside the process that reports them; `dialer health` does not call it broken."""

_SAID_ONCE = REDIS | {ProblemCode.CLOCK_SKEW}

_NAMES_PROCESS = frozenset({ProblemCode.WORK_STALLED, ProblemCode.CONSUMER_STUCK})
"""Their text says which process is to be restarted: that of each is said."""

_NUMBER = re.compile(r"(?<![\w+-])\d[\d,.]*(?![\w-])")
"""A count or a span; not the digits of a name, an id or an address."""

_GRAVEST = {code.value: rank for rank, code in enumerate(ProblemCode)}


class Problem(str):
    """The words for people, with the code that the program decides by."""

    code: str
    """A ProblemCode, or one that a newer program has written."""

    def __new__(cls, text: str, code: str = ProblemCode.OTHER) -> Self:
        """Words, and their code."""
        made = super().__new__(cls, text)
        made.code = code
        return made


def _same(problem: Problem) -> str:
    """What two problems have in common that need to be said only once."""
    if problem.code in _SAID_ONCE:
        return problem.code
    if problem.code in _NAMES_PROCESS:
        return str(problem)
    return f"{problem.code}: {_NUMBER.sub('0', problem)}"


def gravest_first(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Each problem once, the one that keeps most calls from being placed first."""
    # Two processes, or two parts of one, may have found the same: each counts other seconds, rounds or calls.
    found: dict[str, Problem] = {}
    for problem in problems:
        found.setdefault(_same(problem), problem)
    return tuple(sorted(found.values(), key=lambda each: _GRAVEST.get(each.code, len(_GRAVEST))))
