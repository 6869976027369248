from contextlib import closing

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import text

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
