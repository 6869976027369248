"""From `placed` to `ended`: calls are taken for a look at what became of them, and end with an outcome."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, func, literal_column, or_, select, update

from campaigns.attempt import AttemptState, Outcome, RecipientState, RunState
from campaigns.campaign import Campaign, RedialOptions
from campaigns.ledger.engine import Ledger
from campaigns.ledger.standing import (
    FOR_GOOD,
    called_after_all,
    go_on,
    hold_run,
    leave_in_peace,
    nobody_waits_for_more,
    still_on,
)
from campaigns.ledger.stored_choices import campaign_of, left_out, of_others, readable, redial_of
from campaigns.ledger.suppressions import WAITS_IF_ALLOWED, Number, put_one, withdraw
from campaigns.ledger.tables import CHOICES_VERSION, EVERY_CAMPAIGN, attempts, campaigns, recipients, runs
from campaigns.redial import Ring, counts

# As the partial indexes say it: SQLite sees that one fits only where its own words are in the query.
_PLACED = attempts.c.state == literal_column("'placed'")
_LATE = (attempts.c.state == literal_column("'ended'")) & attempts.c.follow_at.is_not(None)
LONGEST_UNSEEN = timedelta(hours=2)
"""Longer than any call is left alone between two looks, whatever the settings."""
_PIECE = 500  # parameters a statement, well under what the databases allow


@dataclass(frozen=True, slots=True)
class Placed:
    """A placed call of which it is not known how it ended."""

    attempt_id: int
    run_id: int
    contact_id: str
    instance_id: str
    placed_at: datetime
    sent_by: datetime
    """By then its request had left, also where its contact was recorded later."""
    follows: int
    """The looks so far, this one too; those in between not."""
    found: bool
    """Whether a search has found it, perhaps long after it was placed."""
    given_up: bool
    """Whether it has ended already, without a word from Connect; now the word is looked for all the same."""
    dialed_at: datetime
    earlier: tuple[Ring, ...]
    """The recipient's attempts before this one that count, the first one first."""
    campaign: Campaign

    def rings(self, outcome: Outcome) -> tuple[Ring, ...]:
        """All that count, this one too, now that it has ended."""
        return (*self.earlier, Ring(outcome, self.dialed_at))


def take_due_follows(
    ledger: Ledger, *, exchange: str, limit: int, now: datetime, until: datetime
) -> list[Placed]:
    """The calls of an exchange whose outcome is due to be looked up, taken until `until`.

    What one exchange has placed the other knows nothing of, and would have to call lost. Nobody else is
    handed them before then; if this process dies they are simply due again. Calls that were given up come
    after all others.
    """
    with ledger.write() as db:
        ids: list[int] = []
        others = left_out(ledger, db)
        for these in (_PLACED, _LATE):
            due = (
                select(attempts.c.id)
                .where(these, attempts.c.follow_at <= now, _of_exchange(exchange, others))
                .order_by(attempts.c.follow_at)
                .limit(limit - len(ids))
                .with_for_update(skip_locked=True)
            )
            ids += db.execute(due).scalars()
        if not ids:
            return []
        db.execute(
            update(attempts)
            .where(attempts.c.id.in_(ids))
            .values(follow_at=until, looked_at=now, follows=attempts.c.follows + 1)
        )
        return _placed(ledger, db, attempts.c.id.in_(ids))


def take_in_between(
    ledger: Ledger, *, exchange: str, instances: Sequence[str], limit: int, now: datetime, rest: timedelta
) -> list[Placed]:
    """Calls in progress that are not due to be looked at, whoever was not for the longest time first.

    Those that were looked at, or placed, less than `rest` ago are left out. When they are due stays as it is.
    """
    seen_at = func.coalesce(attempts.c.looked_at, attempts.c.placed_at)
    with ledger.write() as db:
        mine = _runs_at(ledger, db, exchange, instances)
        least = (
            select(attempts.c.id)
            .where(_PLACED, attempts.c.follow_at > now, (attempts.c.run_id + 0).in_(mine))
            .where(or_(seen_at <= now - rest, seen_at > now))
            .order_by(seen_at)
            .limit(limit)
            .with_for_update(skip_locked=True)
        )
        ids = list(db.execute(least).scalars())
        if not ids:
            return []
        db.execute(update(attempts).where(attempts.c.id.in_(ids)).values(looked_at=now))
        return _placed(ledger, db, attempts.c.id.in_(ids))


