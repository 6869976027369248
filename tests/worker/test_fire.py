"""Schedules fire: real lists, real ledgers, and a clock that the test sets."""

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import event

from campaigns.ledger import Ledger, runs, schedules
from campaigns.ledger.health import Heartbeat
from campaigns.ledger.lists import put_schedule
from campaigns.ledger.schedules import Trouble, scheduled
from campaigns.ledger.tables import campaigns
from campaigns.schedule_view import upcoming
from worker.fire import TRY_AGAIN, Firing
from worker.hands import Hands
from worker.reconcile import Forgone, Reconciling

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
DAY, HOUR = timedelta(days=1), timedelta(hours=1)
MINUTE, SECOND = timedelta(minutes=1), timedelta(seconds=1)
HOURLY = {"cron": "0 * * * *", "time_zone": "UTC", "list": "people.csv"}


# Fires, and is gone just before the run would be committed.
CRASHING_FIRE = """
import os, sys
from datetime import datetime
from pathlib import Path
from sqlalchemy import event
from campaigns.ledger import open_ledger
from worker.fire import Firing

url, folder, now = sys.argv[1:]
ledger = open_ledger(url)
entered = []
event.listen(
    ledger._engine, "before_cursor_execute", lambda c, cursor, statement, *_:
    entered.extend(["yes"] * ("INSERT INTO recipients" in statement))
)
event.listen(ledger._engine, "commit", lambda _: entered and os._exit(9))
Firing(ledger, "connect", Path(folder) / "data", lambda: datetime.fromisoformat(now)).fire()
"""


class Station:
    """A ledger with one schedule, the folder of its lists, and the clock of the control process."""

    def __init__(self, ledger: Ledger, desk: Any, folder: Path) -> None:
        self.ledger = ledger
        self.desk = desk
        self.folder = folder
        self.now = NOON

    def enter(self, name: str = "reminders", **schedule: Any) -> None:
        """`dialer schedule add`."""
        campaign = self.desk.campaign(name, schedule=HOURLY | schedule)
        put_schedule(self.ledger, campaign, self.folder, self.now, exchange="connect")

    def write(self, *phones: str, name: str = "people.csv") -> Path:
        """Put a list there that nobody is writing any more."""
        path = self.folder / name
        path.write_text("phone\n" + "".join(f"{phone}\n" for phone in phones))
        return path

    def firing(self, stopping: Callable[[], bool] = lambda: False, ledger: Ledger | None = None) -> Firing:
        """What the control process does with it."""
        return Firing(
            ledger or self.ledger, "connect", self.folder / "data" / "rejects", lambda: self.now, stopping
        )

    def fire(self, now: datetime, stopping: Callable[[], bool] = lambda: False) -> int:
        """One round, at this time. Returns how many runs have begun."""
        self.now = now
        return self.firing(stopping).fire()

    def begun(self, name: str = "reminders") -> list[tuple[int, datetime]]:
        """The runs of the schedule: their numbers, and the times that they are for."""
        with self.ledger.read() as db:
            query = runs.runs.select().where(runs.runs.c.fire_at.is_not(None)).order_by(runs.runs.c.number)
            ours = runs.find_to_come(db, name).campaign_id
            return [(row.number, row.fire_at) for row in db.execute(query) if row.campaign_id == ours]

    def trouble(self) -> Trouble | None:
        """What the first schedule's status complains of."""
        return scheduled(self.ledger)[0].trouble

    def put_zone(self, zone: str, name: str = "reminders") -> None:
        """A machine whose data are newer has entered it by the clock of this zone."""
        campaign = self.desk.campaign(name, schedule=HOURLY | {"time_zone": zone})
        with self.ledger.write() as db:
            this = campaigns.update().where(campaigns.c.name == name)
            db.execute(this.values(choices=campaign.model_dump(mode="json")))

    def pause(self) -> None:
        with self.ledger.write() as db:
            assert runs.pause_all(db, runs.find_to_come(db, "reminders"), "by an operator")

    def resume(self) -> None:
        with self.ledger.write() as db:
            latest = runs.find_to_come(db, "reminders")
            runs.start_all(
                db, latest, self.now, exchange=None, resumed=schedules.resume(db, latest.campaign_id)
            )


