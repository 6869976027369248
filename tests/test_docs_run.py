"""Every block of every page is run as it is shown, page by page, in a fresh folder.

A page's commands are one session of a shell, in which `dialer` is found, as in an activated environment. What
is to be run until Ctrl-C goes on beside the others. A block that is not run says why, in a mark above it that
readers do not see. "Amazon Connect" is a stand-in that does not say so.
"""

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from campaigns.campaign import Campaign
from tests.blocks import Block, blocks, commands
from tests.test_story import Office
from worker.sandbox.server import SandboxOptions, running_sandbox

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/*.md")), *sorted(ROOT.glob("examples/*.md"))]
ALL = [block for page in PAGES for block in blocks(page)]
RUN = [block for block in ALL if block.not_run is None]
PATIENCE_SECONDS = 240
CONNECT = {
    "instance_id": "10a4c4eb-f57e-4d4c-b602-bf39176ced07",
    "contact_flow_id": "b0b8f2dd-ed1b-4c44-af36-ce189a178181",
    "source_phone_number": "+14155550199",
}
CAMPAIGN = """name = "clinic-reminders"
[connect]
instance_id = "10a4c4eb-f57e-4d4c-b602-bf39176ced07"
contact_flow_id = "b0b8f2dd-ed1b-4c44-af36-ce189a178181"
source_phone_number = "+14155550199"
[list]
phone = "phone"
default_region = "US"
key = "appointment_id"
[schedule]
cron = "0 9 1 1 *"
time_zone = "Europe/Berlin"
list = "people.csv"
"""
PEOPLE = "appointment_id,phone\nA-1,+14155550101\nA-2,+13035550101\nA-3,+14155550175\n"
REJECTS = ".dialer/rejects/clinic-reminders/2026-03-02T0900+0100.rejects.csv"
BEFORE = {
    "campaign-file.md": ["dialer load clinic-reminders.toml people.csv"],
    "deployment.md": ['dialer suppress add +14155550109 --reason "a ledger is there"'],
    "plan.md": ["dialer load clinic-reminders.toml people.csv"],
    "schedules.md": ["dialer schedule add clinic-reminders.toml"],
    "suppression.md": ["dialer load clinic-reminders.toml people.csv"],
}
"""What the reader of a page has done before, beside having a campaign and a list."""
UNTIL_CTRL_C = re.compile(r"dialer (up|sandbox)\b")


def named(block: Block) -> str:
    return f"{block.page}:{block.line}"


def test_every_page_is_looked_at() -> None:
    """The pages have blocks of each kind, and most of those for a shell that need no account are run."""
    assert {block.kind for block in ALL} == {"shell", "toml", "json", "python"}
    run = [line for block in RUN if block.kind == "shell" for line in commands(block.text)]
    shown = [line for block in ALL for line in commands(block.text) if line.startswith("dialer ")]
    assert [line for line in shown if line not in run] == []
    assert len(run) > 30


@pytest.mark.parametrize("block", [each for each in ALL if each.not_run is not None], ids=named)
def test_what_is_not_run_says_why(block: Block) -> None:
    """In a sentence; and only what a shell would run, or no program at all, is ever left out."""
    assert block.not_run
    assert len(block.not_run.split()) > 1
    assert block.kind in ("shell", "toml")


@pytest.mark.parametrize("block", [each for each in RUN if each.kind == "json"], ids=named)
def test_json_is_json(block: Block) -> None:
    """Policies and patterns can be pasted."""
    assert isinstance(json.loads(block.text), dict)


@pytest.mark.parametrize("block", [each for each in RUN if each.kind == "toml"], ids=named)
def test_toml_is_a_campaigns(block: Block) -> None:
    """With what every campaign needs, each piece of a campaign file is accepted."""
    shown = tomllib.loads(block.text)
    assert Campaign.model_validate({"name": "shown", "connect": CONNECT} | shown)


@pytest.mark.parametrize(
    "line", [line for b in ALL for line in commands(b.text) if line.startswith("python bench/")]
)
def test_benchmarks_have_the_options_that_are_shown(line: str) -> None:
    """They take minutes and hours; that they know their options takes a moment."""
    _, script, *words = line.partition("#")[0].split()
    told = (ROOT / script).read_text()
    for option in (word for word in words if word.startswith("--")):
        assert f'"{option}"' in told or f'"{option}"' in (ROOT / "bench" / "_office.py").read_text(), option


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A fresh folder with what every reader has: a campaign, a list, the examples, credentials."""
    for name in [name for name in os.environ if name.startswith(("DIALER_", "AWS_"))]:
        monkeypatch.delenv(name)
    home = tmp_path / "a desk"
    home.mkdir()
    office = Office(home)  # it ends what is left
    (home / "campaign.toml").unlink()
    (home / "clinic-reminders.toml").write_text(CAMPAIGN)
    (home / "people.csv").write_text(PEOPLE)
    (home / "do-not-call.csv").write_text("phone\n+14155550150\n")
    (home / REJECTS).parent.mkdir(parents=True)
    (home / REJECTS).write_text("line,column,reason,appointment_id,phone\n2,phone,bad,A-4,+14155550104\n")
    shutil.copytree(ROOT / "examples", home / "examples")
    options = SandboxOptions(port=0, calls_per_second=1000, burst=1000, speed=60, incognito=True)
    with running_sandbox(options) as url:
        (home / "bin").mkdir()
        program = home / "bin" / "dialer"
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m worker.cli "$@"\n')
        program.chmod(0o755)
        environment = {
            "PATH": f"{program.parent}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "AWS_ENDPOINT_URL_CONNECT": url,
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "made-up",
            "AWS_SECRET_ACCESS_KEY": "made-up",
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "127.0.0.1",
            "DIALER_CALLS_PER_SECOND": "200",
            "DIALER_BURST": "200",
            "DIALER_MAX_ACTIVE_CALLS": "1000",
            "DIALER_FOLLOW_SECONDS": "1",
        }
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        yield home
    office.end()


def script(page: Path) -> str:
    """All that is run of a page, as one program for a shell."""
    lines = ["set -o pipefail", "trap 'kill $(jobs -p) 2>/dev/null; wait' EXIT"]
    lines += [f"{line} || exit 9" for line in BEFORE.get(page.name, [])]
    for block in blocks(page):
        if block.not_run is not None:
            continue
        if block.kind == "python":
            lines.append(
                f"python <<'BLOCK' || {{ echo 'FAILED {named(block)}'; exit 1; }}\n{block.text}BLOCK"
            )
        for line in commands(block.text) if block.kind == "shell" else []:
            bare = line.partition(" #")[0].strip()
            if UNTIL_CTRL_C.match(bare):
                lines.append(f"{bare} </dev/null >beside.out 2>&1 &")
                lines.append("until [ -s beside.out ] || ! kill -0 $!; do sleep 0.1; done")
            else:
                told = shlex.quote(f"FAILED {named(block)}: {bare}")
                lines.append(f"{line}\n[ $? = 0 ] || {{ echo {told}; exit 1; }}")
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize(
    "page",
    [p for p in PAGES if any(b.kind in ("shell", "python") and b.not_run is None for b in blocks(p))],
    ids=lambda page: page.name if page.parent != ROOT / "examples" else "examples",
)
def test_what_a_page_shows_works(page: Path, desk: Path) -> None:
    """Its commands, one after the other as a reader would paste them, all end with 0."""
    # The sandbox's usual port may be taken on the machine that the tests run on.
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = str(probe.getsockname()[1])
    program = script(page).replace("8480", port).replace("dialer sandbox ", f"dialer sandbox --port {port} ")
    (desk / "page.sh").write_text(program)
    # At a terminal, where some commands ask.
    terminal = "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(['bash', 'page.sh'])))"
    with (desk / "page.out").open("w") as out:
        shell = subprocess.Popen(
            [sys.executable, "-c", terminal],
            cwd=desk,
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            shell.communicate(b"y\n" * 5, timeout=PATIENCE_SECONDS)
        finally:
            with suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGKILL)
    code = shell.returncode
    said = (desk / "page.out").read_text()
    assert code == 0, said
    assert "Traceback" not in said
