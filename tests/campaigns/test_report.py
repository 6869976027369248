import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from campaigns.attempt import AttemptState, Outcome
from campaigns.ledger import runs
from campaigns.ledger.health import beat
from campaigns.ledger.moves import mark_unknown
from campaigns.ledger.runs import finish
from campaigns.mistake import Mistake
from campaigns.report import Status, every_status, status

if TYPE_CHECKING:
    from tests.conftest import Desk

EVERY_ROLE = ("dial", "control", "beat")


def alive(desk: "Desk", *roles: str, exchange: str = "connect", problem: str | None = None) -> None:
    for role in roles:
        beat(desk.ledger, f"{role}@here:1", role, exchange, problem, desk.noon)


def now(desk: "Desk", seconds: float = 0.0) -> Status:
    return status(desk.ledger, "reminders", desk.noon + timedelta(seconds=seconds))


def test_status_as_json_keeps_its_contract(desk: "Desk") -> None:
    """Every key that programs rely on is there, every state by name, also where it is nought."""
    desk.load(desk.campaign(), [])
    found: dict[str, Any] = json.loads(json.dumps(now(desk).as_json()))
    assert found.keys() >= {"name", "state", "reason", "recipients", "attempts", "outcomes"}
    assert found["recipients"] == dict.fromkeys(
        ("total", "waiting", "in_progress", "done", "held", "suppressed", "expired", "cancelled"), 0
    )
    assert found["attempts"] == dict.fromkeys(AttemptState, 0)
    assert (found["name"], found["state"], found["outcomes"]) == ("reminders", "loaded", {})


def test_the_numbers_add_up(desk: "Desk") -> None:
    """The total is the sum over all states, whatever has happened."""
    people = desk.people(10)
    desk.suppress(people[9].phone)
    desk.load(desk.campaign(), people)
    desk.start()
    for claimed, state in zip(desk.claim(7), AttemptState, strict=True):
        desk.bring(claimed, state)
    found = now(desk).as_json()
    states = dict(found["recipients"])
    assert states.pop("total") == 10 == sum(states.values())
    assert states == {
        "waiting": 3,
        "in_progress": 3,
        "done": 2,
        "held": 1,
        "suppressed": 1,
        "expired": 0,
        "cancelled": 0,
    }
    assert found["attempts"] == dict.fromkeys(AttemptState, 1)
    assert (found["outcomes"], found["exchange"], found["run"]) == ({"answered": 1}, "connect", 1)


def test_pace_and_end(desk: "Desk") -> None:
    """Calls per second over the last minute, and when the waiting will have been dialed at that pace."""
    desk.started(30)
    for i, claimed in enumerate(desk.claim(20)):
        desk.dial(claimed, now=desk.noon + timedelta(seconds=i))
    beat(desk.ledger, "dial@host:1", "dial", "connect", None, desk.noon + timedelta(seconds=20))
    found = now(desk, 20)
    assert found.calls_per_second == pytest.approx(1.0, abs=0.06)
    assert found.finishes_at == pytest.approx(
        desk.noon + timedelta(seconds=20 + 10 / found.calls_per_second), abs=timedelta(seconds=0.001)
    )
    assert now(desk, 500).as_json()["finishes_at"] is None
    assert not found.over


def test_a_single_call_is_no_pace_yet(desk: "Desk") -> None:
    """In the second of the first call nothing is divided by next to nothing."""
    desk.started(2)
    desk.dial(desk.claim(1)[0])
    assert (now(desk).calls_per_second, now(desk, 0.01).calls_per_second) == (0.0, 0.0)


def test_why_not_before_the_start(desk: "Desk") -> None:
    """A loaded campaign says how to start it."""
    desk.load(desk.campaign(), desk.people(1))
    assert now(desk).reason == "not started; start it with: dialer start reminders"


