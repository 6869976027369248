"""What an operator reads fits the terminal, and what a program reads is not folded."""

import io
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from rich.cells import cell_len

from campaigns.plain_text import encodable, never_fail, print_line
from campaigns.progress_bar import progress_bar
from campaigns.report import every_status
from campaigns.requeue import asked_for
from campaigns.status_view import folded, table, until
from campaigns.time_words import about_days

if TYPE_CHECKING:
    from tests.conftest import Desk

NOW = datetime(2026, 11, 30, 21, 48, tzinfo=UTC)
NAMES = ("clinic-reminders", "autumn-appeal-north", "a-campaign.with_a.name-of.forty-letters.ab", "x")


@pytest.fixture
def every(desk: "Desk") -> list:  # type: ignore[type-arg]
    """The statuses of campaigns that no worker dials, which is a long reason."""
    for name in NAMES:
        desk.started(1, name)
    return every_status(desk.ledger, desk.ledger.now())


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200, 400])
def test_status_fits_the_terminal(every: list, width: int, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[type-arg]
    """No line is longer, and every word of every reason is there."""
    monkeypatch.setattr("campaigns.status_view.width_of_terminal", lambda: width)
    lines = table(every)
    assert max(map(cell_len, lines)) <= width
    for each in every:
        assert any(each.run.name in line for line in lines)
    shown = " ".join(" ".join(lines).split())
    assert all(shown.count(word) >= 1 for each in every for word in each.reason.split())
    assert shown.count("no dial process has reported lately") == len(every)


def test_status_for_a_program_has_a_line_for_each(every: list, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[type-arg]
    """In a pipe nothing is folded."""
    monkeypatch.setenv("COLUMNS", "60")
    assert len(table(every)) == 1 + len(every)


@pytest.mark.parametrize("width", [30, 60, 80])
def test_folding_loses_no_word(width: int) -> None:
    """Lines that are too long go on under themselves, further in."""
    lines = ["name: running", "  " + "waiting for calling hours " * 12]
    found = folded(lines, width)
    assert " ".join(" ".join(found).split()) == " ".join(" ".join(lines).split())
    assert max(map(len, found)) <= width
    assert {len(line) - len(line.lstrip()) for line in found[2:]} == {6}
    assert folded(lines, None) == lines


@pytest.mark.parametrize(
    ("away", "words"),
    [
        (timedelta(seconds=45), "in 45 s"),
        (timedelta(minutes=12), "in 12 min (at 22:00)"),
        (timedelta(hours=5, minutes=30), "in 5.5 h (Tue 1 Dec 03:18)"),
        (timedelta(days=3), "in about 3 days, Thu 3 Dec 21:48"),
        (timedelta(days=40), "in about 40 days, Sat 9 Jan 2027 21:48"),
        (-timedelta(hours=1), "in 0 s"),
    ],
)
def test_an_end_is_told_as_people_say_it(away: timedelta, words: str, in_utc: None) -> None:
    """Far ones in days with the day and the time, by the clock of the status and not of this machine."""
    assert until(NOW + away, NOW) == words


def test_a_day_and_a_half_is_told_in_days(in_utc: None) -> None:
    """And nothing that is nearer."""
    assert about_days(NOW + timedelta(hours=36), NOW) == "about 2 days, Wed 2 Dec 09:48"
    assert about_days(NOW + timedelta(hours=35, minutes=59), NOW) is None


@pytest.fixture
def in_utc(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """This machine's clock is UTC's."""
    import time

    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    return time.tzset


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "cp437", "cp1251", "shift_jis", "gbk"])
def test_no_terminal_ends_a_command(encoding: str) -> None:
    """Whatever its encoding lacks is shown as an escape, or by a plainer sign."""
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding)
    never_fail(out)
    print_line("Żółć 请 █… 🎄", out)
    out.write("past print_line: Żółć 请 █ 🎄\n")
    out.flush()
    assert raw.getvalue().decode(encoding).count("\n") == 2


def test_a_terminal_without_blocks_has_a_plainer_bar() -> None:
    """The histogram of a plan is read there, too."""
    assert encodable("12 ███…", "ascii") == "12 ###..."
    assert encodable("12 ███…", "utf-8") == "12 ███…"


class _Reading:
    rows_read, bytes_read = 1234, 5


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_dumb_terminal_is_told_in_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It cannot draw a bar again, and is told how far the reading is all the same."""
    out = _Terminal()
    monkeypatch.setattr(sys, "stderr", out)
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr("campaigns.progress_bar._A_LINE_EVERY_SECONDS", 0.0)
    file = tmp_path / "list.csv"
    file.write_text("0123456789")
    with progress_bar("loading", file) as progress:
        progress(_Reading())
    assert out.getvalue() == "loading list.csv: 1,234 rows (50%)\n"


def test_without_colours_there_is_a_bar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """NO_COLOR asks for no colours, not for silence."""
    out = _Terminal()
    monkeypatch.setattr(sys, "stderr", out)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("NO_COLOR", "1")
    file = tmp_path / "list.csv"
    file.write_text("0123456789")
    with progress_bar("loading", file) as progress:
        progress(_Reading())
    assert "1,234 rows" in out.getvalue()


@pytest.mark.parametrize(
    "written", ["Busy, no-answer", "BUSY,No Answer", " busy , NO_ANSWER ", "busy,no answer"]
)
def test_outcomes_are_understood_as_people_write_them(written: str) -> None:
    """Capitals, blanks and hyphens are no other outcome."""
    assert asked_for([written], None, NOW) == asked_for(["busy,no_answer"], None, NOW)


def test_a_rehearsal_says_its_time(desk: "Desk") -> None:
    """In words, in JSON, and before each line of a log."""
    from campaigns.ledger.rehearsal import rehearse
    from campaigns.report import status
    from campaigns.status_view import at_clock, in_words

    rehearse(desk.ledger, datetime(2031, 12, 3, 9, tzinfo=UTC), 60.0)
    desk.started(1, exchange="sandbox")
    found = status(desk.ledger, "reminders", desk.ledger.now())
    assert any("a rehearsal: its clock shows Wed 3 Dec 2031" in line for line in in_words(found))
    assert at_clock(found).startswith("Wed 3 Dec ")
    assert found.as_json()["rehearsal"] == {
        "as_of": "2031-12-03T09:00:00+00:00",
        "now": "2031-12-03T09:00:00+00:00",
        "speed": 60.0,
        "running": False,
    }
