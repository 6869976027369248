"""The queue of contact events, through real boto3 against a stand-in for SQS over HTTP."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from worker.connect import Connect
from worker.event_queue import EventQueue, EventsUnavailable, region_of


@pytest.fixture
def queue_at() -> Iterator[Callable[..., EventQueue]]:
    """Makes readers for other URLs or with other patience, of the environment as it is then."""
    made: list[EventQueue] = []

    def make(url: str, **patience: int) -> EventQueue:
        queue = EventQueue(url, **({"wait_seconds": 0, "hidden_seconds": 0} | patience))
        made.append(queue)
        return queue

    yield make
    for queue in made:
        queue.close()


@pytest.fixture
def answering(aws: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int, str], str]]:
    """A server that gives one answer to everything: says the URL of a queue there."""
    servers: list[ThreadingHTTPServer] = []

    def serve(status: int, code: str) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                body = json.dumps({"__type": code, "message": "said by arn:aws:iam::123456789012:user/x"})
                self.send_response(status)
                self.send_header("Content-Type", "application/x-amz-json-1.0")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *_: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", f"http://127.0.0.1:{server.server_port}")
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        return "https://sqs.us-east-1.amazonaws.com/123456789012/events"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def test_messages_come_with_their_text_and_go_when_deleted(mail: Any, event_queue: EventQueue) -> None:
    """What was sent is received as it was sent; deleted, it is gone."""
    mail.put("first", '{"second": "ä"}')
    messages = event_queue.receive()
    assert sorted(message.body for message in messages) == ["first", '{"second": "ä"}']
    event_queue.delete(messages)
    assert (event_queue.receive(), mail.count()) == ([], 0)


def test_what_is_not_deleted_comes_again_and_is_counted(mail: Any, event_queue: EventQueue) -> None:
    """Whoever died before deleting a message is not the last to have seen it."""
    mail.put("again")
    assert [event_queue.receive()[0].receives for _ in range(3)] == [1, 2, 3]


def test_received_messages_are_hidden_for_a_while(mail: Any, queue_at: Callable[..., EventQueue]) -> None:
    """Two readers do not get the same message, whatever the queue's own setting says."""
    mail.put("mine")
    assert len(queue_at(mail.url, hidden_seconds=60).receive()) == 1
    assert queue_at(mail.url).receive() == []
    assert mail.count() == 1


def test_more_than_one_request_can_take_are_deleted(mail: Any, queue_at: Callable[..., EventQueue]) -> None:
    """SQS gives and deletes ten at once; a longer list goes in pieces."""
    mail.put(*(str(number) for number in range(23)))
    queue = queue_at(mail.url, hidden_seconds=60)
    batches = [queue.receive() for _ in range(3)]
    assert [len(batch) for batch in batches] == [10, 10, 3]
    queue.delete([message for batch in batches for message in batch])
    assert mail.count() == 0


def test_waiting_ends_with_the_first_message(mail: Any, queue_at: Callable[..., EventQueue]) -> None:
    """Long polling: somebody who waits has a message as soon as it is there, and costs nothing until then."""
    queue = queue_at(mail.url, wait_seconds=20)
    began = time.monotonic()
    threading.Timer(0.3, mail.put, ["late"]).start()
    assert [message.body for message in queue.receive()] == ["late"]
    assert 0.2 < time.monotonic() - began < 15


def test_a_call_in_the_same_process_does_not_disturb_the_queue(
    mail: Any, event_queue: EventQueue, connect: Connect
) -> None:
    """Requests to Connect are followed to their socket; those to SQS go by the same classes, unfollowed."""
    mail.put("still here")
    assert connect.describe("10a4c4eb-f57e-4d4c-b602-bf39176ced07", "0" * 36) is None
    assert [message.body for message in event_queue.receive()] == ["still here"]


