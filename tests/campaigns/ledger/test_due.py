"""Who is claimed when: by calling hours, in the order in which they end, and by the time to be called."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text, update

from campaigns.attempt import AttemptState, Outcome
from campaigns.ledger.claims import bring_forward, somebody_is_due
from campaigns.ledger.expiry import expire
from campaigns.ledger.moves import NotNow, Order
from campaigns.ledger.tables import recipients
from campaigns.timing import Timing

if TYPE_CHECKING:
    from campaigns.recipient import Recipient
    from tests.conftest import Desk

HOUR = timedelta(hours=1)
SECOND = timedelta(seconds=1)
EAST, WEST = "America/New_York", "America/Los_Angeles"
EVERY_DAY = {"weekdays": "09:00-20:00", "weekend": "09:00-20:00"}
# A Monday without a change of clocks near it: the East is five hours behind UTC, the West eight.
MIDNIGHT = datetime(2026, 2, 2, tzinfo=UTC)


def people_in(desk: "Desk", zones: str | None, count: int, first: int) -> "list[Recipient]":
    return [replace(each, zones=zones) for each in desk.people(count, first=first)]


def loaded(
    desk: "Desk", people: "list[Recipient]", hours: dict[str, Any] | None = None, **tables: Any
) -> None:
    desk.load(desk.campaign(calling_hours=EVERY_DAY if hours is None else hours, **tables), people)
    desk.start(now=MIDNIGHT)


def claimed_zones(desk: "Desk", now: datetime) -> "Counter[str | None]":
    return Counter(desk.person(each).zones for each in desk.claim(now=now))


def test_nobody_is_claimed_while_it_is_closed_for_them(desk: "Desk") -> None:
    """At each hour those are claimed whose own clock is inside the window, and nobody else."""
    loaded(desk, people_in(desk, EAST, 3, 1) + people_in(desk, WEST, 4, 10))
    assert claimed_zones(desk, MIDNIGHT + 14 * HOUR - SECOND) == {}
    assert claimed_zones(desk, MIDNIGHT + 14 * HOUR) == {EAST: 3}
    assert claimed_zones(desk, MIDNIGHT + 17 * HOUR - SECOND) == {}
    assert claimed_zones(desk, MIDNIGHT + 17 * HOUR) == {WEST: 4}


def test_whoever_may_be_in_two_zones_waits_for_both(desk: "Desk") -> None:
    """All zones that apply are intersected."""
    loaded(desk, people_in(desk, f"{WEST} {EAST}", 2, 1))
    assert claimed_zones(desk, MIDNIGHT + 17 * HOUR - SECOND) == {}
    assert claimed_zones(desk, MIDNIGHT + 25 * HOUR) == {}, "it is 20:00 in the East"
    assert claimed_zones(desk, MIDNIGHT + 25 * HOUR - SECOND) == {f"{WEST} {EAST}": 2}


def test_of_whom_no_zone_is_known_is_not_called(desk: "Desk") -> None:
    """They fail closed, at every hour of a week; the others are not kept by them."""
    loaded(desk, people_in(desk, None, 2, 1) + people_in(desk, EAST, 1, 5))
    claimed = [each for hour in range(168) for each in desk.claim(now=MIDNIGHT + hour * HOUR)]
    assert [desk.person(each).zones for each in claimed] == [EAST]


def test_a_campaign_may_name_a_zone_for_them(desk: "Desk") -> None:
    """`fallback_time_zone` counts for those alone."""
    loaded(
        desk,
        people_in(desk, None, 2, 1) + people_in(desk, EAST, 1, 5),
        {**EVERY_DAY, "fallback_time_zone": WEST},
    )
    assert claimed_zones(desk, MIDNIGHT + 14 * HOUR) == {EAST: 1}
    assert claimed_zones(desk, MIDNIGHT + 17 * HOUR) == {None: 2}


def test_one_clock_for_everybody(desk: "Desk") -> None:
    """With an IANA name for `time_zone` the recipients' own zones do not matter, known or not."""
    people = people_in(desk, None, 2, 1) + people_in(desk, WEST, 1, 5)
    loaded(desk, people, {**EVERY_DAY, "time_zone": EAST})
    assert claimed_zones(desk, MIDNIGHT + 14 * HOUR - SECOND) == {}
    assert claimed_zones(desk, MIDNIGHT + 14 * HOUR) == {None: 2, WEST: 1}


