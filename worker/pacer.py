"""One rate for all workers: everybody who places calls waits here for a slot of their own.

The quota of Amazon Connect is a token bucket per account, Region and API: `calls_per_second` flow in, `burst`
fit in. The slots handed out here lie 1 / (0.999 × calls_per_second) apart, so AWS's bucket fills faster than
we drain it; it is never short as long as our own burst and our lateness together stay below its burst.
"""

import logging
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redis import Redis

from worker.redis_trouble import UNREACHABLE, trouble_of

log = logging.getLogger(__name__)

_SCRIPT = Path(__file__).with_name("pacer.lua").read_text(encoding="utf-8")

# The share of the quota that is used. Redis's clock may run ahead of AWS's: by 0.05 % while ntpd corrects it,
# and by 0.01 % where nothing does. Then AWS's bucket still gains on us. chrony may make it run faster, but
# only until it is right again; what is too much then, the burst holds, or a throttle tells.
_USED = 0.999
_FIELDS = ("born", "next", "seen", "share", "cut", "deaf", "wary", "told")
# As in pacer.lua.
_REGAINED_PER_SECOND = 0.01
# A busy machine wakes its threads tens of milliseconds late, all of them alike: that shifts the calls without
# bunching them. At 200/s a burst of 5 would allow 15 ms only, and slots would be dropped all along.
_LEAST_LATENESS_SECONDS = 0.05
# Later than this, something stood still, and what else has stood still is not known.
_MOST_LATENESS_SECONDS = 1.0


class PacerUnavailable(Exception):
    """Redis does not answer, so nobody knows when the next call may start, and nobody dials."""

    code: str
    """Redis's own (READONLY, OOM …), or one of worker/redis_trouble.py."""

    def __init__(self, error: BaseException | None = None) -> None:
        said = self.__doc__ or ""
        self.code = "away"
        if error is not None:
            trouble = trouble_of(error)
            self.code = trouble.code
            if trouble.code.isupper():  # the server's own words; who is not reached at all says nothing
                said = f"{said.rstrip('.')} ({trouble.words})"
        super().__init__(said)


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
        """How many calls we start at once after a pause: one, and another for each five of the burst.

        So many slots are made up for that nobody was there to take. The rest of the burst is worth more as
        room for lateness, and for what the network does to the calls' distances.
        """
        return 1 + self.burst // 5

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
    clock: int
    """What Redis's clock said."""
    at: float
    """The same moment by the pacer's monotonic clock, or a little earlier."""


