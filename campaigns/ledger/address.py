"""The ledger's URL, checked before anything is opened."""

from collections.abc import Iterator

from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError

from campaigns.mistake import Mistake

_HIGHEST_PORT = 65_535


def checked_url(url: str) -> URL:
    """The URL of a ledger, with the driver that this program uses.

    Raises Mistake for one that cannot be a ledger's, in one line that does not repeat it.
    """
    # The URL may hold a password, so no message repeats it.
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # a ValueError is a port that is no number
        raise Mistake(
            "DIALER_DATABASE_URL: is not a database URL; "
            "expected sqlite:///path/to/ledger.sqlite or postgresql://user:password@host/name"
        ) from None
    if "@" in (parsed.host or ""):
        # What is taken for the host is then the end of the password, and stands in the driver's errors.
        raise Mistake("DIALER_DATABASE_URL: has more than one @; write the one in the password as %40")
    if parsed.get_backend_name() in ("postgresql", "postgres"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    if not all(_is_port(each) for each in _ports(parsed)):
        raise Mistake("DIALER_DATABASE_URL: has a port that is none; ports are from 1 to 65535")
    if parsed.get_backend_name() not in ("sqlite", "postgresql"):
        raise Mistake(
            f"DIALER_DATABASE_URL: {parsed.get_backend_name()} is not supported; use sqlite or postgresql"
        )
    return parsed


def _ports(url: URL) -> Iterator[str]:
    """Every port of a URL: its own, and those of several hosts (`?host=a:5432&host=b`, `?port=5432,5433`)."""
    if url.port is not None:
        yield str(url.port)
    for each in url.normalized_query.get("port", ()):
        yield from each.split(",")
    for each in url.normalized_query.get("host", ()):
        for host in each.split(","):
            # An address in brackets has colons of its own, a folder of sockets has a slash.
            if "/" not in host and host.rpartition("]")[2].count(":") == 1:
                yield host.rpartition(":")[2]


def _is_port(words: str) -> bool:
    """Whether it is a port; an empty one is the usual one."""
    return words == "" or (words.isascii() and words.isdigit() and 0 < int(words[:6]) <= _HIGHEST_PORT)
