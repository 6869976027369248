"""Another attempt because an operator asks for it, on both databases, and beside everybody who works then."""

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import insert, update

from campaigns.attempt import AttemptState, Outcome, RecipientState, RunState
from campaigns.ledger import Ledger
from campaigns.ledger.claims import Claim
from campaigns.ledger.moves import NotNow, mark_refused, mark_returned
from campaigns.ledger.outcomes import calls_of, mark_goes_on, mark_told_late, rings_of
from campaigns.ledger.readmissions import Removed, remove_numbers
from campaigns.ledger.requeues import Asked, Found, ask_for_another, endings, look, people, refusals
from campaigns.ledger.runs import finish
from campaigns.ledger.suppressions import Number, put_numbers
from campaigns.ledger.tables import EVERY_CAMPAIGN, attempts, recipients
from campaigns.ledger.unknowns import Unknown, search_later, take_due_unknowns
from campaigns.mistake import Mistake

if TYPE_CHECKING:
    from tests.conftest import Desk

MINUTE = timedelta(minutes=1)
BUSY = Asked(frozenset({Outcome.BUSY}))
SILENT = Asked(frozenset({Outcome.NO_OUTCOME}))
UNKNOWN = Asked(unknown=True)
SUPPRESSED = Asked(suppressed=True)


def over(desk: "Desk", count: int = 1, outcome: Outcome = Outcome.BUSY, **tables: Any) -> list[Claim]:
    """A running campaign of so many people, whose calls have all ended, with nothing to follow."""
    desk.load(desk.campaign(**tables), desk.people(count))
    desk.start()
    claims = desk.claim()
    for claimed in claims:
        desk.bring(claimed, AttemptState.PLACED)
        assert desk.ended(claimed, outcome)
    return claims


def held(desk: "Desk", count: int = 1, **tables: Any) -> list[Claim]:
    """A running campaign of so many people of whom nobody can tell whether they were rung."""
    desk.load(desk.campaign(**tables), desk.people(count))
    desk.start()
    claims = desk.claim()
    for claimed in claims:
        desk.bring(claimed, AttemptState.UNKNOWN)
        assert desk.not_found(claimed, redial=False)
    return claims


def found(desk: "Desk", asked: Asked = BUSY, now: datetime | None = None) -> Found:
    """Whom it means."""
    return look(desk.ledger, desk.run().id, asked, now or desk.noon)


def requeue(desk: "Desk", asked: Asked = BUSY, now: datetime | None = None) -> int:
    """`dialer requeue`, from the look to the deed."""
    return ask_for_another(
        desk.ledger, desk.run(), asked, found(desk, asked).attempt_ids, now or desk.noon + MINUTE
    )


def left_alone(seen: Found) -> tuple[int, int, int]:
    """(waiting, under way, suppressed)."""
    return seen.waiting, seen.under_way, seen.suppressed


def searched(desk: "Desk") -> list[Unknown]:
    """What is searched for, whenever that is due."""
    late = desk.noon + timedelta(hours=1)
    return take_due_unknowns(
        desk.ledger, exchange="connect", now=late, until=late, within=timedelta(hours=1), limit=100
    )


def test_whoever_is_asked_for_is_due_at_once(desk: "Desk") -> None:
    """done → waiting; the next claim makes attempt 2 under a token of its own, and the first says why."""
    (first,) = over(desk)
    assert desk.claim(now=desk.noon + MINUTE) == []
    assert requeue(desk) == 1
    person = desk.person(first)
    assert (person.state, person.due_at, person.attempts) == ("waiting", desk.noon + MINUTE, 1)
    assert desk.attempt(first).requeued_at == desk.noon + MINUTE
    assert desk.claim(now=desk.noon + MINUTE - timedelta(seconds=1)) == []
    (second,) = desk.claim(now=desk.noon + MINUTE)
    assert (desk.attempt(second).number, desk.attempt(second).requeued_at) == (2, None)
    assert second.client_token != first.client_token
    assert desk.attempt(first).outcome == "busy"


def test_twice_in_a_row_is_once(desk: "Desk") -> None:
    """The second time they wait already, and nobody has two further attempts for it."""
    over(desk, 3)
    assert (requeue(desk), requeue(desk)) == (3, 0)
    assert left_alone(found(desk)) == (3, 0, 0)
    assert len(desk.claim(now=desk.noon + MINUTE)) == 3
    assert requeue(desk) == 0
    assert left_alone(found(desk)) == (0, 3, 0)


