"""A campaign that has run more than once: each run has its own results, status and stories."""

import csv
import io
import json
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import insert

from campaigns.attempt import RunState
from campaigns.ledger import open_ledger, runs
from campaigns.ledger.tables import runs as runs_table


@pytest.fixture
def twice(
    desk_of: Any, sqlite_ledger_url: str, monkeypatch: pytest.MonkeyPatch, dialer: Callable[..., Any]
) -> Callable[..., Any]:
    """The command, for a campaign whose first run had two people and whose second has three others."""
    ledger = open_ledger(sqlite_ledger_url)
    desk = desk_of(ledger)
    desk.load(desk.campaign(), desk.people(2))
    with ledger.write() as db:
        campaign_id = runs.find(db, "reminders").campaign_id
        row = {"campaign_id": campaign_id, "number": 2, "state": RunState.LOADED, "loaded_at": desk.noon}
        db.execute(insert(runs_table).values(row))
    desk.load(desk.campaign(), desk.people(3, first=10))
    ledger.close()
    monkeypatch.setenv("DIALER_DATABASE_URL", sqlite_ledger_url)
    return dialer


@pytest.mark.parametrize(
    ("options", "keys"),
    [((), ["key-10", "key-11", "key-12"]), (("--run", "1"), ["key-1", "key-2"])],
)
def test_each_has_its_results(twice: Callable[..., Any], options: tuple[str, ...], keys: list[str]) -> None:
    """Without a number it is the latest."""
    out = twice("export", "reminders", *options).out
    assert [row["key"] for row in csv.DictReader(io.StringIO(out.lstrip("\ufeff")))] == keys


def test_each_has_its_status(twice: Callable[..., Any]) -> None:
    """Its number is in it."""
    seen = [json.loads(twice("status", "reminders", "--run", number, "--json").out) for number in "12"]
    assert [(each["run"], each["recipients"]["total"]) for each in seen] == [(1, 2), (2, 3)]


def test_each_has_its_stories(twice: Callable[..., Any]) -> None:
    """Somebody of the first run is no part of the second; without a number they are found all the same."""
    for options in ([], ["--run", "1"]):
        assert twice("explain", "reminders", "key-1", *options).out.startswith(
            "+14150000001, key key-1: waiting"
        )
    assert twice("explain", "reminders", "key-10").out.startswith("+14150000010, key key-10, run 2: waiting")
    assert twice("explain", "reminders", "key-10", "--json").json["recipients"][0]["run"] == 2
    for wrong in (["key-1", "--run", "2"], ["key-99"]):
        said = twice("explain", "reminders", *wrong)
        assert (said.code, "nobody in reminders has the key" in said.err) == (2, True)


@pytest.mark.parametrize("command", ["export", "status", "explain"])
def test_a_run_that_there_is_not(twice: Callable[..., Any], command: str) -> None:
    """One line says which ones there are."""
    whom = ["key-1"] if command == "explain" else []
    said = twice(command, "reminders", *whom, "--run", "3")
    assert (said.code, said.err) == (2, "dialer: reminders has no run 3; there are runs 1 to 2\n")


def test_a_run_is_one_campaigns(twice: Callable[..., Any]) -> None:
    """The table of all campaigns has no runs to choose from."""
    said = twice("status", "--run", "1")
    assert said.code == 2
    assert "say which" in said.err
