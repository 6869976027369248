"""An outlook in words: whose clocks count, which rules are closed, and what the limits say."""

from datetime import datetime

from campaigns.outlook import Limit, Outlook, Place, RuleHours
from campaigns.time_words import clock, in_time, local

_PLACES = 5
_CALLS = 5


def in_words(outlook: Outlook, now: datetime) -> list[str]:
    """What stands between a recipient who waits and the next call, a line for each rule."""
    lines = [_places(outlook.places)] if outlook.places else []
    if outlook.zone_missing:
        cure = "set fallback_time_zone in [calling_hours], or load it with a time zone"
        lines.append(f"time zone: none is known; {cure}")
    else:
        lines += [_hours(each, now) for each in outlook.hours]
    lines += [_limit(each, now) for each in outlook.limits if each.calls]
    if outlook.appointment_at is not None:
        which = f"; this is its {outlook.reminder} reminder" if outlook.reminder else ""
        lines.append(f"appointment: {_at(outlook.appointment_at)}{which}")
    if outlook.expires_at is not None:
        lines.append(f"expires: {_at(outlook.expires_at)}; from then on it is not called")
    return lines


def _places(places: tuple[Place, ...]) -> str:
    shown = [f"{place.zone} (by {' and '.join(place.sources)})" for place in places[:_PLACES]]
    more = f", and {len(places) - _PLACES} more" if len(places) > _PLACES else ""
    return f"time zone{'' if len(places) == 1 else 's'}: {', '.join(shown)}{more}"


def _hours(hours: RuleHours, now: datetime) -> str:
    if hours.not_known is not None:
        return f"{hours.rule}: never open, as {hours.not_known}"
    if hours.window is None:
        return f"{hours.rule}: never open"
    opens, closes = hours.window.opens, hours.window.closes
    zone = hours.time_zone
    if hours.window.holds(now):
        return f"{hours.rule}: open until {clock(closes, zone, now)} {zone}"
    same_day = local(opens, zone).date() == local(closes, zone).date()
    until = f"{local(closes, zone):%H:%M}" if same_day else clock(closes, zone, now)
    return f"{hours.rule}: closed, next {clock(opens, zone, now)}-{until} {zone} ({in_time(opens, now)})"


def _limit(limit: Limit, now: datetime) -> str:
    count = len(limit.calls)
    these = ", ".join(f"{_at(call.dialed_at)} by {call.campaign}" for call in limit.calls[-_CALLS:])
    earlier = "…, " if count > _CALLS else ""
    allowed = f"limit: {count} of {limit.most} call{'' if limit.most == 1 else 's'} in {limit.hours} hours"
    if limit.undecided:
        again = "; whether the next is allowed is known when it is known whether that rings"
    else:
        again = f"; the next is allowed {in_time(limit.until, now)}" if limit.until is not None else ""
    return f"{allowed} ({earlier}{these}){again}"


def _at(instant: datetime) -> str:
    return f"{instant.astimezone():%Y-%m-%d %H:%M:%S %Z}"
