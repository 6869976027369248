"""The tasks: a real Celery worker in this process, a real Valkey, the real ledger and the sandbox."""

import base64
import json
import logging
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from celery.contrib.testing.worker import start_worker
from celery.signals import task_postrun
from redis import Redis
from sqlalchemy import select, text

from campaigns.client_token import Tokens
from campaigns.ledger import LedgerUnavailable
from campaigns.ledger.claims import Claim, Rescued
from campaigns.ledger.clock import wall_clock
from campaigns.ledger.engine import HEAD
from campaigns.ledger.runs import latest_runs
from campaigns.ledger.tables import attempts
from worker.feed import QueueUnavailable
from worker.rescue import rescue
from worker.seldom import Seldom

PHONE = "+14155550100"
LEASE = timedelta(seconds=30)


@contextmanager
def working(program: SimpleNamespace, queue: str) -> Iterator[None]:
    """A worker for one queue, in threads of this process."""
    root = logging.getLogger()
    level = root.level  # which Celery's worker sets for everybody after it
    try:
        with start_worker(
            program.app, pool="threads", concurrency=2, perform_ping_check=False, queues=[queue]
        ):
            yield
    finally:
        root.setLevel(level)


@contextmanager
def counted() -> Iterator[list[str]]:
    """The names of the tasks that are over, as they end."""
    names: list[str] = []

    def note(sender: Any, **_: Any) -> None:
        names.append(sender.name)

    task_postrun.connect(note)
    try:
        yield names
    finally:
        task_postrun.disconnect(note)


def until(true: Callable[[], bool], what: str) -> None:
    """Wait until something has happened in another thread."""
    patience = threading.Event()
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end, f"not within a minute: {what}"
        patience.wait(0.02)


def states(book: Any) -> list[str]:
    with book.ledger.read() as db:
        return list(db.execute(select(attempts.c.state).order_by(attempts.c.id)).scalars())


@pytest.fixture
def loaded(book: Any, program: SimpleNamespace) -> Any:
    """The ledger with five people, whose time is now."""
    # The program goes by the wall clock.
    book.clock.now, before = time.time() - 1, book.clock.now
    book.load(*(f"+14155550{100 + n}" for n in range(5)), attributes={"FirstName": "Zoë"})
    book.clock.now = before
    return book


def test_messages_hold_no_number_and_no_attribute(
    loaded: Any, program: SimpleNamespace, valkey: Redis
) -> None:
    """What lies in Redis is JSON: which attempt, under which claim, with which token, and nothing more."""
    program.tasks.feed_task()
    messages = [json.loads(message) for message in valkey.lrange(program.key("dial-sandbox"), 0, -1)]
    assert len(messages) == 5
    expected = {(row.id, row.fence, row.client_token) for row in loaded.attempts()}
    found = set()
    for message in messages:
        assert (message["content-type"], message["headers"]["task"]) == ("application/json", "dialer.dial")
        body = base64.b64decode(message["body"])
        arguments, named, _ = json.loads(body)
        assert named == {}
        found.add(tuple(arguments))
        everything = json.dumps(message) + body.decode()
        for secret in ("4155550", "Zo", "FirstName"):
            assert secret not in everything
    assert found == expected


@pytest.fixture
def secret(settings_environment: pytest.MonkeyPatch) -> str:
    """DIALER_TOKEN_SECRET. Ask for it before `program`, which reads its settings when it is imported."""
    value = "correct horse battery staple"
    settings_environment.setenv("DIALER_TOKEN_SECRET", value)
    return value


def test_secret_of_the_settings_makes_the_tokens(secret: str, program: SimpleNamespace, loaded: Any) -> None:
    """Feeding under DIALER_TOKEN_SECRET names every attempt with it."""
    program.tasks.feed_task()
    with loaded.ledger.read() as db:
        (name,) = (run.name for run in latest_runs(db))
    keys = [person.key for person in loaded.recipients()]
    expected = [Tokens(secret.encode()).of(name, 1, key, 1) for key in keys]
    assert sorted(row.client_token for row in loaded.attempts()) == sorted(expected)


def test_batch_takes_few_round_trips(program: SimpleNamespace, valkey: Redis) -> None:
    """Three hundred messages reach Redis in a handful of reads, not one by one."""
    with program.app.producer_pool.acquire(block=True) as producer:
        assert producer.supports_batch_publish is True
    program.tasks.send([Claim(0, 1, "warm-up")])
    before = valkey.info("stats")["total_reads_processed"]
    program.tasks.send([Claim(n, 1, "t" * 64) for n in range(300)])
    # Redis reads 16 kB and more at a time; a message has about 1 kB.
    assert valkey.info("stats")["total_reads_processed"] - before < 100
    assert valkey.llen(program.key("dial-sandbox")) == 301
    assert program.tasks.undelivered() == 301


