"""The ledger's tables. The migrations are the schema's history; this file is its present.

Instants are whole microseconds since 1970 in UTC: the same type, order and index in SQLite and PostgreSQL,
whatever the time zone of the server, the session or the driver.
"""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Column,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
    cast,
    column,
    table,
    text,
)
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def microseconds(instant: datetime) -> int:
    """An aware datetime → microseconds since 1970 (UTC). Raises TypeError for a naive one."""
    return (instant - _EPOCH) // timedelta(microseconds=1)


def instant(since_1970: int) -> datetime:
    """Microseconds since 1970 → an aware datetime in UTC."""
    return _EPOCH + timedelta(microseconds=since_1970)


AT_ONCE = instant(0)
"""When somebody is due who need not wait for any time."""


CLOCKS_DIFFER_BY = timedelta(seconds=20)
"""By how much the clocks of the machines may differ before what one wrote is taken for another time's."""


class Instant(TypeDecorator[datetime]):
    """An aware datetime in Python, microseconds since 1970 in the table."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> int | None:  # noqa: ARG002 (SQLAlchemy's signature)
        return None if value is None else microseconds(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:  # noqa: ARG002 (SQLAlchemy's signature)
        return None if value is None else instant(value)


# SQLite gives rowids to INTEGER PRIMARY KEY only, PostgreSQL needs BIGINT beyond two billion rows.
_Id = BigInteger().with_variant(Integer(), "sqlite")

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)

VERSION_NUM = table("alembic_version", column("version_num", String)).c.version_num
"""The revision of the tables. The table is Alembic's own, and stands in no migration."""

campaigns = Table(
    "campaigns",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("name", String(100), nullable=False, unique=True),
    Column("choices", JSON, nullable=False),  # the checked campaign file
    Column("version", Integer, nullable=False),  # counts the changes of `choices`, from 1
    Column("created_at", Instant, nullable=False),
    Column("folder", Text),  # where the campaign's file was: its schedule's list is found from there
    Column("schedule_from", Instant),  # fires after this are still to come; NULL: nothing fires
    Column("schedule_paused", Text),  # why nothing fires for now, or NULL
    # `connect`, or `sandbox` for a trial: decided by the command that started it or added its schedule.
    # NULL: not decided yet, and nothing is dialed.
    Column("exchange", String(20)),
    # Another random value with each change of `choices`: `version` may count the same again after a restore.
    Column("revision", String(32), nullable=False, server_default=text("''")),
    # The file that its choices were last read from: campaign_source.py.
    Column("file", Text),
    Column("file_hash", String(64)),
    Column("file_changed_at", Instant),
)

CHOICES_VERSION = (cast(campaigns.c.version, String) + ":" + campaigns.c.revision).label("version")
"""What `standing.campaign_of` knows a campaign's choices by.

Not by `version` alone: a ledger that has gone back counts to the same one again, for other choices.
"""


class _AsStored(FunctionElement[bytes]):
    """A JSON column's text as bytes, which no driver decodes: what is damaged there stops no query."""

    type = LargeBinary()
    inherit_cache = True


@compiles(_AsStored, "sqlite")
def _in_sqlite(element: _AsStored, compiler: SQLCompiler, **more: Any) -> str:
    return f"CAST({compiler.process(element.clauses, **more)} AS BLOB)"


@compiles(_AsStored)
def _in_postgresql(element: _AsStored, compiler: SQLCompiler, **more: Any) -> str:
    return f"convert_to(CAST({compiler.process(element.clauses, **more)} AS TEXT), 'UTF8')"


STORED_CHOICES = _AsStored(campaigns.c.choices).label("stored")
"""A campaign's choices as bytes of JSON, for `campaigns.stored`. The column itself is only written."""

