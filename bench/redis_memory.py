"""How much of Redis does a started campaign take?

    python bench/redis_memory.py [--recipients 100000] [--seconds 30] [--calls-per-second 50]

Loads so many recipients, starts them, and dials in the sandbox for a while with real processes, asking the
embedded Valkey every 50 ms what it uses. Redis holds a few seconds of work, so the size of the campaign
should not show.
"""

import argparse
import csv
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from redis import Redis

from worker.settings import DialerSettings

CAMPAIGN = """
name = "memory"
[connect]
instance_id = "10a4c4eb-f57e-4d4c-b602-bf39176ced07"
contact_flow_id = "b0b8f2dd-ed1b-4c44-af36-ce189a178181"
source_phone_number = "+14155550199"
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
    with tempfile.TemporaryDirectory(prefix="memory-") as folder:
        home = Path(folder)
        (home / "campaign.toml").write_text(CAMPAIGN)
        with (home / "list.csv").open("w", newline="") as file:
            rows = csv.writer(file)
            rows.writerow(["key", "phone", "first_name", "city", "when"])
            for n in range(options.recipients):
                number = f"+44207946{n // 70 % 10:02}{n % 70:02}"  # answered, and none plays a fault
                rows.writerow([n, number, f"Name {n}", "Bristol", "Tuesday at nine"])
        settings = DialerSettings(data_dir=home / "data")
        environment = {
            **os.environ,
            "DIALER_DATA_DIR": str(home / "data"),
            "DIALER_CALLS_PER_SECOND": str(options.calls_per_second),
            "DIALER_BURST": str(int(options.calls_per_second)),
        }

        def dialer(*arguments: str) -> str:
            command = [sys.executable, "-m", "worker.cli", *arguments]
            return subprocess.run(
                command, cwd=home, env=environment, check=True, capture_output=True, text=True
            ).stdout

        began = time.monotonic()
        dialer("load", "campaign.toml", "list.csv")
        print(f"loaded {options.recipients:,} rows in {time.monotonic() - began:.1f} s")
        dialer("start", "memory")
        command = [sys.executable, "-m", "worker.cli", "up", "--sandbox"]
        up = subprocess.Popen(command, cwd=home, env=environment, stdout=subprocess.DEVNULL)
        try:
            time.sleep(3)
            peak, queued = 0, 0
            with Redis.from_url(settings.redis) as client:
                until = time.monotonic() + options.seconds
                while time.monotonic() < until:
                    peak = max(peak, client.info("memory")["used_memory"])
                    queued = max(queued, int(client.llen("dial-sandbox")))
                    time.sleep(0.05)
            attempts = json.loads(dialer("status", "memory", "--json"))["attempts"]
        finally:
            up.send_signal(signal.SIGTERM)
            up.wait()
    print(f"dialed: {attempts['placed'] + attempts['ended']:,} in {options.seconds:g} s")
    print(f"most tasks in the queue: {queued}")
    print(f"peak of Redis: {peak / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
