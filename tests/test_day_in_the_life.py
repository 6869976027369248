"""One working day of an operator, step by step, through real processes and the commands as they are typed.

A trial, a wrong flow, a closed terminal, corrections, an opt-out, another list, people taken out, busy lines
called again. The journal of what counts as Amazon Connect says whose telephone rang, and how often.
"""

import json
import os
import subprocess
import sys
import termios
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.one_flow import one_flow
from tests.test_story import PATIENCE_SECONDS, Office
from worker.sandbox.server import SandboxOptions, running_sandbox

WRONG, RIGHT = "b0b8f2dd-ed1b-4c44-af36-ce189a178181", "c1c9f3ee-fe2c-4d55-8047-df290a289292"
CAMPAIGN = """
name = "day"

[connect]
instance_id = "10a4c4eb-f57e-4d4c-b602-bf39176ced07"
contact_flow_id = "{flow}"
source_phone_number = "+14155550199"

[list]
key = "id"
attributes = ["name"]

[redial]
max_attempts = 2
busy = "2s"
"""
BUSY = [f"+1{area}55501{last}" for area in (212, 303, 305, 415) for last in (75, 76, 77)][:10]
ANSWERED = [f"+1{area}55501{last:02}" for area in (212, 303) for last in range(1, 26)]
KEYS = [f"A-{number:02}" for number in range(1, 61)]
PEOPLE = dict(zip(KEYS, BUSY + ANSWERED, strict=True))
"""Key → number. Who is busy is called first."""
CORRECTED = {key: f"+16175550{number}" for key, number in (("A-51", 131), ("A-52", 132), ("A-53", 133))}
OPTED_OUT, DROPPED = "A-54", ("A-55", "A-56")
RUN = ("run", "day.toml", "people.csv")


class Day(Office):
    """The office on this day."""

    journal_of_real_calls: Path

    def edit(self, flow: str) -> None:
        """Write the campaign file, as an editor would: later than before."""
        file = self.home / "day.toml"
        was = file.stat().st_mtime_ns if file.exists() else 0
        file.write_text(CAMPAIGN.format(flow=flow))
        at = max(file.stat().st_mtime_ns, was + 10**9)
        os.utime(file, ns=(at, at))

    def people(self, file: str, people: dict[str, str]) -> None:
        """Write a list."""
        rows = [f"{key},Person {key[2:]},{phone}\n" for key, phone in people.items()]
        (self.home / file).write_text("".join(["id,name,phone\n", *rows]))

    def says(self, *arguments: str, code: int = 0) -> list[str]:
        """Run a command to its end, expect its exit code, and return the lines of its standard output."""
        process = self.start(*arguments)
        self.wait(process, code)
        assert "Traceback" not in self.err(process)
        return self.out(process).splitlines()

    def real(self) -> Counter[str]:
        """How often each telephone rang in earnest."""
        with suppress(FileNotFoundError):
            text = self.journal_of_real_calls.read_text()
            lines = map(json.loads, text[: text.rfind("\n") + 1].splitlines())
            return Counter(line["destination"] for line in lines if line.get("rang"))
        return Counter()

    def counts(self) -> "dict[str, Any]":
        """`dialer status day --json`."""
        counts: dict[str, Any] = json.loads("\n".join(self.says("status", "day", "--json")))
        return counts

    def close_the_terminal(self, rings: int) -> int:
        """Run it in a terminal that is closed after so many rings. Returns the exit code."""
        mine, its = os.openpty()
        process = subprocess.Popen(
            [sys.executable, "-c", _IN_A_TERMINAL, *RUN],
            cwd=self.home,
            env=self.environment | {"TERM": "xterm", "COLUMNS": "100"},
            stdin=its,
            stdout=its,
            stderr=its,
            start_new_session=True,
        )
        os.close(its)
        os.set_blocking(mine, False)
        try:

            def rung() -> bool:
                with suppress(BlockingIOError):
                    os.read(mine, 1 << 16)
                assert process.poll() is None
                return self.real().total() >= rings

            self.until(rung, "the rings before the terminal is closed")
            os.close(mine)  # the kernel sends SIGHUP, and nothing can be written there any more
            return process.wait(PATIENCE_SECONDS)
        finally:
            process.kill()
            process.wait()


