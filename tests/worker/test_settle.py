"""Searching for what may have rung: found, never found, or nobody can tell."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import delete

from campaigns.ledger import runs
from campaigns.ledger.in_progress import CallLimit
from campaigns.ledger.moves import NotNow, give_back, mark_dialing, mark_placed
from campaigns.ledger.tables import brakes
from worker.connect import CallReport, Connect, Listed, SearchPage
from worker.connect_errors import Ambiguous, ClockWrong, Misconfigured, NeverSent, Refused, Throttled
from worker.dial import Dialer
from worker.follow import Following
from worker.settle import Settling, next_search

LOST = "+14155550196"
"""Its first answer is lost after the call was placed."""
NEVER = "+14155550194"
"""Its first request is lost before the call was placed."""
ALWAYS = "+14155550195"
"""Every request is."""
ANSWERED = "+14155550100"
PATIENCE = timedelta(seconds=300)


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
        attribute_error: Exception | None = None,
        describe_error: Exception | None = None,
    ) -> None:
        self.attribute_error, self.describe_error = attribute_error, describe_error
        self.names: list[Any] = []
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
        names: Any = None,
    ) -> SearchPage:
        self.searches.append((since, until))
        self.attributes.append(attribute)
        self.names.append(names)
        if self.error is not None:
            raise self.error
        if attribute is not None and self.attribute_error is not None:
            raise self.attribute_error
        page = self._connect.search(instance_id, since, until, next_token, attribute=attribute, names=names)
        return replace(page, calls=[call for call in page.calls if call.contact_id not in self.hidden])

    def describe(self, instance_id: str, contact_id: str) -> CallReport | None:
        self.described.append(contact_id)
        if self.describe_error is not None:
            raise self.describe_error
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
        # Others are called meanwhile, so it is not Connect that is out of order.
        with book.ledger.write() as db:
            db.execute(delete(brakes))
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


@pytest.mark.parametrize("asked", ["search", "describe"])
def test_throttled_question_is_asked_again_and_the_search_goes_on(
    asked: str, book: Any, slots: Any, dial: Callable[[], list[str]], settle: Any, connect: Connect
) -> None:
    """Beginning anew each time, a search that shows hundreds of calls would come to no end."""
    book.load(LOST)
    dial()

    class ThrottledTwice(Searched):
        left = 2

        def _throttle(self, question: str) -> None:
            if question == asked and self.left:
                self.left -= 1
                raise Throttled("ThrottlingException", "too many requests a second")

        def search(self, *args: Any, **more: Any) -> Any:
            self._throttle("search")
            return super().search(*args, **more)

        def describe(self, instance_id: str, contact_id: str) -> CallReport | None:
            self._throttle("describe")
            return super().describe(instance_id, contact_id)

    book.clock.now += 10
    assert settle(connect=ThrottledTwice(connect)) == 1
    assert slots.throttles == 2
    assert book.standing() == ("placed", "in_progress")


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (NeverSent("EndpointConnectionError", "no connection"), True),
        (Ambiguous("InternalServiceException", "HTTP 500"), True),
        (ClockWrong("RequestExpired", "this machine's clock is 600 s behind AWS's", 403), True),
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
    name = book.load(NEVER)
    dial()
    book.clock.now += 300
    assert settle(connect=Searched(connect, error=error)) == 0
    assert book.standing() == ("unknown", "held")
    assert str(error) in book.attempt().evidence
    assert book.run(name).state == "running"
    assert problems == ([f"unknown calls cannot be searched for: {error}"] if problem else [])
    assert slots.throttles == (0 if problem else 4)
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
        names: Any = None,
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
    assert lost.contact_id is None
    assert book.attempts()[0].evidence == "found among Connect's calls by its token"
    book.clock.now += 290
    assert settle(connect=watched) == 1
    assert watched.attributes[1:] == [None]
    assert [row.state for row in book.recipients()] == ["in_progress", "waiting"]


# --- a call that fits two attempts ------------------------------------------------------------------------

FAMILY = "+14155550140"
"""One telephone, and several who are called on it."""
BY_NAME = {
    "instance_id": "10a4c4eb-f57e-4d4c-b602-bf39176ced07",
    "contact_flow_id": "b0b8f2dd-ed1b-4c44-af36-ce189a178181",
    "source_phone_number": "+14155550199",
    "name": "reminder {client_token}",
}


@pytest.fixture
def lose(book: Any, seam: Callable[..., Any], make_dialer: Callable[..., Dialer]) -> Callable[..., list[str]]:
    """Dials who is due; the answers get lost: before the call is placed (`False`), or after it (`True`)."""

    def run(*placed: bool) -> list[str]:
        lost = Ambiguous("ConnectionClosedError", "AWS did not say whether the call was placed")

        def after() -> None:
            raise lost

        states = []
        for claim, was_placed in zip(book.claim(), placed, strict=True):
            connect = seam(after=after) if was_placed else seam(lost)
            states.append(make_dialer(replay_window_seconds=0.0, connect=connect).dial(claim))
        return states

    return run


def until_settled(book: Any, settle: Callable[..., int], seconds: int = 400, **parts: Any) -> None:
    """Settle once a second for so long."""
    for _ in range(seconds):
        book.clock.now += 1
        settle(**parts)


@pytest.mark.parametrize("placed", [(True, False), (False, True)])
def test_a_call_that_fits_two_attempts_decides_nothing(
    book: Any, lose: Callable[..., list[str]], settle: Callable[..., int], placed: tuple[bool, bool]
) -> None:
    """A family's telephone, two answers lost, one call placed: neither rings again, both are held."""
    book.load(FAMILY, FAMILY)
    assert lose(*placed) == ["unknown", "unknown"]
    until_settled(book, settle)
    assert [row.state for row in book.attempts()] == ["unknown", "unknown"]
    assert [row.contact_id for row in book.attempts()] == [None, None]
    assert [person.state for person in book.recipients()] == ["held", "held"]
    assert all("can be of any of 2 attempts" in row.evidence for row in book.attempts())
    assert book.claim() == []
    book.clock.now += 40 * 86_400
    settle()
    assert [person.state for person in book.recipients()] == ["held", "held"]


