import json
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import update

from campaigns.attempt import AttemptState, Outcome
from campaigns.explain import explain, explain_unknown, span
from campaigns.explain_view import at, in_doubt, told
from campaigns.ledger.claims import Claim
from campaigns.ledger.moves import mark_placed, mark_refused, mark_returned, mark_unknown
from campaigns.ledger.outcomes import mark_ended
from campaigns.ledger.requeues import Asked, ask_for_another, look
from campaigns.ledger.tables import recipients
from campaigns.ledger.unknowns import (
    Unknown,
    mark_found,
    mark_not_found,
    search_later,
    take_due_unknowns,
)
from campaigns.mistake import Mistake
from campaigns.redial import dial_again_unfound
from campaigns.stranger import Stranger

if TYPE_CHECKING:
    from tests.conftest import Desk

BUSY = {"max_attempts": 3, "busy": "10m"}
WHY = "ReadTimeoutError: AWS did not answer"


def clock(desk: "Desk", seconds: float = 0.0) -> str:
    """An instant as it is shown."""
    return at(desk.noon + timedelta(seconds=seconds))


def telling(desk: "Desk", text: str = "key-1", seconds: float = 0.0) -> list[str]:
    """One recipient's story in words, without the line on its list."""
    (story,) = explain(desk.ledger, "reminders", text, desk.noon)
    head, _, *rest = told(story, desk.noon + timedelta(seconds=seconds))
    return [head, *rest]


def running(desk: "Desk", count: int = 1, **tables: Any) -> list[Claim]:
    """A running campaign whose people's keys are key-1, key-2 …, and their first claims."""
    desk.load(desk.campaign(**tables), desk.people(count))
    desk.start()
    return desk.claim()


def unknown(desk: "Desk", claimed: Claim) -> None:
    """Dialed at noon, and unknown ten seconds later."""
    desk.dial(claimed)
    now = desk.noon + timedelta(seconds=10)
    settle_at = desk.noon + timedelta(seconds=20)
    assert mark_unknown(desk.ledger, claimed.attempt_id, claimed.fence, WHY, now=now, settle_at=settle_at)


def taken(desk: "Desk") -> list[Unknown]:
    """What is due to be searched for, in the order in which it was loaded."""
    late = desk.noon + timedelta(hours=1)
    due = take_due_unknowns(
        desk.ledger, exchange="connect", now=late, until=late, within=timedelta(minutes=1), limit=10
    )
    return sorted(due, key=lambda each: each.attempt_id)


def never_found(desk: "Desk") -> None:
    """The search for everything that is unknown is over, and the campaign's rule is applied."""
    for each in taken(desk):
        redial = dial_again_unfound(each.campaign.redial.when_unknown, each.not_found)
        assert not_found(desk, each, redial=redial)


def not_found(desk: "Desk", searched: Unknown, *, redial: bool) -> bool:
    """The search for one is over."""
    return mark_not_found(
        desk.ledger,
        searched.attempt_id,
        searched.fence,
        redial=redial,
        now=desk.noon,
        evidence="never found: 3 listed",
    )


def found(desk: "Desk", searched: Unknown, contact_id: str) -> bool:
    """Connect lists the call, which rang two seconds after noon."""
    rang = desk.noon + timedelta(seconds=2)
    return mark_found(
        desk.ledger,
        searched.attempt_id,
        searched.fence,
        Stranger(contact_id, rang, searched.phone),
        follow_at=rang,
        evidence="found among Connect's calls",
    )


def test_a_story_goes_from_the_list_to_what_comes_next(desk: "Desk") -> None:
    """The line, each attempt with its times, token, contact and outcome, the rule, and the next attempt."""
    (one,) = running(desk, redial=BUSY)
    desk.dial(one, now=desk.noon + timedelta(seconds=5))
    desk.placed(one, now=desk.noon + timedelta(seconds=6))
    desk.ended(one, Outcome.BUSY, redial_at=desk.noon + timedelta(minutes=10))
    (story,) = explain(desk.ledger, "reminders", "key-1", desk.noon)
    assert told(story, desk.noon) == [
        "+14150000001, key key-1: waiting (real calls)",
        f"  {clock(desk)}  loaded from line 2 of people.csv",
        f"  attempt 1, client token {one.client_token}",
        f"    {clock(desk)}  queued",
        f"    {clock(desk, 5)}  dialed",
        f"    {clock(desk, 6)}  placed: contact contact-{one.attempt_id}",
        f"    {clock(desk)}  ended: busy",
        "    rule: busy is dialed again after 10m, as attempt 2 of 3",
        f"  next, {clock(desk, 600)}: attempt 2 is dialed",
    ]
    (two,) = desk.claim(now=desk.noon + timedelta(minutes=10))
    assert telling(desk)[7:] == [
        f"  attempt 2, client token {two.client_token}",
        f"    {clock(desk, 600)}  queued",
        "  next: a worker dials it when it gets a slot",
    ]


