"""What became of a list and of the campaign's file, in words."""

import json
import re
from collections.abc import Sequence
from typing import Any

from campaigns import conflicts_view
from campaigns.changes import Change
from campaigns.explain import span
from campaigns.ledger.lists import Entered, Loaded
from campaigns.ledger.rules import Judged
from campaigns.list_read import as_json as read_as_json
from campaigns.list_read import in_words as read_in_words
from campaigns.load import LoadReport, TooManyRejects
from campaigns.toml_values import duration

_LONGEST = 60
"""Characters of a value that are shown; a description may have thousands."""

_HOLDS_FOR = {
    "list": "rows that are loaded from now on",
    "reminder": "rows that are loaded from now on",
    "schedule": "runs to come",
}
"""The tables whose changes do not hold for calls."""

_PLAIN = re.compile(r"[^\s,;\"→]+")


def in_words(report: LoadReport) -> list[str]:
    """A line for the rows, and one for everything else that there is to say."""
    loaded = report.loaded
    parts = [f"{loaded.accepted:,} accepted"]
    parts += [f"{loaded.duplicates:,} duplicate{_s(loaded.duplicates)}"] if loaded.duplicates else []
    parts += [f"{loaded.suppressed:,} suppressed"] if loaded.suppressed else []
    parts += [f"{loaded.rejected:,} rejected"] if loaded.rejected else []
    words = [f"{loaded.campaign}: {loaded.rows:,} row{_s(loaded.rows)}: {', '.join(parts)}"]
    words += [] if report.read is None else read_in_words(report.read)
    if report.rejects_file:
        words.append(f"rejected rows and their reasons: {report.rejects_file} (correct it, and load it too)")
    words += changes_in_words(loaded.changes)
    words += _corrections(loaded)
    if loaded.moved:
        words.append(f"{loaded.moved:,} moved to another time: nobody is called for the old one any more")
    if loaded.other_zones:
        have = "has" if loaded.other_zones == 1 else "have"
        words.append(f"{loaded.other_zones:,} of the duplicates {have} another time zone now")
    words += _gone(loaded)
    words += judged_in_words(loaded.campaign, loaded.judged)
    return words + conflicts_view.in_words(report.conflicts)


def choices_in_words(name: str, entered: Entered) -> list[str]:
    """What has changed in the file of a campaign that was loaded without a list."""
    words = changes_in_words(entered.changes) + judged_in_words(name, entered.judged)
    return words or [f"{name}: nothing has changed in the campaign's file"]


def choices_as_json(name: str, entered: Entered) -> dict[str, Any]:
    """The same for machines: as after a list without rows."""
    none = Loaded(name, 0, 0, 0, 0, 0, changes=entered.changes, judged=entered.judged)
    return as_json(LoadReport(none, None))


def _corrections(loaded: Loaded) -> list[str]:
    """Rows that say something else than when they were loaded."""
    kept = loaded.changed_rows - loaded.updated
    words = []
    if loaded.updated:
        take = "recipient takes" if loaded.updated == 1 else "recipients take"
        words.append(f"{loaded.updated:,} of the duplicates changed: the {take} the new row")
    if kept:
        was = (
            "recipient was called already and keeps"
            if kept == 1
            else "recipients were called already and keep"
        )
        words.append(f"{kept:,} of the duplicates changed too late: the {was} the old row")
    return words


def _gone(loaded: Loaded) -> list[str]:
    """Recipients who are not on the list, or were taken out before."""
    gone = loaded.gone
    words = []
    if gone.gone and gone.dropped:
        was = "was" if gone.dropped == 1 else "were"
        words.append(f"{gone.gone:,} loaded before not on this list: {gone.dropped:,} {was} taken out")
    elif gone.gone:
        words.append(
            f"{gone.gone:,} loaded before not on this list: kept; "
            "to take them out, load the list with --gone drop"
        )
    if gone.spoiled:
        words.append(
            "1 of the rejected rows has changed since it was loaded: its recipient is not called until it is "
            "corrected"
            if gone.spoiled == 1
            else f"{gone.spoiled:,} of the rejected rows have changed since they were loaded: their "
            "recipients are not called until they are corrected"
        )
    if gone.put_back:
        words.append(f"{gone.put_back:,} on this list again: put back")
    if gone.stay_dropped:
        stay = "stays" if gone.stay_dropped == 1 else "stay"
        words.append(
            f"{gone.stay_dropped:,} of the duplicates {stay} taken out by dialer drop; "
            f"to put one back: dialer drop {loaded.campaign} KEY --undo"
        )
    if loaded.kept_out:
        words.append(
            f"{loaded.kept_out:,} taken out of the trial by dialer drop: not called here either; "
            f"to put one back: dialer drop {loaded.campaign} KEY --undo"
        )
    return words


