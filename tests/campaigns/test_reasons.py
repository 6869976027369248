"""Why nothing dials, by code; and an end that is promised only while calls are placed."""

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from campaigns.ledger import writable
from campaigns.ledger.health import STALLED, beat
from campaigns.problem import CALLS_GO_ON, NOT_BROKEN, REDIS, Problem, ProblemCode, gravest_first
from campaigns.report import Status, status

if TYPE_CHECKING:
    from tests.conftest import Desk

EVERY_ROLE = ("dial", "control", "beat")


def report(desk: "Desk", seconds: float = 0.0, **problems: Problem) -> None:
    """Every role reports, the named ones with a problem."""
    at = desk.noon + timedelta(seconds=seconds)
    for role in EVERY_ROLE:
        beat(desk.ledger, f"{role}@here:1", role, "connect", problems.get(role), at, worked_at=at)


def now(desk: "Desk", seconds: float = 0.0) -> Status:
    return status(desk.ledger, "reminders", desk.noon + timedelta(seconds=seconds))


def dialed(desk: "Desk", people: int = 30, calls: int = 20) -> None:
    """One call a second for a while."""
    desk.started(people)
    for i, claimed in enumerate(desk.claim(calls)):
        desk.dial(claimed, now=desk.noon + timedelta(seconds=i))


def code(found: Status) -> str | None:
    return found.as_json()["reason_code"]  # type: ignore[no-any-return]


def test_each_reason_has_its_code(desk: "Desk") -> None:
    """From the load on; the words beside it may change."""
    desk.load(desk.campaign(), desk.people(2))
    assert code(now(desk)) == "not_started"
    desk.start()
    assert (code(now(desk)), now(desk).as_json()["reason_data"]) == ("process_missing", {"role": "dial"})
    report(desk)
    assert (now(desk).reason, code(now(desk))) == (None, None)
    report(desk, dial=Problem("Redis is full", ProblemCode.REDIS_FULL))
    found = now(desk)
    assert (found.reason, code(found)) == ("Redis is full", "redis_full")
    desk.pause()
    assert code(now(desk)) == "paused"


def test_the_processes_are_listed_for_machines(desk: "Desk") -> None:
    """Each with when it was seen, when it worked, and its problem; those of the other side are not."""
    desk.started(1)
    report(desk, control=Problem("tasks lie in Redis", ProblemCode.TASKS_UNTAKEN))
    beat(desk.ledger, "dial@there:1", "dial", "sandbox", None, desk.noon)
    found = {each["process"]: each for each in now(desk).as_json()["processes"]}
    assert sorted(found) == ["beat@here:1", "control@here:1", "dial@here:1"]
    control = found["control@here:1"]
    assert control["seen_at"] == control["worked_at"] == "2026-03-02T12:00:00+00:00"
    assert (control["problem_code"], control["problem"]) == ("tasks_untaken", "tasks lie in Redis")
    assert found["dial@here:1"]["problem_code"] is None


def test_an_end_is_promised_while_calls_are_placed(desk: "Desk") -> None:
    """As long as every role works, and calls come about as often as they did."""
    dialed(desk)
    report(desk, 20)
    assert now(desk, 20).finishes_at is not None
    report(desk, 38)
    assert now(desk, 38).finishes_at is not None
    report(desk, 45)
    assert now(desk, 45).calls_per_second > 0
    assert now(desk, 45).finishes_at is None


@pytest.mark.parametrize("role", EVERY_ROLE)
@pytest.mark.parametrize("problem", list(ProblemCode))
def test_no_end_is_promised_with_a_problem_that_stops_calls(
    desk: "Desk", role: str, problem: ProblemCode
) -> None:
    """Whatever part it is that has it; what only slows calls down, or concerns others, leaves the end."""
    dialed(desk)
    report(desk, 20, **{role: Problem("something is wrong", problem)})
    found = now(desk, 20)
    assert (found.finishes_at is not None) is (problem in CALLS_GO_ON)
    assert code(found) == problem


def test_no_end_is_promised_by_a_process_that_does_not_work(desk: "Desk") -> None:
    """It reports and has no problem, but has done nothing for a minute: that is the reason."""
    dialed(desk)
    report(desk, 20)
    at = desk.noon + timedelta(seconds=20)
    worked_at = at - STALLED - timedelta(seconds=1)
    beat(desk.ledger, "control@here:1", "control", "connect", None, at, worked_at=worked_at)
    found = now(desk, 20)
    assert (code(found), found.finishes_at) == ("work_stalled", None)
    # Another one that feeds does all there is to do.
    beat(desk.ledger, "control@here:2", "control", "connect", None, at, worked_at=at)
    assert code(now(desk, 20)) is None
    assert now(desk, 20).finishes_at is not None


def test_attempts_that_no_worker_takes_are_a_reason(desk: "Desk") -> None:
    """Attempts that are queued long after their lease: no worker has taken them, and rescue does not run."""
    desk.started(3)
    desk.claim(2)
    report(desk, 49)
    assert code(now(desk, 49)) is None
    report(desk, 51)
    found = now(desk, 51)
    assert (code(found), found.as_json()["reason_data"]) == ("leases_passed", {"attempts": 2})
    assert found.finishes_at is None


def test_a_clock_that_was_set_back_is_named(desk: "Desk") -> None:
    """Not `no worker is there`: starting another one would change nothing."""
    desk.started(1)
    report(desk, 600)
    found = now(desk)
    assert code(found) == "clock_set_back"
    assert "dial@here:1" in str(found.reason)
    assert "clock" in str(found.reason)


def test_a_ledger_that_cannot_be_written_is_the_reason(desk: "Desk", monkeypatch: pytest.MonkeyPatch) -> None:
    """No process can report then; that none does is not what has to be mended."""
    desk.started(1)
    if not desk.ledger.is_sqlite:
        with desk.ledger.write() as db:
            name = db.exec_driver_sql("SELECT current_database()").scalar_one()
            db.exec_driver_sql(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
        desk.ledger.close()
    else:
        monkeypatch.setattr(writable, "_LEAST_BYTES", 1 << 62)
    found = now(desk)
    assert code(found) == "ledger_not_writable"


def test_a_healthy_ledger_is_writable(desk: "Desk") -> None:
    """Nothing is said of one that has room."""
    assert writable.why_not_writable(desk.ledger) is None


def test_the_codes_are_sorted_into_what_they_mean() -> None:
    """A process with a problem that lets calls go on is not broken; one without Redis is."""
    assert CALLS_GO_ON < NOT_BROKEN
    assert not NOT_BROKEN & REDIS
    assert ProblemCode.CONSUMER_STUCK not in NOT_BROKEN


def test_a_problem_is_said_once_the_gravest_first() -> None:
    """Two readings of one clock differ by a second and are one problem; two failing verbs are two."""
    early = Problem("the clock is 600 s behind", ProblemCode.CLOCK_SKEW)
    late = Problem("the clock is 601 s behind", ProblemCode.CLOCK_SKEW)
    feed = Problem("feed fails", ProblemCode.WORK_FAILING)
    rescue = Problem("rescue fails", ProblemCode.WORK_FAILING)
    newer = Problem("of a newer program", "made_up_later")
    assert gravest_first([newer, rescue, early, feed, late]) == (early, rescue, feed, newer)