def test_a_call_that_was_found_tells_why_it_was_searched_for(desk: "Desk") -> None:
    """Unknown, found among Connect's calls, ended: one attempt with all three, and the outcome's rule."""
    (one,) = running(desk, redial=BUSY)
    unknown(desk, one)
    (searched,) = taken(desk)
    assert found(desk, searched, "c-1")
    desk.ended(one, Outcome.BUSY, redial_at=desk.noon + timedelta(minutes=10))
    assert telling(desk)[3:] == [
        f"    {clock(desk)}  dialed",
        f"    {clock(desk, 10)}  unknown, it may have rung: {WHY}",
        f"    {clock(desk, 2)}  placed: contact c-1, found among Connect's calls",
        f"    {clock(desk)}  ended: busy",
        "    rule: busy is dialed again after 10m, as attempt 2 of 3",
        f"  next, {clock(desk, 600)}: attempt 2 is dialed",
    ]
    assert explain_unknown(desk.ledger, "reminders", desk.noon) == []


def test_a_late_answer_is_told_as_one(desk: "Desk") -> None:
    """Nobody found the call: its own worker came back with the contact."""
    (one,) = running(desk)
    unknown(desk, one)
    desk.placed(one, now=desk.noon + timedelta(seconds=40))
    assert telling(desk)[3:] == [
        f"    {clock(desk)}  dialed",
        f"    {clock(desk, 10)}  unknown, it may have rung",
        f"    {clock(desk, 40)}  placed: contact contact-{one.attempt_id}, by an answer that came late",
        "  next, due now: Connect is asked how the call ended",
    ]


@pytest.mark.parametrize(
    ("when_unknown", "becomes"),
    [
        ("redial", "dialed again, as attempt 2"),
        (None, "dialed again, as attempt 2"),
        ("hold", 'held, as the campaign says: when_unknown = "hold"'),
    ],
)
def test_what_is_searched_for_tells_what_happens_then(
    desk: "Desk", when_unknown: str | None, becomes: str
) -> None:
    """Why it is unknown, what the last search has shown, when the next is, and what follows if all fail."""
    (one,) = running(desk, redial={"when_unknown": when_unknown})
    unknown(desk, one)
    assert telling(desk)[3:] == [
        f"    {clock(desk)}  dialed",
        f"    {clock(desk, 10)}  unknown, it may have rung: {WHY}",
        "    not searched for yet",
        f"    rule: if it is never found, it is {becomes}",
        f"  next, {clock(desk, 20)}: it is searched for in Connect",
    ]
    later = desk.noon + timedelta(seconds=40)
    search_later(desk.ledger, [(taken(desk)[0], later)], hold=False, evidence="not found yet: 3 listed")
    assert telling(desk)[5] == "    not found yet: 3 listed"
    assert telling(desk)[-1] == f"  next, {clock(desk, 40)}: it is searched for in Connect"


def test_a_call_that_was_never_found_is_followed_by_another(desk: "Desk") -> None:
    """The old attempt stays unknown, with what the searches have shown; the new one stands below it."""
    (one,) = running(desk)
    unknown(desk, one)
    never_found(desk)
    assert telling(desk)[4:] == [
        f"    {clock(desk, 10)}  unknown, it may have rung: {WHY}",
        "    never found: 3 listed",
        "    rule: a call that is never found counts as never placed, and is dialed again",
        "  next, due now: attempt 2 is dialed",
    ]
    (two,) = desk.claim()
    desk.bring(two, AttemptState.ENDED)
    lines = telling(desk)
    assert lines[6] == "    rule: a call that is never found counts as never placed, and is dialed again"
    assert lines[-3:] == [
        f"    {clock(desk)}  ended: answered",
        "    rule: answered is not dialed again",
        "  next: nothing",
    ]


