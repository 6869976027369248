"""How the stand-in says who it is: its calls must not be taken for real ones, nor real ones for a trial."""

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    # Only here: real calls need this file, and are dialed without what the sandbox is made of.
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADER = "x-dialer-sandbox"
"""In every answer of the stand-in. Amazon Connect has no such header."""
PATH = "/_sandbox/identity"
SERVICE = "connect-batch-dialer sandbox"


def identity(speed: float = 1.0) -> dict[str, Any]:
    """What GET PATH answers. `speed`: call seconds per real second."""
    return {"service": SERVICE, "speed": speed}


def is_identity(content: Any) -> bool:
    """Whether an answer's JSON is that of the stand-in."""
    return isinstance(content, dict) and content.get("service") == SERVICE


def speed_of(content: Any) -> float:
    """Call seconds per real second, as an identity states it; 1.0 where it states none."""
    speed = content.get("speed") if isinstance(content, dict) else None
    if isinstance(speed, bool) or not isinstance(speed, int | float) or not 0 < speed < math.inf:
        return 1.0  # an older stand-in
    return float(speed)


class Signed:
    """An ASGI app, with the header in each of its answers."""

    def __init__(self, app: "ASGIApp") -> None:
        self._app = app

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        async def signing(message: "Message") -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (HEADER.encode(), b"1")]
            await send(message)

        await self._app(scope, receive, signing)
