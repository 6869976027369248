"""An answer is bounded in time and in size, whichever part of it has no end."""

import gzip
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from campaigns.campaign import ConnectOptions
from tests.fuzz.odd_server import Line, answer, odd_server
from tests.worker.test_connect import CERTIFICATE
from worker.connect import CallOrder, Connect
from worker.connect_errors import Ambiguous, OddAnswer
from worker.endpoint import Kind, endpoint

INSTANCE = "10a4c4eb-f57e-4d4c-b602-bf39176ced07"
FLOW = "b0b8f2dd-ed1b-4c44-af36-ce189a178181"
OPTIONS = ConnectOptions(instance_id=INSTANCE, contact_flow_id=FLOW, source_phone_number="+14155550199")
ORDER = CallOrder("+14155550100", "t" * 64, {"Name": "x" * 30_000}, OPTIONS)
NOON = datetime(2027, 1, 1, 12, tzinfo=UTC)

READ_SECONDS = 0.4
DRIPS_SECONDS = 8.0
"""How long the server goes on; a caller without a bound waits as long."""

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


@pytest.fixture
def connect(aws: None) -> Iterator[Connect]:
    connect = Connect(read_timeout_seconds=READ_SECONDS, connect_timeout_seconds=1)
    yield connect
    connect.close()


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """Start a server and point the SDK at it."""
    with ExitStack() as servers:

        def start(play: Callable[[Line], None], tls: ssl.SSLContext | None = None) -> str:
            url = servers.enter_context(odd_server(play, tls))
            monkeypatch.setenv("AWS_ENDPOINT_URL_CONNECT", url)
            return url

        yield start


def before(start: bytes, piece: bytes) -> Callable[[Line], None]:
    def play(line: Line) -> None:
        line.send(start)
        line.drip(piece, DRIPS_SECONDS)

    return play


