"""From `placed` to `ended`: looks in between, words that come late, and what they change."""

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import update

from campaigns.attempt import AttemptState, Outcome
from campaigns.ledger.claims import Claim
from campaigns.ledger.moves import Order, mark_returned
from campaigns.ledger.outcomes import (
    Placed,
    bring_follows_forward,
    calls_of,
    follow_later,
    hold_undecided,
    look_again,
    look_now,
    mark_ended,
    mark_goes_on,
    mark_told_late,
    not_looked_at,
    take_due_follows,
    take_in_between,
    take_probe,
)
from campaigns.ledger.requeues import Asked, ask_for_another, look
from campaigns.ledger.runs import finish
from campaigns.ledger.tables import attempts
from campaigns.redial import Ring

if TYPE_CHECKING:
    from tests.conftest import Desk

HERE = "10a4c4eb-f57e-4d4c-b602-bf39176ced07"
HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)


def placed(desk: "Desk", count: int = 1, **tables: Any) -> list[Claim]:
    """A running campaign whose calls are placed, due to be looked at in an hour."""
    desk.started(count, **tables)
    claims = desk.claim()
    for claimed in claims:
        assert isinstance(desk.dial(claimed), Order)
        assert desk.placed(claimed, follow_at=desk.noon + HOUR)
    return claims


def wordless(desk: "Desk", claimed: Claim, *, redial: bool = False) -> None:
    """The call is given up; somebody goes on looking for a word after an hour."""
    assert mark_ended(
        desk.ledger,
        claimed.attempt_id,
        Outcome.NO_OUTCOME,
        ended_at=desk.noon,
        redial=lambda _: desk.noon + HOUR if redial else None,
        reason="Connect has not said how it ended",
        look_again_at=desk.noon + HOUR,
    )


def told(desk: "Desk", claimed: Claim, outcome: Outcome, *, redial: bool = False) -> bool:
    """The word that comes late."""
    redial_at = desk.noon + 2 * HOUR if redial else None
    return mark_told_late(
        desk.ledger, claimed.attempt_id, outcome, ended_at=desk.noon - HOUR, redial=lambda _: redial_at
    )


def in_between(desk: "Desk", *, after: timedelta = HOUR / 2, most: int = 9, **other: Any) -> list[Placed]:
    usual: dict[str, Any] = {"exchange": "connect", "instances": [HERE], "rest": SECOND}
    return take_in_between(desk.ledger, limit=most, now=desk.noon + after, **{**usual, **other})


def test_calls_are_looked_at_in_between_in_turn(desk: "Desk") -> None:
    """Whoever was not looked at for the longest time comes first, nobody twice within the rest."""
    claims = placed(desk, 3)
    ids = [claimed.attempt_id for claimed in claims]
    assert [call.attempt_id for call in in_between(desk, most=2)] == ids[:2]
    assert [call.attempt_id for call in in_between(desk, after=HOUR / 2 + SECOND / 2)] == ids[2:]
    assert [call.attempt_id for call in in_between(desk, after=HOUR / 2 + SECOND)] == ids[:2]


def test_a_look_in_between_moves_no_other_look(desk: "Desk") -> None:
    """The call is due when it was due, and the waits between its looks do not grow for it."""
    (claimed,) = placed(desk)
    (call,) = in_between(desk)
    assert (call.follows, desk.attempt(claimed).follow_at) == (0, desk.noon + HOUR)


@pytest.mark.parametrize(
    "other",
    [{"exchange": "sandbox"}, {"instances": ["another"]}, {"after": HOUR}, {"after": SECOND / 2}],
    ids=["exchange", "instance", "due anyway", "just placed"],
)
def test_who_is_not_looked_at_in_between(desk: "Desk", other: dict[str, Any]) -> None:
    """Neither another exchange's or instance's calls, nor those that are due, nor those just placed."""
    placed(desk)
    assert in_between(desk, **other) == []


def test_a_look_written_by_a_clock_that_was_ahead_does_not_keep_others_waiting(desk: "Desk") -> None:
    """After the clock was put back, a call is not left alone until the old time has come round."""
    placed(desk)
    assert len(in_between(desk, after=HOUR - SECOND)) == 1
    assert len(in_between(desk)) == 1


