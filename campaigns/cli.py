"""What an operator does: load, start, pause, resume, cancel, requeue, status, explain, export.

Heavy imports stand inside the commands, so that `dialer --help` answers at once.
"""

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from campaigns.mistake import Mistake

if TYPE_CHECKING:
    from campaigns.call_list import CallList
    from campaigns.campaign import Campaign
    from campaigns.export import Format
    from campaigns.ledger import Ledger
    from campaigns.ledger.runs import Run
    from campaigns.load import LoadReport

app = typer.Typer(
    name="dialer",
    help="A batch dialer for Amazon Connect: each call is placed once, at the account's rate, and followed.",
    epilog="Settings are DIALER_* variables in the environment or in .env; see README.md.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

CampaignFile = Annotated[Path, typer.Argument(metavar="CAMPAIGN.toml", help="The campaign's choices.")]
ListFile = Annotated[Path, typer.Argument(metavar="LIST.csv", help="The people to call.")]
Name = Annotated[str, typer.Argument(metavar="NAME", help="The campaign's name, as in its file.")]
RunNumber = Annotated[
    int | None, typer.Option("--run", metavar="N", min=1, help="One of its runs. Default: the latest.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object instead of words.")]
Rejects = Annotated[
    Path | None,
    typer.Option("--rejects", metavar="FILE", help="Where rejected rows go. Default: LIST.rejects.csv."),
]


def say(text: str) -> None:
    """A line for people, beside what a program may be reading from standard output."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201 (a command line talks)


def put(text: str) -> None:
    """A line of the answer itself."""
    print(text, flush=True)  # noqa: T201 (a command line talks)


def now() -> datetime:
    """The present, in UTC."""
    return datetime.now(UTC)


@contextmanager
def the_ledger(*, create: bool = False) -> "Iterator[Ledger]":
    """The ledger that the settings name."""
    from campaigns.ledger import open_ledger
    from campaigns.settings import LedgerSettings, load_settings

    ledger = open_ledger(load_settings(LedgerSettings).ledger_url, create=create)
    try:
        yield ledger
    finally:
        ledger.close()


@app.command(epilog="Example: dialer load clinic-reminders.toml clinic-reminders.csv")
def load(
    campaign_file: CampaignFile, list_file: ListFile, rejects: Rejects = None, as_json: AsJson = False
) -> None:
    """Load a list into the ledger. Nobody is called before `dialer start`.

    Loading a list again adds only who is new, and corrects the time zones of the others. Rejected rows go to
    a file that can be corrected and loaded.
    What has changed in the campaign's file holds from now on, also while the campaign runs.
    """
    from campaigns.attempt import RunState
    from campaigns.campaign import read_campaign
    from campaigns.report import status as status_of

    campaign = read_campaign(campaign_file)
    with the_ledger(create=True) as ledger:
        report = load_with_progress(ledger, campaign, list_file, rejects)
        latest = status_of(ledger, campaign.name, now())
        startable = latest.run.state == RunState.LOADED and latest.waiting > 0
    if as_json:
        from campaigns.load_view import as_json as load_as_json

        put(json.dumps(load_as_json(report)))
        return
    for line in load_in_words(report):
        put(line)
    if note := schedule_note(campaign, campaign_file, entered=latest.schedule is not None):
        put(note)
    if startable:
        put(f"next: dialer start {campaign.name}")


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
    from campaigns.ledger.hang_ups import count_calls_in_progress
    from campaigns.ledger.health import alive
    from campaigns.ledger.schedules import schedule_of
    from campaigns.report import start_workers

    with the_ledger() as ledger:
        with ledger.read() as db:
            run = runs.find_to_come(db, name)
            scheduled = schedule_of(db, run.campaign_id) is not None
            already = runs.all_cancelled(db, run) and not scheduled
        if already and not hang_up:
            put(f"{name} was cancelled already")
            return
        if not yes:
            _confirm_cancelling(name, already=already, hang_up=hang_up)
        with ledger.write() as db:
            run = runs.find_to_come(db, name)
            given_up = runs.cancel_all(db, run, now(), hang_up=hang_up)
            theirs = runs.cancelled_of(db, run) if hang_up else []
            calls = sum(count_calls_in_progress(db, each, now()) for each in theirs)
        working = any(p.role == "control" and p.exchange == run.exchange for p in alive(ledger, now()))
    words = [f"{name} was cancelled already" if already else f"{name} is cancelled"]
    words += [] if already else [f"{_people(given_up)} will not be called"]
    words += ["it begins no more runs by itself"] if scheduled else []
    if hang_up and calls:
        are = "call in progress is" if calls == 1 else "calls in progress are"
        when = "being hung up" if working else f"hung up as soon as workers run: {start_workers(run)}"
        words.append(f"{calls:,} {are} {when}")
    elif hang_up:
        words.append("no call is in progress")
    put("; ".join(words))


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

    asked = asked_for(outcome, since, now())
    with the_ledger() as ledger:
        seen = look_for(ledger, name, asked, now())
        ids, again = seen.found.attempt_ids, seen.found.allowed_again
        if not as_json and dry_run:
            for line in view.in_words(seen, people(ledger, ids, again), dry_run=True):
                put(line)
        elif not as_json:
            # A reader who has gone after the first line shall not keep it from being done.
            with suppress(BrokenPipeError):
                first = islice(people(ledger, ids[: view.FIRST], again[: view.FIRST]), view.FIRST)
                put("\n".join(view.in_words(seen, first, dry_run=False)))
        for line in view.doubts(seen):
            say(line)
        requeued = 0
        if seen.count and not dry_run:
            if sys.stdin.isatty() and not yes:
                typer.confirm(f"Call {_people(seen.count)} again?", abort=True, err=True)
            requeued = ask_for_another(ledger, seen.run, asked, ids, now(), again)
        if as_json:
            everybody = people(ledger, ids, again)
            sys.stdout.writelines(view.as_json(seen, everybody, requeued=requeued, dry_run=dry_run))
            sys.stdout.flush()
        elif dry_run:
            put("nothing was changed (--dry-run)")
        elif seen.count:
            put(view.done(seen, requeued, status_of(ledger, name, now())))


@app.command(
    short_help="How far, how fast, and why nothing dials.",
    epilog="Example: dialer status clinic-reminders --json",
)
def status(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="One campaign; without it, all of them.")
    ] = None,
    run_number: RunNumber = None,
    as_json: AsJson = False,
) -> None:
    """How far, how fast, when it will be done, and why nothing dials if nothing does."""
    from campaigns.report import every_status
    from campaigns.report import status as status_of

    if name is None and run_number is not None:
        raise Mistake("--run is for one campaign; say which: dialer status NAME --run 1")
    with the_ledger() as ledger:
        if name is not None:
            one = status_of(ledger, name, now(), number=run_number)
            if as_json:
                put(json.dumps(one.as_json()))
                return
            from campaigns.status_view import in_words

            for line in in_words(one):
                put(line)
            return
        every = every_status(ledger, now())
    if as_json:
        put(json.dumps({"campaigns": [each.as_json() for each in every]}))
        return
    if not every:
        put("no campaigns yet; load a list: dialer load CAMPAIGN.toml LIST.csv")
        return
    from campaigns.status_view import table

    for line in table(every):
        put(line)


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

    with the_ledger() as ledger:
        if number is None:
            stories = explain_unknown(ledger, name, now(), number=run_number)
        else:
            stories = stories_of(ledger, name, number, now(), number=run_number)
    if as_json:
        put(json.dumps({"name": name, "recipients": [each.as_json() for each in stories]}))
        return
    from campaigns.explain_view import in_doubt, told

    if number is None:
        lines = in_doubt(name, stories, now())
    else:
        lines = [line for each in stories for line in told(each, now())]
    for line in lines:
        put(line)


@app.command(
    short_help="Write the results, as CSV or JSON Lines.",
    epilog="Example: dialer export clinic-reminders -o results.csv",
)
def export(
    name: Name,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Where to write. Default: standard output."),
    ] = None,
    run_number: RunNumber = None,
    written_as: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="csv|jsonl",
            help="Default: by FILE's name, .jsonl and .ndjson are JSON Lines; else CSV.",
        ),
    ] = None,
) -> None:
    """Write the results: one row per accepted row of the list, as CSV or as JSON Lines."""
    from campaigns.export import export as export_to
    from campaigns.export import format_of

    chosen = format_of(written_as, output)
    with the_ledger() as ledger:
        if output is None:
            sys.stdout.reconfigure(encoding="utf-8", newline="")  # type: ignore[union-attr] # a real stream
            export_to(ledger, name, sys.stdout, chosen, number=run_number)
            # Not at the exit: a reader who has gone would be found there by nobody but Python.
            sys.stdout.flush()
            return
        count = export_file(ledger, name, output, chosen, number=run_number)
    put(f"{_rows(count)} in {output}")


def export_file(
    ledger: "Ledger", name: str, path: Path, written_as: "Format | None" = None, *, number: int | None = None
) -> int:
    """Write the results to a file, which appears whole or not at all. Returns how many rows.

    Of the run of this number; without one, of the latest. The format is the one that is told, or that the
    file's name tells.
    """
    from campaigns.export import export as export_to
    from campaigns.export import format_of

    if path.is_dir():
        raise Mistake(f"{path}: is a directory; name a file")
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise Mistake(f"{path}: cannot be written: {error.strerror}") from None
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            count = export_to(ledger, name, file, written_as or format_of(None, path), number=number)
        os.replace(temporary, path)
    except OSError as error:
        raise Mistake(f"{path}: cannot be written: {error.strerror}") from None
    finally:
        Path(temporary).unlink(missing_ok=True)
    return count


def load_with_progress(
    ledger: "Ledger", campaign: "Campaign", list_file: Path, rejects: Path | None
) -> "LoadReport":
    """Load a list, with a progress bar where somebody is looking."""
    from campaigns.load import load as load_list

    if not sys.stderr.isatty():
        return load_list(ledger, campaign, list_file, now=now(), rejects_path=rejects)
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns: list[Any] = [
        TextColumn("loading {task.description}"),
        BarColumn(),
        TextColumn("{task.fields[rows]:,} rows"),
        TimeRemainingColumn(),
    ]
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(
            list_file.name, total=list_file.stat().st_size if list_file.is_file() else None, rows=0
        )

        def progress(call_list: "CallList") -> None:
            bar.update(task, completed=call_list.bytes_read, rows=call_list.rows_read)

        return load_list(ledger, campaign, list_file, now=now(), rejects_path=rejects, progress=progress)


def load_in_words(report: "LoadReport") -> list[str]:
    """What became of a list and of the campaign's file, in a few lines."""
    from campaigns.load_view import in_words

    return in_words(report)


def schedule_note(campaign: "Campaign", campaign_file: Path, *, entered: bool) -> str | None:
    """What is to be done for the schedule in a campaign's file, which loading a list does not enter."""
    if campaign.schedule is None or entered:
        return None
    return f"schedule: not entered; let runs begin by themselves: dialer schedule add {campaign_file}"


def _confirm_cancelling(name: str, *, already: bool, hang_up: bool) -> None:
    """Raises Mistake where nobody can be asked, and Abort when the answer is no."""
    if not sys.stdin.isatty():
        what = "hanging up cannot be undone" if already else "cancelling is for ever"
        raise Mistake(f"{what}; say: dialer cancel {name}{' --hang-up' if hang_up else ''} --yes")
    if already:
        question = f"Hang up the calls of {name} that are in progress?"
    else:
        question = f"Cancel {name} for ever{', and hang up its calls in progress' if hang_up else ''}?"
    typer.confirm(question, abort=True)


def _start(name: str, verb: str) -> None:
    from campaigns.attempt import RunState
    from campaigns.ledger import runs, schedules

    with the_ledger() as ledger, ledger.write() as db:
        run = runs.find_to_come(db, name)
        was: Run = run
        # Also without a run that goes on: what was paused then is its schedule.
        resumed = schedules.resume(db, run.campaign_id)
        state = runs.start_all(db, run, now(), resumed=resumed)
    if resumed and state in (RunState.FINISHED, RunState.CANCELLED, RunState.LOADED):
        put(f"{name} is resumed; what comes next: dialer schedule")
    elif run.number == 0:
        raise Mistake(f"{name} has nobody to call yet; what comes next: dialer schedule")
    elif state == RunState.FINISHED:
        put(f"{name} is finished: everybody on it has been dialed")
    elif was.state == RunState.RUNNING:
        put(f"{name} is running already")
    else:
        put(f"{name} is {verb}; watch it with: dialer status {name}")


def _people(count: int) -> str:
    return f"{count:,} recipient{_s(count)}"


def _rows(count: int) -> str:
    return f"{count:,} row{_s(count)}"


def _s(count: int) -> str:
    return "" if count == 1 else "s"


# Commands in files of their own, which need what stands above.
from campaigns import schedule_cli, suppress_cli  # noqa: E402, F401 (their commands are the app's now)
