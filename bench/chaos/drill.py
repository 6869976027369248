"""Strikes a crew while it works, and waits until everything is settled."""

import random
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bench.chaos.checker import Findings
from bench.chaos.crew import Crew
from bench.chaos.ground import Ground
from bench.chaos.nursery import Nursery
from bench.chaos.storm import Disaster, Strike
from bench.chaos.watch import Watch

_UNDISTURBED_SECONDS = 3.0
"""The crew comes up once before anything happens to it."""

_TICK_SECONDS = 0.03
_LOOK_SECONDS = 0.5
_SAY_SECONDS = 10.0
_ON_THE_WIRE_SECONDS = 1.0
"""At the end: for requests that a worker had sent just before it was killed."""


@dataclass
class Drill:
    """One run. Times are seconds of `time.monotonic`."""

    ground: Ground
    crew: Crew
    nursery: Nursery
    strikes: deque[Strike]
    pieces: Iterator[tuple[Path, list[str]]]
    seed: int
    patience_seconds: float
    """How long after the last disaster everything may take to settle; and four times as long, all of it."""
    done: Counter[str] = field(default_factory=Counter)
    """Disasters that have struck, without the kills."""

    def __post_init__(self) -> None:
        self._watch = Watch(self.crew, self.nursery, random.Random(f"restarts {self.seed}"))
        self._redis_ails_until: float | None = None
        self._ailment = Disaster.FREEZE
        self._next = self._look_at = self._say_at = 0.0
        self._spared = 0

    def run(self) -> Findings:
        """To the end. What has not settled in time is among the violations: somebody is lost."""
        began = now = time.monotonic()
        self._next = began + _UNDISTURBED_SECONDS
        calm_since: float | None = None
        while now < began + 4 * self.patience_seconds:
            self._watch.round(now)
            self._mend(now)
            if self.strikes and now >= self._next and self._redis_ails_until is None:
                self._strike(self.strikes.popleft(), now)
            if not self.strikes:
                self._watch.spare_the_loader()
            if self._calm():
                calm_since = calm_since or now
                if not self._watch.loading and self.crew.settled():
                    break
                if now > calm_since + self.patience_seconds:
                    break
            self._look(now)
            time.sleep(_LOOK_SECONDS if self._calm() else _TICK_SECONDS)
            now = time.monotonic()
        settled_after = time.monotonic() - (calm_since or now)
        time.sleep(_ON_THE_WIRE_SECONDS)
        self._watch.end()
        findings = self.crew.findings(self._watch.people)
        findings.figures |= {str(kind): self.done[kind] for kind in Disaster}
        findings.figures |= {f"kill {role}": self._watch.kills[role] for role in self._watch.posts}
        findings.figures |= {
            Disaster.KILL.value: self._watch.kills.total(),
            "spared": self._spared,
            "ended_by_themselves": self._watch.ended_by_themselves,
            "seconds": round(time.monotonic() - began, 1),
            "settled_after_seconds": round(settled_after, 1),
        }
        return findings

    def _strike(self, strike: Strike, now: float) -> None:
        self._next = now + (self.strikes[0].after_seconds if self.strikes else 0.0)
        match strike.disaster:
            case Disaster.KILL if strike.role in self._watch.posts:
                self._watch.kill(strike.role, strike.age_seconds)
                return
            case Disaster.KILL:
                self._spared += 1  # the other crew has nobody there
                return
            case Disaster.FLUSH:
                self.ground.flush()
            case Disaster.CUT:
                self.ground.cut()
            case Disaster.FREEZE:
                self.ground.freeze(True)
            case Disaster.RESTART:
                self.ground.valkey.terminate()
        self.done[strike.disaster] += 1
        if strike.disaster in (Disaster.FREEZE, Disaster.RESTART):
            self._ailment, self._redis_ails_until = strike.disaster, now + strike.lasts_seconds

    def _mend(self, now: float) -> None:
        if self._redis_ails_until is None or now < self._redis_ails_until:
            return
        if self._ailment == Disaster.FREEZE:
            self.ground.freeze(False)
        else:
            self.ground.valkey.start()
        self._redis_ails_until = None

    def _calm(self) -> bool:
        """Whether all that was to happen has happened."""
        return not self.strikes and self._redis_ails_until is None and not self._watch.doomed

    def _look(self, now: float) -> None:
        """Hand in another list if there is need for one, and say how it stands."""
        if now < self._look_at or self._redis_ails_until is not None:
            return
        self._look_at = now + _LOOK_SECONDS
        if not self._watch.loading and not self._calm() and self.crew.hungry():
            self._watch.load(*next(self.pieces))
        if now >= self._say_at:
            self._say_at = now + _SAY_SECONDS
            struck = {kind: self.done[kind] for kind in Disaster} | {Disaster.KILL: self._kills()}
            told = ", ".join(f"{count} × {kind}" for kind, count in struck.items() if count)
            print(f"{told or 'calm'}: {self.crew.progress()}", file=sys.stderr, flush=True)

    def _kills(self) -> int:
        return self._watch.kills.total() + self._spared
