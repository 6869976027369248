"""Which encoding a file is in, decided before its first row is read."""

import codecs
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO

from campaigns.code_page import ASSUMED, Verdict, is_odd, judged, name_of, shown
from campaigns.mistake import Mistake

_CHUNK_BYTES = 1 << 20
_BAD_IN_CP1252 = re.compile(rb"[\x81\x8d\x8f\x90\x9d]")
_ESCAPED = re.compile(r"[\udc80-\udcff]")
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")
_DAMAGE = re.compile(r"[\x00\ufffd\ud800-\udfff]")
_CELL_ENDS = re.compile(rb'[,;\t|"\r\n\x00]+')
_TEXT_CELL_ENDS = re.compile(r'[,;\t|"\r\n\x00]+')
# A line break whose bytes have come apart: half of a UTF-16 character is missing above it.
_OUT_OF_STEP = re.compile("\u0a00|\u0d00\u0a00")
_BINARY = re.compile(rb"[\x00-\x08\x0e-\x19\x1c-\x1f]")
_TEXT_BYTES = bytes(sorted({*range(0x09, 0x0E), 0x1A, 0x1B, *range(0x20, 0x100)}))
_BINARY_SHARE = 0.05  # of a window; text has none of these
_WINDOW = 4_096
_MOST_CELLS = 20_000
_MOST_CELL_BYTES = 200_000  # as many as chardet looks at
_SHOWN = 3
_LONGEST = 40

_OTHER_FORMATS = (
    (b"PK\x03\x04", "is a spreadsheet (xlsx, ods) or a zip archive; open it and export the sheet as CSV"),
    (b"\xd0\xcf\x11\xe0", "is an old Excel workbook (xls); open it and export the sheet as CSV"),
    (b"%PDF", "is a PDF; export the list as CSV from the program that made it"),
    (b"\x1f\x8b", "is compressed with gzip; unpack it first"),
    (b"\x00\x00\xfe\xff", "is UTF-32; save it as UTF-8"),
    (b"\xff\xfe\x00\x00", "is UTF-32; save it as UTF-8"),
)
_MARKUP = (b"<!doctype", b"<html", b"<?xml", b"{\\rtf")


class Source(StrEnum):
    """How the encoding of a file is known."""

    CONTENT = "content"
    """By a byte order mark, or because it is UTF-8, which no other text happens to be."""
    CAMPAIGN = "campaign"
    """The campaign's file says so."""
    ASSUMED = "assumed"
    """It may be another one. What was read is to be shown."""


@dataclass(frozen=True, slots=True)
class TextFormat:
    """How to open the file: `path.open(newline="", encoding=…, errors=…)`."""

    encoding: str
    """A codec: utf-8, utf-16-le, utf-16-be, cp1252, or the one that was asked for. A byte order mark is left
    at the front of the text."""
    errors: str
    """What is not text in this encoding comes as lone surrogates: the row is lost then, not the file."""
    damaged: bool
    """Whether there are NULs, replacement marks (U+FFFD) or lone surrogates anywhere in it."""
    source: Source = Source.CONTENT
    sample: tuple[str, ...] = ()
    """Some cells with letters beyond ASCII, where the encoding is not certain by the content."""
    open_end: bool = False
    """Whether its last line has no line end. It may have been cut off there."""


def text_format(
    path: Path, encoding: str | None = None, *, region: str | None = None, strict: bool = False
) -> TextFormat:
    """Read the whole file once, in bounded memory, and say what it is.

    `encoding`: the codec that the operator has named. Without one, what is not Unicode is taken for
    Windows-1252. With `strict` only if its letters can be that; `region` is where its people are, whose
    machines may write another code page.

    Raises Mistake for what cannot be a list: no file, a directory, unreadable, empty, another format,
    an unknown encoding, not the one that was named, a line longer than 1 MiB.
    """
    try:
        if path.is_dir():
            raise Mistake(f"{path}: is a directory; name the list's CSV file")
        if path.exists() and not path.is_file():
            raise Mistake(
                f"{path}: is not a regular file, and a list is read twice; save it to a file first, "
                "or pipe it into -"
            )
        with path.open("rb") as file:
            head = file.read(1 << 16)
            _refuse_other_formats(path, head)
            file.seek(0)
            if (wide := _wide_encoding(head, encoding)) and _named_alike(path, wide, encoding):
                return _scan_utf16(path, file, wide)
            return _scan_bytes(path, file, head, encoding, region, strict=strict)
    except FileNotFoundError:
        raise Mistake(f"{path}: there is no such file") from None
    except OSError as error:
        raise Mistake(f"{path}: cannot be read: {error.strerror}") from None