def test_earlier_rings_come_along(desk: "Desk") -> None:
    """Whoever decides on a redial knows all the attempts that count, and not one that was never found."""
    rules = {"max_attempts": 5, "busy": "1s"}
    desk.started(1, redial=rules)
    for outcome in (Outcome.BUSY, None, Outcome.BUSY):
        (claimed,) = desk.claim()
        assert isinstance(desk.dial(claimed), Order)
        if outcome is None:
            assert desk.unknown(claimed)
            assert desk.not_found(claimed, redial=True)
        else:
            assert desk.placed(claimed)
            (call,) = take_due_follows(
                desk.ledger, exchange="connect", limit=9, now=desk.noon, until=desk.noon
            )
            assert desk.ended(claimed, outcome, redial_at=desk.noon)
    assert call.earlier == (Ring(Outcome.BUSY, desk.noon),)
    assert call.rings(Outcome.FAX) == (Ring(Outcome.BUSY, desk.noon), Ring(Outcome.FAX, desk.noon))


def test_given_up_calls_are_looked_at_after_all_others(desk: "Desk") -> None:
    """A word that is missing is looked for when there is nothing better to do."""
    early, late = placed(desk, 2)
    wordless(desk, early)
    now = desk.noon + HOUR
    looks = [
        (call.attempt_id, call.given_up)
        for _ in range(3)
        for call in take_due_follows(desk.ledger, exchange="connect", limit=1, now=now, until=now + HOUR)
    ]
    assert looks == [(late.attempt_id, False), (early.attempt_id, True)]
    follow_later(desk.ledger, early.attempt_id, None)
    assert desk.attempt(early).follow_at is None


def test_late_word_takes_the_place_of_none(desk: "Desk") -> None:
    """The outcome is corrected, once; the recipient, who was done, is done."""
    (claimed,) = placed(desk)
    wordless(desk, claimed)
    assert told(desk, claimed, Outcome.ANSWERED)
    row = desk.attempt(claimed)
    assert (row.state, row.outcome, row.ended_at, row.follow_at, row.reason) == (
        "ended",
        "answered",
        desk.noon - HOUR,
        None,
        None,
    )
    assert desk.states() == ["done"]
    assert not told(desk, claimed, Outcome.BUSY)


def test_a_known_outcome_is_never_rewritten(desk: "Desk") -> None:
    """What Connect has said stays, whatever comes after it."""
    (claimed,) = placed(desk)
    assert desk.ended(claimed, Outcome.BUSY)
    assert not told(desk, claimed, Outcome.ANSWERED)
    assert not mark_ended(
        desk.ledger, claimed.attempt_id, Outcome.FAX, ended_at=desk.noon, redial=lambda _: None
    )
    assert desk.attempt(claimed).outcome == "busy"


def test_who_was_reached_after_all_is_not_dialed_again(desk: "Desk") -> None:
    """A redial for want of a word is withdrawn when the word is that they were answered."""
    (claimed,) = placed(desk)
    wordless(desk, claimed, redial=True)
    assert desk.states() == ["waiting"]
    assert told(desk, claimed, Outcome.ANSWERED)
    assert desk.states() == ["done"]
    assert desk.claim(now=desk.noon + 9 * HOUR) == []


def test_who_was_reached_after_all_leaves_the_queue(desk: "Desk") -> None:
    """Also when the next attempt has been released, as long as it is not dialed."""
    (claimed,) = placed(desk)
    wordless(desk, claimed, redial=True)
    (again,) = desk.claim(now=desk.noon + HOUR)
    assert told(desk, claimed, Outcome.ANSWERED)
    assert (desk.states(), len(desk.attempts())) == (["done"], 1)
    assert not isinstance(desk.dial(again), Order)


def test_a_next_attempt_that_is_being_dialed_goes_on(desk: "Desk") -> None:
    """Nobody can call it back; the earlier outcome is corrected all the same."""
    (claimed,) = placed(desk)
    wordless(desk, claimed, redial=True)
    (again,) = desk.claim(now=desk.noon + HOUR)
    assert isinstance(desk.dial(again), Order)
    assert told(desk, claimed, Outcome.ANSWERED)
    assert [(row.state, row.outcome) for row in desk.attempts()] == [("ended", "answered"), ("dialing", None)]
    assert desk.states() == ["in_progress"]


