"""Some seconds of the fuzzers of answers and events; `bench/` has the minutes."""

import json
import random

import pytest

from tests.fuzz import answers, events
from tests.fuzz.odd_server import Line, answer, odd_server
from tests.worker.conftest import _AWS
from worker.event_queue import EventQueue


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Made-up credentials, no profile of this machine's."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in _AWS.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("seed", range(5))
def test_damaged_answers_ring_nobody_twice(seed: int) -> None:
    """Whatever a gateway makes of Connect's answers: no traceback, no hang, no second ring."""
    assert answers.play(seed) is None


@pytest.mark.parametrize("seed", range(10))
def test_damaged_events_have_nobody_dialed_again(seed: int) -> None:
    """Whatever stands in the queue: it is taken in or dropped, and the next message is read."""
    assert events.play(seed) is None


def test_damaged_answers_of_the_queue_are_no_traceback(aws: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """What SQS, or what stands before it, answers: messages that can be deleted, or one line why not."""
    rng = random.Random(7)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with odd_server(lambda line: line.send(events.received(rng))) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", url)
        queue = EventQueue("https://sqs.us-east-1.amazonaws.com/123456789012/events", wait_seconds=0)
        assert [broken for _ in range(200) if (broken := events.receive(queue)) is not None] == []
        queue.close()


def test_messages_that_are_too_much_together_are_read_one_by_one(
    aws: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten messages of more than is read of an answer would come again for days, and hide all others."""
    asked: list[int] = []

    def play(line: Line) -> None:
        most = json.loads(line.body)["MaxNumberOfMessages"]
        asked.append(most)
        message = {"ReceiptHandle": "r", "Body": "x" * 2_000_000}
        line.send(answer(200, {"Messages": [message] * most}))

    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with odd_server(play) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", url)
        queue = EventQueue("https://sqs.us-east-1.amazonaws.com/123456789012/events", wait_seconds=0)
        with pytest.raises(Exception, match="AnswerTooLarge"):
            queue.receive()
        assert [len(queue.receive()) for _ in range(2)] == [1, 2]
        queue.close()
    assert asked == [10, 1, 2]
