"""Stored choices are never judged anew, and one campaign that cannot be read keeps no other."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import phonenumbers
import pytest
from sqlalchemy import text

from campaigns.attempt import RunState
from campaigns.campaign import Campaign
from campaigns.ledger import Ledger, runs
from campaigns.ledger.claims import somebody_is_due
from campaigns.ledger.in_progress import CallLimit, calls_by_instance
from campaigns.ledger.lost_calls import instances_of
from campaigns.ledger.outcomes import take_due_follows, take_in_between, take_probe
from campaigns.ledger.schedules import scheduled, unreadable
from campaigns.ledger.stored_choices import running_elsewhere
from campaigns.ledger.unknowns import take_due_unknowns
from campaigns.mistake import Mistake
from campaigns.report import every_status, status
from campaigns.stored import NOT_JSON, UNKNOWN_KEY, UNKNOWN_VALUE, Unreadable, read_stored
from tests.conftest import LEASE, NOON, Desk

LATER = NOON + timedelta(seconds=60)
NO_LIMIT = CallLimit(100, timedelta(minutes=5))


def stored(ledger: Ledger, name: str) -> dict[str, Any]:
    """A campaign's choices as they stand in the ledger."""
    with ledger.read() as db:
        found = db.execute(text("SELECT choices FROM campaigns WHERE name = :name"), {"name": name}).scalar()
    return json.loads(found) if isinstance(found, str) else found


def store(ledger: Ledger, name: str, choices: str) -> None:
    """Put a text in the place of a campaign's choices, as another version or a fault may have written it."""
    column = "CAST(:choices AS json)" if not ledger.is_sqlite else ":choices"
    with ledger.write() as db:
        statement = f"UPDATE campaigns SET choices = {column}, version = version + 1 WHERE name = :name"
        db.execute(text(statement), {"choices": choices, "name": name})


def changed(table: str, **keys: Any) -> Callable[[dict[str, Any]], str]:
    """Makes a text of choices with other values in one table."""
    return lambda choices: json.dumps(choices | {table: {**(choices[table] or {}), **keys}})


SPOILT = {
    "an unknown key": (changed("connect", colour="red"), UNKNOWN_KEY, "connect.colour"),
    "an unknown table": (lambda choices: json.dumps(choices | {"fax": {}}), UNKNOWN_KEY, "fax"),
    "an unknown value": (changed("connect", traffic_type="LATER"), UNKNOWN_VALUE, "connect.traffic_type"),
    "a rate of nothing": (changed("pacing", calls_per_second=0), UNKNOWN_VALUE, "pacing.calls_per_second"),
    "a weight of nothing": (changed("pacing", weight=0), UNKNOWN_VALUE, "pacing.weight"),
    "a number beyond 64 bits": (changed("redial", max_attempts=2**70), UNKNOWN_VALUE, "redial.max_attempts"),
    "a NUL": (changed("connect", name="a\0b"), UNKNOWN_VALUE, "connect.name"),
    "half a character": (changed("connect", name="\ud800"), UNKNOWN_VALUE, "connect.name"),
    "another outcome": (changed("redial", after={"eaten": "60s"}), UNKNOWN_VALUE, "redial.after"),
    "another window": (changed("calling_hours", monday=["soon"]), UNKNOWN_VALUE, "calling_hours"),
    "no table": (lambda choices: json.dumps(choices | {"connect": 3}), UNKNOWN_VALUE, "connect"),
    "a list": (lambda _: "[]", NOT_JSON, None),
    "nothing": (lambda _: "null", NOT_JSON, None),
    "an empty table": (lambda _: "{}", UNKNOWN_VALUE, "name"),
}


@pytest.fixture(params=SPOILT, ids=list(SPOILT))
def spoil(request: pytest.FixtureRequest, ledger: Ledger) -> tuple[Callable[[str], None], str, str | None]:
    """Spoils a campaign's stored choices; with the code and the key that are to be told."""
    make, code, key = SPOILT[request.param]
    return lambda name: store(ledger, name, make(stored(ledger, name))), code, key


def two_campaigns(desk: Desk) -> None:
    desk.started(3, "bad")
    desk.started(3, "good")


def test_campaign_that_cannot_be_read_pauses_itself(desk: Desk, ledger: Ledger, spoil: Any) -> None:
    """The next round of feeding pauses it with a code, and claims for the other."""
    make, code, key = spoil
    two_campaigns(desk)
    make("bad")
    claims = desk.claim(10)
    assert len(claims) == 3
    assert set(desk.states("good")) == {"in_progress"}
    assert set(desk.states("bad")) == {"waiting"}
    bad = status(ledger, "bad", NOON)
    assert (bad.run.state, bad.run.reason_code) == (RunState.PAUSED, code)
    assert (bad.as_json()["reason_code"], bad.as_json()["reason_data"]) == (code, {"key": key})
    assert bad.reason is not None
    assert "its choices in the ledger have" in bad.reason
    assert bad.reason.endswith("then: dialer resume bad")
    assert {each.run.name: each.run.state for each in every_status(ledger, NOON)} == {
        "bad": RunState.PAUSED,
        "good": RunState.RUNNING,
    }
    assert somebody_is_due(ledger, "connect", ["none"], NOON) is False


