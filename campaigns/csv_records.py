"""The records of a CSV text, with the line where each begins. A broken record costs itself, not the rest."""

import csv
import re
import unicodedata
from collections import deque
from collections.abc import Collection, Iterator
from functools import lru_cache
from io import StringIO
from itertools import chain, islice
from typing import NamedTuple, TextIO

from campaigns.formulas import restored

DELIMITERS = ",;\t|"
_SEP_LINE = re.compile(r'"?sep=([^"\r\n])"?\1*\s*', re.IGNORECASE)
_LONGEST_SEP_LINE = 1_000
_TITLE_ROWS = 20
MAX_RECORD = 1 << 20
"""Characters of one record over all its lines: the bound on memory where a quotation mark is not closed."""
_UNCLOSED = (
    "a quotation mark on this line is not closed, or text follows a closing one; "
    'write "" for a quotation mark inside a cell'
)


CUT_OFF = "is cut off: the file ends inside of its quotation marks"
"""The problem of a record inside of whose quotation marks the file ends, without a line end."""

_TOO_LONG = "a cell on this line is too long to be one; shorten it, or put quotation marks around the cells"


class Record(NamedTuple):
    """One record. `line` counts from 1 and is where the record begins."""

    line: int
    cells: list[str]
    problem: str = ""
    """Not empty: the line could not be split. Then `cells` holds the line as it stands, in one cell."""
    blank_before_quote: bool = False
    """Whether a blank stands between a delimiter and a quotation mark, which is then a part of the cell."""


UNSEEN = re.compile("[\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff]")
"""Byte order marks, soft hyphens, marks of direction and the like, which copying leaves behind."""


@lru_cache(maxsize=4096)
def folded(name: str) -> str:
    """A column's name as it is compared.

    Without regard to case, to blanks and line breaks of all kinds, to how accents are composed, to what is
    not seen (byte order marks, soft hyphens, marks of direction), and to quotation marks around it.
    """
    plain = " ".join(UNSEEN.sub("", name).split())
    while len(plain) > 1 and plain[0] == plain[-1] == '"':
        plain = plain[1:-1].strip()
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", plain).casefold())


def sep_line(first_line: str) -> str | None:
    """The delimiter that a first line such as `sep=;` names (Excel writes and reads them), or None."""
    if len(first_line) > _LONGEST_SEP_LINE:
        return None  # the pattern takes quadratic time
    match = _SEP_LINE.fullmatch(first_line.removeprefix("\ufeff"))
    return match[1] if match else None


def likely_delimiter(sample: str, wanted: Collection[str]) -> str:
    """The delimiter under which the text looks most like a table.

    `sample` is the beginning of the text in whole lines, without a `sep=` line; `wanted` are names of
    columns that the header should have. A header that has them decides; then rows of equal width do.
    (csv.Sniffer raises on one column and finds delimiters inside of words.)
    """
    names = {folded(name) for name in wanted}

    def likeness(delimiter: str) -> tuple[int, int, bool, float, int]:
        reader = csv.reader(StringIO(sample, newline=""), delimiter=delimiter)
        rows = [row for row in islice(reader, 200) if row]
        if not rows:
            return 0, 0, False, 0.0, 0
        width = len(rows[0])
        hits = [len(names & {folded(restored(name)) for name in row}) for row in rows[:_TITLE_ROWS]]
        even = sum(len(row) == width for row in rows) / len(rows)
        # Where titles stand above the header, it is looked for below them, so that this can be said.
        return hits[0], max(hits), width > 1, even, width

    return max(DELIMITERS, key=likeness)  # the first of equals


def _drained(lines: deque[str]) -> Iterator[str]:
    while lines:
        yield lines.popleft()


def read_records(file: TextIO, delimiter: str) -> Iterator[Record]:
    """Every record of a file that was opened with newline="". Lines without any character are none.

    A record that cannot be split is given up at its first line, and reading goes on at the next one: a
    quotation mark that nobody closes must not swallow the people below it.

    An apostrophe before a formula, and `="…"` around a text, are a spreadsheet's marks for text, or ours,
    and no part of the cell.
    """
    first = 1
    # The lines of the current record, so that it can be given up, and those that are to be read once more.
    taken: list[str] = []
    again: deque[str] = deque()
    header = file.readline().removeprefix("\ufeff")
    if sep_line(header) is not None:
        first = 2
    elif header:
        again.append(header)

    at_end = False

    def lines() -> Iterator[str]:
        nonlocal at_end
        size, at_end = 0, False
        for line in chain(_drained(again), file):
            # Empty again: the reader has come to the end of a record.
            size = len(line) + (size if taken else 0)
            taken.append(line)
            if size > MAX_RECORD and len(taken) > 1:
                raise csv.Error
            yield line
        at_end = True

    while True:
        try:
            # A new reader after each broken record: the old one may still be inside of the quotes.
            for cells in csv.reader(lines(), delimiter=delimiter, strict=True):
                text = taken[0] if len(taken) == 1 else "".join(taken)
                blank = False
                if '"' in text:
                    blank = ' "' in text and _has_blank_before_quote(text, cells, delimiter)
                    if "'" in text or '="' in text:
                        cells = [restored(cell) for cell in cells]
                elif "'" in text:
                    cells = [restored(cell) for cell in cells]
                if cells:
                    yield Record(first, cells, "", blank)
                first += len(taken)
                taken.clear()
            return
        except csv.Error:
            broken, *others = taken
            again.extendleft(reversed(others))
            taken.clear()
            problem = _TOO_LONG if len(broken) > csv.field_size_limit() else _UNCLOSED
            if at_end and not (others or [broken])[-1].endswith(("\n", "\r")):
                problem = CUT_OFF
            yield Record(first, [broken.rstrip("\r\n")], problem)
            first += 1


def _has_blank_before_quote(text: str, cells: list[str], delimiter: str) -> bool:
    """Whether a cell with blanks and a quotation mark in front stands in the text just like that.

    Where the cell was written in quotation marks itself, its own ones stand there twice.
    """
    return any(
        cell[:1] == " "
        and cell.lstrip(" ")[:1] == '"'
        and (delimiter + cell in text or text.startswith(cell))
        for cell in cells
    )
