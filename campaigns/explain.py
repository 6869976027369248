"""One recipient's whole story: every attempt, the rule that applied, and what comes next.

The rules are the campaign's present choices; where what happened differs from them, they were others then.
"""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from campaigns.attempt import AttemptState, Outcome, RecipientState, RunState
from campaigns.brake import MOST_IN_OUTAGES
from campaigns.campaign import Campaign, RedialOptions
from campaigns.ledger import Ledger
from campaigns.ledger.limits import Call, calls_to
from campaigns.ledger.runs import Run, before, find
from campaigns.ledger.stored_choices import campaign_of_run
from campaigns.ledger.stories import (
    Record,
    campaigns_with,
    records,
    records_in_doubt,
)
from campaigns.ledger.suppression_book import Entry, story_of
from campaigns.limits import WEEK
from campaigns.mistake import Mistake
from campaigns.outlook import Outlook, outlook
from campaigns.redial import MOST_NOT_FOUND, RedialAt, Ring, counts, dial_again_unfound
from campaigns.same_telephone import all_forms, forms
from campaigns.side import either_way, flag


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened, or is to come."""

    at: datetime | None
    """None where nobody wrote the time down, or there is none."""
    what: str


@dataclass(frozen=True, slots=True)
class AttemptStory:
    """One attempt, what became of it, and the rule that this calls for."""

    row: Any
    """A row of `attempts`."""
    events: Sequence[Event]
    rule: str | None

    def as_json(self) -> dict[str, Any]:
        """The same for machines."""
        row = self.row
        return {
            "number": row.number,
            "state": row.state,
            "client_token": row.client_token,
            "contact_id": row.contact_id,
            "outcome": row.outcome,
            "reason": row.reason,
            "evidence": row.evidence,
            "queued_at": _iso(row.queued_at),
            "dialed_at": _iso(row.dialing_at),
            "unknown_at": _iso(row.unknown_at),
            "next_search_at": _iso(row.settle_at),
            "placed_at": _iso(row.placed_at),
            "next_look_at": _iso(row.follow_at),
            "stopped_at": _iso(row.stopped_at),
            "ended_at": _iso(row.ended_at),
            "requeued_at": _iso(row.requeued_at),
            "replays": row.replays,
            "rule": self.rule,
        }


@dataclass(frozen=True, slots=True)
class Story:
    """One recipient from the list to what comes next."""

    record: Record
    exchange: str | None
    attempts: Sequence[AttemptStory]
    comes_next: Event
    outlook: Outlook | None = None
    """What the rules say of the next call, if one is waited for."""
    suppressions: Sequence[Entry] = ()
    """What the suppression list has said of the number for this campaign, and says now."""
    run: int = 1
    """The number of the run in which they are."""

    @property
    def in_doubt(self) -> AttemptStory | None:
        """The latest attempt that may have rung, or whose call ended in a way that Connect has not told."""
        held = self.record.recipient.state == RecipientState.HELD
        if held and self.attempts and self.attempts[-1].row.state == AttemptState.ENDED:
            return self.attempts[-1]
        unknown = [each for each in self.attempts if each.row.state == AttemptState.UNKNOWN]
        return unknown[-1] if unknown else None

    def as_json(self) -> dict[str, Any]:
        """The same for machines."""
        person = self.record.recipient
        return {
            "run": self.run,
            "key": person.key,
            "phone": person.phone,
            "file": person.file_name,
            "line": person.line,
            "loaded_at": _iso(person.loaded_at),
            "state": person.state,
            "dropped_by": person.dropped_by,
            "history": [
                {
                    "what": each.what,
                    "at": _iso(each.at),
                    "file": each.file_name,
                    "line": each.line,
                    "phone": each.phone,
                    "time_zone": each.time_zone,
                }
                for each in self.record.history
            ],
            "suppressed_at": _iso(person.suppressed_at),
            "suppressed_because": person.suppressed_because,
            "suppressions": [
                {"what": each.what, "campaign": each.campaign, "reason": each.reason, "at": _iso(each.at)}
                for each in self.suppressions
            ],
            "exchange": self.exchange,
            "attempts": [each.as_json() for each in self.attempts],
            "rules": self.outlook.as_json() if self.outlook else None,
            "next": {"what": self.comes_next.what, "at": _iso(self.comes_next.at)},
        }


def explain(ledger: Ledger, name: str, text: str, now: datetime, *, number: int | None = None) -> list[Story]:
    """The stories of the recipients with this number, as their list may write it, or with this key.

    In the campaign's run of this number; without one, in the latest that has them. Raises Mistake if there
    are none, saying where else to look.
    """
    with ledger.read() as db:
        run = find(db, name, number)
        campaign = campaign_of_run(db, run.id)
        phone, problem = None, ""
        try:
            phone = campaign.list.reader()(text)
        except ValueError as error:
            problem = str(error)
        found = records(db, run.id, key=text.strip(), phone=phone)
        for earlier in [] if found or number is not None else before(db, run):
            if found := records(db, earlier.id, key=text.strip(), phone=phone):
                run = earlier
                break
        if not found and phone is None:
            raise Mistake(f"nobody in {name} has the key {text.strip()!r}; as a number it {problem}")
        if not found and phone is not None:
            where = campaigns_with(db, phone)
            there = f"it is in: {', '.join(where)}" if where else "look for it among the list's rejected rows"
            barred = "; it is on the suppression list" if story_of(db, phone, run.campaign_id).now else ""
            raise Mistake(f"nobody in {name} has the number {phone}{barred}; {there}")
        said = {phone: story_of(db, phone, run.campaign_id) for phone in {r.recipient.phone for r in found}}
        phones = sorted({record.recipient.phone for record in found})
        dialed = calls_to(db, all_forms(phones), run.exchange or "connect", now - WEEK)
    stories = [story(record, run, campaign, dialed, now) for record in found]
    lists = [said[each.record.recipient.phone] for each in stories]
    return [
        replace(each, suppressions=[*its.past, *its.now]) for each, its in zip(stories, lists, strict=True)
    ]


def explain_unknown(ledger: Ledger, name: str, now: datetime, *, number: int | None = None) -> list[Story]:
    """The stories of all recipients of whom nobody can tell: searched for in Connect, or held."""
    with ledger.read() as db:
        run = find(db, name, number)
        campaign = campaign_of_run(db, run.id)
        doubtful = records_in_doubt(db, run.id)
    stories = [story(record, run, campaign, (), now) for record in doubtful]
    return [each for each in stories if each.in_doubt]


def story(record: Record, run: Run, campaign: Campaign, dialed: Sequence[Call], now: datetime) -> Story:
    """Tell one recipient's story by what the ledger has and what the campaign says.

    `dialed`: the calls of the last week to its number, and perhaps to others.
    """
    rules, person = campaign.redial, record.recipient
    tries = [AttemptStory(row, _events(row), _rule(row, record, run, rules)) for row in record.attempts]
    to_come = None
    if person.state == RecipientState.WAITING:
        calls = [call for call in dialed if call.phone in forms(person.phone)]
        to_come = outlook(campaign, person, calls, now)
    return Story(record, run.exchange, tries, _comes_next(record, run, to_come, now), to_come, run=run.number)


def span(time: timedelta) -> str:
    """A wait as the campaign's file says it: `30s`, `10m`, `2h`, `1d`."""
    seconds = round(time.total_seconds())
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds and seconds % length == 0:
            return f"{seconds // length}{unit}"
    return f"{seconds}s"


