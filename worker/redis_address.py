"""DIALER_REDIS_URL, read: the same server, database, user and TLS choices for the queue and the pacer."""

import difflib
import ipaddress
import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

import redis
from redis.exceptions import RedisError

EXAMPLE: Final = "redis://:password@redis.internal:6379/0"

_TLS_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
_TLS_OPTIONS = (*_TLS_FILES, "ssl_ca_path", "ssl_cert_reqs", "ssl_check_hostname")
_QUOTED = "%2F for /, %40 for @, %23 for #, %3F for ?, %25 for %"
# redis-py and Celery each know one of the two spellings.
_CERTIFICATES = {
    "none": "none",
    "optional": "optional",
    "required": "required",
    "cert_none": "none",
    "cert_optional": "optional",
    "cert_required": "required",
}
# After these the server, or the address behind its name, may have become another one. A connection that stays
# open would go on to the old primary for ever.
_RENEWED_AFTER = frozenset(
    {"READONLY", "MASTERDOWN", "CLUSTERDOWN", "MOVED", "NOAUTH", "WRONGPASS", "NOPERM", "LOADING"}
)


class RenewingConnection:
    """Mixin for redis-py's connections: opened anew after an answer that another server may give better."""

    def read_response(self, *arguments: Any, **options: Any) -> Any:
        """Read one answer. Raises redis-py's errors."""
        try:
            return super().read_response(*arguments, **options)  # type: ignore[misc] # of the class mixed with
        except RedisError as error:
            if error.status_code in _RENEWED_AFTER:
                # The pool closes it when it is given back.
                self.mark_for_reconnect()  # type: ignore[attr-defined] # of the class mixed with
            raise


class _Tcp(RenewingConnection, redis.Connection):
    pass


class _Tls(RenewingConnection, redis.SSLConnection):
    pass


class _Unix(RenewingConnection, redis.UnixDomainSocketConnection):
    pass


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """Where Redis is, and how to connect to it. Neither its `repr` nor `shown` holds a password."""

    scheme: str
    """`redis`, `rediss` (TLS) or `unix`."""
    shown: str
    """The URL without user, password and options, for people."""
    options: Mapping[str, Any] = field(repr=False)
    """Keyword arguments of redis-py's connection classes: host, port, db, user, password, TLS."""

    @property
    def connection_class(self) -> type[Any]:
        """redis-py's class of connection for this scheme."""
        return {"redis": _Tcp, "rediss": _Tls, "unix": _Unix}[self.scheme]

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no message may repeat."""
        return tuple(value for name in ("password",) if (value := self.options.get(name)))

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches it: a Unix socket, or a loopback address."""
        if self.scheme == "unix":
            return True
        host = str(self.options["host"])
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host == "localhost" or host.endswith(".localhost")

    @property
    def checks_certificates(self) -> bool:
        """Whether the server's certificate is checked. True where there is no TLS to check."""
        return self.scheme != "rediss" or self.options["ssl_cert_reqs"] == "required"

    def client(self, **options: Any) -> "redis.Redis":
        """A client; more of redis-py's connection options as keyword arguments."""
        options |= self.options
        if self.scheme != "unix":
            options["socket_keepalive"] = True
        return redis.Redis.from_pool(redis.ConnectionPool(connection_class=self.connection_class, **options))


def read_redis_url(url: str) -> RedisAddress:
    """Read a URL. Raises ValueError, whose text says what to write and repeats nothing of the URL."""
    if not url.isprintable() or " " in url:
        raise ValueError("it has a blank or a character that is not printable; percent-encode it")
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ValueError(
            "it has a [ or ] that is not part of an IPv6 address; in a password write %5B for [ and %5D for ]"
        ) from None
    if parts.scheme not in ("redis", "rediss", "unix") or not url.lower().startswith(f"{parts.scheme}://"):
        raise ValueError("expected redis://…, rediss://… (TLS) or unix:///path/to/socket")
    if parts.fragment or url.endswith("#"):
        raise ValueError(f"it has a #; percent-encode the password ({_QUOTED})")
    if "@" in parts.path or "@" in parts.query:
        raise ValueError(f"percent-encode the password ({_QUOTED})")
    _check_escapes(url)
    query = _query(parts)
    return _socket(parts, query) if parts.scheme == "unix" else _network(parts, query)


def _check_escapes(url: str) -> None:
    for after in url.split("%")[1:]:
        try:
            bytes.fromhex(after[:2]).decode("latin-1")
        except ValueError:
            after = ""
        if len(after) < 2:
            raise ValueError(f"a % in it begins no escape; percent-encode the password ({_QUOTED})")


