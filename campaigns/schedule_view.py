"""The schedules and what comes next, in words."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from campaigns.ledger.health import Heartbeat
from campaigns.ledger.schedules import FAILED, GROWN, WAITING, Leftover, Scheduled
from campaigns.ledger.tables import CLOCKS_DIFFER_BY
from campaigns.schedule import fires
from campaigns.side import either_way, flag, told
from campaigns.time_words import clock, in_time
from campaigns.zone_data import is_known

_LONG_AGO = timedelta(days=366)
"""Fires that passed before that are not looked for."""

LATE = timedelta(minutes=2)
"""So long after its time a fire has begun where processes are there for it, or is called late."""

_STILL_READ = timedelta(hours=6)
"""Longer than any list takes to be read."""

SHOWN = 3
"""So many of the fires to come are listed."""


@dataclass(frozen=True, slots=True)
class Upcoming:
    """One campaign's schedule at one moment."""

    at: datetime
    scheduled: Scheduled
    fires: tuple[datetime, ...]
    """The next ones, SHOWN at most."""
    attended: bool
    """Whether there are processes of its own side that would begin a run."""
    others: bool = False
    """Whether there are such of the other side, which do not."""
    overdue: datetime | None = None
    """The first fire whose time has passed and that has not begun: nothing is there for it, or it is late."""

    @property
    def next(self) -> datetime | None:
        """The first fire to come."""
        return self.fires[0] if self.fires else None

    @property
    def alarm(self) -> str | None:
        """What has gone wrong since the last run began, if anything; it does not change as time goes by."""
        trouble, options, since = self.scheduled.trouble, self.scheduled.options, self.scheduled.since
        if not is_known(options.time_zone):
            return f"this machine does not know the time zone {options.time_zone}; pip install -U tzdata"
        if since > self.at + CLOCKS_DIFFER_BY:
            until = f"{options.local(since):%a %Y-%m-%d %H:%M}"
            return (
                f"a clock that was ahead has written that no run begins before {until}; "
                "when all clocks are right, enter it again: dialer schedule add FILE"
            )
        if self.scheduled.exchange is None:
            enter = either_way("dialer schedule add FILE")
            return f"no run begins: it is not decided whether its calls are real or a trial; say: {enter}"
        if self.overdue is not None and (trouble is None or trouble.fire_at < self.overdue):
            local = f"{options.local(self.overdue):%a %Y-%m-%d %H:%M}"
            if self.attended:
                path = self.scheduled.list_path(self.overdue)
                return (
                    f"the run of {local} is late: its list is long or slow to read, or the control "
                    f"process is busy with others: {path}; see the log of the control process"
                )
            return f"the run of {local} has not begun: {self.unattended}; start the dialer with: {self.up}"
        if trouble is None:
            return None
        if trouble.state == FAILED:
            return f"no run begins: {trouble.reason}"
        if trouble.state == GROWN:
            return trouble.reason
        when = f"the run of {options.local(trouble.fire_at):%a %Y-%m-%d %H:%M}"
        if trouble.state != WAITING:
            return f"{when} was skipped: {trouble.reason}"
        # A later fire takes its place.
        following = next(fires(options, trouble.fire_at), None)
        over = trouble.fire_at + options.grace if options.if_missed == "skip" else following
        over = min((end for end in (over, following) if end is not None), default=None)
        until = f" until {options.local(over):%a %H:%M}" if over else ""
        return f"{when} waits: {trouble.reason}; tried again{until}"

    def in_words(self) -> str:
        """What comes next, in one line."""
        each = self.scheduled
        if each.paused is not None:
            resume = f"dialer resume {each.campaign.name}"
            return f"paused {_because(each.paused)}: no run begins; go on with: {resume}"
        if each.exchange is None:
            return "no run begins: it is not decided whether its calls are real or a trial"
        zone = each.options.time_zone
        if not is_known(zone):
            return f"when the next run begins cannot be said: {zone} is no time zone that is known here"
        if self.next is None:
            return "it never begins another run"
        words = f"the next run begins {clock(self.next, zone, self.at)} {zone} {in_time(self.next, self.at)}"
        return words if self.attended else f"{words}, if somebody is there to begin it: {self.up}"

    @property
    def up(self) -> str:
        """The command that starts what would begin its runs."""
        return f"dialer up{flag(self.scheduled.exchange)}"

    @property
    def unattended(self) -> str:
        """Who is missing, where nothing would begin a run."""
        if not self.others:
            return "no process is there to begin it"
        whose = "for real calls" if self.scheduled.exchange == "sandbox" else "of a trial"
        return f"only processes {whose} are there, and do not begin it"

    def as_json(self) -> dict[str, Any]:
        """The same for machines, as part of a status."""
        return {
            "next": iso(self.scheduled, self.next),
            "alarm": self.alarm,
            "paused": self.scheduled.paused,
        }


