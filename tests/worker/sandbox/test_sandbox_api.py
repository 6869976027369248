"""The API as boto3 sees it."""

import contextlib
import json
import urllib.error
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError

from worker.sandbox import search

INSTANCE = "10a4c4eb-f57e-4d4c-b602-bf39176ced07"


def _moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _code(error: pytest.ExceptionInfo[ClientError]) -> tuple[int, str]:
    response: Any = error.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"]


def test_a_call_from_ringing_to_the_end(sandbox: Any) -> None:
    """DescribeContact tells what has happened so far, and nothing that is still to come."""
    placed = sandbox.clock.now
    # Number 87 rings for a second and talks for a second.
    contact_id = sandbox.start("+14155550187", Attributes={"FirstName": "Ana"}, Name="reminder")
    ringing = sandbox.describe(contact_id)
    assert (contact_id, "API", "VOICE") == (ringing["Id"], ringing["InitiationMethod"], ringing["Channel"])
    assert ringing["CustomerEndpoint"] == {"Type": "TELEPHONE_NUMBER", "Address": "+14155550187"}
    assert (ringing["Attributes"], ringing["Name"]) == ({"FirstName": "Ana"}, "reminder")
    assert _moment(placed) == ringing["InitiationTimestamp"]
    assert not {"ConnectedToSystemTimestamp", "DisconnectTimestamp", "DisconnectReason"} & set(ringing)
    sandbox.clock.now = placed + 1.5
    talking = sandbox.describe(contact_id)
    assert _moment(placed + 1) == talking["ConnectedToSystemTimestamp"]
    assert "DisconnectTimestamp" not in talking
    sandbox.clock.now = placed + 2
    over = sandbox.describe(contact_id)
    assert (_moment(placed + 2), "CUSTOMER_DISCONNECT") == (
        over["DisconnectTimestamp"],
        over["DisconnectReason"],
    )
    assert "AnsweringMachineDetectionStatus" not in over


@pytest.mark.parametrize(
    ("digits", "reason", "detected", "connected"),
    [
        ("00", "CUSTOMER_DISCONNECT", "HUMAN_ANSWERED", True),
        ("70", "TELECOM_TIMEOUT", "AMD_UNANSWERED", False),
        ("75", "TELECOM_BUSY", "SIT_TONE_BUSY", False),
        ("78", "CONTACT_FLOW_DISCONNECT", "VOICEMAIL_BEEP", True),
        ("80", "CONTACT_FLOW_DISCONNECT", "VOICEMAIL_NO_BEEP", True),
        ("81", "TELECOM_NUMBER_INVALID", "SIT_TONE_INVALID_NUMBER", False),
        ("83", "TELECOM_PROBLEM", None, False),
        ("85", "TELECOM_POTENTIAL_BLOCKING", None, False),
        ("86", "CUSTOMER_DISCONNECT", "FAX_MACHINE_DETECTED", True),
    ],
)
def test_how_calls_end(sandbox: Any, digits: str, reason: str, detected: str | None, connected: bool) -> None:
    """Each kind of number leaves the signals that Connect would, with detection's word if asked for."""
    contact_id = sandbox.start(
        f"+4420794601{digits}",
        TrafficType="CAMPAIGN",
        AnswerMachineDetectionConfig={"EnableAnswerMachineDetection": True},
    )
    sandbox.clock.now += 120
    over = sandbox.describe(contact_id)
    assert (reason, detected) == (over["DisconnectReason"], over.get("AnsweringMachineDetectionStatus"))
    assert connected == ("ConnectedToSystemTimestamp" in over)


def test_the_token_rule_over_http(sandbox: Any) -> None:
    """The same token is the same contact while its call is alive, and rings again afterwards."""
    first = sandbox.start("+14155550175")
    assert first == sandbox.start("+14155550175")
    sandbox.clock.now += 2
    assert first != sandbox.start("+14155550175")
    stats = sandbox.stats()
    assert tuple(stats[name] for name in ("requests", "placed", "rang", "replayed", "second_rings")) == (
        3,
        2,
        2,
        1,
        1,
    )


