"""Schedules in the ledger: entered, changed, paused, ended; and each fire one run, whoever begins it."""

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from campaigns.attempt import Outcome, RunState
from campaigns.campaign import Campaign
from campaigns.ledger import Ledger, runs, schedules
from campaigns.ledger.lists import Loaded, put_list, put_schedule
from campaigns.ledger.moves import Order
from campaigns.ledger.schedules import FireGone, Scheduled, Skipped, scheduled
from campaigns.ledger.staging import Batch
from campaigns.mistake import Mistake
from tests.batches import laid_out

if TYPE_CHECKING:
    from tests.conftest import Desk

FOLDER = Path("/srv/lists")
DAILY = {"cron": "0 13 * * *", "time_zone": "UTC", "list": "{date}.csv"}
ONE = datetime(2026, 3, 2, 13, tzinfo=UTC)
"""The first fire of DAILY; the desk's time is noon."""
DAY = timedelta(days=1)


def of(desk: "Desk", **more: Any) -> Campaign:
    """A campaign with a schedule."""
    return desk.campaign(**({"schedule": DAILY} | more))


def the_one(ledger: Ledger) -> Scheduled:
    """The only schedule that there is."""
    (each,) = scheduled(ledger)
    return each


def begin(
    desk: "Desk", each: Scheduled, at: datetime, count: int = 3, ledger: Ledger | None = None
) -> Loaded:
    """A fire becomes a run of so many people, always the same ones."""
    return put_list(
        ledger or desk.ledger,
        each.campaign,
        laid_out(desk.people(count)),
        file_name="people.csv",
        columns=("phone", "name"),
        now=at,
        fire=each.fire(at),
    )


@pytest.fixture
def daily(desk: "Desk") -> Scheduled:
    """A schedule, entered at noon."""
    put_schedule(desk.ledger, of(desk), FOLDER, desk.noon, exchange="connect")
    return the_one(desk.ledger)


# --- entering it ------------------------------------------------------------------------------------------


def test_entered_schedule_fires_from_then_on(desk: "Desk", daily: Scheduled) -> None:
    """Nothing of the past is to fire; its lists are found from the folder of the campaign's file."""
    assert (daily.since, daily.last, daily.trouble, daily.paused) == (desk.noon, None, None, None)
    assert daily.list_path(ONE) == FOLDER / "2026-03-02.csv"


def test_entering_it_again_changes_nothing_but_what_has_changed(desk: "Desk", daily: Scheduled) -> None:
    """The same file is no news; another grace holds, and takes nothing back that is to fire."""
    again = put_schedule(desk.ledger, of(desk), FOLDER, ONE + DAY, exchange="connect")
    assert (again.new, again.changes) == (False, ())
    assert the_one(desk.ledger).since == desk.noon
    other = put_schedule(
        desk.ledger, of(desk, schedule=DAILY | {"grace": "2h"}), Path("/other"), ONE + DAY, exchange="connect"
    )
    assert [change.key for change in other.changes] == ["schedule.grace"]
    each = the_one(desk.ledger)
    assert (each.since, each.folder, each.options.grace) == (desk.noon, "/other", timedelta(hours=2))


@pytest.mark.parametrize("how", ["add", "load"])
def test_other_times_hold_from_now_on(desk: "Desk", daily: Scheduled, how: str) -> None:
    """What the new times would have been in the past is not missed, and what waits for its list is over."""
    assert schedules.wait(desk.ledger, daily, ONE, "people.csv: there is no such file", ONE)
    later = ONE + timedelta(minutes=10)
    other = of(desk, schedule=DAILY | {"cron": "30 12 * * *"})
    if how == "add":
        put_schedule(desk.ledger, other, FOLDER, later, exchange="connect")
    else:
        desk.load(other, desk.people(1), now=later)
    each = the_one(desk.ledger)
    assert (each.options.cron, each.since) == ("30 12 * * *", later)
    assert each.trouble is not None
    assert (each.trouble.state, each.trouble.reason) == ("skipped", "the schedule was changed")


def test_file_without_schedule_any_more_ends_it(desk: "Desk", daily: Scheduled) -> None:
    """Whoever takes the table out of the file and loads that does not expect another run."""
    desk.load(desk.campaign(), desk.people(1))
    assert scheduled(desk.ledger) == []
    # And with it in the file again, it is not entered by the way.
    desk.load(of(desk), desk.people(1))
    assert scheduled(desk.ledger) == []


