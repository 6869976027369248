"""Who may be dialed now: due, in open calling hours, and within the limits on calls to their number."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, bindparam, exists, literal_column, or_, select, text, update

from campaigns.campaign import Campaign
from campaigns.ledger.limits import LIMIT, SOON, allowed_again, limited, queued_numbers
from campaigns.ledger.tables import AT_ONCE, Instant, attempts, recipients

_LOOKS = 5  # how often in a round it goes on behind people whose numbers have had their calls
_AT_LEAST = 200  # people a look, where some of them may have

# The state is spelled out, not bound: only then do both databases see that the partial index fits.
_WAITING = recipients.c.state == literal_column("'waiting'")
# A call that had been given up may turn out to go on, while another attempt is waited for.
_ON_THE_PHONE = exists().where(
    attempts.c.recipient_id == recipients.c.id,
    attempts.c.state == literal_column("'placed'"),
    attempts.c.follow_at.is_not(None),
)

# The places of those who wait, one step into the index for each. A DISTINCT would go through all of them.
_PLACES = text("""
    WITH RECURSIVE places(zones) AS (
        SELECT min(zones) FROM recipients WHERE run_id = :run_id AND state = 'waiting'
        UNION ALL
        SELECT (SELECT min(r.zones) FROM recipients AS r
                WHERE r.run_id = :run_id AND r.state = 'waiting' AND r.zones > places.zones)
        FROM places WHERE places.zones IS NOT NULL
    )
    SELECT zones FROM places WHERE zones IS NOT NULL
""")

_FOR_EVER = datetime(9999, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Place:
    """People of a run who are in the same zones, and so are open and closed together."""

    zones: str | None
    """As `recipients` has them; None: none is known."""
    closes: datetime
    anywhere: bool = False
    """Wherever they are: it is the same for everybody."""


def due_people(
    db: Connection, run_id: int, campaign: Campaign, exchange: str, limit: int, now: datetime
) -> list[Any]:
    """Up to `limit` recipients of a run who may be dialed now: rows of id, key, attempts.

    Whoever has a time first, then those whose calling hours end first, and the others in the order of the
    list. A million who were never called would keep a redial that is due in ten minutes waiting for days.
    Those whose numbers have had all the calls that the limits allow are put off until these allow one.
    """
    places = open_places(db, run_id, campaign, now)
    if not limited(campaign):
        return _due(db, run_id, places, limit, now)
    found: list[Any] = []
    for _ in range(_LOOKS):
        wanted = limit - len(found)
        # Again from the beginning: those before were put off, or are found once more.
        people = _due(db, run_id, places, len(found) + max(wanted, _AT_LEAST), now)
        phones = sorted({each.phone for each in people})
        again = allowed_again(db, campaign, phones, exchange, now)
        # Whoever is queued is about to be called; to claim the same number as well would waste a slot.
        again = dict.fromkeys(queued_numbers(db, phones), now + SOON) | again
        _put_off(db, [(each.id, again[each.phone]) for each in people if each.phone in again])
        found = [each for each in people if each.phone not in again]
        if len(found) >= limit or len(found) == len(people):
            break
    return found[:limit]


def anybody_due(db: Connection, run_id: int, campaign: Campaign, now: datetime) -> bool:
    """Whether somebody could be dialed now, the limits on their numbers apart."""
    places = open_places(db, run_id, campaign, now)
    return any(_first(db, these, run_id, place, 1, now) for place in places for these in (_TIMED, _UNTIMED))


def open_places(db: Connection, run_id: int, campaign: Campaign, now: datetime) -> list[Place]:
    """Where calls may be placed now, whichever closes first coming first."""
    timetable = campaign.timetable
    if not timetable.rules:
        return [Place(None, _FOR_EVER, anywhere=True)]
    if not timetable.asks_for_zones:
        window = timetable.window((), now)
        is_open = window is not None and window.holds(now)
        return [Place(None, window.closes, anywhere=True)] if window is not None and is_open else []
    found = []
    unknown_too = [*db.execute(_PLACES, {"run_id": run_id}).scalars(), None]
    for zones in unknown_too:
        window = timetable.window(campaign.zones(zones), now)
        if window is not None and window.holds(now):
            found.append(Place(zones, window.closes))
    return sorted(found, key=lambda place: place.closes)


def _due(db: Connection, run_id: int, places: Sequence[Place], limit: int, now: datetime) -> list[Any]:
    due = _timed(db, run_id, places, limit, now)
    for _, together in groupby(places, key=lambda place: place.closes):
        if len(due) >= limit:
            break
        due += _of_places(db, _UNTIMED, run_id, list(together), limit - len(due), now)
    return due


def _timed(db: Connection, run_id: int, places: Sequence[Place], limit: int, now: datetime) -> list[Any]:
    """Those who have a time, and it has come, by that time."""
    if not places:
        return []
    # Most often there are few of them, and one look shows all, wherever they are.
    many = max(limit, _AT_LEAST)
    everywhere = _first(db, _TIMED, run_id, Place(None, _FOR_EVER, anywhere=True), many, now)
    if len(everywhere) < many or any(place.anywhere for place in places):
        among = {place.zones for place in places}
        anywhere = any(place.anywhere for place in places)
        return [each for each in everywhere if anywhere or each.zones in among][:limit]
    return _of_places(db, _TIMED, run_id, places, limit, now)


def _of_places(
    db: Connection, these: "_Looks", run_id: int, places: Sequence[Place], limit: int, now: datetime
) -> list[Any]:
    """The first of those who are due in any of these places: the best of each one's first."""
    # One statement for all of them would sort everybody who waits there.
    found = [each for place in places for each in _first(db, these, run_id, place, limit, now)]
    return sorted(found, key=lambda each: (each.due_at, each.id))[:limit]


