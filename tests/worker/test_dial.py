"""Dialing one attempt: the real ledger, real boto3 over HTTP, the sandbox, and a clock that the tests move.

One test for each point at which something can break. What is proved above all: nobody is rung twice, and
what may have rung is never due again by itself.
"""

import logging
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from campaigns.client_token import client_token
from campaigns.ledger import LedgerUnavailable, open_ledger, runs
from campaigns.ledger.claims import Claim, Rescued, hand_back
from worker.connect import Connect
from worker.connect_errors import (
    Ambiguous,
    ClockWrong,
    ConnectError,
    Misconfigured,
    NeverSent,
    NoCapacity,
    Refused,
    Throttled,
    judged_answer,
)
from worker.dial import Dialer
from worker.pacer import Pacer, Rate, bucket_name
from worker.rescue import rescue
from worker.sandbox.server import SandboxOptions, running_sandbox

LEASE = timedelta(seconds=30)
PERSON = "+14155550100"
MakeDialer = Callable[..., Dialer]


def number(last_digits: int) -> str:
    """A number for fiction; its last two digits choose what the sandbox does."""
    return f"+1415555{100 + last_digits:04d}"


def claimed(book: Any, last_digits: int, **more: Any) -> Claim:
    """One recipient, loaded and claimed."""
    book.load(number(last_digits), **more)
    claim: Claim
    (claim,) = book.claim()
    return claim


# --- a call that goes well --------------------------------------------------------------------------------


def test_call_is_placed_and_recorded(book: Any, make_dialer: MakeDialer, exchange: Any, clock: Any) -> None:
    """One claim becomes one ring, and the contact_id, its time and the first look stand in the ledger."""
    claim = claimed(book, 0)
    assert make_dialer().dial(claim) == "placed"
    (request,) = exchange.requests(claim.client_token)
    attempt = book.attempt()
    assert (attempt.state, attempt.contact_id) == ("placed", request["contact_id"])
    assert (attempt.placed_at, attempt.follow_at) == (clock.utc(), clock.utc() + timedelta(seconds=65))
    assert book.standing() == ("placed", "in_progress")


def test_request_carries_the_ledgers_token(book: Any, make_dialer: MakeDialer, exchange: Any) -> None:
    """The token on the wire is the attempt's own: of the campaign, the run, the recipient and the number."""
    name = book.load(number(1))
    (claim,) = book.claim()
    make_dialer().dial(claim)
    expected = client_token(name, 1, "key-2", 1)
    assert book.attempt().client_token == expected
    assert [request["destination"] for request in exchange.requests(expected)] == [number(1)]


def test_task_that_names_another_token_is_not_dialed_and_is_told_of(
    book: Any, make_dialer: MakeDialer, seam: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    """A task of another ledger fits an attempt by chance: nothing is sent, its own task dials it."""
    claim = claimed(book, 1)
    connect, told = seam(), list[str | None]()
    dialer = make_dialer(connect=connect, report_problem=told.append)
    assert dialer.dial(Claim(claim.attempt_id, claim.fence, "another")) == "stale"
    assert connect.orders == []
    assert [problem.partition(",")[0] for problem in told if problem] == ["tasks of another ledger arrive"]
    assert "its task is of another ledger" in caplog.text
    assert book.standing() == ("queued", "in_progress")
    assert dialer.dial(claim) == "placed"
    assert told[1:] == [None]
    assert [order.client_token for order in connect.orders] == [claim.client_token]


def test_attributes_reach_connect(book: Any, make_dialer: MakeDialer, seam: Callable[..., Any]) -> None:
    """What the flow may read is what the list said."""
    claim = claimed(book, 1, attributes={"FirstName": "Zoë"})
    connect = seam()
    make_dialer(connect=connect).dial(claim)
    assert connect.orders[0].attributes == {"FirstName": "Zoë"}


def test_without_following_the_recipient_is_done(
    book: Any, make_dialer: MakeDialer, clock: Any, dial_ledger: Any
) -> None:
    """Where nobody will ask for the outcome, a placed call is the end of the matter."""
    claim = claimed(book, 0)
    usual = make_dialer()
    timing = replace(usual.timing, follow_after=None)
    assert make_dialer(timing=timing).dial(claim) == "placed"
    assert book.standing() == ("placed", "done")


# --- messages that come twice, late, or not at all --------------------------------------------------------


def test_message_delivered_twice_rings_once(book: Any, make_dialer: MakeDialer, exchange: Any) -> None:
    """Redis may deliver a task again; the second one finds the claim used."""
    claim = claimed(book, 0)
    dialer = make_dialer()
    assert [dialer.dial(claim), dialer.dial(claim)] == ["placed", "stale"]
    assert len(exchange.requests(claim.client_token)) == 1


def test_message_delivered_again_after_the_call_rings_once(
    book: Any, make_dialer: MakeDialer, exchange: Any, clock: Any
) -> None:
    """An hour later the token protects nobody any more, and the ledger still does."""
    claim = claimed(book, 87)
    dialer = make_dialer()
    dialer.dial(claim)
    clock.now += 3600
    assert dialer.dial(claim) == "stale"
    assert exchange.rings(claim.client_token) == 1


def test_message_delivered_twice_at_once_rings_once(
    book: Any, make_dialer: MakeDialer, exchange: Any, slots: Any
) -> None:
    """Two workers that have their slots at the same instant: one dials, the other finds the claim used."""
    claim = claimed(book, 0)
    barrier = threading.Barrier(2, timeout=10)
    slots.on_wait = barrier.wait
    dialer = make_dialer()
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(dialer.dial, [claim, claim]))
    assert sorted(results) == ["placed", "stale"]
    assert len(exchange.requests(claim.client_token)) == 1


