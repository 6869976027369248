import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event, text

from campaigns.attempt import AttemptState, Outcome
from campaigns.campaign import Campaign
from campaigns.ledger import Ledger
from campaigns.ledger.claims import bring_forward
from campaigns.ledger.expiry import expire
from campaigns.ledger.lists import Loaded, _count_suppressed
from campaigns.ledger.moves import NotNow, Order, mark_returned
from campaigns.ledger.readmissions import remove_numbers
from campaigns.ledger.requeues import Asked, look
from campaigns.ledger.runs import finish
from campaigns.ledger.suppressions import Number, put_numbers, withdraw
from campaigns.ledger.tables import EVERY_CAMPAIGN
from campaigns.load import load
from campaigns.mistake import Mistake
from campaigns.recipient import Recipient

if TYPE_CHECKING:
    from tests.conftest import Desk

HOUR = timedelta(hours=1)
REMINDER = {"at": "when", "before": "2h"}


def reminding(desk: "Desk", **reminder: Any) -> Campaign:
    return desk.campaign(reminder=REMINDER | reminder)


def person(desk: "Desk", key: str, in_hours: float, line: int = 2, which: str | None = None) -> Recipient:
    """Somebody with an appointment so many hours after noon, due at once."""
    at = desk.noon + in_hours * HOUR
    one = replace(desk.people(1)[0], line=line, key=f"{key} {which}" if which else key)
    return replace(one, appointment_at=at, reminder=which, due_at=desk.noon, expires_at=at)


def numbers(loaded: Loaded) -> tuple[int, int, int, int, int, int]:
    """rows, accepted, duplicates, rejected, suppressed; and of these, moved."""
    return (
        loaded.rows,
        loaded.accepted,
        loaded.duplicates,
        loaded.rejected,
        loaded.suppressed,
        loaded.moved,
    )


def standing(desk: "Desk") -> list[tuple[int, str, str, float]]:
    """(run, key, state, hours from noon to the appointment) of everybody in the ledger."""
    query = "SELECT run_id, key, state, appointment_at FROM recipients ORDER BY id"
    since = int(desk.noon.timestamp()) * 1_000_000
    with desk.ledger.read() as db:
        first = db.execute(text("SELECT min(id) FROM runs")).scalar_one()
        rows = db.execute(text(query)).all()
    return [
        (row.run_id - first + 1, row.key, row.state, (row.appointment_at - since) / 3.6e9) for row in rows
    ]


def next_run(desk: "Desk", name: str = "reminders") -> None:
    """What a schedule does at its fire time: the campaign has one more run."""
    with desk.ledger.write() as db:
        db.execute(
            text(
                "INSERT INTO runs (campaign_id, number, state, loaded_at, exchange) SELECT campaign_id, "
                "max(number) + 1, 'running', max(loaded_at), 'connect' FROM runs GROUP BY 1"
            )
        )


def called(desk: "Desk", now: datetime | None = None) -> list[str]:
    """Everybody who can be called now is; their keys."""
    for claimed in desk.claim(now=now or desk.noon):
        assert isinstance(desk.dial(claimed, now=now or desk.noon), Order)
        assert desk.placed(claimed)
        assert desk.ended(claimed)
    query = "SELECT key FROM recipients JOIN attempts ON recipients.id = recipient_id ORDER BY attempts.id"
    with desk.ledger.read() as db:
        return list(db.execute(text(query)).scalars())


def test_an_appointment_is_entered_once_whatever_the_runs(desk: "Desk") -> None:
    """Tomorrow's list has an appointment that today's had too: it is a duplicate, called or not."""
    desk.load(reminding(desk), [person(desk, "A", 3), person(desk, "B", 4, line=3)])
    desk.start()
    for claimed in desk.claim(keep_queued=1):
        desk.bring(claimed, AttemptState.ENDED)
    next_run(desk)
    people = [person(desk, "A", 3), person(desk, "B", 4, line=3), person(desk, "C", 5, line=4)]
    assert numbers(desk.load(reminding(desk), people)) == (3, 1, 2, 0, 0, 0)
    assert standing(desk) == [(1, "A", "done", 3), (1, "B", "waiting", 4), (2, "C", "waiting", 5)]
    assert called(desk) == ["A", "B", "C"]


