"""What each call's answer says of Connect itself is noted, and a probe is asked about before it is risked."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from campaigns.ledger import Ledger, LedgerUnavailable
from campaigns.ledger.brakes import call_is_due, note_doubt, note_good, note_silence, put_off_probe
from campaigns.ledger.moves import Order
from worker.connect import Connect
from worker.connect_errors import (
    Ambiguous,
    ClockWrong,
    ConnectError,
    Misconfigured,
    NeverSent,
    NoCapacity,
    Refused,
    Throttled,
    Unauthenticated,
)

log = logging.getLogger(__name__)

_NO_CONTACT = str(UUID(int=0))


def answers(connect: Connect, instance_id: str) -> bool:
    """Whether Connect answers a question that places no call, whatever it says.

    About a contact that does not exist. Not on a slot of the pacer's: it is one question in five seconds at
    most, and being throttled is an answer, too.
    """
    try:
        connect.describe(instance_id, _NO_CONTACT)
    except Unauthenticated:
        # The credentials are what is wrong. A call with them does not ring either, and says so.
        return True
    except (Ambiguous, NeverSent):
        return False
    except ConnectError:
        return True
    return True


def decided(error: ConnectError) -> bool:
    """Whether an error is the service's own decision on a call, so that the service works.

    A page of a gateway's has a status, and no code of AWS's. A request whose time is refused has not come to
    the service.
    """
    if isinstance(error, ClockWrong):
        return False
    services = isinstance(error, Throttled | NoCapacity | Refused | Misconfigured)
    return services and error.status > 0 and not error.code.isdigit()


@dataclass(frozen=True, slots=True)
class Braking:
    """The brakes as a worker uses them. A ledger that is away costs a note, and never a call."""

    ledger: Ledger
    exchange: str
    clock: Callable[[], datetime]
    answers: Callable[[str], bool]
    """Whether Connect answers a question about an instance, which places no call."""

    def may_be_risked(self, order: Order) -> bool:
        """Whether a probe's call is worth the doubt that it may end in.

        Starting calls can be broken while questions are answered, so a question alone never releases a brake.
        And questions can be broken alone, so that after two minutes without a call one is tried all the same.
        Raises LedgerUnavailable.
        """
        if call_is_due(self.ledger, self.exchange, order.run_id, self.clock()):
            return True
        try:
            if self.answers(order.connect.instance_id):
                return True
        except Exception as error:
            # Its name only: what was not foreseen may hold what is not for the log.
            log.error("Connect could not be asked: %s in the dialer itself", type(error).__name__)
        log.warning("attempt %d is not tried: Connect answers no question either", order.attempt_id)
        note_silence(self.ledger, self.exchange, order.run_id, self.clock())
        return False

    def doubt(self, order: Order, code: str) -> bool:
        """Note a request that may have been acted upon. Returns whether to send it again."""
        now = self.clock()
        try:
            put_on = note_doubt(
                self.ledger,
                self.exchange,
                order.run_id,
                code=code,
                dialed_at=order.dialed_at or now,
                probe=order.probe,
                now=now,
            )
        except LedgerUnavailable as error:
            log.warning("an answer in doubt is not counted: %s", error)
            return True
        for brake in put_on:
            log.error(
                "calls are held back (%s): %s, %d attempts in a row since %s; one at a time is tried",
                "all campaigns" if brake.every_run else f"run {order.run_id}",
                brake.error_code,
                brake.answers,
                f"{brake.since:%Y-%m-%d %H:%M:%S} UTC",
            )
        return not put_on and not order.probe

    def good(self, order: Order) -> None:
        """Note that Connect has decided a call."""
        now = self.clock()
        try:
            released = note_good(
                self.ledger, self.exchange, order.run_id, dialed_at=order.dialed_at or now, now=now
            )
        except LedgerUnavailable as error:
            log.warning("a good answer is not counted: %s", error)
            return
        for brake in released:
            log.warning(
                "Connect decides calls again (%s), after %.0f s and %d attempts that ended in doubt",
                "all campaigns" if brake.every_run else f"run {order.run_id}",
                (now - brake.since).total_seconds(),
                brake.answers,
            )

    def not_tried(self, order: Order, *, seconds: float) -> None:
        """Let another probe through in so many seconds: this one's request has not left."""
        try:
            put_off_probe(self.ledger, self.exchange, order.run_id, self.clock() + timedelta(seconds=seconds))
        except LedgerUnavailable as error:
            log.warning("the next probe waits for the lease of this one: %s", error)