def test_two_ledger_handles_ring_once(
    book: Any, make_dialer: MakeDialer, exchange: Any, slots: Any, ledger_path: Path
) -> None:
    """The same with two processes' handles on the file, whose memories have nothing in common."""
    claim = claimed(book, 0)
    barrier = threading.Barrier(2, timeout=10)
    slots.on_wait = barrier.wait
    other = open_ledger(f"sqlite:///{ledger_path}")
    try:
        dialers = [make_dialer(), make_dialer(ledger=other)]
        with ThreadPoolExecutor(2) as pool:
            results = list(pool.map(lambda dialer: dialer.dial(claim), dialers))
    finally:
        other.close()
    assert sorted(results) == ["placed", "stale"]
    assert exchange.rings(claim.client_token) == 1


def test_message_that_rescue_overtook_rings_never(
    book: Any, make_dialer: MakeDialer, exchange: Any, clock: Any
) -> None:
    """A task whose claim was taken back is stale; its successor rings, with the same token."""
    late = claimed(book, 0)
    clock.now += 31
    assert rescue(book.ledger, clock.utc(), lease=LEASE, search_after=LEASE) == Rescued(returned=1, unknown=0)
    dialer = make_dialer()
    assert dialer.dial(late) == "stale"
    assert exchange.requests(late.client_token) == []
    (again,) = book.claim()
    assert (again.client_token, again.fence) == (late.client_token, late.fence + 1)
    assert dialer.dial(late) == "stale"
    assert dialer.dial(again) == "placed"
    assert exchange.rings(late.client_token) == 1


@pytest.mark.parametrize("state", ["no slot", "no Redis", "stopping"])
def test_second_delivery_does_not_give_back_what_the_first_is_dialing(
    book: Any, make_dialer: MakeDialer, seam: Callable[..., Any], slots: Any, exchange: Any, state: str
) -> None:
    """A task's copy that gives up before dialing leaves the attempt to the one that is dialing it."""
    claim = claimed(book, 87)
    seen: list[tuple[str, str]] = []

    def second_delivery() -> None:
        slots.granted, slots.gone = state != "no slot", state == "no Redis"
        make_dialer(stopping=lambda: state == "stopping").dial(claim)
        seen.append(book.standing())
        slots.granted, slots.gone = True, False

    assert make_dialer(connect=seam(second_delivery)).dial(claim) == "placed"
    assert seen == [("dialing", "in_progress")]
    assert book.standing() == ("placed", "in_progress")
    assert book.claim() == []


def test_failed_publishing_does_not_give_back_what_is_being_dialed(
    book: Any, make_dialer: MakeDialer, seam: Callable[..., Any], clock: Any
) -> None:
    """A batch that failed may have delivered a task all the same; the call under way stays as it is."""
    claim = claimed(book, 87)
    seen: list[int] = []

    def publishing_fails() -> None:
        seen.append(hand_back(book.ledger, [claim], "Redis does not take the tasks", due_at=clock.utc()))

    assert make_dialer(connect=seam(publishing_fails)).dial(claim) == "placed"
    assert seen == [0]
    assert book.standing() == ("placed", "in_progress")


# --- before anything has left -----------------------------------------------------------------------------


def test_ledger_gone_before_dialing_sends_nothing(
    book: Any, make_dialer: MakeDialer, exchange: Any, clock: Any
) -> None:
    """Without the ledger's word nobody is rung; when it is back, the attempt is due again."""
    claim = claimed(book, 0)
    book.ledger.away = True
    with pytest.raises(LedgerUnavailable):
        make_dialer().dial(claim)
    assert exchange.requests(claim.client_token) == []
    book.ledger.away = False
    clock.now += 31
    assert rescue(book.ledger, clock.utc(), lease=LEASE, search_after=LEASE) == Rescued(returned=1, unknown=0)
    assert book.standing() == ("returned", "waiting")


def test_no_slot_within_reach_returns_the_attempt(
    book: Any, make_dialer: MakeDialer, exchange: Any, slots: Any, clock: Any
) -> None:
    """An attempt whose slot is too far away goes back, due at once, and nothing is charged."""
    claim = claimed(book, 0)
    slots.granted = False
    assert make_dialer().dial(claim) == "returned"
    assert exchange.requests(claim.client_token) == []
    assert book.standing() == ("returned", "waiting")
    assert book.recipients()[0].due_at == clock.utc()