def _events(row: Any) -> list[Event]:
    """What happened to an attempt, one after the other."""
    again = f", for the {_nth(row.fence)} time" if row.fence > 1 else ""
    events = [Event(row.queued_at, f"queued{again}")]
    if row.state == AttemptState.RETURNED:
        return [*events, Event(None, f"returned, nothing is charged for it: {row.reason}")]
    if row.dialing_at is None or row.state == AttemptState.QUEUED:
        return events
    sending = row.state == AttemptState.DIALING
    events.append(Event(row.dialing_at, "dialing, the request may have left" if sending else "dialed"))
    # An attempt that came back from `unknown`, and was dialed again, is not in doubt for that any more.
    doubted = row.unknown_at is not None and row.unknown_at >= row.dialing_at
    called = row.state in (AttemptState.PLACED, AttemptState.ENDED)
    # An answer that comes late takes the place of the reason; a search that finds the call leaves it.
    found = doubted and called and row.reason is not None
    if doubted:
        why = f": {row.reason}" if found or row.state == AttemptState.UNKNOWN else ""
        events.append(Event(row.unknown_at, f"unknown, it may have rung{why}"))
    if row.state == AttemptState.UNKNOWN:
        events.append(Event(None, row.evidence or "not searched for yet"))
    if called:
        how = f", {row.evidence}" if found else ", by an answer that came late" if doubted else ""
        events.append(Event(row.placed_at, f"placed: contact {row.contact_id}{how}"))
    if row.stopped_at is not None:
        events.append(Event(row.stopped_at, "hung up: StopContact"))
    if row.state == AttemptState.ENDED:
        why = f": {row.reason}" if row.outcome == Outcome.NO_OUTCOME and row.reason else ""
        events.append(Event(row.ended_at, f"ended: {row.outcome}{why}"))
    if row.state == AttemptState.REFUSED:
        events.append(Event(row.ended_at, f"refused by Connect, it did not ring: {row.reason}"))
    if row.requeued_at is not None:
        # Before an answer that came only after it.
        later = (n for n, event in enumerate(events) if event.at is not None and event.at > row.requeued_at)
        asked = Event(row.requeued_at, "an operator asked for another attempt")
        events.insert(next(later, len(events)), asked)
    return events


