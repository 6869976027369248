"""Two transactions in a chosen order, and the statements that a piece of code sends."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event, text

from campaigns.ledger import Ledger, open_ledger

if TYPE_CHECKING:
    from tests.conftest import Desk


class Aside(threading.Thread):
    """Does something in a thread of its own; `result()` waits for it and raises what it raised."""

    def __init__(self, does: Callable[[], Any]) -> None:
        super().__init__(daemon=True)
        self._does = does
        self._result: Any = None
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self._result = self._does()
        except BaseException as error:
            self._error = error

    def result(self) -> Any:
        self.join(60)
        assert not self.is_alive(), "it hangs"
        if self._error is not None:
            raise self._error
        return self._result


@pytest.fixture
def opened() -> Iterator[Callable[[str], Ledger]]:
    """Opens ledgers, and closes them at the end."""
    with ExitStack() as stack:
        yield lambda url: stack.enter_context(closing(open_ledger(url)))


@pytest.fixture
def aside() -> type[Aside]:
    """Does something in a thread of its own."""
    return Aside


@pytest.fixture
def until_over_or_blocked() -> Callable[[Ledger, Aside], None]:
    """Waits until a thread is through, or waits for a lock in PostgreSQL."""

    def wait(watcher: Ledger, thread: Aside) -> None:
        blocked = text(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        deadline = time.monotonic() + 30
        while thread.is_alive():
            with watcher.read() as db:
                if db.execute(blocked).scalar_one():
                    return
            assert time.monotonic() < deadline, "neither over nor blocked"
            thread.join(0.01)

    return wait


@pytest.fixture
def held_before_commit() -> Any:
    """Stops a ledger's first transaction that sends a certain statement just before it is committed.

    Yields (reached, go): wait for the one, set the other.
    """

    @contextmanager
    def hold(ledger: Ledger, after: str) -> Iterator[tuple[threading.Event, threading.Event]]:
        reached, go = threading.Event(), threading.Event()
        seen: list[str] = []

        def on_statement(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
            if after in statement:
                seen.append(statement)

        def on_commit(_connection: Any) -> None:
            if seen and not reached.is_set():
                reached.set()
                assert go.wait(60)

        event.listen(ledger._engine, "before_cursor_execute", on_statement)
        event.listen(ledger._engine, "commit", on_commit)
        try:
            yield reached, go
        finally:
            go.set()
            event.remove(ledger._engine, "before_cursor_execute", on_statement)
            event.remove(ledger._engine, "commit", on_commit)

    return hold


@pytest.fixture
def two_desks(
    postgres_ledger: Ledger,
    postgres_ledger_url: str,
    desk_of: "Callable[[Ledger], Desk]",
    opened: Callable[[str], Ledger],
) -> "tuple[Desk, Desk]":
    """Two processes at one ledger in PostgreSQL: SQLite lets one write after the other."""
    return desk_of(postgres_ledger), desk_of(opened(postgres_ledger_url))


@pytest.fixture
def at_once(
    postgres_ledger_url: str,
    until_over_or_blocked: Callable[[Ledger, Aside], None],
    held_before_commit: Any,
    opened: Callable[[str], Ledger],
) -> Callable[..., tuple[Aside, Aside]]:
    """Holds what one does before its commit, after a statement, until the other waits for it or is through.

    Both are over then; their results are to be asked for.
    """

    def run(
        held: Ledger, after: str, one: Callable[[], Any], other: Callable[[], Any]
    ) -> tuple[Aside, Aside]:
        with held_before_commit(held, after) as (reached, go):
            going = Aside(one)
            assert reached.wait(30)
            coming = Aside(other)
            until_over_or_blocked(opened(postgres_ledger_url), coming)
            go.set()
            for each in (going, coming):
                each.join(60)
        return going, coming

    return run


@pytest.fixture
def plans() -> Callable[[Ledger, Callable[[], Any]], list[str]]:
    """How the database goes about the statements on recipients and attempts that a function sends."""

    def explain(ledger: Ledger, does: Callable[[], Any]) -> list[str]:
        sent: list[tuple[str, Any]] = []

        def on_statement(_c: Any, _cursor: Any, statement: str, parameters: Any, _x: Any, many: bool) -> None:
            if not many and statement.lstrip().split()[0] in ("SELECT", "UPDATE", "WITH"):
                sent.append((statement, parameters))

        event.listen(ledger._engine, "before_cursor_execute", on_statement)
        try:
            does()
        finally:
            event.remove(ledger._engine, "before_cursor_execute", on_statement)
        how = "EXPLAIN QUERY PLAN " if ledger.is_sqlite else "EXPLAIN "
        found = []
        with ledger.connection() as db:
            for statement, parameters in sent:
                with db.begin() as transaction:
                    rows = db.exec_driver_sql(how + statement, parameters).all()
                    transaction.rollback()
                found.append(statement + "\n" + "\n".join(str(row[-1]) for row in rows))
        return found

    return explain
