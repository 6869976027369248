"""How often one number is rung, whatever campaigns it is in; and nobody rings it twice in a race."""

import itertools
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event, update

from campaigns.attempt import AttemptState, Outcome
from campaigns.ledger import Ledger
from campaigns.ledger.claims import bring_forward
from campaigns.ledger.limits import SOON, calls_to
from campaigns.ledger.moves import NotNow, Order, mark_refused, mark_returned
from campaigns.ledger.tables import attempts

if TYPE_CHECKING:
    from campaigns.ledger.claims import Claim
    from tests.conftest import Desk

HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)
DAY = timedelta(hours=24)
ONE_A_DAY = {"per_number_per_day": 1}


def campaigns_with(desk: "Desk", *limits: "dict[str, int] | None", people: int = 1) -> list[str]:
    """Running campaigns with the same people, one for each of these limits."""
    names = [f"campaign-{i}" for i in range(len(limits))]
    for name, limit in zip(names, limits, strict=True):
        desk.load(desk.campaign(name, limits=limit or {}), desk.people(people))
        desk.start(name)
    return names


def queued(
    desk: "Desk", *limits: "dict[str, int] | None", people: int = 1
) -> "tuple[list[str], list[Claim]]":
    """The same with all of them queued. The limits were not there yet when they were claimed."""
    names = campaigns_with(desk, *[None] * len(limits), people=people)
    claims = desk.claim()
    for name, limit in zip(names, limits, strict=True):
        desk.load(desk.campaign(name, limits=limit or {}), [])
    return names, claims


def claim_of(desk: "Desk", claims: "list[Claim]", name: str) -> "Claim":
    (claimed,) = [each for each in claims if desk.person(each).run_id == desk.run(name).id]
    return claimed


@pytest.mark.parametrize("release", ["one round", "two rounds"])
def test_the_numbers_of_one_telephone_share_its_limits(desk: "Desk", release: str) -> None:
    """One list writes it as it is called from abroad, another one as it is at home: it rings once a day."""
    (person,) = desk.people(1)
    for name, phone in (("abroad", "+5491123456789"), ("home", "+541123456789")):
        desk.load(desk.campaign(name, limits=ONE_A_DAY), [replace(person, phone=phone)])
    desk.start("abroad")
    if release == "one round":
        desk.start("home")
    (first,) = desk.claim()
    desk.start("home")
    assert desk.claim() == []
    assert isinstance(desk.dial(first), Order)
    desk.placed(first)
    desk.ended(first)
    assert desk.claim(now=desk.noon + HOUR) == []
    assert len(desk.claim(now=desk.noon + DAY + SECOND)) == 1


def test_two_numbers_of_one_telephone_that_are_queued_ring_once(desk: "Desk") -> None:
    """The limits came when both were queued: the second comes back at the dial instant."""
    (person,) = desk.people(1)
    people = [replace(person, key=phone, phone=phone) for phone in ("+970599123456", "+972599123456")]
    desk.load(desk.campaign("one"), people[:1])
    desk.load(desk.campaign("other"), people[1:])
    desk.start("one")
    desk.start("other")
    first, second = desk.claim()
    for name in ("one", "other"):
        desk.load(desk.campaign(name, limits=ONE_A_DAY), [])
    assert isinstance(desk.dial(first), Order)
    assert isinstance(desk.dial(second), NotNow)


def test_a_number_that_had_its_call_is_put_off(desk: "Desk") -> None:
    """Not claimed by the other campaign, but due when the 24 hours are over, marked as waiting for that."""
    (first, second), claims = queued(desk, None, ONE_A_DAY)
    desk.dial(claim_of(desk, claims, first))
    desk.placed(claim_of(desk, claims, first))
    # The other one's claim was made before the call.
    barred = desk.dial(claim_of(desk, claims, second), now=desk.noon + HOUR)
    assert barred == NotNow("its number may be called again at 2026-03-03 12:00:00 UTC")
    (person,) = desk.recipients(second)
    assert (person.state, person.waits_for, person.due_at) == ("waiting", "limit", desk.noon + DAY)
    assert desk.claim(now=desk.noon + DAY - SECOND) == []
    (again,) = desk.claim(now=desk.noon + DAY)
    assert isinstance(desk.dial(again, now=desk.noon + DAY), Order)
    assert desk.recipients(second)[0].waits_for is None


