"""For what people wait, in words."""

from collections.abc import Sequence
from datetime import datetime

from campaigns.time_words import clock, in_time, local
from campaigns.waits import Rule, Wait

_WAITING_FOR = {
    Rule.CALLING_HOURS: "waiting for calling hours",
    Rule.LIMITS: "waiting for the limits",
    Rule.REDIAL: "waiting for a redial",
    Rule.REMINDER: "waiting for their reminder",
}


def reason(waits: Sequence[Wait], now: datetime | None) -> str:
    """Why nobody is dialed: all the waits in one line. Without `now`, it says nothing that time changes."""
    return "; ".join(told(wait, now, everybody=len(waits) == 1) for wait in waits)


def told(wait: Wait, now: datetime | None, *, everybody: bool, others_can: bool = False) -> str:
    """One of the waits. `everybody`: nobody else waits; `others_can`: there are others, who can be dialed."""
    people = f"{wait.recipients:,} recipient{'' if wait.recipients == 1 else 's'}"
    never = f"nobody may ever be called: {people}," if everybody else f"{people} may never be called:"
    match wait.rule:
        case Rule.NO_TIME_ZONE:
            return (
                f"{never} no time zone is known; "
                "set fallback_time_zone in [calling_hours], or load them with a time zone"
            )
        case Rule.NEVER_OPEN:
            return f"{never} the hours of all their time zones never meet"
        case Rule.NOT_KNOWN:
            # Nobody's hours are at fault: they are open again when somebody has mended that.
            who = f"nobody can be called: {people}," if everybody else f"{people} cannot be called:"
            return f"{who} {wait.why}"
    title = "closed" if others_can and wait.rule == Rule.CALLING_HOURS else _WAITING_FOR[wait.rule]
    if wait.until is None:
        return f"{title}: {people}, and no calling hours come after that"
    # The clock that opens is the one whose hours people know; any other time is said by the reader's.
    zone = wait.time_zone or f"{local(wait.until, None):%Z}"
    which = "next" if wait.rule == Rule.CALLING_HOURS else "the next at"
    if now is None:
        return f"{title}: {people}, {which} {local(wait.until, wait.time_zone):%Y-%m-%d %H:%M} {zone}"
    when = f"{clock(wait.until, wait.time_zone, now)} {zone} {in_time(wait.until, now)}"
    return f"{title}: {people}, {which} {when}"
