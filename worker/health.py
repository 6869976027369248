"""Every process reports to the ledger that it lives, and what keeps it from its work."""

import logging
import os
import socket
import threading

from campaigns.ledger.health import BEAT, beat, leave
from worker.machine import Machine
from worker.pacer import PacerUnavailable

log = logging.getLogger(__name__)


def report(machine: Machine, role: str) -> threading.Thread:
    """Report every few seconds from a thread of its own, until the process stops."""
    thread = threading.Thread(target=_keep_reporting, args=(machine, role), name="health", daemon=True)
    thread.start()
    return thread


def _keep_reporting(machine: Machine, role: str) -> None:
    process = f"{role}@{socket.gethostname()}:{os.getpid()}"
    exchange = machine.settings.exchange
    while not machine.stopping.is_set():
        try:
            ledger = machine.ledger
            ledger.set_clock()
            beat(ledger, process, role, exchange, _problem(machine), ledger.now(), endpoint=machine.endpoint)
        except Exception as error:
            # Whatever it is, a process that lives must not be taken for dead as soon as it is over.
            log.error("cannot report to the ledger: %s", error)
        machine.stopping.wait(BEAT.total_seconds())
    try:
        leave(machine.ledger, process, machine.ledger.now())
    except Exception as error:
        log.error("cannot take leave of the ledger: %s", error)


def _problem(machine: Machine) -> str | None:
    """What keeps this process from its work."""
    try:
        state = machine.start_pacer.current()
    except PacerUnavailable as error:
        return str(error)
    if state.share < 0.9:
        return f"throttled by Connect: slowed down to {state.share:.0%} of the rate for now"
    return "; ".join(machine.problems.values()) or None
