"""A file of numbers that are not to be called → ListedNumber | RejectedRow. Streams, as call_list.py does.

Such files are often one column without a header; then the first row is a number, too. What a cell may mean is
every_reading.py's to say: each number that it may be is listed.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TextIO

from campaigns.call_list import NOTE_COLUMNS, RejectedRow
from campaigns.csv_records import DELIMITERS, Record, folded, likely_delimiter, read_records, sep_line
from campaigns.every_reading import Reading, every_reading
from campaigns.list_columns import MAX_COLUMNS, refuse_too_many, unique_names
from campaigns.listed_number import ListedNumber, dated
from campaigns.mistake import Mistake
from campaigns.national_list import is_national_xml, national_row
from campaigns.national_numbers import NationalNumbers
from campaigns.same_telephone import forms
from campaigns.text_file import TextFormat, text_format

REASON_COLUMNS = ("reason",)
DATE_COLUMNS = ("date", "added_at")
"""Columns that are taken where the file has them, the first of these names that it has."""

LONGEST_REASON = 1_000
_SAMPLE_CHARACTERS = 1 << 16
_SAMPLE_ROWS = 50
_LEAST_DIGITS = 7  # of what is taken for a number in a column that was not asked for
_NOT_STORABLE = re.compile(r"[\x00\ud800-\udfff]")


class NumberList:
    """A list of numbers, ready to be read: iterate for one ListedNumber or RejectedRow per row."""

    def __init__(
        self, path: Path, text: TextFormat, delimiter: str, header: Sequence[str] | None, options: "Options"
    ) -> None:
        self.path = path
        self.delimiter = delimiter
        self.size_bytes = path.stat().st_size
        self.rows_read = 0
        self.bytes_read = 0
        self.empty_rows = 0
        """Rows without any number, where there are several columns for them."""
        self.ambiguous = 0
        """Cells that may mean more than one telephone, all of which are listed."""
        self._text = text
        self._options = options
        self._has_header = header is not None
        # A corrected rejects file is a list like any other, apart from the notes in front.
        notes = tuple(folded(name) for name in (header or ())[: len(NOTE_COLUMNS)]) == NOTE_COLUMNS
        self._notes = len(NOTE_COLUMNS) if notes else 0
        names = [options.column] if header is None else list(header[self._notes :])
        if text.damaged:
            names = [_NOT_STORABLE.sub("\ufffd", name) for name in names]
        self.columns: tuple[str, ...] = unique_names(names)
        self._least_cells = max((i + 1 for i, name in enumerate(names) if folded(name)), default=0)
        self._phones = tuple(dict.fromkeys(self._place(name, names) for name in options.columns))
        # A number's column may be called that, too.
        self._reason = _first(REASON_COLUMNS, names, self._phones)
        self._date = _first(DATE_COLUMNS, names, self._phones)
        self.unread_columns: tuple[str, ...] = ()
        """Columns that look as if they held numbers, and are not read."""

    def __iter__(self) -> Iterator[ListedNumber | RejectedRow]:
        self.rows_read = self.bytes_read = self.empty_rows = self.ambiguous = 0
        try:
            with _opened(self.path, self._text) as file:
                records = read_records(file, self.delimiter)
                if self._has_header:
                    next(records, None)
                for record in records:
                    self.rows_read += 1
                    if self.rows_read % 500 == 0:
                        self.bytes_read = file.buffer.tell()
                    yield from self._row(record)
            self.bytes_read = self.size_bytes
        except OSError as error:
            raise Mistake(f"{self.path}: cannot be read: {error.strerror}") from None

    def notice_other_numbers(self, sample: Iterable[Record]) -> None:
        """Say which other columns seem to hold numbers, by some of the rows."""
        others = [i for i in range(len(self.columns)) if i not in (*self._phones, self._reason, self._date)]
        numbers = dict.fromkeys(others, 0)
        filled = dict.fromkeys(others, 0)
        for record in sample:
            cells = record.cells[self._notes :]
            for i in others:
                if not record.problem and i < len(cells) and cells[i].strip():
                    filled[i] += 1
                    digits = sum(c.isdecimal() for c in cells[i])
                    numbers[i] += digits >= _LEAST_DIGITS and bool(self._reading(cells[i]).phones)
        self.unread_columns = tuple(self.columns[i] for i in others if numbers[i] > filled[i] // 2)

    def _row(self, record: Record) -> Iterator[ListedNumber | RejectedRow]:
        cells = record.cells
        if self._text.damaged:
            # Whoever gets this row writes it as UTF-8 without NULs. No number is made of what is put there.
            cells = [_NOT_STORABLE.sub("\ufffd", cell) for cell in cells]
        if record.problem:
            yield self._rejected(record.line, "", record.problem, cells)
            return
        cells = cells[self._notes :]
        if not self._least_cells <= len(cells) <= len(self.columns):
            # What a delimiter without quotation marks has moved may be another number.
            count = f"{len(cells)} cell" + "s" * (len(cells) != 1)
            problem = f"has {count} where there are {len(self.columns)} columns; one number a row"
            yield self._rejected(record.line, "", problem, cells)
            return
        places = self._phones
        if len(places) > 1 and not (places := tuple(i for i in places if cells[i].strip())):
            self.empty_rows += 1
            return
        reason = "" if self._reason is None else " ".join(cells[self._reason].split())[:LONGEST_REASON]
        date = "" if self._date is None else cells[self._date].strip()
        if len(places) == 1:
            only = every_reading(cells[places[0]], self._options.default_region)
            if not only.problem and len(only.phones) == 1:  # as nearly always
                (number,) = only.phones
                yield dated(number, reason, date)
                return
        problems = []
        listed: set[str] = set()
        for place in places:
            reading = self._reading(cells[place])
            if reading.problem:
                problems.append((self.columns[place], reading.problem))
            phones = _telephones(reading)
            self.ambiguous += len(phones) > 1
            for phone in phones:
                if phone not in listed:
                    listed.update(forms(phone))
                    yield dated(phone, reason, date)
        if problems:
            (column, problem), *others = problems
            also = "".join(f'; "{name}" {words}' for name, words in others)
            yield self._rejected(record.line, column, problem + also, cells)

    def _reading(self, cell: str) -> Reading:
        phones, problem = every_reading(cell, self._options.default_region)
        return Reading(phones, problem and no_number(problem))

    def _rejected(self, line: int, column: str, reason: str, cells: list[str]) -> RejectedRow:
        # What is beyond stands in the file still.
        cells = cells[: max(MAX_COLUMNS, len(self.columns))]
        names = [*self.columns, *(f"column {i + 1}" for i in range(len(self.columns), len(cells)))]
        return RejectedRow(line, column, reason, dict(zip(unique_names(names), cells, strict=False)))

    def _place(self, column: str, names: Sequence[str]) -> int:
        hits = [i for i, name in enumerate(names) if folded(name) == folded(column)]
        if len(hits) > 1:
            places = " and ".join(str(i + 1) for i in hits)
            raise Mistake(f'{self.path}: columns {places} are both called "{column}"; rename one of them')
        if hits:
            return hits[0]
        if len(self.columns) == 1:
            return 0  # whatever it is called
        shown = ", ".join(f'"{name[:40]}"' for name in self.columns[:20])
        raise Mistake(
            f'{self.path}: has no column "{column}"; its columns are {shown}; name the one with the numbers '
            "(or each of several): --column NAME"
        )


@dataclass(frozen=True, slots=True)
class Options:
    """How a file of numbers is read."""

    column: str = "phone"
    default_region: str | None = None
    """Two letters: where numbers without a country code are."""
    more_columns: tuple[str, ...] = ()
    """Other columns with numbers. An empty cell is no mistake where there are several."""

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns with numbers."""
        return (self.column, *self.more_columns)


