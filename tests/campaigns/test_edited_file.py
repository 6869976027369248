"""A campaign's file is edited after it was loaded: `load` without a list, `resume`."""

import os
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from campaigns.ledger import open_ledger, runs
from campaigns.ledger.runs import campaign_of, find

CAMPAIGN = """
name = "reminders"

[connect]
instance_id = "10a4c4eb-f57e-4d4c-b602-bf39176ced07"
contact_flow_id = "b0b8f2dd-ed1b-4c44-af36-ce189a178181"
source_phone_number = "+14155550199"
"""
WRONG, RIGHT = "b0b8f2dd-ed1b-4c44-af36-ce189a178181", "c1c9f3ee-fe2c-4d55-8047-df290a289292"
FILE = Path("campaign.toml")

Dialer = Callable[..., Any]
"""The `dialer` fixture of conftest.py: arguments → code, out, err, json."""


def edit(text: str, *, newer: bool = True) -> None:
    """Write the campaign's file, as one that was written to later than before or earlier."""
    was = FILE.stat().st_mtime_ns
    FILE.write_text(text)
    at = was + (60 if newer else -60) * 10**9
    os.utime(FILE, ns=(at, at))


def flow() -> str:
    with closing(open_ledger("sqlite:///.dialer/ledger.sqlite")) as ledger, ledger.read() as db:
        return campaign_of(db, find(db, "reminders").id).connect.contact_flow_id


@pytest.fixture
def paused(dialer: Dialer) -> Dialer:
    """A campaign with a wrong flow that has paused itself."""
    FILE.write_text(CAMPAIGN)
    Path("list.csv").write_text("phone\n+14155550101\n")
    assert dialer("load", "campaign.toml", "list.csv").code == 0
    dialer("start", "reminders")
    with closing(open_ledger("sqlite:///.dialer/ledger.sqlite")) as ledger, ledger.write() as db:
        assert runs.pause(db, runs.find(db, "reminders").id, "there is no such flow", "ResourceNotFound")
    return dialer


def test_resume_goes_on_by_the_mended_file(paused: Dialer) -> None:
    """Fix it and resume: what has changed is said, and holds."""
    edit(CAMPAIGN.replace(WRONG, RIGHT))
    said = paused("resume", "reminders")
    assert said.code == 0
    assert said.out.splitlines() == [
        f"changed in the campaign's file: connect.contact_flow_id: {WRONG} → {RIGHT}; "
        "it holds for calls to come",
        "reminders is resumed; watch it with: dialer status reminders",
    ]
    assert flow() == RIGHT
    assert paused("resume", "reminders").out == "reminders is running already\n"


def test_a_file_that_cannot_be_used_stops_the_resuming(paused: Dialer) -> None:
    """Nothing is dialed by a file that is being edited; --as-loaded does not look at it."""
    edit(CAMPAIGN + "\n[redial]\nmax_attempts = ")
    said = paused("resume", "reminders")
    assert (said.code, said.out) == (2, "")
    assert "is not a TOML file" in said.err
    assert "dialer resume reminders --as-loaded" in said.err
    assert paused("status", "reminders", "--json").json["state"] == "paused"
    assert paused("resume", "reminders", "--as-loaded").code == 0
    assert (flow(), paused("status", "reminders", "--json").json["state"]) == (WRONG, "running")


def test_an_older_file_that_differs_is_not_taken_unasked(paused: Dialer) -> None:
    """Another machine's copy at the same path may be the version before the one that was loaded."""
    edit(CAMPAIGN.replace(WRONG, RIGHT), newer=False)
    said = paused("resume", "reminders")
    assert said.code == 2
    assert f"to use it: dialer load {FILE.resolve()}" in said.err
    assert (flow(), paused("status", "reminders", "--json").json["state"]) == (WRONG, "paused")
    assert paused("load", "campaign.toml").code == 0
    assert (paused("resume", "reminders").code, flow()) == (0, RIGHT)


def test_a_file_without_other_choices_is_no_change(paused: Dialer) -> None:
    """A comment, or another order."""
    edit("# checked\n" + CAMPAIGN)
    assert paused("resume", "reminders").out.splitlines() == [
        "reminders is resumed; watch it with: dialer status reminders"
    ]


def test_without_the_file_it_goes_on_as_loaded(paused: Dialer) -> None:
    """On another machine there may be none; the same for a file that became another campaign's."""
    FILE.unlink()
    said = paused("resume", "reminders")
    assert said.code == 0
    assert "cannot be read here; reminders goes on as it was loaded" in said.err
    FILE.write_text(CAMPAIGN.replace('"reminders"', '"other"'))
    paused("pause", "reminders")
    assert "is the file of other now" in paused("resume", "reminders").err


def test_resume_all_takes_mended_files_over_and_leaves_the_others_paused(paused: Dialer) -> None:
    """One campaign's file keeps no other from going on."""
    paused("resume", "reminders")
    Path("other.toml").write_text(CAMPAIGN.replace('"reminders"', '"other"'))
    assert paused("load", "other.toml", "list.csv").code == 0
    paused("start", "other")
    paused("pause", "--all")
    edit(CAMPAIGN + "\n[redial]\nmax_attempts = ")
    said = paused("resume", "--all")
    assert "other is resumed" in said.out
    assert "reminders stays paused" in said.out
    assert "is not a TOML file" in said.out
    edit(CAMPAIGN.replace(WRONG, RIGHT))
    assert "reminders is resumed" in paused("resume", "--all").out
    assert flow() == RIGHT


def test_load_without_a_list_takes_the_choices_over(paused: Dialer) -> None:
    """No recipient is loaded, and nothing is resumed."""
    edit(CAMPAIGN.replace(WRONG, RIGHT))
    said = paused("load", "campaign.toml")
    assert said.out.startswith("changed in the campaign's file: connect.contact_flow_id: ")
    assert (flow(), paused("status", "reminders", "--json").json["state"]) == (RIGHT, "paused")
    assert paused("load", "campaign.toml").out == "reminders: nothing has changed in the campaign's file\n"
    again = paused("load", "campaign.toml", "--json").json
    assert (again["rows"], again["changed"], again["changes"]) == (0, 0, [])


def test_load_without_a_list_needs_a_campaign_that_is_there(dialer: Dialer) -> None:
    """A new one has no recipients; nothing is entered."""
    FILE.write_text(CAMPAIGN)
    assert dialer("load", "campaign.toml").code == 2
    Path("list.csv").write_text("phone\n+14155550101\n")
    dialer("load", "campaign.toml", "list.csv")
    FILE.write_text(CAMPAIGN.replace('"reminders"', '"other"'))
    said = dialer("load", "campaign.toml")
    assert said.code == 2
    assert "other has no list in the ledger yet; name one: dialer load CAMPAIGN.toml LIST.csv" in said.err
    assert [each["name"] for each in dialer("status", "--json").json["campaigns"]] == ["reminders"]
    assert "are for a list" in dialer("load", "campaign.toml", "--gone", "drop").err