@pytest.mark.parametrize(
    ("host", "region"),
    [
        ("sqs.eu-central-1.amazonaws.com", "eu-central-1"),
        ("sqs.cn-north-1.amazonaws.com.cn", "cn-north-1"),
        ("sqs-fips.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
        ("vpce-0a1b-xyz.sqs.us-east-2.vpce.amazonaws.com", "us-east-2"),
        ("sqs.ap-south-1.api.aws", "ap-south-1"),
        ("us-west-2.queue.amazonaws.com", "us-west-2"),
        ("cn-north-1.queue.amazonaws.com.cn", "cn-north-1"),
        ("queue.amazonaws.com", "us-east-1"),
        ("127.0.0.1:4566", None),
        ("sqs.example.com", None),
    ],
)
def test_region_is_the_queues(host: str, region: str | None) -> None:
    """The queue may be in another Region than the instance."""
    assert region_of(f"https://{host}/123456789012/events") == region


def test_region_of_the_url_goes_before_that_of_the_environment(
    aws: None, queue_at: Callable[..., EventQueue]
) -> None:
    """The URL says where the queue is; AWS_REGION only where that is not to be seen."""
    far = queue_at("https://sqs.eu-west-1.amazonaws.com/123456789012/events")
    assert far._client().meta.endpoint_url == "https://sqs.eu-west-1.amazonaws.com"
    assert queue_at("http://127.0.0.1:4566/0/events")._client().meta.region_name == "us-east-1"


def test_reader_waits_longer_than_sqs(aws: None, queue_at: Callable[..., EventQueue]) -> None:
    """SQS keeps a request for 20 s when there is nothing to tell."""
    queue = queue_at("https://sqs.eu-west-1.amazonaws.com/123456789012/events", wait_seconds=20)
    assert queue._client().meta.config.read_timeout == 30


def test_queue_that_is_not_there_is_said(mail: Any, queue_at: Callable[..., EventQueue]) -> None:
    """The setting is named that is wrong."""
    with pytest.raises(EventsUnavailable, match=r"there is no such queue; check DIALER_EVENTS_QUEUE_URL"):
        queue_at(mail.url + "-gone").receive()


@pytest.mark.parametrize(
    ("status", "code", "remedy"),
    [
        (400, "AccessDeniedException", "allow sqs:ReceiveMessage and sqs:DeleteMessage"),
        (403, "com.amazonaws.sqs#AccessDenied", "allow sqs:ReceiveMessage and sqs:DeleteMessage"),
        (400, "KMS.AccessDeniedException", "allow kms:Decrypt"),
        (400, "com.amazonaws.sqs#QueueDoesNotExist", "check DIALER_EVENTS_QUEUE_URL"),
        (403, "ExpiredToken", "the credentials have expired"),
        (403, "UnrecognizedClientException", "check the credentials"),
        (403, "SignatureDoesNotMatch", "check the credentials"),
        (400, "SomethingNewException", "SomethingNewException: SQS does not answer as it should (HTTP 400)"),
        (500, "InternalFailure", "InternalFailure: SQS does not answer as it should (HTTP 500)"),
    ],
)
def test_reason_says_what_to_do(
    answering: Callable[[int, str], str],
    queue_at: Callable[..., EventQueue],
    status: int,
    code: str,
    remedy: str,
) -> None:
    """One line with the remedy, and nothing of what AWS itself may repeat."""
    queue = queue_at(answering(status, code))
    with pytest.raises(EventsUnavailable) as caught:
        queue.receive()
    assert remedy in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "arn:" not in str(caught.value)


def test_reason_has_no_password(
    aws: None, monkeypatch: pytest.MonkeyPatch, queue_at: Callable[..., EventQueue]
) -> None:
    """An address where nobody listens is not repeated: it may have a password in it."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", "http://user:hunter2@127.0.0.1:9")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(EventsUnavailable) as caught:
        queue_at("https://user:hunter2@sqs.us-east-1.amazonaws.com/1/events").receive()
    assert "hunter2" not in str(caught.value)
    assert "check the network and AWS_ENDPOINT_URL_SQS" in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("name", "value", "remedy"),
    [
        ("AWS_REGION", "", "set AWS_REGION"),
        ("AWS_PROFILE", "nobody", "check AWS_PROFILE"),
        (
            "AWS_ENDPOINT_URL_SQS",
            "no-url",
            "check DIALER_EVENTS_QUEUE_URL, AWS_REGION and AWS_ENDPOINT_URL_SQS",
        ),
    ],
)
def test_wrong_aws_settings_are_said(
    aws: None,
    monkeypatch: pytest.MonkeyPatch,
    queue_at: Callable[..., EventQueue],
    name: str,
    value: str,
    remedy: str,
) -> None:
    """What is wrong before any request is named as well."""
    monkeypatch.setenv(name, value)
    with pytest.raises(EventsUnavailable) as caught:
        queue_at("http://127.0.0.1:9/1/events").receive()
    assert remedy in str(caught.value)
