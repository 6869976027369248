"""After an outcome: another attempt, and when, or none."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from campaigns.attempt import AttemptState, Outcome
from campaigns.brake import MOST_IN_OUTAGES

DAY = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Rule:
    """What follows one outcome."""

    wait: timedelta
    """From the end of the attempt until the next one."""
    max_redials: int | None = None
    """So often at most is this outcome followed by another attempt; None: as `max_attempts` lets it."""


@dataclass(frozen=True, slots=True)
class Ring:
    """An attempt that counts: its telephone rang, or may have."""

    outcome: Outcome | None
    """None where it has none: nobody could tell whether it rang."""
    dialed_at: datetime


def counts(state: str, *, requeued: bool) -> bool:
    """Whether an attempt is a ring: one that was placed, or may have been for all that anybody knows.

    One that was never found in Connect is none; one that an operator has judged, whatever it was, is.
    """
    if state == AttemptState.UNKNOWN:
        return requeued
    return state in (AttemptState.PLACED, AttemptState.ENDED)


@dataclass(frozen=True, slots=True)
class RedialAt:
    """Attempt n+1 is due at this instant."""

    due_at: datetime


@dataclass(frozen=True, slots=True)
class Done:
    """No further attempt, and why."""

    reason: str


def next_step(
    rings: Sequence[Ring],
    *,
    rules: Mapping[Outcome, Rule],
    max_attempts: int,
    max_attempts_per_day: int | None,
    ended_at: datetime,
) -> RedialAt | Done:
    """Decide what follows the last of a recipient's rings, which ended at `ended_at`.

    `rings` are all that count, the first one first. An outcome without a rule is final. What
    `max_attempts_per_day` allows within any 24 hours only puts a redial off.
    """
    outcome, count = rings[-1].outcome, len(rings)
    rule = rules.get(outcome) if outcome is not None else None
    if rule is None:
        return Done(f"{outcome or 'what nobody can tell'} is not dialed again")
    if count >= max_attempts:
        return Done(f"attempt {count} of {max_attempts} was the last")
    redials = sum(ring.outcome == outcome for ring in rings)
    if rule.max_redials is not None and redials > rule.max_redials:
        return Done(f"{outcome} is dialed again {_times(rule.max_redials)} at most")
    due_at = ended_at + rule.wait
    if max_attempts_per_day is not None and count >= max_attempts_per_day:
        due_at = max(due_at, sorted(ring.dialed_at for ring in rings)[-max_attempts_per_day] + DAY)
    return RedialAt(due_at)


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


MOST_NOT_FOUND = 3
"""So many attempts for one recipient that were never found in Connect, and a person has to look at it."""


def dial_again_unfound(
    when_unknown: Literal["hold", "redial"] | None,
    not_found_before: int,
    *,
    in_outage: bool = False,
    in_outages_before: int = 0,
) -> bool:
    """Whether an attempt that was searched for in vain is followed by another.

    It counts as never placed, so neither a redial rule nor `max_attempts` is asked. But a recipient whose
    calls are never found, one after the other, may be one whose calls cannot be found.

    `in_outage`: Connect answered call after call with errors then, which says nothing of this recipient;
    such attempts are not counted with the others (`not_found_before`).
    """
    if when_unknown == "hold":
        return False
    if in_outage:
        return in_outages_before + 1 < MOST_IN_OUTAGES
    return not_found_before + 1 < MOST_NOT_FOUND
