from collections import Counter
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from sqlalchemy import select, update

from campaigns.attempt import LEGAL_MOVES, AttemptState, Outcome, RecipientState
from campaigns.client_token import client_token
from campaigns.ledger import Ledger, runs
from campaigns.ledger.claims import Claim
from campaigns.ledger.moves import (
    NotNow,
    Order,
    give_back,
    mark_dialing,
    mark_placed,
    mark_refused,
    mark_returned,
    mark_unknown,
)
from campaigns.ledger.outcomes import follow_later, mark_ended, take_due_follows
from campaigns.ledger.tables import attempts, recipients
from campaigns.ledger.tallies import tallied
from campaigns.ledger.unknowns import mark_found
from campaigns.stranger import Stranger

if TYPE_CHECKING:
    from tests.conftest import Desk

Q, R, D = AttemptState.QUEUED, AttemptState.RETURNED, AttemptState.DIALING
P, E, X, U = AttemptState.PLACED, AttemptState.ENDED, AttemptState.REFUSED, AttemptState.UNKNOWN


def dialing(desk: "Desk", attempt_id: int, fence: int) -> bool:
    order = mark_dialing(desk.ledger, attempt_id, fence, exchange="connect", now=desk.noon, lease=desk.lease)
    return isinstance(order, Order)


def placed(desk: "Desk", attempt_id: int, fence: int) -> bool:
    return mark_placed(desk.ledger, attempt_id, fence, "contact", now=desk.noon, follow_at=desk.noon)


def given_back(desk: "Desk", attempt_id: int, fence: int) -> bool:
    return give_back(desk.ledger, attempt_id, fence, "no slot", due_at=desk.noon)


def returned(desk: "Desk", attempt_id: int, fence: int) -> bool:
    return mark_returned(desk.ledger, attempt_id, fence, "throttled", due_at=desk.noon)


def refused(desk: "Desk", attempt_id: int, fence: int) -> bool:
    return mark_refused(desk.ledger, attempt_id, fence, "no", now=desk.noon)


def unknown(desk: "Desk", attempt_id: int, fence: int) -> bool:
    return mark_unknown(desk.ledger, attempt_id, fence, "no answer", now=desk.noon, settle_at=desk.noon)


def found(desk: "Desk", attempt_id: int, fence: int) -> bool:
    with desk.ledger.read() as db:
        query = select(recipients.c.phone).join(attempts).where(attempts.c.id == attempt_id)
        call = Stranger(f"contact-found-{attempt_id}", desk.noon, db.execute(query).scalar_one())
    return mark_found(desk.ledger, attempt_id, fence, call, follow_at=desk.noon, evidence="found")


def ended(desk: "Desk", attempt_id: int, _fence: int) -> bool:
    return mark_ended(desk.ledger, attempt_id, Outcome.BUSY, ended_at=desk.noon, redial=lambda _: desk.noon)


Move = Callable[["Desk", int, int], bool]
# What each move does: from → to, and what becomes of the recipient.
MOVES: dict[Move, tuple[dict[AttemptState, AttemptState], RecipientState]] = {
    dialing: ({Q: D}, RecipientState.IN_PROGRESS),
    placed: ({D: P, U: P}, RecipientState.IN_PROGRESS),
    given_back: ({Q: R}, RecipientState.WAITING),
    returned: ({D: R, U: R}, RecipientState.WAITING),
    refused: ({D: X, U: X}, RecipientState.DONE),
    unknown: ({D: U}, RecipientState.IN_PROGRESS),
    found: ({U: P}, RecipientState.IN_PROGRESS),
    ended: ({P: E}, RecipientState.WAITING),
}


@pytest.mark.parametrize("move", MOVES)
def test_a_move_names_the_state_that_it_expects(desk: "Desk", move: Move) -> None:
    """From every state each move does exactly what is legal, or nothing at all and says so."""
    steps, person_becomes = MOVES[move]
    desk.started(len(AttemptState))
    claims = desk.claim()
    for claimed, state in zip(claims, AttemptState, strict=True):
        desk.bring(claimed, state)
    for claimed, state in zip(claims, AttemptState, strict=True):
        before, person = desk.attempt(claimed), desk.person(claimed)
        moved = move(desk, claimed.attempt_id, claimed.fence)
        assert moved == (state in steps)
        if moved:
            assert steps[state] in LEGAL_MOVES[state]
            after = (desk.attempt(claimed).state, desk.person(claimed).state)
            assert after == (steps[state], person_becomes)
        else:
            assert (desk.attempt(claimed), desk.person(claimed)) == (before, person)


