"""Our seam to Amazon Connect: real boto3 over real sockets, against servers that misbehave.

What is proved above all: one call sends one request at most, and nothing that may have left is called unsent.
"""

import json
import pickle
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer
from typing import Any

import botocore.exceptions as aws
import botocore.session
import pytest

from campaigns.campaign import ConnectOptions
from worker.connect import CallOrder, CallReport, Connect, Listed, SearchPage, request_of
from worker.connect_errors import (
    Ambiguous,
    ConnectError,
    Misconfigured,
    NeverSent,
    NoCapacity,
    OddAnswer,
    Refused,
    Stage,
    Throttled,
    Unauthenticated,
    judged,
    judged_answer,
)
from worker.sandbox.identity import PATH

INSTANCE = "10a4c4eb-f57e-4d4c-b602-bf39176ced07"
FLOW = "b0b8f2dd-ed1b-4c44-af36-ce189a178181"
QUEUE = "0f7e3a52-6c7b-4d7e-9d7b-0a4c1b2d3e4f"
PHONE = "+14155550100"
OPTIONS = ConnectOptions(instance_id=INSTANCE, contact_flow_id=FLOW, source_phone_number="+14155550199")
MODEL = botocore.session.Session().get_service_model("connect").shape_for("StartOutboundVoiceContactRequest")
# What all calls of a campaign have alike: all but the number, the token and the attributes.
SHARED = sorted(set(MODEL.members) - {"DestinationPhoneNumber", "ClientToken", "Attributes"})
ORDER = CallOrder(phone=PHONE, client_token="t" * 64, attributes={"FirstName": "Zoë"}, options=OPTIONS)

# Self-signed for localhost, valid from 2020 to 2120; made for these tests and good for nothing else.
CERTIFICATE = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgutuF+JXfClJgJD0m
iYmspkkAl3s77CJ7UEnpcJJzR+ChRANCAASpTcAwT9tdni/ncJaMuwEA8OjlKcq9
1MhOOg5dKLKtd7hQocaP5WHnJ5GDEPw099/SqV+htd58ErAaWEok/TXx
-----END PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIIBqjCCAVGgAwIBAgIUJx9BdR7Ms8Dfrf0+BUFTU+Tr2TIwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTIwMDEwMTAwMDAwMFoYDzIxMjAwMTAx
MDAwMDAwWjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAASpTcAwT9tdni/ncJaMuwEA8OjlKcq91MhOOg5dKLKtd7hQocaP5WHn
J5GDEPw099/SqV+htd58ErAaWEok/TXxo38wfTAaBgNVHREEEzARgglsb2NhbGhv
c3SHBH8AAAEwDwYDVR0TAQH/BAUwAwEB/zAdBgNVHQ4EFgQUi4s8g0WmRdJBdJbV
gkV5LIQIqVIwHwYDVR0jBBgwFoAUi4s8g0WmRdJBdJbVgkV5LIQIqVIwDgYDVR0P
AQH/BAQDAgGGMAoGCCqGSM49BAMCA0cAMEQCIAM013ElwJJt1Y50N2lFeO8HUWL4
wQQz2ny3zjUTRwMtAiA1fhx97YxxyDCEBqxKMjUo0pn0MJwHvpq84Jl/xf2V0g==
-----END CERTIFICATE-----
"""

Answer = Callable[["Wire"], bytes | None]


class Wire:
    """A server that reads whole requests, keeps them, and sends what `answer` says; None is to hang up."""

    def __init__(self, answer: Answer, tls: ssl.SSLContext | None = None) -> None:
        self.requests: list[dict[str, Any]] = []
        self.over = threading.Event()
        wire = self

        class Handler(StreamRequestHandler):
            def setup(self) -> None:
                if tls is not None:
                    self.request = tls.wrap_socket(self.request, server_side=True)
                super().setup()

            def finish(self) -> None:
                super().finish()
                if tls is not None:
                    self.request.close()

            def handle(self) -> None:
                while request := read_request(self.rfile):
                    if request["path"].endswith(PATH):
                        # Asked before the first request whether it is the stand-in: it does not know.
                        self.wfile.write(http(404)(wire))
                        continue
                    wire.requests.append(request)
                    reply = answer(wire)
                    if reply is None:
                        return
                    self.wfile.write(reply)

        class Server(ThreadingTCPServer):
            daemon_threads = True
            block_on_close = True
            allow_reuse_address = True

            def handle_error(self, *_: Any) -> None:
                """A client that breaks off a handshake is what some tests are about."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self._thread.start()
        self.port = self._server.server_address[1]

    def close(self) -> None:
        self.over.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def read_request(stream: Any) -> dict[str, Any] | None:
    line = stream.readline().decode().split()
    if len(line) < 2:
        return None
    headers = {}
    while (header := stream.readline().decode().strip()) != "":
        name, _, value = header.partition(":")
        headers[name.lower()] = value.strip()
    body = stream.read(int(headers.get("content-length", 0)))
    return {"method": line[0], "path": line[1], "headers": headers, "body": json.loads(body or b"null")}


def http(status: int, body: object = None, code: str | None = None) -> Answer:
    """An answer as AWS's REST-JSON services give it, the error code in a header."""
    content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    head = [
        f"HTTP/1.1 {status} Whatever",
        f"Content-Length: {len(content)}",
        "Content-Type: application/json",
    ]
    if code is not None:
        head.append(f"x-amzn-ErrorType: {code}:http://internal.amazon.com/coral/")
    return lambda _: "\r\n".join([*head, "", ""]).encode() + content


