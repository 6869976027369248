import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Connection, event, insert, select

from campaigns.ledger import Ledger, LedgerUnavailable, open_ledger
from campaigns.ledger.moves import NotNow, Order
from campaigns.ledger.tables import AT_ONCE, suppressions
from campaigns.ledger.together import Together

if TYPE_CHECKING:
    from tests.conftest import Desk

PHONES = [f"+1415555{n:04}" for n in range(8)]


@pytest.fixture
def file_ledger(sqlite_ledger_url: str) -> Iterator[Ledger]:
    """A ledger in a file, where threads write together."""
    with closing(open_ledger(sqlite_ledger_url)) as opened:
        yield opened


def barring(phone: str) -> Callable[[Connection], str]:
    """A move that puts a number on the list, and gives it back; it fails for one that is there already."""

    def move(db: Connection) -> str:
        db.execute(insert(suppressions).values(phone=phone, campaign_id=0, reason="", added_at=AT_ONCE))
        return phone

    return move


def barred(ledger: Ledger) -> list[str]:
    with ledger.read() as db:
        return sorted(db.execute(select(suppressions.c.phone)).scalars())


@contextmanager
def commits(ledger: Ledger) -> Iterator[list[Connection]]:
    """The transactions that are committed meanwhile."""
    seen: list[Connection] = []

    def on_commit(connection: Connection) -> None:
        seen.append(connection)

    event.listen(ledger._engine, "commit", on_commit)
    try:
        yield seen
    finally:
        event.remove(ledger._engine, "commit", on_commit)


def come_together(ledger: Ledger, aside: Any, errands: Sequence[Callable[[], Any]]) -> list[Any]:
    """Run each in a thread of its own, all of which wait for the ledger before it is free."""
    with ledger.write():
        threads = [aside(errand) for errand in errands]
        patience = threading.Event()
        for _ in range(3_000):
            if len(ledger._together._waiting) == len(errands):
                break
            patience.wait(0.01)
        assert len(ledger._together._waiting) == len(errands)
    return threads


def test_those_who_wait_share_a_transaction(file_ledger: Ledger, sqlite_ledger_url: str, aside: Any) -> None:
    """Eight threads' moves cost one commit; each has its own result, and another process sees them all."""
    with commits(file_ledger) as seen:
        threads = come_together(
            file_ledger, aside, [lambda p=phone: file_ledger.make(barring(p)) for phone in PHONES]
        )
        assert [thread.result() for thread in threads] == PHONES
    assert len(seen) == 2, "the one that kept them waiting, and theirs"
    with closing(open_ledger(sqlite_ledger_url)) as other:
        assert barred(other) == PHONES


def test_nobody_goes_on_before_the_commit(file_ledger: Ledger, held_before_commit: Any, aside: Any) -> None:
    """A thread whose move is made waits until it is on the disk: what it does next relies on that."""
    went_on = threading.Event()

    def make(phone: str) -> None:
        file_ledger.make(barring(phone))
        went_on.set()

    with held_before_commit(file_ledger, "INSERT INTO suppressions") as (reached, go):
        threads = come_together(file_ledger, aside, [lambda p=phone: make(p) for phone in PHONES])
        assert reached.wait(30)
        assert not went_on.wait(0.2)
        go.set()
        for thread in threads:
            thread.result()


def test_who_fails_fails_alone(file_ledger: Ledger, aside: Any) -> None:
    """An error in one move is raised in its thread only, and has left nothing; the others are made."""

    def half_a_move(db: Connection) -> None:
        barring("+19995550100")(db)
        raise KeyError("mine")

    moves = [*map(barring, PHONES[:4]), half_a_move, *map(barring, PHONES[4:])]
    threads = come_together(file_ledger, aside, [lambda m=move: file_ledger.make(m) for move in moves])
    with pytest.raises(KeyError, match="mine"):
        threads.pop(4).result()
    assert [thread.result() for thread in threads] == PHONES
    assert barred(file_ledger) == PHONES


