from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from campaigns import plan_view
from campaigns.attempt import AttemptState
from campaigns.campaign import Campaign
from campaigns.ledger import Ledger
from campaigns.ledger.engine import NothingToRead, open_to_read
from campaigns.load import load
from campaigns.plan import Pace, Plan, pace, plan

if TYPE_CHECKING:
    from tests.conftest import Desk

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)  # Monday: 05:00 in Denver, 07:00 in New York
FAST = Pace(1.0, "DIALER_CALLS_PER_SECOND")
NOT_READ = "there is none yet"
HOURS = {"weekdays": "09:00-20:00"}
CAMPAIGN = """
name = "reminders"
[connect]
instance_id = "10a4c4eb-f57e-4d4c-b602-bf39176ced07"
contact_flow_id = "b0b8f2dd-ed1b-4c44-af36-ce189a178181"
source_phone_number = "+14155550199"
[list]
key = "id"
default_region = "US"
[calling_hours]
weekdays = "00:00-24:00"
weekend = "00:00-24:00"
"""


@pytest.fixture
def listed(tmp_path: Path) -> Callable[..., Path]:
    """A list of these rows, whose columns are id, phone, tz and at."""

    def write(*rows: str) -> Path:
        path = tmp_path / "people.csv"
        path.write_text("id,phone,tz,at\n" + "".join(f"{row}\n" for row in rows))
        return path

    return write


def campaign(**tables: Any) -> Campaign:
    """One that reads those columns."""
    connect = {
        "instance_id": "10a4c4eb-f57e-4d4c-b602-bf39176ced07",
        "contact_flow_id": "b0b8f2dd-ed1b-4c44-af36-ce189a178181",
        "source_phone_number": "+14155550199",
    }
    options = {"key": "id", "time_zone": "tz", "default_region": "US"}
    return Campaign.model_validate({"name": "reminders", "connect": connect, "list": options} | tables)


def planned(
    path: Path, ledger: Ledger | str = NOT_READ, now: datetime = NOON, pace: Pace = FAST, **tables: Any
) -> Plan:
    return plan(campaign(**tables), path, ledger, pace, now)


def test_every_row_is_counted_once(listed: Callable[..., Path]) -> None:
    """rows = accepted + duplicates + rejected, with the reasons and their first lines, the most first."""
    found = planned(
        listed("1,3035550101,,", "2,3035550102,,", "1,3035550103,,", "3,12,,", "4,12,,", ",3035550104,,")
    )
    assert (found.rows, found.accepted, found.duplicates_in_list, found.rejected) == (6, 2, 1, 3)
    assert [(each.column, each.rows, each.lines) for each in found.rejections] == [
        ("phone", 2, [5, 6]),
        ("id", 1, [7]),
    ]
    lines = plan_view.in_words(found, 60)
    assert lines[0].endswith("people.csv: 2 accepted, 1 duplicate (1 within the list), 3 rejected")
    assert lines[2].startswith('  2  "phone" ')
    assert lines[2].endswith("(lines 5, 6)")
    assert lines[4].startswith("the ledger was not looked at, for there is none yet: nothing is known")


def test_people_are_shown_by_where_they_are(listed: Callable[..., Path]) -> None:
    """A line for each set of zones, the largest first: open until when, or closed and when it opens."""
    found = planned(
        listed("1,3035550101,,", "2,3035550102,,", "3,2125550103,,", "4,+493012345678,,"),
        calling_hours=HOURS,
    )
    assert [line for line in plan_view.in_words(found, 60) if "2026" not in line][2:6] == [
        "calling hours (calling_hours) of 4 calls:",
        "  2  America/Denver    closed; next 09:00-20:00 (in 4 h)",
        "  1  America/New_York  closed; next 09:00-20:00 (in 2 h)",
        "  1  Europe/Berlin     open until 20:00 (in 7 h); then tomorrow 09:00-20:00",
    ]
    machine = plan_view.as_json(found, 60)["calling_hours"]
    assert machine[2]["open"]
    assert machine[1]["windows"][0] == {
        "opens": "2026-03-02T14:00:00+00:00",
        "closes": "2026-03-03T01:00:00+00:00",
    }


def test_who_may_be_in_several_places_is_called_when_all_are_open(listed: Callable[..., Path]) -> None:
    """The list says Berlin and the number New York: one line for both, and whose clock it tells."""
    found = planned(listed("1,2125550103,Europe/Berlin,"), calling_hours=HOURS)
    assert (
        "  1  America/New_York + Europe/Berlin  closed; next 09:00-14:00 America/New_York (in 2 h)"
        in plan_view.in_words(found, 60)
    )


