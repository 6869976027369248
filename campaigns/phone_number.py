"""A telephone number as people write it → E.164. Digits are never guessed, dropped or made up.

A cell is read as a number only if every reading of it that a person could mean is that number.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import phonenumbers
from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, SUPPORTED_REGIONS

from campaigns.number_groups import country_code, is_dialed_alike, usual_groups
from campaigns.number_readings import (
    How,
    Reading,
    dialed,
    international,
)
from campaigns.number_reasons import ODD_ZERO, why_ambiguous, why_invalid
from campaigns.numbering_plan import LONGEST_LOCAL, as_dialed, line, longest_local, trunk_prefix
from campaigns.written_number import (
    BARE,
    LONGEST,
    MOST_READ,
    NO_NUMBER,
    RANGE,
    TWO_NUMBERS,
    digits_of,
    plain,
)

_MOST_DIGITS = 15
"""E.164 has no longer number, though some plans do (Germany's), nor does Connect or the ledger take one."""
_LONGEST_CERTAIN = 14
"""Characters of E.164 up to which no country has room for two numbers in one."""
_BRACKET = re.compile(r"(?:[18]\s*)?\((\d+)\)")
_MARKED_ZERO = re.compile(r"\(\s*0\s*\)")
_SHORT_CODES = frozenset(str(code) for code in COUNTRY_CODE_TO_REGION_CODE if code < 100)
# "+8 (495) …": the group behind the + is too short for a country code of three digits, and is none of two.
_NO_CODE = re.compile(
    rf"(?:(?:\+|^\W*00(?=[^\w+]))[^\w+]*|^\W*00(?=\d(?!\d)))(?!0|(?:{'|'.join(_SHORT_CODES)}))(\d{{1,2}})(?!\d)"
)


def e164(
    text: str, default_region: str | None, *, zeros_lost: bool = False, others_marked: bool = False
) -> str:
    """`(415) 555-0100` in the US → `+14155550100`.

    `default_region` (two letters) is where a number without a country code is taken to be; with None such
    a number is refused. `00` in front means `+` everywhere, also where people dial 011 for it. `zeros_lost`:
    leading zeros were lost, and are put back where only one number can be meant. `others_marked`: a number of
    another country has + or 00, so that without them its digits are never those of another country.
    Raises ValueError, whose text completes a sentence that begins with the cell and says what to do.
    """
    number, marks = text, BARE
    if len(text) < LONGEST and text.removeprefix("+").isdigit() and text.isascii():
        pass
    elif len(text) > MOST_READ:
        raise ValueError(NO_NUMBER)
    else:
        number, marks = digits_of(text)
    certain = None
    if len(number) > LONGEST or marks.odd:
        pass  # nothing that long is to be remembered
    elif number[0] == "+":
        code = marks.after_plus
        if (
            len(number) <= _LONGEST_CERTAIN
            and (code == 0 or number[1] in "17" or number[1 : 1 + code] in _SHORT_CODES)
            and not (number[1] == "8" and default_region and trunk_prefix(default_region) == "8")
            and line(number[1:])
        ):
            certain = number
    elif default_region:
        certain = as_dialed(number, default_region, marks, zeros_lost=zeros_lost)
    if certain:
        return certain
    phone, problem = _judged(text, number, default_region, zeros_lost, others_marked)
    if problem:
        raise ValueError(problem)
    return phone


@lru_cache(maxsize=16)  # a row that is rejected is asked for its key, too
def _judged(
    text: str, number: str, region: str | None, zeros_lost: bool, others_marked: bool
) -> tuple[str, str]:
    """(number, "") or ("", why there is none) of what is not certain at once."""
    try:
        return _closely(text, number, region, zeros_lost, others_marked), ""
    except ValueError as problem:
        return "", str(problem)


def _closely(
    text: str, number: str, region: str | None, zeros_lost: bool = False, others_marked: bool = False
) -> str:
    """Of what is not certain at once: the number that all readings give. Raises ValueError as e164 does."""
    if region not in SUPPORTED_REGIONS:
        region = None
    written = plain(text)
    if broken := _NO_CODE.search(written):
        code = broken[1]
        raise ValueError(f"has no country code: there is no +{code}; write + and one, such as +7 or +49")
    if _MARKED_ZERO.search(written):
        found = _with_marked_zero(written, region)
    else:
        found = _decided(written, number, region, zeros_lost, others_marked)
    if _is_pair(written, number, found, region):
        raise ValueError(TWO_NUMBERS)
    if len(found) > _MOST_DIGITS + 1:
        raise ValueError("has too many digits for one number; check the digits")
    return found


def _decided(written: str, number: str, region: str | None, zeros_lost: bool, others_marked: bool) -> str:
    if number.startswith("+"):
        digits = number[1:]
        found = list(international(digits))
        # "+8 (495) …" without its marks: Russia's trunk prefix behind a + that a program put there.
        eight = digits.startswith("8") and region and trunk_prefix(region) == "8"
        if eight and region and not _begins_with_country_code(written, digits):
            found += [each for each in dialed(digits, region) if each.how == How.PREFIXED]
    elif region is None:
        if not number.startswith("00"):
            raise ValueError("has no country code; write +… or set default_region in the campaign's [list]")
        found = list(international(number[2:]))
    else:
        found = _as_written(written, list(dialed(number, region)))
        if others_marked:
            own = f"+{phonenumbers.country_code_for_region(region)}"
            found = [each for each in found if each.how != How.PLUS_LOST or each.phone.startswith(own)]
    phones = {each.phone for each in found}
    if len(phones) > 1:
        raise ValueError(why_ambiguous(number, found))
    usable = region is None or any(_is_certain(each, number, region, zeros_lost) for each in found)
    if not phones or not usable:
        raise ValueError(why_invalid(written, number, found, region))
    return phones.pop()


def _is_certain(reading: Reading, number: str, region: str, zeros_lost: bool) -> bool:
    """Whether a reading is what the region's people mean, if there is no other one."""
    match reading.how:
        case How.INTERNATIONAL | How.PREFIXED | How.COMPLETED:
            return True
        case How.NATIONAL:
            whole = number.startswith("0") or len(number) > longest_local(region)
            # Dialed everywhere as it stands, so no other line has these digits in any town.
            return whole or is_dialed_alike(reading.phone)
        case How.PLUS_LOST:
            own = str(phonenumbers.country_code_for_region(region))
            return number.startswith(own) and len(number) > min(longest_local(region), LONGEST_LOCAL)
        case How.ZERO_LOST:
            return zeros_lost
    return False


def _as_written(written: str, found: list[Reading]) -> list[Reading]:
    """Without the readings that the marks between the digits speak against."""
    groups = re.findall(r"\d+", written)
    if len(groups) < 2 or len({each.phone for each in found}) < 2:
        return found
    home = [each for each in found if each.how in (How.NATIONAL, How.PREFIXED)]
    for each in home:
        usual, prefix_shown = usual_groups(each.phone)
        bracket = _BRACKET.match(written)
        is_usual = groups[-len(usual) :] == usual or (bracket is not None and bracket[1] == usual[0])
        if is_usual and country_code(groups[0]) != groups[0]:
            return [other for other in found if other.how != How.PLUS_LOST or other.phone == each.phone]
        own = country_code(each.phone[1:])
        if each.how == How.NATIONAL and prefix_shown == "0" and written.startswith(f"({own})"):
            # "(49) 171 …": an area code would have its 0 there.
            return [other for other in found if other.how == How.PLUS_LOST]
    return found


def _with_marked_zero(written: str, region: str | None) -> str:
    """`+49 (0)89 …`, `49 (0)89 …`, `(0)89 …`: what is in front of (0) is a country code, or nothing."""
    head, tail = _MARKED_ZERO.split(written, maxsplit=1)
    code = "".join(c for c in head if c.isdecimal())
    rest = "".join(c for c in tail if c.isdecimal())
    if not code:
        if region is None:
            raise ValueError("has no country code; write +… or set default_region in the campaign's [list]")
        kept = [each for each in dialed(f"0{rest}", region) if each.how in (How.PREFIXED, How.NATIONAL)]
        dropped = [each for each in dialed(rest, region) if each.how == How.NATIONAL]
        code = str(phonenumbers.country_code_for_region(region))
    else:
        if "+" not in head and (abroad := re.match(_abroad(region), code)):
            code = code[abroad.end() :]
        if country_code(code) != code:
            raise ValueError(ODD_ZERO)
        kept, dropped = list(international(f"{code}0{rest}")), list(international(code + rest))
    if not kept:
        raise ValueError(ODD_ZERO if dropped else why_invalid("", f"+{code}{rest}", [], None))
    # Italy's 0 belongs to the number, and its mobile numbers have none.
    phones = {each.phone for each in (*kept, *dropped)}
    if len(phones) > 1:
        raise ValueError(why_ambiguous("", []))
    return phones.pop()


def _abroad(region: str | None) -> str:
    plan: Any = phonenumbers.PhoneMetadata.metadata_for_region(region) if region else None
    return f"00|{plan.international_prefix}" if plan and plan.international_prefix else "00"


def _begins_with_country_code(written: str, digits: str) -> bool:
    groups = re.findall(r"\d+", written)
    return len(groups) > 1 and country_code(digits) == groups[0]


def _is_pair(written: str, number: str, phone: str, region: str | None) -> bool:
    """Whether it may be two numbers, one behind the other, in a country that has numbers of that length."""
    digits = phone[1:]
    code = country_code(digits) or ""
    home = COUNTRY_CODE_TO_REGION_CODE[int(code)][0]
    if home in SUPPORTED_REGIONS and longest_local(home) > LONGEST_LOCAL and RANGE.search(written):
        return True
    if len(digits) - len(code) <= 11:
        return False
    groups = re.findall(r"\d+", written)
    whole = number.removeprefix("+")
    in_front = "+" if number.startswith("+") else ""

    def stands(part: str) -> bool:
        return bool(part) and any(True for _ in _some(in_front + part, region))

    if len(groups) > 1 and len(groups[-1]) >= 5 and abs(len(groups[-1]) - len(groups[-2])) <= 1:
        before = whole[: -len(groups[-1])]
        if len(groups) > 2 and stands(before):
            return True
    for place in range(5, len(whole) - 4):
        left, right = whole[:place], whole[place:]
        if abs(len(left) - len(right)) <= 1 and left[:2] == right[:2] and stands(left) and stands(right):
            return True
    # One area code, and two numbers in it that are nearly the same: 030 231251 231252.
    for local in range(5, len(whole) // 2):
        first, second = whole[-2 * local : -local], whole[-local:]
        if first[: local - 2] == second[: local - 2] and stands(whole[:-local]):
            return True
    return False


def _some(number: str, region: str | None) -> Iterable[Reading]:
    if number.startswith("+"):
        return international(number[1:])
    return dialed(number, region) if region else international(number.removeprefix("00"))