@pytest.mark.parametrize("outcome", list(Outcome))
def test_each_outcome_is_asked_for_by_its_name(desk: "Desk", outcome: Outcome) -> None:
    """An outcome finds those who have it, and nobody else."""
    over(desk, outcome=outcome)
    for each in Outcome:
        assert len(found(desk, Asked(frozenset({each}))).attempt_ids) == (each == outcome)
    assert requeue(desk, Asked(frozenset(Outcome))) == 1


def test_refusals_are_asked_for_altogether_or_by_their_code(desk: "Desk") -> None:
    """A code is the whole code, as it is written; a part of it, or other letters, find nobody."""
    desk.started(4)
    for claimed, reason in zip(
        desk.claim(), ("Not: x", "NotAllowed: y", "NotAllowed", "not: 5"), strict=True
    ):
        desk.dial(claimed)
        assert mark_refused(desk.ledger, claimed.attempt_id, claimed.fence, reason, now=desk.noon)
    for code, count in (("Not", 1), ("NotAllowed", 2), ("not", 1), ("No", 0), ("N%", 0)):
        assert len(found(desk, Asked(codes=frozenset({code}))).attempt_ids) == count, code
    assert found(desk, Asked(codes=frozenset({"Not", "not"}))).endings == {"refused:Not": 1, "refused:not": 1}
    assert refusals(desk.ledger, desk.run().id) == {"Not": 1, "NotAllowed": 2, "not": 1}
    assert requeue(desk, Asked(refused=True)) == 4
    assert desk.states() == ["waiting"] * 4


def test_the_unknown_are_asked_for_by_name_alone(desk: "Desk") -> None:
    """Whoever may have been rung is not called again because somebody asked for everything else."""
    (claimed,) = held(desk)
    assert requeue(desk, Asked(frozenset(Outcome), refused=True)) == 0
    assert desk.states() == ["held"]
    assert requeue(desk, UNKNOWN) == 1
    assert desk.states() == ["waiting"]
    assert desk.attempt(claimed).state == "unknown"


def test_the_unknown_who_are_searched_for_are_left_alone(desk: "Desk") -> None:
    """While Connect is searched nobody can ask for them: the evidence may be on its way."""
    desk.started(2)
    for claimed in desk.claim():
        desk.bring(claimed, AttemptState.UNKNOWN)
    assert requeue(desk, UNKNOWN) == 0
    assert left_alone(found(desk, UNKNOWN)) == (0, 2, 0)
    assert desk.states() == ["in_progress"] * 2


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (AttemptState.QUEUED, (0, 1, 0)),
        (AttemptState.RETURNED, (1, 0, 0)),
        (AttemptState.DIALING, (0, 1, 0)),
        (AttemptState.PLACED, (0, 1, 0)),
        (AttemptState.UNKNOWN, (0, 1, 0)),
    ],
)
def test_whoever_has_another_attempt_already_is_left_alone(
    desk: "Desk", state: AttemptState, expected: tuple[int, int, int]
) -> None:
    """They are counted by the last of their attempts that has ended, and nothing of theirs moves."""
    over(desk)
    assert requeue(desk) == 1
    (second,) = desk.claim(now=desk.noon + MINUTE)
    desk.bring(second, state)
    before = (desk.recipients(), desk.attempts())
    assert left_alone(found(desk)) == expected
    assert left_alone(found(desk, Asked(frozenset({Outcome.NO_ANSWER})))) == (0, 0, 0)
    assert requeue(desk) == 0
    assert (desk.recipients(), desk.attempts()) == before


def test_whoever_waits_for_a_redial_is_left_alone(desk: "Desk") -> None:
    """The rule's time stays: nobody is called earlier, or once more, because somebody asked."""
    desk.started(1)
    (claimed,) = desk.claim()
    desk.bring(claimed, AttemptState.PLACED)
    due = desk.noon + timedelta(hours=2)
    desk.ended(claimed, Outcome.BUSY, redial_at=due)
    assert requeue(desk) == 0
    assert left_alone(found(desk)) == (1, 0, 0)
    assert desk.person(claimed).due_at == due


def test_the_latest_attempt_counts(desk: "Desk") -> None:
    """Who was busy once, and answered then, is not called again for having been busy."""
    over(desk)
    requeue(desk)
    (second,) = desk.claim(now=desk.noon + MINUTE)
    desk.bring(second, AttemptState.ENDED)
    assert requeue(desk) == 0
    assert left_alone(found(desk)) == (0, 0, 0)
    assert endings(desk.ledger, desk.run().id) == {"answered": 1}


