"""Does a list's column of numbers look as if a spreadsheet had dropped its leading zeros?"""

from campaigns.call_list import RejectedRow
from campaigns.campaign import ListOptions
from campaigns.phone_number import e164
from campaigns.recipient import Recipient


class LostZeros:
    """Counts, row by row, what speaks for it and against it."""

    def __init__(self, options: ListOptions, column: str) -> None:
        self._options, self._column = options, column
        self._kept = self._bare = 0
        self.rows = 0
        """Rejected rows that `leading_zeros = "lost"` would accept."""

    def see(self, row: Recipient | RejectedRow) -> None:
        """Look at one row of the list."""
        cell = row.row.get(self._column, "").strip()
        if isinstance(row, Recipient):
            self._kept += cell.startswith("0")
            self._bare += cell.isdecimal()
        elif row.column == self._column and not self._options.zeros_lost:
            try:
                e164(cell, self._options.default_region, zeros_lost=True)
            except ValueError:
                self._bare += cell.isdecimal()
            else:
                self.rows += 1

    @property
    def suggested(self) -> bool:
        """Whether the whole column looks like it: no number has a 0 in front, and most lack one."""
        return self._kept == 0 and self.rows > self._bare
