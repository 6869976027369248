"""A pace that this process keeps alone, for the moments in which no Redis runs that could share one."""

import threading
import time
from collections.abc import Callable

from worker.pacer import Pacer, Rate, Slot


class UnsharedPacer(Pacer):
    """Slots at the rate's own distance. Only for requests that no other process makes at the same time."""

    def __init__(
        self,
        rate: Rate,
        *,
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._seconds = 1 / rate.calls_per_second
        self._sleep = sleep
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._next = monotonic()

    def wait(self, horizon_seconds: float, *, lead_seconds: float = 0.0) -> Slot | None:
        """As Pacer.wait, without a question to Redis."""
        with self._lock:
            now = self._monotonic()
            opens_at = max(now, self._next)
            if opens_at - now > horizon_seconds:
                return None
            self._next = opens_at + self._seconds
        if opens_at - lead_seconds > now:
            self._sleep(opens_at - lead_seconds - now)
        return Slot(opens_at, opens_at + self._seconds)

    def throttled(self) -> None:
        """Rest for ten slots."""
        with self._lock:
            self._next = max(self._next, self._monotonic()) + 10 * self._seconds
