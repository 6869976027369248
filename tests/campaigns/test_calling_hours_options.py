"""The [calling_hours] of a campaign's file: what is accepted, and what is said of the rest."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from campaigns.calling_hours import Hours, not_known
from campaigns.campaign import Campaign, read_campaign
from campaigns.mistake import Mistake

GUID = "10a4c4eb-f57e-4d4c-b602-bf39176ced07"
FLOW = "b0b8f2dd-ed1b-4c44-af36-ce189a178181"
QUEUE = "0f7e3a52-6c7b-4d7e-9d7b-0a4c1b2d3e4f"
HEAD = f'name = "r"\n[connect]\ninstance_id = "{GUID}"\ncontact_flow_id = "{FLOW}"\nqueue_id = "{QUEUE}"\n'
NINE_TO_FIVE, ALL_DAY, FEDERAL = ((540, 1020),), ((0, 1440),), ((480, 1260),)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "campaign.toml"


def read(file: Path, lines: str) -> Campaign:
    file.write_text(f"{HEAD}[calling_hours]\n{lines}\n", encoding="utf-8")
    return read_campaign(file)


@pytest.mark.parametrize(
    ("lines", "rules"),
    [
        (
            'weekdays = "9:00-17:00"\nsaturday = "closed"',
            (Hours("calling_hours", (*5 * [NINE_TO_FIVE], (), ())),),
        ),
        (
            'weekdays = "09:00-17:00"\nfriday = ["14:00 - 20:00", "09:00-12:00"]\nweekend = "22:00-02:00"',
            (
                Hours(
                    "calling_hours",
                    (*4 * [NINE_TO_FIVE], ((540, 720), (840, 1200)), ((1320, 1560),), ((1320, 1560),)),
                ),
            ),
        ),
        (
            'monday = "00:00-24:00"\ntime_zone = "europe/berlin"\nholidays = ["de", "US-fl"]',
            (Hours("calling_hours", (ALL_DAY, *6 * [()]), "Europe/Berlin", ("DE", "US-FL")),),
        ),
        ('preset = "us-federal"', (Hours("us-federal", 7 * (FEDERAL,)),)),
        (
            'preset = "us-federal"\nholidays = "US"',
            (
                Hours("calling_hours", 7 * (ALL_DAY,), None, ("US",)),
                Hours("us-federal", 7 * (FEDERAL,)),
            ),
        ),
        (
            'preset = ["us-federal", "us-florida"]\nsunday = "12:00-20:00"',
            (
                Hours("calling_hours", (*6 * [()], ((720, 1200),))),
                Hours("us-federal", 7 * (FEDERAL,)),
                Hours("us-florida", 7 * (((480, 1200),),)),
            ),
        ),
        (
            'preset = "us-florida"\nsunday = "07:00-22:00"\noverride = true',
            (Hours("calling_hours", (*6 * [()], ((420, 1320),))),),
        ),
    ],
)
def test_rules_of_the_file(file: Path, lines: str, rules: tuple[Hours, ...]) -> None:
    """Days, groups of days, several windows, over midnight; presets, narrowed and overridden."""
    campaign = read(file, lines)
    assert campaign.timetable.rules == rules
    # As the ledger keeps it and reads it back.
    assert Campaign.model_validate(campaign.model_dump(mode="json")).timetable.rules == rules


def stored(**hours: object) -> Campaign:
    """As the ledger has kept it, whatever has become of it since."""
    connect = {"instance_id": GUID, "contact_flow_id": GUID, "queue_id": GUID}
    return Campaign.model_validate({"name": "r", "connect": connect, "calling_hours": hours})


MONDAY_NOON = datetime(2026, 3, 2, 17, tzinfo=UTC)  # in New York


def test_stored_choices_are_read_whatever_a_preset_has_become(file: Path) -> None:
    """A preset is narrower in this version than when the file was loaded: both hold, and the file is refused
    when it is read again, as it says something else than what is done."""
    wide = stored(weekdays="07:00-22:00", preset="us-federal")
    new_york = ("America/New_York",)
    assert not wide.timetable.is_open(new_york, MONDAY_NOON.replace(hour=12, minute=30))
    assert wide.timetable.is_open(new_york, MONDAY_NOON)
    with pytest.raises(Mistake, match=r"monday 07:00-22:00 goes beyond us-federal"):
        read(file, 'weekdays = "07:00-22:00"\npreset = "us-federal"')


@pytest.mark.parametrize(
    ("hours", "says"),
    [
        ({"preset": "us-gone"}, "this version does not know the preset us-gone; name another"),
        (
            {"weekdays": "09:00-20:00", "preset": ["us-federal", "us-gone"]},
            "this version does not know the preset us-gone; name another",
        ),
        (
            {"weekdays": "09:00-20:00", "preset": "us-gone", "override": True},
            "this version does not know the preset us-gone; name another",
        ),
        (
            {"weekdays": "09:00-20:00", "holidays": ["US", "US-XX"]},
            "this machine does not know the holidays of US-XX; pip install -U holidays, or correct",
        ),
        (
            {"weekdays": "09:00-20:00", "time_zone": "America/Newzone"},
            "this machine does not know the time zone America/Newzone; pip install -U tzdata",
        ),
    ],
)
def test_what_is_not_known_any_more_is_never_open(hours: dict[str, object], says: str) -> None:
    """A preset, holidays or a zone that this version or machine does not have close the campaign, and it is
    said which; nothing is raised that would keep others from being dialed."""
    campaign = stored(**hours)
    assert campaign.timetable.window(("America/New_York",), MONDAY_NOON) is None
    assert str(not_known(campaign.timetable.rules, ("America/New_York",))).startswith(says)
    assert Campaign.model_validate(campaign.model_dump(mode="json")) == campaign
    assert (campaign.calls_per_day, campaign.calls_per_week) == (None, None)


def test_an_unknown_fallback_closes_those_who_need_it() -> None:
    """Whose zones are known is called all the same."""
    campaign = stored(weekdays="09:00-20:00", fallback_time_zone="America/Newzone")
    assert campaign.timetable.is_open(campaign.zones("America/New_York"), MONDAY_NOON)
    assert campaign.timetable.window(campaign.zones(None), MONDAY_NOON) is None


WINDOW = 'expected a window such as "09:00-20:00", several "09:00-12:00, 14:00-20:00", or "closed"'
OPEN_DAY = '[calling_hours]: names no open day; write for instance weekdays = "09:00-20:00"'
TOO_WIDE = "narrow it, or say override = true if you know that it does not apply"
AT_ONES_PLACE = "us-federal (08:00-21:00 at the called party's location)"
MONDAY = 'monday = "09:00-10:00"\n'


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ('monday = "9-20"', f"[calling_hours] monday: {WINDOW}"),
        ("monday = 9", f"[calling_hours] monday: {WINDOW}"),
        ("monday = true", f"[calling_hours] monday: {WINDOW}"),
        ("monday = [1]", f"[calling_hours] monday: {WINDOW}"),
        ('monday = ""', f"[calling_hours] monday: {WINDOW}"),
        ('monday = "\u0660\u0669:00-20:00"', f"[calling_hours] monday: {WINDOW}"),
        ('monday = "09:60-10:00"', f"[calling_hours] monday: {WINDOW}"),
        ('monday = "24:00-02:00"', f"[calling_hours] monday: {WINDOW}"),
        ('friday = "22:00-26:00"', f"[calling_hours] friday: {WINDOW}"),
        (
            'monday = "09:00-09:00"',
            "[calling_hours] monday: "
            '09:00-09:00 is empty; write "closed", or "00:00-24:00" for the whole day',
        ),
        (
            'weekend = "09:00-12:00, 11:00-14:00"',
            "[calling_hours] weekend: 09:00-12:00 and 11:00-14:00 overlap; make one window of them",
        ),
        (
            'monday = ["23:00-23:30", "22:00-02:00"]',
            "[calling_hours] monday: 22:00-02:00 and 23:00-23:30 overlap; make one window of them",
        ),
        ("", f"{OPEN_DAY}, or leave it out"),
        ('weekdays = "closed"', f"{OPEN_DAY}, or leave it out"),
        (
            'weekdays = "closed"\npreset = "us-federal"',
            f"{OPEN_DAY}, or name no day for the preset's hours",
        ),
        (
            'preset = "us-federal"\noverride = true',
            f"{OPEN_DAY}, which override = true puts in the place of the preset's hours",
        ),
        (f"{MONDAY}override = true", "[calling_hours]: override = true is for a preset, and none is named"),
        (
            f'{MONDAY}time_zone = "europe/berln"',
            "[calling_hours] time_zone: europe/berln is not a time zone; "
            "write an IANA name such as Europe/Berlin",
        ),
        (
            f'{MONDAY}fallback_time_zone = "recipient"',
            "[calling_hours] fallback_time_zone: recipient is not a time zone; "
            "write the IANA name of the place, as Area/City",
        ),
        (
            f'{MONDAY}fallback_time_zone = "UTC"',
            "[calling_hours] fallback_time_zone: UTC is no place's time zone; "
            "write the IANA name of the place, as Area/City",
        ),
        (
            f'{MONDAY}fallback_time_zone = "EST"',
            "[calling_hours] fallback_time_zone: EST names a clock and no place, and only a place says when "
            "there is summer time; write an IANA name such as America/New_York, or America/Panama",
        ),
        (
            f'{MONDAY}time_zone = "GMT+1"',
            "[calling_hours] time_zone: GMT+1 is a distance from UTC, which says nothing of summer time; "
            "write the IANA name of the place, as Area/City, or UTC",
        ),
        (
            f'{MONDAY}holidays = "Germany"',
            "[calling_hours] holidays: "
            'expected a country\'s two letters, such as "US", or with a part of it, "US-FL"',
        ),
        (
            f'{MONDAY}holidays = "GB-ENGL"',
            "[calling_hours] holidays: GB has no part ENGL; did you mean GB-ENG?",
        ),
        (
            f'{MONDAY}holidays = "AT-XX"',
            "[calling_hours] holidays: AT has no part XX; there are: 1, 2, 3, 4, 5, 6, 7, 8, 9",
        ),
        (f'{MONDAY}holidays = "JP-13"', "[calling_hours] holidays: JP has no part 13; there are: none"),
        (f"{MONDAY}holidays = 3", "[calling_hours] holidays: expected a text in quotes, or a list of them"),
        ("preset = 3", "[calling_hours] preset: expected a text in quotes, or a list of them"),
        ("preset = [3]", "[calling_hours] preset: expected a text in quotes"),
        (
            'preset = "us-flroida"',
            "[calling_hours] preset: there is no preset 'us-flroida'; did you mean us-florida?",
        ),
        (
            'preset = ["us-federal", "none"]',
            "[calling_hours] preset: there is no preset 'none'; "
            "there are: us-federal, us-florida, us-debt-collection, canada",
        ),
        (
            'weekdays = "07:00-20:00"\npreset = "us-federal"',
            f"[calling_hours]: monday 07:00-20:00 goes beyond {AT_ONES_PLACE}; {TOO_WIDE}",
        ),
        (
            'saturday = "20:00-02:00"\npreset = "us-federal"',
            f"[calling_hours]: saturday 20:00-02:00 goes beyond {AT_ONES_PLACE}; {TOO_WIDE}",
        ),
        (
            'weekend = "09:00-18:00"\npreset = "canada"',
            "[calling_hours]: saturday 09:00-18:00 goes beyond canada (09:00-21:30 on weekdays, "
            f"10:00-18:00 at weekends, where the person is); {TOO_WIDE}",
        ),
        ('weekday = "09:00-20:00"', "[calling_hours] weekday: unknown key; did you mean weekdays?"),
        (f'{MONDAY}timezone = "UTC"', "[calling_hours] timezone: unknown key; did you mean time_zone?"),
    ],
)
def test_what_is_wrong_is_said_with_what_would_do(file: Path, lines: str, says: str) -> None:
    """The whole message: where, what, and what to write instead; in one line."""
    with pytest.raises(Mistake) as caught:
        read(file, lines)
    assert str(caught.value) == f"{file}: {says}"


def test_the_stricter_limit_of_presets_counts(file: Path) -> None:
    """A preset's calls a day hold beside the campaign's own, unless that is to take their place."""
    assert read(file, 'preset = "us-federal"').calls_per_day is None
    assert read(file, 'preset = "us-florida"').calls_per_day == 3
    assert read(file, 'preset = "us-florida"\n[limits]\nper_number_per_day = 2').calls_per_day == 2
    assert read(file, 'preset = "us-florida"\n[limits]\nper_number_per_day = 9').calls_per_day == 3
    own = f'preset = "us-florida"\noverride = true\n{MONDAY}[limits]\nper_number_per_day = 9'
    assert read(file, own).calls_per_day == 9


def test_a_fallback_is_for_those_of_whom_no_zone_is_known(file: Path) -> None:
    """Whose zones are known is called by them; others by the fallback, or not at all."""
    campaign = read(file, f'{MONDAY}fallback_time_zone = "America/Denver"')
    assert campaign.zones("America/Chicago America/New_York") == ("America/Chicago", "America/New_York")
    assert campaign.zones(None) == ("America/Denver",)
    assert read(file, MONDAY).zones(None) == ()
