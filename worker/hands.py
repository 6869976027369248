"""A few threads for what may take long, one at a time for each campaign.

A list of a million rows takes minutes, and one on a file server that is gone takes for ever. With one thread
for all, the schedules of the other campaigns would wait for it.
"""

import logging
import threading
from collections.abc import Callable

log = logging.getLogger(__name__)

HANDS = 8
"""Lists that are read at once. Each takes a few megabytes, and a connection to the ledger."""


class Hands:
    """Runs functions in daemon threads, at most so many at once, and one for each key."""

    def __init__(self, most: int = HANDS) -> None:
        self._most = most
        self._busy: set[int] = set()
        self._lock = threading.Lock()

    def busy(self, key: int) -> bool:
        """Whether something with this key is under way."""
        with self._lock:
            return key in self._busy

    def take(self, key: int, does: Callable[[], object]) -> bool:
        """Begin it in a thread of its own. False, and nothing is begun, if that key or all hands are busy."""
        with self._lock:
            if key in self._busy or len(self._busy) >= self._most:
                return False
            self._busy.add(key)
        try:
            # Nothing waits for it at the end; a list that was not read to its end has left nothing.
            threading.Thread(target=self._run, args=(key, does), name=f"hand-{key}", daemon=True).start()
        except RuntimeError:  # no more threads on this machine
            self._free(key)
            return False
        return True

    def _run(self, key: int, does: Callable[[], object]) -> None:
        try:
            does()
        except Exception as error:
            # Its name only: a text may hold anything.
            log.error("campaign %d: a run could not begin now: %s", key, type(error).__name__)
        finally:
            self._free(key)

    def _free(self, key: int) -> None:
        with self._lock:
            self._busy.discard(key)