@pytest.fixture
def station(ledger: Ledger, desk: Any, tmp_path: Path) -> Station:
    """An hourly schedule, entered at noon; a list of two people is there."""
    made = Station(ledger, desk, tmp_path)
    made.enter()
    made.write("+14155550101", "+14155550102")
    return made


# --- in time ----------------------------------------------------------------------------------------------


def test_list_becomes_a_run_when_its_time_has_come(station: Station) -> None:
    """Not before, once, and running; the next hour another one, of the list as it is then."""
    assert station.fire(NOON + HOUR - SECOND) == 0
    assert station.fire(NOON + HOUR) == 1
    assert station.fire(NOON + HOUR + SECOND) == 0
    assert station.desk.states() == ["waiting"] * 2
    assert station.desk.run().state == "running"
    station.write("+14155550103")
    assert station.fire(NOON + 2 * HOUR) == 1
    assert [row.phone for row in station.desk.recipients()] == ["+14155550103"]
    assert station.begun() == [(1, NOON + HOUR), (2, NOON + 2 * HOUR)]


def test_list_is_that_of_the_day(station: Station) -> None:
    """`{date}` is the day where the schedule is."""
    station.enter("daily", cron="30 0 * * *", time_zone="Asia/Tokyo", list="{date}/{date:%d.%m.}.csv")
    (station.folder / "2026-03-03").mkdir()
    station.write("+14155550101", name="2026-03-03/03.03..csv")
    assert station.fire(datetime(2026, 3, 2, 15, 30, tzinfo=UTC)) == 2
    assert station.begun("daily") == [(1, datetime(2026, 3, 2, 15, 30, tzinfo=UTC))]


def test_rejected_rows_have_a_file_for_each_run(station: Station) -> None:
    """Beside no list, where it could be taken for one, and none is written over another."""
    station.write("+14155550101", "nonsense")
    assert station.fire(NOON + HOUR) == 1
    station.write("+14155550101", "rubbish")
    assert station.fire(NOON + 2 * HOUR) == 1
    found = sorted((station.folder / "data" / "rejects" / "reminders").iterdir())
    names = ["2026-03-02T1300+0000.rejects.csv", "2026-03-02T1400+0000.rejects.csv"]
    assert [path.name for path in found] == names
    assert ["nonsense" in found[0].read_text(), "rubbish" in found[1].read_text()] == [True, True]
    assert [path.name for path in station.folder.glob("*.csv")] == ["people.csv"]


def test_night_in_which_the_clock_is_put_back(station: Station) -> None:
    """Looked at every fourteen minutes, from before to after: a daily run once, an hourly one every hour."""
    station.now = datetime(2026, 10, 24, 22, tzinfo=UTC)
    station.enter("daily", cron="30 2 * * *", time_zone="Europe/Berlin", grace="15m")
    station.enter("hourly", cron="0 * * * *", time_zone="Europe/Berlin", grace="15m")
    first = station.now
    for look in range(1, 31):
        station.fire(first + look * 14 * MINUTE)
    assert station.begun("daily") == [(1, datetime(2026, 10, 25, 0, 30, tzinfo=UTC))]
    assert station.begun("hourly") == [(hour, first + hour * HOUR) for hour in range(1, 8)]


def test_night_in_which_the_clock_is_put_forward(station: Station) -> None:
    """A daily run whose time is left out begins when the clock has jumped; the hourly one goes on."""
    station.now = datetime(2026, 3, 28, 23, tzinfo=UTC)
    station.enter("daily", cron="30 2 * * *", time_zone="Europe/Berlin", grace="15m")
    station.enter("hourly", cron="0 * * * *", time_zone="Europe/Berlin", grace="15m")
    first = station.now
    for look in range(1, 31):
        station.fire(first + look * 14 * MINUTE)
    assert station.begun("daily") == [(1, datetime(2026, 3, 29, 1, 0, tzinfo=UTC))]
    assert station.begun("hourly") == [(hour, first + hour * HOUR) for hour in range(1, 8)]


# --- too late ---------------------------------------------------------------------------------------------


