"""boto3 in; our types and our errors out.

One call of `Connect.place` sends one request or none, followed to the wire: what its errors mean depends on
how far it came.
"""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import boto3
import botocore
import botocore.session
from botocore.config import Config

from campaigns.side import Exchange
from worker import reply
from worker.call_order import CallOrder, request_of
from worker.connect_errors import (
    ConnectError,
    Misconfigured,
    NeverSent,
    Stage,
    Stray,
    Unauthenticated,
    Withheld,
    judged,
)
from worker.credentials import Credentials
from worker.endpoint import NOT_A_TRIAL, endpoint, is_aws, real_calls_to_the_stand_in, shown, wrong_for
from worker.reply import CallReport, Listed, SearchPage
from worker.wire import MOST_BYTES_OF_A_LIST, Departure, complete, followed

__all__ = ["CallOrder", "CallReport", "Connect", "Listed", "SearchPage", "request_of"]

_NO_SUCH_CONTACT = ("ContactNotFoundException", "ResourceNotFoundException")
"""What Connect calls a contact that it does not know. Any other 404 comes from something else on the way."""


class Connect:
    """Amazon Connect, as far as a dialer needs it. Threads may share one; it holds one pool of connections.

    Region, credentials, endpoint and proxies come from the environment or the profile, as for any user of the
    SDK (`AWS_REGION`, `AWS_PROFILE`, `AWS_ENDPOINT_URL_CONNECT`, ...), and are read when first needed; the
    credentials again as soon as AWS no longer takes them.

    read_timeout_seconds: how long to wait after sending, for the end of the answer. Shorter than the shortest
        ring of 15 s, so that no call still rings when it is over.
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
        self._credentials = Credentials()
        self._made: Any = None
        self._verify: str | bool = True
        self._verified = False
        self._speed = 1.0
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

    @property
    def speed(self) -> float:
        """Call seconds per real second at the address, as it stated when last asked; 1.0 at Connect."""
        return self._speed

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

        Raises NeverSent, Throttled, NoCapacity, Refused, Misconfigured or Ambiguous; of these OddAnswer where
        an answer has come, and names no contact that can be asked about.
        """
        request = request_of(order)
        client = self._client()
        self._refuse_other_region(order, str(client.meta.region_name))
        with self._followed(Departure(send_before), order.phone):
            answer = client.start_outbound_voice_contact(**request)
        return reply.placed(reply.content_of(answer))

    def describe(self, instance_id: str, contact_id: str) -> CallReport | None:
        """What became of a call; None when Connect knows no such contact.

        Just after dialing, None proves nothing: contacts appear with a delay.

        Raises the same errors as `place`, but this rings nobody: Ambiguous only means that no answer came.
        """
        client = self._client()
        try:
            with self._followed(Departure()):
                answer = client.describe_contact(InstanceId=instance_id, ContactId=contact_id)
        except Misconfigured as error:
            if error.status == 404 and error.code in _NO_SUCH_CONTACT:
                return None
            raise
        return reply.described(reply.content_of(answer), contact_id)

    def stop(self, instance_id: str, contact_id: str) -> bool:
        """Hang a call up, whether it rings or somebody talks. Returns False when Connect knows no such call.

        One that is over is no error. Just after dialing, False proves nothing: contacts appear with a delay.

        Raises the same errors as `place`, but this rings nobody, and may be asked again whatever they say.
        """
        client = self._client()
        try:
            with self._followed(Departure()):
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
        with self._followed(Departure(most_bytes=MOST_BYTES_OF_A_LIST)):
            answer = client.search_contacts(**request)
        return reply.listed(reply.content_of(answer))

    def close(self) -> None:
        """Close the connections. The next use opens new ones."""
        with self._making:
            if self._made is not None:
                self._made.close()
                self._made = None
                self._verified = False

    def _refuse_other_region(self, order: CallOrder, region: str) -> None:
        """Raises Misconfigured for an instance of another Region than this process talks to.

        One process has one Region. In another there is no such instance, or one day the copy of it.
        """
        wanted = order.options.region
        if self._exchange == "connect" and wanted is not None and wanted != region:
            raise Misconfigured(
                "OtherRegion",
                f"the campaign's instance is in {wanted}, and this dialer calls from {region}; set "
                f"AWS_REGION={wanted}, or dial this campaign with a deployment of its own there",
            )

    def _client(self) -> Any:
        """The client, when what answers there is what this side's calls are for."""
        with self._making:
            client = self._make()
            if not self._verified:
                found = endpoint(str(client.meta.endpoint_url), verify=self._verify)
                if (wrong := wrong_for(self._exchange, found)) is not None:
                    raise wrong
                self._speed = found.speed
                self._verified = True
            return client

    def _make(self) -> Any:
        # Making a client is not safe in two threads at once; using one is.
        if self._made is None:
            try:
                core = botocore.session.Session()
                core.register_component("credential_provider", self._credentials)
                # boto3 itself reads AWS_DEFAULT_REGION only; Lambda and the other SDKs say AWS_REGION.
                region = os.environ.get("AWS_REGION") or None
                session = boto3.session.Session(botocore_session=core, region_name=region)
                client: Any = session.client("connect", config=self._config)
                bundle = core.get_config_variable("ca_bundle") or os.environ.get("REQUESTS_CA_BUNDLE")
            except Exception as error:
                raise judged(error, Stage.PREPARING) from None
            client.meta.events.register_last("before-send.connect", complete)
            client.meta.events.register("before-parse.connect", reply.read_here)
            self._made = client
            self._verify = bundle or True
        return self._made

    @contextmanager
    def _followed(self, departure: Departure, phone: str = "") -> Iterator[None]:
        """Follow one request, and raise what its answer or its error means for the call."""
        reading = 0
        try:
            with followed(departure, phone):
                reading = self._credentials.ready()
                yield
        except ConnectError as error:
            if isinstance(error, Unauthenticated):
                self._credentials.failed(reading, error)
            elif error.status:
                self._credentials.taken()
            if (wrong := self._wrong_answer(departure)) is not None:
                raise wrong from None
            if isinstance(error, NeverSent) and not isinstance(error, Withheld):
                # Whatever listens there the next time may be something else.
                self._verified = False
            raise
        self._credentials.taken()
        if (wrong := self._wrong_answer(departure)) is not None:
            raise wrong

    def _wrong_answer(self, departure: Departure) -> ConnectError | None:
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
