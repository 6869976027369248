"""What else a campaign's file says of the right time: limits, schedule, reminders, and whom never to call."""

import re
from datetime import UTC, datetime, timedelta
from string import Formatter
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, field_validator

from campaigns.attempt import Outcome
from campaigns.attribute_template import columns_of
from campaigns.calling_hours_options import Zone
from campaigns.toml_values import Duration, Table, duration
from campaigns.zone_data import is_known


class LimitsOptions(Table):
    """How often one number may be rung, whatever campaigns it is in."""

    per_number_per_day: int | None = Field(default=None, ge=1, le=1000, strict=True)
    """Within any 24 hours."""
    per_number_per_week: int | None = Field(default=None, ge=1, le=1000, strict=True)
    """Within any 168 hours."""


_CRON = 'such as "0 9 * * MON-FRI": minute, hour, day of month, month, day of week'
# What strftime writes alike on every machine, and in the name of a file.
_DATE_FORMAT = re.compile(r"(%[YymdjHMSVGuaAbBp%]|[^%{}\x00-\x1f])*")


def _cron(text: str) -> str:
    from cronsim import CronSim, CronSimError

    if len(text.split()) != 5:
        raise ValueError(f"expected five fields, {_CRON}")
    try:
        next(CronSim(text, datetime(2026, 1, 1)))  # noqa: DTZ001 (asked only whether it ever fires)
    except (CronSimError, StopIteration) as error:
        bad = re.fullmatch(r"Bad (\S+)", str(error))
        where = f"its {bad[1].replace('-', ' ')} will not do; " if bad else ""
        raise ValueError(f"{where}expected five fields, {_CRON}") from None
    return " ".join(text.split())


def _list_name(text: str) -> str:
    """Raises ValueError for a name that could not be filled in, or that no file has."""
    known = "there are {date}, as in 2026-03-02, and with a form of its own {date:%d.%m.%Y}"
    try:
        parts = list(Formatter().parse(text))
    except ValueError:
        raise ValueError(f"has a brace without its other half; {known}; write {{{{ for a brace") from None
    for literal, name, form, conversion in parts:
        if not literal.isprintable():
            raise ValueError("has a character that no file's name has; type it again")
        if name is None:
            continue
        if name != "date" or conversion:
            raise ValueError(f"unknown placeholder {{{name}}}; {known}")
        if form and not _DATE_FORMAT.fullmatch(form):
            raise ValueError(f"the form {form} of {{date}} will not do; write one such as {{date:%Y%m%d}}")
    return text


class ScheduleOptions(Table):
    """When the campaign begins a run by itself, and from which list."""

    cron: Annotated[str, AfterValidator(_cron)]
    time_zone: Zone
    list: Annotated[str, AfterValidator(_list_name)] = Field(min_length=1)
    """The list, read at each fire time, from the campaign file's folder; `{date}` is the fire's day."""
    if_missed: Literal["skip", "run"] = "skip"
    """What becomes of a fire that could not happen within `grace` of its time."""
    grace: Duration = timedelta(minutes=30)

    @field_validator("grace")
    @classmethod
    def _long_enough(cls, grace: timedelta) -> timedelta:
        # No scheduler looks at the clock all the time, and a list may still be being written.
        if grace < timedelta(minutes=1):
            raise ValueError("expected 1m or more: nothing begins at the very second")
        return grace

    def local(self, fire: datetime) -> datetime:
        """A fire by the schedule's own clock; by UTC where this machine does not know that zone."""
        return fire.astimezone(ZoneInfo(self.time_zone) if is_known(self.time_zone) else UTC)

    def list_of(self, fire: datetime) -> str:
        """The list that a fire reads, as it stands in the file, with the fire's own day filled in."""
        here = self.local(fire)
        written = ""
        for literal, name, form, _ in Formatter().parse(self.list):
            written += literal
            if name is not None:
                written += here.strftime(form) if form else here.date().isoformat()
        return written


def _befores(value: object) -> object:
    """`"24h"` or `["24h", "2h"]` → the longest first, each once."""
    several = value if isinstance(value, list | tuple) else [value]
    found = {duration(each) for each in several}
    if timedelta(0) in found:
        raise ValueError('expected a time before the appointment, such as "24h"')
    if not 1 <= len(found) <= 10:
        raise ValueError('expected one, such as "24h", or up to ten, such as ["24h", "2h"]')
    return tuple(sorted(found, reverse=True))


def _time_format(text: str) -> str:
    """Raises ValueError for a form from which no day and time can be read back."""
    day = datetime(2026, 11, 23, 14)  # noqa: DTZ001 (a wall clock's; no other order of its numbers is a day)
    if "%Z" in text:
        raise ValueError("%Z, a zone's name, cannot be read for certain; use %z, as in +0100, or time_zone")
    # Without a year strptime takes 1900, and warns; the locale's own forms differ from machine to machine.
    readable = re.search("%[Yy]", text) and not re.search("%[cxXEO]", text)
    form = text.replace("%z", "")
    try:
        known = readable and datetime.strptime(day.strftime(form), form)  # noqa: DTZ007 (likewise)
    except (ValueError, re.error):  # re.error: a directive that stands there twice
        known = None
    if known != day:
        raise ValueError('expected a form with the day, its year, and the time, each once: "%d.%m.%Y %H:%M"')
    return text


def _columns(text: str) -> str:
    """Raises ValueError for a template that is none, or that names no column."""
    if not columns_of(text):
        raise ValueError('names no column; write one such as "appointment_at", or "{Day} {Time}"')
    return text


class ReminderOptions(Table):
    """Each recipient is due so long before a time of their own."""

    at: Annotated[str, AfterValidator(_columns)] = Field(min_length=1)
    """The list's column with the appointment's time, or a template of several: `{Day} {Time}`."""
    before: Annotated[tuple[Duration, ...], BeforeValidator(_befores)]
    format: Annotated[str, AfterValidator(_time_format)] | None = None
    """How the column is written, as strptime has it: `%d.%m.%Y %H:%M`. Default: ISO 8601."""
    time_zone: Zone | None = None
    """By whose clock it is written, where no offset stands with it. Default: the recipient's."""

    @property
    def names(self) -> dict[timedelta, str | None]:
        """What tells the recipients of one appointment from each other; None where there is one."""
        return {each: _name(each) if len(self.before) > 1 else None for each in self.before}


def _name(before: timedelta) -> str:
    """`24h`, `90m`, `7d`: one name, however the file has it."""
    seconds = int(before.total_seconds())
    if seconds % 86_400 == 0 and seconds > 2 * 86_400:
        return f"{seconds // 86_400}d"
    for unit, length in (("h", 3600), ("m", 60)):
        if seconds % length == 0:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"


class SuppressionOptions(Table):
    """Which outcomes put a number on the suppression list by themselves."""

    outcomes: tuple[Literal[Outcome.INVALID_NUMBER, Outcome.FAX], ...] = ()
