from hypothesis import given
from hypothesis import strategies as st

from campaigns.recipient import masked


def test_masked_keeps_what_one_recognises() -> None:
    """The beginning and the end of a number remain, the middle does not."""
    assert masked("+14155550100") == "+1415•••0100"
    assert masked("+29051234") == "+29•••34"
    assert masked("+2905123") == "•••23"


@given(st.text("0123456789", min_size=3, max_size=15))
def test_masked_always_hides_digits(digits: str) -> None:
    """No number can be called from its masked form: two digits at least are hidden."""
    shown = sum(c.isdecimal() for c in masked("+" + digits))
    assert shown <= max(2, len(digits) - 3) if len(digits) > 4 else shown == 2
