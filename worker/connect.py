"""boto3 in; our types and our errors out. The only importer of boto3.

One call of `Connect.place` sends one request or none. Each class of error is a decision that its catcher has
to take. What separates them is whether the request can have left, and `NeverSent` is raised only on proof
that it has not.
"""

import os
import re
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum, auto
from typing import Any

import boto3
import botocore.exceptions as aws
from botocore.awsrequest import (
    AWSHTTPConnection,
    AWSHTTPConnectionPool,
    AWSHTTPSConnection,
    AWSHTTPSConnectionPool,
)
from botocore.config import Config

from campaigns.campaign import ConnectOptions
from campaigns.recipient import masked

# --- what goes in and comes out ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CallOrder:
    """One attempt to ring one number."""

    phone: str
    """E.164."""
    client_token: str
    """The attempt's own token, 1 to 500 characters."""
    attributes: Mapping[str, str]
    """What the flow may read: at most 32,768 UTF-8 bytes over all keys and values."""
    options: ConnectOptions


@dataclass(frozen=True, slots=True)
class CallReport:
    """What DescribeContact knows of a call. Times are in UTC; None is what Connect left out."""

    initiated_at: datetime | None
    answered_at: datetime | None
    """When a person or a machine picked up (ConnectedToSystemTimestamp)."""
    ended_at: datetime | None
    disconnect_reason: str | None
    """Such as TELECOM_BUSY; see DisconnectReason in the contact record's data model."""
    answering_machine_status: str | None
    """Such as VOICEMAIL_BEEP; only where detection was asked for."""
    phone: str | None
    attributes: Mapping[str, str]


class ConnectError(Exception):
    """A request to Connect came to nothing, or nobody knows what it came to.

    `code` is AWS's error code, or the name of what happened on the way. `reason` is for the ledger, the log
    and the operator: it holds no secrets and no telephone numbers.
    """

    def __init__(self, code: str, reason: str, status: int = 0) -> None:
        super().__init__(code, reason, status)
        self.code = code
        self.reason = reason
        self.status = status
        """HTTP's, or 0 where there was no answer."""

    def __str__(self) -> str:
        return f"{self.code}: {self.reason}"


class NeverSent(ConnectError):
    """The request has not left this machine. The same attempt may be sent again at any time."""


class Throttled(ConnectError):
    """Too many requests a second. It did not ring; slow down, and send the same attempt again later."""


class NoCapacity(ConnectError):
    """A quota on calls in progress is used up. It did not ring; send the same attempt again later."""


class Refused(ConnectError):
    """This call cannot be placed, now or later, while others can. It did not ring."""


class Misconfigured(ConnectError):
    """No call of the campaign can be placed until somebody changes what the reason names. It did not ring."""


class Ambiguous(ConnectError):
    """It may ring. Sending again may ring twice once the first call is over."""


# --- the client -------------------------------------------------------------------------------------------


class Stage(Enum):
    """How far a request came. Only what has been sent can have rung."""

    PREPARING = auto()
    """Credentials, Region, parameters: the request is not complete."""
    CONNECTING = auto()
    """Complete and signed; looking for a connection, or opening one."""
    SENT = auto()
    """From the moment before its first byte is written."""


class _Departure:
    """The request in hand, followed to the wire."""

    __slots__ = ("send_before", "stage")

    def __init__(self, send_before: Callable[[], bool] | None = None) -> None:
        self.send_before = send_before
        self.stage = Stage.PREPARING

    def leave(self) -> None:
        """The last look, with the connection open and nothing written to it. Raises NeverSent."""
        if self.send_before is not None:
            try:
                allowed = self.send_before()
            except Exception as error:
                raise NeverSent(
                    "LastLook", f"the last look before sending failed: {type(error).__name__}"
                ) from error
            if not allowed:
                raise NeverSent("LastLook", "the last look before sending said no")
        self.stage = Stage.SENT


_departure: ContextVar[_Departure | None] = ContextVar("departure", default=None)


