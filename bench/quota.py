"""How much of the quota do real dial workers use, and how often are they throttled?

    python bench/quota.py [--recipients 1000] [--calls-per-second 20] [--burst 5] [--workers 1 2 4]

Runs `dialer run --sandbox` once per number of workers: real processes, Valkey, ledger and HTTP. The sandbox
has exactly the quota that the dialer is told, and its journal says when each request arrived. What could
have been used is counted from the first request to the last: one call, and the rate times that span.
`stolen` is the share of the processors' time that a virtual machine's host gave to others meanwhile; a run
with more than a few per cent says more about the host than about the dialer.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

CAMPAIGN = """
name = "quota"
[connect]
instance_id = "10a4c4eb-f57e-4d4c-b602-bf39176ced07"
contact_flow_id = "b0b8f2dd-ed1b-4c44-af36-ce189a178181"
source_phone_number = "+14155550199"
"""
AREAS = (201, 202, 203, 205, 206, 207, 208, 209, 210, 212, 213, 214, 215, 216, 217, 218, 219, 224, 225, 228)


def main() -> None:
    """Print a row per number of workers."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--recipients", type=int, default=1000, help="at most 1,400")
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
        before = _processor_time()
        requests = _run(options, workers)
        stolen, total = (after - was for after, was in zip(_processor_time(), before, strict=True))
        rings = [r for r in requests if r["rang"]]
        throttled = sum(r["error"] == "TooManyRequestsException" for r in requests)
        seconds = requests[-1]["epoch"] - requests[0]["epoch"]
        used = len(rings) / (1 + options.calls_per_second * seconds)
        twice = len(rings) - len({r["destination"] for r in rings})
        print(
            f"{workers:>7} {len(requests):>8} {len(rings):>6} {seconds:>8.2f} {used:>7.2%} "
            f"{throttled / len(requests):>9.2%} {twice:>5} {stolen / max(total, 1):>6.0%}",
            flush=True,
        )


def _run(options: argparse.Namespace, workers: int) -> list[dict[str, object]]:
    with tempfile.TemporaryDirectory(prefix="quota-") as folder:
        home = Path(folder)
        (home / "campaign.toml").write_text(CAMPAIGN)
        with (home / "list.csv").open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["phone"])
            # 00 to 69: in the sandbox these numbers are answered, and none of them plays a fault.
            rows.writerows([[f"+1{AREAS[n // 70]}55501{n % 70:02}"] for n in range(options.recipients)])
        environment = {
            **os.environ,
            "DIALER_DATA_DIR": str(home / "data"),
            "DIALER_CALLS_PER_SECOND": str(options.calls_per_second),
            "DIALER_BURST": str(options.burst),
        }
        command = [sys.executable, "-m", "worker.cli", "run", "campaign.toml", "list.csv", "--sandbox"]
        subprocess.run(
            [*command, "--speed", "30", "--workers", str(workers)],
            cwd=home,
            env=environment,
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        journal = (home / "data" / "sandbox-journal.jsonl").read_text().splitlines()
    return [r for r in map(json.loads, journal) if r.get("operation") == "StartOutboundVoiceContact"]


def _processor_time() -> tuple[int, int]:
    """(stolen, all) in clock ticks since the start of the machine; nothing where /proc does not say."""
    try:
        ticks = [int(field) for field in Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]
    except OSError:
        return 0, 0
    return ticks[7], sum(ticks)


if __name__ == "__main__":
    main()
