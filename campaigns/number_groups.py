"""How the people of a country group the digits of a number, and what they dial in front of it."""

import re
from functools import lru_cache
from typing import Any, NamedTuple

from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneMetadata


def country_code(digits: str) -> str | None:
    """The country code that these digits begin with; None if there is no such."""
    return _code(digits[:3])


@lru_cache(maxsize=2048)
def _code(first_digits: str) -> str | None:
    codes = (first_digits[:length] for length in (1, 2, 3))
    return next((code for code in codes if code and int(code) in COUNTRY_CODE_TO_REGION_CODE), None)


def is_dialed_alike(phone: str) -> bool:
    """Whether a valid number (E.164) is dialed without a trunk prefix in all of its country."""
    style, _ = _style(phone)
    if style is None:
        return False
    # A style without an international one is for a part of a number.
    abroad = style.plan.intl_number_format
    return not style.prefix_rule and (
        not abroad or any(style.pattern.pattern == each.pattern for each in abroad)
    )


def usual_groups(phone: str) -> tuple[list[str], str]:
    """The groups in which a valid number (E.164) is written at home, and "0" if a 0 goes in front."""
    style, national = _style(phone)
    if style is None:
        return [national], ""
    match = style.pattern.fullmatch(national)
    return [group for group in (match.groups() if match else ()) if group], "0" if style.shows_zero else ""


class _Style(NamedTuple):
    """One of the ways in which phonenumbers formats a country's numbers."""

    begins: re.Pattern[str]
    """The numbers that it is for begin so."""
    pattern: re.Pattern[str]
    """All of their digits, in groups."""
    prefix_rule: str
    """How the trunk prefix is put in front; "" if it is not."""
    shows_zero: bool
    """Whether that writes a 0."""
    plan: Any
    """The metadata of its country."""


def _style(phone: str) -> tuple[_Style | None, str]:
    """(how phonenumbers formats a valid number or None, the number without its country code)."""
    code = country_code(phone[1:]) or ""
    national = phone[1 + len(code) :]
    for style in _styles(code):
        # How many digits there are is seen faster than how they begin.
        if style.pattern.fullmatch(national) and style.begins.match(national):
            return style, national
    return None, national


@lru_cache(maxsize=256)
def _styles(code: str) -> tuple[_Style, ...]:
    region = COUNTRY_CODE_TO_REGION_CODE[int(code)][0]
    plan: Any = PhoneMetadata.metadata_for_region_or_calling_code(int(code), region)
    return tuple(
        _Style(
            re.compile(style.leading_digits_pattern[-1] if style.leading_digits_pattern else ""),
            re.compile(style.pattern),
            style.national_prefix_formatting_rule or "",
            "0" in (style.national_prefix_formatting_rule or ""),
            plan,
        )
        for style in plan.number_format
    )
