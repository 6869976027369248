"""A list into the ledger, with progress and a rejects file."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from campaigns.call_list import CallList, RejectedRow, open_call_list
from campaigns.campaign import Campaign
from campaigns.ledger import Ledger
from campaigns.ledger.lists import Loaded, Rejections, put_list
from campaigns.recipient import Recipient
from campaigns.rejects import RejectsFile, default_rejects_path
from campaigns.timing import Untimely, timed


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What became of a list, and where its rejected rows are."""

    loaded: Loaded
    rejects_file: Path | None


def load(
    ledger: Ledger,
    campaign: Campaign,
    list_path: Path,
    *,
    now: datetime,
    rejects_path: Path | None = None,
    progress: Callable[[CallList], None] = lambda _: None,
) -> LoadReport:
    """Enter everybody on the list who is not in the campaign yet. All of it, or, by an exception, nothing.

    `progress` is called every few hundred rows. Raises Mistake for a file that cannot be read as a list and
    for a campaign that cannot take it; a bad row is no Mistake but goes to the rejects file.
    """
    with open_call_list(list_path, campaign.list) as call_list:
        rejections = Rejections()
        with RejectsFile(rejects_path or default_rejects_path(list_path), call_list) as rejects:

            def people() -> Iterator[Recipient]:
                for row in call_list:
                    if call_list.rows_read % 500 == 0:
                        progress(call_list)
                    found = _timed(campaign, row, now)
                    if isinstance(found, RejectedRow):
                        rejects.write(found)
                        rejections.count += 1
                    else:
                        yield from found

            loaded = put_list(
                ledger,
                campaign,
                people(),
                file_name=list_path.name,
                columns=call_list.columns,
                rejections=rejections,
                now=now,
            )
            progress(call_list)
        # The rejects file takes its place after the ledger has the rest: killed in between, the same
        # command writes it again and adds nobody.
        return LoadReport(loaded, rejects.path if rejections.count else None)


def _timed(
    campaign: Campaign, row: Recipient | RejectedRow, now: datetime
) -> Sequence[Recipient] | RejectedRow:
    """A row that can be called, for each time at which it is to be; or why it cannot."""
    if isinstance(row, RejectedRow):
        return row
    found = timed(campaign, row, now)
    if isinstance(found, Untimely):
        return RejectedRow(row.line, found.column, found.reason, row.row)
    return found
