"""Does the memory of the processes that dial stay as it is, call after call?

    python bench/worker_memory.py [--calls 1500] [--calls-per-second 50]

Dials so many recipients in the sandbox with real processes (7,200 calls are an hour at 2 a second), and looks
at what each process has in memory (VmRSS) whenever a fifth of the calls has been placed. The first fifth is
for getting warm: connections are opened, modules loaded, statements compiled. The ratio is that of the last
look to the one after the first fifth. Needs /proc.
"""

import argparse
import json
import time
from pathlib import Path

from _office import Office, markdown, office, phones

LOOKS = 5


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--calls", type=int, default=1_500)
    parser.add_argument("--calls-per-second", type=float, default=50.0)
    options = parser.parse_args()
    settings = {
        "DIALER_CALLS_PER_SECOND": options.calls_per_second,
        "DIALER_BURST": int(options.calls_per_second),
        "DIALER_MAX_ACTIVE_CALLS": 10_000,  # no obstacle
    }
    with office(phones(options.calls), settings) as here:
        here.dialer("start", "bench", "--sandbox")
        with here.up():
            looks = [look(here, options.calls * n // LOOKS) for n in range(1, LOOKS + 1)]
    calls = [f"MB after {options.calls * n // LOOKS:,} calls" for n in range(1, LOOKS + 1)]
    print(markdown("process", *calls, "ratio"))
    print(markdown("---", *["---:"] * (LOOKS + 1)))
    for process, first in looks[0].items():
        had = [each.get(process, 0) for each in looks]
        print(markdown(process, *(f"{each / 1e6:.1f}" for each in had), f"{had[-1] / first:.3f}"))


def look(here: Office, calls: int) -> dict[str, int]:
    """Each process's bytes in memory, as soon as so many calls are placed or over."""
    while True:
        attempts = json.loads(here.dialer("status", "bench", "--json"))["attempts"]
        if attempts["placed"] + attempts["ended"] + attempts["refused"] + attempts["unknown"] >= calls:
            return memory(here)
        time.sleep(0.5)


def memory(here: Office) -> dict[str, int]:
    """The bytes in memory of each process of the dialer's that works on this ledger."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            mine = f"DIALER_DATA_DIR={here.data}".encode() in (process / "environ").read_bytes().split(b"\0")
            words = (process / "cmdline").read_bytes().decode().replace("\0", " ").split()
            fields = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
        except (OSError, ValueError):
            continue  # it is over, or another user's
        if mine and "VmRSS" in fields:
            what = " ".join(words[1:] if "python" in words[0] else words)[:60]
            found[f"{process.name} {what}"] = int(fields["VmRSS"].split()[0]) * 1024
    return found


if __name__ == "__main__":
    main()