def _refuse_other_formats(path: Path, head: bytes) -> None:
    if not head:
        raise Mistake(f"{path}: is empty; a list is a CSV file with a header row")
    for magic, remedy in _OTHER_FORMATS:
        if head.startswith(magic):
            raise Mistake(f"{path}: {remedy}")
    if head.removeprefix(codecs.BOM_UTF8).lstrip().lower().startswith(_MARKUP):
        raise Mistake(f"{path}: is a web page or a document, not CSV; export the list as CSV")


def _wide_encoding(head: bytes, named: str | None) -> str | None:
    """utf-16-le or utf-16-be, by the byte order mark or else by which half of each pair is NUL."""
    if head.startswith(codecs.BOM_UTF16_LE):
        return "utf-16-le"
    if head.startswith(codecs.BOM_UTF16_BE):
        return "utf-16-be"
    pairs = len(head) // 2
    low, high = head[0::2].count(0), head[1::2].count(0)
    # Delimiters, digits and line breaks have a NUL, whatever script the names are in; the header, too.
    if len(head) % 2 == 0 and high > 0.1 * pairs and low <= 0.01 * pairs and b"\0" in head[1:64:2]:
        return "utf-16-le"
    if len(head) % 2 == 0 and low > 0.1 * pairs and high <= 0.01 * pairs and b"\0" in head[0:64:2]:
        return "utf-16-be"
    return {"utf-16": "utf-16-le"}.get(named or "", named if (named or "").startswith("utf-16-") else None)


def _named_alike(path: Path, found: str, named: str | None) -> bool:
    """True. Raises Mistake if the operator has named another encoding than a file certainly has."""
    if named is None or named == found or (named == "utf-16" and found.startswith("utf-16-")):
        return True
    raise Mistake(
        f"{path}: is {name_of(found)}, and [list] encoding says {named}; "
        f"remove that line, or save the list as {name_of(named)}"
    )


def _scan_utf16(path: Path, file: BinaryIO, encoding: str) -> TextFormat:
    decoder = codecs.getincrementaldecoder(encoding)("surrogatepass")
    damaged = False
    last, lines = "\n", 1
    try:
        for chunk in _chunks(file):
            text = decoder.decode(chunk)
            damaged = damaged or _DAMAGE.search(text) is not None
            if found := _OUT_OF_STEP.search(text):
                where = lines + text.count("\n", 0, found.start())
                raise Mistake(f"{path}: line {where}: from there on it is not UTF-16; {_AGAIN}")
            _refuse_endless_line(path, chunk, "\n" in text or "\r" in text)
            last, lines = text[-1:] or last, lines + text.count("\n")
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        raise Mistake(f"{path}: ends in the middle of a UTF-16 character; copy or export it again") from None
    return TextFormat(encoding, "surrogatepass", damaged, open_end=last not in "\r\n")


_AGAIN = "it is damaged, or was put together from two files; copy or export it again"