def test_suppressed_numbers_are_left_alone(desk: "Desk") -> None:
    """Neither who is on the list when somebody looks, nor who comes onto it before it is done."""
    claims = over(desk, 3)
    first, second, _ = (desk.person(claimed).phone for claimed in claims)
    desk.suppress(first)
    seen = found(desk)
    assert (len(seen.attempt_ids), left_alone(seen)) == (2, (0, 0, 1))
    desk.suppress(second)
    assert ask_for_another(desk.ledger, desk.run(), BUSY, seen.attempt_ids, desk.noon) == 1
    assert desk.states() == ["done", "done", "waiting"]


@pytest.mark.parametrize(
    "state", [RecipientState.SUPPRESSED, RecipientState.EXPIRED, RecipientState.CANCELLED]
)
def test_who_is_given_up_is_never_asked_for(desk: "Desk", state: RecipientState) -> None:
    """Suppressed, expired and cancelled are for good, whatever their last attempt was."""
    (claimed,) = over(desk)
    with desk.ledger.write() as db:
        db.execute(update(recipients).values(state=state))
    seen = found(desk)
    assert requeue(desk) == 0
    assert left_alone(seen) == (0, 0, 0)
    told = {RecipientState.SUPPRESSED: (1, 0), RecipientState.EXPIRED: (0, 1)}
    assert (seen.were_suppressed, seen.expired) == told.get(state, (0, 0))
    assert (desk.states(), desk.attempt(claimed).requeued_at) == ([state], None)


def test_whose_time_to_be_called_has_passed_is_left_alone(desk: "Desk") -> None:
    """They would expire instead of being called; also if it passes between the look and the deed."""
    claims = over(desk, 3)
    with desk.ledger.write() as db:
        for claimed, at in zip(claims, (desk.noon, desk.noon + MINUTE, desk.noon + 2 * MINUTE), strict=True):
            this = recipients.c.id == desk.person(claimed).id
            db.execute(update(recipients).where(this).values(expires_at=at))
    seen = found(desk)
    assert (len(seen.attempt_ids), seen.expired) == (2, 1)
    now = desk.noon + MINUTE
    assert ask_for_another(desk.ledger, desk.run(), BUSY, seen.attempt_ids, now) == 1
    assert desk.states() == ["done", "done", "waiting"]
    assert [desk.attempt(claimed).requeued_at for claimed in claims] == [None, None, now]


def barred(desk: "Desk", *claims: Claim) -> None:
    """Their numbers are put on the list."""
    phones = [Number(desk.person(claimed).phone, "asked to", desk.noon) for claimed in claims]
    put_numbers(desk.ledger, phones, campaign_id=EVERY_CAMPAIGN, now=desk.noon)


def unbarred(desk: "Desk", *claims: Claim, now: datetime | None = None) -> Removed:
    """Their numbers are taken off it."""
    phones = [desk.person(claimed).phone for claimed in claims]
    return remove_numbers(
        desk.ledger, phones, campaign_id=EVERY_CAMPAIGN, reason="a mistake", now=now or desk.noon
    )


def allowed_again(desk: "Desk", now: datetime, asked: Asked = SUPPRESSED) -> int:
    """`dialer requeue --outcome suppressed`."""
    seen = found(desk, asked, now)
    ids = seen.allowed_again
    return ask_for_another(desk.ledger, desk.run(), asked, seen.attempt_ids, now, ids)


def test_whoever_was_suppressed_in_a_finished_run_waits_only_when_asked_for(desk: "Desk") -> None:
    """With the attempt and the token that came back; and those who are still on a list do not."""
    desk.started(4)
    one, two, three, four = desk.claim()
    barred(desk, one, two, three, four)
    assert finish(desk.ledger, desk.noon) == 1
    with desk.ledger.write() as db:
        this = recipients.c.id == desk.person(four).id
        db.execute(update(recipients).where(this).values(expires_at=desk.noon))
    removed = unbarred(desk, one, two, four)
    assert (removed.waiting, removed.finished) == (0, (("reminders", 2),))
    assert desk.states() == ["suppressed"] * 4
    seen = found(desk, SUPPRESSED)
    assert (len(seen.allowed_again), seen.suppressed, seen.expired) == (2, 1, 1)
    barred(desk, two)
    assert ask_for_another(desk.ledger, desk.run(), SUPPRESSED, [], desk.noon, seen.allowed_again) == 1
    assert desk.states() == ["waiting", "suppressed", "suppressed", "suppressed"]
    assert desk.run().state == RunState.RUNNING
    (again,) = desk.claim()
    assert (again.attempt_id, again.client_token) == (one.attempt_id, one.client_token)
    assert allowed_again(desk, desk.noon) == 0


