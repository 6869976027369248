"""Hostile input, made by chance: what reads it may refuse it in one line, and nothing else.

A target is a function of (chance, folder): it makes one input, feeds it to the code, and raises
AssertionError if a promise is broken. Any exception but Mistake ends a run, as does a case that takes more
than two seconds of the processor's time. `bench/fuzz.py` runs the targets for minutes, `test_fuzz.py` for a
moment.
"""

import random
import time
from collections.abc import Callable
from pathlib import Path

from tests.fuzz import campaigns, lists, settings

Target = Callable[[random.Random, Path], None]

TARGETS: dict[str, Target] = {
    "campaigns": campaigns.one,
    "lists": lists.one,
    "numbers": lists.one_number_list,
    "settings": settings.one,
}
"""By what is fed. Another target is one more line here."""

LONGEST_SECONDS = 2.0


def run(what: str, seed: int, folder: Path, *, seconds: float, cases: int | None = None) -> int:
    """Feed a target for so long, or so many cases. Returns how many were fed.

    Each case has a seed of its own, `seed + its number`, which an error names: `cases=1` repeats it.
    """
    end = time.monotonic() + seconds
    fed = 0
    while time.monotonic() < end and (cases is None or fed < cases):
        began = time.process_time()
        try:
            TARGETS[what](random.Random(seed + fed), folder)
        except BaseException as error:
            error.add_note(f"python bench/fuzz.py --what {what} --seed {seed + fed} --cases 1")
            raise
        took = time.process_time() - began
        assert took < LONGEST_SECONDS, f"{what}, seed {seed + fed}: took {took:.1f} s"
        fed += 1
    return fed
