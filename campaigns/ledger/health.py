"""Which processes are alive, and what keeps them from their work."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, insert, select, update

from campaigns.ledger.engine import Ledger
from campaigns.ledger.tables import heartbeats

BEAT = timedelta(seconds=5)
"""How often a process reports."""
MISSED = timedelta(seconds=20)
"""After this long without a word a process counts as gone."""


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """One process of the dialer, as it last reported."""

    process: str
    """role@host:pid"""
    role: str
    """dial, control or beat."""
    exchange: str
    seen_at: datetime
    problem: str | None
    endpoint: str | None = None
    """Where its calls go, if that is not AWS's own address."""


def beat(
    ledger: Ledger,
    process: str,
    role: str,
    exchange: str,
    problem: str | None,
    now: datetime,
    *,
    endpoint: str | None = None,
) -> None:
    """Report that this process lives, and what keeps it from its work, if anything does."""
    values = {"role": role, "exchange": exchange, "seen_at": now, "problem": problem, "endpoint": endpoint}
    with ledger.write() as db:
        if db.execute(update(heartbeats).where(heartbeats.c.process == process).values(values)).rowcount == 0:
            db.execute(insert(heartbeats).values(process=process, **values))


def leave(ledger: Ledger, process: str, now: datetime) -> None:
    """Take this process off the list, and those that have been silent for a day."""
    with ledger.write() as db:
        db.execute(delete(heartbeats).where(heartbeats.c.process == process))
        db.execute(delete(heartbeats).where(heartbeats.c.seen_at < now - timedelta(days=1)))


def alive(ledger: Ledger, now: datetime) -> list[Heartbeat]:
    """The processes that have reported lately."""
    # Nor is who died under a clock that was ahead, and has been put back since, alive until then.
    lately = (heartbeats.c.seen_at > now - MISSED, heartbeats.c.seen_at < now + MISSED)
    query = select(heartbeats).where(*lately).order_by(heartbeats.c.process)
    with ledger.read() as db:
        return [Heartbeat(**row._mapping) for row in db.execute(query)]
