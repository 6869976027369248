"""Contact events out of SQS; our types and our errors out.

What they say is judged elsewhere (events.py). Nothing here rings anybody, so the SDK may repeat its requests.
"""

import os
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import boto3
import botocore.exceptions as aws
from botocore.config import Config

from campaigns.ledger.clock import wall_clock
from worker.aws_clock import CLOCK_CODES, aws_ahead, clock_hint
from worker.connect_errors import Stage, judged

_MOST_AT_ONCE = 10
"""Messages a request, received or deleted; SQS allows no more."""

_OURS = ("ReceiveMessage", "DeleteMessageBatch")

# sqs.REGION.amazonaws.com, .com.cn, sqs-fips., VPC endpoints; and the form of queues made before 2014.
_REGION_OF_HOST = (
    re.compile(r"(?:^|\.)sqs(?:-fips)?\.([a-z0-9-]+)\..*(?:amazonaws\.com(?:\.cn)?|api\.aws)$"),
    re.compile(r"^([a-z0-9-]+)\.queue\.amazonaws\.com(?:\.cn)?$"),
)

_RIGHTS = "allow sqs:ReceiveMessage and sqs:DeleteMessage on the queue to these credentials"
_KEY = "allow kms:Decrypt on the queue's key to these credentials"
_NO_QUEUE = "there is no such queue; check DIALER_EVENTS_QUEUE_URL, and that its account and Region are meant"
_CREDENTIALS = "check the credentials (AWS_ACCESS_KEY_ID, AWS_PROFILE or the machine's role)"
_CLOCK = "check this machine's clock and the credentials"

# Error codes, without what comes before the last dot and without "Exception" → what to do.
_BY_CODE = {
    "AccessDenied": _RIGHTS,
    "NotAuthorized": _RIGHTS,
    "QueueDoesNotExist": _NO_QUEUE,
    "NonExistentQueue": _NO_QUEUE,
    "InvalidAddress": _NO_QUEUE,
    "ExpiredToken": f"the credentials have expired; {_CREDENTIALS}",
    "InvalidAccessKeyId": _CREDENTIALS,
    "InvalidClientTokenId": _CREDENTIALS,
    "UnrecognizedClient": _CREDENTIALS,
    "MissingAuthenticationToken": _CREDENTIALS,
    "IncompleteSignature": _CREDENTIALS,
    "InvalidSignature": _CLOCK,
    "SignatureDoesNotMatch": _CLOCK,
    "RequestExpired": _CLOCK,
    "OverLimit": "too many of the queue's messages are in flight; what else reads it?",
}


class EventsUnavailable(Exception):
    """The queue of contact events does not answer, or not to us. The text says what to do."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message as the queue gave it out."""

    body: str
    receipt: str
    """What it is deleted by."""
    receives: int
    """How often the queue has given it out, from 1."""


class EventQueue:
    """The SQS queue that contact events go to. Threads may share one.

    Region: the one in the queue's URL, else AWS_REGION. Credentials, endpoint (`AWS_ENDPOINT_URL_SQS`) and
    proxies come from the environment or the profile, as for any user of the SDK.

    wait_seconds: how long `receive` waits for a message, 20 at most.
    hidden_seconds: how long a received message stays hidden from everybody; unless it is deleted, it is
        given out once more afterwards.
    """

    def __init__(self, url: str, *, wait_seconds: int = 20, hidden_seconds: int = 10) -> None:
        self._url = url
        self._wait_seconds = wait_seconds
        self._hidden_seconds = hidden_seconds
        self._made: Any = None
        self._making = threading.Lock()

    def receive(self) -> list[Message]:
        """Up to 10 messages, as soon as there are any. Raises EventsUnavailable."""
        answer = self._ask(
            "receive_message",
            MaxNumberOfMessages=_MOST_AT_ONCE,
            WaitTimeSeconds=self._wait_seconds,
            VisibilityTimeout=self._hidden_seconds,
            MessageSystemAttributeNames=["ApproximateReceiveCount"],
        )
        return [
            Message(
                body=found.get("Body", ""),
                receipt=found["ReceiptHandle"],
                receives=int(found.get("Attributes", {}).get("ApproximateReceiveCount", 1)),
            )
            for found in answer.get("Messages", [])
        ]

    def delete(self, messages: Sequence[Message]) -> None:
        """Take messages off the queue for good. Raises EventsUnavailable.

        One that SQS cannot delete just now is given out once more, and does no harm.
        """
        for first in range(0, len(messages), _MOST_AT_ONCE):
            these = messages[first : first + _MOST_AT_ONCE]
            entries = [{"Id": str(at), "ReceiptHandle": each.receipt} for at, each in enumerate(these)]
            self._ask("delete_message_batch", Entries=entries)

    def close(self) -> None:
        """Close the connections. The next use opens new ones."""
        with self._making:
            if self._made is not None:
                self._made.close()
                self._made = None

    def _ask(self, operation: str, **parameters: Any) -> Any:
        try:
            return getattr(self._client(), operation)(QueueUrl=self._url, **parameters)
        except Exception as error:
            # `from None`: AWS's own text may repeat the URL, with a password in it.
            raise EventsUnavailable(_reason(error)) from None

    def _client(self) -> Any:
        # Making a client is not safe in two threads at once; using one is.
        with self._making:
            if self._made is None:
                region = region_of(self._url) or os.environ.get("AWS_REGION") or None
                config = Config(
                    connect_timeout=3,
                    # Longer than SQS waits for a message.
                    read_timeout=self._wait_seconds + 10,
                    tcp_keepalive=True,
                    retries={"mode": "standard"},
                )
                self._made = boto3.session.Session(region_name=region).client("sqs", config=config)
            return self._made


def region_of(url: str) -> str | None:
    """The Region that a queue's URL names, or None if it is not one of AWS's."""
    host = urlsplit(url).hostname or ""
    if host == "queue.amazonaws.com":
        return "us-east-1"
    for pattern in _REGION_OF_HOST:
        found = pattern.search(host)
        if found:
            return found[1]
    return None


def _reason(error: Exception) -> str:
    """What went wrong and what to do, without secrets."""
    name = type(error).__name__
    if isinstance(error, aws.HTTPClientError | aws.ConnectionError):
        return f"{name}: SQS does not answer; check the network and AWS_ENDPOINT_URL_SQS"
    if isinstance(error, ValueError):
        return f"{name}: check DIALER_EVENTS_QUEUE_URL, AWS_REGION and AWS_ENDPOINT_URL_SQS"
    if not isinstance(error, aws.ClientError) or error.operation_name not in _OURS:
        # No Region, no credentials, or somebody else's answer: STS's, when it is asked for a role.
        return str(judged(error, Stage.PREPARING))
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if code.startswith("KMS."):
        return f"{code}: {_KEY}"
    key = code.rpartition(".")[2].removesuffix("Exception")
    hint = _BY_CODE.get(key)
    if key in CLOCK_CODES:
        hint = clock_hint(aws_ahead(error.response, wall_clock()), _CLOCK, _CREDENTIALS)
    return f"{code}: {hint or f'SQS does not answer as it should (HTTP {status})'}"
