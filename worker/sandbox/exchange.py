"""The calls: who is ringing, talking or gone, and what each client token stands for.

A call's whole future is fixed when it is placed: `placed_at`, `answered_at` and `ended_at` are three
moments, and every question is answered by comparing them with now. Nothing ticks.
"""

import heapq
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID, uuid4

from worker.sandbox.checks import CallRequest, Common
from worker.sandbox.numbers import OVER_QUOTA, Ending, Script

_INDEX = re.compile("[0-9a-f]{12}")


@dataclass(slots=True)
class Call:
    """One contact. Moments are seconds since 1970."""

    destination: str
    client_token: str | None
    common: Common
    attributes: bytes | None
    """JSON, and None for none: a dictionary would weigh three times as much."""
    placed_at: float
    answered_at: float | None
    ended_at: float
    ending: Ending
    detection: bool
    stopped: bool = False
    """StopContact ended it, earlier than it would have ended."""

    @property
    def outcome(self) -> str:
        """How it ended, or will."""
        return "stopped" if self.stopped else self.ending.label

    def alive(self, now: float) -> bool:
        """Whether it still rings or talks."""
        return now < self.ended_at

    def attribute_map(self) -> dict[str, str]:
        """The attributes as they were sent."""
        found: dict[str, str] = json.loads(self.attributes) if self.attributes else {}
        return found


@dataclass(frozen=True, slots=True)
class Placed:
    """What became of a request to start a call."""

    index: int
    replayed: bool = False
    """The token's call is still alive: this is that one, and nothing was placed."""
    rang_before: bool = False
    """The token had a call before, which is over."""


class Exchange:
    """All calls since the start, in the order in which they were placed."""

    def __init__(
        self, *, speed: float = 1.0, max_active_calls: int | None = None, salt: UUID | None = None
    ) -> None:
        """`speed` call seconds pass in one real second. `salt` is what the contact ids begin with."""
        self._speed = speed
        self._max_active_calls = max_active_calls
        self._prefix = str(salt or uuid4())[:24]
        self._calls: list[Call] = []
        self._latest: dict[str | None, int] = {}
        self._commons: dict[Common, Common] = {}
        self._ends: list[tuple[float, int]] = []
        self._active = 0
        self.max_active_seen = 0

    @property
    def calls(self) -> Sequence[Call]:
        """Every call; the position is the index that the other methods speak of. Read only."""
        return self._calls

    def start(self, asked: CallRequest, script: Script, now: float) -> Placed:
        """Place a call, or find the one that its token already stands for.

        The rule of 2018: a token whose call is alive returns that call; once it is over, the same token
        starts a new one.
        """
        before = self._latest.get(asked.client_token) if asked.client_token else None
        if before is not None and self._calls[before].alive(now):
            return Placed(before, replayed=True)
        # The list stays sorted by time even when the clock is set back; searching relies on it.
        placed_at = max(now, self._calls[-1].placed_at) if self._calls else now
        ending, ring, talk = script.ending, script.ring_seconds, script.talk_seconds
        if self._max_active_calls is not None and self.active(now) >= self._max_active_calls:
            ending, ring, talk = OVER_QUOTA, 0.0, 0.0
        answered_at = placed_at + ring / self._speed
        call = Call(
            asked.destination,
            asked.client_token,
            asked.common,
            json.dumps(asked.attributes, separators=(",", ":")).encode() if asked.attributes else None,
            placed_at,
            answered_at if ending.connects else None,
            answered_at + talk / self._speed,
            ending,
            asked.detection,
        )
        rang_before = before is not None and ending is not OVER_QUOTA
        return Placed(self.add(call, now), rang_before=rang_before)

    def add(self, call: Call, now: float) -> int:
        """Take in a call that was placed, now or before a restart. Returns its index."""
        call.common = self._commons.setdefault(call.common, call.common)
        index = len(self._calls)
        self._calls.append(call)
        # A call over the quota is over at once and rang nowhere: its token stands for nothing yet.
        if call.client_token and call.ending is not OVER_QUOTA:
            self._latest[call.client_token] = index
        if call.alive(now):
            heapq.heappush(self._ends, (call.ended_at, index))
            self._active += 1
            self.max_active_seen = max(self.max_active_seen, self.active(now))
        return index

    def active(self, now: float) -> int:
        """How many calls are ringing or talking."""
        while self._ends and self._ends[0][0] <= now:
            planned, index = heapq.heappop(self._ends)
            # A call that StopContact ended was counted down then.
            if self._calls[index].ended_at == planned:
                self._active -= 1
        return self._active

    def stop(self, index: int, now: float) -> bool:
        """End a call. False if it was over already."""
        call = self._calls[index]
        if not call.alive(now):
            return False
        self.active(now)
        if call.answered_at is not None and call.answered_at > now:
            call.answered_at = None
        call.stopped = True
        # Not before it began, whatever the clock did.
        call.ended_at = max(now, call.placed_at)
        self._active -= 1
        return True

    def contact_id(self, index: int) -> str:
        """The id that Connect's user sees: the salt, then the index, so that no table of ids is needed."""
        return f"{self._prefix}{index:012x}"

    def index_of(self, contact_id: str) -> int | None:
        """The index that a contact id stands for; None if it is not one of ours."""
        head, tail = contact_id[:24], contact_id[24:]
        if head != self._prefix or not _INDEX.fullmatch(tail):
            return None
        index = int(tail, 16)
        return index if index < len(self._calls) else None

    def find(self, instance_id: str, contact_id: str) -> int | None:
        """The index of a contact of that instance."""
        index = self.index_of(contact_id)
        if index is None or self._calls[index].common.instance_id != instance_id:
            return None
        return index

    def has_rung(self, client_token: str | None) -> bool:
        """Whether this token has made a telephone ring."""
        return client_token in self._latest

    def continue_ids(self, contact_id: str) -> None:
        """Go on numbering where an earlier life of the sandbox stopped; `contact_id` is any of its ids."""
        self._prefix = contact_id[:24]
