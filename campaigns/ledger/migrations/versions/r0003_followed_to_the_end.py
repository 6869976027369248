"""Late words, looks in between, calls that are hung up, and attempts that an operator asks for."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.add_column("runs", sa.Column("hang_up_at", sa.BigInteger(), nullable=True))
    op.add_column("attempts", sa.Column("looked_at", sa.BigInteger(), nullable=True))
    op.add_column("attempts", sa.Column("stopped_at", sa.BigInteger(), nullable=True))
    op.add_column("attempts", sa.Column("requeued_at", sa.BigInteger(), nullable=True))
    op.create_index(
        "ix_attempts_unfollowed",
        "attempts",
        ["dialing_at"],
        sqlite_where=sa.text("state = 'placed' AND follow_at IS NULL"),
        postgresql_where=sa.text("state = 'placed' AND follow_at IS NULL"),
    )
    op.create_index(
        "ix_attempts_late",
        "attempts",
        ["follow_at"],
        sqlite_where=sa.text("state = 'ended' AND follow_at IS NOT NULL"),
        postgresql_where=sa.text("state = 'ended' AND follow_at IS NOT NULL"),
    )
