"""How much of the quota do real dial workers use, and how often are they throttled?

    python bench/quota.py [--recipients 1000] [--calls-per-second 20] [--burst 5] [--workers 1 2 4]

Runs `dialer run --sandbox` once per number of workers: real processes, Valkey, ledger and HTTP. The sandbox
has exactly the quota that the dialer is told, and its journal says when each request arrived. What could
have been used is counted from the first request to the last: one call, and the rate times that span.
`stolen` is the share of the processors' time that a virtual machine's host gave to others meanwhile; a run
with more than a few per cent says more about the host than about the dialer.
"""

import argparse

from _office import Stolen, office, phones


def main() -> None:
    """Print a row per number of workers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--recipients", type=int, default=1000)
    parser.add_argument("--calls-per-second", type=float, default=20.0)
    parser.add_argument("--burst", type=int, default=5)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4])
    options = parser.parse_args()
    print(f"quota {options.calls_per_second:g}/s, burst {options.burst}, {options.recipients} recipients")
    print(
        f"{'workers':>7} {'requests':>8} {'rings':>6} {'seconds':>8} "
        f"{'used':>7} {'throttled':>9} {'twice':>5} {'stolen':>6}"
    )
    for workers in options.workers:
        stolen = Stolen()
        settings = {
            "DIALER_CALLS_PER_SECOND": options.calls_per_second,
            "DIALER_BURST": options.burst,
            "DIALER_MAX_ACTIVE_CALLS": 10_000,  # no obstacle
        }
        with office(phones(options.recipients), settings) as here:
            run = ("run", "campaign.toml", "list.csv", "--sandbox", "--speed", "30")
            here.dialer(*run, "--workers", str(workers))
            requests = here.requests()
        rings = [r for r in requests if r["rang"]]
        throttled = sum(r["error"] == "TooManyRequestsException" for r in requests)
        seconds = requests[-1]["epoch"] - requests[0]["epoch"]
        used = len(rings) / (1 + options.calls_per_second * seconds)
        twice = len(rings) - len({r["destination"] for r in rings})
        print(
            f"{workers:>7} {len(requests):>8} {len(rings):>6} {seconds:>8.2f} {used:>7.2%} "
            f"{throttled / len(requests):>9.2%} {twice:>5} {stolen!s:>6}",
            flush=True,
        )


if __name__ == "__main__":
    main()
