"""One row per accepted row of the list, with what became of it."""

import csv
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any, TextIO

from campaigns.ledger import Ledger
from campaigns.ledger.figures import Line, lines, list_columns
from campaigns.ledger.runs import find

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


def export(ledger: Ledger, name: str, out: TextIO) -> int:
    """Write a campaign's results as CSV. Returns how many rows. Raises Mistake if there is no such campaign.

    Memory does not grow with the campaign, and no read of the ledger is long. The list's own columns follow
    ours under their own names, or, where ours has that name already, with `list.` in front.
    """
    with ledger.read() as db:
        run = find(db, name)
    own = list_columns(ledger, run.id)
    writer = csv.writer(out)
    writer.writerow([*COLUMNS, *_unlike(COLUMNS, own)])
    count = 0
    for row in _rows(lines(ledger, run.id), own):
        writer.writerow(row)
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
    for line in of:
        person, tries = line.recipient, line.attempts
        last = tries[-1] if tries else None
        contacts = [attempt.contact_id for attempt in tries if attempt.contact_id]
        yield [
            person.line,
            person.key,
            person.phone,
            person.state,
            # Where nobody can tell how an attempt ended, the result says so.
            (last.outcome or _without_outcome(last.state)) if last else "",
            person.attempts,
            (last.contact_id or "") if last else "",
            " ".join(contacts),
            last.client_token if last else "",
            _last_error(last) if last else "",
            _iso(min((a.dialing_at for a in tries if a.dialing_at), default=None)),
            _iso(last.ended_at if last else None),
            *(person.row.get(column, "") for column in own),
        ]


def _without_outcome(state: str) -> str:
    return state if state in ("refused", "unknown") else ""


def _last_error(attempt: Any) -> str:
    # One that was unknown and then found keeps its reason in the ledger, but the call went well.
    return "" if attempt.state in ("placed", "ended") else attempt.reason or ""


def _iso(instant: datetime | None) -> str:
    return instant.isoformat(timespec="milliseconds") if instant else ""
