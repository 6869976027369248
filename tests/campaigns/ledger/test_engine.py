import logging
import sqlite3
import stat
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url

from campaigns.ledger import Ledger, LedgerUnavailable, open_ledger
from campaigns.ledger.engine import Errand, NothingToRead, open_to_read
from campaigns.ledger.moves import Order
from campaigns.ledger.tables import instant, microseconds
from campaigns.mistake import Mistake

if TYPE_CHECKING:
    from tests.conftest import Desk

PASSWORD = "s3cr3t"


def pragma(ledger: Ledger, name: str) -> Any:
    with ledger.read() as db:
        return db.execute(text(f"PRAGMA {name}")).scalar_one()


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("name", ["a b.sqlite", "100%41?.sqlite", "Zoë.sqlite"])
def test_a_file_is_where_the_url_says(tmp_path: Path, name: str) -> None:
    """Spaces, % signs and letters of other languages may be in a path, quoted as in any URL."""
    folder = tmp_path / "50% of it"
    with closing(open_ledger(f"sqlite:///{quote(str(folder / name))}")) as ledger, ledger.read() as db:
        assert db.execute(text("SELECT count(*) FROM campaigns")).scalar_one() == 0
    # Beside it there may be its journal.
    assert {path.name.removesuffix("-journal") for path in folder.iterdir()} == {name}


def test_a_file_is_for_its_owner_only(tmp_path: Path) -> None:
    """Telephone numbers are in it: nobody else may read the file, or look into a folder made for it."""
    path = tmp_path / "data" / "ledger.sqlite"
    open_ledger(f"sqlite:///{path}").close()
    assert {mode(each) for each in path.parent.iterdir()} == {0o600}
    assert mode(path.parent) == 0o700


def test_asking_does_not_create(tmp_path: Path) -> None:
    """With create=False a ledger that does not exist is a Mistake that says how to make one."""
    path = tmp_path / "data" / "ledger.sqlite"
    with pytest.raises(Mistake, match=r"there is no ledger at .*ledger\.sqlite yet; load a list first"):
        open_ledger(f"sqlite:///{path}", create=False)
    assert list(tmp_path.iterdir()) == []


def test_what_exists_is_opened_without_create(sqlite_ledger_url: str) -> None:
    """create=False opens a ledger that is there."""
    with closing(open_ledger(sqlite_ledger_url, create=False)) as ledger:
        assert ledger.is_sqlite


def test_sqlite_writes_through(sqlite_ledger_url: str) -> None:
    """A commit is on the disk when it returns, and rows are never orphaned."""
    with closing(open_ledger(sqlite_ledger_url)) as ledger:
        assert (pragma(ledger, "synchronous"), pragma(ledger, "foreign_keys")) == (2, 1)


@pytest.mark.parametrize(
    ("version", "journal"),
    [
        ((3, 40, 1), "persist"),
        ((3, 44, 5), "persist"),
        ((3, 44, 6), "wal"),
        ((3, 45, 3), "persist"),
        ((3, 50, 6), "persist"),
        ((3, 50, 7), "wal"),
        ((3, 51, 2), "persist"),
        ((3, 51, 3), "wal"),
        ((3, 52, 0), "wal"),
    ],
)
def test_write_ahead_log_only_where_it_is_sound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: tuple[int, int, int], journal: str
) -> None:
    """SQLite releases with the bug that corrupts a write-ahead log keep a rollback journal."""
    monkeypatch.setattr(sqlite3, "sqlite_version_info", version)
    with closing(open_ledger(f"sqlite:///{tmp_path / 'ledger.sqlite'}")) as ledger:
        assert pragma(ledger, "journal_mode") == journal


@pytest.mark.parametrize("version", [(3, 40, 1), (3, 52, 0)])
def test_many_open_a_new_file_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: tuple[int, int, int]
) -> None:
    """Processes that open a new ledger at the same moment all get it, with either kind of journal."""
    monkeypatch.setattr(sqlite3, "sqlite_version_info", version)
    assert opened_at_once(f"sqlite:///{tmp_path / 'ledger.sqlite'}") == [0] * 6