def take_probe(
    ledger: Ledger,
    *,
    exchange: str,
    instance_id: str,
    now: datetime,
    rest: timedelta,
    placed_after: datetime | None,
) -> Placed | None:
    """A call in progress of an instance, to find out whether Connect tells of its calls.

    Placed, or last looked at, at least `rest` ago; `placed_after`: a call that is newer than that. When it is
    due to be looked at stays as it is.
    """
    with ledger.read() as db:
        mine = _runs_at(ledger, db, exchange, [instance_id])
    seen_at = func.coalesce(attempts.c.looked_at, attempts.c.placed_at)
    one = (
        select(attempts.c.id)
        .where(_PLACED, attempts.c.follow_at > now, (attempts.c.run_id + 0).in_(mine))
        .where(or_(seen_at <= now - rest, seen_at > now))
        .order_by(seen_at)
        .limit(1)
    )
    if placed_after is not None:
        one = one.where(attempts.c.placed_at > placed_after)
    with ledger.read() as db:
        # Most rounds have nothing to probe, and should not take a write lock to see it.
        if db.execute(one).first() is None:
            return None
    with ledger.write() as db:
        taken = db.execute(one.with_for_update(skip_locked=True)).scalar()
        if taken is None:
            return None
        db.execute(update(attempts).where(attempts.c.id == taken).values(looked_at=now))
        return next(iter(_placed(ledger, db, attempts.c.id == taken)), None)


def look_again(ledger: Ledger, *, exchange: str, instance_id: str, now: datetime) -> int:
    """Calls of an instance that were looked at in vain are due to be looked at now. Returns how many.

    Connect tells again, after it has refused to: what was asked for in the meantime is asked for at once.
    """
    with ledger.read() as db:
        mine = _runs_at(ledger, db, exchange, [instance_id])
    these = (_PLACED, attempts.c.follow_at > now, attempts.c.follows > 0, (attempts.c.run_id + 0).in_(mine))
    with ledger.write() as db:
        # In order, or two that take several would wait for each other.
        ids = select(attempts.c.id).where(*these).order_by(attempts.c.id).with_for_update()
        return db.execute(update(attempts).where(attempts.c.id.in_(ids)).values(follow_at=now)).rowcount


def calls_of(ledger: Ledger, contact_ids: Sequence[str], exchange: str) -> list[Placed]:
    """Those of these contacts whose end is not known: they are placed, or were given up without a word."""
    with ledger.read() as db:
        found: list[Placed] = []
        for first in range(0, len(contact_ids), _PIECE):
            these = attempts.c.contact_id.in_(contact_ids[first : first + _PIECE])
            wordless = (attempts.c.state == AttemptState.ENDED) & (attempts.c.outcome == Outcome.NO_OUTCOME)
            found += _placed(ledger, db, these, _PLACED | wordless, _of_exchange(exchange))
        return found


Redial = Callable[[RedialOptions], datetime | None]
"""What the campaign's rules say: when the recipient is due again, or None."""


def mark_ended(
    ledger: Ledger,
    attempt_id: int,
    outcome: Outcome,
    *,
    ended_at: datetime,
    redial: Redial,
    reason: str | None = None,
    look_again_at: datetime | None = None,
    hold: bool = False,
) -> bool:
    """placed → ended. The recipient is due again when `redial` says, by the rules of this moment, or done.

    `look_again_at`: without an outcome, Connect is asked once more at that time. `hold`: an operator has to
    say what is to become of the recipient, because Connect refuses to tell how the call ended.
    """
    with ledger.write() as db:
        run_state = hold_run(db, attempt_id)
        row = db.execute(
            update(attempts)
            .where(attempts.c.id == attempt_id, attempts.c.state == AttemptState.PLACED)
            .values(
                state=AttemptState.ENDED,
                outcome=outcome,
                ended_at=ended_at,
                follow_at=look_again_at,
                # What it was unknown for stays, and tells its story.
                reason=attempts.c.reason if reason is None else reason,
            )
            .returning(attempts.c.recipient_id, attempts.c.number, attempts.c.run_id)
        ).one_or_none()
        if row is None:
            return False
        rules = _rules(ledger, db, row.run_id)
        redial_at = redial(rules) if run_state != RunState.CANCELLED else None
        if redial_at is not None:
            becomes: dict[str, Any] = {"state": WAITS_IF_ALLOWED, "due_at": redial_at}
        elif hold and run_state != RunState.CANCELLED:
            becomes = {"state": RecipientState.HELD}
        else:
            becomes = {"state": RecipientState.DONE}
        db.execute(_latest(row).where(recipients.c.state == RecipientState.IN_PROGRESS).values(becomes))
        if redial_at is not None:
            go_on(db, row)
        # Either this one is an earlier attempt after all, or an earlier one has reached them.
        leave_in_peace(db, row.recipient_id, rules)
        barred = _bar(ledger, db, row, outcome, ended_at)
    _withdraw_barred(ledger, barred)
    return True