def test_garbage_in_sqlite(sqlite_ledger_url: str, opened: Any, desk_of: Any) -> None:
    """Text that is no JSON, also bytes that are no text: PostgreSQL takes neither."""
    ledger = opened(sqlite_ledger_url)
    desk = desk_of(ledger)
    two_campaigns(desk)
    for garbage in (
        "CAST('{\"a' AS TEXT)",
        "CAST(x'ff80fe' AS TEXT)",
        "x'ff80fe'",
        "'" + "[" * 100_000 + "'",
    ):
        with ledger.write() as db:
            db.execute(text(f"UPDATE campaigns SET choices = {garbage} WHERE name = 'bad'"))
            runs.start(db, runs.find(db, "bad"), NOON, exchange="connect")
        ledger.campaigns.clear()
        desk.claim(10)
        bad = status(ledger, "bad", NOON)
        assert (bad.run.state, bad.run.reason_code) == (RunState.PAUSED, NOT_JSON)
        assert len(every_status(ledger, NOON)) == 2
        assert (
            take_probe(
                ledger, exchange="connect", instance_id="x", now=LATER, rest=timedelta(0), placed_after=None
            )
            is None
        )


def test_attempt_that_is_queued_is_put_back(desk: Desk, ledger: Ledger, spoil: Any) -> None:
    """A worker that cannot read the choices returns the attempt: it did not ring."""
    make, code, _ = spoil
    two_campaigns(desk)
    claims = desk.claim(10)
    make("bad")
    found = {desk.person(each).run_id: desk.dial(each) for each in claims}
    assert [getattr(each, "code", "order") for each in found.values()] == [code, "order"]
    assert set(desk.states("bad")) == {"waiting"}


def test_calls_of_the_others_are_followed_and_searched_for(desk: Desk, ledger: Ledger, spoil: Any) -> None:
    """Those of the campaign that cannot be read wait, and take no other's place, also one look at a time."""
    make, _, _ = spoil
    two_campaigns(desk)
    claims = desk.claim(10)
    for each in claims[:2] + claims[3:5]:
        desk.dial(each)
        desk.placed(each, follow_at=NOON)
    for each in (claims[2], claims[5]):
        desk.dial(each)
        desk.unknown(each)
    make("bad")
    good = {each.id for each in desk.attempts("good")}
    taken = set()
    for second in range(4):
        now = LATER + timedelta(seconds=second)
        calls = take_due_follows(ledger, exchange="connect", limit=1, now=now, until=now + LEASE)
        taken |= {call.attempt_id for call in calls}
    assert len(taken) == 2
    assert taken <= good
    (unknown,) = take_due_unknowns(
        ledger, exchange="connect", now=LATER, until=LATER + LEASE, within=timedelta(minutes=5), limit=10
    )
    assert unknown.attempt_id in good
    instance = unknown.campaign.connect.instance_id
    between = take_in_between(
        ledger, exchange="connect", instances=[instance], limit=9, now=LATER, rest=timedelta(0)
    )
    assert {call.attempt_id for call in between} <= good
    # Of the others' calls three are in progress; what is not followed does not count for ever.
    hours_later = NOON + timedelta(hours=2)
    assert calls_by_instance(ledger, "connect", NO_LIMIT, hours_later)[instance] == 2


