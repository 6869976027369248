"""A simulated year of calls to numbers of every kind, counted by a check that shares no code with them."""

import random
import tomllib
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib.resources import files
from zoneinfo import ZoneInfo

import phonenumbers
from phonenumbers import PhoneNumberFormat, PhoneNumberType
from phonenumbers.timezone import (
    TIMEZONE_DATA,
    UNKNOWN_TIMEZONE,
    time_zones_for_geographical_number,
    time_zones_for_number,
)

from campaigns.calling_hours import windows
from campaigns.campaign import Campaign
from campaigns.recipient import Recipient
from campaigns.timing import Timing, Untimely

FIRST = datetime(2026, 3, 2, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
GUID = "10a4c4eb-f57e-4d4c-b602-bf39176ced07"
CAMPAIGN = Campaign.model_validate(
    {
        "name": "year",
        "connect": {"instance_id": GUID, "contact_flow_id": GUID, "source_phone_number": "+14155550199"},
        "calling_hours": {"preset": "us-federal"},
    }
)
SPLIT = {
    prefix: set(each["zones"])
    for each in tomllib.loads(files("campaigns").joinpath("split_area_codes.toml").read_text("utf-8"))[
        "split"
    ]
    for prefix in each["prefixes"]
}
AREA_CODES = sorted(
    {prefix[:4] for prefix in TIMEZONE_DATA if len(prefix) >= 4 and prefix[0] == "1"}
    | {prefix for prefix in SPLIT if prefix[0] == "1"}
)


def numbers() -> set[str]:
    """libphonenumber's example of each kind of number in each region, and numbers of every area code."""
    kinds = PhoneNumberType.values()
    regions = sorted(phonenumbers.SUPPORTED_REGIONS)
    examples = [phonenumbers.example_number_for_type(region, kind) for region in regions for kind in kinds]
    examples += map(
        phonenumbers.example_number_for_non_geo_entity, phonenumbers.COUNTRY_CODES_FOR_NON_GEO_REGIONS
    )
    found = {phonenumbers.format_number(each, PhoneNumberFormat.E164) for each in examples if each}
    return found | {f"+{code}{exchange}0100" for code in AREA_CODES for exchange in (234, 555, 867)}


def places(phone: str) -> set[str]:
    """All zones where the telephone may be, by libphonenumber's own table and by that of what it lacks."""
    found = [zones for prefix, zones in SPLIT.items() if phone[1:].startswith(prefix)]
    if phone[1:5] in AREA_CODES:
        # For exchanges that it does not know the library has but one answer: anywhere with a 1 in front.
        found.append(of_area_code(phone[1:5]))
    else:
        number = phonenumbers.parse(phone)
        main, *_ = phonenumbers.COUNTRY_CODE_TO_REGION_CODE[number.country_code]
        # Of a mobile number the library says: anywhere with that country code. Kazakhstan is not in Russia.
        own = phonenumbers.region_code_for_number(number) == main
        found.append((time_zones_for_number if own else time_zones_for_geographical_number)(number))
    return set().union(*found) - {UNKNOWN_TIMEZONE}


@cache
def of_area_code(code: str) -> set[str]:
    """Whatever the table says of any of its exchanges."""
    return {zone for prefix, zones in TIMEZONE_DATA.items() if prefix.startswith(code) for zone in zones}


def test_a_year_of_calls_rings_nobody_at_night() -> None:
    """In a year no call is permitted before 8 or from 21 h on in any zone that its number may be in, to the
    second; and wherever a number says where it is, there is time to call it on every day."""
    by_zones: defaultdict[tuple[str, ...], set[str]] = defaultdict(set)
    nowhere = set()
    for phone in numbers():
        found = Timing(CAMPAIGN, FIRST).of(Recipient(2, phone, phone, {}, None, {"phone": phone}))
        if isinstance(found, Untimely):
            nowhere.add(phone)
        else:
            by_zones[CAMPAIGN.zones(found[0].zones)] |= places(phone)
    assert len(by_zones) > 200
    # Nobody knows where free numbers and satellites are.
    assert {"+18002345678", "+80012345678", "+870301234567", "+15002345678"} <= nowhere
    assert not {phone for phone in nowhere if phone.startswith("+1") and phone[1:5] in AREA_CODES}

    permitted, wrong = 0, []
    chance = random.Random(5)
    for zones, may_be_in in by_zones.items():
        clocks = [ZoneInfo(zone) for zone in sorted(may_be_in)]
        open_time = timedelta(0)
        instants = [FIRST + chance.random() * timedelta(days=365) for _ in range(20)]
        allowed = [instant for instant in sorted(instants) if CAMPAIGN.timetable.is_open(zones, instant)]
        for window in windows(CAMPAIGN.timetable.rules, zones, FIRST):
            open_time += window.closes - window.opens
            middle = window.opens + chance.random() * (window.closes - window.opens)
            allowed += [window.opens, middle, window.closes - SECOND]
        permitted += len(allowed)
        for clock in clocks:
            wrong += [
                (zones, clock.key, instant)
                for instant in allowed
                if not 8 <= instant.astimezone(clock).hour < 21
            ]
        assert open_time >= timedelta(hours=2 * 365), zones
    assert wrong == []
    assert permitted > 250_000
