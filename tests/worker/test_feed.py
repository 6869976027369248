"""Feeding: a few seconds of work are kept queued, and nobody is lost between the ledger and the queue."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest

from campaigns.ledger import LedgerUnavailable, runs
from campaigns.ledger.claims import Claim, Rescued
from campaigns.ledger.in_progress import CallLimit
from campaigns.ledger.unknowns import mark_not_found
from worker.dial import Dialer
from worker.feed import QueueUnavailable, feed, keep_queued
from worker.rescue import rescue

LEASE = timedelta(seconds=30)


class Queue:
    """Takes what is published, or fails after it took a part."""

    def __init__(self) -> None:
        self.claims: list[Claim] = []
        self.takes: int | None = None
        self.undelivered = 0

    def send(self, claims: Sequence[Claim]) -> None:
        self.claims += claims[: self.takes]
        if self.takes is not None:
            raise QueueUnavailable("Redis does not take the tasks (ConnectionError)")


@pytest.fixture
def queue() -> Queue:
    return Queue()


@pytest.fixture
def feeder(book: Any, queue: Queue) -> Callable[..., int]:
    """One round of feeding."""

    def run(
        *,
        calls_per_second: float = 2.0,
        exchange: str = "sandbox",
        undelivered: Callable[[], int] = lambda: queue.undelivered,
        limit: CallLimit | None = None,
        report_problem: Callable[[str | None], None] = lambda _: None,
    ) -> int:
        return feed(
            book.ledger,
            queue.send,
            undelivered,
            calls_per_second=calls_per_second,
            exchange=exchange,
            lease=LEASE,
            limit=limit,
            clock=book.clock.utc,
            report_problem=report_problem,
        )

    return run


def phones(count: int) -> list[str]:
    return [f"+1415{n:07d}" for n in range(count)]


@pytest.mark.parametrize(
    ("calls_per_second", "attempts"), [(0.01, 2), (0.5, 2), (1.0, 3), (2.0, 6), (2.1, 7), (200.0, 600)]
)
def test_three_seconds_of_work_are_kept_queued(calls_per_second: float, attempts: int) -> None:
    """The rate alone says how much is queued; at slow rates there is still one for now and one for next."""
    assert keep_queued(calls_per_second) == attempts


def test_queue_is_bounded_whatever_the_campaigns_size(
    book: Any, feeder: Callable[..., int], queue: Queue
) -> None:
    """Of a hundred people six are released at 2/s, and no more until one of them has left the queue."""
    book.load(*phones(100))
    assert [feeder(), feeder(), feeder()] == [6, 0, 0]
    assert len(queue.claims) == 6
    assert [row.state for row in book.recipients()].count("in_progress") == 6


def test_what_was_dialed_makes_room(
    book: Any, feeder: Callable[..., int], queue: Queue, make_dialer: Callable[..., Dialer]
) -> None:
    """Each attempt that has left the queue is followed by the next."""
    book.load(*phones(10))
    feeder()
    dialer = make_dialer()
    assert [dialer.dial(claim) for claim in queue.claims[:2]] == ["placed", "placed"]
    assert feeder() == 2
    assert len({claim.client_token for claim in queue.claims}) == 8


def test_only_the_due_are_released(book: Any, feeder: Callable[..., int], queue: Queue) -> None:
    """Whoever is due later stays in the ledger until then."""
    book.load(*phones(3))
    for claim in book.claim(keep_queued=1):
        queue.claims.append(claim)
    queue.takes = 0
    assert feeder() == 0
    queue.takes = None
    assert feeder() == 2


def test_other_exchanges_runs_are_left_alone(book: Any, feeder: Callable[..., int]) -> None:
    """What a trial has begun is never released for real calls."""
    book.load(*phones(10))
    assert feeder() == 6
    book.clock.now += 31
    rescue(book.ledger, book.clock.utc(), lease=LEASE, search_after=LEASE)
    assert feeder(exchange="connect") == 0
    assert feeder() == 6


def test_nothing_is_released_while_nobody_dials(book: Any, feeder: Callable[..., int], queue: Queue) -> None:
    """With twice as many tasks waiting as we keep queued, more would only be stale when a worker comes."""
    book.load(*phones(50))
    queue.undelivered = 12
    assert feeder() == 0
    queue.undelivered = 11
    assert feeder() == 6


def test_without_redis_nothing_is_released(book: Any, feeder: Callable[..., int], queue: Queue) -> None:
    """When nobody can say how much is queued, the recipients stay in the ledger."""
    book.load(*phones(3))

    def gone() -> int:
        raise QueueUnavailable("Redis does not answer (ConnectionError)")

    assert feeder(undelivered=gone) == 0
    assert queue.claims == []


def test_failed_publishing_hands_all_claims_back(book: Any, feeder: Callable[..., int], queue: Queue) -> None:
    """Redis refused the batch: everybody is due again at once, with the reason, and nothing is charged."""
    book.load(*phones(3))
    queue.takes = 0
    assert feeder() == 0
    assert [(row.state, row.due_at) for row in book.recipients()] == [("waiting", book.clock.utc())] * 3
    assert {row.reason for row in book.attempts()} == {"Redis does not take the tasks (ConnectionError)"}
    queue.takes = None
    assert feeder() == 3
    assert [(row.number, row.fence) for row in book.attempts()] == [(1, 2)] * 3


def test_task_of_a_failed_batch_is_stale(
    book: Any,
    feeder: Callable[..., int],
    queue: Queue,
    make_dialer: Callable[..., Dialer],
    exchange: Any,
) -> None:
    """A batch that failed may have delivered some tasks; they find their claims gone."""
    book.load(*phones(3))
    queue.takes = 2
    feeder()
    arrived, queue.claims, queue.takes = queue.claims, [], None
    feeder()
    dialer = make_dialer()
    assert [dialer.dial(claim) for claim in arrived] == ["stale", "stale"]
    assert [dialer.dial(claim) for claim in queue.claims] == ["placed"] * 3
    assert [dialer.dial(claim) for claim in arrived] == ["stale", "stale"]
    assert [exchange.rings(claim.client_token) for claim in queue.claims] == [1, 1, 1]


def test_death_between_claiming_and_sending_loses_nobody(
    book: Any,
    feeder: Callable[..., int],
    queue: Queue,
    make_dialer: Callable[..., Dialer],
    exchange: Any,
) -> None:
    """A dead feeder's claims are released again after their lease: a new fence, the same tokens."""
    book.load(*phones(4))
    died_with = book.claim(keep_queued=6)
    assert feeder() == 0
    book.clock.now += 30
    assert rescue(book.ledger, book.clock.utc(), lease=LEASE, search_after=LEASE) == Rescued(0, 0)
    book.clock.now += 0.001
    assert rescue(book.ledger, book.clock.utc(), lease=LEASE, search_after=LEASE) == Rescued(
        returned=4, unknown=0
    )
    assert feeder() == 4
    expected = {(claim.client_token, claim.fence + 1) for claim in died_with}
    assert {(claim.client_token, claim.fence) for claim in queue.claims} == expected
    dialer = make_dialer()
    assert [dialer.dial(claim) for claim in queue.claims + died_with] == ["placed"] * 4 + ["stale"] * 4
    assert [exchange.rings(claim.client_token) for claim in died_with] == [1] * 4


