"""What a list of changes says last of each number. On the disk, so that memory does not grow."""

from collections.abc import Iterator
from datetime import UTC, datetime

from campaigns.listed_number import ListedNumber
from campaigns.scratch_table import ScratchTable

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# The later date counts; of one date an addition, because a doubt suppresses; without dates the later row.
_NOTE = """
    INSERT INTO changes VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (phone) DO UPDATE SET at = excluded.at, note = excluded.note, source = excluded.source,
        gone = excluded.gone
    WHERE CASE
        WHEN at IS NULL OR excluded.at IS NULL THEN 1
        WHEN at = excluded.at THEN excluded.gone < gone
        ELSE excluded.at > at
    END
"""


class LastChanges(ScratchTable):
    """The last change of each number of a file."""

    def __init__(self) -> None:
        super().__init__("changes (phone TEXT PRIMARY KEY, at INTEGER, note TEXT, source TEXT, gone INTEGER)")

    def note(self, each: ListedNumber) -> None:
        """Add a row of the file."""
        at = None if each.at is None else int((each.at - _EPOCH).total_seconds())
        self._db.execute(_NOTE, (each.phone, at, each.note, each.source, int(each.delete)))

    def additions(self) -> Iterator[ListedNumber]:
        """The numbers that are on the list in the end."""
        query = "SELECT phone, at, note, source FROM changes WHERE gone = 0 ORDER BY phone"
        for phone, at, note, source in self._db.execute(query):
            yield ListedNumber(
                phone, "", None if at is None else datetime.fromtimestamp(at, UTC), note, source
            )

    def deletions(self) -> Iterator[str]:
        """The numbers that are not."""
        query = "SELECT phone FROM changes WHERE gone = 1 ORDER BY phone"
        return (phone for (phone,) in self._db.execute(query))
