"""Another attempt because an operator asks for it: for whom, and who is left alone."""

import json
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    and_,
    bindparam,
    case,
    exists,
    false,
    func,
    literal_column,
    or_,
    select,
    update,
)

from campaigns.attempt import AttemptState, Outcome, RecipientState, RunState
from campaigns.ledger.engine import Ledger
from campaigns.ledger.readmissions import in_time, readmit
from campaigns.ledger.runs import Run, start
from campaigns.ledger.suppressions import campaign_of_recipient, suppressed
from campaigns.ledger.tables import EVERY_CAMPAIGN, attempts, recipients, runs, suppression_history
from campaigns.mistake import Mistake

_WINDOW = 10_000  # recipients a transaction: a reader in SQLite may hold up the writers
_PIECE = 5_000  # ids a statement; they are one parameter

_OVER = (RecipientState.DONE, RecipientState.HELD)
"""Where a recipient is who is not called any more by itself, and may be asked for again."""

_TOLD_OF = (
    RecipientState.WAITING,
    RecipientState.IN_PROGRESS,
    RecipientState.SUPPRESSED,
    RecipientState.EXPIRED,
    RecipientState.DROPPED,
)
"""Where others are who are told of. Who is cancelled, expired or taken out is never asked for again."""

_OPEN = (AttemptState.QUEUED, AttemptState.RETURNED, AttemptState.DIALING, AttemptState.PLACED)

_before = attempts.alias("before")
"""The attempt before the latest: while that is open, this is how the last one ended that has."""

# Spelled out, not bound: only then do both databases see that what is grouped by is what is selected.
_refused_for = case((attempts.c.state == literal_column("'refused'"), attempts.c.reason))

_suppressed = suppressed(recipients.c.phone, campaign_of_recipient)


@dataclass(frozen=True, slots=True)
class Asked:
    """How the latest attempt of those has ended who are asked for."""

    outcomes: frozenset[Outcome] = frozenset()
    refused: bool = False
    """Whatever Connect refused it for."""
    codes: frozenset[str] = frozenset()
    """Refused with one of these."""
    unknown: bool = False
    """It may have rung, the recipient is held, and only an operator can say what is to become of it."""
    suppressed: bool = False
    """However it ended, or before there was any: the recipient was suppressed, and the number is on no list
    any more."""
    since: datetime | None = None
    """Only what ended, or became unknown, or whose number was taken off the list, then or later."""

    @property
    def attempts(self) -> bool:
        """Whether it asks how attempts have ended at all."""
        return bool(self.outcomes or self.codes or self.refused or self.unknown)


@dataclass(slots=True)
class Found:
    """Whom a look has found."""

    attempt_ids: "array[int]" = field(default_factory=lambda: array("q"))
    """The latest attempts of those who can have another, in the order of the list. Eight bytes each: there
    may be a million."""
    allowed_again: "array[int]" = field(default_factory=lambda: array("q"))
    """The recipients who were suppressed and can wait again, in the order of the list."""
    endings: Counter[str] = field(default_factory=Counter)
    """All of them by how it ended; `suppressed` for the latter."""
    waiting: int = 0
    """Left alone, though their last attempt to end matches: their next is due anyhow."""
    under_way: int = 0
    """… their next is under way, or the last may have rung and is searched for."""
    suppressed: int = 0
    """… their numbers are not to be called."""
    were_suppressed: int = 0
    """… their numbers were not to be called; they are asked for by that name."""
    expired: int = 0
    """… their time to be called has passed."""
    dropped: int = 0
    """… they were taken out."""


@dataclass(frozen=True, slots=True)
class Ended:
    """One recipient who is asked for, and how the latest attempt ended, or that it is `suppressed`."""

    key: str
    phone: str
    line: int
    ending: str
    ended_at: datetime | None
    """Since when nobody could tell, if it is unknown; None if it is suppressed."""
    attempts: int


