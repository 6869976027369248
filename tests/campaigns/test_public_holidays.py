"""Which days are holidays."""

from datetime import date

import pytest

from campaigns.public_holidays import is_holiday, known_place


@pytest.mark.parametrize(("text", "place"), [("us", "US"), (" US-fl ", "US-FL"), ("de-by", "DE-BY")])
def test_places_are_known_in_any_case(text: str, place: str) -> None:
    """Two letters of the country, and its part if one is named."""
    assert known_place(text) == place


@pytest.mark.parametrize(
    ("place", "day", "holiday"),
    [
        ("US", "2026-07-04", True),
        ("US", "2026-07-03", True),  # the fourth is a Saturday, and is observed on Friday
        ("US", "2027-12-31", True),  # the first of January is a Saturday
        ("US", "2026-07-02", False),
        ("US", "2026-12-24", False),  # half a holiday is none
        ("DE", "2026-01-06", False),
        ("DE-BY", "2026-01-06", True),  # in Bavaria only
    ],
)
def test_public_holidays_and_the_days_on_which_they_are_observed(place: str, day: str, holiday: bool) -> None:
    """Those of the whole country, or of the part that is named too; no half days, no days of remembrance."""
    assert is_holiday(place, date.fromisoformat(day)) == holiday