def stalls(wire: Wire) -> None:
    """Reads the request and says nothing until the test is over."""
    wire.over.wait(30)


PLACED = http(200, {"ContactId": "c-1"})


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Made-up credentials, nobody's profile, no proxies, and a wish for retries that must not come true."""
    for name in (
        "AWS_PROFILE",
        "AWS_DEFAULT_REGION",
        "AWS_SESSION_TOKEN",
        "AWS_CA_BUNDLE",
        "AWS_ENDPOINT_URL",
    ):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_REGION", "eu-central-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLEEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "5")
    monkeypatch.setenv("AWS_RETRY_MODE", "legacy")


@pytest.fixture
def connect() -> Iterator[Connect]:
    connect = Connect(read_timeout_seconds=0.6, connect_timeout_seconds=0.6)
    yield connect
    connect.close()


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Wire]]:
    """Start a server and point the SDK at it."""
    wires: list[Wire] = []

    def start(answer: Answer, tls: ssl.SSLContext | None = None) -> Wire:
        wire = Wire(answer, tls)
        wires.append(wire)
        scheme = "http" if tls is None else "https"
        monkeypatch.setenv("AWS_ENDPOINT_URL_CONNECT", f"{scheme}://localhost:{wire.port}")
        return wire

    yield start
    for wire in wires:
        wire.close()


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    path = tmp_path / "localhost.pem"
    path.write_text(CERTIFICATE)
    return path


@pytest.fixture
def tls(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


# --- placing a call ---------------------------------------------------------------------------------------


def test_call_is_placed(serve: Callable[..., Wire], connect: Connect) -> None:
    """An order becomes one PUT with the attempt's token, and the contact's id comes back."""
    wire = serve(PLACED)
    assert connect.place(ORDER) == "c-1"
    (request,) = wire.requests
    assert (request["method"], request["path"]) == ("PUT", "/contact/outbound-voice")
    assert request["body"] == {
        "InstanceId": INSTANCE,
        "ContactFlowId": FLOW,
        "DestinationPhoneNumber": PHONE,
        "SourcePhoneNumber": "+14155550199",
        "ClientToken": "t" * 64,
        "Attributes": {"FirstName": "Zoë"},
    }


def test_every_option_reaches_the_request() -> None:
    """What a campaign file may say arrives under the API's names."""
    options = ConnectOptions(
        instance_id=INSTANCE,
        contact_flow_id=FLOW,
        queue_id=QUEUE,
        ring_timeout_seconds=20,
        traffic_type="CAMPAIGN",
        answering_machine_detection=True,
        await_answering_machine_prompt=True,
        campaign_id="autumn",
        name="Reminder",
        description="Of an appointment",
        references={"Record": {"value": "https://example.com/1"}, "Note": {"value": "x", "type": "STRING"}},  # type: ignore[dict-item]
        related_contact_id="c-0",
    )
    assert request_of(CallOrder(PHONE, "token", {}, options)) == {
        "InstanceId": INSTANCE,
        "ContactFlowId": FLOW,
        "DestinationPhoneNumber": PHONE,
        "ClientToken": "token",
        "QueueId": QUEUE,
        "RingTimeoutInSeconds": 20,
        "TrafficType": "CAMPAIGN",
        "AnswerMachineDetectionConfig": {
            "EnableAnswerMachineDetection": True,
            "AwaitAnswerMachinePrompt": True,
        },
        "CampaignId": "autumn",
        "Name": "Reminder",
        "Description": "Of an appointment",
        "References": {
            "Record": {"Value": "https://example.com/1", "Type": "URL"},
            "Note": {"Value": "x", "Type": "STRING"},
        },
        "RelatedContactId": "c-0",
    }


def test_sdk_accepts_every_option(serve: Callable[..., Wire], connect: Connect) -> None:
    """botocore's model knows each of those names and types."""
    wire = serve(PLACED)
    options = ConnectOptions(
        instance_id=INSTANCE,
        contact_flow_id=FLOW,
        queue_id=QUEUE,
        ring_timeout_seconds=20,
        traffic_type="CAMPAIGN",
        answering_machine_detection=True,
        campaign_id="autumn",
        name="Reminder",
        description="Of an appointment",
        references={"Record": {"value": "https://example.com/1"}},  # type: ignore[dict-item]
        related_contact_id="c-0",
    )
    order = CallOrder(PHONE, "token", {}, options)
    assert connect.place(order) == "c-1"
    assert wire.requests[0]["body"] == request_of(order)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"phone": "abc"}, "InvalidPhoneNumber"),
        ({"phone": "14155550100"}, "InvalidPhoneNumber"),
        ({"phone": "+04155550100"}, "InvalidPhoneNumber"),
        ({"phone": "+14155550100\n"}, "InvalidPhoneNumber"),
        ({"phone": "+1415555010٠"}, "InvalidPhoneNumber"),
        ({"phone": "+1234567890123456"}, "InvalidPhoneNumber"),
        ({"client_token": ""}, "InvalidClientToken"),
        ({"client_token": "t" * 501}, "InvalidClientToken"),
        ({"attributes": {"first name": "x"}}, "InvalidAttributes"),
        ({"attributes": {"a": "x" * 32_768}}, "InvalidAttributes"),
        ({"attributes": {"a": "é" * 16_384}}, "InvalidAttributes"),
        ({"attributes": {"a": "\ud800"}}, "InvalidAttributes"),
        ({"attributes": {"a": 5}}, "InvalidAttributes"),
    ],
)
def test_what_aws_would_refuse_is_not_sent(
    serve: Callable[..., Wire], connect: Connect, change: dict[str, Any], code: str
) -> None:
    """The SDK would send these; here they are refused on the spot."""
    wire = serve(PLACED)
    order = {"phone": PHONE, "client_token": "t", "attributes": {}, "options": OPTIONS} | change
    with pytest.raises(Refused) as refusal:
        connect.place(CallOrder(**order))
    assert refusal.value.code == code
    assert wire.requests == []


