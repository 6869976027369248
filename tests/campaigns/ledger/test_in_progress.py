"""Calls in progress: counted from the ledger, per instance, and never more released than fit."""

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from campaigns.attempt import AttemptState, Outcome
from campaigns.ledger import Ledger
from campaigns.ledger.in_progress import CallLimit, full_instances, in_progress
from campaigns.ledger.moves import mark_unknown
from campaigns.mistake import Mistake

if TYPE_CHECKING:
    from tests.conftest import Desk

HERE, THERE = "10a4c4eb-f57e-4d4c-b602-bf39176ced07", "20a4c4eb-f57e-4d4c-b602-bf39176ced07"
FIVE_MINUTES = timedelta(minutes=5)


def limit(most: int) -> CallLimit:
    return CallLimit(most, FIVE_MINUTES)


def counted(desk: "Desk", *, after: timedelta = timedelta(0)) -> dict[str, int]:
    with desk.ledger.read() as db:
        return dict(in_progress(db, "connect", limit(9), desk.noon + after))


@pytest.mark.parametrize(
    ("state", "counts"),
    [
        (AttemptState.QUEUED, 1),
        (AttemptState.RETURNED, 0),
        (AttemptState.DIALING, 1),
        (AttemptState.PLACED, 1),
        (AttemptState.ENDED, 0),
        (AttemptState.REFUSED, 0),
        (AttemptState.UNKNOWN, 1),
    ],
)
def test_what_counts_as_in_progress(desk: "Desk", state: AttemptState, counts: int) -> None:
    """From its release until its end is known: what may be on the phone counts."""
    desk.started(1)
    (claimed,) = desk.claim()
    desk.bring(claimed, state)
    assert counted(desk) == ({HERE: 1} if counts else {})


@pytest.mark.parametrize("most", [1, 3, 10])
def test_no_more_are_released_than_fit(desk: "Desk", most: int) -> None:
    """Whatever the queue would take, the feed stops at the limit, and goes on as calls end."""
    desk.started(30)
    claims = desk.claim(limit=limit(most))
    assert len(claims) == most
    assert desk.claim(limit=limit(most)) == []
    for claimed in claims:
        desk.bring(claimed, AttemptState.PLACED)
    assert desk.claim(limit=limit(most)) == []
    assert desk.ended(claims[0])
    assert len(desk.claim(limit=limit(most))) == 1
    assert full_instances(desk.ledger, "connect", limit(most), desk.noon) == [HERE]


def test_lower_limit_holds_at_once(desk: "Desk") -> None:
    """With more in progress than a new, lower limit allows, nobody is released until enough have ended."""
    desk.started(10)
    claims = desk.claim(limit=limit(5))
    for claimed in claims:
        desk.bring(claimed, AttemptState.PLACED)
    for claimed in claims[:3]:
        assert desk.claim(limit=limit(2)) == []
        assert desk.ended(claimed)
    assert desk.claim(limit=limit(2)) == []
    assert desk.ended(claims[3])
    assert len(desk.claim(limit=limit(2))) == 1


def test_instances_do_not_share_their_room(desk: "Desk") -> None:
    """A full instance costs the other one nothing, and all campaigns of one instance share its room."""
    for name, instance in (("one", HERE), ("two", HERE), ("three", THERE)):
        table = {"instance_id": instance, "contact_flow_id": THERE, "source_phone_number": "+14155550199"}
        desk.started(10, name, connect=table)
    claims = desk.claim(limit=limit(4))
    assert counted(desk) == {HERE: 4, THERE: 4}
    assert len(claims) == 8
    mine = [a for a in desk.attempts("three") if a.state == "queued"]
    for claimed in claims:
        desk.bring(claimed, AttemptState.PLACED)
    (gone,) = [c for c in claims if c.attempt_id == mine[0].id]
    assert desk.ended(gone)
    (next_one,) = desk.claim(limit=limit(4))
    assert desk.attempt(next_one).run_id == desk.run("three").id
    assert [len([a for a in desk.attempts(name) if a.state == "placed"]) for name in ("one", "two")] == [2, 2]


def test_calls_of_a_paused_or_cancelled_campaign_count(desk: "Desk") -> None:
    """Pausing and cancelling end no call, so what another campaign may release does not grow."""
    desk.started(3, "first")
    for claimed in desk.claim():
        desk.bring(claimed, AttemptState.PLACED)
    desk.started(3, "second")
    desk.pause("first")
    assert desk.claim(limit=limit(3)) == []
    desk.cancel("first")
    assert desk.claim(limit=limit(3)) == []
    assert len(desk.claim(limit=limit(4))) == 1


def test_the_count_survives_a_restart(desk: "Desk", second_desk: "Desk") -> None:
    """Another process, which has placed nothing itself, counts the same calls."""
    desk.started(5)
    for claimed in desk.claim(limit=limit(3)):
        desk.bring(claimed, AttemptState.PLACED)
    assert counted(second_desk) == {HERE: 3}
    assert second_desk.claim(limit=limit(3)) == []


def test_what_may_have_rung_counts_until_such_a_call_is_over(desk: "Desk") -> None:
    """An unknown attempt may be on the phone for as long as calls last; then it blocks nobody any more."""
    desk.started(2)
    (claimed,) = desk.claim(limit=limit(1))
    desk.bring(claimed, AttemptState.UNKNOWN)
    assert desk.claim(limit=limit(1), now=desk.noon + FIVE_MINUTES - timedelta(seconds=1)) == []
    assert len(desk.claim(limit=limit(1), now=desk.noon + FIVE_MINUTES)) == 1


