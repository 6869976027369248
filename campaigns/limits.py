"""How often one number may be rung: if not now, when next?"""

from collections.abc import Sequence
from datetime import datetime, timedelta

DAY = timedelta(hours=24)
WEEK = timedelta(hours=168)


def next_allowed(
    dialed: Sequence[datetime], now: datetime, *, per_day: int | None, per_week: int | None
) -> datetime | None:
    """When a number that was dialed at these instants may be dialed again; None: now.

    Within any 24 hours no more than `per_day` calls, within any 168 no more than `per_week`: a call that was
    dialed a span ago, to the microsecond, counts no more.
    """
    allowed = now
    for most, span in ((per_day, DAY), (per_week, WEEK)):
        counted = sorted(at for at in dialed if at > now - span)
        if most is not None and len(counted) >= most:
            allowed = max(allowed, counted[-most] + span)
    return allowed if allowed > now else None
