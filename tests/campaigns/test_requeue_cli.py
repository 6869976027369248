"""`dialer requeue`: what the operator is shown, asked and told, in this process and without any worker."""

import io
import json
import os
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import update

from campaigns.attempt import AttemptState, Outcome
from campaigns.explain_view import at
from campaigns.ledger import open_ledger
from campaigns.ledger.moves import mark_refused
from campaigns.ledger.runs import finish
from campaigns.ledger.tables import recipients

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
def ended(desk: "Desk") -> "Desk":
    """A finished campaign: two busy, one no_answer, one refused, one held, two answered."""
    desk.load(desk.campaign(), desk.people(7))
    desk.start()
    *called, refused, doubtful = desk.claim()
    outcomes = [Outcome.BUSY] * 2 + [Outcome.NO_ANSWER] + [Outcome.ANSWERED] * 2
    for claimed, outcome in zip(called, outcomes, strict=True):
        desk.bring(claimed, AttemptState.PLACED)
        desk.ended(claimed, outcome)
    desk.dial(refused)
    mark_refused(desk.ledger, refused.attempt_id, refused.fence, "NotAllowed: x", now=desk.noon)
    desk.bring(doubtful, AttemptState.UNKNOWN)
    desk.not_found(doubtful, redial=False)
    finish(desk.ledger, desk.noon)
    return desk


def test_it_shows_whom_it_means_then_does_it_and_says_what_comes_next(dialer: Dialer, ended: "Desk") -> None:
    """Counts by outcome, each recipient, what was done, and why nothing is dialed yet."""
    said = dialer("requeue", "reminders", "--outcome", "busy,no_answer")
    noon = at(ended.noon)
    assert said.out.splitlines() == [
        "reminders: 3 recipients are to have another attempt:",
        "  2 busy",
        "  1 no_answer",
        f"  +14150000001, key key-1, line 2: busy at {noon}, 1 attempt so far",
        f"  +14150000002, key key-2, line 3: busy at {noon}, 1 attempt so far",
        f"  +14150000003, key key-3, line 4: no_answer at {noon}, 1 attempt so far",
        "reminders: 3 recipients wait for another attempt, and the campaign goes on; no worker is dialing: "
        "no dial process has reported lately; start one with: dialer up",
    ]
    assert (said.code, said.err) == (0, "")
    assert ended.states() == ["waiting"] * 3 + ["done"] * 3 + ["held"]
    assert ended.run().state == "running"
    due = {row.due_at for row in ended.recipients() if row.state == "waiting"}
    assert all(datetime.now(UTC).timestamp() - instant.timestamp() < 60 for instant in due)


def test_the_second_time_there_is_nothing_to_do(dialer: Dialer, ended: "Desk") -> None:
    """It says so, and who is left alone, and what there is instead; that is no failure."""
    assert dialer("requeue", "reminders", "--outcome", "busy").code == 0
    assert dialer("requeue", "reminders", "--outcome", "busy") == (
        0,
        "nothing to requeue: nobody in reminders is done whose last attempt was busy; "
        "there are: 2 answered, 1 no_answer, 1 refused:NotAllowed, 1 unknown\n"
        "2 left alone: they wait for their next attempt already\n",
        "",
    )


def test_who_is_left_alone_is_counted(dialer: Dialer, ended: "Desk") -> None:
    """Those on the suppression list, under way and waiting, a line each."""
    dialer("requeue", "reminders", "--outcome", "busy")
    ended.claim(1, now=datetime.now(UTC))
    ended.suppress("+14150000003")
    said = dialer("requeue", "reminders", "--outcome", "busy,no_answer,refused")
    assert said.out.splitlines()[-4:-1] == [
        "1 left alone: an attempt is under way",
        "1 left alone: the next attempt is due already",
        "1 left alone: on the suppression list",
    ]


def test_a_dry_run_lists_all_and_changes_nothing(dialer: Dialer, desk: "Desk") -> None:
    """The real thing shows the first twenty, and says where to see the others."""
    desk.load(desk.campaign(), desk.people(23))
    desk.start()
    for claimed in desk.claim():
        desk.bring(claimed, AttemptState.PLACED)
        desk.ended(claimed, Outcome.BUSY)
    before = (desk.recipients(), desk.attempts(), desk.run())
    lines = dialer("requeue", "reminders", "--outcome", "busy", "--dry-run").out.splitlines()
    assert lines[0] == "reminders: 23 recipients would have another attempt:"
    assert [line.split(",")[1] for line in lines[2:-1]] == [f" key key-{n}" for n in range(1, 24)]
    assert lines[-1] == "nothing was changed (--dry-run)"
    assert (desk.recipients(), desk.attempts(), desk.run()) == before
    lines = dialer("requeue", "reminders", "--outcome", "busy").out.splitlines()
    assert lines[22:] == [
        "  … and 3 more (--dry-run lists all)",
        "reminders: 23 recipients wait for another attempt; no worker is dialing: "
        "no dial process has reported lately; start one with: dialer up",
    ]
    assert desk.states() == ["waiting"] * 23


