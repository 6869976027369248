"""A person we may call."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
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
    row: dict[str, str]
    """The row as it stood in the list: column name as in the header → cell."""


def masked(phone: str) -> str:
    """`+14155550100` → `+1415•••0100`: enough to recognise a number that one knows, not enough to call it."""
    if len(phone) <= 8:
        return "•••" + phone[-2:]
    # Nine characters of a shorter number would leave next to nothing hidden.
    head, tail = (5, 4) if len(phone) >= 12 else (3, 2)
    return f"{phone[:head]}•••{phone[-tail:]}"
