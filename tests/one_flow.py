"""An Amazon Connect whose instance has one flow: the sandbox knows none, and takes any id."""

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

_HOP_BY_HOP = {"connection", "transfer-encoding", "content-length", "server", "date"}


@contextmanager
def one_flow(sandbox_url: str, contact_flow_id: str, port: int = 0) -> Iterator[str]:
    """Give the URL of a server that refuses calls for another flow, and passes the rest on to the sandbox."""
    sandbox = urlsplit(sandbox_url).netloc

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            if self.command == "PUT" and json.loads(body)["ContactFlowId"] != contact_flow_id:
                error = {"x-amzn-ErrorType": "ResourceNotFoundException"}
                self.reply(404, error, b'{"Message": "ContactFlow not found."}')
                return
            behind = http.client.HTTPConnection(sandbox, timeout=30)
            try:
                headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
                behind.request(self.command, self.path, body, headers)
                answered = behind.getresponse()
                passed = {
                    name: value for name, value in answered.getheaders() if name.lower() not in _HOP_BY_HOP
                }
                self.reply(answered.status, passed, answered.read())
            finally:
                behind.close()

        do_GET = do_POST = do_PUT = answer

        def reply(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        # What a worker leaves open must not keep the test from ending.
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            """A worker that ends closes its connections: nothing to report."""

    server = Server(("127.0.0.1", port), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
