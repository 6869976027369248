"""What became of a list and of the campaign's file, in words."""

import json
import re
from typing import Any

from campaigns.changes import Change
from campaigns.explain import span
from campaigns.ledger.lists import Loaded
from campaigns.load import LoadReport
from campaigns.toml_values import duration

_LONGEST = 60
"""Characters of a value that are shown; a description may have thousands."""

_PLAIN = re.compile(r"[^\s,;\"→]+")


def in_words(report: LoadReport) -> list[str]:
    """A line for the rows, and one for everything else that there is to say."""
    loaded = report.loaded
    parts = [f"{loaded.accepted:,} accepted"]
    parts += [f"{loaded.duplicates:,} duplicate{_s(loaded.duplicates)}"] if loaded.duplicates else []
    parts += [f"{loaded.suppressed:,} suppressed"] if loaded.suppressed else []
    parts += [f"{loaded.rejected:,} rejected"] if loaded.rejected else []
    words = [f"{loaded.campaign}: {loaded.rows:,} row{_s(loaded.rows)}: {', '.join(parts)}"]
    if report.rejects_file:
        words.append(f"rejected rows and their reasons: {report.rejects_file} (correct it, and load it too)")
    for kind, holds_for in ((False, "calls to come"), (True, "rows that are loaded from now on")):
        changed = [_change(each) for each in loaded.changes if each.key.startswith("list.") == kind]
        if changed:
            words.append(f"changed in the campaign's file: {', '.join(changed)}; it holds for {holds_for}")
    return words + _judged(loaded)


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
        "rejects_file": str(report.rejects_file) if report.rejects_file else None,
        "changed": list(loaded.changed),
        "changes": [
            {"key": each.key, "was": _as_written(each, each.was), "now": _as_written(each, each.now)}
            for each in loaded.changes
        ],
        "redials": {"moved": loaded.judged.moved, "given_up": loaded.judged.done},
    }


def _judged(loaded: Loaded) -> list[str]:
    """What the new redial rules do to those who were called already."""
    moved, done, too_late = loaded.judged.moved, loaded.judged.done, loaded.judged.too_late
    words = []
    parts = [f"{moved:,} at another time now"] if moved else []
    parts += [f"{done:,} not any more"] if done else []
    if parts:
        words.append(f"of those who waited to be dialed again: {', '.join(parts)}")
    if too_late:
        words.append(
            "whoever is done stays done; to dial them again all the same: "
            f"dialer requeue {loaded.campaign} --outcome {','.join(too_late)}"
        )
    return words


def _change(change: Change) -> str:
    was = "(none)" if change.was is None else _shown(_as_written(change, change.was))
    now = "(removed)" if change.now is None else _shown(_as_written(change, change.now))
    return f"{change.key}: {was} → {now}"


def _as_written(change: Change, value: object) -> object:
    """A value as people write it in the file: waits are kept in seconds, and written as `10m`."""
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
