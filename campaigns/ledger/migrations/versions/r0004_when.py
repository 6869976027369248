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
    op.add_column("campaigns", sa.Column("schedule_paused", sa.Text(), nullable=True))
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
        sa.Column("list_key", sa.String(255), nullable=True),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("waits_for", sa.String(20), nullable=True),
    ):
        op.add_column("recipients", column)
    waiting = "state = 'waiting'"
    op.create_index(
        "ix_recipients_open",
        "recipients",
        ["run_id", "zones", "due_at", "id", "waits_for", "attempts"],
        **_where(waiting),
    )
    op.create_index(
        "ix_recipients_expires",
        "recipients",
        ["expires_at"],
        **_where(f"{waiting} AND expires_at IS NOT NULL"),
    )
    op.create_index(
        "ix_recipients_appointment",
        "recipients",
        ["list_key", "appointment_at"],
        **_where("list_key IS NOT NULL"),
    )
    _suppressions()
    _zones_of_everybody()


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


def _zones_of_everybody() -> None:
    """Whoever was loaded without them gets the zones that the loader would have found.

    Also those who are done: a late word or an operator may make them wait again.
    """
    # Not at the top: no other migration needs the tables of telephone numbers.
    from campaigns.number_zones import number_zones

    db, last = op.get_bind(), 0
    page = sa.text("SELECT id, phone, time_zone FROM recipients WHERE id > :last ORDER BY id LIMIT 5000")
    while rows := db.execute(page, {"last": last}).all():
        last = rows[-1].id
        found = [(row.id, number_zones(row.phone) | ({row.time_zone} - {None})) for row in rows]
        known = [{"id": id_, "zones": " ".join(sorted(zones))} for id_, zones in found if zones]
        if known:
            db.execute(sa.text("UPDATE recipients SET zones = :zones WHERE id = :id"), known)


def _where(condition: str) -> Any:
    return {"sqlite_where": sa.text(condition), "postgresql_where": sa.text(condition)}