@pytest.mark.parametrize(
    ("change", "code", "names"),
    [
        ({"DestinationPhoneNumber": "abc"}, "InvalidParameterException", "DestinationPhoneNumber"),
        ({"DestinationPhoneNumber": "+04155550100"}, "InvalidParameterException", "DestinationPhoneNumber"),
        ({"DestinationPhoneNumber": "+1415555٠١٠٠"}, "InvalidParameterException", "DestinationPhoneNumber"),
        ({"SourcePhoneNumber": "4155550100"}, "InvalidParameterException", "SourcePhoneNumber"),
        ({"SourcePhoneNumber": None}, "InvalidRequestException", "QueueId"),
        ({"InstanceId": "my-instance"}, "InvalidParameterException", "InstanceId"),
        ({"ContactFlowId": f"arn:aws:connect:x:1:{INSTANCE}"}, "InvalidParameterException", "ContactFlowId"),
        ({"QueueId": "sales"}, "InvalidParameterException", "QueueId"),
        ({"ClientToken": "x" * 501}, "InvalidParameterException", "ClientToken"),
        ({"Attributes": {"first name": "Ana"}}, "InvalidParameterException", "Attributes"),
        ({"Attributes": {"A": "ü" * 16_384}}, "InvalidParameterException", "32768"),
        ({"RingTimeoutInSeconds": 61}, "InvalidParameterException", "RingTimeoutInSeconds"),
        ({"TrafficType": "LOUD"}, "InvalidParameterException", "TrafficType"),
        (
            {"AnswerMachineDetectionConfig": {"EnableAnswerMachineDetection": True}},
            "InvalidRequestException",
            "CAMPAIGN",
        ),
    ],
)
def test_requests_are_checked(sandbox: Any, change: dict[str, Any], code: str, names: str) -> None:
    """What botocore lets through and Connect refuses, the sandbox refuses, naming the field."""
    wanted: dict[str, Any] = {"number": "+14155550100", **change}
    wanted["number"] = wanted.pop("DestinationPhoneNumber", wanted["number"])
    wanted["token"] = wanted.pop("ClientToken", "t")
    with pytest.raises(ClientError, match=names) as refused:
        sandbox.start(**wanted)
    assert (400, code) == _code(refused)
    assert (1, 0, {code: 1}) == tuple(sandbox.stats()[name] for name in ("requests", "rang", "errors"))


def test_attributes_up_to_the_limit_pass(sandbox: Any) -> None:
    """32,768 bytes over keys and values are allowed."""
    attributes = {"A": "ü" * 16_383, "B": ""}
    contact_id = sandbox.start("+14155550100", Attributes=attributes)
    assert attributes == sandbox.describe(contact_id)["Attributes"]


def test_a_queue_is_enough_for_a_caller_id(sandbox: Any) -> None:
    """Without a source number the queue's own number is shown."""
    contact_id = sandbox.start("+14155550100", SourcePhoneNumber=None, QueueId=INSTANCE)
    assert sandbox.describe(contact_id)["QueueInfo"] == {"Id": INSTANCE}


def test_starting_is_throttled_like_the_quota_says(run_sandbox: Callable[..., Any]) -> None:
    """A burst of five, then two a second; the error is the one that the field sees."""
    sandbox = run_sandbox(calls_per_second=2.0, burst=5)
    for n in range(5):
        sandbox.start("+14155550100", f"t{n}")
    with pytest.raises(ClientError, match="Too Many Requests") as refused:
        sandbox.start("+14155550100", "t5")
    assert _code(refused) == (429, "TooManyRequestsException")
    sandbox.clock.now += 0.5
    sandbox.start("+14155550100", "t5")
    assert tuple(sandbox.stats()[name] for name in ("requests", "placed", "throttled")) == (7, 6, 1)


def test_the_other_operations_have_rates_of_their_own(run_sandbox: Callable[..., Any]) -> None:
    """DescribeContact, StopContact and SearchContacts are throttled apart from each other."""
    sandbox = run_sandbox(describe_burst=1, search_burst=1)
    contact_id = sandbox.start("+14155550188")
    window = {"Type": "INITIATION_TIMESTAMP", "StartTime": sandbox.clock.now, "EndTime": sandbox.clock.now}
    requests: list[Callable[[], Any]] = [
        lambda: sandbox.describe(contact_id),
        lambda: sandbox.client.stop_contact(InstanceId=INSTANCE, ContactId=contact_id),
        lambda: sandbox.client.search_contacts(InstanceId=INSTANCE, TimeRange=window),
    ]
    for request in requests:
        request()
        with pytest.raises(ClientError) as refused:
            request()
        assert _code(refused) == (429, "ThrottlingException")
    assert sandbox.stats()["other_requests"] == {"DescribeContact": 2, "StopContact": 2, "SearchContacts": 2}


