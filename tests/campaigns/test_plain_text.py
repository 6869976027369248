"""Whatever a text holds, a terminal shows it as text."""

import io
import json
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaigns.plain_text import Rows, complain, print_line, visible

BIDI = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"


def acts(text: str) -> set[str]:
    """The characters of a text that a terminal would not show."""
    return {
        c for c in text if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") or c in BIDI + "\u200b\ufeff"
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\x1b[31mred", r"\x1b[31mred"),
        ("a\nb\r\tc", r"a\nb\r\tc"),
        ("\x9b31m\x07\x00", r"\x9b31m\x07\x00"),
        ("\x7f", r"\x7f"),
        ("user\u202egnp.exe", r"user\u202egnp.exe"),
        ("\u2066\u2069\u200e\u200f\u061c", r"\u2066\u2069\u200e\u200f\u061c"),
        ("a\u2028b\u2029c\x85d", r"a\u2028b\u2029c\x85d"),
        ("key\u200b1\ufeff", r"key\u200b1\ufeff"),
        ("key\u200d1", r"key\u200d1"),
        ("\u200c", r"\u200c"),
        ("\udcff\ud800", r"\udcff\ud800"),
        ("\U000e0041", r"\U000e0041"),
    ],
)
def test_what_is_not_seen_as_text_becomes_an_escape(text: str, expected: str) -> None:
    """Control sequences, line breaks, directions, what has no width, halves of characters."""
    assert visible(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "Zoë Müller-Łukasz, Đặng Thị",
        "שלום",
        "مرحبا",
        "می\u200cخواهم",  # Persian, with a joiner that belongs there
        "क्\u200dष",
        "東京 ＝",
        "👩\u200d⚕\ufe0f",
        "[bold] [/] {0} %s \\n '\"",
        "e\u0301",
    ],
)
def test_letters_of_all_scripts_stay(text: str) -> None:
    """Names are shown as they are written, and so is what only looks like a code."""
    assert visible(text) == text


@given(st.text(st.characters(exclude_categories=[])))
def test_any_text_is_one_line_that_does_nothing(text: str) -> None:
    """No control character, no line break, no direction is left; doing it again changes nothing."""
    shown = visible(text)
    assert acts(shown) == set()
    assert len(shown.splitlines()) <= 1
    assert visible(shown) == shown


@given(st.text(st.characters(exclude_categories=[])))
def test_json_stays_json(text: str) -> None:
    """What json.dumps has written is visible already, so that a net around it changes nothing."""
    line = json.dumps({text: text})
    assert (visible(line), acts(line)) == (line, set())


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_any_terminal_takes_any_text(encoding: str) -> None:
    """What the stream's encoding lacks is an escape as well, and no traceback."""
    raw = io.BytesIO()
    with io.TextIOWrapper(raw, encoding=encoding, newline="\n") as out:
        print_line("東京\x1b \udcff", out)
        shown = raw.getvalue().decode(encoding)
    assert shown == ("東京" if encoding == "utf-8" else r"\u6771\u4eac") + "\\x1b \\udcff\n"


def test_a_complaint_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """On standard error, whatever file name or TOML key is in it."""
    complain(ValueError("no\nsuch \x1b]0;file"))
    assert capsys.readouterr() == ("", "dialer: no\\nsuch \\x1b]0;file\n")


class Terminal(io.StringIO):
    """A stream with a person before it."""

    def isatty(self) -> bool:
        return True

    def reconfigure(self, **_: object) -> None:
        """As the real one; it takes everything already."""


def test_rows_are_data_in_a_pipe_and_text_on_a_terminal() -> None:
    """A program gets each row as it is; a person sees one line for each."""
    for row, seen in (('a,"\x1b[2J\nb"\r\n', 'a,"\\x1b[2J\\nb"\n'), ("a,b\n", "a,b\n"), ("", "")):
        pipe, terminal = io.StringIO(newline=""), Terminal(newline="")
        Rows(pipe).write(row)
        Rows(terminal).write(row)
        assert (pipe.getvalue(), terminal.getvalue()) == (row, seen)


def test_no_control_or_format_character_is_forgotten() -> None:
    """All that Unicode calls so is an escape, except for joiners and signs that scripts need."""
    kinds = ("Cc", "Cs", "Zl", "Zp", "Cf")
    left = {
        c
        for c in map(chr, range(sys.maxunicode + 1))
        if unicodedata.category(c) in kinds and visible(f"ع{c}") == f"ع{c}"
    }
    scripts = (
        "ARABIC",
        "SYRIAC",
        "KAITHI",
        "EGYPTIAN",
        "SHORTHAND",
        "MUSICAL",
        "ZERO WIDTH JOINER",
        "ZERO WIDTH NON-JOINER",
    )
    assert {c for c in left if not unicodedata.name(c).startswith(scripts)} == set()
