"""A trial is kept apart from real calls of the same campaign, repeated, and thrown away."""

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import func, select

from campaigns.attempt import AttemptState, Outcome, RunState
from campaigns.ledger.binding import decided
from campaigns.ledger.drop_keys import drop, put_back
from campaigns.ledger.lists import put_schedule
from campaigns.ledger.outcomes import mark_ended
from campaigns.ledger.runs import finish
from campaigns.ledger.schedules import scheduled
from campaigns.ledger.suppressions import Number, put_numbers
from campaigns.ledger.tables import (
    attempts,
    campaigns,
    fires,
    loads,
    metadata,
    recipients,
    suppression_history,
    suppressions,
)
from campaigns.ledger.trials import calls_in_progress, discard, is_over, set_aside
from campaigns.mistake import Mistake
from campaigns.report import every_status, status

if TYPE_CHECKING:
    from tests.conftest import Desk

HOUR = timedelta(hours=1)
LIMITED = {"limits": {"per_number_per_day": 1}}


def tried(desk: "Desk", count: int, name: str = "reminders", **tables: Any) -> list[Any]:
    """A trial of so many people, all of whom the sandbox has called. Its claims."""
    desk.load(desk.campaign(name, **tables), desk.people(count))
    desk.start(name, exchange="sandbox")
    claims = desk.claim(exchange="sandbox")
    for each in claims:
        desk.dial(each, exchange="sandbox")
        desk.placed(each)
        desk.ended(each)
    return claims


def aside(desk: "Desk", name: str = "reminders") -> str | None:
    with desk.ledger.write() as db:
        return set_aside(db, name, desk.noon)


def thrown_away(desk: "Desk", name: str = "reminders") -> list[str]:
    with desk.ledger.write() as db:
        return discard(db, name, desk.noon)


def count(desk: "Desk", table: Any) -> int:
    with desk.ledger.read() as db:
        return int(db.execute(select(func.count()).select_from(table)).scalar_one())


def test_the_same_people_are_called_for_real_after_a_trial(desk: "Desk") -> None:
    """All of them once, under the same name, with other tokens, however strict the limits are."""
    trial = tried(desk, 5, **LIMITED)
    assert aside(desk) == "reminders (trial 1)"
    loaded = desk.load(desk.campaign(**LIMITED), desk.people(5))
    assert (loaded.accepted, loaded.duplicates) == (5, 0)
    desk.start(exchange="connect")
    assert desk.claim(exchange="sandbox") == []
    real = desk.claim(exchange="connect")
    assert len(real) == 5
    tokens = {desk.attempt(each).client_token for each in trial + real}
    assert len(tokens) == 10
    assert (desk.run().exchange, desk.run().number) == ("connect", 2)


def test_the_trial_can_still_be_looked_at(desk: "Desk") -> None:
    """Its people, calls and figures are those of a campaign of its own."""
    tried(desk, 3)
    with desk.ledger.write() as db:
        before = [dict(row._mapping) for row in db.execute(select(attempts).order_by(attempts.c.id))]
    kept = aside(desk)
    assert kept is not None
    found = status(desk.ledger, kept, desk.noon)
    assert (found.run.exchange, found.as_json()["recipients"]["done"]) == ("sandbox", 3)
    with desk.ledger.read() as db:
        assert [dict(row._mapping) for row in db.execute(select(attempts).order_by(attempts.c.id))] == before
    now = status(desk.ledger, "reminders", desk.noon)
    assert (now.run.exchange, now.run.state, now.as_json()["recipients"]["total"]) == (
        None,
        RunState.LOADED,
        0,
    )


def test_who_waits_in_a_trial_is_not_called_by_either_side(desk: "Desk") -> None:
    """A trial that is set apart is over: what is queued goes back, and neither side claims it."""
    desk.load(desk.campaign(), desk.people(4))
    desk.start(exchange="sandbox")
    claims = desk.claim(2, exchange="sandbox")
    kept = aside(desk)
    assert kept is not None
    assert set(desk.states(kept)) == {"cancelled"}
    assert desk.run(kept).state == RunState.CANCELLED
    for side in ("sandbox", "connect"):
        assert desk.claim(exchange=side) == []
    assert [type(desk.dial(each, exchange="sandbox")).__name__ for each in claims] == ["NotNow"] * 2


def test_a_call_of_the_trial_that_ends_later_is_the_trials(desk: "Desk") -> None:
    """In progress when the trial was set apart, its outcome is recorded there."""
    desk.load(desk.campaign(), desk.people(1))
    desk.start(exchange="sandbox")
    (claim,) = desk.claim(exchange="sandbox")
    desk.dial(claim, exchange="sandbox")
    desk.placed(claim)
    kept = aside(desk)
    assert kept is not None
    assert desk.ended(claim)
    assert [row.state for row in desk.attempts(kept)] == [AttemptState.ENDED]