def test_whoever_waited_for_a_redial_waits_for_it_again(desk: "Desk") -> None:
    """Due when the rules say; and nobody asks for them as `busy`, by which they would be due at once."""
    redial = {"max_attempts": 2, "busy": "10m"}
    desk.load(desk.campaign(redial=redial), desk.people(1))
    desk.start()
    (claimed,) = desk.claim()
    desk.bring(claimed, AttemptState.PLACED)
    due = desk.noon + 10 * MINUTE
    desk.ended(claimed, Outcome.BUSY, redial_at=due)
    barred(desk, claimed)
    assert finish(desk.ledger, desk.noon) == 1
    unbarred(desk, claimed)
    assert (len(found(desk).attempt_ids), found(desk).were_suppressed) == (0, 1)
    assert requeue(desk) == 0
    assert allowed_again(desk, desk.noon + MINUTE) == 1
    assert (desk.states(), desk.person(claimed).due_at) == (["waiting"], due)


def test_since_is_when_the_number_was_taken_off_the_list(desk: "Desk") -> None:
    """Nobody is asked for whose number came off it earlier."""
    desk.started(2)
    one, two = desk.claim()
    barred(desk, one, two)
    finish(desk.ledger, desk.noon)
    unbarred(desk, one)
    unbarred(desk, two, now=desk.noon + MINUTE)
    since = Asked(suppressed=True, since=desk.noon + MINUTE)
    assert [person.key for person in people(desk.ledger, [], found(desk, since).allowed_again)] == [
        desk.person(two).key
    ]
    assert allowed_again(desk, desk.noon + MINUTE, since) == 1
    assert desk.states() == ["suppressed", "waiting"]


def test_since_is_the_end_of_the_attempt(desk: "Desk") -> None:
    """It counts from then, to the microsecond; for the unknown, from when nobody could tell any more."""
    over(desk)
    moment = timedelta(microseconds=1)
    for asked, ended in ((BUSY, desk.noon), (UNKNOWN, desk.noon + MINUTE)):
        since = {
            instant: len(found(desk, Asked(asked.outcomes, unknown=asked.unknown, since=instant)).attempt_ids)
            for instant in (ended - moment, ended, ended + moment)
        }
        assert list(since.values()) == [1, 1, 0]
        requeue(desk)
        for claimed in desk.claim(now=desk.noon + MINUTE):
            desk.bring(claimed, AttemptState.UNKNOWN)
            with desk.ledger.write() as db:
                this = attempts.c.id == claimed.attempt_id
                db.execute(update(attempts).where(this).values(unknown_at=desk.noon + MINUTE))
            assert desk.not_found(claimed, redial=False)


def test_only_this_campaign_is_meant(desk: "Desk") -> None:
    """The same people in another campaign stay as they are."""
    for name in ("another", "reminders"):
        desk.load(desk.campaign(name), desk.people(2))
        desk.start(name)
    for claimed in desk.claim():
        desk.bring(claimed, AttemptState.PLACED)
        desk.ended(claimed, Outcome.BUSY)
    assert requeue(desk) == 2
    assert (desk.states("another"), desk.states()) == (["done"] * 2, ["waiting"] * 2)


@pytest.mark.parametrize(
    ("state", "becomes"),
    [
        (RunState.RUNNING, RunState.RUNNING),
        (RunState.FINISHED, RunState.RUNNING),
        (RunState.PAUSED, RunState.PAUSED),
        (RunState.LOADED, RunState.LOADED),
    ],
)
def test_a_finished_campaign_goes_on_and_others_stay(
    desk: "Desk", state: RunState, becomes: RunState
) -> None:
    """What an operator has stopped, or not begun, does not begin by itself."""
    over(desk)
    match state:
        case RunState.FINISHED:
            assert finish(desk.ledger, desk.noon) == 1
        case RunState.PAUSED:
            assert desk.pause()
        case RunState.LOADED:
            finish(desk.ledger, desk.noon)
            desk.load(desk.campaign(), desk.people(1, first=5_000))
    assert desk.run().state == state
    assert requeue(desk) == 1
    assert desk.run().state == becomes
    assert finish(desk.ledger, desk.noon) == 0
    assert len(desk.claim(now=desk.noon + MINUTE)) == (becomes == RunState.RUNNING)


