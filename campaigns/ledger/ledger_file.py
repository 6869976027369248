"""Whether this user may use the file that an SQLite ledger is in."""

import os
from pathlib import Path

from campaigns.mistake import Mistake


def _nearest(folder: Path) -> Path:
    """The folder itself, or what is there of the way to it."""
    return next(each for each in (folder, *folder.parents) if each.exists())


def refuse_anothers(database: str | None, *, write: bool) -> None:
    """Raises Mistake if this user may not read (with `write`: change) the file, or what it stands in."""
    if not database or database == ":memory:":
        return
    file = Path(database)
    wanted = os.R_OK | (os.W_OK if write else 0)
    try:
        there = file.exists()
        usable = os.access(file, wanted) if there else True
        if not (folder := _nearest(file.parent)).is_dir():
            return  # making it says so
        # SQLite puts its journal beside the file.
        usable = usable and os.access(folder, os.X_OK | (os.W_OK if write else 0))
    except OSError:  # a name that is too long, or in a folder that may not be entered
        usable = False
    except ValueError:
        raise Mistake("DIALER_DATABASE_URL: has a NUL character; remove it") from None
    if not usable:
        raise Mistake(
            f"{database}: this user may not use it; run the dialer as the user whose it is, or name another "
            "directory: DIALER_DATA_DIR"
        )