def test_who_can_never_be_called_is_rejected_with_the_reason(listed: Callable[..., Path]) -> None:
    """A number that tells no place, and no other word of it: as the loader does, not one more way."""
    found = planned(listed("1,8005550101,,", "2,3035550102,,"), calling_hours=HOURS)
    assert (found.accepted, found.rejected, found.never) == (1, 1, 0)
    assert "fallback_time_zone" in found.rejections[0].reason


def test_the_end_is_that_of_the_calling_hours(listed: Callable[..., Path]) -> None:
    """Two people in Denver at a call in half an hour: the second one at ten by their clocks."""
    rows = listed("1,3035550101,,", "2,3035550102,,")
    found = planned(rows, calling_hours=HOURS, pace=Pace(2 / 3600, "[pacing]"))
    assert found.forecast.finishes_at == datetime(2026, 3, 2, 17, 0, tzinfo=UTC)
    (line,) = [line for line in plan_view.in_words(found, 60) if line.startswith("at ")]
    local = datetime(2026, 3, 2, 17, 0, tzinfo=UTC).astimezone()
    assert line == (
        f"at 0.0005556 calls per second (the campaign's own): all dialed {local:%H:%M %Z} (in 5 h)"
    )
    assert plan_view.as_json(found, 60)["forecast"]["calls_per_hour"] == [
        {"hour": "2026-03-02T16:00:00+00:00", "calls": 2.0}
    ]


@pytest.mark.parametrize(
    ("own", "quota", "most", "slowest"),
    [
        (None, 2.0, 10, Pace(10 / 60, "DIALER_MAX_ACTIVE_CALLS")),
        (None, 2.0, 600, Pace(2.0, "DIALER_CALLS_PER_SECOND")),
        (0.1, 2.0, 10, Pace(0.1, "[pacing]")),
    ],
)
def test_the_slowest_of_three_sets_the_pace(
    own: float | None, quota: float, most: int, slowest: Pace
) -> None:
    """The account's rate, the campaign's own, or what calls of a minute at so many at once let through."""
    chosen = campaign(pacing={"calls_per_second": own} if own else {})
    assert pace(chosen, quota, most, timedelta(minutes=1)) == slowest


def test_reminders_are_told_by_the_hour_in_which_they_fall_due(listed: Callable[..., Path]) -> None:
    """Two reminders of one row are two calls, each at its time; nobody is reckoned with before."""
    rows = listed("1,+493012345678,,2026-03-04T15:00", "2,+493012345679,,2026-03-04T15:30")
    found = planned(
        rows, calling_hours=HOURS, reminder={"at": "at", "before": ["24h", "2h"]}, pace=Pace(10.0, "[pacing]")
    )
    due = [datetime(2026, 3, 3, 14, tzinfo=UTC), datetime(2026, 3, 4, 12, tzinfo=UTC)]
    assert (found.accepted, found.calls, found.due_per_hour) == (2, 4, dict.fromkeys(due, 2))
    assert list(found.forecast.per_hour) == due


def test_three_are_shown_as_the_flow_is_given_them(listed: Callable[..., Path]) -> None:
    """Templates are filled in, the numbers are masked, and blanks and marks in a cell can be seen."""
    rows = listed(*(f"{n},303555010{n},,  9:3{n}\u200b" for n in range(1, 6)))
    options = {
        "key": "id",
        "time_zone": "tz",
        "default_region": "US",
        "attributes": {"Text": "At {at}.", "Id": "id"},
    }
    found = planned(rows, list=options)
    lines = plan_view.in_words(found, 60)
    assert [line for line in lines if line.startswith("  line ")] == [
        f'  line {n + 1}, +1303•••010{n}: Text = "At   9:3{n}\\u200b.", Id = "{n}"' for n in (1, 2, 3)
    ]
    assert "what the flow is given, for the first 3 recipients:" in lines
    shown = plan_view.as_json(found, 60)["sample"][0]
    assert (shown["line"], shown["phone"], shown["attributes"]["Id"]) == (2, "+1303•••0101", "1")
    assert "3035550101" not in "\n".join(lines)


