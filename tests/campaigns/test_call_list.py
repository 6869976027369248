import codecs
import csv
import errno
import io
import os
from pathlib import Path
from typing import NoReturn

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from campaigns.call_list import CallList, RejectedRow, open_call_list
from campaigns.campaign import ListOptions
from campaigns.mistake import Mistake
from campaigns.recipient import Recipient

US = ListOptions(default_region="US")
NAMED = ListOptions(default_region="US", attributes={"Name": "name"})
CODECS = {
    "utf-8": b"",
    "utf-8-sig": b"",
    "utf-16-le": codecs.BOM_UTF16_LE,
    "utf-16-be": codecs.BOM_UTF16_BE,
    "cp1252": b"",
}


@pytest.fixture
def people(tmp_path: Path) -> Path:
    return tmp_path / "people.csv"


def opened(path: Path, content: str | bytes, options: ListOptions = US) -> CallList:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return open_call_list(path, options)


def recipients(call_list: CallList) -> list[Recipient]:
    rows = list(call_list)
    assert [row for row in rows if isinstance(row, RejectedRow)] == []
    return [row for row in rows if isinstance(row, Recipient)]


def rejected(call_list: CallList) -> list[RejectedRow]:
    return [row for row in call_list if isinstance(row, RejectedRow)]


def test_a_row_becomes_a_recipient(people: Path) -> None:
    """A recipient has its line, key, E.164 number, zone, attributes and the row as it stood."""
    options = ListOptions(
        phone="phone",
        default_region="US",
        key="ID",
        time_zone="tz",
        attributes={"First": "first name", "Greeting": "Dear {first name}, {{{id}}}"},
    )
    call_list = opened(
        people, " Id ,PHONE,First Name,TZ\n A-1 ,(415) 555-0100, Ana ,america/new_york\n", options
    )
    assert recipients(call_list) == [
        Recipient(
            line=2,
            key="A-1",
            phone="+14155550100",
            attributes={"First": " Ana ", "Greeting": "Dear  Ana , { A-1 }"},
            time_zone="America/New_York",
            row={" Id ": " A-1 ", "PHONE": "(415) 555-0100", "First Name": " Ana ", "TZ": "america/new_york"},
        )
    ]
    assert call_list.columns == (" Id ", "PHONE", "First Name", "TZ")


def test_without_a_key_column_the_number_is_the_key(people: Path) -> None:
    """By default two rows with one number are one recipient, however the number is written."""
    call_list = opened(people, "phone\n415 555 0100\n+14155550100\n")
    assert [r.key for r in recipients(call_list)] == ["+14155550100", "+14155550100"]


def test_progress_is_monotone_and_complete(people: Path) -> None:
    """Bytes read never go back while rows are read, and end at the file's size; so do the rows."""
    call_list = opened(people, "phone,name\n" + "4155550100,Ana\n" * 5000)
    seen = [call_list.bytes_read for _ in call_list]
    assert seen == sorted(seen)
    assert seen[0] < call_list.size_bytes
    assert (call_list.bytes_read, call_list.rows_read) == (call_list.size_bytes, 5000)


def test_it_can_be_read_twice_and_left_half_way(people: Path) -> None:
    """An iteration that is left half-way leaves no file open, and the next one begins at the top."""
    with opened(people, "phone\n4155550100\n4155550101\n") as call_list:
        assert next(iter(call_list)).line == 2
        assert call_list.rows_read == 1
    assert [row.line for row in call_list] == [2, 3]


def test_lines_are_those_of_the_file(people: Path) -> None:
    """A sep= line, blank lines and quoted line breaks all count, so an editor finds the row."""
    text = (
        'sep=;\n\nphone;name\n4155550100;"two\nlines"\n\n\n4155550101;one\r\n4155550102;"a\r\nb\r\nc"\nx;y\n'
    )
    call_list = opened(people, text, NAMED)
    assert [row.line for row in call_list] == [4, 8, 9, 12]
    assert [r.attributes["Name"] for r in call_list if isinstance(r, Recipient)] == [
        "two\nlines",
        "one",
        "a\r\nb\r\nc",
    ]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_delimiters_and_line_ends(people: Path, delimiter: str, ending: str) -> None:
    """Each delimiter is found even where cells hold the other ones, and each line end is one."""
    rows = [["name", "phone", "time"], ["a, b; c | d", "4155550100", "12:30"], ["d; e", "4155550101", "x"]]
    buffer = io.StringIO(newline="")
    csv.writer(buffer, delimiter=delimiter, lineterminator=ending).writerows(rows)
    call_list = opened(people, buffer.getvalue(), NAMED)
    assert call_list.delimiter == delimiter
    assert [r.attributes["Name"] for r in recipients(call_list)] == ["a, b; c | d", "d; e"]


