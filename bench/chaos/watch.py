"""Watches the crew's processes: starts again whoever has ended, hands lists in, kills whom it is told to."""

import random
import signal
import sys
from collections import Counter, deque
from dataclasses import dataclass, field
from pathlib import Path

from bench.chaos.crew import Crew
from bench.chaos.nursery import Nursery

RESTART_WITHIN_SECONDS = 1.0
"""A process that has ended is started again after up to so long, as a supervisor would."""

LOADER = "loader"
_GONE = float("inf")
"""Born so late: it has been killed, and the nursery has yet to say that it is dead."""


@dataclass
class Post:
    """One process that is to run. Times are seconds of `time.monotonic`."""

    pid: int | None = None
    born: float = 0.0
    due: float = 0.0
    """When it is to be started, if it does not run."""
    doomed: deque[float] = field(default_factory=deque)
    """At which ages it is yet to be killed, once for each."""


@dataclass
class Watch:
    """All of them, and the loader, which runs only while a list is to be handed in."""

    crew: Crew
    nursery: Nursery
    chance: random.Random
    people: list[str] = field(default_factory=list)
    """Whose loading was reported as done."""
    kills: Counter[str] = field(default_factory=Counter)
    """By role."""
    ended_by_themselves: int = 0

    def __post_init__(self) -> None:
        self.posts = {role: Post() for role in (*self.crew.posts, LOADER)}
        self._errands: deque[list[str]] = deque()
        self._piece: list[str] = []

    @property
    def loading(self) -> bool:
        """Whether a list is being handed in."""
        return bool(self._errands)

    @property
    def doomed(self) -> bool:
        """Whether somebody is yet to be killed."""
        return any(post.doomed for post in self.posts.values())

    def load(self, piece: Path, people: list[str]) -> None:
        """Hand a list in: from the next round on, and again until it has succeeded."""
        self._errands.extend(self.crew.loading(piece))
        self._piece = people

    def round(self, now: float) -> None:
        """See who has ended, start whose time has come, kill who is old enough."""
        for pid, code in self.nursery.deaths().items():
            for role, post in self.posts.items():
                if post.pid == pid:
                    self._bury(role, post, code, now)
        for role, post in self.posts.items():
            if post.pid is None and now >= post.due and (role != LOADER or self._errands):
                command = self._errands[0] if role == LOADER else self.crew.posts[role]
                post.pid = self.nursery.start(role, command, self.crew.environment)
                post.born = now
            if post.pid is not None and post.doomed and now - post.born >= post.doomed[0]:
                self._kill(role, post)

    def kill(self, role: str, age_seconds: float) -> None:
        """SIGKILL now, or at that age if it does not run at the moment."""
        post = self.posts[role]
        runs = post.pid is not None and post.born < _GONE
        post.doomed.appendleft(0.0 if runs else age_seconds)

    def spare_the_loader(self) -> None:
        """There will be no more lists: whoever is on the telephone is killed in its place."""
        loader = self.posts[LOADER]
        if not self._errands:
            next(iter(self.posts.values())).doomed.extend(loader.doomed)
            loader.doomed.clear()

    def end(self) -> None:
        """Kill everybody, which does not count."""
        for post in self.posts.values():
            if post.pid is not None:
                self.nursery.kill(post.pid)

    def _kill(self, role: str, post: Post) -> None:
        if post.pid is not None and self.nursery.kill(post.pid):
            post.doomed.popleft()
            self.kills[role] += 1
            post.born = _GONE

    def _bury(self, role: str, post: Post, code: int, now: float) -> None:
        post.pid, post.due = None, now + self.chance.uniform(0.0, RESTART_WITHIN_SECONDS)
        if code == -signal.SIGKILL:
            return
        # It was over before it could be killed.
        post.doomed = deque(age / 2 for age in post.doomed)
        if role != LOADER:
            self.ended_by_themselves += 1
            print(f"{role} has ended by itself, with {code}", file=sys.stderr, flush=True)
        elif code == 0:
            self._errands.popleft()
            # From the first command on, whose success is what a caller sees: these people are in.
            self.people += self._piece
            self._piece = []
