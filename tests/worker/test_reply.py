"""What AWS answers is used only where it can be: the rest is left out, or said to be odd."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from worker import reply
from worker.connect_errors import OddAnswer

NOON = datetime(2027, 1, 1, 12, tzinfo=UTC)

ODD_IDS = [
    "",
    "x" * 257,
    "c\x00",
    "c\n1",
    " c-1",
    "\ud800",
    "<html>",
    "../contact",
    "..",
    "a/b",
    "a%2fb",
    "é",
    "\x1b[2Jc",
    5,
    True,
    [],
    {"Id": "c"},
    1e400,
]


def content(body: str | bytes, status: int = 200) -> Any:
    """A body's content as the client's hook leaves it."""
    said: dict[str, Any] = {"status_code": status, "body": body}
    answer: dict[str, Any] = {}
    reply.read_here(response_dict=said, customized_response_dict=answer)
    return reply.content_of(answer)


@pytest.mark.parametrize("contact_id", ["c-1", "x" * 256, "10a4c4eb-f57e-4d4c-b602-bf39176ced07"])
def test_a_plain_contact_id_is_kept_as_it_is(contact_id: str) -> None:
    """Up to 256 characters, which is what both databases have room for."""
    assert reply.placed({"ContactId": contact_id}) == contact_id


@pytest.mark.parametrize("contact_id", ODD_IDS, ids=ascii)
def test_an_odd_contact_id_is_no_contact_id(contact_id: object) -> None:
    """Not cut, not escaped: Connect would know no such call, and its recipient would be dialed again."""
    with pytest.raises(OddAnswer) as odd:
        reply.placed({"ContactId": contact_id})
    assert odd.value.code == "OddContactId"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[1]",
        b"null",
        b'"c-1"',
        b"\xff\xfe\xff",
        b"[" * 100_000,
        b'{"a":' + b"9" * 5000 + b"}",
    ],
    ids=lambda body: ascii(body[:10]),
)
def test_what_is_no_object_is_odd(body: bytes) -> None:
    """A portal's page, half a text, numbers and lists without end: no traceback."""
    with pytest.raises(OddAnswer) as odd:
        content(body)
    assert odd.value.code == "NoJson"


def test_an_error_is_left_to_the_sdk() -> None:
    """Only successful answers are read here; the SDK finds an error's code."""
    said: dict[str, Any] = {"status_code": 403, "body": b"{}"}
    answer: dict[str, Any] = {}
    reply.read_here(response_dict=said, customized_response_dict=answer)
    assert (said["body"], answer) == (b"{}", {})


@pytest.mark.parametrize(
    "said",
    [
        253402300799,
        4e18,
        -1,
        0,
        1e400,
        float("nan"),
        10**400,
        "9999-12-31T23:59:59Z",
        "0001-01-01T00:00:00+14:00",
        "1970-01-01T00:00:00Z",
        "noon",
        "1" * 100_000,
        True,
        None,
        [],
    ],
    ids=lambda said: ascii(said)[:20],
)
def test_a_time_that_cannot_be_a_calls_is_none(said: object) -> None:
    """Year 9999 plus anything overflows; a call that ended in 1970 has not ended."""
    assert reply.moment_in(said) is None


@pytest.mark.parametrize(
    "said", [NOON.timestamp(), int(NOON.timestamp()), "2027-01-01T12:00:00Z", "2027-01-01T13:00:00+01:00"]
)
def test_times_come_as_seconds_or_text(said: object) -> None:
    """REST-JSON has seconds, events have ISO 8601."""
    assert reply.moment_in(said) == NOON


def test_what_is_odd_in_a_description_is_left_out() -> None:
    """Each field for itself: a wrong one does not take the others with it."""
    report = reply.described(
        {
            "Contact": {
                "Id": "c-1",
                "InitiationTimestamp": NOON.timestamp(),
                "ConnectedToSystemTimestamp": {"a": 1},
                "DisconnectTimestamp": -1,
                "DisconnectReason": "R\x00" + "x" * 1_000_000,
                "AnsweringMachineDetectionStatus": ["HUMAN_ANSWERED"],
                "CustomerEndpoint": {"Address": "+1415\x005550100"},
                "Attributes": {"a": "b", "c": 5, "d": None},
                "Name": 7,
            }
        },
        "c-1",
    )
    assert report.initiated_at == NOON
    assert (report.answered_at, report.ended_at, report.answering_machine_status) == (None, None, None)
    assert report.disconnect_reason is not None
    assert (len(report.disconnect_reason), "\x00" in report.disconnect_reason) == (256, False)
    assert (report.phone, report.attributes, report.name) == (None, {"a": "b"}, None)


@pytest.mark.parametrize("contact", [None, [], "x", 5, {"Id": "c-2"}], ids=ascii)
def test_a_description_of_nothing_or_of_another_contact_is_odd(contact: object) -> None:
    """A cache between us and AWS could end a call that goes on."""
    with pytest.raises(OddAnswer):
        reply.described({"Contact": contact}, "c-1")


def test_rows_that_cannot_be_read_are_counted() -> None:
    """The others are used; but any call may be one of these, so that one is missing proves nothing."""
    good = {"Id": "c-1", "InitiationTimestamp": NOON.timestamp(), "Name": "n"}
    rows: list[object] = [
        good,
        {**good, "Id": None},
        {**good, "InitiationTimestamp": "x"},
        5,
        None,
        "c-1",
        [],
    ]
    page = reply.listed({"Contacts": rows, "NextToken": ""})
    assert [(call.contact_id, call.initiated_at, call.name) for call in page.calls] == [("c-1", NOON, "n")]
    assert (page.unreadable, page.next_token) == (6, None)


@pytest.mark.parametrize(
    "page",
    [
        {},
        {"Contacts": None},
        {"Contacts": {"Id": "c"}},
        {"Contacts": "c"},
        {"Contacts": [], "NextToken": 5},
        {"Contacts": [], "NextToken": "x" * 100_001},
        {"Contacts": [{}] * 101},
    ],
    ids=lambda page: ascii(page)[:30],
)
def test_a_page_that_is_none_is_odd(page: dict[str, Any]) -> None:
    """It is asked for again later, and nothing is concluded from it."""
    with pytest.raises(OddAnswer):
        reply.listed(page)


def test_long_calls_end() -> None:
    """The times that pass can be added to each other."""
    latest = reply.moment_in("2199-12-31T23:59:59Z")
    earliest = reply.moment_in("2000-01-01T00:00:00Z")
    assert latest is not None
    assert earliest is not None
    assert NOON + (latest - earliest) > NOON + timedelta(days=1)
