"""From a row of a list to its outcome, through real processes, crashes included.

Everything is real but Amazon Connect: the command, its workers, Valkey, the ledger. The sandbox's journal
says whose telephone rang, and how often, whatever the dialer believes.
"""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from worker.settings import DialerSettings

PATIENCE_SECONDS = 120.0
ROOT = Path(__file__).parents[1]
CAMPAIGN = """
name = "story"

[connect]
instance_id = "10a4c4eb-f57e-4d4c-b602-bf39176ced07"
contact_flow_id = "b0b8f2dd-ed1b-4c44-af36-ce189a178181"
source_phone_number = "+14155550199"
"""
AREAS = (212, 303, 305, 415, 512, 617)
OUTCOMES = {72: "no_answer", 75: "busy", 81: "invalid_number", 83: "unreachable", 85: "blocked"}
"""What the sandbox does for these last two digits; 00 to 69 are answered."""

Process = subprocess.Popen[str]


def answered(count: int) -> list[str]:
    """So many numbers whose calls are answered."""
    numbers = [f"+1{area}55501{last:02}" for area in AREAS for last in range(1, 60)]
    return numbers[:count]


class Office:
    """A working directory with a campaign, a list, a data directory, and the processes that work there."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.started: list[Process] = []
        self.environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("DIALER_", "AWS_")) and name.lower() != "http_proxy"
        } | {
            "PYTHONPATH": str(ROOT),
            "DIALER_CALLS_PER_SECOND": "100",
            "DIALER_BURST": "100",
            "DIALER_MAX_ACTIVE_CALLS": "500",
            # What a crash cut off is looked at after the shortest time that the settings allow.
            "DIALER_READ_TIMEOUT_SECONDS": "2",
            "DIALER_REPLAY_WINDOW_SECONDS": "0",
            "DIALER_CLAIM_LEASE_SECONDS": "10",
        }
        (home / "campaign.toml").write_text(CAMPAIGN)

    def list(self, numbers: list[str]) -> None:
        """Write the list."""
        (self.home / "list.csv").write_text("\n".join(["phone", *numbers]) + "\n")

    def start(self, *arguments: str) -> Process:
        """A `dialer` command as a process."""
        number = len(self.started)
        with (self.home / f"out-{number}").open("w") as out, (self.home / f"err-{number}").open("w") as err:
            process = subprocess.Popen(
                [sys.executable, "-m", "worker.cli", *arguments],
                cwd=self.home,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                text=True,
            )
        self.started.append(process)
        return process

    def run(self, speed: int = 60) -> Process:
        """`dialer run` in the sandbox."""
        return self.start("run", "campaign.toml", "list.csv", "--sandbox", "--faults", "--speed", str(speed))

    def do(self, *arguments: str) -> str:
        """A command that is over soon and succeeds. Returns what it printed."""
        process = self.start(*arguments)
        self.wait(process)
        return self.out(process)

    def out(self, process: Process) -> str:
        """What it has printed so far."""
        return (self.home / f"out-{self.started.index(process)}").read_text()

    def err(self, process: Process) -> str:
        """What it has said beside that."""
        return (self.home / f"err-{self.started.index(process)}").read_text()

    def wait(self, process: Process, code: int = 0) -> None:
        """Wait until a process is over, and expect its exit code."""
        process.wait(PATIENCE_SECONDS)
        assert process.returncode == code, self.out(process) + self.err(process)

    def until(self, condition: Callable[[], object], what: str) -> None:
        """Look again and again until it is so."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            assert time.monotonic() < deadline, f"{what} did not come about\n{self.words()}"
            time.sleep(0.05)

    def words(self) -> str:
        """What every process said, for a failure."""
        return "\n".join(
            f"--- {process.args}\n{self.out(process)}{self.err(process)}" for process in self.started
        )

    def rings(self) -> Counter[str]:
        """How often each telephone rang."""
        return Counter(line["destination"] for line in self.journal() if line.get("rang"))

    def rang(self) -> int:
        """How many telephones have rung."""
        return self.rings().total()

    def journal(self) -> "list[dict[str, Any]]":
        """What the sandbox was asked."""
        try:
            text = (self.home / ".dialer" / "sandbox-journal.jsonl").read_text()
        except FileNotFoundError:
            return []
        whole = text[: text.rfind("\n") + 1]
        return [json.loads(line) for line in whole.splitlines()]

    def status(self) -> Any:
        """`dialer status --json`."""
        return json.loads(self.do("status", "story", "--json"))

    def results(self) -> "list[dict[str, str]]":
        """The export."""
        self.do("export", "story", "-o", "results.csv")
        with (self.home / "results.csv").open(newline="") as file:
            return list(csv.DictReader(file))

    def processes(self, words: str = "") -> "list[int]":
        """The processes that work here, the children's children too, whose command has these words."""
        found = []
        for each in Path("/proc").iterdir():
            with suppress(OSError):  # it has ended meanwhile, or is somebody else's
                here = each.name.isdigit() and Path(os.readlink(each / "cwd")) == self.home
                if here and words in (each / "cmdline").read_text().replace("\0", " "):
                    found.append(int(each.name))
        return found

    def end(self) -> None:
        """Leave nothing behind, whatever has happened."""
        for process in self.started:
            process.kill()
            process.wait()
        directory = DialerSettings(data_dir=self.home / ".dialer").runtime_dir
        for _ in range(2):  # a parent may have been about to start another
            for pid in self.processes():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        with suppress(OSError, ValueError):
            # Valkey works in its own directory.
            for each in Path("/proc").glob("[0-9]*/cwd"):
                with suppress(OSError):
                    if Path(os.readlink(each)) == directory:
                        os.kill(int(each.parent.name), signal.SIGKILL)
        shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def office(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Office]:
    """An empty office, whose path has a space in it."""
    for name in [name for name in os.environ if name.startswith("DIALER_")]:
        monkeypatch.delenv(name)
    home = tmp_path / "an office"
    home.mkdir()
    made = Office(home)
    yield made
    made.end()


