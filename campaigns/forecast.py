"""When would everybody have been called? A reckoning with people as a fluid, at one rate.

It assumes that everybody is called once, that nobody is dialed again, that nothing else uses the rate, and
that whoever's calling hours end first is called first, as feed does it.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from campaigns.calling_hours import HORIZON, Window

_NOBODY = 0.001  # people: what may be left of a group by rounding to microseconds
_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Group:
    """People who are open and closed together."""

    arrivals: Sequence[tuple[datetime, float]]
    """When how many of them are due; those who are due already, at any time before now."""
    windows: Iterable[Window] | None
    """When they may be called, in order, never touching; None: at any time."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """What would happen, if nothing came in between."""

    finishes_at: datetime | None
    """When the last call is placed; None if somebody is left, or if there is nobody."""
    per_hour: dict[datetime, float]
    """Calls in each hour (UTC, by its beginning) in which there are any; in order."""
    left: int
    """Who would not have been called within a year."""


def forecast(groups: Iterable[Group], calls_per_second: float, now: datetime) -> Forecast:
    """Reckon when everybody would have been called, from `now` on."""
    flow = _Flow(now, now + HORIZON, calls_per_second, [_Pool(group, now) for group in groups])
    while (step := flow.next_step()) is not None:
        flow.go(*step)
    left = round(sum(pool.people + sum(count for _, count in pool.to_come) for pool in flow.pools))
    return Forecast(flow.last if not left else None, dict(sorted(flow.per_hour.items())), left)


class _Pool:
    """One group on its way: who is due, who is to come, and the window that is open or comes next."""

    def __init__(self, group: Group, now: datetime) -> None:
        self.people = sum(count for at, count in group.arrivals if at <= now)
        # The last one first, so that the next one is taken from the end.
        self.to_come = sorted(((at, n) for at, n in group.arrivals if at > now and n), reverse=True)
        self._windows: Iterator[Window] | None = None if group.windows is None else iter(group.windows)
        self.window: Window | None = None if self._windows is None else next(self._windows, None)

    @property
    def for_ever(self) -> bool:
        """Whether it may be called at any time."""
        return self._windows is None

    def move_to(self, now: datetime) -> None:
        """Let in who is due by now, and go on to the window that is open or comes next."""
        while self.to_come and self.to_come[-1][0] <= now:
            self.people += self.to_come.pop()[1]
        while self._windows is not None and self.window is not None and self.window.closes <= now:
            self.window = next(self._windows, None)

    def is_open(self, now: datetime) -> bool:
        """Whether somebody in it can be called now."""
        return self.people > _NOBODY and (
            self.for_ever or (self.window is not None and self.window.holds(now))
        )

    def changes_at(self, now: datetime) -> list[datetime]:
        """The instants to come at which somebody is due, or at which it opens or closes."""
        found = [self.to_come[-1][0]] if self.to_come else []
        # Without anybody in it, nothing happens before somebody comes.
        if self.window is not None and self.people > _NOBODY:
            found.append(self.window.closes if self.window.holds(now) else self.window.opens)
        if self.window is None and not self.for_ever:
            return []
        return found


@dataclass(slots=True)
class _Flow:
    now: datetime
    end: datetime
    calls_per_second: float
    pools: list[_Pool]
    last: datetime | None = None
    per_hour: dict[datetime, float] = field(default_factory=dict)

    def next_step(self) -> tuple[_Pool | None, datetime] | None:
        """Who is called until when; None when nothing is to come any more."""
        if self.now >= self.end:
            return None
        for pool in self.pools:
            pool.move_to(self.now)
        changes = [at for pool in self.pools for at in pool.changes_at(self.now)]
        ready = [pool for pool in self.pools if pool.is_open(self.now)]
        if not ready:
            return (None, min([self.end, *changes])) if changes else None
        first = min(ready, key=lambda pool: (pool.for_ever, pool.window.closes if pool.window else self.now))
        # Not more seconds than a timedelta holds; and never a step of no length, or it would go on for ever.
        seconds = min(first.people / self.calls_per_second, HORIZON.total_seconds())
        needed = max(timedelta(seconds=seconds), timedelta(microseconds=1))
        return first, min([self.now + needed, self.end, *changes])

    def go(self, pool: _Pool | None, until: datetime) -> None:
        """Call the people of a pool until an instant, or let the time pass."""
        if pool is not None:
            calls = min(pool.people, (until - self.now).total_seconds() * self.calls_per_second)
            self._note(calls, until)
            pool.people -= calls
            self.last = until
        self.now = until

    def _note(self, calls: float, until: datetime) -> None:
        """Spread calls evenly from now until then over the hours."""
        whole, begin = until - self.now, self.now
        while begin < until:
            hour = begin.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
            end = min(until, hour + _HOUR)
            self.per_hour[hour] = self.per_hour.get(hour, 0.0) + calls * ((end - begin) / whole)
            begin = end
