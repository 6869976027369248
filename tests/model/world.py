"""True time, chance, and tasks that run one at a time and are suspended where a process may be."""

import heapq
import itertools
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, Protocol

MONDAY_NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


class Crash(BaseException):
    """The process of this task was killed. Not an Exception: no handler of the program may see it."""


class Violation(AssertionError):
    """The program broke a promise. The text says which, for which attempt, and when."""


class Mortal(Protocol):
    """What a task belongs to: a process, which can be killed."""

    dead: bool


class _Runner:
    """One thread that runs one task after another, each only while the hub waits for it."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self.go = threading.Lock()
        self.go.acquire()
        self.work: Callable[[], None] | None = None
        self.thread = threading.Thread(target=self._run, name="model", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        while True:
            self.go.acquire()
            if self.work is None:
                return
            self.work()
            self._world.hub.release()


@dataclass(eq=False)
class Task:
    """Something that a process is doing. It continues only when the hub resumes it."""

    process: Mortal
    kind: str
    runner: _Runner
    ready_at: float
    over: bool = False


@dataclass
class World:
    """True time in seconds since `MONDAY_NOON`, and all tasks that are under way.

    Threads serve as coroutines: exactly one of them runs at any moment, so that an episode depends on nothing
    but its seed. A task is never suspended inside a transaction of the ledger.
    """

    chance: Random
    now: float = 0.0
    suspends: float = 0.2
    """The share of the points of interruption at which a task is really suspended."""
    tasks: list[Task] = field(default_factory=list)
    hub: threading.Lock = field(default_factory=threading.Lock)
    current: Task | None = None
    failure: BaseException | None = None
    story: list[str] = field(default_factory=list)
    """What has happened, for whoever reads of a violation."""
    _idle: list[_Runner] = field(default_factory=list)
    _events: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _numbers: Any = field(default_factory=itertools.count)

    def __post_init__(self) -> None:
        self.hub.acquire()

    def utc(self) -> datetime:
        """True time as an instant."""
        return MONDAY_NOON + timedelta(seconds=self.now)

    def seconds(self) -> float:
        """True time in seconds: every machine's monotonic clock."""
        return self.now

    def note(self, what: str) -> None:
        """Add a line to the story."""
        self.story.append(f"{self.now:10.1f} {what}")

    # --- time -----------------------------------------------------------------------------------------

    def at(self, when: float, happens: Callable[[], None]) -> None:
        """Let something outside the dialer happen at that time."""
        heapq.heappush(self._events, (when, next(self._numbers), happens))

    def advance(self, until: float) -> None:
        """Let time pass; what happens outside the dialer until then happens in its order."""
        while self._events and self._events[0][0] <= until:
            when, _, happens = heapq.heappop(self._events)
            self.now = max(self.now, when)
            happens()
        self.now = max(self.now, until)

    def next_event(self) -> float | None:
        """When the next thing outside the dialer happens, if any is known to come."""
        return self._events[0][0] if self._events else None

    # --- tasks ----------------------------------------------------------------------------------------

    def spawn(self, process: Mortal, kind: str, does: Callable[[], object]) -> Task:
        """Begin a task, and let it run until it is first suspended."""
        runner = self._idle.pop() if self._idle else _Runner(self)
        task = Task(process, kind, runner, self.now)

        def work() -> None:
            try:
                does()
            except Crash:
                pass
            except BaseException as error:
                self.failure = self.failure or error
            task.over = True

        runner.work = work
        self.tasks.append(task)
        self.resume(task)
        return task

    def resume(self, task: Task) -> None:
        """Let a task go on until it is suspended again, or over. Raises what it failed with."""
        self.current = task
        task.runner.go.release()
        self.hub.acquire()
        self.current = None
        if task.over:
            self.tasks.remove(task)
            self._idle.append(task.runner)
        if self.failure is not None:
            failure, self.failure = self.failure, None
            raise failure

    def point(self, process: Mortal) -> None:
        """A place where a process may be interrupted, for as long as it may be, or killed."""
        if process.dead:
            raise Crash
        if self.current is not None and self.chance.random() < self.suspends:
            self.sleep(process, 0.0)

    def sleep(self, process: Mortal, seconds: float) -> None:
        """Suspend the current task for at least so long. Raises Crash if its process is killed meanwhile."""
        if process.dead:
            raise Crash
        task = self.current
        assert task is not None, "only a task can sleep"
        task.ready_at = self.now + max(0.0, seconds)
        self.hub.release()
        task.runner.go.acquire()
        if process.dead:
            raise Crash

    def end_tasks_of(self, process: Mortal) -> None:
        """End the tasks of a process that was killed."""
        for task in [each for each in self.tasks if each.process is process]:
            self.resume(task)

    def close(self) -> None:
        """End all tasks and threads."""
        for task in list(self.tasks):
            task.process.dead = True
        for task in list(self.tasks):
            with suppress(BaseException):  # the episode is over, and has reported what it had to
                self.resume(task)
        for runner in self._idle:
            runner.work = None
            runner.go.release()
        for runner in self._idle:
            runner.thread.join(10)
        self._idle = []
