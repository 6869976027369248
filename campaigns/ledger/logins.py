"""Why PostgreSQL does not let this program in, and whether waiting can help.

The driver reports a failed connection as words alone. What decides here is what the server has sent: the
SQLSTATE of its refusal, or that it ended the connection over TLS. Only Linux lets us read that; elsewhere
every failure counts as one that may pass.
"""

import os
import re
import selectors
import sys
import time
from typing import Any

import psycopg
from psycopg import pq
from psycopg.conninfo import make_conninfo

_SECONDS = 5.0
"""Maximum seconds of the connection that is looked at."""

_FOR_GOOD = ("28", "3D", "42", "22")
"""Classes of SQLSTATE that time does not heal: authorization, no such database, no right to connect to it,
and a parameter that the server does not take. Too many connections, or a server that starts, passes."""

_NO_ATTEMPT = 3
"""PQping: the parameters alone are wrong."""

_REFUSAL = re.compile(rb'\tErrorResponse\t.* C "([0-9A-Z]{5})"')
_ANSWERED_FOR_TLS, _WENT_ON = b"\tSSLResponse\t", b"\tStartupMessage\t"


def refused_for_good(arguments: dict[str, Any]) -> bool:
    """Whether a connection that has just failed will fail until a person changes something.

    arguments: what `psycopg.connect` takes. Tries once more, for at most 5 s for each host.
    """
    try:
        words = make_conninfo(**arguments).encode()
        login = pq.PGconn.connect_start(words)
        try:
            if login.status == pq.ConnStatus.BAD:
                # Before the first byte: wrong parameters, or a socket that is not there. PQping tells them
                # apart, and as quickly. (It holds Python's lock, so it is not asked where it would wait.)
                return pq.PGconn.ping(words) == _NO_ATTEMPT
            if sys.platform != "linux":
                return False
            said = _what_the_server_says(login)
        finally:
            login.finish()
    except psycopg.Error:
        return False
    if codes := _REFUSAL.findall(said):
        return all(code.decode().startswith(_FOR_GOOD) for code in codes)
    # It has answered whether it speaks TLS, and we did not go on: a certificate, or a server without.
    return _ANSWERED_FOR_TLS in said and _WENT_ON not in said


def _what_the_server_says(login: pq.abc.PGconn) -> bytes:
    """The messages of a login that fails, as libpq traces them; nothing of one that takes too long.

    In memory only: a password may be among them.
    """
    memory = os.memfd_create("login")
    try:
        login.trace(memory)
        failed = _has_failed(login, time.monotonic() + _SECONDS)
        login.untrace()
        if not failed:
            return b""
        os.lseek(memory, 0, os.SEEK_SET)
        with os.fdopen(os.dup(memory), "rb") as file:
            return file.read()
    finally:
        os.close(memory)


def _has_failed(login: pq.abc.PGconn, until: float) -> bool:
    wants: dict[int, int] = {
        pq.PollingStatus.READING: selectors.EVENT_READ,
        pq.PollingStatus.WRITING: selectors.EVENT_WRITE,
    }
    while (status := login.connect_poll()) in wants and time.monotonic() < until:
        # A socket of its own for each host that is tried.
        with selectors.DefaultSelector() as selector:
            selector.register(login.socket, wants[status])
            if not selector.select(until - time.monotonic()):
                return False
    return bool(status == pq.PollingStatus.FAILED)