def mark_told_late(
    ledger: Ledger, attempt_id: int, outcome: Outcome, *, ended_at: datetime, redial: Redial
) -> bool:
    """ended without a word → ended with this outcome.

    The recipient goes by what this outcome's rule says. Without a redial, a next attempt that has not been
    dialed is withdrawn, and for some outcomes any later one; else whoever waits is due when the rule says,
    or, if an operator has asked for the next attempt, as soon as that. Nobody is dialed again in a run that
    is over.
    """
    with ledger.write() as db:
        run_state = hold_run(db, attempt_id)
        row = db.execute(
            update(attempts)
            .where(attempts.c.id == attempt_id, attempts.c.state == AttemptState.ENDED)
            .where(attempts.c.outcome == Outcome.NO_OUTCOME)
            .values(outcome=outcome, ended_at=ended_at, follow_at=None, reason=None)
            .returning(attempts.c.recipient_id, attempts.c.number, attempts.c.run_id, attempts.c.requeued_at)
        ).one_or_none()
        if row is None:
            return False
        rules = _rules(ledger, db, row.run_id)
        redial_at = redial(rules)
        if redial_at is None:
            # They have been reached, or never can be: then no later attempt is wanted either.
            end = nobody_waits_for_more if outcome in FOR_GOOD else called_after_all
            end(db, row, RecipientState.DONE)
        elif row.requeued_at is None:
            states = [RecipientState.WAITING]
            if run_state not in (RunState.FINISHED, RunState.CANCELLED):
                states.append(RecipientState.DONE)
            if run_state == RunState.CANCELLED:
                db.execute(
                    _latest(row)
                    .where(recipients.c.state == RecipientState.HELD)
                    .values(state=RecipientState.DONE)
                )
            # One that is about to be dialed for want of a word would come too soon.
            called_after_all(db, row, RecipientState.WAITING)
            waits = _latest(row).where(recipients.c.state.in_(states))
            if db.execute(waits.values(state=WAITS_IF_ALLOWED, due_at=redial_at)).rowcount:
                # A recipient who was held is not left waiting in a run that is over.
                go_on(db, row)
        if redial_at is not None:
            leave_in_peace(db, row.recipient_id, rules)
        barred = _bar(ledger, db, row, outcome, ended_at)
    _withdraw_barred(ledger, barred)
    return True


def mark_goes_on(ledger: Ledger, attempt_id: int, *, follow_at: datetime) -> bool:
    """ended without a word → placed: Connect says that the call goes on.

    Nobody dials its recipient meanwhile: who waits for the next attempt does so no longer.
    """
    with ledger.write() as db:
        hold_run(db, attempt_id)
        row = db.execute(
            update(attempts)
            .where(attempts.c.id == attempt_id, attempts.c.state == AttemptState.ENDED)
            .where(attempts.c.outcome == Outcome.NO_OUTCOME)
            .values(state=AttemptState.PLACED, outcome=None, ended_at=None, follow_at=follow_at, reason=None)
            .returning(attempts.c.recipient_id, attempts.c.number, attempts.c.run_id)
        ).one_or_none()
        if row is None:
            return False
        called_after_all(db, row, RecipientState.IN_PROGRESS)
        if still_on(db, row):
            done = _latest(row).where(recipients.c.state == RecipientState.DONE)
            db.execute(done.values(state=RecipientState.IN_PROGRESS))
            go_on(db, row)
        return True


def hold_undecided(ledger: Ledger, attempt_id: int) -> bool:
    """The recipient of a call that ended without an outcome waits for no redial: an operator has to say.

    Unless an operator has asked for one. Returns whether the recipient did wait.
    """
    with ledger.write() as db:
        hold_run(db, attempt_id)
        row = db.execute(
            select(attempts.c.recipient_id, attempts.c.number)
            .where(attempts.c.id == attempt_id, attempts.c.state == AttemptState.ENDED)
            .where(attempts.c.outcome == Outcome.NO_OUTCOME, attempts.c.requeued_at.is_(None))
            .with_for_update()
        ).one_or_none()
        if row is None:
            return False
        waiting = _latest(row).where(recipients.c.state == RecipientState.WAITING)
        return bool(db.execute(waiting.values(state=RecipientState.HELD)).rowcount)


