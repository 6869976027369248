"""Digits → every valid number that they may stand for, and how each one has been read.

phonenumbers.parse picks one reading, drops what it takes for a prefix, and says nothing of the others.
"""

import re
from collections.abc import Iterator
from enum import Enum
from functools import lru_cache
from typing import Any, NamedTuple

from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneMetadata

from campaigns.number_groups import country_code
from campaigns.numbering_plan import is_line, shows_zero


class How(Enum):
    """By which rule digits were read as a number."""

    INTERNATIONAL = "international"
    """With + or with what is dialed before a country code."""
    NATIONAL = "national"
    """As they stand, within the region."""
    PREFIXED = "prefixed"
    """With the region's trunk prefix in front."""
    COMPLETED = "completed"
    """Within a region that has one area code, without it."""
    CARRIER = "carrier"
    """With digits in front that choose a carrier or a service, and are no part of a number."""
    PLUS_LOST = "plus lost"
    """Their first digits are a country code."""
    ZERO_LOST = "zero lost"
    """With a 0 put in front of them."""


class Reading(NamedTuple):
    """One number that digits may stand for."""

    phone: str
    """E.164."""
    how: How


def international(digits: str) -> Iterator[Reading]:
    """What digits behind a + may stand for: with nothing dropped but a trunk prefix that begins with 0."""
    code = country_code(digits)
    if code is None:
        return
    national = digits[len(code) :]
    if found := exact(code, national):
        yield Reading(found, How.INTERNATIONAL)
    # Argentina's mobile numbers are put in another order: +54 11 15 … at home, +54 9 11 … from abroad.
    if national.startswith("0") or code == "54":
        for found, how in _without_prefix(code, national):
            if how != How.COMPLETED:
                yield Reading(found, How.INTERNATIONAL)


def dialed(digits: str, region: str) -> Iterator[Reading]:
    """What digits without + may stand for where people dial as in this region."""
    plan = _plan(region)
    code, prefix = plan.code, plan.trunk
    if digits.startswith("00"):
        yield from international(digits[2:])
    # "0011…" is how Australia dials abroad, so the region has its say about zeros too.
    if plan.abroad and (idd := plan.abroad.match(digits)):
        yield from international(digits[idd.end() :])
    if own := exact(code, digits):
        yield Reading(own, How.NATIONAL)
    for phone, how in _without_prefix(code, digits, region):
        yield Reading(phone, how)
    if digits.startswith("0"):
        if plan.shows_zero and (shown := exact(code, digits[1:])):
            yield Reading(shown, How.PREFIXED)
        return
    yield from (Reading(phone, How.PLUS_LOST) for phone in _with_plus(digits, code))
    # Nothing else is put back: a carrier's digits behind the 0 would be one guess on another.
    zeroed = f"0{digits}"
    without = [zeroed, zeroed.removeprefix(prefix)] if prefix and zeroed.startswith(prefix) else [zeroed]
    for restored in filter(None, (exact(code, each) for each in without)):
        yield Reading(restored, How.ZERO_LOST)


def _with_plus(digits: str, own: str) -> Iterator[str]:
    """With a + in front of them. Only at home a trunk 0 may stand behind it: else that is two mistakes."""
    code = country_code(digits)
    if code == own:
        yield from (reading.phone for reading in international(digits))
    elif code and (found := exact(code, digits[len(code) :])):
        yield found


def exact(code: str, national: str) -> str | None:
    """E.164 if this is a valid number as it stands, with no digit dropped."""
    return f"+{code}{national}" if is_line(code + national) else None


def _without_prefix(code: str, digits: str, region: str | None = None) -> Iterator[tuple[str, How]]:
    """The numbers that are left when what is dialed in front of them is taken away."""
    plan = _plan(region or COUNTRY_CODE_TO_REGION_CODE[int(code)][0], code)
    prefix = plan.trunk
    if prefix and digits.startswith(prefix) and (found := exact(code, digits[len(prefix) :])):
        yield found, How.PREFIXED
    match = plan.prefix and plan.prefix.match(digits)
    if not plan.prefix or not match or not match.end():
        return
    put = plan.rule and match.groups() and match.groups()[-1] is not None
    national = plan.prefix.sub(plan.rule, digits, count=1) if put else digits[match.end() :]
    if not (found := exact(code, national)):
        return
    if len(national) > len(digits):
        yield found, How.COMPLETED
    elif code == "54" or (prefix and digits.startswith(prefix)) or digits[0] in "08":
        # "08": where a trunk prefix was another one until lately (Lithuania, Belarus).
        yield found, How.PREFIXED
    else:
        yield found, How.CARRIER


class _Plan(NamedTuple):
    """What phonenumbers knows of how people dial in a region."""

    code: str
    trunk: str
    """The trunk prefix, such as 0; "" without one."""
    abroad: re.Pattern[str] | None
    """What is dialed before a number of another country."""
    prefix: re.Pattern[str] | None
    """What may be dialed before a number of the same country."""
    rule: str
    """What a number with such a prefix is turned into, where that is not just dropped."""
    shows_zero: bool


@lru_cache(maxsize=512)
def _plan(region: str, code: str = "0") -> _Plan:
    """`code` is needed where the region is 001, that of numbers without a country."""
    plan: Any = PhoneMetadata.metadata_for_region_or_calling_code(int(code), region)
    abroad, prefix = plan.international_prefix, plan.national_prefix_for_parsing
    return _Plan(
        str(plan.country_code),
        plan.national_prefix or "",
        re.compile(abroad) if abroad else None,
        re.compile(prefix) if prefix else None,
        plan.national_prefix_transform_rule or "",
        region != _NO_COUNTRY and shows_zero(region),
    )


_NO_COUNTRY = "001"
