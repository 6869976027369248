"""When somebody may be rung, against a check that only reads what the clocks on the wall show."""

import time
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import combinations, islice
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from campaigns.calling_hours import (
    HORIZON,
    Hours,
    Timetable,
    Week,
    Window,
    last_window,
    next_window,
    no_later_than,
    windows,
)
from campaigns.public_holidays import is_holiday

MINUTE, SECOND, DAY = timedelta(minutes=1), timedelta(seconds=1), timedelta(days=1)
NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)

# Where clocks do what one does not expect: zone → days on which they do it, or none.
ODD = {
    "America/New_York": ["2026-03-08", "2026-11-01"],
    "Europe/Berlin": ["2026-03-29", "2026-10-25"],
    "Europe/Dublin": ["2026-03-29", "2026-10-25"],  # its winter is the exception
    "Australia/Lord_Howe": ["2026-04-05", "2026-10-04"],  # by half an hour: 02:00 is 02:30
    "Antarctica/Troll": ["2026-03-29", "2026-10-25"],  # by two hours
    "Pacific/Chatham": ["2026-04-05", "2026-09-27"],  # at a quarter to three
    "America/St_Johns": ["2010-11-07"],  # at a minute past midnight
    "America/Havana": ["2026-03-08", "2026-11-01"],  # at midnight
    "Asia/Beirut": ["2026-03-29", "2026-10-25"],  # at midnight
    "Africa/Casablanca": ["2026-02-15", "2026-03-22"],  # in Ramadan
    "Pacific/Apia": ["2011-12-30"],  # a day that was left out
    "America/Caracas": ["2016-05-01"],  # by law, half an hour
    "Asia/Pyongyang": ["2018-05-04"],  # by law, half an hour before midnight
    "Asia/Kathmandu": ["2026-01-01"],  # a quarter of an hour, never changed
    "Pacific/Kiritimati": ["2026-01-01"],
}


def shown_open(rules: Sequence[Hours], zones: Sequence[str], at: datetime) -> bool:
    """Whether the clock of every place shows a time inside each rule's windows. Knows nothing of offsets."""
    return all(
        _inside(rule, at.astimezone(ZoneInfo(zone)))
        for rule in rules
        for zone in ([rule.zone] if rule.zone else zones)
    )


def _inside(rule: Hours, here: datetime) -> bool:
    minute, today = here.hour * 60 + here.minute, here.date()
    if any(is_holiday(place, today) for place in rule.holidays):
        return False
    return any(
        first <= since_midnight < last and not any(is_holiday(place, day) for place in rule.holidays)
        for day, since_midnight in ((today, minute), (today - DAY, minute + 1440))
        for first, last in rule.week[day.weekday()]
    )


def minutes(since: datetime, count: int) -> Iterator[datetime]:
    """The beginning of each minute from `since` on."""
    first = since.replace(second=0, microsecond=0)
    first += MINUTE if first < since else timedelta(0)
    return (first + number * MINUTE for number in range(count))


def _day(spans: list[tuple[int, int]]) -> tuple[tuple[int, int], ...]:
    """Windows of a day that do not overlap; at most the last goes on after midnight."""
    cuts = sorted({cut for first, last in spans for cut in (first, first + last)})
    return tuple(span for span in zip(cuts[::2], cuts[1::2], strict=False) if span[0] < 1440)


WINDOWS_OF_A_DAY = st.one_of(
    st.sampled_from([((480, 1260),), ((0, 1440),), (), ((1320, 1560),), ((60, 240),), ((120, 180),)]),
    st.lists(st.tuples(st.integers(0, 1380), st.integers(1, 700)), max_size=2).map(_day),
)
WEEKS: st.SearchStrategy[Week] = st.one_of(
    WINDOWS_OF_A_DAY.map(lambda day: (day,) * 7), st.tuples(*7 * [WINDOWS_OF_A_DAY])
)
ZONES = st.sampled_from(sorted(ODD))
RULES = st.lists(
    st.builds(
        Hours,
        st.just("a rule"),
        WEEKS,
        st.one_of(st.none(), st.none(), ZONES),
        st.sampled_from([(), (), ("US",), ("DE", "US-FL")]),
    ),
    min_size=1,
    max_size=2,
).map(tuple)
PLACES = st.lists(ZONES, min_size=1, max_size=3, unique=True).map(tuple)


