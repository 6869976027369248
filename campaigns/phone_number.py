"""A telephone number as people write it → E.164. Digits are never guessed, dropped or made up.

A cell is read as a number only if every reading of it that a person could mean is that number.
"""

import re
from collections.abc import Iterable, Iterator

import phonenumbers
from phonenumbers import SUPPORTED_REGIONS, PhoneNumberFormat

from campaigns.number_readings import How, Reading, country_code, dialed, exact, international
from campaigns.number_reasons import UNREADABLE_ZERO, why_ambiguous, why_invalid
from campaigns.numbering_plan import LONGEST_LOCAL, as_dialed, line, longest_local
from campaigns.written_number import (
    EXTENSION,
    LONGEST,
    MOST_READ,
    NO_NUMBER,
    TWO_NUMBERS,
    digits_of,
    plain,
)

_MOST_DIGITS = 15
"""E.164 has no longer number, though some plans do (Germany's), nor does Connect or the ledger take one."""
_BARE = re.compile(rf"\+?[0-9]{{1,{LONGEST - 1}}}")
_MARKED_ZERO = re.compile(r"\(\s*0\s*\)")
_FIRST_GROUP = re.compile(r"(?:\+|^\W*00(?=[^\w+]))[^\w+]*(\d{1,2})(?!\d)")


def e164(text: str, default_region: str | None, *, zeros_lost: bool = False) -> str:
    """`(415) 555-0100` in the US → `+14155550100`.

    `default_region` (two letters) is where a number without a country code is taken to be; with None such
    a number is refused. `00` in front means `+` everywhere, also where people dial 011 for it. `zeros_lost`:
    leading zeros were lost, and are put back where only one number can be meant.
    Raises ValueError, whose text completes a sentence that begins with the cell and says what to do.
    """
    if len(text) > MOST_READ:
        raise ValueError(NO_NUMBER)
    if _BARE.fullmatch(text):
        number = text
    else:
        number = digits_of(text)
        if "+" in text or "00" in text or not text.isascii():
            _refuse_broken_country_code(text)
        if "0" in text and "(" in text and _MARKED_ZERO.search(plain(text)):
            return _with_marked_zero(plain(text), default_region)
    certain = None
    if len(number) > LONGEST:
        pass  # nothing that long is to be remembered
    elif number[0] == "+":
        if number[1:2] != "8" and len(number) <= 13 and line(number[1:]):
            certain = number
    elif default_region:
        certain = as_dialed(number, default_region, zeros_lost=zeros_lost)
    return certain or _slowly(text, number, default_region, zeros_lost)


def readings(text: str, default_region: str | None) -> frozenset[str]:
    """Every valid number (E.164) that the text may stand for, however loosely it is written; maybe none.

    For do-not-call lists, which rather hold a number too many. It reads lost + and zeros, `(0)`, both numbers of
    a pair, the number in front of an extension, numbers with labels, `.0` at the end, and Mexico's and
    Argentina's mobile numbers with and without the digit that only calls from abroad have, or had.
    """
    written = plain(text[:MOST_READ])
    found: set[str] = set()
    for piece in _pieces(written):
        found.update(_all_of(piece, default_region))
    return frozenset(found | {twin for phone in found for twin in _twins(phone)})


def _pieces(written: str) -> Iterator[str]:
    """The text, and its parts, each of which may be a number: digits, or + and digits."""
    texts = {written, _MARKED_ZERO.sub("", written), re.sub(r"(\d)[.,]0+\s*$", r"\1", written)}
    for extension in EXTENSION.finditer(written):
        texts.add(written[: extension.start() + 1])
    for part in re.split(r"[^\d+().\-/\s]+|\n|\+(?=.*\+)|\.\.|\s-\s", written):
        texts |= {part, _MARKED_ZERO.sub("", part), *part.split("/")}
        # Of "1234567 2345678" each group, and each half, may be one.
        groups = re.findall(r"\+?\d+", part)
        texts.update(group for group in groups if len(group) >= 5)
        texts.update("".join(groups[:i]) for i in range(1, len(groups)))
        texts.update("".join(groups[i:]) for i in range(1, len(groups)))
        digits = "".join(groups)
        if 14 <= len(digits) <= LONGEST and len(digits) % 2 == 0:
            half = len(digits) // 2
            if len(digits) >= 14 and len(digits) % 2 == 0:
                texts |= {digits[:half], digits[half:]}
    if "+" in written:
        texts |= {f"+{text}" for text in set(texts) if "+" not in text}
    for text in texts:
        digits = "".join(c for c in text if c.isdecimal())
        if 2 < len(digits) <= LONGEST:
            yield f"+{digits}" if "+" in text else digits
            # A label's digits, or an extension's, may stand in front of a + as well.
            yield digits