_IN_A_TERMINAL = f"""
import fcntl, sys
fcntl.ioctl(0, {termios.TIOCSCTTY}, 0)
from worker.cli import main
main(sys.argv[1:])
"""


@pytest.fixture
def day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Day]:
    """An office with a list, and a campaign file with a wrong flow; Amazon Connect knows the right one."""
    for name in [name for name in os.environ if name.startswith("DIALER_")]:
        monkeypatch.delenv(name)
    home = tmp_path / "office"
    home.mkdir()
    made = Day(home)
    made.edit(WRONG)
    made.people("people.csv", PEOPLE)
    made.journal_of_real_calls = tmp_path / "real.jsonl"
    options = SandboxOptions(
        port=0,
        calls_per_second=1000,
        burst=1000,
        speed=60,
        journal=made.journal_of_real_calls,
        incognito=True,
    )
    with running_sandbox(options) as sandbox, one_flow(sandbox, RIGHT) as url:
        made.environment |= {
            "AWS_ENDPOINT_URL_CONNECT": url,
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "made-up",
            "AWS_SECRET_ACCESS_KEY": "made-up",
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "127.0.0.1",
            "DIALER_FOLLOW_SECONDS": "1",
        }
        yield made
        made.end()


def test_a_day_in_the_life(day: Day) -> None:
    """Every recipient is called as often as the operator's choices say, at the number that is right."""
    a_trial(day)
    a_wrong_flow_is_repaired(day)
    the_terminal_is_closed(day)
    corrected = the_lists_change(day)
    the_same_command_goes_on(day, corrected)
    busy_lines_are_called_again(day, corrected)
    again_calls_nobody(day)


def a_trial(day: Day) -> None:
    """All are "called", the busy ones twice; nothing is said to Amazon Connect."""
    said = day.says(*RUN, "--sandbox", "--speed", "60")
    assert said == [
        "day: 60 rows: 60 accepted",
        "day: finished (in the sandbox)",
        "  60 of 60 settled (100%)",
        "  recipients: 60 done",
        "  attempts: 70 ended",
        "  outcomes: 50 answered, 20 busy",
        "results: .dialer/day.results.csv (60 rows)",
    ]
    assert day.rings() == Counter(ANSWERED + BUSY * 2)
    assert not day.journal_of_real_calls.exists() or day.real() == Counter()


def a_wrong_flow_is_repaired(day: Day) -> None:
    """The campaign pauses itself before a telephone rings; the edited file holds from `resume` on."""
    said = day.says(*RUN, code=1)
    assert said[:3] == [
        'day: its trial is kept apart as "day (trial 1)"; from now on its calls are real',
        "day: 60 rows: 60 accepted",
        "day: paused (real calls)",
    ]
    (paused,) = [line for line in said if line.startswith("  paused: ")]
    assert paused == (
        "  paused: ResourceNotFoundException: check instance_id, contact_flow_id and queue_id, and the "
        "Region (ContactFlow not found.); when that is mended: dialer resume day"
    )
    assert "  recipients: 60 waiting" in said
    day.edit(RIGHT)
    assert day.says("resume", "day") == [
        f"changed in the campaign's file: connect.contact_flow_id: {WRONG} → {RIGHT}; "
        "it holds for calls to come",
        "day is resumed; watch it with: dialer status day",
    ]
    assert day.real() == Counter()


def the_terminal_is_closed(day: Day) -> None:
    """The run stops cleanly: no process is left, and no call of which nothing is known."""
    day.environment["DIALER_CALLS_PER_SECOND"] = "5"
    day.environment["DIALER_BURST"] = "1"
    assert day.close_the_terminal(15) == 130
    day.until(lambda: day.processes() == [], "the end of all processes")
    counts = day.counts()
    attempts, people = counts["attempts"], counts["recipients"]
    assert (attempts["queued"], attempts["dialing"], attempts["unknown"]) == (0, 0, 0)
    assert attempts["placed"] + attempts["ended"] == day.real().total()
    assert people["held"] == 0
    # The last ten, of whom the following steps are, have not been called.
    assert day.real().total() < 50
    assert not {PEOPLE[key] for key in KEYS[50:]} & set(day.real())


