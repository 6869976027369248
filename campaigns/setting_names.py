"""The names of all settings, and what is wrong with a variable that looks like one and is none."""

import re
from collections.abc import Mapping

from campaigns.nearest import nearest

PREFIX = "DIALER_"

NAMES = frozenset(
    {
        "ACCOUNT",
        "BURST",
        "CALLS_PER_SECOND",
        "CLAIM_LEASE_SECONDS",
        "DATABASE_URL",
        "DATA_DIR",
        "DESCRIBE_PER_SECOND",
        "DIAL_THREADS",
        "EVENTS_QUEUE_URL",
        "EXCHANGE",
        "FOLLOW_SECONDS",
        "MAX_ACTIVE_CALLS",
        "READ_TIMEOUT_SECONDS",
        "REDIS_URL",
        "REPLAY_WINDOW_SECONDS",
        "SEARCH_PER_SECOND",
        "SETTLE_SECONDS",
        "TOKEN_SECRET",
    }
)
"""All settings, those of the workers too: each command notices slips in all of them."""

_BETWEEN_PROCESSES = frozenset({"PARENT_PID", "REHEARSAL_SPEED"})
"""What the dialer's processes tell each other. `SANDBOX_…` is for the sandbox, and not told in the manual."""

_OF_OTHERS = re.compile(
    r"(?:.+_)?SERVICE_(?:HOST|PORT)(?:_.+)?|(?:.+_)?PORT_\d+_(?:TCP|UDP|SCTP)(?:_.+)?|PORT(?:_.+)?|ENV_.+|NAME"
)
"""What Kubernetes and Docker set in each container beside a service called `dialer` or `dialer-…`."""

_ADDRESS_OF_SERVICE = re.compile(r"(?:tcp|udp|sctp)://\S+")
"""The value of `DIALER_REDIS_PORT` beside a service called `dialer-redis`."""

_TO_COME = frozenset({"WEB_HOST", "WEB_PORT", "WEB_URL"})
"""Settings of later versions: the same environment may serve both while one is replaced by the other."""

_PART = re.compile(r"(.+)_(?:HOST|PORT|USER|USERNAME|PASSWORD|NAME|DB)")
"""Parts of which a deployment makes a URL: `DIALER_DATABASE_PASSWORD` for `DIALER_DATABASE_URL`."""

_SLIPS_OF_PREFIX = frozenset({"DIALLER", "DAILER", "DIALERS", "DIALR"})


def misspelled(environment: Mapping[str, str]) -> list[str]:
    """What is wrong with each variable that is most like a setting and is none, a line each."""
    found = []
    for variable in sorted(environment):
        name, meant = _name(variable), None
        if name is None or not environment[variable]:
            continue
        if name in NAMES:
            meant = name
        elif not _known_elsewhere(name, environment[variable]) and not _is_part(name, environment):
            meant = nearest(name, NAMES)
        if meant is not None and variable.upper() != PREFIX + meant:
            found.append(f"{variable} is no setting; did you mean {PREFIX}{meant}? Rename it, or unset it")
    return found


def unknown(environment: Mapping[str, str]) -> list[str]:
    """The variables that begin like a setting, are none, and are like none either."""
    return sorted(
        variable
        for variable in environment
        if variable.upper().startswith(PREFIX)
        and environment[variable]
        and (name := _name(variable)) is not None
        and name not in NAMES
        and not _known_elsewhere(name, environment[variable])
        and (_is_part(name, environment) or nearest(name, NAMES) is None)
    )


def _name(variable: str) -> str | None:
    """`dialer_burst` → `BURST`; None for what is not meant for the dialer. Case does not count."""
    prefix, _, name = variable.upper().partition("_")
    if f"{prefix}_" == PREFIX:
        return name
    # Another program's variable may begin alike, but hardly also end like a setting of this one.
    return name if prefix in _SLIPS_OF_PREFIX and name in NAMES else None


def _known_elsewhere(name: str, value: str) -> bool:
    return (
        name in _BETWEEN_PROCESSES
        or name in _TO_COME
        or name.startswith("SANDBOX_")
        or bool(_OF_OTHERS.fullmatch(name))
        or (name.endswith("_PORT") and bool(_ADDRESS_OF_SERVICE.fullmatch(value)))
    )


def _is_part(name: str, environment: Mapping[str, str]) -> bool:
    """Whether it is a part of a URL that is set as a whole. Without the URL, the part was meant to set it."""
    part = _PART.fullmatch(name)
    if part is None:
        return False
    url = f"{PREFIX}{part[1]}_URL"
    return f"{part[1]}_URL" in NAMES and any(
        variable.upper() == url and value for variable, value in environment.items()
    )
