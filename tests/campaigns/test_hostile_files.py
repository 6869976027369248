"""Campaign files, lists, settings and arguments that no program makes: one line, and exit 2."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from campaigns.call_list import RejectedRow, open_call_list
from campaigns.campaign import ListOptions, read_campaign
from campaigns.csv_records import MAX_RECORD, read_records, sep_line
from campaigns.list_columns import unique_names
from campaigns.mistake import Mistake
from campaigns.number_list import Options, open_number_list
from campaigns.phone_number import e164
from campaigns.reminder import appointment_time
from campaigns.settings import load_settings
from worker.settings import DialerSettings

CAMPAIGN = """
name = "a"
[connect]
instance_id = "10a4c4eb-f57e-4d4c-b602-bf39176ced07"
contact_flow_id = "b0b8f2dd-ed1b-4c44-af36-ce189a178181"
source_phone_number = "+14155550199"
"""
US = ListOptions(default_region="US")
IN_TIME = 2.0
"""Seconds of the processor's time that any input may take; quadratic code takes minutes for these."""


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ("x = " + "[" * 100_000, "too many tables or lists within each other"),
        ("x = " + "[" * 900 + "]" * 900, "too many tables or lists within each other"),
        ("ring_timeout_seconds = " + "9" * 5_000, "a number with too many digits"),
        (".".join(["a"] * 50_000) + " = 1", "a key of more than 100 parts"),
        ("[" + ".".join(["'a'"] * 50_000) + "]", "a key of more than 100 parts"),
        ('name = "a\\u0000b"', "connect.name: has a NUL character"),
        ('references = { "a\\u0000" = { value = "x" } }', "has a NUL character"),
        ('[reminder]\nat = "x"\nbefore = "2h"\nformat = "%d.%m.%Y %H:%M %H"', "each once"),
        ("x" * 70_000 + " = 1", "unknown key"),
        ('"a\\nb" = 1', "a\\\\nb: unknown key"),
        ("[list]\nattributes = [[1], 2]", "a list of columns"),
        ("[after]\nx = 1", "unknown key"),
        ("[redial]\nmax_attempts = " + "9" * 400, "expected 100 or less"),
        ("[pacing]\ncalls_per_second = nan", "calls_per_second"),
        ("#" * (1 << 20), "is longer than"),
    ],
)
def test_campaign_file_is_refused_in_one_line(tmp_path: Path, more: str, told: str) -> None:
    """Whatever its keys, its depth and its numbers are, and within seconds."""
    path = tmp_path / "c.toml"
    path.write_text(CAMPAIGN + more + "\n")
    began = time.process_time()
    with pytest.raises(Mistake, match=told) as caught:
        read_campaign(path)
    assert time.process_time() - began < IN_TIME
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1_000


def test_source_number_has_fifteen_digits(tmp_path: Path) -> None:
    """libphonenumber takes longer ones of some plans; Connect and the ledger do not."""
    path = tmp_path / "c.toml"
    path.write_text(CAMPAIGN.replace("+14155550199", "+4915123456789012345"))
    with pytest.raises(Mistake, match="is not a possible number"):
        read_campaign(path)


@pytest.mark.parametrize("number", ["+4980012345678901", "+49151234567890123", "+491512345678901234567"])
def test_number_of_more_than_fifteen_digits_is_rejected(number: str, tmp_path: Path) -> None:
    """The row is, in a list and in a do-not-call file; the others are read."""
    with pytest.raises(ValueError, match="too many digits"):
        e164(number, "DE")
    path = tmp_path / "p.csv"
    path.write_text(f"phone\n{number}\n+14155550101\n")
    for rows in (list(open_call_list(path, US)), list(open_number_list(path, Options()))):
        assert isinstance(rows[0], RejectedRow)
        assert rows[1].phone == "+14155550101"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"phone" + b",a" * 50_000 + b"\n4155550100\n", "has 50,001 columns, and a list has 1,000 at most"),
        (
            b"phone,n\xe9me\n4155550100,x\n" + "ééé,é\n".encode() * 5,
            "its header has a byte that is not UTF-8",
        ),
        (b"phone,n\x00me\n4155550100,x\n", "has a NUL|is not a text file"),
        (b"sep= " + b" " * 900_000 + b"x\nphone\n", "cannot be split|has no column"),
        (b"phon" + b"e" * 50_000 + b",x" * 500 + b"\n1\n", "has no column"),
    ],
)
def test_header_is_refused_in_one_line(tmp_path: Path, content: bytes, told: str) -> None:
    """In time that grows with the file, and not with its square."""
    path = tmp_path / "p.csv"
    path.write_bytes(content)
    wanted = ListOptions(phone="phon" + "e" * 49_999) if b"eeee" in content else US
    began = time.process_time()
    with pytest.raises(Mistake, match=told):
        open_call_list(path, wanted)
    assert time.process_time() - began < IN_TIME


