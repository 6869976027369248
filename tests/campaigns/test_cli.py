"""The operator's commands, called as a shell would call them, but in this process."""

import csv
import io
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from campaigns.ledger import open_ledger, runs

CAMPAIGN = """
name = "reminders"

[connect]
instance_id = "10a4c4eb-f57e-4d4c-b602-bf39176ced07"
contact_flow_id = "b0b8f2dd-ed1b-4c44-af36-ce189a178181"
source_phone_number = "+14155550199"
"""
LIST = """phone,name
+14155550101,Ana
+14155550102,Bo
+14155550102,Bo again
not a number,Cy
"""


Dialer = Callable[..., Any]
"""The `dialer` fixture of conftest.py: arguments → code, out, err, json."""


@pytest.fixture
def dialer(dialer: Dialer) -> Dialer:
    """The command, in a directory of its own with a campaign file and a list of two people."""
    Path("campaign.toml").write_text(CAMPAIGN)
    Path("list.csv").write_text(LIST)
    return dialer


@pytest.fixture
def loaded(dialer: Dialer) -> Dialer:
    """The command, after the list was loaded."""
    assert dialer("load", "campaign.toml", "list.csv").code == 0
    return dialer


def fail(name: str, code: str) -> None:
    """What dialing does when it runs into a fault."""
    with closing(open_ledger("sqlite:///.dialer/ledger.sqlite")) as ledger, ledger.write() as db:
        assert runs.pause(db, runs.find(db, name).id, "Connect says no", code)


def test_load_says_what_became_of_every_row(dialer: Dialer) -> None:
    """Every row of the file is in exactly one of the figures, and the next step is named."""
    said = dialer("load", "campaign.toml", "list.csv")
    assert (said.code, said.err) == (0, "")
    assert said.out.splitlines() == [
        "reminders: 4 rows: 2 accepted, 1 duplicate, 1 rejected",
        "rejected rows and their reasons: list.rejects.csv (correct it, and load it too)",
        "next: dialer start reminders, or for a trial: dialer start reminders --sandbox",
    ]


def test_load_has_its_contract_in_json(dialer: Dialer) -> None:
    """`load --json` prints one object with the promised keys."""
    said = dialer("load", "campaign.toml", "list.csv", "--json", "--rejects", "bad rows.csv")
    assert said.code == 0
    promised = {key: said.json[key] for key in ("rows", "accepted", "duplicates", "rejected", "suppressed")}
    assert promised == {"rows": 4, "accepted": 2, "duplicates": 1, "rejected": 1, "suppressed": 0}
    assert said.json["rejects_file"] == "bad rows.csv"
    assert Path("bad rows.csv").is_file()


def test_the_same_list_again_adds_nobody(loaded: Dialer) -> None:
    """Loading is repeatable: the second time, everybody is there already."""
    again = loaded("load", "campaign.toml", "list.csv", "--json").json
    assert (again["rows"], again["accepted"], again["duplicates"], again["rejected"]) == (4, 0, 3, 1)
    assert loaded("status", "reminders", "--json").json["recipients"]["total"] == 2


def test_load_names_the_start_only_when_that_is_next(loaded: Dialer) -> None:
    """A campaign that runs already need not be started."""
    loaded("start", "reminders")
    assert "next:" not in loaded("load", "campaign.toml", "list.csv").out


@pytest.mark.parametrize(
    ("region", "side", "noted"),
    [("us-east-1", (), True), ("eu-west-1", (), False), ("us-east-1", ("--sandbox",), False)],
)
def test_a_second_region_is_said_when_its_campaign_is_started(
    loaded: Dialer, region: str, side: tuple[str, ...], noted: bool
) -> None:
    """One dialer calls from one Region, so one of the two campaigns would pause itself."""
    for name, where in (("first", "eu-west-1"), ("second", region)):
        in_region = CAMPAIGN.replace('name = "reminders"', f'name = "{name}"').replace(
            "[connect]", f'[connect]\nregion = "{where}"'
        )
        Path(f"{name}.toml").write_text(in_region)
        assert loaded("load", f"{name}.toml", "list.csv").code == 0
    assert "note:" not in loaded("start", "first").out
    said = loaded("start", "second", *side).out
    assert ("note: second is for another Region than first (eu-west-1); " in said) == noted


