"""A recipient as the list has them → by whose clocks they may be called, and when: what the loader adds."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import lru_cache

from campaigns.calling_hours import not_known
from campaigns.campaign import Campaign
from campaigns.csv_records import folded
from campaigns.number_zones import number_zones
from campaigns.recipient import Recipient
from campaigns.reminder import appointment, column_to_correct, reminders

_SHOWN = 4  # zones that a reason names; a mobile number of Russia has eleven


@dataclass(frozen=True, slots=True)
class Untimely:
    """There is no time at which this recipient may be called."""

    column: str
    """The list's column to correct."""
    reason: str
    """What is wrong and what to do. It completes a sentence that begins with the cell, or with the row."""
    appointment_at: datetime | None = None
    """The time that could be read all the same: no other one of that key holds any more."""


class Timing:
    """For many people: what depends on their zones alone is found out once for each set of zones."""

    def __init__(self, campaign: Campaign, now: datetime) -> None:
        self._campaign, self._now = campaign, now
        self._open: set[str | None] = set()
        """Zones with calling hours."""

    def of(self, person: Recipient) -> Sequence[Recipient] | Untimely:
        """One recipient for each time at which they are to be called; without reminders, this one.

        Pure, but that `person` is told their zones.
        """
        zones = number_zones(person.phone)
        person.zones = _in_order(zones | {person.time_zone} if person.time_zone else zones)
        never = None
        if person.zones not in self._open:
            never = _never_open(self._campaign, person, self._now)
            if never is None:
                self._open.add(person.zones)
        if self._campaign.reminder is None:
            return never or [person]
        return _reminded(self._campaign, person, never, self._now)


@lru_cache(maxsize=4096)
def _in_order(zones: frozenset[str]) -> str | None:
    return " ".join(sorted(zones)) or None


def _reminded(
    campaign: Campaign, person: Recipient, never: Untimely | None, now: datetime
) -> Sequence[Recipient] | Untimely:
    assert campaign.reminder is not None

    def column() -> str:
        assert campaign.reminder is not None
        return column_to_correct(person.row, campaign.reminder.at)

    try:
        at = appointment(campaign, person)
    except ValueError as problem:
        return never or Untimely(column(), str(problem))
    if never is not None:
        return replace(never, appointment_at=at)
    try:
        return reminders(campaign, person, at, now)
    except ValueError as problem:
        return Untimely(column(), str(problem), at)


def _never_open(campaign: Campaign, person: Recipient, now: datetime) -> Untimely | None:
    """Why the campaign's calling hours are never open for somebody; None if they are."""
    timetable = campaign.timetable
    if not timetable.rules:
        return None
    zones = campaign.zones(person.zones)
    if not zones and timetable.asks_for_zones:
        return _without_zone(campaign, person)
    # The timetable keeps the answer for each set of zones: a million rows ask a few times.
    if timetable.window(zones, now) is not None:
        return None
    if unknown := not_known(timetable.rules, zones):
        reason = f"cannot be called: {unknown}"
    elif not timetable.asks_for_zones:
        reason = "cannot be called: the calling hours have no open hour within a year; widen [calling_hours]"
    elif len(zones) == 1:
        reason = f"cannot be called: in {zones[0]} no hour is open within a year; widen [calling_hours]"
    else:
        reason = (
            f"may be in {_in_words(zones)}, and no hour is open in all of them; "
            "widen [calling_hours], or name one clock for everybody in its time_zone"
        )
    named = campaign.list.time_zone if person.time_zone else None
    return Untimely(_column(person, named or campaign.list.phone), reason)


def _without_zone(campaign: Campaign, person: Recipient) -> Untimely:
    fallback = "set fallback_time_zone in [calling_hours]"
    if campaign.list.time_zone is None:
        return Untimely(
            _column(person, campaign.list.phone),
            "says nothing of its time zone, and the calling hours go by that; "
            f"{fallback}, or add a column that [list] time_zone names",
        )
    return Untimely(
        _column(person, campaign.list.time_zone),
        "is empty, and the number says nothing of its time zone; "
        f"write an IANA name such as America/New_York, or {fallback}",
    )


def _column(person: Recipient, name: str) -> str:
    """The header's own spelling of a column that the campaign names."""
    return next((column for column in person.row if folded(column) == folded(name)), name)


def _in_words(zones: Sequence[str]) -> str:
    shown, others = zones[:_SHOWN], len(zones) - _SHOWN
    if others > 1:
        return f"{', '.join(shown)} and {others} zones more"
    return f"{', '.join(zones[:-1])} and {zones[-1]}"
