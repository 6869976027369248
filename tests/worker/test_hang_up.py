"""Hanging up: a cancelled campaign's calls end in the sandbox, over HTTP, whatever gets in the way."""

import logging
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from campaigns.ledger import LedgerUnavailable, runs
from campaigns.ledger.in_progress import CallLimit
from campaigns.ledger.unknowns import mark_found
from campaigns.stranger import Stranger
from worker.connect import Connect
from worker.connect_errors import Ambiguous, Misconfigured, NeverSent, Refused, Throttled
from worker.dial import Dialer
from worker.follow import Following
from worker.hang_up import HangingUp
from worker.sandbox.server import SandboxOptions, running_sandbox

FIRST = timedelta(seconds=65)
SETTLE = timedelta(minutes=5)
LONG, BUSY = 88, 75  # a call that talks for ten minutes, and one that is over after two seconds


class Asked:
    """Connect, as far as hanging up asks it. Some contacts cannot be stopped, and some answers get lost."""

    def __init__(
        self, connect: Connect, errors: dict[str, Exception] | None = None, *, dies: bool = False
    ) -> None:
        self._connect = connect
        self.errors = errors or {}
        self.dies = dies
        self.contacts: list[str] = []

    def stop(self, instance_id: str, contact_id: str) -> bool:
        self.contacts.append(contact_id)
        if contact_id in self.errors:
            raise self.errors[contact_id]
        known = self._connect.stop(instance_id, contact_id)
        if self.dies:
            raise Killed
        return known


class Killed(BaseException):
    """The process dies between Connect's answer and the ledger."""


@pytest.fixture
def place(book: Any, make_dialer: Callable[..., Dialer]) -> Callable[..., str]:
    """Loads numbers and places their calls. Returns the campaign's name."""

    def run(*last_digits: int, dialer: Dialer | None = None, **choices: Any) -> str:
        name = book.load(*(f"+14155550{100 + digits}" for digits in last_digits), **choices)
        dialing = dialer or make_dialer()
        assert {dialing.dial(claim) for claim in book.claim()} == {"placed"}
        return str(name)

    return run


@pytest.fixture
def cancel(book: Any) -> Callable[..., None]:
    """`dialer cancel`, with --hang-up or without."""

    def run(name: str, *, hang_up: bool = True) -> None:
        with book.ledger.write() as db:
            runs.cancel(db, runs.find(db, name), book.clock.utc(), hang_up=hang_up)

    return run


@pytest.fixture
def problems() -> list[str | None]:
    """What the verb has reported."""
    return []


@pytest.fixture
def hanging_up(
    book: Any, connect: Connect, slots: Any, problems: list[str | None]
) -> Callable[..., HangingUp]:
    """What one control process has; another call makes that of another process."""

    def make(**parts: Any) -> HangingUp:
        usual: dict[str, Any] = {
            "ledger": book.ledger,
            "connect": connect,
            "pacer": slots,
            "exchange": "sandbox",
            "longest": SETTLE,
            "clock": book.clock.utc,
            "report_problem": problems.append,
        }
        return HangingUp(**{**usual, **parts})

    return make


@pytest.fixture
def follow(book: Any, connect: Connect, slots: Any) -> Callable[[], int]:
    """One round of following."""

    def run() -> int:
        return Following(
            ledger=book.ledger,
            connect=connect,
            pacer=slots,
            exchange="sandbox",
            first=FIRST,
            limit=CallLimit(1_000, SETTLE),
            clock=book.clock.utc,
        ).follow(10)

    return run


def stops(exchange: Any, attempt: Any) -> int:
    """How often StopContact has ended this attempt's call, by the sandbox's journal."""
    return sum(entry["operation"] == "StopContact" for entry in exchange.requests(attempt.client_token))


