"""The brakes in the ledger: what is counted, what is let through, and which attempts belong to an outage."""

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from campaigns.brake import OPENING, probe_after, redial_after
from campaigns.ledger import brakes
from campaigns.ledger.brakes import brake_of, brakes_on, gates, note_doubt, note_good, put_off_probe
from campaigns.ledger.in_progress import CallLimit, calls_by_instance
from campaigns.ledger.moves import BRAKED, NotNow, Order, mark_unknown
from campaigns.ledger.unknowns import take_due_unknowns

if TYPE_CHECKING:
    from tests.conftest import Desk

SECOND = timedelta(seconds=1)


def doubt(desk: "Desk", run_id: int, after: int = 0, **more: Any) -> list[brakes.Brake]:
    """An attempt of a run that was dialed and ended in doubt so many seconds after noon."""
    at = desk.noon + after * SECOND
    usual: dict[str, Any] = {"code": "InternalServiceException", "dialed_at": at, "probe": False, "now": at}
    return note_doubt(desk.ledger, "connect", run_id, **{**usual, **more})


def good(desk: "Desk", run_id: int, after: int) -> list[brakes.Brake]:
    at = desk.noon + after * SECOND
    return note_good(desk.ledger, "connect", run_id, dialed_at=at, now=at)


def brake(desk: "Desk", run_id: int) -> brakes.Brake | None:
    with desk.ledger.read() as db:
        return brake_of(db, run_id, "connect")


def test_three_in_a_row_brake_a_run(desk: "Desk") -> None:
    """The third attempt in doubt with no good answer in between, and not the whole side."""
    run = desk.started(5)
    assert [doubt(desk, run.id, after) for after in (1, 2)] == [[], []]
    (put_on,) = doubt(desk, run.id, 3)
    assert put_on == brake(desk, run.id)
    assert (put_on.every_run, put_on.answers, put_on.since) == (False, 3, desk.noon + SECOND)
    assert put_on.probe_at == desk.noon + 3 * SECOND + probe_after(0)


def test_a_good_answer_begins_the_row_anew(desk: "Desk") -> None:
    """Errors now and then hold nothing back."""
    run = desk.started(5)
    for after in range(0, 20, 2):
        doubt(desk, run.id, after)
        doubt(desk, run.id, after)
        assert good(desk, run.id, after + 1) == []
    assert brake(desk, run.id) is None


def test_two_runs_brake_the_whole_side(desk: "Desk") -> None:
    """A third run that never failed waits as well; one probe is queued for all of them."""
    one, two, three = (desk.started(5, name).id for name in ("one", "two", "three"))
    doubt(desk, one, 1)
    doubt(desk, one, 2)
    (put_on,) = doubt(desk, two, 3)
    assert put_on.every_run
    assert brake(desk, three) == put_on
    assert brakes_on(desk.ledger, ["connect"]) == [put_on]
    assert brakes_on(desk.ledger, ["sandbox"]) == []
    assert desk.claim(now=desk.noon + 4 * SECOND) == []
    assert len(desk.claim(now=desk.noon + 10 * SECOND)) == 1
    assert desk.claim(now=desk.noon + 10 * SECOND) == []


def test_a_braked_run_queues_one_probe_and_the_others_go_on(desk: "Desk") -> None:
    """The feed gives a braked run one attempt when its probe is due, and the room goes to the others."""
    bad, sound = desk.started(5, "bad").id, desk.started(5, "sound").id
    for after in range(3):
        doubt(desk, bad, after)
    good(desk, sound, 3)
    assert len(desk.claim(now=desk.noon + 4 * SECOND)) == 5
    assert {each.state for each in desk.attempts("sound")} == {"queued"}
    assert len(desk.claim(now=desk.noon + 8 * SECOND)) == 1
    assert desk.claim(now=desk.noon + 9 * SECOND) == []


def test_a_braked_run_leaves_its_people_to_another_campaign(desk: "Desk") -> None:
    """Two campaigns with one list and limits: one that waits for its probe does not hold up the other."""
    limits = {"limits": {"per_number_per_day": 1}}
    people = desk.people(20, first=900_000)
    for name in ("bad", "sound"):
        desk.load(desk.campaign(name, **limits), people)
        desk.start(name)
    for after in range(3):
        doubt(desk, desk.run("bad").id, after)
    good(desk, desk.run("sound").id, 3)
    assert len(desk.claim(5, now=desk.noon + 4 * SECOND)) == 5
    assert {each.state for each in desk.attempts("sound")} == {"queued"}


def test_a_braked_run_does_not_brake_the_others(desk: "Desk") -> None:
    """However long its probes fail: what is known of it says nothing of the rest, whose calls are placed."""
    bad, sound = desk.started(5, "bad").id, desk.started(5, "sound").id
    for after in range(20):
        doubt(desk, bad, after, probe=True)
    good(desk, sound, 20)
    for after in range(21, 31):
        doubt(desk, bad, after, probe=True)
    doubt(desk, sound, 31)
    assert brake(desk, sound) is None


