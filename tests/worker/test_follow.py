"""Following a call to its outcome: Connect's words, when to look, and what is dialed again."""

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from campaigns.attempt import Outcome
from campaigns.ledger import runs
from campaigns.ledger.in_progress import CallLimit
from campaigns.ledger.tables import attempts
from worker.answers import Answers
from worker.connect import CallReport, Connect
from worker.connect_errors import Ambiguous, ClockWrong, Misconfigured, NeverSent, Refused, Throttled
from worker.dial import Dialer
from worker.follow import Following, deadline, next_look, outcome_of

INSTANCE = "10a4c4eb-f57e-4d4c-b602-bf39176ced07"
FIRST = timedelta(seconds=65)
ROOMY = CallLimit(1_000, timedelta(minutes=5))
THEN = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
Follow = Callable[..., int]


def report(reason: str | None = None, status: str | None = None, *, answered: bool = False) -> CallReport:
    """A call that is over."""
    return CallReport(THEN, THEN if answered else None, THEN, reason, status, None, {})


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
def answers(book: Any) -> Answers:
    """What Connect has answered to this process: it has told of a call of the instance just now."""
    known = Answers()
    known.answered(INSTANCE)
    known.told(INSTANCE, book.clock.utc())
    return known


@pytest.fixture
def follower(book: Any, connect: Connect, slots: Any, answers: Answers) -> Follow:
    """One round of following."""

    def run(*, looks: int = 10, **parts: Any) -> int:
        usual = {"ledger": book.ledger, "connect": connect, "pacer": slots, "answers": answers}
        usual |= {"exchange": "sandbox", "first": FIRST, "limit": ROOMY, "clock": book.clock.utc}
        return Following(**{**usual, **parts}).follow(looks)

    return run


class Asked:
    """Connect, as far as following asks it; some contacts cannot be described."""

    def __init__(self, connect: Connect, errors: dict[str, Exception | None] | None = None) -> None:
        self._connect = connect
        self._errors = errors or {}
        self.contacts: list[str] = []

    def describe(self, instance_id: str, contact_id: str) -> CallReport | None:
        self.contacts.append(contact_id)
        if contact_id in self._errors:
            error = self._errors[contact_id]
            if error is not None:
                raise error
            return None
        return self._connect.describe(instance_id, contact_id)


@pytest.mark.parametrize(
    ("over", "outcome"),
    [
        (report(status="HUMAN_ANSWERED", answered=True), Outcome.HUMAN_ANSWERED),
        (report("CUSTOMER_DISCONNECT", answered=True), Outcome.ANSWERED),
        (report("CUSTOMER_DISCONNECT", "AMD_ERROR", answered=True), Outcome.ANSWERED),
        (report("CUSTOMER_DISCONNECT", "AMD_UNRESOLVED", answered=True), Outcome.ANSWERED),
        (report(status="VOICEMAIL_BEEP", answered=True), Outcome.VOICEMAIL),
        (report(status="VOICEMAIL_NO_BEEP", answered=True), Outcome.VOICEMAIL),
        (report("TELECOM_TIMEOUT"), Outcome.NO_ANSWER),
        (report("TELECOM_UNANSWERED"), Outcome.NO_ANSWER),
        (report(status="AMD_UNANSWERED"), Outcome.NO_ANSWER),
        (report("TELECOM_ORIGINATOR_CANCEL"), Outcome.NO_ANSWER),
        (report("TELECOM_BUSY"), Outcome.BUSY),
        (report(status="SIT_TONE_BUSY"), Outcome.BUSY),
        (report("TELECOM_PROBLEM"), Outcome.UNREACHABLE),
        (report("OUTBOUND_RESOURCE_ERROR"), Outcome.UNREACHABLE),
        (report("OUTBOUND_ATTEMPT_FAILED"), Outcome.UNREACHABLE),
        (report("TELECOM_NUMBER_INVALID"), Outcome.INVALID_NUMBER),
        (report(status="SIT_TONE_INVALID_NUMBER"), Outcome.INVALID_NUMBER),
        (report("OUTBOUND_DESTINATION_ENDPOINT_ERROR"), Outcome.INVALID_NUMBER),
        (report("TELECOM_POTENTIAL_BLOCKING"), Outcome.BLOCKED),
        (report(status="FAX_MACHINE_DETECTED", answered=True), Outcome.FAX),
        (report("SOMETHING_NEW"), Outcome.NO_OUTCOME),
        (report(), Outcome.NO_OUTCOME),
    ],
    ids=lambda value: (
        None if isinstance(value, Outcome) else value.disconnect_reason or value.answering_machine_status
    ),
)
def test_connects_words_become_outcomes(over: CallReport, outcome: Outcome) -> None:
    """Every signal of Connect's that is known has its outcome, and what is not known is none."""
    assert outcome_of(over) == outcome


def test_call_that_goes_on_has_no_outcome_yet() -> None:
    """A person who has picked up may be talking still."""
    talking = CallReport(THEN, THEN, None, None, "HUMAN_ANSWERED", None, {})
    assert outcome_of(talking) is None


