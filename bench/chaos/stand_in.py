"""The stand-in for Amazon Connect, in a process that is never killed: its journal is what is measured by.

python -m bench.chaos.stand_in PORT SPEED CALLS_PER_SECOND BURST JOURNAL
"""

import sys
from pathlib import Path

from worker.sandbox.options import SandboxOptions
from worker.sandbox.server import serve


def main() -> None:
    """Serve until SIGTERM."""
    port, speed, calls_per_second, burst, journal = sys.argv[1:]
    serve(
        SandboxOptions(
            port=int(port),
            speed=float(speed),
            calls_per_second=float(calls_per_second),
            burst=int(burst),
            # Time is accelerated, so what is asked about the calls must be, too.
            describe_per_second=200.0,
            describe_burst=300,
            search_per_second=10.0,
            search_burst=20,
            faults=True,
            journal=Path(journal),
        )
    )


if __name__ == "__main__":
    main()
