from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import update

from campaigns.attempt import AttemptState, Outcome
from campaigns.campaign import Campaign
from campaigns.ledger import Ledger
from campaigns.ledger.claims import Claim
from campaigns.ledger.lists import Loaded
from campaigns.ledger.outcomes import take_due_follows
from campaigns.ledger.rules import Judged
from campaigns.ledger.runs import finish
from campaigns.ledger.tables import attempts
from campaigns.redial import RedialAt

if TYPE_CHECKING:
    from tests.conftest import Desk

OLD: dict[str, Any] = {"max_attempts": 3, "busy": "10m", "no_answer": "2h"}
MINUTE = timedelta(minutes=1)


def called(desk: "Desk", claimed: Claim, outcome: Outcome, campaign: Campaign) -> None:
    """Ring somebody, with this outcome, and go by the campaign's rules."""
    desk.dial(claimed)
    desk.placed(claimed)
    (call,) = take_due_follows(
        desk.ledger, exchange="connect", limit=10, now=desk.noon, until=desk.noon + MINUTE
    )
    step = campaign.redial.next_step(call.rings(outcome), desk.noon)
    desk.ended(claimed, outcome, redial_at=step.due_at if isinstance(step, RedialAt) else None)


def people_who(desk: "Desk", *outcomes: Outcome, **redial: Any) -> list[Claim]:
    """A running campaign in which everybody was called once, with these outcomes."""
    campaign = desk.campaign(redial=redial or OLD)
    desk.load(campaign, desk.people(len(outcomes)))
    desk.start()
    claims = desk.claim()
    for claimed, outcome in zip(claims, outcomes, strict=True):
        called(desk, claimed, outcome, campaign)
    return claims


def new_rules(desk: "Desk", **redial: Any) -> Loaded:
    """Load the campaign's file with other redial rules, and an empty list."""
    return desk.load(desk.campaign(redial=redial), [])


def due(desk: "Desk") -> list[tuple[str, float]]:
    """(state, minutes from noon until due) of everybody."""
    return [(row.state, (row.due_at - desk.noon) / MINUTE) for row in desk.recipients()]


def test_whoever_waits_for_a_redial_is_judged_by_the_new_rules(desk: "Desk") -> None:
    """A shorter wait brings it forward, another outcome's redial stays, and a rule that is gone ends it."""
    people_who(desk, Outcome.BUSY, Outcome.NO_ANSWER, Outcome.UNREACHABLE, unreachable="1d", **OLD)
    assert due(desk) == [("waiting", 10), ("waiting", 120), ("waiting", 1_440)]
    loaded = new_rules(desk, **OLD | {"busy": "5m"})
    assert loaded.judged == Judged(moved=1, done=1)
    assert due(desk)[:2] == [("waiting", 5), ("waiting", 120)]
    assert desk.states()[2] == "done"
    assert [claimed.attempt_id for claimed in desk.claim(now=desk.noon + 6 * MINUTE)] == [4]


def test_the_last_attempt_was_the_last(desk: "Desk") -> None:
    """Fewer attempts than somebody has had already: nobody rings them again, and nothing else changes."""
    people_who(desk, Outcome.BUSY, Outcome.BUSY)
    before = desk.attempts()
    assert new_rules(desk, **OLD | {"max_attempts": 1}).judged == Judged(done=2)
    assert desk.states() == ["done", "done"]
    assert desk.attempts() == before
    assert finish(desk.ledger, desk.noon) == 1


def test_all_rings_count(desk: "Desk") -> None:
    """`max_redials` and `max_attempts_per_day` look at what went before the latest attempt too."""
    campaign = desk.campaign(redial=OLD)
    people_who(desk, Outcome.BUSY)
    (again,) = desk.claim(now=desk.noon + 10 * MINUTE)
    called(desk, again, Outcome.BUSY, campaign)
    assert new_rules(desk, **OLD, max_attempts_per_day=2).judged == Judged(moved=1)
    assert due(desk) == [("waiting", 1_440)]
    assert new_rules(desk, **OLD | {"busy": {"wait": "10m", "max_redials": 1}}).judged == Judged(done=1)


