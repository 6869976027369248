"""An operator says which numbers are not to be called, and which may be called again."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from pathlib import Path

import phonenumbers

from campaigns.call_list import RejectedRow
from campaigns.every_reading import every_reading
from campaigns.last_change import LastChanges
from campaigns.ledger import Ledger
from campaigns.ledger.readmissions import Removed, remove_numbers
from campaigns.ledger.runs import find
from campaigns.ledger.suppression_book import Entry, NumberStory, campaign_id, on_list, story_of
from campaigns.ledger.suppressions import Number, Put, put_numbers
from campaigns.ledger.tables import EVERY_CAMPAIGN
from campaigns.listed_number import NATIONAL, ListedNumber
from campaigns.mistake import Mistake
from campaigns.national_numbers import NationalNumbers
from campaigns.number_list import NumberList, Options, no_number, open_number_list
from campaigns.rejects import RejectsFile, default_rejects_path
from campaigns.same_telephone import forms as forms_of

_PIECE = 500  # numbers that are taken off in one transaction

Progressing = NumberList | NationalNumbers
"""A file that is being read, with `size_bytes`, `bytes_read` and `rows_read`."""

BY_AN_OPERATOR = "by an operator"


@dataclass(frozen=True, slots=True)
class Added:
    """What became of numbers that an operator has named."""

    campaign: str | None
    """None: every campaign."""
    phones: tuple[str, ...]
    already: dict[str, Entry]
    """Those of them that were on that list before, as it has them."""
    put: Put


@dataclass(frozen=True, slots=True)
class Deleted:
    """What became of the numbers that a list of changes takes off."""

    numbers: int = 0
    """Each counted once. numbers = removed + kept + those that were not on the list."""
    removed: int = 0
    kept: int = 0
    """Those that another source has put on the list as well: only an operator takes them off."""
    waiting: int = 0
    """The recipients who wait for a call again."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What became of a file. numbers = put.numbers + deleted.numbers + duplicates."""

    campaign: str | None
    file_name: str
    rows: int
    numbers: int
    """All that were read. A row may have several, or be read in several ways; mostly it is one a row."""
    rejected: int
    rejects_file: Path | None
    put: Put
    deleted: Deleted = Deleted()
    ambiguous: int = 0
    """Cells that may mean several telephones: all of them are suppressed."""
    empty_rows: int = 0
    """Rows without a number in any of several columns."""
    columns: tuple[str, ...] = ()
    """Those that were read."""
    unread_columns: tuple[str, ...] = ()
    """Those that seem to hold numbers and were not read."""
    first_reject: RejectedRow | None = None

    @property
    def duplicates(self) -> int:
        """Numbers of telephones that stand in the file before."""
        return self.numbers - self.put.numbers - self.deleted.numbers

    @property
    def problem(self) -> str | None:
        """Why the import counts as failed: no_rows, no_numbers, nothing_readable, some_rejected; or None."""
        if self.numbers:
            return "some_rejected" if self.rejected else None
        if self.rejected:
            return "nothing_readable"
        return "no_numbers" if self.rows else "no_rows"


def add(
    ledger: Ledger, phones: Sequence[str], *, campaign: str | None, reason: str | None, now: datetime
) -> Added:
    """Nobody calls these numbers (E.164) any more; or, with `campaign`, that one does not. All or none."""
    scope = scope_of(ledger, campaign)
    with ledger.read() as db:
        # As they stand beforehand: whatever puts one in meanwhile is as good.
        already = {
            entry.phone: entry
            for phone in phones
            for entry in story_of(db, phone).now
            if entry.campaign == campaign
        }
    numbers = (Number(phone, reason or BY_AN_OPERATOR, now) for phone in phones)
    put = put_numbers(ledger, numbers, campaign_id=scope, now=now)
    return Added(campaign, tuple(phones), already, put)


def remove(
    ledger: Ledger, phones: Sequence[str], *, campaign: str | None, reason: str | None, now: datetime
) -> Removed:
    """These numbers (E.164) may be called again. Raises Mistake if none of them is on that list."""
    scope = scope_of(ledger, campaign)
    why = reason or BY_AN_OPERATOR
    removed = remove_numbers(ledger, list(phones), campaign_id=scope, reason=why, now=now)
    if not removed.phones:
        with ledger.read() as db:
            raise Mistake("; ".join(_not_there(phone, campaign, story_of(db, phone)) for phone in phones))
    return removed