@pytest.mark.parametrize("types", ["n\n", "\n", "", "^C"])
def test_whoever_sits_there_is_asked_and_may_say_no(dialer: Dialer, ended: "Desk", types: str) -> None:
    """No, nothing, the end of the input and Ctrl-C all leave everything as it was."""
    before = (ended.recipients(), ended.attempts(), ended.run())
    said = dialer("requeue", "reminders", "--outcome", "busy", types=types)
    assert said.code == 130
    assert "Call 2 recipients again? [y/N]" in said.out + said.err
    assert said.err.endswith("dialer: stopped; nothing was changed\n")
    assert (ended.recipients(), ended.attempts(), ended.run()) == before


@pytest.mark.parametrize("arguments", [["--yes"], ["--dry-run"], []])
def test_it_asks_where_there_is_something_to_answer(
    dialer: Dialer, ended: "Desk", arguments: list[str]
) -> None:
    """Not with --yes, nor for a dry run; a yes is enough."""
    said = dialer("requeue", "reminders", "--outcome", "busy", *arguments, types="y\n")
    assert said.code == 0
    assert ("[y/N]" in said.out + said.err) == (arguments == [])
    assert ended.states()[:2] == ["done" if arguments == ["--dry-run"] else "waiting"] * 2


def test_nobody_is_asked_when_there_is_nobody_to_call(dialer: Dialer, ended: "Desk") -> None:
    """A question would have no answer."""
    said = dialer("requeue", "reminders", "--outcome", "fax", types="^C")
    assert (said.code, said.err) == (0, "")


def test_those_who_may_have_been_rung_come_with_a_warning(dialer: Dialer, ended: "Desk") -> None:
    """Beside the answer, so that a program that reads the answer is not disturbed."""
    said = dialer("requeue", "reminders", "--outcome", "unknown,busy")
    assert said.err == (
        "warning: 1 of them may have been rung already: nobody can tell; "
        "look first: dialer explain reminders --unknown\n"
    )
    assert f"  +14150000007, key key-7, line 8: unknown since {at(ended.noon)}, 1 attempt so far" in said.out
    assert ended.states()[6] == "waiting"


def test_a_code_that_nobody_has_comes_with_those_there_are(dialer: Dialer, ended: "Desk") -> None:
    """The others who are asked for are requeued all the same."""
    said = dialer("requeue", "reminders", "--outcome", "busy,refused:NotAlowed")
    assert said.err == (
        "warning: nobody in reminders was refused with NotAlowed; the codes there are: NotAllowed (1)\n"
    )
    assert ended.states()[:2] == ["waiting"] * 2


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_requeue_for_machines(dialer: Dialer, ended: "Desk", dry_run: bool) -> None:
    """One object on standard output: what was meant, what was done, and who was left alone."""
    ended.suppress("+14150000002")
    said = dialer(
        *("requeue", "reminders", "--outcome", "busy", "--outcome", "refused,unknown"),
        *("--since", "2026-03-01T00:00Z", "--json", *(["--dry-run"] if dry_run else [])),
    )
    assert said.code == 0
    noon = "2026-03-02T12:00:00.000+00:00"
    assert json.loads(said.out) == {
        "name": "reminders",
        "dry_run": dry_run,
        "requeued": 0 if dry_run else 3,
        "matched": 3,
        "by_outcome": {"busy": 1, "refused:NotAllowed": 1, "unknown": 1},
        "left_alone": {
            "waiting": 0,
            "under_way": 0,
            "suppressed": 1,
            "were_suppressed": 0,
            "expired": 0,
            "dropped": 0,
        },
        "since": "2026-03-01T00:00:00.000+00:00",
        "recipients": [
            {
                "key": f"key-{number}",
                "phone": f"+1415000000{number}",
                "line": number + 1,
                "outcome": outcome,
                "ended_at": noon,
                "attempts": 1,
            }
            for number, outcome in ((1, "busy"), (6, "refused:NotAllowed"), (7, "unknown"))
        ],
    }
    assert ended.states().count("waiting") == (0 if dry_run else 3)


