"""What else a campaign's file says of the right time: limits, schedule, reminders, and whom never to call."""

from datetime import datetime, timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field

from campaigns.attempt import Outcome
from campaigns.calling_hours_options import Zone
from campaigns.toml_values import Duration, Table, duration


class LimitsOptions(Table):
    """How often one number may be rung, whatever campaigns it is in."""

    per_number_per_day: int | None = Field(default=None, ge=1, le=1000, strict=True)
    """Within any 24 hours."""
    per_number_per_week: int | None = Field(default=None, ge=1, le=1000, strict=True)
    """Within any 168 hours."""


def _cron(text: str) -> str:
    from cronsim import CronSim, CronSimError

    try:
        next(CronSim(text, datetime(2026, 1, 1)))  # noqa: DTZ001 (asked only whether it ever fires)
    except (CronSimError, StopIteration):
        raise ValueError('expected a cron expression such as "0 9 * * MON-FRI"') from None
    if len(text.split()) != 5:
        raise ValueError('expected five fields, such as "0 9 * * MON-FRI"')
    return " ".join(text.split())


class ScheduleOptions(Table):
    """When the campaign begins a run by itself, and from which list."""

    cron: Annotated[str, AfterValidator(_cron)]
    time_zone: Zone
    list: str = Field(min_length=1)
    """The list, read at each fire time, from the campaign file's folder; `{date}` is the fire's day."""
    if_missed: Literal["skip", "run"] = "skip"
    """What becomes of a fire that could not happen within `grace` of its time."""
    grace: Duration = timedelta(minutes=30)


def _befores(value: object) -> object:
    """`"24h"` or `["24h", "2h"]` → the longest first, each once."""
    several = value if isinstance(value, list | tuple) else [value]
    return tuple(sorted({duration(each) for each in several}, reverse=True))


class ReminderOptions(Table):
    """Each recipient is due so long before a time of their own."""

    at: str = Field(min_length=1)
    """The list's column with the appointment's time."""
    before: Annotated[tuple[Duration, ...], BeforeValidator(_befores), Field(min_length=1, max_length=10)]
    format: str | None = Field(default=None, min_length=1)
    """How the column is written, as strptime has it: `%d.%m.%Y %H:%M`. Default: ISO 8601."""


class SuppressionOptions(Table):
    """Which outcomes put a number on the suppression list by themselves."""

    outcomes: tuple[Literal[Outcome.INVALID_NUMBER, Outcome.FAX], ...] = ()