def test_the_header_decides_between_two_likely_delimiters(people: Path) -> None:
    """Of two delimiters that both give even rows, the one under which the phone column exists is taken."""
    call_list = opened(people, "last, first|phone\nDoe, Jane|4155550100\nRoe, Ann|4155550101\n")
    assert (call_list.delimiter, call_list.columns) == ("|", ("last, first", "phone"))


@pytest.mark.parametrize("first", ["sep=;", '"sep=;"', "SEP=;;;"])
def test_a_sep_line_is_obeyed(people: Path, first: str) -> None:
    """Excel's first line decides, and is not taken for the header."""
    call_list = opened(people, f"{first}\r\nphone;a,b\r\n4155550100;1,2\r\n")
    assert (call_list.delimiter, call_list.columns) == (";", ("phone", "a,b"))


@pytest.mark.parametrize("encoding", CODECS)
def test_encodings(people: Path, encoding: str) -> None:
    """UTF-8 with and without BOM, UTF-16 both ways and cp1252 give the same names."""
    content = CODECS[encoding] + "phone,name\n4155550100,Zoë Müller\n".encode(encoding)
    call_list = opened(people, content, NAMED)
    assert [r.attributes["Name"] for r in recipients(call_list)] == ["Zoë Müller"]
    assert call_list.encoding == encoding.removesuffix("-sig")


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf16_without_a_byte_order_mark(people: Path, encoding: str) -> None:
    """UTF-16 shows by where its NULs stand."""
    content = "phone,name\n4155550100,Zoë\n".encode(encoding)
    assert opened(people, content, NAMED).encoding == encoding


def test_a_late_cp1252_letter_is_noticed_before_the_first_row(people: Path) -> None:
    """The encoding is that of the whole file, also if its first megabytes are plain ASCII."""
    head = b"phone,name\n" + b"4155550100,Ana\n" * 150_000
    call_list = opened(people, head + "4155550101,Zoë\n".encode("cp1252"), NAMED)
    assert call_list.encoding == "cp1252"


def test_a_character_across_two_chunks_is_one(people: Path) -> None:
    """A letter of two bytes may lie across the border of what is read at once."""
    head = b"phone,note,name\n" + (b"," * 99 + b"\n") * 10_485
    head += b"4155550100,,".rjust((1 << 20) - 1 - len(head), b"\n")
    call_list = opened(people, head + "é\n".encode(), NAMED)
    assert [r.attributes["Name"] for r in call_list if isinstance(r, Recipient)] == ["é"]
    assert call_list.encoding == "utf-8"


def test_half_a_character_before_a_chunk_in_ascii_is_damage(people: Path) -> None:
    """What lacks its second byte costs its row, also where everything after it is plain."""
    head = "phone,note,name\n4155550100,,é\n".encode() + (b"," * 99 + b"\n") * 10_485
    head += b"4155550101,,".rjust((1 << 20) - 1 - len(head), b"\n")
    call_list = opened(people, head + b"\xc3\n4155550102,,Ana\n", NAMED)
    assert call_list.encoding == "utf-8"
    assert [r.attributes["Name"] for r in call_list if isinstance(r, Recipient)] == ["é", "Ana"]
    assert [r.row["name"] for r in call_list if isinstance(r, RejectedRow) and r.column] == ["\ufffd"]


def test_damaged_utf8_costs_its_row_and_not_the_other_names(people: Path) -> None:
    """One broken byte in a UTF-8 file rejects that row; the rest is not misread as cp1252."""
    content = "phone,name\n4155550100,Zoë\n4155550101,Jos".encode() + b"\xe9\n4155550102,Jos\xc3\xa9\n"
    call_list = opened(people, content, NAMED)
    names = [r.attributes["Name"] for r in call_list if isinstance(r, Recipient)]
    assert names == ["Zoë", "José"]
    [row] = rejected(call_list)
    assert (row.line, row.column, row.row["name"]) == (3, "name", "Jos\ufffd")
    assert "not text in the file's encoding" in row.reason


def test_a_nul_costs_its_row(people: Path) -> None:
    """A NUL somewhere in a long list rejects the row that has it."""
    content = b"phone,name\n" + b"4155550100,Ana\n" * 9 + b"4155550100,A\0a\n" + b"4155550100,Ana\n" * 9
    call_list = opened(people, content)
    assert [(r.line, r.column) for r in rejected(call_list)] == [(11, "name")]
    assert call_list.rows_read == 19


