"""A process reports when it last did its work, what failed last, and its problems by code."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    # All may be NULL: a process of the version before goes on reporting without them.
    for column in (
        sa.Column("problem_code", sa.String(40)),
        sa.Column("problems", sa.JSON),
        sa.Column("worked_at", sa.BigInteger),
        sa.Column("failure_code", sa.String(80)),
        sa.Column("failed_at", sa.BigInteger),
        sa.Column("failures", sa.Integer),
        sa.Column("clock_skew", sa.BigInteger),
    ):
        op.add_column("heartbeats", column)
