"""Two days of reminders from a daily list, on a clock that the test drives."""

import csv
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from sqlalchemy import select

from campaigns.ledger import Ledger
from campaigns.ledger.expiry import expire
from campaigns.ledger.lists import put_schedule
from campaigns.ledger.moves import Order
from campaigns.ledger.tables import attempts, loads, recipients
from worker.fire import Firing

if TYPE_CHECKING:
    from tests.conftest import Desk

STEP = timedelta(minutes=15)
"""From one look at the ledger to the next. All times of the story are multiples of it."""

# In the night between these two days the clocks of America are put back.
FIRST, SECOND = date(2026, 10, 31), date(2026, 11, 1)
NEW_YORK = ZoneInfo("America/New_York")
READ = [datetime.combine(day, time(6), NEW_YORK).astimezone(UTC) for day in (FIRST, SECOND)]
END = READ[1] + timedelta(hours=24)
DOWN = READ[1] + timedelta(hours=9), READ[1] + timedelta(hours=13)
"""Nobody dials in between: the workers are down."""

BEFORE = {"24h": timedelta(hours=24), "2h": timedelta(hours=2)}
HOURS = {"weekdays": "09:00-20:00", "saturday": "09:00-20:00", "sunday": "11:00-18:00"}

# Each number, its time_zone column, and by whose clocks it may be called.
PEOPLE = [
    ("+1212555{:04d}", "", ("America/New_York",)),
    ("+1312555{:04d}", "", ("America/Chicago",)),
    ("+1303555{:04d}", "", ("America/Denver",)),
    ("+1415555{:04d}", "", ("America/Los_Angeles",)),
    ("+1808555{:04d}", "", ("Pacific/Honolulu",)),
    ("+49301234{:04d}", "", ("Europe/Berlin",)),
    ("+1219555{:04d}", "America/Chicago", ("America/Chicago", "America/New_York")),
    ("+1212555{:04d}", "America/Los_Angeles", ("America/Los_Angeles", "America/New_York")),
]


@dataclass(frozen=True)
class Appointment:
    """A row of a list."""

    id: str
    phone: str
    time_zone: str
    zones: tuple[str, ...]
    wall: datetime

    @property
    def at(self) -> datetime:
        """The clock is that of the column, or of the number's only zone."""
        return self.wall.replace(tzinfo=ZoneInfo(self.time_zone or self.zones[0])).astimezone(UTC)


def some(day: date, first: int, count: int, chance: random.Random) -> list[Appointment]:
    """Appointments on a day from early to late, none in the hour that comes twice."""
    made = []
    for number in range(first, first + count):
        phone, time_zone, zones = PEOPLE[number % len(PEOPLE)]
        minute = chance.choice([chance.randrange(12, 44), chance.randrange(12, 88)]) * 15
        wall = datetime.combine(day, time()) + timedelta(minutes=minute)
        made.append(Appointment(f"A-{number}", phone.format(number), time_zone, zones, wall))
    return made


def is_open(zones: tuple[str, ...], at: datetime) -> bool:
    """The calling hours once more, the plain way: every clock shows an hour in which one may call."""
    for zone in zones:
        here = at.astimezone(ZoneInfo(zone))
        first, last = (11, 18) if here.weekday() == 6 else (9, 20)
        if not first <= here.hour < last:
            return False
    return True


def due(zones: tuple[str, ...], at: datetime) -> datetime:
    """That time, or the beginning of the last open hour before it, step by step back."""
    if is_open(zones, at):
        return at
    while not is_open(zones, at):
        at -= STEP
    closes = at + STEP
    while is_open(zones, at - STEP) and at - STEP >= closes - timedelta(hours=1):
        at -= STEP
    return at


def steps(since: datetime, until: datetime) -> Iterator[datetime]:
    while since < until:
        yield since
        since += STEP


def can_be_called(appointment: Appointment, now: datetime) -> bool:
    return any(is_open(appointment.zones, at) for at in steps(now, appointment.at))


def expected(
    appointment: Appointment, known: datetime, moved: datetime | None
) -> Iterator[tuple[str, datetime | None]]:
    """For each reminder that is to be made, when it is; None if its time passes while nobody dials."""
    times = {name: due(appointment.zones, appointment.at - before) for name, before in BEFORE.items()}
    until = {"24h": times["2h"], "2h": appointment.at}
    for name, time_due in times.items():
        calls = [
            at
            for at in steps(max(time_due, known), until[name])
            if is_open(appointment.zones, at) and (moved is None or at < moved)
        ]
        made = next((at for at in calls if not DOWN[0] <= at < DOWN[1]), None)
        if calls and (made or until[name]) < END:
            yield name, made


