"""`dialer load`: a list into the ledger.

Heavy imports stand inside the commands, as in command_line.py.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from campaigns.command_line import AsJson, CampaignFile, ListFile, Raw, Rejects, app, put, the_ledger

if TYPE_CHECKING:
    from campaigns.campaign import Campaign
    from campaigns.ledger import Ledger
    from campaigns.load import LoadReport


@app.command(epilog="Example: dialer load clinic-reminders.toml clinic-reminders.csv")
def load(
    campaign_file: CampaignFile,
    list_file: ListFile,
    rejects: Rejects = None,
    raw: Raw = False,
    as_json: AsJson = False,
) -> None:
    """Load a list into the ledger. Nobody is called before `dialer start`.

    Loading a list again adds only who is new, and corrects the time zones of the others. Rejected rows go to
    a file that can be corrected and loaded; a cell in it that a spreadsheet would take for a formula has an
    apostrophe in front, which loading takes off again. With --raw it has none.
    What has changed in the campaign's file holds from now on, also while the campaign runs.
    """
    from campaigns.attempt import RunState
    from campaigns.campaign import read_campaign
    from campaigns.load_view import as_json as load_as_json
    from campaigns.load_view import in_words
    from campaigns.report import status as status_of
    from campaigns.side import either_way, flag

    campaign = read_campaign(campaign_file)
    with the_ledger(create=True, campaign_file=campaign_file, campaign=campaign.name) as ledger:
        report = load_with_progress(ledger, campaign, list_file, rejects, raw=raw)
        latest = status_of(ledger, campaign.name, ledger.now())
        startable = latest.run.state == RunState.LOADED and latest.waiting > 0
    if as_json:
        put(json.dumps(load_as_json(report)))
        return
    for line in in_words(report):
        put(line)
    if note := schedule_note(campaign, campaign_file, entered=latest.schedule is not None):
        put(note)
    if startable:
        start = f"dialer start {campaign.name}"
        undecided = latest.run.exchange is None
        put(f"next: {either_way(start) if undecided else start + flag(latest.run.exchange)}")


def load_with_progress(
    ledger: "Ledger", campaign: "Campaign", list_file: Path, rejects: Path | None, *, raw: bool = False
) -> "LoadReport":
    """Load a list, with a progress bar where somebody is looking."""
    from campaigns.load import load as load_list
    from campaigns.progress_bar import progress_bar

    with progress_bar("loading", list_file) as progress:
        return load_list(
            ledger,
            campaign,
            list_file,
            now=ledger.now(),
            rejects_path=rejects,
            raw=raw,
            progress=progress,
        )


def schedule_note(campaign: "Campaign", campaign_file: Path, *, entered: bool) -> str | None:
    """What is to be done for the schedule in a campaign's file, which loading a list does not enter."""
    if campaign.schedule is None or entered:
        return None
    return f"schedule: not entered; let runs begin by themselves: dialer schedule add {campaign_file}"
