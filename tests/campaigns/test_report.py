import json
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from campaigns import explain_view
from campaigns.attempt import AttemptState, Outcome
from campaigns.explain import explain
from campaigns.ledger import runs
from campaigns.ledger.claims import Claim, claim
from campaigns.ledger.health import beat
from campaigns.ledger.moves import mark_unknown
from campaigns.ledger.outcomes import mark_ended
from campaigns.ledger.runs import finish
from campaigns.ledger.unknowns import mark_not_found
from campaigns.mistake import Mistake
from campaigns.report import Status, every_status, status
from campaigns.status_view import in_words, plain

if TYPE_CHECKING:
    from tests.conftest import Desk

EVERY_ROLE = ("dial", "control", "beat")


def alive(desk: "Desk", *roles: str, exchange: str = "connect", problem: str | None = None) -> None:
    for role in roles:
        beat(desk.ledger, f"{role}@here:1", role, exchange, problem, desk.noon)


def now(desk: "Desk", seconds: float = 0.0) -> Status:
    return status(desk.ledger, "reminders", desk.noon + timedelta(seconds=seconds))


def test_status_as_json_keeps_its_contract(desk: "Desk") -> None:
    """Every key that programs rely on is there, every state by name, also where it is nought."""
    desk.load(desk.campaign(), [])
    found: dict[str, Any] = json.loads(json.dumps(now(desk).as_json()))
    assert found.keys() >= {"name", "state", "reason", "recipients", "attempts", "outcomes"}
    assert found["recipients"] == dict.fromkeys(
        ("total", "waiting", "in_progress", "done", "held", "suppressed", "expired", "cancelled", "dropped"),
        0,
    )
    assert found["attempts"] == dict.fromkeys(AttemptState, 0)
    assert (found["name"], found["state"], found["outcomes"]) == ("reminders", "loaded", {})


def test_the_numbers_add_up(desk: "Desk") -> None:
    """The total is the sum over all states, whatever has happened."""
    people = desk.people(10)
    desk.suppress(people[9].phone)
    desk.load(desk.campaign(), people)
    desk.start()
    for claimed, state in zip(desk.claim(7), AttemptState, strict=True):
        desk.bring(claimed, state)
    found = now(desk).as_json()
    states = dict(found["recipients"])
    assert states.pop("total") == 10 == sum(states.values())
    assert states == {
        "waiting": 3,
        "in_progress": 4,
        "done": 2,
        "held": 0,
        "suppressed": 1,
        "expired": 0,
        "cancelled": 0,
        "dropped": 0,
    }
    assert found["attempts"] == dict.fromkeys(AttemptState, 1)
    assert (found["outcomes"], found["exchange"], found["run"]) == ({"answered": 1}, "connect", 1)


def test_pace_and_end(desk: "Desk") -> None:
    """Calls per second over the last minute, and when the waiting will have been dialed at that pace."""
    desk.started(30)
    for i, claimed in enumerate(desk.claim(20)):
        desk.dial(claimed, now=desk.noon + timedelta(seconds=i))
    for role in EVERY_ROLE:
        beat(desk.ledger, f"{role}@host:1", role, "connect", None, desk.noon + timedelta(seconds=20))
    found = now(desk, 20)
    assert found.calls_per_second == pytest.approx(1.0, abs=0.06)
    assert found.finishes_at == pytest.approx(
        desk.noon + timedelta(seconds=20 + 10 / found.calls_per_second), abs=timedelta(seconds=0.001)
    )
    assert now(desk, 500).as_json()["finishes_at"] is None
    assert not found.over


def test_no_end_is_promised_while_nobody_is_due(desk: "Desk") -> None:
    """Whoever waits for a redial in ten minutes will not have been dialed in a second, whatever the pace."""
    desk.started(2)
    alive(desk, *EVERY_ROLE)
    for i, claimed in enumerate(desk.claim()):
        desk.dial(claimed, now=desk.noon + timedelta(seconds=i))
        desk.placed(claimed)
        desk.ended(claimed, Outcome.BUSY, redial_at=desk.noon + timedelta(minutes=10))
    assert (now(desk, 2).calls_per_second, now(desk, 2).finishes_at) == (0.5, None)