def test_whoever_is_never_found_again_and_again_is_held(desk: "Desk") -> None:
    """After three attempts that were not found a person has to look, and the story says so."""
    for claims in (running(desk), desk.claim, desk.claim):
        (claimed,) = claims() if callable(claims) else claims
        unknown(desk, claimed)
        never_found(desk)
    lines = telling(desk)
    assert lines[0] == "+14150000001, key key-1: held (real calls)"
    assert lines[-2:] == [
        "    rule: held: 3 attempts were not found, so a person has to look at it",
        "  next: nobody can tell whether it rang, and it is not dialed again by itself; "
        "look for the call in Connect's contact search; "
        "another attempt for all who are held: dialer requeue reminders --outcome unknown",
    ]


def test_whoever_is_held_for_want_of_evidence_is_told_apart(desk: "Desk") -> None:
    """While searches go on, it says when and what then; once they are given up, that none could tell."""
    (one,) = running(desk)
    unknown(desk, one)
    (searched,) = taken(desk)
    search_later(
        desk.ledger, [(searched, desk.noon + timedelta(minutes=9))], hold=True, evidence="nobody can tell: x"
    )
    assert telling(desk)[-3:] == [
        "    nobody can tell: x",
        "    rule: if it is never found, it is dialed again, as attempt 2",
        f"  next, {clock(desk, 540)}: it is searched for in Connect again; "
        "until then nobody can tell whether it rang, and it is not dialed again by itself",
    ]
    (searched,) = taken(desk)
    search_later(desk.ledger, [(searched, None)], hold=True, evidence="nobody can tell: y")
    assert telling(desk)[-3:-1] == [
        "    nobody can tell: y",
        "    rule: held: no search could tell whether it rang",
    ]


def test_nobody_is_dialed_again_in_a_cancelled_campaign(desk: "Desk") -> None:
    """The rules are told, and that the campaign is cancelled comes before them."""
    one, two = running(desk, 2, redial=BUSY)
    unknown(desk, one)
    desk.bring(two, AttemptState.PLACED)
    desk.cancel()
    desk.ended(two, Outcome.BUSY, redial_at=desk.noon + timedelta(minutes=10))
    assert telling(desk)[-2] == (
        "    rule: if it is never found, it is not dialed again: the campaign is cancelled"
    )
    never_found(desk)
    assert telling(desk)[-2:] == [
        "    rule: if it is never found, it is not dialed again: the campaign is cancelled",
        "  next: nothing: the campaign is cancelled",
    ]
    assert telling(desk, "key-2")[-2:] == [
        "    rule: busy is dialed again after 10m, as attempt 2 of 3; but the campaign is cancelled",
        "  next: nothing",
    ]


def test_the_last_attempt_is_called_the_last(desk: "Desk") -> None:
    """The rule says why nothing follows."""
    (one,) = running(desk, redial={"max_attempts": 1, "busy": "10m"})
    desk.bring(one, AttemptState.PLACED)
    desk.ended(one, Outcome.BUSY)
    assert telling(desk)[-2:] == ["    rule: attempt 1 of 1 was the last", "  next: nothing"]


def test_rules_that_have_changed_since_are_no_contradiction(desk: "Desk") -> None:
    """What happened by the choices of its time is not taken for what the present ones would have done."""
    one, two = running(desk, 2, redial=BUSY)
    for claimed, redial_at in ((one, desk.noon), (two, None)):
        desk.bring(claimed, AttemptState.PLACED)
        desk.ended(claimed, Outcome.BUSY, redial_at=redial_at)
    assert telling(desk, "key-2")[-2] == (
        "    rule: busy is dialed again after 10m, as attempt 2 of 3; "
        "but the campaign said otherwise when it ended"
    )
    assert len(desk.claim()) == 1  # or the new rules would take the redial back
    desk.load(desk.campaign(redial={"max_attempts": 1}), [])
    said_otherwise = "    rule: busy is not dialed again; but the campaign said otherwise when it ended"
    assert said_otherwise in telling(desk, "key-1")
    assert telling(desk, "key-2")[-2] == "    rule: busy is not dialed again"


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (AttemptState.QUEUED, ["next: a worker dials it when it gets a slot"]),
        (
            AttemptState.RETURNED,
            [
                "returned, nothing is charged for it: no slot within reach",
                "next, due now: attempt 1 is dialed, with the same token",
            ],
        ),
        (AttemptState.DIALING, ["next, {+30}: it is unknown, unless Connect's answer comes before"]),
        (AttemptState.PLACED, ["next, due now: Connect is asked how the call ended"]),
        (AttemptState.ENDED, ["{0}  ended: answered", "rule: answered is not dialed again", "next: nothing"]),
        (
            AttemptState.REFUSED,
            [
                "{0}  refused by Connect, it did not ring: DestinationNotAllowed",
                "rule: a call that Connect refuses is not dialed again",
                "next: nothing",
            ],
        ),
        (
            AttemptState.UNKNOWN,
            [
                "{0}  unknown, it may have rung: no answer in time",
                "not searched for yet",
                "rule: if it is never found, it is dialed again, as attempt 2",
                "next, due now: it is searched for in Connect",
            ],
        ),
    ],
)
def test_every_state_has_an_end_and_a_next(desk: "Desk", state: AttemptState, expected: list[str]) -> None:
    """Wherever an attempt stands, its story says how it got there and what comes next."""
    (one,) = running(desk)
    desk.bring(one, state)
    times = {"{0}": clock(desk), "{+30}": clock(desk, 30)}
    for sign, time in times.items():
        expected = [line.replace(sign, time) for line in expected]
    assert [line.strip() for line in telling(desk)[-len(expected) :]] == expected


