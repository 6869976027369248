"""Numbers that are not called: put on the list and taken off, and what others do at the same moment."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import campaigns
from campaigns.attempt import AttemptState, Outcome
from campaigns.ledger import Ledger, suppressions
from campaigns.ledger.moves import NotNow, Order
from campaigns.ledger.outcomes import mark_told_late
from campaigns.ledger.readmissions import Removed, remove_numbers
from campaigns.ledger.runs import finish
from campaigns.ledger.suppression_book import Entry, entries, history, story_of
from campaigns.ledger.suppressions import Number, Put, put_numbers
from campaigns.ledger.tables import EVERY_CAMPAIGN
from campaigns.side import Exchange

if TYPE_CHECKING:
    from tests.conftest import Desk

ONE, TWO, THREE = "+14150000001", "+14150000002", "+14150000003"
MINUTE = timedelta(minutes=1)
BARRING = {"suppression": {"outcomes": ["invalid_number"]}}

# Puts 12,000 numbers on the list, and stops for ever at one of two places, having said so.
KILLED_IMPORT = """
import signal, sys
from datetime import UTC, datetime
from sqlalchemy import event
from campaigns.ledger import open_ledger
from campaigns.ledger.suppressions import Number, put_numbers

url, place = sys.argv[1:]
ledger = open_ledger(url)
noon = datetime(2026, 3, 2, 12, tzinfo=UTC)
entered = []

def stop():
    print("here", flush=True)
    signal.pause()

def numbers():
    for i in range(12_000):
        if place == "while reading" and i == 11_500:
            stop()
        yield Number(f"+1415{i:07d}", "listed", noon)

@event.listens_for(ledger._engine, "before_cursor_execute")
def on_statement(connection, cursor, statement, *rest):
    entered.extend(["yes"] * ("INTO suppressions" in statement))

@event.listens_for(ledger._engine, "commit")
def on_commit(connection):
    if entered and place == "before the commit":
        stop()

