"""The suppression list in words and for machines. Numbers are in full; instants in local time for people."""

import csv
import json
import shlex
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

from campaigns.explain_view import at, suppression
from campaigns.formulas import defused
from campaigns.ledger.readmissions import Removed
from campaigns.ledger.suppression_book import Entry, NumberStory
from campaigns.ledger.suppressions import Put
from campaigns.plain_text import Writable
from campaigns.suppress import Added, Imported

SHOWN = 20
"""So many numbers are named one by one."""


def added_in_words(added: Added) -> list[str]:
    """Which numbers, and what it means for those who wait."""
    lines = [_added(phone, added) for phone in added.phones[:SHOWN]]
    if len(added.phones) > SHOWN:
        lines.append(f"… and {len(added.phones) - SHOWN:,} more numbers")
    return [*lines, *_effect(added.put)]


def added_as_json(added: Added) -> dict[str, Any]:
    """The same for machines."""
    return {
        "campaign": added.campaign,
        "added": added.put.added,
        "already": added.put.numbers - added.put.added,
        **_effect_as_json(added.put),
        "numbers": [
            {
                "phone": phone,
                "added": was is None,
                "since": _iso(was.at) if was else None,
                "reason": was.reason if was else None,
            }
            for phone in added.phones
            for was in [added.already.get(phone)]
        ],
    }


def removed_in_words(removed: Removed, asked: Sequence[str], campaign: str | None) -> list[str]:
    """Which numbers, who waits again, and what else still stands."""
    lines = []
    for phone in asked[:SHOWN]:
        if phone not in removed.phones:
            lines.append(f"{phone} was not suppressed{_for(campaign)}")
        elif phone in removed.barred:
            others = "every campaign" if campaign else "single campaigns"
            lines.append(f"{phone} is not suppressed{_for(campaign)} any more, but still for {others}")
        else:
            lines.append(f"{phone} is not suppressed{_for(campaign)} any more")
    if len(asked) > SHOWN:
        lines.append(
            f"… {len(removed.phones):,} of {len(asked):,} numbers were suppressed, and are so no more"
        )
    if removed.waiting:
        lines.append(f"{_people(removed.waiting)} {'waits' if removed.waiting == 1 else 'wait'} again")
    for name, count in removed.finished:
        lines.append(
            f"{_people(count)} of {name}, which is finished, {'is' if count == 1 else 'are'} not called by "
            f"itself; to call {'it' if count == 1 else 'them'}: dialer requeue {name} --outcome suppressed"
        )
    return lines


def removed_as_json(removed: Removed, asked: Sequence[str], campaign: str | None) -> dict[str, Any]:
    """The same for machines."""
    return {
        "campaign": campaign,
        "removed": list(removed.phones),
        "not_there": [phone for phone in asked if phone not in removed.phones],
        "still_suppressed": list(removed.barred),
        "recipients_waiting": removed.waiting,
        "recipients_in_finished_campaigns": dict(removed.finished),
    }


def imported_in_words(imported: Imported) -> list[str]:
    """What became of each row, and what it means for those who wait."""
    put, deleted = imported.put, imported.deleted
    parts = [f"{put.added:,} added"]
    there = put.numbers - put.added
    parts += [f"{there:,} {'was' if there == 1 else 'were'} there already"] if there else []
    parts += [f"{deleted.removed:,} removed"] if deleted.removed else []
    absent = deleted.numbers - deleted.removed - deleted.kept
    parts += [f"{absent:,} to remove {'was' if absent == 1 else 'were'} not there"] if absent else []
    parts += [f"{imported.duplicates:,} duplicate{_s(imported.duplicates)}"] if imported.duplicates else []
    parts += [f"{imported.empty_rows:,} without a number"] if imported.empty_rows else []
    parts += [f"{imported.rejected:,} rejected"] if imported.rejected else []
    rows = f"{imported.rows:,} row{_s(imported.rows)}"
    if imported.numbers + imported.empty_rows + imported.rejected != imported.rows:
        rows += f" with {imported.numbers:,} number{_s(imported.numbers)}"
    lines = [f"suppressed{_for(imported.campaign)}: {rows}: {', '.join(parts)}"]
    if imported.ambiguous:
        cells = "1 cell" if imported.ambiguous == 1 else f"{imported.ambiguous:,} cells"
        lines.append(f"{cells} can be read as several numbers; all of these are suppressed")
    if deleted.kept:
        stays, them = ("stays", "it") if deleted.kept == 1 else ("stay", "them")
        lines.append(
            f"{deleted.kept:,} number{_s(deleted.kept)} to remove {stays} suppressed, because not only the "
            f"national list has put {them} on; to take {them} off: dialer suppress remove NUMBER"
        )
    if imported.unread_columns:
        names = ", ".join(f'"{name}"' for name in imported.unread_columns[:SHOWN])
        options = " ".join(f"--column {_quoted(n)}" for n in (*imported.columns, *imported.unread_columns))
        lines.append(
            f"not read, though there seem to be numbers in it: {names}; to read it as well: {options}"
        )
    if imported.rejects_file:
        lines.append(
            f"rejected rows and their reasons: {imported.rejects_file} (these are NOT suppressed: "
            "correct it, and import it too)"
        )
    lines += _effect(put)
    if deleted.waiting:
        lines.append(f"{_people(deleted.waiting)} {'waits' if deleted.waiting == 1 else 'wait'} again")
    return lines