def test_loading_a_list_enters_no_schedule(desk: "Desk") -> None:
    """A list is loaded as always; runs begin by themselves only where somebody has said so."""
    desk.load(of(desk), desk.people(2))
    assert scheduled(desk.ledger) == []
    assert desk.run().state == RunState.LOADED


@pytest.mark.parametrize("how", ["changed", "entered anew"])
def test_clock_that_is_behind_repeats_no_fire(desk: "Desk", daily: Scheduled, how: str) -> None:
    """An operator's clock is ten seconds behind the scheduler's: what has become a run just now stays one."""
    begin(desk, daily, ONE)
    if how == "entered anew":
        with desk.ledger.write() as db:
            schedules.end(db, daily.campaign_id)
    other = of(desk, schedule=DAILY | {"cron": "0 13,14 * * *"})
    put_schedule(desk.ledger, other, FOLDER, ONE - timedelta(seconds=10), exchange="connect")
    assert the_one(desk.ledger).since == ONE


def test_ended_schedule_is_told_nothing_of_when_it_comes_again(desk: "Desk", daily: Scheduled) -> None:
    """Entered anew, it begins from then on, without the old one's troubles."""
    assert schedules.wait(desk.ledger, daily, ONE, "gone", ONE)
    with desk.ledger.write() as db:
        assert schedules.end(db, daily.campaign_id)
        assert not schedules.end(db, daily.campaign_id)
    assert scheduled(desk.ledger) == []
    assert put_schedule(desk.ledger, of(desk), FOLDER, ONE + DAY, exchange="connect").new
    each = the_one(desk.ledger)
    assert (each.since, each.trouble) == (ONE + DAY, None)


# --- a fire becomes a run ---------------------------------------------------------------------------------


def test_fire_is_a_run_of_its_own(desk: "Desk", daily: Scheduled) -> None:
    """It runs at once, everybody on the list is in it, and the fire is done."""
    assert begin(desk, daily, ONE).accepted == 3
    run = desk.run()
    assert (run.number, run.state, desk.states()) == (1, RunState.RUNNING, ["waiting"] * 3)
    each = the_one(desk.ledger)
    assert each.since == ONE
    assert each.last is not None
    assert (each.last.number, each.last.fire_at) == (1, ONE)


def test_same_people_have_other_tokens_in_the_next_run(desk: "Desk", daily: Scheduled) -> None:
    """Each fire calls its list, whoever was on the last one; and no token is used twice."""
    begin(desk, daily, ONE)
    first = desk.claim(now=ONE)
    begin(desk, the_one(desk.ledger), ONE + DAY)
    second = [claim for claim in desk.claim(now=ONE + DAY) if claim not in first]
    assert desk.run().number == 2
    assert (len(first), len(second)) == (3, 3)
    assert not {claim.client_token for claim in first} & {claim.client_token for claim in second}


def test_fire_comes_after_what_was_loaded_by_hand(desk: "Desk", daily: Scheduled) -> None:
    """A list that somebody loads is in the run there is; the next fire begins another, cancelled or not."""
    desk.load(of(desk), desk.people(2))
    begin(desk, daily, ONE)
    assert desk.run().number == 2
    with desk.ledger.write() as db:
        runs.cancel(db, runs.find(db, "reminders"), ONE)
    begin(desk, the_one(desk.ledger), ONE + DAY)
    assert (desk.run().number, desk.run().state) == (3, RunState.RUNNING)


def test_fire_is_begun_once(desk: "Desk", daily: Scheduled) -> None:
    """Whoever has read the schedule before comes too late, and leaves nothing behind."""
    begin(desk, daily, ONE)
    with pytest.raises(FireGone):
        begin(desk, daily, ONE)
    assert (desk.run().number, len(desk.recipients())) == (1, 3)
    assert not schedules.wait(desk.ledger, daily, ONE, "no list", ONE)
    assert not schedules.skip(desk.ledger, daily, [Skipped(ONE, "late")], ONE)
    assert the_one(desk.ledger).trouble is None