def _rule(row: Any, record: Record, run: Run, rules: RedialOptions) -> str | None:
    """What the campaign has to say after this attempt."""
    person = record.recipient
    latest = row.number == person.attempts
    followed = not latest or person.state == RecipientState.WAITING
    match row.state:
        case AttemptState.REFUSED:
            return _but_asked_for("a call that Connect refuses is not dialed again", row)
        case AttemptState.UNKNOWN if row.requeued_at is not None:
            return _but_asked_for("what nobody can tell is not dialed again by itself", row)
        case AttemptState.UNKNOWN if followed:
            return "a call that is never found counts as never placed, and is dialed again"
        case AttemptState.UNKNOWN if row.settle_at is not None or person.state != RecipientState.HELD:
            return f"if it is never found, it is {_if_not_found(record, row, run, rules)}"
        case AttemptState.UNKNOWN:
            not_found = _if_not_found(record, row, run, rules)
            return not_found if not_found.startswith("held") else "held: no search could tell whether it rang"
        case AttemptState.ENDED if latest and person.state == RecipientState.HELD:
            return "held: Connect has not told how the call ended, and it is not dialed again by itself"
        case AttemptState.ENDED:
            rings = [_ring(a) for a in record.attempts if a.number <= row.number and _counts(a)]
            step = rules.next_step(rings, row.ended_at)
            if isinstance(step, RedialAt):
                wait = rules.after[row.outcome].wait
                by_rule = (
                    f"{row.outcome} is dialed again after {span(wait)}, "
                    f"as attempt {len(rings) + 1} of {rules.max_attempts}"
                )
                if step.due_at > row.ended_at + wait:
                    by_rule += f", but no more than {rules.max_attempts_per_day} times within 24 hours"
            else:
                by_rule = step.reason
            if row.requeued_at is not None:
                return _but_asked_for(by_rule, row)
            differs = isinstance(step, RedialAt) != followed
            if differs and run.state == RunState.CANCELLED:
                return f"{by_rule}; but the campaign is cancelled"
            # Suppressed and expired people are told of in what comes next.
            if differs and (followed or person.state == RecipientState.DONE):
                return f"{by_rule}; but the campaign said otherwise when it ended"
            return by_rule
        case _:
            return None


def _but_asked_for(rule: str, row: Any) -> str:
    return rule if row.requeued_at is None else f"{rule}; but an operator asked for another attempt"


def _counts(row: Any) -> bool:
    return counts(row.state, requeued=row.requeued_at is not None)


def _ring(row: Any) -> Ring:
    return Ring(Outcome(row.outcome) if row.outcome else None, row.dialing_at)


def _if_not_found(record: Record, row: Any, run: Run, rules: RedialOptions) -> str:
    """What becomes of an attempt that is searched for in vain."""
    before = [
        bool(a.in_outage)
        for a in record.attempts
        if a.state == AttemptState.UNKNOWN and a.number != row.number and a.requeued_at is None
    ]
    in_outages, other = before.count(True), before.count(False)
    if dial_again_unfound(
        rules.when_unknown, other, in_outage=bool(row.in_outage), in_outages_before=in_outages
    ):
        if run.state == RunState.CANCELLED:
            return "not dialed again: the campaign is cancelled"
        return f"dialed again, as attempt {row.number + 1}"
    if rules.when_unknown == "hold":
        return 'held, as the campaign says: when_unknown = "hold"'
    most = MOST_IN_OUTAGES if row.in_outage else MOST_NOT_FOUND
    return f"held: {most} attempts were not found, so a person has to look at it"