runs = Table(
    "runs",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("campaign_id", ForeignKey("campaigns.id"), nullable=False),
    Column("number", Integer, nullable=False),  # from 1
    Column("state", String(20), nullable=False),
    Column("reason", Text),  # why it is paused, in words for people
    Column("reason_code", String(40)),  # who paused it: `operator` or an error's code
    # The campaign's, from the moment in which it is decided. Neither side ever dials what is the other's, or
    # a trial would ring for real (and a real list would "be called" by the stand-in). NULL: it is not dialed.
    Column("exchange", String(20)),
    Column("endpoint", Text),  # where its calls go, if that is not AWS's own address
    Column("turn", Float, nullable=False, server_default="0"),  # fair share: lowest goes next
    Column("released_until", Instant),  # this campaign's own cap is used up to here
    Column("loaded_at", Instant, nullable=False),
    Column("started_at", Instant),  # the last time
    Column("finished_at", Instant),
    Column("hang_up_at", Instant),  # cancelled, and its calls in progress are to be hung up since then
    Column("fire_at", Instant),  # the time of the schedule that it is for
    UniqueConstraint("campaign_id", "number"),
    # However many schedulers there are, a fire is one run.
    Index(
        "ix_runs_fire_at",
        "campaign_id",
        "fire_at",
        unique=True,
        sqlite_where=text("fire_at IS NOT NULL"),
        postgresql_where=text("fire_at IS NOT NULL"),
    ),
)

fires = Table(
    "fires",
    metadata,
    # Fires that did not become a run (yet): those that did are runs with a `fire_at`.
    Column("campaign_id", _Id, ForeignKey("campaigns.id"), primary_key=True, autoincrement=False),
    Column("fire_at", Instant, primary_key=True),
    Column("state", String(20), nullable=False),  # `waiting` for its list, `skipped`, …: schedules.py
    Column("reason", Text, nullable=False),
    Column("tried_at", Instant, nullable=False),
)

loads = Table(
    "loads",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("run_id", ForeignKey("runs.id"), nullable=False, index=True),
    Column("file_name", Text, nullable=False),
    Column("columns", JSON, nullable=False),  # the list's header, in order
    Column("loaded_at", Instant, nullable=False),
    Column("rows", Integer, nullable=False),
    Column("accepted", Integer, nullable=False),
    Column("duplicates", Integer, nullable=False),
    Column("rejected", Integer, nullable=False),
    Column("suppressed", Integer, nullable=False),
)

recipients = Table(
    "recipients",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("run_id", ForeignKey("runs.id"), nullable=False),
    Column("load_id", ForeignKey("loads.id"), nullable=False),
    Column("line", Integer, nullable=False),
    Column("key", String(255), nullable=False),
    Column("phone", String(16), nullable=False),
    Column("time_zone", String(64)),  # as the list says
    Column("zones", Text),  # all that may apply, the number's too; spaces between; NULL: none is known
    Column("appointment_at", Instant),
    Column("reminder", String(20)),  # which one of a campaign's several: `24h`
    Column("list_key", String(255)),  # of an appointment: the key as the list has it; `key` may say more
    Column("expires_at", Instant),  # is not called from then on
    Column("attributes", JSON, nullable=False),
    Column("row", JSON, nullable=False),  # the row as it stood in the list, for the export
    Column("state", String(20), nullable=False),
    Column("due_at", Instant, nullable=False),
    # What due_at is: `limit`, when the limits on calls to the number allow one; `appointment`, the new time
    # of a reminder that has moved. NULL: anything else.
    Column("waits_for", String(20)),
    Column("attempts", Integer, nullable=False, server_default="0"),  # the number of the latest attempt
    # Who has taken the recipient out, `operator` or `list` (drops.py): no other call begins. NULL: not taken
    # out. With a call under way the state becomes `dropped` only if another call would follow.
    Column("dropped_by", String(20)),
    UniqueConstraint("run_id", "key"),
    Index(
        "ix_recipients_due",
        "run_id",
        "due_at",
        "id",
        sqlite_where=text("state = 'waiting'"),
        postgresql_where=text("state = 'waiting'"),
    ),
    # People in the same places are open and closed together. The last two are there for counting who waits
    # for what: a status that looked at a million rows for them would hold up the writers of SQLite.
    Index(
        "ix_recipients_open",
        "run_id",
        "zones",
        "due_at",
        "id",
        "waits_for",
        "attempts",
        sqlite_where=text("state = 'waiting'"),
        postgresql_where=text("state = 'waiting'"),
    ),
    Index(
        "ix_recipients_expires",
        "expires_at",
        sqlite_where=text("state = 'waiting' AND expires_at IS NOT NULL"),
        postgresql_where=text("state = 'waiting' AND expires_at IS NOT NULL"),
    ),
    Index(
        "ix_recipients_in_progress",
        "run_id",
        sqlite_where=text("state = 'in_progress'"),
        postgresql_where=text("state = 'in_progress'"),
    ),
    # The id is there for the first and the last of a run.
    Index("ix_recipients_run_state", "run_id", "state", "id"),
    Index("ix_recipients_phone", "phone"),
    # The same appointment stands on many lists.
    Index(
        "ix_recipients_appointment",
        "list_key",
        "appointment_at",
        sqlite_where=text("list_key IS NOT NULL"),
        postgresql_where=text("list_key IS NOT NULL"),
    ),
    Index(
        "ix_recipients_dropped",
        "run_id",
        sqlite_where=text("dropped_by IS NOT NULL"),
        postgresql_where=text("dropped_by IS NOT NULL"),
    ),
)