class _Watched:
    """A connection of botocore's that asks before it writes.

    botocore's last hook comes before the connection is opened, and that can take long: a resolver has no
    time limit. A request that waited there would leave after its time, and after its replay window.
    """

    sock: Any

    def request(self, *args: Any, **more: Any) -> Any:
        departure = _departure.get()
        if departure is not None:
            if self.sock is None:
                self.connect()  # type: ignore[attr-defined] # urllib3's
            departure.leave()
        return super().request(*args, **more)  # type: ignore[misc] # urllib3's


# The pools make their connections of this class; for requests that are not ours they are what they were.
AWSHTTPConnectionPool.ConnectionCls = type("WatchedHTTP", (_Watched, AWSHTTPConnection), {})
AWSHTTPSConnectionPool.ConnectionCls = type("WatchedHTTPS", (_Watched, AWSHTTPSConnection), {})


class Connect:
    """Amazon Connect, as far as a dialer needs it. Threads may share one; it holds one pool of connections.

    Region, credentials, endpoint and proxies come from the environment or the profile, as for any user of the
    SDK (`AWS_REGION`, `AWS_PROFILE`, `AWS_ENDPOINT_URL_CONNECT`, ...), and are read when first needed.

    read_timeout_seconds: how long to wait for an answer after sending. Shorter than the shortest ring of
        15 s, so that nobody still waits for an answer when the call is over.
    max_connections: as many as there are threads, or connections are opened anew for the rest.
    """

    def __init__(
        self,
        *,
        read_timeout_seconds: float = 10.0,
        connect_timeout_seconds: float = 3.0,
        max_connections: int = 50,
    ) -> None:
        self._config = Config(
            read_timeout=read_timeout_seconds,
            connect_timeout=connect_timeout_seconds,
            max_pool_connections=max_connections,
            tcp_keepalive=True,
            # By default the SDK sends up to three times, past the pacer, and so late that the first call may
            # be over; the token protects only while that call lives. This overrides AWS_MAX_ATTEMPTS.
            retries={"total_max_attempts": 1, "mode": "standard"},
        )
        self._made: Any = None
        self._making = threading.Lock()

    @property
    def region(self) -> str:
        """The Region that the calls start from, such as "eu-central-1". Raises Misconfigured."""
        return str(self._client().meta.region_name)

    def place(self, order: CallOrder, *, send_before: Callable[[], bool] | None = None) -> str:
        """Ring a number; returns Connect's contact_id. Sends one request or none.

        `send_before` is asked in the last moment, with the connection open and nothing written to it; when it
        says False, or raises, the request does not leave. Without it, a worker that stood still after its
        last look at the ledger would send whenever it wakes up.

        Raises NeverSent, Throttled, NoCapacity, Refused, Misconfigured or Ambiguous.
        """
        request = request_of(order)
        client = self._client()
        with _followed(_Departure(send_before), order.phone):
            answer = client.start_outbound_voice_contact(**request)
        contact_id = answer.get("ContactId")
        if not contact_id or not isinstance(contact_id, str):
            raise Ambiguous(
                "NoContactId", "the answer names no contact; something between us and AWS changed it"
            )
        return contact_id

    def describe(self, instance_id: str, contact_id: str) -> CallReport | None:
        """What became of a call; None when Connect knows no such contact.

        Just after dialing, None proves nothing: contacts appear with a delay.

        Raises the same errors as `place`, but this rings nobody: Ambiguous only means that no answer came.
        """
        client = self._client()
        try:
            with _followed(_Departure()):
                answer = client.describe_contact(InstanceId=instance_id, ContactId=contact_id)
        except Misconfigured as error:
            if error.status == 404:
                return None
            raise
        contact = answer.get("Contact")
        if not isinstance(contact, dict):
            raise Ambiguous(
                "NoContact", "the answer holds no contact; something between us and AWS changed it"
            )
        return _report(contact)

    def close(self) -> None:
        """Close the connections. The next use opens new ones."""
        with self._making:
            if self._made is not None:
                self._made.close()
                self._made = None

    def _client(self) -> Any:
        # Making a client is not safe in two threads at once; using one is.
        with self._making:
            if self._made is None:
                try:
                    # boto3 itself reads AWS_DEFAULT_REGION only; Lambda and the other SDKs say AWS_REGION.
                    session = boto3.session.Session(region_name=os.environ.get("AWS_REGION") or None)
                    client: Any = session.client("connect", config=self._config)
                except Exception as error:
                    raise judged(error, Stage.PREPARING) from None
                client.meta.events.register_last("before-send.connect", _complete)
                self._made = client
            return self._made


