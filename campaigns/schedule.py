"""When does a schedule fire? Which of its fires is to be run now, and which have been missed?

The wall clock of the schedule's zone decides. In the two nights of a year in which it is put forward or back,
as Debian's cron has it:

- A job at a time of day (`30 2 * * *`) runs exactly once: where its time is left out, as soon as the clock
  has jumped; where its time comes twice, at the first one.
- A job that goes by a wildcard or a step (`*/15 * * * *`, `0 */2 * * *`: the minute or the hour begins with a
  star) runs whenever the clock shows its time: not at a time that is left out, twice at one that comes twice.
"""

import heapq
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from campaigns.when import ScheduleOptions
from campaigns.zone_data import is_known

MOST_TOLD = 20
"""So many missed fires are told one by one; of those before them nobody hears but their number."""

_FOLD = timedelta(hours=4)  # longer than any clock is put back
_YEAR = timedelta(days=366)
_MINUTE = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Skipped:
    """A fire that is not run any more, and why."""

    at: datetime
    reason: str


@dataclass(frozen=True, slots=True)
class Decision:
    """What a schedule wants at one moment."""

    run: datetime | None
    """The fire whose run is to begin now; None if there is none."""
    skipped: tuple[Skipped, ...]
    """Those that are not run any more, in order; the last MOST_TOLD of them."""
    earlier: int
    """How many were skipped before those."""
    next: datetime | None
    """The first fire to come; None if there is none."""


def fires(schedule: ScheduleOptions, after: datetime) -> Iterator[datetime]:
    """When it fires after an instant: instants in UTC, in order, each once.

    Never, by the clock of a zone that this machine does not know.
    """
    if not is_known(schedule.time_zone):
        return
    # cronsim alone, given a zone, loses fires where a clock is put back by half an hour (Lord Howe). So it
    # is only asked what a wall clock shows, and the zone is laid beside that here.
    from cronsim import CronSim

    zone = ZoneInfo(schedule.time_zone)
    minute, hour = schedule.cron.split()[:2]
    by_clock = minute.startswith("*") or hour.startswith("*")
    coming: list[datetime] = []
    last = after
    shown = CronSim(schedule.cron, after.astimezone(zone).replace(tzinfo=None) - _FOLD)
    for wall in shown:
        # What a clock shows a second time comes after much that it shows only later.
        certain = wall.replace(tzinfo=zone).astimezone(UTC) - _FOLD
        while coming and coming[0] < certain:
            if (first := heapq.heappop(coming)) > last:
                last = first
                yield first
        for instant in _instants(wall, zone, by_clock):
            heapq.heappush(coming, instant)
    while coming:
        if (first := heapq.heappop(coming)) > last:
            last = first
            yield first


def decide(schedule: ScheduleOptions, since: datetime, now: datetime) -> Decision:
    """Which fire after `since` is to be run now. Never more than one, and never one before a later one.

    A fire is run within `grace` of its time; later only with `if_missed = "run"`, and until the next one.
    """
    passed: deque[datetime] = deque(maxlen=MOST_TOLD + 1)
    count, coming = 0, None
    # What lies more than a year back nobody asks for.
    for at in fires(schedule, max(since, now - _YEAR)):
        if at > now:
            coming = at
            break
        passed.append(at)
        count += 1
    run = passed[-1] if passed else None
    if run is not None and schedule.if_missed == "skip" and _too_late(schedule, run, now):
        run = None
    given_up = [at for at in passed if at != run][-MOST_TOLD:]
    skipped = tuple(Skipped(at, _why(schedule, at, passed[-1], now)) for at in given_up)
    return Decision(run, skipped, count - len(skipped) - (run is not None), coming)


def _too_late(schedule: ScheduleOptions, at: datetime, now: datetime) -> bool:
    return now - at > schedule.grace


def _why(schedule: ScheduleOptions, at: datetime, latest: datetime, now: datetime) -> str:
    if at < latest and (schedule.if_missed == "run" or not _too_late(schedule, at, now)):
        return "it had not begun when the next one was due"
    return "nothing was there to begin it in time; is dialer up running?"


def _instants(wall: datetime, zone: ZoneInfo, by_clock: bool) -> tuple[datetime, ...]:
    """When a wall clock that shows this is to be followed."""
    first, second = (wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    if first == second:
        return (first,)
    if first < second:
        return (first, second) if by_clock else (first,)
    # It never shows this. The first moment at which it shows anything later:
    if by_clock:
        return ()
    while first > second:
        wall += _MINUTE
        first, second = (wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    return (first,)
