"""The token bucket."""

from hypothesis import given
from hypothesis import strategies as st

from worker.sandbox.bucket import TokenBucket


def test_the_burst_first_then_the_rate() -> None:
    """Five at once, then one each half second."""
    bucket = TokenBucket(2.0, 5, now=0.0)
    assert [bucket.take(0.0) for _ in range(6)] == [True] * 5 + [False]
    assert [bucket.take(0.4), bucket.take(0.5), bucket.take(0.5)] == [False, True, False]


def test_a_clock_set_back_gives_nothing() -> None:
    """Going back an hour and forth again refills no more than the time that passed."""
    bucket = TokenBucket(2.0, 1, now=1000.0)
    assert [bucket.take(1000.0), bucket.take(0.0)] == [True, False]
    assert not bucket.take(0.1)


@given(st.lists(st.floats(0, 3), max_size=60), st.floats(0.1, 50), st.integers(1, 20))
def test_never_more_than_burst_plus_rate(gaps: list[float], rate: float, burst: int) -> None:
    """In any window since the start, no more is admitted than the burst and what came back."""
    bucket, now, taken = TokenBucket(rate, burst, 0.0), 0.0, 0
    for gap in gaps:
        now += gap
        taken += bucket.take(now)
        assert taken <= burst + rate * now + 1e-6


def test_a_changed_rate_keeps_what_still_fits() -> None:
    """The old rate counts up to the change, the new one from there, and the new burst caps what was saved."""
    bucket = TokenBucket(2.0, 5, now=0.0)
    assert all(bucket.take(0.0) for _ in range(5))
    bucket.change(1.0, 2, now=0.5)
    assert [bucket.take(0.5), bucket.take(0.5), bucket.take(1.5)] == [True, False, True]
    bucket.change(100.0, 50, now=1.5)
    bucket.change(1.0, 3, now=10.0)
    assert [bucket.take(10.0) for _ in range(4)] == [True] * 3 + [False]