def test_missed_hour_is_skipped(station: Station) -> None:
    """The machine was off: what it slept through is told, and the next hour is run again."""
    assert station.fire(NOON + HOUR + 31 * MINUTE) == 0
    trouble = station.trouble()
    assert trouble is not None
    assert (trouble.state, trouble.fire_at) == ("skipped", NOON + HOUR)
    assert "is dialer up running?" in trouble.reason
    assert station.fire(NOON + 2 * HOUR) == 1
    assert station.trouble() is None


def test_missed_hour_is_run_within_its_grace(station: Station) -> None:
    """Half an hour late is in time, where nothing else is said."""
    assert station.fire(NOON + HOUR + 30 * MINUTE) == 1
    assert station.begun() == [(1, NOON + HOUR)]


def test_of_a_missed_morning_the_last_is_run(station: Station) -> None:
    """With `if_missed = "run"`: one run however many were missed, and it is that of the last."""
    station.enter(if_missed="run")
    assert station.fire(NOON + 4 * HOUR + 50 * MINUTE) == 1
    assert station.begun() == [(1, NOON + 4 * HOUR)]
    assert station.trouble() is None
    assert station.fire(NOON + 5 * HOUR) == 1


# --- the list is not as it should be ----------------------------------------------------------------------


def test_missing_list_is_waited_for(station: Station) -> None:
    """It is told at once, looked for again and again, and what comes late is run within the grace."""
    (station.folder / "people.csv").unlink()
    assert station.fire(NOON + HOUR) == 0
    trouble = station.trouble()
    assert trouble == Trouble(
        NOON + HOUR, "waiting", f"{station.folder / 'people.csv'}: there is no such file", NOON + HOUR
    )
    station.write("+14155550101")
    assert station.fire(NOON + HOUR + TRY_AGAIN - SECOND) == 0
    assert station.fire(NOON + HOUR + TRY_AGAIN) == 1
    assert station.begun() == [(1, NOON + HOUR)]
    assert station.trouble() is None


def test_list_that_never_comes_is_skipped_with_what_was_wrong(station: Station) -> None:
    """When the grace is over it is given up; that stays to be seen until the next run begins."""
    path = station.folder / "people.csv"
    path.unlink()
    for minutes in range(0, 31, 5):
        assert station.fire(NOON + HOUR + minutes * MINUTE) == 0
        assert station.trouble().state == "waiting"
    assert station.fire(NOON + HOUR + 31 * MINUTE) == 0
    station.write("+14155550101")
    assert station.fire(NOON + HOUR + 40 * MINUTE) == 0
    assert (station.trouble().state, station.trouble().reason) == (
        "skipped",
        f"{path}: there is no such file",
    )
    assert station.fire(NOON + 2 * HOUR) == 1
    assert station.trouble() is None


def test_list_that_is_waited_for_without_end_gives_way_to_the_next(station: Station) -> None:
    """With `run`, a fire waits for its list until the next one's time, and then that is the one."""
    station.enter(if_missed="run")
    (station.folder / "people.csv").unlink()
    assert [station.fire(NOON + HOUR), station.fire(NOON + HOUR + 59 * MINUTE)] == [0, 0]
    assert station.trouble().fire_at == NOON + HOUR
    assert station.fire(NOON + 2 * HOUR) == 0
    assert station.trouble().fire_at == NOON + 2 * HOUR
    station.write("+14155550101")
    assert station.fire(NOON + 2 * HOUR + MINUTE) == 1
    assert station.begun() == [(1, NOON + 2 * HOUR)]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is empty; a list is a CSV file with a header row"),
        (b"phone\n", "has nobody on it, only a header"),
        (b"telephone\n+14155550101\n", "phone"),
        (b"PK\x03\x04 a workbook", "CSV"),
        (b"phone\nnonsense\nrubbish\n", 'none of its 2 rows can be called; line 2, column "phone": '),
        (b"phone\nnonsense\n", 'its only row cannot be called; line 2, column "phone": '),
    ],
)
def test_list_that_will_not_do_is_told(station: Station, content: bytes, reason: str) -> None:
    """No crash, no run, no rejects file; corrected, it is run."""
    path = station.folder / "people.csv"
    path.write_bytes(content)
    assert station.fire(NOON + HOUR) == 0
    assert station.begun() == []
    assert station.trouble().reason.startswith(f"{path}: ")
    assert reason in station.trouble().reason
    assert list((station.folder / "data").rglob("*.csv")) == []
    station.write("+14155550101")
    assert station.fire(NOON + HOUR + MINUTE) == 1


