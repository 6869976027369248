"""Are these digits a telephone number as they stand? By phonenumbers' own patterns, each compiled once.

phonenumbers takes a number for text that may be anything, and looks at all of it again for each question.
What is certain is said here at once; of anything else nothing is said, and number_readings.py is asked.
"""

import re
from functools import lru_cache
from typing import Any, NamedTuple

from phonenumbers import SUPPORTED_REGIONS, PhoneMetadata

from campaigns.first_digits import first_digits as begins_with
from campaigns.number_groups import country_code, usual_groups
from campaigns.number_patterns import (
    NONE,
    Line,
    certain_kinds,
    certain_numbers,
    country_of,
    metadata_of,
    prefix_pattern,
    regions_of,
    whole_numbers,
)
from campaigns.written_number import BARE, Marks


@lru_cache(maxsize=256)  # who asks whether it is valid asks next where it is
def line(digits: str) -> Line | None:
    """`14155550100` → a line of the US, fixed or mobile. E.164 without its +.

    None: it is no valid number, or phonenumbers may read it as another one, without its first digits.
    """
    country = country_of(digits[:3])
    if country is None:
        return None
    national = digits[len(country.code) :]
    for region, leading_digits in country.regions:
        if leading_digits is None or leading_digits.match(national):
            certain, lines = certain_kinds(country.code, region, len(national))
            if found := certain.match(national):
                return lines[(found.lastindex or 0) - 1]
            if leading_digits is not None:
                return None  # these are that region's digits, valid or not
    return None


def is_line(digits: str) -> bool:
    """Whether digits (E.164 without its +) are a valid number with none of them dropped."""
    pattern = whole_numbers(digits[:4], len(digits))
    return pattern is not None and pattern.match(digits) is not None


def as_dialed(digits: str, region: str, marks: Marks = BARE, *, zeros_lost: bool = False) -> str | None:
    """What is dialed in a region → E.164: `4155550100` in the US → `+14155550100`.

    `marks`: how the digits were grouped. `zeros_lost`: leading zeros may have been lost. None: it is no valid
    number, or may be meant as another one, or has to be read closely.
    """
    beginning = _beginning(region, digits[:3], len(digits))
    if beginning is None:
        return None
    rules = beginning.rules
    if beginning.trunk_alone:
        national = digits[1:]
        if len(national) > _LONGEST_CERTAIN or (beginning.own and beginning.own.match(rules.code + digits)):
            return None
        return f"+{rules.code}{national}" if line(rules.code + national) else None
    if beginning.special is not None and beginning.special.match(digits):
        rest = _without_prefix(beginning, digits, marks, zeros_lost)
        if not rest or len(rest) > _LONGEST_CERTAIN:
            return None
        return f"+{rules.code}{rest}" if line(rules.code + rest) else None
    if len(digits) > _LONGEST_CERTAIN or not _is_plain(beginning, digits, marks, zeros_lost):
        return None
    if beginning.certain is None:
        return f"+{rules.code}{digits}" if line(rules.code + digits) else None
    return f"+{rules.code}{digits}" if beginning.certain.match(digits) else None


def trunk_prefix(region: str) -> str:
    """What is dialed in a region before a number of the same country, such as 0; "" without one."""
    rules = _dialing(region)
    return rules.trunk if rules else ""


def shows_zero(region: str) -> bool:
    """Whether numbers are written with a 0 in a region without a trunk prefix, as in Gabon."""
    plan: Any = PhoneMetadata.metadata_for_region(region)
    rules = (style.national_prefix_formatting_rule or "" for style in plan.number_format)
    return not plan.national_prefix and any(rule.startswith("0") for rule in rules)


@lru_cache(maxsize=512)
def longest_local(region: str) -> int:
    """Digits that a number of a region may have without its area code. With more of them, it has one.

    Where all numbers have an equal length, that is one digit less. Where lengths are open (Germany, Austria,
    Indonesia) it may be any: there a number needs its trunk prefix. 0 where there is no trunk prefix: there
    no part of a number is left out.
    """
    plan: Any = PhoneMetadata.metadata_for_region(region)
    if not plan.national_prefix:
        return 0
    lengths = (plan.fixed_line and plan.fixed_line.possible_length) or plan.general_desc.possible_length
    longest = max(lengths)
    return _ANY_LENGTH if longest > _LONGEST_CERTAIN else longest - 1


_LONGEST_CERTAIN = 11
"""Digits, without country code. Longer numbers are rare, and may be two: they are looked at closely."""
_ANY_LENGTH = 99
LONGEST_LOCAL = 10
"""Digits that a number without its area code has anywhere."""


def _is_plain(beginning: "_Beginning", digits: str, marks: Marks, zeros_lost: bool) -> bool:
    """Whether they are a number as they stand, if they are any, and cannot be meant otherwise."""
    if digits[0] == "0":
        return not beginning.rules.shows_zero
    return (
        (zeros_lost or beginning.has_area)
        # Otherwise the + of another country's number may be lost.
        and (
            beginning.abroad is None
            or not beginning.abroad.match(digits)
            or _speak_for_home(beginning.rules.code, marks, digits, digits)
        )
        # Otherwise a 0 may be lost (Italy).
        and (beginning.zeroed is None or not beginning.zeroed.match(f"{beginning.rules.code}0{digits}"))
        and not beginning.second
    )


def _speak_for_home(code: str, marks: Marks, digits: str, national: str) -> bool:
    """Whether the digits are grouped as at home, and not behind what may be a country code.

    `national`: those of them that are no trunk prefix.
    """
    groups = marks.groups
    if len(groups) < 2 or country_code(digits) == digits[: groups[0]] or not is_line(code + national):
        return False
    usual = tuple(len(group) for group in usual_groups(f"+{code}{national}")[0])
    if digits != national:
        return groups[-len(usual) :] == usual
    return groups == usual or (marks.bracketed and groups[0] == usual[0])


