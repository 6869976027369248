"""`dialer drop`: single recipients are taken out of a campaign, or put back.

Heavy imports stand inside the commands, as in command_line.py.
"""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from campaigns.command_line import AsJson, Name, app, put, the_ledger

if TYPE_CHECKING:
    from campaigns.ledger.drop_keys import Dropped


@app.command(
    short_help="Take single recipients out of a campaign.",
    epilog="Example: dialer drop clinic-reminders A-17 A-23",
)
def drop(
    name: Name,
    keys: Annotated[
        list[str],
        typer.Argument(
            metavar="KEY…",
            help="Their keys, as in the list's key column; without such a column their numbers.",
        ),
    ],
    undo: Annotated[bool, typer.Option("--undo", help="Put them back: they are called again.")] = False,
    as_json: AsJson = False,
) -> None:
    """Take recipients out: no other call of theirs begins, also when the list is loaded again.

    A call that is under way goes on, and no other follows it. Who was called already stays in the results
    as before, and is not dialed again by a redial rule or a requeue. --undo puts them back.
    A number that is not to be called by any campaign belongs on the suppression list: dialer suppress add.
    """
    from campaigns.drop_view import as_json as to_json
    from campaigns.drop_view import in_words
    from campaigns.ledger import drop_keys

    with the_ledger() as ledger:
        does = drop_keys.put_back if undo else drop_keys.drop
        done: list[Dropped] = does(ledger, name, keys, ledger.now())
    if as_json:
        put(json.dumps(to_json(name, done, undo=undo)))
        return
    for line in in_words(name, done, undo=undo):
        put(line)