def test_a_finished_campaign_stays_so_when_nobody_is_asked_for(desk: "Desk") -> None:
    """A wish that means nobody wakes nothing."""
    over(desk, outcome=Outcome.ANSWERED)
    finish(desk.ledger, desk.noon)
    assert requeue(desk) == 0
    assert desk.run().state == RunState.FINISHED


def test_nobody_is_asked_for_in_a_cancelled_campaign(desk: "Desk") -> None:
    """Also when it was cancelled between the look and the deed."""
    over(desk, 2)
    seen = found(desk)
    desk.cancel()
    with pytest.raises(Mistake, match="reminders was cancelled, which is for ever"):
        ask_for_another(desk.ledger, desk.run(), BUSY, seen.attempt_ids, desk.noon)
    assert desk.states() == ["done", "done"]


def test_who_moved_on_since_the_look_is_left_alone(desk: "Desk") -> None:
    """The deed is what was shown, less those who have another outcome, or another attempt, by now."""
    first, second, third = over(desk, 3, Outcome.NO_OUTCOME)
    seen = found(desk, SILENT)
    assert mark_told_late(
        desk.ledger, first.attempt_id, Outcome.ANSWERED, ended_at=desk.noon, redial=lambda _: None
    )
    (other,) = [each for each in seen.attempt_ids if each == second.attempt_id]
    assert ask_for_another(desk.ledger, desk.run(), SILENT, [other], desk.noon) == 1
    assert ask_for_another(desk.ledger, desk.run(), SILENT, seen.attempt_ids, desk.noon) == 1
    assert desk.states() == ["done", "waiting", "waiting"]
    assert desk.attempt(first).requeued_at is None
    assert desk.person(third).attempts == 1


def test_a_long_list_is_asked_for_whole_and_in_order(desk: "Desk") -> None:
    """More than one statement, and more than one reading transaction, take; each is shown by its line."""
    count = 12_345
    desk.load(desk.campaign(), desk.people(count))
    desk.start()
    with desk.ledger.write() as db:
        db.execute(
            insert(attempts),
            [
                {
                    "run_id": row.run_id,
                    "recipient_id": row.id,
                    "number": 1,
                    "client_token": row.key,
                    "state": "ended",
                    "outcome": "busy" if row.line % 3 else "answered",
                    "fence": 1,
                    "lease_until": desk.noon,
                    "queued_at": desk.noon,
                    "ended_at": desk.noon,
                }
                for row in reversed(desk.recipients())
            ],
        )
        db.execute(update(recipients).values(state="done", attempts=1))
    seen = found(desk)
    lines = [person.line for person in people(desk.ledger, seen.attempt_ids)]
    assert lines == [line for line in range(2, count + 2) if line % 3]
    assert seen.endings == {"busy": len(lines)}
    assert requeue(desk) == len(lines)
    waiting = [row.line for row in desk.recipients() if row.state == "waiting"]
    assert waiting == lines


def test_who_is_shown_is_shown_with_all_that_tells_them_apart(desk: "Desk") -> None:
    """Key, number, line, how and when it ended, and how often they were tried."""
    (claimed,) = held(desk)
    (person,) = people(desk.ledger, found(desk, UNKNOWN).attempt_ids)
    assert (person.key, person.phone, person.line) == ("key-1", "+14150000001", 2)
    assert (person.ending, person.ended_at, person.attempts) == ("unknown", desk.noon, 1)
    assert desk.attempt(claimed).unknown_at == desk.noon


def test_attempts_that_were_asked_for_count_for_the_rules(desk: "Desk") -> None:
    """They go on as they are: numbers add up, and one of which nobody can tell counts as a ring from then."""
    (first,) = held(desk, redial={"max_attempts": 2, "busy": "10m"})
    person = desk.person(first).id
    with desk.ledger.read() as db:
        assert rings_of(db, [person]) == {}
    requeue(desk, UNKNOWN)
    (second,) = desk.claim(now=desk.noon + MINUTE)
    desk.bring(second, AttemptState.PLACED)
    (call,) = calls_of(desk.ledger, [f"contact-{second.attempt_id}"], "connect")
    assert [ring.outcome for ring in call.rings(Outcome.BUSY)] == [None, Outcome.BUSY]
    step = call.campaign.redial.next_step(call.rings(Outcome.BUSY), desk.noon)
    assert step.reason == "attempt 2 of 2 was the last"  # type: ignore[union-attr]


