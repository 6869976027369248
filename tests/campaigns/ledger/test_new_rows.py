"""A list is sent again with another row for the same key, on both databases."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select

from campaigns.attempt import AttemptState, Outcome
from campaigns.ledger.moves import NotNow, Order, mark_refused
from campaigns.ledger.runs import finish
from campaigns.ledger.tables import recipient_history
from campaigns.recipient import Recipient

if TYPE_CHECKING:
    from tests.conftest import Desk

NEW = "+14155559999"
HOUR = timedelta(hours=1)


def one(desk: "Desk") -> Recipient:
    return desk.people(1)[0]


def corrected(person: Recipient, phone: str = NEW, name: str = "Ana B.") -> Recipient:
    """The same key with another number and another name, further down."""
    row = {"phone": phone, "name": name}
    return replace(person, line=9, phone=phone, attributes={"Name": name}, row=row)


def history(desk: "Desk") -> list[Any]:
    with desk.ledger.read() as db:
        return list(db.execute(select(recipient_history).order_by(recipient_history.c.id)))


def test_a_recipient_who_waits_takes_the_new_row(desk: "Desk") -> None:
    """The number, the attributes, the row and its line; the old row stays in the history."""
    campaign, person = desk.campaign(), one(desk)
    desk.load(campaign, [person])
    (was,) = desk.recipients()
    again = desk.load(campaign, [corrected(person)])
    assert (again.accepted, again.duplicates, again.changed_rows, again.updated) == (0, 1, 1, 1)
    (now,) = desk.recipients()
    assert (now.id, now.key, now.state) == (was.id, was.key, "waiting")
    assert (now.phone, now.attributes, now.line) == (NEW, {"Name": "Ana B."}, 9)
    assert now.row == {"phone": NEW, "name": "Ana B."}
    assert now.load_id != was.load_id
    (kept,) = history(desk)
    assert (kept.what, kept.phone, kept.line, kept.load_id) == ("replaced", was.phone, was.line, was.load_id)
    assert (kept.row, kept.attributes) == (was.row, was.attributes)
    desk.start()
    (claimed,) = desk.claim()
    assert desk.dial(claimed).phone == NEW


@pytest.mark.parametrize("change", ["phone", "attributes", "row"])
def test_any_part_of_a_row_is_taken(desk: "Desk", change: str) -> None:
    """One of them is enough; loaded once more, nothing has changed."""
    person = one(desk)
    desk.load(desk.campaign(), [person])
    new = replace(person, **{change: getattr(corrected(person), change)})
    again = desk.load(desk.campaign(), [new])
    assert (again.changed_rows, again.updated) == (1, 1)
    (now,) = desk.recipients()
    assert getattr(now, change) == getattr(new, change)
    again = desk.load(desk.campaign(), [new])
    assert (again.changed_rows, again.updated, len(history(desk))) == (0, 0, 1)


def test_another_order_and_empty_cells_are_no_change(desk: "Desk") -> None:
    """A list that was saved by another program has no other rows for it."""
    person = one(desk)
    desk.load(desk.campaign(), [person])
    same = replace(person, row=dict(reversed(person.row.items())) | {"notes": ""})
    assert desk.load(desk.campaign(), [same]).changed_rows == 0
    assert desk.load(desk.campaign(), [replace(same, row=same.row | {"notes": "new"})]).changed_rows == 1


@pytest.mark.parametrize("state", [AttemptState.QUEUED, AttemptState.RETURNED])
def test_what_never_rang_takes_the_new_row(desk: "Desk", state: AttemptState) -> None:
    """It comes back, and is dialed under its token with the new number."""
    person = one(desk)
    desk.load(desk.campaign(), [person])
    desk.start()
    (claimed,) = desk.claim()
    desk.bring(claimed, state)
    again = desk.load(desk.campaign(), [corrected(person)])
    assert (again.changed_rows, again.updated, desk.states()) == (1, 1, ["waiting"])
    assert isinstance(desk.dial(claimed), NotNow)
    (later,) = desk.claim()
    assert (later.client_token, desk.dial(later).phone) == (claimed.client_token, NEW)


@pytest.mark.parametrize(
    "state",
    [
        AttemptState.DIALING,
        AttemptState.PLACED,
        AttemptState.ENDED,
        AttemptState.UNKNOWN,
    ],
)
def test_whoever_may_have_been_called_keeps_the_row(desk: "Desk", state: AttemptState) -> None:
    """As what was said; the load counts it, each time."""
    person = one(desk)
    desk.load(desk.campaign(), [person])
    desk.start()
    (claimed,) = desk.claim()
    desk.bring(claimed, state)
    (before,) = desk.recipients()
    for _ in range(2):
        again = desk.load(desk.campaign(), [corrected(person)])
        assert (again.changed_rows, again.updated) == (1, 0)
    assert desk.recipients() == [before]
    assert (desk.attempt(claimed).state, history(desk)) == (state, [])


def test_a_redial_goes_on_by_the_old_row(desk: "Desk") -> None:
    """Also one that is queued: it is not taken back for a row that it does not take."""
    person = one(desk)
    desk.load(desk.campaign(), [person])
    desk.start()
    (first,) = desk.claim()
    desk.bring(first, AttemptState.PLACED)
    assert desk.ended(first, Outcome.BUSY, redial_at=desk.noon)
    (second,) = desk.claim()
    assert desk.load(desk.campaign(), [corrected(person)]).updated == 0
    assert desk.dial(second).phone == person.phone


def test_the_suppression_list_is_asked_for_the_new_number(desk: "Desk") -> None:
    """A number that is on it is not called; one that is not takes the place of one that was."""
    first, second = desk.people(2)
    desk.suppress(NEW, second.phone)
    desk.load(desk.campaign(), [first, second])
    assert desk.states() == ["waiting", "suppressed"]
    again = desk.load(
        desk.campaign(), [corrected(first), replace(corrected(second, "+14155558888"), line=10)]
    )
    assert (again.updated, desk.states()) == (2, ["suppressed", "waiting"])
    text_alone = replace(corrected(first), attributes={"Name": "A"})
    assert (desk.load(desk.campaign(), [text_alone]).updated, desk.states()[0]) == (1, "suppressed")


def test_a_finished_run_is_loaded_again_for_a_new_number_that_may_be_called(desk: "Desk") -> None:
    """An operator starts it: no call comes out of the blue."""
    person = one(desk)
    desk.suppress(person.phone)
    desk.load(desk.campaign(), [person])
    desk.start()
    finish(desk.ledger, desk.noon)
    assert desk.run().state == "finished"
    desk.load(desk.campaign(), [corrected(person)])
    assert (desk.run().state, desk.states()) == ("loaded", ["waiting"])


def test_the_limits_are_those_of_the_new_number(desk: "Desk") -> None:
    """A recipient who waits for the limits of a number that was wrong waits no longer."""
    limits = {"per_number_per_day": 1}
    person = one(desk)
    other = replace(person, key="other")
    desk.load(desk.campaign("other", limits=limits), [other])
    desk.load(desk.campaign(limits=limits), [person])
    desk.start("other")
    (called,) = desk.claim()
    desk.bring(called, AttemptState.PLACED)
    desk.start()
    assert desk.claim() == []
    assert desk.recipients()[0].waits_for == "limit"
    desk.load(desk.campaign(limits=limits), [corrected(person)])
    (claimed,) = desk.claim()
    assert desk.dial(claimed).phone == NEW


def test_the_zones_and_hours_are_those_of_the_new_number(desk: "Desk") -> None:
    """At noon in London it is five in the morning in Denver."""
    campaign = desk.campaign(calling_hours={"weekdays": "09:00-20:00"})
    person = replace(one(desk), zones="Europe/London")
    desk.load(campaign, [person])
    desk.start()
    (claimed,) = desk.claim()
    desk.load(campaign, [replace(corrected(person), zones="America/Denver")])
    assert isinstance(desk.dial(claimed), NotNow)
    assert desk.claim() == []
    assert len(desk.claim(now=desk.noon + 5 * HOUR)) == 1


def test_the_first_line_wins_among_new_rows(desk: "Desk") -> None:
    """A list that has a recipient twice comes to rest."""
    person = one(desk)
    twice = [replace(person, line=2), corrected(person)]
    desk.load(desk.campaign(), twice)
    assert desk.load(desk.campaign(), twice).changed_rows == 0
    assert desk.recipients()[0].phone == person.phone


def test_without_a_key_a_corrected_number_is_a_new_recipient(desk: "Desk") -> None:
    """The number is the key then: the old one is still there, and is counted as gone."""
    person = replace(one(desk), key="+14150000001")
    desk.load(desk.campaign(), [person])
    again = desk.load(desk.campaign(), [replace(corrected(person), key=NEW)])
    assert (again.accepted, again.changed_rows, again.gone.gone) == (1, 0, 1)


def test_an_appointment_takes_the_new_row_for_all_its_reminders(desk: "Desk") -> None:
    """Those that were not made yet; the one that was called for keeps its row."""
    campaign = desk.campaign(reminder={"at": "when", "before": ["24h", "2h"]})
    at = desk.noon + 30 * HOUR
    person = replace(one(desk), appointment_at=at, expires_at=at)

    def row(which: Recipient) -> list[Recipient]:
        due = {"24h": desk.noon, "2h": at - 2 * HOUR}
        return [replace(which, key=f"A {n}", reminder=n, due_at=due[n]) for n in due]

    desk.load(campaign, row(person))
    desk.start()
    (called,) = desk.claim()
    desk.bring(called, AttemptState.PLACED)
    again = desk.load(campaign, row(corrected(person)))
    assert (again.duplicates, again.changed_rows, again.updated) == (1, 1, 1)
    assert {each.key: each.phone for each in desk.recipients()} == {"A 24h": person.phone, "A 2h": NEW}
    # Only the later one is on the list, and both were never called for.
    other = desk.campaign("other", reminder={"at": "when", "before": ["24h", "2h"]})
    desk.load(other, row(person))
    assert desk.load(other, row(corrected(person))[1:]).updated == 1
    assert {each.phone for each in desk.recipients("other")} == {NEW}


def test_an_appointment_that_moves_counts_as_changed(desk: "Desk") -> None:
    """No call was made for the old time: the recipient takes the new row, and the old one is kept."""
    campaign = desk.campaign(reminder={"at": "when", "before": "2h"})
    at = desk.noon + 30 * HOUR
    person = replace(one(desk), appointment_at=at, due_at=at - 2 * HOUR, expires_at=at)
    desk.load(campaign, [person])
    moved = replace(person, appointment_at=at + HOUR, due_at=at - HOUR, expires_at=at + HOUR)
    again = desk.load(campaign, [moved])
    assert (again.moved, again.changed_rows, again.updated) == (1, 1, 1)
    assert [each.appointment_at for each in history(desk)] == [at]
    assert desk.load(campaign, [moved]).changed_rows == 0


def test_a_row_is_corrected_while_the_recipient_is_dialed(
    two_desks: "tuple[Desk, Desk]", at_once: Callable[..., Any]
) -> None:
    """Whichever is first, the call is made by one row: the old one here, which is then kept."""
    desk, loader = two_desks
    person = one(desk)
    desk.load(desk.campaign(), [person])
    desk.start()
    (claimed,) = desk.claim()
    dialing, load = at_once(
        desk.ledger,
        "SET state=",
        lambda: desk.dial(claimed),
        lambda: loader.load(loader.campaign(), [corrected(person)]),
    )
    order = dialing.result()
    assert isinstance(order, Order)
    assert (order.phone, order.attributes) == (person.phone, person.attributes)
    assert (load.result().changed_rows, load.result().updated) == (1, 0)
    assert desk.recipients()[0].phone == person.phone


def test_a_recipient_is_dialed_while_the_row_is_corrected(
    two_desks: "tuple[Desk, Desk]", at_once: Callable[..., Any]
) -> None:
    """The other way round the attempt comes back, and is dialed by the new row."""
    desk, loader = two_desks
    person = one(desk)
    desk.load(desk.campaign(), [person])
    desk.start()
    (claimed,) = desk.claim()
    load, dialing = at_once(
        loader.ledger,
        '"row" = corrected."row"',
        lambda: loader.load(loader.campaign(), [corrected(person)]),
        lambda: desk.dial(claimed),
    )
    assert load.result().updated == 1
    assert isinstance(dialing.result(), NotNow)
    (later,) = desk.claim()
    assert desk.dial(later).phone == NEW


def test_two_loads_at_once_leave_one_of_their_rows(
    two_desks: "tuple[Desk, Desk]", at_once: Callable[..., Any]
) -> None:
    """The one that comes second finds the first one's row, and replaces it as a whole."""
    desk, loader = two_desks
    person = one(desk)
    desk.load(desk.campaign(), [person])
    first, second = at_once(
        loader.ledger,
        '"row" = corrected."row"',
        lambda: loader.load(loader.campaign(), [corrected(person)]),
        lambda: desk.load(desk.campaign(), [corrected(person, "+14155558888", "Bo")]),
    )
    assert (first.result().updated, second.result().updated) == (1, 1)
    (now,) = desk.recipients()
    assert (now.phone, now.attributes) == ("+14155558888", {"Name": "Bo"})
    assert [each.phone for each in history(desk)] == [person.phone, NEW]


@pytest.mark.parametrize("over", [False, True])
def test_a_number_that_connect_refused_is_corrected_and_called(desk: "Desk", over: bool) -> None:
    """It never rang. The new number is called once, as the next attempt; the same one is not called again."""
    people = desk.people(2)
    desk.load(desk.campaign(), people)
    desk.start()
    first, other = desk.claim()
    assert desk.person(first).key == people[0].key
    for each in (first, other):
        desk.dial(each)
        mark_refused(desk.ledger, each.attempt_id, each.fence, "invalid number", now=desk.noon)
    if over:
        assert finish(desk.ledger, desk.noon) == 1
    renamed = replace(people[1], row={**people[1].row, "note": "new"})
    corrected = [replace(people[0], phone="+14155550199"), renamed]
    again = desk.load(desk.campaign(), corrected)
    assert (again.changed_rows, again.updated) == (2, 2)
    assert desk.states() == ["waiting", "done"]
    if over:
        desk.start()
    (claimed,) = desk.claim()
    assert claimed.client_token != first.client_token
    assert desk.dial(claimed).phone == "+14155550199"
    assert desk.load(desk.campaign(), corrected).updated == 0