def test_the_other_side_is_not_braked(desk: "Desk") -> None:
    """A trial's errors say nothing of real calls."""
    run, trial = desk.started(5, "real"), desk.started(5, "trial", exchange="sandbox")
    for after in range(3):
        doubt(desk, run.id, after)
    with desk.ledger.read() as db:
        assert brake_of(db, trial.id, "sandbox") is None
    assert len(desk.claim(exchange="sandbox")) == 5


def test_one_probe_at_a_time_is_dialed(desk: "Desk") -> None:
    """What is queued already when the brake is put on comes back; later one attempt is let through."""
    run = desk.started(5)
    first, second, third, *_ = desk.claim()
    for after in range(3):
        doubt(desk, run.id, after)
    held = desk.dial(first, now=desk.noon + 3 * SECOND)
    assert isinstance(held, NotNow)
    assert held.code == BRAKED
    assert [each.state for each in desk.attempts()] == ["returned", *["queued"] * 4]
    probe = desk.dial(second, now=desk.noon + 8 * SECOND)
    assert isinstance(probe, Order)
    assert (probe.probe, probe.braking) == (True, True)
    assert isinstance(desk.dial(third, now=desk.noon + 9 * SECOND), NotNow)
    put_off_probe(desk.ledger, "connect", run.id, desk.noon + 10 * SECOND)
    with desk.ledger.read() as db:
        assert gates(db, "connect", desk.noon + 9 * SECOND).runs == {run.id: False}


def test_probes_in_vain_come_more_slowly(desk: "Desk") -> None:
    """5 s at first, 30 s at most."""
    run = desk.started(5)
    for after in range(3):
        doubt(desk, run.id, after)
    waits = []
    for _ in range(5):
        at = brake(desk, run.id).probe_at  # type: ignore[union-attr]
        doubt(desk, run.id, probe=True, now=at, dialed_at=at)
        waits.append((brake(desk, run.id).probe_at - at).total_seconds())  # type: ignore[union-attr]
    assert waits == [10, 20, 30, 30, 30]


def test_one_good_answer_lets_calls_through_and_one_error_holds_them_again(desk: "Desk") -> None:
    """Until ten answers were good, or five minutes have passed."""
    run = desk.started(30)
    for after in range(3):
        doubt(desk, run.id, after)
    assert len(good(desk, run.id, 10)) == 1
    assert brake(desk, run.id) is None
    # Sent before the good answer: it comes late, and says nothing of now.
    assert doubt(desk, run.id, 11, dialed_at=desk.noon + 5 * SECOND) == []
    assert len(doubt(desk, run.id, 12)) == 1
    for after in range(20, 30):
        good(desk, run.id, after)
    assert doubt(desk, run.id, 31) == []
    assert brake(desk, run.id) is None


def test_a_late_answer_of_before_releases_nothing(desk: "Desk") -> None:
    """A call that was dialed before the brake was put on and is answered after it."""
    run = desk.started(5)
    for after in range(3):
        doubt(desk, run.id, after)
    late = {"dialed_at": desk.noon, "now": desk.noon + 9 * SECOND}
    assert note_good(desk.ledger, "connect", run.id, **late) == []
    assert brake(desk, run.id) is not None


@pytest.mark.parametrize("after", [1, 400])
def test_attempts_of_an_outage_are_told_from_others(desk: "Desk", after: int) -> None:
    """Those before the brake was put on are among them; those after its end are not."""
    run = desk.started(5)
    first, *_, last = desk.claim()
    assert isinstance(desk.dial(first, now=desk.noon), Order)
    assert desk.unknown(first)
    for each in range(3):
        doubt(desk, run.id, each)
    good(desk, run.id, 10)
    later = desk.noon + 10 * SECOND + OPENING + after * SECOND if after > 1 else desk.noon + 11 * SECOND
    assert isinstance(desk.dial(last, now=later), Order)
    this = (desk.ledger, last.attempt_id, last.fence, "no answer")
    assert mark_unknown(*this, now=later, settle_at=later, error_code="ReadTimeoutError")
    found = take_due_unknowns(
        desk.ledger,
        exchange="connect",
        now=later,
        until=later,
        within=timedelta(hours=1),
        limit=10,
    )
    assert {each.attempt_id: each.in_outage for each in found} == {
        first.attempt_id: True,
        last.attempt_id: after == 1,
    }


def test_attempts_of_an_outage_take_up_room_for_a_minute(desk: "Desk") -> None:
    """Or there would be none for the call that finds out that Connect is back."""
    run = desk.started(5)
    claimed = desk.claim(1)[0]
    assert isinstance(desk.dial(claimed), Order)
    assert desk.unknown(claimed, settle_at=desk.noon + timedelta(minutes=5))
    limit = CallLimit(10, timedelta(minutes=5))

    def counted(seconds: int) -> int:
        return calls_by_instance(desk.ledger, "connect", limit, desk.noon + seconds * SECOND).total()

    assert (counted(59), counted(61)) == (1, 1)
    for each in range(3):
        doubt(desk, run.id, each)
    assert (counted(59), counted(61)) == (1, 0)


def test_a_recipient_alone_with_the_error_is_tried_ever_more_rarely() -> None:
    """At once twice, then after 5, 10, 20 and 40 minutes, then each hour."""
    minutes = [redial_after(count).total_seconds() / 60 for count in range(1, 9)]
    assert minutes == [0, 0, 5, 10, 20, 40, 60, 60]