def _complete(**_: Any) -> None:
    """botocore's last hook: the request is complete and signed; what follows is the connection."""
    departure = _departure.get()
    if departure is not None:
        departure.stage = Stage.CONNECTING


@contextmanager
def _followed(departure: _Departure, phone: str = "") -> Iterator[None]:
    """Follow one request to the wire, and say what its errors mean for the call."""
    outer = _departure.set(departure)
    try:
        yield
    except Exception as error:
        # `from None`: AWS's own text, which may repeat the number, shall not reach a log by a traceback.
        raise judged(error, departure.stage, phone) from None
    finally:
        _departure.reset(outer)


# --- the request ------------------------------------------------------------------------------------------

# From the API reference of StartOutboundVoiceContact. botocore checks types only, and would send "abc".
_E164 = re.compile(r"\+[1-9][0-9]{1,14}")
_ATTRIBUTE_NAME = re.compile(r"[A-Za-z0-9_-]{1,32767}")
_ATTRIBUTE_BYTES = 32_768
_TOKEN_LENGTH = 500


def request_of(order: CallOrder) -> dict[str, Any]:
    """The parameters of StartOutboundVoiceContact for an order. Raises Refused for what AWS would refuse."""
    options = order.options
    if not _E164.fullmatch(order.phone):
        raise Refused("InvalidPhoneNumber", "the number is not in the E.164 form, such as +14155550100")
    # Without a token the SDK would invent one, and AWS could not tell a repetition from a new call.
    if not 1 <= len(order.client_token) <= _TOKEN_LENGTH:
        raise Refused("InvalidClientToken", "the client token must have 1 to 500 characters")
    _check_attributes(order.attributes)
    request: dict[str, Any] = {
        "InstanceId": options.instance_id,
        "ContactFlowId": options.contact_flow_id,
        "DestinationPhoneNumber": order.phone,
        "ClientToken": order.client_token,
    }
    optional: dict[str, Any] = {
        "SourcePhoneNumber": options.source_phone_number,
        "QueueId": options.queue_id,
        "Attributes": dict(order.attributes) or None,
        "RingTimeoutInSeconds": options.ring_timeout_seconds,
        "TrafficType": options.traffic_type,
        "CampaignId": options.campaign_id,
        "Name": options.name,
        "Description": options.description,
        "RelatedContactId": options.related_contact_id,
        "References": {
            name: {"Value": reference.value, "Type": reference.type}
            for name, reference in options.references.items()
        }
        or None,
    }
    if options.answering_machine_detection:
        optional["AnswerMachineDetectionConfig"] = {
            "EnableAnswerMachineDetection": True,
            "AwaitAnswerMachinePrompt": options.await_answering_machine_prompt,
        }
    return request | {name: value for name, value in optional.items() if value is not None}


def _check_attributes(attributes: Mapping[str, str]) -> None:
    size = 0
    for name, value in attributes.items():
        if not _ATTRIBUTE_NAME.fullmatch(name):
            raise Refused("InvalidAttributes", f"attribute {name[:40]!r}: letters, digits, - and _ only")
        try:
            size += len(name.encode()) + len(value.encode())
        except (UnicodeEncodeError, AttributeError):
            raise Refused(
                "InvalidAttributes", f"attribute {name[:40]!r} is not text that can be sent"
            ) from None
    if size > _ATTRIBUTE_BYTES:
        raise Refused(
            "InvalidAttributes", f"the attributes have {size:,} bytes; {_ATTRIBUTE_BYTES:,} is the limit"
        )


def _report(contact: Mapping[str, Any]) -> CallReport:
    endpoint = contact.get("CustomerEndpoint") or {}
    return CallReport(
        initiated_at=_moment(contact.get("InitiationTimestamp")),
        answered_at=_moment(contact.get("ConnectedToSystemTimestamp")),
        ended_at=_moment(contact.get("DisconnectTimestamp")),
        disconnect_reason=contact.get("DisconnectReason") or None,
        answering_machine_status=contact.get("AnsweringMachineDetectionStatus") or None,
        phone=endpoint.get("Address") or None,
        attributes=dict(contact.get("Attributes") or {}),
    )


