"""One rate for all workers: everybody who places calls waits here for a slot of their own.

The quota of Amazon Connect is a token bucket per account, Region and API: `calls_per_second` flow in, `burst`
fit in. The slots handed out here lie 1 / (0.995 × calls_per_second) apart, so AWS's bucket fills faster than
we drain it; it is never short as long as our own burst and our lateness together stay below its burst.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redis import Redis, RedisError

_SCRIPT = Path(__file__).with_name("pacer.lua").read_text(encoding="utf-8")

# The share of the quota that is used: AWS's clock and Redis's may drift apart by half a percent.
_USED = 0.995
# Slots that may be taken at once after a pause, if the quota's burst has room for them. While callers queue,
# as in a campaign, there is nothing to catch up with: the burst is worth more as room for lateness.
_OWN_BURST = 2
# What is left free of the quota's burst: for what the network does to the calls' distances.
_SPARE = 1
# A busy machine wakes its threads tens of milliseconds late, all of them alike: that shifts the calls without
# bunching them. At 200/s the burst would allow 10 ms only, and nearly every slot would be dropped.
_LEAST_LATENESS_SECONDS = 0.05
# Later than this, something stood still, and what else has stood still is not known.
_MOST_LATENESS_SECONDS = 1.0


class PacerUnavailable(Exception):
    """Redis does not answer, so nobody knows when the next call may start, and nobody dials."""

    def __init__(self) -> None:
        super().__init__(self.__doc__)


@dataclass(frozen=True, slots=True)
class Rate:
    """A quota as AWS grants it. Raises ValueError when it cannot be one."""

    calls_per_second: float
    """How many calls a second the bucket gains. More than 0."""
    burst: int
    """How many calls fit into the full bucket. At least 1."""

    def __post_init__(self) -> None:
        if not 0 < self.calls_per_second <= 100_000:
            raise ValueError("calls_per_second must be more than 0, for instance 2")
        if self.burst < 1:
            raise ValueError("burst must be at least 1, for instance 5")

    @property
    def own_burst(self) -> int:
        """How many calls we start at once after a pause: 2, and 1 when the burst is small."""
        return max(1, min(_OWN_BURST, self.burst - _SPARE - 1))

    @property
    def lateness_seconds(self) -> float:
        """How late a call may leave after its slot: (burst - own burst) / calls_per_second.

        While every call is at most that late, no more calls bunch up than the quota's burst still holds:
        what a standstill holds back is at most what AWS's bucket gains in the meantime, until it is full.
        Not below 0.05 s and not above 1 s; 1 s for the default quota of 2/s with burst 5.
        """
        spare = (self.burst - self.own_burst) / self.calls_per_second
        return min(max(spare, _LEAST_LATENESS_SECONDS), _MOST_LATENESS_SECONDS)


@dataclass(frozen=True, slots=True)
class Slot:
    """The time at which one call may leave, by the pacer's monotonic clock."""

    opens_at: float
    usable_until: float
    """Later, the call would pile onto the calls of others."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """What this process last heard of the bucket."""

    born: int
    next_slot: int
    """No slot before this one is given to anybody any more."""
    at: float


@dataclass(frozen=True, slots=True)
class PacerState:
    """What a status display shows of a bucket."""

    calls_per_second: float
    """The rate of new slots now: 0.995 of the quota, or less after throttling."""
    next_slot_seconds: float
    """Until the next free slot; 0 when a call could start now."""
    share: float
    """The part of that rate that throttling has left: 1 = all of it, 0.05 at least."""


def bucket_name(account: str, region: str, api: str) -> str:
    """The Redis key of one quota, which is per account, Region and API.

    The braces keep a bucket on one node of a Redis Cluster.
    """
    return f"dialer:pace:{{{account}:{region}:{api}}}"


class Pacer:
    """Hands out the slots of one bucket. Threads may share it; processes share the bucket through Redis.

    redis: a client, TCP or Unix socket; best with a socket_timeout of a second or two.
    bucket: the key, from `bucket_name`.
    late_after_seconds: how late a slot may be used; by default `Rate.lateness_seconds`.
    """

    def __init__(
        self,
        redis: Redis,
        bucket: str,
        rate: Rate,
        *,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
        late_after_seconds: float | None = None,
    ) -> None:
        # Called by its SHA1; redis-py loads it again when a restart or SCRIPT FLUSH has forgotten it.
        self._script = redis.register_script(_SCRIPT)
        self._bucket = bucket
        self._interval = 1e6 / (_USED * rate.calls_per_second)
        self._burst = rate.own_burst
        self._quota_burst = rate.burst
        self._seen = _Seen(0, 0, 0.0)
        self._late_after = rate.lateness_seconds if late_after_seconds is None else late_after_seconds
        self._sleep = sleep
        self._monotonic = monotonic

    def wait(self, horizon_seconds: float, *, lead_seconds: float = 0.0) -> Slot | None:
        """Sleep until the caller's own slot, or until `lead_seconds` before it; first come, first served.

        The lead is for what has to be done before the call leaves; `until` then sleeps for the rest.
        Returns None, without a slot, when the next free one lies more than `horizon_seconds` after this
        call began. Raises PacerUnavailable.
        """
        deadline = self._monotonic() + horizon_seconds
        while True:
            asked = self._monotonic()
            left = max(0.0, deadline - asked)
            granted, wait, time_of_slot, born = self._run("reserve", round(left * 1e6))
            self._seen = _Seen(born, time_of_slot, asked)
            if not granted:
                return None
            # Counted from before the question, so that answers that were long on their way are late as well.
            opens_at = asked + wait / 1e6
            slot = Slot(opens_at, opens_at + self._late_after)
            seconds = wait / 1e6 - lead_seconds
            if seconds > 0:
                self._sleep(seconds)
            ours = self._still_ours(seconds, time_of_slot, born)
            if ours and self.usable(slot):
                return slot
            # Late calls would pile onto the calls of others. The slot is given up, and a new one asked for.
            if self._monotonic() >= deadline:
                return None

    def until(self, slot: Slot) -> None:
        """Sleep for what is left until a slot opens."""
        seconds = slot.opens_at - self._monotonic()
        if seconds > 0:
            self._sleep(seconds)

    def usable(self, slot: Slot) -> bool:
        """Whether a call may still leave on this slot. To be asked again right before it does."""
        return self._monotonic() <= slot.usable_until

    def _still_ours(self, slept_seconds: float, slot: int, born: int) -> bool:
        """Make sure after a long sleep: Redis may have restarted and given our time to others.

        The slots of a short time are fewer than what the quota's burst forgives. So neither a short sleep
        nor one in which another thread has lately heard of a later slot is worth a second question.
        """
        if slept_seconds <= self._late_after:
            return True
        seen = self._seen
        if self._monotonic() - seen.at <= self._late_after:
            return seen.born == born and seen.next_slot >= slot
        asked = self._monotonic()
        holds, next_slot = self._run("confirm", slot, born, round(self._late_after * 1e6))
        if holds:
            self._seen = _Seen(born, next_slot, asked)
        return bool(holds)

    def throttled(self) -> None:
        """Tell everybody to slow down, because Connect said that we are too fast.

        After a first storm of throttles everybody rests until AWS's bucket is full again. A second one soon
        after it (10 s, or three times the quota's burst if that takes longer) cuts the rate to 70 %, not
        below 5 % of the full one; 1 % of the full rate comes back every second. Further throttles count as
        the same storm until the slots handed out before are used up, and for one second more. Raises
        PacerUnavailable.
        """
        self._run("slow", self._quota_burst)

    def current(self) -> PacerState:
        """Look at the bucket without changing it. Raises PacerUnavailable."""
        interval, wait = self._run("look")
        return PacerState(
            calls_per_second=1e6 / float(interval),
            next_slot_seconds=wait / 1e6,
            share=self._interval / float(interval),
        )

    def _run(self, task: str, *arguments: int) -> Any:
        try:
            return self._script(
                keys=[self._bucket], args=[task, repr(self._interval), self._burst, *arguments]
            )
        except RedisError as error:
            raise PacerUnavailable from error
