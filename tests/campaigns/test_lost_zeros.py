from campaigns.call_list import RejectedRow
from campaigns.campaign import ListOptions
from campaigns.lost_zeros import LostZeros


def test_a_column_without_zeros_is_noticed() -> None:
    """Only where most numbers lack one; `lost` itself suggests nothing."""
    rows = [
        RejectedRow(2, "phone", "", {"phone": "15112345678"}),
        RejectedRow(3, "phone", "", {"phone": "12"}),
    ]
    seen = LostZeros(ListOptions(default_region="DE"), "phone")
    seen.see(rows[0])
    assert (seen.rows, seen.suggested) == (1, True)
    seen.see(rows[1])
    assert (seen.rows, seen.suggested) == (1, False)
    told = LostZeros(ListOptions(default_region="DE", leading_zeros="lost"), "phone")
    told.see(rows[0])
    assert (told.rows, told.suggested) == (0, False)
