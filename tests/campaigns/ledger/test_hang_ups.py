"""The wish to hang up, and which calls it is about, on both databases."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from campaigns.attempt import AttemptState, Outcome
from campaigns.ledger import runs
from campaigns.ledger.claims import Claim
from campaigns.ledger.hang_ups import (
    calls_to_hang_up,
    count_calls_in_progress,
    mark_hung_up,
    runs_to_hang_up,
)
from campaigns.ledger.outcomes import follow_later, take_due_follows

if TYPE_CHECKING:
    from tests.conftest import Desk

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
INSTANCE = "10a4c4eb-f57e-4d4c-b602-bf39176ced07"


def hang_up(desk: "Desk", name: str = "reminders", *, seconds: int = 0) -> int:
    """`dialer cancel --hang-up`."""
    with desk.ledger.write() as db:
        return runs.cancel(db, runs.find(db, name), desk.noon + seconds * SECOND, hang_up=True)


def wanted(desk: "Desk", *, seconds: int = 0, limit: int = 100, exchange: str = "connect") -> list[int]:
    """The attempts whose calls are to be hung up so many seconds after noon, in order."""
    found = calls_to_hang_up(
        desk.ledger,
        runs_to_hang_up(desk.ledger, exchange),
        limit=limit,
        now=desk.noon + seconds * SECOND,
        again=10 * SECOND,
        longest=5 * MINUTE,
    )
    return [call.attempt_id for call in found]


def counted(desk: "Desk", *, seconds: int = 0) -> int:
    """How many calls the campaign has in progress."""
    with desk.ledger.read() as db:
        return count_calls_in_progress(db, desk.run().id, desk.noon + seconds * SECOND)


def marked(desk: "Desk", claimed: Claim, *, seconds: int = 0) -> None:
    """Connect was asked to stop this call so many seconds after noon."""
    now = desk.noon + seconds * SECOND
    mark_hung_up(desk.ledger, claimed.attempt_id, now=now, look_at=now + 2 * SECOND)


def one_of_each(desk: "Desk") -> dict[AttemptState, Claim]:
    """A running campaign with an attempt in each state, and what is placed is due to be looked at."""
    desk.started(len(AttemptState))
    claims = dict(zip(AttemptState, desk.claim(), strict=True))
    for state, claimed in claims.items():
        desk.bring(claimed, state)
    return claims


def placed(desk: "Desk", count: int = 1, follow_at: datetime | None = None, **more: Any) -> list[Claim]:
    """A running campaign with so many placed calls, which nobody follows unless `follow_at` says so."""
    desk.started(count, **more)
    claims = desk.claim()
    for claimed in claims:
        desk.dial(claimed)
        assert desk.placed(claimed, follow_at=follow_at)
    return claims


def test_without_the_wish_nothing_is_hung_up(desk: "Desk") -> None:
    """Cancelling alone lets calls under way end by themselves."""
    placed(desk, follow_at=desk.noon)
    assert (runs_to_hang_up(desk.ledger, "connect"), wanted(desk)) == ([], [])
    desk.cancel()
    assert (runs_to_hang_up(desk.ledger, "connect"), wanted(desk)) == ([], [])
    assert desk.run().hang_up_at is None


def test_the_wish_is_for_what_is_placed_and_still_goes_on(desk: "Desk") -> None:
    """Neither what has ended, nor what was not dialed; who was not called is given up as ever."""
    claims = one_of_each(desk)
    assert hang_up(desk) == 2  # whoever was queued or returned
    found = calls_to_hang_up(
        desk.ledger, [desk.run().id], limit=100, now=desk.noon, again=SECOND, longest=MINUTE
    )
    (call,) = found
    assert (call.attempt_id, call.run_id) == (claims[AttemptState.PLACED].attempt_id, desk.run().id)
    assert call.contact_id == f"contact-{call.attempt_id}"
    assert call.instance_id == INSTANCE
    assert desk.run().hang_up_at == desk.noon


def test_what_may_be_on_the_wire_is_counted_as_well(desk: "Desk") -> None:
    """An operator is told of calls that are being placed at this moment; they will be hung up, too."""
    one_of_each(desk)
    assert counted(desk) == 2  # dialing, placed


def test_the_wish_may_come_after_the_cancelling(desk: "Desk") -> None:
    """A campaign that was cancelled before is hung up then; asking twice changes nothing."""
    (claimed,) = placed(desk, follow_at=desk.noon)
    desk.cancel()
    assert hang_up(desk, seconds=60) == 0
    assert hang_up(desk, seconds=90) == 0
    assert desk.run().hang_up_at == desk.noon + MINUTE
    assert wanted(desk, seconds=90) == [claimed.attempt_id]


def test_late_placed_calls_are_found(desk: "Desk") -> None:
    """What was dialing, or unknown, when the wish was expressed is hung up when it turns out to be a call."""
    claims = one_of_each(desk)
    hang_up(desk)
    dialing, unknown = claims[AttemptState.DIALING], claims[AttemptState.UNKNOWN]
    assert desk.placed(dialing)
    assert desk.found(unknown, "contact-found")
    assert {dialing.attempt_id, unknown.attempt_id} < set(wanted(desk))


def test_nobody_else_is_hung_up(desk: "Desk") -> None:
    """Neither another campaign's calls, nor those of the other exchange."""
    placed(desk, follow_at=desk.noon, name="others")
    (claimed,) = placed(desk, follow_at=desk.noon)
    hang_up(desk)
    assert wanted(desk, exchange="sandbox") == []
    assert wanted(desk) == [claimed.attempt_id]


