"""A telephone number as people write it → E.164. Digits are never guessed, dropped or made up."""

import re
import unicodedata
from functools import lru_cache

import phonenumbers
from phonenumbers import PhoneNumber, PhoneNumberFormat, ValidationResult

from campaigns.numbering_plan import as_dialed, line

_SCIENTIFIC = re.compile(r"[+-]?\d+(?:[.,]\d*)?e[+-]?\d+", re.IGNORECASE)
_DECIMAL_TAIL = re.compile(r"\+?\d{5,}[.,]0+")
# "x12", "ext. 12", ";ext=12", "#12" and what other languages write; then pauses: "…,,12", "…;12", "…p12".
_EXTENSION = re.compile(
    r"\d[\s).,;-]*(?:(?:ext(?:ension|n)?|x|#|доб|poste|durchwahl|dw|anexo|ramal|int)[\s.:=]*\d+[\s#]*"
    r"|[,;pw]+\s*\d{1,6})",
    re.IGNORECASE,
)
_BETWEEN_TWO = re.compile(r"\d[^\d]*(?:[,;|&\r\n]|\b(?:or|and|oder|und|ou|et|y|o)\b)[^\d]*\d", re.IGNORECASE)
_PARAMETER = re.compile(r";(?!ext)[a-z-]+=", re.IGNORECASE)
_WRITTEN = re.compile(r"\(?\+?[ \t(]*\d[\d \t().\-/]*")
_LONGEST = 40  # characters; no number is longer, however it is written
_MOST_READ = 1_000  # characters of a cell that is looked at, so that a page of text takes no time
_MOST_DIGITS = 15
"""E.164 has no longer number, though some plans do (Germany's), nor does Connect or the ledger take one."""
_BARE = re.compile(rf"\+?[0-9]{{1,{_LONGEST - 1}}}")
_SHAPE = bytes.maketrans(b"023456789", b"111111111")
_MARKS = b"() \t-./"
_TWO_NUMBERS = "holds more than one number; keep one, and give the other a row of its own"
_NO_NUMBER = "is not a telephone number; write its digits, with + and the country code in front"


def e164(text: str, default_region: str | None) -> str:
    """`(415) 555-0100` in the US → `+14155550100`.

    `default_region` (two letters) is where a number without a country code is taken to be; with None such
    a number is refused. `00` in front means `+` everywhere, also where people dial 011 for it.
    Raises ValueError, whose text completes a sentence that begins with the cell and says what to do.
    """
    if len(text) > _MOST_READ:
        raise ValueError(_NO_NUMBER)
    number = text if _BARE.fullmatch(text) else _one_number(text)
    certain = None
    if len(number) > _LONGEST:
        pass  # nothing that long is to be remembered
    elif number.startswith("+"):
        certain = number if line(number[1:]) else None
    elif default_region:
        certain = as_dialed(number, default_region)
    found = certain or _by_phonenumbers(number, default_region)
    if len(found) > _MOST_DIGITS + 1:
        raise ValueError("has too many digits for one number; check the digits")
    return found


def _by_phonenumbers(number: str, region: str | None) -> str:
    """The same of digits alone, or with a + in front. Of what is not certain it has the last word."""
    readings = _readings(number, region)
    valid = {
        phonenumbers.format_number(reading, PhoneNumberFormat.E164)
        for reading in readings
        if reading is not None and phonenumbers.is_valid_number(reading)
    }
    if len(valid) > 1:
        raise ValueError("can be read as two different numbers; write it with + and the country code")
    if not valid:
        raise ValueError(_why_invalid(number, readings[0], region))
    return valid.pop()


def _readings(number: str, region: str | None) -> list[PhoneNumber | None]:
    """Every number that these digits may stand for; None for one that cannot be read at all."""
    if number.startswith("+"):
        return [_parsed(number, None)]
    readings = []
    if number.startswith("00"):
        readings.append(_parsed("+" + number[2:], None))
    # "0011…" is how Australia dials abroad, so the region has its say about zeros too.
    if region is not None:
        readings.append(_parsed(number, region))
    if not readings:
        raise ValueError("has no country code; write +… or set default_region in the campaign's [list]")
    return readings


def _parsed(digits: str, region: str | None) -> PhoneNumber | None:
    try:
        return phonenumbers.parse(digits, region)
    except phonenumbers.NumberParseException:
        return None


def _one_number(text: str) -> str:
    """Its digits, with a + in front if it has one. Raises ValueError as e164 does."""
    # As bytes, in which marks are replaced ten times as fast.
    if len(text) <= _LONGEST and text.isascii() and _is_one_number((cell := text.encode()).translate(_SHAPE)):
        return cell.translate(None, _MARKS).decode()
    return _read(text)