def test_line_of_delimiters_is_one_rejected_row(tmp_path: Path) -> None:
    """Also a long one, of which the row has so many cells as a list may have."""
    path = tmp_path / "p.csv"
    path.write_bytes(b"phone\n" + b"x," * 400_000 + b"\n4155550101\n")
    began = time.process_time()
    with open_call_list(path, US) as rows:
        rejected, good = rows
    assert time.process_time() - began < IN_TIME
    assert isinstance(rejected, RejectedRow)
    assert (len(rejected.row), "has 400001 cells" in rejected.reason) == (1_000, True)
    assert not isinstance(good, RejectedRow)


def test_byte_that_is_no_text_in_mid_file_costs_its_row(tmp_path: Path) -> None:
    """The others are called."""
    path = tmp_path / "p.csv"
    path.write_bytes(
        "phone,name\n4155550100,éé\n4155550101,b".encode() + b"\xff\n4155550102,\x00\n4155550103,d\n"
    )
    with open_call_list(path, US) as rows:
        assert [isinstance(row, RejectedRow) for row in rows] == [False, True, True, False]


def test_equal_names_are_told_apart_in_time() -> None:
    """As before: the second is (2), and no other column's name is taken."""
    assert unique_names(["a", "a", "a (2)", "a", "", ""]) == (
        "a",
        "a (3)",
        "a (2)",
        "a (4)",
        "column 5",
        "column 6",
    )
    began = time.process_time()
    assert len(set(unique_names(["a"] * 100_000))) == 100_000
    assert time.process_time() - began < IN_TIME


def test_record_that_does_not_end_is_given_up(tmp_path: Path) -> None:
    """Its memory is bounded: the first line is broken, and reading goes on below it."""
    path = tmp_path / "p.csv"
    line = '","' + "x" * 100 + "\n"
    path.write_text('a,"\n' + line * (2 * MAX_RECORD // len(line)))
    with path.open(newline="") as file:
        records = read_records(file, ",")
        first = next(records)
        assert (first.line, first.problem != "") == (1, True)
        assert next(records).line == 2
    assert sep_line("sep= " + " " * 900_000 + "x") is None


def test_long_cells_are_looked_at_briefly() -> None:
    """A page of text where a number or a time should be."""
    began = time.process_time()
    with pytest.raises(ValueError, match="is not a telephone number"):
        e164("é1" * 500_000, "US")
    with pytest.raises(ValueError, match="is not"):
        appointment_time("1" * 1_000_000, "%d.%m.%Y %H:%M")
    assert time.process_time() - began < IN_TIME


@pytest.mark.parametrize("value", ["inf", "nan", "1e400", "-1", "1e18", "9" * 5_000, "0"])
def test_lease_that_is_no_time(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such a lease is no timedelta, or none that a date can be moved by."""
    monkeypatch.setenv("DIALER_CLAIM_LEASE_SECONDS", value)
    with pytest.raises(Mistake, match="DIALER_CLAIM_LEASE_SECONDS") as caught:
        load_settings(DialerSettings)
    assert len(str(caught.value)) < 500


def test_data_directory_that_is_no_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name in another encoding makes no URL."""
    monkeypatch.setenv("DIALER_DATA_DIR", "\udcff")
    with pytest.raises(Mistake, match=r"DIALER_DATA_DIR: .* it is not UTF-8"):
        load_settings(DialerSettings)


@pytest.mark.parametrize(("content", "told"), [(b"A=\xff\n", "UTF-8"), (b"DIALER_BURST=a\0b\n", "NUL")])
def test_env_file_that_is_no_text(
    content: bytes, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is named, and not what stands in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_bytes(content)
    with pytest.raises(Mistake, match=rf"^\.env: .*{told}"):
        load_settings(DialerSettings)


@pytest.mark.parametrize(
    "arguments",
    [
        ["status", "a", "--run", "99999999999999999999"],
        ["export", "a", "--run", "9223372036854775807"],
        ["status", "x" * 100_000],
        ["explain", "a", "9" * 100_000],
        ["suppress", "add", "+4915123456789012345"],
    ],
)
def test_arguments_beyond_bounds(arguments: list[str], dialer: Callable[..., Any]) -> None:
    """One line, which does not repeat a page."""
    said = dialer(*arguments)
    assert said.code == 2
    assert len(said.err) < 500
    assert said.err.count("\n") == 1


@pytest.mark.parametrize("command", [["status"], ["schedule"], ["export", "a"]])
def test_data_directory_of_another_user(
    command: list[str], dialer: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root may use everything, so what the system answers to another user is put in its place."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    (folder / "ledger.sqlite").touch()
    monkeypatch.setenv("DIALER_DATA_DIR", str(folder))
    monkeypatch.setattr(os, "access", lambda *_: False)
    said = dialer(*command)
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert "run the dialer as the user whose it is" in said.err
