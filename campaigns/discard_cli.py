"""`dialer discard`: a trial is thrown away.

Heavy imports stand inside the commands, as in command_line.py.
"""

from campaigns.command_line import Name, app, put, the_ledger
from campaigns.mistake import Mistake


@app.command(
    short_help="Throw the trials of a campaign away.", epilog="Example: dialer discard clinic-reminders"
)
def discard(name: Name) -> None:
    """Delete the trials of a campaign, with their lists, calls and results, and decide nothing.

    The list can then be loaded again, for real calls or another trial. Real calls are never deleted, and
    neither are the numbers that were suppressed for the campaign by `dialer suppress`.
    """
    from campaigns.ledger.health import alive
    from campaigns.ledger.trials import calls_in_progress
    from campaigns.ledger.trials import discard as discard_trials

    with the_ledger() as ledger:
        with ledger.read() as db:
            calls = calls_in_progress(db, name)
        # What a crash left so is in progress for ever, and needs no waiting for.
        if calls and any(p.exchange == "sandbox" for p in alive(ledger, ledger.now())):
            raise Mistake(
                f"{name}: {calls:,} of its trial's calls are in progress; wait for them (dialer pause {name} "
                "stops new ones), or stop the workers of the trial first"
            )
        with ledger.write() as db:
            gone = discard_trials(db, name, ledger.now())
    trials = "its trial is" if len(gone) == 1 else f"its {len(gone):,} trials are"
    put(f"{name}: {trials} thrown away; for another trial, or real calls, load its list again")