def everybody_once(office: Office, numbers: list[str]) -> None:
    """Every telephone rang once and only once, and the ledger knows of every call what the sandbox knows."""
    assert office.rings() == Counter(numbers)
    rows = office.results()
    contacts = {line["destination"]: line["contact_id"] for line in office.journal() if line.get("rang")}
    assert {row["phone"]: row["contact_id"] for row in rows} == contacts
    assert {row["state"] for row in rows} == {"done"}


def everybody_accounted_for(office: Office, numbers: list[str]) -> None:
    """Nobody was rung twice or lost; only for a call that a crash cut off may nobody be able to tell."""
    rings = office.rings()
    assert max(rings.values()) == 1
    rows = office.results()
    assert sorted(row["phone"] for row in rows) == sorted(numbers)
    assert {row["state"] for row in rows} <= {"done", "held", "in_progress"}
    for row in rows:
        if row["state"] == "held":
            assert row["outcome"] == "unknown"
        else:
            assert row["contact_id"], row
            assert rings[row["phone"]] == 1, row
    # At most what one worker's threads had in their hands.
    assert sum(row["state"] == "held" for row in rows) <= 16


def test_a_list_is_dialed_from_its_first_row_to_the_results(office: Office) -> None:
    """One command: every number rings once, its outcome and its contact id are the sandbox's own."""
    special = [f"+1{area}55501{last}" for area in AREAS[:2] for last in OUTCOMES]
    numbers = answered(140) + special
    office.list(numbers)
    run = office.run()
    office.wait(run)
    everybody_once(office, numbers)
    rows = office.results()
    expected = {number: OUTCOMES.get(int(number[-2:]), "answered") for number in numbers}
    assert expected == {row["phone"]: row["outcome"] for row in rows}
    assert (office.home / ".dialer" / "story.results.csv").read_bytes() == (
        office.home / "results.csv"
    ).read_bytes()
    assert f"results: .dialer/story.results.csv ({len(numbers)} rows)" in office.out(run)
    assert office.status()["state"] == "finished"
    assert office.processes() == []
    # The same list once more adds nobody and calls nobody.
    again = office.run()
    office.wait(again)
    assert f"{len(numbers)} rows: 0 accepted, {len(numbers)} duplicates" in office.out(again)
    everybody_once(office, numbers)