def test_a_second_claim_is_told(desk: "Desk") -> None:
    """An attempt that came back was queued more than once, under its one token."""
    (one,) = running(desk)
    desk.bring(one, AttemptState.RETURNED)
    desk.claim()
    assert telling(desk)[1:3] == [
        f"  attempt 1, client token {one.client_token}",
        f"    {clock(desk)}  queued, for the 2nd time",
    ]


def test_a_doubt_that_was_cleared_up_is_not_told_of_the_next_ring(desk: "Desk") -> None:
    """A late answer says that it never rang; the attempt is dialed again, and that time without any doubt."""
    (one,) = running(desk)
    unknown(desk, one)
    back = desk.noon + timedelta(seconds=30)
    assert mark_returned(desk.ledger, one.attempt_id, one.fence, "ThrottlingException: later", due_at=back)
    assert telling(desk)[-2:] == [
        "    returned, nothing is charged for it: ThrottlingException: later",
        f"  next, {clock(desk, 30)}: attempt 1 is dialed, with the same token",
    ]
    (again,) = desk.claim(now=back)
    desk.dial(again, now=back)
    desk.placed(again, now=back)
    assert "unknown" not in " ".join(telling(desk))


def test_a_late_refusal_is_told_after_the_doubt(desk: "Desk") -> None:
    """Unknown first, and refused in the end."""
    (one,) = running(desk)
    unknown(desk, one)
    assert mark_refused(
        desk.ledger, one.attempt_id, one.fence, "DestinationNotAllowed", now=desk.noon + timedelta(seconds=30)
    )
    assert telling(desk)[4:6] == [
        f"    {clock(desk, 10)}  unknown, it may have rung",
        f"    {clock(desk, 30)}  refused by Connect, it did not ring: DestinationNotAllowed",
    ]


def test_whoever_waits_is_told_for_what(desk: "Desk") -> None:
    """A campaign that is not started, or paused, and a number that is suppressed keep people waiting."""
    desk.load(desk.campaign(), desk.people(1))
    assert telling(desk)[1:] == [
        "  next, due now: attempt 1 is dialed, once the campaign is started: dialer start reminders, "
        "or for a trial: dialer start reminders --sandbox"
    ]
    desk.start()
    assert telling(desk)[1:] == ["  next, due now: attempt 1 is dialed"]
    desk.pause()
    assert telling(desk)[1:] == [
        "  next, due now: attempt 1 is dialed, once the campaign goes on: dialer resume reminders "
        "(paused: by an operator)"
    ]
    desk.suppress("+14150000001")
    assert telling(desk) == [
        "+14150000001, key key-1: waiting (real calls)",
        f"  {clock(desk)}  on the suppression list: asked to",
        "  next: it is not dialed: the number is on the suppression list by now",
    ]


def test_whoever_is_never_dialed_is_told_why(desk: "Desk") -> None:
    """Suppressed when the list was loaded, and given up with the campaign."""
    people = desk.people(2)
    desk.suppress(people[0].phone)
    desk.load(desk.campaign(), people)
    desk.cancel()
    assert telling(desk)[0] == "+14150000001, key key-1: suppressed"
    assert telling(desk)[-1] == "  next: nothing: the number is on the suppression list"
    assert telling(desk, "key-2")[-1] == "  next: nothing: the campaign is cancelled"


