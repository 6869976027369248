"""CSV cells that a spreadsheet would take for formulas: written as text, and read back as they were.

A list comes from outside, and what is written from it is opened in Excel or LibreOffice, which run a cell
such as `=HYPERLINK(…)` (CWE-1236). An apostrophe in front makes it text. Every cell that is a formula behind
any number of apostrophes, none among them, gets one more, so that reading restores exactly what was written.
"""

import re


def _range(first: int, last: int) -> str:
    return f"{re.escape(chr(first))}-{re.escape(chr(last))}"


# Spreadsheets drop some of these before they look for a formula, and which ones differs by version and by
# how a file is opened: control characters, blanks, and what has no width.
_PASSED_OVER = "".join(
    _range(first, last)
    for first, last in (
        (0x00, 0x20),
        (0x7F, 0xA0),
        (0xAD, 0xAD),
        (0x061C, 0x061C),
        (0x1680, 0x1680),
        (0x180E, 0x180E),
        (0x2000, 0x200F),
        (0x2028, 0x202F),
        (0x205F, 0x206F),
        (0x3000, 0x3000),
        (0xFEFF, 0xFEFF),
    )
)
# The full-width and the small forms count in East Asian versions of Excel.
_SIGNS = "=+\\-@\uff1d\uff0b\uff0d\uff20\ufe62\ufe63\ufe66\ufe6b"
_FORMULA = re.compile(f"'*(?:[\t\r\n]|[{_PASSED_OVER}]*[{_SIGNS}])")
# Telephone numbers, amounts, a dash: without letters and operators there is no function and no reference.
_NUMBER = re.compile("'*[ \u00a0]*[+-][0-9 \u00a0.,()-]*")
_AS_TEXT = re.compile('="([^"]*)"')
_LONGEST_TEXT = 255
"""Characters of a text in a formula; Excel takes no more."""
_MAY_BEGIN_ONE = re.compile(f"['{_PASSED_OVER}{_SIGNS}]")


def defused(cell: str) -> str:
    """Return the cell with an apostrophe in front if a spreadsheet may take it for a formula.

    What consists of a sign, digits, blanks, dots, commas, parentheses and hyphens only, such as
    `+14155550101` and `-12.5`, is none.
    """
    # Most cells begin with a letter or a digit, and a results file has millions of them.
    return f"'{cell}" if _MAY_BEGIN_ONE.match(cell) and _is_formula(cell) else cell


def as_text(cell: str) -> str:
    """Return the cell as a formula that gives its text, if it has digits: `="+14155550101"`; else defused.

    In a CSV file Excel takes +14155550101, 007 and 3-4 for numbers and a date: 1.41556E+10, 7 and 4 March.
    """
    plain = cell.isprintable() and '"' not in cell and len(cell) <= _LONGEST_TEXT
    return f'="{cell}"' if plain and any(map(str.isdecimal, cell)) else defused(cell)


def restored(cell: str) -> str:
    """Return the cell without the apostrophe, or the `="…"`, that we or a spreadsheet have put there.

    restored(defused(cell)) == restored(as_text(cell)) == cell, whatever is in it.
    """
    if cell.startswith("'"):
        return cell[1:] if _is_formula(cell) else cell
    text = _AS_TEXT.fullmatch(cell) if cell.startswith('="') else None
    return text[1] if text else cell


def _is_formula(cell: str) -> bool:
    # Both look behind all apostrophes, so one more or one less makes no difference to the answer.
    return _FORMULA.match(cell) is not None and _NUMBER.fullmatch(cell) is None
