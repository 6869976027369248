"""The same command from another folder does not begin a ledger that knows of no call."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

CAMPAIGN = """
name = "reminders"

[connect]
instance_id = "10a4c4eb-f57e-4d4c-b602-bf39176ced07"
contact_flow_id = "b0b8f2dd-ed1b-4c44-af36-ce189a178181"
source_phone_number = "+14155550199"
"""
LIST = "phone\n+14155550101\n+14155550102\n"

Dialer = Callable[..., Any]


@pytest.fixture
def office(dialer: Dialer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a campaign, its list, and a ledger in which both are loaded."""
    home = tmp_path / "the office"
    home.mkdir()
    (home / "c.toml").write_text(CAMPAIGN)
    (home / "l.csv").write_text(LIST)
    monkeypatch.chdir(home)
    assert dialer("load", "c.toml", "l.csv").code == 0
    return home


def refused(said: Any, *words: object) -> None:
    """One line with exit 2, with these words, and no ledger was made in the working directory."""
    assert said.code == 2, said
    assert said.out == ""
    assert said.err.count("\n") == 1
    for word in words:
        assert str(word) in said.err
    assert not Path(".dialer").exists()


ARGUMENTS = [
    ["status"],
    ["status", "reminders", "--json"],
    ["start", "reminders"],
    ["pause", "--all"],
    ["export", "reminders"],
    ["explain", "reminders", "+14155550101"],
    ["load", "{home}/c.toml", "{home}/l.csv"],
    ["run", "{home}/c.toml", "{home}/l.csv"],
    ["run", "{home}/c.toml", "{home}/l.csv", "--sandbox"],
    ["plan", "{home}/c.toml", "{home}/l.csv"],
    ["schedule"],
    ["suppress", "list"],
    ["suppress", "add", "+14155550101", "--reason", "asked"],
    ["up"],
    ["up", "--sandbox"],
]


@pytest.mark.parametrize("arguments", ARGUMENTS, ids=lambda words: " ".join(words[:2]).replace("{home}/", ""))
@pytest.mark.parametrize("folder", ["deeper", "deeper/and deeper"])
def test_every_command_below_a_ledger_names_it(
    office: Path, dialer: Dialer, monkeypatch: pytest.MonkeyPatch, folder: str, arguments: list[str]
) -> None:
    """Where the ledger is, whom it knows, and how to go on, is said; nothing is begun, read or changed."""
    below = office / folder
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    said = dialer(*[word.format(home=office) for word in arguments])
    refused(said, f"there is no ledger in {below}/.dialer, but one in {office}/.dialer (reminders)")
    assert f"DIALER_DATA_DIR={office}/.dialer" in said.err


@pytest.mark.parametrize("command", [["load"], ["run"], ["run", "--sandbox"], ["plan"]])
def test_a_ledger_beside_the_campaign_file_is_named(
    office: Path, dialer: Dialer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: list[str]
) -> None:
    """From any other folder, as a job of cron begins in one."""
    monkeypatch.chdir(tmp_path)
    files = ["the office/c.toml", "the office/l.csv"]
    refused(dialer(command[0], *files, *command[1:]), f"one in {office}/.dialer (reminders)")


