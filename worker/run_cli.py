"""`dialer run`: a list loaded, started and dialed on this machine, to the end.

Heavy imports stand inside the functions, as in campaigns/command_line.py.
"""

import time
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from campaigns.command_line import CampaignFile, ListFile, Rejects, Sandbox, app, put, say
from campaigns.export_cli import export_file
from campaigns.load_cli import load_with_progress, schedule_note
from worker.until_stopped import (
    INTERRUPTED,
    AsOf,
    Speed,
    Stopped,
    Wait,
    Workers,
    check_endpoint,
    rehearsed,
    say_where,
    the_stack,
    trial_of,
    while_starting,
)

if TYPE_CHECKING:
    from campaigns.ledger import Ledger
    from campaigns.report import Status
    from worker.local import Stack, Trial
    from worker.settings import DialerSettings


@app.command(
    short_help="Load, start and dial on this machine, to the end.",
    epilog="Example: dialer run clinic-reminders.toml clinic-reminders.csv --sandbox",
)
def run(
    campaign_file: CampaignFile,
    list_file: ListFile,
    sandbox: Sandbox = False,
    workers: Workers = 1,
    speed: Speed = 10.0,
    as_of: AsOf = None,
    rejects: Rejects = None,
) -> None:
    """Load a list, start it, and dial it on this machine until nobody is waiting or in progress.

    Ctrl-C stops cleanly: calls under way are recorded, and the same command goes on where it stopped.
    With --sandbox --as-of TIME it is a rehearsal: hours, reminders and redials go by a clock that begins then
    and runs at --speed. Its ledger has no other runs.
    """
    from campaigns.settings import load_settings
    from worker.settings import DialerSettings

    settings = load_settings(DialerSettings)
    trial = trial_of(sandbox, speed, as_of)
    try:
        code = run_to_the_end(settings, campaign_file, list_file, trial, workers, rejects)
    except Stopped as stopped:
        say(f"dialer: stopped; {str(stopped) or 'the same command goes on where it stopped'}")
        code = INTERRUPTED
    raise typer.Exit(code)


def run_to_the_end(
    settings: "DialerSettings",
    campaign_file: Path,
    list_file: Path,
    trial: "Trial | None",
    workers: int,
    rejects: Path | None,
) -> int:
    """Load, start, dial, and write the results. Returns the exit code. Raises Stopped."""
    from campaigns.campaign import read_campaign
    from campaigns.ledger import open_ledger, runs
    from campaigns.ledger.binding import check, decided
    from campaigns.load_view import in_words as load_in_words
    from campaigns.reasons import start_workers
    from campaigns.report import status
    from campaigns.status_view import in_words
    from worker.local import side_of

    campaign = read_campaign(campaign_file)
    exchange = side_of(settings, trial)
    ledger = open_ledger(settings.ledger_url)
    try:
        with ledger.read() as db:
            # Before a million rows are read; starting asks again, and decides.
            check(campaign.name, decided(db, campaign.name), exchange)
        trial = rehearsed(ledger, trial)
        elsewhere = check_endpoint(settings, trial)
        for line in load_in_words(load_with_progress(ledger, campaign, list_file, rejects)):
            put(line)
        with ledger.write() as db:
            runs.start(db, runs.find(db, campaign.name), ledger.now(), exchange=exchange)
        say_where(elsewhere)
        latest = status(ledger, campaign.name, ledger.now())
        if note := schedule_note(campaign, campaign_file, entered=latest.schedule is not None):
            put(note)
        over = latest.over
        if over:
            runs.finish(ledger, ledger.now())
    finally:
        ledger.close()
    code = 0
    if not over:
        with the_stack(settings, workers, trial) as (ledger, stack, wait):
            try:
                code = 1 if _watch(ledger, stack, campaign.name, wait).fault else 0
            except Stopped:
                run = status(ledger, campaign.name, ledger.now()).run
                if run.state != "cancelled":
                    raise
                goes_on = f"{run.name} was cancelled; its calls are followed by: {start_workers(run)}"
                raise Stopped(goes_on) from None
    ledger = open_ledger(settings.ledger_url)
    try:
        for line in in_words(status(ledger, campaign.name, ledger.now())):
            put(line)
        results = settings.data_dir / f"{campaign.name}.results.csv"
        count = export_file(ledger, campaign.name, results)
        put(f"results: {results} ({count:,} rows)")
    finally:
        ledger.close()
    return code


def _watch(ledger: "Ledger", stack: "Stack", name: str, wait: Wait) -> "Status":
    """Show how a campaign gets on until nobody is waiting or in progress, or until it has paused itself.

    A campaign that is cancelled meanwhile is over when its calls in progress are. Raises Stopped.
    """
    from rich.console import Console
    from rich.live import Live

    from campaigns.ledger import LedgerUnavailable, runs
    from campaigns.report import status
    from campaigns.status_view import at_clock, live

    console = Console(stderr=True)
    began = time.monotonic()
    said = 0.0
    told: bool | None = None
    with Live(console=console, refresh_per_second=4, transient=True) as view:
        while True:
            stack.watch()
            asked = time.monotonic()
            try:
                latest = status(ledger, name, ledger.now())
            except LedgerUnavailable as error:
                say(f"dialer: {error}")
                wait(1)
                continue
            took = time.monotonic() - asked
            if latest.over or latest.fault:
                runs.finish(ledger, ledger.now())
                return latest
            if latest.run.state == "cancelled" and told != (latest.run.hang_up_at is not None):
                # Somebody else has cancelled it. The results have all outcomes, so this waits for them.
                told = latest.run.hang_up_at is not None
                say(f"{name} was cancelled; {'hanging up' if told else 'waiting for'} its calls in progress")
            latest = while_starting(latest, began)
            if console.is_terminal and not console.is_dumb_terminal:
                view.update(live(latest, "Ctrl-C stops"))
            elif time.monotonic() - said >= 5:
                said = time.monotonic()
                say(at_clock(latest))
            # A look that takes a while holds up the dialing in SQLite. But one that was itself held up says
            # nothing of the next one.
            wait(min(max(0.5, 9 * took), 5.0))
