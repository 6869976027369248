"""A file of numbers that are not to be called → ListedNumber | RejectedRow. Streams, as call_list.py does.

Such files are often one column without a header; then the first row is a number, too.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from campaigns.call_list import NOTE_COLUMNS, RejectedRow
from campaigns.csv_records import DELIMITERS, Record, folded, likely_delimiter, read_records, sep_line
from campaigns.list_columns import MAX_COLUMNS, refuse_too_many, unique_names
from campaigns.mistake import Mistake
from campaigns.phone_number import e164
from campaigns.text_file import TextFormat, text_format

REASON_COLUMNS = ("reason",)
DATE_COLUMNS = ("date", "added_at")
"""Columns that are taken where the file has them, the first of these names that it has."""

LONGEST_REASON = 1_000
_SAMPLE_CHARACTERS = 1 << 16
_NOT_STORABLE = re.compile(r"[\x00\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class ListedNumber:
    """One number of the file."""

    phone: str
    """E.164."""
    reason: str
    """As the file says it, or ""."""
    at: datetime | None
    """The file's date, if it has one that can be told for sure."""
    note: str = ""
    """The date as it stands, where it cannot; it goes behind the reason."""


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
        self._phone = self._place(options.column, names)
        # The number's column may be called that, too.
        self._reason = _first(REASON_COLUMNS, names, self._phone)
        self._date = _first(DATE_COLUMNS, names, self._phone)

    def __iter__(self) -> Iterator[ListedNumber | RejectedRow]:
        self.rows_read = self.bytes_read = 0
        try:
            with _opened(self.path, self._text) as file:
                records = read_records(file, self.delimiter)
                if self._has_header:
                    next(records, None)
                for record in records:
                    self.rows_read += 1
                    if self.rows_read % 500 == 0:
                        self.bytes_read = file.buffer.tell()
                    yield self._row(record)
            self.bytes_read = self.size_bytes
        except OSError as error:
            raise Mistake(f"{self.path}: cannot be read: {error.strerror}") from None

    def _row(self, record: Record) -> ListedNumber | RejectedRow:
        cells = record.cells
        if self._text.damaged:
            # Whoever gets this row writes it as UTF-8 without NULs. No number is made of what is put there.
            cells = [_NOT_STORABLE.sub("\ufffd", cell) for cell in cells]
        if record.problem:
            return self._rejected(record.line, "", record.problem, cells)
        cells = cells[self._notes :]
        if not self._least_cells <= len(cells) <= len(self.columns):
            # What a delimiter without quotation marks has moved may be another number.
            count = f"{len(cells)} cell" + "s" * (len(cells) != 1)
            problem = f"has {count} where there are {len(self.columns)} columns; one number a row"
            return self._rejected(record.line, "", problem, cells)
        try:
            phone = e164(cells[self._phone], self._options.default_region)
        except ValueError as error:
            return self._rejected(record.line, self.columns[self._phone], no_number(error), cells)
        reason = "" if self._reason is None else " ".join(cells[self._reason].split())[:LONGEST_REASON]
        written = "" if self._date is None else cells[self._date].strip()
        at = _instant(written)
        if written and at is None:
            # Whatever the date may mean, the number is not to be called.
            return ListedNumber(phone, reason, None, f" (dated {written[:40]})")
        return ListedNumber(phone, reason, at)

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
            f'{self.path}: has no column "{column}"; its columns are {shown}; name the one with the numbers: '
            "--column NAME"
        )


@dataclass(frozen=True, slots=True)
class Options:
    """How a file of numbers is read."""

    column: str = "phone"
    default_region: str | None = None
    """Two letters: where numbers without a country code are."""


def open_number_list(path: Path, options: Options) -> NumberList:
    """Find out the file's encoding, delimiter and columns. No file stays open.

    Raises Mistake, in one line with the remedy, for everything that makes the file as a whole unusable.
    """
    text = text_format(path)
    try:
        with _opened(path, text) as file:
            named = sep_line(file.readline())
            if named is None:
                file.seek(0)
            if named is not None and named not in DELIMITERS:
                raise Mistake(f'{path}: its sep= line names "{named}"; use a comma, semicolon, tab or pipe')
            sample = file.read(_SAMPLE_CHARACTERS).removeprefix("\ufeff")
            delimiter = named or likely_delimiter(
                sample[: sample.rfind("\n") + 1] or sample, [options.column]
            )
        with _opened(path, text) as file:
            first = next(read_records(file, delimiter), None)
    except OSError as error:
        raise Mistake(f"{path}: cannot be read: {error.strerror}") from None
    if first is None or not any(folded(cell) for cell in first.cells):
        raise Mistake(f"{path}: its first row is empty; it must be a number, or name the columns")
    if first.problem:
        raise Mistake(f"{path}: line {first.line}: cannot be split: {first.problem}")
    refuse_too_many(path, first.cells)
    if not any(_looks_like_a_number(cell) for cell in first.cells):
        return NumberList(path, text, delimiter, first.cells, options)
    if len(first.cells) > 1:
        raise Mistake(
            f"{path}: its first row has a number in it, and there is more than one column; "
            f'put a row with the columns\' names above it, such as "{options.column}"'
        )
    return NumberList(path, text, delimiter, None, options)


def no_number(error: ValueError) -> str:
    """What is wrong with a number, said to somebody who has no campaign file at hand."""
    return str(error).replace("set default_region in the campaign's [list]", "say --default-region US")


def _opened(path: Path, text: TextFormat) -> TextIO:
    # newline="" leaves line breaks inside of quotes as they are.
    return path.open(newline="", encoding=text.encoding, errors=text.errors)


def _looks_like_a_number(cell: str) -> bool:
    # Whether a number is right is asked later: also a wrong one is no column's name.
    return sum(c.isdecimal() for c in cell) >= 5


def _first(wanted: Sequence[str], names: Sequence[str], taken: int) -> int | None:
    by_name = {folded(name): i for i, name in reversed(list(enumerate(names))) if i != taken}
    return next((by_name[name] for name in wanted if name in by_name), None)


def _instant(written: str) -> datetime | None:
    """A date in ISO 8601, with or without a time (UTC unless it says another); None for any other."""
    try:
        at = datetime.fromisoformat(written)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        return None
