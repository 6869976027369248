"""A cell with an appointment → when its recipient is called for it.

So long before it, or in the last open hour before that, and never from the appointment on.
docs/reminders.md says the same for people.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from campaigns.attribute_template import columns_of, filled
from campaigns.calling_hours import Hours, no_later_than
from campaigns.calling_hours_options import RECIPIENT
from campaigns.campaign import Campaign
from campaigns.csv_records import UNSEEN, folded
from campaigns.number_zones import number_zones
from campaigns.recipient import Recipient
from campaigns.zone_data import is_known

_ISO = re.compile(
    r"\d{4}-\d\d-\d\d(?:T\d\d| \d\d?):\d\d(:\d\d(\.\d{1,9})?)?( ?(Z|[+-]\d\d(:?\d\d)?))?", re.ASCII
)
_DOTTED = re.compile(r"\d{1,2}\.\d{1,2}\.\d{4} \d{1,2}:\d\d(:\d\d)?", re.ASCII)
_ISO_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_LONGEST = 200  # characters of a cell that is looked at
_EXAMPLE = "2026-11-23T14:30"

LONGEST_KEY = 220
"""Characters. The ledger has 255, and may put behind it which reminder it is, and the appointment."""


@dataclass(frozen=True, slots=True)
class Reminder:
    """One call for an appointment."""

    before: timedelta
    due_at: datetime
    expires_at: datetime
    """Not called any more from then on: the next reminder is due, or the appointment begins."""


def appointment(campaign: Campaign, person: Recipient) -> datetime:
    """The instant of the appointment in somebody's row.

    Pure. Raises ValueError, whose text completes a sentence that begins with the cell, if it cannot be read.
    """
    options = campaign.reminder
    assert options is not None
    cells = {}
    for name in columns_of(options.at):
        column = appointment_column(person.row, name)
        if column is None:
            raise ValueError(f'is without the column "{name}", which [reminder] at names')
        cells[name] = plain_cell(person.row[column])
    if len(person.key) > LONGEST_KEY:
        raise ValueError(
            f"has a key of {len(person.key)} characters, and with [reminder] it has {LONGEST_KEY} at most; "
            "shorten the key"
        )
    return _instant(campaign, person, appointment_time(filled(options.at, cells), options.format))


def reminders(campaign: Campaign, person: Recipient, at: datetime, now: datetime) -> list[Recipient]:
    """One recipient for each call that is still to be made for their appointment `at` that time.

    Pure. Raises ValueError, whose text completes a sentence that begins with the cell, if none is.
    """
    options = campaign.reminder
    assert options is not None
    if at <= now:
        raise ValueError("is over; nobody is called for it any more")
    rules, zones = campaign.timetable.rules, campaign.zones(person.zones)
    calls = [
        call
        for call in calls_before(options.before, at, rules, zones)
        if _can_be_made(campaign, zones, call, now)
    ]
    if not calls:
        raise ValueError("has no calling hour left before it; call by hand, or widen [calling_hours]")
    return [
        replace(
            person,
            key=f"{person.key} {which}" if which else person.key,
            appointment_at=at,
            reminder=which,
            due_at=call.due_at,
            expires_at=call.expires_at,
        )
        for call, which in ((call, options.names[call.before]) for call in calls)
    ]


def calls_before(
    befores: Collection[timedelta], appointment: datetime, rules: Sequence[Hours], zones: Sequence[str]
) -> list[Reminder]:
    """The calls for an appointment, each in an open hour, the first one first.

    Of two that would come at once, because the hours between them are closed, only the later one is made.
    """
    until, calls = appointment, []
    for before in sorted(befores):
        due_at = _no_later_than(tuple(rules), tuple(zones), appointment - before)
        if due_at is not None and due_at < until:
            calls.append(Reminder(before, due_at, until))
            # Whoever is told of tomorrow's appointment two hours before it is told twice.
            until = due_at
    return calls[::-1]


def _can_be_made(campaign: Campaign, zones: tuple[str, ...], call: Reminder, now: datetime) -> bool:
    """Whether there is an open hour for it from now on. It is due in one, unless the list came late."""
    if call.due_at >= now or not campaign.timetable.rules:
        return call.expires_at > now
    window = campaign.timetable.window(zones, now)
    return window is not None and max(window.opens, now) < call.expires_at


def column_to_correct(row: Mapping[str, str], at: str) -> str:
    """The row's own name of the column of an appointment; of several, the first empty one, or the first."""
    known = [appointment_column(row, name) or name for name in columns_of(at)]
    return next((name for name in known if not plain_cell(row.get(name, "")).strip()), known[0])


def plain_cell(cell: str) -> str:
    """A cell without what is not seen in it, and with plain blanks: `\u200e2026-12-24\u00a014:30`."""
    return " ".join((cell if cell.isascii() else UNSEEN.sub("", cell)).split())


