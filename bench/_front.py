"""What stands before AWS's services and looks at the signature: refused keys, and another clock.

Forwards to a stand-in for Amazon Connect that takes any key. It cannot know the secrets, so of a signature
it judges what AWS judges first: the access key, and the time at which it was signed.
"""

import http.client
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_MOST_SKEW = timedelta(minutes=5)
_KEPT = ("content-type", "x-amzn-requestid", "x-amzn-errortype", "retry-after")
_KEY = re.compile(r"Credential=(\w+)/")


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A client that has closed its connection is no error."""


class Front:
    """Which keys are good, and how far AWS's clock is ahead of this machine's."""

    def __init__(self, behind: int) -> None:
        self.good = {"AKIAFIRST"}
        self.ahead = timedelta(0)
        self.refused = 0
        """Requests refused so far."""
        self._behind = behind
        front = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                front.answer(self)

            do_PUT = do_POST = do_GET

            def log_message(self, *_: object) -> None:
                pass

        self._server = _Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        """Close the port."""
        self._server.shutdown()
        self._server.server_close()

    def now(self) -> datetime:
        """By AWS's clock."""
        return datetime.now(UTC) + self.ahead

    def answer(self, line: BaseHTTPRequestHandler) -> None:
        """Refuse a request as AWS does, or hand it on."""
        body = line.rfile.read(int(line.headers.get("Content-Length") or 0))
        refusal = self._refusal(line.headers.get("Authorization", ""), line.headers.get("X-Amz-Date", ""))
        if refusal is not None:
            self.refused += 1
            code, message = refusal
            text = json.dumps({"__type": code, "message": message}).encode()
            self._send(line, 403, {"Content-Type": "application/json", "x-amzn-ErrorType": code}, text)
            return
        upstream = http.client.HTTPConnection("127.0.0.1", self._behind, timeout=60)
        try:
            headers = {name: value for name, value in line.headers.items() if name.lower() != "host"}
            upstream.request(line.command, line.path, body, headers)
            said = upstream.getresponse()
            kept = {name: value for name, value in said.getheaders() if name.lower() in _KEPT}
            self._send(line, said.status, kept, said.read())
        except (OSError, http.client.HTTPException):
            line.close_connection = True
        finally:
            upstream.close()

    def _refusal(self, authorization: str, signed_at: str) -> tuple[str, str] | None:
        if not authorization:
            return None  # what is asked without a signature is no API of AWS's
        signed = datetime.strptime(signed_at, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        if abs(self.now() - signed) > _MOST_SKEW:
            return "InvalidSignatureException", f"Signature expired: {signed_at} is now too far off"
        key = _KEY.search(authorization)
        if key is None or key[1] not in self.good:
            return "ExpiredTokenException", "The security token included in the request is expired"
        return None

    def _send(self, line: BaseHTTPRequestHandler, status: int, headers: dict[str, str], body: bytes) -> None:
        line.send_response_only(status)
        for name, value in headers.items():
            line.send_header(name, value)
        line.send_header("Date", format_datetime(self.now(), usegmt=True))
        line.send_header("Content-Length", str(len(body)))
        line.end_headers()
        line.wfile.write(body)


@contextmanager
def front(behind: int) -> Iterator[Front]:
    """One that forwards to a port of this machine."""
    standing = Front(behind)
    try:
        yield standing
    finally:
        standing.close()