def test_attributes_may_fill_their_limit() -> None:
    """32,768 bytes are allowed, counted as UTF-8 over names and values."""
    order = CallOrder(PHONE, "t", {"ab": "é" * 16_383}, OPTIONS)
    assert len(request_of(order)["Attributes"]["ab"].encode()) + 2 == 32_768


# --- one request, whatever happens ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (http(500, {"message": "x"}, "InternalServiceException"), Ambiguous),
        (http(503), Ambiguous),
        (http(429, {"message": "Rate exceeded"}, "TooManyRequestsException"), Throttled),
        (http(429, {"message": "Rate exceeded"}, "ThrottlingException"), Throttled),
        (stalls, Ambiguous),
        (lambda _: None, Ambiguous),
        (lambda _: b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{", Ambiguous),
        (lambda _: b"SSH-2.0-OpenSSH\r\n\r\n", Ambiguous),
        (http(200, b"<html>captive portal</html>"), OddAnswer),
        (http(200, {}), OddAnswer),
        (http(200, {"ContactId": ""}), OddAnswer),
        (http(200), OddAnswer),
        (http(302), Misconfigured),
    ],
    ids=[
        "500",
        "503 without a word",
        "429 TooManyRequests",
        "429 Throttling",
        "no answer",
        "hangs up",
        "hangs up in mid-answer",
        "speaks no HTTP",
        "200 with HTML",
        "200 without ContactId",
        "200 with empty ContactId",
        "200 without a word",
        "redirect",
    ],
)
def test_one_call_sends_one_request(
    serve: Callable[..., Wire], connect: Connect, answer: Answer, kind: type[ConnectError]
) -> None:
    """Neither the SDK nor the environment gets a second request out of one call."""
    wire = serve(answer)
    with pytest.raises(ConnectError) as error:
        connect.place(ORDER)
    assert (type(error.value), len(wire.requests)) == (kind, 1)


@pytest.mark.parametrize("allowed", [lambda: False, lambda: 1 / 0])
def test_last_look_holds_the_request_back(
    serve: Callable[..., Wire], connect: Connect, allowed: Callable[[], bool]
) -> None:
    """When the last look before the wire says no, or fails, nothing is sent."""
    wire = serve(PLACED)
    with pytest.raises(NeverSent):
        connect.place(ORDER, send_before=allowed)
    assert wire.requests == []


