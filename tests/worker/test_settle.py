"""Searching for what may have rung: found, never found, or nobody can tell."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from campaigns.ledger.in_progress import CallLimit
from campaigns.ledger.moves import NotNow, mark_dialing, mark_placed
from campaigns.ledger.unknowns import Unknown
from worker.connect import CallReport, Connect, Listed, SearchPage
from worker.connect_errors import Ambiguous, Misconfigured, NeverSent, Throttled
from worker.dial import Dialer
from worker.follow import Following
from worker.settle import Settling, Stranger, matched, next_search

LOST = "+14155550196"
"""Its first answer is lost after the call was placed."""
NEVER = "+14155550194"
"""Its first request is lost before the call was placed."""
ALWAYS = "+14155550195"
"""Every request is."""
ANSWERED = "+14155550100"
PATIENCE = timedelta(seconds=300)
THEN = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
def dial(book: Any, make_dialer: Callable[..., Dialer]) -> Callable[[], list[str]]:
    """Dials whoever is due; an answer that is lost is not asked for again."""

    def run() -> list[str]:
        dialer = make_dialer(replay_window_seconds=0.0)
        return [dialer.dial(claim) for claim in book.claim()]

    return run


@pytest.fixture
def problems() -> list[str | None]:
    """What the search has reported."""
    return []


@pytest.fixture
def settle(book: Any, connect: Connect, slots: Any, problems: list[str | None]) -> Callable[..., int]:
    """One round of settling."""

    def run(**parts: Any) -> int:
        usual: dict[str, Any] = {
            "ledger": book.ledger,
            "connect": connect,
            "search_pacer": slots,
            "describe_pacer": slots,
            "exchange": "sandbox",
            "patience": PATIENCE,
            "follow": True,
            "clock": book.clock.utc,
            "report_problem": problems.append,
        }
        return Settling(**{**usual, **parts}).settle()

    return run


class Searched:
    """Connect, as far as settling asks it, with something amiss."""

    def __init__(
        self,
        connect: Connect,
        *,
        error: Exception | None = None,
        hidden: Sequence[str] = (),
        nobody: bool = False,
        indescribable: str = "",
        plus: bool = True,
    ) -> None:
        self._connect, self.error, self.hidden, self.nobody = connect, error, hidden, nobody
        self.indescribable, self.plus = indescribable, plus
        self.searches: list[tuple[datetime, datetime]] = []
        self.attributes: list[Any] = []
        self.described: list[str] = []

    def search(
        self,
        instance_id: str,
        since: datetime,
        until: datetime,
        next_token: str | None = None,
        *,
        attribute: Any = None,
    ) -> SearchPage:
        self.searches.append((since, until))
        self.attributes.append(attribute)
        if self.error is not None:
            raise self.error
        page = self._connect.search(instance_id, since, until, next_token, attribute=attribute)
        return replace(page, calls=[call for call in page.calls if call.contact_id not in self.hidden])

    def describe(self, instance_id: str, contact_id: str) -> CallReport | None:
        self.described.append(contact_id)
        if contact_id == self.indescribable:
            raise Ambiguous("InternalServiceException", "HTTP 500")
        report = self._connect.describe(instance_id, contact_id)
        if self.nobody or report is None:
            return None
        return report if self.plus else replace(report, phone=(report.phone or "").lstrip("+"))


def test_lost_answer_is_found_and_the_call_followed(
    book: Any, dial: Callable[[], list[str]], settle: Callable[..., int], exchange: Any
) -> None:
    """A call whose answer got lost is placed after all, under Connect's own id; nothing is sent again."""
    book.load(LOST)
    assert dial() == ["unknown"]
    assert book.standing() == ("unknown", "in_progress")
    book.clock.now += 10
    assert settle() == 1
    assert book.standing() == ("placed", "in_progress")
    attempt = book.attempt()
    (request,) = exchange.requests(attempt.client_token)
    assert attempt.contact_id == request["contact_id"]
    assert attempt.follow_at == book.clock.utc()
    assert attempt.evidence == "found among Connect's calls"