# What became of recipients' rows besides their calls. Nothing is ever changed in it.
recipient_history = Table(
    "recipient_history",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("recipient_id", ForeignKey("recipients.id"), nullable=False, index=True),
    # `replaced`: the row below was the recipient's until a list brought another one. `dropped`: an operator
    # took the recipient out; `gone`: a list without the recipient did. `spoiled`: a list
    # whose row was rejected did. `put_back`: waits again.
    Column("what", String(20), nullable=False),
    Column("at", Instant, nullable=False),
    # The row that was replaced; NULL for everything else.
    Column("load_id", ForeignKey("loads.id")),
    Column("line", Integer),
    Column("phone", String(16)),
    Column("time_zone", String(64)),
    Column("appointment_at", Instant),
    Column("attributes", JSON),
    Column("row", JSON),
    # A call to a number that was corrected since is still told whose it was.
    Index(
        "ix_recipient_history_phone",
        "phone",
        sqlite_where=text("phone IS NOT NULL"),
        postgresql_where=text("phone IS NOT NULL"),
    ),
)

attempts = Table(
    "attempts",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("run_id", ForeignKey("runs.id"), nullable=False),
    Column("recipient_id", ForeignKey("recipients.id"), nullable=False),
    Column("number", Integer, nullable=False),  # from 1
    Column("client_token", String(64), nullable=False, unique=True),
    Column("state", String(20), nullable=False),
    Column("fence", Integer, nullable=False),  # counts the claims; an older claim's task is stale
    Column("lease_until", Instant, nullable=False),  # rescue looks at it after this
    Column("queued_at", Instant, nullable=False),
    Column("dialing_at", Instant),  # the request may have left from here on
    Column("placed_at", Instant),
    Column("follow_at", Instant),  # the next look at a placed call, or at one that ended without a word
    Column("follows", Integer, nullable=False, server_default="0"),  # looks so far, those in between not
    Column("looked_at", Instant),  # the last look, those in between too
    Column("ended_at", Instant),
    Column("contact_id", String(256)),
    Column("outcome", String(20)),
    Column("reason", Text),  # why it was returned or refused, or is unknown
    Column("unknown_at", Instant),  # since when nobody could tell; stays when it is settled
    Column("settle_at", Instant),  # the next search for it; NULL when nobody searches (any more)
    Column("evidence", Text),  # what the last search has shown
    Column("stopped_at", Instant),  # StopContact was asked to hang it up
    Column("requeued_at", Instant),  # an operator asked for another attempt after this one
    # How often its request was sent again with its token: each sending may have become a call of its own.
    Column("replays", Integer, nullable=False, server_default="0"),
    Column("error_code", String(100)),  # AWS's code, or the name of what happened, where it is unknown
    UniqueConstraint("recipient_id", "number"),
    Index(
        "ix_attempts_lease",
        "state",
        "lease_until",
        sqlite_where=text("state IN ('queued', 'dialing')"),
        postgresql_where=text("state IN ('queued', 'dialing')"),
    ),
    Index(
        "ix_attempts_follow",
        "follow_at",
        sqlite_where=text("state = 'placed'"),
        postgresql_where=text("state = 'placed'"),
    ),
    Index(
        "ix_attempts_unfollowed",
        "dialing_at",
        sqlite_where=text("state = 'placed' AND follow_at IS NULL"),
        postgresql_where=text("state = 'placed' AND follow_at IS NULL"),
    ),
    Index(
        "ix_attempts_late",
        "follow_at",
        sqlite_where=text("state = 'ended' AND follow_at IS NOT NULL"),
        postgresql_where=text("state = 'ended' AND follow_at IS NOT NULL"),
    ),
    Index(
        "ix_attempts_settle",
        "settle_at",
        sqlite_where=text("state = 'unknown'"),
        postgresql_where=text("state = 'unknown'"),
    ),
    Index(
        "ix_attempts_contact_id",
        "contact_id",
        sqlite_where=text("contact_id IS NOT NULL"),
        postgresql_where=text("contact_id IS NOT NULL"),
    ),
    Index("ix_attempts_run_state", "run_id", "state", "outcome"),
    Index(
        "ix_attempts_refused",
        "run_id",
        "id",
        sqlite_where=text("state = 'refused'"),
        postgresql_where=text("state = 'refused'"),
    ),
    Index("ix_attempts_run_dialing_at", "run_id", "dialing_at"),
)

