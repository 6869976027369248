"""Which ledger this is, and whether dialing from it is stopped as a whole."""

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection, bindparam, case, select, update

from campaigns.ledger.engine import Ledger
from campaigns.ledger.tables import VERSION_NUM, identity

_THE_ROW = identity.c.id == 1
_IDENTITY = select(
    identity.c.ledger_id,
    identity.c.epoch,
    identity.c.stopped_at,
    identity.c.stopped_code,
    identity.c.stopped_reason,
    select(VERSION_NUM).scalar_subquery().label("version_num"),
).where(_THE_ROW)

stopped_at = select(identity.c.stopped_at).where(_THE_ROW).scalar_subquery()
"""Since when nothing is dialed from this ledger; NULL: nothing stops it."""

epoch = select(identity.c.epoch).where(_THE_ROW).scalar_subquery()
"""Which `resume --all` was the last one."""


@dataclass(frozen=True, slots=True)
class Identity:
    """The ledger's name, and what stops dialing from it, if anything does."""

    ledger_id: str
    epoch: int
    stopped_at: datetime | None
    stopped_code: str | None
    stopped_reason: str | None
    version_num: str | None = None
    """The revision of its tables."""

    @property
    def stopped(self) -> bool:
        """Whether nothing is dialed from this ledger until an operator says so."""
        return self.stopped_at is not None


def identity_of(db: Connection) -> Identity:
    """This ledger's identity as it stands."""
    return Identity(**db.execute(_IDENTITY).one()._mapping)


def read_identity(ledger: Ledger) -> Identity:
    """The same, in a transaction of its own."""
    with ledger.read() as db:
        return identity_of(db)


def stop(db: Connection, code: str, reason: str, now: datetime, *, least_epoch: int) -> bool:
    """Stop dialing from this ledger until `let_go_on`. Returns False if it was stopped already.

    least_epoch: the newest epoch that is known outside. The next one is counted from there, or the positions
    noted under it would stop the ledger once more.
    """
    newest = case((identity.c.epoch < bindparam("known"), bindparam("known")), else_=identity.c.epoch)
    values = {"stopped_at": now, "stopped_code": code, "stopped_reason": reason, "epoch": newest}
    this = update(identity).where(_THE_ROW, identity.c.stopped_at.is_(None)).values(values)
    return bool(db.execute(this, {"known": least_epoch}).rowcount)


def let_go_on(db: Connection, now: datetime) -> Identity:
    """Let this ledger be dialed from, as it is now. Returns its identity as it was before.

    It begins a new epoch. What was noted under an older one is not held against it any longer.
    """
    was = identity_of(db)
    # Seconds since 1970: the epoch is a new one also where this ledger is an old copy, which does not know of
    # the latest.
    seconds = int((now - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds())
    values = {"stopped_at": None, "stopped_code": None, "stopped_reason": None}
    db.execute(update(identity).where(_THE_ROW).values(values | {"epoch": max(was.epoch + 1, seconds)}))
    return was