def test_many_open_a_new_database_at_once(empty_postgres_url: str) -> None:
    """The same in PostgreSQL: one migrates, the others wait for it."""
    assert opened_at_once(empty_postgres_url) == [0] * 6


def opened_at_once(url: str) -> list[Any]:
    """What each of six threads, with a handle of its own, counts or raises."""
    together, found = threading.Barrier(6), []

    def open_and_count() -> None:
        together.wait(30)
        try:
            with closing(open_ledger(url)) as ledger, ledger.read() as db:
                found.append(db.execute(text("SELECT count(*) FROM campaigns")).scalar_one())
        except Exception as error:
            found.append(error)

    threads = [threading.Thread(target=open_and_count) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return found


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("", "is not a database URL"),
        ("ledger.sqlite", "is not a database URL"),
        (f"postgresql//dialer:{PASSWORD}@localhost/dialer", "is not a database URL"),
        (f"postgresql://dialer:{PASSWORD}@localhost:port/dialer", "is not a database URL"),
        (f"postgresql://dialer:a@{PASSWORD}@localhost/dialer", "%40"),
        (f"postgresql://dialer:a@{PASSWORD}:b@localhost/dialer", "is not a database URL"),
        (f"mysql://dialer:{PASSWORD}@localhost/dialer", "mysql is not supported; use sqlite or postgresql"),
        (f"nonsense://dialer:{PASSWORD}@localhost/dialer", "nonsense is not supported"),
        (f"postgresql://dialer:{PASSWORD}@localhost/dialer?no_such_option=1", "no_such_option"),
        ("sqlite://", "needs a file"),
        ("sqlite:///:memory:", "needs a file"),
    ],
)
def test_a_wrong_url_is_a_mistake(url: str, says: str) -> None:
    """A URL that cannot be used is a Mistake in one line that names the variable, and never its password."""
    with pytest.raises(Mistake) as caught:
        open_ledger(url)
    message = str(caught.value)
    assert message.startswith("DIALER_DATABASE_URL: ")
    assert says in message
    assert PASSWORD not in message
    assert "\n" not in message


def test_a_server_that_is_away_is_unavailable(tmp_path: Path) -> None:
    """No answer from PostgreSQL is LedgerUnavailable in one line, without the password."""
    with pytest.raises(LedgerUnavailable) as caught:
        open_ledger(f"postgresql://dialer:{PASSWORD}@/dialer?host={tmp_path}")
    message = str(caught.value)
    assert message.startswith("the ledger's database does not answer: ")
    assert PASSWORD not in message
    assert "\n" not in message


@pytest.mark.parametrize("driver", ["postgres", "postgresql", "postgresql+psycopg", "postgresql+psycopg2"])
def test_any_postgresql_url_will_do(postgres_ledger_url: str, driver: str) -> None:
    """Whichever driver a URL was written for, ours is used."""
    url = postgres_ledger_url.replace("postgresql", driver, 1)
    with closing(open_ledger(url)) as ledger, ledger.read() as db:
        assert db.execute(text("SELECT count(*) FROM campaigns")).scalar_one() == 0


def test_another_file_is_not_taken_for_a_ledger(tmp_path: Path) -> None:
    """A file that is no SQLite database is a Mistake, and stays as it is."""
    path = tmp_path / "people.csv"
    path.write_text("phone\n+14155550100\n" * 100)
    before = path.read_bytes()
    with pytest.raises(Mistake, match=r"people\.csv cannot be used as a ledger: file is not a database"):
        open_ledger(f"sqlite:///{path}")
    assert path.read_bytes() == before


def test_a_folder_that_cannot_be_made_is_a_mistake(tmp_path: Path) -> None:
    """Where no ledger can be created, the message says which setting to change."""
    (tmp_path / "file").touch()
    with pytest.raises(Mistake, match=r"cannot be created at .*; set DIALER_DATA_DIR"):
        open_ledger(f"sqlite:///{tmp_path / 'file' / 'ledger.sqlite'}")


def test_numbers_never_stand_in_errors(desk: "Desk") -> None:
    """An SQL error's text holds no parameter: they are people's numbers."""
    statement = text("SELECT * FROM nowhere WHERE phone = :phone")
    with pytest.raises(Exception, match="nowhere") as caught, desk.ledger.write() as db:
        db.execute(statement, {"phone": "+14155550123"})
    assert "+14155550123" not in str(caught.value)