# What is heard, after the wish, of an attempt of which nobody could tell.


@pytest.mark.parametrize("heard", ["found", "answered"])
@pytest.mark.parametrize("claimed_again", [False, True])
def test_a_call_that_turns_up_before_the_next_rings_withdraws_the_wish(
    desk: "Desk", heard: str, claimed_again: bool
) -> None:
    """By a search or by a late answer, before or after the next attempt is claimed: nobody rings twice."""
    (first,) = held(desk)
    finish(desk.ledger, desk.noon)
    requeue(desk, UNKNOWN)
    later = desk.noon + MINUTE
    again = desk.claim(now=later) if claimed_again else []
    assert (desk.found if heard == "found" else desk.answered)(first, "call-1")
    assert [row.state for row in desk.attempts()] == ["placed"]
    assert (desk.person(first).state, desk.person(first).attempts) == ("in_progress", 1)
    assert desk.attempt(first).requeued_at is None
    for claimed in again:
        assert isinstance(desk.dial(claimed, now=later), NotNow)
    assert desk.claim(now=later) == []
    # From here on it is a call like any other, and can be asked for again.
    assert desk.ended(first, Outcome.BUSY)
    assert requeue(desk) == 1


@pytest.mark.parametrize("heard", ["found", "answered"])
def test_a_call_that_turns_up_while_the_next_rings_stays_apart(desk: "Desk", heard: str) -> None:
    """What is on the wire cannot be called back; each attempt ends by itself, and the latest decides."""
    (first,) = held(desk)
    requeue(desk, UNKNOWN)
    (second,) = desk.claim(now=desk.noon + MINUTE)
    desk.bring(second, AttemptState.DIALING)
    if heard == "found":
        # The call may be that of the attempt that is being dialed; a later search sees.
        assert not desk.found(first, "call-1")
        assert desk.placed(second)
        assert not desk.found(first, f"contact-{second.attempt_id}")
        assert desk.found(first, "call-1")
    else:
        assert desk.answered(first, "call-1")
        assert desk.placed(second)
    assert desk.attempt(first).requeued_at is not None
    assert desk.ended(first, Outcome.ANSWERED)
    assert desk.states() == ["in_progress"]
    assert desk.ended(second, Outcome.BUSY)
    assert (desk.states(), desk.person(first).attempts) == (["done"], 2)


@pytest.mark.parametrize("redial", [False, True])
def test_a_search_that_ends_after_the_wish_changes_nothing(desk: "Desk", redial: bool) -> None:
    """Who was held while the search went on is not held again, nor called twice, when it finds nothing."""
    desk.started(1)
    (first,) = desk.claim()
    desk.bring(first, AttemptState.UNKNOWN)
    (unknown,) = searched(desk)
    search_later(desk.ledger, [(unknown, desk.noon)], hold=True, evidence="nobody can tell: x")
    assert desk.states() == ["held"]
    requeue(desk, UNKNOWN)
    (unknown,) = searched(desk)
    search_later(desk.ledger, [(unknown, desk.noon)], hold=True, evidence="nobody can tell: y")
    assert desk.states() == ["waiting"]
    assert desk.not_found(first, redial=redial, now=desk.noon + 2 * MINUTE)
    assert (desk.states(), desk.person(first).due_at) == (["waiting"], desk.noon + MINUTE)
    (second,) = desk.claim(now=desk.noon + MINUTE)
    assert searched(desk) == []
    assert [row.number for row in desk.attempts()] == [1, 2]
    assert desk.attempt(second).state == "queued"


def test_an_answer_that_it_never_rang_takes_the_place_of_the_wish(desk: "Desk") -> None:
    """The same attempt is due again, under its token and for nothing; it is not dialed twice for it."""
    (first,) = held(desk)
    requeue(desk, UNKNOWN)
    due = desk.noon + timedelta(hours=1)
    assert mark_returned(desk.ledger, first.attempt_id, first.fence, "throttled", due_at=due)
    assert (desk.states(), desk.attempt(first).requeued_at) == (["waiting"], None)
    (again,) = desk.claim(now=desk.noon + MINUTE)
    assert again == Claim(first.attempt_id, first.fence + 1, first.client_token)
    assert len(desk.attempts()) == 1


