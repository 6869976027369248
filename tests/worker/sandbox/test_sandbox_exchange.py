"""The calls over time, with the time handed in."""

import pytest

from worker.sandbox.checks import CallRequest, Common
from worker.sandbox.exchange import Exchange
from worker.sandbox.numbers import ANSWERED, BUSY, OVER_QUOTA, Script

COMMON = Common("10a4c4eb-f57e-4d4c-b602-bf39176ced07", "b0b8f2dd-ed1b-4c44-af36-ce189a178181")
TALK = Script(ANSWERED, ring_seconds=5, talk_seconds=20)


def _asked(token: str | None) -> CallRequest:
    return CallRequest("+14155550100", token, COMMON, {}, 60, detection=False)


def test_a_live_token_gives_the_same_call() -> None:
    """While the call rings or talks, its token places nothing."""
    exchange = Exchange()
    first = exchange.start(_asked("a"), TALK, now=100)
    again = exchange.start(_asked("a"), TALK, now=124.9)
    assert (first.index, True, 1) == (again.index, again.replayed, len(exchange.calls))


def test_a_token_rings_again_once_its_call_is_over() -> None:
    """The rule of 2018: a disconnected contact's token starts a new one."""
    exchange = Exchange()
    exchange.start(_asked("a"), TALK, now=100)
    again = exchange.start(_asked("a"), TALK, now=125)
    assert (again.index, again.replayed, again.rang_before) == (1, False, True)


def test_without_a_token_every_request_rings() -> None:
    """Nothing is protected that has no name."""
    exchange = Exchange()
    assert [exchange.start(_asked(None), TALK, now=100).index for _ in range(2)] == [0, 1]


def test_speed_shortens_calls() -> None:
    """At sixty times the speed, a call of 25 seconds is over in 25 sixtieths."""
    exchange = Exchange(speed=60)
    call = exchange.calls[exchange.start(_asked("a"), TALK, now=0).index]
    assert (call.answered_at, call.ended_at) == pytest.approx((5 / 60, 25 / 60))


def test_calls_beyond_the_quota_are_cut_off_without_an_error() -> None:
    """The third of two allowed calls gets a contact, rings nowhere, and leaves its token unused."""
    exchange = Exchange(max_active_calls=2)
    for token in "ab":
        exchange.start(_asked(token), TALK, now=0)
    third = exchange.start(_asked("c"), TALK, now=1)
    call = exchange.calls[third.index]
    assert (call.ending, call.ended_at, call.answered_at) == (OVER_QUOTA, 1.0, None)
    later = exchange.start(_asked("c"), TALK, now=30)
    assert (exchange.calls[later.index].ending, later.rang_before) == (ANSWERED, False)
    assert (exchange.active(30), exchange.max_active_seen) == (1, 2)


def test_active_calls_are_those_that_ring_or_talk() -> None:
    """Calls leave the count when they end, in whatever order they began."""
    exchange = Exchange()
    exchange.start(_asked("long"), TALK, now=0)
    exchange.start(_asked("short"), Script(BUSY, ring_seconds=2), now=0)
    assert [exchange.active(now) for now in (1, 2, 25)] == [2, 1, 0]


def test_stopping_ends_a_call_and_is_counted_once() -> None:
    """A stopped call says whether somebody was on the line, and leaves the count exactly once."""
    exchange = Exchange()
    ringing = exchange.start(_asked("a"), TALK, now=0).index
    talking = exchange.start(_asked("b"), TALK, now=0).index
    assert [exchange.stop(ringing, 1), exchange.stop(ringing, 2)] == [True, False]
    assert exchange.stop(talking, 10)
    assert (exchange.calls[ringing].outcome, exchange.calls[ringing].answered_at) == ("stopped", None)
    assert (exchange.calls[talking].outcome, exchange.calls[talking].answered_at) == ("stopped", 5)
    assert [exchange.active(10), exchange.active(100)] == [0, 0]


def test_a_contact_is_found_by_its_id_in_its_own_instance_only() -> None:
    """Foreign, unknown and malformed ids find nothing."""
    exchange = Exchange()
    contact_id = exchange.contact_id(exchange.start(_asked("a"), TALK, now=0).index)
    assert exchange.find(COMMON.instance_id, contact_id) == 0
    for instance, wrong in (
        ("another", contact_id),
        (COMMON.instance_id, contact_id[:-1] + "9"),
        (COMMON.instance_id, contact_id[:-1] + "٠"),
        (COMMON.instance_id, "b0b8f2dd-ed1b-4c44-af36-ce189a178181"),
        (COMMON.instance_id, ""),
    ):
        assert exchange.find(instance, wrong) is None


def test_a_clock_set_back_keeps_the_calls_in_order() -> None:
    """Searching by time relies on the order in which calls were placed."""
    exchange = Exchange()
    for now in (100, 50):
        exchange.start(_asked(None), TALK, now)
    assert [call.placed_at for call in exchange.calls] == [100, 100]