def test_a_call_counts_from_when_it_can_have_rung(desk: "Desk") -> None:
    """Its request left after `dialing` was written: the next one rings no less than 24 hours after it did."""
    (first, second), claims = queued(desk, None, ONE_A_DAY)
    desk.dial(claim_of(desk, claims, first))
    desk.placed(claim_of(desk, claims, first), now=desk.noon + 14 * SECOND)
    barred = desk.dial(claim_of(desk, claims, second), now=desk.noon + DAY)
    assert barred == NotNow("its number may be called again at 2026-03-03 12:00:14 UTC")
    (again,) = desk.claim(now=desk.noon + DAY + 14 * SECOND)
    assert isinstance(desk.dial(again, now=desk.noon + DAY + 14 * SECOND), Order)


def test_the_feed_does_not_claim_it_either(desk: "Desk") -> None:
    """A number that was called is not claimed, and its neighbours on the list are, however many had calls."""
    desk.load(desk.campaign("first"), desk.people(700))
    desk.start("first")
    desk.claim()
    with desk.ledger.write() as db:
        db.execute(update(attempts).values(state=AttemptState.PLACED, dialing_at=desk.noon))
    desk.load(desk.campaign("second", limits=ONE_A_DAY), desk.people(705))
    desk.start("second")
    claims = desk.claim(keep_queued=3, now=desk.noon + HOUR)
    assert [desk.person(each).phone for each in claims] == [f"+1415{i:07d}" for i in (701, 702, 703)]
    assert Counter(row.waits_for for row in desk.recipients("second")) == {"limit": 700, None: 5}
    assert {row.due_at for row in desk.recipients("second")[:700]} == {desk.noon + DAY}


def test_weeks_and_days_roll(desk: "Desk") -> None:
    """Two calls in 24 hours and three in 168: the fourth is due when the first is a week old."""
    (name,) = campaigns_with(desk, {"per_number_per_day": 2, "per_number_per_week": 3})
    rung = []
    now = desk.noon
    for _ in range(4):
        while not (claims := desk.claim(now=now)):
            now = desk.recipients(name)[0].due_at
        assert isinstance(desk.dial(claims[0], now=now), Order)
        rung.append((now - desk.noon) / HOUR)
        desk.placed(claims[0])
        desk.ended(claims[0], Outcome.BUSY, redial_at=now + HOUR)
        now += HOUR
    assert rung == [0, 1, 24, 168]


@pytest.mark.parametrize("state", list(AttemptState))
def test_what_counts_is_what_rang_or_may_have(desk: "Desk", state: AttemptState) -> None:
    """An attempt in any of these states bars the other campaign, or does not."""
    (first, second), claims = queued(desk, None, ONE_A_DAY)
    desk.bring(claim_of(desk, claims, first), state)
    rings = {AttemptState.DIALING, AttemptState.PLACED, AttemptState.ENDED, AttemptState.UNKNOWN}
    barred = desk.dial(claim_of(desk, claims, second), now=desk.noon + SECOND)
    assert isinstance(barred, NotNow) == (state in rings)


def test_a_call_on_its_way_puts_off_only_for_moments(desk: "Desk") -> None:
    """Its request may come back without having rung; then the other campaign need not wait for a day."""
    (first, second), claims = queued(desk, None, ONE_A_DAY)
    one = claim_of(desk, claims, first)
    desk.dial(one)
    assert isinstance(desk.dial(claim_of(desk, claims, second)), NotNow)
    assert desk.recipients(second)[0].due_at == desk.noon + SOON
    mark_refused(desk.ledger, one.attempt_id, one.fence, "not allowed", now=desk.noon)
    (again,) = desk.claim(now=desk.noon + SOON)
    assert isinstance(desk.dial(again, now=desk.noon + SOON), Order)


def test_what_never_rang_is_forgotten(desk: "Desk") -> None:
    """A returned attempt is no call; and its own next try is not barred by itself."""
    (name,) = campaigns_with(desk, ONE_A_DAY)
    (claimed,) = desk.claim()
    desk.dial(claimed)
    assert mark_returned(desk.ledger, claimed.attempt_id, claimed.fence, "throttled", due_at=desk.noon)
    (again,) = desk.claim()
    assert isinstance(desk.dial(again), Order)
    assert desk.recipients(name)[0].attempts == 1