def _scan_bytes(
    path: Path, file: BinaryIO, head: bytes, named: str | None, region: str | None, *, strict: bool
) -> TextFormat:
    """UTF-8, with damage or without, or else a code page: the one that was named, or Windows-1252."""
    if b"\0" in re.split(rb"[\r\n]", head, maxsplit=1)[0] or head.count(0) > len(head) // 10:
        raise Mistake(f"{path}: is not a text file; export the list as CSV")
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    damaged = plain = False
    good = bad = offset = lines = 0
    last = b""
    undefined: tuple[int, int] | None = (
        None  # (offset, byte) of the first one that cp1252 has no character for
    )
    for chunk in _chunks(file):
        _refuse_endless_line(path, chunk, b"\n" in chunk or b"\r" in chunk)
        if strict and chunk.translate(None, _TEXT_BYTES):
            _refuse_binary(path, chunk, lines)
        lines += chunk.count(b"\n")
        last = chunk[-1:]
        if chunk.isascii() and not decoder.getstate()[0]:  # nothing is left of the chunk before
            damaged = damaged or b"\0" in chunk
            offset += len(chunk)
            plain = plain or b"\x1b" in chunk
            continue
        text = decoder.decode(chunk)
        if not text.isascii():
            escaped = len(_ESCAPED.findall(text))
            bad += escaped
            good += len(_NOT_ASCII.findall(text)) - escaped
        damaged = damaged or _DAMAGE.search(text) is not None
        if undefined is None and (found := _BAD_IN_CP1252.search(chunk)):
            undefined = (offset + found.start(), chunk[found.start()])
        offset += len(chunk)
    bad += len(decoder.decode(b"", final=True))
    open_end = last not in (b"\r", b"\n")
    with_mark = head.startswith(codecs.BOM_UTF8)
    if named not in (None, "utf-8"):
        assert named is not None
        # Text in a code page hardly ever happens to be UTF-8.
        if with_mark or (good and not bad):
            _named_alike(path, "utf-8", named)
        return _as_named(path, file, named, open_end=open_end)
    # So a file with more of it than not is damaged UTF-8: reading all of that as cp1252 would spoil every
    # other name in it.
    if bad <= good or with_mark or named is not None:
        if named is not None and bad > good:
            raise Mistake(f"{path}: is not UTF-8, which [list] encoding says; save it as UTF-8")
        if strict and plain and not good and not bad:
            _refuse_escapes(path, file)
        return TextFormat("utf-8", "surrogateescape", damaged or bad > 0, open_end=open_end)
    if not strict:
        if undefined is not None:
            where, byte = undefined
            raise Mistake(
                f"{path}: has an unknown encoding: byte 0x{byte:02X} at offset {where} is neither UTF-8 "
                "nor Windows-1252; save it as UTF-8"
            )
        return TextFormat(ASSUMED, "surrogateescape", _has_nul(file), Source.ASSUMED, (), open_end)
    cells = _cells(file)
    if mixed := sorted(cell for cell in cells if _is_mixed_in(cell)):
        raise Mistake(
            f"{path}: line {_line_of(file, mixed[0])}: is UTF-8, and other lines are not; "
            "save all of it as UTF-8"
        )
    verdict = judged(cells, region)
    if undefined is not None or not verdict.plausible:
        raise Mistake(f"{path}: {_not_assumed(verdict)}")
    return TextFormat(ASSUMED, "surrogateescape", _has_nul(file), Source.ASSUMED, verdict.cells, open_end)


def _not_assumed(verdict: Verdict) -> str:
    """What is wrong with the encoding of a file, and what to do."""
    words = f"has an unknown encoding: it is not UTF-8, and as Windows-1252 it reads {shown(verdict.cells)}; "
    if not verdict.others:
        return words + 'say which it is, such as encoding = "cp1250" in [list], or save it as UTF-8'
    first, *others = verdict.others
    words += f'if {shown(first.cells)} is right, write encoding = "{first.encoding}" in [list]; '
    if others:
        words += f'if {shown(others[0].cells)} is, encoding = "{others[0].encoding}"; '
    return words + "or save it as UTF-8"