@pytest.mark.parametrize("redial", [True, False])
def test_late_word_brings_the_redial_of_its_own_rule(desk: "Desk", redial: bool) -> None:
    """Waiting or done for want of a word: now its own rule says when, if the campaign goes on."""
    (claimed,) = placed(desk)
    wordless(desk, claimed, redial=redial)
    assert told(desk, claimed, Outcome.BUSY, redial=True)
    (person,) = desk.recipients()
    assert (person.state, person.due_at) == ("waiting", desk.noon + 2 * HOUR)


@pytest.mark.parametrize("over", ["finished", "cancelled"])
def test_nobody_is_dialed_again_in_a_campaign_that_is_over(desk: "Desk", over: str) -> None:
    """Days later nobody is rung out of the blue; only the outcome is put right."""
    (claimed,) = placed(desk)
    wordless(desk, claimed)
    if over == "finished":
        assert finish(desk.ledger, desk.noon) == 1
    else:
        desk.cancel()
    assert told(desk, claimed, Outcome.BUSY, redial=True)
    assert (desk.attempt(claimed).outcome, desk.states(), desk.run().state) == ("busy", ["done"], over)


def test_a_late_word_that_ends_the_matter_stops_every_redial(desk: "Desk") -> None:
    """Also when another attempt has ended meanwhile, and the one after that is waited for, or queued."""
    for queued in (False, True):
        desk.wipe()
        (claimed,) = placed(desk, redial={"max_attempts": 5, "no_answer": "2h", "no_outcome": "1h"})
        wordless(desk, claimed, redial=True)
        (second,) = desk.claim(now=desk.noon + HOUR)
        desk.bring(second, AttemptState.PLACED)
        assert desk.ended(second, Outcome.NO_ANSWER, redial_at=desk.noon + 2 * HOUR)
        if queued:
            (third,) = desk.claim(now=desk.noon + 2 * HOUR)
        assert told(desk, claimed, Outcome.ANSWERED)
        assert (desk.states(), len(desk.attempts())) == (["done"], 2)
        assert desk.recipients()[0].attempts == 2
        assert desk.claim(now=desk.noon + 9 * HOUR) == []
        if queued:
            assert not isinstance(desk.dial(third), Order)


def test_a_call_that_goes_on_after_all_is_in_progress_again(desk: "Desk") -> None:
    """It was given up for want of a word: now nobody dials its recipient until it is over."""
    (claimed,) = placed(desk)
    wordless(desk, claimed, redial=True)
    (again,) = desk.claim(now=desk.noon + HOUR)
    assert mark_goes_on(desk.ledger, claimed.attempt_id, follow_at=desk.noon + 2 * HOUR)
    row = desk.attempt(claimed)
    assert (row.state, row.outcome, row.ended_at, row.follow_at) == (
        "placed",
        None,
        None,
        desk.noon + 2 * HOUR,
    )
    assert (desk.states(), len(desk.attempts())) == (["in_progress"], 1)
    assert not isinstance(desk.dial(again), Order)
    assert not mark_goes_on(desk.ledger, claimed.attempt_id, follow_at=desk.noon)
    assert desk.ended(claimed, Outcome.ANSWERED)
    assert desk.states() == ["done"]


BUSY_AND_SILENT = {"max_attempts": 9, "busy": "1m", "no_outcome": "1h"}


def silent_then(desk: "Desk") -> tuple[Claim, Claim]:
    """An attempt without a word, and the one after it, which is being dialed."""
    (first,) = placed(desk, redial=BUSY_AND_SILENT)
    wordless(desk, first, redial=True)
    (second,) = desk.claim(now=desk.noon + HOUR)
    assert isinstance(desk.dial(second), Order)
    return first, second


@pytest.mark.parametrize("then", ["returned", "busy", "not found"])
def test_nobody_is_dialed_while_an_earlier_call_goes_on(desk: "Desk", then: str) -> None:
    """Whatever becomes of the later attempt, the next one waits until the earlier call is over."""
    first, second = silent_then(desk)
    assert mark_goes_on(desk.ledger, first.attempt_id, follow_at=desk.noon + 9 * HOUR)
    this = (desk.ledger, second.attempt_id, second.fence)
    if then == "returned":
        assert mark_returned(*this, "throttled", due_at=desk.noon)
    elif then == "busy":
        assert desk.placed(second)
        assert desk.ended(second, Outcome.BUSY, redial_at=desk.noon)
    else:
        assert desk.unknown(second)
        assert desk.not_found(second, redial=True)
    assert desk.states() == ["waiting"]
    assert desk.claim(now=desk.noon + 2 * HOUR) == []
    assert desk.ended(first, Outcome.BUSY, redial_at=None)
    assert len(desk.claim(now=desk.noon + 2 * HOUR)) == 1