RELEASED = text("attempts.state IN ('queued', 'dialing')")
"""As `ix_attempts_lease` says it: SQLite sees that it fits only where its own words are in the query."""

# How many are in which state, kept by triggers of the two tables above (r0005, r0006), and read through
# tallies.py. In PostgreSQL there may be several rows for one count, which are to be summed up: each worker
# adds its own. So there is no key; nor a foreign one, which would lock the run.
tallies = Table(
    "tallies",
    metadata,
    Column("run_id", BigInteger, nullable=False),
    Column("what", String(20), nullable=False),  # `recipients` or `attempts`
    Column("state", String(20), nullable=False),
    # The zones of those who wait; the outcome; of the unknown ones `not_found` when nobody searches any more.
    Column("detail", Text, nullable=False),
    Column("n", BigInteger, nullable=False),
    Index("ix_tallies_run_id", "run_id", "what", "state", "detail"),
)

EVERY_CAMPAIGN = 0
"""The `campaign_id` of a suppression that holds for all campaigns, those to come as well."""

suppressions = Table(
    "suppressions",
    metadata,
    Column("phone", String(16), primary_key=True),
    Column("campaign_id", BigInteger, primary_key=True, autoincrement=False),  # or EVERY_CAMPAIGN
    Column("reason", Text, nullable=False),
    Column("added_at", Instant, nullable=False),
    # NATIONAL (campaigns/listed_number.py), or NULL: an operator, a file of one's own, the outcome of a call.
    Column("source", String(20)),
)

# Nothing is ever taken out of it.
suppression_history = Table(
    "suppression_history",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("phone", String(16), nullable=False, index=True),
    Column("campaign_id", BigInteger, nullable=False),
    Column("what", String(20), nullable=False),  # `added` or `removed`
    Column("reason", Text, nullable=False),
    Column("at", Instant, nullable=False),
)

