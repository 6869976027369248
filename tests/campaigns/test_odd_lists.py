"""Odd lists through the command line: which rows are called as which number, and why the others are not."""

import csv
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

CAMPAIGN = """
name = "reminders"

[connect]
instance_id = "10a4c4eb-f57e-4d4c-b602-bf39176ced07"
contact_flow_id = "b0b8f2dd-ed1b-4c44-af36-ce189a178181"
source_phone_number = "+14155550199"

[list]
"""
FILES = Path(__file__).with_name("odd_lists")
BOTH_READINGS = "can be read as two different numbers, for {} may be a country code that has lost its +"
TWO_NUMBERS = "holds more than one number"
OFFSET = "is a distance from UTC, which says nothing of summer time"

Dialer = Callable[..., Any]


@dataclass(frozen=True)
class Odd:
    """A list, the choices of its campaign, and what becomes of its rows, by line (the header is line 1)."""

    file: str
    choices: dict[str, Any] = field(default_factory=dict)
    called: dict[int, str] = field(default_factory=dict)
    rejected: dict[int, str] = field(default_factory=dict)
    """Line → the decisive part of the reason."""
    column: str = "phone"
    """The column that the rejected rows name."""
    tables: str = ""
    """What else the campaign file has."""

    def campaign(self) -> str:
        """The campaign file."""
        choices = (f"{key} = {json.dumps(value)}\n" for key, value in self.choices.items())
        return CAMPAIGN + "".join(choices) + self.tables

    def __str__(self) -> str:
        return self.file


def zone(*places: str) -> str:
    """The reason for a clock without a place."""
    return (
        "names a clock and no place, and only a place says when there is summer time; write an IANA name "
        + (f"such as {', or '.join(places)}")
    )


def unknown_zone(*places: str) -> str:
    """The reason for a name that may mean these places."""
    return f"is not a time zone; write an IANA name such as {', or '.join(places)}"


GERMAN: dict[str, Any] = {"default_region": "DE"}
AMERICAN: dict[str, Any] = {"default_region": "US"}
ZONED: dict[str, Any] = {"time_zone": "tz"}
ANN, BOB, CEM = "+14155550100", "+14155550101", "+14155550102"