@pytest.mark.parametrize(("looks", "seconds"), [(1, 130), (2, 260), (3, 520), (4, 900), (5, 900), (50, 900)])
def test_looks_become_rarer(looks: int, seconds: int) -> None:
    """The waits double, up to a quarter of an hour."""
    assert next_look(FIRST, looks) == timedelta(seconds=seconds)


def test_patient_settings_are_not_cut_short() -> None:
    """Who asks first after half an hour is not made to ask every quarter."""
    assert next_look(timedelta(minutes=30), 3) == timedelta(minutes=30)


@pytest.mark.parametrize(("first", "seconds"), [(1, 60), (6, 60), (65, 650)])
def test_unknown_contacts_are_given_up_in_time(first: int, seconds: int) -> None:
    """A minute at least, for a contact may appear with a delay."""
    assert deadline(timedelta(seconds=first)) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("last_digits", "outcome"),
    [
        (0, "answered"),
        (70, "no_answer"),
        (75, "busy"),
        (78, "answered"),
        (81, "invalid_number"),
        (83, "unreachable"),
        (85, "blocked"),
    ],
)
def test_call_that_is_over_gets_its_outcome(
    book: Any, place: Callable[..., str], follower: Follow, last_digits: int, outcome: str
) -> None:
    """The first look finds most calls ended; without a rule the recipient is done."""
    place(last_digits)
    book.clock.now += 120
    assert follower() == 1
    attempt = book.attempt()
    assert (attempt.state, attempt.outcome, attempt.follow_at) == ("ended", outcome, None)
    assert attempt.placed_at < attempt.ended_at <= book.clock.utc()
    assert book.standing() == ("ended", "done")


def test_nobody_looks_before_it_is_time(book: Any, place: Callable[..., str], follower: Follow) -> None:
    """A call is left alone for its first 65 seconds."""
    place(75)
    book.clock.now += 64
    assert follower() == 0
    assert book.attempt().follows == 0
    book.clock.now += 1
    assert follower() == 1


def test_long_call_is_looked_at_again(book: Any, place: Callable[..., str], follower: Follow) -> None:
    """A call that still goes on is looked at again later, ever more rarely, until it is over."""
    place(88)
    looks = []
    for wait in (65, 130, 260):
        book.clock.now += wait
        looks.append((follower(), book.attempt().state, book.attempt().follow_at - book.clock.utc()))
    assert looks == [(0, "placed", timedelta(seconds=wait)) for wait in (130, 260, 520)]
    book.clock.now += 520
    assert follower() == 1
    assert book.attempt().outcome == "answered"


def test_contact_that_is_not_there_yet_is_looked_at_later(
    book: Any, place: Callable[..., str], follower: Follow, connect: Connect
) -> None:
    """Not found proves nothing until the deadline; afterwards there is no outcome."""
    place(75)
    missing = Asked(connect, {book.attempt().contact_id: None})
    placed = book.clock.now
    for after in (65, 195, 455):
        book.clock.now = placed + after
        assert follower(connect=missing) == 0
        assert book.attempt().state == "placed"
    book.clock.now = placed + 975
    assert follower(connect=missing) == 1
    assert (book.attempt().outcome, book.attempt().ended_at) == ("no_outcome", book.clock.utc())
    assert len(missing.contacts) == 4


def test_contact_that_appears_late_gets_its_outcome(
    book: Any, place: Callable[..., str], follower: Follow, connect: Connect
) -> None:
    """A 404 at the first look costs nothing but time."""
    place(75)
    book.clock.now += 65
    assert follower(connect=Asked(connect, {book.attempt().contact_id: None})) == 0
    book.clock.now += 130
    assert follower() == 1
    assert book.attempt().outcome == "busy"


def test_busy_is_dialed_again_by_rule(
    book: Any, place: Callable[..., str], follower: Follow, make_dialer: Callable[..., Dialer]
) -> None:
    """The rule's wait counts from the end of the call; then attempt 2 has a token of its own."""
    place(75, redial={"max_attempts": 2, "busy": "10m"})
    busy_until = book.clock.now + 2
    book.clock.now += 65
    follower()
    assert book.standing() == ("ended", "waiting")
    assert book.recipients()[0].due_at.timestamp() == busy_until + 600
    book.clock.now = busy_until + 599
    assert book.claim() == []
    book.clock.now += 1
    (again,) = book.claim()
    first, second = book.attempts()
    assert (first.number, second.number) == (1, 2)
    assert again.client_token == second.client_token != first.client_token
    assert make_dialer().dial(again) == "placed"
    book.clock.now += 65
    assert follower() == 1
    assert [row.state for row in book.recipients()] == ["done"]


def test_outcome_without_a_rule_is_final(book: Any, place: Callable[..., str], follower: Follow) -> None:
    """Rules for others do not dial this one again."""
    place(75, redial={"max_attempts": 5, "no_answer": "2h"})
    book.clock.now += 65
    follower()
    assert book.standing() == ("ended", "done")