def _all_of(number: str, region: str | None) -> Iterator[str]:
    digits = number.removeprefix("+")
    if not number.startswith("+") and region in SUPPORTED_REGIONS:
        yield from (reading.phone for reading in dialed(digits, region or ""))
    for each in (digits, digits.removeprefix("00")):
        yield from (reading.phone for reading in international(each))
    try:
        parsed = phonenumbers.parse(number, region)
    except phonenumbers.NumberParseException:
        return
    if phonenumbers.is_valid_number(parsed):
        yield phonenumbers.format_number(parsed, PhoneNumberFormat.E164)
    # Mexico had a 1 behind +52 until 2019.
    for prefix in ("521", "00521", "52044", "52045"):
        if digits.startswith(prefix) and (found := exact("52", digits[len(prefix) :])):
            yield found


def _twins(phone: str) -> Iterator[str]:
    """The same line as it is, or was, dialed otherwise: valid ones, and Mexico's with the 1 of old lists."""
    if phone.startswith("+549"):
        yield f"+54{phone[4:]}"
    elif phone.startswith("+54"):
        yield f"+549{phone[3:]}"
    elif phone.startswith("+52") and len(phone) == 13:
        yield f"+521{phone[3:]}"


def _slowly(text: str, number: str, region: str | None, zeros_lost: bool = False) -> str:
    """Of what is not certain at once: the number that all readings give. Raises ValueError as e164 does."""
    if region is not None and region not in SUPPORTED_REGIONS:
        region = None
    found = _decided(text, number, region, zeros_lost)
    if len(found) > _MOST_DIGITS + 1:
        raise ValueError("has too many digits for one number; check the digits")
    if _is_pair(text, number, found, region):
        raise ValueError(TWO_NUMBERS)
    return found


def _decided(text: str, number: str, region: str | None, zeros_lost: bool) -> str:
    if number.startswith("+"):
        digits = number[1:]
        found = list(international(digits))
        # "+8 (495) …" without its marks: Russia's trunk prefix behind a + that a program put there.
        if digits.startswith("8") and region and not _begins_with_country_code(text, digits):
            found += [each for each in dialed(digits, region) if each.how == How.PREFIXED]
    elif region is None:
        if not number.startswith("00"):
            raise ValueError("has no country code; write +… or set default_region in the campaign's [list]")
        found = list(international(number[2:]))
    else:
        found = _as_written(text, list(dialed(number, region)), region)
    phones = {each.phone for each in found}
    if len(phones) > 1:
        raise ValueError(why_ambiguous(number, found, region))
    usable = region is None or any(_is_certain(each, number, region, zeros_lost) for each in found)
    if not phones or not usable:
        raise ValueError(why_invalid(text, number, found, region))
    return phones.pop()


def _is_certain(reading: Reading, number: str, region: str, zeros_lost: bool) -> bool:
    """Whether a reading is what the region's people mean, if there is no other one."""
    match reading.how:
        case How.INTERNATIONAL | How.PREFIXED | How.COMPLETED:
            return True
        case How.NATIONAL:
            return number.startswith("0") or len(number) > longest_local(region)
        case How.PLUS_LOST:
            own = str(phonenumbers.country_code_for_region(region))
            return number.startswith(own) and len(number) > min(longest_local(region), LONGEST_LOCAL)
        case How.ZERO_LOST:
            return zeros_lost
    return False


def _as_written(text: str, found: list[Reading], region: str) -> list[Reading]:
    """Without the readings that the marks between the digits speak against."""
    written = plain(text)
    groups = re.findall(r"\d+", written)
    if len(groups) < 2 or len({each.phone for each in found}) < 2:
        return found
    home = [each for each in found if each.how in (How.NATIONAL, How.PREFIXED)]
    own = str(phonenumbers.country_code_for_region(region))
    for each in home:
        shown = phonenumbers.format_number(phonenumbers.parse(each.phone), PhoneNumberFormat.NATIONAL)
        usual = re.findall(r"\d+", shown)
        first = next((group for group in usual if group not in ("0", "8", "06")), "")
        bracket = re.match(r"(?:\d{1,2}\s*)?\((\d+)\)", written)
        is_usual = groups == usual or (bracket is not None and bracket[1] == first)
        if is_usual and country_code(groups[0]) != groups[0]:
            return [other for other in found if other.how != How.PLUS_LOST or other.phone == each.phone]
        if (
            each.how == How.NATIONAL
            and written.startswith(f"({own})")
            and shown.lstrip("(").startswith("0")
        ):
            # "(49) 171 …": an area code would have its 0 there.
            return [other for other in found if other.how == How.PLUS_LOST]
    return found


