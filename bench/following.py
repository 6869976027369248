"""How many requests does it cost to learn how calls ended, and how soon is it known?

    python bench/following.py [--calls-per-second 2] [--recipients 300] [--lost 0.2 --replay-window 0]

Runs `dialer up --sandbox --speed 1` in real time with the default settings, but for the rate of calls, and
for DIALER_MAX_ACTIVE_CALLS, which is no obstacle: real processes, Valkey, ledger and HTTP. Calls last as the
sandbox has it: those that are answered 13 to 72 s, those that are not 60 s. `--lost` is the share of calls
whose answer is lost after they were placed, evenly by a 500 and by a closed connection: those are searched
for, all of them without a replay window.
The sandbox has the default quotas of DescribeContact (10/s, burst 15) and SearchContacts (0.5/s, burst 1) and
counts what it refuses. How late an end is known is what the ledger writes down against the sandbox's journal:
from the end of the call until its recipient was done. Prints a row of a Markdown table.
"""

import argparse
import json
import sys
import time

from _office import Office, Stolen, markdown, office, phones
from sqlalchemy import select

from campaigns.ledger import Ledger
from campaigns.ledger.tables import attempts

HEADER = (
    "calls/s",
    "answers lost",
    "calls",
    "DescribeContact per call",
    "most in a second",
    "throttled",
    "SearchContacts per call",
    "most in 10 s",
    "throttled",
    "end known after, s: median",
    "95 %",
    "all known after the last ring, s",
    "stolen",
)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--calls-per-second", type=float, default=2.0)
    parser.add_argument("--recipients", type=int, default=300)
    parser.add_argument("--lost", type=float, default=0.0)
    parser.add_argument("--replay-window", type=float, help="seconds; by default the dialer's own")
    parser.add_argument("--header", action="store_true", help="print the table's head too")
    options = parser.parse_args()
    settings = {
        "DIALER_CALLS_PER_SECOND": options.calls_per_second,
        "DIALER_BURST": max(5, int(options.calls_per_second)),
        "DIALER_MAX_ACTIVE_CALLS": 10_000,
    }
    if options.replay_window is not None:
        settings["DIALER_REPLAY_WINDOW_SECONDS"] = options.replay_window
    stolen = Stolen()
    with office(phones(options.recipients, range(85)), settings) as here:
        with here.up("--speed", "1"):
            if options.lost:
                here.ask("faults", {"error_after": options.lost / 2, "drop_after": options.lost / 2})
            here.dialer("start", "bench", "--sandbox")
            seen, ends = _watch(here)
            stats = here.ask("stats")
        rings = [line for line in here.requests() if line["rang"]]
    # A busy line may have been asked twice; only one of its two calls is in the ledger.
    known = [line for line in rings if line["contact_id"] in ends]
    late = sorted(ends[line["contact_id"]] - line["call"]["ended_at"] for line in known)
    per = {name: stats["other_requests"].get(name, 0) / len(rings) for name in seen}
    throttled = stats["other_throttled"]
    if options.header:
        print(markdown(*HEADER))
        print(markdown(*["--:"] * len(HEADER)))
    print(
        markdown(
            f"{options.calls_per_second:g}",
            f"{options.lost:.0%}",
            len(rings),
            f"{per['DescribeContact']:.2f}",
            _most(seen["DescribeContact"], 1.0),
            throttled.get("DescribeContact", 0),
            f"{per['SearchContacts']:.2f}",
            _most(seen["SearchContacts"], 10.0),
            throttled.get("SearchContacts", 0),
            f"{late[len(late) // 2]:.0f}",
            f"{late[len(late) * 95 // 100]:.0f}",
            f"{max(ends.values()) - rings[-1]['epoch']:.0f}",
            stolen,
        )
    )


def _watch(here: Office) -> tuple[dict[str, list[tuple[float, int]]], dict[str, float]]:
    """Until the campaign is finished: (requests so far by operation, and when; when each end was known)."""
    began = (time.time(), 0)
    seen = {"DescribeContact": [began], "SearchContacts": [began]}
    ends: dict[str, float] = {}
    last = 0.0
    with here.ledger() as ledger:
        while True:
            others = here.ask("stats")["other_requests"]
            now = time.time()
            for name, counted in seen.items():
                counted.append((now, others.get(name, 0)))
            for contact_id in _ended(ledger):
                ends.setdefault(contact_id, now)
            if now - last > 5:
                last = now
                state = json.loads(here.dialer("status", "bench", "--json"))
                print(f"{state['attempts']} {state['reason'] or ''}", file=sys.stderr)
                if state["state"] == "finished":
                    return seen, ends
            time.sleep(0.2)


def _ended(ledger: Ledger) -> list[str]:
    """The contacts whose end is known."""
    with ledger.read() as db:
        return list(db.execute(select(attempts.c.contact_id).where(attempts.c.state == "ended")).scalars())


def _most(counted: list[tuple[float, int]], seconds: float) -> int:
    """The most requests within so many seconds."""
    most = first = 0
    for now, count in counted:
        while counted[first][0] < now - seconds:
            first += 1
        most = max(most, count - counted[first][1])
    return most


if __name__ == "__main__":
    main()
