"""`dialer health`: whether a process of this host works.

Heavy imports stand inside the command, as in campaigns/command_line.py.
"""

from typing import Annotated

import typer

from campaigns.command_line import app, put, say, the_ledger
from campaigns.mistake import Mistake


@app.command(short_help="Whether a process of this host works.", epilog="Example: dialer health dial")
def health(
    role: Annotated[str, typer.Argument(metavar="dial|control|beat", help="Which process of this host.")],
) -> None:
    """Whether a process of this host lives and can do its work: exit code 0 or 1. For container checks."""
    import socket

    from campaigns.brake_view import told
    from campaigns.ledger.brakes import brakes_on
    from campaigns.ledger.health import alive, troubles
    from campaigns.ledger.identity import read_identity
    from campaigns.ledger.writable import why_not_writable
    from campaigns.problem import NOT_BROKEN, gravest_first

    if role not in ("dial", "control", "beat"):
        raise Mistake(f"{role!r} is no process of the dialer; say dial, control or beat")
    with the_ledger(reads=True) as ledger:
        stopped = read_identity(ledger).stopped_reason
        full = why_not_writable(ledger)
        mine = [
            p for p in alive(ledger, ledger.now()) if p.process.startswith(f"{role}@{socket.gethostname()}:")
        ]
        held_back = [
            f"{brake.code}: {told(brake)}" for brake in brakes_on(ledger, {p.exchange for p in mine})
        ]
    if full is not None:
        say(f"dialer: {full}")
        raise typer.Exit(1)
    if not mine:
        say(f"dialer: no {role} process of this host has reported lately")
        raise typer.Exit(1)
    # What Connect does not grant is no reason to restart a container; a Redis that is gone is not mended by
    # one either, but it is what the check is asked to show.
    broken = [problem for p in mine for problem in troubles(p) if problem.code not in NOT_BROKEN]
    if broken:
        say(f"dialer: {gravest_first(broken)[0]}")
        raise typer.Exit(1)
    # Nor is a restart what a stopped ledger needs, or a Connect that answers with errors.
    problems = [problem for problem in (stopped, *held_back[:1]) if problem]
    put(f"{role}: alive" + (f", but {'; '.join(problems)}" if problems else ""))
