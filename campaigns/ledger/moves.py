"""The life of an attempt until its call is placed.

Every move names the state that it expects and moves nothing else. One that finds no row tells a stale
delivery: a task that Redis delivered twice, a worker that was paused while its claim was given to another.
It stops there. docs/life-of-a-call.md draws the states.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, bindparam, case, literal, update

from campaigns.attempt import AttemptState, RecipientState, RunState
from campaigns.campaign import RedialOptions
from campaigns.connect_options import ConnectOptions
from campaigns.ledger.brakes import let_through
from campaigns.ledger.engine import Ledger, require_own_version
from campaigns.ledger.limits import LIMIT, allowed_again, one_at_a_time
from campaigns.ledger.positions import WENT_BACK, count_up, stop_gone_back
from campaigns.ledger.reached import Position
from campaigns.ledger.standing import (
    ON_THIS_ATTEMPT,
    called_after_all,
    go_on,
    hold_run,
    leave_in_peace,
    locked,
    move_recipient,
    put_back,
    still_on,
)
from campaigns.ledger.stored_choices import campaign_of, redial_of
from campaigns.ledger.tables import Instant, attempts
from campaigns.stored import Unreadable


@dataclass(frozen=True, slots=True)
class Order:
    """One attempt that is now `dialing`: all that placing the call needs."""

    attempt_id: int
    run_id: int
    fence: int
    client_token: str
    phone: str
    attributes: dict[str, str]
    connect: ConnectOptions
    position: Position
    """How far the ledger has come with it; to be noted outside before the request leaves."""
    dialed_at: datetime | None = field(default=None, compare=False)
    """When it was moved to `dialing`, by the ledger's clock."""
    braking: bool = False
    """Whether Connect has lately given errors: what its answer is, has to be noted."""
    probe: bool = False
    """Whether it is the one call that is tried while a brake holds the others back."""
    closes_at: datetime | None = None
    """The request must have left before: then the calling hours end, or the time to be called has passed."""


@dataclass(frozen=True, slots=True)
class NotNow:
    """The attempt may not be dialed, and nothing was charged for it."""

    reason: str
    code: str | None = None
    """Where it is no fate of this attempt alone: STOPPED, WENT_BACK, OTHER_LEDGER, BRAKED or of
    `stored.CODES`."""
    unreadable: Unreadable | None = None
    """What keeps the campaign's choices from being read."""


STOPPED = "ledger_stopped"
"""Nothing is dialed from this ledger until an operator lets it go on."""

OTHER_LEDGER = "other_ledger"
"""The task names another token: it was sent for another ledger, or for this one before it went back."""

BRAKED = "braked"
"""Connect answers with errors, and this attempt is not the one that is tried."""


# Each call makes these moves; they are put together once, for that takes longer than what they do.
_TO_DIALING = (
    update(attempts)
    .where(attempts.c.id == bindparam("this"))
    .values(
        state=AttemptState.DIALING,
        dialing_at=bindparam("now"),
        lease_until=bindparam("until"),
        reason=None,
        error_code=None,
    )
)
_TO_PLACED, _TO_PLACED_LATE = (
    update(attempts)
    .where(attempts.c.id == bindparam("this"), attempts.c.fence == bindparam("claim"))
    .where(attempts.c.state == was)
    .values(
        state=AttemptState.PLACED,
        contact_id=bindparam("contact"),
        placed_at=bindparam("now"),
        follow_at=bindparam("follow"),
        replays=bindparam("again"),
        reason=None,
        settle_at=None,
    )
    .returning(attempts.c.recipient_id, attempts.c.number)
    for was in (AttemptState.DIALING, AttemptState.UNKNOWN)
)


