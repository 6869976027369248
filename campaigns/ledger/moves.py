"""The life of an attempt. Every move names the state that it expects and moves nothing else.

A move that finds no row tells a stale delivery: a task that Redis delivered twice, a worker that was
paused while its claim was given to another. It stops there. docs/life-of-a-call.md draws the states.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, literal_column, select, update

from campaigns.attempt import AttemptState, Outcome, RecipientState, RunState
from campaigns.campaign import Campaign, ConnectOptions
from campaigns.ledger.engine import Ledger
from campaigns.ledger.tables import attempts, campaigns, recipients, runs, suppressions


@dataclass(frozen=True, slots=True)
class Order:
    """One attempt that is now `dialing`: all that placing the call needs."""

    attempt_id: int
    run_id: int
    fence: int
    client_token: str
    phone: str
    attributes: dict[str, str]
    connect: ConnectOptions


@dataclass(frozen=True, slots=True)
class NotNow:
    """The attempt may not be dialed, and nothing was charged for it."""

    reason: str


@dataclass(frozen=True, slots=True)
class Placed:
    """A placed call whose outcome is to be looked up."""

    attempt_id: int
    number: int
    contact_id: str
    instance_id: str
    placed_at: datetime
    follows: int
    campaign: Campaign


def mark_dialing(
    ledger: Ledger, attempt_id: int, fence: int, *, exchange: str, now: datetime, lease: timedelta
) -> Order | NotNow:
    """queued → dialing, durably, before the request leaves.

    Asks again, in the same transaction, for everything that may have changed since the attempt was claimed.
    """
    with ledger.write() as db:
        row = _locked(db, attempt_id, fence, AttemptState.QUEUED)
        if row is None:
            return NotNow("stale: the claim was used or taken back")
        if row.run_state != RunState.RUNNING:
            _return(db, row, "the campaign is " + row.run_state, due_at=now)
            return NotNow(f"the campaign is {row.run_state}")
        if row.exchange != exchange:
            _return(db, row, f"it belongs to {row.exchange}", due_at=now)
            return NotNow(f"it belongs to {row.exchange}, and this worker dials through {exchange}")
        if row.suppressed:
            _return(db, row, "suppressed", due_at=now, becomes=RecipientState.SUPPRESSED)
            return NotNow("the number is suppressed")
        db.execute(
            update(attempts)
            .where(attempts.c.id == attempt_id)
            .values(state=AttemptState.DIALING, dialing_at=now, lease_until=now + lease, reason=None)
        )
        return Order(
            attempt_id=attempt_id,
            run_id=row.run_id,
            fence=fence,
            client_token=row.client_token,
            phone=row.phone,
            attributes=row.attributes,
            connect=_campaign(ledger, db, row.campaign_id, row.version).connect,
        )


def mark_placed(
    ledger: Ledger, attempt_id: int, fence: int, contact_id: str, *, now: datetime, follow_at: datetime | None
) -> bool:
    """dialing → placed, with Connect's contact_id. Returns False for a claim that is not there any more.

    An answer that comes after rescue gave the attempt up is evidence, and settles unknown → placed. Without
    `follow_at` nobody will ask for the outcome, and the recipient is done.
    """
    values = {
        "state": AttemptState.PLACED,
        "contact_id": contact_id,
        "placed_at": now,
        "follow_at": follow_at,
        "reason": None,
    }
    becomes = RecipientState.DONE if follow_at is None else RecipientState.IN_PROGRESS
    this = (attempts.c.id == attempt_id, attempts.c.fence == fence)
    with ledger.write() as db:
        was_dialing = update(attempts).where(*this, attempts.c.state == AttemptState.DIALING).values(values)
        row = db.execute(was_dialing.returning(attempts.c.recipient_id, attempts.c.number)).one_or_none()
        if row is not None:
            if follow_at is None:
                _move_recipient(db, row, _ON_THIS_ATTEMPT, becomes)
            return True
    return _mark_placed_late(ledger, attempt_id, fence, values, becomes)


def _mark_placed_late(
    ledger: Ledger, attempt_id: int, fence: int, values: dict[str, Any], becomes: RecipientState
) -> bool:
    with ledger.write() as db:
        _hold_run(db, attempt_id)
        row = _locked(db, attempt_id, fence, AttemptState.UNKNOWN, AttemptState.PLACED)
        if row is None:
            return False
        if row.state == AttemptState.PLACED:
            # A second try of a move whose first had been committed, though its answer was lost.
            return bool(row.contact_id == values["contact_id"])
        db.execute(update(attempts).where(attempts.c.id == attempt_id).values(values))
        _move_recipient(db, row, _ON_THIS_ATTEMPT, becomes)
        if becomes == RecipientState.IN_PROGRESS:
            _go_on(db, row)
        return True


def give_back(ledger: Ledger, attempt_id: int, fence: int, reason: str, *, due_at: datetime) -> bool:
    """queued → returned: it was not dialed, nothing is charged, and it is due again at `due_at`.

    Never from `dialing`: the same task may have been delivered twice, and the other copy be on the phone.
    """
    with ledger.write() as db:
        _hold_run(db, attempt_id)
        row = _locked(db, attempt_id, fence, AttemptState.QUEUED)
        if row is None:
            return False
        _return(db, row, reason, due_at=due_at)
        return True


def mark_returned(ledger: Ledger, attempt_id: int, fence: int, reason: str, *, due_at: datetime) -> bool:
    """dialing → returned: its answer says that it did not ring; nothing is charged, and it is due again.

    An answer that comes after rescue gave the attempt up is evidence too, and settles unknown → returned,
    unless its recipient has gone on to another attempt meanwhile.
    """
    with ledger.write() as db:
        _hold_run(db, attempt_id)
        row = _locked(db, attempt_id, fence, AttemptState.DIALING, AttemptState.UNKNOWN)
        if row is None or not _still_on(db, row):
            return False
        _return(db, row, reason, due_at=due_at)
        _go_on(db, row)
        return True


def mark_refused(ledger: Ledger, attempt_id: int, fence: int, reason: str, *, now: datetime) -> bool:
    """dialing → refused: Connect will not place this call; it never rang, and the recipient is done.

    A late answer settles unknown → refused.
    """
    with ledger.write() as db:
        row = _locked(db, attempt_id, fence, AttemptState.DIALING, AttemptState.UNKNOWN)
        if row is None:
            return False
        db.execute(
            update(attempts)
            .where(attempts.c.id == attempt_id)
            .values(state=AttemptState.REFUSED, reason=reason, ended_at=now)
        )
        _move_recipient(db, row, _ON_THIS_ATTEMPT, RecipientState.DONE)
        return True


def mark_unknown(ledger: Ledger, attempt_id: int, fence: int, reason: str) -> bool:
    """dialing → unknown: it may have rung. Never due again by itself."""
    with ledger.write() as db:
        row = _locked(db, attempt_id, fence, AttemptState.DIALING)
        if row is None:
            return False
        db.execute(
            update(attempts)
            .where(attempts.c.id == attempt_id)
            .values(state=AttemptState.UNKNOWN, reason=reason)
        )
        _move_recipient(db, row, _ON_THIS_ATTEMPT, RecipientState.HELD)
        return True


def mark_ended(
    ledger: Ledger, attempt_id: int, outcome: Outcome, *, ended_at: datetime, redial_at: datetime | None
) -> bool:
    """placed → ended. The recipient is due again at `redial_at`, or done."""
    with ledger.write() as db:
        run_state = _hold_run(db, attempt_id)
        row = db.execute(
            update(attempts)
            .where(attempts.c.id == attempt_id, attempts.c.state == AttemptState.PLACED)
            .values(state=AttemptState.ENDED, outcome=outcome, ended_at=ended_at, follow_at=None)
            .returning(attempts.c.recipient_id, attempts.c.number, attempts.c.run_id)
        ).one_or_none()
        if row is None:
            return False
        values: dict[str, Any] = {"state": RecipientState.DONE}
        if redial_at is not None and run_state != RunState.CANCELLED:
            values = {"state": RecipientState.WAITING, "due_at": redial_at}
            _go_on(db, row)
        db.execute(
            update(recipients)
            .where(recipients.c.id == row.recipient_id, recipients.c.attempts == row.number)
            .where(recipients.c.state == RecipientState.IN_PROGRESS)
            .values(values)
        )
        return True


def take_due_follows(
    ledger: Ledger, *, exchange: str, limit: int, now: datetime, until: datetime
) -> list[Placed]:
    """The placed calls of an exchange whose outcome is due to be looked up, taken until `until`.

    What one exchange has placed the other knows nothing of, and would have to call lost. Nobody else is
    handed them before then; if this process dies they are simply due again.
    """
    with ledger.write() as db:
        due = (
            select(attempts.c.id)
            .where(attempts.c.state == literal_column("'placed'"), attempts.c.follow_at <= now)
            # The + 0 keeps SQLite to the partial index: by run it would sort all that was ever placed.
            .where((attempts.c.run_id + 0).in_(select(runs.c.id).where(runs.c.exchange == exchange)))
            .order_by(attempts.c.follow_at)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        ids = list(db.execute(due).scalars())
        if not ids:
            return []
        db.execute(
            update(attempts)
            .where(attempts.c.id.in_(ids))
            .values(follow_at=until, follows=attempts.c.follows + 1)
        )
        rows = db.execute(
            select(
                attempts.c.id,
                attempts.c.number,
                attempts.c.contact_id,
                attempts.c.placed_at,
                attempts.c.follows,
                runs.c.campaign_id,
                campaigns.c.version,
            )
            .select_from(attempts.join(runs, runs.c.id == attempts.c.run_id).join(campaigns))
            .where(attempts.c.id.in_(ids))
        ).all()
        return [
            Placed(
                attempt_id=row.id,
                number=row.number,
                contact_id=row.contact_id,
                instance_id=campaign.connect.instance_id,
                placed_at=row.placed_at,
                follows=row.follows,
                campaign=campaign,
            )
            for row in rows
            for campaign in [_campaign(ledger, db, row.campaign_id, row.version)]
        ]


def follow_later(ledger: Ledger, attempt_id: int, follow_at: datetime) -> None:
    """Look at a placed call again at `follow_at`."""
    with ledger.write() as db:
        db.execute(
            update(attempts)
            .where(attempts.c.id == attempt_id, attempts.c.state == AttemptState.PLACED)
            .values(follow_at=follow_at)
        )


_ON_THIS_ATTEMPT = (RecipientState.IN_PROGRESS, RecipientState.HELD)
"""Where a recipient is while the latest attempt is under way, or unknown."""

_ATTEMPT = select(
    attempts.c.id,
    attempts.c.run_id,
    attempts.c.recipient_id,
    attempts.c.number,
    attempts.c.client_token,
    attempts.c.state,
    attempts.c.contact_id,
    recipients.c.phone,
    recipients.c.attributes,
    runs.c.state.label("run_state"),
    runs.c.exchange,
    runs.c.campaign_id,
    campaigns.c.version,
    select(literal_column("1"))
    .where(suppressions.c.phone == recipients.c.phone)
    .exists()
    .label("suppressed"),
).select_from(
    attempts.join(recipients, recipients.c.id == attempts.c.recipient_id)
    .join(runs, runs.c.id == attempts.c.run_id)
    .join(campaigns, campaigns.c.id == runs.c.campaign_id)
)


def _return(
    db: Connection, row: Any, reason: str, *, due_at: datetime, becomes: RecipientState | None = None
) -> None:
    db.execute(
        update(attempts)
        .where(attempts.c.id == row.id)
        .values(state=AttemptState.RETURNED, reason=reason, dialing_at=None)
    )
    if becomes is None:
        cancelled = row.run_state == RunState.CANCELLED
        becomes = RecipientState.CANCELLED if cancelled else RecipientState.WAITING
    db.execute(
        update(recipients)
        .where(recipients.c.id == row.recipient_id, recipients.c.attempts == row.number)
        .where(recipients.c.state.in_(_ON_THIS_ATTEMPT))
        .values(state=becomes, due_at=due_at)
    )


def _locked(db: Connection, attempt_id: int, fence: int, *states: AttemptState) -> Any:
    """The attempt, if it is in one of these states under this fence; nobody else moves it meanwhile."""
    expected = _ATTEMPT.where(
        attempts.c.id == attempt_id, attempts.c.fence == fence, attempts.c.state.in_(states)
    )
    return db.execute(expected.with_for_update(of=attempts)).one_or_none()


def _still_on(db: Connection, row: Any) -> bool:
    """Whether the attempt is its recipient's latest."""
    number = select(recipients.c.attempts).where(recipients.c.id == row.recipient_id)
    return bool(db.execute(number).scalar_one() == row.number)


