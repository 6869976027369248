"""What a command is given for a list: a file, or `-` for standard input; and a campaign's file beside it.

Heavy imports stand inside the functions, as in command_line.py.
"""

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from campaigns.mistake import Mistake

if TYPE_CHECKING:
    from campaigns.campaign import Campaign
    from campaigns.campaign_source import CampaignSource

STANDARD_INPUT = Path("-")


def is_standard(path: Path | None) -> bool:
    """Whether `-` was given: standard input or output."""
    return path == STANDARD_INPUT


@contextmanager
def readable(path: Path) -> Iterator[Path]:
    """The file itself; for `-` a private copy of standard input, which is removed at the end.

    Raises Mistake where nothing is piped into it. A Mistake from inside names standard input, not the copy.
    """
    if not is_standard(path):
        yield path
        return
    if sys.stdin is None or sys.stdin.isatty():
        raise Mistake("-: nothing is piped into standard input; for instance: cat list.csv | dialer … -")
    # A list is read twice, and standard input only once.
    with tempfile.TemporaryDirectory(prefix="dialer-") as folder:
        copy = Path(folder) / "stdin.csv"
        try:
            with copy.open("wb") as out:
                shutil.copyfileobj(sys.stdin.buffer, out, 1 << 20)
        except OSError as error:
            raise Mistake(f"standard input: cannot be kept in {folder}: {error.strerror}") from None
        try:
            yield copy
        except Mistake as mistake:
            raise Mistake(str(mistake).replace(str(copy), "standard input")) from None


def campaign_beside(
    campaign_file: Path, list_file: Path, command: str
) -> "tuple[Campaign, CampaignSource | None]":
    """The campaign of a file that was given together with a list. Raises Mistake, also for swapped ones."""
    from campaigns.campaign_source import read_campaign_and_source

    try:
        return read_campaign_and_source(campaign_file)
    except Mistake:
        if not is_standard(list_file) and _is_campaign(list_file):
            raise Mistake(
                f"{campaign_file} and {list_file} are the wrong way round; "
                f"write: dialer {command} {list_file} {campaign_file}"
            ) from None
        raise


def _is_campaign(path: Path) -> bool:
    """Whether a file is a campaign's, as far as its name and its tables tell. A wrong value is no matter."""
    import tomllib

    try:
        with path.open("rb") as file:
            content = tomllib.loads(file.read(1 << 20).decode())
    except (OSError, ValueError, RecursionError):
        return path.suffix.lower() == ".toml" and path.is_file()
    return "connect" in content or path.suffix.lower() == ".toml"


def rejects_folder() -> Path:
    """Where rejects go that have no place beside the list."""
    from campaigns.settings import LedgerSettings, load_settings

    return load_settings(LedgerSettings).data_dir / "rejects"


def rejects_of_input(name: str) -> Path:
    """Where the rejected rows of standard input go; the folder is made."""
    folder = rejects_folder() / name
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        raise Mistake(f"{folder}: cannot be created: {error.strerror}; name a file with --rejects") from None
    return folder / "stdin.rejects.csv"
