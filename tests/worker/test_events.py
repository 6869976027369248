"""Contact events become outcomes: what they look like, what they say, and what becomes of their messages."""

import json
import logging
import random
import re
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from math import ceil
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import event as sql_event

from campaigns.attempt import Outcome
from campaigns.ledger import LedgerUnavailable, open_ledger
from campaigns.ledger.in_progress import CallLimit
from campaigns.ledger.outcomes import mark_ended
from worker import events
from worker.connect import CallReport, Connect
from worker.dial import Dialer
from worker.event_queue import EventQueue, EventsUnavailable, Message
from worker.events import ContactEvent, Hearing, contact_event, listen
from worker.follow import Following
from worker.sandbox.numbers import ENDINGS

ROOT = Path(__file__).parents[2]
FIRST = timedelta(seconds=65)
ROOMY = CallLimit(1_000, timedelta(minutes=5))
INSTANCE = "10a4c4eb-f57e-4d4c-b602-bf39176ced07"
ABSENT = "1970-01-01T00:00:00.000Z"
CONTACT = "11111111-1111-1111-1111-111111111111"
WITH_DETECTION = {
    "instance_id": INSTANCE,
    "contact_flow_id": "b0b8f2dd-ed1b-4c44-af36-ce189a178181",
    "source_phone_number": "+14155550199",
    "traffic_type": "CAMPAIGN",
    "answering_machine_detection": True,
}


