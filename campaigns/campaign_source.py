"""The file that a campaign's choices were read from: where it is, and whether it is still the same."""

from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

from campaigns.campaign import Campaign, read_campaign


@dataclass(frozen=True, slots=True)
class CampaignSource:
    """One version of a campaign's file."""

    path: str
    """Absolute, as on the machine that read it."""
    sha256: str
    """Of its bytes, in 64 hexadecimal digits."""
    changed_at: datetime
    """When the file was last written to, by the clock of its file system."""


def read_campaign_and_source(path: Path) -> tuple[Campaign, CampaignSource | None]:
    """Read and check a campaign file, and say which version of it that was.

    Raises Mistake as `read_campaign`. The source is None for what is no regular file, such as a pipe.
    """
    # Before it is read: what is written in between makes it a file that has changed since.
    source = source_of(path) if path.is_file() else None
    return read_campaign(path), source


def source_of(path: Path) -> CampaignSource | None:
    """The file as it stands; None if it cannot be read."""
    try:
        with path.open("rb") as file:
            digest = sha256(file.read()).hexdigest()
        written = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        return CampaignSource(str(path.resolve()), digest, written)
    except OSError:
        return None
