from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from campaigns.attempt import AttemptState, Outcome
from campaigns.ledger import Ledger
from campaigns.ledger.figures import Figures, Unknowns, figures, lines
from campaigns.ledger.moves import mark_refused, mark_unknown
from campaigns.ledger.outcomes import mark_ended
from campaigns.ledger.unknowns import mark_not_found

if TYPE_CHECKING:
    from tests.conftest import Desk


def counted(desk: "Desk", seconds: float = 0.0) -> Figures:
    with desk.ledger.read() as db:
        return figures(db, desk.run().id, desk.noon + timedelta(seconds=seconds))


def test_everything_is_counted_once(desk: "Desk") -> None:
    """Recipients and attempts by state add up to what there is; outcomes are those of ended attempts."""
    desk.started(9)
    desk.started(3, name="another")
    claims = [claimed for claimed in desk.claim(14) if claimed.attempt_id in {r.id for r in desk.attempts()}]
    for claimed, state in zip(claims, AttemptState, strict=False):
        desk.bring(claimed, state)
    numbers = counted(desk)
    assert numbers.recipients == Counter(desk.states())
    assert sum(numbers.recipients.values()) == 9
    assert numbers.attempts == Counter(row.state for row in desk.attempts())
    assert numbers.outcomes == {"answered": 1}


def test_a_run_that_has_done_nothing(desk: "Desk") -> None:
    """Before the first call everything is nought, and nothing is divided by it."""
    desk.load(desk.campaign(), [])
    numbers = counted(desk)
    assert (numbers.recipients, numbers.attempts, numbers.outcomes) == ({}, {}, {})
    assert (numbers.dialed_lately, numbers.last_refusal) == (0, None)


def test_the_pace_is_that_of_the_last_minute(desk: "Desk") -> None:
    """Calls of the last minute are counted, or of the time since the first call if that is shorter."""
    desk.started(3)
    claims = desk.claim()
    desk.dial(claims[0])
    desk.dial(claims[1], now=desk.noon + timedelta(seconds=40))
    assert (counted(desk, 50).dialed_lately, counted(desk, 50).over) == (1, timedelta(seconds=50))
    desk.dial(claims[2], now=desk.noon + timedelta(seconds=70))
    assert (counted(desk, 80).dialed_lately, counted(desk, 80).over) == (2, timedelta(minutes=1))
    assert counted(desk, 500).dialed_lately == 0


def test_what_is_unknown_is_counted_by_what_becomes_of_it(desk: "Desk") -> None:
    """Searched for, or never found and dialed again; held ones, and those of another run, are neither."""
    desk.started(5)
    desk.started(1, name="another")
    assert counted(desk).unknowns == Unknowns()
    mine = desk.run().id
    claims = [c for c in desk.claim() if desk.attempt(c).run_id == mine]
    for seconds, claimed in enumerate(claims[:4]):
        desk.dial(claimed)
        settle_at = desk.noon + timedelta(seconds=seconds)
        assert mark_unknown(
            desk.ledger, claimed.attempt_id, claimed.fence, "no answer", now=desk.noon, settle_at=settle_at
        )
    assert counted(desk).unknowns == Unknowns(searched=4, next_search=desk.noon)
    for claimed, redial in ((claims[0], True), (claims[1], False)):
        assert mark_not_found(
            desk.ledger, claimed.attempt_id, claimed.fence, redial=redial, now=desk.noon, evidence="no"
        )
    then = desk.noon + timedelta(seconds=2)
    assert counted(desk).unknowns == Unknowns(searched=2, not_found=1, next_search=then)
    desk.claim()
    assert counted(desk).unknowns == Unknowns(searched=2, not_found=1, next_search=then)


def test_held_for_want_of_an_outcome_is_counted_apart(desk: "Desk") -> None:
    """Beside those whose calls may have rung, and those that were never found and are dialed again."""
    desk.started(4)
    untold, unknown, never, _ = desk.claim()
    desk.bring(untold, AttemptState.PLACED)
    silent = {"ended_at": desk.noon, "redial": lambda _: None, "hold": True}
    assert mark_ended(desk.ledger, untold.attempt_id, Outcome.NO_OUTCOME, **silent)
    for claimed, redial in ((unknown, False), (never, True)):
        desk.bring(claimed, AttemptState.UNKNOWN)
        assert desk.not_found(claimed, redial=redial)
    assert counted(desk).recipients["held"] == 2
    assert counted(desk).unknowns == Unknowns(not_found=1, untold=1)


def test_the_last_refusal_is_the_latest(desk: "Desk") -> None:
    """Of several refusals the newest attempt's is shown."""
    desk.started(3)
    for claimed, reason in zip(desk.claim(), ("first", "second", "third"), strict=True):
        desk.dial(claimed)
        if reason != "third":
            mark_refused(desk.ledger, claimed.attempt_id, claimed.fence, reason, now=desk.noon)
    assert counted(desk).last_refusal == "second"


def test_lines_come_page_by_page_and_all_of_them(desk: "Desk") -> None:
    """Over several pages every recipient comes once, in order, with their own attempts by number."""
    desk.started(2_100)
    for _ in range(2):
        for claimed in desk.claim(keep_queued=3):
            desk.bring(claimed, AttemptState.PLACED)
            desk.ended(claimed, Outcome.BUSY, redial_at=desk.noon)
    found = list(lines(desk.ledger, desk.run().id))
    assert [line.recipient.line for line in found] == [row.line for row in desk.recipients()]
    assert [[attempt.number for attempt in line.attempts] for line in found[:4]] == [[1, 2]] * 3 + [[]]
    assert {a.recipient_id for line in found[:3] for a in line.attempts} == {
        line.recipient.id for line in found[:3]
    }
    assert sum(len(line.attempts) for line in found) == 6


def test_a_page_costs_the_same_however_long_the_list(
    sqlite_ledger_url: str,
    opened: Callable[[str], Ledger],
    desk_of: Callable[[Ledger], "Desk"],
    plans: Callable[[Ledger, Callable[[], Any]], list[str]],
) -> None:
    """SQLite reads each page by its ids; by the run, it would sort a million rows for each thousand."""
    desk = desk_of(opened(sqlite_ledger_url))
    run = desk.started(3)
    found = plans(desk.ledger, lambda: list(lines(desk.ledger, run.id)))
    pages = [plan for plan in found if "ORDER BY" in plan and "UNION" not in plan]
    assert len(pages) == 3  # of recipients, of their attempts, and the empty one after them
    assert [plan for plan in pages if "TEMP B-TREE" in plan or "run_state" in plan] == []


def test_lines_are_those_of_one_run(desk: "Desk") -> None:
    """Where two campaigns were loaded by turns, each has its own rows only, from the first to the last."""
    people = desk.people(6)
    for part in (people[:2], people[2:4], people[4:]):
        desk.load(desk.campaign("one"), part)
        desk.load(desk.campaign("two"), part[:1])
    assert [line.recipient.key for line in lines(desk.ledger, desk.run("one").id)] == [p.key for p in people]
    assert len(list(lines(desk.ledger, desk.run("two").id))) == 3
