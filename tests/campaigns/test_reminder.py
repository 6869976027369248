import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from campaigns.campaign import Campaign, read_campaign
from campaigns.mistake import Mistake
from campaigns.recipient import Recipient
from campaigns.reminder import LONGEST_KEY, appointment, appointment_time, calls_before
from campaigns.timing import Timing, Untimely

MONDAY = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
SAN_FRANCISCO, NEW_YORK, INDIANA, TOLL_FREE = "+14155550101", "+12125550103", "+12195550104", "+18005550105"
OFFICE = {"weekdays": "09:00-20:00"}


def campaign(
    before: str | list[str] = "24h", hours: dict[str, Any] | None = None, **options: str
) -> Campaign:
    connect = {
        "instance_id": "10a4c4eb-f57e-4d4c-b602-bf39176ced07",
        "contact_flow_id": "b0b8f2dd-ed1b-4c44-af36-ce189a178181",
        "source_phone_number": "+14155550199",
    }
    reminder = {"at": "appointment_at", "before": before, **options}
    tables = {"name": "r", "connect": connect, "reminder": reminder}
    return Campaign.model_validate(tables | ({"calling_hours": hours} if hours is not None else {}))


def person(cell: str, phone: str = SAN_FRANCISCO, time_zone: str | None = None) -> Recipient:
    return Recipient(2, "A-17", phone, {}, time_zone, {"phone": phone, "Appointment_At ": cell})


def called(made_by: Campaign, who: Recipient, now: datetime = MONDAY) -> list[tuple[str, datetime, datetime]]:
    """(key, due, expires) of each recipient that the loader makes of a row."""
    found = Timing(made_by, now).of(who)
    assert not isinstance(found, Untimely), found.reason
    return [(each.key, each.due_at, each.expires_at) for each in found if each.due_at and each.expires_at]


def refused(made_by: Campaign, who: Recipient, now: datetime = MONDAY) -> Untimely:
    found = Timing(made_by, now).of(who)
    assert isinstance(found, Untimely)
    return found


def there(zone: str, *wall: int) -> datetime:
    return datetime(*wall, tzinfo=ZoneInfo(zone))  # type: ignore[arg-type, misc]


@pytest.mark.parametrize(
    "cell",
    ["2026-11-24T14:30", " 2026-11-24 14:30 ", "2026-11-24T14:30:00", "2026-11-24 14:30:00.0000000"],
)
def test_a_time_without_an_offset_is_by_the_recipients_clock(cell: str) -> None:
    """Half past two is half past two where the number is, however ISO 8601 writes it."""
    assert called(campaign(), person(cell)) == [
        (
            "A-17",
            there("America/Los_Angeles", 2026, 11, 23, 14, 30),
            there("America/Los_Angeles", 2026, 11, 24, 14, 30),
        )
    ]


@pytest.mark.parametrize("offset", ["Z", "+00:00", "+0000", "+00", " +00:00"])
def test_an_offset_is_obeyed(offset: str) -> None:
    """With an offset it is that instant, wherever the recipient is."""
    ((_, due, expires),) = called(campaign("2h"), person(f"2026-11-24T14:30{offset}"))
    assert (due, expires) == (
        datetime(2026, 11, 24, 12, 30, tzinfo=UTC),
        datetime(2026, 11, 24, 14, 30, tzinfo=UTC),
    )


