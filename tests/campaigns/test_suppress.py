"""`dialer suppress`, called as a shell would call it, and the files of numbers that it reads."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, text

from campaigns.call_list import RejectedRow
from campaigns.ledger import Ledger, suppression_book
from campaigns.ledger.tables import runs, suppressions
from campaigns.mistake import Mistake
from campaigns.number_list import ListedNumber, Options, open_number_list

CAMPAIGN = """
name = "reminders"

[connect]
instance_id = "10a4c4eb-f57e-4d4c-b602-bf39176ced07"
contact_flow_id = "b0b8f2dd-ed1b-4c44-af36-ce189a178181"
source_phone_number = "+14155550199"
"""
ANA, BO, CY = "+14155550101", "+14155550102", "+14155550103"

Dialer = Callable[..., Any]
"""The `dialer` fixture of conftest.py: arguments → code, out, err, json."""


@pytest.fixture
def loaded(dialer: Dialer) -> Dialer:
    """The command beside a ledger with a campaign of Ana and Bo that runs."""
    Path("campaign.toml").write_text(CAMPAIGN)
    Path("list.csv").write_text(f"phone\n{ANA}\n{BO}\n")
    assert dialer("load", "campaign.toml", "list.csv").code == 0
    assert dialer("start", "reminders").code == 0
    return dialer


def states(dialer: Dialer) -> dict[str, int]:
    counts = dialer("status", "reminders", "--json").json["recipients"]
    return {state: count for state, count in counts.items() if count and state != "total"}


def listed(dialer: Dialer, *options: str) -> list[dict[str, str]]:
    return list(csv.DictReader(dialer("suppress", "list", *options).out.splitlines()))


def read(path: str, **options: Any) -> list[ListedNumber | RejectedRow]:
    return list(open_number_list(Path(path), Options(**options)))


def numbers(path: str, **options: Any) -> list[str]:
    """The numbers of a file without bad rows."""
    found = read(path, **options)
    return [row.phone for row in found if isinstance(row, ListedNumber)] if found else []


# --- add and remove -----------------------------------------------------------------------------------------


def test_a_number_can_be_suppressed_before_anything_is_loaded(dialer: Dialer) -> None:
    """The list comes first, and whoever is loaded with one of its numbers is not called."""
    said = dialer("suppress", "add", "(415) 555-0101", "--default-region", "us", "--reason", " asked\n us ")
    assert said == (0, f"{ANA} is suppressed for every campaign\n", "")
    Path("campaign.toml").write_text(CAMPAIGN)
    Path("list.csv").write_text(f"phone\n{ANA}\n{BO}\n")
    assert dialer("load", "campaign.toml", "list.csv", "--json").json["suppressed"] == 1
    assert [(row["phone"], row["campaign"], row["reason"]) for row in listed(dialer)] == [
        (ANA, "", "asked us")
    ]


def test_it_says_who_is_not_called_any_more(loaded: Dialer) -> None:
    """And, said again, since when the number is on the list, and why."""
    first = loaded("suppress", "add", ANA, "--reason", "asked us")
    assert first.out.splitlines() == [
        f"{ANA} is suppressed for every campaign",
        "1 recipient is not called any more",
    ]
    assert states(loaded) == {"waiting": 1, "suppressed": 1}
    again = loaded("suppress", "add", ANA, "--reason", "another")
    assert again.code == 0
    assert again.out.startswith(f"{ANA} was suppressed for every campaign already, since 20")
    assert again.out.endswith(": asked us\n")
    both = loaded("suppress", "add", ANA, BO, "--json").json
    (ana, bo) = both.pop("numbers")
    assert both == {
        "campaign": None,
        "added": 1,
        "already": 1,
        "recipients_suppressed": 1,
        "calls_under_way": 0,
    }
    assert (ana["phone"], ana["added"], ana["reason"]) == (ANA, False, "asked us")
    assert bo == {"phone": BO, "added": True, "since": None, "reason": None}


def test_a_campaigns_own_list(loaded: Dialer) -> None:
    """`--campaign` is for that one alone, wherever it stands."""
    assert loaded("suppress", "add", ANA, "--campaign", "reminders").out.splitlines() == [
        f"{ANA} is suppressed for reminders",
        "1 recipient is not called any more",
    ]
    assert [row["campaign"] for row in listed(loaded, "--campaign", "reminders")] == ["reminders"]
    loaded("suppress", "add", ANA)
    assert loaded("suppress", "remove", ANA).out == (
        f"{ANA} is not suppressed for every campaign any more, but still for single campaigns\n"
    )
    assert states(loaded) == {"waiting": 1, "suppressed": 1}
    assert loaded("suppress", "remove", ANA, "--campaign", "reminders").out.splitlines() == [
        f"{ANA} is not suppressed for reminders any more",
        "1 recipient waits again",
    ]


def test_several_are_removed_and_what_was_not_there_is_named(loaded: Dialer) -> None:
    """One that was never suppressed does not keep the others on the list."""
    loaded("suppress", "add", ANA)
    assert loaded("suppress", "remove", ANA, CY, "--json").json == {
        "campaign": None,
        "removed": [ANA],
        "not_there": [CY],
        "still_suppressed": [],
        "recipients_waiting": 1,
        "recipients_in_finished_campaigns": {},
    }
    loaded("suppress", "add", ANA)
    assert loaded("suppress", "remove", CY, ANA).out.splitlines() == [
        f"{CY} was not suppressed for every campaign",
        f"{ANA} is not suppressed for every campaign any more",
        "1 recipient waits again",
    ]


MISTAKES = [
    (
        ["add", "4155550101"],
        "'4155550101' has no country code; write +… or say --default-region US; nothing",
    ),
    (["add", ANA, "+1415"], "'+1415' has too few digits; check the digits; nothing was changed"),
    (
        ["add", "5550101", "--default-region", "XX"],
        "--default-region XX: expected a country's two letters",
    ),
    (["add", ANA, "--campaign", "reminder"], "there is no campaign 'reminder'; did you mean reminders?"),
    (
        ["add", ANA, "--reason", "x" * 1_001],
        "--reason: has 1,001 characters, and takes 1,000; shorten it",
    ),
    (["add"], "Missing argument 'NUMBER' (dialer suppress add --help shows how)"),
    (["remove", CY], f"{CY} is not on the suppression list"),
    (["remove", CY, "--campaign", "reminders"], f"{CY} is not on the suppression list of reminders"),
    (["remove", BO], f"{BO} is suppressed for reminders only; say: --campaign reminders"),
    (["remove", ANA, "--campaign", "reminders"], f"{ANA} is on the list for every campaign, not on the "),
    (["list", "--campaign", "reminder"], "there is no campaign 'reminder'; did you mean reminders?"),
    (["import", "nowhere.csv"], "nowhere.csv: there is no such file"),
    (["import", "list.csv", "--column", "tel", "--campaign", "reminder"], "did you mean reminders?"),
    ([], "Missing command (dialer suppress --help shows how)"),
]


def test_a_mistake_is_said_in_one_line(loaded: Dialer) -> None:
    """With the remedy, exit code 2, and nothing changed."""
    loaded("suppress", "add", ANA)
    loaded("suppress", "add", BO, "--campaign", "reminders")
    before = listed(loaded, "--history")
    for command, words in MISTAKES:
        said = loaded("suppress", *command)
        assert (said.code, said.out, said.err.count("\n")) == (2, "", 1), command
        assert words in said.err
    assert listed(loaded, "--history") == before


def test_without_a_ledger_there_is_nothing_to_show(dialer: Dialer) -> None:
    """Asking makes no ledger."""
    for command in (["list"], ["remove", ANA]):
        said = dialer("suppress", *command)
        assert (said.code, said.out) == (2, "")
        assert "there is no ledger" in said.err
    assert not Path(".dialer").exists()


@pytest.mark.parametrize("command", ["add", "remove", "list", "import"])
def test_every_command_explains_itself(dialer: Dialer, command: str) -> None:
    """Help says what it does, and shows an example that has its name."""
    said = dialer("suppress", command, "--help")
    assert (said.code, said.err) == (0, "")
    assert f"Example: dialer suppress {command} " in said.out
    assert max(len(line) for line in said.out.splitlines()) <= 80


# --- list ---------------------------------------------------------------------------------------------------


def test_one_numbers_story(loaded: Dialer) -> None:
    """What is on the list, what was, and that there is nothing."""
    assert loaded("suppress", "list", CY).out == f"{CY} is on no suppression list\n"
    loaded("suppress", "add", ANA, "--reason", "asked us")
    loaded("suppress", "add", ANA, "--campaign", "reminders")
    head, one, two = loaded("suppress", "list", ANA).out.splitlines()
    assert head == f"{ANA} is not called by any campaign"
    assert one.endswith("on the suppression list: asked us")
    assert two.endswith("on the suppression list of reminders: by an operator")
    loaded("suppress", "remove", ANA, "--reason", "came back")
    assert [line.partition("  on")[2] or line for line in loaded("suppress", "list", ANA).out.splitlines()][
        -1
    ] == " the suppression list of reminders: by an operator"
    loaded("suppress", "remove", ANA, "--campaign", "reminders")
    *_, last = loaded("suppress", "list", ANA).out.splitlines()
    assert last.endswith("taken off the suppression list of reminders: by an operator")


def test_the_list_can_be_imported_again(loaded: Dialer) -> None:
    """What `list` writes, `import` reads: number, reason and date come back as they were."""
    loaded("suppress", "add", ANA, BO, "--reason", 'said "no", twice')
    before = listed(loaded)
    Path("backup.csv").write_text(loaded("suppress", "list").out)
    loaded("suppress", "remove", ANA, BO)
    assert listed(loaded) == []
    assert loaded("suppress", "import", "backup.csv", "--json").json["added"] == 2
    assert listed(loaded) == before


def test_the_history_and_the_list_in_json(loaded: Dialer, monkeypatch: pytest.MonkeyPatch) -> None:
    """One object, however many pages there are of it."""
    monkeypatch.setattr(suppression_book, "_PAGE", 1)
    loaded("suppress", "add", ANA, BO)
    loaded("suppress", "remove", ANA, "--reason", "came back")
    found = loaded("suppress", "list", "--json").json["suppressions"]
    assert [(each["phone"], each["campaign"], each["reason"]) for each in found] == [
        (BO, None, "by an operator")
    ]
    done = loaded("suppress", "list", "--history", "--json").json["history"]
    assert [(each["phone"], each["what"], each["reason"]) for each in done] == [
        (ANA, "added", "by an operator"),
        (BO, "added", "by an operator"),
        (ANA, "removed", "came back"),
    ]
    assert [row["what"] for row in listed(loaded, "--history", ANA)] == ["added", "removed"]
    assert json.loads(loaded("suppress", "list", CY, "--json").out) == {"suppressions": []}


def test_explain_tells_of_the_list(loaded: Dialer) -> None:
    """Since when and why somebody is suppressed, for which campaign, and that they were once."""
    loaded("suppress", "add", ANA, "--reason", "asked us")
    loaded("suppress", "remove", ANA, "--reason", "came back")
    loaded("suppress", "add", ANA, "--campaign", "reminders", "--reason", "had enough")
    told = loaded("explain", "reminders", ANA).out.splitlines()
    assert told[0] == f"{ANA}: suppressed (real calls)"
    assert [line.partition("  ")[2].partition("  ")[2] for line in told[2:5]] == [
        "on the suppression list: asked us",
        "taken off the suppression list: came back",
        "on the suppression list of reminders: had enough",
    ]
    assert told[-1] == "  next: nothing: the number is on the suppression list"
    (story,) = loaded("explain", "reminders", ANA, "--json").json["recipients"]
    assert [(each["what"], each["campaign"]) for each in story["suppressions"]] == [
        ("added", None),
        ("removed", None),
        ("added", "reminders"),
    ]


# --- import -------------------------------------------------------------------------------------------------


def test_every_row_of_a_file_is_accounted_for(loaded: Dialer) -> None:
    """Added, there already, twice in the file, or rejected with line, column and reason."""
    loaded("suppress", "add", BO)
    Path("dnc.csv").write_text(f"phone,name\n{ANA},Ana\n{BO},Bo\n{ANA},Ana\nnobody,Cy\n")
    said = loaded("suppress", "import", "dnc.csv")
    assert (said.code, said.err) == (1, "1 row could not be read, so that not all of dnc.csv is suppressed\n")
    assert said.out.splitlines() == [
        "suppressed for every campaign: 4 rows: 1 added, 1 was there already, 1 duplicate, 1 rejected",
        "rejected rows and their reasons: dnc.rejects.csv (these are NOT suppressed: correct it, "
        "and import it too)",
        "1 recipient is not called any more",
    ]
    assert [row["reason"] for row in listed(loaded)] == ["listed in dnc.csv", "by an operator"]
    rejects = Path("dnc.rejects.csv").read_text(encoding="utf-8-sig")
    assert rejects.splitlines()[0] == "line,column,reason,phone,name"
    assert rejects.splitlines()[1].startswith('5,phone,"is not a telephone number; ')
    Path("dnc.rejects.csv").write_text(rejects.replace("nobody", CY), encoding="utf-8-sig")
    again = loaded("suppress", "import", "dnc.rejects.csv", "--campaign", "reminders", "--json").json
    assert again == {
        "campaign": "reminders",
        "rows": 1,
        "numbers": 1,
        "added": 1,
        "already": 0,
        "removed": 0,
        "kept": 0,
        "not_there": 0,
        "duplicates": 0,
        "ambiguous": 0,
        "empty": 0,
        "rejected": 0,
        "rejects_file": None,
        "unread_columns": [],
        "problem": None,
        "recipients_suppressed": 0,
        "calls_under_way": 0,
        "recipients_waiting": 0,
    }


def test_a_column_of_numbers_needs_no_header(dialer: Dialer) -> None:
    """The first row is a number then, and not lost; a header may be called anything."""
    Path("plain.txt").write_text("(415) 555-0101\n+14155550102\r\n\n4155550103\n")
    assert numbers("plain.txt", default_region="US") == [ANA, BO, CY]
    Path("one.txt").write_text("Telefon\n+14155550101\n")
    assert numbers("one.txt") == [ANA]
    Path("wrong.txt").write_text("1234567\n+14155550102\n")
    first, second = read("wrong.txt")
    assert isinstance(first, RejectedRow)
    assert (first.line, first.column, first.row) == (1, "phone", {"phone": "1234567"})
    assert isinstance(second, ListedNumber)


def test_ctrl_c_after_the_list_is_there_says_what_holds(
    dialer: Dialer, postgres_ledger: Ledger, postgres_ledger_url: str, desk_of: Callable[[Ledger], Any]
) -> None:
    """Nobody is called; the same command then counts who waited."""
    desk = desk_of(postgres_ledger)
    desk.load(desk.campaign(), desk.people(1, first=2_000_000))
    Path("dnc.csv").write_text("phone\n" + "".join(f"+1415{n}\n" for n in range(2_000_000, 2_005_500)))
    command = [sys.executable, "-m", "worker.cli", "suppress", "import", "dnc.csv"]
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "PYTHONPATH": root, "DIALER_DATABASE_URL": postgres_ledger_url}
    with postgres_ledger.write() as held:
        # Those who wait cannot follow before this is over.
        held.execute(select(runs).with_for_update())
        with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as it:
            deadline = time.monotonic() + 30
            while not suppressed(postgres_ledger):
                assert time.monotonic() < deadline
                assert it.poll() is None
            while not blocked(postgres_ledger):
                assert time.monotonic() < deadline
            it.send_signal(signal.SIGINT)
            out, err = it.communicate(timeout=30)
    assert (it.returncode, out.decode()) == (130, "")
    assert err.decode() == (
        "dialer: stopped; the numbers are on the list, and are not called; the same command does the rest\n"
    )
    again = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert again.stdout.splitlines()[-1] == "1 recipient is not called any more"
    assert "5,500 were there already" in again.stdout


def suppressed(ledger: Ledger) -> int:
    with ledger.read() as db:
        return int(db.execute(select(func.count()).select_from(suppressions)).scalar_one())


def blocked(ledger: Ledger) -> int:
    with ledger.read() as db:
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        return int(db.execute(text(f"{query} AND wait_event_type = 'Lock'")).scalar_one())


@pytest.mark.parametrize(
    "content",
    [
        f"phone;name\n{ANA};Ana\n{BO};Bo\n".encode("utf-8-sig"),
        f"sep=|\nname|phone\nÄna|{ANA}\nBo|{BO}\n".encode("cp1252"),
        f"Name\tPhone \nAna\t{ANA}\nBo\t{BO}\n".encode("utf-16"),
        f'name,phone\n"Ana\nB., x",{ANA}\nBo,{BO}'.encode(),
    ],
)
def test_a_file_may_be_in_any_shape_of_a_list(dialer: Dialer, content: bytes) -> None:
    """Encodings, delimiters and quotation marks are those of the loader."""
    Path("dnc.csv").write_bytes(content)
    assert numbers("dnc.csv") == [ANA, BO]


def test_reason_and_date_are_taken(dialer: Dialer) -> None:
    """The date in ISO 8601; any other stands behind the reason, and the number is suppressed all the same."""
    Path("dnc.csv").write_text(
        f"date,tel,Reason\n2025-03-02,{ANA},asked  us\n2025-03-02T09:00+01:00,{BO},\n02/03/25,{CY},\n"
    )
    assert read("dnc.csv", column="TEL") == [
        ListedNumber(ANA, "asked us", datetime(2025, 3, 2, tzinfo=UTC)),
        ListedNumber(BO, "", datetime(2025, 3, 2, 8, tzinfo=UTC)),
        ListedNumber(CY, "", None, " (dated 02/03/25)"),
    ]
    dialer("suppress", "import", "dnc.csv", "--column", "tel", "--reason", "March")
    assert [(row["reason"], row["added_at"][:19]) for row in listed(dialer)][:2] == [
        ("asked us", "2025-03-02T00:00:00"),
        ("March", "2025-03-02T08:00:00"),
    ]
    assert listed(dialer)[2]["reason"] == "March (dated 02/03/25)"


def test_what_is_no_text_costs_a_row_at_most(dialer: Dialer) -> None:
    """A byte that is no character, or a NUL, in the reason keeps no number from being suppressed."""
    Path("dnc.csv").write_bytes(
        b"phone,reason\n+14155550101,J\xc3\xb6rg \xff\n+14155550102,a\0b\n+1415\xff5550103,x\n"
        + b"+14155550104,J\xc3\xb6\n"
    )
    ana, bo, bad, dan = read("dnc.csv")
    assert (ana, bo) == (ListedNumber(ANA, "Jörg �", None), ListedNumber(BO, "a�b", None))
    assert isinstance(bad, RejectedRow)
    assert isinstance(dan, ListedNumber)
    assert dialer("suppress", "import", "dnc.csv", "--json").json["added"] == 3


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "is empty"),
        ("\n,\n", "its first row is empty; it must be a number, or name the columns"),
        (f"{ANA},2025-01-01\n{BO},\n", 'put a row with the columns\' names above it, such as "phone"'),
        (f"name,tel\nAna,{ANA}\n", 'has no column "phone"; its columns are "name", "tel"; name the one with'),
        (f"phone,Phone\n{ANA},\n", 'columns 1 and 2 are both called "phone"; rename one of them'),
        (f'"phone\n{ANA}\n', "line 1: cannot be split: a quotation mark on this line is not closed"),
        (f"sep=#\nphone\n{ANA}\n", 'its sep= line names "#"; use a comma, semicolon, tab or pipe'),
    ],
)
def test_a_file_that_cannot_be_read_changes_nothing(dialer: Dialer, content: str, words: str) -> None:
    """It is said in one line what is wrong and what to do."""
    Path("dnc.csv").write_text(content)
    with pytest.raises(Mistake) as said:
        open_number_list(Path("dnc.csv"), Options())
    assert str(said.value).startswith("dnc.csv: ")
    assert words in str(said.value)
    assert "\n" not in str(said.value)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (f"{ANA},Ana,x", "has 3 cells where there are 2 columns; one number a row"),
        ("Ana", "has 1 cell where there are 2 columns; one number a row"),
        (",", "is empty; fill in the number or remove the row"),
        (f'"{ANA}" x,Ana', "a quotation mark on this line is not closed, or text follows a closing one; "),
    ],
)
def test_a_bad_row_costs_itself(dialer: Dialer, row: str, words: str) -> None:
    """The rows below it are read."""
    Path("dnc.csv").write_text(f"phone,name\n{row}\n{BO},Bo\n")
    bad, good = read("dnc.csv")
    assert isinstance(bad, RejectedRow)
    assert (bad.line, bad.reason.startswith(words)) == (2, True)
    assert good == ListedNumber(BO, "", None)


def test_a_long_list_goes_to_a_reader_who_leaves(dialer: Dialer) -> None:
    """`dialer suppress list | head -1` is no failure."""
    Path("dnc.csv").write_text("".join(f"+1415221{i:04d}\n" for i in range(2_500)))
    assert dialer("suppress", "import", "dnc.csv", "--json").json["added"] == 2_500
    root = str(Path(__file__).parents[2])
    command = [sys.executable, "-m", "worker.cli", "suppress", "list"]
    with subprocess.Popen(
        command, env={**os.environ, "PYTHONPATH": root}, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"phone,campaign,reason,added_at\r\n"
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0
