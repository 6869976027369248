"""Who may be dialed now: due, in open calling hours, and within the limits on calls to their number."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, exists, literal_column, or_, select, text, update

from campaigns.campaign import Campaign
from campaigns.ledger.limits import LIMIT, allowed_again, limited
from campaigns.ledger.tables import AT_ONCE, attempts, recipients

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

    these: Any
    """The condition on `recipients`."""
    closes: datetime


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
        again = allowed_again(db, campaign, sorted({each.phone for each in people}), exchange, now)
        _put_off(db, [(each.id, again[each.phone]) for each in people if each.phone in again])
        found = [each for each in people if each.phone not in again]
        if len(found) >= limit or len(found) == len(people):
            break
    return found[:limit]


def anybody_due(db: Connection, run_id: int, campaign: Campaign, now: datetime) -> bool:
    """Whether somebody could be dialed now, the limits on their numbers apart."""
    places = open_places(db, run_id, campaign, now)
    return any(
        db.execute(_waiting(run_id, place, now).where(recipients.c.due_at <= now).limit(1)).first()
        is not None
        for place in places
    )


def open_places(db: Connection, run_id: int, campaign: Campaign, now: datetime) -> list[Place]:
    """Where calls may be placed now, whichever closes first coming first."""
    timetable = campaign.timetable
    if not timetable.rules:
        return [Place(None, _FOR_EVER)]
    if not timetable.asks_for_zones:
        window = timetable.window((), now)
        return [Place(None, window.closes)] if window is not None and window.holds(now) else []
    found = []
    unknown_too = [*db.execute(_PLACES, {"run_id": run_id}).scalars(), None]
    for zones in unknown_too:
        window = timetable.window(campaign.zones(zones), now)
        if window is not None and window.holds(now):
            these = recipients.c.zones.is_(None) if zones is None else recipients.c.zones == zones
            found.append(Place(these, window.closes))
    return sorted(found, key=lambda place: place.closes)


def _waiting(run_id: int, place: Place, now: datetime) -> Any:
    waiting = (
        select(
            recipients.c.id, recipients.c.key, recipients.c.attempts, recipients.c.phone, recipients.c.due_at
        )
        .where(recipients.c.run_id == run_id, _WAITING)
        .where(~_ON_THE_PHONE, or_(recipients.c.expires_at.is_(None), recipients.c.expires_at > now))
        .order_by(recipients.c.due_at, recipients.c.id)
    )
    return waiting if place.these is None else waiting.where(place.these)


def _due(db: Connection, run_id: int, places: Sequence[Place], limit: int, now: datetime) -> list[Any]:
    has_a_time = (recipients.c.due_at > AT_ONCE) & (recipients.c.due_at <= now)
    due = _of_places(db, run_id, places, limit, now, has_a_time)
    for _, together in groupby(places, key=lambda place: place.closes):
        if len(due) >= limit:
            break
        at_once = recipients.c.due_at <= AT_ONCE
        due += _of_places(db, run_id, list(together), limit - len(due), now, at_once)
    return due


def _of_places(
    db: Connection, run_id: int, places: Sequence[Place], limit: int, now: datetime, due: Any
) -> list[Any]:
    """The first of those who are due in any of these places: the best of each one's first."""
    # One statement for all of them would sort everybody who waits there.
    found: list[Any] = []
    for place in places:
        waiting = _waiting(run_id, place, now).where(due).limit(limit)
        found += db.execute(waiting.with_for_update(skip_locked=True, of=recipients)).all()
    return sorted(found, key=lambda each: (each.due_at, each.id))[:limit]


def _put_off(db: Connection, until: Sequence[tuple[int, datetime]]) -> None:
    """They wait for the limits; `until`: a recipient's id, and when these allow a call."""
    for recipient_id, due_at in sorted(until):
        db.execute(
            update(recipients)
            .where(recipients.c.id == recipient_id, _WAITING)
            .values(due_at=due_at, waits_for=LIMIT)
        )