def test_calls_that_nobody_follows_end_their_story(desk: "Desk") -> None:
    """Where outcomes are not asked for, the recipient is done with the placed call, and it says why."""
    (one,) = running(desk)
    desk.dial(one)
    desk.placed(one, follow_at=None)
    assert telling(desk)[-1] == (
        "  next: nothing: nobody asks Connect how calls end (DIALER_FOLLOW_SECONDS=0)"
    )


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("+14155550101", ["a", "b"]),
        ("(415) 555-0101", ["a", "b"]),
        ("tel:+1-415-555-0101", ["a", "b"]),
        ("4155550102", ["4155550103", "c"]),
        ("4155550103", ["4155550103"]),
        (" a ", ["a"]),
    ],
)
def test_a_recipient_is_found_as_the_list_would_write_it(desk: "Desk", text: str, keys: list[str]) -> None:
    """By the number in any form that the campaign's list may have it in, or by the key; all who have it."""
    first, *_ = desk.people(1)
    people = [
        replace(first, line=line, key=key, phone=phone)
        for line, (key, phone) in enumerate(
            [
                ("4155550103", "+14155550102"),
                ("a", "+14155550101"),
                ("b", "+14155550101"),
                ("c", "+14155550102"),
            ],
            start=2,
        )
    ]
    desk.load(desk.campaign(list={"default_region": "US"}), people)
    stories = explain(desk.ledger, "reminders", text, desk.noon)
    assert [story.record.recipient.key for story in stories] == keys


def test_whoever_is_not_there_is_said_in_one_line(desk: "Desk") -> None:
    """With where else to look, and whether the number is suppressed; a campaign that is not there as ever."""
    desk.load(desk.campaign(), desk.people(1))
    desk.load(desk.campaign("second"), [replace(desk.people(1)[0], phone="+14155550101")])
    desk.suppress("+14155550102")
    for text, words in (
        ("4155550101", "nobody in reminders has the key '4155550101'; as a number it has no country code; "),
        ("Ana", "nobody in reminders has the key 'Ana'; as a number it is not a telephone number; "),
        ("+14155550101", "nobody in reminders has the number +14155550101; it is in: second"),
        (
            "+14155550102",
            "nobody in reminders has the number +14155550102; it is on the suppression list; "
            "look for it among the list's rejected rows",
        ),
    ):
        with pytest.raises(Mistake) as said:
            explain(desk.ledger, "reminders", text, desk.noon)
        assert str(said.value).startswith(words)
        assert "\n" not in str(said.value)
    with pytest.raises(Mistake, match="did you mean reminders"):
        explain(desk.ledger, "reminder", "+14155550101", desk.noon)


def test_a_person_of_another_campaign_is_not_told_of(desk: "Desk") -> None:
    """One number in two campaigns has two stories."""
    desk.load(desk.campaign(), desk.people(1))
    desk.load(desk.campaign("second"), desk.people(1))
    (story,) = explain(desk.ledger, "second", "key-1", desk.noon)
    assert story.record.recipient.run_id == desk.run("second").id


@pytest.mark.parametrize("asked_again", [True, False])
def test_a_call_that_connect_refuses_to_tell_of_is_in_doubt(desk: "Desk", asked_again: bool) -> None:
    """It ended without an outcome and its recipient is held: why, what the rule is, and the way out."""
    (claimed,) = running(desk, redial={"max_attempts": 3, "no_outcome": "10m"})
    desk.bring(claimed, AttemptState.PLACED)
    assert mark_ended(
        desk.ledger,
        claimed.attempt_id,
        Outcome.NO_OUTCOME,
        ended_at=desk.noon,
        redial=lambda _: None,
        reason="Connect has refused to tell for a day",
        look_again_at=desk.noon + timedelta(hours=1) if asked_again else None,
        hold=True,
    )
    lines = in_doubt("reminders", explain_unknown(desk.ledger, "reminders", desk.noon), desk.noon)
    assert lines[0] == "reminders: 0 searched for in Connect, 1 held"
    assert lines[-3:-1] == [
        f"    {clock(desk)}  ended: no_outcome: Connect has refused to tell for a day",
        "    rule: held: Connect has not told how the call ended, and it is not dialed again by itself",
    ]
    begins = (
        f"  next, {clock(desk, 3600)}: Connect is asked again" if asked_again else "  next: it is not dialed"
    )
    assert lines[-1].startswith(begins)
    assert lines[-1].endswith("dialer requeue reminders --outcome no_outcome")


