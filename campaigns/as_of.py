"""What `--as-of` says: the time at which the clock of a rehearsal begins."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from campaigns.mistake import Mistake
from campaigns.time_zone_name import iana_zone

_EARLIEST, _LATEST = 2000, 2100
"""Years. Zones and holidays are known for these, and a time outside is a slip of the pen."""


def as_of(text: str) -> datetime:
    """`2026-12-03 09:00`, with or without an offset or an IANA zone after it → the instant, in UTC.

    Without either it is this machine's local time. Raises Mistake for what is no such time, and for a time
    that the clock leaves out when it is put forward.
    """
    written, zone = text.strip(), None
    if (wall := _read(written)) is None:
        written, _, name = written.rpartition(" ")
        wall = _read(written.strip()) if name[:1].isalpha() else None
        if wall is not None and wall.tzinfo is None:
            try:
                zone = ZoneInfo(iana_zone(name))
            except ValueError as error:
                raise Mistake(f"--as-of {text!r}: {name!r} {error}") from None
    if wall is None or (zone and wall.tzinfo) or not _EARLIEST <= wall.year < _LATEST:
        raise Mistake(
            f'--as-of {text!r}: is no time; expected one such as "2026-12-03 09:00", by this machine\'s '
            'clock, or "2026-12-03 09:00 America/New_York"'
        )
    if wall.tzinfo is not None:
        return wall.astimezone(UTC)
    # A naive one is local time to `astimezone`.
    instant = (wall.replace(tzinfo=zone) if zone else wall).astimezone(UTC)
    if instant.astimezone(zone).replace(tzinfo=None) != wall:
        raise Mistake(f"--as-of {text!r}: the clock is put forward then and never shows it; say another time")
    return instant


def _read(written: str) -> datetime | None:
    try:
        return datetime.fromisoformat(written)
    except ValueError:
        return None
