"""What `dialer run` and `dialer up` have in common: the dialer's processes, until Ctrl-C.

Heavy imports stand inside the functions, as in campaigns/command_line.py.
"""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from campaigns.command_line import say
from campaigns.mistake import Mistake
from worker.closed_terminal import is_heeded, write_no_longer

if TYPE_CHECKING:
    from campaigns.ledger import Ledger
    from campaigns.report import Status
    from worker.local import Stack, Trial
    from worker.settings import DialerSettings

_STARTING_SECONDS = 15.0
"""For so long after their start it says nothing that no worker has reported yet."""

Workers = Annotated[
    int, typer.Option("--workers", metavar="N", min=1, max=64, help="Dial workers, a process each.")
]
Speed = Annotated[
    float,
    typer.Option("--speed", metavar="N", min=0.1, max=1000, help="In the sandbox: call seconds per second."),
]
Faults = Annotated[
    bool,
    typer.Option(
        "--faults", help="In the sandbox: numbers that end in 89 to 99 meet faults (docs/sandbox.md)."
    ),
]

_GIVING_BACK_SECONDS = 2.0
"""For so long at most what is queued is given back at the end. A database whose host is gone is silent for
12 s, and the process would be killed meanwhile; rescue gives it back when its lease has passed."""

AsOf = Annotated[
    str | None,
    typer.Option(
        "--as-of",
        metavar="TIME",
        help='With --sandbox: rehearse from then on ("2026-12-03 09:00"), with a clock that runs at --speed.',
    ),
]

INTERRUPTED = 130  # what a shell reports for a program that Ctrl-C ended


class Stopped(BaseException):
    """Ctrl-C, SIGTERM, or a closed terminal. Its text says what goes on, where that is not the usual."""


Wait = Callable[[float], None]
"""Sleeps for so many seconds. Raises Stopped as soon as there has been Ctrl-C, SIGTERM or SIGHUP."""


@contextmanager
def the_stack(
    settings: "DialerSettings", workers: int, trial: "Trial | None"
) -> "Iterator[tuple[Ledger, Stack, Wait]]":
    """The dialer's processes, the ledger, and how to wait, until Stopped or the end of the block."""
    from campaigns.ledger import open_ledger
    from worker.local import Stack
    from worker.positions import prefix_of

    asked = waiting = False
    heeded = is_heeded()

    def interrupt(number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        if number == signal.SIGHUP:
            write_no_longer()
        # Once only: a second signal must not cut the stopping short half-way, unless it is meant to.
        signal.signal(signal.SIGINT, hurry)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        when_closed(lambda *_: write_no_longer())
        asked = True
        # At once: with a database that is silent our own look at the ledger may take 12 s.
        stack.ask_to_stop()
        # Not in the middle of a look at the ledger: its transaction could stay open, and in SQLite no worker
        # could then record its calls until this process has ended.
        if waiting:
            raise Stopped

    def hurry(_number: int, _frame: FrameType | None) -> None:
        say("stopping at once; what was under way is found by the next start")
        stack.kill()

    def when_closed(handler: Callable[[int, FrameType | None], None]) -> None:
        if heeded:
            signal.signal(signal.SIGHUP, handler)

    def wait(seconds: float) -> None:
        nonlocal waiting
        waiting = True
        try:
            if asked:
                raise Stopped
            time.sleep(seconds)
        finally:
            waiting = False

    ledger = open_ledger(settings.ledger_url)
    try:
        trial = rehearsed(ledger, trial)
        if trial is not None and trial.rehearsal:
            say_rehearsal(ledger)
        prefix = prefix_of(ledger)
    except BaseException:
        ledger.close()
        raise
    stack = Stack(settings, workers=workers, trial=trial, sleep=wait, say=say, prefix=prefix)
    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGTERM, interrupt)
    when_closed(interrupt)
    try:
        say_clock(ledger.real_now)
        stack.start()
        with _rehearsing(ledger, stack.settings.exchange):
            yield ledger, stack, wait
    except Stopped:
        say("stopping: calls whose request has left are being recorded …")
        raise
    finally:
        # From here on Ctrl-C hurries the stopping, and cannot cut it short.
        signal.signal(signal.SIGINT, hurry)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        when_closed(lambda *_: write_no_longer())
        stack.stop(say)
        _within(_GIVING_BACK_SECONDS, lambda: _give_back_queued(ledger, stack.settings.exchange))
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        # A terminal that goes away now must not lose the results, which are written after this.


def trial_of(sandbox: bool, speed: float, as_of: str | None, *, faults: bool = False) -> "Trial | None":
    """The trial that the options of a command ask for; None for real calls. Raises Mistake."""
    from campaigns.as_of import as_of as instant
    from worker.local import Trial

    if not sandbox:
        if as_of is not None:
            raise Mistake("--as-of is for a trial: say --sandbox as well, and nobody is rung")
        return None
    return Trial(speed, faults, as_of=instant(as_of) if as_of is not None else None)


