"""Calls that Connect lists and a ledger that has gone back does not know: whose they were, entered again.

A lost commit has dialed a recipient who seems to wait here. The call is given back to its attempt, or, where
it may be that of several recipients, each of them is held: none is dialed again by itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import product
from typing import Any

from sqlalchemy import Connection, insert, or_, select, update

from campaigns.attempt import AttemptState, RecipientState, RunState
from campaigns.campaign import Campaign
from campaigns.client_token import WITHOUT_SECRET, Tokens
from campaigns.ledger.engine import Errand, Ledger
from campaigns.ledger.identity import identity_of
from campaigns.ledger.runs import OPERATOR_ALL, PAUSED_WITH_ALL
from campaigns.ledger.stored_choices import campaign_of, connect_of
from campaigns.ledger.tables import (
    CHOICES_VERSION,
    attempts,
    campaigns,
    recipient_history,
    recipients,
    runs,
)
from campaigns.mistake import Mistake
from campaigns.stranger import Stranger

_LOST_IN_A_ROW = 5
"""How many attempts of one recipient the lost commits may have made; their tokens are tried."""

_CLOCKS = timedelta(minutes=5)
"""As in settle.py: a call in doubt was placed within this time around what our own clock wrote down."""

_UNDIALED = (AttemptState.QUEUED, AttemptState.RETURNED)
_MAY_HAVE_BEEN_CALLED = tuple(state for state in RecipientState if state != RecipientState.DONE)


class Entered(StrEnum):
    """What became of one call."""

    KNOWN = "known"
    """The ledger has it, or has entered it before."""
    PLACED = "placed"
    """It is the call of one recipient: that attempt is placed, and followed to its outcome."""
    HELD = "held"
    """It may be the call of several recipients: each has an unknown attempt, and is held."""
    SEARCHED = "searched"
    """It may be that of an attempt in doubt, which is searched for anyway."""
    UNMATCHED = "unmatched"
    """No recipient of this ledger may have been called by it."""


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A recipient with the number that was called, and the attempt that the call may have been."""

    person: Any
    campaign: Campaign
    latest: Any
    """The latest attempt, or None."""
    tokens: Tokens

    @property
    def in_doubt(self) -> bool:
        """Whether the latest attempt may have rung, and is not given up."""
        if self.latest is None:
            return False
        unknown = self.latest.state == AttemptState.UNKNOWN and self.latest.settle_at is not None
        return unknown or self.latest.state == AttemptState.DIALING

    @property
    def held_for_doubt(self) -> bool:
        """Whether the latest attempt may have rung, and nothing more is found out by itself."""
        unknown = self.latest is not None and self.latest.state == AttemptState.UNKNOWN
        return unknown and self.latest.settle_at is None

    @property
    def number(self) -> int:
        """The number of the attempt that was lost: the latest if that was not dialed, else the next."""
        undialed = self.latest is not None and self.latest.state in _UNDIALED
        return int(self.person.attempts) + (not undialed)

    def token(self, number: int) -> str:
        """The token of the attempt with this number."""
        if self.latest is not None and self.latest.number == number:
            return str(self.latest.client_token)
        return self.tokens.of(self.campaign.name, self.person.run_number, self.person.key, number)

    def may_be_in_doubt(self, call: Stranger) -> bool:
        """Whether the call may be that of the attempt in doubt."""
        return self.in_doubt and (
            self.latest.dialing_at - _CLOCKS <= call.initiated_at <= self.latest.lease_until + _CLOCKS
        )

    def may_have_lost(self, call: Stranger) -> bool:
        """Whether the call may be that of an attempt that the ledger has lost."""
        if self.person.state not in _MAY_HAVE_BEEN_CALLED:
            return False
        if self.latest is None or self.latest.dialing_at is None or self.held_for_doubt:
            return True
        # What was lost came after all that is there.
        return bool(call.initiated_at > self.latest.dialing_at)


def instances_of(ledger: Ledger, exchange: str) -> list[str]:
    """The instances from which an exchange's campaigns are dialed. Raises Unreadable."""
    with ledger.read() as db:
        rows = db.execute(
            select(campaigns.c.id, CHOICES_VERSION).join(runs).where(_of(exchange)).distinct()
        ).all()
        # One that cannot be read raises Unreadable: its calls would not be searched for, and be dialed again.
        return sorted({connect_of(ledger, db, row.id, row.version).instance_id for row in rows})


def refuse_while_dialing(ledger: Ledger, exchange: str) -> None:
    """Raises Mistake while recipients may be dialed: what is entered would be compared with what changes."""
    running = select(campaigns.c.name).join(runs).where(runs.c.state == RunState.RUNNING, _of(exchange))
    with ledger.read() as db:
        if identity_of(db).stopped:
            return
        name = db.execute(running.order_by(campaigns.c.name).limit(1)).scalar()
    if name is not None:
        raise Mistake(f"{name} is being dialed; stop all dialing first: dialer pause --all")


