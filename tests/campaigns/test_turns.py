from collections import Counter
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from campaigns.turns import Contender, share

WEIGHTS = st.sampled_from([0.001, 0.5, 1.0, 1.5, 2.0, 7.0, 1000.0])
CONTENDERS = st.lists(st.tuples(st.floats(0, 50), WEIGHTS, st.integers(0, 40)), max_size=6).map(
    lambda rows: [Contender(i, *row) for i, row in enumerate(rows)]
)


@given(st.integers(0, 100), CONTENDERS)
def test_all_of_the_room_and_no_more(room: int, contenders: list[Contender]) -> None:
    """Nobody gets more than they could send, and no room is left while anybody could use it."""
    shares = share(room, contenders)
    assert [s.run_id for s in shares] == [c.run_id for c in contenders]
    assert all(0 <= s.sends <= c.could_send for s, c in zip(shares, contenders, strict=True))
    assert sum(s.sends for s in shares) == min(room, sum(c.could_send for c in contenders))


@given(st.integers(0, 100), CONTENDERS)
def test_turns_never_go_back(room: int, contenders: list[Contender]) -> None:
    """Every call moves its run's turn on by 1/weight, and no turn goes back."""
    for s, c in zip(share(room, contenders), contenders, strict=True):
        assert s.turn >= c.turn
        if s.sends:
            assert abs(s.turn - (c.turn + s.sends / c.weight)) < 1e-6 * max(1.0, s.turn)


@given(st.lists(st.integers(1, 9), min_size=2, max_size=5), st.lists(st.integers(0, 7), max_size=60))
def test_long_run_shares_follow_the_weights(weights: list[int], rooms: list[int]) -> None:
    """After any rounds of any size nobody is more than a call ahead of their weight's share."""
    turns, given_to = [0.0] * len(weights), [0] * len(weights)
    for room in rooms:
        contenders = [Contender(i, turns[i], float(w), 1_000) for i, w in enumerate(weights)]
        for s in share(room, contenders):
            turns[s.run_id] = s.turn
            given_to[s.run_id] += s.sends
    for one, weight in zip(given_to, weights, strict=True):
        for other, other_weight in zip(given_to, weights, strict=True):
            assert one / weight - other / other_weight <= 1 / weight + 1e-9


INSTANCES = st.sampled_from(["north", "south", "west"])


@given(
    st.integers(0, 100),
    CONTENDERS,
    st.lists(INSTANCES, min_size=6, max_size=6),
    st.dictionaries(INSTANCES, st.integers(-3, 30)),
)
def test_no_instance_gets_more_than_it_has_room_for(
    room: int, contenders: list[Contender], instances: list[str], rooms: dict[str, int]
) -> None:
    """Each instance gets what it can use within its room and the round's; no turn goes back."""
    here = [replace(c, instance=instance) for c, instance in zip(contenders, instances, strict=False)]
    shares = share(room, here, rooms)
    sent = Counter[str]()
    wanted = Counter[str]()
    for s, c in zip(shares, here, strict=True):
        assert 0 <= s.sends <= c.could_send
        assert s.turn >= c.turn + s.sends / c.weight - 1e-6 * max(1.0, s.turn)
        sent[c.instance] += s.sends
        wanted[c.instance] += c.could_send
    usable = {name: min(wanted[name], max(0, rooms.get(name, 1_000_000))) for name in wanted}
    assert all(sent[name] <= usable[name] for name in wanted)
    assert sum(sent.values()) == min(room, sum(usable.values()))


@given(st.integers(1, 60), st.integers(1, 5))
def test_runs_of_a_full_instance_take_turns_and_save_none_up(rounds: int, weight: int) -> None:
    """Two runs share what little room their instance has by weight, beside one that has all it wants; when
    the room is there at last they do not take everything."""
    turns = {1: 0.0, 2: 0.0, 3: 0.0}
    weights = {1: 1.0, 2: float(weight), 3: 1.0}
    given_to = Counter[int]()
    for _ in range(rounds):
        here = [Contender(i, turns[i], weights[i], 100, "narrow" if i < 3 else "wide") for i in turns]
        for s in share(20, here, {"narrow": 1}):
            turns[s.run_id] = s.turn
            given_to[s.run_id] += s.sends
    assert given_to[1] + given_to[2] == rounds
    assert given_to[3] == 19 * rounds
    assert abs(given_to[2] / weight - given_to[1]) <= 1 + 1e-9
    wide = [Contender(i, turns[i], 1.0, 100, "wide") for i in (1, 3)]
    first, third = share(40, wide)
    assert abs(first.sends - third.sends) <= 3


@given(st.integers(1, 50), st.integers(1, 200))
def test_turns_are_not_saved_up(idle_rounds: int, room: int) -> None:
    """A run that had nothing to send shares evenly when it wakes, however long it slept."""
    busy, idle = 0.0, 0.0
    for _ in range(idle_rounds):
        one, two = share(10, [Contender(1, busy, 1.0, 1_000), Contender(2, idle, 1.0, 0)])
        busy, idle = one.turn, two.turn
    one, two = share(room, [Contender(1, busy, 1.0, 1_000), Contender(2, idle, 1.0, 1_000)])
    assert abs(one.sends - two.sends) <= 1


def test_less_room_than_campaigns() -> None:
    """With room for one call a round, equals take turns."""
    turns = {1: 0.0, 2: 0.0, 3: 0.0}
    order = []
    for _ in range(6):
        for s in share(1, [Contender(i, turn, 1.0, 10) for i, turn in turns.items()]):
            turns[s.run_id] = s.turn
            order += [s.run_id] * s.sends
    assert order == [1, 2, 3, 1, 2, 3]


def test_nobody_there() -> None:
    """Without runs, or without anybody due, nothing is given and no turn moves."""
    assert share(5, []) == []
    (alone,) = share(5, [Contender(1, 3.0, 1.0, 0)])
    assert (alone.sends, alone.turn) == (0, 3.0)
