"""Campaigns' choices, read from the ledger; and what one campaign that cannot be read leaves to the others.

No check runs again (`campaigns.stored`). A campaign that cannot be read all the same is paused by the process
that finds it running, and left out by all that take work of several campaigns at once: its calls in progress,
and those in doubt, are looked up when it can be read again. Connect knows of them for two years.
"""

from collections.abc import Callable, Collection
from contextlib import suppress
from typing import Any, TypeVar

from sqlalchemy import Connection, select

from campaigns.attempt import RunState
from campaigns.campaign import Campaign, RedialOptions
from campaigns.connect_options import ConnectOptions
from campaigns.ledger.engine import Ledger
from campaigns.ledger.tables import CHOICES_VERSION, STORED_CHOICES, campaigns, runs
from campaigns.stored import Unreadable, read_connect, read_part, read_stored

T = TypeVar("T")

_STORED = select(campaigns.c.name, STORED_CHOICES, CHOICES_VERSION)


def campaign_of(ledger: Ledger, db: Connection, campaign_id: int, version: str) -> Campaign:
    """A campaign's choices, read once for each of its versions. Raises Unreadable.

    version: CHOICES_VERSION, read in this transaction.
    """
    known = ledger.campaigns.get((campaign_id, version))
    if known is None:
        # By the version that they are read with: they may have been changed since the caller read its own.
        name, stored, version = db.execute(_STORED.where(campaigns.c.id == campaign_id)).one()
        try:
            known = ledger.campaigns[campaign_id, version] = read_stored(stored)
        except Unreadable as problem:
            ledger.unreadable.add(campaign_id)
            raise problem.of(name) from None
        ledger.unreadable.discard(campaign_id)
    return known


def campaign_of_run(db: Connection, run_id: int) -> Campaign:
    """The choices that a run follows. Raises Unreadable."""
    row = db.execute(_STORED.join(runs).where(runs.c.id == run_id)).one()
    try:
        return read_stored(row.stored)
    except Unreadable as problem:
        raise problem.of(row.name) from None


def problem_of(db: Connection, campaign_id: int) -> Unreadable | None:
    """Why a campaign's choices cannot be read; None if they can."""
    row = db.execute(_STORED.where(campaigns.c.id == campaign_id)).one()
    try:
        read_stored(row.stored)
    except Unreadable as problem:
        return problem.of(row.name)
    return None


def running_elsewhere(db: Connection, campaign_id: int) -> dict[str, str]:
    """The running campaigns with real calls in another Region than this campaign's: name → Region.

    Empty where this campaign's choices do not name its Region. What cannot be read is left out.
    """
    real = runs.c.exchange.is_distinct_from("sandbox") & (runs.c.state == RunState.RUNNING)
    running = campaigns.c.id.in_(select(runs.c.campaign_id).where(real))
    regions: dict[int, tuple[str, str]] = {}
    for row in db.execute(
        _STORED.add_columns(campaigns.c.id).where(running | (campaigns.c.id == campaign_id))
    ):
        with suppress(Unreadable):
            if region := read_stored(row.stored).connect.region:
                regions[row.id] = (row.name, region)
    own = regions.pop(campaign_id, None)
    return {} if own is None else {name: region for name, region in regions.values() if region != own[1]}


def readable(ledger: Ledger, db: Connection, campaign_id: int, version: str) -> Campaign | None:
    """A campaign's choices, or None if this version cannot read them."""
    try:
        return campaign_of(ledger, db, campaign_id, version)
    except Unreadable:
        return None


def left_out(ledger: Ledger, db: Connection) -> list[int]:
    """The campaigns whose choices could not be read lately, and still cannot.

    To be left out by whatever takes a limited number of calls, or those that can be read would wait behind.
    """
    if not ledger.unreadable:
        return []
    these = select(campaigns.c.id, CHOICES_VERSION).where(campaigns.c.id.in_(sorted(ledger.unreadable)))
    return [row.id for row in db.execute(these).all() if readable(ledger, db, row.id, row.version) is None]


def of_others(campaign_ids: Collection[int]) -> Any:
    """Attempts' runs are of other campaigns than these; for a query that has `runs`."""
    return runs.c.campaign_id.not_in(campaign_ids)


def redial_of(ledger: Ledger, db: Connection, campaign_id: int, version: str) -> RedialOptions:
    """A campaign's rules on redials, also if the rest of its choices cannot be read. Raises Unreadable."""
    known = readable(ledger, db, campaign_id, version)
    return known.redial if known else _part(db, campaign_id, _read_redial)


def connect_of(ledger: Ledger, db: Connection, campaign_id: int, version: str) -> ConnectOptions:
    """Where a campaign's calls are, also if its choices cannot be read: see `read_connect`."""
    known = readable(ledger, db, campaign_id, version)
    return known.connect if known else _part(db, campaign_id, read_connect)


def instance_of(ledger: Ledger, db: Connection, campaign_id: int, version: str) -> str | None:
    """The instance that a campaign is dialed from; None if it cannot be read."""
    try:
        return connect_of(ledger, db, campaign_id, version).instance_id
    except Unreadable:
        return None


def _read_redial(stored: bytes) -> RedialOptions:
    return read_part(RedialOptions, stored, "redial")


def _part(db: Connection, campaign_id: int, read: Callable[[bytes], T]) -> T:
    row = db.execute(_STORED.where(campaigns.c.id == campaign_id)).one()
    try:
        return read(row.stored)
    except Unreadable as problem:
        raise problem.of(row.name) from None
