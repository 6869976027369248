"""A line to PostgreSQL that can be cut without a word: nothing is refused, and nothing is answered.

A new connection is still accepted, by the kernel; what is sent is still acknowledged. So are a server that
is stopped, and a pooler without a server.
"""

import selectors
import socket
import threading
from contextlib import suppress
from urllib.parse import parse_qs, unquote, urlsplit


class StillLine:
    """Forwards a port of its own to a server's socket. `url` leads through it."""

    def __init__(self, postgres_url: str) -> None:
        parts = urlsplit(postgres_url)
        self._socket_path = f"{parse_qs(parts.query)['host'][0]}/.s.PGSQL.5432"
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"postgresql://{unquote(parts.username or '')}@127.0.0.1:{self.port}{parts.path}"
        self._flows = threading.Event()
        self._flows.set()
        self._closed = False
        self.connections = 0
        """How many were accepted while it flowed."""
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def stop(self) -> None:
        """From now on nothing comes through, in neither direction."""
        self._flows.clear()

    def go_on(self) -> None:
        """Forward again, beginning with what was sent meanwhile."""
        self._flows.set()

    def close(self) -> None:
        """Close the port and everything that goes through it."""
        self._closed = True
        self._flows.set()
        for each in (self._listener, *self._open):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while not self._closed:
                client, _ = self._listener.accept()
                self._open.append(client)
                threading.Thread(target=self._forward, args=(client,), daemon=True).start()

    def _forward(self, client: socket.socket) -> None:
        with suppress(OSError, ValueError), socket.socket(socket.AF_UNIX) as server, client:
            self._flows.wait()
            self.connections += 1
            server.connect(self._socket_path)
            self._open.append(server)
            with selectors.DefaultSelector() as selector:
                selector.register(client, selectors.EVENT_READ, server)
                selector.register(server, selectors.EVENT_READ, client)
                while True:
                    for key, _ in selector.select():
                        self._flows.wait()
                        data = key.fileobj.recv(1 << 16)  # type: ignore[union-attr]
                        if not data:
                            return
                        key.data.sendall(data)