def test_lost_characters_matter_only_where_they_are_used(people: Path) -> None:
    """A replacement mark from an earlier export is refused in what the callee would hear, and only there."""
    content = "phone,name,note\n4155550100,Ana,\ufffd\n4155550101,Jos\ufffd,\n"
    call_list = opened(people, content, NAMED)
    assert [(r.line, r.column) for r in rejected(call_list)] == [(3, "name")]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "is empty"),
        (b"\n\n", "has no header"),
        (b",,\n", "has no header"),
        (b"PK\x03\x04rest", "export the sheet as CSV"),
        (b"\xd0\xcf\x11\xe0rest", "export the sheet as CSV"),
        (b"%PDF-1.7", "is a PDF"),
        (b"\x1f\x8b\x08", "compressed"),
        (b"\xff\xfe\x00\x00p\0\0\0", "UTF-32"),
        (b"\n<!DOCTYPE html><html>", "web page"),
        (b"\x7fELF\0\0\0\1\2\3\n", "is not a text file"),
        (b"phone\n" + b"\x81\xff" * 9, "unknown encoding: it is not UTF-8, and as Windows-1252 it reads"),
        (codecs.BOM_UTF16_LE + b"p\0h", "in the middle of a UTF-16 character"),
        (b"phone\n" + b"x" * (1 << 22), "line of more than 1 MiB"),
        (b"sep=:\nphone:x\n", 'its sep= line names ":"'),
        (b'"phone\n4155550100\n', "the header cannot be split"),
        (b"Phone number,name\n", 'has no column "phone"'),
        (b"4155550100,Ana\n", "its first row looks like a person"),
        (b"phone,Phone \n", 'columns 1 and 2 are both called "phone"'),
    ],
)
def test_a_file_that_is_no_list_is_one_clear_line(people: Path, content: bytes, expected: str) -> None:
    """What makes the file as a whole unusable is said in one line that names the file."""
    with pytest.raises(Mistake) as mistake:
        opened(people, content)
    assert str(mistake.value).startswith(f"{people}: ")
    assert expected in str(mistake.value)
    assert "\n" not in str(mistake.value)


def test_no_file_a_directory_and_a_device(tmp_path: Path) -> None:
    """What is not a file at all is said as such."""
    for path, expected in [
        (tmp_path / "none.csv", "there is no such file"),
        (tmp_path, "is a directory"),
        (Path(os.devnull), "is not a regular file"),
    ]:
        with pytest.raises(Mistake, match=expected):
            open_call_list(path, US)


