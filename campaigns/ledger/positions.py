"""How far the ledger has come, and whether it has gone back.

Each move to `dialing` counts one of 64 slots up. What a slot has reached is also kept outside the ledger: in
the memory of each process, and in Redis before the request leaves. A ledger that is behind what is known of
it has lost commits: an asynchronous standby was promoted, or a backup was restored. It would dial again the
recipients of the lost commits, so it is stopped until an operator lets it go on.
"""

from datetime import datetime

from sqlalchemy import Connection, func, select

from campaigns.ledger.engine import Ledger, require_own_version
from campaigns.ledger.identity import identity_of, stop
from campaigns.ledger.reached import Position, Reached, further
from campaigns.ledger.tables import attempts, positions

WENT_BACK = "ledger_went_back"
"""The code of the stop, and of an attempt whose move finds it out."""

WHAT_TO_DO = (
    "stop the calls with: dialer pause --all, enter what Connect has placed since with: dialer reconcile "
    "--since TIME, then go on with: dialer resume --all"
)

# In the driver's own words: each call makes it, and putting it together takes longer than what it does.
_COUNT_UP = "UPDATE positions SET n = n + 1 WHERE slot = {this} RETURNING n"
_IN_SQLITE, _IN_POSTGRESQL = _COUNT_UP.format(this="?"), _COUNT_UP.format(this="%s")
_REACHED = select(positions.c.slot, positions.c.n)


def count_up(db: Connection, epoch: int, slot: int) -> Position:
    """Count one move to `dialing`. The last statement that waits for a lock in its transaction.

    Nothing may be waited for afterwards: another move may wait for this slot and hold what is waited for.
    """
    statement = _IN_SQLITE if db.dialect.name == "sqlite" else _IN_POSTGRESQL
    return Position(epoch, slot, int(db.exec_driver_sql(statement, (slot,)).scalar_one()))


def may_be_dialed_from(ledger: Ledger, db: Connection, known: Reached, now: datetime) -> bool:
    """Whether this ledger is neither stopped nor behind what is known of it; behind, it is stopped.

    Raises OtherVersion when the ledger has become another version's meanwhile.
    known: as `known_of` gave it before this transaction began.
    """
    who = identity_of(db)
    require_own_version(who.version_num)
    if who.stopped:
        return False
    here = Reached(who.epoch, _slots(db))
    missing = known.missing_from(here)
    if missing is None:
        ledger.reached.note(here)
        return True
    _stop(db, missing, known.epoch, now)
    return False


def known_of(ledger: Ledger, outside: Reached | None = None) -> Reached:
    """What this process remembers of the ledger, and what was noted `outside`.

    To be asked for before the transaction that compares it: a move that is committed and noted in between
    would look like one that the ledger has lost.
    """
    return further(ledger.reached.reached(), outside or Reached())


def check(ledger: Ledger, outside: Reached | None = None) -> bool:
    """`may_be_dialed_from` in a transaction of its own."""
    known, now = known_of(ledger, outside), ledger.now()
    with ledger.write() as db:
        return may_be_dialed_from(ledger, db, known, now)


def stop_gone_back(db: Connection, known: Reached, counted: Position, now: datetime) -> None:
    """Stop dialing from this ledger because a position that was just counted had been reached before."""
    before = {**_slots(db), counted.slot: counted.n - 1}
    _stop(db, known.missing_from(Reached(counted.epoch, before)) or 0, known.epoch, now)


def _slots(db: Connection) -> dict[int, int]:
    return {row.slot: row.n for row in db.execute(_REACHED)}


def _stop(db: Connection, missing: int, known_epoch: int, now: datetime) -> None:
    last = db.execute(select(func.max(attempts.c.dialing_at))).scalar()
    lost = (
        f"it has lost {missing:,} of the calls that were about to be placed"
        if missing
        else "it has lost what was done since an operator last let it go on"
    )
    until = f"; the last call it knows of was dialed at {last:%Y-%m-%d %H:%M:%S} UTC" if last else ""
    reason = (
        f"the ledger has gone back: {lost}{until}. A standby without the last commits was promoted, or a "
        f"backup was restored, and nothing is dialed; {WHAT_TO_DO}"
    )
    stop(db, WENT_BACK, reason, now, least_epoch=known_epoch)
