"""Moves of several threads in one transaction, so that the disk is waited for once for all of them.

What a commit costs is the disk, and SQLite's lock for which other processes wait. While one thread has that,
others come; and whoever is next makes all their moves as well. Each goes on when its own is on the disk.
"""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any, TypeVar

from sqlalchemy import Connection

_Result = TypeVar("_Result")


@dataclass(eq=False)
class _Move:
    """What one thread wants to write, and what became of it."""

    make: Callable[[Connection], Any]
    called: "SimpleQueue[None]" = field(default_factory=SimpleQueue)
    """Something is in it when its thread may go on: to lead, with its move made, or to make it alone.

    A queue, because it costs a tenth of a threading.Event.
    """
    leads: bool = False
    made: bool = False
    result: Any = None


class Together:
    """Where the threads of a process meet. `write` gives a transaction that is durable at the block's end."""

    def __init__(self, write: Callable[[], AbstractContextManager[Connection]]) -> None:
        self._write = write
        self._door = threading.Lock()
        self._waiting: list[_Move] = []
        self._somebody_leads = False

    def make(self, move: Callable[[Connection], _Result]) -> _Result:
        """Make a move that changes nothing but the ledger; durable when this returns, or not made at all.

        It sees what those before it in the same transaction have written. It is made again if one of them
        fails, alone then, so that nobody's error is anybody else's.
        """
        mine = _Move(move)
        with self._door:
            self._waiting.append(mine)
            mine.leads, self._somebody_leads = not self._somebody_leads, True
        if not mine.leads:
            self._wait(mine)
        if mine.leads:
            self._lead()
        if not mine.made:
            with self._write() as db:
                return move(db)
        result: _Result = mine.result
        return result

    def _lead(self) -> None:
        """Make the moves of all who wait, and give the lead to one of those who have come meanwhile."""
        company: list[_Move] = []
        try:
            with self._write() as db:
                # Not before the lock is there: until then others come.
                company = self._all_who_wait()
                for each in company:
                    each.result = each.make(db)
            for each in company:
                each.made = True
        except BaseException as error:
            # One of them failed and took the others along, or the ledger is away: each finds out alone.
            company = company or self._all_who_wait()
            if not isinstance(error, Exception):
                raise
        finally:
            with self._door:
                self._pass_on()
            for each in company:
                each.called.put(None)

    def _wait(self, mine: _Move) -> None:
        try:
            mine.called.get()
        except BaseException:
            # Ctrl-C. Whoever leads makes it if it is on its way already; the lead must not end with us.
            with self._door:
                if mine in self._waiting:
                    self._waiting.remove(mine)
                    if mine.leads:
                        self._pass_on()
            raise

    def _pass_on(self) -> None:
        """Give the lead to whoever waits longest. With the door held."""
        self._somebody_leads = bool(self._waiting)
        if self._waiting:
            self._waiting[0].leads = True
            self._waiting[0].called.put(None)

    def _all_who_wait(self) -> list[_Move]:
        with self._door:
            company, self._waiting = self._waiting, []
        return company
