"""What the stack on one machine is made of: its directories, the sandbox's port and environment, Redis."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from itertools import islice
from pathlib import Path

import pytest

from campaigns.mistake import Mistake
from worker.local import (
    Stack,
    Trial,
    _answers,
    _lasting_port,
    _make_directory,
    _processors,
    _sandbox_environment,
    only_one,
)
from worker.settings import DialerSettings


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty working directory, and nobody's settings."""
    for name in [name for name in os.environ if name.startswith("DIALER_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    before = os.umask(0o022)
    yield tmp_path
    os.umask(before)


def test_every_directory_that_is_made_is_private() -> None:
    """The journal of a trial has telephone numbers in it, so the data directory is for its owner alone."""
    _make_directory(Path(".dialer/demo/logs"))
    modes = {
        part: Path(part).stat().st_mode & 0o777 for part in (".dialer", ".dialer/demo", ".dialer/demo/logs")
    }
    assert set(modes.values()) == {0o700}, modes


def test_a_directory_that_cannot_be_made_is_a_mistake(home: Path) -> None:
    """The user is told which one, and what would help."""
    (home / "taken").touch()
    with pytest.raises(Mistake, match=r"^taken/logs: cannot be created: .*; work in a directory of your own"):
        _make_directory(Path("taken/logs"))


def test_only_one_is_inside(home: Path) -> None:
    """A second demo in the same directory would sweep away the first one's ledger."""
    with only_one(home / "demo", "a demo"):
        with (
            pytest.raises(Mistake, match=r"a demo is running in .*/demo already"),
            only_one(home / "demo", "a demo"),
        ):
            pass
        with only_one(home / "elsewhere", "a demo"):
            pass
    with only_one(home / "demo", "a demo"):
        pass


def test_the_sandbox_keeps_its_port(home: Path) -> None:
    """A contact is found again at the same address after any number of starts."""
    port = _lasting_port(home / "sandbox.port")
    assert 0 < port < 65536
    assert port == _lasting_port(home / "sandbox.port")
    assert sorted(os.listdir(home)) == ["sandbox.port"]


def test_dial_workers_are_spread_over_the_processors() -> None:
    """Each in its turn, as often as there are workers, and none that this process may not use."""
    if sys.platform != "linux":
        assert next(iter(_processors())) is None
        return
    allowed = os.sched_getaffinity(0)
    twice = list(islice(_processors(), 2 * len(allowed)))
    assert sorted(twice[: len(allowed)], key=str) == sorted(allowed, key=str)
    assert twice[len(allowed) :] == twice[: len(allowed)]


def test_a_port_answers_or_does_not() -> None:
    """Waiting for the sandbox means waiting for its port."""
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]
        assert _answers(port)
    assert not _answers(port)


def test_no_call_of_a_trial_can_leave_this_machine() -> None:
    """Whatever credentials, endpoint or proxy the user has, a trial talks to the sandbox only."""
    environment = _sandbox_environment(4711, DialerSettings(), Trial(speed=10))
    assert environment["AWS_ENDPOINT_URL_CONNECT"] == "http://127.0.0.1:4711"
    assert environment["AWS_IGNORE_CONFIGURED_ENDPOINT_URLS"] == "false"
    assert {environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"]} == {"sandbox"}
    assert environment["AWS_SESSION_TOKEN"] == ""
    assert environment["NO_PROXY"] == environment["no_proxy"] == "127.0.0.1"
    assert environment["DIALER_EXCHANGE"] == "sandbox"


def test_trial_takes_no_real_events(monkeypatch: pytest.MonkeyPatch) -> None:
    """Read by a trial, events would be gone from the queue; only a stand-in for SQS may be read."""
    settings = DialerSettings(events_queue_url="https://sqs.us-east-1.amazonaws.com/123456789012/events")
    monkeypatch.delenv("AWS_ENDPOINT_URL_SQS", raising=False)
    assert _sandbox_environment(4711, settings, Trial())["DIALER_EVENTS_QUEUE_URL"] == ""
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", "http://127.0.0.1:5000")
    assert _sandbox_environment(4711, settings, Trial())["DIALER_EVENTS_QUEUE_URL"].endswith("/events")
    assert _sandbox_environment(4711, DialerSettings(), Trial())["DIALER_EVENTS_QUEUE_URL"] == ""


@pytest.mark.parametrize("speed", [1.5, 5.0, 10.0, 60.0, 1000.0])
def test_no_token_is_sent_again_once_a_busy_call_of_the_trial_is_over(speed: float) -> None:
    """A busy line is free after 2 s of the sandbox's time; later its token would ring a second time."""
    environment = _sandbox_environment(4711, DialerSettings(), Trial(speed))
    window = float(environment["DIALER_REPLAY_WINDOW_SECONDS"])
    assert window * speed < 2.0
    assert float(environment["DIALER_FOLLOW_SECONDS"]) >= 0.5


def test_at_the_speed_of_life_the_replay_window_is_as_it_was_set() -> None:
    """Only a faster time needs a shorter window."""
    environment = _sandbox_environment(4711, DialerSettings(replay_window_seconds=4.0), Trial(speed=1.0))
    assert float(environment["DIALER_REPLAY_WINDOW_SECONDS"]) == 4.0


@pytest.mark.parametrize("module", ["worker.embedded_redis", "worker.sandbox_process"])
def test_whom_all_others_wait_for_starts_without_what_the_ledger_needs(module: str) -> None:
    """Redis and the sandbox come up first, so what they import delays the first call."""
    program = f"import sys, {module}; print(*sys.modules)"
    command = [sys.executable, "-c", program]
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": root}
    said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    imported = set(said.stdout.split())
    assert "worker.settings" in imported
    assert imported & {"sqlalchemy", "phonenumbers", "celery", "boto3", "campaigns.ledger"} == set()


class Interrupted(Exception):
    """What a test's sleep raises in the end."""


def test_a_redis_that_does_not_answer_is_waited_for(home: Path) -> None:
    """The start says what it waits for, once in a minute, and does not repeat the password."""
    said: list[str] = []
    pauses: list[float] = []

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 5:
            raise Interrupted

    settings = DialerSettings(data_dir=home, redis_url="redis://:secret@127.0.0.1:1/0")
    with pytest.raises(Interrupted):
        Stack(settings, workers=1, trial=None, sleep=sleep, say=said.append).start()
    (line,) = said
    assert line.startswith("waiting for Redis at redis://127.0.0.1:1/0: ")
    assert "secret" not in line
    assert pauses == [0.5, 1, 2, 4, 5]
