"""Every process reports that it lives, and what keeps it from its work."""

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from redis.exceptions import OutOfMemoryError

from campaigns.ledger.clock import wall_clock
from campaigns.ledger.health import alive
from campaigns.problem import Problem, ProblemCode
from worker import health
from worker.consumer import NAMED_AFTER, ConsumerWatch
from worker.health import report
from worker.pacer import PacerState, PacerUnavailable
from worker.work import Work


class Pace:
    """A pacer that is in the state that a test wants."""

    def __init__(self) -> None:
        self.share = 1.0
        self.gone = False

    def current(self) -> PacerState:
        if self.gone:
            raise PacerUnavailable
        return PacerState(calls_per_second=2.0, next_slot_seconds=0.0, share=self.share)


class Store:
    """A Redis that takes a key, or has something against it."""

    def __init__(self) -> None:
        self.against: Exception | None = None

    def set(self, name: str, value: object, ex: int) -> None:
        if self.against is not None:
            raise self.against


@pytest.fixture
def machine(dial_ledger: Any, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """What reporting asks of a process."""
    monkeypatch.setattr(health, "BEAT", timedelta(seconds=0.02))
    return a_machine(dial_ledger, start_pacer=Pace())


def a_machine(ledger: Any, **parts: Any) -> SimpleNamespace:
    """What reporting asks of a process that works."""
    problems: dict[str, Problem] = {}
    made = {
        "ledger": ledger,
        "settings": SimpleNamespace(exchange="sandbox"),
        "stopping": threading.Event(),
        "problems": problems,
        "current_problems": lambda: list(problems.values()),
        "start_pacer": Pace(),
        "endpoint": "http://127.0.0.1:8480",
        "redis": Store(),
        "prefix": "dialer:0:",
        "clock_skew": timedelta(0),
        "work": Work(),
    }
    return SimpleNamespace(**made | parts)


@pytest.fixture
def now(program: SimpleNamespace) -> Callable[[], Any]:
    """The program's wall clock."""
    clock: Callable[[], Any] = wall_clock
    return clock


def until(true: Callable[[], bool], what: str) -> None:
    """Wait until something has happened in another thread."""
    patience = threading.Event()
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end, f"not within a minute: {what}"
        patience.wait(0.01)


def stop(machine: SimpleNamespace, thread: threading.Thread) -> None:
    machine.stopping.set()
    thread.join(10)
    assert not thread.is_alive()


def test_process_reports_until_it_stops(machine: SimpleNamespace, now: Callable[[], Any]) -> None:
    """A process is on the list while it lives, and takes itself off when it is told to stop."""
    thread = report(machine, "dial")
    try:
        until(lambda: len(alive(machine.ledger, now())) == 1, "it is alive")
        (found,) = alive(machine.ledger, now())
        assert (found.role, found.exchange, found.problem) == ("dial", "sandbox", None)
        assert found.process.startswith("dial@")
        until(lambda: alive(machine.ledger, now())[0].seen_at > found.seen_at, "it reported again")
    finally:
        stop(machine, thread)
    assert alive(machine.ledger, now()) == []


def test_missing_redis_is_the_reported_problem(machine: SimpleNamespace, now: Callable[[], Any]) -> None:
    """Status can say why nobody dials; when Redis is back, so is the good news."""
    machine.start_pacer.gone = True
    thread = report(machine, "dial")
    try:
        until(lambda: len(alive(machine.ledger, now())) == 1, "it is alive")
        assert alive(machine.ledger, now())[0].problem.startswith("Redis does not answer")
        machine.start_pacer.gone = False
        until(lambda: alive(machine.ledger, now())[0].problem is None, "the problem is over")
    finally:
        stop(machine, thread)


def test_throttling_is_the_reported_problem(machine: SimpleNamespace, now: Callable[[], Any]) -> None:
    """A rate that Connect has made us lower is told with how much of it is left."""
    machine.start_pacer.share = 0.7
    thread = report(machine, "dial")
    try:
        until(lambda: len(alive(machine.ledger, now())) == 1, "it is alive")
        said = alive(machine.ledger, now())[0].problem
        assert said == "throttled by Connect: slowed down to 70% of the rate for now"
    finally:
        stop(machine, thread)


def test_ledger_that_is_away_does_not_end_reporting(
    machine: SimpleNamespace, now: Callable[[], Any], caplog: pytest.LogCaptureFixture
) -> None:
    """The report is late, not over: it goes on when the ledger is back. A line of the log a minute tells."""
    machine.ledger.away = True
    thread = report(machine, "control")
    try:
        until(lambda: len(caplog.records) >= 1, "it has tried")
        time.sleep(0.2)
        assert len(caplog.records) == 1
        machine.ledger.away = False
        until(lambda: len(alive(machine.ledger, now())) == 1, "it is alive")
    finally:
        stop(machine, thread)


def test_ledger_that_is_away_does_not_keep_a_process_from_stopping(machine: SimpleNamespace) -> None:
    """Whoever cannot say goodbye goes without; the list forgets them after a while."""
    machine.ledger.away = True
    stop(machine, report(machine, "control"))


def test_ledger_that_cannot_be_opened_yet_does_not_end_reporting(
    program: SimpleNamespace, dial_ledger: Any, now: Callable[[], Any], caplog: pytest.LogCaptureFixture
) -> None:
    """A database server that starts after the workers is found by them."""
    from campaigns.ledger import LedgerUnavailable

    class LateLedger(SimpleNamespace):
        asked = 0

        @property
        def ledger(self) -> Any:
            self.asked += 1
            if self.asked < 3:
                raise LedgerUnavailable("the ledger's database does not answer: connection refused")
            return dial_ledger

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(health, "BEAT", timedelta(seconds=0.02))
        parts = vars(a_machine(dial_ledger))
        del parts["ledger"]
        machine = LateLedger(**parts)
        thread = report(machine, "dial")  # type: ignore[arg-type]
        try:
            until(lambda: len(alive(dial_ledger, now())) == 1, "it is alive")
        finally:
            machine.stopping.set()
            thread.join(10)
    assert machine.asked >= 3
    assert len(caplog.records) == 1


def reported(machine: SimpleNamespace, now: Callable[[], Any], role: str = "dial", **more: Any) -> Any:
    """What a process of this role reports first."""
    thread = report(machine, role, **more)  # type: ignore[arg-type]
    try:
        until(lambda: len(alive(machine.ledger, now())) == 1, "it is alive")
        return alive(machine.ledger, now())[0]
    finally:
        stop(machine, thread)


def test_redis_that_takes_no_writes_is_the_reported_problem(
    machine: SimpleNamespace, now: Callable[[], Any]
) -> None:
    """It answers every read, and no task can be queued: full, as with `noeviction`."""
    machine.redis.against = OutOfMemoryError("command not allowed when used memory > 'maxmemory'.")
    assert reported(machine, now).problem_code == ProblemCode.REDIS_FULL


def test_a_clock_that_differs_is_the_reported_problem(
    machine: SimpleNamespace, now: Callable[[], Any]
) -> None:
    """Also of a process that dials nothing at the moment."""
    machine.clock_skew = timedelta(minutes=10)
    found = reported(machine, now, "beat")
    assert (found.problem_code, found.clock_skew) == (ProblemCode.CLOCK_SKEW, timedelta(minutes=10))
    assert found.problem.startswith("this machine's clock is 600 s behind that of the ledger's database")


def test_tasks_that_fail_each_time_are_the_reported_problem(
    machine: SimpleNamespace, now: Callable[[], Any]
) -> None:
    """With their count, and of the role whose tasks they are."""
    for _ in range(3):
        machine.work.failed("feed", "OperationalError")
    found = reported(machine, now, "control")
    assert (found.problem, found.problem_code) == (
        "feed has failed 3 times in a row: OperationalError",
        ProblemCode.WORK_FAILING,
    )
    assert (found.failure.code, found.failure.count) == ("feed:OperationalError", 3)


def test_a_round_that_hangs_is_the_reported_problem(machine: SimpleNamespace, now: Callable[[], Any]) -> None:
    """Its thread waits for something that never comes, and no other round gets through."""
    clock = [0.0]
    machine.work = Work(lambda: clock[0])
    with machine.work.round("feed"):
        clock[0] = 61.0
        found = reported(machine, now, "control")
    assert found.problem_code == ProblemCode.WORK_STALLED
    assert (found.seen_at - found.worked_at).total_seconds() == 61.0


@pytest.mark.parametrize(
    ("role", "verb", "queue", "counts"),
    [
        ("dial", "dial", None, True),
        ("dial", None, "dial-sandbox", True),
        ("control", "feed", None, True),
        ("control", "follow", None, False),
        ("beat", "tick", None, True),
    ],
)
def test_a_report_carries_when_the_process_last_worked(
    machine: SimpleNamespace,
    now: Callable[[], Any],
    role: str,
    verb: str | None,
    queue: str | None,
    counts: bool,
) -> None:
    """A task taken, or a look that found none; a round of feeding; a tick. Nothing else is its work."""
    clock = [0.0]
    machine.work = Work(lambda: clock[0])
    clock[0] = 50.0
    if verb is not None:
        machine.work.done(verb)
    if queue is not None:
        machine.work.looked([queue])
    clock[0] = 55.0
    found = reported(machine, now, role, queues=["dial-sandbox"])
    assert (found.seen_at - found.worked_at).total_seconds() == (5.0 if counts else 55.0)


def test_a_consumer_that_is_stuck_ends_the_process(
    machine: SimpleNamespace, now: Callable[[], Any], caplog: pytest.LogCaptureFixture
) -> None:
    """It says so first, then why it goes; it is off the list of the living, and its other threads stop."""
    ended: list[int] = []
    watch = ConsumerWatch(machine.work, ["dial-sandbox"])
    watch.missed = NAMED_AFTER - 2
    thread = report(machine, "dial", watch=watch, end=ended.append)  # type: ignore[arg-type]
    problems = []
    while thread.is_alive():
        problems += [found.problem_code for found in alive(machine.ledger, now())]
        thread.join(0.005)
    assert ProblemCode.CONSUMER_STUCK in problems
    assert ended == [1]
    assert machine.stopping.is_set()
    assert "ends itself, to be started again" in caplog.text
    assert alive(machine.ledger, now()) == []


def test_a_consumer_is_not_stuck_while_redis_is_away(
    machine: SimpleNamespace, now: Callable[[], Any]
) -> None:
    """A restart would not bring Redis back."""
    ended: list[int] = []
    machine.start_pacer.gone = True
    watch = ConsumerWatch(machine.work, ["dial-sandbox"])
    watch.missed = 1_000
    found = reported(machine, now, watch=watch, end=ended.append)
    assert (found.problem_code, ended) == (ProblemCode.REDIS_AWAY, [])


def test_a_consumer_that_waits_for_redis_is_not_stuck(
    machine: SimpleNamespace, now: Callable[[], Any]
) -> None:
    """A user that may write and not read lists: it waits until it may, and a restart would not help."""
    ended: list[int] = []
    machine.problems["redis"] = Problem("Redis does not work (NOPERM)", ProblemCode.REDIS_NOT_PERMITTED)
    watch = ConsumerWatch(machine.work, ["dial-sandbox"])
    watch.missed = 1_000
    reported(machine, now, watch=watch, end=ended.append)
    assert (watch.missed, ended) == (0, [])


def test_a_redis_that_is_silent_does_not_keep_the_report_back(
    machine: SimpleNamespace, now: Callable[[], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The process lives, and says why it does not work; late, it would count as gone."""
    answers = threading.Event()

    class Silent(Pace):
        def current(self) -> PacerState:
            assert answers.wait(60)
            return super().current()

    monkeypatch.setattr(health, "_REDIS_SECONDS", 0.1)
    machine.start_pacer = Silent()
    assert reported(machine, now).problem_code == ProblemCode.REDIS_AWAY
    answers.set()
