"""Lists as spreadsheets and other programs write them: titles, odd headers, cells too few and too many."""

import unicodedata
from pathlib import Path

import pytest

from campaigns.call_list import CallList, RejectedRow, open_call_list
from campaigns.campaign import ListOptions
from campaigns.csv_records import folded
from campaigns.mistake import Mistake
from campaigns.recipient import Recipient

PHONE = ListOptions()


@pytest.fixture
def people(tmp_path: Path) -> Path:
    return tmp_path / "people.csv"


def opened(
    path: Path, content: str, options: ListOptions = PHONE, appointment: str | None = None
) -> CallList:
    path.write_bytes(content.encode())
    return open_call_list(path, options, appointment)


def phones(call_list: CallList) -> list[str]:
    rows = list(call_list)
    assert [row for row in rows if isinstance(row, RejectedRow)] == []
    return [row.phone for row in rows if isinstance(row, Recipient)]


def rejected(call_list: CallList) -> list[tuple[int, str]]:
    return [(row.line, row.reason) for row in call_list if isinstance(row, RejectedRow)]


ONE_NAME = [
    "Phone Number",
    " phone number ",
    "PHONE NUMBER",
    "Phone\nNumber",
    "Phone\r\nNumber",
    "Phone  Number",
    "Phone\tNumber",
    "Phone\u00a0Number",
    "Phone\u202fNumber",
    "Phone\u3000Number",
    "Phone\u2028Number",
    "\ufeffPhone Number",
    "\u200ePhone\u200b Number\u200f",
    "Pho\u00adne Number",
    '"Phone Number"',
    ' "Phone Number" ',
    "\u2067Phone Number\u2069",
]


@pytest.mark.parametrize("written", ONE_NAME)
@pytest.mark.parametrize("asked", ["Phone Number", "Phone\u00a0 Number"])
def test_a_header_is_one_name_however_it_is_laid_out(people: Path, written: str, asked: str) -> None:
    """Line breaks, blanks of all kinds, what is not seen, quotation marks and case make no other name."""
    cell = '"' + written.replace('"', '""') + '"'
    call_list = opened(people, f"name,{cell}\r\nAnn,+14155550100\r\n", ListOptions(phone=asked))
    assert phones(call_list) == ["+14155550100"]
    assert call_list.columns == ("name", written)


@pytest.mark.parametrize(
    "name", ["téléphone", "Nº de teléfono", "電話ばんごう", "Τηλέφωνο", "đïện thoại", "ПЁТР"]
)
@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("asked", ["NFC", "NFD"])
def test_composed_and_decomposed_letters_are_one_name(people: Path, name: str, form: str, asked: str) -> None:
    """macOS and web forms write é as two characters, which looks the same."""
    shown = unicodedata.normalize(form, name)  # type: ignore[arg-type]
    options = ListOptions(phone=unicodedata.normalize(asked, name.upper()))  # type: ignore[arg-type]
    assert phones(opened(people, f"a,{shown}\nx,+14155550100\n", options)) == ["+14155550100"]


def test_folding_is_done_once() -> None:
    """What is folded stays as it is, and different names stay different."""
    for code in range(0x20, 0x3000):
        once = folded(f"a{chr(code)}b")
        assert folded(once) == once
    assert (
        len({folded(name) for name in ("phone", "phone 2", "phone_2", "phones", "téléphone", "telephone")})
        == 6
    )


def test_two_columns_of_one_name_are_said(people: Path) -> None:
    """Where two headers are one name, none of them is taken."""
    with pytest.raises(Mistake, match="columns 1 and 2 are both called"):
        opened(
            people,
            "Phone  Number,Phone\u00a0Number\n+14155550100,+14155550101\n",
            ListOptions(phone="Phone Number"),
        )


