"""`dialer run` whose campaign is cancelled from another terminal: it sees its calls through to their ends."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from campaigns.ledger import Ledger, open_ledger
from campaigns.ledger.tables import attempts

CAMPAIGN = """
name = "reminders"

[connect]
instance_id = "10a4c4eb-f57e-4d4c-b602-bf39176ced07"
contact_flow_id = "b0b8f2dd-ed1b-4c44-af36-ce189a178181"
source_phone_number = "+14155550199"

[redial]
max_attempts = 3
no_answer = "30s"
"""
TALKS_LONG, RINGS = "+14155550188", "+14155550170"
QUICK = "+14155550100"


@pytest.fixture
def dialer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Any]]:
    """The command as a process in a directory of its own; whatever happens, it is ended."""
    for name in [name for name in os.environ if name.startswith("DIALER_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    Path("campaign.toml").write_text(CAMPAIGN)
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> "subprocess.Popen[str]":
        started.append(
            subprocess.Popen(
                [sys.executable, "-m", "worker.cli", *arguments],
                env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        return started[-1]

    yield start
    for each in started:
        if each.poll() is None:
            each.send_signal(signal.SIGINT)
            try:
                each.communicate(timeout=30)
            except subprocess.TimeoutExpired:
                each.kill()
        each.communicate()


@pytest.fixture
def calling(dialer: Callable[..., Any]) -> Callable[..., Any]:
    """Starts `dialer run` in the sandbox, and comes back when all its calls have been placed."""

    def run(*phones: str, speed: int) -> "subprocess.Popen[str]":
        Path("list.csv").write_text("\n".join(["phone", *phones]) + "\n")
        open_ledger("sqlite:///.dialer/ledger.sqlite").close()
        running: subprocess.Popen[str] = dialer(
            "run", "campaign.toml", "list.csv", "--sandbox", "--speed", str(speed)
        )
        with closing(open_ledger("sqlite:///.dialer/ledger.sqlite")) as ledger:
            end = time.monotonic() + 90
            while states(ledger) != ["placed"] * len(phones):
                assert running.poll() is None
                assert time.monotonic() < end, states(ledger)
                time.sleep(0.05)
        return running

    return run


def states(ledger: Ledger) -> list[str]:
    """The states of all attempts."""
    with ledger.read() as db:
        return list(db.execute(select(attempts.c.state)).scalars())


def outcomes() -> dict[str, tuple[str, str]]:
    """(state, outcome) of each number in the results."""
    with Path(".dialer/reminders.results.csv").open(newline="", encoding="utf-8") as file:
        return {row["phone"]: (row["state"], row["outcome"]) for row in csv.DictReader(file)}


def journal(operation: str) -> list[Any]:
    """What the sandbox was asked to do."""
    lines = Path(".dialer/sandbox-journal.jsonl").read_text(encoding="utf-8").splitlines()
    return [entry for entry in map(json.loads, lines) if entry["operation"] == operation]


def test_calls_are_hung_up_and_their_ends_are_in_the_results(
    dialer: Callable[..., Any], calling: Callable[..., Any]
) -> None:
    """Talking and ringing calls end within seconds, nobody is dialed again, and the run ends by itself."""
    running = calling(TALKS_LONG, RINGS, speed=1)
    cancelling = dialer("cancel", "reminders", "--hang-up", "--yes")
    said, _ = cancelling.communicate(timeout=60)
    assert said == (
        "reminders is cancelled; 0 recipients will not be called; 2 calls in progress are being hung up\n"
    )
    _, err = running.communicate(timeout=60)
    assert running.returncode == 0
    assert "reminders was cancelled; hanging up its calls in progress\n" in err
    found = outcomes()
    assert found[RINGS] == ("done", "stopped")
    assert found[TALKS_LONG] in (("done", "answered"), ("done", "stopped"))  # it may have rung still
    assert len(journal("StopContact")) == len(journal("StartOutboundVoiceContact")) == 2


def test_calls_that_end_by_themselves_are_waited_for(
    dialer: Callable[..., Any], calling: Callable[..., Any]
) -> None:
    """Cancelling alone cuts nobody off: the run goes on until the outcome is known, and writes it down."""
    running = calling(QUICK, speed=10)
    assert dialer("cancel", "reminders", "--yes").wait(60) == 0
    _, err = running.communicate(timeout=60)
    assert running.returncode == 0
    assert "reminders was cancelled; waiting for its calls in progress\n" in err
    assert outcomes() == {QUICK: ("done", "answered")}
    assert journal("StopContact") == []


def test_ctrl_c_does_not_wait(dialer: Callable[..., Any], calling: Callable[..., Any]) -> None:
    """A call may last for hours. Whoever stops waiting for it is told how it is followed."""
    running = calling(TALKS_LONG, speed=1)
    assert dialer("cancel", "reminders", "--yes").wait(60) == 0
    running.send_signal(signal.SIGINT)
    _, err = running.communicate(timeout=60)
    assert running.returncode == 130
    assert err.splitlines()[-1] == (
        "dialer: stopped; reminders was cancelled; its calls are followed by: dialer up --sandbox"
    )