def write(path: Path, rows: list[Appointment], *more: list[str]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "phone", "tz", "Appointment"])
        writer.writerows([row.id, row.phone, row.time_zone, f"{row.wall:%Y-%m-%d %H:%M}"] for row in rows)
        writer.writerows(more)
    long_ago = (READ[0] - timedelta(days=1)).timestamp()
    os.utime(path, (long_ago, long_ago))


def calls(ledger: Ledger) -> list[tuple[tuple[str, datetime, str], datetime]]:
    """(appointment and reminder, when it was dialed) of every attempt."""
    query = select(
        recipients.c.list_key, recipients.c.appointment_at, recipients.c.reminder, attempts.c.dialing_at
    )
    with ledger.read() as db:
        return [(tuple(row[:3]), row[3]) for row in db.execute(query.join(attempts))]


def test_each_appointment_is_called_once_at_its_time(desk: "Desk", tmp_path: Path) -> None:
    """Each reminder rings once, to the minute when a plain reckoning says, by the clocks of its recipient.

    The second day's list has most of the first day's appointments again, some at another time, some not at
    all, and new ones. Early ones are called the evening before; those whose time passes while the workers
    are down are never called.
    """
    chance = random.Random(20261031)
    early = some(FIRST, 1, 16, chance)
    both_days = some(SECOND, 100, 48, chance)
    moved = {row.id: replace(row, wall=row.wall + timedelta(hours=2)) for row in both_days[:16]}
    vanished = both_days[16:24]
    new = some(SECOND, 200, 16, chance) + some(SECOND + timedelta(days=1), 300, 8, chance)
    again = [moved.get(row.id, row) for row in both_days if row not in vanished]

    wrong = ["A-900", "+12125550900", "", "11/12/2026 2pm"]
    over = ["A-901", "+12125550901", "", "2026-10-31 05:50"]
    write(tmp_path / f"{FIRST}.csv", [*early, *both_days, both_days[30]], wrong, over)
    write(tmp_path / f"{SECOND}.csv", [*again, *new], over)

    campaign = desk.campaign(
        list={"key": "id", "time_zone": "tz"},
        calling_hours=HOURS,
        reminder={"at": "appointment", "before": list(BEFORE)},
        schedule={"cron": "0 6 * * *", "time_zone": "America/New_York", "list": "{date}.csv"},
    )
    now = READ[0] - timedelta(hours=1)
    put_schedule(desk.ledger, campaign, tmp_path, now, exchange="connect")
    firing = Firing(desk.ledger, "connect", tmp_path / "rejects", lambda: now)
    for now in steps(READ[0], END):
        if now in READ:
            assert firing.fire() == 1
        expire(desk.ledger, now)
        if DOWN[0] <= now < DOWN[1]:
            continue
        for claimed in desk.claim(now=now):
            assert isinstance(desk.dial(claimed, now=now), Order)
            assert desk.placed(claimed, now=now)
            assert desk.ended(claimed)

    story = [(row, READ[0], READ[1] if row.id in moved else None) for row in [*early, *both_days]]
    story += [(row, READ[1], None) for row in [*moved.values(), *new]]
    wanted = {
        (row.id, row.at, name): at for row, known, gone in story for name, at in expected(row, known, gone)
    }
    rang = calls(desk.ledger)
    rang_at = dict(rang)
    assert {key: at for key, at in wanted.items() if at is not None} == rang_at
    assert len(rang) == len(rang_at)
    rows = {(row.id, row.at): row for row, _, _ in story}
    for (key, appointment, _), at in rang_at.items():
        assert at < appointment
        assert is_open(rows[key, appointment].zones, at)

    # The story has all that it is about.
    at_their_time = sum(at == appointment - BEFORE[name] for (_, appointment, name), at in rang_at.items())
    assert at_their_time > 20
    assert len(rang_at) - at_their_time > 20
    with desk.ledger.read() as db:
        people = db.execute(select(recipients)).all()
        lists = db.execute(select(loads).order_by(loads.c.id)).all()
    states = {(each.list_key, each.appointment_at, each.reminder): each.state for each in people}
    missed = [key for key, at in wanted.items() if at is None]
    assert len(missed) > 2
    assert {states[key] for key in missed} == {"expired"}
    withdrawn = {(row.id, row.at) for row in both_days if row.id in moved}
    assert any(key[:2] in withdrawn and key not in wanted and states[key] == "expired" for key in states)
    assert {key for key, state in states.items() if state == "done"} == rang_at.keys()
    same = [row for row in again if row.id not in moved and can_be_called(row, READ[1])]
    assert [(each.rows, each.duplicates) for each in lists] == [(67, 1), (65, len(same))]
