"""A rehearsal's clock: it begins when told, runs while kept running, never goes back, and is no real one."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaigns.ledger import rehearsal
from campaigns.ledger.binding import decide
from campaigns.ledger.claims import claim
from campaigns.ledger.clock import wall_clock
from campaigns.ledger.health import alive, beat
from campaigns.ledger.rehearsal import Rehearsal, keep_running, rehearse, start, stop
from campaigns.mistake import Mistake
from worker.rescue import rescue

if TYPE_CHECKING:
    from tests.conftest import Desk

AS_OF = datetime(2031, 12, 3, 9, tzinfo=UTC)
REAL = datetime(2026, 12, 1, tzinfo=UTC)
SECONDS = st.floats(-1000, 1000).map(lambda seconds: timedelta(seconds=seconds))


@given(first=SECONDS, second=SECONDS, until=SECONDS, speed=st.floats(0.1, 1000))
def test_a_clock_never_goes_back(first: timedelta, second: timedelta, until: timedelta, speed: float) -> None:
    """At a later real time it shows the same or a later one, and never one before its beginning."""
    clock = Rehearsal(AS_OF, AS_OF, REAL, REAL + until, speed)
    early, late = sorted((first, second))
    assert AS_OF <= clock.shows(REAL + early) <= clock.shows(REAL + late)


def test_a_clock_runs_at_its_speed_until_it_stops() -> None:
    """Sixty times as fast for ten seconds, and not a second longer."""
    clock = Rehearsal(AS_OF, AS_OF, REAL, REAL + timedelta(seconds=10), 60.0)
    assert clock.shows(REAL + timedelta(seconds=5)) == AS_OF + timedelta(minutes=5)
    assert clock.shows(REAL + timedelta(days=1)) == AS_OF + timedelta(minutes=10)


@pytest.fixture
def real(monkeypatch: pytest.MonkeyPatch, desk: "Desk") -> list[datetime]:
    """The real time, as the test sets it."""
    at = [REAL]
    monkeypatch.setattr(desk.ledger, "real_now", lambda: at[0])
    return at


def test_the_ledger_shows_the_rehearsals_time(desk: "Desk", real: list[datetime]) -> None:
    """It stands still until it is started, runs while it is kept running, and stops."""
    ledger = desk.ledger
    rehearse(ledger, AS_OF, 60.0)
    real[0] += timedelta(hours=1)
    assert ledger.now() == AS_OF
    start(ledger)
    real[0] += rehearsal.STARTS_AFTER + timedelta(seconds=10)
    assert ledger.now() == AS_OF + timedelta(minutes=10)
    keep_running(ledger)
    real[0] += timedelta(seconds=20)
    assert ledger.now() == AS_OF + timedelta(minutes=30)
    stop(ledger)
    real[0] += timedelta(days=1)
    assert (ledger.now(), ledger.clock_speed) == (AS_OF + timedelta(minutes=30), 60.0)


def test_a_clock_that_nobody_keeps_running_stops(desk: "Desk", real: list[datetime]) -> None:
    """The night after a process was killed does not pass by it, also not when it is kept running again."""
    ledger = desk.ledger
    rehearse(ledger, AS_OF, 10.0)
    start(ledger)
    real[0] += timedelta(days=1)
    stopped = ledger.now()
    assert AS_OF < stopped <= AS_OF + 10 * rehearsal.KEPT_RUNNING_FOR
    keep_running(ledger)
    assert ledger.now() == stopped
    real[0] += timedelta(seconds=1)
    assert ledger.now() == stopped + timedelta(seconds=10)


def test_the_same_time_again_goes_on(desk: "Desk", real: list[datetime]) -> None:
    """As does none; a later time is gone to, and an earlier one is a mistake."""
    ledger = desk.ledger
    rehearse(ledger, AS_OF, 10.0)
    start(ledger)
    real[0] += timedelta(days=1)
    shown = ledger.now()
    for again in (AS_OF, None):
        rehearse(ledger, again, 20.0)
        assert (ledger.now(), ledger.clock_speed) == (shown, 20.0)
    with pytest.raises(Mistake, match="never goes back"):
        rehearse(ledger, AS_OF - timedelta(days=1), 10.0)
    rehearse(ledger, AS_OF + timedelta(days=7), 10.0)
    assert ledger.now() == AS_OF + timedelta(days=7)


def test_two_do_not_set_one_clock(desk: "Desk", real: list[datetime]) -> None:
    """While it runs, another process may not give it another speed."""
    rehearse(desk.ledger, AS_OF, 10.0)
    start(desk.ledger)
    real[0] += timedelta(seconds=5)
    with pytest.raises(Mistake, match="is running in this ledger already"):
        rehearse(desk.ledger, AS_OF, 20.0)


def test_a_ledger_without_a_rehearsal_has_the_real_clock(desk: "Desk", real: list[datetime]) -> None:
    """Nothing is changed where nothing was asked for."""
    assert rehearse(desk.ledger, None, 10.0) is None
    assert (desk.ledger.now(), desk.ledger.clock_speed) == (REAL, 1.0)


@pytest.mark.parametrize("exchange", ["connect", "sandbox"])
def test_a_ledger_with_other_runs_gets_no_other_clock(desk: "Desk", exchange: str) -> None:
    """Neither real ones nor trials by the real clock."""
    desk.started(1, exchange=exchange)
    with pytest.raises(Mistake, match=r"started in this ledger by the real clock; .*DIALER_DATA_DIR"):
        rehearse(desk.ledger, AS_OF, 10.0)
    assert desk.ledger.rehearsal is None


def test_a_ledger_that_processes_use_gets_no_other_clock(desk: "Desk") -> None:
    """They would go on by the clock that they know."""
    beat(desk.ledger, "dial@here:1", "dial", "sandbox", None, desk.ledger.now())
    with pytest.raises(Mistake, match="processes work with this ledger"):
        rehearse(desk.ledger, AS_OF, 10.0)


def test_a_list_that_was_loaded_before_is_dialed_by_a_later_clock_alone(desk: "Desk") -> None:
    """Its recipients would be due in the future of an earlier one."""
    desk.load(desk.campaign(), desk.people(1))
    with pytest.raises(Mistake, match="lists were loaded in this ledger"):
        rehearse(desk.ledger, datetime(2001, 1, 1, tzinfo=UTC), 10.0)
    assert rehearse(desk.ledger, AS_OF, 10.0) is not None


def test_nothing_real_begins_in_a_rehearsals_ledger(desk: "Desk") -> None:
    """The transaction that decides that calls are real finds the rehearsal; a trial is decided."""
    rehearse(desk.ledger, AS_OF, 10.0)
    desk.load(desk.campaign(), desk.people(1))
    run = desk.run()
    with pytest.raises(Mistake, match="this ledger is a rehearsal's"), desk.ledger.write() as db:
        decide(db, run.campaign_id, "connect")
    with desk.ledger.write() as db:
        decide(db, run.campaign_id, "sandbox")
    assert desk.run().exchange == "sandbox"


def test_a_process_is_alive_for_as_long_as_in_real_time(desk: "Desk", real: list[datetime]) -> None:
    """Ten real seconds after its report it is, though the clock shows hours more; later it is not."""
    ledger = desk.ledger
    rehearse(ledger, AS_OF, 1000.0)
    start(ledger)
    beat(ledger, "dial@here:1", "dial", "sandbox", None, ledger.now())
    real[0] += timedelta(seconds=10)
    assert [each.process for each in alive(ledger, ledger.now())] == ["dial@here:1"]
    keep_running(ledger)
    real[0] += timedelta(seconds=25)
    assert alive(ledger, ledger.now()) == []


def test_the_clock_of_real_calls_is_the_databases(desk: "Desk") -> None:
    """Without a rehearsal the two are one."""
    assert abs(desk.ledger.now() - wall_clock()) < timedelta(seconds=60)


def test_rescue_waits_for_a_lease_in_real_time(desk: "Desk", real: list[datetime]) -> None:
    """A lease that is long by the rehearsal's clock is not taken for one of another time."""
    ledger = desk.ledger
    rehearse(ledger, AS_OF, 100.0)
    desk.started(1, exchange="sandbox")
    lease = timedelta(seconds=30)
    claims = claim(
        ledger,
        keep_queued=1,
        exchange="sandbox",
        now=ledger.now(),
        lease=lease * ledger.clock_speed,
        ahead=timedelta(seconds=3),
    )
    assert len(claims) == 1
    after, search = lease - timedelta(seconds=1), timedelta(seconds=10)
    for passed, returned in ((timedelta(0), 0), (after, 0), (lease + timedelta(seconds=1), 1)):
        now = ledger.now() + passed * ledger.clock_speed
        assert rescue(ledger, now, lease=lease, search_after=search).returned == returned
