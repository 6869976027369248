"""A stand-in for Amazon Connect with its documented semantics, in simulated time.

It has the methods of `worker.connect.Connect` that the dialer uses. It keeps the truth: which telephone rang
when, for which client token. Nothing in it is shared with the sandbox of the dialer.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.model.world import MONDAY_NOON, World
from worker.connect import CallOrder, CallReport, Listed, SearchPage
from worker.connect_errors import (
    Ambiguous,
    ConnectError,
    Misconfigured,
    NeverSent,
    NoCapacity,
    Refused,
    Throttled,
    Withheld,
)

PAGE = 4
"""Calls on a page of a search. Small, so that searches have several."""


@dataclass
class Ring:
    """One telephone that rang: a call in the truth."""

    backend: str
    contact_id: str
    token: str
    phone: str
    instance_id: str
    starts: float
    answered: float | None
    ends: float
    reason: str | None
    visible_from: float
    """From then on DescribeContact knows it."""
    listed_from: float
    """From then on SearchContacts lists it."""
    tells_phone: bool
    sent_at: float
    attributes: dict[str, str] = field(default_factory=dict)
    name: str | None = None

    def was_answered(self, now: float) -> bool:
        """Whether it was picked up by that time."""
        return self.answered is not None and self.answered <= now and self.answered < self.ends


@dataclass
class Manners:
    """How a backend behaves in one episode. Rates are shares of the requests."""

    lost_answer: float = 0.0
    lost_request: float = 0.0
    never_sent: float = 0.0
    throttled: float = 0.0
    capacity: float = 0.0
    refused: float = 0.0
    misconfigured: float = 0.0
    longest_flight: float = 1.0
    """Seconds from sending until the telephone rings."""
    shortest_call: float = 1.0
    longest_call: float = 60.0
    answered: float = 0.5
    odd_end: float = 0.0
    """Calls whose end Connect gives no known reason for."""
    visible_after: float = 10.0
    """At most so many seconds after it began DescribeContact knows a call."""
    listed_after: float = 30.0
    """At most so many seconds after its end SearchContacts lists a call."""
    lists_in_progress: bool = False
    hides_phone: float = 0.0
    clock_off: float = 0.0
    """By how much the backend's clock is ahead of the database's, in seconds."""
    event_sent: float = 0.5
    """The share of the calls whose end is told by a contact event."""


@dataclass
class Backend:
    """One of the two places that calls can be placed at."""

    name: str
    world: World
    manners: Manners
    on_send: Callable[[str, CallOrder], None]
    on_ring: Callable[[Ring], None]
    rings: list[Ring] = field(default_factory=list)
    by_id: dict[str, Ring] = field(default_factory=dict)
    by_token: dict[str, list[Ring]] = field(default_factory=dict)
    events: list[str] = field(default_factory=list)
    """Contact events on their way."""
    down: dict[str, tuple[float, str]] = field(default_factory=dict)
    """Operation → (until when it does not answer, how)."""

    # --- what the dialer asks for -----------------------------------------------------------------------

    def place(self, process: Any, order: CallOrder, send_before: Callable[[], bool] | None) -> str:
        """StartOutboundVoiceContact."""
        world, chance, manners = self.world, self.world.chance, self.manners
        world.point(process)  # names are resolved, a connection is opened
        if chance.random() < manners.never_sent:
            raise NeverSent("EndpointConnectionError", "no connection")
        if send_before is not None and not send_before():
            raise Withheld("LastLook", "the last look before sending said no")
        self.on_send(self.name, order)
        down = self._down("place")
        flight = chance.uniform(0.0, manners.longest_flight)
        fate = chance.random()
        for share, error in (
            (manners.throttled, Throttled("TooManyRequestsException", "too fast", 429)),
            (manners.capacity, NoCapacity("LimitExceededException", "a quota is used up", 429)),
            (manners.refused, Refused("DestinationNotAllowedException", "not to this country", 403)),
            (manners.misconfigured, Misconfigured("AccessDeniedException", "a right is missing", 403)),
        ):
            if fate < share:
                world.sleep(process, flight)
                raise error
            fate -= share
        if fate < manners.lost_request:
            self._lose(process)
        sent_at = world.now
        answer: dict[str, str] = {}
        world.at(world.now + flight, lambda: answer.update(contact_id=self._ring(order, sent_at)))
        lost = down is not None or fate - manners.lost_request < manners.lost_answer
        if lost:
            self._lose(process)
        world.sleep(process, flight)
        while "contact_id" not in answer:
            world.sleep(process, 0.01)
        return answer["contact_id"]

    def describe(self, process: Any, instance_id: str, contact_id: str) -> CallReport | None:
        """DescribeContact."""
        self._answer_or_fail(process, "describe")
        ring = self.by_id.get(contact_id)
        now = self.world.now
        if ring is None or ring.instance_id != instance_id or now < ring.visible_from:
            return None
        over = ring.ends <= now
        return CallReport(
            initiated_at=self._instant(ring.starts),
            answered_at=self._instant(ring.answered) if ring.was_answered(now) else None,
            ended_at=self._instant(ring.ends) if over else None,
            disconnect_reason=ring.reason if over else None,
            answering_machine_status=None,
            phone=ring.phone if ring.tells_phone else None,
            attributes=ring.attributes,
            name=ring.name,
        )

    def search(
        self,
        process: Any,
        instance_id: str,
        since: datetime,
        until: datetime,
        next_token: str | None,
        attribute: tuple[str, Sequence[str]] | None,
        names: Sequence[str] | None,
    ) -> SearchPage:
        """SearchContacts, over the time of initiation."""
        self._answer_or_fail(process, "search")
        first = since.replace(microsecond=0)
        last = until.replace(microsecond=0) + timedelta(seconds=1)
        found = sorted(
            (ring.starts, ring.contact_id, ring)
            for ring in self.rings
            if ring.instance_id == instance_id
            and first <= self._instant(ring.starts) <= last
            and self.lists(ring)
            and (attribute is None or ring.attributes.get(attribute[0]) in attribute[1])
            and (names is None or ring.name in names)
        )
        begin = int(next_token or 0)
        page = [self._listed(ring) for _, _, ring in found[begin : begin + PAGE]]
        more = begin + PAGE < len(found)
        return SearchPage(page, str(begin + PAGE) if more else None)

    def stop(self, process: Any, instance_id: str, contact_id: str) -> bool:
        """StopContact."""
        self._answer_or_fail(process, "stop")
        ring = self.by_id.get(contact_id)
        now = self.world.now
        if ring is None or now < ring.visible_from:
            return False
        if now < ring.ends:
            ring.ends = now
            ring.listed_from = min(ring.listed_from, now + self.manners.listed_after)
            if not ring.was_answered(now):
                ring.answered, ring.reason = None, "API"
        return True

    # --- the truth --------------------------------------------------------------------------------------

    def lists(self, ring: Ring) -> bool:
        """Whether SearchContacts lists it now."""
        if self.manners.lists_in_progress:
            return self.world.now >= ring.visible_from
        return self.world.now >= ring.listed_from

    def alive(self) -> list[Ring]:
        """The calls in progress."""
        return [ring for ring in self.rings[-200:] if ring.ends > self.world.now]

    def _ring(self, order: CallOrder, sent_at: float) -> str:
        world, chance, manners = self.world, self.world.chance, self.manners
        for earlier in self.by_token.get(order.client_token, []):
            # The documentation of 2018: while the call lives its token returns its id; once it is over, a
            # new call is started.
            if earlier.ends > world.now:
                return earlier.contact_id
        seconds = chance.uniform(manners.shortest_call, manners.longest_call)
        answered = reason = None
        if chance.random() < manners.answered:
            answered = world.now + seconds * chance.uniform(0.1, 0.9)
            reason = "CUSTOMER_DISCONNECT"
        elif chance.random() < manners.odd_end:
            reason = "SOMETHING_NEW"
        else:
            reason = chance.choice(("TELECOM_BUSY", "TELECOM_TIMEOUT", "TELECOM_UNANSWERED", "TELECOM_BUSY"))
            if reason == "TELECOM_BUSY":
                seconds = min(seconds, 2.0)
        options = order.options
        attributes = dict(order.attributes)
        if options.search_attribute is not None:
            attributes[options.search_attribute] = order.client_token
        ends = world.now + seconds
        ring = Ring(
            backend=self.name,
            contact_id=f"{self.name}-{len(self.rings) + 1}",
            token=order.client_token,
            phone=order.phone,
            instance_id=options.instance_id,
            starts=world.now,
            answered=answered,
            ends=ends,
            reason=reason,
            visible_from=world.now + chance.uniform(0.0, manners.visible_after),
            listed_from=ends + chance.uniform(0.0, manners.listed_after),
            tells_phone=chance.random() >= manners.hides_phone,
            sent_at=sent_at,
            attributes=attributes,
            name=options.name_of(order.client_token),
        )
        self.on_ring(ring)
        self.rings.append(ring)
        self.by_id[ring.contact_id] = ring
        self.by_token.setdefault(ring.token, []).append(ring)
        if chance.random() < manners.event_sent:
            world.at(ends + chance.uniform(0.0, 20.0), lambda: self.events.append(self._event(ring)))
        return ring.contact_id

    def _event(self, ring: Ring) -> str:
        detail: dict[str, Any] = {
            "eventType": "DISCONNECTED",
            "contactId": ring.contact_id,
            "channel": "VOICE",
            "initiationTimestamp": self._instant(ring.starts).isoformat(),
            "disconnectTimestamp": self._instant(ring.ends).isoformat(),
            "disconnectReason": ring.reason,
        }
        if ring.was_answered(ring.ends):
            detail["connectedToSystemTimestamp"] = self._instant(ring.answered or 0.0).isoformat()
        return json.dumps(
            {"source": "aws.connect", "detail-type": "Amazon Connect Contact Event", "detail": detail}
        )

    def _listed(self, ring: Ring) -> Listed:
        return Listed(ring.contact_id, self._instant(ring.starts), ring.name)

    def _instant(self, seconds: float) -> datetime:
        """A true time as the backend's clock shows it."""
        return (MONDAY_NOON + timedelta(seconds=seconds + self.manners.clock_off)).astimezone(UTC)

    def _down(self, operation: str) -> str | None:
        until, how = self.down.get(operation, (0.0, ""))
        return how if self.world.now < until else None

    def _answer_or_fail(self, process: Any, operation: str) -> None:
        self.world.point(process)
        how = self._down(operation)
        if how is not None:
            raise _failures(how)
        if self.world.chance.random() < self.manners.throttled:
            raise Throttled("TooManyRequestsException", "too fast", 429)

    def _lose(self, process: Any) -> None:
        """The answer does not come: a 500 or a closed connection at once, a time-out after ten seconds."""
        how = self.world.chance.choice(("500", "closed", "timeout"))
        self.world.note(f"its answer will not come ({how})")
        self.world.sleep(process, 10.0 if how == "timeout" else self.world.chance.uniform(0.0, 1.0))
        raise _failures(how)


