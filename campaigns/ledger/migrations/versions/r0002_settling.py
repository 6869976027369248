"""What is unknown is searched for, and settled by what is found."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("attempts", sa.Column("unknown_at", sa.BigInteger(), nullable=True))
    op.add_column("attempts", sa.Column("settle_at", sa.BigInteger(), nullable=True))
    op.add_column("attempts", sa.Column("evidence", sa.Text(), nullable=True))
    op.create_index(
        "ix_attempts_settle",
        "attempts",
        ["settle_at"],
        sqlite_where=sa.text("state = 'unknown'"),
        postgresql_where=sa.text("state = 'unknown'"),
    )
    op.create_index(
        "ix_attempts_contact_id",
        "attempts",
        ["contact_id"],
        sqlite_where=sa.text("contact_id IS NOT NULL"),
        postgresql_where=sa.text("contact_id IS NOT NULL"),
    )
    # What was unknown before anybody could search is searched for now; but nobody is called again in a
    # campaign that was over.
    op.execute(
        "UPDATE attempts SET unknown_at = lease_until, settle_at = lease_until WHERE state = 'unknown' "
        "AND run_id IN (SELECT id FROM runs WHERE state IN ('running', 'paused'))"
    )