def appointment_column(row: Mapping[str, str], name: str) -> str | None:
    """The row's own name of the column that the campaign's file calls `name`."""
    if name in row:
        return name
    wanted = folded(name)
    return next((column for column in row if folded(column) == wanted), None)


def appointment_time(cell: str, written: str | None = None) -> datetime:
    """A cell, in ISO 8601 or as strptime has it → its time: an instant if an offset stands there, else naive.

    In whole seconds. Raises ValueError, whose text completes a sentence that begins with the cell. Nothing is
    guessed: 11/12/2026 is a day in November for some and in December for others.
    """
    text = plain_cell(cell) if len(cell) <= _LONGEST else cell
    if not text:
        raise ValueError("is empty; fill in the time of the appointment")
    if len(text) > _LONGEST:
        raise ValueError(_not_as("", written))
    try:
        # By which clock is found out later.
        found = datetime.strptime(text, written) if written else _iso_time(text)  # noqa: DTZ007
    except (ValueError, re.error):
        raise ValueError(_not_as(text, written)) from None
    if not 2000 <= found.year < 2200:
        raise ValueError(f"is in the year {found.year:04}; correct it")
    return found.replace(microsecond=0)


def _iso_time(text: str) -> datetime:
    if not _ISO.fullmatch(text) or text[11:13] == "24":
        raise ValueError
    if text[12] == ":":  # 9:05
        text = f"{text[:11]}0{text[11:]}"
    return datetime.fromisoformat(re.sub(r" (?=[Z+-])", "", text))


def _not_as(text: str, written: str | None) -> str:
    if written:
        example = datetime(2026, 11, 23, 14, 30, tzinfo=UTC).strftime(written)
        return f"is not written as [reminder] format says ({written}); expected for instance {example}"
    if _ISO_DAY.fullmatch(text):
        return f"has no time of day; write for instance {_EXAMPLE}"
    if _ISO.fullmatch(text):
        return "is no day and time that there is; correct it"
    other = "name [reminder] format"
    if match := _DOTTED.fullmatch(text):
        # With dots the day comes first everywhere; with strokes it may be the month, so nothing is suggested.
        other = f'format = "%d.%m.%Y %H:%M{":%S" if match[1] else ""}" in [reminder]'
    return f"is not a date and time in ISO 8601; write for instance {_EXAMPLE}, or {other}"


def _instant(campaign: Campaign, person: Recipient, found: datetime) -> datetime:
    """The instant of an appointment; without an offset it stands by the clock of one of the zones."""
    if found.tzinfo is not None:
        return found.astimezone(UTC)
    for zones in _whose_clock(campaign, person):
        # Jersey and London have one clock, and any one of the two will do.
        instants = {_on_the_clock_of(zone, found) for zone in zones}
        if len(instants) == 1:
            return instants.pop()
    raise ValueError(
        f"may stand for more than one time, by the clock of {_some(number_zones(person.phone))}; write the "
        f"offset ({_EXAMPLE}-05:00), or name a time_zone in [reminder], or a column with it in [list]"
    )


def _whose_clock(campaign: Campaign, person: Recipient) -> list[Collection[str]]:
    """Zones by whose clocks the list is written, the likeliest first. Some may not say which one."""
    own, hours = campaign.reminder.time_zone if campaign.reminder else None, campaign.calling_hours
    if own is not None:
        return [[own]]
    if person.time_zone is not None:
        return [[person.time_zone]]
    everybodys = hours.time_zone if hours and hours.time_zone != RECIPIENT else None
    fallback = everybodys or (hours.fallback_time_zone if hours else None)
    return [number_zones(person.phone), [fallback] if fallback else []]


def _some(zones: Collection[str]) -> str:
    if not zones:
        return "a time zone of which nothing is known"
    shown = sorted(zones)[:3]
    return ", ".join(shown[:-1]) + f" or {shown[-1]}" if len(zones) <= 3 else ", ".join(shown) + " …"


def _on_the_clock_of(zone: str, wall: datetime) -> datetime:
    """The instant at which a zone's clock shows this. Raises ValueError if it never does, or does twice."""
    if not is_known(zone):
        raise ValueError(
            f"cannot be read: this machine does not know the time zone {zone}; pip install -U tzdata"
        )
    first, second = (wall.replace(tzinfo=_zone(zone), fold=fold) for fold in (0, 1))
    before, after = first.utcoffset(), second.utcoffset()
    assert before is not None
    assert after is not None
    if before < after:
        raise ValueError(f"is left out by the clock of {zone}, which is put forward then; correct it")
    if before > after:
        raise ValueError(
            f"comes twice by the clock of {zone}, which is put back then; "
            f"write which one: {first.isoformat()} or {second.isoformat()}"
        )
    return first.astimezone(UTC)


@lru_cache(maxsize=65_536)  # appointments are at full hours, and people live in a few zones
def _no_later_than(rules: tuple[Hours, ...], zones: tuple[str, ...], at: datetime) -> datetime | None:
    return no_later_than(rules, zones, at)


@lru_cache(maxsize=1024)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)
