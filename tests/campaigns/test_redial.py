from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaigns.attempt import Outcome
from campaigns.redial import Done, RedialAt, next_step

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
BUSY_10M = {Outcome.BUSY: timedelta(minutes=10)}


def test_a_named_outcome_is_dialed_again() -> None:
    """The wait counts from the end of the attempt."""
    step = next_step(Outcome.BUSY, 1, after=BUSY_10M, max_attempts=3, now=NOON)
    assert step == RedialAt(NOON + timedelta(minutes=10))


def test_the_last_attempt_is_the_last() -> None:
    """max_attempts counts all attempts, the first one too."""
    assert isinstance(next_step(Outcome.BUSY, 2, after=BUSY_10M, max_attempts=3, now=NOON), RedialAt)
    last = next_step(Outcome.BUSY, 3, after=BUSY_10M, max_attempts=3, now=NOON)
    assert last == Done("attempt 3 of 3 was the last")


@pytest.mark.parametrize("outcome", [outcome for outcome in Outcome if outcome != Outcome.BUSY])
def test_an_outcome_not_named_is_final(outcome: Outcome) -> None:
    """What the campaign does not name is not dialed again."""
    step = next_step(outcome, 1, after=BUSY_10M, max_attempts=9, now=NOON)
    assert step == Done(f"{outcome} is not dialed again")


@given(
    st.sampled_from(Outcome),
    st.integers(1, 200),
    st.dictionaries(st.sampled_from(Outcome), st.timedeltas(timedelta(0), timedelta(days=366))),
    st.integers(1, 100),
)
def test_there_is_always_an_end(
    outcome: Outcome, attempts: int, after: dict[Outcome, timedelta], most: int
) -> None:
    """Never beyond max_attempts, never an outcome that is not named, never in the past."""
    match next_step(outcome, attempts, after=after, max_attempts=most, now=NOON):
        case RedialAt(due_at):
            assert attempts < most
            assert due_at == NOON + after[outcome]
        case Done(reason):
            assert attempts >= most or outcome not in after
            assert reason