def test_all_missing_columns_are_said_at_once(people: Path) -> None:
    """One message names every column that the campaign uses and the list lacks."""
    options = ListOptions(
        phone="mobile", key="id", attributes={"First": "first_name", "Text": "On {day} at {hour}"}
    )
    with pytest.raises(Mistake) as mistake:
        opened(people, "name,phone,firstname\nAnn,+14155550100,Ann\n", options, "appt")
    for name in ("mobile", "id", "first_name", "day", "hour", "appt"):
        assert f'"{name}" (' in str(mistake.value)
    assert '"firstname" for "first_name"' in str(mistake.value)
    assert "\n" not in str(mistake.value)


@pytest.mark.parametrize("width", [2, 3, 4])
def test_missing_cells_that_nothing_uses_are_empty(people: Path, width: int) -> None:
    """Spreadsheets leave out empty cells at the end of a row; the row is kept with empty ones."""
    row = ",".join(["Ann", "+14155550100", "Reno", "vip"][:width])
    [found] = opened(people, f"name,phone,city,notes\r\n{row}\r\n")
    assert isinstance(found, Recipient)
    assert list(found.row) == ["name", "phone", "city", "notes"]
    assert list(found.row.values()) == [*["Ann", "+14155550100", "Reno", "vip"][:width], *[""] * (4 - width)]


@pytest.mark.parametrize(
    ("options", "appointment"),
    [
        (ListOptions(key="city"), None),
        (ListOptions(time_zone="city"), None),
        (ListOptions(attributes={"C": "city"}), None),
        (ListOptions(attributes={"C": "in {city}"}), None),
        (ListOptions(), "city"),
        (ListOptions(), "{name} {city}"),
    ],
)
def test_a_missing_cell_that_is_used_rejects_the_row(
    people: Path, options: ListOptions, appointment: str | None
) -> None:
    """Whatever the campaign uses must be there."""
    call_list = opened(people, "name,phone,city\r\nBob,+14155550101\r\n", options, appointment)
    assert rejected(call_list) == [
        (2, "has 2 cells where the header has 3; complete it, or mend its line breaks")
    ]


@pytest.mark.parametrize("extra", [1, 3])
def test_a_delimiter_at_the_end_of_every_row(people: Path, extra: int) -> None:
    """Programs that end each row with a delimiter give every row an empty cell that the header lacks."""
    rows = "".join(f"Ann,+141555501{i:02}{',' * extra}\r\n" for i in range(50))
    call_list = opened(people, f"name,phone\r\n{rows}")
    assert len(phones(call_list)) == 50
    assert next(iter(call_list)).row == {"name": "Ann", "phone": "+14155550100"}


@pytest.mark.parametrize(
    "odd", ["Doe, Jane,+14155550199", "Jane,+14155550199", "Jane,+14155550199,,", "Jane,+14155550199,x"]
)
def test_not_in_every_row_means_a_moved_cell(people: Path, odd: str) -> None:
    """Where rows differ, a delimiter inside of a cell may have moved the others."""
    call_list = opened(people, f"name,phone\r\nAnn,+14155550100,\r\n{odd}\r\nBob,+14155550101,\r\n")
    assert {line for line, _ in rejected(call_list)} >= {2, 4}


def test_a_row_that_differs_further_down_is_rejected(people: Path) -> None:
    """Only the cells that every row has too many are left out, and only empty ones."""
    rows = "".join(f"Ann,+1415555{i:04},\r\n" for i in range(100, 500))
    call_list = opened(people, f"name,phone\r\n{rows}Doe, Jane,+14155550199\r\nBob,+14155550101,,\r\n")
    assert [line for line, _ in rejected(call_list)] == [402, 403]


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("titles", [1, 3, 12])
def test_titles_above_the_header_are_said(people: Path, delimiter: str, titles: int) -> None:
    """The message says in which line the names stand, and what to do."""
    above = "".join(f"Appointments {i}{delimiter}{delimiter}\r\n" for i in range(titles))
    header = delimiter.join(["name", "Phone", "city"])
    row = delimiter.join(["Ann", "+14155550100", "Reno"])
    with pytest.raises(Mistake, match=f"names stand in line {titles + 1}; remove the lines above it"):
        opened(people, f"{above}{header}\r\n{row}\r\n")