def _without_prefix(beginning: "_Beginning", digits: str, marks: Marks, zeros_lost: bool) -> str | None:
    """The number within its country; None if it has to be looked at closely."""
    rules = beginning.rules
    if rules.abroad.match(digits):
        return None
    found = rules.prefix.match(digits)
    own = beginning.own is not None and beginning.own.match(rules.code + digits) is not None
    if digits.startswith(rules.code):
        if not own:
            # Only the + is missing, or it is no number.
            rest = digits[len(rules.code) :]
            certain = (
                len(digits) > min(rules.longest_local, LONGEST_LOCAL)
                and not rules.prefix.match(rest)
                and (beginning.zeroed is None or not beginning.zeroed.match(f"{rules.code}0{digits}"))
                and not beginning.second
                and (found is None or digits[found.end() :] == rest)
            )
            return rest if certain else None
        if found is None and not digits.startswith(f"{rules.code}0"):
            return digits if _is_plain(beginning, digits, marks, zeros_lost) else None
    if own or found is None or found.lastindex or found[0] != rules.trunk:
        return None
    national = digits[found.end() :]
    if rules.trunk.startswith("0"):
        return national
    # A trunk prefix that is no 0 may be the beginning of a country code whose + is lost.
    abroad = beginning.abroad is not None and beginning.abroad.match(digits) is not None
    if beginning.zeroed is not None or (abroad and not _speak_for_home(rules.code, marks, digits, national)):
        return None
    return national


class _Dialing(NamedTuple):
    """How people dial in a region."""

    code: str
    abroad: re.Pattern[str]
    """What is dialed before a number of another country, such as 00."""
    prefix: re.Pattern[str]
    """What is dialed before a number of the same country, such as 0."""
    special: re.Pattern[str]
    """Digits that begin otherwise are a number as they stand."""
    prefixes: tuple[str, ...]
    """The alternatives of `special`; or a single one that is a pattern, and not just digits."""
    first_digits: frozenset[str]
    """What those may begin with."""
    trunk: str
    """The trunk prefix, such as 0; "" without one."""
    second: str
    """What is left of it when a leading 0 is lost: 6 of Hungary's 06."""
    longest_local: int
    """See longest_local."""
    shows_zero: bool
    """See shows_zero."""


class _Beginning(NamedTuple):
    """What the first digits, and how many there are, say of digits that are dialed in a region."""

    rules: _Dialing
    special: re.Pattern[str] | None
    """rules.special, unless no digits that begin so match it."""
    trunk_alone: bool
    """They begin with the trunk prefix 0, and with nothing else that is dialed in front of a number."""
    has_area: bool
    """There are more digits than a number without its area code has."""
    second: bool
    """They begin with rules.second."""
    own: re.Pattern[str] | None
    """Valid numbers of the region with so many digits, its country code in front; None if there are none."""
    abroad: re.Pattern[str] | None
    """Valid numbers with so many digits of the country whose code they begin with; None if there are none."""
    zeroed: re.Pattern[str] | None
    """As own, with one digit more."""
    certain: re.Pattern[str] | None
    """As `line` has it, without country code. Only where what it says of the line is of no further use."""


@lru_cache(maxsize=16_384)
def _beginning(region: str, first_digits: str, length: int) -> _Beginning | None:
    """`first_digits`: three, or fewer if there are no more."""
    rules = _dialing(region)
    if rules is None or not first_digits:
        return None
    code = rules.code
    # Most digits are told apart without a pattern: by the first one, and where prefixes are just some digits.
    may_begin = [
        each
        for each in (rules.prefixes if first_digits[0] in rules.first_digits else ())
        if not each.isdecimal() or each.startswith(first_digits) or first_digits.startswith(each)
    ]
    may_lack_zero = any(
        "0" in begins_with(metadata_of(code, region).general_desc.national_number_pattern)
        for region, _ in regions_of(code, "0")
    )
    return _Beginning(
        rules,
        special=rules.special if may_begin else None,
        trunk_alone=rules.trunk == "0" and set(may_begin) == {"0"},
        has_area=length > rules.longest_local,
        second=bool(rules.second) and first_digits.startswith(rules.second),
        own=whole_numbers(code + first_digits, length + len(code)),
        abroad=whole_numbers(first_digits, length),
        zeroed=whole_numbers(code + "0", length + len(code) + 1) if may_lack_zero else None,
        # North America's time zones go by the area code.
        certain=certain_numbers(code, first_digits, length) if code == "1" else None,
    )


@lru_cache(maxsize=512)
def _dialing(region: str) -> _Dialing | None:
    if region not in SUPPORTED_REGIONS:
        return None
    plan: Any = PhoneMetadata.metadata_for_region(region)
    abroad = f"00|{plan.international_prefix or NONE}"  # 00 is + everywhere
    others = filter(None, (plan.international_prefix, plan.national_prefix_for_parsing))
    prefixes = "|".join(("00", str(plan.country_code), *others))
    is_literal = re.fullmatch(r"[0-9|]+", prefixes)
    return _Dialing(
        str(plan.country_code),
        re.compile(abroad),
        re.compile(prefix_pattern(plan)),
        re.compile(f"{abroad}|{plan.country_code}|{prefix_pattern(plan)}"),
        tuple(prefixes.split("|")) if is_literal else (prefixes,),
        begins_with(prefixes),
        plan.national_prefix or "",
        (plan.national_prefix or "")[1:],
        longest_local(region),
        shows_zero(region),
    )