def test_list_that_is_being_written_is_left_alone(station: Station) -> None:
    """Written to two seconds ago it may be half a list. Nobody is alarmed at once, but after a minute."""
    path = station.folder / "people.csv"
    written = (NOON + HOUR - SECOND).timestamp()
    os.utime(path, (written, written))
    assert (station.fire(NOON + HOUR + SECOND), station.trouble()) == (0, None)
    assert station.fire(NOON + HOUR + 2 * SECOND) == 1
    late = NOON + 2 * HOUR + MINUTE
    os.utime(path, (late.timestamp(), late.timestamp()))
    assert station.fire(late + SECOND) == 0
    assert station.trouble().reason == f"{path}: is being written just now"
    assert station.fire(late + MINUTE) == 1


def test_list_that_is_written_until_its_grace_is_over(station: Station) -> None:
    """Nobody is alarmed within the first minute, but why it was skipped is said: not that nothing runs."""
    station.enter(grace="1m")
    path = station.folder / "people.csv"
    for seconds in range(0, 65, 5):
        now = NOON + HOUR + seconds * SECOND
        os.utime(path, (now.timestamp(), now.timestamp()))
        assert station.fire(now) == 0
        assert station.trouble() is None or seconds > 60
    station.fire(NOON + HOUR + 65 * SECOND)
    assert (station.trouble().state, station.trouble().reason) == (
        "skipped",
        f"{path}: is being written just now",
    )


def test_list_that_grows_after_it_was_read(station: Station) -> None:
    """Its writer had paused for longer than we wait: those at its end are told of, until the next run."""
    path = station.folder / "people.csv"
    firing = station.firing()
    station.now = NOON + HOUR
    assert (firing.fire(), firing.fire(), station.trouble()) == (1, 0, None)
    with path.open("a") as file:
        file.write("+14155550103\n")
    os.utime(path, (NOON.timestamp(), NOON.timestamp()))
    station.now += MINUTE
    assert (firing.fire(), len(station.desk.recipients())) == (0, 2)
    assert station.trouble().reason == (
        f"{path}: has grown since it was read for the run of Mon 13:00; whoever is new on it is not called: "
        "dialer load CAMPAIGN.toml LIST.csv"
    )
    station.now = NOON + 2 * HOUR
    assert (firing.fire(), station.trouble(), len(station.desk.recipients())) == (1, None, 3)


def test_other_list_of_that_name_has_not_grown(station: Station) -> None:
    """The next list may be put there as soon as the last one was read, longer or shorter."""
    firing = station.firing()
    station.now = NOON + HOUR
    assert firing.fire() == 1
    station.write(*(f"+1415655{n:04d}" for n in range(30)))
    station.now += MINUTE
    assert (firing.fire(), station.trouble()) == (0, None)
    (station.folder / "people.csv").unlink()
    station.now += HOUR - MINUTE - SECOND
    assert (firing.fire(), station.trouble(), firing.read) == (0, None, {})


def test_list_that_was_missing_and_is_being_written(station: Station) -> None:
    """What has been told already stays to be seen until the run begins."""
    path = station.folder / "people.csv"
    path.unlink()
    assert station.fire(NOON + HOUR) == 0
    station.write("+14155550101")
    now = (NOON + HOUR + TRY_AGAIN).timestamp()
    os.utime(path, (now, now))
    assert station.fire(NOON + HOUR + TRY_AGAIN) == 0
    assert station.trouble().reason == f"{path}: there is no such file"
    assert station.fire(NOON + HOUR + 2 * TRY_AGAIN) == 1
    assert station.trouble() is None