def test_the_campaigns_own_form_is_read() -> None:
    """With `format` the column is read as it says, and as nothing else."""
    made_by = campaign(format="%d.%m.%Y %H:%M")
    ((_, _, expires),) = called(made_by, person("11.12.2026 14:30"))
    assert expires == there("America/Los_Angeles", 2026, 12, 11, 14, 30)
    assert refused(made_by, person("2026-12-11T14:30")).reason == (
        "is not written as [reminder] format says (%d.%m.%Y %H:%M); expected for instance 23.11.2026 14:30"
    )


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        (
            "11/12/2026 2pm",
            "is not a date and time in ISO 8601; write for instance 2026-11-23T14:30, or name",
        ),
        ("2026-11-24T2:30", "is not a date and time in ISO 8601"),
        ("2026-11-24T02:30 PM", "is not a date and time in ISO 8601"),
        ("20261124T1430", "is not a date and time in ISO 8601"),
        ("2026-11-24", "has no time of day; write for instance 2026-11-23T14:30"),
        ("2026-11-31T10:00", "is no day and time that there is; correct it"),
        ("2026-11-24T24:00", "is no day and time that there is; correct it"),
        ("9999-12-31T23:59-12:00", "is in the year 9999; correct it"),
        ("  ", "is empty; fill in the time of the appointment"),
        ("2026-11-23T03:59", "is over; nobody is called for it any more"),
    ],
)
def test_a_time_that_is_none_is_rejected(cell: str, reason: str) -> None:
    """Nothing is guessed: the row is rejected, with the header's column and what is expected there."""
    found = refused(campaign(), person(cell))
    assert (found.column, found.reason[: len(reason)]) == ("Appointment_At ", reason)


@pytest.mark.parametrize(
    ("hours", "options", "phone", "column", "zone"),
    [
        (None, {}, NEW_YORK, "America/Denver", "America/Denver"),
        (None, {"time_zone": "Europe/Berlin"}, NEW_YORK, "America/Denver", "Europe/Berlin"),
        (OFFICE | {"time_zone": "America/Denver"}, {}, NEW_YORK, None, "America/New_York"),
        (OFFICE | {"time_zone": "America/Denver"}, {}, INDIANA, None, "America/Denver"),
        (OFFICE | {"fallback_time_zone": "America/Denver"}, {}, TOLL_FREE, None, "America/Denver"),
    ],
    ids=["the list's column", "the reminder's zone", "the number", "hours' zone", "fallback"],
)
def test_whose_clock_it_is(
    hours: dict[str, Any] | None, options: dict[str, str], phone: str, column: str | None, zone: str
) -> None:
    """The reminder's zone, the list's column, the number's if it has one, the campaign's: in this order."""
    ((_, _, expires),) = called(campaign("2h", hours, **options), person("2026-11-24T14:30", phone, column))
    assert expires == there(zone, 2026, 11, 24, 14, 30)


def test_a_clock_that_nobody_can_tell_is_rejected() -> None:
    """Where the number may be in two zones and nothing else tells them apart, the row says what to add."""
    assert refused(campaign(), person("2026-11-24T14:30", INDIANA)).reason == (
        "may stand for more than one time, by the clock of America/Chicago or America/New_York; write the "
        "offset (2026-11-23T14:30-05:00), or name a time_zone in [reminder], or a column with it in [list]"
    )
    assert (
        "a time zone of which nothing is known"
        in refused(campaign(), person("2026-11-24T14:30", TOLL_FREE)).reason
    )


def test_zones_with_one_clock_are_one() -> None:
    """A number of Britain, which is in London, Jersey or the Isle of Man, is no riddle."""
    ((_, _, expires),) = called(campaign(), person("2026-11-24T14:30", "+447400123456"))
    assert expires == datetime(2026, 11, 24, 14, 30, tzinfo=UTC)


def test_an_hour_that_is_not_there_or_comes_twice_is_rejected() -> None:
    """In a night in which the clocks change, a time that is left out or comes twice needs its offset."""
    now = datetime(2026, 3, 1, tzinfo=UTC)
    assert refused(campaign(), person("2026-03-08T02:30"), now).reason == (
        "is left out by the clock of America/Los_Angeles, which is put forward then; correct it"
    )
    assert refused(campaign(), person("2026-11-01T01:30"), now).reason == (
        "comes twice by the clock of America/Los_Angeles, which is put back then; "
        "write which one: 2026-11-01T01:30:00-07:00 or 2026-11-01T01:30:00-08:00"
    )
    ((_, _, expires),) = called(campaign(), person("2026-11-01T01:30-08:00"), now)
    assert expires == datetime(2026, 11, 1, 9, 30, tzinfo=UTC)