def test_a_cancelled_run_counts_for_whom_it_has_called(desk: "Desk") -> None:
    """Who was called before the run was cancelled is not called again; who was not is entered anew."""
    desk.load(reminding(desk), [person(desk, "A", 3), person(desk, "B", 4, line=3)])
    desk.start()
    for claimed in desk.claim(keep_queued=1):
        desk.bring(claimed, AttemptState.ENDED)
    desk.cancel()
    next_run(desk)
    people = [person(desk, "A", 3), person(desk, "B", 4, line=3)]
    assert numbers(desk.load(reminding(desk), people)) == (2, 1, 1, 0, 0, 0)
    assert standing(desk) == [(1, "A", "done", 3), (1, "B", "cancelled", 4), (2, "B", "waiting", 4)]


def test_other_campaigns_have_appointments_of_their_own(desk: "Desk") -> None:
    """The same key and time in another campaign is somebody else."""
    desk.load(reminding(desk), [person(desk, "A", 3)])
    other = desk.campaign("other", reminder=REMINDER)
    assert numbers(desk.load(other, [person(desk, "A", 3)])) == (1, 1, 0, 0, 0, 0)


def test_a_moved_appointment_takes_the_place_of_the_old_time(desk: "Desk") -> None:
    """In the same run it is the same recipient, with the new row and the new times, and is called once."""
    desk.load(reminding(desk), [person(desk, "A", 3)])
    new = replace(person(desk, "A", 5, line=7), phone="+14155550177", row={"x": "y"}, attributes={"T": "5"})
    loaded = desk.load(reminding(desk), [new])
    assert numbers(loaded) == (1, 0, 1, 0, 0, 1)
    (row,) = desk.recipients()
    assert (row.key, row.state, row.line, row.phone, row.row, row.attributes, row.expires_at) == (
        "A",
        "waiting",
        7,
        "+14155550177",
        {"x": "y"},
        {"T": "5"},
        desk.noon + 5 * HOUR,
    )
    desk.start()
    assert called(desk) == ["A"]


def test_a_moved_appointment_leaves_an_earlier_run(desk: "Desk") -> None:
    """In a later run it is entered there, and the old time expires, queued or not."""
    desk.load(reminding(desk), [person(desk, "A", 3), person(desk, "B", 3, line=3)])
    desk.start()
    (queued,) = desk.claim(keep_queued=1)
    next_run(desk)
    loaded = desk.load(reminding(desk), [person(desk, "A", 5), person(desk, "B", 6, line=3)])
    assert numbers(loaded) == (2, 2, 0, 0, 0, 2)
    assert standing(desk) == [
        (1, "A", "expired", 3),
        (1, "B", "expired", 3),
        (2, "A", "waiting", 5),
        (2, "B", "waiting", 6),
    ]
    assert (desk.attempt(queued).state, desk.attempt(queued).reason) == (
        "returned",
        "the appointment has moved",
    )
    assert isinstance(desk.dial(queued), NotNow)


def test_who_was_called_is_called_for_the_new_time_too(desk: "Desk") -> None:
    """After a call for the old time, the new one is a recipient of its own: another key, another token."""
    desk.load(reminding(desk), [person(desk, "A", 3)])
    desk.start()
    assert called(desk) == ["A"]
    assert numbers(desk.load(reminding(desk), [person(desk, "A", 27)])) == (1, 1, 0, 0, 0, 0)
    desk.start()
    both = ["A", "A 2026-03-03T15:00:00Z"]
    assert called(desk) == both
    # Both times again, in whatever order: nobody is called again for either.
    for hours in (3, 27, 3):
        assert numbers(desk.load(reminding(desk), [person(desk, "A", hours)])) == (1, 0, 1, 0, 0, 0)
    desk.start()
    assert called(desk) == both


def test_an_appointment_that_moves_back_is_called_for_after_all(desk: "Desk") -> None:
    """A time that was withdrawn is entered again when the list has it again, once."""
    desk.load(reminding(desk), [person(desk, "A", 3)])
    desk.start()
    next_run(desk)
    desk.load(reminding(desk), [person(desk, "A", 5)])
    next_run(desk)
    assert numbers(desk.load(reminding(desk), [person(desk, "A", 3)])) == (1, 1, 0, 0, 0, 1)
    assert numbers(desk.load(reminding(desk), [person(desk, "A", 3)])) == (1, 0, 1, 0, 0, 0)
    assert standing(desk) == [(1, "A", "expired", 3), (2, "A", "expired", 5), (3, "A", "waiting", 3)]
    assert called(desk) == ["A"]