def test_last_look_is_the_calls_own(serve: Callable[..., Wire], connect: Connect) -> None:
    """Threads that share the client are each asked about their own call only."""
    wire = serve(PLACED)
    meet = threading.Barrier(2)
    outcomes: dict[bool, str] = {}

    def place(allowed: bool) -> None:
        def look() -> bool:
            meet.wait(10)  # both calls are between signing and sending
            return allowed

        try:
            outcomes[allowed] = connect.place(ORDER, send_before=look)
        except NeverSent as error:
            outcomes[allowed] = error.code

    threads = [threading.Thread(target=place, args=(allowed,)) for allowed in (True, False)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert outcomes == {True: "c-1", False: "LastLook"}
    assert len(wire.requests) == 1


def test_last_look_comes_after_the_connection(
    serve: Callable[..., Wire], connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A resolver that takes its time cannot make a request leave late: it is asked with the socket open."""
    wire = serve(PLACED)
    connect.verify()  # which resolves the name for itself
    seconds = 0.0
    resolve = socket.getaddrinfo

    def slowly(*args: Any, **more: Any) -> Any:
        nonlocal seconds
        seconds += 12.0
        return resolve(*args, **more)

    monkeypatch.setattr(socket, "getaddrinfo", slowly)
    with pytest.raises(NeverSent):
        connect.place(ORDER, send_before=lambda: seconds < 5.0)
    assert (seconds, wire.requests) == (12.0, [])


def test_last_look_of_one_call_does_not_bind_the_next(serve: Callable[..., Wire], connect: Connect) -> None:
    """A call that was held back leaves nothing behind."""
    serve(PLACED)
    with pytest.raises(NeverSent):
        connect.place(ORDER, send_before=lambda: False)
    assert connect.place(ORDER) == "c-1"
    assert connect.place(ORDER, send_before=lambda: True) == "c-1"


# --- did it leave? ----------------------------------------------------------------------------------------


def test_unknown_host_was_never_sent(monkeypatch: pytest.MonkeyPatch, connect: Connect) -> None:
    """No address, no call."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_CONNECT", "http://connect.invalid")
    with pytest.raises(NeverSent) as error:
        connect.place(ORDER)
    assert error.value.code == "EndpointConnectionError"


def test_refused_connection_was_never_sent(serve: Callable[..., Wire], connect: Connect) -> None:
    """Nobody listens, nobody heard."""
    serve(PLACED).close()
    with pytest.raises(NeverSent):
        connect.place(ORDER)


def test_connect_timeout_was_never_sent() -> None:
    """A connection that does not come about carries nothing."""
    error = aws.ConnectTimeoutError(endpoint_url="https://connect.eu-central-1.amazonaws.com", error="x")
    assert type(judged(error, Stage.CONNECTING)) is NeverSent


def test_untrusted_certificate_needs_somebody(
    serve: Callable[..., Wire], connect: Connect, tls: ssl.SSLContext
) -> None:
    """A certificate that does not verify stays wrong for every call, and nothing was sent."""
    wire = serve(PLACED, tls)
    with pytest.raises(Misconfigured, match="AWS_CA_BUNDLE"):
        connect.place(ORDER)
    assert wire.requests == []


def test_missing_ca_bundle_needs_somebody(
    serve: Callable[..., Wire],
    connect: Connect,
    tls: ssl.SSLContext,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """AWS_CA_BUNDLE names a file that is not there."""
    serve(PLACED, tls)
    monkeypatch.setenv("AWS_CA_BUNDLE", str(tmp_path / "nothing.pem"))
    with pytest.raises(Misconfigured, match="AWS_CA_BUNDLE"):
        connect.place(ORDER)


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", None], ids=["no TLS", "silence"])
def test_broken_handshake_was_never_sent(
    monkeypatch: pytest.MonkeyPatch, connect: Connect, answer: bytes | None
) -> None:
    """A TLS handshake that fails or stalls comes before the request, whatever name the SDK has for it."""
    with ThreadingTCPServer(("127.0.0.1", 0), StreamRequestHandler, bind_and_activate=True) as server:
        # Nobody accepts: the kernel completes the connection, and the handshake waits in vain.
        if answer is not None:
            server.RequestHandlerClass = type(
                "Speaks", (StreamRequestHandler,), {"handle": lambda self: self.wfile.write(answer)}
            )
            threading.Thread(target=server.handle_request).start()
        port = server.server_address[1]
        monkeypatch.setenv("AWS_ENDPOINT_URL_CONNECT", f"https://localhost:{port}")
        with pytest.raises(NeverSent):
            connect.place(ORDER)


def test_hanging_up_after_the_handshake_is_ambiguous(
    serve: Callable[..., Wire],
    connect: Connect,
    tls: ssl.SSLContext,
    certificate: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Over TLS as well: what was read may have been acted upon."""
    monkeypatch.setenv("AWS_CA_BUNDLE", str(certificate))
    wire = serve(lambda _: None, tls)
    with pytest.raises(Ambiguous):
        connect.place(ORDER)
    assert len(wire.requests) == 1


def test_proxy_that_hangs_up_is_ambiguous(
    serve: Callable[..., Wire], connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy may have passed the request on before it closed, though urllib3 says it was never reached."""
    proxy = serve(lambda _: None)
    monkeypatch.setenv("http_proxy", f"http://localhost:{proxy.port}")
    monkeypatch.setenv("AWS_ENDPOINT_URL_CONNECT", "http://connect.invalid")
    with pytest.raises(Ambiguous) as error:
        connect.place(ORDER)
    assert len(proxy.requests) == 1
    assert error.value.code in {"ProxyConnectionError", "ConnectionClosedError"}


@pytest.mark.parametrize("listening", [True, False])
def test_tunnel_that_a_proxy_refuses_was_never_sent(
    serve: Callable[..., Wire], connect: Connect, monkeypatch: pytest.MonkeyPatch, listening: bool
) -> None:
    """Without a tunnel, or without a proxy, the request stays here."""
    proxy = serve(lambda _: b"HTTP/1.1 502 Bad Gateway\r\n\r\n")
    if not listening:
        proxy.close()
    monkeypatch.setenv("https_proxy", f"http://localhost:{proxy.port}")
    monkeypatch.setenv("AWS_ENDPOINT_URL_CONNECT", "https://connect.invalid")
    with pytest.raises(NeverSent):
        connect.place(ORDER)


@pytest.mark.parametrize(
    "error",
    [
        aws.ReadTimeoutError(endpoint_url="x", error="x"),
        aws.ConnectionClosedError(endpoint_url="x", error="x"),
        aws.SSLError(endpoint_url="x", error="bad record"),
        aws.ProxyConnectionError(proxy_url="x", error="x"),
        aws.HTTPClientError(error="x"),
        aws.ResponseStreamingError(error="x"),
        aws.ClientError({}, "StartOutboundVoiceContact"),
        aws.BotoCoreError(),
        TypeError("a fault of ours"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_without_proof_it_may_have_left(error: Exception) -> None:
    """Once the request is being written, no error proves that it did not leave."""
    assert type(judged(error, Stage.SENT)) is Ambiguous


def test_error_of_an_earlier_request_proves_nothing(serve: Callable[..., Wire], connect: Connect) -> None:
    """A failed connection that is still being handled does not make the next, sent request look unsent."""
    serve(PLACED).close()
    try:
        connect.place(ORDER)
    except NeverSent:
        serve(lambda _: None)
        again = Connect()
        with pytest.raises(Ambiguous):
            again.place(ORDER)
        again.close()


# --- before it could leave --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("unset", "kind", "hint"),
    [
        (["AWS_REGION"], Misconfigured, "set AWS_REGION"),
        (["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"], Unauthenticated, "AWS_PROFILE"),
        (["AWS_SECRET_ACCESS_KEY"], Unauthenticated, "check the credentials"),
    ],
)
def test_missing_setting_needs_somebody(
    serve: Callable[..., Wire],
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    unset: list[str],
    kind: type[ConnectError],
    hint: str,
) -> None:
    """Without a Region or credentials nothing leaves, and the reason says what to set."""
    wire = serve(PLACED)
    for name in unset:
        monkeypatch.delenv(name)
    with pytest.raises(kind, match=hint):
        connect.place(ORDER)
    assert wire.requests == []


@pytest.mark.parametrize(
    ("name", "value"),
    [("AWS_PROFILE", "nobody"), ("AWS_ENDPOINT_URL_CONNECT", "connect"), ("AWS_REGION", "not a region")],
)
def test_wrong_setting_needs_somebody(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """A wrong profile, address or Region is a matter for the operator, and is said by name."""
    monkeypatch.setenv(name, value)
    with pytest.raises(Misconfigured) as error:
        connect.place(ORDER)
    assert name in error.value.reason


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (aws.CredentialRetrievalError(provider="x", error_msg="x"), Unauthenticated),
        (aws.TokenRetrievalError(provider="x", error_msg="x"), Unauthenticated),
        (aws.InvalidConfigError(error_msg="x"), Unauthenticated),
        (aws.UnauthorizedSSOTokenError(), Unauthenticated),
        (aws.ConnectTimeoutError(endpoint_url="x", error="x"), Unauthenticated),
        (aws.ReadTimeoutError(endpoint_url="x", error="x"), Unauthenticated),
        (aws.ParamValidationError(report="x"), Refused),
        (
            aws.ParamValidationError(report='Unknown parameter in input: "RingTimeoutInSeconds"'),
            Misconfigured,
        ),
        (aws.ParamValidationError(report="Invalid length for parameter Attributes, value: 0"), Refused),
        (TypeError("a fault of ours"), Misconfigured),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value.__name__,
)
def test_before_the_socket_nothing_is_ambiguous(error: Exception, kind: type[ConnectError]) -> None:
    """What fails while the request is being made (asking STS for a role, say) has rung nobody."""
    assert type(judged(error, Stage.PREPARING)) is kind


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (403, "AccessDenied", Unauthenticated),
        (400, "Throttling", Unauthenticated),
        (503, "x", Unauthenticated),
    ],
)
def test_answer_about_credentials_is_not_connects(status: int, code: str, kind: type[ConnectError]) -> None:
    """STS being throttled or down is no throttle of ours, and rings nobody."""
    answer = {"Error": {"Code": code, "Message": "x"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    error = aws.ClientError(answer, "AssumeRole")  # type: ignore[arg-type]
    assert type(judged(error, Stage.PREPARING)) is kind


# --- what AWS answers -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "InvalidParameterException", Refused),
        (400, "InvalidRequestException", Refused),
        (400, "ValidationException", Refused),
        (400, "SomethingNewException", Refused),
        (400, "400", Ambiguous),
        (400, "", Ambiguous),
        (422, "422", Ambiguous),
        (403, "DestinationNotAllowedException", Refused),
        (413, "", Refused),
        (403, "OutboundContactNotPermittedException", Misconfigured),
        (403, "AccessDeniedException", Misconfigured),
        (403, "UnrecognizedClientException", Unauthenticated),
        (403, "InvalidSignatureException", Unauthenticated),
        (403, "SignatureDoesNotMatch", Unauthenticated),
        (403, "InvalidClientTokenId", Unauthenticated),
        (403, "ExpiredTokenException", Unauthenticated),
        (400, "ExpiredToken", Unauthenticated),
        (400, "IncompleteSignature", Misconfigured),
        (400, "IncompleteSignatureException", Misconfigured),
        (403, "MissingAuthenticationTokenException", Misconfigured),
        (403, "OptInRequired", Misconfigured),
        (400, "RequestExpired", Unauthenticated),
        (401, "AuthFailure", Unauthenticated),
        (403, "SomethingNewException", Misconfigured),
        (401, "", Misconfigured),
        (404, "ResourceNotFoundException", Misconfigured),
        (404, "UnknownOperationException", Misconfigured),
        (404, "", Misconfigured),
        (301, "", Misconfigured),
        (429, "TooManyRequestsException", Throttled),
        (429, "ThrottlingException", Throttled),
        (400, "Throttling", Throttled),
        (400, "RequestLimitExceeded", Throttled),
        (503, "SlowDown", Throttled),
        (429, "", Throttled),
        (429, "SomethingNewException", Throttled),
        (429, "LimitExceededException", NoCapacity),
        (402, "ServiceQuotaExceededException", NoCapacity),
        (500, "InternalServiceException", Ambiguous),
        (500, "", Ambiguous),
        (503, "503", Ambiguous),
        (503, "ServiceUnavailableException", Ambiguous),
        (504, "", Ambiguous),
        (500, "InvalidParameterException", Ambiguous),
        (408, "RequestTimeoutException", Ambiguous),
        (408, "", Ambiguous),
        (409, "ConflictException", Ambiguous),
        (0, "", Ambiguous),
    ],
)
def test_answers_become_decisions(status: int, code: str, kind: type[ConnectError]) -> None:
    """Each code, known or not, modelled or not, has its class."""
    assert type(judged_answer(status, code, "x")) is kind


@pytest.mark.parametrize(
    ("code", "in_header"), [("LimitExceededException", True), ("LimitExceededException", False)]
)
def test_code_is_found_where_aws_puts_it(
    serve: Callable[..., Wire], connect: Connect, code: str, in_header: bool
) -> None:
    """The code travels in a header or in the body's __type."""
    body = (
        {"message": "full"} if in_header else {"__type": f"com.amazonaws.connect#{code}", "message": "full"}
    )
    serve(http(429, body, code if in_header else None))
    with pytest.raises(NoCapacity) as error:
        connect.place(ORDER)
    assert error.value.code == code


@pytest.mark.parametrize(
    ("message", "kind"),
    [
        ("SourcePhoneNumber is not claimed by this instance", Misconfigured),
        ("Contact flow is not published", Misconfigured),
        ("DestinationPhoneNumber is not valid", Refused),
        ("DestinationPhoneNumber cannot be called from SourcePhoneNumber", Refused),
        ("Attributes are too long for the flow", Refused),
        ("no", Refused),
        ("the name of the country is not allowed", Refused),
        ("Answering machine detection is not enabled", Misconfigured),
        ("Value at 'name' failed to satisfy constraint: length less than or equal to 1024", Misconfigured),
        ("Value at 'clientToken' failed to satisfy constraint", Refused),
        *((f"Value of {name} is not valid", Misconfigured) for name in SHARED),
        *(
            (f"1 error: Value at '{name[0].lower()}{name[1:]}' is not valid", Misconfigured)
            for name in SHARED
        ),
    ],
)
def test_fault_of_the_campaign_does_not_cost_its_recipients(message: str, kind: type[ConnectError]) -> None:
    """An InvalidParameter that all calls share pauses the campaign, or it would cost every recipient."""
    for code in (
        "InvalidParameterException",
        "InvalidRequestException",
        "ValidationException",
        "NewException",
    ):
        assert type(judged_answer(400, code, message)) is kind


def test_a_country_that_may_not_be_called_is_ones_own() -> None:
    """Whatever the answer mentions besides: the others' countries may be allowed."""
    message = "Outbound calls of this instance to the country are not allowed"
    assert type(judged_answer(403, "DestinationNotAllowedException", message)) is Refused


def _of_another_type(shape: Any) -> Any:
    """A value of the wrong type for a parameter, which botocore refuses by itself."""
    return 1 if shape.type_name == "string" else "x"


@pytest.mark.parametrize("parameter", sorted(MODEL.members))
@pytest.mark.parametrize("unknown", [True, False])
def test_what_botocore_refuses_pauses_the_campaign_if_all_calls_share_it(
    connect: Connect, monkeypatch: pytest.MonkeyPatch, parameter: str, unknown: bool
) -> None:
    """A parameter that an older botocore does not know, or a value of the wrong type, in each place."""
    value = _of_another_type(MODEL.members[parameter])
    request = {
        "InstanceId": "i",
        "ContactFlowId": "f",
        "DestinationPhoneNumber": "+14155550100",
        **({f"{parameter}New": 1} if unknown else {parameter: value}),
    }
    monkeypatch.setattr("worker.connect.request_of", lambda order: request)
    ones = not unknown and parameter in ("DestinationPhoneNumber", "ClientToken", "Attributes")
    with pytest.raises(Refused if ones else Misconfigured) as error:
        connect.place(ORDER)
    assert error.value.code == "ParamValidationError"
    assert parameter in error.value.reason


@pytest.mark.parametrize(
    ("code", "hint"),
    [
        ("ResourceNotFoundException", "check instance_id, contact_flow_id and queue_id"),
        ("OutboundContactNotPermittedException", "enable outbound calling for the instance"),
        ("ExpiredTokenException", "check the credentials"),
        ("RequestExpired", "clock"),
        ("AccessDeniedException", "connect:StartOutboundVoiceContact"),
    ],
)
def test_reason_says_what_to_fix(code: str, hint: str) -> None:
    """The operator reads what to do, not just what went wrong."""
    assert hint in judged_answer(403, code, "x").reason


@pytest.mark.parametrize(
    "message",
    [
        "Cannot dial +14155550100.",
        "Cannot dial 14155550100.",
        "Cannot dial +1 (415) 555-0100 or +4915123456789.",
        "Credential=AKIAEXAMPLEEXAMPLE/20250101/eu-central-1",
        "Cannot reach https://user:hunter2@proxy.example",
        "many\nlines " * 1000,
    ],
)
def test_reason_can_be_written_down(message: str) -> None:
    """No telephone number, no key, no password, one line, of bearable length."""
    reason = judged_answer(400, "InvalidParameterException", message, PHONE).reason
    for secret in ("4155550100", "555-0100", "15123456789", "AKIAEXAMPLE", "hunter2", "\n"):
        assert secret not in reason
    assert len(reason) < 400


def test_what_aws_or_a_proxy_says_is_kept_as_text() -> None:
    """Error texts and error codes hold no control characters, and are no longer than they may be."""
    error = judged_answer(400, "Invalid\x1b[2J" + "x" * 500, "\x1b]0;owned\x07 \u202e" + "\x9b" * 500, PHONE)
    assert error.code.startswith(r"Invalid\x1b[2Jxxx")
    assert r"\x1b]0;owned\x07 \u202e\x9b" in error.reason
    assert (len(error.code), len(error.reason) < 400) == (100, True)
    assert judged_answer(400, "InvalidParameterException", "x").code == "InvalidParameterException"


def test_traceback_keeps_the_number_to_itself(serve: Callable[..., Wire], connect: Connect) -> None:
    """AWS's own text, which may repeat the number, is not chained to the error that gets logged."""
    serve(http(400, {"message": f"bad {PHONE}"}, "InvalidParameterException"))
    with pytest.raises(Refused) as error:
        connect.place(ORDER)
    assert error.value.__suppress_context__ is True
    assert PHONE not in str(error.value)


# --- following a call -------------------------------------------------------------------------------------


def test_call_is_described(serve: Callable[..., Wire], connect: Connect) -> None:
    """Times come in UTC, and AWS's 1970 means that there is none."""
    contact = {
        "InitiationTimestamp": 1_700_000_000,
        "ConnectedToSystemTimestamp": 0,
        "DisconnectTimestamp": 1_700_000_030.5,
        "DisconnectReason": "TELECOM_BUSY",
        "AnsweringMachineDetectionStatus": "AMD_UNANSWERED",
        "CustomerEndpoint": {"Type": "TELEPHONE_NUMBER", "Address": PHONE},
        "Attributes": {"FirstName": "Zoë"},
    }
    wire = serve(http(200, {"Contact": contact}))
    assert connect.describe(INSTANCE, "c-1") == CallReport(
        initiated_at=datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC),
        answered_at=None,
        ended_at=datetime(2023, 11, 14, 22, 13, 50, 500000, tzinfo=UTC),
        disconnect_reason="TELECOM_BUSY",
        answering_machine_status="AMD_UNANSWERED",
        phone=PHONE,
        attributes={"FirstName": "Zoë"},
    )
    assert (wire.requests[0]["method"], wire.requests[0]["path"]) == ("GET", f"/contacts/{INSTANCE}/c-1")


def test_description_may_be_nearly_empty(serve: Callable[..., Wire], connect: Connect) -> None:
    """A call that has just begun has hardly any fields."""
    serve(http(200, {"Contact": {"Id": "c-1"}}))
    assert connect.describe(INSTANCE, "c-1") == CallReport(None, None, None, None, None, None, {})


def test_unknown_contact_is_none(serve: Callable[..., Wire], connect: Connect) -> None:
    """A contact that Connect does not know (yet) is no error."""
    serve(http(404, {"message": "x"}, "ResourceNotFoundException"))
    assert connect.describe(INSTANCE, "c-1") is None


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (http(429, {"message": "x"}, "ThrottlingException"), Throttled),
        (http(403, {"message": "x"}, "AccessDeniedException"), Misconfigured),
        (http(500), Ambiguous),
        (stalls, Ambiguous),
        (http(200, {}), OddAnswer),
    ],
)
def test_describing_fails_like_placing(
    serve: Callable[..., Wire], connect: Connect, answer: Answer, kind: type[ConnectError]
) -> None:
    """One request and the same classes, so that the caller can wait its turn."""
    wire = serve(answer)
    with pytest.raises(kind):
        connect.describe(INSTANCE, "c-1")
    assert len(wire.requests) == 1


