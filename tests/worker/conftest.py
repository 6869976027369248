"""Parts for the tests of the verbs: a real ledger, real boto3, the sandbox, and one clock for all of them.

The clock moves only when something sleeps or a test moves it. The sandbox goes by the same one, so a call of
two seconds is over exactly when the dialer has slept for two seconds.
"""

import importlib
import itertools
import json
import logging
import os
import shutil
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
import redis
from sqlalchemy import Connection, select

import worker
from campaigns.campaign import Campaign
from campaigns.ledger import Ledger, LedgerUnavailable, open_ledger, runs
from campaigns.ledger.claims import Claim, claim
from campaigns.ledger.lists import put_list
from campaigns.ledger.tables import attempts, recipients
from campaigns.recipient import Recipient
from campaigns.side import Exchange
from tests.batches import laid_out
from worker.connect import CallOrder, Connect
from worker.dial import Dialer, Timing
from worker.event_queue import EventQueue
from worker.pacer import PacerUnavailable
from worker.sandbox.server import SandboxOptions, running_sandbox

INSTANCE = "10a4c4eb-f57e-4d4c-b602-bf39176ced07"
FLOW = "b0b8f2dd-ed1b-4c44-af36-ce189a178181"
LEASE = timedelta(seconds=30)

_AWS = {
    "AWS_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "sandbox",
    "AWS_SECRET_ACCESS_KEY": "sandbox",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": "none-such",
    "AWS_SHARED_CREDENTIALS_FILE": "none-such",
    "NO_PROXY": "127.0.0.1",
}
_campaign_numbers = itertools.count(1)
_queue_numbers = itertools.count(1)


class Clock:
    """Seconds since 1970 that pass only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0
        self.slept: list[float] = []
        self.on_sleep: Callable[[], object] = lambda: None

    def __call__(self) -> float:
        return self.now

    def utc(self) -> datetime:
        return datetime.fromtimestamp(self.now, UTC)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        self.on_sleep()


class SleepyLedger(Ledger):
    """The real ledger, which a test can put out of reach."""

    away = False

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        if self.away:
            raise LedgerUnavailable("the ledger's database does not answer: it is away")
        with super().connection() as db:
            yield db


class Book:
    """What a test asks of the ledger: people in, claims out, and how things stand."""

    exchange: Exchange = "sandbox"
    """The side that its campaigns are started for, and that claims."""

    def __init__(self, ledger: SleepyLedger, clock: Clock) -> None:
        self.ledger = ledger
        self.clock = clock

    def load(self, *phones: str, attributes: Mapping[str, str] | None = None, **choices: Any) -> str:
        """Load these numbers into a campaign of their own and start it. Returns its name."""
        # The name goes into every client token, and the sandbox outlives the tests.
        name = f"trial-{next(_campaign_numbers)}"
        campaign = Campaign.model_validate(
            {
                "name": name,
                "connect": {
                    "instance_id": INSTANCE,
                    "contact_flow_id": FLOW,
                    "source_phone_number": "+14155550199",
                },
                **choices,
            }
        )
        people = [
            Recipient(line, f"key-{line}", phone, dict(attributes or {}), None, {"phone": phone})
            for line, phone in enumerate(phones, start=2)
        ]
        put_list(
            self.ledger,
            campaign,
            laid_out(people),
            file_name="list.csv",
            columns=["phone"],
            now=self.clock.utc(),
        )
        with self.ledger.write() as db:
            runs.start(db, runs.find(db, name), self.clock.utc(), exchange=self.exchange)
        return name

    def claim(self, keep_queued: int = 1000) -> list[Claim]:
        """Claim whoever is due, as the feed does."""
        return claim(
            self.ledger,
            keep_queued=keep_queued,
            exchange=self.exchange,
            now=self.clock.utc(),
            lease=LEASE,
            ahead=timedelta(seconds=3),
        )

    def attempts(self) -> list[Any]:
        """Every attempt, oldest first."""
        with self.ledger.read() as db:
            return list(db.execute(select(attempts).order_by(attempts.c.id)).all())

    def attempt(self) -> Any:
        """The one attempt there is."""
        (row,) = self.attempts()
        return row

    def recipients(self) -> list[Any]:
        """Every recipient in the list's order."""
        with self.ledger.read() as db:
            return list(db.execute(select(recipients).order_by(recipients.c.id)).all())

    def standing(self) -> tuple[str, str]:
        """(the attempt's state, the recipient's state) of a list of one."""
        (person,) = self.recipients()
        return self.attempt().state, person.state

    def run(self, name: str) -> runs.Run:
        with self.ledger.read() as db:
            return runs.find(db, name)


