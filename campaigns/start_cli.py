"""`dialer start`, `pause` and `resume`: whether a campaign is dialed.

Heavy imports stand inside the commands, as in command_line.py.
"""

from campaigns.command_line import Name, app, put, the_ledger
from campaigns.mistake import Mistake


@app.command(short_help="Let a loaded campaign be dialed.", epilog="Example: dialer start clinic-reminders")
def start(name: Name) -> None:
    """Let a loaded campaign be dialed by whatever workers run (`dialer up`)."""
    _start(name, "started")


@app.command(epilog="Example: dialer pause clinic-reminders")
def pause(name: Name) -> None:
    """Stop dialing a campaign. Calls under way go on; nobody is lost. `dialer resume` goes on."""
    from campaigns.attempt import RunState
    from campaigns.ledger import runs

    with the_ledger() as ledger, ledger.write() as db:
        run = runs.find_to_come(db, name)
        paused = runs.pause_all(db, run, "by an operator")
    if paused:
        put(f"{name} is paused; go on with: dialer resume {name}")
    elif run.state == RunState.PAUSED:
        put(f"{name} was paused already: {run.reason}")
    else:
        raise Mistake(f"{name} is {run.state}; only a running campaign can be paused")


@app.command(epilog="Example: dialer resume clinic-reminders")
def resume(name: Name) -> None:
    """Go on dialing a paused campaign."""
    _start(name, "resumed")


def _start(name: str, verb: str) -> None:
    from campaigns.attempt import RunState
    from campaigns.ledger import runs, schedules

    with the_ledger() as ledger, ledger.write() as db:
        run = runs.find_to_come(db, name)
        was = run.state
        # Also without a run that goes on: what was paused then is its schedule.
        resumed = schedules.resume(db, run.campaign_id)
        state = runs.start_all(db, run, ledger.now(), resumed=resumed)
    if resumed and state in (RunState.FINISHED, RunState.CANCELLED, RunState.LOADED):
        put(f"{name} is resumed; what comes next: dialer schedule")
    elif run.number == 0:
        raise Mistake(f"{name} has nobody to call yet; what comes next: dialer schedule")
    elif state == RunState.FINISHED:
        put(f"{name} is finished: everybody on it has been dialed")
    elif was == RunState.RUNNING:
        put(f"{name} is running already")
    else:
        put(f"{name} is {verb}; watch it with: dialer status {name}")
