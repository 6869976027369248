"""A standby without the last commits is promoted: nobody is rung again, and what was lost is entered."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from datetime import datetime, timedelta
from typing import Any

import pytest
from redis import Redis
from sqlalchemy import insert, select, update

from campaigns.ledger import open_ledger, runs
from campaigns.ledger.claims import Claim
from campaigns.ledger.identity import let_go_on, read_identity
from campaigns.ledger.in_progress import CallLimit
from campaigns.ledger.lost_calls import Entered
from campaigns.ledger.runs import OPERATOR_ALL, PAUSED_WITH_ALL
from campaigns.ledger.tables import attempts, recipient_history, recipients
from campaigns.mistake import Mistake
from campaigns.report import status
from tests.gone_back import saved, set_back
from worker.connect import Connect
from worker.connect_errors import Misconfigured, Throttled
from worker.feed import feed
from worker.follow import Following
from worker.positions import Positions
from worker.reconcile import NotReconciled, Reconciled, Reconciling
from worker.settle import Settling

LEASE = timedelta(seconds=30)
ANSWERED = tuple(f"+14155550{number}" for number in range(100, 104))


@pytest.fixture
def dial_ledger(dial_ledger: Any, ledger_url: str) -> Iterator[Any]:
    """The ledger of these tests, in both databases."""
    with closing(type(dial_ledger)(open_ledger(ledger_url)._engine)) as ledger:
        yield ledger


class Town:
    """One ledger, its Redis, and the verbs of its processes."""

    def __init__(
        self, book: Any, valkey: Redis, make_dialer: Callable[..., Any], connect: Connect, slots: Any
    ) -> None:
        self.book, self.valkey, self.connect, self.slots = book, valkey, connect, slots
        self.make_dialer = make_dialer
        self.queue: list[Claim] = []
        self.problems: list[str | None] = []
        self.began: datetime = book.clock.utc()

    def positions(self, ledger: Any) -> Positions:
        return Positions(self.valkey, f"dialer:{read_identity(ledger).ledger_id}:", ledger.reached)

    def feed(self, ledger: Any = None) -> int:
        """A round of a control process that has this handle, with what it remembers."""
        ledger = ledger or self.book.ledger
        return feed(
            ledger,
            self.queue.extend,
            lambda: 0,
            calls_per_second=100.0,
            exchange="sandbox",
            lease=LEASE,
            limit=None,
            clock=self.book.clock.utc,
            report_problem=self.problems.append,
            positions=self.positions(ledger),
        )

    def dial(self, ledger: Any = None, **parts: Any) -> list[str]:
        """A worker takes what is queued."""
        ledger = ledger or self.book.ledger
        dialer = self.make_dialer(ledger=ledger, note_position=self.positions(ledger).note, **parts)
        taken, self.queue = self.queue, []
        return [dialer.dial(claim) for claim in taken]

    def fresh(self) -> Any:
        """Another process, which remembers nothing."""
        return type(self.book.ledger)(self.book.ledger._engine)

    def pause_all(self, *names: str) -> None:
        for name in names:
            with self.book.ledger.write() as db:
                runs.pause_all(db, runs.find(db, name), PAUSED_WITH_ALL, OPERATOR_ALL)

    def resume_all(self, *names: str) -> None:
        with self.book.ledger.write() as db:
            let_go_on(db, self.book.clock.utc())
        for name in names:
            with self.book.ledger.write() as db:
                runs.resume_paused_with_all(db, runs.find(db, name), self.book.clock.utc())

    def reconciling(self, connect: Any = None, **parts: Any) -> Reconciling:
        settling = Settling(
            ledger=self.book.ledger,
            connect=connect or self.connect,
            search_pacer=self.slots,
            describe_pacer=self.slots,
            exchange="sandbox",
            patience=timedelta(minutes=5),
            follow=True,
            clock=self.book.clock.utc,
        )
        return Reconciling(settling, self.book.clock.utc, **{"sleep": self.book.clock.sleep, **parts})

    def reconcile(self, **how: Any) -> Reconciled:
        return self.reconciling().reconcile(self.began, **how)

    def follow(self) -> None:
        following = Following(
            ledger=self.book.ledger,
            connect=self.connect,
            pacer=self.slots,
            exchange="sandbox",
            first=timedelta(seconds=65),
            limit=CallLimit(1_000, timedelta(minutes=5)),
            clock=self.book.clock.utc,
            stopping=lambda: False,
            call_over=lambda: None,
            report_problem=lambda _: None,
        )
        following.follow(100)

    def rows(self) -> list[tuple[int, str]]:
        return [(row.number, row.state) for row in self.book.attempts()]

    def people(self) -> list[str]:
        return [row.state for row in self.book.recipients()]


@pytest.fixture
def town(book: Any, valkey: Redis, make_dialer: Callable[..., Any], connect: Connect, slots: Any) -> Town:
    return Town(book, valkey, make_dialer, connect, slots)


def rings(exchange: Any, tokens: Sequence[str]) -> Counter[str]:
    """How often each token rang."""
    return Counter({token: exchange.rings(token) for token in tokens})


# --- it is found out --------------------------------------------------------------------------------------


def test_nobody_is_rung_again_by_a_standby_without_the_last_commits(town: Town, exchange: Any) -> None:
    """The calls are over, and the ledger has all of them waiting: nothing is released, status says why."""
    name = town.book.load(*ANSWERED)
    town.feed()
    then = saved(town.book.ledger)
    tokens = [claim.client_token for claim in town.queue]
    assert town.dial() == ["placed"] * 4
    set_back(town.book.ledger, then)
    town.book.clock.now += 3600
    # The tasks were lost with the old server; rescue takes the claims back, and they are due.
    with town.book.ledger.write() as db:
        db.execute(update(attempts).values(state="returned"))
        db.execute(update(recipients).values(state="waiting"))
    assert town.feed(town.fresh()) == 0
    assert town.dial() == []
    assert rings(exchange, tokens) == Counter(dict.fromkeys(tokens, 1))
    (problem,) = set(town.problems) - {None}
    assert problem.startswith("the ledger has gone back: it has lost 4 of the calls")
    seen = status(town.book.ledger, name, town.book.clock.utc())
    assert (seen.reason, seen.fault, seen.run.state) == (problem, True, "running")
    assert seen.as_json()["stopped"]["code"] == "ledger_went_back"
    # However often, and by whom it is tried.
    assert town.feed() == town.feed(town.fresh()) == 0
    assert town.people() == ["waiting"] * 4


def test_worker_that_has_a_task_sends_nothing_from_a_stopped_ledger(town: Town, exchange: Any) -> None:
    """The feed has found it out; what is queued in Redis still goes back without a ring."""
    town.book.load(*ANSWERED[:2])
    town.feed()
    then = saved(town.book.ledger)
    first, second = town.queue
    town.queue = [first]
    assert town.dial() == ["placed"]
    set_back(town.book.ledger, then)
    assert town.feed(town.fresh()) == 0
    town.queue = [first, second]
    assert town.dial(town.fresh()) == ["stale", "stale"]
    assert (exchange.rings(first.client_token), exchange.rings(second.client_token)) == (1, 0)
    assert town.people() == ["waiting"] * 2


def test_redis_that_has_lost_its_memory_is_no_alarm_and_is_told_again(town: Town, valkey: Redis) -> None:
    """FLUSHALL stops nothing; the next round of feeding notes what the ledger has reached."""
    town.book.load(*ANSWERED)
    town.feed()
    then = saved(town.book.ledger)
    town.queue, rest = town.queue[:2], town.queue[2:]
    assert town.dial() == ["placed"] * 2
    valkey.flushall()
    town.feed()
    assert set(town.problems) == {None}
    assert sum(town.positions(town.book.ledger).noted().slots.values()) == 2
    town.queue = rest
    assert town.dial() == ["placed"] * 2
    set_back(town.book.ledger, then)
    assert town.feed(town.fresh()) == 0
    assert read_identity(town.book.ledger).stopped


def test_nothing_is_released_while_redis_cannot_be_asked(town: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """It might know that the ledger has gone back."""
    town.book.load(*ANSWERED)
    monkeypatch.setattr(town, "valkey", Redis(unix_socket_path="/none/such.sock"))
    assert town.feed() == 0
    assert town.people() == ["waiting"] * 4


def test_an_operator_lets_it_go_on(town: Town) -> None:
    """Redis is filled from the ledger as it is now, and the next time is found out again."""
    name = town.book.load(*ANSWERED)
    town.feed()
    then = saved(town.book.ledger)
    town.dial()
    set_back(town.book.ledger, then)
    assert town.feed(town.fresh()) == 0
    town.resume_all(name)
    worker = town.fresh()
    town.book.clock.now += 60
    with town.book.ledger.write() as db:
        db.execute(update(attempts).values(state="returned"))
        db.execute(update(recipients).values(state="waiting"))
    assert town.feed(worker) == 4
    assert town.problems[-1] is None
    then = saved(town.book.ledger)
    assert town.dial(worker) == ["placed"] * 4
    set_back(town.book.ledger, then)
    assert town.feed(town.fresh()) == 0
    assert read_identity(town.book.ledger).stopped


# --- what was lost is entered -----------------------------------------------------------------------------


def lose(town: Town, *phones: str, claimed: bool = True, **choices: Any) -> tuple[str, dict[str, str]]:
    """Everybody is called, and the ledger forgets it: of claims (if `claimed`) or of waiting people it knows.

    Returns the campaign's name, and the contact ids by token.
    """
    name = town.book.load(*phones, **choices)
    then = saved(town.book.ledger)
    town.feed()
    if claimed:
        then = saved(town.book.ledger)
    town.dial()
    placed = {row.client_token: row.contact_id for row in town.book.attempts()}
    set_back(town.book.ledger, then)
    town.book.clock.now += 600
    town.pause_all(name)
    return name, placed


@pytest.mark.parametrize("claimed", [True, False], ids=["queued", "waiting"])
def test_lost_calls_are_given_back_to_their_recipients(town: Town, exchange: Any, claimed: bool) -> None:
    """Under their tokens and contact ids; they are followed to their outcomes, and nobody is dialed again."""
    name, placed = lose(town, *ANSWERED, claimed=claimed)
    found = town.reconcile()
    assert found.entered == {Entered.PLACED: 4}
    assert found.unmatched == []
    assert {row.client_token: row.contact_id for row in town.book.attempts()} == placed
    assert town.rows() == [(1, "placed")] * 4
    assert town.people() == ["in_progress"] * 4
    town.resume_all(name)
    assert town.feed() == 0
    town.follow()
    assert town.people() == ["done"] * 4
    assert rings(exchange, list(placed)) == Counter(dict.fromkeys(placed, 1))


def test_a_lost_call_to_a_number_that_was_corrected_since_is_given_back(town: Town) -> None:
    """The list was sent again before the lost calls were entered: the new number is not dialed too."""
    name, placed = lose(town, ANSWERED[0], claimed=False)
    with town.book.ledger.write() as db:
        (person,) = db.execute(select(recipients)).all()
        old = {"load_id": person.load_id, "line": person.line, "phone": person.phone}
        replaced = {"recipient_id": person.id, "what": "replaced", "at": town.book.clock.utc(), **old}
        db.execute(insert(recipient_history).values(**replaced, attributes={}, row={}))
        db.execute(update(recipients).values(phone="+14155559999"))
    assert town.reconcile().entered == {Entered.PLACED: 1}
    assert {row.client_token: row.contact_id for row in town.book.attempts()} == placed
    town.resume_all(name)
    assert town.feed() == 0


def test_twice_changes_nothing(town: Town) -> None:
    """Calls that were entered are known."""
    lose(town, *ANSWERED)
    town.reconcile()
    before = saved(town.book.ledger)
    found = town.reconcile()
    assert (found.listed, +found.entered) == (4, Counter())
    assert saved(town.book.ledger) == before


def test_dry_run_says_the_same_and_changes_nothing(town: Town) -> None:
    """Of each call what would become of it."""
    lose(town, *ANSWERED[:2], "+14155550100")
    before = saved(town.book.ledger)
    found = town.reconcile(dry_run=True)
    assert saved(town.book.ledger) == before
    assert found.entered == town.reconcile().entered


def test_call_that_may_be_of_several_holds_each_of_them(town: Town) -> None:
    """A family's telephone: neither is dialed again by itself, and the operator sees why. Twice is once."""
    family = "+14155550100"
    name, _ = lose(town, family, family, claimed=False, redial={"max_attempts": 1})
    found = town.reconcile()
    assert found.entered == {Entered.HELD: 2}
    assert town.people() == ["held", "held"]
    assert town.rows() == [(1, "unknown")] * 2
    assert all(
        row.settle_at is None and "one of 2 recipients" in row.evidence for row in town.book.attempts()
    )
    before = saved(town.book.ledger)
    assert town.reconcile().entered == {Entered.KNOWN: 2}
    assert saved(town.book.ledger) == before
    town.resume_all(name)
    assert town.feed() == 0


