"""A cell is called only if every reading of it that a person could mean is the same number."""

import random

import phonenumbers
import pytest

from bench.phone_numbers import ELSEWHERE, WAYS, numbers, outcome
from campaigns.phone_number import e164


def test_no_valid_number_is_taken_for_another() -> None:
    """Numbers of all regions and types, written in eight ways, are accepted as themselves or rejected."""
    chance, another, itself = random.Random(7), [], 0
    regions = sorted(phonenumbers.SUPPORTED_REGIONS)
    for region in regions:
        for number in numbers(region, 0, chance):
            cells = [(write(number), region) for write in WAYS.values()]
            cells += [(WAYS["with a lost +"](number), each) for each in chance.sample(regions, 5)]
            for cell, where in cells:
                became = outcome(cell, where, number)
                itself += became == "itself"
                another += [(cell, where)] if became == "another" else []
    assert ELSEWHERE
    assert another == []
    assert itself > 8_000


@pytest.mark.parametrize(
    ("cell", "region", "reason"),
    [
        ("491711234567", "DE", "49 may be a country code that has lost its +"),
        ("41791234567", "DE", "41 may be a country code that has lost its +"),
        ("23125123", "DE", "has no area code, or has lost its 0"),
        ("331649111", "IT", "may have lost a 0"),
        ("2312512 2312513", "DE", "more than one number"),
        ("030 23125-10..19", "DE", "more than one number"),
        ("030 23125-10-19", "DE", "more than one number"),
        ("030231251231252", "DE", "more than one number"),
        ("0301234503012346", "DE", "more than one number"),
        ("+1 415-555-0100 ::: +1 415-555-0101", "US", "more than one number"),
        ("+1 123 123 12321", "US", "too many digits"),
        ("116562345678", "US", "too many digits"),
        ("+8 (495) 123-45-67", "RU", "there is no +8"),
        ("+84991234567", "RU", "two different numbers"),
        ("+521 55 1234 5678", "MX", "remove that 1"),
        ("+48 (0) 22 512 12 34", "US", "remove (0)"),
        ("+1 (0) 415 555 0100", "US", "remove (0)"),
        ("4,155,550,100", "US", "has thousands separators"),
        ("(436) 234-5678", "US", "has the area code 436, which phonenumbers"),
        ("3235551234", "US", "32 may be a country code"),
    ],
)
def test_what_has_two_readings_is_refused(cell: str, region: str, reason: str) -> None:
    """The reason says what is wrong with it."""
    with pytest.raises(ValueError) as refusal:  # noqa: PT011  # the text is compared below
        e164(cell, region)
    assert reason in str(refusal.value)


@pytest.mark.parametrize(
    ("cell", "region", "phone"),
    [
        ("49 (0)89 123456", "DE", "+4989123456"),
        ("(49) 171 1234567", "DE", "+491711234567"),
        ("41 (0)79 123 45 67", "DE", "+41791234567"),
        ("8 (495) 123-45-68", "RU", "+74951234568"),
        ("(323) 555-1234", "US", "+13235551234"),
        ("+14155550100\v", "US", "+14155550100"),
        ("(55) 3222-1234", "BR", "+555532221234"),
        ("011 15-2345-6789", "AR", "+5491123456789"),
    ],
)
def test_what_marks_make_certain_is_accepted(cell: str, region: str, phone: str) -> None:
    """Marks tell a country code from an area code."""
    assert e164(cell, region) == phone


def test_lost_zeros_are_put_back_where_one_reading_remains() -> None:
    """Only if the operator says so."""
    assert e164("15112345678", "DE", zeros_lost=True) == "+4915112345678"
    assert e164("236618300", "IT", zeros_lost=True) == "+390236618300"
    for cell, region in (("331649111", "IT"), ("491711234567", "DE")):
        with pytest.raises(ValueError, match="two different numbers"):
            e164(cell, region, zeros_lost=True)


def test_where_others_are_marked_digits_alone_are_the_countrys_own() -> None:
    """None is taken for another number, and more are accepted than if a + may be lost."""
    chance, another, marked, unmarked = random.Random(7), [], 0, 0
    for region in sorted(phonenumbers.SUPPORTED_REGIONS):
        for number in numbers(region, 0, chance):
            own = phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
            for cell in {write(number) for write in WAYS.values()}:
                unmarked += outcome(cell, region, number) == "itself"
                try:
                    found = e164(cell, region, others_marked=True)
                except ValueError:
                    continue
                marked += found == own
                another += [(cell, region)] if found != own else []
    assert another == []
    assert marked > unmarked


def test_own_country_codes_are_still_missed_where_others_are_marked() -> None:
    """A lost + of the country itself is no matter of other countries."""
    assert e164("3235551234", "US", others_marked=True) == "+13235551234"
    with pytest.raises(ValueError, match="two different numbers"):
        e164("491711234567", "DE", others_marked=True)
    with pytest.raises(ValueError, match='other_countries = "marked"'):
        e164("3235551234", "US")
