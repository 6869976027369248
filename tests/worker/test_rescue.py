"""What a crash left behind: back to due if it never rang, unknown if it may have."""

import logging
from datetime import timedelta
from typing import Any

import pytest

from campaigns.ledger import runs
from campaigns.ledger.claims import Claim, Rescued
from campaigns.ledger.moves import Order, mark_dialing
from worker.rescue import rescue

LEASE = timedelta(seconds=30)


def dialing(book: Any, claim: Claim) -> None:
    order = mark_dialing(
        book.ledger, claim.attempt_id, claim.fence, exchange="sandbox", now=book.clock.utc(), lease=LEASE
    )
    assert isinstance(order, Order)


def test_nothing_is_taken_before_its_lease_has_passed(book: Any) -> None:
    """Work that is merely slow is left alone, queued or dialing, to the last moment of its lease."""
    book.load("+14155550100", "+14155550101")
    first, _ = book.claim()
    dialing(book, first)
    book.clock.now += 30
    assert rescue(book.ledger, book.clock.utc(), lease=LEASE, search_after=LEASE) == Rescued(
        returned=0, unknown=0
    )
    assert [row.state for row in book.attempts()] == ["dialing", "queued"]


def test_queued_is_due_again_and_dialing_is_unknown(book: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Only what never rang for certain is due again; the rest is searched for, and the log says so."""
    book.load("+14155550100", "+14155550101", "+14155550102")
    first, _, _ = book.claim()
    dialing(book, first)
    book.clock.now += 31
    assert rescue(book.ledger, book.clock.utc(), lease=LEASE, search_after=LEASE) == Rescued(
        returned=2, unknown=1
    )
    assert [row.state for row in book.attempts()] == ["unknown", "returned", "returned"]
    assert [row.state for row in book.recipients()] == ["in_progress", "waiting", "waiting"]
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [
        (logging.WARNING, "2 queued attempts did not reach a worker in time; they are due again"),
        (logging.ERROR, "1 attempts were cut off while dialing; they may have rung"),
    ]


def test_lease_of_dialing_counts_from_dialing(book: Any) -> None:
    """An attempt that waited long for its slot has the whole lease for its call."""
    book.load("+14155550100")
    (claim,) = book.claim()
    book.clock.now += 29
    dialing(book, claim)
    book.clock.now += 29
    assert rescue(book.ledger, book.clock.utc(), lease=LEASE, search_after=LEASE) == Rescued(0, 0)
    book.clock.now += 2
    assert rescue(book.ledger, book.clock.utc(), lease=LEASE, search_after=LEASE) == Rescued(
        returned=0, unknown=1
    )


def test_unknown_stays_unknown(book: Any) -> None:
    """However often rescue looks, and however late: it never makes an unknown due."""
    book.load("+14155550100")
    (claim,) = book.claim()
    dialing(book, claim)
    book.clock.now += 31
    rescue(book.ledger, book.clock.utc(), lease=LEASE, search_after=LEASE)
    book.clock.now += 86_400
    assert rescue(book.ledger, book.clock.utc(), lease=LEASE, search_after=LEASE) == Rescued(0, 0)
    assert book.standing() == ("unknown", "in_progress")
    assert book.claim() == []


def test_two_rescues_find_everything_once(book: Any) -> None:
    """A second scheduler's rescue has nothing left to do."""
    book.load("+14155550100", "+14155550101")
    book.claim()
    book.clock.now += 31
    found = [rescue(book.ledger, book.clock.utc(), lease=LEASE, search_after=LEASE) for _ in range(2)]
    assert found == [Rescued(returned=2, unknown=0), Rescued(0, 0)]


def test_cancelled_campaigns_people_are_not_due_again(book: Any) -> None:
    """What a crash left of a cancelled campaign does not come back to life."""
    name = book.load("+14155550100", "+14155550101")
    first, _ = book.claim()
    dialing(book, first)
    with book.ledger.write() as db:
        assert runs.cancel(db, runs.find(db, name), book.clock.utc()) == 1
    book.clock.now += 31
    assert rescue(book.ledger, book.clock.utc(), lease=LEASE, search_after=LEASE) == Rescued(
        returned=0, unknown=1
    )
    assert [row.state for row in book.recipients()] == ["in_progress", "cancelled"]
    assert book.claim() == []
