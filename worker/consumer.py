"""Whether this worker's consumer still asks Redis for tasks, and what to do when it surely does not.

The health thread lives on while Celery's consumer is gone or stuck; without this, such a worker says for
ever that it is alive, and its supervisor has no reason to start it again.
"""

from collections.abc import Callable, Collection, Iterable
from queue import Empty
from typing import Any

from kombu.transport.redis import Channel

from worker.work import Work

NAMED_AFTER = 4
"""So many reports in a row (20 s) without a look into the queue are a problem."""

ENDED_AFTER = 8
"""So many (40 s), and the process ends itself. A healthy consumer asks each second."""

_on_look: Callable[[Iterable[str]], None] = lambda _: None  # noqa: E731 (replaced by `watch_looks`)


class WatchedChannel(Channel):
    """kombu's channel, which tells of each answer that its queues give."""

    def _brpop_read(self, **options: Any) -> Any:
        queues = self.active_queues
        try:
            found = super()._brpop_read(**options)  # type: ignore[no-untyped-call]
        except Empty:
            _on_look(queues)
            raise
        _on_look(queues)
        return found


def watch_looks(told: Callable[[Iterable[str]], None]) -> None:
    """From now on `told` hears which queues have answered."""
    global _on_look
    _on_look = told


class ConsumerWatch:
    """Counts the reports in which a consumer was idle and did not look.

    It counts reports, not seconds: a machine that was suspended, or a process that was stopped, goes on
    where it was, and must not be taken for one whose consumer is stuck.
    """

    def __init__(
        self,
        work: Work,
        queues: Collection[str],
        under_way: Callable[[], Iterable[str]] = tuple,
        *,
        overdue_after: int = 180,
    ) -> None:
        """What is watched.

        queues: each must be looked at. under_way: the ids of tasks that are taken and not done.
        overdue_after: a task that was under way in more reports than this is past its time.
        """
        self._work = work
        self._queues = queues
        self._under_way = under_way
        self._overdue_after = overdue_after
        self._ages: dict[str, int] = {}
        self._seen: dict[str, float | None] = {}
        self.missed = 0
        """Reports in a row without a look."""

    def count(self, *, redis_works: bool) -> int:
        """Take note of one more report. Returns how many in a row were without a look."""
        looks = {queue: self._work.looked_at(queue) for queue in self._queues}
        looked = all(at is not None and at != self._seen.get(queue) for queue, at in looks.items())
        self._seen = looks
        self._ages = {task: self._ages.get(task, 0) + 1 for task in self._under_way()}
        # With all threads at work it rightly takes no more, and a call under way is never cut off. What is
        # past the time that a task can take hangs, and is found by its lease.
        busy = any(age <= self._overdue_after for age in self._ages.values())
        # Without Redis there is nothing to look into; it connects again by itself.
        self.missed = self.missed + 1 if redis_works and not looked and not busy else 0
        return self.missed
