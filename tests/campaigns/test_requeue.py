"""What an operator may ask for, and what a time may look like."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from campaigns.attempt import Outcome
from campaigns.ledger.moves import mark_refused
from campaigns.ledger.requeues import Asked, ask_for_another
from campaigns.mistake import Mistake
from campaigns.requeue import asked_for, look, since_when

if TYPE_CHECKING:
    from tests.conftest import Desk

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


@pytest.fixture
def in_berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A machine whose local time is Berlin's."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Europe/Berlin")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.parametrize(
    ("names", "asked"),
    [
        (["busy"], Asked(frozenset({Outcome.BUSY}))),
        (["busy,no_answer"], Asked(frozenset({Outcome.BUSY, Outcome.NO_ANSWER}))),
        ([" busy ,", "no_answer", "busy"], Asked(frozenset({Outcome.BUSY, Outcome.NO_ANSWER}))),
        (["refused"], Asked(refused=True)),
        (["refused:A,refused: B.c"], Asked(codes=frozenset({"A", "B.c"}))),
        (["refused:A,refused"], Asked(refused=True, codes=frozenset({"A"}))),
        (["unknown"], Asked(unknown=True)),
        (["busy,suppressed"], Asked(frozenset({Outcome.BUSY}), suppressed=True)),
    ],
)
def test_ways_to_end_are_listed_or_repeated(names: list[str], asked: Asked) -> None:
    """With commas, with several options, or both; twice is once."""
    assert asked_for(names, None, NOON) == asked


@pytest.mark.parametrize("outcome", list(Outcome))
def test_every_outcome_has_a_name_and_none_means_unknown(outcome: Outcome) -> None:
    """Whoever may have been rung is never meant by another word."""
    asked = asked_for([outcome], None, NOON)
    assert (asked.outcomes, asked.unknown, asked.refused) == (frozenset({outcome}), False, False)


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["bussy"], "--outcome bussy: no attempt ends like that; did you mean busy? there are: human_answ"),
        (["busy", "No-Answers"], "--outcome No-Answers: no attempt ends like that; did you mean no_answer?"),
        (["xyzzy"], "--outcome xyzzy: no attempt ends like that; there are: human_answered, answered, "),
        (["busy:x"], "--outcome busy:x: no attempt ends like that; did you mean busy?"),
        ([" , "], "--outcome: say how the calls ended, for example --outcome busy,no_answer; there are: "),
        ([""], "--outcome: say how the calls ended"),
        (["refused:"], "--outcome refused:: is no code; say refused:DestinationNotAllowedException, or re"),
        (["refused:A: b"], "--outcome refused:A: b: is no code"),
    ],
)
def test_a_wrong_name_is_told_with_the_right_ones(names: list[str], words: str) -> None:
    """Nothing is guessed: the nearest name and all others are in the message."""
    with pytest.raises(Mistake) as wrong:
        asked_for(names, None, NOON)
    assert str(wrong.value).startswith(words)
    assert "\n" not in str(wrong.value)


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-03-02", datetime(2026, 3, 1, 23, 0, tzinfo=UTC)),
        ("2026-03-02T09:30", datetime(2026, 3, 2, 8, 30, tzinfo=UTC)),
        ("2026-03-02 09:30:15", datetime(2026, 3, 2, 8, 30, 15, tzinfo=UTC)),
        ("2026-03-02T09:30Z", datetime(2026, 3, 2, 9, 30, tzinfo=UTC)),
        ("2026-03-02T09:30-05:00", None),
        ("2025-08-01", datetime(2025, 7, 31, 22, 0, tzinfo=UTC)),
        ("2h", NOON - timedelta(hours=2)),
        (" 1d ", NOON - timedelta(days=1)),
        ("0s", NOON),
    ],
)
def test_a_time_is_local_or_says_where_or_how_long_ago(
    in_berlin: None, text: str, instant: datetime | None
) -> None:
    """A date begins at its midnight here; what lies ahead is refused."""
    if instant is not None:
        assert since_when(text, NOON) == instant
        assert since_when(text, NOON).tzinfo is UTC
        return
    with pytest.raises(Mistake, match="is in the future; nothing has ended since then"):
        since_when(text, NOON)


@pytest.mark.parametrize(
    "text", ["", "yesterday", "2026-13-45", "2", "2 hours", "-2h", "25:00", "9999-12-31T23:59-14:00"]
)
def test_what_is_no_time_is_told_with_examples(text: str) -> None:
    """The message shows a date, a time and a duration."""
    with pytest.raises(Mistake, match="is no time; expected one such as 2026-03-02, 2026-03-02T09:00"):
        since_when(text, NOON)


def test_longer_than_a_year_ago_is_said_by_a_date() -> None:
    """Durations end there, dates do not."""
    with pytest.raises(Mistake, match="--since 900d: is longer than a year ago; say a date: 2026-03-02"):
        since_when("900d", NOON)
    assert since_when("2001-01-01T00:00Z", NOON) == datetime(2001, 1, 1, tzinfo=UTC)


def test_a_code_that_nobody_has_is_told_apart_from_one_that_is_being_dealt_with(desk: "Desk") -> None:
    """A slip of the pen is worth a warning; people who wait for another attempt already are not."""
    desk.started(2)
    for claimed in desk.claim():
        desk.dial(claimed)
        mark_refused(desk.ledger, claimed.attempt_id, claimed.fence, "NotAllowed: x", now=desk.noon)
    asked = asked_for(["refused:NotAllowed,refused:NotAlowed"], None, desk.noon)
    seen = look(desk.ledger, "reminders", asked, desk.noon)
    assert (seen.count, seen.unheard_of, seen.codes) == (2, ("NotAlowed",), {"NotAllowed": 2})
    assert ask_for_another(desk.ledger, seen.run, asked, seen.found.attempt_ids, desk.noon) == 2
    again = look(desk.ledger, "reminders", asked, desk.noon)
    assert (again.count, again.unheard_of, again.there_are) == (0, ("NotAlowed",), {})
