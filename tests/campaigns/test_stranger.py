"""Whose call it can be: by its token, or else by its number and time."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from campaigns.campaign import ConnectOptions
from campaigns.stranger import Sending, Stranger, candidates

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
PHONE = "+14155550100"
PLAIN: dict[str, Any] = {
    "instance_id": "10a4c4eb-f57e-4d4c-b602-bf39176ced07",
    "contact_flow_id": "b0b8f2dd-ed1b-4c44-af36-ce189a178181",
    "source_phone_number": "+14155550199",
}
BY_NAME = {**PLAIN, "name": "reminder {client_token}!"}
BY_ATTRIBUTE = {**PLAIN, "search_attribute": "Token"}


def token(attempt_id: int) -> str:
    """A client token."""
    return f"{attempt_id:064x}"


def sending(attempt_id: int, second: int = 0, phone: str = PHONE, **options: Any) -> Sending:
    """An attempt that was dialed at this second, and had left 30 s later."""
    began = NOON + timedelta(seconds=second)
    connect = ConnectOptions.model_validate(options or PLAIN)
    ended = began + timedelta(seconds=30)
    return Sending(attempt_id, 1, "unknown", token(attempt_id), phone, began, ended, connect)


def call(second: int, phone: str | None = PHONE, **more: Any) -> Stranger:
    """A call that Connect says was initiated at this second."""
    return Stranger("c-1", NOON + timedelta(seconds=second), phone, **more)


def fitting(stranger: Stranger, *sendings: Sending) -> list[int]:
    """The ids of the attempts that can have made it."""
    return [each.attempt_id for each in candidates(stranger, sendings)]


@pytest.mark.parametrize(
    ("second", "fits"), [(-301, False), (-300, True), (0, True), (330, True), (331, False)]
)
def test_a_call_fits_within_what_clocks_may_differ(second: int, fits: bool) -> None:
    """From five minutes before its request can have left to five minutes after it had."""
    assert fitting(call(second), sending(1)) == [1] * fits


def test_a_call_to_another_number_or_to_none_fits_none() -> None:
    """Without a token only the number says whose it may be."""
    assert fitting(call(0, "+12125550100"), sending(1)) == []
    assert fitting(call(0, None), sending(1)) == []


def test_a_call_without_a_token_fits_all_attempts_of_its_time() -> None:
    """However near it is to one of them."""
    assert fitting(call(1), sending(1), sending(2, 250), sending(3, 600)) == [1, 2]


@pytest.mark.parametrize(
    "shown", [{"name": f"reminder {token(2)}!"}, {"attributes": {"Token": token(2), "Other": "x"}}]
)
@pytest.mark.parametrize("options", [PLAIN, BY_NAME, BY_ATTRIBUTE])
def test_a_call_with_a_token_is_that_attempts_alone(shown: Any, options: Any) -> None:
    """Also at another time, and where the campaign's calls carry none by now."""
    first, second = sending(1, **options), sending(2, 5_000, **options)
    assert fitting(call(0, **shown), first, second) == [2]


@pytest.mark.parametrize(
    ("options", "shown", "fits"),
    [
        (BY_NAME, {"name": f"reminder {token(9)}!"}, False),
        (BY_ATTRIBUTE, {"attributes": {"Token": token(9)}}, False),
        (BY_NAME, {"name": "before the campaign was edited"}, True),
        (BY_ATTRIBUTE, {"attributes": {"Token": "something of the list"}}, True),
        (BY_ATTRIBUTE, {"attributes": {"Other": token(9)}}, True),
        (PLAIN, {"name": token(9)}, True),
    ],
)
def test_a_token_of_no_attempt_here_excludes_those_whose_calls_carry_theirs(
    options: Any, shown: Any, fits: bool
) -> None:
    """Where its own token would stand, another one does. Anything else there says nothing."""
    assert fitting(call(0, **shown), sending(1, **options)) == [1] * fits
