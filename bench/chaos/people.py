"""Whom to call: made-up numbers whose last two digits choose how the stand-in's call goes."""

import random
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import phonenumbers

_LAST = range(88)
"""00 to 87 have an outcome each; from 88 on calls last ten minutes, or play faults of their own."""


def numbers(seed: int) -> list[str]:
    """Every number that may be called, in the seed's order: some 35,000, all reserved for fiction."""
    areas = [area for area in range(201, 990) if _exists(f"+1{area}5550100")]
    every = [f"+1{area}55501{last:02}" for area in areas for last in _LAST]
    random.Random(seed).shuffle(every)
    return every


def pieces(folder: Path, seed: int, size: int) -> Iterator[tuple[Path, list[str]]]:
    """List after list of `size` people who are on no other, each written when it is asked for."""
    everybody = iter(numbers(seed))
    number = 0
    while people := list(islice(everybody, size)):
        number += 1
        path = folder / f"people-{number}.csv"
        path.write_text("\n".join(["phone", *people]) + "\n")
        yield path, people


def _exists(number: str) -> bool:
    return phonenumbers.is_valid_number(phonenumbers.parse(number))
