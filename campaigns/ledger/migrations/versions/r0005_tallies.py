"""The database counts who is in which state, as they come and move; the ends of a run have an index."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

# Beside their run and their state, people are counted by where they are, while they wait, and attempts by
# their outcome. {row} is a row of the table.
_DETAIL = {
    "recipients": "CASE WHEN {row}.state = 'waiting' THEN COALESCE({row}.zones, '') ELSE '' END",
    "attempts": "COALESCE({row}.outcome, '')",
}

# One row for each count, which goes up and down: there is one writer at a time.
_ONE_MORE = """
    UPDATE tallies SET n = n + 1
    WHERE run_id = NEW.run_id AND what = '{table}' AND state = NEW.state AND detail = {new};
    INSERT INTO tallies (run_id, what, state, detail, n)
    -- If there is none yet: they are the changes of the statement before.
    SELECT NEW.run_id, '{table}', NEW.state, {new}, 1 WHERE changes() = 0;
"""
_ONE_LESS = """
    UPDATE tallies SET n = n - 1
    WHERE run_id = OLD.run_id AND what = '{table}' AND state = OLD.state AND detail = {old};
"""
_IN_SQLITE = (
    f"CREATE TRIGGER tally_new_{{table}} AFTER INSERT ON {{table}} BEGIN {_ONE_MORE} END",
    f"CREATE TRIGGER tally_gone_{{table}} AFTER DELETE ON {{table}} BEGIN {_ONE_LESS} END",
    f"""
    CREATE TRIGGER tally_moved_{{table}} AFTER UPDATE OF run_id, state, {{column}} ON {{table}}
    WHEN OLD.run_id <> NEW.run_id OR OLD.state <> NEW.state OR {{old}} <> {{new}}
    BEGIN {_ONE_LESS} {_ONE_MORE} END
    """,
)

# Rows that say by how much a count has changed, once for each statement, so that nobody waits for anybody.
# tallies.py sums them up from time to time.
_CHANGED = """
    INSERT INTO tallies (run_id, what, state, detail, n)
    SELECT run_id, '{table}', state, {detail}, sum(n) FROM ({these}) AS changed
    GROUP BY run_id, state, {detail} HAVING sum(n) <> 0;
"""
_EVERYBODY = "SELECT run_id, state, {column}, 1 AS n FROM {table}"
_ARE = "SELECT run_id, state, {column}, 1 AS n FROM as_they_are"
_WERE = "SELECT run_id, state, {column}, -1 AS n FROM as_they_were"
_IN_POSTGRESQL = (
    """
    CREATE FUNCTION tally_{table}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        IF TG_OP = 'INSERT' THEN {are}
        ELSIF TG_OP = 'DELETE' THEN {were}
        ELSE {moved}
        END IF;
        RETURN NULL;
    END $$
    """,
    """
    CREATE TRIGGER tally_new_{table} AFTER INSERT ON {table} REFERENCING NEW TABLE AS as_they_are
    FOR EACH STATEMENT EXECUTE FUNCTION tally_{table}()
    """,
    """
    CREATE TRIGGER tally_gone_{table} AFTER DELETE ON {table} REFERENCING OLD TABLE AS as_they_were
    FOR EACH STATEMENT EXECUTE FUNCTION tally_{table}()
    """,
    """
    CREATE TRIGGER tally_moved_{table} AFTER UPDATE ON {table}
    REFERENCING OLD TABLE AS as_they_were NEW TABLE AS as_they_are
    FOR EACH STATEMENT EXECUTE FUNCTION tally_{table}()
    """,
)


def upgrade() -> None:
    if op.get_bind().dialect.name == "postgresql":
        # At once as strictly as the new index wants it below: by then an old worker could hold the people for
        # reading and wait to write, and each would wait for the other.
        op.execute("LOCK TABLE attempts, recipients IN ACCESS EXCLUSIVE MODE")
    op.create_table(
        "tallies",
        sa.Column("run_id", sa.BigInteger(), nullable=False),
        sa.Column("what", sa.String(20), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
    )
    op.create_index("ix_tallies_run_id", "tallies", ["run_id", "what", "state", "detail"])
    for table, column in (("recipients", "zones"), ("attempts", "outcome")):
        detail = _DETAIL[table]
        for statement in triggers(table, column, detail):
            op.execute(statement)
        everybody = _EVERYBODY.format(table=table, column=column)
        op.execute(_CHANGED.format(table=table, these=everybody, detail=detail.format(row="changed")))
    op.drop_index("ix_recipients_run_state", "recipients")
    op.create_index("ix_recipients_run_state", "recipients", ["run_id", "state", "id"])
    refused = sa.text("state = 'refused'")
    op.create_index(
        "ix_attempts_refused", "attempts", ["run_id", "id"], sqlite_where=refused, postgresql_where=refused
    )


def triggers(table: str, column: str, detail: str) -> list[str]:
    """What makes the database count a table by `detail`, for which it looks at this column, or several."""
    if op.get_bind().dialect.name == "sqlite":
        old, new = detail.format(row="OLD"), detail.format(row="NEW")
        return [each.format(table=table, column=column, old=old, new=new) for each in _IN_SQLITE]
    are, were = _ARE.format(column=column), _WERE.format(column=column)
    changed = {
        kind: _CHANGED.format(table=table, these=these, detail=detail.format(row="changed"))
        for kind, these in (("are", are), ("were", were), ("moved", f"{are} UNION ALL {were}"))
    }
    return [each.format(table=table, **changed) for each in _IN_POSTGRESQL]
