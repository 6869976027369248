"""A trial is set apart from the real calls of the same campaign, and thrown away.

A campaign belongs to one side for ever (binding.py). When a trial is set apart, its runs become those of a
campaign of their own, `NAME (trial 1)`, and the campaign waits for a list again with nothing decided. What
the trial has shown can still be looked at; nothing of it counts for real calls: its people are not taken for
called, nor its appointments for known, and the numbers that the sandbox found wrong are not suppressed.
"""

import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from hashlib import sha256

from sqlalchemy import (
    ColumnElement,
    Connection,
    Table,
    delete,
    func,
    insert,
    literal,
    or_,
    select,
    text,
    update,
)

from campaigns.attempt import AttemptState, RunState
from campaigns.ledger.drops import DroppedBy, choose, drop_chosen
from campaigns.ledger.runs import cancel, find_to_come
from campaigns.ledger.tables import (
    attempts,
    campaigns,
    fires,
    loads,
    metadata,
    recipients,
    runs,
    suppression_history,
    suppressions,
    tallies,
)
from campaigns.mistake import Mistake
from campaigns.same_telephone import forms

_WHOLE = 80
"""Characters of a name that stand whole in the names of its trials; `campaigns.name` has room for 100."""
_OVER = (RunState.FINISHED, RunState.CANCELLED)
_IN_PROGRESS = (AttemptState.QUEUED, AttemptState.DIALING, AttemptState.PLACED)
_REFERS_TO = {
    "campaign_id": campaigns,
    "run_id": runs,
    "load_id": loads,
    "recipient_id": recipients,
    "attempt_id": attempts,
}
"""What the columns of these names stand for, also where they are no foreign keys."""


def is_over(db: Connection, name: str) -> bool:
    """Whether a campaign was tried in the sandbox, and that trial is finished or cancelled."""
    trial = select(runs.c.state).join(campaigns)
    states = db.execute(trial.where(campaigns.c.name == name, campaigns.c.exchange == "sandbox")).scalars()
    found = set(states)
    return bool(found) and found <= set(_OVER)


def set_aside(db: Connection, name: str, now: datetime) -> str | None:
    """Make a campaign's trial a campaign of its own, which is over. Returns its name; None if there is none.

    Recipients who wait in it are cancelled. The next run of the campaign has a number, and so tokens, that no
    run of the trial had.
    """
    mine = (campaigns.c.name == name) & (campaigns.c.exchange == "sandbox")
    # First the campaign and then its runs, as a fire takes them.
    found = db.execute(select(campaigns.c.id).where(mine).with_for_update(key_share=True)).scalar()
    if found is None:
        return None
    campaign_id = int(found)
    of_campaign = runs.c.campaign_id == campaign_id
    # An earlier version has let one campaign have runs of both sides: real ones stay where they are.
    of_trial = of_campaign & or_(runs.c.exchange == "sandbox", runs.c.exchange.is_(None))
    held = select(runs.c.id, runs.c.state).where(of_trial).order_by(runs.c.id)
    every = db.execute(held.with_for_update(key_share=True)).all()
    highest = db.execute(select(func.max(runs.c.number)).where(of_campaign)).scalar()
    latest = find_to_come(db, name)
    for row in every:
        if row.state not in _OVER:
            cancel(db, replace(latest, id=row.id), now)
    kept = _free_name(db, name)
    trial_id = _copied(db, campaign_id, kept)
    ids = [row.id for row in every]
    db.execute(update(runs).where(runs.c.id.in_(ids)).values(campaign_id=trial_id))
    _take_along_what_was_made_up(db, campaign_id, trial_id, now)
    db.execute(delete(fires).where(fires.c.campaign_id == campaign_id))
    db.execute(
        update(campaigns)
        .where(campaigns.c.id == campaign_id)
        .values(exchange=None, schedule_from=None, schedule_paused=None)
    )
    if highest is not None:
        db.execute(
            insert(runs).values(
                campaign_id=campaign_id, number=highest + 1, state=RunState.LOADED, loaded_at=now
            )
        )
    return kept


def keep_out(db: Connection, name: str, run_id: int, load_id: int, now: datetime) -> int:
    """Take out those of a load whom an operator had taken out of the latest trial. Returns how many.

    Otherwise the trial that becomes real would call them. Who is put back in the new run stays so: only
    recipients whom this load has entered are looked at.
    """
    trials = _trials_of(db, name)
    if not trials:
        return 0
    tried = recipients.alias("tried")
    of_trial = select(runs.c.id).where(runs.c.campaign_id == max(trials))
    mine = (
        select(recipients.c.id)
        .select_from(recipients.join(tried, tried.c.key == recipients.c.key))
        .where(tried.c.run_id.in_(of_trial), tried.c.dropped_by == DroppedBy.OPERATOR)
        .where(recipients.c.run_id == run_id, recipients.c.load_id == load_id)
        .where(recipients.c.dropped_by.is_(None))
        .distinct()
    )
    choose(db, list(db.execute(mine).scalars()))
    taken_out = drop_chosen(db, DroppedBy.OPERATOR, now, hold=run_id)
    db.execute(text("DROP TABLE chosen"))
    return taken_out