def test_two_calls_that_fit_two_attempts_decide_nothing(
    book: Any, lose: Callable[..., list[str]], settle: Callable[..., int]
) -> None:
    """Both were placed, and which outcome is whose cannot be told: the wrong one would be redialed."""
    book.load(FAMILY, FAMILY)
    lose(True, True)
    until_settled(book, settle)
    assert [row.contact_id for row in book.attempts()] == [None, None]
    assert [person.state for person in book.recipients()] == ["held", "held"]


@pytest.mark.parametrize(("first", "second"), [(True, False), (False, True)])
@pytest.mark.parametrize("options", [BY_NAME, {**BY_NAME, "name": None, "search_attribute": "DialerToken"}])
def test_tokens_tell_the_calls_to_one_number_apart(
    book: Any,
    exchange: Any,
    lose: Callable[..., list[str]],
    settle: Callable[..., int],
    first: bool,
    second: bool,
    options: dict[str, str],
) -> None:
    """A call that carries a token, in its name or an attribute, is that attempt's and no other's."""
    book.load(FAMILY, FAMILY, connect=options)
    lose(first, second)
    until_settled(book, settle)
    states = {True: ("placed", "in_progress"), False: ("unknown", "waiting")}
    people = [person.state for person in book.recipients()]
    assert list(zip([row.state for row in book.attempts()], people, strict=True)) == [
        states[first],
        states[second],
    ]
    (placed,) = (row for row in book.attempts() if row.state == "placed")
    (request,) = exchange.requests(placed.client_token)
    assert placed.contact_id == request["contact_id"]


