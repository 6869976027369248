"""A time zone as people write it → its IANA name."""

import zoneinfo
from functools import cache, lru_cache

from campaigns.nearest import nearest


def iana_zone(text: str) -> str:
    """`europe/berlin ` → `Europe/Berlin`.

    Raises ValueError, whose text completes a sentence that begins with the cell and names a near zone.
    """
    zone = _zones().get(text.strip().casefold())
    if zone is None:
        raise ValueError(f"is not a time zone; write an IANA name such as {_nearest(text.strip())}")
    return zone


@cache
def _zones() -> dict[str, str]:
    # These two are files in the database's directory, not places.
    return {z.casefold(): z for z in zoneinfo.available_timezones() if z not in ("localtime", "Factory")}


@lru_cache(maxsize=1024)  # a column of wrong zones repeats itself, and the search takes milliseconds
def _nearest(text: str) -> str:
    near = nearest(text.casefold(), _zones(), cutoff=0.7)
    return _zones()[near] if near else "Europe/Berlin"
