"""From the ledger to the queue and back: due recipients are claimed, and what a crash left is taken back."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, and_, case, func, insert, literal_column, or_, select, update

from campaigns.attempt import AttemptState, RecipientState, RunState
from campaigns.campaign import Campaign
from campaigns.client_token import WITHOUT_SECRET, Tokens
from campaigns.ledger.brakes import Gates, gates
from campaigns.ledger.due import anybody_due, due_people
from campaigns.ledger.engine import Errand, Ledger
from campaigns.ledger.in_progress import CallLimit, in_progress
from campaigns.ledger.limits import LIMIT, limited
from campaigns.ledger.moves import give_back
from campaigns.ledger.positions import known_of, may_be_dialed_from
from campaigns.ledger.reached import Reached
from campaigns.ledger.runs import pause_unreadable
from campaigns.ledger.stored_choices import campaign_of, readable
from campaigns.ledger.tables import (
    CHOICES_VERSION,
    CLOCKS_DIFFER_BY,
    RELEASED,
    attempts,
    campaigns,
    recipients,
    runs,
)
from campaigns.limits import WEEK
from campaigns.same_telephone import telephone
from campaigns.stored import Unreadable
from campaigns.turns import Contender, Share, share

log = logging.getLogger(__name__)

LONGEST_PUT_OFF = timedelta(seconds=30)
"""Longer than dialing ever puts an attempt off that it returns."""
_PIECE = 500  # rows a statement, well under the parameters that the databases allow
_PROBED = 50  # recipients among whom a probe is chosen while Connect answers with errors

_RUNNING = (
    select(
        runs.c.id,
        runs.c.number,
        runs.c.turn,
        runs.c.released_until,
        runs.c.endpoint,
        runs.c.campaign_id,
        campaigns.c.name,
        CHOICES_VERSION,
    )
    .join(campaigns)
    .where(runs.c.state == RunState.RUNNING)
)


@dataclass(frozen=True, slots=True)
class Claim:
    """One attempt, claimed for dialing: all that a task message carries."""

    attempt_id: int
    fence: int
    client_token: str


@dataclass(frozen=True, slots=True)
class Rescued:
    """How many attempts a crash had left behind, by what became of them."""

    returned: int
    unknown: int


def claim(
    ledger: Ledger,
    *,
    keep_queued: int,
    exchange: str,
    now: datetime,
    lease: timedelta,
    ahead: timedelta,
    limit: CallLimit | None = None,
    tokens: Tokens = WITHOUT_SECRET,
    noted: Reached | None = None,
    endpoint: str | None = None,
) -> list[Claim]:
    """Claim due recipients until `keep_queued` attempts are queued, in fair shares between the running runs.

    Only one process claims at a time; another that asks meanwhile gets nothing, so two schedulers release no
    more than one. A returned attempt is claimed again under its number and its token. `ahead` is how much of
    a campaign's own rate may be released at once. `limit`: the calls that an instance may have in progress;
    what is released counts among them. `tokens` names the new attempts; those that exist keep their tokens.
    `noted`: how far the ledger has come as was noted outside, read before this call; a ledger that is behind
    it is stopped, and nothing is claimed from one that is. `endpoint`: where their calls will go, if that is
    not AWS's own address.
    """
    known = known_of(ledger, noted)
    with ledger.write() as db:
        if not ledger.alone(db, Errand.FEED) or not may_be_dialed_from(ledger, db, known, now):
            return []
        room = keep_queued - _queued(db, exchange)
        braked = gates(db, exchange, now)
        room = braked.room(room)
        if room <= 0:
            return []
        running = _running(ledger, db, exchange)
        rooms = _rooms(db, running, exchange, limit, now)
        if rooms and max(rooms.values()) <= 0:
            return []
        most = {run.id: braked.sends(run.id, _within_cap(run, now, ahead)) for run in running}
        due = _due_by_run(db, running, exchange, room, now, braked, most, rooms)
        contenders = [
            Contender(
                run.id,
                run.turn,
                run.campaign.pacing.weight,
                min(len(due[run.id]), most[run.id]),
                run.instance,
            )
            for run in running
        ]
        claims: list[Claim] = []
        for run, part in zip(running, share(room, contenders, rooms), strict=True):
            _note_share(db, run, part, endpoint, now, ahead)
            claims += _queue(db, run, due[run.id][: part.sends], now, lease, tokens)
        return claims


def somebody_is_due(ledger: Ledger, exchange: str, instances: Sequence[str], now: datetime) -> bool:
    """Whether anybody in a running run would be dialed from these instances now, were there room for them."""
    with ledger.read() as db:
        running = db.execute(_RUNNING.where(_may_dial(exchange))).all()
        return any(
            anybody_due(db, run.id, campaign, now)
            for run in running
            for campaign in [readable(ledger, db, run.campaign_id, run.version)]
            if campaign is not None and campaign.connect.instance_id in instances
        )


def take_back_expired(
    ledger: Ledger, now: datetime, *, longest_lease: timedelta, settle_at: datetime
) -> Rescued:
    """What a crash left behind: queued past its lease → returned, dialing past its lease → unknown.

    Only `queued` is sure never to have rung. The returned ones are due at once; the unknown ones are
    searched for from `settle_at` on.
    """
    # A lease further ahead than any can be was written by a clock that has been put back since, and what it
    # holds would wait for as long as that was.
    expired = or_(
        attempts.c.lease_until < now, attempts.c.lease_until > now + longest_lease + CLOCKS_DIFFER_BY
    )
    queued = attempts.c.state == literal_column("'queued'")
    dialing = attempts.c.state == literal_column("'dialing'")
    with ledger.read() as db:
        # Most rounds find nothing, and should not take a write lock to see it.
        if db.execute(select(attempts.c.id).where(RELEASED, expired).limit(1)).first() is None:
            return Rescued(0, 0)
    with ledger.write() as db:
        lost = _take(
            db, and_(RELEASED, queued, expired), AttemptState.RETURNED, "its task did not arrive in time"
        )
        _wait_again(db, lost)
        cut = _take(
            db,
            and_(RELEASED, dialing, expired),
            AttemptState.UNKNOWN,
            "its worker stopped before it recorded an answer",
            unknown_at=now,
            settle_at=settle_at,
            # Perhaps: its worker cannot say how often it has sent the request.
            replays=1,
        )
    return Rescued(returned=len(lost), unknown=len(cut))


def bring_forward(ledger: Ledger, now: datetime) -> int:
    """Whoever waits longer than anybody is put off is due now. Returns how many.

    Those whose attempt was returned, and those who wait for the limits: a clock that was ahead has written
    their times, and has been put back since. The time of an appointment is another matter.
    """
    running = select(runs.c.id).where(runs.c.state == RunState.RUNNING)
    waiting = recipients.c.state == literal_column("'waiting'")
    returned = (
        select(recipients.c.id)
        .select_from(attempts.join(recipients, recipients.c.id == attempts.c.recipient_id))
        .where(attempts.c.run_id.in_(running), attempts.c.state == literal_column("'returned'"))
        .where(waiting, recipients.c.waits_for.is_(None), recipients.c.due_at > now + LONGEST_PUT_OFF)
    )
    limited_for_long = (
        select(recipients.c.id)
        .where(recipients.c.run_id.in_(running), waiting, recipients.c.waits_for == LIMIT)
        .where(recipients.c.due_at > now + WEEK + CLOCKS_DIFFER_BY)
    )
    forward = 0
    for these in (returned, limited_for_long):
        with ledger.read() as db:
            ids = list(db.execute(these.limit(_PIECE)).scalars())
        if not ids:
            continue
        with ledger.write() as db:
            mine = update(recipients).where(recipients.c.id.in_(ids), recipients.c.id.in_(these))
            forward += db.execute(mine.values(due_at=now)).rowcount
    return forward


def take_back_queued(ledger: Ledger, exchange: str) -> int:
    """queued → returned for every attempt of an exchange whose workers have all stopped. Returns how many."""
    with ledger.write() as db:
        of_exchange = attempts.c.run_id.in_(select(runs.c.id).where(runs.c.exchange == exchange))
        queued = attempts.c.state == literal_column("'queued'")
        left = _take(db, and_(RELEASED, queued, of_exchange), AttemptState.RETURNED, "the workers stopped")
        _wait_again(db, left)
        return len(left)


def hand_back(ledger: Ledger, claims: Sequence[Claim], reason: str, *, due_at: datetime) -> int:
    """queued → returned for claims whose tasks could not be sent. Returns how many were still queued."""
    returned = 0
    for claimed in claims:
        returned += give_back(ledger, claimed.attempt_id, claimed.fence, reason, due_at=due_at)
    return returned


def _queued(db: Connection, exchange: str) -> int:
    query = (
        select(func.count())
        .select_from(attempts.join(runs, runs.c.id == attempts.c.run_id))
        .where(RELEASED, attempts.c.state == literal_column("'queued'"), runs.c.exchange == exchange)
    )
    return int(db.execute(query).scalar_one())


@dataclass(frozen=True, slots=True)
class _Running:
    """A running run, and the choices that it follows."""

    id: int
    number: int
    turn: float
    released_until: datetime | None
    endpoint: str | None
    name: str
    campaign: Campaign

    @property
    def instance(self) -> str:
        return self.campaign.connect.instance_id


def _running(ledger: Ledger, db: Connection, exchange: str) -> list[_Running]:
    """The running runs of an exchange. One whose campaign cannot be read is paused, and keeps no other."""
    # The run before its recipients, as cancelling does: the other way round they wait for each other.
    mine = _RUNNING.where(_may_dial(exchange)).order_by(runs.c.id)
    found = []
    for run in db.execute(mine.with_for_update(of=runs, key_share=True)).all():
        try:
            campaign = campaign_of(ledger, db, run.campaign_id, run.version)
        except Unreadable as problem:
            log.error("the campaign has paused itself: %s", problem)
            pause_unreadable(db, run.id, problem)
            continue
        found.append(
            _Running(run.id, run.number, run.turn, run.released_until, run.endpoint, run.name, campaign)
        )
    return found


def _due_by_run(
    db: Connection,
    running: Sequence[_Running],
    exchange: str,
    room: int,
    now: datetime,
    braked: Gates,
    most: Mapping[int, int],
    rooms: Mapping[str, int],
) -> dict[int, list[Any]]:
    """Who may be dialed now in each run. Where numbers have limits, each is named once in a round.

    most: how many each run may send now. rooms: how many calls each instance has room for.
    """
    # Two campaigns with one list would otherwise claim the same numbers all along, and one of them in vain.
    named: set[str] = set()
    due = {}
    for run in sorted(running, key=lambda run: run.turn):
        campaign = run.campaign
        probing = braked.probes(run.id)
        people = due_people(db, run.id, campaign, exchange, max(room, _PROBED) if probing else room, now)
        if probing:
            # Each probe may ring, and is in doubt if it fails: not the same recipient every time.
            people = sorted(people, key=lambda each: int(each.attempts))
        if limited(campaign):
            # A dictionary has each number once, and the first one who has it.
            people = list({telephone(each.phone): each for each in reversed(people)}.values())[::-1]
            people = [each for each in people if telephone(each.phone) not in named]
        # Only those who can be queued. One campaign that waits, for its rate or for Connect, would keep the
        # first people of its list from the other for as long.
        sent = max(0, min(most[run.id], rooms.get(run.instance, most[run.id])))
        named.update(telephone(each.phone) for each in people[:sent])
        due[run.id] = people
    return due


def _may_dial(exchange: str) -> Any:
    # An undecided run is claimed by neither side: the first claim would decide by a race.
    return runs.c.exchange == exchange


def _rooms(
    db: Connection,
    running: Sequence[_Running],
    exchange: str,
    limit: CallLimit | None,
    now: datetime,
) -> dict[str, int]:
    """How many more calls may be released on each instance."""
    if limit is None:
        return {}
    counted = in_progress(db, exchange, limit, now)
    return {run.instance: limit.most - counted[run.instance] for run in running}


def _within_cap(run: _Running, now: datetime, ahead: timedelta) -> int:
    """How many calls the campaign's own rate leaves for now."""
    rate = run.campaign.pacing.calls_per_second
    if rate is None:
        return 1_000_000
    begin = _released_until(run, rate, now, ahead)
    # At a slow rate `ahead` is less than one call's worth, and would never let one through.
    left = max(ahead, timedelta(seconds=1 / rate)) - (begin - now)
    # One call's worth, rounded down to a microsecond, is less than one call.
    return max(0, int((left.total_seconds() + 1e-6) * rate + 1e-9))