def test_unknown_contacts_are_not_found(sandbox: Any) -> None:
    """Describing gives 404, stopping 410, as the API model says."""
    with pytest.raises(ClientError) as refused:
        sandbox.describe(INSTANCE)
    assert _code(refused) == (404, "ResourceNotFoundException")
    with pytest.raises(ClientError) as refused:
        sandbox.client.stop_contact(InstanceId=INSTANCE, ContactId=INSTANCE)
    assert _code(refused) == (410, "ContactNotFoundException")


def test_stopping_hangs_up(sandbox: Any) -> None:
    """A stopped call is over at that moment, and its token is free again."""
    contact_id = sandbox.start("+14155550188")
    sandbox.clock.now += 30
    sandbox.client.stop_contact(InstanceId=INSTANCE, ContactId=contact_id)
    over = sandbox.describe(contact_id)
    assert (_moment(sandbox.clock.now), "API") == (over["DisconnectTimestamp"], over["DisconnectReason"])
    assert contact_id != sandbox.start("+14155550188")


def test_search_finds_calls_without_saying_whom(sandbox: Any) -> None:
    """Rows have an id and times, but no phone number and no attributes, so one has to describe each."""
    contact_id = sandbox.start("+14155550100", Attributes={"dialer": "token-1"})
    now = _moment(sandbox.clock.now)
    found = sandbox.client.search_contacts(
        InstanceId=INSTANCE,
        TimeRange={
            "Type": "INITIATION_TIMESTAMP",
            "StartTime": now - timedelta(seconds=2),
            "EndTime": now + timedelta(seconds=2),
        },
        SearchCriteria={
            "InitiationMethods": ["API"],
            "Channels": ["VOICE"],
            "SearchableContactAttributes": {"Criteria": [{"Key": "dialer", "Values": ["token-1", "other"]}]},
        },
    )
    assert found["TotalCount"] == 1
    (row,) = found["Contacts"]
    assert (contact_id, now) == (row["Id"], row["InitiationTimestamp"])
    assert {"Arn", "Id", "InitiationMethod", "Channel", "InitiationTimestamp"} == set(row)


def test_search_filters(sandbox: Any) -> None:
    """Time, instance, method, channel, queue and attributes each leave out what does not match."""
    start = sandbox.clock.now
    sandbox.start("+14155550100", "a", Attributes={"x": "1", "y": "1"})
    sandbox.clock.now += 10
    sandbox.start("+14155550101", "b", Attributes={"x": "1"}, QueueId=INSTANCE)

    def count(begin: float = 0, end: float = 10, instance: str = INSTANCE, **criteria: Any) -> int:
        window = {"Type": "INITIATION_TIMESTAMP", "StartTime": start + begin, "EndTime": start + end}
        found = sandbox.client.search_contacts(InstanceId=instance, TimeRange=window, SearchCriteria=criteria)
        return len(found["Contacts"])

    def having(match: str, *pairs: tuple[str, str]) -> dict[str, Any]:
        criteria = [{"Key": key, "Values": [value]} for key, value in pairs]
        return {"SearchableContactAttributes": {"Criteria": criteria, "MatchType": match}}

    assert (count(), count(1), count(0, 9), count(1, 9)) == (2, 1, 1, 0)
    assert count(instance="b0b8f2dd-ed1b-4c44-af36-ce189a178181") == 0
    assert (count(InitiationMethods=["INBOUND"]), count(Channels=["CHAT"]), count(QueueIds=[INSTANCE])) == (
        0,
        0,
        1,
    )
    both = (("x", "1"), ("y", "1"))
    assert (
        count(**having("MATCH_ALL", *both)),
        count(**having("MATCH_ANY", *both)),
        count(**having("MATCH_NONE", ("y", "1"))),
    ) == (1, 2, 1)