def iso(epoch: float) -> str:
    return datetime.fromtimestamp(epoch, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def envelope(kind: str, contact_id: str, *, at: float, **detail: Any) -> dict[str, Any]:
    """A contact event as EventBridge sends it; what is None is left out."""
    said = {
        "eventType": kind,
        "contactId": contact_id,
        "initialContactId": contact_id,
        "channel": "VOICE",
        "instanceArn": f"arn:aws:connect:us-east-1:123456789012:instance/{INSTANCE}",
        "initiationMethod": "API",
        **detail,
        "tags": {"aws:connect:instanceId": INSTANCE},
        "agentInfo": {"hierarchyGroups": {}},
    }
    return {
        "version": "0",
        "id": "abcabcab-abca-abca-abca-abcabcabcabc",
        "detail-type": "Amazon Connect Contact Event",
        "source": "aws.connect",
        "account": "123456789012",
        "time": iso(int(at))[:19] + "Z",
        "region": "us-east-1",
        "resources": [said["instanceArn"], f"{said['instanceArn']}/contact/{contact_id}"],
        "detail": {key: value for key, value in said.items() if value is not None},
    }


def told(
    contact_id: str,
    entry: dict[str, Any],
    kind: str = "DISCONNECTED",
    *,
    reason: bool = True,
    detected: bool = True,
) -> dict[str, Any]:
    """The event of this kind of a call in the sandbox's journal."""
    call, ending = entry["call"], ENDINGS[entry["call"]["ending"]]
    over = kind in ("DISCONNECTED", "COMPLETED")
    answered = call["answered_at"] is not None and kind != "INITIATED"
    detail = {
        "initiationTimestamp": iso(call["placed_at"]),
        "connectedToSystemTimestamp": iso(call["answered_at"]) if answered else ABSENT,
        "disconnectTimestamp": iso(call["ended_at"]) if over else ABSENT,
        "disconnectReason": ending.reason if over and reason else None,
        "answeringMachineDetectionStatus": ending.detected
        if call["detection"] and detected and (over or answered)
        else None,
    }
    at = {"INITIATED": call["placed_at"], "CONNECTED_TO_SYSTEM": call["answered_at"]}.get(kind)
    return envelope(kind, contact_id, at=call["ended_at"] if at is None else at, **detail)


def in_other_case(value: Any) -> Any:
    """The same event with keys in another case, as AWS's own samples have it."""
    if isinstance(value, dict):
        return {key[:1].upper() + key[1:]: in_other_case(each) for key, each in value.items()}
    return value


# --- what an event looks like -----------------------------------------------------------------------------

ENDED = envelope(
    "DISCONNECTED",
    CONTACT,
    at=1_800_000_042,
    initiationTimestamp=iso(1_800_000_000),
    connectedToSystemTimestamp=iso(1_800_000_012.5),
    disconnectTimestamp=iso(1_800_000_041.25),
    disconnectReason="CUSTOMER_DISCONNECT",
    answeringMachineDetectionStatus="HUMAN_ANSWERED",
)
SAID = ContactEvent(
    CONTACT,
    True,
    CallReport(
        datetime.fromtimestamp(1_800_000_000, UTC),
        datetime.fromtimestamp(1_800_000_012.5, UTC),
        datetime.fromtimestamp(1_800_000_041.25, UTC),
        "CUSTOMER_DISCONNECT",
        "HUMAN_ANSWERED",
        None,
        {},
    ),
)


def with_detail(**detail: Any) -> dict[str, Any]:
    """The usual event with other details."""
    return {**ENDED, "detail": {**ENDED["detail"], **detail}}


@pytest.mark.parametrize(
    "body",
    [
        ENDED,
        with_detail(eventType="COMPLETED"),
        with_detail(eventType="Disconnected", channel="Voice"),
        in_other_case(ENDED),
        {**ENDED, "detail": {key.upper(): value for key, value in ENDED["detail"].items()}},
        with_detail(somethingNew={"nested": [1, None]}, anotherNewField=7),
        with_detail(disconnectReason="customer_disconnect"),
        {"Type": "Notification", "TopicArn": "arn:aws:sns:…", "Message": json.dumps(ENDED)},
    ],
    ids=["usual", "completed", "voice", "mixed keys", "upper keys", "new fields", "lower reason", "sns"],
)
def test_end_is_recognized(body: dict[str, Any]) -> None:
    """Whatever case the keys and words have, and whatever else is in it, an end says the same."""
    assert contact_event(json.dumps(body)) == SAID


@pytest.mark.parametrize(
    "kind",
    ["INITIATED", "CONNECTED_TO_SYSTEM", "CONNECTED_TO_AGENT", "QUEUED", "CONTACT_DATA_UPDATED", "NEW", ""],
)
def test_other_kinds_tell_of_no_end(kind: str) -> None:
    """Kinds that go before the end, and kinds that AWS will invent, are contact events without an end."""
    event = contact_event(json.dumps(with_detail(eventType=kind)))
    assert event is not None
    assert (event.over, event.report.ended_at) == (False, None)


def test_only_calls_are_over() -> None:
    """A chat or a task that is started through the API is nobody whom we have called."""
    assert contact_event(json.dumps(with_detail(channel="CHAT"))).over is False  # type: ignore[union-attr]


@pytest.mark.parametrize("absent", [ABSENT, "1970-01-01T00:00:00Z", None, "", "soon", 0, {}, "0001-01-01"])
def test_times_that_are_absent_are_none(absent: object) -> None:
    """1970 is not when it happened; an end without its time has that of the event."""
    changed = with_detail(connectedToSystemTimestamp=absent, disconnectTimestamp=absent)
    report = contact_event(json.dumps(changed)).report  # type: ignore[union-attr]
    assert report.answered_at is None
    assert report.ended_at == datetime.fromtimestamp(1_800_000_042, UTC)


def test_times_are_taken_to_utc() -> None:
    """An offset counts, and none means UTC."""
    for written in ("2027-01-15T10:00:12.500+02:00", "2027-01-15T08:00:12.500"):
        report = contact_event(json.dumps(with_detail(connectedToSystemTimestamp=written))).report  # type: ignore[union-attr]
        assert report.answered_at == SAID.report.answered_at


def test_end_without_any_time_is_no_end_to_write_down() -> None:
    """Neither the call's nor the event's own time can be read: the call must be asked for."""
    changed = {**with_detail(disconnectTimestamp=None), "time": "noon"}
    event = contact_event(json.dumps(changed))
    assert event is not None
    assert (event.over, event.report.ended_at) == (True, None)


STRANGE = [
    "",
    "no JSON",
    "null",
    "[]",
    "7",
    "{}",
    "[" * 200_000,
    '{"source": "aws.connect", "detail": null}',
    json.dumps({**ENDED, "source": "aws.s3"}),
    json.dumps({**ENDED, "detail-type": "Contact Lens Analysis State Change"}),
    json.dumps({**ENDED, "detail": [ENDED["detail"]]}),
    json.dumps(with_detail(contactId=None)),
    json.dumps(with_detail(contactId="")),
    json.dumps(with_detail(contactId=["a"])),
    json.dumps(with_detail(contactId="nul\x00")),
    json.dumps(with_detail(contactId="half \ud800")),
    json.dumps(with_detail(contactId="x" * 257)),
    json.dumps({"Type": "Notification", "Message": "no JSON"}),
    json.dumps({"Type": "Notification"}),
    json.dumps({"Records": [{"eventSource": "aws:s3", "s3": {"object": {"key": "people.csv"}}}]}),
]


@pytest.mark.parametrize("body", STRANGE, ids=range(len(STRANGE)))
def test_what_is_no_contact_event_is_none(body: str) -> None:
    """Somebody else's message, or half of one, is no event and no error."""
    assert contact_event(body) is None


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.text() | ANYTHING.map(json.dumps))
def test_no_message_can_break_the_reader(body: str) -> None:
    """Any text and any JSON: None, and nothing raised."""
    assert contact_event(body) is None


@given(
    st.dictionaries(
        st.sampled_from(sorted(ENDED["detail"])), ANYTHING | st.datetimes().map(datetime.isoformat)
    ),
    st.dictionaries(st.sampled_from(["time", "resources", "detail"]), ANYTHING),
)
def test_no_contact_event_can_break_the_reader(detail: dict[str, Any], outside: dict[str, Any]) -> None:
    """Any field may hold anything; what comes out is what databases take."""
    event = contact_event(json.dumps({**with_detail(**detail), **outside}))
    if event is not None:
        assert event.contact_id.isprintable()
        for moment in (event.report.initiated_at, event.report.answered_at, event.report.ended_at):
            assert moment is None or (moment.tzinfo is UTC and moment.year >= 1970)