@pytest.mark.parametrize("move", [move for move in MOVES if move is not ended])
def test_a_stale_fence_moves_nothing(desk: "Desk", move: Move) -> None:
    """A task of an earlier or a made-up claim finds nothing, whatever the state is."""
    desk.started(len(AttemptState))
    claims = desk.claim()
    for claimed, state in zip(claims, AttemptState, strict=True):
        desk.bring(claimed, state)
    before = (desk.attempts(), desk.recipients())
    for claimed in claims:
        assert not move(desk, claimed.attempt_id, claimed.fence - 1)
        assert not move(desk, claimed.attempt_id, claimed.fence + 1)
        assert not move(desk, claimed.attempt_id + 1_000, claimed.fence)
    assert (desk.attempts(), desk.recipients()) == before


def test_a_delivery_after_the_claim_was_given_to_another(desk: "Desk") -> None:
    """A worker that wakes up with an old claim cannot use or give back the newer one."""
    desk.started(1)
    (old,) = desk.claim()
    assert desk.rescue(desk.noon + desk.lease + timedelta(seconds=1)) == (1, 0)
    (new,) = desk.claim()
    assert (new.attempt_id, new.fence) == (old.attempt_id, old.fence + 1)
    assert isinstance(desk.dial(old), NotNow)
    assert not given_back(desk, old.attempt_id, old.fence)
    order = desk.dial(new)
    assert (order.fence, order.client_token) == (new.fence, old.client_token)
    assert not desk.placed(old)
    assert desk.placed(new)


def test_an_order_has_all_that_the_call_needs(desk: "Desk") -> None:
    """The move to `dialing` hands out token, number, attributes and options, and sets a lease."""
    desk.started(1)
    (claimed,) = desk.claim()
    later = desk.noon + timedelta(seconds=9)
    order = desk.dial(claimed, now=later)
    (person,) = desk.recipients()
    assert order == Order(
        attempt_id=claimed.attempt_id,
        run_id=desk.run().id,
        fence=1,
        client_token=claimed.client_token,
        phone=person.phone,
        attributes=person.attributes,
        connect=desk.campaign().connect,
        position=order.position,
    )
    row = desk.attempt(claimed)
    assert (row.state, row.dialing_at, row.lease_until) == ("dialing", later, later + desk.lease)


@pytest.mark.parametrize(
    ("stop", "says", "person"),
    [
        ("paused", "the campaign is paused", "waiting"),
        ("finished", "the campaign is finished", "waiting"),
        ("cancelled", "the campaign is cancelled", "cancelled"),
    ],
)
def test_dialing_asks_whether_the_campaign_runs(desk: "Desk", stop: str, says: str, person: str) -> None:
    """A claim that was made while the campaign stopped is not dialed, and costs nothing."""
    desk.started(1)
    (claimed,) = desk.claim()
    # Without taking the claim back, as when the claim is committed just after it.
    with desk.ledger.write() as db:
        db.execute(update(runs.runs).values(state=stop))
    assert desk.dial(claimed) == NotNow(says)
    assert (desk.attempt(claimed).state, desk.attempt(claimed).reason) == ("returned", says)
    assert desk.states() == [person]


def test_dialing_asks_for_the_suppression_list(desk: "Desk") -> None:
    """A number that was suppressed after it was claimed, or returned, does not ring."""
    desk.started(2)
    one, two = desk.claim()
    assert given_back(desk, two.attempt_id, two.fence)
    desk.suppress(*(row.phone for row in desk.recipients()))
    (two,) = desk.claim()
    assert [desk.dial(claimed) for claimed in (one, two)] == [NotNow("the number is suppressed")] * 2
    assert desk.states() == ["suppressed", "suppressed"]
    assert [(row.state, row.dialing_at) for row in desk.attempts()] == [("returned", None)] * 2
    assert desk.claim() == []


