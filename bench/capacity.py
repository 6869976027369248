"""How much of an instance's concurrent calls is used, and are there ever more?

    python bench/capacity.py [--max-active-calls 10] [--call-seconds 5-15] [--recipients 200]

Runs `dialer up --sandbox --speed 1` in real time with a quota of calls per second that is no obstacle, so
that only DIALER_MAX_ACTIVE_CALLS holds the dialing back: real processes, Valkey, ledger and HTTP. Nothing
else is set, so DescribeContact is asked at its default of 10/s. The sandbox counts the calls in progress at
every moment, and its journal says when each began and ended. What is used is counted from when the calls
first reached the limit until the last recipient was dialed. Prints a row of a Markdown table.
"""

import argparse
import json
import time

from _office import Stolen, markdown, office, phones


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--max-active-calls", type=int, default=10)
    parser.add_argument("--call-seconds", default="5-15", help="of calls that ring, least and most")
    parser.add_argument("--recipients", type=int, default=200)
    options = parser.parse_args()
    settings = {
        "DIALER_CALLS_PER_SECOND": 50,
        "DIALER_BURST": 50,
        "DIALER_MAX_ACTIVE_CALLS": options.max_active_calls,
        "DIALER_SANDBOX_CALL_SECONDS": options.call_seconds,
    }
    stolen = Stolen()
    with office(phones(options.recipients), settings) as here:
        here.dialer("start", "bench", "--sandbox")
        with here.up("--speed", "1"):
            while json.loads(here.dialer("status", "bench", "--json"))["state"] != "finished":
                time.sleep(2)
            stats = here.ask("stats")
        calls = [line["call"] for line in here.requests() if line["rang"]]
    looks = stats["other_requests"].get("DescribeContact", 0)
    used, seconds = share_used([(c["placed_at"], c["ended_at"]) for c in calls], options.max_active_calls)
    print(
        markdown(
            "limit",
            "calls last",
            "calls",
            "most at once",
            "used",
            "calls/s",
            "DescribeContact per call",
            "stolen",
        )
    )
    print(markdown(*["--:"] * 8))
    print(
        markdown(
            options.max_active_calls,
            f"{options.call_seconds} s",
            len(calls),
            stats["max_active_seen"],
            f"{used:.1%}",
            f"{len(calls) / seconds:.2f}",
            f"{looks / len(calls):.1f}",
            stolen,
        )
    )


def share_used(calls: list[tuple[float, float]], limit: int) -> tuple[float, float]:
    """(the share of `limit` that was used while there was somebody to dial, that many seconds)."""
    begins = sorted(begin for begin, _ in calls)
    since, until = begins[min(limit, len(begins)) - 1], begins[-1]
    busy = sum(max(0.0, min(end, until) - max(begin, since)) for begin, end in calls)
    return busy / (limit * (until - since)), until - since


if __name__ == "__main__":
    main()