def discard(db: Connection, name: str, now: datetime) -> list[str]:
    """Delete all trials of a campaign, with their lists, calls and results. Returns their names.

    The campaign itself stays, with its choices and the numbers that an operator has suppressed for it. Raises
    Mistake where there is no trial.
    """
    run = find_to_come(db, name)
    set_aside(db, name, now)
    trials = _trials_of(db, name)
    if not trials:
        raise Mistake(f"{name} has no trial; nothing was changed")
    ids = list(trials)
    # Entries of calls that ended after the trial was set apart: the list's history is never cut.
    theirs = suppression_history.c.campaign_id.in_(ids)
    db.execute(update(suppression_history).where(theirs).values(campaign_id=run.campaign_id))
    of_trials = list(db.execute(select(runs.c.id).where(runs.c.campaign_id.in_(ids))).scalars())
    _delete(db, campaigns, campaigns.c.id.in_(ids), ())
    # Last: each row that is deleted is counted down there by triggers.
    db.execute(delete(tallies).where(tallies.c.run_id.in_(of_trials)))
    return list(trials.values())


def calls_in_progress(db: Connection, name: str) -> int:
    """How many calls of a campaign's trials are queued or in progress."""
    own = (campaigns.c.name == name) & (campaigns.c.exchange == "sandbox")
    query = (
        select(func.count())
        .select_from(attempts.join(runs, runs.c.id == attempts.c.run_id).join(campaigns))
        .where(or_(own, campaigns.c.id.in_(list(_trials_of(db, name)))), runs.c.exchange == "sandbox")
        .where(attempts.c.state.in_(_IN_PROGRESS))
    )
    return int(db.execute(query).scalar_one())


def _stem(name: str) -> str:
    """What the names of a campaign's trials begin with. No campaign file can have such a name."""
    if len(name) > _WHOLE:
        # No two campaigns share a stem. A name has no ~ either.
        name = f"{name[: _WHOLE - 10]}~{sha256(name.encode()).hexdigest()[:8]}"
    return f"{name} (trial "


def _trials_of(db: Connection, name: str) -> dict[int, str]:
    """The trials of a campaign that were set apart: id → name, the oldest first."""
    stem = _stem(name)
    query = select(campaigns.c.id, campaigns.c.name).where(campaigns.c.name.startswith(stem, autoescape=True))
    named = re.compile(re.escape(stem) + r"\d+\)")
    rows = db.execute(query.where(campaigns.c.exchange == "sandbox").order_by(campaigns.c.id)).all()
    return {row.id: row.name for row in rows if named.fullmatch(row.name)}


def _free_name(db: Connection, name: str) -> str:
    stem = _stem(name)
    taken = [int(each[len(stem) : -1]) for each in _trials_of(db, name).values()]
    return f"{stem}{max(taken, default=0) + 1})"


def _copied(db: Connection, campaign_id: int, kept: str) -> int:
    """The id of the trial's campaign, with the choices as they are kept, byte for byte."""
    same = (campaigns.c.choices, campaigns.c.version, campaigns.c.revision, campaigns.c.created_at)
    row = select(literal(kept), literal("sandbox"), *same).where(campaigns.c.id == campaign_id)
    names = ["name", "exchange", *(column.name for column in same)]
    db.execute(insert(campaigns).from_select(names, row))
    return int(db.execute(select(campaigns.c.id).where(campaigns.c.name == kept)).scalar_one())


def _take_along_what_was_made_up(db: Connection, campaign_id: int, trial_id: int, now: datetime) -> None:
    """Numbers that were suppressed for the campaign because of a call of its trial go with the trial.

    What an operator has entered for the campaign stays: those people have said it themselves.
    """
    # An outcome enters its number with the time at which the call ended, which is kept to the microsecond.
    by_a_call = (
        select(recipients.c.phone, suppressions.c.added_at)
        .select_from(
            suppressions.join(attempts, attempts.c.ended_at == suppressions.c.added_at)
            .join(recipients, recipients.c.id == attempts.c.recipient_id)
            .join(runs, runs.c.id == recipients.c.run_id)
        )
        .where(recipients.c.phone == suppressions.c.phone)
        .where(suppressions.c.campaign_id == campaign_id, runs.c.campaign_id == trial_id)
        .order_by(recipients.c.phone)
    )
    for called, at in db.execute(by_a_call).all():
        # With the other numbers of the same telephone, which were entered with it.
        for phone in sorted(forms(called)):
            entry = (suppressions.c.campaign_id == campaign_id, suppressions.c.phone == phone)
            mine = update(suppressions).where(*entry, suppressions.c.added_at == at)
            if not db.execute(mine.values(campaign_id=trial_id)).rowcount:
                continue
            told = {"what": "removed", "reason": "the sandbox had made it up, in a trial that is set apart"}
            removed = insert(suppression_history).values(phone=phone, campaign_id=campaign_id, at=now, **told)
            db.execute(removed)


def _delete(db: Connection, table: Table, these: ColumnElement[bool], above: Iterable[Table]) -> None:
    """Delete rows, and before them all rows of other tables that belong to them."""
    if "id" in table.c:
        ids = select(table.c.id).where(these)
        for other in metadata.sorted_tables:
            if other in (table, *above, suppression_history, tallies):
                continue
            for column in other.c:
                keys = [key.column.table for key in column.foreign_keys]
                by_name = _REFERS_TO.get(column.name)
                if table in keys or (not keys and by_name is table):
                    _delete(db, other, column.in_(ids), (*above, table))
    db.execute(delete(table).where(these))
