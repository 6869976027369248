"""A row that is rejected is on the list all the same, by its key."""

import pytest

from campaigns.call_list import RejectedRow
from campaigns.campaign import ListOptions
from campaigns.reading import key_of


@pytest.mark.parametrize(("leading_zeros", "key"), [("lost", "+4915112345678"), ("kept", None)])
def test_the_number_of_a_rejected_row_is_read_as_the_list_is(leading_zeros: str, key: str | None) -> None:
    """Its recipient is not taken for one that the list no longer has, though the number has lost its 0."""
    options = ListOptions.model_validate({"default_region": "DE", "leading_zeros": leading_zeros})
    row = RejectedRow(2, "tz", "is no time zone", {"phone": "15112345678", "tz": "Mars"})
    assert key_of(row, options) == key
