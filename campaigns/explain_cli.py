"""`dialer explain`: one recipient's whole story.

Heavy imports stand inside the commands, as in command_line.py.
"""

import json
from typing import Annotated

import typer

from campaigns.command_line import AsJson, Name, RunNumber, app, put, the_ledger
from campaigns.mistake import Mistake


@app.command(
    short_help="One recipient's whole story.",
    epilog="Example: dialer explain clinic-reminders +14155550101",
)
def explain(
    name: Name,
    number: Annotated[
        str | None,
        typer.Argument(metavar="NUMBER", help="Their number, as their list may write it, or their key."),
    ] = None,
    unknown: Annotated[
        bool, typer.Option("--unknown", help="Instead: all of whom nobody can tell whether they were rung.")
    ] = False,
    run_number: RunNumber = None,
    as_json: AsJson = False,
) -> None:
    """One recipient's whole story: from which line, every attempt, rule and reason, and what comes next.

    With --unknown: everybody whose call may have rung, what the searches in Connect have shown, and what
    happens then. Numbers are shown in full.
    """
    if (number is None) != unknown:
        raise Mistake(
            f"say either whose story: dialer explain {name} +14155550101, "
            f"or all in doubt: dialer explain {name} --unknown"
        )
    from campaigns.explain import explain as stories_of
    from campaigns.explain import explain_unknown

    with the_ledger(reads=True) as ledger:
        if number is None:
            stories = explain_unknown(ledger, name, ledger.now(), number=run_number)
        else:
            stories = stories_of(ledger, name, number, ledger.now(), number=run_number)
    if as_json:
        put(json.dumps({"name": name, "recipients": [each.as_json() for each in stories]}))
        return
    from campaigns.explain_view import in_doubt, told

    if number is None:
        lines = in_doubt(name, stories, ledger.now())
    else:
        lines = [line for each in stories for line in told(each, ledger.now())]
    for line in lines:
        put(line)