def mark_dialing(
    ledger: Ledger,
    attempt_id: int,
    fence: int,
    *,
    exchange: str,
    now: datetime,
    lease: timedelta,
    client_token: str | None = None,
) -> Order | NotNow:
    """queued → dialing, durably, before the request leaves.

    Asks again, in the same transaction, for everything that may have changed since the attempt was claimed.
    Raises OtherVersion when the ledger has become another version's meanwhile.
    `client_token`: the one that the task names, if it is to be compared with the attempt's.
    """

    def move(db: Connection) -> Order | NotNow:
        # Before the ledger is read: another move may be committed and noted meanwhile.
        known = ledger.reached.at(ledger.reached.slot())
        row = locked(db, attempt_id, fence, AttemptState.QUEUED)
        if row is None:
            return NotNow("stale: the claim was used or taken back")
        # Raised, so that nothing is written: a worker of the ledger's version takes the attempt back.
        require_own_version(row.version_num)
        if client_token not in (None, row.client_token):
            # The attempt that has this id here is left to its own task.
            return NotNow("its task is of another ledger, or of this one before it went back", OTHER_LEDGER)
        if row.stopped_at is not None:
            put_back(db, row, "dialing from this ledger is stopped", due_at=now)
            return NotNow("dialing from this ledger is stopped", STOPPED)
        if row.run_state != RunState.RUNNING:
            put_back(db, row, "the campaign is " + row.run_state, due_at=now)
            return NotNow(f"the campaign is {row.run_state}")
        if row.exchange != exchange:
            put_back(db, row, f"it belongs to {row.exchange}", due_at=now)
            return NotNow(f"it belongs to {row.exchange}, and this worker dials through {exchange}")
        if row.suppressed:
            put_back(db, row, "suppressed", due_at=now, becomes=RecipientState.SUPPRESSED)
            return NotNow("the number is suppressed")
        try:
            campaign = campaign_of(ledger, db, row.campaign_id, row.version)
        except Unreadable as problem:
            # The run is paused by the caller: not here, where its attempt is locked before it.
            put_back(db, row, "the campaign's choices cannot be read", due_at=now)
            return NotNow(str(problem), problem.code, problem)
        ends = [row.expires_at] if row.expires_at is not None else []
        if campaign.timetable.rules:
            window = campaign.timetable.window(campaign.zones(row.zones), now)
            ends += [window.closes if window is not None and window.holds(now) else now]
        if row.expires_at is not None and row.expires_at <= now:
            put_back(db, row, "its time has passed", due_at=now, becomes=RecipientState.EXPIRED)
            return NotNow("its time to be called has passed")
        if any(end <= now for end in ends):
            # Nobody works out when they open: whoever claims knows when they do.
            put_back(db, row, "outside the calling hours", due_at=now)
            return NotNow("it is outside the calling hours")
        one_at_a_time(ledger, db, row.phone)
        if again := allowed_again(db, campaign, [row.phone], exchange, now):
            put_back(db, row, "the limits on calls to its number", due_at=again[row.phone], waits_for=LIMIT)
            return NotNow(f"its number may be called again at {again[row.phone]:%Y-%m-%d %H:%M:%S} UTC")
        leave = not row.braking or let_through(db, exchange, row.run_id, now, now + lease)
        if isinstance(leave, datetime):
            put_back(db, row, "held back: Connect answers with errors", due_at=now)
            return NotNow(
                f"Connect answers with errors; the next call is tried at {leave:%H:%M:%S} UTC", BRAKED
            )
        position = count_up(db, row.epoch, known.slot)
        if not position.exceeds(known):
            stop_gone_back(db, ledger.reached.reached(), position, now)
            put_back(db, row, "the ledger has gone back", due_at=now)
            return NotNow("the ledger has gone back", WENT_BACK)
        db.execute(_TO_DIALING, {"this": attempt_id, "now": now, "until": now + lease})
        return Order(
            attempt_id=attempt_id,
            run_id=row.run_id,
            fence=fence,
            client_token=row.client_token,
            phone=row.phone,
            attributes=row.attributes,
            connect=campaign.connect,
            position=position,
            dialed_at=now,
            braking=bool(row.braking),
            probe=not leave,
            closes_at=min(ends, default=None),
        )

    moved = ledger.make(move)
    if isinstance(moved, Order):
        # Not before it is committed: a position that was rolled back is counted once more.
        ledger.reached.note(moved.position)
    return moved


def mark_placed(
    ledger: Ledger,
    attempt_id: int,
    fence: int,
    contact_id: str,
    *,
    now: datetime,
    follow_at: datetime | None,
    replays: int = 0,
) -> bool:
    """dialing → placed, with Connect's contact_id. Returns False for a claim that is not there any more.

    An answer that comes after rescue gave the attempt up is evidence, and settles unknown → placed. Without
    `follow_at` the outcome is never asked for, and the recipient is done. `replays`: how often the
    request was sent again, and may have been acted upon.
    """
    becomes = RecipientState.DONE if follow_at is None else RecipientState.IN_PROGRESS
    values = {"this": attempt_id, "claim": fence, "contact": contact_id, "now": now, "follow": follow_at}
    values["again"] = replays

    def move(db: Connection) -> bool:
        row = db.execute(_TO_PLACED, values).one_or_none()
        if row is not None and follow_at is None:
            move_recipient(db, row, ON_THIS_ATTEMPT, becomes)
        return row is not None

    return ledger.make(move) or _mark_placed_late(ledger, attempt_id, fence, values, becomes)


