"""Where an attempt stands, held still for a move; and how its recipient and its run go along."""

from datetime import datetime
from functools import cache
from typing import Any

from sqlalchemy import Connection, bindparam, delete, func, literal_column, or_, select, update

from campaigns.attempt import AttemptState, Outcome, RecipientState, RunState
from campaigns.campaign import RedialOptions
from campaigns.ledger import identity
from campaigns.ledger.brakes import braking, in_outage
from campaigns.ledger.suppressions import WAITS_UNLESS_DROPPED, suppressed
from campaigns.ledger.tables import CHOICES_VERSION, VERSION_NUM, attempts, campaigns, recipients, runs

ON_THIS_ATTEMPT = (RecipientState.IN_PROGRESS, RecipientState.HELD)
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
    recipients.c.zones,
    recipients.c.expires_at,
    runs.c.state.label("run_state"),
    runs.c.exchange,
    runs.c.campaign_id,
    CHOICES_VERSION,
    # With the rest, because each call asks for it: a process must not dial by rules that have changed.
    select(VERSION_NUM).scalar_subquery().label("version_num"),
    identity.epoch.label("epoch"),
    identity.stopped_at.label("stopped_at"),
    suppressed(recipients.c.phone, runs.c.campaign_id).label("suppressed"),
    braking.label("braking"),
).select_from(
    attempts.join(recipients, recipients.c.id == attempts.c.recipient_id)
    .join(runs, runs.c.id == attempts.c.run_id)
    .join(campaigns, campaigns.c.id == runs.c.campaign_id)
)


_other = attempts.alias("other")
_never_found = (
    select(func.count())
    .where(_other.c.recipient_id == attempts.c.recipient_id, _other.c.id != attempts.c.id)
    .where(_other.c.state == literal_column("'unknown'"), _other.c.requeued_at.is_(None))
)
never_found_in_outages = _never_found.where(in_outage(_other)).scalar_subquery()
"""Those of them that were in doubt while Connect answered with errors."""
never_found = _never_found.scalar_subquery()
"""How many other attempts for the same recipient were searched for in vain: they count as never placed."""


def put_back(
    db: Connection,
    row: Any,
    reason: str,
    *,
    due_at: datetime,
    becomes: RecipientState | None = None,
    waits_for: str | None = None,
) -> None:
    """→ returned, and the recipient waits again, unless the run is cancelled or the recipient taken out."""
    db.execute(
        update(attempts)
        .where(attempts.c.id == row.id)
        .values(
            state=AttemptState.RETURNED,
            reason=reason,
            dialing_at=None,
            unknown_at=None,
            settle_at=None,
            evidence=None,
            requeued_at=None,
        )
    )
    stands: Any = becomes
    if becomes is None:
        cancelled = row.run_state == RunState.CANCELLED
        stands = RecipientState.CANCELLED if cancelled else WAITS_UNLESS_DROPPED
    db.execute(
        update(recipients)
        .where(recipients.c.id == row.recipient_id, recipients.c.attempts == row.number)
        .where(recipients.c.state.in_(ON_THIS_ATTEMPT))
        .values(state=stands, due_at=due_at, waits_for=waits_for)
    )


def locked(db: Connection, attempt_id: int, fence: int, *states: AttemptState) -> Any:
    """The attempt, if it is in one of these states under this fence; nobody else moves it meanwhile."""
    return db.execute(_expected(states), {"this": attempt_id, "claim": fence}).one_or_none()


@cache  # making the statement takes longer than its answer
def _expected(states: tuple[AttemptState, ...]) -> Any:
    this = (attempts.c.id == bindparam("this"), attempts.c.fence == bindparam("claim"))
    in_state = or_(*(attempts.c.state == state for state in states))
    return _ATTEMPT.where(*this, in_state).with_for_update(of=attempts)


def still_on(db: Connection, row: Any) -> bool:
    """Whether the attempt is its recipient's latest."""
    number = select(recipients.c.attempts).where(recipients.c.id == row.recipient_id)
    return bool(db.execute(number).scalar_one() == row.number)


def go_on(db: Connection, row: Any) -> None:
    """A run that had finished has somebody to dial, or to follow, again."""
    db.execute(
        update(runs)
        .where(runs.c.id == row.run_id, runs.c.state == RunState.FINISHED)
        .values(state=RunState.RUNNING, finished_at=None)
    )


def move_recipient(
    db: Connection, row: Any, states: tuple[RecipientState, ...], becomes: RecipientState
) -> None:
    """The recipient goes along, if this is still the latest attempt."""
    # The number keeps a late answer to an old attempt away from a recipient who is on a newer one.
    db.execute(
        update(recipients)
        .where(recipients.c.id == row.recipient_id, recipients.c.attempts == row.number)
        .where(recipients.c.state.in_(states))
        .values(state=becomes)
    )