def test_an_unreadable_file(people: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file without permission to read is said as such."""
    people.write_text("phone\n")

    def forbidden(*_: object, **__: object) -> NoReturn:  # to root the file's mode would forbid nothing
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "open", forbidden)
    with pytest.raises(Mistake, match="cannot be read"):
        open_call_list(people, US)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            ListOptions(phone="Fone"),
            'no column "Fone" ([list] phone); its columns are "phone", "first_name"; did',
        ),
        (ListOptions(key="id"), 'no column "id" ([list] key)'),
        (ListOptions(time_zone="tz"), 'no column "tz" ([list] time_zone)'),
        (ListOptions(attributes={"A": "frist_name"}), 'did you mean "first_name"?'),
        (ListOptions(attributes={"A": "Hi {name}"}), 'no column "name" (for the attribute A)'),
        (ListOptions(attributes={"A": "Hi {first_name"}), 'the template of A has a "{" without its partner'),
    ],
)
def test_a_missing_column_is_named_with_the_nearest(
    people: Path, options: ListOptions, expected: str
) -> None:
    """A column that the campaign names and the list lacks is said with what it may have meant."""
    with pytest.raises(Mistake) as mistake:
        opened(people, "phone,first_name\n", options)
    assert expected in str(mistake.value)


def test_duplicate_and_empty_headers_get_names(people: Path) -> None:
    """No two columns share a name, and a repeated one can be asked for."""
    options = ListOptions(default_region="US", attributes={"B": "Name (2)"})
    call_list = opened(people, "phone,name,,name,name (3),name\n4155550100,a,b,c,d,e\n", options)
    assert call_list.columns == ("phone", "name", "column 3", "name (2)", "name (3)", "name (4)")
    [recipient] = recipients(call_list)
    assert recipient.attributes == {"B": "c"}
    assert list(recipient.row.values()) == ["4155550100", "a", "b", "c", "d", "e"]


@pytest.mark.parametrize(
    ("row", "column", "reason"),
    [
        (",,,", "", "is empty"),
        ("A-1,4155550100,Ana", "", "has 3 cells where the header has 4; complete it"),
        ("A-1", "", "has 1 cell where the header has 4"),
        (
            "A-1,4155550100,Doe, Jane,Asia/Tokyo",
            "",
            "has 5 cells where the header has 4; put quotation marks around",
        ),
        ("A-1,4155550100,Doe, Jane,", "", "has 5 cells where the header has 4"),
        (
            'A-1,4155550100,"Ana"x,Asia/Tokyo',
            "",
            "a quotation mark on this line is not closed, or text follows",
        ),
        ("A-1,415555,Ana,Asia/Tokyo", "Phone", "has too few digits"),
        (" ,4155550100,Ana,Asia/Tokyo", "id", "is empty; fill in what tells this person from the others"),
        (f"{'k' * 256},4155550100,Ana,Asia/Tokyo", "id", "has 256 characters where a key has 255 at most"),
        (
            "A-1,4155550100,Ana,America/New York",
            "tz",
            "is not a time zone; write an IANA name such as America/New_York",
        ),
        ("A-1,4155550100,Ana,EDT5", "tz", "is not a time zone"),
        (
            f"A-1,4155550100,{'é' * 16_384},Asia/Tokyo",
            "Name",
            "makes the attributes 32,772 bytes long, and Connect takes",
        ),
    ],
)
def test_a_bad_row_is_rejected_with_its_place(people: Path, row: str, column: str, reason: str) -> None:
    """Line, column, reason and the row itself are kept, and the rows around it are not touched."""
    options = ListOptions(default_region="US", key="id", time_zone="tz", attributes={"Name": "name"})
    text = f"id,Phone,Name,tz\nA-0,4155550100,Ana,Asia/Tokyo\n{row}\nA-2,4155550102,Ben,\n"
    call_list = opened(people, text, options)
    before, bad, after = call_list
    assert isinstance(before, Recipient)
    assert isinstance(bad, RejectedRow)
    assert isinstance(after, Recipient)
    assert (bad.line, bad.column) == (3, column)
    assert reason in bad.reason
    assert after.time_zone is None
    if '"' not in row:
        assert ",".join(bad.row.values()) == row


@pytest.mark.parametrize(
    ("rows", "zones", "hints"),
    [
        (
            {
                "+12125550100": "EST",
                "+12125550101": "America/New_York",
                "+13035550100": "MST",
                "+442079460123": "GMT",
            },
            ["America/New_York"],
            ["America/New_York", "America/Denver", "Europe/London"],
        ),
        (
            {
                "+14155550100": "AEST",
                "+14155550101": "GMT-5",
                "+14155550102": "GMT+1",
                "+14155550103": "PST",
                "+14155550104": "Eastern Time (US & Canada)",
                "+14155550105": "UTC+1",
                "+14155550106": "UTC",
                "+14155550107": "US/Arizona",
            },
            ["US/Arizona"],
            ["Australia/Sydney", None, None, "America/Los_Angeles", "America/New_York", None, None],
        ),
    ],
)
def test_a_clock_that_is_no_places_rejects_its_row(
    people: Path, rows: dict[str, str], zones: list[str], hints: list[str | None]
) -> None:
    """None is called an hour early or late for a name of a clock, and the hint is a place that has it."""
    text = "phone,tz\n" + "".join(f'{phone},"{zone}"\n' for phone, zone in rows.items())
    found = list(opened(people, text, ListOptions(time_zone="tz")))
    assert [each.time_zone for each in found if isinstance(each, Recipient)] == zones
    reasons = [each.reason for each in found if isinstance(each, RejectedRow)]
    assert len(reasons) == len(hints)
    for reason, hint in zip(reasons, hints, strict=True):
        assert (f"such as {hint}" in reason) if hint else ("such as" not in reason)


def test_attributes_may_fill_the_limit_exactly(people: Path) -> None:
    """32,768 bytes over keys and values are allowed, counted in UTF-8."""
    text = f"phone,name\n4155550100,{'é' * 16_382}\n"
    [recipient] = recipients(opened(people, text, NAMED))
    assert len(recipient.attributes["Name"].encode()) + len("Name") == 32_768


def test_extra_cells_of_a_rejected_row_are_kept(people: Path) -> None:
    """Cells beyond the header keep names of their own, so that nothing of the row is lost."""
    [row] = rejected(opened(people, "phone,column 3\n4155550100,a,b,c\n"))
    assert row.row == {"phone": "4155550100", "column 3": "a", "column 3 (2)": "b", "column 4": "c"}


def test_nameless_columns_at_the_end_may_lack(people: Path) -> None:
    """A header that ends in delimiters does not make every row too short."""
    [recipient] = recipients(opened(people, "phone,name,,\n4155550100,Ana\n"))
    assert recipient.row == {"phone": "4155550100", "name": "Ana", "column 3": "", "column 4": ""}


@pytest.mark.parametrize("below", [2, 20_000])
def test_an_unclosed_quotation_mark_swallows_nobody(people: Path, below: int) -> None:
    """The row with the open quotation mark is rejected, and everybody below is read, near the end and far."""
    text = 'phone,name\n4155550100,Ana\n4155550101,"Ben\n' + '4155550102,"Doe, J"\n' * (below % 2)
    text += "4155550103,Eva\n" * below
    call_list = opened(people, text)
    rows = list(call_list)
    assert [(r.line, r.row) for r in rows if isinstance(r, RejectedRow)] == [
        (3, {"phone": '4155550101,"Ben'})
    ]
    assert [r.line for r in rows] == list(range(2, len(rows) + 2))
    assert call_list.rows_read == below + 2


def test_an_open_quotation_mark_before_a_quoted_cell(people: Path) -> None:
    """A quotation mark that the next quoted cell seems to close costs one row as well."""
    text = 'phone,name\n4155550101,"Ben\n4155550102,Eva\n4155550103,"Doe, J"\n4155550104,Eli\n'
    rows = list(opened(people, text))
    assert [(type(r).__name__, r.line) for r in rows] == [
        ("RejectedRow", 2),
        ("Recipient", 3),
        ("Recipient", 4),
        ("Recipient", 5),
    ]


def test_a_cell_that_no_spreadsheet_could_hold_is_rejected(people: Path) -> None:
    """A cell beyond the csv module's limit costs its row, not the load."""
    call_list = opened(people, f"phone,name\n4155550100,{'x' * 200_000}\n4155550101,Ana\n")
    assert [(type(r).__name__, r.line) for r in call_list] == [("RejectedRow", 2), ("Recipient", 3)]


cells = st.text(
    alphabet=st.one_of(
        st.sampled_from(list(",;\t|\"'\r\n =aé€")),
        st.characters(codec="cp1252", exclude_categories=["Cc"]),
    ),
    max_size=8,
)
tables = st.integers(0, 3).flatmap(
    lambda width: st.lists(st.lists(cells, min_size=width, max_size=width), max_size=8)
)
many = settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


@many
@given(
    tables,
    st.sampled_from(list(CODECS)),
    st.sampled_from(",;\t|"),
    # With "\n" alone csv.writer leaves a lone "\r" in a cell without quotation marks.
    st.sampled_from([("\n", csv.QUOTE_ALL), ("\r\n", csv.QUOTE_ALL), ("\r\n", csv.QUOTE_MINIMAL)]),
)
def test_what_csv_writes_is_read_back(
    people: Path, table: list[list[str]], encoding: str, delimiter: str, style: tuple[str, int]
) -> None:
    """Any table in any supported encoding and delimiter comes back cell by cell."""
    width = len(table[0]) if table else 0
    buffer = io.StringIO(newline="")
    ending, quoting = style
    writer = csv.writer(buffer, delimiter=delimiter, lineterminator=ending, quoting=quoting)
    writer.writerow(["phone", *(f"c{i}" for i in range(width))])
    writer.writerows(["+14155550100", *row] for row in table)
    try:
        content = CODECS[encoding] + buffer.getvalue().encode(encoding)
    except UnicodeEncodeError:
        return
    if encoding == "cp1252" and not content.decode("utf-8", errors="ignore").isascii():
        return  # what is UTF-8 as well cannot be told from UTF-8
    # Letters of no language are to be read, too.
    options = ListOptions(encoding=encoding if encoding == "cp1252" else None)
    call_list = opened(people, content, options)
    assert [list(r.row.values())[1:] for r in recipients(call_list)] == table
    assert call_list.rows_read == len(table)


@many
@given(st.lists(st.text(alphabet='4155550100,+"\n\r a', max_size=20), max_size=12))
def test_every_line_of_any_text_is_accounted_for(people: Path, lines: list[str]) -> None:
    """However broken the quoting: rows come in order, and every character that is no syntax is in one row."""
    text = "\n".join(lines) + "\n"  # a file that ends inside of quotation marks is refused
    call_list = opened(people, "phone,name\n" + text)
    rows = list(call_list)
    assert call_list.rows_read == len(rows)
    assert [row.line for row in rows] == sorted({row.line for row in rows})
    kept = "".join(cell for row in rows for cell in row.row.values())
    for mark in "4150+a":
        assert kept.count(mark) == text.count(mark)