def _failures(how: str) -> ConnectError:
    match how:
        case "500":
            return Ambiguous("InternalServiceException", "AWS did not say", 500)
        case "closed":
            return Ambiguous("ConnectionClosedError", "AWS did not say")
        case "timeout":
            return Ambiguous("ReadTimeoutError", "AWS did not say")
        case "forbidden":
            return Misconfigured("AccessDeniedException", "a right is missing", 403)
        case "unreachable":
            return NeverSent("EndpointConnectionError", "no connection")
    raise AssertionError(how)


@dataclass(frozen=True)
class Client:
    """A backend as one process has it: in the place of `worker.connect.Connect`."""

    backend: Backend
    process: Any

    def place(self, order: CallOrder, *, send_before: Callable[[], bool] | None = None) -> str:
        """As `Connect.place`."""
        return self.backend.place(self.process, order, send_before)

    def describe(self, instance_id: str, contact_id: str) -> CallReport | None:
        """As `Connect.describe`."""
        return self.backend.describe(self.process, instance_id, contact_id)

    def search(
        self,
        instance_id: str,
        since: datetime,
        until: datetime,
        next_token: str | None = None,
        *,
        attribute: tuple[str, Sequence[str]] | None = None,
        names: Sequence[str] | None = None,
    ) -> SearchPage:
        """As `Connect.search`."""
        return self.backend.search(self.process, instance_id, since, until, next_token, attribute, names)

    def stop(self, instance_id: str, contact_id: str) -> bool:
        """As `Connect.stop`."""
        return self.backend.stop(self.process, instance_id, contact_id)
