"""A cancelled campaign's calls in progress are hung up, where `dialer cancel --hang-up` asked for it."""

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from campaigns.ledger import Ledger
from campaigns.ledger.hang_ups import CallInProgress, calls_to_hang_up, mark_hung_up, runs_to_hang_up
from worker.connect import Connect
from worker.connect_errors import ConnectError, Misconfigured, NeverSent, Throttled
from worker.pacer import Pacer, PacerUnavailable

log = logging.getLogger(__name__)

_SEEN_AFTER = timedelta(seconds=2)
"""How long after it was hung up a call is looked at: Connect may need a moment to write its end down."""

_AGAIN = timedelta(seconds=10)
"""How long a call is left alone after Connect was asked to stop it, whatever came of that."""


@dataclass(frozen=True, slots=True)
class HangingUp:
    """What asks Connect to stop calls, with all that it needs. One round at a time."""

    ledger: Ledger
    connect: Connect
    pacer: Pacer
    """The account's rate of StopContact."""
    exchange: str
    longest: timedelta
    """How long after dialing it a call may be in progress that nobody follows."""
    clock: Callable[[], datetime]
    stopping: Callable[[], bool] = lambda: False
    report_problem: Callable[[str | None], None] = lambda _: None
    """Told what keeps calls from being hung up, or None."""
    _resting_calls: dict[int, datetime] = field(default_factory=dict)
    _resting_runs: dict[int, datetime] = field(default_factory=dict)
    """Until when which is left alone. In memory only: whoever does not know of it asks once more."""

    def hang_up(self, most: int) -> int:
        """Stop up to `most` calls of cancelled campaigns that are in progress. Returns how many were stopped.

        A call is written down as hung up after Connect was asked: whoever dies in between, or comes at the
        same time, asks again, which does no harm. How it ended is learned by following it.
        """
        now = self.clock()
        for resting in (self._resting_calls, self._resting_runs):
            for key in [key for key, until in resting.items() if not now < until <= now + _AGAIN]:
                del resting[key]
        run_ids = [
            run for run in runs_to_hang_up(self.ledger, self.exchange) if run not in self._resting_runs
        ]
        calls = self._calls(run_ids, most, now) if run_ids else []
        if not calls and not self._resting_calls and not self._resting_runs:
            self.report_problem(None)
        stopped = 0
        for call in calls:
            if call.run_id in self._resting_runs:
                continue
            try:
                if self.pacer.wait(2.0) is None or self.stopping():  # which ends every sleep
                    return stopped
                known = self.connect.stop(call.instance_id, call.contact_id)
            except (PacerUnavailable, NeverSent) as error:
                self._cannot(error)
                return stopped
            except Throttled:
                with suppress(PacerUnavailable):
                    self.pacer.throttled()
                return stopped
            except ConnectError as error:
                # Perhaps only this one's fault, so the others must not wait behind it; what it says of who
                # may do what (a 400 speaks of the request) holds for the others of its campaign as well.
                log.warning("contact %s cannot be hung up now: %s", call.contact_id, error)
                self._cannot(error)
                if isinstance(error, Misconfigured) and error.status != 400:
                    self._resting_runs[call.run_id] = self.clock() + _AGAIN
                self._resting_calls[call.attempt_id] = self.clock() + _AGAIN
                continue
            self.report_problem(None)
            stopped += 1
            at = self.clock()
            self._resting_calls[call.attempt_id] = at + _AGAIN
            mark_hung_up(self.ledger, call.attempt_id, now=at, look_at=at + _SEEN_AFTER)
            log.info("contact %s %s", call.contact_id, "is hung up" if known else "is not known to Connect")
        return stopped

    def _calls(self, run_ids: list[int], most: int, now: datetime) -> list[CallInProgress]:
        # As many more as are left alone, or those that always fail would stand before all others.
        calls = calls_to_hang_up(
            self.ledger,
            run_ids,
            limit=most + len(self._resting_calls),
            now=now,
            again=_AGAIN,
            longest=self.longest,
        )
        return [call for call in calls if call.attempt_id not in self._resting_calls][:most]

    def _cannot(self, error: Exception) -> None:
        self.report_problem(f"calls cannot be hung up: {error}")