def test_without_redis_nobody_dials(book: Any, make_dialer: MakeDialer, exchange: Any, slots: Any) -> None:
    """A pacer that cannot be asked is no permission."""
    claim = claimed(book, 0)
    slots.gone = True
    assert make_dialer().dial(claim) == "returned"
    assert exchange.requests(claim.client_token) == []
    assert book.attempt().reason.startswith("Redis does not answer")


@pytest.mark.parametrize("seconds", [151, -151])
def test_clock_that_is_far_from_the_ledgers_dials_nothing(
    book: Any, make_dialer: MakeDialer, exchange: Any, seconds: int
) -> None:
    """AWS checks this machine's clock, and a call in doubt is searched for around the ledger's time: were the
    two far apart, the search would miss it. Nothing is charged, and the reason is told of."""
    claim = claimed(book, 0)
    problems: list[str | None] = []
    skewed = make_dialer(clock_skew=lambda: timedelta(seconds=seconds), report_problem=problems.append)
    assert skewed.dial(claim) == "returned"
    where = "behind" if seconds > 0 else "ahead of"
    assert problems == [
        f"this machine's clock is 151 s {where} that of the ledger's database, and it dials nothing; "
        "set both by NTP"
    ]
    assert exchange.rings(claim.client_token) == 0
    book.clock.now += 11
    near = make_dialer(clock_skew=lambda: timedelta(seconds=149))
    assert [near.dial(again) for again in book.claim()] == ["placed"]


def test_without_a_real_redis_nobody_dials(
    book: Any, make_dialer: MakeDialer, exchange: Any, clock: Any, tmp_path: Path
) -> None:
    """The same with the real pacer and a socket that is not there."""
    claim = claimed(book, 0)
    with Redis(unix_socket_path=str(tmp_path / "none-such"), retry=Retry(NoBackoff(), 0)) as nobody:
        pacer = Pacer(nobody, bucket_name("a", "r", "s"), Rate(2, 5), sleep=clock.sleep, monotonic=clock)
        assert make_dialer(pacer=pacer).dial(claim) == "returned"
    assert exchange.requests(claim.client_token) == []


def test_stopping_before_the_slot_is_used_returns_the_attempt(
    book: Any, make_dialer: MakeDialer, exchange: Any
) -> None:
    """A worker that was told to stop gives back what has not left."""
    claim = claimed(book, 0)
    assert make_dialer(stopping=lambda: True).dial(claim) == "returned"
    assert exchange.requests(claim.client_token) == []
    assert book.standing() == ("returned", "waiting")


def test_paused_campaign_is_not_dialed(book: Any, make_dialer: MakeDialer, exchange: Any, slots: Any) -> None:
    """A pause between the slot's granting and dialing still holds."""
    name = book.load(number(0))
    (claim,) = book.claim()

    def pause() -> None:
        with book.ledger.write() as db:
            assert runs.pause(db, runs.find(db, name).id, "by hand") is True

    slots.on_wait = pause
    assert make_dialer().dial(claim) == "stale"
    assert exchange.requests(claim.client_token) == []
    assert book.standing() == ("returned", "waiting")


def test_worker_for_another_exchange_does_not_dial(book: Any, make_dialer: MakeDialer, exchange: Any) -> None:
    """A trial's attempt is never dialed for real, whatever queue its message strayed into."""
    claim = claimed(book, 0)
    assert make_dialer(exchange="connect").dial(claim) == "stale"
    assert exchange.requests(claim.client_token) == []
    assert book.standing() == ("returned", "waiting")


def test_worker_that_stood_still_after_dialing_sends_nothing(
    book: Any, make_dialer: MakeDialer, seam: Callable[..., Any], exchange: Any, clock: Any
) -> None:
    """Minutes between `dialing` and the request: it stays at home, and its worker can vouch for that."""
    claim = claimed(book, 0)

    def stand_still() -> None:
        clock.now += 300
        assert rescue(book.ledger, clock.utc(), lease=LEASE, search_after=LEASE) == Rescued(
            returned=0, unknown=1
        )

    make_dialer(connect=seam(stand_still)).dial(claim)
    assert exchange.requests(claim.client_token) == []
    assert book.standing() == ("returned", "waiting")


def test_worker_that_stood_still_while_writing_dialing_sends_nothing(
    book: Any, make_dialer: MakeDialer, exchange: Any, clock: Any
) -> None:
    """The lease counts from before the ledger was asked, so waiting for its lock counts as well."""
    claim = claimed(book, 0)
    ledger, write = book.ledger, book.ledger.write

    def slow_write() -> Any:
        clock.now += 40
        return write()

    ledger.write = slow_write
    dialer = make_dialer()
    try:
        dialer.dial(claim)
    finally:
        del ledger.write
    assert exchange.requests(claim.client_token) == []


# --- answers that say that it did not ring ----------------------------------------------------------------


