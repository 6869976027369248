"""What an operator does: load, start, pause, resume, cancel, status, explain, export.

Heavy imports stand inside the commands, so that `dialer --help` answers at once.
"""

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from campaigns.mistake import Mistake

if TYPE_CHECKING:
    from campaigns.call_list import CallList
    from campaigns.campaign import Campaign
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

    Loading a list again adds only who is new. Rejected rows go to a file that can be corrected and loaded.
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
        loaded = report.loaded
        put(
            json.dumps(
                {
                    "campaign": loaded.campaign,
                    "rows": loaded.rows,
                    "accepted": loaded.accepted,
                    "duplicates": loaded.duplicates,
                    "rejected": loaded.rejected,
                    "suppressed": loaded.suppressed,
                    "rejects_file": str(report.rejects_file) if report.rejects_file else None,
                    "changed": list(loaded.changed),
                }
            )
        )
        return
    for line in load_in_words(report):
        put(line)
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
        run = runs.find(db, name)
        paused = runs.pause(db, run.id, "by an operator")
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
) -> None:
    """Give up everybody who has not been called. This is for ever; calls under way end by themselves."""
    from campaigns.attempt import RunState
    from campaigns.ledger import runs

    with the_ledger() as ledger:
        with ledger.read() as db:
            run = runs.find(db, name)
        if run.state == RunState.CANCELLED:
            put(f"{name} was cancelled already")
            return
        if not yes:
            if not sys.stdin.isatty():
                raise Mistake(f"cancelling is for ever; say: dialer cancel {name} --yes")
            typer.confirm(f"Cancel {name} for ever?", abort=True)
        with ledger.write() as db:
            given_up = runs.cancel(db, runs.find(db, name), now())
    put(f"{name} is cancelled; {_people(given_up)} will not be called")


@app.command(
    short_help="How far, how fast, and why nothing dials.",
    epilog="Example: dialer status clinic-reminders --json",
)
def status(
    name: Annotated[
        str | None, typer.Argument(metavar="NAME", help="One campaign; without it, all of them.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """How far, how fast, when it will be done, and why nothing dials if nothing does."""
    from campaigns.report import every_status
    from campaigns.report import status as status_of

    with the_ledger() as ledger:
        if name is not None:
            one = status_of(ledger, name, now())
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
        stories = explain_unknown(ledger, name) if number is None else stories_of(ledger, name, number)
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


@app.command(epilog="Example: dialer export clinic-reminders -o results.csv")
def export(
    name: Name,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Where to write. Default: standard output."),
    ] = None,
) -> None:
    """Write the results: one CSV row per accepted row of the list."""
    from campaigns.export import export as export_to

    with the_ledger() as ledger:
        if output is None:
            sys.stdout.reconfigure(encoding="utf-8", newline="")  # type: ignore[union-attr] # a real stream
            export_to(ledger, name, sys.stdout)
            return
        count = export_file(ledger, name, output)
    put(f"{_rows(count)} in {output}")


def export_file(ledger: "Ledger", name: str, path: Path) -> int:
    """Write the results to a file, which appears whole or not at all. Returns how many rows."""
    from campaigns.export import export as export_to

    if path.is_dir():
        raise Mistake(f"{path}: is a directory; name a file")
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise Mistake(f"{path}: cannot be written: {error.strerror}") from None
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            count = export_to(ledger, name, file)
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
    """What became of a list, in a line or three."""
    loaded = report.loaded
    parts = [f"{loaded.accepted:,} accepted"]
    parts += [f"{loaded.duplicates:,} duplicate{_s(loaded.duplicates)}"] if loaded.duplicates else []
    parts += [f"{loaded.suppressed:,} suppressed"] if loaded.suppressed else []
    parts += [f"{loaded.rejected:,} rejected"] if loaded.rejected else []
    words = [f"{loaded.campaign}: {_rows(loaded.rows)}: {', '.join(parts)}"]
    if report.rejects_file:
        words.append(f"rejected rows and their reasons: {report.rejects_file} (correct it, and load it too)")
    for kind, holds_for in ((False, "calls to come"), (True, "rows that are loaded from now on")):
        keys = [key for key in loaded.changed if key.startswith("list.") == kind]
        if keys:
            words.append(f"changed in the campaign's file: {', '.join(keys)}; it holds for {holds_for}")
    return words


def _start(name: str, verb: str) -> None:
    from campaigns.attempt import RunState
    from campaigns.ledger import runs

    with the_ledger() as ledger, ledger.write() as db:
        run = runs.find(db, name)
        was: Run = run
        state = runs.start(db, run, now())
    if state == RunState.FINISHED:
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
