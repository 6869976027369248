"""Choices that cannot all hold, in words and for machines."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from campaigns.conflicts import Conflict, ConflictCode
from campaigns.explain import span


def in_words(conflicts: Sequence[Conflict]) -> list[str]:
    """A line for each, with what to change."""
    return [f"warning: {_told(each)}" for each in conflicts]


def as_json(conflicts: Sequence[Conflict]) -> list[dict[str, Any]]:
    """The same for machines: code, data, and the words."""
    return [{"code": each.code, "data": each.data, "message": _told(each)} for each in conflicts]


def _told(conflict: Conflict) -> str:
    data = conflict.data
    match conflict.code:
        case ConflictCode.REDIAL_PAST_LIMIT:
            redial = int(data["redial"])
            which = "no redial comes" if redial == 1 else f"redial {redial} does not come"
            return (
                f'[redial] {data["outcome"]} = "{_span(data["wait_seconds"])}": {which} after that wait, as '
                f"{_limit(conflict)}; raise the limit, or write a wait that it allows"
            )
        case ConflictCode.REDIAL_PAST_APPOINTMENT:
            return (
                f'[redial] {data["outcome"]} = "{_span(data["wait_seconds"])}" never happens: a reminder is '
                f"called for {_span(data['before_seconds'])} at most, and then expires; write a shorter wait"
            )
        case ConflictCode.REMINDER_PAST_LIMIT:
            return (
                f'[reminder] before = "{_span(data["before_seconds"])}" can never be in time, as '
                f"{_limit(conflict)}; raise the limit, or leave that reminder out"
            )
        case ConflictCode.NEVER_OPEN:
            return "[calling_hours] have no open hour within a year, so no call is ever placed; widen them"


def _limit(conflict: Conflict) -> str:
    calls, hours = conflict.data["calls"], conflict.data["within_hours"]
    key = "per_number_per_day" if hours == 24 else "per_number_per_week"
    return f"{key} allows {calls} call{'' if calls == 1 else 's'} in {hours} hours"


def _span(seconds: int | str) -> str:
    return span(timedelta(seconds=int(seconds)))
