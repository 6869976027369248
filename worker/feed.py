"""Due recipients → claimed attempts → Celery tasks."""

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from math import ceil

from campaigns.client_token import WITHOUT_SECRET, Tokens
from campaigns.ledger import Ledger
from campaigns.ledger.claims import Claim, claim, hand_back, somebody_is_due
from campaigns.ledger.identity import read_identity
from campaigns.ledger.in_progress import CallLimit, full_instances
from campaigns.ledger.runs import finish
from campaigns.problem import Problem, ProblemCode
from worker.positions import PositionNotNoted, Positions

log = logging.getLogger(__name__)

AHEAD = timedelta(seconds=3)
"""How much work is kept queued: enough for the workers never to wait for the next round of feeding, and
little enough that a pause or a cancelled campaign strands next to nothing in Redis."""


_UNTAKEN = (
    "tasks lie in Redis that no dial worker takes, and nothing more is released until they are taken; "
    "see what the dial workers log"
)


class QueueUnavailable(Exception):
    """The tasks could not be sent."""


def keep_queued(calls_per_second: float) -> int:
    """How many attempts to keep queued at this rate: three seconds of work, whatever the campaign's size."""
    return max(2, ceil(calls_per_second * AHEAD.total_seconds()))


def feed(
    ledger: Ledger,
    send: Callable[[Sequence[Claim]], None],
    undelivered: Callable[[], int],
    *,
    calls_per_second: float,
    exchange: str,
    lease: timedelta,
    limit: CallLimit | None,
    clock: Callable[[], datetime],
    tokens: Tokens = WITHOUT_SECRET,
    report_problem: Callable[[str | None], None] = lambda _: None,
    positions: Positions | None = None,
    endpoint: str | None = None,
) -> int:
    """Top the queue up from the ledger, and close the runs that are over. Returns how many were released.

    `send` publishes the claims and raises QueueUnavailable when it cannot say that all have arrived. Then
    all of them go back to the ledger: a task that did arrive finds its claim gone.

    `limit`: the calls that each instance may have in progress; no more are released than fit.

    `undelivered` says how many tasks no worker has taken yet. While there are twice as many as we keep
    queued, nobody is dialing, and more would only be stale when somebody comes, each costing a slot.

    `tokens` makes the client tokens of new attempts.

    `endpoint`: where calls go, if that is not AWS's own address.

    `report_problem` is told that calls wait for others to end, that the ledger is stopped, or that Redis
    or the dial workers do not take the tasks, or None.

    `positions`: how far the ledger had come as Redis knows it. A ledger that is behind is stopped.
    """
    keep = keep_queued(calls_per_second)
    try:
        nobody_dials = undelivered() >= 2 * keep
        noted = positions.noted() if positions else None
    except (QueueUnavailable, PositionNotNoted) as error:
        log.warning("nothing is released: %s", error)
        report_problem(Problem(f"nothing is released: {error}", ProblemCode.REDIS_AWAY))
        return 0
    if nobody_dials:
        # Also where no attempt is queued any more: rescue has returned them, and their tasks lie there still.
        report_problem(Problem(_UNTAKEN, ProblemCode.TASKS_UNTAKEN))
        return 0
    began = clock()
    released = claim(
        ledger,
        keep_queued=keep,
        exchange=exchange,
        now=began,
        lease=lease * ledger.clock_speed,
        ahead=AHEAD * ledger.clock_speed,
        limit=limit,
        tokens=tokens,
        noted=noted,
        endpoint=endpoint,
    )
    if not released and (stopped := _stopped(ledger, began)):
        report_problem(stopped)
        return 0
    if positions and noted is not None:
        # Where Redis has lost it. If it cannot be noted now, it is in the next round.
        with suppress(PositionNotNoted):
            positions.fill(noted)
    report_problem(_held_up(ledger, exchange, limit, clock()) if limit is not None else None)
    if not released:
        finish(ledger, clock())
        return 0
    # Dying here loses nothing: the claims' leases pass, and rescue gives them back.
    try:
        send(released)
    except QueueUnavailable as error:
        hand_back(ledger, released, str(error), due_at=clock())
        log.warning("%d attempts go back to the ledger: %s", len(released), error)
        report_problem(Problem(f"nothing is released: {error}", ProblemCode.REDIS_AWAY))
        return 0
    return len(released)


def _stopped(ledger: Ledger, since: datetime) -> Problem | None:
    """Why nothing is dialed from this ledger until an operator says so; None if nothing stops it."""
    who = read_identity(ledger)
    if who.stopped_at is None:
        return None
    if who.stopped_at >= since:
        log.error("nothing is dialed any longer: %s", who.stopped_reason)
    return Problem(who.stopped_reason or "", ProblemCode.LEDGER_STOPPED)


def _held_up(ledger: Ledger, exchange: str, limit: CallLimit, now: datetime) -> Problem | None:
    """In words, that people wait for others' calls to end; None if they do not."""
    full = full_instances(ledger, exchange, limit, now)
    if not full or not somebody_is_due(ledger, exchange, full, now):
        return None
    text = (
        f"calls in progress: {limit.most:,}, as many as DIALER_MAX_ACTIVE_CALLS allows on instance "
        f"{' and '.join(full)}; others wait until one of them ends"
    )
    return Problem(text, ProblemCode.CALLS_IN_PROGRESS)