def test_all_in_doubt_in_one_list(desk: "Desk") -> None:
    """Searched for and held people have a block each; whoever was found, or is dialed again, has none."""
    claims = running(desk, 5)
    for claimed in claims[:4]:
        unknown(desk, claimed)
    searched = taken(desk)
    later = desk.noon + timedelta(seconds=40)
    search_later(desk.ledger, [(searched[0], later)], hold=False, evidence="not found yet: 3 listed")
    search_later(desk.ledger, [(searched[1], None)], hold=True, evidence="nobody can tell: x")
    assert not_found(desk, searched[2], redial=True)
    assert found(desk, searched[3], "c-4")
    assert in_doubt("reminders", explain_unknown(desk.ledger, "reminders", desk.noon), desk.noon) == [
        "reminders: 1 searched for in Connect, 1 held",
        "+14150000001, key key-1, line 2 of people.csv: searched for",
        f"  attempt 1, client token {claims[0].client_token}",
        f"    {clock(desk)}  queued",
        f"    {clock(desk)}  dialed",
        f"    {clock(desk, 10)}  unknown, it may have rung: {WHY}",
        "    not found yet: 3 listed",
        "    rule: if it is never found, it is dialed again, as attempt 2",
        f"  next, {clock(desk, 40)}: it is searched for in Connect",
        "+14150000002, key key-2, line 3 of people.csv: held",
        f"  attempt 1, client token {claims[1].client_token}",
        f"    {clock(desk)}  queued",
        f"    {clock(desk)}  dialed",
        f"    {clock(desk, 10)}  unknown, it may have rung: {WHY}",
        "    nobody can tell: x",
        "    rule: held: no search could tell whether it rang",
        "  next: nobody can tell whether it rang, and it is not dialed again by itself; "
        "look for the call in Connect's contact search; "
        "another attempt for all who are held: dialer requeue reminders --outcome unknown",
    ]


def test_nobody_in_doubt_is_said_too(desk: "Desk") -> None:
    """An empty answer is a line, not silence."""
    running(desk)
    assert in_doubt("reminders", explain_unknown(desk.ledger, "reminders", desk.noon), desk.noon) == [
        "reminders: there is no call of which nobody can tell whether it rang"
    ]


def test_a_story_for_machines(desk: "Desk") -> None:
    """The same with ISO instants and the ledger's own words."""
    (one,) = running(desk)
    unknown(desk, one)
    (story,) = explain(desk.ledger, "reminders", "key-1", desk.noon)
    assert json.loads(json.dumps(story.as_json())) == {
        "run": 1,
        "key": "key-1",
        "phone": "+14150000001",
        "file": "people.csv",
        "line": 2,
        "loaded_at": "2026-03-02T12:00:00.000+00:00",
        "state": "in_progress",
        "dropped_by": None,
        "history": [],
        "suppressed_at": None,
        "suppressed_because": None,
        "suppressions": [],
        "exchange": "connect",
        "attempts": [
            {
                "number": 1,
                "state": "unknown",
                "client_token": one.client_token,
                "contact_id": None,
                "outcome": None,
                "reason": WHY,
                "evidence": None,
                "queued_at": "2026-03-02T12:00:00.000+00:00",
                "dialed_at": "2026-03-02T12:00:00.000+00:00",
                "unknown_at": "2026-03-02T12:00:10.000+00:00",
                "next_search_at": "2026-03-02T12:00:20.000+00:00",
                "placed_at": None,
                "next_look_at": None,
                "stopped_at": None,
                "ended_at": None,
                "requeued_at": None,
                "replays": 0,
                "rule": "if it is never found, it is dialed again, as attempt 2",
            }
        ],
        "rules": None,
        "next": {"what": "it is searched for in Connect", "at": "2026-03-02T12:00:20.000+00:00"},
    }


def test_what_an_operator_asked_for_is_told(desk: "Desk") -> None:
    """The wish stands with the attempt that it follows, against the rule, and is what comes next."""
    first, second, third = running(desk, 3)
    for claimed in (first, second):
        desk.dial(claimed)
    desk.placed(first)
    desk.ended(first, Outcome.BUSY)
    mark_refused(desk.ledger, second.attempt_id, second.fence, "X: no", now=desk.noon)
    unknown(desk, third)
    assert not_found(desk, taken(desk)[0], redial=False)
    asked = Asked(frozenset({Outcome.BUSY}), refused=True, unknown=True)
    everybody = look(desk.ledger, desk.run().id, asked, desk.noon).attempt_ids
    later = desk.noon + timedelta(minutes=1)
    assert ask_for_another(desk.ledger, desk.run(), asked, everybody, later) == 3
    rules = (
        "busy is not dialed again",
        "a call that Connect refuses is not dialed again",
        "what nobody can tell is not dialed again by itself",
    )
    for key, rule in zip(("key-1", "key-2", "key-3"), rules, strict=True):
        lines = telling(desk, key)
        assert lines[-3:] == [
            f"    {clock(desk, 60)}  an operator asked for another attempt",
            f"    rule: {rule}; but an operator asked for another attempt",
            f"  next, {clock(desk, 60)}: attempt 2 is dialed, as an operator asked",
        ]
    (story,) = explain(desk.ledger, "reminders", "key-1", desk.noon)
    assert story.as_json()["attempts"][0]["requeued_at"] == "2026-03-02T12:01:00.000+00:00"


