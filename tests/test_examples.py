"""The example list, read a second time by rules of this file's own, and dialed by the demo."""

import csv
import json
import os
import re
import subprocess
import sys
import unicodedata
import zoneinfo
from pathlib import Path

import phonenumbers

from campaigns.call_list import RejectedRow, open_call_list
from campaigns.campaign import read_campaign
from campaigns.recipient import Recipient

EXAMPLES = Path(__file__).parents[1] / "examples"
LIST = EXAMPLES / "clinic-reminders.csv"
CAMPAIGN = read_campaign(EXAMPLES / "clinic-reminders.toml")

# What regulators keep free for films and books; examples/README.md says which of them.
FICTION = re.compile(
    r"\+1[2-9]\d\d55501\d\d"
    r"|\+442079460\d{3}"
    r"|\+493023125\d{3}"
    r"|\+3319900\d{4}"
    r"|\+4670174(060[5-9]|06[1-9]\d)"
    r"|\+61[2378]5550\d{4}"
    r"|\+61491570(006|15[6-9]|110)"
)


def second_reading() -> tuple[dict[int, str], set[int]]:
    """(line → number of each acceptable row, lines of the others)."""
    accepted, refused = {}, set()
    zones = {"", *zoneinfo.available_timezones()}
    with LIST.open(encoding="utf-8", newline="") as file:
        reader = csv.reader(file)
        header = next(reader)
        line = reader.line_num + 1
        for cells in reader:
            row = dict(zip(header, cells, strict=False))
            number = plain_number(row.get("phone", ""))
            good = (
                len(cells) == len(header)
                and 0 < len(row["appointment_id"].strip()) <= 255
                and row["tz"] in zones
                and number is not None
            )
            if good and number is not None:
                accepted[line] = number
            else:
                refused.add(line)
            line = reader.line_num + 1
    return accepted, refused


def plain_number(cell: str) -> str | None:
    """A simpler idea of a number: ASCII punctuation around 10 to 14 digits, and valid."""
    visible = "".join(c for c in cell if unicodedata.category(c) != "Cf")
    text = unicodedata.normalize("NFKC", visible).replace("\u2013", "-").strip().removeprefix("'")
    text = text.removeprefix("tel:")
    if not re.fullmatch(r"\+?[\d ()-]+|\d{3}\.\d{3}\.\d{4}", text):
        return None
    digits = re.sub(r"\D", "", text)
    if text.startswith("+") or digits.startswith("00"):
        international = "+" + digits.removeprefix("00")
    else:
        international = "+1" + digits[-10:] if len(digits) == 10 or re.fullmatch(r"1\d{10}", digits) else ""
    try:
        number = phonenumbers.parse(international)
    except phonenumbers.NumberParseException:
        return None
    return international if phonenumbers.is_valid_number(number) else None


def test_two_readers_agree_on_every_row() -> None:
    """The loader accepts the numbers that a second, simpler reader accepts, and rejects the same lines."""
    accepted, refused = second_reading()
    rows = list(open_call_list(LIST, CAMPAIGN.list))
    assert {r.line: r.phone for r in rows if isinstance(r, Recipient)} == accepted
    assert {r.line for r in rows if isinstance(r, RejectedRow)} == refused


def test_the_example_shows_what_lists_are_like() -> None:
    """1,000 rows, 3 % of them bad in many ways, 2 % of them twice."""
    rows = list(open_call_list(LIST, CAMPAIGN.list))
    good = [r for r in rows if isinstance(r, Recipient)]
    reasons = {r.reason for r in rows if isinstance(r, RejectedRow)}
    assert (len(rows), len(good), len({r.key for r in good})) == (1000, 971, 951)
    assert len(reasons) > 15
    name, clinic = good[0].row["first_name"], good[0].row["clinic"]
    assert good[0].attributes["Greeting"] == f"Hello {name}, this is the {clinic} clinic."


def test_nobody_can_be_reached_by_the_example() -> None:
    """Every number that would be dialed is one that its regulator keeps free for fiction."""
    numbers = [r.phone for r in open_call_list(LIST, CAMPAIGN.list) if isinstance(r, Recipient)]
    numbers.append(str(CAMPAIGN.connect.source_phone_number))
    assert [n for n in numbers if not FICTION.fullmatch(n)] == []


def test_the_list_is_what_its_program_writes() -> None:
    """The committed list can be made again, byte for byte."""
    program = [sys.executable, str(EXAMPLES / "make_clinic_list.py"), "--check"]
    done = subprocess.run(program, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_demo_dials_exactly_the_example(tmp_path: Path) -> None:
    """Each number of the second reading rings once, and the results name the contacts that rang them."""
    environment = os.environ | {"PYTHONPATH": str(EXAMPLES.parent), "DIALER_DATABASE_URL": "mysql://not/this"}
    command = [sys.executable, "-m", "worker.cli", "demo"]
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=280
    )
    assert done.returncode == 0, done.stderr
    home = tmp_path / ".dialer" / "demo"
    journal = [json.loads(line) for line in (home / "sandbox-journal.jsonl").read_text().splitlines()]
    rings = [(entry["destination"], entry["contact_id"]) for entry in journal if entry["rang"]]
    accepted, refused = second_reading()
    assert sorted(number for number, _ in rings) == sorted(set(accepted.values()))
    with (home / "clinic-reminders.results.csv").open(encoding="utf-8-sig", newline="") as file:
        results = list(csv.DictReader(file))
    assert sorted((row["phone"], row["contact_id"]) for row in results) == sorted(rings)
    assert {accepted[int(row["line"])] == row["phone"] for row in results} == {True}
    with (home / "clinic-reminders.rejects.csv").open(encoding="utf-8-sig", newline="") as file:
        rejects = {int(row["line"]): row["reason"] for row in csv.DictReader(file)}
    assert set(rejects) == refused
    assert all(rejects.values())