def test_credentials_that_cannot_be_had_are_no_call(
    serve: Callable[..., Wire], connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container's credentials are asked for over connections like ours; an outage is no call in doubt."""
    soon = (datetime.now(UTC) + timedelta(seconds=30)).strftime("%Y-%m-%dT%H:%M:%SZ")
    made_up = {"AccessKeyId": "a", "SecretAccessKey": "b", "Token": "c", "Expiration": soon}
    answers = [http(200, made_up)]
    wire = serve(lambda wire: (answers.pop() if answers else http(500, {}))(wire))
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"http://localhost:{wire.port}/credentials")
    monkeypatch.setattr("botocore.utils.ContainerMetadataFetcher.SLEEP_TIME", 0)
    looks: list[str] = []
    with pytest.raises(Unauthenticated):
        connect.place(ORDER, send_before=lambda: looks.append("a look") is None)
    assert looks == []
    assert {(request["method"], request["path"]) for request in wire.requests} == {("GET", "/credentials")}
    assert len(wire.requests) > 1


# --- hanging up -------------------------------------------------------------------------------------------


def test_call_is_stopped(serve: Callable[..., Wire], connect: Connect) -> None:
    """One request that names the instance and the contact."""
    wire = serve(http(200, {}))
    assert connect.stop(INSTANCE, "c-1") is True
    (request,) = wire.requests
    assert (request["method"], request["path"]) == ("POST", "/contact/stop")
    assert request["body"] == {"InstanceId": INSTANCE, "ContactId": "c-1"}


