"""What a plan asks of the ledger before a list goes in. Nothing here changes anything."""

import sqlite3
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import TracebackType
from typing import Self

from sqlalchemy import Connection, select

from campaigns.attempt import RunState
from campaigns.campaign import Campaign
from campaigns.ledger.engine import Ledger
from campaigns.ledger.limits import allowed_again
from campaigns.ledger.tables import EVERY_CAMPAIGN, campaigns, recipients, runs, suppressions


@dataclass(frozen=True, slots=True)
class Entered:
    """The campaign of that name, as far as it is in the ledger already."""

    campaign_id: int
    run_id: int
    state: RunState
    """Of its latest run, into which the list would go."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A row of a list that could be called."""

    key: str
    """As the list has it."""
    phone: str
    appointment_at: datetime | None


@dataclass(frozen=True, slots=True)
class Known:
    """What the ledger knows of some candidates."""

    there: Collection[tuple[str, datetime | None]] = ()
    """Keys that are in the campaign already, each with its appointment."""
    suppressed: Collection[str] = ()
    """Numbers that are not called."""
    limited: Mapping[str, datetime] = field(default_factory=dict)
    """Numbers that have had their calls, and when the limits allow another."""


def entered(ledger: Ledger, name: str) -> Entered | None:
    """The campaign of that name; None if nothing was loaded into it yet."""
    latest = (
        select(runs.c.campaign_id, runs.c.id, runs.c.state)
        .join(campaigns)
        .where(campaigns.c.name == name)
        .order_by(runs.c.number.desc())
        .limit(1)
    )
    with ledger.read() as db:
        row = db.execute(latest).one_or_none()
    return None if row is None else Entered(row.campaign_id, row.id, RunState(row.state))


def look_up(
    ledger: Ledger, campaign: Campaign, run: Entered | None, people: Sequence[Candidate], now: datetime
) -> Known:
    """What is known of these, a few hundred at most. `run`: what is known of the campaign itself."""
    phones = sorted({each.phone for each in people})
    campaigns_too = (EVERY_CAMPAIGN,) if run is None else (EVERY_CAMPAIGN, run.campaign_id)
    barred = select(suppressions.c.phone).where(suppressions.c.phone.in_(phones))
    barred = barred.where(suppressions.c.campaign_id.in_(campaigns_too))
    with ledger.read() as db:
        return Known(
            _there(db, campaign, run, [each.key for each in people]) if run is not None else (),
            set(db.execute(barred).scalars()),
            allowed_again(db, campaign, phones, "connect", now),
        )


def _there(
    db: Connection, campaign: Campaign, run: Entered, keys: Sequence[str]
) -> set[tuple[str, datetime | None]]:
    if campaign.reminder is None:
        mine = select(recipients.c.key).where(recipients.c.run_id == run.run_id, recipients.c.key.in_(keys))
        return {(key, None) for key in db.execute(mine).scalars()}
    # The same appointment on another day's list is in another run.
    appointments = (
        select(recipients.c.list_key, recipients.c.appointment_at)
        .join(runs)
        .where(recipients.c.list_key.in_(keys), runs.c.campaign_id == run.campaign_id)
    )
    return {(key, at) for key, at in db.execute(appointments)}


class Seen:
    """The keys that a list has had so far. On the disk, so that memory does not grow with the list."""

    def __init__(self) -> None:
        # A database without a name is SQLite's own temporary file, and gone when it is closed.
        self._db = sqlite3.connect("", isolation_level=None)
        self._db.executescript(
            "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; PRAGMA cache_size = -32000;"
            "CREATE TABLE seen (key TEXT PRIMARY KEY) WITHOUT ROWID; BEGIN"
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._db.close()

    def first_time(self, key: str) -> bool:
        """Whether the list has not had it before."""
        return self._db.execute("INSERT OR IGNORE INTO seen VALUES (?)", (key,)).rowcount == 1
