"""A rehearsal: a trial whose clock begins at a chosen time and runs faster than time passes.

The clock is kept in the ledger, so that all processes and commands that share the ledger share the clock, and
so that a ledger is either a rehearsal's or may have real runs, never both. It runs only while a process keeps
it running (`keep_running`), and stands still otherwise: the night between two rehearsals does not pass by it.
It never goes back.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import Connection, delete, func, insert, or_, select, update

from campaigns.ledger.tables import (
    attempts,
    campaigns,
    heartbeats,
    identity,
    loads,
    rehearsal,
    runs,
    suppressions,
)
from campaigns.mistake import Mistake

if TYPE_CHECKING:
    from campaigns.ledger.engine import Ledger

KEPT_RUNNING_FOR = timedelta(seconds=30)
"""Real time for which the clock goes on after it was last kept running, as when its process was killed."""

STARTS_AFTER = timedelta(seconds=1)
"""Real time between the start of the clock and its first move: by then all processes have read of it."""

_MISSED = timedelta(seconds=20)
"""As in health.py: processes that reported within this time are alive."""

_THE_ROW = rehearsal.c.id == 1

OWN_DIRECTORY = (
    "give the rehearsal a directory of its own: DIALER_DATA_DIR=.dialer/rehearsal (and an empty "
    "DIALER_DATABASE_URL, where one is set), for this command and for those that look at it"
)


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """The clock of a rehearsal. Instants are UTC."""

    as_of: datetime
    """The time at which the rehearsal was told to begin."""
    shown_at: datetime
    """What the clock shows at `real_at`."""
    real_at: datetime
    runs_until: datetime
    """Real time at which the clock stops, unless a process keeps it running until then."""
    speed: float
    """Seconds that it shows in a real second."""

    def shows(self, real: datetime) -> datetime:
        """What the clock shows at a real time."""
        ran = min(real, self.runs_until) - self.real_at
        return self.shown_at + max(timedelta(0), ran) * self.speed

    def runs(self, real: datetime) -> bool:
        """Whether the clock runs at a real time, or stands still."""
        return real < self.runs_until


def read_rehearsal(db: Connection) -> Rehearsal | None:
    """The clock of the ledger's rehearsal; None in a ledger that is not a rehearsal's."""
    columns = (rehearsal.c.as_of, rehearsal.c.shown_at, rehearsal.c.real_at, rehearsal.c.runs_until)
    row = db.execute(select(*columns, rehearsal.c.speed).where(_THE_ROW)).one_or_none()
    return None if row is None else Rehearsal(**row._mapping)


def rehearse(ledger: "Ledger", as_of: datetime | None, speed: float) -> Rehearsal | None:
    """Make the ledger a rehearsal's, or go on with its rehearsal. The clock stands still until it is started.

    as_of: the time that the clock shows first. The same one again goes on where the clock stopped; a later
    one than the clock shows moves it there. None: go on with the ledger's rehearsal, if there is one.
    speed: seconds that the clock shows in a real second.

    Returns None for a ledger that is not a rehearsal's, and is not to become one. Raises Mistake where other
    runs would get a clock that is wrong for them, and where the clock would go back.
    """
    real = ledger.real_now()
    with ledger.write() as db:
        _lock(db)
        known = read_rehearsal(db)
        if known is None and as_of is None:
            return None
        if known is None:
            assert as_of is not None
            _refuse_other_runs(db, as_of, real)
            clock = Rehearsal(as_of, as_of, real, real, speed)
            # Of processes that are gone: a clock that begins earlier would take them for those of the future.
            db.execute(delete(heartbeats))
            db.execute(insert(rehearsal).values(id=1, **_values(clock)))
        else:
            clock = _gone_on(known, as_of, speed, real)
            db.execute(update(rehearsal).where(_THE_ROW).values(_values(clock)))
    ledger.rehearsal = clock
    return clock


def start(ledger: "Ledger") -> None:
    """Let the clock run from `STARTS_AFTER` on, for as long as it is kept running."""

    def started(clock: Rehearsal, real: datetime) -> Rehearsal:
        begins, ends = real + STARTS_AFTER, real + KEPT_RUNNING_FOR
        return replace(clock, shown_at=clock.shows(real), real_at=begins, runs_until=ends)

    _change(ledger, started)


def keep_running(ledger: "Ledger") -> None:
    """Let the clock run on for `KEPT_RUNNING_FOR`. A clock that has stopped goes on from what it shows."""

    def later(clock: Rehearsal, real: datetime) -> Rehearsal:
        if not clock.runs(real):
            clock = replace(clock, shown_at=clock.shows(real), real_at=real)
        return replace(clock, runs_until=real + KEPT_RUNNING_FOR)

    _change(ledger, later)


def stop(ledger: "Ledger") -> None:
    """Let the clock stand still at what it shows."""

    def stopped(clock: Rehearsal, real: datetime) -> Rehearsal:
        return replace(clock, shown_at=clock.shows(real), real_at=real, runs_until=real)

    _change(ledger, stopped)


def refuse_real_runs(db: Connection) -> None:
    """Raise Mistake in a rehearsal's ledger, in the transaction that decides that runs are real."""
    _lock(db)
    clock = read_rehearsal(db)
    if clock is not None:
        raise not_for_real(clock)


