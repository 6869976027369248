"""`dialer up`: the whole dialer on this machine, until Ctrl-C.

Heavy imports stand inside the functions, as in campaigns/command_line.py.
"""

import time
from typing import TYPE_CHECKING, Never

from campaigns.command_line import Sandbox, app, put, say
from worker.until_stopped import (
    AsOf,
    Faults,
    Speed,
    Stopped,
    Wait,
    Workers,
    check_endpoint,
    say_where,
    the_stack,
    trial_of,
    while_starting,
)

if TYPE_CHECKING:
    from campaigns.ledger import Ledger
    from campaigns.report import Status
    from worker.local import Stack


@app.command(short_help="Run the whole dialer until Ctrl-C.", epilog="Example: dialer up --workers 2")
def up(
    workers: Workers = 1,
    sandbox: Sandbox = False,
    speed: Speed = 10.0,
    faults: Faults = False,
    as_of: AsOf = None,
) -> None:
    """Run the whole dialer on this machine until Ctrl-C: workers, scheduler, and Redis if there is none.

    With --sandbox --as-of TIME it is a rehearsal: the ledger's clock begins then and runs at --speed.
    """
    from campaigns.settings import load_settings
    from campaigns.side import told
    from campaigns.whereabouts import refuse_another_ledger
    from worker.local import need_extras
    from worker.settings import DialerSettings

    settings = load_settings(DialerSettings)
    refuse_another_ledger(settings, create=True)
    trial = trial_of(sandbox, speed, as_of, faults=faults)
    need_extras(settings, trial)
    elsewhere = check_endpoint(settings, trial)
    try:
        with the_stack(settings, workers, trial) as (ledger, stack, wait):
            dial = f"{workers} dial worker{'s' if workers > 1 else ''} ({told(stack.settings.exchange)})"
            put(f"up: {dial}, logs in {stack.logs}; Ctrl-C stops")
            say_where(elsewhere)
            _look_on(ledger, stack, wait)
    except Stopped:
        # Being stopped is how it ends; nothing has failed.
        say("dialer: stopped")


def _look_on(ledger: "Ledger", stack: "Stack", wait: Wait) -> Never:
    """Say how the campaigns get on, until Ctrl-C, when it raises Stopped."""
    from campaigns.ledger import LedgerUnavailable
    from campaigns.report import every_status
    from campaigns.status_view import at_clock, plain
    from worker.seldom import Seldom

    began = time.monotonic()
    seldom = Seldom()
    seen: dict[str, Status] = {}
    while True:
        stack.watch()
        try:
            for latest in (while_starting(each, began) for each in every_status(ledger, ledger.now())):
                name = latest.run.name
                before = seen.get(name)
                # A running campaign is worth a line when it moves, any other when it has just become so.
                moved = before is None or plain(before) != plain(latest)
                turned = before is not None and before.run.state != latest.run.state
                alarmed = latest.alarm is not None and (before is None or before.alarm != latest.alarm)
                if turned or alarmed or (moved and latest.run.state == "running"):
                    put(at_clock(latest))
                seen[name] = latest
        except LedgerUnavailable as error:
            if seldom.due(str(error)):
                say(f"dialer: {error}")
        wait(5)