def test_what_has_changed_in_the_campaign_file_is_said(loaded: Dialer) -> None:
    """A changed choice is named when the list is loaded again."""
    Path("campaign.toml").write_text(CAMPAIGN + "\n[redial]\nmax_attempts = 3\n")
    assert (
        "changed in the campaign's file: redial.max_attempts: 1 → 3; it holds for calls to come"
        in loaded("load", "campaign.toml", "list.csv").out
    )
    Path("campaign.toml").write_text(CAMPAIGN + "\n[redial]\nmax_attempts = 3\nbusy = '600s'\n")
    found = loaded("load", "campaign.toml", "list.csv", "--json").json
    assert found["changed"] == 0
    assert found["changes"] == [{"key": "redial.busy", "was": None, "now": "10m"}]
    Path("campaign.toml").write_text(CAMPAIGN + "\n[redial]\nbusy = '10m'\nmax_attempts = 3\n")
    assert "changed" not in loaded("load", "campaign.toml", "list.csv").out


def test_a_list_that_cannot_be_read_leaves_the_ledger_as_it_was(loaded: Dialer) -> None:
    """A wrong file costs nothing."""
    Path("other.csv").write_text("name,tel\nAna,+14155550101\n")
    assert loaded("load", "campaign.toml", "other.csv").code == 2
    assert loaded("status", "reminders", "--json").json["recipients"]["total"] == 2


def test_a_campaign_goes_through_its_states(loaded: Dialer) -> None:
    """start, pause, resume and cancel say what they did, and status says it too."""

    def state() -> str:
        return str(loaded("status", "reminders", "--json").json["state"])

    assert state() == "loaded"
    assert loaded("start", "reminders").out.startswith("reminders is started")
    assert state() == "running"
    assert loaded("pause", "reminders").out == "reminders is paused; go on with: dialer resume reminders\n"
    assert state() == "paused"
    assert loaded("resume", "reminders").out.startswith("reminders is resumed")
    assert state() == "running"
    assert loaded("cancel", "reminders", "--yes").out == (
        "reminders is cancelled; 2 recipients will not be called\n"
    )
    assert state() == "cancelled"


def test_the_same_command_twice_is_no_failure(loaded: Dialer) -> None:
    """start, pause and cancel may be repeated: nothing changes, and they say so."""
    for command, again in (
        (("start", "reminders"), "reminders is running already\n"),
        (("pause", "reminders"), "reminders was paused already: by an operator\n"),
        (("cancel", "reminders", "--yes"), "reminders was cancelled already\n"),
    ):
        assert loaded(*command).code == 0
        assert loaded(*command) == (0, again, "")


@pytest.mark.parametrize(
    ("before", "command", "words"),
    [
        ([], ["pause", "reminders"], "reminders is loaded; only a running campaign can be paused"),
        (
            [],
            ["cancel", "reminders"],
            "ever (2 recipients will not be called, 0 calls in progress); say: dialer cancel reminders",
        ),
        ([["cancel", "reminders", "--yes"]], ["start", "reminders"], "was cancelled, which is for ever"),
        ([["cancel", "reminders", "--yes"]], ["load", "campaign.toml", "list.csv"], "give the campaign file"),
        ([], ["start", "reminder"], "there is no campaign 'reminder'; did you mean reminders?"),
        ([], ["status", "xyz"], "there is no campaign 'xyz'; there are: reminders"),
        ([], ["explain", "reminders"], "say either whose story: dialer explain reminders +14155550101, or"),
        ([], ["explain", "reminders", "+14155550101", "--unknown"], "say either whose story"),
        ([], ["explain", "reminders", "+14155550109"], "nobody in reminders has the number +14155550109"),
        ([], ["explain", "reminders", "Ana"], "nobody in reminders has the key 'Ana'; as a number it"),
        ([], ["export", "reminders", "--format", "xml"], "there is no format 'xml'; there are: csv, jsonl"),
        ([], ["export", "reminders", "-o", "."], ".: is a directory; name a file"),
        ([], ["export", "reminders", "-o", "no/where.csv"], "no/where.csv: cannot be written"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    loaded: Dialer,
    before: list[list[str]],
    command: list[str],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An operator's mistake is one line that begins with `dialer: `, and exit code 2."""
    for each in before:
        assert loaded(*each).code == 0
    said = loaded(*command)
    assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
    assert said.err.startswith("dialer: ")
    assert words in said.err


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["load", "nowhere.toml", "list.csv"], "nowhere.toml: there is no such file"),
        (["load", ".", "list.csv"], ".: is a directory; name the campaign's TOML file"),
        (["load", "list.csv", "list.csv"], "list.csv: is not a TOML file"),
        (["load", "typo.toml", "list.csv"], "did you mean ring_timeout_seconds?"),
        (["load", "campaign.toml", "nowhere.csv"], "nowhere.csv: there is no such file"),
        (["load", "campaign.toml", "."], ".: is a directory; name the list's CSV file"),
        (["load", "campaign.toml", "empty.csv"], "empty.csv: is empty"),
        (["load", "campaign.toml", "book.xlsx"], "export the sheet as CSV"),
        (["load", "campaign.toml", "other.csv"], 'has no column "phone"'),
        (["load", "campaign.toml", "list.csv", "--rejects", "no/where.csv"], "no"),
        (["status"], "there is no ledger at .dialer/ledger.sqlite yet; load a list first"),
        (["start", "reminders"], "there is no ledger"),
        (["export", "reminders"], "there is no ledger"),
        (["explain", "reminders", "+14155550101"], "there is no ledger"),
    ],
)
def test_a_wrong_input_is_said_in_one_line(dialer: Dialer, command: list[str], words: str) -> None:
    """Whatever is wrong with the files, it is one line that begins with `dialer: `, and exit code 2."""
    Path("typo.toml").write_text(CAMPAIGN + "ring_timout_seconds = 30\n")
    Path("empty.csv").touch()
    Path("book.xlsx").write_bytes(b"PK\x03\x04 and so on")
    Path("other.csv").write_text("name,tel\nAna,+14155550101\n")
    said = dialer(*command)
    assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
    assert said.err.startswith("dialer: ")
    assert words in said.err


