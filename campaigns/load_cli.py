"""`dialer load`: a list into the ledger.

Heavy imports stand inside the commands, as in command_line.py.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from campaigns.command_line import (
    AsJson,
    CampaignFile,
    DropGone,
    GoneOption,
    MaxRejects,
    Raw,
    Rejects,
    app,
    put,
    say,
    the_ledger,
)
from campaigns.list_input import (
    campaign_beside,
    is_standard,
    readable,
    rejects_folder,
    rejects_of_input,
)

if TYPE_CHECKING:
    from campaigns.campaign import Campaign
    from campaigns.campaign_source import CampaignSource
    from campaigns.ledger import Ledger
    from campaigns.load import LoadReport, MostRejects


@app.command(epilog="Example: dialer load clinic-reminders.toml clinic-reminders.csv")
def load(
    campaign_file: CampaignFile,
    list_file: Annotated[
        Path | None,
        typer.Argument(
            metavar="[LIST.csv]",
            help="The people to call. Without it, only the changes in the campaign's file are taken over.",
        ),
    ] = None,
    rejects: Rejects = None,
    gone: DropGone = GoneOption.KEEP,
    max_rejects: MaxRejects = None,
    raw: Raw = False,
    as_json: AsJson = False,
) -> None:
    """Load a list into the ledger. Nobody is called before `dialer start`.

    Loading a list again adds who is new. Recipients who were never called take the row that the list has for
    them now; those who were called keep theirs. Recipients who are not on it stay, unless --gone drop takes
    them out. Rejected rows go to a file that can be corrected and loaded; a cell in it that a spreadsheet
    would take for a formula has an apostrophe in front, which loading takes off again. With --raw it has
    none. What has changed in the campaign's file holds from now on, also while the campaign runs.
    Exit code 1 if no row of the list can be called, or more are rejected than --max-rejects.
    """
    if list_file is None:
        from campaigns.campaign_source import read_campaign_and_source

        campaign, source = read_campaign_and_source(campaign_file)
        _refuse_list_options(campaign_file, rejects, gone, max_rejects, raw=raw)
        _take_choices_over(campaign, source, as_json=as_json)
        return
    campaign, source = campaign_beside(campaign_file, list_file, "load")

    from campaigns.attempt import RunState
    from campaigns.load import MostRejects, TooManyRejects
    from campaigns.load_view import as_json as load_as_json
    from campaigns.load_view import in_words, too_many_as_json
    from campaigns.report import status as status_of
    from campaigns.side import either_way, flag

    most = None if max_rejects is None else MostRejects.of(max_rejects)
    with (
        readable(list_file) as path,
        the_ledger(create=True, campaign_file=campaign_file, campaign=campaign.name) as ledger,
    ):
        if is_standard(list_file) and rejects is None:
            rejects = rejects_of_input(campaign.name)
        try:
            report = load_with_progress(
                ledger,
                campaign,
                path,
                rejects,
                raw=raw,
                most_rejects=most,
                source=source,
                drop_gone=gone == GoneOption.DROP,
            )
        except TooManyRejects as problem:
            if as_json:
                put(json.dumps(too_many_as_json(campaign.name, problem)))
            say(f"dialer: {problem}")
            raise typer.Exit(1) from None
        latest = status_of(ledger, campaign.name, ledger.now())
        startable = latest.run.state == RunState.LOADED and latest.waiting > 0
    if as_json:
        put(json.dumps(load_as_json(report)))
    else:
        for line in in_words(report):
            put(line)
    if report.unusable:
        say(f"dialer: {'standard input' if is_standard(list_file) else list_file}: {report.unusable}")
        raise typer.Exit(1)
    if as_json:
        return
    if note := schedule_note(campaign, campaign_file, entered=latest.schedule is not None):
        put(note)
    if startable:
        start = f"dialer start {campaign.name}"
        undecided = latest.run.exchange is None
        put(f"next: {either_way(start) if undecided else start + flag(latest.run.exchange)}")


def _refuse_list_options(
    campaign_file: Path, rejects: Path | None, gone: GoneOption, max_rejects: str | None, *, raw: bool
) -> None:
    from campaigns.mistake import Mistake

    if rejects is not None or raw or max_rejects is not None or gone == GoneOption.DROP:
        raise Mistake(
            "--rejects, --max-rejects, --raw and --gone are for a list; "
            f"name it: dialer load {campaign_file} LIST.csv"
        )


def _take_choices_over(campaign: "Campaign", source: "CampaignSource | None", *, as_json: bool) -> None:
    """`dialer load` without a list."""
    from campaigns.ledger.lists import put_choices
    from campaigns.load_view import choices_as_json, choices_in_words

    with the_ledger() as ledger:
        entered = put_choices(ledger, campaign, ledger.now(), source)
    if as_json:
        put(json.dumps(choices_as_json(campaign.name, entered)))
        return
    for line in choices_in_words(campaign.name, entered):
        put(line)


def load_with_progress(
    ledger: "Ledger",
    campaign: "Campaign",
    list_file: Path,
    rejects: Path | None,
    *,
    raw: bool = False,
    most_rejects: "MostRejects | None" = None,
    source: "CampaignSource | None" = None,
    drop_gone: bool = False,
) -> "LoadReport":
    """Load a list, with a progress bar on a terminal. Raises Mistake, and TooManyRejects."""
    from campaigns.load import load as load_list
    from campaigns.progress_bar import progress_bar

    with progress_bar("loading", list_file) as progress:
        return load_list(
            ledger,
            campaign,
            list_file,
            now=ledger.now(),
            rejects_path=rejects,
            rejects_folder=rejects_folder(),
            most_rejects=most_rejects,
            raw=raw,
            progress=progress,
            source=source,
            drop_gone=drop_gone,
        )


def schedule_note(campaign: "Campaign", campaign_file: Path, *, entered: bool) -> str | None:
    """What is to be done for the schedule in a campaign's file, which loading a list does not enter."""
    if campaign.schedule is None or entered:
        return None
    return f"schedule: not entered; let runs begin by themselves: dialer schedule add {campaign_file}"