def test_nobody_follows_where_outcomes_are_not_asked_for(
    book: Any, dial: Callable[[], list[str]], settle: Callable[..., int]
) -> None:
    """With following switched off a call that was found is all there is to know."""
    book.load(LOST)
    dial()
    book.clock.now += 10
    assert settle(follow=False) == 1
    assert book.standing() == ("placed", "done")


def test_search_comes_when_it_is_due_and_ever_more_rarely(
    book: Any, dial: Callable[[], list[str]], settle: Callable[..., int], connect: Connect
) -> None:
    """Nobody asks at once; then at 10, 20, 40, 80, 160 and 300 seconds, and the last one decides."""
    book.load(NEVER)
    dial()
    began = book.clock.now
    watched = Searched(connect)
    asked: list[float] = []
    while book.clock.now <= began + 400:
        before = len(watched.searches)
        settle(connect=watched)
        if len(watched.searches) > before:
            asked.append(book.clock.now - began)
        book.clock.now += 1
    assert asked == [10, 20, 40, 80, 160, 300]


def test_never_found_is_dialed_again_with_a_new_token(
    book: Any, dial: Callable[[], list[str]], settle: Callable[..., int], exchange: Any
) -> None:
    """What Connect never heard of is due again as a new attempt; the old token is never sent again."""
    book.load(NEVER)
    dial()
    book.clock.now += 299
    settle()
    assert book.standing() == ("unknown", "in_progress")
    book.clock.now += 1
    assert settle() == 1
    assert book.standing() == ("unknown", "waiting")
    # This number's fault meets each token once; the calm one's calls are placed.
    assert dial() == ["unknown"]
    first, second = book.attempts()
    assert first.evidence == "never found: 0 calls listed at that time, 0 of them not ours"
    assert (first.settle_at, second.number) == (None, 2)
    assert [len(exchange.requests(each.client_token)) for each in (first, second)] == [1, 1]


def test_never_found_is_held_where_the_campaign_says_so(
    book: Any, dial: Callable[[], list[str]], settle: Callable[..., int]
) -> None:
    """`when_unknown = "hold"`: the recipient waits for a person's word, and nobody searches any more."""
    name = book.load(NEVER, redial={"when_unknown": "hold"})
    dial()
    book.clock.now += 300
    assert settle() == 1
    assert book.standing() == ("unknown", "held")
    assert book.attempt().settle_at is None
    book.clock.now += 100_000
    assert settle() == 0
    assert book.run(name).state == "running"


def test_third_attempt_that_is_never_found_is_held(
    book: Any, dial: Callable[[], list[str]], settle: Callable[..., int], exchange: Any
) -> None:
    """Whose calls are never found, three in a row, may be one whose calls cannot be found."""
    book.load(ALWAYS)
    for _ in range(3):
        assert dial() == ["unknown"]
        book.clock.now += 300
        assert settle() == 1
    assert [attempt.number for attempt in book.attempts()] == [1, 2, 3]
    assert [person.state for person in book.recipients()] == ["held"]
    assert dial() == []


def test_search_that_misses_a_known_call_is_not_believed(
    book: Any,
    dial: Callable[[], list[str]],
    settle: Callable[..., int],
    connect: Connect,
) -> None:
    """While Connect hides calls that we know were placed then, it may hide this one: nobody is rung."""
    book.load(NEVER, ANSWERED)
    assert dial() == ["unknown", "placed"]
    _, placed = book.attempts()
    late = Searched(connect, hidden=[placed.contact_id])
    book.clock.now += 300
    assert settle(connect=late) == 0
    assert [person.state for person in book.recipients()] == ["held", "in_progress"]
    assert book.attempts()[0].evidence == (
        "nobody can tell: 1 of 1 calls placed at that time are not listed either"
    )
    # It is asked again, and when the known call is there, the other's absence counts.
    book.clock.now += 300
    assert settle() == 1
    assert [person.state for person in book.recipients()] == ["waiting", "in_progress"]