def test_dialing_through_the_other_exchange_is_refused(desk: "Desk") -> None:
    """A task that strayed into the other side's queue goes back, uncharged."""
    desk.started(1, exchange="sandbox")
    (claimed,) = desk.claim(exchange="sandbox")
    assert isinstance(desk.dial(claimed, exchange="connect"), NotNow)
    assert (desk.attempt(claimed).state, desk.states()) == ("returned", ["waiting"])


def test_a_placed_call_has_its_contact(desk: "Desk") -> None:
    """Contact, time and the first look at it are recorded, and the reason of an earlier return is gone."""
    desk.started(1)
    (first,) = desk.claim()
    assert given_back(desk, first.attempt_id, first.fence)
    (claimed,) = desk.claim()
    desk.dial(claimed)
    later = desk.noon + timedelta(seconds=65)
    assert desk.placed(claimed, follow_at=later)
    row = desk.attempt(claimed)
    assert (row.contact_id, row.placed_at, row.follow_at, row.reason) == (
        f"contact-{claimed.attempt_id}",
        desk.noon,
        later,
        None,
    )
    assert desk.states() == ["in_progress"]


@pytest.mark.parametrize("state", [D, U])
def test_a_call_that_nobody_follows_is_done(desk: "Desk", state: AttemptState) -> None:
    """Where outcomes are not asked for, the recipient is done as soon as the call is placed."""
    desk.started(1)
    (claimed,) = desk.claim()
    desk.bring(claimed, state)
    assert desk.placed(claimed, follow_at=None)
    assert (desk.attempt(claimed).state, desk.states()) == ("placed", ["done"])
    assert take_due_follows(desk.ledger, exchange="connect", limit=9, now=desk.noon, until=desk.noon) == []


def test_a_late_answer_settles_an_unknown(desk: "Desk") -> None:
    """An answer after the attempt was given up is evidence: placed, and no longer held."""
    desk.started(1)
    (claimed,) = desk.claim()
    desk.dial(claimed)
    assert desk.rescue(desk.noon + desk.lease + timedelta(seconds=1)) == (0, 1)
    assert desk.not_found(claimed, redial=False)
    assert desk.states() == ["held"]
    assert desk.placed(claimed)
    assert (desk.attempt(claimed).state, desk.states()) == ("placed", ["in_progress"])
    assert desk.ended(claimed)
    assert desk.states() == ["done"]


@pytest.mark.parametrize("move", [returned, refused])
def test_a_late_no_settles_an_unknown_too(desk: "Desk", move: Move) -> None:
    """An answer that it did not ring, come after rescue, frees the held recipient and a finished run."""
    desk.started(1)
    (claimed,) = desk.claim()
    desk.bring(claimed, U)
    assert desk.not_found(claimed, redial=False)
    assert runs.finish(desk.ledger, desk.noon) == 1
    assert move(desk, claimed.attempt_id, claimed.fence)
    if move is refused:
        assert (desk.states(), desk.run().state) == (["done"], "finished")
        return
    assert (desk.states(), desk.run().state) == (["waiting"], "running")
    (again,) = desk.claim()
    assert (again.attempt_id, again.client_token) == (claimed.attempt_id, claimed.client_token)


def test_recording_twice_is_recording_once(desk: "Desk") -> None:
    """A second try of a record whose first answer was lost succeeds, and changes nothing."""
    desk.started(1)
    (claimed,) = desk.claim()
    desk.bring(claimed, P)
    before = (desk.attempt(claimed), desk.person(claimed))
    assert desk.placed(claimed)
    assert (desk.attempt(claimed), desk.person(claimed)) == before


def test_a_late_no_leaves_a_newer_attempt_alone(desk: "Desk") -> None:
    """That attempt 1 never rang does not queue it again beside attempt 2."""
    desk.started(1)
    (old,) = desk.claim()
    desk.bring(old, U)
    with desk.ledger.write() as db:
        db.execute(update(recipients).values(state="waiting"))
    (new,) = desk.claim()
    before = (desk.attempt(old), desk.attempt(new), desk.person(new))
    assert not returned(desk, old.attempt_id, old.fence)
    assert (desk.attempt(old), desk.attempt(new), desk.person(new)) == before


def test_only_its_own_exchange_follows_a_call(desk: "Desk") -> None:
    """Connect knows nothing of the sandbox's calls, and would have to call them lost."""
    desk.started(1, exchange="sandbox")
    (claimed,) = desk.claim(exchange="sandbox")
    desk.dial(claimed, exchange="sandbox")
    desk.placed(claimed)
    found = [
        len(take_due_follows(desk.ledger, exchange=one, limit=9, now=desk.noon, until=desk.noon))
        for one in ("connect", "sandbox")
    ]
    assert found == [0, 1]


