"""The newest data on time zones that there is, and which zones a country has.

Python takes the machine's own data, however old. Data of 2025 do not know that Manitoba, Alberta and British
Columbia ceased to put their clocks back in 2026, and would let people there be rung until an hour too late.
So whichever is newer counts, the machine's or the `tzdata` package's, from when this file is imported.
"""

import re
import zoneinfo
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache, lru_cache
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_YEARS = range(2026, 2036)  # no law looks further ahead
_STEP = timedelta(days=5)  # since 1970 no zone has changed its offset twice within less than six days


def zones_of_country(region: str) -> tuple[str, ...]:
    """The zones of a country by its two letters; none for one unknown."""
    return tuple(zone for place, zone in _zone_table() if place == region)


@cache
def zones_of_places() -> tuple[str, ...]:
    """The zones of all countries by the names that they have today, without older ones (Asia/Calcutta)."""
    return tuple(sorted({zone for _, zone in _zone_table() if is_known(zone)}))


def one_per_clock(zones: Sequence[str]) -> frozenset[str]:
    """Of zones whose clocks show the same for years to come, the first: Argentina has twelve and one time."""
    if len(zones) < 2:
        return frozenset(zones)
    found: dict[object, str] = {}
    for zone in zones:
        # Of one that this machine does not know nobody can say that it is like another.
        found.setdefault(_clock(zone) if is_known(zone) else zone, zone)
    return frozenset(found.values())


@lru_cache(maxsize=4096)
def is_known(zone: str) -> bool:
    """Whether this machine's data have a zone. A list may have been loaded by one whose data are newer."""
    try:
        _zone(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # OSError: the name of one of its folders
        return False
    return True


def offset_from_utc(zone: str, at: datetime) -> timedelta:
    """How far a zone's clock is from UTC at an instant; east of Greenwich it is ahead.

    The zone must be known.
    """
    offset = at.astimezone(_zone(zone)).utcoffset()
    assert offset is not None
    return offset


@lru_cache(maxsize=4096)
def changes(zone: str, year: int) -> tuple[datetime, ...]:
    """When, within a year in UTC, a zone's clock changes its distance from UTC: whole seconds, in order."""
    found = []
    at, end = datetime(year, 1, 1, tzinfo=UTC), datetime(year + 1, 1, 1, tzinfo=UTC)
    offset = offset_from_utc(zone, at)
    while at < end:
        later = min(at + _STEP, end)
        if (then := offset_from_utc(zone, later)) != offset:
            found.append(_change(zone, at, later))
        at, offset = later, then
    return tuple(found)


def _change(zone: str, before: datetime, after: datetime) -> datetime:
    """The first second at which the offset is no longer the earlier one."""
    was = offset_from_utc(zone, before)
    low, high = int(before.timestamp()), int(after.timestamp())
    while high - low > 1:
        middle = (low + high) // 2
        if offset_from_utc(zone, datetime.fromtimestamp(middle, UTC)) == was:
            low = middle
        else:
            high = middle
    return datetime.fromtimestamp(high, UTC)


@lru_cache(maxsize=1024)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


@cache
def _clock(zone: str) -> tuple[tuple[datetime, timedelta], ...]:
    """What a clock shows for some years: from when on it is how far from UTC."""
    first = datetime(_YEARS[0], 1, 1, tzinfo=UTC)
    instants = (first, *(change for year in _YEARS for change in changes(zone, year)))
    return tuple((instant, offset_from_utc(zone, instant)) for instant in instants)


@cache
def _zone_table() -> list[tuple[str, str]]:
    """(country, zone), as the database's own table has them."""
    tables = (Path(folder) / "zone.tab" for folder in zoneinfo.TZPATH)
    table = next((each for each in tables if each.is_file()), None) or files("tzdata.zoneinfo") / "zone.tab"
    rows = [line.split("\t") for line in table.read_text("utf-8").splitlines() if not line.startswith("#")]
    return [(row[0], row[2]) for row in rows]


def newer_than_machine(package: str, folders: Iterable[Path]) -> bool:
    """Whether a release of the database, such as `2026f`, is newer than what a machine's folders hold.

    A folder that does not say its release counts as old: what we do not know, we do not trust.
    """
    for folder in folders:
        if (folder / "Europe" / "London").is_file():
            return package > _release(folder)
    return True


def _release(folder: Path) -> str:
    """`2025b`; "" if nobody knows."""
    for name in ("tzdata.zi", "+VERSION"):
        if (folder / name).is_file():
            with (folder / name).open(encoding="utf-8") as file:
                if found := re.search(r"\b(20[0-9]{2}[a-z]{1,2})\b", file.readline()):
                    return found[1]
    return ""


def _choose() -> None:
    try:
        package = str(import_module("tzdata").IANA_VERSION)
    except ModuleNotFoundError:
        return
    if newer_than_machine(package, [Path(folder) for folder in zoneinfo.TZPATH]):
        zoneinfo.reset_tzpath(())


_choose()
