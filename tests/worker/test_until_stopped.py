"""Ctrl-C while the dialer's processes run: heard at once, acted upon where nothing is left half done."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from campaigns.ledger import open_ledger
from campaigns.ledger.clock import wall_clock
from worker import local
from worker.settings import DialerSettings
from worker.until_stopped import Stopped, say_clock, the_stack


@pytest.fixture
def settings(tmp_path: Path) -> DialerSettings:
    return DialerSettings(data_dir=tmp_path, database_url=f"sqlite:///{tmp_path}/ledger.sqlite")


@pytest.fixture
def as_it_stops(settings: DialerSettings, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """No processes: in their place, a worker that records its last call when it is told to stop."""
    recorded: list[str] = []

    def record(_stack: local.Stack, _say: object) -> None:
        ledger = open_ledger(settings.ledger_url)
        with ledger.write() as db:
            db.execute(text("CREATE TABLE last_call (id INTEGER)"))
        ledger.close()
        recorded.append("the last call")

    monkeypatch.setattr(local.Stack, "start", lambda _: None)
    monkeypatch.setattr(local.Stack, "stop", record)
    monkeypatch.setattr(local.Stack, "ask_to_stop", lambda _: recorded.append("asked"))
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield recorded
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("told", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_look_at_the_ledger_is_not_cut_off(
    settings: DialerSettings, as_it_stops: list[str], told: signal.Signals
) -> None:
    """Or its transaction stayed open, and the workers' last calls could not be recorded."""
    looks: list[int] = []
    left_open = ExitStack()

    def look_and_wait() -> None:
        with the_stack(settings, 1, None) as (ledger, _stack, wait):
            # Entered like this, as a frame that an exception has cut off: nothing closes it.
            db = left_open.enter_context(ledger.read())
            rows = db.execute(text("SELECT 1 UNION ALL SELECT 2"))
            os.kill(os.getpid(), told)
            # The workers need not wait for the look to end.
            assert as_it_stops == ["asked"]
            looks.extend(rows.scalars())
            left_open.close()
            wait(60)

    with left_open, pytest.raises(Stopped):
        look_and_wait()
    assert looks == [1, 2]
    assert as_it_stops == ["asked", "the last call"]


@pytest.mark.parametrize("told", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_waiting_ends_at_once(settings: DialerSettings, as_it_stops: list[str], told: signal.Signals) -> None:
    def wait_long() -> None:
        with the_stack(settings, 1, None) as (_ledger, _stack, wait):
            signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), told))
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            wait(60)

    began = time.monotonic()
    with pytest.raises(Stopped):
        wait_long()
    assert 0.2 <= time.monotonic() - began < 30
    assert as_it_stops == ["asked", "the last call"]


def test_nohup_keeps_it_running(settings: DialerSettings, as_it_stops: list[str]) -> None:
    """A SIGHUP that is ignored from the start stays ignored."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with the_stack(settings, 1, None) as (_ledger, _stack, wait):
        os.kill(os.getpid(), signal.SIGHUP)
        wait(0.01)
    assert as_it_stops == ["the last call"]


def test_a_ledger_that_is_silent_does_not_keep_it(
    settings: DialerSettings, as_it_stops: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is queued comes back by its lease; a supervisor would kill who waits for the database."""
    released = threading.Event()
    monkeypatch.setattr("worker.until_stopped._GIVING_BACK_SECONDS", 0.2)
    monkeypatch.setattr("campaigns.ledger.health.alive", lambda *_: released.wait(30) and [])
    began = time.monotonic()
    with the_stack(settings, 1, None):
        pass
    assert time.monotonic() - began < 20
    released.set()
    assert as_it_stops == ["the last call"]


@pytest.mark.parametrize(
    ("seconds", "says"),
    [
        (59, None),
        (-61, "61 s ahead of that of the ledger's database; from 150 s on it dials nothing; set both by NTP"),
        (600, "600 s behind that of the ledger's database, and it dials nothing; set both by NTP"),
    ],
)
def test_clocks_that_differ_are_said_at_the_start(
    seconds: int, says: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the process that starts on a machine whose clock is not the database's."""
    say_clock(lambda: wall_clock() + timedelta(seconds=seconds))
    said = capsys.readouterr().err
    assert said == (f"dialer: this machine's clock is {says}\n" if says else "")
