import threading
from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import insert, text, update

from campaigns.attempt import AttemptState, Outcome
from campaigns.client_token import WITHOUT_SECRET, Tokens, client_token
from campaigns.ledger import Ledger
from campaigns.ledger.claims import (
    Rescued,
    bring_forward,
    hand_back,
    take_back_expired,
    take_back_queued,
)
from campaigns.ledger.in_progress import CallLimit
from campaigns.ledger.moves import NotNow, Order, give_back, mark_returned
from campaigns.ledger.outcomes import take_due_follows
from campaigns.ledger.runs import finish
from campaigns.ledger.tables import AT_ONCE, attempts, recipients

if TYPE_CHECKING:
    from tests.conftest import Desk

SECOND = timedelta(seconds=1)


def test_a_claim_is_one_attempt_of_one_recipient(desk: "Desk") -> None:
    """A claimed recipient is in progress, with attempt 1 queued under its token, fence and lease."""
    desk.started(3)
    claims = desk.claim()
    for claimed, row, person in zip(claims, desk.attempts(), desk.recipients(), strict=True):
        assert (row.id, row.fence, row.client_token) == (
            claimed.attempt_id,
            claimed.fence,
            claimed.client_token,
        )
        assert row.client_token == client_token("reminders", 1, person.key, 1)
        assert (row.state, row.number, row.fence, row.recipient_id) == ("queued", 1, 1, person.id)
        assert (row.queued_at, row.lease_until) == (desk.noon, desk.noon + desk.lease)
        assert (person.state, person.attempts) == ("in_progress", 1)


def test_no_more_than_keep_queued(desk: "Desk") -> None:
    """What is queued already counts; what was dialed makes room again."""
    desk.started(50)
    claims = desk.claim(keep_queued=10)
    assert (len(claims), desk.claim(keep_queued=10)) == (10, [])
    for claimed in claims[:4]:
        desk.dial(claimed)
    assert len(desk.claim(keep_queued=10)) == 4
    assert Counter(row.state for row in desk.attempts()) == {"queued": 10, "dialing": 4}


def test_more_than_a_statement_can_take(desk: "Desk") -> None:
    """A claim of thousands goes through in pieces, returned attempts and new ones mixed."""
    desk.started(2_300)
    first = desk.claim(keep_queued=700)
    assert hand_back(desk.ledger, first[::2], "not sent", due_at=desk.noon) == 350
    second = desk.claim(keep_queued=5_000)
    assert len({claimed.attempt_id for claimed in second}) == 1_950
    assert Counter(claimed.fence for claimed in second) == {1: 1_600, 2: 350}
    assert Counter(row.attempts for row in desk.recipients()) == {1: 2_300}


def test_who_is_due_first_goes_first(desk: "Desk") -> None:
    """The order is that of being due, then of the list; who is not due yet is left alone."""
    desk.started(4)
    ids = [row.id for row in desk.recipients()]
    with desk.ledger.write() as db:
        for offset, recipient_id in zip((0, -5, 1, -9), ids, strict=True):
            due_at = desk.noon + offset * SECOND
            db.execute(update(recipients).where(recipients.c.id == recipient_id).values(due_at=due_at))
    order = [desk.person(desk.claim(keep_queued=1 + i)[0]).id for i in range(3)]
    assert order == [ids[3], ids[1], ids[0]]
    assert desk.claim() == []
    assert [desk.person(claimed).id for claimed in desk.claim(now=desk.noon + SECOND)] == [ids[2]]


def test_a_returned_attempt_is_claimed_again_as_itself(desk: "Desk") -> None:
    """Throttling and capacity never cost an attempt: number and token stay, only the fence goes on."""
    desk.started(1)
    (first,) = desk.claim()
    desk.dial(first)
    assert mark_returned(desk.ledger, first.attempt_id, first.fence, "throttled", due_at=desk.noon)
    later = desk.noon + 7 * SECOND
    (second,) = desk.claim(now=later)
    assert (second.attempt_id, second.client_token, second.fence) == (
        first.attempt_id,
        first.client_token,
        first.fence + 1,
    )
    (row,) = desk.attempts()
    assert (row.number, row.state, row.queued_at, row.lease_until) == (
        1,
        "queued",
        later,
        later + desk.lease,
    )
    assert row.dialing_at is None