def test_search_by_name(sandbox: Any) -> None:
    """The exact name, one of several; rows carry it. Texts that Connect does not take are refused."""
    now = sandbox.clock.now
    sandbox.start("+14155550100", "a", Name="reminder a")
    sandbox.start("+14155550101", "b", Name="reminder b")
    sandbox.start("+14155550102", "c")
    window = {"Type": "INITIATION_TIMESTAMP", "StartTime": now, "EndTime": now}

    def named(match: str, *texts: str) -> list[str | None]:
        criteria = {"Name": {"SearchText": texts, "MatchType": match}}
        asked = {"InstanceId": INSTANCE, "TimeRange": window, "SearchCriteria": criteria}
        found = sandbox.client.search_contacts(
            **asked, Sort={"FieldName": "INITIATION_TIMESTAMP", "Order": "ASCENDING"}
        )
        return [row.get("Name") for row in found["Contacts"]]

    assert named("MATCH_EXACT", "reminder b", "reminder") == ["reminder b"]
    assert named("MATCH_ANY", "reminder") == ["reminder a", "reminder b"]
    assert named("MATCH_ALL", "reminder", "a") == ["reminder a"]
    assert named("MATCH_NONE", "reminder") == [None]
    for texts in (["x" * 129], ["x"] * 101):
        with pytest.raises(ClientError, match="InvalidParameterException"):
            named("MATCH_EXACT", *texts)


def test_search_in_pages(sandbox: Any) -> None:
    """Pages hold every match once, newest first, also when calls are placed between them."""
    ids = [sandbox.start("+14155550100", f"t{n}") for n in range(5)]
    window = {"Type": "INITIATION_TIMESTAMP", "StartTime": sandbox.clock.now, "EndTime": sandbox.clock.now}
    asked: dict[str, Any] = {"InstanceId": INSTANCE, "TimeRange": window, "MaxResults": 2}
    pages, token = [], None
    while True:
        page = sandbox.client.search_contacts(**asked, **({"NextToken": token} if token else {}))
        pages.append([row["Id"] for row in page["Contacts"]])
        sandbox.start("+14155550100", f"later-{len(pages)}")
        token = page.get("NextToken")
        if not token:
            break
    assert [ids[4:2:-1], ids[2:0:-1], ids[:1]] == pages


@pytest.mark.parametrize(
    ("change", "names"),
    [
        ({"SearchCriteria": {"AgentIds": ["somebody"]}}, "AgentIds"),
        ({"NextToken": "¹"}, "NextToken"),
        ({"MaxResults": 101}, "MaxResults"),
        ({"TimeRange": {"Type": "INITIATION_TIMESTAMP", "StartTime": 0, "EndTime": 9e6}}, "eight weeks"),
    ],
)
def test_searches_that_cannot_be_trusted_are_refused(
    sandbox: Any, change: dict[str, Any], names: str
) -> None:
    """A criterion that the sandbox does not know is an error, never silently without effect."""
    window = {"Type": "INITIATION_TIMESTAMP", "StartTime": 0, "EndTime": 1}
    with pytest.raises(ClientError, match=names) as refused:
        sandbox.client.search_contacts(**{"InstanceId": INSTANCE, "TimeRange": window, **change})
    assert _code(refused) == (400, "InvalidParameterException")


def test_new_calls_may_be_hidden_from_search_for_a_while(run_sandbox: Callable[..., Any]) -> None:
    """An empty answer soon after a call proves nothing, as in Connect."""
    sandbox = run_sandbox(search_delay_seconds=30.0)
    begin = sandbox.clock.now
    window = {"Type": "INITIATION_TIMESTAMP", "StartTime": begin, "EndTime": begin}
    sandbox.start("+14155550100")
    counts = []
    for later in (29.0, 30.0):
        sandbox.clock.now = begin + later
        counts.append(sandbox.client.search_contacts(InstanceId=INSTANCE, TimeRange=window)["TotalCount"])
    assert counts == [0, 1]


def test_calls_beyond_the_quota_over_http(run_sandbox: Callable[..., Any]) -> None:
    """One call too many is answered with a contact id, and its contact says TELECOM_BUSY."""
    sandbox = run_sandbox(max_active_calls=1)
    sandbox.start("+14155550100", "a")
    over = sandbox.describe(sandbox.start("+14155550101", "b"))
    assert ("TELECOM_BUSY", over["InitiationTimestamp"]) == (
        over["DisconnectReason"],
        over["DisconnectTimestamp"],
    )
    stats = sandbox.stats()
    assert tuple(stats[name] for name in ("placed", "rang", "over_quota", "active_now")) == (2, 1, 1, 1)


def test_an_operation_that_is_not_imitated_says_so(sandbox: Any) -> None:
    """The error names the request, so that nobody looks for a mistake elsewhere."""
    with pytest.raises(ClientError, match="does not know GET") as refused:
        sandbox.client.describe_instance(InstanceId=INSTANCE)
    assert _code(refused) == (404, "UnknownOperationException")


