"""Contact events out of SQS; our types and our errors out.

What they say is judged elsewhere (events.py). Nothing here rings anybody, so the SDK may repeat its requests.
"""

import logging
import os
import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import boto3
import botocore.exceptions as aws
import botocore.session
from botocore.config import Config

from campaigns.ledger.clock import wall_clock
from worker import reply
from worker.aws_clock import CLOCK_CODES, aws_ahead, clock_hint
from worker.connect_errors import (
    AnswerTooLarge,
    OddAnswer,
    Stage,
    Unauthenticated,
    caused_by,
    judged,
    judged_answer,
)
from worker.credentials import Credentials

log = logging.getLogger(__name__)

_MOST_AT_ONCE = 10
"""Messages a request, received or deleted; SQS allows no more."""

_LONGEST_RECEIPT = 10_000
"""Characters of a receipt handle; the API reference has about 1,024."""

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


class _TooMuchAtOnce(EventsUnavailable):
    """The messages of one answer were more than is read of any."""


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
        self._at_once = _MOST_AT_ONCE
        self._credentials = Credentials()
        self._made: Any = None
        self._making = threading.Lock()

    def receive(self) -> list[Message]:
        """Up to 10 messages, as soon as there are any. Raises EventsUnavailable."""
        try:
            answer = self._ask(
                "receive_message",
                MaxNumberOfMessages=self._at_once,
                WaitTimeSeconds=self._wait_seconds,
                VisibilityTimeout=self._hidden_seconds,
                MessageSystemAttributeNames=["ApproximateReceiveCount"],
            )
            messages = _messages(reply.content_of(answer))
        except _TooMuchAtOnce:
            # One by one they can be read, and deleted; together they would come again for days.
            self._at_once = 1
            raise
        except OddAnswer as error:
            raise EventsUnavailable(str(error)) from None
        self._at_once = min(2 * self._at_once, _MOST_AT_ONCE)
        return messages

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
        reading = 0
        try:
            client = self._client()
            reading = self._credentials.ready()
            answer = getattr(client, operation)(QueueUrl=self._url, **parameters)
        except Exception as error:
            if (wrong := _unauthenticated(error)) is not None:
                self._credentials.failed(reading, wrong)
            # `from None`: AWS's own text may repeat the URL, with a password in it.
            kind = _TooMuchAtOnce if caused_by(error, AnswerTooLarge) else EventsUnavailable
            raise kind(_reason(error)) from None
        self._credentials.taken()
        return answer

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
                core = botocore.session.Session()
                core.register_component("credential_provider", self._credentials)
                session = boto3.session.Session(botocore_session=core, region_name=region)
                client: Any = session.client("sqs", config=config)
                client.meta.events.register("before-parse.sqs.ReceiveMessage", reply.read_here)
                self._made = client
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


def _messages(content: Mapping[str, Any]) -> list[Message]:
    """ReceiveMessage's answer → the messages that can be read and deleted. Raises OddAnswer if it is none."""
    found = content.get("Messages") or []
    if not isinstance(found, list):
        raise OddAnswer("NoMessages", "the answer holds no messages; check AWS_ENDPOINT_URL_SQS")
    messages = [message for each in found if (message := _message(each)) is not None]
    if len(messages) < len(found):
        log.warning("%d messages cannot be read; SQS gives them out again", len(found) - len(messages))
    return messages


def _message(found: object) -> Message | None:
    if not isinstance(found, dict):
        return None
    body, receipt, attributes = found.get("Body"), found.get("ReceiptHandle"), found.get("Attributes")
    if not isinstance(receipt, str) or not 0 < len(receipt) <= _LONGEST_RECEIPT or not receipt.isprintable():
        return None
    times = attributes.get("ApproximateReceiveCount") if isinstance(attributes, dict) else None
    receives = int(times) if isinstance(times, str) and re.fullmatch("[0-9]{1,9}", times) else 1
    return Message(body if isinstance(body, str) else "", receipt, receives)


def _unauthenticated(error: Exception) -> Unauthenticated | None:
    """The error as one of the credentials, if it is that."""
    if isinstance(error, aws.ClientError) and error.operation_name in _OURS:
        answer = error.response.get("Error", {})
        # Older queues name their errors with a prefix.
        code = str(answer.get("Code", "")).rpartition(".")[2]
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        verdict = judged_answer(status, code, answer.get("Message"))
    else:
        verdict = judged(error, Stage.PREPARING)
    return verdict if isinstance(verdict, Unauthenticated) and not _on_the_way(error) else None


def _on_the_way(error: Exception) -> bool:
    return isinstance(error, aws.HTTPClientError | aws.ConnectionError)


def _reason(error: Exception) -> str:
    """What went wrong and what to do, without secrets."""
    name = type(error).__name__
    if caused_by(error, AnswerTooLarge):
        return "AnswerTooLarge: SQS sends more than ten messages can be; check AWS_ENDPOINT_URL_SQS"
    if isinstance(error, Unauthenticated):
        return str(error)
    if _on_the_way(error):
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
