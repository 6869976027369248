"""The brakes: what is known of calls in a row that ended in doubt, shared by all workers of all hosts.

A brake is of one run, or of all runs of a side (EVERY_RUN). That of a run is counted by its own attempts
alone, so a flow that breaks Connect holds back its own campaign only; that of all runs needs errors of two
of them with no good answer in between. They stand in the ledger: losing Redis would let every call through.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, delete, exists, func, insert, literal_column, or_, select, update

from campaigns.attempt import RunState
from campaigns.brake import (
    BRAKES_AT,
    CALL_IN_SPITE_OF_SILENCE,
    CONNECT_ERRORS,
    GOOD_TO_END,
    OPENING,
    Brake,
    BrakeState,
    probe_after,
)
from campaigns.ledger.engine import Errand, Ledger
from campaigns.ledger.tables import EVERY_RUN, RELEASED, attempts, brakes, runs

_NOT_OVER = brakes.c.state != literal_column(f"'{BrakeState.OVER}'")
_side = runs.alias("side")
_ONE_OF = brakes.c.run_id.in_((EVERY_RUN, attempts.c.run_id))

braking = (
    select(func.count()).where(brakes.c.exchange == runs.c.exchange, _ONE_OF, _NOT_OVER).scalar_subquery()
)
"""How many brakes there may be for an attempt's run, and have to be looked at before it is dialed."""


def in_outage(these: Any) -> Any:
    """Whether an attempt of `these` (attempts, or an alias) was in doubt while Connect gave errors.

    Read from the brakes' times, so that the attempts before a brake was put on are among them, and those
    whose worker died then.
    """
    return exists().where(
        _side.c.id == these.c.run_id,
        brakes.c.braked_at.is_not(None),
        brakes.c.exchange == _side.c.exchange,
        brakes.c.run_id.in_((EVERY_RUN, these.c.run_id)),
        brakes.c.since <= these.c.unknown_at,
        or_(brakes.c.until_at.is_(None), brakes.c.until_at >= these.c.dialing_at),
    )


@dataclass(frozen=True, slots=True)
class Gates:
    """How many attempts the brakes let through to the queue."""

    every_run: bool | None = None
    """None: no brake holds all runs back; else whether its next probe may be queued."""
    runs: Mapping[int, bool] = field(default_factory=dict)
    """The runs that have a brake of their own, and whether the next probe may be queued."""

    def room(self, room: int) -> int:
        """Of so many, how many for all runs together."""
        return room if self.every_run is None else min(room, int(self.every_run))

    def sends(self, run_id: int, could_send: int) -> int:
        """Of so many, how many of one run."""
        return min(could_send, int(self.runs[run_id])) if run_id in self.runs else could_send

    def probes(self, run_id: int) -> bool:
        """Whether what is queued of this run now would be a probe."""
        return self.every_run is not None or run_id in self.runs


def gates(db: Connection, exchange: str, now: datetime) -> Gates:
    """How much a round of feeding may queue. One probe at a time: none while another is still queued."""
    braked = brakes.c.state == BrakeState.BRAKED
    held = db.execute(select(brakes).where(brakes.c.exchange == exchange, braked)).all()
    if not held:
        return Gates()
    queued = select(attempts.c.run_id).where(RELEASED, attempts.c.state == literal_column("'queued'"))
    busy = set(db.execute(queued.join(runs).where(runs.c.exchange == exchange)).scalars())
    every_run, of_runs = None, {}
    for row in held:
        if row.run_id == EVERY_RUN:
            every_run = row.probe_at <= now and not busy
        else:
            of_runs[row.run_id] = row.probe_at <= now and row.run_id not in busy
    return Gates(every_run, of_runs)