def test_blanks_before_quotation_marks_are_said(people: Path) -> None:
    """The mark is then a part of the cell, and a delimiter inside of it is one."""
    text = 'name, phone, note\r\n"Ann", "+14155550100", "hello, there"\r\n'
    text += 'Bob, +14155550101, "x"\r\nEve,+14155550102,y\r\n'
    found = rejected(opened(people, text))
    assert [line for line, _ in found] == [2, 3]
    assert all("has a blank before a quotation mark" in reason for _, reason in found)


@pytest.mark.parametrize("cell", [' "The Rock" J', ' "', '" x', 'a, "b"', '"', ' ""x'])
def test_quotation_marks_of_people_stay(people: Path, cell: str) -> None:
    """A cell that is written in quotation marks may begin with a blank and one of its own."""
    written = '"' + cell.replace('"', '""') + '"'
    [found] = opened(people, f"phone,name,x\r\n+14155550100,{written},y\r\n")
    assert isinstance(found, Recipient)
    assert list(found.row.values()) == ["+14155550100", cell, "y"]


def test_lines_that_are_quoted_as_a_whole_are_said(people: Path) -> None:
    """`"name,phone"` is one column; the message says which marks to remove."""
    with pytest.raises(Mistake, match="each of its lines stands in quotation marks as a whole"):
        opened(people, '"name,phone"\r\n"Ann,+14155550100"\r\n')


def test_text_formulas_of_spreadsheets_are_their_text(people: Path) -> None:
    """`="0049…"` is how programs keep Excel from eating a zero; it is read as what Excel shows."""
    call_list = opened(people, 'phone,id\r\n="+14155550100","=""007"""\r\n', ListOptions(key="id"))
    [found] = call_list
    assert isinstance(found, Recipient)
    assert (found.phone, found.key) == ("+14155550100", "007")


@pytest.mark.parametrize("ending", ["", "\n", "\r\n", "\r"])
def test_a_last_line_without_an_end_is_known(people: Path, ending: str) -> None:
    """It is read, and the list says which line it is: it may have been cut off there."""
    call_list = opened(people, f"name,phone,city\nAnn,+14155550100,x\nBob,+14155550101,Reno{ending}")
    assert phones(call_list) == ["+14155550100", "+14155550101"]
    assert call_list.unfinished_line == (None if ending else 3)
    assert phones(call_list) == ["+14155550100", "+14155550101"]


def test_a_number_that_may_be_cut_off_is_not_called(people: Path) -> None:
    """Where a longer number is one as well, the last one of a file without an end may be another person's."""
    german = ListOptions(default_region="DE")
    found = rejected(opened(people, "name,phone\nAnn,+49301234567\nBob,+49301234567", german))
    assert [line for line, _ in found] == [3]
    assert "may have been cut off" in found[0][1]
    assert rejected(opened(people, "name,phone\nAnn,+49301234567\nBob,+49301234567\n", german)) == []
    assert rejected(opened(people, "name,phone\nBob,+14155550100")) == []  # with one more it would be none
    assert rejected(opened(people, "phone,name\n+49301234567,Bob", german)) == []


def test_a_last_row_without_end_and_cells_is_cut_off(people: Path) -> None:
    """Such a row is not one of those that a spreadsheet has left short."""
    found = rejected(opened(people, "name,phone,city\nAnn,+14155550100\nBob,+14155550101"))
    assert [(line, "was cut off" in reason) for line, reason in found] == [(3, True)]


@pytest.mark.parametrize("tail", ['"Bob', '"Bob\nand', '"Bob ""', 'x,"'])
def test_a_file_that_ends_inside_of_quotation_marks_is_refused(people: Path, tail: str) -> None:
    """It was cut off; the rows that are missing cannot be told from none."""
    call_list = opened(people, f"phone,name,note\n+14155550100,Ann,x\n+14155550101,{tail}")
    with pytest.raises(Mistake, match="line 3: the file ends inside of the quotation marks"):
        list(call_list)