def test_a_redial_is_a_new_attempt_with_a_new_token(desk: "Desk") -> None:
    """Attempt n+1 is made when its time has come, and not before."""
    desk.started(1)
    tokens = []
    now = desk.noon
    for number in (1, 2, 3):
        (claimed,) = desk.claim(now=now)
        tokens.append(claimed.client_token)
        assert (desk.attempt(claimed).number, claimed.fence) == (number, 1)
        desk.bring(claimed, AttemptState.PLACED)
        now += timedelta(minutes=10)
        assert desk.ended(claimed, Outcome.BUSY, redial_at=now)
        assert desk.claim(now=now - SECOND) == []
    key = desk.recipients()[0].key
    assert tokens == [client_token("reminders", 1, key, number) for number in (1, 2, 3)]
    assert len(set(tokens)) == 3


def test_tokens_are_made_with_the_secret_and_kept(desk: "Desk") -> None:
    """New attempts are named with the secret; one that exists keeps its token, whatever the secret."""
    desk.started(1)
    secret, other = Tokens(b"the first secret, of two"), Tokens(b"the other secret, of two")
    key = desk.recipients()[0].key
    (first,) = desk.claim(tokens=WITHOUT_SECRET)
    assert first.client_token == client_token("reminders", 1, key, 1)
    desk.bring(first, AttemptState.RETURNED)
    (again,) = desk.claim(tokens=secret)
    assert (again.attempt_id, again.client_token) == (first.attempt_id, first.client_token)
    desk.bring(again, AttemptState.PLACED)
    assert desk.ended(again, Outcome.BUSY, redial_at=desk.noon)
    (second,) = desk.claim(tokens=secret)
    assert second.client_token == secret.of("reminders", 1, key, 2) != client_token("reminders", 1, key, 2)
    desk.bring(second, AttemptState.RETURNED)
    assert [claimed.client_token for claimed in desk.claim(tokens=other)] == [second.client_token]


def test_only_running_campaigns_are_fed(desk: "Desk") -> None:
    """Loaded, paused, finished and cancelled campaigns release nobody."""
    for name in ("running", "paused", "cancelled"):
        desk.started(2, name)
    desk.load(desk.campaign("loaded"), desk.people(2))
    desk.pause("paused")
    desk.cancel("cancelled")
    tokens = {claimed.client_token for claimed in desk.claim()}
    assert tokens == {row.client_token for row in desk.attempts("running")}


