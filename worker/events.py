"""Contact events → outcomes, beside the looks of follow.py: whichever word comes first is written down.

Connect sends events once, twice or never, in any order. So none is needed, and none does harm: what an event
says goes into the ledger by a move that names its state, and what no event tells is asked for.
"""

import json
import logging
import threading
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from campaigns.attempt import Outcome
from campaigns.ledger import LedgerUnavailable
from campaigns.ledger.contacts import awaits_contacts, known_contacts
from campaigns.ledger.in_progress import full_instances
from campaigns.ledger.outcomes import Placed, calls_of, look_now
from worker.event_queue import EventQueue, EventsUnavailable, Message
from worker.follow import Following, outcome_of
from worker.machine import Machine
from worker.reply import CallReport, contact_id_in, moment_in, word_in

log = logging.getLogger(__name__)

_RECEIVES = 6
"""So often a message is received, about a minute, before its contact is taken for somebody else's."""

_FIRST_WAIT_SECONDS = 3.0
_LONGEST_WAIT_SECONDS = 30.0
"""How long the queue is left alone when it, or the ledger, cannot be used; doubled each time up to this."""

# COMPLETED follows DISCONNECTED when the agent, if there was one, has done what comes after the call.
_ENDS = {"DISCONNECTED", "COMPLETED"}


@dataclass(frozen=True, slots=True)
class ContactEvent:
    """What one contact event says of its contact."""

    contact_id: str
    over: bool
    """Whether it tells that a call has ended."""
    report: CallReport
    """What it says of the call, as DescribeContact would."""


def contact_event(body: str) -> ContactEvent | None:
    """A message's text → the contact event in it, or None when there is none. Never raises.

    Keys and words count without regard to case, because AWS's own samples mix it.
    """
    envelope = _object(body)
    if envelope.get("type") == "Notification":
        # It came by way of an SNS topic, which wraps what it passes on.
        envelope = _object(envelope.get("message"))
    if _word(envelope, "source") != "AWS.CONNECT":
        return None
    if _word(envelope, "detail-type") != "AMAZON CONNECT CONTACT EVENT":
        return None
    detail = _lowered(envelope.get("detail"))
    contact_id = contact_id_in(detail.get("contactid"))
    if contact_id is None:
        return None
    over = _word(detail, "eventtype") in _ENDS and _word(detail, "channel") in (None, "VOICE")
    ended_at = moment_in(detail.get("disconnecttimestamp"))
    if over and ended_at is None:
        # When the event was sent, to the second.
        ended_at = moment_in(envelope.get("time"))
    return ContactEvent(
        contact_id=contact_id,
        over=over,
        report=CallReport(
            initiated_at=moment_in(detail.get("initiationtimestamp")),
            answered_at=moment_in(detail.get("connectedtosystemtimestamp")),
            ended_at=ended_at if over else None,
            disconnect_reason=_word(detail, "disconnectreason"),
            answering_machine_status=_word(detail, "answeringmachinedetectionstatus"),
            phone=None,
            attributes={},
        ),
    )


def _object(text: object) -> dict[str, Any]:
    """JSON → an object with lower-case keys; empty if it is anything else."""
    try:
        return _lowered(json.loads(text)) if isinstance(text, str) else {}
    except (ValueError, RecursionError):
        return {}


def _lowered(value: object) -> dict[str, Any]:
    return {key.lower(): each for key, each in value.items()} if isinstance(value, dict) else {}


def _word(of: dict[str, Any], key: str) -> str | None:
    word = word_in(of.get(key))
    return word.upper() if word is not None else None


