"""Does a list's column of numbers look as if a choice of [list] would make it readable?

As if a spreadsheet had dropped its leading zeros, or as if only its own country's numbers had no + in front.
"""

from campaigns.call_list import RejectedRow
from campaigns.campaign import ListOptions
from campaigns.phone_number import e164
from campaigns.recipient import Recipient


class NumberHints:
    """Counts, row by row, what speaks for each choice and against it."""

    def __init__(self, options: ListOptions, column: str) -> None:
        self._options, self._column = options, column
        self._kept = self._bare = self._foreign = 0
        self.zeros_lost = 0
        """Rejected rows that `leading_zeros = "lost"` would accept."""
        self.others_marked = 0
        """Rejected rows that `other_countries = "marked"` would accept."""

    def see(self, row: Recipient | RejectedRow) -> None:
        """Look at one row of the list."""
        cell = row.row.get(self._column, "").strip()
        if isinstance(row, Recipient):
            self._kept += cell.startswith("0")
            self._bare += cell.isdecimal()
        elif row.column == self._column:
            with_zeros = not self._options.zeros_lost and self._reads(cell, zeros_lost=True)
            self.zeros_lost += with_zeros
            self._bare += not with_zeros and cell.isdecimal()
            if self._options.default_region and not self._options.others_marked:
                as_own = self._reads(cell, others_marked=True)
                self.others_marked += as_own
                self._foreign += not as_own and cell.isdecimal() and self._reads(f"+{cell}")

    def _reads(self, cell: str, *, zeros_lost: bool = False, others_marked: bool = False) -> bool:
        try:
            e164(cell, self._options.default_region, zeros_lost=zeros_lost, others_marked=others_marked)
        except ValueError:
            return False
        return True

    @property
    def suggest_zeros_lost(self) -> bool:
        """Whether the whole column looks like it: no number has a 0 in front, and most lack one."""
        return self._kept == 0 and self.zeros_lost > self._bare

    @property
    def suggest_others_marked(self) -> bool:
        """Whether no number of the column can only be another country's that has lost its +."""
        return self.others_marked > 0 and self._foreign == 0
