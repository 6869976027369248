"""`dialer plan`: what would become of a list. It stands here because the rate is a setting of this side."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from campaigns.command_line import AsJson, CampaignFile, ListFile, app, put
from campaigns.list_input import campaign_beside, readable

if TYPE_CHECKING:
    from campaigns.ledger import Ledger

_CALL_SECONDS = 60.0


@app.command(
    short_help="What would become of a list. Changes nothing.",
    epilog="Example: dialer plan clinic-reminders.toml clinic-reminders.csv --calls-per-second 20",
)
def plan(
    campaign_file: CampaignFile,
    list_file: ListFile,
    calls_per_second: Annotated[
        float | None,
        typer.Option(metavar="N", min=0.0001, max=1000, help="Default: DIALER_CALLS_PER_SECOND."),
    ] = None,
    call_seconds: Annotated[
        float,
        typer.Option(
            metavar="N",
            min=1,
            max=3600,
            help="How long a call is taken to last, from its request on.",
        ),
    ] = _CALL_SECONDS,
    as_json: AsJson = False,
) -> None:
    """Say what would become of a list if it were loaded and dialed now: which rows are rejected and why.

    Who is suppressed or has had enough calls, when everybody may be called, and when all have been. Nothing
    is loaded, written or created.
    """
    from campaigns import plan_view
    from campaigns.ledger.clock import wall_clock
    from campaigns.plan import pace
    from campaigns.plan import plan as plan_of
    from campaigns.progress_bar import progress_bar
    from campaigns.settings import load_settings
    from campaigns.whereabouts import refuse_another_ledger
    from worker.settings import DialerSettings

    campaign, _source = campaign_beside(campaign_file, list_file, "plan")
    settings = load_settings(DialerSettings)
    # With no ledger at all it plans for an empty one: `create` as for loading.
    refuse_another_ledger(settings, create=True, campaign_file=campaign_file, campaign=campaign.name)
    rate = pace(
        campaign,
        calls_per_second or settings.calls_per_second,
        settings.max_active_calls,
        timedelta(seconds=call_seconds),
    )
    with (
        readable(list_file) as path,
        _looked_at(settings.ledger_url) as ledger,
        progress_bar("reading", path) as progress,
    ):
        present = wall_clock() if isinstance(ledger, str) else ledger.now()
        found = replace(plan_of(campaign, path, ledger, rate, present, progress), list_path=list_file)
    if as_json:
        put(json.dumps(plan_view.as_json(found, call_seconds)))
        return
    for line in plan_view.in_words(found, call_seconds):
        put(line)


@contextmanager
def _looked_at(url: str) -> "Iterator[Ledger | str]":
    """The ledger, open to be read; or why it is not."""
    from campaigns.ledger.engine import NothingToRead, open_to_read

    try:
        ledger = open_to_read(url)
    except NothingToRead as why:
        yield str(why)
        return
    try:
        yield ledger
    finally:
        ledger.close()
