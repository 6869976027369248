"""When may one recipient be dialed? What each rule says, and the earliest instant that all of them allow."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from campaigns.calling_hours import Hours, Window, next_window, not_known
from campaigns.campaign import Campaign
from campaigns.ledger.limits import Call
from campaigns.limits import DAY, WEEK, next_allowed
from campaigns.number_zones import number_zones
from campaigns.waits import earliest, opens_by, places

_SOON = timedelta(minutes=2)
"""By then it is asked again who waits only for what becomes of another call to the number."""


@dataclass(frozen=True, slots=True)
class Place:
    """A zone whose clock counts for a recipient."""

    zone: str
    sources: tuple[str, ...]
    """Who says so: `the list`, `the number`, `fallback_time_zone`."""


@dataclass(frozen=True, slots=True)
class RuleHours:
    """What one rule on calling hours says now."""

    rule: str
    window: Window | None
    """The one that is open, or the next one; None: there is none within a year."""
    time_zone: str | None
    """By whose clock the window is best told."""
    not_known: str | None = None
    """What it goes by and is not known here, and what to do; then it is never open."""


@dataclass(frozen=True, slots=True)
class Limit:
    """One limit on calls to a number, and the calls that count against it now."""

    most: int
    hours: int
    """The calls of so many hours count: 24, or 168."""
    calls: tuple[Call, ...]
    """The oldest first."""
    until: datetime | None
    """When it allows another one, if all of them rang; None: now."""
    undecided: bool = False
    """Whether it would allow one now without the calls of which it is not known yet whether they ring."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """One recipient who waits, as the rules see it."""

    places: tuple[Place, ...]
    hours: tuple[RuleHours, ...]
    limits: tuple[Limit, ...]
    due_at: datetime
    appointment_at: datetime | None
    reminder: str | None
    expires_at: datetime | None
    zone_missing: bool
    """Whether the calling hours go by the recipient's clock, and nobody knows which that is."""
    next_at: datetime | None
    """The first instant at which it can be dialed; None: there is none."""
    decides: Call | None = None
    """Another call to the number, of which it is not known yet whether it rings: if it does, it is the one
    that the limits allow. It is asked again at `next_at`."""

    @property
    def expires_first(self) -> bool:
        """Whether its time will have passed before it can be dialed."""
        return self.expires_at is not None and self.next_at is not None and self.next_at >= self.expires_at

    def as_json(self) -> dict[str, Any]:
        """The same for machines."""
        return {
            "time_zones": [{"zone": place.zone, "said_by": list(place.sources)} for place in self.places],
            "calling_hours": [
                {
                    "rule": each.rule,
                    "opens_at": _iso(each.window.opens) if each.window else None,
                    "closes_at": _iso(each.window.closes) if each.window else None,
                    "time_zone": each.time_zone,
                    "not_known": each.not_known,
                }
                for each in self.hours
            ],
            "limits": [
                {
                    "calls": each.most,
                    "within_hours": each.hours,
                    "counted": [
                        {"dialed_at": _iso(call.dialed_at), "campaign": call.campaign} for call in each.calls
                    ],
                    "allowed_again_at": _iso(each.until),
                    "undecided": each.undecided,
                }
                for each in self.limits
            ],
            "appointment_at": _iso(self.appointment_at),
            "reminder": self.reminder,
            "expires_at": _iso(self.expires_at),
        }


def outlook(campaign: Campaign, person: Any, calls: Sequence[Call], now: datetime) -> Outlook:
    """What the rules say now of a recipient who waits.

    `person`: a row of `recipients`. `calls`: those to its number within the last week, the oldest first.
    """
    rules, zones = campaign.timetable.rules, places(campaign, person.zones)
    limits = _limits(campaign, calls, now)
    holding = [limit for limit in limits if limit.until is not None]
    undecided = bool(holding) and all(limit.undecided for limit in holding)
    # While it is not known whether they hold, they are asked again and again.
    start = max(now, person.due_at, *(limit.until for limit in holding if limit.until and not undecided))
    next_at = earliest(rules, zones, start)
    soon = next_at is not None and next_at <= now + _SOON
    return Outlook(
        places=_places(zones, person),
        hours=tuple(_hours(rule, zones, now) for rule in rules),
        limits=limits,
        due_at=person.due_at,
        appointment_at=person.appointment_at,
        reminder=person.reminder,
        expires_at=person.expires_at,
        zone_missing=campaign.timetable.asks_for_zones and not zones,
        next_at=next_at,
        decides=next(filter(_may_not_count, reversed(calls))) if undecided and soon else None,
    )


def _places(zones: Sequence[str], person: Any) -> tuple[Place, ...]:
    said_by = {
        "the list": {person.time_zone},
        "the number": number_zones(person.phone),
    }
    known = (person.zones or "").split()
    return tuple(
        # What neither says any more was said by the number when the list was loaded: the data has changed.
        Place(zone, tuple(who for who, said in said_by.items() if zone in said) or ("the number",))
        if zone in known
        else Place(zone, ("fallback_time_zone",))
        for zone in zones
    )


def _hours(rule: Hours, zones: Sequence[str], now: datetime) -> RuleHours:
    window = next_window([rule], zones, now)
    if window is None:
        return RuleHours(rule.name, None, None, not_known([rule], zones))
    # One that is open began at no clock's hour, but now.
    zone = opens_by([rule], zones, window) if window.opens > now else rule.zone
    return RuleHours(rule.name, window, zone or next(iter(zones), None))


def _limits(campaign: Campaign, calls: Sequence[Call], now: datetime) -> tuple[Limit, ...]:
    found = []
    for most, span in ((campaign.calls_per_day, DAY), (campaign.calls_per_week, WEEK)):
        if most is None:
            continue
        counted = tuple(call for call in calls if call.dialed_at > now - span)
        certain = [call for call in counted if not _may_not_count(call)]
        per_day, per_week = (most, None) if span == DAY else (None, most)
        until, surely = (
            # What a clock has written that was ahead cannot be later than now.
            next_allowed(
                [min(call.dialed_at, now) for call in these], now, per_day=per_day, per_week=per_week
            )
            for these in (counted, certain)
        )
        hours = round(span.total_seconds() / 3600)
        found.append(Limit(most, hours, counted, until, until is not None and surely is None))
    return tuple(found)


def _may_not_count(call: Call) -> bool:
    """Whether it may still turn out that it has not rung."""
    return call.dialing or call.in_doubt


def _iso(instant: datetime | None) -> str | None:
    return instant.isoformat(timespec="seconds") if instant else None