def test_what_nobody_follows_counts_for_a_while(desk: "Desk") -> None:
    """With DIALER_FOLLOW_SECONDS=0 a call is hung up while it may go on, and only once."""
    first, second = placed(desk, 2)
    hang_up(desk)
    assert (counted(desk, seconds=299), counted(desk, seconds=300)) == (2, 0)
    assert wanted(desk, seconds=300) == []
    assert wanted(desk, seconds=299) == [first.attempt_id, second.attempt_id]
    marked(desk, first)
    assert wanted(desk, seconds=60) == [second.attempt_id]
    assert counted(desk, seconds=60) == 1
    assert (desk.attempt(first).follow_at, desk.attempt(first).state) == (None, "placed")


def test_a_stopped_call_is_looked_at_soon(desk: "Desk") -> None:
    """Its outcome is due in two seconds instead of a minute."""
    (claimed,) = placed(desk, follow_at=desk.noon + MINUTE)
    marked(desk, claimed, seconds=5)
    stopped = desk.attempt(claimed)
    assert (stopped.stopped_at, stopped.follow_at) == (desk.noon + 5 * SECOND, desk.noon + 7 * SECOND)


def test_a_look_that_is_due_sooner_is_not_put_off(desk: "Desk") -> None:
    """Hanging up brings a look forward, and nothing else."""
    (claimed,) = placed(desk, follow_at=desk.noon)
    marked(desk, claimed, seconds=5)
    assert desk.attempt(claimed).follow_at == desk.noon


def test_what_is_still_not_over_is_stopped_again(desk: "Desk") -> None:
    """Ten seconds later, after those that nobody has stopped yet; the first time is the one that is told of.

    A look that began before the call was hung up may put the next one off: this brings it forward again.
    """
    first, second = placed(desk, 2, follow_at=desk.noon)
    hang_up(desk)
    (taken, _) = take_due_follows(
        desk.ledger, exchange="connect", limit=10, now=desk.noon, until=desk.noon + MINUTE
    )
    marked(desk, first)
    follow_later(desk.ledger, taken.attempt_id, desk.noon + 2 * MINUTE)
    assert wanted(desk, seconds=9) == [second.attempt_id]
    assert wanted(desk, seconds=10) == [second.attempt_id, first.attempt_id]
    assert wanted(desk, seconds=10, limit=1) == [second.attempt_id]
    marked(desk, first, seconds=10)
    stopped = desk.attempt(first)
    assert (stopped.stopped_at, stopped.follow_at) == (desk.noon, desk.noon + 12 * SECOND)


def test_what_has_ended_meanwhile_is_told_of_as_hung_up(desk: "Desk") -> None:
    """The follower may learn of the end before the hanging up is written down; nobody looks again."""
    (claimed,) = placed(desk, follow_at=desk.noon)
    assert desk.ended(claimed, Outcome.STOPPED)
    marked(desk, claimed, seconds=1)
    over = desk.attempt(claimed)
    assert (over.state, over.outcome, over.follow_at) == ("ended", "stopped", None)
    assert over.stopped_at == desk.noon + SECOND


def test_nobody_is_dialed_again(desk: "Desk") -> None:
    """A call that was hung up has no successor, whatever the campaign's rules say."""
    (claimed,) = placed(desk, follow_at=desk.noon, redial={"max_attempts": 5, "no_answer": "1m"})
    hang_up(desk)
    marked(desk, claimed)
    assert desk.ended(claimed, Outcome.STOPPED, redial_at=desk.noon + MINUTE)
    assert (desk.claim(now=desk.noon + 5 * MINUTE), desk.states()) == ([], ["done"])


def test_a_long_list_is_not_gone_through(desk: "Desk", plans: Callable[..., list[str]]) -> None:
    """Every second somebody asks, so neither question goes through all that was ever placed."""
    placed(desk, 600)
    hang_up(desk)
    with desk.ledger.write() as db:
        db.exec_driver_sql("ANALYZE")
    late = desk.noon + timedelta(hours=1)

    def ask() -> None:
        run_ids = runs_to_hang_up(desk.ledger, "connect")
        found = calls_to_hang_up(
            desk.ledger, run_ids, limit=10, now=late, again=10 * SECOND, longest=5 * MINUTE
        )
        assert found == []

    (plan,) = (plan for plan in plans(desk.ledger, ask) if "UNION ALL" in plan)
    used = plan.partition("UNION ALL")[2]
    assert "ix_attempts_follow" in used
    assert "ix_attempts_unfollowed" in used or "ix_attempts_run_dialing_at" in used
    assert "SCAN attempts" not in used
    assert "Seq Scan on attempts" not in used


@pytest.mark.parametrize("order", ["hang up first", "end first"])
def test_the_end_and_the_hanging_up_may_come_in_any_order(desk: "Desk", order: str) -> None:
    """Whichever is written first, the call is over once, with its outcome and the time of the hanging up."""
    (claimed,) = placed(desk, follow_at=desk.noon)
    hang_up(desk)
    moves: list[Callable[[], Any]] = [lambda: marked(desk, claimed), lambda: desk.ended(claimed)]
    for move in moves if order == "hang up first" else reversed(moves):
        move()
    over = desk.attempt(claimed)
    assert (over.state, over.outcome, over.stopped_at) == ("ended", "answered", desk.noon)
    assert (wanted(desk, seconds=60), counted(desk), desk.states()) == ([], 0, ["done"])