def called_after_all(db: Connection, row: Any, becomes: RecipientState) -> None:
    """The recipient of a call that was placed, though it had passed for never placed.

    Nobody dials them once more for it: who waits for the next attempt does so no longer, and a next attempt
    that has not been dialed is withdrawn, also one that an operator has asked for, not knowing of the call.
    One that is `dialing` cannot be called back.
    """
    undialed = attempts.c.state.in_((AttemptState.QUEUED, AttemptState.RETURNED))
    withdrawn = db.execute(
        delete(attempts).where(
            attempts.c.recipient_id == row.recipient_id, attempts.c.number == row.number + 1, undialed
        )
    ).rowcount
    if withdrawn:
        db.execute(
            update(recipients)
            .where(recipients.c.id == row.recipient_id, recipients.c.attempts == row.number + 1)
            .values(attempts=row.number)
        )
    if still_on(db, row):
        # What was asked for does not come, and is no part of the story any more.
        this = (attempts.c.recipient_id == row.recipient_id, attempts.c.number == row.number)
        db.execute(update(attempts).where(*this).values(requeued_at=None))
    move_recipient(db, row, (*ON_THIS_ATTEMPT, RecipientState.WAITING), becomes)


def hold_run(db: Connection, attempt_id: int) -> str | None:
    """The state of an attempt's run, which stays as it is until the end of the transaction.

    Otherwise somebody could be made to wait in a run while it is being cancelled, and would wait for ever.
    """
    # Before anything else is locked: cancelling too goes from the run to its attempts and recipients.
    # Not shared: `go_on` may write the run, and two holders of a shared lock would wait for each other.
    of_attempt = select(runs.c.state).join(attempts).where(attempts.c.id == attempt_id)
    return db.execute(of_attempt.with_for_update(key_share=True, of=runs)).scalar()


FOR_GOOD = (Outcome.HUMAN_ANSWERED, Outcome.ANSWERED, Outcome.FAX, Outcome.INVALID_NUMBER)
"""Whoever has one of these has been reached, or never can be: no later attempt is wanted."""


def leave_in_peace(db: Connection, recipient_id: int, rules: RedialOptions) -> None:
    """Somebody who was reached by an earlier attempt, of which the word came late, waits for no other.

    To be asked whenever a later attempt leaves them waiting. An operator who has asked for another since the
    earlier one is obeyed.
    """
    mine = attempts.c.recipient_id == recipient_id
    for_good = [outcome for outcome in FOR_GOOD if outcome not in rules.after]
    reached = db.execute(
        select(func.min(attempts.c.number)).where(mine, attempts.c.outcome.in_(for_good))
    ).scalar()
    if reached is None:
        return
    asked = select(attempts.c.id).where(mine, attempts.c.number >= reached)
    if db.execute(asked.where(attempts.c.requeued_at.is_not(None)).limit(1)).first() is None:
        _withdraw_after(db, recipient_id, reached, RecipientState.DONE)


def nobody_waits_for_more(db: Connection, row: Any, becomes: RecipientState) -> None:
    """The recipient of an attempt that has turned out to be the last one that is wanted.

    Whatever later attempt has not been dialed is withdrawn, and who waits for another does so no longer. One
    that is on its way cannot be called back.
    """
    _withdraw_after(db, row.recipient_id, row.number, becomes)
    # What was asked for does not come, and is no part of the story any more.
    mine = attempts.c.recipient_id == row.recipient_id
    latest = select(recipients.c.attempts).where(recipients.c.id == row.recipient_id).scalar_subquery()
    db.execute(update(attempts).where(mine, attempts.c.number == latest).values(requeued_at=None))


def _withdraw_after(db: Connection, recipient_id: int, number: int, becomes: RecipientState) -> None:
    mine = attempts.c.recipient_id == recipient_id
    undialed = attempts.c.state.in_((AttemptState.QUEUED, AttemptState.RETURNED))
    withdrawn = db.execute(delete(attempts).where(mine, attempts.c.number > number, undialed)).rowcount
    person = update(recipients).where(recipients.c.id == recipient_id)
    if withdrawn:
        # Only the latest can be undialed.
        db.execute(person.values(attempts=recipients.c.attempts - withdrawn))
        in_progress = person.where(recipients.c.state == RecipientState.IN_PROGRESS)
        db.execute(in_progress.values(state=becomes))
    db.execute(person.where(recipients.c.state == RecipientState.WAITING).values(state=becomes))