def _first(
    db: Connection, these: "_Looks", run_id: int, place: Place, limit: int, now: datetime
) -> Sequence[Any]:
    look = these.anywhere if place.anywhere else these.nowhere if place.zones is None else these.there
    values: dict[str, Any] = {"run_id": run_id, "now": now, "most": limit}
    if look is these.there:
        values["zones"] = place.zones
    return db.execute(look, values).all()


@dataclass(frozen=True, slots=True)
class _Looks:
    """The statements that find who is due; made once, for making one takes longer than its answer."""

    anywhere: Any
    there: Any
    nowhere: Any
    """Of whom no zone is known."""


def _looks(due: Any) -> _Looks:
    now: Any = bindparam("now", type_=Instant)
    waiting = (
        select(
            recipients.c.id,
            recipients.c.key,
            recipients.c.attempts,
            recipients.c.phone,
            recipients.c.due_at,
            recipients.c.zones,
        )
        .where(recipients.c.run_id == bindparam("run_id"), _WAITING, due)
        .where(~_ON_THE_PHONE, or_(recipients.c.expires_at.is_(None), recipients.c.expires_at > now))
        .order_by(recipients.c.due_at, recipients.c.id)
        .limit(bindparam("most"))
        .with_for_update(skip_locked=True, of=recipients)
    )
    return _Looks(
        waiting,
        waiting.where(recipients.c.zones == bindparam("zones")),
        waiting.where(recipients.c.zones.is_(None)),
    )


_TIMED = _looks(
    (recipients.c.due_at > AT_ONCE) & (recipients.c.due_at <= bindparam("now", type_=Instant)),
)
_UNTIMED = _looks(recipients.c.due_at <= AT_ONCE)

_PUT_OFF = (
    update(recipients)
    .where(recipients.c.id == bindparam("recipient_id"), _WAITING)
    .values(due_at=bindparam("until", type_=Instant), waits_for=LIMIT)
)


def _put_off(db: Connection, until: Sequence[tuple[int, datetime]]) -> None:
    """They wait for the limits; `until`: a recipient's id, and when these allow a call."""
    if until:
        db.execute(_PUT_OFF, [{"recipient_id": who, "until": at} for who, at in sorted(until)])