def test_a_single_call_is_no_pace_yet(desk: "Desk") -> None:
    """In the second of the first call nothing is divided by next to nothing."""
    desk.started(2)
    desk.dial(desk.claim(1)[0])
    assert (now(desk).calls_per_second, now(desk, 0.01).calls_per_second) == (0.0, 0.0)


def test_why_not_before_the_start(desk: "Desk") -> None:
    """A loaded campaign says how to start it."""
    desk.load(desk.campaign(), desk.people(1))
    start = "dialer start reminders"
    assert now(desk).reason == f"not started; start it with: {start}, or for a trial: {start} --sandbox"


def test_a_run_that_no_side_was_decided_for_says_so(desk: "Desk") -> None:
    """Whatever processes are there: none of them dials it, and the command that decides is named."""
    desk.load(desk.campaign(), desk.people(1))
    desk.start(exchange=None)
    alive(desk, *EVERY_ROLE, exchange="connect")
    reason = str(now(desk).reason)
    assert reason.startswith(
        "it is not decided whether its calls are real or a trial, and no worker dials it"
    )
    assert reason.endswith("dialer start reminders, or for a trial: dialer start reminders --sandbox")
    assert now(desk).as_json()["exchange"] is None
    assert in_words(now(desk))[0] == "reminders: running (real or sandbox: not decided)"
    desk.start(exchange="connect")
    assert (now(desk).reason, now(desk).as_json()["exchange"]) == (None, "connect")
    assert in_words(now(desk))[0] == "reminders: running (real calls)"


def test_real_calls_that_go_elsewhere_are_shown(desk: "Desk") -> None:
    """By the run, from the claims on, and before that by what the processes of its side report."""
    desk.started(2)
    assert now(desk).as_json()["endpoint"] is None
    proxy, sandbox = "https://proxy.internal:8443", "http://127.0.0.1:8480"
    beat(desk.ledger, "dial@here:1", "dial", "connect", None, desk.noon, endpoint=proxy)
    beat(desk.ledger, "dial@here:2", "dial", "sandbox", None, desk.noon, endpoint=sandbox)
    assert now(desk).as_json()["endpoint"] == proxy
    told = f"  its calls go to {proxy}, which is not AWS's own address"
    assert told in in_words(now(desk))
    claim(
        desk.ledger,
        keep_queued=1,
        exchange="connect",
        now=desk.noon,
        lease=desk.lease,
        ahead=timedelta(seconds=3),
        endpoint=proxy,
    )
    assert now(desk, 60).as_json()["endpoint"] == proxy
    desk.cancel()
    assert told in in_words(now(desk, 60))


def test_why_not_when_paused(desk: "Desk") -> None:
    """A pause says whose it was; one that the campaign made itself is a fault to be mended."""
    desk.started(1)
    desk.pause()
    assert now(desk).reason == "paused by an operator; go on with: dialer resume reminders"
    assert not now(desk).fault
    desk.start()
    with desk.ledger.write() as db:
        runs.pause(db, desk.run().id, "AccessDeniedException: no", code="AccessDeniedException")
    assert now(desk).reason == (
        "paused: AccessDeniedException: no; when that is mended: dialer resume reminders"
    )
    assert now(desk).fault


@pytest.mark.parametrize(
    ("there", "says"),
    [
        ((), "no worker is dialing: no dial process has reported lately; start one with: dialer up"),
        (("dial",), "nobody feeds: no control process has reported lately; start one with: dialer up"),
        (("dial", "control"), "no scheduler: no beat process has reported lately; start one with: dialer up"),
        (EVERY_ROLE, None),
    ],
)
def test_why_not_when_a_process_is_missing(desk: "Desk", there: tuple[str, ...], says: str | None) -> None:
    """A running campaign needs workers, a feeder and a scheduler; the first that is missing is named."""
    desk.started(1)
    alive(desk, *there)
    assert now(desk).reason == says


def test_silent_processes_do_not_count(desk: "Desk") -> None:
    """Whoever has not reported for a while is not there."""
    desk.started(1)
    alive(desk, *EVERY_ROLE)
    assert "no worker is dialing" in str(now(desk, 25).reason)


