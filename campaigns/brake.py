"""When calls are held back because Connect answers them with errors, and how one at a time is tried."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

BRAKES_AT = 3
"""So many attempts in a row that end in doubt hold the others back."""

GOOD_TO_END = 10
"""So many good answers end a brake; until then one more error is enough to hold calls back again."""

OPENING = timedelta(minutes=5)
"""How long a brake that lets calls through again remembers why it was there, at most."""

CALL_IN_SPITE_OF_SILENCE = timedelta(minutes=2)
"""How long a probe may end with a question that got no answer, before a call is tried all the same."""

COUNTS_AS_IN_PROGRESS = timedelta(seconds=60)
"""How long an attempt in doubt of such a time takes up room among the calls in progress.

It has rarely rung. If each counted until its search is over, those of ten minutes would leave no room for
the calls that find out whether Connect is back.
"""

MOST_IN_OUTAGES = 12
"""So many attempts in doubt of such times for one recipient, and a person has to look at it.

Other recipients are tried first. Only one who is alone with the error comes so far, after about seven hours.
"""

_WAITS = (5, 10, 20, 30)
_SOONEST_REDIAL = timedelta(minutes=5)
_LATEST_REDIAL = timedelta(hours=1)


class BrakeState(StrEnum):
    """Where a brake stands."""

    COUNTING = "counting"
    """Errors in a row, and too few of them yet to hold anything back."""
    BRAKED = "braked"
    """One call at a time is tried; the others wait."""
    OPENING = "opening"
    """Calls go through again; one more error brakes again."""
    OVER = "over"


@dataclass(frozen=True, slots=True)
class Brake:
    """A brake that holds calls back."""

    code: str
    """`connect_errors`: what a program goes by."""
    every_run: bool
    """Whether it holds back all runs of its side, or one only."""
    since: datetime
    """When the first of the attempts was dialed."""
    answers: int
    """The attempts that were answered so."""
    error_code: str
    """The last one's."""
    probes: int
    """The probes since that were in vain."""
    probe_at: datetime
    """When the next one is let through."""


CONNECT_ERRORS = "connect_errors"
"""The code of what a brake tells of."""


def probe_after(probes: int) -> timedelta:
    """How long after so many probes in vain the next one is let through: 5 s at first, 30 s at most."""
    return timedelta(seconds=_WAITS[min(probes, len(_WAITS) - 1)])


def redial_after(in_outages: int) -> timedelta:
    """How long a recipient waits who had so many attempts in doubt in such times, and none was found."""
    if in_outages <= 2:
        return timedelta(0)
    return min(_SOONEST_REDIAL * (1 << min(in_outages - 3, 10)), _LATEST_REDIAL)