@pytest.mark.parametrize(
    ("hours", "rows", "says", "first"),
    [
        (
            {"time_zone": "Asia/Tokyo"},
            ["1,3035550101,,"],
            "by the campaign's clock, Asia/Tokyo",
            "Tue 2026-03-03 09:00",
        ),
        (
            {},
            ["1,3035550101,,", "2,3035550102,,"],
            "by the recipients' clock, America/Denver",
            "Mon 2026-03-02 09:00",
        ),
        (
            {},
            ["1,+493012345678,,", "2,3035550101,,", "3,3035550102,,"],
            "by the clock of most recipients, America/Denver",
            "Mon 2026-03-02 05:00",
        ),
    ],
)
def test_hours_are_told_by_a_clock_that_is_named(
    listed: Callable[..., Path], hours: dict[str, str], rows: list[str], says: str, first: str
) -> None:
    """An hour without its clock is another one for the operator in another office."""
    found = planned(listed(*rows), calling_hours=HOURS | hours)
    lines = plan_view.in_words(found, 60)
    begin = lines.index(f"  calls in each hour, {says}:") + 1
    assert lines[begin].startswith(f"  {first}  ")
    assert says.endswith(plan_view.as_json(found, 60)["shown_in"])


def test_without_any_zone_it_is_this_machines_clock(listed: Callable[..., Path]) -> None:
    """A campaign without calling hours asks for no zones; then that is said."""
    found = planned(listed("1,+870773111632,,"))
    lines = plan_view.in_words(found, 60)
    assert any(line.startswith("  calls in each hour, by this machine's clock, ") for line in lines)
    assert plan_view.as_json(found, 60)["shown_in"] is None


def test_choices_that_cannot_all_hold_are_said_by_plan_and_by_load(
    dialer: Callable[..., Any], tmp_path: Path
) -> None:
    """Before the first call, in words and for machines, and the list is loaded all the same."""
    rule = '[redial]\nmax_attempts = 2\nbusy = "10m"\n[limits]\nper_number_per_day = 1\n'
    (tmp_path / "c.toml").write_text(CAMPAIGN + rule)
    (tmp_path / "people.csv").write_text("id,phone\n1,3035550101\n")
    warning = 'warning: [redial] busy = "10m": no redial comes after that wait'
    for command in ("plan", "load"):
        assert warning in dialer(command, "c.toml", "people.csv").out
        [told] = dialer(command, "c.toml", "people.csv", "--json").json["warnings"]
        assert (told["code"], told["data"]["calls"]) == ("redial_past_limit", 1)


def test_what_the_ledger_has_is_told_apart(desk: "Desk", listed: Callable[..., Path]) -> None:
    """Loaded already, suppressed, or called enough by another campaign; and the state of the campaign."""
    numbers = [f"+1303555010{i}" for i in range(1, 6)]
    people = [replace(p, phone=number) for p, number in zip(desk.people(5), numbers, strict=True)]
    desk.load(desk.campaign("other"), [people[2]])
    desk.start("other")
    desk.bring(desk.claim()[0], AttemptState.ENDED)
    desk.load(desk.campaign(), [people[0]])
    desk.suppress(numbers[1])
    rows = listed(f"key-1,{numbers[0]},,", *(f"new-{n},{number},," for n, number in enumerate(numbers[1:])))
    at = desk.noon + timedelta(hours=1)
    found = planned(rows, desk.ledger, at, limits={"per_number_per_day": 1})
    assert (found.rows, found.already_loaded, found.suppressed, found.accepted) == (5, 1, 1, 3)
    tomorrow = desk.noon + timedelta(days=1)
    assert (found.limited, found.limited_until, found.state) == (1, (tomorrow, tomorrow), "loaded")
    assert found.forecast.finishes_at is not None
    assert found.forecast.finishes_at >= tomorrow
    desk.cancel()
    lines = plan_view.in_words(planned(rows, desk.ledger, at), 60)
    assert any(line.startswith("reminders was cancelled, so dialer load will refuse") for line in lines)


@pytest.mark.parametrize(("hours_until", "late"), [(12, 1), (30, 0)])
def test_a_reminder_that_the_limits_forbid_until_the_appointment_is_counted(
    desk: "Desk", listed: Callable[..., Path], hours_until: int, late: int
) -> None:
    """A number that another campaign has called is not called again before an appointment of today."""
    phone = "+13035550101"
    desk.load(desk.campaign("other"), [replace(desk.people(1)[0], phone=phone)])
    desk.start("other")
    desk.bring(desk.claim()[0], AttemptState.ENDED)
    at = desk.noon + timedelta(hours=hours_until)
    found = planned(
        listed(f"new-1,{phone},,{at.isoformat()}"),
        desk.ledger,
        desk.noon + timedelta(hours=1),
        limits={"per_number_per_day": 1},
        reminder={"at": "at", "before": "2h"},
    )
    assert (found.accepted, found.limited, found.too_late) == (1, 1, late)
    said = [line for line in plan_view.in_words(found, 60) if "1 reminder can never be in time" in line]
    assert len(said) == late