@pytest.mark.parametrize("exchange", ["connect", None])
def test_what_is_no_trial_stays(desk: "Desk", exchange: Any) -> None:
    """Real and undecided campaigns are neither set apart nor thrown away."""
    desk.load(desk.campaign(), desk.people(2))
    if exchange:
        desk.start(exchange=exchange)
    assert aside(desk) is None
    with pytest.raises(Mistake, match="reminders has no trial"):
        thrown_away(desk)
    assert (len(desk.recipients()), desk.run().exchange) == (2, exchange)


def test_nobody_is_taken_for_anybody_of_another_campaign(desk: "Desk") -> None:
    """Names that begin alike, and the characters that SQL has a meaning for, make no difference."""
    names = ["a", "a_", "ab", "aXb", "a_b", "a.b", "a" * 100, "a" * 99 + "b", "a" * 81]
    for name in names:
        tried(desk, 1, name)
    for name in names:
        assert aside(desk, name) is not None
        tried(desk, 1, name)
    for name in names:
        gone = thrown_away(desk, name)
        assert len(gone) == 2, name
        assert all(len(each) <= 100 for each in gone)
    assert count(desk, campaigns) == len(names)


def test_a_trial_can_be_repeated_as_often_as_one_likes(desk: "Desk") -> None:
    """Each has all people and tokens of its own, and is kept under a number of its own."""
    kept = []
    for _ in range(3):
        tried(desk, 2)
        kept.append(aside(desk))
    assert kept == [f"reminders (trial {n})" for n in (1, 2, 3)]
    with desk.ledger.read() as db:
        assert len(set(db.execute(select(attempts.c.client_token)).scalars())) == 6


def test_thrown_away_nothing_of_a_trial_is_left(desk: "Desk") -> None:
    """No table has a row of it; another campaign's rows, real and tried, are all there."""
    tried(desk, 3, "another")
    before = {table.name: count(desk, table) for table in metadata.sorted_tables}
    tried(desk, 4)
    aside(desk)
    tried(desk, 4)
    assert thrown_away(desk) == ["reminders (trial 1)", "reminders (trial 2)"]
    after = {table.name: count(desk, table) for table in metadata.sorted_tables}
    # The campaign with its choices, and the run that waits for its next list.
    assert {name: after[name] - before[name] for name in after if after[name] != before[name]} == {
        "campaigns": 1,
        "runs": 1,
    }
    assert (count(desk, recipients), count(desk, attempts), count(desk, loads)) == (3, 3, 1)
    assert desk.run().number == 3
    assert desk.load(desk.campaign(), desk.people(4)).accepted == 4


def test_real_calls_are_never_thrown_away(desk: "Desk") -> None:
    """After trial and real run, the trial goes and the real calls stay."""
    tried(desk, 2)
    aside(desk)
    desk.load(desk.campaign(), desk.people(2))
    desk.start(exchange="connect")
    (one, two) = desk.claim(exchange="connect")
    desk.bring(one, AttemptState.ENDED)
    assert thrown_away(desk) == ["reminders (trial 1)"]
    assert [row.state for row in desk.attempts()] == ["ended", "queued"]
    assert desk.attempt(two).state == "queued"
    with pytest.raises(Mistake, match="has no trial"):
        thrown_away(desk)


def test_what_the_sandbox_made_up_suppresses_nobody_afterwards(desk: "Desk") -> None:
    """A number that a call of the trial has suppressed is called; one that an operator entered is not."""
    tables = {"suppression": {"outcomes": ["invalid_number"]}}
    desk.load(desk.campaign(**tables), desk.people(3))
    desk.start(exchange="sandbox")
    made_up, asked, _ = desk.claim(exchange="sandbox")
    desk.dial(made_up, exchange="sandbox")
    desk.placed(made_up)
    at = desk.noon + HOUR
    mark_ended(desk.ledger, made_up.attempt_id, Outcome.INVALID_NUMBER, ended_at=at, redial=lambda _: None)
    campaign_id = desk.run().campaign_id
    number = Number(desk.person(asked).phone, "asked not to be called", desk.noon)
    put_numbers(desk.ledger, [number], campaign_id=campaign_id, now=desk.noon)
    assert count(desk, suppressions) == 2
    aside(desk)
    loaded = desk.load(desk.campaign(**tables), desk.people(3))
    assert (loaded.accepted, loaded.suppressed) == (2, 1)
    with desk.ledger.read() as db:
        mine = suppressions.c.campaign_id == campaign_id
        assert list(db.execute(select(suppressions.c.phone).where(mine)).scalars()) == [number.phone]
        told = db.execute(select(suppression_history.c.phone).where(suppression_history.c.what == "removed"))
        assert list(told.scalars()) == [desk.person(made_up).phone]
    thrown_away(desk)
    assert count(desk, suppressions) == 1