def test_a_name_says_whose_call_it_is_without_asking(
    book: Any, lose: Callable[..., list[str]], settle: Callable[..., int], connect: Connect
) -> None:
    """Searches by name find the call at once, and it is not described; the last one goes by time alone."""
    book.load(FAMILY, FAMILY, connect=BY_NAME)
    lose(True, False)
    watched = Searched(connect)
    book.clock.now += 10
    assert settle(connect=watched) == 1
    names = [f"reminder {row.client_token}" for row in book.attempts()]
    assert (watched.names, watched.described) == ([names], [])
    book.clock.now += 290
    assert settle(connect=watched) == 1
    assert (watched.names[1:], watched.described) == ([None], [])
    assert [person.state for person in book.recipients()] == ["in_progress", "waiting"]


def test_a_call_of_an_attempt_that_was_given_up_decides_nothing_for_another(
    book: Any, lose: Callable[..., list[str]], settle: Callable[..., int], connect: Connect
) -> None:
    """Never found is a belief: its call may be the one that turns up while another attempt is in doubt."""
    book.load(FAMILY, redial={"when_unknown": "hold"})
    lose(True)
    hidden = _listed(connect, book)
    patient = {"patience": timedelta(seconds=60)}
    until_settled(book, settle, 70, connect=Searched(connect, hidden=hidden), **patient)
    assert book.standing() == ("unknown", "held")
    assert book.attempt().settle_at is None
    book.load(FAMILY)
    lose(False)
    until_settled(book, settle, 70, **patient)
    assert [row.contact_id for row in book.attempts()] == [None, None]
    assert [person.state for person in book.recipients()] == ["held", "held"]


def test_a_call_of_an_attempt_that_was_given_up_is_found_all_the_same(
    book: Any, lose: Callable[..., list[str]], settle: Callable[..., int], connect: Connect
) -> None:
    """What a search for another number shows of it settles it, though it is not searched for itself."""
    book.load(FAMILY, redial={"when_unknown": "hold"})
    lose(True)
    hidden = _listed(connect, book)
    patient = {"patience": timedelta(seconds=60)}
    until_settled(book, settle, 70, connect=Searched(connect, hidden=hidden), **patient)
    assert book.standing() == ("unknown", "held")
    book.load("+12125550140")
    lose(False)
    until_settled(book, settle, 70, **patient)
    first = book.attempts()[0]
    assert (first.state, first.contact_id) == ("placed", hidden[0])
    assert [person.state for person in book.recipients()] == ["in_progress", "waiting"]


def test_a_second_call_of_a_token_decides_nothing_for_another_attempt(
    book: Any,
    lose: Callable[..., list[str]],
    settle: Callable[..., int],
    seam: Callable[..., Any],
    make_dialer: Callable[..., Dialer],
    exchange: Any,
) -> None:
    """A busy line: the first call was over when the request was sent again, and the second is the contact.

    The ledger does not know the first one. It is not taken for the call of the other recipient.
    """
    busy = "+14155550175"
    book.load(busy, busy)
    first, second = book.claim()
    now = book.clock.utc()
    assert give_back(book.ledger, second.attempt_id, second.fence, "no slot within reach", due_at=now)

    def lose_the_first() -> None:
        book.clock.now += 3
        if len(connect.orders) == 1:
            raise Ambiguous("ConnectionClosedError", "AWS did not say whether the call was placed")

    connect = seam(after=lose_the_first)
    assert make_dialer(connect=connect, replay_window_seconds=5.0).dial(first) == "placed"
    assert exchange.rings(first.client_token) == 2
    assert book.attempts()[0].replays == 1
    lose(False)
    until_settled(book, settle)
    assert [row.state for row in book.attempts()] == ["placed", "unknown"]
    assert book.recipients()[1].state == "held"


