"""Every telephone that a cell of a do-not-call list may mean."""

import random
from collections.abc import Callable, Iterator

import phonenumbers
import pytest
from phonenumbers import PhoneMetadata, PhoneNumber, PhoneNumberFormat, PhoneNumberType

from campaigns import every_reading as module
from campaigns.every_reading import every_reading
from campaigns.same_telephone import forms

REGIONS = sorted(phonenumbers.SUPPORTED_REGIONS)
TYPES = (PhoneNumberType.FIXED_LINE, PhoneNumberType.MOBILE, PhoneNumberType.VOIP, PhoneNumberType.UAN)


def e164_of(number: PhoneNumber) -> str:
    return phonenumbers.format_number(number, PhoneNumberFormat.E164)


def numbers_of(region: str) -> Iterator[PhoneNumber]:
    """Valid numbers of a region: its examples, and others that differ in their last digits."""
    chance = random.Random(region)
    for kind in TYPES:
        example = phonenumbers.example_number_for_type(region, kind)
        if example is None or len(e164_of(example)) > 16:
            continue
        yield example
        for _ in range(3):
            digits = e164_of(example)
            other = phonenumbers.parse(f"{digits[:-3]}{chance.randrange(1_000):03}", None)
            if phonenumbers.is_valid_number(other) and len(e164_of(other)) <= 16:
                yield other


def nsn(number: PhoneNumber) -> str:
    return str(phonenumbers.national_significant_number(number))


def national(number: PhoneNumber) -> str:
    return str(phonenumbers.format_number(number, PhoneNumberFormat.NATIONAL))


WAYS: dict[str, Callable[[PhoneNumber], str]] = {
    "E.164": e164_of,
    "international": lambda n: str(phonenumbers.format_number(n, PhoneNumberFormat.INTERNATIONAL)),
    "with 00": lambda n: "00" + e164_of(n)[1:],
    "national": national,
    "without its 0": nsn,
    "as a spreadsheet's integer": lambda n: nsn(n).lstrip("0"),
    "as a spreadsheet's decimal": lambda n: nsn(n).lstrip("0") + ".0",
    "with a lost +": lambda n: e164_of(n)[1:],
    "with (0)": lambda n: f"+{n.country_code} (0) {nsn(n)}",
    "with an extension": lambda n: f"{e164_of(n)} ext. 12",
    "with a label": lambda n: f"cell: {e164_of(n)} (Ann)",
    "with dots": lambda n: national(n).replace(" ", ".").replace("-", "."),
    "with an invisible mark": lambda n: f"\u202a{e164_of(n)}\u202c",
    "in full-width digits": lambda n: "".join(chr(ord(c) + 0xFEE0) for c in e164_of(n)),
    "as a formula": lambda n: f'="{e164_of(n)}"',
    "twice": lambda n: f"{e164_of(n)} / {e164_of(n)}",
}


@pytest.mark.parametrize("way", WAYS)
def test_however_a_number_is_written_it_is_among_the_readings(way: str) -> None:
    """Over all regions: suppressed, or said to be unreadable where the plan has no such reading."""
    lost = []
    for region in REGIONS:
        for number in numbers_of(region):
            written = WAYS[way](number)
            phones, problem = every_reading(written, region)
            telephone = set(forms(e164_of(number)))
            if not problem and telephone.isdisjoint(form for phone in phones for form in forms(phone)):
                lost.append((region, written, phones))
    assert lost == []


def test_most_numbers_are_read_however_they_are_written() -> None:
    """Reporting cells as unreadable is no excuse for reading few: nearly all of each way are read."""
    for way, write in WAYS.items():
        written = [(write(number), region) for region in REGIONS for number in numbers_of(region)]
        problems = [cell for cell, region in written if every_reading(cell, region).problem]
        assert len(problems) <= len(written) * 0.03, (way, problems[:10])


def test_the_fast_path_finds_what_the_slow_one_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """Digits alone are not asked of phonenumbers; over all regions no reading is lost by it."""
    ways = ("E.164", "without its 0", "as a spreadsheet's integer", "with a lost +", "national")
    cells = [
        (WAYS[way](number), region) for way in ways for region in REGIONS for number in numbers_of(region)
    ]
    fast = [every_reading(cell, region).phones for cell, region in cells]
    monkeypatch.setattr(module, "_certain", lambda _digits, _region: None)
    for (cell, region), found in zip(cells, fast, strict=True):
        slow = every_reading(cell, region).phones
        assert slow <= found, (cell, region, slow, found)


