"""Processes that start at once: forks of one that has imported everything and has made nothing.

A Celery process spends most of two seconds on imports, so that a thousand kills would mostly test those. The
fork runs what `python -m MODULE …` runs, in a session, an environment and a log of its own. Whoever asks
speaks JSON lines over a socket; when that closes, everybody here is killed.
"""

import ctypes
import gc
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from bench.chaos.ground import ROOT

_WARM = """
    celery.bin.celery celery.bin.worker celery.bin.beat celery.apps.worker celery.apps.beat celery.app.amqp
    celery.app.control celery.app.events celery.app.log celery.app.task celery.app.builtins celery.beat
    celery.fixups.django celery.loaders.app celery.worker.autoscale celery.worker.components
    celery.worker.consumer celery.worker.control celery.worker.strategy celery.worker.loops
    celery.concurrency.thread celery.events.state celery.backends.base celery.utils.static
    kombu.transport.redis kombu.pidbox kombu.asynchronous.hub multiprocessing.pool
    boto3.session boto3.resources.factory botocore.client botocore.endpoint botocore.httpsession
    botocore.handlers botocore.signers botocore.retryhandler botocore.parsers botocore.credentials
    sqlalchemy.dialects.sqlite.pysqlite sqlalchemy.dialects.postgresql.psycopg psycopg psycopg_binary
    phonenumbers rich.progress typer campaigns.cli campaigns.campaign campaigns.load campaigns.report
    campaigns.settings campaigns.ledger.lists worker.machine worker.dial worker.feed worker.follow
    worker.rescue worker.health worker.beat worker.children
"""
"""What the crews' processes import. Not worker.app: it reads its settings when it is imported."""


class Nursery:
    """The asking side. Use it as a context manager: leaving it kills whoever is left."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._deaths: dict[int, int] = {}

    def __enter__(self) -> "Nursery":
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "bench.chaos.nursery", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
            )
        # Two files: one that reads and writes forgets what it has read ahead whenever it writes.
        self._heard, self._said = ours.makefile("r"), ours.makefile("w")
        ours.close()
        assert self._hear() == ["ready"]
        return self

    def __exit__(self, *_: object) -> None:
        self._said.close()
        self._heard.close()
        self._process.wait()

    def start(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> int:
        """Start `python -m COMMAND` and return its process id. Its words go to logs/NAME.log."""
        log = self._home / "logs" / f"{name}.log"
        log.parent.mkdir(exist_ok=True)
        self._say("start", list(command), dict(environment), str(self._home), str(log))
        (pid,) = self._answer("born")
        return int(pid)

    def kill(self, pid: int) -> bool:
        """SIGKILL, if it still runs. Returns whether it did."""
        self._say("kill", pid)
        (killed,) = self._answer("killed")
        return bool(killed)

    def deaths(self) -> dict[int, int]:
        """Who has ended since the last question: process id → exit code, negative for a signal."""
        self._say("who")
        self._answer("that is all")
        deaths, self._deaths = self._deaths, {}
        return deaths

    def _say(self, *words: object) -> None:
        self._said.write(json.dumps(words) + "\n")
        self._said.flush()

    def _answer(self, kind: str) -> list[Any]:
        while True:
            heard, *rest = self._hear()
            if heard == kind:
                return rest
            pid, code = rest
            self._deaths[pid] = code

    def _hear(self) -> list[Any]:
        line = self._heard.readline()
        assert line, "the nursery has ended"
        words: list[Any] = json.loads(line)
        return words


class _Keeper:
    """The answering side."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._children: set[int] = set()

    def keep(self) -> list[Any] | None:
        """Serve until the channel closes; then None. In a new child: what it was asked to be."""
        self._say("ready")
        heard = b""
        while True:
            more = b""
            ready, _, _ = select.select([self._channel], [], [], 0.05)
            if ready:
                with suppress(ConnectionResetError):
                    more = self._channel.recv(65536)
                if not more:
                    self._end()
                    return None
                heard += more
            while b"\n" in heard:
                line, _, heard = heard.partition(b"\n")
                asked, *rest = json.loads(line)
                if asked == "start" and self._fork():
                    wanted: list[Any] = rest
                    return wanted
                if asked == "kill":
                    self._kill(*rest)
                if asked == "who":
                    self._reap()
                    self._say("that is all")
            self._reap()

    def _fork(self) -> bool:
        pid = os.fork()
        if pid == 0:
            self._channel.close()
            return True
        self._children.add(pid)
        self._say("born", pid)
        return False

    def _kill(self, pid: int) -> None:
        # Nobody but we reaps it, so the number cannot be another process's yet.
        self._reap()
        there = pid in self._children
        if there:
            os.kill(pid, signal.SIGKILL)
        self._say("killed", there)

    def _reap(self) -> None:
        with suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                self._children.discard(found[0])
                self._say("died", found[0], os.waitstatus_to_exitcode(found[1]))

    def _end(self) -> None:
        for pid in self._children:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)

    def _say(self, *words: object) -> None:
        with suppress(BrokenPipeError):
            self._channel.sendall(json.dumps(words).encode() + b"\n")


def _become(command: list[str], environment: dict[str, str], home: str, log: str) -> None:
    """Be `python -m COMMAND` to the end."""
    nursery = os.getppid()
    # Linux's PR_SET_PDEATHSIG: if the nursery is killed, nobody here goes on without it.
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    os.setsid()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(home)
    os.environ.clear()
    os.environ.update(environment, DIALER_PARENT_PID=str(nursery))
    with open(os.devnull, "rb") as nothing, open(log, "ab") as words:
        os.dup2(nothing.fileno(), 0)
        os.dup2(words.fileno(), 1)
        os.dup2(words.fileno(), 2)
    sys.path.insert(0, home)  # as `python -m` does
    sys.argv = list(command)
    runpy.run_module(command[0], run_name="__main__", alter_sys=True)


def main() -> None:
    """Import everything, then serve until whoever asks is gone: Ctrl-C is theirs to handle."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    for name in _WARM.split():
        with suppress(ImportError):  # a module that another version has not
            import_module(name)
    gc.collect()
    gc.freeze()  # or every child's first collection would copy all of it
    with socket.socket(fileno=int(sys.argv[1])) as channel:
        wanted = _Keeper(channel).keep()
    if wanted is not None:
        _become(*wanted)


if __name__ == "__main__":
    main()
