"""`load`, `plan` and `run` with what operators hand in: the exit code, and one line that says what to do."""

import csv
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from campaigns.load import MostRejects, StillWritten, load
from campaigns.mistake import Mistake
from campaigns.progress_bar import Reading
from campaigns.rejects import default_rejects_path

if TYPE_CHECKING:
    from tests.conftest import Desk

CAMPAIGN = """
name = "c"
[connect]
instance_id = "10a4c4eb-f57e-4d4c-b602-bf39176ced07"
contact_flow_id = "b0b8f2dd-ed1b-4c44-af36-ce189a178181"
source_phone_number = "+14155550199"
"""
LIST = "phone,name\n+14155550100,Ann\n+14155550101,Bob\n"
BAD = "phone,name\nx,Ann\ny,Bob\n"


@pytest.fixture
def office(tmp_path: Path) -> Path:
    """A folder with a campaign and its list."""
    (tmp_path / "c.toml").write_text(CAMPAIGN)
    (tmp_path / "people.csv").write_text(LIST)
    return tmp_path


def people_in(dialer: Callable[..., Any]) -> int:
    found: int = dialer("status", "c", "--json").json["recipients"]["total"]
    return found


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (BAD, "none of its 2 rows can be called; line 2, "),
        ("phone\nx\n", "its only row cannot be called; line 2, "),
        ("phone\n", "has nobody on it, only a header"),
    ],
)
@pytest.mark.parametrize("command", [("load",), ("load", "--json"), ("run", "--sandbox")])
def test_nobody_accepted_is_a_failure(
    dialer: Callable[..., Any], office: Path, content: str, reason: str, command: tuple[str, ...]
) -> None:
    """Exit code 1 and one sentence with the reason; nothing is started, and the rejects file is there."""
    (office / "people.csv").write_text(content)
    said = dialer(command[0], "c.toml", "people.csv", *command[1:])
    assert said.code == 1
    assert said.err.startswith(f"dialer: people.csv: {reason}")
    assert said.err.count("\n") == 1
    assert (office / "people.rejects.csv").exists() == (content != "phone\n")
    assert dialer("status", "c", "--json").json["state"] == "loaded"


def test_all_suppressed_is_a_failure_and_all_loaded_is_none(dialer: Callable[..., Any], office: Path) -> None:
    """A list that is sent again adds no recipient, which is no failure; one that has none to be called is."""
    assert dialer("suppress", "add", "+14155550100", "+14155550101").code == 0
    said = dialer("load", "c.toml", "people.csv")
    assert (said.code, said.err) == (1, "dialer: people.csv: all 2 numbers are suppressed\n")
    again = dialer("load", "c.toml", "people.csv")
    assert (again.code, again.err) == (0, "")


@pytest.mark.parametrize(
    ("most", "code"),
    [("0", 1), ("1", 1), ("2", 0), ("49%", 1), ("50%", 0), ("49.9 %", 1), ("100%", 0), ("0%", 1)],
)
def test_too_many_rejects_load_nothing(
    dialer: Callable[..., Any], office: Path, most: str, code: int
) -> None:
    """More rejected rows than allowed: nothing is loaded, exit code 1, and the rejects can be looked at."""
    (office / "people.csv").write_text(LIST + "x,Cy\ny,Di\n")
    said = dialer("load", "c.toml", "people.csv", "--max-rejects", most)
    assert said.code == code
    with (office / "people.rejects.csv").open(encoding="utf-8-sig") as file:
        assert len(list(csv.DictReader(file))) == 2
    if code:
        assert "2 of 4 rows are rejected, and --max-rejects is" in said.err
        assert "nothing was loaded" in said.err
        assert dialer("status", "c").code == 2
    else:
        assert people_in(dialer) == 2


def test_too_many_rejects_for_machines(dialer: Callable[..., Any], office: Path) -> None:
    """The JSON object says which it is by a code."""
    (office / "people.csv").write_text(BAD)
    said = dialer("load", "c.toml", "people.csv", "--max-rejects", "1", "--json")
    assert said.code == 1
    assert said.json["problem"] == {"code": "too_many_rejects", "data": {"rejected": 2, "rows": 2}}


@pytest.mark.parametrize("text", ["", "-1", "1.5", "101%", "many", "5 rows", "%", "٣"])
def test_a_wrong_limit_is_a_mistake(text: str) -> None:
    """The message shows both forms."""
    with pytest.raises(Mistake, match=r"write 20, or 2\.5%"):
        MostRejects.of(text)