def test_two_feeders_at_once(desk: "Desk", second_desk: "Desk") -> None:
    """Two schedulers never claim one recipient twice, nor more together than one may."""
    desk.started(400)
    together = threading.Barrier(2)
    found: list[list[int]] = []

    def feed(feeder: "Desk") -> None:
        mine = []
        for _ in range(12):
            together.wait(30)
            mine += [claimed.attempt_id for claimed in feeder.claim(keep_queued=25)]
            together.wait(30)
            if feeder is desk:
                queued = [row for row in desk.attempts() if row.state == "queued"]
                sizes.append(len(queued))
                with desk.ledger.write() as db:
                    db.execute(update(attempts).where(attempts.c.state == "queued").values(state="dialing"))
        found.append(mine)

    sizes: list[int] = []
    threads = [threading.Thread(target=feed, args=(feeder,)) for feeder in (desk, second_desk)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert max(sizes) == 25
    claimed = [attempt_id for mine in found for attempt_id in mine]
    assert len(claimed) == len(set(claimed)) == 12 * 25
    assert Counter(row.attempts for row in desk.recipients()) == {1: 300, 0: 100}


def test_while_one_feeds_another_gets_nothing(
    postgres_ledger: Ledger,
    postgres_ledger_url: str,
    aside: Callable[..., Any],
    held_before_commit: Any,
    desk_of: Callable[[Ledger], "Desk"],
    opened: Callable[[str], Ledger],
) -> None:
    """A second feeder does not even wait for the first, so a scheduler that runs twice does no harm."""
    desk, other = desk_of(postgres_ledger), opened(postgres_ledger_url)
    desk.started(10)
    with held_before_commit(other, "INSERT INTO attempts") as (reached, go):
        feeding = aside(lambda: desk_of(other).claim(keep_queued=5))
        assert reached.wait(30)
        assert desk.claim(keep_queued=5) == []
        go.set()
        assert len(feeding.result()) == 5


@pytest.mark.parametrize("rate", [0.0001, 0.07, 0.1, 0.3, 3.0])
def test_a_campaigns_own_cap(desk: "Desk", rate: float) -> None:
    """Over any simulated minute a campaign is released at its own rate: no faster, and no slower either."""
    desk.started(380, pacing={"calls_per_second": rate})
    released = []
    step = 1.0 if rate >= 0.01 else 1 / rate / 60
    for tick in range(120):
        now = desk.noon + tick * step * SECOND
        claims = desk.claim(now=now)
        released.append(len(claims))
        for claimed in claims:
            desk.dial(claimed)
    # The first round releases `ahead` (three seconds' worth) or one call at once, for the rest of the time.
    first = max(1, int(3 * rate + 1e-9))
    assert released[0] == first
    for begin in range(0, 120, 20):
        assert sum(released[begin : begin + 60]) <= 60 * step * rate + first
    assert sum(released) == pytest.approx(119 * step * rate + first, abs=1)


def test_a_cap_is_not_saved_up(desk: "Desk") -> None:
    """After an hour without a claim a campaign goes on at its rate, and catches up by one call at most."""
    desk.started(100, pacing={"calls_per_second": 1.0})
    assert len(desk.claim()) == 3
    assert len(desk.claim(now=desk.noon + timedelta(hours=1))) == 3 + 1


def test_fair_shares_by_weight(desk: "Desk") -> None:
    """Over many rounds with room for a call or two, campaigns are served by weight, the idle ones skipped."""
    weights = {"one": 1, "two": 2, "five": 5}
    for name, weight in weights.items():
        desk.started(300, name, pacing={"weight": weight})
    desk.load(desk.campaign("idle", pacing={"weight": 50}), [])
    desk.start("idle")
    for _ in range(80):
        for claimed in desk.claim(keep_queued=2):
            desk.dial(claimed)
    given = {name: len(desk.attempts(name)) for name in weights}
    assert sum(given.values()) == 160
    assert {name: given[name] - 20 * weight for name, weight in weights.items()} == pytest.approx(
        dict.fromkeys(weights, 0), abs=1
    )


def test_a_trial_and_the_real_thing_never_mix(desk: "Desk") -> None:
    """The start binds a campaign to Connect or to the sandbox; the other side gets no recipient from it."""
    desk.started(4, exchange="sandbox")
    assert desk.claim(exchange="connect") == []
    (first,) = desk.claim(keep_queued=1, exchange="sandbox")
    assert desk.claim(exchange="connect") == []
    assert isinstance(desk.dial(first, exchange="connect"), NotNow)
    (again,) = desk.claim(keep_queued=1, exchange="sandbox")
    assert (again.attempt_id, again.fence) == (first.attempt_id, 2)
    assert isinstance(desk.dial(again, exchange="sandbox"), Order)


def test_room_is_counted_for_each_exchange(desk: "Desk") -> None:
    """What a trial has queued takes no room from the real campaigns."""
    desk.started(10, "trial", exchange="sandbox")
    assert len(desk.claim(keep_queued=5, exchange="sandbox")) == 5
    desk.started(10, "real")
    assert len(desk.claim(keep_queued=5)) == 5
    assert (len(desk.attempts("trial")), len(desk.attempts("real"))) == (5, 5)


def test_rescue_leaves_alone_what_is_within_its_lease(desk: "Desk") -> None:
    """Until its lease has passed an attempt belongs to its worker."""
    desk.started(2)
    desk.dial(desk.claim()[0])
    assert desk.rescue(desk.noon + desk.lease) == (0, 0)
    assert [row.state for row in desk.attempts()] == ["dialing", "queued"]


def test_rescue_returns_the_queued_and_never_the_dialing(desk: "Desk") -> None:
    """Past the lease `queued` never rang and is due at once; `dialing` may have rung and is searched for."""
    desk.started(7)
    claims = desk.claim()
    for claimed, state in zip(claims, AttemptState, strict=True):
        desk.bring(claimed, state)
    late = desk.noon + desk.lease + SECOND
    assert desk.rescue(late) == (1, 1)
    assert [row.state for row in desk.attempts()] == [
        "returned",
        "returned",
        "unknown",
        "placed",
        "ended",
        "refused",
        "unknown",
    ]
    assert desk.states() == [
        "waiting",
        "waiting",
        "in_progress",
        "in_progress",
        "done",
        "done",
        "in_progress",
    ]
    assert desk.attempt(claims[0]).reason == "its task did not arrive in time"
    assert desk.attempt(claims[2]).reason == "its worker stopped before it recorded an answer"
    assert {c.attempt_id for c in desk.claim(now=late)} == {claims[0].attempt_id, claims[1].attempt_id}
    assert isinstance(desk.dial(claims[0]), NotNow)
    assert desk.claim(now=late + timedelta(days=365)) == []


def test_rescue_after_a_cancellation_gives_up(desk: "Desk") -> None:
    """What a crash left of a cancelled campaign does not become due."""
    desk.started(2)
    desk.dial(desk.claim()[0])
    # As if the claim had been made while the cancellation was under way.
    desk.cancel()
    with desk.ledger.write() as db:
        db.execute(update(attempts).where(attempts.c.state == "returned").values(state="queued"))
        db.execute(update(recipients).where(recipients.c.state == "cancelled").values(state="in_progress"))
    assert desk.rescue(desk.noon + desk.lease + SECOND) == (1, 1)
    assert desk.states() == ["in_progress", "cancelled"]


def test_when_the_workers_stop_the_queued_are_taken_back(desk: "Desk") -> None:
    """Of the exchange whose workers have stopped, and of no other."""
    desk.started(3, "trial", exchange="sandbox")
    desk.claim(exchange="sandbox")
    desk.started(3, "real")
    (first, *_) = desk.claim()
    desk.dial(first)
    assert take_back_queued(desk.ledger, "connect") == 2
    assert desk.states("real") == ["in_progress", "waiting", "waiting"]
    assert desk.states("trial") == ["in_progress"] * 3
    assert take_back_queued(desk.ledger, "connect") == 0


def test_handing_back_counts_what_was_still_there(desk: "Desk") -> None:
    """A task that arrived in spite of a failed batch has used its claim, which is not handed back."""
    desk.started(3)
    claims = desk.claim()
    desk.bring(claims[1], AttemptState.PLACED)
    later = desk.noon + SECOND
    assert hand_back(desk.ledger, claims, "Redis is away", due_at=later) == 2
    assert [(row.state, row.due_at) for row in desk.recipients()] == [
        ("waiting", later),
        ("in_progress", AT_ONCE),
        ("waiting", later),
    ]
    assert hand_back(desk.ledger, [], "", due_at=later) == 0


@pytest.mark.parametrize("twin", ["number", "client_token"])
def test_the_database_itself_refuses_a_second_attempt(desk: "Desk", twin: str) -> None:
    """One attempt has one number and one token for ever, whatever the program may get wrong."""
    desk.started(1)
    desk.claim()
    (row,) = desk.attempts()
    again = {column: value for column, value in row._mapping.items() if column != "id"}
    changed = {"client_token": "another"} if twin == "number" else {"number": 2}
    with pytest.raises(Exception, match=r"(?i)unique"), desk.ledger.write() as db:
        db.execute(insert(attempts).values({**again, **changed}))


def nearly_done(desk: "Desk") -> None:
    """A run of 6,000 recipients of whom nearly all are done, as it looks towards its end."""
    desk.started(6_000)
    done = text(
        "INSERT INTO attempts (run_id, recipient_id, number, client_token, state, fence, lease_until,"
        " queued_at, dialing_at, placed_at, follow_at, contact_id, outcome)"
        " SELECT run_id, id, 1, 'token-' || id, CASE WHEN id % 600 = 1 THEN 'placed' ELSE 'ended' END,"
        " 1, due_at, due_at, due_at, due_at, CASE WHEN id % 600 = 1 THEN due_at END, 'contact', 'answered'"
        " FROM recipients WHERE id % 300 <> 0"
    )
    with desk.ledger.write() as db:
        db.execute(done)
        db.execute(text("UPDATE recipients SET state = 'done', attempts = 1 WHERE id % 300 <> 0"))


def know_the_tables(desk: "Desk") -> None:
    """What autovacuum does in PostgreSQL after a while; SQLite goes without."""
    if not desk.ledger.is_sqlite:
        with desk.ledger.write() as db:
            db.execute(text("ANALYZE"))


def test_the_frequent_statements_use_the_partial_indexes(
    desk: "Desk", plans: Callable[..., list[str]]
) -> None:
    """Feeding, rescuing, finishing and following look at what is open, not at what is done."""
    desk.started(6_000)
    know_the_tables(desk)
    looks = [
        plan for plan in plans(desk.ledger, lambda: desk.claim(5)) if "ORDER BY recipients.due_at" in plan
    ]
    assert len(looks) == 2
    assert [plan for plan in looks if "ix_recipients_due" not in plan] == []
    desk.wipe()
    nearly_done(desk)
    know_the_tables(desk)
    late = desk.noon + timedelta(hours=1)
    limit = CallLimit(1_000, timedelta(minutes=5))

    def a_round() -> None:
        assert len(desk.claim(keep_queued=10, limit=limit)) == 10
        assert take_back_expired(desk.ledger, late, longest_lease=desk.lease, settle_at=late) == Rescued(
            10, 0
        )
        assert finish(desk.ledger, late) == 0
        assert len(take_due_follows(desk.ledger, exchange="connect", limit=100, now=late, until=late)) == 10

    found = plans(desk.ledger, a_round)
    small_tables = [
        f"Seq Scan on {table}" for table in ("runs", "campaigns", "identity", "positions", "brakes")
    ]
    # What is in progress is grouped in memory: it is little.
    small_parts = (*small_tables, "FOR GROUP BY")
    scans = [
        plan
        for plan in found
        if any(bad in plan for bad in ("SCAN recipients", "SCAN attempts", "Seq Scan on", "TEMP B-TREE"))
        and not any(small in plan for small in small_parts)
    ]
    assert scans == [], "\n\n".join(scans)

    def use(*fragments: str) -> None:
        *statement, index = fragments
        plans_of = [plan for plan in found if all(fragment in plan for fragment in statement)]
        assert plans_of, statement
        assert [plan for plan in plans_of if index not in plan] == [], "\n\n".join(plans_of)

    use("FROM recipients", "ORDER BY recipients.due_at", "ix_recipients_")
    use("lease_until <", "ix_attempts_lease")
    use("follow_at <=", "'placed'", "ix_attempts_follow")
    use("follow_at <=", "'ended'", "ix_attempts_late")
    use("count(*)", "UNION ALL", "ix_attempts_")


def test_who_has_a_time_is_not_kept_waiting_by_a_long_list(desk: "Desk") -> None:
    """A redial that is due is dialed before people who were never called."""
    desk.load(desk.campaign(redial={"max_attempts": 2, "busy": "10m"}), desk.people(50))
    desk.start()
    (first,) = desk.claim(keep_queued=1)
    desk.bring(first, AttemptState.PLACED)
    assert desk.ended(first, Outcome.BUSY, redial_at=desk.noon + timedelta(minutes=10))
    before, at_last = (
        desk.person(desk.claim(keep_queued=keep, now=desk.noon + timedelta(minutes=minutes))[0]).id
        for keep, minutes in ((1, 9), (2, 10))
    )
    assert (before != desk.person(first).id, at_last) == (True, desk.person(first).id)


@pytest.mark.parametrize(("hours", "returned"), [(1, 1), (0, 0)])
def test_a_lease_of_another_time_is_no_lease(desk: "Desk", hours: int, returned: int) -> None:
    """What was claimed by a clock an hour ahead does not wait an hour when the clock is put back."""
    desk.started(2)
    ahead = desk.noon + timedelta(hours=hours)
    queued, called = desk.claim(now=ahead)
    desk.dial(called, now=ahead)
    assert desk.rescue(desk.noon) == (returned, returned)
    assert desk.attempt(queued).state == ("returned" if returned else "queued")
    assert desk.attempt(called).state == ("unknown" if returned else "dialing")


def test_what_a_clock_of_another_time_put_off_is_due(desk: "Desk") -> None:
    """What was returned "for a second" by a clock an hour ahead is due now; a redial keeps its time."""
    desk.started(2)
    back, redialed = desk.claim()
    an_hour_ahead = desk.noon + timedelta(hours=1)
    assert give_back(desk.ledger, back.attempt_id, back.fence, "no slot", due_at=an_hour_ahead)
    desk.bring(redialed, AttemptState.PLACED)
    assert desk.ended(redialed, Outcome.BUSY, redial_at=an_hour_ahead)
    assert desk.claim() == []
    assert bring_forward(desk.ledger, desk.noon) == 1
    assert [claimed.attempt_id for claimed in desk.claim()] == [back.attempt_id]
    assert bring_forward(desk.ledger, desk.noon) == 0


def test_a_short_delay_is_kept(desk: "Desk") -> None:
    """Ten seconds after a quota of the instance was used up are ten seconds."""
    desk.started(1)
    (claimed,) = desk.claim()
    assert give_back(
        desk.ledger,
        claimed.attempt_id,
        claimed.fence,
        "no capacity",
        due_at=desk.noon + timedelta(seconds=10),
    )
    assert bring_forward(desk.ledger, desk.noon) == 0
    assert desk.claim() == []


def test_a_campaigns_own_rate_does_not_wait_for_a_clock_that_was_ahead(desk: "Desk") -> None:
    """What it used up an hour ahead is forgotten when the clock is put back."""
    desk.started(20, pacing={"calls_per_second": 1.0})
    assert len(desk.claim(now=desk.noon + timedelta(hours=1))) == 3
    assert len(desk.claim(now=desk.noon)) == 3
    assert desk.claim(now=desk.noon) == []
