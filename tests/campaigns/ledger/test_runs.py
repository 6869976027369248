from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select

from campaigns.attempt import AttemptState, Outcome, RunState
from campaigns.ledger import Ledger, runs
from campaigns.ledger.moves import mark_returned
from campaigns.ledger.outcomes import mark_ended
from campaigns.ledger.runs import finish
from campaigns.ledger.tables import runs as run_rows
from campaigns.mistake import Mistake

if TYPE_CHECKING:
    from tests.conftest import Desk


def row_of(desk: "Desk", run: runs.Run) -> Any:
    with desk.ledger.read() as db:
        return db.execute(select(run_rows).where(run_rows.c.id == run.id)).one()


def test_nobody_is_called_before_the_start(desk: "Desk") -> None:
    """A loaded campaign waits for its start, and remembers when that was."""
    desk.load(desk.campaign(), desk.people(2))
    assert (desk.run().state, desk.claim()) == (RunState.LOADED, [])
    later = desk.noon + timedelta(minutes=5)
    desk.start(now=later)
    assert (desk.run().state, row_of(desk, desk.run()).started_at) == (RunState.RUNNING, later)
    assert len(desk.claim()) == 2


def test_a_start_is_remembered(desk: "Desk") -> None:
    """Resuming is starting too: what counts is the last time; starting what runs changes nothing."""
    run = desk.started(1)
    assert desk.pause()
    later = desk.noon + timedelta(hours=1)
    desk.start(now=later)
    desk.start(now=later + timedelta(hours=1))
    assert (desk.run().state, row_of(desk, run).started_at) == (RunState.RUNNING, later)


def test_a_finished_run_is_not_started(desk: "Desk") -> None:
    """There is nobody left to call, so a start changes nothing."""
    desk.started(1)
    desk.bring(desk.claim()[0], AttemptState.REFUSED)
    assert finish(desk.ledger, desk.noon) == 1
    desk.start()
    assert desk.run().state == RunState.FINISHED


def test_a_cancelled_run_is_never_started(desk: "Desk") -> None:
    """Cancelled is for ever, and the message says what to do instead."""
    desk.started(1)
    desk.cancel()
    with pytest.raises(Mistake, match="for ever; load it under another name"):
        desk.start()
    assert desk.run().state == RunState.CANCELLED


def test_a_pause_takes_back_what_is_queued(desk: "Desk") -> None:
    """At once and without charge: the tasks on their way find their claims gone, and a resume goes on."""
    desk.started(5)
    claims = desk.claim()
    desk.dial(claims[0])
    desk.bring(claims[1], AttemptState.PLACED)
    assert desk.pause()
    assert [row.state for row in desk.attempts()] == ["dialing", "placed", *["returned"] * 3]
    assert desk.states() == ["in_progress", "in_progress", *["waiting"] * 3]
    assert (desk.run().reason, desk.run().reason_code) == ("by an operator", runs.OPERATOR)
    assert [type(desk.dial(claimed)).__name__ for claimed in claims[2:]] == ["NotNow"] * 3
    assert desk.claim() == []
    assert desk.placed(claims[0])
    desk.start()
    assert (desk.run().reason, desk.run().reason_code) == (None, None)
    assert {c.client_token for c in desk.claim()} == {c.client_token for c in claims[2:]}


@pytest.mark.parametrize("state", [RunState.LOADED, RunState.PAUSED, RunState.FINISHED, RunState.CANCELLED])
def test_only_a_running_run_is_paused(desk: "Desk", state: RunState) -> None:
    """A pause of anything else changes nothing, and says so."""
    desk.load(desk.campaign(), desk.people(1) if state != RunState.FINISHED else [])
    match state:
        case RunState.PAUSED:
            desk.start()
            desk.pause()
        case RunState.FINISHED:
            desk.start()
            finish(desk.ledger, desk.noon)
        case RunState.CANCELLED:
            desk.cancel()
    before = desk.run()
    assert before.state == state
    with desk.ledger.write() as db:
        assert not runs.pause(db, before.id, "AccessDenied: no", "AccessDenied")
    assert desk.run() == before


