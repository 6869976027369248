"""Every process reports to the ledger that it lives, what it did lately, and what keeps it from its work."""

import logging
import os
import socket
import threading
from collections.abc import Callable, Collection
from concurrent.futures import Future
from datetime import timedelta

from campaigns.ledger.clock import MOST_CLOCK_SKEW
from campaigns.ledger.health import BEAT, Failure, beat, leave
from campaigns.problem import Problem, ProblemCode
from worker.consumer import ENDED_AFTER, NAMED_AFTER, ConsumerWatch
from worker.dial import clock_problem
from worker.machine import Machine
from worker.pacer import PacerUnavailable
from worker.probe import probe
from worker.seldom import Seldom

log = logging.getLogger(__name__)

_REDIS_SECONDS = 5.0
"""Longest wait for a look at Redis: a report that is 20 s late is that of a process that has gone."""

_FULL_SHARE = 0.9
"""A smaller share of the rate is said."""

_MOST_SECONDS = {
    "dial": {"dial": 300.0},
    "control": {"feed": 60.0, "rescue": 120.0, "follow": 300.0},
    "beat": {"tick": 60.0},
}
"""A round that is under way for longer hangs, and no other is done in its place."""

_VERBS = {
    "dial": ("dial",),
    "control": ("feed", "follow", "settle", "hang_up", "fire", "rescue"),
    "beat": ("tick",),
}
_ITS_WORK = {"dial": ("dial",), "control": ("feed",), "beat": ("tick",)}


def report(
    machine: Machine,
    role: str,
    *,
    queues: Collection[str] = (),
    watch: ConsumerWatch | None = None,
    end: Callable[[int], object] = os._exit,
) -> threading.Thread:
    """Report every few seconds from a thread of its own, until the process stops.

    queues: the worker's queues whose answers show that it looks for work. watch: counts the reports without
    such a look; after too many the process says why, and ends itself by `end(1)`, to be started again.
    """
    arguments = (machine, role, queues, watch, end)
    thread = threading.Thread(target=_keep_reporting, args=arguments, name="health", daemon=True)
    thread.start()
    return thread


def _keep_reporting(
    machine: Machine,
    role: str,
    queues: Collection[str],
    watch: ConsumerWatch | None,
    end: Callable[[int], object],
) -> None:
    process = f"{role}@{socket.gethostname()}:{os.getpid()}"
    missed = 0
    look, seldom = _Look(lambda: _redis_problems(machine, process)), Seldom()
    while not machine.stopping.is_set():
        try:
            pace, problems = look.within(_REDIS_SECONDS)
            if watch is not None:
                # What the consumer needs may be refused, and all else be allowed: it says so itself.
                missed = watch.count(redis_works=not problems and "redis" not in machine.problems)
                if missed >= ENDED_AFTER:
                    break
            _beat(machine, process, role, queues, [*_stuck(missed), *problems, *pace])
        except Exception as error:
            # Whatever it is, a process that lives must not be taken for dead as soon as it is over.
            if seldom.due(type(error).__name__):
                log.error("cannot report to the ledger: %s", error)
        machine.stopping.wait(BEAT.total_seconds())
    stuck = missed >= ENDED_AFTER
    if stuck:
        log.critical(
            "%s ends itself, to be started again: Redis works and no task is under way, but in the last %d "
            "reports it had not asked for work",
            process,
            missed,
        )
        machine.stopping.set()
    try:
        leave(machine.ledger, process, machine.ledger.now())
    except Exception as error:
        log.error("cannot take leave of the ledger: %s", error)
    if stuck:
        # Not by a signal: Celery would wait for the consumer that is stuck.
        end(1)


_Found = tuple[list[Problem], list[Problem]]


class _Look:
    """A look at Redis in a thread of its own.

    A Redis that takes connections and answers nothing is waited for longer than a report may be late, and
    the process would be taken for gone.
    """

    def __init__(self, asks: Callable[[], _Found]) -> None:
        self._asks = asks
        self._found: Future[_Found] | None = None

    def within(self, seconds: float) -> _Found:
        """What was found; that Redis does not answer if that takes longer. Raises what the look raises."""
        if self._found is None:
            self._found = Future()
            threading.Thread(target=self._ask, args=(self._found,), name="health-redis", daemon=True).start()
        try:
            found = self._found.result(seconds)
        except TimeoutError:
            if not self._found.done():
                text = f"Redis has not answered for {seconds:.0f} s, and nothing is dialed without it"
                return [], [Problem(text, ProblemCode.REDIS_AWAY)]
            self._found = None
            raise
        except Exception:
            self._found = None
            raise
        self._found = None
        return found

    def _ask(self, found: "Future[_Found]") -> None:
        try:
            found.set_result(self._asks())
        except BaseException as error:
            found.set_exception(error)


def _beat(
    machine: Machine, process: str, role: str, queues: Collection[str], problems: list[Problem]
) -> None:
    ledger, work = machine.ledger, machine.work
    ledger.set_clock()
    now, skew = ledger.now(), machine.clock_skew
    read_at = work.monotonic()
    failed = work.last_failure()
    beat(
        ledger,
        process,
        role,
        machine.settings.exchange,
        None,
        now,
        endpoint=machine.endpoint,
        problems=[*problems, *_clock_problems(skew), *_problems_of_work(machine, role)],
        worked_at=now - timedelta(seconds=read_at - work.last(_ITS_WORK[role], queues)),
        failure=Failure(failed.code, now - timedelta(seconds=read_at - failed.at), failed.count)
        if failed
        else None,
        clock_skew=skew,
    )


def _redis_problems(machine: Machine, process: str) -> tuple[list[Problem], list[Problem]]:
    """How the pace is slowed down, and what keeps Redis from working, if anything does."""
    try:
        state = machine.start_pacer.current()
    except PacerUnavailable as error:
        return [], [Problem(str(error), ProblemCode.REDIS_AWAY)]
    if (found := probe(machine.redis, machine.prefix, process)) is not None:
        return [], [found]
    if state.share >= _FULL_SHARE:
        return [], []
    text = f"throttled by Connect: slowed down to {state.share:.0%} of the rate for now"
    return [Problem(text, ProblemCode.THROTTLED)], []


def _stuck(missed: int) -> list[Problem]:
    if missed < NAMED_AFTER:
        return []
    text = (
        f"this process has not asked for work for {missed * BEAT.total_seconds():.0f} s, though Redis works; "
        "it ends itself if that goes on, and is started again by what supervises it"
    )
    return [Problem(text, ProblemCode.CONSUMER_STUCK)]


def _clock_problems(skew: timedelta) -> list[Problem]:
    return [clock_problem(skew)] if abs(skew) > MOST_CLOCK_SKEW else []


def _problems_of_work(machine: Machine, role: str) -> list[Problem]:
    """What the verbs of this role have noted, and which of them fail each time, or hang."""
    found = machine.current_problems()
    for failed in machine.work.failing(_VERBS[role]):
        text = f"{failed.verb} has failed {failed.count:,} times in a row: {failed.words or failed.kind}"
        found.append(Problem(text, ProblemCode.WORK_FAILING))
    for verb, seconds in machine.work.stalled(_MOST_SECONDS[role]):
        text = f"{verb} hangs: it is under way for {seconds:,.0f} s, and no other round was completed since"
        found.append(Problem(text, ProblemCode.WORK_STALLED))
    return found
