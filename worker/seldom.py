"""The same line in a log once a minute, and not as often as it would be written."""

import logging
import threading
import time
from collections.abc import Callable


class Seldom:
    """Tells whether it is time to say something again. Threads may share it.

    seconds: from one saying to the next, for each key.
    """

    def __init__(self, seconds: float = 60.0, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._monotonic = monotonic
        self._said: dict[str, float] = {}
        self._lock = threading.Lock()

    def due(self, key: str) -> bool:
        """Whether this key was not said lately; then it counts as said now."""
        with self._lock:
            now = self._monotonic()
            last = self._said.get(key)
            if last is not None and now - last < self._seconds:
                return False
            self._said[key] = now
            return True


class SeldomFilter(logging.Filter):
    """Lets each of a logger's messages through once a minute, whatever is filled into it."""

    def __init__(self, seldom: Seldom | None = None) -> None:
        super().__init__()
        self._seldom = seldom or Seldom()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is written."""
        # Some are made with f-strings and carry a count behind their first words.
        return self._seldom.due(f"{record.levelno} {str(record.msg)[:30]}")