def test_token_that_a_call_carries_decides_between_several(town: Town) -> None:
    """With a search attribute a family's calls are told apart."""
    family = "+14155550100"
    connect = {
        "instance_id": "10a4c4eb-f57e-4d4c-b602-bf39176ced07",
        "contact_flow_id": "b0b8f2dd-ed1b-4c44-af36-ce189a178181",
        "source_phone_number": "+14155550199",
        "search_attribute": "DialerToken",
    }
    _, placed = lose(town, family, family, claimed=False, connect=connect)
    assert len(placed) == 2
    assert town.reconcile().entered == {Entered.PLACED: 2}
    assert {row.client_token: row.contact_id for row in town.book.attempts()} == placed


def test_second_lost_call_to_a_number_is_the_second_attempt(town: Town) -> None:
    """Busy, redialed, and both calls lost: two attempts again, in their order."""
    name = town.book.load("+14155550175", redial={"busy": "1m", "max_attempts": 3})
    then = saved(town.book.ledger)
    for _ in range(2):
        town.feed()
        town.dial()
        town.book.clock.now += 120
        town.follow()
        town.book.clock.now += 120
    placed = {row.client_token: (row.number, row.contact_id) for row in town.book.attempts()}
    assert len(placed) == 2
    set_back(town.book.ledger, then)
    town.pause_all(name)
    assert town.reconcile().entered == {Entered.PLACED: 2}
    found = {row.client_token: (row.number, row.contact_id) for row in town.book.attempts()}
    assert found == placed
    (person,) = town.book.recipients()
    assert (person.state, person.attempts) == ("in_progress", 2)


