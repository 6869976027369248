"""Connect behind a gateway that damages its answers: nothing is dialed again that may have rung.

The stand-in takes every request and rings. What comes back is damaged: other types, sizes and times, HTML,
endless and dripping bodies, repeated pages. Not played are lies that nothing could tell from the truth, such
as a list that lacks a call.
"""

import http.client
import json
import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import pytest

from campaigns.attempt import AttemptState, RecipientState
from campaigns.ledger import open_ledger
from campaigns.ledger.in_progress import CallLimit
from tests.fuzz.damage import ODD_TEXTS, damaged
from tests.fuzz.odd_server import Line, answer, odd_server
from tests.worker.conftest import _AWS, LEASE, Book, Clock, SleepyLedger, Slots
from worker.answers import Answers
from worker.connect import Connect
from worker.dial import Dialer, Timing
from worker.follow import Following
from worker.pacer import Pacer
from worker.rescue import rescue
from worker.sandbox.identity import HEADER, PATH
from worker.sandbox.server import SandboxOptions, running_sandbox
from worker.settle import Settling

READ_SECONDS = 0.3
MOST_SECONDS = READ_SECONDS + 2
"""How long one request may take, whatever comes back."""

_PATIENCE = timedelta(minutes=5)
_SEARCHED_AFTER = timedelta(seconds=10)


class Gateway:
    """What stands between the dialer and the stand-in, and damages some answers."""

    def __init__(self, rng: random.Random, url: str) -> None:
        self._rng = rng
        self._to = urlsplit(url).netloc
        self.share = 0.5
        """Of the answers that are damaged."""

    def __call__(self, line: Line) -> None:
        status, headers, body = self._asked(line)
        if line.path.endswith(PATH) or self._rng.random() >= self.share:
            line.send(answer(status, body, *headers))
            return
        match self._rng.randrange(8):
            case 0:
                line.send(answer(self._rng.choice([200, 200, 500, 502, 504]), self._a_text(), *headers))
            case 1:
                line.send(answer(500, body, *headers))
            case 2:
                raise ConnectionAbortedError
            case 3:
                line.send(_head(headers) + b"Content-Length: 99999\r\n\r\n")
                line.drip(b" ", 4)
            case 4:
                line.send(_head(headers) + b"Transfer-Encoding: chunked\r\n\r\n")
                line.drip(b"8000\r\n" + b" " * 0x8000 + b"\r\n", 4, every=0.001)
            case _:
                content = json.loads(body) if body else {}
                for _ in range(self._rng.randint(1, 3)):
                    content = damaged(self._rng, content)
                line.send(answer(200 if status < 300 else status, content, *headers))

    def _a_text(self) -> bytes:
        return self._rng.choice(ODD_TEXTS)

    def _asked(self, line: Line) -> tuple[int, list[str], bytes]:
        connection = http.client.HTTPConnection(self._to, timeout=10)
        try:
            connection.request(line.method, line.path, line.body, {"Content-Type": "application/json"})
            said = connection.getresponse()
            # Whose answer it is stays told: what something else has answered is another story.
            kept = [f"{name}: {value}" for name, value in said.getheaders() if name.lower() in _KEPT]
            return said.status, kept, said.read()
        finally:
            connection.close()


_KEPT = {HEADER.lower(), "x-amzn-errortype"}


def _head(headers: list[str]) -> bytes:
    return "\r\n".join(["HTTP/1.1 200 OK", *headers, ""]).encode()


@contextmanager
def ground(
    rng: random.Random, make: Callable[[random.Random, str], Callable[[Line], None]] = Gateway
) -> Iterator["Ground"]:
    """A stand-in, a gateway before it, an empty ledger, and a dialer with a clock of its own."""
    clock = Clock()
    with tempfile.TemporaryDirectory() as name, pytest.MonkeyPatch.context() as patch:
        journal = Path(name) / "journal.jsonl"
        options = SandboxOptions(
            port=0,
            calls_per_second=1e6,
            burst=10**6,
            describe_burst=10**6,
            search_burst=10**6,
            faults=True,
            journal=journal,
        )
        path = Path(shutil.copy(_empty_ledger(), name))
        with running_sandbox(options, clock) as url:
            gateway = make(rng, url)
            with odd_server(gateway, identity=True) as before:
                for key in ("AWS_PROFILE", "AWS_ENDPOINT_URL"):
                    patch.delenv(key, raising=False)
                for key, value in {**_AWS, "AWS_ENDPOINT_URL_CONNECT": before}.items():
                    patch.setenv(key, value)
                connect = Connect(exchange="sandbox", read_timeout_seconds=READ_SECONDS)
                ledger = SleepyLedger(open_ledger(f"sqlite:///{path}")._engine)
                try:
                    yield Ground(clock, ledger, connect, gateway, journal)
                finally:
                    ledger.close()
                    connect.close()


