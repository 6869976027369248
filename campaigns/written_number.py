"""The text of a cell → the digits of one number. Anything else is refused, with what to do about it."""

import re
import unicodedata
from functools import lru_cache
from typing import NamedTuple

LONGEST = 40
"""Characters of a cell that the fast way reads; no number is longer, however it is written."""
MOST_READ = 1_000
"""Characters of a cell that is read at all, so that a page of text takes no time."""

TWO_NUMBERS = "holds more than one number; keep one, and give the other a row of its own"
NO_NUMBER = "is not a telephone number; write its digits, with + and the country code in front"

_SCIENTIFIC = re.compile(r"[+-]?\d+(?:[.,]\d*)?e[+-]?\d+", re.IGNORECASE)
_DECIMAL_TAIL = re.compile(r"\+?\d{5,}[.,]0+")
_THOUSANDS = re.compile(r"\d{1,3}(?:(?:,\d{3}){2,}(?:\.\d+)?|(?:'\d{3}){2,}(?:[.,]\d+)?|(?:\.\d{3}){2,},\d+)")
# "x12", "ext. 12", ";ext=12", "#12" and what other languages write; then pauses: "…,,12", "…;12", "…p12".
EXTENSION = re.compile(
    r"\d[\s).,;-]*(?:(?:ext(?:ension|n)?|x|#|доб|poste|durchwahl|dw|anexo|ramal|int)[\s.:=]*\d+[\s#]*"
    r"|[,;pw]+\s*\d{1,6})",
    re.IGNORECASE,
)
# Google Contacts writes ":::" between the values of one field, Outlook and FileMaker a vertical tab.
_BREAKS = "\r\n\v\f\x1c\x1d\x1e\x85\u2028\u2029"
_BETWEEN_TWO = re.compile(
    rf"\d[^\d]*(?:[,;|&{_BREAKS}]|:::|\.\.|…|~|\b(?:or|and|to|oder|und|bis|ou|et|à|y|o|al)\b)[^\d]*\d",
    re.IGNORECASE,
)
# "23125-10-19": all numbers from -10 to -19. Where lengths are open, it would be read as one longer number.
RANGE = re.compile(r"\d{4}\s*-\s*(?:\d\s*-\s*\d|\d\d\s*-\s*\d\d|\d{3}\s*-\s*\d{3})\s*$")
_PARAMETER = re.compile(r";(?!ext)[a-z-]+=", re.IGNORECASE)
_WRITTEN = re.compile(r"\(?\+?[ \t(]*\d[\d \t().\-/]*")
_SHAPE = bytes.maketrans(b"023456789", b"111111111")
_MARKS = b"() \t-./"


class Marks(NamedTuple):
    """What the marks between the digits say; equal for all cells with digits in the same places."""

    groups: tuple[int, ...]
    """How many digits each group has."""
    bracketed: bool
    """The first group is in brackets."""
    after_plus: int
    """Digits of the group behind a +, if they may be too few for a country code; else 0."""
    odd: bool
    """There may be a (0), or a range at the end: the cell has to be read closely."""


BARE = Marks((), False, 0, False)
"""Digits alone."""
_UNKNOWN = Marks((), False, 0, True)
_CODE_ALONE = re.compile(r"[^\d+]*\+[^\d]*(\d{1,2})(?!\d)")


def digits_of(text: str) -> tuple[str, Marks]:
    """The digits of a cell, with a + in front if it has one; and what the marks between them say.

    Raises ValueError for what is not one number; its text completes a sentence that begins with the cell.
    """
    # As bytes, in which marks are replaced ten times as fast.
    if len(text) <= LONGEST and text.isascii():
        cell = text.encode()
        if marks := _marks(cell.translate(_SHAPE)):
            return cell.translate(None, _MARKS).decode(), marks
    return read_slowly(text), _UNKNOWN


def read_slowly(text: str) -> str:
    """The same of any text."""
    written = plain(text)
    # However many digits there are: then there is something better to say.
    if not (written.startswith("+") and written[1:].isdecimal()):
        _refuse_what_is_not_one_number(written)
    digits = "".join(c for c in written if c.isdecimal())
    return f"+{digits}" if "+" in written else digits


def plain(text: str) -> str:
    """The cell's digits and marks in ASCII, without what spreadsheets and links put around a number."""
    return _unwrapped(_in_ascii(text).strip())


def _in_ascii(text: str) -> str:
    # Not NFKC, which would turn a footnote's ² into one more digit.
    return text if text.isascii() else "".join(ascii_mark(c) for c in text)


def ascii_mark(mark: str) -> str:
    """The same digit or mark in ASCII; nothing for what is not seen."""
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
def _marks(shape: bytes) -> Marks | None:
    """None unless it is one number and nothing else, whatever digits stand in place of the ones."""
    written = shape.decode().strip(" \t")
    try:
        # Two rules ask which digits: beside a slash ones are the worst, behind a point zeros are.
        _refuse_what_is_not_one_number(written)
        _refuse_what_is_not_one_number(written.replace("1", "0"))
    except ValueError:
        return None
    alone = _CODE_ALONE.match(written)
    return Marks(
        tuple(len(group) for group in re.findall("1+", written)),
        written.startswith("("),
        len(alone[1]) if alone else 0,
        bool(re.search(r"\(\s*1\s*\)", written) or RANGE.search(written)),
    )


def _refuse_what_is_not_one_number(written: str) -> None:
    if not written:
        raise ValueError("is empty; fill in the number or remove the row")
    if len(written) > 200:  # also because the patterns below take quadratic time
        raise ValueError(NO_NUMBER)
    if _SCIENTIFIC.fullmatch(written):
        # Echoed because a spreadsheet may show the column quite differently.
        raise ValueError(f"'{written}' has lost its digits; format the column as text and export again")
    if _DECIMAL_TAIL.fullmatch(written):
        raise ValueError("was exported as a decimal number; format the column as text and export again")
    if _THOUSANDS.fullmatch(written):
        raise ValueError("has thousands separators; format the column as text and export again")
    if _PARAMETER.search(written):
        raise ValueError("is a link with parameters; write the number alone, with + and the country code")
    if match := EXTENSION.search(written):
        if match.end() == len(written):
            raise ValueError("has an extension, which Connect cannot dial; move it to a column of its own")
        raise ValueError(TWO_NUMBERS)
    if _BETWEEN_TWO.search(written) or written.count("+") > 1 or _is_slashed_pair(written):
        raise ValueError(TWO_NUMBERS)
    if any(c.isalpha() for c in written):
        kept = "has letters in it; write the number in digits only"
        raise ValueError(kept if any(c.isdecimal() for c in written) else NO_NUMBER)
    if not _WRITTEN.fullmatch(written):
        raise ValueError(NO_NUMBER)


def _is_slashed_pair(written: str) -> bool:
    """`030/2312512` sets off an area code; `2312512/13` and `2312512/2312513` are two numbers."""
    if "/" not in written:
        return False
    before, _, after = written.partition("/")
    left, right = (sum(c.isdecimal() for c in part) for part in (before, after))
    longest_area = 9 if before.lstrip(" (").startswith(("+", "0")) else 5
    return left > 0 and right > 0 and ("/" in after or left > longest_area or right < 5)
