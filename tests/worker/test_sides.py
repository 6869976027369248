"""Real calls are not sent to the stand-in, and a trial's are sent nowhere else."""

import json
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from campaigns.campaign import ConnectOptions
from campaigns.ledger.in_progress import CallLimit
from worker.connect import CallOrder, Connect
from worker.connect_errors import Ambiguous, Misconfigured, NeverSent, Stray, Throttled
from worker.dial import Dialer
from worker.endpoint import NOT_A_TRIAL, NOT_REAL
from worker.follow import Following
from worker.sandbox.identity import HEADER, PATH, identity
from worker.sandbox.server import SandboxOptions, running_sandbox

ConnectTo = Callable[..., Connect]
INSTANCE = "10a4c4eb-f57e-4d4c-b602-bf39176ced07"
ORDER = CallOrder(
    "+14155550100",
    "token-1",
    {},
    ConnectOptions.model_validate(
        {
            "instance_id": INSTANCE,
            "contact_flow_id": "b0b8f2dd-ed1b-4c44-af36-ce189a178181",
            "source_phone_number": "+14155550199",
        }
    ),
)


class Changeling:
    """A server at one address: says that it is the stand-in, or not; its answers say so, or not."""

    def __init__(self) -> None:
        self.identifies = True
        """Whether it says that it is the stand-in when it is asked."""
        self.signs = True
        """Whether its answers to calls say so."""
        self.answers: list[tuple[int, str | None]] = []
        """(status, error code) of the answers to come; then all is well."""
        self.asked = 0
        self.requests: list[str] = []
        """The requests to Connect that have reached it."""
        there = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                if self.path == PATH:
                    there.asked += 1
                    self._say(200 if there.identifies else 404, identity(), there.identifies)
                else:
                    self._request({"Contact": {}})

            def do_PUT(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self._request({"ContactId": "c-1"})

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                self._request({"Contacts": []})

            def _request(self, content: dict[str, Any]) -> None:
                there.requests.append(f"{self.command} {self.path.partition('?')[0]}")
                status, code = there.answers.pop(0) if there.answers else (200, None)
                self._say(status, content, there.signs, code)

            def _say(self, status: int, content: Any, signs: bool, code: str | None = None) -> None:
                body = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                if signs:
                    self.send_header(HEADER, "1")
                if code is not None:
                    self.send_header("x-amzn-ErrorType", code)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def changeling() -> Iterator[Changeling]:
    made = Changeling()
    thread = threading.Thread(target=made.server.serve_forever, args=(0.01,))
    thread.start()
    yield made
    made.server.shutdown()
    thread.join()
    made.server.server_close()


def test_real_calls_are_not_sent_to_the_stand_in(connect_to: ConnectTo, tmp_path: Path) -> None:
    """Not one request: it is asked before. What is set, and how to ask for a trial, is said."""
    journal = tmp_path / "journal.jsonl"
    with running_sandbox(SandboxOptions(port=0, journal=journal)) as url:
        connect = connect_to(url, exchange="connect")
        for ask in (
            lambda: connect.verify(),
            lambda: connect.place(ORDER),
            lambda: connect.describe(INSTANCE, "c-1"),
            lambda: connect.stop(INSTANCE, "c-1"),
        ):
            with pytest.raises(Misconfigured) as refused:
                ask()
            assert refused.value.code == NOT_REAL
            assert f"AWS_ENDPOINT_URL_CONNECT is {url}" in refused.value.reason
            assert "--sandbox" in refused.value.reason
            assert connect.elsewhere == url
    assert journal.read_text() == ""


def test_a_trial_is_sent_to_the_stand_in_alone(connect_to: ConnectTo, tmp_path: Path) -> None:
    """What does not say that it is the stand-in gets no request of a trial; the stand-in does."""
    journal = tmp_path / "journal.jsonl"
    with running_sandbox(SandboxOptions(port=0, journal=journal, incognito=True)) as url:
        with pytest.raises(Misconfigured) as refused:
            connect_to(url, exchange="sandbox").place(ORDER)
        assert refused.value.code == NOT_A_TRIAL
        assert url in refused.value.reason
        assert journal.read_text() == ""
        assert connect_to(url, exchange="connect").place(ORDER), "it counts as Amazon Connect"
    with running_sandbox(SandboxOptions(port=0)) as url:
        assert connect_to(url, exchange="sandbox").place(ORDER)


def test_a_trial_is_not_sent_to_aws(connect_to: ConnectTo, monkeypatch: pytest.MonkeyPatch) -> None:
    """AWS's own address need not be asked."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
    monkeypatch.delenv("AWS_ENDPOINT_URL_CONNECT")
    connect = Connect(exchange="sandbox", connect_timeout_seconds=1)
    assert connect.elsewhere is None
    with pytest.raises(Misconfigured, match=r"https://connect\.us-east-1\.amazonaws\.com is not the sandbox"):
        connect.place(ORDER)


def test_a_silent_stand_in_is_no_stand_in(connect_to: ConnectTo, changeling: Changeling) -> None:
    """While it cannot be asked nothing is sent, and nothing is wrong with the campaign."""
    changeling.server.server_close()
    with pytest.raises(NeverSent) as refused:
        connect_to(changeling.url, exchange="sandbox").place(ORDER)
    assert refused.value.code == "SandboxSilent"


def test_it_is_asked_once_for_each_client(connect_to: ConnectTo, changeling: Changeling) -> None:
    """And again when the client is made anew, or a request found no way to it."""
    connect = connect_to(changeling.url, exchange="sandbox")
    for _ in range(3):
        connect.place(ORDER)
    assert changeling.asked == 1
    connect.close()
    connect.place(ORDER)
    assert changeling.asked == 2
    assert len(changeling.requests) == 4


@pytest.mark.parametrize("answer", [(200, None), (404, "ResourceNotFoundException"), (500, None)])
def test_made_up_answers_are_not_used_for_real_calls(
    connect_to: ConnectTo, changeling: Changeling, answer: tuple[int, str | None]
) -> None:
    """A stand-in that takes the address over answers one request; it did not ring, and no more follow."""
    changeling.identifies = False
    connect = connect_to(changeling.url, exchange="connect")
    asks: list[Callable[[], object]] = [
        lambda: connect.place(ORDER),
        lambda: connect.describe(INSTANCE, "c-1"),
        lambda: connect.stop(INSTANCE, "c-1"),
    ]
    for ask in asks:
        changeling.identifies = False
        changeling.answers, changeling.requests = [answer], []
        with pytest.raises(Misconfigured) as refused:
            ask()
        assert (refused.value.code, refused.value.status) == (NOT_REAL, 0)
        changeling.identifies = True
        with pytest.raises(Misconfigured):
            ask()
        assert len(changeling.requests) == 1


@pytest.mark.parametrize(
    "answer", [(200, None), (403, "AccessDeniedException"), (429, "TooManyRequestsException"), (500, None)]
)
def test_a_trial_answered_by_something_else_may_have_rung(
    connect_to: ConnectTo, changeling: Changeling, answer: tuple[int, str | None]
) -> None:
    """Whatever the answer says. The address is asked again before any other request."""
    changeling.signs = False
    changeling.answers = [answer]
    connect = connect_to(changeling.url, exchange="sandbox")
    with pytest.raises(Stray) as stray:
        connect.place(ORDER)
    assert isinstance(stray.value, Ambiguous)
    assert stray.value.code == NOT_A_TRIAL
    changeling.identifies = False
    with pytest.raises(Misconfigured):
        connect.place(ORDER)
    assert len(changeling.requests) == 1


def test_the_stand_ins_own_errors_are_what_they_are(connect_to: ConnectTo, changeling: Changeling) -> None:
    """Its answers say who it is, whether it is well or not."""
    changeling.answers = [(429, "TooManyRequestsException")]
    with pytest.raises(Throttled):
        connect_to(changeling.url, exchange="sandbox").place(ORDER)


def test_a_campaign_stops_at_the_first_stray_answer(
    book: Any, make_dialer: Callable[..., Dialer], connect_to: ConnectTo, changeling: Changeling
) -> None:
    """The attempt may have rung: unknown, not sent again. The campaign pauses, and says why."""
    name = book.load("+14155550100", "+14155550101")
    first, second = book.claim()
    dialer = make_dialer(connect=connect_to(changeling.url, exchange="sandbox"))
    # After an answer that was lost, too: the doubt about it must not hide what the second one shows.
    changeling.answers = [(500, None)]

    def taken_over() -> None:
        changeling.signs = changeling.identifies = False

    book.clock.on_sleep = taken_over
    assert dialer.dial(first) == "unknown"
    assert changeling.requests == ["PUT /contact/outbound-voice"] * 2
    run = book.run(name)
    assert (run.state, run.reason_code) == ("paused", NOT_A_TRIAL)
    assert dialer.dial(second) == "stale"
    assert [row.state for row in book.attempts()] == ["unknown", "returned"]
    assert len(changeling.requests) == 2


def test_a_real_campaign_stops_at_the_first_made_up_answer(
    book: Any, make_dialer: Callable[..., Dialer], connect_to: ConnectTo, changeling: Changeling
) -> None:
    """It did not ring: returned uncharged, with its token; the campaign pauses, and says why."""
    changeling.identifies = False
    book.exchange = "connect"
    name = book.load("+14155550100")
    (claim,) = book.claim()
    dialer = make_dialer(connect=connect_to(changeling.url, exchange="connect"), exchange="connect")
    assert dialer.dial(claim) == "returned"
    run = book.run(name)
    assert (run.state, run.reason_code, run.exchange) == ("paused", NOT_REAL, "connect")
    assert book.standing() == ("returned", "waiting")
    assert book.attempt().client_token == claim.client_token


def test_made_up_outcomes_are_not_those_of_real_calls(
    book: Any, make_dialer: Callable[..., Dialer], slots: Any, connect_to: ConnectTo, changeling: Changeling
) -> None:
    """A real call is not ended by what a stand-in that has taken the address over says of it."""
    changeling.identifies = changeling.signs = False
    book.exchange = "connect"
    book.load("+14155550100")
    (claim,) = book.claim()
    connect = connect_to(changeling.url, exchange="connect")
    assert make_dialer(connect=connect, exchange="connect").dial(claim) == "placed"
    changeling.signs = True
    changeling.answers = [(404, "ResourceNotFoundException")]
    book.clock.now += 65
    problems: list[str | None] = []
    follow_up(book, slots, connect, problems)
    assert book.attempt().state == "placed"
    assert NOT_REAL in str(problems[-1])


def follow_up(book: Any, slots: Any, connect: Connect, problems: list[str | None]) -> None:
    """One round of asking for outcomes."""
    Following(
        ledger=book.ledger,
        connect=connect,
        pacer=slots,
        exchange="connect",
        first=timedelta(seconds=65),
        limit=CallLimit(10, timedelta(seconds=300)),
        clock=book.clock.utc,
        stopping=lambda: False,
        call_over=lambda: None,
        report_problem=problems.append,
    ).follow(10)
