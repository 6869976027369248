"""Where a number's telephone may be."""

import tomllib
from datetime import date
from importlib.resources import files
from zoneinfo import ZoneInfo, available_timezones

import phonenumbers
import pytest
from phonenumbers.timezone import TIMEZONE_DATA

from campaigns.number_zones import number_zones

DATA = tomllib.loads(files("campaigns").joinpath("split_area_codes.toml").read_text("utf-8"))
EAST, CENTRAL, MOUNTAIN, PACIFIC = (
    f"America/{at}" for at in ("New_York", "Chicago", "Denver", "Los_Angeles")
)


@pytest.mark.parametrize(
    ("phone", "expected"),
    [
        ("+14155550100", {PACIFIC}),
        ("+12125550100", {EAST}),
        # Split area codes: whatever the exchange, and the codes that overlay them.
        ("+12195550100", {CENTRAL, EAST}),
        ("+12193624567", {CENTRAL, EAST}),
        ("+18505550100", {CENTRAL, EAST}),
        ("+14485550100", {CENTRAL, EAST}),
        ("+12705550100", {CENTRAL, EAST}),
        ("+13645550100", {CENTRAL, EAST}),
        ("+18125550100", {CENTRAL, EAST}),
        ("+19305550100", {CENTRAL, EAST}),
        ("+14325550100", {CENTRAL, MOUNTAIN}),
        ("+12085550100", {MOUNTAIN, PACIFIC}),
        ("+14585550100", {MOUNTAIN, PACIFIC}),
        ("+19285550100", {MOUNTAIN, "America/Phoenix"}),
        ("+17785550100", {"America/Edmonton", "America/Fort_Nelson", "America/Vancouver"}),
        ("+18095550100", {"America/Santo_Domingo"}),
        # Whoever calls them is connected to anywhere.
        ("+18005550100", set()),
        ("+15005550100", set()),
        ("+19005550100", set()),
        ("+16005550100", set()),
        ("+498001234567", set()),
        ("+448451234567", set()),
        ("+80012345678", set()),
        ("+870301234567", set()),
        # One country, one time, even where libphonenumber names a neighbour's zone.
        ("+4915123456789", {"Europe/Berlin"}),
        ("+541123456789", {"America/Argentina/Buenos_Aires"}),
        ("+37061234567", {"Europe/Vilnius"}),
        ("+919876543210", {"Asia/Kolkata"}),
        ("+212650123456", {"Africa/Casablanca", "Atlantic/Canary"}),
        # Several times: a fixed line has its place, a mobile telephone is anywhere in the country.
        ("+34912345678", {"Europe/Madrid"}),
        ("+34922123456", {"Atlantic/Canary"}),
        ("+34612345678", {"Atlantic/Canary", "Europe/Madrid"}),
        ("+351912345678", {"Atlantic/Azores", "Europe/Lisbon"}),
        ("+61298765432", {"Australia/Lord_Howe", "Australia/Sydney"}),
        ("+74951234567", {"Europe/Moscow"}),
        ("+74012123456", {"Europe/Bucharest", "Europe/Kaliningrad"}),
        ("+8613912345678", {"Asia/Shanghai", "Asia/Urumqi"}),
        ("+77011234567", {"Asia/Almaty"}),
    ],
)
def test_every_zone_where_it_may_be(phone: str, expected: set[str]) -> None:
    """All of them, and none for a number that says nothing of its place."""
    assert number_zones(phone) == expected


@pytest.mark.parametrize(("phone", "first", "last"), [
    ("+61412345678", "Australia/Lord_Howe", "Australia/Perth"),
    ("+5511961234567", "America/Noronha", "America/Rio_Branco"),
    ("+79123456789", "Asia/Magadan", "Europe/Kaliningrad"),
    ("+525512345678", "America/Cancun", "America/Tijuana"),
])  # fmt: skip
def test_a_mobile_telephone_is_anywhere_in_its_country(phone: str, first: str, last: str) -> None:
    """From one end of a wide country to the other."""
    assert {first, last} <= number_zones(phone)


def test_every_area_code_of_the_table_has_a_zone() -> None:
    """No geographic area code of North America is without one, and all that are named are in the database."""
    codes = {prefix[:4] for prefix in TIMEZONE_DATA if len(prefix) >= 4 and prefix[0] == "1"}
    found = {code: number_zones(f"+{code}5550100") for code in codes}
    assert len(codes) > 400
    assert [code for code, zones in found.items() if not zones] == []
    assert set().union(*found.values()) <= available_timezones()


def test_the_table_of_what_is_split_is_sound() -> None:
    """Dated, each prefix once, digits only, of zones that there are; and countries that there are."""
    prefixes = [prefix for each in DATA["split"] for prefix in each["prefixes"]]
    assert len(prefixes) == len(set(prefixes)) > 40
    assert all(prefix.isdecimal() and len(prefix) <= 6 for prefix in prefixes)
    assert all(ZoneInfo(zone).key == zone for each in DATA["split"] for zone in each["zones"])
    assert all(each["where"] for each in DATA["split"])
    assert DATA["as_of"] >= date(2026, 11, 22)
    assert set(DATA["fixed_lines_by_place"]) <= phonenumbers.SUPPORTED_REGIONS
