import csv
import io
import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from campaigns.attempt import AttemptState, Outcome
from campaigns.campaign import RedialOptions
from campaigns.export import COLUMNS, Format, export, format_of
from campaigns.ledger.lists import put_list
from campaigns.ledger.outcomes import mark_ended, mark_told_late
from campaigns.ledger.unknowns import mark_found, mark_not_found
from campaigns.mistake import Mistake
from campaigns.stranger import Stranger
from tests.batches import laid_out

if TYPE_CHECKING:
    from tests.conftest import Desk


def exported(desk: "Desk", name: str = "reminders") -> list[list[str]]:
    """The rows of the export, the header first."""
    out = io.StringIO(newline="")
    count = export(desk.ledger, name, out)
    rows = list(csv.reader(io.StringIO(out.getvalue(), newline="")))
    assert count == len(rows) - 1
    return rows


def exported_json(desk: "Desk", name: str = "reminders") -> list[dict[str, Any]]:
    """The objects of the export as JSON Lines."""
    out = io.StringIO(newline="")
    count = export(desk.ledger, name, out, Format.JSONL)
    lines = out.getvalue().splitlines()
    assert (count, out.getvalue().endswith("\n")) == (len(lines), bool(lines))
    return [json.loads(line) for line in lines]


def test_the_columns_are_those_of_the_contract(desk: "Desk") -> None:
    """Ours first, in a fixed order, then the list's own; `list.` in front of a name that is ours already."""
    desk.load(desk.campaign(), [])
    assert exported(desk) == [
        [
            *("line", "key", "phone", "state", "outcome", "attempts", "contact_id", "contact_ids"),
            *("client_token", "last_error", "first_dialed_at", "ended_at"),
            *("list.phone", "name"),
        ]
    ]
    assert len(COLUMNS) == 12


def test_a_row_tells_what_became_of_a_person(desk: "Desk") -> None:
    """The last attempt's contact, token and end; all contacts; the first time that it was dialed."""
    desk.load(desk.campaign(), desk.people(1))
    desk.start()
    first_dialed = desk.noon + timedelta(milliseconds=1_500)
    (one,) = desk.claim()
    desk.dial(one, now=first_dialed)
    desk.placed(one)
    desk.ended(one, Outcome.BUSY, redial_at=desk.noon)
    (two,) = desk.claim()
    desk.bring(two, AttemptState.ENDED)
    (_, row) = exported(desk)
    assert row == [
        *("2", "key-1", "+14150000001", "done", "answered", "2"),
        f"contact-{two.attempt_id}",
        f"contact-{one.attempt_id} contact-{two.attempt_id}",
        two.client_token,
        "",
        "2026-03-02T12:00:00.000+00:00",
        "2026-03-02T12:00:00.000+00:00",
        *("4150000001", "Ana 1"),
    ]


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (AttemptState.QUEUED, ["in_progress", "", "1", "", ""]),
        (AttemptState.RETURNED, ["waiting", "", "1", "", "no slot within reach"]),
        (AttemptState.DIALING, ["in_progress", "", "1", "", ""]),
        (AttemptState.PLACED, ["in_progress", "", "1", "contact", ""]),
        (AttemptState.ENDED, ["done", "answered", "1", "contact", ""]),
        (AttemptState.REFUSED, ["done", "refused", "1", "", "DestinationNotAllowed"]),
        (AttemptState.UNKNOWN, ["in_progress", "unknown", "1", "", "no answer in time"]),
    ],
)
def test_every_state_is_told_honestly(desk: "Desk", state: AttemptState, expected: list[str]) -> None:
    """Refused and unknown attempts say so in the outcome, and why in last_error."""
    desk.started(1)
    (claimed,) = desk.claim()
    desk.bring(claimed, state)
    header, row = exported(desk)
    found = dict(zip(header, row, strict=True))
    assert [
        found["state"],
        found["outcome"],
        found["attempts"],
        found["contact_id"].partition("-")[0],
        found["last_error"],
    ] == expected
    assert found["client_token"] == claimed.client_token


