"""The scheduler: it rings the control queue's doorbell, and not again while nobody has come to the door."""

from datetime import datetime
from typing import Any

from celery.beat import ScheduleEntry, Scheduler

from worker.work import TICK, Work

_ENOUGH = 20
"""Messages in the control queue: more would do the same work again, and fill Redis while no worker runs."""


class DoorbellScheduler(Scheduler):  # type: ignore[misc] # Celery has no types
    """Celery's scheduler, keeping nothing on disk: what is missed is simply done at the next tick."""

    work = Work()
    """What is remembered of the ticks; the process's own takes its place at the start."""
    _seen: datetime | None = None
    """The clock at the last tick."""

    def tick(self, *arguments: Any, **more: Any) -> Any:
        """Send what is due. Returns the seconds until the next look."""
        now = self.app.now()
        if self._seen is not None and now < self._seen:
            # The clock was put back. Celery counts by it, and would send nothing until the old time has
            # come round again.
            for entry in self.schedule.values():
                entry.last_run_at = min(entry.last_run_at, now)
            self._heap = None
        self._seen = now
        seconds = super().tick(*arguments, **more)
        self.work.looked([TICK])
        return seconds

    def apply_async(
        self, entry: ScheduleEntry, producer: Any = None, advance: bool = True, **kwargs: Any
    ) -> Any:
        """Send one entry's task, unless its queue has enough of them already."""
        queue = entry.options["queue"]
        with self.work.round(TICK):
            with self.app.connection_for_write() as connection:
                if connection.default_channel.client.llen(queue) >= _ENOUGH:
                    if advance:
                        self.reserve(entry)
                    return None
            return super().apply_async(entry, producer=producer, advance=advance, **kwargs)
