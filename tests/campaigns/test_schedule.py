"""When a schedule fires, which of its fires is to be run, and which list it reads: no ledger, no clock."""

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from campaigns.schedule import MOST_TOLD, decide, fires
from campaigns.toml_values import FROM_FILE
from campaigns.when import ScheduleOptions

BERLIN = ZoneInfo("Europe/Berlin")
ZONES = (
    "Europe/Berlin",
    "America/New_York",
    "America/St_Johns",
    "Australia/Lord_Howe",  # put forward and back by half an hour
    "America/Santiago",  # at midnight
    "Africa/Casablanca",  # twice a year, for a month
    "Asia/Kolkata",
    "UTC",
)


def schedule(cron: str, zone: str = "Europe/Berlin", **more: object) -> ScheduleOptions:
    """A schedule; its list is of no interest unless it is named."""
    return ScheduleOptions.model_validate({"cron": cron, "time_zone": zone, "list": "people.csv"} | more)


def local(text: str, zone: str = "Europe/Berlin") -> datetime:
    """A local time, without a season unless it says its offset."""
    instant = datetime.fromisoformat(text)
    return instant if instant.tzinfo else instant.replace(tzinfo=ZoneInfo(zone))


def shown(options: ScheduleOptions, after: str, count: int) -> list[str]:
    """The next fires by the schedule's own clock, with its offset in hours."""
    found = islice(fires(options, local(after, options.time_zone)), count)
    return [f"{options.local(at):%d %H:%M%z}"[:-2] for at in found]


# --- the two nights ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("cron", "after", "expected"),
    [
        # At a time of day: once in every night.
        ("30 2 * * *", "2026-03-28T00:00", ["28 02:30+01", "29 03:00+02", "30 02:30+02"]),
        ("30 2 * * *", "2026-10-24T00:00", ["24 02:30+02", "25 02:30+02", "26 02:30+01"]),
        # Several that are left out are one.
        ("0,30 2,3 * * *", "2026-03-29T00:00", ["29 03:00+02", "29 03:30+02", "30 02:00+02"]),
        # Every hour, by the clock: neither an hour too many nor one too few.
        ("0 * * * *", "2026-03-29T00:00", ["29 01:00+01", "29 03:00+02", "29 04:00+02"]),
        ("0 * * * *", "2026-10-25T00:59", ["25 01:00+02", "25 02:00+02", "25 02:00+01", "25 03:00+01"]),
        ("*/30 2 * * *", "2026-03-29T00:00", ["30 02:00+02", "30 02:30+02"]),
        (
            "*/30 2 * * *",
            "2026-10-25T00:00",
            ["25 02:00+02", "25 02:30+02", "25 02:00+01", "25 02:30+01", "26 02:00+01"],
        ),
    ],
)
def test_nights_in_which_the_clock_changes(cron: str, after: str, expected: list[str]) -> None:
    """A job at a time of day runs exactly once in them; one that goes by the clock, whenever it shows it."""
    assert shown(schedule(cron), after, len(expected)) == expected


@pytest.mark.parametrize(
    ("cron", "after", "expected"),
    [
        ("30 1 * * *", "2026-04-05T00:00", ["05 01:30+11", "06 01:30+10"]),
        ("30 * * * *", "2026-04-05T01:00", ["05 01:30+11", "05 01:30+10", "05 02:30+10"]),
        ("*/15 2 * * *", "2026-04-05T00:00", ["05 02:00+10", "05 02:15+10", "05 02:30+10", "05 02:45+10"]),
        ("15 2 * * *", "2026-10-03T12:00", ["04 02:30+11", "05 02:15+11"]),
        ("0 * * * *", "2026-10-04T01:30", ["04 03:00+11", "04 04:00+11"]),
    ],
)
def test_clock_that_is_put_back_by_half_an_hour(cron: str, after: str, expected: list[str]) -> None:
    """Lord Howe: nothing is lost there and nothing comes twice that should not, where cronsim alone errs."""
    assert shown(schedule(cron, "Australia/Lord_Howe"), after, len(expected)) == expected


def test_nothing_fires_again_that_has_fired_before_the_clock_was_put_back() -> None:
    """In the hour that comes twice, a daily job that ran in the first is not due in the second."""
    between = local("2026-10-25T02:10+01:00")
    assert next(fires(schedule("30 2 * * *"), between)) == local("2026-10-26T02:30")
    assert next(fires(schedule("30 * * * *"), between)) == local("2026-10-25T02:30+01:00")


def test_zone_that_is_not_known_never_fires() -> None:
    """A ledger may be read where a zone is not known: no crash, and no fire at a wrong time."""
    unknown = schedule("0 9 * * *", "UTC").model_copy(update={"time_zone": "America/Coyhaique_New"})
    assert list(fires(unknown, local("2026-03-02 08:00"))) == []
    assert unknown.local(datetime(2026, 3, 2, 9, tzinfo=UTC)).isoformat() == "2026-03-02T09:00:00+00:00"


