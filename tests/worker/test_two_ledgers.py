"""Two ledgers on one Redis, which neither take each other's tasks nor hold each other up."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from redis import Redis
from sqlalchemy import func, select

from campaigns.ledger import LedgerUnavailable, open_ledger
from campaigns.ledger.identity import read_identity
from campaigns.ledger.reached import Memory, Position
from campaigns.ledger.tables import attempts
from worker.positions import Positions

ROOT = Path(__file__).parents[2]
PEOPLE = 30


def until(true: Callable[[], bool], what: str) -> None:
    """Wait until something has happened in another process."""
    patience = threading.Event()
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end, f"not within a minute: {what}"
        patience.wait(0.05)


@pytest.fixture
def other_book(book: Any, ledger_path: Path, tmp_path: Path) -> Iterator[Any]:
    """A second ledger: the same tables, and an identity of its own."""
    path = tmp_path / "other.sqlite"
    shutil.copy(ledger_path, path)
    with closing(sqlite3.connect(path)) as file:
        file.execute("UPDATE identity SET ledger_id = 'another'")
        file.commit()
    with closing(type(book.ledger)(open_ledger(f"sqlite:///{path}")._engine)) as ledger:
        yield type(book)(ledger, book.clock)


@pytest.fixture
def workers(settings_environment: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[[str, str], Path]]:
    """Starts a worker for a ledger's queue, as an operator would. Returns its log."""
    started: list[subprocess.Popen[bytes]] = []

    def start(database: str, queue: str) -> Path:
        log = tmp_path / f"{len(started)}.log"
        name = f"{queue}{len(started)}@%h"
        options = ["-P", "threads", "-c", "4", "-n", name, "-l", "INFO", "--without-mingle"]
        with log.open("wb") as said:
            started.append(
                subprocess.Popen(
                    [sys.executable, "-m", "celery", "-A", "worker.app", "worker", "-Q", queue, *options],
                    cwd=tmp_path,
                    env={
                        **os.environ,
                        "PYTHONPATH": str(ROOT),
                        "PYTHONWARNINGS": "ignore",
                        "DIALER_DATABASE_URL": f"sqlite:///{tmp_path / database}",
                    },
                    stdout=said,
                    stderr=said,
                )
            )
        return log

    yield start
    for process in started:
        process.send_signal(signal.SIGKILL)
        process.wait()


def placed(book: Any) -> int:
    with book.ledger.read() as db:
        mine = select(func.count()).where(attempts.c.contact_id.is_not(None))
        return int(db.execute(mine).scalar_one())


def test_each_ledger_dials_its_own(
    book: Any, other_book: Any, workers: Callable[[str, str], Path], valkey: Redis, exchange: Any
) -> None:
    """One Redis database, one account: no task goes astray, and everybody of both is rung once, at once."""
    for each in (book, other_book):
        each.clock.now, before = time.time() - 1, each.clock.now
        each.load(*(f"+14155550{100 + n}" for n in range(PEOPLE)))
        each.clock.now = before
    names = ("ledger.sqlite", "other.sqlite")
    logs = [workers(name, queue) for name in names for queue in ("dial-sandbox", "control-sandbox")]
    until(lambda: placed(book) + placed(other_book) == 2 * PEOPLE, "all are called")
    for each in (book, other_book):
        rows = each.attempts()
        assert {(row.number, row.fence, row.state) for row in rows} == {(1, 1, "placed")}
        assert [exchange.rings(row.client_token) for row in rows] == [1] * PEOPLE
    assert [log for log in logs if "is not dialed" in log.read_text()] == []
    ids = {read_identity(each.ledger).ledger_id for each in (book, other_book)}
    keys = {key.decode() for key in valkey.scan_iter() if b":pace:" not in key}
    assert {key.split(":")[1] for key in keys} == ids
    assert {key.split(":")[0] for key in keys} == {"dialer"}


# --- the start --------------------------------------------------------------------------------------------


def test_process_waits_for_its_ledger_to_learn_its_queues(
    program: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ledger that is away at the start: it is said, and the process goes on as soon as it answers."""
    slept: list[float] = []
    real = program.machine().ledger

    class Away:
        def read(self) -> Any:
            raise LedgerUnavailable("it is away")

    def comes_back(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            vars(program.machine())["ledger"] = real

    vars(program.machine()).pop("prefix")
    vars(program.machine())["ledger"] = Away()
    monkeypatch.setattr(program.root.time, "sleep", comes_back)
    monkeypatch.setattr(program.root, "stop_with_parent", lambda: None)
    program.app.conf.broker_transport_options = {}
    program.root._open()
    assert slept == [1, 1, 1]
    prefix = f"dialer:{read_identity(real).ledger_id}:"
    assert program.app.conf.broker_transport_options == {"global_keyprefix": prefix}


def redis_knows_better(program: SimpleNamespace) -> None:
    """The ledger is behind what another process has noted in Redis."""
    machine = program.machine()
    others = Positions(machine.redis, machine.prefix, Memory())
    others.note(Position(read_identity(machine.ledger).epoch, 5, 7))


def test_worker_compares_the_ledger_when_it_starts(program: SimpleNamespace) -> None:
    """Before it takes a task, and whether or not anybody feeds."""
    redis_knows_better(program)
    program.root._compare_positions()
    who = read_identity(program.machine().ledger)
    assert who.stopped_code == "ledger_went_back"


def test_feeding_compares_the_ledger_with_redis(program: SimpleNamespace, book: Any, valkey: Redis) -> None:
    """The task hands the feed what Redis knows."""
    book.clock.now, before = time.time() - 1, book.clock.now
    book.load("+14155550100")
    book.clock.now = before
    redis_knows_better(program)
    program.tasks.feed_task()
    assert valkey.llen(program.key("dial-sandbox")) == 0
    assert read_identity(book.ledger).stopped_code == "ledger_went_back"
    assert program.machine().problems["feed"].startswith("the ledger has gone back")


def test_feeding_notes_how_far_a_ledger_in_a_file_has_come(program: SimpleNamespace, book: Any) -> None:
    """What a worker has counted, Redis knows after the next round."""
    book.clock.now, before = time.time() - 1, book.clock.now
    book.load("+14155550100")
    book.clock.now = before
    program.tasks.feed_task()
    (row,) = book.attempts()
    program.tasks.dial_task(row.id, row.fence, row.client_token)
    assert sum(program.machine().positions.noted().slots.values()) == 0
    program.tasks.feed_task()
    assert sum(program.machine().positions.noted().slots.values()) == 1


def test_worker_of_a_ledger_on_a_server_notes_each_position(
    program: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine's dialer is put together with it."""
    machine = program.machine()
    monkeypatch.setattr(machine.ledger, "is_sqlite", False)
    assert machine.dialer.note_position == machine.positions.note