SLOW = {
    "status line": before(b"HTTP/1.1 200 ", b"O"),
    "header": before(HEAD + b"X-Long: ", b"x"),
    "100 Continue": before(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "body": before(HEAD + b"Content-Length: 100000\r\n\r\n", b" "),
    "body without a length": before(HEAD + b"Connection: close\r\n\r\n", b" "),
    "chunks": before(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n"),
    "size of a chunk": before(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"0"),
    "body of an error": before(b"HTTP/1.1 403 No\r\nContent-Length: 100000\r\n\r\n", b" "),
}
LARGE = {
    "header": before(HEAD + b"X-Long: ", b"x" * 500_000),
    "100 Continue": before(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 20_000),
    "body": before(HEAD + b"Content-Length: 1000000000\r\n\r\n", b" " * 500_000),
    "chunk": before(HEAD + b"Transfer-Encoding: chunked\r\n\r\n3b9aca00\r\n", b" " * 500_000),
    "size of a chunk": before(HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"0" * 500_000),
    "body of an error": before(b"HTTP/1.1 403 No\r\nContent-Length: 1000000000\r\n\r\n", b" " * 500_000),
}

ASKS: dict[str, Callable[[Connect], object]] = {
    "place": lambda connect: connect.place(ORDER),
    "describe": lambda connect: connect.describe(INSTANCE, "c-1"),
    "stop": lambda connect: connect.stop(INSTANCE, "c-1"),
    "search": lambda connect: connect.search(INSTANCE, NOON, NOON + timedelta(minutes=1)),
}


@pytest.mark.parametrize("play", SLOW.values(), ids=SLOW)
def test_an_answer_that_drips_ends_with_the_read_timeout(
    serve: Callable[..., str], connect: Connect, play: Callable[[Line], None]
) -> None:
    """Each piece comes in time, and the whole never does: that is no answer, and the call may ring."""
    serve(play)
    connect.verify()
    began = time.monotonic()
    with pytest.raises(Ambiguous) as doubt:
        connect.place(ORDER)
    assert time.monotonic() - began < READ_SECONDS + 2
    assert doubt.value.code in ("ReadTimeoutError", "ConnectionClosedError", "HTTPClientError")


@pytest.mark.parametrize("ask", ASKS.values(), ids=ASKS)
def test_every_question_has_this_bound(
    serve: Callable[..., str], connect: Connect, ask: Callable[[Connect], object]
) -> None:
    """Outcomes, searches and hang-ups share the threads of those who feed."""
    serve(SLOW["body"])
    connect.verify()
    began = time.monotonic()
    with pytest.raises(Ambiguous):
        ask(connect)
    assert time.monotonic() - began < READ_SECONDS + 2


def test_tls_changes_nothing(
    serve: Callable[..., str], connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bound is below TLS and HTTP alike."""
    certificate = tmp_path / "localhost.pem"
    certificate.write_text(CERTIFICATE)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    serve(SLOW["chunks"], context)
    connect.verify()
    began = time.monotonic()
    with pytest.raises(Ambiguous):
        connect.place(ORDER)
    assert time.monotonic() - began < READ_SECONDS + 2


@pytest.mark.parametrize("play", LARGE.values(), ids=LARGE)
def test_an_answer_without_end_is_not_read_to_its_end(
    serve: Callable[..., str], aws: None, play: Callable[[Line], None]
) -> None:
    """With all the time in the world, no more than 1 MB of it is taken in."""
    sent: list[int] = []

    def counting(line: Line) -> None:
        send = line.send

        def counted(data: bytes) -> None:
            send(data)
            sent.append(len(data))

        line.send = counted  # type: ignore[method-assign]
        play(line)

    serve(counting)
    connect = Connect(read_timeout_seconds=30)
    with pytest.raises(Ambiguous):
        connect.place(ORDER)
    connect.close()
    assert sum(sent) < 20_000_000, "what is beyond are the buffers of the sockets"


def test_compressed_answers_are_not_unpacked(serve: Callable[..., str], connect: Connect) -> None:
    """A small answer that would be a large one: Connect does not compress, so it is none of Connect's."""
    bomb = gzip.compress(b" " * 50_000_000)
    serve(lambda line: line.send(answer(200, bomb, "Content-Encoding: gzip")))
    with pytest.raises(OddAnswer) as odd:
        connect.place(ORDER)
    assert odd.value.code == "NoJson"


def test_a_long_page_of_calls_is_taken(serve: Callable[..., str], connect: Connect) -> None:
    """A hundred rows may be larger than any answer about one call."""
    row = {"Name": "n" * 1000, "Tags": {"t": "x" * 20_000}, "InitiationTimestamp": NOON.timestamp()}
    rows = [{**row, "Id": f"c-{number}"} for number in range(100)]
    serve(lambda line: line.send(answer(200, {"Contacts": rows})))
    page = connect.search(INSTANCE, NOON, NOON + timedelta(minutes=1))
    assert [call.contact_id for call in page.calls] == [f"c-{number}" for number in range(100)]


def test_a_connection_is_used_again_with_its_full_time(serve: Callable[..., str], connect: Connect) -> None:
    """What is left of one answer's time is not the next one's."""
    peers: set[Any] = set()

    def slow(line: Line) -> None:
        peers.add(line._sock.getpeername())
        line.over.wait(READ_SECONDS * 0.6)
        line.send(answer(200, {"ContactId": "c-1"}))

    serve(slow)
    assert [connect.place(ORDER) for _ in range(3)] == ["c-1"] * 3
    assert len(peers) == 1


@pytest.mark.parametrize("play", [SLOW["header"], SLOW["body"], LARGE["body"]])
def test_an_address_that_drips_is_silent(play: Callable[[Line], None], aws: None) -> None:
    """The question whether it is the stand-in ends within its two seconds."""
    with odd_server(play, identity=True) as url:
        began = time.monotonic()
        found = endpoint(url)
        assert time.monotonic() - began < 4
    assert found.kind in (Kind.SILENT, Kind.OTHER)