# --- what becomes of it -----------------------------------------------------------------------------------


class Asked:
    """Connect, as far as following asks it; counts, and knows no contact if told so."""

    def __init__(self, connect: Connect, *, knows: bool = True) -> None:
        self._connect = connect
        self._knows = knows
        self.count = 0

    def describe(self, instance_id: str, contact_id: str) -> CallReport | None:
        self.count += 1
        return self._connect.describe(instance_id, contact_id) if self._knows else None


@pytest.fixture
def place(book: Any, make_dialer: Callable[..., Dialer]) -> Callable[..., str]:
    """Loads numbers and places their calls. Returns the campaign's name."""

    def run(*last_digits: int, **choices: Any) -> str:
        name = book.load(*(f"+14155550{100 + digits}" for digits in last_digits), **choices)
        dialer = make_dialer()
        assert {dialer.dial(claim) for claim in book.claim()} == {"placed"}
        return str(name)

    return run


@pytest.fixture
def asked(connect: Connect) -> Asked:
    return Asked(connect)


@pytest.fixture
def following(book: Any, asked: Asked, slots: Any) -> Callable[..., Following]:
    """Makes what follows calls, with other parts than usual."""

    def make(kind: type[Following] = Following, **parts: Any) -> Following:
        usual = {"ledger": book.ledger, "connect": asked, "pacer": slots, "exchange": "sandbox"}
        usual |= {"first": FIRST, "limit": ROOMY, "clock": book.clock.utc}
        return kind(**{**usual, **parts})

    return make


@pytest.fixture
def hearing(event_queue: EventQueue, following: Callable[..., Following]) -> Hearing:
    """What takes events in."""
    return Hearing(event_queue, following())


@pytest.fixture
def tell(book: Any, mail: Any, exchange: Any) -> Callable[..., None]:
    """Puts events of the latest calls into the queue: one of each kind named."""

    def put(*kinds: str, **what: Any) -> None:
        calls = exchange.calls()
        for row in book.attempts():
            for kind in kinds or ("DISCONNECTED",):
                mail.put(json.dumps(told(row.contact_id, calls[row.contact_id], kind, **what)))

    return put


@pytest.mark.parametrize(
    ("last_digits", "outcome"),
    [(0, "answered"), (70, "no_answer"), (75, "busy"), (81, "invalid_number"), (85, "blocked")],
)
def test_end_is_written_down(
    book: Any,
    place: Callable[..., str],
    tell: Callable[..., None],
    hearing: Hearing,
    mail: Any,
    asked: Asked,
    last_digits: int,
    outcome: str,
) -> None:
    """An event that says how a call ended does, without a question to Connect; its message goes."""
    place(last_digits)
    book.clock.now += 120
    tell()
    assert hearing.hear() == 1
    attempt = book.attempt()
    assert (attempt.state, attempt.outcome, attempt.follow_at) == ("ended", outcome, None)
    assert attempt.placed_at < attempt.ended_at <= book.clock.utc()
    assert book.standing() == ("ended", "done")
    assert (mail.count(), asked.count) == (0, 0)


def test_redial_counts_from_the_end_of_the_call(
    book: Any, place: Callable[..., str], tell: Callable[..., None], hearing: Hearing
) -> None:
    """An event that comes late does not put the redial off."""
    place(75, redial={"max_attempts": 2, "busy": "10m"})
    busy_until = book.clock.now + 2
    book.clock.now += 300
    tell()
    assert hearing.hear() == 1
    assert book.recipients()[0].due_at.timestamp() == busy_until + 600


def test_events_may_come_in_any_order_and_often(
    book: Any, place: Callable[..., str], tell: Callable[..., None], hearing: Hearing, mail: Any
) -> None:
    """The first that tells of the end does everything; those after it, and those before, do nothing."""
    place(0, 75, redial={"max_attempts": 2, "busy": "10m"})
    book.clock.now += 120
    tell("COMPLETED", "INITIATED", "DISCONNECTED", "DISCONNECTED")
    assert hearing.hear() == 2
    stood = book.attempts(), book.recipients()
    book.clock.now += 60
    tell("DISCONNECTED", "COMPLETED", "CONNECTED_TO_SYSTEM", "INITIATED")
    assert hearing.hear() == 0
    assert (book.attempts(), book.recipients()) == stood
    assert mail.count() == 0


def test_look_and_event_end_a_call_once(
    book: Any, place: Callable[..., str], tell: Callable[..., None], hearing: Hearing
) -> None:
    """What a look has found already an event does not move."""
    place(75, redial={"max_attempts": 2, "busy": "10m"})
    book.clock.now += 65
    assert hearing.following.follow(10) == 1
    stood = book.attempts(), book.recipients()
    tell("DISCONNECTED", "COMPLETED")
    assert hearing.hear() == 0
    assert (book.attempts(), book.recipients()) == stood