def test_a_call_that_has_left_goes_on_and_is_not_repeated(desk: "Desk") -> None:
    """The phone rings for the old time when it moves: that call is followed by no other for that time."""
    desk.load(reminding(desk), [person(desk, "A", 3)])
    desk.start()
    (claimed,) = desk.claim()
    desk.bring(claimed, AttemptState.PLACED)
    assert numbers(desk.load(reminding(desk), [person(desk, "A", 27)])) == (1, 1, 0, 0, 0, 1)
    assert desk.ended(claimed, Outcome.BUSY, redial_at=desk.noon + HOUR)
    assert expire(desk.ledger, desk.noon + HOUR) == 1
    assert standing(desk) == [(1, "A", "expired", 3), (1, "A 2026-03-03T15:00:00Z", "waiting", 27)]


def test_a_redial_for_an_old_time_is_not_made(desk: "Desk") -> None:
    """Who waits to be dialed again is not, when the appointment has moved; the new time is called for."""
    desk.load(reminding(desk), [person(desk, "A", 3)])
    desk.start()
    (claimed,) = desk.claim()
    desk.bring(claimed, AttemptState.PLACED)
    assert desk.ended(claimed, Outcome.BUSY, redial_at=desk.noon)
    desk.load(reminding(desk), [person(desk, "A", 27)])
    assert called(desk) == ["A", "A 2026-03-03T15:00:00Z"]
    assert standing(desk)[0] == (1, "A", "expired", 3)


def test_two_appointments_of_one_key_are_two(desk: "Desk") -> None:
    """A list that has a key with two times has two appointments; the same line twice is one."""
    people = [person(desk, "A", 3), person(desk, "A", 27, line=3), person(desk, "A", 3, line=4)]
    assert numbers(desk.load(reminding(desk), people)) == (3, 2, 1, 0, 0, 0)
    assert numbers(desk.load(reminding(desk), people)) == (3, 0, 3, 0, 0, 0)
    # One of them moves.
    people[1] = person(desk, "A", 28, line=3)
    assert numbers(desk.load(reminding(desk), people)) == (3, 1, 2, 0, 0, 1)
    desk.start()
    assert called(desk) == ["A", "A 2026-03-03T16:00:00Z"]


def test_an_appointment_that_has_left_the_list_stays(desk: "Desk") -> None:
    """Who is not on the next list is called all the same: a list does not say why."""
    desk.load(reminding(desk), [person(desk, "A", 3), person(desk, "B", 3, line=3)])
    assert numbers(desk.load(reminding(desk), [person(desk, "B", 4)])) == (1, 0, 1, 0, 0, 1)
    assert standing(desk) == [(1, "A", "waiting", 3), (1, "B", "waiting", 4)]


def test_several_reminders_of_a_row_count_as_one_row(desk: "Desk") -> None:
    """Two recipients of one row are one accepted row, one duplicate, one suppressed, one moved."""
    both = reminding(desk, before=["24h", "2h"])

    def rows(*hours: float) -> list[Recipient]:
        return [
            replace(person(desk, f"K{i}", each, line=i + 2, which=which), phone=f"+1415555020{i}")
            for i, each in enumerate(hours)
            for which in ("24h", "2h")
        ]

    desk.suppress("+14155550202")
    assert numbers(desk.load(both, rows(30, 31, 32), rejected=2)) == (5, 2, 0, 2, 1, 0)
    assert len(desk.recipients()) == 6
    assert numbers(desk.load(both, rows(30, 31, 32))) == (3, 0, 3, 0, 0, 0)
    assert numbers(desk.load(both, rows(30, 35, 32))) == (3, 0, 3, 0, 0, 1)
    with desk.ledger.read() as db:
        counted = db.execute(
            text("SELECT rows, accepted, duplicates, rejected, suppressed FROM loads ORDER BY id")
        )
        assert [tuple(each) for each in counted] == [(5, 2, 0, 2, 1), (3, 0, 3, 0, 0), (3, 0, 3, 0, 0)]