def changes_of(zone: str) -> list[int]:
    """The days of 2026, from 0, on whose noon (UTC) the clock shows another offset than a day before."""
    place = ZoneInfo(zone)
    noons = [datetime(2026, 1, 1, 12, tzinfo=UTC) + timedelta(days=day) for day in range(365)]
    offsets = [noon.astimezone(place).utcoffset() for noon in noons]
    return [day for day, (before, after) in enumerate(pairwise(offsets), start=1) if before != after]


# Nights in which something changes, and one in which nothing does.
NIGHTS = [(zone, day - 1) for zone in ZONES for day in [*changes_of(zone), 150]]


@settings(max_examples=40)
@given(
    night=st.sampled_from(NIGHTS),
    minute=st.sampled_from(["*/5", "*/7", "*", "0", "15", "0,30", "10-20/5"]),
    hour=st.sampled_from(["*", "*/2", "*/3", "0", "1", "2", "0,3", "1-4"]),
)
def test_fires_are_what_the_clock_shows(night: tuple[str, int], minute: str, hour: str) -> None:
    """Around each such night, looked at minute by minute: exactly the instants at which the clock shows a
    match, or for a job at a time of day, each time of each day once."""
    zone, day = night
    options = schedule(f"{minute} {hour} * * *", zone)
    start = datetime(2026, 1, 1, 12, tzinfo=UTC) + timedelta(days=day)
    end = start + timedelta(days=2)
    found = []
    for at in fires(options, start - timedelta(minutes=1)):
        if at >= end:
            break
        found.append(at)
    assert all(one < other for one, other in pairwise(found))
    place = ZoneInfo(zone)
    minutes = [start + timedelta(minutes=m) for m in range(2 * 1440)]
    walls = [at.astimezone(place).replace(tzinfo=None) for at in minutes]
    one_day = CronSim(options.cron, datetime(2025, 12, 31, 23, 59))  # noqa: DTZ001 (a clock without a zone)
    times = {at.time() for at in islice(one_day, 1440) if at.date() == datetime(2026, 1, 1).date()}  # noqa: DTZ001
    if minute.startswith("*") or hour.startswith("*"):
        assert found == [at for at, wall in zip(minutes, walls, strict=True) if wall.time() in times]
        return
    # Each time that the clock shows counts once, its first showing; what is left out counts when it jumps.
    expected, before = set(), (start - timedelta(minutes=1)).astimezone(place).replace(tzinfo=None)
    highest = max(before, (start - timedelta(hours=3)).astimezone(place).replace(tzinfo=None))
    for at, wall in zip(minutes, walls, strict=True):
        skipped_over = [
            highest + timedelta(minutes=m) for m in range(1, int((wall - highest).seconds / 60) + 1)
        ]
        if wall > highest:
            if any(each.time() in times for each in skipped_over):
                expected.add(at)
            highest = wall
    assert found == sorted(expected)


# --- what is run, what is skipped -------------------------------------------------------------------------

HOURLY = "0 * * * *"


def at(text: str) -> datetime:
    """A time of the day in question, UTC."""
    return datetime.fromisoformat(f"2026-03-02T{text}+00:00")


def test_before_its_time_nothing_is_run() -> None:
    """The next fire is known, and nothing else happens."""
    decision = decide(schedule(HOURLY, "UTC"), at("09:00"), at("09:59:59"))
    assert (decision.run, decision.skipped, decision.next) == (None, (), at("10:00"))


@pytest.mark.parametrize("if_missed", ["skip", "run"])
def test_at_its_time_it_is_run(if_missed: str) -> None:
    """From the very second on, and the fire itself is not to come any more."""
    decision = decide(schedule(HOURLY, "UTC", if_missed=if_missed), at("09:00"), at("10:00"))
    assert (decision.run, decision.skipped, decision.next) == (at("10:00"), (), at("11:00"))


@pytest.mark.parametrize(("now", "runs"), [("10:20", True), ("10:20:01", False)])
def test_within_its_grace_it_is_in_time(now: str, runs: bool) -> None:
    """So long after its time it is still run, and beyond that it is skipped."""
    decision = decide(schedule(HOURLY, "UTC", grace="20m"), at("09:00"), at(now))
    assert decision.run == (at("10:00") if runs else None)
    assert [each.at for each in decision.skipped] == ([] if runs else [at("10:00")])


