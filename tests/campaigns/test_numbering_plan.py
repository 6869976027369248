"""What is answered at once is what phonenumbers would answer, and for the rest it is asked."""

import random
import re
from collections.abc import Callable, Iterator

import pytest
from phonenumbers import (
    COUNTRY_CODE_TO_REGION_CODE,
    SUPPORTED_REGIONS,
    PhoneMetadata,
    PhoneNumber,
    PhoneNumberFormat,
    format_number,
)

from campaigns import number_patterns, number_zones, numbering_plan, phone_number, written_number
from campaigns.numbering_plan import as_dialed, line
from campaigns.phone_number import e164

KINDS = (
    *("general_desc", "fixed_line", "mobile", "toll_free", "premium_rate", "shared_cost", "personal_number"),
    *("voip", "pager", "uan", "voicemail", "no_international_dialling"),
)
MARKS = [" ", "-", ".", "/", ",", "x", "+", "\t", "\n", "\u00a0", "\u2011", "\u202a"]
"""What may stand between digits, allowed or not."""


def examples() -> Iterator[tuple[str, str, str, str]]:
    """(region, country code, national prefix, number without both) of every region and kind of number."""
    for code, regions in COUNTRY_CODE_TO_REGION_CODE.items():
        for region in regions:
            plan = PhoneMetadata.metadata_for_region_or_calling_code(code, region)
            assert plan is not None
            kinds = (getattr(plan, kind) for kind in KINDS)
            for number in sorted({kind.example_number for kind in kinds if kind} - {None}):
                yield region, str(code), plan.national_prefix or "0", number


def cells(chance: random.Random) -> Iterator[tuple[str, str | None]]:
    """(cell, default region): right and wrong, from abroad and from home, with and without marks."""

    def digit() -> str:
        return chance.choice("0123456789")

    for region, code, prefix, number in examples():
        place = chance.randrange(len(number))
        for national in (
            number,
            number[:place] + digit() + number[place + 1 :],
            chance.choice((number[:-1], number + digit())),
        ):
            marked = national[:place] + chance.choice(MARKS) + national[place:]
            yield f"+{code}{national}", None
            yield national, region
            yield chance.choice((f"+{code}{prefix}", f"{code}{prefix}", code, f"00{code}")) + national, region
            yield prefix + national, chance.choice((region, region, "US", "DE"))
            yield f"{chance.choice(('', f'+{code}', f'+{code} ({prefix})'))}{marked}", region
    for area in range(200, 1000):
        yield f"({area}) {digit()}55-{digit()}100", "US"
    for country_code in COUNTRY_CODE_TO_REGION_CODE:
        for length in range(4, 13):
            yield f"+{country_code}" + "".join(digit() for _ in range(length)), None


def answer(ask: Callable[..., str], *given: str | None) -> str:
    try:
        return ask(*given)
    except ValueError as problem:
        return str(problem)


def slowly(cell: str, region: str | None) -> str:
    """Without anything that is there to be fast."""
    return phone_number._closely(cell, written_number.read_slowly(cell), region)


def test_each_cell_is_read_as_phonenumbers_reads_it() -> None:
    """The same number, or the same words on why there is none, for twenty thousand cells of all countries."""
    seen = accepted = 0
    for cell, region in cells(random.Random(1)):
        found = answer(e164, cell, region)
        assert (cell, region, found) == (cell, region, answer(slowly, cell, region))
        seen += 1
        accepted += found.startswith("+")
    assert seen > 15_000
    assert 4_000 < accepted < seen - 4_000


def test_each_number_is_in_the_zones_that_phonenumbers_says() -> None:
    """By its region and kind, and no digit that tells a place is left out; also of one that is not valid."""
    compared = 0
    for _, code, _, number in examples():
        for phone in (f"+{code}{number}", f"+{code}{number[:-2]}99", f"+{code}{number[:3]}1234567"):
            if code != "1":  # which goes by the area code alone
                slow = number_zones._zones(number_zones._line_by_phonenumbers(phone), phone[1:])
                assert (phone, number_zones.number_zones(phone)) == (phone, slow)
                compared += 1
    assert compared > 2_000


@pytest.mark.parametrize(
    ("digits", "region", "phone"),
    [
        ("4155550100", "US", "+14155550100"),
        ("14155550100", "US", "+14155550100"),
        ("03023125123", "DE", "+493023125123"),
        ("02079460123", "GB", "+442079460123"),
        ("011961234567", "BR", "+5511961234567"),
        ("9198765432", "IN", "+919198765432"),
        ("919876543210", "IN", "+919876543210"),
        ("0236618300", "IT", "+390236618300"),
        ("01012345678", "KR", "+821012345678"),
        ("1123456789", "AR", "+541123456789"),
    ],
)
def test_what_most_lists_hold_is_certain(digits: str, region: str, phone: str) -> None:
    """It is answered without phonenumbers, which takes twenty times as long."""
    assert as_dialed(digits, region) == phone


