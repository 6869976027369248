"""One clock for all machines: the database's own.

Intervals such as the patience with a call in doubt begin with an instant that one machine has written and
end with a comparison on another. With the clock of each machine in between, a control host that is two
minutes ahead would cut every interval by two minutes. SQLite is on this machine, and so is its clock.
"""

import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

_REFRESH_SECONDS = 60.0
"""How old a reading of the database's clock may become before `now` takes another by itself."""

_SLOWEST_READING_SECONDS = 2.0
"""A reading that took longer is off by up to half of that, and does not replace a better one."""


def monotonic() -> float:
    """Seconds that also pass while the machine sleeps: a lease does not wait for a suspended worker."""
    if sys.platform == "linux":
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


def wall_clock() -> datetime:
    """The present by this machine's clock, in UTC."""
    return datetime.now(UTC)


MOST_CLOCK_SKEW = timedelta(seconds=150)
"""Maximum difference between a machine's clock and the ledger's at which it dials.

AWS refuses a request whose machine's clock is more than five minutes off, and a call in doubt is searched for
that far around the ledger's time. With a ledger whose clock is off by more, calls would not be found.
"""

_NOTABLE_SKEW = timedelta(seconds=60)
"""A smaller difference is not worth a word."""


def clock_words(skew: timedelta) -> str | None:
    """How a machine's clock and the ledger's differ, and what to do; None if they hardly do.

    skew: how far the ledger's clock is ahead of the machine's.
    """
    if abs(skew) < _NOTABLE_SKEW:
        return None
    where = "behind" if skew > timedelta(0) else "ahead of"
    differs = (
        f"this machine's clock is {abs(skew).total_seconds():,.0f} s {where} that of the ledger's database"
    )
    if abs(skew) > MOST_CLOCK_SKEW:
        return f"{differs}, and it dials nothing; set both by NTP"
    return f"{differs}; from {MOST_CLOCK_SKEW.total_seconds():.0f} s on it dials nothing; set both by NTP"


class DatabaseClock:
    """The database's time, read now and then and counted on from there by this machine's monotonic clock.

    So a step of this machine's wall clock changes nothing either. Threads may share it.

    ask: returns what the database's clock shows, or raises `away`.
    """

    def __init__(
        self,
        ask: Callable[[], datetime],
        *,
        away: type[Exception],
        monotonic: Callable[[], float] = monotonic,
    ) -> None:
        self._ask = ask
        self._away = away
        self._monotonic = monotonic
        self._reading = threading.Lock()
        self._read: tuple[datetime, float] | None = None
        self._tried = 0.0

    def now(self) -> datetime:
        """The present, in UTC. The first call raises `away` where the database does not answer."""
        if self._read is None:
            with self._reading:
                if self._read is None:
                    self._take()
        elif self._monotonic() - self._tried > _REFRESH_SECONDS:
            self.refresh()
        assert self._read is not None
        shown, at = self._read
        return shown + timedelta(seconds=self._monotonic() - at)

    def refresh(self) -> None:
        """Read the database's clock, unless another thread does so. If it fails, the last reading holds."""
        if not self._reading.acquire(blocking=False):
            return
        try:
            self._take()
        except self._away:
            if self._read is None:
                raise
        finally:
            self._reading.release()

    def _take(self) -> None:
        asked = self._tried = self._monotonic()
        shown = self._ask().astimezone(UTC)
        answered = self._monotonic()
        if self._read is None or answered - asked <= _SLOWEST_READING_SECONDS:
            # The database looked at its clock somewhere between question and answer.
            self._read = shown, (asked + answered) / 2
