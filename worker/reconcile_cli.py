"""`dialer reconcile`: what Connect has placed and a ledger that has gone back does not know.

Heavy imports stand inside the command, as in campaigns/command_line.py.
"""

import json
from contextlib import closing
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from campaigns.command_line import AsJson, app, put, say, the_ledger

if TYPE_CHECKING:
    from campaigns.ledger import Ledger
    from worker.connect import Connect
    from worker.reconcile import Reconciled
    from worker.settings import DialerSettings
    from worker.settle import Settling


@app.command(
    short_help="Enter calls that a restored ledger does not know.",
    epilog="Example: dialer reconcile --since 2026-03-02T09:00+00:00 --dry-run",
)
def reconcile(
    since: Annotated[
        str,
        typer.Option(
            "--since",
            metavar="TIME",
            help="From when on: the backup's time, or a little earlier. 2026-03-02T09:00+01:00, or 2h ago.",
        ),
    ],
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what it would do, and change nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """After a backup was restored, or a standby without the last commits was promoted: enter lost calls.

    Asks Connect for all calls since then. Those that the ledger has lost are given back to their recipients,
    who are not dialed again for them. It runs while nothing is dialed (`dialer pause --all`), and can be
    repeated. Calls in progress are not listed yet: repeat it when the last has ended.
    """
    from campaigns.requeue import since_when
    from campaigns.settings import load_settings
    from worker.machine import tokens_of
    from worker.reconcile import NotReconciled, Reconciling
    from worker.settings import DialerSettings

    settings = load_settings(DialerSettings)
    with the_ledger(reads=dry_run) as ledger:
        try:
            with closing(_connect(settings)) as connect:
                found = Reconciling(
                    settling=_settling(settings, ledger, connect),
                    clock=ledger.now,
                    tokens=tokens_of(settings),
                    report_progress=lambda at: (
                        None if as_json else say(f"  until {at:%Y-%m-%d %H:%M:%S} UTC")
                    ),
                ).reconcile(since_when(since, ledger.now()), dry_run=dry_run)
        except NotReconciled as error:
            say(f"dialer: {error}; say it again, what was entered stays")
            raise typer.Exit(1) from None
    again = timedelta(seconds=settings.settle_seconds)
    if as_json:
        put(json.dumps(_as_json(found, dry_run)))
        return
    for line in _in_words(found, dry_run, again):
        put(line)


def _connect(settings: "DialerSettings") -> "Connect":
    """Connect, at an address that has said what it is. Raises Mistake, NotReconciled."""
    from campaigns.mistake import Mistake
    from worker.connect import Connect
    from worker.connect_errors import Misconfigured, NeverSent
    from worker.reconcile import NotReconciled
    from worker.settings import CONNECT_TIMEOUT_SECONDS

    connect = Connect(
        exchange=settings.exchange,
        read_timeout_seconds=settings.read_timeout_seconds,
        connect_timeout_seconds=CONNECT_TIMEOUT_SECONDS,
    )
    try:
        connect.verify()
    except Misconfigured as error:
        raise Mistake(str(error)) from None
    except NeverSent as error:
        raise NotReconciled(f"Connect does not tell its calls: {error}") from None
    return connect


def _settling(settings: "DialerSettings", ledger: "Ledger", connect: "Connect") -> "Settling":
    """What searches, at a pace of its own."""
    from worker.pacer import Rate
    from worker.settle import Settling
    from worker.unshared_pacer import UnsharedPacer

    # Without Redis, which may not run yet after a restore; and not all of the quotas, as others may ask too.
    search, describe = settings.search_per_second * 0.8, settings.describe_per_second * 0.8
    return Settling(
        ledger=ledger,
        connect=connect,
        search_pacer=UnsharedPacer(Rate(search, 1)),
        describe_pacer=UnsharedPacer(Rate(describe, 1)),
        exchange=settings.exchange,
        patience=timedelta(seconds=settings.settle_seconds),
        follow=settings.follow_seconds > 0,
        clock=ledger.now,
    )


def _as_json(found: "Reconciled", dry_run: bool) -> dict[str, Any]:
    from campaigns.ledger.lost_calls import Entered

    return {
        "since": found.since.isoformat(timespec="seconds"),
        "until": found.until.isoformat(timespec="seconds"),
        "dry_run": dry_run,
        "instances": found.instances,
        "listed": found.listed,
        **{each.value: found.entered[each] for each in Entered if each != Entered.UNMATCHED},
        "unmatched": [
            {
                "contact_id": each.contact_id,
                "initiated_at": each.initiated_at.isoformat(timespec="seconds"),
                "why": each.why,
            }
            for each in found.unmatched
        ],
        "forgone": [
            {"campaign": each.campaign, "fire_at": each.at.isoformat(timespec="seconds")}
            for each in found.forgone
        ],
    }


def _in_words(found: "Reconciled", dry_run: bool, again: timedelta) -> list[str]:
    from campaigns.ledger.lost_calls import Entered

    would = "would be " if dry_run else "is "
    entered = found.entered
    unknown_here = sum(entered.values()) - entered[Entered.KNOWN]
    lines = [
        f"{found.listed:,} calls since {found.since:%Y-%m-%d %H:%M:%S} UTC on "
        f"{len(found.instances):,} instance{'' if len(found.instances) == 1 else 's'}, "
        f"{unknown_here:,} of them not in this ledger",
        f"  {entered[Entered.PLACED]:,}: the recipient {would}given the call back, not dialed again for it",
    ]
    if entered[Entered.HELD]:
        lines.append(
            f"  {entered[Entered.HELD]:,}: several recipients have the number; each {would}held: "
            "dialer explain NAME --unknown"
        )
    if entered[Entered.SEARCHED]:
        lines.append(f"  {entered[Entered.SEARCHED]:,}: may be an attempt's that is searched for anyway")
    lines += [
        f"  contact {each.contact_id} of {each.initiated_at:%Y-%m-%d %H:%M:%S} UTC: {each.why}"
        for each in found.unmatched
    ]
    lines += [
        f"  {each.campaign}: its run of {each.at:%Y-%m-%d %H:%M} UTC may have begun and been lost; "
        f"it {would}skipped"
        for each in found.forgone
    ]
    lines += [
        "calls that are still in progress are not listed yet: repeat it when the last has ended, for example "
        f"in {again.total_seconds() / 60:.0f} min; then go on with: dialer resume --all",
    ]
    return [*lines, *(["nothing was changed (--dry-run)"] if dry_run else [])]