@dataclass(frozen=True, slots=True)
class Hearing:
    """What takes contact events from the queue into the ledger, with all that it needs."""

    queue: EventQueue
    following: Following

    def hear(self) -> int:
        """Wait for messages and take in what they say. Returns how many calls have ended by that.

        A message is deleted when the ledger has what it says. Whoever dies before that is told once more.

        Raises EventsUnavailable, LedgerUnavailable.
        """
        messages = self.queue.receive()
        if not messages:
            return 0
        told: list[tuple[Message, ContactEvent]] = []
        strange = 0
        for message in messages:
            event = contact_event(message.body)
            if event is None:
                strange += 1
            elif event.over:
                told.append((message, event))
        if strange:
            # Without their text: whatever it is, there may be people in it.
            log.warning("%d messages that are no contact events were deleted; check the rule", strange)
        ended, left, full = self._take_in(told)
        self.queue.delete([message for message in messages if message not in left])
        if ended and full:
            self.following.call_over()
        return ended

    def _take_in(self, told: Sequence[tuple[Message, ContactEvent]]) -> tuple[int, list[Message], bool]:
        """(how many calls have ended, the messages to leave in the queue, whether others waited for that)."""
        if not told:
            return 0, [], False
        ledger, exchange = self.following.ledger, self.following.exchange
        contact_ids = sorted({event.contact_id for _, event in told})
        # Asked first: a contact that is written down between the two questions is then found by the second.
        awaited = awaits_contacts(ledger, exchange)
        known = known_contacts(ledger, contact_ids)
        calls = {call.contact_id: call for call in calls_of(ledger, contact_ids, exchange)}
        full = bool(calls) and bool(
            full_instances(ledger, exchange, self.following.limit, self.following.clock())
        )
        ended = 0
        left: list[Message] = []
        for message, event in told:
            if event.contact_id in calls:
                try:
                    ended += self._judge(calls[event.contact_id], event.report)
                except LedgerUnavailable:
                    raise
                except Exception as error:
                    # Only this one's fault perhaps, so the others must not wait behind it.
                    log.error("contact %s: %s", event.contact_id, _where(error))
                    if message.receives < _RECEIVES:
                        left.append(message)
            elif event.contact_id not in known and awaited and message.receives < _RECEIVES:
                # Perhaps the answer to our own request, which names it, is being written down right now.
                left.append(message)
        return ended, left, full

    def _judge(self, call: Placed, report: CallReport) -> bool:
        """Write down what an event says, or have Connect asked. Returns whether the call has ended."""
        if _says_enough(call, report):
            return self.following.conclude(call, report)
        look_now(self.following.ledger, [call.attempt_id], self.following.clock())
        return False


def _says_enough(call: Placed, report: CallReport) -> bool:
    """Whether the event says all that DescribeContact would be asked for."""
    if outcome_of(report) in (None, Outcome.NO_OUTCOME):
        return False
    # Who picked up, a person or a machine? Where that was asked for, `answered` would be half of it.
    detected = report.answering_machine_status is not None or report.answered_at is None
    return detected or not call.campaign.connect.answering_machine_detection


def listen(machine: Machine, call_over: Callable[[], None]) -> threading.Thread:
    """Take in contact events from a thread of its own, until the process stops."""
    thread = threading.Thread(
        target=_keep_listening, args=(machine, call_over), name="contact events", daemon=True
    )
    thread.start()
    return thread


def _keep_listening(machine: Machine, call_over: Callable[[], None]) -> None:
    wait = _FIRST_WAIT_SECONDS
    while not machine.stopping.is_set():
        try:
            Hearing(machine.event_queue, machine.following(call_over)).hear()
        except (EventsUnavailable, LedgerUnavailable) as error:
            log.warning("contact events cannot be read: %s", error)
            machine.note("events", f"contact events cannot be read: {error}")
        except Exception as error:
            # Whatever it is, outcomes are asked for all the same, and the next message may be a better one.
            log.error("contact events cannot be read: %s", _where(error))
        else:
            machine.note("events", None)
            wait = _FIRST_WAIT_SECONDS
            continue
        machine.stopping.wait(wait)
        wait = min(2 * wait, _LONGEST_WAIT_SECONDS)


def _where(error: Exception) -> str:
    """An error's type and place. Not its text, which may repeat what a message says."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" in {Path(frames[-1].filename).name}, line {frames[-1].lineno}" if frames else ""
    return type(error).__name__ + place
