"""Listening, stopping, and running one inside a test."""

import asyncio
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from starlette.applications import Starlette
from uvicorn.protocols.http.h11_impl import H11Protocol

from campaigns.mistake import Mistake
from worker.sandbox.options import SandboxOptions
from worker.sandbox.routes import HANG_UP, create_app

__all__ = ["SandboxOptions", "create_app", "running_sandbox", "serve"]

_BACKLOG = 2048


def serve(
    options: SandboxOptions,
    *,
    on_ready: Callable[[str], None] | None = None,
    clock: Callable[[], float] = time.time,
) -> None:
    """Answer requests until SIGINT or SIGTERM, then return.

    `on_ready` is called with the URL once it can be called. `clock`: that of the calls, in seconds since
    1970; the quotas go by real time. Raises Mistake if the address or the journal
    cannot be used.
    """
    listener = _listen(options)
    with listener:
        app = create_app(options, clock, time.time if clock is not time.time else None)
        try:
            _server(app, on_ready or (lambda _: None), _url(listener)).run(sockets=[listener])
        finally:
            app.state.switchboard.close()


@contextmanager
def running_sandbox(options: SandboxOptions, clock: Callable[[], float] = time.time) -> Iterator[str]:
    """A sandbox in a thread of this process, for tests: gives its URL, and stops it at the end.

    Use `port=0`, which picks a free one. With a `clock` of the test's own, calls end when the test says so.
    """
    ready = threading.Event()
    with _listen(options) as listener:
        app = create_app(options, clock)
        url = _url(listener)
        server = _server(app, lambda _: ready.set(), url)
        thread = threading.Thread(
            target=lambda: server.run(sockets=[listener]), name="connect-sandbox", daemon=True
        )
        thread.start()
        try:
            while not ready.wait(0.05):
                if not thread.is_alive():
                    raise RuntimeError("the sandbox's thread ended before it was ready")
            yield url
        finally:
            server.should_exit = True
            thread.join()
            app.state.switchboard.close()


class Line(H11Protocol):
    """A connection that a response can close without answering: see routes.HangUp."""

    def __init__(
        self,
        config: Any,
        server_state: Any,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, {**app_state, HANG_UP: self._hang_up}, _loop)

    def _hang_up(self) -> None:
        self.transport.close()


class _Server(uvicorn.Server):
    """uvicorn, but it says when it is ready, and it never waits for its callers when it stops."""

    def __init__(self, config: uvicorn.Config, stopping: asyncio.Event, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._stopping = stopping
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        # Whoever waits for a slow answer, or has sent half a request, would hold the server for seconds.
        self._stopping.set()
        for connection in list(self.server_state.connections):
            connection.transport.close()
        await asyncio.sleep(0)
        await super().shutdown(sockets)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """As uvicorn's, but the signal is not raised again at the end: stopping is what it asked for."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {
            number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)
        }
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _server(app: Starlette, on_ready: Callable[[str], None], url: str) -> _Server:
    config = uvicorn.Config(
        app,
        http=Line,
        ws="none",
        loop="asyncio",
        lifespan="off",
        log_config=None,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        # A connection that is closed for idleness just as it is used again looks like a lost answer to the
        # caller, who then cannot know whether it rang. Faults come on request only.
        timeout_keep_alive=3600,
        timeout_graceful_shutdown=1,
    )
    return _Server(config, app.state.stopping, lambda: on_ready(url))


def _listen(options: SandboxOptions) -> socket.socket:
    where = f"{options.host}:{options.port}"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            options.host, options.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, OverflowError) as error:
        raise Mistake(f"the sandbox cannot listen on {where}: {error}; try --host 127.0.0.1") from None
    # With the protocol named, asyncio turns Nagle's algorithm off; left on, every answer takes 40 ms.
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        # Already here: two processes may bind one port, but only one of them can listen on it.
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        raise Mistake(
            f"the sandbox cannot listen on {where}: {error.strerror}; "
            "stop what uses it, or name another --port (0 picks a free one)"
        ) from None
    return listener


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
