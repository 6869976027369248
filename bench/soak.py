"""An hour of dialing, a fault every two minutes: who rings twice, who is lost, and when is health wrong?

    python bench/soak.py [--minutes 60] [--calls-per-second 5] [--every 120] [--pool-mode transaction]

PostgreSQL behind a real PgBouncer, Valkey, and `dialer up --sandbox --workers 2` with default settings but
for the pace. Every two minutes one fault at random, for up to a minute (bench/_breakages.py). Every ten
seconds `dialer status --json` and `dialer health dial` are asked, and afterwards compared with the journal:

- `silent`: samples before which no telephone had rung for 25 s (a process that has vanished counts as alive
  for 20 s), though recipients were waiting;
- `unsaid`: of these, the ones in which status had no reason and health called the worker alive;
- `in vain`: samples with a reason although telephones rang at more than half the pace, before and after.

For each fault: seconds from its end until the next ring. Exit code 1 if a telephone rang twice, a recipient
was lost, a sample was unsaid, or ringing again took more than 60 s.
"""

import argparse
import csv
import json
import random
import sys
import tempfile
import threading
import time
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import phonenumbers
from _breakages import BREAKAGES, Breakage
from _site import Site

_SILENT_SECONDS = 25.0
_BOUND_SECONDS = 60.0


@dataclass(frozen=True)
class Sample:
    """What was said at one moment."""

    asked: float
    answered: float
    reason: str | None
    """Of status; what it printed if it failed."""
    healthy: bool
    waiting: int


@dataclass(frozen=True)
class Struck:
    """A fault that was brought about."""

    name: str
    began: float
    ended: float


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--calls-per-second", type=float, default=5.0)
    parser.add_argument("--every", type=float, default=120.0, help="seconds from one fault to the next")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pool-mode", choices=("transaction", "session"), default="transaction")
    parser.add_argument("--only", nargs="+", choices=[each.name for each in BREAKAGES])
    options = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="dialer-soak-")).resolve()
    print(f"in {home}", file=sys.stderr)
    settings = {
        "DIALER_CALLS_PER_SECOND": options.calls_per_second,
        "DIALER_MAX_ACTIVE_CALLS": 10_000,  # no obstacle
    }
    recipients = int((options.minutes + 3) * 60 * options.calls_per_second)
    site = Site(home, pool_mode=options.pool_mode)
    with site.standing(settings):
        numbers = list(islice(_numbers(), recipients))
        site.load(numbers, "[redial]\nmax_attempts = 1\n")
        with site.up("--workers", "2", "--speed", "20"):
            samples, struck = _play(site, options)
            site.dialer("pause", "bench")
            _until_settled(site)
        twice, lost, held = _accounts(site, numbers)
    return _report(site, samples, struck, twice, lost, held, options)


def _play(site: Site, options: argparse.Namespace) -> tuple[list[Sample], list[Struck]]:
    samples: list[Sample] = []
    over = threading.Event()
    until = time.monotonic() + 120
    while len(site.rings()) < 10:
        if time.monotonic() > until:
            raise SystemExit((site.home / "up.log").read_text())
        time.sleep(0.5)
    sampler = threading.Thread(target=_sample, args=(site, samples, over))
    sampler.start()
    struck: list[Struck] = []
    chance = random.Random(options.seed)
    possible = [each for each in BREAKAGES if each.possible(site)]
    if options.only:
        possible = [each for each in possible if each.name in options.only]
    bag: list[Breakage] = []
    try:
        end = time.monotonic() + options.minutes * 60
        while (began := time.monotonic()) + options.every <= end:
            if not bag:  # each once before any comes again
                bag = list(possible)
                chance.shuffle(bag)
            fault = bag.pop()
            start = time.time()
            print(f"{time.strftime('%H:%M:%S')} {fault.name}", file=sys.stderr, flush=True)
            fault.strike(site)
            struck.append(Struck(fault.name, start, time.time()))
            time.sleep(max(0.0, began + options.every - time.monotonic()))
    finally:
        over.set()
        sampler.join()
    return samples, struck