def test_a_call_without_a_word_says_what_connect_did_not_tell(desk: "Desk") -> None:
    """`no_outcome` has its reason in last_error; once Connect tells after all, there is no error."""
    desk.started(1)
    (one,) = desk.claim()
    desk.bring(one, AttemptState.PLACED)
    silence = "Connect has not said how it ended"
    this = (desk.ledger, one.attempt_id)

    def never(_: RedialOptions) -> None:
        return None

    assert mark_ended(*this, Outcome.NO_OUTCOME, ended_at=desk.noon, redial=never, reason=silence)
    header, row = exported(desk)
    assert (row[header.index("outcome")], row[header.index("last_error")]) == ("no_outcome", silence)
    assert mark_told_late(*this, Outcome.BUSY, ended_at=desk.noon, redial=never)
    _, row = exported(desk)
    assert (row[header.index("outcome")], row[header.index("last_error")]) == ("busy", "")


def test_a_call_that_was_found_has_its_outcome_and_no_error(desk: "Desk") -> None:
    """Unknown, found, ended: the row has the contact and how it ended; the doubt is no error any more."""
    desk.started(1)
    (one,) = desk.claim()
    desk.bring(one, AttemptState.UNKNOWN)
    assert mark_found(
        desk.ledger,
        one.attempt_id,
        one.fence,
        Stranger("c-1", desk.noon, desk.person(one).phone),
        follow_at=desk.noon,
        evidence="found among Connect's calls",
    )
    _, row = exported(desk)
    assert row[3:8] == ["in_progress", "", "1", "c-1", "c-1"]
    desk.ended(one, Outcome.BUSY)
    _, row = exported(desk)
    assert row[3:10] == ["done", "busy", "1", "c-1", "c-1", one.client_token, ""]


def test_a_call_that_was_never_found_makes_room_for_the_next(desk: "Desk") -> None:
    """The row is that of the latest attempt; held, it says that it is unknown, and why."""
    desk.started(1)
    for redial in (True, False):
        (claimed,) = desk.claim()
        desk.bring(claimed, AttemptState.UNKNOWN)
        assert mark_not_found(
            desk.ledger,
            claimed.attempt_id,
            claimed.fence,
            redial=redial,
            now=desk.noon,
            evidence="never found",
        )
        _, row = exported(desk)
        state, number = ("waiting", "1") if redial else ("held", "2")
        assert row[3:10] == [
            *(state, "unknown", number, "", ""),
            claimed.client_token,
            "no answer in time",
        ]


def test_whoever_was_never_called_has_a_row_too(desk: "Desk") -> None:
    """Accepted is exported: waiting, suppressed and cancelled people without any attempt."""
    people = desk.people(3)
    desk.suppress(people[1].phone)
    desk.load(desk.campaign(), people)
    desk.cancel()
    rows = exported(desk)
    assert [row[3:12] for row in rows[1:]] == [
        [state, "", "0", "", "", "", "", "", ""] for state in ("cancelled", "suppressed", "cancelled")
    ]


def test_a_long_list_is_exported_in_order(desk: "Desk") -> None:
    """Beyond a page of a thousand rows nobody is missing, and nobody comes twice."""
    desk.load(desk.campaign(), desk.people(2_345))
    assert [row[1] for row in exported(desk)[1:]] == [f"key-{i}" for i in range(1, 2_346)]


def test_lists_with_other_columns_stand_side_by_side(desk: "Desk") -> None:
    """Two lists of one campaign keep all their columns; a cell that a list does not have is empty."""
    one, two = desk.people(2)
    for columns, person in (
        (("phone", "name"), one),
        (("state", "phone"), replace(two, row={"phone": "x", "state": "CA"})),
    ):
        put_list(
            desk.ledger,
            desk.campaign(),
            laid_out([person]),
            file_name="people.csv",
            columns=columns,
            now=desk.noon,
        )
    header, first, second = exported(desk)
    assert header[12:] == ["list.phone", "name", "list.state"]
    assert (first[12:], second[12:]) == (["4150000001", "Ana 1", ""], ["x", "", "CA"])


def test_cells_come_back_as_they_were(desk: "Desk") -> None:
    """Quotes, delimiters, line breaks and letters of other languages survive the way out."""
    cell = 'Zoë, "東京"\r\nline two; 🎉'
    desk.load(desk.campaign(), [replace(desk.people(1)[0], row={"phone": "1", "name": cell})])
    assert exported(desk)[1][-1] == cell