def test_a_late_answer_leaves_a_newer_attempt_alone(desk: "Desk") -> None:
    """What is heard of attempt 1 moves attempt 1, and not the recipient whose attempt 2 is on the wire."""
    desk.started(1)
    (old,) = desk.claim()
    desk.bring(old, U)
    # As an operator's requeue does.
    with desk.ledger.write() as db:
        db.execute(update(recipients).values(state="waiting"))
    (new,) = desk.claim()
    assert (desk.attempt(new).number, new.client_token) != (1, old.client_token)
    desk.dial(new)
    before = (desk.attempt(new), desk.person(new))
    assert desk.placed(old)
    assert desk.attempt(old).state == "placed"
    assert (desk.attempt(new), desk.person(new)) == before
    assert desk.ended(old, Outcome.BUSY, redial_at=desk.noon)
    assert desk.attempt(old).state == "ended"
    assert (desk.attempt(new), desk.person(new)) == before


def test_an_ended_call_has_its_outcome(desk: "Desk") -> None:
    """Outcome and end are recorded once; a second report of the same end changes nothing."""
    desk.started(1)
    (claimed,) = desk.claim()
    desk.bring(claimed, P)
    end = desk.noon + timedelta(seconds=30)
    assert mark_ended(desk.ledger, claimed.attempt_id, Outcome.VOICEMAIL, ended_at=end, redial=lambda _: None)
    assert not mark_ended(desk.ledger, claimed.attempt_id, Outcome.BUSY, ended_at=end, redial=lambda _: end)
    row = desk.attempt(claimed)
    assert (row.state, row.outcome, row.ended_at, row.follow_at) == ("ended", "voicemail", end, None)
    assert desk.states() == ["done"]


def test_due_calls_are_followed_once(desk: "Desk", second_desk: "Desk") -> None:
    """A call that is due to be looked at is handed to one follower, and again only when its time is over."""
    campaign = desk.campaign(redial={"max_attempts": 3, "busy": "10m"})
    desk.load(campaign, desk.people(3))
    desk.start()
    claims = desk.claim()
    for claimed, seconds in zip(claims, (20, 10, 70), strict=True):
        desk.dial(claimed)
        desk.placed(claimed, follow_at=desk.noon + timedelta(seconds=seconds))
    now = desk.noon + timedelta(seconds=20)
    until = now + timedelta(seconds=60)
    first = take_due_follows(desk.ledger, exchange="connect", limit=1, now=now, until=until)
    second = take_due_follows(second_desk.ledger, exchange="connect", limit=9, now=now, until=until)
    assert [call.attempt_id for call in (*first, *second)] == [claims[1].attempt_id, claims[0].attempt_id]
    assert take_due_follows(desk.ledger, exchange="connect", limit=9, now=now, until=until) == []
    assert (first[0].contact_id, first[0].earlier, first[0].follows, first[0].placed_at) == (
        f"contact-{claims[1].attempt_id}",
        (),
        1,
        desk.noon,
    )
    assert (first[0].campaign, first[0].instance_id) == (campaign, campaign.connect.instance_id)
    follow_later(desk.ledger, claims[0].attempt_id, until + timedelta(hours=1))
    again = take_due_follows(desk.ledger, exchange="connect", limit=9, now=until, until=until)
    assert sorted((call.attempt_id, call.follows) for call in again) == sorted(
        [(claims[1].attempt_id, 2), (claims[2].attempt_id, 1)]
    )


def test_a_call_that_is_over_is_not_looked_at_later(desk: "Desk") -> None:
    """Putting off a look at a call that has ended meanwhile changes nothing."""
    desk.started(1)
    (claimed,) = desk.claim()
    desk.bring(claimed, E)
    before = desk.attempt(claimed)
    follow_later(desk.ledger, claimed.attempt_id, desk.noon)
    assert desk.attempt(claimed) == before