@st.composite
def instants(draw: st.DrawFn) -> datetime:
    """Mostly in the days around a change of some clock, to the microsecond."""
    day = draw(st.sampled_from(sorted({day for days in ODD.values() for day in days} | {"2026-12-24"})))
    return datetime.fromisoformat(f"{day}T00:00:00+00:00") + draw(
        st.timedeltas(timedelta(days=-2), timedelta(days=2))
    )


@settings(max_examples=100, deadline=None)
@given(RULES, PLACES, instants())
def test_a_window_is_open_from_its_first_second_to_its_last(
    rules: tuple[Hours, ...], zones: tuple[str, ...], since: datetime
) -> None:
    """Every clock shows an open hour at a window's beginning, end and middle, and none does just outside."""
    before = since
    for number, window in enumerate(islice(windows(rules, zones, since), 6)):
        assert (before if number else since) <= window.opens < window.closes
        if number:
            assert before < window.opens
        before = window.closes
        for inside in (
            window.opens,
            window.opens + (window.closes - window.opens) / 2,
            window.closes - SECOND,
        ):
            assert inside < since or shown_open(rules, zones, max(inside, since))
        assert window.opens == since or not shown_open(rules, zones, window.opens - SECOND)
        assert window.closes >= since + HORIZON or not shown_open(rules, zones, window.closes)


@settings(max_examples=40, deadline=None)
@given(RULES, PLACES, instants())
@example((Hours("a", (((60, 240),),) * 7),), ("Europe/Berlin",), datetime(2026, 3, 28, 22, tzinfo=UTC))
@example((Hours("a", (((60, 240),),) * 7),), ("Antarctica/Troll",), datetime(2026, 10, 24, 22, tzinfo=UTC))
@example((Hours("a", (((1320, 1560),),) * 7),), ("America/Havana",), datetime(2026, 10, 31, 22, tzinfo=UTC))
def test_nothing_is_lost_or_repeated(
    rules: tuple[Hours, ...], zones: tuple[str, ...], since: datetime
) -> None:
    """Minute by minute for two days, it is open exactly when the clocks say so: the next opening is the
    first one, and nights in which a clock is put forward or back are as long as they are."""
    until = since + 2 * DAY
    coming = list(_until(windows(rules, zones, since), until))
    for minute in minutes(since, 2 * 1440 - 1):
        assert shown_open(rules, zones, minute) == any(window.holds(minute) for window in coming), minute


def _until(stream: Iterator[Window], end: datetime) -> Iterator[Window]:
    for window in stream:
        if window.opens >= end:
            return
        yield window


@settings(max_examples=40, deadline=None)
@given(RULES, PLACES, instants())
def test_moved_earlier_to_the_last_open_hour(
    rules: tuple[Hours, ...], zones: tuple[str, ...], at: datetime
) -> None:
    """What is to happen at a closed time happens before it, when it is open, and with less than an hour of
    open time between; what is to happen at an open time happens then."""
    moved = no_later_than(rules, zones, at)
    if moved is None:
        assert not any(shown_open(rules, zones, at - number * MINUTE) for number in range(1440))
        return
    assert moved <= at
    assert shown_open(rules, zones, moved)
    assert (moved == at) == shown_open(rules, zones, at)
    later = [each for each in minutes(moved, 1500) if each < at and shown_open(rules, zones, each)]
    assert all(each - moved <= timedelta(hours=1) for each in later)


