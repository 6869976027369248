"""Why digits are not taken for a telephone number, and what to write instead."""

import re
from typing import Any

import phonenumbers
from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneMetadata

from campaigns.number_groups import country_code
from campaigns.number_readings import How, Reading, exact
from campaigns.written_number import TWO_NUMBERS

ODD_ZERO = "has a (0) where no 0 is dialed; remove (0), and write + and the country code"
_TOO_MANY = "has too many digits for one number"
_TOO_FEW = "has too few digits"


def why_ambiguous(number: str, found: list[Reading]) -> str:
    """Why digits with several readings are refused."""
    how = {each.how for each in found}
    home = {each.phone for each in found if each.how in (How.NATIONAL, How.PREFIXED)}
    if How.ZERO_LOST in how and {e.phone for e in found if e.how == How.ZERO_LOST} - home:
        what = "can be read as two different numbers, for it may have lost a 0"
    elif How.PLUS_LOST in how:
        code = country_code(number.removeprefix("+"))
        what = f"can be read as two different numbers, for {code} may be a country code that has lost its +"
        own = {country_code(phone[1:]) for phone in home}
        if len(home) == 1 and code not in own and how <= {How.NATIONAL, How.PREFIXED, How.PLUS_LOST}:
            return (
                f"{what}; write it with + and the country code, or, if all numbers of other countries "
                'have it in this list, say so in [list]: other_countries = "marked"'
            )
    else:
        what = "can be read as two different numbers"
    return f"{what}; write it with + and the country code"


def why_invalid(text: str, number: str, found: list[Reading], region: str | None) -> str:
    """Why digits without a certain reading are refused."""
    digits, guessed_region = number.removeprefix("+"), None if number.startswith("+") else region
    otherwise = (
        f", or write + and the country code if it is not in {guessed_region}" if guessed_region else ""
    )
    groups = re.findall(r"\d+", text)
    if not number.startswith("+") and len(groups) == 2 and len(groups[0]) == len(groups[1]) >= 6:
        return TWO_NUMBERS
    if guessed_region and (why := _not_certain(digits, found, guessed_region)):
        return why + otherwise
    abroad = number.startswith("+") or (number.startswith("00") and bool(country_code(digits[2:])))
    if number.startswith("00") and abroad:
        digits = digits[2:]
    own = country_code(digits) if abroad else str(phonenumbers.country_code_for_region(region or ""))
    if own is None:
        first = f"; there is no +{digits[0]}" if digits[:1] in ("8", "0") else ""
        too_few = len(digits) < 5
        what = (
            _TOO_MANY
            if len(digits) > 15
            else _TOO_FEW
            if too_few
            else "has a country code that does not exist"
        )
        return f"{what}{first if not too_few else ''}; check the digits"
    national = digits[len(own) :] if abroad else digits
    if own == "52" and len(national) == 11 and national[0] == "1" and exact("52", national[1:]):
        return "has a 1 behind +52, which no number in Mexico has since 2019; remove that 1"
    size = _size(own, national, None if abroad else region)
    if len(digits) > 15 or size > 0:
        problem = _TOO_MANY
    elif len(digits) < 5 or size < 0:
        problem = _TOO_FEW
    elif own == "1" and _is_unknown_area(area := national.removeprefix("1")[:3]):
        # New ones come into use every year, and phonenumbers has them some weeks later.
        known = f"phonenumbers {phonenumbers.__version__} does not know"
        problem = f"has the area code {area}, which {known}; if it is new, install a newer phonenumbers; else"
        return f"{problem} check the digits{otherwise}"
    else:
        problem = f"is no number that country code +{own} can have"
    return f"{problem}; check the digits{otherwise}"


def _not_certain(digits: str, found: list[Reading], region: str) -> str | None:
    """Why the only reading is not one that people of that region write so; None: there is none."""
    how = {each.how for each in found}
    code = str(phonenumbers.country_code_for_region(region))
    prefix = phonenumbers.ndd_prefix_for_region(region, True) or ""
    if How.NATIONAL in how or (How.ZERO_LOST in how and prefix):
        must = f"a number in {region} begins with {prefix} and the area code"
        return f"has no area code, or has lost its {prefix or '0'} ({must}); write it with +{code}"
    if How.ZERO_LOST in how:
        return f"has lost a 0; write it with +{code}"
    if How.PLUS_LOST in how and digits.startswith(code):
        return f"has no area code, or has lost the + of +{code}; write it in full"
    if How.CARRIER in how:
        return "has digits in front that choose a carrier; remove them"
    return None


def _size(code: str, national: str, region: str | None) -> int:
    """1: more digits than any number there has; -1: too few; 0: some have as many."""
    main = COUNTRY_CODE_TO_REGION_CODE[int(code)][0]
    plan: Any = PhoneMetadata.metadata_for_region_or_calling_code(int(code), region or main)
    prefix = plan.national_prefix if region or plan.national_prefix == "0" else None
    count = len(national.removeprefix(prefix) if prefix else national)
    lengths = plan.general_desc.possible_length
    if count > max(lengths):
        return 1
    return -1 if count < min(lengths) or count in plan.general_desc.possible_length_local_only else 0


def _is_unknown_area(area: str) -> bool:
    """Whether no number in North America begins with these three digits."""
    return (
        len(area) == 3
        and area[0] > "1"
        and not any(exact("1", f"{area}{exchange}1234") for exchange in ("234", "555", "666"))
    )
