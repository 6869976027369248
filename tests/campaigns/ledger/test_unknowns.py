"""What may have rung: taken for a search, and settled by what it shows, on both databases."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import update

from campaigns.attempt import AttemptState, Outcome
from campaigns.ledger import Ledger
from campaigns.ledger.claims import Claim
from campaigns.ledger.contacts import known_contacts
from campaigns.ledger.moves import mark_placed
from campaigns.ledger.runs import finish
from campaigns.ledger.tables import attempts
from campaigns.ledger.unknowns import (
    Unknown,
    calls_known_between,
    mark_found,
    mark_not_found,
    search_later,
    take_due_unknowns,
)
from campaigns.stranger import Stranger

if TYPE_CHECKING:
    from tests.conftest import Desk

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
INSTANCE = "10a4c4eb-f57e-4d4c-b602-bf39176ced07"


def in_doubt(desk: "Desk", count: int = 1, **tables: Any) -> list[Claim]:
    """A running campaign with so many unknown attempts, which are due to be searched for at noon."""
    desk.load(desk.campaign(**tables), desk.people(count))
    desk.start()
    claims = desk.claim()
    for claimed in claims:
        desk.bring(claimed, AttemptState.UNKNOWN)
    return claims


def due(desk: "Desk", *, exchange: str = "connect", seconds: int = 0) -> list[Unknown]:
    """What is to be searched for so many seconds after noon, taken for a minute."""
    now = desk.noon + timedelta(seconds=seconds)
    return take_due_unknowns(
        desk.ledger, exchange=exchange, now=now, until=now + MINUTE, within=MINUTE, limit=100
    )


def test_the_unknown_are_taken_once_and_again_when_their_searcher_died(desk: "Desk") -> None:
    """Whoever searches has them for a while, and what it took with it is handed out again after that."""
    claims = in_doubt(desk, 3)
    assert {each.attempt_id for each in due(desk)} == {claimed.attempt_id for claimed in claims}
    assert due(desk) == []
    assert due(desk, seconds=59) == []
    assert len(due(desk, seconds=60)) == 3


def test_only_what_this_exchange_has_dialed_is_searched_for(desk: "Desk") -> None:
    """A trial knows nothing of real calls, and would call them never placed."""
    in_doubt(desk, 2)
    assert due(desk, exchange="sandbox") == []
    assert len(due(desk)) == 2


def test_neighbours_in_time_come_along(desk: "Desk") -> None:
    """One search serves those dialed within a minute of it, due or not; the others wait their turn."""
    desk.started(3)
    claims = desk.claim()
    for seconds, claimed in zip((0, 50, 200), claims, strict=True):
        desk.dial(claimed, now=desk.noon + timedelta(seconds=seconds))
        assert desk.unknown(claimed, settle_at=desk.noon + timedelta(seconds=seconds))
    assert {each.attempt_id for each in due(desk)} == {claims[0].attempt_id, claims[1].attempt_id}
    assert due(desk, seconds=59) == []


def test_found_is_placed_and_followed(desk: "Desk") -> None:
    """unknown → placed under the contact_id that Connect lists, whether its recipient was held or not."""
    first, second = in_doubt(desk, 2)
    assert desk.not_found(second, redial=False)
    assert desk.states() == ["in_progress", "held"]
    assert desk.found(first, "call-1")
    assert desk.found(second, "call-2")
    assert [row.state for row in desk.attempts()] == ["placed", "placed"]
    assert [row.contact_id for row in desk.attempts()] == ["call-1", "call-2"]
    assert desk.states() == ["in_progress", "in_progress"]
    assert desk.ended(first, Outcome.BUSY)
    assert due(desk, seconds=3600) == []


def test_found_where_nobody_follows_is_done(desk: "Desk") -> None:
    """Without following, a call that was found is the end of the matter."""
    (claimed,) = in_doubt(desk)
    assert desk.found(claimed, "call-1", follow_at=None)
    assert desk.states() == ["done"]


def test_one_contact_is_one_attempts(desk: "Desk") -> None:
    """A contact that another attempt has is not found a second time."""
    first, second = in_doubt(desk, 2)
    assert desk.found(first, "call-1")
    assert not desk.found(second, "call-1")
    assert desk.attempt(second).state == "unknown"


def test_a_call_to_a_number_that_is_being_dialed_may_be_that_one(desk: "Desk") -> None:
    """While another attempt to the same number has not said which contact is its own, none is found."""
    people = desk.people(1)
    for name in ("reminders", "another"):
        desk.load(desk.campaign(name), people)
        desk.start(name)
    claimed, other = desk.claim()
    desk.bring(claimed, AttemptState.UNKNOWN)
    desk.dial(other)
    assert not desk.found(claimed, "call-of-the-other")
    assert desk.placed(other)
    assert desk.found(claimed, "call-of-its-own")


def test_the_answer_that_comes_after_the_search_agrees_with_it(desk: "Desk") -> None:
    """A worker that wakes up late with the contact_id that the search has found records nothing new."""
    (claimed,) = in_doubt(desk)
    assert desk.found(claimed, "call-1")
    before = desk.attempt(claimed)
    assert desk.answered(claimed, "call-1")
    assert not desk.answered(claimed, "call-2")
    assert desk.attempt(claimed) == before
    assert desk.ended(claimed)
    assert desk.answered(claimed, "call-1")
    assert desk.attempt(claimed).state == "ended"


@pytest.mark.parametrize(("redial", "person"), [(True, "waiting"), (False, "held")])
def test_never_found_is_dialed_again_or_held(desk: "Desk", redial: bool, person: str) -> None:
    """The attempt stays unknown and is not searched for any more; a redial has a token of its own."""
    (claimed,) = in_doubt(desk)
    assert desk.not_found(claimed, redial=redial)
    assert (desk.attempt(claimed).state, desk.states()) == ("unknown", [person])
    assert due(desk, seconds=10**6) == []
    again = desk.claim()
    assert len(again) == redial
    if redial:
        assert [row.number for row in desk.attempts()] == [1, 2]
        assert again[0].client_token != claimed.client_token


def test_never_found_in_a_cancelled_campaign_is_cancelled(desk: "Desk") -> None:
    """Cancelled is for ever: nobody is dialed again for a call that was never found."""
    (claimed,) = in_doubt(desk)
    desk.cancel()
    assert desk.not_found(claimed, redial=True)
    assert desk.states() == ["cancelled"]
    assert desk.claim() == []


def test_never_found_reopens_a_finished_run(desk: "Desk") -> None:
    """Whoever was held, and is to be dialed after all, is not left in a run that is over."""
    (claimed,) = in_doubt(desk)
    these = [(each, desk.noon) for each in due(desk)]
    search_later(desk.ledger, these, hold=True, evidence="nobody can tell")
    assert finish(desk.ledger, desk.noon) == 1
    assert desk.not_found(claimed, redial=True)
    assert (desk.run().state, len(desk.claim())) == ("running", 1)


def test_how_often_somebody_was_not_found_is_counted(desk: "Desk") -> None:
    """The third attempt knows of the two before it."""
    (claimed,) = in_doubt(desk)
    counts = []
    for _ in range(3):
        (each,) = due(desk)
        counts.append(each.not_found)
        assert desk.not_found(claimed, redial=True)
        (claimed,) = desk.claim()
        desk.bring(claimed, AttemptState.UNKNOWN)
    assert counts == [0, 1, 2]


def test_a_later_search_is_due_at_its_time(desk: "Desk") -> None:
    """What a search did not settle is searched for again at the named time, or never."""
    in_doubt(desk, 2)
    first, second = due(desk)
    search_later(
        desk.ledger, [(first, desk.noon + SECOND), (second, None)], hold=False, evidence="not found yet"
    )
    assert [row.evidence for row in desk.attempts()] == ["not found yet"] * 2
    assert desk.states() == ["in_progress"] * 2
    assert due(desk) == []
    assert [each.attempt_id for each in due(desk, seconds=1)] == [first.attempt_id]


def test_a_search_that_an_answer_overtook_changes_nothing(desk: "Desk") -> None:
    """What has been settled meanwhile stays as it is, whatever a search still has to say."""
    (claimed,) = in_doubt(desk)
    (each,) = due(desk)
    assert desk.answered(claimed, "call-1")
    before = desk.attempts(), desk.recipients()
    assert not desk.found(claimed, "call-2")
    assert not desk.not_found(claimed, redial=True)
    search_later(desk.ledger, [(each, desk.noon)], hold=True, evidence="nobody can tell")
    assert (desk.attempts(), desk.recipients()) == before


def test_known_calls_are_those_of_the_time_the_instance_and_the_exchange(desk: "Desk") -> None:
    """A search is measured by the calls that it must show: placed then, there, and by us."""
    desk.started(3)
    claims = desk.claim()
    for minutes, claimed in enumerate(claims):
        desk.dial(claimed, now=desk.noon + minutes * MINUTE)
        desk.answered(claimed, f"call-{minutes}")

    def known(instance: str = INSTANCE, exchange: str = "connect") -> set[str]:
        return calls_known_between(
            desk.ledger, exchange=exchange, instance_id=instance, since=desk.noon, until=desk.noon + MINUTE
        )

    assert known() == {"call-0", "call-1"}
    assert known(exchange="sandbox") == set()
    assert known(instance="another") == set()
    assert known_contacts(desk.ledger, ["call-2", "call-9"]) == {"call-2"}


# --- whose call it can be ---------------------------------------------------------------------------------


def to_one_number(desk: "Desk", *states: AttemptState, name: str = "family", **connect: str) -> list[Claim]:
    """A campaign whose recipients share a telephone, each with an attempt in one of these states."""
    campaign = desk.campaign(name)
    options = {**campaign.connect.model_dump(exclude_none=True), **connect}
    people = [replace(each, phone="+14155550140") for each in desk.people(len(states))]
    desk.load(desk.campaign(name, connect=options), people)
    desk.start(name)
    claims = desk.claim()
    for claimed, state in zip(claims, states, strict=True):
        desk.bring(claimed, state)
    return claims


def replayed(desk: "Desk", claimed: Claim) -> None:
    """Its request was sent twice, and may have become two calls."""
    desk.dial(claimed)
    this = (desk.ledger, claimed.attempt_id, claimed.fence, f"contact-{claimed.attempt_id}")
    assert mark_placed(*this, now=desk.noon, follow_at=desk.noon, replays=1)


@pytest.mark.parametrize(
    ("other", "found"),
    [
        (AttemptState.QUEUED, True),
        (AttemptState.RETURNED, True),
        (AttemptState.REFUSED, True),
        (AttemptState.PLACED, True),
        (AttemptState.ENDED, True),
        (AttemptState.DIALING, False),
        (AttemptState.UNKNOWN, False),
    ],
)
def test_a_call_is_found_only_where_no_other_attempt_can_have_made_it(
    desk: "Desk", other: AttemptState, found: bool
) -> None:
    """One in doubt or on its way can; what did not ring cannot, nor what has said which call is its own."""
    mine, _ = to_one_number(desk, AttemptState.UNKNOWN, other)
    assert desk.found(mine, "call-1") == found
    assert desk.attempt(mine).state == ("placed" if found else "unknown")


@pytest.mark.parametrize("ends", [False, True])
def test_a_request_that_was_sent_twice_may_have_made_a_call_of_its_own(desk: "Desk", ends: bool) -> None:
    """It has its contact, and another call of its token may be there besides."""
    mine, other = to_one_number(desk, AttemptState.UNKNOWN, AttemptState.QUEUED)
    replayed(desk, other)
    if ends:
        assert desk.ended(other)
    assert not desk.found(mine, "call-1")


def test_a_worker_that_died_may_have_sent_its_request_twice(desk: "Desk") -> None:
    """Rescue cannot know; so another call to that number is not settled by what is left of the two."""
    mine, other = to_one_number(desk, AttemptState.UNKNOWN, AttemptState.DIALING)
    assert desk.rescue(desk.noon + 2 * MINUTE) == (0, 1)
    assert desk.attempt(other).replays == 1
    other_call = Stranger("call-2", desk.noon, None, {}, desk.attempt(other).client_token)
    this = (desk.ledger, other.attempt_id, other.fence, other_call)
    assert mark_found(*this, follow_at=desk.noon, evidence="found")
    assert not desk.found(mine, "call-1")


def test_an_attempt_that_was_given_up_can_have_made_it(desk: "Desk") -> None:
    """That it was never found is a belief, and no proof."""
    mine, other = to_one_number(desk, AttemptState.UNKNOWN, AttemptState.UNKNOWN)
    assert desk.not_found(other, redial=True)
    assert not desk.found(mine, "call-1")
    assert desk.states("family") == ["in_progress", "waiting"]


def test_attempts_of_another_time_instance_or_exchange_cannot_have_made_it(desk: "Desk") -> None:
    """Nor do those to other numbers."""
    (mine,) = to_one_number(desk, AttemptState.UNKNOWN)
    there = "b0b8f2dd-ed1b-4c44-af36-ce189a178181"
    to_one_number(desk, AttemptState.UNKNOWN, name="elsewhere", instance_id=there)
    (later,) = to_one_number(desk, AttemptState.QUEUED, name="later")
    desk.dial(later, now=desk.noon + 10 * MINUTE)
    desk.started(1, "others")
    for claimed in desk.claim():
        desk.bring(claimed, AttemptState.UNKNOWN)
    assert desk.found(mine, "call-1")


def test_a_token_tells_whose_call_it_is(desk: "Desk") -> None:
    """Of two attempts in doubt, the one whose token the call shows; the other is not settled by it."""
    mine, other = to_one_number(desk, AttemptState.UNKNOWN, AttemptState.UNKNOWN)
    call = Stranger("call-1", desk.noon, "+14155550140", {}, f"reminder {other.client_token}")
    for claimed, moved in ((mine, False), (other, True)):
        this = (desk.ledger, claimed.attempt_id, claimed.fence, call)
        assert mark_found(*this, follow_at=desk.noon, evidence="found") == moved
    assert [row.contact_id for row in desk.attempts("family")] == [None, "call-1"]


def test_the_token_of_an_attempt_that_is_settled_keeps_the_call_from_others(desk: "Desk") -> None:
    """It is a second call of that one, though nothing says that its request was sent twice."""
    mine, other = to_one_number(desk, AttemptState.UNKNOWN, AttemptState.ENDED)
    call = Stranger("call-1", desk.noon, "+14155550140", {}, other.client_token)
    this = (desk.ledger, mine.attempt_id, mine.fence, call)
    assert not mark_found(*this, follow_at=desk.noon, evidence="found")


def test_what_was_found_was_placed_while_its_request_was_on_its_way(desk: "Desk") -> None:
    """By the ledger's clock, whatever AWS's shows."""
    first, second = in_doubt(desk, 2)
    for claimed, minutes in ((first, -4), (second, 4)):
        call = Stranger(f"call{minutes}", desk.noon + minutes * MINUTE, desk.person(claimed).phone)
        this = (desk.ledger, claimed.attempt_id, claimed.fence, call)
        assert mark_found(*this, follow_at=desk.noon, evidence="found")
        assert desk.attempt(claimed).placed_at == desk.noon


def test_two_searches_do_not_give_one_call_to_two(
    two_desks: "tuple[Desk, Desk]", at_once: Callable[..., Any]
) -> None:
    """Two recipients of one number, one of them settled by a token meanwhile: the call is one attempt's."""
    desk, second = two_desks
    mine, other = to_one_number(desk, AttemptState.UNKNOWN, AttemptState.UNKNOWN)
    by_token = Stranger("call-1", desk.noon, "+14155550140", {}, other.client_token)

    def exact() -> bool:
        this = (desk.ledger, other.attempt_id, other.fence, by_token)
        return mark_found(*this, follow_at=desk.noon, evidence="found")

    one, two = at_once(desk.ledger, "UPDATE attempts", exact, lambda: second.found(mine, "call-1"))
    assert (one.result(), two.result()) == (True, False)
    assert [row.contact_id for row in desk.attempts("family")] == [None, "call-1"]