def test_a_day_before_is_24_hours_before() -> None:
    """`1d` is `24h`, also over a night in which the clocks change."""
    now = datetime(2026, 3, 1, tzinfo=UTC)
    for before in ("24h", "1d"):
        ((_, due, _),) = called(campaign(before), person("2026-03-08T12:00"), now)
        assert due == there("America/Los_Angeles", 2026, 3, 7, 11, 0)


def test_several_reminders_are_several_recipients() -> None:
    """Each has a key of its own, and the earlier one is over when the later one is due."""
    found = Timing(campaign(["2h", "1d"]), MONDAY).of(person("2026-11-24T14:30"))
    assert isinstance(found, list)
    appointment = there("America/Los_Angeles", 2026, 11, 24, 14, 30)
    day, hours = appointment - timedelta(hours=24), appointment - timedelta(hours=2)
    assert [
        (each.key, each.reminder, each.due_at, each.expires_at, each.appointment_at) for each in found
    ] == [
        ("A-17 24h", "24h", day, hours, appointment),
        ("A-17 2h", "2h", hours, appointment, appointment),
    ]


def test_a_closed_hour_moves_the_call_to_the_evening_before() -> None:
    """Two hours before half past nine is closed: the call comes in the last open hour before that."""
    ((_, due, expires),) = called(campaign("2h", OFFICE), person("2026-11-25T09:30", NEW_YORK))
    assert due == there("America/New_York", 2026, 11, 24, 19, 0)
    assert expires == there("America/New_York", 2026, 11, 25, 9, 30)


def test_the_evening_before_goes_over_the_weekend() -> None:
    """Before a Monday morning it is the Friday evening, and of two reminders that meet there one is made."""
    found = called(campaign(["24h", "2h"], OFFICE), person("2026-11-30T09:30", NEW_YORK))
    assert found == [
        (
            "A-17 2h",
            there("America/New_York", 2026, 11, 27, 19, 0),
            there("America/New_York", 2026, 11, 30, 9, 30),
        )
    ]


def test_a_list_that_comes_late_reminds_at_once() -> None:
    """A reminder whose time has passed is due until the next one is; of several the current one is made."""
    made_by, who = campaign(["24h", "2h"], OFFICE), person("2026-11-24T14:30", NEW_YORK)
    appointment = there("America/New_York", 2026, 11, 24, 14, 30)
    assert [key for key, _, _ in called(made_by, who, appointment - timedelta(hours=20))] == [
        "A-17 24h",
        "A-17 2h",
    ]
    assert [key for key, _, _ in called(made_by, who, appointment - timedelta(hours=2))] == ["A-17 2h"]
    ((_, due, _),) = called(made_by, who, appointment - timedelta(minutes=1))
    assert due == appointment - timedelta(hours=2)
    assert refused(made_by, who, appointment).reason == "is over; nobody is called for it any more"


def test_no_open_hour_left_is_said_at_load() -> None:
    """A list that comes in the night before an appointment at opening time is too late for its row."""
    night = there("America/New_York", 2026, 11, 23, 21, 0)
    assert refused(campaign("24h", OFFICE), person("2026-11-24T09:00", NEW_YORK), night).reason == (
        "has no calling hour left before it; call by hand, or widen [calling_hours]"
    )
    assert len(called(campaign("24h", OFFICE), person("2026-11-24T09:01", NEW_YORK), night)) == 1


def test_a_key_leaves_room_for_what_is_put_behind_it() -> None:
    """The ledger keeps 255 characters; a longer key is rejected, and does not fail the load."""
    long = replace(person("2026-11-24T14:30"), key="k" * (LONGEST_KEY + 1))
    assert refused(campaign(), long).reason == (
        "has a key of 221 characters, and with [reminder] it has 220 at most; shorten the key"
    )
    assert len(called(campaign(), replace(long, key="k" * LONGEST_KEY))) == 1


def test_a_list_without_the_column_is_a_mistake_of_the_row() -> None:
    """Nobody is called at once because the time of the appointment is not there."""
    with pytest.raises(
        ValueError, match='is without the column "appointment_at", which \\[reminder\\] at names'
    ):
        appointment(campaign(), replace(person("x"), row={"phone": "x"}))