CHANGES: dict[str, Callable[[Path], object]] = {
    "grows": lambda path: path.write_text(LIST + "+14155550102,Cy\n"),
    "shrinks": lambda path: path.write_text("phone,name\n+14155550100,Ann\n"),
    "changes": lambda path: (path.write_text(LIST.replace("0101", "0109")), os.utime(path, ns=(1, 1))),
    "is replaced": lambda path: (path.rename(path.with_suffix(".old")), path.write_text(LIST)),
    "is removed": lambda path: path.unlink(),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_list_that_changes_while_it_is_read_is_not_loaded(desk: "Desk", office: Path, change: str) -> None:
    """Nothing is loaded from it, not even its campaign, and no rejects file is left."""
    path = office / "people.csv"

    def meanwhile(_: Reading) -> None:
        CHANGES[change](path)

    with pytest.raises(StillWritten, match="has changed while it was read"):
        load(desk.ledger, desk.campaign(), path, now=desk.noon, progress=meanwhile)
    with pytest.raises(Mistake, match="the ledger is empty"):
        desk.run()
    assert not path.with_name("people.rejects.csv").exists()


def test_a_list_from_standard_input(dialer: Callable[..., Any], office: Path) -> None:
    """`-` is read like a file; the rejected rows are in the data directory."""
    piped = (LIST + "x,Cy\n").encode("utf-16")
    assert dialer("plan", "c.toml", "-", piped=piped).out.startswith("c: 3 rows in -: 2 accepted, 1 rejected")
    said = dialer("load", "c.toml", "-", "--json", piped=piped)
    assert (said.code, said.json["accepted"], said.json["encoding"]) == (0, 2, "utf-16-le")
    assert said.json["rejects_file"] == ".dialer/rejects/c/stdin.rejects.csv"
    assert (office / said.json["rejects_file"]).exists()
    assert dialer("suppress", "import", "-", piped=b"phone\n+14155550177\n").code == 0


@pytest.mark.parametrize(
    ("piped", "says"), [(b"", "standard input: is empty"), (b"PK\3\4", "is a spreadsheet")]
)
def test_mistakes_in_standard_input_name_it(
    dialer: Callable[..., Any], office: Path, piped: bytes, says: str
) -> None:
    """No temporary file is named, and none is left."""
    said = dialer("load", "c.toml", "-", piped=piped)
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert says in said.err
    assert "stdin.csv" not in said.err


def test_a_terminal_is_no_list(dialer: Callable[..., Any], office: Path) -> None:
    """Nothing is waited for."""
    said = dialer("load", "c.toml", "-", types="")
    assert (said.code, "nothing is piped" in said.err) == (2, True)


@pytest.mark.parametrize("command", ["load", "plan", "run"])
def test_swapped_arguments_are_noticed(dialer: Callable[..., Any], office: Path, command: str) -> None:
    """The message has the command as it was meant."""
    said = dialer(command, "people.csv", "c.toml")
    assert said.code == 2
    assert said.err == (
        f"dialer: people.csv and c.toml are the wrong way round; write: dialer {command} c.toml people.csv\n"
    )


def test_a_wrong_campaign_is_not_taken_for_swapped(dialer: Callable[..., Any], office: Path) -> None:
    """Where the second file is no campaign either, the first one's mistake is said."""
    said = dialer("load", "people.csv", "people.csv")
    assert (said.code, "is not a TOML file" in said.err) == (2, True)


def test_an_assumed_encoding_is_said(dialer: Callable[..., Any], office: Path) -> None:
    """By `plan`, by `load` and to machines, with a sample; a certain one is not."""
    (office / "people.csv").write_bytes("phone,name\n+14155550100,José Muñoz\n".encode("cp1252"))
    words = 'taken for Windows-1252, which the file does not say: "José Muñoz"; if that is wrong'
    assert words in dialer("plan", "c.toml", "people.csv").out
    assert words in dialer("load", "c.toml", "people.csv").out
    for command in ("plan", "load"):
        found = dialer(command, "c.toml", "people.csv", "--json").json
        assert (found["encoding"], found["encoding_source"]) == ("cp1252", "assumed")
        assert (found["encoding_sample"], found["delimiter"]) == (["José Muñoz"], ",")
    (office / "people.csv").write_text("phone,name\n+14155550100,José Muñoz\n", encoding="utf-8")
    assert "Windows" not in dialer("load", "c.toml", "people.csv").out
    assert dialer("load", "c.toml", "people.csv", "--json").json["encoding_source"] == "content"


def test_a_wrong_encoding_in_the_campaign_is_said(dialer: Callable[..., Any], office: Path) -> None:
    """In one line, with names that would do."""
    (office / "c.toml").write_text(CAMPAIGN + '[list]\nencoding = "klingon"\n')
    said = dialer("load", "c.toml", "people.csv")
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert "[list] encoding: is no encoding; write a name such as" in said.err


def test_a_last_line_without_end_is_said(dialer: Callable[..., Any], office: Path) -> None:
    """It may have been cut off, and its sender knows."""
    (office / "people.csv").write_text(LIST.rstrip("\n"))
    for command in ("plan", "load"):
        assert "line 3, the last one, has no line end" in dialer(command, "c.toml", "people.csv").out
        assert dialer(command, "c.toml", "people.csv", "--json").json["unfinished_line"] == 3


def test_rejects_beside_a_read_only_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They go to the data directory, in the campaign's folder; beside the list where that can be written."""
    elsewhere = tmp_path / "data" / "rejects"
    path = tmp_path / "people.csv"
    assert default_rejects_path(path, "c", elsewhere) == tmp_path / "people.rejects.csv"
    assert not elsewhere.exists()
    # To root every folder but a mount is writable.
    monkeypatch.setattr(os, "access", lambda *_: False)
    assert default_rejects_path(path, "c", elsewhere) == elsewhere / "c" / "people.rejects.csv"
    assert (elsewhere / "c").is_dir()


@pytest.mark.parametrize("name", ["x.xlsx", "x.XLS", "x.ods", "x.json", "x.tsv", "x.csv.gz"])
def test_a_file_that_is_not_written_like_that_is_refused(
    dialer: Callable[..., Any], office: Path, name: str
) -> None:
    """CSV under a spreadsheet's name would not open; the message says what to write."""
    assert dialer("load", "c.toml", "people.csv").code == 0
    said = dialer("export", "c", "-o", name)
    assert (said.code, said.err.count("\n")) == (2, 1)
    assert "(CSV, which spreadsheets open)" in said.err
    assert not (office / name).exists()


def test_export_to_standard_output_by_its_sign(dialer: Callable[..., Any], office: Path) -> None:
    """`-o -` is what nothing means, too."""
    assert dialer("load", "c.toml", "people.csv").code == 0
    assert dialer("export", "c", "-o", "-").out == dialer("export", "c").out
    assert not (office / "-").exists()


def test_results_open_in_excel_and_are_read_back(dialer: Callable[..., Any], office: Path) -> None:
    """Letters by the byte order mark, numbers as text; and the loader reads what was in the list."""
    listed = (
        "phone,name,code\n+14155550100,Zoë,007\n+14155550101,=1+1,1-2\n+14155550102,'x,12345678901234567\n"
    )
    (office / "people.csv").write_text(listed, encoding="utf-8")
    assert dialer("load", "c.toml", "people.csv").code == 0
    assert dialer("export", "c", "-o", "plain.csv").code == 0
    assert dialer("export", "c", "-o", "excel.csv", "--excel").code == 0
    assert (office / "plain.csv").read_bytes()[:3] == b"\xef\xbb\xbf"
    with (office / "excel.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["phone"] for row in rows] == [f'="+141555501{i:02}"' for i in range(3)]
    assert [row["code"] for row in rows] == ['="007"', '="1-2"', '="12345678901234567"']
    for name in ("plain", "excel"):
        (office / "again.toml").write_text(
            CAMPAIGN.replace('"c"', f'"{name}"') + '[list]\nattributes = ["name", "code"]\n'
        )
        assert dialer("load", "again.toml", f"{name}.csv").code == 0
        found = csv.DictReader(dialer("export", name, "--raw").out.splitlines())
        columns = ("list.phone", "name", "code")
        assert [tuple(row[column] for column in columns) for row in found] == [
            tuple(line.split(",")) for line in listed.splitlines()[1:]
        ]


def test_results_in_plain_ascii_have_no_mark(dialer: Callable[..., Any], office: Path) -> None:
    """A program that reads the first column's name finds it."""
    assert dialer("load", "c.toml", "people.csv").code == 0
    assert dialer("export", "c", "-o", "plain.csv").code == 0
    assert (office / "plain.csv").read_bytes().startswith(b"line,key,phone")
    assert [path.name for path in office.glob("*.marked")] == []