def test_the_other_sides_processes_do_not_count(desk: "Desk") -> None:
    """A trial is not dialed by the real workers, and the hint says how to go on with the trial."""
    desk.started(2, exchange="sandbox")
    alive(desk, *EVERY_ROLE, exchange="connect")
    assert now(desk).reason == (
        "no worker is dialing: no dial process has reported lately (only the processes for real calls are "
        "there, and do not dial it); start one with: dialer up --sandbox"
    )
    alive(desk, *EVERY_ROLE, exchange="sandbox")
    assert now(desk).reason is None


def test_what_keeps_processes_from_their_work_is_said_once(desk: "Desk") -> None:
    """A problem that several processes report stands there once."""
    desk.started(1)
    alive(desk, *EVERY_ROLE, problem="Redis does not answer")
    assert now(desk).reason == "Redis does not answer"


def test_why_not_when_nobody_is_due(desk: "Desk") -> None:
    """Waiting for a redial is no fault: the reason says until when."""
    desk.started(1)
    alive(desk, *EVERY_ROLE)
    (claimed,) = desk.claim()
    desk.bring(claimed, AttemptState.PLACED)
    assert now(desk).reason is None
    desk.ended(claimed, Outcome.BUSY, redial_at=desk.noon + timedelta(minutes=10))
    local = (desk.noon + timedelta(minutes=10)).astimezone()
    assert now(desk).reason == f"waiting for a redial: 1 recipient, the next at {local:%H:%M %Z} in 10 m"


WEEKDAYS = {"calling_hours": {"weekdays": "09:00-20:00"}}
DENVER, BERLIN = "America/Denver", "Europe/Berlin"


def living_in(desk: "Desk", *zones: str | None, **tables: Any) -> None:
    """A running campaign with calling hours, one person in each of these zones, and everybody at work."""
    people = [replace(p, zones=zone) for p, zone in zip(desk.people(len(zones)), zones, strict=True)]
    desk.load(desk.campaign(**(WEEKDAYS | tables)), people)
    desk.start()
    alive(desk, *EVERY_ROLE)


def test_why_not_when_everybody_is_closed(desk: "Desk") -> None:
    """At five in Denver: the rule is named, how many it keeps, and when it ends, for people and machines."""
    living_in(desk, DENVER, DENVER)
    found = now(desk)
    assert found.reason == "waiting for calling hours: 2 recipients, next 09:00 America/Denver in 4 h"
    assert found.as_json()["waiting_for"] == [
        {
            "rule": "calling_hours",
            "recipients": 2,
            "until": "2026-03-02T16:00:00+00:00",
            "time_zone": DENVER,
            "why": None,
        }
    ]
    assert in_words(found).count(f"  {found.reason}") == 1
    # A log has a line for each change, and how far it is away changes all the time.
    assert plain(found).endswith(
        "waiting for calling hours: 2 recipients, next 2026-03-02 09:00 America/Denver"
    )
    assert plain(found) == plain(now(desk, 15))


def test_who_is_closed_is_told_beside_those_who_are_not(desk: "Desk") -> None:
    """While somebody can be dialed there is no reason why nothing dials, and still a line for the others."""
    living_in(desk, DENVER, BERLIN, DENVER)
    found = now(desk)
    assert found.reason is None
    assert in_words(found)[-1] == "  closed: 2 recipients, next 09:00 America/Denver in 4 h"
    assert [wait["recipients"] for wait in found.as_json()["waiting_for"]] == [2]


def test_faults_come_before_rules(desk: "Desk") -> None:
    """With nobody to dial, or paused, that is the reason; the rules are told beside it."""
    living_in(desk, DENVER)
    closed = "  closed: 1 recipient, next 09:00 America/Denver in 4 h"
    desk.pause()
    assert str(now(desk).reason).startswith("paused by an operator")
    assert in_words(now(desk))[-1] == closed
    desk.start()
    assert "no worker is dialing" in str(now(desk, 30).reason)
    assert "in 4 h" in in_words(now(desk, 30))[-1]