def test_an_answer_that_comes_during_a_search_keeps_its_call(
    two_desks: "tuple[Desk, Desk]", at_once: Callable[..., Any]
) -> None:
    """The other attempt was being dialed, and its worker records the very call: it is not given away."""
    desk, second = two_desks
    mine, other = to_one_number(desk, AttemptState.UNKNOWN, AttemptState.DIALING)
    one, two = at_once(
        desk.ledger,
        "UPDATE attempts",
        lambda: desk.answered(other, "call-1"),
        lambda: second.found(mine, "call-1"),
    )
    assert (one.result(), two.result()) == (True, False)
    assert not desk.found(mine, "call-1")
    assert desk.attempt(mine).state == "unknown"


# --- the lease of a search --------------------------------------------------------------------------------


def test_what_another_search_has_taken_is_left_to_that(desk: "Desk", second_desk: "Desk") -> None:
    """One stands still past its lease: neither its failure nor its judgement is written over the other's."""
    (claimed,) = in_doubt(desk)
    (slow,) = due(desk)
    (fast,) = due(second_desk, seconds=60)
    before = desk.attempt(claimed), desk.states()
    search_later(desk.ledger, [(slow, desk.noon)], hold=True, evidence="slow")
    this = (desk.ledger, claimed.attempt_id, claimed.fence)
    late = {"now": desk.noon, "evidence": "slow", "taken_until": slow.taken_until}
    assert not mark_not_found(*this, redial=True, **late)
    assert (desk.attempt(claimed), desk.states()) == before
    assert mark_not_found(*this, redial=False, **{**late, "taken_until": fast.taken_until})
    assert desk.states() == ["held"]


