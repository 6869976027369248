"""What PostgreSQL, or a pooler, answers while it cannot be used: the ledger is away, and comes back."""

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from sqlalchemy import event, text
from sqlalchemy.engine import make_url

from campaigns.ledger import Ledger, LedgerUnavailable, open_ledger
from campaigns.ledger.logins import refused_for_good
from campaigns.ledger.postgresql import login_of
from campaigns.mistake import Mistake
from tests.pooler import Pooler

if TYPE_CHECKING:
    from tests.conftest import Desk


@pytest.fixture
def pooler(postgres_ledger_url: str) -> Iterator[Pooler]:
    """A pooler in front of an empty ledger."""
    with closing(Pooler(postgres_ledger_url)) as opened:
        yield opened


def answers(ledger: Ledger) -> bool:
    """Whether a statement goes through."""
    with ledger.read() as db:
        return bool(db.execute(text("SELECT 1")).scalar_one() == 1)


@pytest.mark.parametrize(
    "code",
    [
        pytest.param("53100", id="disk full"),
        pytest.param("53200", id="out of memory"),
        pytest.param("53300", id="too many connections"),
        pytest.param("57P01", id="admin shutdown"),
        pytest.param("57P03", id="crash recovery"),
        pytest.param("58030", id="I/O error"),
        pytest.param("40001", id="serialization"),
        pytest.param("40P01", id="deadlock"),
        pytest.param("25006", id="read-only"),
        pytest.param("25P03", id="idle in transaction"),
        pytest.param("57014", id="cancelled"),
        pytest.param("XX000", id="internal"),
    ],
)
def test_trouble_of_the_server_is_the_ledger_away(postgres_ledger: Ledger, code: str) -> None:
    """What the server says of its own state is LedgerUnavailable, with its code, and passes."""
    raised = text(f"DO $$ BEGIN RAISE EXCEPTION 'so it is' USING ERRCODE = '{code}'; END $$")
    with pytest.raises(LedgerUnavailable, match="so it is") as caught, postgres_ledger.write() as db:
        db.execute(raised)
    assert caught.value.code == code
    assert answers(postgres_ledger)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("08P01", "server conn crashed?"),
        ("08P01", "query_wait_timeout"),
        ("08P01", "bouncer config error"),
        ("3D000", "no such database: dialer"),
        ("28P01", "password authentication failed"),
        ("42501", "permission denied for database"),
        ("53300", "no more connections allowed (max_client_conn)"),
        ("57P01", "the database system is shutting down"),
    ],
)
def test_trouble_of_the_pooler_is_the_ledger_away(pooler: Pooler, code: str, words: str) -> None:
    """Whatever a pooler ends a running process's connections with, the process waits until it is over."""
    with closing(open_ledger(pooler.url)) as ledger:
        pooler.error = (code, words)
        for _ in range(3):
            with pytest.raises(LedgerUnavailable) as caught:
                answers(ledger)
            assert words in str(caught.value)
        pooler.error = None
        assert answers(ledger)


@pytest.mark.parametrize(
    ("code", "for_good"),
    [
        ("28P01", True),
        ("28000", True),
        ("3D000", True),
        ("42501", True),
        ("53300", False),
        ("57P03", False),
        ("08P01", False),
    ],
)
def test_who_is_refused_at_the_start_is_told_so_once(pooler: Pooler, code: str, for_good: bool) -> None:
    """At the start a refusal that no waiting heals is a Mistake, in the server's words; others may pass."""
    pooler.error = (code, "so it is")
    with pytest.raises(Mistake if for_good else LedgerUnavailable, match="so it is") as caught:
        open_ledger(pooler.url)
    assert "\n" not in str(caught.value)
    arguments = login_of(make_url(pooler.url).set(drivername="postgresql+psycopg"))
    assert refused_for_good(arguments) is for_good


def test_server_without_tls_is_no_server_for_one_who_wants_it(pooler: Pooler) -> None:
    """A connection that is to be encrypted, or whose certificate is to be checked, and cannot be."""
    for mode in ("require", "verify-full"):
        with pytest.raises(Mistake, match="does not support SSL"):
            open_ledger(f"{pooler.url}?sslmode={mode}")


def test_pooler_that_lets_a_login_wait_is_away(postgres_ledger_url: str) -> None:
    """A pooler without a server answers nothing to a login: that passes, and is no fault of the settings.

    Fails without: `StartupMessage`, or the look at how the login ended (logins.py).
    """
    with closing(Pooler(postgres_ledger_url, sessions=0)) as pooler:
        arguments = login_of(make_url(pooler.url).set(drivername="postgresql+psycopg"))
        assert refused_for_good(arguments) is False