def test_one_reminder_made_and_one_to_come_when_it_moves(desk: "Desk") -> None:
    """Called once, then moved: the other call for the old time is not made, both for the new one are."""
    both = reminding(desk, before=["24h", "2h"])
    old = [replace(person(desk, "A", 24, which=which)) for which in ("24h", "2h")]
    old[1] = replace(old[1], due_at=desk.noon + 22 * HOUR)
    desk.load(both, old)
    desk.start()
    assert called(desk) == ["A 24h"]
    new = [person(desk, "A", 48, which=which) for which in ("24h", "2h")]
    assert numbers(desk.load(both, new)) == (1, 1, 0, 0, 0, 1)
    desk.start()
    later = desk.noon + 25 * HOUR
    assert sorted(called(desk, later)) == ["A 24h", "A 24h 2026-03-04T12:00:00Z", "A 2h"]
    # And back: what was called for the old time is not called again, what was withdrawn is.
    desk.load(both, [replace(each, expires_at=later + HOUR) for each in old])
    assert [each[1:] for each in standing(desk)] == [
        ("A 24h", "done", 24),
        ("A 2h", "done", 48),
        ("A 24h 2026-03-04T12:00:00Z", "done", 48),
        ("A 2h 2026-03-03T12:00:00Z", "waiting", 24),
    ]


def test_another_before_holds_for_new_appointments(desk: "Desk") -> None:
    """With other reminders in the file, an appointment that is in the ledger keeps those that it has."""
    desk.load(reminding(desk), [person(desk, "A", 30)])
    desk.start()
    assert called(desk) == ["A"]
    both = reminding(desk, before=["24h", "2h"])
    people = [
        person(desk, key, 30, line, which) for line, key in ((2, "A"), (3, "B")) for which in ("24h", "2h")
    ]
    assert numbers(desk.load(both, people)) == (2, 1, 1, 0, 0, 0)
    assert [row.key for row in desk.recipients()] == ["A", "B 24h", "B 2h"]
    assert numbers(desk.load(reminding(desk), [person(desk, "B", 30)])) == (1, 0, 1, 0, 0, 0)


def test_one_reminder_more_is_added(desk: "Desk") -> None:
    """Loaded again with one `before` more, the appointments that are there are called for that one too."""
    people = [person(desk, "A", 30, which=which) for which in ("24h", "2h", "1h")]
    desk.load(reminding(desk, before=["24h", "2h"]), people[:2])
    loaded = desk.load(reminding(desk, before=["24h", "2h", "1h"]), people)
    assert numbers(loaded) == (1, 1, 0, 0, 0, 0)
    # One that takes the place of another is not: it might be a call more for the same.
    people[0] = person(desk, "A", 30, which="23h")
    assert numbers(desk.load(reminding(desk, before=["23h", "2h", "1h"]), people)) == (1, 0, 1, 0, 0, 0)
    assert [row.key for row in desk.recipients()] == ["A 24h", "A 2h", "A 1h"]


def test_having_reminders_or_not_cannot_change(desk: "Desk") -> None:
    """People without an appointment would be called a second time for it, so both ways are refused."""
    desk.load(desk.campaign(), desk.people(1))
    told = r"^reminders: whether there is a \[reminder\] cannot change once people are loaded"
    with pytest.raises(Mistake, match=told):
        desk.load(reminding(desk), [])
    desk.load(desk.campaign("b", reminder=REMINDER), [person(desk, "A", 3)])
    with pytest.raises(Mistake, match=r"^b: whether there is a"):
        desk.load(desk.campaign("b"), [])


def test_a_number_that_was_barred_once_is_called_when_it_is_not(desk: "Desk") -> None:
    """Suppressed in an earlier run, and not on the list any more: the next list enters the appointment."""
    desk.suppress(desk.people(1)[0].phone)
    desk.load(reminding(desk), [person(desk, "A", 3)])
    assert numbers(desk.load(reminding(desk), [person(desk, "A", 3)])) == (1, 0, 1, 0, 0, 0)
    with desk.ledger.write() as db:
        db.execute(text("DELETE FROM suppressions"))
    next_run(desk)
    assert numbers(desk.load(reminding(desk), [person(desk, "A", 3)])) == (1, 1, 0, 0, 0, 0)
    assert called(desk) == ["A"]


