"""A call rings inside the calling hours or not at all, however late its worker wakes up."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from worker.dial import Dialer

MakeDialer = Callable[..., Dialer]

PERSON = "+14155550100"
MINUTE = timedelta(minutes=1)


def open_for(clock: Any, minutes: int) -> dict[str, str]:
    """Calling hours that have begun, and end so many minutes after the present full minute."""
    clock.now += 60 - clock.now % 60
    now = clock.utc()
    window = f"{now - 10 * MINUTE:%H:%M}-{now + minutes * MINUTE:%H:%M}"
    return {"weekdays": window, "weekend": window, "time_zone": "UTC"}


def test_in_time_it_rings(book: Any, make_dialer: MakeDialer, exchange: Any, clock: Any) -> None:
    """A second before the end is inside."""
    book.load(PERSON, calling_hours=open_for(clock, 1))
    (claim,) = book.claim()
    clock.now += 59
    assert make_dialer().dial(claim) == "placed"
    assert exchange.rings(claim.client_token) == 1


def test_who_waited_too_long_for_a_slot_is_returned(
    book: Any, make_dialer: MakeDialer, slots: Any, exchange: Any, clock: Any
) -> None:
    """The hours ended while the attempt waited for its turn: nothing is sent, nothing is charged."""
    book.load(PERSON, calling_hours=open_for(clock, 1))
    (claim,) = book.claim()
    clock.now += 58
    slots.takes_seconds = 2.0
    assert make_dialer().dial(claim) == "stale"
    assert exchange.requests(claim.client_token) == []
    assert book.standing() == ("returned", "waiting")
    assert book.claim() == []


def test_what_left_the_ledger_in_time_must_leave_the_machine_in_time(
    book: Any, make_dialer: MakeDialer, seam: Callable[..., Any], exchange: Any, clock: Any
) -> None:
    """The hours end between `dialing` and the sending: the request is withheld, the attempt returned."""
    book.load(PERSON, calling_hours=open_for(clock, 1))
    (claim,) = book.claim()
    clock.now += 59.5

    def slow() -> None:
        clock.now += 0.5

    assert make_dialer(connect=seam(slow)).dial(claim) == "returned"
    assert exchange.requests(claim.client_token) == []
    assert book.standing() == ("returned", "waiting")
    assert book.attempt().dialing_at is None


def test_it_is_not_sent_again_after_the_hours(
    book: Any, make_dialer: MakeDialer, exchange: Any, clock: Any
) -> None:
    """A server error just before the end is not tried again after it, as it would be at any other time."""
    book.load(PERSON, calling_hours=open_for(clock, 1))
    (claim,) = book.claim()
    clock.now += 59.9
    exchange.set_faults(error_before=1.0)
    try:
        assert make_dialer().dial(claim) == "unknown"
    finally:
        exchange.set_faults()
    assert len(exchange.requests(claim.client_token)) == 1
    assert clock.slept == [], "it did not even wait"


@pytest.mark.parametrize("seconds", [-1, 0, 1])
def test_a_stopped_worker_wakes_up_around_the_end(
    book: Any, make_dialer: MakeDialer, exchange: Any, clock: Any, seconds: int
) -> None:
    """The last second is open, the end itself is not."""
    book.load(PERSON, calling_hours=open_for(clock, 2))
    (claim,) = book.claim()
    clock.now += 120 + seconds
    make_dialer().dial(claim)
    assert exchange.rings(claim.client_token) == (1 if seconds < 0 else 0)
