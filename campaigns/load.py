"""A list into the ledger, with progress and a rejects file."""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from campaigns.call_list import open_call_list
from campaigns.campaign import Campaign
from campaigns.campaign_source import CampaignSource
from campaigns.conflicts import Conflict, conflicts
from campaigns.ledger import Ledger
from campaigns.ledger.lists import Loaded, put_list
from campaigns.ledger.schedules import Fire
from campaigns.ledger.staging import Batch
from campaigns.list_read import ListRead
from campaigns.mistake import Mistake
from campaigns.progress_bar import Reading
from campaigns.reading import Chunk, read_chunks
from campaigns.rejects import RejectsFile, default_rejects_path

AT_REST = timedelta(seconds=3)
"""A file that was written to within so long is taken for one that is still being written."""


LOAD_AGAIN = "; try again when it is complete"


class StillWritten(Mistake):
    """The list is being written just now. Read like that, recipients at its end would be missing."""


class TooManyRejects(Exception):
    """More rows are rejected than the operator allows, and nothing was loaded."""

    def __init__(self, rows: int, rejected: int, most: str, rejects_file: Path) -> None:
        super().__init__(
            f"{rejected:,} of {rows:,} rows are rejected, and --max-rejects is {most}: nothing was loaded; "
            f"the rows and their reasons: {rejects_file}"
        )
        self.rows, self.rejected, self.rejects_file = rows, rejected, rejects_file


@dataclass(frozen=True, slots=True)
class MostRejects:
    """How many rows of a list may be rejected: a number, or a share of its rows in percent."""

    number: float
    percent: bool

    @classmethod
    def of(cls, text: str) -> "MostRejects":
        """From `20` or `2.5%`. Raises Mistake."""
        plain = text.strip()
        match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,6})?) ?(%?)", plain, re.ASCII)
        if match is None or (not match[2] and "." in match[1]) or (match[2] and float(match[1]) > 100):
            raise Mistake(f"--max-rejects: {text[:40]!r} is no number of rows; write 20, or 2.5%")
        return cls(float(match[1]), percent=bool(match[2]))

    def __str__(self) -> str:
        return f"{self.number:g}%" if self.percent else f"{self.number:.0f}"

    def passed(self, rejected: int, rows: int) -> bool:
        """Whether so many rejected rows are too many."""
        return rejected * 100 > self.number * rows if self.percent else rejected > self.number


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What became of a list, and where its rejected rows are."""

    loaded: Loaded
    rejects_file: Path | None
    read: ListRead | None = None
    """How the list was read; None where only the campaign's file was."""
    unusable: str | None = None
    """Why no row of the list can be called, in one sentence; None if one can, or is loaded already."""
    conflicts: tuple[Conflict, ...] = ()
    """Choices of the campaign that cannot all hold."""


def load(
    ledger: Ledger,
    campaign: Campaign,
    list_path: Path,
    *,
    now: datetime,
    rejects_path: Path | None = None,
    rejects_folder: Path | None = None,
    most_rejects: MostRejects | None = None,
    raw: bool = False,
    progress: Callable[[Reading], None] = lambda _: None,
    source: CampaignSource | None = None,
    drop_gone: bool = False,
) -> LoadReport:
    """Enter everybody on the list who is not in the campaign yet. All of it, or, by an exception, nothing.

    `progress` is called every thousand rows. `raw`: see RejectsFile. `source`, `drop_gone`: see `put_list`.
    `rejects_folder`: where the rejects file goes if `rejects_path` is not given and nothing can be written
    beside the list. Raises Mistake for a file that cannot be read as a list, StillWritten if it changes
    meanwhile, and Mistake for a campaign that cannot take it; TooManyRejects. A bad row is no Mistake but
    goes to the rejects file.
    """
    before = as_it_stands(list_path)
    with open_call_list(list_path, campaign.list, _appointment(campaign)) as call_list:
        if drop_gone and call_list.is_rejects_file:
            raise Mistake(
                f"{list_path}: is a rejects file, which has a part of a list only, and --gone drop would "
                "take out all others; load it without --gone drop"
            )
        rejects_path = rejects_path or default_rejects_path(list_path, campaign.name, rejects_folder)
        with RejectsFile(rejects_path, call_list, raw=raw) as rejects:

            def batches() -> Iterator[Batch]:
                anybody = False
                for batch in _batches(read_chunks(call_list, campaign, now), rejects, progress):
                    anybody |= batch.accepted > 0
                    yield batch
                refuse_changed(list_path, before, LOAD_AGAIN)
                if drop_gone and not anybody:
                    rejects.close()
                    # An export that failed, or another campaign's list, says nothing of anybody.
                    raise Mistake(
                        f"{list_path}: {_nobody(rejects)}; --gone drop would take out all recipients, so "
                        "nothing was changed"
                    )
                rows = call_list.rows_read
                if most_rejects is not None and most_rejects.passed(rejects.count, rows):
                    rejects.close()
                    raise TooManyRejects(rows, rejects.count, str(most_rejects), rejects.path)

            loaded = put_list(
                ledger,
                campaign,
                batches(),
                file_name=list_path.name,
                columns=call_list.columns,
                now=now,
                source=source,
                drop_gone=drop_gone,
            )
        # The rejects file takes its place after the ledger has the rest: killed in between, the same
        # command writes it again and adds nobody.
        return LoadReport(
            loaded,
            rejects.path if rejects.count else None,
            ListRead.of(call_list),
            None if loaded.accepted or loaded.duplicates else _nobody(rejects, loaded.suppressed),
            conflicts(campaign, now),
        )