def test_what_is_settled_is_not_put_under_search_again(desk: "Desk", second_desk: "Desk") -> None:
    """A search that fails late finds that the other is over."""
    (claimed,) = in_doubt(desk)
    (slow,) = due(desk)
    (fast,) = due(second_desk, seconds=60)
    this = (second_desk.ledger, claimed.attempt_id, claimed.fence)
    lease = {"taken_until": fast.taken_until}
    assert mark_not_found(*this, redial=False, now=desk.noon, evidence="never found", **lease)
    search_later(desk.ledger, [(slow, desk.noon)], hold=True, evidence="slow")
    assert (desk.attempt(claimed).settle_at, desk.attempt(claimed).evidence) == (None, "never found")
    assert due(desk, seconds=10**6) == []


# --- one clock --------------------------------------------------------------------------------------------


def test_two_machines_whose_clocks_differ_agree(
    postgres_ledger_url: str,
    desk_of: "Callable[[Ledger], Desk]",
    opened: Callable[[str], Ledger],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A control host two minutes ahead finds nothing due before its time: both go by the database's clock."""
    here = opened(postgres_ledger_url)
    desk = desk_of(here)
    began = here.now()
    (claimed,) = in_doubt(desk)
    with here.write() as db:
        db.execute(update(attempts).values(settle_at=began + MINUTE, unknown_at=began))

    ahead = opened(postgres_ledger_url)
    monkeypatch.setattr("campaigns.ledger.clock.wall_clock", lambda: began + 2 * MINUTE)
    monkeypatch.setattr("campaigns.ledger.engine.wall_clock", lambda: began + 2 * MINUTE)
    assert abs(ahead.now() - here.now()) < 10 * SECOND
    taken = {"exchange": "connect", "until": began + 5 * MINUTE, "within": MINUTE, "limit": 9}
    assert take_due_unknowns(ahead, now=ahead.now(), **taken) == []
    (found,) = take_due_unknowns(ahead, now=ahead.now() + MINUTE, **taken)
    assert found.attempt_id == claimed.attempt_id
