"""A place's time zone is taken; any other name is refused with the place that it stands for, or with none."""

import zoneinfo
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from babel.core import Locale, get_global

from campaigns.time_zone_hints import places_meant
from campaigns.time_zone_name import iana_zone, is_place
from campaigns.zone_data import zones_of_places

SEASONS = (datetime(2026, 1, 15, tzinfo=UTC), datetime(2026, 7, 15, tzinfo=UTC))
ALL = sorted(zoneinfo.available_timezones())
# fmt: off
CLOCKS_ALONE = [
    "EST", "MST", "HST", "GMT", "GMT0", "GMT+0", "GMT-0", "Greenwich", "UCT", "UTC", "Universal", "Zulu",
    "WET", "CET", "MET", "EET", "EST5EDT", "CST6CDT", "MST7MDT", "PST8PDT", "Factory", "localtime",
]
# fmt: on


def offsets(zone: str) -> tuple[object, ...]:
    return tuple(at.astimezone(ZoneInfo(zone)).utcoffset() for at in SEASONS)


def refusal(text: str, *, utc: bool = False) -> str:
    with pytest.raises(ValueError, match="write") as refused:
        iana_zone(text, utc=utc)
    return str(refused.value)


@pytest.mark.parametrize("zone", zones_of_places())
def test_the_zone_of_each_country_is_taken(zone: str) -> None:
    """Every zone that the database has for a place is one, however its letters are written."""
    assert iana_zone(f" {zone.upper()} ") == zone


def test_older_names_of_places_are_taken() -> None:
    """Lists go on saying Asia/Calcutta, US/Eastern and Japan; these are the clocks of places."""
    older = [zone for zone in ALL if zone not in CLOCKS_ALONE and not zone.startswith("Etc/")]
    assert [iana_zone(zone) for zone in older] == older
    assert {"Asia/Calcutta", "US/Eastern", "US/Arizona", "Japan", "GB", "Europe/Kiev"} <= set(older)


@pytest.mark.parametrize("zone", [*CLOCKS_ALONE, *(each for each in ALL if each.startswith("Etc/"))])
def test_the_clock_of_no_place_is_refused(zone: str) -> None:
    """A name that stands for an offset, or for a rule, says nothing of where the recipient is."""
    assert not is_place(zone)
    assert "IANA name" in refusal(zone)
    assert refusal(zone.lower()).partition(";")[2] == refusal(zone).partition(";")[2]


def test_all_other_names_of_the_database_are_places_with_its_clock() -> None:
    """No name is taken whose clock is not that of a place that people live in."""
    clocks = {offsets(zone) for zone in zones_of_places()}
    assert {zone for zone in ALL if is_place(zone) and offsets(zone) not in clocks} == set()


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("EST", ("America/New_York", "America/Panama")),
        ("MST", ("America/Denver", "America/Phoenix")),
        ("HST", ("Pacific/Honolulu", "America/Adak")),
        ("EST5EDT", ("America/New_York", "America/Panama")),
        ("EDT5", ("America/New_York",)),
        ("AEST", ("Australia/Sydney", "Australia/Brisbane")),
        ("NZDT", ("Pacific/Auckland",)),
        ("Eastern Time (US & Canada)", ("America/New_York", "America/Panama")),
        ("(UTC-08:00) Pacific Time (US & Canada)", ("America/Los_Angeles",)),
        ("(UTC+01:00) Amsterdam, Berlin, Bern", ("Europe/Amsterdam", "Europe/Berlin")),
        ("W. Europe Standard Time", ("Europe/Berlin",)),
        ("GMT Standard Time", ("Europe/London",)),
        ("US Mountain Standard Time", ("America/Phoenix",)),
        ("PT", ("America/Los_Angeles",)),
        ("Central", ("America/Chicago", "America/Mexico_City")),
        ("MEZ", ("Europe/Berlin", "Africa/Algiers")),
        ("Arizona", ("America/Phoenix",)),
        ("america/new york", ("America/New_York",)),
        ("New York", ("America/New_York",)),
        ("Europe/Zürich", ("Europe/Zurich",)),
        ("Europe/Berln", ("Europe/Berlin",)),
        ("Japan Standard Time", ("Asia/Tokyo",)),
        ("Germany", ("Europe/Berlin",)),
        ("Georgia", ()),
        ("Asia/New_York", ()),
        ("Berln", ()),
        ("Yew Nork", ()),
        ("x" * 5_000, ()),
        ("", ()),
    ],
)
def test_hints(text: str, places: tuple[str, ...]) -> None:
    """The places that go by what was written; none is guessed from letters that look alike."""
    assert places_meant(text) == places