LISTS = [
    Odd(
        "plus-lost-own.csv",
        GERMAN,
        rejected={2: BOTH_READINGS.format(49), 3: BOTH_READINGS.format(49), 4: "has lost the + of +49"},
    ),
    Odd(
        "plus-lost-foreign.csv",
        GERMAN,
        rejected={
            2: BOTH_READINGS.format(41),
            3: BOTH_READINGS.format(43),
            4: BOTH_READINGS.format(48),
            5: "has no area code, or has lost its 0",
        },
    ),
    Odd(
        "country-code-marked.csv",
        GERMAN,
        called={2: "+49345279580", 3: "+4989123456", 4: "+491711234567"},
        rejected={5: BOTH_READINGS.format(49)},
    ),
    Odd(
        "no-area-code.csv",
        GERMAN,
        rejected={2: "has no area code", 3: BOTH_READINGS.format(43), 4: "has no area code"},
    ),
    Odd(
        "zero-lost.csv",
        {"default_region": "IT"},
        rejected=dict.fromkeys((2, 3), "can be read as two different numbers, for it may have lost a 0"),
    ),
    Odd("two-numbers.csv", GERMAN, rejected={2: TWO_NUMBERS, 3: TWO_NUMBERS}),
    Odd(
        "too-many-digits.csv", AMERICAN, rejected=dict.fromkeys((2, 3), "has too many digits for one number")
    ),
    Odd(
        "plus-and-trunk-prefix.csv",
        {"default_region": "RU"},
        called={3: "+74951234568"},
        rejected={2: "has no country code: there is no +8"},
    ),
    Odd(
        "old-mobile-one.csv",
        {"default_region": "MX"},
        rejected=dict.fromkeys(
            (2, 3), "has a 1 behind +52, which no number in Mexico has since 2019; remove that 1"
        ),
    ),
    Odd(
        "zero-not-dialed.csv",
        AMERICAN,
        rejected=dict.fromkeys((2, 3, 4), "has a (0) where no 0 is dialed; remove (0)"),
    ),
    Odd(
        "thousands-separators.csv",
        AMERICAN,
        rejected=dict.fromkeys((2, 3), "has thousands separators; format"),
    ),
    Odd(
        "three-colons.csv",
        AMERICAN | {"phone": "Phone 1 - Value"},
        rejected={2: TWO_NUMBERS, 3: TWO_NUMBERS},
        column="Phone 1 - Value",
    ),
    Odd("vertical-tabs.csv", AMERICAN, called={2: ANN}, rejected={3: TWO_NUMBERS}),
    Odd(
        "new-area-codes.csv",
        AMERICAN,
        rejected={
            2: "has the area code 436, which phonenumbers ",
            3: "has the area code 679, which phonenumbers ",
        },
    ),
    Odd(
        "clocks.csv",
        ZONED | {"key": "id"},
        called={3: "+12125550101"},
        rejected={
            2: zone("America/New_York", "America/Panama"),
            4: zone("America/Denver", "America/Phoenix"),
            5: zone("Europe/London", "Africa/Accra"),
        },
        column="tz",
    ),
    Odd(
        "clocks-at-night.csv",
        ZONED,
        called={3: "+18005550198"},
        rejected=dict.fromkeys((2, 4), zone("America/New_York", "America/Panama")),
        column="tz",
    ),
    Odd(
        "abbreviated-zones.csv",
        ZONED,
        rejected={
            2: unknown_zone("Australia/Sydney", "Australia/Brisbane"),
            3: OFFSET,
            4: OFFSET,
            5: unknown_zone("America/Los_Angeles", "Asia/Manila"),
            6: unknown_zone("America/New_York", "America/Panama"),
            7: OFFSET,
        },
        column="tz",
    ),
    Odd("missing-last-cells.csv", called={2: ANN, 3: BOB, 4: CEM}),
    Odd("empty-extra-cell.csv", called={2: ANN, 3: BOB}),
    Odd("header-line-break.csv", {"phone": "Phone Number"}, called={3: ANN}),
    Odd("header-no-break-space.csv", {"phone": "Phone Number"}, called={2: ANN}),
    Odd("header-decomposed.csv", {"phone": "téléphone"}, called={2: ANN}),
    Odd("header-two-blanks.csv", {"phone": "Phone Number"}, called={2: ANN}),
    Odd(
        "blanks-before-quotes.csv",
        {"attributes": ["note"]},
        rejected=dict.fromkeys((2, 3, 4), "has a blank before a quotation mark"),
        column="",
    ),
    Odd(
        "formulas.csv",
        {"attributes": ["name"]},
        called={2: ANN, 3: BOB},
        rejected={4: "has no country code"},
    ),
]


def rows_of(file: str) -> list[dict[str, str]]:
    """The rows of a file that the command has written."""
    with Path(file).open(encoding="utf-8-sig", newline="") as lines:
        return list(csv.DictReader(lines))


@pytest.mark.parametrize("odd", LISTS, ids=str)
def test_each_row_is_called_as_the_right_number_or_rejected(dialer: Dialer, odd: Odd) -> None:
    """`plan` says it beforehand, `load` does it, and exit code 1 says that no row can be called."""
    shutil.copy(FILES / odd.file, odd.file)
    Path("campaign.toml").write_text(odd.campaign())
    planned = dialer("plan", "campaign.toml", odd.file, "--json").json
    said = dialer("load", "campaign.toml", odd.file, "--json")
    counts = (len(odd.called), len(odd.rejected))
    assert (planned["accepted"], planned["rejected"]) == counts
    assert (said.json["accepted"], said.json["rejected"], said.json["rows"]) == (*counts, sum(counts))
    assert said.code == (0 if odd.called else 1)
    dialer("export", "reminders", "-o", "results.csv")
    assert {int(row["line"]): row["phone"] for row in rows_of("results.csv")} == odd.called
    rejects = rows_of(said.json["rejects_file"]) if odd.rejected else []
    assert [int(row["line"]) for row in rejects] == list(odd.rejected)
    for row in rejects:
        assert odd.rejected[int(row["line"])] in row["reason"]
        assert row["column"] == odd.column


