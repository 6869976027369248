"""What a process did lately: done, failing, under way for too long."""

import pytest

from campaigns.ledger import LedgerUnavailable
from worker.work import Work


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def work(clock: Clock) -> Work:
    return Work(clock)


def fail(work: Work, verb: str, error: Exception) -> None:
    with pytest.raises(type(error)), work.round(verb):
        raise error


def test_the_last_work_is_the_latest_of_rounds_and_looks(work: Work, clock: Clock) -> None:
    """Before there was any, it is the start of the process; a round that fails is none."""
    assert work.last(["feed"]) == 1000.0
    clock.now = 1001.0
    with work.round("feed"):
        clock.now = 1002.0
    assert work.last(["feed"]) == 1002.0
    clock.now = 1003.0
    work.looked(["dial-connect"])
    assert work.last(["feed"], ["dial-connect"]) == 1003.0
    clock.now = 1004.0
    fail(work, "feed", KeyError("x"))
    assert work.last(["feed"]) == 1002.0


def test_three_failures_in_a_row_are_failing(work: Work, clock: Clock) -> None:
    """Fewer may be a restart of the database; one success ends it, and so does a minute without a try."""
    for _ in range(2):
        fail(work, "feed", KeyError("x"))
    assert work.failing(["feed"]) == []
    fail(work, "feed", KeyError("x"))
    (failed,) = work.failing(["feed", "rescue"])
    assert (failed.code, failed.count, failed.words) == ("feed:KeyError", 3, None)
    assert work.failing(["rescue"]) == []
    clock.now += 61
    assert work.failing(["feed"]) == []
    fail(work, "feed", KeyError("x"))
    assert len(work.failing(["feed"])) == 1
    with work.round("feed"):
        pass
    assert work.failing(["feed"]) == []
    assert work.last_failure() is not None


def test_words_are_kept_of_the_ledger_alone(work: Work) -> None:
    """Any other error's text may hold a telephone number."""
    for _ in range(3):
        fail(work, "dial", ValueError("+14155550123"))
        fail(work, "feed", LedgerUnavailable("database or disk is full"))
    assert [failed.words for failed in work.failing(["dial", "feed"])] == [None, "database or disk is full"]


def test_a_round_that_hangs_is_stalled(work: Work, clock: Clock) -> None:
    """After its seconds, unless another round of the verb has been completed in the meantime."""
    with work.round("feed"):
        clock.now += 60
        assert work.stalled({"feed": 60.0}) == []
        clock.now += 1
        assert work.stalled({"feed": 60.0}) == [("feed", 61.0)]
        assert work.stalled({"rescue": 60.0}) == []
        with work.round("feed"):
            clock.now += 1
        assert work.stalled({"feed": 60.0}) == []
    assert work.stalled({"feed": 60.0}) == []