@settings(max_examples=40, deadline=None)
@given(RULES, PLACES, instants(), st.lists(st.timedeltas(-DAY, DAY), max_size=6))
def test_a_timetable_remembers_nothing_wrong(
    rules: tuple[Hours, ...], zones: tuple[str, ...], now: datetime, steps: list[timedelta]
) -> None:
    """Asked at any times in any order, also after a clock was put back, it knows what has just been found."""
    timetable = Timetable(rules)
    for step in (timedelta(0), *steps):
        now += step
        found, fresh = timetable.window(zones, now), next_window(rules, zones, now)
        assert timetable.is_open(zones, now) == shown_open(rules, zones, now)
        assume(fresh is None or fresh.closes < now + timedelta(days=300))
        assert (found is None) == (fresh is None)
        if found is not None and fresh is not None:
            assert (max(found.opens, now), found.closes) == (max(fresh.opens, now), fresh.closes)


def every_day(*spans: tuple[int, int], zone: str | None = None, holidays: tuple[str, ...] = ()) -> Hours:
    return Hours("a rule", (spans,) * 7, zone, holidays)


def on(day: date, rule: Hours, zone: str) -> list[str]:
    """The windows that begin on a day, by the zone's own clock."""
    here = ZoneInfo(zone)
    since = datetime.combine(day, datetime.min.time(), here).astimezone(UTC)
    return [
        f"{w.opens.astimezone(here):%H:%M%z}-{w.closes.astimezone(here):%H:%M%z}"
        for w in _until(windows([rule], [zone], since), since + DAY)
        if w.opens.astimezone(here).date() == day
    ]


@pytest.mark.parametrize(
    ("day", "zone", "span", "expected"),
    [
        ("2026-03-29", "Europe/Berlin", (60, 240), ["01:00+0100-04:00+0200"]),  # two hours long
        ("2026-03-29", "Europe/Berlin", (120, 180), []),  # an hour that there is not
        ("2026-03-29", "Europe/Berlin", (150, 210), ["03:00+0200-03:30+0200"]),
        ("2026-10-25", "Europe/Berlin", (60, 240), ["01:00+0200-04:00+0100"]),  # four hours long
        ("2026-10-25", "Europe/Berlin", (120, 150), ["02:00+0200-02:30+0200", "02:00+0100-02:30+0100"]),
        ("2026-10-25", "Europe/Berlin", (120, 180), ["02:00+0200-03:00+0100"]),
        ("2026-10-04", "Australia/Lord_Howe", (90, 150), ["01:30+1030-02:30+1100"]),
        ("2026-03-29", "Antarctica/Troll", (60, 240), ["03:00+0200-04:00+0200"]),
        ("2011-12-30", "Pacific/Apia", (480, 1260), []),  # that Friday was left out
        ("2011-12-31", "Pacific/Apia", (480, 1260), ["08:00+1400-21:00+1400"]),
        ("2026-06-01", "Asia/Kathmandu", (480, 1260), ["08:00+0545-21:00+0545"]),
    ],
)
def test_nights_on_which_clocks_change(
    day: str, zone: str, span: tuple[int, int], expected: list[str]
) -> None:
    """What a window becomes when its zone's clock jumps, by that clock."""
    if day == "2011-12-30":
        since = datetime(2011, 12, 30, 6, tzinfo=UTC)  # Thursday evening, before the jump at 10:00 UTC
        fridays = Hours("a rule", tuple((span,) if number == 4 else () for number in range(7)))
        window = next_window([fridays], [zone], since)
        assert window is not None
        assert window.opens == datetime(2012, 1, 5, 18, tzinfo=UTC)
        return
    assert on(date.fromisoformat(day), every_day(span), zone) == expected


def test_all_zones_must_be_open() -> None:
    """Somebody who may be in New York or in Los Angeles is rung when it is day in both."""
    window = next_window([every_day((480, 1260))], ["America/New_York", "America/Los_Angeles"], NOON)
    assert window == Window(datetime(2026, 3, 2, 16, tzinfo=UTC), datetime(2026, 3, 3, 2, tzinfo=UTC))


def test_a_rule_may_have_a_clock_of_its_own() -> None:
    """A call centre that is open 9 to 17 in Berlin, for people in New York who are rung from 8 on."""
    rules = [every_day((540, 1020), zone="Europe/Berlin"), every_day((480, 1260))]
    window = next_window(rules, ["America/New_York"], NOON)
    assert window == Window(datetime(2026, 3, 2, 13, tzinfo=UTC), datetime(2026, 3, 2, 16, tzinfo=UTC))


