"""Faults on request, as boto3 sees them."""

import json
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError, ReadTimeoutError

INSTANCE = "10a4c4eb-f57e-4d4c-b602-bf39176ced07"


def _figures(sandbox: Any, *names: str) -> tuple[Any, ...]:
    stats = sandbox.stats()
    return tuple(stats[name] for name in names)


@pytest.mark.parametrize(
    ("digits", "status", "code", "rang"),
    [
        ("92", 429, "TooManyRequestsException", 0),
        ("93", 429, "LimitExceededException", 0),
        ("94", 500, "InternalServiceException", 0),
        ("96", 500, "InternalServiceException", 1),
    ],
)
def test_faults_of_the_first_request(sandbox: Any, digits: str, status: int, code: str, rang: int) -> None:
    """The first request of a token fails, before or after placing; the second one succeeds."""
    with pytest.raises(ClientError) as failed:
        sandbox.start(f"+141555501{digits}")
    response: Any = failed.value.response
    assert (status, code) == (response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"])
    assert (rang,) == _figures(sandbox, "rang")
    sandbox.start(f"+141555501{digits}")
    assert (2, 1, rang) == _figures(sandbox, "requests", "rang", "replayed")


@pytest.mark.parametrize(
    ("digits", "code"),
    [("90", "DestinationNotAllowed"), ("91", "InvalidParameter"), ("95", "InternalService")],
)
def test_faults_of_every_request(sandbox: Any, digits: str, code: str) -> None:
    """Some numbers never come through, whatever one tries."""
    for _ in range(3):
        with pytest.raises(ClientError, match=code):
            sandbox.start(f"+141555501{digits}")
    assert _figures(sandbox, "requests", "rang") == (3, 0)


@pytest.mark.parametrize(("digits", "rang"), [("97", 0), ("98", 1)])
def test_dropped_connections(sandbox: Any, digits: str, rang: int) -> None:
    """The connection closes without a byte of answer; whether it rang is known only to the sandbox."""
    with pytest.raises(ConnectionClosedError):
        sandbox.start(f"+141555501{digits}")
    assert (rang, {"ConnectionDropped": 1}) == _figures(sandbox, "rang", "errors")
    sandbox.start(f"+141555501{digits}")
    assert _figures(sandbox, "rang", "second_rings") == (1, 0)


def test_a_slow_answer_outlasts_the_read_timeout(run_sandbox: Callable[..., Any]) -> None:
    """The call is placed at once, but the caller hears nothing in time; others are answered meanwhile."""
    sandbox = run_sandbox(read_timeout=0.3)
    with pytest.raises(ReadTimeoutError):
        sandbox.start("+14155550199")
    assert _figures(sandbox, "rang") == (1,)
    sandbox.start("+14155550199")
    assert _figures(sandbox, "rang", "replayed") == (1, 1)


def test_the_trap_for_late_replays(sandbox: Any) -> None:
    """Number 89 is busy within two seconds and answers 500: a replay after that rings the person again."""
    with pytest.raises(ClientError):
        sandbox.start("+14155550189")
    sandbox.clock.now += 3
    sandbox.start("+14155550189")
    assert _figures(sandbox, "rang", "second_rings") == (2, 1)


def test_a_new_token_meets_the_numbers_fault_again(sandbox: Any) -> None:
    """Once means once for each attempt, so that a redial behaves like the first dial."""
    for token in ("attempt-1", "attempt-2"):
        with pytest.raises(ClientError):
            sandbox.start("+14155550194", token)
        sandbox.start("+14155550194", token)


def test_faults_end_by_themselves(sandbox: Any) -> None:
    """`for_seconds`: an outage of the stand-in's is over at its time, of all operations."""
    sandbox.set_faults(error_before=1.0, describe_error=1.0, search_error=1.0, for_seconds=60)
    with pytest.raises(ClientError):
        sandbox.start("+12125550100")
    sandbox.clock.now += 61
    assert sandbox.start("+12125550100")


def test_rates_of_faults_repeat_with_their_seed(sandbox: Any) -> None:
    """The same seed gives the same faults, at about the rates that were asked for."""

    def outcomes(prefix: str) -> list[str]:
        sandbox.set_faults(throttle=0.1, error_before=0.1, drop_after=0.2, seed=7)
        seen = []
        for n in range(100):
            try:
                sandbox.start("+14155550100", f"{prefix}{n}")
                seen.append("ok")
            except ClientError as error:
                seen.append(str(error.response["Error"]["Code"]))
            except ConnectionClosedError:
                seen.append("dropped")
        return seen

    first = outcomes("a")
    assert first == outcomes("b")
    counts = {outcome: first.count(outcome) for outcome in set(first)}
    assert {"ok", "TooManyRequestsException", "InternalServiceException", "dropped"} == set(counts)
    assert 40 < counts["ok"] < 80
    assert 2 * (counts["ok"] + counts["dropped"]) == sandbox.stats()["rang"]


@pytest.mark.parametrize(
    "rates", [{"throttel": 0.1}, {"throttle": 1.5}, {"drop_before": 0.6, "drop_after": 0.6}]
)
def test_rates_that_make_no_sense_are_refused(sandbox: Any, rates: dict[str, float]) -> None:
    """A misspelt or impossible rate is an error, and changes nothing."""
    with pytest.raises(urllib.error.HTTPError) as refused:
        sandbox.set_faults(**rates)
    with refused.value:
        assert refused.value.code == 400
    assert json.loads(sandbox.get("/_sandbox/faults"))["throttle"] == 0.0


def test_looking_at_calls_fails_on_request(sandbox: Any) -> None:
    """The shares of failing DescribeContact and SearchContacts are their own, and change no call's fault."""
    contact_id = sandbox.start("+14155550188")
    window = {"Type": "INITIATION_TIMESTAMP", "StartTime": sandbox.clock.now, "EndTime": sandbox.clock.now}
    sandbox.set_faults(throttle=1.0, describe_error=0.5, search_error=1.0, seed=3)

    def outcome(operation: str, **asked: Any) -> str:
        try:
            getattr(sandbox.client, operation)(InstanceId=INSTANCE, **asked)
        except ClientError as error:
            return str(error.response["Error"]["Code"])
        return "ok"

    described = [outcome("describe_contact", ContactId=contact_id) for _ in range(40)]
    assert {"ok", "InternalServiceException"} == set(described)
    assert 10 < described.count("ok") < 30
    assert outcome("search_contacts", TimeRange=window) == "InternalServiceException"
    assert outcome("stop_contact", ContactId=contact_id) == "ok"
    failed = {"DescribeContact": 40 - described.count("ok"), "SearchContacts": 1}
    assert _figures(sandbox, "other_failed", "other_throttled") == (failed, {})
