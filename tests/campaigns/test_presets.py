"""The rules of others, as data."""

from datetime import date

import pytest

from campaigns.campaign import Campaign
from campaigns.presets import preset, presets


def test_every_preset_says_what_where_from_and_as_of_when() -> None:
    """Each has a source that can be looked up, a day, and hours of every day within that day."""
    for name, each in presets().items():
        assert each.name == name
        assert each.source.startswith("https://")
        assert date(2026, 1, 1) <= each.as_of < date(2100, 1, 1)
        assert len(each.week) == 7
        assert all(0 <= first < last <= 1440 for day in each.week for first, last in day)
        assert each.in_words


@pytest.mark.parametrize(
    ("name", "weekday", "sunday", "a_day", "a_week"),
    [
        ("us-federal", (480, 1260), (480, 1260), None, None),
        ("us-florida", (480, 1200), (480, 1200), 3, None),
        ("us-debt-collection", (480, 1260), (480, 1260), None, 7),
        ("canada", (540, 1290), (600, 1080), None, None),
    ],
)
def test_what_they_say(
    name: str, weekday: tuple[int, int], sunday: tuple[int, int], a_day: int | None, a_week: int | None
) -> None:
    """Whoever changes a preset changes when people are called, and says so here too."""
    found = preset(name)
    assert (found.week[0], found.week[6]) == ((weekday,), (sunday,))
    assert (found.per_number_per_day, found.per_number_per_week) == (a_day, a_week)


@pytest.mark.parametrize(
    ("limits", "override", "expected"),
    [
        ({}, False, (3, 7)),
        ({"per_number_per_day": 1, "per_number_per_week": 9}, False, (1, 7)),
        ({"per_number_per_day": 5}, True, (5, 7)),
        ({"per_number_per_week": 9}, True, (3, 9)),
    ],
)
def test_a_campaign_is_stricter_or_says_that_it_is_not(
    limits: dict[str, int], override: bool, expected: tuple[int, int]
) -> None:
    """Of all limits that are said, the strictest holds; with `override`, the campaign's own."""
    hours = {"preset": ["us-florida", "us-debt-collection"], "weekdays": "09:00-20:00", "override": override}
    campaign = Campaign.model_validate(
        {
            "name": "reminders",
            "connect": {
                "instance_id": "10a4c4eb-f57e-4d4c-b602-bf39176ced07",
                "contact_flow_id": "b0b8f2dd-ed1b-4c44-af36-ce189a178181",
                "source_phone_number": "+14155550199",
            },
            "calling_hours": hours,
            "limits": limits,
        }
    )
    assert (campaign.calls_per_day, campaign.calls_per_week) == expected
