"""Everything on one machine: Redis, the workers, the scheduler, and for trials the sandbox.

`dialer up` and `dialer run` start these as processes of their own and stop them in order. Two of them on
the same data directory share its Redis and its sandbox; the second takes over when the first goes.
"""

import os
import secrets
import socket
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from itertools import cycle, repeat
from pathlib import Path
from types import TracebackType
from typing import Self

from campaigns.mistake import Mistake
from campaigns.side import Exchange
from worker.children import Child, ChildFailed
from worker.extras import need_embedded_redis, need_sandbox
from worker.rehearsal_speed import SPEED
from worker.settings import CONNECT_TIMEOUT_SECONDS, DialerSettings

_PATIENCE_SECONDS = 20.0
"""How long Redis and the sandbox may take to answer after their start."""


_SEARCHED_WITHIN_SECONDS = 10.0
"""Real time in which a rehearsal's call in doubt is searched for at least once."""


@dataclass(frozen=True, slots=True)
class Trial:
    """How the sandbox behaves in a trial on this machine."""

    speed: float = 10.0
    """Call seconds per second."""
    faults: bool = False
    """Whether numbers that end in 89 to 99 meet the faults of docs/sandbox.md."""
    as_of: datetime | None = None
    """When the clock of a rehearsal is to begin; None: by the ledger's clock as it is."""
    rehearsal: bool = False
    """Whether the ledger is a rehearsal's: then its clock runs at that speed, and the sandbox goes by it."""