def test_what_was_searched_for_in_vain_is_no_call(desk: "Desk") -> None:
    """It counts as never placed: its own redial is not barred by it."""
    campaigns_with(desk, ONE_A_DAY)
    (claimed,) = desk.claim()
    desk.bring(claimed, AttemptState.UNKNOWN)
    desk.not_found(claimed, redial=True)
    (again,) = desk.claim(now=desk.noon + SECOND)
    assert isinstance(desk.dial(again, now=desk.noon + SECOND), Order)


def test_what_is_held_may_have_rung(desk: "Desk") -> None:
    """Of a held recipient nobody can tell, so it counts."""
    (first, second), claims = queued(desk, None, ONE_A_DAY)
    one = claim_of(desk, claims, first)
    desk.bring(one, AttemptState.UNKNOWN)
    desk.not_found(one, redial=False)
    assert desk.recipients(first)[0].state == "held"
    assert isinstance(desk.dial(claim_of(desk, claims, second), now=desk.noon + SECOND), NotNow)


def test_a_trial_counts_for_trials_alone(desk: "Desk") -> None:
    """What rang in the sandbox rang nobody."""
    first, second = "trial", "real"
    for name, exchange in ((first, "sandbox"), (second, "connect")):
        desk.load(desk.campaign(name, limits=ONE_A_DAY), desk.people(1))
        desk.start(name, exchange=exchange)
    for claimed in desk.claim(keep_queued=1, exchange="sandbox"):
        assert desk.person(claimed).run_id == desk.run(first).id
        desk.dial(claimed, exchange="sandbox")
        desk.placed(claimed)
    claims = desk.claim()
    assert [desk.person(each).run_id for each in claims] == [desk.run(second).id]
    assert isinstance(desk.dial(claims[0], now=desk.noon + SECOND), Order)


def test_two_people_with_one_number(desk: "Desk") -> None:
    """Two appointments under one number are two recipients, and one call a day all the same."""
    one, other = desk.people(2)
    desk.load(desk.campaign(), [one, replace(other, phone=one.phone)])
    desk.start()
    first, second = desk.claim()
    desk.load(desk.campaign(limits=ONE_A_DAY), [])
    assert isinstance(desk.dial(first), Order)
    desk.placed(first)
    assert isinstance(desk.dial(second, now=desk.noon + SECOND), NotNow)


def test_no_slot_is_wasted_on_a_number_that_another_is_about_to_call(desk: "Desk") -> None:
    """Two campaigns with one list: whatever is claimed can be dialed, and each has its part."""
    names = campaigns_with(desk, ONE_A_DAY, ONE_A_DAY, people=60)
    dialed = Counter[str]()
    runs = {desk.run(name).id: name for name in names}
    for second in range(0, 120, 3):
        now = desk.noon + second * SECOND
        for claimed in desk.claim(keep_queued=6, now=now):
            assert isinstance(desk.dial(claimed, now=now), Order)
            desk.placed(claimed)
            dialed[runs[desk.person(claimed).run_id]] += 1
    assert sum(dialed.values()) == 60
    assert min(dialed.values()) >= 20


def test_nor_on_one_that_is_queued_already(desk: "Desk") -> None:
    """It is looked at again in moments, when that attempt may have come back."""
    (first, second) = campaigns_with(desk, ONE_A_DAY, ONE_A_DAY)
    (claimed,) = desk.claim()
    assert desk.claim(now=desk.noon + SECOND) == []
    (other,) = {first, second} - {first if desk.person(claimed).run_id == desk.run(first).id else second}
    assert desk.recipients(other)[0].due_at == desk.noon + SECOND + SOON


def test_a_number_twice_on_a_list_is_claimed_once_in_a_round(desk: "Desk") -> None:
    """The first of them, in the order of the list."""
    one, other = desk.people(2)
    desk.load(desk.campaign(limits=ONE_A_DAY), [one, replace(other, phone=one.phone)])
    desk.start()
    (claimed,) = desk.claim()
    assert desk.person(claimed).key == one.key