class Life(RuleBasedStateMachine):
    """Anything may happen to anybody at any time; whatever happens must be legal."""

    def __init__(self, desk: "Desk") -> None:
        super().__init__()
        self.desk = desk
        desk.wipe()
        self.claims: list[Claim] = []
        self.now = desk.noon
        self.before: dict[int, Any] = {}

    @initialize(count=st.integers(1, 4))
    def load(self, count: int) -> None:
        self.desk.started(count)
        self.people = count

    @rule(keep=st.integers(1, 3))
    def feed(self, keep: int) -> None:
        self.claims += self.desk.claim(keep_queued=keep, now=self.now)
        assert sum(row.state == Q for row in self.desk.attempts()) <= 3

    @rule(
        move=st.sampled_from(sorted(MOVES, key=lambda move: move.__name__)),
        which=st.integers(0, 20),
        old=st.booleans(),
    )
    def move(self, move: Move, which: int, old: bool) -> None:
        if self.claims:
            claimed = self.claims[which % len(self.claims)]
            move(self.desk, claimed.attempt_id, claimed.fence - old)

    @rule(seconds=st.sampled_from([1, 20, 40]))
    def pass_time(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule()
    def rescue(self) -> None:
        self.desk.rescue(self.now)

    @rule(which=st.integers(0, 20), redial=st.booleans())
    def search_in_vain(self, which: int, redial: bool) -> None:
        if self.claims:
            self.desk.not_found(self.claims[which % len(self.claims)], redial=redial, now=self.now)

    @rule()
    def pause(self) -> None:
        self.desk.pause()

    @rule()
    def resume(self) -> None:
        if self.desk.run().state != "cancelled":
            self.desk.start()

    @rule(which=st.integers(0, 3))
    def suppress(self, which: int) -> None:
        phone = self.desk.recipients()[which % self.people].phone
        if phone not in self.suppressed:
            self.suppressed.add(phone)
            self.desk.suppress(phone)

    suppressed: set[str]

    @initialize()
    def nobody_is_suppressed(self) -> None:
        self.suppressed = set()

    @rule(sure=st.integers(0, 4))
    def cancel(self, sure: int) -> None:
        if sure == 0:
            self.desk.cancel()

    @invariant()
    def only_legal_moves(self) -> None:
        if not hasattr(self, "people"):
            return
        rows = {row.id: row for row in self.desk.attempts()}
        for attempt_id, was in self.before.items():
            row = rows[attempt_id]
            steps = {was.state} | LEGAL_MOVES[AttemptState(was.state)]
            assert row.state in steps, f"{was.state} → {row.state}"
            assert (row.number, row.client_token, row.recipient_id) == (
                was.number,
                was.client_token,
                was.recipient_id,
            )
            assert row.fence - was.fence == (was.state == R and row.state == Q)
        self.before = rows
        self.everybody_is_in_one_state()

    def everybody_is_in_one_state(self) -> None:
        people, rows = self.desk.recipients(), list(self.before.values())
        assert len(people) == self.people
        cancelled = self.desk.run().state == "cancelled"
        for person in people:
            mine = [row for row in rows if row.recipient_id == person.id]
            assert [row.number for row in mine] == list(range(1, person.attempts + 1))
            assert [row.client_token for row in mine] == [
                client_token("reminders", 1, person.key, row.number) for row in mine
            ]
            assert all(row.state in (E, X, U, P) for row in mine[:-1])
            last = mine[-1].state if mine else None
            allowed: dict[str, set[Any]] = {
                "waiting": {None, R, E, U},
                "in_progress": {Q, D, P, U},
                "done": {E, X},
                "held": {U},
                "suppressed": {R},
                "cancelled": {None, R, E, U},
            }
            assert last in allowed[person.state], f"{person.state} with {last}"
            assert not (cancelled and (person.state == "waiting" or last == Q))
        with self.desk.ledger.read() as db:
            told = tallied(db, runs.find(db, "reminders").id)
        assert told.recipients == Counter(person.state for person in people)
        assert told.attempts == Counter(row.state for row in rows)

    def teardown(self) -> None:
        self.desk.wipe()


def test_whatever_happens_is_legal(ledger: Ledger, desk: "Desk") -> None:
    """No order of feeding, dialing, stale deliveries, crashes, pauses and cancellations leaves the rules."""
    examples = settings(max_examples=12, stateful_step_count=20, deadline=None, database=None)
    run_state_machine_as_test(lambda: Life(desk), settings=examples)
