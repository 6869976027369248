import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaigns.phone_number import e164

SAN_FRANCISCO = "+14155550100"
LONDON = "+442079460123"
BERLIN = "+493023125123"


@pytest.mark.parametrize(
    "written",
    [
        "(415) 555-0100",
        "415.555.0100",
        "4155550100",
        "14155550100",
        "1 (415) 555 0100",
        "+1 415 555 0100",
        "(+1) 415-555-0100",
        "+(1) 415-555-0100",
        "  +14155550100\t",
        "tel:+1-415-555-0100",
        "Tel: 415 555 0100",
        "0014155550100",
        "00 1 415 555 0100",
        "'+14155550100",
        "\u2019+14155550100",
        '="4155550100"',
        "４１５５５５０１００",
        "＋１（４１５）５５５－０１００",
        "٤١٥٥٥٥٠١٠٠",
        "\u202a+14155550100\u202c",
        "\u2066+1\u200b415\u200d5550100\u2069\ufeff",
        "\u200e415\u00a0555\u20110100",
        "415–555—0100",
        "415\u2212555\u22120100",
        "415/555-0100",
    ],
)
def test_ways_to_write_a_number(written: str) -> None:
    """Formats, links, spreadsheet wrappings, other scripts' digits and invisible marks change no digit."""
    assert e164(written, "US") == SAN_FRANCISCO


@pytest.mark.parametrize(
    ("written", "region", "expected"),
    [
        ("+44 (0)20 7946 0123", "US", LONDON),
        ("0044 20 7946 0123", "US", LONDON),
        ("0044 (0)20 7946 0123", None, LONDON),
        ("011 44 20 7946 0123", "US", LONDON),
        ("020 7946 0123", "GB", LONDON),
        ("2079460123", "GB", LONDON),
        ("030/23125123", "DE", BERLIN),
        ("+49 30/23125-123", None, BERLIN),
        ("0011 61 2 5550 1234", "AU", "+61255501234"),
        ("+39 (0)2 36618300", None, "+390236618300"),
    ],
)
def test_country_codes_and_trunk_prefixes(written: str, region: str | None, expected: str) -> None:
    """`00` is `+` everywhere, a region's own prefix works too, and a trunk zero goes only where it must."""
    assert e164(written, region) == expected


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        ("", "is empty"),
        (" \u200b\u00a0", "is empty"),
        ("1.4155E+10", "'1.4155E+10' has lost its digits; format the column as text and export again"),
        ("1,4155E+10", "has lost its digits"),
        ("1.41555501E10", "has lost its digits"),
        ("14155550100.0", "as a decimal number; format the column as text"),
        ("14155550100,00", "as a decimal number"),
        ("+1 415 555 0100 x12", "has an extension, which Connect cannot dial"),
        ("415 555 0100 ext. 5", "has an extension"),
        ("(415) 555-0100 Extension: 5", "has an extension"),
        ("tel:+14155550100;ext=4", "has an extension"),
        ("415-555-0100#12", "has an extension"),
        ("415-555-0100,,12", "has an extension"),
        ("4155550100, 4155550101", "more than one number"),
        ("4155550100 / 4155550101", "more than one number"),
        ("4155550100\n4155550101", "more than one number"),
        ("4155550100 or 4155550101", "more than one number"),
        ("+14155550100 +14155550101", "more than one number"),
        ("4155550100x12, 4155550101", "more than one number"),
        ("030 23125123/24", "more than one number"),
        ("2312512/2312513", "more than one number"),
        ("4155550100 4155550101", "more than one number"),
        ("tel:555-0100;phone-context=+1415", "link with parameters"),
        ("1-800-FLOWERS", "has letters in it"),
        ("call 415 555 0100", "has letters in it"),
        ("415 555 0100 now", "has letters in it"),
        ("n/a", "is not a telephone number"),
        ("#NAME?", "is not a telephone number"),
        ("-4155550100", "is not a telephone number"),
        ("*67 415 555 0100", "is not a telephone number"),
        ("415 555 0100²", "is not a telephone number"),
        ("+", "is not a telephone number"),
        pytest.param("1" + "," * 100_000, "is not a telephone number", id="a text that is far too long"),
        ("5550100", "too few digits; check the digits, or write + and the country code if it is not in US"),
        ("911", "too few digits"),
        ("41555501001", "too many digits"),
        ("+0044 20 7946 0123", "country code that does not exist"),
        ("+999 123456789", "country code that does not exist"),
        ("055 555 0123", "is no number that country code +1 can have"),
        ("0", "too few digits"),
        ("00", "too few digits"),
    ],
)
def test_what_is_not_one_diallable_number_is_refused(written: str, reason: str) -> None:
    """Whatever is not exactly one number is refused with a reason, and never repaired by guessing."""
    with pytest.raises(ValueError) as refusal:  # noqa: PT011  # the text is compared below
        e164(written, "US")
    assert reason in str(refusal.value)


def test_without_a_region_a_country_code_is_asked_for() -> None:
    """No default region means that nobody guesses the country."""
    with pytest.raises(ValueError, match=r"write \+… or set default_region"):
        e164("415 555 0100", None)


def test_a_number_from_elsewhere_is_not_read_as_a_local_one() -> None:
    """The default region never turns a foreign number without + into a domestic one."""
    with pytest.raises(ValueError, match="if it is not in GB"):
        e164("1 415 555 0100", "GB")


@given(area=st.sampled_from(["212", "415", "808"]), line=st.integers(100, 199), data=st.data())
def test_separators_and_invisible_marks_never_change_digits(
    area: str, line: int, data: st.DataObject
) -> None:
    """Whatever blanks, dashes and invisible marks stand between the digits, the same digits come out."""
    digits = f"1{area}555{line:04}"
    gaps = st.sampled_from(["", "", "", " ", "-", ".", "\u00a0", "\u200b", "\u2013", "\u202c", "\u2009"])
    written = "+" + "".join(digit + data.draw(gaps) for digit in digits)
    assert e164(written, None) == "+" + digits


@given(st.text(alphabet="0123456789+-()./ ,;xEe#٣７\u00a0\u202a\n", max_size=24))
def test_any_text_is_a_valid_number_or_a_reason(text: str) -> None:
    """No cell makes it fail otherwise, and what it accepts is valid, digit for digit in the cell."""
    try:
        number = e164(text, "US")
    except ValueError:
        return
    assert phonenumbers.is_valid_number(phonenumbers.parse(number))
    in_cell = "".join(str(int(c)) for c in text if c.isdecimal())
    national = str(phonenumbers.parse(number).national_number)
    assert in_cell.endswith(national) or "0" + national in in_cell
