"""CSV rows → Recipient | RejectedRow(line, column, reason). Streams: memory does not grow with the list."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from campaigns.campaign import ListOptions
from campaigns.csv_records import DELIMITERS, Record, folded, likely_delimiter, read_records, sep_line
from campaigns.list_columns import MAX_COLUMNS, planned_columns, refuse_too_many, unique_names, wanted_columns
from campaigns.mistake import Mistake
from campaigns.phone_number import e164
from campaigns.recipient import Recipient
from campaigns.text_file import TextFormat, text_format
from campaigns.time_zone_name import iana_zone

NOTE_COLUMNS = ("line", "column", "reason")
"""What a rejects file has in front of the list's own columns. In a list they are notes, not data."""

MAX_ATTRIBUTE_BYTES = 32_768  # StartOutboundVoiceContact: UTF-8 bytes over all keys and values
MAX_KEY_LENGTH = 255
_SAMPLE_CHARACTERS = 1 << 16
_NAMES = {"utf-8": "UTF-8", "utf-16-le": "UTF-16", "utf-16-be": "UTF-16", "cp1252": "Windows-1252"}
_NOT_STORABLE = re.compile(r"[\x00\ud800-\udfff]")
_SURROGATE = re.compile(r"[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """One row that cannot be called as it stands."""

    line: int
    """The line of the file on which the row begins, counted from 1."""
    column: str
    """The header's name of the cell to correct; "" when the row as a whole is bad."""
    reason: str
    """What is wrong and what to do. It completes a sentence that begins with the cell, or with the row."""
    row: dict[str, str]
    """The row as it stood: cells that it lacks are absent, cells beyond the header are "column N"."""


class _BadCell(Exception):
    def __init__(self, index: int, reason: str) -> None:
        self.index = index
        self.reason = reason


class CallList:
    """A list of people, ready to be read: iterate for one Recipient or RejectedRow per row of the file.

    A line without any character is not a row. A line of delimiters alone is one, and is rejected, so that
    the rows of the file always equal the recipients plus the rejected rows. Duplicates are not looked for
    here. Each iteration reads the file anew; leaving one half-way closes it at `close()` or at the end
    of the `with` block.
    """

    def __init__(
        self,
        path: Path,
        options: ListOptions,
        text: TextFormat,
        delimiter: str,
        header: Sequence[str],
        appointment: str | None = None,
    ) -> None:
        self.path = path
        self.encoding = text.encoding
        self.delimiter = delimiter
        self.size_bytes = path.stat().st_size
        self.rows_read = 0
        # A corrected rejects file is a list like any other, apart from the notes in front.
        self._notes = len(NOTE_COLUMNS) if _is_rejects_header(header) else 0
        names = header[self._notes :]
        self.columns: tuple[str, ...] = unique_names(names)
        self._least_cells = max((i + 1 for i, name in enumerate(names) if folded(name)), default=0)
        self._options = options
        self._zeros_lost = options.zeros_lost
        self._text = text
        self._plan = planned_columns(path, options, names, self.columns, appointment)
        self._attribute_bytes = sum(len(name.encode()) for name in options.attributes)
        self._file: TextIO | None = None
        self._bytes_read = 0

    @property
    def is_rejects_file(self) -> bool:
        """Whether it is a rejects file that was corrected: a part of another list."""
        return self._notes > 0

    @property
    def phone_column(self) -> str:
        """The header's name of the column with the numbers."""
        return self.columns[self._plan.phone]

    @property
    def bytes_read(self) -> int:
        """How far the reading has come, 0 … size_bytes. Never goes back while rows are read."""
        if self._file is not None:
            self._bytes_read = self._file.buffer.tell()
        return self._bytes_read

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file if an iteration has left it open. Reading again opens it again."""
        if self._file is not None:
            self._bytes_read = self.bytes_read
            self._file.close()
            self._file = None

    def __iter__(self) -> Iterator[Recipient | RejectedRow]:
        self.close()
        self.rows_read = self._bytes_read = 0
        try:
            self._file = _opened(self.path, self._text)
            records = read_records(self._file, self.delimiter)
            next(records, None)  # the header
            for record in records:
                self.rows_read += 1
                yield self._row(record)
        except OSError as error:
            raise Mistake(f"{self.path}: cannot be read: {error.strerror}") from None
        finally:
            self.close()

    def _row(self, record: Record) -> Recipient | RejectedRow:
        if record.problem:
            # The line as it stands, in the first cell, where it can be corrected.
            return self._rejected(record.line, "", record.problem, record.cells)
        cells = record.cells[self._notes :] if self._notes else record.cells
        if len(cells) != len(self.columns) or not cells[self._plan.phone].strip():
            if problem := self._misshapen(cells):
                return self._rejected(record.line, "", problem, cells)
            # What may lack are cells of nameless columns at the end of the header.
            cells.extend([""] * (len(self.columns) - len(cells)))
        try:
            return self._recipient(record.line, cells)
        except _BadCell as bad:
            return self._rejected(record.line, self.columns[bad.index], bad.reason, cells)

    def _misshapen(self, cells: list[str]) -> str:
        """Why these cells cannot be laid beside the header, or ""."""
        width = len(self.columns)
        if not any(cell.strip() for cell in cells):
            return "is empty; remove it"
        if len(cells) < self._least_cells:
            count = f"{len(cells)} cell" + "s" * (len(cells) != 1)
            return f"has {count} where the header has {width}; complete it, or mend its line breaks"
        if len(cells) > width:
            # Also when the cells beyond are empty: a delimiter without quotation marks has then moved the
            # others, and somebody would be told another person's time.
            mark = {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a pipe"}[self.delimiter]
            return (
                f"has {len(cells)} cells where the header has {width}; "
                f"put quotation marks around a cell with {mark} in it, or remove the one at the end"
            )
        return ""

    def _recipient(self, line: int, cells: list[str]) -> Recipient:
        """Raises _BadCell for the first cell that will not do."""
        plan = self._plan
        if self._text.damaged:
            _refuse_damage(cells, plan.used())
        try:
            phone = e164(cells[plan.phone], self._options.default_region, zeros_lost=self._zeros_lost)
        except ValueError as error:
            raise _BadCell(plan.phone, str(error)) from None
        key = phone if plan.key is None else _key(cells, plan.key)
        attributes = self._attributes(cells)
        time_zone = None if plan.time_zone is None else _time_zone(cells, plan.time_zone)
        row = dict(zip(self.columns, cells))  # noqa: B905  # as many, by _row; strict takes as long again
        return Recipient(line, key, phone, attributes, time_zone, row)

    def _attributes(self, cells: list[str]) -> dict[str, str]:
        attributes = {
            name: _filled(literals, indexes, cells) if literals else cells[indexes[0]]
            for name, literals, indexes in self._plan.attributes
        }
        # No character takes more than four bytes, so short values need no counting.
        if self._attribute_bytes + 4 * len("".join(attributes.values())) > MAX_ATTRIBUTE_BYTES:
            total = self._attribute_bytes + sum(len(value.encode()) for value in attributes.values())
            if total > MAX_ATTRIBUTE_BYTES:
                longest = max(self._plan.used(), key=lambda i: len(cells[i]))
                raise _BadCell(
                    longest,
                    f"makes the attributes {total:,} bytes long, and Connect takes {MAX_ATTRIBUTE_BYTES:,}; "
                    "shorten it",
                )
        return attributes

    def _rejected(self, line: int, column: str, reason: str, cells: list[str]) -> RejectedRow:
        # What is beyond stands in the list still.
        cells = cells[: max(MAX_COLUMNS, len(self.columns))]
        names = [*self.columns, *(f"column {i + 1}" for i in range(len(self.columns), len(cells)))]
        if len(cells) > len(self.columns):
            names = list(unique_names(names))
        if self._text.damaged:
            # Whoever gets this row writes it as UTF-8, in which half a character cannot be written.
            cells = [_SURROGATE.sub("\ufffd", cell) for cell in cells]
        return RejectedRow(line, column, reason, dict(zip(names, cells, strict=False)))


def open_call_list(path: Path, options: ListOptions, appointment: str | None = None) -> CallList:
    """Find out the file's encoding, delimiter and columns. No file stays open.

    `appointment`: the column with the time that people are reminded of, if it is to have one.

    Raises Mistake, in one line with the remedy, for everything that makes the file as a whole unusable:
    see text_format, and then no header, or a column that the campaign names and the list lacks or has twice.
    """
    text = text_format(path)
    try:
        with _opened(path, text) as file:
            named = sep_line(file.readline())
            if named is None:
                file.seek(0)
            if named is not None and named not in DELIMITERS:
                raise Mistake(f'{path}: its sep= line names "{named}"; use a comma, semicolon, tab or pipe')
            delimiter = named or likely_delimiter(_sample(file), wanted_columns(path, options, appointment))
        with _opened(path, text) as file:
            header = next(read_records(file, delimiter), None)
    except OSError as error:
        raise Mistake(f"{path}: cannot be read: {error.strerror}") from None
    if header is None or not any(folded(name) for name in header.cells):
        raise Mistake(f"{path}: has no header; its first row must name the columns")
    if header.problem:
        raise Mistake(f"{path}: line {header.line}: the header cannot be split: {header.problem}")
    refuse_too_many(path, header.cells)
    if bad := _NOT_STORABLE.search("".join(header.cells)):
        what = "a NUL character" if bad[0] == "\0" else f"a byte that is not {_NAMES[text.encoding]}"
        raise Mistake(f"{path}: its header has {what}; write it again, or save the list as UTF-8")
    return CallList(path, options, text, delimiter, header.cells, appointment)


def _opened(path: Path, text: TextFormat) -> TextIO:
    # newline="" leaves line breaks inside of quotes as they are.
    return path.open(newline="", encoding=text.encoding, errors=text.errors)


def _sample(file: TextIO) -> str:
    """The beginning of the text, in whole lines if it has any."""
    sample = file.read(_SAMPLE_CHARACTERS).removeprefix("\ufeff")
    whole = max(sample.rfind("\n"), sample.rfind("\r")) + 1
    return sample[:whole] if whole and len(sample) > _SAMPLE_CHARACTERS // 2 else sample


def _is_rejects_header(header: Sequence[str]) -> bool:
    return tuple(folded(name) for name in header[: len(NOTE_COLUMNS)]) == NOTE_COLUMNS


def _refuse_damage(cells: list[str], used: frozenset[int]) -> None:
    for index, cell in enumerate(cells):
        if bad := _NOT_STORABLE.search(cell):
            what = "a NUL character" if bad[0] == "\0" else "a byte that is not text in the file's encoding"
            raise _BadCell(index, f"has {what}; type the cell again")
        if index in used and "\ufffd" in cell:
            raise _BadCell(
                index, "has a character that was lost in an earlier export (\ufffd); type the cell again"
            )


def _filled(literals: tuple[str, ...], indexes: tuple[int, ...], cells: list[str]) -> str:
    text = [literals[0]]
    size = len(literals[0])
    for index, literal in zip(indexes, literals[1:], strict=True):
        text += (cells[index], literal)
        size += len(cells[index]) + len(literal)
        if size > MAX_ATTRIBUTE_BYTES:
            break  # it is refused for its length, and would grow with every placeholder
    return "".join(text)


def _key(cells: list[str], index: int) -> str:
    key = cells[index].strip()
    if not key:
        raise _BadCell(index, "is empty; fill in what tells this person from the others")
    if len(key) > MAX_KEY_LENGTH:
        raise _BadCell(
            index, f"has {len(key)} characters where a key has {MAX_KEY_LENGTH} at most; shorten it"
        )
    return key


def _time_zone(cells: list[str], index: int) -> str | None:
    if not cells[index].strip():
        return None
    try:
        return iana_zone(cells[index])
    except ValueError as error:
        raise _BadCell(index, str(error)) from None
