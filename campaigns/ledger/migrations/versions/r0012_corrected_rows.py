"""Rows that a later list has replaced, recipients who are taken out, and where a campaign's file was read."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    big_id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    op.create_table(
        "recipient_history",
        sa.Column("id", big_id, nullable=False),
        sa.Column("recipient_id", big_id, nullable=False),
        sa.Column("what", sa.String(20), nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("load_id", big_id),
        sa.Column("line", sa.Integer),
        sa.Column("phone", sa.String(16)),
        sa.Column("time_zone", sa.String(64)),
        sa.Column("appointment_at", sa.BigInteger),
        sa.Column("attributes", sa.JSON),
        sa.Column("row", sa.JSON),
        sa.PrimaryKeyConstraint("id", name="pk_recipient_history"),
        sa.ForeignKeyConstraint(
            ["recipient_id"], ["recipients.id"], name="fk_recipient_history_recipient_id_recipients"
        ),
        sa.ForeignKeyConstraint(["load_id"], ["loads.id"], name="fk_recipient_history_load_id_loads"),
    )
    op.create_index("ix_recipient_history_recipient_id", "recipient_history", ["recipient_id"])
    numbered = sa.text("phone IS NOT NULL")
    op.create_index(
        "ix_recipient_history_phone",
        "recipient_history",
        ["phone"],
        sqlite_where=numbered,
        postgresql_where=numbered,
    )
    op.add_column("recipients", sa.Column("dropped_by", sa.String(20)))
    dropped = sa.text("dropped_by IS NOT NULL")
    op.create_index(
        "ix_recipients_dropped", "recipients", ["run_id"], sqlite_where=dropped, postgresql_where=dropped
    )
    op.add_column("campaigns", sa.Column("file", sa.Text))
    op.add_column("campaigns", sa.Column("file_hash", sa.String(64)))
    op.add_column("campaigns", sa.Column("file_changed_at", sa.BigInteger))
