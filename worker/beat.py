"""The scheduler: it rings the control queue's doorbell, and not again while nobody has come to the door."""

import logging
from datetime import datetime
from typing import Any

from celery.beat import ScheduleEntry, Scheduler

from worker.redis_start import drop_unless_list
from worker.redis_trouble import Trouble, trouble_of
from worker.seldom import Seldom
from worker.work import TICK, Work

log = logging.getLogger(__name__)

_ENOUGH = 20
"""Messages in the control queue: more would do the same work again, and fill Redis while no worker runs."""


class DoorbellScheduler(Scheduler):  # type: ignore[misc] # Celery has no types
    """Celery's scheduler, keeping nothing on disk: what is missed is simply done at the next tick."""

    work = Work()
    """What is remembered of the ticks; the process's own takes its place at the start."""
    _seen: datetime | None = None
    """The clock at the last tick."""
    _seldom = Seldom()

    def away(self, trouble: Trouble | None) -> None:
        """Tell the status what keeps the scheduler from its work, or that nothing does."""
        link = self.app.conf.broker_transport_options.get("link")
        if link is not None:
            link.away(trouble)

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

    def apply_entry(self, entry: ScheduleEntry, producer: Any = None) -> None:
        """Send what is due. While Redis is away that is one line of the log a minute; the next tick tries."""
        try:
            self.apply_async(entry, producer=producer, advance=False)
        except Exception as error:
            # Celery, too, goes on after any error, which it wraps in one of its own.
            trouble = trouble_of(error)
            self.away(trouble)
            if self._seldom.due(trouble.code):
                log.error("nothing is scheduled (%s): %s", trouble.code, trouble.words)
        else:
            self.away(None)

    def apply_async(
        self, entry: ScheduleEntry, producer: Any = None, advance: bool = True, **kwargs: Any
    ) -> Any:
        """Send one entry's task, unless its queue has enough of them already."""
        queue = entry.options["queue"]
        with self.work.round(TICK):
            with self.app.connection_for_write() as connection:
                client = connection.default_channel.client
                drop_unless_list(client, queue)
                if client.llen(queue) >= _ENOUGH:
                    if advance:
                        self.reserve(entry)
                    return None
            return super().apply_async(entry, producer=producer, advance=advance, **kwargs)
