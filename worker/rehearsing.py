"""The clock of a rehearsal (campaigns/ledger/rehearsal.py), as processes keep it and keep up with it."""

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from campaigns.ledger import Ledger, LedgerUnavailable
from campaigns.ledger.rehearsal import keep_running, start, stop
from campaigns.mistake import Mistake
from worker.rehearsal_speed import SPEED

log = logging.getLogger(__name__)

_READ_EVERY_SECONDS = 0.5
"""Shorter than the time between the start of the clock and its first move."""
_KEPT_EVERY_SECONDS = 5.0
_PATIENCE_SECONDS = 15.0
"""The clock starts after this at the latest, whether or not a dial worker has reported."""


def follow_clock(ledger: Ledger, stopping: threading.Event) -> None:
    """Keep up with the clock of the ledger's rehearsal, from a thread, until the process stops.

    Raises Mistake for a process that does not belong to the rehearsal of its ledger: its calls would have
    another clock than the sandbox. Does nothing where there is no rehearsal.
    """
    if ledger.rehearsal is None:
        return
    if SPEED not in os.environ:
        raise Mistake(
            "this ledger is a rehearsal's, and its processes are started by dialer up --sandbox or dialer "
            "run --sandbox alone; for anything else name another ledger"
        )

    def keep_up() -> None:
        while not stopping.wait(_READ_EVERY_SECONDS):
            try:
                ledger.read_rehearsal()
            except LedgerUnavailable as error:
                # The last reading holds, at most until the clock would stop.
                log.warning("the clock of the rehearsal is not read: %s", error)

    threading.Thread(target=keep_up, name="rehearsal", daemon=True).start()


@contextmanager
def kept_running(ledger: Ledger, ready: Callable[[], bool]) -> Iterator[None]:
    """Let the clock of the ledger's rehearsal run inside the block, from when `ready` on.

    Without the wait the first minutes of the rehearsal would pass while its processes start.
    """
    over = threading.Event()

    def keep() -> None:
        began, started = time.monotonic(), False
        while not over.is_set():
            try:
                if started:
                    keep_running(ledger)
                elif ready() or time.monotonic() - began > _PATIENCE_SECONDS:
                    start(ledger)
                    started = True
            except LedgerUnavailable as error:
                log.warning("the clock of the rehearsal is not kept running: %s", error)
            over.wait(_KEPT_EVERY_SECONDS if started else _READ_EVERY_SECONDS)

    thread = threading.Thread(target=keep, name="rehearsal", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def stop_clock(ledger: Ledger) -> None:
    """Let the clock stand still. A ledger that is away lets it run out by itself."""
    try:
        stop(ledger)
    except LedgerUnavailable as error:
        log.warning("the clock of the rehearsal is not stopped: %s", error)
