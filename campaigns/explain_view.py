"""A story in words, for people. Instants are in local time; numbers are in full, as in the export."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from campaigns import outlook_view
from campaigns.attempt import RecipientState
from campaigns.explain import AttemptStory, Event, Story
from campaigns.ledger.suppression_book import Entry
from campaigns.side import told as told_side

_TAKEN_OUT = {
    "dropped": "taken out by an operator (dialer drop)",
    "gone": "taken out: a list was loaded with --gone drop, and it was not on it",
    "spoiled": "taken out: a list had another row for it, which was rejected",
    "put_back": "put back",
}


def told(story: Story, now: datetime) -> list[str]:
    """One recipient's whole story, line by line."""
    person = story.record.recipient
    side = f" ({told_side(story.exchange)})" if story.exchange or story.attempts else ""
    of_run = f", run {story.run}" if story.run > 1 else ""
    lines = [
        f"{who(story)}{of_run}: {person.state.replace('_', ' ')}{side}",
        *(f"  {_former_row(each)}" for each in story.record.history if each.what == "replaced"),
        f"  {at(person.loaded_at)}  loaded from line {person.line} of {person.file_name}",
        *(
            f"  {at(each.at)}  {_TAKEN_OUT[each.what]}"
            for each in story.record.history
            if each.what in _TAKEN_OUT
        ),
    ]
    lines += [f"  {suppression(entry)}" for entry in story.suppressions]
    for attempt in story.attempts:
        lines += _attempt(attempt)
    if story.outlook is not None:
        lines += [f"  {line}" for line in outlook_view.in_words(story.outlook, now)]
    return [*lines, f"  {_to_come('next', story.comes_next, now)}"]


def in_doubt(name: str, stories: Sequence[Story], now: datetime) -> list[str]:
    """Everybody of whom nobody can tell, one block each."""
    if not stories:
        return [f"{name}: there is no call of which nobody can tell whether it rang"]
    held = sum(story.record.recipient.state == RecipientState.HELD for story in stories)
    lines = [f"{name}: {len(stories) - held:,} searched for in Connect, {held:,} held"]
    for story in stories:
        person = story.record.recipient
        lines.append(f"{who(story)}, line {person.line} of {person.file_name}: {_state(story)}")
        if story.in_doubt is not None:
            lines += _attempt(story.in_doubt)
        lines.append(f"  {_to_come('next', story.comes_next, now)}")
    return lines


def who(story: Story) -> str:
    """`+14155550100`, and the key where that is something else."""
    person = story.record.recipient
    return str(person.phone) if person.key == person.phone else f"{person.phone}, key {person.key}"


def at(instant: datetime) -> str:
    """An instant in local time."""
    return f"{instant.astimezone():%Y-%m-%d %H:%M:%S %Z}"


def suppression(entry: Entry) -> str:
    """`2026-03-02 12:00:00 UTC  on the suppression list: asked to`."""
    only = f" of {entry.campaign}" if entry.campaign else ""
    did = "on" if entry.what == "added" else "taken off"
    return f"{at(entry.at)}  {did} the suppression list{only}: {entry.reason}"


def _former_row(each: Any) -> str:
    """A row that the recipient had before a list brought another one."""
    row = f"line {each.line} of {each.file_name}, number {each.phone}"
    return f"{at(each.loaded_at)}  loaded from {row}; replaced at {at(each.at)}"


def _state(story: Story) -> str:
    return "held" if story.record.recipient.state == RecipientState.HELD else "searched for"


def _attempt(attempt: AttemptStory) -> list[str]:
    lines = [f"  attempt {attempt.row.number}, client token {attempt.row.client_token}"]
    lines += [
        f"    {at(event.at)}  {event.what}" if event.at is not None else f"    {event.what}"
        for event in attempt.events
    ]
    return [*lines, f"    rule: {attempt.rule}"] if attempt.rule else lines


def _to_come(title: str, event: Event, now: datetime) -> str:
    if event.at is None:
        return f"{title}: {event.what}"
    # What a list brings is due since 1970, and what is late is due as well.
    return f"{title}, {'due now' if event.at <= now else at(event.at)}: {event.what}"