put_numbers(ledger, numbers(), campaign_id=0, now=noon)
"""


def bar(desk: "Desk", *phones: str, campaign: str | None = None, reason: str = "asked to") -> Put:
    """`dialer suppress add`."""
    scope = desk.run(campaign).campaign_id if campaign else EVERY_CAMPAIGN
    numbers = [Number(phone, reason, desk.noon) for phone in phones]
    return put_numbers(desk.ledger, numbers, campaign_id=scope, now=desk.noon)


def unbar(desk: "Desk", *phones: str, campaign: str | None = None) -> Removed:
    """`dialer suppress remove`."""
    scope = desk.run(campaign).campaign_id if campaign else EVERY_CAMPAIGN
    return remove_numbers(
        desk.ledger, list(phones), campaign_id=scope, reason="came back", now=desk.noon + MINUTE
    )


def listed(desk: "Desk") -> list[tuple[str, str | None]]:
    """(number, campaign) of all that is on the list."""
    return [(entry.phone, entry.campaign) for entry in entries(desk.ledger)]


def done(found: Iterable[Entry]) -> list[tuple[str, str, str]]:
    return [(entry.phone, entry.what, entry.reason) for entry in found]


def running(
    desk: "Desk", count: int = 1, name: str = "reminders", exchange: Exchange = "connect", **tables: Any
) -> None:
    """A running campaign of people with the numbers ONE, TWO …."""
    desk.load(desk.campaign(name, **tables), desk.people(count))
    desk.start(name, exchange=exchange)


def test_whoever_waits_with_the_number_is_suppressed_at_once(desk: "Desk") -> None:
    """In every campaign, whatever their key; others go on waiting, and nobody is claimed for it."""
    people = desk.people(2)
    running(desk, 3)
    desk.load(desk.campaign("second"), [*people, replace(people[0], key="again")])
    assert bar(desk, ONE) == Put(numbers=1, added=1, withdrawn=3, under_way=0)
    assert desk.states() == ["suppressed", "waiting", "waiting"]
    assert desk.states("second") == ["suppressed", "suppressed", "waiting"]
    assert [desk.person(claimed).phone for claimed in desk.claim()] == [TWO, THREE]


def test_a_campaigns_own_list_holds_for_that_campaign(desk: "Desk") -> None:
    """Another campaign still calls the number."""
    running(desk)
    running(desk, name="second")
    assert bar(desk, ONE, campaign="second").withdrawn == 1
    assert (desk.states(), desk.states("second")) == (["waiting"], ["suppressed"])
    assert listed(desk) == [(ONE, "second")]
    assert [entry.campaign for entry in entries(desk.ledger, campaign_id=EVERY_CAMPAIGN)] == []


def test_a_queued_attempt_comes_back_and_is_not_dialed(desk: "Desk") -> None:
    """Its task finds the claim gone; the recipient is suppressed, not in progress."""
    running(desk, 2)
    first, second = desk.claim()
    assert bar(desk, ONE).withdrawn == 1
    assert (desk.attempt(first).state, desk.attempt(first).reason) == ("returned", "suppressed")
    assert isinstance(desk.dial(first), NotNow)
    assert isinstance(desk.dial(second), Order)
    assert desk.states() == ["suppressed", "in_progress"]


def test_a_returned_attempt_is_not_dialed_either(desk: "Desk") -> None:
    """Who waits because a call came back without having rung is suppressed like everybody who waits."""
    running(desk)
    (claimed,) = desk.claim()
    desk.bring(claimed, AttemptState.RETURNED)
    assert bar(desk, ONE).withdrawn == 1
    assert desk.states() == ["suppressed"]
    assert desk.claim() == []


@pytest.mark.parametrize("state", [AttemptState.DIALING, AttemptState.PLACED])
def test_a_call_that_has_left_goes_on_and_is_the_last(desk: "Desk", state: AttemptState) -> None:
    """Its outcome is recorded; the redial that would follow is not waited for."""
    running(desk)
    (claimed,) = desk.claim()
    desk.bring(claimed, state)
    assert bar(desk, ONE) == Put(numbers=1, added=1, withdrawn=0, under_way=1)
    assert desk.states() == ["in_progress"]
    if state == AttemptState.DIALING:
        assert desk.placed(claimed)
    assert desk.ended(claimed, Outcome.BUSY, redial_at=desk.noon)
    assert (desk.attempt(claimed).outcome, desk.states()) == ("busy", ["suppressed"])
    assert finish(desk.ledger, desk.noon) == 1


def test_a_late_word_makes_nobody_wait_who_is_suppressed(desk: "Desk") -> None:
    """A call without an outcome turns out to have been busy: its recipient is not dialed again."""
    running(desk)
    (claimed,) = desk.claim()
    desk.bring(claimed, AttemptState.PLACED)
    assert desk.ended(claimed, Outcome.NO_OUTCOME)
    bar(desk, ONE)
    this = (desk.ledger, claimed.attempt_id, Outcome.BUSY)
    assert mark_told_late(*this, ended_at=desk.noon, redial=lambda _: desk.noon)
    assert desk.states() == ["suppressed"]


def test_twice_is_once(desk: "Desk") -> None:
    """The first reason and date stay, and the history has the number once."""
    bar(desk, ONE, TWO, ONE)
    again = bar(desk, TWO, THREE, reason="another")
    assert (again.numbers, again.added) == (2, 1)
    assert done(entries(desk.ledger)) == [
        (ONE, "added", "asked to"),
        (TWO, "added", "asked to"),
        (THREE, "added", "another"),
    ]
    assert done(history(desk.ledger)) == done(entries(desk.ledger))


def test_a_number_has_an_entry_for_each_list(desk: "Desk") -> None:
    """For every campaign and for one; removing the one leaves the other."""
    running(desk)
    bar(desk, ONE)
    bar(desk, ONE, campaign="reminders")
    assert listed(desk) == [(ONE, None), (ONE, "reminders")]
    assert unbar(desk, ONE) == Removed((ONE,), waiting=0, barred=(ONE,))
    assert desk.states() == ["suppressed"]
    assert unbar(desk, ONE, campaign="reminders") == Removed((ONE,), waiting=1, barred=())
    assert desk.states() == ["waiting"]


def test_a_removal_is_recorded_and_not_erased(desk: "Desk") -> None:
    """What was on the list, and why it is not any more, stays in the history; another addition is new."""
    bar(desk, ONE, TWO)
    assert unbar(desk, TWO, THREE) == Removed((TWO,), waiting=0, barred=())
    assert listed(desk) == [(ONE, None)]
    assert [entry.phone for entry in history(desk.ledger, phone=THREE)] == []
    bar(desk, TWO, reason="once more")
    assert done(history(desk.ledger, phone=TWO)) == [
        (TWO, "added", "asked to"),
        (TWO, "removed", "came back"),
        (TWO, "added", "once more"),
    ]
    with desk.ledger.read() as db:
        story = story_of(db, TWO)
    assert done(story.past) == [(TWO, "added", "asked to"), (TWO, "removed", "came back")]
    assert done(story.now) == [(TWO, "added", "once more")]


def test_who_was_suppressed_waits_again_with_the_same_token(desk: "Desk") -> None:
    """A queued attempt that the list took back is claimed again under its number and its token."""
    running(desk)
    (first,) = desk.claim()
    bar(desk, ONE)
    assert unbar(desk, ONE).waiting == 1
    (second,) = desk.claim()
    assert (second.attempt_id, second.client_token) == (first.attempt_id, first.client_token)
    assert second.fence == first.fence + 1


def test_who_was_suppressed_when_loaded_waits_when_removed(desk: "Desk") -> None:
    """They are called like everybody else, if their campaign is not over."""
    bar(desk, ONE)
    running(desk, 2)
    assert desk.states() == ["suppressed", "waiting"]
    assert unbar(desk, ONE).waiting == 1
    assert len(desk.claim()) == 2


@pytest.mark.parametrize("over", ["finished", "cancelled"])
def test_nobody_is_called_again_in_a_run_that_is_over(desk: "Desk", over: str) -> None:
    """Their campaign has ended without them."""
    bar(desk, ONE)
    running(desk)
    if over == "cancelled":
        desk.cancel()
    else:
        finish(desk.ledger, desk.noon)
    assert unbar(desk, ONE).waiting == 0
    assert desk.states() == ["suppressed"]


def test_a_redial_that_was_suppressed_waits_until_its_time(desk: "Desk") -> None:
    """The rules say when, as they would have."""
    running(desk, redial={"max_attempts": 2, "busy": "10m"})
    (claimed,) = desk.claim()
    desk.bring(claimed, AttemptState.PLACED)
    bar(desk, ONE)
    assert desk.ended(claimed, Outcome.BUSY, redial_at=desk.noon + 10 * MINUTE)
    assert desk.states() == ["suppressed"]
    assert unbar(desk, ONE).waiting == 1
    assert desk.person(claimed).due_at == desk.noon + 10 * MINUTE


@pytest.mark.parametrize("outcome", [Outcome.ANSWERED, Outcome.VOICEMAIL])
def test_who_was_reached_while_suppressed_is_done(desk: "Desk", outcome: Outcome) -> None:
    """A call passed for never placed, its number was suppressed, and then the call turns up after all.

    Taken off the list, they are not rung a second time.
    """
    running(desk, redial={"max_attempts": 3, "busy": "10m"})
    (claimed,) = desk.claim()
    desk.bring(claimed, AttemptState.UNKNOWN)
    assert desk.not_found(claimed, redial=True)
    bar(desk, ONE)
    assert desk.states() == ["suppressed"]
    assert desk.answered(claimed, "call-1")
    assert desk.ended(claimed, outcome)
    assert unbar(desk, ONE).waiting == 0
    assert desk.states() == ["done"]


def test_whose_call_goes_on_is_in_progress_when_removed(desk: "Desk") -> None:
    """The same, while the call that has turned up is still followed: its outcome decides."""
    running(desk, redial={"max_attempts": 3, "busy": "10m"})
    (claimed,) = desk.claim()
    desk.bring(claimed, AttemptState.UNKNOWN)
    assert desk.not_found(claimed, redial=True)
    bar(desk, ONE)
    assert desk.answered(claimed, "call-1")
    assert unbar(desk, ONE).waiting == 0
    assert desk.states() == ["in_progress"]
    assert desk.ended(claimed, Outcome.BUSY, redial_at=desk.noon)
    assert desk.states() == ["waiting"]


def test_a_call_that_was_never_found_may_be_made_when_removed(desk: "Desk") -> None:
    """What is never found counts as never placed, also for those who were suppressed meanwhile."""
    running(desk)
    (claimed,) = desk.claim()
    desk.bring(claimed, AttemptState.UNKNOWN)
    assert desk.not_found(claimed, redial=True)
    bar(desk, ONE)
    assert unbar(desk, ONE).waiting == 1
    (again,) = desk.claim()
    assert again.client_token != claimed.client_token


def test_a_million_would_go_in_pieces(desk: "Desk", monkeypatch: pytest.MonkeyPatch) -> None:
    """More numbers than one piece: all are on the list, and all who wait or are queued are suppressed."""
    monkeypatch.setattr(suppressions, "_PIECE", 40)
    running(desk, 150)
    claims = desk.claim(keep_queued=50)
    numbers = [f"+1415{i:07d}" for i in range(1, 131)]
    assert bar(desk, *reversed(numbers)) == Put(numbers=130, added=130, withdrawn=130, under_way=0)
    assert [phone for phone, _ in listed(desk)] == numbers
    assert desk.states() == ["suppressed"] * 130 + ["waiting"] * 20
    assert {desk.attempt(claimed).state for claimed in claims} == {"returned"}
    assert bar(desk, *numbers) == Put(numbers=130, added=0, withdrawn=0, under_way=0)


def test_the_same_numbers_again_finish_what_was_broken_off(desk: "Desk") -> None:
    """Killed when the list stood and not all who wait had followed: saying it again suppresses them."""
    running(desk)
    desk.suppress(ONE)
    assert desk.states() == ["waiting"]
    assert bar(desk, ONE) == Put(numbers=1, added=0, withdrawn=1, under_way=0)


def test_nothing_is_entered_of_what_cannot_be_read_to_its_end(desk: "Desk") -> None:
    """A file that breaks off takes all of it back."""

    def numbers() -> Iterable[Number]:
        yield Number(ONE, "listed", desk.noon)
        raise OSError("gone")

    running(desk)
    with pytest.raises(OSError, match="gone"):
        put_numbers(desk.ledger, numbers(), campaign_id=EVERY_CAMPAIGN, now=desk.noon)
    assert (listed(desk), desk.states()) == ([], ["waiting"])


@pytest.mark.parametrize("place", ["while reading", "before the commit"])
def test_a_killed_import_leaves_nothing(
    sqlite_ledger_url: str, opened: Callable[[str], Ledger], desk_of: Callable[[Ledger], "Desk"], place: str
) -> None:
    """SIGKILL in the middle: no number is on the list, and the ledger goes on."""
    desk = desk_of(opened(sqlite_ledger_url))
    running(desk)
    root = str(Path(campaigns.__file__).parents[1])
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED_IMPORT, sqlite_ledger_url, place],
        env={**os.environ, "PYTHONPATH": root},
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == b"here\n"
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    assert (listed(desk), list(history(desk.ledger))) == ([], [])
    assert desk.states() == ["waiting"]
    assert bar(desk, ONE).withdrawn == 1


def test_long_lists_are_read_page_by_page(desk: "Desk", monkeypatch: pytest.MonkeyPatch) -> None:
    """Every entry once, in order, also where a page ends between two entries of one number."""
    running(desk)
    numbers = [f"+1415{i:07d}" for i in range(1, 21)]
    bar(desk, *numbers)
    bar(desk, *numbers, campaign="reminders")
    everything = [(number, campaign) for number in numbers for campaign in (None, "reminders")]
    for page in (1, 3, 40, 41):
        monkeypatch.setattr("campaigns.ledger.suppression_book._PAGE", page)
        assert listed(desk) == everything
        assert len(list(history(desk.ledger))) == 40
    own = entries(desk.ledger, campaign_id=desk.run().campaign_id, phone=ONE)
    assert [(entry.phone, entry.campaign) for entry in own] == [(ONE, "reminders")]


# --- outcomes that put a number on the list -----------------------------------------------------------------


def test_an_invalid_number_is_suppressed_for_everybody(desk: "Desk") -> None:
    """By the call's own transaction; whoever waits or is queued with it elsewhere is not called."""
    running(desk, **BARRING)
    (claimed,) = desk.claim()
    running(desk, name="second")
    running(desk, name="third")
    (queued,) = desk.claim(keep_queued=2)
    desk.bring(claimed, AttemptState.PLACED)
    assert desk.ended(claimed, Outcome.INVALID_NUMBER)
    (entry,) = entries(desk.ledger)
    assert entry == Entry(ONE, None, "added", "invalid_number: call of campaign reminders", desk.noon)
    assert (desk.states(), desk.attempt(queued).state) == (["done"], "returned")
    assert desk.states("second") == desk.states("third") == ["suppressed"]
    assert done(history(desk.ledger)) == [(ONE, "added", entry.reason)]


