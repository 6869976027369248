"""`dialer cancel --hang-up`: what the operator says and is told, in this process and without any worker."""

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from campaigns.attempt import Outcome
from campaigns.ledger import open_ledger
from campaigns.ledger.claims import Claim
from campaigns.ledger.hang_ups import mark_hung_up
from campaigns.ledger.health import beat
from campaigns.problem import Problem, ProblemCode

if TYPE_CHECKING:
    from tests.conftest import Desk


Dialer = Callable[..., Any]
"""The `dialer` fixture of conftest.py: arguments → code, out, err."""


@pytest.fixture
def desk(dialer: Dialer, desk_of: "type[Desk]") -> "Iterator[Desk]":
    """The ledger that the command uses."""
    with closing(open_ledger("sqlite:///.dialer/ledger.sqlite")) as ledger:
        yield desk_of(ledger)


@pytest.fixture
def calling(desk: "Desk") -> list[Claim]:
    """A campaign of five, of whom two are on the telephone: trials, loaded and dialed a moment ago."""
    desk.noon = datetime.now(UTC)
    desk.load(desk.campaign(), desk.people(5), now=desk.noon)
    desk.start(now=desk.noon, exchange="sandbox")
    claims = desk.claim(2, now=desk.noon, exchange="sandbox")
    for claimed in claims:
        desk.dial(claimed, now=desk.noon, exchange="sandbox")
        assert desk.placed(claimed, now=desk.noon, follow_at=desk.noon + timedelta(minutes=1))
    return claims


def working(desk: "Desk", problem: str | None = None) -> None:
    """A control process reports."""
    beat(desk.ledger, "control@here:1", "control", "sandbox", problem, datetime.now(UTC))


def reason(dialer: Dialer) -> Any:
    """Why nothing dials, by the status."""
    return json.loads(dialer("status", "reminders", "--json").out)["reason"]


def test_it_says_whom_it_gives_up_and_whom_it_hangs_up(
    dialer: Dialer, desk: "Desk", calling: list[Claim]
) -> None:
    """One line with both figures."""
    working(desk)
    assert dialer("cancel", "reminders", "--hang-up", "--yes") == (
        0,
        "reminders is cancelled; 3 recipients will not be called; 2 calls in progress are being hung up\n",
        "",
    )
    assert desk.run().hang_up_at is not None
    assert desk.states() == ["in_progress"] * 2 + ["cancelled"] * 3


def test_without_workers_it_says_when_it_happens(dialer: Dialer, desk: "Desk", calling: list[Claim]) -> None:
    """The wish is kept, and the command that carries it out is named, for a trial the trial's."""
    beat(desk.ledger, "control@here:1", "control", "connect", None, datetime.now(UTC))
    mark_hung_up(desk.ledger, calling[0].attempt_id, now=desk.noon, look_at=desk.noon)
    desk.ended(calling[0])
    assert dialer("cancel", "reminders", "--hang-up", "--yes").out.endswith(
        "; 1 call in progress is hung up as soon as workers run: dialer up --sandbox\n"
    )
    assert reason(dialer) == "hanging up: 1 call in progress, as soon as workers run: dialer up --sandbox"


def test_a_campaign_that_is_cancelled_already_can_be_hung_up(
    dialer: Dialer, desk: "Desk", calling: list[Claim]
) -> None:
    """First let the calls end by themselves, then change one's mind; a second time does no harm."""
    working(desk)
    assert dialer("cancel", "reminders", "--yes").out == (
        "reminders is cancelled; 3 recipients will not be called\n"
    )
    assert desk.run().hang_up_at is None
    for _ in range(2):
        assert dialer("cancel", "reminders", "--hang-up", "--yes") == (
            0,
            "reminders was cancelled already; 2 calls in progress are being hung up\n",
            "",
        )
    for claimed in calling:
        desk.ended(claimed)
    assert dialer("cancel", "reminders", "--hang-up", "--yes").out == (
        "reminders was cancelled already; no call is in progress\n"
    )
    assert dialer("cancel", "reminders").out == "reminders was cancelled already\n"


