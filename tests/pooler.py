"""A connection pooler in transaction mode, as PgBouncer is one, and as unkind as one may be.

Each transaction gets another server session than the one before, wherever there is one. What was set,
prepared or created in a session stays there: PgBouncer runs no `server_reset_query` in transaction mode. A
startup parameter that it cannot keep track of is refused.
"""

import queue
import selectors
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import suppress
from itertools import count
from urllib.parse import parse_qs, unquote, urlsplit

_SSL, _GSS, _CANCEL = 80877103, 80877104, 80877102
_TRACKED = {
    *("user", "database", "replication", "application_name"),
    *("client_encoding", "datestyle", "timezone", "standard_conforming_strings"),
}
_numbers = count(1)


class Pooler:
    """Listens on a port of its own, with so many sessions at one database. `url` leads through it."""

    def __init__(self, postgres_url: str, *, sessions: int = 3) -> None:
        parts = urlsplit(postgres_url)
        self._socket_path = f"{parse_qs(parts.query)['host'][0]}/.s.PGSQL.5432"
        self._user, self._database = unquote(parts.username or ""), parts.path.removeprefix("/")
        self._listener = socket.create_server(("127.0.0.1", 0))
        port = self._listener.getsockname()[1]
        self.url = f"postgresql://{self._user}@127.0.0.1:{port}/{self._database}"
        # First in, first out: the session that was used last comes last.
        self.error: tuple[str, str] | None = None
        """(SQLSTATE, words) with which the next clients' connections are ended, as PgBouncer does it."""
        self._idle: queue.SimpleQueue[_Session] = queue.SimpleQueue()
        self._open: list[socket.socket] = []
        for _ in range(sessions):
            self._idle.put(self._session())
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Close the port and everything that goes through it."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for each in self._open:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._open.append(client)
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _session(self) -> "_Session":
        server = socket.socket(socket.AF_UNIX)
        server.connect(self._socket_path)
        self._open.append(server)
        return _Session(server, self._user, self._database)

    def _serve(self, client: socket.socket) -> None:
        with suppress(OSError, EOFError), client:
            if not _startup(client):
                return
            if self.error is not None:
                client.sendall(_fatal(*self.error))
                return
            session = self._idle.get()
            client.sendall(b"R" + struct.pack("!ii", 8, 0) + session.parameters)
            self._idle.put(session)
            # A process id of its own making: there is no one process behind it.
            client.sendall(b"K" + struct.pack("!iii", 12, 2_000_000_000 + next(_numbers), 7))
            client.sendall(_READY)
            messages = _Messages(client)
            while True:
                first = messages.next()
                if self.error is not None:
                    client.sendall(_fatal(*self.error))
                    return
                self._lend(messages, first)

    def _lend(self, client: "_Messages", first: bytes) -> None:
        """One transaction of a client, in the session whose turn it is."""
        if first[:1] == b"X":
            raise EOFError
        session = self._idle.get()
        try:
            session.run(client, first)
        except BaseException:
            # As PgBouncer does it: a session that was left in the middle is closed, and another made.
            session.close()
            session = self._session()
            raise
        finally:
            self._idle.put(session)


_READY = b"Z" + struct.pack("!i", 5) + b"I"


class _Messages:
    """The messages that come in at a socket, each with its head."""

    def __init__(self, source: socket.socket) -> None:
        self.source = source
        self._data = b""

    def next(self) -> bytes:
        """The next message. Raises EOFError at the end."""
        while (message := self.ready()) is None:
            self.receive()
        return message

    def ready(self) -> bytes | None:
        """The next message, if it is there."""
        if len(self._data) < 5:
            return None
        length = 1 + struct.unpack_from("!i", self._data, 1)[0]
        if len(self._data) < length:
            return None
        message, self._data = self._data[:length], self._data[length:]
        return message

    def receive(self) -> None:
        """Wait for more."""
        received = self.source.recv(1 << 16)
        if not received:
            raise EOFError
        self._data += received

    def all_ready(self) -> Iterator[bytes]:
        """What is there."""
        while (message := self.ready()) is not None:
            yield message


class _Session:
    """A connection to PostgreSQL."""

    def __init__(self, server: socket.socket, user: str, database: str) -> None:
        self._server = server
        self._messages = _Messages(server)
        names = ("user", user, "database", database)
        body = struct.pack("!i", 196608) + b"".join(each.encode() + b"\0" for each in names) + b"\0"
        server.sendall(struct.pack("!i", 4 + len(body)) + body)
        self.parameters = b""
        while (message := self._messages.next())[:1] != b"Z":
            assert message[:1] != b"E", message
            if message[:1] == b"S":
                self.parameters += message

    def close(self) -> None:
        self._server.close()

    def run(self, client: _Messages, message: bytes) -> None:
        """Everything from this message of a client until the session is in no transaction."""
        awaited = self._send(message)
        with selectors.DefaultSelector() as selector:
            selector.register(client.source, selectors.EVENT_READ, client)
            selector.register(self._server, selectors.EVENT_READ, self._messages)
            while True:
                for message in client.all_ready():
                    awaited += self._send(message)
                for key, _ in selector.select():
                    key.data.receive()
                    if key.data is client:
                        continue
                    for message in self._messages.all_ready():
                        client.source.sendall(message)
                        awaited -= message[:1] == b"Z"
                        if message == _READY and not awaited:
                            return

    def _send(self, message: bytes) -> int:
        """Returns how many times the server is going to say that it is ready, for this message."""
        if message[:1] == b"X":
            raise EOFError
        self._server.sendall(message)
        return message[:1] in (b"Q", b"S", b"F")


def _fatal(code: str, words: str) -> bytes:
    said = f"SFATAL\0VFATAL\0C{code}\0M{words}\0\0".encode()
    return b"E" + struct.pack("!i", 4 + len(said)) + said


def _startup(client: socket.socket) -> bool:
    """Whether a client may come in."""
    while True:
        head = client.recv(8, socket.MSG_WAITALL)
        if len(head) < 8:
            return False
        length, code = struct.unpack("!ii", head)
        body = client.recv(length - 8, socket.MSG_WAITALL) if length > 8 else b""
        if code not in (_SSL, _GSS):
            break
        client.sendall(b"N")
    if code == _CANCEL:
        return False
    names = body.split(b"\0")[:-2:2]
    for name in (each.decode() for each in names):
        if name.lower() not in _TRACKED:
            client.sendall(_fatal("08P01", f"unsupported startup parameter: {name}"))
            return False
    return True
