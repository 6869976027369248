"""The `dialer` command: the operator's commands plus the machine's.

Heavy imports stand inside the commands, so that `dialer --help` answers at once.
"""

import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from campaigns.cli import (
    CampaignFile,
    ListFile,
    Rejects,
    app,
    export_file,
    load_in_words,
    load_with_progress,
    now,
    put,
    say,
    schedule_note,
)
from campaigns.mistake import Mistake
from worker import plan_cli  # noqa: F401 (its command is the app's now)

if TYPE_CHECKING:
    from campaigns.ledger import Ledger
    from campaigns.report import Status
    from worker.local import Stack, Trial
    from worker.settings import DialerSettings

_STARTING_SECONDS = 15.0
"""For so long after their start it says nothing that no worker has reported yet."""

INTERRUPTED = 130  # what a shell reports for a program that Ctrl-C ended

Sandbox = Annotated[
    bool, typer.Option("--sandbox", help="A trial: the calls go to a stand-in on this machine.")
]
Workers = Annotated[
    int, typer.Option("--workers", metavar="N", min=1, max=64, help="Dial workers, a process each.")
]
Speed = Annotated[
    float,
    typer.Option("--speed", metavar="N", min=0.1, max=1000, help="In the sandbox: call seconds per second."),
]


class Stopped(BaseException):
    """Ctrl-C or SIGTERM. Its text says what goes on, where that is not the usual."""


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
    rejects: Rejects = None,
) -> None:
    """Load a list, start it, and dial it on this machine until nobody is waiting or in progress.

    Ctrl-C stops cleanly: calls under way are recorded, and the same command goes on where it stopped.
    """
    from campaigns.settings import load_settings
    from worker.local import Trial
    from worker.settings import DialerSettings

    settings = load_settings(DialerSettings)
    trial = Trial(speed) if sandbox else None
    try:
        code = _run(settings, campaign_file, list_file, trial, workers, rejects)
    except Stopped as stopped:
        say(f"dialer: stopped; {str(stopped) or 'the same command goes on where it stopped'}")
        code = INTERRUPTED
    raise typer.Exit(code)


@app.command(short_help="Dial the bundled example in the sandbox.", epilog="Example: dialer demo")
def demo(workers: Workers = 1) -> None:
    """Dial the bundled example, a clinic's reminders, through the sandbox. Nobody is called."""
    from worker.local import Trial, only_one

    home = Path(".dialer") / "demo"
    with only_one(home, "a demo"):
        for leftover in home.iterdir():
            if leftover.name != "lock":
                shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
        settings = demo_settings(home)
        examples = examples_dir()
        campaign_file = examples / "clinic-reminders.toml"
        list_file = home / "clinic-reminders.csv"
        shutil.copyfile(examples / "clinic-reminders.csv", list_file)
        say("a demo: made-up people, called through a stand-in for Amazon Connect at 50 calls per second")
        code = _run(settings, campaign_file, list_file, Trial(speed=30.0), workers, None)
        if code == 0:
            put(f"look closer: DIALER_DATA_DIR={home} dialer status clinic-reminders")
    raise typer.Exit(code)


@app.command(short_help="Run the whole dialer until Ctrl-C.", epilog="Example: dialer up --workers 2")
def up(workers: Workers = 1, sandbox: Sandbox = False, speed: Speed = 10.0) -> None:
    """Run the whole dialer on this machine until Ctrl-C: workers, scheduler, and Redis if there is none."""
    from campaigns.settings import load_settings
    from worker.local import Trial
    from worker.settings import DialerSettings

    settings = load_settings(DialerSettings)
    try:
        with _the_stack(settings, workers, Trial(speed) if sandbox else None) as (ledger, stack):
            put(f"up: {workers} dial worker{'s' if workers > 1 else ''}, logs in {stack.logs}; Ctrl-C stops")
            _look_on(ledger, stack)
    except Stopped:
        # Being stopped is how it ends; nothing has failed.
        say("dialer: stopped")