def test_list_that_grows_while_it_is_read_is_not_begun(station: Station) -> None:
    """Whoever copies a long list there, slowly: those at its end are not left out."""
    path = station.write(*(f"+1415655{n:04d}" for n in range(600)))

    def stopping() -> bool:
        # Asked while rows are read. The file's time may be the same, its size is not.
        with path.open("a") as file:
            file.write("+14155550199\n")
        return False

    assert station.fire(NOON + HOUR, stopping) == 0
    assert (station.begun(), station.trouble()) == ([], None)
    assert station.fire(NOON + HOUR + 2 * MINUTE, stopping) == 0
    assert station.trouble().reason == f"{path}: has changed while it was read"
    assert station.fire(NOON + HOUR + 3 * MINUTE) == 1
    assert station.desk.run().number == 1
    assert len(station.desk.recipients()) > 600


# --- crashes, and several at once -------------------------------------------------------------------------


def test_crash_before_the_commit_leaves_nothing(station: Station, ledger_url: str) -> None:
    """The process dies with its transaction, of which the whole run is part: the next one begins it."""
    root = str(Path(schedules.__file__).parents[2])
    died = subprocess.run(
        [sys.executable, "-c", CRASHING_FIRE, ledger_url, str(station.folder), (NOON + HOUR).isoformat()],
        env={**os.environ, "PYTHONPATH": root},
    )
    assert died.returncode == 9
    assert (station.begun(), station.trouble()) == ([], None)
    assert station.fire(NOON + HOUR + SECOND) == 1
    assert station.begun() == [(1, NOON + HOUR)]
    assert station.desk.states() == ["waiting"] * 2


