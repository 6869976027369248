"""Connect answers call after call with errors: one call at a time is tried, and no recipient pays for it.

The program's own dialing, feeding and searching on both ledgers, over HTTP to the sandbox, on a driven clock.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from campaigns.ledger import open_ledger
from campaigns.ledger.claims import Claim, claim
from campaigns.ledger.in_progress import CallLimit
from campaigns.ledger.tables import brakes
from tests.worker.conftest import LEASE, Book, SleepyLedger
from worker.braking import answers, decided
from worker.connect import Connect
from worker.connect_errors import (
    Ambiguous,
    ClockWrong,
    ConnectError,
    Misconfigured,
    NeverSent,
    NoCapacity,
    Refused,
    Throttled,
    Unauthenticated,
)
from worker.dial import Dialer
from worker.settle import Settling

LIMIT = CallLimit(10, timedelta(seconds=300))
"""The default settings'."""


@pytest.fixture
def dial_ledger(ledger_url: str) -> Iterator[SleepyLedger]:
    """A real ledger, in SQLite and in PostgreSQL."""
    with closing(SleepyLedger(open_ledger(ledger_url)._engine)) as ledger:
        yield ledger


@pytest.fixture(autouse=True)
def _calm_again(exchange: Any) -> Iterator[None]:
    yield
    exchange.set_faults()


class Office:
    """All that works for a campaign, round by round."""

    def __init__(self, book: Book, dialer: Dialer, settling: Settling) -> None:
        self.book, self.dialer, self.settling = book, dialer, settling
        self.limit: CallLimit | None = LIMIT
        self.pause = 1
        """Seconds between two rounds."""
        self.queue: list[Claim] = []

    def feed(self) -> list[Claim]:
        """One round, at the default rate."""
        return claim(
            self.book.ledger,
            keep_queued=6,
            exchange="sandbox",
            now=self.book.clock.utc(),
            lease=LEASE,
            ahead=timedelta(seconds=3),
            limit=self.limit,
        )

    def work(self, seconds: float, until: Callable[[], bool] = lambda: False) -> float:
        """Feed, dial what is fed, search, pause. Returns after how many seconds `until` held."""
        clock = self.book.clock
        began = clock.now
        while clock.now < began + seconds and not until():
            self.queue += self.feed()
            now, self.queue = self.queue[:2], self.queue[2:]
            for each in now:
                self.dialer.dial(each)
            self.settling.settle()
            clock.now += self.pause
        return clock.now - began

    def states(self) -> set[str]:
        return {person.state for person in self.book.recipients()}

    def brake(self) -> list[str]:
        with self.book.ledger.read() as db:
            return list(db.execute(select(brakes.c.state).order_by(brakes.c.run_id)).scalars())


@pytest.fixture
def office(
    book: Book, make_dialer: Callable[..., Dialer], slots: Any, connect: Connect
) -> Callable[..., Office]:
    def make(**parts: Any) -> Office:
        usual: dict[str, Any] = {"replay_window_seconds": 0.0}
        usual["answers"] = lambda instance_id: answers(connect, instance_id)
        dialer = make_dialer(**{**usual, **parts})
        dialer = replace(dialer, timing=replace(dialer.timing, follow_after=None))
        settling = Settling(
            ledger=book.ledger,
            connect=connect,
            search_pacer=slots,
            describe_pacer=slots,
            exchange="sandbox",
            patience=timedelta(seconds=300),
            follow=False,
            clock=book.clock.utc,
        )
        return Office(book, dialer, settling)

    return make


def numbers(count: int, first: int = 0) -> list[str]:
    """Numbers whose calls are answered."""
    return [f"+1{area}55501{last:02}" for area in (212, 213, 214, 215, 216) for last in range(10)][
        first : first + count
    ]


OUTAGES = {
    "calls alone fail": {"error_before": 1.0},
    "connections are closed": {"drop_before": 1.0},
    "calls are placed, and the answer is an error": {"error_after": 1.0},
    "everything fails": {"error_before": 1.0, "describe_error": 1.0, "search_error": 1.0},
}


@pytest.mark.parametrize("faults", OUTAGES.values(), ids=OUTAGES)
def test_ten_minutes_of_errors(
    office: Callable[..., Office], book: Book, exchange: Any, faults: dict[str, float]
) -> None:
    """Few attempts, no recipient held or rung twice, and calls go on within a minute of the end."""
    book.load(*numbers(50))
    here = office(replay_window_seconds=5.0)
    here.work(2)
    placed = sum(each.state == "placed" for each in book.attempts())
    assert placed == 4
    exchange.set_faults(**faults)
    here.work(60)
    here.pause = 3
    here.work(540)
    assert len(book.attempts()) <= placed + 35
    assert "held" not in here.states()
    exchange.set_faults()
    here.pause = 1
    tried = len(book.attempts())

    def again() -> bool:
        return any(each.state == "placed" for each in book.attempts()[tried:]) or any(
            each.placed_at and each.placed_at > ended for each in book.attempts()
        )

    ended = book.clock.utc()
    assert here.work(120, again) <= 60
    here.limit = None
    here.work(700, lambda: here.states() == {"done"})
    assert here.states() == {"done"}
    rings: dict[int, int] = {}
    for each in book.attempts():
        rings[each.recipient_id] = rings.get(each.recipient_id, 0) + exchange.rings(each.client_token)
    assert set(rings.values()) == {1}


