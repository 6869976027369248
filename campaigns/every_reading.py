"""Every telephone that a cell of a do-not-call list may mean.

The opposite of phone_number.py: there a doubt keeps a number from being called, here it keeps all of its
readings from being called. A cell of which a part cannot be read at all is a problem that an operator has to
hear of.
"""

import re
import unicodedata
from collections.abc import Iterator
from contextlib import suppress
from functools import lru_cache
from typing import Any, NamedTuple

import phonenumbers
from phonenumbers import PhoneMetadata, PhoneNumberFormat

from campaigns.numbering_plan import as_dialed, line
from campaigns.phone_number import e164
from campaigns.same_telephone import forms
from campaigns.written_number import ascii_mark

_MARKS = b" ()-"
_LONGEST = 30  # characters of what is looked at as it stands
_MOST_READ = 1_000  # characters of a cell; more is no number, and would take time
_LEAST_DIGITS = 5
"""Fewer are no telephone number, but a label: `(cell 2)`."""
_MOST_DIGITS = 15

_SCIENTIFIC = re.compile(r"\d[.,]?\d*e[+-]?\d", re.IGNORECASE)
_DECIMAL_TAIL = re.compile(r"(?<![\d.,])(\+?\d{5,})[.,]0+(?!\d)")
_DECIMAL = re.compile(r"(\+?\d{3,})[.,]0+")
_EXTENSION = re.compile(
    r"(?<=\d)[\s).,;-]*(?:(?:ext(?:ension|n)?|x|#|доб|poste|durchwahl|dw|anexo|ramal|int)[\s.:=]*\d{1,9}[\s#]*"
    r"|[,;pw]+\s*\d{1,6})(?![\d().\-/ ]*\d)",
    re.IGNORECASE,
)
_RUN = re.compile(r"[(\[ ]*\+?[(\[ ]*\d[\d \t()\[\].\-/\\]*")
_GROUPED = re.compile(r"\+?\d{1,3}(?:[,.' ]\d{3})+")
_SHORT = re.compile(r"(?:[/\\&|]|\b(?:or|and|oder|und|ou|et|y|o|e)\b)\s*(\d{2,4})(?!\d)", re.IGNORECASE)
"""`5550100/01`, `5550100 or 0101`: a second number that differs in its last digits."""
_SEPARATOR = re.compile(r"[\s/\\.\-()]+")
_MAY_BEGIN_WITH_0 = re.compile(r"(?:^|[(|:])(?:0|\\d|\[[^\]]*0[^\]]*\])")
"""A pattern with an alternative that begins with a 0; rather one too many than one too few."""
_MEXICAN_PREFIX = re.compile(r"0(?:1|44|45)(\d{10})")


class Reading(NamedTuple):
    """What a cell may mean."""

    phones: frozenset[str]
    """E.164, each of another telephone or of the same."""
    problem: str = ""
    """Not empty: what cannot be read, or not for sure. It completes a sentence that begins with the cell."""


def every_reading(text: str, region: str | None) -> Reading:
    """`415-555-0100 or 0101 x12` → all numbers that it may mean.

    `region` (two letters) is where a number without a country code is taken to be. Without it such a number
    is read as one that has lost its +, and is a problem, since it may be any country's.
    """
    # As bytes, in which marks are taken out ten times as fast.
    if len(text) <= _LONGEST and text.isascii() and "(0)" not in text:
        plain = text.encode().translate(None, _MARKS)
        # What is longer may be two numbers, each of at least six digits.
        longest = (12 if plain[:1] == b"0" else 11) if (bare := plain.isdigit()) else 14
        if _LEAST_DIGITS <= len(plain) <= longest and (bare or (plain[:1] == b"+" and plain[1:].isdigit())):
            certain = _certain(plain.decode(), region)
            if certain is not None:
                return Reading(certain)
    return _read(text.strip(), region)


def _certain(digits: str, region: str | None) -> frozenset[str] | None:
    """The readings of digits without any mark between them; None if phonenumbers has to be asked."""
    if digits.startswith("+"):
        if region is not None and _begins_nationally(digits[1:], region):
            return None
        return frozenset((digits,)) if line(digits[1:]) else None
    if region is None:
        return None
    here = as_dialed(digits, region)
    if digits.startswith("0"):  # has lost neither its 0 nor its +
        return None if here is None else frozenset((here,))
    if _abroad(region).match("0" + digits):
        return None
    if _zero_may_be_lost(region):
        with_zero = as_dialed("0" + digits, region)
        if with_zero is None or (here is None and not _zero_is_a_prefix(region, digits)):
            return None
        found = {with_zero, here or with_zero}
    elif here is None:
        return None
    else:
        found = {here}
    if line(digits):  # has lost its +
        found.add("+" + digits)
    elif _trunk_follows(digits):
        return None
    return frozenset(found)