def test_a_wish_comes_before_the_answer_that_came_too_late_for_it(desk: "Desk") -> None:
    """What is told of an unknown attempt stands in the order in which it happened."""
    (one,) = running(desk)
    unknown(desk, one)
    assert not_found(desk, taken(desk)[0], redial=False)
    asked = Asked(unknown=True)
    ids = look(desk.ledger, desk.run().id, asked, desk.noon).attempt_ids
    assert ask_for_another(desk.ledger, desk.run(), asked, ids, desk.noon + timedelta(seconds=30)) == 1
    (two,) = desk.claim(now=desk.noon + timedelta(seconds=30))
    desk.dial(two)
    heard = desk.noon + timedelta(seconds=40)
    assert mark_placed(desk.ledger, one.attempt_id, one.fence, "late", now=heard, follow_at=None)
    assert telling(desk)[3:7] == [
        f"    {clock(desk)}  dialed",
        f"    {clock(desk, 10)}  unknown, it may have rung",
        f"    {clock(desk, 30)}  an operator asked for another attempt",
        f"    {clock(desk, 40)}  placed: contact late, by an answer that came late",
    ]


@pytest.mark.parametrize(
    ("seconds", "words"), [(30, "30s"), (90, "90s"), (600, "10m"), (7_200, "2h"), (86_400, "1d"), (0, "0s")]
)
def test_a_wait_reads_as_in_the_campaign_file(seconds: int, words: str) -> None:
    """In the largest unit that divides it."""
    assert span(timedelta(seconds=seconds)) == words


HOURS = {"calling_hours": {"weekdays": "09:00-20:00", "preset": "us-federal"}}


def in_denver(desk: "Desk", **tables: Any) -> None:
    """A running campaign with one person, who lives there by the list and by the number."""
    person = replace(
        desk.people(1)[0], phone="+13035550101", zones="America/Denver", time_zone="America/Denver"
    )
    desk.load(desk.campaign(**(HOURS | tables)), [person])
    desk.start()


def test_who_waits_for_calling_hours_is_told_which(desk: "Desk") -> None:
    """Whose clocks count and by whom, each rule with its window, and the first instant that all allow."""
    in_denver(desk)
    assert telling(desk)[1:] == [
        "  time zone: America/Denver (by the list and the number)",
        "  calling_hours: closed, next 09:00-20:00 America/Denver (in 4 h)",
        "  us-federal: closed, next 08:00-21:00 America/Denver (in 3 h)",
        f"  next, {clock(desk, 4 * 3600)}: attempt 1 is dialed",
    ]
    assert telling(desk, seconds=5 * 3600)[2:] == [
        "  calling_hours: open until 20:00 America/Denver",
        "  us-federal: open until 21:00 America/Denver",
        "  next, due now: attempt 1 is dialed",
    ]


def test_a_redial_in_the_night_is_told_for_the_morning(desk: "Desk") -> None:
    """The first open instant from when it is due, not the redial's time."""
    in_denver(desk)
    with desk.ledger.write() as db:
        db.execute(update(recipients).values(due_at=desk.noon + timedelta(hours=20)))
    assert telling(desk)[-1] == f"  next, {clock(desk, 28 * 3600)}: attempt 1 is dialed"