def look(ledger: Ledger, run_id: int, asked: Asked, now: datetime) -> Found:
    """Find those who are asked for, and count those who are left alone. Changes nothing."""
    found = Found()
    with ledger.read() as db:
        ends = select(func.min(recipients.c.id), func.max(recipients.c.id))
        first, last = db.execute(ends.where(recipients.c.run_id == run_id)).one()
    if first is None:
        return found
    still_open = attempts.c.state.in_(_OPEN) | (
        (attempts.c.state == AttemptState.UNKNOWN) & (recipients.c.state == RecipientState.IN_PROGRESS)
    )
    told_of = or_(_as_asked(attempts.c, asked), and_(still_open, _as_asked(_before.c, asked)))
    rows = (
        select(
            recipients.c.state.label("person"),
            recipients.c.dropped_by,
            attempts.c.id,
            attempts.c.state,
            attempts.c.outcome,
            _refused_for.label("refused_for"),
            _suppressed.label("suppressed"),
            (~in_time(now)).label("expired"),
        )
        .select_from(
            recipients.join(
                attempts,
                and_(attempts.c.recipient_id == recipients.c.id, attempts.c.number == recipients.c.attempts),
            ).outerjoin(
                _before,
                and_(
                    _before.c.recipient_id == recipients.c.id, _before.c.number == recipients.c.attempts - 1
                ),
            )
        )
        # The + 0 keeps SQLite to the range of ids: by run it would go through all of it for each range.
        .where((recipients.c.run_id + 0) == run_id)
        .where(
            or_(
                and_(recipients.c.state.in_(_OVER), _as_asked(attempts.c, asked)),
                and_(recipients.c.state.in_(_TOLD_OF), told_of),
            )
        )
        .order_by(recipients.c.id)
    )
    barred = (
        select(recipients.c.id, _suppressed.label("suppressed"), (~in_time(now)).label("expired"))
        .where((recipients.c.run_id + 0) == run_id, recipients.c.state == RecipientState.SUPPRESSED)
        .where(*_off_the_list_since(asked))
        .order_by(recipients.c.id)
    )
    for low in range(first, last + 1, _WINDOW):
        window = recipients.c.id.between(low, low + _WINDOW - 1)
        with ledger.read() as db:
            for row in db.execute(rows.where(window)) if asked.attempts else ():
                if not (asked.suppressed and row.person == RecipientState.SUPPRESSED):
                    _note(found, row)
            for row in db.execute(barred.where(window)) if asked.suppressed else ():
                _note_suppressed(found, row)
    return found


def people(ledger: Ledger, attempt_ids: Sequence[int], allowed_again: Sequence[int] = ()) -> Iterator[Ended]:
    """Whose latest attempts these are, in the order of the list; and then these recipients."""
    for piece in _pieces(attempt_ids):
        with ledger.read() as db:
            rows = db.execute(
                select(
                    recipients.c.key,
                    recipients.c.phone,
                    recipients.c.line,
                    attempts.c.number,
                    attempts.c.state,
                    attempts.c.outcome,
                    func.coalesce(attempts.c.ended_at, attempts.c.unknown_at).label("ended_at"),
                    _refused_for.label("refused_for"),
                )
                .select_from(attempts.join(recipients, recipients.c.id == attempts.c.recipient_id))
                .where(attempts.c.id.in_(_listed(ledger, piece)))
                .order_by(recipients.c.id)
            ).all()
        for row in rows:
            yield Ended(row.key, row.phone, row.line, _ending(row), row.ended_at, row.number)
    for piece in _pieces(allowed_again):
        with ledger.read() as db:
            barred_once = db.execute(
                select(recipients.c.key, recipients.c.phone, recipients.c.line, recipients.c.attempts)
                .where(recipients.c.id.in_(_listed(ledger, piece)))
                .order_by(recipients.c.id)
            ).all()
        for one in barred_once:
            yield Ended(one.key, one.phone, one.line, RecipientState.SUPPRESSED, None, one.attempts)


def ask_for_another(
    ledger: Ledger,
    run: Run,
    asked: Asked,
    attempt_ids: Sequence[int],
    now: datetime,
    allowed_again: Sequence[int] = (),
) -> int:
    """done, held → waiting, and due at once, for those of them who are still as they were. Returns how many.

    `allowed_again`: recipients, suppressed → waiting as they did before, if their numbers are on no list. All
    in one transaction. A finished run goes on. Raises Mistake if the run is cancelled.
    """
    in_order, asked_again = sorted(attempt_ids), 0
    with ledger.write() as db:
        # The run before its attempts, and each of those before its recipient, in the order of their ids:
        # whoever takes several in another order would wait for us while we wait for them.
        of_run = select(runs.c.state).where(runs.c.id == run.id).with_for_update(key_share=True)
        state = db.execute(of_run).scalar_one()
        if state == RunState.CANCELLED:
            raise cancelled(run.name)
        for piece in _pieces(in_order):
            still = db.execute(
                select(attempts.c.id, attempts.c.recipient_id)
                .select_from(attempts.join(recipients, recipients.c.id == attempts.c.recipient_id))
                .where(attempts.c.id.in_(_listed(ledger, piece)), attempts.c.number == recipients.c.attempts)
                .where(_as_asked(attempts.c, asked), recipients.c.state.in_(_OVER), ~_suppressed)
                .where(in_time(now), recipients.c.dropped_by.is_(None))
                .order_by(attempts.c.id)
                .with_for_update(of=[attempts, recipients])
            ).all()
            if not still:
                continue
            asked_again += db.execute(
                update(recipients)
                .where(recipients.c.id.in_(_listed(ledger, [row.recipient_id for row in still])))
                .where(recipients.c.state.in_(_OVER))
                .values(state=RecipientState.WAITING, due_at=now)
            ).rowcount
            db.execute(
                update(attempts)
                .where(attempts.c.id.in_(_listed(ledger, [row.id for row in still])))
                .values(requeued_at=now)
            )
        for piece in _pieces(sorted(allowed_again)):
            these = recipients.c.id.in_(_listed(ledger, piece))
            asked_again += readmit(ledger, db, now, these, recipients.c.run_id == run.id, in_time(now))
        if asked_again and state == RunState.FINISHED:
            # As by `dialer start`: it takes its turn beside the others, and refusals are counted anew. The
            # side stays as it was decided.
            start(db, run, now, exchange=None)
    return asked_again


