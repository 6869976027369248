r"""Text from outside, made fit for a terminal and a log: what is not seen as text becomes an escape.

Keys, reasons, file names, TOML keys and what AWS or a proxy says reach the operator's terminal. A control
sequence there would colour, hide or rewrite lines, or type into the terminal; a line break would make a line
that the dialer never said. `\x1b` instead of the character itself does nothing.
"""

import re
import sys
from io import TextIOWrapper
from typing import Protocol, TextIO

_UNSEEN = re.compile(
    "["
    "\x00-\x1f\x7f-\x9f"  # C0 with its line breaks, DEL, C1
    "\xad\u200b\u2060-\u2064\ufeff\u180e\ufff9-\ufffb"  # no width: two keys would look the same
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u206f"  # the direction of what follows
    "\u2028\u2029"  # line breaks to many readers
    "\ud800-\udfff"  # halves of characters, which no terminal takes
    "\U000e0000-\U000e007f"  # tags: a text of their own that is not shown
    "]"
    # Joiners belong to Persian, to Indian scripts and to emoji; after a Latin letter they only hide.
    "|(?:(?<=[\x00-\x7f])|^)[\u200c\u200d]"
)
_NAMED = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def visible(text: str) -> str:
    r"""Return one line, with `\n`, `\x1b`, `\u202e` … in the place of what would not be seen as text.

    Letters of all scripts, accents and emoji stay. Escaping what is escaped already changes nothing.
    """
    return _UNSEEN.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    character = found[0]
    if character in _NAMED:
        return _NAMED[character]
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def print_line(text: str, out: TextIO) -> None:
    """Print one line of visible text, in whatever encoding the stream has."""
    print_drawn(visible(text), out)


def print_drawn(text: str, out: TextIO) -> None:
    """Print what was made of visible text, such as a table with its colours."""
    print(encodable(text, getattr(out, "encoding", None) or "utf-8"), file=out, flush=True)


_PLAINER = str.maketrans({"█": "#", "…": "...", "→": "->", "–": "-", "—": "-", "│": "|", "─": "-", "━": "-"})
"""For signs of the dialer's own, what a terminal without them shows."""


def encodable(text: str, encoding: str) -> str:
    """The text with escapes in the place of what an encoding does not have."""
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.translate(_PLAINER).encode(encoding, "backslashreplace").decode(encoding)
    return text


def never_fail(*streams: TextIO) -> None:
    """Let these streams write an escape for what their encoding does not have.

    What is written past `print_line`, such as a progress bar or a question, must not end a command either.
    """
    for stream in streams:
        # A test's stream may not be one that has an encoding.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def complain(problem: object) -> None:
    """Say what is wrong, in one line on standard error."""
    print_line(f"dialer: {problem}", sys.stderr)


class Writable(Protocol):
    """All that CSV rows and JSON lines need of a stream."""

    def write(self, text: str, /) -> object:
        """Take a piece of text."""


class Rows:
    """A stream of CSV rows or JSON lines, one for each `write`: as they are, but visible on a terminal."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._seen = out.isatty()

    def write(self, row: str, /) -> int:
        """Write one row with its line end."""
        if not self._seen:
            return self._out.write(row)
        body = row.rstrip("\r\n")
        return self._out.write(visible(body) + "\n" * (body != row))
