"""A time zone as people write it → its IANA name.

Only the zone of a place says when its people sleep. `EST` is a clock without summer time to the IANA
database, and an hour late from March to November for those who write it; `Etc/GMT+5` lies west of Greenwich.
Such names are refused with the places that they may stand for.
"""

import zoneinfo
from functools import cache, lru_cache

UTC_NAMES = {"utc": "UTC", "etc/utc": "Etc/UTC"}
"""The one clock that is no place's and that those who write it cannot mean otherwise."""

# fmt: off
_COUNTRIES = {
    "Cuba", "Egypt", "Eire", "GB", "GB-Eire", "Hongkong", "Iceland", "Iran", "Israel", "Jamaica", "Japan",
    "Kwajalein", "Libya", "NZ", "NZ-CHAT", "Navajo", "PRC", "Poland", "Portugal", "ROC", "ROK", "Singapore",
    "Turkey", "W-SU",
}
# fmt: on
"""Names without a slash that are places all the same. IANA adds none to them (its file `backward`)."""


def iana_zone(text: str, *, utc: bool = False) -> str:
    """`europe/berlin ` → `Europe/Berlin`: the zone of a place.

    utc: take UTC, too. An operator may choose it for a schedule, for the hours of a campaign or for how a
        column of times is written; no recipient lives by it.

    Raises ValueError, whose text completes a sentence that begins with the cell, and names the places that it
    may stand for.
    """
    written = text.strip().casefold()
    zone = _places().get(written) or (UTC_NAMES.get(written) if utc else None)
    if zone is None:
        raise ValueError(_refusal(text.strip(), utc=utc))
    return zone


def is_place(zone: str) -> bool:
    """Whether an IANA name is the zone of a place, and not only a clock's."""
    area, slash, _ = zone.partition("/")
    return area not in ("Etc", "SystemV", "posix", "right") if slash else zone in _COUNTRIES


@cache
def _places() -> dict[str, str]:
    return {zone.casefold(): zone for zone in zoneinfo.available_timezones() if is_place(zone)}


@lru_cache(maxsize=1024)  # a column of wrong zones repeats itself, and the hints take milliseconds
def _refusal(text: str, *, utc: bool) -> str:
    # Needed for mistakes only, and its tables of names take long to read.
    from campaigns.time_zone_hints import is_offset, places_meant

    also = ", or UTC" if utc else ""
    if is_offset(text):
        return (
            "is a distance from UTC, which says nothing of summer time; "
            f"write the IANA name of the place, as Area/City{also}"
        )
    if text.casefold().removeprefix("etc/") in ("utc", "uct", "universal", "zulu", "z"):
        return f"is no place's time zone; write the IANA name of the place, as Area/City{also}"
    hints = places_meant(text)
    if not hints:
        return f"is not a time zone; write the IANA name of the place, as Area/City{also}"
    known = {zone.casefold() for zone in zoneinfo.available_timezones()}
    what = "is not a time zone"
    if text.casefold() in known:
        what = "names a clock and no place, and only a place says when there is summer time"
    return f"{what}; write an IANA name such as {', or '.join(hints)}"
