"""Connections of botocore's that ask before they write, and whose answers are bounded in time and in size.

A read timeout bounds the wait for the next piece of an answer only: one byte a second, headers without end or
a body without end would hold a thread for ever. Here the whole answer has to come within it.
"""

import io
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from http.client import HTTPResponse
from typing import Any

from botocore.awsrequest import (
    AWSHTTPConnection,
    AWSHTTPConnectionPool,
    AWSHTTPSConnection,
    AWSHTTPSConnectionPool,
)

from worker.connect_errors import AnswerTooLarge, Stage, Withheld, judged
from worker.sandbox.identity import HEADER

MOST_BYTES = 1_000_000
"""Of the answer to a call, headers included: 32,768 bytes of attributes are the largest part of any."""

MOST_BYTES_OF_A_LIST = 16_000_000
"""Of a page of 100 calls, of ten messages, and of all answers that are not ours, such as STS's."""

_PIECE = 16_384  # bytes; a TLS record


class Departure:
    """The request in hand, followed to the wire."""

    __slots__ = ("most_bytes", "send_before", "signed", "stage")

    def __init__(
        self, send_before: Callable[[], bool] | None = None, *, most_bytes: int = MOST_BYTES
    ) -> None:
        self.send_before = send_before
        self.most_bytes = most_bytes
        """How large the answer may be."""
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


_departure: ContextVar[Departure | None] = ContextVar("departure", default=None)


def complete(**_: Any) -> None:
    """botocore's last hook: the request is complete and signed; what follows is the connection."""
    departure = _departure.get()
    if departure is not None:
        departure.stage = Stage.CONNECTING


@contextmanager
def followed(departure: Departure, phone: str = "") -> Iterator[None]:
    """Follow one request to the wire, and say what its errors mean for the call."""
    outer = _departure.set(departure)
    try:
        yield
    except Exception as error:
        # `from None`: AWS's own text, which may repeat the number, shall not reach a log by a traceback.
        raise judged(error, departure.stage, phone) from None
    finally:
        _departure.reset(outer)


class _Bounded(io.RawIOBase):
    """What a socket receives, for one answer: no longer than its time, no more than its size."""

    def __init__(self, raw: io.RawIOBase, sock: Any, most_bytes: int) -> None:
        self._raw = raw
        self._sock = sock
        self._left = most_bytes
        timeout = sock.gettimeout()  # urllib3 has just set the read timeout
        self._until = None if timeout is None else time.monotonic() + timeout

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int | None:
        """Receive what there is. Raises TimeoutError when the answer's time is over, AnswerTooLarge."""
        if self._until is not None:
            left = self._until - time.monotonic()
            if left <= 0:
                raise TimeoutError("the answer did not end within the read timeout")
            self._sock.settimeout(left)
        received: int | None = self._raw.readinto(buffer)
        self._left -= received or 0
        if self._left < 0:
            raise AnswerTooLarge
        return received

    def close(self) -> None:
        self._raw.close()
        super().close()


class _BoundedAnswer(HTTPResponse):
    """http.client's answer, read from a bounded socket: its status line, its headers and its body."""

    def __init__(self, sock: Any, *args: Any, **more: Any) -> None:
        super().__init__(sock, *args, **more)
        departure = _departure.get()
        # While the request is being prepared, the answers are of those who are asked for credentials.
        ours = departure is not None and departure.stage is Stage.SENT
        most = departure.most_bytes if departure is not None and ours else MOST_BYTES_OF_A_LIST
        raw = self.fp.detach()  # of the reader that makefile() has made
        self.fp = io.BufferedReader(_Bounded(raw, sock, most))


class _Watched:
    """A connection of botocore's that asks before it writes.

    botocore's last hook comes before the connection is opened, and that can take long: a resolver has no
    time limit. A request that waited there would leave after its time, and after its replay window.
    """

    sock: Any
    timeout: Any
    response_class = _BoundedAnswer
    _send_until: float | None = None

    def request(self, *args: Any, **more: Any) -> Any:
        departure = _departure.get()
        # While the request is being prepared, credentials may be asked for over connections like this one.
        if departure is not None and departure.stage is not Stage.PREPARING:
            if self.sock is None:
                self.connect()  # type: ignore[attr-defined] # urllib3's
            departure.leave()
        # urllib3 has set the connect timeout here, and sets the read timeout when all is sent.
        seconds = self.timeout if isinstance(self.timeout, int | float) else None
        self._send_until = None if seconds is None else time.monotonic() + seconds
        return super().request(*args, **more)  # type: ignore[misc] # urllib3's

    def send(self, data: Any) -> Any:
        """Send within the time of the whole request: a peer that reads slowly gets no more of it."""
        if self.sock is None or self._send_until is None or not isinstance(data, bytes):
            return super().send(data)  # type: ignore[misc] # urllib3's
        # In pieces, because over TLS the time-out of a socket counts anew for each of them.
        for first in range(0, len(data), _PIECE):
            left = self._send_until - time.monotonic()
            if left <= 0:
                raise TimeoutError("the request could not be sent within the connect timeout")
            self.sock.settimeout(left)
            super().send(data[first : first + _PIECE])  # type: ignore[misc] # urllib3's
        return None

    def getresponse(self, *args: Any, **more: Any) -> Any:
        # Here and not in a hook of botocore's: an answer that it cannot read would not come so far.
        answer = super().getresponse(*args, **more)  # type: ignore[misc] # urllib3's
        departure = _departure.get()
        if departure is not None and departure.stage is Stage.SENT:
            departure.signed = HEADER in answer.headers
        return answer


# The pools make their connections of this class; for requests that are not ours they ask nothing.
AWSHTTPConnectionPool.ConnectionCls = type("WatchedHTTP", (_Watched, AWSHTTPConnection), {})
AWSHTTPSConnectionPool.ConnectionCls = type("WatchedHTTPS", (_Watched, AWSHTTPSConnection), {})