def test_talking_and_ringing_calls_are_ended(
    book: Any,
    exchange: Any,
    place: Callable[..., str],
    cancel: Callable[..., None],
    hanging_up: Callable[..., HangingUp],
    follow: Callable[[], int],
) -> None:
    """Connect ends both at once, and two seconds later it is known as what: nobody waits a minute for it."""
    name = place(LONG, 70, redial={"max_attempts": 3, "no_answer": "1m"})
    book.clock.now += 30  # the one talks, the other rings
    cancel(name)
    assert hanging_up().hang_up(10) == 2
    book.clock.now += 2
    assert follow() == 2
    talked, rang = book.attempts()
    assert (talked.outcome, rang.outcome) == ("answered", "stopped")
    for call in (talked, rang):
        assert stops(exchange, call) == exchange.rings(call.client_token) == 1
        assert call.stopped_at == call.ended_at == book.clock.utc() - timedelta(seconds=2)
    assert [row.state for row in book.recipients()] == ["done", "done"]
    book.clock.now += 600
    assert book.claim() == []


def test_calls_of_others_go_on(
    book: Any,
    exchange: Any,
    place: Callable[..., str],
    cancel: Callable[..., None],
    hanging_up: Callable[..., HangingUp],
) -> None:
    """Neither a running campaign's, nor one's that was only cancelled, nor the other exchange's."""
    place(LONG)
    cancel(place(LONG), hang_up=False)
    cancel(place(LONG))
    assert hanging_up(exchange="connect").hang_up(10) == 0
    assert hanging_up().hang_up(10) == 1
    assert [stops(exchange, row) for row in book.attempts()] == [0, 0, 1]


def test_round_takes_no_more_than_its_limit(
    book: Any,
    place: Callable[..., str],
    cancel: Callable[..., None],
    hanging_up: Callable[..., HangingUp],
    slots: Any,
) -> None:
    """A round is as long as the rate allows, each request in a slot of its own; the rest is for the next."""
    cancel(place(LONG, LONG + 100, LONG + 200))
    one = hanging_up()
    slots.horizons.clear()
    assert [one.hang_up(2), one.hang_up(2), one.hang_up(2)] == [2, 1, 0]
    assert len(slots.horizons) == 3


def test_second_delivery_does_no_harm(
    book: Any,
    exchange: Any,
    connect: Connect,
    place: Callable[..., str],
    cancel: Callable[..., None],
    hanging_up: Callable[..., HangingUp],
) -> None:
    """The same task again finds nothing to do."""
    cancel(place(LONG))
    asked = Asked(connect)
    one = hanging_up(connect=asked)
    assert (one.hang_up(10), one.hang_up(10)) == (1, 0)
    assert hanging_up(connect=asked).hang_up(10) == 0
    assert len(asked.contacts) == stops(exchange, book.attempt()) == 1


def test_two_control_processes_at_once_do_no_harm(
    book: Any,
    exchange: Any,
    place: Callable[..., str],
    cancel: Callable[..., None],
    hanging_up: Callable[..., HangingUp],
    slots: Any,
    connect: Connect,
) -> None:
    """Both ask for the same call; it ends once, and is written down once."""
    cancel(place(LONG))
    asked = Asked(connect)
    others: list[int] = []

    def another_comes() -> None:
        slots.on_wait = lambda: None
        others.append(hanging_up(connect=asked).hang_up(10))
        book.clock.now += 1

    slots.on_wait = another_comes
    assert hanging_up(connect=asked).hang_up(10) == 1
    assert (others, len(asked.contacts)) == ([1], 2)
    assert stops(exchange, book.attempt()) == 1
    assert book.attempt().stopped_at == book.clock.utc() - timedelta(seconds=1)


def test_whoever_dies_before_writing_it_down_is_no_loss(
    book: Any,
    exchange: Any,
    place: Callable[..., str],
    cancel: Callable[..., None],
    hanging_up: Callable[..., HangingUp],
    follow: Callable[[], int],
    connect: Connect,
) -> None:
    """Killed after Connect had ended the call: another process asks again, and it is known as hung up."""
    cancel(place(70))
    with pytest.raises(Killed):
        hanging_up(connect=Asked(connect, dies=True)).hang_up(10)
    assert (book.attempt().state, book.attempt().stopped_at) == ("placed", None)
    assert hanging_up().hang_up(10) == 1
    book.clock.now += 2
    assert follow() == 1
    assert (book.attempt().outcome, stops(exchange, book.attempt())) == ("stopped", 1)


