"""Recipients are taken out, by an operator or by a list without them, and put back; on both databases."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select

from campaigns.attempt import AttemptState, Outcome
from campaigns.ledger.drop_keys import Fate, drop, put_back
from campaigns.ledger.lists import Loaded, put_list
from campaigns.ledger.moves import NotNow, Order, mark_returned
from campaigns.ledger.requeues import Asked, ask_for_another, look
from campaigns.ledger.runs import finish
from campaigns.ledger.tables import recipient_history
from campaigns.ledger.tallies import tallied
from campaigns.mistake import Mistake
from campaigns.recipient import Recipient
from tests.batches import laid_out

if TYPE_CHECKING:
    from tests.conftest import Desk

HOUR = timedelta(hours=1)
BUSY = Asked(outcomes=frozenset({Outcome.BUSY}))


def dropped(desk: "Desk", *keys: str) -> list[Fate]:
    return [each.fate for each in drop(desk.ledger, "reminders", keys, desk.noon)]


def undone(desk: "Desk", *keys: str) -> list[Fate]:
    return [each.fate for each in put_back(desk.ledger, "reminders", keys, desk.noon)]


def load_and_drop(desk: "Desk", people: list[Recipient], **tables: Any) -> Loaded:
    """`dialer load … --gone drop`."""
    return put_list(
        desk.ledger,
        desk.campaign(**tables),
        laid_out(people),
        file_name="people.csv",
        columns=("phone", "name"),
        now=desk.noon,
        drop_gone=True,
    )


def history(desk: "Desk") -> list[str]:
    with desk.ledger.read() as db:
        return list(db.execute(select(recipient_history.c.what).order_by(recipient_history.c.id)).scalars())


def test_a_recipient_who_waits_is_taken_out(desk: "Desk") -> None:
    """No attempt is made, and the run is over without them; the database counts them."""
    desk.load(desk.campaign(), desk.people(2))
    desk.start()
    assert dropped(desk, "key-1") == [Fate.DROPPED]
    assert dropped(desk, "key-1", "key-2") == [Fate.ALREADY, Fate.DROPPED]
    assert (desk.states(), desk.claim()) == (["dropped"] * 2, [])
    assert history(desk) == ["dropped"] * 2
    with desk.ledger.read() as db:
        assert tallied(db, desk.run().id).recipients == {"dropped": 2}
    assert finish(desk.ledger, desk.noon) == 1


@pytest.mark.parametrize("state", [AttemptState.QUEUED, AttemptState.RETURNED])
def test_what_is_queued_is_taken_back(desk: "Desk", state: AttemptState) -> None:
    """Its task finds the claim gone; put back, it is dialed under its token."""
    desk.load(desk.campaign(), desk.people(1))
    desk.start()
    (claimed,) = desk.claim()
    desk.bring(claimed, state)
    assert dropped(desk, "key-1") == [Fate.DROPPED]
    assert isinstance(desk.dial(claimed), NotNow)
    assert desk.claim() == []
    assert undone(desk, "key-1") == [Fate.WAITING]
    (again,) = desk.claim()
    assert again.client_token == claimed.client_token
    assert isinstance(desk.dial(again), Order)


def test_a_call_under_way_goes_on_and_no_other_follows(desk: "Desk") -> None:
    """Its outcome is learned; its redial rule leads to no second call, and the recipient is dropped then."""
    desk.load(desk.campaign(), desk.people(1))
    desk.start()
    (claimed,) = desk.claim()
    desk.bring(claimed, AttemptState.PLACED)
    assert dropped(desk, "key-1") == [Fate.UNDER_WAY]
    assert desk.states() == ["in_progress"]
    assert desk.ended(claimed, Outcome.BUSY, redial_at=desk.noon)
    assert (desk.states(), desk.claim()) == (["dropped"], [])
    assert desk.attempt(claimed).outcome == Outcome.BUSY


def test_a_call_that_never_left_is_not_made_again(desk: "Desk") -> None:
    """It was on its way when its recipient was taken out, and came back without having rung."""
    desk.load(desk.campaign(), desk.people(1))
    desk.start()
    (claimed,) = desk.claim()
    desk.bring(claimed, AttemptState.DIALING)
    assert dropped(desk, "key-1") == [Fate.UNDER_WAY]
    assert mark_returned(desk.ledger, claimed.attempt_id, claimed.fence, "throttled", due_at=desk.noon)
    assert (desk.states(), desk.claim()) == (["dropped"], [])


def test_a_call_that_is_never_found_is_not_made_again(desk: "Desk") -> None:
    """A search in vain makes the recipient due again, unless they were taken out."""
    desk.load(desk.campaign(), desk.people(1))
    desk.start()
    (claimed,) = desk.claim()
    desk.bring(claimed, AttemptState.UNKNOWN)
    assert dropped(desk, "key-1") == [Fate.UNDER_WAY]
    assert desk.not_found(claimed, redial=True)
    assert (desk.states(), desk.claim()) == (["dropped"], [])


def test_whoever_is_done_is_asked_for_by_no_requeue(desk: "Desk") -> None:
    """They stay done, with their outcome; put back, they can be asked for again."""
    desk.load(desk.campaign(), desk.people(1))
    desk.start()
    (claimed,) = desk.claim()
    desk.bring(claimed, AttemptState.PLACED)
    assert desk.ended(claimed, Outcome.BUSY)
    assert dropped(desk, "key-1") == [Fate.CALLED]
    assert desk.states() == ["done"]
    found = look(desk.ledger, desk.run().id, BUSY, desk.noon)
    assert (list(found.attempt_ids), found.dropped) == ([], 1)
    assert ask_for_another(desk.ledger, desk.run(), BUSY, [claimed.attempt_id], desk.noon) == 0
    assert undone(desk, "key-1") == [Fate.PUT_BACK]
    assert ask_for_another(desk.ledger, desk.run(), BUSY, [claimed.attempt_id], desk.noon) == 1


def test_whoever_waits_for_a_redial_waits_for_it_again_when_put_back(desk: "Desk") -> None:
    """At the time that the rule says, not at once."""
    campaign = desk.campaign(redial={"max_attempts": 3, "busy": "2h"})
    desk.load(campaign, desk.people(1))
    desk.start()
    (claimed,) = desk.claim()
    desk.bring(claimed, AttemptState.PLACED)
    assert desk.ended(claimed, Outcome.BUSY, redial_at=desk.noon + 2 * HOUR)
    assert dropped(desk, "key-1") == [Fate.DROPPED]
    assert desk.claim(now=desk.noon + 3 * HOUR) == []
    assert undone(desk, "key-1") == [Fate.WAITING]
    assert desk.recipients()[0].due_at == desk.noon + 2 * HOUR


def test_a_suppressed_number_stays_suppressed_when_put_back(desk: "Desk") -> None:
    """A number that was put on the list meanwhile is not called either."""
    desk.load(desk.campaign(), desk.people(2))
    dropped(desk, "key-1", "key-2")
    desk.suppress(desk.people(1)[0].phone)
    assert undone(desk, "key-1", "key-2") == [Fate.PUT_BACK, Fate.WAITING]
    assert desk.states() == ["suppressed", "waiting"]


def test_a_finished_run_is_loaded_again_when_somebody_is_put_back(desk: "Desk") -> None:
    """And is started by an operator."""
    desk.load(desk.campaign(), desk.people(1))
    desk.start()
    dropped(desk, "key-1")
    finish(desk.ledger, desk.noon)
    undone(desk, "key-1")
    assert (desk.run().state, desk.states()) == ("loaded", ["waiting"])


def test_the_same_list_puts_nobody_back_whom_an_operator_took_out(desk: "Desk") -> None:
    """`dialer run` is said again to go on: it must not ring whom it was told not to."""
    people = desk.people(2)
    desk.load(desk.campaign(), people)
    dropped(desk, "key-1")
    again = desk.load(desk.campaign(), people)
    assert (again.gone.stay_dropped, again.gone.gone) == (1, 0)
    assert desk.states() == ["dropped", "waiting"]
    new = replace(people[0], phone="+14155559999")
    assert desk.load(desk.campaign(), [new, people[1]]).updated == 1
    assert desk.states() == ["dropped", "waiting"]


def test_an_unknown_key_changes_nothing(desk: "Desk") -> None:
    """Neither for the others that are named beside it; the nearest key is named."""
    desk.load(desk.campaign(), desk.people(2))
    with pytest.raises(Mistake, match=r"has the key 'key-22'; nothing was changed; did you mean key-2\?"):
        dropped(desk, "key-1", "key-22")
    assert desk.states() == ["waiting"] * 2
    with pytest.raises(Mistake, match="nobody in reminders has the keys"):
        undone(desk, "a", "b")


def test_a_number_that_is_the_key_is_found_however_it_is_written(desk: "Desk") -> None:
    """Only where the list has no keys: else one number may be that of several people."""
    columns = {"default_region": "US"}
    person = replace(desk.people(1)[0], key="+14155550100", phone="+14155550100")
    desk.load(desk.campaign(list=columns), [person])
    assert dropped(desk, "(415) 555-0100") == [Fate.DROPPED]
    desk.load(desk.campaign("keyed", list=columns | {"key": "id"}), [replace(person, key="A-1")])
    with pytest.raises(Mistake, match="nobody in keyed"):
        drop(desk.ledger, "keyed", ["(415) 555-0100"], desk.noon)


def test_an_appointment_is_taken_out_with_all_its_reminders(desk: "Desk") -> None:
    """By the key that the list has."""
    campaign = desk.campaign(reminder={"at": "when", "before": ["24h", "2h"]})
    at = desk.noon + 30 * HOUR
    person = replace(desk.people(1)[0], appointment_at=at, due_at=desk.noon, expires_at=at)
    row = [replace(person, key=f"A {name}", reminder=name) for name in ("24h", "2h")]
    desk.load(campaign, row)
    assert dropped(desk, "A") == [Fate.DROPPED] * 2
    assert desk.load(campaign, row).gone.stay_dropped == 2
    assert desk.states() == ["dropped"] * 2


def test_whoever_left_the_list_is_counted_and_kept(desk: "Desk") -> None:
    """A new list with half of the people, and one of another ten."""
    desk.load(desk.campaign(), desk.people(4))
    again = desk.load(desk.campaign(), desk.people(2, first=3) + desk.people(10, first=50))
    assert (again.accepted, again.duplicates, again.gone.gone, again.gone.dropped) == (10, 2, 2, 0)
    assert desk.states() == ["waiting"] * 14


def test_whoever_left_the_list_is_taken_out_and_comes_back_with_it(desk: "Desk") -> None:
    """Also who was queued just then. A call under way goes on, and is followed by no other."""
    people = desk.people(4)
    desk.load(desk.campaign(), people)
    desk.start()
    queued, placed = desk.claim(2)
    desk.bring(placed, AttemptState.PLACED)
    again = load_and_drop(desk, people[3:])
    assert (again.gone.gone, again.gone.dropped) == (3, 3)
    assert desk.states() == ["dropped", "in_progress", "dropped", "waiting"]
    assert isinstance(desk.dial(queued), NotNow)
    assert desk.load(desk.campaign(), people[3:]).gone.gone == 0
    back = desk.load(desk.campaign(), people)
    assert (back.gone.put_back, back.gone.gone) == (3, 0)
    assert desk.states() == ["waiting", "in_progress", "waiting", "waiting"]
    assert history(desk) == ["gone"] * 3 + ["put_back"] * 3
    assert desk.ended(placed, Outcome.BUSY, redial_at=desk.noon)
    assert desk.states()[1] == "waiting"


def test_an_operator_takes_out_for_good_whom_a_list_took_out(desk: "Desk") -> None:
    """Then the list does not put them back."""
    desk.load(desk.campaign(), desk.people(2))
    load_and_drop(desk, desk.people(1))
    assert dropped(desk, "key-2") == [Fate.DROPPED]
    assert desk.load(desk.campaign(), desk.people(2)).gone.put_back == 0
    assert desk.states() == ["waiting", "dropped"]


def test_the_key_of_a_rejected_row_is_on_the_list(desk: "Desk") -> None:
    """No recipient is lost because a cell of theirs cannot be read any more."""
    desk.load(desk.campaign(), desk.people(3))
    batches = list(laid_out(desk.people(1), rejected=1))
    batches[0].rejected_keys.append("key-2")
    again = put_list(
        desk.ledger,
        desk.campaign(),
        batches,
        file_name="people.csv",
        columns=("phone", "name"),
        now=desk.noon,
        drop_gone=True,
    )
    assert (again.gone.gone, again.gone.dropped) == (1, 1)
    assert desk.states() == ["waiting", "waiting", "dropped"]


@pytest.mark.parametrize(
    ("state", "spoiled"),
    [
        (None, 1),
        (AttemptState.QUEUED, 1),
        (AttemptState.RETURNED, 1),
        (AttemptState.DIALING, 0),
        (AttemptState.PLACED, 0),
        (AttemptState.UNKNOWN, 0),
        (AttemptState.ENDED, 0),
    ],
)
def test_a_row_that_has_changed_and_is_rejected_keeps_its_recipient_from_the_first_call(
    desk: "Desk", state: AttemptState | None, spoiled: int
) -> None:
    """A queued attempt comes back; those who may have been called keep the row that they were called by."""
    people = desk.people(2)
    desk.load(desk.campaign(), people)
    desk.start()
    if state is not None:
        first, _ = desk.claim()
        if state != AttemptState.QUEUED:
            desk.bring(first, state)

    def load(**cells: str) -> Loaded:
        batches = list(laid_out(people[1:], rejected=1))
        batches[0].reject("key-1", {**people[0].row, **cells})
        return put_list(
            desk.ledger,
            desk.campaign(),
            batches,
            file_name="people.csv",
            columns=("phone", "name"),
            now=desk.noon,
        )

    assert load(note="").gone.spoiled == 0
    before = desk.states()
    assert load(phone="n/a").gone.spoiled == spoiled
    assert desk.states() == (["dropped", before[1]] if spoiled else before)
    assert history(desk) == ["spoiled"] * spoiled
    back = desk.load(desk.campaign(), people)
    assert back.gone.put_back == spoiled
    if spoiled:
        assert desk.states()[0] == "waiting"


def test_a_recipient_is_dialed_while_they_are_taken_out(
    two_desks: "tuple[Desk, Desk]", at_once: Callable[..., Any]
) -> None:
    """Whichever is first: the attempt comes back, or the call goes on as the last one."""
    desk, other = two_desks
    desk.load(desk.campaign(), desk.people(2))
    desk.start()
    first, second = desk.claim()
    after = "INSERT INTO recipient_history"
    taking, dialing = at_once(other.ledger, after, lambda: dropped(other, "key-1"), lambda: desk.dial(first))
    assert taking.result() == [Fate.DROPPED]
    assert isinstance(dialing.result(), NotNow)
    dialing, taking = at_once(
        desk.ledger, "SET state=", lambda: desk.dial(second), lambda: dropped(other, "key-2")
    )
    assert isinstance(dialing.result(), Order)
    assert taking.result() == [Fate.UNDER_WAY]
    assert desk.states() == ["dropped", "in_progress"]