def test_call_that_goes_on_is_not_ended(
    book: Any, place: Callable[..., str], tell: Callable[..., None], hearing: Hearing, mail: Any
) -> None:
    """Events from the middle of a call are dropped, and it is looked at when it is time."""
    place(88)
    stood = book.attempts()
    tell("INITIATED", "CONNECTED_TO_SYSTEM")
    assert hearing.hear() == 0
    assert (book.attempts(), mail.count()) == (stood, 0)


def test_without_the_ledger_no_message_is_deleted(
    book: Any, place: Callable[..., str], tell: Callable[..., None], hearing: Hearing, mail: Any
) -> None:
    """What could not be written down is told once more."""
    place(75)
    book.clock.now += 5
    tell()
    book.ledger.away = True
    with pytest.raises(LedgerUnavailable):
        hearing.hear()
    assert mail.count() == 1
    book.ledger.away = False
    assert hearing.hear() == 1
    assert (book.attempt().outcome, mail.count()) == ("busy", 0)


def test_ledger_that_goes_away_in_the_middle_keeps_the_messages(
    book: Any, place: Callable[..., str], tell: Callable[..., None], hearing: Hearing, mail: Any
) -> None:
    """One of two ends is written down when the ledger goes: both messages stay, and do no harm."""
    place(75, 76)
    book.clock.now += 5
    tell()

    def gone(*_: Any) -> None:
        book.ledger.away = True

    sql_event.listen(book.ledger._engine, "commit", gone, once=True)
    with pytest.raises(LedgerUnavailable):
        Hearing(hearing.queue, hearing.following).hear()
    book.ledger.away = False
    assert mail.count() == 2
    hearing.hear()
    assert [row.outcome for row in book.attempts()] == ["busy", "busy"]
    assert mail.count() == 0


class Dies(EventQueue):
    """The real reader, whose process dies before it deletes anything, once."""

    dead = False

    def delete(self, messages: Any) -> None:
        if not self.dead:
            self.dead = True
            raise EventsUnavailable("killed")
        super().delete(messages)


def test_dying_between_writing_and_deleting_is_harmless(
    book: Any,
    place: Callable[..., str],
    tell: Callable[..., None],
    following: Callable[..., Following],
    mail: Any,
) -> None:
    """The end is in the ledger; the message comes again, moves nothing, and goes."""
    place(75, redial={"max_attempts": 2, "busy": "10m"})
    book.clock.now += 5
    tell()
    hearing = Hearing(Dies(mail.url, wait_seconds=0, hidden_seconds=0), following())
    with pytest.raises(EventsUnavailable):
        hearing.hear()
    assert mail.count() == 1
    stood = book.attempts(), book.recipients()
    assert stood[0][0].outcome == "busy"
    book.clock.now += 30
    assert hearing.hear() == 0
    assert (book.attempts(), book.recipients(), mail.count()) == (*stood, 0)
    hearing.queue.close()


def test_contacts_of_others_are_deleted(
    book: Any, place: Callable[..., str], hearing: Hearing, mail: Any
) -> None:
    """While none of our own contacts is awaited, one that the ledger does not know is somebody else's."""
    place(88)
    mail.put(json.dumps(ENDED))
    assert (hearing.hear(), mail.count()) == (0, 0)


def test_event_may_come_before_our_own_answer(
    book: Any,
    seam: Callable[..., Any],
    make_dialer: Callable[..., Dialer],
    hearing: Hearing,
    mail: Any,
    exchange: Any,
) -> None:
    """A call may be over before its contact_id is written down: its event waits in the queue for that."""
    book.load("+14155550175")

    def over_already() -> None:
        contact_id, entry = list(exchange.calls().items())[-1]
        book.clock.now += 3
        mail.put(json.dumps(told(contact_id, entry)))
        assert (hearing.hear(), mail.count()) == (0, 1)
        assert book.attempt().state == "dialing"

    (claim,) = book.claim()
    assert make_dialer(connect=seam(after=over_already)).dial(claim) == "placed"
    assert (hearing.hear(), mail.count()) == (1, 0)
    assert book.attempt().outcome == "busy"


def test_event_of_a_call_whose_answer_was_lost_waits_a_minute(
    book: Any, make_dialer: Callable[..., Dialer], hearing: Hearing, mail: Any, exchange: Any
) -> None:
    """While a call is searched for, a contact that nobody knows may be it: six receives long."""
    book.load("+14155550198")
    (claim,) = book.claim()
    assert make_dialer(replay_window_seconds=0).dial(claim) == "unknown"
    contact_id, entry = list(exchange.calls().items())[-1]
    mail.put(json.dumps(told(contact_id, entry)))
    kept = []
    for _ in range(6):
        assert hearing.hear() == 0
        kept.append(mail.count())
    assert kept == [1, 1, 1, 1, 1, 0]
    assert book.attempt().state == "unknown"


