"""Kombu's Redis transport for the dialer: the pacer's own connection, only our messages, and patience.

- Connections are those of worker/redis_address.py, so queue and pacer are always in the same database, and
  check the same certificates.
- What is read off a queue is checked before kombu or Celery see it (worker/messages.py).
- Whatever Redis refuses (READONLY, MISCONF, OOM, NOPERM, NOAUTH …) counts as Redis being away. Kombu has most
  of these for errors of the program, with which a worker ends.
- Which queue an exchange leads to is known here, and is not read from Redis.
"""

import functools
import logging
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

from celery.app.amqp import AMQP
from celery.exceptions import CPendingDeprecationWarning
from kombu.connection import Connection as KombuConnection
from kombu.transport import TRANSPORT_ALIASES, virtual
from kombu.transport import redis as kombu_redis
from redis import Connection, SSLConnection
from redis.exceptions import RedisError, ResponseError

from worker.consumer import WatchedChannel
from worker.messages import NotOurs, read_message
from worker.redis_address import RedisAddress, RenewingConnection
from worker.redis_start import drop_unless_list
from worker.redis_trouble import Trouble, trouble_of
from worker.seldom import Seldom, SeldomFilter

log = logging.getLogger(__name__)

LONGEST_PAUSE_SECONDS = 5
"""Between two tries to reach a Redis that is away."""
_QUICK_SECONDS = 5.0
_PROBE = "probe"


@dataclass(frozen=True, slots=True)
class Link:
    """What a channel needs to know, in one object that shows no password where options are printed."""

    address: RedisAddress
    drop: Callable[[str, int], object]
    """Told the code and the size of a message that is dropped."""
    settle: Callable[[], object]
    """Called about once a second."""
    away: Callable[[Trouble | None], object]
    """Told why this process waits for Redis, and None when it does not any longer."""


class _Client(kombu_redis.PrefixedStrictRedis):
    """Kombu's client, which hands on nothing but the dialer's messages."""

    def __init__(self, *arguments: Any, link: Link, queues: Callable[[], set[str]], **options: Any) -> None:
        self._link = link
        self._queues = queues
        super().__init__(*arguments, **options)

    def ping(self, **options: Any) -> Any:
        """Make sure that Redis can be worked with; that it answers is not enough.

        Kombu asks this for each new channel. A replica answers PING, and refuses the BRPOP that follows: a
        worker would connect again without a pause.
        """
        answer = super().ping(**options)
        self.brpop([_PROBE], timeout=0.001)
        return answer

    def parse_response(self, connection: Any, command_name: str, **options: Any) -> Any:
        """Read an answer. A message that is not the dialer's is dropped, and none was there."""
        if command_name != "BRPOP":
            return super().parse_response(connection, command_name, **options)
        self._link.settle()
        try:
            answer = super().parse_response(connection, command_name, **options)
        except ResponseError as error:
            code = trouble_of(error).code
            if code == "WRONGTYPE":
                self._drop_what_is_no_queue()
            elif code != "UNBLOCKED":  # by an operator, or as the server changes its part: ask again
                raise
            return None
        if not answer:
            return answer
        key, raw = answer
        try:
            return key, read_message(raw)
        except NotOurs as wrong:
            self._link.drop(str(wrong), len(raw))
            return None

    def _drop_what_is_no_queue(self) -> None:
        for queue in self._queues():
            if drop_unless_list(self, queue):
                self._link.drop("key", 0)