def test_ledger_that_goes_while_handing_back_loses_nobody(
    book: Any, queue: Queue, feeder: Callable[..., int]
) -> None:
    """Neither Redis nor the ledger: the round fails aloud, and the leases bring everybody back."""
    book.load(*phones(3))

    def both_gone(_: Sequence[Claim]) -> None:
        book.ledger.away = True
        raise QueueUnavailable("Redis does not take the tasks (ConnectionError)")

    with pytest.raises(LedgerUnavailable):
        feed(
            book.ledger,
            both_gone,
            lambda: 0,
            calls_per_second=2.0,
            exchange="sandbox",
            lease=LEASE,
            limit=None,
            clock=book.clock.utc,
        )
    book.ledger.away = False
    book.clock.now += 31
    assert rescue(book.ledger, book.clock.utc(), lease=LEASE, search_after=LEASE) == Rescued(
        returned=3, unknown=0
    )
    assert feeder() == 3


def test_run_that_is_over_is_closed(
    book: Any, feeder: Callable[..., int], queue: Queue, make_dialer: Callable[..., Dialer]
) -> None:
    """A run is finished when nobody is waiting or in progress, and not before."""
    name = book.load("+14155550190")
    feeder()
    assert feeder() == 0
    assert book.run(name).state == "running"
    assert make_dialer().dial(queue.claims[0]) == "refused"
    assert feeder() == 0
    assert book.run(name).state == "finished"


def test_unknown_keeps_a_run_open_until_it_is_held(
    book: Any, feeder: Callable[..., int], queue: Queue, make_dialer: Callable[..., Dialer]
) -> None:
    """While an attempt is searched for its run goes on; once only a person can tell, the run is over."""
    name = book.load("+14155550195")
    feeder()
    assert make_dialer(replay_window_seconds=0.0).dial(queue.claims[0]) == "unknown"
    feeder()
    assert book.run(name).state == "running"
    (claim,) = queue.claims
    this = (book.ledger, claim.attempt_id, claim.fence)
    assert mark_not_found(*this, redial=False, now=book.clock.utc(), evidence="never found")
    feeder()
    assert book.run(name).state == "finished"
    assert [row.state for row in book.recipients()] == ["held"]


def test_feed_stops_at_the_limit_of_calls_in_progress_and_says_so(
    book: Any, feeder: Callable[..., int], queue: Queue, make_dialer: Callable[..., Dialer]
) -> None:
    """Who waits for a place is told of, but not when nobody waits any more."""
    said: list[str | None] = []
    narrow = CallLimit(2, timedelta(minutes=5))
    name = book.load(*phones(3))
    assert feeder(limit=narrow, report_problem=said.append) == 2
    assert feeder(limit=narrow, report_problem=said.append) == 0
    instance = "10a4c4eb-f57e-4d4c-b602-bf39176ced07"
    words = (
        f"calls in progress: 2, as many as DIALER_MAX_ACTIVE_CALLS allows on instance {instance}; "
        "others wait until one of them ends"
    )
    assert said == [words, words]
    with book.ledger.write() as db:
        runs.pause(db, runs.find(db, name).id, "by hand")
    assert feeder(limit=narrow, report_problem=said.append) == 0
    assert said[2] is None


def test_what_keeps_feeding_from_its_work_is_told_by_code(
    book: Any, feeder: Callable[..., int], queue: Queue
) -> None:
    """Tasks that no worker takes, and a Redis that does not answer or takes none; and that it is over."""
    book.load(*phones(50))
    said: list[Any] = []

    def gone() -> int:
        raise QueueUnavailable("Redis does not answer (ConnectionError)")

    queue.undelivered = 12
    feeder(report_problem=said.append)
    queue.undelivered = 0
    feeder(undelivered=gone, report_problem=said.append)
    queue.takes = 0
    feeder(report_problem=said.append)
    queue.takes = None
    feeder(report_problem=said.append)
    codes = [problem and problem.code for problem in said]
    # The third round finds Redis well, and then that it takes no tasks.
    assert codes == ["tasks_untaken", "redis_away", None, "redis_away", None]