def test_a_cancelled_campaign_gives_up_all_who_were_not_called(desk: "Desk") -> None:
    """Waiting and queued people are cancelled; calls under way end by themselves and are not redialed."""
    people = desk.people(8)
    desk.suppress(people[7].phone)
    desk.load(desk.campaign(redial={"max_attempts": 5, "busy": "1m"}), people)
    desk.start()
    claims = desk.claim(keep_queued=6)
    desk.bring(claims[0], AttemptState.DIALING)
    desk.bring(claims[1], AttemptState.PLACED)
    desk.bring(claims[2], AttemptState.UNKNOWN)
    desk.bring(claims[3], AttemptState.ENDED)
    assert desk.cancel(now=desk.noon + timedelta(minutes=1)) == 3
    assert desk.states() == [
        "in_progress",
        "in_progress",
        "in_progress",
        "done",
        "cancelled",
        "cancelled",
        "cancelled",
        "suppressed",
    ]
    assert desk.placed(claims[0])
    assert desk.ended(claims[0], Outcome.BUSY, redial_at=desk.noon)
    assert desk.ended(claims[1])
    assert desk.states()[:2] == ["done", "done"]
    assert desk.claim() == []
    assert row_of(desk, desk.run()).finished_at == desk.noon + timedelta(minutes=1)


def test_a_call_that_never_rang_is_given_up_too(desk: "Desk") -> None:
    """An attempt that is throttled after the campaign was cancelled does not wait for ever."""
    desk.started(1)
    (claimed,) = desk.claim()
    desk.dial(claimed)
    assert desk.cancel() == 0
    assert mark_returned(desk.ledger, claimed.attempt_id, claimed.fence, "throttled", due_at=desk.noon)
    assert (desk.states(), desk.attempt(claimed).state) == (["cancelled"], "returned")


@pytest.mark.parametrize("move", ["ended", "returned"])
def test_nobody_waits_in_a_run_that_is_cancelled_meanwhile(
    postgres_ledger: Ledger,
    postgres_ledger_url: str,
    desk_of: Callable[[Ledger], "Desk"],
    opened: Callable[[str], Ledger],
    at_once: Callable[..., Any],
    move: str,
) -> None:
    """A redial or a return that is committed while a cancellation goes on leaves nobody waiting."""
    desk, worker = desk_of(postgres_ledger), opened(postgres_ledger_url)
    desk.started(1)
    (claimed,) = desk.claim()
    desk.bring(claimed, AttemptState.PLACED if move == "ended" else AttemptState.DIALING)

    def make_them_wait() -> bool:
        if move == "ended":
            return mark_ended(
                worker, claimed.attempt_id, Outcome.BUSY, ended_at=desk.noon, redial=lambda _: desk.noon
            )
        return mark_returned(worker, claimed.attempt_id, claimed.fence, "throttled", due_at=desk.noon)

    moving, cancelling = at_once(worker, "UPDATE recipients", make_them_wait, desk.cancel)
    assert (moving.result(), cancelling.result()) == (True, 1)
    assert desk.states() == ["cancelled"]


def test_cancelling_and_feeding_do_not_wait_for_each_other(
    postgres_ledger: Ledger,
    postgres_ledger_url: str,
    aside: Callable[..., Any],
    until_over_or_blocked: Callable[..., None],
    desk_of: Callable[[Ledger], "Desk"],
    opened: Callable[[str], Ledger],
) -> None:
    """A round of feeding that begins in the middle of a cancellation is no deadlock, and claims nobody."""
    desk, feeder = desk_of(postgres_ledger), desk_of(opened(postgres_ledger_url))
    run = desk.started(5)
    with postgres_ledger.write() as db:
        # What cancelling does first: it takes the run.
        db.execute(run_rows.update().where(run_rows.c.id == run.id).values(reason="cancelling"))
        feeding = aside(feeder.claim)
        until_over_or_blocked(postgres_ledger, feeding)
        assert runs.cancel(db, run, desk.noon) == 5
    assert feeding.result() == []
    assert set(desk.states()) == {"cancelled"}


