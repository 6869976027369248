"""Starting and stopping."""

import http.client
import logging
import math
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from campaigns.mistake import Mistake
from worker.sandbox.options import call_seconds_from
from worker.sandbox.server import SandboxOptions, running_sandbox, serve

ROOT = Path(__file__).parents[3]
BODY = (
    '{"InstanceId":"10a4c4eb-f57e-4d4c-b602-bf39176ced07","ContactFlowId":"b0b8f2dd-ed1b-4c44-af36-ce189a178181",'
    '"SourcePhoneNumber":"+14155550100","DestinationPhoneNumber":"%s"}'
)
PROGRAM = """
from worker.sandbox.server import SandboxOptions, serve
serve(SandboxOptions(port=0), on_ready=lambda url: print(url, flush=True))
print("returned", flush=True)
"""


@contextmanager
def _process() -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = [sys.executable, "-W", "error", "-c", PROGRAM]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            yield process, urlsplit(process.stdout.readline().strip()).netloc
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_it_at_once_and_cleanly(number: signal.Signals) -> None:
    """With an idle connection, half a request and a slow answer open, it is silently gone at once."""
    with _process() as (process, address):
        idle, half, slow = (http.client.HTTPConnection(address, timeout=5) for _ in range(3))
        idle.request("GET", "/_sandbox/stats")
        idle.getresponse().read()
        half.putrequest("PUT", "/contact/outbound-voice")
        half.putheader("Content-Length", "1000")
        half.endheaders(b"{")
        slow.request("PUT", "/contact/outbound-voice", BODY % "+14155550199")
        while True:
            idle.request("GET", "/_sandbox/stats")
            if b'"rang":1' in idle.getresponse().read():
                break
        begin = time.monotonic()
        process.send_signal(number)
        out, err = process.communicate(timeout=10)
        took = time.monotonic() - begin
        for connection in (idle, half, slow):
            connection.close()
    assert (out, err, process.returncode) == ("returned\n", "", 0)
    # It takes 0.2 s; the rest is for a busy machine. Waiting for the slow answer would take 15.
    assert took < 2.0


def test_a_port_in_use_is_a_mistake_with_a_remedy() -> None:
    """The message names the address and what to do, in one line."""
    with running_sandbox(SandboxOptions(port=0)) as url:
        port = urlsplit(url).port
        assert port is not None
        with pytest.raises(Mistake, match=rf"127\.0\.0\.1:{port}: Address already in use; .*--port"):
            serve(SandboxOptions(port=port))


@pytest.mark.parametrize("host", ["256.256.256.256", "not a host"])
def test_a_host_that_is_none_is_a_mistake(host: str) -> None:
    """An address that cannot be resolved says so."""
    with pytest.raises(Mistake, match="cannot listen on"):
        serve(SandboxOptions(host=host))


@pytest.mark.parametrize(
    "wrong",
    [
        {"speed": 0},
        {"burst": 0},
        {"calls_per_second": math.inf},
        {"latency_seconds": -1},
        {"max_active_calls": -1},
        {"call_seconds": (0, 30)},
        {"call_seconds": (30, 6)},
    ],
)
def test_options_that_cannot_work_are_mistakes(wrong: dict[str, Any]) -> None:
    """Each names itself."""
    with pytest.raises(Mistake, match=next(iter(wrong))):
        SandboxOptions(**wrong)


def test_a_span_of_seconds_as_it_is_written() -> None:
    """6-30 is the least and the most; anything else is a mistake that shows how to write it."""
    assert call_seconds_from("6-30") == (6.0, 30.0)
    for wrong in ("6", "six-30", "", "-6-30"):
        with pytest.raises(Mistake, match="such as 6-30"):
            call_seconds_from(wrong)


def test_latency_delays_every_answer() -> None:
    """An answer takes at least the latency, and requests do not wait for each other."""
    with running_sandbox(SandboxOptions(port=0, latency_seconds=0.2)) as url:

        def ask() -> None:
            with pytest.raises(urllib.error.HTTPError) as missing:
                urllib.request.urlopen(url + "/contacts/a/b")
            missing.value.close()

        begin = time.monotonic()
        askers = [threading.Thread(target=ask) for _ in range(10)]
        for asker in askers:
            asker.start()
        for asker in askers:
            asker.join()
        took = time.monotonic() - begin
    assert 0.2 <= took < 1.5


def test_logs_mask_numbers(caplog: pytest.LogCaptureFixture) -> None:
    """A fault is logged with a number that nobody can call."""
    caplog.set_level(logging.INFO, logger="worker.sandbox")
    with running_sandbox(SandboxOptions(port=0, faults=True)) as url:
        request = urllib.request.Request(
            url + "/contact/outbound-voice", (BODY % "+14155550190").encode(), method="PUT"
        )
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request)
        refused.value.close()
    assert "+1415•••0190: refuse_destination" in caplog.text
    assert "+14155550190" not in caplog.text


def test_a_caller_who_leaves_in_the_middle_leaves_no_trace(caplog: pytest.LogCaptureFixture) -> None:
    """Half a request and a closed connection are no error of the sandbox's."""
    with running_sandbox(SandboxOptions(port=0)) as url:
        address = urlsplit(url).netloc
        half = http.client.HTTPConnection(address, timeout=5)
        half.putrequest("PUT", "/contact/outbound-voice")
        half.putheader("Content-Length", "1000")
        half.endheaders(b"{")
        half.close()
        with urllib.request.urlopen(url + "/_sandbox/stats") as response:
            assert b'"requests":0' in response.read()
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
