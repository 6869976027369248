"""Formulas in CSV files: none that is written runs in a spreadsheet, and reading restores every cell."""

import csv
import io
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from campaigns.csv_records import read_records
from campaigns.export import Format, export
from campaigns.formulas import as_text, defused, restored
from campaigns.recipient import Recipient

if TYPE_CHECKING:
    from tests.conftest import Desk

RUN = [
    "=1+1",
    '=HYPERLINK("http://127.0.0.1/x","Ann")',
    "=",
    "@SUM(1)",
    "+A1",
    "-A1",
    "-2+3",
    "-2*3",
    "+1e5",
    "-2+3+cmd|' /C calc'!A0",
    "- see note",
    " =1+1",
    "\u3000=1+1",
    "\u00a0@A1",
    "\ufeff=1+1",
    "\u200b=1+1",
    "\x00=1+1",
    "\t=1+1",
    "\r=1+1",
    "\n=1+1",
    "\tAnn",
    "\rAnn",
    "\uff1d1+1",
    "\uff0bA1",
    "\uff0dA1",
    "\uff20A1",
    "-1\n=1",
]
HARMLESS = [
    "",
    "Ann",
    "O'Brien",
    "'t Hooft",
    "''",
    "+14155550101",
    "+1 (415) 555-0100",
    "'+14155550101",
    "-12.5",
    "-1.234,56",
    "-",
    "--",
    "(415) 555-0100",
    "2 = 3",
    "a@b.example",
    " Ann",
    "1=1",
]
texts = (
    st.text(alphabet=st.sampled_from("'=+-@\uff1d\uff20 \t\r\n\0\ufeff\u200b1.(A,;\"é\ud800"), max_size=8)
    | st.text()
)


@pytest.mark.parametrize("cell", RUN)
def test_what_a_spreadsheet_would_run_is_text(cell: str) -> None:
    """One apostrophe in front, also where there are some already; and each is taken off again."""
    assert defused(cell) == f"'{cell}"
    assert defused(defused(cell)) == f"''{cell}"
    assert restored(restored(f"''{cell}")) == cell


@pytest.mark.parametrize("cell", HARMLESS)
def test_what_is_no_formula_stays_as_it_is(cell: str) -> None:
    """Names, telephone numbers and amounts are not touched, neither in writing nor in reading."""
    assert (defused(cell), restored(cell)) == (cell, cell)


@given(cell=texts)
@example(cell="'=")
@example(cell="''\t")
def test_reading_restores_what_was_written(cell: str) -> None:
    """For every text, and what is written begins with no sign but a number's."""
    written = defused(cell)
    assert restored(written) == cell
    visible = written.lstrip(" \t\r\n\0\ufeff\u200b")
    if visible[:1] in tuple("=@\uff1d\uff20"):
        pytest.fail(f"{written!r} would run")
    if visible[:1] in ("+", "-"):
        assert not any(c.isalpha() or c in '*/^&|!=@+:"' for c in visible[1:])


@given(
    table=st.lists(st.lists(texts, min_size=2, max_size=2), max_size=5), delimiter=st.sampled_from(",;\t|")
)
def test_a_file_is_read_as_it_was_written(table: list[list[str]], delimiter: str) -> None:
    """Through the csv module and our reader, in every delimiter: the same cells, header cells too."""
    rows = [["a", "=b"], *table]
    file = io.StringIO(newline="")
    csv.writer(file, delimiter=delimiter).writerows([[defused(cell) for cell in row] for row in rows])
    file.seek(0)
    assert [record.cells for record in read_records(file, delimiter)] == rows


# --- through the commands ---------------------------------------------------------------------------------

CAMPAIGN = """
name = "{name}"

[connect]
instance_id = "10a4c4eb-f57e-4d4c-b602-bf39176ced07"
contact_flow_id = "b0b8f2dd-ed1b-4c44-af36-ce189a178181"
source_phone_number = "+14155550199"

[list]
key = "=id"
attributes = {{ Name = "name", Note = "@note" }}
"""
ROWS = [
    ["=1", "+14155550101", '=HYPERLINK("http://127.0.0.1/x","Ann")', "-2+3"],
    ["''=2", "+14155550102", "''@SUM(1)", "\t=x"],
    ["-12.5", "+14155550103", "O'Brien", "'plain"],
    ["4", "+14155550104", "- see note", "\uff1dA1"],
]
HEADER = ["=id", "phone", "name", "@note"]


def written(path: str, rows: list[list[str]]) -> None:
    with Path(path).open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)


