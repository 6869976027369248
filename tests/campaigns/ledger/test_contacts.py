"""Which contacts the ledger knows, and whether it may still learn of others."""

from typing import Any

import pytest

from campaigns.attempt import AttemptState
from campaigns.ledger.contacts import awaits_contacts, known_contacts
from campaigns.ledger.outcomes import calls_of


def test_known_is_what_was_ever_written_down(desk: Any) -> None:
    """Also those whose calls have ended; of many at once, and of nobody's."""
    desk.started(4)
    placed, ended, dialing, _ = desk.claim()
    desk.bring(placed, AttemptState.PLACED)
    desk.bring(ended, AttemptState.ENDED)
    desk.bring(dialing, AttemptState.UNKNOWN)
    ours = {f"contact-{placed.attempt_id}", f"contact-{ended.attempt_id}"}
    others = [f"other-{number}" for number in range(1_200)]
    assert known_contacts(desk.ledger, [*others, *ours]) == ours
    assert known_contacts(desk.ledger, []) == set()


def test_calls_are_those_whose_end_is_not_known(desk: Any) -> None:
    """The same contacts in another exchange are nobody's."""
    desk.started(2)
    placed, ended = desk.claim()
    desk.bring(placed, AttemptState.PLACED)
    desk.bring(ended, AttemptState.ENDED)
    both = [f"contact-{claim.attempt_id}" for claim in (placed, ended)]
    assert [call.attempt_id for call in calls_of(desk.ledger, both, "connect")] == [placed.attempt_id]
    assert calls_of(desk.ledger, both, "sandbox") == []


@pytest.mark.parametrize(
    ("state", "awaited"),
    [
        (AttemptState.QUEUED, False),
        (AttemptState.RETURNED, False),
        (AttemptState.PLACED, False),
        (AttemptState.ENDED, False),
        (AttemptState.REFUSED, False),
        (AttemptState.UNKNOWN, True),
    ],
)
def test_contacts_are_awaited_while_an_answer_is(desk: Any, state: AttemptState, awaited: bool) -> None:
    """Of a call that may have rung, Connect may tell a contact yet; of all others not."""
    desk.started(1)
    (claim,) = desk.claim()
    desk.bring(claim, state)
    assert awaits_contacts(desk.ledger, "connect") is awaited
    assert awaits_contacts(desk.ledger, "sandbox") is False


def test_contact_of_a_call_that_is_being_dialed_is_awaited(desk: Any) -> None:
    """Its answer may be there, and not yet written down."""
    desk.started(1)
    (claim,) = desk.claim()
    desk.dial(claim)
    assert awaits_contacts(desk.ledger, "connect")
    assert not awaits_contacts(desk.ledger, "sandbox")
    desk.placed(claim)
    assert not awaits_contacts(desk.ledger, "connect")


def test_nobody_waits_for_what_is_not_searched_for_any_more(desk: Any) -> None:
    """An attempt that stays unknown for ever does not keep others' messages in the queue."""
    desk.started(1)
    (claim,) = desk.claim()
    desk.bring(claim, AttemptState.UNKNOWN)
    desk.not_found(claim, redial=True)
    assert not awaits_contacts(desk.ledger, "connect")
