"""`dialer run`: a list loaded, started and dialed on this machine, to the end.

Heavy imports stand inside the functions, as in campaigns/command_line.py.
"""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from campaigns.command_line import (
    CampaignFile,
    DropGone,
    GoneOption,
    ListFile,
    MaxRejects,
    Rejects,
    Sandbox,
    app,
    put,
    say,
)
from campaigns.export_cli import export_file
from campaigns.list_input import campaign_beside, is_standard, readable, rejects_of_input
from campaigns.load_cli import load_with_progress, schedule_note
from campaigns.mistake import Mistake
from worker.until_stopped import (
    INTERRUPTED,
    AsOf,
    Faults,
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
    from campaigns.campaign import Campaign
    from campaigns.ledger import Ledger
    from campaigns.load import MostRejects
    from campaigns.report import Status
    from campaigns.side import Exchange
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
    faults: Faults = False,
    again: Annotated[
        bool,
        typer.Option("--again", help="In the sandbox: a trial from the start; the last one is kept apart."),
    ] = False,
    as_of: AsOf = None,
    rejects: Rejects = None,
    gone: DropGone = GoneOption.KEEP,
    max_rejects: MaxRejects = None,
) -> None:
    """Load a list, start it, and dial it on this machine until nobody is waiting or in progress.

    Ctrl-C stops cleanly, as does closing the terminal: calls under way are recorded, and the same command
    goes on where it stopped.
    When a trial is over, the same command without --sandbox calls everybody on the list for real, and the
    trial is kept as a campaign of its own, `NAME (trial 1)`. `dialer discard` throws trials away.
    With --sandbox --as-of TIME it is a rehearsal: hours, reminders and redials go by a clock that begins then
    and runs at --speed. Its ledger has no other runs.
    """
    from campaigns.load import MostRejects
    from campaigns.settings import load_settings
    from campaigns.whereabouts import refuse_another_ledger
    from worker.settings import DialerSettings

    most = None if max_rejects is None else MostRejects.of(max_rejects)
    settings = load_settings(DialerSettings)
    refuse_another_ledger(
        settings,
        create=True,
        campaign_file=campaign_file,
        campaign=campaign_beside(campaign_file, list_file, "run")[0].name,
    )
    trial = trial_of(sandbox, speed, as_of, faults=faults)
    try:
        code = run_to_the_end(
            settings,
            campaign_file,
            list_file,
            trial,
            workers,
            rejects,
            again=again,
            drop_gone=gone == GoneOption.DROP,
            most_rejects=most,
        )
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
    *,
    again: bool = False,
    drop_gone: bool = False,
    most_rejects: "MostRejects | None" = None,
) -> int:
    """Load, start, dial, and write the results. Returns the exit code. Raises Stopped.

    Nothing is started where no row of the list can be called, or too many are rejected: exit code 1.
    again: a trial of this campaign that is there is set apart first. drop_gone: as `load --gone drop`.
    """
    from campaigns.ledger import open_ledger, runs
    from campaigns.ledger.binding import check, decided
    from campaigns.ledger.trials import is_over
    from campaigns.load import TooManyRejects
    from campaigns.load_view import in_words as load_in_words
    from campaigns.reasons import start_workers
    from campaigns.report import status
    from campaigns.status_view import in_words
    from worker.local import need_extras, side_of

    campaign, source = campaign_beside(campaign_file, list_file, "run")
    if is_standard(list_file) and rejects is None:
        rejects = rejects_of_input(campaign.name)
    exchange = side_of(settings, trial)
    if again and exchange != "sandbox":
        raise Mistake(
            "--again is for trials (--sandbox); to call people again for real: "
            f"dialer requeue {campaign.name} --outcome busy,no_answer"
        )
    # Before a ledger is made or a list loaded, like all that can be wrong with the command itself.
    need_extras(settings, trial)
    ledger = open_ledger(settings.ledger_url)
    try:
        with ledger.read() as db:
            # Before a million rows are read; starting asks again, and decides.
            was = decided(db, campaign.name)
            # A trial that was interrupted does not become real by a flag that was left out.
            anew = was == "sandbox" and (again or (exchange == "connect" and is_over(db, campaign.name)))
        if not anew:
            check(campaign.name, was, exchange)
        trial = rehearsed(ledger, trial)
        elsewhere = check_endpoint(settings, trial)
        try:
            with readable(list_file) as path:
                if anew:
                    _set_trial_aside(ledger, campaign, path, exchange)
                report = load_with_progress(
                    ledger,
                    campaign,
                    path,
                    rejects,
                    most_rejects=most_rejects,
                    source=source,
                    drop_gone=drop_gone,
                )
        except TooManyRejects as problem:
            say(f"dialer: {problem}")
            return 1
        for line in load_in_words(report):
            put(line)
        if report.unusable:
            say(f"dialer: {'standard input' if is_standard(list_file) else list_file}: {report.unusable}")
            return 1
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


def _set_trial_aside(ledger: "Ledger", campaign: "Campaign", list_file: Path, exchange: "Exchange") -> None:
    from campaigns.call_list import open_call_list
    from campaigns.ledger.binding import check, decided
    from campaigns.ledger.trials import is_over, set_aside

    # Only for a list that can be read, or a slip of the pen would end the trial.
    with open_call_list(list_file, campaign.list, campaign.reminder.at if campaign.reminder else None):
        pass
    with ledger.write() as db:
        if exchange == "connect" and not is_over(db, campaign.name):
            # It has gone on since it was looked at.
            check(campaign.name, decided(db, campaign.name), exchange)
        kept = set_aside(db, campaign.name, ledger.now())
    if kept is not None:
        what = "from now on its calls are real" if exchange == "connect" else "this is a new one"
        put(f'{campaign.name}: its trial is kept apart as "{kept}"; {what}')


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
