"""Choices that cannot all hold are said before the first call."""

import re
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaigns import conflicts_view
from campaigns.campaign import Campaign
from campaigns.conflicts import ConflictCode, conflicts
from campaigns.limits import next_allowed

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
ROOT = Path(__file__).parents[2]


def campaign(**tables: Any) -> Campaign:
    connect = {
        "instance_id": "10a4c4eb-f57e-4d4c-b602-bf39176ced07",
        "contact_flow_id": "b0b8f2dd-ed1b-4c44-af36-ce189a178181",
        "source_phone_number": "+14155550199",
    }
    return Campaign.model_validate({"name": "r", "connect": connect} | tables)


def found(**tables: Any) -> list[tuple[str, dict[str, Any]]]:
    return [(each.code, each.data) for each in conflicts(campaign(**tables), NOW)]


def said(**tables: Any) -> str:
    return "\n".join(conflicts_view.in_words(conflicts(campaign(**tables), NOW)))


def test_a_limit_of_one_leaves_no_room_for_a_redial_of_minutes() -> None:
    """With one call a day the redial comes a day later, whatever its rule says."""
    tables = {
        "redial": {"max_attempts": 3, "busy": "10m", "no_answer": "1d"},
        "limits": {"per_number_per_day": 1},
    }
    data = {"outcome": "busy", "wait_seconds": 600, "redial": 1, "calls": 1, "within_hours": 24}
    assert found(**tables) == [(ConflictCode.REDIAL_PAST_LIMIT, data)]
    assert said(**tables) == (
        'warning: [redial] busy = "10m": no redial comes after that wait, as per_number_per_day allows 1 '
        "call in 24 hours; raise the limit, or write a wait that it allows"
    )


@given(
    wait=st.integers(1, 40).map(lambda hours: timedelta(hours=hours)),
    attempts=st.integers(1, 6),
    most=st.none() | st.integers(1, 5),
    day=st.none() | st.integers(1, 4),
    week=st.none() | st.integers(1, 6),
)
def test_a_redial_is_said_exactly_where_a_limit_postpones_it(
    wait: timedelta, attempts: int, most: int | None, day: int | None, week: int | None
) -> None:
    """Ringing by the rule, and asking the limits each time, finds the same as the arithmetic."""
    rule = {"wait": f"{int(wait.total_seconds())}s"} | ({"max_redials": most} if most else {})
    limits = {"per_number_per_day": day, "per_number_per_week": week}
    choices = campaign(redial={"max_attempts": attempts, "busy": rule}, limits=limits)
    rings = [NOW]
    postponed = False
    for _ in range(min(attempts - 1, most or attempts)):
        due = rings[-1] + wait
        postponed |= next_allowed(rings, due, per_day=day, per_week=week) is not None
        rings.append(due)
    assert bool(conflicts(choices, NOW)) == postponed


@pytest.mark.parametrize(
    "tables",
    [
        {"redial": {"max_attempts": 1, "busy": "10m"}, "limits": {"per_number_per_day": 1}},
        {"redial": {"max_attempts": 3, "busy": "10m"}, "limits": {"per_number_per_day": 3}},
        {
            "redial": {"max_attempts": 9, "busy": {"wait": "10m", "max_redials": 1}},
            "limits": {"per_number_per_day": 2},
        },
        {"calling_hours": {"monday": "09:00-10:00"}},
        {"calling_hours": {"preset": "us-federal"}},
        {"reminder": {"at": "at", "before": ["24h", "2h"]}, "limits": {"per_number_per_day": 2}},
        {},
    ],
)
def test_what_goes_together_is_not_warned_of(tables: dict[str, Any]) -> None:
    """A warning that is always there is read by no one."""
    assert found(**tables) == []


def test_a_preset_limits_too() -> None:
    """The limit may be another's, and then it is not in the file."""
    assert [
        code
        for code, _ in found(
            redial={"max_attempts": 5, "busy": "10m"}, calling_hours={"preset": "us-florida"}
        )
    ] == [ConflictCode.REDIAL_PAST_LIMIT]


def test_hours_that_open_in_some_country_are_not_said() -> None:
    """By Berlin's clock and by that of the recipient: closed for New York, and open for Europe."""
    hours = {"monday": "09:00-10:00", "time_zone": "Europe/Berlin", "preset": "us-federal"}
    assert campaign(calling_hours=hours).timetable.window(("America/New_York",), NOW) is None
    assert found(calling_hours=hours) == []


def test_a_preset_that_is_not_known_never_opens() -> None:
    """An older version closes what it does not know, and says so for the campaign as a whole."""
    stored = campaign(calling_hours={"monday": "09:00-10:00"})
    hours = stored.calling_hours.model_copy(update={"preset": ("of-another-version",)})  # type: ignore[union-attr]
    choices = stored.model_copy(update={"calling_hours": hours})
    choices.__dict__.pop("timetable", None)
    assert [each.code for each in conflicts(choices, NOW)] == [ConflictCode.NEVER_OPEN]
    assert "have no open hour within a year" in conflicts_view.in_words(conflicts(choices, NOW))[0]


def test_a_reminder_that_a_limit_forbids_until_the_appointment_is_said() -> None:
    """The day before and two hours before are two calls within 24 hours."""
    tables = {"reminder": {"at": "at", "before": ["24h", "2h"]}, "limits": {"per_number_per_day": 1}}
    data = {"before_seconds": 7200, "calls": 1, "within_hours": 24}
    assert found(**tables) == [(ConflictCode.REMINDER_PAST_LIMIT, data)]
    assert '[reminder] before = "2h" can never be in time' in said(**tables)
    assert found(**{**tables, "reminder": {"at": "at", "before": ["48h", "2h"]}}) == []


def test_a_redial_after_the_appointment_is_said() -> None:
    """A reminder two hours before leaves no time for a redial after three."""
    tables = {
        "reminder": {"at": "at", "before": "2h"},
        "redial": {"max_attempts": 2, "busy": "3h", "no_answer": "30m"},
    }
    data = {"outcome": "busy", "wait_seconds": 10_800, "before_seconds": 7200}
    assert found(**tables) == [(ConflictCode.REDIAL_PAST_APPOINTMENT, data)]
    assert 'busy = "3h" never happens' in said(**tables)


def test_what_the_pages_show_goes_together() -> None:
    """The README's campaign and the examples are copied by those who begin."""
    readme = re.sub(r"(?m)^    ", "", (ROOT / "README.md").read_text("utf-8"))
    shown = readme[
        readme.index('name = "clinic-reminders"') : readme.index("Reminders before each recipient's own")
    ]
    texts = [shown, *(path.read_text("utf-8") for path in (ROOT / "examples").glob("*.toml"))]
    assert [conflicts(Campaign.model_validate(tomllib.loads(text)), NOW) for text in texts] == [()] * len(
        texts
    )


def test_for_machines_there_are_code_and_data() -> None:
    """A program decides by the code, and the words are for those who read them."""
    tables = {"redial": {"max_attempts": 2, "busy": "10m"}, "limits": {"per_number_per_week": 1}}
    [told] = conflicts_view.as_json(conflicts(campaign(**tables), NOW))
    assert (told["code"], told["data"]["within_hours"]) == ("redial_past_limit", 168)
    assert "per_number_per_week allows 1 call in 168 hours" in told["message"]