def test_without_a_zone_nothing_is_open() -> None:
    """A rule that goes by the recipient's clock is closed for whom no clock is known; another is not."""
    assert next_window([every_day((0, 1440))], [], NOON) is None
    assert last_window([every_day((0, 1440))], [], NOON) is None
    assert no_later_than([every_day((0, 1440))], [], NOON) is None
    assert next_window([every_day((0, 1440), zone="Asia/Tokyo")], [], NOON) is not None


def test_windows_that_never_meet() -> None:
    """Nine to ten in Auckland is never nine to ten in London."""
    assert next_window([every_day((540, 600))], ["Pacific/Auckland", "Europe/London"], NOON) is None


def test_that_windows_never_meet_is_found_in_no_time() -> None:
    """It is found for many sets of zones while a transaction waits: by the weeks between the changes of any
    clock, and not by going through the days of a year."""
    places = [f"Etc/GMT{hours:+}" for hours in range(-14, 13)]
    rules = [every_day((540, 1080), holidays=("US",)), every_day((480, 1260))]
    sets = [("Asia/Tokyo", "America/New_York", *each) for each in combinations(places, 2)]
    timetable = Timetable(tuple(rules))
    began = time.process_time()
    assert all(timetable.window(zones, NOON) is None for zones in sets)
    # By the days it was 20 ms and more for each.
    assert (time.process_time() - began) / len(sets) < 0.002


def test_hours_that_meet_for_a_few_weeks_are_found_there() -> None:
    """From 8 to 29 March, and from 25 October to 1 November 2026, New York is an hour nearer to Berlin: what
    only touches for the rest of the year meets then."""
    rules = [every_day((480, 540), zone="America/New_York"), every_day((780, 840), zone="Europe/Berlin")]
    found = list(windows(rules, [], NOON))
    assert {(w.closes - w.opens) for w in found} == {timedelta(hours=1)}
    days = [w.opens.date() for w in found]
    assert days == [
        *(date(2026, 3, 8) + DAY * number for number in range(21)),
        *(date(2026, 10, 25) + DAY * number for number in range(7)),
    ]


def test_without_rules_it_is_open() -> None:
    """No calling hours: at any time."""
    assert Timetable(()).is_open((), NOON)
    assert no_later_than([], [], NOON) == NOON


def test_a_holiday_closes_its_day_and_the_night_before() -> None:
    """A window that begins on Christmas Eve ends at midnight, and that of Christmas Day is none at all."""
    rule = every_day((1320, 1560), holidays=("DE",))
    since = datetime(2026, 12, 24, 12, tzinfo=UTC)
    berlin = ZoneInfo("Europe/Berlin")
    found = [
        (f"{w.opens.astimezone(berlin):%d. %H:%M}", f"{w.closes.astimezone(berlin):%d. %H:%M}")
        for w in islice(windows([rule], ["Europe/Berlin"], since), 2)
    ]
    assert found == [("24. 22:00", "25. 00:00"), ("27. 22:00", "28. 02:00")]


def test_any_clock_may_ask() -> None:
    """The same instant, written by another zone's clock on the night of its change, has the same answer."""
    rule = every_day((0, 480))
    for hours in range(48):
        since = datetime(2026, 3, 28, 12, tzinfo=UTC) + timedelta(hours=hours)
        there = since.astimezone(ZoneInfo("Europe/Berlin"))
        assert next_window([rule], ["Europe/Berlin"], there) == next_window([rule], ["Europe/Berlin"], since)


def test_the_last_window_may_lie_months_back() -> None:
    """Open on one day of the year only, that day is found from either side."""
    weekdays = tuple(((540, 600),) if day == 0 else () for day in range(7))
    rule = Hours("a rule", weekdays, "Europe/Berlin")
    window = last_window([rule], [], NOON + timedelta(days=2))
    assert window == Window(datetime(2026, 3, 2, 8, tzinfo=UTC), datetime(2026, 3, 2, 9, tzinfo=UTC))
