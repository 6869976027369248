from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import insert, select

from campaigns.ledger.health import (
    BEAT,
    MISSED,
    STALLED,
    Failure,
    Heartbeat,
    ahead,
    alive,
    beat,
    leave,
    troubles,
)
from campaigns.ledger.tables import heartbeats
from campaigns.problem import Problem, ProblemCode

if TYPE_CHECKING:
    from tests.conftest import Desk


def test_who_has_reported_lately_is_alive(desk: "Desk") -> None:
    """A process is alive for a while after its latest word, which replaces the one before."""
    beat(desk.ledger, "dial@a:1", "dial", "connect", None, desk.noon)
    beat(desk.ledger, "dial@a:1", "dial", "connect", "no Redis", desk.noon + BEAT)
    beat(desk.ledger, "beat@a:2", "beat", "sandbox", None, desk.noon + BEAT)
    assert alive(desk.ledger, desk.noon + MISSED) == [
        Heartbeat("beat@a:2", "beat", "sandbox", desk.noon + BEAT, None),
        Heartbeat("dial@a:1", "dial", "connect", desk.noon + BEAT, "no Redis", None, (Problem("no Redis"),)),
    ]
    assert alive(desk.ledger, desk.noon + BEAT + MISSED) == []


def test_who_leaves_is_gone_at_once(desk: "Desk") -> None:
    """A process that stops takes itself off, and with it those that died a day ago without a word."""
    beat(desk.ledger, "dial@old:1", "dial", "connect", None, desk.noon - timedelta(days=2))
    beat(desk.ledger, "dial@crashed:1", "dial", "connect", None, desk.noon - timedelta(hours=2))
    beat(desk.ledger, "dial@a:1", "dial", "connect", None, desk.noon)
    leave(desk.ledger, "dial@a:1", desk.noon)
    leave(desk.ledger, "dial@never:1", desk.noon)
    assert alive(desk.ledger, desk.noon) == []
    with desk.ledger.read() as db:
        assert db.execute(select(heartbeats.c.process)).scalars().all() == ["dial@crashed:1"]


def test_a_problem_passes(desk: "Desk") -> None:
    """What kept a process from its work is forgotten with its next report."""
    beat(desk.ledger, "dial@a:1", "dial", "connect", "no Redis", desk.noon)
    beat(desk.ledger, "dial@a:1", "dial", "connect", None, desk.noon)
    assert [one.problem for one in alive(desk.ledger, desk.noon)] == [None]


def test_a_report_is_read_as_it_was_written(desk: "Desk") -> None:
    """Problems with their codes, the gravest first, the last work, the last failure and the clock."""
    throttled = Problem("throttled by Connect", ProblemCode.THROTTLED)
    full = Problem("Redis is full", ProblemCode.REDIS_FULL)
    failure = Failure("feed:LedgerUnavailable", desk.noon, 4)
    beat(
        desk.ledger,
        "control@a:1",
        "control",
        "connect",
        None,
        desk.noon,
        problems=[throttled, full],
        worked_at=desk.noon - BEAT,
        failure=failure,
        clock_skew=timedelta(seconds=-3),
    )
    (found,) = alive(desk.ledger, desk.noon)
    assert (found.problem, found.problem_code) == ("Redis is full; throttled by Connect", "redis_full")
    assert [problem.code for problem in found.problems] == ["redis_full", "throttled"]
    assert (found.worked_at, found.failure) == (desk.noon - BEAT, failure)
    assert found.clock_skew == timedelta(seconds=-3)
    assert found.as_json()["failure"] == {
        "code": "feed:LedgerUnavailable",
        "at": "2026-03-02T12:00:00+00:00",
        "in_a_row": 4,
    }


def test_an_older_program_reports_beside_a_newer_ledger(desk: "Desk") -> None:
    """Its statements name none of the newer columns; its problem is shown, under no particular code."""
    older = {"role": "dial", "exchange": "connect", "seen_at": desk.noon, "endpoint": None}
    with desk.ledger.write() as db:
        db.execute(insert(heartbeats).values(process="dial@old:1", problem="throttled", **older))
        db.execute(insert(heartbeats).values(process="dial@old:2", problem=None, **older))
    busy, fine = alive(desk.ledger, desk.noon)
    assert (busy.problem, busy.problem_code) == ("throttled", "other")
    assert (fine.problem_code, fine.worked_at, troubles(fine)) == (None, None, ())


def test_a_process_that_reports_and_does_not_work(desk: "Desk") -> None:
    """After a minute without its work it is in trouble, though it lives and knows of no problem."""
    for seconds, process in ((0, "control@a:1"), (1, "control@a:2")):
        worked_at = desk.noon - STALLED - timedelta(seconds=seconds)
        beat(desk.ledger, process, "control", "connect", None, desk.noon, worked_at=worked_at)
    fine, stalled = alive(desk.ledger, desk.noon)
    assert troubles(fine) == ()
    assert troubles(stalled) == (
        "control@a:2 runs, but has completed no round of feeding for 61 s; restart it if that goes on",
    )
    assert troubles(stalled)[0].code == ProblemCode.WORK_STALLED


def test_a_report_from_the_future_is_found(desk: "Desk") -> None:
    """Written under a clock that has been set back since; such a process is not taken for alive."""
    beat(desk.ledger, "dial@a:1", "dial", "connect", None, desk.noon + timedelta(minutes=10))
    assert alive(desk.ledger, desk.noon) == []
    assert [late.process for late in ahead(desk.ledger, desk.noon)] == ["dial@a:1"]
