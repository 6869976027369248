"""How far AWS's clock is ahead of this machine's, by the Date header of its answers."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

CLOCK_CODES = frozenset(
    {"RequestExpired", "RequestTimeTooSkewed", "InvalidSignature", "SignatureDoesNotMatch"}
)
"""Error codes, without "Exception", with which AWS refuses a request whose time is 5 minutes off."""

_NOTABLE = timedelta(minutes=1)
"""Less is no reason to be refused; the header has whole seconds, and the answer was on its way."""


def aws_ahead(response: Mapping[str, Any], now: datetime) -> timedelta | None:
    """How far AWS's clock is ahead of `now`; None where the answer does not tell.

    response: a botocore response, with the answer's headers in its ResponseMetadata.
    """
    date = response.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date")
    try:
        shown = parsedate_to_datetime(str(date))
        # Without a zone it is in UTC, as RFC 9110 wants it.
        return (shown if shown.tzinfo else shown.replace(tzinfo=UTC)) - now
    except (ValueError, TypeError, OverflowError):
        return None


def differs(ahead: timedelta | None) -> bool:
    """Whether the clocks are known to differ by so much that AWS may refuse a request for it."""
    return ahead is not None and abs(ahead) >= _NOTABLE


def clock_hint(ahead: timedelta | None, otherwise: str, credentials: str) -> str:
    """What to mend where AWS refuses a request's time or signature.

    ahead: how far AWS's clock is ahead, if that is known. otherwise: said where it is not known.
    credentials: said where the clocks agree.
    """
    if ahead is None:
        return otherwise
    if not differs(ahead):
        return credentials
    where = "behind" if ahead > timedelta(0) else "ahead of"
    return f"this machine's clock is {abs(ahead).total_seconds():,.0f} s {where} AWS's; set it by NTP"