def test_throttled_attempt_is_returned_uncharged(
    book: Any, make_dialer: MakeDialer, exchange: Any, slots: Any, clock: Any
) -> None:
    """429 costs no attempt: the same number and token are due in a second, and everybody slows down."""
    claim = claimed(book, 92)
    dialer = make_dialer()
    assert dialer.dial(claim) == "returned"
    assert slots.throttles == 1
    assert book.standing() == ("returned", "waiting")
    assert book.recipients()[0].due_at == clock.utc() + timedelta(seconds=1)
    assert book.claim() == []
    clock.now += 1
    (again,) = book.claim()
    assert again.client_token == claim.client_token
    assert (book.attempt().number, book.recipients()[0].attempts) == (1, 1)
    assert dialer.dial(again) == "placed"
    assert exchange.rings(claim.client_token) == 1


def test_throttled_attempt_is_returned_although_redis_is_gone(
    book: Any, make_dialer: MakeDialer, seam: Callable[..., Any], slots: Any
) -> None:
    """Whether the others can be told or not, this attempt did not ring."""
    claim = claimed(book, 92)

    def redis_goes() -> None:
        slots.gone = True

    assert make_dialer(connect=seam(redis_goes)).dial(claim) == "returned"
    assert book.standing() == ("returned", "waiting")


def test_used_up_capacity_returns_the_attempt(
    book: Any, make_dialer: MakeDialer, exchange: Any, slots: Any, clock: Any
) -> None:
    """LimitExceeded costs no attempt either; it is due later, and the rate stays as it is."""
    claim = claimed(book, 93)
    assert make_dialer().dial(claim) == "returned"
    assert slots.throttles == 0
    assert book.standing() == ("returned", "waiting")
    assert book.recipients()[0].due_at == clock.utc() + timedelta(seconds=10)
    assert exchange.rings(claim.client_token) == 0


@pytest.mark.parametrize(
    ("last_digits", "reason"),
    [
        (90, "DestinationNotAllowedException: the instance may not call this country or number"),
        (91, "InvalidParameterException: "),
    ],
)
def test_refused_call_is_done(
    book: Any, make_dialer: MakeDialer, exchange: Any, clock: Any, last_digits: int, reason: str
) -> None:
    """What Connect will not place is refused, with its reason, and the recipient is done."""
    claim = claimed(book, last_digits)
    assert make_dialer().dial(claim) == "refused"
    assert book.standing() == ("refused", "done")
    assert book.attempt().reason.startswith(reason)
    assert book.attempt().ended_at == clock.utc()
    assert len(exchange.requests(claim.client_token)) == 1


def test_misconfiguration_pauses_the_campaign(
    book: Any, make_dialer: MakeDialer, connect_to: Callable[..., Connect]
) -> None:
    """A fault of all calls stops the campaign with the reason, and costs nobody an attempt."""
    name = book.load(number(0), number(1))
    claim, other = book.claim()
    with running_sandbox(SandboxOptions(port=0, incognito=True)) as url:
        wrong = connect_to(f"{url}/elsewhere")
        assert make_dialer(connect=wrong).dial(claim) == "returned"
    run = book.run(name)
    assert (run.state, run.reason_code) == ("paused", "UnknownOperationException")
    assert run.reason.startswith("UnknownOperationException: check AWS_ENDPOINT_URL_CONNECT")
    assert [row.state for row in book.attempts()] == ["returned", "returned"]
    assert [row.state for row in book.recipients()] == ["waiting", "waiting"]
    assert book.claim() == []
    assert make_dialer().dial(other) == "stale"


@pytest.mark.parametrize("parameter", ["Name", "Description", "References", "RelatedContactId", "CampaignId"])
@pytest.mark.parametrize("code", ["InvalidParameterException", "InvalidRequestException"])
def test_a_fault_that_all_calls_share_is_found_at_the_first_and_refuses_nobody(
    book: Any, make_dialer: MakeDialer, seam: Callable[..., Any], parameter: str, code: str
) -> None:
    """A name that is too long would be refused for each recipient of the list, one after the other."""
    name = book.load(number(0), number(1))
    claim, other = book.claim()

    def refuse() -> None:
        raise judged_answer(400, code, f"{parameter} is not valid")

    assert make_dialer(connect=seam(refuse)).dial(claim) == "returned"
    run = book.run(name)
    assert (run.state, run.reason_code) == ("paused", code)
    assert "check the [connect] table" in run.reason
    assert [row.state for row in book.attempts()] == ["returned", "returned"]
    assert [row.state for row in book.recipients()] == ["waiting", "waiting"]
    assert make_dialer().dial(other) == "stale"