def test_what_the_sandbox_made_up_goes_with_all_numbers_of_the_telephone(desk: "Desk") -> None:
    """A list of the real calls may have the other number of a telephone that the trial found wrong."""
    tables = {"suppression": {"outcomes": ["invalid_number"]}}
    (person,) = desk.people(1)
    desk.load(desk.campaign(**tables), [replace(person, phone="+5491123456789")])
    desk.start(exchange="sandbox")
    (made_up,) = desk.claim(exchange="sandbox")
    desk.dial(made_up, exchange="sandbox")
    desk.placed(made_up)
    at = desk.noon + HOUR
    mark_ended(desk.ledger, made_up.attempt_id, Outcome.INVALID_NUMBER, ended_at=at, redial=lambda _: None)
    assert count(desk, suppressions) == 2
    aside(desk)
    loaded = desk.load(desk.campaign(**tables), [replace(person, phone="+541123456789")])
    assert (loaded.accepted, loaded.suppressed) == (1, 0)


def test_who_was_taken_out_of_a_trial_is_not_called_for_real(desk: "Desk") -> None:
    """Nor in another trial; the same list does not put them back, and --undo does."""
    people = desk.people(3)
    desk.load(desk.campaign(), people)
    drop(desk.ledger, "reminders", ["key-2"], desk.noon)
    desk.start(exchange="sandbox")
    aside(desk)
    assert desk.load(desk.campaign(), people).kept_out == 1
    desk.start(exchange="sandbox")
    assert len(desk.claim(exchange="sandbox")) == 2
    aside(desk)
    loaded = desk.load(desk.campaign(), people)
    assert (loaded.accepted, loaded.kept_out) == (3, 1)
    desk.start(exchange="connect")
    assert {desk.person(each).key for each in desk.claim()} == {"key-1", "key-3"}
    put_back(desk.ledger, "reminders", ["key-2"], desk.noon)
    again = desk.load(desk.campaign(), people)
    assert (again.kept_out, again.gone.stay_dropped) == (0, 0)
    assert [desk.person(each).key for each in desk.claim()] == ["key-2"]


def test_a_schedule_of_a_trial_ends_with_it(desk: "Desk", tmp_path: Any) -> None:
    """Nothing is begun by itself until the schedule is added again, for whichever side."""
    hourly = {"cron": "0 * * * *", "time_zone": "UTC", "list": "people.csv"}
    campaign = desk.campaign(schedule=hourly)
    put_schedule(desk.ledger, campaign, tmp_path, desk.noon, exchange="sandbox")
    assert len(scheduled(desk.ledger)) == 1
    assert thrown_away(desk) == ["reminders (trial 1)"]
    assert (scheduled(desk.ledger), count(desk, fires)) == ([], 0)
    assert put_schedule(desk.ledger, campaign, tmp_path, desk.noon, exchange="connect").new
    with desk.ledger.read() as db:
        assert decided(db, "reminders") == "connect"


def test_appointments_of_a_trial_are_not_known(desk: "Desk") -> None:
    """With a [reminder], whose people are told apart across runs, all are called for real."""
    from dataclasses import replace

    campaign = desk.campaign(reminder={"at": "when", "before": "2h"})
    at = desk.noon + 5 * HOUR
    people = [replace(each, appointment_at=at, due_at=desk.noon, expires_at=at) for each in desk.people(3)]
    desk.load(campaign, people)
    desk.start(exchange="sandbox")
    assert len(desk.claim(exchange="sandbox")) == 3
    aside(desk)
    assert desk.load(campaign, people).accepted == 3
    desk.start(exchange="connect")
    assert len(desk.claim(exchange="connect")) == 3


def test_calls_in_progress_are_counted(desk: "Desk") -> None:
    """Also those of a trial that is set apart already; of real calls none."""
    desk.load(desk.campaign(), desk.people(3))
    desk.start(exchange="sandbox")
    one, two, _ = desk.claim(exchange="sandbox")
    desk.dial(one, exchange="sandbox")
    desk.placed(one)
    desk.ended(one)
    desk.dial(two, exchange="sandbox")
    desk.placed(two)

    def counted() -> int:
        with desk.ledger.read() as db:
            return calls_in_progress(db, "reminders")

    assert counted() == 2
    aside(desk)
    assert counted() == 1
    assert len(every_status(desk.ledger, desk.noon)) == 2


def test_a_trial_is_over_when_nobody_of_it_waits(desk: "Desk") -> None:
    """Loaded, running and paused trials are not; finished and cancelled ones are; real calls are no trial."""

    def over(name: str = "reminders") -> bool:
        with desk.ledger.read() as db:
            return is_over(db, name)

    assert not over("nobody")
    desk.load(desk.campaign(), desk.people(2))
    assert not over()
    desk.start(exchange="sandbox")
    assert not over()
    desk.pause()
    assert not over()
    desk.cancel()
    assert over()
    tried(desk, 1, "finished")
    finish(desk.ledger, desk.noon)
    assert over("finished")
    desk.started(1, "real", exchange="connect")
    desk.cancel("real")
    assert not over("real")