def test_a_call_in_doubt_puts_off_for_a_minute(desk: "Desk") -> None:
    """It may turn out never to have been placed; then nobody should have waited a week for it."""
    (first, second), claims = queued(desk, None, {"per_number_per_week": 1})
    one = claim_of(desk, claims, first)
    desk.bring(one, AttemptState.UNKNOWN)
    assert isinstance(desk.dial(claim_of(desk, claims, second), now=desk.noon + SECOND), NotNow)
    assert desk.recipients(second)[0].due_at == desk.noon + SECOND + timedelta(minutes=1)
    desk.not_found(one, redial=False)
    assert desk.recipients(first)[0].state == "held"
    assert desk.claim(now=desk.noon + HOUR) == [], "nobody can tell whether it rang"
    assert desk.recipients(second)[0].due_at == desk.noon + 7 * DAY


def test_a_call_of_another_time_bars_as_one_of_now(desk: "Desk") -> None:
    """A clock that was a year ahead has dated it; its number does not wait for that year."""
    (first, second), claims = queued(desk, None, ONE_A_DAY)
    one = claim_of(desk, claims, first)
    desk.dial(one, now=desk.noon + 365 * DAY)
    desk.placed(one)
    assert isinstance(desk.dial(claim_of(desk, claims, second)), NotNow)
    assert desk.recipients(second)[0].due_at == desk.noon + DAY


def test_what_a_clock_ahead_has_put_off_comes_forward(desk: "Desk") -> None:
    """Also where no attempt had been claimed yet."""
    first, second = campaigns_with(desk, None, None)
    for claimed in desk.claim(keep_queued=1):
        desk.dial(claimed, now=desk.noon + 30 * DAY)
        desk.placed(claimed)
    waits = second if desk.recipients(first)[0].state == "in_progress" else first
    desk.load(desk.campaign(waits, limits=ONE_A_DAY), [])
    assert desk.claim(now=desk.noon + 30 * DAY + SECOND) == []
    assert desk.recipients(waits)[0].due_at == desk.noon + 31 * DAY
    assert bring_forward(desk.ledger, desk.noon + 22 * DAY) == 1
    assert desk.recipients(waits)[0].due_at == desk.noon + 22 * DAY


