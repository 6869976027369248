"""Contact events and SQS's own answers, damaged: no traceback, and no recipient is dialed again for one."""

import json
import random
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, cast

from campaigns.attempt import AttemptState, RecipientState
from tests.fuzz.answers import ground
from tests.fuzz.damage import ODD_TEXTS, damaged
from tests.fuzz.odd_server import Line, answer
from worker.event_queue import EventQueue, EventsUnavailable, Message
from worker.events import Hearing, contact_event

_ENDS = ("DISCONNECTED", "COMPLETED", "disconnected", "INITIATED", "CONNECTED_TO_SYSTEM")
_REASONS = ("CUSTOMER_DISCONNECT", "TELECOM_BUSY", "TELECOM_TIMEOUT", "API", "NEW_REASON")


class _Untouched:
    """The gateway of a ground on which only events are damaged."""

    def __init__(self, rng: random.Random, url: str) -> None:
        from tests.fuzz.answers import Gateway

        self._gateway = Gateway(rng, url)
        self._gateway.share = 0.0

    def __call__(self, line: Line) -> None:
        self._gateway(line)


class _Queue:
    """The queue, which gives out these messages."""

    def __init__(self, bodies: Sequence[str]) -> None:
        self._messages = [Message(body, f"r-{at}", 1 + at % 7) for at, body in enumerate(bodies)]
        self.deleted: list[Message] = []

    def receive(self) -> list[Message]:
        return self._messages

    def delete(self, messages: Sequence[Message]) -> None:
        self.deleted += messages


def play(seed: int) -> str | None:
    """Play one case, within seconds. Returns the promise that it broke, or None."""
    rng = random.Random(seed)
    with ground(rng, _Untouched) as on:
        on.book.load(*(f"+141555501{number:02d}" for number in rng.sample(range(60), 2)))
        on.round()
        contact_ids = [row.contact_id for row in on.book.attempts()]
        bodies = [_body(rng, rng.choice(contact_ids), on.clock.utc().isoformat()) for _ in range(10)]
        try:
            for body in bodies:
                contact_event(body)
            Hearing(cast(EventQueue, _Queue(bodies)), on.following).hear()
            on.clock.now += timedelta(minutes=2).total_seconds()
            on.round()
        except Exception as error:
            return f"seed {seed}: {type(error).__name__} for an event"
        if any(count > 1 for count in on.rings().values()):
            return f"seed {seed}: an event has had a recipient dialed again"
        states = {row.state for row in on.book.attempts()} - {AttemptState.PLACED, AttemptState.ENDED}
        people = {row.state for row in on.book.recipients()} - {
            RecipientState.IN_PROGRESS,
            RecipientState.DONE,
        }
        if states or people:
            return f"seed {seed}: an event has made {states or people}"
    return None


def _body(rng: random.Random, contact_id: str, now: str) -> str:
    event: Any = {
        "source": "aws.connect",
        "detail-type": "Amazon Connect Contact Event",
        "time": now,
        "detail": {
            "eventType": rng.choice(_ENDS),
            "channel": "VOICE",
            "contactId": contact_id,
            "initiationTimestamp": now,
            "connectedToSystemTimestamp": now,
            "disconnectTimestamp": now,
            "disconnectReason": rng.choice(_REASONS),
            "answeringMachineDetectionStatus": "HUMAN_ANSWERED",
        },
    }
    for _ in range(rng.randint(0, 3)):
        event = damaged(rng, event)
    body = json.dumps(event)
    match rng.randrange(6):
        case 0:
            return rng.choice(ODD_TEXTS).decode("latin-1")
        case 1:
            return body[: rng.randrange(len(body) + 1)]
        case 2:
            return json.dumps({"Type": "Notification", "Message": body})
        case _:
            return body


def received(rng: random.Random) -> bytes:
    """A damaged answer to ReceiveMessage."""
    message = {
        "MessageId": "m",
        "ReceiptHandle": "r",
        "Body": _body(rng, "c-1", "2027-01-01T12:00:00Z"),
        "Attributes": {"ApproximateReceiveCount": "1"},
    }
    content: Any = {"Messages": [message] * rng.randint(1, 3)}
    for _ in range(rng.randint(0, 3)):
        content = damaged(rng, content)
    if rng.random() < 0.2:
        return answer(rng.choice([200, 500]), rng.choice(ODD_TEXTS))
    return answer(200, content)


def receive(queue: EventQueue) -> str | None:
    """Receive once. Returns the promise that it broke, or None."""
    try:
        messages = queue.receive()
    except EventsUnavailable:
        return None
    except Exception as error:
        return f"{type(error).__name__} out of the queue"
    for message in messages:
        contact_event(message.body)
        if not isinstance(message.receipt, str) or message.receives < 0:
            return "a message that cannot be deleted"
    return None
