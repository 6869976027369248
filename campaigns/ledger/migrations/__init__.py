"""The schema's history, applied on first use."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from campaigns.mistake import Mistake


def script() -> ScriptDirectory:
    """Alembic's view of this folder."""
    return ScriptDirectory(str(Path(__file__).parent))


def upgrade(connection: Connection) -> None:
    """Apply what is missing, in the caller's transaction. Raises as `refuse_newer`."""
    refuse_newer(MigrationContext.configure(connection).get_current_revision())
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def refuse_newer(current: str | None) -> None:
    """Raises Mistake when a ledger has a revision that this program does not know."""
    known = {revision.revision for revision in script().walk_revisions()}
    if current is not None and current not in known:
        raise Mistake(
            f"the ledger is newer than this program (its tables have revision {current}); "
            "update the program, or name another ledger in DIALER_DATABASE_URL"
        )