def test_a_load_into_a_run_that_is_cancelled_meanwhile(
    postgres_ledger: Ledger,
    postgres_ledger_url: str,
    desk_of: Callable[[Ledger], "Desk"],
    opened: Callable[[str], Ledger],
    at_once: Callable[..., Any],
) -> None:
    """People who are loaded while the campaign is being cancelled are cancelled with it."""
    desk, loader = desk_of(postgres_ledger), opened(postgres_ledger_url)
    desk.load(desk.campaign(), desk.people(1))
    load, cancelling = at_once(
        loader,
        "INSERT INTO recipients",
        lambda: desk_of(loader).load(desk.campaign(), desk.people(5)),
        desk.cancel,
    )
    assert (load.result().accepted, cancelling.result()) == (4, 5)
    assert desk.states() == ["cancelled"] * 5


@pytest.mark.parametrize(
    ("state", "finishes"),
    [
        (AttemptState.QUEUED, False),
        (AttemptState.RETURNED, False),
        (AttemptState.DIALING, False),
        (AttemptState.PLACED, False),
        (AttemptState.ENDED, True),
        (AttemptState.REFUSED, True),
        (AttemptState.UNKNOWN, False),
    ],
)
def test_a_run_finishes_when_nobody_is_waiting_or_in_progress(
    desk: "Desk", state: AttemptState, finishes: bool
) -> None:
    """A run is over when all its recipients are settled, or held for the operator to say."""
    run = desk.started(1)
    desk.bring(desk.claim()[0], state)
    later = desk.noon + timedelta(hours=1)
    assert finish(desk.ledger, later) == int(finishes)
    assert row_of(desk, run).finished_at == (later if finishes else None)
    assert desk.run().state == (RunState.FINISHED if finishes else RunState.RUNNING)
    assert finish(desk.ledger, later) == 0


def test_a_late_answer_reopens_a_finished_run(desk: "Desk") -> None:
    """When a held call turns out to have been placed, its run goes on, and a redial is not lost in it."""
    desk.started(1)
    (claimed,) = desk.claim()
    desk.bring(claimed, AttemptState.UNKNOWN)
    assert desk.not_found(claimed, redial=False)
    assert finish(desk.ledger, desk.noon) == 1
    assert desk.placed(claimed)
    assert (desk.run().state, desk.states()) == (RunState.RUNNING, ["in_progress"])
    assert finish(desk.ledger, desk.noon) == 0
    assert desk.ended(claimed, Outcome.BUSY, redial_at=desk.noon)
    assert len(desk.claim()) == 1


def test_a_late_answer_does_not_reopen_a_cancelled_run(desk: "Desk") -> None:
    """Cancelled is for ever, whatever is heard of its calls."""
    desk.started(1)
    (claimed,) = desk.claim()
    desk.bring(claimed, AttemptState.UNKNOWN)
    desk.cancel()
    assert desk.placed(claimed)
    assert desk.run().state == RunState.CANCELLED


def test_the_nearest_name_is_offered(desk: "Desk") -> None:
    """A name that does not exist is a Mistake with the nearest one, or with all there are."""
    with pytest.raises(Mistake, match="the ledger is empty; load a list first"):
        desk.run("reminders")
    desk.load(desk.campaign("reminders"), [])
    desk.load(desk.campaign("winback"), [])
    with pytest.raises(Mistake, match=r"there is no campaign 'remidners'; did you mean reminders\?"):
        desk.run("remidners")
    with pytest.raises(Mistake, match="there are: reminders, winback"):
        desk.run("zzz")


def test_the_latest_run_counts(desk: "Desk") -> None:
    """A campaign with several runs is known by the newest, by name and in the list of all."""
    desk.load(desk.campaign("b"), [])
    desk.load(desk.campaign("a"), [])
    first = desk.run("b")
    with desk.ledger.write() as db:
        again = {"campaign_id": first.campaign_id, "number": 2, "state": "loaded", "loaded_at": desk.noon}
        db.execute(run_rows.insert().values(again))
    assert (first.number, desk.run("b").number) == (1, 2)
    with desk.ledger.read() as db:
        assert [(run.name, run.number) for run in runs.latest_runs(db)] == [("a", 1), ("b", 2)]


def test_a_started_run_joins_the_others(desk: "Desk") -> None:
    """A run that starts later begins beside the one whose turn is next, and does not take every slot."""
    desk.started(300, "old")
    desk.claim(keep_queued=100)
    desk.started(300, "new")
    for claimed in desk.claim(keep_queued=120):
        assert claimed
    queued = {name: len(desk.attempts(name)) for name in ("old", "new")}
    assert queued == {"old": 110, "new": 10}
