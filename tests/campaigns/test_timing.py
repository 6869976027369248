"""By whose clocks somebody on a list may be called."""

import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from campaigns.campaign import Campaign
from campaigns.recipient import Recipient
from campaigns.timing import Timing, Untimely

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
GUID = "10a4c4eb-f57e-4d4c-b602-bf39176ced07"
FREE, SPLIT, WEST = "+18005550100", "+12195550100", "+14155550100"
DAYTIME = {"weekdays": "09:00-20:00"}


def a_campaign(hours: dict[str, Any] | None = None, **tables: Any) -> Campaign:
    connect = {"instance_id": GUID, "contact_flow_id": GUID, "queue_id": GUID}
    given = {"calling_hours": hours} if hours else {}
    return Campaign.model_validate({"name": "r", "connect": connect} | given | tables)


def a_person(phone: str, zone: str | None = None) -> Recipient:
    return Recipient(2, phone, phone, {}, zone, {"Phone ": phone, "TZ": zone or ""})


@pytest.mark.parametrize(
    ("phone", "zone", "zones"),
    [
        (WEST, None, "America/Los_Angeles"),
        (WEST, "America/Los_Angeles", "America/Los_Angeles"),
        (WEST, "America/New_York", "America/Los_Angeles America/New_York"),
        (SPLIT, None, "America/Chicago America/New_York"),
        (FREE, "Europe/Berlin", "Europe/Berlin"),
        (FREE, None, None),
    ],
)
def test_zones_of_the_list_and_of_the_number(phone: str, zone: str | None, zones: str | None) -> None:
    """All that may apply count: what the list says does not undo what the number says."""
    (person,) = Timing(a_campaign(), NOON).of(a_person(phone, zone))  # type: ignore[misc]
    assert person.zones == zones


@pytest.mark.parametrize(
    ("campaign", "person", "expected"),
    [
        (
            a_campaign(DAYTIME),
            a_person(FREE),
            Untimely(
                "Phone ",
                "says nothing of its time zone, and the calling hours go by that; set fallback_time_zone in "
                "[calling_hours], or add a column that [list] time_zone names",
            ),
        ),
        (
            a_campaign(DAYTIME, list={"time_zone": "tz"}),
            a_person(FREE),
            Untimely(
                "TZ",
                "is empty, and the number says nothing of its time zone; write an IANA name such as "
                "America/New_York, or set fallback_time_zone in [calling_hours]",
            ),
        ),
        (
            a_campaign({"monday": "09:00-10:00"}, list={"time_zone": "tz"}),
            a_person(WEST, "America/New_York"),
            Untimely(
                "TZ",
                "may be in America/Los_Angeles and America/New_York, and no hour is open in all of them; "
                "widen [calling_hours], or name one clock for everybody in its time_zone",
            ),
        ),
        (
            a_campaign({"weekdays": "09:00-11:00"}),
            a_person("+79123456789"),
            Untimely(
                "Phone ",
                "may be in Asia/Anadyr, Asia/Irkutsk, Asia/Krasnoyarsk, Asia/Magadan and 8 zones more, "
                "and no hour is open in all of them; "
                "widen [calling_hours], or name one clock for everybody in its time_zone",
            ),
        ),
        (
            a_campaign({"monday": "09:00-10:00", "time_zone": "Asia/Tokyo", "preset": "us-federal"}),
            a_person(WEST),
            None,
        ),
        (
            a_campaign({"monday": "03:00-04:00", "time_zone": "Asia/Tokyo", "preset": "us-florida"}),
            a_person("+12125550100"),
            None,
        ),
        (
            a_campaign({"monday": "20:00-21:00", "time_zone": "Asia/Tokyo", "preset": "us-florida"}),
            a_person("+12125550100"),
            Untimely(
                "Phone ",
                "cannot be called: in America/New_York no hour is open within a year; widen [calling_hours]",
            ),
        ),
        (a_campaign(DAYTIME | {"time_zone": "Europe/Berlin"}), a_person(FREE), None),
        (a_campaign(DAYTIME | {"fallback_time_zone": "Europe/Berlin"}), a_person(FREE), None),
        (a_campaign(DAYTIME, list={"time_zone": "tz"}), a_person(FREE, "Europe/Berlin"), None),
        (a_campaign(), a_person(FREE), None),
    ],
)
def test_whoever_can_never_be_called_is_told_apart(
    campaign: Campaign, person: Recipient, expected: Untimely | None
) -> None:
    """Unknown zones and hours that never meet fail closed, with the cell to correct and what to do."""
    found = Timing(campaign, NOON).of(person)
    assert (found if isinstance(found, Untimely) else None) == expected


def test_a_long_list_asks_a_few_times() -> None:
    """Ten thousand rows with calling hours take well under a second: what is worked out for a set of zones
    is kept."""
    campaign = a_campaign(DAYTIME)
    people = [a_person(f"+1415{2_000_000 + number}") for number in range(10_000)]
    began = time.process_time()
    assert all(isinstance(Timing(campaign, NOON).of(person), list) for person in people)
    assert time.process_time() - began < 2


def test_one_row_after_the_other_is_told_what_each_is_told_alone() -> None:
    """What is kept for a set of zones is kept for no others, and each reason names its own row's cell."""
    rows = [(WEST, None), (FREE, None), (SPLIT, None), (FREE, "Asia/Tokyo"), (WEST, "Asia/Tokyo")]
    for hours in ({}, {"monday": "09:00-10:00"}, DAYTIME, DAYTIME | {"fallback_time_zone": "Europe/Berlin"}):
        campaign = a_campaign(hours, list={"time_zone": "tz"})
        timing = Timing(campaign, NOON)
        together = [timing.of(a_person(*row)) for row in rows * 2]
        assert together == [Timing(campaign, NOON).of(a_person(*row)) for row in rows * 2]


def test_a_zone_that_this_machine_does_not_know_is_said_to_be_that() -> None:
    """Not that its hours never open, which is not so; also where an appointment stands by it."""
    why = "this machine does not know the time zone America/Newzone; pip install -U tzdata"
    campaign, person = a_campaign(DAYTIME, list={"time_zone": "tz"}), a_person(FREE, "America/Newzone")
    assert Timing(campaign, NOON).of(person) == Untimely("TZ", f"cannot be called: {why}")
    reminder = {"at": "phone", "before": "2h", "time_zone": "America/Newzone"}
    at_two = replace(a_person(WEST), row={"Phone ": "2026-11-23T14:00"})
    found = Timing(a_campaign(reminder=reminder), NOON).of(at_two)
    assert found == Untimely("Phone ", f"cannot be read: {why}")
