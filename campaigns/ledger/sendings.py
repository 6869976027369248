"""The attempts that can have made a call of which the ledger does not know whose it is."""

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, and_, or_, select

from campaigns.attempt import AttemptState
from campaigns.connect_options import ConnectOptions
from campaigns.ledger.engine import Ledger
from campaigns.ledger.stored_choices import connect_of
from campaigns.ledger.tables import CHOICES_VERSION, attempts, campaigns, recipients, runs
from campaigns.stored import Unreadable
from campaigns.stranger import Sending

NOT_KNOWN = ""
"""The instance of a sending whose campaign cannot be read."""

_PIECE = 500  # parameters a statement, well under what the databases allow

_MAY_HAVE_MADE_ANOTHER = or_(
    # Also one that is no longer searched for: that it was never found is a belief, and no proof.
    attempts.c.state.in_((AttemptState.UNKNOWN, AttemptState.DIALING)),
    # A token that is sent again after its first call was over starts another one.
    and_(attempts.c.state.in_((AttemptState.PLACED, AttemptState.ENDED)), attempts.c.replays > 0),
)

_SENDING = select(
    attempts.c.id,
    attempts.c.fence,
    attempts.c.state,
    attempts.c.client_token,
    attempts.c.dialing_at,
    attempts.c.lease_until,
    recipients.c.phone,
    runs.c.campaign_id,
    CHOICES_VERSION,
).select_from(
    attempts.join(recipients, recipients.c.id == attempts.c.recipient_id)
    .join(runs, runs.c.id == attempts.c.run_id)
    .join(campaigns, campaigns.c.id == runs.c.campaign_id)
)


def sendings(
    ledger: Ledger,
    db: Connection,
    *,
    exchange: str,
    instance_id: str,
    phones: Collection[str],
    tokens: Collection[str],
) -> list[Sending]:
    """The attempts to these numbers, of any campaign, that can have made a call the ledger does not know.

    Of one exchange and one instance. And the attempts with these tokens, whatever became of them: a call that
    carries one is that attempt's, and so no other's.
    """
    found: dict[int, Sending] = {}
    for piece in _pieces(sorted(phones)):
        to_them = _SENDING.where(recipients.c.phone.in_(piece), runs.c.exchange == exchange)
        for row in db.execute(to_them.where(_MAY_HAVE_MADE_ANOTHER)):
            each = _sending(ledger, db, row)
            if each.connect.instance_id in (instance_id, NOT_KNOWN):
                found[each.attempt_id] = each
    for piece in _pieces(sorted(tokens)):
        dialed = attempts.c.dialing_at.is_not(None)
        for row in db.execute(_SENDING.where(attempts.c.client_token.in_(piece), dialed)):
            found[row.id] = _sending(ledger, db, row)
    return list(found.values())


def known_tokens(ledger: Ledger, tokens: Collection[str]) -> set[str]:
    """Those of these client tokens that attempts of this ledger have."""
    known: set[str] = set()
    with ledger.read() as db:
        for piece in _pieces(sorted(tokens)):
            these = attempts.c.client_token.in_(piece)
            known.update(db.execute(select(attempts.c.client_token).where(these)).scalars())
    return known


def _sending(ledger: Ledger, db: Connection, row: Any) -> Sending:
    return Sending(
        attempt_id=row.id,
        fence=row.fence,
        state=row.state,
        client_token=row.client_token,
        phone=row.phone,
        earliest=row.dialing_at,
        latest=row.lease_until,
        connect=_connect(ledger, db, row),
    )


def _connect(ledger: Ledger, db: Connection, row: Any) -> ConnectOptions:
    try:
        return connect_of(ledger, db, row.campaign_id, row.version)
    except Unreadable:
        # It may have been sent to any instance, and its number has to tell: left out, its call could be
        # taken for another attempt's.
        return ConnectOptions.model_construct(instance_id=NOT_KNOWN, contact_flow_id=NOT_KNOWN)


def _pieces(texts: Sequence[str]) -> Iterator[Sequence[str]]:
    return (texts[first : first + _PIECE] for first in range(0, len(texts), _PIECE))