def test_a_line_of_json_has_the_same_names_with_types(desk: "Desk") -> None:
    """The columns of the CSV in their order: numbers are numbers, contacts a list, what is empty is null."""
    first, second = desk.people(2)
    desk.load(desk.campaign(), [replace(first, row={"phone": "", "name": "Zoë"}), second])
    desk.start()
    (one, _) = desk.claim()
    desk.bring(one, AttemptState.ENDED)
    called, waiting = exported_json(desk)
    header = exported(desk)[0]
    assert list(called) == list(waiting) == header
    assert called == {
        "line": 2,
        "key": "key-1",
        "phone": "+14150000001",
        "state": "done",
        "outcome": "answered",
        "attempts": 1,
        "contact_id": f"contact-{one.attempt_id}",
        "contact_ids": [f"contact-{one.attempt_id}"],
        "client_token": one.client_token,
        "last_error": None,
        "first_dialed_at": "2026-03-02T12:00:00.000+00:00",
        "ended_at": "2026-03-02T12:00:00.000+00:00",
        "list.phone": None,
        "name": "Zoë",
    }
    assert (waiting["outcome"], waiting["contact_id"], waiting["contact_ids"]) == (None, None, [])


def test_both_formats_say_the_same(desk: "Desk") -> None:
    """Row by row, the CSV is the JSON with its types taken away."""
    desk.started(7)
    states = [*AttemptState]
    for claimed, state in zip(desk.claim(), states, strict=True):
        desk.bring(claimed, state)
    header, *rows = exported(desk)
    flat = [
        {
            name: " ".join(cell) if isinstance(cell, list) else "" if cell is None else str(cell)
            for name, cell in found.items()
        }
        for found in exported_json(desk)
    ]
    assert flat == [dict(zip(header, row, strict=True)) for row in rows]


def test_an_object_is_one_line_whatever_is_in_it(desk: "Desk") -> None:
    """Line ends of every kind are escaped, and letters of other languages are not."""
    cell = 'Zoë "東京"\r\none\u2028two\u2029three\u0085four\x0b\x1e🎉\\'
    desk.load(desk.campaign(), [replace(desk.people(1)[0], row={"phone": "1", "name": cell})])
    out = io.StringIO(newline="")
    export(desk.ledger, "reminders", out, Format.JSONL)
    assert len(out.getvalue().splitlines()) == 1
    assert "東京" in out.getvalue()
    assert json.loads(out.getvalue())["name"] == cell


def test_a_list_without_rows_is_no_line(desk: "Desk") -> None:
    """As CSV there is a header, as JSON Lines nothing."""
    desk.load(desk.campaign(), [])
    assert exported_json(desk) == []


@pytest.mark.parametrize(
    ("asked", "file", "expected"),
    [
        (None, None, "csv"),
        (None, "results.csv", "csv"),
        (None, "results", "csv"),
        (None, "jsonl", "csv"),
        (None, "results.jsonl", "jsonl"),
        (None, "Results.NDJSON", "jsonl"),
        ("csv", "results.jsonl", "csv"),
        ("JSONL", None, "jsonl"),
    ],
)
def test_the_format_is_what_was_asked_for_or_the_files_name_tells(
    asked: str | None, file: str | None, expected: str
) -> None:
    """--format goes before the file's name, and CSV is what nothing tells."""
    assert format_of(asked, Path(file) if file else None) == expected


@pytest.mark.parametrize("asked", ["json", "", "xlsx"])
def test_another_format_is_refused(asked: str) -> None:
    """The message names the two that there are."""
    with pytest.raises(Mistake, match=rf"there is no format '{asked}'; there are: csv, jsonl \(JSON Lines\)"):
        format_of(asked, None)


def test_there_must_be_such_a_campaign(desk: "Desk") -> None:
    """A wrong name is a Mistake, and nothing is written."""
    out = io.StringIO()
    with pytest.raises(Mistake, match="there is no campaign 'nobody'"):
        export(desk.ledger, "nobody", out)
    assert out.getvalue() == ""