@lru_cache(maxsize=512)
def _zero_may_be_lost(region: str) -> bool:
    """Whether a number of the region may begin with a 0: its own, or that before an area code."""
    plan: Any = PhoneMetadata.metadata_for_region(region)
    if plan is None:
        return True
    patterns = (plan.national_prefix_for_parsing, plan.general_desc.national_number_pattern)
    return any(pattern and _MAY_BEGIN_WITH_0.search(pattern) for pattern in patterns)


@lru_cache(maxsize=4096)
def _prefix_and_code(region: str) -> tuple[str, str]:
    plan: Any = PhoneMetadata.metadata_for_region(region)
    return plan.national_prefix_for_parsing or "", str(plan.country_code)


def _zero_is_a_prefix(region: str, digits: str) -> bool:
    """Whether digits are the same number with a 0 before them and without it."""
    prefix, code = _prefix_and_code(region)
    return prefix == "0" and not digits.startswith(code)


@lru_cache(maxsize=512)
def _abroad(region: str) -> re.Pattern[str]:
    """What is dialed before a number of another country."""
    plan: Any = PhoneMetadata.metadata_for_region(region)
    return re.compile((plan and plan.international_prefix) or "(?!)")


def _trunk_follows(digits: str) -> bool:
    """Whether digits may be a country code and then a prefix that is not dialed from abroad: `49 0171 …`."""
    for length in (1, 2, 3):
        if prefix := _prefix_behind(digits[:length]):
            return bool((found := prefix.match(digits, length)) and found.end() > length)
    return False


@lru_cache(maxsize=2048)
def _prefix_behind(code: str) -> re.Pattern[str] | None:
    """What is dialed before a number within the country of that code; None if there is no such country."""
    regions = phonenumbers.COUNTRY_CODE_TO_REGION_CODE.get(int(code))
    if regions is None:
        return None
    plan: Any = PhoneMetadata.metadata_for_region_or_calling_code(int(code), regions[0])
    return re.compile(plan.national_prefix_for_parsing or "(?!)")


def _read(cell: str, region: str | None) -> Reading:
    """The readings of any text."""
    if len(cell) > _MOST_READ:
        return Reading(frozenset(), _why_not(cell, region))
    if tail := _DECIMAL.fullmatch(cell):
        cell = tail[1]  # a spreadsheet's number, and no digit of the telephone's
    found: set[str] = set()
    unread = doubtful = False
    written = "".join(map(_in_ascii, cell))
    if _SCIENTIFIC.search(written):
        return Reading(frozenset(), _why_not(cell, region))
    joined: set[str] = set()
    if _GROUPED.fullmatch(written):  # `4,155,550,100`
        joined = _of_digits(_digits(written), "+" in written, region)
    written = _EXTENSION.sub(" ; ", _DECIMAL_TAIL.sub(r"\1 ; ", written))
    before = None
    for place in _RUN.finditer(written):
        run = place[0]
        digits = _digits(run)
        if len(digits) < _LEAST_DIGITS:
            continue
        these = _of_run(run, region)
        if not these and before is not None:  # `415-555-0100, 555-0101`: without its area code
            these = _like(before, digits, region)
        if short := _SHORT.match(written, place.end()):
            these |= _like(run, short[1], region)
        found |= these
        unread = unread or not these
        doubtful = doubtful or (region is None and "+" not in run and not digits.startswith("00"))
        before = run if these else before
    # Of digits alone all has been asked already.
    whole = joined | (set() if found and cell.isdigit() else _as_phonenumbers_reads(cell, region))
    if not (found or whole) or (unread and not joined):
        return Reading(frozenset(found | whole), _why_not(cell, region))
    if doubtful:
        return Reading(frozenset(found | whole), _why_not(cell, region))
    return Reading(frozenset(found | whole))


def _of_run(run: str, region: str | None) -> set[str]:
    """The readings of digits with marks between them: one number, or several that follow each other."""
    run = run.strip()
    plus = "+" in run
    found = _of_digits(_digits(run), plus, region)
    if "(0)" in run:  # marks the 0 that is not dialed after a country code
        found |= _of_digits(_digits(run.replace("(0)", "")), plus, region)
    for brackets in re.finditer(r"\((\d{1,3})\)", run):
        if not plus:  # `(49) 89 …`: a country code
            found |= _of_digits(_digits(run[brackets.start() :]), True, region)
    if short := _SHORT.search(run):
        first = run[: short.start()]
        if one := _of_digits(_digits(first), plus, region):
            found |= one | _like(first, short[1], region)
    for first, second in _in_two(run):
        one = _of_digits(_digits(first), plus, region)
        other = _of_digits(_digits(second), "+" in second, region) if one else set()
        if other:
            found |= one | other
    return found