@dataclass(frozen=True, slots=True)
class PacerState:
    """What a status display shows of a bucket."""

    calls_per_second: float
    """The rate of new slots now: 0.999 of the quota, or less after throttling."""
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
        self._redis = redis
        # Called by its SHA1; redis-py loads it again when a restart or SCRIPT FLUSH has forgotten it.
        self._script = redis.register_script(_SCRIPT)
        self._bucket = bucket
        self._interval = 1e6 / (_USED * rate.calls_per_second)
        self._burst = rate.own_burst
        self._quota_burst = rate.burst
        self._seen = _Seen(0, 0, 0, 0.0)
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
            self._seen = _Seen(born, time_of_slot + granted, time_of_slot - wait, asked)
            if not granted:
                return None
            # Counted from before the question, so that answers that were long on their way are late as well.
            opens_at = asked + wait / 1e6
            slot = Slot(opens_at, opens_at + self._late_after)
            seconds = wait / 1e6 - lead_seconds
            if seconds > 0:
                self._sleep(seconds)
            # The slots of a short sleep are fewer than what the quota's burst forgives.
            ours = seconds <= self._late_after or self._still_ours(time_of_slot, born)
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

    def _still_ours(self, slot: int, born: int) -> bool:
        """Make sure after a long sleep: Redis may have forgotten our slot, and given its time to others.

        A reservation moved `next` beyond its slot. When it is not beyond it any more (flush, restart from an
        old snapshot, clock set back), or the slot is long past by Redis's clock (set ahead; this machine
        stood still), somebody else may have that time. What another thread has just heard saves the question.
        """
        if self._monotonic() - self._seen.at > self._late_after:
            asked = self._monotonic()
            clock, heard_born, next_slot, _, _ = self._look()
            self._seen = _Seen(int(heard_born), int(next_slot), int(clock), asked)
        seen = self._seen
        in_time = seen.clock - slot <= self._late_after * 1e6
        return seen.born == born and seen.next_slot > slot and in_time

    def throttled(self) -> None:
        """Tell everybody to slow down, because Connect said that we are too fast.

        After a first storm of throttles everybody rests until AWS's bucket is full again. A second one soon
        after it (10 s, or three times the quota's burst if that takes longer) cuts the rate to 70 %, not
        below 5 % of the full one; 1 % of the full rate comes back every second. At large rates storms of a
        few throttles are rested for only, up to 1 % of the calls of those 10 s. Further throttles count as
        the same storm until the slots handed out before are used up, and for one second more. Raises
        PacerUnavailable.
        """
        self._run("slow", self._quota_burst)

    def current(self) -> PacerState:
        """Look at the bucket without changing it. Raises PacerUnavailable."""
        clock, _, next_slot, seen, share = self._look()
        clock = max(clock, seen)  # it may have been set back since
        share = min(1.0, share + (clock - seen) / 1e6 * _REGAINED_PER_SECOND)
        return PacerState(
            calls_per_second=1e6 * share / self._interval,
            next_slot_seconds=max(0.0, next_slot - clock) / 1e6,
            share=share,
        )

    def _look(self) -> tuple[float, float, float, float, float]:
        """Redis's clock, and the bucket's born, next, seen and share; a read, which keeps nobody waiting."""
        try:
            with self._redis.pipeline(transaction=False) as reads:
                reads.time()
                reads.hmget(self._bucket, "born", "next", "seen", "share")
                (seconds, micro), bucket = reads.execute()
        except UNREACHABLE as error:
            if self._drop_if_damaged(error):
                return self._look()
            raise PacerUnavailable(error) from error
        clock = seconds * 1e6 + micro
        if bucket[0] is None:
            return clock, clock, clock + self._interval, clock, 1.0  # as the script would make it
        numbers = _numbers(bucket)
        if numbers is None:
            self._drop("not the pacer's")
            return self._look()
        born, next_slot, seen, share = numbers
        return clock, born, next_slot, seen, share

    def _run(self, task: str, *arguments: int) -> Any:
        try:
            return self._script(
                keys=[self._bucket], args=[task, repr(self._interval), self._burst, *arguments]
            )
        except UNREACHABLE as error:
            if self._drop_if_damaged(error):
                return self._run(task, *arguments)
            raise PacerUnavailable(error) from error

    def _drop_if_damaged(self, error: BaseException) -> bool:
        """Delete a bucket that something else has overwritten; kept, it would stop all dialing for good.

        The next visit makes a new one, which starts empty: as after a Redis that has lost its memory.
        """
        code = trouble_of(error).code
        if code == "WRONGTYPE":
            return self._drop("no hash")
        if code != "ERR":
            return False
        # The script has failed; of what it found in the bucket, perhaps.
        try:
            found = self._redis.hmget(self._bucket, *_FIELDS)
        except UNREACHABLE:
            return False
        empty = all(value is None for value in found)
        return not empty and _numbers(found) is None and self._drop("not the pacer's")

    def _drop(self, why: str) -> bool:
        log.warning("the pace in Redis was overwritten (%s) and starts anew", why)
        try:
            self._redis.delete(self._bucket)
        except UNREACHABLE as error:
            raise PacerUnavailable(error) from error
        return True


def _numbers(values: Sequence[bytes | str | None]) -> list[float] | None:
    """The bucket's fields as numbers, or None where one of them is none."""
    try:
        found = [float(value) for value in values if value is not None]
    except ValueError:
        return None
    return found if len(found) == len(values) and all(map(math.isfinite, found)) else None
