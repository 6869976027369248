from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from campaigns.ledger import Ledger, migrations, open_ledger
from campaigns.ledger.engine import HEAD
from campaigns.ledger.tables import metadata
from campaigns.mistake import Mistake


def test_head_is_the_newest_migration() -> None:
    """The revision that the program takes for up to date is Alembic's head, and the only one."""
    assert migrations.script().get_heads() == [HEAD]


def test_migrations_lead_to_the_tables(ledger: Ledger) -> None:
    """What the migrations have built is what tables.py describes: types, defaults and indexes too."""
    with ledger.read() as db:
        options = {"compare_type": True, "compare_server_default": True}
        assert compare_metadata(MigrationContext.configure(db, opts=options), metadata) == []


def test_partial_indexes_have_their_conditions(ledger: Ledger) -> None:
    """Alembic does not compare the conditions of partial indexes, so they are compared here."""
    catalogue = (
        "SELECT name, sql FROM sqlite_master WHERE type = 'index'"
        if ledger.is_sqlite
        else "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'"
    )
    with ledger.read() as db:
        found = {name: sql for name, sql in db.execute(text(catalogue)) if sql and " WHERE " in sql}
    wanted = {
        index.name: str(index.dialect_options["sqlite"]["where"])
        for table in metadata.tables.values()
        for index in table.indexes
        if index.dialect_options["sqlite"]["where"] is not None
    }
    assert found.keys() == wanted.keys()
    for name, condition in wanted.items():
        states = [word for word in condition.split("'") if word.isidentifier() and word != "state"]
        assert [state for state in states if f"'{state}'" not in found[name]] == [], name


def test_opening_again_changes_nothing(ledger_url: str) -> None:
    """An up-to-date ledger is opened as it is."""
    for _ in range(2):
        with closing(open_ledger(ledger_url)) as ledger, ledger.read() as db:
            assert db.execute(text("SELECT version_num FROM alembic_version")).scalars().all() == [HEAD]


def test_a_newer_ledger_is_refused(ledger: Ledger, ledger_url: str) -> None:
    """A program that is older than the ledger's tables keeps its hands off, and says what to do."""
    with ledger.write() as db:
        db.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(Mistake, match=r"newer than this program .*9999.*; update the program, or name"):
        open_ledger(ledger_url)
    with ledger.read() as db:
        assert db.execute(text("SELECT version_num FROM alembic_version")).scalar_one() == "9999"


def test_a_migration_is_whole_or_not_at_all(new_ledger_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A migration that fails leaves no table, and the next start applies it."""
    apply = migrations.upgrade

    def fails_at_the_end(connection: object) -> None:
        apply(connection)  # type: ignore[arg-type]
        raise KeyError

    monkeypatch.setattr(migrations, "upgrade", fails_at_the_end)
    with pytest.raises(KeyError):
        open_ledger(new_ledger_url)
    monkeypatch.undo()
    with closing(open_ledger(new_ledger_url)) as ledger, ledger.read() as db:
        assert db.execute(text("SELECT count(*) FROM campaigns")).scalar_one() == 0


OLD_LEDGER = """
    INSERT INTO campaigns (id, name, choices, version, created_at) VALUES (1, 'old', '{}', 1, 0);
    INSERT INTO runs (id, campaign_id, number, state, loaded_at) VALUES (1, 1, 1, 'running', 0);
    INSERT INTO loads
        (id, run_id, file_name, columns, loaded_at, rows, accepted, duplicates, rejected, suppressed)
        VALUES (1, 1, 'people.csv', '[]', 0, 5, 5, 0, 0, 0);
    INSERT INTO recipients
        (run_id, load_id, line, key, phone, time_zone, attributes, row, state, due_at) VALUES
        (1, 1, 2, 'split', '+12195550100', NULL, '{}', '{}', 'waiting', 0),
        (1, 1, 3, 'column', '+18005550100', 'Europe/Berlin', '{}', '{}', 'in_progress', 0),
        (1, 1, 4, 'both', '+14155550100', 'America/New_York', '{}', '{}', 'held', 0),
        (1, 1, 5, 'unknown', '+18005550101', NULL, '{}', '{}', 'suppressed', 0),
        (1, 1, 6, 'over', '+18085550101', NULL, '{}', '{}', 'done', 0)
"""


def test_everybody_gets_their_zones(new_ledger_url: str) -> None:
    """In a ledger from before there were calling hours, everybody has zones as if loaded today: by the list
    and by the number, or none. Whoever is done may be asked for again, and not by a fallback's clock."""
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    url = make_url(new_ledger_url)
    engine = create_engine(url.set(drivername="postgresql+psycopg") if url.drivername != "sqlite" else url)
    with closing(engine.connect()) as db, db.begin():
        config.attributes["connection"] = db
        command.upgrade(config, "0003")
        for statement in OLD_LEDGER.split(";"):
            db.exec_driver_sql(statement)
    engine.dispose()
    with closing(open_ledger(new_ledger_url)) as ledger, ledger.read() as db:
        assert dict(db.execute(text("SELECT key, zones FROM recipients")).all()) == {
            "split": "America/Chicago America/New_York",
            "column": "Europe/Berlin",
            "both": "America/Los_Angeles America/New_York",
            "unknown": None,
            "over": "Pacific/Honolulu",
        }