def test_demoted_server_is_left_for_the_one_that_writes(
    postgres_ledger_url: str, postgres: psycopg.Connection
) -> None:
    """A connection to a server that only reads is thrown away: the next one finds the server that writes.

    Fails without: `_forget_connections` (engine.py).
    """
    name = make_url(postgres_ledger_url).database
    postgres.execute(f"ALTER DATABASE {name} SET default_transaction_read_only TO on")
    with closing(open_ledger(postgres_ledger_url)) as ledger:
        change = text("UPDATE identity SET stopped_code = NULL")
        with ledger.read() as one, ledger.read() as two:
            # Two that are connected already, and do not learn of what is changed now.
            one.execute(text("SELECT 1"))
            two.execute(text("SELECT 1"))
        postgres.execute(f"ALTER DATABASE {name} RESET default_transaction_read_only")
        with pytest.raises(LedgerUnavailable, match="read-only transaction"), ledger.write() as db:
            db.execute(change)
        with ledger.write() as one, ledger.write() as two:
            one.execute(text("SELECT 1"))
            two.execute(change)


def test_move_that_was_undone_is_made_again(
    postgres_ledger: Ledger, aside: Callable[..., Any], until_over_or_blocked: Callable[..., None]
) -> None:
    """A deadlock costs a move nothing but a second try.

    Fails without: the tries of `Ledger.make` (engine.py).
    """
    lock = text("SELECT pg_advisory_xact_lock(:key)")
    reached, tries = threading.Event(), []

    def other() -> None:
        with postgres_ledger.write() as db:
            # Not this one is to be ended.
            db.execute(text("SET LOCAL deadlock_timeout = '60s'"))
            db.execute(lock, {"key": 1})
            reached.set()
            db.execute(lock, {"key": 2})

    def move(db: Any) -> str:
        tries.append(1)
        if len(tries) == 1:
            db.execute(text("SET LOCAL deadlock_timeout = '10ms'"))
            db.execute(lock, {"key": 2})
            thread.append(aside(other))
            assert reached.wait(30)
            until_over_or_blocked(postgres_ledger, thread[0])
        db.execute(lock, {"key": 1})
        return "made"

    thread: list[Any] = []
    assert postgres_ledger.make(move) == "made"
    assert thread[0].result() is None
    assert len(tries) == 2


def test_move_that_is_undone_each_time_is_given_up(postgres_ledger: Ledger) -> None:
    """The tries have an end."""
    tries = []

    def move(db: Any) -> None:
        tries.append(1)
        db.execute(text("DO $$ BEGIN RAISE EXCEPTION 'so it is' USING ERRCODE = '40001'; END $$"))

    with pytest.raises(LedgerUnavailable, match="so it is"):
        postgres_ledger.make(move)
    assert len(tries) == 4


def test_only_what_was_undone_is_made_again(postgres_ledger: Ledger) -> None:
    """A move whose commit may have been made is not made a second time by itself."""
    tries = []

    def move(db: Any) -> None:
        tries.append(1)
        db.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))

    with pytest.raises(LedgerUnavailable):
        postgres_ledger.make(move)
    assert len(tries) == 1


def test_a_disk_that_is_full_loses_no_call(postgres_ledger: Ledger, desk_of: "type[Desk]") -> None:
    """A move to `dialing` that cannot be written is not made, and its attempt can be dialed afterwards."""
    desk = desk_of(postgres_ledger)
    desk.started(1)
    claimed = desk.claim()[0]
    full = "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION"
    with postgres_ledger.write() as db:
        db.exec_driver_sql(full + " 'no space left' USING ERRCODE = '53100'; END $$")
        db.exec_driver_sql(
            "CREATE TRIGGER full_disk BEFORE UPDATE ON attempts FOR EACH ROW EXECUTE FUNCTION full_disk()"
        )
    with pytest.raises(LedgerUnavailable, match="no space left"):
        desk.dial(claimed)
    assert desk.attempt(claimed).state == "queued"
    with postgres_ledger.write() as db:
        db.exec_driver_sql("DROP TRIGGER full_disk ON attempts")
    desk.dial(claimed)
    assert desk.attempt(claimed).state == "dialing"


def test_server_that_ends_each_new_connection_is_away(
    postgres_ledger: Ledger, postgres_ledger_url: str
) -> None:
    """The pool tries a second time, and says then in another way that it has none."""
    postgres_ledger.close()
    arguments = login_of(make_url(postgres_ledger_url))

    @event.listens_for(postgres_ledger._engine, "connect")
    def _ends(dbapi: Any, _record: object) -> None:
        with psycopg.connect(**arguments, autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s, 5000)", [dbapi.info.backend_pid])

    with pytest.raises(LedgerUnavailable, match="ends connections"), postgres_ledger.read():
        pass