def the_lists_change(day: Day) -> dict[str, str]:
    """Three corrected numbers, one opt-out, a list with half of the people, two people taken out."""
    rang = day.real()
    corrected = PEOPLE | CORRECTED
    day.people("people.csv", corrected)
    assert day.says("load", "day.toml", "people.csv") == [
        "day: 60 rows: 0 accepted, 60 duplicates",
        "3 of the duplicates changed: the recipients take the new row",
    ]
    phone = PEOPLE[OPTED_OUT]
    assert day.says("suppress", "add", phone, "--reason", "asked not to be called") == [
        f"{phone} is suppressed for every campaign",
        "1 recipient is not called any more",
    ]
    day.people("half.csv", {key: corrected[key] for key in KEYS[::2]})
    assert day.says("load", "day.toml", "half.csv") == [
        "day: 30 rows: 0 accepted, 30 duplicates",
        "30 loaded before not on this list: kept; to take them out, load the list with --gone drop",
    ]
    loaded = json.loads("\n".join(day.says("load", "day.toml", "half.csv", "--json")))
    assert (loaded["gone"], loaded["gone_dropped"], loaded["changed"]) == (30, 0, 0)
    assert day.says("drop", "day", *DROPPED) == [
        "day: 2 recipients taken out",
        *[f"  {key}: taken out; no call begins" for key in DROPPED],
        "to put one back: dialer drop day KEY --undo",
    ]
    assert day.real() == rang
    return corrected


def expected(corrected: dict[str, str], busy: int) -> Counter[str]:
    """How often each telephone is to have rung."""
    spared = {OPTED_OUT, *DROPPED}
    return Counter(
        {phone: busy if phone in BUSY else 1 for key, phone in corrected.items() if key not in spared}
    )


def the_same_command_goes_on(day: Day, corrected: dict[str, str]) -> None:
    """The rest is called once, at the corrected numbers; busy lines are dialed again by the rule."""
    day.environment["DIALER_CALLS_PER_SECOND"] = "50"
    said = day.says(*RUN)
    # Attempts that the wrong flow gave back stay with those who were taken out since.
    attempts = said.pop(5)
    assert attempts.split(", ")[0] == "  attempts: 67 ended"
    assert [line for line in said if "its calls go to" not in line] == [
        "day: 60 rows: 0 accepted, 60 duplicates",
        "2 of the duplicates stay taken out by dialer drop; to put one back: dialer drop day KEY --undo",
        "day: finished (real calls)",
        "  60 of 60 settled (100%)",
        "  recipients: 57 done, 1 suppressed, 2 dropped",
        "  outcomes: 47 answered, 20 busy",
        "results: .dialer/day.results.csv (60 rows)",
    ]
    assert day.real() == expected(corrected, busy=2)
    assert not {PEOPLE[key] for key in (*CORRECTED, OPTED_OUT, *DROPPED)} & set(day.real())


def busy_lines_are_called_again(day: Day, corrected: dict[str, str]) -> None:
    """Ten by an operator's command, once more each; a dry run calls nobody."""
    dry = day.says("requeue", "day", "--outcome", "busy", "--dry-run")
    assert dry[:2] == ["day: 10 recipients would have another attempt:", "  10 busy"]
    assert dry[-1] == "nothing was changed (--dry-run)"
    assert day.counts()["recipients"]["waiting"] == 0
    asked = day.says("requeue", "day", "--outcome", "busy")
    assert asked[:2] == ["day: 10 recipients are to have another attempt:", "  10 busy"]
    assert asked[-1].startswith("day: 10 recipients wait for another attempt, and the campaign goes on; ")
    said = day.says(*RUN)
    assert "  outcomes: 47 answered, 30 busy" in said  # 77 attempts
    assert day.real() == expected(corrected, busy=3)


def again_calls_nobody(day: Day) -> None:
    """All is done, and the same command says so; the results name for each person the number that rang."""
    rang = day.real()
    assert "day: finished (real calls)" in day.says(*RUN)
    assert day.real() == rang
    told = "\n".join(day.says("explain", "day", "A-51"))
    assert f"number {PEOPLE['A-51']}; replaced at" in told
    assert "on the suppression list: asked not to be called" in "\n".join(
        day.says("explain", "day", OPTED_OUT)
    )
    assert day.processes() == []
