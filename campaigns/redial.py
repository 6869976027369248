"""After an outcome: another attempt, and when, or none."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

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