def test_cancelled_campaign_is_not_dialed_again(
    book: Any, place: Callable[..., str], follower: Follow
) -> None:
    """A call that ends after its campaign was cancelled has its outcome written down, and no successor."""
    name = place(75, redial={"max_attempts": 5, "busy": "10m"})
    with book.ledger.write() as db:
        runs.cancel(db, runs.find(db, name), book.clock.utc())
    book.clock.now += 65
    assert follower() == 1
    assert book.attempt().outcome == "busy"
    assert book.standing() == ("ended", "done")


def test_paused_campaigns_calls_are_followed(book: Any, place: Callable[..., str], follower: Follow) -> None:
    """A pause stops dialing, not the learning of what was dialed; the redial waits for the resume."""
    name = place(75, redial={"max_attempts": 5, "busy": "10m"})
    with book.ledger.write() as db:
        runs.pause(db, runs.find(db, name).id, "by hand")
    book.clock.now += 65
    assert follower() == 1
    assert book.standing() == ("ended", "waiting")
    book.clock.now += 3600
    assert book.claim() == []


@pytest.mark.parametrize(
    "error",
    [
        Throttled("ThrottlingException", "too many requests a second"),
        NeverSent("EndpointConnectionError", "no connection"),
        Ambiguous("ReadTimeoutError", "no answer"),
        Misconfigured("AccessDeniedException", "check the rights"),
        Refused("InvalidRequestException", "no such thing"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_call_that_cannot_be_asked_for_is_due_again(
    book: Any,
    place: Callable[..., str],
    follower: Follow,
    connect: Connect,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
) -> None:
    """Whatever keeps Connect from answering, the call is due again, at its next look at the latest."""
    place(75)
    contact_id = book.attempt().contact_id
    book.clock.now += 65
    assert follower(connect=Asked(connect, {contact_id: error})) == 0
    paused = {logging.ERROR} if isinstance(error, Misconfigured) else set()
    assert {record.levelno for record in caplog.records} <= {logging.WARNING} | paused
    assert follower() == 0
    book.clock.now += 130
    assert follower() == 1
    assert book.attempt().outcome == "busy"


@pytest.mark.parametrize("gone", [True, False])
def test_without_the_pacers_leave_nobody_asks(
    book: Any, place: Callable[..., str], follower: Follow, slots: Any, connect: Connect, gone: bool
) -> None:
    """No slot, or no Redis to ask for one: the call is due again a minute later."""
    place(75)
    book.clock.now += 65
    slots.granted, slots.gone = gone, gone
    asked = Asked(connect)
    assert follower(connect=asked) == 0
    assert asked.contacts == []
    slots.granted, slots.gone = True, False
    book.clock.now += 60
    assert follower() == 1


def test_throttled_while_redis_is_away_calls_are_due_again(
    book: Any, place: Callable[..., str], follower: Follow, slots: Any, connect: Connect
) -> None:
    """That Connect asked for less cannot be shared then; the round ends as it does otherwise."""
    place(75)
    book.clock.now += 65

    class ThrottledAway(Asked):
        def describe(self, instance_id: str, contact_id: str) -> Any:
            slots.gone = True
            return super().describe(instance_id, contact_id)

    throttled = Throttled("ThrottlingException", "too many requests a second")
    asked = ThrottledAway(connect, {book.attempt().contact_id: throttled})
    assert follower(connect=asked) == 0
    slots.gone = False
    book.clock.now += 60
    assert follower() == 1


@pytest.mark.parametrize(
    "error",
    [Refused("InvalidRequestException", "no such thing"), Ambiguous("InternalServiceException", "perhaps")],
)
def test_one_contact_that_can_never_be_asked_for_does_not_hold_up_the_others(
    book: Any, place: Callable[..., str], follower: Follow, connect: Connect, error: Exception
) -> None:
    """Those taken in the same round as a contact that always fails get their outcomes."""
    place(75, 76, 77)
    asked = Asked(connect, {book.attempts()[0].contact_id: error})
    book.clock.now += 65
    assert follower(connect=asked) == 2
    assert [row.state for row in book.attempts()] == ["placed", "ended", "ended"]


def test_round_takes_no_more_than_its_limit(book: Any, place: Callable[..., str], follower: Follow) -> None:
    """A round is as long as the rate allows; the rest is for the next one."""
    place(75, 76, 77)
    book.clock.now += 65
    assert [follower(looks=2), follower(looks=2), follower(looks=2)] == [2, 1, 0]


def test_two_followers_do_not_take_the_same_call(
    book: Any, place: Callable[..., str], follower: Follow, slots: Any, connect: Connect
) -> None:
    """While one asks for a call, another finds nothing due."""
    place(75)
    book.clock.now += 65
    asked, others = Asked(connect), []

    def another_comes() -> None:
        slots.on_wait = lambda: None
        others.append(follower(connect=asked))

    slots.on_wait = another_comes
    assert follower(connect=asked) == 1
    assert others == [0]
    assert len(asked.contacts) == 1


def test_outcome_that_is_learned_twice_redials_once(
    book: Any, place: Callable[..., str], follower: Follow, slots: Any
) -> None:
    """A follower that stood still for longer than it may hold a call does not put the redial off."""
    place(75, redial={"max_attempts": 3, "busy": "10m"})
    book.clock.now += 65
    due: list[datetime] = []

    def stand_still() -> None:
        slots.on_wait = lambda: None
        book.clock.now += 61
        assert follower() == 1
        due.append(book.recipients()[0].due_at)
        book.clock.now += 61

    slots.on_wait = stand_still
    assert follower() == 0
    assert [book.recipients()[0].due_at] == due


# --- calls of a full instance -----------------------------------------------------------------------------


FULL = CallLimit(3, timedelta(minutes=5))


def test_calls_of_a_full_instance_are_looked_at_in_between(
    book: Any, place: Callable[..., str], follower: Follow
) -> None:
    """While others wait for their places, spare looks see at once that calls are over, and say so."""
    place(75, 76, 88)  # two of them busy for 2 s, one talks for ten minutes
    book.clock.now += 10
    told: list[str] = []

    def call_over() -> None:
        told.append("".join(row.state[0] for row in book.attempts()))

    assert follower(limit=FULL, call_over=call_over) == 2
    assert [row.state for row in book.attempts()] == ["ended", "ended", "placed"]
    assert told == ["epp", "eep"]


def test_looks_in_between_need_a_full_instance(
    book: Any, place: Callable[..., str], follower: Follow, connect: Connect
) -> None:
    """With room left nobody is looked at before it is time."""
    place(75, 76)
    book.clock.now += 10
    asked = Asked(connect)
    assert follower(connect=asked, limit=FULL) == 0
    assert asked.contacts == []


def test_looks_in_between_are_what_is_left_of_the_rate(
    book: Any, place: Callable[..., str], follower: Follow, connect: Connect
) -> None:
    """Calls that are due come first; no more than so many looks are taken in a round."""
    place(88, 88, 88)
    due = book.attempts()[2]
    with book.ledger.write() as db:
        db.execute(update(attempts).where(attempts.c.id == due.id).values(follow_at=book.clock.utc()))
    book.clock.now += 10
    asked = Asked(connect)
    follower(connect=asked, limit=FULL, looks=2)
    first, second = asked.contacts
    assert first == due.contact_id
    assert second in {row.contact_id for row in book.attempts()} - {first}


def test_nobody_is_looked_at_twice_within_half_a_second(
    book: Any, place: Callable[..., str], follower: Follow, connect: Connect
) -> None:
    """However many looks there are, a call is left alone for a moment between two of them."""
    place(88, 88, 88)
    book.clock.now += 1
    asked = Asked(connect)
    follower(connect=asked, limit=FULL, looks=100)
    assert len(asked.contacts) == 3
    book.clock.now += 0.4
    follower(connect=asked, limit=FULL, looks=100)
    assert len(asked.contacts) == 3
    book.clock.now += 0.1
    follower(connect=asked, limit=FULL, looks=100)
    assert len(asked.contacts) == 6


@pytest.mark.parametrize(
    "error",
    [
        Throttled("ThrottlingException", "too many requests a second"),
        Misconfigured("AccessDeniedException", "check the rights"),
        None,
    ],
    ids=["throttled", "denied", "not found"],
)
def test_a_look_in_between_that_fails_moves_nothing(
    book: Any, place: Callable[..., str], follower: Follow, connect: Connect, error: Exception | None
) -> None:
    """The call's own looks stay where they are, and nobody is given up for it."""
    place(88, 88, 88)
    before = [row.follow_at for row in book.attempts()]
    book.clock.now += 10
    errors = {row.contact_id: error for row in book.attempts()}
    assert follower(connect=Asked(connect, errors), limit=FULL) == 0
    assert [(row.follow_at, row.follows) for row in book.attempts()] == [(at, 0) for at in before]


def test_feeder_is_told_only_where_others_wait(
    book: Any, place: Callable[..., str], follower: Follow
) -> None:
    """Calls that end while there is room are no reason to feed out of turn."""
    place(75, 76)
    book.clock.now += 65
    told: list[None] = []
    assert follower(limit=FULL, call_over=lambda: told.append(None)) == 2
    assert told == []


# --- no word, and a late one ------------------------------------------------------------------------------


def given_up(book: Any, follower: Follow, connect: Connect) -> None:
    """Connect knows nothing of the one call until it is given up, 975 s after it was placed."""
    missing = Asked(connect, {book.attempts()[-1].contact_id: None})
    placed = book.clock.now
    for after in (65, 195, 455, 975):
        book.clock.now = placed + after
        follower(connect=missing)
    assert book.attempts()[-1].outcome == "no_outcome"


def test_a_call_that_was_given_up_is_looked_for_later(
    book: Any, place: Callable[..., str], follower: Follow, connect: Connect
) -> None:
    """Ever more rarely, as long as it has been silent, and no more after three days."""
    place(75)
    placed = book.clock.now
    given_up(book, follower, connect)
    row = book.attempt()
    assert row.reason == "Connect has not said how it ended"
    missing = Asked(connect, {row.contact_id: None})
    ages = []
    while (due := book.attempt().follow_at) is not None:
        book.clock.now = due.timestamp()
        ages.append(book.clock.now - placed)
        assert follower(connect=missing) == 0
    assert ages == [975 * 2**n for n in range(1, 8)] + [975 * 2**7 + 86_400, 975 * 2**7 + 2 * 86_400]
    assert book.standing() == ("ended", "done")


def test_a_word_that_comes_late_is_taken(
    book: Any, place: Callable[..., str], follower: Follow, connect: Connect
) -> None:
    """The outcome is put right, with Connect's own time, and its rule applies while the run goes on."""
    place(75, redial={"max_attempts": 2, "busy": "10m"})
    busy_until = book.clock.now + 2
    given_up(book, follower, connect)
    assert book.standing() == ("ended", "done")
    book.clock.now = book.attempt().follow_at.timestamp()
    assert follower() == 1
    assert (book.attempt().outcome, book.attempt().ended_at.timestamp()) == ("busy", busy_until)
    assert book.standing() == ("ended", "waiting")
    assert book.recipients()[0].due_at.timestamp() == busy_until + 600


def test_nobody_is_dialed_again_for_want_of_a_word_before_it_was_looked_for_once_more(
    book: Any, place: Callable[..., str], follower: Follow, connect: Connect
) -> None:
    """Right before the redial: they were answered after all, and are left in peace."""
    place(0, redial={"max_attempts": 2, "no_outcome": "5m"})
    given_up(book, follower, connect)
    assert book.standing() == ("ended", "waiting")
    redial_at = book.recipients()[0].due_at
    assert redial_at == book.clock.utc() + timedelta(minutes=5)
    assert book.attempt().follow_at == redial_at - timedelta(seconds=5)
    book.clock.now += 295
    assert follower() == 1
    assert (book.attempt().outcome, book.standing()) == ("answered", ("ended", "done"))
    book.clock.now += 3600
    assert book.claim() == []


def test_a_call_that_nobody_can_be_asked_about_is_given_up_after_a_day(
    book: Any, place: Callable[..., str], follower: Follow, slots: Any
) -> None:
    """Also when it is Redis, the network or the quota that fails: nobody stays in progress for ever. Nor is
    anybody dialed again whom nobody knows to be off the phone."""
    place(75, redial={"max_attempts": 3, "no_outcome": "10s"})
    placed = book.clock.now
    slots.gone = True
    while book.attempt().state == "placed":
        assert book.clock.now - placed < 90_000
        book.clock.now += 600
        follower()
    assert book.clock.now - placed >= 86_400
    assert (book.attempt().outcome, book.standing()) == ("no_outcome", ("ended", "held"))
    assert book.attempt().reason == "Connect could not be asked about it for a day"


def test_an_end_for_an_unknown_reason_is_final(
    book: Any, place: Callable[..., str], follower: Follow, connect: Connect
) -> None:
    """Connect has said all that it knows: there is no better word to wait for."""

    class Strange(Asked):
        def describe(self, instance_id: str, contact_id: str) -> CallReport | None:
            over = datetime.fromtimestamp(book.clock.now, UTC)
            return CallReport(over, None, over, "SOMETHING_NEW", None, None, {})

    place(75)
    book.clock.now += 65
    assert follower(connect=Strange(connect)) == 1
    row = book.attempt()
    assert (row.outcome, row.follow_at) == ("no_outcome", None)
    assert row.reason == "Connect gives no reason that is known here (SOMETHING_NEW)"


def test_a_call_that_was_given_up_and_goes_on_is_in_progress_again(
    book: Any, place: Callable[..., str], follower: Follow, connect: Connect
) -> None:
    """Right before the redial Connect knows it, and it goes on: nobody is rung while they talk."""
    place(88, redial={"max_attempts": 2, "no_outcome": "5m"})  # talks for ten minutes
    placed = book.clock.now
    missing = Asked(connect, {book.attempt().contact_id: None})
    with book.ledger.write() as db:
        db.execute(update(attempts).values(follows=9))
    book.clock.now = placed + 300
    impatient = {"first": timedelta(seconds=10)}
    assert follower(connect=missing, **impatient) == 1
    assert book.standing() == ("ended", "waiting")
    book.clock.now = book.attempt().follow_at.timestamp()
    assert book.clock.now == placed + 595
    assert follower(**impatient) == 0
    assert book.standing() == ("placed", "in_progress")
    book.clock.now += 3600
    assert follower(**impatient) == 1
    assert (book.attempt().outcome, book.standing()) == ("answered", ("ended", "done"))


def test_a_call_without_an_end_is_given_up_after_a_day(
    book: Any, place: Callable[..., str], follower: Follow, connect: Connect
) -> None:
    """It counts as in progress no longer, and its recipient, who may be on the phone, is not dialed again."""

    class Endless(Asked):
        def describe(self, instance_id: str, contact_id: str) -> CallReport | None:
            begun = datetime.fromtimestamp(book.clock.now - 60, UTC)
            return CallReport(begun, begun, None, None, None, None, {})

    place(0, redial={"max_attempts": 5, "no_outcome": "1s"})
    placed = book.clock.now
    while book.attempt().state == "placed":
        book.clock.now = book.attempt().follow_at.timestamp()
        follower(connect=Endless(connect))
    assert 86_400 <= book.clock.now - placed < 86_400 + 900
    row = book.attempt()
    assert (row.outcome, row.follow_at) == ("no_outcome", None)
    assert row.reason == "Connect has had no end for it for a day"
    assert book.standing() == ("ended", "done")


def test_failures_to_ask_are_no_looks(
    book: Any, place: Callable[..., str], follower: Follow, slots: Any
) -> None:
    """A call that a search found long after it was placed is not given up before anybody could ask."""
    place(75)
    with book.ledger.write() as db:
        db.execute(update(attempts).values(unknown_at=book.clock.utc()))
    book.clock.now += 7200
    slots.gone = True
    for _ in range(20):
        assert follower() == 0
        book.clock.now += 30
    assert (book.attempt().state, book.attempt().follows) == ("placed", 0)
    slots.gone = False
    assert follower() == 1
    assert book.attempt().outcome == "busy"


def test_a_round_ends_when_connect_is_slow(
    book: Any, place: Callable[..., str], follower: Follow, connect: Connect
) -> None:
    """After two seconds the rest is due again, so that other work does not wait."""

    class Slow(Asked):
        def describe(self, instance_id: str, contact_id: str) -> CallReport | None:
            book.clock.now += 1.5
            return super().describe(instance_id, contact_id)

    place(75, 76, 77)
    book.clock.now += 65
    assert follower(connect=Slow(connect)) == 2
    (left,) = (row for row in book.attempts() if row.state == "placed")
    assert (left.follows, left.follow_at) == (0, book.clock.utc() + timedelta(seconds=5))


def test_a_round_ends_when_the_process_is_to_stop(
    book: Any, place: Callable[..., str], follower: Follow, connect: Connect
) -> None:
    """Nobody is asked any more; the calls are due again."""
    place(75, 76)
    book.clock.now += 65
    asked = Asked(connect)
    assert follower(connect=asked, stopping=lambda: True) == 0
    assert asked.contacts == []


def test_one_call_that_cannot_be_judged_does_not_hold_up_the_others(
    book: Any, place: Callable[..., str], follower: Follow, connect: Connect, caplog: Any
) -> None:
    """Whatever nobody foresaw, the rest of the round goes on, and the log names no more than its kind."""

    class Odd(Asked):
        def describe(self, instance_id: str, contact_id: str) -> Any:
            report = super().describe(instance_id, contact_id)
            return object() if contact_id == first else report

    place(75, 76, 77)
    first = book.attempts()[0].contact_id
    book.clock.now += 65
    assert follower(connect=Odd(connect)) == 2
    assert [record.getMessage() for record in caplog.records] == [
        f"contact {first} cannot be judged: AttributeError"
    ]


def test_the_alarm_ends_with_the_last_call(book: Any, place: Callable[..., str], follower: Follow) -> None:
    """When nothing is left to be asked about, nothing keeps it from being asked."""
    place(75)
    said: list[str | None] = []
    assert follower(report_problem=said.append) == 0
    assert said == []
    book.clock.now += 65
    follower()
    assert follower(report_problem=said.append) == 0
    assert said == [None]


@pytest.mark.parametrize("skew", [-290, -30, 0, 30, 290])
def test_connects_clock_shortens_no_wait_and_puts_none_off(
    book: Any, place: Callable[..., str], follower: Follow, connect: Connect, skew: int
) -> None:
    """AWS's clock minutes off: the rule's wait counts from the end of the call by the ledger's clock."""

    class Skewed(Asked):
        def describe(self, instance_id: str, contact_id: str) -> CallReport | None:
            report = super().describe(instance_id, contact_id)
            assert report is not None
            off = timedelta(seconds=skew)
            assert report.initiated_at is not None
            assert report.ended_at is not None
            return replace(report, initiated_at=report.initiated_at + off, ended_at=report.ended_at + off)

    place(75, redial={"max_attempts": 2, "busy": "10m"})
    busy_until = book.clock.now + 2
    book.clock.now += 65
    assert follower(connect=Skewed(connect)) == 1
    assert book.recipients()[0].due_at.timestamp() == busy_until + 600
    assert book.attempt().ended_at.timestamp() == busy_until


@pytest.mark.parametrize("lasted", [None, 30, 3600])
def test_an_end_that_cannot_be_placed_in_time_is_now(
    book: Any, place: Callable[..., str], follower: Follow, connect: Connect, lasted: int | None
) -> None:
    """Without a beginning, or longer than there has been time for, a call ended when that was learned."""

    class Odd(Asked):
        def describe(self, instance_id: str, contact_id: str) -> CallReport | None:
            over = book.clock.utc() - timedelta(minutes=4)
            begun = over - timedelta(seconds=lasted) if lasted is not None else None
            return CallReport(begun, None, over, "TELECOM_BUSY", None, None, {})

    place(75, redial={"max_attempts": 2, "busy": "10m"})
    placed = book.clock.utc()
    book.clock.now += 65
    assert follower(connect=Odd(connect)) == 1
    ended = placed + timedelta(seconds=30 if lasted == 30 else 65)
    assert book.recipients()[0].due_at == ended + timedelta(minutes=10)


def test_redials_stop_at_the_days_limit(
    book: Any, place: Callable[..., str], follower: Follow, make_dialer: Callable[..., Dialer]
) -> None:
    """Two rings within any 24 hours, and the third when the first is a day old."""
    place(75, redial={"max_attempts": 4, "max_attempts_per_day": 2, "busy": "10m"})
    rang = [book.clock.now]
    for _ in range(3):
        book.clock.now += 65
        assert follower() == 1
        book.clock.now = book.recipients()[0].due_at.timestamp()
        (again,) = book.claim()
        assert make_dialer().dial(again) == "placed"
        rang.append(book.clock.now)
    assert [at - rang[0] for at in rang] == [0, 602, 86_400, 86_400 + 602]


# --- Connect refuses to tell ------------------------------------------------------------------------------

DENIED = Misconfigured("AccessDeniedException", "not authorized to perform connect:DescribeContact", 403)
FAILING = Ambiguous("InternalServiceException", "AWS did not say", 500)
RULE = {"max_attempts": 3, "no_outcome": "10s"}


class Refusing(Asked):
    """Connect that refuses to tell of any call."""

    def __init__(self, connect: Connect, error: Exception | None) -> None:
        super().__init__(connect)
        self._error = error

    def describe(self, instance_id: str, contact_id: str) -> CallReport | None:
        self.contacts.append(contact_id)
        if self._error is not None:
            raise self._error
        return None


def resume(book: Any, name: str) -> None:
    """`dialer resume`."""
    with book.ledger.write() as db:
        runs.start(db, runs.find(db, name), book.clock.utc(), exchange=None)


def test_a_missing_right_pauses_at_the_first_call(
    book: Any, place: Callable[..., str], follower: Follow, connect: Connect
) -> None:
    """Asked about two seconds after it was placed, not after 65: the reason names the right."""
    name = place(75, 76, redial=RULE)
    denied, answers = Refusing(connect, DENIED), Answers()
    said: list[str | None] = []
    parts: dict[str, Any] = {"connect": denied, "answers": answers, "report_problem": said.append}
    assert follower(**parts) == 0
    assert denied.contacts == []
    book.clock.now += 1
    assert follower(**parts) == 0
    assert len(denied.contacts) == 1
    run = book.run(name)
    assert (run.state, run.reason_code) == ("paused", "AccessDeniedException")
    assert "connect:DescribeContact is needed" in run.reason
    assert "connect:DescribeContact" in str(said[-1])
    assert [(row.state, row.follows) for row in book.attempts()] == [("placed", 0), ("placed", 0)]
    for _ in range(50):
        book.clock.now += 1
        follower(**parts)
    assert len(denied.contacts) == 1
    # It goes on without being mended: the next call is as soon asked about, and tells it again.
    resume(book, name)
    place(77)
    book.clock.now += 1
    follower(**parts)
    assert len(denied.contacts) == 2


@pytest.mark.parametrize("report", [None, "told"])
def test_an_answer_proves_the_right_once(
    book: Any, place: Callable[..., str], follower: Follow, connect: Connect, report: str | None
) -> None:
    """Also that Connect knows no such call yet: it is no look, and the process probes no more."""
    name = place(88)
    asked = Asked(connect) if report else Refusing(connect, None)
    answers = Answers()
    due = book.attempt().follow_at
    for _ in range(20):
        book.clock.now += 1
        assert follower(connect=asked, answers=answers) == 0
    assert len(asked.contacts) == 1
    assert book.run(name).state == "running"
    assert (book.attempt().follow_at, book.attempt().follows) == (due, 0)


def test_where_events_tell_the_first_call_is_not_asked_about(
    book: Any, place: Callable[..., str], follower: Follow, connect: Connect
) -> None:
    """Without the right, and with a queue, a campaign pauses only where a look is needed."""
    name = place(75)
    denied, answers = Refusing(connect, DENIED), Answers()
    for _ in range(64):
        book.clock.now += 1
        follower(connect=denied, answers=answers, probes=False)
    assert (denied.contacts, book.run(name).state) == ([], "running")
    book.clock.now += 1
    follower(connect=denied, answers=answers, probes=False)
    assert book.run(name).state == "paused"


@pytest.mark.parametrize("error", [DENIED, FAILING], ids=["denied", "failing"])
def test_an_hour_without_an_answer_rings_no_telephone_twice(
    book: Any, place: Callable[..., str], follower: Follow, connect: Connect, error: Exception
) -> None:
    """However long Connect refuses to tell, the rule for no_outcome dials no recipient; then all is told."""
    name = place(0, 75, redial=RULE)
    refusing, answers = Refusing(connect, error), Answers()
    for _ in range(400):
        book.clock.now += 10
        assert follower(connect=refusing, answers=answers) == 0
        assert book.claim() == []
    assert {row.state for row in book.attempts()} == {"placed"}
    assert len(refusing.contacts) < 100
    # It is mended: a probe gets an answer, and then all are asked about at once.
    if book.run(name).state == "paused":
        resume(book, name)
    book.clock.now += 61
    follower(answers=answers)
    follower(answers=answers)
    assert [row.outcome for row in book.attempts()] == ["answered", "busy"]
    assert [person.state for person in book.recipients()] == ["done", "done"]


@pytest.mark.parametrize("error", [DENIED, FAILING], ids=["denied", "failing"])
def test_what_connect_refuses_to_tell_for_a_day_is_held(
    book: Any, place: Callable[..., str], follower: Follow, connect: Connect, error: Exception
) -> None:
    """It ends without an outcome, and only an operator has its recipient dialed again."""
    place(75, redial=RULE)
    placed = book.clock.now
    refusing, answers = Refusing(connect, error), Answers()
    while book.attempt().state == "placed":
        book.clock.now = book.attempt().follow_at.timestamp()
        follower(connect=refusing, answers=answers)
    assert 86_400 <= book.clock.now - placed < 86_400 + 901
    assert (book.attempt().outcome, book.standing()) == ("no_outcome", ("ended", "held"))
    assert book.attempt().reason == f"Connect has refused to tell for a day ({error.code})"  # type: ignore[attr-defined]
    assert len(refusing.contacts) < 120
    # It is looked for all the same, and what it says frees the recipient.
    book.clock.now = book.attempt().follow_at.timestamp()
    assert follower(answers=answers) == 1
    assert (book.attempt().outcome, book.standing()) == ("busy", ("ended", "done"))


def test_held_is_dialed_again_by_the_outcomes_rule_when_it_is_told(
    book: Any, place: Callable[..., str], follower: Follow, connect: Connect
) -> None:
    """Busy after all: the rule for that applies, and a run that was over goes on for it."""
    name = place(75, redial={"max_attempts": 2, "no_outcome": "10s", "busy": "10m"})
    refusing = Refusing(connect, FAILING)
    while book.attempt().state == "placed":
        book.clock.now = book.attempt().follow_at.timestamp()
        follower(connect=refusing)
    assert runs.finish(book.ledger, book.clock.utc()) == 1
    book.clock.now = book.attempt().follow_at.timestamp()
    assert follower() == 1
    assert (book.attempt().outcome, book.standing()) == ("busy", ("ended", "waiting"))
    assert book.run(name).state == "running"
    assert len(book.claim()) == 1


def test_a_contact_that_connect_does_not_know_is_believed_only_beside_another_that_it_does(
    book: Any, place: Callable[..., str], follower: Follow, connect: Connect
) -> None:
    """Asked in the wrong Region, all calls are unknown: nobody is dialed again for that; all are held."""
    place(0, 0, redial=RULE)
    wrong, answers = Refusing(connect, None), Answers()
    for _ in range(200):
        book.clock.now += 10
        follower(connect=wrong, answers=answers)
        assert book.claim() == []
    assert {row.outcome for row in book.attempts()} == {"no_outcome"}
    assert "check the Region" in book.attempts()[0].reason
    assert [person.state for person in book.recipients()] == ["held", "held"]


def test_a_contact_that_is_unknown_long_after_another_was_told_of_is_held(
    book: Any, place: Callable[..., str], follower: Follow, connect: Connect, answers: Answers
) -> None:
    """What Connect told of more than an hour ago says nothing of what it would tell now."""
    place(0, redial=RULE)
    answers.told(INSTANCE, book.clock.utc() - timedelta(hours=1))
    missing = Refusing(connect, None)
    for _ in range(100):
        book.clock.now += 10
        follower(connect=missing)
    assert book.standing() == ("ended", "held")


def test_a_redial_without_an_outcome_is_held_when_the_last_look_before_it_is_refused(
    book: Any, place: Callable[..., str], follower: Follow, connect: Connect
) -> None:
    """Connect knew nothing of the call; five seconds before the redial it refuses to tell: no second ring."""
    place(0, redial={"max_attempts": 2, "no_outcome": "5m"})
    given_up(book, follower, connect)
    assert book.standing() == ("ended", "waiting")
    book.clock.now += 295
    follower(connect=Refusing(connect, FAILING))
    assert book.standing() == ("ended", "held")
    book.clock.now += 3600
    assert book.claim() == []


@pytest.mark.parametrize(("status", "state"), [(400, "running"), (403, "paused")])
def test_what_is_wrong_with_one_request_pauses_no_campaign(
    book: Any, place: Callable[..., str], follower: Follow, connect: Connect, status: int, state: str
) -> None:
    """A 400 speaks of the request; other faults of who asks, and where."""
    name = place(75)
    book.clock.now += 65
    follower(connect=Refusing(connect, Misconfigured("SomethingException", "no", status)))
    assert book.run(name).state == state


def test_a_clock_that_aws_refuses_pauses_nothing(
    book: Any, place: Callable[..., str], follower: Follow, connect: Connect
) -> None:
    """No right is missing: the outcome is asked for again when the clock is right."""
    name = place(75)
    book.clock.now += 65
    said: list[str | None] = []
    wrong = ClockWrong("RequestExpired", "this machine's clock is 600 s behind AWS's; set it by NTP", 403)
    follower(connect=Refusing(connect, wrong), report_problem=said.append)
    assert book.run(name).state == "running"
    assert "600 s behind AWS's" in str(said[-1])
    assert book.standing() == ("placed", "in_progress")
