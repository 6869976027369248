"""Answers that cannot be used, as the dialer takes them: in doubt, searched for, not dialed again blindly."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from worker.connect import Connect, SearchPage
from worker.connect_errors import Ambiguous, OddAnswer
from worker.dial import Dialer
from worker.settle import Settling

PHONE = "+14155550101"
PATIENCE = timedelta(minutes=5)


class Odd(Connect):
    """The real client, to whose pages of calls something happens."""

    def __init__(self, connect: Connect, page: Callable[[SearchPage], SearchPage]) -> None:
        self._real, self._page = connect, page
        self.searches = 0

    def search(
        self,
        instance_id: str,
        since: datetime,
        until: datetime,
        next_token: str | None = None,
        **by: Any,
    ) -> SearchPage:
        self.searches += 1
        return self._page(self._real.search(instance_id, since, until, **by))

    def describe(self, instance_id: str, contact_id: str) -> Any:
        return self._real.describe(instance_id, contact_id)


@pytest.fixture
def lost(book: Any, connect: Connect, make_dialer: Callable[..., Dialer]) -> Callable[..., Any]:
    """Dials one number whose call is placed, and whose answer cannot be used."""

    class Spoilt:
        def __init__(self) -> None:
            self.placed: list[str] = []

        def place(self, order: Any, **more: Any) -> str:
            self.placed.append(connect.place(order, **more))
            raise OddAnswer("OddContactId", "the answer's contact id cannot be used")

    def dial() -> Any:
        book.load(PHONE)
        spoilt = Spoilt()
        dialer = make_dialer(connect=spoilt)
        assert [dialer.dial(claim) for claim in book.claim()] == ["unknown"]
        return spoilt.placed

    return dial


@pytest.fixture
def settle(book: Any, slots: Any) -> Callable[[Connect], int]:
    """One round of settling."""

    def run(connect: Connect) -> int:
        return Settling(
            ledger=book.ledger,
            connect=connect,
            search_pacer=slots,
            describe_pacer=slots,
            exchange="sandbox",
            patience=PATIENCE,
            follow=True,
            clock=book.clock.utc,
        ).settle()

    return run


def test_an_odd_answer_is_not_asked_for_again(
    book: Any, lost: Callable[[], list[str]], exchange: Any
) -> None:
    """Within the replay window too: what has changed this answer would change the next, and each may ring."""
    assert len(lost()) == 1
    assert len(exchange.requests(book.attempt().client_token)) == 1
    assert book.attempt().reason.startswith("OddContactId: ")


def test_an_odd_answer_after_a_lost_one_is_the_last(
    book: Any, connect: Connect, make_dialer: Callable[..., Dialer], exchange: Any
) -> None:
    """A request that is sent again and answered oddly is not sent a third time."""

    errors = [Ambiguous("500", "x"), OddAnswer("NoJson", "x"), Ambiguous("500", "x")]

    class Failing:
        sent = 0

        def place(self, order: Any, **_: Any) -> str:
            self.sent += 1
            raise errors[self.sent - 1]

    book.load(PHONE)
    failing = Failing()
    dialer = make_dialer(connect=failing)
    assert [dialer.dial(claim) for claim in book.claim()] == ["unknown"]
    assert failing.sent == 2


def test_its_call_is_found_by_the_search(
    book: Any, lost: Callable[[], list[str]], connect: Connect, settle: Callable[[Connect], int]
) -> None:
    """The evidence names the contact that the answer did not."""
    (contact_id,) = lost()
    book.clock.now += 10
    assert settle(connect) == 1
    assert (book.attempt().state, book.attempt().contact_id) == ("placed", contact_id)


def test_a_row_that_cannot_be_read_may_be_its_call(
    book: Any, lost: Callable[[], list[str]], connect: Connect, settle: Callable[[Connect], int]
) -> None:
    """Its recipient is held, and not dialed again: that a call is not readable does not make it unplaced."""
    lost()
    book.clock.now += 300
    assert settle(Odd(connect, lambda page: replace(page, calls=[], unreadable=len(page.calls)))) == 0
    assert book.standing() == ("unknown", "held")
    assert book.claim() == []
    book.clock.now += 3600
    assert settle(connect) == 1, "and when the rows can be read again, it is found"


@pytest.mark.parametrize("calls", [0, 1])
def test_a_list_without_end_is_left(
    book: Any, lost: Callable[[], list[str]], connect: Connect, settle: Callable[[Connect], int], calls: int
) -> None:
    """Pages that lead to themselves, or to ever new ones, prove nothing and hold no thread."""
    lost()
    book.clock.now += 10
    same = Odd(connect, lambda page: replace(page, calls=page.calls[:calls], next_token="again"))
    assert settle(same) == 0
    assert same.searches == 2
    book.clock.now += 60
    tokens = iter(range(10**9))
    new = Odd(connect, lambda page: replace(page, calls=page.calls[:calls], next_token=str(next(tokens))))
    assert settle(new) == 0
    assert new.searches <= 302
    assert book.standing() == ("unknown", "in_progress")
