"""May somebody be rung now? If not, when next? By the wall clocks of every place where they may be.

An instant is open if the wall clock of each zone shows, at that instant, a time inside one of the windows of
each rule. So an hour that comes twice in an autumn night is open twice, or not at all, and one that is left
out in spring is not there to be open.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from campaigns.public_holidays import is_holiday

HORIZON = timedelta(days=370)
"""What does not open within so long never does: a year, and a few days for holidays that move."""

LAST_HOUR = timedelta(hours=1)
"""Whoever is to be rung before a window closes is due so long before its end."""

_DAY = timedelta(days=1)
_STEP = timedelta(hours=6)  # no zone changes its offset twice within so short a time
_SECOND = timedelta(seconds=1)

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
    streams: list[Iterator[Window]] = []
    for rule in rules:
        places = [rule.zone] if rule.zone is not None else zones
        if not places:
            return
        streams += [_windows_of(rule, zone, since) for zone in places]
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


def _windows_of(rule: Hours, zone: str, since: datetime) -> Iterator[Window]:
    """One rule's windows by one zone's clock; those that touch are one."""
    until = since + HORIZON
    pending: Window | None = None
    for begin, end, offset in _offsets(zone, since, until):
        wall_begin, wall_end = (begin + offset).replace(tzinfo=None), (end + offset).replace(tzinfo=None)
        for opens, closes in _on_the_wall(rule, wall_begin, wall_end):
            window = Window(
                max(begin, opens.replace(tzinfo=UTC) - offset), min(end, closes.replace(tzinfo=UTC) - offset)
            )
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
    """The rule's windows on a clock that is never put forward or back; in order, perhaps overlapping."""
    day = begin.date() - _DAY  # one that began yesterday may last until today
    while day <= end.date():
        for first, last in rule.week[day.weekday()]:
            midnight = datetime.combine(day, datetime.min.time())
            yield from _but_holidays(
                rule, day, midnight + timedelta(minutes=first), midnight + timedelta(minutes=last)
            )
        day += _DAY


def _but_holidays(
    rule: Hours, day: date, opens: datetime, closes: datetime
) -> Iterator[tuple[datetime, datetime]]:
    """A window of a day, without what of it is on a holiday; none of it, if its day is one."""
    if not rule.holidays:
        yield opens, closes
        return
    if _closed_on(rule, day):
        return
    if closes.date() > day and _closed_on(rule, closes.date()):
        closes = datetime.combine(closes.date(), datetime.min.time())
    if opens < closes:
        yield opens, closes


def _closed_on(rule: Hours, day: date) -> bool:
    return any(is_holiday(place, day) for place in rule.holidays)


def _offsets(zone: str, since: datetime, until: datetime) -> Iterator[tuple[datetime, datetime, timedelta]]:
    """The spans, one after the other, in which a zone's clock keeps its distance from UTC."""
    begin, offset = since, _offset(zone, since)
    at = since
    while at < until:
        later = min(at + _STEP, until)
        if _offset(zone, later) != offset:
            change = _change(zone, at, later)
            yield begin, change, offset
            begin, offset = change, _offset(zone, change)
        at = later
    yield begin, until, offset


def _change(zone: str, before: datetime, after: datetime) -> datetime:
    """The first whole second at which the offset is the later one."""
    was = _offset(zone, before)
    low, high = int(before.timestamp()), int(after.timestamp()) + 1
    while high - low > 1:
        middle = (low + high) // 2
        if _offset(zone, datetime.fromtimestamp(middle, UTC)) == was:
            low = middle
        else:
            high = middle
    return datetime.fromtimestamp(high, UTC)


def _offset(zone: str, at: datetime) -> timedelta:
    offset = _zone(zone).utcoffset(at.astimezone(_zone(zone)))
    assert offset is not None
    return offset


@lru_cache(maxsize=1024)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)
