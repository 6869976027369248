"""A ledger that has gone back is compared with the calls that Connect lists, and learns those that it lost.

The search and the questions are those of settle.py; which recipient a call was for is decided in
campaigns/ledger/lost_calls.py.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from campaigns.client_token import WITHOUT_SECRET, Tokens
from campaigns.ledger import schedules
from campaigns.ledger.lost_calls import Entered, enter, instances_of, refuse_while_dialing
from campaigns.schedule import Skipped, decide
from campaigns.stranger import Stranger
from worker.connect_errors import ConnectError, Throttled
from worker.pacer import PacerUnavailable
from worker.settle import BY_TIME_ALONE, Forbidden, Interrupted, Settling, Sweep

log = logging.getLogger(__name__)

_AT_ONCE = timedelta(minutes=10)
"""So much time a search covers: if it fails half-way, no more has to be asked for again."""

_TRIES = 5

_LOST_RUN = "its run may have begun, and is not in this restored ledger; load the list to call the others"


class NotReconciled(Exception):
    """Connect could not be asked for all calls. Those that were entered stay entered; it can be repeated."""


@dataclass(frozen=True, slots=True)
class Unmatched:
    """A call that belongs to no recipient, as far as can be told."""

    contact_id: str
    initiated_at: datetime
    why: str


@dataclass(frozen=True, slots=True)
class Forgone:
    """A time of a schedule whose run the ledger may have lost, and that does not begin again."""

    campaign: str
    at: datetime


@dataclass
class Reconciled:
    """What was found."""

    since: datetime
    until: datetime
    instances: list[str]
    listed: int = 0
    """All calls that Connect lists, those that the ledger knows too."""
    entered: Counter[Entered] = field(default_factory=Counter)
    unmatched: list[Unmatched] = field(default_factory=list)
    forgone: list[Forgone] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Reconciling:
    """The comparison, with all that it needs."""

    settling: Settling
    clock: Callable[[], datetime]
    tokens: Tokens = WITHOUT_SECRET
    """What names the attempts."""
    sleep: Callable[[float], None] = time.sleep
    report_progress: Callable[[datetime], None] = lambda _: None
    """Told up to when the calls have been looked at."""

    def reconcile(self, since: datetime, *, dry_run: bool = False) -> Reconciled:
        """Enter the calls since then that the ledger does not know. Twice changes nothing.

        Raises Mistake while recipients are being dialed, NotReconciled, LedgerUnavailable.
        """
        ledger, exchange = self.settling.ledger, self.settling.exchange
        refuse_while_dialing(ledger, exchange)
        until = self.clock()
        found = Reconciled(since, until, instances_of(ledger, exchange))
        for instance_id in found.instances:
            begin = since
            while begin < until:
                end = min(begin + _AT_ONCE, until)
                sweep = self._sweep(instance_id, begin, end)
                found.listed += len(sweep.listed)
                # In the order in which they were placed: the second call to a number is the second attempt.
                for stranger in sorted(sweep.strangers, key=lambda each: each.initiated_at):
                    self._enter(found, instance_id, stranger, dry_run)
                self.report_progress(end)
                begin = end
        found.forgone = self._forgo(since, until, dry_run)
        return found

    def _forgo(self, since: datetime, until: datetime, dry_run: bool) -> list[Forgone]:
        """Skip the passed times of schedules, with an alarm: a run of theirs may have begun and been lost.

        Its recipients are not in this ledger, so nothing else would keep them from being called twice.
        """
        forgone: list[Forgone] = []
        for each in schedules.scheduled(self.settling.ledger, self.settling.exchange):
            decision = decide(each.options, each.since, until)
            passed = [skipped.at for skipped in decision.skipped] + [at for at in (decision.run,) if at]
            lost = [at for at in passed if at >= since]
            if not lost:
                continue
            reasons = [Skipped(at, _LOST_RUN) for at in lost]
            if dry_run or schedules.skip(self.settling.ledger, each, reasons, until):
                forgone += [Forgone(each.campaign.name, at) for at in lost]
        return forgone

    def _sweep(self, instance_id: str, since: datetime, until: datetime) -> Sweep:
        for number in range(1, _TRIES + 1):
            try:
                return self.settling.sweep(instance_id, since, until, [BY_TIME_ALONE])
            except (Throttled, Interrupted, PacerUnavailable) as error:
                if number == _TRIES:
                    raise NotReconciled(f"Connect could not be asked for its calls: {error}") from error
                log.warning("Connect is asked once more for its calls: %s", error)
                self.sleep(2.0**number)
            except (ConnectError, Forbidden) as error:
                raise NotReconciled(f"Connect does not tell its calls: {error}") from error
        raise AssertionError("unreachable")

    def _enter(self, found: Reconciled, instance_id: str, stranger: Stranger, dry_run: bool) -> None:
        became = enter(
            self.settling.ledger,
            stranger,
            exchange=self.settling.exchange,
            instance_id=instance_id,
            now=self.clock(),
            follow=self.settling.follow,
            tokens=self.tokens,
            dry_run=dry_run,
        )
        found.entered[became] += 1
        if became == Entered.UNMATCHED:
            untold = "Connect does not say whom it was for; ask again later"
            why = (
                untold if stranger.phone is None else "no recipient with its number may have been called then"
            )
            found.unmatched.append(Unmatched(stranger.contact_id, stranger.initiated_at, why))
