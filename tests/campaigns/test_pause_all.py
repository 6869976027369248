"""`dialer pause --all` and `dialer resume --all`: everything stops, and what was stopped by it goes on."""

import socket
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from campaigns.ledger import runs, schedules
from campaigns.ledger.choices import put_campaign
from campaigns.ledger.health import beat
from campaigns.ledger.identity import read_identity, stop
from campaigns.report import status

if TYPE_CHECKING:
    from tests.conftest import Desk

Dialer = Callable[..., Any]


@pytest.fixture
def dialer(dialer: Dialer, ledger_url: str, monkeypatch: pytest.MonkeyPatch) -> Dialer:
    """The command, on the test's ledger."""
    monkeypatch.setenv("DIALER_DATABASE_URL", ledger_url)
    return dialer


def states(desk: "Desk", *names: str) -> list[str]:
    return [desk.run(name).state for name in names]


def scheduled(desk: "Desk", name: str, folder: Path) -> None:
    """A campaign that has a schedule and has not begun a run."""
    schedule = {"cron": "0 9 * * *", "time_zone": "UTC", "list": "people.csv"}
    now = datetime.now(UTC)
    with desk.ledger.write() as db:
        campaign_id, _ = put_campaign(db, desk.campaign(name, schedule=schedule), now)
        schedules.enter(db, campaign_id, folder, now)


def paused_schedules(desk: "Desk") -> dict[str, str | None]:
    return {each.campaign.name: each.paused for each in schedules.scheduled(desk.ledger)}


def test_everything_that_goes_on_is_paused_and_goes_on_again(
    desk: "Desk", dialer: Dialer, tmp_path: Path
) -> None:
    """Running campaigns and schedules; what waits to be started is not started by it."""
    desk.started(2, "first")
    desk.started(1, "second")
    desk.load(desk.campaign("loaded"), desk.people(1, first=90_000))
    scheduled(desk, "daily", tmp_path)
    desk.claim()
    said = dialer("pause", "--all")
    assert (said.code, said.err) == (0, "")
    assert said.out.splitlines() == [
        "daily is paused",
        "first is paused",
        "second is paused",
        "go on with: dialer resume --all",
    ]
    assert states(desk, "first", "second", "loaded") == ["paused", "paused", "loaded"]
    assert paused_schedules(desk) == {"daily": runs.PAUSED_WITH_ALL}
    assert desk.claim() == []
    assert desk.states("first") == ["waiting"] * 2
    assert dialer("pause", "--all").out == "no campaign is running or scheduled\n"
    said = dialer("resume", "--all")
    assert (said.code, said.out.splitlines()) == (
        0,
        ["daily is resumed", "first is resumed", "second is resumed"],
    )
    assert states(desk, "first", "second", "loaded") == ["running", "running", "loaded"]
    assert paused_schedules(desk) == {"daily": None}
    assert dialer("resume", "--all").out == "no campaign was paused by: dialer pause --all\n"


def test_what_was_paused_before_stays_paused_and_is_named(desk: "Desk", dialer: Dialer) -> None:
    """By an operator, or by itself: `resume --all` undoes `pause --all`, and nothing else."""
    for name in ("by-hand", "by-itself", "with-all"):
        desk.started(1, name)
    desk.pause("by-hand")
    with desk.ledger.write() as db:
        runs.pause(db, desk.run("by-itself").id, "AccessDeniedException: no right", code="AccessDenied")
    dialer("pause", "--all")
    said = dialer("resume", "--all")
    assert said.out.splitlines() == [
        "by-hand stays paused: by an operator; go on with: dialer resume by-hand",
        "by-itself stays paused: AccessDeniedException: no right; go on with: dialer resume by-itself",
        "with-all is resumed",
    ]
    assert states(desk, "by-hand", "by-itself", "with-all") == ["paused", "paused", "running"]


def test_pause_of_all_is_no_fault_and_says_how_to_go_on(desk: "Desk", dialer: Dialer) -> None:
    """`dialer run` does not end with it as with a campaign that has paused itself."""
    desk.started(1)
    dialer("pause", "--all")
    seen = status(desk.ledger, "reminders", desk.noon)
    assert (seen.run.state, seen.fault) == ("paused", False)
    words = (
        "paused by an operator, with all others; go on with: dialer resume --all, or dialer resume reminders"
    )
    assert seen.reason == words
    # One of them may go on before the others.
    assert dialer("resume", "reminders").code == 0
    assert states(desk, "reminders") == ["running"]


@pytest.mark.parametrize("verb", ["pause", "resume"])
@pytest.mark.parametrize("arguments", [(), ("reminders", "--all")])
def test_one_or_all(dialer: Dialer, verb: str, arguments: tuple[str, ...]) -> None:
    """A name and --all exclude each other, and one of them is needed."""
    said = dialer(verb, *arguments)
    assert (said.code, said.out) == (2, "")
    words = f"dialer: say which campaign, or all of them: dialer {verb} NAME, or dialer {verb} --all\n"
    assert said.err == words


def test_resume_all_lets_a_stopped_ledger_go_on(desk: "Desk", dialer: Dialer) -> None:
    """In a new epoch; until then status, health and the feed say that it is stopped."""
    desk.started(1)
    now = desk.ledger.now()
    with desk.ledger.write() as db:
        assert stop(
            db, "ledger_went_back", "the ledger has gone back: it has lost 1 call", now, least_epoch=0
        )
        assert not stop(db, "another", "another", now, least_epoch=0)
    beat(desk.ledger, f"dial@{socket.gethostname()}:1", "dial", "connect", None, now)
    assert desk.claim() == []
    told = dialer("status", "reminders", "--json").json
    assert (told["state"], told["reason"]) == ("running", "the ledger has gone back: it has lost 1 call")
    assert told["stopped"]["code"] == "ledger_went_back"
    assert datetime.fromisoformat(told["stopped"]["at"]) - now < timedelta(seconds=1)
    assert "the ledger has gone back" in dialer("status", "reminders").out
    assert dialer("health", "dial").out == "dial: alive, but the ledger has gone back: it has lost 1 call\n"
    before = read_identity(desk.ledger).epoch
    said = dialer("resume", "--all")
    assert said.out.splitlines()[0] == (
        "this ledger may be dialed from again; it was stopped: the ledger has gone back: it has lost 1 call"
    )
    assert not read_identity(desk.ledger).stopped
    assert read_identity(desk.ledger).epoch > before
    assert len(desk.claim()) == 1
    assert dialer("status", "reminders", "--json").json["stopped"] is None
