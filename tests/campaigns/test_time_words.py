from datetime import UTC, datetime, timedelta

import pytest

from campaigns.time_words import clock, distance, in_time

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)  # a Monday


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.2, "1 s"),
        (119, "119 s"),
        (120, "2 m"),
        (121, "3 m"),
        (3_600, "1 h"),
        (11_520, "3 h 12 m"),
        (86_400, "1 d"),
        (86_459, "1 d"),
        (97_200, "1 d 3 h"),
    ],
)
def test_a_distance_is_said_in_two_units(seconds: float, said: str) -> None:
    """The two largest units, rounded up, so that whoever waits so long finds it over."""
    told = distance(timedelta(seconds=seconds))
    assert told == said


def test_what_has_come_is_now() -> None:
    """Nothing is said to be in -3 m."""
    assert (in_time(NOW + timedelta(minutes=3), NOW), in_time(NOW, NOW)) == ("in 3 m", "now")


@pytest.mark.parametrize(
    ("days", "zone", "said"),
    [
        (0, "America/Denver", "05:00"),
        (0, "Asia/Tokyo", "21:00"),
        (1, "America/Denver", "tomorrow 05:00"),
        (6, "America/Denver", "Sun 06:00"),
        (7, "America/Denver", "2026-03-09 06:00"),
    ],
)
def test_a_clock_says_the_day_where_it_is_another(days: int, zone: str, said: str) -> None:
    """By the zone's own calendar and clock: DST has come to Denver on the eighth."""
    assert clock(NOW + timedelta(days=days), zone, NOW) == said


def test_tomorrow_is_that_of_the_place() -> None:
    """At 23:30 in Tokyo, an hour later is tomorrow; in Denver it is still today."""
    late = datetime(2026, 3, 2, 14, 30, tzinfo=UTC)
    hour = late + timedelta(hours=1)
    assert (clock(hour, "Asia/Tokyo", late), clock(hour, "America/Denver", late)) == (
        "tomorrow 00:30",
        "08:30",
    )