def test_call_found_after_it_was_given_up_frees_its_recipient(
    book: Any, dial: Callable[[], list[str]], settle: Callable[..., int], connect: Connect
) -> None:
    """A held recipient whose call turns up at last is followed like any other."""
    book.load(LOST, ANSWERED)
    dial()
    _, placed = book.attempts()
    (call,) = set(_listed(connect, book)) - {placed.contact_id}
    book.clock.now += 300
    assert settle(connect=Searched(connect, hidden=[call, placed.contact_id])) == 0
    assert book.recipients()[0].state == "held"
    book.clock.now += 300
    assert settle() == 1
    assert book.attempts()[0].contact_id == call
    assert book.recipients()[0].state == "in_progress"


def test_call_of_which_connect_does_not_say_whom_it_was_for_may_be_it(
    book: Any, dial: Callable[[], list[str]], settle: Callable[..., int], connect: Connect
) -> None:
    """A contact that is listed but cannot be described yet keeps the search from deciding."""
    book.load(LOST)
    dial()
    book.clock.now += 300
    assert settle(connect=Searched(connect, nobody=True)) == 0
    assert book.standing() == ("unknown", "held")
    assert book.attempt().evidence == "nobody can tell: Connect did not say whom some calls were for"


def test_known_calls_are_not_described(
    book: Any, dial: Callable[[], list[str]], settle: Callable[..., int], connect: Connect
) -> None:
    """Only what the ledger does not know costs a DescribeContact; one search serves all that are due."""
    book.load(LOST, ANSWERED, "+14155550101", "+12125550196")
    assert dial() == ["unknown", "placed", "placed", "unknown"]
    watched = Searched(connect)
    book.clock.now += 10
    assert settle(connect=watched) == 2
    assert (len(watched.searches), len(watched.described)) == (1, 2)


