"""What may have rung: taken for a search, and settled by what it shows, on both databases."""

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from campaigns.attempt import AttemptState, Outcome
from campaigns.ledger.claims import Claim
from campaigns.ledger.contacts import known_contacts
from campaigns.ledger.runs import finish
from campaigns.ledger.unknowns import (
    Unknown,
    calls_known_between,
    search_later,
    take_due_unknowns,
)

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
    assert due(desk, seconds=1) == [first]


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