def test_who_may_never_be_called_is_told_at_once(desk: "Desk") -> None:
    """Somebody without a time zone waits for ever: it says so while others are dialed, and no end is told."""
    living_in(desk, BERLIN, BERLIN, BERLIN, None)
    for seconds, claimed in enumerate(desk.claim(2)):
        desk.dial(claimed, now=desk.noon + timedelta(seconds=seconds))
    found = now(desk, 10)
    assert in_words(found)[-1].startswith("  1 recipient may never be called: no time zone is known")
    assert found.as_json()["waiting_for"] == [
        {"rule": "no_time_zone", "recipients": 1, "until": None, "time_zone": None, "why": None}
    ]
    assert (found.reason, found.calls_per_second > 0, found.finishes_at) == (None, True, None)


def test_a_zone_that_is_not_known_here_stops_nobody_else(desk: "Desk") -> None:
    """A list was loaded where the data are newer: its people in such a zone wait, and it says for what; the
    others of the campaign, and other campaigns, are dialed."""
    living_in(desk, BERLIN, "America/Newzone")
    desk.load(desk.campaign("other"), desk.people(1, first=50))
    desk.start("other")
    assert [desk.person(claimed).key for claimed in desk.claim()] == ["key-1", "key-50"]
    why = "this machine does not know the time zone America/Newzone; pip install -U tzdata"
    assert now(desk).reason == f"nobody can be called: 1 recipient, {why}"
    (story,) = explain(desk.ledger, "reminders", "key-2", desk.noon)
    assert f"  calling_hours: never open, as {why}" in explain_view.told(story, desk.noon)


def test_a_preset_that_is_gone_stops_nobody_else(desk: "Desk") -> None:
    """A campaign was loaded by a version that had another preset: it is closed, and says which one that is;
    others are dialed, and its corrected file can be loaded."""
    living_in(desk, BERLIN, calling_hours={"weekdays": "09:00-20:00", "preset": "us-gone"})
    desk.load(desk.campaign("other"), desk.people(1, first=50))
    desk.start("other")
    assert [desk.person(claimed).key for claimed in desk.claim()] == ["key-50"]
    assert now(desk).reason == (
        "nobody can be called: 1 recipient, this version does not know the preset us-gone; "
        "name another in [calling_hours] and load the file again"
    )
    assert in_words(now(desk)).count(f"  {now(desk).reason}") == 1
    desk.load(desk.campaign(**WEEKDAYS), [])
    assert [desk.person(claimed).key for claimed in desk.claim()] == ["key-1"]


def test_the_end_is_that_of_the_calling_hours(desk: "Desk") -> None:
    """At a call in ten seconds, whoever is not called in Berlin by eight is called at nine tomorrow."""
    living_in(desk, *[BERLIN] * 12)
    evening = desk.noon.replace(hour=18, minute=59)
    for seconds, claimed in enumerate(desk.claim(6)):
        desk.dial(claimed, now=evening + timedelta(seconds=10 * seconds))
    at = evening + timedelta(seconds=59)
    for role in EVERY_ROLE:
        beat(desk.ledger, f"{role}@here:1", role, "connect", None, at)
    found = status(desk.ledger, "reminders", at)
    rate = found.calls_per_second
    tomorrow = (desk.noon + timedelta(days=1)).replace(hour=8)
    assert found.finishes_at == pytest.approx(
        tomorrow + timedelta(seconds=(6 - rate) / rate), abs=timedelta(seconds=0.01)
    )


def not_found(desk: "Desk", claimed: Claim, *, redial: bool) -> None:
    """A search for an unknown attempt is over, and has shown nothing."""
    assert mark_not_found(
        desk.ledger, claimed.attempt_id, claimed.fence, redial=redial, now=desk.noon, evidence="never found"
    )


def test_why_not_when_it_is_over(desk: "Desk") -> None:
    """A finished campaign needs no reason, unless somebody is held; neither does a cancelled one."""
    desk.started(2)
    one, two = desk.claim()
    desk.bring(one, AttemptState.ENDED)
    desk.bring(two, AttemptState.UNKNOWN)
    assert not now(desk).over
    not_found(desk, two, redial=False)
    assert (now(desk).over, now(desk).reason) == (True, None)
    finish(desk.ledger, desk.noon)
    assert now(desk).reason == (
        "1 held: a call to them may have rung and nobody can tell; see: dialer explain reminders --unknown"
    )
    desk.placed(two, follow_at=None)
    assert now(desk).reason is None
    desk.cancel()
    assert (now(desk).as_json()["state"], now(desk).reason) == ("cancelled", None)


