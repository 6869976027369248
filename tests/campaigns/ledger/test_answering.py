"""A PostgreSQL that neither refuses nor answers: nothing waits for it for ever (answering.py)."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url

from campaigns.ledger import Ledger, LedgerUnavailable, answering, open_ledger
from campaigns.ledger.answering import Witness
from campaigns.ledger.postgresql import login_of
from tests.pooler import Pooler
from tests.still_line import StillLine

if TYPE_CHECKING:
    from tests.conftest import Desk


def arguments_of(url: str) -> dict[str, Any]:
    """What the driver takes for a ledger's URL."""
    return login_of(make_url(url).set(drivername="postgresql+psycopg"))


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same in less time."""
    monkeypatch.setattr(answering, "SILENCE_SECONDS", 0.5)
    monkeypatch.setattr(answering, "ASKING_SECONDS", 2.0)
    monkeypatch.setattr(answering, "_ON_ITS_WAY_SECONDS", 0.3)
    monkeypatch.setattr(answering, "_FRESH_SECONDS", 0.2)


@pytest.fixture
def line(postgres_ledger_url: str) -> Iterator[StillLine]:
    """A line to an empty ledger."""
    with closing(StillLine(postgres_ledger_url)) as opened:
        yield opened


@pytest.fixture
def far(line: StillLine) -> Iterator[Ledger]:
    """The ledger at the other end of it."""
    with closing(open_ledger(line.url)) as ledger:
        yield ledger


def test_statement_without_an_answer_ends(line: StillLine, far: Ledger, aside: Callable[..., Any]) -> None:
    """A server that takes a statement and says nothing: LedgerUnavailable, and the next time it works again.

    Fails without: `_watched` (then nothing ends it while the packets are acknowledged).
    """
    with far.read() as db:
        db.execute(text("SELECT 1"))
    line.stop()

    def ask() -> None:
        with far.read() as db:
            db.execute(text("SELECT 1"))

    waits = aside(ask)
    with pytest.raises(LedgerUnavailable, match="does not answer"):
        waits.result()
    line.go_on()
    ask()


def test_statement_in_the_middle_of_a_transaction_ends(
    line: StillLine, far: Ledger, aside: Callable[..., Any]
) -> None:
    """The same for a connection that is in use, whose transaction is then undone by the server."""

    def write() -> None:
        with far.write() as db:
            db.execute(text("UPDATE identity SET stopped_code = 'by a ghost'"))
            line.stop()
            db.execute(text("SELECT 1"))

    with pytest.raises(LedgerUnavailable, match="does not answer"):
        aside(write).result()
    line.go_on()
    with far.read() as db:
        assert db.execute(text("SELECT stopped_code FROM identity")).scalar_one() is None


def test_a_new_connection_is_not_waited_for(line: StillLine, aside: Callable[..., Any]) -> None:
    """A server, or a pooler, that accepts connections and never says a word."""
    line.stop()
    url = line.url + "?connect_timeout=2"
    with pytest.raises(LedgerUnavailable, match="timeout"):
        aside(lambda: open_ledger(url)).result()


def test_long_statement_is_waited_for(far: Ledger) -> None:
    """A statement at which the server works is not given up, however often it has been asked after.

    Fails without: the question whether it is at work (answering.py, `Witness`).
    """
    began = time.monotonic()
    with far.read() as db:
        db.execute(text("SELECT pg_sleep(3)"))
    assert time.monotonic() - began >= 3


def test_statement_that_waits_for_a_lock_is_waited_for(
    far: Ledger, postgres_ledger: Ledger, aside: Callable[..., Any], until_over_or_blocked: Any
) -> None:
    """Waiting for another's lock is work."""
    lock = text("SELECT pg_advisory_xact_lock(4711)")

    def wait() -> str:
        with far.write() as db:
            db.execute(lock)
            return "got it"

    with postgres_ledger.write() as db:
        db.execute(lock)
        waits = aside(wait)
        until_over_or_blocked(postgres_ledger, waits)
        waits.join(2)
        assert waits.is_alive()
    assert waits.result() == "got it"


def test_statement_that_the_server_no_longer_knows_ends(
    line: StillLine, far: Ledger, postgres_ledger_url: str, aside: Callable[..., Any]
) -> None:
    """The server answers others, but this session is gone from it: another machine has its address.

    Fails without: the comparison with the session's process id (answering.py).
    """
    # Who asks after it comes by another way.
    _witness_of(far)._arguments = arguments_of(postgres_ledger_url) | {"autocommit": True}

    def ask() -> None:
        with far.read() as db:
            line.stop()
            db.execute(text("SELECT 'left alone'"))

    waits = aside(ask)
    with pytest.raises(LedgerUnavailable, match="does not answer"):
        waits.result()


def test_pooler_that_waits_for_a_server_is_asked_only_whether_it_answers(
    postgres_ledger_url: str, aside: Callable[..., Any], opened: Callable[[str], Ledger]
) -> None:
    """Behind a pooler a process id says nothing: a statement is waited for while the pooler answers."""
    with closing(Pooler(postgres_ledger_url, sessions=4)) as pooler:
        ledger = opened(pooler.url)

        def sleep() -> None:
            with ledger.read() as db:
                db.execute(text("SELECT pg_sleep(2)"))

        assert aside(sleep).result() is None


def test_witness_tells_who_is_at_work(postgres_ledger_url: str) -> None:
    """It sees a session that waits for a lock, and none that is idle, or that is not there."""
    arguments = arguments_of(postgres_ledger_url)
    with (
        closing(psycopg.connect(**arguments)) as holds,
        closing(psycopg.connect(**arguments)) as idle,
    ):
        holds.execute("SELECT 1")
        assert not Witness(arguments).sees(holds.info.backend_pid)
        assert not Witness(arguments).sees(idle.info.backend_pid)
        assert not Witness(arguments).sees(2**31 - 1)
        assert Witness(arguments).sees(None)


def test_all_dead_connections_of_the_pool_are_found_out_at_once(
    line: StillLine, far: Ledger, aside: Callable[..., Any]
) -> None:
    """One dead connection is enough: the others are not waited for one after another."""
    with far.read() as one, far.read() as two, far.read() as three:
        for each in (one, two, three):
            each.execute(text("SELECT 1"))
    line.stop()
    began = time.monotonic()
    waits = [aside(lambda: _touch(far)) for _ in range(3)]
    for each in waits:
        with pytest.raises(LedgerUnavailable):
            each.result()
    line.go_on()
    _touch(far)
    assert time.monotonic() - began < 15


def test_a_call_is_recorded_when_the_server_is_back(
    line: StillLine, far: Ledger, desk_of: "type[Desk]", aside: Callable[..., Any]
) -> None:
    """A move whose answer never came counts as not made, and can be made again."""
    desk = desk_of(far)
    desk.started(1)
    claimed = desk.claim()[0]
    desk.dial(claimed)
    line.stop()
    with pytest.raises(LedgerUnavailable):
        aside(lambda: desk.placed(claimed)).result()
    line.go_on()
    assert desk.placed(claimed)
    assert desk.attempt(claimed).contact_id == f"contact-{claimed.attempt_id}"


def _touch(ledger: Ledger) -> None:
    with ledger.read() as db:
        db.execute(text("SELECT 1"))


def _witness_of(ledger: Ledger) -> Witness:
    connection = ledger._engine.raw_connection()
    try:
        witness: Any = connection.driver_connection
        found: Witness = witness.witness
        return found
    finally:
        connection.close()