class Exchange:
    """The running sandbox, and what it wrote down."""

    def __init__(self, url: str, journal: Path) -> None:
        self.url = url
        self._journal = journal

    def requests(self, token: str) -> list[dict[str, Any]]:
        """The requests with this client token, in order."""
        lines = self._journal.read_text(encoding="utf-8").splitlines()
        entries = [json.loads(line) for line in lines]
        return [entry for entry in entries if entry["client_token"] == token]

    def calls(self) -> dict[str, dict[str, Any]]:
        """The request that placed each call, by contact_id."""
        entries = (json.loads(line) for line in self._journal.read_text(encoding="utf-8").splitlines())
        return {entry["contact_id"]: entry for entry in entries if "call" in entry}

    def described(self) -> int:
        """How many DescribeContact requests there were."""
        with urllib.request.urlopen(self.url + "/_sandbox/stats") as response:
            return int(json.load(response)["other_requests"].get("DescribeContact", 0))

    def rings(self, token: str) -> int:
        """How often this token made a telephone ring."""
        return sum(bool(entry["rang"]) for entry in self.requests(token))

    def set_faults(self, **rates: float) -> None:
        """The shares of requests that meet each fault; none named is none."""
        request = urllib.request.Request(self.url + "/_sandbox/faults", json.dumps(rates).encode())
        with urllib.request.urlopen(request) as response:
            assert response.status == 200


class Seam:
    """Connect, with something happening before, instead of or after chosen requests."""

    def __init__(
        self, connect: Connect, *happenings: object, after: Callable[[], object] | None = None
    ) -> None:
        """`happenings`, in order of the requests: an exception to raise, a function to call, or None."""
        self._connect = connect
        self._happenings = iter(happenings)
        self._after = after
        self.orders: list[CallOrder] = []

    def place(self, order: CallOrder, *, send_before: Callable[[], bool] | None = None) -> str:
        self.orders.append(order)
        happening = next(self._happenings, None)
        if isinstance(happening, BaseException):
            raise happening
        if callable(happening):
            happening()
        contact_id = self._connect.place(order, send_before=send_before)
        if self._after is not None:
            self._after()
        return contact_id