def cells_of(path: str) -> list[list[str]]:
    with Path(path).open(encoding="utf-8-sig", newline="") as file:
        return list(csv.reader(file))


def runs(cell: str) -> bool:
    first = cell.lstrip(" \t\r\n")[:1]
    return first in tuple("=@\uff1d") or (cell[:1] in "\t\r-" and not cell[1:2].isdigit())


def test_corrected_rejects_give_the_same_people(dialer: Callable[..., Any]) -> None:
    """A list that was rejected row by row, corrected and loaded, exports exactly as the good list does."""
    Path("good.toml").write_text(CAMPAIGN.format(name="good"))
    Path("corrected.toml").write_text(CAMPAIGN.format(name="corrected"))
    written("good.csv", [HEADER, *ROWS])
    written("bad.csv", [HEADER, *([row[0], "x" + row[1], *row[2:]] for row in ROWS)])
    assert dialer("load", "good.toml", "good.csv", "--json").json["accepted"] == 4
    assert dialer("load", "corrected.toml", "bad.csv", "--json").json["rejected"] == 4
    rejected = cells_of("bad.rejects.csv")
    assert rejected[0] == ["line", "column", "reason", "'=id", "phone", "name", "'@note"]
    assert [cell for row in rejected for cell in row if cell and runs(cell)] == []
    # Somebody corrects the numbers, and loads that file.
    text = Path("bad.rejects.csv").read_bytes().replace(b"x+1", b"+1")
    Path("bad.rejects.csv").write_bytes(text)
    plan = dialer("plan", "corrected.toml", "bad.rejects.csv", "--json").json
    loaded = dialer("load", "corrected.toml", "bad.rejects.csv", "--json").json
    assert (plan["rows"], loaded["accepted"], loaded["rejected"]) == (4, 4, 0)
    for options in ([], ["--raw"], ["--format", "jsonl"]):
        good = dialer("export", "good", *options).out
        assert dialer("export", "corrected", *options).out == good


def test_export_runs_nothing_and_raw_changes_nothing(dialer: Callable[..., Any]) -> None:
    """By default no cell is a formula, header cells included; --raw gives the list's own cells."""
    Path("good.toml").write_text(CAMPAIGN.format(name="good"))
    written("good.csv", [HEADER, *ROWS])
    dialer("load", "good.toml", "good.csv")
    dialer("export", "good", "-o", "safe.csv")
    dialer("export", "good", "-o", "raw.csv", "--raw")
    safe, raw = cells_of("safe.csv"), cells_of("raw.csv")
    assert [cell for row in safe for cell in row if cell and runs(cell)] == []
    assert [row[-4:] for row in raw] == [
        ["=id", "list.phone", "name", "@note"],
        ["=1", "+14155550101", '=HYPERLINK("http://127.0.0.1/x","Ann")', "-2+3"],
        ["'=2", "+14155550102", "'@SUM(1)", "\t=x"],
        ["-12.5", "+14155550103", "O'Brien", "'plain"],
        ["4", "+14155550104", "- see note", "\uff1dA1"],
    ]
    assert [[defused(cell) for cell in row] for row in raw] == safe
    # The contract's own columns are what they were.
    assert [row[2] for row in safe[1:]] == [row[1] for row in ROWS]


def test_an_apostrophe_of_a_spreadsheet_is_no_part_of_the_cell(dialer: Callable[..., Any]) -> None:
    """`'=1` in anybody's list is the key `=1`: plan and load take it for the same person as `=1`."""
    Path("good.toml").write_text(CAMPAIGN.format(name="good"))
    written("marked.csv", [HEADER, ["'=1", "+14155550101", "Ann", "'-x"]])
    written("plain.csv", [["'=id", *HEADER[1:]], ["=1", "+14155550101", "Ann", "-x"]])
    dialer("load", "good.toml", "marked.csv")
    assert dialer("plan", "good.toml", "plain.csv", "--json").json["duplicates"] == 1
    assert dialer("load", "good.toml", "plain.csv", "--json").json["duplicates"] == 1


