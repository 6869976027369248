"""Brakes: times in which Connect answered call after call with errors. Attempts keep their error's code."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.add_column("attempts", sa.Column("error_code", sa.String(100)))
    op.create_table(
        "brakes",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("exchange", sa.String(20), nullable=False),
        sa.Column("run_id", sa.BigInteger, nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("since", sa.BigInteger, nullable=False),
        sa.Column("first_run_id", sa.BigInteger, nullable=False),
        sa.Column("several_runs", sa.Integer, nullable=False, server_default="0"),
        sa.Column("answers", sa.Integer, nullable=False, server_default="0"),
        sa.Column("last_at", sa.BigInteger, nullable=False),
        sa.Column("error_code", sa.String(100), nullable=False),
        sa.Column("braked_at", sa.BigInteger),
        sa.Column("probes", sa.Integer, nullable=False, server_default="0"),
        sa.Column("probe_at", sa.BigInteger),
        sa.Column("called_at", sa.BigInteger),
        sa.Column("good", sa.Integer, nullable=False, server_default="0"),
        sa.Column("until_at", sa.BigInteger),
        sa.PrimaryKeyConstraint("id", name="pk_brakes"),
    )
    op.create_index("ix_brakes_exchange_run_id", "brakes", ["exchange", "run_id", "state"])
