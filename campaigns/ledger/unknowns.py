"""Attempts of which nobody can tell whether they rang: taken for a search, and settled by what it shows."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, literal_column, select, update

from campaigns.attempt import AttemptState, RecipientState, RunState
from campaigns.campaign import Campaign
from campaigns.ledger.brakes import in_outage
from campaigns.ledger.engine import Errand, Ledger
from campaigns.ledger.sendings import sendings
from campaigns.ledger.standing import (
    ON_THIS_ATTEMPT,
    called_after_all,
    go_on,
    hold_run,
    leave_in_peace,
    locked,
    move_recipient,
    never_found,
    never_found_in_outages,
    still_on,
)
from campaigns.ledger.stored_choices import (
    campaign_of,
    connect_of,
    instance_of,
    left_out,
    of_others,
    readable,
    redial_of,
)
from campaigns.ledger.suppressions import WAITS_UNLESS_DROPPED
from campaigns.ledger.tables import CHOICES_VERSION, attempts, campaigns, recipients, runs
from campaigns.stranger import Stranger, candidates

# As the partial index says it: SQLite sees that the index fits only where its own words are in the query.
_UNKNOWN = attempts.c.state == literal_column("'unknown'")


@dataclass(frozen=True, slots=True)
class Unknown:
    """An attempt that may have rung."""

    attempt_id: int
    run_id: int
    fence: int
    client_token: str
    phone: str
    dialing_at: datetime
    """The request left after this, if it left."""
    lease_until: datetime
    """And before this."""
    unknown_at: datetime
    not_found: int
    """How many earlier attempts for this recipient were searched for in vain, those in outages not."""
    in_outage: bool
    """Whether it was in doubt while Connect answered with errors (brakes.py)."""
    not_found_in_outages: int
    """How many earlier attempts were, and were searched for in vain."""
    campaign: Campaign
    taken_until: datetime
    """The lease of the search that has it. What that shows is written only while no other has taken it."""


def take_due_unknowns(
    ledger: Ledger, *, exchange: str, now: datetime, until: datetime, within: timedelta, limit: int
) -> list[Unknown]:
    """The unknown attempt whose search is most due, and its neighbours in time, which the same search shows.

    They are of one instance, and taken until then; if this process dies they are due again. Attempts that
    nobody searches for any more are not among them. `within`: how long before or after it its neighbours
    were dialed.
    """
    with ledger.read() as db:
        first = _most_due(ledger, db, exchange, now)
        if first is None:
            return []
        neighbours = _searched(exchange).where(
            of_others(left_out(ledger, db)),
            attempts.c.dialing_at.between(first.dialing_at - within, first.dialing_at + within),
        )
        rows = db.execute(neighbours.limit(limit)).all()
        instance = _campaign(ledger, db, first).connect.instance_id
        unknowns = [
            Unknown(
                attempt_id=row.id,
                run_id=row.run_id,
                fence=row.fence,
                client_token=row.client_token,
                phone=row.phone,
                dialing_at=row.dialing_at,
                lease_until=row.lease_until,
                unknown_at=row.unknown_at,
                not_found=row.not_found - row.in_outages,
                in_outage=bool(row.in_outage),
                not_found_in_outages=row.in_outages,
                campaign=campaign,
                taken_until=until,
            )
            for row in (first, *(row for row in rows if row.id != first.id))
            for campaign in [readable(ledger, db, row.campaign_id, row.version)]
            if campaign is not None and campaign.connect.instance_id == instance
        ]
    with ledger.write() as db:
        # In order, or two who take several would wait for each other.
        these = attempts.c.id.in_([unknown.attempt_id for unknown in unknowns])
        db.execute(select(attempts.c.id).where(these).order_by(attempts.c.id).with_for_update())
        take = update(attempts).where(_UNKNOWN).values(settle_at=until).returning(attempts.c.id)
        # Somebody else may have taken it since it was read; then the neighbours are theirs as well.
        if not db.execute(take.where(attempts.c.id == first.id, attempts.c.settle_at <= now)).all():
            return []
        others = [unknown.attempt_id for unknown in unknowns if unknown.attempt_id != first.id]
        # Not what has been settled meanwhile: nobody searches for that any more.
        found = db.execute(take.where(attempts.c.id.in_(others), attempts.c.settle_at.is_not(None)))
        taken = {first.id, *found.scalars()}
    return [unknown for unknown in unknowns if unknown.attempt_id in taken]


def anything_searched_for(ledger: Ledger, exchange: str) -> bool:
    """Whether any attempt of an exchange is still searched for."""
    with ledger.read() as db:
        return db.execute(_searched(exchange).limit(1)).first() is not None


def calls_known_between(
    ledger: Ledger, *, exchange: str, instance_id: str, since: datetime, until: datetime
) -> set[str]:
    """The contact_ids of the calls that were dialed then: a search that is worth believing shows them."""
    with ledger.read() as db:
        rows = db.execute(
            select(attempts.c.contact_id, runs.c.campaign_id, CHOICES_VERSION)
            .select_from(attempts.join(runs, runs.c.id == attempts.c.run_id).join(campaigns))
            .where(runs.c.exchange == exchange, attempts.c.contact_id.is_not(None))
            .where(attempts.c.dialing_at.between(since, until))
        ).all()
        return {
            row.contact_id
            for row in rows
            if instance_of(ledger, db, row.campaign_id, row.version) == instance_id
        }


def mark_found(
    ledger: Ledger,
    attempt_id: int,
    fence: int,
    call: Stranger,
    *,
    follow_at: datetime | None,
    evidence: str,
) -> bool:
    """unknown → placed: Connect lists its call. The outcome is asked for from `follow_at` on, if at all.

    Returns False, and moves nothing, when the call is another attempt's, or can be: only a call that fits
    this attempt alone, of all attempts to its number, is evidence.
    """
    becomes = RecipientState.DONE if follow_at is None else RecipientState.IN_PROGRESS
    with ledger.write() as db:
        # One after the other, or two searches could take one contact for the attempts of two campaigns.
        # Before any other lock: nothing that holds a run or an attempt waits for this one.
        ledger.in_turn(db, Errand.SETTLE)
        hold_run(db, attempt_id)
        row = locked(db, attempt_id, fence, AttemptState.UNKNOWN)
        if row is None:
            return False
        # In this order. What is being dialed, or in doubt, is seen by the first question; if its worker has
        # recorded a contact since, by the second. What begins to be dialed now cannot have made this call.
        fitting = candidates(
            call,
            sendings(
                ledger,
                db,
                exchange=row.exchange,
                instance_id=connect_of(ledger, db, row.campaign_id, row.version).instance_id,
                phones={row.phone},
                tokens=call.tokens,
            ),
        )
        if [each.attempt_id for each in fitting] != [attempt_id] or _has_an_attempt(db, call.contact_id):
            return False
        (mine,) = fitting
        db.execute(
            update(attempts)
            .where(attempts.c.id == row.id)
            .values(
                state=AttemptState.PLACED,
                contact_id=call.contact_id,
                # Connect's time is of AWS's clock; what is reckoned with here is of the ledger's.
                placed_at=min(max(call.initiated_at, mine.earliest), mine.latest),
                follow_at=follow_at,
                settle_at=None,
                evidence=evidence,
            )
        )
        called_after_all(db, row, becomes)
        if becomes == RecipientState.IN_PROGRESS and still_on(db, row):
            go_on(db, row)
        return True


def mark_not_found(
    ledger: Ledger,
    attempt_id: int,
    fence: int,
    *,
    redial: bool,
    now: datetime,
    evidence: str,
    taken_until: datetime | None = None,
    wait: timedelta = timedelta(0),
) -> bool:
    """The search is over and has shown nothing: the recipient is due again for a new attempt, or held.

    `wait`: how long after `now` the recipient is due.

    The attempt stays `unknown`: should its answer still come, it is recorded. It is no longer searched for.
    `taken_until`: the lease of the search; one that another search has taken over since decides nothing.
    """
    with ledger.write() as db:
        hold_run(db, attempt_id)
        row = locked(db, attempt_id, fence, AttemptState.UNKNOWN)
        if row is None or (taken_until is not None and not _still_taken(db, attempt_id, taken_until)):
            return False
        db.execute(update(attempts).where(attempts.c.id == row.id).values(settle_at=None, evidence=evidence))
        if not redial:
            move_recipient(db, row, ON_THIS_ATTEMPT, RecipientState.HELD)
            return True
        cancelled = row.run_state == RunState.CANCELLED
        db.execute(
            update(recipients)
            .where(recipients.c.id == row.recipient_id, recipients.c.attempts == row.number)
            .where(recipients.c.state.in_(ON_THIS_ATTEMPT))
            .values(state=RecipientState.CANCELLED if cancelled else WAITS_UNLESS_DROPPED, due_at=now + wait)
        )
        if still_on(db, row):
            go_on(db, row)
        rules = redial_of(ledger, db, row.campaign_id, row.version)
        leave_in_peace(db, row.recipient_id, rules)
        return True


def search_later(
    ledger: Ledger, unknowns: Iterable[tuple[Unknown, datetime | None]], *, hold: bool, evidence: str
) -> None:
    """Search for each again at its time, or never; until then its recipient is held, or still in progress.

    Not for what has been settled, or taken by another search, since this one took it.
    """
    # Each in a transaction of its own: two hundred in one would keep SQLite from the dialing for a second.
    for unknown, settle_at in unknowns:
        with ledger.write() as db:
            row = locked(db, unknown.attempt_id, unknown.fence, AttemptState.UNKNOWN)
            if row is None or not _still_taken(db, unknown.attempt_id, unknown.taken_until):
                continue
            db.execute(
                update(attempts).where(attempts.c.id == row.id).values(settle_at=settle_at, evidence=evidence)
            )
            if hold:
                move_recipient(db, row, ON_THIS_ATTEMPT, RecipientState.HELD)


def _still_taken(db: Connection, attempt_id: int, taken_until: datetime) -> bool:
    """Whether a search still has the attempt, which is locked. What is settled has no time at all."""
    query = select(attempts.c.settle_at).where(attempts.c.id == attempt_id)
    return bool(db.execute(query).scalar_one() == taken_until)


def _most_due(ledger: Ledger, db: Connection, exchange: str, now: datetime) -> Any:
    """The attempt whose search is most due, of the campaigns whose choices can be read."""
    while True:
        mine = _searched(exchange).where(attempts.c.settle_at <= now)
        if others := left_out(ledger, db):
            mine = mine.where(of_others(others))
        first = db.execute(mine.limit(1)).one_or_none()
        # One that cannot be read is left out in the next round.
        if first is None or readable(ledger, db, first.campaign_id, first.version) is not None:
            return first


def _searched(exchange: str) -> Any:
    return (
        select(
            attempts.c.id,
            attempts.c.run_id,
            attempts.c.fence,
            attempts.c.client_token,
            attempts.c.dialing_at,
            attempts.c.lease_until,
            attempts.c.unknown_at,
            recipients.c.phone,
            runs.c.campaign_id,
            CHOICES_VERSION,
            never_found.label("not_found"),
            never_found_in_outages.label("in_outages"),
            in_outage(attempts).label("in_outage"),
        )
        .select_from(
            attempts.join(recipients, recipients.c.id == attempts.c.recipient_id)
            .join(runs, runs.c.id == attempts.c.run_id)
            .join(campaigns, campaigns.c.id == runs.c.campaign_id)
        )
        .where(_UNKNOWN, attempts.c.settle_at.is_not(None), runs.c.exchange == exchange)
        .order_by(attempts.c.settle_at, attempts.c.id)
    )


def _has_an_attempt(db: Connection, contact_id: str) -> bool:
    return db.execute(select(attempts.c.id).where(attempts.c.contact_id == contact_id)).first() is not None


def _campaign(ledger: Ledger, db: Connection, row: Any) -> Campaign:
    return campaign_of(ledger, db, row.campaign_id, row.version)
