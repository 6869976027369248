"""What the ledger knows of single recipients. Nothing here changes anything, and no read is long."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, and_, literal_column, select, union

from campaigns.attempt import AttemptState, RecipientState
from campaigns.ledger.brakes import in_outage
from campaigns.ledger.suppressions import campaign_of_recipient
from campaigns.ledger.tables import (
    EVERY_CAMPAIGN,
    attempts,
    campaigns,
    loads,
    recipient_history,
    recipients,
    runs,
    suppressions,
)


@dataclass(frozen=True, slots=True)
class Record:
    """One recipient, with all attempts."""

    recipient: Any
    """A row of `recipients` without the list's own columns; `file_name` and `loaded_at` of its list; and
    `suppressed_at` and `suppressed_because` if its number is on the suppression list."""
    attempts: Sequence[Any]
    """Its rows of `attempts`, by number; `in_outage`: in doubt while Connect answered with errors."""
    history: Sequence[Any] = ()
    """Its rows of `recipient_history` in order; `file_name` and `loaded_at` of replaced rows."""


def records(db: Connection, run_id: int, *, key: str, phone: str | None) -> list[Record]:
    """The recipients of a run who have this key, or this number (E.164), or had it before it was corrected.

    Whoever has several reminders has the list's key in all of them.
    """
    # One look for each: asked for all in one, SQLite would go through the whole run. So it would by the run
    # but for the + 0.
    of_run = (recipients.c.run_id + 0) == run_id
    these = [
        (recipients.c.run_id == run_id) & (recipients.c.key == key),
        of_run & (recipients.c.list_key == key),
        *([of_run & _has(phone), of_run & _had(phone)] if phone is not None else []),
    ]
    return _records(db, recipients.c.id.in_(union(*(select(recipients.c.id).where(each) for each in these))))


def records_in_doubt(db: Connection, run_id: int) -> list[Record]:
    """The recipients of a run whose calls are in doubt: searched for in Connect, or held."""
    latest = and_(attempts.c.recipient_id == recipients.c.id, attempts.c.number == recipients.c.attempts)
    held = (
        select(attempts.c.recipient_id)
        .select_from(recipients.join(attempts, latest))
        .where(recipients.c.run_id == run_id, recipients.c.state == RecipientState.HELD)
        .where(attempts.c.state.in_((AttemptState.UNKNOWN, AttemptState.ENDED)))
    )
    # The + 0 keeps SQLite to the partial index: by run it would go through all that was ever placed.
    searched = (
        select(attempts.c.recipient_id)
        .where((attempts.c.run_id + 0) == run_id, attempts.c.state == literal_column("'unknown'"))
        .where(attempts.c.settle_at.is_not(None))
    )
    doubtful = union(held, searched)
    return _records(db, recipients.c.id.in_(doubtful))


def campaigns_with(db: Connection, phone: str) -> list[str]:
    """The names of the campaigns that have this number (E.164)."""
    query = select(campaigns.c.name).select_from(recipients.join(runs).join(campaigns)).where(_has(phone))
    return list(db.execute(query.distinct().order_by(campaigns.c.name)).scalars())


def _has(phone: str) -> Any:
    return recipients.c.phone == phone


def _had(phone: str) -> Any:
    return recipients.c.id.in_(
        select(recipient_history.c.recipient_id).where(recipient_history.c.phone == phone)
    )


def _records(db: Connection, *these: Any) -> list[Record]:
    barred = select(suppressions.c.added_at, suppressions.c.reason)
    barred = barred.where(suppressions.c.phone == recipients.c.phone)
    barred = barred.where(suppressions.c.campaign_id.in_((EVERY_CAMPAIGN, campaign_of_recipient)))
    # The one for every campaign first; both come from the same row.
    barred = barred.order_by(suppressions.c.campaign_id).limit(1)
    people = db.execute(
        select(
            recipients.c.id,
            recipients.c.run_id,
            recipients.c.line,
            recipients.c.key,
            recipients.c.phone,
            recipients.c.state,
            recipients.c.time_zone,
            recipients.c.zones,
            recipients.c.appointment_at,
            recipients.c.reminder,
            recipients.c.expires_at,
            recipients.c.waits_for,
            recipients.c.due_at,
            recipients.c.attempts,
            recipients.c.dropped_by,
            loads.c.file_name,
            loads.c.loaded_at,
            barred.with_only_columns(suppressions.c.added_at).scalar_subquery().label("suppressed_at"),
            barred.with_only_columns(suppressions.c.reason).scalar_subquery().label("suppressed_because"),
        )
        .select_from(recipients.join(loads, loads.c.id == recipients.c.load_id))
        .where(*these)
        .order_by(recipients.c.id)
    ).all()
    tries: dict[int, list[Any]] = {}
    # By the same conditions, and not by ids, of which there may be more than a statement takes.
    of_them = attempts.c.recipient_id.in_(select(recipients.c.id).where(*these))
    for row in db.execute(
        select(attempts, in_outage(attempts).label("in_outage"))
        .where(of_them)
        .order_by(attempts.c.recipient_id, attempts.c.number)
    ):
        tries.setdefault(row.recipient_id, []).append(row)
    past: dict[int, list[Any]] = {}
    for row in db.execute(
        select(
            recipient_history.c.recipient_id,
            recipient_history.c.what,
            recipient_history.c.at,
            recipient_history.c.line,
            recipient_history.c.phone,
            recipient_history.c.time_zone,
            loads.c.file_name,
            loads.c.loaded_at,
        )
        .select_from(recipient_history.outerjoin(loads, loads.c.id == recipient_history.c.load_id))
        .where(recipient_history.c.recipient_id.in_(select(recipients.c.id).where(*these)))
        .order_by(recipient_history.c.id)
    ):
        past.setdefault(row.recipient_id, []).append(row)
    return [Record(person, tries.get(person.id, []), past.get(person.id, [])) for person in people]