def changes_in_words(changes: Sequence[Change]) -> list[str]:
    """What has changed in the campaign's file, by what it holds for."""
    words = []
    for holds_for in ("calls to come", *dict.fromkeys(_HOLDS_FOR.values())):
        changed = [
            _change(each)
            for each in changes
            if _HOLDS_FOR.get(each.key.partition(".")[0], "calls to come") == holds_for
        ]
        if changed:
            words.append(f"changed in the campaign's file: {', '.join(changed)}; it holds for {holds_for}")
    return words


def as_json(report: LoadReport) -> dict[str, Any]:
    """The same for machines."""
    loaded = report.loaded
    return {
        "campaign": loaded.campaign,
        "rows": loaded.rows,
        "accepted": loaded.accepted,
        "duplicates": loaded.duplicates,
        "rejected": loaded.rejected,
        "suppressed": loaded.suppressed,
        "moved": loaded.moved,
        "other_time_zones": loaded.other_zones,
        "rejects_file": str(report.rejects_file) if report.rejects_file else None,
        "changed": loaded.changed_rows,
        "updated": loaded.updated,
        "gone": loaded.gone.gone,
        "gone_dropped": loaded.gone.dropped,
        "rejected_dropped": loaded.gone.spoiled,
        "put_back": loaded.gone.put_back,
        "stay_dropped": loaded.gone.stay_dropped,
        "kept_out": loaded.kept_out,
        "changes": [
            {"key": each.key, "was": _as_written(each, each.was), "now": _as_written(each, each.now)}
            for each in loaded.changes
        ],
        "redials": {"moved": loaded.judged.moved, "given_up": loaded.judged.done},
        "warnings": conflicts_view.as_json(report.conflicts),
        "unusable": report.unusable,
        **({} if report.read is None else read_as_json(report.read)),
    }


def too_many_as_json(name: str, problem: TooManyRejects) -> dict[str, Any]:
    """What became of a list that was not loaded because of --max-rejects."""
    return {
        "campaign": name,
        "rows": problem.rows,
        "accepted": 0,
        "duplicates": 0,
        "rejected": problem.rejected,
        "suppressed": 0,
        "rejects_file": str(problem.rejects_file),
        "problem": {"code": "too_many_rejects", "data": {"rejected": problem.rejected, "rows": problem.rows}},
    }


def judged_in_words(name: str, judged: Judged) -> list[str]:
    """What the new redial rules do to those who were called already."""
    moved, done, too_late = judged.moved, judged.done, judged.too_late
    words = []
    parts = [f"{moved:,} at another time now"] if moved else []
    parts += [f"{done:,} not any more"] if done else []
    if parts:
        words.append(f"of those who waited to be dialed again: {', '.join(parts)}")
    if too_late:
        words.append(
            "whoever is done stays done; to dial them again all the same: "
            f"dialer requeue {name} --outcome {','.join(too_late)}"
        )
    return words


def _change(change: Change) -> str:
    was = "(none)" if change.was is None else _shown(_as_written(change, change.was))
    now = "(removed)" if change.now is None else _shown(_as_written(change, change.now))
    return f"{change.key}: {was} → {now}"


def _as_written(change: Change, value: object) -> object:
    """A value as people write it in the file: waits are kept in seconds, and written as `10m`."""
    if change.key == "reminder.before" and isinstance(value, list):
        return [span(duration(each)) for each in value]
    if change.key == "schedule" and isinstance(value, dict):
        return value["cron"]
    if change.key == "schedule.grace" and isinstance(value, str):
        return span(duration(value))
    if not change.key.startswith("redial."):
        return value
    if isinstance(value, dict):
        return {**value, "wait": span(duration(value["wait"]))}
    return span(duration(value)) if isinstance(value, str) and change.key != "redial.when_unknown" else value


def _shown(value: object) -> str:
    if isinstance(value, dict) and "max_redials" in value:
        most = value["max_redials"]
        return f"{value['wait']} ({most} redial{_s(most)} at most)"
    if isinstance(value, str) and _PLAIN.fullmatch(value):
        text = value
    else:
        text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _s(count: int) -> str:
    return "" if count == 1 else "s"
