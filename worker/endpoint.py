"""Whose address is this: AWS's own, the stand-in's, or another that counts as Amazon Connect?

An address is asked and not guessed at. Only one that says that it is the stand-in is: silence, errors and
anything else count as Amazon Connect, where calls ring.
"""

import json
import os
import re
from dataclasses import dataclass
from enum import Enum, auto
from functools import cache
from urllib.parse import urlsplit

from botocore.awsrequest import AWSRequest
from botocore.httpsession import URLLib3Session
from botocore.loaders import create_loader
from botocore.utils import get_environ_proxies

import worker.wire  # noqa: F401 - with its connections, the whole answer has to come within the time-out
from campaigns.side import Exchange
from worker.connect_errors import ConnectError, Misconfigured, NeverSent
from worker.sandbox.identity import HEADER, PATH, is_identity, speed_of

_TIMEOUT_SECONDS = (1.0, 2.0)
"""To connect, and from sending to the end of the answer."""
_LONGEST_ANSWER = 1000  # bytes

NOT_REAL = "AnsweredBySandbox"
"""The code of the error that real calls go to the stand-in."""
NOT_A_TRIAL = "NotTheSandbox"
"""The code of the error that a trial's calls go to something else."""


class Kind(Enum):
    """What an address is known to be."""

    AWS = auto()
    """Amazon Connect's own address."""
    SANDBOX = auto()
    """It says that it is the stand-in."""
    SILENT = auto()
    """It gave no answer."""
    OTHER = auto()
    """It answers, and does not say that it is the stand-in: a private endpoint, a proxy."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where calls go."""

    kind: Kind
    address: str
    """`scheme://host:port`, without the user, path and query that a URL may have."""
    speed: float = 1.0
    """Call seconds per real second: above 1.0 only at a stand-in whose time is accelerated."""


def endpoint(url: str, *, verify: str | bool = True) -> Endpoint:
    """What kind of address a client's endpoint URL is; asks it, unless it is AWS's own.

    verify: a file of certificates, or whether to verify them at all.
    """
    if is_aws(url):
        return Endpoint(Kind.AWS, shown(url))
    kind, speed = _asked(url, verify)
    return Endpoint(kind, shown(url), speed)


def is_aws(url: str) -> bool:
    """Whether this is the address that Amazon Connect itself has in some Region."""
    parts = urlsplit(url)
    # Customers' own hosts end in amazonaws.com as well: load balancers, gateways, private endpoints.
    host = re.fullmatch(r"connect(?:-fips)?\.[a-z0-9-]+\.(.+)", parts.hostname or "")
    return (
        parts.scheme == "https"
        and _port(url) in (None, 443)
        and host is not None
        and host[1] in _aws_domains()
    )


def shown(url: str) -> str:
    """An address as it may be shown and kept: a URL may hold a password, or a key in its path."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    port = _port(url)
    return f"{parts.scheme}://{host}" + (f":{port}" if port is not None else "")


def wrong_for(exchange: Exchange, found: Endpoint) -> ConnectError | None:
    """Why this side must not send a request to this address; None if it may."""
    if exchange == "connect":
        return real_calls_to_the_stand_in(found.address) if found.kind is Kind.SANDBOX else None
    match found.kind:
        case Kind.SANDBOX:
            return None
        case Kind.SILENT:
            return NeverSent("SandboxSilent", f"{found.address} does not answer: {_HOW_TO_TRY}")
        case _:
            return Misconfigured(
                NOT_A_TRIAL, f"this is a trial, and {found.address} is not the sandbox: {_HOW_TO_TRY}"
            )


_HOW_TO_TRY = (
    "start the sandbox with dialer sandbox and set AWS_ENDPOINT_URL_CONNECT to its address, or let "
    "dialer up --sandbox start one; for real calls unset DIALER_EXCHANGE"
)


def real_calls_to_the_stand_in(address: str) -> Misconfigured:
    """The error that what was to be real would be made up by the stand-in."""
    return Misconfigured(
        NOT_REAL,
        f"{set_by()} is {address}, where the sandbox answers and no telephone rings; for real calls unset "
        "it, for a trial say --sandbox or set DIALER_EXCHANGE=sandbox",
    )


def set_by() -> str:
    """What the address was set by, in botocore's order."""
    for variable in ("AWS_ENDPOINT_URL_CONNECT", "AWS_ENDPOINT_URL"):
        if os.environ.get(variable):
            return variable
    return "endpoint_url in the AWS profile"


def _asked(url: str, verify: str | bool) -> tuple[Kind, float]:
    """What answers at an address, and the speed of its time."""
    parts = urlsplit(url)
    asked = parts._replace(path=parts.path.rstrip("/") + PATH, query="", fragment="").geturl()
    session = URLLib3Session(
        verify=verify,  # type: ignore[arg-type] # a file's name as well
        # As for the calls themselves, or something else might be asked than what gets them.
        proxies=get_environ_proxies(url),
        timeout=_TIMEOUT_SECONDS,  # type: ignore[arg-type] # (to connect, to read) as well
        max_pool_connections=1,
    )
    try:
        answer = session.send(AWSRequest("GET", asked, stream_output=True).prepare())
        if answer.status_code != 200 or HEADER not in answer.headers:
            return Kind.OTHER, 1.0
        content = json.loads(answer.raw.read(_LONGEST_ANSWER))
    except ValueError:
        return Kind.OTHER, 1.0  # no JSON
    except Exception:
        # Whatever it is, this address has not said that it is the stand-in.
        return Kind.SILENT, 1.0
    finally:
        session.close()
    return (Kind.SANDBOX, speed_of(content)) if is_identity(content) else (Kind.OTHER, 1.0)


def _port(url: str) -> int | None:
    try:
        return urlsplit(url).port
    except ValueError:
        return None


@cache
def _aws_domains() -> frozenset[str]:
    """The domains of AWS's services in all of its partitions, as botocore knows them."""
    partitions = create_loader().load_data("partitions")["partitions"]
    names = ("dnsSuffix", "dualStackDnsSuffix")
    return frozenset(each["outputs"][name] for each in partitions for name in names)