def _like(run: str, end: str, region: str | None) -> set[str]:
    """The readings of a number that is like another one but for its last digits."""
    digits = _digits(run)
    return _of_digits(digits[: -len(end)] + end, "+" in run, region) if len(end) < len(digits) else set()


def _in_two(run: str) -> Iterator[tuple[str, str]]:
    """Where one number may end and another begin: at any mark, and anywhere in what is too long for one."""
    least = _LEAST_DIGITS + 1
    for mark in _SEPARATOR.finditer(run):
        first, second = run[: mark.start()], run[mark.end() :]
        if len(_digits(first)) >= least and len(_digits(second)) >= least:
            yield first, second
    digits = _digits(run)
    if len(digits) > _MOST_DIGITS - 1:
        yield from ((digits[:at], digits[at:]) for at in range(least, len(digits) - least + 1))


def _of_digits(digits: str, plus: bool, region: str | None) -> set[str]:
    """All numbers that digits may stand for."""
    if len(digits) > _MOST_DIGITS + 3:  # three may be dialed to call abroad
        return set()
    written: list[tuple[str, str | None]] = []
    if plus:
        written = [("+" + digits.lstrip("0"), None)]
        if region is not None and _begins_nationally(digits, region):  # `+8 (495) …`, `+0171 …`
            written.append((digits, region))
    else:
        if digits.startswith("00"):
            written.append(("+" + digits.lstrip("0"), None))
        if region is not None:
            written.append((digits, region))
            if not digits.startswith("0"):
                written.append(("0" + digits, region))  # has lost its 0
            if region == "MX" and (old := _MEXICAN_PREFIX.fullmatch(digits)):
                written.append((old[1], region))
        if not digits.startswith("0"):
            written.append(("+" + digits, None))  # has lost its +
    return {phone for text, where in written if (phone := _number(text, where)) is not None}


def _number(text: str, region: str | None) -> str | None:
    """The number that phonenumbers reads, if its telephone has a valid one, and no digit was dropped."""
    try:
        number = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        return None
    phone = phonenumbers.format_number(number, PhoneNumberFormat.E164)
    dropped = text.startswith("+1") and len(phone) != len(text)
    if dropped or len(phone) > _MOST_DIGITS + 1:
        return None
    return phone if any(_is_valid(form) for form in forms(phone)) else None


def _begins_nationally(digits: str, region: str) -> bool:
    """Whether digits behind a + are a national number for all that: `+8 (495) …`, `+0171 …`."""
    prefix = _national_prefix(region)
    return prefix is not None and digits.startswith(prefix)


@lru_cache(maxsize=512)
def _national_prefix(region: str) -> str | None:
    """What is dialed before an area code, where no country code of its own begins so."""
    plan: Any = PhoneMetadata.metadata_for_region(region)
    prefix = plan.national_prefix if plan is not None else None
    return prefix if prefix and not str(plan.country_code).startswith(prefix) else None


def _is_valid(phone: str) -> bool:
    return line(phone[1:]) is not None or phonenumbers.is_valid_number(phonenumbers.parse(phone, None))


def _as_phonenumbers_reads(cell: str, region: str | None) -> set[str]:
    """What the loader reads, and phonenumbers of letters on keys and links with parameters."""
    found = set()
    with suppress(ValueError):
        found.add(e164(cell, region))
    if cell[:4].lower() == "tel:" or sum(c.isalpha() for c in cell) >= 3:
        try:
            number = phonenumbers.parse(cell, region)
        except phonenumbers.NumberParseException:
            return found
        if phonenumbers.is_valid_number(number):
            found.add(phonenumbers.format_number(number, PhoneNumberFormat.E164))
    return found


def _why_not(cell: str, region: str | None) -> str:
    try:
        e164(cell, region)
    except ValueError as error:
        return str(error)
    return "holds more than one number, of which one cannot be read; give each a row of its own"


def _digits(text: str) -> str:
    return "".join(c for c in text if c.isdigit())


def _in_ascii(mark: str) -> str:
    """The same digit or mark in ASCII, `;` for what parts two numbers."""
    parts = mark != "\t" and unicodedata.category(mark) in ("Cc", "Zl", "Zp")
    return ";" if parts else ascii_mark(mark)