@app.command(
    short_help="Run the stand-in for Amazon Connect alone.", epilog="Example: dialer sandbox --port 8480"
)
def sandbox(
    port: Annotated[
        int, typer.Option("--port", metavar="N", min=0, max=65535, help="0 picks a free one.")
    ] = 8480,
    calls_per_second: Annotated[float, typer.Option(metavar="N", help="The quota for starting calls.")] = 2.0,
    burst: Annotated[int, typer.Option(metavar="N", help="The quota's burst.")] = 5,
    speed: Annotated[float, typer.Option(metavar="N", help="Call seconds per second.")] = 1.0,
    max_active_calls: Annotated[
        int | None, typer.Option(metavar="N", help="More at once get a busy tone.")
    ] = None,
    call_seconds: Annotated[
        str | None, typer.Option(metavar="LEAST-MOST", help="How long calls last that ring, such as 6-30.")
    ] = None,
    describe_per_second: Annotated[
        float, typer.Option(metavar="N", help="The quota for DescribeContact.")
    ] = 10.0,
    search_per_second: Annotated[
        float, typer.Option(metavar="N", help="The quota for SearchContacts.")
    ] = 0.5,
    search_delay: Annotated[
        float, typer.Option(metavar="SECONDS", help="How long SearchContacts does not find a new call.")
    ] = 0.0,
    search_only_ended: Annotated[
        bool, typer.Option("--search-only-ended", help="SearchContacts finds only calls that are over.")
    ] = False,
    latency: Annotated[float, typer.Option(metavar="SECONDS", help="How long every answer takes.")] = 0.0,
    journal: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Keeps every request, as JSON Lines.")
    ] = None,
) -> None:
    """Run the stand-in for Amazon Connect alone, for anybody's boto3."""
    from worker.sandbox.options import SandboxOptions, call_seconds_from, describe_burst, search_burst
    from worker.sandbox.server import serve

    def ready(url: str) -> None:
        put(f"a stand-in for Amazon Connect listens on {url}; Ctrl-C stops it")
        put(f"point boto3 at it: AWS_ENDPOINT_URL_CONNECT={url} AWS_REGION=us-east-1")
        put("                   AWS_ACCESS_KEY_ID=sandbox AWS_SECRET_ACCESS_KEY=sandbox")

    serve(
        SandboxOptions(
            port=port,
            calls_per_second=calls_per_second,
            burst=burst,
            describe_per_second=describe_per_second,
            describe_burst=describe_burst(describe_per_second),
            search_per_second=search_per_second,
            search_burst=search_burst(search_per_second),
            speed=speed,
            max_active_calls=max_active_calls,
            call_seconds=call_seconds_from(call_seconds) if call_seconds else None,
            search_delay_seconds=search_delay,
            search_only_ended=search_only_ended,
            latency_seconds=latency,
            journal=journal,
        ),
        on_ready=ready,
    )