REFUSED = [
    ("windows-1250.csv", {"attributes": ["name"]}, 'is right, write encoding = "cp1250" in [list]'),
    ("titles-above.csv", {}, "the columns' names stand in line 4; remove the lines above it"),
    (
        "lines-quoted.csv",
        {},
        "each of its lines stands in quotation marks as a whole; remove those at the ends",
    ),
]


@pytest.mark.parametrize(("file", "choices", "words"), REFUSED, ids=[file for file, *_ in REFUSED])
@pytest.mark.parametrize("command", ["plan", "load"])
def test_a_list_that_cannot_be_read_right_is_refused(
    dialer: Dialer, command: str, file: str, choices: dict[str, Any], words: str
) -> None:
    """In one line that says what to do; nothing is loaded."""
    shutil.copy(FILES / file, file)
    Path("campaign.toml").write_text(Odd(file, choices).campaign())
    said = dialer(command, "campaign.toml", file)
    assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
    assert words in said.err
    assert dialer("status", "reminders").code == 2


def test_the_named_encoding_reads_the_names(dialer: Dialer) -> None:
    """What the refusal advises is enough: each name arrives with its letters."""
    file = "windows-1250.csv"
    shutil.copy(FILES / file, file)
    choices = {"attributes": ["name"], "encoding": "cp1250"}
    Path("campaign.toml").write_text(Odd(file, choices).campaign())
    planned = dialer("plan", "campaign.toml", file, "--json").json
    assert (planned["encoding"], planned["accepted"]) == ("cp1250", 3)
    dialer("load", "campaign.toml", file)
    dialer("export", "reminders", "-o", "results.csv")
    names = {row["phone"]: row["name"] for row in rows_of("results.csv")}
    assert names == {
        "+48512345670": "Łukasz Wójcik",
        "+48512345671": "Grażyna Śliwa",
        "+48512345672": "Żaneta Ćwik",
    }


def test_invisible_marks_in_an_appointment_are_nothing(dialer: Dialer) -> None:
    """Both appointments are at half past two by the recipient's clock, and both rows are loaded."""
    file = "invisible-marks.csv"
    shutil.copy(FILES / file, file)
    reminder = '\n[reminder]\nat = "at"\nbefore = "1h"\ntime_zone = "America/Los_Angeles"\n'
    Path("campaign.toml").write_text(Odd(file, {"key": "id"}, tables=reminder).campaign())
    said = dialer("load", "campaign.toml", file, "--json")
    assert (said.code, said.json["accepted"], said.json["rejected"]) == (0, 2, 0)
    due = [dialer("explain", "reminders", key, "--json").json for key in ("1", "2")]
    assert ["2026-12-24T21:30" in json.dumps(each) for each in due] == [True, True]


def test_formulas_are_written_as_text_and_read_back(dialer: Dialer) -> None:
    """No cell of the results or the rejects begins as a formula does; a corrected row is as it was."""
    file = "formulas.csv"
    shutil.copy(FILES / file, file)
    Path("campaign.toml").write_text(Odd(file, {"attributes": ["name"]}).campaign())
    dialer("load", "campaign.toml", file)
    dialer("export", "reminders", "-o", "results.csv")
    (rejected,) = rows_of("formulas.rejects.csv")
    names = [row["name"] for row in rows_of("results.csv")]
    assert names == ['\'=HYPERLINK("http://127.0.0.1/x","Ann")', "'@SUM(1)"]
    assert rejected["name"] == "'-2+3"
    corrected = Path("formulas.rejects.csv").read_text(encoding="utf-8-sig").replace(",12\n", f",{CEM}\n")
    Path("formulas.rejects.csv").write_text(corrected)
    assert dialer("load", "campaign.toml", "formulas.rejects.csv", "--json").json["accepted"] == 1
    dialer("export", "reminders", "-o", "results.csv", "--raw")
    raw = [row["name"] for row in rows_of("results.csv")]
    assert raw == ['=HYPERLINK("http://127.0.0.1/x","Ann")', "@SUM(1)", "-2+3"]