def test_who_is_done_stays_done(desk: "Desk") -> None:
    """More generous rules call nobody back who was told of as done; the outcomes concerned are named."""
    people_who(desk, Outcome.BUSY, Outcome.ANSWERED, Outcome.NO_ANSWER, max_attempts=2, no_answer="2h")
    loaded = new_rules(desk, max_attempts=2, no_answer="2h", busy="5m", voicemail="1d")
    assert loaded.judged == Judged(too_late=(Outcome.BUSY,))
    assert desk.states() == ["done", "done", "waiting"]
    assert new_rules(desk, max_attempts=3, no_answer="2h", busy="5m").judged.too_late == (Outcome.BUSY,)


@pytest.mark.parametrize("state", [AttemptState.RETURNED, AttemptState.UNKNOWN])
def test_whoever_waits_for_another_reason_is_not_judged(desk: "Desk", state: AttemptState) -> None:
    """Never called, came back without having rung, never found: no rule has said that they wait."""
    desk.load(desk.campaign(redial=OLD), desk.people(2))
    desk.start()
    (first, *_) = desk.claim(keep_queued=1)
    desk.bring(first, state)
    if state == AttemptState.UNKNOWN:
        desk.not_found(first, redial=True)
    before = desk.recipients()
    assert new_rules(desk, max_attempts=1).judged == Judged()
    assert desk.recipients() == before
    assert desk.states() == ["waiting", "waiting"]


def test_an_operators_word_stands(desk: "Desk") -> None:
    """Whom an operator wants to be called again waits for that, whatever the rules say by now."""
    (one,) = people_who(desk, Outcome.BUSY)
    with desk.ledger.write() as db:
        this = update(attempts).where(attempts.c.id == one.attempt_id)
        db.execute(this.values(requeued_at=desk.noon))
    assert new_rules(desk, max_attempts=1).judged == Judged()
    assert due(desk) == [("waiting", 10)]


def test_calls_in_progress_end_by_the_new_rules(desk: "Desk") -> None:
    """Who is on the phone while the file changes is not touched, and then goes by what it says now."""
    desk.load(desk.campaign(redial=OLD), desk.people(1))
    desk.start()
    (one,) = desk.claim()
    desk.bring(one, AttemptState.PLACED)
    assert new_rules(desk, **OLD | {"busy": "1h"}).judged == Judged()
    assert desk.states() == ["in_progress"]
    (call,) = take_due_follows(desk.ledger, exchange="connect", limit=1, now=desk.noon, until=desk.noon)
    step = call.campaign.redial.next_step(call.rings(Outcome.BUSY), desk.noon)
    assert step == RedialAt(desk.noon + timedelta(hours=1))


@pytest.mark.parametrize(
    "same",
    [{"no_answer": "7200s", "busy": "600s", "max_attempts": 3}, OLD | {"busy": {"wait": "10m"}}],
    ids=["order and spelling", "as a table"],
)
def test_another_spelling_is_no_change(desk: "Desk", same: dict[str, Any]) -> None:
    """Order, units and the long form of a rule change nothing, and are not told as a change."""
    people_who(desk, Outcome.BUSY)
    loaded = new_rules(desk, **same)
    assert (loaded.changes, loaded.judged) == ((), Judged())


def test_other_changes_judge_nobody(desk: "Desk") -> None:
    """Only what stands in [redial] says when somebody is dialed again."""
    people_who(desk, Outcome.BUSY)
    before = due(desk)
    loaded = desk.load(desk.campaign(redial=OLD, pacing={"weight": 2}), [])
    assert (loaded.changed, loaded.judged) == (("pacing.weight",), Judged())
    assert due(desk) == before


@pytest.mark.parametrize("pause", [True, False])
def test_a_run_that_rests_is_judged_too(desk: "Desk", pause: bool) -> None:
    """Paused or not: whoever waits in the latest run waits by the new rules."""
    people_who(desk, Outcome.BUSY)
    if pause:
        desk.pause()
    assert new_rules(desk, **OLD | {"busy": "20m"}).judged == Judged(moved=1)
    assert due(desk) == [("waiting", 20)]


