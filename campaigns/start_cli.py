"""`dialer start`, `pause` and `resume`: whether a campaign is dialed.

Heavy imports stand inside the commands, as in command_line.py.
"""

from typing import TYPE_CHECKING, Annotated

import typer

from campaigns.command_line import Name, Sandbox, app, put, say, the_ledger, the_side
from campaigns.mistake import Mistake

if TYPE_CHECKING:
    from campaigns.ledger import Ledger
    from campaigns.ledger.runs import Run
    from campaigns.side import Exchange

_NameUnlessAll = Annotated[
    str | None, typer.Argument(metavar="NAME", help="The campaign's name, as in its file.")
]


@app.command(short_help="Let a loaded campaign be dialed.", epilog="Example: dialer start clinic-reminders")
def start(name: Name, sandbox: Sandbox = False) -> None:
    """Let a loaded campaign be dialed by the workers that run (`dialer up`).

    Whether its calls are real or a trial is decided here, for ever; `dialer up --sandbox` dials trials.
    """
    _start(name, "started", the_side(sandbox))


@app.command(epilog="Example: dialer pause clinic-reminders")
def pause(
    name: _NameUnlessAll = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Every campaign that is running or scheduled.")
    ] = False,
) -> None:
    """Stop dialing a campaign. Calls under way go on; nobody is lost. `dialer resume` goes on."""
    from campaigns.attempt import RunState
    from campaigns.ledger import runs

    if _one_of(name, everything, "pause") is None:
        with the_ledger() as ledger:
            _pause_everything(ledger)
        return
    assert name is not None
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
def resume(
    name: _NameUnlessAll = None,
    everything: Annotated[
        bool,
        typer.Option("--all", help="Every campaign that `pause --all` has paused, and a stopped ledger."),
    ] = False,
    as_loaded: Annotated[
        bool,
        typer.Option("--as-loaded", help="By what the ledger has, whatever the campaign's file says now."),
    ] = False,
) -> None:
    """Go on dialing a paused campaign, by its file as it is now.

    If the file was edited since it was loaded, its changes are taken over first, and are said; a file that
    cannot be used stops the resuming. With --as-loaded the file is not looked at.
    """
    if _one_of(name, everything, "resume") is None:
        with the_ledger() as ledger:
            _resume_everything(ledger, as_loaded=as_loaded)
        return
    assert name is not None
    if not as_loaded:
        with the_ledger() as ledger:
            _take_edited_file_over(ledger, name)
    _start(name, "resumed", None)


def _take_edited_file_over(ledger: "Ledger", name: str) -> None:
    """Enter what has changed in the campaign's file, and say it. Raises Mistake if that cannot be done."""
    from campaigns.edited_file import take_over
    from campaigns.load_view import changes_in_words, judged_in_words

    taken = take_over(ledger, name, ledger.now())
    if taken.note:
        say(f"note: {taken.note}")
    if taken.entered is not None:
        for line in changes_in_words(taken.entered.changes) + judged_in_words(name, taken.entered.judged):
            put(line)


def _one_of(name: str | None, everything: bool, verb: str) -> str | None:
    """The one campaign that is meant, or None for all of them. Raises Mistake if it says both or neither."""
    if (name is None) != everything:
        raise Mistake(f"say which campaign, or all of them: dialer {verb} NAME, or dialer {verb} --all")
    return name


def _pause_everything(ledger: "Ledger") -> None:
    from campaigns.ledger import runs

    paused: set[str] = set()
    while True:
        with ledger.read() as db:
            every = runs.latest_runs(db)
        newly = {run.name for run in every if run.name not in paused and _paused_with_all(ledger, run)}
        # Once more, for what was started meanwhile.
        if not newly:
            break
        paused |= newly
    for each in sorted(paused):
        put(f"{each} is paused")
    if paused:
        put("go on with: dialer resume --all")
    else:
        put("no campaign is running or scheduled")


def _paused_with_all(ledger: "Ledger", run: "Run") -> bool:
    from campaigns.ledger import runs

    # Each in a transaction of its own: the feed takes the runs in another order, and the two would wait for
    # each other.
    with ledger.write() as db:
        return runs.pause_all(db, run, runs.PAUSED_WITH_ALL, runs.OPERATOR_ALL)


def _resume_everything(ledger: "Ledger", *, as_loaded: bool) -> None:
    from campaigns.attempt import RunState
    from campaigns.ledger import runs
    from campaigns.ledger.identity import let_go_on

    with ledger.write() as db:
        was = let_go_on(db, ledger.now())
        every = runs.latest_runs(db)
    if was.stopped:
        put(f"this ledger may be dialed from again; it was stopped: {was.stopped_reason}")
    resumed = 0
    for run in every:
        if run.reason_code == runs.OPERATOR_ALL and not as_loaded:
            try:
                _take_edited_file_over(ledger, run.name)
            except Mistake as problem:
                put(f"{run.name} stays paused: {problem}")
                continue
        with ledger.write() as db:
            went_on = runs.resume_paused_with_all(db, run, ledger.now())
            now_is = runs.find_to_come(db, run.name)
        resumed += went_on
        if now_is.state == RunState.PAUSED:
            put(f"{run.name} stays paused: {now_is.reason}; go on with: dialer resume {run.name}")
        elif went_on:
            put(f"{run.name} is resumed")
    if not resumed:
        put("no campaign was paused by: dialer pause --all")


def _start(name: str, verb: str, exchange: "Exchange | None") -> None:
    from campaigns.attempt import RunState
    from campaigns.ledger import runs, schedules
    from campaigns.ledger.stored_choices import problem_of, running_elsewhere

    with the_ledger() as ledger, ledger.write() as db:
        run = runs.find_to_come(db, name)
        if problem := problem_of(db, run.campaign_id):
            raise problem
        was = run.state
        # Also without a run that goes on: what was paused then is its schedule.
        resumed = schedules.resume(db, run.campaign_id)
        state = runs.start_all(db, run, ledger.now(), exchange=exchange, resumed=resumed)
        elsewhere = running_elsewhere(db, run.campaign_id) if state == RunState.RUNNING else {}
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
    if elsewhere and not trial:
        others = ", ".join(f"{other} ({region})" for other, region in sorted(elsewhere.items()))
        put(
            f"note: {name} is for another Region than {others}; a dialer calls from one (AWS_REGION), and "
            "pauses the campaigns of others before their first call: give each a ledger and a dialer"
        )
