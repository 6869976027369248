"""`dialer requeue`: another attempt because an operator asks for it.

Heavy imports stand inside the commands, as in command_line.py.
"""

import sys
from contextlib import suppress
from itertools import islice
from typing import Annotated

import typer

from campaigns.command_line import AsJson, Name, app, put, recipients, say, the_ledger


@app.command(
    short_help="Another attempt for those whose call failed.",
    epilog="Example: dialer requeue clinic-reminders --outcome busy,no_answer --since 1d",
)
def requeue(
    name: Name,
    outcome: Annotated[
        list[str],
        typer.Option(
            "--outcome",
            metavar="OUTCOME,…",
            help="How their latest attempt ended: busy, no_answer, refused, refused:CODE, unknown …; "
            "or suppressed, for those whose number is on no suppression list any more.",
        ),
    ],
    since: Annotated[
        str | None,
        typer.Option(
            "--since",
            metavar="TIME",
            help="Only what ended then or later: 2026-03-02, 2026-03-02T09:00, or 2h for so long ago.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List all whom it means, and change nothing.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    as_json: AsJson = False,
) -> None:
    """Ask for another attempt for those whose latest attempt ended in one of these ways.

    It shows whom it means before it does it. Whoever waits for another attempt already, or is being called,
    is left alone, and so are suppressed numbers, and whose time to be called has passed. Those of whom nobody
    can tell whether they rang are asked for as `unknown`, and only by that name. Numbers are shown in full.
    """
    from campaigns import requeue_view as view
    from campaigns.ledger.requeues import ask_for_another, people
    from campaigns.report import status as status_of
    from campaigns.requeue import asked_for
    from campaigns.requeue import look as look_for

    with the_ledger(reads=dry_run) as ledger:
        asked = asked_for(outcome, since, ledger.now())
        seen = look_for(ledger, name, asked, ledger.now())
        ids, again = seen.found.attempt_ids, seen.found.allowed_again
        if not as_json and dry_run:
            for line in view.in_words(seen, people(ledger, ids, again), dry_run=True):
                put(line)
        elif not as_json:
            # A reader who has gone after the first line shall not keep it from being done.
            with suppress(BrokenPipeError):
                first = islice(people(ledger, ids[: view.FIRST], again[: view.FIRST]), view.FIRST)
                for line in view.in_words(seen, first, dry_run=False):
                    put(line)
        for line in view.doubts(seen):
            say(line)
        requeued = 0
        if seen.count and not dry_run:
            if sys.stdin.isatty() and not yes:
                typer.confirm(f"Call {recipients(seen.count)} again?", abort=True, err=True)
            requeued = ask_for_another(ledger, seen.run, asked, ids, ledger.now(), again)
        if as_json:
            everybody = people(ledger, ids, again)
            sys.stdout.writelines(view.as_json(seen, everybody, requeued=requeued, dry_run=dry_run))
            sys.stdout.flush()
        elif dry_run:
            put("nothing was changed (--dry-run)")
        elif seen.count:
            put(view.done(seen, requeued, status_of(ledger, name, ledger.now())))
