"""How much of Redis does a started campaign take?

    python bench/redis_memory.py [--recipients 100000] [--seconds 30] [--calls-per-second 50]

Loads so many recipients, starts them, and dials in the sandbox for a while with real processes, asking the
embedded Valkey every 50 ms what it uses. Redis holds a few seconds of work, so the size of the campaign
should not show.
"""

import argparse
import json
import time

from _office import office
from redis import Redis

from campaigns.ledger.identity import read_identity
from worker.settings import DialerSettings

CAMPAIGN = """
[list]
key = "key"
attributes = ["first_name", "city", "when"]
"""


def main() -> None:
    """Print the peak."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--recipients", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--calls-per-second", type=float, default=50.0)
    options = parser.parse_args()
    settings = {
        "DIALER_CALLS_PER_SECOND": options.calls_per_second,
        "DIALER_BURST": int(options.calls_per_second),
        "DIALER_MAX_ACTIVE_CALLS": 10_000,  # no obstacle
    }
    rows = (
        {
            "key": n,
            "phone": f"+44207946{n // 70 % 10:02}{n % 70:02}",  # answered, and none plays a fault
            "first_name": f"Name {n}",
            "city": "Bristol",
            "when": "Tuesday at nine",
        }
        for n in range(options.recipients)
    )
    began = time.monotonic()
    with office(rows, settings, CAMPAIGN) as here:
        print(f"written and loaded {options.recipients:,} rows in {time.monotonic() - began:.1f} s")
        here.dialer("start", "bench", "--sandbox")
        with here.ledger() as ledger:
            queue = f"dialer:{read_identity(ledger).ledger_id}:dial-sandbox"
        with here.up():
            time.sleep(3)
            peak, queued = 0, 0
            with Redis.from_url(DialerSettings(data_dir=here.data, redis_url=None).redis) as client:
                until = time.monotonic() + options.seconds
                while time.monotonic() < until:
                    peak = max(peak, client.info("memory")["used_memory"])
                    queued = max(queued, int(client.llen(queue)))
                    time.sleep(0.05)
            attempts = json.loads(here.dialer("status", "bench", "--json"))["attempts"]
    print(f"dialed: {attempts['placed'] + attempts['ended']:,} in {options.seconds:g} s")
    print(f"most tasks in the queue: {queued}")
    print(f"peak of Redis: {peak / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
