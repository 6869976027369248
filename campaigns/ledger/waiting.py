"""Who of a run waits, counted by where they are and what they wait for. Nothing here changes anything."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, case, func, literal_column, select

from campaigns.ledger.limits import LIMIT
from campaigns.ledger.tables import recipients
from campaigns.waits import Later, Rule, Waiting

SOON = timedelta(seconds=5)
"""Whoever is due within so short a time does not count as waiting for it: throttled calls come back so."""


def waiting(
    db: Connection, run_id: int, now: datetime, *, counted: Mapping[str | None, int], by_zones: bool
) -> list[Waiting]:
    """Those of a run who wait, in groups by what may keep them.

    `counted`: how many they are, by their zones. `by_zones`: where they are makes a difference; else there is
    one group. Only those who are due later are gone through, as nobody can count them beforehand.
    """
    later = _later(db, run_id, now + SOON, by_zones=by_zones)
    total = counted if by_zones else {None: sum(counted.values())}
    return [
        # Where others write meanwhile, the one may have been read before somebody came, the other after it.
        Waiting(zones, max(0, total.get(zones, 0) - sum(each.recipients for each in late)), late)
        for zones in dict.fromkeys([*total, *later])
        for late in [tuple(later.get(zones, ()))]
    ]


def _later(db: Connection, run_id: int, soon: datetime, *, by_zones: bool) -> dict[str | None, list[Later]]:
    limited = recipients.c.waits_for == literal_column(f"'{LIMIT}'")
    called = recipients.c.attempts > literal_column("0")
    rule = case(
        (limited, literal_column(f"'{Rule.LIMITS}'")),
        (called, literal_column(f"'{Rule.REDIAL}'")),
        else_=literal_column(f"'{Rule.REMINDER}'"),
    ).label("rule")
    places: list[Any] = [recipients.c.zones] if by_zones else []
    counted = (
        select(*places, rule, func.count(), func.min(recipients.c.due_at), func.max(recipients.c.due_at))
        # The state is spelled out, not bound: only then do both databases see that the partial index fits.
        .where(recipients.c.run_id == run_id, recipients.c.state == literal_column("'waiting'"))
        .where(recipients.c.due_at > soon)
        .group_by(*places, rule)
        .order_by(*places, rule)
    )
    found: dict[str | None, list[Later]] = {}
    for *zones, why, count, first, last in db.execute(counted):
        found.setdefault(zones[0] if zones else None, []).append(Later(Rule(why), count, first, last))
    return found
