"""What status and export read. Nothing here changes anything, and no read is long."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, case, func, literal_column, select, tuple_, union_all

from campaigns.attempt import AttemptState, Outcome, RecipientState
from campaigns.ledger.engine import Ledger
from campaigns.ledger.tables import RELEASED, attempts, loads, recipients
from campaigns.ledger.tallies import Tallies, tallied

RESCUE_LATE = timedelta(seconds=20)
"""Rescue looks every 5 s. An attempt that is queued for so long after its lease was not looked at."""

_LAST_ID = 2**63 - 1
_PAGE = 1_000  # recipients a transaction: a reader in SQLite holds up the writers


@dataclass(frozen=True, slots=True)
class Unknowns:
    """How the attempts that may have rung stand."""

    searched: int = 0
    """Are searched for in Connect, while their recipients are in progress."""
    not_found: int = 0
    """Were never found there, and hold nobody: whoever may be called was, or will be, dialed again."""
    next_search: datetime | None = None
    """When the first of those that are searched for is looked for again."""
    untold: int = 0
    """Recipients who are held because Connect has not told how their calls ended."""


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
    waiting: Mapping[str | None, int] = field(default_factory=dict)
    """Recipients who wait, by their zones as the ledger has them; None: none is known."""
    last_dialed_at: datetime | None = None
    """When the last of them left; None if there is none."""
    leases_passed: int = 0
    """Attempts that have been queued so long that rescue should have returned them."""


@dataclass(frozen=True, slots=True)
class Line:
    """One accepted row of the list, and what became of it."""

    recipient: Any
    """A row of `recipients`."""
    attempts: Sequence[Any]
    """Its rows of `attempts`, by number."""


def figures(db: Connection, run_id: int, now: datetime) -> Figures:
    """The numbers of one run. They cost the same however many recipients it has."""
    counted = tallied(db, run_id)
    mine = attempts.c.run_id == run_id
    first = db.execute(select(func.min(attempts.c.dialing_at)).where(mine)).scalar()
    over = timedelta(minutes=1) if first is None else min(timedelta(minutes=1), now - first)
    lately = select(func.count(), func.max(attempts.c.dialing_at)).where(
        mine, attempts.c.dialing_at > now - over
    )
    count, last_dialed_at = db.execute(lately).one() if first is not None else (0, None)
    refusal = (
        select(attempts.c.reason)
        # As the partial index says it.
        .where(mine, attempts.c.state == literal_column("'refused'"))
        .order_by(attempts.c.id.desc())
        .limit(1)
    )
    return Figures(
        recipients=counted.recipients,
        waiting=counted.waiting,
        attempts=counted.attempts,
        outcomes=counted.outcomes,
        dialed_lately=int(count),
        last_dialed_at=last_dialed_at,
        leases_passed=_leases_passed(db, run_id, now),
        over=over,
        last_refusal=db.execute(refusal).scalar(),
        unknowns=_unknowns(db, run_id, counted),
    )


def _leases_passed(db: Connection, run_id: int, now: datetime) -> int:
    query = (
        select(func.count())
        .where(attempts.c.run_id + 0 == run_id, RELEASED, attempts.c.state == literal_column("'queued'"))
        .where(attempts.c.lease_until < now - RESCUE_LATE)
    )
    return int(db.execute(query).scalar_one())


def _unknowns(db: Connection, run_id: int, counted: Tallies) -> Unknowns:
    untold = _untold(db, run_id, counted)
    held = counted.recipients.get(RecipientState.HELD, 0) - untold
    if counted.attempts.get(AttemptState.UNKNOWN, 0) == counted.not_found:
        return Unknowns(not_found=max(0, counted.not_found - held), untold=untold)
    # Those that are searched for: as many as the last hours have left, however long the list.
    searched, held_meanwhile = (
        recipients.c.state == state for state in (RecipientState.IN_PROGRESS, RecipientState.HELD)
    )
    row = db.execute(
        select(
            func.count(case((searched, 1))).label("searched"),
            func.count(case((held_meanwhile, 1))).label("held"),
            func.min(case((searched, attempts.c.settle_at))).label("next_search"),
        )
        .select_from(attempts.join(recipients, recipients.c.id == attempts.c.recipient_id))
        # As the partial index says it. The + 0 keeps to that: by run and state, all would be looked at.
        .where((attempts.c.run_id + 0) == run_id, attempts.c.state == literal_column("'unknown'"))
        .where(attempts.c.settle_at.is_not(None))
    ).one()
    # In PostgreSQL somebody may have been settled since the counts were read.
    not_found = max(0, counted.not_found - (held - row.held))
    return Unknowns(row.searched, not_found, row.next_search, untold)


def _untold(db: Connection, run_id: int, counted: Tallies) -> int:
    """How many are held whose latest call was placed, and has ended without an outcome."""
    held = counted.recipients.get(RecipientState.HELD, 0)
    if not held or not counted.outcomes.get(Outcome.NO_OUTCOME, 0):
        return 0  # as nearly always
    query = (
        select(func.count())
        .select_from(
            recipients.join(
                attempts,
                (attempts.c.recipient_id == recipients.c.id) & (attempts.c.number == recipients.c.attempts),
            )
        )
        .where(recipients.c.run_id == run_id, recipients.c.state == RecipientState.HELD)
        .where(attempts.c.state == AttemptState.ENDED)
    )
    return min(held, int(db.execute(query).scalar_one()))


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
        ends = first_and_last(db, run_id)
    if ends is None:
        return
    first, last = ends
    while found := page(ledger, run_id, first, last):
        yield from found
        first = found[-1].recipient.id + 1


def page(ledger: Ledger, run_id: int, first: int, last: int) -> list[Line]:
    """The first thousand of those whose ids are `first` to `last`, in their order."""
    # The + 0 keeps SQLite to the ids: by the run, it would go through all of it for each page. So would
    # PostgreSQL with the + 0, which takes those of one run for few then.
    by_run = recipients.c.run_id + 0 if ledger.is_sqlite else recipients.c.run_id
    with ledger.read() as db:
        people = db.execute(
            select(recipients)
            .where(by_run == run_id, recipients.c.id.between(first, last))
            .order_by(recipients.c.id)
            .limit(_PAGE)
        ).all()
        if not people:
            return []
        tries: dict[int, list[Any]] = {}
        for row in db.execute(
            select(attempts)
            .where(attempts.c.recipient_id.between(people[0].id, people[-1].id))
            .where((attempts.c.run_id + 0) == run_id)
            .order_by(attempts.c.recipient_id, attempts.c.number)
        ):
            tries.setdefault(row.recipient_id, []).append(row)
    return [Line(person, tries.get(person.id, [])) for person in people]


def first_and_last(db: Connection, run_id: int) -> tuple[int, int] | None:
    """The smallest and the largest id of a run's recipients; None if there is nobody."""
    # By whole places in the index of the states, up and down from each. By the run and the state, the plainer
    # question, PostgreSQL may go through everybody by their ids, and whoever waits stands at the end.
    place = (recipients.c.run_id, recipients.c.state, recipients.c.id)
    looks = []
    for state in RecipientState:
        up = select(*place).where(tuple_(*place) >= tuple_(run_id, state, 0)).order_by(*place)
        down = select(*place).where(tuple_(*place) <= tuple_(run_id, state, _LAST_ID))
        down = down.order_by(*(column.desc() for column in place))
        nearest = (up.limit(1).subquery(), down.limit(1).subquery())
        looks += [select(each.c.id).where(each.c.run_id == run_id, each.c.state == state) for each in nearest]
    ids = list(db.execute(union_all(*looks)).scalars())
    return (min(ids), max(ids)) if ids else None
