"""How many calls are in progress on each instance, counted from the ledger alone.

Connect answers what exceeds the instance's quota with a busy tone and no error, so nobody else counts them.
"""

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, and_, func, literal_column, or_, select, union_all

from campaigns.brake import COUNTS_AS_IN_PROGRESS
from campaigns.ledger.brakes import in_outage
from campaigns.ledger.engine import Ledger
from campaigns.ledger.tables import CLOCKS_DIFFER_BY, RELEASED, STORED_CHOICES, attempts, campaigns, runs
from campaigns.stored import Unreadable, read_connect, read_stored

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
    lately = and_(attempts.c.dialing_at > since, attempts.c.dialing_at <= until)
    parts: list[tuple[bool, Any]] = [
        (False, RELEASED),
        (False, and_(_FOLLOWED, lately)),
        (True, and_(_FOLLOWED, or_(attempts.c.dialing_at <= since, attempts.c.dialing_at > until))),
        (False, and_(_UNFOLLOWED, lately)),
        (
            False,
            and_(
                attempts.c.state == literal_column("'unknown'"),
                attempts.c.settle_at.is_not(None),
                or_(attempts.c.unknown_at > now - COUNTS_AS_IN_PROGRESS, ~in_outage(attempts)),
                attempts.c.unknown_at > since,
                attempts.c.unknown_at <= until,
            ),
        ),
    ]
    lasting: Counter[int] = Counter()
    by_run: Counter[int] = Counter()
    # The + 0 keeps SQLite to the partial indexes: by run it would go through all that was ever placed.
    run_id = (attempts.c.run_id + 0).label("run_id")
    counts = (
        select(run_id, literal_column(f"{int(lasts)}").label("lasts"), func.count())
        .where(part)
        .group_by(run_id)
        for lasts, part in parts
    )
    # One statement, so that a call that moves on meanwhile is not missed between two of them.
    for run, lasts, count in db.execute(union_all(*counts)):
        (lasting if lasts else by_run)[run] += count
    ids = by_run.keys() | lasting.keys()
    if not ids:
        return Counter()
    by_instance: Counter[str] = Counter()
    rows = db.execute(
        select(runs.c.id, STORED_CHOICES)
        .join(campaigns)
        .where(runs.c.exchange == exchange, runs.c.id.in_(ids))
    ).all()
    for row in rows:
        with suppress(Unreadable):
            instance = read_connect(row.stored).instance_id
            by_instance[instance] += by_run[row.id]
            # Where a campaign cannot be read it is not asked how its calls end, and they would count until
            # it is mended.
            if lasting[row.id]:
                read_stored(row.stored)
                by_instance[instance] += lasting[row.id]
    return by_instance


def calls_by_instance(ledger: Ledger, exchange: str, limit: CallLimit, now: datetime) -> Counter[str]:
    """Calls in progress, or about to be, by instance; those of instances without any are left out."""
    with ledger.read() as db:
        return in_progress(db, exchange, limit, now)


def full_instances(ledger: Ledger, exchange: str, limit: CallLimit, now: datetime) -> list[str]:
    """The instances that have as many calls in progress as they may."""
    counted = calls_by_instance(ledger, exchange, limit, now)
    return sorted(instance for instance, count in counted.items() if count >= limit.most)