@pytest.mark.parametrize("then", ["returned", "busy", "not found", "told late"])
def test_who_was_reached_by_an_earlier_call_is_left_in_peace(desk: "Desk", then: str) -> None:
    """The word came late, while another attempt was under way; whatever becomes of that, it was the last."""
    first, second = silent_then(desk)
    if then == "told late":
        assert desk.placed(second)
        wordless(desk, second, redial=True)
    assert told(desk, first, Outcome.HUMAN_ANSWERED)
    this = (desk.ledger, second.attempt_id, second.fence)
    if then == "returned":
        assert mark_returned(*this, "throttled", due_at=desk.noon)
    elif then == "busy":
        assert desk.placed(second)
        assert desk.ended(second, Outcome.BUSY, redial_at=desk.noon)
    elif then == "not found":
        assert desk.unknown(second)
        assert desk.not_found(second, redial=True)
    else:
        assert told(desk, second, Outcome.BUSY, redial=True)
    assert desk.states() == ["done"]
    assert desk.claim(now=desk.noon + 9 * HOUR) == []
    assert desk.recipients()[0].attempts == len(desk.attempts())


def test_an_earlier_call_that_went_on_and_was_answered_ends_the_matter(desk: "Desk") -> None:
    """Whoever waits for a redial after a later attempt is not dialed again."""
    first, second = silent_then(desk)
    assert mark_goes_on(desk.ledger, first.attempt_id, follow_at=desk.noon)
    assert desk.placed(second)
    assert desk.ended(second, Outcome.BUSY, redial_at=desk.noon)
    assert desk.ended(first, Outcome.HUMAN_ANSWERED)
    assert (desk.states(), desk.claim(now=desk.noon + 9 * HOUR)) == (["done"], [])


def test_a_rule_that_redials_answered_calls_holds(desk: "Desk") -> None:
    """Whom the campaign wants to call again though they answered is called again."""
    (claimed,) = placed(desk, redial={"max_attempts": 2, "answered": "1h"})
    assert desk.ended(claimed, Outcome.ANSWERED, redial_at=desk.noon)
    assert desk.states() == ["waiting"]


def test_a_late_word_puts_off_what_was_queued_for_want_of_one(desk: "Desk") -> None:
    """Busy is dialed again by its own wait, not when the want of a word had it due."""
    (claimed,) = placed(desk, redial=BUSY_AND_SILENT)
    wordless(desk, claimed, redial=True)
    (again,) = desk.claim(now=desk.noon + HOUR)
    assert told(desk, claimed, Outcome.BUSY, redial=True)
    (person,) = desk.recipients()
    assert (person.state, person.attempts, person.due_at) == ("waiting", 1, desk.noon + 2 * HOUR)
    assert not isinstance(desk.dial(again), Order)


def test_a_call_that_goes_on_reopens_its_run(desk: "Desk") -> None:
    """Whose recipient was done, and whose run was finished, are so when the call is over."""
    (claimed,) = placed(desk)
    wordless(desk, claimed)
    assert finish(desk.ledger, desk.noon) == 1
    assert mark_goes_on(desk.ledger, claimed.attempt_id, follow_at=desk.noon)
    assert (desk.states(), desk.run().state) == (["in_progress"], "running")


def test_the_rules_are_those_of_the_moment_in_which_a_call_ends(desk: "Desk") -> None:
    """A look that was taken before the rules changed does not bring the old ones back."""
    people = desk.people(1)
    desk.load(desk.campaign(redial={"max_attempts": 3, "busy": "10m"}), people)
    desk.start()
    (claimed,) = desk.claim()
    desk.bring(claimed, AttemptState.PLACED)
    (call,) = take_due_follows(desk.ledger, exchange="connect", limit=9, now=desk.noon, until=desk.noon)
    desk.load(desk.campaign(redial={"max_attempts": 1}), people)

    def redial(rules: Any) -> Any:
        step = rules.next_step(call.rings(Outcome.BUSY), desk.noon)
        return getattr(step, "due_at", None)

    assert redial(call.campaign.redial) == desk.noon + timedelta(minutes=10)
    assert mark_ended(desk.ledger, claimed.attempt_id, Outcome.BUSY, ended_at=desk.noon, redial=redial)
    assert desk.states() == ["done"]