ANN, BOB = "+14155550100", "+14155550101"


@pytest.mark.parametrize(
    ("cell", "region", "phones"),
    [
        ("415-555-0100 x12", "US", [ANN]),
        ("4155550100,,12", "US", [ANN]),
        ("4155550101.0", "US", [BOB]),
        ("4,155,550,100", "US", [ANN]),
        ("415-555-0100 (cell 2)", "US", [ANN]),
        ("415-555-0100 / 415-555-0101", "US", [ANN, BOB]),
        ("4155550100:::4155550101", "US", [ANN, BOB]),
        ("4155550100\x0b4155550101", "US", [ANN, BOB]),
        ("4155550100 4155550101", "US", [ANN, BOB]),
        ("41555501004155550101", "US", [ANN, BOB]),
        ("415-555-0100/01", "US", [ANN, BOB]),
        ("415-555-0100 or 0101", "US", [ANN, BOB]),
        ("415-555-0100, 555-0101", "US", [ANN, BOB]),
        ("home: 415-555-0100; cell: 415-555-0101", "US", [ANN, BOB]),
        ("tel:+1-415-555-0100;ext=5", None, [ANN]),
        ("1-800-FLOWERS", "US", ["+18003569377"]),
        ("491711234567", "DE", ["+491711234567", "+49491711234567"]),
        ("41791234567", "DE", ["+41791234567", "+4941791234567"]),
        ("331649111", "IT", ["+390331649111", "+39331649111"]),
        ("+8 (495) 123-45-67", "RU", ["+74951234567", "+84951234567"]),
        ("+0171 1234567", "DE", ["+491711234567"]),
        ("(49) 171 1234567", "DE", ["+491711234567"]),
        ("(11) 8765-4321", "BR", ["+551187654321"]),
        ("044 55 1234 5678", "MX", ["+525512345678"]),
        ("+521 55 1234 5678", "US", ["+5215512345678"]),
        ("011 15 6907-1234", "AR", ["+5491169071234"]),
    ],
)
def test_what_a_cell_may_mean(cell: str, region: str | None, phones: list[str]) -> None:
    """All readings are among those that are found, and nothing is left over that cannot be read."""
    found = every_reading(cell, region)
    assert set(phones) <= found.phones
    assert found.problem == ""
    assert len(found.phones) <= len(phones) + 1


@pytest.mark.parametrize(
    ("cell", "region", "phones", "words"),
    [
        ("", "US", [], "is empty"),
        ("nobody", "US", [], "is not a telephone number"),
        ("4.1555501E+09", "US", [], "has lost its digits"),
        ("4155550100", None, [], "has no country code"),
        ("491711234567", None, ["+491711234567"], "has no country code"),
        ("1234567", "US", [], "few digits"),
        ("415-555-0100 and 123456789012", "US", [ANN], "more than one number"),
        ("1" * 2_000, "US", [], "is not a telephone number"),
    ],
)
def test_what_cannot_be_read_is_said(cell: str, region: str | None, phones: list[str], words: str) -> None:
    """Also beside a part that can be read, which is suppressed all the same."""
    found = every_reading(cell, region)
    assert found.phones == set(phones)
    assert words in found.problem


def test_a_page_of_digits_takes_no_time() -> None:
    """The patterns stay linear on what is made to be slow."""
    for cell in ("1" * 999, "1 " * 499, "1/" * 499, "(1" * 499, "12345," * 160, "+1" * 499):
        assert every_reading(cell, "DE") is not None


def test_all_regions_are_known() -> None:
    """The metadata says where a 0 may be lost: in Germany, in Italy, not in the United States."""
    lost = {region for region in REGIONS if module._zero_may_be_lost(region)}
    assert {"DE", "IT", "GB", "FR", "SM", "CI"} <= lost
    assert {"US", "CA", "ES"}.isdisjoint(lost)
    assert all(PhoneMetadata.metadata_for_region(region) for region in REGIONS)