def _read(text: str) -> str:
    """The same of any text."""
    written = _unwrapped(_in_ascii(text).strip())
    # However many digits there are: then there is something better to say.
    if not (written.startswith("+") and written[1:].isdecimal()):
        _refuse_what_is_not_one_number(written)
    digits = "".join(c for c in written if c.isdecimal())
    return f"+{digits}" if "+" in written else digits


def _in_ascii(text: str) -> str:
    """The same digits and marks in ASCII.

    Not NFKC, which would turn a footnote's ² into one more digit.
    """
    return text if text.isascii() else "".join(_ascii_mark(c) for c in text)


def _ascii_mark(mark: str) -> str:
    category = unicodedata.category(mark)
    if category == "Nd":
        return str(unicodedata.decimal(mark))
    if "\uff01" <= mark <= "\uff5e":  # the full-width twins of ASCII
        return chr(ord(mark) - 0xFEE0)
    if category == "Cf" or "\ufe00" <= mark <= "\ufe0f":  # bidi, zero-width, variation selectors
        return ""
    if category == "Zs":
        return " "
    if category == "Pd" or mark in "\u2212\u30fc":  # minus, and the long-vowel mark that Japan types for it
        return "-"
    return "'" if mark in "\u2018\u2019\u02bc" else mark


def _unwrapped(written: str) -> str:
    """Without what spreadsheets and links put around a number: `'+1…`, `="+1…"`, `tel:+1…`."""
    if written.startswith('="') and written.endswith('"'):
        written = written[2:-1].strip()
    written = written.removeprefix("'").lstrip()
    return written[4:].lstrip() if written[:4].lower() == "tel:" else written


@lru_cache(maxsize=4096)
def _is_one_number(shape: bytes) -> bool:
    """Whether it is one number and nothing else, whatever digits stand in place of the ones."""
    written = shape.decode().strip(" \t")
    try:
        # Two rules ask which digits: beside a slash ones are the worst, behind a point zeros are.
        _refuse_what_is_not_one_number(written)
        _refuse_what_is_not_one_number(written.replace("1", "0"))
    except ValueError:
        return False
    return True


def _refuse_what_is_not_one_number(written: str) -> None:
    if not written:
        raise ValueError("is empty; fill in the number or remove the row")
    if len(written) > 200:  # also because the patterns below take quadratic time
        raise ValueError(_NO_NUMBER)
    if _SCIENTIFIC.fullmatch(written):
        # Echoed because a spreadsheet may show the column quite differently.
        raise ValueError(f"'{written}' has lost its digits; format the column as text and export again")
    if _DECIMAL_TAIL.fullmatch(written):
        raise ValueError("was exported as a decimal number; format the column as text and export again")
    if _PARAMETER.search(written):
        raise ValueError("is a link with parameters; write the number alone, with + and the country code")
    if match := _EXTENSION.search(written):
        if match.end() == len(written):
            raise ValueError("has an extension, which Connect cannot dial; move it to a column of its own")
        raise ValueError(_TWO_NUMBERS)
    if _BETWEEN_TWO.search(written) or written.count("+") > 1 or _is_slashed_pair(written):
        raise ValueError(_TWO_NUMBERS)
    if any(c.isalpha() for c in written):
        kept = "has letters in it; write the number in digits only"
        raise ValueError(kept if any(c.isdecimal() for c in written) else _NO_NUMBER)
    if not _WRITTEN.fullmatch(written):
        raise ValueError(_NO_NUMBER)


def _is_slashed_pair(written: str) -> bool:
    """`030/2312512` sets off an area code; `2312512/13` and `2312512/2312513` are two numbers."""
    if "/" not in written:
        return False
    before, _, after = written.partition("/")
    left, right = (sum(c.isdecimal() for c in part) for part in (before, after))
    longest_area = 9 if before.lstrip(" (").startswith(("+", "0")) else 5
    return left > 0 and right > 0 and ("/" in after or left > longest_area or right < 5)


def _why_invalid(number: str, reading: PhoneNumber | None, region: str | None) -> str:
    digits, guessed_region = number.removeprefix("+"), None if number.startswith("+") else region
    possible = None if reading is None else phonenumbers.is_possible_number_with_reason(reading)
    too_short = (ValidationResult.TOO_SHORT, ValidationResult.IS_POSSIBLE_LOCAL_ONLY)
    if len(digits) > 15 or possible == ValidationResult.TOO_LONG:
        problem = "has too many digits for one number"
    elif len(digits) < 5 or possible in too_short:
        problem = "has too few digits"
    elif reading is None:
        problem = "has a country code that does not exist"
    else:
        problem = f"is no number that country code +{reading.country_code} can have"
    otherwise = (
        f", or write + and the country code if it is not in {guessed_region}" if guessed_region else ""
    )
    return f"{problem}; check the digits{otherwise}"
