"""Child processes: started, watched, started again when they crash, and stopped in order."""

import fcntl
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

PARENT = "DIALER_PARENT_PID"
"""Tells a child whose going it must not outlive."""

_CRASHES = 5
"""So many in a row, each within half a minute of its start, end a child that has never run for longer."""
_WORKED_SECONDS = 30.0
_LONGEST_PAUSE_SECONDS = 30.0


class ChildFailed(Exception):
    """A part of the dialer keeps stopping. The text holds its last words."""


@dataclass
class Child:
    """One process of the dialer on this machine, running `python -m …`."""

    name: str
    arguments: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    grace_seconds: float
    """How long it may take to stop when asked."""
    processor: int | None = None
    """The only one that it may use, where the system can be told so; None: all of them."""
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _started: float = field(default=0.0, init=False)
    _crashes: int = field(default=0, init=False)
    _has_worked: bool = field(default=False, init=False)
    """Whether one of its processes has run for half a minute."""
    _log_began: int = field(default=0, init=False)
    _ended: bool = field(default=False, init=False)
    """Whether the end of its present process has been counted."""

    def start(self) -> None:
        """Start it, in a session of its own: Ctrl-C is for the parent, which stops its children in order."""
        self._started, self._ended = time.monotonic(), False
        with os.fdopen(os.open(self.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab") as log:
            self._log_began = log.tell()
            self._process = subprocess.Popen(  # noqa: S603 (our own interpreter, our own module)
                [sys.executable, "-m", *self.arguments],
                env={**self.environment, PARENT: str(os.getpid())},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        if self.processor is not None and sys.platform == "linux":
            with suppress(OSError):  # it is over already, or the processor is not there any more
                os.sched_setaffinity(self._process.pid, {self.processor})

    def watch(self) -> None:
        """Start it again if it has crashed, at the latest half a minute after its last start.

        Raises ChildFailed where that does not help: the settings are wrong, or it has crashed five times and
        has never run for half a minute. One that has is started again for ever: what ends it now is something
        outside, which comes back.
        """
        if self._process is None or self._process.poll() is None:
            return
        if not self._ended:
            self._ended = True
            if time.monotonic() - self._started >= _WORKED_SECONDS:
                self._has_worked, self._crashes = True, 0
            self._crashes += 1
        # 2 is how our programs say that the settings or the ledger are wrong; trying again cannot mend it.
        if self._process.returncode == 2 or (self._crashes >= _CRASHES and not self._has_worked):
            raise ChildFailed(f"{self.name} stopped: {self.last_words()}")
        # The first four at once; then 2, 4, 8 … seconds after the last start.
        pause = 0.0 if self._crashes < _CRASHES else 2.0 ** min(self._crashes - _CRASHES + 1, 5)
        if time.monotonic() - self._started >= min(pause, _LONGEST_PAUSE_SECONDS):
            self.start()

    def ask_to_stop(self) -> None:
        """SIGTERM, which every process of the dialer answers by finishing what it has begun."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)

    def wait(self) -> bool:
        """Wait for it to stop; kill it when its time is over. Returns whether it stopped by itself."""
        if self._process is None:
            return True
        try:
            self._process.wait(self.grace_seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            self._process.wait()
            return False
        return True

    def kill(self) -> None:
        """SIGKILL. Does not wait, so that a signal's handler may call it in the middle of `wait`."""
        if self._process is not None:
            self._process.kill()

    def last_words(self) -> str:
        """The last line that it has logged since its start."""
        try:
            with self.log.open("rb") as log:
                log.seek(max(self._log_began, self.log.stat().st_size - 4096))
                lines = log.read().decode(errors="replace").split("\n")
        except OSError:
            return f"see {self.log}"
        said = [line.strip() for line in lines if line.strip()]
        return (said[-1].removeprefix("dialer: ") if said else "without a word") + f" (see {self.log})"


def has_parent() -> bool:
    """Whether this process is a child of `dialer up` or `dialer run`."""
    return bool(int(os.environ.get(PARENT, "0")))


def stop_with_parent() -> None:
    """In a child: stop by SIGTERM when the parent is gone, however it went. Does nothing elsewhere."""
    parent = int(os.environ.get(PARENT, "0"))
    if not parent:
        return

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent", daemon=True).start()


@contextmanager
def alone(lock: Path, stop: threading.Event) -> Iterator[bool]:
    """Be the only process that holds this lock, after whoever has it now. Yields False if stopped before.

    The kernel lets go of it when its holder dies, so a crash never leaves it taken.
    """
    with lock.open("ab") as file:
        while not stop.is_set():
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                stop.wait(0.2)
                continue
            yield True
            return
        yield False
