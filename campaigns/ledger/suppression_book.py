"""What is on the suppression list, and what has ever been on it. Nothing here changes anything."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, func, or_, select

from campaigns.ledger.engine import Ledger
from campaigns.ledger.tables import EVERY_CAMPAIGN, campaigns, suppression_history, suppressions

_PAGE = 5_000  # entries a transaction: a reader in SQLite holds up the writers


@dataclass(frozen=True, slots=True)
class Entry:
    """A number that is not called, or something that was done to the list."""

    phone: str
    campaign: str | None
    """The campaign that may not call it; None: no campaign may."""
    what: str
    """`added` or `removed`; what is on the list now was added."""
    reason: str
    at: datetime


@dataclass(frozen=True, slots=True)
class NumberStory:
    """What the list says of one number."""

    past: Sequence[Entry]
    """What was added and removed again, the oldest first."""
    now: Sequence[Entry]
    """What is on it, that for every campaign first."""


def campaign_id(db: Connection, name: str) -> int | None:
    """The id of the campaign of that name."""
    return db.execute(select(campaigns.c.id).where(campaigns.c.name == name)).scalar_one_or_none()


def entries(ledger: Ledger, *, campaign_id: int | None = None, phone: str | None = None) -> Iterator[Entry]:
    """What is on the list now, by number; of a campaign, or of EVERY_CAMPAIGN, only its own."""
    table = suppressions.c
    query = select(table.phone, table.campaign_id, table.reason, table.added_at.label("at"))
    query = query.order_by(table.phone, table.campaign_id)
    after: Any = None
    while True:
        mine = _only(query, table, campaign_id, phone)
        if after is not None:
            behind = and_(table.phone == after.phone, table.campaign_id > after.campaign_id)
            mine = mine.where(table.phone >= after.phone, or_(table.phone > after.phone, behind))
        with ledger.read() as db:
            rows = db.execute(mine.limit(_PAGE)).all()
            names = _names(db)
        yield from (Entry(row.phone, names.get(row.campaign_id), "added", row.reason, row.at) for row in rows)
        if len(rows) < _PAGE:
            return
        after = rows[-1]


def history(ledger: Ledger, *, campaign_id: int | None = None, phone: str | None = None) -> Iterator[Entry]:
    """All that was ever added and removed, the oldest first."""
    table = suppression_history.c
    last = 0
    while True:
        mine = _only(select(suppression_history), table, campaign_id, phone)
        with ledger.read() as db:
            rows = db.execute(mine.where(table.id > last).order_by(table.id).limit(_PAGE)).all()
            names = _names(db)
        yield from (
            Entry(row.phone, names.get(row.campaign_id), row.what, row.reason, row.at) for row in rows
        )
        if len(rows) < _PAGE:
            return
        last = rows[-1].id


def on_list(db: Connection, phones: Sequence[str], campaign_id: int) -> int:
    """How many of these numbers, a few hundred at most, are on the list of a campaign or EVERY_CAMPAIGN."""
    mine = select(func.count()).select_from(suppressions).where(suppressions.c.phone.in_(phones))
    return int(db.execute(mine.where(suppressions.c.campaign_id == campaign_id)).scalar_one())


def story_of(db: Connection, phone: str, campaign_id: int | None = None) -> NumberStory:
    """What the list says, and has said, of a number; for a campaign: only what holds for that."""
    names = _names(db)
    scopes = [] if campaign_id is None else [EVERY_CAMPAIGN, campaign_id]

    def found(query: Any, table: Any) -> Sequence[Any]:
        mine = query.where(table.phone == phone)
        return db.execute(mine.where(table.campaign_id.in_(scopes)) if scopes else mine).all()

    now = found(select(suppressions).order_by(suppressions.c.campaign_id), suppressions.c)
    past = found(select(suppression_history).order_by(suppression_history.c.id), suppression_history.c)
    return NumberStory(
        [
            Entry(phone, names.get(row.campaign_id), row.what, row.reason, row.at)
            for place, row in enumerate(past)
            # What is on the list now is told by the list itself, which has the date of the wish.
            if row.what == "removed" or any(_undoes(later, row) for later in past[place + 1 :])
        ],
        [Entry(phone, names.get(row.campaign_id), "added", row.reason, row.added_at) for row in now],
    )


def _undoes(later: Any, row: Any) -> bool:
    return bool(later.what == "removed" and later.campaign_id == row.campaign_id)


def _only(query: Any, table: Any, campaign_id: int | None, phone: str | None) -> Any:
    if campaign_id is not None:
        query = query.where(table.campaign_id == campaign_id)
    return query if phone is None else query.where(table.phone == phone)


def _names(db: Connection) -> dict[int, str]:
    return {row.id: row.name for row in db.execute(select(campaigns.c.id, campaigns.c.name))}
