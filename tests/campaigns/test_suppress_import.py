"""`dialer suppress import` fails closed: all readings are suppressed, and unreadable rows fail it."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from campaigns.ledger import Ledger, suppression_book
from campaigns.ledger.tables import EVERY_CAMPAIGN
from campaigns.mistake import Mistake
from campaigns.number_list import Options
from campaigns.suppress import import_file

CAMPAIGN = """
name = "reminders"

[connect]
instance_id = "10a4c4eb-f57e-4d4c-b602-bf39176ced07"
contact_flow_id = "b0b8f2dd-ed1b-4c44-af36-ce189a178181"
source_phone_number = "+14155550199"

[list]
default_region = "US"
"""
ANN, BOB, CEM = "+14155550100", "+14155550101", "+14155550102"

Dialer = Callable[..., Any]


def listed(dialer: Dialer) -> list[str]:
    """The numbers that are suppressed."""
    return [row["phone"] for row in csv.DictReader(dialer("suppress", "list").out.splitlines())]


def load(dialer: Dialer, *phones: str) -> dict[str, Any]:
    """What becomes of a list of people with these numbers."""
    Path("campaign.toml").write_text(CAMPAIGN)
    Path("people.csv").write_text("phone\n" + "".join(f"{phone}\n" for phone in phones))
    counts: dict[str, Any] = dialer("load", "campaign.toml", "people.csv", "--json").json
    return counts


def test_cells_of_all_kinds_are_suppressed(dialer: Dialer) -> None:
    """An extension, a decimal tail, a label, numbers of two forms: none of them is called."""
    Path("dnc.csv").write_text(
        "phone\n415-555-0100 x12\n4155550101.0\n415-555-0102 (cell)\n+521 55 1234 5678\n+54 11 6907 1234\n"
    )
    said = dialer("suppress", "import", "dnc.csv", "--default-region", "US")
    assert said == (0, "suppressed for every campaign: 5 rows: 5 added\n", "")
    counts = load(dialer, ANN, "415-555-0101", CEM, "+52 55 1234 5678", "+54 9 11 6907 1234")
    assert (counts["accepted"], counts["suppressed"]) == (0, 5)


def test_who_waits_is_suppressed_however_the_two_files_wrote_it(dialer: Dialer) -> None:
    """Loaded first: the import takes back those who wait."""
    load(dialer, "+52 55 1234 5678", "+54 9 11 6907 1234", ANN)
    Path("dnc.csv").write_text("phone\n+521 55 1234 5678\n+54 11 6907 1234\n")
    assert dialer("suppress", "import", "dnc.csv", "--json").json["recipients_suppressed"] == 2
    counts = dialer("status", "reminders", "--json").json["recipients"]
    assert (counts["suppressed"], counts["waiting"]) == (2, 1)


def test_a_cell_of_two_readings_suppresses_both(dialer: Dialer) -> None:
    """And says so, in words and for machines."""
    Path("dnc.csv").write_text("phone\n491711234567\n")
    said = dialer("suppress", "import", "dnc.csv", "--default-region", "DE")
    assert said.out.splitlines() == [
        "suppressed for every campaign: 1 row with 2 numbers: 2 added",
        "1 cell can be read as several numbers; all of these are suppressed",
    ]
    assert said.code == 0
    assert listed(dialer) == ["+491711234567", "+49491711234567"]
    counts = dialer("suppress", "import", "dnc.csv", "--default-region", "DE", "--json").json
    assert (counts["ambiguous"], counts["numbers"], counts["already"], counts["rows"]) == (1, 2, 2, 1)


def test_a_cell_of_which_a_part_cannot_be_read(dialer: Dialer) -> None:
    """The part that can be read is suppressed, the row is rejected, and the command fails."""
    Path("dnc.csv").write_text('phone\n"415-555-0100, 123456789012"\n')
    said = dialer("suppress", "import", "dnc.csv", "--default-region", "US")
    assert (said.code, listed(dialer)) == (1, [ANN])
    assert "1 row with 1 number: 1 added, 1 rejected" in said.out
    assert said.err == "1 row could not be read, so that not all of dnc.csv is suppressed\n"
    assert Path("dnc.rejects.csv").exists()


NOTHING = [
    ("phone\n", "no_rows", "nothing was suppressed: dnc.csv has no row; export it again"),
    (
        "phone\nnobody\n4.1555501E+09\n",
        "nothing_readable",
        "nothing was suppressed: no row can be read; line 2, column phone: is not a telephone number; write",
    ),
    (
        "phone\n4155550100\n",
        "nothing_readable",
        "no row can be read; line 2, column phone: has no country code; write +… or say --default-region US",
    ),
    (
        "phone,cell\n,\n,\n",
        "no_numbers",
        "nothing was suppressed: no row has a number in phone, cell; name the columns: --column NAME",
    ),
]


@pytest.mark.parametrize(("content", "problem", "words"), NOTHING)
def test_an_import_of_nothing_fails(dialer: Dialer, content: str, problem: str, words: str) -> None:
    """Exit 1, and the reason in one sentence; with --json standard output is the object alone."""
    Path("dnc.csv").write_text(content)
    columns = ["--column", "phone"] + (["--column", "cell"] if "cell" in content else [])
    said = dialer("suppress", "import", "dnc.csv", *columns)
    assert (said.code, said.err.count("\n")) == (1, 1)
    assert words in said.err
    again = dialer("suppress", "import", "dnc.csv", *columns, "--json")
    assert (again.code, json.loads(again.out)["problem"]) == (1, problem)
    assert listed(dialer) == []


def test_several_columns_of_one_file(dialer: Dialer) -> None:
    """An empty cell is no mistake there; a bad one costs itself, and is named."""
    Path("dnc.csv").write_text(
        "Name,Home,Cell\nBo,415-555-0100,415-555-0101\nAl,,415-555-0102\nCy,,\nDi,bad,worse\nEd,415-555-0100,x\n"
    )
    columns = ("--default-region", "US", "--column", "home", "--column", "CELL")
    said = dialer("suppress", "import", "dnc.csv", *columns)
    assert said.code == 1
    assert said.out.splitlines()[0] == (
        "suppressed for every campaign: 5 rows with 4 numbers: "
        "3 added, 1 duplicate, 1 without a number, 2 rejected"
    )
    assert listed(dialer) == [ANN, BOB, CEM]
    rejects = Path("dnc.rejects.csv").read_text(encoding="utf-8-sig").splitlines()
    assert rejects[1].startswith("5,Home,")
    assert '""Cell"" is not a telephone number' in rejects[1]
    assert rejects[2].startswith("6,Cell,")
    Path("dnc.csv").write_text("Name,Home,Cell\nBo,415-555-0100,\nAl,,415-555-0102\n")
    assert dialer("suppress", "import", "dnc.csv", *columns).code == 0


def test_columns_that_were_not_asked_for_are_named(dialer: Dialer) -> None:
    """A second column of numbers is not left out without a word."""
    Path("dnc.csv").write_text("phone,cell phone,order\n+14155550100,+14155550101,17\n+14155550102,,18\n")
    said = dialer("suppress", "import", "dnc.csv")
    assert said.out.splitlines()[1] == (
        'not read, though there seem to be numbers in it: "cell phone"; to read it as well: '
        "--column phone --column 'cell phone'"
    )
    assert dialer("suppress", "import", "dnc.csv", "--json").json["unread_columns"] == ["cell phone"]
    both = ("--column", "phone", "--column", "cell phone", "--json")
    assert dialer("suppress", "import", "dnc.csv", *both).json["unread_columns"] == []
    assert listed(dialer) == [ANN, BOB, CEM]


# --- the national list --------------------------------------------------------------------------------------

FULL = [
    "415,5550100\n415,5550101\r\n415,5550102",
    "AREA,NUMBER\n415,5550100\n415,5550101\n415,5550102\n",
    '<?xml version="1.0"?><list><ac val="415"><ph val="5550100"/><ph val="5550101"/>'
    '<ph val="5550102"/></ac></list>',
    "<list type='full' level='area code' val='415'>\n<ph val='5550100' />\n<ph val='5550101' />"
    "<ph val='4155550102'/></list>",
]


@pytest.mark.parametrize("content", FULL)
def test_a_full_list(dialer: Dialer, content: str) -> None:
    """Flat, with and without a header, and as XML."""
    Path("national.txt").write_text(content)
    assert dialer("suppress", "import", "national.txt") == (
        0,
        "suppressed for every campaign: 3 rows: 3 added\n",
        "",
    )
    assert listed(dialer) == [ANN, BOB, CEM]


CHANGES = [
    "415,5550100,2026-11-01,A\n415,5550101,2026-11-01,D\n",
    "4155550100,2026-11-01,A\n4155550101,2026-11-01,D\n",
    '<list type="change"><ac val="415"><ph val="5550100" date="2026-11-01" action="A"/>'
    '<ph val="5550101" date="2026-11-01" action="D"/></ac></list>',
    '<list type="change"><ac val="415"><add><ph val="5550100"/></add>'
    '<delete><ph val="5550101"/></delete></ac></list>',
]


@pytest.mark.parametrize("content", CHANGES)
def test_a_list_of_changes(dialer: Dialer, content: str) -> None:
    """A adds, D removes; who was suppressed for it waits again."""
    Path("full.txt").write_text("415,5550101\n415,5550102\n")
    dialer("suppress", "import", "full.txt")
    assert load(dialer, ANN, BOB)["suppressed"] == 1
    Path("change.txt").write_text(content)
    said = dialer("suppress", "import", "change.txt")
    assert said.code == 0
    assert said.out.splitlines() == [
        "suppressed for every campaign: 2 rows: 1 added, 1 removed",
        "1 recipient is not called any more",
        "1 recipient waits again",
    ]
    assert listed(dialer) == [ANN, CEM]
    assert dialer("suppress", "import", "change.txt", "--json").json["not_there"] == 1


def test_the_national_list_does_not_take_off_who_asked_us(dialer: Dialer) -> None:
    """A person who has told the company itself stays suppressed, and the operator hears of it."""
    dialer("suppress", "add", BOB, "--reason", "asked us")
    Path("own.csv").write_text(f"phone\n{CEM}\n")
    Path("full.txt").write_text("415,5550101\n415,5550102\n415,5550100\n")
    dialer("suppress", "import", "full.txt")
    dialer("suppress", "import", "own.csv")
    Path("change.txt").write_text(
        "415,5550100,2026-11-01,D\n415,5550101,2026-11-01,D\n415,5550102,2026-11-01,D\n"
    )
    said = dialer("suppress", "import", "change.txt")
    assert (said.code, listed(dialer)) == (0, [BOB, CEM])
    assert said.out.splitlines() == [
        "suppressed for every campaign: 3 rows: 0 added, 1 removed",
        "2 numbers to remove stay suppressed, because not only the national list has put them on; to take "
        "them off: dialer suppress remove NUMBER",
    ]


@pytest.mark.parametrize(
    ("rows", "left"),
    [
        ("415,5550100,2026-11-01,D\n415,5550100,2026-11-02,A\n", [ANN]),
        ("415,5550100,2026-11-02,A\n415,5550100,2026-11-01,D\n", [ANN]),
        ("415,5550100,2026-11-01,A\n415,5550100,2026-11-02,D\n", []),
        ("415,5550100,2026-11-02,D\n415,5550100,2026-11-01,A\n", []),
        ("415,5550100,2026-11-01,A\n415,5550100,2026-11-01,D\n", [ANN]),
        ("415,5550100,2026-11-01,D\n415,5550100,2026-11-01,A\n", [ANN]),
        ("415,5550100,11/01/2026,A\n415,5550100,11/02/2026,D\n", []),
        ("415,5550100,11/01/2026,D\n415,5550100,11/02/2026,A\n", [ANN]),
    ],
)
def test_the_last_change_of_a_number_counts(dialer: Dialer, rows: str, left: list[str]) -> None:
    """By its date; on one day the addition; without dates that can be told, by its place in the file."""
    Path("change.txt").write_text(rows)
    assert dialer("suppress", "import", "change.txt").code == 0
    assert listed(dialer) == left
    counts = dialer("suppress", "import", "change.txt", "--json").json
    assert (
        counts["numbers"] == counts["added"] + counts["already"] + counts["not_there"] + counts["duplicates"]
    )


def test_a_line_of_another_form_fails_the_import(dialer: Dialer) -> None:
    """What may be a number in it is suppressed all the same; the others are read."""
    Path("full.txt").write_text("415,5550100\n415,5550101,2026-11-01,X\n415-555-0102\n415,55\n")
    said = dialer("suppress", "import", "full.txt")
    assert (said.code, listed(dialer)) == (1, [ANN, BOB, CEM])
    reasons = list(csv.DictReader(Path("full.txt.rejects.csv").read_text(encoding="utf-8-sig").splitlines()))
    assert [(row["line"], row["column"]) for row in reasons] == [
        ("2", "number"),
        ("3", "number"),
        ("4", "number"),
    ]
    assert all("is no line of the national list" in row["reason"] for row in reasons)


def test_a_removal_in_a_full_list_is_no_addition(dialer: Dialer) -> None:
    """A file whose first line is one of a full list takes nothing off."""
    Path("full.txt").write_text("415,5550100\n415,5550101,2026-11-01,D\n")
    assert dialer("suppress", "import", "full.txt").code == 1
    assert listed(dialer) == [ANN]


def test_new_area_codes_are_taken_as_they_are(dialer: Dialer) -> None:
    """The national list is ahead of phonenumbers' plan, and wrong in no other way."""
    Path("full.txt").write_text("436,5550100\n")
    assert dialer("suppress", "import", "full.txt").code == 0
    assert listed(dialer) == ["+14365550100"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            '<list><ac val="415"><ph val="5550100"/>',
            "is broken XML (no element found); download the file again",
        ),
        ('<list><ac val="415"><ph val="5550100"></ac></list>', "line 1: is broken XML (mismatched tag)"),
        (
            '<!DOCTYPE list [<!ENTITY a "b">]><list><ac val="415"><ph val="5550100"/></ac></list>',
            "declares entities",
        ),
        ('<?xml version="1.0"?><people><p phone="1"/></people>', "is a web page or a document, not CSV"),
    ],
)
def test_broken_xml_changes_nothing(dialer: Dialer, content: str, words: str) -> None:
    """It is one line, exit 2, and no number of it is on the list."""
    Path("national.xml").write_text(content)
    said = dialer("suppress", "import", "national.xml")
    assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
    assert words in said.err
    assert listed(dialer) == []