def listed(dialer: Dialer) -> list[str]:
    """The numbers that are suppressed."""
    return sorted(row["phone"] for row in csv.DictReader(dialer("suppress", "list").out.splitlines()))


IMPORTS: list[tuple[str, tuple[str, ...], list[str]]] = [
    ("do-not-call-plus-lost.csv", ("--default-region", "DE"), ["+491711234567", "+49491711234567"]),
    ("do-not-call-national.txt", (), [ANN, BOB, CEM]),
    ("do-not-call-national-changes.txt", (), [ANN]),
    ("do-not-call-national.xml", (), [ANN]),
    (
        "do-not-call-two-columns.csv",
        ("--default-region", "US", "--column", "DNC_Home", "--column", "DNC_Cell"),
        [ANN, BOB, "+14155550103"],
    ),
]


@pytest.mark.parametrize(("file", "options", "numbers"), IMPORTS, ids=[file for file, *_ in IMPORTS])
def test_a_do_not_call_list_suppresses_whatever_it_may_mean(
    dialer: Dialer, file: str, options: tuple[str, ...], numbers: list[str]
) -> None:
    """Each form is read as what it is, an empty cell is no reject, and the numbers are on the list."""
    shutil.copy(FILES / file, file)
    said = dialer("suppress", "import", file, *options, "--json")
    assert (said.code, said.json["rejected"]) == (0, 0)
    assert listed(dialer) == numbers


def test_the_national_files_changes_take_a_number_off(dialer: Dialer) -> None:
    """Full list, then the changes: the number with D is off, the others stay."""
    for file in ("do-not-call-national.txt", "do-not-call-national-changes.txt"):
        shutil.copy(FILES / file, file)
        assert dialer("suppress", "import", file).code == 0
    assert listed(dialer) == [ANN, CEM]


def test_people_of_a_do_not_call_list_with_notes_are_not_called(dialer: Dialer) -> None:
    """Extensions, a decimal tail, a label, old forms: all five people are suppressed, in either order."""
    for file in ("do-not-call-notes.csv", "do-not-call-notes-people.csv"):
        shutil.copy(FILES / file, file)
    Path("campaign.toml").write_text(Odd("", AMERICAN).campaign())
    arguments = ("suppress", "import", "do-not-call-notes.csv", "--default-region", "US", "--json")
    imported = dialer(*arguments)
    assert (imported.code, imported.json["rejected"]) == (0, 0)
    counts = dialer("load", "campaign.toml", "do-not-call-notes-people.csv", "--json").json
    assert (counts["accepted"], counts["suppressed"]) == (0, 5)


def test_people_who_wait_are_suppressed_by_a_list_with_notes(dialer: Dialer) -> None:
    """The list of people first: the import takes all five."""
    for file in ("do-not-call-notes.csv", "do-not-call-notes-people.csv"):
        shutil.copy(FILES / file, file)
    Path("campaign.toml").write_text(Odd("", AMERICAN).campaign())
    assert dialer("load", "campaign.toml", "do-not-call-notes-people.csv", "--json").json["accepted"] == 5
    imported = dialer("suppress", "import", "do-not-call-notes.csv", "--default-region", "US", "--json")
    assert imported.json["recipients_suppressed"] == 5
    assert dialer("status", "reminders", "--json").json["recipients"]["suppressed"] == 5


def test_every_file_here_has_a_test() -> None:
    """A file that no test reads would only look as if its kind were covered."""
    used = {odd.file for odd in LISTS} | {file for file, *_ in REFUSED} | {file for file, *_ in IMPORTS}
    used |= {"invisible-marks.csv", "do-not-call-notes.csv", "do-not-call-notes-people.csv"}
    assert {file.name for file in FILES.iterdir()} == used
