"""Which side dials a campaign, which ledger this is, and how far it has come."""

import secrets

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.add_column("campaigns", sa.Column("exchange", sa.String(20)))
    no_revision = sa.text("''")
    op.add_column(
        "campaigns", sa.Column("revision", sa.String(32), nullable=False, server_default=no_revision)
    )
    op.add_column("runs", sa.Column("endpoint", sa.Text))
    op.add_column("attempts", sa.Column("replays", sa.Integer, nullable=False, server_default="0"))
    op.add_column("heartbeats", sa.Column("endpoint", sa.Text))
    # What a campaign has begun, it goes on with. Where nothing has been claimed yet, it is not known which
    # side was meant, and an operator decides.
    op.execute("""
        UPDATE campaigns SET exchange = (
            SELECT runs.exchange FROM runs
            WHERE runs.campaign_id = campaigns.id AND runs.exchange IS NOT NULL
            ORDER BY runs.number DESC LIMIT 1
        )
    """)
    op.execute("""
        UPDATE runs SET exchange = (SELECT c.exchange FROM campaigns AS c WHERE c.id = runs.campaign_id)
        WHERE exchange IS NULL
    """)
    identity = op.create_table(
        "identity",
        sa.Column("id", sa.Integer, nullable=False),
        sa.Column("ledger_id", sa.String(32), nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("stopped_at", sa.BigInteger),
        sa.Column("stopped_code", sa.String(40)),
        sa.Column("stopped_reason", sa.Text),
        sa.PrimaryKeyConstraint("id", name="pk_identity"),
    )
    op.bulk_insert(identity, [{"id": 1, "ledger_id": secrets.token_hex(8), "epoch": 1}])
    positions = op.create_table(
        "positions",
        sa.Column("slot", sa.Integer, autoincrement=False, nullable=False),
        sa.Column("n", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("slot", name="pk_positions"),
    )
    op.bulk_insert(positions, [{"slot": slot, "n": 0} for slot in range(64)])
