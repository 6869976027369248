"""An HTTP server that reads whole requests and answers with whatever bytes a test sends, at its own pace."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from email.message import Message
from http.client import parse_headers
from socketserver import StreamRequestHandler, ThreadingTCPServer
from ssl import SSLContext
from typing import Any

from worker.sandbox.identity import PATH

Play = Callable[["Line"], None]


class Line:
    """One request, and the connection that it came by."""

    def __init__(
        self,
        sock: socket.socket,
        method: str,
        path: str,
        headers: Message,
        body: bytes,
        over: threading.Event,
    ) -> None:
        self._sock = sock
        self.method = method
        self.path = path
        self.headers = headers
        self.body = body
        self.over = over
        """Set when the test is over: a player that waits has to end then."""

    def send(self, data: bytes) -> None:
        """Raises OSError when the caller has gone."""
        self._sock.sendall(data)

    def drip(self, data: bytes, seconds: float, *, every: float = 0.02) -> None:
        """Send this over and over, a piece each `every` seconds, for so long or until the caller has gone."""
        for _ in range(int(seconds / every)):
            self.send(data)
            if self.over.wait(every):
                return


def answer(status: int, content: object, *headers: str) -> bytes:
    """A whole answer; content that is no bytes goes as JSON."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    head = [f"HTTP/1.1 {status} So", f"Content-Length: {len(body)}", "Content-Type: application/json"]
    return "\r\n".join([*head, *headers, "", ""]).encode("latin-1") + body


@contextmanager
def odd_server(play: Play, tls: SSLContext | None = None, *, identity: bool = False) -> Iterator[str]:
    """Serve, and give the URL. `identity`: the question whether it is the stand-in is played as well."""
    over = threading.Event()
    lines: list[socket.socket] = []

    class Handler(StreamRequestHandler):
        def setup(self) -> None:
            if tls is not None:
                self.request = tls.wrap_socket(self.request, server_side=True)
            self.request.settimeout(20)
            lines.append(self.request)
            super().setup()

        def finish(self) -> None:
            try:
                super().finish()
            finally:
                self.request.close()

        def handle(self) -> None:
            while words := self.rfile.readline().decode().split():
                headers = parse_headers(self.rfile)
                body = self.rfile.read(int(headers.get("Content-Length") or 0))
                if words[1].endswith(PATH) and not identity:
                    self.wfile.write(answer(404, {}))
                    continue
                play(Line(self.request, words[0], words[1], headers, body, over))

    class Server(ThreadingTCPServer):
        daemon_threads = False
        allow_reuse_address = True
        request_queue_size = 50

        def handle_error(self, *_: Any) -> None:
            """A caller that goes in the middle of an answer is what this is about."""

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"{'http' if tls is None else 'https'}://localhost:{server.server_address[1]}"
    finally:
        over.set()
        server.shutdown()
        thread.join()
        for line in lines:  # or they would wait for another request, as long as their time-out is
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)
        server.server_close()