@pytest.mark.parametrize("move", ["returned", "refused"])
def test_a_late_answer_leaves_the_attempt_that_was_asked_for_alone(desk: "Desk", move: str) -> None:
    """Once the next attempt is claimed it goes on, whatever is heard of one that did not ring."""
    (first,) = held(desk)
    requeue(desk, UNKNOWN)
    (second,) = desk.claim(now=desk.noon + MINUTE)
    this = (desk.ledger, first.attempt_id, first.fence, "X: no")
    if move == "returned":
        assert not mark_returned(*this, due_at=desk.noon)
    else:
        assert mark_refused(*this, now=desk.noon)
    assert (desk.attempt(second).state, desk.states()) == ("queued", ["in_progress"])


def test_a_late_refusal_leaves_the_wish_alone(desk: "Desk") -> None:
    """It did not ring, and somebody wants it to."""
    (first,) = held(desk)
    requeue(desk, UNKNOWN)
    assert mark_refused(desk.ledger, first.attempt_id, first.fence, "X: no", now=desk.noon)
    assert desk.states() == ["waiting"]
    assert len(desk.claim(now=desk.noon + MINUTE)) == 1


@pytest.mark.parametrize("claimed_again", [False, True])
def test_a_late_word_withdraws_the_wish_for_those_without_one(desk: "Desk", claimed_again: bool) -> None:
    """Who had answered after all is not rung again for having had no outcome."""
    (first,) = over(desk, outcome=Outcome.NO_OUTCOME)
    requeue(desk, SILENT)
    later = desk.noon + MINUTE
    again = desk.claim(now=later) if claimed_again else []
    this = (desk.ledger, first.attempt_id, Outcome.ANSWERED)
    assert mark_told_late(*this, ended_at=desk.noon, redial=lambda _: None)
    assert (desk.states(), desk.person(first).attempts) == (["done"], 1)
    assert desk.attempt(first).requeued_at is None
    for claimed in again:
        assert isinstance(desk.dial(claimed, now=later), NotNow)
    assert desk.claim(now=later) == []


def test_a_late_word_with_a_rule_does_not_put_the_wish_off(desk: "Desk") -> None:
    """The rule has another attempt in two hours; the operator asked for it now."""
    (first,) = over(desk, outcome=Outcome.NO_OUTCOME)
    requeue(desk, SILENT)
    in_two_hours = desk.noon + timedelta(hours=2)
    this = (desk.ledger, first.attempt_id, Outcome.BUSY)
    assert mark_told_late(*this, ended_at=desk.noon, redial=lambda _: in_two_hours)
    assert (desk.states(), desk.person(first).due_at) == (["waiting"], desk.noon + MINUTE)
    assert desk.attempt(first).requeued_at == desk.noon + MINUTE


@pytest.mark.parametrize("claimed_again", [False, True])
def test_a_call_that_goes_on_withdraws_the_wish(desk: "Desk", claimed_again: bool) -> None:
    """It had passed for over, for want of a word; nobody is rung while they are on the telephone."""
    (first,) = over(desk, outcome=Outcome.NO_OUTCOME)
    requeue(desk, SILENT)
    later = desk.noon + MINUTE
    again = desk.claim(now=later) if claimed_again else []
    assert mark_goes_on(desk.ledger, first.attempt_id, follow_at=later)
    assert (desk.states(), desk.person(first).attempts) == (["in_progress"], 1)
    assert (desk.attempt(first).state, desk.attempt(first).requeued_at) == ("placed", None)
    for claimed in again:
        assert isinstance(desk.dial(claimed, now=later), NotNow)
    assert desk.claim(now=later) == []


# Beside others, in PostgreSQL: SQLite lets one write after the other.


def test_two_at_once_ask_for_everybody_once(
    two_desks: "tuple[Desk, Desk]",
    at_once: Callable[..., Any],
) -> None:
    """Both have seen the same people; the later one finds them waiting already."""
    desk, other = two_desks
    over(desk, 5)
    seen = found(desk).attempt_ids
    run = desk.run()
    one, two = at_once(
        other.ledger,
        "UPDATE attempts",
        lambda: ask_for_another(other.ledger, run, BUSY, seen, desk.noon + MINUTE),
        lambda: ask_for_another(desk.ledger, run, BUSY, seen, desk.noon + 2 * MINUTE),
    )
    assert (one.result(), two.result()) == (5, 0)
    assert {row.due_at for row in desk.recipients()} == {desk.noon + MINUTE}
    assert len(desk.claim(now=desk.noon + 2 * MINUTE)) == 5
    assert desk.claim(now=desk.noon + 2 * MINUTE) == []