def _moment(value: datetime | None) -> datetime | None:
    """AWS's own samples write 1970-01-01 for "absent"."""
    if value is None or value.timestamp() < 86400:
        return None
    return value.astimezone(UTC)


# --- the errors -------------------------------------------------------------------------------------------

_CREDENTIALS = "check the credentials (AWS_ACCESS_KEY_ID, AWS_PROFILE or the machine's role)"
_CLOCK = "check this machine's clock and the credentials"
_RIGHTS = "allow connect:StartOutboundVoiceContact and connect:DescribeContact to these credentials"
_SLOWER = "too many requests a second for this account and Region"
_MAYBE = "AWS did not say whether the call was placed"

# Error codes without "Exception" → what they mean for the call, and what to do. First the operation's own
# errors, then the "Common Error Types" that all of AWS's APIs share and botocore's list of throttling codes.
_BY_CODE: dict[str, tuple[type[ConnectError], str]] = {
    "InvalidParameter": (Refused, "Connect refuses this call's parameters"),
    "InvalidRequest": (Refused, "Connect refuses this call"),
    "DestinationNotAllowed": (Refused, "the instance may not call this country or number"),
    "OutboundContactNotPermitted": (Misconfigured, "enable outbound calling for the instance"),
    "ResourceNotFound": (Misconfigured, "check instance_id, contact_flow_id and queue_id, and the Region"),
    "LimitExceeded": (NoCapacity, "a quota of the instance is used up"),
    "InternalService": (Ambiguous, _MAYBE),
    # Throttling: unmodelled for this operation, and what the field sees is the first of them.
    "TooManyRequests": (Throttled, _SLOWER),
    "Throttling": (Throttled, _SLOWER),
    "Throttled": (Throttled, _SLOWER),
    "RequestThrottled": (Throttled, _SLOWER),
    "RequestLimitExceeded": (Throttled, _SLOWER),
    "SlowDown": (Throttled, _SLOWER),
    "BandwidthLimitExceeded": (Throttled, _SLOWER),
    "ServiceQuotaExceeded": (NoCapacity, "a quota of the instance is used up"),
    # Who is asking.
    "AccessDenied": (Misconfigured, _RIGHTS),
    "NotAuthorized": (Misconfigured, _RIGHTS),
    "UnauthorizedOperation": (Misconfigured, _RIGHTS),
    "Unauthorized": (Misconfigured, _RIGHTS),
    "AuthFailure": (Misconfigured, _CREDENTIALS),
    "ExpiredToken": (Misconfigured, f"the credentials have expired; {_CREDENTIALS}"),
    "IncompleteSignature": (Misconfigured, _CREDENTIALS),
    "InvalidAccessKeyId": (Misconfigured, _CREDENTIALS),
    "InvalidClientTokenId": (Misconfigured, _CREDENTIALS),
    "InvalidSignature": (Misconfigured, _CLOCK),
    "MissingAuthenticationToken": (Misconfigured, f"{_CREDENTIALS} and AWS_ENDPOINT_URL_CONNECT"),
    "OptInRequired": (Misconfigured, "the account is not subscribed to Amazon Connect in this Region"),
    "RequestExpired": (Misconfigured, _CLOCK),
    "RequestTimeTooSkewed": (Misconfigured, _CLOCK),
    "SignatureDoesNotMatch": (Misconfigured, _CLOCK),
    "UnrecognizedClient": (Misconfigured, _CREDENTIALS),
    "UnknownOperation": (Misconfigured, "check AWS_ENDPOINT_URL_CONNECT: it does not know this operation"),
    # What is asked.
    "Serialization": (Refused, "Connect cannot read this request"),
    "Validation": (Refused, "Connect refuses this call's parameters"),
    # The server did not get, or did not finish, the request.
    "RequestTimeout": (Ambiguous, _MAYBE),
    "ServiceUnavailable": (Ambiguous, _MAYBE),
    "InternalFailure": (Ambiguous, _MAYBE),
    "InternalServer": (Ambiguous, _MAYBE),
}