def test_ctrl_c_loses_nobody(office: Office) -> None:
    """Stopped in the middle, and once more in a hurry, the same command goes on: everybody is rung once.

    Ctrl-C waits for the calls whose request has left; a second one does not, and of those that it cuts off
    nobody may be able to tell.
    """
    numbers = answered(200)
    office.list(numbers)
    office.environment["DIALER_CALLS_PER_SECOND"] = "30"
    patient = office.run()
    office.until(lambda: office.rang() >= 40, "the fortieth ring")
    patient.send_signal(signal.SIGINT)
    office.wait(patient, 130)
    assert office.err(patient).endswith("dialer: stopped; the same command goes on where it stopped\n")
    assert office.processes() == []
    rang = office.rang()
    assert rang < len(numbers)
    attempts = office.status()["attempts"]
    assert (attempts["queued"], attempts["dialing"], attempts["unknown"]) == (0, 0, 0)
    assert attempts["placed"] + attempts["ended"] == rang

    hasty = office.run()
    office.until(lambda: office.rang() >= rang + 20, "twenty more rings")
    hasty.send_signal(signal.SIGINT)
    office.until(lambda: "stopping: " in office.err(hasty), "the stopping")
    hasty.send_signal(signal.SIGINT)
    office.wait(hasty, 130)
    office.until(lambda: office.processes() == [], "the end of all processes")

    office.environment["DIALER_CALLS_PER_SECOND"] = "100"
    office.wait(office.run())
    everybody_accounted_for(office, numbers)
    assert "Traceback" not in office.words()


def test_a_killed_run_leaves_no_process_and_loses_nobody(office: Office) -> None:
    """SIGKILL of the command in the middle: its children stop by themselves, and the same command goes on."""
    numbers = answered(200)
    office.list(numbers)
    office.environment["DIALER_CALLS_PER_SECOND"] = "40"
    first = office.run()
    office.until(lambda: office.rang() >= 40, "the fortieth ring")
    first.kill()
    first.wait()
    office.until(lambda: office.processes() == [], "the end of all processes")
    assert office.rang() < len(numbers)
    office.environment["DIALER_CALLS_PER_SECOND"] = "100"
    office.wait(office.run())
    everybody_accounted_for(office, numbers)


def test_a_killed_worker_is_replaced_and_nobody_is_rung_twice(office: Office) -> None:
    """SIGKILL of the dial worker in the middle: the run goes on by itself, and accounts for everybody."""
    numbers = answered(200)
    office.list(numbers)
    office.environment["DIALER_CALLS_PER_SECOND"] = "40"
    run = office.run()
    office.until(lambda: office.rang() >= 40, "the fortieth ring")
    (worker,) = office.processes("-n dial1-")
    os.kill(worker, signal.SIGKILL)
    office.wait(run)
    everybody_accounted_for(office, numbers)
    assert office.rang() >= len(numbers) - 16


