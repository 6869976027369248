from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import text, update

from campaigns.attempt import AttemptState, Outcome
from campaigns.ledger.tables import recipients
from campaigns.ledger.tallies import tallied
from campaigns.ledger.waiting import waiting
from campaigns.waits import Later, Rule, Waiting

if TYPE_CHECKING:
    from tests.conftest import Desk

DENVER, BERLIN = "America/Denver", "Europe/Berlin"
REDIALS = {"max_attempts": 3, "busy": "10m"}


def loaded(desk: "Desk", *zones: str | None) -> None:
    """A running campaign with one person in each of these zones, key-1 and so on."""
    people = [replace(p, zones=z) for p, z in zip(desk.people(len(zones)), zones, strict=True)]
    desk.load(desk.campaign(redial=REDIALS), people)
    desk.start()


def counted(desk: "Desk", *, by_zones: bool = True) -> list[Waiting]:
    with desk.ledger.read() as db:
        run_id = desk.run().id
        everybody = tallied(db, run_id).waiting
        return waiting(db, run_id, desk.noon, counted=everybody, by_zones=by_zones)


def test_people_are_counted_by_where_they_are(desk: "Desk") -> None:
    """A group for each set of zones, those of whom none is known among them; who is called is in none."""
    loaded(desk, DENVER, BERLIN, DENVER, None, DENVER)
    assert sorted(counted(desk), key=str) == [Waiting(DENVER, 3), Waiting(BERLIN, 1), Waiting(None, 1)]
    desk.claim(2)
    assert sum(group.due for group in counted(desk)) == 3
    assert counted(desk, by_zones=False) == [Waiting(None, 3)]


def test_what_people_wait_for_is_told_apart(desk: "Desk") -> None:
    """A redial, a reminder and the limits: each with how many, and when the first and the last are due."""
    loaded(desk, *[DENVER] * 6)
    claims = desk.claim(2)
    for claimed, minutes in zip(claims, (10, 20), strict=True):
        desk.bring(claimed, AttemptState.PLACED)
        desk.ended(claimed, Outcome.BUSY, redial_at=desk.noon + timedelta(minutes=minutes))
    hour, week = desk.noon + timedelta(hours=1), desk.noon + timedelta(days=7)
    for key, values in (("key-3", {"due_at": hour}), ("key-4", {"due_at": week, "waits_for": "limit"})):
        with desk.ledger.write() as db:
            db.execute(update(recipients).where(recipients.c.key == key).values(values))
    expected = (
        Later(Rule.LIMITS, 1, week, week),
        Later(Rule.REDIAL, 2, desk.noon + timedelta(minutes=10), desk.noon + timedelta(minutes=20)),
        Later(Rule.REMINDER, 1, hour, hour),
    )
    assert counted(desk) == [Waiting(DENVER, 2, expected)]
    assert counted(desk, by_zones=False) == [Waiting(None, 2, expected)]


def test_what_comes_back_in_a_moment_counts_as_due(desk: "Desk") -> None:
    """A throttled call is due again in a second, and nobody waits for a rule."""
    loaded(desk, DENVER)
    with desk.ledger.write() as db:
        db.execute(update(recipients).values(due_at=desk.noon + timedelta(seconds=4)))
    assert counted(desk) == [Waiting(DENVER, 1)]


def test_it_is_counted_from_an_index(desk: "Desk", plans: Callable[..., list[str]]) -> None:
    """Of a list of which most are called, or due now, only those who are due later are gone through."""
    people = [replace(p, zones=(DENVER, BERLIN)[n % 2]) for n, p in enumerate(desk.people(3_000))]
    desk.load(desk.campaign(), people)
    with desk.ledger.write() as db:
        db.execute(text("UPDATE recipients SET state = 'done' WHERE line > 100"))
        db.execute(text("UPDATE recipients SET due_at = 9000000000000000 WHERE line < 50"))
        db.execute(text("ANALYZE"))
    found = plans(desk.ledger, lambda: counted(desk))
    counts = [plan for plan in found if "count(*)" in plan.lower() and "zones" in plan]
    assert len(counts) == 1
    # PostgreSQL may find another index cheaper for so few.
    wanted = "ix_recipients_due (run_id=? AND due_at>?)" if desk.ledger.is_sqlite else "ix_recipients_"
    assert wanted in counts[0]
    assert "Seq Scan" not in counts[0]
