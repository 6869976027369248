"""Numbers are taken off the suppression list, and whoever was suppressed for them alone waits again.

What the list says of them is in its history for ever.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, and_, delete, func, insert, or_, select, update

from campaigns.attempt import AttemptState, RecipientState, RunState
from campaigns.campaign import RedialOptions
from campaigns.ledger.engine import Errand, Ledger
from campaigns.ledger.outcomes import rings_of
from campaigns.ledger.standing import leave_in_peace
from campaigns.ledger.stored_choices import redial_of
from campaigns.ledger.suppressions import NOT_FOR_THE_LIMIT, hold_runs_with, suppressed
from campaigns.ledger.tables import (
    CHOICES_VERSION,
    EVERY_CAMPAIGN,
    attempts,
    campaigns,
    recipients,
    runs,
    suppression_history,
    suppressions,
)
from campaigns.redial import RedialAt
from campaigns.same_telephone import all_forms, forms
from campaigns.stored import Unreadable


@dataclass(frozen=True, slots=True)
class Removed:
    """What came of taking numbers off the list."""

    phones: tuple[str, ...]
    """Those that were on it."""
    waiting: int
    """The recipients who wait for a call again."""
    barred: tuple[str, ...]
    """Those of `phones` that some campaign may still not call, because another entry says so."""
    finished: tuple[tuple[str, int], ...] = ()
    """Campaigns that are finished, and how many stay suppressed in each though their numbers are not."""


def remove_numbers(
    ledger: Ledger,
    phones: Sequence[str],
    *,
    campaign_id: int,
    reason: str,
    now: datetime,
    source: str | None = None,
) -> Removed:
    """Take telephones (E.164) off the list of a campaign, or of EVERY_CAMPAIGN. Others are not touched.

    Any of a telephone's numbers stands for all of them (campaigns/same_telephone.py). With `source`, only
    what has been put on the list by that source is taken off.

    Who was suppressed waits again, where the run is not over and no other entry keeps them from it: with the
    attempt that came back, or with the next one, if the rules want one after what has happened since. In a
    finished run they wait again only when an operator asks for them (requeues.py).
    """
    with ledger.write() as db:
        ledger.in_turn(db, Errand.LOAD)
        # In any campaign's: who is suppressed in one of them may wait again.
        hold_runs_with(ledger, db, all_forms(phones), EVERY_CAMPAIGN)
        taken: set[str] = set()
        off = []
        waiting = 0
        for phone in sorted(set(phones)):
            if phone in taken:  # by another of its numbers
                off.append(phone)
                continue
            numbers = sorted(forms(phone))
            these = [suppressions.c.phone.in_(numbers), suppressions.c.campaign_id == campaign_id]
            if source is not None:
                these.append(suppressions.c.source == source)
            gone = db.execute(delete(suppressions).where(*these).returning(suppressions.c.phone))
            if not (removed := sorted(gone.scalars())):
                continue
            told = {"campaign_id": campaign_id, "what": "removed", "reason": reason, "at": now}
            db.execute(insert(suppression_history), [{"phone": each, **told} for each in removed])
            off.append(phone)
            taken.update(numbers)
            # Where everybody has been called, nobody is called out of the blue: an operator asks for them.
            goes_on = runs.c.state.not_in((RunState.FINISHED, RunState.CANCELLED))
            waiting += readmit(ledger, db, now, recipients.c.phone.in_(numbers), goes_on)
        others = select(suppressions.c.phone).where(suppressions.c.phone.in_(sorted(taken))).distinct()
        still = set(db.execute(others).scalars())
        barred = tuple(phone for phone in off if not still.isdisjoint(forms(phone)))
        finished = _in_finished_runs(db, sorted(taken), now)
    return Removed(tuple(off), waiting, barred, finished)


def in_time(now: datetime) -> ColumnElement[bool]:
    """The condition that somebody's time to be called has not passed."""
    return or_(recipients.c.expires_at.is_(None), recipients.c.expires_at > now)


