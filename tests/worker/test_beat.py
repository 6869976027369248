"""The scheduler rings the control queue's doorbell, and not again while nobody comes to the door."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from redis import Redis

from worker.beat import DoorbellScheduler
from worker.work import TICK, Work

QUEUE = "control-sandbox"


@pytest.fixture
def scheduler(program: SimpleNamespace) -> Iterator[DoorbellScheduler]:
    made = DoorbellScheduler(program.app)
    yield made
    made.connection.release()


def ring(scheduler: DoorbellScheduler) -> None:
    """One round in which every entry is due."""
    for entry in list(scheduler.schedule.values()):
        scheduler.apply_entry(entry, producer=scheduler.producer)


def test_every_verb_is_rung_for_on_the_control_queue(
    scheduler: DoorbellScheduler, program: SimpleNamespace
) -> None:
    """All go to the control queue, to be done however late: two clocks may differ."""
    entries = {name: entry for name, entry in scheduler.schedule.items() if not name.startswith("celery.")}
    assert {name: (entry.task, entry.options) for name, entry in entries.items()} == {
        name: (f"dialer.{name}", {"queue": QUEUE})
        for name in ("feed", "follow", "settle", "hang_up", "fire", "rescue")
    }
    # It may send nothing besides: a Celery entry of its own would have no queue of ours.
    assert set(entries) == set(scheduler.schedule)


def test_doorbell_is_not_rung_without_end(
    scheduler: DoorbellScheduler, valkey: Redis, program: SimpleNamespace
) -> None:
    """While no worker runs, twenty messages wait at most, however long that lasts."""
    for _ in range(30):
        ring(scheduler)
    assert valkey.llen(program.key(QUEUE)) == 20
    assert valkey.llen(program.key("dial-sandbox")) == 0


def test_doorbell_is_rung_again_when_somebody_came(
    scheduler: DoorbellScheduler, valkey: Redis, program: SimpleNamespace
) -> None:
    """As soon as the queue was emptied the schedule goes on."""
    for _ in range(30):
        ring(scheduler)
    valkey.delete(program.key(QUEUE))
    ring(scheduler)
    assert valkey.llen(program.key(QUEUE)) == len(scheduler.schedule)


def test_schedule_goes_on_while_the_queue_is_full(
    scheduler: DoorbellScheduler, valkey: Redis, program: SimpleNamespace
) -> None:
    """An entry that was not sent counts as done until its next time, or beat would spin."""
    valkey.rpush(program.key(QUEUE), *["x"] * 20)
    entry = scheduler.schedule["feed"]
    scheduler.apply_async(entry, producer=scheduler.producer)
    after = scheduler.schedule["feed"]
    assert after.total_run_count == entry.total_run_count + 1
    assert valkey.llen(program.key(QUEUE)) == 20


def test_redis_that_is_away_does_not_end_the_schedule(
    scheduler: DoorbellScheduler, program: SimpleNamespace, caplog: pytest.LogCaptureFixture
) -> None:
    """A message that cannot be sent is one line of the log a minute, and the next tick tries again."""
    producer: Any = scheduler.producer
    program.app.conf.broker_url = "redis+socket:///none/such.sock"
    program.app.conf.broker_transport_options = {"max_retries": 1, "interval_start": 0, "interval_step": 0}
    for _ in range(3):
        scheduler.apply_entry(scheduler.schedule["feed"], producer=producer)
    said = [record for record in caplog.records if "nothing is scheduled" in record.getMessage()]
    assert [record.exc_info for record in said] == [None]


def test_what_the_scheduler_does_is_remembered(
    scheduler: DoorbellScheduler, valkey: Redis, program: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task sent is its work, as is a queue that has enough; Redis that takes none fails it."""
    clock = [1000.0]
    monkeypatch.setattr(DoorbellScheduler, "work", Work(lambda: clock[0]))
    clock[0] = 1001.0
    for _ in range(30):
        ring(scheduler)
    assert scheduler.work.last([TICK]) == 1001.0
    clock[0] = 1002.0
    scheduler.tick()
    assert scheduler.work.looked_at(TICK) == 1002.0
    valkey.delete(program.key(QUEUE))
    clock[0] = 1003.0
    valkey.config_set("maxmemory", "1")
    try:
        ring(scheduler)
    finally:
        valkey.config_set("maxmemory", "0")
    assert [failed.verb for failed in scheduler.work.failing([TICK])] == [TICK]
    assert scheduler.work.last([TICK]) == 1001.0 or scheduler.work.last([TICK]) == 1002.0