def enter(
    ledger: Ledger,
    call: Stranger,
    *,
    exchange: str,
    instance_id: str,
    now: datetime,
    follow: bool,
    tokens: Tokens = WITHOUT_SECRET,
    dry_run: bool = False,
) -> Entered:
    """Find out whose call it was, and enter it. A call that was entered before changes nothing.

    `follow`: whether outcomes are asked for. `tokens`: what named the attempts that were lost. `dry_run`: say
    what would become of it, and change nothing.
    Raises Mistake if a campaign that it may be of is being dialed.
    """
    with ledger.read() if dry_run else ledger.write() as db:
        if not dry_run:
            # Beside a search, or a call could be taken for two attempts.
            ledger.in_turn(db, Errand.SETTLE)
        if _known(db, call.contact_id):
            return Entered.KNOWN
        candidates = _candidates(ledger, db, call, exchange, instance_id, tokens, hold=not dry_run)
        by_token = _by_token(db, call, candidates)
        if isinstance(by_token, Entered):
            return by_token
        if by_token is not None:
            who, number = by_token
        else:
            by_number = _without_tokens(call, candidates)
            if _named_before(db, by_number, call):
                return Entered.KNOWN
            if any(who.may_be_in_doubt(call) for who in by_number):
                return Entered.SEARCHED
            open_to_it = [who for who in by_number if who.may_have_lost(call)]
            if not open_to_it:
                return Entered.UNMATCHED
            if len(open_to_it) > 1:
                if not dry_run:
                    _hold_all(db, open_to_it, call, now)
                return Entered.HELD
            (who,) = open_to_it
            number = who.number
        if not dry_run:
            _place(db, who, number, call, exchange, now, follow)
        return Entered.PLACED


def _of(exchange: str) -> Any:
    # Which side dials a run may be among what was lost.
    return or_(runs.c.exchange.is_(None), runs.c.exchange == exchange)


def _known(db: Connection, contact_id: str) -> bool:
    return db.execute(select(attempts.c.id).where(attempts.c.contact_id == contact_id)).first() is not None


def _candidates(
    ledger: Ledger,
    db: Connection,
    call: Stranger,
    exchange: str,
    instance_id: str,
    tokens: Tokens,
    *,
    hold: bool,
) -> list[_Candidate]:
    phone = call.phone or _phone_by_token(db, call)
    if phone is None:
        return []
    of_number = (
        select(
            recipients,
            runs.c.number.label("run_number"),
            runs.c.state.label("run_state"),
            runs.c.exchange,
            runs.c.campaign_id,
            CHOICES_VERSION,
        )
        .select_from(recipients.join(runs, runs.c.id == recipients.c.run_id).join(campaigns))
        # A lost commit may have called the number that was corrected since.
        .where(recipients.c.id.in_(_with_number(phone)), _of(exchange))
        .order_by(recipients.c.id)
    )
    if hold:
        # The runs before their people, as everywhere; then all of it is read as it stays.
        mine = {row.run_id for row in db.execute(of_number)}
        held = select(runs.c.id).where(runs.c.id.in_(mine)).order_by(runs.c.id)
        db.execute(held.with_for_update(key_share=True))
    stopped = identity_of(db).stopped
    found = []
    for person in db.execute(of_number).all():
        campaign = campaign_of(ledger, db, person.campaign_id, person.version)
        if campaign.connect.instance_id != instance_id:
            continue
        if person.run_state == RunState.RUNNING and not stopped:
            raise Mistake(f"{campaign.name} is being dialed; stop all dialing first: dialer pause --all")
        latest = select(attempts).where(attempts.c.recipient_id == person.id)
        latest = latest.where(attempts.c.number == person.attempts)
        found.append(_Candidate(person, campaign, db.execute(latest).one_or_none(), tokens))
    return found


def _with_number(phone: str) -> Any:
    has = select(recipients.c.id).where(recipients.c.phone == phone)
    return has.union(select(recipient_history.c.recipient_id).where(recipient_history.c.phone == phone))


def _phone_by_token(db: Connection, call: Stranger) -> str | None:
    """The number of the attempt whose token the call shows: such a call was not asked about any further."""
    of_token = (
        select(recipients.c.phone).join(attempts).where(attempts.c.client_token.in_(sorted(call.tokens)))
    )
    return db.execute(of_token.limit(1)).scalar()