def _released_until(run: _Running, rate: float, now: datetime, ahead: timedelta) -> datetime:
    """Up to where a campaign's own rate is used up."""
    if run.released_until is None:
        return now
    # A round that comes late makes up for it, by one call at most, or every campaign would be a little slow.
    late = min(ahead, timedelta(seconds=1 / rate))
    # Nor does a clock that was ahead for a while, and wrote its time down, keep the campaign waiting for it.
    furthest = now + max(ahead, timedelta(seconds=1 / rate))
    if run.released_until > furthest + CLOCKS_DIFFER_BY:
        return now
    released_until: datetime = min(max(run.released_until, now - late), furthest)
    return released_until


def _note_share(
    db: Connection, run: _Running, part: Share, endpoint: str | None, now: datetime, ahead: timedelta
) -> None:
    values: dict[str, Any] = {}
    if part.turn != run.turn:
        values["turn"] = part.turn
    if part.sends:
        if run.endpoint != endpoint:
            values["endpoint"] = endpoint
        rate = run.campaign.pacing.calls_per_second
        if rate is not None:
            used = timedelta(seconds=part.sends / rate)
            values["released_until"] = _released_until(run, rate, now, ahead) + used
    if values:
        db.execute(update(runs).where(runs.c.id == run.id).values(values))