def test_another_campaign_is_left_alone(desk: "Desk") -> None:
    """The rules are those of one campaign."""
    people_who(desk, Outcome.BUSY)
    other = desk.campaign("second", redial=OLD)
    desk.load(other, desk.people(1, first=50))
    assert desk.load(desk.campaign("second", redial=OLD | {"busy": "1m"}), []).judged == Judged()
    assert due(desk) == [("waiting", 10)]


def test_more_people_than_are_looked_at_at_once(desk: "Desk", monkeypatch: pytest.MonkeyPatch) -> None:
    """In pieces, nobody is left out and nobody is judged twice."""
    monkeypatch.setattr("campaigns.ledger.rules._BATCH", 3)
    people_who(desk, *[Outcome.BUSY, Outcome.NO_ANSWER] * 4)
    assert new_rules(desk, max_attempts=3, busy="5m").judged == Judged(moved=4, done=4)
    assert due(desk)[::2] == [("waiting", 5)] * 4
    assert desk.states()[1::2] == ["done"] * 4


def test_what_happens_while_the_list_is_read_counts(
    desk: "Desk", second_desk: "Desk", monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the look at those who wait and the change, one is claimed and another one's call ends."""
    campaign = desk.campaign(redial=OLD)
    desk.load(campaign, desk.people(3))
    desk.start()
    first, second, third = desk.claim()
    called(desk, first, Outcome.BUSY, campaign)
    called(desk, second, Outcome.BUSY, campaign)
    from campaigns.ledger import lists

    rehearse = lists.rehearse

    def and_then(*arguments: Any) -> None:
        rehearse(*arguments)
        assert len(second_desk.claim(1_000, now=desk.noon + 10 * MINUTE)) == 2
        called(second_desk, third, Outcome.BUSY, campaign)

    monkeypatch.setattr(lists, "rehearse", and_then)
    assert new_rules(desk, **OLD | {"busy": "5m"}).judged == Judged(moved=1)
    assert desk.states() == ["in_progress", "in_progress", "waiting"]
    assert due(desk)[2] == ("waiting", 5)


def test_nobody_is_claimed_by_rules_that_are_changing(
    postgres_ledger: Ledger,
    postgres_ledger_url: str,
    desk_of: Callable[[Ledger], "Desk"],
    opened: Callable[[str], Ledger],
    at_once: Callable[..., Any],
) -> None:
    """A feed that asks while redials are given up waits, and then does not find them."""
    desk = desk_of(postgres_ledger)
    people_who(desk, Outcome.BUSY, Outcome.BUSY)
    loader = opened(postgres_ledger_url)
    load, feed = at_once(
        loader,
        "UPDATE recipients",
        lambda: new_rules(desk_of(loader), max_attempts=1),
        lambda: desk.claim(now=desk.noon + 10 * MINUTE),
    )
    assert (load.result().judged, feed.result()) == (Judged(done=2), [])


def test_a_new_rate_holds_at_once(desk: "Desk") -> None:
    """What a slow campaign had used up of its rate does not keep it waiting once it is fast, and back."""
    desk.load(desk.campaign(pacing={"calls_per_second": 0.001}), desk.people(10))
    desk.start()
    assert len(desk.claim()) == 1
    later = desk.noon + timedelta(seconds=10)
    assert desk.claim(now=later) == []
    desk.load(desk.campaign(pacing={"calls_per_second": 2.0}), [], now=later)
    assert len(desk.claim(now=later)) == 5
    desk.load(desk.campaign(pacing={"calls_per_second": 0.001}), [], now=later)
    claims = [desk.claim(now=later + timedelta(seconds=seconds)) for seconds in (3, 6, 9)]
    assert [len(each) for each in claims] == [1, 0, 0]


def test_a_new_weight_holds_at_once(desk: "Desk") -> None:
    """From the next round on, the heavier campaign has the greater share."""
    for name in ("a", "b"):
        desk.load(desk.campaign(name), desk.people(40))
        desk.start(name)
    desk.claim(8)
    assert [len(desk.attempts(name)) for name in ("a", "b")] == [4, 4]
    desk.load(desk.campaign("b", pacing={"weight": 3}), [])
    desk.claim(8 + 16)
    assert [len(desk.attempts(name)) for name in ("a", "b")] == [8, 16]
