from campaigns.attempt import LEGAL_MOVES, AttemptState


def reachable(start: AttemptState, without: AttemptState | None = None) -> set[AttemptState]:
    found: set[AttemptState] = set()
    open_ends = [start]
    while open_ends:
        for state in LEGAL_MOVES[open_ends.pop()] - found - {without}:
            found.add(state)
            open_ends.append(state)
    return found


def test_every_state_has_its_moves() -> None:
    """No state is missing from the table, and none moves to itself."""
    assert LEGAL_MOVES.keys() == set(AttemptState)
    assert [state for state, moves in LEGAL_MOVES.items() if state in moves] == []


def test_every_state_can_be_reached() -> None:
    """An attempt begins queued, and can come to every other state."""
    assert reachable(AttemptState.QUEUED) | {AttemptState.QUEUED} == set(AttemptState)


def test_what_may_have_rung_is_never_queued_again() -> None:
    """From placed, ended and refused no road leads back; from unknown only by word that it never rang."""
    queue = {AttemptState.QUEUED, AttemptState.RETURNED, AttemptState.DIALING}
    for state in (AttemptState.PLACED, AttemptState.ENDED, AttemptState.REFUSED):
        assert reachable(state).isdisjoint(queue)
    assert reachable(AttemptState.UNKNOWN, without=AttemptState.RETURNED).isdisjoint(queue)


def test_nothing_is_placed_without_having_been_dialing() -> None:
    """Every road from the queue to a call leads through `dialing`, which is written before the request."""
    assert reachable(AttemptState.QUEUED, without=AttemptState.DIALING) == {
        AttemptState.RETURNED,
        AttemptState.QUEUED,
    }


def test_the_end_is_the_end() -> None:
    """Nothing that has ended is ever dialed again; only a call that was given up may turn out to go on."""
    assert LEGAL_MOVES[AttemptState.REFUSED] == frozenset()
    assert LEGAL_MOVES[AttemptState.ENDED] == {AttemptState.PLACED}