def load_fire(
    ledger: Ledger,
    campaign: Campaign,
    fire: Fire,
    list_path: Path,
    *,
    now: datetime,
    rejects_path: Path,
    progress: Callable[[Reading], None] = lambda _: None,
) -> LoadReport:
    """Begin a run of a schedule with everybody on its list. All of it, or, by an exception, nothing.

    Raises Mistake for a file that cannot be read as a list, StillWritten among them, and for one without
    anybody who can be called; FireGone if somebody else has begun that run, or has changed the schedule.
    """
    before = as_it_stands(list_path)
    if before is not None and abs(now.timestamp() - before[1] / 1e9) < AT_REST.total_seconds():
        raise StillWritten(f"{list_path}: is being written just now")
    with open_call_list(list_path, campaign.list, _appointment(campaign)) as call_list:
        with RejectsFile(rejects_path, call_list) as rejects:

            def batches() -> Iterator[Batch]:
                anybody = False
                for batch in _batches(read_chunks(call_list, campaign, now), rejects, progress):
                    anybody |= batch.accepted > 0
                    yield batch
                refuse_changed(list_path, before)
                if not anybody:
                    raise Mistake(f"{list_path}: {_nobody(rejects)}")
                # Before the run begins: nobody repeats this after a crash, and these rows would be lost.
                rejects.close()

            loaded = put_list(
                ledger,
                campaign,
                batches(),
                file_name=list_path.name,
                columns=call_list.columns,
                now=now,
                fire=fire,
            )
        return LoadReport(loaded, rejects.path if rejects.count else None, ListRead.of(call_list))


def refuse_changed(path: Path, before: tuple[int, int, int] | None, remedy: str = "") -> None:
    """Raises StillWritten if a list is not the file that it was `before`."""
    if as_it_stands(path) != before:
        raise StillWritten(f"{path}: has changed while it was read{remedy}")


def as_it_stands(path: Path) -> tuple[int, int, int] | None:
    """(size in bytes, last change in nanoseconds since 1970, which file of that name); None without one."""
    try:
        found = path.stat()
    except OSError:
        return None  # reading it says why
    return found.st_size, found.st_mtime_ns, found.st_ino


def _nobody(rejects: RejectsFile, suppressed: int = 0) -> str:
    if suppressed and not rejects.count:
        return (
            "its only number is suppressed"
            if suppressed == 1
            else f"all {suppressed:,} numbers are suppressed"
        )
    if suppressed:
        others = "the other number is" if suppressed == 1 else f"the other {suppressed:,} numbers are"
        return f"{_nobody(rejects)}; {others} suppressed"
    if not rejects.count:
        return "has nobody on it, only a header"
    first = rejects.first
    assert first is not None
    where = f'line {first.line}, column "{first.column}"' if first.column else f"line {first.line}"
    rows = "its only row" if rejects.count == 1 else f"none of its {rejects.count:,} rows"
    verb = "cannot" if rejects.count == 1 else "can"
    return f"{rows} {verb} be called; {where}: {first.reason}"


def _batches(
    chunks: Iterable[Chunk], rejects: RejectsFile, progress: Callable[[Reading], None]
) -> Iterator[Batch]:
    for chunk in chunks:
        for row in chunk.rejected:
            rejects.write(row)
        progress(chunk)
        yield chunk.batch


def _appointment(campaign: Campaign) -> str | None:
    """The column with what people are reminded of."""
    return campaign.reminder.at if campaign.reminder else None
