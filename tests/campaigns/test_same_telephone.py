"""Which numbers reach the same telephone."""

import phonenumbers
import pytest
from phonenumbers import PhoneNumberFormat, PhoneNumberType

from campaigns.same_telephone import all_forms, forms

TYPES = [value for name, value in vars(PhoneNumberType).items() if name.isupper() and value < 10]
SEVERAL = {"AR", "BL", "BR", "FR", "GB", "GF", "GP", "IE", "IL", "MF", "MQ", "MX", "PS", "RE", "SM", "YT"}
"""The regions that have telephones with several numbers, and those whose country code is lent to them."""


def examples() -> dict[str, set[str]]:
    """Valid numbers of each region, one of each type."""
    found: dict[str, set[str]] = {}
    for region in phonenumbers.SUPPORTED_REGIONS:
        for kind in TYPES:
            if number := phonenumbers.example_number_for_type(region, kind):
                found.setdefault(region, set()).add(
                    phonenumbers.format_number(number, PhoneNumberFormat.E164)
                )
    return found


@pytest.mark.parametrize(
    "numbers",
    [
        {"+525512345678", "+5215512345678"},
        {"+541169071234", "+5491169071234"},
        {"+5511987654321", "+551187654321"},
        {"+970599123456", "+972599123456"},
        {"+97022345678", "+97222345678"},
        {"+3780549886377", "+378886377", "+390549886377"},
        {"+442890123456", "+3534890123456"},
        {"+590590123456", "+33590123456"},
        {"+590690123456", "+33690123456"},
        {"+262692123456", "+33692123456"},
        {"+262639123456", "+33639123456"},
        {"+594694123456", "+33694123456"},
        {"+596596123456", "+33596123456"},
        {"+14155550100"},
        {"+33612345678"},
        {"+442079460000"},
        {"+97231234567"},
    ],
)
def test_each_number_of_a_telephone_leads_to_all_of_them(numbers: set[str]) -> None:
    """Whichever is given, itself first."""
    for number in numbers:
        assert forms(number)[0] == number
        assert set(forms(number)) == numbers
    assert sorted(all_forms([*numbers, *numbers])) == sorted(numbers)


def test_no_other_country_has_telephones_with_several_numbers() -> None:
    """Over all regions: a number is among its forms, these have the same ones, and most have no other."""
    several = set()
    for region, numbers in examples().items():
        for number in numbers:
            found = forms(number)
            assert found[0] == number
            assert all(set(forms(other)) == set(found) for other in found)
            if len(found) > 1:
                several.add(region)
    assert several <= SEVERAL
    assert several >= {"AR", "BR", "MX", "PS", "SM"}


def test_a_mobile_token_is_no_other_telephone() -> None:
    """Where phonenumbers knows a digit that callers from abroad add before a mobile number."""
    for code in phonenumbers.COUNTRY_CODE_TO_REGION_CODE:
        if not (token := phonenumbers.country_mobile_token(code)):
            continue
        for region in phonenumbers.region_codes_for_country_code(code):
            mobile = phonenumbers.example_number_for_type(region, PhoneNumberType.MOBILE)
            assert mobile is not None
            number = phonenumbers.format_number(mobile, PhoneNumberFormat.E164)
            assert number.startswith(f"+{code}{token}")
            assert f"+{code}{number.removeprefix(f'+{code}{token}')}" in forms(number)