def test_a_run_that_had_finished_is_opened_for_a_new_time(desk: "Desk") -> None:
    """An appointment that expired, and moves to a time to come, waits in a run that can be started."""
    desk.load(reminding(desk), [person(desk, "A", 3)])
    desk.start()
    assert expire(desk.ledger, desk.noon + 3 * HOUR) == 1
    desk.start(now=desk.noon + 3 * HOUR)
    assert numbers(
        desk.load(reminding(desk), [replace(person(desk, "A", 3), expires_at=desk.noon + 9 * HOUR)])
    ) == ((1, 0, 1, 0, 0, 0))
    assert desk.states() == ["waiting"]
    desk.start()
    assert called(desk) == ["A"]


def test_a_call_that_leaves_while_its_appointment_moves(
    postgres_ledger: Ledger,
    two_desks: "tuple[Desk, Desk]",
    at_once: Callable[..., Any],
) -> None:
    """A move to `dialing` that is being committed comes first: its call goes on, for the old time, alone."""
    desk, worker = two_desks
    desk.load(reminding(desk), [person(desk, "A", 3)])
    desk.start()
    (claimed,) = desk.claim()
    dialing, load = at_once(
        worker.ledger,
        "UPDATE attempts",
        lambda: worker.dial(claimed),
        lambda: desk.load(reminding(desk), [person(desk, "A", 27)]),
    )
    assert isinstance(dialing.result(), Order)
    assert numbers(load.result()) == (1, 1, 0, 0, 0, 1)
    assert standing(desk) == [(1, "A", "in_progress", 3), (1, "A 2026-03-03T15:00:00Z", "waiting", 27)]
    # Were it returned without having rung, nobody would be called for the old time.
    assert mark_returned(postgres_ledger, claimed.attempt_id, claimed.fence, "throttled", due_at=desk.noon)
    assert called(desk) == ["A", "A 2026-03-03T15:00:00Z"]
    assert desk.attempt(claimed).state == "returned"


def test_a_call_that_would_leave_after_its_appointment_has_moved(
    postgres_ledger: Ledger,
    postgres_ledger_url: str,
    aside: Callable[..., Any],
    until_over_or_blocked: Callable[..., None],
    held_before_commit: Any,
    desk_of: Callable[[Ledger], "Desk"],
    opened: Callable[[str], Ledger],
) -> None:
    """A list that is being committed comes first: the queued attempt waits for it, and is not dialed."""
    desk, loader = desk_of(postgres_ledger), desk_of(opened(postgres_ledger_url))
    desk.load(reminding(desk), [person(desk, "A", 3)])
    desk.start()
    (claimed,) = desk.claim()
    with held_before_commit(loader.ledger, "UPDATE attempts") as (reached, go):
        load = aside(lambda: loader.load(reminding(desk), [person(desk, "A", 27)]))
        assert reached.wait(30)
        dialing = aside(lambda: desk.dial(claimed))
        feeding = aside(lambda: desk_of(postgres_ledger).claim(now=desk.noon))
        until_over_or_blocked(postgres_ledger, dialing)
        go.set()
        assert numbers(load.result()) == (1, 0, 1, 0, 0, 1)
        assert isinstance(dialing.result(), NotNow)
        feeding.result()
    assert standing(desk)[0][3] == 27
    assert len(desk.attempts()) == 1


def test_a_time_that_the_list_has_again_is_the_only_one(desk: "Desk") -> None:
    """Moved forth and back and forth: nobody is called for a time in between, and requeued for none."""
    desk.load(reminding(desk), [person(desk, "A", 3)])
    desk.load(reminding(desk), [person(desk, "A", 6)])
    desk.start()
    assert called(desk) == ["A"]
    assert numbers(desk.load(reminding(desk), [person(desk, "A", 3)])) == (1, 1, 0, 0, 0, 0)
    assert numbers(desk.load(reminding(desk), [person(desk, "A", 6)])) == (1, 0, 1, 0, 0, 1)
    assert standing(desk) == [(1, "A", "done", 6), (1, "A 2026-03-02T15:00:00Z", "expired", 3)]
    desk.start()
    assert called(desk) == ["A"]


def test_of_two_times_of_a_key_one_is_left(desk: "Desk") -> None:
    """A list has one of the two times only: the other one has moved there."""
    desk.load(reminding(desk), [person(desk, "A", 3), person(desk, "A", 27, line=3)])
    assert numbers(desk.load(reminding(desk), [person(desk, "A", 27)])) == (1, 0, 1, 0, 0, 1)
    assert [each[2:] for each in standing(desk)] == [("expired", 3), ("waiting", 27)]