@app.command(short_help="Whether a process of this host works.", epilog="Example: dialer health dial")
def health(
    role: Annotated[str, typer.Argument(metavar="dial|control|beat", help="Which process of this host.")],
) -> None:
    """Whether a process of this host lives and can do its work: exit code 0 or 1. For container checks."""
    import socket

    from campaigns.ledger import open_ledger
    from campaigns.ledger.health import alive
    from campaigns.settings import LedgerSettings, load_settings

    if role not in ("dial", "control", "beat"):
        raise Mistake(f"{role!r} is no process of the dialer; say dial, control or beat")
    ledger = open_ledger(load_settings(LedgerSettings).ledger_url, create=False)
    try:
        mine = [p for p in alive(ledger, now()) if p.process.startswith(f"{role}@{socket.gethostname()}:")]
    finally:
        ledger.close()
    if not mine:
        say(f"dialer: no {role} process of this host has reported lately")
        raise typer.Exit(1)
    # What Connect does not grant is no reason to restart a container; a Redis that is gone is not mended by
    # one either, but it is what the check is asked to show.
    granted = ("throttled", "no capacity", "calls", "unknown calls", "outcomes", "contact events")
    broken = [p.problem for p in mine if p.problem and not p.problem.startswith(granted)]
    if broken:
        say(f"dialer: {broken[0]}")
        raise typer.Exit(1)
    put(f"{role}: alive")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line. Exit codes: 0 done; 1 failed; 2 the input or the usage is wrong."""
    sys.exit(_outcome(list(sys.argv[1:] if arguments is None else arguments)))


def _outcome(arguments: list[str]) -> int:
    try:
        _readable(arguments)
        # Not `app()`: its own ways with Ctrl-C and with a reader who has gone would come before ours.
        command = typer.main.get_command(app)
        with command.make_context("dialer", arguments or ["--help"]) as context:
            command.invoke(context)
    except typer.Exit as over:
        return over.exit_code
    except Mistake as mistake:
        say(f"dialer: {mistake}")
        return 2
    except typer.Abort:
        say("dialer: stopped; nothing was changed")
        return INTERRUPTED
    except typer.TyperException as error:
        context_of = getattr(error, "ctx", None)
        command_path = context_of.command_path if context_of else "dialer"
        say(f"dialer: {error.format_message().rstrip('.')} ({command_path} --help shows how)")
        return error.exit_code
    except (KeyboardInterrupt, Stopped) as stop:
        say("; ".join(["dialer: stopped", *([str(stop)] if str(stop) else [])]))
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever was reading has seen enough; Python would complain once more while it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        from campaigns.ledger import LedgerUnavailable
        from worker.children import ChildFailed

        if isinstance(error, LedgerUnavailable | ChildFailed):
            say(f"dialer: {error}")
            return 1
        raise
    return 0


def _readable(arguments: Sequence[str]) -> None:
    """Raises Mistake for an argument that is no text, which no ledger and no terminal would take."""
    for argument in arguments:
        try:
            argument.encode()
        except UnicodeEncodeError:
            raise Mistake(f"{argument!r}: is not UTF-8; write it, or name the file, in UTF-8") from None


def examples_dir() -> Path:
    """Where the bundled example is: in the package, or beside it in a checkout."""
    for place in (Path(__file__).parent / "examples", Path(__file__).parent.parent / "examples"):
        if (place / "clinic-reminders.toml").is_file():
            return place
    raise Mistake("the bundled example is missing; install the package again")


def demo_settings(home: Path) -> "DialerSettings":
    """The demo's settings: the example's thousand rows within half a minute."""
    from campaigns.settings import load_settings
    from worker.settings import DialerSettings

    # In the environment, because the demo's processes read their settings there. All of them are set, to
    # nothing if need be, or what is configured, in a .env file too, would draw the demo into a real ledger.
    os.environ |= {f"DIALER_{name.upper()}": "" for name in DialerSettings.model_fields}
    os.environ |= {
        "DIALER_DATA_DIR": str(home),
        "DIALER_CALLS_PER_SECOND": "50",
        "DIALER_BURST": "50",
        "DIALER_MAX_ACTIVE_CALLS": "500",
        "DIALER_SETTLE_SECONDS": "90",
    }
    return load_settings(DialerSettings)


def _run(
    settings: "DialerSettings",
    campaign_file: Path,
    list_file: Path,
    trial: "Trial | None",
    workers: int,
    rejects: Path | None,
) -> int:
    from campaigns.campaign import read_campaign
    from campaigns.ledger import open_ledger, runs
    from campaigns.report import start_workers, status
    from campaigns.status_view import in_words

    campaign = read_campaign(campaign_file)
    ledger = open_ledger(settings.ledger_url)
    try:
        _refuse_other_exchange(ledger, campaign.name, "sandbox" if trial else "connect")
        for line in load_in_words(load_with_progress(ledger, campaign, list_file, rejects)):
            put(line)
        with ledger.write() as db:
            runs.start(db, runs.find(db, campaign.name), now())
        latest = status(ledger, campaign.name, now())
        if note := schedule_note(campaign, campaign_file, entered=latest.schedule is not None):
            put(note)
        over = latest.over
        if over:
            runs.finish(ledger, now())
    finally:
        ledger.close()
    code = 0
    if not over:
        with _the_stack(settings, workers, trial) as (ledger, stack):
            try:
                code = 1 if _watch(ledger, stack, campaign.name).fault else 0
            except Stopped:
                run = status(ledger, campaign.name, now()).run
                if run.state != "cancelled":
                    raise
                goes_on = f"{run.name} was cancelled; its calls are followed by: {start_workers(run)}"
                raise Stopped(goes_on) from None
    ledger = open_ledger(settings.ledger_url)
    try:
        for line in in_words(status(ledger, campaign.name, now())):
            put(line)
        results = settings.data_dir / f"{campaign.name}.results.csv"
        count = export_file(ledger, campaign.name, results)
        put(f"results: {results} ({count:,} rows)")
    finally:
        ledger.close()
    return code


def _refuse_other_exchange(ledger: "Ledger", name: str, exchange: str) -> None:
    """A campaign that was begun in the sandbox does not go on in earnest, nor the other way round."""
    from campaigns.ledger import runs

    with ledger.read() as db:
        begun = {run.name: run.exchange for run in runs.latest_runs(db)}.get(name)
    if begun not in (None, exchange):
        where, flag = (
            ("in the sandbox", "with") if begun == "sandbox" else ("through Amazon Connect", "without")
        )
        raise Mistake(
            f"{name} was begun {where} and can only go on there: run it {flag} --sandbox, "
            "or give the campaign file another name"
        )


def _look_on(ledger: "Ledger", stack: "Stack") -> None:
    """Say how the campaigns get on, until Ctrl-C."""
    from campaigns.ledger import LedgerUnavailable
    from campaigns.report import every_status
    from campaigns.status_view import plain

    began = time.monotonic()
    seen: dict[str, Status] = {}
    while True:
        stack.watch()
        try:
            for latest in every_status(ledger, now()):
                name = latest.run.name
                before = seen.get(name)
                # A running campaign is worth a line when it moves, any other when it has just become so.
                moved = before is None or plain(before) != plain(latest)
                turned = before is not None and before.run.state != latest.run.state
                alarmed = latest.alarm is not None and (before is None or before.alarm != latest.alarm)
                if turned or alarmed or (moved and latest.run.state == "running"):
                    put(plain(_while_starting(latest, began)))
                seen[name] = latest
        except LedgerUnavailable as error:
            say(f"dialer: {error}")
        time.sleep(5)


def _while_starting(latest: "Status", began: float) -> "Status":
    """In the first seconds not all processes have reported yet, which is nothing to complain of."""
    from campaigns.report import NOT_REPORTED

    starting = time.monotonic() - began < _STARTING_SECONDS
    if starting and latest.run.state == "running" and NOT_REPORTED in (latest.reason or ""):
        return replace(latest, reason="the workers are starting")
    return latest


def _watch(ledger: "Ledger", stack: "Stack", name: str) -> "Status":
    """Show how a campaign gets on until nobody is waiting or in progress, or until it has paused itself.

    A campaign that is cancelled meanwhile is over when its calls in progress are.
    """
    from rich.console import Console
    from rich.live import Live

    from campaigns.ledger import LedgerUnavailable, runs
    from campaigns.report import status
    from campaigns.status_view import live, plain

    console = Console(stderr=True)
    began = time.monotonic()
    said = 0.0
    told: bool | None = None
    with Live(console=console, refresh_per_second=4, transient=True) as view:
        while True:
            stack.watch()
            asked = time.monotonic()
            try:
                latest = status(ledger, name, now())
            except LedgerUnavailable as error:
                say(f"dialer: {error}")
                time.sleep(1)
                continue
            took = time.monotonic() - asked
            if latest.over or latest.fault:
                runs.finish(ledger, now())
                return latest
            if latest.run.state == "cancelled" and told != (latest.run.hang_up_at is not None):
                # Somebody else has cancelled it. The results have all outcomes, so this waits for them.
                told = latest.run.hang_up_at is not None
                say(f"{name} was cancelled; {'hanging up' if told else 'waiting for'} its calls in progress")
            latest = _while_starting(latest, began)
            if console.is_terminal:
                view.update(live(latest, "Ctrl-C stops"))
            elif time.monotonic() - said >= 5:
                said = time.monotonic()
                say(plain(latest))
            # With a million waiting a look takes a while, and in SQLite it holds up the dialing.
            time.sleep(max(0.5, 9 * took))


@contextmanager
def _the_stack(
    settings: "DialerSettings", workers: int, trial: "Trial | None"
) -> "Iterator[tuple[Ledger, Stack]]":
    """The dialer's processes, and the ledger, until Ctrl-C or SIGTERM or the end of the block."""
    from campaigns.ledger import open_ledger
    from worker.local import Stack

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        # Once only: a second signal must not cut the stopping short half-way, unless it is meant to.
        signal.signal(signal.SIGINT, hurry)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        raise Stopped

    def hurry(_number: int, _frame: FrameType | None) -> None:
        say("stopping at once; what was under way is found by the next start")
        stack.kill()

    stack = Stack(settings, workers=workers, trial=trial)
    ledger = open_ledger(settings.ledger_url)
    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGTERM, interrupt)
    try:
        stack.start()
        yield ledger, stack
    except Stopped:
        say("stopping: calls whose request has left are being recorded …")
        raise
    finally:
        # From here on Ctrl-C hurries the stopping, and cannot cut it short.
        signal.signal(signal.SIGINT, hurry)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        stack.stop(say)
        _give_back_queued(ledger, "sandbox" if trial else "connect")
        ledger.close()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _give_back_queued(ledger: "Ledger", exchange: str) -> None:
    """What was queued for workers that have stopped is due again at once, not when its lease has passed."""
    from campaigns.ledger import LedgerUnavailable
    from campaigns.ledger.claims import take_back_queued
    from campaigns.ledger.health import alive

    try:
        if not any(p.role == "dial" and p.exchange == exchange for p in alive(ledger, now())):
            take_back_queued(ledger, exchange)
    except LedgerUnavailable as error:
        say(f"dialer: {error}")


if __name__ == "__main__":
    main()
