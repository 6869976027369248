"""Every command that prints what came from outside, with the worst of it: the terminal shows it as text."""

import io
import json
import re
import shutil
import socket
from collections.abc import Callable
from contextlib import closing
from itertools import count
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from rich.console import Console

from campaigns.export import Format, export
from campaigns.ledger import health, open_ledger, runs, schedules
from campaigns.ledger.moves import mark_refused, mark_unknown
from campaigns.plain_text import Rows
from campaigns.progress_bar import progress_bar
from campaigns.report import every_status, status
from campaigns.status_view import live, table
from tests.campaigns.test_plain_text import Terminal, acts
from tests.conftest import Desk

CAMPAIGN = """
name = "hostile"

[connect]
instance_id = "10a4c4eb-f57e-4d4c-b602-bf39176ced07"
contact_flow_id = "b0b8f2dd-ed1b-4c44-af36-ce189a178181"
source_phone_number = "+14155550199"
description = {description}

[list]
key = "id"

[schedule]
cron = "0 9 * * *"
time_zone = "UTC"
list = {list}
"""
NAME = "hostile"
WORST = "[/][bold]\x1b]0;owned\x07\x1b[2J\r\n\x9b31m\x7f\u202e\u2066\u200f\u2028\x85\ufeff[red]"
CODES = "\x1b\x07\x08\x0b\r\n\t\x7f\x80\x9b\x9c\x85\u202e\u2066\u200e\u061c\u2028\u200b\ufeff[]/{}%\\'\"x é"
texts = st.text(st.sampled_from(CODES), min_size=1, max_size=30) | st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=30
)
_numbers = count(1)

Run = Callable[..., Any]


def toml(text: str) -> str:
    """A TOML string with every character escaped that must be."""
    return '"' + "".join(c if c.isalnum() else f"\\U{ord(c):08x}" for c in text) + '"'


def a_name(text: str) -> str:
    """The same as the name of a file."""
    return text.replace("/", "_").replace("\0", "_")[:30] + ".csv"


def row(*cells: str) -> str:
    return ",".join('"' + cell.replace('"', '""') + '"' for cell in cells) + "\r\n"


def written(path: str, text: str) -> None:
    with Path(path).open("w", encoding="utf-8", newline="") as file:
        file.write(text)


def spoiled(text: str) -> None:
    """A ledger into which the world has written this: reasons, contact ids, hosts, a schedule's trouble."""
    with closing(open_ledger("sqlite:///.dialer/ledger.sqlite")) as ledger:
        desk, now = Desk(ledger), ledger.now()
        desk.start(NAME, now=now)
        claims = desk.claim(3, now=now)
        states = ["unknown", "refused", "placed"]
        for claimed, state in zip(claims, states, strict=False):
            desk.dial(claimed, now=now)
            match state:
                case "unknown":
                    this = (ledger, claimed.attempt_id, claimed.fence)
                    assert mark_unknown(*this, text, now=now, settle_at=now)
                case "refused":
                    this = (ledger, claimed.attempt_id, claimed.fence)
                    assert mark_refused(*this, f"{text}: {text}", now=now)
                case _:
                    assert desk.answered(claimed, text)
        for role in ("dial", "control", "beat"):
            # `health` asks for this host's own.
            host = socket.gethostname() if role == "dial" else text
            health.beat(ledger, f"{role}@{host}:1", role, "connect", text, now)
        with ledger.write() as db:
            runs.pause(db, runs.find(db, NAME).id, text, "fault")
        for each in schedules.scheduled(ledger):
            schedules.fail(ledger, each, text, now)


