"""One row per accepted row of the list, with what became of it: as CSV, or as JSON Lines."""

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from campaigns.attempt import AttemptState, Outcome
from campaigns.formulas import as_text, defused
from campaigns.ledger import Ledger
from campaigns.ledger.figures import Line, lines, list_columns
from campaigns.ledger.runs import find
from campaigns.mistake import Mistake
from campaigns.plain_text import Writable

COLUMNS = (
    "line",
    "key",
    "phone",
    "state",
    "outcome",
    "attempts",
    "contact_id",
    "contact_ids",
    "client_token",
    "last_error",
    "first_dialed_at",
    "ended_at",
)

# Line ends to those who read text and not JSON, such as Python's splitlines; JSON itself escapes all others.
_LINE_ENDS = {end: f"\\u{ord(end):04x}" for end in "\u0085\u2028\u2029"}


class Format(StrEnum):
    """How the results are written."""

    CSV = "csv"
    JSONL = "jsonl"
    """One JSON object a line: numbers are numbers, `contact_ids` is a list, what is empty is null."""


def format_of(asked: str | None, file: Path | None) -> Format:
    """The format that was asked for, or that the file's name tells, or CSV. Raises Mistake for another."""
    if asked is not None:
        try:
            return Format(asked.lower())
        except ValueError:
            raise Mistake(f"there is no format {asked!r}; there are: csv, jsonl (JSON Lines)") from None
    told = file is not None and file.suffix.lower() in (".jsonl", ".ndjson")
    return Format.JSONL if told else Format.CSV


class Cells(StrEnum):
    """How the text in CSV cells is written."""

    DEFUSED = "defused"
    """As it is, but with an apostrophe in front of what a spreadsheet would run."""
    TEXT = "text"
    """So that Excel keeps it as text and changes no digit: `="007"`."""
    RAW = "raw"


_WRITTEN: dict[Cells, Callable[[str], str]] = {Cells.DEFUSED: defused, Cells.TEXT: as_text, Cells.RAW: str}
_OTHER_FORMATS = {
    **dict.fromkeys(("xlsx", "xls", "xlsm", "xlsb", "ods", "numbers"), "a spreadsheet's own file"),
    **dict.fromkeys(("gz", "zip", "bz2", "xz", "zst"), "compressed"),
    "json": "one JSON document",
    "tsv": "a table with tabs",
    "parquet": "a Parquet file",
    "pdf": "a PDF",
}


def refuse_other_format(file: Path) -> None:
    """Raises Mistake for a file whose name promises what is not written."""
    ending = file.suffix.lower().removeprefix(".")
    if ending in _OTHER_FORMATS:
        raise Mistake(
            f"{file}: results are not written as {_OTHER_FORMATS[ending]}; "
            f"name a file such as {file.with_suffix('.csv').name} (CSV, which spreadsheets open), "
            f"or {file.with_suffix('.jsonl').name} (JSON Lines)"
        )


def export(
    ledger: Ledger,
    name: str,
    out: Writable,
    written_as: Format = Format.CSV,
    *,
    number: int | None = None,
    cells: Cells = Cells.DEFUSED,
) -> int:
    """Write the results of a campaign's run of this number; without one, of its latest.

    Returns how many rows. Raises Mistake if there is no such run. Memory does not grow with the campaign, and
    no read of the ledger is long. The list's own columns follow ours under their own names, or, where ours
    has that name already, with `list.` in front.
    """
    with ledger.read() as db:
        run = find(db, name, number)
    own = list_columns(ledger, run.id)
    names = [*COLUMNS, *_unlike(COLUMNS, own)]
    rows = _rows(lines(ledger, run.id), own)
    if written_as == Format.CSV:
        return _as_csv(names, rows, out, cells)
    return _as_json_lines(names, rows, out)


def _as_csv(names: Sequence[str], rows: Iterator[list[Any]], out: Writable, written: Cells) -> int:
    writer = csv.writer(out)
    text = _WRITTEN[written]
    writer.writerow(map(text, names))
    count = 0
    for row in rows:
        cells = (" ".join(cell) if isinstance(cell, list) else cell for cell in row)
        writer.writerow(text(cell) if isinstance(cell, str) else cell for cell in cells)
        count += 1
    return count


def _as_json_lines(names: Sequence[str], rows: Iterator[list[Any]], out: Writable) -> int:
    encode = json.JSONEncoder(ensure_ascii=False).encode
    count = 0
    for row in rows:
        line = encode(dict(zip(names, row, strict=True)))
        # One after the other: `translate` would take as long as everything else together.
        for end, escaped in _LINE_ENDS.items():
            line = line.replace(end, escaped)
        out.write(line + "\n")
        count += 1
    return count


def _unlike(ours: Sequence[str], own: Sequence[str]) -> Iterator[str]:
    """The list's own names, with `list.` in front where a name is taken already."""
    taken = set(ours)
    for name in own:
        while name in taken:
            name = f"list.{name}"
        taken.add(name)
        yield name


def _rows(of: Iterator[Line], own: Sequence[str]) -> Iterator[list[Any]]:
    """The cells of each row, in the order of the columns; None where there is nothing."""
    for line in of:
        person, tries = line.recipient, line.attempts
        last = tries[-1] if tries else None
        yield [
            person.line,
            person.key,
            person.phone,
            person.state,
            # Where nobody can tell how an attempt ended, the result says so.
            (last.outcome or _without_outcome(last.state)) if last else None,
            person.attempts,
            last.contact_id if last else None,
            [attempt.contact_id for attempt in tries if attempt.contact_id],
            last.client_token if last else None,
            _last_error(last) if last else None,
            _iso(min((a.dialing_at for a in tries if a.dialing_at), default=None)),
            _iso(last.ended_at if last else None),
            *(person.row.get(column) or None for column in own),
        ]


def _without_outcome(state: str) -> str | None:
    return state if state in (AttemptState.REFUSED, AttemptState.UNKNOWN) else None


def _last_error(attempt: Any) -> str | None:
    # One that was unknown and then found keeps its reason in the ledger, but the call went well. Where
    # Connect has not told how it ended, the reason says so.
    went_well = attempt.state in (AttemptState.PLACED, AttemptState.ENDED)
    return None if went_well and attempt.outcome != Outcome.NO_OUTCOME else attempt.reason or None


def _iso(instant: datetime | None) -> str | None:
    return instant.isoformat(timespec="milliseconds") if instant else None
