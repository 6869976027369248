"""How many of a run are in which state. The database counts them itself, as they come and move.

Triggers do it (migrations/versions/r0005, r0006), so that nobody who writes can forget to, and whoever
asks does not count ten million. A count and what it counts are committed together, or neither is.
"""

from dataclasses import dataclass, field

from sqlalchemy import Connection, func, select, text

from campaigns.attempt import AttemptState, RecipientState
from campaigns.ledger.engine import Errand, Ledger
from campaigns.ledger.tables import tallies

# In PostgreSQL each change of a count is a row of its own, or all workers would wait for one. Whoever reads
# sees either the rows before this or the one after it; what is added meanwhile stays for the next time.
_FOLD = text("""
    WITH folded AS (
        DELETE FROM tallies WHERE (run_id, what, state, detail) IN (
            SELECT run_id, what, state, detail FROM tallies
            GROUP BY run_id, what, state, detail HAVING count(*) > 1
        )
        RETURNING run_id, what, state, detail, n
    )
    INSERT INTO tallies (run_id, what, state, detail, n)
    SELECT run_id, what, state, detail, sum(n) FROM folded
    GROUP BY run_id, what, state, detail HAVING sum(n) <> 0
""")


@dataclass(slots=True)
class Tallies:
    """The numbers of one run at one moment; what there is none of is left out."""

    recipients: dict[str, int] = field(default_factory=dict)
    """By state."""
    waiting: dict[str | None, int] = field(default_factory=dict)
    """Recipients who wait, by their zones as the ledger has them; None: none is known."""
    attempts: dict[str, int] = field(default_factory=dict)
    """By state."""
    outcomes: dict[str, int] = field(default_factory=dict)
    """Attempts by outcome."""
    not_found: int = 0
    """Unknown attempts that nobody searches for any more."""


def tallied(db: Connection, run_id: int) -> Tallies:
    """What the database has counted of a run."""
    found = Tallies()
    kind = (tallies.c.what, tallies.c.state, tallies.c.detail)
    count = func.sum(tallies.c.n)
    mine = select(*kind, count).where(tallies.c.run_id == run_id).group_by(*kind).having(count != 0)
    for what, state, detail, n in db.execute(mine.order_by(*kind)):
        by_state = found.recipients if what == "recipients" else found.attempts
        by_state[state] = by_state.get(state, 0) + int(n)
        if what == "attempts" and state == AttemptState.UNKNOWN:
            found.not_found += int(n) if detail else 0
        elif what == "attempts" and detail:
            found.outcomes[detail] = found.outcomes.get(detail, 0) + int(n)
        elif state == RecipientState.WAITING:
            found.waiting[detail or None] = int(n)
    return found


def fold(ledger: Ledger) -> None:
    """Make one row of the changes of each count, where they are several: in PostgreSQL."""
    if ledger.is_sqlite:
        return
    with ledger.write() as db:
        if ledger.alone(db, Errand.TALLY):
            db.execute(_FOLD)