@pytest.mark.parametrize("outcome", [Outcome.BUSY, Outcome.FAX])
def test_only_the_outcomes_that_are_named_count(desk: "Desk", outcome: Outcome) -> None:
    """Nor does any without `[suppression]` in the campaign's file."""
    running(desk, **BARRING)
    running(desk, name="second")
    for claimed in desk.claim():
        desk.bring(claimed, AttemptState.PLACED)
        assert desk.ended(claimed, outcome)
    assert listed(desk) == []


def test_what_the_sandbox_makes_up_bars_no_real_call(desk: "Desk") -> None:
    """In a trial the number is suppressed for that campaign alone."""
    running(desk, exchange="sandbox", **BARRING)
    (claimed,) = desk.claim(exchange="sandbox")
    running(desk, name="second")
    assert isinstance(desk.dial(claimed, exchange="sandbox"), Order)
    assert desk.placed(claimed)
    assert desk.ended(claimed, Outcome.INVALID_NUMBER)
    assert listed(desk) == [(ONE, "reminders")]
    assert desk.states("second") == ["waiting"]


def test_a_word_that_comes_late_counts_too(desk: "Desk") -> None:
    """A call without an outcome turns out to have had a number that does not exist."""
    running(desk, **BARRING)
    (claimed,) = desk.claim()
    desk.bring(claimed, AttemptState.PLACED)
    assert desk.ended(claimed, Outcome.NO_OUTCOME)
    running(desk, name="second")
    this = (desk.ledger, claimed.attempt_id, Outcome.INVALID_NUMBER)
    assert mark_told_late(*this, ended_at=desk.noon, redial=lambda _: None)
    assert (listed(desk), desk.states("second")) == ([(ONE, None)], ["suppressed"])


