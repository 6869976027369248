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
_MAY_BEGIN_ONE = re.compile(f"['{_PASSED_OVER}{_SIGNS}]")


def defused(cell: str) -> str:
    """Return the cell with an apostrophe in front if a spreadsheet may take it for a formula.

    What consists of a sign, digits, blanks, dots, commas, parentheses and hyphens only, such as
    `+14155550101` and `-12.5`, is none.
    """
    # Most cells begin with a letter or a digit, and a results file has millions of them.
    return f"'{cell}" if _MAY_BEGIN_ONE.match(cell) and _is_formula(cell) else cell


def restored(cell: str) -> str:
    """Return the cell without the apostrophe that `defused` or a spreadsheet has put in front.

    restored(defused(cell)) == cell, whatever is in it.
    """
    return cell[1:] if cell.startswith("'") and _is_formula(cell) else cell


def _is_formula(cell: str) -> bool:
    # Both look behind all apostrophes, so one more or one less makes no difference to the answer.
    return _FORMULA.match(cell) is not None and _NUMBER.fullmatch(cell) is None
