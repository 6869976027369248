from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaigns.limits import DAY, WEEK, next_allowed

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
MICROSECOND = timedelta(microseconds=1)

instants = st.timedeltas(timedelta(days=-9), timedelta(days=1)).map(lambda ago: NOON + ago)
most = st.none() | st.integers(1, 4)


def permitted(dialed: list[datetime], at: datetime, per_day: int | None, per_week: int | None) -> bool:
    """The rule read literally: this call is one more among those of the span that ends with it."""
    of_day = sum(at - DAY < each for each in dialed)
    of_week = sum(at - WEEK < each for each in dialed)
    return (per_day is None or of_day < per_day) and (per_week is None or of_week < per_week)


@given(st.lists(instants, max_size=8), most, most)
def test_it_is_the_first_instant_that_both_limits_permit(
    dialed: list[datetime], per_day: int | None, per_week: int | None
) -> None:
    """At the answer a call is permitted, and a microsecond before it is not; None means now."""
    at = next_allowed(dialed, NOON, per_day=per_day, per_week=per_week)
    if at is None:
        assert permitted(dialed, NOON, per_day, per_week)
    else:
        assert at > NOON
        assert permitted(dialed, at, per_day, per_week)
        assert not permitted(dialed, at - MICROSECOND, per_day, per_week)


@given(st.lists(instants, max_size=8), most, most)
def test_until_then_nothing_is_permitted(
    dialed: list[datetime], per_day: int | None, per_week: int | None
) -> None:
    """Between now and the answer no instant is permitted."""
    at = next_allowed(dialed, NOON, per_day=per_day, per_week=per_week)
    if at is not None:
        step = (at - NOON) / 50
        assert not any(permitted(dialed, NOON + i * step, per_day, per_week) for i in range(50))


@pytest.mark.parametrize(
    ("hours_ago", "per_day", "per_week", "in_hours"),
    [
        ([], 1, 1, None),
        ([1], None, None, None),
        ([1], 1, None, 23),
        ([24], 1, None, None),
        ([1, 5], 2, None, 19),
        ([1, 5, 30], 2, 3, 138),
        ([30, 60, 100], 1, 3, 68),
    ],
)
def test_examples(
    hours_ago: list[int], per_day: int | None, per_week: int | None, in_hours: int | None
) -> None:
    """The spans roll, and the one that lets go last decides."""
    dialed = [NOON - hours * HOUR for hours in hours_ago]
    at = next_allowed(dialed, NOON, per_day=per_day, per_week=per_week)
    assert at == (None if in_hours is None else NOON + in_hours * HOUR)