def test_a_number_that_is_on_the_list_already_stays_as_it_is(desk: "Desk") -> None:
    """The first reason holds, and the history has it once."""
    running(desk, **BARRING)
    (claimed,) = desk.claim()
    desk.bring(claimed, AttemptState.PLACED)
    bar(desk, ONE)
    assert desk.ended(claimed, Outcome.INVALID_NUMBER)
    assert done(entries(desk.ledger)) == done(history(desk.ledger)) == [(ONE, "added", "asked to")]


# --- two at once, in PostgreSQL -----------------------------------------------------------------------------


@pytest.mark.parametrize("first", ["suppress", "claim"])
def test_suppressing_while_somebody_is_claimed(
    two_desks: "tuple[Desk, Desk]",
    at_once: Callable[..., Any],
    first: str,
) -> None:
    """Whichever comes first, nobody is queued when the command is through."""
    desk, other = two_desks
    running(desk, 3)
    one, two = (lambda: bar(other, ONE, TWO)), desk.claim
    if first == "claim":
        one, two = other.claim, (lambda: bar(desk, ONE, TWO))
    moving, coming = at_once(other.ledger, "UPDATE recipients", one, two)
    put, claims = sorted((moving.result(), coming.result()), key=lambda result: isinstance(result, list))
    assert put.withdrawn == 2
    # A round that comes in the middle may find nobody; the next one finds whoever may be called.
    claims += desk.claim()
    assert [claimed for claimed in claims if isinstance(desk.dial(claimed), Order)] == claims[-1:]
    assert desk.states() == ["suppressed", "suppressed", "in_progress"]