@pytest.mark.parametrize(
    "gone",
    [
        http(410, {"Message": "x"}, "ContactNotFoundException"),
        http(404, {"Message": "x"}, "ContactNotFoundException"),
        http(404, {"Message": "x"}, "ResourceNotFoundException"),
    ],
)
def test_contact_that_is_gone_need_not_be_stopped(
    serve: Callable[..., Wire], connect: Connect, gone: Answer
) -> None:
    """Connect does not know it (any more, or yet), which is no error."""
    serve(gone)
    assert connect.stop(INSTANCE, "c-1") is False


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (http(429, {"message": "Rate exceeded"}, "ThrottlingException"), Throttled),
        (http(403, {"Message": "no"}, "AccessDeniedException"), Misconfigured),
        (http(404, {"Message": "no"}, "UnknownOperationException"), Misconfigured),
        (http(400, {"Message": "no"}, "InvalidRequestException"), Refused),
        (http(500, {"Message": "no"}, "InternalServiceException"), Ambiguous),
        (lambda _: None, Ambiguous),
    ],
)
def test_stopping_fails_like_placing(
    serve: Callable[..., Wire], connect: Connect, answer: Answer, kind: type[ConnectError]
) -> None:
    """One request and the same classes, so that the caller can wait its turn."""
    wire = serve(answer)
    with pytest.raises(kind):
        connect.stop(INSTANCE, "c-1")
    assert len(wire.requests) == 1