def test_whose_hours_end_first_goes_first(desk: "Desk") -> None:
    """Otherwise the East's evening would be spent on people who can be called for three hours longer."""
    loaded(desk, people_in(desk, WEST, 3, 1) + people_in(desk, EAST, 3, 10))
    claims = desk.claim(keep_queued=4, now=MIDNIGHT + 18 * HOUR)
    assert [desk.person(each).zones for each in claims] == [EAST, EAST, EAST, WEST]


def test_a_redial_goes_before_those_never_called(desk: "Desk") -> None:
    """Whoever has a time is claimed first, whichever place they are in."""
    loaded(desk, people_in(desk, EAST, 3, 1) + people_in(desk, WEST, 3, 10))
    due = desk.recipients()[4]
    with desk.ledger.write() as db:
        timed = update(recipients).where(recipients.c.id == due.id)
        db.execute(timed.values(due_at=MIDNIGHT + 15 * HOUR))
    (first,) = desk.claim(keep_queued=1, now=MIDNIGHT + 18 * HOUR)
    assert desk.person(first).id == due.id


def test_who_wakes_too_late_is_returned(desk: "Desk") -> None:
    """The window is looked at again in the move to `dialing`; the attempt keeps its number and token."""
    loaded(desk, people_in(desk, EAST, 2, 1))
    in_time, late = desk.claim(now=MIDNIGHT + 24 * HOUR)
    closes = MIDNIGHT + 25 * HOUR
    order = desk.dial(in_time, now=closes - SECOND)
    assert isinstance(order, Order)
    assert order.closes_at == closes
    assert desk.dial(late, now=closes) == NotNow("it is outside the calling hours")
    row, person = desk.attempt(late), desk.person(late)
    assert (row.state, row.reason, row.dialing_at) == ("returned", "outside the calling hours", None)
    assert (person.state, person.attempts) == ("waiting", 1)
    assert desk.claim(now=MIDNIGHT + 38 * HOUR - SECOND) == []
    (again,) = desk.claim(now=MIDNIGHT + 38 * HOUR)
    assert (again.client_token, again.fence) == (late.client_token, 2)


def test_new_hours_hold_for_what_is_queued(desk: "Desk") -> None:
    """What the campaign's file says by now decides, not what it said when the attempt was claimed."""
    loaded(desk, people_in(desk, EAST, 1, 1))
    (claimed,) = desk.claim(now=MIDNIGHT + 24 * HOUR)
    desk.load(desk.campaign(calling_hours={**EVERY_DAY, "monday": "09:00-18:00"}), [])
    assert isinstance(desk.dial(claimed, now=MIDNIGHT + 24 * HOUR), NotNow)


def test_a_redial_waits_for_the_hours(desk: "Desk") -> None:
    """A redial that falls due at night is dialed in the morning."""
    loaded(desk, people_in(desk, EAST, 1, 1))
    (claimed,) = desk.claim(now=MIDNIGHT + 24 * HOUR)
    desk.dial(claimed, now=MIDNIGHT + 24 * HOUR)
    desk.placed(claimed)
    desk.ended(claimed, Outcome.BUSY, redial_at=MIDNIGHT + 26 * HOUR)
    assert desk.claim(now=MIDNIGHT + 26 * HOUR) == []
    assert [desk.person(each).attempts for each in desk.claim(now=MIDNIGHT + 38 * HOUR)] == [2]


def test_a_closed_campaign_takes_nothing_from_the_others(desk: "Desk") -> None:
    """It gets none of the room, and its turn does not fall behind for it."""
    loaded(desk, people_in(desk, WEST, 50, 1))
    desk.load(desk.campaign("open"), desk.people(50, first=100))
    desk.start("open", now=MIDNIGHT)
    claims = desk.claim(keep_queued=20, now=MIDNIGHT + 14 * HOUR)
    assert [desk.person(each).run_id for each in claims] == [desk.run("open").id] * 20
    for each in claims:
        desk.dial(each, now=MIDNIGHT + 14 * HOUR)
    both = desk.claim(keep_queued=20, now=MIDNIGHT + 17 * HOUR)
    assert Counter(desk.person(each).run_id for each in both) == {desk.run().id: 10, desk.run("open").id: 10}


