"""contact_id → outcome → redial, or done."""

import logging
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from campaigns.attempt import Outcome
from campaigns.ledger import Ledger
from campaigns.ledger.moves import Placed, follow_later, mark_ended, take_due_follows
from campaigns.redial import RedialAt, next_step
from worker.connect import CallReport, Connect
from worker.connect_errors import ConnectError, NeverSent, Throttled
from worker.pacer import Pacer, PacerUnavailable

log = logging.getLogger(__name__)

_HELD_FOR = timedelta(seconds=30)
"""How long calls that are being looked up stay taken; if this process dies they are due again after it."""

_BREATH = timedelta(seconds=5)
"""How long a round that came to nothing is waited after."""

# Connect's words, from the API reference of DisconnectReason and AnsweringMachineDetectionStatus (2025).
_BY_MACHINE_DETECTION = {
    "HUMAN_ANSWERED": Outcome.HUMAN_ANSWERED,
    "VOICEMAIL_BEEP": Outcome.VOICEMAIL,
    "VOICEMAIL_NO_BEEP": Outcome.VOICEMAIL,
    "AMD_UNANSWERED": Outcome.NO_ANSWER,
    "SIT_TONE_BUSY": Outcome.BUSY,
    "SIT_TONE_INVALID_NUMBER": Outcome.INVALID_NUMBER,
    "FAX_MACHINE_DETECTED": Outcome.FAX,
}
_BY_DISCONNECT_REASON = {
    "TELECOM_TIMEOUT": Outcome.NO_ANSWER,
    "TELECOM_UNANSWERED": Outcome.NO_ANSWER,
    "TELECOM_ORIGINATOR_CANCEL": Outcome.NO_ANSWER,
    "TELECOM_BUSY": Outcome.BUSY,
    "TELECOM_PROBLEM": Outcome.UNREACHABLE,
    "OUTBOUND_RESOURCE_ERROR": Outcome.UNREACHABLE,
    "OUTBOUND_ATTEMPT_FAILED": Outcome.UNREACHABLE,
    "TELECOM_NUMBER_INVALID": Outcome.INVALID_NUMBER,
    "OUTBOUND_DESTINATION_ENDPOINT_ERROR": Outcome.INVALID_NUMBER,
    "TELECOM_POTENTIAL_BLOCKING": Outcome.BLOCKED,
}

_LEAST_LOOKS = 3
"""So often a call is looked at before it is given up, however long ago it was placed."""

_UNASKABLE = timedelta(hours=1)
"""How long after placing a call that Connect refuses to tell about is given up."""


def outcome_of(report: CallReport) -> Outcome | None:
    """How a call ended, or None while it goes on."""
    if report.ended_at is None:
        return None
    by_machine = _BY_MACHINE_DETECTION.get(report.answering_machine_status or "")
    if by_machine is not None:
        return by_machine
    if report.answered_at is not None:
        return Outcome.ANSWERED
    return _BY_DISCONNECT_REASON.get(report.disconnect_reason or "", Outcome.NO_OUTCOME)


def next_look(first: timedelta, looks: int) -> timedelta:
    """How long to wait after look number `looks` (from 1): most calls are over at the first, a long one is
    looked at ever more rarely, a quarter of an hour apart at most."""
    doublings: int = 2 ** min(looks, 10)
    return min(first * doublings, max(first, timedelta(minutes=15)))


def deadline(first: timedelta) -> timedelta:
    """How long after placing a call that Connect knows nothing of is given up."""
    return max(timedelta(minutes=1), 10 * first)


def follow(
    ledger: Ledger,
    connect: Connect,
    pacer: Pacer,
    *,
    exchange: str,
    first: timedelta,
    limit: int,
    clock: Callable[[], datetime],
    report_problem: Callable[[str | None], None] = lambda _: None,
) -> int:
    """Ask Connect for the outcome of up to `limit` calls that are due to be looked at.

    Returns how many have ended. Those that this round does not come to are due again a little later.
    `report_problem` is told what keeps outcomes from being known, or None.
    """
    ended = 0
    now = clock()
    calls = take_due_follows(ledger, exchange=exchange, limit=limit, now=now, until=now + _HELD_FOR)
    for at, call in enumerate(calls):
        try:
            if pacer.wait(2.0) is None:
                _put_back(ledger, calls[at:], clock())
                break
            report = connect.describe(call.instance_id, call.contact_id)
        except (PacerUnavailable, NeverSent) as error:
            log.warning("no outcome can be asked for now: %s", error)
            report_problem(f"outcomes cannot be asked for: {error}")
            _put_back(ledger, calls[at:], clock())
            break
        except Throttled:
            pacer.throttled()
            _put_back(ledger, calls[at:], clock())
            break
        except ConnectError as error:
            # Perhaps only this one's fault, so the others must not wait behind it.
            log.warning("contact %s cannot be followed now: %s", call.contact_id, error)
            report_problem(f"outcomes cannot be asked for: {error}")
            ended += _apply(ledger, call, None, max(deadline(first), _UNASKABLE), first, clock())
            continue
        report_problem(None)
        ended += _apply(ledger, call, report, deadline(first), first, clock())
    return ended


def _put_back(ledger: Ledger, calls: Sequence[Placed], now: datetime) -> None:
    for call in calls:
        follow_later(ledger, call.attempt_id, now + _BREATH)


def _apply(
    ledger: Ledger,
    call: Placed,
    report: CallReport | None,
    patience: timedelta,
    first: timedelta,
    now: datetime,
) -> bool:
    """Write down what a look has shown. Returns whether the call has ended."""
    outcome = outcome_of(report) if report is not None else None
    if outcome is None:
        # One that a search found long after it was placed has a few looks all the same.
        if report is not None or now - call.placed_at < patience or call.follows < _LEAST_LOOKS:
            follow_later(ledger, call.attempt_id, now + next_look(first, call.follows))
            return False
        outcome = Outcome.NO_OUTCOME
    rules = call.campaign.redial
    step = next_step(outcome, call.rings, after=rules.after, max_attempts=rules.max_attempts, now=now)
    return mark_ended(
        ledger,
        call.attempt_id,
        outcome,
        ended_at=(report.ended_at if report is not None else None) or now,
        redial_at=step.due_at if isinstance(step, RedialAt) else None,
    )