def test_fault_of_one_campaign_keeps_no_other_from_its_time(
    station: Station, caplog: pytest.LogCaptureFixture
) -> None:
    """Something that nobody has thought of: it is told, in the log with its traceback, and tried again."""
    station.enter("another")

    def fail(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "INSERT INTO recipients" in statement and not caplog.records:
            raise RuntimeError("unheard of")

    event.listen(station.ledger._engine, "before_cursor_execute", fail)
    with caplog.at_level(logging.ERROR):
        assert station.fire(NOON + HOUR) == 1
    event.remove(station.ledger._engine, "before_cursor_execute", fail)
    (trouble,) = [each.trouble for each in scheduled(station.ledger) if each.trouble]
    assert trouble.reason == "RuntimeError; the log of the control process has more"
    assert "unheard of" in caplog.text
    assert station.fire(NOON + HOUR + TRY_AGAIN) == 1


def test_process_that_is_to_stop_reads_no_list_to_its_end(station: Station) -> None:
    """A million rows would keep it for minutes; what it leaves, the next one begins."""
    station.write(*(f"+1415655{n:04d}" for n in range(600)))
    answers = iter([False, True])
    assert station.fire(NOON + HOUR, lambda: next(answers, True)) == 0
    assert (station.begun(), station.trouble()) == ([], None)
    assert station.fire(NOON + HOUR, lambda: True) == 0
    assert station.fire(NOON + HOUR) == 1


def test_two_schedulers_at_the_same_instant(station: Station, second_ledger: Ledger) -> None:
    """Both read the list; one begins its run, and the other one does nothing and has no trouble."""
    station.write(*(f"+1415655{n:04d}" for n in range(501)))
    station.now = NOON + HOUR
    together = threading.Barrier(2)
    asked = threading.local()

    def stopping() -> bool:
        # Asked first before a list is opened, and then in the middle of it: there both wait for each other.
        asked.times = getattr(asked, "times", 0) + 1
        if asked.times == 2:
            together.wait(30)
        return False

    found: list[int] = []
    threads = [
        threading.Thread(target=lambda ledger=ledger: found.append(station.firing(stopping, ledger).fire()))
        for ledger in (station.ledger, second_ledger)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(found) == [0, 1]
    assert (station.begun(), station.trouble()) == ([(1, NOON + HOUR)], None)
    assert len(station.desk.recipients()) == 501


# --- an operator ------------------------------------------------------------------------------------------


def test_paused_campaign_begins_no_run(station: Station) -> None:
    """Resumed within the grace it begins with the list as it is then, once."""
    station.pause()
    assert [station.fire(NOON + HOUR), station.fire(NOON + HOUR + 5 * MINUTE)] == [0, 0]
    assert station.trouble().reason == "the campaign is paused: by an operator"
    station.resume()
    assert station.fire(NOON + HOUR + 10 * MINUTE) == 1
    assert station.desk.run().state == "running"


def test_campaign_that_was_paused_for_long_does_not_make_up_for_it(station: Station) -> None:
    """After a day the same people would be called a dozen times; only the next one calls them."""
    station.pause()
    for minutes in range(0, 24 * 60, 30):
        assert station.fire(NOON + HOUR + minutes * MINUTE) == 0
    station.resume()
    assert station.fire(NOON + 25 * HOUR - SECOND) == 0
    assert station.trouble().reason == "the campaign is paused: by an operator"
    assert station.fire(NOON + 25 * HOUR) == 1
    assert station.begun() == [(1, NOON + 25 * HOUR)]


def test_other_times_while_a_list_is_waited_for(station: Station) -> None:
    """The edited file holds from then on: the fire that waited is over, the new one comes in its time."""
    (station.folder / "people.csv").unlink()
    assert station.fire(NOON + HOUR) == 0
    station.now = NOON + HOUR + 5 * MINUTE
    station.enter(cron="10 * * * *")
    station.write("+14155550101")
    assert station.fire(NOON + HOUR + 6 * MINUTE) == 0
    assert station.trouble().reason == "the schedule was changed"
    assert station.fire(NOON + HOUR + 10 * MINUTE) == 1
    assert station.begun() == [(1, NOON + HOUR + 10 * MINUTE)]


def test_other_list_while_it_is_waited_for(station: Station) -> None:
    """The name was wrong; the fire that waits reads the right one."""
    station.enter(list="poeple.csv")
    assert station.fire(NOON + HOUR) == 0
    station.enter(list="people.csv")
    assert station.fire(NOON + HOUR + MINUTE) == 1


# --- clocks and zones -------------------------------------------------------------------------------------


def test_clock_that_was_ahead_silences_nothing_for_good(station: Station) -> None:
    """A year ahead, it begins a run; put back, the schedule is entered again and goes on where it was."""
    assert station.fire(NOON + 365 * DAY) == 1
    assert [station.fire(NOON + hours * HOUR) for hours in (1, 2)] == [0, 0]
    station.enter()
    assert scheduled(station.ledger)[0].since == NOON + 2 * HOUR
    assert [station.fire(NOON + 3 * HOUR - SECOND), station.fire(NOON + 3 * HOUR)] == [0, 1]
    assert station.begun() == [(1, NOON + 365 * DAY), (2, NOON + 3 * HOUR)]
    assert scheduled(station.ledger)[0].last.number == 2
    (station.folder / "people.csv").unlink()
    assert station.fire(NOON + 4 * HOUR) == 0
    assert station.trouble().fire_at == NOON + 4 * HOUR


def test_what_a_clock_that_was_ahead_has_skipped_is_forgotten(station: Station) -> None:
    """Its reports of a time to come go with its mark."""
    assert station.fire(NOON + 365 * DAY + 45 * MINUTE) == 0
    assert station.trouble().fire_at == NOON + 365 * DAY
    station.now = NOON + MINUTE
    station.enter()
    assert station.trouble() is None
    assert station.fire(NOON + HOUR) == 1


def test_clock_that_is_far_behind_makes_no_second_run_of_a_time(station: Station) -> None:
    """Entered where it is an hour earlier: whom the last run has called, nobody calls for that time again."""
    assert station.fire(NOON + HOUR) == 1
    station.now = NOON + 5 * MINUTE
    station.enter()
    assert station.fire(NOON + HOUR + 10 * MINUTE) == 0
    assert station.begun() == [(1, NOON + HOUR)]
    assert station.trouble().reason == "run 1 was begun for that time before, by a clock that was ahead"
    assert station.fire(NOON + 2 * HOUR) == 1
    assert station.trouble() is None


def test_zone_that_the_control_process_does_not_know(
    station: Station, caplog: pytest.LogCaptureFixture
) -> None:
    """The other campaigns' runs begin, its own are an alarm; and they begin as soon as the zone is known."""
    station.enter("another")
    zone = "America/Coyhaique_New"
    station.put_zone(zone)
    with caplog.at_level(logging.ERROR):
        assert [station.fire(NOON + HOUR), station.fire(NOON + HOUR + TRY_AGAIN)] == [1, 0]
    assert (station.begun("another"), station.begun()) == ([(1, NOON + HOUR)], [])
    problem = (
        f"the control process's machine does not know the time zone {zone}; there: pip install -U tzdata"
    )
    (trouble,) = [each.trouble for each in scheduled(station.ledger) if each.trouble]
    assert (trouble.state, trouble.reason) == ("failed", f"{problem}, and start it again")
    assert caplog.text.count(problem) == 1
    station.put_zone("UTC")
    assert station.fire(NOON + HOUR + 2 * TRY_AGAIN) == 1
    assert [each.trouble for each in scheduled(station.ledger)] == [None, None]


def test_fault_of_deciding_keeps_no_other_from_its_time(
    station: Station, caplog: pytest.LogCaptureFixture
) -> None:
    """What was missed cannot be written down for one campaign: it is told, and the other one goes on."""
    station.enter("another")

    def fail(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "UPDATE campaigns SET schedule_from" in statement and not caplog.records:
            raise RuntimeError("unheard of")

    late = NOON + HOUR + 31 * MINUTE
    event.listen(station.ledger._engine, "before_cursor_execute", fail)
    with caplog.at_level(logging.ERROR):
        assert station.fire(late) == 0
    event.remove(station.ledger._engine, "before_cursor_execute", fail)
    assert "unheard of" in caplog.text
    failed, skipped = [each.trouble for each in scheduled(station.ledger)]
    assert (failed.state, failed.reason) == (
        "failed",
        "RuntimeError; the log of the control process has more",
    )
    assert (skipped.state, skipped.fire_at) == ("skipped", NOON + HOUR)
    station.fire(late + TRY_AGAIN)
    assert [each.trouble.state for each in scheduled(station.ledger)] == ["skipped", "skipped"]


def test_a_schedule_of_the_other_side_is_left_alone(station: Station) -> None:
    """A trial's control process neither begins its runs nor gives them up; its own one finds it as it was."""
    station.now = NOON + 3 * HOUR
    trials = Firing(station.ledger, "sandbox", station.folder / "data" / "rejects", lambda: station.now)
    assert trials.fire() == 0
    (each,) = scheduled(station.ledger)
    assert (each.since, each.trouble, each.last) == (NOON, None, None)
    assert station.fire(station.now) == 1


# --- in the control process -------------------------------------------------------------------------------


def test_task_fires_one_at_a_time(program: SimpleNamespace, desk_of: Any, tmp_path: Path) -> None:
    """It goes about it in a thread of its own, and what comes meanwhile goes away again."""
    machine = program.machine()
    (tmp_path / "people.csv").write_text("phone\n+14155550101\n")
    desk = desk_of(machine.ledger)
    campaign = desk.campaign(schedule=HOURLY | {"cron": "* * * * *", "grace": "1d"})
    # The program goes by the wall clock, and leaves a list alone that was written just now.
    os.utime(tmp_path / "people.csv", (1_700_000_000, 1_700_000_000))
    put_schedule(machine.ledger, campaign, tmp_path, datetime.now(UTC) - 2 * MINUTE, exchange="sandbox")
    program.tasks._firing.acquire()
    program.tasks.fire_task()
    assert scheduled(machine.ledger)[0].last is None
    program.tasks._firing.release()
    program.tasks.fire_task()
    for name in ("fire", "hand-"):
        for thread in threading.enumerate():
            if thread.name.startswith(name):
                thread.join(30)
    assert desk.states() == ["waiting"]
    assert program.tasks._firing.acquire(blocking=False)


# --- a list that takes its time ---------------------------------------------------------------------------


def joined() -> None:
    """Waits until every hand has let go."""
    for thread in threading.enumerate():
        if thread.name.startswith("hand-"):
            thread.join(30)

            assert not thread.is_alive()


def test_slow_list_keeps_no_other_campaign_from_its_time(station: Station) -> None:
    """It is read apart; the other run begins meanwhile, and its own is not skipped however long it takes."""
    station.write("+14155550101", name="slow.csv")
    station.write("+14155550102", name="quick.csv")
    station.enter("slow", list="slow.csv")
    station.enter("quick", list="quick.csv")
    ids = {each.campaign.name: each.campaign_id for each in scheduled(station.ledger)}
    gate, reached = threading.Event(), threading.Event()

    def held_up() -> bool:
        if threading.current_thread().name == f"hand-{ids['slow']}":
            reached.set()
            assert gate.wait(60)
        return False

    firing = replace(station.firing(held_up), hands=Hands())
    station.now = NOON + HOUR
    firing.fire()
    assert reached.wait(30)
    for thread in threading.enumerate():  # it may be over already
        if thread.name == f"hand-{ids['quick']}":
            thread.join(30)
    assert (len(station.begun("quick")), station.begun("slow")) == (1, [])
    # Long after its grace it is still being read: no round decides over it meanwhile.
    station.now = NOON + HOUR + timedelta(minutes=59)
    firing.fire()
    (slow,) = [each for each in scheduled(station.ledger) if each.campaign.name == "slow"]
    assert slow.trouble is None
    here = [Heartbeat(role, role, "connect", station.now, None) for role in ("control", "beat")]
    assert "is late: its list is long or slow to read" in (upcoming(slow, here, station.now).alarm or "")
    gate.set()
    joined()
    assert station.begun("slow") == [(1, NOON + HOUR)]


def test_fire_is_not_late_at_once(station: Station) -> None:
    """Within two minutes of its time nothing is said where processes are there to begin it."""
    station.enter()
    (each,) = scheduled(station.ledger)
    now = NOON + HOUR + timedelta(minutes=1)
    here = [Heartbeat(role, role, "connect", now, None) for role in ("control", "beat")]
    assert upcoming(each, here, now).alarm is None
    assert upcoming(each, here, now + 3 * MINUTE).alarm is not None


def test_hands_are_few() -> None:
    """One for each campaign, so many at once; what finds none free begins in a later round."""
    gate = threading.Event()
    hands = Hands(2)
    assert hands.take(1, lambda: gate.wait(60))
    assert hands.take(2, lambda: gate.wait(60))
    assert (hands.take(1, gate.set), hands.take(3, gate.set)) == (False, False)
    assert (hands.busy(1), hands.busy(3)) == (True, False)
    gate.set()
    joined()
    assert hands.take(3, lambda: 1 / 0)
    joined()
    assert hands.take(3, lambda: None)
    joined()


def test_schedule_that_cannot_be_read_keeps_no_other(
    station: Station, caplog: pytest.LogCaptureFixture
) -> None:
    """It is named in the log, once; the other's run begins."""
    station.write("+14155550101")
    station.enter("bad")
    with station.ledger.write() as db:
        db.execute(campaigns.update().where(campaigns.c.name == "bad").values(choices={"colour": "red"}))
    firing = station.firing()
    station.now = NOON + HOUR
    assert (firing.fire(), firing.fire(), len(station.begun())) == (1, 0, 1)
    assert [each.getMessage().startswith("no run begins: bad: its choices") for each in caplog.records].count(
        True
    ) == 1


# --- a ledger that has gone back --------------------------------------------------------------------------


@pytest.mark.parametrize("if_missed", ["skip", "run"])
def test_time_whose_run_may_be_lost_does_not_begin_it_again(station: Station, if_missed: str) -> None:
    """A restored ledger knows nothing of the run of one o'clock, whose recipients were called. `reconcile`
    skips the times that have passed since the backup, with an alarm, and the next one begins as usual."""
    station.enter(if_missed=if_missed, grace="30m")
    station.pause()
    station.now = NOON + HOUR + 10 * MINUTE
    reconciling = Reconciling(
        SimpleNamespace(ledger=station.ledger, exchange="connect"),  # type: ignore[arg-type]
        clock=lambda: station.now,
    )
    dry = reconciling.reconcile(NOON, dry_run=True)
    assert dry.forgone == [Forgone("reminders", NOON + HOUR)]
    assert station.trouble() is None
    assert reconciling.reconcile(NOON).forgone == dry.forgone
    assert reconciling.reconcile(NOON).forgone == []
    station.resume()
    assert (station.fire(station.now), station.begun()) == (0, [])
    trouble = station.trouble()
    assert trouble is not None
    assert (trouble.fire_at, trouble.state) == (NOON + HOUR, "skipped")
    assert "load the list" in trouble.reason
    assert station.fire(NOON + 2 * HOUR) == 1
    assert station.begun() == [(1, NOON + 2 * HOUR)]