def test_event_of_a_call_that_was_given_up_is_heard(
    book: Any, place: Callable[..., str], tell: Callable[..., None], hearing: Hearing
) -> None:
    """It is to be dialed again, as nobody said how it ended; then an event says that somebody answered."""
    place(0, redial={"max_attempts": 2, "no_outcome": "1h"})
    book.clock.now += 700
    when = book.clock.utc()
    mark_ended(
        book.ledger,
        book.attempt().id,
        Outcome.NO_OUTCOME,
        ended_at=when,
        redial=lambda _: when + timedelta(hours=1),
        look_again_at=when + timedelta(minutes=10),
    )
    assert book.standing() == ("ended", "waiting")
    tell()
    assert hearing.hear() == 1
    assert (book.attempt().outcome, book.attempt().follow_at) == ("answered", None)
    assert book.standing() == ("ended", "done")


@pytest.mark.parametrize("given_up", [False, True])
def test_event_without_a_reason_rings_the_bell(
    book: Any,
    place: Callable[..., str],
    tell: Callable[..., None],
    hearing: Hearing,
    asked: Asked,
    mail: Any,
    given_up: bool,
) -> None:
    """It does not say how the call ended, so the call is looked at now, and not when it would have been."""
    place(75)
    book.clock.now += 5
    if given_up:
        when = book.clock.utc()
        look_again = when + timedelta(days=1)
        mark_ended(
            book.ledger,
            book.attempt().id,
            Outcome.NO_OUTCOME,
            ended_at=when,
            redial=lambda _: None,
            look_again_at=look_again,
        )
    tell(reason=False)
    assert (hearing.hear(), mail.count()) == (0, 0)
    assert book.attempt().follow_at == book.clock.utc()
    assert hearing.following.follow(10) == 1
    assert (book.attempt().outcome, asked.count) == ("busy", 1)


def test_who_picked_up_is_asked_for_where_it_matters(
    book: Any, place: Callable[..., str], tell: Callable[..., None], hearing: Hearing, asked: Asked
) -> None:
    """With answering machine detection `answered` is half a word: without its status, Connect is asked."""
    place(78, 0, connect=WITH_DETECTION)
    book.clock.now += 120
    tell(detected=False)
    assert hearing.hear() == 0
    assert [row.state for row in book.attempts()] == ["placed", "placed"]
    assert hearing.following.follow(10) == 2
    assert [row.outcome for row in book.attempts()] == ["voicemail", "human_answered"]
    assert asked.count == 2


def test_detection_in_the_event_is_enough(
    book: Any, place: Callable[..., str], tell: Callable[..., None], hearing: Hearing, asked: Asked
) -> None:
    """With its status, the event says it all; nobody picked up, and there is nothing to detect."""
    place(78, 0, 70, 83, connect=WITH_DETECTION)
    book.clock.now += 120
    tell()
    assert hearing.hear() == 4
    outcomes = ["voicemail", "human_answered", "no_answer", "unreachable"]
    assert [row.outcome for row in book.attempts()] == outcomes
    assert asked.count == 0