class Ground:
    """What a case is played on."""

    def __init__(
        self, clock: Clock, ledger: SleepyLedger, connect: Connect, gateway: Any, journal: Path
    ) -> None:
        self.clock, self.ledger, self.connect, self.gateway = clock, ledger, connect, gateway
        self.book = Book(ledger, clock)
        self._journal = journal
        slots = cast(Pacer, Slots(clock))
        timing = Timing(LEASE, 15.0, 5.0, timedelta(seconds=30), _SEARCHED_AFTER)
        self.dialer = Dialer(
            ledger=ledger,
            pacer=slots,
            connect=connect,
            exchange="sandbox",
            timing=timing,
            clock=clock.utc,
            monotonic=clock,
            sleep=clock.sleep,
            stopping=lambda: False,
        )
        limit = CallLimit(1000, _PATIENCE)
        self.following = Following(
            ledger=ledger,
            connect=connect,
            pacer=slots,
            exchange="sandbox",
            first=timedelta(seconds=30),
            limit=limit,
            clock=clock.utc,
            answers=Answers(),
        )
        self.settling = Settling(
            ledger=ledger,
            connect=connect,
            search_pacer=slots,
            describe_pacer=slots,
            exchange="sandbox",
            patience=_PATIENCE,
            follow=True,
            clock=clock.utc,
        )

    def round(self) -> None:
        """All that the dialer's processes do in a moment."""
        for claim in self.book.claim():
            self.dialer.dial(claim)
        self.following.follow(10)
        self.settling.settle()
        rescue(self.ledger, self.clock.utc(), lease=LEASE, search_after=_SEARCHED_AFTER)

    def rings(self) -> Counter[str]:
        """How often each number has rung."""
        entries = (json.loads(line) for line in self._journal.read_text(encoding="utf-8").splitlines())
        return Counter(entry["destination"] for entry in entries if entry.get("rang"))

    def states(self) -> set[tuple[str, str]]:
        """(the attempt's state, its contact id) of all attempts, and that of their recipients."""
        return {(row.state, row.contact_id or "") for row in self.book.attempts()}


def play(seed: int) -> str | None:
    """Play one case, within seconds. Returns the promise that it broke, or None."""
    rng = random.Random(seed)
    with ground(rng) as on:
        phones = [f"+141555501{number:02d}" for number in rng.sample(range(60), 3)]
        on.book.load(*phones, redial={"max_attempts": 3})
        on.connect.verify()
        for at in range(16):
            if at == 6:
                on.gateway.share = 0.0
            began, asked = time.monotonic(), on.clock.now
            try:
                on.round()
            except Exception as error:
                return f"seed {seed}: {type(error).__name__} out of round {at}"
            if time.monotonic() - began > 20 * MOST_SECONDS:
                return f"seed {seed}: round {at} took {time.monotonic() - began:.0f} s"
            on.clock.now = max(on.clock.now, asked) + 40.0
        return _broken(seed, on)


def _broken(seed: int, on: Ground) -> str | None:
    rings = on.rings()
    if twice := {phone: count for phone, count in rings.items() if count > 1}:
        return f"seed {seed}: rung more than once: {twice}"
    for row in on.book.attempts():
        if row.state not in set(AttemptState):
            return f"seed {seed}: an attempt is {row.state}"
        with suppress(TypeError):
            if row.contact_id is not None and not (row.contact_id.isascii() and len(row.contact_id) <= 256):
                return f"seed {seed}: a contact id that no database should have: {row.contact_id[:40]!a}"
        if "\x00" in f"{row.reason}{row.evidence}":
            return f"seed {seed}: a NUL in the words about an attempt"
    if odd := {row.state for row in on.book.recipients()} - set(RecipientState):
        return f"seed {seed}: a recipient is {odd}"
    return None


@cache
def _empty_ledger() -> Path:
    path = Path(tempfile.mkdtemp(prefix="dialer-fuzz-")) / "ledger.sqlite"
    open_ledger(f"sqlite:///{path}").close()
    return path
