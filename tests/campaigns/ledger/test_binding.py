"""Which side dials: decided by a command, before anything can be claimed, and for ever."""

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select, text

from campaigns.attempt import Outcome, RunState
from campaigns.ledger import runs, schedules
from campaigns.ledger.binding import decided
from campaigns.ledger.claims import claim, somebody_is_due
from campaigns.ledger.in_progress import CallLimit
from campaigns.ledger.lists import put_list, put_schedule
from campaigns.ledger.requeues import Asked, ask_for_another
from campaigns.ledger.schedules import scheduled
from campaigns.ledger.tables import campaigns
from campaigns.mistake import Mistake
from campaigns.side import Exchange
from tests.batches import laid_out

if TYPE_CHECKING:
    from tests.conftest import Desk

HOURLY = {"cron": "0 * * * *", "time_zone": "UTC", "list": "people.csv"}
HOUR = timedelta(hours=1)
SIDES: list[Exchange] = ["connect", "sandbox"]


def other(exchange: Exchange) -> Exchange:
    return "connect" if exchange == "sandbox" else "sandbox"


@pytest.fixture(params=SIDES)
def side(request: pytest.FixtureRequest) -> Exchange:
    """Each test that uses it is run for both sides."""
    found: Exchange = request.param
    return found


def of_campaign(desk: "Desk", name: str = "reminders") -> str | None:
    with desk.ledger.read() as db:
        return decided(db, name)


def test_the_start_decides_before_anything_is_claimed(desk: "Desk", side: Exchange) -> None:
    """Loading decides nothing; from the start on, campaign and run say which side dials them."""
    desk.load(desk.campaign(), desk.people(1))
    assert (of_campaign(desk), desk.run().exchange) == (None, None)
    desk.start(exchange=side)
    assert (of_campaign(desk), desk.run().exchange, desk.run().state) == (side, side, RunState.RUNNING)
    assert desk.attempts() == []


@pytest.mark.parametrize("first", SIDES)
def test_all_of_a_trial_stays_in_the_sandbox(desk: "Desk", first: Exchange) -> None:
    """Both sides claim, in both orders, as long as there is anybody: 8 of 8 are the sandbox's."""
    desk.started(8, exchange="sandbox")
    claimed: dict[Exchange, int] = {"connect": 0, "sandbox": 0}
    for _ in range(4):
        for exchange in (first, other(first)):
            claimed[exchange] += len(desk.claim(keep_queued=3 + claimed[exchange], exchange=exchange))
    assert claimed == {"connect": 0, "sandbox": 8}


def test_a_run_without_a_decision_is_claimed_by_neither_side(desk: "Desk") -> None:
    """Also where it is running, as in a ledger of an older program; a start that decides lets it go on."""
    desk.load(desk.campaign(), desk.people(2))
    desk.start(exchange=None)
    assert desk.run().state == RunState.RUNNING
    limit = CallLimit(10, timedelta(seconds=300))
    for exchange in SIDES:
        assert desk.claim(exchange=exchange) == []
        instances = [desk.campaign().connect.instance_id]
        assert not somebody_is_due(desk.ledger, exchange, instances, desk.noon)
        assert desk.claim(exchange=exchange, limit=limit) == []
    desk.start(exchange="sandbox")
    assert (desk.claim(exchange="connect"), len(desk.claim(exchange="sandbox"))) == ([], 2)


def test_a_trial_begun_outside_its_hours_is_never_a_real_call(desk: "Desk") -> None:
    """Nothing was claimed while its hours were closed; the real workers that come later claim nothing."""
    desk.started(3, exchange="sandbox", calling_hours={"monday": "14:00-20:00", "time_zone": "UTC"})
    assert desk.claim(exchange="sandbox") == []
    later = desk.noon + 3 * HOUR
    assert desk.claim(now=later, exchange="connect") == []
    assert len(desk.claim(now=later, exchange="sandbox")) == 3


def test_what_was_decided_stays(desk: "Desk", side: Exchange) -> None:
    """The other side is refused with what to do instead, and nothing is changed by it."""
    desk.load(desk.campaign(), desk.people(2))
    desk.start(exchange=side)
    desk.pause()
    with pytest.raises(Mistake, match=r"can only go on there: run it with.* --sandbox.* another name"):
        desk.start(exchange=other(side))
    assert (of_campaign(desk), desk.run().exchange, desk.run().state) == (side, side, RunState.PAUSED)
    desk.start(exchange=None)
    assert (desk.run().exchange, desk.run().state) == (side, RunState.RUNNING)


def test_the_decision_and_the_start_are_one_transaction(desk: "Desk") -> None:
    """A process that dies before its commit leaves neither."""
    desk.load(desk.campaign(), desk.people(1))

    def start_and_die() -> None:
        with desk.ledger.write() as db:
            runs.start(db, runs.find(db, "reminders"), desk.noon, exchange="connect")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        start_and_die()
    assert (of_campaign(desk), desk.run().exchange, desk.run().state) == (None, None, RunState.LOADED)


def test_of_two_commands_that_decide_at_once_one_is_refused(
    two_desks: "tuple[Desk, Desk]", at_once: Any
) -> None:
    """The second waits for the first and finds what that has decided."""
    one, two = two_desks
    one.load(one.campaign(), one.people(2))
    first, second = at_once(
        one.ledger,
        "UPDATE campaigns SET exchange",
        lambda: one.start(exchange="sandbox"),
        lambda: two.start(exchange="connect"),
    )
    first.result()
    with pytest.raises(Mistake, match="was begun in the sandbox"):
        second.result()
    assert (of_campaign(one), one.run().exchange) == ("sandbox", "sandbox")