class Stack:
    """The dialer's processes on this machine. Use it as a context manager: leaving it stops them."""

    def __init__(
        self,
        settings: DialerSettings,
        *,
        workers: int,
        trial: Trial | None,
        sleep: Callable[[float], None] = time.sleep,
        say: Callable[[str], object] = lambda _: None,
        prefix: str = "dialer:",
    ) -> None:
        """`say`: told what the start waits for. `prefix`: of the ledger's keys in Redis, with its colon."""
        self.settings = settings.model_copy(update={"exchange": side_of(settings, trial)})
        self.logs = settings.data_dir / "logs"
        self._trial = trial
        self._workers = workers
        self._sleep = sleep
        self._say = say
        self._prefix = prefix
        # Said explicitly: a child must not take another side out of a `.env` file of its own.
        self._environment = {**os.environ, "DIALER_EXCHANGE": self.settings.exchange}
        self._services: list[Child] = []
        self._feeding: list[Child] = []
        self._dialing: list[Child] = []

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop(lambda _: None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop(lambda _: None)

    def start(self) -> None:
        """Start everything. Raises Mistake or ChildFailed when a part does not come up."""
        settings, trial = self.settings, self._trial
        need_extras(settings, trial)
        _make_directory(self.logs)
        if settings.redis_url is None:
            self._services.append(self._child("redis", ["worker.embedded_redis"], grace=5))
        if trial is not None:
            port = _lasting_port(settings.data_dir / "sandbox.port")
            self._environment |= _sandbox_environment(port, settings, trial)
            self._services.append(self._child("sandbox", ["worker.sandbox_process"], grace=5))
        for service in self._services:
            service.start()
        self._wait_for_redis()
        if trial is not None:
            self._wait_for("the sandbox", lambda: _answers(port))
        # Long enough for a request that has just left to be answered and recorded.
        calls = CONNECT_TIMEOUT_SECONDS + settings.read_timeout_seconds + 5
        pid = os.getpid()
        for number, processor in zip(range(1, self._workers + 1), _processors(), strict=False):
            arguments = _worker(settings.dial_queue, f"dial{number}-{pid}", settings.dial_threads)
            self._dialing.append(self._child(f"dial-{number}", arguments, grace=calls, processor=processor))
        control = _worker(settings.control_queue, f"control-{pid}", 4)
        self._feeding.append(self._child("control", control, grace=calls))
        beat = ["celery", "-A", "worker.app", "beat", "--loglevel", "WARNING", "--pidfile", ""]
        self._feeding.append(self._child("beat", beat, grace=5))
        for child in self._dialing + self._feeding:
            child.start()

    def watch(self) -> None:
        """Start again what has crashed. Raises ChildFailed when that does not help."""
        for child in self._services + self._dialing + self._feeding:
            child.watch()

    def stop(self, say: Callable[[str], None]) -> None:
        """Stop feeding, let the calls whose request has left be recorded, then stop the rest."""
        for children in (self._feeding, self._dialing, self._services):
            for child in children:
                child.ask_to_stop()
            if children is self._feeding:
                # Nothing here waits for feeding to end: what it still queues is given back.
                for child in self._dialing:
                    child.ask_to_stop()
            for child in children:
                if not child.wait():
                    say(f"{child.name} did not stop in time and was killed")
        self._feeding, self._dialing, self._services = [], [], []

    def ask_to_stop(self) -> None:
        """Tell the processes that feed and dial to stop; do not wait as `stop` does. For a signal handler."""
        for child in self._feeding + self._dialing:
            child.ask_to_stop()

    def kill(self) -> None:
        """Stop everything at once. What was under way is found by the next start."""
        for child in self._feeding + self._dialing + self._services:
            child.kill()

    def _child(self, name: str, arguments: list[str], *, grace: float, processor: int | None = None) -> Child:
        log = self.logs / f"{name}.log"
        return Child(name, arguments, self._environment, log, grace, processor)

    def _wait_for_redis(self) -> None:
        from worker.redis_address import read_redis_url
        from worker.redis_start import find_trouble, wait_for_redis, warnings_of

        address = read_redis_url(self.settings.redis)
        if self.settings.redis_url is None:
            self._wait_for("the embedded Redis", lambda: find_trouble(address) is None)
            return
        wait_for_redis(address, self._prefix, say=self._say, sleep=self._sleep)
        for warning in warnings_of(address):
            self._say(warning)

    def _wait_for(self, what: str, answers: Callable[[], bool]) -> None:
        until = time.monotonic() + _PATIENCE_SECONDS
        while not answers():
            for service in self._services:
                service.watch()
            if time.monotonic() > until:
                raise ChildFailed(f"{what} does not answer; see {self.logs}")
            self._sleep(0.05)


def need_extras(settings: DialerSettings, trial: Trial | None) -> None:
    """Raise Mistake where a part of the stack that these settings ask for is not installed."""
    if settings.redis_url is None:
        need_embedded_redis()
    if trial is not None:
        need_sandbox()


def side_of(settings: DialerSettings, trial: Trial | None) -> Exchange:
    """The side that a command is for: a trial with a sandbox of its own, or what the settings say."""
    return "sandbox" if trial else settings.exchange


@contextmanager
def only_one(directory: Path, what: str) -> Iterator[None]:
    """Raises Mistake if another process is inside for the same directory."""
    import fcntl

    _make_directory(directory)
    with (directory / "lock").open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Mistake(f"{what} is running in {directory} already; wait for it, or stop it") from None
        yield


def _processors() -> Iterator[int | None]:
    """For one dial worker after the other, the processor that it keeps to.

    Only one of its threads runs at a time. Where they run on several processors, Python's lock and all that
    they share goes from one to the other with each request that is answered.
    """
    if sys.platform != "linux":
        return repeat(None)
    allowed = sorted(os.sched_getaffinity(0))
    first = secrets.randbelow(len(allowed))  # several of us shall not all begin with the same
    return cycle(allowed[first:] + allowed[:first])


def _make_directory(path: Path) -> None:
    try:
        # One by one: `parents=True` would leave those in between open to everybody.
        for each in (*reversed(path.parents), path):
            each.mkdir(exist_ok=True, mode=0o700)
    except OSError as error:
        raise Mistake(
            f"{path}: cannot be created: {error.strerror}; "
            "work in a directory of your own, or set DIALER_DATA_DIR"
        ) from None


def _worker(queue: str, name: str, threads: int) -> list[str]:
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    pool = ["--pool", "threads", "--concurrency", str(threads)]
    return [
        "celery",
        "-A",
        "worker.app",
        "worker",
        "-Q",
        queue,
        "-n",
        f"{name}@%h",
        *pool,
        *quiet,
        "-l",
        "INFO",
    ]


def _sandbox_environment(port: int, settings: DialerSettings, trial: Trial) -> Mapping[str, str]:
    """Every process of a trial talks to the sandbox, with credentials that are worth nothing elsewhere."""
    environment = {
        "DIALER_EXCHANGE": "sandbox",
        "DIALER_SANDBOX_PORT": str(port),
        "DIALER_SANDBOX_SPEED": str(trial.speed),
        "DIALER_SANDBOX_FAULTS": "1" if trial.faults else "0",
        # The sandbox's time runs faster, so outcomes are there sooner, and may be asked for as much sooner.
        "DIALER_FOLLOW_SECONDS": str(max(0.5, settings.follow_seconds / trial.speed)),
        "DIALER_REPLAY_WINDOW_SECONDS": str(_replay_window(settings.replay_window_seconds, trial.speed)),
        "DIALER_SETTLE_SECONDS": str(max(1.0, settings.settle_seconds / trial.speed)),
        "DIALER_DESCRIBE_PER_SECOND": str(min(1000.0, settings.describe_per_second * trial.speed)),
        "DIALER_SEARCH_PER_SECOND": str(min(1000.0, settings.search_per_second * trial.speed)),
        "AWS_ENDPOINT_URL_CONNECT": f"http://127.0.0.1:{port}",
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "false",
        "AWS_ACCESS_KEY_ID": "sandbox",
        "AWS_SECRET_ACCESS_KEY": "sandbox",
        "AWS_SESSION_TOKEN": "",
        "AWS_EC2_METADATA_DISABLED": "true",
        # A trial takes no real call's events off their queue, unless somebody's stand-in for SQS has it.
        "DIALER_EVENTS_QUEUE_URL": (settings.events_queue_url or "") if _sqs_is_a_stand_in() else "",
        # A proxy is for the way out, and the sandbox is on this machine.
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
    }
    environment["AWS_REGION"] = environment["AWS_DEFAULT_REGION"] = "us-east-1"
    if trial.rehearsal:
        environment |= _rehearsal_environment(settings, trial.speed)
    return environment


def _rehearsal_environment(settings: DialerSettings, speed: float) -> Mapping[str, str]:
    """Where the ledger's clock runs faster, its seconds are not shortened, and calls come as much faster."""
    # A search takes real time: nothing counts as never placed before there can have been one.
    settle = min(86_400.0, max(settings.settle_seconds, _SEARCHED_WITHIN_SECONDS * speed))
    return {
        SPEED: str(speed),
        # The sandbox has the rehearsal's clock, by which its calls are as long as real ones.
        "DIALER_SANDBOX_SPEED": "1",
        "DIALER_FOLLOW_SECONDS": str(settings.follow_seconds),
        "DIALER_SETTLE_SECONDS": str(settle),
        "DIALER_CALLS_PER_SECOND": str(min(1000.0, settings.calls_per_second * speed)),
        "DIALER_BURST": str(min(10_000, max(1, round(settings.burst * speed)))),
    }


def _sqs_is_a_stand_in() -> bool:
    return bool(os.environ.get("AWS_ENDPOINT_URL_SQS"))


def _replay_window(seconds: float, speed: float) -> float:
    """How long a token may be sent again while the sandbox's time runs faster."""
    # A busy line is free again after 2 s of its time, and the token would ring there once more.
    return seconds if speed <= 1 else min(seconds, 1.5) / speed


def _lasting_port(path: Path) -> int:
    """The sandbox's port in this data directory: chosen once, so that contacts are found again later."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        pass
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(str(port))
    try:
        os.link(temporary, path)  # fails if another process has chosen meanwhile
    except FileExistsError:
        return int(path.read_text())
    finally:
        temporary.unlink()
    return port


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
