"""An operator says which numbers are not to be called, and which may be called again."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import phonenumbers

from campaigns.call_list import RejectedRow
from campaigns.ledger import Ledger
from campaigns.ledger.readmissions import Removed, remove_numbers
from campaigns.ledger.runs import find
from campaigns.ledger.suppression_book import Entry, NumberStory, campaign_id, story_of
from campaigns.ledger.suppressions import Number, Put, put_numbers
from campaigns.ledger.tables import EVERY_CAMPAIGN
from campaigns.mistake import Mistake
from campaigns.number_list import NumberList, Options, no_number, open_number_list
from campaigns.phone_number import e164
from campaigns.rejects import RejectsFile, default_rejects_path

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
class Imported:
    """What became of a file. rows = put.numbers + duplicates + rejected."""

    campaign: str | None
    file_name: str
    rows: int
    rejected: int
    rejects_file: Path | None
    put: Put

    @property
    def duplicates(self) -> int:
        """Rows whose number stands in the file before."""
        return self.rows - self.rejected - self.put.numbers


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
    progress: Callable[[NumberList], None] = lambda _: None,
) -> Imported:
    """Put all numbers of a file on the list: all of them, or, by an exception, none.

    `progress` is called every few hundred rows. Raises Mistake for a file that cannot be read; a bad row is
    no Mistake but goes to the rejects file.
    """
    scope = scope_of(ledger, campaign)
    listed = open_number_list(path, options)
    otherwise = reason or f"listed in {path.name}"
    with RejectsFile(rejects_path or default_rejects_path(path), listed, raw=raw) as rejects:

        def numbers() -> Iterator[Number]:
            for row in listed:
                if listed.rows_read % 500 == 0:
                    progress(listed)
                if isinstance(row, RejectedRow):
                    rejects.write(row)
                else:
                    yield Number(row.phone, (row.reason or otherwise) + row.note, row.at or now)

        put = put_numbers(ledger, numbers(), campaign_id=scope, now=now)
        progress(listed)
    rejects_file = rejects.path if rejects.count else None
    return Imported(campaign, path.name, listed.rows_read, rejects.count, rejects_file, put)


def scope_of(ledger: Ledger, campaign: str | None) -> int:
    """The campaign's id, or EVERY_CAMPAIGN. Raises Mistake if there is no campaign of that name."""
    if campaign is None:
        return EVERY_CAMPAIGN
    with ledger.read() as db:
        known = campaign_id(db, campaign)
        # What raises for a name that is not there names the nearest one that is.
        return find(db, campaign).campaign_id if known is None else known


def numbers_of(texts: Sequence[str], region: str | None) -> list[str]:
    """Numbers as people write them → E.164, each once. Raises Mistake for the first that is none."""
    checked = region_of(region)
    phones: dict[str, None] = {}
    for text in texts:
        try:
            phones[e164(text, checked)] = None
        except ValueError as error:
            raise Mistake(f"{text!r} {no_number(error)}; nothing was changed") from None
    return list(phones)


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