def _mark_placed_late(
    ledger: Ledger, attempt_id: int, fence: int, values: dict[str, Any], becomes: RecipientState
) -> bool:
    with ledger.write() as db:
        hold_run(db, attempt_id)
        row = locked(db, attempt_id, fence, AttemptState.UNKNOWN, AttemptState.PLACED, AttemptState.ENDED)
        if row is None:
            return False
        if row.state != AttemptState.UNKNOWN:
            # A second try of a move whose first had been committed, though its answer was lost; or a search
            # has found the call meanwhile.
            return bool(row.contact_id == values["contact"])
        db.execute(_TO_PLACED_LATE, values)
        called_after_all(db, row, becomes)
        if becomes == RecipientState.IN_PROGRESS:
            go_on(db, row)
        return True


def give_back(ledger: Ledger, attempt_id: int, fence: int, reason: str, *, due_at: datetime) -> bool:
    """queued → returned: it was not dialed, nothing is charged, and it is due again at `due_at`.

    Never from `dialing`: the same task may have been delivered twice, and the other copy be on the phone.
    """

    def move(db: Connection) -> bool:
        hold_run(db, attempt_id)
        row = locked(db, attempt_id, fence, AttemptState.QUEUED)
        if row is None:
            return False
        put_back(db, row, reason, due_at=due_at)
        return True

    return ledger.make(move)


def mark_returned(ledger: Ledger, attempt_id: int, fence: int, reason: str, *, due_at: datetime) -> bool:
    """dialing → returned: its answer says that it did not ring; nothing is charged, and it is due again.

    An answer that comes after rescue gave the attempt up is evidence too, and settles unknown → returned,
    unless its recipient has gone on to another attempt meanwhile.
    """
    with ledger.write() as db:
        hold_run(db, attempt_id)
        row = locked(db, attempt_id, fence, AttemptState.DIALING, AttemptState.UNKNOWN)
        if row is None or not still_on(db, row):
            return False
        put_back(db, row, reason, due_at=due_at)
        go_on(db, row)
        if row.number > 1:
            leave_in_peace(db, row.recipient_id, _rules(ledger, db, row))
        return True


def _rules(ledger: Ledger, db: Connection, row: Any) -> RedialOptions:
    try:
        return redial_of(ledger, db, row.campaign_id, row.version)
    except Unreadable:
        # A recipient reached by an earlier attempt is not dialed again for rules that cannot be read.
        return RedialOptions()


def mark_refused(ledger: Ledger, attempt_id: int, fence: int, reason: str, *, now: datetime) -> bool:
    """dialing → refused: Connect will not place this call; it never rang, and the recipient is done.

    A late answer settles unknown → refused.
    """
    with ledger.write() as db:
        row = locked(db, attempt_id, fence, AttemptState.DIALING, AttemptState.UNKNOWN)
        if row is None:
            return False
        db.execute(
            update(attempts)
            .where(attempts.c.id == attempt_id)
            .values(state=AttemptState.REFUSED, reason=reason, ended_at=now, settle_at=None)
        )
        move_recipient(db, row, ON_THIS_ATTEMPT, RecipientState.DONE)
        return True


def mark_unknown(
    ledger: Ledger,
    attempt_id: int,
    fence: int,
    reason: str,
    *,
    now: datetime,
    settle_at: datetime,
    replays: int = 0,
    error_code: str | None = None,
) -> bool:
    """dialing → unknown: it may have rung. Never due again by itself; searched for from `settle_at` on.

    `error_code`: what came instead of an answer.

    To be written by the worker that sent it: from now on the request has left, or never will.
    """
    # What may be its call is told by when it was sent; the rest of its lease would make it more than can be.
    sent_by = case((attempts.c.lease_until > now, literal(now, Instant)), else_=attempts.c.lease_until)
    with ledger.write() as db:
        return bool(
            db.execute(
                update(attempts)
                .where(attempts.c.id == attempt_id, attempts.c.fence == fence)
                .where(attempts.c.state == AttemptState.DIALING)
                .values(
                    state=AttemptState.UNKNOWN,
                    reason=reason,
                    unknown_at=now,
                    settle_at=settle_at,
                    lease_until=sent_by,
                    replays=replays,
                    error_code=error_code,
                )
            ).rowcount
        )
