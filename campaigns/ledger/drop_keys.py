"""An operator takes single recipients out of a campaign by their keys, or puts them back."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, and_, select

from campaigns.attempt import AttemptState, RecipientState, RunState
from campaigns.ledger import drops, runs
from campaigns.ledger.drops import DroppedBy
from campaigns.ledger.engine import Ledger, begun
from campaigns.ledger.stored_choices import campaign_of_run
from campaigns.ledger.tables import attempts, recipients
from campaigns.mistake import Mistake
from campaigns.nearest import nearest
from campaigns.same_telephone import forms
from campaigns.stored import Unreadable

_PIECE = 400  # keys a statement; each is two parameters
_SHOWN = 5  # unknown keys that a message names


class Fate(StrEnum):
    """What became of one recipient who was to be taken out, or put back."""

    DROPPED = "dropped"
    """No call of theirs begins any more."""
    UNDER_WAY = "under_way"
    """A call is under way and goes on; no other follows it."""
    CALLED = "called"
    """They are done already; neither a late outcome nor a requeue leads to another call."""
    ALREADY = "already"
    """They were taken out before; or, to be put back: they were not taken out."""
    OVER = "over"
    """Expired or cancelled: they are not called anyway."""
    WAITING = "waiting"
    """Put back: they wait for a call."""
    PUT_BACK = "put_back"
    """Put back, and they wait for no call: they were called, are suppressed, or their time has passed."""


@dataclass(frozen=True, slots=True)
class Dropped:
    """One recipient, and what became of them."""

    key: str
    phone: str
    run: int
    """The number of the run."""
    fate: Fate
    state: str
    """As the recipient stands now."""


def drop(ledger: Ledger, name: str, keys: Sequence[str], now: datetime) -> list[Dropped]:
    """Take out the recipients with these keys, in the latest run and in earlier ones that are not over.

    All of it is one transaction. Raises Mistake for a key that no recipient has; then nothing is changed.
    """
    with ledger.connection() as db:
        db.detach()  # closed at the end instead of pooled, and its temporary table with it
        with begun(db, "IMMEDIATE"):
            held = _hold(db, name)
            before = _found(db, name, held, keys)
            drops.choose(db, sorted(before))
            drops.drop_chosen(db, DroppedBy.OPERATOR, now)
            after = _as_they_stand(db, sorted(before))
    return [_dropped(before[each.id], each, held) for each in after.values()]


def put_back(ledger: Ledger, name: str, keys: Sequence[str], now: datetime) -> list[Dropped]:
    """Put back the recipients with these keys who were taken out. A run that had finished is loaded again.

    Raises Mistake as `drop`, and if the campaign was cancelled.
    """
    with ledger.connection() as db:
        db.detach()
        with begun(db, "IMMEDIATE"):
            held = _hold(db, name)
            latest = runs.find(db, name)
            if latest.state == RunState.CANCELLED:
                raise Mistake(f"{name} was cancelled, which is for ever; nobody in it can be put back")
            before = _found(db, name, held, keys)
            drops.choose(db, [each.id for each in before.values() if each.dropped_by is not None])
            _, waiting = drops.put_back(ledger, db, now)
            after = _as_they_stand(db, sorted(before))
            if waiting and any(each.run_id == latest.id for each in after.values()):
                runs.reopen(db, latest.id, name)
    return [_put_back(before[each.id], each, held) for each in after.values()]


def _hold(db: Connection, name: str) -> dict[int, int]:
    """The runs in which recipients are looked for, held until the end: their ids, and their numbers."""
    latest = runs.find(db, name)
    runs.ids_of(db, latest.campaign_id, hold=True)
    return {run.id: run.number for run in runs.all_of(db, runs.find(db, name))}


def _found(db: Connection, name: str, held: dict[int, int], keys: Sequence[str]) -> dict[int, Any]:
    """Those with these keys, by id. Raises Mistake for a key that no recipient has."""
    wanted = list(dict.fromkeys(key.strip() for key in keys))
    found: dict[int, Any] = {}
    for first in range(0, len(wanted), _PIECE):
        found |= _by_key(db, held, wanted[first : first + _PIECE])
    there = {each.key for each in found.values()} | {each.list_key for each in found.values()}
    missing = [key for key in wanted if key not in there]
    unknown = []
    for key, phone in [(key, _as_number(db, max(held), key)) for key in missing]:
        of_number = _by_key(db, held, forms(phone)) if phone else {}
        found |= of_number
        if not of_number:
            unknown.append(key)
    if unknown:
        raise Mistake(_no_such(db, name, held, unknown))
    return found


def _by_key(db: Connection, held: dict[int, int], keys: Sequence[str]) -> dict[int, Any]:
    # One look for each: asked for both in one, SQLite would go through the whole run.
    by_key = _people(db, recipients.c.run_id.in_(held), recipients.c.key.in_(keys))
    return by_key | _people(db, (recipients.c.run_id + 0).in_(held), recipients.c.list_key.in_(keys))


def _as_number(db: Connection, run_id: int, key: str) -> str | None:
    """The key as a number, where the list's numbers are its keys."""
    try:
        options = campaign_of_run(db, run_id).list
        if options.key is not None:
            return None
        return options.reader()(key)
    except (ValueError, Unreadable):
        return None