def test_ledger_that_goes_away_in_between_is_no_loss(
    book: Any, place: Callable[..., str], cancel: Callable[..., None], hanging_up: Callable[..., HangingUp]
) -> None:
    """What could not be written down is asked for again."""
    cancel(place(LONG))
    one = hanging_up()

    class Goes:
        def stop(self, instance_id: str, contact_id: str) -> bool:
            book.ledger.away = True
            return bool(one.connect.stop(instance_id, contact_id))

    with pytest.raises(LedgerUnavailable):
        hanging_up(connect=Goes()).hang_up(10)
    book.ledger.away = False
    assert book.attempt().stopped_at is None
    assert one.hang_up(10) == 1
    assert book.attempt().stopped_at == book.clock.utc()


def test_call_that_is_placed_late_is_hung_up(
    book: Any,
    exchange: Any,
    cancel: Callable[..., None],
    hanging_up: Callable[..., HangingUp],
    make_dialer: Callable[..., Dialer],
    seam: Callable[..., Any],
) -> None:
    """Its request was on the wire while the campaign was cancelled; it ends in the next round."""
    name = book.load(f"+14155550{100 + LONG}")
    (claim,) = book.claim()
    one = hanging_up()

    def cancelled_meanwhile() -> None:
        cancel(name)
        assert one.hang_up(10) == 0

    dialer = make_dialer(connect=seam(cancelled_meanwhile))
    assert dialer.dial(claim) == "placed"
    assert one.hang_up(10) == 1
    assert stops(exchange, book.attempt()) == 1


def test_call_that_a_search_finds_is_hung_up(
    book: Any,
    exchange: Any,
    cancel: Callable[..., None],
    hanging_up: Callable[..., HangingUp],
    make_dialer: Callable[..., Dialer],
    seam: Callable[..., Any],
) -> None:
    """Nobody could tell whether it rang; as soon as it is known as a call, it is hung up."""
    name = book.load(f"+14155550{100 + LONG}")
    (claim,) = book.claim()

    def lose_the_answer() -> None:
        raise Ambiguous("ReadTimeoutError", "no answer")

    assert make_dialer(connect=seam(after=lose_the_answer), replay_window_seconds=0).dial(claim) == "unknown"
    cancel(name)
    one = hanging_up()
    assert one.hang_up(10) == 0
    (request,) = exchange.requests(claim.client_token)
    now = book.clock.utc()
    call = Stranger(request["contact_id"], now, request["destination"])
    this = (book.ledger, claim.attempt_id, claim.fence, call)
    assert mark_found(*this, follow_at=now, evidence="found")
    assert one.hang_up(10) == 1
    assert stops(exchange, book.attempt()) == 1


def test_call_that_is_over_already_keeps_its_own_end(
    book: Any,
    exchange: Any,
    place: Callable[..., str],
    cancel: Callable[..., None],
    hanging_up: Callable[..., HangingUp],
    follow: Callable[[], int],
) -> None:
    """A busy line was busy, though Connect was asked to stop the call before anybody knew."""
    name = place(BUSY)
    book.clock.now += 10
    cancel(name)
    assert hanging_up().hang_up(10) == 1
    book.clock.now += 2
    assert follow() == 1
    assert (book.attempt().outcome, stops(exchange, book.attempt())) == ("busy", 0)


def test_contact_that_connect_does_not_know_counts_as_hung_up(
    book: Any, place: Callable[..., str], cancel: Callable[..., None], hanging_up: Callable[..., HangingUp]
) -> None:
    """It is gone, or not there yet: then it is asked for again, until its end is known."""
    name = place(LONG)
    contact_id = book.attempt().contact_id
    (claimed,) = book.attempts()
    with book.ledger.write() as db:
        db.exec_driver_sql("UPDATE attempts SET contact_id = 'gone'")
    cancel(name)
    one = hanging_up()
    assert one.hang_up(10) == 1
    assert book.attempt().stopped_at == book.clock.utc()
    book.clock.now += 9
    assert one.hang_up(10) == 0
    with book.ledger.write() as db:
        db.exec_driver_sql("UPDATE attempts SET contact_id = ? WHERE id = ?", (contact_id, claimed.id))
    book.clock.now += 1
    assert one.hang_up(10) == 1