def test_who_was_called_for_an_old_time_is_not_asked_for_again(desk: "Desk") -> None:
    """A requeue finds the old time over, until the list has it again."""
    desk.load(reminding(desk), [person(desk, "A", 3)])
    desk.start()
    (claimed,) = desk.claim()
    desk.bring(claimed, AttemptState.PLACED)
    assert desk.ended(claimed, Outcome.BUSY)
    busy = Asked(outcomes=frozenset({Outcome.BUSY}))
    desk.load(reminding(desk), [person(desk, "A", 6)])
    found = look(desk.ledger, desk.run().id, busy, desk.noon)
    assert (found.expired, list(found.attempt_ids)) == (1, [])
    desk.load(reminding(desk), [person(desk, "A", 3)])
    found = look(desk.ledger, desk.run().id, busy, desk.noon)
    assert (found.expired, list(found.attempt_ids)) == (0, [claimed.attempt_id])


def test_who_is_suppressed_is_not_readmitted_for_an_old_time(desk: "Desk") -> None:
    """The appointment moves while its number is barred: only the new time is called for afterwards."""
    desk.load(reminding(desk), [person(desk, "A", 3)])
    desk.start()
    bar(desk)
    assert numbers(desk.load(reminding(desk), [person(desk, "A", 6)])) == (1, 0, 1, 0, 0, 1)
    next_run(desk)
    assert numbers(desk.load(reminding(desk), [person(desk, "A", 9)])) == (1, 0, 0, 0, 1, 1)
    assert standing(desk) == [(1, "A", "expired", 6), (2, "A", "suppressed", 9)]
    assert allow(desk) == 1
    assert called(desk) == ["A"]


def test_who_is_entered_again_does_not_wait_twice(desk: "Desk") -> None:
    """Suppressed in two runs for one appointment, and allowed again: there is one call."""
    desk.load(reminding(desk), [person(desk, "A", 3)])
    desk.start()
    bar(desk)
    next_run(desk)
    desk.load(reminding(desk), [person(desk, "A", 3)])
    assert standing(desk) == [(1, "A", "expired", 3), (2, "A", "suppressed", 3)]
    assert allow(desk) == 1
    assert called(desk) == ["A"]


def test_whose_time_has_passed_is_not_readmitted(desk: "Desk") -> None:
    """A number comes off the list after the appointment: nobody waits, they are expired."""
    desk.load(reminding(desk), [person(desk, "A", 3)])
    desk.start()
    bar(desk)
    assert allow(desk, desk.noon + 3 * HOUR) == 0
    assert desk.states() == ["expired"]


def test_a_moved_reminder_comes_at_its_time_after_it_was_suppressed(desk: "Desk") -> None:
    """On the list by mistake and off it again: it is not taken for one that a clock has put off."""
    desk.load(reminding(desk), [person(desk, "A", 3)])
    desk.start()
    desk.claim()
    desk.load(reminding(desk), [replace(person(desk, "A", 51), due_at=desk.noon + 49 * HOUR)])
    bar(desk)
    assert allow(desk) == 1
    assert bring_forward(desk.ledger, desk.noon) == 0
    assert desk.claim() == []


def test_a_rejected_row_takes_the_old_time_back(desk: "Desk", tmp_path: Path) -> None:
    """There is no hour left before the new time, or it is over: nobody is called for the old one."""
    campaign = desk.campaign(
        reminder=REMINDER,
        list={"key": "id"},
        calling_hours={"weekdays": "09:00-20:00", "time_zone": "America/New_York"},
    )
    head, path = "id,phone,when\n", tmp_path / "list.csv"
    rows = [f"{key},+1415555010{i},2026-03-03T15:00-05:00\n" for i, key in enumerate("ABCD")]
    path.write_text(head + "".join(rows))
    assert load(desk.ledger, campaign, path, now=desk.noon).loaded.accepted == 4
    rows[0] = "A,+14155550100,2026-03-03T08:30-05:00\n"
    rows[1] = "B,+14155550101,2026-03-02T15:00-05:00\n"
    rows[2] = "C,+14155550102,tomorrow\n"
    path.write_text(head + "".join(rows))
    night = desk.noon + 14 * HOUR
    loaded = load(desk.ledger, campaign, path, now=night).loaded
    assert numbers(loaded) == (4, 0, 1, 3, 0, 0)
    # Of C the new time could not be read: the old one holds no more, until the row is corrected.
    assert desk.states() == ["expired", "expired", "dropped", "waiting"]
    rows[2] = "C,+14155550102,2026-03-03T16:00-05:00\n"
    path.write_text(head + "".join(rows))
    assert load(desk.ledger, campaign, path, now=night).loaded.accepted == 1
    assert [row.state for row in desk.recipients() if row.list_key == "C"][-1] == "waiting"