def test_why_not_when_connect_refuses_to_tell(desk: "Desk") -> None:
    """Those held for want of an outcome are told of by their own words, and of the command for them."""
    desk.started(2)
    one, two = desk.claim()
    silent = {"ended_at": desk.noon, "redial": lambda _: None, "hold": True}
    desk.bring(one, AttemptState.PLACED)
    assert mark_ended(desk.ledger, one.attempt_id, Outcome.NO_OUTCOME, **silent)
    desk.bring(two, AttemptState.ENDED)
    finish(desk.ledger, desk.noon)
    alone = (
        "1 held: Connect has not told how their calls ended; another attempt: "
        "dialer requeue reminders --outcome no_outcome"
    )
    assert now(desk).reason == f"{alone}; see: dialer explain reminders --unknown"
    assert now(desk).as_json()["unknowns"]["untold"] == 1


def test_why_not_when_only_unknowns_are_left(desk: "Desk") -> None:
    """Nothing dials while the last ones are searched for: the reason says so. A fault comes first."""
    desk.started(2)
    one, two = desk.claim()
    for claimed, seconds in ((one, 30), (two, 20)):
        desk.dial(claimed)
        settle_at = desk.noon + timedelta(seconds=seconds)
        mark_unknown(
            desk.ledger, claimed.attempt_id, claimed.fence, "no answer", now=desk.noon, settle_at=settle_at
        )
    assert "no worker is dialing" in str(now(desk).reason)
    alive(desk, *EVERY_ROLE)
    assert now(desk).reason == (
        "unknown: 2 may have rung and are searched for in Connect, the next time at "
        f"{(desk.noon + timedelta(seconds=20)).astimezone():%Y-%m-%d %H:%M:%S %Z}"
    )
    assert in_words(now(desk)).count(f"  {now(desk).reason}") == 1
    not_found(desk, two, redial=True)
    assert now(desk).reason is None
    desk.bring(desk.claim()[0], AttemptState.PLACED)
    assert now(desk).reason is None


def test_unknowns_are_told_by_what_becomes_of_them(desk: "Desk") -> None:
    """Searched for, held, and never found and so dialed again; each is counted once, in words and in JSON."""
    desk.started(6)
    alive(desk, *EVERY_ROLE)
    claims = desk.claim(5)
    for claimed in claims[:4]:
        desk.bring(claimed, AttemptState.UNKNOWN)
    assert now(desk).as_json()["unknowns"] == {"searched": 4, "held": 0, "not_found": 0, "untold": 0}
    not_found(desk, claims[0], redial=False)
    not_found(desk, claims[1], redial=True)
    assert now(desk).as_json()["unknowns"] == {"searched": 2, "held": 1, "not_found": 1, "untold": 0}
    at = f"{desk.noon.astimezone():%Y-%m-%d %H:%M:%S %Z}"
    lines = [
        f"  unknown: 2 may have rung and are searched for in Connect, the next time at {at}",
        "  1 held: a call to them may have rung and nobody can tell; see: dialer explain reminders --unknown",
        "  unknown: 1 call was never found in Connect and dialed again",
    ]
    assert [line for line in in_words(now(desk)) if line in lines] == lines
    (again,) = [claimed for claimed in desk.claim(10) if claimed.attempt_id > claims[-1].attempt_id][:1]
    desk.bring(again, AttemptState.ENDED)
    assert now(desk).as_json()["unknowns"] == {"searched": 2, "held": 1, "not_found": 1, "untold": 0}


def test_all_campaigns_by_name(desk: "Desk") -> None:
    """Every campaign's status at once; none before the first load, and one that is not there is a Mistake."""
    assert every_status(desk.ledger, desk.noon) == []
    with pytest.raises(Mistake, match="the ledger is empty"):
        status(desk.ledger, "reminders", desk.noon)
    for name in ("b", "a"):
        desk.load(desk.campaign(name), desk.people(2))
    assert [(each.run.name, each.total) for each in every_status(desk.ledger, desk.noon)] == [
        ("a", 2),
        ("b", 2),
    ]