def open_number_list(path: Path, options: Options) -> NumberList | NationalNumbers:
    """Find out the file's encoding, delimiter and columns. No file stays open.

    Raises Mistake, in one line with the remedy, for everything that makes the file as a whole unusable.
    """
    try:
        if path.is_file() and is_national_xml(path):
            return NationalNumbers(path, options.default_region)
    except OSError as error:
        raise Mistake(f"{path}: cannot be read: {error.strerror}") from None
    text = text_format(path)
    try:
        with _opened(path, text) as file:
            named = sep_line(file.readline())
            if named is None:
                file.seek(0)
            if named is not None and named not in DELIMITERS:
                raise Mistake(f'{path}: its sep= line names "{named}"; use a comma, semicolon, tab or pipe')
            sample = file.read(_SAMPLE_CHARACTERS).removeprefix("\ufeff")
            delimiter = named or likely_delimiter(sample[: sample.rfind("\n") + 1] or sample, options.columns)
        with _opened(path, text) as file:
            rows = list(islice(read_records(file, delimiter), _SAMPLE_ROWS))
            first = rows[0] if rows else None
    except OSError as error:
        raise Mistake(f"{path}: cannot be read: {error.strerror}") from None
    if first is None or not any(folded(cell) for cell in first.cells):
        raise Mistake(f"{path}: its first row is empty; it must be a number, or name the columns")
    if first.problem:
        raise Mistake(f"{path}: line {first.line}: cannot be split: {first.problem}")
    refuse_too_many(path, first.cells)
    national = [row.cells for row in rows[:2] if len(row.cells) > 1 and national_row(row.line, row.cells)]
    has_header = not any(_looks_like_a_number(cell) for cell in first.cells)
    if national and (has_header or national[0] is first.cells):
        region = options.default_region
        return NationalNumbers(
            path,
            region,
            text=text,
            delimiter=delimiter,
            has_header=has_header,
            may_have_changes=len(national[0]) > 2,
        )
    if has_header:
        listed = NumberList(path, text, delimiter, first.cells, options)
        listed.notice_other_numbers(rows[1:])
        return listed
    if len(first.cells) > 1:
        raise Mistake(
            f"{path}: its first row has a number in it, and there is more than one column; "
            f'put a row with the columns\' names above it, such as "{options.column}"'
        )
    return NumberList(path, text, delimiter, None, options)


def no_number(error: ValueError | str) -> str:
    """What is wrong with a number, in words for an operator who has no campaign file at hand."""
    return str(error).replace("set default_region in the campaign's [list]", "say --default-region US")


def _opened(path: Path, text: TextFormat) -> TextIO:
    # newline="" leaves line breaks inside of quotes as they are.
    return path.open(newline="", encoding=text.encoding, errors=text.errors)


def _looks_like_a_number(cell: str) -> bool:
    # Whether a number is right is asked later: also a wrong one is no column's name.
    return sum(c.isdecimal() for c in cell) >= 5


def _telephones(reading: Reading) -> list[str]:
    """The numbers of a cell, one for each telephone."""
    if len(reading.phones) < 2:
        return list(reading.phones)
    found: dict[frozenset[str], str] = {}
    for phone in sorted(reading.phones):
        found.setdefault(frozenset(forms(phone)), phone)
    return list(found.values())


def _first(wanted: Sequence[str], names: Sequence[str], taken: Sequence[int]) -> int | None:
    by_name = {folded(name): i for i, name in reversed(list(enumerate(names))) if i not in taken}
    return next((by_name[name] for name in wanted if name in by_name), None)
