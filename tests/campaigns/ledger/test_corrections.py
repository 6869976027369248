"""A list says another time zone of people who are there already, on both databases."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import update

from campaigns.attempt import AttemptState
from campaigns.ledger.moves import NotNow
from campaigns.ledger.runs import finish
from campaigns.ledger.tables import recipients
from campaigns.recipient import Recipient

if TYPE_CHECKING:
    from tests.conftest import Desk

HOUR = timedelta(hours=1)
HOURS = {"weekdays": "09:00-20:00"}
BERLIN, DENVER = "Europe/Berlin", "America/Denver"


def people(desk: "Desk", *zones: str | None) -> list[Recipient]:
    """One for each zone, who is in no other."""
    named = zip(desk.people(len(zones)), zones, strict=True)
    return [replace(person, time_zone=zone, zones=zone) for person, zone in named]


def zones(desk: "Desk") -> list[tuple[str | None, str | None]]:
    return [(row.time_zone, row.zones) for row in desk.recipients()]


def test_people_without_a_time_zone_get_the_one_of_a_corrected_list(desk: "Desk") -> None:
    """They were never to be called, and are dialed then; the others stay as they are."""
    campaign = desk.campaign(calling_hours=HOURS)
    desk.load(campaign, people(desk, None, BERLIN))
    desk.start()
    (berlin,) = desk.claim()
    again = desk.load(campaign, people(desk, BERLIN, BERLIN))
    assert (again.accepted, again.duplicates, again.other_zones) == (0, 2, 1)
    assert zones(desk) == [(BERLIN, BERLIN)] * 2
    (found,) = desk.claim()
    assert (desk.person(found).line, desk.person(berlin).line) == (2, 3)
    assert desk.load(campaign, people(desk, BERLIN, BERLIN)).other_zones == 0


def test_a_corrected_zone_holds_for_whoever_is_queued(desk: "Desk") -> None:
    """At noon in London nobody in Denver is up: the attempt comes back."""
    campaign = desk.campaign(calling_hours=HOURS)
    desk.load(campaign, people(desk, BERLIN))
    desk.start()
    (claimed,) = desk.claim()
    assert desk.load(campaign, people(desk, DENVER)).other_zones == 1
    assert isinstance(desk.dial(claimed), NotNow)
    assert desk.states() == ["waiting"]


@pytest.mark.parametrize("state", ["waiting", "in_progress", "held", "suppressed"])
def test_whoever_is_not_over_is_corrected(desk: "Desk", state: str) -> None:
    """Also in a run that is finished, where an operator may ask for them."""
    assert corrected_in(desk, state) == (1, [(DENVER, DENVER)])


@pytest.mark.parametrize("state", ["done", "expired", "cancelled"])
def test_whoever_is_over_stays_as_they_were_called(desk: "Desk", state: str) -> None:
    """Nobody counts them as corrected."""
    assert corrected_in(desk, state) == (0, [(BERLIN, BERLIN)])


def corrected_in(desk: "Desk", state: str) -> tuple[int, list[tuple[str | None, str | None]]]:
    desk.load(desk.campaign(), people(desk, BERLIN))
    desk.start()
    with desk.ledger.write() as db:
        db.execute(update(recipients).values(state=state))
    finish(desk.ledger, desk.noon)
    return desk.load(desk.campaign(), people(desk, DENVER)).other_zones, zones(desk)


def test_a_list_that_says_nothing_corrects_nothing(desk: "Desk") -> None:
    """Not of the time zone, if it has none."""
    desk.load(desk.campaign(), people(desk, BERLIN))
    (nothing,) = people(desk, None)
    assert desk.load(desk.campaign(), [nothing]).other_zones == 0
    assert desk.load(desk.campaign(), [replace(nothing, zones=DENVER)]).other_zones == 0
    assert zones(desk) == [(BERLIN, BERLIN)]


def test_the_zones_of_another_number_are_not_those_of_a_recipient_who_was_called(desk: "Desk") -> None:
    """The call was made by the old number's clock, and its redial will be."""
    desk.load(desk.campaign(), people(desk, BERLIN))
    desk.start()
    (claimed,) = desk.claim()
    desk.bring(claimed, AttemptState.PLACED)
    (other,) = people(desk, DENVER)
    again = desk.load(desk.campaign(), [replace(other, phone="+14155550100")])
    assert (again.changed_rows, again.updated, again.other_zones) == (1, 0, 0)
    assert zones(desk) == [(BERLIN, BERLIN)]


def test_newer_data_on_numbers_is_taken(desk: "Desk") -> None:
    """Where no list ever said a zone, the number's zones are those of the latest list."""
    (one,) = people(desk, None)
    desk.load(desk.campaign(), [replace(one, zones=BERLIN)])
    assert desk.load(desk.campaign(), [replace(one, zones=f"{DENVER} {BERLIN}")]).other_zones == 1
    assert zones(desk) == [(None, f"{DENVER} {BERLIN}")]