def test_a_lone_recipient_is_not_held_for_it(
    office: Callable[..., Office], book: Book, exchange: Any
) -> None:
    """Errors for half an hour are no reason to hold the only one who waits."""
    book.load(*numbers(1))
    here = office()
    here.pause = 5
    exchange.set_faults(error_before=1.0)
    here.work(1800)
    assert len(book.attempts()) > 3
    assert here.states() <= {"waiting", "in_progress"}
    exchange.set_faults()
    here.work(7200, lambda: here.states() == {"done"})
    assert here.states() == {"done"}
    assert sum(exchange.rings(each.client_token) for each in book.attempts()) == 1


def test_attempts_in_doubt_keep_their_code(office: Callable[..., Office], book: Book, exchange: Any) -> None:
    """What came instead of an answer is data, on the attempt and on the brake; a later dialing clears it."""
    book.load(*numbers(3))
    here = office()
    exchange.set_faults(error_before=1.0)
    here.work(2)
    assert {each.error_code for each in book.attempts() if each.state == "unknown"} == {
        "InternalServiceException"
    }


def test_probes_try_other_recipients(office: Callable[..., Office], book: Book, exchange: Any) -> None:
    """Also after their searches have ended, no recipient is tried again while others have not been."""
    book.load(*numbers(50))
    here = office()
    here.pause = 3
    exchange.set_faults(error_before=1.0)
    here.work(600)
    assert {each.number for each in book.attempts()} == {1}


def test_one_campaigns_errors_are_its_own(
    office: Callable[..., Office], book: Book, exchange: Any, seam: Any
) -> None:
    """A flow that breaks Connect brakes its own campaign; the other is called as ever."""
    broken = book.load(*numbers(20))
    here = office()
    exchange.set_faults(error_before=1.0)
    here.work(2)
    exchange.set_faults()
    assert here.brake() == ["counting", "braked"]
    sound = book.load(*numbers(20, first=20), limits={})
    run = book.run(sound).id
    broken_run = book.run(broken).id

    class OneFails:
        def place(self, order: Any, **more: Any) -> str:
            if order.options.instance_id and order.phone in numbers(20):
                raise Ambiguous("InternalServiceException", "HTTP 500", 500)
            return here_connect.place(order, **more)

    here_connect = here.dialer.connect
    here.limit = None
    here.dialer = replace(here.dialer, connect=OneFails())  # type: ignore[arg-type]
    here.work(60)
    attempts = book.attempts()
    assert [each.state for each in attempts if each.run_id == run] == ["placed"] * 20
    of_broken = [each.state for each in attempts if each.run_id == broken_run]
    assert 4 <= of_broken.count("unknown") <= 8
    assert "braked" in here.brake()


def test_errors_of_two_campaigns_brake_all(office: Callable[..., Office], book: Book, exchange: Any) -> None:
    """Where all campaigns' calls fail, a hundred campaigns do not make a hundred times as many attempts."""
    for first in range(0, 50, 5):
        book.load(*numbers(5, first=first))
    here = office()
    exchange.set_faults(error_before=1.0)
    here.work(60)
    assert here.brake()[0] == "braked"
    assert [each.state for each in book.attempts()].count("unknown") <= 8
    exchange.set_faults()
    here.limit = None
    here.work(60, lambda: sum(each.state == "placed" for each in book.attempts()) >= 20)
    assert sum(each.state == "placed" for each in book.attempts()) >= 20


def test_where_no_question_is_answered_hardly_a_call_is_risked(
    office: Callable[..., Office], book: Book, exchange: Any
) -> None:
    """Questions place no call; a call is tried every two minutes all the same, for they may fail alone."""
    book.load(*numbers(50))
    here = office()
    here.pause = 3
    exchange.set_faults(error_before=1.0, describe_error=1.0)
    here.work(600)
    assert len([each for each in book.attempts() if each.state == "unknown"]) <= 9
    here.pause = 1
    # Only the questions fail now.
    exchange.set_faults(describe_error=1.0)
    here.work(130, lambda: any(each.state == "placed" for each in book.attempts()))
    assert any(each.state == "placed" for each in book.attempts())


def test_a_probe_whose_worker_dies_is_followed_by_another(
    office: Callable[..., Office], book: Book, exchange: Any
) -> None:
    """Its lease is all that the next one waits for."""
    book.load(*numbers(20))
    here = office()
    exchange.set_faults(error_before=1.0)
    here.work(2)
    assert here.brake()[-1] == "braked"
    exchange.set_faults()

    class Dies:
        def place(self, *_: Any, **__: Any) -> str:
            raise SystemExit

    sound = here.dialer
    here.dialer = replace(here.dialer, connect=Dies())  # type: ignore[arg-type]
    with pytest.raises(SystemExit):
        here.work(30)
    here.dialer = sound
    assert here.work(60, lambda: any(each.state == "placed" for each in book.attempts())) <= 35