def endings(ledger: Ledger, run_id: int) -> Counter[str]:
    """How the latest attempts of those ended who are not called any more by themselves."""
    return _counted(
        ledger,
        select(
            attempts.c.state,
            attempts.c.outcome,
            _refused_for.label("refused_for"),
            func.count().label("many"),
        )
        .select_from(
            recipients.join(
                attempts,
                and_(attempts.c.recipient_id == recipients.c.id, attempts.c.number == recipients.c.attempts),
            )
        )
        .where(recipients.c.run_id == run_id, recipients.c.state.in_(_OVER)),
    )


def refusals(ledger: Ledger, run_id: int) -> Counter[str]:
    """With which codes attempts of this run were refused, and how many."""
    query = select(
        attempts.c.state, attempts.c.outcome, _refused_for.label("refused_for"), func.count().label("many")
    )
    refused = query.where(attempts.c.run_id == run_id, attempts.c.state == AttemptState.REFUSED)
    by_code: Counter[str] = Counter()
    for ending, count in _counted(ledger, refused).items():
        by_code[ending.removeprefix("refused:")] += count
    return by_code


def cancelled(name: str) -> Mistake:
    """Nobody is called again in a run that was cancelled."""
    return Mistake(
        f"{name} was cancelled, which is for ever, and nobody in it can have another attempt; "
        "to call these people again, load them under another name"
    )


def _as_asked(attempt: Any, asked: Asked) -> Any:
    """Whether an attempt, given as its columns, ended as it is asked for."""
    ways = []
    if asked.outcomes:
        ways.append(and_(attempt.state == AttemptState.ENDED, attempt.outcome.in_(sorted(asked.outcomes))))
    if asked.refused:
        ways.append(attempt.state == AttemptState.REFUSED)
    # The reason is `CODE: words`. Not LIKE, which SQLite would match whatever the letters' case.
    for code in sorted(asked.codes):
        this_one = func.substr(attempt.reason + ":", 1, len(code) + 1) == f"{code}:"
        ways.append(and_(attempt.state == AttemptState.REFUSED, this_one))
    if asked.unknown:
        ways.append(attempt.state == AttemptState.UNKNOWN)
    in_one_of_them = or_(false(), *ways)
    if asked.since is None:
        return in_one_of_them
    return and_(in_one_of_them, func.coalesce(attempt.ended_at, attempt.unknown_at) >= asked.since)


def _off_the_list_since(asked: Asked) -> list[Any]:
    if asked.since is None:
        return []
    of_list = suppression_history.c.campaign_id.in_((EVERY_CAMPAIGN, campaign_of_recipient))
    taken_off = exists().where(
        suppression_history.c.phone == recipients.c.phone, of_list, suppression_history.c.what == "removed"
    )
    return [taken_off.where(suppression_history.c.at >= asked.since)]


def _ending(row: Any) -> str:
    """How it ended, as `--outcome` takes it."""
    if row.state == AttemptState.REFUSED:
        return f"refused:{(row.refused_for or '').partition(':')[0]}"
    return str(row.outcome or row.state)


def _note(found: Found, row: Any) -> None:
    match row.person:
        case RecipientState.WAITING:
            found.waiting += 1
        case RecipientState.IN_PROGRESS:
            found.under_way += 1
        case RecipientState.EXPIRED:
            found.expired += 1
        case _ if row.dropped_by is not None:
            found.dropped += 1
        case _ if row.suppressed:
            found.suppressed += 1
        case _ if row.expired:
            found.expired += 1
        case RecipientState.SUPPRESSED:
            found.were_suppressed += 1
        case _:
            found.attempt_ids.append(row.id)
            found.endings[_ending(row)] += 1


def _note_suppressed(found: Found, row: Any) -> None:
    if row.suppressed:
        found.suppressed += 1
    elif row.expired:
        found.expired += 1
    else:
        found.allowed_again.append(row.id)
        found.endings[RecipientState.SUPPRESSED] += 1


def _counted(ledger: Ledger, query: Any) -> Counter[str]:
    found: Counter[str] = Counter()
    with ledger.read() as db:
        for row in db.execute(query.group_by(attempts.c.state, attempts.c.outcome, _refused_for)):
            found[_ending(row)] += row.many
    return found


def _listed(ledger: Ledger, ids: Sequence[int]) -> Any:
    """These ids as the rows of one parameter."""
    # With a parameter each a million would take twice as long, and in SQLite nobody else writes meanwhile.
    if ledger.is_sqlite:
        return select(func.json_each(json.dumps(list(ids))).table_valued("value").c.value)
    return select(func.unnest(bindparam(None, list(ids), ARRAY(BigInteger))).column_valued())


def _pieces(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    return (ids[first : first + _PIECE] for first in range(0, len(ids), _PIECE))