def test_call_of_an_attempt_in_doubt_is_left_to_its_search(town: Town) -> None:
    """Its answer was lost, not its commit: the search knows it better."""
    name = town.book.load("+14155550196")
    town.feed()
    assert town.dial() == ["unknown"] or town.rows() == [(1, "placed")]
    with town.book.ledger.write() as db:
        now = town.book.clock.utc()
        values = {
            "state": "unknown",
            "contact_id": None,
            "follow_at": None,
            "unknown_at": now,
            "settle_at": now,
        }
        db.execute(update(attempts).values(values))
    town.book.clock.now += 600
    town.pause_all(name)
    assert town.reconcile().entered == {Entered.SEARCHED: 1}
    assert town.rows() == [(1, "unknown")]


def test_call_of_nobody_here_is_listed(town: Town) -> None:
    """Another system's call through the API, or a recipient who is done: nothing changes."""
    lose(town, ANSWERED[0], claimed=False)
    with town.book.ledger.write() as db:
        db.execute(update(recipients).values(state="done"))
    before = saved(town.book.ledger)
    found = town.reconcile()
    assert found.entered == {Entered.UNMATCHED: 1}
    assert [each.why for each in found.unmatched] == [
        "no recipient with its number may have been called then"
    ]
    assert saved(town.book.ledger) == before