def test_missing_right_to_stop_is_named(serve: Callable[..., Wire], connect: Connect) -> None:
    """Whoever reads the error knows what to allow, and that dialing does without it."""
    serve(http(403, {"Message": "no"}, "AccessDeniedException"))
    with pytest.raises(Misconfigured, match="connect:StopContact for `dialer cancel --hang-up`"):
        connect.stop(INSTANCE, "c-1")


# --- search -----------------------------------------------------------------------------------------------

THEN = datetime(2026, 3, 2, 12, 0, 0, 700_000, tzinfo=UTC)


def test_search_asks_for_the_calls_of_a_time(serve: Callable[..., Wire], connect: Connect) -> None:
    """Voice calls of the API, earliest first, a second more than asked for; and the next page."""
    rows = [
        {"Id": "c-1", "InitiationTimestamp": 1_700_000_000},
        {"Id": "c-2", "InitiationTimestamp": 1_700_000_001},
    ]
    wire = serve(http(200, {"Contacts": rows, "NextToken": "more"}))
    page = connect.search(INSTANCE, THEN, THEN + timedelta(minutes=1))
    first = datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    assert page == SearchPage([Listed("c-1", first), Listed("c-2", first + timedelta(seconds=1))], "more")
    connect.search(INSTANCE, THEN, THEN, "more")
    one, two = wire.requests
    assert (one["method"], one["path"]) == ("POST", "/search-contacts")
    since = int(THEN.timestamp())
    assert one["body"] == {
        "InstanceId": INSTANCE,
        "TimeRange": {"Type": "INITIATION_TIMESTAMP", "StartTime": since, "EndTime": since + 61},
        "SearchCriteria": {"InitiationMethods": ["API"], "Channels": ["VOICE"]},
        "Sort": {"FieldName": "INITIATION_TIMESTAMP", "Order": "ASCENDING"},
        "MaxResults": 100,
    }
    assert two["body"]["NextToken"] == "more"