def test_queue_that_cannot_be_reached_is_said(
    program: SimpleNamespace, settings_environment: pytest.MonkeyPatch
) -> None:
    """Whatever kombu raises when Redis is away becomes the one error that feeding knows."""
    program.app.conf.broker_url = "redis+socket:///none/such.sock"
    program.app.conf.broker_transport_options = {"max_retries": 1, "interval_start": 0, "interval_step": 0}
    with pytest.raises(QueueUnavailable, match=r"^Redis does not take the tasks \(\w+\)$"):
        program.tasks.send([Claim(1, 1, "t")])


def test_queue_that_is_full_hands_everybody_back(
    loaded: Any, program: SimpleNamespace, valkey: Redis
) -> None:
    """A Redis without memory refuses the batch; the people are due again, and nobody is lost."""
    program.tasks.send([])
    valkey.config_set("maxmemory", "1")
    try:
        program.tasks.feed_task()
        assert [row.state for row in loaded.recipients()] == ["waiting"] * 5
        assert {row.state for row in loaded.attempts()} == {"returned"}
    finally:
        valkey.config_set("maxmemory", "0")
    program.tasks.feed_task()
    assert {row.state for row in loaded.attempts()} == {"queued"}


def test_worker_dials_what_was_fed(loaded: Any, program: SimpleNamespace, exchange: Any) -> None:
    """From the ledger through Redis to Connect and back: everybody is rung once."""
    with working(program, "dial-sandbox"):
        program.tasks.feed_task()
        until(lambda: states(loaded) == ["placed"] * 5, "all placed")
    assert [exchange.rings(row.client_token) for row in loaded.attempts()] == [1] * 5


def test_message_that_redis_repeats_rings_once(
    loaded: Any, program: SimpleNamespace, exchange: Any, valkey: Redis
) -> None:
    """Every message three times on the wire, as after a lost acknowledgement: one ring each."""
    program.tasks.feed_task()
    for message in valkey.lrange(program.key("dial-sandbox"), 0, -1):
        valkey.lpush(program.key("dial-sandbox"), message, message)
    assert valkey.llen(program.key("dial-sandbox")) == 15
    with counted() as over, working(program, "dial-sandbox"):
        until(lambda: over == ["dialer.dial"] * 15, "all consumed")
    assert states(loaded) == ["placed"] * 5
    assert [len(exchange.requests(row.client_token)) for row in loaded.attempts()] == [1] * 5


def test_what_is_in_a_workers_hands_is_not_put_back_when_its_connection_ends(
    program: SimpleNamespace, valkey: Redis
) -> None:
    """The worker goes on with it; and nothing is written to a file where Redis is away."""
    program.tasks.dial_task.apply_async((1, 1, "t"), queue="dial-sandbox")
    taken: list[Any] = []
    with program.app.connection_for_read() as connection:
        queue = program.app.amqp.queues.new_missing("dial-sandbox")
        with connection.Consumer(queue, on_message=taken.append):
            connection.drain_events(timeout=10)
    assert (len(taken), valkey.llen(program.key("dial-sandbox")), valkey.exists(program.key("unacked"))) == (
        1,
        0,
        0,
    )


def test_redis_that_forgets_everything_loses_nobody(
    loaded: Any, program: SimpleNamespace, exchange: Any, valkey: Redis
) -> None:
    """FLUSHALL between feeding and dialing: after the lease everybody is fed again, and rung once."""
    program.tasks.feed_task()
    valkey.flushall()
    later = wall_clock() + timedelta(seconds=31)
    with working(program, "dial-sandbox"):
        program.tasks.feed_task()
        assert states(loaded) == ["queued"] * 5
        rescued = rescue(loaded.ledger, later, lease=LEASE, search_after=LEASE)
        assert rescued == Rescued(returned=5, unknown=0)
        program.tasks.feed_task()
        until(lambda: states(loaded) == ["placed"] * 5, "all placed")
    assert [exchange.rings(row.client_token) for row in loaded.attempts()] == [1] * 5


def test_control_work_does_not_wait_behind_dialing(
    loaded: Any, program: SimpleNamespace, valkey: Redis
) -> None:
    """A control worker feeds and leaves the dial queue alone; what it fed waits for a dial worker."""
    queue = {"queue": program.machine().settings.control_queue}
    with counted() as over, working(program, "control-sandbox"):
        program.tasks.feed_task.apply_async(**queue)
        until(lambda: states(loaded) == ["queued"] * 5, "all queued")
        until(lambda: valkey.llen(program.key("dial-sandbox")) == 5, "all published")
        program.tasks.rescue_task.apply_async(**queue)
        program.tasks.follow_task.apply_async(**queue)
        until(lambda: {"dialer.rescue", "dialer.follow"} <= {*over}, "all done")
    assert valkey.llen(program.key("dial-sandbox")) == 5
    assert states(loaded) == ["queued"] * 5


