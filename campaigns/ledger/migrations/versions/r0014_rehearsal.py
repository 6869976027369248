"""A rehearsal: the ledger's clock begins at a chosen time and runs faster than time passes."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0012"


def upgrade() -> None:
    op.create_table(
        "rehearsal",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("as_of", sa.BigInteger, nullable=False),
        sa.Column("shown_at", sa.BigInteger, nullable=False),
        sa.Column("real_at", sa.BigInteger, nullable=False),
        sa.Column("runs_until", sa.BigInteger, nullable=False),
        sa.Column("speed", sa.Float, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_rehearsal"),
    )