def _with_marked_zero(written: str, region: str | None) -> str:
    """`+49 (0)89 …`, `49 (0)89 …`, `(0)89 …`: what is in front of (0) is a country code, or nothing."""
    head, tail = _MARKED_ZERO.split(written, maxsplit=1)
    before = "".join(c for c in head if c.isdecimal())
    after = "".join(c for c in tail if c.isdecimal())
    if not before:
        if region is None:
            return _slowly(written, f"0{after}", region)
        found = {each for each in dialed(f"0{after}", region) if each.how in (How.PREFIXED, How.NATIONAL)}
        if not found:
            raise ValueError(UNREADABLE_ZERO)
    else:
        code = before
        if "+" not in head:
            plan = phonenumbers.PhoneMetadata.metadata_for_region(region) if region else None
            abroad = re.match(f"00|{(plan and plan.international_prefix) or '00'}", before)
            code = before[abroad.end() :] if abroad else before
        if country_code(code) != code:
            raise ValueError(UNREADABLE_ZERO)
        found = set(international(f"{code}0{after}"))
        if found:
            # Italy's 0 belongs to the number, and its mobile numbers have none.
            found |= set(international(code + after))
    phones = {each.phone for each in found}
    if len(phones) > 1:
        raise ValueError(why_ambiguous(before + after, list(found), region))
    if not phones:
        raise ValueError(why_zero(code, after))
    phone = phones.pop()
    if len(phone) > _MOST_DIGITS + 1 or _is_pair(written, f"0{after}", phone, region):
        raise ValueError(TWO_NUMBERS)
    return phone


def why_zero(code: str, after: str) -> str:
    """Why a number with (0) is none."""
    if exact(code, after):
        return UNREADABLE_ZERO
    return why_invalid("", f"+{code}{after}", [], None)


def _refuse_broken_country_code(text: str) -> None:
    """`+8 (495) …` has a group where a country code is to be, and that is none."""
    first = _FIRST_GROUP.search(plain(text))
    if first and country_code(first[1]) is None and not first[1].startswith("0"):
        raise ValueError(
            f"has no country code: there is no +{first[1]}; write + and the country code, such as +7 or +49"
        )


def _begins_with_country_code(text: str, digits: str) -> bool:
    groups = re.findall(r"\d+", plain(text))
    return len(groups) > 1 and country_code(digits) == groups[0]


def _is_pair(text: str, number: str, phone: str, region: str | None) -> bool:
    """Whether it may be two numbers, one behind the other, in a country that has numbers of that length."""
    digits = phone[1:]
    code = country_code(digits) or ""
    if len(digits) - len(code) < 10:
        return False
    groups = re.findall(r"\d+", plain(text))
    written = number.removeprefix("+")
    in_front = "+" if number.startswith("+") else ""

    def stands(part: str) -> bool:
        return bool(part) and any(True for _ in _some(in_front + part, region))

    if len(groups) > 1 and len(groups[-1]) >= 5 and abs(len(groups[-1]) - len(groups[-2])) <= 1:
        before = written[: -len(groups[-1])]
        if len(groups) > 2 and stands(before):
            return True
    if len(digits) - len(code) <= 11:
        return False
    for place in range(5, len(written) - 4):
        left, right = written[:place], written[place:]
        if abs(len(left) - len(right)) <= 1 and left[:2] == right[:2] and stands(left) and stands(right):
            return True
    # One area code, and two numbers in it that are nearly the same: 030 231251 231252.
    for local in range(5, len(written) // 2):
        first, second = written[-2 * local : -local], written[-local:]
        if first[: local - 2] == second[: local - 2] and stands(written[:-local]):
            return True
    return False


def _some(number: str, region: str | None) -> Iterable[Reading]:
    if number.startswith("+"):
        return international(number[1:])
    return dialed(number, region) if region else international(number.removeprefix("00"))

