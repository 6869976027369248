"""A worker whose consumer no longer asks for tasks says so, and ends itself to be started again."""

import pytest

from worker.consumer import ConsumerWatch
from worker.work import Work


class Bench:
    """A watch over two queues, a clock, and tasks under way."""

    def __init__(self) -> None:
        self.now = 0.0
        self.under_way: list[str] = []
        self.work = Work(lambda: self.now)
        self.watch = ConsumerWatch(self.work, ["dial", "control"], lambda: self.under_way, overdue_after=3)

    def report(self, *looked: str, redis_works: bool = True) -> int:
        self.now += 5
        self.work.looked(looked)
        return self.watch.count(redis_works=redis_works)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_consumer_that_looks_is_well(bench: Bench) -> None:
    """Whether or not it finds anything."""
    assert [bench.report("dial", "control") for _ in range(5)] == [0] * 5


def test_reports_without_a_look_are_counted(bench: Bench) -> None:
    """One look ends the count. Looks into one of two queues are not enough."""
    assert [bench.report() for _ in range(3)] == [1, 2, 3]
    assert [bench.report("control") for _ in range(2)] == [4, 5]
    assert bench.report("dial", "control") == 0
    assert bench.report() == 1


def test_nothing_is_expected_while_redis_does_not_work(bench: Bench) -> None:
    """The consumer connects again by itself; a restart would change nothing."""
    bench.report()
    assert [bench.report(redis_works=False) for _ in range(20)] == [0] * 20


def test_a_call_under_way_is_not_cut_off(bench: Bench) -> None:
    """With all threads at work no more is asked for; but what is past its time keeps nothing."""
    bench.under_way = ["a"]
    assert [bench.report() for _ in range(5)] == [0, 0, 0, 1, 2]
    bench.under_way = ["a", "b"]
    assert [bench.report() for _ in range(4)] == [0, 0, 0, 1]