def test_asking_makes_no_ledger(dialer: Dialer) -> None:
    """`dialer status` in the wrong directory leaves nothing behind there."""
    before = sorted(os.listdir())
    dialer("status")
    assert before == sorted(os.listdir())


def test_status_has_its_contract_in_json(loaded: Dialer) -> None:
    """`status NAME --json` prints one object with the promised keys; every state is among them."""
    status = loaded("status", "reminders", "--json").json
    assert {"name", "state", "reason", "recipients", "attempts", "outcomes", "unknowns"} <= status.keys()
    assert status["recipients"] == {
        "total": 2,
        "waiting": 2,
        "in_progress": 0,
        "done": 0,
        "held": 0,
        "suppressed": 0,
        "expired": 0,
        "cancelled": 0,
        "dropped": 0,
    }
    assert set(status["attempts"].values()) == {0}
    assert status["outcomes"] == {}
    assert status["unknowns"] == {"searched": 0, "held": 0, "not_found": 0, "untold": 0}
    start = "dialer start reminders"
    assert status["reason"] == f"not started; start it with: {start}, or for a trial: {start} --sandbox"


def test_status_of_all_is_a_row_each(loaded: Dialer) -> None:
    """Without a name, every campaign has a row, and a row says why nothing dials."""
    Path("campaign.toml").write_text(CAMPAIGN.replace('"reminders"', '"second"'))
    loaded("load", "campaign.toml", "list.csv")
    loaded("start", "second")
    said = loaded("status").out.splitlines()
    assert said[0].split() == [
        "campaign",
        "state",
        "calls",
        "settled",
        "waiting",
        "in",
        "progress",
        "pace",
        "reason",
    ]
    assert said[1].split()[:4] == ["reminders", "loaded", "undecided", "0/2"]
    assert said[1].endswith("dialer start reminders, or for a trial: dialer start reminders --sandbox")
    assert said[2].split()[:4] == ["second", "running", "real", "0/2"]
    assert said[2].endswith("start one with: dialer up")
    assert [each["name"] for each in loaded("status", "--json").json["campaigns"]] == ["reminders", "second"]