# --- a right that is missing ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parts", "right"),
    [("error", "connect:SearchContacts"), ("describe_error", "connect:DescribeContact")],
)
def test_a_missing_right_pauses_at_the_first_search(
    book: Any,
    dial: Callable[[], list[str]],
    settle: Callable[..., int],
    connect: Connect,
    problems: list[str | None],
    parts: str,
    right: str,
) -> None:
    """What is in doubt cannot be settled: the campaign stops, says what is missing, and goes on when told."""
    name = book.load(LOST)
    dial()
    book.clock.now += 10
    denied: Any = {parts: Misconfigured("AccessDeniedException", "not authorized", 403)}
    assert settle(connect=Searched(connect, **denied)) == 0
    run = book.run(name)
    assert (run.state, run.reason_code) == ("paused", "AccessDeniedException")
    assert right in run.reason
    assert right in str(problems[-1])
    assert book.standing() == ("unknown", "in_progress")
    book.clock.now += 300
    settle(connect=Searched(connect, **denied))
    assert book.standing() == ("unknown", "held")
    with book.ledger.write() as db:
        runs.start(db, runs.find(db, name), book.clock.utc(), exchange=None)
    book.clock.now += 60
    assert settle() == 1
    assert book.standing() == ("placed", "in_progress")


@pytest.mark.parametrize(
    "error",
    [
        Misconfigured("AccessDeniedException", "connect:GetContactAttributes", 403),
        Refused("InvalidParameterException", "not searchable", 400),
    ],
)
def test_an_attribute_that_cannot_be_searched_by_leaves_the_search_by_time(
    book: Any, dial: Callable[[], list[str]], settle: Callable[..., int], connect: Connect, error: Exception
) -> None:
    """It needs a right of its own, and a setting of the instance: without them nothing is given up."""
    options = {**BY_NAME, "name": None, "search_attribute": "DialerToken"}
    name = book.load(LOST, connect=options)
    dial()
    book.clock.now += 10
    watched = Searched(connect, attribute_error=error)
    assert settle(connect=watched) == 1
    assert [attribute is None for attribute in watched.attributes] == [False, True]
    assert book.run(name).state == "running"


# --- two searches -----------------------------------------------------------------------------------------


def test_a_search_that_ends_late_writes_nothing_over_another(
    book: Any, dial: Callable[[], list[str]], settle: Callable[..., int], connect: Connect
) -> None:
    """One stands still for longer than its lease; another settles the attempt; the first one then fails."""
    book.load(NEVER, redial={"when_unknown": "hold"})
    dial()
    book.clock.now += 300

    class Slow(Searched):
        def search(self, *arguments: Any, **more: Any) -> SearchPage:
            book.clock.now += 301
            assert settle() == 1
            raise Ambiguous("ReadTimeoutError", "no answer")

    assert settle(connect=Slow(connect)) == 0
    assert book.attempt().settle_at is None
    assert book.attempt().evidence.startswith("never found")
    assert book.standing() == ("unknown", "held")


def test_a_search_that_ends_late_does_not_judge_what_another_has_taken(
    book: Any, dial: Callable[[], list[str]], settle: Callable[..., int], connect: Connect
) -> None:
    """Two searches, one of them late: what that has not seen is decided by the other alone."""
    book.load(NEVER)
    dial()
    book.clock.now += 300
    blind: list[int] = []

    class Slow(Searched):
        def search(self, *arguments: Any, **more: Any) -> SearchPage:
            page = super().search(*arguments, **more)
            book.clock.now += 301
            failing = Searched(connect, error=Ambiguous("ReadTimeoutError", "no answer"))
            blind.append(settle(connect=failing))
            return page

    assert settle(connect=Slow(connect)) == 0
    assert blind == [0]
    assert book.standing() == ("unknown", "held")
    assert book.attempt().settle_at == book.clock.utc() + timedelta(minutes=1)


# --- two clocks -------------------------------------------------------------------------------------------


def test_what_a_search_found_is_reckoned_with_by_the_ledgers_clock(
    book: Any, dial: Callable[[], list[str]], settle: Callable[..., int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """AWS four minutes ahead: the call counts as placed when its request was sent, and not in the future."""
    book.load(LOST)
    here = book.clock.utc
    monkeypatch.setattr(book.clock, "utc", lambda: here() - timedelta(minutes=4))
    dial()
    sent = book.clock.utc()
    book.clock.now += 300
    assert settle() == 1
    assert book.attempt().placed_at == sent