def test_an_exception_undoes_the_transaction(desk: "Desk") -> None:
    """A block that raises leaves nothing behind."""
    with pytest.raises(KeyError), desk.ledger.write() as db:  # noqa: PT012 (the block is the transaction)
        db.execute(
            text("INSERT INTO suppressions (phone, campaign_id, reason, added_at) VALUES ('+1', 0, '', 0)")
        )
        raise KeyError
    with desk.ledger.read() as db:
        assert db.execute(text("SELECT count(*) FROM suppressions")).scalar_one() == 0


def test_an_errand_is_for_one(ledger: Ledger, second_ledger: Ledger) -> None:
    """While one transaction is on an errand, another cannot go on it, but may go on a different one."""
    if ledger.is_sqlite:
        with ledger.write() as db:
            assert ledger.alone(db, Errand.FEED)
        return
    with ledger.write() as one, second_ledger.write() as two:
        assert ledger.alone(one, Errand.FEED)
        assert not second_ledger.alone(two, Errand.FEED)
        assert second_ledger.alone(two, Errand.LOAD)
    with second_ledger.write() as two:
        assert second_ledger.alone(two, Errand.FEED)


def test_a_deadlock_is_passing(
    postgres_ledger: Ledger, aside: Callable[..., Any], until_over_or_blocked: Callable[..., None]
) -> None:
    """When PostgreSQL ends one of two transactions that wait for each other, that is LedgerUnavailable."""
    lock = text("SELECT pg_advisory_xact_lock(:key)")
    first_has_its_own = threading.Event()

    def first() -> None:
        with postgres_ledger.write() as db:
            db.execute(lock, {"key": 1})
            first_has_its_own.set()
            db.execute(lock, {"key": 2})

    unavailable = pytest.raises(LedgerUnavailable, match="deadlock detected")
    with unavailable, postgres_ledger.write() as db:
        db.execute(text("SET LOCAL deadlock_timeout = '10ms'"))
        db.execute(lock, {"key": 2})
        other = aside(first)
        assert first_has_its_own.wait(30)
        until_over_or_blocked(postgres_ledger, other)
        db.execute(lock, {"key": 1})
    assert other.result() is None


