"""Which of Connect's contacts the ledger has, and whether it may still learn of others."""

from collections.abc import Sequence

from sqlalchemy import literal_column, select

from campaigns.attempt import AttemptState
from campaigns.ledger.engine import Ledger
from campaigns.ledger.tables import RELEASED, attempts, runs

_PIECE = 500  # parameters a statement, well under what the databases allow


def known_contacts(ledger: Ledger, contact_ids: Sequence[str]) -> set[str]:
    """Those of these contacts that the ledger has, whatever became of them."""
    known: set[str] = set()
    with ledger.read() as db:
        for first in range(0, len(contact_ids), _PIECE):
            these = attempts.c.contact_id.in_(contact_ids[first : first + _PIECE])
            known.update(db.execute(select(attempts.c.contact_id).where(these)).scalars())
    return known


def awaits_contacts(ledger: Ledger, exchange: str) -> bool:
    """Whether the ledger may still learn of contacts: an attempt is being dialed, or is searched for."""
    # As the partial indexes say it: SQLite sees that one fits only where its own words are in the query.
    dialing = RELEASED, attempts.c.state == AttemptState.DIALING
    searched = attempts.c.state == literal_column("'unknown'"), attempts.c.settle_at.is_not(None)
    # The + 0 keeps SQLite to those indexes: by run it would go through all that was ever placed.
    of_exchange = (attempts.c.run_id + 0).in_(select(runs.c.id).where(runs.c.exchange == exchange))
    with ledger.read() as db:
        return any(
            db.execute(select(attempts.c.id).where(*these, of_exchange).limit(1)).first()
            for these in (dialing, searched)
        )
