"""What this process did lately: rounds and tasks completed, failed and under way, and looks into queues."""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from math import inf

from campaigns.ledger import LedgerUnavailable
from campaigns.ledger.clock import monotonic as system_monotonic

TICK = "tick"
"""What the scheduler does, by the name that is kept of it."""

_FAILING = 3
"""So many failures in a row of one verb are a problem; a single one may be a restart of the database."""

_FAILING_SECONDS = 60.0
"""A verb that has not been tried since is not known to fail still."""


@dataclass(frozen=True, slots=True)
class Failed:
    """The last failure of a verb."""

    verb: str
    kind: str
    """The error's name: its text may hold a number."""
    at: float
    """By the monotonic clock."""
    count: int
    """How often in a row."""
    words: str | None = None
    """What the error says, where it is known to hold neither numbers nor secrets."""

    @property
    def code(self) -> str:
        """`verb:kind`."""
        return f"{self.verb}:{self.kind}"


class Work:
    """A record of what this process does. Threads may share it."""

    def __init__(self, monotonic: Callable[[], float] = system_monotonic) -> None:
        self.monotonic = monotonic
        self.began = monotonic()
        """When the record begins: at the start of the process."""
        self._lock = threading.Lock()
        self._done: dict[str, float] = {}
        self._looks: dict[str, float] = {}
        self._failing: dict[str, Failed] = {}
        self._last: Failed | None = None
        self._under_way: dict[object, tuple[str, float]] = {}

    @contextmanager
    def round(self, verb: str) -> Iterator[None]:
        """One task or round of a verb. It is done at the end of the block, and has failed if that raises."""
        key = object()
        with self._lock:
            self._under_way[key] = (verb, self.monotonic())
        try:
            yield
        except Exception as error:
            words = str(error) if isinstance(error, LedgerUnavailable) else None
            self.failed(verb, type(error).__name__, words)
            raise
        else:
            self.done(verb)
        finally:
            with self._lock:
                self._under_way.pop(key, None)

    def done(self, verb: str) -> None:
        """A round of a verb was completed."""
        with self._lock:
            self._done[verb] = self.monotonic()
            self._failing.pop(verb, None)

    def failed(self, verb: str, kind: str, words: str | None = None) -> None:
        """A round of a verb failed. kind: the error's name; words: its text, where that may be shown."""
        with self._lock:
            before = self._failing.get(verb)
            failed = Failed(verb, kind, self.monotonic(), before.count + 1 if before else 1, words)
            self._failing[verb] = self._last = failed

    def looked(self, queues: Iterable[str]) -> None:
        """These queues were asked for a message, and have answered, with one or without."""
        now = self.monotonic()
        with self._lock:
            self._looks.update(dict.fromkeys(queues, now))

    def looked_at(self, queue: str) -> float | None:
        """When a queue last answered."""
        with self._lock:
            return self._looks.get(queue)

    def last(self, verbs: Iterable[str], queues: Iterable[str] = ()) -> float:
        """When one of these verbs was last done or one of these queues last answered, or the start."""
        with self._lock:
            done = [self._done[verb] for verb in verbs if verb in self._done]
            looks = [self._looks[queue] for queue in queues if queue in self._looks]
        return max([self.began, *done, *looks])

    def failing(self, verbs: Iterable[str]) -> list[Failed]:
        """Those of these verbs that fail each time."""
        since = self.monotonic() - _FAILING_SECONDS
        with self._lock:
            found = [self._failing[verb] for verb in verbs if verb in self._failing]
        return [each for each in found if each.count >= _FAILING and each.at >= since]

    def last_failure(self) -> Failed | None:
        """The last failure of any verb, also if it has worked again since."""
        with self._lock:
            return self._last

    def stalled(self, seconds: dict[str, float]) -> list[tuple[str, float]]:
        """Verbs whose round is under way for longer than their seconds, and for how long.

        A verb of which another round has been completed since is not stalled.
        """
        now = self.monotonic()
        with self._lock:
            old = {
                verb: began
                for verb, began in self._under_way.values()
                if verb in seconds and now - began > seconds[verb] and self._done.get(verb, -inf) < began
            }
        return [(verb, now - began) for verb, began in sorted(old.items())]
