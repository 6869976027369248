"""Credentials that expire, are renewed, come late or are not there: it goes on by itself, and says why not.

The server checks who signs: it takes the keys that a test calls good, and refuses all others as AWS does.
"""

import os
import re
import shlex
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.credentials import ReadOnlyCredentials

from campaigns.campaign import ConnectOptions
from tests.fuzz.odd_server import Line, answer, odd_server
from worker import credentials
from worker.connect import CallOrder, Connect
from worker.connect_errors import NeverSent, Unauthenticated
from worker.credentials import Credentials
from worker.event_queue import EventQueue, EventsUnavailable

INSTANCE = "10a4c4eb-f57e-4d4c-b602-bf39176ced07"
FLOW = "b0b8f2dd-ed1b-4c44-af36-ce189a178181"
OPTIONS = ConnectOptions(instance_id=INSTANCE, contact_flow_id=FLOW, source_phone_number="+14155550199")
ORDER = CallOrder("+14155550100", "t" * 64, {}, OPTIONS)
SECRET = "wJalrXUtnFEMIK7MDENGbPxRfiCYEXAMPLEKEY"


class Gate:
    """What the server holds for right, and what it was asked."""

    def __init__(self) -> None:
        self.good = {"AKIAGOOD"}
        self.code = "ExpiredTokenException"
        self.asked: list[str] = []
        self.placed = 0

    def __call__(self, line: Line) -> None:
        found = re.search(r"Credential=(\w+)/", line.headers.get("Authorization", ""))
        key = found[1] if found else ""
        self.asked.append(key)
        if key not in self.good:
            line.send(
                answer(403, {"message": "wrong", "__type": self.code}, f"x-amzn-ErrorType: {self.code}")
            )
            return
        self.placed += 1
        line.send(answer(200, {"ContactId": f"c-{self.placed}", "Contacts": [], "Contact": {}}))


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An AWS configuration of the test's own, without any keys."""
    for name in list(os.environ):
        if name.startswith("AWS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("NO_PROXY", "localhost")
    return tmp_path


@pytest.fixture
def gate(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gate]:
    gate = Gate()
    with odd_server(gate) as url:
        monkeypatch.setenv("AWS_ENDPOINT_URL_CONNECT", url)
        monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", url)
        yield gate


@pytest.fixture
def connect(gate: Gate, monkeypatch: pytest.MonkeyPatch) -> Iterator[Connect]:
    monkeypatch.setattr(credentials, "_AGAIN_SECONDS", 0.2)
    connect = Connect(read_timeout_seconds=5)
    yield connect
    connect.close()


def write(home: Path, key: str) -> None:
    (home / "credentials").write_text(
        f"[default]\naws_access_key_id = {key}\naws_secret_access_key = {SECRET}\n"
    )


def placed_at_last(connect: Connect, within: float = 10.0) -> str:
    """Ask until it is placed, as the dialer does with an attempt that is due again."""
    until = time.monotonic() + within
    while True:
        try:
            return connect.place(ORDER)
        except NeverSent:
            assert time.monotonic() < until
            time.sleep(0.05)


def test_keys_that_are_renewed_in_the_file_are_used_at_once(
    home: Path, gate: Gate, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One request is turned away; the next one is signed with what the file has now."""
    monkeypatch.setattr(credentials, "_AGAIN_SECONDS", 0.0)
    write(home, "AKIAGOOD")
    assert connect.place(ORDER) == "c-1"
    gate.good = {"AKIANEW"}
    write(home, "AKIANEW")
    with pytest.raises(Unauthenticated) as trouble:
        connect.place(ORDER)
    assert trouble.value.code == "ExpiredTokenException"
    assert connect.place(ORDER) == "c-2"
    assert gate.asked == ["AKIAGOOD", "AKIAGOOD", "AKIANEW"]


@pytest.mark.parametrize(
    "code",
    ["ExpiredTokenException", "UnrecognizedClientException", "InvalidSignatureException", "ExpiredToken"],
)
def test_keys_that_are_renewed_late_need_nobody(home: Path, gate: Gate, connect: Connect, code: str) -> None:
    """However long they are wrong, and whatever that is called: no pause and no restart."""
    gate.code, gate.good = code, set()
    write(home, "AKIAOLD")
    for _ in range(20):
        with pytest.raises(Unauthenticated, match=code):
            connect.place(ORDER)
    assert len(gate.asked) < 10, "while nothing changes, AWS is asked now and then"
    gate.good = {"AKIANEW"}
    write(home, "AKIANEW")
    assert placed_at_last(connect) == "c-1"


def test_keys_that_are_not_there_at_first_are_found_later(home: Path, gate: Gate, connect: Connect) -> None:
    """A process that started before its keys were there is not lost."""
    with pytest.raises(Unauthenticated, match="set AWS_PROFILE"):
        connect.place(ORDER)
    assert connect.region == "us-east-1"
    write(home, "AKIAGOOD")
    assert placed_at_last(connect) == "c-1"
    assert gate.asked == ["AKIAGOOD"]


def test_a_half_written_file_is_read_again(home: Path, gate: Gate, connect: Connect) -> None:
    """Files are not always exchanged in one move."""
    (home / "credentials").write_text("[default]\naws_access_key_id = AKIAGOOD\n")
    with pytest.raises(Unauthenticated):
        connect.place(ORDER)
    (home / "credentials").write_text("[def")
    with pytest.raises(Unauthenticated):
        connect.place(ORDER)
    write(home, "AKIAGOOD")
    assert placed_at_last(connect) == "c-1"


def process(home: Path, body: str) -> None:
    """A credential_process that runs this Python, and may fail while the file `failing` is there."""
    script = home / "process.py"
    script.write_text(
        "import json, os, sys, time\n"
        f"failing = os.path.exists({str(home / 'failing')!r})\n"
        f"keys = {{'Version': 1, 'AccessKeyId': 'AKIAGOOD', 'SecretAccessKey': {SECRET!r}}}\n" + body
    )
    command = shlex.join([sys.executable, str(script)])
    (home / "config").write_text(f"[default]\ncredential_process = {command}\n")


@pytest.mark.parametrize(
    "failing",
    [
        f"sys.exit({SECRET!r})",
        f"print({SECRET!r}); sys.exit(0)",
        "print('{}'); sys.exit(0)",
        "print(json.dumps({'Version': 1})); sys.exit(0)",
        "print('[]'); sys.exit(0)",
        "sys.stdout.buffer.write(b'\\xff'); sys.exit(0)",
    ],
)
def test_a_process_that_fails_for_a_while_pauses_nothing(
    home: Path, gate: Gate, connect: Connect, failing: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is sent, the reason says so without what the program has written, and later it goes on."""
    process(home, f"if failing: {failing}\nprint(json.dumps(keys))\n")
    (home / "failing").touch()
    for _ in range(3):
        with pytest.raises(Unauthenticated) as trouble:
            connect.place(ORDER)
        assert SECRET not in f"{trouble.value} {trouble.value!r} {caplog.text}"
        time.sleep(0.1)
    assert gate.asked == []
    (home / "failing").unlink()
    assert placed_at_last(connect) == "c-1"


def test_a_process_that_hangs_is_ended(
    home: Path, gate: Gate, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """botocore would wait for it for ever, and every thread with it."""
    monkeypatch.setattr(credentials, "_PROCESS_SECONDS", 0.5)
    process(home, "if failing: os.system('sleep 60')\nprint(json.dumps(keys))\n")
    (home / "failing").touch()
    began = time.monotonic()
    with pytest.raises(Unauthenticated, match="credential_process gives none"):
        connect.place(ORDER)
    assert time.monotonic() - began < 10
    (home / "failing").unlink()
    monkeypatch.setattr(credentials, "_PROCESS_SECONDS", 20)
    assert placed_at_last(connect, 30) == "c-1"


def test_every_question_goes_by_the_renewed_keys(home: Path, gate: Gate, connect: Connect) -> None:
    """Following, searching and hanging up pause no campaign either."""
    write(home, "AKIAOLD")
    for ask in (
        lambda: connect.describe(INSTANCE, "c-1"),
        lambda: connect.stop(INSTANCE, "c-1"),
        lambda: connect.place(ORDER),
    ):
        with pytest.raises(Unauthenticated):
            ask()
    write(home, "AKIAGOOD")
    placed_at_last(connect)
    assert connect.stop(INSTANCE, "c-1") is True


def test_the_queue_of_events_goes_by_renewed_keys(
    home: Path, gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Events are read again when its keys are right again, without a restart."""
    monkeypatch.setattr(credentials, "_AGAIN_SECONDS", 0.0)
    gate.code = "ExpiredToken"
    queue = EventQueue("https://sqs.us-east-1.amazonaws.com/123456789012/events", wait_seconds=0)
    with pytest.raises(EventsUnavailable, match="set AWS_PROFILE"):
        queue.receive()
    write(home, "AKIAOLD")
    with pytest.raises(EventsUnavailable, match="the credentials have expired"):
        queue.receive()
    write(home, "AKIAGOOD")
    assert queue.receive() == []
    queue.close()


class Source:
    """Where keys come from, in a test: counts its readings."""

    def __init__(self) -> None:
        self.key: str | None = "old"
        self.readings = 0
        self.at_once = 0
        self.most_at_once = 0
        self.during: Callable[[], object] = lambda: None
        self._lock = threading.Lock()

    def __call__(self) -> Any:
        with self._lock:
            self.readings += 1
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        self.during()
        with self._lock:
            self.at_once -= 1
        if self.key is None:
            return None
        keys = ReadOnlyCredentials(self.key, "s", None, None)
        return SimpleNamespace(get_frozen_credentials=lambda: keys)


def test_threads_that_are_refused_together_read_the_keys_once() -> None:
    """A refusal of old keys says nothing of those that another thread has read since."""
    source, now = Source(), [0.0]
    held = Credentials(read=source, monotonic=lambda: now[0])
    readings = [held.ready() for _ in range(50)]
    assert source.readings == 1
    source.key, now[0] = "new", 100.0
    for reading in readings:
        held.failed(reading, Unauthenticated("ExpiredToken", "x"))
    assert (held.ready(), source.readings) == (2, 2)
    for reading in readings:
        held.failed(reading, Unauthenticated("ExpiredToken", "x"))
    assert [held.ready() for _ in range(50)] == [2] * 50
    assert source.readings == 2


def test_while_one_thread_reads_the_others_do_not_wait() -> None:
    """A source that takes its time holds one thread, and not all of them."""
    source, reading, go_on = Source(), threading.Event(), threading.Event()
    held = Credentials(read=source, monotonic=lambda: 100.0)
    held.failed(held.ready(), Unauthenticated("ExpiredToken", "x"))
    held._try_at = 0.0
    source.key = "new"
    source.during = lambda: (reading.set(), go_on.wait(20))
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(held.ready)
        assert reading.wait(20)
        for _ in range(20):
            with pytest.raises(Unauthenticated):
                held.ready()
        go_on.set()
        assert first.result(20) == 2
    assert (held.ready(), source.most_at_once, source.readings) == (2, 1, 2)


def test_what_stays_wrong_is_tried_every_five_seconds() -> None:
    """Not by every call: each costs a request, and the reading may cost more."""
    source, now = Source(), [0.0]
    held = Credentials(read=source, monotonic=lambda: now[0])
    tried = 0
    for tenth in range(600):
        now[0] = tenth / 10
        try:
            held.failed(held.ready(), Unauthenticated("ExpiredToken", "x"))
            tried += 1
        except Unauthenticated:
            pass
    assert 11 <= tried <= 14
    held.taken()
    assert held.ready() == 1


def test_keys_that_still_work_are_used_while_their_source_fails() -> None:
    """Ten minutes before their end botocore insists on new ones; until then the old ones ring."""
    now, ends, fails = [0.0], 300.0, [False]
    keys = ReadOnlyCredentials("k", "s", None, None)

    class Refreshable:
        def refresh_needed(self, refresh_in: float) -> bool:
            return ends - now[0] < refresh_in

        def get_frozen_credentials(self) -> Any:
            if fails[0]:
                raise RuntimeError("no route")
            return keys

    held = Credentials(read=Refreshable, monotonic=lambda: now[0])
    assert held.ready() == 1
    fails[0], now[0] = True, 200.0
    assert held.ready() == 1
    assert held.get_frozen_credentials() == keys
    now[0] = 301.0
    with pytest.raises(Unauthenticated):
        held.ready()
    fails[0], now[0] = False, 310.0
    assert held.ready() >= 1
