"""The whole dialer at random, in simulated time: no interleaving rings twice, wrongly, or loses anybody.

Ten minutes of it, and what it finds with one guard taken out at a time, are in bench/model.py.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.model.hosts import Desk
from tests.model.journal import Journal
from tests.model.mutants import MUTANTS, sees
from tests.model.steps import Count, Episode
from tests.model.world import Violation

STEPS = 300
EPISODES = {"sqlite": 25, "postgresql": 6}
SURE = (
    ("no_state", "postgresql"),
    ("dialing_is_due_again", "sqlite"),
    ("nearest_is_taken", "sqlite"),
)
"""Mutants that are found within seconds on that ledger; bench/model.py tries all."""


@pytest.fixture
def shared(ledger_url: str) -> Iterator[tuple[Desk, Journal]]:
    """A ledger that is emptied for each episode, and the model's own look at it."""
    desk = Desk.at(ledger_url)
    logging.disable(logging.CRITICAL)  # an episode has thousands of lines, and a story of its own
    try:
        with closing(Journal(desk.engine)) as journal:
            yield desk, journal
    finally:
        logging.disable(logging.NOTSET)
        desk.engine.dispose()


def _seed() -> str:
    # Where a change is judged, the same episodes for everybody; at the desk, new ones every time.
    return "judged" if os.environ.get("CI") else os.urandom(4).hex()


def test_no_promise_is_broken(shared: tuple[Desk, Journal]) -> None:
    """Rings, calls in progress, suppression, hours, limits, sides, contacts, people and counts."""
    desk, journal = shared
    total, seed = Count(), _seed()
    for n in range(EPISODES[desk.engine.dialect.name]):
        episode = Episode(f"{seed}-{n}", desk, journal)
        try:
            total.add(episode.run(STEPS))
        except Violation as violation:
            story = "\n".join(episode.world.story[-60:])
            pytest.fail(f"{violation}\n{story}\npython bench/model.py --seed {seed}-{n}")
    assert total.rings > total.episodes, "the model has gone idle"


@pytest.mark.parametrize(("name", "ledger_url"), SURE, indirect=["ledger_url"])
def test_a_guard_that_is_taken_out_is_missed(name: str, shared: tuple[Desk, Journal]) -> None:
    """The model finds what it is there to find."""
    desk, journal = shared
    mutant = next(each for each in MUTANTS if each.name == name)
    seen = (sees(mutant, desk, journal, f"mutant-{n}", STEPS) for n in range(30))
    assert next(filter(None, seen), None), f"nothing was seen without this guard: {mutant.guard}"


def test_an_episode_is_told_by_its_seed(shared: tuple[Desk, Journal]) -> None:
    """The same seed takes the same course, so that what was found can be looked at."""
    desk, journal = shared
    stories = []
    for _ in range(2):
        episode = Episode("twice-1", desk, journal)
        episode.run(100)
        stories.append(episode.world.story)
    assert stories[0] == stories[1]