def test_new_limits_and_a_cancellation_do_not_wait_for_each_other(
    postgres_ledger: Ledger,
    postgres_ledger_url: str,
    opened: "Callable[[str], Ledger]",
    desk_of: "type[Desk]",
    aside: Any,
    until_over_or_blocked: "Callable[..., None]",
) -> None:
    """Both go from the runs to their people."""
    desk, other = desk_of(postgres_ledger), desk_of(opened(postgres_ledger_url))
    first, second = campaigns_with(desk, None, ONE_A_DAY, people=3)
    for claimed in desk.claim():
        if desk.person(claimed).run_id == desk.run(first).id:
            desk.dial(claimed)
            desk.placed(claimed)
    desk.claim(now=desk.noon + SECOND)
    assert {row.waits_for for row in desk.recipients(second)} == {"limit"}
    reached, go, times = threading.Event(), threading.Event(), itertools.count(1)

    def stop_between(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        # The first time is the rehearsal.
        freed = statement.startswith("UPDATE recipients SET") and "waits_for" in statement
        if freed and next(times) == 2:
            reached.set()
            assert go.wait(60)

    event.listen(postgres_ledger._engine, "after_cursor_execute", stop_between)
    more = desk.campaign(second, limits={"per_number_per_day": 2})
    loading = aside(lambda: desk.load(more, desk.people(1, first=77)))
    assert reached.wait(30)
    cancelling = aside(lambda: other.cancel(second))
    until_over_or_blocked(other.ledger, cancelling)
    go.set()
    assert loading.result().accepted == 1
    assert cancelling.result() == 4
    assert {row.state for row in desk.recipients(second)} == {"cancelled"}


def test_a_preset_limits_too(desk: "Desk") -> None:
    """Florida's three calls in 24 hours hold for a campaign that names it."""
    hours = {"preset": "us-florida", "time_zone": "recipient"}
    people = [replace(each, zones="America/New_York") for each in desk.people(1)]
    desk.load(desk.campaign(calling_hours=hours), people)
    desk.start()
    start = desk.noon + 2 * HOUR  # 9 o'clock
    rung = []
    for minute in range(0, 30 * 60, 10):
        now = start + timedelta(minutes=minute)
        for claimed in desk.claim(now=now):
            if isinstance(desk.dial(claimed, now=now), Order):
                rung.append(minute / 60)
                desk.placed(claimed)
                desk.ended(claimed, Outcome.BUSY, redial_at=now + HOUR)
    assert rung == [0, 1, 2, 24, 25, 26]


def test_new_limits_hold_for_those_who_wait(desk: "Desk") -> None:
    """Whoever waited for a day by the old limits is looked at by the new ones at once."""
    (name,) = campaigns_with(desk, ONE_A_DAY)
    (claimed,) = desk.claim()
    desk.dial(claimed)
    desk.placed(claimed)
    desk.ended(claimed, Outcome.BUSY, redial_at=desk.noon + HOUR)
    assert desk.claim(now=desk.noon + HOUR) == []
    assert desk.recipients(name)[0].waits_for == "limit"
    desk.load(desk.campaign(name, limits={"per_number_per_day": 2}), [], now=desk.noon + HOUR)
    assert len(desk.claim(now=desk.noon + HOUR)) == 1


def test_the_limits_are_no_clock_of_another_time(desk: "Desk") -> None:
    """Rescue brings forward what a clock that was ahead put off, and not what waits for the limits."""
    (first, second), claims = queued(desk, None, ONE_A_DAY)
    desk.dial(claim_of(desk, claims, first))
    desk.placed(claim_of(desk, claims, first))
    assert isinstance(desk.dial(claim_of(desk, claims, second), now=desk.noon + HOUR), NotNow)
    assert bring_forward(desk.ledger, desk.noon + HOUR) == 0
    assert bring_forward(desk.ledger, desk.noon - 8 * DAY) == 1


def test_two_campaigns_race_for_one_number(
    desk: "Desk", second_ledger: Ledger, desk_of: "type[Desk]"
) -> None:
    """Of two workers that dial one number at the same moment one is let through, each time."""
    names, claims = queued(desk, ONE_A_DAY, ONE_A_DAY, people=40)
    by_run = {
        name: [each for each in claims if desk.person(each).run_id == desk.run(name).id] for name in names
    }
    desks = (desk, desk_of(second_ledger))
    barrier = threading.Barrier(2)
    results: dict[str, list[Any]] = {name: [] for name in names}

    def dial(at: "Desk", name: str) -> None:
        for claimed in by_run[name]:
            barrier.wait(60)
            results[name].append(at.dial(claimed))

    threads = [threading.Thread(target=dial, args=pair) for pair in zip(desks, names, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    let_through = [
        sum(isinstance(result, Order) for result in pair)
        for pair in zip(*(results[name] for name in names), strict=True)
    ]
    assert let_through == [1] * 40


def test_one_that_is_unlimited_is_seen_by_one_that_is_not(
    desk: "Desk", second_ledger: Ledger, desk_of: "type[Desk]", held_before_commit: Any, aside: Any
) -> None:
    """The unlimited campaign's call is not committed yet; the limited one waits to see it, and is barred."""
    (first, second), claims = queued(desk, None, ONE_A_DAY)
    other = desk_of(second_ledger)
    with held_before_commit(desk.ledger, "UPDATE attempts") as (reached, go):
        one = aside(lambda: desk.dial(claim_of(other, claims, first)))
        assert reached.wait(30)
        two = aside(lambda: other.dial(claim_of(other, claims, second)))
        two.join(0.5)
        go.set()
        assert isinstance(one.result(), Order)
        assert isinstance(two.result(), NotNow)


def test_the_calls_are_named_by_campaign(desk: "Desk") -> None:
    """What counts can be told to people: when, and for which campaign."""
    names = campaigns_with(desk, None, None)
    claims = desk.claim()
    for minutes, name in enumerate(names):
        desk.dial(claim_of(desk, claims, name), now=desk.noon + timedelta(minutes=minutes))
        desk.placed(claim_of(desk, claims, name))
    phone = desk.recipients(names[0])[0].phone
    with desk.ledger.read() as db:
        found = calls_to(db, [phone, "+14155559999"], "connect", desk.noon - DAY)
    told = [(call.campaign, (call.dialed_at - desk.noon).seconds, call.dialing) for call in found]
    assert told == [(names[0], 0, False), (names[1], 60, False)]
