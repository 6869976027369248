"""One clock for all machines that share a ledger."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from campaigns.ledger import Ledger, LedgerUnavailable
from campaigns.ledger.clock import DatabaseClock, wall_clock

NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)


class Database:
    """A database's clock at noon, which can be slow to answer, or away."""

    def __init__(self) -> None:
        self.shows = NOON
        self.takes = 0.0
        self.away = False
        self.asked = 0
        self.seconds = 1000.0

    def ask(self) -> datetime:
        self.asked += 1
        if self.away:
            raise LedgerUnavailable("away")
        self.seconds += self.takes / 2
        shown = self.shows
        self.seconds += self.takes / 2
        return shown

    def pass_time(self, seconds: float) -> None:
        self.seconds += seconds
        self.shows += timedelta(seconds=seconds)

    def clock(self) -> DatabaseClock:
        return DatabaseClock(self.ask, away=LedgerUnavailable, monotonic=lambda: self.seconds)


def test_it_counts_on_from_the_databases_time() -> None:
    """It is asked once, and then this machine's monotonic clock counts: its wall clock plays no part."""
    database = Database()
    clock = database.clock()
    assert clock.now() == NOON
    database.pass_time(50)
    assert (clock.now(), database.asked) == (NOON + timedelta(seconds=50), 1)


def test_it_is_asked_again_after_a_minute() -> None:
    """A database whose clock was put right, or that was replaced by another, is followed."""
    database = Database()
    clock = database.clock()
    clock.now()
    database.pass_time(61)
    database.shows += timedelta(seconds=5)
    assert (clock.now(), database.asked) == (NOON + timedelta(seconds=66), 2)


def test_a_database_that_is_away_changes_nothing() -> None:
    """The last reading holds, and it is not asked with every call."""
    database = Database()
    clock = database.clock()
    clock.now()
    database.away = True
    for seconds in (61, 62):
        database.pass_time(seconds - (61 if seconds == 62 else 0))
        assert clock.now() == NOON + timedelta(seconds=seconds)
    assert database.asked == 2
    with pytest.raises(LedgerUnavailable):
        DatabaseClock(database.ask, away=LedgerUnavailable).now()


def test_a_slow_answer_does_not_replace_a_better_one() -> None:
    """A reading is taken for the middle between question and answer, and is as good as that is short."""
    database = Database()
    clock = database.clock()
    clock.now()
    database.takes = 8.0
    clock.refresh()
    assert clock.now() == NOON + timedelta(seconds=8)
    database.takes = 1.0
    clock.refresh()
    assert clock.now() == NOON + timedelta(seconds=0.5)


def test_the_ledgers_clock(ledger: Ledger) -> None:
    """SQLite's is this machine's, PostgreSQL's the server's; here, on one machine, they show the same."""
    assert abs(ledger.now() - wall_clock()) < timedelta(seconds=5)
    with ledger.write() as db:
        shown = db.execute(text("SELECT CURRENT_TIMESTAMP")).scalar_one()
        shown = datetime.fromisoformat(shown).replace(tzinfo=UTC) if isinstance(shown, str) else shown
        assert abs(ledger.now() - shown) < timedelta(seconds=5)