def failure(imported: Imported) -> str:
    """Why the command has failed, in one sentence."""
    first = imported.first_reject
    match imported.problem:
        case "no_rows":
            return f"nothing was suppressed: {imported.file_name} has no row; export it again"
        case "no_numbers":
            names = ", ".join(imported.columns)
            return f"nothing was suppressed: no row has a number in {names}; name the columns: --column NAME"
        case "nothing_readable" if first is not None:
            where = f"line {first.line}{f', column {first.column}' if first.column else ''}"
            return f"nothing was suppressed: no row can be read; {where}: {first.reason}"
    count = f"{imported.rejected:,} row{_s(imported.rejected)}"
    return f"{count} could not be read, so that not all of {imported.file_name} is suppressed"


def imported_as_json(imported: Imported) -> dict[str, Any]:
    """The same for machines."""
    deleted = imported.deleted
    return {
        "campaign": imported.campaign,
        "rows": imported.rows,
        "numbers": imported.numbers,
        "added": imported.put.added,
        "already": imported.put.numbers - imported.put.added,
        "removed": deleted.removed,
        "kept": deleted.kept,
        "not_there": deleted.numbers - deleted.removed - deleted.kept,
        "duplicates": imported.duplicates,
        "ambiguous": imported.ambiguous,
        "empty": imported.empty_rows,
        "rejected": imported.rejected,
        "rejects_file": str(imported.rejects_file) if imported.rejects_file else None,
        "unread_columns": list(imported.unread_columns),
        "problem": imported.problem,
        **_effect_as_json(imported.put),
        "recipients_waiting": deleted.waiting,
    }


def _quoted(name: str) -> str:
    return shlex.quote(" ".join(name.split())[:40])


def story_in_words(phone: str, story: NumberStory, campaign: str | None) -> list[str]:
    """What the list says of a number, and has said; `campaign`: what holds for that one."""
    lines = [suppression(entry) for entry in (*story.past, *story.now)]
    names = [entry.campaign for entry in story.now]
    if not names:
        head = f"{phone} is on no suppression list" + (f" that holds for {campaign}" if campaign else "")
    else:
        by = "any campaign" if None in names else ", ".join(map(str, names))
        head = f"{phone} is not called by {by}"
    return [head, *(f"  {line}" for line in lines)]


def write_csv(entries: Iterable[Entry], out: Writable, *, history: bool, raw: bool = False) -> int:
    """One row for each, which `suppress import` takes again. Returns how many.

    A reason that a spreadsheet would take for a formula is written as text, unless `raw`.
    """
    text = str if raw else defused
    writer = csv.writer(out)
    what = ["what"] if history else []
    writer.writerow(["phone", "campaign", *what, "reason", "at" if history else "added_at"])
    count = 0
    for entry in entries:
        done = [entry.what] if history else []
        campaign = entry.campaign and text(entry.campaign)
        writer.writerow([entry.phone, campaign, *done, text(entry.reason), _iso(entry.at)])
        count += 1
    return count


def as_json(entries: Iterable[Entry], *, history: bool) -> Iterator[str]:
    """One JSON object, in pieces: there may be a million entries in it."""
    yield '{"history": [' if history else '{"suppressions": ['
    for place, entry in enumerate(entries):
        done = {"what": entry.what} if history else {}
        said = {"reason": entry.reason, "at" if history else "added_at": _iso(entry.at)}
        yield ", " if place else ""
        yield json.dumps({"phone": entry.phone, "campaign": entry.campaign, **done, **said})
    yield "]}\n"


def _added(phone: str, added: Added) -> str:
    was = added.already.get(phone)
    if was is None:
        return f"{phone} is suppressed{_for(added.campaign)}"
    return f"{phone} was suppressed{_for(added.campaign)} already, since {at(was.at)}: {was.reason}"


def _effect(put: Put) -> list[str]:
    lines = []
    if put.withdrawn:
        lines.append(f"{_people(put.withdrawn)} {'is' if put.withdrawn == 1 else 'are'} not called any more")
    if put.under_way:
        go = "is under way, and goes on" if put.under_way == 1 else "are under way, and go on"
        lines.append(f"{put.under_way:,} call{_s(put.under_way)} {go}")
    return lines


def _effect_as_json(put: Put) -> dict[str, int]:
    return {"recipients_suppressed": put.withdrawn, "calls_under_way": put.under_way}


def _for(campaign: str | None) -> str:
    return f" for {campaign}" if campaign else " for every campaign"


def _people(count: int) -> str:
    return f"{count:,} recipient{_s(count)}"


def _s(count: int) -> str:
    return "" if count == 1 else "s"


def _iso(instant: datetime) -> str:
    return instant.isoformat(timespec="milliseconds")
