"""New redial rules: whoever waits for a redial by the old ones is judged again."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Integer,
    MetaData,
    Table,
    delete,
    exists,
    func,
    insert,
    literal_column,
    select,
    update,
)
from sqlalchemy.schema import CreateTable

from campaigns.attempt import AttemptState, Outcome, RecipientState
from campaigns.campaign import RedialOptions
from campaigns.changes import more_often
from campaigns.ledger.outcomes import rings_of
from campaigns.ledger.preparation import step
from campaigns.ledger.tables import Instant, attempts, recipients, runs
from campaigns.redial import RedialAt

_BATCH = 2_000  # recipients that are looked through at once

# What the new rules say waits in a temporary table (preparation.py). A hundred thousand redials take a while
# to be judged, and nobody could dial if the ledger were locked for that long.
_judged = Table(
    "judged",
    MetaData(),
    Column("recipient_id", BigInteger, primary_key=True, autoincrement=False),
    Column("number", Integer, nullable=False),  # of the latest attempt
    Column("was_due_at", Instant, nullable=False),
    Column("due_at", Instant),  # NULL: is not dialed again
    prefixes=["TEMPORARY"],
    postgresql_on_commit="DROP",
)

# Only these wait because a rule has said so: not those who were never called, nor those whose latest attempt
# came back without having rung, was never found, or is to be followed by another at an operator's request.
_WAITING_BY_RULE = (
    (recipients.c.state == literal_column("'waiting'"))
    & (attempts.c.state == AttemptState.ENDED)
    & attempts.c.requeued_at.is_(None)
)
_LATEST = recipients.join(
    attempts, (attempts.c.recipient_id == recipients.c.id) & (attempts.c.number == recipients.c.attempts)
)


@dataclass(frozen=True, slots=True)
class Judged:
    """What new rules have changed for people, and for whom they came too late."""

    moved: int = 0
    """Waited for a redial, and wait until another time now."""
    done: int = 0
    """Waited for a redial, and are not dialed again any more."""
    too_late: tuple[Outcome, ...] = ()
    """Are dialed again more often by the new rules, and were the last word for somebody by the old ones."""


def rehearse(db: Connection, run_id: int, rules: RedialOptions) -> None:
    """Find out what these rules say of those who wait, as steps of a preparation. Changes nothing yet."""
    with step(db):
        db.execute(CreateTable(_judged, if_not_exists=True))
        ids = select(func.min(recipients.c.id), func.max(recipients.c.id)).where(
            recipients.c.run_id == run_id
        )
        first, last = db.execute(ids).one()
    if first is None:
        return
    for low in range(first, last + 1, _BATCH):
        with step(db):
            # The + 0 keeps SQLite to the ids: by run, each batch would go through all who wait.
            of_run = (recipients.c.run_id + 0) == run_id
            _judge(db, rules, of_run & recipients.c.id.between(low, low + _BATCH - 1))


def judge_again(db: Connection, run_id: int, was: RedialOptions, rules: RedialOptions) -> Judged:
    """Put off, bring forward or give up the redials of a run, as these rules have it.

    In the transaction in which they come into force. Who is done stays done.
    """
    # Nobody is claimed, ends a call or cancels meanwhile; as everywhere, the run before its people.
    db.execute(select(runs.c.id).where(runs.c.id == run_id).with_for_update(key_share=True))
    db.execute(CreateTable(_judged, if_not_exists=True))
    # Who has gone on since the rehearsal, and who waits only since then, is judged as they stand now.
    as_rehearsed = (
        exists()
        .select_from(_LATEST)
        .where(recipients.c.id == _judged.c.recipient_id, _WAITING_BY_RULE)
        .where(recipients.c.attempts == _judged.c.number, recipients.c.due_at == _judged.c.was_due_at)
    )
    db.execute(delete(_judged).where(~as_rehearsed))
    unseen = recipients.c.id.not_in(select(_judged.c.recipient_id))
    _judge(db, rules, (recipients.c.run_id == run_id) & unseen)
    # In order, or this and another that takes several would wait for each other.
    differs = _judged.c.due_at.is_distinct_from(_judged.c.was_due_at)
    mine = select(recipients.c.id).join(_judged, _judged.c.recipient_id == recipients.c.id).where(differs)
    db.execute(mine.order_by(recipients.c.id).with_for_update(key_share=True, of=recipients))
    due_at = select(_judged.c.due_at).where(_judged.c.recipient_id == recipients.c.id).scalar_subquery()
    moved = select(_judged.c.recipient_id).where(_judged.c.due_at != _judged.c.was_due_at)
    over = select(_judged.c.recipient_id).where(_judged.c.due_at.is_(None))
    return Judged(
        db.execute(
            update(recipients).where(recipients.c.id.in_(moved)).values(due_at=due_at, waits_for=None)
        ).rowcount,
        db.execute(
            update(recipients).where(recipients.c.id.in_(over)).values(state=RecipientState.DONE)
        ).rowcount,
        tuple(outcome for outcome in more_often(was, rules) if _anybody_done(db, run_id, outcome)),
    )


def _judge(db: Connection, rules: RedialOptions, these: Any) -> None:
    waiting = db.execute(
        select(recipients.c.id, recipients.c.attempts, recipients.c.due_at, attempts.c.ended_at)
        .select_from(_LATEST)
        .where(these, _WAITING_BY_RULE)
    ).all()
    rings = rings_of(db, [row.id for row in waiting])
    found = []
    for row in waiting:
        step = rules.next_step([ring for _, ring in rings[row.id]], row.ended_at)
        due_at = step.due_at if isinstance(step, RedialAt) else None
        found.append(
            {"recipient_id": row.id, "number": row.attempts, "was_due_at": row.due_at, "due_at": due_at}
        )
    if found:
        db.execute(insert(_judged), found)


def _anybody_done(db: Connection, run_id: int, outcome: Outcome) -> bool:
    """Whether this outcome was the last word for somebody."""
    query = (
        select(recipients.c.id)
        .select_from(_LATEST)
        .where(attempts.c.run_id == run_id, attempts.c.state == AttemptState.ENDED)
        .where(attempts.c.outcome == outcome, recipients.c.state == RecipientState.DONE)
    )
    return db.execute(query.limit(1)).first() is not None