def let_through(
    db: Connection, exchange: str, run_id: int, now: datetime, until: datetime
) -> datetime | bool:
    """Ask the brakes for leave to dial one attempt of a run.

    True: there is no brake. False: it is the probe, and no other may be dialed until `until`, or its answer.
    Otherwise the attempt has to wait; returns the time of the next probe.
    """
    mine = brakes.c.run_id.in_((EVERY_RUN, run_id))
    held = (
        select(brakes.c.id, brakes.c.probe_at)
        .where(brakes.c.exchange == exchange, mine, brakes.c.state == BrakeState.BRAKED)
        # In this order, as everywhere here, or two would wait for each other.
        .order_by(brakes.c.run_id)
        .with_for_update()
    )
    rows = db.execute(held).all()
    if not rows:
        return True
    next_probe: datetime = max(row.probe_at for row in rows)
    if next_probe > now:
        return next_probe
    db.execute(update(brakes).where(brakes.c.id.in_([row.id for row in rows])).values(probe_at=until))
    return False


def note_doubt(
    ledger: Ledger, exchange: str, run_id: int, *, code: str, dialed_at: datetime, probe: bool, now: datetime
) -> list[Brake]:
    """Count an attempt whose request may have been acted upon. Returns the brakes that were put on by it."""
    put_on = []
    with ledger.write() as db:
        ledger.in_turn(db, Errand.BRAKE)
        own = select(brakes.c.id).where(brakes.c.exchange == exchange, brakes.c.run_id == run_id)
        has_its_own = db.execute(own.where(brakes.c.state == BrakeState.BRAKED)).first() is not None
        for which in (EVERY_RUN, run_id):
            row = _open(db, exchange, which, now)
            if which == EVERY_RUN and has_its_own and (row is None or row.state != BrakeState.BRAKED):
                continue  # what is known of this run says nothing of the others
            if row is None:
                new = {"exchange": exchange, "run_id": which, "state": BrakeState.COUNTING, "answers": 1}
                new |= {"since": dialed_at, "first_run_id": run_id, "last_at": now, "error_code": code}
                db.execute(insert(brakes).values(new))
                continue
            values = {"since": min(row.since, dialed_at), "last_at": now, "error_code": code}
            values["answers"] = row.answers + 1
            several = bool(row.several_runs) or row.first_run_id != run_id
            values["several_runs"] = int(several)
            # A whole side is not held back for one run's errors.
            enough = values["answers"] >= BRAKES_AT and (which != EVERY_RUN or several)
            again = row.state == BrakeState.OPENING and dialed_at > row.until_at - OPENING
            if again or (row.state == BrakeState.COUNTING and enough):
                values |= {"state": BrakeState.BRAKED, "probes": 0, "good": 0, "until_at": None}
                values |= {"braked_at": row.braked_at or now, "probe_at": now + probe_after(0)}
            elif row.state == BrakeState.BRAKED and probe:
                values |= {"probes": row.probes + 1, "probe_at": now + probe_after(row.probes + 1)}
                values["called_at"] = now
            db.execute(update(brakes).where(brakes.c.id == row.id).values(values))
            if values.get("state") == BrakeState.BRAKED:
                put_on.append(_brake({**row._mapping, **values}))
    return put_on


def note_silence(ledger: Ledger, exchange: str, run_id: int, now: datetime) -> None:
    """A question that places no call got no answer either, so the probe's call was not risked."""
    with ledger.write() as db:
        ledger.in_turn(db, Errand.BRAKE)
        for row in _braked(db, exchange, run_id):
            values = {"probes": row.probes + 1, "probe_at": now + probe_after(row.probes + 1)}
            db.execute(update(brakes).where(brakes.c.id == row.id).values(values))


def put_off_probe(ledger: Ledger, exchange: str, run_id: int, at: datetime) -> None:
    """The probe's request has not left, which tells nothing of Connect: the next one may go at this time."""
    with ledger.write() as db:
        ledger.in_turn(db, Errand.BRAKE)
        for row in _braked(db, exchange, run_id):
            db.execute(update(brakes).where(brakes.c.id == row.id).values(probe_at=at))


