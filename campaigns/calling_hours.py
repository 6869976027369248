"""May somebody be rung now? If not, when next? By the wall clocks of every place where they may be.

An instant is open if the wall clock of each zone shows, at that instant, a time inside one of the windows of
each rule. So an hour that comes twice in an autumn night is open twice, or not at all, and one that is left
out in spring is not there to be open.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache

from campaigns.public_holidays import is_holiday
from campaigns.zone_data import changes, is_known, offset_from_utc

HORIZON = timedelta(days=370)
"""What does not open within so long never does: a year, and a few days for holidays that move."""

LAST_HOUR = timedelta(hours=1)
"""Whoever is to be rung before a window closes is due so long before its end."""

_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)
_WEEK = timedelta(days=7)

Week = tuple[tuple[tuple[int, int], ...], ...]
"""For each weekday, Monday first, its windows as minutes from that day's midnight, the end not included.
One that goes on after midnight belongs to the day on which it begins, and ends after 1,440."""


@dataclass(frozen=True, slots=True)
class Hours:
    """One rule that says when calls may be placed."""

    name: str
    """Whose rule it is: `calling_hours` for the campaign's own, or a preset's name."""
    week: Week
    zone: str | None = None
    """The IANA zone whose clock counts; None: the clocks of the recipient's own zones, all of them."""
    holidays: tuple[str, ...] = ()
    """Countries, or parts of them, on whose public holidays it is closed: `US`, `US-FL`."""
    not_known: str | None = None
    """What of it is not known here, in words, and what to do. Then it is never open."""


@dataclass(frozen=True, slots=True)
class Window:
    """From one instant until another, the latter not included."""

    opens: datetime
    closes: datetime

    def holds(self, instant: datetime) -> bool:
        """Whether the instant is inside."""
        return self.opens <= instant < self.closes


def windows(rules: Sequence[Hours], zones: Sequence[str], since: datetime) -> Iterator[Window]:
    """When somebody in all of these zones may be rung, by all rules: from `since` on, within the horizon.

    In order, and never touching one another. The first one begins at `since` if that is open. Nothing, if a
    rule needs the recipient's zone and none is known.
    """
    if not_known(rules, zones) is not None:
        return
    since = since.astimezone(UTC)  # sums by another clock would leave out the hour that it leaves out
    until = since + HORIZON
    clocks: list[_Clock] = []
    for rule in rules:
        places = [rule.zone] if rule.zone is not None else zones
        if not places:
            return
        clocks += [(rule, zone) for zone in places]
    if len(clocks) == 1:  # one rule and one zone, as a rule
        yield from _windows_of(*clocks[0], since, until)
        return
    for begin, end in _where_they_may_meet(clocks, since, until):
        yield from _together([_windows_of(*clock, begin, end) for clock in clocks])


def not_known(rules: Sequence[Hours], zones: Sequence[str]) -> str | None:
    """What these rules go by and is not known here, in words, and what to do; None: all of it is.

    What nobody knows anything of is never open: it keeps no other campaign from being dialed.
    """
    for rule in rules:
        if rule.not_known is not None:
            return rule.not_known
        for zone in [rule.zone] if rule.zone is not None else zones:
            if not is_known(zone):
                return f"this machine does not know the time zone {zone}; pip install -U tzdata"
    return None


def next_window(rules: Sequence[Hours], zones: Sequence[str], now: datetime) -> Window | None:
    """The window that is open now, from now on, or the first one to come; None if there is none."""
    return next(windows(rules, zones, now), None)


def last_window(rules: Sequence[Hours], zones: Sequence[str], until: datetime) -> Window | None:
    """The window that holds `until`, or the last one before it; None if there is none within the horizon.

    Its beginning may be cut off, if it began more than a week before.
    """
    for back in (timedelta(days=8), timedelta(days=60), HORIZON):
        last = None
        for window in windows(rules, zones, until - back):
            if window.opens > until:
                break
            last = window
        if last is not None:
            return last
    return None


def no_later_than(rules: Sequence[Hours], zones: Sequence[str], at: datetime) -> datetime | None:
    """`at` if that is open; else the beginning of the last open hour before it; None if there is none."""
    window = last_window(rules, zones, at) if rules else Window(at, at + _SECOND)
    if window is None:
        return None
    return at if window.holds(at) else max(window.opens, window.closes - LAST_HOUR)


@dataclass(slots=True)
class Timetable:
    """One campaign's rules, and what has been worked out about them lately.

    A hundred thousand people live in a few zones, and a window holds for hours.
    """

    rules: tuple[Hours, ...]
    _known: dict[tuple[str, ...], tuple[datetime, Window | None]] = field(default_factory=dict)

    @property
    def asks_for_zones(self) -> bool:
        """Whether it differs from recipient to recipient."""
        return any(rule.zone is None for rule in self.rules)

    def window(self, zones: tuple[str, ...], now: datetime) -> Window | None:
        """As `next_window`."""
        asked_at, window = self._known.get(zones, (None, None))
        if asked_at is None or not asked_at <= now < (window.closes if window else asked_at + _DAY):
            asked_at, window = now, next_window(self.rules, zones, now)
            self._known[zones] = (asked_at, window)
        return window

    def is_open(self, zones: tuple[str, ...], now: datetime) -> bool:
        """Whether somebody in these zones may be rung now."""
        if not self.rules:
            return True
        window = self.window(zones, now)
        return window is not None and window.holds(now)


