"""Whose turn is it? Weighted fair share between the campaigns that could call now."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Contender:
    """A running run, as the sharing sees it."""

    run_id: int
    turn: float
    """Calls given so far, divided by the weight: the lowest goes next."""
    weight: float
    could_send: int
    """Recipients who are due and within the campaign's own cap."""


@dataclass(frozen=True, slots=True)
class Share:
    """What one run gets of a round, and the turn that it goes on from."""

    run_id: int
    sends: int
    turn: float


def share(room: int, contenders: Sequence[Contender]) -> list[Share]:
    """Divide `room` calls by weight; what one cannot use goes to the others.

    Start-time fair queueing with calls of equal cost: every call moves its run's turn on by 1/weight and
    the lowest turn is served next, so over time each run gets its weight's share even when a round has room
    for less than one call each. A run that had nothing to send is moved up to the others, because turns
    are not saved up: it would otherwise take all of the rate when it wakes.
    """
    sends = {c.run_id: 0 for c in contenders}
    turns = {c.run_id: c.turn for c in contenders}
    by_id = {c.run_id: c for c in contenders}
    ready = [(c.turn, c.run_id) for c in contenders if c.could_send > 0]
    heapq.heapify(ready)
    while room > 0 and ready:
        _, run_id = heapq.heappop(ready)
        contender = by_id[run_id]
        sends[run_id] += 1
        turns[run_id] += 1 / contender.weight
        room -= 1
        if sends[run_id] < contender.could_send:
            heapq.heappush(ready, (turns[run_id], run_id))
    busy = [turns[c.run_id] for c in contenders if c.could_send > 0]
    if busy:
        floor = min(busy)
        for c in contenders:
            if c.could_send == 0:
                turns[c.run_id] = max(turns[c.run_id], floor)
    return [Share(c.run_id, sends[c.run_id], turns[c.run_id]) for c in contenders]
