"""Suppressing a number while its task is queued: the real feed, queue, worker, command, and the sandbox."""

import logging
import threading
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from celery.contrib.testing.worker import start_worker
from redis import Redis

from worker.cli import main

ANA, BO = "+14155550100", "+14155550101"


def until(true: Callable[[], bool]) -> None:
    """Wait until something has happened in another thread."""
    patience = threading.Event()
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end
        patience.wait(0.02)


def test_a_number_that_is_suppressed_while_its_task_is_queued_is_not_rung(
    program: SimpleNamespace,
    valkey: Redis,
    book: Any,
    exchange: Any,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Both tasks are delivered: one finds its claim gone and asks nothing of Connect, the other one rings."""
    # The program goes by the wall clock.
    book.clock.now, before = time.time() - 1, book.clock.now
    book.load(ANA, BO)
    book.clock.now = before
    program.tasks.feed_task()
    assert valkey.llen(program.key("dial-sandbox")) == 2
    ana, bo = book.attempts()
    with pytest.raises(SystemExit) as left:
        main(("suppress", "add", ANA, "--reason", "asked us"))
    assert (left.value.code, capsys.readouterr().out.splitlines()) == (
        0,
        [f"{ANA} is suppressed for every campaign", "1 recipient is not called any more"],
    )
    level = logging.getLogger().level  # which Celery's worker sets for everybody after it
    try:
        with start_worker(
            program.app, pool="threads", concurrency=1, perform_ping_check=False, queues=["dial-sandbox"]
        ):
            # One after the other, in the order of the list.
            until(lambda: book.attempts()[1].state == "placed")
    finally:
        logging.getLogger().setLevel(level)
    assert exchange.requests(ana.client_token) == []
    assert exchange.rings(bo.client_token) == 1
    assert [attempt.state for attempt in book.attempts()] == ["returned", "placed"]
    assert [person.state for person in book.recipients()] == ["suppressed", "in_progress"]
    program.tasks.feed_task()
    assert valkey.llen(program.key("dial-sandbox")) == 0
