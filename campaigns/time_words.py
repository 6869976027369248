"""Instants and spans as people say them: `tomorrow 09:00`, `in 3 h 12 m`."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo


def in_time(instant: datetime, now: datetime) -> str:
    """How far an instant is away: `in 3 h 12 m`; `now` for one that is not to come."""
    return f"in {distance(instant - now)}" if instant > now else "now"


def distance(span: timedelta) -> str:
    """A span in its two largest units: `2 d 3 h`, `3 h 12 m`, `12 m`, `45 s`.

    Rounded up to a minute from two minutes on: whoever comes back after so long finds it over.
    """
    seconds = -(-span // timedelta(seconds=1))
    if seconds < 120:
        return f"{seconds} s"
    minutes = -(-seconds // 60)
    units = ((minutes // 1440, "d"), (minutes // 60 % 24, "h"), (minutes % 60, "m"))
    first = next(i for i, (count, _) in enumerate(units) if count)
    return " ".join(f"{count} {unit}" for count, unit in units[first : first + 2] if count)


def clock(instant: datetime, zone: str | None, now: datetime) -> str:
    """What a zone's clock shows, with the day if that is not today there: `09:00`, `tomorrow 09:00`.

    `zone`: an IANA name; None: this machine's.
    """
    here, today = local(instant, zone), local(now, zone).date()
    days = (here.date() - today).days
    if days == 0:
        day = ""
    elif days == 1:
        day = "tomorrow "
    elif 1 < days < 7:
        day = f"{here:%a} "
    else:
        day = f"{here:%Y-%m-%d} "
    return f"{day}{here:%H:%M}"


def day_and_time(instant: datetime, now: datetime, *, year: bool = False) -> str:
    """A day and a time by this machine's clock: `Thu 3 Dec 21:48`; with the year if that is not now's."""
    here, today = local(instant, None), local(now, None)
    of_year = f" {here.year}" if year or here.year != today.year else ""
    return f"{here:%a} {here.day} {here:%b}{of_year} {here:%H:%M}"


_DAYS_FROM = timedelta(hours=36)
"""A span of this length or longer is told in days."""


def about_days(instant: datetime, now: datetime) -> str | None:
    """`about 3 days, Thu 3 Dec 21:48`, by this machine's clock; None if it is nearer than 36 h."""
    if instant - now < _DAYS_FROM:
        return None
    days = round((instant - now) / timedelta(days=1))
    return f"about {days:,} days, {day_and_time(instant, now)}"


def local(instant: datetime, zone: str | None) -> datetime:
    """The same instant by a zone's clock; None: this machine's."""
    return instant.astimezone(ZoneInfo(zone) if zone is not None else None)
