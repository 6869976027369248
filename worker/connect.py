"""boto3 in; our types and our errors out.

One call of `Connect.place` sends one request or none, followed to the wire: what its errors mean depends on
how far it came.
"""

import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import botocore
import botocore.session
from botocore.awsrequest import (
    AWSHTTPConnection,
    AWSHTTPConnectionPool,
    AWSHTTPSConnection,
    AWSHTTPSConnectionPool,
)
from botocore.config import Config

from campaigns.campaign import ConnectOptions
from campaigns.plain_text import visible
from campaigns.side import Exchange
from worker.connect_errors import (
    Ambiguous,
    ConnectError,
    Misconfigured,
    NeverSent,
    Refused,
    Stage,
    Stray,
    Withheld,
    judged,
)
from worker.endpoint import NOT_A_TRIAL, endpoint, is_aws, real_calls_to_the_stand_in, shown, wrong_for
from worker.sandbox.identity import HEADER

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
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Listed:
    """A call as SearchContacts lists it. The rows carry no number; `describe` has it."""

    contact_id: str
    initiated_at: datetime
    name: str | None = None


@dataclass(frozen=True, slots=True)
class SearchPage:
    """Up to 100 calls, the earliest first."""

    calls: Sequence[Listed]
    next_token: str | None
    """Names the next page; None after the last one."""


_NO_SUCH_CONTACT = ("ContactNotFoundException", "ResourceNotFoundException")
"""What Connect calls a contact that it does not know. Any other 404 comes from something else on the way."""

# --- the client -------------------------------------------------------------------------------------------