def _as_named(path: Path, file: BinaryIO, encoding: str, *, open_end: bool) -> TextFormat:
    """Raises Mistake if the file is in another encoding than the one that was named."""
    file.seek(0)
    decoder = codecs.getincrementaldecoder(encoding)("surrogateescape")
    damaged = False
    good = bad = 0
    sample: dict[str, None] = {}
    try:
        for chunk in _chunks(file):
            text = decoder.decode(chunk)
            if text.isascii() and "\0" not in text:
                continue
            escaped = len(_ESCAPED.findall(text))
            bad, good = bad + escaped, good + len(_NOT_ASCII.findall(text)) - escaped
            damaged = damaged or _DAMAGE.search(text) is not None
            if len(sample) < _SHOWN:
                sample |= dict.fromkeys(_beyond_ascii(text))
        bad += len(decoder.decode(b"", final=True))
    except UnicodeDecodeError:
        bad = good + 1
    if bad > good // 10:
        raise Mistake(
            f"{path}: is not {name_of(encoding)}, which [list] encoding says; "
            "name another, or save it as UTF-8"
        )
    shortened = tuple(sample)[:_SHOWN]
    return TextFormat(encoding, "surrogateescape", damaged or bad > 0, Source.CAMPAIGN, shortened, open_end)


def _beyond_ascii(text: str) -> Iterable[str]:
    for cell in _TEXT_CELL_ENDS.split(text):
        if not cell.isascii() and not _ESCAPED.search(cell):
            plain = " ".join(cell.split())
            yield plain if len(plain) <= _LONGEST else f"{plain[:_LONGEST]}…"


def _cells(file: BinaryIO) -> set[bytes]:
    """The cells with bytes beyond ASCII, each once; of long lists the first ones."""
    file.seek(0)
    found: set[bytes] = set()
    size = 0
    for line in file:
        if line.isascii():
            continue
        for cell in _CELL_ENDS.split(line):
            if not cell.isascii() and cell not in found:
                found.add(cell.strip())
                size += len(cell)
        if len(found) >= _MOST_CELLS or size >= _MOST_CELL_BYTES:
            break
    return found


def _is_mixed_in(cell: bytes) -> bool:
    """Whether a cell of a file that is not UTF-8 is so all the same, as in files put together from two."""
    try:
        cell.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return is_odd(cell.decode(ASSUMED, "replace"))  # CAFÉ” happens to be UTF-8


def _line_of(file: BinaryIO, cell: bytes) -> int:
    file.seek(0)
    return next((number for number, line in enumerate(file, start=1) if cell in line), 1)


def _refuse_binary(path: Path, chunk: bytes, lines: int) -> None:
    """Raises Mistake if the chunk is not text somewhere. `lines`: how many end above it."""
    for begin in range(0, len(chunk), _WINDOW):
        window = chunk[begin : begin + _WINDOW]
        count = len(_BINARY.findall(window))
        if count >= 16 and count > _BINARY_SHARE * len(window):
            first = _BINARY.search(window)
            assert first is not None
            line = lines + chunk.count(b"\n", 0, begin + first.start()) + 1
            raise Mistake(f"{path}: line {line}: from there on it is not text; {_AGAIN}")


def _refuse_escapes(path: Path, file: BinaryIO) -> None:
    """Raises Mistake for ISO-2022, which says in ASCII that other letters follow."""
    file.seek(0)
    if any(re.search(rb"\x1b[$(][@-J]", line) for line in file):
        raise Mistake(
            f"{path}: is written in ISO-2022; write which one, "
            'such as encoding = "iso2022_jp" in [list], or save it as UTF-8'
        )


def _has_nul(file: BinaryIO) -> bool:
    file.seek(0)
    return any(b"\0" in chunk for chunk in _chunks(file))


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    while chunk := file.read(_CHUNK_BYTES):
        yield chunk


def _refuse_endless_line(path: Path, chunk: bytes, has_line_end: bool) -> None:
    # Lines are read whole, so this is what bounds the memory (at twice the chunk).
    if len(chunk) == _CHUNK_BYTES and not has_line_end:
        raise Mistake(f"{path}: has a line of more than 1 MiB, so it is no list of people; export it as CSV")