class Slots:
    """A pacer that grants everything at once, unless told otherwise; pacing has tests of its own."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.granted = True
        self.gone = False
        self.takes_seconds = 0.0
        self.on_wait: Callable[[], object] = lambda: None
        self.horizons: list[float] = []
        self.throttles = 0

    def wait(self, horizon_seconds: float, *, lead_seconds: float = 0.0) -> object | None:
        self.horizons.append(horizon_seconds)
        self.on_wait()
        if self.gone:
            raise PacerUnavailable
        if not self.granted or self.takes_seconds > horizon_seconds:
            return None
        self._clock.now += self.takes_seconds
        return SimpleNamespace(granted_at=self._clock.now)

    def until(self, slot: object) -> None:
        pass

    def usable(self, slot: object) -> bool:
        return True

    def throttled(self) -> None:
        if self.gone:
            raise PacerUnavailable
        self.throttles += 1


@pytest.fixture(scope="session")
def _time() -> Clock:
    return Clock()


@pytest.fixture
def clock(_time: Clock) -> Clock:
    """The clock, at a moment when the calls of all earlier tests are over."""
    _time.now += 3600
    _time.slept = []
    _time.on_sleep = lambda: None
    return _time


@pytest.fixture(scope="session")
def exchange(_time: Clock, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exchange]:
    """A sandbox on the tests' clock that no rate slows down."""
    journal = tmp_path_factory.mktemp("exchange") / "journal.jsonl"
    options = SandboxOptions(
        port=0,
        calls_per_second=1e6,
        burst=10**6,
        describe_burst=10**6,
        search_burst=10**6,
        faults=True,
        journal=journal,
    )
    with running_sandbox(options, _time) as url:
        yield Exchange(url, journal)


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch, exchange: Exchange) -> None:
    """Made-up credentials, nobody's profile, no proxies, and the sandbox as Amazon Connect."""
    for name in ("AWS_PROFILE", "AWS_DEFAULT_REGION", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {**_AWS, "AWS_ENDPOINT_URL_CONNECT": exchange.url}.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def connect_to(aws: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Connect]]:
    """Real clients for other endpoints, or with other patience."""
    made: list[Connect] = []

    def make(
        url: str | None = None, *, read_timeout_seconds: float = 5.0, exchange: Exchange | None = None
    ) -> Connect:
        if url is not None:
            monkeypatch.setenv("AWS_ENDPOINT_URL_CONNECT", url)
        # What a test has made up does not say that it is the stand-in; the sandbox does.
        side = exchange or ("sandbox" if url is None else "connect")
        client = Connect(exchange=side, read_timeout_seconds=read_timeout_seconds, connect_timeout_seconds=1)
        assert client.region == "us-east-1"  # made now, of the environment as it is now
        made.append(client)
        return client

    yield make
    for client in made:
        client.close()


@pytest.fixture(scope="session")
def _sandbox_connect(exchange: Exchange) -> Iterator[Connect]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**_AWS, "AWS_ENDPOINT_URL_CONNECT": exchange.url}.items():
            patch.setenv(name, value)
        client = Connect(exchange="sandbox", read_timeout_seconds=5, connect_timeout_seconds=1)
        assert client.region == "us-east-1"
    yield client
    client.close()


@pytest.fixture
def connect(_sandbox_connect: Connect, aws: None) -> Connect:
    """The real client, talking to the sandbox."""
    return _sandbox_connect


@pytest.fixture
def ledger_path(migrated_sqlite: Path, tmp_path: Path) -> Path:
    """An empty ledger's file."""
    return Path(shutil.copy(migrated_sqlite, tmp_path / "ledger.sqlite"))


@pytest.fixture
def dial_ledger(ledger_path: Path) -> Iterator[SleepyLedger]:
    """A real ledger in an SQLite file, which can be put out of reach."""
    ledger = SleepyLedger(open_ledger(f"sqlite:///{ledger_path}")._engine)
    yield ledger
    ledger.close()


@pytest.fixture
def book(dial_ledger: SleepyLedger, clock: Clock) -> Book:
    return Book(dial_ledger, clock)


@pytest.fixture
def slots(clock: Clock) -> Slots:
    return Slots(clock)


@pytest.fixture
def seam(connect: Connect) -> Callable[..., Seam]:
    """Makes a Connect to which things happen."""

    def make(*happenings: object, after: Callable[[], object] | None = None) -> Seam:
        return Seam(connect, *happenings, after=after)

    return make


@pytest.fixture
def make_dialer(
    dial_ledger: SleepyLedger, slots: Slots, connect: Connect, clock: Clock
) -> Callable[..., Dialer]:
    """Makes a Dialer; what a test does not hand in is real, but for the pacer and the clock."""

    def make(*, replay_window_seconds: float = 5.0, **parts: Any) -> Dialer:
        timing = Timing(
            lease=LEASE,
            send_within_seconds=15.0,
            replay_window_seconds=replay_window_seconds,
            follow_after=timedelta(seconds=65),
            search_after=timedelta(seconds=10),
        )
        usual: dict[str, Any] = {
            "ledger": dial_ledger,
            "pacer": slots,
            "connect": connect,
            "exchange": "sandbox",
            "timing": timing,
            "clock": clock.utc,
            "monotonic": clock,
            "sleep": clock.sleep,
            "stopping": lambda: False,
        }
        return Dialer(**{**usual, **parts})

    return make


