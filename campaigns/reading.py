"""A list's rows, checked and laid out for the ledger."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice

from campaigns.call_list import MAX_KEY_LENGTH, CallList, RejectedRow
from campaigns.campaign import Campaign, ListOptions
from campaigns.csv_records import folded
from campaigns.ledger.staging import Batch
from campaigns.recipient import Recipient
from campaigns.timing import Timing, Untimely

# In this process: another one beside it was tried, and on two cores it took as long, for each of them then
# went slower, and a quarter more of the processor's time (docs/performance.md).

_ROWS = 1_000  # are held in memory at once
_BYTES = 4 << 20  # of the file at most, for rows that are long


@dataclass(slots=True)
class Chunk:
    """The next rows of a list, and how far it has been read with them."""

    batch: Batch = field(default_factory=Batch)
    rejected: list[RejectedRow] = field(default_factory=list)
    rows_read: int = 0
    bytes_read: int = 0


def read_chunks(call_list: CallList, campaign: Campaign, now: datetime) -> Iterator[Chunk]:
    """Read a list to its end. Raises Mistake if that is not possible; a bad row is none."""
    timing = Timing(campaign, now)
    rows = iter(call_list)
    while True:
        chunk = Chunk()
        begin = call_list.bytes_read
        for row in islice(rows, _ROWS):
            _put(chunk, row, timing, campaign.list)
            if call_list.bytes_read - begin > _BYTES:
                break
        if not chunk.batch.accepted and not chunk.rejected:
            return
        chunk.rows_read, chunk.bytes_read = call_list.rows_read, call_list.bytes_read
        yield chunk


def _put(chunk: Chunk, row: Recipient | RejectedRow, timing: Timing, options: ListOptions) -> None:
    if isinstance(row, Recipient):
        found = timing.of(row)
        if not isinstance(found, Untimely):
            chunk.batch.accept(found)
            return
        if found.appointment_at is not None:
            chunk.batch.appointments.append((row.line, row.key, found.appointment_at))
        chunk.batch.reject(row.key, row.row)
        row = RejectedRow(row.line, found.column, found.reason, row.row)
    elif key := key_of(row, options):
        chunk.batch.reject(key, row.row)
    chunk.batch.rejected += 1
    chunk.rejected.append(row)


def key_of(row: RejectedRow, options: ListOptions) -> str | None:
    """The key of a rejected row, where that can be read; None otherwise."""
    name = folded(options.key or options.phone)
    cell = next((cell for column, cell in row.row.items() if folded(column) == name), "").strip()
    if options.key is not None:
        return cell if len(cell) <= MAX_KEY_LENGTH else None
    try:
        return options.reader()(cell)
    except ValueError:
        return None