def tell(dialer: Run, text: str) -> list[tuple[str, Any]]:
    """What every command says of all that. (command, what it said)."""
    heard = []

    def say(*arguments: str, types: str | None = None) -> Any:
        heard.append((" ".join(arguments[:2]), dialer(*arguments, types=types)))
        return heard[-1][1]

    file = a_name(text)
    # A schedule's list is refused with control characters in its name; braces are filled in.
    listed = toml("".join(c for c in file if c.isprintable() and c not in "{}"))
    written(
        file, row("id", "phone", text) + "".join(row(f"{text}{n}", f"+1415555010{n}", text) for n in range(4))
    )
    written("bad.csv", row("id", "phone", text) + row(text, text, text) + row(text, "+14155550190"))
    written("numbers.csv", row("phone", "reason") + row("+14155550101", text) + row(text, text))
    written("campaign.toml", CAMPAIGN.format(description=toml("before"), list=listed))
    say("plan", "campaign.toml", file)
    say("load", "campaign.toml", file)
    written("campaign.toml", CAMPAIGN.format(description=toml(text), list=listed))
    say("schedule", "add", "campaign.toml")
    written("campaign.toml", CAMPAIGN.format(description=toml(text[::-1]), list=listed))
    say("load", "campaign.toml", "bad.csv", "--rejects", f"rejects {file}")
    say("plan", "campaign.toml", "bad.csv")
    say("suppress", "add", "+14155550103", "--reason", text[:900])
    spoiled(text)
    say("suppress", "import", "numbers.csv", "--rejects", f"numbers {file}")
    say("suppress", "list", "+14155550101")
    say("suppress", "list", "+14155550101", "--json").json  # noqa: B018
    say("status")
    say("status", NAME)
    say("status", NAME, "--json").json  # noqa: B018
    say("schedule")
    say("schedule", "--json").json  # noqa: B018
    for number in range(4):
        say("explain", NAME, f"+1415555010{number}")
    say("explain", NAME, text)
    say("explain", NAME, "--unknown")
    say("explain", NAME, "--unknown", "--json").json  # noqa: B018
    say("requeue", NAME, "--outcome", "refused", "--dry-run")
    say("requeue", NAME, "--outcome", f"refused:{text}", "--dry-run")
    say("requeue", NAME, "--outcome", "refused", "--json", "--dry-run").json  # noqa: B018
    say("requeue", NAME, "--outcome", "refused", types="n\n")
    say("pause", NAME)
    say("start", NAME)
    say("health", "dial")
    say("export", NAME, "-o", f"results {file}")
    say("cancel", NAME, types="n\n")
    # What is wrong, is said as well.
    written("wrong.toml", CAMPAIGN.format(description=toml(text), list=listed) + f"{toml(text)} = 1\n")
    say("load", "wrong.toml", file)
    written("wrong.toml", CAMPAIGN.format(description="1", list=listed).replace(NAME, toml(text)[1:-1]))
    say("load", "wrong.toml", file)
    written("wrong.toml", text)
    say("load", "wrong.toml", file)
    say("load", "campaign.toml", f"missing {file}")
    say("load", f"missing {file}", file)
    say("status", f"no {text}")
    say("explain", NAME, f"no {text}")
    say("requeue", NAME, "--outcome", f"x{text}")
    say("requeue", NAME, "--outcome", "busy", "--since", f"x{text}")
    say("export", NAME, "--format", f"x{text}")
    say("suppress", "add", f"x{text}")
    say("suppress", "import", "numbers.csv", "--column", f"x{text}")
    say(f"x{text}")
    say("status", f"--{text}")
    say("start", NAME, f"x{text}")
    say("status", NAME, "--run", f"x{text}")
    return heard


