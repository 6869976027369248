"""`dialer drop`, `load --gone` and what the other commands tell of it, as a shell would call them."""

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

[list]
default_region = "US"
key = "id"
attributes = ["name"]
"""
LIST = """id,phone,name
A-1,4155550101,Ana
A-2,4155550102,Bo
A-3,4155550103,Cy
"""
CORRECTED = """id,phone,name
A-1,4155550111,Ana
A-2,4155550102,Bo
"""

Dialer = Callable[..., Any]
"""The `dialer` fixture of conftest.py: arguments → code, out, err, json."""


@pytest.fixture
def loaded(dialer: Dialer) -> Dialer:
    """The command, after a list of three was loaded."""
    Path("campaign.toml").write_text(CAMPAIGN)
    Path("list.csv").write_text(LIST)
    assert dialer("load", "campaign.toml", "list.csv").code == 0
    Path("list.csv").write_text(CORRECTED)
    return dialer


def test_a_corrected_list_is_said_and_counted(loaded: Dialer) -> None:
    """In words the first time; for machines it is changed no more afterwards."""
    said = loaded("load", "campaign.toml", "list.csv")
    assert said.out.splitlines()[:3] == [
        "reminders: 2 rows: 0 accepted, 2 duplicates",
        "1 of the duplicates changed: the recipient takes the new row",
        "1 loaded before not on this list: kept; to take them out, load the list with --gone drop",
    ]
    again = loaded("load", "campaign.toml", "list.csv", "--json").json
    counts = ("rows", "accepted", "duplicates", "rejected", "changed", "updated", "gone", "gone_dropped")
    assert [again[name] for name in counts] == [2, 0, 2, 0, 0, 0, 1, 0]
    assert again["changes"] == []


def test_a_plan_lists_the_changed_rows_first(loaded: Dialer) -> None:
    """With the columns that differ, before anything is loaded; the numbers are those of the load."""
    lines = loaded("plan", "campaign.toml", "list.csv").out.splitlines()
    assert lines[1:4] == [
        "changed since they were loaded: 1 would take the new row",
        "  line 2, key A-1: phone",
        "1 loaded before not on this list: kept, unless it is loaded with --gone drop",
    ]
    planned = loaded("plan", "campaign.toml", "list.csv", "--json").json
    assert planned["changed_rows"] == [{"line": 2, "key": "A-1", "columns": ["phone"], "taken": True}]
    done = loaded("load", "campaign.toml", "list.csv", "--json").json
    for count in ("changed", "updated", "gone", "duplicates", "rejected"):
        assert planned[count] == done[count], count


def test_a_rejected_row_is_not_gone(loaded: Dialer) -> None:
    """Neither for the plan nor for the load."""
    Path("list.csv").write_text(CORRECTED.replace("4155550102", "n/a"))
    planned = loaded("plan", "campaign.toml", "list.csv", "--json").json
    done = loaded("load", "campaign.toml", "list.csv", "--gone", "drop", "--json").json
    assert (planned["gone"], done["gone"], done["gone_dropped"], done["rejected"]) == (1, 1, 1, 1)


def test_a_recipient_whose_new_number_is_rejected_is_not_called_by_the_old_one(loaded: Dialer) -> None:
    """The list says that the old number holds no more; the corrected rejects file puts them back."""
    Path("list.csv").write_text(LIST.replace("4155550102", "n/a").replace("4155550103", "555"))
    said = loaded("load", "campaign.toml", "list.csv")
    assert said.code == 0
    assert (
        "2 of the rejected rows have changed since they were loaded: their recipients are not called until "
        "they are corrected"
    ) in said.out
    assert loaded("status", "reminders", "--json").json["recipients"]["dropped"] == 2
    assert "which was rejected" in loaded("explain", "reminders", "A-2").out
    assert loaded("load", "campaign.toml", "list.csv", "--json").json["rejected_dropped"] == 0
    rejects = Path("list.rejects.csv").read_text(encoding="utf-8-sig").replace("n/a", "4155550122")
    Path("corrected.csv").write_text(rejects)
    done = loaded("load", "campaign.toml", "corrected.csv", "--json").json
    assert (done["updated"], done["put_back"], done["rejected_dropped"]) == (1, 1, 0)
    rows = loaded("export", "reminders").out.replace("'", "").splitlines()[1:]
    assert [row.split(",")[1:4] for row in rows] == [
        ["A-1", "+14155550101", "waiting"],
        ["A-2", "+14155550122", "waiting"],
        ["A-3", "+14155550103", "dropped"],
    ]


def test_a_row_that_is_rejected_as_it_stood_changes_nothing(loaded: Dialer) -> None:
    """A campaign file that names a wrong column rejects all rows: nothing has changed about the people."""
    Path("list.csv").write_text(LIST)
    Path("campaign.toml").write_text(CAMPAIGN.replace("[list]\n", '[list]\ntime_zone = "name"\n'))
    done = loaded("load", "campaign.toml", "list.csv", "--json")
    assert (done.code, done.json["rejected"], done.json["rejected_dropped"]) == (1, 3, 0)
    assert loaded("status", "reminders", "--json").json["recipients"]["waiting"] == 3


def test_gone_drop_takes_out_and_status_and_export_show_it(loaded: Dialer) -> None:
    """A new state beside the others; the list that has them again puts them back."""
    said = loaded("load", "campaign.toml", "list.csv", "--gone", "drop").out
    assert "1 loaded before not on this list: 1 was taken out" in said
    assert loaded("status", "reminders", "--json").json["recipients"]["dropped"] == 1
    assert "2 waiting, 1 dropped" in loaded("status", "reminders").out
    rows = loaded("export", "reminders").out.splitlines()
    assert [row.replace("'", "").split(",")[1:4] for row in rows[1:]] == [
        ["A-1", "+14155550111", "waiting"],
        ["A-2", "+14155550102", "waiting"],
        ["A-3", "+14155550103", "dropped"],
    ]
    Path("list.csv").write_text(LIST)
    assert "1 on this list again: put back" in loaded("load", "campaign.toml", "list.csv").out


def test_a_rejects_file_takes_nobody_out(loaded: Dialer) -> None:
    """It has a part of the list only: the others wait as before."""
    Path("list.csv").write_text(LIST.replace("4155550102", "n/a"))
    loaded("load", "campaign.toml", "list.csv")
    said = loaded("load", "campaign.toml", "list.rejects.csv", "--gone", "drop")
    assert said.code == 2
    assert "is a rejects file" in said.err
    assert loaded("status", "reminders", "--json").json["recipients"]["waiting"] == 2


@pytest.mark.parametrize("rows", ["", "A-1,n/a,Ana\nA-2,n/a,Bo\n", "B-1,n/a,Di\n"])
def test_a_list_without_anybody_takes_nobody_out(loaded: Dialer, rows: str) -> None:
    """An export that failed has a header only, or no number in it, and says nothing of those loaded."""
    Path("list.csv").write_text("id,phone,name\n" + rows)
    said = loaded("load", "campaign.toml", "list.csv", "--gone", "drop")
    assert said.code == 2
    assert "--gone drop would take out all recipients, so nothing was changed" in said.err
    assert len(said.err.splitlines()) == 1
    assert loaded("status", "reminders", "--json").json["recipients"]["dropped"] == 0
    assert Path("list.rejects.csv").exists() == bool(rows)


def test_lost_zeros_are_put_back_in_keys_too(dialer: Dialer) -> None:
    """A number whose 0 a spreadsheet has eaten is the key, in a rejected row and for `drop`."""
    campaign = CAMPAIGN.replace('"US"\nkey = "id"', '"DE"\nleading_zeros = "lost"\ntime_zone = "tz"')
    Path("campaign.toml").write_text(campaign.replace("reminders", "zeros"))
    rows = "phone,name,tz\n30123456,Ana,Europe/Paris\n30123457,Bo,Europe/Paris\n"
    Path("list.csv").write_text(rows)
    assert dialer("load", "campaign.toml", "list.csv", "--json").json["accepted"] == 2
    Path("list.csv").write_text(rows.replace("Bo,Europe/Paris", "Bo,EST"))
    done = dialer("load", "campaign.toml", "list.csv", "--gone", "drop", "--json").json
    assert (done["rejected"], done["gone"], done["gone_dropped"]) == (1, 0, 0)
    assert dialer("drop", "zeros", "30123456").code == 0


def test_drop_and_undo_say_what_became_of_each(loaded: Dialer) -> None:
    """The same list does not put them back; --undo does."""
    said = loaded("drop", "reminders", "A-1", "A-3")
    assert said.out.splitlines() == [
        "reminders: 2 recipients taken out",
        "  A-1: taken out; no call begins",
        "  A-3: taken out; no call begins",
        "to put one back: dialer drop reminders KEY --undo",
    ]
    told = loaded("load", "campaign.toml", "list.csv").out
    assert "1 of the duplicates stays taken out by dialer drop" in told
    undone = loaded("drop", "reminders", "A-1", "A-2", "--undo", "--json").json
    assert (undone["waiting"], undone["already"]) == (1, 1)
    assert {each["key"]: each["state"] for each in undone["recipients"]} == {
        "A-1": "waiting",
        "A-2": "waiting",
    }


def test_an_unknown_key_is_a_mistake(loaded: Dialer) -> None:
    """One line, and nothing is changed."""
    said = loaded("drop", "reminders", "A-1", "A-33")
    assert (said.code, said.out) == (2, "")
    expected = "nobody in reminders has the key 'A-33'; nothing was changed; did you mean A-3?"
    assert said.err.strip() == f"dialer: {expected}"
    assert loaded("drop", "reminder", "A-1").code == 2


def test_explain_tells_of_the_old_row_by_either_number(loaded: Dialer) -> None:
    """And that, and by whom, the recipient was taken out."""
    loaded("load", "campaign.toml", "list.csv")
    loaded("drop", "reminders", "A-1")
    for number in ("4155550101", "4155550111", "A-1"):
        told = loaded("explain", "reminders", number)
        assert told.code == 0, told.err
        assert "loaded from line 2 of list.csv, number +14155550101; replaced at" in told.out
        assert "taken out by an operator (dialer drop)" in told.out
        assert "next: nothing: it was taken out" in told.out
    (story,) = loaded("explain", "reminders", "A-1", "--json").json["recipients"]
    assert [each["what"] for each in story["history"]] == ["replaced", "dropped"]
    assert (story["history"][0]["phone"], story["dropped_by"]) == ("+14155550101", "operator")