def test_all_undecided_runs_of_a_campaign_are_decided_at_once(desk: "Desk") -> None:
    """Older runs that are not over go on with the latest; finished ones may, by a requeue."""
    desk.load(desk.campaign(schedule=HOURLY), desk.people(1))
    with desk.ledger.write() as db:
        of = {"campaign": runs.find(db, "reminders").campaign_id, "now": 0}
        for number, state in ((2, "running"), (3, "finished"), (4, "paused")):
            db.execute(
                text(
                    "INSERT INTO runs (campaign_id, number, state, loaded_at)"
                    " VALUES (:campaign, :number, :state, :now)"
                ),
                of | {"number": number, "state": state},
            )
        runs.start_all(db, runs.find(db, "reminders"), desk.noon, exchange="sandbox")
        found = db.execute(select(runs.runs.c.number, runs.runs.c.exchange).order_by(runs.runs.c.number))
        assert [tuple(row) for row in found] == [(n, "sandbox") for n in (1, 2, 3, 4)]


def enter(desk: "Desk", exchange: Exchange, **tables: Any) -> None:
    campaign = desk.campaign(schedule=HOURLY, **tables)
    put_schedule(desk.ledger, campaign, Path("/lists"), desk.noon, exchange=exchange)


def fire(desk: "Desk") -> None:
    """The control process begins the run of one o'clock."""
    (each,) = scheduled(desk.ledger)
    put_list(
        desk.ledger,
        each.campaign,
        laid_out(desk.people(2)),
        file_name="people.csv",
        columns=("phone", "name"),
        now=desk.noon + HOUR,
        fire=each.fire(desk.noon + HOUR),
    )


def test_a_schedules_runs_are_those_of_the_side_it_was_entered_for(desk: "Desk", side: Exchange) -> None:
    """From their first moment, which is already running."""
    enter(desk, side)
    assert [each.exchange for each in scheduled(desk.ledger, side)] == [side]
    assert scheduled(desk.ledger, other(side)) == []
    fire(desk)
    assert (desk.run().exchange, desk.run().state) == (side, RunState.RUNNING)
    assert desk.claim(now=desk.noon + HOUR, exchange=other(side)) == []
    assert len(desk.claim(now=desk.noon + HOUR, exchange=side)) == 2


def test_an_entered_schedule_cannot_be_entered_for_the_other_side(desk: "Desk", side: Exchange) -> None:
    """Nor does what has changed in its file hold then."""
    enter(desk, side)
    with pytest.raises(Mistake, match="another name"):
        enter(desk, other(side), pacing={"weight": 3})
    (each,) = scheduled(desk.ledger)
    assert (each.exchange, each.campaign.pacing.weight) == (side, 1)


def test_a_schedule_without_a_decision_begins_no_run(desk: "Desk") -> None:
    """As in a ledger of an older program. No side has it among its schedules, and no run is begun of it."""
    enter(desk, "connect")
    with desk.ledger.write() as db:
        db.execute(campaigns.update().values(exchange=None))
    assert [scheduled(desk.ledger, each) for each in SIDES] == [[], []]
    with pytest.raises(Mistake, match="not decided"):
        fire(desk)
    with desk.ledger.read() as db:
        assert runs.find_to_come(db, "reminders").number == 0
        each = schedules.schedule_of(db, runs.find_to_come(db, "reminders").campaign_id)
    assert each is not None
    assert each.since == desk.noon
    enter(desk, "sandbox")
    fire(desk)
    assert desk.run().exchange == "sandbox"


def test_a_new_run_takes_the_campaigns_side(desk: "Desk", side: Exchange) -> None:
    """A list loaded into a campaign that was entered as a schedule is a run of the same side."""
    enter(desk, side)
    desk.load(desk.campaign(schedule=HOURLY), desk.people(1))
    assert (desk.run().number, desk.run().exchange, desk.run().state) == (1, side, RunState.LOADED)


def test_a_requeue_keeps_the_side(desk: "Desk") -> None:
    """Who is dialed again in a finished trial is dialed in the sandbox again."""
    desk.started(1, exchange="sandbox")
    (claimed,) = desk.claim(exchange="sandbox")
    desk.dial(claimed, exchange="sandbox")
    assert desk.placed(claimed)
    assert desk.ended(claimed)
    assert runs.finish(desk.ledger, desk.noon) == 1
    asked = Asked(frozenset({Outcome.ANSWERED}))
    assert ask_for_another(desk.ledger, desk.run(), asked, [claimed.attempt_id], desk.noon) == 1
    assert (desk.run().state, desk.run().exchange) == (RunState.RUNNING, "sandbox")
    assert (desk.claim(), len(desk.claim(exchange="sandbox"))) == ([], 1)


def test_where_the_calls_of_a_run_go_is_kept_with_it(desk: "Desk") -> None:
    """The address of the latest claims; none where it is AWS's own."""
    desk.started(3)
    for endpoint in ("https://proxy.internal:8443", None):
        claim(
            desk.ledger,
            keep_queued=1 if endpoint else 3,
            exchange="connect",
            now=desk.noon,
            lease=desk.lease,
            ahead=timedelta(seconds=3),
            endpoint=endpoint,
        )
        assert desk.run().endpoint == endpoint
