"""One number of a file of numbers that are not to be called."""

from dataclasses import dataclass
from datetime import UTC, datetime

NATIONAL = "national"
"""The source of a number that only a national do-not-call file has put on the list, and may take off."""


@dataclass(frozen=True, slots=True)
class ListedNumber:
    """One number of the file."""

    phone: str
    """E.164."""
    reason: str
    """As the file says it, or ""."""
    at: datetime | None
    """The file's date, if it has one that can be told for sure."""
    note: str = ""
    """The date as it stands, where it cannot; it goes behind the reason."""
    source: str | None = None
    """NATIONAL, or None."""
    delete: bool = False
    """Whether the file takes the number off the list. Only national files do."""


def dated(phone: str, reason: str, written: str) -> ListedNumber:
    """A number with its date as the file has it, which may be empty."""
    if not written:
        return ListedNumber(phone, reason, None)
    at = instant(written)
    # Whatever the date may mean, the number is not to be called.
    note = f" (dated {written[:40]})" if at is None else ""
    return ListedNumber(phone, reason, at, note)


def instant(written: str) -> datetime | None:
    """A date in ISO 8601, with or without a time (UTC unless it says another); None for any other."""
    try:
        at = datetime.fromisoformat(written)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
