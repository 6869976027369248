"""A ledger and a program of different versions: neither harms the other."""

from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import create_engine, event, inspect, text
from sqlalchemy.engine import make_url

from campaigns.ledger import Ledger, migrations, open_ledger
from campaigns.ledger.engine import HEAD, OtherVersion
from campaigns.ledger.positions import check
from campaigns.mistake import Mistake

if TYPE_CHECKING:
    from tests.conftest import Desk, Said

OLDER = "0006"

READING: list[tuple[str, ...]] = [
    ("status",),
    ("status", "reminders", "--json"),
    ("explain", "reminders", "+14155550101"),
    ("export", "reminders"),
    ("schedule",),
    ("health", "dial"),
    ("suppress", "list"),
    ("requeue", "reminders", "--outcome", "busy", "--dry-run"),
    ("reconcile", "--since", "2026-03-02T09:00+00:00", "--dry-run"),
]


def make_older(url: str) -> None:
    """Make the ledger that an older version of this program has left behind."""
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    parsed = make_url(url)
    engine = create_engine(
        parsed if parsed.drivername == "sqlite" else parsed.set(drivername="postgresql+psycopg")
    )
    with closing(engine.connect()) as db, db.begin():
        config.attributes["connection"] = db
        command.upgrade(config, OLDER)
    engine.dispose()


def revision(url: str) -> str:
    """The revision of a ledger's tables."""
    parsed = make_url(url)
    engine = create_engine(
        parsed if parsed.drivername == "sqlite" else parsed.set(drivername="postgresql+psycopg")
    )
    with closing(engine.connect()) as db:
        found = str(db.execute(text("SELECT version_num FROM alembic_version")).scalar_one())
    engine.dispose()
    return found


def become(ledger: Ledger, version: str) -> None:
    """Another version's process brings the ledger up to date."""
    with ledger.write() as db:
        db.execute(text("UPDATE alembic_version SET version_num = :version"), {"version": version})


@pytest.mark.parametrize("arguments", READING, ids=" ".join)
def test_reading_never_migrates(
    new_ledger_url: str,
    dialer: "Callable[..., Said]",
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
) -> None:
    """A command that reads leaves an older ledger alone, and says in one line what brings it up to date."""
    make_older(new_ledger_url)
    monkeypatch.setenv("DIALER_DATABASE_URL", new_ledger_url)
    said = dialer(*arguments)
    assert (said.code, said.out) == (2, "")
    assert "are those of an older version" in said.err
    assert "dialer up" in said.err
    assert said.err.count("\n") == 1
    assert revision(new_ledger_url) == OLDER


def test_a_plan_reads_without_the_ledger(
    new_ledger_url: str, dialer: "Callable[..., Said]", monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """`dialer plan` says what becomes of a list, and that it has not looked at the older ledger."""
    make_older(new_ledger_url)
    monkeypatch.setenv("DIALER_DATABASE_URL", new_ledger_url)
    (tmp_path / "campaign.toml").write_text(
        'name = "x"\n[connect]\ninstance_id = "10a4c4eb-f57e-4d4c-b602-bf39176ced07"\n'
        'contact_flow_id = "b0b8f2dd-ed1b-4c44-af36-ce189a178181"\nsource_phone_number = "+14155550199"\n'
    )
    (tmp_path / "list.csv").write_text("phone\n+14155550101\n")
    said = dialer("plan", "campaign.toml", "list.csv")
    assert said.code == 0
    assert "it is of another version" in said.out
    assert revision(new_ledger_url) == OLDER


@pytest.mark.parametrize("arguments", READING[:1], ids=" ".join)
def test_reading_makes_no_ledger(
    empty_postgres_url: str,
    dialer: "Callable[..., Said]",
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
) -> None:
    """In an empty database a command that reads creates no table, and says how to begin."""
    monkeypatch.setenv("DIALER_DATABASE_URL", empty_postgres_url)
    said = dialer(*arguments)
    assert said.code == 2
    assert "load a list first" in said.err
    engine = create_engine(make_url(empty_postgres_url).set(drivername="postgresql+psycopg"))
    assert inspect(engine).get_table_names() == []
    engine.dispose()


def test_writing_migrates(
    new_ledger_url: str, dialer: "Callable[..., Said]", monkeypatch: pytest.MonkeyPatch
) -> None:
    """A command that writes brings an older ledger up to date first."""
    make_older(new_ledger_url)
    monkeypatch.setenv("DIALER_DATABASE_URL", new_ledger_url)
    assert dialer("suppress", "add", "+14155550101").code == 0
    assert revision(new_ledger_url) == HEAD
    assert dialer("status").code == 0


@pytest.mark.parametrize("migrate", [True, False])
def test_newer_ledger_is_refused_whoever_asks(ledger: Ledger, ledger_url: str, migrate: bool) -> None:
    """A newer ledger is neither read nor written by a program that does not know its tables."""
    become(ledger, "9999")
    with pytest.raises(Mistake, match="newer than this program"):
        open_ledger(ledger_url, migrate=migrate)


@pytest.mark.parametrize("version", ["9999", OLDER])
def test_running_worker_dials_nothing_from_a_ledger_of_another_version(desk: "Desk", version: str) -> None:
    """The move to `dialing` finds it out, and writes nothing: the attempt stays for a worker that knows.

    Fails without: the comparison in `mark_dialing` (moves.py).
    """
    desk.started(2)
    first, second = desk.claim()
    become(desk.ledger, version)
    with pytest.raises(OtherVersion, match=f"revision {version}, and it needs {HEAD}"):
        desk.dial(first)
    assert desk.attempt(first).state == desk.attempt(second).state == "queued"
    become(desk.ledger, HEAD)
    assert desk.dial(first).attempt_id == first.attempt_id


def test_running_feeder_releases_nothing(desk: "Desk") -> None:
    """Nor is anything claimed, or compared."""
    desk.started(2)
    become(desk.ledger, "9999")
    with pytest.raises(OtherVersion):
        desk.claim()
    with pytest.raises(OtherVersion):
        check(desk.ledger)
    with pytest.raises(OtherVersion):
        desk.ledger.require_own_version()
    assert desk.states() == ["waiting", "waiting"]
    assert desk.attempts() == []


def test_call_under_way_is_recorded_all_the_same(desk: "Desk") -> None:
    """What Connect has answered for a call that was placed before is written down: only that keeps its
    recipient from being searched for."""
    desk.started(1)
    (claimed,) = desk.claim()
    desk.dial(claimed)
    become(desk.ledger, "9999")
    assert desk.placed(claimed)


def test_asking_for_the_version_costs_no_statement(desk: "Desk") -> None:
    """The version comes with a row that each call reads anyway.

    Fails without: the column in standing.py.
    """
    desk.started(1)
    (claimed,) = desk.claim(now=desk.noon + timedelta(seconds=1))
    sent: list[str] = []

    def on_statement(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        sent.append(statement)

    event.listen(desk.ledger._engine, "before_cursor_execute", on_statement)
    try:
        desk.dial(claimed)
    finally:
        event.remove(desk.ledger._engine, "before_cursor_execute", on_statement)
    assert [
        statement for statement in sent if "alembic_version" in statement and "attempts" not in statement
    ] == []
    assert sum("alembic_version" in statement for statement in sent) == 1
