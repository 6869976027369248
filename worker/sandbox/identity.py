"""How the stand-in says who it is: its calls must not be taken for real ones, nor real ones for a trial."""

from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADER = "x-dialer-sandbox"
"""In every answer of the stand-in. Amazon Connect has no such header."""
PATH = "/_sandbox/identity"
SERVICE = "connect-batch-dialer sandbox"


def identity() -> dict[str, str]:
    """What GET PATH answers."""
    return {"service": SERVICE}


def is_identity(content: Any) -> bool:
    """Whether an answer's JSON is that of the stand-in."""
    return isinstance(content, dict) and content.get("service") == SERVICE


class Signed:
    """An ASGI app, with the header in each of its answers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def signing(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (HEADER.encode(), b"1")]
            await send(message)

        await self._app(scope, receive, signing)