def test_clock_that_is_four_minutes_off_is_seen_through(
    book: Any,
    dial: Callable[[], list[str]],
    settle: Callable[..., int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The last search looks as far around as AWS accepts a clock: a slow clock makes no call unfindable."""
    book.load(LOST)
    here = book.clock.utc
    monkeypatch.setattr(book.clock, "utc", lambda: here() - timedelta(minutes=4))
    assert dial() == ["unknown"]
    book.clock.now += 10
    assert settle() == 0
    book.clock.now += 290
    assert settle() == 1, book.attempt().evidence
    assert book.standing() == ("placed", "in_progress")


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (NeverSent("EndpointConnectionError", "no connection"), True),
        (Ambiguous("InternalServiceException", "HTTP 500"), True),
        (Misconfigured("AccessDeniedException", "allow connect:SearchContacts"), True),
        (Throttled("ThrottlingException", "too many requests a second"), False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_search_that_fails_decides_nothing_and_is_tried_again(
    error: Exception,
    problem: bool,
    book: Any,
    slots: Any,
    dial: Callable[[], list[str]],
    settle: Callable[..., int],
    connect: Connect,
    problems: list[str | None],
) -> None:
    """Without an answer nobody is dialed again: the status says why, and the search comes again in time."""
    book.load(NEVER)
    dial()
    book.clock.now += 300
    assert settle(connect=Searched(connect, error=error)) == 0
    assert book.standing() == ("unknown", "held")
    assert str(error) in book.attempt().evidence
    assert problems == ([f"unknown calls cannot be searched for: {error}"] if problem else [])
    assert slots.throttles == (0 if problem else 1)
    assert book.attempt().settle_at == book.clock.utc() + timedelta(minutes=1)
    book.clock.now += 60
    assert settle() == 1
    assert book.standing() == ("unknown", "waiting")
    assert problems[-1] is None


def test_search_waits_for_its_turn_and_ends_with_its_worker(
    book: Any, slots: Any, dial: Callable[[], list[str]], settle: Callable[..., int], connect: Connect
) -> None:
    """Without a slot of its quota, or in a stopping worker, no request is sent and nothing decided."""
    book.load(NEVER)
    dial()
    watched = Searched(connect)
    book.clock.now += 300
    assert settle(connect=watched, stopping=lambda: True) == 0
    book.clock.now += 60
    slots.granted = False
    assert settle(connect=watched) == 0
    assert watched.searches == []
    assert book.standing() == ("unknown", "held")


def test_search_that_died_is_due_again(
    book: Any, dial: Callable[[], list[str]], settle: Callable[..., int], connect: Connect
) -> None:
    """A process that is killed while it searches leaves everything as it was, for the next one to find."""
    book.load(LOST)
    dial()
    book.clock.now += 10
    with pytest.raises(KeyboardInterrupt):
        settle(connect=Searched(connect, error=KeyboardInterrupt()))  # type: ignore[arg-type]
    assert settle() == 0
    book.clock.now += 300
    assert settle() == 1
    assert book.standing() == ("placed", "in_progress")


def test_nobody_searches_for_ever(
    book: Any, dial: Callable[[], list[str]], settle: Callable[..., int], connect: Connect
) -> None:
    """What a month of searches could not tell is not asked for any more; the recipient stays held."""
    book.load(NEVER, ANSWERED)
    dial()
    blind = Searched(connect, hidden=[book.attempts()[1].contact_id])
    book.clock.now += 30 * 86_400 + 300
    settle(connect=blind)
    assert book.recipients()[0].state == "held"
    assert book.attempts()[0].settle_at is None


def test_search_that_failed_has_not_been_one(
    book: Any, dial: Callable[[], list[str]], settle: Callable[..., int], connect: Connect
) -> None:
    """However long the dialer was down: a hiccup of its first search does not end the searching."""
    book.load(LOST)
    dial()
    book.clock.now += 40 * 86_400
    assert settle(connect=Searched(connect, error=Throttled("ThrottlingException", "too many"))) == 0
    assert book.standing() == ("unknown", "held")
    book.clock.now += 60
    assert settle() == 1
    assert book.standing() == ("placed", "in_progress")


def test_one_contact_that_cannot_be_described_hides_nobody_else(
    book: Any, dial: Callable[[], list[str]], settle: Callable[..., int], connect: Connect
) -> None:
    """Its error keeps the search from deciding on those it may be; the others are found all the same."""
    book.load(LOST, "+12125550196")
    assert dial() == ["unknown", "unknown"]
    (bad, _) = _listed(connect, book)
    book.clock.now += 300
    assert settle(connect=Searched(connect, indescribable=bad)) == 1
    assert sorted(row.state for row in book.attempts()) == ["placed", "unknown"]
    assert sorted(person.state for person in book.recipients()) == ["held", "in_progress"]


def test_problem_is_over_when_nothing_is_searched_for_any_more(
    book: Any,
    dial: Callable[[], list[str]],
    settle: Callable[..., int],
    connect: Connect,
    problems: list[str | None],
) -> None:
    """A search that failed is no alarm for ever: the answer may come after all."""
    book.load(LOST)
    dial()
    book.clock.now += 10
    settle(connect=Searched(connect, error=NeverSent("EndpointConnectionError", "no connection")))
    settle()
    assert len(problems) == 1
    attempt = book.attempt()
    now = book.clock.utc()
    assert mark_placed(book.ledger, attempt.id, attempt.fence, "the-contact", now=now, follow_at=now)
    settle()
    assert problems[1:] == [None]


def test_unforeseen_error_is_seen_and_the_search_goes_on(
    book: Any,
    dial: Callable[[], list[str]],
    settle: Callable[..., int],
    connect: Connect,
    problems: list[str | None],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A fault of our own is reported by its name alone, and tried again; nobody stays in progress for it."""
    book.load(LOST)
    dial()
    book.clock.now += 300
    assert settle(connect=Searched(connect, error=AttributeError(LOST))) == 0
    assert problems == ["unknown calls cannot be searched for: AttributeError in the dialer itself"]
    assert book.standing() == ("unknown", "held")
    assert LOST not in caplog.text
    book.clock.now += 60
    assert settle() == 1


def test_number_that_is_not_written_as_ours_decides_nothing(
    book: Any, dial: Callable[[], list[str]], settle: Callable[..., int], connect: Connect
) -> None:
    """A contact whose address cannot be compared may be the call, whatever its form."""
    book.load(LOST)
    dial()
    book.clock.now += 300
    assert settle(connect=Searched(connect, plus=False)) == 0
    assert book.standing() == ("unknown", "held")


def test_nobody_is_dialed_again_whose_call_turns_up_late(
    book: Any, dial: Callable[[], list[str]], settle: Callable[..., int]
) -> None:
    """Passed for never placed, waiting for the next attempt or queued for it: an answer in hand ends that."""
    name = book.load(NEVER, "+12125550194")
    dial()
    book.clock.now += 300
    assert settle() == 2
    first, second = book.attempts()
    (queued,) = book.claim(keep_queued=1)
    now = book.clock.utc()
    for each in (first, second):
        assert mark_placed(book.ledger, each.id, each.fence, f"contact-{each.id}", now=now, follow_at=now)
    assert [(row.number, row.state) for row in book.attempts()] == [(1, "placed"), (1, "placed")]
    assert [(row.state, row.attempts) for row in book.recipients()] == [("in_progress", 1)] * 2
    assert dial() == []
    # Its task may still come: it finds nothing.
    this = (book.ledger, queued.attempt_id, queued.fence)
    assert isinstance(mark_dialing(*this, exchange="sandbox", now=now, lease=PATIENCE), NotNow)
    assert book.run(name).state == "running"


def test_more_results_than_a_query_shows_are_asked_for_in_parts(
    book: Any, dial: Callable[[], list[str]], settle: Callable[..., int]
) -> None:
    """Amazon shows 10,000 results of a query; the search goes on behind the last one that it has seen."""
    book.load(NEVER)
    dial()
    book.clock.now += 300
    crowd = Crowd(book.clock.utc() - timedelta(minutes=5), 12_345)
    assert settle(connect=crowd) == 1
    assert book.attempt().evidence == "never found: 12,345 calls listed at that time, 12,345 of them not ours"


@dataclass
class Crowd:
    """An instance with very many calls, ten a second, of which a query shows the first 10,000."""

    first: datetime
    count: int

    def search(
        self,
        instance_id: str,
        since: datetime,
        until: datetime,
        next_token: str | None = None,
        *,
        attribute: Any = None,
    ) -> SearchPage:
        calls = [
            Listed(f"contact-{n}", self.first + n * timedelta(milliseconds=10)) for n in range(self.count)
        ]
        shown = [call for call in calls if since <= call.initiated_at <= until][:10_000]
        begin = int(next_token or 0)
        more = begin + 100 < len(shown)
        return SearchPage(shown[begin : begin + 100], str(begin + 100) if more else None)

    def describe(self, instance_id: str, contact_id: str) -> CallReport:
        return CallReport(None, None, None, None, None, "+13035550100", {})


def _listed(connect: Connect, book: Any) -> list[str]:
    instance = "10a4c4eb-f57e-4d4c-b602-bf39176ced07"
    now = book.clock.utc()
    page = connect.search(instance, now - timedelta(minutes=1), now + timedelta(minutes=1))
    return [call.contact_id for call in page.calls]


@pytest.mark.parametrize(
    ("age", "wait"),
    [
        (0, 5),
        (10, 10),
        (40, 40),
        (160, 140),
        (299, 1),
        (300, 300),
        (900, 300),
        (2000, 500),
        (20_000, 5000),
        (400_000, 86_400),
        (2_600_000, None),
    ],
)
def test_waits_between_searches(age: int, wait: int | None) -> None:
    """They double up to the one that decides; where evidence cannot be had they go on for a day."""
    expected = None if wait is None else timedelta(seconds=wait)
    assert next_search(timedelta(seconds=age), PATIENCE) == expected


def unknown(attempt_id: int, phone: str, second: int) -> Unknown:
    """An attempt in doubt that was dialed at this second."""
    dialed = THEN + timedelta(seconds=second)
    campaign: Any = SimpleNamespace(connect=SimpleNamespace(search_attribute="Token"))
    return Unknown(
        attempt_id,
        1,
        f"token-{attempt_id}",
        phone,
        dialed,
        dialed + timedelta(seconds=30),
        dialed,
        0,
        campaign,
    )


def stranger(contact_id: str, phone: str | None, second: int, token: str | None = None) -> Stranger:
    """A call that was initiated at this second."""
    attributes = {"Token": token} if token else {}
    return Stranger(contact_id, THEN + timedelta(seconds=second), phone, attributes)


def test_calls_are_matched_by_number_and_time() -> None:
    """Each attempt gets the nearest call to its own number, each call belongs to one attempt at most."""
    unknowns = [unknown(1, ANSWERED, 0), unknown(2, ANSWERED, 40), unknown(3, LOST, 0), unknown(4, NEVER, 0)]
    calls = [
        stranger("b", ANSWERED, 41),
        stranger("a", ANSWERED, 1),
        stranger("c", "+12125550100", 0),
        stranger("d", None, 0),
        stranger("e", NEVER, 1000),
    ]
    found = {attempt_id: call.contact_id for attempt_id, call in matched(unknowns, calls).items()}
    assert found == {1: "a", 2: "b"}


def test_one_call_is_not_two_attempts() -> None:
    """Where two attempts to a number are in doubt and one call is there, the other stays in doubt."""
    found = matched([unknown(1, LOST, 0), unknown(2, LOST, 10)], [stranger("a", LOST, 9)])
    assert {attempt_id: call.contact_id for attempt_id, call in found.items()} == {2: "a"}


def test_attempt_that_was_never_found_is_not_charged(
    book: Any,
    dial: Callable[[], list[str]],
    settle: Callable[..., int],
    make_dialer: Callable[..., Dialer],
    connect: Connect,
    slots: Any,
) -> None:
    """Two attempts allowed are two rings: what was never placed has used up neither."""
    book.load("+14155550175", redial={"max_attempts": 2, "busy": "1s"})
    assert make_dialer(replay_window_seconds=0.0, connect=Lost()).dial(book.claim()[0]) == "unknown"
    book.clock.now += 300
    assert settle() == 1
    states = []
    for _ in range(3):
        states += dial()
        book.clock.now += 100
        Following(
            ledger=book.ledger,
            connect=connect,
            pacer=slots,
            exchange="sandbox",
            first=timedelta(seconds=65),
            limit=CallLimit(100, timedelta(minutes=5)),
            clock=book.clock.utc,
        ).follow(10)
        book.clock.now += 100
    assert states == ["placed", "placed"]
    assert [(row.number, row.outcome) for row in book.attempts()] == [(1, None), (2, "busy"), (3, "busy")]


class Lost:
    """A Connect whose requests get lost on their way."""

    def place(self, order: Any, *, send_before: Callable[[], bool] | None = None) -> str:
        raise Ambiguous("ConnectionClosedError", "AWS did not say whether the call was placed")


def test_a_token_tells_two_calls_to_one_number_apart() -> None:
    """Where calls carry their token, the nearest in time is not taken for another's."""
    unknowns = [unknown(1, ANSWERED, 0), unknown(2, ANSWERED, 1)]
    calls = [stranger("b", ANSWERED, 0, "token-2"), stranger("c", ANSWERED, 1, "token-of-another-campaign")]
    assert {key: call.contact_id for key, call in matched(unknowns, calls).items()} == {2: "b"}


def test_search_goes_by_the_token_where_calls_carry_it_and_at_last_by_time(
    book: Any, dial: Callable[[], list[str]], settle: Callable[..., int], connect: Connect, exchange: Any
) -> None:
    """A searchable attribute spares describing everybody else's calls; what decides is not left to it."""
    connect_options = {
        "instance_id": "10a4c4eb-f57e-4d4c-b602-bf39176ced07",
        "contact_flow_id": "b0b8f2dd-ed1b-4c44-af36-ce189a178181",
        "source_phone_number": "+14155550199",
        "search_attribute": "DialerToken",
    }
    book.load(LOST, NEVER, connect=connect_options)
    dial()
    lost, never = book.attempts()
    watched = Searched(connect)
    book.clock.now += 10
    assert settle(connect=watched) == 1
    assert watched.attributes == [("DialerToken", [lost.client_token, never.client_token])]
    book.clock.now += 290
    assert settle(connect=watched) == 1
    assert watched.attributes[1:] == [None]
    assert [row.state for row in book.recipients()] == ["in_progress", "waiting"]