def test_recipient_of_a_finished_run_waits_for_resume_all_with_it(town: Town) -> None:
    """The run is not over while its call is followed, and nothing of it is dialed before all goes on."""
    name, _ = lose(town, ANSWERED[0], claimed=False)
    with town.book.ledger.write() as db:
        db.execute(update(recipients).values(state="expired"))
        db.execute(update(runs.runs).values(state="finished", reason=None, reason_code=None))
    assert town.reconcile().entered == {Entered.PLACED: 1}
    assert (town.book.run(name).state, town.book.run(name).reason_code) == ("paused", OPERATOR_ALL)
    assert town.reconcile().listed == 1
    town.resume_all(name)
    town.follow()
    town.feed()
    assert (town.people(), town.book.run(name).state) == (["done"], "finished")


def test_it_is_refused_while_anything_is_dialed(town: Town) -> None:
    """Unless the ledger is stopped, when nothing is."""
    name, _ = lose(town, ANSWERED[0])
    town.resume_all(name)
    with pytest.raises(Mistake, match=f"{name} is being dialed; stop all dialing first: dialer pause --all"):
        town.reconcile()
    with pytest.raises(Mistake, match="dialer pause --all"):  # also where there is nothing to enter
        town.reconciling().reconcile(town.book.clock.utc())
    worker = town.fresh()
    worker.reached.note(worker.reached.reached().__class__(read_identity(worker).epoch, {1: 10**6}))
    assert town.feed(worker) == 0
    assert town.reconcile().entered == {Entered.PLACED: 1}


def test_connect_that_does_not_tell_is_said_and_what_was_entered_stays(town: Town) -> None:
    """A right that is missing ends it at once; a throttle is waited for."""

    class Denied:
        def search(self, *_: Any, **__: Any) -> Any:
            raise Misconfigured("AccessDeniedException", "no connect:SearchContacts")

    class Busy:
        def __init__(self, connect: Connect) -> None:
            self.connect, self.throttles = connect, 2

        def search(self, *arguments: Any, **more: Any) -> Any:
            if self.throttles:
                self.throttles -= 1
                raise Throttled("TooManyRequestsException", "Too Many Requests")
            return self.connect.search(*arguments, **more)

        def describe(self, *arguments: Any) -> Any:
            return self.connect.describe(*arguments)

    lose(town, ANSWERED[0])
    with pytest.raises(NotReconciled, match="no connect:SearchContacts"):
        town.reconciling(Denied()).reconcile(town.began)
    found = town.reconciling(Busy(town.connect)).reconcile(town.began)
    assert found.entered == {Entered.PLACED: 1}