def test_a_number_without_its_area_is_rejected(dialer: Dialer) -> None:
    """Seven digits alone are no number."""
    Path("national.xml").write_text('<list><ph val="5550100"/><ac val="415"><ph val="5550101"/></ac></list>')
    said = dialer("suppress", "import", "national.xml")
    assert (said.code, listed(dialer)) == (1, [BOB])


def test_a_named_country_is_a_reading_too(dialer: Dialer) -> None:
    """A file of another country may have the same form: both are suppressed."""
    Path("full.txt").write_text("211,5550100\n")
    dialer("suppress", "import", "full.txt", "--default-region", "DE")
    assert listed(dialer) == ["+12115550100", "+492115550100"]


# --- add, remove and list -----------------------------------------------------------------------------------


def test_any_number_of_a_telephone_is_as_good(dialer: Dialer) -> None:
    """Added as one, found and removed as the other; forms that are no longer dialed are understood, too."""
    old, new = "+5215512345678", "+525512345678"
    assert dialer("suppress", "add", "+52 1 55 1234 5678").out.startswith(f"{old} is suppressed")
    assert dialer("suppress", "list", new).out.startswith(f"{new} is not called by any campaign")
    assert dialer("suppress", "list", old).out.startswith(f"{old} is not called by any campaign")
    assert [
        row["what"] for row in csv.DictReader(dialer("suppress", "list", "--history", new).out.splitlines())
    ] == ["added"]
    assert dialer("suppress", "remove", new).code == 0
    assert listed(dialer) == []
    assert dialer("suppress", "list", old).out.startswith(f"{old} is on no suppression list")
    assert dialer("suppress", "add", old, new, "--json").json["added"] == 1


