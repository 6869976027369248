from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from campaigns.calling_hours import Hours, Window, windows
from campaigns.forecast import Group, forecast

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
A_MOMENT = timedelta(milliseconds=1)


def window(opens: float, closes: float) -> Window:
    """Open from so many hours on, until so many."""
    return Window(NOW + opens * HOUR, NOW + closes * HOUR)


def near(instant: datetime | None) -> datetime | None:
    """To the second: each step of the reckoning is rounded up to a microsecond."""
    return instant and (instant + A_MOMENT).replace(microsecond=0)


def test_without_hours_it_is_a_division() -> None:
    """7,200 calls at one a second are two hours of 3,600 each."""
    found = forecast([Group([(NOW, 7_200)], None)], 1.0, NOW)
    assert near(found.finishes_at) == NOW + 2 * HOUR
    assert {hour: round(calls) for hour, calls in found.per_hour.items()} == {NOW: 3_600, NOW + HOUR: 3_600}
    assert found.left == 0


def test_what_the_closing_cuts_off_goes_on_the_next_day() -> None:
    """Two hours of calls, and an hour until it closes: the other one comes with the next window."""
    found = forecast([Group([(NOW, 7_200)], [window(0, 1), window(20, 30)])], 1.0, NOW)
    assert near(found.finishes_at) == NOW + 21 * HOUR
    assert {hour: round(calls) for hour, calls in found.per_hour.items()} == {
        NOW: 3_600,
        NOW + 20 * HOUR: 3_600,
    }


def test_who_closes_first_is_called_first() -> None:
    """Otherwise those of the east would be left for tomorrow while those of the west could have waited."""
    east, west = Group([(NOW, 3_600)], [window(0, 1)]), Group([(NOW, 3_600)], [window(0, 3)])
    found = forecast([west, east], 1.0, NOW)
    assert (near(found.finishes_at), found.left) == (NOW + 2 * HOUR, 0)


def test_who_is_due_later_is_called_later() -> None:
    """A reminder is not reckoned with before its time; one that falls due while it is closed waits."""
    group = Group(
        [(NOW - HOUR, 10), (NOW + 5 * HOUR, 10), (NOW + 40 * HOUR, 10)], [window(0, 6), window(50, 51)]
    )
    found = forecast([group], 1.0, NOW)
    assert near(found.finishes_at) == NOW + 50 * HOUR + timedelta(seconds=10)
    assert [round(calls) for calls in found.per_hour.values()] == [10, 10, 10]
    assert list(found.per_hour) == [NOW, NOW + 5 * HOUR, NOW + 50 * HOUR]


@pytest.mark.parametrize("never", [[], [window(0, 1)]])
def test_no_end_is_promised_where_somebody_is_left(never: list[Window]) -> None:
    """Whoever never is open, or not long enough, is counted as left."""
    found = forecast([Group([(NOW, 3_600)], None), Group([(NOW, 7_200)], never)], 1.0, NOW)
    assert found.finishes_at is None
    assert found.left == (3_600 if never else 7_200)


def test_nobody_is_no_end_either() -> None:
    """An empty list is not finished at any time."""
    assert forecast([], 1.0, NOW) == forecast([Group([(NOW, 0)], None)], 1.0, NOW)
    assert (forecast([], 1.0, NOW).finishes_at, forecast([], 1.0, NOW).left) == (None, 0)


def test_it_looks_no_further_than_a_year() -> None:
    """A million at one in three hours: what would be called within a year, and who is left then."""
    found = forecast([Group([(NOW, 1_000_000)], None)], 0.0001, NOW)
    assert found.finishes_at is None
    assert found.left == 1_000_000 - round(370 * 86_400 * 0.0001)


@settings(max_examples=60)
@given(
    groups=st.lists(
        st.tuples(
            st.integers(0, 3_000),
            st.lists(st.integers(1, 90), max_size=6, unique=True).map(sorted),
            st.integers(0, 40),
        ),
        max_size=5,
    ),
    rate=st.sampled_from([0.05, 0.5, 3.0]),
)
def test_nobody_is_called_when_nobody_is_open(groups: list[tuple[int, list[int], int]], rate: float) -> None:
    """Whatever the windows: no hour has more calls than its open minutes allow, and none gets lost."""
    reckoned = [
        Group([(NOW + at * HOUR, count)], [window(a, b) for a, b in list(pairwise(edges))[::2]])
        for count, edges, at in groups
    ]
    found = forecast(reckoned, rate, NOW)
    called = sum(found.per_hour.values())
    assert called + found.left == pytest.approx(sum(count for count, _, _ in groups), abs=1)
    for hour, calls in found.per_hour.items():
        assert calls <= rate * 3_600 * (1 + 1e-6)
        assert any(
            w.opens < hour + HOUR and hour < w.closes and group.arrivals[0][0] < hour + HOUR
            for group in reckoned
            for w in group.windows or ()
        )


def test_real_windows_over_a_weekend() -> None:
    """Friday evening in Berlin: an hour's calls today, and the rest from Monday at nine."""
    rules = [Hours("calling_hours", ((((540, 1200),),) * 5) + ((), ()))]
    friday = datetime(2026, 3, 6, 18, 0, tzinfo=UTC)
    found = forecast([Group([(friday, 5_400)], windows(rules, ["Europe/Berlin"], friday))], 1.0, friday)
    assert near(found.finishes_at) == datetime(2026, 3, 9, 8, 30, tzinfo=UTC)
