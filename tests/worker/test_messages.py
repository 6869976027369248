"""What lies in a queue: the dialer's own messages get through, all else is dropped, counted and shown."""

import base64
import json
import logging
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.messages import ARGUMENTS, LONGEST_MESSAGE, SHOWN_SECONDS, DroppedMessages, NotOurs, read_message


def message(
    task: object = "dialer.dial", arguments: object = (7, 1, "a" * 64), body: object = None, **changes: Any
) -> dict[str, Any]:
    """A message as kombu writes it, with some of it changed."""
    text = json.dumps([arguments, {}, {"callbacks": None}] if body is None else body)
    return {
        "body": base64.b64encode(text.encode()).decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"task": task, "id": "0b0e", "lang": "py", "retries": 0},
        "properties": {"body_encoding": "base64", "delivery_tag": "t", "delivery_info": {}},
    } | changes


def raw(*arguments: Any, **changes: Any) -> bytes:
    return json.dumps(message(*arguments, **changes)).encode()


def test_own_message_gets_through_and_nothing_else_of_it() -> None:
    """Task, id and arguments stay; headers that make Celery wait, answer or go on elsewhere do not."""
    headers = {"task": "dialer.dial", "id": "0b0e", "eta": "9999-01-01T00:00:00", "timelimit": [1, "x"]}
    read = json.loads(read_message(raw(headers=headers)))
    assert json.loads(base64.b64decode(read["body"])) == [[7, 1, "a" * 64], {}, {}]
    assert (read["headers"]["task"], read["headers"]["id"]) == ("dialer.dial", "0b0e")
    assert {"eta", "timelimit"} & set(read["headers"]) == set()


def test_repeated_message_has_a_tag_of_its_own() -> None:
    """Kombu keeps by its tag what a worker has in its hands; two of one tag would be one."""
    tags = {json.loads(read_message(raw()))["properties"]["delivery_tag"] for _ in range(3)}
    assert len(tags) == 3


def test_every_task_has_its_arguments_described(program: Any) -> None:
    """A task that is missing here would be dropped from the queue for ever."""
    tasks = {name for name in program.app.tasks if name.startswith("dialer.")}
    assert set(ARGUMENTS) == tasks
    assert set(program.app.conf.beat_schedule) <= {name.removeprefix("dialer.") for name in ARGUMENTS}


WRONG: list[tuple[str, bytes]] = [
    ("json", b""),
    ("json", b"nonsense"),
    ("json", b"\xff\xfe\x00"),
    ("json", b"\x00"),
    ("json", b"[" * 30_000),
    ("json", b'{"a":' * 10_000),
    ("json", b"9" * 10_000),
    ("size", b"x" * (LONGEST_MESSAGE + 1)),
    ("envelope", b"[]"),
    ("envelope", b"null"),
    ("envelope", b"{}"),
    ("envelope", raw(headers=None)),
    ("envelope", raw(headers=["task"])),
    ("envelope", raw(properties="x")),
    ("envelope", json.dumps(message() | {"body": 7}).encode()),
    ("envelope", raw(headers={"task": "dialer.dial"})),
    ("envelope", raw(headers={"task": "dialer.dial", "id": "\n"})),
    ("content_type", raw(**{"content-type": "application/x-python-serialize"})),
    ("content_type", raw(**{"content-encoding": "zlib"})),
    ("content_type", raw(properties={"body_encoding": "utf-16"})),
    ("task", raw("celery.backend_cleanup")),
    ("task", raw(["dialer.dial"])),
    ("body", json.dumps(message() | {"body": "***"}).encode()),
    ("body", json.dumps(message() | {"body": base64.b64encode(b"[" * 20_000).decode()}).encode()),
    ("body", raw(body={"args": []})),
    ("body", raw(body=[])),
    ("arguments", raw(body=[[7, 1, "t"], {"fence": 1}, {}])),
    ("arguments", raw(arguments=[7, 1])),
    ("arguments", raw(arguments={"attempt_id": 7})),
    ("arguments", raw(arguments=["7", 1, "t"])),
    ("arguments", raw(arguments=[True, 1, "t"])),
    ("arguments", raw(arguments=[7.0, 1, "t"])),
    ("arguments", raw(arguments=[2**63, 1, "t"])),
    ("arguments", raw(arguments=[-1, 1, "t"])),
    ("arguments", raw(arguments=[7, 2**31, "t"])),
    ("arguments", raw(arguments=[7, 1, "a\x00b"])),
    ("arguments", raw(arguments=[7, 1, "a" * 501])),
    ("arguments", raw("dialer.feed", arguments=[1])),
]


@pytest.mark.parametrize(("code", "wrong"), WRONG, ids=range(len(WRONG)))
def test_what_the_dialer_has_not_sent_is_named_by_a_code(code: str, wrong: bytes) -> None:
    """Each kind of damage has its code; none of them is an error of another sort."""
    with pytest.raises(NotOurs) as refusal:
        read_message(wrong)
    assert str(refusal.value) == code


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
)
_NAMES = ["body", "headers", "properties", "content-type", "content-encoding"]


@given(st.binary(max_size=200) | _VALUES.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_read_or_refused(anything: bytes) -> None:
    """Nothing but NotOurs is raised."""
    with pytest.raises(NotOurs):
        read_message(anything)


@given(st.sampled_from(_NAMES), _VALUES)
def test_any_damage_to_a_message_is_read_or_refused(name: str, value: object) -> None:
    """One part replaced by anything: a message that Celery knows, or NotOurs."""
    try:
        read = json.loads(read_message(json.dumps(message() | {name: value}).encode()))
    except NotOurs:
        return
    assert read["headers"]["task"] in ARGUMENTS


@given(_VALUES)
def test_any_arguments_are_read_or_refused(value: object) -> None:
    """What is in the body instead of the arguments never reaches the ledger."""
    with pytest.raises(NotOurs):
        read_message(raw(body=[value, {}, {}]))


@pytest.fixture
def dropped() -> tuple[DroppedMessages, list[str | None], Callable[[float], None]]:
    """The counter, what it shows, and a way to let time pass."""
    shown: list[str | None] = []
    now = [100.0]

    def later(seconds: float) -> None:
        now[0] += seconds

    return DroppedMessages(shown.append, lambda: now[0]), shown, later


def test_dropped_messages_are_counted_shown_and_logged_once_a_minute(
    dropped: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A thousand of a kind are one line of the log, with their number in the next one."""
    counter, shown, later = dropped
    with caplog.at_level(logging.WARNING):
        for _ in range(1_000):
            counter.count("json", 12)
        later(61)
        counter.count("json", 12)
        counter.count("size", 70_000)
    assert counter.counts == {"json": 1_001, "size": 1}
    assert [record.args for record in caplog.records] == [
        ("json", 12, 1),
        ("json", 12, 1_001),
        ("size", 70_000, 1),
    ]
    assert "1002 messages" in shown[-1]


def test_dropped_messages_leave_the_status_when_they_are_long_past(dropped: Any) -> None:
    """The count stays; the status has nothing to say after ten minutes without another."""
    counter, shown, later = dropped
    counter.settle()
    assert shown == []
    counter.count("json", 1)
    later(SHOWN_SECONDS - 1)
    counter.settle()
    assert shown[-1] is not None
    later(1)
    counter.settle()
    counter.settle()
    assert shown[1:] == [None]
