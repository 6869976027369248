"""What follows an outcome: the wait, the limits, and that there is always an end."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaigns.attempt import Outcome
from campaigns.redial import DAY, Done, RedialAt, Ring, Rule, next_step

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
BUSY_10M = {Outcome.BUSY: Rule(timedelta(minutes=10))}


def rings(*outcomes: Outcome | None, apart: timedelta = timedelta(hours=1)) -> list[Ring]:
    """Attempts with these outcomes, so far apart, the last one dialed at noon."""
    return [Ring(outcome, NOON - apart * (len(outcomes) - 1 - at)) for at, outcome in enumerate(outcomes)]


def step(*outcomes: Outcome | None, rules: dict[Outcome, Rule] = BUSY_10M, most: int = 3) -> RedialAt | Done:
    return next_step(
        rings(*outcomes), rules=rules, max_attempts=most, max_attempts_per_day=None, ended_at=NOON
    )


def test_a_named_outcome_is_dialed_again() -> None:
    """The wait counts from the end of the attempt."""
    assert step(Outcome.BUSY) == RedialAt(NOON + timedelta(minutes=10))


def test_the_last_attempt_is_the_last() -> None:
    """max_attempts counts all attempts that count, whatever their outcomes, the first one too."""
    assert isinstance(step(Outcome.NO_ANSWER, Outcome.BUSY), RedialAt)
    assert step(Outcome.NO_ANSWER, None, Outcome.BUSY) == Done("attempt 3 of 3 was the last")
    assert step(*4 * [Outcome.BUSY]) == Done("attempt 4 of 3 was the last")


@pytest.mark.parametrize("outcome", [outcome for outcome in Outcome if outcome != Outcome.BUSY])
def test_an_outcome_not_named_is_final(outcome: Outcome) -> None:
    """What the campaign does not name is not dialed again."""
    assert step(outcome) == Done(f"{outcome} is not dialed again")


@pytest.mark.parametrize(("most", "words"), [(1, "once"), (2, "twice"), (3, "3 times")])
def test_an_outcome_is_dialed_again_so_often_at_most(most: int, words: str) -> None:
    """An outcome's own maximum counts its redials only, and not those of others."""
    rules = {Outcome.BUSY: Rule(timedelta(0), most), Outcome.NO_ANSWER: Rule(timedelta(0))}
    before = [Outcome.NO_ANSWER, *(most - 1) * [Outcome.BUSY]]
    assert step(*before, Outcome.BUSY, rules=rules, most=9) == RedialAt(NOON)
    assert step(*before, Outcome.BUSY, Outcome.NO_ANSWER, rules=rules, most=9) == RedialAt(NOON)
    last = step(*before, Outcome.BUSY, Outcome.BUSY, rules=rules, most=9)
    assert last == Done(f"busy is dialed again {words} at most")


@given(
    st.lists(st.sampled_from([*Outcome, None]), min_size=1, max_size=8),
    st.lists(st.timedeltas(timedelta(0), timedelta(hours=30)), min_size=8, max_size=8),
    st.dictionaries(
        st.sampled_from(Outcome),
        st.builds(
            Rule,
            st.timedeltas(timedelta(0), timedelta(days=366)),
            st.one_of(st.none(), st.integers(1, 9)),
        ),
    ),
    st.integers(1, 9),
    st.one_of(st.none(), st.integers(1, 4)),
)
def test_there_is_always_an_end(
    outcomes: list[Outcome | None],
    gaps: list[timedelta],
    rules: dict[Outcome, Rule],
    most: int,
    per_day: int | None,
) -> None:
    """No redial breaks a maximum, comes before its wait is over, or makes one too many of 24 hours."""
    dialed_at = [NOON - sum(gaps[at + 1 : len(outcomes)], timedelta(0)) for at in range(len(outcomes))]
    past = [Ring(outcome, at) for outcome, at in zip(outcomes, dialed_at, strict=True)]
    last = outcomes[-1]
    rule = rules.get(last) if last is not None else None
    redials = sum(outcome == last for outcome in outcomes)
    match next_step(past, rules=rules, max_attempts=most, max_attempts_per_day=per_day, ended_at=NOON):
        case RedialAt(due_at):
            assert rule is not None
            assert len(past) < most
            assert rule.max_redials is None or redials <= rule.max_redials
            within = sum(at > due_at - DAY for at in dialed_at)
            assert per_day is None or within < per_day
            # And no later than either asks for.
            busy_until = [at + DAY for at in dialed_at]
            assert due_at == NOON + rule.wait or (due_at > NOON + rule.wait and due_at in busy_until)
        case Done(reason):
            spent = rule is not None and rule.max_redials is not None and redials > rule.max_redials
            assert rule is None or len(past) >= most or spent
            assert reason