def test_looks_that_were_none_do_not_count(desk: "Desk") -> None:
    """A call that nobody could ask about is due again as if it had not been taken."""
    (claimed,) = placed(desk)
    now = desk.noon + HOUR
    calls = take_due_follows(desk.ledger, exchange="connect", limit=9, now=now, until=now + HOUR)
    assert desk.attempt(claimed).follows == 1
    not_looked_at(desk.ledger, calls, now + SECOND)
    assert (desk.attempt(claimed).follows, desk.attempt(claimed).follow_at) == (0, now + SECOND)


def test_looks_that_a_clock_ahead_put_off_are_brought_forward(desk: "Desk") -> None:
    """What lies further ahead than any look is due now; the others stay as they are."""
    far, near = placed(desk, 2)
    follow_later(desk.ledger, far.attempt_id, desk.noon + timedelta(days=30))
    assert bring_follows_forward(desk.ledger, desk.noon) == 1
    assert [desk.attempt(one).follow_at for one in (far, near)] == [desk.noon, desk.noon + HOUR]
    assert bring_follows_forward(desk.ledger, desk.noon) == 0


def test_calls_are_found_by_their_contacts(desk: "Desk") -> None:
    """Those that are placed, and those that were given up; not those whose end is known, nor others'."""
    claims = placed(desk, 4)
    wordless(desk, claims[1])
    assert desk.ended(claims[2])
    contacts = [f"contact-{claimed.attempt_id}" for claimed in claims] + ["somebody-elses"]
    found = calls_of(desk.ledger, contacts, "connect")
    ids = [claimed.attempt_id for claimed in claims]
    assert [(call.attempt_id, call.given_up) for call in found] == [
        (ids[0], False),
        (ids[1], True),
        (ids[3], False),
    ]
    assert calls_of(desk.ledger, contacts, "sandbox") == []


def test_a_call_to_which_something_happened_is_due_at_once(desk: "Desk") -> None:
    """And one that was due already is not put off."""
    one, two = placed(desk, 2)
    follow_later(desk.ledger, two.attempt_id, desk.noon - HOUR)
    look_now(desk.ledger, [one.attempt_id, two.attempt_id], desk.noon)
    assert [desk.attempt(claimed).follow_at for claimed in (one, two)] == [desk.noon, desk.noon - HOUR]


def test_moves_leave_what_is_not_theirs(desk: "Desk") -> None:
    """Attempts in other states are neither told late, nor due to be looked at."""
    desk.started(1)
    (claimed,) = desk.claim()
    desk.bring(claimed, AttemptState.UNKNOWN)
    assert not told(desk, claimed, Outcome.ANSWERED)
    follow_later(desk.ledger, claimed.attempt_id, desk.noon)
    look_now(desk.ledger, [claimed.attempt_id], desk.noon)
    assert (desk.attempt(claimed).state, desk.attempt(claimed).follow_at) == ("unknown", None)


# --- Connect refuses to tell ------------------------------------------------------------------------------


def untold(desk: "Desk", claimed: Claim) -> None:
    """Connect has refused to tell how the call ended, and the patience with that is over."""
    assert mark_ended(
        desk.ledger,
        claimed.attempt_id,
        Outcome.NO_OUTCOME,
        ended_at=desk.noon,
        redial=lambda _: None,
        reason="Connect has refused to tell",
        look_again_at=desk.noon + HOUR,
        hold=True,
    )


def test_a_call_that_connect_refuses_to_tell_of_is_held(desk: "Desk") -> None:
    """Its recipient waits for an operator's word, who can ask for another attempt."""
    (claimed,) = placed(desk, redial=BUSY_AND_SILENT)
    untold(desk, claimed)
    assert (desk.attempt(claimed).outcome, desk.states()) == ("no_outcome", ["held"])
    assert desk.claim(now=desk.noon + 100 * HOUR) == []
    run = desk.run()
    asked = Asked(frozenset({Outcome.NO_OUTCOME}))
    ids = look(desk.ledger, run.id, asked, desk.noon).attempt_ids
    assert ask_for_another(desk.ledger, run, asked, ids, desk.noon) == 1
    assert desk.states() == ["waiting"]
    # A look that is refused does not undo what the operator has asked for.
    assert not hold_undecided(desk.ledger, claimed.attempt_id)
    assert len(desk.claim()) == 1


