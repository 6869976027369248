"""A clock that differs from AWS's is named with by how much, and stops no campaign."""

import re
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from botocore.exceptions import ClientError

from campaigns.ledger.clock import wall_clock
from worker.aws_clock import CLOCK_CODES, aws_ahead
from worker.connect_errors import ClockWrong, Stage, Unauthenticated, judged
from worker.event_queue import _reason

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


def refused(code: str, ahead: timedelta | None) -> ClientError:
    """AWS's answer, with its Date header if it has one."""
    headers = {} if ahead is None else {"date": format_datetime(wall_clock() + ahead, usegmt=True)}
    response: Any = {
        "Error": {"Code": code, "Message": "Signature expired"},
        "ResponseMetadata": {"HTTPStatusCode": 403, "HTTPHeaders": headers},
    }
    return ClientError(response, "StartOutboundVoiceContact")


@pytest.mark.parametrize(
    ("date", "seconds"),
    [
        ("Mon, 02 Mar 2026 12:10:00 GMT", 600.0),
        ("Mon, 02 Mar 2026 11:50:00 -0000", -600.0),
        ("yesterday", None),
        ("", None),
        (None, None),
    ],
)
def test_the_date_of_an_answer_is_its_clock(date: str | None, seconds: float | None) -> None:
    """What cannot be read tells nothing."""
    headers = {} if date is None else {"date": date}
    found = aws_ahead({"ResponseMetadata": {"HTTPHeaders": headers}}, NOON)
    assert (found.total_seconds() if found is not None else None) == seconds


@pytest.mark.parametrize("code", sorted(CLOCK_CODES))
@pytest.mark.parametrize(("minutes", "where"), [(10, "behind"), (-10, "ahead of")])
@pytest.mark.parametrize("stage", [Stage.SENT, Stage.PREPARING])
def test_a_wrong_clock_is_named_by_how_much(code: str, minutes: int, where: str, stage: Stage) -> None:
    """Whether Connect refuses the request, or STS one for credentials."""
    error = judged(refused(code, timedelta(minutes=minutes)), stage)
    assert type(error) is ClockWrong
    words = error.reason.partition(" s ")
    assert abs(float(words[0].rpartition(" ")[2].replace(",", "")) - 600) <= 2
    assert words[2].startswith(f"{where} AWS's; set it by NTP")


def test_a_clock_that_is_right_is_not_blamed() -> None:
    """Then it is the credentials; without a Date both are named, as before."""
    right = judged(refused("SignatureDoesNotMatch", timedelta(seconds=2)), Stage.SENT)
    assert type(right) is Unauthenticated
    assert "credentials" in right.reason
    assert "clock" not in right.reason
    silent = judged(refused("SignatureDoesNotMatch", None), Stage.SENT)
    assert type(silent) is Unauthenticated
    assert "check this machine's clock and the credentials" in silent.reason


def test_sqs_that_refuses_the_clock_names_it() -> None:
    """The queue of contact events goes by the same rule."""
    error = refused("RequestExpired", timedelta(minutes=10))
    error.operation_name = "ReceiveMessage"
    said = re.fullmatch(
        r"RequestExpired: this machine's clock is (\d+) s behind AWS's; set it by NTP", _reason(error)
    )
    assert said is not None
    assert abs(int(said[1]) - 600) <= 2
