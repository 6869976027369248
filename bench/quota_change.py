"""Does the shared rate back off when strangers take half of the quota, and come back when they go?

    python bench/quota_change.py [--seconds 180] [--calls-per-second 20] [--burst 5] [--workers 2]

Runs `dialer up --sandbox`: real processes, Valkey, ledger and HTTP. For the first sixth of the time the
sandbox has the quota that the dialer is told, for the next third half of it, then all of it again. Prints per
five seconds what the sandbox wrote down; then goes on until everybody is done, and says whether throttling
cost anybody an attempt. Fails if it did, or if somebody was rung twice or not at all.
"""

import argparse
import json
import time
from collections import Counter
from itertools import pairwise
from typing import Any

from _office import Office, Stolen, markdown, office, phones
from sqlalchemy import select

from campaigns.ledger.tables import attempts

WINDOW_SECONDS = 5.0


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seconds", type=float, default=180.0, help="all in all; a multiple of 30 is best")
    parser.add_argument("--calls-per-second", type=float, default=20.0)
    parser.add_argument("--burst", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    # All that the quota allows within the time, so that the list does not come to its end first.
    count = int(options.calls_per_second * options.seconds * 5 / 6) + options.burst
    settings = {
        "DIALER_CALLS_PER_SECOND": options.calls_per_second,
        "DIALER_BURST": options.burst,
        "DIALER_MAX_ACTIVE_CALLS": 10_000,  # no obstacle
    }
    stolen = Stolen()
    with office(phones(count), settings) as here:
        phases = _dial(here, options)
        requests = here.requests()
        more, lost = _cost(here)
    _print_table(phases, requests)
    ok = _print_sum(requests, count, more, lost)
    print(f"\n{options.workers} dial worker(s); {stolen} of the processors' time was stolen by the host")
    raise SystemExit(0 if ok else 1)


def _dial(here: Office, options: argparse.Namespace) -> list[tuple[float, float]]:
    """(since when in seconds since 1970, quota in calls per second), in order; the last one is the end."""
    full = options.calls_per_second
    with here.up("--speed", "30", "--workers", str(options.workers)):
        here.dialer("start", "bench", "--sandbox")
        while (began := here.ask("stats")["first_request_at"]) is None:
            time.sleep(0.05)
        phases = [(began, full)]
        for share, quota in ((1 / 6, full / 2), (1 / 2, full)):
            _sleep_until(began + share * options.seconds)
            here.ask("quota", {"calls_per_second": quota, "burst": options.burst})
            phases.append((time.time(), quota))
        _sleep_until(began + options.seconds)
        until = time.monotonic() + 600
        while any(_recipients(here)[state] for state in ("waiting", "in_progress")):
            if time.monotonic() > until:
                break
            time.sleep(2)
    return [*phases, (began + options.seconds, 0.0)]


def _recipients(here: Office) -> dict[str, int]:
    standing: dict[str, int] = json.loads(here.dialer("status", "bench", "--json"))["recipients"]
    return standing


def _cost(here: Office) -> tuple[int, int]:
    """(recipients who needed more than one attempt, recipients whose attempt ended without a call)."""
    with here.ledger() as ledger, ledger.read() as db:
        rows = db.execute(select(attempts.c.recipient_id, attempts.c.number, attempts.c.contact_id)).all()
    return (
        len({row.recipient_id for row in rows if row.number > 1}),
        len({row.recipient_id for row in rows if row.contact_id is None}),
    )


def _print_table(phases: list[tuple[float, float]], requests: list[dict[str, Any]]) -> None:
    began, ended = phases[0][0], phases[-1][0]
    print(markdown("seconds", "quota per second", "accepted per second", "throttled", "of the quota"))
    print(markdown("---", "--:", "--:", "--:", "--:"))
    since = began
    while since < ended:
        until = min(since + WINDOW_SECONDS, ended)
        here = [r for r in requests if since <= r["epoch"] < until]
        quota = sum(
            rate * max(0.0, min(until, end) - max(since, start))
            for (start, rate), (end, _) in pairwise(phases)
        )
        accepted = sum(r["rang"] for r in here)
        print(
            markdown(
                f"{since - began:.0f}–{until - began:.0f}",
                f"{quota / (until - since):.1f}",
                f"{accepted / (until - since):.1f}",
                sum(map(_throttled, here)),
                f"{accepted / quota:.0%}",
            )
        )
        since = until
    print()
    for (start, rate), (end, _) in pairwise(phases):
        here = [r for r in requests if start <= r["epoch"] < end]
        used = sum(r["rang"] for r in here) / (rate * (end - start))
        print(
            f"- {start - began:.0f}–{end - began:.0f} s, quota {rate:g}/s: {used:.0%} used, "
            f"{sum(map(_throttled, here))} of {len(here)} requests throttled"
        )


def _print_sum(requests: list[dict[str, Any]], recipients: int, more: int, lost: int) -> bool:
    refused = [r["client_token"] for r in requests if _throttled(r)]
    rings = Counter(r["destination"] for r in requests if r["rang"])
    never, twice = recipients - len(rings), sum(count > 1 for count in rings.values())
    print(f"- recipients: {recipients:,}, requests: {len(requests):,}, rings: {rings.total():,}")
    print(f"- throttled requests: {len(refused):,} ({len(refused) / len(requests):.2%})")
    most = max(Counter(refused).values(), default=0)
    print(f"- throttled recipients: {len(set(refused)):,}; the most for one of them: {most}")
    print(f"- of all recipients, lost an attempt: {lost}, needed a second one: {more}")
    print(f"- rung twice: {twice}, never rung: {never}")
    return lost == more == twice == never == 0


def _throttled(request: dict[str, Any]) -> bool:
    return bool(request["error"] == "TooManyRequestsException")


def _sleep_until(epoch: float) -> None:
    time.sleep(max(0.0, epoch - time.time()))


if __name__ == "__main__":
    main()
