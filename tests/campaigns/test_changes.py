from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from campaigns.campaign import Campaign
from campaigns.changes import Change, changes, more_often
from campaigns.ledger.lists import Loaded
from campaigns.ledger.rules import Judged
from campaigns.load import LoadReport
from campaigns.load_view import as_json, in_words

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
OLD: dict[str, Any] = {
    "pacing": {"calls_per_second": 1.0},
    "redial": {"max_attempts": 3, "busy": "10m", "no_answer": "2h"},
    "list": {"attributes": {"Name": "name"}},
}


@pytest.fixture
def campaign() -> Callable[..., Campaign]:
    def make(**tables: Any) -> Campaign:
        connect = {
            "instance_id": "10a4c4eb-f57e-4d4c-b602-bf39176ced07",
            "contact_flow_id": "b0b8f2dd-ed1b-4c44-af36-ce189a178181",
            "source_phone_number": "+14155550199",
        }
        connect |= tables.pop("connect", {})
        return Campaign.model_validate({"name": "reminders", "connect": connect} | OLD | tables)

    return make


@pytest.fixture
def said(campaign: Callable[..., Campaign]) -> Callable[..., list[str]]:
    """What is said of a campaign's file that was changed so."""

    def say(*, judged: Judged = Judged(), **tables: Any) -> list[str]:  # noqa: B008 (frozen)
        return in_words(report(changes(campaign(), campaign(**tables)), judged))[1:]

    return say


def report(changed: tuple[Change, ...], judged: Judged = Judged()) -> LoadReport:  # noqa: B008 (frozen)
    loaded = Loaded(
        campaign="reminders",
        rows=0,
        accepted=0,
        duplicates=0,
        rejected=0,
        suppressed=0,
        changes=changed,
        judged=judged,
    )
    return LoadReport(loaded, None)


def test_without_a_change_there_is_none(campaign: Callable[..., Campaign]) -> None:
    """The same choices, in another order or spelling, are no change."""
    redial = {"no_answer": "7200s", "busy": {"wait": "600s"}, "max_attempts": 3}
    assert changes(campaign(), campaign(redial=redial, pacing={"calls_per_second": 1})) == ()


def test_each_key_is_told_with_what_it_was_and_is(said: Callable[..., list[str]]) -> None:
    """Waits are written as in the file; what came and what went is told as such."""
    assert said(
        pacing={"calls_per_second": 2.0},
        redial={"max_attempts": 3, "busy": {"wait": "10m", "max_redials": 2}, "voicemail": "86400s"},
    ) == [
        "changed in the campaign's file: pacing.calls_per_second: 1.0 → 2.0, "
        "redial.busy: 10m → 10m (2 redials at most), redial.no_answer: 2h → (removed), "
        "redial.voicemail: (none) → 1d; it holds for calls to come"
    ]


def test_what_concerns_the_list_holds_for_other_rows(said: Callable[..., list[str]]) -> None:
    """Whoever is loaded keeps the attributes that were made then."""
    assert said(list={"attributes": {"Text": "Hi {name}, hello"}}, redial=OLD["redial"] | {"busy": "5m"}) == [
        "changed in the campaign's file: redial.busy: 10m → 5m; it holds for calls to come",
        "changed in the campaign's file: list.attributes.Name: name → (removed), "
        'list.attributes.Text: (none) → "Hi {name}, hello"; it holds for rows that are loaded from now on',
    ]


@pytest.mark.parametrize(
    ("connect", "words"),
    [
        ({"source_phone_number": "+14155550177"}, "+14155550199 → +14155550177"),
        ({"traffic_type": "CAMPAIGN"}, "connect.traffic_type: (none) → CAMPAIGN"),
        ({"description": "one\ntwo"}, r'connect.description: (none) → "one\ntwo"'),
        ({"description": "x" * 4_000}, f"connect.description: (none) → {'x' * 59}…;"),
        ({"references": {"Doc": {"value": "https://a.b"}}}, 'connect.references.Doc: (none) → {"value": "h'),
    ],
)
def test_any_value_stays_on_its_line(
    said: Callable[..., list[str]], connect: dict[str, Any], words: str
) -> None:
    """Texts with line ends, long texts and tables are shown short, in one line."""
    (line,) = said(connect=connect)
    assert words in line
    assert "\n" not in line


def test_the_detection_is_told_as_true(said: Callable[..., list[str]]) -> None:
    """A switch is shown as the file writes it."""
    (line,) = said(connect={"traffic_type": "CAMPAIGN", "answering_machine_detection": True})
    assert "connect.answering_machine_detection: false → true" in line


def test_what_becomes_of_those_who_wait_is_told(said: Callable[..., list[str]]) -> None:
    """Other times, redials given up, and how to dial those again for whom the rules came too late."""
    from campaigns.attempt import Outcome

    judged = Judged(moved=1_200, done=1, too_late=(Outcome.BUSY, Outcome.VOICEMAIL))
    assert said(judged=judged, redial=OLD["redial"] | {"busy": "5m"})[1:] == [
        "of those who waited to be dialed again: 1,200 at another time now, 1 not any more",
        "whoever is done stays done; to dial them again all the same: "
        "dialer requeue reminders --outcome busy,voicemail",
    ]


def test_machines_read_the_same(campaign: Callable[..., Campaign]) -> None:
    """`changes` has the keys, what they were and are, with null for nothing; `changed` counts rows."""
    now = campaign(
        redial={"max_attempts": 2, "busy": {"wait": "5m", "max_redials": 1}, "when_unknown": "hold"}
    )
    found = as_json(report(changes(campaign(), now), Judged(moved=3, done=2)))
    assert found["changed"] == 0
    assert found["changes"] == [
        {"key": "redial.busy", "was": "10m", "now": {"wait": "5m", "max_redials": 1}},
        {"key": "redial.no_answer", "was": "2h", "now": None},
        {"key": "redial.max_attempts", "was": 3, "now": 2},
        {"key": "redial.when_unknown", "was": None, "now": "hold"},
    ]
    assert found["redials"] == {"moved": 3, "given_up": 2}


@pytest.mark.parametrize(
    ("rules", "outcomes"),
    [
        ({}, []),
        ({"voicemail": "1d"}, ["voicemail"]),
        ({"busy": "1m"}, []),
        ({"max_attempts": 4}, ["busy", "no_answer"]),
        ({"max_attempts": 2}, []),
        ({"max_attempts": 1, "voicemail": "1d"}, []),
        ({"busy": {"wait": "10m", "max_redials": 2}}, []),
    ],
)
def test_more_generous_rules_are_seen(
    campaign: Callable[..., Campaign], rules: dict[str, Any], outcomes: list[str]
) -> None:
    """A new outcome, more attempts, more redials; not another wait, and nothing where one attempt is all."""
    now = campaign(redial=OLD["redial"] | rules)
    assert sorted(more_often(campaign().redial, now.redial)) == outcomes


def test_a_limit_that_is_lifted_is_more_generous(campaign: Callable[..., Campaign]) -> None:
    """From two redials at most to three, or to as many as there are attempts."""
    two, three = (
        campaign(redial=OLD["redial"] | {"busy": {"wait": "10m", "max_redials": most}}) for most in (2, 3)
    )
    assert more_often(two.redial, three.redial) == ("busy",)
    assert more_often(two.redial, campaign().redial) == ("busy",)
    assert more_often(three.redial, two.redial) == ()
