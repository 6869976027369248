from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import select

from campaigns.ledger.health import BEAT, MISSED, Heartbeat, alive, beat, leave
from campaigns.ledger.tables import heartbeats

if TYPE_CHECKING:
    from tests.conftest import Desk


def test_who_has_reported_lately_is_alive(desk: "Desk") -> None:
    """A process is alive for a while after its latest word, which replaces the one before."""
    beat(desk.ledger, "dial@a:1", "dial", "connect", None, desk.noon)
    beat(desk.ledger, "dial@a:1", "dial", "connect", "no Redis", desk.noon + BEAT)
    beat(desk.ledger, "beat@a:2", "beat", "sandbox", None, desk.noon + BEAT)
    assert alive(desk.ledger, desk.noon + MISSED) == [
        Heartbeat("beat@a:2", "beat", "sandbox", desk.noon + BEAT, None),
        Heartbeat("dial@a:1", "dial", "connect", desk.noon + BEAT, "no Redis"),
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
