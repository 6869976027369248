"""The national do-not-call registry of the United States: the files that telemarketers download from it.

Full list: `415,5550100` a line. Change list: `415,5550100,2026-11-01,A`, where D takes the number off. The
same as XML: `<list><ac val="415"><ph val="5550100"/></ac></list>`. The files have no header
(telemarketing.donotcall.gov).
"""

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple
from xml.parsers import expat

from campaigns.mistake import Mistake

_CHUNK_BYTES = 1 << 16
_AREA = re.compile(r"[2-9]\d\d")
_NUMBER = re.compile(r"\d{7}")
_WHOLE = re.compile(r"1?[2-9]\d{9}")
_DATED = re.compile(r"[\d/.:TZ+ -]{6,35}")
_ADDED = {"a", "add", "added"}
_DELETED = {"d", "delete", "deleted"}
_MARKUP = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*<(?:list[\s>]|(?=.*?<ph\s[^>]*val\s*=))", re.DOTALL | re.IGNORECASE
)


class NationalRow(NamedTuple):
    """One number of the file."""

    line: int
    digits: str
    """As they stand, without the comma."""
    phone: str | None
    """E.164; None if it has not ten digits."""
    date: str
    """As it stands, or ""."""
    delete: bool


def national_row(line: int, cells: Sequence[str]) -> NationalRow | None:
    """A line of the flat file; None for one that is none."""
    cells = [cell.strip() for cell in cells]
    if len(cells) in (2, 4) and _AREA.fullmatch(cells[0]) and _NUMBER.fullmatch(cells[1]):
        digits, rest = cells[0] + cells[1], cells[2:]
    elif len(cells) == 3 and _WHOLE.fullmatch(cells[0]):
        digits, rest = cells[0], cells[1:]
    else:
        return None
    if not rest:
        return NationalRow(line, digits, _phone(digits), "", delete=False)
    date, change = rest
    if not _DATED.fullmatch(date):
        return None
    if change.lower() not in _ADDED | _DELETED:
        return None
    return NationalRow(line, digits, _phone(digits), date, delete=change.lower() in _DELETED)


def is_national_xml(path: Path) -> bool:
    """Whether a file begins as the registry's XML does. Raises OSError."""
    with path.open("rb") as file:
        return _MARKUP.match(file.read(_CHUNK_BYTES)) is not None


class NationalXml:
    """The numbers of the registry's XML file, in memory that does not grow with it: iterate."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.bytes_read = 0
        self._areas: list[str] = []
        self._rows: list[NationalRow] = []
        self._changes: list[str] = []

    def __iter__(self) -> Iterator[NationalRow]:
        """Raises Mistake for what is no XML, or breaks off."""
        self._areas, self._rows, self._changes = [], [], []
        parser = expat.ParserCreate()
        parser.StartElementHandler = self._begin(parser)
        parser.EndElementHandler = self._end
        # A file of numbers has none; those of an attack grow without bound.
        parser.EntityDeclHandler = self._refuse_entities
        try:
            with self.path.open("rb") as file:
                while chunk := file.read(_CHUNK_BYTES):
                    parser.Parse(chunk, False)
                    self.bytes_read += len(chunk)
                    yield from self._rows
                    self._rows.clear()
                parser.Parse(b"", True)
            yield from self._rows
        except expat.ExpatError as error:
            why = expat.errors.messages[error.code]
            raise Mistake(
                f"{self.path}: line {error.lineno}: is broken XML ({why}); download the file again"
            ) from None
        except OSError as error:
            raise Mistake(f"{self.path}: cannot be read: {error.strerror}") from None

    def _begin(self, parser: expat.XMLParserType) -> Callable[[str, dict[str, str]], None]:
        def begin(tag: str, attributes: dict[str, str]) -> None:
            name = tag.lower()
            said = {key.lower(): value.strip() for key, value in attributes.items()}
            value = said.pop("val", "")
            # An area code holds for all that is inside of its element; so do <add> and <delete>.
            above = self._areas[-1] if self._areas else ""
            self._areas.append(value if name in ("ac", "list") and _AREA.fullmatch(value) else above)
            change = self._changes[-1] if self._changes else ""
            self._changes.append(name if name in _ADDED | _DELETED else change)
            if name == "ph":
                self._rows.append(self._row(parser.CurrentLineNumber, value, said))

        return begin

    def _end(self, _: str) -> None:
        self._areas.pop()
        self._changes.pop()

    def _row(self, line: int, value: str, said: dict[str, str]) -> NationalRow:
        digits = value if len(value) > len("5550100") else self._areas[-1] + value
        change = self._changes[-1]
        date = ""
        for text in said.values():
            if text.lower() in _ADDED | _DELETED:
                change = text.lower()
            elif _DATED.fullmatch(text):
                date = text
        return NationalRow(line, digits, _phone(digits), date, delete=change in _DELETED)

    def _refuse_entities(self, *_: object) -> None:
        raise Mistake(
            f"{self.path}: declares entities, which no list of numbers does; download the file again"
        )


def _phone(digits: str) -> str | None:
    # Not only what is valid today: a new area code is on the list before phonenumbers knows it.
    return f"+1{digits[-10:]}" if _WHOLE.fullmatch(digits) else None
