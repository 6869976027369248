"""One telephone under two numbers is one recipient where the number is the key, on both databases."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from campaigns.attempt import AttemptState
from campaigns.load import load
from campaigns.plan import Pace, plan
from campaigns.recipient import Recipient
from campaigns.same_telephone import forms

if TYPE_CHECKING:
    from tests.conftest import Desk

TELEPHONES = ["+5491123456789", "+970599123456", "+3780549886377", "+262269601234"]


def listed(desk: "Desk", *phones: str) -> list[Recipient]:
    """A list without a key column."""
    people = zip(desk.people(len(phones)), phones, strict=True)
    return [replace(person, key=phone, phone=phone) for person, phone in people]


@pytest.mark.parametrize("phone", TELEPHONES)
def test_a_list_with_all_numbers_of_a_telephone_has_it_once(desk: "Desk", phone: str) -> None:
    """The first line wins, whichever number it has and however often they come."""
    numbers = [*reversed(forms(phone)), *forms(phone)]
    loaded = desk.load(desk.campaign(), listed(desk, "+14155550100", *numbers, "+14155550101"))
    assert (loaded.accepted, loaded.duplicates) == (3, len(numbers) - 1)
    assert [row.phone for row in desk.recipients()] == ["+14155550100", numbers[0], "+14155550101"]
    again = desk.load(desk.campaign(), listed(desk, "+14155550100", *numbers, "+14155550101"))
    assert (again.accepted, again.changed_rows, again.gone.gone) == (0, 0, 0)


@pytest.mark.parametrize("phone", TELEPHONES)
def test_a_later_list_with_another_number_of_the_telephone_adds_nobody(desk: "Desk", phone: str) -> None:
    """Whoever was called is not called again; whoever waits is called by the number as it is written now."""
    first, other, *_ = forms(phone)
    desk.load(desk.campaign(), listed(desk, first))
    again = desk.load(desk.campaign(), listed(desk, other))
    assert (again.accepted, again.duplicates, again.updated, again.gone.gone) == (0, 1, 1, 0)
    assert [(row.key, row.phone) for row in desk.recipients()] == [(first, other)]
    desk.start()
    (claimed,) = desk.claim()
    desk.bring(claimed, AttemptState.ENDED)
    for number in forms(phone):
        assert desk.load(desk.campaign(), listed(desk, number)).accepted == 0
    assert len(desk.recipients()) == 1


def test_two_keys_with_one_telephone_are_two_recipients(desk: "Desk") -> None:
    """Two people of a household, where the list says who is who."""
    people = [
        replace(person, phone=phone)
        for person, phone in zip(desk.people(2), forms("+5491123456789"), strict=True)
    ]
    assert desk.load(desk.campaign(), people).accepted == 2


def test_both_numbers_in_the_ledger_of_an_earlier_version_stay(desk: "Desk") -> None:
    """Neither is taken for the other: each keeps its own attempts."""
    one, other = forms("+5491123456789")
    desk.load(desk.campaign(), listed(desk, one))
    (strange,) = listed(desk, other)
    desk.load(desk.campaign(), [replace(strange, key="x")])
    with desk.ledger.write() as db:
        db.exec_driver_sql("UPDATE recipients SET key = phone")
    again = desk.load(desk.campaign(), listed(desk, other, one))
    assert (again.accepted, again.duplicates) == (0, 2)
    assert [(row.key, row.phone) for row in desk.recipients()] == [(one, one), (other, other)]


def test_a_plan_counts_a_telephone_as_the_load_does(desk: "Desk", tmp_path: Path) -> None:
    """Twice within a list, and once more when it is loaded."""
    campaign = desk.campaign()
    path = tmp_path / "people.csv"
    path.write_text("phone\n" + "".join(f"{phone}\n" for phone in forms("+5491123456789")))

    def planned() -> tuple[int, int, int, int]:
        found = plan(campaign, path, desk.ledger, Pace(1.0, "DIALER_CALLS_PER_SECOND"), desk.noon)
        return found.accepted, found.duplicates_in_list, found.already_loaded, found.gone

    assert planned() == (1, 1, 0, 0)
    assert load(desk.ledger, campaign, path, now=desk.noon).loaded.accepted == 1
    assert planned() == (0, 1, 1, 0)
    path.write_text("phone\n+541123456789\n")
    assert planned() == (0, 0, 1, 0)