def test_it_says_what_the_loader_then_does(desk: "Desk", listed: Callable[..., Path]) -> None:
    """The same list, planned and then loaded: the same numbers."""
    desk.suppress("+13035550102")
    rows = listed("1,3035550101,,", "1,3035550103,,", "2,3035550102,,", "3,12,,", "4,8005550101,,")
    before = planned(rows, desk.ledger, calling_hours=HOURS)
    loaded = load(desk.ledger, campaign(calling_hours=HOURS), rows, now=NOON).loaded
    assert (loaded.rows, loaded.accepted, loaded.duplicates, loaded.suppressed, loaded.rejected) == (
        before.rows,
        before.accepted,
        before.duplicates_in_list + before.already_loaded,
        before.suppressed,
        before.rejected,
    )
    after = planned(rows, desk.ledger, calling_hours=HOURS)
    assert (after.accepted, after.already_loaded, after.duplicates_in_list) == (0, 2, 1)


def test_a_ledger_to_be_read_cannot_be_written_to(desk: "Desk", ledger_url: str) -> None:
    """Not even by mistake; and one of another version is left as it is."""
    with (
        closing(open_to_read(ledger_url)) as ledger,
        pytest.raises(Exception, match=r"read-?only"),
        ledger.read() as db,
    ):
        db.execute(text("DELETE FROM heartbeats"))
    with desk.ledger.write() as db:
        db.execute(text("UPDATE alembic_version SET version_num = '0003'"))
    with pytest.raises(NothingToRead, match="it is of another version"):
        open_to_read(ledger_url)
    with desk.ledger.read() as db:
        assert db.execute(text("SELECT version_num FROM alembic_version")).scalar() == "0003"


def test_a_plan_touches_nothing(dialer: Callable[..., Any], tmp_path: Path) -> None:
    """No ledger is created, no rejects file, nothing at all; and an existing ledger is left as it is."""
    (tmp_path / "c.toml").write_text(CAMPAIGN)
    (tmp_path / "people.csv").write_text("id,phone\n1,3035550101\n2,12\n")
    said = dialer("plan", "c.toml", "people.csv")
    assert (said.code, said.err) == (0, "")
    assert "2 rows in people.csv: 1 accepted, 1 rejected" in said.out
    assert "the ledger was not looked at, for there is none yet" in said.out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c.toml", "people.csv"]
    dialer("load", "c.toml", "people.csv", "--rejects", "r.csv")
    before = {
        path: (path.stat().st_mtime_ns, path.read_bytes()) for path in tmp_path.rglob("*.*") if path.is_file()
    }
    assert dialer("plan", "c.toml", "people.csv", "--json").json["already_loaded"] == 1
    assert before == {
        path: (path.stat().st_mtime_ns, path.read_bytes()) for path in tmp_path.rglob("*.*") if path.is_file()
    }


def test_a_plan_for_machines(dialer: Callable[..., Any], tmp_path: Path) -> None:
    """One JSON object; the pace that is asked for is the one that is reckoned with."""
    (tmp_path / "c.toml").write_text(CAMPAIGN)
    (tmp_path / "people.csv").write_text("id,phone\n1,3035550101\n")
    found = dialer(
        "plan", "c.toml", "people.csv", "--calls-per-second", "20", "--call-seconds", "1", "--json"
    ).json
    assert found["rows"] == found["accepted"] + found["duplicates"] + found["suppressed"] + found["rejected"]
    assert found["forecast"]["calls_per_second"] == 10.0
    assert found["forecast"]["set_by"] == "DIALER_MAX_ACTIVE_CALLS"
    assert not found["ledger_read"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("c.toml", "none.csv"), "none.csv: there is no such file"),
        (("none.toml", "people.csv"), "none.toml: there is no such file"),
        (("c.toml", "c.toml"), 'has no column "phone"'),
        (("c.toml", "people.csv", "--calls-per-second", "0"), "--calls-per-second"),
    ],
)
def test_mistakes_are_told_in_a_line(
    dialer: Callable[..., Any], tmp_path: Path, arguments: tuple[str, ...], says: str
) -> None:
    """A list or a campaign that is none, and a pace that is none, end with code 2 and what to do."""
    (tmp_path / "c.toml").write_text(CAMPAIGN)
    (tmp_path / "people.csv").write_text("id,phone\n1,3035550101\n")
    said = dialer("plan", *arguments)
    assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
    assert says in said.err