def _comes_next(record: Record, run: Run, to_come: Outlook | None, now: datetime) -> Event:
    person = record.recipient
    last = record.attempts[-1] if record.attempts else None
    match person.state:
        case RecipientState.WAITING if to_come is not None:
            return _next_dialing(record, run, last, to_come)
        case RecipientState.IN_PROGRESS if last is not None and person.dropped_by is None:
            return _next_in_progress(last)
        case RecipientState.HELD if last is not None and last.state == AttemptState.ENDED:
            what = (
                "it is not dialed again by itself; look for the contact in Connect's contact search; "
                "another attempt for all of whom Connect has not told: "
                f"dialer requeue {run.name} --outcome no_outcome"
            )
            asked = "Connect is asked again how the call ended; until then "
            return Event(last.follow_at, what if last.follow_at is None else asked + what)
        case RecipientState.HELD:
            held = "nobody can tell whether it rang, and it is not dialed again by itself"
            if last is not None and last.settle_at is not None:
                return Event(last.settle_at, f"it is searched for in Connect again; until then {held}")
            all_of_them = f"dialer requeue {run.name} --outcome unknown"
            return Event(
                None,
                f"{held}; look for the call in Connect's contact search; "
                f"another attempt for all who are held: {all_of_them}",
            )
        case RecipientState.SUPPRESSED if person.suppressed_at is not None:
            return Event(None, "nothing: the number is on the suppression list")
        case RecipientState.SUPPRESSED if person.expires_at is not None and person.expires_at <= now:
            return Event(None, "nothing: its time to be called has passed")
        case RecipientState.SUPPRESSED if run.state != RunState.CANCELLED:
            again = f"dialer requeue {run.name} --outcome suppressed"
            return Event(None, f"nothing: it was suppressed, and is so no more; to call it: {again}")
        case RecipientState.CANCELLED | RecipientState.SUPPRESSED:
            return Event(None, "nothing: the campaign is cancelled")
        case RecipientState.DROPPED:
            return Event(None, f"nothing: it was taken out; {_undo(run, person)}")
        case _ if person.dropped_by is not None and last is not None:
            return _after_dropping(last, run, person)
        case RecipientState.EXPIRED:
            return Event(None, "nothing: its time to be called has passed")
        case _ if last is not None and last.state == AttemptState.PLACED:
            return Event(None, "nothing: nobody asks Connect how calls end (DIALER_FOLLOW_SECONDS=0)")
        case _:
            return Event(None, "nothing")


def _undo(run: Run, person: Any) -> str:
    return f"to put it back: dialer drop {run.name} {shlex.quote(person.key)} --undo"


def _after_dropping(last: Any, run: Run, person: Any) -> Event:
    """What comes next for a recipient who was taken out during a call, or after it."""
    if person.state != RecipientState.IN_PROGRESS:
        return Event(None, f"nothing: it was taken out after its call; {_undo(run, person)}")
    going_on = _next_in_progress(last)
    return Event(going_on.at, f"{going_on.what}; no other call follows, as it was taken out")


def _next_dialing(record: Record, run: Run, last: Any, to_come: Outlook) -> Event:
    person = record.recipient
    if person.suppressed_at is not None:
        return Event(None, "it is not dialed: the number is on the suppression list by now")
    if to_come.next_at is None:
        return Event(None, "it is not dialed: its calling hours are never open")
    if to_come.expires_first:
        return Event(to_come.expires_at, "it expires: no rule allows a call before that")
    if last is not None and last.state == AttemptState.RETURNED:
        what = f"attempt {last.number} is dialed, with the same token"
    else:
        what = f"attempt {person.attempts + 1} is dialed"
        if last is not None and last.requeued_at is not None:
            what += ", as an operator asked"
    match run.state:
        case RunState.LOADED:
            start = f"dialer start {run.name}"
            how = either_way(start) if run.exchange is None else start + flag(run.exchange)
            what += f", once the campaign is started: {how}"
        case RunState.PAUSED:
            what += f", once the campaign goes on: dialer resume {run.name} (paused: {run.reason})"
        case RunState.RUNNING if run.exchange is None:
            how = either_way(f"dialer start {run.name}")
            what += f", once it is decided whether its calls are real or a trial: {how}"
        case RunState.RUNNING if to_come.decides is not None:
            if to_come.decides.dialing:
                what = "a call to this number is on its way; looked at again in moments"
            else:
                what = "a call to this number is searched for in Connect; looked at again in minutes"
    return Event(to_come.next_at, what)


def _next_in_progress(last: Any) -> Event:
    match last.state:
        case AttemptState.QUEUED:
            return Event(None, "a worker dials it when it gets a slot")
        case AttemptState.DIALING:
            return Event(last.lease_until, "it is unknown, unless Connect's answer comes before")
        case AttemptState.PLACED:
            return Event(last.follow_at, "Connect is asked how the call ended")
        case AttemptState.UNKNOWN:
            return Event(last.settle_at, "it is searched for in Connect")
        case _:
            return Event(None, f"it moves on from {last.state}")


def _nth(count: int) -> str:
    tail = "th" if 10 <= count % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(count % 10, "th")
    return f"{count}{tail}"


def _iso(instant: datetime | None) -> str | None:
    return instant.isoformat(timespec="milliseconds") if instant else None