def test_pickled_message_is_refused(
    program: SimpleNamespace, valkey: Redis, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing but JSON is accepted from the wire, and the refusal shows nothing of what was in it."""
    program.tasks.dial_task.apply_async((1, 1, "t"), queue="dial-sandbox")
    message = json.loads(valkey.lpop(program.key("dial-sandbox")))
    message["content-type"] = "application/x-python-serialize"
    valkey.lpush(program.key("dial-sandbox"), json.dumps(message))
    # A worker of Celery's tests sets the root logger to errors only.
    with caplog.at_level(logging.WARNING, "worker.messages"), working(program, "dial-sandbox"):
        until(lambda: "(content_type, " in caplog.text, "the refusal")
    assert valkey.llen(program.key("dial-sandbox")) == 0
    assert program.machine().dropped.counts == {"content_type": 1}
    assert message["body"] not in caplog.text


@pytest.mark.parametrize("task", ["feed_task", "follow_task", "rescue_task", "dial_task"])
def test_ledger_that_is_away_is_logged_and_survived(
    program: SimpleNamespace, caplog: pytest.LogCaptureFixture, task: str
) -> None:
    """Without the ledger each round comes to nothing, in one line of the log a minute.

    Fails without: `_say_seldom` (tasks.py).
    """

    class Away:
        def __getattr__(self, _: str) -> Any:
            raise LedgerUnavailable("the ledger's database does not answer: it is away")

    arguments = (1, 1, "t") if task == "dial_task" else ()
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(vars(program.machine()), "ledger", Away())
        patch.setattr(program.tasks, "_seldom", Seldom())
        for _ in range(3):
            getattr(program.tasks, task)(*arguments)
    (said,) = caplog.records
    assert said.getMessage() == "nothing is dialed: the ledger's database does not answer: it is away"


@pytest.mark.parametrize("task", ["feed_task", "follow_task", "settle_task", "rescue_task", "dial_task"])
def test_ledger_of_another_version_is_left_alone(
    program: SimpleNamespace,
    loaded: Any,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    task: str,
) -> None:
    """A process that has become too old dials and changes nothing, and reports what to do.

    Fails without: the question in `_unless_ledger_is_away` (tasks.py), and that in `mark_dialing`.
    """
    arguments: tuple[Any, ...] = ()
    if task == "dial_task":
        program.tasks.feed_task()
        (found, *_) = loaded.attempts()
        arguments = (found.id, found.fence, found.client_token)
    with loaded.ledger.write() as db:
        db.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    before = [tuple(row) for row in (*loaded.recipients(), *loaded.attempts())]
    monkeypatch.setattr(program.tasks, "_seldom", Seldom())
    getattr(program.tasks, task)(*arguments)
    assert [tuple(row) for row in (*loaded.recipients(), *loaded.attempts())] == before
    assert "another version than the ledger" in caplog.text
    assert "another version than the ledger" in program.machine().problems["version"]
    with loaded.ledger.write() as db:
        db.execute(text("UPDATE alembic_version SET version_num = :head"), {"head": HEAD})
    program.tasks.rescue_task()
    assert "version" not in program.machine().problems


def test_calls_that_were_to_be_followed_are_followed_to_their_ends(program: SimpleNamespace) -> None:
    """With DIALER_FOLLOW_SECONDS=0 new calls are not followed; those placed before are, at the usual pace."""
    off = program.machine().settings.model_copy(update={"follow_seconds": 0.0})
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(vars(program.machine()), "settings", off)
        assert program.machine().dialer.timing.follow_after is None
        assert program.machine().following(lambda: None).first == timedelta(seconds=65)


def test_two_rounds_of_following_at_most(program: SimpleNamespace) -> None:
    """However slow Connect is, threads are left for feeding: a third round is not begun."""
    following = program.tasks._following
    with following, following, pytest.MonkeyPatch.context() as patch:
        patch.setattr(program.tasks, "_unless_ledger_is_away", lambda *_: pytest.fail("a third round"))
        program.tasks.follow_task()
    begun: list[object] = []
    with following, pytest.MonkeyPatch.context() as patch:
        patch.setattr(program.tasks, "_unless_ledger_is_away", lambda *verb: begun.append(verb))
        program.tasks.follow_task()
    assert len(begun) == 1
