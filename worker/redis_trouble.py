"""What an error of Redis means: its code, its words, and whether waiting can help."""

import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass

from redis import exceptions

UNREACHABLE = (exceptions.RedisError, OSError)
"""All that redis-py raises when Redis, or the way to it, does not do what was asked."""

_CLASSES: tuple[tuple[type[BaseException], str], ...] = (
    (ssl.SSLCertVerificationError, "certificate"),
    (ssl.SSLError, "tls"),
    (socket.gaierror, "name"),
    (ConnectionRefusedError, "refused"),
    (FileNotFoundError, "refused"),
    (PermissionError, "denied"),
    (exceptions.InvalidResponse, "not_redis"),
    (exceptions.TimeoutError, "timeout"),
    (TimeoutError, "timeout"),
)
NOT_BY_WAITING = frozenset(
    {
        "NOAUTH",
        "WRONGPASS",
        "NOPERM",
        "MOVED",
        "ASK",
        "CROSSSLOT",
        "ERR",
        "certificate",
        "tls",
        "denied",
        "not_redis",
        "database",
    }
)
"""Codes of faults that lie in the settings or in the server's: at a start these end the process.

Once a process has worked with its Redis, all faults count as away: a password that is rotated is right again
as soon as the other half of the rotation has been done.
"""


@dataclass(frozen=True, slots=True)
class Trouble:
    """One error of Redis, fit to be shown and decided by."""

    code: str
    """Redis's own code (READONLY, MISCONF …), or one of the names above; `away` for any other."""
    words: str
    """In the server's, TLS's or the system's words, without any of the secrets."""

    @property
    def may_pass(self) -> bool:
        """Whether waiting can help."""
        return self.code not in NOT_BY_WAITING


def trouble_of(error: BaseException, secrets: tuple[str, ...] = ()) -> Trouble:
    """Tell what an error means. `secrets`: what its words must not repeat."""
    chain = list(_chain(error))
    code = _code(chain)
    words = _words(code, chain)
    for secret in secrets:
        words = words.replace(secret, "…")
    return Trouble(code, words[:200])


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def _code(chain: list[BaseException]) -> str:
    for error in chain:
        if isinstance(error, exceptions.RedisError):
            if error.status_code:
                return error.status_code
            if isinstance(error, exceptions.AuthenticationError):
                return "NOAUTH"
            if isinstance(error, exceptions.ResponseError):
                # Codes that redis-py does not know stand at the beginning of the text: MISCONF, UNBLOCKED,
                # WRONGTYPE, NOREPLICAS …
                first = str(error).partition(" ")[0]
                return first if first.isalpha() and first.isupper() else "ERR"
    for error in chain:
        for kind, code in _CLASSES:
            if isinstance(error, kind):
                return code
    # redis-py raises this for a SELECT that was refused, with no class of its own.
    if any(
        type(error) is exceptions.ConnectionError and error.args == ("Invalid Database",) for error in chain
    ):
        return "database"
    return "away"


def _words(code: str, chain: list[BaseException]) -> str:
    error = chain[0]
    match code:
        case "certificate":
            refused = next(e for e in chain if isinstance(e, ssl.SSLCertVerificationError))
            return f"the server's certificate is refused: {refused.verify_message or refused.reason}"
        case "tls":
            failed = next(e for e in chain if isinstance(e, ssl.SSLError))
            return f"TLS fails: {(failed.reason or 'the connection was closed').replace('_', ' ').lower()}"
        case "name":
            unknown = next(e for e in chain if isinstance(e, socket.gaierror))
            return f"its host is not found: {unknown.strerror or unknown}"
        case "not_redis":
            return "what answers there speaks another protocol than Redis's"
        case "database":
            return "the server has no database of this number"
        case "MOVED" | "ASK" | "CROSSSLOT":
            return (
                f"{code}: it is a node of a Redis Cluster, which keeps keys on several nodes; "
                "the dialer needs a single Redis"
            )
        case "refused" | "denied" | "timeout" | "away":
            return str(error) or type(error).__name__
    text = next((str(e) for e in chain if isinstance(e, exceptions.RedisError) and str(e)), "")
    return text if code == "ERR" or text.startswith(code) else f"{code} {text}"