def test_in_a_cancelled_run_it_is_done(desk: "Desk") -> None:
    """There is nothing for an operator to say any more."""
    (claimed,) = placed(desk)
    desk.cancel()
    untold(desk, claimed)
    assert desk.states() == ["done"]


@pytest.mark.parametrize(
    ("run", "redial", "person", "after"),
    [
        ("running", True, "waiting", "running"),
        ("running", False, "done", "running"),
        ("finished", True, "waiting", "running"),
        ("finished", False, "done", "finished"),
        ("cancelled", True, "done", "cancelled"),
    ],
)
def test_a_word_that_comes_late_frees_who_is_held(
    desk: "Desk", run: str, redial: bool, person: str, after: str
) -> None:
    """By the outcome's own rule; a run that is over goes on for whoever is to be dialed in it."""
    (claimed,) = placed(desk, redial=BUSY_AND_SILENT)
    untold(desk, claimed)
    if run == "finished":
        assert finish(desk.ledger, desk.noon) == 1
    if run == "cancelled":
        desk.cancel()
    assert told(desk, claimed, Outcome.BUSY, redial=redial)
    assert (desk.states(), desk.run().state) == ([person], after)


def test_a_call_that_goes_on_after_all_frees_who_is_held(desk: "Desk") -> None:
    """It is in progress again."""
    (claimed,) = placed(desk)
    untold(desk, claimed)
    assert mark_goes_on(desk.ledger, claimed.attempt_id, follow_at=desk.noon)
    assert desk.states() == ["in_progress"]


def test_a_redial_for_want_of_a_word_is_held_back(desk: "Desk") -> None:
    """Before it is claimed; one that is on its way stays."""
    first, second = placed(desk, 2, redial=BUSY_AND_SILENT)
    for claimed in (first, second):
        wordless(desk, claimed, redial=True)
    (again,) = desk.claim(1, now=desk.noon + HOUR)
    assert [hold_undecided(desk.ledger, claimed.attempt_id) for claimed in (first, second)] == [False, True]
    assert desk.states() == ["in_progress", "held"]
    assert isinstance(desk.dial(again, now=desk.noon + HOUR), Order)


def probe(desk: "Desk", seconds: int, **more: Any) -> int | None:
    """Which call a probe takes so many seconds after noon."""
    usual: dict[str, Any] = {"exchange": "connect", "instance_id": HERE, "placed_after": None}
    now = desk.noon + seconds * SECOND
    taken = take_probe(desk.ledger, now=now, rest=SECOND, **{**usual, **more})
    return taken.attempt_id if taken is not None else None


def test_a_probe_takes_the_first_call_of_its_instance_and_is_no_look(desk: "Desk") -> None:
    """A second after it was placed, and each of them by turns; of no other instance or exchange."""
    first, second = placed(desk, 2)
    before = desk.attempt(first)
    assert probe(desk, 0) is None
    assert probe(desk, 1, instance_id="another") is None
    assert probe(desk, 1, exchange="sandbox") is None
    assert [probe(desk, 1), probe(desk, 1), probe(desk, 1)] == [first.attempt_id, second.attempt_id, None]
    assert (desk.attempt(first).follow_at, desk.attempt(first).follows) == (before.follow_at, 0)
    assert probe(desk, 5, placed_after=desk.noon) is None
    assert probe(desk, 5, placed_after=desk.noon - SECOND) == first.attempt_id


def test_what_was_asked_for_in_vain_is_asked_for_at_once(desk: "Desk") -> None:
    """Calls that were not looked at yet wait for their time."""
    looked_at, fresh = placed(desk, 2)
    later = desk.noon + HOUR
    with desk.ledger.write() as db:
        mine = attempts.c.id == looked_at.attempt_id
        db.execute(update(attempts).where(mine).values(follows=2, follow_at=later))
    this = {"exchange": "connect", "now": desk.noon}
    assert look_again(desk.ledger, instance_id="another", **this) == 0
    assert look_again(desk.ledger, instance_id=HERE, **this) == 1
    assert [desk.attempt(each).follow_at for each in (looked_at, fresh)] == [desk.noon, later]
