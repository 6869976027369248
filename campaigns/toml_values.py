"""What the tables of a campaign's file have in common: how they are checked, and how times are written."""

import re
from datetime import timedelta
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, PlainSerializer, ValidationInfo

_DURATION = re.compile(r"([0-9]+)\s*(s|m|h|d)")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def duration(text: object) -> timedelta:
    """`30s`, `10m`, `2h` or `1d` → a timedelta. Raises ValueError for anything else."""
    if isinstance(text, timedelta):
        return text
    match = _DURATION.fullmatch(text.strip()) if isinstance(text, str) else None
    if match is None:
        raise ValueError("expected a duration such as 30s, 10m, 2h or 1d")
    # Nobody means more than a year, and the calendar ends before the largest numbers do.
    if len(match[1]) > 9 or int(match[1]) * _SECONDS[match[2]] > 366 * _SECONDS["d"]:
        raise ValueError("is longer than a year; expected a duration such as 30s, 10m, 2h or 1d")
    return timedelta(seconds=int(match[1]) * _SECONDS[match[2]])


def in_seconds(wait: timedelta) -> str:
    """A timedelta as it could stand in the file."""
    return f"{wait.total_seconds():.0f}s"


Duration = Annotated[
    timedelta,
    BeforeValidator(duration),
    # Kept in the ledger as it could stand in the file.
    PlainSerializer(in_seconds, when_used="json"),
]


FROM_FILE = {"from": "file"}
"""The pydantic context in which a file is checked.

What the ledger keeps has been checked when it was entered, and can be read for ever, whatever has become of
presets, holidays and time zones since: else one campaign's choices would stop all the others.
"""


def from_file(info: ValidationInfo) -> bool:
    """Whether it is a file that is being checked, and not what the ledger keeps."""
    return info.context == FROM_FILE


class Table(BaseModel):
    """One table of the file: an unknown key is an error, and what was read never changes."""

    model_config = ConfigDict(extra="forbid", frozen=True)