def test_calls_last_as_long_as_asked_for_over_http(run_sandbox: Callable[..., Any]) -> None:
    """With call_seconds, also the number that nobody answers and the short and long ones end in time."""
    sandbox = run_sandbox(call_seconds=(6, 8))
    ids = [sandbox.start(f"+141555501{digits}", digits) for digits in ("00", "70", "87", "88")]
    assert [sandbox.stats()["active_now"]] == [4]
    sandbox.clock.now += 5.9
    assert [sandbox.stats()["active_now"]] == [4]
    sandbox.clock.now += 2.2
    reasons = [sandbox.describe(contact_id)["DisconnectReason"] for contact_id in ids]
    assert reasons == ["CUSTOMER_DISCONNECT", "TELECOM_TIMEOUT", "CUSTOMER_DISCONNECT", "CUSTOMER_DISCONNECT"]


def test_search_may_find_calls_only_once_they_are_over(run_sandbox: Callable[..., Any]) -> None:
    """A call in progress is missing from the answer, as in Connect, and so is one that has just ended."""
    sandbox = run_sandbox(search_only_ended=True, search_delay_seconds=30.0, call_seconds=(20, 20))
    begin = sandbox.clock.now
    window = {"Type": "INITIATION_TIMESTAMP", "StartTime": begin, "EndTime": begin}
    sandbox.start("+14155550100", "answered, over after 20 s")
    sandbox.start("+14155550175", "busy, over after 2 s")
    counts = []
    for later in (31.0, 32.0, 49.0, 51.0):
        sandbox.clock.now = begin + later
        found = sandbox.client.search_contacts(InstanceId=INSTANCE, TimeRange=window)
        counts.append((found["TotalCount"], len(found["Contacts"])))
    assert counts == [(0, 0), (1, 1), (1, 1), (2, 2)]


def test_search_gives_the_first_ten_thousand(sandbox: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Paging on beyond the most that a query gives finds nothing more; the total still counts it."""
    assert search._MOST_RESULTS == 10_000
    monkeypatch.setattr(search, "_MOST_RESULTS", 3)
    ids = [sandbox.start("+14155550100", f"t{n}") for n in range(5)]
    window = {"Type": "INITIATION_TIMESTAMP", "StartTime": sandbox.clock.now, "EndTime": sandbox.clock.now}
    pages = list(
        sandbox.client.get_paginator("search_contacts").paginate(
            InstanceId=INSTANCE, TimeRange=window, PaginationConfig={"PageSize": 2}
        )
    )
    assert [[ids[4], ids[3]], [ids[2]]] == [[row["Id"] for row in page["Contacts"]] for page in pages]
    assert {page["TotalCount"] for page in pages} == {5}


def test_the_quota_changes_while_it_runs(run_sandbox: Callable[..., Any]) -> None:
    """Strangers who use half of the account's quota are played by halving it; GET tells what is in force."""
    sandbox = run_sandbox(calls_per_second=2.0, burst=5)

    def accepted(requests: int) -> int:
        before = sandbox.stats()["placed"]
        for _ in range(requests):
            with contextlib.suppress(ClientError):
                sandbox.start("+14155550100", ClientToken=None)
        return int(sandbox.stats()["placed"] - before)

    assert accepted(7) == 5
    sandbox.post("/_sandbox/quota", {"calls_per_second": 10, "burst": 3})
    assert json.loads(sandbox.get("/_sandbox/quota")) == {"calls_per_second": 10.0, "burst": 3}
    assert accepted(1) == 0
    sandbox.clock.now += 0.125
    assert accepted(2) == 1
    sandbox.clock.now += 60
    assert accepted(5) == 3


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ({"calls_per_second": 0, "burst": 5}, "calls_per_second"),
        ({"calls_per_second": 10, "burst": 0}, "burst"),
        ({"calls_per_second": 10}, "burst"),
        ({"calls_per_second": 10, "burst": 5, "bursts": 5}, "bursts"),
    ],
)
def test_a_quota_that_makes_no_sense_is_refused(sandbox: Any, content: dict[str, Any], names: str) -> None:
    """The reason names the field, and the old quota stays."""
    before = sandbox.get("/_sandbox/quota")
    with pytest.raises(urllib.error.HTTPError) as refused:
        sandbox.post("/_sandbox/quota", content)
    with refused.value:
        assert (refused.value.code, names in refused.value.read().decode()) == (400, True)
    assert before == sandbox.get("/_sandbox/quota")
