"""Which calls to a telephone count against its limits: those of all campaigns, to any of its numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, and_, literal_column, or_, select, text, update

from campaigns.attempt import AttemptState, RecipientState
from campaigns.campaign import Campaign
from campaigns.ledger.engine import Errand, Ledger
from campaigns.ledger.tables import attempts, campaigns, recipients, runs
from campaigns.limits import WEEK, next_allowed
from campaigns.same_telephone import all_forms, telephone

LIMIT = "limit"
"""`recipients.waits_for` of those who wait until the limits allow a call to their number."""

SOON = timedelta(seconds=10)
"""As long as the answer to a request that is on its way may take."""

_SEARCHED_MEANWHILE = timedelta(minutes=1)

_SENT_WITHIN = timedelta(minutes=5)
"""Longer after `dialing_at` no answer is recorded as that of a call that was just placed."""

_PIECE = 500  # parameters a statement, well under what the databases allow


@dataclass(frozen=True, slots=True)
class Call:
    """One that rang, or may have."""

    phone: str
    dialed_at: datetime
    """The latest time at which it can have begun to ring."""
    campaign: str
    """Its name."""
    dialing: bool
    """Whether its request is on its way, or soon to be: it may still come back without having rung."""
    in_doubt: bool = False
    """Whether it is searched for, and may turn out never to have been placed."""


def calls_to(db: Connection, phones: Sequence[str], exchange: str, since: datetime) -> list[Call]:
    """The calls through an exchange to these numbers (E.164) dialed after `since`, the oldest first.

    One that was searched for in vain counts as never placed, as it does everywhere.
    """
    in_doubt = and_(
        attempts.c.state == AttemptState.UNKNOWN,
        or_(
            attempts.c.settle_at.is_not(None),
            attempts.c.requeued_at.is_not(None),
            and_(recipients.c.state == RecipientState.HELD, recipients.c.attempts == attempts.c.number),
        ),
    )
    searched = and_(attempts.c.state == AttemptState.UNKNOWN, attempts.c.settle_at.is_not(None))
    called = attempts.c.state.in_((AttemptState.DIALING, AttemptState.PLACED, AttemptState.ENDED))
    found: list[Call] = []
    for first in range(0, len(phones), _PIECE):
        rows = db.execute(
            select(
                recipients.c.phone,
                attempts.c.dialing_at,
                attempts.c.placed_at,
                attempts.c.lease_until,
                campaigns.c.name,
                attempts.c.state,
                searched.label("searched"),
            )
            .select_from(
                recipients.join(attempts, attempts.c.recipient_id == recipients.c.id)
                .join(runs, runs.c.id == recipients.c.run_id)
                .join(campaigns, campaigns.c.id == runs.c.campaign_id)
            )
            .where(recipients.c.phone.in_(phones[first : first + _PIECE]), runs.c.exchange == exchange)
            .where(attempts.c.dialing_at > since - _SENT_WITHIN, or_(called, in_doubt))
        )
        found += [
            Call(row.phone, rang_at, row.name, row.state == AttemptState.DIALING, row.searched)
            for row in rows
            # The request leaves after `dialing` is written and within the lease, and the telephone rings
            # before the answer is recorded, which may be an hour later.
            for rang_at in [max(row.dialing_at, min(row.placed_at or row.dialing_at, row.lease_until))]
            if rang_at > since
        ]
    return sorted(found, key=lambda call: call.dialed_at)


def limited(campaign: Campaign) -> bool:
    """Whether a campaign has any limit."""
    return campaign.calls_per_day is not None or campaign.calls_per_week is not None


def allowed_again(
    db: Connection, campaign: Campaign, phones: Sequence[str], exchange: str, now: datetime
) -> dict[str, datetime]:
    """Those of the numbers that a campaign may not call now, and when it may.

    Where only calls stand in the way that may turn out not to have rung, they are looked at again soon.
    """
    if not limited(campaign):
        return {}
    calls: dict[str, list[Call]] = {}
    # Those to the other numbers of the same telephone, too.
    for call in calls_to(db, all_forms(phones), exchange, now - WEEK):
        calls.setdefault(telephone(call.phone), []).append(call)
    again = {phone: _allowed(campaign, calls.get(telephone(phone), ()), now) for phone in phones}
    return {phone: at for phone, at in again.items() if at is not None}


def queued_numbers(db: Connection, phones: Sequence[str]) -> set[str]:
    """Those of the numbers whose telephone has an attempt queued, and may be dialed at any moment."""
    found: set[str] = set()
    numbers = all_forms(phones)
    for first in range(0, len(numbers), _PIECE):
        queued = (
            select(recipients.c.phone)
            .select_from(recipients.join(attempts, attempts.c.recipient_id == recipients.c.id))
            .where(recipients.c.phone.in_(numbers[first : first + _PIECE]))
            .where(recipients.c.state == RecipientState.IN_PROGRESS)
            .where(attempts.c.state == literal_column("'queued'"))
        )
        found.update(map(telephone, db.execute(queued).scalars()))
    return {phone for phone in phones if telephone(phone) in found}


def _allowed(campaign: Campaign, calls: Sequence[Call], now: datetime) -> datetime | None:
    def after(these: Sequence[Call]) -> datetime | None:
        # What a clock has written that was ahead cannot be later than now.
        dialed = [min(call.dialed_at, now) for call in these]
        return next_allowed(dialed, now, per_day=campaign.calls_per_day, per_week=campaign.calls_per_week)

    at = after(calls)
    if at is None or after([call for call in calls if not (call.dialing or call.in_doubt)]) is not None:
        return at
    return now + (SOON if any(call.dialing for call in calls) else _SEARCHED_MEANWHILE)


def one_at_a_time(ledger: Ledger, db: Connection, phone: str) -> None:
    """Until the end of the transaction nobody else decides whether this number may be dialed.

    Two campaigns would not see each other's call, and both would find it allowed. In SQLite a transaction
    that writes is alone anyway.
    """
    if not ledger.is_sqlite:
        lock = text("SELECT pg_advisory_xact_lock(:errand, hashtext(:phone))")
        db.execute(lock, {"errand": Errand.NUMBER, "phone": telephone(phone)})


def not_limited(db: Connection, run_ids: Sequence[int], now: datetime) -> None:
    """Whoever waits for the limits in these runs is due now: the limits have changed, and are asked again."""
    waits = (recipients.c.run_id.in_(run_ids), recipients.c.state == literal_column("'waiting'"))
    mine = select(recipients.c.id).where(*waits, recipients.c.waits_for == LIMIT)
    ids = mine.order_by(recipients.c.id).with_for_update(key_share=True)
    db.execute(update(recipients).where(recipients.c.id.in_(ids)).values(due_at=now, waits_for=None))
