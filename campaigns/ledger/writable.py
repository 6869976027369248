"""Whether the ledger can be written to, found out without writing: a full ledger takes no word of that."""

import os
from pathlib import Path

from sqlalchemy import text

from campaigns.ledger.engine import Ledger
from campaigns.problem import Problem

NOT_WRITABLE = "ledger_not_writable"

_LEAST_BYTES = 256 * 1024
"""A transaction's share of SQLite's log, and the room that it needs to grow."""

_READ_ONLY = text("SELECT pg_is_in_recovery() OR current_setting('default_transaction_read_only') = 'on'")


def why_not_writable(ledger: Ledger) -> Problem | None:
    """Why nothing can be recorded in the ledger, as far as a reader can tell; None if nothing tells."""
    if not ledger.is_sqlite:
        with ledger.read() as db:
            if not db.execute(_READ_ONLY).scalar_one():
                return None
        return Problem(
            "the ledger's database is read-only (a standby, or default_transaction_read_only), and "
            "nothing is dialed; point DIALER_DATABASE_URL to the primary",
            NOT_WRITABLE,
        )
    if ledger.path is None:
        return None
    folder = Path(ledger.path).parent
    try:
        room = os.statvfs(folder)
    except OSError:
        return None
    if room.f_flag & os.ST_RDONLY:
        return Problem(f"{folder} is mounted read-only, and nothing can be recorded or dialed", NOT_WRITABLE)
    # Some file systems do not tell how much room they have.
    if room.f_blocks and room.f_bavail * room.f_frsize < _LEAST_BYTES:
        return Problem(
            f"the disk that the ledger is on is full ({folder}), and nothing is dialed; make room on it",
            NOT_WRITABLE,
        )
    return None