def test_nobody_waits_for_room_while_it_is_closed(desk: "Desk") -> None:
    """Somebody is due, as the status has it, only where they could be dialed."""
    loaded(desk, people_in(desk, EAST, 1, 1))
    instance = [desk.campaign().connect.instance_id]
    at = [MIDNIGHT + hours * HOUR for hours in (13, 15, 26)]
    assert [somebody_is_due(desk.ledger, "connect", instance, now) for now in at] == [False, True, False]


@pytest.mark.parametrize("state", ["waiting", "queued"])
def test_whose_time_has_passed_is_not_called(desk: "Desk", state: str) -> None:
    """A waiting recipient expires by the sweep, a queued one in the move to `dialing`."""
    people = [replace(each, expires_at=MIDNIGHT + HOUR) for each in desk.people(2)]
    desk.load(desk.campaign(), [*people, *desk.people(1, first=9)])
    desk.start(now=MIDNIGHT)
    claims = desk.claim(now=MIDNIGHT) if state == "queued" else []
    assert expire(desk.ledger, MIDNIGHT + HOUR - SECOND) == 0
    if state == "queued":
        late = [desk.dial(each, now=MIDNIGHT + HOUR) for each in claims]
        assert late[:2] == [NotNow("its time to be called has passed")] * 2
        assert isinstance(late[2], Order)
    else:
        assert len(desk.claim(now=MIDNIGHT + HOUR)) == 1, "only who has no such time"
        assert expire(desk.ledger, MIDNIGHT + HOUR) == 2
    assert [row.state for row in desk.recipients()] == ["expired", "expired", "in_progress"]
    assert expire(desk.ledger, MIDNIGHT + HOUR) == 0


def test_a_call_must_have_left_before_its_time_passes(desk: "Desk") -> None:
    """The order says until when the request may leave: what ends first, hours or the time to be called."""
    ends = [MIDNIGHT + 16 * HOUR, MIDNIGHT + 30 * HOUR, None]
    people = [
        replace(each, expires_at=at) for each, at in zip(people_in(desk, EAST, 3, 1), ends, strict=True)
    ]
    loaded(desk, people)
    orders = [desk.dial(each, now=MIDNIGHT + 15 * HOUR) for each in desk.claim(now=MIDNIGHT + 15 * HOUR)]
    closes = MIDNIGHT + 25 * HOUR
    assert sorted(order.closes_at for order in orders) == [MIDNIGHT + 16 * HOUR, closes, closes]


def test_places_are_found_by_steps_through_the_index(desk: "Desk", plans: Callable[..., list[str]]) -> None:
    """With hours a round of feeding reads the few who are claimed, not all who wait."""
    people = people_in(desk, EAST, 1_500, 1) + people_in(desk, WEST, 1_500, 2_000)
    loaded(desk, people, limits={"per_number_per_day": 3})
    with desk.ledger.write() as db:
        db.execute(text("ANALYZE"))
    found = plans(desk.ledger, lambda: desk.claim(keep_queued=5, now=MIDNIGHT + 18 * HOUR))
    reads = [plan for plan in found if "recipients" in plan]
    assert any("RECURSIVE" in plan for plan in reads)
    for plan in reads:
        assert "SCAN recipients" not in plan, plan
        assert "Seq Scan on recipients" not in plan, plan


def test_the_new_time_of_a_reminder_is_no_clock_of_another_time(desk: "Desk") -> None:
    """An attempt that came back, and then its appointment moves by a week: rescue leaves that alone."""
    campaign = desk.campaign(reminder={"at": "when", "before": "2h", "time_zone": "UTC"})

    def row(when: str) -> "Iterable[Recipient]":
        (person,) = desk.people(1)
        return Timing(campaign, MIDNIGHT).of(replace(person, row={**person.row, "when": when}))

    desk.load(campaign, row("2026-02-02T15:00"), now=MIDNIGHT)
    desk.start(now=MIDNIGHT)
    (claimed,) = desk.claim(now=MIDNIGHT + 13 * HOUR)
    desk.bring(claimed, AttemptState.RETURNED)
    assert desk.load(campaign, row("2026-02-09T15:00"), now=MIDNIGHT + 13 * HOUR).moved == 1
    assert bring_forward(desk.ledger, MIDNIGHT + 13 * HOUR) == 0
    assert desk.claim(now=MIDNIGHT + 13 * HOUR) == []
    (again,) = desk.claim(now=MIDNIGHT + (7 * 24 + 13) * HOUR)
    assert again.client_token == claimed.client_token
