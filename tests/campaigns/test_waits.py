from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from campaigns.campaign import Campaign
from campaigns.waits import Later, Rule, Wait, Waiting, waits
from campaigns.waits_view import reason, told

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)  # Monday: 05:00 in Denver, 07:00 in New York, 13:00 in Berlin
DENVER, NEW_YORK, BERLIN = "America/Denver", "America/New_York", "Europe/Berlin"
IN_AN_HOUR = NOW + timedelta(hours=1)


def campaign(**hours: Any) -> Campaign:
    """One with these [calling_hours]; without any of them, with none."""
    connect = {
        "instance_id": "10a4c4eb-f57e-4d4c-b602-bf39176ced07",
        "contact_flow_id": "b0b8f2dd-ed1b-4c44-af36-ce189a178181",
        "source_phone_number": "+14155550199",
    }
    tables = {"calling_hours": hours} if hours else {}
    return Campaign.model_validate({"name": "reminders", "connect": connect} | tables)


NINE_TO_EIGHT = campaign(weekdays="09:00-20:00")


def test_who_can_be_dialed_waits_for_nothing() -> None:
    """Whoever is due and open is in no wait; without calling hours, that is everybody who is due."""
    assert waits([Waiting(BERLIN, 5)], NINE_TO_EIGHT, NOW) == ()
    assert waits([Waiting(DENVER, 5), Waiting(None, 2)], campaign(), NOW) == ()
    assert waits([], NINE_TO_EIGHT, NOW) == ()


def test_a_rule_is_told_with_its_first_end() -> None:
    """Several places are one wait: their sum, and the place that opens first, by its own clock."""
    groups = [Waiting(DENVER, 412), Waiting(NEW_YORK, 8), Waiting(BERLIN, 1)]
    nine_in_new_york = datetime(2026, 3, 2, 14, tzinfo=UTC)
    (wait,) = waits(groups, NINE_TO_EIGHT, NOW)
    assert wait == Wait(Rule.CALLING_HOURS, 420, nine_in_new_york, NEW_YORK)
    assert told(wait, NOW, everybody=True) == (
        "waiting for calling hours: 420 recipients, next 09:00 America/New_York in 2 h"
    )
    as_told = told(wait, NOW, everybody=False, others_can=True)
    assert as_told == "closed: 420 recipients, next 09:00 America/New_York in 2 h"
    assert reason([wait], None) == (
        "waiting for calling hours: 420 recipients, next 2026-03-02 09:00 America/New_York"
    )


def test_several_places_open_by_the_last_of_their_clocks() -> None:
    """Whoever may be in New York or in Denver is called when Denver opens too, and that is what is said."""
    (wait,) = waits([Waiting(f"{DENVER} {NEW_YORK}", 1)], NINE_TO_EIGHT, NOW)
    assert wait == Wait(Rule.CALLING_HOURS, 1, datetime(2026, 3, 2, 16, tzinfo=UTC), DENVER)


def test_one_clock_for_everybody_is_the_one_that_is_named() -> None:
    """Where the campaign names a zone, nobody's own zone counts, and none need be known."""
    hours = campaign(weekdays="09:00-20:00", time_zone=NEW_YORK)
    (wait,) = waits([Waiting(None, 3)], hours, NOW)
    assert (wait.recipients, wait.until, wait.time_zone) == (
        3,
        datetime(2026, 3, 2, 14, tzinfo=UTC),
        NEW_YORK,
    )


def test_the_largest_part_comes_first() -> None:
    """Calling hours, limits, redials and reminders at once, by how many each keeps."""
    later = tuple(
        Later(rule, count, IN_AN_HOUR, IN_AN_HOUR + timedelta(days=1))
        for rule, count in ((Rule.LIMITS, 12), (Rule.REDIAL, 40), (Rule.REMINDER, 2))
    )
    found = waits([Waiting(BERLIN, 5, later), Waiting(DENVER, 30)], NINE_TO_EIGHT, NOW)
    assert [(wait.rule, wait.recipients) for wait in found] == [
        (Rule.REDIAL, 40),
        (Rule.CALLING_HOURS, 30),
        (Rule.LIMITS, 12),
        (Rule.REMINDER, 2),
    ]
    local = IN_AN_HOUR.astimezone()
    assert reason(found, NOW) == (
        f"waiting for a redial: 40 recipients, the next at {local:%H:%M %Z} in 1 h; "
        "waiting for calling hours: 30 recipients, next 09:00 America/Denver in 4 h; "
        f"waiting for the limits: 12 recipients, the next at {local:%H:%M %Z} in 1 h; "
        f"waiting for their reminder: 2 recipients, the next at {local:%H:%M %Z} in 1 h"
    )