# For codes that are not in the table. What is in neither is Ambiguous: 408, 409, 425 and 5xx among them.
_BY_STATUS: dict[int, tuple[type[ConnectError], str]] = {
    400: (Refused, "Connect refuses this call"),
    401: (Misconfigured, _CREDENTIALS),
    402: (Misconfigured, "check the account"),
    403: (Misconfigured, _RIGHTS),
    404: (Misconfigured, "check instance_id, contact_flow_id and queue_id, and AWS_ENDPOINT_URL_CONNECT"),
    405: (Misconfigured, "check AWS_ENDPOINT_URL_CONNECT: this is no Amazon Connect"),
    407: (Misconfigured, "the proxy wants credentials; check HTTPS_PROXY"),
    413: (Refused, "the request is too large"),
    422: (Refused, "Connect refuses this call's parameters"),
    429: (Throttled, _SLOWER),
    431: (Refused, "the request is too large"),
}
# These answers repeat the request's headers, and the hint says all there is to do.
_TELLTALE = {"IncompleteSignature", "InvalidSignature", "SignatureDoesNotMatch"}
# Parameters that are the same for all calls of a campaign, and those that are this call's own.
_CAMPAIGNS_OWN = re.compile(
    r"instance|flow|source|queue|traffic|answer.?machine|ring.?timeout", re.IGNORECASE
)
_CALLS_OWN = re.compile(r"destination|attribute|token", re.IGNORECASE)


def judged(error: Exception, stage: Stage, phone: str = "") -> ConnectError:
    """Say what an error means for the call. Decides only; raises nothing.

    phone: the number called, to be masked wherever the error repeats it.
    """
    for link in (error, *_links(error)):
        if isinstance(link, ConnectError):
            return link  # our own last look, wrapped by those whom it passed on its way
    match stage:
        case Stage.PREPARING:
            return _before_sending(error, phone)
        case Stage.CONNECTING:
            return _while_connecting(error, phone)
        case Stage.SENT:
            return _after_sending(error, phone)


def judged_answer(status: int, code: str, message: str, phone: str = "") -> ConnectError:
    """Say what AWS's answer means for the call, by its error code, or else by its HTTP status."""
    key = code.removesuffix("Exception").removesuffix("Error")
    if key in _BY_CODE:
        kind, hint = _BY_CODE[key]
    elif 300 <= status < 400:
        kind, hint = Misconfigured, "check AWS_ENDPOINT_URL_CONNECT: it points elsewhere"
    else:
        kind, hint = _BY_STATUS.get(status, (Ambiguous, _MAYBE))
    if status >= 500 and kind is not Throttled:
        # Whoever answers 5xx does not know what he did, whatever he calls it.
        kind, hint = Ambiguous, _MAYBE
    if key == "InvalidParameter" and _CAMPAIGNS_OWN.search(message) and not _CALLS_OWN.search(message):
        # Not this person's fault: the next thousand would be refused as well, and lost.
        kind, hint = Misconfigured, "check the [connect] table of the campaign file"
    said = "" if key in _TELLTALE else _clean(message, phone)
    return kind(code or str(status), f"{hint} ({said})" if said else f"{hint} (HTTP {status})", status)