def readmit(ledger: Ledger, db: Connection, now: datetime, *these: ColumnElement[bool]) -> int:
    """suppressed → where each of these would stand otherwise, if no entry bars them any more.

    Their runs are held by whoever asks. Returns how many wait for a call again.
    """
    latest = and_(attempts.c.recipient_id == recipients.c.id, attempts.c.number == recipients.c.attempts)
    people = db.execute(
        select(
            recipients.c.id,
            recipients.c.due_at,
            recipients.c.expires_at,
            attempts.c.state,
            attempts.c.number,
            attempts.c.ended_at,
            attempts.c.settle_at,
            attempts.c.follow_at,
            attempts.c.requeued_at,
            runs.c.campaign_id,
            CHOICES_VERSION,
        )
        .select_from(
            recipients.join(runs, runs.c.id == recipients.c.run_id)
            .join(campaigns, campaigns.c.id == runs.c.campaign_id)
            .outerjoin(attempts, latest)
        )
        .where(*these, recipients.c.state == RecipientState.SUPPRESSED)
        .where(~suppressed(recipients.c.phone, runs.c.campaign_id))
        .order_by(recipients.c.id)
        .with_for_update(of=recipients)
    ).all()
    waiting = 0
    for person in people:
        try:
            rules = redial_of(ledger, db, person.campaign_id, person.version)
            becomes, due_at = _stands(db, person, rules)
        except Unreadable:
            # What follows their last call is not known: an operator has to say.
            rules, becomes, due_at = RedialOptions(), RecipientState.HELD, person.due_at
            if person.state != AttemptState.ENDED:
                becomes, due_at = _stands(db, person, rules)
        if becomes == RecipientState.WAITING and person.expires_at is not None and person.expires_at <= now:
            becomes = RecipientState.EXPIRED
        this = recipients.c.id == person.id
        to_where = {"state": becomes, "due_at": due_at, "waits_for": NOT_FOR_THE_LIMIT}
        db.execute(update(recipients).where(this).values(to_where))
        if becomes == RecipientState.WAITING:
            leave_in_peace(db, person.id, rules)
            state = db.execute(select(recipients.c.state).where(this)).scalar_one()
            waiting += state == RecipientState.WAITING
    return waiting


def _in_finished_runs(db: Connection, phones: list[str], now: datetime) -> tuple[tuple[str, int], ...]:
    """For whom an operator may ask, by campaign: in earlier runs of a schedule nobody is asked for."""
    newest = select(func.max(runs.c.number)).where(runs.c.campaign_id == campaigns.c.id).correlate(campaigns)
    query = (
        select(campaigns.c.name, func.count())
        .select_from(
            recipients.join(runs, runs.c.id == recipients.c.run_id).join(
                campaigns, campaigns.c.id == runs.c.campaign_id
            )
        )
        .where(recipients.c.phone.in_(phones), recipients.c.state == RecipientState.SUPPRESSED, in_time(now))
        .where(runs.c.state == RunState.FINISHED, runs.c.number == newest.scalar_subquery())
        .where(~suppressed(recipients.c.phone, runs.c.campaign_id))
        .group_by(campaigns.c.name)
        .order_by(campaigns.c.name)
    )
    return tuple((name, count) for name, count in db.execute(query))


def _stands(db: Connection, person: Any, rules: Any) -> tuple[RecipientState, datetime]:
    """Where somebody stands by their latest attempt, and when they are due if they wait.

    Not simply where they were: a call of which nobody could tell may have turned out to be placed since.
    """
    waits, over = (RecipientState.WAITING, person.due_at), (RecipientState.DONE, person.due_at)
    if person.state is None or person.state == AttemptState.RETURNED:
        return waits
    if person.state in (AttemptState.QUEUED, AttemptState.DIALING):
        return RecipientState.IN_PROGRESS, person.due_at
    followed = person.state == AttemptState.PLACED and person.follow_at is not None
    if followed or (person.state == AttemptState.UNKNOWN and person.settle_at is not None):
        return RecipientState.IN_PROGRESS, person.due_at
    # An operator has asked for the next one; or the search for this one has shown that it was never placed.
    if person.requeued_at is not None or person.state == AttemptState.UNKNOWN:
        return waits
    if person.state != AttemptState.ENDED:
        return over
    step = rules.next_step([ring for _, ring in rings_of(db, [person.id])[person.id]], person.ended_at)
    return (RecipientState.WAITING, step.due_at) if isinstance(step, RedialAt) else over