_Clock = tuple[Hours, str]
"""A rule, and a zone by whose clock it is asked."""


def _together(streams: Sequence[Iterator[Window]]) -> Iterator[Window]:
    """When all are open."""
    heads = [next(stream, None) for stream in streams]
    while heads and None not in heads:
        present = [head for head in heads if head is not None]
        opens, closes = max(head.opens for head in present), min(head.closes for head in present)
        if opens < closes:
            yield Window(opens, closes)
        # Whichever ends first can add nothing more.
        heads = [
            next(stream, None) if head.closes == closes else head
            for stream, head in zip(streams, present, strict=True)
        ]


def _where_they_may_meet(
    clocks: Sequence[_Clock], since: datetime, until: datetime
) -> Iterator[tuple[datetime, datetime]]:
    """The spans outside of which no instant is open by all clocks; they do not touch one another.

    Two places on either side of the earth never have a common hour, and to go through a year of days to find
    that out would keep everybody else waiting. While no clock changes every week is like the last, but for
    holidays, and these only close: what does not meet within a week does not meet until a clock changes.
    """
    offsets = [list(_offsets(zone, since, until)) for _, zone in clocks]
    cuts = sorted({begin for spans in offsets for begin, _, _ in spans} | {until})
    meeting: datetime | None = None
    for begin in cuts[:-1]:
        weeks = frozenset(
            (rule.week, next(offset for first, last, offset in spans if first <= begin < last))
            for (rule, _), spans in zip(clocks, offsets, strict=True)
        )
        if not _meet_in_a_week(weeks):
            if meeting is not None:
                yield meeting, begin
            meeting = None
        elif meeting is None:
            meeting = begin
    if meeting is not None:
        yield meeting, until


@lru_cache(maxsize=16_384)
def _meet_in_a_week(weeks: frozenset[tuple[Week, timedelta]]) -> bool:
    """Whether there is an instant of the week, in UTC, that all these have inside, each so far from UTC."""
    common = [(timedelta(0), _WEEK)]
    for week, offset in weeks:
        spans = _in_utc(week, offset)
        common = [
            (max(begin, first), min(end, last))
            for begin, end in common
            for first, last in spans
            if max(begin, first) < min(end, last)
        ]
    return bool(common)


@lru_cache(maxsize=4096)
def _in_utc(week: Week, offset: timedelta) -> tuple[tuple[timedelta, timedelta], ...]:
    """A week's windows from Monday 00:00 UTC on, if its clock is so far from UTC."""
    found = []
    for number, spans in enumerate(week):
        for first, last in spans:
            opens = (number * _DAY + timedelta(minutes=first) - offset) % _WEEK
            closes = opens + timedelta(minutes=last - first)
            # One that goes on after the week's end began before its beginning.
            found += [(opens, min(closes, _WEEK)), (timedelta(0), closes - _WEEK)]
    return tuple((opens, closes) for opens, closes in found if opens < closes)


def _windows_of(rule: Hours, zone: str, since: datetime, until: datetime) -> Iterator[Window]:
    """One rule's windows by one zone's clock; those that touch are one."""
    pending: Window | None = None
    for begin, end, offset in _offsets(zone, since, until):
        for opens, closes in _on_the_wall(rule, begin + offset, end + offset):
            window = Window(max(begin, opens - offset), min(end, closes - offset))
            if window.opens >= window.closes:
                continue
            if pending is not None and pending.closes >= window.opens:
                pending = Window(pending.opens, max(pending.closes, window.closes))
                continue
            if pending is not None:
                yield pending
            pending = window
    if pending is not None:
        yield pending


def _on_the_wall(rule: Hours, begin: datetime, end: datetime) -> Iterator[tuple[datetime, datetime]]:
    """The rule's windows on a clock that is never put forward or back, and that UTC stands for here.

    In order, perhaps overlapping.
    """
    # One that began yesterday may last until today.
    midnight = begin.replace(hour=0, minute=0, second=0, microsecond=0) - _DAY
    while midnight < end:
        for first, last in rule.week[midnight.weekday()]:
            opens, closes = midnight + timedelta(minutes=first), midnight + timedelta(minutes=last)
            if rule.holidays:
                closes = _before_holidays(rule, midnight, closes)
            if opens < closes:
                yield opens, closes
        midnight += _DAY


def _before_holidays(rule: Hours, midnight: datetime, closes: datetime) -> datetime:
    """When a window of the day that begins at midnight closes: at once, if that day is a holiday."""
    if _closed_on(rule, midnight.date()):
        return midnight
    tomorrow = midnight + _DAY
    return tomorrow if closes > tomorrow and _closed_on(rule, tomorrow.date()) else closes


def _closed_on(rule: Hours, day: date) -> bool:
    return any(is_holiday(place, day) for place in rule.holidays)


def _offsets(zone: str, since: datetime, until: datetime) -> Iterator[tuple[datetime, datetime, timedelta]]:
    """The spans, one after the other, in which a zone's clock keeps its distance from UTC."""
    begin, offset = since, offset_from_utc(zone, since)
    for year in range(since.year, until.year + 1):
        for change in changes(zone, year):
            if since < change < until:
                yield begin, change, offset
                begin, offset = change, offset_from_utc(zone, change)
    yield begin, until, offset
