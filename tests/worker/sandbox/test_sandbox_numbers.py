"""The test numbers."""

import re
from pathlib import Path

import pytest

from worker.sandbox.numbers import ANSWERED, ENDINGS, NO_ANSWER, Fault, script_for

DOCS = Path(__file__).parents[3] / "docs" / "sandbox.md"


def _number(digits: int) -> str:
    return f"+141555501{digits:02}"


def test_seventy_of_a_hundred_numbers_are_simply_answered() -> None:
    """Whoever dials a made-up list mostly reaches people."""
    scripts = [script_for(_number(digits)) for digits in range(70)]
    assert {ANSWERED} == {script.ending for script in scripts}
    assert {None} == {script.fault for script in scripts}


def test_a_number_always_gives_the_same_script() -> None:
    """A replay of a campaign sees the same calls."""
    assert script_for("+442079460012") == script_for("+442079460012")
    assert len({script_for(_number(digits)).talk_seconds for digits in range(70)}) > 10


@pytest.mark.parametrize("ring_timeout", [15, 40, 60])
def test_nobody_answers_until_the_ring_timeout(ring_timeout: int) -> None:
    """A number that nobody answers rings for as long as the request allows."""
    script = script_for(_number(70), ring_timeout_seconds=ring_timeout)
    assert (NO_ANSWER, float(ring_timeout)) == (script.ending, script.ring_seconds)


def test_whoever_answers_does_so_within_the_shortest_ring_timeout() -> None:
    """No ring timeout that Connect accepts cuts off a call that is meant to be answered."""
    answered = [s for s in (script_for(_number(digits)) for digits in range(100)) if s.ending.connects]
    assert max(script.ring_seconds for script in answered) < 15


def test_the_table_in_the_docs_is_the_table_in_the_code() -> None:
    """Every row of docs/sandbox.md says what its numbers do, and the rows cover 00 to 99."""
    rows = re.findall(
        r"^\| (\d\d)(?:–(\d\d))? \| `(\w+)`[^|]*\| (?:`(\w+)`)?([^|]*)\|", DOCS.read_text(), re.M
    )
    seen: list[int] = []
    for first, last, ending, fault, when in rows:
        for digits in range(int(first), int(last or first) + 1):
            script = script_for(_number(digits))
            assert ENDINGS[ending] == script.ending, digits
            assert (Fault(fault) if fault else None) == script.fault, digits
            assert ("always" in when) == script.every_time, digits
            seen.append(digits)
    assert list(range(100)) == sorted(seen)


@pytest.mark.parametrize("country", ["+1415555", "+44207946", "+4930231", "+3319900", "+819012", "+5511987"])
def test_without_faults_any_list_looks_like_itself(country: str) -> None:
    """No number of any list meets a fault of the request; the course of its call stays the same."""
    for digits in range(10_000):
        number = f"{country}{digits:04}"
        plain, with_faults = script_for(number, faults=False), script_for(number)
        assert (plain.fault, plain.every_time) == (None, False)
        assert (plain.ending, plain.ring_seconds, plain.talk_seconds) == (
            with_faults.ending,
            with_faults.ring_seconds,
            with_faults.talk_seconds,
        )


def test_calls_that_ring_last_as_long_as_asked_for() -> None:
    """Answered or not, from placing to the end, within both bounds, near both; the ring is a part of it."""
    spans = []
    for digits in range(100):
        for area in range(1, 10):
            number = f"+1{area}155550{digits + 100}"
            script = script_for(number, call_seconds=(6, 30))
            if script.ending is NO_ANSWER or script.ending.connects:
                spans.append(script.ring_seconds + script.talk_seconds)
                assert script.ending is NO_ANSWER or 1 <= script.ring_seconds < min(spans[-1], 15)
                assert script == script_for(number, call_seconds=(6, 30))
            else:
                assert script == script_for(number)
    assert (min(spans), max(spans)) == pytest.approx((6, 30), abs=0.5)
    assert sum(spans) / len(spans) == pytest.approx(18, abs=1)
    assert len(set(spans)) > len(spans) / 3
