"""Calls in progress that are to be hung up: an operator has cancelled their campaign and asked for it.

The wish stands in the ledger, and whoever talks to Connect carries it out.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, and_, case, func, literal, literal_column, or_, select, union_all, update

from campaigns.attempt import AttemptState
from campaigns.ledger.engine import Ledger
from campaigns.ledger.stored_choices import instance_of
from campaigns.ledger.tables import CHOICES_VERSION, Instant, attempts, campaigns, recipients, runs

# As the partial index says it: SQLite sees that the index fits only where its own words are in the query.
_PLACED = attempts.c.state == literal_column("'placed'")

_CAMPAIGNS = select(campaigns.c.id, CHOICES_VERSION).join(runs, runs.c.campaign_id == campaigns.c.id)

UNFOLLOWED = timedelta(minutes=5)
"""So long after dialing it a call counts as in progress of which nobody asks how it ends: what
DIALER_SETTLE_SECONDS, by which the workers go, is by default."""


@dataclass(frozen=True, slots=True)
class CallInProgress:
    """A call that is to be hung up."""

    attempt_id: int
    run_id: int
    instance_id: str
    contact_id: str


def count_calls_in_progress(db: Connection, run_id: int, now: datetime) -> int:
    """How many calls a run has in progress, or about to be: those whose request may be on the wire too."""
    dialing = and_(attempts.c.run_id == run_id, attempts.c.state == AttemptState.DIALING)
    parts = (*_in_progress([run_id], now, UNFOLLOWED), dialing)
    counts = db.execute(union_all(*(select(func.count()).where(part) for part in parts)))
    return sum(counts.scalars())


def runs_to_hang_up(ledger: Ledger, exchange: str) -> list[int]:
    """The runs of an exchange whose calls in progress are to be hung up, whether they have any or not."""
    with ledger.read() as db:
        wished = select(runs.c.id).where(runs.c.hang_up_at.is_not(None), runs.c.exchange == exchange)
        return list(db.execute(wished.order_by(runs.c.id)).scalars())


def calls_to_hang_up(
    ledger: Ledger,
    run_ids: Collection[int],
    *,
    limit: int,
    now: datetime,
    again: timedelta,
    longest: timedelta,
) -> list[CallInProgress]:
    """Calls of these runs that are in progress, those first that nobody has asked Connect to stop yet.

    One that has been stopped, and of which it is still not known that it is over, is stopped once more after
    `again`. `longest` says how long a call counts that is not followed.
    """
    wanted = (attempts.c.id, attempts.c.run_id, attempts.c.contact_id, attempts.c.stopped_at)
    found = union_all(
        *(select(*wanted).where(part) for part in _in_progress(run_ids, now, longest))
    ).subquery()
    query = (
        select(
            found.c.id,
            found.c.run_id,
            runs.c.campaign_id,
            found.c.contact_id,
        )
        .select_from(found.join(runs, runs.c.id == found.c.run_id).join(campaigns))
        .where(or_(found.c.stopped_at.is_(None), found.c.stopped_at <= now - again, found.c.stopped_at > now))
        .order_by(found.c.stopped_at.is_not(None), found.c.id)
        .limit(limit)
    )
    with ledger.read() as db:
        instances = {
            each: instance_of(ledger, db, each, version)
            for each, version in db.execute(_CAMPAIGNS.where(runs.c.id.in_(run_ids)).distinct()).all()
        }
        # Calls whose instance cannot be read are not in the way of the others.
        known = [each for each, instance in instances.items() if instance is not None]
        return [
            CallInProgress(row.id, row.run_id, instance, row.contact_id)
            for row in db.execute(query.where(runs.c.campaign_id.in_(known)))
            if (instance := instances[row.campaign_id]) is not None
        ]


def mark_hung_up(ledger: Ledger, attempt_id: int, *, now: datetime, look_at: datetime) -> None:
    """Connect was asked to stop this call. If it is followed, its outcome is looked up at `look_at`.

    What it ended as may have been learned meanwhile; that somebody hung it up is written down all the same.
    """
    sooner = and_(_PLACED, attempts.c.follow_at > look_at)
    with ledger.write() as db:
        db.execute(
            update(attempts)
            .where(attempts.c.id == attempt_id)
            .values(
                # The first time is the one that ended it, as far as anybody knows.
                stopped_at=func.coalesce(attempts.c.stopped_at, literal(now, Instant)),
                follow_at=case((sooner, literal(look_at, Instant)), else_=attempts.c.follow_at),
            )
        )


def _in_progress(run_ids: Collection[int], now: datetime, longest: timedelta) -> tuple[Any, Any]:
    """The calls that Connect is asked about, and those that nobody follows and that may still go on."""
    # The + 0 keeps SQLite to the partial index: by run it would go through all that was ever placed.
    followed = and_(_PLACED, attempts.c.follow_at.is_not(None), (attempts.c.run_id + 0).in_(run_ids))
    unfollowed = and_(
        _PLACED,
        attempts.c.follow_at.is_(None),
        attempts.c.stopped_at.is_(None),
        attempts.c.run_id.in_(run_ids),
        attempts.c.dialing_at > now - longest,
    )
    return followed, unfollowed


def count_affected(db: Connection, campaign_id: int, now: datetime) -> tuple[int, int]:
    """How many recipients of a campaign's runs wait for a call, and how many calls are in progress."""
    ids = list(db.execute(select(runs.c.id).where(runs.c.campaign_id == campaign_id)).scalars())
    waiting = select(func.count()).where(
        recipients.c.run_id.in_(ids), recipients.c.state == literal_column("'waiting'")
    )
    calls = sum(count_calls_in_progress(db, each, now) for each in ids)
    return int(db.execute(waiting).scalar_one()), calls