def test_strange_messages_are_deleted_and_not_repeated(
    book: Any,
    place: Callable[..., str],
    tell: Callable[..., None],
    hearing: Hearing,
    mail: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What is no contact event neither stays in the queue nor gets into the log, and holds nobody up."""
    place(75)
    book.clock.now += 5
    mail.put("call +14155550175 back", json.dumps({**ENDED, "source": "aws.s3"}))
    tell()
    assert (hearing.hear(), mail.count()) == (1, 0)
    (line,) = [record.getMessage() for record in caplog.records]
    assert line == "2 messages that are no contact events were deleted; check the rule"


class Stumbles(Following):
    """Following that cannot write down one call's end, for a reason that nobody foresaw."""

    def conclude(self, call: Any, report: CallReport) -> bool:
        if call.campaign.redial.max_attempts == 7:
            raise KeyError("+14155550175")
        return super().conclude(call, report)


def test_one_event_that_cannot_be_judged_does_not_hold_up_the_others(
    book: Any,
    place: Callable[..., str],
    tell: Callable[..., None],
    event_queue: EventQueue,
    following: Callable[..., Following],
    mail: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The others' ends are written down; it is tried again, and after six receives left to the looks."""
    place(75, redial={"max_attempts": 7})
    place(76)
    book.clock.now += 5
    tell()
    hearing = Hearing(event_queue, following(Stumbles))
    assert (hearing.hear(), mail.count()) == (1, 1)
    assert [row.state for row in book.attempts()] == ["placed", "ended"]
    for _ in range(5):
        assert hearing.hear() == 0
    assert mail.count() == 0
    assert {record.levelno for record in caplog.records} == {logging.ERROR}
    assert "KeyError in test_events.py, line" in caplog.text
    assert "+14155550175" not in caplog.text


@pytest.mark.parametrize(("most", "calls"), [(2, 1), (3, 0)])
def test_place_that_has_become_free_is_told_once_a_batch(
    place: Callable[..., str],
    tell: Callable[..., None],
    book: Any,
    event_queue: EventQueue,
    following: Callable[..., Following],
    most: int,
    calls: int,
) -> None:
    """Where an instance had as many calls as it may, the feed is told at once; elsewhere it need not be."""
    place(75, 76)
    book.clock.now += 5
    tell("DISCONNECTED", "COMPLETED")
    told: list[int] = []
    limit = CallLimit(most, timedelta(minutes=5))
    hearing = Hearing(event_queue, following(limit=limit, call_over=lambda: told.append(1)))
    assert hearing.hear() == 2
    assert len(told) == calls
    assert hearing.hear() == 0
    assert len(told) == calls


# --- the thread -------------------------------------------------------------------------------------------


def until(true: Callable[[], bool], what: str) -> None:
    """Wait until something has happened in another thread."""
    patience = threading.Event()
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end, f"not within a minute: {what}"
        patience.wait(0.01)


class Process:
    """What listening asks of a process."""

    def __init__(self, queue: EventQueue, following: Following) -> None:
        self.event_queue = queue
        self._following = following
        self.stopping = threading.Event()
        self.problems: dict[str, str] = {}

    def following(self, call_over: Callable[[], None]) -> Following:
        return self._following

    def note(self, verb: str, problem: str | None) -> None:
        if problem is None:
            self.problems.pop(verb, None)
        else:
            self.problems[verb] = problem


@pytest.fixture
def process(
    mail: Any, following: Callable[..., Following], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Process]:
    """A process that listens, with a second's patience for messages and none for errors."""
    monkeypatch.setattr(events, "_FIRST_WAIT_SECONDS", 0.02)
    queue = EventQueue(mail.url, wait_seconds=1, hidden_seconds=0)
    process = Process(queue, following())
    yield process
    process.stopping.set()
    for thread in threading.enumerate():
        if thread.name == "contact events":
            thread.join(20)
            assert not thread.is_alive()
    queue.close()


def test_process_listens_until_it_stops(
    book: Any, place: Callable[..., str], tell: Callable[..., None], process: Process, mail: Any
) -> None:
    """Events are taken in as they come, and the thread ends when it is told to."""
    place(75)
    book.clock.now += 5
    thread = listen(process, lambda: None)  # type: ignore[arg-type]
    assert thread.daemon
    tell()
    until(lambda: bool(book.attempt().outcome == "busy"), "the end is written down")
    until(lambda: bool(mail.count() == 0), "its message is gone")
    process.stopping.set()
    thread.join(20)
    assert not thread.is_alive()


def test_what_keeps_events_from_being_read_is_said_until_it_is_over(
    book: Any, place: Callable[..., str], tell: Callable[..., None], process: Process, mail: Any
) -> None:
    """The status names the trouble, with the queue or with the ledger, and forgets it when it is mended."""
    place(75)
    book.clock.now += 5
    right, process.event_queue._url = mail.url, mail.url + "-gone"
    listen(process, lambda: None)  # type: ignore[arg-type]
    until(lambda: "events" in process.problems, "the trouble is said")
    assert process.problems["events"].startswith("contact events cannot be read: ")
    assert "check DIALER_EVENTS_QUEUE_URL" in process.problems["events"]
    process.event_queue._url = right
    until(lambda: "events" not in process.problems, "the trouble is over")
    book.ledger.away = True
    tell_later = json.dumps(ENDED)
    mail.put(tell_later)
    until(lambda: "events" in process.problems, "the ledger is away")
    assert "the ledger's database does not answer" in process.problems["events"]
    book.ledger.away = False
    until(lambda: "events" not in process.problems, "the ledger is back")
    tell()
    until(lambda: bool(book.attempt().outcome == "busy"), "the end is written down")


class Trips(EventQueue):
    """The real reader, with an error that nobody foresaw, once."""

    tripped = False

    def receive(self) -> list[Message]:
        if not self.tripped:
            self.tripped = True
            raise ZeroDivisionError("about +14155550175")
        return super().receive()


def test_error_that_nobody_foresaw_does_not_end_listening(
    book: Any,
    place: Callable[..., str],
    tell: Callable[..., None],
    process: Process,
    mail: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is logged by its type and place, without its text, and the next message is heard."""
    place(75)
    book.clock.now += 5
    tell()
    process.event_queue = Trips(mail.url, wait_seconds=1, hidden_seconds=0)
    listen(process, lambda: None)  # type: ignore[arg-type]
    until(lambda: bool(book.attempt().outcome == "busy"), "the end is written down")
    assert re.search(r"ZeroDivisionError in test_events\.py, line \d+", caplog.text)
    assert "+14155550175" not in caplog.text
    process.event_queue.close()


# --- the same story, told twice ---------------------------------------------------------------------------

MIX = [*range(60), *range(70, 89)]
"""Last two digits: every ending there is, and no request that fails."""
PEOPLE = 240
STEP_SECONDS = 10


class Story:
    """One run of two campaigns, one of them with answering machine detection, on a ledger of its own."""

    def __init__(self, book: Any, following: Following, dialer: Dialer, exchange: Any) -> None:
        self.book = book
        self.following = following
        self.dialer = dialer
        self.exchange = exchange

    def run(self, seconds: int, meanwhile: Callable[[float, bool], None] = lambda *_: None) -> None:
        """Load, and do what feed, dial and follow do, every ten seconds; `meanwhile` may do more.

        It is told the time, and whether calls were placed.
        """
        clock = self.book.clock
        clock.now = float(ceil(clock.now))
        self.began, self.asked_before = clock.now, self.exchange.described()
        phones = [f"+1415556{n // len(MIX):02d}{MIX[n % len(MIX)]:02d}" for n in range(PEOPLE)]
        redial = {"max_attempts": 3, "busy": "5m", "no_answer": "10m", "voicemail": "8m"}
        self.book.load(*phones[::2], redial=redial)
        self.book.load(*phones[1::2], redial=redial, connect=WITH_DETECTION)
        while clock.now < self.began + seconds:
            claims = self.book.claim()
            assert {self.dialer.dial(claim) for claim in claims} <= {"placed"}
            meanwhile(clock.now, bool(claims))
            self.following.follow(1_000)
            clock.now += STEP_SECONDS

    @property
    def asked(self) -> int:
        """How many DescribeContact requests it took."""
        return int(self.exchange.described()) - self.asked_before

    def _since(self, moment: datetime | None) -> float | None:
        return None if moment is None else round(moment.timestamp() - self.began, 3)

    def told(self) -> list[tuple[Any, ...]]:
        """Everybody's attempts and standing, with times from the beginning."""
        people = {row.id: row for row in self.book.recipients()}
        return sorted(
            (
                (person := people[row.recipient_id]).phone,
                row.number,
                row.outcome,
                self._since(row.dialing_at),
                self._since(row.ended_at),
                person.state,
                person.attempts,
                self._since(person.due_at) if person.state == "waiting" else None,
            )
            for row in self.book.attempts()
        )


class Newsagent:
    """Sends the events of the sandbox's calls as badly as EventBridge may: late, twice, never, shuffled."""

    def __init__(self, mail: Any, exchange: Any, hearing: Hearing, seed: int) -> None:
        self._mail = mail
        self._exchange = exchange
        self._hearing = hearing
        self._dice = random.Random(seed)
        self._known = set(exchange.calls())
        self._due: list[tuple[float, str]] = []
        self.sent: Counter[str] = Counter()
        self.ended = 0

    def round(self, now: float, placed: bool) -> None:
        """Send what is due, and have it heard."""
        for contact_id, entry in self._exchange.calls().items() if placed else ():
            if contact_id not in self._known:
                self._known.add(contact_id)
                self._write(contact_id, entry)
        due = [body for at, body in self._due if at <= now]
        self._due = [(at, body) for at, body in self._due if at > now]
        self._dice.shuffle(due)
        # Ten at a time, because the stand-in takes the longer the more messages it has.
        for first in range(0, len(due), 10):
            self._mail.put(*due[first : first + 10])
            self.ended += self._hearing.hear()

    def _write(self, contact_id: str, entry: dict[str, Any]) -> None:
        dice, answered = self._dice, entry["call"]["answered_at"] is not None
        lost = dice.random() < 0.1  # every word of this call's end
        reason, detected = dice.random() < 0.9, dice.random() < 0.9
        for kind in ("INITIATED", "CONNECTED_TO_SYSTEM", "DISCONNECTED", "COMPLETED", "BRAND_NEW"):
            over = kind in ("DISCONNECTED", "COMPLETED")
            if (kind == "CONNECTED_TO_SYSTEM" and not answered) or (lost and over) or dice.random() < 0.1:
                self.sent["lost"] += 1
                continue
            event = told(contact_id, entry, kind, reason=reason, detected=detected)
            if dice.random() < 0.3:
                event = in_other_case(event)
            for _ in range(2 if dice.random() < 0.3 else 1):
                when = entry["call"]["ended_at"] if over else entry["call"]["placed_at"]
                self._due.append((when + dice.choice((1.0, 3.0, 30.0)), json.dumps(event)))
                self.sent[kind] += 1
        if dice.random() < 0.3:
            foreign = {**event, "detail": {**event.get("detail", {}), "contactId": f"other-{contact_id}"}}
            self._due.append((entry["call"]["placed_at"], json.dumps(foreign)))
            self.sent["foreign"] += 1


def by_the_journal(entry: dict[str, Any]) -> str:
    """The outcome of a call whose course stands in the sandbox's journal."""
    ending, detection = entry["call"]["ending"], entry["call"]["detection"]
    if ENDINGS[ending].connects and not detection:
        return "answered"
    return {"answered": "human_answered", "voicemail_no_beep": "voicemail"}.get(ending, ending)


@pytest.fixture
def story(
    book: Any,
    make_dialer: Callable[..., Dialer],
    connect: Connect,
    slots: Any,
    exchange: Any,
    migrated_sqlite: Path,
    tmp_path: Path,
) -> Iterator[Callable[[], Story]]:
    """Makes stories, each on an empty ledger."""
    ledgers: list[Any] = []

    def make() -> Story:
        path = shutil.copy(migrated_sqlite, tmp_path / f"story-{len(ledgers)}.sqlite")
        ledger = type(book.ledger)(open_ledger(f"sqlite:///{path}")._engine)
        ledgers.append(ledger)
        following = Following(ledger, connect, slots, "sandbox", FIRST, ROOMY, book.clock.utc)
        return Story(type(book)(ledger, book.clock), following, make_dialer(ledger=ledger), exchange)

    yield make
    for ledger in ledgers:
        ledger.close()


def test_with_events_the_story_is_the_same_with_fewer_questions(
    story: Callable[[], Story], event_queue: EventQueue, mail: Any, exchange: Any
) -> None:
    """Outcomes, ends and redials are those of a run that only asks, and what the sandbox's journal says."""
    asking = story()
    asking.run(seconds=1_500)

    hearing = story()
    newsagent = Newsagent(mail, exchange, Hearing(event_queue, hearing.following), seed=7)
    hearing.run(1_500, newsagent.round)

    assert hearing.told() == asking.told()
    journal = exchange.calls()
    rows = hearing.book.attempts()
    assert {row.state for row in rows} == {"ended"}
    assert [row.outcome for row in rows] == [by_the_journal(journal[row.contact_id]) for row in rows]
    outcomes = Counter(row.outcome for row in rows)
    assert set(outcomes) == {
        *("answered", "human_answered", "voicemail", "no_answer", "busy", "unreachable", "invalid_number"),
        *("blocked", "fax"),
    }
    assert len(rows) > PEOPLE * 1.2  # and many of them dialed again
    assert mail.count() == 0
    assert newsagent.ended > 0.6 * len(rows)
    assert all(newsagent.sent[kind] > 30 for kind in ("lost", "foreign", "BRAND_NEW", "COMPLETED"))
    # Asked for are those of whose end nobody told, those half told, and those told after the first look.
    assert asking.asked >= len(rows)
    assert 0 < hearing.asked < 0.4 * asking.asked


# --- the page ---------------------------------------------------------------------------------------------


def json_of(page: str) -> list[dict[str, Any]]:
    """The JSON objects that stand in a page, each alone in an indented block."""
    blocks = re.findall(r"(?:^    .*\n|^\n)+", (ROOT / page).read_text(), re.MULTILINE)
    shown = [re.sub(r"^    ", "", block, flags=re.MULTILINE).strip() for block in blocks]
    return [json.loads(block) for block in shown if block.startswith("{")]


def matches(pattern: Any, value: Any) -> bool:
    """EventBridge's rule: every field of the pattern is there, with one of its values, in that very case."""
    if isinstance(pattern, dict):
        return isinstance(value, dict) and all(
            key in value and matches(each, value[key]) for key, each in pattern.items()
        )
    return value in pattern


def test_documented_pattern_lets_through_what_is_needed() -> None:
    """The rule of docs/outcomes.md passes on the ends of calls that the API started, and nothing else."""
    (pattern,) = [each for each in json_of("docs/outcomes.md") if "detail-type" in each]
    ours = pattern["detail"]["instanceArn"][0]
    assert matches(pattern, with_detail(instanceArn=ours))
    assert matches(pattern, with_detail(instanceArn=ours, eventType="COMPLETED"))
    assert not matches(pattern, with_detail(instanceArn=ours, eventType="INITIATED"))
    assert not matches(pattern, with_detail(instanceArn=ours, initiationMethod="INBOUND"))
    assert not matches(pattern, with_detail(instanceArn="arn:aws:connect:us-east-1:1:instance/another"))
    assert not matches(pattern, {**with_detail(instanceArn=ours), "source": "aws.s3"})


def test_documented_policies_name_the_queue_and_nobody_else() -> None:
    """One lets EventBridge's rule send, the other lets the dialer receive and delete; both name one queue."""
    queue, dialer = (each for each in json_of("docs/outcomes.md") if "Statement" in each)
    (send,), (read,) = queue["Statement"], dialer["Statement"]
    assert (send["Principal"], send["Action"]) == ({"Service": "events.amazonaws.com"}, "sqs:SendMessage")
    assert send["Condition"]["ArnEquals"]["aws:SourceArn"].endswith(":rule/dialer-contact-events")
    assert read["Action"] == ["sqs:ReceiveMessage", "sqs:DeleteMessage"]
    assert send["Resource"] == read["Resource"]