def test_unfollowed_call_is_hung_up_once(
    book: Any,
    exchange: Any,
    place: Callable[..., str],
    cancel: Callable[..., None],
    hanging_up: Callable[..., HangingUp],
    make_dialer: Callable[..., Dialer],
) -> None:
    """With DIALER_FOLLOW_SECONDS=0 nobody learns of the end, and nobody asks for it again and again."""
    timing = make_dialer().timing
    unfollowed = make_dialer(
        timing=type(timing)(
            lease=timing.lease,
            send_within_seconds=timing.send_within_seconds,
            replay_window_seconds=timing.replay_window_seconds,
            follow_after=None,
            search_after=timing.search_after,
        )
    )
    cancel(place(LONG, dialer=unfollowed))
    one = hanging_up()
    assert one.hang_up(10) == 1
    book.clock.now += 60
    assert one.hang_up(10) == 0
    assert (stops(exchange, book.attempt()), book.attempt().follow_at) == (1, None)


# --- what gets in the way ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [
        Ambiguous("InternalServiceException", "perhaps"),
        Refused("InvalidRequestException", "not this one"),
        Misconfigured("InvalidParameterException", "check the [connect] table (bad instance)", 400),
    ],
    ids=lambda error: type(error).__name__,
)
def test_one_call_that_cannot_be_stopped_does_not_hold_up_the_others(
    book: Any,
    place: Callable[..., str],
    cancel: Callable[..., None],
    hanging_up: Callable[..., HangingUp],
    connect: Connect,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
) -> None:
    """It is asked for again after ten seconds, and again, for as long as it is in progress."""
    # Celery, in other tests, leaves the root logger at another level.
    caplog.set_level(logging.WARNING, logger="worker.hang_up")
    cancel(place(LONG, LONG + 100, LONG + 200))
    bad, second, third = (row.contact_id for row in book.attempts())
    asked = Asked(connect, {bad: error})
    one = hanging_up(connect=asked)
    assert [one.hang_up(1), one.hang_up(1), one.hang_up(1)] == [0, 1, 1]
    assert asked.contacts == [bad, second, third]
    assert {record.levelno for record in caplog.records} == {logging.WARNING}
    book.clock.now += 9
    assert (one.hang_up(10), len(asked.contacts)) == (0, 3)
    book.clock.now += 1
    assert one.hang_up(10) == 2  # those whose end nobody has learned yet
    assert asked.contacts[3:] == [bad, second, third]
    asked.errors.clear()
    book.clock.now += 10
    assert one.hang_up(1) == 1
    assert [row.stopped_at is not None for row in book.attempts()] == [True] * 3


def test_missing_right_is_said_and_asked_for_once_a_round(
    book: Any,
    place: Callable[..., str],
    cancel: Callable[..., None],
    hanging_up: Callable[..., HangingUp],
    connect: Connect,
    problems: list[str | None],
) -> None:
    """Who may not stop calls is not asked a thousand times; another campaign's calls end all the same."""
    denied = Misconfigured("AccessDeniedException", "allow connect:StopContact", 403)
    first = place(LONG, LONG + 100)
    book.clock.now += 1
    second = place(LONG + 200)
    cancel(first)
    contacts = [row.contact_id for row in book.attempts()]
    asked = Asked(connect, dict.fromkeys(contacts[:2], denied))
    one = hanging_up(connect=asked)
    assert one.hang_up(10) == 0
    assert asked.contacts == contacts[:1]
    assert problems == ["calls cannot be hung up: AccessDeniedException: allow connect:StopContact"]
    cancel(second)
    assert one.hang_up(10) == 1
    assert asked.contacts == [contacts[0], contacts[2]]
    book.clock.now += 10
    asked.errors.clear()
    assert one.hang_up(10) == 3
    assert problems[-1] is None


