"""Which encoding a file is in, decided before its first row is read."""

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from campaigns.mistake import Mistake

_CHUNK_BYTES = 1 << 20
_BAD_IN_CP1252 = re.compile(rb"[\x81\x8d\x8f\x90\x9d]")
_ESCAPED = re.compile(r"[\udc80-\udcff]")
_NOT_ASCII = re.compile(r"[^\x00-\x7f]")
_DAMAGE = re.compile(r"[\x00\ufffd\ud800-\udfff]")

_OTHER_FORMATS = (
    (b"PK\x03\x04", "is a spreadsheet (xlsx, ods) or a zip archive; open it and export the sheet as CSV"),
    (b"\xd0\xcf\x11\xe0", "is an old Excel workbook (xls); open it and export the sheet as CSV"),
    (b"%PDF", "is a PDF; export the list as CSV from the program that made it"),
    (b"\x1f\x8b", "is compressed with gzip; unpack it first"),
    (b"\x00\x00\xfe\xff", "is UTF-32; save it as UTF-8"),
    (b"\xff\xfe\x00\x00", "is UTF-32; save it as UTF-8"),
)
_MARKUP = (b"<!doctype", b"<html", b"<?xml", b"{\\rtf")


@dataclass(frozen=True, slots=True)
class TextFormat:
    """How to open the file: `path.open(newline="", encoding=…, errors=…)`."""

    encoding: str
    """utf-8, utf-16-le, utf-16-be or cp1252. A byte order mark is left at the front of the text."""
    errors: str
    """What is not text in this encoding comes as lone surrogates: the row is lost then, not the file."""
    damaged: bool
    """Whether there are NULs, replacement marks (U+FFFD) or lone surrogates anywhere in it."""


def text_format(path: Path) -> TextFormat:
    """Read the whole file once, in bounded memory, and say what it is.

    Raises Mistake for what cannot be a list: no file, a directory, unreadable, empty, another format,
    an unknown encoding, a line longer than 1 MiB.
    """
    try:
        if path.is_dir():
            raise Mistake(f"{path}: is a directory; name the list's CSV file")
        if path.exists() and not path.is_file():
            raise Mistake(f"{path}: is not a regular file, and a list is read twice; save it to a file first")
        with path.open("rb") as file:
            head = file.read(1 << 16)
            _refuse_other_formats(path, head)
            file.seek(0)
            if wide := _wide_encoding(head):
                return _scan_utf16(path, file, wide)
            return _scan_bytes(path, file, head)
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


def _wide_encoding(head: bytes) -> str | None:
    """utf-16-le or utf-16-be, by the byte order mark or else by which half of each pair is NUL."""
    if head.startswith(codecs.BOM_UTF16_LE):
        return "utf-16-le"
    if head.startswith(codecs.BOM_UTF16_BE):
        return "utf-16-be"
    pairs = len(head) // 2
    low, high = head[0::2].count(0), head[1::2].count(0)
    if len(head) % 2 == 0 and high > 0.3 * pairs and low <= 0.05 * pairs:
        return "utf-16-le"
    if len(head) % 2 == 0 and low > 0.3 * pairs and high <= 0.05 * pairs:
        return "utf-16-be"
    return None


def _scan_utf16(path: Path, file: BinaryIO, encoding: str) -> TextFormat:
    decoder = codecs.getincrementaldecoder(encoding)("surrogatepass")
    damaged = False
    try:
        for chunk in _chunks(file):
            text = decoder.decode(chunk)
            damaged = damaged or _DAMAGE.search(text) is not None
            _refuse_endless_line(path, chunk, "\n" in text or "\r" in text)
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        raise Mistake(f"{path}: ends in the middle of a UTF-16 character; copy or export it again") from None
    return TextFormat(encoding, "surrogatepass", damaged)


def _scan_bytes(path: Path, file: BinaryIO, head: bytes) -> TextFormat:
    """UTF-8, with damage or without, or else cp1252."""
    if b"\0" in re.split(rb"[\r\n]", head, maxsplit=1)[0] or head.count(0) > len(head) // 10:
        raise Mistake(f"{path}: is not a text file; export the list as CSV")
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    damaged = False
    good = bad = offset = 0
    undefined: tuple[int, int] | None = (
        None  # (offset, byte) of the first one that cp1252 has no character for
    )
    for chunk in _chunks(file):
        _refuse_endless_line(path, chunk, b"\n" in chunk or b"\r" in chunk)
        if chunk.isascii() and not decoder.getstate()[0]:  # nothing is left of the chunk before
            damaged = damaged or b"\0" in chunk
            offset += len(chunk)
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
    # Text in cp1252 hardly ever happens to be UTF-8, so a file with more of it than not is damaged UTF-8:
    # reading all of that as cp1252 would spoil every other name in it.
    if bad <= good or head.startswith(codecs.BOM_UTF8):
        return TextFormat("utf-8", "surrogateescape", damaged or bad > 0)
    if undefined is not None:
        where, byte = undefined
        raise Mistake(
            f"{path}: has an unknown encoding: byte 0x{byte:02X} at offset {where} is neither UTF-8 "
            "nor Windows-1252; save it as UTF-8"
        )
    return TextFormat("cp1252", "surrogateescape", damaged=_has_nul(file))


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
