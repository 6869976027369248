"""The first ledger."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "campaigns",
        sa.Column("id", _id, nullable=False),
        sa.Column("name", sa.String(length=100), nullable=False),
        sa.Column("choices", sa.JSON(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_campaigns")),
        sa.UniqueConstraint("name", name=op.f("uq_campaigns_name")),
    )
    op.create_table(
        "heartbeats",
        sa.Column("process", sa.String(length=255), nullable=False),
        sa.Column("role", sa.String(length=20), nullable=False),
        sa.Column("exchange", sa.String(length=20), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("process", name=op.f("pk_heartbeats")),
    )
    op.create_table(
        "suppressions",
        sa.Column("phone", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("added_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("phone", name=op.f("pk_suppressions")),
    )
    op.create_table(
        "runs",
        sa.Column("id", _id, nullable=False),
        sa.Column("campaign_id", _id, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("reason_code", sa.String(length=40), nullable=True),
        sa.Column("exchange", sa.String(length=20), nullable=True),
        sa.Column("turn", sa.Float(), server_default="0", nullable=False),
        sa.Column("released_until", sa.BigInteger(), nullable=True),
        sa.Column("loaded_at", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=True),
        sa.Column("finished_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["campaign_id"], ["campaigns.id"], name=op.f("fk_runs_campaign_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runs")),
        sa.UniqueConstraint("campaign_id", "number", name=op.f("uq_runs_campaign_id_number")),
    )
    op.create_table(
        "loads",
        sa.Column("id", _id, nullable=False),
        sa.Column("run_id", _id, nullable=False),
        sa.Column("file_name", sa.Text(), nullable=False),
        sa.Column("columns", sa.JSON(), nullable=False),
        sa.Column("loaded_at", sa.BigInteger(), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("accepted", sa.Integer(), nullable=False),
        sa.Column("duplicates", sa.Integer(), nullable=False),
        sa.Column("rejected", sa.Integer(), nullable=False),
        sa.Column("suppressed", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_loads_run_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_loads")),
    )
    op.create_index(op.f("ix_loads_run_id"), "loads", ["run_id"], unique=False)
    op.create_table(
        "recipients",
        sa.Column("id", _id, nullable=False),
        sa.Column("run_id", _id, nullable=False),
        sa.Column("load_id", _id, nullable=False),
        sa.Column("line", sa.Integer(), nullable=False),
        sa.Column("key", sa.String(length=255), nullable=False),
        sa.Column("phone", sa.String(length=16), nullable=False),
        sa.Column("time_zone", sa.String(length=64), nullable=True),
        sa.Column("attributes", sa.JSON(), nullable=False),
        sa.Column("row", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.ForeignKeyConstraint(["load_id"], ["loads.id"], name=op.f("fk_recipients_load_id")),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_recipients_run_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_recipients")),
        sa.UniqueConstraint("run_id", "key", name=op.f("uq_recipients_run_id_key")),
    )
    op.create_index(
        "ix_recipients_due",
        "recipients",
        ["run_id", "due_at", "id"],
        unique=False,
        sqlite_where=sa.text("state = 'waiting'"),
        postgresql_where=sa.text("state = 'waiting'"),
    )
    op.create_index(
        "ix_recipients_in_progress",
        "recipients",
        ["run_id"],
        unique=False,
        sqlite_where=sa.text("state = 'in_progress'"),
        postgresql_where=sa.text("state = 'in_progress'"),
    )
    op.create_index("ix_recipients_phone", "recipients", ["phone"], unique=False)
    op.create_index("ix_recipients_run_state", "recipients", ["run_id", "state"], unique=False)
    op.create_table(
        "attempts",
        sa.Column("id", _id, nullable=False),
        sa.Column("run_id", _id, nullable=False),
        sa.Column("recipient_id", _id, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("client_token", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=20), nullable=False),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("lease_until", sa.BigInteger(), nullable=False),
        sa.Column("queued_at", sa.BigInteger(), nullable=False),
        sa.Column("dialing_at", sa.BigInteger(), nullable=True),
        sa.Column("placed_at", sa.BigInteger(), nullable=True),
        sa.Column("follow_at", sa.BigInteger(), nullable=True),
        sa.Column("follows", sa.Integer(), server_default="0", nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("contact_id", sa.String(length=256), nullable=True),
        sa.Column("outcome", sa.String(length=20), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["recipient_id"], ["recipients.id"], name=op.f("fk_attempts_recipient_id")),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_attempts_run_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_attempts")),
        sa.UniqueConstraint("client_token", name=op.f("uq_attempts_client_token")),
        sa.UniqueConstraint("recipient_id", "number", name=op.f("uq_attempts_recipient_id_number")),
    )
    op.create_index(
        "ix_attempts_follow",
        "attempts",
        ["follow_at"],
        unique=False,
        sqlite_where=sa.text("state = 'placed'"),
        postgresql_where=sa.text("state = 'placed'"),
    )
    op.create_index(
        "ix_attempts_lease",
        "attempts",
        ["state", "lease_until"],
        unique=False,
        sqlite_where=sa.text("state IN ('queued', 'dialing')"),
        postgresql_where=sa.text("state IN ('queued', 'dialing')"),
    )
    op.create_index("ix_attempts_run_dialing_at", "attempts", ["run_id", "dialing_at"], unique=False)
    op.create_index("ix_attempts_run_state", "attempts", ["run_id", "state", "outcome"], unique=False)
