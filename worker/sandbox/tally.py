"""The figures of /_sandbox/stats: a fold over the journal's entries, live and after a restart alike."""

from collections import Counter
from typing import Any

from worker.sandbox.journal import Entry


class Tally:
    """Counts StartOutboundVoiceContact requests by what came of them."""

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._errors: Counter[str] = Counter()
        self._others: Counter[str] = Counter()
        self._others_throttled: Counter[str] = Counter()
        self._others_failed: Counter[str] = Counter()
        self._first: float | None = None
        self._last: float | None = None

    def count(self, entry: Entry, *, rang_before: bool) -> None:
        """Take in one request. `rang_before`: it rang, and its token had rung before."""
        self._first = entry.epoch if self._first is None else self._first
        self._last = entry.epoch
        self._counts["requests"] += 1
        if entry.error:
            self._errors[entry.error] += 1
        self._counts["throttled"] += entry.error == "TooManyRequestsException"
        self._counts["replayed"] += entry.replayed
        self._counts["rang"] += entry.rang
        self._counts["second_rings"] += rang_before
        if entry.contact_id and not entry.replayed:
            self._counts["placed"] += 1
            self._counts["over_quota"] += not entry.rang

    def count_other(self, operation: str, *, throttled: bool, failed: bool) -> None:
        """Take in a request of another operation. `failed`: by a fault that was asked for."""
        self._others[operation] += 1
        self._others_throttled[operation] += throttled
        self._others_failed[operation] += failed

    def figures(self) -> dict[str, Any]:
        """What /_sandbox/stats says, but for the active calls. Moments are seconds since 1970."""
        names = ("requests", "placed", "rang", "second_rings", "replayed", "over_quota", "throttled")
        return {
            **{name: self._counts[name] for name in names},
            "errors": dict(self._errors),
            "first_request_at": self._first,
            "last_request_at": self._last,
            "other_requests": dict(self._others),
            "other_throttled": {name: n for name, n in self._others_throttled.items() if n},
            "other_failed": {name: n for name, n in self._others_failed.items() if n},
        }