def _before_sending(error: Exception, phone: str) -> ConnectError:
    """The request was not complete yet: credentials, Region, parameters."""
    name = type(error).__name__
    if isinstance(error, aws.ParamValidationError):
        return Refused(name, _text(error, phone))
    if isinstance(error, aws.ClientError):
        # Not Connect's answer: somebody was asked for credentials, as STS is for a role.
        answer = error.response.get("Error", {})
        verdict = judged_answer(_status(error), answer.get("Code", ""), answer.get("Message", ""), phone)
        if isinstance(verdict, Throttled | Ambiguous):
            return NeverSent(verdict.code, f"no credentials at the moment ({_text(error, phone)})")
        return Misconfigured(verdict.code, f"{_CREDENTIALS} ({_text(error, phone)})")
    if isinstance(error, aws.HTTPClientError | aws.ConnectionError | aws.MetadataRetrievalError):
        return NeverSent(name, f"no credentials at the moment ({_text(error, phone)})")
    hint = "check the AWS settings"
    if isinstance(error, aws.NoRegionError):
        hint = "set AWS_REGION, for instance to us-east-1"
    elif isinstance(error, aws.ProfileNotFound):
        hint = "check AWS_PROFILE"
    elif isinstance(error, aws.NoCredentialsError):
        hint = "set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the machine a role"
    elif isinstance(error, _CREDENTIAL_ERRORS):
        hint = _CREDENTIALS
    elif isinstance(error, ValueError):
        hint = "check AWS_REGION and AWS_ENDPOINT_URL_CONNECT"
    # Also for errors that nobody foresaw: nobody was rung, and the next call would fare the same.
    return Misconfigured(name, f"{hint} ({_text(error, phone)})")


_CREDENTIAL_ERRORS = (
    aws.PartialCredentialsError,
    aws.CredentialRetrievalError,
    aws.UnknownCredentialError,
    aws.NoAuthTokenError,
    aws.TokenRetrievalError,
    aws.RefreshWithMFAUnsupportedError,
    aws.InvalidConfigError,
    aws.SSOError,
    aws.UnauthorizedSSOTokenError,
)


def _while_connecting(error: Exception, phone: str) -> ConnectError:
    """No name, no route, no handshake, no tunnel. Nothing was written."""
    name = type(error).__name__
    for link in (error, *_links(error)):
        if isinstance(link, aws.InvalidProxiesConfigError):
            return Misconfigured(name, f"check the proxy settings ({_text(link, phone)})")
        # A certificate that does not verify, a file of certificates that is not there: for every call.
        if isinstance(link, ssl.SSLCertVerificationError | FileNotFoundError):
            return Misconfigured(
                name, f"check AWS_ENDPOINT_URL_CONNECT and AWS_CA_BUNDLE ({_text(error, phone)})"
            )
    return NeverSent(name, f"no connection ({_text(error, phone)})")


def _after_sending(error: Exception, phone: str) -> ConnectError:
    """An answer, or a failure on the way to one."""
    if isinstance(error, aws.ClientError):
        answer = error.response.get("Error", {})
        return judged_answer(_status(error), answer.get("Code", ""), answer.get("Message", ""), phone)
    return Ambiguous(type(error).__name__, f"{_MAYBE}; {_text(error, phone)}")


def _links(error: Exception) -> Iterator[BaseException]:
    """The errors inside an error of botocore's. Not `__context__`: that may belong to an earlier request."""
    todo: list[object] = [error.kwargs.get("error")] if isinstance(error, aws.BotoCoreError) else []
    seen: list[BaseException] = []
    while todo:
        link = todo.pop()
        if isinstance(link, BaseException) and not any(link is known for known in seen):
            seen.append(link)
            yield link
            todo += [link.__cause__, *link.args]


def _status(error: aws.ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))


# --- what may be written down -----------------------------------------------------------------------------

_LONGEST_TEXT = 300
_NUMBER = re.compile(r"\+[1-9][0-9 ().-]{5,20}[0-9]")
_KEY_ID = re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{8,}")
_USER_INFO = re.compile(r"//[^/@\s]+@")
_VALUE = re.compile(r"value: .*?(?=, type:|, valid|$)", re.MULTILINE | re.DOTALL)


def _text(error: BaseException, phone: str) -> str:
    return _clean(_VALUE.sub("value: •••", str(error)), phone) or type(error).__name__


def _clean(text: str, phone: str) -> str:
    """One line, without telephone numbers, access key ids and passwords in URLs; 300 characters at most."""
    if phone:
        text = re.sub(rf"\+?{re.escape(phone.lstrip('+'))}", masked(phone), text)
    text = _NUMBER.sub(lambda number: masked("+" + re.sub(r"\D", "", number[0])), text)
    text = _KEY_ID.sub("•••", text)
    text = _USER_INFO.sub("//", text)
    return " ".join(text.split())[:_LONGEST_TEXT]
