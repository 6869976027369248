"""One attempt, from its slot to its contact_id: wait for the slot, mark dialing, place, record."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from tenacity import Retrying, retry_if_exception_type, wait_exponential

from campaigns.ledger import Ledger, LedgerUnavailable
from campaigns.ledger.claims import Claim
from campaigns.ledger.clock import MOST_CLOCK_SKEW, clock_words
from campaigns.ledger.moves import (
    OTHER_LEDGER,
    NotNow,
    Order,
    give_back,
    mark_dialing,
    mark_placed,
    mark_refused,
    mark_returned,
    mark_unknown,
)
from campaigns.ledger.positions import WENT_BACK
from campaigns.ledger.reached import Position
from campaigns.ledger.runs import pause, pause_if_all_refused, pause_unreadable_of
from campaigns.problem import Problem, ProblemCode
from campaigns.recipient import masked
from worker.braking import Braking, decided
from worker.connect import CallOrder, Connect
from worker.connect_errors import (
    ClockWrong,
    ConnectError,
    Misconfigured,
    NeverSent,
    NoCapacity,
    Refused,
    Stray,
    Throttled,
    Withheld,
)
from worker.pacer import Pacer, PacerUnavailable
from worker.placing import Placing
from worker.positions import PositionNotNoted

log = logging.getLogger(__name__)

HORIZON_SECONDS = 5.0
"""A slot further away than this is not waited for; the attempt goes back to the ledger instead."""

LEAD_SECONDS = 0.1
"""How long before its slot an attempt is marked `dialing`."""


def clock_problem(skew: timedelta) -> Problem:
    """The problem of a machine whose clock differs. skew: how far the ledger's clock is ahead of it."""
    return Problem(clock_words(skew) or "", ProblemCode.CLOCK_SKEW)


Dialed = Literal["placed", "refused", "unknown", "returned", "stale"]


class _Unforeseen(Exception):
    """Stands in the log for an exception whose text may hold the number."""


@dataclass(frozen=True, slots=True)
class Timing:
    """How long the steps of an attempt may take."""

    lease: timedelta
    """From `dialing` until rescue looks at the attempt."""
    send_within_seconds: float
    """From `dialing` until the request must have left."""
    replay_window_seconds: float
    """From the first sending until the same token is not sent again."""
    follow_after: timedelta | None
    """From `placed` until the outcome is first asked for; None = never."""
    search_after: timedelta
    """From `unknown` until the call is first searched for."""


