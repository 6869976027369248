"""Whose time to be called has passed: they are not called any more."""

from datetime import datetime

from sqlalchemy import literal_column, select, update

from campaigns.attempt import RecipientState
from campaigns.ledger.engine import Ledger
from campaigns.ledger.tables import recipients

_PIECE = 500  # recipients a transaction, so that nobody waits for it


def expire(ledger: Ledger, now: datetime) -> int:
    """waiting → expired, for whoever was to be called before now and was not. Returns how many.

    Whoever is being called is left alone; if another attempt were due after it, that expires.
    """
    # As the partial index says it.
    over = (
        recipients.c.state == literal_column("'waiting'"),
        recipients.c.expires_at.is_not(None),
        recipients.c.expires_at <= now,
    )
    with ledger.read() as db:
        # Most rounds find nobody, and should not take a write lock to see it.
        if db.execute(select(recipients.c.id).where(*over).limit(1)).first() is None:
            return 0
    expired = 0
    while True:
        with ledger.write() as db:
            # Whoever is being claimed, cancelled or loaded just now comes with the next round. By another
            # order than the index's, each piece would go through all of them.
            ids = select(recipients.c.id).where(*over).order_by(recipients.c.expires_at).limit(_PIECE)
            found = list(db.execute(ids.with_for_update(skip_locked=True)).scalars())
            if not found:
                return expired
            db.execute(
                update(recipients).where(recipients.c.id.in_(found)).values(state=RecipientState.EXPIRED)
            )
            expired += len(found)
