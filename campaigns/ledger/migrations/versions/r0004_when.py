"""When somebody may be rung: zones, appointments, schedules, and suppressions of a single campaign."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_id = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("campaigns", sa.Column("folder", sa.Text(), nullable=True))
    op.add_column("campaigns", sa.Column("schedule_from", sa.BigInteger(), nullable=True))
    op.add_column("runs", sa.Column("fire_at", sa.BigInteger(), nullable=True))
    op.create_index(
        "ix_runs_fire_at", "runs", ["campaign_id", "fire_at"], unique=True, **_where("fire_at IS NOT NULL")
    )
    op.create_table(
        "fires",
        sa.Column("campaign_id", _id, nullable=False),
        sa.Column("fire_at", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(20), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("tried_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("campaign_id", "fire_at", name="pk_fires"),
        sa.ForeignKeyConstraint(["campaign_id"], ["campaigns.id"], name="fk_fires_campaign_id"),
    )
    for column in (
        sa.Column("zones", sa.Text(), nullable=True),
        sa.Column("appointment_at", sa.BigInteger(), nullable=True),
        sa.Column("reminder", sa.String(20), nullable=True),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("waits_for", sa.String(20), nullable=True),
    ):
        op.add_column("recipients", column)
    waiting = "state = 'waiting'"
    op.create_index(
        "ix_recipients_open", "recipients", ["run_id", "zones", "due_at", "id"], **_where(waiting)
    )
    op.create_index(
        "ix_recipients_expires",
        "recipients",
        ["expires_at"],
        **_where(f"{waiting} AND expires_at IS NOT NULL"),
    )
    _suppressions()


def _suppressions() -> None:
    """A suppression may hold for one campaign only, and none is forgotten."""
    op.execute("CREATE TABLE suppressions_before AS SELECT phone, reason, added_at FROM suppressions")
    op.drop_table("suppressions")
    op.create_table(
        "suppressions",
        sa.Column("phone", sa.String(16), nullable=False),
        sa.Column("campaign_id", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("added_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("phone", "campaign_id", name="pk_suppressions"),
    )
    op.create_table(
        "suppression_history",
        sa.Column("id", _id, nullable=False),
        sa.Column("phone", sa.String(16), nullable=False),
        sa.Column("campaign_id", sa.BigInteger(), nullable=False),
        sa.Column("what", sa.String(20), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_suppression_history"),
    )
    op.create_index("ix_suppression_history_phone", "suppression_history", ["phone"])
    op.execute("INSERT INTO suppressions SELECT phone, 0, reason, added_at FROM suppressions_before")
    op.execute(
        "INSERT INTO suppression_history (phone, campaign_id, what, reason, at) "
        "SELECT phone, 0, 'added', reason, added_at FROM suppressions_before"
    )
    op.drop_table("suppressions_before")


def _where(condition: str) -> Any:
    return {"sqlite_where": sa.text(condition), "postgresql_where": sa.text(condition)}