def test_a_campaign_without_calls_has_none_to_hang_up(dialer: Dialer, desk: "Desk") -> None:
    """Whoever asks for more than there is, is told so."""
    desk.load(desk.campaign(), desk.people(1))
    assert dialer("cancel", "reminders", "--hang-up", "--yes").out == (
        "reminders is cancelled; 1 recipient will not be called; no call is in progress\n"
    )


@pytest.mark.parametrize(
    ("before", "words"),
    [
        (
            [],
            "dialer: cancelling is for ever (3 recipients will not be called, 2 calls in progress); say: "
            "dialer cancel reminders --hang-up --yes\n",
        ),
        (
            ["cancel", "reminders", "--yes"],
            "dialer: hanging up cannot be undone (2 calls in progress); say: "
            "dialer cancel reminders --hang-up --yes\n",
        ),
    ],
)
def test_nobody_is_hung_up_without_a_yes(
    dialer: Dialer, desk: "Desk", calling: list[Claim], before: list[str], words: str
) -> None:
    """Where nobody can be asked, --yes says it; nothing has happened before."""
    if before:
        dialer(*before)
    assert dialer("cancel", "reminders", "--hang-up") == (2, "", words)
    assert desk.run().hang_up_at is None


@pytest.mark.parametrize(
    ("cancelled", "question"),
    [
        (False, "will not be called, 2 calls in progress (hung up at once)"),
        (True, "Hang up 2 calls in progress of reminders?"),
    ],
)
@pytest.mark.parametrize("answer", ["y", "n"])
def test_whoever_can_be_asked_is_asked(
    dialer: Dialer,
    desk: "Desk",
    calling: list[Claim],
    cancelled: bool,
    question: str,
    answer: str,
) -> None:
    """The question says what will happen; a no changes nothing."""
    if cancelled:
        desk.cancel()
    said = dialer("cancel", "reminders", "--hang-up", types=answer + "\n")
    assert question in said.out + said.err
    assert (desk.run().hang_up_at is not None) == (answer == "y") == (said.code == 0)
    assert (desk.run().state == "cancelled") == (cancelled or answer == "y")


def test_status_says_what_becomes_of_the_calls(dialer: Dialer, desk: "Desk", calling: list[Claim]) -> None:
    """A cancelled campaign's calls end by themselves, or are being hung up; when they are over, no word."""
    working(desk)
    desk.cancel()
    assert reason(dialer) == ("2 calls in progress; to hang up: dialer cancel reminders --hang-up")
    dialer("cancel", "reminders", "--hang-up", "--yes")
    assert reason(dialer) == "hanging up: 2 calls in progress"
    cannot = "calls cannot be hung up: AccessDeniedException: allow connect:StopContact"
    working(desk, Problem(cannot, ProblemCode.NOT_HUNG_UP))
    assert reason(dialer) == (
        "hanging up: 2 calls in progress; "
        "calls cannot be hung up: AccessDeniedException: allow connect:StopContact"
    )
    for claimed in calling:
        desk.ended(claimed)
    assert reason(dialer) is None


def test_explain_tells_that_a_call_was_hung_up(dialer: Dialer, desk: "Desk", calling: list[Claim]) -> None:
    """Between its placing and its end, with the time; for machines too."""
    rang, talked = calling
    dialer("cancel", "reminders", "--hang-up", "--yes")
    for claimed in calling:
        mark_hung_up(desk.ledger, claimed.attempt_id, now=desk.noon, look_at=desk.noon)
    desk.ended(rang, Outcome.STOPPED)
    desk.ended(talked, Outcome.ANSWERED)
    told = dialer("explain", "reminders", desk.person(rang).key).out.splitlines()
    events = [line.split("  ")[-1] for line in told[3:8]]
    assert events == [
        "queued",
        "dialed",
        f"placed: contact contact-{rang.attempt_id}",
        "hung up: StopContact",
        "ended: stopped",
    ]
    assert "    rule: stopped is not dialed again" in told
    found = json.loads(dialer("explain", "reminders", desk.person(talked).key, "--json").out)
    (attempt,) = found["recipients"][0]["attempts"]
    assert attempt["stopped_at"] == desk.noon.isoformat(timespec="milliseconds")
    assert attempt["outcome"] == "answered"