def test_why_not_when_paused(desk: "Desk") -> None:
    """A pause says whose it was; one that the campaign made itself is a fault to be mended."""
    desk.started(1)
    desk.pause()
    assert now(desk).reason == "paused by an operator; go on with: dialer resume reminders"
    assert not now(desk).fault
    desk.start()
    with desk.ledger.write() as db:
        runs.pause(db, desk.run().id, "AccessDeniedException: no", code="AccessDeniedException")
    assert now(desk).reason == (
        "paused: AccessDeniedException: no; when that is mended: dialer resume reminders"
    )
    assert now(desk).fault


@pytest.mark.parametrize(
    ("there", "says"),
    [
        ((), "no worker is dialing: no dial process has reported lately; start one with: dialer up"),
        (("dial",), "nobody feeds: no control process has reported lately; start one with: dialer up"),
        (("dial", "control"), "no scheduler: no beat process has reported lately; start one with: dialer up"),
        (EVERY_ROLE, None),
    ],
)
def test_why_not_when_a_process_is_missing(desk: "Desk", there: tuple[str, ...], says: str | None) -> None:
    """A running campaign needs workers, a feeder and a scheduler; the first that is missing is named."""
    desk.started(1)
    alive(desk, *there)
    assert now(desk).reason == says


def test_silent_processes_do_not_count(desk: "Desk") -> None:
    """Whoever has not reported for a while is not there."""
    desk.started(1)
    alive(desk, *EVERY_ROLE)
    assert "no worker is dialing" in str(now(desk, 25).reason)


def test_the_other_sides_processes_do_not_count(desk: "Desk") -> None:
    """A trial is not dialed by the real workers, and the hint says how to go on with the trial."""
    desk.started(2)
    desk.claim(1, exchange="sandbox")
    alive(desk, *EVERY_ROLE, exchange="connect")
    assert str(now(desk).reason).endswith("start one with: dialer up --sandbox")
    alive(desk, *EVERY_ROLE, exchange="sandbox")
    assert now(desk).reason is None


def test_what_keeps_processes_from_their_work_is_said_once(desk: "Desk") -> None:
    """A problem that several processes report stands there once."""
    desk.started(1)
    alive(desk, *EVERY_ROLE, problem="Redis does not answer")
    assert now(desk).reason == "Redis does not answer"


def test_why_not_when_nobody_is_due(desk: "Desk") -> None:
    """Waiting for a redial is no fault: the reason says until when."""
    desk.started(1)
    alive(desk, *EVERY_ROLE)
    (claimed,) = desk.claim()
    desk.bring(claimed, AttemptState.PLACED)
    assert now(desk).reason is None
    desk.ended(claimed, Outcome.BUSY, redial_at=desk.noon + timedelta(minutes=10))
    local = (desk.noon + timedelta(minutes=10)).astimezone()
    assert now(desk).reason == f"the next call is due at {local:%Y-%m-%d %H:%M:%S %Z}"


def test_why_not_when_it_is_over(desk: "Desk") -> None:
    """A finished campaign needs no reason, unless somebody is held; neither does a cancelled one."""
    desk.started(2)
    one, two = desk.claim()
    desk.bring(one, AttemptState.ENDED)
    desk.dial(two)
    mark_unknown(desk.ledger, two.attempt_id, two.fence, "no answer in time")
    assert (now(desk).over, now(desk).reason) == (True, None)
    finish(desk.ledger, desk.noon)
    assert now(desk).reason == "1 held: a call to them may have rung and nobody can tell"
    desk.placed(two, follow_at=None)
    assert now(desk).reason is None
    desk.cancel()
    assert (now(desk).as_json()["state"], now(desk).reason) == ("cancelled", None)


def test_all_campaigns_by_name(desk: "Desk") -> None:
    """Every campaign's status at once; none before the first load, and one that is not there is a Mistake."""
    assert every_status(desk.ledger, desk.noon) == []
    with pytest.raises(Mistake, match="the ledger is empty"):
        status(desk.ledger, "reminders", desk.noon)
    for name in ("b", "a"):
        desk.load(desk.campaign(name), desk.people(2))
    assert [(each.run.name, each.total) for each in every_status(desk.ledger, desk.noon)] == [
        ("a", 2),
        ("b", 2),
    ]