def test_the_first_line_wins(desk: "Desk") -> None:
    """A list with somebody twice says one thing only, however often it is loaded."""
    (first,) = people(desk, BERLIN)
    (second,) = people(desk, DENVER)
    twice = [first, replace(second, line=9)]
    assert desk.load(desk.campaign(), twice).other_zones == 0
    assert desk.load(desk.campaign(), twice).other_zones == 0
    assert zones(desk) == [(BERLIN, BERLIN)]
    turned = [replace(second, line=1), first]
    assert desk.load(desk.campaign(), turned).other_zones == 1
    assert zones(desk) == [(DENVER, DENVER)]


def test_a_reminder_comes_at_the_time_of_the_corrected_zone(desk: "Desk") -> None:
    """In an earlier run too; but one that was claimed before keeps its times."""
    campaign = desk.campaign(reminder={"at": "when", "before": "2h"}, calling_hours=HOURS)
    at = desk.noon + 5 * HOUR

    def list_of(zone: str, hours: int) -> list[Recipient]:
        due = desk.noon + hours * HOUR
        these = people(desk, zone, zone)
        return [replace(one, appointment_at=at, due_at=due, expires_at=at) for one in these]

    desk.load(campaign, list_of(BERLIN, 0))
    desk.start()
    (called,) = desk.claim(1)
    assert desk.load(campaign, list_of(DENVER, 4)).other_zones == 2
    assert desk.attempt(called).state == AttemptState.RETURNED
    due = {row.key: (row.zones, row.due_at) for row in desk.recipients()}
    assert due.pop(desk.person(called).key) == (DENVER, desk.noon)
    assert list(due.values()) == [(DENVER, desk.noon + 4 * HOUR)]


def test_a_reminder_that_the_corrected_zone_merges_away_is_not_made(desk: "Desk") -> None:
    """Only the later of the two is on the list then; whoever was called for the other one stays so."""
    campaign = desk.campaign(reminder={"at": "when", "before": ["24h", "12h"]}, calling_hours=HOURS)
    at = desk.noon + 30 * HOUR

    def list_of(zone: str, *names: str) -> list[Recipient]:
        one = replace(people(desk, zone)[0], appointment_at=at, due_at=desk.noon, expires_at=at)
        return [replace(one, key=f"A {name}", reminder=name) for name in names]

    desk.load(campaign, list_of(BERLIN, "24h", "12h"))
    desk.start()
    assert len(desk.claim(1)) == 1
    assert desk.load(campaign, list_of(DENVER, "12h")).other_zones == 1
    assert [(row.key, row.state, row.zones) for row in desk.recipients()] == [
        ("A 24h", "expired", DENVER),
        ("A 12h", "waiting", DENVER),
    ]
    assert desk.load(campaign, list_of(DENVER, "12h")).other_zones == 0


def test_a_reminder_that_is_not_in_the_file_any_more_gets_the_zone_too(desk: "Desk") -> None:
    """An appointment keeps the reminders that it was entered with: it would be left without any."""
    at = desk.noon + 30 * HOUR
    one = replace(people(desk, BERLIN)[0], appointment_at=at, due_at=desk.noon, expires_at=at)
    desk.load(desk.campaign(reminder={"at": "when", "before": "24h"}, calling_hours=HOURS), [one])
    both = desk.campaign(reminder={"at": "when", "before": ["23h", "2h"]}, calling_hours=HOURS)
    other = [
        replace(one, key=f"key-1 {name}", reminder=name, zones=DENVER, time_zone=DENVER)
        for name in ("23h", "2h")
    ]
    assert desk.load(both, other).other_zones == 1
    assert [(row.key, row.state, row.zones) for row in desk.recipients()] == [("key-1", "waiting", DENVER)]


def test_a_list_is_corrected_while_people_are_claimed(
    two_desks: "tuple[Desk, Desk]",
    at_once: Callable[..., Any],
) -> None:
    """Whoever is about to be dialed just then comes back, and goes by the new zones."""
    desk, loader = two_desks
    campaign = desk.campaign(calling_hours=HOURS)
    desk.load(campaign, people(desk, BERLIN, BERLIN))
    desk.start()
    (claimed,) = desk.claim(1)
    load, dialing = at_once(
        loader.ledger,
        "time_zone = corrected.time_zone",
        lambda: loader.load(campaign, people(desk, DENVER, DENVER)),
        lambda: desk.dial(claimed),
    )
    assert load.result().other_zones == 2
    assert isinstance(dialing.result(), NotNow)
    assert desk.claim() == []
    assert zones(desk) == [(DENVER, DENVER)] * 2
