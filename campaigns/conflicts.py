"""Choices of one campaign that cannot all hold: a limit without room for a redial, hours that never open.

Each is legal by itself, and none keeps the campaign from being loaded. `plan` and `load` say them before the
first call. Codes and data only: the words are made in conflicts_view.py.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from campaigns.calling_hours import next_window
from campaigns.campaign import Campaign
from campaigns.limits import DAY, WEEK
from campaigns.zone_data import offset_from_utc, zones_of_places


class ConflictCode(StrEnum):
    """What cannot be."""

    REDIAL_PAST_LIMIT = "redial_past_limit"
    """A limit on calls to a number postpones a redial beyond the wait that its rule names.

    Data: `outcome`, `wait_seconds`, `redial` (the first that is postponed, counted from 1), `calls` and
    `within_hours` of the limit."""
    REDIAL_PAST_APPOINTMENT = "redial_past_appointment"
    """The wait is longer than any reminder leaves until its appointment. Data: `outcome`, `wait_seconds`,
    `before_seconds` (the longest)."""
    REMINDER_PAST_LIMIT = "reminder_past_limit"
    """A limit forbids a reminder until it is too late. Data: `before_seconds`, `calls`, `within_hours`."""
    NEVER_OPEN = "never_open"
    """The calling hours are not open anywhere within a year. Data: none."""


@dataclass(frozen=True, slots=True)
class Conflict:
    """One of them."""

    code: ConflictCode
    data: dict[str, int | str] = field(default_factory=dict)


def conflicts(campaign: Campaign, now: datetime) -> tuple[Conflict, ...]:
    """What of a campaign's choices cannot be, from an instant on. Pure."""
    return (*_never_open(campaign, now), *_redials(campaign), *_reminders(campaign))


def _limits(campaign: Campaign) -> list[tuple[int, timedelta]]:
    limits = ((campaign.calls_per_day, DAY), (campaign.calls_per_week, WEEK))
    return [(most, span) for most, span in limits if most is not None]


def _redials(campaign: Campaign) -> Iterator[Conflict]:
    longest = max(_time_for_each(campaign), default=None)
    for outcome, rule in campaign.redial.after.items():
        most = campaign.redial.max_attempts - 1
        redials = most if rule.max_redials is None else min(most, rule.max_redials)
        if redials < 1:
            continue
        about: dict[str, int | str] = {"outcome": str(outcome), "wait_seconds": _seconds(rule.wait)}
        if longest is not None and rule.wait >= longest:
            data = {**about, "before_seconds": _seconds(longest)}
            yield Conflict(ConflictCode.REDIAL_PAST_APPOINTMENT, data)
            continue
        for calls, span in _limits(campaign):
            # So many redials after the first call it would be one too many within the span.
            if calls <= redials and calls * rule.wait < span:
                data = {**about, "redial": calls, "calls": calls, "within_hours": _hours(span)}
                yield Conflict(ConflictCode.REDIAL_PAST_LIMIT, data)
                break


def _reminders(campaign: Campaign) -> Iterator[Conflict]:
    if campaign.reminder is None:
        return
    befores = sorted(campaign.reminder.before, reverse=True)
    for calls, span in _limits(campaign):
        made: list[timedelta] = []  # from the appointment on, so that all are negative
        for before, until in zip(befores, [*befores[1:], timedelta(0)], strict=True):
            at = -before if len(made) < calls else max(-before, made[-calls] + span)
            if at < -until:
                made.append(at)
                continue
            data: dict[str, int | str] = {"before_seconds": _seconds(before), "calls": calls}
            yield Conflict(ConflictCode.REMINDER_PAST_LIMIT, {**data, "within_hours": _hours(span)})


def _time_for_each(campaign: Campaign) -> Sequence[timedelta]:
    """How long each reminder may be dialed: until the next one, or until the appointment."""
    if campaign.reminder is None:
        return ()
    befores = sorted(campaign.reminder.before, reverse=True)
    return [one - other for one, other in zip(befores, [*befores[1:], timedelta(0)], strict=True)]


def _never_open(campaign: Campaign, now: datetime) -> Iterator[Conflict]:
    timetable = campaign.timetable
    if not timetable.rules:
        return
    places = _somewhere(now) if timetable.asks_for_zones else iter([()])
    if all(next_window(timetable.rules, zones, now) is None for zones in places):
        yield Conflict(ConflictCode.NEVER_OPEN)


def _somewhere(now: datetime) -> Iterator[tuple[str, ...]]:
    """One place for each distance from UTC: what is closed in all of them is closed everywhere."""
    yield ("America/New_York",)  # nearly always enough, and all others take 50 ms to read
    yield from ((zone,) for zone in {offset_from_utc(zone, now): zone for zone in zones_of_places()}.values())


def _seconds(span: timedelta) -> int:
    return round(span.total_seconds())


def _hours(span: timedelta) -> int:
    return _seconds(span) // 3600