def upcoming(each: Scheduled, processes: Sequence[Heartbeat], now: datetime) -> Upcoming:
    """What comes next by a schedule, and who is there to begin it."""
    ours = {process.role for process in processes if process.exchange == each.exchange}
    theirs = {process.role for process in processes if process.exchange != each.exchange}
    needed = {"control", "beat"}
    to_come = fires(each.options, max(now, each.since))
    overdue = None
    if each.paused is None and each.exchange is not None:
        first = next(fires(each.options, max(each.since, now - _LONG_AGO)), None)
        if first is not None and first <= now and (not needed <= ours or _is_late(each, first, now)):
            overdue = first
    return Upcoming(now, each, tuple(islice(to_come, SHOWN)), needed <= ours, needed <= theirs, overdue)


def _is_late(each: Scheduled, at: datetime, now: datetime) -> bool:
    """Whether a fire should have begun, with processes there. One of long ago they are about to skip."""
    return LATE < now - at <= max(each.options.grace, _STILL_READ)


def listed(each: Upcoming) -> list[str]:
    """One campaign's schedule, line by line."""
    scheduled, options = each.scheduled, each.scheduled.options
    side = told(scheduled.exchange)
    lines = [f"{scheduled.campaign.name}: {options.cron}, {options.time_zone} ({side})"]
    if scheduled.paused is not None:
        lines.append(f"  {each.in_words()}")
    for at in each.fires:
        path = scheduled.list_path(at)
        there = "" if path.is_file() else " (not there yet)"
        local = options.local(at)
        lines.append(f"  {local:%a %Y-%m-%d %H:%M %Z}, {in_time(at, each.at)}: {path}{there}")
    if scheduled.last is not None:
        last = scheduled.last
        began = f"{options.local(last.fire_at):%a %Y-%m-%d %H:%M %Z}"
        lines.append(f"  last: run {last.number} of {began}, {last.state}")
    if each.alarm is not None:
        lines.append(f"  alarm: {each.alarm}")
    if not each.attended and scheduled.paused is None and scheduled.exchange is not None:
        lines.append(f"  {each.unattended}: start the dialer with: {each.up}")
    return lines


def listed_as_json(each: Upcoming) -> dict[str, Any]:
    """The same for machines."""
    scheduled, options = each.scheduled, each.scheduled.options
    last = scheduled.last
    return {
        "name": scheduled.campaign.name,
        "cron": options.cron,
        "time_zone": options.time_zone,
        "if_missed": options.if_missed,
        "next": [
            {
                "at": iso(scheduled, at),
                "list": str(scheduled.list_path(at)),
                "there": scheduled.list_path(at).is_file(),
            }
            for at in each.fires
        ],
        "last": last and {"run": last.number, "at": iso(scheduled, last.fire_at), "state": last.state},
        "paused": scheduled.paused,
        "alarm": each.alarm,
        "attended": each.attended,
        "exchange": scheduled.exchange,
    }


def left_over(older: Sequence[Leftover]) -> list[str]:
    """The runs before the latest one that are not over."""
    return [
        f"run {each.number} is not over: {each.state}, {each.waiting:,} waiting, "
        f"{each.in_progress:,} in progress"
        for each in older
    ]


def iso(each: Scheduled, at: datetime | None) -> str | None:
    """An instant with the offset of the schedule's own clock."""
    return None if at is None else each.options.local(at).isoformat(timespec="minutes")


def _because(reason: str) -> str:
    return reason if reason.startswith("by ") else f"({reason})"
