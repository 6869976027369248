"""`dialer cancel`: nobody of a campaign is called any more.

Heavy imports stand inside the commands, as in command_line.py.
"""

import sys
from typing import Annotated

import typer

from campaigns.command_line import Name, app, put, recipients, the_ledger
from campaigns.mistake import Mistake


@app.command(epilog="Example: dialer cancel clinic-reminders --yes")
def cancel(
    name: Name,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    hang_up: Annotated[bool, typer.Option("--hang-up", help="Hang up calls in progress, too.")] = False,
) -> None:
    """Give up everybody who has not been called. This is for ever; calls under way end by themselves.

    A schedule ends with it, and runs before the latest one that are not over are given up, too.
    With --hang-up they are ended at once, whether they ring or somebody talks, and also when the campaign was
    cancelled before. The workers do that; no telephone rings for it.
    """
    from campaigns.ledger import runs
    from campaigns.ledger.hang_ups import count_affected, count_calls_in_progress
    from campaigns.ledger.health import alive
    from campaigns.ledger.schedules import schedule_of
    from campaigns.reasons import start_workers

    with the_ledger() as ledger:
        with ledger.read() as db:
            run = runs.find_to_come(db, name)
            scheduled = schedule_of(db, run.campaign_id) is not None
            already = runs.all_cancelled(db, run) and not scheduled
            affected = count_affected(db, run.campaign_id, ledger.now())
        if already and not hang_up:
            put(f"{name} was cancelled already")
            return
        if not yes:
            _confirm_cancelling(name, affected, already=already, hang_up=hang_up)
        with ledger.write() as db:
            run = runs.find_to_come(db, name)
            given_up = runs.cancel_all(db, run, ledger.now(), hang_up=hang_up)
            theirs = runs.cancelled_of(db, run) if hang_up else []
            calls = sum(count_calls_in_progress(db, each, ledger.now()) for each in theirs)
        working = any(p.role == "control" and p.exchange == run.exchange for p in alive(ledger, ledger.now()))
    words = [f"{name} was cancelled already" if already else f"{name} is cancelled"]
    words += [] if already else [f"{recipients(given_up)} will not be called"]
    words += ["it begins no more runs by itself"] if scheduled else []
    if hang_up and calls:
        are = "call in progress is" if calls == 1 else "calls in progress are"
        when = "being hung up" if working else f"hung up as soon as workers run: {start_workers(run)}"
        words.append(f"{calls:,} {are} {when}")
    elif hang_up:
        words.append("no call is in progress")
    put("; ".join(words))


def _confirm_cancelling(name: str, affected: tuple[int, int], *, already: bool, hang_up: bool) -> None:
    """Raises Mistake without a terminal to ask at, and Abort when the answer is no.

    affected: how many recipients wait for a call, and how many have one in progress.
    """
    waiting, in_progress = affected
    calls = f"{in_progress:,} call{'' if in_progress == 1 else 's'} in progress"
    about = f"{recipients(waiting)} will not be called, {calls}"
    if not sys.stdin.isatty():
        what = "hanging up cannot be undone" if already else "cancelling is for ever"
        say_yes = f"dialer cancel {name}{' --hang-up' if hang_up else ''} --yes"
        raise Mistake(f"{what} ({calls if already else about}); say: {say_yes}")
    if already:
        question = f"Hang up {calls} of {name}?"
    else:
        ends = f" ({'hung up at once' if hang_up else 'not hung up'})" if in_progress else ""
        question = f"Cancel {name} for ever? {about}{ends}"
    typer.confirm(question, abort=True)
