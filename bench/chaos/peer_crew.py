"""The plain dialer's processes, and what they are asked."""

import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from redis.exceptions import RedisError

from bench.chaos.checker import Findings, figures_of, second_rings
from bench.chaos.ground import BURST, CALLS_PER_SECOND, Ground

_CALM_LOOKS = 6
"""So many looks in a row must find nothing queued and nothing in a worker's hands."""


@dataclass
class Peer:
    """Two workers and the loader. It has no other processes: kills that are meant for those hit nobody."""

    ground: Ground

    def __post_init__(self) -> None:
        self._results = self.ground.home / "results.sqlite"
        self._calm = 0
        self.environment: Mapping[str, str] = self.ground.environment | {
            "PEER_BROKER": self.ground.redis_url.replace("unix://", "redis+socket://"),
            "PEER_RESULTS": str(self._results),
            "PEER_RATE": f"{CALLS_PER_SECOND / 2:g}/s",
        }
        worker = ["celery", "-A", "bench.chaos.peer", "worker", "--pool", "threads", "--concurrency", "4"]
        quiet = ["-l", "INFO", "--without-gossip", "--without-mingle", "--without-heartbeat"]
        self.posts: Mapping[str, Sequence[str]] = {
            f"dial-{n}": [*worker, "-n", f"dial{n}@%h", *quiet] for n in (1, 2)
        }

    def loading(self, piece: Path) -> list[list[str]]:
        """Repeated until it succeeds; who has been called already is skipped by the task."""
        return [["bench.chaos.peer", str(piece)]]

    def hungry(self) -> bool:
        """Fewer tasks wait than are dialed in some seconds."""
        tasks = self._tasks()
        return tasks is not None and tasks[0] < 150

    def settled(self) -> bool:
        """No task waits, and no worker has one in its hands."""
        self._calm = self._calm + 1 if self._tasks() == (0, 0) else 0
        return self._calm >= _CALM_LOOKS

    def progress(self) -> str:
        """Where the tasks are."""
        tasks = self._tasks()
        return f"{tasks[0]} tasks wait, {tasks[1]} are not acknowledged" if tasks else "Redis is away"

    def findings(self, people: Sequence[str]) -> Findings:
        """Who rang twice, who never rang, and which calls its results do not know."""
        journal = self.ground.requests()
        rings = [line for line in journal if line["rang"]]
        rung = Counter(line["destination"] for line in rings)
        with closing(sqlite3.connect(self._results, timeout=30)) as db:
            recorded = {row[0] for row in db.execute("SELECT contact_id FROM calls")}
        never = [phone for phone in people if phone not in rung]
        figures = figures_of(journal, people, CALLS_PER_SECOND, BURST) | {
            "lost": len(never),
            "unknown": sum(line["contact_id"] not in recorded for line in rings),
        }
        lost = [f"{phone} was loaded and never rang" for phone in never]
        return Findings(figures, [*second_rings(rings), *lost])

    def _tasks(self) -> tuple[int, int] | None:
        try:
            with closing(self.ground.redis()) as redis:
                return int(redis.llen("celery")), int(redis.hlen("unacked"))
        except RedisError:
            return None