def test_a_ledger_above_the_campaign_file_counts_if_it_knows_the_campaign(
    office: Path, dialer: Dialer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Another campaign's file is loaded anywhere; this one's would call its people again."""
    (office / "sub").mkdir()
    shutil.move(office / "c.toml", office / "sub" / "c.toml")
    monkeypatch.chdir(tmp_path)
    refused(dialer("load", "the office/sub/c.toml", "the office/l.csv"), f"one in {office}/.dialer")
    (office / "sub" / "other.toml").write_text(CAMPAIGN.replace("reminders", "other"))
    assert dialer("load", "the office/sub/other.toml", "the office/l.csv").code == 0


def test_a_ledger_that_is_there_but_does_not_know_the_campaign_is_not_taken_for_the_other(
    office: Path, dialer: Dialer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Two offices: a file of one is not loaded into the ledger of the other by being in its folder."""
    other = tmp_path / "another"
    other.mkdir()
    monkeypatch.chdir(other)
    (other / "own.toml").write_text(CAMPAIGN.replace("reminders", "own"))
    assert dialer("load", "own.toml", "../the office/l.csv").code == 0
    said = dialer("load", "../the office/c.toml", "../the office/l.csv")
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert f"does not know reminders, but the one in {office}/.dialer does" in said.err
    # Its own campaign is loaded as ever.
    assert dialer("load", "own.toml", "../the office/l.csv").code == 0


@pytest.mark.parametrize("which", ["that one", "a new one"])
def test_what_the_message_says_to_set_works(
    office: Path, dialer: Dialer, monkeypatch: pytest.MonkeyPatch, which: str
) -> None:
    """Each setting of the message, as it stands there, means the ledger that it says."""
    below = office / "below"
    below.mkdir()
    monkeypatch.chdir(below)
    command = ["load", "../c.toml", "../l.csv", "--rejects", "r.csv"]
    said = dialer(*command).err
    theirs, new = (part.split("; ")[0].strip() for part in said.split("DIALER_DATA_DIR=")[1:3])
    monkeypatch.setenv("DIALER_DATA_DIR", theirs if which == "that one" else new)
    assert dialer(*command, "--json").json["accepted"] == (0 if which == "that one" else 2)


@pytest.mark.parametrize(
    "line", ["DIALER_DATABASE_URL=sqlite:////elsewhere/l.sqlite", "DIALER_DATA_DIR=data"]
)
def test_a_dotenv_above_that_names_the_ledger_is_named(
    dialer: Dialer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    """It is read in its own folder only; without this, the command below it would begin another ledger."""
    (tmp_path / ".env").write_text(f"{line}\n")
    (tmp_path / "c.toml").write_text(CAMPAIGN)
    (tmp_path / "l.csv").write_text(LIST)
    below = tmp_path / "below"
    below.mkdir()
    monkeypatch.chdir(below)
    refused(dialer("load", "../c.toml", "../l.csv"), tmp_path / ".env", line.partition("=")[0])
    monkeypatch.setenv("DIALER_DATA_DIR", str(below / "own"))
    assert dialer("load", "../c.toml", "../l.csv").code == 0


@pytest.mark.parametrize(
    "line", ["DIALER_CALLS_PER_SECOND=5", "DIALER_DATA_DIR=", "#DIALER_DATA_DIR=x", "\xff"]
)
def test_a_dotenv_above_that_names_no_ledger_is_nothing(
    dialer: Dialer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    """Other settings there, and files that are no text, do not keep an operator from loading."""
    (tmp_path / ".env").write_bytes(f"{line}\n".encode("latin-1"))
    below = tmp_path / "below"
    below.mkdir()
    monkeypatch.chdir(below)
    Path("c.toml").write_text(CAMPAIGN)
    Path("l.csv").write_text(LIST)
    assert dialer("load", "c.toml", "l.csv").code == 0


@pytest.mark.parametrize("variable", ["DIALER_DATA_DIR", "DIALER_DATABASE_URL"])
def test_a_relative_setting_is_looked_for_as_well(
    dialer: Dialer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    """`export DIALER_DATA_DIR=data` means another folder in each folder."""
    value = "data" if variable == "DIALER_DATA_DIR" else "sqlite:///data/ledger.sqlite"
    monkeypatch.setenv(variable, value)
    (tmp_path / "c.toml").write_text(CAMPAIGN)
    (tmp_path / "l.csv").write_text(LIST)
    monkeypatch.chdir(tmp_path)
    assert dialer("load", "c.toml", "l.csv").code == 0
    below = tmp_path / "below"
    below.mkdir()
    monkeypatch.chdir(below)
    said = dialer("load", "../c.toml", "../l.csv")
    refused(said, f"one in {tmp_path}/data (reminders)", f"{variable}=")
    assert not Path("data").exists()


def test_nothing_near_means_that_a_new_one_is_begun(
    dialer: Dialer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first list of a new folder needs no setting, and asking before that says where was looked."""
    monkeypatch.chdir(tmp_path)
    said = dialer("status")
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert "there is no ledger at .dialer/ledger.sqlite yet; load a list first" in said.err
    assert f"looked in {tmp_path} and the folders above it" in said.err
    Path("c.toml").write_text(CAMPAIGN)
    Path("l.csv").write_text(LIST)
    assert dialer("load", "c.toml", "l.csv").code == 0
    assert dialer("status").code == 0


def test_anothers_ledger_above_keeps_nobody_from_working(
    office: Path, dialer: Dialer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ledger that this user may not read is not theirs."""
    below = office / "below"
    below.mkdir()
    monkeypatch.chdir(below)
    asked, theirs = os.access, office / ".dialer" / "ledger.sqlite"
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != theirs and asked(path, mode))
    assert dialer("load", "../c.toml", "../l.csv", "--rejects", "r.csv").code == 0