def not_for_real(clock: Rehearsal) -> Mistake:
    """The mistake of a command for real calls in a rehearsal's ledger."""
    return Mistake(
        f"this ledger is a rehearsal's (--as-of {clock.as_of.astimezone():%Y-%m-%d %H:%M}), and its clock is "
        "not that of real calls: name another directory in DIALER_DATA_DIR, or remove the rehearsal's"
    )


def _lock(db: Connection) -> None:
    # Of a rehearsal and a real run that begin at the same time, the second sees what the first has written.
    db.execute(select(identity.c.id).where(identity.c.id == 1).with_for_update())


def _gone_on(known: Rehearsal, as_of: datetime | None, speed: float, real: datetime) -> Rehearsal:
    """The clock of a rehearsal that goes on. Raises Mistake."""
    shown = known.shows(real)
    if known.runs(real):
        raise Mistake(
            "a rehearsal is running in this ledger already: stop it first (half a minute after its process "
            "was killed it has stopped by itself)"
        )
    if as_of is None or as_of == known.as_of:
        return Rehearsal(known.as_of, shown, real, real, speed)
    if as_of < shown:
        raise Mistake(
            f"--as-of: the clock of this ledger's rehearsal shows {shown.astimezone():%Y-%m-%d %H:%M} "
            f"already, and never goes back; {OWN_DIRECTORY}"
        )
    return Rehearsal(as_of, as_of, real, real, speed)


def _refuse_other_runs(db: Connection, as_of: datetime, real: datetime) -> None:
    """Raise Mistake in a ledger for which a clock that begins at `as_of` would be wrong."""
    began = or_(campaigns.c.exchange.is_not(None), campaigns.c.schedule_from.is_not(None))
    if (
        db.execute(select(campaigns.c.id).where(began).limit(1)).first() is not None
        or db.execute(select(runs.c.id).where(runs.c.exchange.is_not(None)).limit(1)).first() is not None
        or db.execute(select(attempts.c.id).limit(1)).first() is not None
    ):
        raise Mistake(f"--as-of: campaigns were started in this ledger by the real clock; {OWN_DIRECTORY}")
    if db.execute(select(heartbeats.c.process).where(heartbeats.c.seen_at > real - _MISSED)).first():
        raise Mistake(f"--as-of: processes work with this ledger by the real clock; {OWN_DIRECTORY}")
    written = [
        db.execute(select(func.max(column))).scalar()
        for column in (runs.c.loaded_at, loads.c.loaded_at, suppressions.c.added_at)
    ]
    latest = max((instant for instant in written if instant is not None), default=None)
    if latest is not None and latest > as_of:
        raise Mistake(
            f"--as-of: lists were loaded in this ledger at {latest.astimezone():%Y-%m-%d %H:%M}, and its "
            f"clock never goes back; {OWN_DIRECTORY}"
        )


def _values(clock: Rehearsal) -> dict[str, object]:
    return {name: getattr(clock, name) for name in ("as_of", "shown_at", "real_at", "runs_until", "speed")}


def _change(ledger: "Ledger", change: Callable[[Rehearsal, datetime], Rehearsal]) -> None:
    real = ledger.real_now()
    with ledger.write() as db:
        _lock(db)
        clock = read_rehearsal(db)
        if clock is None:
            return
        clock = change(clock, real)
        db.execute(update(rehearsal).where(_THE_ROW).values(_values(clock)))
    ledger.rehearsal = clock