def _by_token(
    db: Connection, call: Stranger, candidates: Sequence[_Candidate]
) -> tuple[_Candidate, int] | Entered | None:
    """Whose attempt it was by the token that it carries, and its number; None if no token tells."""
    for who, token in product(candidates, sorted(call.tokens)):
        of_token = select(attempts.c.state, attempts.c.number, attempts.c.settle_at)
        known = db.execute(of_token.where(attempts.c.client_token == token)).one_or_none()
        if known is not None and known.state not in _UNDIALED:
            in_doubt = known.state in (AttemptState.DIALING, AttemptState.UNKNOWN)
            return Entered.SEARCHED if in_doubt else Entered.UNMATCHED
        first = who.number
        for number in range(first, first + _LOST_IN_A_ROW + 1):
            if who.token(number) == token:
                return who, number
    return None


def _without_tokens(call: Stranger, candidates: Sequence[_Candidate]) -> list[_Candidate]:
    """Those whose calls would not carry their token, so that the number has to tell."""
    return [who for who in candidates if not call.shows_a_token(who.campaign.connect)]


def _place(
    db: Connection, who: _Candidate, number: int, call: Stranger, exchange: str, now: datetime, follow: bool
) -> None:
    """The attempt is placed again, and its recipient is not dialed for another meanwhile."""
    values = {
        "state": AttemptState.PLACED,
        "contact_id": call.contact_id,
        "dialing_at": call.initiated_at,
        "placed_at": call.initiated_at,
        "follow_at": now if follow else None,
        "reason": None,
        "evidence": "found among Connect's calls after the ledger had gone back",
    }
    becomes = RecipientState.IN_PROGRESS if follow else RecipientState.DONE
    _enter(db, who, number, values, becomes, call)
    _bind(db, who, exchange)


def _named_before(db: Connection, these: Sequence[_Candidate], call: Stranger) -> bool:
    """Whether `_hold_all` has held any of these for this call before, whatever has become of them since."""
    mine = attempts.c.recipient_id.in_([who.person.id for who in these])
    named = attempts.c.evidence.contains(_told(call), autoescape=True)
    return db.execute(select(attempts.c.id).where(mine, named).limit(1)).first() is not None


def _told(call: Stranger) -> str:
    return f"may be contact {call.contact_id},"


def _hold_all(db: Connection, these: Sequence[_Candidate], call: Stranger, now: datetime) -> None:
    """Each has an unknown attempt and is held."""
    for who in these:
        told = f"{_told(call)} which may be one of {len(these)} recipients' call"
        latest = who.latest
        if who.held_for_doubt and who.person.state == RecipientState.HELD:
            # One attempt in doubt holds them; the other calls to that number are named beside it.
            both = f"{latest.evidence}; {told}" if latest.evidence else told
            db.execute(update(attempts).where(attempts.c.id == latest.id).values(evidence=both))
            _move(db, who, latest.number, RecipientState.HELD)
            continue
        values = {
            "state": AttemptState.UNKNOWN,
            "dialing_at": call.initiated_at,
            "unknown_at": now,
            "settle_at": None,
            "reason": "the ledger had gone back",
            "evidence": told,
        }
        _enter(db, who, who.number, values, RecipientState.HELD, call)


def _enter(
    db: Connection,
    who: _Candidate,
    number: int,
    values: Mapping[str, Any],
    becomes: RecipientState,
    call: Stranger,
) -> None:
    latest = who.latest
    if latest is not None and latest.number == number:
        db.execute(update(attempts).where(attempts.c.id == latest.id).values(values))
    else:
        db.execute(
            insert(attempts).values(
                run_id=who.person.run_id,
                recipient_id=who.person.id,
                number=number,
                client_token=who.token(number),
                fence=1,
                queued_at=call.initiated_at,
                lease_until=call.initiated_at,
                **values,
            )
        )
    _move(db, who, number, becomes)


def _move(db: Connection, who: _Candidate, number: int, becomes: RecipientState) -> None:
    this = update(recipients).where(recipients.c.id == who.person.id)
    db.execute(this.values(state=becomes, attempts=number, waits_for=None))
    # A run that was over has a call to follow or a recipient to hold. It goes on when all others do.
    over = (runs.c.id == who.person.run_id) & (runs.c.state == RunState.FINISHED)
    paused = {"state": RunState.PAUSED, "reason": PAUSED_WITH_ALL, "reason_code": OPERATOR_ALL}
    if becomes == RecipientState.IN_PROGRESS:
        db.execute(update(runs).where(over).values(finished_at=None, **paused))


def _bind(db: Connection, who: _Candidate, exchange: str) -> None:
    """This exchange has placed a call of the run, so it is the one that dials it."""
    if who.person.exchange is not None:
        return
    db.execute(update(runs).where(runs.c.id == who.person.run_id).values(exchange=exchange))
    unbound = (campaigns.c.id == who.person.campaign_id) & campaigns.c.exchange.is_(None)
    db.execute(update(campaigns).where(unbound).values(exchange=exchange))
