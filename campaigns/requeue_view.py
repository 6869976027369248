"""A requeue in words and for machines. Instants are in local time; numbers are in full, as in the export."""

import json
from collections.abc import Iterable, Iterator
from datetime import datetime

from campaigns.attempt import RunState
from campaigns.explain_view import at
from campaigns.ledger.requeues import Ended
from campaigns.report import Status
from campaigns.requeue import REFUSED, SUPPRESSED, UNKNOWN, Look

FIRST = 20
"""So many of those who are asked for are shown before it is done; a dry run shows all."""


def in_words(look: Look, people: Iterable[Ended], *, dry_run: bool) -> Iterator[str]:
    """Exactly whom it means, how many, and who is left alone. `people` are all, or the first of them."""
    name, count = look.run.name, look.count
    if not count:
        yield _nobody(look)
    else:
        yield f"{name}: {_people(count)} {_to_have(count, dry_run)} another attempt{_since(look)}:"
        yield from (f"  {number:,} {ending}" for ending, number in look.found.endings.most_common())
    shown = 0
    for person in people:
        shown += 1
        yield f"  {_who(person)}, line {person.line}: {_how(person)}, {_attempts(person.attempts)} so far"
    if shown < count:
        yield f"  … and {count - shown:,} more (--dry-run lists all)"
    yield from _left_alone(look)


def doubts(look: Look) -> Iterator[str]:
    """What the operator should know beforehand."""
    for code in look.unheard_of:
        codes = ", ".join(f"{each} ({count:,})" for each, count in look.codes.most_common())
        there_are = f"the codes there are: {codes}" if codes else "nobody was refused at all"
        yield f"warning: nobody in {look.run.name} was refused with {code}; {there_are}"
    if look.in_doubt:
        yield (
            f"warning: {look.in_doubt:,} of them may have been rung already: nobody can tell; "
            f"look first: dialer explain {look.run.name} --unknown"
        )


def done(look: Look, requeued: int, status: Status) -> str:
    """What was done, and what comes next."""
    words = f"{look.run.name}: {_people(requeued)} {'waits' if requeued == 1 else 'wait'} for another attempt"
    moved = look.count - requeued
    if moved:
        words += f"; {moved:,} moved on meanwhile and {'is' if moved == 1 else 'are'} left alone"
    if not requeued:
        return words
    if look.run.state == RunState.FINISHED:
        words += ", and the campaign goes on"
    return f"{words}; {status.reason or f'watch it with: dialer status {look.run.name}'}"


def as_json(look: Look, people: Iterable[Ended], *, requeued: int, dry_run: bool) -> Iterator[str]:
    """One JSON object, in pieces: there may be a million people in it."""
    head = {
        "name": look.run.name,
        "dry_run": dry_run,
        "requeued": requeued,
        "matched": look.count,
        "by_outcome": dict(look.found.endings.most_common()),
        "left_alone": {
            "waiting": look.found.waiting,
            "under_way": look.found.under_way,
            "suppressed": look.found.suppressed,
            "were_suppressed": look.found.were_suppressed,
            "expired": look.found.expired,
            "dropped": look.found.dropped,
        },
        "since": _iso(look.asked.since),
    }
    yield json.dumps(head)[:-1] + ', "recipients": ['
    for place, person in enumerate(people):
        yield ", " if place else ""
        yield json.dumps(
            {
                "key": person.key,
                "phone": person.phone,
                "line": person.line,
                "outcome": person.ending,
                "ended_at": _iso(person.ended_at),
                "attempts": person.attempts,
            }
        )
    yield "]}\n"


def _nobody(look: Look) -> str:
    asked = look.asked
    refused = [REFUSED] if asked.refused else []
    ways = [*sorted(asked.outcomes), *refused, *(f"{REFUSED}:{code}" for code in sorted(asked.codes))]
    ways += [UNKNOWN] if asked.unknown else []
    done = [f"is done whose last attempt was {' or '.join(ways)}"] if ways else []
    done += ["is suppressed whose number is on no list any more"] if asked.suppressed else []
    whoever = f"nobody in {look.run.name} {', or '.join(done)}{_since(look)}"
    if not look.there_are:
        return f"nothing to requeue: {whoever}; nobody there is done at all"
    there_are = ", ".join(f"{count:,} {ending}" for ending, count in look.there_are.most_common())
    at_all = ", at any time" if asked.since else ""
    return f"nothing to requeue: {whoever}; there are{at_all}: {there_are}"


def _left_alone(look: Look) -> Iterator[str]:
    found = look.found
    if found.under_way:
        yield f"{found.under_way:,} left alone: an attempt is under way"
    if found.waiting:
        waits = (
            "the next attempt is due already"
            if found.waiting == 1
            else "they wait for their next attempt already"
        )
        yield f"{found.waiting:,} left alone: {waits}"
    if found.suppressed:
        yield f"{found.suppressed:,} left alone: on the suppression list"
    if found.were_suppressed:
        was = "was" if found.were_suppressed == 1 else "were"
        yield f"{found.were_suppressed:,} left alone: {was} suppressed; ask with --outcome {SUPPRESSED}"
    if found.expired:
        whose = "its" if found.expired == 1 else "their"
        yield f"{found.expired:,} left alone: {whose} time to be called has passed"
    if found.dropped:
        was = "was" if found.dropped == 1 else "were"
        yield f"{found.dropped:,} left alone: {was} taken out (dialer drop)"


def _who(person: Ended) -> str:
    return person.phone if person.key == person.phone else f"{person.phone}, key {person.key}"


def _how(person: Ended) -> str:
    if person.ended_at is None:
        return person.ending
    return f"{person.ending} {'since' if person.ending == UNKNOWN else 'at'} {at(person.ended_at)}"


def _since(look: Look) -> str:
    return f" since {at(look.asked.since)}" if look.asked.since else ""


def _to_have(count: int, dry_run: bool) -> str:
    if dry_run:
        return "would have"
    return "is to have" if count == 1 else "are to have"


def _people(count: int) -> str:
    return f"{count:,} recipient{'' if count == 1 else 's'}"


def _attempts(count: int) -> str:
    return f"{count:,} attempt{'' if count == 1 else 's'}"


def _iso(instant: datetime | None) -> str | None:
    return instant.isoformat(timespec="milliseconds") if instant else None
