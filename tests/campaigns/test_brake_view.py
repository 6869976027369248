"""A brake as status shows it: with its code, its time and its count, for people and for programs."""

from datetime import timedelta
from typing import TYPE_CHECKING

from campaigns.ledger.brakes import note_doubt, note_good
from campaigns.ledger.health import beat
from campaigns.report import Status, status

if TYPE_CHECKING:
    from tests.conftest import Desk


def now(desk: "Desk", seconds: float = 5.0) -> Status:
    return status(desk.ledger, "reminders", desk.noon + timedelta(seconds=seconds))


def brake(desk: "Desk") -> int:
    """A running campaign that three errors in a row hold back."""
    run = desk.started(5)
    for role in ("dial", "control", "beat"):
        beat(desk.ledger, f"{role}@here:1", role, "connect", None, desk.noon)
    for after in range(3):
        at = desk.noon + timedelta(seconds=after)
        error = {"code": "InternalServiceException", "dialed_at": at, "probe": False, "now": at}
        note_doubt(desk.ledger, "connect", run.id, **error)  # type: ignore[arg-type]
    return run.id


def test_status_says_why_and_since_when(desk: "Desk") -> None:
    """The error, how often, since when, and when the next call is tried; no end is promised."""
    brake(desk)
    found = now(desk)
    reason = str(found.reason)
    assert reason.startswith(
        "this campaign's calls are held back: Connect has answered 3 in a row with errors"
    )
    assert "(InternalServiceException) since " in reason
    assert found.finishes_at is None
    assert found.as_json()["brake"] == {
        "code": "connect_errors",
        "scope": "run",
        "error_code": "InternalServiceException",
        "since": desk.noon.isoformat(timespec="seconds"),
        "answers": 3,
        "probes": 0,
        "next_probe_at": (desk.noon + timedelta(seconds=7)).isoformat(timespec="seconds"),
    }


def test_what_an_operator_has_stopped_is_not_said_to_be_braked(desk: "Desk") -> None:
    """A paused campaign goes on by `dialer resume` alone, so that is its reason."""
    brake(desk)
    desk.pause()
    assert now(desk).as_json()["brake"] is None
    assert str(now(desk).reason).startswith("paused by an operator")


def test_a_missing_process_is_named_first(desk: "Desk") -> None:
    """A brake does not hide that no worker is there to try a call: its code is that of the missing one."""
    brake(desk)
    found = now(desk, 300)
    assert "held back" in str(found.reason)
    assert str(found.reason).startswith("no worker is dialing")
    assert found.as_json()["reason_code"] == "process_missing"
    assert found.as_json()["brake"] is not None


def test_afterwards_nothing_is_said(desk: "Desk") -> None:
    """One good answer, and the reason is gone."""
    run_id = brake(desk)
    at = desk.noon + timedelta(seconds=8)
    note_good(desk.ledger, "connect", run_id, dialed_at=at, now=at)
    assert (now(desk, 9).reason, now(desk, 9).as_json()["brake"]) == (None, None)