@pytest.mark.parametrize("first", ["requeue", "cancel"])
def test_a_requeue_and_a_cancellation_at_once_leave_nobody_waiting(
    two_desks: "tuple[Desk, Desk]",
    at_once: Callable[..., Any],
    first: str,
) -> None:
    """Whoever comes first, the cancellation has the last word."""
    desk, other = two_desks
    over(desk, 3)
    seen, run = found(desk).attempt_ids, desk.run()

    def ask(of: "Desk") -> int:
        return ask_for_another(of.ledger, run, BUSY, seen, desk.noon)

    does, then = (ask, type(desk).cancel) if first == "requeue" else (type(desk).cancel, ask)
    after = "UPDATE attempts" if first == "requeue" else "UPDATE runs"
    one, two = at_once(other.ledger, after, lambda: does(other), lambda: then(desk))
    if first == "requeue":
        assert (one.result(), two.result()) == (3, 3)
    else:
        assert one.result() == 0
        with pytest.raises(Mistake, match="was cancelled"):
            two.result()
    assert set(desk.states()) == {"cancelled" if first == "requeue" else "done"}


def test_a_requeue_and_the_feed_at_once_claim_everybody_once(
    two_desks: "tuple[Desk, Desk]",
    at_once: Callable[..., Any],
) -> None:
    """A round of feeding in the middle of a requeue waits for its end, and claims each of them once."""
    desk, other = two_desks
    over(desk, 4)
    seen, run = found(desk).attempt_ids, desk.run()
    later = desk.noon + MINUTE
    asking, feeding = at_once(
        other.ledger,
        "UPDATE attempts",
        lambda: ask_for_another(other.ledger, run, BUSY, seen, desk.noon),
        lambda: desk.claim(now=later),
    )
    assert asking.result() == 4
    claims = feeding.result() + desk.claim(now=later)
    assert len(claims) == len({claimed.client_token for claimed in claims}) == 4
    assert sorted(row.number for row in desk.attempts()) == [1] * 4 + [2] * 4


def test_a_call_that_is_found_during_a_requeue_is_not_asked_for(
    two_desks: "tuple[Desk, Desk]",
    at_once: Callable[..., Any],
) -> None:
    """The search has found one of them when the requeue comes: that one is followed, the other waits."""
    desk, other = two_desks
    first, _ = held(desk, 2)
    seen, run = found(desk, UNKNOWN).attempt_ids, desk.run()
    finding, asking = at_once(
        other.ledger,
        "UPDATE recipients",
        lambda: other.found(first, "call-1"),
        lambda: ask_for_another(desk.ledger, run, UNKNOWN, seen, desk.noon),
    )
    assert (finding.result(), asking.result()) == (True, 1)
    assert desk.states() == ["in_progress", "waiting"]
    assert [row.requeued_at for row in desk.attempts()] == [None, desk.noon]


def test_requeues_and_searches_do_not_wait_for_each_other(
    postgres_ledger: Ledger,
    postgres_ledger_url: str,
    aside: Callable[..., Any],
    desk_of: Callable[[Ledger], "Desk"],
    opened: Callable[[str], Ledger],
) -> None:
    """All of them take several attempts; in whatever order they come, nobody is a deadlock's victim."""
    desk = desk_of(postgres_ledger)
    claims = held(desk, 60)
    with desk.ledger.write() as db:
        # Searched for all the same, the last one first.
        db.execute(update(attempts).values(settle_at=desk.noon))
        db.execute(
            update(attempts)
            .where(attempts.c.id == claims[-1].attempt_id)
            .values(settle_at=desk.noon - MINUTE)
        )
    run, others = desk.run(), [desk_of(opened(postgres_ledger_url)) for _ in range(3)]
    until = time.monotonic() + 3

    def again(does: Callable[[], Any]) -> int:
        rounds = 0
        while time.monotonic() < until:
            does()
            rounds += 1
        return rounds

    def ask() -> None:
        ids = look(others[0].ledger, run.id, UNKNOWN, desk.noon).attempt_ids
        ask_for_another(others[0].ledger, run, UNKNOWN, ids, desk.noon)
        with others[0].ledger.write() as db:
            db.execute(update(recipients).values(state="held"))

    def hold() -> None:
        for unknown in searched(others[2])[:5]:
            search_later(others[2].ledger, [(unknown, desk.noon)], hold=True, evidence="x")

    threads = [
        aside(lambda: again(ask)),
        aside(lambda: again(lambda: searched(others[1]))),
        aside(lambda: again(hold)),
    ]
    assert all(thread.result() > 1 for thread in threads)