def test_reading_judges_nothing_again(desk: Desk, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """After an upgrade of phonenumbers no number is possible and no region known: dialing goes on."""
    desk.started(2)
    monkeypatch.setattr(phonenumbers, "is_possible_number", lambda _: False)
    monkeypatch.setattr(phonenumbers, "SUPPORTED_REGIONS", set())
    ledger.campaigns.clear()
    claims = desk.claim(10)
    assert len(claims) == 2
    assert desk.dial(claims[0]).connect.source_phone_number == "+14155550199"
    assert status(ledger, "reminders", NOON).run.state == RunState.RUNNING


def test_source_number_that_is_no_longer_possible(desk: Desk, ledger: Ledger) -> None:
    """Whatever number was right when it was loaded is the caller ID."""
    desk.started(1)
    store(ledger, "reminders", changed("connect", source_phone_number="+99912")(stored(ledger, "reminders")))
    (claim,) = desk.claim(10)
    assert desk.dial(claim).connect.source_phone_number == "+99912"


def test_unknown_zone_keeps_its_own_campaign_only(desk: Desk, ledger: Ledger) -> None:
    """A zone that is gone from this machine's data: closed, with the reason; it opens with newer data."""
    two_campaigns(desk)
    hours = {"weekdays": ["09:00-20:00"], "time_zone": "America/Newzone"}
    store(ledger, "bad", json.dumps(stored(ledger, "bad") | {"calling_hours": hours}))
    assert len(desk.claim(10)) == 3
    assert set(desk.states("bad")) == {"waiting"}
    (wait,) = status(ledger, "bad", NOON).waits
    assert "America/Newzone" in (wait.why or "")


def test_whole_campaign_reads_as_it_was_stored() -> None:
    """Everything that a file can say comes back equal, without a check."""
    campaign = Campaign.model_validate(
        {
            "name": "all",
            "connect": {
                "instance_id": "10a4c4eb-f57e-4d4c-b602-bf39176ced07",
                "contact_flow_id": "b0b8f2dd-ed1b-4c44-af36-ce189a178181",
                "source_phone_number": "+14155550199",
                "references": {"Link": {"value": "https://example.org"}},
                "name": "Call {client_token}",
                "traffic_type": "CAMPAIGN",
                "answering_machine_detection": True,
            },
            "list": {"attributes": ["a", "b"], "default_region": "US", "key": "k"},
            "pacing": {"calls_per_second": 1, "weight": 2},
            "redial": {"max_attempts": 3, "busy": "10m", "no_answer": {"wait": "2h", "max_redials": 2}},
            "calling_hours": {"weekdays": "09:00-20:00", "holidays": ["US"], "preset": "us-federal"},
            "limits": {"per_number_per_day": 2},
            "schedule": {"cron": "0 9 * * *", "time_zone": "Europe/Berlin", "list": "{date}.csv"},
            "reminder": {"at": "x", "before": ["24h", "2h"], "format": "%d.%m.%Y %H:%M"},
            "suppression": {"outcomes": ["fax"]},
        }
    )
    text_of = json.dumps(campaign.model_dump(mode="json"))
    assert read_stored(text_of) == campaign
    assert read_stored(text_of).model_dump(mode="json") == campaign.model_dump(mode="json")


def test_loading_the_file_again_mends_it(desk: Desk, ledger: Ledger) -> None:
    """What could not be read is written anew, and the same people are still the same."""
    people = desk.people(2)
    desk.load(desk.campaign(), people)
    desk.start()
    store(ledger, "reminders", changed("connect", colour="red")(stored(ledger, "reminders")))
    assert desk.claim(10) == []
    desk.load(desk.campaign(), people)
    assert len(desk.recipients()) == 2
    with ledger.write() as db:
        runs.start(db, runs.find(db, "reminders"), NOON, exchange="connect")
    assert len(desk.claim(10)) == 2


def test_file_is_refused_where_people_cannot_be_compared(desk: Desk, ledger: Ledger) -> None:
    """Who is who cannot be told without the stored [list]: the same people could be called again."""
    desk.started(2)
    store(ledger, "reminders", "[]")
    with pytest.raises(Mistake, match=r"text that is damaged.*could be called again"):
        desk.load(desk.campaign(), desk.people(2))
    assert len(desk.recipients()) == 2


def test_instances_of_all_campaigns_are_named_or_none(desk: Desk, ledger: Ledger) -> None:
    """After the ledger has gone back, a campaign left out of the search would be dialed again."""
    two_campaigns(desk)
    store(ledger, "bad", changed("redial", colour="red")(stored(ledger, "bad")))
    assert len(instances_of(ledger, "connect")) == 1
    store(ledger, "bad", "[]")
    with pytest.raises(Unreadable, match="bad: its choices"):
        instances_of(ledger, "connect")


def test_schedules_of_the_others_stand(desk: Desk, ledger: Ledger, spoil: Any) -> None:
    """One that cannot be read is named, and the others are found."""
    make, code, _ = spoil
    times = {"schedule": {"cron": "0 9 * * *", "time_zone": "Europe/Berlin", "list": "a.csv"}}
    for name in ("bad", "good"):
        desk.load(desk.campaign(name, **times), desk.people(1))
    with ledger.write() as db:
        db.execute(text("UPDATE campaigns SET schedule_from = 1, exchange = 'connect'"))
    make("bad")
    assert [each.campaign.name for each in scheduled(ledger, "connect")] == ["good"]
    assert [(each.name, each.code) for each in unreadable(ledger, "connect")] == [("bad", code)]
    assert len(every_status(ledger, NOON)) == 2


def test_running_campaigns_of_another_region_are_found(desk: Desk) -> None:
    """Real and running ones whose Region is known; this campaign itself may not have been started."""

    def connect(region: str | None) -> dict[str, Any]:
        return desk.campaign().connect.model_dump(mode="json") | {"region": region}

    here = desk.started(1, "here", connect=connect("eu-central-1"))
    desk.started(1, "alike", connect=connect("eu-central-1"))
    desk.started(1, "elsewhere", connect=connect("us-east-1"))
    desk.started(1, "trial", exchange="sandbox", connect=connect("us-west-2"))
    unsaid = desk.started(1, "unsaid", connect=connect(None))
    desk.load(desk.campaign("not-started", connect=connect("eu-west-2")), desk.people(1))
    desk.started(1, "spoilt", connect=connect("eu-west-1"))
    store(desk.ledger, "spoilt", "{}")
    with desk.ledger.read() as db:
        assert running_elsewhere(db, here.campaign_id) == {"elsewhere": "us-east-1"}
        assert running_elsewhere(db, unsaid.campaign_id) == {}
        started_next = runs.find(db, "not-started").campaign_id
        assert set(running_elsewhere(db, started_next)) == {"here", "alike", "elsewhere"}