def test_a_doubt_suppresses_and_does_not_remove(dialer: Dialer) -> None:
    """`add` takes all readings; `remove` asks which."""
    dialer("suppress", "add", "491711234567", "--default-region", "DE")
    both = ["+491711234567", "+49491711234567"]
    assert listed(dialer) == both
    said = dialer("suppress", "remove", "491711234567", "--default-region", "DE")
    assert (said.code, listed(dialer)) == (2, both)
    assert "may be +491711234567 or +49491711234567; write it with + and the country code" in said.err


def test_both_databases_agree(ledger: Ledger, tmp_path: Path) -> None:
    """A full list, changes and a file with readings, told by the counts."""
    full, change, own = (tmp_path / name for name in ("full.txt", "change.txt", "own.csv"))
    full.write_text("".join(f"415,55501{i:02}\n" for i in range(100)))
    change.write_text("".join(f"415,55501{i:02},2026-11-01,{'AD'[i % 2]}\n" for i in range(50, 100)))
    own.write_text("phone\n+5215512345678\n+525512345678\n+14155550151\n")

    def put(path: Path) -> Any:
        return import_file(ledger, path, Options(), campaign=None, reason=None, now=ledger.now())

    assert (put(full).put.added, put(own).put.numbers) == (100, 2)
    changed = put(change)
    assert (changed.put.numbers, changed.put.added) == (25, 0)
    assert (changed.deleted.numbers, changed.deleted.removed, changed.deleted.kept) == (25, 24, 1)
    found = [entry.phone for entry in suppression_book.entries(ledger, campaign_id=EVERY_CAMPAIGN)]
    assert len(found) == 100 - 24 + 2
    with pytest.raises(Mistake, match="there is no campaign"):
        import_file(ledger, own, Options(), campaign="none", reason=None, now=ledger.now())