@pytest.mark.parametrize("text", ["GMT", "gmt0", "Greenwich", "Greenwich Mean Time", "BST"])
def test_gmt_is_first_of_all_that_of_london(text: str) -> None:
    """Those who write GMT live by the clock of London; in summer that is another one."""
    assert places_meant(text)[0] == "Europe/London"


def test_ist_is_of_three_countries() -> None:
    """An abbreviation that several places use names them all, and leaves the choice to the operator."""
    assert set(places_meant("IST")) == {"Asia/Kolkata", "Asia/Jerusalem", "Europe/Dublin"}


@pytest.mark.parametrize(
    "text",
    [
        "GMT-5",
        "GMT+1",
        "UTC+1",
        "utc-03:30",
        "-05:00",
        "+0530",
        "Etc/GMT+5",
        "UTC + 2",
        "−3",
        "+1h",
    ],
)
def test_an_offset_has_no_place(text: str) -> None:
    """An offset is that of many places, of which some have summer time: none is proposed."""
    assert "says nothing of summer time; write the IANA name of the place" in refusal(text)
    assert "such as" not in refusal(text)


def test_each_name_of_windows_leads_to_its_place() -> None:
    """What Outlook and Excel call a zone is answered with CLDR's place for it, in winter and in summer."""
    windows = {name: zone for name, zone in get_global("windows_zone_mapping").items() if is_place(zone)}
    assert len(windows) > 120
    wrong = {
        name: places_meant(name)
        for name, zone in windows.items()
        if offsets((places_meant(name) or ("Etc/UTC",))[0]) != offsets(zone)
    }
    assert wrong == {}


@pytest.mark.parametrize("language", ["en", "en_AU", "en_GB", "en_IN", "de", "es", "fr", "it", "nl", "pt"])
def test_each_name_of_cldr_leads_to_a_place_with_that_clock(language: str) -> None:
    """A name that CLDR has for a clock is never answered with a place that has another clock."""
    clock_of = get_global("meta_zones")
    locale, wrong = Locale.parse(language), {}
    meant: dict[str, set[str]] = {}
    for clock, names in locale.meta_zones.items():
        for name in names.get("long", {}).values():
            meant.setdefault(name, set()).add(clock)
    for name, clocks in meant.items():
        offsets_meant = {offsets(zone) for zone, clock in clock_of.items() if clock in clocks}
        # What Windows and CLDR both have is answered as Windows has it.
        if name not in get_global("windows_zone_mapping") and any(
            offsets(place) not in offsets_meant for place in places_meant(name)
        ):
            wrong[name] = places_meant(name)
    assert wrong == {}
    assert len(meant) > 100


def test_each_abbreviation_of_the_database_leads_to_places_that_show_it() -> None:
    """EDT, AEST, WIB: the place that is named shows these letters in one half of the year or in the other."""
    shown: dict[str, set[str]] = {}
    for zone in zones_of_places():
        for at in SEASONS:
            shown.setdefault(at.astimezone(ZoneInfo(zone)).tzname() or "", set()).add(zone)
    abbreviations = {name: zones for name, zones in shown.items() if name.isalpha()}
    assert len(abbreviations) > 40
    wrong = {
        name: places_meant(name)
        for name, zones in abbreviations.items()
        if not places_meant(name) or not set(places_meant(name)) <= zones
    }
    assert wrong == {}


@pytest.mark.parametrize("text", ["UTC", "utc", " Etc/UTC "])
def test_utc_is_a_clock_that_an_operator_may_choose(text: str) -> None:
    """UTC means one thing to those who write it: for a schedule it is taken, for a recipient it is not."""
    assert iana_zone(text, utc=True).endswith("UTC")
    assert "is no place's time zone" in refusal(text)


@pytest.mark.parametrize("text", ["Zulu", "GMT", "Etc/GMT", "Etc/GMT+5", "EST", "UTC+1"])
def test_no_other_clock_is_taken_for_utc(text: str) -> None:
    """Those who write GMT for London mean summer time, too."""
    assert "write" in refusal(text, utc=True)