@pytest.mark.parametrize("first", ["suppress", "dial"])
def test_suppressing_while_the_task_is_delivered(
    two_desks: "tuple[Desk, Desk]",
    at_once: Callable[..., Any],
    first: str,
) -> None:
    """Either the call has left, and the command says so, or it does not leave any more."""
    desk, other = two_desks
    running(desk)
    (claimed,) = desk.claim()
    one, two = (lambda: bar(other, ONE)), (lambda: desk.dial(claimed))
    if first == "dial":
        one, two = (lambda: other.dial(claimed)), (lambda: bar(desk, ONE))
    moving, coming = at_once(other.ledger, "UPDATE attempts", one, two)
    results = (moving.result(), coming.result())
    if first == "dial":
        assert isinstance(results[0], Order)
        assert results[1] == Put(numbers=1, added=1, withdrawn=0, under_way=1)
        assert desk.states() == ["in_progress"]
    else:
        assert isinstance(results[1], NotNow)
        assert (desk.states(), desk.attempt(claimed).state) == (["suppressed"], "returned")


def test_suppressing_while_a_call_ends_so(
    two_desks: "tuple[Desk, Desk]",
    at_once: Callable[..., Any],
) -> None:
    """The number's own call puts it on the list at the same moment: no deadlock, and one entry."""
    desk, other = two_desks
    running(desk, **BARRING)
    (claimed,) = desk.claim()
    desk.bring(claimed, AttemptState.PLACED)
    running(desk, name="second")
    barring, ending = at_once(
        other.ledger,
        "INSERT INTO suppressions",
        lambda: bar(other, ONE),
        lambda: desk.ended(claimed, Outcome.INVALID_NUMBER),
    )
    assert (barring.result().withdrawn, ending.result()) == (1, True)
    assert done(history(desk.ledger)) == [(ONE, "added", "asked to")]
    assert (desk.states(), desk.states("second")) == (["done"], ["suppressed"])


def test_a_list_that_is_being_loaded_waits_or_is_waited_for(
    two_desks: "tuple[Desk, Desk]",
    at_once: Callable[..., Any],
) -> None:
    """Nobody gets in waiting past a number that is suppressed at the same moment."""
    desk, other = two_desks
    loading, barring = at_once(
        other.ledger, "INSERT INTO recipients", lambda: running(other, 2), lambda: bar(desk, ONE)
    )
    loading.result()
    assert barring.result().withdrawn == 1
    assert desk.states() == ["suppressed", "waiting"]