def test_of_missed_fires_only_the_latest_is_run() -> None:
    """With `run`, the last of a morning's fires is run, late as it is; those before it are skipped."""
    decision = decide(schedule(HOURLY, "UTC", if_missed="run"), at("07:00"), at("10:50"))
    assert decision.run == at("10:00")
    assert [each.at for each in decision.skipped] == [at("08:00"), at("09:00")]
    assert {each.reason for each in decision.skipped} == {"it had not begun when the next one was due"}


def test_two_fires_within_their_grace_are_one_run() -> None:
    """Also with `skip`: the same people would be called twice in a row."""
    decision = decide(schedule("*/10 * * * *", "UTC", grace="30m"), at("09:00"), at("09:25"))
    assert decision.run == at("09:20")
    assert [each.at for each in decision.skipped] == [at("09:10")]


def test_long_ago_is_counted_and_not_told() -> None:
    """After a month of standing still there are no thousands of reports, but their number."""
    now = at("10:30") + timedelta(days=30)
    decision = decide(schedule(HOURLY, "UTC", grace="20m"), at("10:00"), now)
    assert decision.run is None
    assert len(decision.skipped) == MOST_TOLD
    assert decision.skipped[-1].at == at("10:00") + timedelta(days=30)
    assert decision.earlier + len(decision.skipped) == 30 * 24


@settings(max_examples=60)
@given(
    steps=st.lists(st.integers(1, 200), min_size=1, max_size=12),
    if_missed=st.sampled_from(["skip", "run"]),
    cron=st.sampled_from(["*/10 * * * *", HOURLY, "30 2 * * *"]),
    start=st.sampled_from(["2026-03-28T12:00+00:00", "2026-10-24T12:00+00:00"]),
)
def test_every_fire_is_decided_over_once(steps: list[int], if_missed: str, cron: str, start: str) -> None:
    """However often and whenever somebody looks, each fire is run or skipped, once, and in order."""
    options = schedule(cron, if_missed=if_missed)
    since = now = datetime.fromisoformat(start)
    decided: list[datetime] = []
    for minutes in steps:
        now += timedelta(minutes=minutes)
        decision = decide(options, since, now)
        assert decision.earlier == 0
        decided += [each.at for each in decision.skipped]
        decided += [decision.run] if decision.run else []
        since = decided[-1] if decided else since
        if if_missed == "skip" and decision.run:
            assert now - decision.run <= options.grace
    expected = []
    for at in fires(options, datetime.fromisoformat(start)):
        if at > now:
            break
        expected.append(at)
    assert decided == expected


# --- which list -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("people.csv", "people.csv"),
        ("{date}.csv", "2026-03-03.csv"),
        ("{date:%d.%m.%Y}/people-{date:%H%M}.csv", "03.03.2026/people-0015.csv"),
        ("100% {{of}} {date}.csv", "100% {of} 2026-03-03.csv"),
    ],
)
def test_date_is_the_day_where_the_schedule_is(name: str, expected: str) -> None:
    """At a quarter past midnight in Berlin it is the new day's list, though it is still yesterday in UTC."""
    options = schedule("15 0 * * *", list=name)
    assert options.list_of(datetime(2026, 3, 2, 23, 15, tzinfo=UTC)) == expected


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("list", "{day}.csv", "unknown placeholder {day}; there are {date}, as in 2026-03-02, and"),
        ("list", "{date!r}.csv", "unknown placeholder"),
        ("list", "{}.csv", "unknown placeholder {}"),
        ("list", "{date.csv", "has a brace without its other half"),
        ("list", "{date:%Q}.csv", "the form %Q of {date} will not do"),
        ("list", "{date:{date}}.csv", "will not do"),
        ("list", "a\0.csv", "has a character that no file's name has"),
        ("list", "", "at least 1 character"),
        ("cron", "@daily", "expected five fields"),
        ("cron", "0 9 * * * *", "expected five fields"),
        ("cron", "0 24 * * *", "its hour will not do"),
        ("cron", "0 9 31 2 *", "its day of month will not do"),
        ("cron", "0 9 * * FRI-MON", "its day of week will not do"),
        ("time_zone", "Europe/Berln", "write an IANA name such as Europe/Berlin"),
        ("time_zone", "EST5EDT", "write an IANA name such as America/New_York"),
        ("time_zone", "Etc/GMT+5", "is a distance from UTC"),
        ("time_zone", "W. Europe Standard Time", "write an IANA name such as Europe/Berlin"),
        ("if_missed", "later", "'skip' or 'run'"),
        ("grace", "0s", "expected 1m or more"),
    ],
)
def test_what_could_never_fire_is_refused(key: str, value: str, words: str) -> None:
    """With the campaign's file, and not when the time has come and nobody looks."""
    with pytest.raises(ValidationError) as refused:
        ScheduleOptions.model_validate(
            {"cron": "0 9 * * *", "time_zone": "UTC", "list": "people.csv", key: value}, context=FROM_FILE
        )
    assert words in str(refused.value)