@given(
    st.integers(0, 512_640).map(lambda minutes: MONDAY - timedelta(days=318) + timedelta(minutes=minutes)),
    st.sets(st.integers(1, 80 * 60).map(lambda minutes: timedelta(minutes=minutes)), min_size=1, max_size=4),
    st.sets(st.sampled_from(["America/New_York", "America/Denver", "Europe/Berlin"]), min_size=1),
)
def test_calls_are_early_open_and_apart(
    appointment: datetime, befores: set[timedelta], zones: set[str]
) -> None:
    """Each call is due in an open hour, never later than asked, and before the next one."""
    hours = {"weekdays": "09:00-20:00", "saturday": "10:00-11:00, 15:30-18:00"}
    rules = campaign(hours=hours).timetable.rules
    calls = calls_before(befores, appointment, rules, sorted(zones))
    assert calls[-1].expires_at == appointment
    assert [call.expires_at for call in calls[:-1]] == [call.due_at for call in calls[1:]]
    for call in calls:
        assert call.due_at <= appointment - call.before
        assert call.due_at < call.expires_at
        for zone in zones:
            here = call.due_at.astimezone(ZoneInfo(zone))
            minute = here.hour * 60 + here.minute
            saturday = 600 <= minute < 660 or 930 <= minute < 1080
            assert saturday if here.weekday() == 5 else here.weekday() < 5 and 540 <= minute < 1200
    # None of the latest is lost: only what would come no earlier than the next one is left out.
    assert calls[-1].before == min(befores)


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        ("24h", "24h"),
        ("1d", "24h"),
        ("90m", "90m"),
        ("48h", "48h"),
        ("7d", "7d"),
        ("120s", "2m"),
        ("45s", "45s"),
    ],
)
def test_a_reminder_is_called_by_its_time(before: str, expected: str) -> None:
    """However the file writes it, one reminder has one name."""
    (_, name) = campaign([before, "1s"]).reminder.names.values()  # type: ignore[union-attr]
    assert name == "1s"
    (name, _) = campaign([before, "1s"]).reminder.names.values()  # type: ignore[union-attr]
    assert name == expected


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('before = "0h"', 'before: expected a time before the appointment, such as "24h"'),
        ("before = []", 'before: expected one, such as "24h", or up to ten, such as ["24h", "2h"]'),
        ('before = "soon"', "before: expected a duration such as 30s, 10m, 2h or 1d"),
        (
            'before = "2h"\nformat = "%d.%m.%Y"',
            "format: expected a form with the day, its year, and the time",
        ),
        (
            'before = "2h"\nformat = "%d.%m. %H:%M"',
            "format: expected a form with the day, its year, and the time",
        ),
        ('before = "2h"\nformat = "%m/%d/%Y %I:%M"', "format: expected a form with the day, its year, and"),
        ('before = "2h"\nformat = "%c"', "format: expected a form with the day, its year, and the time"),
        (
            'before = "2h"\nformat = "%d.%m.%Y %H:%M %Z"',
            "format: %Z, a zone's name, cannot be read for certain",
        ),
        ('before = "2h"\ntime_zone = "Berlin"', "time_zone: Berlin is not a time zone"),
        ('before = "2h"\nwhen = "x"', "when: unknown key"),
    ],
)
def test_a_wrong_table_is_told_in_one_line(tmp_path: Path, line: str, message: str) -> None:
    """What cannot be a reminder is refused before anybody is loaded, with what would do."""
    path = tmp_path / "c.toml"
    connect = campaign().connect
    path.write_text(
        f'name = "r"\n[connect]\ninstance_id = "{connect.instance_id}"\n'
        f'contact_flow_id = "{connect.contact_flow_id}"\nsource_phone_number = "+14155550199"\n'
        f'[reminder]\nat = "when"\n{line}\n'
    )
    with pytest.raises(Mistake) as raised:
        read_campaign(path)
    assert f"{path}: [reminder] {message}" in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "written", ["%d.%m.%y %Hh", "%A, %d %B %Y %I:%M %p", "%Y%m%d%H%M", "%d.%m.%Y %H:%M %z"]
)
def test_a_form_that_can_be_read_back_is_taken(written: str) -> None:
    """Any strptime form with day, year and time will do."""
    shown = datetime(2026, 11, 23, 14, 0, tzinfo=UTC).strftime(written)
    assert appointment_time(shown, campaign(format=written).reminder.format).hour == 14  # type: ignore[union-attr]


