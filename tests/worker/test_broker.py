"""Workers with a real Valkey that holds what it should not, or refuses what it is asked; both pass."""

import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from redis import Redis

from tests.worker.test_messages import WRONG
from tests.worker.test_tasks import states, until, working
from worker.redis_trouble import trouble_of

pytestmark = pytest.mark.filterwarnings("ignore::celery.exceptions.CPendingDeprecationWarning")


@pytest.fixture
def loaded(book: Any, program: SimpleNamespace) -> Any:
    """The ledger with three people, whose time is now."""
    book.clock.now, before = time.time() - 1, book.clock.now
    book.load(*(f"+14155551{100 + n}" for n in range(3)))
    book.clock.now = before
    return book


@pytest.fixture
def mended(valkey: Redis) -> Iterator[Redis]:
    """Valkey, which is as it was when the test is over."""
    yield valkey
    valkey.execute_command("REPLICAOF", "NO", "ONE")
    valkey.config_set("maxmemory", "0")


def test_messages_of_others_are_dropped_and_the_dialing_goes_on(
    loaded: Any, program: SimpleNamespace, exchange: Any, valkey: Redis
) -> None:
    """All kinds of damage at once in a queue: counted by kind, shown, and each recipient is rung once."""
    queue = program.key("dial-sandbox")
    for _, wrong in WRONG:
        valkey.rpush(queue, wrong)
    with working(program, "dial-sandbox"):
        program.tasks.feed_task()
        until(lambda: states(loaded) == ["placed"] * 3, "all placed")
        until(lambda: sum(program.machine().dropped.counts.values()) == len(WRONG), "all dropped")
    assert set(program.machine().dropped.counts) == {code for code, _ in WRONG}
    assert f"{len(WRONG)} messages in Redis" in program.machine().problems["messages"]
    assert [exchange.rings(row.client_token) for row in loaded.attempts()] == [1] * 3


def test_keys_of_another_type_are_made_anew(
    loaded: Any, program: SimpleNamespace, exchange: Any, valkey: Redis
) -> None:
    """A text where the queue, the pace, the positions or kombu's bindings should be stops no worker."""
    pace = "dialer:pace:{default-sandbox:us-east-1:StartOutboundVoiceContact}"
    for key in ("dial-sandbox", "control-sandbox", "positions", "_kombu.binding.dial-sandbox"):
        valkey.set(program.key(key), "x")
    valkey.set(pace, "x")
    with working(program, "dial-sandbox"):
        until(lambda: program.machine().dropped.counts.get("key", 0) > 0, "the queue's key dropped")
        program.tasks.feed_task()
        until(lambda: states(loaded) == ["placed"] * 3, "all placed")
    assert valkey.type(pace) == b"hash"
    assert [exchange.rings(row.client_token) for row in loaded.attempts()] == [1] * 3


@pytest.mark.parametrize("found", [{"born": "x"}, {"born": "1", "next": "nan", "seen": "1", "share": "1"}])
def test_pace_that_holds_no_numbers_is_made_anew(
    program: SimpleNamespace, valkey: Redis, found: dict[str, str]
) -> None:
    """The script fails on it, or would compare with nonsense for ever."""
    pace = "dialer:pace:{default-sandbox:us-east-1:StartOutboundVoiceContact}"
    valkey.hset(pace, mapping=found)
    assert program.machine().start_pacer.current().share == 1.0
    assert program.machine().start_pacer.wait(5.0) is not None


def replica(valkey: Redis) -> None:
    valkey.execute_command("REPLICAOF", "127.0.0.1", "1")


def primary(valkey: Redis) -> None:
    valkey.execute_command("REPLICAOF", "NO", "ONE")


@pytest.mark.parametrize("queue", ["dial-sandbox", "control-sandbox"])
def test_worker_whose_redis_becomes_a_replica_comes_back(
    loaded: Any, program: SimpleNamespace, exchange: Any, mended: Redis, queue: str
) -> None:
    """It says what it waits for, does not end, and works within seconds of the fault's end."""
    problems = program.machine().problems
    with working(program, queue):
        replica(mended)
        until(lambda: "READONLY" in problems.get("redis", ""), "the problem")
        primary(mended)
        until(lambda: "redis" not in problems, "the end of it")
        if queue == "dial-sandbox":
            program.tasks.feed_task()
            until(lambda: states(loaded) == ["placed"] * 3, "all placed")
        else:
            program.tasks.feed_task.apply_async(queue=queue)
            until(lambda: states(loaded) == ["queued"] * 3, "all queued")
    assert max(exchange.rings(row.client_token) for row in loaded.attempts()) <= 1


def test_worker_whose_blocking_read_is_broken_off_goes_on(
    loaded: Any, program: SimpleNamespace, valkey: Redis
) -> None:
    """CLIENT UNBLOCK … ERROR is an answer without a message."""

    def blocked() -> list[Any]:
        return [c["id"] for c in valkey.client_list() if c["cmd"] == "brpop" and "b" in c["flags"]]

    with working(program, "dial-sandbox"):
        for _ in range(3):
            until(lambda: bool(blocked()), "a worker waits")
            for each in blocked():
                valkey.execute_command("CLIENT", "UNBLOCK", each, "ERROR")
        assert "redis" not in program.machine().problems
        program.tasks.feed_task()
        until(lambda: states(loaded) == ["placed"] * 3, "all placed")


def test_no_channel_of_redis_is_used(program: SimpleNamespace, valkey: Redis) -> None:
    """No worker listens there: no message there can stop one, and no right to channels is needed."""
    with working(program, "dial-sandbox"):
        assert valkey.pubsub_channels() == []
        assert valkey.pubsub_numpat() == 0


def test_reason_of_a_lost_connection_is_found_behind_what_wraps_it() -> None:
    """Celery and kombu raise errors of their own; the server's code stands in what they come from."""
    from redis.exceptions import ReadOnlyError

    wrapped = RuntimeError("Couldn't apply scheduled task")
    wrapped.__cause__ = ReadOnlyError("You can't write", status_code="READONLY")
    trouble = trouble_of(wrapped)
    assert (trouble.code, trouble.words, trouble.may_pass) == ("READONLY", "READONLY You can't write", True)