def test_what_was_never_found_does_not_count(desk: "Desk") -> None:
    """A call that Connect has not got is not in progress; its recipient's next one is."""
    desk.started(1)
    (claimed,) = desk.claim(limit=limit(1))
    desk.bring(claimed, AttemptState.UNKNOWN)
    assert desk.not_found(claimed, redial=True)
    assert counted(desk) == {}
    assert len(desk.claim(limit=limit(1))) == 1


def test_calls_that_nobody_follows_count_for_as_long_as_calls_last(desk: "Desk") -> None:
    """Without following no end is ever learned, and still the count comes down."""
    desk.started(2)
    (claimed,) = desk.claim(keep_queued=1)
    desk.dial(claimed)
    assert desk.placed(claimed, follow_at=None)
    assert counted(desk, after=FIVE_MINUTES - timedelta(seconds=1)) == {HERE: 1}
    assert counted(desk, after=FIVE_MINUTES) == {}


@pytest.mark.parametrize("state", [AttemptState.UNKNOWN, AttemptState.PLACED])
def test_a_clock_that_was_ahead_blocks_nobody(desk: "Desk", state: AttemptState) -> None:
    """What was written down a day ahead does not count until that day has come."""
    desk.started(1)
    (claimed,) = desk.claim()
    desk.dial(claimed, now=desk.noon + timedelta(days=1))
    if state == AttemptState.PLACED:
        assert desk.placed(claimed, now=desk.noon + timedelta(days=1), follow_at=None)
    else:
        this = (desk.ledger, claimed.attempt_id, claimed.fence, "no answer")
        assert mark_unknown(*this, now=desk.noon + timedelta(days=1), settle_at=desk.noon)
    assert counted(desk) == {}


def test_an_instance_cannot_change_under_a_running_campaign(desk: "Desk") -> None:
    """What is queued would be dialed elsewhere than it was counted; a pause takes it back first."""
    people = desk.people(5)
    desk.load(desk.campaign(), people)
    desk.start()
    desk.claim(keep_queued=3)
    elsewhere = {"instance_id": THERE, "contact_flow_id": THERE, "source_phone_number": "+14155550199"}
    with pytest.raises(Mistake, match="pause the campaign, and wait"):
        desk.load(desk.campaign(connect=elsewhere), people)
    desk.pause()
    desk.load(desk.campaign(connect=elsewhere), people)
    assert counted(desk) == {}


def test_a_trials_calls_are_not_counted_for_real(desk: "Desk") -> None:
    """What the sandbox has on its lines takes no room on Connect's, under the same instance's name."""
    desk.started(2, "trial", exchange="sandbox")
    for claimed in desk.claim(exchange="sandbox"):
        desk.dial(claimed, exchange="sandbox")
        assert desk.placed(claimed)
    desk.started(2, "earnest")
    assert counted(desk) == {}
    assert len(desk.claim(limit=limit(2))) == 2


def test_full_instances_are_those_at_their_limit(desk: "Desk") -> None:
    """One below the limit is not full."""
    desk.started(5)
    desk.claim(keep_queued=2)
    assert full_instances(desk.ledger, "connect", limit(3), desk.noon) == []
    assert full_instances(desk.ledger, "connect", limit(2), desk.noon) == [HERE]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=15)
@given(
    st.integers(1, 6),
    st.lists(st.sampled_from(["claim", "dial", "answer", "lose", "end", "return", "find"]), max_size=60),
)
def test_however_it_goes_the_limit_holds(desk: "Desk", most: int, steps: list[str]) -> None:
    """After any steps of feeders, workers, followers and searchers no more may be on the phone than fit."""
    desk.wipe()
    desk.started(40, redial={"max_attempts": 5, "busy": "1s"})
    now = desk.noon
    claims: list[Any] = []
    for step in steps:
        now += timedelta(seconds=1)
        of = {c.attempt_id: c for c in claims}
        states = {a.id: a.state for a in desk.attempts()}

        def first(*state: str) -> Any:
            return next((of[i] for i, s in states.items() if s in state and i in of), None)  # noqa: B023

        match step:
            case "claim":
                claims = [*claims, *desk.claim(limit=limit(most), now=now)]
            case "dial" if (one := first("queued")) is not None:
                desk.dial(one, now=now)
            case "answer" if (one := first("dialing")) is not None:
                desk.placed(one, now=now)
            case "lose" if (one := first("dialing")) is not None:
                desk.unknown(one)
            case "end" if (one := first("placed")) is not None:
                desk.ended(one, Outcome.BUSY, redial_at=now)
            case "return" if (one := first("queued")) is not None:
                desk.bring(one, AttemptState.RETURNED)
            case "find" if (one := first("unknown")) is not None:
                desk.found(one, f"contact-{one.attempt_id}")
        on_the_phone = [a for a in desk.attempts() if a.state in ("queued", "dialing", "placed", "unknown")]
        assert len(on_the_phone) <= most


def test_ledger_is_asked_in_one_statement(desk: "Desk", ledger: Ledger) -> None:
    """A call that goes from one state to the next while it is counted cannot be missed between two looks."""
    from sqlalchemy import event

    said: list[str] = []
    desk.started(2)
    desk.claim(keep_queued=1)
    with ledger.read() as db:
        event.listen(db, "before_cursor_execute", lambda *a: said.append(a[2]))
        in_progress(db, "connect", limit(9), desk.noon)
    assert sum("count(*)" in statement for statement in said) == 1
