"""phonenumbers' own patterns of valid numbers, put together for a country code and a number of digits.

Each is compiled when it is used for the first time. For how people dial, see numbering_plan.py.
"""

import re
from functools import lru_cache
from typing import Any, NamedTuple

from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneMetadata, PhoneNumberType

NONE = "(?!)"  # matches nothing
_GROUP = re.compile(r"\((?!\?)")
LONGEST_LEADING = 4
"""Digits of a North American number by which its region is known, at most."""


class Line(NamedTuple):
    """What a valid number is."""

    country_code: int
    region: str
    """Two letters, or 001 for a number that belongs to no country."""
    kind: int
    """One of phonenumbers' PhoneNumberType."""


class _Country(NamedTuple):
    """What has one country code: a country, or some that share it."""

    code: str
    regions: tuple[tuple[str, re.Pattern[str] | None], ...]
    """In the order in which region_code_for_number asks, with the digits that a region has for itself."""


class _Kinds(NamedTuple):
    """All numbers of a region with so many digits, as patterns that are not compiled yet."""

    certain: str
    """Those for which `line` has an answer: the last group that is set says which kind of line."""
    lines: tuple[Line, ...]
    whole: str
    """All of them, also where phonenumbers would drop a prefix; "" if there are none."""


@lru_cache(maxsize=16_384)
def whole_numbers(first_digits: str, length: int) -> re.Pattern[str] | None:
    """All valid numbers (E.164 without +) of so many digits that begin with these, and perhaps others.

    `first_digits`: the country code, or four digits, of which all count.
    """
    country = country_of(first_digits[:3])
    if country is None:
        return None
    code, length = country.code, length - len(country.code)
    regions = regions_of(code, first_digits[len(code) :])
    kinds = [(leading, kinds_of(code, region, length).whole) for region, leading in regions]
    text = _first_region_decides(kinds)
    return _compiled(f"{code}{text}") if text else None


def certain_numbers(code: str, first_digits: str, length: int) -> re.Pattern[str]:
    """The same without the country code, and only if `line` has an answer."""
    kinds = [(leading, kinds_of(code, region, length)) for region, leading in regions_of(code, first_digits)]
    text = _first_region_decides([(leading, kind.whole and kind.certain) for leading, kind in kinds])
    return _compiled(text or NONE)


@lru_cache(maxsize=4096)
def _compiled(text: str) -> re.Pattern[str]:
    return re.compile(text)


@lru_cache(maxsize=4096)
def regions_of(code: str, first_digits: str) -> tuple[tuple[str, re.Pattern[str] | None], ...]:
    """The regions with a country code, where numbers may begin with these digits."""
    country = country_of(code)
    regions = country.regions if country else ()
    if code != "1" or len(first_digits) < 2:
        return regions
    # North America has 25 regions, and compiling the numbers of all of them takes 0.1 s.
    missing = max(0, LONGEST_LEADING - len(first_digits))
    all_begin = [first_digits, *(f"{first_digits}{rest:0{missing}}" for rest in range(10**missing))]
    return tuple(
        (region, leading)
        for region, leading in regions
        if leading is None or any(map(leading.match, all_begin))
    )


def _first_region_decides(kinds: list[tuple[re.Pattern[str] | None, str]]) -> str:
    """One pattern of (leading digits, numbers) of regions that share a country code.

    Digits that a region has for itself are that region's, valid or not; the others are any region's. Empty
    if no region has a number.
    """
    before = ""
    found = []
    for leading, numbers in kinds:
        begins = f"(?={leading.pattern})" if leading else ""
        if numbers:
            found.append(f"{before}{begins}(?:{numbers})")
        if leading:
            before += f"(?!{leading.pattern})"
    return f"(?:{'|'.join(found)})" if found else ""


@lru_cache(maxsize=2048)
def country_of(first_digits: str) -> _Country | None:
    codes = [first_digits[:length] for length in range(1, len(first_digits) + 1)]
    code = next((each for each in codes if int(each) in COUNTRY_CODE_TO_REGION_CODE), "0")
    if code.startswith("0"):
        return None
    regions = COUNTRY_CODE_TO_REGION_CODE[int(code)]
    begin = [metadata_of(code, region).leading_digits if len(regions) > 1 else None for region in regions]
    return _Country(code, tuple(zip(regions, map(_pattern, begin), strict=True)))


@lru_cache(maxsize=2048)
def certain_kinds(code: str, region: str, length: int) -> tuple[re.Pattern[str], tuple[Line, ...]]:
    kinds = kinds_of(code, region, length)
    return re.compile(kinds.certain), kinds.lines


@lru_cache(maxsize=2048)
def kinds_of(code: str, region: str, length: int) -> _Kinds:
    plan = metadata_of(code, region)
    fixed, mobile = _of_length(plan.fixed_line, length), _of_length(plan.mobile, length)
    # In the order in which number_type asks; the first that fits counts.
    asked = [
        (_of_length(plan.premium_rate, length), PhoneNumberType.PREMIUM_RATE),
        (_of_length(plan.toll_free, length), PhoneNumberType.TOLL_FREE),
        (_of_length(plan.shared_cost, length), PhoneNumberType.SHARED_COST),
        (_of_length(plan.voip, length), PhoneNumberType.VOIP),
        (_of_length(plan.personal_number, length), PhoneNumberType.PERSONAL_NUMBER),
        (_of_length(plan.pager, length), PhoneNumberType.PAGER),
        (_of_length(plan.uan, length), PhoneNumberType.UAN),
        (_of_length(plan.voicemail, length), PhoneNumberType.VOICEMAIL),
    ]
    if plan.same_mobile_and_fixed_line_pattern:
        asked += [(fixed, PhoneNumberType.FIXED_LINE_OR_MOBILE)]
    else:
        asked += [
            (rf"(?={fixed}\Z){mobile}", PhoneNumberType.FIXED_LINE_OR_MOBILE),
            (fixed, PhoneNumberType.FIXED_LINE),
            (mobile, PhoneNumberType.MOBILE),
        ]
    asked = [(pattern, kind) for pattern, kind in asked if NONE not in pattern]
    either = "|".join(rf"{pattern}\Z()" for pattern, _ in asked) or NONE
    # What is a prefix is said by the first region that has the country code.
    prefix = prefix_pattern(metadata_of(code, COUNTRY_CODE_TO_REGION_CODE[int(code)][0]))
    whole = _of_length(plan.general_desc, length)
    return _Kinds(
        rf"(?!{_GROUP.sub('(?:', prefix)})(?={whole}\Z)(?:{either})",
        tuple(Line(int(code), region, kind) for _, kind in asked),
        rf"(?={whole}\Z)(?:{either})" if asked else "",
    )


def metadata_of(code: str, region: str) -> Any:
    return PhoneMetadata.metadata_for_region_or_calling_code(int(code), region)


def _of_length(description: Any, length: int) -> str:
    """The pattern of what has so many digits."""
    if description is None or not description.national_number_pattern:
        return NONE
    lengths = description.possible_length
    return NONE if lengths and length not in lengths else f"(?:{description.national_number_pattern})"


def prefix_pattern(plan: Any) -> str:
    # Argentina's pattern finds nothing in any number, too, which is no prefix.
    return rf"(?:{plan.national_prefix_for_parsing or NONE})(?!\A)"


def _pattern(text: str | None) -> re.Pattern[str] | None:
    return re.compile(text) if text else None