def _no_such(db: Connection, name: str, held: dict[int, int], unknown: Sequence[str]) -> str:
    shown = ", ".join(repr(key) for key in unknown[:_SHOWN])
    more = f" and {len(unknown) - _SHOWN:,} more" if len(unknown) > _SHOWN else ""
    some = select(recipients.c.key).where(recipients.c.run_id.in_(held)).limit(10_000)
    near = nearest(unknown[0], list(db.execute(some).scalars()))
    hint = f"; did you mean {near}?" if near else ""
    words = f"nobody in {name} has the key" + ("s " if len(unknown) > 1 else " ") + shown + more
    return f"{words}; nothing was changed{hint}"


def _as_they_stand(db: Connection, ids: Sequence[int]) -> dict[int, Any]:
    found: dict[int, Any] = {}
    for first in range(0, len(ids), _PIECE):
        found |= _people(db, recipients.c.id.in_(ids[first : first + _PIECE]))
    return found


def _people(db: Connection, *these: Any) -> dict[int, Any]:
    latest = and_(attempts.c.recipient_id == recipients.c.id, attempts.c.number == recipients.c.attempts)
    rows = db.execute(
        select(
            recipients.c.id,
            recipients.c.run_id,
            recipients.c.key,
            recipients.c.list_key,
            recipients.c.phone,
            recipients.c.state,
            recipients.c.dropped_by,
            attempts.c.state.label("attempt"),
            attempts.c.follow_at,
        )
        .select_from(recipients.outerjoin(attempts, latest))
        .where(*these)
        .order_by(recipients.c.id)
    )
    return {row.id: row for row in rows}


def _dropped(was: Any, row: Any, held: dict[int, int]) -> Dropped:
    under_way = row.attempt in (AttemptState.DIALING, AttemptState.PLACED, AttemptState.UNKNOWN)
    if was.dropped_by == DroppedBy.OPERATOR:
        fate = Fate.ALREADY
    elif row.dropped_by is None:
        fate = Fate.OVER
    elif row.state == RecipientState.DROPPED:
        fate = Fate.DROPPED
    else:
        fate = Fate.UNDER_WAY if under_way and row.state != RecipientState.DONE else Fate.CALLED
    return Dropped(row.key, row.phone, held[row.run_id], fate, row.state)


def _put_back(was: Any, row: Any, held: dict[int, int]) -> Dropped:
    if was.dropped_by is None:
        fate = Fate.ALREADY
    else:
        fate = Fate.WAITING if row.state == RecipientState.WAITING else Fate.PUT_BACK
    return Dropped(row.key, row.phone, held[row.run_id], fate, row.state)
