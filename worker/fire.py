"""A schedule's time has come: its list is read, and becomes a run.

What is to be done is decided by `campaigns.schedule.decide`. All that a fire does to the ledger is one
transaction, which also says that it is done: a crash before it leaves nothing, and nobody does it twice.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from campaigns.code_page import name_of
from campaigns.ledger import Ledger
from campaigns.ledger import schedules as book
from campaigns.ledger.engine import LedgerUnavailable
from campaigns.ledger.schedules import FAILED, FireGone, Scheduled
from campaigns.load import LoadReport, StillWritten, load_fire
from campaigns.mistake import Mistake
from campaigns.progress_bar import Reading
from campaigns.rejects import rejects_of_fire
from campaigns.schedule import Decision, decide
from campaigns.text_file import Source
from campaigns.zone_data import is_known
from worker.hands import Hands

log = logging.getLogger(__name__)

TRY_AGAIN = timedelta(seconds=30)
"""From one try to read a list that would not do to the next."""

_QUIET = timedelta(minutes=1)
"""For so long a list may be being written when its time comes, before anybody is told."""

_END = 4096  # bytes at a list's end that tell it from another one of that name


class _Stopping(Exception):
    """This process is to end, and a long list would keep it."""


@dataclass(frozen=True, slots=True)
class AsRead:
    """How long a list was when it was read, in bytes, and what stood at its end."""

    path: Path
    size: int
    end: bytes
    at: datetime
    """The fire that has read it."""

    @classmethod
    def of(cls, path: Path, at: datetime) -> "AsRead | None":
        """A list as it stands; None for one that cannot be read, as loading it will say."""
        try:
            if not path.is_file():
                return None  # opening a pipe would wait for whoever writes to it
            size = path.stat().st_size
            return cls(path, size, _end(path, size), at)
        except OSError:
            return None

    def has_grown(self) -> bool:
        """Whether there is more behind what was read. Another list of that name is no longer one."""
        try:
            return self.path.stat().st_size > self.size and self.end == _end(self.path, self.size)
        except OSError:
            return False


def _end(path: Path, size: int) -> bytes:
    with path.open("rb") as file:
        file.seek(max(0, size - _END))
        return file.read(min(size, _END))


@dataclass(frozen=True, slots=True)
class Firing:
    """Begins the runs of all schedules when their time has come."""

    ledger: Ledger
    exchange: str
    """The side whose runs it begins; a schedule of the other one is left to the processes there."""
    rejects: Path
    """The directory for the rejected rows of their lists; made when it is first needed."""
    clock: Callable[[], datetime]
    stopping: Callable[[], bool] = lambda: False
    hands: Hands | None = None
    """What reads the lists, apart from the round that finds them due. None: the round does, one by one."""
    unread: set[str] = field(default_factory=set)
    """Campaigns that cannot be read, as far as the log says so already."""
    read: dict[int, AsRead] = field(default_factory=dict)
    """The lists that this process has read lately, by campaign."""

    def fire(self) -> int:
        """Begin what is due. Returns how many runs have begun in this round. Raises LedgerUnavailable.

        With `hands` each list is read apart from it, and no campaign's list keeps another from its time.
        """
        self._name_unreadable()
        return sum(
            self._tried(each)
            for each in self._mine()
            # What is being read has been decided over: it must not be skipped for having taken its time.
            if not self.stopping() and not (self.hands and self.hands.busy(each.campaign_id))
        )

    def _name_unreadable(self) -> None:
        problems = {problem.name or "": problem for problem in book.unreadable(self.ledger, self.exchange)}
        for name in problems.keys() - self.unread:
            log.error("no run begins: %s", problems[name])
        self.unread.clear()
        self.unread.update(problems)

    def _apart(self, each: Scheduled, does: Callable[[], bool]) -> bool:
        """Do it, or have it done by a hand. Returns whether a run has begun by now."""
        if self.hands is None:
            return does()
        # All busy: the next round tries again, and an alarm tells of a fire that is late.
        self.hands.take(each.campaign_id, does)
        return False

    def _mine(self) -> list[Scheduled]:
        return book.scheduled(self.ledger, self.exchange)

    def _tried(self, each: Scheduled) -> bool:
        """Whatever is wrong with one campaign's schedule keeps no other from its time."""
        now, zone = self.clock(), each.options.time_zone
        failed = each.trouble if each.trouble and each.trouble.state == FAILED else None
        if failed and failed.tried_at <= now < failed.tried_at + TRY_AGAIN:
            return False
        try:
            if not is_known(zone):
                unknown = f"the control process's machine does not know the time zone {zone}"
                problem = f"{unknown}; there: pip install -U tzdata, and start it again"
                if failed is None or failed.reason != problem:
                    log.error("%s: %s", each.campaign.name, problem)
                book.fail(self.ledger, each, problem, now)
                return False
            begun = self._one(each)
            if failed:
                book.mend(self.ledger, each)
            if not begun and each.campaign_id in self.read:
                # Apart, too: a file server that is gone answers nothing.
                self._apart(each, lambda: self._look_back(each))
            return begun
        except LedgerUnavailable:
            raise
        except Exception as error:
            log.exception("%s: nobody can say which runs are to begin", each.campaign.name)
            self._alarm(each, f"{type(error).__name__}; the log of the control process has more", now)
            return False

    def _look_back(self, each: Scheduled) -> bool:
        """Whoever paused for longer while writing the list has added people whom nobody calls."""
        seen = self.read.get(each.campaign_id)
        if seen is None:
            return False
        if seen.has_grown():
            which = f"run of {each.options.local(seen.at):%a %H:%M}"
            problem = f"{seen.path}: has grown since it was read for the {which}"
            problem += "; whoever is new on it is not called"
            log.warning("%s: %s", each.campaign.name, problem)
            book.grown(self.ledger, each, f"{problem}: dialer load CAMPAIGN.toml LIST.csv", self.clock())
        elif abs(self.clock() - seen.at) <= each.options.grace:
            return False
        del self.read[each.campaign_id]
        return False

    def _alarm(self, each: Scheduled, problem: str, now: datetime) -> None:
        try:
            book.fail(self.ledger, each, problem, now)
        except LedgerUnavailable:
            raise
        except Exception:
            log.exception("%s: nor can that be said in the ledger", each.campaign.name)

    def _one(self, each: Scheduled) -> bool:
        now = self.clock()
        decision = decide(each.options, each.since, now)
        if decision.skipped:
            # Only then may another one begin: the next round finds it where this one has left off.
            if not book.skip(self.ledger, each, decision.skipped, now):
                return False
            _log_skipped(each, decision)
            found = [again for again in self._mine() if again.campaign_id == each.campaign_id]
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
        return self._apart(each, lambda: self._begin(each, at))

    def _begin(self, each: Scheduled, at: datetime) -> bool:
        # Before it is read: what is written in between makes it a list that is still being written.
        seen = AsRead.of(each.list_path(at), at)
        try:
            report = self._load(each, at)
        except (FireGone, _Stopping):
            return False
        except LedgerUnavailable:
            raise
        except StillWritten as problem:
            if self.clock() - at > _QUIET:
                self._not_yet(each, at, str(problem))
            else:
                # Its grace may be over before anybody is told, and then that is why it was skipped.
                book.remember(self.ledger, each, at, str(problem), self.clock())
            return False
        except Mistake as problem:
            self._not_yet(each, at, str(problem))
            return False
        except Exception as error:
            # Whatever is wrong with one campaign's list keeps no other from its time.
            log.exception("%s: the run of %s cannot begin", each.campaign.name, each.options.local(at))
            self._not_yet(each, at, f"{type(error).__name__}; the log of the control process has more")
            return False
        if seen is not None:
            self.read[each.campaign_id] = seen
        loaded = report.loaded
        log.info(
            "%s: the run of %s begins: %d accepted, %d rejected%s",
            loaded.campaign,
            each.options.local(at).isoformat(timespec="minutes"),
            loaded.accepted,
            loaded.rejected,
            f" (see {report.rejects_file})" if report.rejects_file else "",
        )
        if report.read is not None and report.read.source == Source.ASSUMED:
            # Without the sample that `dialer plan` shows: a log has no names.
            log.warning(
                "%s: %s was taken for %s, which the file does not say; name it in [list] encoding",
                loaded.campaign,
                each.list_path(at),
                name_of(report.read.encoding),
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

    def _unless_stopping(self, _: Reading) -> None:
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