heartbeats = Table(
    "heartbeats",
    metadata,
    Column("process", String(255), primary_key=True),  # role@host:pid
    Column("role", String(20), nullable=False),
    Column("exchange", String(20), nullable=False),
    Column("seen_at", Instant, nullable=False),
    Column("problem", Text),  # what keeps this process from its work, or NULL
    Column("endpoint", Text),  # where its calls go, if that is not AWS's own address
    # The columns below are NULL where a process of an older program reports.
    Column("problem_code", String(40)),  # of the gravest problem: campaigns/problem.py
    Column("problems", JSON),  # all of them: [{"code", "text"}], the gravest first
    Column("worked_at", Instant),  # when it last did its work, or was started
    Column("failure_code", String(80)),  # the last failure of a task: its verb and its kind
    Column("failed_at", Instant),
    Column("failures", Integer),  # how often in a row that task has failed
    Column("clock_skew", BigInteger),  # how far the ledger's clock is ahead of this machine's; microseconds
)

# One row: which ledger this is, and whether dialing from it is stopped as a whole.
identity = Table(
    "identity",
    metadata,
    Column("id", Integer, primary_key=True),  # 1
    Column("ledger_id", String(32), nullable=False),  # random, for ever
    Column("epoch", BigInteger, nullable=False),  # a larger one each time that an operator lets it go on
    Column("stopped_at", Instant),  # nothing is dialed since then; NULL: nothing stops it
    Column("stopped_code", String(40)),
    Column("stopped_reason", Text),
)

SLOTS = 64
"""Rows of `positions`: several, so that calls that are dialed at the same time do not wait for one row."""

# How far the ledger has come: each move to `dialing` counts one of these up. What was counted is also kept
# outside (Redis, each worker), so that a ledger that has lost commits is found out.
positions = Table(
    "positions",
    metadata,
    Column("slot", Integer, primary_key=True, autoincrement=False),  # 0 to SLOTS - 1
    Column("n", BigInteger, nullable=False),
)

EVERY_RUN = 0
"""The `run_id` of a brake that holds for all runs of a side."""

# Times in which Connect answered call after call with errors: brakes.py. They are kept, because what became
# of an attempt of such a time is judged later.
brakes = Table(
    "brakes",
    metadata,
    Column("id", _Id, primary_key=True),
    Column("exchange", String(20), nullable=False),
    Column("run_id", BigInteger, nullable=False),  # or EVERY_RUN
    Column("state", String(20), nullable=False),  # `counting`, `braked`, `opening` or `over`
    Column("since", Instant, nullable=False),  # the first of these attempts was dialed
    Column("first_run_id", BigInteger, nullable=False),
    Column("several_runs", Integer, nullable=False, server_default="0"),  # 1: attempts of more than one run
    Column("answers", Integer, nullable=False, server_default="0"),  # attempts that were answered so
    Column("last_at", Instant, nullable=False),
    Column("error_code", String(100), nullable=False),  # the last one's
    Column("braked_at", Instant),
    Column("probes", Integer, nullable=False, server_default="0"),  # in vain, since braked_at
    Column("probe_at", Instant),  # the next attempt may be dialed then
    Column("called_at", Instant),  # the last probe that was a call
    Column("good", Integer, nullable=False, server_default="0"),  # good answers while it is opening
    Column("until_at", Instant),  # its end; of one that is opening, unless it brakes again
    Index("ix_brakes_exchange_run_id", "exchange", "run_id", "state"),
)

# At most one row: this ledger is a rehearsal's, and its clock is not that of real calls (rehearsal.py).
rehearsal = Table(
    "rehearsal",
    metadata,
    Column("id", Integer, primary_key=True),  # 1
    Column("as_of", Instant, nullable=False),  # what --as-of said
    Column("shown_at", Instant, nullable=False),  # what the clock shows …
    Column("real_at", Instant, nullable=False),  # … at this real time; from then on it runs
    Column("runs_until", Instant, nullable=False),  # real time at which it stops unless it is kept running
    Column("speed", Float, nullable=False),  # seconds that it shows in a real second
)
