"""`dialer start`, `pause` and `resume`: whether a campaign is dialed.

Heavy imports stand inside the commands, as in command_line.py.
"""

from typing import TYPE_CHECKING

from campaigns.command_line import Name, Sandbox, app, put, the_ledger, the_side
from campaigns.mistake import Mistake

if TYPE_CHECKING:
    from campaigns.side import Exchange


@app.command(short_help="Let a loaded campaign be dialed.", epilog="Example: dialer start clinic-reminders")
def start(name: Name, sandbox: Sandbox = False) -> None:
    """Let a loaded campaign be dialed by the workers that run (`dialer up`).

    Whether its calls are real or a trial is decided here, for ever; `dialer up --sandbox` dials trials.
    """
    _start(name, "started", the_side(sandbox))


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
    _start(name, "resumed", None)


def _start(name: str, verb: str, exchange: "Exchange | None") -> None:
    from campaigns.attempt import RunState
    from campaigns.ledger import runs, schedules

    with the_ledger() as ledger, ledger.write() as db:
        run = runs.find_to_come(db, name)
        was = run.state
        # Also without a run that goes on: what was paused then is its schedule.
        resumed = schedules.resume(db, run.campaign_id)
        state = runs.start_all(db, run, ledger.now(), exchange=exchange, resumed=resumed)
        trial = " in the sandbox" if runs.find_to_come(db, name).exchange == "sandbox" else ""
    if resumed and state in (RunState.FINISHED, RunState.CANCELLED, RunState.LOADED):
        put(f"{name} is resumed; what comes next: dialer schedule")
    elif run.number == 0:
        raise Mistake(f"{name} has nobody to call yet; what comes next: dialer schedule")
    elif state == RunState.FINISHED:
        put(f"{name} is finished: everybody on it has been dialed")
    elif was == RunState.RUNNING:
        put(f"{name} is running already")
    else:
        put(f"{name} is {verb}{trial}; watch it with: dialer status {name}")