def _queue(
    db: Connection, run: _Running, people: Sequence[Any], now: datetime, lease: timedelta, tokens: Tokens
) -> list[Claim]:
    """recipients waiting → in progress; a returned attempt is queued again, else a new one is made."""
    claims: list[Claim] = []
    for first in range(0, len(people), _PIECE):
        piece = people[first : first + _PIECE]
        ids = [person.id for person in piece]
        again = db.execute(
            update(attempts)
            .where(attempts.c.recipient_id.in_(ids), attempts.c.state == AttemptState.RETURNED)
            .values(
                state=AttemptState.QUEUED,
                fence=attempts.c.fence + 1,
                queued_at=now,
                lease_until=now + lease,
            )
            .returning(attempts.c.id, attempts.c.fence, attempts.c.client_token, attempts.c.recipient_id)
        ).all()
        claims += [Claim(row.id, row.fence, row.client_token) for row in again]
        known = {row.recipient_id for row in again}
        new = [person for person in piece if person.id not in known]
        db.execute(
            update(recipients)
            .where(recipients.c.id.in_(ids))
            .values(state=RecipientState.IN_PROGRESS, waits_for=None)
        )
        if not new:
            continue
        db.execute(
            update(recipients)
            .where(recipients.c.id.in_([person.id for person in new]))
            .values(attempts=recipients.c.attempts + 1)
        )
        rows = db.execute(
            insert(attempts).returning(attempts.c.id, attempts.c.client_token),
            [
                {
                    "run_id": run.id,
                    "recipient_id": person.id,
                    "number": person.attempts + 1,
                    "client_token": tokens.of(run.name, run.number, person.key, person.attempts + 1),
                    "state": AttemptState.QUEUED,
                    "fence": 1,
                    "queued_at": now,
                    "lease_until": now + lease,
                }
                for person in new
            ],
        ).all()
        claims += [Claim(row.id, 1, row.client_token) for row in rows]
    return claims


def _take(db: Connection, these: Any, becomes: AttemptState, reason: str, **more: Any) -> list[int]:
    # In order, or two who take several would wait for each other (SQLite has no such locks, nor needs them).
    ids = select(attempts.c.id).where(these).order_by(attempts.c.lease_until, attempts.c.id).with_for_update()
    taken = update(attempts).where(attempts.c.id.in_(ids)).values(state=becomes, reason=reason, **more)
    return list(db.execute(taken.returning(attempts.c.recipient_id)).scalars())


def _wait_again(db: Connection, ids: Sequence[int]) -> None:
    """in progress → waiting, or cancelled with the run."""
    cancelled = select(runs.c.state).where(runs.c.id == recipients.c.run_id).scalar_subquery()
    becomes = case((cancelled == RunState.CANCELLED, RecipientState.CANCELLED), else_=RecipientState.WAITING)
    for first in range(0, len(ids), _PIECE):
        db.execute(
            update(recipients)
            .where(recipients.c.id.in_(ids[first : first + _PIECE]))
            .where(recipients.c.state == RecipientState.IN_PROGRESS)
            .values(state=becomes)
        )
