"""A hundred thousand recipients in twenty time zones, by a clock that the test drives."""

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from sqlalchemy import and_, func, literal_column, select, text, update

from campaigns.attempt import AttemptState, Outcome, RecipientState
from campaigns.ledger import open_ledger
from campaigns.ledger.tables import RELEASED, attempts, recipients

if TYPE_CHECKING:
    from campaigns.recipient import Recipient
    from tests.conftest import Desk

ZONES = (
    "Pacific/Auckland",
    "Australia/Lord_Howe",
    "Australia/Adelaide",
    "Asia/Tokyo",
    "Asia/Kathmandu",
    "Asia/Kolkata",
    "Asia/Tehran",
    "Europe/Moscow",
    "Africa/Cairo",
    "Europe/Berlin",
    "Europe/London",
    "Africa/Casablanca",
    "America/Sao_Paulo",
    "America/St_Johns",
    "America/New_York",
    "America/Chicago",
    "America/Denver",
    "America/Phoenix",
    "America/Los_Angeles",
    "Pacific/Honolulu",
)
EACH = 5_000
STEP = timedelta(minutes=15)
CALLS_A_STEP = 900  # one a second
BEGIN = datetime(2026, 10, 30, 12, tzinfo=UTC)  # a Friday; in the night to Sunday, New York's clocks go back
HOURS = {"weekdays": "09:00-20:00", "saturday": "10:00-13:00, 15:00-17:00"}
WINDOWS = {**dict.fromkeys(range(5), ((9, 20),)), 5: ((10, 13), (15, 17)), 6: ()}


def test_calls_follow_the_windows_and_the_list_is_done_in_time(
    desk_of: "type[Desk]", sqlite_ledger_url: str
) -> None:
    """In every quarter of an hour each zone has as many calls as wall clocks and the list's order give it.

    And so the whole list is done when it should be.
    """
    with closing(open_ledger(sqlite_ledger_url)) as ledger:
        desk = desk_of(ledger)
        desk.load(desk.campaign(calling_hours=HOURS), people(desk))
        desk.start(now=BEGIN)
        waiting = dict.fromkeys(ZONES, EACH)
        now, made, hours = BEGIN, 0, Counter[int]()
        while any(waiting.values()):
            expected = reckoned(waiting, now)
            assert dialed(desk, now) == expected, now
            for zone, calls in expected.items():
                waiting[zone] -= calls
                hours[now.astimezone(ZoneInfo(zone)).hour] += calls
            made += sum(expected.values())
            now += STEP
        assert made == len(ZONES) * EACH
        assert set(hours) <= set(range(9, 20))
        # One after the other they would take 28 hours; but nights lie between, and a short Saturday.
        assert timedelta(hours=28) < now - BEGIN < timedelta(days=4)
        assert {row.state for row in states(desk)} == {RecipientState.DONE}


def people(desk: "Desk") -> "Iterator[Recipient]":
    """The zones take turns in the list."""
    for number, person in enumerate(desk.people(len(ZONES) * EACH)):
        yield replace(person, zones=ZONES[number % len(ZONES)])


def reckoned(waiting: dict[str, int], now: datetime) -> dict[str, int]:
    """Whose clock is inside a window; those first whose window ends first, then the list's order."""
    ends = {zone: end for zone in waiting if waiting[zone] and (end := closes(zone, now)) is not None}
    # The list has the zones in turn, so this is where somebody stands in it.
    order = sorted(
        (ends[zone], (EACH - left) * len(ZONES) + ZONES.index(zone), zone)
        for zone in ends
        for left in range(waiting[zone], max(0, waiting[zone] - CALLS_A_STEP), -1)
    )
    return dict(Counter(zone for _, _, zone in order[:CALLS_A_STEP]))


def closes(zone: str, now: datetime) -> datetime | None:
    wall = now.astimezone(ZoneInfo(zone))
    for first, last in WINDOWS[wall.weekday()]:
        if first <= wall.hour < last:
            return wall.replace(hour=last, minute=0).astimezone(UTC)
    return None


def dialed(desk: "Desk", now: datetime) -> dict[str, int]:
    """Claim what may be dialed, and let all of it be answered. Returns how many by zone."""
    desk.claim(keep_queued=CALLS_A_STEP, now=now)
    queued = and_(RELEASED, attempts.c.state == literal_column("'queued'"))
    with desk.ledger.write() as db:
        found = db.execute(
            select(recipients.c.zones, func.count())
            .select_from(attempts.join(recipients, recipients.c.id == attempts.c.recipient_id))
            .where(queued)
            .group_by(recipients.c.zones)
        ).all()
        ended = {"state": AttemptState.ENDED, "dialing_at": now, "outcome": Outcome.ANSWERED, "ended_at": now}
        db.execute(update(attempts).where(queued).values(ended))
        db.execute(text("UPDATE recipients SET state = 'done' WHERE state = 'in_progress'"))
    return dict(found)


def states(desk: "Desk") -> list[Any]:
    with desk.ledger.read() as db:
        return list(db.execute(select(recipients.c.state).distinct()))
