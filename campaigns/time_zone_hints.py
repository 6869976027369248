"""What a text that is no place's time zone may have been meant to be, for the hint in a message.

It goes by names: those of Windows and of CLDR, the cities of the IANA database, and the abbreviations that
its clocks show. Spelling counts only within a continent that is named. An operator copies the hint into a
thousand rows, so no hint is better than one on another continent.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

from campaigns.nearest import nearest
from campaigns.time_zone_name import is_place
from campaigns.zone_data import zones_of_country, zones_of_places

_MOST = 3
"""Places that are named."""

_SEASONS = (datetime(2026, 1, 15, tzinfo=UTC), datetime(2026, 7, 15, tzinfo=UTC))

# English wherever it has abbreviations of its own, then the languages of most lists.
# fmt: off
_LOCALES = [
    "en", "en_GB", "en_150", "en_AU", "en_CA", "en_HK", "en_IE", "en_IN", "en_KE", "en_MY", "en_NG", "en_NZ",
    "en_SG", "en_ZA", "de", "es", "es_MX", "fr", "fr_CA", "it", "nl", "pl", "pt", "pt_PT", "sv", "da", "nb",
    "fi", "cs",
]

# Of several places whose clocks have one name these are named first.
_BEST_KNOWN = [
    "America/New_York", "America/Chicago", "America/Denver", "America/Los_Angeles", "America/Phoenix",
    "America/Halifax", "America/Panama", "America/Mexico_City", "America/Sao_Paulo", "Pacific/Honolulu",
    "America/Argentina/Buenos_Aires", "Europe/London", "Europe/Lisbon", "Europe/Berlin", "Europe/Athens",
    "Europe/Moscow", "Asia/Kolkata", "Asia/Shanghai", "Asia/Riyadh", "Australia/Sydney", "Africa/Lagos",
    "Africa/Accra", "Australia/Brisbane", "Australia/Adelaide",
]
# fmt: on

# Words for a clock → the abbreviation that the IANA database has for it.
_SAME_AS = {
    "mez": "CET",
    "mesz": "CEST",
    "met": "CET",
    "mest": "CEST",
    "greenwich": "GMT",
    "greenwichmeantime": "GMT",
}

# Common abbreviations that the database has given up for offsets, and states that have a clock of their own.
_NO_LONGER_SHOWN = {
    "amt": "America/Manaus",
    "arizona": "America/Phoenix",
    "art": "America/Argentina/Buenos_Aires",
    "brt": "America/Sao_Paulo",
    "clt": "America/Santiago",
    "cot": "America/Bogota",
    "gst": "Asia/Dubai",
    "hawaii": "Pacific/Honolulu",
    "ict": "Asia/Bangkok",
    "myt": "Asia/Kuala_Lumpur",
    "npt": "Asia/Kathmandu",
    "pet": "America/Lima",
    "pht": "Asia/Manila",
    "sgt": "Asia/Singapore",
    "trt": "Europe/Istanbul",
    "vet": "America/Caracas",
}

# What Americans leave "Time" away from. Not "Georgia": that is a state, whose time is not the Caucasus'.
_WITHOUT_TIME = {"eastern", "central", "mountain", "pacific", "atlantic", "alaska"}

_OFFSET = re.compile(r"(?:(?:etc/)?(?:utc|gmt)\s*)?[+\-−–]\s*\d{1,2}(?:[:.]?\d\d)?\s*h?", re.IGNORECASE)
_POSIX = re.compile(r"([a-z]{3,5}) ?[+-]?\d{1,2}(?:[a-z]{3,5})?", re.IGNORECASE)
_IN_PARENTHESES = re.compile(r"\([^()]*\)")
_LONGEST = 100
_LIKE_ENOUGH = 0.8  # of a city's letters


def is_offset(text: str) -> bool:
    """Whether a text says how far a clock is from UTC, and nothing else: `GMT-5`, `+01:00`, `Etc/GMT+5`."""
    return _OFFSET.fullmatch(text) is not None


def places_meant(text: str) -> tuple[str, ...]:
    """IANA names of places by whose clock a text may go, the best known first; three at most, or none."""
    if len(text) > _LONGEST or not _plain(text):
        return ()
    # Windows and Rails show more in parentheses: (UTC-05:00) Eastern Time (US & Canada).
    bare = _IN_PARENTHESES.sub(" ", text)
    found = _abbreviated(text) or _named(text)
    if not found and _plain(text) in _names():
        return ()  # the name of a clock that no place goes by now
    found = found or _abbreviated(bare) or _named(bare)
    found = found or [city for part in re.split("[,;]", bare) if (city := _cities().get(_plain(part)))]
    return tuple(dict.fromkeys(found))[:_MOST] or _misspelt(text)


def _plain(text: str) -> str:
    """Letters and digits alone, without marks: `America/New_York` → `americanewyork`, `Zürich` → `zurich`."""
    return "".join(c for c in unicodedata.normalize("NFKD", text.casefold()) if c.isalnum())


def _named(text: str) -> list[str]:
    plain = _plain(text)
    return _names().get(f"{plain}time" if plain in _WITHOUT_TIME else plain, [])


def _abbreviated(text: str) -> list[str]:
    posix = _POSIX.fullmatch(text.strip())
    short = _plain(posix[1] if posix else text)
    if short in _NO_LONGER_SHOWN:
        return [_NO_LONGER_SHOWN[short]]
    return _abbreviations().get(_plain(_SAME_AS.get(short, short)), [])


def _misspelt(text: str) -> tuple[str, ...]:
    """`America/New_Yrok`: the continent is right, and so is most of the city."""
    area, slash, city = text.partition("/")
    cities = {_plain(zone.partition("/")[2]): zone for zone in zones_of_places() if _in(area, zone)}
    near = nearest(_plain(city), cities, cutoff=_LIKE_ENOUGH) if slash else None
    return (cities[near],) if near else ()


def _in(area: str, zone: str) -> bool:
    return zone.partition("/")[0].casefold() == area.strip().casefold()


@cache
def _cities() -> dict[str, str]:
    """The city of each zone, as the database spells it, and all of the zone's name."""
    found: dict[str, str] = {}
    for zone in zones_of_places():
        found.setdefault(_plain(zone.rpartition("/")[2]), zone)
        found[_plain(zone)] = zone
    return found