def _query(parts: SplitResult) -> dict[str, str]:
    """The options behind `?`, each once, and only those that both the queue and the pacer heed."""
    try:
        pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        raise ValueError(f"what follows ? is no option=value; in a password write {_QUOTED}") from None
    known = ("db", *({"rediss": _TLS_OPTIONS, "unix": ("username", "password")}.get(parts.scheme, ())))
    found: dict[str, str] = {}
    for name, value in pairs:
        if name not in known:
            raise ValueError(_unknown_option(name, known))
        if name in found:
            raise ValueError(f"its option {name} is given twice")
        found[name] = value
    return found


def _unknown_option(name: str, known: tuple[str, ...]) -> str:
    if name in _TLS_OPTIONS:
        return f"its option {name} is for rediss:// (TLS) only"
    near = difflib.get_close_matches(name, known, 1)
    # What is not nearly an option may be the end of a password.
    if not near:
        return (
            f"it has an unknown option behind ?; known are {', '.join(known)}; in a password write %3F for ?"
        )
    return f"it has an unknown option behind ?; perhaps {near[0]} is meant"


def _socket(parts: SplitResult, query: dict[str, str]) -> RedisAddress:
    path = unquote(parts.path)
    where = parts.netloc.rpartition("@")[2]
    if where or not path.startswith("/") or path == "/":
        raise ValueError("expected unix:///path/to/socket, with three slashes")
    options: dict[str, Any] = {"path": path, "db": _database(query.get("db", "0"))}
    options |= _account(parts, query)
    return RedisAddress("unix", f"unix://{path}?db={options['db']}", options)


def _network(parts: SplitResult, query: dict[str, str]) -> RedisAddress:
    where = parts.netloc.rpartition("@")[2]
    if "," in where or ";" in where:
        raise ValueError(
            "it names several servers; the dialer uses one (a single Redis, or the address that a managed "
            "service keeps on its primary), neither Sentinel nor a Cluster"
        )
    try:
        port = parts.port
    except ValueError:
        raise ValueError(
            f"its port is no number from 1 to 65535; percent-encode the password ({_QUOTED})"
        ) from None
    if port == 0 or where.endswith(":"):
        raise ValueError("its port is no number from 1 to 65535")
    host = unquote(parts.hostname or "localhost")
    in_path = unquote(parts.path).strip("/")
    if in_path and "db" in query and in_path != query["db"]:
        raise ValueError("it names two databases, one in the path and one as db")
    database = _database(query.get("db") or in_path or "0")
    options: dict[str, Any] = {"host": host, "port": port or 6379, "db": database}
    options |= _account(parts, query)
    if parts.scheme == "rediss":
        options |= _tls(query)
    name = f"[{host}]" if ":" in host else host
    return RedisAddress(parts.scheme, f"{parts.scheme}://{name}:{port or 6379}/{database}", options)


def _database(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 6):
        raise ValueError("its database is a number, as in …:6379/0")
    return int(text)


def _account(parts: SplitResult, query: dict[str, str]) -> dict[str, str]:
    found = {"username": unquote(parts.username or ""), "password": unquote(parts.password or "")}
    found |= {name: query[name] for name in found if name in query}
    if found["username"] and not found["password"]:
        raise ValueError("it has a user without a password; a password alone is written :password@")
    return {name: value for name, value in found.items() if value}


def _tls(query: dict[str, str]) -> dict[str, Any]:
    asked = query.get("ssl_cert_reqs", "required").lower()
    if asked not in _CERTIFICATES:
        raise ValueError("its ssl_cert_reqs is none of required, optional, none")
    checked = _CERTIFICATES[asked]
    by_name = query.get("ssl_check_hostname", "true").lower()
    if by_name not in ("true", "false"):
        raise ValueError("its ssl_check_hostname is neither true nor false")
    options: dict[str, Any] = {
        "ssl_cert_reqs": checked,
        # Python's ssl refuses to compare the name in a certificate that it does not check.
        "ssl_check_hostname": checked == "required" and by_name == "true",
    }
    for name in (*_TLS_FILES, "ssl_ca_path"):
        if name in query:
            options[name] = query[name]
            if not os.access(query[name], os.R_OK):
                raise ValueError(f"its {name} names a file that cannot be read")
    try:
        context = ssl.create_default_context(
            cafile=query.get("ssl_ca_certs"), capath=query.get("ssl_ca_path")
        )
        if "ssl_certfile" in query:
            context.load_cert_chain(query["ssl_certfile"], query.get("ssl_keyfile"), password="")
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or type(error).__name__
        raise ValueError(f"its certificate files cannot be used ({reason})") from None
    return options
