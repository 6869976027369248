"""A connection to PostgreSQL that does not wait for ever for an answer.

The kernel's time-outs (`tcp_user_timeout`, keepalives) end a connection whose host is gone. They do not end
one whose host acknowledges every packet while the server, or a pooler in front of it, does nothing: stopped,
swapping, waiting for a server of its own. And no fixed time-out for statements will do: a list of a million
rows is entered in minutes, and a statement may wait that long for another's lock.

So a statement that stays without an answer is asked after: over another connection, whether the server
answers at all, and whether it is still at work on this statement.
"""

import threading
import time
from collections.abc import Callable, Generator
from typing import Any

import psycopg

SILENCE_SECONDS = 5.0
"""A statement without an answer for so long is asked after, and again each time it has passed."""

ASKING_SECONDS = 5.0
"""Maximum seconds for each step of asking: the connection, and its one statement."""

_ON_ITS_WAY_SECONDS = 2.0
"""An answer that the server has given is waited for so long: it may be on its way."""

_FRESH_SECONDS = 2.0
"""What one thread was told, others that wait as well need not ask once more."""

# The sessions of other roles are shown without their state.
# `disabled` is the state of all where the server keeps no track of them.
_AT_WORK = "SELECT pid FROM pg_stat_activity WHERE state IN ('active', 'fastpath function call', 'disabled')"


class _Asking(psycopg.Connection[Any]):
    """A connection each of whose steps is bounded."""

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        return super().wait(gen, interval, ASKING_SECONDS if timeout is None else timeout)


class Witness:
    """Asks a server over a connection of its own what it is doing. Threads may share one.

    arguments: what `psycopg.connect` takes.
    """

    def __init__(self, arguments: dict[str, Any]) -> None:
        self._arguments = arguments | {"autocommit": True, "connect_timeout": int(ASKING_SECONDS)}
        self._asking = threading.Lock()
        self._asked_at = -_FRESH_SECONDS
        self._at_work: frozenset[int] | None = None

    def sees(self, pid: int | None) -> bool:
        """Whether the server answers and works on a statement of this session.

        pid: the session's process; None behind a pooler, where it is not known: that it answers is enough.
        """
        with self._asking:
            if time.monotonic() - self._asked_at >= _FRESH_SECONDS:
                self._at_work = self._ask()
                self._asked_at = time.monotonic()
            return self._at_work is not None and (pid is None or pid in self._at_work)

    def _ask(self) -> frozenset[int] | None:
        try:
            asking = _Asking.connect(**self._arguments)
            try:
                rows = asking.execute(_AT_WORK, prepare=False).fetchall()
            finally:
                asking.close()
        except psycopg.Error:
            return None
        return frozenset(pid for (pid,) in rows)


class LeftAlone(psycopg.OperationalError):
    """The server does not answer, or no longer works on the statement that was sent."""


class Answered(psycopg.Connection[Any]):
    """A connection that is closed, with LeftAlone, when its server no longer answers."""

    witness: Witness | None = None
    """Asked when an answer does not come; None: answers are waited for as long as it takes."""
    pid: int | None = None
    """The server's process for this session, or None where that is not known."""

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        try:
            return super().wait(_watched(gen, self._still_at_work), interval, timeout)
        except LeftAlone:
            # What the server does with it yet is unknown, as with any connection that breaks.
            self.close()
            raise

    def _still_at_work(self) -> bool:
        return self.witness is None or self.witness.sees(self.pid)


def _watched(gen: Any, still_at_work: Callable[[], bool]) -> Generator[Any, Any, Any]:
    """Hand an operation of the driver through; raises LeftAlone when the server does nothing for it.

    The driver sends it what the socket is ready for, and nothing (0) at each of its intervals.
    """
    try:
        wants = next(gen)
    except StopIteration as over:
        return over.value
    quiet_since, left_alone = time.monotonic(), False
    while True:
        ready = yield wants
        if ready:
            quiet_since, left_alone = time.monotonic(), False
        elif time.monotonic() - quiet_since > (_ON_ITS_WAY_SECONDS if left_alone else SILENCE_SECONDS):
            if left_alone:
                raise LeftAlone("the server does not answer")
            left_alone = not still_at_work()
            quiet_since = time.monotonic()
        try:
            wants = gen.send(ready)
        except StopIteration as over:
            return over.value