@cache
def _names() -> dict[str, list[str]]:
    """Names → places: those of clocks in Windows and in CLDR's languages, and those of countries."""
    from babel.core import Locale, get_global

    places = {zone: where for where, zone in enumerate(zones_of_places())}
    alike: dict[str, list[str]] = defaultdict(list)
    for zone, clock in get_global("meta_zones").items():
        if zone in places:
            alike[clock].append(zone)
    found: dict[str, list[str]] = {}
    today = get_global("zone_aliases")  # Asia/Katmandu → Asia/Kathmandu
    windows = {
        name: [today.get(zone, zone)]
        for name, zone in get_global("windows_zone_mapping").items()
        if is_place(zone)
    }
    found |= {_plain(name): zones for name, zones in windows.items()}
    for region, country in Locale.parse("en").territories.items():
        if region == "GE":
            continue  # in a list it is the American state as a rule
        if zones := [zone for zone in zones_of_country(region) if zone in places]:
            found.setdefault(_plain(country), _best(zones))
    for locale in map(Locale.parse, _LOCALES):
        for clock, names in locale.meta_zones.items():
            for name in (*names.get("long", {}).values(), *names.get("short", {}).values()):
                found.setdefault(_plain(name), _best(alike[clock]))
    for name, zones in windows.items():
        for season in ("Daylight", "Summer"):
            found.setdefault(_plain(name.replace("Standard", season)), zones)
    return found


@cache
def _abbreviations() -> dict[str, list[str]]:
    """What clocks call themselves in the IANA database → where they do."""
    found: dict[str, set[str]] = defaultdict(set)
    for zone in zones_of_places():
        for season in _SEASONS:
            shown = season.astimezone(ZoneInfo(zone)).tzname() or ""
            if shown.isalpha():
                found[_plain(shown)].add(zone)
    return {name: _best(zones) for name, zones in found.items()}


def _best(zones: Iterable[str]) -> list[str]:
    """One zone for each clock among these, those that are known best first."""
    ranked = list(dict.fromkeys([*_BEST_KNOWN, *_windows_places()]))
    # Stations in Antarctica go by the clock of the country that supplies them, and are named last.
    rank = {zone: number for number, zone in enumerate(ranked)}
    first: dict[tuple[timedelta | None, ...], str] = {}
    for zone in sorted(zones, key=lambda each: (_in("Antarctica", each), rank.get(each, len(rank)), each)):
        first.setdefault(tuple(at.astimezone(ZoneInfo(zone)).utcoffset() for at in _SEASONS), zone)
    return list(first.values())


@cache
def _windows_places() -> list[str]:
    from babel.core import get_global

    return sorted(get_global("windows_zone_mapping").values())