def test_problem_is_over_when_there_is_nothing_to_hang_up(
    book: Any,
    place: Callable[..., str],
    cancel: Callable[..., None],
    hanging_up: Callable[..., HangingUp],
    follow: Callable[[], int],
    connect: Connect,
    problems: list[str | None],
) -> None:
    """The calls have ended by themselves, so nothing is wrong any more."""
    cancel(place(70))
    denied = Misconfigured("AccessDeniedException", "no", 403)
    one = hanging_up(connect=Asked(connect, {book.attempt().contact_id: denied}))
    one.hang_up(10)
    assert problems[-1] == "calls cannot be hung up: AccessDeniedException: no"
    book.clock.now += 65
    assert follow() == 1
    one.hang_up(10)
    assert problems[-1] is None


@pytest.mark.parametrize("gone", [True, False])
def test_without_the_pacers_leave_nobody_asks(
    book: Any,
    place: Callable[..., str],
    cancel: Callable[..., None],
    hanging_up: Callable[..., HangingUp],
    slots: Any,
    connect: Connect,
    problems: list[str | None],
    gone: bool,
) -> None:
    """No slot, or no Redis to ask for one: the next round tries again."""
    cancel(place(LONG))
    asked = Asked(connect)
    one = hanging_up(connect=asked)
    slots.granted, slots.gone = gone, gone
    assert (one.hang_up(10), asked.contacts) == (0, [])
    assert (problems == []) is not gone
    slots.granted, slots.gone = True, False
    assert one.hang_up(10) == 1


@pytest.mark.parametrize("pacer_is_gone", [False, True])
def test_throttle_slows_everybody_down(
    book: Any,
    place: Callable[..., str],
    cancel: Callable[..., None],
    hanging_up: Callable[..., HangingUp],
    slots: Any,
    pacer_is_gone: bool,
) -> None:
    """The round is over, the pacer is told, and the call is stopped in the next one."""
    cancel(place(LONG, LONG + 100))
    contacts: list[str] = []

    class Busy:
        def stop(self, _: str, contact_id: str) -> bool:
            contacts.append(contact_id)
            slots.gone = pacer_is_gone
            raise Throttled("ThrottlingException", "too fast")

    assert hanging_up(connect=Busy()).hang_up(10) == 0
    assert (contacts, slots.throttles) == ([book.attempts()[0].contact_id], 0 if pacer_is_gone else 1)
    slots.gone = False
    assert hanging_up().hang_up(10) == 2


def test_request_that_cannot_leave_ends_the_round(
    book: Any,
    place: Callable[..., str],
    cancel: Callable[..., None],
    hanging_up: Callable[..., HangingUp],
    connect: Connect,
    problems: list[str | None],
) -> None:
    """Without a way to Connect the others cannot leave either; it is said, and tried again a second later."""
    cancel(place(LONG, LONG + 100))
    asked = Asked(connect, {book.attempts()[0].contact_id: NeverSent("NoRoute", "no connection")})
    one = hanging_up(connect=asked)
    assert (one.hang_up(10), len(asked.contacts)) == (0, 1)
    assert problems == ["calls cannot be hung up: NoRoute: no connection"]
    asked.errors.clear()
    assert one.hang_up(10) == 2
    assert problems[-1] is None


def test_process_that_stops_sends_nothing_more(
    book: Any,
    place: Callable[..., str],
    cancel: Callable[..., None],
    hanging_up: Callable[..., HangingUp],
    connect: Connect,
) -> None:
    """Every wait is over at once then, and requests would leave out of their turn."""
    cancel(place(LONG))
    asked = Asked(connect)
    assert hanging_up(connect=asked, stopping=lambda: True).hang_up(10) == 0
    assert asked.contacts == []


