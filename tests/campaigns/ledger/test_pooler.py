"""The ledger behind a connection pooler in transaction mode (tests/pooler.py)."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from sqlalchemy import select, text
from sqlalchemy.engine import make_url

from campaigns.attempt import Outcome
from campaigns.ledger import Ledger, open_ledger
from campaigns.ledger.engine import open_to_read
from campaigns.ledger.lists import Loaded, put_list
from campaigns.ledger.moves import Order
from campaigns.ledger.rules import Judged
from campaigns.ledger.staging import Batch
from campaigns.ledger.suppressions import Number, put_numbers
from campaigns.ledger.tables import EVERY_CAMPAIGN, attempts, recipients, suppressions
from tests.pooler import Pooler

if TYPE_CHECKING:
    from tests.conftest import Desk

SESSIONS = 4


@pytest.fixture
def pooler(postgres_ledger_url: str) -> Iterator[Pooler]:
    """A pooler in front of an empty ledger."""
    with closing(Pooler(postgres_ledger_url, sessions=SESSIONS)) as opened:
        yield opened


@pytest.fixture
def pooled(pooler: Pooler) -> Iterator[Ledger]:
    """The ledger, by way of the pooler."""
    with closing(open_ledger(pooler.url)) as ledger:
        yield ledger


@pytest.fixture
def pooled_desk(desk_of: "type[Desk]", pooled: Ledger) -> "Desk":
    """An operator whose every transaction is in another session."""
    return desk_of(pooled)


def both(*do: Callable[[], Any]) -> list[Any]:
    """What they return, done at once."""
    with ThreadPoolExecutor(len(do)) as threads:
        return [each.result(60) for each in [threads.submit(each) for each in do]]


def test_two_loads_at_once_each_enter_their_own_people(
    pooler: Pooler, pooled_desk: "Desk", opened: Callable[[str], Ledger], desk_of: "type[Desk]"
) -> None:
    """Twenty times: every person is in the campaign that was named, and both reports are right.

    Fails without: one transaction for staging and entering (preparation.py).
    """
    loaders = [desk_of(opened(pooler.url)) for _ in range(2)]
    for turn in range(20):
        together = threading.Barrier(2)

        def load(number: int, turn: int = turn, together: threading.Barrier = together) -> Loaded:
            desk = loaders[number]
            people = desk.people(200, first=1 + 1_000 * number)

            def batches() -> Iterator[Batch]:
                for first in range(0, 200, 20):
                    together.wait(30)
                    batch = Batch()
                    for person in people[first : first + 20]:
                        batch.accept([person])
                    yield batch

            campaign = desk.campaign(f"campaign-{turn}-{number}")
            options = {"file_name": "people.csv", "columns": ("phone",), "now": desk.noon}
            return put_list(desk.ledger, campaign, batches(), **options)

        for number, loaded in enumerate(both(lambda: load(0), lambda: load(1))):
            assert (loaded.rows, loaded.accepted, loaded.duplicates) == (200, 200, 0)
            keys = {row.key for row in pooled_desk.recipients(f"campaign-{turn}-{number}")}
            assert keys == {f"key-{i}" for i in range(1 + 1_000 * number, 201 + 1_000 * number)}


def test_numbers_are_barred_for_their_own_campaign(
    pooler: Pooler, pooled: Ledger, opened: Callable[[str], Ledger], desk_of: "type[Desk]"
) -> None:
    """Two suppression lists at once: each number is on the one that it was put on, those beyond a piece too.

    Fails without: the preparation of `put_numbers`.
    """
    desks = [desk_of(opened(pooler.url)) for _ in range(2)]
    ids = []
    for number, desk in enumerate(desks):
        desk.load(desk.campaign(f"campaign-{number}"), desk.people(3, first=1 + 10_000 * number))
        ids.append(desk.run(f"campaign-{number}").campaign_id)
    together = threading.Barrier(2)

    def put(number: int) -> Any:
        def numbers() -> Iterator[Number]:
            for n in range(1, 6_001):
                if n % 2_500 == 0:
                    together.wait(30)
                yield Number(f"+1415{10_000 * number + n:07d}", f"list {number}", desks[0].noon)

        return put_numbers(desks[number].ledger, numbers(), campaign_id=ids[number], now=desks[0].noon)

    for put_in in both(lambda: put(0), lambda: put(1)):
        assert (put_in.numbers, put_in.added, put_in.withdrawn) == (6_000, 6_000, 3)
    with pooled.read() as db:
        rows = db.execute(select(suppressions.c.campaign_id, suppressions.c.reason)).all()
    assert {(row.campaign_id, row.reason) for row in rows} == {(ids[0], "list 0"), (ids[1], "list 1")}
    assert len(rows) == 12_000


def test_new_rules_are_judged_where_they_were_rehearsed(pooled_desk: "Desk") -> None:
    """Redials wait by the new rules, though the rehearsal and the change are many statements.

    Fails without: the preparation in `put_list` and in `rehearse`.
    """
    desk = pooled_desk
    old = desk.campaign(redial={"max_attempts": 3, "busy": "10m"})
    desk.load(old, desk.people(3))
    desk.start()
    for claimed in desk.claim():
        assert isinstance(desk.dial(claimed), Order)
        assert desk.placed(claimed)
        assert desk.ended(claimed, Outcome.BUSY, redial_at=desk.noon + timedelta(minutes=10))
    for minutes in (20, 30, 40, 50, 60):
        new = desk.campaign(redial={"max_attempts": 3, "busy": f"{minutes}m"})
        assert desk.load(new, []).judged == Judged(moved=3)
        wait = timedelta(minutes=minutes)
        assert {row.due_at - desk.noon for row in desk.recipients()} == {wait}


def test_workers_are_given_their_own_statements(pooled_desk: "Desk") -> None:
    """Many threads claim, dial and record through a few sessions, and every answer is to their own question.

    Fails without: `prepare_threshold` in postgresql.py.
    """
    desk = pooled_desk
    desk.started(240)
    claims = desk.claim(240)
    assert len(claims) == 240

    def work(mine: list[Any]) -> int:
        for claimed in mine:
            order = desk.dial(claimed)
            assert isinstance(order, Order)
            assert (order.phone, desk.placed(claimed)) == (desk.person(claimed).phone, True)
        return len(mine)

    shares = [claims[start::8] for start in range(8)]
    assert both(*[lambda share=share: work(share) for share in shares]) == [30] * 8
    with desk.ledger.read() as db:
        rows = db.execute(select(attempts.c.id, attempts.c.contact_id, recipients.c.phone).join(recipients))
        assert {(row.id, row.contact_id) for row in rows} == {
            (claimed.attempt_id, f"contact-{claimed.attempt_id}") for claimed in claims
        }


def test_nothing_stays_in_a_session(pooler: Pooler, pooled_desk: "Desk") -> None:
    """Whoever gets a session after us finds its settings as they were, no statement and no table of ours."""
    desk = pooled_desk
    number = Number("+14155550100", "asked to", desk.noon)
    for name in ("one", "two", "three", "four"):
        put_numbers(desk.ledger, [number], campaign_id=EVERY_CAMPAIGN, now=desk.noon)
        desk.started(20, name, redial={"max_attempts": 2})
        desk.load(desk.campaign(name, redial={"max_attempts": 3}), [])
    for claimed in desk.claim():
        desk.dial(claimed)
    left = """
        SELECT pg_backend_pid(), current_setting('synchronous_commit'), current_setting('temp_buffers'),
            current_setting('idle_in_transaction_session_timeout'),
            (SELECT count(*) FROM pg_prepared_statements),
            (SELECT count(*) FROM pg_class WHERE relnamespace = pg_my_temp_schema() AND relkind = 'r')
    """
    with closing(psycopg.connect(pooler.url, autocommit=True)) as other:
        found = [other.execute(left).fetchone() for _ in range(SESSIONS)]
    assert len({row[0] for row in found if row}) == SESSIONS
    assert {row[1:] for row in found if row} == {("on", "8MB", "0", 0, 0)}


def test_what_others_have_set_in_a_session_does_not_matter(pooler: Pooler, pooled: Ledger) -> None:
    """A session that another program left answering before a commit is safe waits for it with us.

    Fails without: synchronous_commit or READ COMMITTED in `_BEGIN`.
    """
    with closing(psycopg.connect(pooler.url, autocommit=True)) as other:
        for _ in range(SESSIONS):
            other.execute("SET synchronous_commit TO off; SET default_transaction_isolation TO serializable")
    for _ in range(SESSIONS):
        with pooled.write() as db:
            assert db.execute(text("SHOW synchronous_commit")).scalar_one() == "on"
            assert db.execute(text("SHOW transaction_isolation")).scalar_one() == "read committed"
            assert db.execute(text("SHOW idle_in_transaction_session_timeout")).scalar_one() == "15s"


def test_a_pooler_is_told_at_connecting(
    pooler: Pooler, postgres_ledger: Ledger, caplog: pytest.LogCaptureFixture
) -> None:
    """Through a pooler no statement is prepared, and the log says so once; directly they are."""
    caplog.set_level("INFO", "campaigns")
    with postgres_ledger.read() as db:
        assert db.connection.dbapi_connection.prepare_threshold == 5
    assert "pooler" not in caplog.text
    with closing(open_ledger(pooler.url)) as ledger, ledger.read() as one, ledger.read() as two:
        for db in (one, two):
            assert db.connection.dbapi_connection.prepare_threshold is None
    assert caplog.text.count("through a connection pooler") == 1


def test_a_look_goes_through_a_pooler_too(pooler: Pooler) -> None:
    """`open_to_read` sends no startup parameter that a pooler refuses, and still changes nothing."""
    with (
        closing(open_to_read(pooler.url)) as ledger,
        pytest.raises(Exception, match="read-only transaction"),
        ledger.read() as db,
    ):
        db.execute(text("DELETE FROM campaigns"))


def test_a_pooler_refuses_what_it_cannot_keep_track_of(pooler: Pooler) -> None:
    """The pooler of these tests is as strict as PgBouncer, or the test above would show nothing."""
    url = make_url(pooler.url).update_query_dict({"options": "-c search_path=public"})
    with pytest.raises(psycopg.OperationalError, match="unsupported startup parameter: options"):
        psycopg.connect(url.render_as_string(hide_password=False))
