import csv
from pathlib import Path

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from campaigns.call_list import CallList, RejectedRow, open_call_list
from campaigns.campaign import ListOptions
from campaigns.mistake import Mistake
from campaigns.recipient import Recipient
from campaigns.rejects import RejectsFile, default_rejects_path

OPTIONS = ListOptions(default_region="US", key="id", attributes={"Name": "name"})
MESSY = (
    "id;phone;name\n"
    "1;4155550100;Ana\n"
    "2;1.4155E+10;Zoë\n"
    '3;4155550102;"Doe; Jane\nJr."\n'
    '4;415;"two\nlines"\n'
    "5;4155550104\n"
    "6;4155550105;Roe;Ann\n"
    '7;4155550106;"open\n'
    ";;\n"
    "8;4155550107;Eve\n"
)


@pytest.fixture
def people(tmp_path: Path) -> Path:
    path = tmp_path / "people.csv"
    path.write_text(MESSY, encoding="utf-8")
    return path


def loaded(
    path: Path, rejects: Path, options: ListOptions = OPTIONS
) -> tuple[list[Recipient], list[RejectedRow]]:
    """What `load` does with a list, without a ledger."""
    call_list = open_call_list(path, options)
    good, bad = [], []
    with RejectsFile(rejects, call_list) as file:
        for row in call_list:
            if isinstance(row, RejectedRow):
                file.write(row)
                bad.append(row)
            else:
                good.append(row)
    assert file.count == len(bad)
    return good, bad


def test_rejects_name_line_column_and_reason_beside_the_original_row(people: Path) -> None:
    """Each rejected row is in the file as it stood, in the list's own delimiter, below a header that fits."""
    rejects = default_rejects_path(people)
    loaded(people, rejects)
    with rejects.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.reader(file, delimiter=";"))
    assert rows[0] == ["line", "column", "reason", "id", "phone", "name"]
    assert [(row[0], row[1], row[3:]) for row in rows[1:]] == [
        ("3", "phone", ["2", "1.4155E+10", "Zoë"]),
        ("6", "phone", ["4", "415", "two\nlines"]),
        ("8", "", ["5", "4155550104"]),
        ("9", "", ["6", "4155550105", "Roe", "Ann"]),
        ("10", "", ['7;4155550106;"open']),
        ("11", "", ["", "", ""]),
    ]
    assert all(row[2] for row in rows[1:])


def test_excel_sees_that_it_is_utf8(people: Path) -> None:
    """The file begins with the mark without which Excel would spoil the names of those who are corrected."""
    loaded(people, default_rejects_path(people))
    assert default_rejects_path(people).read_bytes().startswith(b"\xef\xbb\xbfline;")


def test_what_was_not_corrected_is_rejected_again(people: Path, tmp_path: Path) -> None:
    """Loading a rejects file as it is accepts nobody, and its notes are replaced and not piled up."""
    first, second = tmp_path / "first.csv", tmp_path / "second.csv"
    _, bad = loaded(people, first)
    good_again, bad_again = loaded(first, second)
    assert good_again == []
    assert [row.row for row in bad_again] == [row.row for row in bad]
    assert second.read_text(encoding="utf-8-sig").splitlines()[0] == "line;column;reason;id;phone;name"


def test_a_corrected_rejects_file_is_a_list(people: Path, tmp_path: Path) -> None:
    """Corrected in place, the rows load with the same campaign, and the notes are no part of them."""
    rejects = default_rejects_path(people)
    loaded(people, rejects)
    corrected = rejects.read_text(encoding="utf-8-sig").replace("1.4155E+10", "(415) 555-0101")
    rejects.write_text(corrected, encoding="utf-8-sig")
    good, bad = loaded(rejects, default_rejects_path(rejects))
    assert [(r.key, r.phone, r.row) for r in good] == [
        ("2", "+14155550101", {"id": "2", "phone": "(415) 555-0101", "name": "Zoë"})
    ]
    assert len(bad) == 5


def test_a_list_may_have_a_column_called_line(tmp_path: Path) -> None:
    """The notes do not get in the way of columns of the same name."""
    path, rejects = tmp_path / "a.csv", tmp_path / "b.csv"
    path.write_text("phone,line\n415,red\n")
    options = ListOptions(default_region="US", attributes={"Line": "line"})
    loaded(path, rejects, options)
    rejects.write_text(rejects.read_text(encoding="utf-8-sig").replace("415,red", "4155550100,red"))
    [recipient], _ = loaded(rejects, tmp_path / "c.csv", options)
    assert recipient.attributes == {"Line": "red"}