def test_a_mistaken_suppression_is_undone_in_a_finished_campaign(dialer: Dialer, desk: "Desk") -> None:
    """`suppress remove` names the command that calls them, and only that command lets them wait."""
    desk.load(desk.campaign(), desk.people(2, first=5_550_101))
    desk.start()
    first, second = (person.phone for person in desk.recipients())
    assert dialer("suppress", "add", first, second).code == 0
    assert finish(desk.ledger, desk.noon) == 1
    said = dialer("suppress", "remove", first)
    assert said.out.splitlines()[1:] == [
        "1 recipient of reminders, which is finished, is not called by itself; to call it: "
        "dialer requeue reminders --outcome suppressed"
    ]
    assert (desk.states(), desk.run().state) == (["suppressed"] * 2, "finished")
    assert dialer("explain", "reminders", first).out.splitlines()[-1] == (
        "  next: nothing: it was suppressed, and is so no more; to call it: "
        "dialer requeue reminders --outcome suppressed"
    )
    before = dialer("requeue", "reminders", "--outcome", "suppressed", "--json", "--dry-run").json
    assert (before["by_outcome"], before["left_alone"]["suppressed"]) == ({"suppressed": 1}, 1)
    assert [(each["phone"], each["outcome"], each["attempts"]) for each in before["recipients"]] == [
        (first, "suppressed", 0)
    ]
    said = dialer("requeue", "reminders", "--outcome", "suppressed")
    assert said.out.splitlines()[:4] == [
        "reminders: 1 recipient is to have another attempt:",
        "  1 suppressed",
        f"  {first}, key key-5550101, line 5550102: suppressed, 0 attempts so far",
        "1 left alone: on the suppression list",
    ]
    assert (desk.states(), desk.run().state) == (["waiting", "suppressed"], "running")
    assert dialer("requeue", "reminders", "--outcome", "suppressed").out.splitlines() == [
        "nothing to requeue: nobody in reminders is suppressed whose number is on no list any more; "
        "nobody there is done at all",
        "1 left alone: on the suppression list",
    ]
    removed = dialer("suppress", "remove", second, "--json").json
    assert (removed["recipients_waiting"], removed["recipients_in_finished_campaigns"]) == (1, {})


def test_whose_time_has_passed_is_told_and_left_alone(dialer: Dialer, ended: "Desk") -> None:
    """Nobody is told that they are called again who would expire instead."""
    with ended.ledger.write() as db:
        first = recipients.c.key == "key-1"
        db.execute(update(recipients).where(first).values(expires_at=ended.noon))
    said = dialer("requeue", "reminders", "--outcome", "busy")
    assert said.out.splitlines()[0] == "reminders: 1 recipient is to have another attempt:"
    assert "1 left alone: its time to be called has passed" in said.out.splitlines()
    assert ended.states()[:2] == ["done", "waiting"]


def test_nothing_for_machines_is_an_object_too(dialer: Dialer, ended: "Desk") -> None:
    """With nobody in it."""
    said = json.loads(dialer("requeue", "reminders", "--outcome", "fax", "--json").out)
    assert (said["requeued"], said["matched"], said["by_outcome"], said["recipients"]) == (0, 0, {}, [])
    assert said["since"] is None


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["reminders"], "Missing option '--outcome'"),
        (["reminders", "--outcome", "bussy"], "did you mean busy?"),
        (["remindres", "--outcome", "busy"], "there is no campaign 'remindres'; did you mean reminders?"),
        (["reminders", "--outcome", "busy", "--since", "soon"], "--since 'soon': is no time"),
        (["reminders", "--outcome", "busy", "--since", "2999-01-01"], "is in the future"),
    ],
)
def test_a_mistake_is_one_line_and_changes_nothing(
    dialer: Dialer, ended: "Desk", arguments: list[str], words: str
) -> None:
    """Exit code 2, one line, with the fix."""
    said = dialer("requeue", *arguments)
    assert (said.code, said.out, said.err.count("\n")) == (2, "", 1)
    assert words in said.err
    assert "waiting" not in ended.states()


def test_nobody_is_called_again_in_a_cancelled_campaign(dialer: Dialer, ended: "Desk") -> None:
    """Cancelling is for ever, and the message says what there is to do."""
    ended.cancel()
    said = dialer("requeue", "reminders", "--outcome", "busy")
    assert (said.code, said.out) == (2, "")
    assert said.err == (
        "dialer: reminders was cancelled, which is for ever, and nobody in it can have another attempt; "
        "to call these people again, load them under another name\n"
    )


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("paused", "; paused by an operator; go on with: dialer resume reminders"),
        ("loaded", "; not started; start it with: dialer start reminders"),
    ],
)
def test_what_does_not_go_on_by_itself_is_said(dialer: Dialer, ended: "Desk", state: str, words: str) -> None:
    """With the command that makes it go on."""
    if state == "loaded":
        ended.load(ended.campaign(), ended.people(1, first=500))
    else:
        dialer("requeue", "reminders", "--outcome", "no_answer")
        ended.pause()
    said = dialer("requeue", "reminders", "--outcome", "busy")
    assert said.out.endswith(f"reminders: 2 recipients wait for another attempt{words}\n")
    assert ended.run().state == state


def test_a_reader_who_has_gone_does_not_keep_it_from_being_done(
    dialer: Dialer, ended: "Desk", monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in `dialer requeue … | head -1`: whom it means has been shown, and it is done."""

    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

        def fileno(self) -> int:
            return os.open(os.devnull, os.O_WRONLY)

    monkeypatch.setattr("sys.stdout", Gone())
    assert dialer("requeue", "reminders", "--outcome", "busy").code == 0
    assert ended.states()[:2] == ["waiting"] * 2
