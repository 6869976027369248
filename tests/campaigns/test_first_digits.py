"""A digit that is not among a pattern's first digits begins nothing that it matches."""

import random
import re
from typing import Any

import pytest
from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneMetadata

from campaigns.first_digits import first_digits


@pytest.mark.parametrize(
    ("pattern", "digits"),
    [
        ("0", "0"),
        ("00|011", "0"),
        ("[2-9]\\d{9}|3\\d{6}", "23456789"),
        ("(?:0|90)(?:(1[245])(\\d{10,11}))?", "09"),
        ("0?1", "0123456789"),
        ("[35]?1", "0123456789"),
        ("(?:0)?1", "0123456789"),
        ("\\d{3}", "0123456789"),
        ("(?!0)\\d", "0123456789"),
        ("(?:0(?:1|2)|[18-9])5", "0189"),
        ("", "0123456789"),
    ],
)
def test_the_first_digits_of_a_pattern(pattern: str, digits: str) -> None:
    """All of them, where something in front may be left out."""
    assert first_digits(pattern) == frozenset(digits)


def test_no_match_begins_with_another_digit() -> None:
    """For every pattern that phonenumbers has for prefixes and numbers, with digits at random."""
    chance = random.Random(1)
    matched = few = 0
    for code, regions in COUNTRY_CODE_TO_REGION_CODE.items():
        for region in regions:
            plan: Any = PhoneMetadata.metadata_for_region_or_calling_code(code, region)
            kinds = [plan.general_desc, plan.fixed_line, plan.mobile, plan.toll_free, plan.premium_rate]
            numbers = [each.example_number for each in kinds if each and each.example_number]
            patterns = [each.national_number_pattern for each in kinds if each]
            patterns += [plan.national_prefix_for_parsing, plan.international_prefix]
            for pattern in filter(None, patterns):
                begins = first_digits(pattern)
                few += len(begins) < 10
                for digit in "0123456789":
                    for number in numbers:
                        for rest in (number, number[1:], "".join(chance.choices("0123456789", k=11))):
                            if match := re.match(pattern, digit + rest):
                                assert not match[0] or digit in begins, (pattern, digit + rest)
                                matched += 1
    assert matched > 10_000
    assert few > 500