def test_a_probe_that_does_not_leave_says_nothing(
    office: Callable[..., Office], book: Book, exchange: Any, seam: Any
) -> None:
    """No connection: the next probe need not wait for the lease, and the attempt is not charged."""
    book.load(*numbers(20))
    here = office()
    exchange.set_faults(error_before=1.0)
    here.work(2)
    exchange.set_faults()
    here.dialer = replace(here.dialer, connect=seam(*[NeverSent("EndpointConnectionError", "no way")] * 3))
    here.work(7)
    assert here.brake()[-1] == "braked"
    assert here.work(30, lambda: any(each.state == "placed" for each in book.attempts())) <= 10


def test_a_brake_is_named_in_the_log(
    office: Callable[..., Office], book: Book, exchange: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Why nothing is dialed, since when, and that it goes on: a line each."""
    book.load(*numbers(20))
    here = office()
    exchange.set_faults(error_before=1.0)
    with caplog.at_level(logging.WARNING):
        here.work(3)
        exchange.set_faults()
        here.work(60)
    held = [line.getMessage() for line in caplog.records if line.getMessage().startswith("calls are held")]
    assert len(held) == 1
    assert "InternalServiceException, 3 attempts in a row" in held[0]
    assert len([line for line in caplog.records if "decides calls again" in line.getMessage()]) == 1


def test_a_ledger_that_is_away_costs_a_note_and_no_call(
    office: Callable[..., Office], book: Book, exchange: Any, seam: Any, dial_ledger: SleepyLedger
) -> None:
    """The error cannot be counted, and the answer to the second sending is recorded when it is back."""

    def goes() -> None:
        dial_ledger.away = True
        raise Ambiguous("InternalServiceException", "HTTP 500", 500)

    def returns() -> None:
        dial_ledger.away = False

    book.load(*numbers(1))
    here = office(connect=seam(goes, returns), replay_window_seconds=5.0)
    assert [here.dialer.dial(each) for each in here.feed()] == ["placed"]
    assert here.brake() == []


def test_a_probe_whose_ledger_goes_away_before_it_leaves_is_given_back(
    office: Callable[..., Office], book: Book, exchange: Any, dial_ledger: SleepyLedger
) -> None:
    """What was not sent is not in doubt: it is due again when the ledger is back."""
    book.load(*numbers(20))
    here = office()
    exchange.set_faults(error_before=1.0)
    here.work(2)
    in_doubt = len([each for each in book.attempts() if each.state == "unknown"])
    asked: list[str] = []

    def goes(instance_id: str) -> bool:
        asked.append(instance_id)
        dial_ledger.away = True
        return False

    def returns(_seconds: float) -> None:
        dial_ledger.away = False

    here.dialer = replace(here.dialer, answers=goes, sleep=returns)
    here.work(10, lambda: bool(asked))
    assert len(asked) == 1
    assert {each.state for each in book.attempts() if each.reason and "away" in each.reason} == {"returned"}
    assert len([each for each in book.attempts() if each.state == "unknown"]) == in_doubt


def test_credentials_that_are_not_taken_are_named_by_the_first_probe(
    office: Callable[..., Office], book: Book, exchange: Any, seam: Any
) -> None:
    """They are no silence of Connect's, and an operator must not wait two minutes to hear of them."""
    book.load(*numbers(20))
    problems: list[str | None] = []
    here = office(report_problem=problems.append)
    exchange.set_faults(error_before=1.0)
    here.work(2)
    expired = [Unauthenticated("ExpiredTokenException", "the credentials have expired", 403)] * 9
    here.dialer = replace(
        here.dialer,
        connect=seam(*expired),
        answers=lambda instance_id: answers(Expired(), instance_id),  # type: ignore[arg-type]
    )
    here.work(7)
    assert here.brake()[-1] == "braked"
    assert "no call gets through: ExpiredTokenException: the credentials have expired" in problems


class Expired:
    """Connect, to which these credentials are too old for any question."""

    def describe(self, _instance_id: str, _contact_id: str) -> None:
        raise Unauthenticated("ExpiredTokenException", "the credentials have expired", 403)


@pytest.mark.parametrize(
    ("error", "is_decision"),
    [
        (Throttled("TooManyRequestsException", "slow", 429), True),
        (NoCapacity("LimitExceededException", "full", 429), True),
        (Refused("DestinationNotAllowedException", "no", 403), True),
        (Misconfigured("AccessDeniedException", "no", 403), True),
        (Misconfigured("403", "a gateway's page", 403), False),
        (ClockWrong("RequestExpired", "the clock", 403), False),
        (Refused("ParamValidationError", "never sent"), False),
        (Ambiguous("InternalServiceException", "500", 500), False),
        (NeverSent("EndpointConnectionError", "no way"), False),
    ],
)
def test_what_the_service_decides(error: ConnectError, is_decision: bool) -> None:
    """A refusal of AWS's releases a brake; a gateway's page and what never left do not."""
    assert decided(error) == is_decision
