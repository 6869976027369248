"""What a campaign's file says, entered; and what a change of it may not do to people who are there."""

import secrets
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from pydantic import BaseModel
from sqlalchemy import Connection, insert, select, update

from campaigns.attempt import AttemptState, RunState
from campaigns.campaign import Campaign, ListOptions, PacingOptions, RedialOptions
from campaigns.campaign_source import CampaignSource
from campaigns.changes import changes
from campaigns.ledger import schedules
from campaigns.ledger.limits import not_limited
from campaigns.ledger.runs import ids_of
from campaigns.ledger.tables import STORED_CHOICES, attempts, campaigns, recipients, runs
from campaigns.mistake import Mistake
from campaigns.stored import Unreadable, parsed, read_connect, read_part, read_stored

_PARTS: dict[str, type[BaseModel]] = {
    "list": ListOptions,
    "pacing": PacingOptions,
    "redial": RedialOptions,
}


def put_campaign(
    db: Connection, campaign: Campaign, now: datetime, source: CampaignSource | None = None
) -> tuple[int, Campaign | None]:
    """Enter a campaign, or what has changed in its file since it was entered.

    `source`: the file that it was read from. Returns its id, and its choices until now if it is not new.
    Raises Mistake for a change that would make other recipients of the same people, and so ring them again.
    """
    choices = campaign.model_dump(mode="json")
    stored = select(campaigns.c.id, campaigns.c.version, STORED_CHOICES)
    known = db.execute(stored.where(campaigns.c.name == campaign.name)).one_or_none()
    read_from = _read_from(source) if source is not None else {}
    if known is None:
        row = insert(campaigns).values(
            name=campaign.name, choices=choices, version=1, revision=_another(), created_at=now, **read_from
        )
        return int(db.execute(row.returning(campaigns.c.id)).scalar_one()), None
    was, as_stored = _as_far_as_readable(db, known.id, known.stored, campaign)
    changed = {change.key for change in changes(was, campaign)}
    # With a [reminder] people are told apart by their appointments, and those who are there have none.
    same_people = changed & {"list.key", "list.phone", "list.default_region", "reminder"}
    if same_people and _has_recipients(db, known.id):
        named = sorted(each if "." in each else f"whether there is a [{each}]" for each in same_people)
        raise Mistake(
            f"{campaign.name}: {', '.join(named)} cannot change once people are loaded: "
            "the same people would count as new and be called again; put it back, or use another name"
        )
    if "connect.instance_id" in changed and _has_open_calls(db, known.id):
        raise Mistake(
            f"{campaign.name}: connect.instance_id cannot change while calls of the campaign are open: what "
            "becomes of them is asked for there; pause the campaign, and wait until nobody is in progress"
        )
    if changed or not as_stored:
        db.execute(
            update(campaigns)
            .where(campaigns.c.id == known.id)
            .values(choices=choices, version=known.version + 1, revision=_another())
        )
    if read_from:
        db.execute(update(campaigns).where(campaigns.c.id == known.id).values(read_from))
    if "connect.instance_id" in changed:
        # Of calls that were given up the new instance knows nothing; nobody looks for their word any more.
        of_campaign = attempts.c.run_id.in_(select(runs.c.id).where(runs.c.campaign_id == known.id))
        given_up = (attempts.c.state == AttemptState.ENDED) & attempts.c.follow_at.is_not(None)
        db.execute(update(attempts).where(of_campaign, given_up).values(follow_at=None))
    if (was.calls_per_day, was.calls_per_week) != (campaign.calls_per_day, campaign.calls_per_week):
        # The runs before their people, as everywhere.
        not_limited(db, ids_of(db, known.id, hold=True), now)
    if changed & {"schedule", "schedule.cron", "schedule.time_zone"}:
        schedules.changed(db, known.id, campaign.schedule, now)
    if "pacing.calls_per_second" in changed and campaign.pacing.calls_per_second:
        _use_up_one_call(db, known.id, now + timedelta(seconds=1 / campaign.pacing.calls_per_second))
    return int(known.id), was


def _as_far_as_readable(
    db: Connection, campaign_id: int, stored: bytes, campaign: Campaign
) -> tuple[Campaign, bool]:
    """The choices until now, and whether they could be read as a whole: else loading the file mends them.

    A table that cannot be read counts as it stands in the file now. Raises Mistake if that could make other
    recipients of the same people, because what they are told by cannot be compared.
    """
    try:
        return read_stored(stored), True
    except Unreadable as problem:
        parts: dict[str, Any] = {}
        for key, part in _PARTS.items():
            with suppress(Unreadable):
                parts[key] = read_part(part, stored, key)
        comparable = "list" in parts and _same_reminder(stored, campaign)
        with suppress(Unreadable):
            there = read_connect(stored).instance_id
            parts["connect"] = campaign.connect.model_copy(update={"instance_id": there})
        comparable = comparable and "connect" in parts
        if not comparable and _has_recipients(db, campaign_id):
            raise Mistake(
                f"{problem.of(campaign.name)}; the file cannot take their place here: it cannot be told "
                "whether its people are the same, and they could be called again"
            ) from None
        return campaign.model_copy(update=parts), False


def _same_reminder(stored: bytes, campaign: Campaign) -> bool:
    try:
        was = parsed(stored).get("reminder")
    except Unreadable:
        return False
    return bool(was == campaign.model_dump(mode="json")["reminder"])


def _read_from(source: CampaignSource) -> dict[str, Any]:
    return {"file": source.path, "file_hash": source.sha256, "file_changed_at": source.changed_at}


def _another() -> str:
    """A revision that no other choices have had, nor will have after the ledger has gone back."""
    return secrets.token_hex(8)


def _use_up_one_call(db: Connection, campaign_id: int, until: datetime) -> None:
    """Of its new rate, a campaign has used up one call's worth at most, which is over at `until`."""
    # A call at an old rate of one in an hour would keep it from the next one for that hour.
    longer = (runs.c.campaign_id == campaign_id) & (runs.c.released_until > until)
    db.execute(update(runs).where(longer).values(released_until=until))


def _has_open_calls(db: Connection, campaign_id: int) -> bool:
    """Whether Connect is still to be asked about any of its calls, or may be asked to place one just now."""
    # While a run is running, a worker may have looked up the instance just now; pausing waits for it.
    dialed = select(runs.c.id).where(runs.c.campaign_id == campaign_id, runs.c.state == RunState.RUNNING)
    if db.execute(dialed.limit(1)).first() is not None:
        return True
    of_campaign = attempts.c.run_id.in_(select(runs.c.id).where(runs.c.campaign_id == campaign_id))
    dialing = attempts.c.state == AttemptState.DIALING
    followed = (attempts.c.state == AttemptState.PLACED) & attempts.c.follow_at.is_not(None)
    searched = (attempts.c.state == AttemptState.UNKNOWN) & attempts.c.settle_at.is_not(None)
    asked = select(attempts.c.id).where(of_campaign, dialing | followed | searched).limit(1)
    return db.execute(asked).first() is not None


def _has_recipients(db: Connection, campaign_id: int) -> bool:
    anybody = select(recipients.c.id).join(runs).where(runs.c.campaign_id == campaign_id).limit(1)
    return db.execute(anybody).first() is not None
