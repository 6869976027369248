"""Choices of [list] that `plan` suggests, by what the column of numbers looks like."""

from campaigns.call_list import RejectedRow
from campaigns.campaign import ListOptions
from campaigns.number_hints import NumberHints
from campaigns.recipient import Recipient


def rejected(cell: str) -> RejectedRow:
    """A row that was rejected for its number."""
    return RejectedRow(2, "phone", "", {"phone": cell})


def test_a_column_without_zeros_is_noticed() -> None:
    """Only where most numbers lack one; `lost` itself suggests nothing."""
    rows = [rejected("15112345678"), rejected("12")]
    seen = NumberHints(ListOptions(default_region="DE"), "phone")
    seen.see(rows[0])
    assert (seen.zeros_lost, seen.suggest_zeros_lost) == (1, True)
    seen.see(rows[1])
    assert (seen.zeros_lost, seen.suggest_zeros_lost) == (1, False)
    told = NumberHints(ListOptions(default_region="DE", leading_zeros="lost"), "phone")
    told.see(rows[0])
    assert (told.zeros_lost, told.suggest_zeros_lost) == (0, False)


def test_a_column_of_one_countrys_numbers_is_noticed() -> None:
    """Unless a number there can only be another country's that has lost its +."""
    seen = NumberHints(ListOptions(default_region="US"), "phone")
    assert not seen.suggest_others_marked
    # +1 254 … in Texas, or +254 … in Kenya.
    seen.see(rejected("2545550144"))
    assert (seen.others_marked, seen.suggest_others_marked) == (1, True)
    seen.see(rejected("491711234567"))
    assert (seen.others_marked, seen.suggest_others_marked) == (1, False)
    told = NumberHints(ListOptions(default_region="US", other_countries="marked"), "phone")
    told.see(rejected("491711234567"))
    assert not told.suggest_others_marked


def test_accepted_rows_suggest_nothing() -> None:
    """Whatever their numbers look like."""
    seen = NumberHints(ListOptions(default_region="US"), "phone")
    seen.see(Recipient(2, "k", "+14155550100", {}, None, {"phone": "4155550100"}))
    assert (seen.suggest_zeros_lost, seen.suggest_others_marked) == (False, False)
