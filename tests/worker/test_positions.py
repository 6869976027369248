"""What Redis knows of how far a ledger has come, and that no request leaves without it."""

from collections.abc import Callable
from typing import Any

import pytest
from redis import Redis

from campaigns.ledger.reached import Memory, Position, Reached
from worker.positions import PositionNotNoted, Positions

Dialer = Callable[..., Any]


@pytest.fixture
def memory() -> Memory:
    return Memory()


@pytest.fixture
def positions(valkey: Redis, memory: Memory) -> Positions:
    return Positions(valkey, "dialer:a-ledger:", memory)


@pytest.fixture
def away(memory: Memory) -> Positions:
    """Where no Redis answers."""
    return Positions(Redis(unix_socket_path="/none/such.sock"), "dialer:a-ledger:", memory)


def test_the_highest_of_each_slot_is_kept(positions: Positions) -> None:
    """Two workers may note theirs in any order."""
    for slot, n in ((3, 2), (3, 1), (4, 7)):
        positions.note(Position(1, slot, n))
    assert positions.noted() == Reached(1, {3: 2, 4: 7})


def test_a_worker_learns_what_others_have_noted_in_its_slot(positions: Positions, memory: Memory) -> None:
    """So its next move must exceed theirs too."""
    positions.note(Position(1, 3, 9))
    other = Memory()
    assert other.reached() == Reached()
    Positions(positions._redis, "dialer:a-ledger:", other).note(Position(1, 3, 8))
    assert other.reached() == Reached(1, {3: 9})
    assert memory.reached() == Reached(1, {3: 9})


def test_a_new_epoch_forgets_the_old_one_and_refuses_it(positions: Positions) -> None:
    """After an operator has let the ledger go on, a move that began before is not noted, nor sent."""
    positions.note(Position(1, 3, 9))
    positions.note(Position(2, 3, 4))
    assert positions.noted() == Reached(2, {3: 4})
    with pytest.raises(PositionNotNoted, match="newer epoch"):
        positions.note(Position(1, 3, 10))
    assert positions.noted() == Reached(2, {3: 4})


def test_a_round_of_feeding_notes_what_redis_is_behind(positions: Positions, memory: Memory) -> None:
    """What the feed has seen of the ledger, and no worker has noted: nothing is set back by it."""
    positions.note(Position(1, 3, 9))
    memory.note(Reached(1, {3: 12, 4: 1}))
    positions.fill(positions.noted())
    assert positions.noted() == Reached(1, {3: 12, 4: 1})
    Positions(positions._redis, "dialer:a-ledger:", Memory()).fill(Reached())
    assert positions.noted() == Reached(1, {3: 12, 4: 1})


def test_each_ledger_has_a_key_of_its_own(positions: Positions, valkey: Redis) -> None:
    """Two of them on one Redis know nothing of each other."""
    other = Positions(valkey, "dialer:another:", Memory())
    positions.note(Position(1, 3, 9))
    assert other.noted() == Reached()
    assert sorted(valkey.keys()) == [b"dialer:a-ledger:positions"]


def test_redis_that_has_forgotten_is_told_again(positions: Positions, memory: Memory, valkey: Redis) -> None:
    """Also where another worker has noted something meanwhile. What it knows stays as it is."""
    memory.note(Reached(1, {3: 9, 4: 2, 5: 0}))
    positions.fill(positions.noted())
    assert positions.noted() == Reached(1, {3: 9, 4: 2, 5: 0})
    valkey.flushall()
    Positions(valkey, "dialer:a-ledger:", Memory()).note(Position(1, 3, 10))
    positions.fill(positions.noted())
    assert positions.noted() == Reached(1, {3: 10, 4: 2, 5: 0})
    memory.note(Reached(2, {3: 1}))
    positions.fill(positions.noted())
    assert positions.noted() == Reached(2, {3: 1})


def test_redis_that_is_away_is_said(away: Positions) -> None:
    """Neither is anything noted, nor is it taken for a Redis that knows nothing."""
    with pytest.raises(PositionNotNoted, match=r"^Redis does not answer \(ConnectionError\)$"):
        away.note(Position(1, 3, 9))
    with pytest.raises(PositionNotNoted):
        away.noted()


def test_no_request_leaves_whose_position_only_the_ledger_knows(
    book: Any,
    make_dialer: Callable[..., Any],
    seam: Callable[..., Any],
    positions: Positions,
    away: Positions,
) -> None:
    """Redis goes between the slot and the request: the attempt goes back, and is dialed once it is noted."""
    book.load("+14155550100")
    connect = seam()
    (claim,) = book.claim()
    assert make_dialer(connect=connect, note_position=away.note).dial(claim) == "returned"
    assert connect.orders == []
    assert book.standing() == ("returned", "waiting")
    book.clock.now += 1
    (claim,) = book.claim()
    assert make_dialer(connect=connect, note_position=positions.note).dial(claim) == "placed"
    assert sum(positions.noted().slots.values()) == 2


def test_position_is_noted_before_the_request_leaves(
    book: Any, make_dialer: Callable[..., Any], seam: Callable[..., Any], positions: Positions
) -> None:
    """A worker that dies right after its request has left Redis knowing of it."""
    book.load("+14155550100")
    noted: list[Reached] = []
    connect = seam(lambda: noted.append(positions.noted()))
    (claim,) = book.claim()
    assert make_dialer(connect=connect, note_position=positions.note).dial(claim) == "placed"
    assert [sum(reached.slots.values()) for reached in noted] == [1]
