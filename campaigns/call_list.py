"""CSV rows → Recipient | RejectedRow(line, column, reason). Streams: memory does not grow with the list."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from campaigns.campaign import ListOptions
from campaigns.code_page import name_of
from campaigns.csv_records import (
    CUT_OFF,
    DELIMITERS,
    Record,
    folded,
    likely_delimiter,
    read_records,
    sep_line,
)
from campaigns.list_columns import (
    MAX_COLUMNS,
    MissingColumns,
    planned_columns,
    refuse_too_many,
    unique_names,
    wanted_columns,
)
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
_FIRST_ROWS = 200  # are looked at before the first one is read
_BLANK_BEFORE_QUOTE = (
    "has a blank before a quotation mark, which makes the mark a part of the cell; "
    "remove the blanks behind the delimiters"
)
_NOT_STORABLE = re.compile(r"[\x00\ud800-\udfff]")
_LOST = re.compile(
    r"[^\W\d_]\?+[^\W\d_]|(?<!\S)\?+[^\W\d_]|(?<!\S)\?{2,}(?!\S)"
    # An amount and nothing else: the sign of its currency.
    r"|\A\s*-?\d[\d.,'’\s]*\s\?\s*\Z|\A\s*\?\s*-?\d[\d.,'’\s]*\Z"
)
_ADDRESS = re.compile("[/=@]")  # with a query behind a question mark
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
        extra: int = 0,
    ) -> None:
        self.path = path
        self.text = text
        self.encoding = text.encoding
        self.delimiter = delimiter
        self.size_bytes = path.stat().st_size
        self.rows_read = 0
        # A corrected rejects file is a list like any other, apart from the notes in front.
        self._notes = len(NOTE_COLUMNS) if _is_rejects_header(header) else 0
        names = header[self._notes :]
        self.columns: tuple[str, ...] = unique_names(names)
        self._named_cells = max((i + 1 for i, name in enumerate(names) if folded(name)), default=0)
        self._extra = extra
        self._options = options
        self._read_number = options.reader()
        self._plan = planned_columns(path, options, names, self.columns, appointment)
        self._least_cells = max(self._plan.used()) + 1
        self._in_last = False
        self.unfinished_line: int | None = None
        """Where the last row begins, if it has no line end. Known at the end of an iteration."""
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
            self._file = _opened(self.path, self.text)
            records = read_records(self._file, self.delimiter)
            next(records, None)  # the header
            for record in self._watched(records) if self.text.open_end else records:
                self.rows_read += 1
                yield self._row(record)
        except OSError as error:
            raise Mistake(f"{self.path}: cannot be read: {error.strerror}") from None
        finally:
            self.close()

    def _watched(self, records: Iterator[Record]) -> Iterator[Record]:
        """The records; with the last one, which has no line end, it is noted that it is the last."""
        self._in_last = False
        last = next(records, None)
        while last is not None:
            following = next(records, None)
            if following is None:
                self._in_last, self.unfinished_line = True, last.line
            yield last
            last = following

    def _row(self, record: Record) -> Recipient | RejectedRow:
        if record.problem == CUT_OFF:
            raise Mistake(
                f"{self.path}: line {record.line}: the file ends inside of the quotation marks that open "
                "here; it was cut off, so copy or export it again, or close them"
            )
        if record.problem:
            # The line as it stands, in the first cell, where it can be corrected.
            return self._rejected(record.line, "", record.problem, record.cells)
        cells = record.cells[self._notes :] if self._notes else record.cells
        if record.blank_before_quote:
            return self._rejected(record.line, "", _BLANK_BEFORE_QUOTE, cells)
        if self._in_last and (problem := self._cut_off(cells)):
            return self._rejected(record.line, "", problem, cells)
        if len(cells) != len(self.columns) or not cells[self._plan.phone].strip():
            if problem := self._misshapen(cells):
                return self._rejected(record.line, "", problem, cells)
            # Spreadsheets leave out empty cells at the end, and some programs end each row with a delimiter.
            cells.extend([""] * (len(self.columns) - len(cells)))
            del cells[len(self.columns) :]
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
        if len(cells) > width and not (
            len(cells) == width + self._extra and not any(cell.strip() for cell in cells[width:])
        ):
            # Also when the cells beyond are empty: a delimiter without quotation marks has then moved the
            # others, and somebody would be told another person's time.
            mark = {",": "a comma", ";": "a semicolon", "\t": "a tab", "|": "a pipe"}[self.delimiter]
            return (
                f"has {len(cells)} cells where the header has {width}; "
                f"put quotation marks around a cell with {mark} in it, or remove the one at the end"
            )
        return ""

    def _cut_off(self, cells: list[str]) -> str:
        """Why the last row, which has no line end, may lack something that matters, or ""."""
        if len(cells) < self._named_cells:
            return "is the last line, has no line end and lacks cells: it was cut off; complete it"
        if len(cells) == self._plan.phone + 1 and _goes_on(cells[-1], self._options.default_region):
            return (
                "is the last line and has no line end, so that its number may have been cut off; "
                "look at it, and end the line"
            )
        return ""

    def _recipient(self, line: int, cells: list[str]) -> Recipient:
        """Raises _BadCell for the first cell that will not do."""
        plan = self._plan
        if self.text.damaged:
            _refuse_damage(cells, plan.used())
        try:
            phone = self._read_number(cells[plan.phone])
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
        joined = "".join(attributes.values())
        if "?" in joined:
            self._refuse_lost_letters(cells)
        # No character takes more than four bytes, so short values need no counting.
        if self._attribute_bytes + 4 * len(joined) > MAX_ATTRIBUTE_BYTES:
            total = self._attribute_bytes + sum(len(value.encode()) for value in attributes.values())
            if total > MAX_ATTRIBUTE_BYTES:
                longest = max(self._plan.used(), key=lambda i: len(cells[i]))
                raise _BadCell(
                    longest,
                    f"makes the attributes {total:,} bytes long, and Connect takes {MAX_ATTRIBUTE_BYTES:,}; "
                    "shorten it",
                )
        return attributes

    def _refuse_lost_letters(self, cells: list[str]) -> None:
        """Raises _BadCell for `?ukasz` and `????`: programs write that for letters that a code page lacks."""
        for index in sorted({i for _, _, indexes in self._plan.attributes for i in indexes}):
            cell = cells[index]
            if "?" in cell and _LOST.search(cell) and not _ADDRESS.search(cell):
                raise _BadCell(
                    index,
                    "has question marks for letters or signs that an earlier export has lost; "
                    "export it as UTF-8",
                )

    def _rejected(self, line: int, column: str, reason: str, cells: list[str]) -> RejectedRow:
        # What is beyond stands in the list still.
        cells = cells[: max(MAX_COLUMNS, len(self.columns))]
        names = [*self.columns, *(f"column {i + 1}" for i in range(len(self.columns), len(cells)))]
        if len(cells) > len(self.columns):
            names = list(unique_names(names))
        if self.text.damaged:
            # Whoever gets this row writes it as UTF-8, in which half a character cannot be written.
            cells = [_SURROGATE.sub("\ufffd", cell) for cell in cells]
        return RejectedRow(line, column, reason, dict(zip(names, cells, strict=False)))


def open_call_list(path: Path, options: ListOptions, appointment: str | None = None) -> CallList:
    """Find out the file's encoding, delimiter and columns. No file stays open.

    `appointment`: the column with the time that people are reminded of, or a template of several, if it is to
    have one.

    Raises Mistake, in one line with the remedy, for everything that makes the file as a whole unusable:
    see text_format, and then no header, or a column that the campaign names and the list lacks or has twice.
    """
    text = text_format(path, options.encoding, region=options.default_region, strict=True)
    wanted = wanted_columns(path, options, appointment)
    try:
        with _opened(path, text) as file:
            named = sep_line(file.readline())
            if named is None:
                file.seek(0)
            if named is not None and named not in DELIMITERS:
                raise Mistake(f'{path}: its sep= line names "{named}"; use a comma, semicolon, tab or pipe')
            delimiter = named or likely_delimiter(_sample(file), wanted)
        with _opened(path, text) as file:
            first = list(islice(read_records(file, delimiter), _FIRST_ROWS))
    except OSError as error:
        raise Mistake(f"{path}: cannot be read: {error.strerror}") from None
    header = first[0] if first else None
    if header is None or not any(folded(name) for name in header.cells):
        raise Mistake(f"{path}: has no header; its first row must name the columns")
    if header.problem:
        raise Mistake(f"{path}: line {header.line}: the header cannot be split: {header.problem}")
    refuse_too_many(path, header.cells)
    if bad := _NOT_STORABLE.search("".join(header.cells)):
        what = "a NUL character" if bad[0] == "\0" else f"a byte that is not {name_of(text.encoding)}"
        raise Mistake(f"{path}: its header has {what}; write it again, or save the list as UTF-8")
    try:
        return CallList(path, options, text, delimiter, header.cells, appointment, _extra(first))
    except MissingColumns:
        for record in first[1:]:
            if {folded(name) for name in wanted} <= {folded(name) for name in record.cells}:
                raise Mistake(
                    f"{path}: the columns' names stand in line {record.line}; remove the lines above it"
                ) from None
        raise


def _extra(first: Sequence[Record]) -> int:
    """How many empty cells every row has beyond the header: some programs end each row with a delimiter."""
    width, rows = len(first[0].cells), [record.cells for record in first[1:] if any(record.cells)]
    extra = {len(cells) - width for cells in rows}
    if len(extra) != 1 or any(cell.strip() for cells in rows for cell in cells[width:]):
        return 0
    return max(0, *extra)


def _goes_on(cell: str, region: str | None) -> bool:
    """Whether with one more digit it would be a number as well, where plans are open."""
    for digit in "0123456789":
        try:
            e164(cell + digit, region)
        except ValueError:
            continue
        return True
    return False


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