@pytest.fixture
def trial(dialer: Run, migrated_sqlite: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs all commands on a text, in a folder of its own with an empty ledger."""

    def run(text: str) -> list[tuple[str, Any]]:
        folder = tmp_path / f"trial-{next(_numbers)}"
        (folder / ".dialer").mkdir(parents=True)
        shutil.copy(migrated_sqlite, folder / ".dialer" / "ledger.sqlite")
        monkeypatch.chdir(folder)
        return tell(dialer, text)

    return run


@settings(max_examples=5, suppress_health_check=list(HealthCheck), deadline=None)
@given(text=texts)
@example(text=WORST)
@example(text="\x1b")
def test_every_command_shows_text(trial: Run, text: str) -> None:
    """Nothing on either stream but printable characters and the line ends of the dialer's own lines."""
    for command, said in trial(text):
        for stream in (said.out, said.err):
            assert acts(stream.replace("\n", "")) == set(), command
            assert all(line.strip() for line in stream.splitlines() if line), command


def test_the_worst_of_it_is_seen_in_each_place(trial: Run) -> None:
    """The commands get as far as to say it, so that the test above has something to look at."""
    shown = r"1b]0;owned"  # as `\x1b`, or as `\u001b` in a value that is quoted as JSON
    heard = trial(WORST)
    says = {command for command, said in heard if shown in said.out + said.err}
    expected = {
        *("load campaign.toml", "plan campaign.toml", "schedule add", "schedule", "status", f"status {NAME}"),
        *(f"explain {NAME}", f"requeue {NAME}", "suppress list", "health dial", f"export {NAME}"),
        *("load wrong.toml", f"start {NAME}"),
    }
    assert sorted(expected - says) == []


# --- on a terminal ----------------------------------------------------------------------------------------

_STYLE = re.compile(r"\x1b\[[0-9;]*m")


@pytest.fixture
def spoiled_ledger(trial: Run) -> SimpleNamespace:
    """The ledger after all of that, and what `status` says of it."""
    trial(WORST)
    with closing(open_ledger("sqlite:///.dialer/ledger.sqlite")) as ledger:
        one = status(ledger, NAME, ledger.now())
        return SimpleNamespace(one=one, every=every_status(ledger, ledger.now()))


def test_a_table_on_a_terminal_has_its_own_codes_only(
    spoiled_ledger: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Markup in a reason is text: it neither disappears nor raises, and styles are rich's own."""
    assert "[/][bold]" in (spoiled_ledger.every[0].reason or "")
    for terminal in (False, True):
        monkeypatch.setenv("COLUMNS", "400")
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setattr("sys.stdout", Terminal() if terminal else io.StringIO())
        drawn = "\n".join(table(spoiled_ledger.every))
        assert acts(_STYLE.sub("", drawn).replace("\n", "")) == set()
        assert r"[/][bold]\x1b]0;owned" in drawn
        assert ("\x1b[1m" in drawn) is terminal


def test_what_run_shows_while_it_dials_is_text(spoiled_ledger: SimpleNamespace) -> None:
    """The same for the view that is drawn again and again."""
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=400)
    console.print(live(spoiled_ledger.one, WORST))
    drawn = _STYLE.sub("", out.getvalue())
    assert acts(drawn.replace("\n", "")) == set()
    assert drawn.count(r"[/][bold]\x1b]0;owned") >= 2


@pytest.mark.parametrize("name", ["[red].csv", "[bold]\x1b[2J\n.csv", "{task.id}.csv"])
def test_a_progress_bar_names_any_file(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file may be called like markup, or like a code; while it is read it is named as text."""
    out = Terminal()
    monkeypatch.setattr("sys.stderr", out)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    (tmp_path / name).write_text("x")
    with progress_bar("loading", tmp_path / name) as progress:
        progress(SimpleNamespace(rows_read=1, bytes_read=1))
    # Its own codes move the cursor and set colours; the name's are not among them.
    assert "\x1b[2J" not in out.getvalue()
    assert name.replace("\x1b", r"\x1b").replace("\n", r"\n") in _STYLE.sub("", out.getvalue())


def test_an_export_to_a_terminal_is_text(trial: Run) -> None:
    """Into a pipe or a file the results are exact; on a terminal they are seen, a line a row."""
    trial(WORST)
    with closing(open_ledger("sqlite:///.dialer/ledger.sqlite")) as ledger:
        for kind in Format:
            seen, exact = Terminal(), io.StringIO(newline="")
            rows = export(ledger, NAME, Rows(seen), kind)
            export(ledger, NAME, Rows(exact), kind)
            assert acts(seen.getvalue().replace("\n", "")) == set()
            assert len(seen.getvalue().splitlines()) == rows + (kind == Format.CSV)
            assert "\x9b" in exact.getvalue()
    assert json.loads(exact.getvalue().splitlines()[0])["key"].startswith(WORST.strip()[:10])


@pytest.mark.parametrize(
    "arguments", [("export", NAME), ("suppress", "list"), ("suppress", "list", "--history")]
)
def test_commands_know_a_terminal(
    trial: Run, dialer: Run, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]
) -> None:
    """`export` and `suppress list` show text where a person looks, and give data to a pipe."""
    trial(WORST)
    piped = dialer(*arguments).out
    assert "\x9b" in piped
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    assert dialer(*arguments).code == 0
    assert acts(terminal.getvalue().replace("\n", "")) == set()
    assert r"\x1b]0;owned" in terminal.getvalue()