class _Departure:
    """The request in hand, followed to the wire."""

    __slots__ = ("send_before", "signed", "stage")

    def __init__(self, send_before: Callable[[], bool] | None = None) -> None:
        self.send_before = send_before
        self.stage = Stage.PREPARING
        self.signed: bool | None = None
        """Whether the answer says that it is the stand-in's; None while there is none."""

    def leave(self) -> None:
        """The last look, with the connection open and nothing written to it. Raises NeverSent."""
        if self.send_before is not None:
            try:
                allowed = self.send_before()
            except Exception as error:
                raise Withheld(
                    "LastLook", f"the last look before sending failed: {type(error).__name__}"
                ) from error
            if not allowed:
                raise Withheld("LastLook", "the last look before sending said no")
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
        # While the request is being prepared, credentials may be asked for over connections like this one.
        if departure is not None and departure.stage is not Stage.PREPARING:
            if self.sock is None:
                self.connect()  # type: ignore[attr-defined] # urllib3's
            departure.leave()
        return super().request(*args, **more)  # type: ignore[misc] # urllib3's

    def getresponse(self, *args: Any, **more: Any) -> Any:
        # Here and not in a hook of botocore's: an answer that it cannot read would not come so far.
        answer = super().getresponse(*args, **more)  # type: ignore[misc] # urllib3's
        departure = _departure.get()
        if departure is not None and departure.stage is Stage.SENT:
            departure.signed = HEADER in answer.headers
        return answer


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
    exchange: the side. Real calls are not sent to what says that it is the stand-in, and a trial's are sent
        nowhere else: the address is asked before the first request, and each answer is looked at.
    """

    def __init__(
        self,
        *,
        exchange: Exchange = "connect",
        read_timeout_seconds: float = 10.0,
        connect_timeout_seconds: float = 3.0,
        max_connections: int = 50,
    ) -> None:
        self._config = Config(
            read_timeout=read_timeout_seconds,
            connect_timeout=connect_timeout_seconds,
            max_pool_connections=max_connections,
            tcp_keepalive=True,
            # Put together once. The SDK would do so twice for each request, a seventh of what that costs.
            user_agent=f"connect-batch-dialer Boto3/{boto3.__version__} Botocore/{botocore.__version__}",
            # By default the SDK sends up to three times, past the pacer, and so late that the first call may
            # be over; the token protects only while that call lives. This overrides AWS_MAX_ATTEMPTS.
            retries={"total_max_attempts": 1, "mode": "standard"},
        )
        self._exchange = exchange
        self._made: Any = None
        self._verify: str | bool = True
        self._verified = False
        self._making = threading.Lock()

    @property
    def region(self) -> str:
        """The Region that the calls start from, such as "eu-central-1". Raises Misconfigured."""
        with self._making:
            return str(self._make().meta.region_name)

    @property
    def elsewhere(self) -> str | None:
        """Where the calls go, if that is not AWS's own address. Raises Misconfigured."""
        with self._making:
            url = str(self._make().meta.endpoint_url)
        return None if is_aws(url) else shown(url)

    def verify(self) -> None:
        """Ask the address what it is, unless that is known.

        Raises Misconfigured where this side's calls must not go, and NeverSent where a stand-in is silent.
        """
        self._client()

    def place(self, order: CallOrder, *, send_before: Callable[[], bool] | None = None) -> str:
        """Ring a number; returns Connect's contact_id. Sends one request or none.

        `send_before` is asked in the last moment, with the connection open and nothing written to it; when it
        says False, or raises, the request does not leave. Without it, a worker that stood still after its
        last look at the ledger would send whenever it wakes up.

        Raises NeverSent, Throttled, NoCapacity, Refused, Misconfigured or Ambiguous.
        """
        request = request_of(order)
        client = self._client()
        with self._followed(_Departure(send_before), order.phone):
            answer = client.start_outbound_voice_contact(**request)
        contact_id = answer.get("ContactId")
        if not contact_id or not isinstance(contact_id, str):
            raise Ambiguous(
                "NoContactId", "the answer names no contact; something between us and AWS changed it"
            )
        return _plain(contact_id)

    def describe(self, instance_id: str, contact_id: str) -> CallReport | None:
        """What became of a call; None when Connect knows no such contact.

        Just after dialing, None proves nothing: contacts appear with a delay.

        Raises the same errors as `place`, but this rings nobody: Ambiguous only means that no answer came.
        """
        client = self._client()
        try:
            with self._followed(_Departure()):
                answer = client.describe_contact(InstanceId=instance_id, ContactId=contact_id)
        except Misconfigured as error:
            if error.status == 404 and error.code in _NO_SUCH_CONTACT:
                return None
            raise
        contact = answer.get("Contact")
        if not isinstance(contact, dict):
            raise Ambiguous(
                "NoContact", "the answer holds no contact; something between us and AWS changed it"
            )
        return _report(contact)

    def stop(self, instance_id: str, contact_id: str) -> bool:
        """Hang a call up, whether it rings or somebody talks. Returns False when Connect knows no such call.

        One that is over is no error. Just after dialing, False proves nothing: contacts appear with a delay.

        Raises the same errors as `place`, but this rings nobody, and may be asked again whatever they say.
        """
        client = self._client()
        try:
            with self._followed(_Departure()):
                client.stop_contact(InstanceId=instance_id, ContactId=contact_id)
        except ConnectError as error:
            if error.code in _NO_SUCH_CONTACT:
                return False
            raise
        return True

    def search(
        self,
        instance_id: str,
        since: datetime,
        until: datetime,
        next_token: str | None = None,
        *,
        attribute: tuple[str, Sequence[str]] | None = None,
        names: Sequence[str] | None = None,
    ) -> SearchPage:
        """The voice calls that were started through the API in that time, by any program.

        `attribute`: only those of which this attribute has one of these values, 20 at most. `names`: only
        those with one of these names, 100 at most of 128 characters each.

        A call may appear late (the delay is not documented), perhaps not before it is over. Amazon's console
        shows 10,000 results of a query at most, so ask for less time.

        Raises the same errors as `place`, but this rings nobody.
        """
        client = self._client()
        request: dict[str, Any] = {
            "InstanceId": instance_id,
            # Whole seconds travel, so what is asked for is a little more.
            "TimeRange": {
                "Type": "INITIATION_TIMESTAMP",
                "StartTime": since.replace(microsecond=0),
                "EndTime": until.replace(microsecond=0) + timedelta(seconds=1),
            },
            "SearchCriteria": {"InitiationMethods": ["API"], "Channels": ["VOICE"]},
            "Sort": {"FieldName": "INITIATION_TIMESTAMP", "Order": "ASCENDING"},
            "MaxResults": 100,
        }
        if attribute is not None:
            name, values = attribute
            request["SearchCriteria"]["SearchableContactAttributes"] = {
                "Criteria": [{"Key": name, "Values": list(values)}],
                "MatchType": "MATCH_ALL",
            }
        if names is not None:
            request["SearchCriteria"]["Name"] = {"SearchText": list(names), "MatchType": "MATCH_EXACT"}
        if next_token:
            request["NextToken"] = next_token
        with self._followed(_Departure()):
            answer = client.search_contacts(**request)
        contacts = answer.get("Contacts")
        if not isinstance(contacts, list) or not all(isinstance(contact, dict) for contact in contacts):
            raise Ambiguous(
                "NoContacts", "the answer lists no contacts; something between us and AWS changed it"
            )
        return SearchPage(
            [
                Listed(
                    _plain(contact["Id"]),
                    contact["InitiationTimestamp"].astimezone(UTC),
                    contact.get("Name") or None,
                )
                for contact in contacts
                if contact.get("Id") and contact.get("InitiationTimestamp")
            ],
            answer.get("NextToken") or None,
        )

    def close(self) -> None:
        """Close the connections. The next use opens new ones."""
        with self._making:
            if self._made is not None:
                self._made.close()
                self._made = None
                self._verified = False

    def _client(self) -> Any:
        """The client, when what answers there is what this side's calls are for."""
        with self._making:
            client = self._make()
            if not self._verified:
                found = endpoint(str(client.meta.endpoint_url), verify=self._verify)
                if (wrong := wrong_for(self._exchange, found)) is not None:
                    raise wrong
                self._verified = True
            return client

    def _make(self) -> Any:
        # Making a client is not safe in two threads at once; using one is.
        if self._made is None:
            try:
                core = botocore.session.Session()
                # boto3 itself reads AWS_DEFAULT_REGION only; Lambda and the other SDKs say AWS_REGION.
                region = os.environ.get("AWS_REGION") or None
                session = boto3.session.Session(botocore_session=core, region_name=region)
                client: Any = session.client("connect", config=self._config)
                bundle = core.get_config_variable("ca_bundle") or os.environ.get("REQUESTS_CA_BUNDLE")
            except Exception as error:
                raise judged(error, Stage.PREPARING) from None
            client.meta.events.register_last("before-send.connect", _complete)
            self._made = client
            self._verify = bundle or True
        return self._made

    @contextmanager
    def _followed(self, departure: _Departure, phone: str = "") -> Iterator[None]:
        """Follow one request, and raise what its answer or its error means for the call."""
        try:
            with _followed(departure, phone):
                yield
        except ConnectError as error:
            if (wrong := self._wrong_answer(departure)) is not None:
                raise wrong from None
            if isinstance(error, NeverSent) and not isinstance(error, Withheld):
                # Whatever listens there the next time may be something else.
                self._verified = False
            raise
        if (wrong := self._wrong_answer(departure)) is not None:
            raise wrong

    def _wrong_answer(self, departure: _Departure) -> ConnectError | None:
        """The error that the other side has answered; then the address is asked before the next request."""
        if departure.signed is None or departure.signed == (self._exchange == "sandbox"):
            return None
        self._verified = False
        with self._making:
            address = shown(str(self._make().meta.endpoint_url))
        if departure.signed:
            return real_calls_to_the_stand_in(address)
        return Stray(
            NOT_A_TRIAL,
            f"this is a trial, and {address} is not the sandbox any more: the call may be a real one",
        )


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

