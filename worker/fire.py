"""A schedule's time has come: its list is read, and becomes a run.

What is to be done is decided by `campaigns.schedule.decide`. All that a fire does to the ledger is one
transaction, which also says that it is done: a crash before it leaves nothing, and nobody does it twice.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from campaigns.call_list import CallList
from campaigns.ledger import Ledger
from campaigns.ledger import schedules as book
from campaigns.ledger.engine import LedgerUnavailable
from campaigns.ledger.schedules import FireGone, Scheduled
from campaigns.load import LoadReport, StillWritten, load_fire
from campaigns.mistake import Mistake
from campaigns.rejects import rejects_of_fire
from campaigns.schedule import Decision, decide

log = logging.getLogger(__name__)

TRY_AGAIN = timedelta(seconds=30)
"""From one try to read a list that would not do to the next."""

_QUIET = timedelta(minutes=1)
"""For so long a list may be being written when its time comes, before anybody is told."""


class _Stopping(Exception):
    """This process is to end, and a long list would keep it."""


@dataclass(frozen=True, slots=True)
class Firing:
    """Begins the runs of all schedules when their time has come."""

    ledger: Ledger
    rejects: Path
    """The directory for the rejected rows of their lists; made when it is first needed."""
    clock: Callable[[], datetime]
    stopping: Callable[[], bool] = lambda: False

    def fire(self) -> int:
        """Begin what is due. Returns how many runs have begun. Raises LedgerUnavailable."""
        return sum(self._one(each) for each in book.scheduled(self.ledger) if not self.stopping())

    def _one(self, each: Scheduled) -> bool:
        now = self.clock()
        decision = decide(each.options, each.since, now)
        if decision.skipped:
            # Only then may another one begin: the next round finds it where this one has left off.
            if not book.skip(self.ledger, each, decision.skipped, now):
                return False
            _log_skipped(each, decision)
            found = [again for again in book.scheduled(self.ledger) if again.campaign_id == each.campaign_id]
            if not found:
                return False
            each = found[0]
        at = decision.run
        if at is None:
            return False
        trouble = each.trouble if each.trouble and each.trouble.fire_at == at else None
        if each.paused is not None:
            reason = f"the campaign is paused: {each.paused}"
            if trouble is None or trouble.reason != reason:
                book.wait(self.ledger, each, at, reason, now)
            return False
        # A time that lies ahead was written by a clock that has been put back since.
        if trouble is not None and trouble.tried_at <= now < trouble.tried_at + TRY_AGAIN:
            return False
        return self._begin(each, at)

    def _begin(self, each: Scheduled, at: datetime) -> bool:
        try:
            report = self._load(each, at)
        except (FireGone, _Stopping):
            return False
        except LedgerUnavailable:
            raise
        except StillWritten as problem:
            if self.clock() - at > _QUIET:
                self._not_yet(each, at, str(problem))
            return False
        except Mistake as problem:
            self._not_yet(each, at, str(problem))
            return False
        except Exception as error:
            # Whatever is wrong with one campaign's list keeps no other from its time.
            log.exception("%s: the run of %s cannot begin", each.campaign.name, each.options.local(at))
            self._not_yet(each, at, f"{type(error).__name__}; the log of the control process has more")
            return False
        loaded = report.loaded
        log.info(
            "%s: the run of %s begins: %d accepted, %d rejected%s",
            loaded.campaign,
            each.options.local(at).isoformat(timespec="minutes"),
            loaded.accepted,
            loaded.rejected,
            f" (see {report.rejects_file})" if report.rejects_file else "",
        )
        return True

    def _load(self, each: Scheduled, at: datetime) -> LoadReport:
        rejects = rejects_of_fire(self.rejects, each.campaign.name, each.options.local(at))
        rejects.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        return load_fire(
            self.ledger,
            each.campaign,
            each.fire(at),
            each.list_path(at),
            now=self.clock(),
            rejects_path=rejects,
            progress=self._unless_stopping,
        )

    def _unless_stopping(self, _: CallList) -> None:
        if self.stopping():
            raise _Stopping

    def _not_yet(self, each: Scheduled, at: datetime, problem: str) -> None:
        if book.wait(self.ledger, each, at, problem, self.clock()) and (
            each.trouble is None or each.trouble.reason != problem
        ):
            log.warning("%s: a run waits for its list: %s", each.campaign.name, problem)


def _log_skipped(each: Scheduled, decision: Decision) -> None:
    count = decision.earlier + len(decision.skipped)
    last = decision.skipped[-1]
    when = each.options.local(last.at).isoformat(timespec="minutes")
    log.warning("%s: %d skipped, the last of %s: %s", each.campaign.name, count, when, last.reason)