def test_a_ledger_that_is_away_is_away_for_everybody(aside: Any) -> None:
    """Each thread is told, none waits for ever, and none takes its move for made."""
    gate = threading.Event()

    @contextmanager
    def away() -> Iterator[Connection]:
        assert gate.wait(30)
        raise LedgerUnavailable("it is away")
        yield

    together = Together(away)
    threads = [aside(lambda: together.make(barring(PHONES[0]))) for _ in range(4)]
    gate.set()
    for thread in threads:
        with pytest.raises(LedgerUnavailable, match="it is away"):
            thread.result()


@pytest.mark.parametrize("ends", ["before", "within"])
def test_a_thread_that_is_ended_leaves_nobody_behind(file_ledger: Ledger, aside: Any, ends: str) -> None:
    """Whoever led may be stopped in the middle; those who waited for it make their moves all the same."""
    first = threading.Event()

    @contextmanager
    def write() -> Iterator[Connection]:
        if ends == "before" and not first.is_set():
            first.set()
            raise SystemExit
        with file_ledger.write() as db:
            yield db

    def stopped(_: Connection) -> None:
        raise SystemExit

    together = file_ledger._together = Together(write)
    moves = [stopped if ends == "within" else barring(PHONES[0]), *map(barring, PHONES[1:])]
    with file_ledger.write():
        # The first to come leads.
        leader = aside(lambda: together.make(moves[0]))
        others = [aside(lambda m=move: together.make(m)) for move in moves[1:]]
    with pytest.raises(SystemExit):
        leader.result()
    assert [each.result() for each in others] == PHONES[1:]
    assert barred(file_ledger) == PHONES[1:]


def test_a_claim_that_comes_often_is_dialed_once(desk: "Desk", aside: Any) -> None:
    """Copies of a task that come together, in whatever order: one of them dials, in both databases."""
    desk.started(20)
    claims = desk.claim()
    threads = [aside(lambda c=claimed: desk.dial(c)) for claimed in claims * 3]
    orders = [each for each in (thread.result() for thread in threads) if isinstance(each, Order)]
    assert sorted(order.attempt_id for order in orders) == sorted(claimed.attempt_id for claimed in claims)


def test_one_number_is_decided_once_in_a_shared_transaction(
    sqlite_ledger_url: str, desk_of: "type[Desk]", aside: Any
) -> None:
    """Two campaigns with one number, which may be called once a day: the second sees the first's call."""
    with closing(open_ledger(sqlite_ledger_url)) as ledger:
        desk = desk_of(ledger)
        for name in ("first", "second"):
            desk.load(desk.campaign(name), desk.people(1))
            desk.start(name)
        claims = desk.claim()
        assert len(claims) == 2
        # The limit comes when both are queued already.
        for name in ("first", "second"):
            desk.load(desk.campaign(name, limits={"per_number_per_day": 1}), [])
        threads = come_together(ledger, aside, [lambda c=each: desk.dial(c) for each in claims])
        results = [thread.result() for thread in threads]
    assert {type(result) for result in results} == {Order, NotNow}


def test_who_is_interrupted_while_waiting_keeps_nobody(
    file_ledger: Ledger, held_before_commit: Any, aside: Any
) -> None:
    """Ctrl-C takes one out of the queue, also whoever was to lead next; the others' moves are made."""
    with held_before_commit(file_ledger, "INSERT INTO suppressions") as (reached, go):
        leader = aside(lambda: file_ledger.make(barring(PHONES[0])))
        assert reached.wait(30)
        interrupted = threading.get_ident()

        def interrupt() -> None:
            while not file_ledger._together._waiting:
                threading.Event().wait(0.01)
            # To the thread that waits: a signal to this one would not wake it.
            signal.pthread_kill(interrupted, signal.SIGINT)

        interrupting = aside(interrupt)
        with pytest.raises(KeyboardInterrupt):
            file_ledger.make(barring(PHONES[1]))
        interrupting.result()
        follower = aside(lambda: file_ledger.make(barring(PHONES[2])))
        go.set()
        assert [leader.result(), follower.result()] == [PHONES[0], PHONES[2]]
    assert barred(file_ledger) == [PHONES[0], PHONES[2]]
