"""Redis as a process finds it at its start: what cannot heal is said and ends it, what can is waited for."""

import contextlib
import secrets
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.exceptions import ResponseError
from redis.retry import Retry

from campaigns.mistake import Mistake
from worker.redis_address import RedisAddress
from worker.redis_trouble import UNREACHABLE, Trouble, trouble_of
from worker.seldom import Seldom

_POSITIONS = Path(__file__).with_name("positions.lua").read_text(encoding="utf-8")
_PACER = Path(__file__).with_name("pacer.lua").read_text(encoding="utf-8")
_SECONDS = 3.0
_PROBES = 8
"""Keys that are tried: the more, the rarer all of them lie on the one node of a Cluster that was asked."""


def find_trouble(address: RedisAddress, prefix: str = "dialer:") -> Trouble | None:
    """Do all that the dialer does with Redis, with keys of its own. Returns None where all of it goes.

    prefix: of the ledger's keys, with its colon; a user's rights may be for those alone.
    """
    client = _client(address)
    try:
        client.ping()
        for number in range(_PROBES):
            key = f"{prefix}probe:{number}:{secrets.token_hex(4)}"
            client.lpush(key, "")
            client.llen(key)
            client.brpop([key], timeout=1)
        key = f"{prefix}probe:{secrets.token_hex(4)}"
        client.eval(_POSITIONS, 1, key, 1, 0, 0)
        client.hgetall(key)
        client.delete(key)
        bucket = f"dialer:pace:{{probe:{secrets.token_hex(4)}}}"
        client.eval(_PACER, 1, bucket, "reserve", 1e6, 1, 0)
        client.register_script(_PACER)(keys=[bucket], args=["reserve", 1e6, 1, 0])
        client.time()
        client.hmget(bucket, "born")
        client.delete(bucket)
    except UNREACHABLE as error:
        found = trouble_of(error, address.secrets)
        return _other_protocol(address, found) or found
    except (AttributeError, LookupError, TypeError, ValueError):
        # redis-py takes the answers of a server that is none apart as if they were Redis's.
        return Trouble("not_redis", "what answers there speaks another protocol than Redis's")
    finally:
        client.close()
    return None


def wait_for_redis(
    address: RedisAddress,
    prefix: str,
    *,
    say: Callable[[str], object],
    sleep: Callable[[float], object],
    every_seconds: float = 60.0,
) -> None:
    """Return as soon as Redis does all that is asked of it. Raises Mistake for what waiting cannot mend.

    say: told what is waited for, at once and then every so many seconds.
    """
    seldom = Seldom(every_seconds)
    pause = 0.5
    while (trouble := find_trouble(address, prefix)) is not None:
        refuse(trouble, address)
        if seldom.due("redis"):
            say(f"waiting for Redis at {address.shown}: {trouble.words}")
        sleep(pause)
        pause = min(5.0, 2 * pause)


def refuse(trouble: Trouble, address: RedisAddress) -> None:
    """Raises Mistake for what waiting cannot mend."""
    if not trouble.may_pass:
        raise Mistake(f"DIALER_REDIS_URL ({address.shown}): {trouble.words}")


def open_to_the_network(address: RedisAddress) -> bool:
    """Whether other machines can use this Redis without a password. False where that cannot be found out."""
    if address.is_local:
        return False
    credentials = ("username", "password", "ssl_certfile", "ssl_keyfile")
    bare = {name: value for name, value in address.options.items() if name not in credentials}
    client = _client(RedisAddress(address.scheme, address.shown, bare))
    try:
        return bool(client.ping())
    except UNREACHABLE:
        return False
    finally:
        client.close()


def warnings_of(address: RedisAddress) -> list[str]:
    """What is dangerous about this Redis, though it works: a line each."""
    found = []
    if open_to_the_network(address):
        found.append(
            f"Redis at {address.shown} takes commands from the network without a password, so any machine "
            "there can stop the dialing; set one (requirepass, or an ACL) and put it into DIALER_REDIS_URL"
        )
    if not address.checks_certificates:
        found.append(
            f"the certificate of Redis at {address.shown} is not checked; name its authority with "
            "ssl_ca_certs instead of ssl_cert_reqs"
        )
    return found


def _client(address: RedisAddress) -> redis.Redis:
    once = Retry(NoBackoff(), 0)
    return address.client(socket_timeout=_SECONDS, socket_connect_timeout=_SECONDS, retry=once)


def _other_protocol(address: RedisAddress, found: Trouble) -> Trouble | None:
    """Ask the other way: a server that expects TLS only hangs up on plain text, and a plain one on TLS."""
    if address.scheme == "redis" and found.code in ("away", "timeout", "not_redis"):
        if _speaks_tls(address):
            return Trouble("tls", "the server there expects TLS; write rediss:// instead of redis://")
    elif address.scheme == "rediss" and found.code in ("away", "timeout", "tls") and _speaks_plain(address):
        return Trouble("tls", "the server there speaks without TLS; write redis:// instead of rediss://")
    return None


def _speaks_tls(address: RedisAddress) -> bool:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with contextlib.suppress(OSError), _connected(address) as plain, context.wrap_socket(plain) as wrapped:
        return wrapped.version() is not None
    return False


def _speaks_plain(address: RedisAddress) -> bool:
    with contextlib.suppress(OSError), _connected(address) as plain:
        plain.sendall(b"PING\r\n")
        return plain.recv(1) in (b"+", b"-")
    return False


def _connected(address: RedisAddress) -> socket.socket:
    return socket.create_connection((address.options["host"], address.options["port"]), timeout=_SECONDS)


def drop_unless_list(client: redis.Redis, key: str) -> bool:
    """Delete a key that should be a list and is something else. Returns whether there was one.

    Nothing of the dialer's makes such a key. Left there it would stop all that use the queue.
    """
    try:
        client.llen(key)
    except ResponseError as error:
        if trouble_of(error).code != "WRONGTYPE":
            raise
        client.delete(key)
        return True
    return False