class Channel(WatchedChannel):
    """Kombu's channel, with the connections, the reading and the routing of the dialer."""

    # A worker whose connection breaks goes on with what it has in its hands, and does not put it back as
    # well. Where Redis does not take it, kombu would leave it in a file of the temporary folder, each time.
    do_restore = False
    from_transport_options = (  # type: ignore[assignment] # kombu's is a tuple of its own length
        *kombu_redis.Channel.from_transport_options,
        "link",
    )
    link: Link | None = None

    @property
    def connection_class(self) -> type[Any]:  # type: ignore[override] # kombu only reads its attribute
        """Of redis-py; kombu decides by itself for a Unix socket."""
        return SSLConnection if self.link is not None and self.link.address.scheme == "rediss" else Connection

    def _connparams(self, asynchronous: bool = False) -> dict[str, Any]:
        params: dict[str, Any] = super()._connparams(asynchronous)
        if self.link is None:
            return params
        for name in ("host", "port", "path", "username", "password", "db"):
            params.pop(name, None)
        kind = params["connection_class"]
        params["connection_class"] = type("RenewingConnection", (RenewingConnection, kind), {})
        return params | dict(self.link.address.options)

    def _get_client(self) -> Any:
        client = super()._get_client()
        if self.link is None:
            return client
        return functools.partial(
            _Client,
            global_keyprefix=self.global_keyprefix,
            link=self.link,
            queues=lambda: set(self.active_queues),
        )

    def _queue_bind(self, exchange: str, routing_key: str, pattern: str, queue: str) -> None:
        """Nothing: the binding stands in this process (`get_table`)."""

    def get_table(self, exchange: str) -> Any:
        """The bindings of an exchange, as this process declared them."""
        # In Redis they would be a key that anything may be written to, and that each publishing depends on.
        return virtual.Channel.get_table(self, exchange)

    def _size(self, queue: str) -> int:
        """How many messages a queue has. A worker asks it of each of its queues when it starts."""
        if self.link is not None:
            with self.conn_or_acquire() as client:
                if drop_unless_list(client, queue):
                    self.link.drop("key", 0)
        return int(super()._size(queue))

    def _delete(self, queue: str, *_: Any, **__: Any) -> None:
        with self.conn_or_acquire() as client:
            client.delete(queue)


class Transport(kombu_redis.Transport):
    """Kombu's transport, to which everything that Redis refuses is a connection that is lost."""

    Channel = Channel
    connection_errors = (*kombu_redis.Transport.connection_errors, RedisError)
    # Without `retry` among the options no command of a batch is sent twice, also on a Unix socket.
    supports_batch_publish = True


class PatientConnection(KombuConnection):
    """Kombu's connection, tried again every few seconds for as long as Redis is away."""

    _connected_at: ClassVar[float] = float("-inf")
    _seldom: ClassVar[Seldom] = Seldom()

    def _ensure_connection(
        self, errback: Any = None, max_retries: int | None = None, *arguments: Any, **options: Any
    ) -> Any:
        """Connect. With an errback, which Celery's loops give, there is one line of the log a minute."""
        if errback is None:
            return super()._ensure_connection(errback, max_retries, *arguments, **options)
        # A connection that was lost right after it was made is no reason to make the next one at once.
        if time.monotonic() - PatientConnection._connected_at < _QUICK_SECONDS:
            time.sleep(1)

        link: Link | None = (self.transport_options or {}).get("link")

        def report(error: BaseException, _interval: float) -> None:
            trouble = trouble_of(error, link.address.secrets if link else ())
            if link:
                link.away(trouble)
            if self._seldom.due(trouble.code):
                log.error("waiting for Redis (%s): %s", trouble.code, trouble.words)

        patience = {"interval_start": 1, "interval_step": 1, "interval_max": LONGEST_PAUSE_SECONDS}
        found = super()._ensure_connection(report, max_retries, *arguments, **patience | options)
        PatientConnection._connected_at = time.monotonic()
        if link:
            link.away(None)
        return found


class PatientAMQP(AMQP):  # type: ignore[misc] # Celery has no types
    """Celery's AMQP, with our connections."""

    Connection = PatientConnection


def quiet() -> None:
    """Once Celery has set up its log: each lost connection would announce the default of a setting."""
    warnings.filterwarnings("ignore", category=CPendingDeprecationWarning)


def install() -> None:
    """Make this the transport of `redis://…` URLs in this process, and Celery's log one line a minute."""
    for scheme in ("redis", "rediss"):
        TRANSPORT_ALIASES[scheme] = "worker.broker:Transport"
    consumer = logging.getLogger("celery.worker.consumer.consumer")
    if not any(isinstance(each, SeldomFilter) for each in consumer.filters):
        consumer.addFilter(SeldomFilter())
