"""A ledger that has gone back is found out, and nothing is dialed from it until an operator says so."""

from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select
from sqlalchemy.exc import ObjectNotExecutableError

from campaigns.ledger import Ledger
from campaigns.ledger.claims import claim
from campaigns.ledger.identity import let_go_on, read_identity
from campaigns.ledger.moves import OTHER_LEDGER, STOPPED, NotNow, Order, mark_dialing
from campaigns.ledger.positions import WENT_BACK, check, known_of
from campaigns.ledger.reached import Memory, Position, Reached, further
from campaigns.ledger.tables import positions
from tests.gone_back import saved, set_back

if TYPE_CHECKING:
    from tests.conftest import Desk


def slots(ledger: Ledger) -> dict[int, int]:
    """What each slot has reached, without those that were never used."""
    with ledger.read() as db:
        return {slot: n for slot, n in db.execute(select(positions.c.slot, positions.c.n)) if n}


def stopped_code(ledger: Ledger) -> str | None:
    return read_identity(ledger).stopped_code


def go_on(desk: "Desk") -> None:
    """`dialer resume --all`."""
    with desk.ledger.write() as db:
        let_go_on(db, desk.noon)


# --- what is compared -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("known", "here", "missing"),
    [
        (Reached(), Reached(1, {3: 5}), None),
        (Reached(1, {3: 5}), Reached(1, {3: 5, 4: 1}), None),
        (Reached(1, {3: 5}), Reached(1, {3: 4}), 1),
        (Reached(1, {3: 5, 4: 2}), Reached(1, {3: 3, 4: 9}), 2),
        (Reached(1, {3: 5}), Reached(1, {}), 5),
        (Reached(1, {3: 5}), Reached(2, {}), None),
        (Reached(2, {}), Reached(1, {3: 5}), 0),
    ],
)
def test_what_a_ledger_lacks(known: Reached, here: Reached, missing: int | None) -> None:
    """Each slot for itself; what was noted in an older epoch is not held against it, but not the reverse."""
    assert known.missing_from(here) == missing


def test_what_two_know_is_put_together() -> None:
    """The highest of each slot; a newer epoch replaces an older one, in whichever order they come."""
    assert further(Reached(1, {1: 5, 2: 1}), Reached(1, {2: 3, 3: 1})) == Reached(1, {1: 5, 2: 3, 3: 1})
    assert further(Reached(1, {1: 5}), Reached(2, {1: 2})) == Reached(2, {1: 2})
    assert further(Reached(2, {1: 2}), Reached(1, {1: 5})) == Reached(2, {1: 2})


def test_a_thread_keeps_to_its_slot() -> None:
    """Each move of a thread finds out whether the one before was lost."""
    memory = Memory()
    assert len({memory.slot() for _ in range(50)}) == 1


# --- the moves --------------------------------------------------------------------------------------------


def test_each_move_to_dialing_is_counted_once(desk: "Desk") -> None:
    """What is not dialed counts nothing, and a stale task neither."""
    desk.started(3)
    first, second, _ = desk.claim()
    order = desk.dial(first)
    assert order.position == Position(read_identity(desk.ledger).epoch, desk.ledger.reached.slot(), 1)
    assert isinstance(desk.dial(first), NotNow)
    desk.pause()
    assert isinstance(desk.dial(second), NotNow)
    desk.start()
    assert sum(slots(desk.ledger).values()) == 1
    known = desk.ledger.reached.reached().slots
    assert {slot: n for slot, n in known.items() if n} == slots(desk.ledger)