def _sample(site: Site, samples: list[Sample], over: threading.Event) -> None:
    while not over.is_set():
        asked = time.time()
        code, out, error = site.says("status", "bench", "--json")
        reason, waiting = error.strip() or out.strip(), 1
        if code == 0:
            answer = json.loads(out)
            reason, waiting = answer["reason"], answer["recipients"]["waiting"]
        health, _, _ = site.says("health", "dial")
        samples.append(Sample(asked, time.time(), reason, health == 0, waiting))
        over.wait(max(0.0, asked + 10 - time.time()))


def _until_settled(site: Site) -> None:
    """Wait until no call is under way, and what was in doubt has been searched for."""
    until = time.monotonic() + 15 * 60
    while time.monotonic() < until:
        answer = json.loads(site.dialer("status", "bench", "--json"))
        if not answer["recipients"]["in_progress"] and not answer["unknowns"]["searched"]:
            return
        time.sleep(5)


def _accounts(site: Site, numbers: list[str]) -> tuple[int, int, int]:
    """(second rings, lost, held) over the whole run."""
    rings = Counter(ring["destination"] for ring in site.rings())
    site.dialer("export", "bench", "-o", "results.csv")
    with (site.home / "results.csv").open(newline="", encoding="utf-8-sig") as file:
        rows = {row["phone"]: row for row in csv.DictReader(file)}
    missing = len(set(numbers) - set(rows))
    done = sum(row["state"] == "done" and not rings[phone] for phone, row in rows.items())
    held = sum(row["state"] == "held" for row in rows.values())
    return sum(rings.values()) - len(rings), missing + done, held


def _report(
    site: Site,
    samples: list[Sample],
    struck: list[Struck],
    twice: int,
    lost: int,
    held: int,
    options: argparse.Namespace,
) -> int:
    times = sorted(ring["epoch"] for ring in site.rings())
    print("| fault | times | again after, s | max |\n| --- | --: | --- | --: |")
    again: dict[str, list[float]] = {}
    for each in struck:
        after = bisect_right(times, each.ended)
        seconds = times[after] - each.ended if after < len(times) else float("inf")
        again.setdefault(each.name, []).append(seconds)
    for name, waits in sorted(again.items()):
        shown = ", ".join(f"{wait:.1f}" for wait in waits)
        print(f"| {name} | {len(waits)} | {shown} | {max(waits):.0f} |")

    def rang(begin: float, end: float) -> int:
        return bisect_right(times, end) - bisect_left(times, begin)

    silent = [
        each for each in samples if each.waiting and not rang(each.asked - _SILENT_SECONDS, each.answered)
    ]
    unsaid = [each for each in silent if each.reason is None and each.healthy]
    half = options.calls_per_second * 10 / 2
    in_vain = [
        each
        for each in samples
        if each.reason and rang(each.asked - 10, each.asked) > half < rang(each.answered, each.answered + 10)
    ]
    for each in unsaid:
        print(f"unsaid: {time.strftime('%H:%M:%S', time.localtime(each.asked))}", file=sys.stderr)
    for reason, count in Counter(each.reason for each in in_vain).most_common():
        print(f"in vain, {count} times: {reason}", file=sys.stderr)
    for reason, count in Counter(each.reason for each in silent).most_common():
        print(f"silent, {count} times: {reason}", file=sys.stderr)
    print()
    print("| faults | rings | second rings | lost | held | samples | silent | unsaid | in vain |")
    print("| --: | --: | --: | --: | --: | --: | --: | --: | --: |")
    counts = [
        len(struck),
        len(times),
        twice,
        lost,
        held,
        len(samples),
        len(silent),
        len(unsaid),
        len(in_vain),
    ]
    print("| " + " | ".join(f"{count:,}" for count in counts) + " |")
    late = [seconds for waits in again.values() for seconds in waits if seconds > _BOUND_SECONDS]
    return 1 if twice or lost or unsaid or late else 0


def _numbers() -> Iterator[str]:
    """Numbers that are kept for fiction and that a person answers in the sandbox, whatever their area."""
    for area in range(201, 990):
        if phonenumbers.is_valid_number(phonenumbers.parse(f"+1{area}5550100")):
            for last in range(70):
                yield f"+1{area}55501{last:02}"


if __name__ == "__main__":
    sys.exit(main())
