"""What Connect has answered to this process when it was asked about calls, by instance."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

LATELY = timedelta(hours=1)
"""How long one answer about a call lets the absence of another be believed."""

_AGAIN = timedelta(minutes=1)
"""How long an instance that refuses to tell is left alone by probes, unless a new call is placed."""


@dataclass
class Answers:
    """Which instances tell of calls, and which refuse to. Kept in memory only; threads may share one.

    A process that knows nothing yet believes no absence, and probes.
    """

    _told_at: dict[str, datetime] = field(default_factory=dict)
    _answering: set[str] = field(default_factory=set)
    _refused_at: dict[str, datetime] = field(default_factory=dict)

    def told(self, instance_id: str, at: datetime) -> None:
        """Connect has told of a call of this instance."""
        self._told_at[instance_id] = at

    def told_lately(self, instance_id: str, now: datetime) -> bool:
        """Whether Connect has told of a call of this instance within the last hour."""
        told_at = self._told_at.get(instance_id)
        return told_at is not None and abs(now - told_at) <= LATELY

    def answered(self, instance_id: str) -> bool:
        """Connect has answered, be it that it knows no such call. Returns whether it did not before."""
        news = instance_id not in self._answering
        self._answering.add(instance_id)
        self._refused_at.pop(instance_id, None)
        return news

    def refused(self, instance_id: str, at: datetime) -> None:
        """Connect has not told, for whatever reason."""
        self._answering.discard(instance_id)
        self._refused_at[instance_id] = at

    def silent(self, instance_ids: list[str]) -> list[str]:
        """Those of these instances that have not answered since they were first asked, or last refused."""
        return [each for each in instance_ids if each not in self._answering]

    def probe_after(self, instance_id: str, now: datetime) -> datetime | None:
        """A probe takes a call placed after this instant; None: any call."""
        refused_at = self._refused_at.get(instance_id)
        if refused_at is None or not refused_at <= now < refused_at + _AGAIN:
            return None
        return refused_at
