"""How many calls are in progress on each instance, counted from the ledger alone.

Connect answers what exceeds the instance's quota with a busy tone and no error, so nobody else counts them.
"""

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, and_, func, literal_column, or_, select, union_all

from campaigns.brake import COUNTS_AS_IN_PROGRESS
from campaigns.ledger.brakes import in_outage
from campaigns.ledger.engine import Ledger
from campaigns.ledger.tables import CLOCKS_DIFFER_BY, RELEASED, attempts, campaigns, runs

# As the partial indexes say it: SQLite sees that one fits only where its own words are in the query.
_PLACED = attempts.c.state == literal_column("'placed'")
_FOLLOWED = and_(_PLACED, attempts.c.follow_at.is_not(None))
_UNFOLLOWED = and_(_PLACED, attempts.c.follow_at.is_(None))


@dataclass(frozen=True, slots=True)
class CallLimit:
    """How many calls an instance may have in progress, and how long those count that nobody tells of."""

    most: int
    """For each instance, from when the feed releases an attempt until its call is known to be over."""
    longest: timedelta
    """So long a call counts of which nobody learns when it ends: one that may have rung and is searched for,
    and one that is not followed. Longer than calls last."""


def in_progress(db: Connection, exchange: str, limit: CallLimit, now: datetime) -> Counter[str]:
    """Calls in progress, or about to be, by instance.

    What has been released counts already, for nothing is asked again before it rings. Nothing counts for
    ever: whoever follows calls gives up at a deadline, and searches end.
    """
    # What a clock wrote down that was ahead would count for as long as that was.
    since, until = now - limit.longest, now + CLOCKS_DIFFER_BY
    parts: list[Any] = [
        RELEASED,
        _FOLLOWED,
        and_(_UNFOLLOWED, attempts.c.dialing_at > since, attempts.c.dialing_at <= until),
        and_(
            attempts.c.state == literal_column("'unknown'"),
            attempts.c.settle_at.is_not(None),
            or_(attempts.c.unknown_at > now - COUNTS_AS_IN_PROGRESS, ~in_outage(attempts)),
            attempts.c.unknown_at > since,
            attempts.c.unknown_at <= until,
        ),
    ]
    by_run: Counter[int] = Counter()
    # The + 0 keeps SQLite to the partial indexes: by run it would go through all that was ever placed.
    run_id = (attempts.c.run_id + 0).label("run_id")
    counts = (select(run_id, func.count()).where(part).group_by(run_id) for part in parts)
    # One statement, so that a call that moves on meanwhile is not missed between two of them.
    for run, count in db.execute(union_all(*counts)):
        by_run[run] += count
    if not by_run:
        return Counter()
    by_instance: Counter[str] = Counter()
    for run_id, choices in db.execute(
        select(runs.c.id, campaigns.c.choices)
        .join(campaigns)
        .where(runs.c.exchange == exchange, runs.c.id.in_(by_run))
    ):
        by_instance[choices["connect"]["instance_id"]] += by_run[run_id]
    return by_instance


def calls_by_instance(ledger: Ledger, exchange: str, limit: CallLimit, now: datetime) -> Counter[str]:
    """Calls in progress, or about to be, by instance; those of instances without any are left out."""
    with ledger.read() as db:
        return in_progress(db, exchange, limit, now)


def full_instances(ledger: Ledger, exchange: str, limit: CallLimit, now: datetime) -> list[str]:
    """The instances that have as many calls in progress as they may."""
    counted = calls_by_instance(ledger, exchange, limit, now)
    return sorted(instance for instance, count in counted.items() if count >= limit.most)
