"""Thin Celery wrappers around the verbs. A task carries no telephone number; Celery never retries one."""

import logging
import threading
from collections.abc import Callable, Sequence
from typing import Any

from kombu.exceptions import KombuError
from kombu.exceptions import OperationalError as BrokerUnavailable

from campaigns.ledger import LedgerUnavailable
from campaigns.ledger.claims import Claim
from campaigns.ledger.engine import OtherVersion
from campaigns.ledger.expiry import expire
from campaigns.ledger.runs import finish
from campaigns.ledger.tallies import fold
from worker import feed as feeding
from worker.app import app
from worker.feed import QueueUnavailable
from worker.machine import machine
from worker.redis_start import drop_unless_list
from worker.redis_trouble import UNREACHABLE
from worker.rescue import rescue
from worker.seldom import Seldom

log = logging.getLogger(__name__)

_BATCH = 1_000  # messages a round trip to Redis
_searching = threading.Lock()
_following = threading.BoundedSemaphore(2)
_hanging_up = threading.Lock()
_firing = threading.Lock()
_seldom = Seldom()


@app.task(name="dialer.dial", shared=False)  # type: ignore[untyped-decorator] # Celery has no types
def dial_task(attempt_id: int, fence: int, client_token: str) -> None:
    """Dial one claimed attempt."""
    # The move to `dialing` asks for the ledger's version with the rest.
    _unless_ledger_is_away(
        "dial", lambda: machine().dialer.dial(Claim(attempt_id, fence, client_token)), ask=False
    )


@app.task(name="dialer.feed", shared=False)  # type: ignore[untyped-decorator] # Celery has no types
def feed_task() -> None:
    """Top up the queue."""
    settings = machine().settings
    _unless_ledger_is_away(
        "feed",
        lambda: feeding.feed(
            machine().ledger,
            send,
            undelivered,
            calls_per_second=settings.calls_per_second,
            exchange=settings.exchange,
            lease=settings.lease,
            limit=settings.call_limit,
            clock=machine().now,
            tokens=machine().tokens,
            endpoint=machine().endpoint,
            report_problem=lambda problem: machine().note("feed", problem),
            positions=machine().positions,
        ),
    )


@app.task(name="dialer.follow", shared=False)  # type: ignore[untyped-decorator] # Celery has no types
def follow_task() -> None:
    """Ask for the outcomes that are due."""
    # Two, because a round that is a little longer than the time between two would leave every other one out;
    # no more, or a slow Connect would take all threads, and nobody feed.
    if not _following.acquire(blocking=False):
        return
    try:
        # A second's worth: the next round comes in a second.
        looks = max(1, int(machine().settings.describe_per_second))
        _unless_ledger_is_away("follow", lambda: machine().following(feed_task).follow(looks))
    finally:
        _following.release()


@app.task(name="dialer.settle", shared=False)  # type: ignore[untyped-decorator] # Celery has no types
def settle_task() -> None:
    """Search for what is unknown."""
    # A search may wait minutes for its quota. One at a time, or all threads would wait, and nobody feed.
    if not _searching.acquire(blocking=False):
        return
    try:
        _unless_ledger_is_away("settle", machine().settling.settle)
    finally:
        _searching.release()


@app.task(name="dialer.hang_up", shared=False)  # type: ignore[untyped-decorator] # Celery has no types
def hang_up_task() -> None:
    """Hang up the calls of cancelled campaigns, where that was asked for."""
    # A round may wait for answers that do not come. One at a time, as with the searches.
    if not _hanging_up.acquire(blocking=False):
        return
    try:
        # A second's worth: the next round comes in a second.
        calls = max(1, int(machine().settings.describe_per_second))
        _unless_ledger_is_away("hang_up", lambda: machine().hanging_up.hang_up(calls))
    finally:
        _hanging_up.release()


@app.task(name="dialer.fire", shared=False)  # type: ignore[untyped-decorator] # Celery has no types
def fire_task() -> None:
    """Begin the runs of schedules whose time has come."""
    if not _firing.acquire(blocking=False):
        return
    # In a thread of its own, and the lists in others (hands.py): those who feed and follow need the worker's.
    threading.Thread(target=_fire, name="fire", daemon=True).start()


def _fire() -> None:
    try:
        _unless_ledger_is_away("fire", machine().firing.fire)
    finally:
        _firing.release()


@app.task(name="dialer.rescue", shared=False)  # type: ignore[untyped-decorator] # Celery has no types
def rescue_task() -> None:
    """Take back what a crash left, give up what is late, and close the runs that are over.

    Also while others are being fed.
    """

    def tidy() -> None:
        here = machine()
        rescue(here.ledger, here.now(), lease=here.settings.lease, search_after=here.search_after)
        expire(here.ledger, here.now())
        finish(here.ledger, here.now())
        fold(here.ledger)

    _unless_ledger_is_away("rescue", tidy)


def send(claims: Sequence[Claim]) -> None:
    """Publish one task per claim, in few round trips. Raises QueueUnavailable if any may be missing."""
    try:
        with app.producer_pool.acquire(block=True) as producer:
            # Otherwise kombu would quietly send them one by one, at a quarter of the speed.
            assert producer.supports_batch_publish
            with producer.batch(_BATCH):
                for claim in claims:
                    dial_task.apply_async(
                        (claim.attempt_id, claim.fence, claim.client_token),
                        producer=producer,
                        queue=machine().settings.dial_queue,
                    )
    except (BrokerUnavailable, KombuError, *UNREACHABLE) as error:
        raise QueueUnavailable(f"Redis does not take the tasks ({type(error).__name__})") from error


def undelivered() -> int:
    """How many dial tasks no worker has taken yet. Raises QueueUnavailable."""
    queue = machine().prefix + machine().settings.dial_queue
    try:
        if drop_unless_list(machine().redis, queue):
            machine().dropped.count("key", 0)
        return int(machine().redis.llen(queue))
    except UNREACHABLE as error:
        raise QueueUnavailable(f"Redis does not answer ({type(error).__name__})") from error


def _unless_ledger_is_away(name: str, verb: Callable[[], Any], *, ask: bool = True) -> None:
    """Run a verb, and remember when it was done or failed. Without the ledger, the next round tries again.

    ask: look first whether the ledger is still of this program's version. One of another is left alone.
    """
    try:
        with machine().work.round(name):
            if ask:
                machine().ledger.require_own_version()
                machine().note("version", None)
            verb()
    except OtherVersion as error:
        _say_seldom(error)
        machine().note("version", str(error))
    except LedgerUnavailable as error:
        _say_seldom(error)


def _say_seldom(error: LedgerUnavailable) -> None:
    """One line a minute for each error: six verbs come each second or two, and it may last for hours."""
    if _seldom.due(str(error)):
        log.error("nothing is dialed: %s", error)
