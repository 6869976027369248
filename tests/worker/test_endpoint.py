"""Whose address it is: AWS's own, the stand-in's, or one that counts as Amazon Connect."""

import json
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import create_server
from typing import Any, ClassVar

import pytest

from worker.connect_errors import Misconfigured, NeverSent
from worker.endpoint import Endpoint, Kind, endpoint, is_aws, set_by, shown, wrong_for
from worker.sandbox.identity import HEADER, identity, speed_of
from worker.sandbox.server import SandboxOptions, running_sandbox


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize(
    "url",
    [
        "https://connect.us-east-1.amazonaws.com",
        "https://connect.eu-central-1.amazonaws.com:443/",
        "https://connect-fips.us-west-2.amazonaws.com",
        "https://connect.us-gov-west-1.amazonaws.com",
        "https://connect.ap-southeast-2.api.aws",
        "https://connect.cn-north-1.amazonaws.com.cn",
    ],
)
def test_aws_own_addresses(url: str) -> None:
    """Those that botocore makes of a Region, in every partition that it knows."""
    assert is_aws(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://connect.us-east-1.amazonaws.com",
        "https://connect.us-east-1.amazonaws.com:8443",
        "https://connect.us-east-1.amazonaws.com.example.com",
        "https://connect.us-east-1.example.com",
        "https://vpce-0123-abcd.connect.us-east-1.vpce.amazonaws.com",
        "https://abcd.execute-api.us-east-1.amazonaws.com",
        "https://my-proxy.elb.us-east-1.amazonaws.com",
        "https://connect.us-east-1.evil.amazonaws.com",
        "http://127.0.0.1:8480",
    ],
)
def test_addresses_that_are_not_aws_own(url: str) -> None:
    """Customers' own hosts end in amazonaws.com, too: such an address is asked, and named."""
    assert not is_aws(url)


@pytest.mark.parametrize(
    ("url", "seen"),
    [
        ("http://user:hunter2@proxy.internal:8080/key-4711?token=secret", "http://proxy.internal:8080"),
        ("https://Connect.Internal", "https://connect.internal"),
        ("http://[::1]:8480/", "http://[::1]:8480"),
        ("http://host:none", "http://host"),
    ],
)
def test_an_address_is_shown_without_what_may_be_secret(url: str, seen: str) -> None:
    """No user, password, path or query of a URL is kept or shown."""
    assert shown(url) == seen


def test_the_stand_in_says_who_it_is() -> None:
    """Asked over HTTP; incognito it does not, and then it counts as Amazon Connect."""
    with running_sandbox(SandboxOptions(port=0)) as url:
        assert endpoint(url) == Endpoint(Kind.SANDBOX, url)
        assert endpoint(url + "/").kind is Kind.SANDBOX
    with running_sandbox(SandboxOptions(port=0, incognito=True)) as url:
        assert endpoint(url) == Endpoint(Kind.OTHER, url)


@pytest.mark.parametrize("speed", [0.5, 1.0, 12.5, 1000.0])
def test_the_stand_in_states_the_speed_of_its_time(speed: float) -> None:
    """All who dial it learn it from the address, whatever their own settings are."""
    with running_sandbox(SandboxOptions(port=0, speed=speed)) as url:
        assert endpoint(url).speed == speed


@pytest.mark.parametrize("stated", [None, "10", True, 0, -1, float("inf"), float("nan"), [10], {}])
def test_a_speed_that_is_none_counts_as_that_of_life(stated: object) -> None:
    """An older stand-in states none; anything odd changes nothing."""
    assert speed_of({"service": "connect-batch-dialer sandbox", "speed": stated}) == 1.0
    assert speed_of({}) == speed_of([]) == 1.0


def test_silence_is_no_identity() -> None:
    """Nothing listens; or something accepts, and says nothing."""
    with closing(create_server(("127.0.0.1", 0))) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
        assert endpoint(url).kind is Kind.SILENT
    assert endpoint(url).kind is Kind.SILENT


class _Other(BaseHTTPRequestHandler):
    """Answers every GET as a test says."""

    status: ClassVar[int]
    headers_too: ClassVar[dict[str, str]]
    body: ClassVar[bytes]
    asked: ClassVar[list[str]]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_response(self.status)
        for name, value in self.headers_too.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def other() -> Iterator[str]:
    """The URL of a server that gives the stand-in's answer, until a test changes it."""
    _Other.status, _Other.headers_too, _Other.asked = 200, {HEADER: "1"}, []
    _Other.body = json.dumps(identity()).encode()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Other)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        (404, {HEADER: "1"}, None),
        (302, {HEADER: "1", "Location": "http://127.0.0.1:1/"}, None),
        (200, {}, None),
        (200, {HEADER: "1"}, b"OK"),
        (200, {HEADER: "1"}, b'{"service": "something else"}'),
        (200, {HEADER: "1"}, b'["service"]'),
        (200, {HEADER: "1"}, b"\xff" * 100_000),
    ],
)
def test_only_all_of_its_answer_is_an_identity(
    other: str, status: int, headers: dict[str, str], body: bytes | None
) -> None:
    """A proxy that says yes to everything, a redirect, a page: all of them count as Amazon Connect."""
    assert endpoint(other).kind is Kind.SANDBOX
    _Other.status, _Other.headers_too = status, headers
    _Other.body = _Other.body if body is None else body
    assert endpoint(other).kind is Kind.OTHER


def test_it_is_asked_through_the_proxy_that_calls_go_through(
    other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or something else would be asked than what gets the calls."""
    monkeypatch.setenv("HTTP_PROXY", other)
    assert endpoint("http://connect.invalid").kind is Kind.SANDBOX
    assert _Other.asked == ["http://connect.invalid/_sandbox/identity"]
    monkeypatch.setenv("NO_PROXY", "connect.invalid")
    assert endpoint("http://connect.invalid").kind is Kind.SILENT


def test_aws_own_address_is_not_asked(monkeypatch: pytest.MonkeyPatch, other: str) -> None:
    """It is known; a question to it would be one more thing that can go wrong."""
    monkeypatch.setenv("HTTPS_PROXY", other)
    assert endpoint("https://connect.us-east-1.amazonaws.com").kind is Kind.AWS
    assert _Other.asked == []


@pytest.mark.parametrize(
    ("kind", "real", "trial"),
    [
        (Kind.AWS, None, Misconfigured),
        (Kind.OTHER, None, Misconfigured),
        (Kind.SILENT, None, NeverSent),
        (Kind.SANDBOX, Misconfigured, None),
    ],
)
def test_which_side_may_send_where(kind: Kind, real: Any, trial: Any) -> None:
    """Real calls anywhere but to the stand-in; a trial's to the stand-in alone."""
    found = Endpoint(kind, "http://there")
    for exchange, error in (("connect", real), ("sandbox", trial)):
        wrong = wrong_for(exchange, found)  # type: ignore[arg-type]
        assert isinstance(wrong, error) if error else wrong is None
        assert wrong is None or "http://there" in wrong.reason


def test_what_has_set_the_address_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the order in which botocore looks."""
    for name in ("AWS_ENDPOINT_URL_CONNECT", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    assert set_by() == "endpoint_url in the AWS profile"
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://a")
    assert set_by() == "AWS_ENDPOINT_URL"
    monkeypatch.setenv("AWS_ENDPOINT_URL_CONNECT", "http://b")
    assert set_by() == "AWS_ENDPOINT_URL_CONNECT"