def test_two_schedulers_make_one_run(desk: "Desk", second_ledger: Ledger, daily: Scheduled) -> None:
    """At the same instant, in two processes: one begins it, and the other says nothing."""
    together = threading.Barrier(2)
    became: list[str] = []

    def scheduler(ledger: Ledger) -> None:
        (each,) = scheduled(ledger)
        together.wait(30)
        try:
            begin(desk, each, ONE, 500, ledger)
            became.append("a run")
        except FireGone:
            became.append("nothing")

    threads = [threading.Thread(target=scheduler, args=(ledger,)) for ledger in (desk.ledger, second_ledger)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(became) == ["a run", "nothing"]
    assert (desk.run().number, len(desk.recipients())) == (1, 500)


@pytest.mark.parametrize("what", ["other choices", "paused", "its run paused", "ended", "skipped"])
def test_fire_is_gone_when_anything_has_changed_meanwhile(desk: "Desk", what: str) -> None:
    """While a long list is read, an operator decides otherwise: nobody on it is called."""
    put_schedule(desk.ledger, of(desk), FOLDER, desk.noon, exchange="connect")
    begin(desk, the_one(desk.ledger), ONE)
    each = the_one(desk.ledger)
    changes: dict[str, Callable[[], Any]] = {
        "other choices": lambda: put_schedule(
            desk.ledger, of(desk, pacing={"weight": 2}), FOLDER, desk.noon, exchange="connect"
        ),
        "paused": lambda: _with(desk, lambda db: schedules.pause(db, each.campaign_id, "by an operator")),
        "its run paused": desk.pause,
        "ended": lambda: _with(desk, lambda db: schedules.end(db, each.campaign_id)),
        "skipped": lambda: schedules.skip(desk.ledger, each, [Skipped(ONE + DAY, "late")], ONE + DAY),
    }
    assert changes[what]()
    with pytest.raises(FireGone):
        begin(desk, each, ONE + DAY)
    assert desk.run().number == 1


def _with(desk: "Desk", does: Callable[[Any], Any]) -> Any:
    with desk.ledger.write() as db:
        return does(db)


def test_campaign_is_not_put_back_to_what_the_fire_has_read(
    desk: "Desk", second_ledger: Ledger, daily: Scheduled
) -> None:
    """An edited file that is loaded while a fire reads its list stays in force."""

    def batches() -> Iterator[Batch]:
        yield from laid_out(desk.people(2))
        put_schedule(second_ledger, of(desk, pacing={"weight": 5}), FOLDER, desk.noon, exchange="connect")

    with pytest.raises(FireGone):
        put_list(
            desk.ledger,
            daily.campaign,
            batches(),
            file_name="l",
            columns=(),
            now=ONE,
            fire=daily.fire(ONE),
        )
    assert the_one(desk.ledger).campaign.pacing.weight == 5


# --- a fire that does not become one ----------------------------------------------------------------------


def test_trouble_is_told_until_the_next_run(desk: "Desk", daily: Scheduled) -> None:
    """A skipped fire is kept with what kept it waiting, and is told of until a later one has become a run."""
    assert schedules.wait(desk.ledger, daily, ONE, "people.csv: there is no such file", ONE)
    assert schedules.wait(desk.ledger, daily, ONE, "people.csv: is empty", ONE + timedelta(minutes=1))
    assert schedules.skip(desk.ledger, daily, [Skipped(ONE, "late")], ONE + timedelta(hours=1))
    each = the_one(desk.ledger)
    assert each.trouble is not None
    assert (each.trouble.fire_at, each.trouble.state, each.trouble.reason) == (
        ONE,
        "skipped",
        "people.csv: is empty",
    )
    begin(desk, each, ONE + DAY)
    assert the_one(desk.ledger).trouble is None


def test_waiting_fire_that_becomes_a_run_leaves_no_trouble(desk: "Desk", daily: Scheduled) -> None:
    """Its list came after all."""
    assert schedules.wait(desk.ledger, daily, ONE, "gone", ONE)
    begin(desk, the_one(desk.ledger), ONE)
    each = the_one(desk.ledger)
    assert (each.trouble, each.since) == (None, ONE)


# --- an operator and a campaign of several runs -----------------------------------------------------------


@pytest.fixture
def two_runs(desk: "Desk", daily: Scheduled) -> Scheduled:
    """Two fires whose runs are both not over."""
    begin(desk, daily, ONE)
    begin(desk, the_one(desk.ledger), ONE + DAY, 5)
    return the_one(desk.ledger)


def states(desk: "Desk", campaign_id: int) -> list[RunState]:
    """Of all runs that are not over and the latest, in order."""
    with desk.ledger.read() as db:
        return [run.state for run in runs.all_of(db, runs.find(db, "reminders"))]


def test_pausing_stops_every_run_and_the_schedule(desk: "Desk", two_runs: Scheduled) -> None:
    """An operator who pauses a campaign means that nobody is called any more, from whichever list."""
    with desk.ledger.write() as db:
        assert runs.pause_all(db, runs.find(db, "reminders"), "by an operator")
    assert states(desk, two_runs.campaign_id) == [RunState.PAUSED] * 2
    assert the_one(desk.ledger).paused == "by an operator"
    assert desk.claim(now=ONE + DAY) == []
    with desk.ledger.write() as db:
        assert not runs.pause_all(db, runs.find(db, "reminders"), "by an operator")
        latest = runs.find(db, "reminders")
        assert runs.start_all(db, latest, ONE, resumed=schedules.resume(db, latest.campaign_id)) == "running"
    assert states(desk, two_runs.campaign_id) == [RunState.RUNNING] * 2
    assert the_one(desk.ledger).paused is None


def bidden(ledger: Ledger, what: str) -> Any:
    """What `dialer cancel`, `pause` or `start` does to the ledger."""
    with ledger.write() as db:
        latest = runs.find_to_come(db, "reminders")
        if what == "cancel":
            return runs.cancel_all(db, latest, ONE + DAY)
        if what == "pause":
            return runs.pause_all(db, latest, "by an operator")
        return runs.start_all(db, latest, ONE + DAY)


@pytest.fixture
def both_at_once(
    postgres_ledger: Ledger,
    postgres_ledger_url: str,
    opened: Callable[[str], Ledger],
    at_once: Callable[..., Any],
) -> Callable[..., tuple[Any, Any]]:
    """The first one is held before its commit until the second one waits for it or is through."""

    def run(first: Callable[[Ledger], Any], after: str, second: Callable[[Ledger], Any]) -> tuple[Any, Any]:
        other = opened(postgres_ledger_url)
        going, coming = at_once(other, after, lambda: first(other), lambda: second(postgres_ledger))
        return going.result(), coming.result()

    return run


@pytest.mark.parametrize(
    ("what", "answer", "dialed"), [("cancel", 6, 0), ("pause", True, 0), ("start", RunState.RUNNING, 3)]
)
def test_operator_while_a_fire_is_committed(
    postgres_ledger: Ledger,
    desk_of: Callable[[Ledger], "Desk"],
    both_at_once: Callable[..., tuple[Any, Any]],
    what: str,
    answer: object,
    dialed: int,
) -> None:
    """The run that has just begun is one of the campaign's: cancelled or paused, nobody in it is dialed."""
    desk = desk_of(postgres_ledger)
    put_schedule(postgres_ledger, of(desk), FOLDER, desk.noon, exchange="connect")
    begin(desk, the_one(postgres_ledger), ONE)
    if what == "start":
        # What the operator sees first cannot be started any more.
        desk.cancel()
    each = the_one(postgres_ledger)
    begun, answered = both_at_once(
        lambda ledger: begin(desk, each, ONE + DAY, ledger=ledger),
        "INSERT INTO recipients",
        lambda ledger: bidden(ledger, what),
    )
    assert (begun.accepted, answered, desk.run().number) == (3, answer, 2)
    claimed = desk.claim(now=ONE + DAY)
    assert [isinstance(desk.dial(one, now=ONE + DAY), Order) for one in claimed] == [True] * dialed


@pytest.mark.parametrize(("what", "answer"), [("cancel", 3), ("pause", True)])
def test_fire_while_an_operator_decides(
    postgres_ledger: Ledger,
    desk_of: Callable[[Ledger], "Desk"],
    both_at_once: Callable[..., tuple[Any, Any]],
    what: str,
    answer: object,
) -> None:
    """It waits for what is decided, and then begins no run."""
    desk = desk_of(postgres_ledger)
    put_schedule(postgres_ledger, of(desk), FOLDER, desk.noon, exchange="connect")
    begin(desk, the_one(postgres_ledger), ONE)
    each = the_one(postgres_ledger)

    def fire(ledger: Ledger) -> str:
        with pytest.raises(FireGone):
            begin(desk, each, ONE + DAY, ledger=ledger)
        return "gone"

    assert both_at_once(lambda ledger: bidden(ledger, what), "UPDATE runs", fire) == (answer, "gone")
    assert (desk.run().number, desk.claim(now=ONE + DAY)) == (1, [])


def test_pausing_between_two_runs_holds_the_next_one(desk: "Desk", daily: Scheduled) -> None:
    """Nobody is called just then, and nobody is to be called later either until it is resumed."""
    begin(desk, daily, ONE, 0)
    assert runs.finish(desk.ledger, ONE) == 1
    with desk.ledger.write() as db:
        assert runs.pause_all(db, runs.find(db, "reminders"), "by an operator")
    assert the_one(desk.ledger).paused == "by an operator"


def test_run_that_paused_itself_holds_the_next_one(desk: "Desk", two_runs: Scheduled) -> None:
    """What Connect refused to the last list it would refuse to the next one, and somebody has to look."""
    with desk.ledger.write() as db:
        first = runs.all_of(db, runs.find(db, "reminders"))[0]
        assert runs.pause(db, first.id, "AccessDenied: no", "AccessDenied")
    assert the_one(desk.ledger).paused == "AccessDenied: no"


def test_cancelling_gives_up_every_run_and_ends_the_schedule(desk: "Desk", two_runs: Scheduled) -> None:
    """Nobody on any list is called, and no other run begins."""
    with desk.ledger.write() as db:
        assert runs.cancel_all(db, runs.find(db, "reminders"), ONE + DAY) == 8
    assert desk.claim(now=ONE + DAY) == []
    assert scheduled(desk.ledger) == []
    with desk.ledger.read() as db:
        latest = runs.find(db, "reminders")
        assert runs.all_cancelled(db, latest)
        assert len(runs.cancelled_of(db, latest)) == 2
        assert schedules.leftovers(db, latest.campaign_id, latest.number) == []


def test_runs_that_are_not_over_are_told(desk: "Desk", two_runs: Scheduled) -> None:
    """A status shows the latest run, and says who still waits in those before it."""
    desk.claim(1, now=ONE)
    with desk.ledger.read() as db:
        (left,) = schedules.leftovers(db, two_runs.campaign_id, 2)
    assert (left.number, left.state, left.waiting + left.in_progress) == (1, RunState.RUNNING, 3)


def test_new_redial_rules_hold_for_every_run(desk: "Desk", daily: Scheduled) -> None:
    """Whoever waits for a redial in an earlier run is judged by them as well."""
    redial = {"max_attempts": 3, "busy": "1h"}
    put_schedule(desk.ledger, of(desk, redial=redial), FOLDER, desk.noon, exchange="connect")
    begin(desk, the_one(desk.ledger), ONE, 1)
    (claimed,) = desk.claim(now=ONE)
    desk.dial(claimed)
    desk.placed(claimed)
    desk.ended(claimed, Outcome.BUSY, redial_at=desk.noon + timedelta(hours=1))
    begin(desk, the_one(desk.ledger), ONE + DAY)
    entered = put_schedule(
        desk.ledger, of(desk, redial=redial | {"busy": "4h"}), FOLDER, ONE + DAY, exchange="connect"
    )
    assert (entered.new, entered.judged.moved) == (False, 1)
    assert desk.person(claimed).due_at == desk.noon + timedelta(hours=4)


def test_campaign_that_never_fired_is_there(desk: "Desk", daily: Scheduled) -> None:
    """It has a run to come, in which there is nobody; whoever asks for people is told what comes next."""
    with desk.ledger.read() as db:
        to_come = runs.find_to_come(db, "reminders")
        assert (to_come.number, to_come.state, runs.latest_runs(db)) == (0, RunState.LOADED, [to_come])
        with pytest.raises(Mistake, match=r"^reminders has not begun a run yet; .*dialer schedule$"):
            runs.find(db, "reminders")
        with pytest.raises(Mistake, match="did you mean reminders"):
            runs.find_to_come(db, "remindres")
    begin(desk, daily, ONE)
    with desk.ledger.read() as db:
        assert [run.number for run in runs.latest_runs(db)] == [1]
