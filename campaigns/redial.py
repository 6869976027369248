"""After an outcome: another attempt, and when, or none."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from campaigns.attempt import Outcome


@dataclass(frozen=True, slots=True)
class RedialAt:
    """Attempt n+1 is due at this instant."""

    due_at: datetime


@dataclass(frozen=True, slots=True)
class Done:
    """No further attempt, and why."""

    reason: str


def next_step(
    outcome: Outcome, attempts: int, *, after: Mapping[Outcome, timedelta], max_attempts: int, now: datetime
) -> RedialAt | Done:
    """Decide what follows attempt number `attempts` (counted from 1), which ended with `outcome` at `now`.

    `after` maps an outcome to the wait before the next attempt; an outcome that it does not name is final.
    """
    wait = after.get(outcome)
    if wait is None:
        return Done(f"{outcome} is not dialed again")
    if attempts >= max_attempts:
        return Done(f"attempt {attempts} of {max_attempts} was the last")
    return RedialAt(now + wait)


MOST_NOT_FOUND = 3
"""So many attempts for one recipient that were never found in Connect, and a person has to look at it."""


def dial_again_unfound(when_unknown: Literal["hold", "redial"] | None, not_found_before: int) -> bool:
    """Whether an attempt that was searched for in vain is followed by another.

    It counts as never placed, so neither a redial rule nor `max_attempts` is asked. But a recipient whose
    calls are never found, one after the other, may be one whose calls cannot be found.
    """
    return when_unknown != "hold" and not_found_before + 1 < MOST_NOT_FOUND
