"""Who of a run waits, counted by where they are and what they wait for. Nothing here changes anything."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, case, func, literal_column, select

from campaigns.ledger.limits import LIMIT
from campaigns.ledger.tables import Instant, recipients
from campaigns.waits import Later, Rule, Waiting

SOON = timedelta(seconds=5)
"""Whoever is due within so short a time does not count as waiting for it: throttled calls come back so."""

# The + 0 keeps SQLite to the index that has the order of the zones; by the other one it would have to sort.
_due_at: Any = literal_column("recipients.due_at + 0", Instant)
_ZONES = recipients.c.zones


def waiting(db: Connection, run_id: int, now: datetime, *, total: int, by_zones: bool) -> list[Waiting]:
    """Those of a run who wait, in groups by what may keep them.

    `total`: how many they are. `by_zones`: where they are makes a difference; else there is one group. Each
    count is one walk along an index, and is left out where it can show nothing.
    """
    # The state is spelled out, not bound: only then do both databases see that the partial index fits.
    mine = (recipients.c.run_id == run_id, recipients.c.state == literal_column("'waiting'"))
    soon = now + SOON
    last = db.execute(select(func.max(recipients.c.due_at)).where(*mine)).scalar()
    later = _later(db, mine, soon, by_zones=by_zones) if last is not None and last > soon else {}
    if by_zones:
        counted = select(_ZONES, func.count()).where(*mine, _due_at <= soon)
        counted = counted.group_by(_ZONES).order_by(_ZONES)
        due: dict[str | None, int] = dict(db.execute(counted).all())
    else:
        due = {None: total - sum(each.recipients for found in later.values() for each in found)}
    found = dict.fromkeys([*due, *later])
    return [Waiting(zones, due.get(zones, 0), tuple(later.get(zones, ()))) for zones in found]


def _later(
    db: Connection, mine: tuple[Any, ...], soon: datetime, *, by_zones: bool
) -> dict[str | None, list[Later]]:
    limited = recipients.c.waits_for == literal_column(f"'{LIMIT}'")
    called = recipients.c.attempts > literal_column("0")
    rule = case(
        (limited, literal_column(f"'{Rule.LIMITS}'")),
        (called, literal_column(f"'{Rule.REDIAL}'")),
        else_=literal_column(f"'{Rule.REMINDER}'"),
    ).label("rule")
    places: list[Any] = [_ZONES] if by_zones else []
    counted = (
        select(*places, rule, func.count(), func.min(recipients.c.due_at), func.max(recipients.c.due_at))
        .where(*mine, _due_at > soon)
        .group_by(*places, rule)
        .order_by(*places, rule)
    )
    found: dict[str | None, list[Later]] = {}
    for *zones, why, count, first, last in db.execute(counted):
        found.setdefault(zones[0] if zones else None, []).append(Later(Rule(why), count, first, last))
    return found
