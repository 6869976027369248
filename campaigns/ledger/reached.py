"""What a process remembers of how far its ledger has come."""

import random
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

from campaigns.ledger.tables import SLOTS


@dataclass(frozen=True, slots=True)
class Position:
    """What one move to `dialing` has counted: it is the n-th of its slot in its epoch."""

    epoch: int
    slot: int
    n: int

    def exceeds(self, known: "Position") -> bool:
        """Whether this position, counted just now, is a new one; if not, commits were lost."""
        return self.n > known.n if self.epoch == known.epoch else self.epoch > known.epoch


@dataclass(frozen=True, slots=True)
class Reached:
    """How far a ledger has come at least: each slot's position, under one epoch."""

    epoch: int = 0
    slots: Mapping[int, int] = field(default_factory=dict)

    def missing_from(self, other: "Reached") -> int | None:
        """How many moves the other lacks that are known here; None if it has all of them.

        0 where a whole epoch is missing: what was counted in it cannot be compared.
        """
        if self.epoch != other.epoch:
            return 0 if self.epoch > other.epoch else None
        lacks = sum(max(0, n - other.slots.get(slot, 0)) for slot, n in self.slots.items())
        return lacks or None


def further(one: Reached, other: Reached) -> Reached:
    """All that both know: a newer epoch replaces an older one."""
    if one.epoch != other.epoch:
        return max(one, other, key=lambda each: each.epoch)
    both = {*one.slots, *other.slots}
    return Reached(one.epoch, {slot: max(one.slots.get(slot, 0), other.slots.get(slot, 0)) for slot in both})


class Memory:
    """How far this process has seen its ledger come. Threads may share it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._epoch = 0
        self._slots: dict[int, int] = {}
        self._own = threading.local()

    def slot(self) -> int:
        """The slot that this thread counts in.

        Always the same one, so that each move finds out whether the last one of its thread was lost.
        """
        slot = getattr(self._own, "slot", None)
        if slot is None:
            slot = self._own.slot = random.randrange(SLOTS)  # noqa: S311 (not a secret)
        return int(slot)

    def note(self, seen: Reached | Position) -> None:
        """Remember what was committed, or was told by those who had noted what was committed."""
        with self._lock:
            if isinstance(seen, Position) and seen.epoch == self._epoch:
                # Each call does this twice.
                self._slots[seen.slot] = max(self._slots.get(seen.slot, 0), seen.n)
                return
            if isinstance(seen, Position):
                seen = Reached(seen.epoch, {seen.slot: seen.n})
            both = further(Reached(self._epoch, self._slots), seen)
            self._epoch, self._slots = both.epoch, dict(both.slots)

    def reached(self) -> Reached:
        """All that was noted."""
        with self._lock:
            return Reached(self._epoch, dict(self._slots))

    def at(self, slot: int) -> Position:
        """What was noted of one slot."""
        with self._lock:
            return Position(self._epoch, slot, self._slots.get(slot, 0))
