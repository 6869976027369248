"""The records of a CSV text, with the line where each begins. A broken record costs itself, not the rest."""

import csv
import re
from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from io import StringIO
from itertools import islice
from typing import TextIO

DELIMITERS = ",;\t|"
_SEP_LINE = re.compile(r'"?sep=([^"\r\n])"?\1*\s*', re.IGNORECASE)
_UNCLOSED = (
    "a quotation mark on this line is not closed, or text follows a closing one; "
    'write "" for a quotation mark inside a cell'
)


@dataclass(frozen=True, slots=True)
class Record:
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
        header = {folded(name) for name in rows[0]}
        even = sum(len(row) == width for row in rows) / len(rows)
        return len(names & header), width > 1, even, width

    return max(DELIMITERS, key=likeness)  # the first of equals


def read_records(file: TextIO, delimiter: str) -> Iterator[Record]:
    """Every record of a file that was opened with newline="". Lines without any character are none.

    A record that cannot be split is given up at its first line, and reading goes on at the next one: a
    quotation mark that nobody closes must not swallow the people below it.
    """
    lines = _Lines(file)
    while True:
        # A new reader after each broken record: the old one may still be inside of the quotes.
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        try:
            for cells in reader:
                if cells:
                    yield Record(lines.first, cells)
                lines.begin()
            return
        except csv.Error:
            line = lines.first
            broken = lines.give_up_first()
            yield Record(line, [broken.rstrip("\r\n")], _UNCLOSED)


class _Lines:
    """Physical lines, which remember those of the current record so that it can be given up."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._again: deque[str] = deque()
        self._taken: list[str] = []
        self.first = 1
        """The number of the line where the current record begins."""
        line = file.readline().removeprefix("\ufeff")
        if sep_line(line) is not None:
            self.first = 2
        elif line:
            self._again.append(line)

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else next(self._file)
        self._taken.append(line)
        return line

    def begin(self) -> None:
        """The current record is complete."""
        self.first += len(self._taken)
        self._taken.clear()

    def give_up_first(self) -> str:
        """Return the first line of the current record; the other lines will be read again."""
        broken, *others = self._taken
        self._again.extendleft(reversed(others))
        self.first += 1
        self._taken = []
        return broken