_LONGEST_NAME = 256
"""Characters of a contact id, by the API reference."""


def _plain(name: str) -> str:
    """Return an id or a code as it is kept: visible, and no longer than the API has it."""
    return visible(name)[:_LONGEST_NAME]


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
    attributes = dict(order.attributes)
    if options.search_attribute is not None:
        attributes[options.search_attribute] = order.client_token
    _check_attributes(attributes)
    request: dict[str, Any] = {
        "InstanceId": options.instance_id,
        "ContactFlowId": options.contact_flow_id,
        "DestinationPhoneNumber": order.phone,
        "ClientToken": order.client_token,
    }
    optional: dict[str, Any] = {
        "SourcePhoneNumber": options.source_phone_number,
        "QueueId": options.queue_id,
        "Attributes": attributes or None,
        "RingTimeoutInSeconds": options.ring_timeout_seconds,
        "TrafficType": options.traffic_type,
        "CampaignId": options.campaign_id,
        "Name": options.name_of(order.client_token),
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
        disconnect_reason=_plain(contact.get("DisconnectReason") or "") or None,
        answering_machine_status=contact.get("AnsweringMachineDetectionStatus") or None,
        phone=endpoint.get("Address") or None,
        attributes=dict(contact.get("Attributes") or {}),
        name=contact.get("Name") or None,
    )


def _moment(value: datetime | None) -> datetime | None:
    """AWS's own samples write 1970-01-01 for "absent"."""
    if value is None or value.timestamp() < 86400:
        return None
    return value.astimezone(UTC)