def import_file(
    ledger: Ledger,
    path: Path,
    options: Options,
    *,
    campaign: str | None,
    reason: str | None,
    now: datetime,
    rejects_path: Path | None = None,
    raw: bool = False,
    progress: Callable[[Progressing], None] = lambda _: None,
) -> Imported:
    """Put all numbers of a file on the list: all of them, or, by an exception, none.

    What a list of changes takes off is taken off afterwards, piece by piece. `progress` is called every few
    hundred rows. Raises Mistake for a file that cannot be read; a row that cannot is no Mistake but goes to
    the rejects file.
    """
    scope = scope_of(ledger, campaign)
    listed = open_number_list(path, options)
    otherwise = reason or f"listed in {path.name}"
    count = 0
    with (
        RejectsFile(rejects_path or default_rejects_path(path), listed, raw=raw) as rejects,
        LastChanges() as changes,
    ):

        def rows() -> Iterator[ListedNumber]:
            nonlocal count
            for row in listed:
                if listed.rows_read % 500 == 0:
                    progress(listed)
                if isinstance(row, RejectedRow):
                    rejects.write(row)
                else:
                    count += 1
                    yield row

        found: Iterable[ListedNumber] = rows()
        if isinstance(listed, NationalNumbers) and listed.may_have_changes:
            for row in found:
                changes.note(row)
            found = changes.additions()
        numbers = (
            Number(row.phone, (row.reason or otherwise) + row.note, row.at or now, row.source)
            for row in found
        )
        put = put_numbers(ledger, numbers, campaign_id=scope, now=now)
        deleted = _delete(ledger, changes.deletions(), scope, otherwise, now)
        progress(listed)
    return Imported(
        campaign,
        path.name,
        listed.rows_read,
        count,
        rejects.count,
        rejects.path if rejects.count else None,
        put,
        deleted,
        ambiguous=listed.ambiguous,
        empty_rows=listed.empty_rows,
        columns=options.columns,
        unread_columns=listed.unread_columns,
        first_reject=rejects.first,
    )


def _delete(ledger: Ledger, phones: Iterator[str], scope: int, reason: str, now: datetime) -> Deleted:
    """Take off what only the national file has put on, in pieces, so that no other writer waits for long."""
    numbers = removed = kept = waiting = 0
    while piece := list(islice(phones, _PIECE)):
        gone = remove_numbers(ledger, piece, campaign_id=scope, reason=reason, now=now, source=NATIONAL)
        numbers += len(piece)
        removed += len(gone.phones)
        waiting += gone.waiting
        with ledger.read() as db:
            kept += on_list(db, piece, scope)
    return Deleted(numbers, removed, kept, waiting)


def scope_of(ledger: Ledger, campaign: str | None) -> int:
    """The campaign's id, or EVERY_CAMPAIGN. Raises Mistake if there is no campaign of that name."""
    if campaign is None:
        return EVERY_CAMPAIGN
    with ledger.read() as db:
        known = campaign_id(db, campaign)
        # What raises for a name that is not there names the nearest one that is.
        return find(db, campaign).campaign_id if known is None else known


def numbers_of(texts: Sequence[str], region: str | None) -> list[str]:
    """Numbers as people write them → all that they may mean, in E.164, each telephone once.

    Raises Mistake for the first that cannot be read.
    """
    checked = region_of(region)
    phones: dict[str, None] = {}
    for text in texts:
        phones.update(dict.fromkeys(_readings(text, checked)))
    first_of = {forms: phone for phone in reversed(phones) for forms in [frozenset(forms_of(phone))]}
    return [phone for phone in phones if first_of[frozenset(forms_of(phone))] == phone]


def number_of(text: str, region: str | None) -> str:
    """One number as people write it → E.164. Raises Mistake if it may mean several telephones, or none."""
    phones = numbers_of([text], region)
    if len(phones) > 1:
        either = " or ".join(phones)
        raise Mistake(f"{text!r} may be {either}; write it with + and the country code; nothing was changed")
    return phones[0]


def _readings(text: str, region: str | None) -> list[str]:
    phones, problem = every_reading(text, region)
    if problem:
        raise Mistake(f"{text!r} {no_number(problem)}; nothing was changed")
    return sorted(phones)


def region_of(region: str | None) -> str | None:
    """`us` → `US`. Raises Mistake for what is no country."""
    if region is None:
        return None
    if region.strip().upper() not in phonenumbers.SUPPORTED_REGIONS:
        raise Mistake(f'--default-region {region}: expected a country\'s two letters, such as "US" or "DE"')
    return region.strip().upper()


def _not_there(phone: str, campaign: str | None, story: NumberStory) -> str:
    which = f"the suppression list of {campaign}" if campaign else "the suppression list"
    for entry in story.now:
        if entry.campaign is None:
            return f"{phone} is on the list for every campaign, not on {which}; leave --campaign out"
        if campaign is None:
            return f"{phone} is suppressed for {entry.campaign} only; say: --campaign {entry.campaign}"
    return f"{phone} is not on {which}"
