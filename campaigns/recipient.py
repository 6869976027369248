"""A person we may call."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(slots=True)  # frozen ones take six times as long to make, and a list has a million
class Recipient:
    """One accepted row of a list."""

    line: int
    """The line of the file on which the row begins, counted from 1 (the header is usually line 1)."""
    key: str
    """What makes a recipient the same one within a campaign; by default the number."""
    phone: str
    """E.164."""
    attributes: dict[str, str]
    time_zone: str | None
    """As the list says it: an IANA name."""
    row: dict[str, str]
    """The row as it stood in the list: column name as in the header → cell."""
    zones: str | None = None
    """All zones where they may be, by the list and by the number: IANA names, spaces between, in order."""
    appointment_at: datetime | None = None
    reminder: str | None = None
    """Which one of the campaign's several reminders this is for, such as `24h`."""
    due_at: datetime | None = None
    """When they are to be called; None: at once."""
    expires_at: datetime | None = None
    """From when on they are not called any more."""


def masked(phone: str) -> str:
    """`+14155550100` → `+1415•••0100`: enough to recognise a number that one knows, not enough to call it."""
    if len(phone) <= 8:
        return "•••" + phone[-2:]
    # Nine characters of a shorter number would leave next to nothing hidden.
    head, tail = (5, 4) if len(phone) >= 12 else (3, 2)
    return f"{phone[:head]}•••{phone[-tail:]}"