def test_a_rejected_row_keeps_no_good_one_out(desk: "Desk", tmp_path: Path) -> None:
    """The same appointment twice, first with a number whose time zone is not known: the second is entered."""
    campaign = desk.campaign(reminder=REMINDER, list={"key": "id"}, calling_hours={"weekdays": "09:00-20:00"})
    path = tmp_path / "list.csv"
    when = "2026-03-03T15:00-05:00"
    path.write_text(f"id,phone,when\nA,+18005550100,{when}\nA,+14155550100,{when}\n")
    assert numbers(load(desk.ledger, campaign, path, now=desk.noon).loaded) == (2, 1, 0, 1, 0, 0)


def test_a_load_and_a_suppression_do_not_wait_for_each_other(
    postgres_ledger: Ledger,
    postgres_ledger_url: str,
    aside: Callable[..., Any],
    until_over_or_blocked: Callable[..., None],
    desk_of: Callable[[Ledger], "Desk"],
    opened: Callable[[str], Ledger],
) -> None:
    """A finished run whose people get another time zone is held together with the later ones."""
    desk, loader = desk_of(postgres_ledger), desk_of(opened(postgres_ledger_url))
    old = replace(person(desk, "A", 3), phone="+14155550199")
    desk.load(reminding(desk), [old])
    desk.start()
    (claimed,) = desk.claim()
    desk.bring(claimed, AttemptState.UNKNOWN)
    assert desk.not_found(claimed, redial=False)
    finish(desk.ledger, desk.noon)
    assert (desk.run().state, desk.states()) == ("finished", ["held"])
    next_run(desk)
    desk.load(reminding(desk), [replace(person(desk, "B", 9), phone=old.phone)])
    zone = "America/New_York"
    reached, go = threading.Event(), threading.Event()

    def when_the_runs_are_held(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "INSERT INTO withdrawn" in statement and not reached.is_set():
            reached.set()
            assert go.wait(60)

    event.listen(loader.ledger._engine, "before_cursor_execute", when_the_runs_are_held)
    loading = aside(lambda: loader.load(reminding(desk), [replace(old, time_zone=zone, zones=zone)]))
    assert reached.wait(30)
    barring = aside(lambda: withdraw(postgres_ledger, [old.phone], EVERY_CAMPAIGN))
    until_over_or_blocked(postgres_ledger, barring)
    go.set()
    assert loading.result().other_zones == 1
    assert barring.result() == 1


def test_what_came_of_a_list_is_counted_in_its_run(
    sqlite_ledger_url: str,
    opened: Callable[[str], Ledger],
    plans: Callable[[Ledger, Callable[[], Any]], list[str]],
) -> None:
    """A load that holds the ledger looks at nobody of other runs to count its own."""
    ledger = opened(sqlite_ledger_url)

    def count() -> None:
        with ledger.read() as db:
            assert _count_suppressed(db, 1, 1) == 0

    (how,) = plans(ledger, count)
    assert "ix_recipients_run_state (run_id=? AND state=?)" in how


def bar(desk: "Desk", phone: str = "+14150000001") -> None:
    numbers = [Number(phone, "asked to", desk.noon)]
    put_numbers(desk.ledger, numbers, campaign_id=EVERY_CAMPAIGN, now=desk.noon)


def allow(desk: "Desk", now: datetime | None = None, phone: str = "+14150000001") -> int:
    """Take a number off the list. Returns how many wait again."""
    removed = remove_numbers(
        desk.ledger, [phone], campaign_id=EVERY_CAMPAIGN, reason="a mistake", now=now or desk.noon
    )
    return removed.waiting
