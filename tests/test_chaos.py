"""The short drills, on both databases; and that the checker sees each thing that must never be."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from bench.chaos.checker import Rules, busiest_second, check, too_early
from bench.chaos.people import numbers
from bench.chaos.storm import Disaster, storm

ROOT = Path(__file__).parents[1]
RULES = Rules(
    frozenset({"busy", "no_answer"}), max_attempts=3, calls_per_second=10.0, burst=2, max_active_calls=1
)


@pytest.fixture
def drills() -> Iterator[list[subprocess.Popen[str]]]:
    """A short drill on each database, side by side: most of their time is spent waiting."""
    disasters = ["--kills=20", "--flushes=1", "--redis-restarts=1", "--freezes=1", "--cuts=1", "--piece=80"]
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "bench.chaos", "--ledger", ledger, *disasters, "--json"],
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for ledger in ("sqlite", "postgresql")
    ]
    yield running
    for drill in running:
        drill.terminate()
        drill.communicate()


@pytest.mark.timeout(900)
def test_short_drills_ring_nobody_twice_and_lose_nobody(drills: list[subprocess.Popen[str]]) -> None:
    """Kills, Redis losses, cut connections and lost answers: the journal and the ledger agree."""
    for drill in drills:
        said, complained = drill.communicate()
        assert said, complained
        found = json.loads(said)
        assert found["what"] == []
        assert drill.returncode == 0
        assert tuple(found[kind] for kind in Disaster) == (20, 1, 1, 1, 1)
        assert found["rings"] > 80
        assert (found["second_rings"], found["lost"], found["unsettled"]) == (0, 0, 0)


class World:
    """A journal and a ledger that agree, until a test makes them disagree."""

    def __init__(self) -> None:
        self.journal: list[dict[str, Any]] = []
        self.people: list[str] = []
        self.recipients: list[dict[str, Any]] = []
        self.attempts: list[dict[str, Any]] = []
        self._ids = count(1)

    def person(self, phone: str, *endings: str) -> None:
        """Somebody who was called once for each ending, and is done."""
        number = len(self.recipients) + 1
        self.people.append(phone)
        self.recipients.append({"id": number, "phone": phone, "state": "done", "attempts": len(endings)})
        for attempt, ending in enumerate(endings, start=1):
            identity = next(self._ids)
            self.attempts.append(
                {
                    "id": identity,
                    "recipient_id": number,
                    "number": attempt,
                    "client_token": f"token-{identity}",
                    "state": "ended",
                    "contact_id": f"contact-{identity}",
                    "outcome": ending,
                }
            )
            self.ring(phone, f"token-{identity}", f"contact-{identity}", ending)

    def ring(self, phone: str, token: str, contact: str, ending: str = "answered") -> None:
        """One line of the journal, ten seconds after the one before; the call takes five."""
        now = 1000.0 + 10 * len(self.journal)
        self.journal.append(
            {
                "epoch": now,
                "client_token": token,
                "destination": phone,
                "contact_id": contact,
                "rang": True,
                "error": None,
                "fault": None,
                "call": {"placed_at": now, "ended_at": now + 5, "ending": ending},
            }
        )

    def violations(self) -> list[str]:
        """What the checker says of it."""
        return check(self.journal, self.people, self.recipients, self.attempts, RULES).violations


ANA, BEN = "+14155550101", "+14155550102"


@pytest.fixture
def world() -> World:
    """Ana was busy once and answered then; Ben answered."""
    made = World()
    made.person(ANA, "busy", "answered")
    made.person(BEN, "answered")
    return made


def test_the_checker_has_nothing_to_say_of_a_world_that_is_in_order(world: World) -> None:
    """No violation, and the figures are counted right."""
    found = check(world.journal, world.people, world.recipients, world.attempts, RULES)
    assert found.violations == []
    expected = {"people": 2, "rings": 3, "second_rings": 0, "redials": 1, "lost": 0, "never_rang": 0}
    assert expected == {name: found.figures[name] for name in expected}


def second_ring(world: World) -> None:
    world.ring(BEN, "token-3", "contact-4")


def two_calls_at_once(world: World) -> None:
    world.journal[1]["call"]["placed_at"] = world.journal[0]["call"]["ended_at"] - 1


def ring_without_attempt(world: World) -> None:
    world.ring(BEN, "token-9", "contact-9")


def ring_of_another_number(world: World) -> None:
    world.journal[2]["destination"] = ANA


def ring_that_counts_as_refused(world: World) -> None:
    world.attempts[2] |= {"state": "refused", "contact_id": None, "outcome": None}


def ring_that_passed_for_silent(world: World) -> None:
    world.attempts[0] |= {"state": "unknown", "contact_id": None, "outcome": None}


def contact_of_nobody(world: World) -> None:
    world.journal[2] |= {"rang": False, "call": None}


def contact_of_another(world: World) -> None:
    world.attempts[2]["contact_id"] = "contact-2"


def loaded_and_gone(world: World) -> None:
    world.people.append("+14155550103")


def on_no_list(world: World) -> None:
    world.people.remove(BEN)


def waiting_at_the_end(world: World) -> None:
    world.recipients[1]["state"] = "waiting"


def in_the_ledger_twice(world: World) -> None:
    world.recipients.append(world.recipients[1] | {"id": 3, "attempts": 0})


def done_without_a_ring(world: World) -> None:
    world.journal.pop()


def an_attempt_too_few(world: World) -> None:
    world.recipients[1]["attempts"] = 2


def called_too_often(world: World) -> None:
    world.person("+14155550104", "busy", "busy", "busy", "answered")


def called_again_after_an_answer(world: World) -> None:
    world.person("+14155550104", "answered", "answered")


def not_called_again_after_busy(world: World) -> None:
    world.person("+14155550104", "busy")


def two_attempts_at_once(world: World) -> None:
    world.attempts[0] |= {"state": "placed", "outcome": None}


def held_for_nothing(world: World) -> None:
    world.recipients[1]["state"] = "held"


def done_in_the_middle(world: World) -> None:
    world.attempts[2] |= {"state": "placed", "outcome": None}


def wrong_outcome(world: World) -> None:
    world.attempts[2]["outcome"] = "voicemail"


def more_calls_than_room(world: World) -> None:
    world.journal[0]["call"]["ended_at"] += 25


def too_many_at_once(world: World) -> None:
    world.journal[1]["epoch"] = world.journal[2]["epoch"] = world.journal[0]["epoch"]


@pytest.mark.parametrize(
    ("disorder", "words"),
    [
        (second_ring, f"{BEN} rang 2 times for token token-3"),
        (two_calls_at_once, f"{ANA} was rung while a call to it went on"),
        (ring_without_attempt, f"{BEN} rang, and the ledger has no attempt with token token-9"),
        (ring_of_another_number, f"{ANA} rang for attempt 3, which is another number's"),
        (ring_that_counts_as_refused, f"{BEN} rang for attempt 3, which is refused without a contact"),
        (ring_that_passed_for_silent, f"{ANA} rang for attempt 1, which passed for silent"),
        (contact_of_nobody, "attempt 3 has contact contact-3, which is no call of the journal"),
        (contact_of_another, "attempt 3 has contact contact-2, which is another attempt's"),
        (loaded_and_gone, "+14155550103 was loaded and is not in the ledger"),
        (on_no_list, f"{BEN} is in the ledger and on no list"),
        (waiting_at_the_end, f"{BEN} is still waiting"),
        (in_the_ledger_twice, f"{BEN} is done and done in the ledger"),
        (done_without_a_ring, f"{BEN} is done and never rang"),
        (an_attempt_too_few, f"{BEN} has 2 attempts by its own count, and others in the ledger"),
        (called_too_often, "+14155550104 was called 4 times, and 3 are allowed"),
        (called_again_after_an_answer, "+14155550104 was called again after attempt 1 was answered"),
        (not_called_again_after_busy, "+14155550104 was busy and is done after 1 calls only"),
        (two_attempts_at_once, f"{ANA} has attempt 1 placed, and another after it"),
        (held_for_nothing, f"{BEN} is held, and its last attempt is ended"),
        (done_in_the_middle, f"{BEN} is done, and its last attempt is placed"),
        (wrong_outcome, "attempt 3 is voicemail, and the call was answered"),
        (more_calls_than_room, "2 calls were in progress at once; 1 is the limit"),
        (too_many_at_once, "1 requests came above the quota, the first at 1000.000"),
    ],
)
def test_the_checker_sees(world: World, disorder: Callable[[World], None], words: str) -> None:
    """Each thing that must never be is found, and said in a line."""
    disorder(world)
    assert words in world.violations()


def test_a_ring_of_which_nobody_knows_may_be_held(world: World) -> None:
    """A last attempt that is unknown may have rung or not; its recipient is held, and not lost."""
    world.attempts[2] |= {"state": "unknown", "contact_id": None, "outcome": None}
    world.recipients[1]["state"] = "held"
    assert world.violations() == []
    world.journal.pop()
    assert world.violations() == []


def test_the_bucket_is_that_of_the_account() -> None:
    """Burst at once, then the rate; the first request beyond it is above the quota."""
    moments = [0.0, 0.0, 0.0, 0.1, 0.15, 0.2]
    journal = [{"epoch": moment} for moment in moments]
    assert too_early(journal, calls_per_second=10.0, burst=2) == [0.0, 0.15]
    assert busiest_second(moments) == 6
    assert busiest_second([0.0, 0.5, 1.0, 2.0]) == 2


def test_the_same_seed_brings_the_same_storm() -> None:
    """As many disasters of each kind as asked for, in an order that only the seed decides."""
    counts = {Disaster.KILL: 50, Disaster.FLUSH: 3}
    once = storm(7, counts)
    assert once == storm(7, counts)
    assert once != storm(8, counts)
    assert tuple(sum(s.disaster == kind for s in once) for kind in counts) == (50, 3)


def test_nobody_real_is_ever_called() -> None:
    """All numbers are reserved for fiction, and each is there once."""
    everybody = numbers(1)
    assert len(everybody) == len(set(everybody)) > 20_000
    assert {"55501"} == {number[5:10] for number in everybody}
