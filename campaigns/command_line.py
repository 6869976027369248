"""What the commands have in common: the app, the words for options that several have, and the ledger.

Heavy imports stand inside the commands, so that `dialer --help` answers at once.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from campaigns.plain_text import print_line

if TYPE_CHECKING:
    from campaigns.ledger import Ledger
    from campaigns.side import Exchange

app = typer.Typer(
    name="dialer",
    help="A batch dialer for Amazon Connect: each call is placed once, at the account's rate, and followed.",
    epilog="Settings are DIALER_* variables in the environment or in .env; see README.md.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


class GoneOption(StrEnum):
    """What `--gone` takes."""

    KEEP = "keep"
    DROP = "drop"


CampaignFile = Annotated[Path, typer.Argument(metavar="CAMPAIGN.toml", help="The campaign's choices.")]
ListFile = Annotated[
    Path, typer.Argument(metavar="LIST.csv", help="The people to call; - is standard input.")
]
Name = Annotated[str, typer.Argument(metavar="NAME", help="The campaign's name, as in its file.")]
RunNumber = Annotated[
    int | None,
    # As far as the ledger's column goes.
    typer.Option("--run", metavar="N", min=1, max=2**31 - 1, help="One of its runs. Default: the latest."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of words.")]
Raw = Annotated[
    bool, typer.Option("--raw", help="CSV cells as they are, also those that a spreadsheet would run.")
]
Rejects = Annotated[
    Path | None,
    typer.Option("--rejects", metavar="FILE", help="Where rejected rows go. Default: LIST.rejects.csv."),
]

DropGone = Annotated[
    GoneOption,
    typer.Option(
        "--gone",
        help="What becomes of recipients who were loaded before and are not on this list: keep them, or drop "
        "them, so that no other call of theirs begins.",
    ),
]

MaxRejects = Annotated[
    str | None,
    typer.Option(
        "--max-rejects", metavar="N|N%", help="Load nothing if more rows than this are rejected: 20, or 2%."
    ),
]

Sandbox = Annotated[
    bool, typer.Option("--sandbox", help="A trial: its calls go to a stand-in, and nobody is rung.")
]


def say(text: str) -> None:
    """Print a line for people, beside what a program may be reading from standard output."""
    print_line(text, sys.stderr)


def put(text: str) -> None:
    """Print a line of the answer itself. A line break in a value is shown, and does not begin another."""
    print_line(text, sys.stdout)


@contextmanager
def the_ledger(
    *,
    create: bool = False,
    reads: bool = False,
    campaign_file: Path | None = None,
    campaign: str | None = None,
) -> "Iterator[Ledger]":
    """The ledger that the settings name. With `reads` one of an older version stays as it is: a Mistake.

    So it is where another ledger is probably meant: campaigns/whereabouts.py.
    """
    from campaigns.ledger import open_ledger
    from campaigns.settings import LedgerSettings, load_settings
    from campaigns.whereabouts import refuse_another_ledger

    settings = load_settings(LedgerSettings)
    refuse_another_ledger(settings, create=create, campaign_file=campaign_file, campaign=campaign)
    ledger = open_ledger(settings.ledger_url, create=create, migrate=not reads)
    try:
        yield ledger
    finally:
        ledger.close()


def the_side(sandbox: bool) -> "Exchange":
    """The side that a command decides for: `--sandbox`, or else DIALER_EXCHANGE. Raises Mistake."""
    from campaigns.settings import LedgerSettings, load_settings

    return "sandbox" if sandbox else load_settings(LedgerSettings).exchange


def recipients(count: int) -> str:
    """So many recipients, in words."""
    return f"{count:,} recipient{'' if count == 1 else 's'}"
