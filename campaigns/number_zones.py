"""A telephone number → every time zone in which its telephone may be.

A number tells a place by its area code at most, and a mobile one outside of North America only its country.
Where several zones come into question it is all of them: it must be the right time in each.
"""

import tomllib
from collections import defaultdict
from collections.abc import Iterable
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any

import phonenumbers
from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneNumberType, is_number_type_geographical
from phonenumbers.tzdata import TIMEZONE_DATA, TIMEZONE_LONGEST_PREFIX

from campaigns.number_patterns import Line
from campaigns.numbering_plan import line
from campaigns.zone_data import one_per_clock, zones_of_country

# A subscriber's own line. Others lead anywhere: free, shared-cost and premium numbers, personal ones,
# switchboards of whole companies, satellites. They name no zone.
_OWN_LINES = (
    PhoneNumberType.FIXED_LINE,
    PhoneNumberType.MOBILE,
    PhoneNumberType.FIXED_LINE_OR_MOBILE,
    PhoneNumberType.VOIP,
    PhoneNumberType.PAGER,
)
_UNKNOWN = "Etc/Unknown"


def number_zones(phone: str) -> frozenset[str]:
    """`+14155550100` → {`America/Los_Angeles`}; nothing for a number that says nothing of its place.

    E.164 in, IANA names out. Of zones that show the same time one is named.
    """
    if phone.startswith("+1"):
        return _area_code_zones(phone[1:5])
    digits = phone[1:]
    found = line(digits) or _line_by_phonenumbers(phone)
    return _zones(found, digits[: _telling().get(found.country_code, 0)])


def _line_by_phonenumbers(phone: str) -> Line:
    number = phonenumbers.parse(phone)
    region = phonenumbers.region_code_for_number(number) or ""
    return Line(number.country_code or 0, region, phonenumbers.number_type(number))


@lru_cache(maxsize=16_384)
def _zones(found: Line, digits: str) -> frozenset[str]:
    """Of all numbers of a kind that begin with these digits, country code and all."""
    code, region, kind = found
    if kind not in _OWN_LINES:
        return frozenset()
    by_place = kind == PhoneNumberType.FIXED_LINE and region in _fixed_lines_by_place()
    anywhere = region == COUNTRY_CODE_TO_REGION_CODE[code][0] and not is_number_type_geographical(kind, code)
    # The country code's own entry has the islands, too, whose mobile telephones have numbers of the mainland.
    named = _named(str(code) if anywhere else digits)
    split = _split(digits)
    return _distinct(frozenset((*named, *split)), region, nationwide=not by_place and not split)


@cache
def _area_code_zones(prefix: str) -> frozenset[str]:
    """All zones of a North American area code, `1415`.

    The table knows the zones of single exchanges, too; but people take their numbers along, and new exchanges
    are not in it for years.
    """
    return _distinct(frozenset((*_by_area_code()[prefix], *_split(prefix))), "", nationwide=False)


@cache
def _distinct(named: frozenset[str], region: str, *, nationwide: bool) -> frozenset[str]:
    """One for each clock: one that the country's table has, if there is one, and whose name is in use."""
    own = zones_of_country(region)
    zones = (named | set(own) if nationwide else named) - {_UNKNOWN}
    return one_per_clock(
        sorted(zones, key=lambda zone: (bool(own) and zone not in own, zone not in _names(), zone))
    )


@cache
def _names() -> frozenset[str]:
    """Sydney, and not Macquarie, which shows the same time."""
    return frozenset(zone for zones in TIMEZONE_DATA.values() for zone in zones) - {"America/Boise"}


def _named(digits: str) -> Iterable[str]:
    """What the table says of the longest prefix that it has."""
    for length in range(TIMEZONE_LONGEST_PREFIX, 0, -1):
        if found := TIMEZONE_DATA.get(digits[:length]):
            return found
    return ()


@cache
def _by_area_code() -> dict[str, set[str]]:
    found: defaultdict[str, set[str]] = defaultdict(set)
    for prefix, zones in TIMEZONE_DATA.items():
        if prefix.startswith("1") and len(prefix) >= 4:
            found[prefix[:4]].update(zones)
    return found


def _split(digits: str) -> Iterable[str]:
    """The zones that split_area_codes.toml adds."""
    splits = _splits()
    return {zone for length in range(1, 7) for zone in splits.get(digits[:length], ())}


@cache
def _splits() -> dict[str, list[str]]:
    return {prefix: each["zones"] for each in _data()["split"] for prefix in each["prefixes"]}


@cache
def _telling() -> dict[int, int]:
    """How many digits of a number may tell its place, for each country code; its own digits count."""
    found: dict[int, int] = {}
    for prefix in (*TIMEZONE_DATA, *_splits()):
        for code in (int(prefix[:length]) for length in range(1, 4)):
            if code in COUNTRY_CODE_TO_REGION_CODE:
                found[code] = max(found.get(code, 0), len(prefix))
    return found


@cache
def _fixed_lines_by_place() -> frozenset[str]:
    return frozenset(_data()["fixed_lines_by_place"])


@cache
def _data() -> dict[str, Any]:
    return tomllib.loads(files("campaigns").joinpath("split_area_codes.toml").read_text(encoding="utf-8"))
