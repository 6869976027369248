"""What status and export read. Nothing here changes anything, and no read is long."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, and_, case, func, literal_column, or_, select

from campaigns.attempt import AttemptState, RecipientState
from campaigns.ledger.engine import Ledger
from campaigns.ledger.tables import attempts, loads, recipients

_PAGE = 1_000  # recipients a transaction: a reader in SQLite holds up the writers


@dataclass(frozen=True, slots=True)
class Unknowns:
    """How the attempts that may have rung stand."""

    searched: int = 0
    """Are searched for in Connect, while their recipients are in progress."""
    not_found: int = 0
    """Were never found there, so that their recipients were, or will be, dialed again."""
    next_search: datetime | None = None
    """When the first of those that are searched for is looked for again."""


@dataclass(frozen=True, slots=True)
class Figures:
    """The numbers of one run at one moment."""

    recipients: dict[str, int]
    """By state."""
    attempts: dict[str, int]
    """By state."""
    outcomes: dict[str, int]
    """Ended attempts by outcome."""
    dialed_lately: int
    """Attempts whose request left within the last `over`."""
    over: timedelta
    """A minute, or the time since the first call if that is shorter."""
    last_refusal: str | None
    unknowns: Unknowns = Unknowns()


@dataclass(frozen=True, slots=True)
class Line:
    """One accepted row of the list, and what became of it."""

    recipient: Any
    """A row of `recipients`."""
    attempts: Sequence[Any]
    """Its rows of `attempts`, by number."""


def figures(db: Connection, run_id: int, now: datetime) -> Figures:
    """Count one run."""
    people: dict[str, int] = dict(
        db.execute(
            select(recipients.c.state, func.count())
            .where(recipients.c.run_id == run_id)
            .group_by(recipients.c.state)
        ).all()
    )
    tries: dict[str, int] = {}
    outcomes: dict[str, int] = {}
    for state, outcome, count in db.execute(
        select(attempts.c.state, attempts.c.outcome, func.count())
        .where(attempts.c.run_id == run_id)
        .group_by(attempts.c.state, attempts.c.outcome)
    ):
        tries[state] = tries.get(state, 0) + count
        if outcome is not None:
            outcomes[outcome] = outcomes.get(outcome, 0) + count
    mine = attempts.c.run_id == run_id
    first = db.execute(select(func.min(attempts.c.dialing_at)).where(mine)).scalar()
    over = timedelta(minutes=1) if first is None else min(timedelta(minutes=1), now - first)
    lately = select(func.count()).where(mine, attempts.c.dialing_at > now - over)
    refusal = (
        select(attempts.c.reason)
        .where(mine, attempts.c.state == "refused")
        .order_by(attempts.c.id.desc())
        .limit(1)
    )
    return Figures(
        recipients=people,
        attempts=tries,
        outcomes=outcomes,
        dialed_lately=int(db.execute(lately).scalar_one()) if first is not None else 0,
        over=over,
        last_refusal=db.execute(refusal).scalar(),
        # Most runs have none, and are not asked.
        unknowns=_unknowns(db, run_id) if tries.get(AttemptState.UNKNOWN) else Unknowns(),
    )


def _unknowns(db: Connection, run_id: int) -> Unknowns:
    searched = and_(attempts.c.settle_at.is_not(None), recipients.c.state == RecipientState.IN_PROGRESS)
    followed = or_(attempts.c.number < recipients.c.attempts, recipients.c.state == RecipientState.WAITING)
    row = db.execute(
        select(
            func.count(case((searched, 1))),
            func.count(case((and_(attempts.c.settle_at.is_(None), followed), 1))),
            func.min(case((searched, attempts.c.settle_at))),
        )
        .select_from(attempts.join(recipients, recipients.c.id == attempts.c.recipient_id))
        # As the partial index says it.
        .where(attempts.c.run_id == run_id, attempts.c.state == literal_column("'unknown'"))
    ).one()
    return Unknowns(*row)


def list_columns(ledger: Ledger, run_id: int) -> list[str]:
    """The columns of the run's lists, in the order in which they first appeared."""
    with ledger.read() as db:
        headers = db.execute(
            select(loads.c.columns).where(loads.c.run_id == run_id).order_by(loads.c.id)
        ).all()
    return list(dict.fromkeys(column for (header,) in headers for column in header))


def lines(ledger: Ledger, run_id: int) -> Iterator[Line]:
    """Every accepted row of a run in the order of the lists, a page at a time.

    Rows that are loaded meanwhile are left out.
    """
    with ledger.read() as db:
        ids = select(func.min(recipients.c.id), func.max(recipients.c.id))
        first, last = db.execute(ids.where(recipients.c.run_id == run_id)).one()
    if first is None:
        return
    after = first - 1
    while True:
        with ledger.read() as db:
            page = db.execute(
                select(recipients)
                # The + 0, here and below, keeps SQLite to the ids: by run, each page would go through all.
                .where((recipients.c.run_id + 0) == run_id)
                .where(recipients.c.id > after, recipients.c.id <= last)
                .order_by(recipients.c.id)
                .limit(_PAGE)
            ).all()
            if not page:
                return
            tries: dict[int, list[Any]] = {}
            for row in db.execute(
                select(attempts)
                .where(attempts.c.recipient_id.between(page[0].id, page[-1].id))
                .where((attempts.c.run_id + 0) == run_id)
                .order_by(attempts.c.recipient_id, attempts.c.number)
            ):
                tries.setdefault(row.recipient_id, []).append(row)
        for person in page:
            yield Line(person, tries.get(person.id, []))
        after = page[-1].id
