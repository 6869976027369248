"""A campaign's file was edited after it was loaded: `dialer resume` goes on by the file as it is now.

The ledger remembers where the file was, its hash, and when it was last written to. A file with the same hash
is not read again, so that an upgrade that has become stricter keeps no campaign from going on. One that was
written to later is the edited one. One that differs but is older, such as another machine's copy at the same
path, may be a version before the one that was loaded: which of the two is meant, only the operator can say.
"""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import select

from campaigns.campaign import Campaign
from campaigns.campaign_source import CampaignSource, read_campaign_and_source, source_of
from campaigns.changes import changes
from campaigns.ledger import Ledger
from campaigns.ledger.lists import Entered, put_choices
from campaigns.ledger.tables import STORED_CHOICES, campaigns
from campaigns.mistake import Mistake
from campaigns.stored import Unreadable, read_stored


@dataclass(frozen=True, slots=True)
class TakenOver:
    """What was done about a campaign's file."""

    entered: Entered | None = None
    """What has changed, if anything has."""
    note: str | None = None
    """Why the file was not looked at, though the ledger knows of one."""


def take_over(ledger: Ledger, name: str, now: datetime) -> TakenOver:
    """Enter what has changed in a campaign's file since it was loaded, from where it was loaded.

    Raises Mistake for a file that was edited and cannot be used, and for one that differs but is older than
    the one that was loaded. Nothing is changed then.
    """
    loaded = _loaded(ledger, name)
    if loaded is None:
        return TakenOver()
    path = Path(loaded.path)
    present = source_of(path)
    if present is None:
        return TakenOver(note=f"{path} cannot be read here; {name} goes on as it was loaded")
    if present.sha256 == loaded.sha256:
        return TakenOver()
    as_loaded = f"to go on as it was loaded: dialer resume {name} --as-loaded"
    try:
        campaign, source = read_campaign_and_source(path)
        if campaign.name != name:
            note = f"{path} is the file of {campaign.name} now; {name} goes on as it was loaded"
            return TakenOver(note=note)
        if not _differs(ledger, name, campaign):
            return TakenOver()
        if present.changed_at <= loaded.changed_at:
            raise Mistake(
                f"{path}: differs from what was loaded, and is not newer; to use it: dialer load {path}"
            )
        return TakenOver(put_choices(ledger, campaign, now, source))
    except Mistake as problem:
        raise Mistake(f"{problem}; {as_loaded}") from None


def _loaded(ledger: Ledger, name: str) -> CampaignSource | None:
    """The file that a campaign was loaded from; None if the ledger does not know."""
    columns = (campaigns.c.file, campaigns.c.file_hash, campaigns.c.file_changed_at)
    with ledger.read() as db:
        row = db.execute(select(*columns).where(campaigns.c.name == name)).one_or_none()
    if row is None or row.file is None:
        return None
    return CampaignSource(row.file, row.file_hash, row.file_changed_at)


def _differs(ledger: Ledger, name: str, campaign: Campaign) -> bool:
    """Whether the file says something else than the ledger; another order or a comment is no difference."""
    with ledger.read() as db:
        stored = db.execute(select(STORED_CHOICES).where(campaigns.c.name == name)).scalar_one()
    try:
        return bool(changes(read_stored(stored), campaign))
    except Unreadable:
        return True
