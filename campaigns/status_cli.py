"""`dialer status`: how far the campaigns are, and why nothing dials if nothing does.

Heavy imports stand inside the commands, as in command_line.py.
"""

import json
import sys
from typing import Annotated

import typer

from campaigns.command_line import AsJson, RunNumber, app, put, the_ledger
from campaigns.mistake import Mistake
from campaigns.plain_text import print_drawn


@app.command(
    short_help="How far, how fast, and why nothing dials.",
    epilog="Example: dialer status clinic-reminders --json",
)
def status(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="One campaign; without it, all of them.")
    ] = None,
    run_number: RunNumber = None,
    as_json: AsJson = False,
) -> None:
    """How far, how fast, when it will be done, and why nothing dials if nothing does."""
    from campaigns.report import every_status
    from campaigns.report import status as status_of

    if name is None and run_number is not None:
        raise Mistake("--run is for one campaign; say which: dialer status NAME --run 1")
    with the_ledger(reads=True) as ledger:
        if name is not None:
            one = status_of(ledger, name, ledger.now(), number=run_number)
            if as_json:
                put(json.dumps(one.as_json()))
                return
            from campaigns.status_view import folded, in_words, width_of_terminal

            for line in folded(in_words(one), width_of_terminal()):
                put(line)
            return
        every = every_status(ledger, ledger.now())
    if as_json:
        put(json.dumps({"campaigns": [each.as_json() for each in every]}))
        return
    if not every:
        put("no campaigns yet; load a list: dialer load CAMPAIGN.toml LIST.csv")
        return
    from campaigns.status_view import table

    for line in table(every):
        print_drawn(line, sys.stdout)
