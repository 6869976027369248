"""One attempt, from its slot to its contact_id: wait for the slot, mark dialing, place, record."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from tenacity import RetryCallState, Retrying, retry_if_exception_type, stop_after_delay, wait_exponential

from campaigns.ledger import Ledger, LedgerUnavailable
from campaigns.ledger.claims import Claim
from campaigns.ledger.moves import (
    NotNow,
    Order,
    mark_dialing,
    mark_placed,
    mark_refused,
    mark_returned,
    mark_unknown,
)
from campaigns.ledger.runs import pause
from campaigns.recipient import masked
from worker.connect import (
    Ambiguous,
    CallOrder,
    Connect,
    ConnectError,
    Misconfigured,
    NeverSent,
    NoCapacity,
    Refused,
    Throttled,
)
from worker.pacer import Pacer, PacerUnavailable

log = logging.getLogger(__name__)

HORIZON_SECONDS = 5.0
"""A slot further away than this is not waited for; the attempt goes back to the ledger instead."""

Dialed = Literal["placed", "refused", "unknown", "returned", "stale"]


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

    def dial(self, claim: Claim) -> Dialed:
        """Place one claimed attempt's call, at most once, and record what came of it.

        A claim that was used or taken back is dropped. Raises LedgerUnavailable when the ledger is gone;
        then nothing was dialed, or what was is found by rescue.
        """
        try:
            granted = self.pacer.wait(HORIZON_SECONDS)
        except PacerUnavailable as error:
            return self._give_back(claim, str(error), seconds=1)
        if not granted:
            return self._give_back(claim, "no slot within reach", seconds=0)
        if self.stopping():
            return self._give_back(claim, "the worker is stopping", seconds=0)
        order = mark_dialing(
            self.ledger,
            claim.attempt_id,
            claim.fence,
            exchange=self.exchange,
            now=self.clock(),
            lease=self.timing.lease,
        )
        if isinstance(order, NotNow):
            log.info("attempt %d is not dialed: %s", claim.attempt_id, order.reason)
            return "stale"
        try:
            contact_id = self._place(order)
        except ConnectError as error:
            return self._record_failure(claim, order, error)
        except BaseException as error:
            # Nobody can say whether the request left, so this must not look as if it had not.
            # Its name only: an exception's text may hold the number.
            reason = f"{type(error).__name__} in the dialer itself"
            self._recorded(order, lambda: mark_unknown(self.ledger, order.attempt_id, order.fence, reason))
            raise
        return self._record_placed(order, contact_id)

    def _place(self, order: Order) -> str:
        """Ask Connect for the call, and once more where that cannot ring twice.

        Raises the ConnectError that decides the attempt. Once a request of this attempt may have been
        acted upon, no later answer makes it one that never rang: then that is what is raised.
        """
        call = CallOrder(order.phone, order.client_token, order.attributes, order.connect)
        dialing_since = self.monotonic()
        first_sent: float | None = None
        doubt: Ambiguous | None = None

        def in_time() -> bool:
            now = self.monotonic()
            if now - dialing_since > self.timing.send_within_seconds:
                return False
            return first_sent is None or now - first_sent <= self.timing.replay_window_seconds

        def send() -> str:
            nonlocal first_sent, doubt
            if doubt is not None and not self._slot_for_replay(first_sent):
                raise doubt
            sending = self.monotonic()
            try:
                return self.connect.place(call, send_before=in_time)
            except NeverSent:
                if doubt is not None:
                    raise doubt from None
                raise
            except ConnectError as error:
                if first_sent is None:
                    first_sent = sending
                if isinstance(error, Ambiguous):
                    doubt = doubt or error
                if doubt is not None:
                    raise doubt from error
                raise

        def enough(state: RetryCallState) -> bool:
            if self.stopping():
                return True
            if doubt is None:
                return state.attempt_number >= 3
            wait = state.upcoming_sleep
            return first_sent is None or (
                self.monotonic() + wait - first_sent > self.timing.replay_window_seconds
            )

        retrying = Retrying(
            retry=retry_if_exception_type((NeverSent, Ambiguous)),
            wait=wait_exponential(multiplier=0.25, max=2),
            stop=enough,
            sleep=self.sleep,
            reraise=True,
        )
        return retrying(send)

    def _slot_for_replay(self, first_sent: float | None) -> bool:
        """A request that is sent again counts against the quota like any other."""
        if first_sent is None:
            return True
        left = self.timing.replay_window_seconds - (self.monotonic() - first_sent)
        try:
            return left > 0 and self.pacer.wait(left)
        except PacerUnavailable:
            return False

    def _record_placed(self, order: Order, contact_id: str) -> Dialed:
        now = self.clock()
        follow_at = now + self.timing.follow_after if self.timing.follow_after is not None else None
        recorded = self._recorded(
            order,
            lambda: mark_placed(
                self.ledger, order.attempt_id, order.fence, contact_id, now=now, follow_at=follow_at
            ),
        )
        # With the id in the log, not even a ledger that is lost loses the call.
        log.log(
            logging.INFO if recorded else logging.ERROR,
            "attempt %d: %s is contact %s%s",
            order.attempt_id,
            masked(order.phone),
            contact_id,
            "" if recorded else ", which could not be recorded",
        )
        return "placed"

    def _record_failure(self, claim: Claim, order: Order, error: ConnectError) -> Dialed:
        reason = f"{error.code}: {error.reason}"
        log.warning("attempt %d: %s: %s", order.attempt_id, masked(order.phone), reason)
        match error:
            case Throttled():
                self._slow_down()
                return self._give_back(claim, reason, seconds=1)
            case NoCapacity():
                return self._give_back(claim, reason, seconds=10)
            case NeverSent():
                return self._give_back(claim, reason, seconds=5)
            case Misconfigured():
                # The campaign stops before the attempt is due again, or it would be the next to fail.
                self._recorded(order, lambda: self._pause(order.run_id, error))
                return self._give_back(claim, reason, seconds=0)
            case Refused():
                self._recorded(
                    order,
                    lambda: mark_refused(
                        self.ledger, order.attempt_id, order.fence, reason, now=self.clock()
                    ),
                )
                return "refused"
            case _:
                self._recorded(
                    order, lambda: mark_unknown(self.ledger, order.attempt_id, order.fence, reason)
                )
                return "unknown"

    def _slow_down(self) -> None:
        try:
            self.pacer.throttled()
        except PacerUnavailable as error:
            log.warning("the throttling could not be shared: %s", error)

    def _pause(self, run_id: int, error: ConnectError) -> bool:
        with self.ledger.write() as db:
            return pause(db, run_id, f"{error.code}: {error.reason}", code=error.code[:40])

    def _give_back(self, claim: Claim, reason: str, *, seconds: float) -> Dialed:
        due_at = self.clock() + timedelta(seconds=seconds)
        mark_returned(self.ledger, claim.attempt_id, claim.fence, reason, due_at=due_at)
        return "returned"

    def _recorded(self, order: Order, move: Callable[[], bool]) -> bool:
        """Write down what happened, waiting for a ledger that is away until the lease is about to pass.

        Returns False when it could not be written: rescue then finds the attempt `dialing`, and what is
        known of it stands in the log.
        """
        patient = Retrying(
            retry=retry_if_exception_type(LedgerUnavailable),
            wait=wait_exponential(multiplier=0.1, max=2),
            stop=stop_after_delay(self.timing.lease.total_seconds()),
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
