"""Which disaster comes when, from a seed."""

import random
from dataclasses import dataclass
from enum import StrEnum

KILL_EVERY_SECONDS = 0.35
OTHERS_EVERY_SECONDS = 4.0


class Disaster(StrEnum):
    """What can happen to the dialer's surroundings."""

    KILL = "kill"
    """SIGKILL of one of its processes."""
    FLUSH = "flush"
    """FLUSHALL: Redis forgets everything, and stays."""
    RESTART = "restart"
    """SIGKILL of Redis, which comes back empty."""
    FREEZE = "freeze"
    """SIGSTOP of Redis for some seconds: it does not answer, and does not hang up."""
    CUT = "cut"
    """Every connection to Redis and to PostgreSQL is closed."""


@dataclass(frozen=True, slots=True)
class Strike:
    """One disaster."""

    disaster: Disaster
    after_seconds: float
    """Since the one before it."""
    role: str = ""
    """Who is killed."""
    age_seconds: float = 0.0
    """Whoever does not run at that moment is killed so long after their next start."""
    lasts_seconds: float = 0.0
    """How long Redis is frozen, or is away."""


ROLES = {"dial-1": 4, "dial-2": 4, "control": 3, "beat-1": 2, "beat-2": 2, "loader": 1}
"""Who is killed, and how often in proportion. Those that place calls come first."""


def storm(seed: int, counts: dict[Disaster, int]) -> list[Strike]:
    """So many disasters of each kind, mixed; the same seed and counts give the same ones."""
    chance = random.Random(seed)
    kinds = [kind for kind in Disaster for _ in range(counts.get(kind, 0))]
    chance.shuffle(kinds)
    return [_strike(kind, chance, alone=not counts.get(Disaster.KILL)) for kind in kinds]


def _strike(kind: Disaster, chance: random.Random, *, alone: bool) -> Strike:
    every = OTHERS_EVERY_SECONDS if alone else KILL_EVERY_SECONDS
    after = chance.uniform(0.0, 2 * every)
    if kind == Disaster.KILL:
        (role,) = chance.choices(list(ROLES), list(ROLES.values()))
        return Strike(kind, after, role=role, age_seconds=chance.uniform(0.0, 1.5))
    return Strike(kind, after, lasts_seconds=chance.uniform(0.2, 6.0))