def test_a_move_that_is_rolled_back_is_no_position(desk: "Desk", monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit that fails is counted again by the next move, which is no sign of a ledger that went back."""
    desk.started(1)
    (claimed,) = desk.claim()

    with monkeypatch.context() as patch:
        patch.setattr("campaigns.ledger.moves._TO_DIALING", "no statement")
        with pytest.raises(ObjectNotExecutableError):
            desk.dial(claimed)
    assert isinstance(desk.dial(claimed), Order)
    assert stopped_code(desk.ledger) is None


def test_two_processes_are_no_alarm(desk: "Desk", second_desk: "Desk") -> None:
    """Each knows what it has seen, and both go on in turns, in one slot or in several."""
    desk.started(12)
    claims = desk.claim()
    for at, claimed in enumerate(claims):
        assert isinstance((desk, second_desk)[at % 2].dial(claimed), Order)
        assert check(desk.ledger)
        assert check(second_desk.ledger)
    assert sum(slots(desk.ledger).values()) == 12


def test_worker_whose_last_move_is_lost_finds_it_out_with_the_next(desk: "Desk") -> None:
    """Without Redis, and before any feeding: nothing is dialed, and the attempt waits."""
    desk.started(2)
    first, second = desk.claim()
    then = saved(desk.ledger)
    assert isinstance(desk.dial(first), Order)
    set_back(desk.ledger, then)
    found = desk.dial(second)
    assert (type(found), found.code) == (NotNow, WENT_BACK)
    assert desk.attempt(second).state == "returned"
    assert desk.person(second).state == "waiting"
    assert stopped_code(desk.ledger) == WENT_BACK
    # And so does every other process from now on.
    found = desk.dial(first)
    assert (type(found), found.code) == (NotNow, STOPPED)
    assert (desk.attempt(first).state, desk.person(first).state) == ("returned", "waiting")


def test_nothing_is_claimed_from_a_ledger_that_is_behind(desk: "Desk", second_desk: "Desk") -> None:
    """The feed of another process knows from outside how far it had come: whoever was dialed is not again."""
    desk.started(3)
    then = saved(desk.ledger)
    for claimed in desk.claim():
        assert isinstance(desk.dial(claimed), Order)
    noted = known_of(desk.ledger)
    set_back(desk.ledger, then)
    feeder = second_desk.ledger
    how = {"exchange": "connect", "now": desk.noon, "lease": desk.lease, "ahead": timedelta(seconds=3)}
    assert claim(feeder, keep_queued=100, noted=noted, **how) == []  # type: ignore[arg-type]
    who = read_identity(feeder)
    assert (who.stopped_code, who.stopped_at) == (WENT_BACK, desk.noon)
    assert who.stopped_reason is not None
    assert "has lost 3 of the calls" in who.stopped_reason
    assert "dialer resume --all" in who.stopped_reason
    assert desk.states() == ["waiting"] * 3
    # Also by those who know nothing.
    assert second_desk.claim() == []
    assert desk.states() == ["waiting"] * 3


def test_an_operator_lets_it_go_on_as_it_is(desk: "Desk") -> None:
    """What was known of the lost commits is not held against it any longer, by whoever still knows it."""
    desk.started(3)
    then = saved(desk.ledger)
    claims = desk.claim()
    assert isinstance(desk.dial(claims[0]), Order)
    known = known_of(desk.ledger)
    set_back(desk.ledger, then)
    assert not check(desk.ledger)
    before = read_identity(desk.ledger).epoch
    go_on(desk)
    assert read_identity(desk.ledger).epoch > before
    assert stopped_code(desk.ledger) is None
    assert check(desk.ledger, known)
    for claimed in desk.claim():
        assert isinstance(desk.dial(claimed), Order)


def test_old_copy_that_does_not_know_the_operators_word_is_stopped(desk: "Desk") -> None:
    """A backup from before `resume --all` is behind, however far its slots have come; twice in a row too."""
    desk.started(2)
    then = saved(desk.ledger)
    go_on(desk)
    first, _ = desk.claim()
    assert isinstance(desk.dial(first), Order)
    known = known_of(desk.ledger)
    set_back(desk.ledger, then)
    assert not check(desk.ledger, known)
    assert "since an operator last let it go on" in str(read_identity(desk.ledger).stopped_reason)
    go_on(desk)
    assert read_identity(desk.ledger).epoch > known.epoch
    assert check(desk.ledger, known)
    assert [type(desk.dial(claimed)) for claimed in desk.claim()] == [Order, Order]


def test_backup_that_was_let_go_on_before_anybody_compared_it_goes_on(desk: "Desk") -> None:
    """Restored, reconciled and resumed before a worker has started: its epoch is newer than all before."""
    desk.started(1)
    then = saved(desk.ledger)
    for minutes in (1, 2):
        with desk.ledger.write() as db:
            let_go_on(db, desk.noon + timedelta(minutes=minutes))
    desk.dial(*desk.claim())
    known = known_of(desk.ledger)
    set_back(desk.ledger, then)
    with desk.ledger.write() as db:
        let_go_on(db, desk.noon + timedelta(minutes=3))
    assert check(desk.ledger, known)


def test_task_of_another_ledger_is_told_by_its_token(desk: "Desk") -> None:
    """It names an attempt and a fence that fit, and another token: nothing moves."""
    desk.started(1)
    (claimed,) = desk.claim()
    this = (desk.ledger, claimed.attempt_id, claimed.fence)
    how = {"exchange": "connect", "now": desk.noon, "lease": desk.lease}
    found = mark_dialing(*this, **how, client_token="another")  # type: ignore[arg-type]
    assert isinstance(found, NotNow)
    assert found.code == OTHER_LEDGER
    assert desk.attempt(claimed).state == "queued"
    assert isinstance(mark_dialing(*this, **how, client_token=claimed.client_token), Order)  # type: ignore[arg-type]


# --- choices ----------------------------------------------------------------------------------------------


@pytest.fixture
def edited(desk: "Desk") -> Callable[..., None]:
    """`dialer load` with an edited file."""

    def edit(**tables: object) -> None:
        desk.load(desk.campaign(**tables), [])

    return edit


def test_choices_of_a_version_that_is_counted_again_are_read_again(
    desk: "Desk", second_desk: "Desk", edited: Callable[..., None]
) -> None:
    """A worker has cached the hours of lost commits; the ledger has others under that version now."""
    desk.started(2)
    first, second = desk.claim()
    then = saved(desk.ledger)
    any_time, closed = {"monday": "00:00-24:00"}, {"sunday": "09:00-10:00"}
    edited(calling_hours=any_time | {"time_zone": "UTC"})
    # Another process has the choices of version 2 in its memory.
    assert isinstance(second_desk.dial(first), Order)
    set_back(desk.ledger, then)
    go_on(desk)
    edited(calling_hours=closed | {"time_zone": "UTC"})
    found = second_desk.dial(second)
    assert isinstance(found, NotNow)
    assert found.reason == "it is outside the calling hours"