def test_a_redial_in_the_night_waits_for_the_morning() -> None:
    """Somebody who is due while it is closed is not promised for that time, but for the opening."""
    at_three = NOW.replace(hour=2) + timedelta(days=1)
    (wait,) = waits([Waiting(BERLIN, 0, (Later(Rule.REDIAL, 1, at_three, at_three),))], NINE_TO_EIGHT, NOW)
    assert wait.until == datetime(2026, 3, 3, 8, tzinfo=UTC)


@pytest.mark.parametrize(
    ("zones", "rule", "says"),
    [
        (None, Rule.NO_TIME_ZONE, "no time zone is known; set fallback_time_zone in [calling_hours]"),
        (
            "Asia/Kamchatka Europe/Kaliningrad",
            Rule.NEVER_OPEN,
            "the hours of all their time zones never meet",
        ),
    ],
)
def test_who_may_never_be_called_is_told_so(zones: str | None, rule: Rule, says: str) -> None:
    """Whoever waits for ever is counted whatever they are due for, with no end and with the cure."""
    group = Waiting(zones, 2, (Later(Rule.REDIAL, 1, IN_AN_HOUR, IN_AN_HOUR),))
    (wait,) = waits([group], campaign(weekdays="09:00-18:00"), NOW)
    assert wait == Wait(rule, 3, None)
    assert told(wait, NOW, everybody=True).startswith(f"nobody may ever be called: 3 recipients, {says}")


def test_that_some_may_never_be_called_does_not_sound_like_all() -> None:
    """Beside others who only wait for the morning, it is so many who may never be called, and not nobody."""
    found = waits([Waiting(None, 1), Waiting(DENVER, 998)], NINE_TO_EIGHT, NOW)
    assert reason(found, NOW) == (
        "waiting for calling hours: 998 recipients, next 09:00 America/Denver in 4 h; "
        "1 recipient may never be called: no time zone is known; "
        "set fallback_time_zone in [calling_hours], or load them with a time zone"
    )
    never = waits([Waiting("Asia/Kamchatka Europe/Kaliningrad", 2)], campaign(weekdays="09:00-18:00"), NOW)
    assert told(never[0], NOW, everybody=False) == (
        "2 recipients may never be called: the hours of all their time zones never meet"
    )


def test_what_is_not_known_here_is_named() -> None:
    """A zone of newer data, a preset or holidays that are gone: never open, and said which and what to do."""
    groups = [
        Waiting("America/Newzone", 3),
        Waiting("Asia/Newzone", 2),
        Waiting("America/Newzone Asia/Tokyo", 1),
    ]
    why = "this machine does not know the time zone {}; pip install -U tzdata"
    found = waits(groups, NINE_TO_EIGHT, NOW)
    assert found == (
        Wait(Rule.NOT_KNOWN, 4, None, why=why.format("America/Newzone")),
        Wait(Rule.NOT_KNOWN, 2, None, why=why.format("Asia/Newzone")),
    )
    assert reason(found, NOW) == (
        f"4 recipients cannot be called: {why.format('America/Newzone')}; "
        f"2 recipients cannot be called: {why.format('Asia/Newzone')}"
    )
    (gone,) = waits([Waiting(BERLIN, 1)], campaign(weekdays="09:00-20:00", preset="us-gone"), NOW)
    assert reason([gone], NOW) == (
        "nobody can be called: 1 recipient, this version does not know the preset us-gone; "
        "name another in [calling_hours] and load the file again"
    )


def test_a_fallback_counts_where_nothing_is_known() -> None:
    """With fallback_time_zone, whoever has no zone waits for that zone's hours, and not for ever."""
    hours = campaign(weekdays="09:00-20:00", fallback_time_zone=DENVER)
    (wait,) = waits([Waiting(None, 1)], hours, NOW)
    assert (wait.rule, wait.time_zone) == (Rule.CALLING_HOURS, DENVER)
