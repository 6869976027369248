"""The records of a CSV text, with the line where each begins. A broken record costs itself, not the rest."""

import csv
import re
from collections import deque
from collections.abc import Collection, Iterator
from io import StringIO
from itertools import chain, islice
from typing import NamedTuple, TextIO

from campaigns.formulas import restored

DELIMITERS = ",;\t|"
_SEP_LINE = re.compile(r'"?sep=([^"\r\n])"?\1*\s*', re.IGNORECASE)
_LONGEST_SEP_LINE = 1_000
MAX_RECORD = 1 << 20
"""Characters of one record over all its lines: the bound on memory where a quotation mark is not closed."""
_UNCLOSED = (
    "a quotation mark on this line is not closed, or text follows a closing one; "
    'write "" for a quotation mark inside a cell'
)


_TOO_LONG = "a cell on this line is too long to be one; shorten it, or put quotation marks around the cells"


class Record(NamedTuple):
    """One record. `line` counts from 1 and is where the record begins."""

    line: int
    cells: list[str]
    problem: str = ""
    """Not empty: the line could not be split. Then `cells` holds the line as it stands, in one cell."""


def folded(name: str) -> str:
    """A column's name as it is compared: without regard to case, outer space and byte order marks."""
    return name.strip().strip("\ufeff").strip().casefold()


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

    def likeness(delimiter: str) -> tuple[int, bool, float, int]:
        reader = csv.reader(StringIO(sample, newline=""), delimiter=delimiter)
        rows = [row for row in islice(reader, 200) if row]
        if not rows:
            return 0, False, 0.0, 0
        width = len(rows[0])
        header = {folded(restored(name)) for name in rows[0]}
        even = sum(len(row) == width for row in rows) / len(rows)
        return len(names & header), width > 1, even, width

    return max(DELIMITERS, key=likeness)  # the first of equals


def _drained(lines: deque[str]) -> Iterator[str]:
    while lines:
        yield lines.popleft()


def read_records(file: TextIO, delimiter: str) -> Iterator[Record]:
    """Every record of a file that was opened with newline="". Lines without any character are none.

    A record that cannot be split is given up at its first line, and reading goes on at the next one: a
    quotation mark that nobody closes must not swallow the people below it.

    An apostrophe before a formula is a spreadsheet's mark for text, or ours, and no part of the cell.
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

    def lines() -> Iterator[str]:
        size = 0
        for line in chain(_drained(again), file):
            # Empty again: the reader has come to the end of a record.
            size = len(line) + (size if taken else 0)
            taken.append(line)
            if size > MAX_RECORD and len(taken) > 1:
                raise csv.Error
            yield line

    while True:
        try:
            # A new reader after each broken record: the old one may still be inside of the quotes.
            for cells in csv.reader(lines(), delimiter=delimiter, strict=True):
                if "'" in "".join(taken):
                    cells = [restored(cell) for cell in cells]
                if cells:
                    yield Record(first, cells)
                first += len(taken)
                taken.clear()
            return
        except csv.Error:
            broken, *others = taken
            again.extendleft(reversed(others))
            taken.clear()
            too_long = len(broken) > csv.field_size_limit()
            yield Record(first, [broken.rstrip("\r\n")], _TOO_LONG if too_long else _UNCLOSED)
            first += 1