def not_looked_at(ledger: Ledger, calls: Iterable[Placed], follow_at: datetime) -> None:
    """Calls that were taken for a look, and could not be asked for, are due again. It was no look."""
    with ledger.write() as db:
        for attempt_id in sorted(call.attempt_id for call in calls):
            db.execute(
                update(attempts)
                .where(attempts.c.id == attempt_id, attempts.c.follow_at.is_not(None))
                .values(follow_at=follow_at, follows=attempts.c.follows - 1)
            )


def anything_followed(ledger: Ledger, exchange: str) -> bool:
    """Whether any call of an exchange is still to be asked about."""
    with ledger.read() as db:
        asked = select(attempts.c.id).where(_PLACED, attempts.c.follow_at.is_not(None))
        return db.execute(asked.where(_of_exchange(exchange)).limit(1)).first() is not None


def bring_follows_forward(ledger: Ledger, now: datetime) -> int:
    """Placed calls that are due to be looked at later than any is put off are due now. Returns how many.

    A clock that was ahead has written those times, and has been put back since.
    """
    far = (_PLACED, attempts.c.follow_at > now + LONGEST_UNSEEN)
    with ledger.read() as db:
        if db.execute(select(attempts.c.id).where(*far).limit(1)).first() is None:
            return 0
    with ledger.write() as db:
        ids = select(attempts.c.id).where(*far).order_by(attempts.c.id).with_for_update()
        return db.execute(update(attempts).where(attempts.c.id.in_(ids)).values(follow_at=now)).rowcount


def follow_later(ledger: Ledger, attempt_id: int, follow_at: datetime | None) -> None:
    """Look at a call again at `follow_at`, or, if it was given up, never."""
    with ledger.write() as db:
        looked_at = attempts.c.follow_at.is_not(None)
        db.execute(update(attempts).where(attempts.c.id == attempt_id, looked_at).values(follow_at=follow_at))


def look_now(ledger: Ledger, attempt_ids: Iterable[int], now: datetime) -> None:
    """Something has happened to these calls: they are due to be looked at."""
    with ledger.write() as db:
        # In order, or two who take several would wait for each other.
        for attempt_id in sorted(attempt_ids):
            db.execute(
                update(attempts)
                .where(attempts.c.id == attempt_id, attempts.c.follow_at > now)
                .values(follow_at=now)
            )


def _of_exchange(exchange: str, without: Sequence[int] = ()) -> Any:
    """Attempts of one side; `without`: those of these campaigns are left out."""
    mine = select(runs.c.id).where(runs.c.exchange == exchange)
    if without:
        mine = mine.where(of_others(without))
    # The + 0 keeps SQLite to the partial index: by run it would sort all that was ever placed.
    return (attempts.c.run_id + 0).in_(mine)


def _runs_at(ledger: Ledger, db: Connection, exchange: str, instances: Sequence[str]) -> list[int]:
    """The runs of an exchange with placed calls whose campaigns are dialed from these instances."""
    # Not in SQL: a database that meets damaged JSON fails the whole statement.
    placed = select((attempts.c.run_id + 0).label("run_id")).where(_PLACED).distinct().subquery()
    rows = db.execute(
        select(runs.c.id, runs.c.campaign_id, CHOICES_VERSION)
        .select_from(placed.join(runs, runs.c.id == placed.c.run_id).join(campaigns))
        .where(runs.c.exchange == exchange)
    ).all()
    known = [(row.id, readable(ledger, db, row.campaign_id, row.version)) for row in rows]
    return [run_id for run_id, each in known if each is not None and each.connect.instance_id in instances]


def _rules(ledger: Ledger, db: Connection, run_id: int) -> RedialOptions:
    """The campaign's rules at this moment: whoever changes them waits for the run, or we did for them."""
    query = select(campaigns.c.id, CHOICES_VERSION).join(runs).where(runs.c.id == run_id)
    row = db.execute(query).one()
    return redial_of(ledger, db, row.id, row.version)