def test_a_restarted_server_costs_a_reconnect(postgres_ledger: Ledger) -> None:
    """Connections that the server has closed are replaced without a word."""
    others = text(
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    with postgres_ledger.read() as one, postgres_ledger.read() as two:
        one.execute(text("SELECT 1"))
        two.execute(text("SELECT 1"))
    with closing(open_ledger(postgres_ledger._engine.url.render_as_string(hide_password=False))) as killer:
        with killer.read() as db:
            assert db.execute(others).scalars().all() == [True, True]
        with postgres_ledger.read() as db:
            assert db.execute(text("SELECT 1")).scalar_one() == 1


@pytest.mark.parametrize(
    ("server", "ours"), [("off", "on"), ("local", "local"), ("on", "on"), ("remote_apply", "remote_apply")]
)
def test_a_commit_is_safe_when_it_returns(
    postgres_ledger_url: str, postgres: psycopg.Connection, server: str, ours: str
) -> None:
    """A database set up to answer before a commit is on the disk does not for us; stricter settings stay."""
    set_up(postgres, postgres_ledger_url, "synchronous_commit", server)
    with closing(open_ledger(postgres_ledger_url)) as ledger, ledger.write() as db:
        assert db.execute(text("SHOW synchronous_commit")).scalar_one() == ours


def test_a_setting_that_comes_later_counts(
    postgres_ledger: Ledger, postgres: psycopg.Connection, postgres_ledger_url: str
) -> None:
    """A connection that is open already does not keep what was right when it was made."""
    for _ in range(8):  # often enough for the driver to prepare what it can
        with postgres_ledger.write() as db:
            db.execute(text("SET SESSION synchronous_commit TO off"))
    with postgres_ledger.write() as db:
        assert db.execute(text("SHOW synchronous_commit")).scalar_one() == "on"


@pytest.mark.parametrize("isolation", ["serializable", "repeatable read"])
def test_a_strict_default_isolation_is_not_ours(
    desk_of: "type[Desk]",
    postgres_ledger_url: str,
    postgres: psycopg.Connection,
    aside: Callable[..., Any],
    until_over_or_blocked: Callable[..., None],
    isolation: str,
) -> None:
    """A move that has waited for another sees what that one has written, instead of failing.

    Fails without: READ COMMITTED in postgresql.py.
    """
    set_up(postgres, postgres_ledger_url, "default_transaction_isolation", isolation)
    with closing(open_ledger(postgres_ledger_url)) as ledger:
        desk = desk_of(ledger)
        desk.started(1)
        claimed = desk.claim()[0]
        with ledger.write() as db:
            db.execute(
                text("UPDATE attempts SET reason = 'by another' WHERE id = :id"), {"id": claimed.attempt_id}
            )
            waits = aside(lambda: desk.dial(claimed))
            until_over_or_blocked(ledger, waits)
        assert isinstance(waits.result(), Order)


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_a_database_without_room_for_all_names_is_refused(
    postgres_url: str, postgres: psycopg.Connection, encoding: str
) -> None:
    """A database in another encoding than UTF-8 is a Mistake in one line that says how to make one."""
    name = f"in_{encoding.lower()}"
    postgres.execute(f"CREATE DATABASE {name} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0")
    url = str(make_url(postgres_url).set(database=name).render_as_string(hide_password=False))
    for opens in (open_ledger, open_to_read):
        with pytest.raises(Mistake) as caught:
            opens(url)
        assert f"the database's encoding is {encoding}, and the ledger needs UTF8" in str(caught.value)
        assert "\n" not in str(caught.value)


def test_names_are_sent_in_utf8_whatever_the_environment_says(
    desk_of: "type[Desk]", postgres_ledger_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PGCLIENTENCODING is not for us.

    Fails without: `client_encoding` in postgresql.py.
    """
    monkeypatch.setenv("PGCLIENTENCODING", "LATIN1")
    with closing(open_ledger(postgres_ledger_url)) as ledger:
        desk = desk_of(ledger)
        (person,) = desk.people(1)
        desk.load(desk.campaign(), [replace(person, key="東京")])
        assert [row.key for row in desk.recipients()] == ["東京"]


def test_the_options_of_a_url_stay(postgres_ledger_url: str, desk_of: "type[Desk]") -> None:
    """A ledger in a schema of its own, which the URL names, is also found by a look that changes nothing."""
    desk_of_public = make_url(postgres_ledger_url)
    url = desk_of_public.update_query_dict({"options": "-c search_path=elsewhere"})
    with closing(open_ledger(postgres_ledger_url)) as public, public.write() as db:
        db.execute(text("CREATE SCHEMA elsewhere"))
    rendered = url.render_as_string(hide_password=False)
    with pytest.raises(NothingToRead, match="it has no tables yet"):
        open_to_read(rendered)
    open_ledger(rendered).close()
    with (
        closing(open_to_read(rendered)) as ledger,
        pytest.raises(Exception, match="read-only transaction"),
        ledger.read() as db,
    ):
        db.execute(text("DELETE FROM campaigns"))


def set_up(postgres: psycopg.Connection, url: str, name: str, value: str) -> None:
    """A setting of one database, for those who connect from now on."""
    postgres.execute(f"ALTER DATABASE {make_url(url).database} SET {name} TO '{value}'")


def test_instants_are_microseconds(desk: "Desk") -> None:
    """An instant comes back as it went in, to the microsecond and in UTC; a naive one is refused."""
    exact = desk.noon.replace(microsecond=123_457)
    assert instant(microseconds(exact)) == exact
    with pytest.raises(TypeError, match="offset-naive"):
        microseconds(datetime(2026, 3, 2))  # noqa: DTZ001 (what must not be done)


@pytest.fixture(autouse=True)
def _no_password_in_the_log(caplog: pytest.LogCaptureFixture) -> Any:
    """Whatever the outcome, no password reaches a log."""
    caplog.set_level(logging.DEBUG)
    yield
    assert PASSWORD not in caplog.text
