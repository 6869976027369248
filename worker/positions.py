"""How far the ledger has come, noted in Redis before each request leaves.

campaigns/ledger/positions.py says what that is for.
"""

import logging
from pathlib import Path

from redis import Redis

from campaigns.ledger import Ledger
from campaigns.ledger.identity import read_identity
from campaigns.ledger.reached import Memory, Position, Reached
from worker.redis_trouble import UNREACHABLE, trouble_of

log = logging.getLogger(__name__)

_SCRIPT = Path(__file__).with_name("positions.lua").read_text(encoding="utf-8")
_EPOCH = b"epoch"


def prefix_of(ledger: Ledger) -> str:
    """What all names of this ledger in Redis begin with, with its colon. Raises LedgerUnavailable."""
    return f"dialer:{read_identity(ledger).ledger_id}:"


class PositionNotNoted(Exception):
    """How far the ledger has come cannot be noted outside of it, so the request does not leave."""


class Positions:
    """What Redis knows of one ledger. Threads may share it.

    redis: a client whose answers are bytes.
    prefix: of all keys of this ledger, with its colon.
    memory: what this process remembers of the same ledger; it learns what Redis answers.
    """

    def __init__(self, redis: Redis, prefix: str, memory: Memory) -> None:
        self._redis = redis
        self._script = redis.register_script(_SCRIPT)
        self._key = f"{prefix}positions"
        self._memory = memory

    def note(self, position: Position) -> None:
        """Note what one move to `dialing` has counted, now that it is committed. Raises PositionNotNoted."""
        highest = self._run(Reached(position.epoch, {position.slot: position.n}))
        if highest < 0:
            raise PositionNotNoted("a newer epoch of this ledger is known")
        # What others have noted in this slot, the next move of this thread must exceed as well.
        self._memory.note(Position(position.epoch, position.slot, highest))

    def noted(self) -> Reached:
        """All that was noted. Raises PositionNotNoted if Redis does not answer."""
        try:
            found = self._redis.hgetall(self._key)
        except UNREACHABLE as error:
            if self._drop_if_damaged(error):
                return Reached(0, {})
            raise _away(error) from error
        if not all(_is_count(value) for pair in found.items() for value in pair if value != _EPOCH):
            self._drop()
            return Reached(0, {})
        slots = {int(slot): int(n) for slot, n in found.items() if slot != _EPOCH}
        return Reached(int(found.get(_EPOCH, 0)), slots)

    def fill(self, noted: Reached) -> None:
        """Note what this process remembers where Redis, of which `noted` was read, is behind.

        Raises PositionNotNoted.
        """
        known = self._memory.reached()
        behind = any(n > noted.slots.get(slot, 0) for slot, n in known.slots.items())
        if known.slots and (known.epoch > noted.epoch or (known.epoch == noted.epoch and behind)):
            self._run(known)

    def _run(self, reached: Reached) -> int:
        pairs = [each for pair in reached.slots.items() for each in pair]
        try:
            return int(self._script(keys=[self._key], args=[reached.epoch, *pairs]))
        except UNREACHABLE as error:
            if self._drop_if_damaged(error):
                return self._run(reached)
            raise _away(error) from error

    def _drop_if_damaged(self, error: BaseException) -> bool:
        """Delete what something else has put in the place of the positions; kept, nothing would be dialed.

        As after a Redis that has lost its memory, the processes note again what they remember.
        """
        return trouble_of(error).code == "WRONGTYPE" and self._drop()

    def _drop(self) -> bool:
        log.warning("the ledger's positions in Redis were overwritten and are noted anew")
        try:
            self._redis.delete(self._key)
        except UNREACHABLE as error:
            raise _away(error) from error
        return True


def _is_count(value: bytes | str) -> bool:
    return value.isdigit() and len(value) <= 18


def _away(error: BaseException) -> PositionNotNoted:
    return PositionNotNoted(f"Redis does not answer ({_name(error)})")


def _name(error: BaseException) -> str:
    code = trouble_of(error).code
    return code if code.isupper() else type(error).__name__
