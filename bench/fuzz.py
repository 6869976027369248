"""Feed hostile files, lists, settings, answers of Connect and messages of SQS to the dialer, for minutes.

    python bench/fuzz.py --seconds 120 --what lists

A broken promise ends it with a traceback, which names the seed that makes that input again. tests/fuzz has
the targets and says what is promised.
"""

import argparse
import random
import resource
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.fuzz import TARGETS, answers, events, run

PLAYERS = {"answers": answers.play, "events": events.play}
"""These play whole cases, with servers, and say which promise was broken."""


def played(what: str, seed: int, seconds: float, cases: int | None) -> int:
    """Play cases for so long, or so many. Returns how many."""
    until = time.monotonic() + seconds
    count = 0
    while time.monotonic() < until and (cases is None or count < cases):
        broken = PLAYERS[what](seed + count)
        assert broken is None, f"python bench/fuzz.py --what {what} --seed {seed + count} --cases 1: {broken}"
        count += 1
    return count


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=30, help="for each target")
    parser.add_argument("--what", choices=[*TARGETS, *PLAYERS], action="append", help="default: all")
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--cases", type=int, default=None)
    given = parser.parse_args()
    seed = random.SystemRandom().randrange(10**9) if given.seed is None else given.seed
    print(f"seed {seed}")
    with tempfile.TemporaryDirectory() as folder:
        for what in given.what or [*TARGETS, *PLAYERS]:
            if what in PLAYERS:
                fed = played(what, seed, given.seconds, given.cases)
            else:
                fed = run(what, seed, Path(folder), seconds=given.seconds, cases=given.cases)
            most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
            print(f"{what}: {fed} inputs, no promise broken; {most} MB at most")


if __name__ == "__main__":
    main()
