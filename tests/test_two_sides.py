"""Real calls and trials beside each other on one ledger, by real processes."""

import json
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.test_story import Office, answered
from worker.sandbox.server import SandboxOptions, running_sandbox


class Real:
    """What counts as Amazon Connect here: it does not say that it is a stand-in."""

    def __init__(self, url: str, journal: Path) -> None:
        self.url = url
        self._journal = journal

    def requests(self) -> int:
        """How many calls it was asked for."""
        lines = map(json.loads, self._journal.read_text().splitlines())
        return sum(line["operation"] == "StartOutboundVoiceContact" for line in lines)


@pytest.fixture
def real(tmp_path: Path, office: Office) -> Iterator[Real]:
    """It answers, at the address that the office's commands have for Amazon Connect."""
    journal = tmp_path / "real.jsonl"
    options = SandboxOptions(
        port=0, calls_per_second=1000, burst=1000, speed=60, journal=journal, incognito=True
    )
    with running_sandbox(options) as url:
        office.environment |= {
            "AWS_ENDPOINT_URL_CONNECT": url,
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "made-up",
            "AWS_SECRET_ACCESS_KEY": "made-up",
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "127.0.0.1",
            "DIALER_FOLLOW_SECONDS": "1",
        }
        yield Real(url, journal)


@pytest.fixture
def office(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Office]:
    """An empty office."""
    home = tmp_path / "office"
    home.mkdir()
    made = Office(home)
    yield made
    made.end()


def test_a_trial_beside_real_workers_rings_nobody(office: Office, real: Real) -> None:
    """All eight are dialed by the sandbox, though real workers have been feeding all along."""
    office.list(answered(8))
    up = office.start("up")
    office.until(lambda: "(real calls)" in office.out(up), "the start")
    log = office.home / ".dialer" / "logs" / "control.log"
    office.until(lambda: log.exists() and " ready." in log.read_text(), "the real workers' start")
    office.wait(office.run())
    assert (office.rang(), real.requests()) == (8, 0)
    assert office.status()["exchange"] == "sandbox"
    assert f"calls go to {real.url}, which is not AWS's own address" in office.err(up)
    up.send_signal(signal.SIGINT)
    office.wait(up)


def test_a_real_campaign_beside_a_trials_workers_waits_for_real_ones(office: Office, real: Real) -> None:
    """The stand-in "calls" none of them; the status says what is missing, and a real run places the calls."""
    office.list(answered(8))
    up = office.start("up", "--sandbox", "--speed", "60")
    office.until(lambda: "(in the sandbox)" in office.out(up), "the start")
    office.do("load", "campaign.toml", "list.csv")
    office.do("start", "story")
    log = office.home / ".dialer" / "logs" / "control.log"
    office.until(lambda: log.exists() and " ready." in log.read_text(), "the trial's workers' start")
    ready = time.monotonic()
    # Observed for as long as all of them would have been dialed.
    office.until(lambda: time.monotonic() > ready + 4, "the passing of four seconds")
    office.until(lambda: "only a trial's processes are there" in office.status()["reason"], "the reason")
    found = office.status()
    assert (found["state"], found["exchange"], found["recipients"]["waiting"]) == ("running", "connect", 8)
    office.wait(office.start("run", "campaign.toml", "list.csv"))
    assert (office.rang(), real.requests()) == (0, 8)
    found = office.status()
    assert (found["state"], found["endpoint"]) == ("finished", real.url)
    up.send_signal(signal.SIGINT)
    office.wait(up)


def test_the_same_file_goes_from_trial_to_real(office: Office, real: Real) -> None:
    """Tried twice, dialed for real once, and gone on with: each person is called for real once."""
    office.list(answered(8))
    office.wait(office.run())
    again = office.start("run", "campaign.toml", "list.csv", "--sandbox", "--speed", "60", "--again")
    office.wait(again)
    assert (office.rang(), real.requests()) == (16, 0)
    first = office.start("run", "campaign.toml", "list.csv")
    office.wait(first)
    assert 'its trial is kept apart as "story (trial 2)"; from now on its calls are real' in office.out(first)
    assert (office.rang(), real.requests()) == (16, 8)
    assert (office.status()["exchange"], office.status()["recipients"]["done"]) == ("connect", 8)
    # A trial in its place would have to be another campaign; and going on calls no recipient twice.
    trial = office.start("run", "campaign.toml", "list.csv", "--sandbox")
    office.wait(trial, code=2)
    assert "a ledger of its own (DIALER_DATA_DIR)" in office.err(trial)
    office.wait(office.start("run", "campaign.toml", "list.csv"))
    assert real.requests() == 8
    assert "its 2 trials are thrown away" in office.do("discard", "story")
    assert office.status()["recipients"]["done"] == 8
