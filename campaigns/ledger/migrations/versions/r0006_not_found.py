"""Unknown attempts that nobody searches for any more are counted by themselves."""

from alembic import op

from campaigns.ledger.migrations.versions.r0005_tallies import triggers

revision = "0006"
down_revision = "0005"

_DETAIL = """
    CASE WHEN {row}.state = 'unknown' AND {row}.settle_at IS NULL THEN 'not_found'
        ELSE COALESCE({row}.outcome, '') END
"""


def upgrade() -> None:
    in_postgresql = op.get_bind().dialect.name == "postgresql"
    if in_postgresql:
        # Nobody counts between the old triggers and the new ones.
        op.execute("LOCK TABLE attempts IN ACCESS EXCLUSIVE MODE")
    for when in ("new", "moved", "gone"):
        op.execute(f"DROP TRIGGER tally_{when}_attempts" + (" ON attempts" if in_postgresql else ""))
    if in_postgresql:
        op.execute("DROP FUNCTION tally_attempts")
    for statement in triggers("attempts", "outcome, settle_at", _DETAIL):
        op.execute(statement)
    op.execute("DELETE FROM tallies WHERE what = 'attempts' AND state = 'unknown'")
    op.execute("""
        INSERT INTO tallies (run_id, what, state, detail, n)
        SELECT run_id, 'attempts', 'unknown', CASE WHEN settle_at IS NULL THEN 'not_found' ELSE '' END,
            count(*)
        FROM attempts WHERE state = 'unknown' GROUP BY run_id, settle_at IS NULL
    """)