def test_at_is_needed() -> None:
    """A [reminder] without its column is none."""
    with pytest.raises(ValidationError, match=r"reminder\.at"):
        Campaign.model_validate(campaign().model_dump() | {"reminder": {"before": "2h"}})


@pytest.mark.parametrize(
    "cell",
    [
        "\u200e2026-11-24 14:30",
        "2026-11-24\u00a014:30",
        "2026-11-24\u202f14:30\u200f",
        "\ufeff2026-11-24  14:30",
        "\u20682026-11-24T14:30\u2069",
        "2026-11-\u00ad24\u300014:30",
    ],
)
def test_marks_that_are_not_seen_count_for_nothing(cell: str) -> None:
    """A cell that looks like a time is that time, whatever copying has left in it."""
    assert called(campaign(), person(cell)) == called(campaign(), person("2026-11-24 14:30"))
    own = campaign(format="%Y-%m-%d %H:%M")
    if "T" not in cell:
        assert called(own, person(cell)) == called(own, person("2026-11-24 14:30"))


def test_an_hour_of_one_digit_is_that_hour() -> None:
    """Spreadsheets write 9:05 for 09:05."""
    for late, early in (
        ("2026-11-24 9:05", "2026-11-24 09:05"),
        ("2026-11-24 9:05:30", "2026-11-24 09:05:30"),
    ):
        assert called(campaign(), person(late)) == called(campaign(), person(early))


def in_columns(**cells: str) -> Recipient:
    return Recipient(2, "A-17", SAN_FRANCISCO, {}, None, {"phone": SAN_FRANCISCO} | cells)


def test_a_day_and_a_time_in_two_columns() -> None:
    """`at` is a text that several columns make together, in ISO 8601 or as `format` says."""
    expected = called(campaign(), person("2026-11-24T09:05"))
    both = campaign(at="{Appt Date} {appt time}")
    row = {" appt  date": "\u200e2026-11-24", "Appt\nTime": " 9:05 "}
    assert called(both, in_columns(**row)) == expected
    american = campaign(at="{day} {hour}", format="%m/%d/%Y %I:%M %p")
    assert called(american, in_columns(day="11/24/2026", hour="9:05\u202fAM")) == expected


@pytest.mark.parametrize(
    ("day", "hour", "column", "reason"),
    [
        ("2026-11-24", "", "hour", "has no time of day"),
        ("", "9:05", "day", "is not a date and time"),
        ("", "\u00a0", "day", "is empty"),
        ("2026-11-24", "9am", "day", "is not a date and time"),
    ],
)
def test_a_part_that_lacks_is_named(day: str, hour: str, column: str, reason: str) -> None:
    """The column to correct is the empty one, or the first."""
    found = refused(campaign(at="{day} {hour}"), in_columns(day=day, hour=hour))
    assert (found.column, found.reason[: len(reason)]) == (column, reason)


@pytest.mark.parametrize("at", ["{day", "}", "{}", "{{day}}"])
def test_a_template_without_columns_is_a_mistake(at: str) -> None:
    """It is said when the campaign is read, not for each row."""
    with pytest.raises(ValidationError):
        campaign(at=at)


@pytest.mark.parametrize(
    ("cell", "written"),
    [("03.12.2026 14:30", "%d.%m.%Y %H:%M"), ("4.12.2026 9:05:00", "%d.%m.%Y %H:%M:%S")],
)
def test_a_date_with_dots_is_told_its_format(cell: str, written: str) -> None:
    """The format that the reason names reads the cell; with strokes day and month may be either."""
    with pytest.raises(ValueError, match=re.escape(f'or format = "{written}" in [reminder]')):
        appointment_time(cell)
    assert appointment_time(cell, written).day == int(cell.split(".")[0])
    with pytest.raises(ValueError, match=r"or name \[reminder\] format$"):
        appointment_time("03/12/2026 14:30")