def rehearsed(ledger: "Ledger", trial: "Trial | None") -> "Trial | None":
    """The trial as a rehearsal, where it is to be one or the ledger is a rehearsal's already.

    Sets the ledger's clock, which stands still until the trial's processes run. Raises Mistake where the
    ledger is not one for this trial, or is a rehearsal's and calls are real.
    """
    from campaigns.ledger.rehearsal import not_for_real, rehearse

    if trial is None:
        if ledger.rehearsal is not None:
            raise not_for_real(ledger.rehearsal)
        return None
    clock = rehearse(ledger, trial.as_of, trial.speed)
    return replace(trial, rehearsal=clock is not None)


def say_rehearsal(ledger: "Ledger") -> None:
    """Say what the clock of the rehearsal shows, and how fast it runs."""
    from campaigns.time_words import day_and_time

    clock = ledger.rehearsal
    assert clock is not None
    shown = day_and_time(ledger.now(), ledger.now(), year=True)
    say(f"a rehearsal: its clock begins at {shown} and runs {clock.speed:g} times as fast as time passes")


@contextmanager
def _rehearsing(ledger: "Ledger", exchange: str) -> "Iterator[None]":
    """Let the clock of a rehearsal run inside the block, once a dial worker is there."""
    if ledger.rehearsal is None:
        yield
        return
    from campaigns.ledger.health import alive
    from worker.rehearsing import kept_running

    def ready() -> bool:
        here = alive(ledger, ledger.now())
        return {"dial", "control", "beat"} <= {each.role for each in here if each.exchange == exchange}

    with kept_running(ledger, ready):
        yield


def check_endpoint(settings: "DialerSettings", trial: "Trial | None") -> str | None:
    """Where calls will go, if that is not AWS's own address; None in a trial with a sandbox of its own.

    Raises Mistake where this side's calls must not go: real ones to the sandbox, a trial's to anything else.
    """
    if trial is not None:
        return None
    from worker.connect import Connect
    from worker.connect_errors import ConnectError
    from worker.settings import CONNECT_TIMEOUT_SECONDS

    connect = Connect(exchange=settings.exchange, connect_timeout_seconds=CONNECT_TIMEOUT_SECONDS)
    try:
        connect.verify()
        return connect.elsewhere
    except ConnectError as error:
        raise Mistake(error.reason) from None
    finally:
        connect.close()


def say_where(elsewhere: str | None) -> None:
    """Name the address that calls go to, unless it is AWS's own."""
    if elsewhere is not None:
        say(f"calls go to {elsewhere}, which is not AWS's own address")


def say_clock(ledgers_now: "Callable[[], datetime]") -> None:
    """Say that this machine's clock and the ledger's differ by a minute or more."""
    from campaigns.ledger.clock import clock_words, wall_clock

    if words := clock_words(ledgers_now() - wall_clock()):
        say(f"dialer: {words}")


def while_starting(latest: "Status", began: float) -> "Status":
    """In the first seconds not all processes have reported yet, which is nothing to complain of."""
    from campaigns.reasons import Reason, ReasonCode

    starting = time.monotonic() - began < _STARTING_SECONDS
    if starting and latest.schedule is not None and latest.schedule.overdue is not None:
        latest = replace(latest, schedule=replace(latest.schedule, overdue=None))
    if starting and latest.why is not None and latest.why.code == ReasonCode.PROCESS_MISSING:
        return replace(latest, why=Reason(ReasonCode.STARTING, "the workers are starting"))
    return latest


def _give_back_queued(ledger: "Ledger", exchange: str) -> None:
    """What was queued for workers that have stopped is due again at once, not when its lease has passed.

    And the clock of a rehearsal stands still.
    """
    from campaigns.ledger import LedgerUnavailable
    from campaigns.ledger.claims import take_back_queued
    from campaigns.ledger.health import alive

    try:
        if not any(p.role == "dial" and p.exchange == exchange for p in alive(ledger, ledger.now())):
            take_back_queued(ledger, exchange)
        if ledger.rehearsal is not None:
            from worker.rehearsing import stop_clock

            stop_clock(ledger)
    except LedgerUnavailable as error:
        say(f"dialer: {error}")
    finally:
        ledger.close()


def _within(seconds: float, does: Callable[[], object]) -> None:
    """Do it, and wait for it no longer than this; what it does not end by then ends with the process."""
    thread = threading.Thread(target=does, name="giving-back", daemon=True)
    thread.start()
    thread.join(seconds)