def test_search_by_name_asks_for_exactly_these(serve: Callable[..., Wire], connect: Connect) -> None:
    """The names go into the criteria, and those of the calls come back."""
    row = {"Id": "c-1", "InitiationTimestamp": 1_700_000_000, "Name": "reminder 1"}
    wire = serve(http(200, {"Contacts": [row]}))
    (found,) = connect.search(INSTANCE, THEN, THEN, names=["reminder 1", "reminder 2"]).calls
    assert found.name == "reminder 1"
    assert wire.requests[0]["body"]["SearchCriteria"]["Name"] == {
        "SearchText": ["reminder 1", "reminder 2"],
        "MatchType": "MATCH_EXACT",
    }


def test_a_name_holds_the_calls_token(serve: Callable[..., Wire], connect: Connect) -> None:
    """Where the campaign says so; any other name is sent as it is."""
    wire = serve(http(200, {"ContactId": "c-1"}))
    for name in ("reminder {client_token}", "reminder {other}"):
        connect.place(replace(ORDER, options=ORDER.options.model_copy(update={"name": name})))
    names = [request["body"]["Name"] for request in wire.requests]
    assert names == [f"reminder {ORDER.client_token}", "reminder {other}"]


@pytest.mark.parametrize(
    ("answer", "known"),
    [
        (http(404, {"Message": "no"}, "ResourceNotFoundException"), True),
        (http(404, {"Message": "no"}, "UnknownOperationException"), False),
        (http(404, {}), False),
    ],
)
def test_only_connect_itself_says_that_it_knows_no_such_contact(
    serve: Callable[..., Wire], connect: Connect, answer: Answer, known: bool
) -> None:
    """A 404 of something else on the way, such as a proxy, says nothing of the call."""
    serve(answer)
    if known:
        assert connect.describe(INSTANCE, "c-1") is None
    else:
        with pytest.raises(Misconfigured):
            connect.describe(INSTANCE, "c-1")


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (http(429, {"message": "Rate exceeded"}, "ThrottlingException"), Throttled),
        (http(403, {"Message": "no"}, "AccessDeniedException"), Misconfigured),
        (http(200, {"TotalCount": 0}), Ambiguous),
    ],
)
def test_searching_fails_like_placing(
    serve: Callable[..., Wire], connect: Connect, answer: Answer, kind: type[ConnectError]
) -> None:
    """One request and the same classes; an answer without a list is not taken for an empty one."""
    wire = serve(answer)
    with pytest.raises(kind):
        connect.search(INSTANCE, THEN, THEN)
    assert len(wire.requests) == 1


# --- the client -------------------------------------------------------------------------------------------


def test_region_is_known_for_the_pacer(connect: Connect) -> None:
    """AWS_REGION counts, as with the other SDKs."""
    assert connect.region == "eu-central-1"


def test_default_region_counts_too(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """AWS_DEFAULT_REGION is what boto3 reads by itself."""
    monkeypatch.delenv("AWS_REGION")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-west-2")
    assert connect.region == "us-west-2"


def test_errors_survive_pickling() -> None:
    """An error keeps its code and reason on the way between processes."""
    error = pickle.loads(pickle.dumps(Throttled("TooManyRequestsException", "slower")))
    assert (type(error), error.code, error.reason) == (Throttled, "TooManyRequestsException", "slower")
    assert str(error) == "TooManyRequestsException: slower"


def test_an_instance_of_another_region_is_not_called_from_here(
    serve: Callable[..., Wire], connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two campaigns with two Regions cannot share a dialer: the other one is told what to do, unsent."""
    wire = serve(http(200, {"ContactId": "c"}))
    here = replace(ORDER, options=OPTIONS.model_copy(update={"region": connect.region}))
    there = replace(ORDER, options=OPTIONS.model_copy(update={"region": "ap-southeast-2"}))
    with pytest.raises(
        Misconfigured, match="set AWS_REGION=ap-southeast-2, or dial this campaign with"
    ) as error:
        connect.place(there)
    assert (error.value.code, len(wire.requests)) == ("OtherRegion", 0)
    assert connect.place(here) == "c"
