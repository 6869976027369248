"""A brake in words, and for machines."""

from typing import Any

from campaigns.brake import Brake
from campaigns.plain_text import visible


def told(brake: Brake) -> str:
    """Why calls are held back, since when, and when the next one is tried."""
    whose = "calls" if brake.every_run else "this campaign's calls"
    tried = f", {brake.probes:,} in vain so far" if brake.probes else ""
    return (
        f"{whose} are held back: Connect has answered {brake.answers:,} in a row with errors "
        f"({visible(brake.error_code)}) since {brake.since.astimezone():%Y-%m-%d %H:%M:%S %Z}; "
        f"one at a time is tried{tried}, the next at {brake.probe_at.astimezone():%H:%M:%S}; "
        "it goes on by itself when Connect answers again"
    )


def as_json(brake: Brake) -> dict[str, Any]:
    """The same for machines."""
    return {
        "code": brake.code,
        "scope": "all" if brake.every_run else "run",
        "error_code": brake.error_code,
        "since": brake.since.isoformat(timespec="seconds"),
        "answers": brake.answers,
        "probes": brake.probes,
        "next_probe_at": brake.probe_at.isoformat(timespec="seconds"),
    }