def test_clock_that_was_put_back_keeps_nobody_waiting(
    book: Any,
    place: Callable[..., str],
    cancel: Callable[..., None],
    hanging_up: Callable[..., HangingUp],
    connect: Connect,
) -> None:
    """A call that was to be left alone until then is not left alone for an hour more."""
    cancel(place(LONG))
    (contact_id,) = (row.contact_id for row in book.attempts())
    asked = Asked(connect, {contact_id: Ambiguous("InternalServiceException", "perhaps")})
    one = hanging_up(connect=asked)
    assert one.hang_up(10) == 0
    asked.errors.clear()
    book.clock.now -= 1800
    try:
        assert one.hang_up(10) == 1
    finally:
        book.clock.now += 1800


# --- over the wire ----------------------------------------------------------------------------------------


@pytest.fixture
def narrow(clock: Any, connect_to: Callable[..., Connect], tmp_path: Path) -> Iterator[Connect]:
    """A client of a sandbox with room for one StopContact at a time."""
    options = SandboxOptions(
        port=0, describe_per_second=1.0, describe_burst=1, burst=10, journal=tmp_path / "journal.jsonl"
    )
    with running_sandbox(options, clock) as url:
        yield connect_to(url, exchange="sandbox")


def test_real_throttle_is_one(
    book: Any,
    place: Callable[..., str],
    cancel: Callable[..., None],
    hanging_up: Callable[..., HangingUp],
    make_dialer: Callable[..., Dialer],
    slots: Any,
    narrow: Connect,
) -> None:
    """Connect's 429 ends the round; a second later there is room for the next call."""
    cancel(place(LONG, LONG + 100, dialer=make_dialer(connect=narrow)))
    one = hanging_up(connect=narrow)
    assert (one.hang_up(10), slots.throttles) == (1, 1)
    book.clock.now += 1
    assert (one.hang_up(10), slots.throttles) == (1, 1)


def test_contact_that_is_gone_is_no_error(connect: Connect) -> None:
    """Connect's 410 says that there is nothing to hang up."""
    instance = "10a4c4eb-f57e-4d4c-b602-bf39176ced07"
    assert connect.stop(instance, instance) is False


# --- the task ---------------------------------------------------------------------------------------------


@pytest.fixture
def wished(
    book: Any, place: Callable[..., str], cancel: Callable[..., None], program: SimpleNamespace
) -> Any:
    """The ledger with a call in progress that is to be hung up, on the clock of the program."""
    cancel(place(LONG))
    with book.ledger.write() as db:
        # The program goes by the wall clock, and nobody is to look at the call meanwhile.
        db.exec_driver_sql("UPDATE attempts SET follow_at = 9000000000000000")
    return book


def test_task_hangs_up(wished: Any, exchange: Any, program: SimpleNamespace) -> None:
    """From the schedule's task through the pacer to Connect, with the machine's own parts."""
    program.tasks.hang_up_task()
    assert stops(exchange, wished.attempt()) == 1
    assert wished.attempt().stopped_at is not None
    assert program.machine().problems == {}
    bucket = "dialer:pace:{default-sandbox:us-east-1:StopContact}"
    assert program.machine().redis.exists(bucket) == 1


def test_only_one_round_at_a_time(wished: Any, exchange: Any, program: SimpleNamespace) -> None:
    """While a round waits for Connect, others leave at once, and the threads of the process to their work."""
    with program.tasks._hanging_up:
        done = threading.Thread(target=program.tasks.hang_up_task)
        done.start()
        done.join(60)
        assert not done.is_alive()
    assert stops(exchange, wished.attempt()) == 0
    program.tasks.hang_up_task()
    assert stops(exchange, wished.attempt()) == 1


def test_ledger_that_is_away_is_survived(program: SimpleNamespace, caplog: pytest.LogCaptureFixture) -> None:
    """A round comes to nothing, in one line of the log; the next one tries again."""

    class Away:
        def __getattr__(self, _: str) -> Any:
            raise LedgerUnavailable("the ledger's database does not answer: it is away")

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(vars(program.machine()), "ledger", Away())
        program.tasks.hang_up_task()
    (said,) = caplog.records
    assert said.getMessage() == "nothing is dialed: the ledger's database does not answer: it is away"
    assert not program.tasks._hanging_up.locked()