def _choices(ledger: Ledger, db: Connection, run_id: int) -> Campaign:
    query = select(campaigns.c.id, CHOICES_VERSION).join(runs).where(runs.c.id == run_id)
    row = db.execute(query).one()
    return campaign_of(ledger, db, row.id, row.version)


def _bar(
    ledger: Ledger, db: Connection, row: Any, outcome: Outcome, ended_at: datetime
) -> tuple[str, int] | None:
    """The number goes on the suppression list, if the campaign wants that for this outcome.

    Returns it, and the campaign that may not call it (or EVERY_CAMPAIGN), if it was not there already.
    """
    campaign = _choices(ledger, db, row.run_id)
    if outcome not in campaign.suppression.outcomes:
        return None
    query = select(
        recipients.c.phone, runs.c.exchange, runs.c.campaign_id, campaigns.c.exchange.label("side")
    )
    query = query.select_from(recipients.join(runs).join(campaigns)).where(
        recipients.c.id == row.recipient_id
    )
    person = db.execute(query).one()
    # What the sandbox has made up must not keep a real number from being called, nor where an earlier version
    # has let one campaign have runs of both sides.
    if person.exchange != "connect" and person.side != person.exchange:
        return None
    scope = EVERY_CAMPAIGN if person.exchange == "connect" else person.campaign_id
    why = f"{outcome}: call of campaign {campaign.name}"
    return (person.phone, scope) if put_one(db, Number(person.phone, why, ended_at), scope) else None


def _withdraw_barred(ledger: Ledger, barred: tuple[str, int] | None) -> None:
    """Whoever else waits with that number does so no longer.

    In a transaction of its own, because it holds other runs than the call's. Were it lost, each of them would
    find out when it is to be dialed.
    """
    if barred is not None:
        phone, scope = barred
        withdraw(ledger, [phone], scope)


def _latest(row: Any) -> Any:
    """The recipient, if this is still the latest attempt."""
    return update(recipients).where(recipients.c.id == row.recipient_id, recipients.c.attempts == row.number)


def _placed(ledger: Ledger, db: Connection, *these: Any) -> list[Placed]:
    rows = db.execute(
        select(
            attempts.c.id,
            attempts.c.run_id,
            attempts.c.recipient_id,
            attempts.c.number,
            attempts.c.state,
            attempts.c.contact_id,
            attempts.c.dialing_at,
            attempts.c.lease_until,
            attempts.c.placed_at,
            attempts.c.follows,
            attempts.c.unknown_at,
            runs.c.campaign_id,
            CHOICES_VERSION,
        )
        .select_from(attempts.join(runs, runs.c.id == attempts.c.run_id).join(campaigns))
        .where(*these)
        .order_by(attempts.c.id)
    ).all()
    earlier = rings_of(db, [row.recipient_id for row in rows if row.number > 1])
    return [
        Placed(
            attempt_id=row.id,
            run_id=row.run_id,
            contact_id=row.contact_id,
            instance_id=campaign.connect.instance_id,
            placed_at=row.placed_at,
            sent_by=row.lease_until,
            follows=row.follows,
            found=row.unknown_at is not None,
            given_up=row.state == AttemptState.ENDED,
            dialed_at=row.dialing_at,
            earlier=tuple(ring for number, ring in earlier.get(row.recipient_id, ()) if number < row.number),
            campaign=campaign,
        )
        for row in rows
        for campaign in [readable(ledger, db, row.campaign_id, row.version)]
        if campaign is not None
    ]


def rings_of(db: Connection, recipient_ids: Sequence[int]) -> dict[int, list[tuple[int, Ring]]]:
    """The attempts that count, with their numbers, by recipient."""
    found: dict[int, list[tuple[int, Ring]]] = {}
    wanted = (
        attempts.c.recipient_id,
        attempts.c.number,
        attempts.c.state,
        attempts.c.outcome,
        attempts.c.dialing_at,
        attempts.c.requeued_at,
    )
    for first in range(0, len(recipient_ids), _PIECE):
        for row in db.execute(
            select(*wanted)
            .where(attempts.c.recipient_id.in_(recipient_ids[first : first + _PIECE]))
            .order_by(attempts.c.recipient_id, attempts.c.number)
        ):
            if counts(row.state, requeued=row.requeued_at is not None):
                outcome = Outcome(row.outcome) if row.outcome else None
                found.setdefault(row.recipient_id, []).append((row.number, Ring(outcome, row.dialing_at)))
    return found
