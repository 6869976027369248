"""How the people of a country group the digits of a number, and what they dial in front of it."""

import re
from typing import Any

from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneMetadata


def country_code(digits: str) -> str | None:
    """The country code that these digits begin with; None if there is no such."""
    codes = (digits[:length] for length in (1, 2, 3))
    return next((code for code in codes if code and int(code) in COUNTRY_CODE_TO_REGION_CODE), None)


def is_dialed_alike(phone: str) -> bool:
    """Whether a valid number (E.164) is dialed without a trunk prefix in all of its country."""
    plan, _, style = _style(phone)
    if style is None:
        return False
    # A style without an international one is for a part of a number.
    abroad = [each.pattern for each in plan.intl_number_format]
    return not style.national_prefix_formatting_rule and (not abroad or style.pattern in abroad)


def usual_groups(phone: str) -> tuple[list[str], str]:
    """The groups in which a valid number (E.164) is written at home, and "0" if a 0 goes in front."""
    _, national, style = _style(phone)
    if style is None:
        return [national], ""
    match = re.fullmatch(style.pattern, national)
    rule = style.national_prefix_formatting_rule or ""
    return [group for group in (match.groups() if match else ()) if group], "0" if "0" in rule else ""


def _style(phone: str) -> tuple[Any, str, Any]:
    """(metadata of its country, the number without country code, how phonenumbers formats it or None)."""
    code = country_code(phone[1:]) or ""
    national = phone[1 + len(code) :]
    region = COUNTRY_CODE_TO_REGION_CODE[int(code)][0]
    plan: Any = PhoneMetadata.metadata_for_region_or_calling_code(int(code), region)
    for style in plan.number_format:
        begins = style.leading_digits_pattern
        if (not begins or re.match(begins[-1], national)) and re.fullmatch(style.pattern, national):
            return plan, national, style
    return plan, national, None
