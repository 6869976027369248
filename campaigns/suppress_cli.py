"""`dialer suppress`: which numbers are never called.

Heavy imports stand inside the commands, as in command_line.py.
"""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from campaigns.command_line import AsJson, Raw, app, put, say, the_ledger
from campaigns.list_input import is_standard, readable, rejects_of_input
from campaigns.mistake import Mistake
from campaigns.plain_text import Rows

suppress_app = typer.Typer(
    help="Numbers that are never called: by no campaign, or, with --campaign, not by that one.",
    short_help="Which numbers are never called.",
    epilog="Example: dialer suppress add +14155550101 --reason 'asked us to'",
    rich_markup_mode=None,
)
app.add_typer(suppress_app, name="suppress")

Numbers = Annotated[
    list[str], typer.Argument(metavar="NUMBER", help="Numbers as people write them: +1 415 555 0101.")
]
Campaign = Annotated[
    str | None,
    typer.Option("--campaign", metavar="NAME", help="For this campaign only. Default: for every one."),
]
Reason = Annotated[
    str | None, typer.Option("--reason", metavar="TEXT", help="Why: it is kept with the number.")
]
Region = Annotated[
    str | None,
    typer.Option("--default-region", metavar="US", help="The country of numbers without a country code."),
]


@suppress_app.command(
    short_help="Never call these numbers again.",
    epilog="Example: dialer suppress add +14155550101 --reason 'asked us to'",
)
def add(
    numbers: Numbers,
    campaign: Campaign = None,
    reason: Reason = None,
    default_region: Region = None,
    as_json: AsJson = False,
) -> None:
    """Never call these numbers again. It holds at once, also for calls that are queued.

    Calls that have left already go on. A number that is on the list stays as it is. What may be read as
    several numbers suppresses all of them.
    """
    from campaigns import suppress_view as view
    from campaigns.suppress import add as add_numbers
    from campaigns.suppress import numbers_of

    phones = numbers_of(numbers, default_region)
    with the_ledger(create=True) as ledger:
        added = add_numbers(ledger, phones, campaign=campaign, reason=_plain(reason), now=ledger.now())
    if as_json:
        put(json.dumps(view.added_as_json(added)))
        return
    for line in view.added_in_words(added):
        put(line)


@suppress_app.command(
    short_help="Take numbers off the list.",
    epilog="Example: dialer suppress remove +14155550101 --reason 'wants to be called again'",
)
def remove(
    numbers: Numbers,
    campaign: Campaign = None,
    reason: Reason = None,
    default_region: Region = None,
    as_json: AsJson = False,
) -> None:
    """Take numbers off the list. That they were on it stays in its history.

    Whoever was suppressed waits to be called again, in campaigns that are not over. For those in a campaign
    that is finished it names the command that calls them.
    """
    from campaigns import suppress_view as view
    from campaigns.suppress import number_of
    from campaigns.suppress import remove as remove_numbers

    phones = list(dict.fromkeys(number_of(number, default_region) for number in numbers))
    with the_ledger() as ledger:
        removed = remove_numbers(ledger, phones, campaign=campaign, reason=_plain(reason), now=ledger.now())
    if as_json:
        put(json.dumps(view.removed_as_json(removed, phones, campaign)))
        return
    for line in view.removed_in_words(removed, phones, campaign):
        put(line)


@suppress_app.command(
    "list",
    short_help="Show the list, or what it says of a number.",
    epilog="Example: dialer suppress list +14155550101",
)
def show(
    number: Annotated[
        str | None, typer.Argument(metavar="NUMBER", help="One number; without it, all of them, as CSV.")
    ] = None,
    campaign: Annotated[
        str | None, typer.Option("--campaign", metavar="NAME", help="Only what is for this campaign alone.")
    ] = None,
    history: Annotated[
        bool, typer.Option("--history", help="All that was ever added and removed, the oldest first.")
    ] = False,
    default_region: Region = None,
    raw: Raw = False,
    as_json: AsJson = False,
) -> None:
    """Show the list as CSV, which `dialer suppress import` takes; or what it says of one number.

    Numbers are shown in full.
    """
    from campaigns import suppress_view as view
    from campaigns.ledger import suppression_book as book
    from campaigns.suppress import number_of, scope_of

    phone = None if number is None else number_of(number, default_region)
    with the_ledger(reads=True) as ledger:
        scope = None if campaign is None else scope_of(ledger, campaign)
        if phone is not None and not as_json and not history:
            with ledger.read() as db:
                story = book.story_of(db, phone, scope)
            for line in view.story_in_words(phone, story, campaign):
                put(line)
            return
        sys.stdout.reconfigure(encoding="utf-8", newline="")  # type: ignore[union-attr] # a real stream
        found = (book.history if history else book.entries)(ledger, campaign_id=scope, phone=phone)
        if as_json:
            sys.stdout.writelines(view.as_json(found, history=history))
        else:
            view.write_csv(found, Rows(sys.stdout), history=history, raw=raw)
        sys.stdout.flush()


@suppress_app.command(
    "import",
    short_help="Put a file of numbers on the list.",
    epilog="Example: dialer suppress import do-not-call.csv --reason 'national list, March'",
)
def import_list(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="CSV with a header, numbers alone, or the national list (text or XML); - is standard input.",
        ),
    ],
    campaign: Campaign = None,
    reason: Reason = None,
    column: Annotated[
        list[str] | None,
        typer.Option(
            "--column",
            metavar="NAME",
            help="The column with the numbers; once for each of several. Default: phone.",
        ),
    ] = None,
    default_region: Region = None,
    rejects: Annotated[
        Path | None,
        typer.Option("--rejects", metavar="FILE", help="Where rejected rows go. Default: FILE.rejects.csv."),
    ] = None,
    raw: Raw = False,
    as_json: AsJson = False,
) -> None:
    """Put a file of numbers on the list: all of them at once, or none.

    What may be read as several numbers suppresses all of them. Rows that cannot be read go to a file that
    can be corrected and imported, and the exit code is 1.
    The columns `reason` and `date` are taken where the file has them. The national list's change rows add
    numbers, and take off those that only the national list has put on.
    """
    from campaigns import suppress_view as view
    from campaigns.number_list import Options
    from campaigns.progress_bar import progress_bar
    from campaigns.suppress import import_file, region_of

    first, *more = column or ["phone"]
    options = Options(first, region_of(default_region), tuple(more))
    if is_standard(file) and rejects is None:
        rejects = rejects_of_input("suppressions")
    with (
        readable(file) as path,
        the_ledger(create=True) as ledger,
        progress_bar("importing", path) as progress,
    ):
        imported = import_file(
            ledger,
            path,
            options,
            campaign=campaign,
            reason=_plain(reason),
            now=ledger.now(),
            rejects_path=rejects,
            raw=raw,
            progress=progress,
        )
    if as_json:
        put(json.dumps(view.imported_as_json(imported)))
    else:
        for line in view.imported_in_words(imported):
            put(line)
    if imported.problem:
        say(view.failure(imported))
        raise typer.Exit(1)


def _plain(reason: str | None) -> str | None:
    """A reason in one line, or None. Raises Mistake for one that is too long."""
    from campaigns.number_list import LONGEST_REASON

    plain = " ".join((reason or "").split())
    if len(plain) > LONGEST_REASON:
        raise Mistake(f"--reason: has {len(plain):,} characters, and takes {LONGEST_REASON:,}; shorten it")
    return plain or None