def note_good(
    ledger: Ledger, exchange: str, run_id: int, *, dialed_at: datetime, now: datetime
) -> list[Brake]:
    """Connect has decided a call: placed, refused, throttled. Returns the brakes that were released by it."""
    released = []
    with ledger.write() as db:
        ledger.in_turn(db, Errand.BRAKE)
        for which in (EVERY_RUN, run_id):
            row = _open(db, exchange, which, now)
            if row is None:
                continue
            this = brakes.c.id == row.id
            if row.state == BrakeState.COUNTING:
                db.execute(delete(brakes).where(this))
            elif row.state == BrakeState.OPENING:
                over = row.good + 1 >= GOOD_TO_END
                values = {"good": row.good + 1}
                ended = {"state": BrakeState.OVER, "until_at": now} if over else {}
                db.execute(update(brakes).where(this).values(values | ended))
            # An answer to what was dialed before comes late, and says nothing of now.
            elif dialed_at >= row.braked_at:
                opened = {"state": BrakeState.OPENING, "good": 1, "until_at": now + OPENING}
                db.execute(update(brakes).where(this).values(opened))
                released.append(_brake(row._mapping))
                if which == EVERY_RUN:
                    # Each run that has a brake of its own finds out at once.
                    others = (brakes.c.exchange == exchange, brakes.c.state == BrakeState.BRAKED)
                    db.execute(update(brakes).where(*others, brakes.c.run_id != run_id).values(probe_at=now))
    return released


def call_is_due(ledger: Ledger, exchange: str, run_id: int, now: datetime) -> bool:
    """Whether a probe has to be a call: none has been tried for two minutes."""
    with ledger.read() as db:
        rows = _braked(db, exchange, run_id)
    return any(now - (row.called_at or row.braked_at) >= CALL_IN_SPITE_OF_SILENCE for row in rows)


def brake_of(db: Connection, run_id: int, exchange: str | None) -> Brake | None:
    """What holds a run's calls back now; the brake of all runs before its own."""
    rows = _braked(db, exchange, run_id)
    return _brake(rows[0]._mapping) if rows else None


def brakes_on(ledger: Ledger, exchanges: Collection[str]) -> list[Brake]:
    """The brakes that hold running runs of these sides back, that of all runs first."""
    running = select(runs.c.id).where(runs.c.state == RunState.RUNNING, runs.c.exchange == brakes.c.exchange)
    query = select(brakes).where(brakes.c.exchange.in_(exchanges), brakes.c.state == BrakeState.BRAKED)
    either = or_(brakes.c.run_id.in_(running), and_(brakes.c.run_id == EVERY_RUN, running.exists()))
    with ledger.read() as db:
        rows = db.execute(query.where(either).order_by(brakes.c.run_id)).all()
    return [_brake(row._mapping) for row in rows]


def _braked(db: Connection, exchange: str | None, run_id: int) -> list[Any]:
    mine = (brakes.c.exchange == exchange, brakes.c.run_id.in_((EVERY_RUN, run_id)))
    query = select(brakes).where(*mine, brakes.c.state == BrakeState.BRAKED)
    return list(db.execute(query.order_by(brakes.c.run_id)).all())


def _open(db: Connection, exchange: str, which: int, now: datetime) -> Any:
    """The brake of a run or of all runs that is not over. One that has been open for long enough is."""
    mine = (brakes.c.exchange == exchange, brakes.c.run_id == which, _NOT_OVER)
    row = db.execute(select(brakes).where(*mine).with_for_update()).one_or_none()
    if row is not None and row.state == BrakeState.OPENING and row.until_at <= now:
        db.execute(update(brakes).where(brakes.c.id == row.id).values(state=BrakeState.OVER))
        return None
    return row


def _brake(row: Any) -> Brake:
    return Brake(
        code=CONNECT_ERRORS,
        every_run=row["run_id"] == EVERY_RUN,
        since=row["since"],
        answers=row["answers"],
        error_code=row["error_code"],
        probes=row["probes"],
        probe_at=row["probe_at"],
    )
