"""What a plan asks of the ledger before a list goes in. Nothing here changes anything."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, exists, func, select

from campaigns.attempt import AttemptState, RecipientState, RunState
from campaigns.campaign import Campaign
from campaigns.ledger.engine import Ledger
from campaigns.ledger.limits import allowed_again
from campaigns.ledger.tables import EVERY_CAMPAIGN, attempts, campaigns, recipients, runs, suppressions
from campaigns.same_telephone import all_forms, forms
from campaigns.scratch_table import ScratchTable


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
class There:
    """One recipient who is in the campaign already."""

    phone: str
    attributes: Mapping[str, str]
    row: Mapping[str, str]
    open: bool
    """Whether a changed row would be taken: the recipient was never called, and is not over."""
    over: bool
    """Expired or cancelled: no row leads to a call."""


@dataclass(frozen=True, slots=True)
class Known:
    """What the ledger knows of some candidates."""

    there: Mapping[tuple[str, datetime | None], Sequence["There"]] = field(default_factory=dict)
    """Keys that are in the campaign already, each with its appointment, and the recipients who have them."""
    listed: int = 0
    """Keys of the run that are on the list, and were not taken out."""
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


def loaded(ledger: Ledger, campaign: Campaign, run: Entered | None) -> int:
    """How many keys the run has that were not taken out, nor are over: those who may be gone."""
    if run is None:
        return 0
    with ledger.read() as db:
        return int(db.execute(_keys_of(campaign, run)).scalar_one())


def look_up(
    ledger: Ledger,
    campaign: Campaign,
    run: Entered | None,
    people: Sequence[Candidate],
    now: datetime,
    keys: Sequence[str] = (),
) -> Known:
    """What is known of these, a few hundred at most. `run`: what is known of the campaign itself.

    `keys`: of these and of rejected rows, each once.
    """
    phones = sorted({each.phone for each in people})
    campaigns_too = (EVERY_CAMPAIGN,) if run is None else (EVERY_CAMPAIGN, run.campaign_id)
    barred = select(suppressions.c.phone).where(suppressions.c.phone.in_(phones))
    barred = barred.where(suppressions.c.campaign_id.in_(campaigns_too))
    with ledger.read() as db:
        return Known(
            _there(db, campaign, run, people) if run is not None else {},
            _listed(db, campaign, run, all_forms(keys)) if run is not None and keys else 0,
            set(db.execute(barred).scalars()),
            allowed_again(db, campaign, phones, "connect", now),
        )


_CALLED = exists().where(
    attempts.c.recipient_id == recipients.c.id,
    attempts.c.state.not_in((AttemptState.QUEUED, AttemptState.RETURNED, AttemptState.REFUSED)),
)
_OPEN = (
    RecipientState.WAITING,
    RecipientState.IN_PROGRESS,
    RecipientState.SUPPRESSED,
    RecipientState.DROPPED,
    RecipientState.DONE,  # refused by Connect, and never called
)
_OVER = (RecipientState.EXPIRED, RecipientState.CANCELLED)


def _there(
    db: Connection, campaign: Campaign, run: Entered, people: Sequence[Candidate]
) -> dict[tuple[str, datetime | None], list[There]]:
    key = recipients.c.key if campaign.reminder is None else recipients.c.list_key
    # Where the number is the key, the recipient may be there under another number of the telephone.
    numbers = [each.phone for each in people if each.key == each.phone and campaign.reminder is None]
    keys = [*(each.key for each in people), *all_forms(numbers)]
    mine = select(
        key,
        recipients.c.appointment_at,
        recipients.c.phone,
        recipients.c.attributes,
        recipients.c.row,
        recipients.c.state,
        _CALLED.label("called"),
    ).where(key.in_(keys))
    if campaign.reminder is None:
        mine = mine.where(recipients.c.run_id == run.run_id)
    else:
        # The same appointment on another day's list is in another run.
        mine = mine.join(runs).where(runs.c.campaign_id == run.campaign_id)
    found: dict[tuple[str, datetime | None], list[There]] = {}
    for row in db.execute(mine):
        is_open = row.state in _OPEN and not row.called
        this = There(row.phone, row.attributes, row.row, is_open, row.state in _OVER)
        found.setdefault((row[0], row.appointment_at), []).append(this)
    for phone in numbers:
        same = [found[other, None] for other in forms(phone) if (other, None) in found]
        if same:
            found.setdefault((phone, None), same[0])
    return found


def _keys_of(campaign: Campaign, run: Entered) -> Any:
    mine = (recipients.c.run_id == run.run_id, recipients.c.dropped_by.is_(None))
    if campaign.reminder is None:
        return select(func.count()).where(*mine)
    return select(func.count(recipients.c.list_key.distinct())).where(*mine, recipients.c.state.not_in(_OVER))


def _listed(db: Connection, campaign: Campaign, run: Entered, keys: Sequence[str]) -> int:
    key = recipients.c.key if campaign.reminder is None else recipients.c.list_key
    query = _keys_of(campaign, run).where(key.in_(keys))
    return int(db.execute(query).scalar_one())


class Seen(ScratchTable):
    """The keys that a list has had so far."""

    def __init__(self) -> None:
        super().__init__("seen (key TEXT PRIMARY KEY)")

    def first_time(self, key: str) -> bool:
        """Whether the list has not had it before."""
        return self._db.execute("INSERT OR IGNORE INTO seen VALUES (?)", (key,)).rowcount == 1
