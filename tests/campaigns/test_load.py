import csv
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from campaigns.load import load
from campaigns.mistake import Mistake

if TYPE_CHECKING:
    from tests.conftest import Desk

LIST = "phone,name\n4155550100,Ana\nno number,Bo\n4155550101,Cy\n(415) 555-0100,Ana again\n"
US = {"default_region": "US"}


@pytest.fixture
def people(tmp_path: Path) -> Path:
    path = tmp_path / "people.csv"
    path.write_text(LIST)
    return path


def test_a_list_goes_in(desk: "Desk", people: Path) -> None:
    """Rows become recipients, duplicates are counted, and rejected rows go to a file beside the list."""
    report = load(desk.ledger, desk.campaign(list=US), people, now=desk.noon)
    loaded = report.loaded
    assert (loaded.rows, loaded.accepted, loaded.duplicates, loaded.rejected, loaded.suppressed) == (
        4,
        2,
        1,
        1,
        0,
    )
    assert [(row.line, row.phone, row.row["name"]) for row in desk.recipients()] == [
        (2, "+14155550100", "Ana"),
        (4, "+14155550101", "Cy"),
    ]
    assert report.rejects_file == people.with_name("people.rejects.csv")
    with report.rejects_file.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["line"], row["column"], row["name"]) for row in rows] == [("3", "phone", "Bo")]


def test_without_rejected_rows_there_is_no_file(desk: "Desk", people: Path) -> None:
    """A clean list leaves nothing beside it."""
    campaign = desk.campaign(list=US)
    people.write_text(LIST.replace("no number", "4155550102"))
    report = load(desk.ledger, campaign, people, now=desk.noon)
    assert (report.rejects_file, report.loaded.accepted, report.loaded.duplicates) == (None, 3, 1)
    assert [path.name for path in people.parent.glob("*.csv")] == ["people.csv"]


def test_the_rejects_file_can_be_corrected_and_loaded(desk: "Desk", people: Path) -> None:
    """The corrected row is accepted as if it had been right from the start."""
    campaign = desk.campaign(list=US)
    rejects = load(desk.ledger, campaign, people, now=desk.noon).rejects_file
    assert rejects is not None
    rejects.write_text(rejects.read_text(encoding="utf-8-sig").replace("no number", "4155550102"))
    report = load(desk.ledger, campaign, rejects, now=desk.noon)
    assert (report.loaded.rows, report.loaded.accepted, report.rejects_file) == (1, 1, None)
    assert len(desk.recipients()) == 3


def test_a_refused_campaign_leaves_no_rejects_file(desk: "Desk", people: Path) -> None:
    """Nothing goes in, so nothing comes out either."""
    desk.load(desk.campaign(list=US), desk.people(1))
    with pytest.raises(Mistake, match="cannot change once people are loaded"):
        load(desk.ledger, desk.campaign(list={"default_region": "DE"}), people, now=desk.noon)
    assert [path.name for path in people.parent.glob("*.csv")] == ["people.csv"]
    assert len(desk.recipients()) == 1


def test_a_list_without_its_column_is_a_mistake(desk: "Desk", people: Path) -> None:
    """A list that cannot be read as the campaign says leaves not even the campaign."""
    with pytest.raises(Mistake, match='has no column "mobile"'):
        load(desk.ledger, desk.campaign(list={"phone": "mobile"}), people, now=desk.noon)
    with pytest.raises(Mistake, match="the ledger is empty"):
        desk.run()


def test_progress_is_reported_on_the_way_and_at_the_end(desk: "Desk", people: Path) -> None:
    """Every thousand rows, with what has been read; at the end it is everything."""
    people.write_text("phone\n" + "".join(f"415555{i:04d}\n" for i in range(100, 1_300)))
    seen: list[tuple[int, int]] = []
    load(
        desk.ledger,
        desk.campaign(list=US),
        people,
        now=desk.noon,
        progress=lambda chunk: seen.append((chunk.rows_read, chunk.bytes_read)),
    )
    assert [rows for rows, _ in seen] == [1_000, 1_200]
    assert seen[-1][1] == people.stat().st_size
    assert [read for _, read in seen] == sorted(read for _, read in seen)