def test_campaign_that_is_paused_already_is_no_error(
    book: Any, make_dialer: MakeDialer, seam: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Of several calls in flight only the first can pause; the others have not lost their claims."""
    name = book.load(number(0))
    (claim,) = book.claim()

    def pause() -> None:
        with book.ledger.write() as db:
            runs.pause(db, runs.find(db, name).id, "by another worker", code="AccessDenied")
        raise Misconfigured("AccessDeniedException", "check the rights")

    caplog.set_level(logging.INFO)
    assert make_dialer(connect=seam(pause)).dial(claim) == "returned"
    assert [record.message for record in caplog.records if record.levelno >= logging.ERROR] == []
    assert book.run(name).reason == "by another worker"


def test_request_that_never_left_is_tried_three_times(
    book: Any, make_dialer: MakeDialer, connect_to: Callable[..., Connect], clock: Any
) -> None:
    """A refused port proves that nothing left: three tries, then the attempt is returned uncharged."""
    claim = claimed(book, 0)
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
    assert make_dialer(connect=connect_to(f"http://127.0.0.1:{port}")).dial(claim) == "returned"
    assert len(clock.slept) == 2
    assert book.standing() == ("returned", "waiting")
    assert book.attempt().reason.startswith("EndpointConnectionError: ")
    assert book.recipients()[0].due_at == clock.utc() + timedelta(seconds=5)


def test_request_that_never_left_goes_through_on_the_next_try(
    book: Any, make_dialer: MakeDialer, seam: Callable[..., Any], exchange: Any
) -> None:
    """A hiccup before sending costs a moment and nothing else."""
    claim = claimed(book, 0)
    connect = seam(NeverSent("EndpointConnectionError", "no connection"))
    assert make_dialer(connect=connect).dial(claim) == "placed"
    assert len(connect.orders) == 2
    assert exchange.rings(claim.client_token) == 1


def test_a_clock_that_aws_refuses_pauses_nothing(
    book: Any, make_dialer: MakeDialer, seam: Callable[..., Any], exchange: Any
) -> None:
    """It did not ring. As soon as the clock is right the same attempt is dialed, without an operator."""
    name = book.load(number(0))
    (claim,) = book.claim()
    problems: list[Any] = []
    wrong = ClockWrong("RequestExpired", "this machine's clock is 600 s behind AWS's; set it by NTP", 403)
    assert make_dialer(connect=seam(wrong), report_problem=problems.append).dial(claim) == "returned"
    assert [problem.code for problem in problems] == ["clock_skew"]
    assert "600 s behind AWS's" in problems[0]
    assert book.run(name).state == "running"
    assert book.recipients()[0].due_at == book.clock.utc() + timedelta(seconds=10)
    book.clock.now += 11
    assert [make_dialer().dial(again) for again in book.claim()] == ["placed"]
    assert exchange.rings(claim.client_token) == 1


def test_redis_that_fails_while_dialing_is_reported(
    book: Any, make_dialer: MakeDialer, tmp_path: Path
) -> None:
    """By the dial worker itself: the probe of its health may be allowed what the pacer is not."""
    problems: list[Any] = []
    claim = claimed(book, 0)
    with Redis(unix_socket_path=str(tmp_path / "none-such"), retry=Retry(NoBackoff(), 0)) as nobody:
        pacer = Pacer(nobody, bucket_name("a", "r", "s"), Rate(2, 5), sleep=lambda _: None)
        assert make_dialer(pacer=pacer, report_problem=problems.append).dial(claim) == "returned"
    assert [problem.code for problem in problems] == ["redis_away"]


def test_what_keeps_calls_from_being_placed_is_reported_until_one_is(
    book: Any, make_dialer: MakeDialer, seam: Callable[..., Any]
) -> None:
    """The status can say that the network or a quota is in the way, and that it no longer is."""
    problems: list[str | None] = []
    no_way = [NeverSent("EndpointConnectionError", "no connection")] * 3
    for happenings in (no_way, [NoCapacity("LimitExceededException", "a quota is used up")], [None]):
        claim = claimed(book, 0)
        make_dialer(connect=seam(*happenings), report_problem=problems.append).dial(claim)
    assert problems == [
        "no call gets through: EndpointConnectionError: no connection",
        "no capacity: LimitExceededException: a quota is used up",
        None,
    ]


def test_call_that_was_withheld_is_no_problem_of_the_way_out(
    book: Any, make_dialer: MakeDialer, slots: Any
) -> None:
    """A worker that is stopping gives its attempt back without alarming anybody."""
    problems: list[str | None] = []
    claim = claimed(book, 0)
    looks = iter([False, True, True])
    dialer = make_dialer(stopping=lambda: next(looks, True), report_problem=problems.append)
    assert dialer.dial(claim) == "returned"
    assert problems == []


def test_answer_that_it_did_not_ring_waits_for_the_ledger(
    book: Any, make_dialer: MakeDialer, seam: Callable[..., Any], clock: Any
) -> None:
    """A ledger that is away for a moment does not make an unknown of what certainly never rang."""
    claim = claimed(book, 0)

    def throttled() -> None:
        book.ledger.away = True
        raise Throttled("TooManyRequestsException", "too many requests a second")

    def come_back() -> None:
        book.ledger.away = len(clock.slept) < 3

    clock.on_sleep = come_back
    assert make_dialer(connect=seam(throttled)).dial(claim) == "returned"
    assert book.standing() == ("returned", "waiting")


# --- answers that leave it open ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "last_digits",
    [
        pytest.param(94, id="500, nothing placed"),
        pytest.param(96, id="500, although placed"),
        pytest.param(97, id="connection dropped, nothing placed"),
        pytest.param(98, id="connection dropped, although placed"),
    ],
)
def test_lost_answer_is_asked_for_again_inside_the_window(
    book: Any, make_dialer: MakeDialer, exchange: Any, slots: Any, last_digits: int
) -> None:
    """While the call must still be alive, the same token finds it: one ring, and its contact_id is known."""
    claim = claimed(book, last_digits)
    assert make_dialer().dial(claim) == "placed"
    first, second = exchange.requests(claim.client_token)
    assert exchange.rings(claim.client_token) == 1
    assert first["client_token"] == second["client_token"] == book.attempt().client_token
    assert book.attempt().contact_id == second["contact_id"]
    assert len(slots.horizons) == 2  # the repetition had a slot of its own


@pytest.mark.parametrize("last_digits", [94, 96, 97, 98])
def test_without_a_window_one_request_decides(
    book: Any, make_dialer: MakeDialer, exchange: Any, last_digits: int
) -> None:
    """Window 0: whatever is not answered is unknown after exactly one request, and not due again."""
    claim = claimed(book, last_digits)
    assert make_dialer(replay_window_seconds=0.0).dial(claim) == "unknown"
    assert len(exchange.requests(claim.client_token)) == 1
    assert book.standing() == ("unknown", "in_progress")
    assert book.claim() == []


def test_busy_trap_without_a_window_rings_once(
    book: Any, make_dialer: MakeDialer, exchange: Any, clock: Any
) -> None:
    """A call that is over after two seconds, with a 500 for an answer: nobody tries the token again."""
    claim = claimed(book, 89)
    dialer = make_dialer(replay_window_seconds=0.0)
    assert dialer.dial(claim) == "unknown"
    clock.now += 3600
    rescue(book.ledger, clock.utc(), lease=LEASE, search_after=LEASE)
    assert book.claim() == []
    assert dialer.dial(claim) == "stale"
    assert exchange.rings(claim.client_token) == 1


@pytest.mark.parametrize("speed", [1.5, 5.0, 10.0, 60.0, 1000.0])
@pytest.mark.parametrize("set_to", [0.5, 5.0, 20.0])
def test_no_token_is_sent_again_once_a_busy_line_of_fast_time_is_free(
    book: Any,
    make_dialer: MakeDialer,
    seam: Callable[..., Any],
    clock: Any,
    speed: float,
    set_to: float,
) -> None:
    """A busy call takes 2 s of the stand-in's time: whatever the setting is, no request leaves after that."""
    sent: list[float] = []

    def lose() -> None:
        sent.append(clock())
        raise Ambiguous("ReadTimeoutError", "?")

    dialer = make_dialer(connect=seam(*[lose] * 50), replay_window_seconds=set_to, speed=lambda: speed)
    assert dialer.dial(claimed(book, 10)) == "unknown"
    assert sent
    assert (sent[-1] - sent[0]) * speed < 2.0


@pytest.mark.parametrize(
    ("happenings", "dialed", "replays"),
    [
        ([], "placed", 0),
        ([NeverSent("EndpointConnectionError", "no connection")], "placed", 0),
        ([Ambiguous("ReadTimeoutError", "?")], "placed", 1),
        ([Ambiguous("ReadTimeoutError", "?"), Ambiguous("ReadTimeoutError", "?")], "placed", 2),
        ([Ambiguous("ReadTimeoutError", "?"), Throttled("Throttling", "slower")], "placed", 1),
        ([Ambiguous("ReadTimeoutError", "?"), ValueError("a fault of our own")], "unknown", 1),
    ],
)
def test_how_often_a_request_may_have_been_acted_upon_is_recorded(
    book: Any,
    make_dialer: MakeDialer,
    seam: Callable[..., Any],
    happenings: list[Exception],
    dialed: str,
    replays: int,
) -> None:
    """Each sending after the first can have become a call of its own; what did not ring is not counted."""
    claim = claimed(book, 0)
    assert make_dialer(connect=seam(*happenings)).dial(claim) == dialed
    assert book.attempt().replays == replays


def test_an_attempt_in_doubt_was_sent_before_it_was_in_doubt(
    book: Any, make_dialer: MakeDialer, seam: Callable[..., Any], clock: Any
) -> None:
    """Its worker is through with it, so that no call of a later time is its own."""
    claim = claimed(book, 0)

    def no_answer() -> None:
        clock.now += 5
        raise Ambiguous("ReadTimeoutError", "?")

    dialing = clock.utc()
    assert make_dialer(connect=seam(no_answer), replay_window_seconds=0.0).dial(claim) == "unknown"
    assert book.attempt().lease_until == dialing + timedelta(seconds=5)


def test_busy_trap_with_an_early_repetition_rings_once(
    book: Any, make_dialer: MakeDialer, exchange: Any
) -> None:
    """The first repetition comes within a second, when even a busy line's call is alive."""
    claim = claimed(book, 89)
    assert make_dialer().dial(claim) == "placed"
    assert exchange.rings(claim.client_token) == 1


def test_repetitions_end_with_the_window(
    book: Any, make_dialer: MakeDialer, exchange: Any, clock: Any
) -> None:
    """Every request of an attempt leaves within the window that its first one opened; then it is unknown."""
    claim = claimed(book, 95)
    began = clock.now
    assert make_dialer().dial(claim) == "unknown"
    times = [request["epoch"] - began for request in exchange.requests(claim.client_token)]
    assert len(times) > 1
    assert max(times) <= 5.0
    assert book.standing() == ("unknown", "in_progress")


def test_repetition_whose_slot_lies_beyond_the_window_is_not_sent(
    book: Any, make_dialer: MakeDialer, exchange: Any, slots: Any
) -> None:
    """Nobody waits longer for a repetition's slot than a repetition is allowed."""
    claim = claimed(book, 94)
    dialer = make_dialer()
    slots.on_wait = lambda: setattr(slots, "takes_seconds", 4.9 if len(slots.horizons) > 1 else 0.0)
    assert dialer.dial(claim) == "unknown"
    assert max(slots.horizons[1:]) < 5.0
    assert len(exchange.requests(claim.client_token)) == 1


def test_repetition_that_wakes_up_after_the_window_is_not_sent(
    book: Any, make_dialer: MakeDialer, seam: Callable[..., Any], exchange: Any, clock: Any
) -> None:
    """The last look before the socket sees that the window has passed meanwhile."""
    claim = claimed(book, 94)

    def oversleep() -> None:
        clock.now += 6

    assert make_dialer(connect=seam(None, oversleep)).dial(claim) == "unknown"
    assert len(exchange.requests(claim.client_token)) == 1
    assert book.attempt().reason.startswith("InternalServiceException: ")


@pytest.mark.parametrize("last_digits", [89, 94, 96])
def test_stopping_worker_does_not_repeat_its_request(
    book: Any, make_dialer: MakeDialer, exchange: Any, clock: Any, slots: Any, last_digits: int
) -> None:
    """Told to stop while it waits for the repetition, a worker records the doubt and goes."""
    claim = claimed(book, last_digits)
    stopping = threading.Event()
    clock.on_sleep = stopping.set
    assert make_dialer(stopping=stopping.is_set).dial(claim) == "unknown"
    assert len(exchange.requests(claim.client_token)) == 1


def test_repetition_needs_redis(
    book: Any, make_dialer: MakeDialer, exchange: Any, clock: Any, slots: Any
) -> None:
    """Without the pacer's leave nothing is sent again; the doubt stays."""
    claim = claimed(book, 94)
    clock.on_sleep = lambda: setattr(slots, "gone", True)
    assert make_dialer().dial(claim) == "unknown"
    assert len(exchange.requests(claim.client_token)) == 1


def test_answer_that_comes_too_late_is_unknown(
    book: Any, make_dialer: MakeDialer, connect_to: Callable[..., Connect], exchange: Any, clock: Any
) -> None:
    """A read timeout says nothing, and after it the window is over: one request, one ring, unknown."""
    claim = claimed(book, 99)
    impatient = connect_to(read_timeout_seconds=0.3)

    class Impatient:
        def place(self, *arguments: Any, **more: Any) -> str:
            try:
                return impatient.place(*arguments, **more)
            finally:
                clock.now += 10  # as long as the timeout is by default

    assert make_dialer(connect=Impatient()).dial(claim) == "unknown"
    assert len(exchange.requests(claim.client_token)) == 1
    assert exchange.rings(claim.client_token) == 1
    assert book.standing() == ("unknown", "in_progress")
    assert book.attempt().reason.startswith("ReadTimeoutError: ")


@pytest.mark.parametrize(
    "later",
    [
        Throttled("TooManyRequestsException", "too many requests a second"),
        Refused("DestinationNotAllowedException", "not this country"),
        Misconfigured("AccessDeniedException", "check the rights"),
        NeverSent("EndpointConnectionError", "no connection"),
        Ambiguous("InternalServiceException", "perhaps"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_doubt_outweighs_every_later_answer(
    book: Any, make_dialer: MakeDialer, seam: Callable[..., Any], exchange: Any, later: ConnectError
) -> None:
    """Once a request may have rung, an answer to its repetition cannot make it one that never did."""
    name = book.load(number(96))
    (claim,) = book.claim()
    connect = seam(None, later, later, later, later, later)
    assert make_dialer(connect=connect).dial(claim) == "unknown"
    assert len(connect.orders) >= 2
    assert exchange.rings(claim.client_token) == 1
    assert book.standing() == ("unknown", "in_progress")
    assert book.attempt().reason.startswith("InternalServiceException: AWS did not say")
    assert book.run(name).state == "running"
    assert book.claim() == []


@pytest.mark.parametrize("error", [RuntimeError(f"{PERSON} and more"), KeyboardInterrupt(), SystemExit(1)])
def test_unforeseen_exception_leaves_it_unknown(
    book: Any,
    make_dialer: MakeDialer,
    seam: Callable[..., Any],
    error: BaseException,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Nobody can say whether the request left, so it is not due again; and no log tells the number."""
    claim = claimed(book, 0)
    with nullcontext() if isinstance(error, Exception) else pytest.raises(type(error)):
        make_dialer(connect=seam(error)).dial(claim)
    assert PERSON not in caplog.text
    assert book.standing() == ("unknown", "in_progress")
    assert book.attempt().reason == f"{type(error).__name__} in the dialer itself"
    assert book.claim() == []


# --- after Connect answered -------------------------------------------------------------------------------


def test_contact_id_is_recorded_when_the_ledger_is_back(
    book: Any, make_dialer: MakeDialer, seam: Callable[..., Any], exchange: Any, clock: Any
) -> None:
    """A ledger that is away for some seconds after the answer costs nothing."""
    claim = claimed(book, 0)

    def come_back() -> None:
        book.ledger.away = len(clock.slept) < 4

    clock.on_sleep = come_back
    connect = seam(after=lambda: setattr(book.ledger, "away", True))
    assert make_dialer(connect=connect).dial(claim) == "placed"
    (request,) = exchange.requests(claim.client_token)
    assert (book.attempt().state, book.attempt().contact_id) == ("placed", request["contact_id"])
    assert len(clock.slept) == 4


def test_contact_id_stands_in_the_log_when_the_ledger_stays_away(
    book: Any,
    make_dialer: MakeDialer,
    seam: Callable[..., Any],
    exchange: Any,
    clock: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The dialer gives up when the lease passes; the call is in the log, and rescue finds it unknown."""
    claim = claimed(book, 0)
    began = clock.now
    connect = seam(after=lambda: setattr(book.ledger, "away", True))
    assert make_dialer(connect=connect).dial(claim) == "placed"
    (request,) = exchange.requests(claim.client_token)
    assert 30 <= clock.now - began < 35
    (said,) = [r for r in caplog.records if request["contact_id"] in r.getMessage()]
    assert said.levelno == logging.ERROR
    book.ledger.away = False
    clock.now += 5
    assert book.attempt().state == "dialing"
    assert rescue(book.ledger, clock.utc(), lease=LEASE, search_after=LEASE) == Rescued(returned=0, unknown=1)
    assert book.standing() == ("unknown", "in_progress")
    assert book.claim() == []
    assert exchange.rings(claim.client_token) == 1


def test_answer_that_rescue_overtook_settles_the_unknown(
    book: Any, make_dialer: MakeDialer, seam: Callable[..., Any], exchange: Any, clock: Any
) -> None:
    """A contact_id that arrives after the attempt was given up is evidence: unknown becomes placed."""
    claim = claimed(book, 0)

    def stand_still() -> None:
        clock.now += 300
        assert rescue(book.ledger, clock.utc(), lease=LEASE, search_after=LEASE) == Rescued(
            returned=0, unknown=1
        )

    assert make_dialer(connect=seam(after=stand_still)).dial(claim) == "placed"
    assert book.standing() == ("placed", "in_progress")
    assert exchange.rings(claim.client_token) == 1


def test_throttle_that_rescue_overtook_settles_the_attempt(
    book: Any, make_dialer: MakeDialer, seam: Callable[..., Any], clock: Any
) -> None:
    """An answer that says that it did not ring is evidence, however late: nobody is held for it."""
    claim = claimed(book, 0)

    def late_throttle() -> None:
        clock.now += 300
        rescue(book.ledger, clock.utc(), lease=LEASE, search_after=LEASE)
        raise Throttled("TooManyRequestsException", "too many requests a second")

    assert make_dialer(connect=seam(late_throttle)).dial(claim) == "returned"
    assert book.standing() == ("returned", "waiting")
    clock.now += 1
    (again,) = book.claim()
    assert (again.client_token, again.fence) == (claim.client_token, claim.fence + 1)


# --- what is written down ---------------------------------------------------------------------------------


@pytest.mark.parametrize("last_digits", [0, 90, 91, 92, 93, 95, 97])
def test_log_masks_the_number(
    book: Any, make_dialer: MakeDialer, caplog: pytest.LogCaptureFixture, last_digits: int
) -> None:
    """Whatever happens to a call, the log names its number so that only who knows it recognises it."""
    phone = number(last_digits)
    claim = claimed(book, last_digits, attributes={"Phone": phone})
    caplog.set_level(logging.INFO)
    make_dialer().dial(claim)
    dialers = [record.getMessage() for record in caplog.records if record.name == "worker.dial"]
    assert any(f"+1415•••{phone[-4:]}" in line for line in dialers)
    assert phone[1:] not in caplog.text


def test_reasons_in_the_ledger_mask_the_number(book: Any, make_dialer: MakeDialer) -> None:
    """AWS repeats the number in its refusals; what status shows does not."""
    claim = claimed(book, 91)
    make_dialer().dial(claim)
    assert number(91)[1:] not in book.attempt().reason
