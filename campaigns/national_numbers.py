"""The national registry's files → ListedNumber | RejectedRow, as number_list.py does for other files."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TextIO

from campaigns.call_list import RejectedRow
from campaigns.csv_records import Record, read_records
from campaigns.every_reading import every_reading
from campaigns.listed_number import NATIONAL, ListedNumber, dated
from campaigns.mistake import Mistake
from campaigns.national_list import NationalRow, NationalXml, national_row
from campaigns.text_file import TextFormat

_LINE = (
    "is no line of the national list, which has area code,number or area code,number,date,A or D: correct "
    "it, or download the file again"
)
_NO_NUMBER = "has no ten digits; download the file again"


class NationalNumbers:
    """The numbers of a full list or a change list, as flat text or XML: iterate."""

    columns: tuple[str, ...] = ("area code", "number", "date", "change")
    unread_columns: tuple[str, ...] = ()
    empty_rows = ambiguous = 0

    def __init__(
        self,
        path: Path,
        default_region: str | None,
        *,
        text: TextFormat | None = None,
        delimiter: str = ",",
        has_header: bool = False,
        may_have_changes: bool = True,
    ) -> None:
        """`text`: of the flat file; None for XML."""
        self.may_have_changes = may_have_changes
        """Whether its rows may take numbers off."""
        self.path = path
        self.delimiter = delimiter
        self.size_bytes = path.stat().st_size
        self.rows_read = 0
        self.bytes_read = 0
        self._text = text
        self._has_header = has_header
        self._region = default_region

    def __iter__(self) -> Iterator[ListedNumber | RejectedRow]:
        self.rows_read = self.bytes_read = 0
        for row in self._of_xml() if self._text is None else self._of_text(self._text):
            self.rows_read += 1
            if isinstance(row, Record):
                yield from self._other(row)
            else:
                yield from self._row(row)
        self.bytes_read = self.size_bytes

    def _of_xml(self) -> Iterator[NationalRow]:
        xml = NationalXml(self.path)
        for row in xml:
            self.bytes_read = xml.bytes_read
            yield row

    def _of_text(self, text: TextFormat) -> Iterator[NationalRow | Record]:
        try:
            opened: TextIO = self.path.open(newline="", encoding=text.encoding, errors=text.errors)
            with opened as file:
                records = read_records(file, self.delimiter)
                if self._has_header:
                    next(records, None)
                for record in records:
                    if self.rows_read % 500 == 0:
                        self.bytes_read = file.buffer.tell()
                    found = None if record.problem else national_row(record.line, record.cells)
                    yield record if found is None else found
        except OSError as error:
            raise Mistake(f"{self.path}: cannot be read: {error.strerror}") from None

    def _row(self, row: NationalRow) -> Iterator[ListedNumber | RejectedRow]:
        cells = dict(zip(self.columns, (row.digits[:-7], row.digits[-7:], row.date, ""), strict=True))
        if row.phone is None or (row.delete and not self.may_have_changes):
            yield RejectedRow(row.line, "number", _NO_NUMBER if row.phone is None else _LINE, cells)
            return
        listed = replace(dated(row.phone, "", row.date), source=NATIONAL, delete=row.delete)
        yield listed
        if self._region is None or row.delete:
            return
        # An operator who names a country may have a file of that country in the same form.
        for phone in every_reading(row.digits, self._region).phones - {row.phone}:
            yield replace(listed, phone=phone, source=None)

    def _other(self, record: Record) -> Iterator[ListedNumber | RejectedRow]:
        """A line in another form: what may be a number in it is suppressed, and the operator hears of it."""
        cells = [cell.encode(errors="replace").decode().replace("\x00", "\ufffd") for cell in record.cells]
        for phone in sorted(every_reading(" ".join(cells[:2]), "US").phones):
            yield ListedNumber(phone, "", None)
        names = [*self.columns, *(f"column {i}" for i in range(len(self.columns) + 1, len(cells) + 1))]
        row = dict(zip(names, [*cells, *[""] * (len(self.columns) - len(cells))], strict=False))
        yield RejectedRow(record.line, "number", record.problem or _LINE, row)
