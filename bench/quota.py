"""How much of the quota do real dial workers use, how often are they throttled, and what has Redis to do?

    python bench/quota.py [--rates 20] [--burst 5] [--workers 4] [--seconds 15]
    python bench/quota.py --rates 2,20,200 --workers 1,4,8 --seconds 120     (takes forty minutes)

Runs `dialer up --sandbox` once per row: real processes, Valkey, ledger and HTTP. The sandbox has exactly the
quota that the dialer is told, and its journal says when each request arrived. Begins when all workers are up;
what could have been used is counted from the first request to the last: one call, and the rate times that
span. Bursts as in bench/pacing.py. Nobody asks for outcomes meanwhile: they have a quota and a pacer of their
own. Evaluations are those of the pacer, and in brackets all that Redis did, kombu's own among them. CPU is
that of all dial workers, of feeding and the rest, of the sandbox, and of Redis. `stolen` is the share of the
processors' time that a virtual machine's host gave to others; a row with more than a few per cent says more
about the host than about the dialer.
"""

import argparse
import time
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime
from os import sysconf
from pathlib import Path
from typing import Any

from _office import Office, Stolen, markdown, office
from pacing import rates_of
from redis import Redis

from campaigns.ledger.health import alive
from worker.pacer import Rate
from worker.settings import DialerSettings

CAMPAIGN = """
[list]
key = "key"
"""
PARTS = {"redis": "Redis", "valkey": "Redis", "sandbox_process": "sandbox", "-n dial": "dial workers"}
"""What in a process's command line says which part of the dialer it is."""
COLUMNS = ("dial workers", "the rest", "sandbox", "Redis")


def row(rate: Rate, workers: int, seconds: float) -> list[str]:
    """One row of the table."""
    settings = {
        "DIALER_CALLS_PER_SECOND": rate.calls_per_second,
        "DIALER_BURST": rate.burst,
        "DIALER_MAX_ACTIVE_CALLS": 100_000,  # no obstacle
        "DIALER_FOLLOW_SECONDS": 3600,
    }
    # All of them answer in the sandbox, and none plays a fault.
    people = (
        {"key": n, "phone": f"+44207946{n // 70 % 10:02}{n % 70:02}"}
        for n in range(int(rate.calls_per_second * (seconds + 10)))
    )
    with office(people, settings, CAMPAIGN) as here, here.up("--speed", "1", "--workers", str(workers)):
        _wait_for_workers(here, workers)
        with Redis.from_url(DialerSettings(data_dir=here.data, redis_url=None).redis) as redis:
            here.dialer("start", "bench", "--sandbox")
            while here.ask("stats")["first_request_at"] is None:
                time.sleep(0.01)
            stolen, asked, cpu = Stolen(), _asked_of_redis(redis), _cpu(here)
            began = time.time()
            time.sleep(seconds)
            asked, cpu = _asked_of_redis(redis) - asked, _cpu(here) - cpu
            until = time.time()
        requests = [each for each in here.requests() if each["epoch"] <= until]
    rings = Counter(each["client_token"] for each in requests if each["rang"])
    throttled = sum(each["error"] == "TooManyRequestsException" for each in requests)
    could = 1 + rate.calls_per_second * (requests[-1]["epoch"] - requests[0]["epoch"])
    calls, hertz = sum(each["epoch"] >= began for each in requests), sysconf("SC_CLK_TCK")
    return [
        f"{rate.calls_per_second:g}/s, burst {rate.burst}",
        f"{workers}",
        f"{rings.total() / could:.2%}",
        f"{throttled / len(requests):.2%}",
        f"{rings.total() - len(rings)}",
        f"{asked['pacer'] / calls:.2f} ({asked['evalsha'] / calls:.2f})",
        f"{asked['reads'] / calls:.2f}",
        *(f"{cpu[part] * 1000 / hertz / calls:.2f}" for part in COLUMNS),
        f"{cpu.total() / hertz / (until - began):.0%}",
        f"{stolen}",
    ]


def _wait_for_workers(here: Office, workers: int) -> None:
    until = time.monotonic() + 120
    with here.ledger() as ledger:
        while sum(each.role == "dial" for each in alive(ledger, datetime.now(UTC))) < workers:
            if time.monotonic() > until:
                raise SystemExit(f"not all workers come up; see {here.data / 'logs'}")
            time.sleep(0.2)


def _asked_of_redis(redis: Any) -> Counter[str]:
    stats = redis.info("commandstats")
    evaluations, pacers, looks = (
        stats.get(f"cmdstat_{name}", {}).get("calls", 0) for name in ("evalsha", "pexpire", "hmget")
    )
    # Of all that talk to this Redis only the pacer's script uses PEXPIRE, once; and only the pacer HMGET.
    return Counter(evalsha=evaluations, pacer=pacers, reads=looks - pacers)


def _cpu(here: Office) -> Counter[str]:
    """Clock ticks of CPU by part of the dialer; nothing where there is no /proc."""
    mine = f"DIALER_DATA_DIR={here.data}".encode()
    spent: Counter[str] = Counter()
    for process in _processes():
        try:
            if mine not in (process / "environ").read_bytes():
                continue
            command = (process / "cmdline").read_text().replace("\0", " ")
            ticks = (process / "stat").read_text().rpartition(")")[2].split()[11:13]
        except OSError:  # it has just gone
            continue
        part = next((name for sign, name in PARTS.items() if sign in command), "the rest")
        spent[part] += sum(map(int, ticks))
    return spent


def _processes() -> Iterable[Path]:
    return (each for each in Path("/proc").glob("[0-9]*") if each.is_dir())


def main() -> None:
    """Print a row per quota and number of workers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rates", default="20", help="calls a second that the quota grants")
    parser.add_argument("--burst", type=int)
    parser.add_argument("--workers", default="4")
    parser.add_argument("--seconds", type=float, default=15.0)
    given = parser.parse_args()
    cpu = (f"CPU of {part}, ms a call" for part in COLUMNS)
    print(
        markdown(
            *("quota", "dial workers", "quota used", "throttled", "rings too many"),
            *("evaluations per call", "reads per call", *cpu, "CPU in all", "stolen"),
        )
    )
    print(markdown(*["---"] + ["--:"] * 12))
    for calls_per_second in map(float, given.rates.split(",")):
        for rate in rates_of(calls_per_second, given.burst):
            for workers in map(int, given.workers.split(",")):
                print(markdown(*row(rate, workers, given.seconds)), flush=True)


if __name__ == "__main__":
    main()