def test_raw_rejects_are_the_cells_themselves(dialer: Callable[..., Any]) -> None:
    """`load --raw` and `suppress import --raw` leave formulas in the rejects file; without it they do not."""
    Path("good.toml").write_text(CAMPAIGN.format(name="good"))
    written("bad.csv", [HEADER, ["=1", "x", "@SUM(1)", "-A1"]])
    written("numbers.csv", [["phone", "reason"], ["=1+1", "@A1"]])
    dialer("load", "good.toml", "bad.csv", "--rejects", "safe.csv")
    dialer("load", "good.toml", "bad.csv", "--rejects", "raw.csv", "--raw")
    assert cells_of("safe.csv")[1][3:] == ["'=1", "x", "'@SUM(1)", "'-A1"]
    assert cells_of("raw.csv")[1][3:] == ["=1", "x", "@SUM(1)", "-A1"]
    dialer("suppress", "import", "numbers.csv", "--rejects", "safe2.csv")
    dialer("suppress", "import", "numbers.csv", "--rejects", "raw2.csv", "--raw")
    assert cells_of("safe2.csv")[1][3:] == ["'=1+1", "'@A1"]
    assert cells_of("raw2.csv")[1][3:] == ["=1+1", "@A1"]


def test_suppression_list_goes_out_and_comes_back(dialer: Callable[..., Any]) -> None:
    """A reason that is a formula is text in `suppress list`, and itself again after `suppress import`."""
    reason = "=cmd|' /C calc'!A0"
    dialer("suppress", "add", "+14155550101", "--reason", reason)
    out = dialer("suppress", "list").out
    (row,) = list(csv.reader(io.StringIO(out)))[1:]
    assert row[2] == f"'{reason}"
    (raw,) = list(csv.reader(io.StringIO(dialer("suppress", "list", "--raw").out)))[1:]
    assert raw[2] == reason
    Path("numbers.csv").write_text(out, encoding="utf-8")
    dialer("suppress", "remove", "+14155550101")
    assert dialer("suppress", "import", "numbers.csv", "--json").json["added"] == 1
    (entry,) = dialer("suppress", "list", "--json").json["suppressions"]
    assert entry["reason"] == reason


def test_what_connect_says_is_no_formula(desk: "Desk") -> None:
    """A reason from outside, a contact id and a key: text in the CSV, themselves in JSON Lines."""
    person = Recipient(2, "=key", "+14155550101", {}, None, {"phone": "+14155550101"})
    desk.load(desk.campaign(), [person])
    desk.start()
    (claimed,) = desk.claim()
    desk.dial(claimed)
    assert desk.answered(claimed, "@contact")
    out, lines = io.StringIO(newline=""), io.StringIO(newline="")
    export(desk.ledger, "reminders", out)
    export(desk.ledger, "reminders", lines, Format.JSONL)
    (_, row) = csv.reader(io.StringIO(out.getvalue(), newline=""))
    assert (row[1], row[2], row[6], row[7]) == ("'=key", "+14155550101", "'@contact", "'@contact")
    assert '"contact_id": "@contact"' in lines.getvalue()


def test_the_example_of_an_attack(dialer: Callable[..., Any], tmp_path: Path) -> None:
    """The list that a hostile review had made: loaded, exported and rejected, nothing of it runs."""
    example_list = 'name,phone\n"=HYPERLINK(""http://127.0.0.1/x"",""Ann"")",+14155550100\n@SUM(1),+14155550101\n-2+3,12\n'
    Path("inject.csv").write_text(example_list)
    Path("inject.toml").write_text(CAMPAIGN.format(name="inject").partition("[list]")[0])
    assert dialer("load", "inject.toml", "inject.csv", "--json").json["rejected"] == 1
    dialer("export", "inject", "-o", "results.csv")
    shutil.copy("inject.rejects.csv", "rejects.csv")
    found = [cell for name in ("results.csv", "rejects.csv") for row in cells_of(name) for cell in row]
    assert [cell for cell in found if cell and runs(cell)] == []
    assert {'\'=HYPERLINK("http://127.0.0.1/x","Ann")', "'@SUM(1)", "'-2+3"} <= set(found)


@given(st.text())
@example("=1+1")
@example("'007")
@example('="007"')
@example("+14155550101")
def test_text_for_excel_is_restored(cell: str) -> None:
    """Whatever is in a cell, reading what was written for Excel gives it back; and no formula runs."""
    written = as_text(cell)
    assert restored(written) == cell
    if written != cell and not written.startswith("'"):
        assert written == f'="{cell}"'
        assert '"' not in cell


@pytest.mark.parametrize(
    "cell", ["+14155550101", "007", "3-4", "12345678901234567", "1e5", "2026-03-02", "MAR1"]
)
def test_what_excel_would_change_is_a_text(cell: str) -> None:
    """Numbers, dates and what looks like them are written so that no digit is lost."""
    assert as_text(cell) == f'="{cell}"'