def test_two_dialers_share_one_list_and_the_second_goes_on_alone(office: Office) -> None:
    """Two on one data directory ring nobody twice; when one is stopped, the other takes over all of it."""
    numbers = answered(240)
    office.list(numbers)
    # Slow enough for the first one to have ended before the list has.
    office.environment["DIALER_CALLS_PER_SECOND"] = "15"
    first = office.start("up", "--sandbox", "--faults", "--speed", "60")
    office.do("load", "campaign.toml", "list.csv")
    office.do("start", "story", "--sandbox")
    office.until(lambda: office.out(first).startswith("up: 1 dial worker"), "the first one's start")
    second = office.start("up", "--sandbox", "--speed", "60")
    office.until(lambda: len(office.processes("-n dial1-")) == 2, "the second one's workers")
    office.until(lambda: office.rang() >= 60, "the sixtieth ring")
    first.send_signal(signal.SIGTERM)
    office.wait(first)
    before = office.rang()
    assert before < len(numbers)

    def called() -> int:
        """Outcomes that the first one was asking for come a minute later; no need to wait so long."""
        status = office.status()
        attempts, people = status["attempts"], status["recipients"]
        return int(attempts["placed"] + attempts["ended"] + people["held"])

    office.until(lambda: called() == len(numbers), "the last call")
    everybody_accounted_for(office, numbers)
    second.send_signal(signal.SIGINT)
    office.wait(second)
    assert office.processes() == []


def test_pause_stops_the_ringing_and_resume_goes_on(office: Office, empty_postgres_url: str) -> None:
    """Within two seconds of `dialer pause` no telephone rings any more, until `dialer resume`.

    The ledger is in PostgreSQL here: then nothing of it is kept in a file.
    """
    numbers = answered(300)
    office.list(numbers)
    office.environment["DIALER_DATABASE_URL"] = empty_postgres_url
    office.environment["DIALER_CALLS_PER_SECOND"] = "20"
    run = office.run()
    office.until(lambda: office.rang() >= 20, "the twentieth ring")
    office.do("pause", "story")
    paused_at = time.time()
    # Observed for as long as at least forty more would have rung.
    office.until(lambda: time.time() > paused_at + 4, "the passing of four seconds")
    late = [line for line in office.journal() if line.get("rang") and line["epoch"] > paused_at + 2]
    assert late == []
    assert office.rang() < len(numbers)
    assert office.status()["state"] == "paused"
    assert run.poll() is None
    office.do("resume", "story")
    office.wait(run)
    everybody_once(office, numbers)
    assert not (office.home / ".dialer" / "ledger.sqlite").exists()


class _Refusal(BaseHTTPRequestHandler):
    """An Amazon Connect that permits no outbound calls."""

    requests: ClassVar[list[str]] = []

    def do_PUT(self) -> None:
        """StartOutboundVoiceContact."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.requests.append(self.path)
        body = b'{"Message": "The contact is not permitted."}'
        self.send_response(403)
        self.send_header("x-amzn-ErrorType", "OutboundContactNotPermittedException")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def refusing_connect() -> Iterator[tuple[str, list[str]]]:
    """Its URL, and the requests that it has had."""
    _Refusal.requests = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Refusal)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", _Refusal.requests
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_campaign_that_may_not_call_pauses_itself(
    office: Office, refusing_connect: tuple[str, list[str]]
) -> None:
    """What nobody is permitted to do is not tried person by person: it stops, says why, and exits with 1."""
    url, requests = refusing_connect
    office.list(answered(200))
    office.environment |= {
        "AWS_ENDPOINT_URL_CONNECT": url,
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "made-up",
        "AWS_SECRET_ACCESS_KEY": "made-up",
        "AWS_EC2_METADATA_DISABLED": "true",
        "NO_PROXY": "127.0.0.1",
    }
    run = office.start("run", "campaign.toml", "list.csv")
    office.wait(run, 1)
    assert re.search("paused: .*OutboundContactNotPermitted", office.out(run))
    assert "dialer resume story" in office.out(run)
    # Those that were on their way when the first answer came.
    assert 1 <= len(requests) <= 32
    status = office.status()
    assert (status["state"], status["recipients"]["waiting"]) == ("paused", 200)
    assert "OutboundContactNotPermitted" in status["reason"]
    assert {row["attempts"] for row in office.results()} <= {"0", "1"}
