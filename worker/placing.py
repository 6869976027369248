"""One call is asked for once, and once more only where that cannot ring twice."""

from collections.abc import Callable
from dataclasses import dataclass, field

from tenacity import RetryCallState, Retrying, retry_if_exception, wait_exponential

from worker.connect import CallOrder, Connect
from worker.connect_errors import (
    Ambiguous,
    ConnectError,
    Misconfigured,
    NeverSent,
    NoCapacity,
    OddAnswer,
    Refused,
    Stray,
    Throttled,
    Withheld,
)
from worker.pacer import Pacer, PacerUnavailable, Slot

_SHORTEST_CALL_SECONDS = 1.5
"""A busy line is free again after 2 s, with a margin: after that its token starts another call."""

_TRIES = 3
"""How often a request that cannot leave this machine is tried before its attempt goes back to the ledger."""


@dataclass
class Placing:
    """The sending of one attempt's request, from `dialing` to the answer that decides the attempt.

    A request that has not left may be tried again. One that may have been acted upon may only be sent again
    with its token within the replay window, while nobody can have picked up and hung up; and from then on
    no answer makes the attempt one that never rang.
    """

    connect: Connect
    pacer: Pacer
    call: CallOrder
    slot: Slot | None
    """The slot that the attempt waited for; each sending uses one up."""
    send_within_seconds: float
    """From now until the request must have left."""
    replay_window_seconds: float
    """From the first sending until the token is not sent again."""
    monotonic: Callable[[], float]
    sleep: Callable[[float], None]
    stopping: Callable[[], bool]
    speed: Callable[[], float] = lambda: 1.0
    """Call seconds per real second where the calls go: above 1.0 only in a trial."""
    doubted: Callable[[Ambiguous], bool] = lambda _: True
    """Told of the first sending that may have been acted upon; says whether the token may be sent again."""
    _again: bool = field(default=True, init=False)
    _began: float = field(init=False)
    _first_sent: float | None = field(default=None, init=False)
    _doubt: Ambiguous | None = field(default=None, init=False)
    _perhaps_acted_upon: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._began = self.monotonic()

    def place(self) -> str:
        """Returns the contact_id. Raises the ConnectError that decides the attempt."""
        retrying = Retrying(
            retry=retry_if_exception(_may_be_sent_again),
            wait=wait_exponential(multiplier=0.25, max=2),
            stop=self._enough,
            sleep=self.sleep,
            reraise=True,
        )
        return retrying(self._send)

    @property
    def replays(self) -> int:
        """How many sendings after the first may have been acted upon: each can be a call of its own."""
        return max(0, self._perhaps_acted_upon - 1)

    @property
    def in_doubt(self) -> bool:
        """Whether any sending so far may have been acted upon without an answer that says so."""
        return self._doubt is not None

    def _send(self) -> str:
        try:
            return self._on_a_slot()
        except OddAnswer as error:
            if self._doubt is None:
                self._doubt = error
                self.doubted(error)
            raise  # whatever an earlier sending came to, no other may follow this one
        except Stray:
            raise
        except Ambiguous as error:
            if self._doubt is None:
                self._doubt = error
                self._again = self.doubted(error)
            raise self._doubt from error
        except ConnectError as error:
            if self._doubt is not None:
                raise self._doubt from error
            raise

    def _on_a_slot(self) -> str:
        """Send on a slot that is not late; one that comes too late is given up for another."""
        while True:
            slot, self.slot = self.slot or self._another_slot(), None
            self.pacer.until(slot)
            if self.stopping():  # which ends every sleep, also before the slot has opened
                raise Withheld("Stopping", "the worker is stopping")
            asked = self.monotonic()
            late = False

            def may_leave(slot: Slot = slot) -> bool:
                nonlocal late
                late = not self.pacer.usable(slot)
                return not late and self._left() > 0

            # Before it is sent: whatever ends this, also what was not foreseen, leaves it counted.
            self._perhaps_acted_upon += 1
            try:
                return self.connect.place(self.call, send_before=may_leave)
            except NeverSent:
                self._perhaps_acted_upon -= 1
                # Writing `dialing` down, or this whole machine, was too slow for the slot.
                if late and self._left() > 0 and not self.stopping():
                    continue
                raise
            except ConnectError as error:
                if isinstance(error, Throttled | NoCapacity | Refused | Misconfigured):
                    self._perhaps_acted_upon -= 1
                if self._first_sent is None:
                    self._first_sent = asked
                raise

    def _another_slot(self) -> Slot:
        """A request that is sent again counts against the quota like any other."""
        try:
            slot = self.pacer.wait(max(0.0, self._left()))
        except PacerUnavailable as error:
            raise Withheld("PacerUnavailable", str(error)) from error
        if slot is None or self.stopping():
            raise Withheld("NoSlot", "no slot within the time that is left for sending")
        return slot

    def _left(self) -> float:
        """Seconds in which the request may still leave."""
        now = self.monotonic()
        left = self._began + self.send_within_seconds - now
        if self._first_sent is not None:
            left = min(left, self._first_sent + self._replay_window() - now)
        return left

    def _replay_window(self) -> float:
        """Seconds from the first sending. Where calls are over sooner, a token rings anew sooner, too."""
        # Asked of the address, because the settings of the processes that dial it may differ.
        speed = self.speed()
        if speed <= 1:
            return self.replay_window_seconds
        return min(self.replay_window_seconds, _SHORTEST_CALL_SECONDS / speed)

    def _enough(self, state: RetryCallState) -> bool:
        if self.stopping():
            return True
        if self._doubt is None:
            return state.attempt_number >= _TRIES
        return not self._again or self._left() <= state.upcoming_sleep


def _may_be_sent_again(error: BaseException) -> bool:
    return isinstance(error, NeverSent | Ambiguous) and not isinstance(error, OddAnswer | Stray)