# --- SQS --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def sqs_url() -> Iterator[str]:
    """A stand-in for SQS, over HTTP."""
    from moto.server import ThreadedMotoServer

    # Its server writes a line for every request.
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()


class Mail:
    """What the test does to its queue of contact events."""

    def __init__(self, client: Any, url: str) -> None:
        self._client = client
        self.url = url

    def put(self, *bodies: str) -> None:
        """Send messages, as EventBridge would."""
        for first in range(0, len(bodies), 10):
            these = enumerate(bodies[first : first + 10])
            entries = [{"Id": str(at), "MessageBody": body} for at, body in these]
            self._client.send_message_batch(QueueUrl=self.url, Entries=entries)

    def count(self) -> int:
        """How many messages there are, hidden ones too."""
        names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
        found = self._client.get_queue_attributes(QueueUrl=self.url, AttributeNames=names)
        return sum(int(found["Attributes"][name]) for name in names)


@pytest.fixture
def mail(aws: None, sqs_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Mail]:
    """An empty queue of this test's own, behind AWS_ENDPOINT_URL_SQS."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", sqs_url)
    client = boto3.session.Session(region_name="us-east-1").client("sqs")
    url = client.create_queue(QueueName=f"events-{next(_queue_numbers)}")["QueueUrl"]
    yield Mail(client, url)
    client.close()


@pytest.fixture
def event_queue(mail: Mail) -> Iterator[EventQueue]:
    """The real reader of that queue. It does not wait for messages, and what it leaves is there at once."""
    queue = EventQueue(mail.url, wait_seconds=0, hidden_seconds=0)
    yield queue
    queue.close()


# --- Redis and Celery -------------------------------------------------------------------------------------


@pytest.fixture
def settings_environment(
    aws: None, valkey_url: str, ledger_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> pytest.MonkeyPatch:
    """An environment in which the program finds this test's Redis, ledger and sandbox."""
    for name in list(os.environ):
        if name.startswith("DIALER_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)  # nobody's .env
    for name, value in {
        "DIALER_DATABASE_URL": f"sqlite:///{ledger_path}",
        "DIALER_DATA_DIR": str(tmp_path),
        "DIALER_REDIS_URL": valkey_url,
        "DIALER_EXCHANGE": "sandbox",
        "DIALER_CALLS_PER_SECOND": "1000",
        "DIALER_BURST": "100",
        "DIALER_MAX_ACTIVE_CALLS": "1000",
        "DIALER_DIAL_THREADS": "4",
    }.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


@pytest.fixture
def program(settings_environment: pytest.MonkeyPatch, valkey: "redis.Redis") -> Iterator[SimpleNamespace]:
    """worker.app and worker.tasks, imported anew under this test's environment, and forgotten afterwards.

    They read their settings when they are imported, so what another test imported must neither be used here
    nor be lost.
    """
    ours = ("worker.machine", "worker.health", "worker.app", "worker.tasks")
    before = {name: sys.modules.pop(name, None) for name in ours}
    parts, _, app, tasks = (importlib.import_module(name) for name in ours)
    app.app.conf.worker_hijack_root_logger = False  # pytest's
    # As every process does when it starts.
    app.keep_to_own_ledger(app.app, parts.machine().prefix)
    try:
        yield SimpleNamespace(
            app=app.app,
            machine=parts.machine,
            parts=parts,
            root=app,
            tasks=tasks,
            key=lambda name: parts.machine().prefix + name,  # what it is called in Redis
        )
    finally:
        machine = parts.machine()
        machine.stopping.set()
        for thread in threading.enumerate():
            if thread.name in ("health", "contact events"):
                thread.join(10)
        made = vars(machine)
        for part in ("ledger", "redis", "connect"):
            if part in made:
                made[part].close()
        app.app.close()
        for name, module in before.items():
            sys.modules.pop(name)
            short = name.partition(".")[2]
            if module is not None:
                sys.modules[name] = module
                setattr(worker, short, module)
            elif hasattr(worker, short):
                delattr(worker, short)