@dataclass(frozen=True, slots=True)
class Dialer:
    """What dialing needs, handed in by the composition root."""

    ledger: Ledger
    pacer: Pacer
    connect: Connect
    exchange: str
    timing: Timing
    clock: Callable[[], datetime]
    monotonic: Callable[[], float]
    sleep: Callable[[float], None]
    stopping: Callable[[], bool]
    """Whether this process has been told to stop: then what has not left is given back."""
    report_problem: Callable[[str | None], None] = lambda _: None
    """Told what keeps calls from being placed though nothing is wrong with them, or None."""
    speed: Callable[[], float] = lambda: 1.0
    """Call seconds per real second where the calls go: above 1.0 only in a trial."""
    clock_skew: Callable[[], timedelta] = timedelta
    """How far the ledger's clock is ahead of this machine's."""
    answers: Callable[[str], bool] = lambda _: True
    """Whether Connect answers a question about an instance, which places no call (braking.py)."""
    note_position: Callable[[Position], None] = lambda _: None
    """Notes outside the ledger how far it has come. Raises PositionNotNoted: the request may not leave."""

    def dial(self, claim: Claim) -> Dialed:
        """Place one claimed attempt's call, at most once, and record what came of it.

        A claim that was used or taken back is dropped. Raises LedgerUnavailable when the ledger is gone;
        then nothing was dialed, or what was is found by rescue.
        """
        if abs(skew := self.clock_skew()) > MOST_CLOCK_SKEW:
            return self._clocks_differ(claim, skew)
        try:
            # Woken a little before the slot, so that writing `dialing` down does not make the call late.
            slot = self.pacer.wait(HORIZON_SECONDS, lead_seconds=LEAD_SECONDS)
        except PacerUnavailable as error:
            self.report_problem(Problem(str(error), ProblemCode.REDIS_AWAY))
            return self._give_back(claim, str(error), seconds=1)
        if slot is None:
            return self._give_back(claim, "no slot within reach", seconds=0)
        if self.stopping():
            return self._give_back(claim, "the worker is stopping", seconds=0)
        # Before the ledger is asked: the lease counts from here, however long the writing takes.
        began = self.monotonic()
        order = mark_dialing(
            self.ledger,
            claim.attempt_id,
            claim.fence,
            exchange=self.exchange,
            now=self.clock(),
            lease=self.timing.lease * self.ledger.clock_speed,
            client_token=claim.client_token,
        )
        if isinstance(order, NotNow):
            return self._not_now(claim, order)
        try:
            # A ledger that loses this commit is found out by it: no call may be known to the ledger alone.
            self.note_position(order.position)
        except PositionNotNoted as error:
            self.report_problem(Problem(str(error), ProblemCode.REDIS_AWAY))
            return self._take_back(order, str(error), seconds=1)
        if order.probe:
            try:
                risked = self._braking.may_be_risked(order)
            except LedgerUnavailable as error:
                # Nothing has left. Without this the attempt would count as one that may have rung.
                return self._take_back(order, str(error), seconds=1)
            if not risked:
                return self._take_back(order, "held back: Connect answers no question", seconds=0, noted=True)
        placing = Placing(
            connect=self.connect,
            pacer=self.pacer,
            call=CallOrder(order.phone, order.client_token, order.attributes, order.connect),
            slot=slot,
            send_within_seconds=self._send_within(order, began),
            replay_window_seconds=self.timing.replay_window_seconds,
            monotonic=self.monotonic,
            sleep=self.sleep,
            stopping=self.stopping,
            speed=self.speed,
            doubted=lambda doubt: isinstance(doubt, Stray) or self._braking.doubt(order, doubt.code),
        )
        try:
            contact_id = placing.place()
        except ConnectError as error:
            if order.braking and decided(error):
                self._braking.good(order)
            return self._record_failure(order, error, placing.replays)
        except BaseException as error:
            # Nobody can say whether the request left, so this must not look as if it had not.
            # Its name only: an exception's text may hold the number.
            reason = f"{type(error).__name__} in the dialer itself"
            code = type(error).__name__
            if isinstance(error, Exception) and not placing.in_doubt:
                self._braking.doubt(order, code)
            self._recorded(order, lambda: self._unknown(order, reason, placing.replays, code))
            if not isinstance(error, Exception):
                raise
            # The places without the texts, which may hold the number as well.
            where = _Unforeseen(reason).with_traceback(error.__traceback__)
            log.error("attempt %d: %s", order.attempt_id, reason, exc_info=where)
            return "unknown"
        dialed = self._record_placed(order, contact_id, placing.replays)
        if order.braking or placing.in_doubt:
            self._braking.good(order)
        return dialed

    @property
    def _braking(self) -> Braking:
        return Braking(self.ledger, self.exchange, self.clock, self.answers)

    def _clocks_differ(self, claim: Claim, skew: timedelta) -> Dialed:
        """Dial nothing: what became of a call could not be found out by its time."""
        problem = clock_problem(skew)
        log.error("attempt %d is not dialed: %s", claim.attempt_id, problem)
        self.report_problem(problem)
        return self._give_back(claim, problem, seconds=10)

    def _not_now(self, claim: Claim, found: NotNow) -> Dialed:
        if found.unreadable is not None:
            # This process cannot read it, though the one that feeds can: it would be fed again for ever.
            log.error("the campaign has paused itself: %s", found.unreadable)
            with self.ledger.write() as db:
                pause_unreadable_of(db, claim.attempt_id, found.unreadable)
            return "stale"
        if found.code not in (WENT_BACK, OTHER_LEDGER):
            log.info("attempt %d is not dialed: %s", claim.attempt_id, found.reason)
            return "stale"
        log.error("attempt %d is not dialed: %s", claim.attempt_id, found.reason)
        if found.code == OTHER_LEDGER:
            problem = (
                "tasks of another ledger arrive, and are not dialed: another dialer that uses a copy of this "
                "ledger sends them to the same Redis; give each a Redis, or a database number, of its own"
            )
            self.report_problem(Problem(problem, ProblemCode.OTHER_LEDGER))
        return "stale"

    def _send_within(self, order: Order, began: float) -> float:
        """Seconds from now until the request must have left."""
        left = began + self.timing.send_within_seconds - self.monotonic()
        if order.closes_at is None:
            return left
        return min(left, (order.closes_at - self.clock()).total_seconds() / self.ledger.clock_speed)

    def _record_placed(self, order: Order, contact_id: str, replays: int) -> Dialed:
        # Before anything else, so that not even a ledger that is lost loses the call.
        log.info("attempt %d: %s is contact %s", order.attempt_id, masked(order.phone), contact_id)
        self.report_problem(None)
        now = self.clock()
        follow_at = now + self.timing.follow_after if self.timing.follow_after is not None else None
        recorded = self._recorded(
            order,
            lambda: mark_placed(
                self.ledger,
                order.attempt_id,
                order.fence,
                contact_id,
                now=now,
                follow_at=follow_at,
                replays=replays,
            ),
        )
        if not recorded:
            log.error("attempt %d: contact %s could not be recorded", order.attempt_id, contact_id)
        return "placed"

    def _record_failure(self, order: Order, error: ConnectError, replays: int) -> Dialed:
        reason = f"{error.code}: {error.reason}"
        log.warning("attempt %d: %s: %s", order.attempt_id, masked(order.phone), reason)
        match error:
            case Throttled():
                self._slow_down()
                return self._take_back(order, reason, seconds=1)
            case NoCapacity():
                self.report_problem(Problem(f"no capacity: {reason}", ProblemCode.NO_CAPACITY))
                return self._take_back(order, reason, seconds=10)
            case NeverSent():
                if not isinstance(error, Withheld):
                    problem = f"no call gets through: {reason}"
                    self.report_problem(Problem(problem, ProblemCode.NO_WAY_OUT))
                return self._take_back(order, reason, seconds=5)
            case ClockWrong():
                # It is set without a word to us, and the campaign goes on then.
                self.report_problem(Problem(f"no call gets through: {reason}", ProblemCode.CLOCK_SKEW))
                return self._take_back(order, reason, seconds=10)
            case Misconfigured():
                # The campaign stops before the attempt is due again, or it would be the next to fail.
                self._recorded(order, lambda: self._pause(order.run_id, error))
                return self._take_back(order, reason, seconds=0)
            case Stray():
                # The campaign stops before any other call of it may ring for real.
                self._recorded(order, lambda: self._pause(order.run_id, error))
                self._recorded(order, lambda: self._unknown(order, reason, replays, error.code))
                return "unknown"
            case Refused():
                self._recorded(order, lambda: self._refuse(order, error.code, reason))
                return "refused"
            case _:
                self._recorded(order, lambda: self._unknown(order, reason, replays, error.code))
                return "unknown"

    def _unknown(self, order: Order, reason: str, replays: int, code: str) -> bool:
        now = self.clock()
        return mark_unknown(
            self.ledger,
            order.attempt_id,
            order.fence,
            reason,
            now=now,
            settle_at=now + self.timing.search_after,
            replays=replays,
            error_code=code,
        )

    def _slow_down(self) -> None:
        try:
            self.pacer.throttled()
        except PacerUnavailable as error:
            log.warning("the throttling could not be shared: %s", error)

    def _refuse(self, order: Order, code: str, reason: str) -> bool:
        moved = mark_refused(self.ledger, order.attempt_id, order.fence, reason, now=self.clock())
        with self.ledger.write() as db:
            if pause_if_all_refused(db, order.run_id, code):
                log.error("a campaign has paused itself: its calls are all refused (%s)", code)
        return moved

    def _pause(self, run_id: int, error: ConnectError) -> bool:
        with self.ledger.write() as db:
            pause(db, run_id, f"{error.code}: {error.reason}", code=error.code[:40])
        return True  # or somebody else has paused it, which is as good

    def _give_back(self, claim: Claim, reason: str, *, seconds: float) -> Dialed:
        """Before dialing. Without the ledger the claim's lease passes, and it comes back all the same."""
        due_at = self.clock() + timedelta(seconds=seconds)
        moved = give_back(self.ledger, claim.attempt_id, claim.fence, reason, due_at=due_at)
        return "returned" if moved else "stale"

    def _take_back(self, order: Order, reason: str, *, seconds: float, noted: bool = False) -> Dialed:
        """After an answer that says that it did not ring. If that stays unwritten, it counts as unknown.

        `noted`: when the next probe is let through after this one has been noted.
        """
        due_at = self.clock() + timedelta(seconds=seconds)
        moved = self._recorded(
            order,
            lambda: mark_returned(self.ledger, order.attempt_id, order.fence, reason, due_at=due_at),
        )
        if order.probe and not noted:
            self._braking.not_tried(order, seconds=max(seconds, 1))
        return "returned" if moved else "unknown"

    def _recorded(self, order: Order, move: Callable[[], bool]) -> bool:
        """Write down what happened, waiting for a ledger that is away until the lease is about to pass.

        Returns False when it could not be written: rescue then finds the attempt `dialing`, and what is
        known of it stands in the log.
        """
        until = self.monotonic() + self.timing.lease.total_seconds()
        patient = Retrying(
            retry=retry_if_exception_type(LedgerUnavailable),
            wait=wait_exponential(multiplier=0.1, max=2),
            stop=lambda _: self.monotonic() >= until,
            sleep=self.sleep,
            reraise=True,
        )
        try:
            moved = patient(move)
        except LedgerUnavailable as error:
            log.error("attempt %d: not recorded: %s", order.attempt_id, error)
            return False
        if not moved:
            log.error("attempt %d: its claim was gone when the answer came", order.attempt_id)
        return moved
