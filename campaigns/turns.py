"""Whose turn is it? Weighted fair share between the campaigns that could call now."""

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Contender:
    """A running run, as the sharing sees it."""

    run_id: int
    turn: float
    """Calls given so far, divided by the weight: the lowest goes next."""
    weight: float
    could_send: int
    """Recipients who are due and within the campaign's own cap."""
    instance: str = ""
    """Where it calls from: runs of one instance share the room that this has."""


@dataclass(frozen=True, slots=True)
class Share:
    """What one run gets of a round, and the turn that it goes on from."""

    run_id: int
    sends: int
    turn: float


def share(room: int, contenders: Sequence[Contender], rooms: Mapping[str, int] | None = None) -> list[Share]:
    """Divide `room` calls by weight; what one cannot use goes to the others.

    `rooms`: how many calls each instance has room for; one that is not named has all there is.

    Start-time fair queueing with calls of equal cost: every call moves its run's turn on by 1/weight and
    the lowest turn is served next, so over time each run gets its weight's share even when a round has room
    for less than one call each. Turns are not saved up, neither by a run that had nothing to send nor by
    runs whose instance was full: they would otherwise take all of the rate when they can go on.
    """
    left = dict(rooms or {})
    sends = {c.run_id: 0 for c in contenders}
    turns = {c.run_id: c.turn for c in contenders}
    by_id = {c.run_id: c for c in contenders}
    ready = [(c.turn, c.run_id) for c in contenders if c.could_send > 0]
    heapq.heapify(ready)
    while room > 0 and ready:
        _, run_id = heapq.heappop(ready)
        contender = by_id[run_id]
        if left.get(contender.instance, 1) <= 0:
            continue
        if contender.instance in left:
            left[contender.instance] -= 1
        sends[run_id] += 1
        turns[run_id] += 1 / contender.weight
        room -= 1
        if sends[run_id] < contender.could_send:
            heapq.heappush(ready, (turns[run_id], run_id))
    after = [replace(c, turn=turns[c.run_id]) for c in contenders]
    return [
        Share(c.run_id, sends[c.run_id], turn)
        for c, turn in zip(contenders, _not_saved_up(after, left), strict=True)
    ]


def _not_saved_up(contenders: Sequence[Contender], left: Mapping[str, int]) -> list[float]:
    """The turns that they go on from."""
    waiting = [c for c in contenders if c.could_send > 0]
    free = [c.turn for c in waiting if left.get(c.instance, 1) > 0]
    lowest: dict[str, float] = {}
    for c in waiting:
        if left.get(c.instance, 1) <= 0:
            lowest[c.instance] = min(c.turn, lowest.get(c.instance, c.turn))
    if not waiting:
        return [c.turn for c in contenders]
    # Where every instance is full it is they, and not the turns, that decide; they stay side by side.
    floor = min(free) if free else max(lowest.values())
    turns = []
    for c in contenders:
        if c.could_send == 0:
            turns.append(max(c.turn, floor))
        else:
            # Runs of one full instance move up together: among themselves they keep their order.
            behind = floor - lowest[c.instance] if c.instance in lowest else 0.0
            turns.append(c.turn + max(0.0, behind))
    return turns