def test_status_without_campaigns_says_how_to_begin(loaded: Dialer, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty ledger is no mistake: the table is empty, and the next step is named."""
    open_ledger("sqlite:///empty.sqlite").close()
    monkeypatch.setenv("DIALER_DATABASE_URL", "sqlite:///empty.sqlite")
    assert loaded("status").out == "no campaigns yet; load a list: dialer load CAMPAIGN.toml LIST.csv\n"
    assert loaded("status", "--json").json == {"campaigns": []}


def test_a_campaign_that_paused_itself_says_why(loaded: Dialer) -> None:
    """The reason that dialing stopped is in the status, and resuming goes on."""
    loaded("start", "reminders")
    fail("reminders", "OutboundContactNotPermitted")
    said = loaded("status", "reminders")
    assert said.out.splitlines()[0] == "reminders: paused (real calls)"
    assert "Connect says no" in said.out
    assert "dialer resume reminders" in said.out
    assert loaded("status", "reminders", "--json").json["state"] == "paused"
    loaded("resume", "reminders")
    assert loaded("status", "reminders", "--json").json["state"] == "running"


@pytest.mark.parametrize("command", [["status"], ["status", "reminders", "--json"], ["explain", "x", "y"]])
def test_a_ledger_that_is_gone_is_said_in_one_line(
    dialer: Dialer, command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No traceback and no password: one line, and exit code 1, because nothing was asked wrongly."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound, but not listening
        port = nobody.getsockname()[1]
        url = f"postgresql://dialer:secret@127.0.0.1:{port}/dialer"
        monkeypatch.setenv("DIALER_DATABASE_URL", url)
        said = dialer(*command)
    assert (said.code, said.out, said.err.count("\n")) == (1, "", 1)
    assert said.err.startswith("dialer: the ledger's database does not answer: ")
    assert "refused" in said.err
    assert "secret" not in said.err


def test_explain_tells_one_recipients_story(loaded: Dialer) -> None:
    """By the number or the key, in words or as one JSON object."""
    said = loaded("explain", "reminders", "+1 (415) 555-0102")
    assert (said.code, said.err) == (0, "")
    head, line, comes_next = said.out.splitlines()
    assert head == "+14155550102: waiting"
    assert line.endswith("  loaded from line 3 of list.csv")
    assert comes_next == (
        "  next, due now: attempt 1 is dialed, once the campaign is started: dialer start reminders, "
        "or for a trial: dialer start reminders --sandbox"
    )
    found = loaded("explain", "reminders", "+14155550102", "--json").json
    assert found["name"] == "reminders"
    assert [(each["key"], each["line"], each["attempts"]) for each in found["recipients"]] == [
        ("+14155550102", 3, [])
    ]


def test_explain_all_in_doubt(loaded: Dialer) -> None:
    """Where there is none, it says so, and the JSON object is empty."""
    said = loaded("explain", "reminders", "--unknown")
    assert said == (0, "reminders: there is no call of which nobody can tell whether it rang\n", "")
    assert loaded("explain", "reminders", "--unknown", "--json").json == {
        "name": "reminders",
        "recipients": [],
    }


def test_export_has_a_row_for_every_accepted_row(loaded: Dialer) -> None:
    """The columns are the promised ones, then the list's own; whom nobody has called is there too."""
    said = loaded("export", "reminders")
    assert said.code == 0
    rows = list(csv.DictReader(io.StringIO(said.out)))
    assert list(rows[0]) == [
        "line",
        "key",
        "phone",
        "state",
        "outcome",
        "attempts",
        "contact_id",
        "contact_ids",
        "client_token",
        "last_error",
        "first_dialed_at",
        "ended_at",
        "list.phone",
        "name",
    ]
    assert [(row["line"], row["phone"], row["state"], row["attempts"], row["name"]) for row in rows] == [
        ("2", "+14155550101", "waiting", "0", "Ana"),
        ("3", "+14155550102", "waiting", "0", "Bo"),
    ]


def test_export_to_a_file_is_the_same_and_private(loaded: Dialer) -> None:
    """A file of telephone numbers is for its owner's eyes, and nothing else is left beside it."""
    shown = loaded("export", "reminders").out
    before = set(os.listdir())
    assert loaded("export", "reminders", "-o", "my results.csv").out == "2 rows in my results.csv\n"
    assert shown == Path("my results.csv").read_bytes().decode()
    assert Path("my results.csv").stat().st_mode & 0o777 == 0o600
    assert set(os.listdir()) - before == {"my results.csv"}


def test_export_as_json_lines(loaded: Dialer) -> None:
    """By --format on standard output, by the file's name in a file: the same objects."""
    shown = loaded("export", "reminders", "--format", "jsonl")
    assert [json.loads(line)["name"] for line in shown.out.splitlines()] == ["Ana", "Bo"]
    assert loaded("export", "reminders", "-o", "results.jsonl").out == "2 rows in results.jsonl\n"
    assert Path("results.jsonl").read_text() == shown.out
    loaded("export", "reminders", "-o", "results.jsonl", "--format", "csv")
    assert Path("results.jsonl").read_text().startswith("line,key,phone,")


def test_a_reader_who_has_seen_enough_is_no_failure(loaded: Dialer) -> None:
    """`dialer export | head` ends quietly, also when everything would have fitted into the pipe."""
    for written_as in ("csv", "jsonl"):
        reading, writing = os.pipe()
        os.close(reading)
        command = [sys.executable, "-m", "worker.cli", "export", "reminders", "--format", written_as]
        path = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, env=path, text=True)
        os.close(writing)
        assert (done.returncode, done.stderr) == (0, "")


def test_the_ledger_is_private(loaded: Dialer) -> None:
    """Nobody else can look into the data directory."""
    assert Path(".dialer").stat().st_mode & 0o777 == 0o700
    assert Path(".dialer/ledger.sqlite").stat().st_mode & 0o777 == 0o600