def _go_on(db: Connection, row: Any) -> None:
    """A run that had finished has somebody to dial, or to follow, again."""
    db.execute(
        update(runs)
        .where(runs.c.id == row.run_id, runs.c.state == RunState.FINISHED)
        .values(state=RunState.RUNNING, finished_at=None)
    )


def _move_recipient(
    db: Connection, row: Any, states: tuple[RecipientState, ...], becomes: RecipientState
) -> None:
    # The number keeps a late answer to an old attempt away from a recipient who is on a newer one.
    db.execute(
        update(recipients)
        .where(recipients.c.id == row.recipient_id, recipients.c.attempts == row.number)
        .where(recipients.c.state.in_(states))
        .values(state=becomes)
    )


def _hold_run(db: Connection, attempt_id: int) -> str | None:
    """The state of an attempt's run, which stays as it is until the end of the transaction.

    Otherwise somebody could be made to wait in a run while it is being cancelled, and would wait for ever.
    """
    # Before anything else is locked: cancelling too goes from the run to its attempts and recipients.
    # Not shared: `_go_on` may write the run, and two holders of a shared lock would wait for each other.
    of_attempt = select(runs.c.state).join(attempts).where(attempts.c.id == attempt_id)
    return db.execute(of_attempt.with_for_update(key_share=True, of=runs)).scalar()


def _campaign(ledger: Ledger, db: Connection, campaign_id: int, version: int) -> Campaign:
    """A campaign's choices, read once for each of its versions."""
    known = ledger.campaigns.get((campaign_id, version))
    if known is None:
        choices = db.execute(select(campaigns.c.choices).where(campaigns.c.id == campaign_id)).scalar_one()
        known = ledger.campaigns[campaign_id, version] = Campaign.model_validate(choices)
    return known