@pytest.mark.parametrize(
    ("digits", "region"),
    [
        ("00442079460123", "GB"),  # two readings, of which phonenumbers has both
        ("01144207946", "US"),
        (
            "0111523456789",
            "AR",
        ),  # a mobile telephone as it is dialed there: its digits are put in another order
        ("4155550100", "us"),
        ("", "US"),
    ],
)
def test_what_is_not_certain_is_left_to_phonenumbers(digits: str, region: str) -> None:
    """Nothing is said of it, not even that it is no number."""
    assert as_dialed(digits, region) is None


@pytest.mark.parametrize(
    "digits", ["", "0", "1", "00442079460123", "999123456789", "1" * 40, "4902312512345678"]
)
def test_no_line_of_what_is_none(digits: str) -> None:
    """Too short, too long, of no country, or with a prefix that phonenumbers would take away."""
    assert line(digits) is None


def test_north_american_regions_are_known_by_four_digits() -> None:
    """Which regions may have a number is told from four digits, so few patterns are compiled."""
    for region in COUNTRY_CODE_TO_REGION_CODE[1]:
        plan = PhoneMetadata.metadata_for_region_or_calling_code(1, region)
        assert plan is not None
        begins = re.compile(plan.leading_digits or "")
        for digits in range(10**number_patterns.LONGEST_LEADING):
            four = f"{digits:0{number_patterns.LONGEST_LEADING}}"
            assert bool(begins.match(four)) == bool(begins.match(f"{four}000000"))
            assert bool(begins.match(four)) == bool(begins.match(f"{four}999999"))


def test_a_line_is_what_the_patterns_of_its_regions_say() -> None:
    """The first region whose leading digits the number has decides; other regions' patterns do not count."""

    def plainly(digits: str) -> bool:
        country = number_patterns.country_of(digits[:3])
        if country is None:
            return False
        national = digits[len(country.code) :]
        for region, leading in country.regions:
            if leading is None or leading.match(national):
                whole = number_patterns.kinds_of(country.code, region, len(national)).whole
                if whole and re.match(whole, national):
                    return True
                if leading is not None:
                    return False
        return False

    chance = random.Random(3)
    seen = valid = 0
    for _, code, _, number in examples():
        for _ in range(20):
            place = chance.randrange(len(number) + 1)
            other = number[:place] + chance.choice("0123456789") + number[place + chance.randrange(2) :]
            digits = code + chance.choice((other, other[: place + 1] + number[place + 1 :]))
            assert (digits, numbering_plan.is_line(digits)) == (digits, plainly(digits))
            seen, valid = seen + 1, valid + plainly(digits)
    for area in range(1000):
        for rest in ("2345678", "5550100", "0000000"):
            digits = f"1{area:03}{rest}"
            assert (digits, numbering_plan.is_line(digits)) == (digits, plainly(digits))
    assert 5_000 < valid < seen - 5_000


def test_marks_decide_alike_with_and_without_haste() -> None:
    """Numbers as each region writes them, with its own prefix, and with lost zeros: the slow way agrees."""
    chance = random.Random(5)
    seen = 0
    for region, code, prefix, number in examples():
        if region not in SUPPORTED_REGIONS:
            continue
        national = PhoneNumber(int(code), int(number), italian_leading_zero=number.startswith("0") or None)
        written = format_number(national, PhoneNumberFormat.NATIONAL)
        cells = [
            written,
            f"({written}",
            written.replace(" ", "-"),
            f"{prefix} {written}",
            f"{prefix}{number}",
        ]
        cells += [number.lstrip("0"), f"{number[: chance.randrange(1, 5)]} {number[4:]}", f"{code} {written}"]
        for cell in cells:
            for zeros_lost in (False, True):
                fast = answer(lambda c, r, z=zeros_lost: e164(c, r, zeros_lost=z), cell, region)
                slow = answer(
                    lambda c, r, z=zeros_lost: phone_number._closely(c, written_number.read_slowly(c), r, z),
                    cell,
                    region,
                )
                assert (cell, region, zeros_lost, fast) == (cell, region, zeros_lost, slow)
                seen += 1
    assert seen > 15_000