def test_a_limit_is_told_with_the_calls_that_count(desk: "Desk") -> None:
    """Which calls of which campaigns, when the next is allowed, and that the next call waits for it."""
    phone = desk.people(1)
    desk.load(desk.campaign("other"), phone)
    desk.start("other")
    desk.bring(desk.claim()[0], AttemptState.ENDED)
    desk.load(desk.campaign(limits={"per_number_per_day": 1, "per_number_per_week": 3}), phone)
    desk.start()
    # Not claimed before, so that no exchange is known yet: then the real one's calls count.
    lines = telling(desk, seconds=3600)
    assert lines[1:] == [
        f"  limit: 1 of 1 call in 24 hours ({clock(desk)} by other); the next is allowed in 23 h",
        f"  limit: 1 of 3 calls in 168 hours ({clock(desk)} by other)",
        f"  next, {clock(desk, 86_400)}: attempt 1 is dialed",
    ]
    (story,) = explain(desk.ledger, "reminders", "key-1", desk.noon + timedelta(hours=1))
    day, week = story.as_json()["rules"]["limits"]
    assert (day["allowed_again_at"], week["allowed_again_at"]) == ("2026-03-03T12:00:00+00:00", None)
    assert day["counted"] == [{"dialed_at": "2026-03-02T12:00:00+00:00", "campaign": "other"}]


@pytest.mark.parametrize(
    ("state", "next_line"),
    [
        (AttemptState.DIALING, "a call to this number is on its way; looked at again in moments"),
        (
            AttemptState.UNKNOWN,
            "a call to this number is searched for in Connect; looked at again in minutes",
        ),
    ],
)
def test_a_call_that_may_not_have_rung_is_no_wait_of_a_day(
    desk: "Desk", state: AttemptState, next_line: str
) -> None:
    """While it is open whether the call that counts rings, nobody is put off until tomorrow for it."""
    phone = desk.people(1)
    desk.load(desk.campaign("other"), phone)
    desk.start("other")
    desk.bring(desk.claim()[0], state)
    desk.load(desk.campaign(limits={"per_number_per_day": 1}), phone)
    desk.start()
    assert telling(desk)[1:] == [
        f"  limit: 1 of 1 call in 24 hours ({clock(desk)} by other); "
        "whether the next is allowed is known when it is known whether that rings",
        f"  next, due now: {next_line}",
    ]
    (story,) = explain(desk.ledger, "reminders", "key-1", desk.noon)
    (limit,) = story.as_json()["rules"]["limits"]
    assert limit["undecided"]


@pytest.mark.parametrize(
    ("hours", "next_line"),
    [
        (3, "  next, {}: it expires: no rule allows a call before that"),
        (9, "  next, {}: attempt 1 is dialed"),
    ],
)
def test_a_reminder_tells_its_appointment(desk: "Desk", hours: int, next_line: str) -> None:
    """Which reminder of which appointment, when it expires, and whether it is called before."""
    in_denver(desk)
    appointment = desk.noon + timedelta(hours=hours)
    with desk.ledger.write() as db:
        values = {"appointment_at": appointment, "expires_at": appointment, "reminder": "24h"}
        db.execute(update(recipients).values(values))
    assert telling(desk)[4:] == [
        f"  appointment: {clock(desk, hours * 3600)}; this is its 24h reminder",
        f"  expires: {clock(desk, hours * 3600)}; from then on it is not called",
        next_line.format(clock(desk, min(hours, 4) * 3600)),
    ]


def test_who_may_never_be_called_is_told_so(desk: "Desk") -> None:
    """Without a time zone nothing is promised; with a fallback, it says that this is whose clock counts."""
    desk.load(desk.campaign(**HOURS), desk.people(1))
    desk.start()
    assert telling(desk)[1:] == [
        "  time zone: none is known; set fallback_time_zone in [calling_hours], or load it with a time zone",
        "  next: it is not dialed: its calling hours are never open",
    ]
    desk.load(
        desk.campaign(calling_hours=HOURS["calling_hours"] | {"fallback_time_zone": "Europe/Berlin"}), []
    )
    assert telling(desk)[1] == "  time zone: Europe/Berlin (by fallback_time_zone)"


def test_the_rules_are_told_to_machines(desk: "Desk") -> None:
    """The same as in words, with instants."""
    in_denver(desk)
    (story,) = explain(desk.ledger, "reminders", "key-1", desk.noon)
    found = json.loads(json.dumps(story.as_json()))
    assert found["next"] == {"what": "attempt 1 is dialed", "at": "2026-03-02T16:00:00.000+00:00"}
    assert found["rules"]["time_zones"] == [{"zone": "America/Denver", "said_by": ["the list", "the number"]}]
    assert found["rules"]["calling_hours"][0] == {
        "rule": "calling_hours",
        "opens_at": "2026-03-02T16:00:00+00:00",
        "closes_at": "2026-03-03T03:00:00+00:00",
        "time_zone": "America/Denver",
        "not_known": None,
    }