def test_nothing_rejected_leaves_no_file(tmp_path: Path) -> None:
    """After a clean load no rejects file lies beside the list."""
    path = tmp_path / "people.csv"
    path.write_text("id,phone,name\n1,4155550100,Ana\n")
    loaded(path, default_rejects_path(path))
    assert [p.name for p in tmp_path.iterdir()] == ["people.csv"]


def test_corrections_survive_the_same_load_again(people: Path) -> None:
    """A rejects file that somebody has begun to correct is never changed; the same one again is one file."""
    rejects = default_rejects_path(people)
    loaded(people, rejects)
    fresh = rejects.read_bytes()
    corrected = fresh.replace(b";415;", b";4155550109;")
    rejects.write_bytes(corrected)
    for _ in range(2):
        loaded(people, rejects)
        assert rejects.read_bytes() == corrected
        assert rejects.with_name("people.rejects-2.csv").read_bytes() == fresh
    assert len(list(people.parent.iterdir())) == 3


def test_only_a_rejects_file_may_be_there(people: Path, tmp_path: Path) -> None:
    """Something else of that name, and the list itself, are refused before any row is read."""
    other = tmp_path / "other.csv"
    other.write_text("id,phone\n")
    call_list = open_call_list(people, OPTIONS)
    with pytest.raises(Mistake, match="exists and is no rejects file"):
        RejectsFile(other, call_list)
    with pytest.raises(Mistake, match="is the list itself"):
        RejectsFile(people, call_list)
    with pytest.raises(Mistake, match="no such directory"):
        RejectsFile(tmp_path / "none" / "r.csv", call_list)
    assert other.read_text() == "id,phone\n"


def test_no_half_file_is_ever_seen(people: Path, tmp_path: Path) -> None:
    """While rows are written, and when the load fails, the earlier file is what it was."""
    rejects = default_rejects_path(people)
    loaded(people, rejects)
    before = rejects.read_bytes()
    call_list = open_call_list(people, OPTIONS)
    bad = next(row for row in call_list if isinstance(row, RejectedRow))

    def failing_load() -> None:
        with RejectsFile(rejects, call_list) as file:
            file.write(bad)
            assert rejects.read_bytes() == before
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        failing_load()
    call_list.close()
    assert rejects.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["people.csv", "people.rejects.csv"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("people.csv", "people.rejects.csv"),
        ("people.2027.CSV", "people.2027.rejects.csv"),
        ("people.txt", "people.txt.rejects.csv"),
        ("people", "people.rejects.csv"),
        ("people.rejects.csv", "people.rejects-2.csv"),
        ("people.rejects-2.csv", "people.rejects-3.csv"),
    ],
)
def test_default_path(name: str, expected: str) -> None:
    """The rejects lie beside the list, and never where they would overwrite it or each other."""
    assert default_rejects_path(Path("lists") / name) == Path("lists") / expected


@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(
    st.lists(
        st.lists(st.text(alphabet="4155550100,;+\"'=@\n\r\0 é\ufffd", max_size=14), max_size=4), max_size=6
    )
)
def test_any_rejects_file_loads_again(tmp_path: Path, table: list[list[str]]) -> None:
    """Whatever was rejected: its file is a list, and as it stands nobody in it is accepted."""
    path, first, second = tmp_path / "a.csv", tmp_path / "b.csv", tmp_path / "c.csv"
    # A file with more of them than one byte in ten is taken for a binary one, and refused as a whole.
    assume(sum(cell.count("\0") for row in table for cell in row) <= 4)
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write("id,phone,name" + "\r\n" * 40)
        for row in table:
            file.write(",".join(row) + "\r\n")
    first.unlink(missing_ok=True)
    _, bad = loaded(path, first)
    if bad:
        good_again, bad_again = loaded(first, second)
        assert good_again == []
        assert [list(r.row.values()) for r in bad_again] == [list(r.row.values()) for r in bad]


def test_a_call_list_is_all_it_needs(people: Path) -> None:
    """Columns and delimiter come from the list, so that the two files match."""
    call_list: CallList = open_call_list(people, OPTIONS)
    assert (call_list.columns, call_list.delimiter) == (("id", "phone", "name"), ";")
