"""Every point at which a process can die between a row of the list and its outcome, one test each.

Everything is real but Amazon Connect: the processes, Valkey, the ledger, and over HTTP the sandbox, whose
journal says who rang. The process under test has one thread, so that its point cuts off exactly one attempt,
and it is known which. The tests are the beat, and decide when feeding and rescue come; an hour passes by
being written into the ledger. The sandbox's time runs so fast that each call is over in 2 ms: a token that
is sent again rings again.

Each test says which guard it fails without; that was tried by taking the guard out.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import redis
from celery import Celery
from sqlalchemy import select, update

from campaigns.campaign import read_campaign
from campaigns.ledger import Ledger, open_ledger, runs
from campaigns.ledger.claims import claim
from campaigns.ledger.identity import read_identity
from campaigns.ledger.tables import attempts, loads, recipients
from campaigns.load import load
from worker.children import PARENT
from worker.sandbox.server import SandboxOptions, running_sandbox

PATIENCE_SECONDS = 120.0
ROOT = Path(__file__).parents[1]
CAMPAIGN = """
name = "{name}"

[connect]
instance_id = "10a4c4eb-f57e-4d4c-b602-bf39176ced07"
contact_flow_id = "b0b8f2dd-ed1b-4c44-af36-ce189a178181"
source_phone_number = "+14155550199"
"""
NUMBERS = [f"+1{area}55501{last}" for area in (212, 303, 305, 415, 512, 617) for last in (75, 76, 77, 83)]
"""Busy or unreachable: over in two call seconds at most."""
DIAL, CONTROL = "dial-sandbox", "control-sandbox"
_campaigns = count(1)

Process = subprocess.Popen[str]


class Scene:
    """One campaign of two dozen people, and the processes that work at it."""

    def __init__(self, home: Path, ledger_url: str, redis_url: str, sandbox: str, journal: Path) -> None:
        # Part of every token, and the sandbox outlives the tests.
        self.name = f"crash-{next(_campaigns)}"
        self.home = home
        self.ledger: Ledger = open_ledger(ledger_url)
        self.redis = redis.Redis.from_url(redis_url)
        self.broker = redis_url.replace("unix://", "redis+socket://")
        self._journal = journal
        self.started: list[Process] = []
        self.environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("DIALER_", "AWS_")) and name.lower() != "http_proxy"
        } | {
            "PYTHONPATH": str(ROOT),
            PARENT: str(os.getpid()),  # they stop when the tests are killed
            "DIALER_DATABASE_URL": ledger_url,
            "DIALER_DATA_DIR": str(home),
            "DIALER_REDIS_URL": redis_url,
            "DIALER_EXCHANGE": "sandbox",
            "DIALER_CALLS_PER_SECOND": "100",
            "DIALER_BURST": "100",
            "DIALER_MAX_ACTIVE_CALLS": "500",
            # A slow machine must not look like a crash: no lease ends unless a test says so.
            "DIALER_READ_TIMEOUT_SECONDS": "20",
            "DIALER_CLAIM_LEASE_SECONDS": "120",
            "DIALER_REPLAY_WINDOW_SECONDS": "0",
            "DIALER_FOLLOW_SECONDS": "0",
            "DIALER_DESCRIBE_PER_SECOND": "100",
            "AWS_ENDPOINT_URL_CONNECT": sandbox,
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "sandbox",
            "AWS_SECRET_ACCESS_KEY": "sandbox",
            "AWS_EC2_METADATA_DISABLED": "true",
            "NO_PROXY": "127.0.0.1",
        }
        (home / "campaign.toml").write_text(CAMPAIGN.format(name=self.name))

    # --- processes

    def process(self, *points: str, program: Sequence[str]) -> Process:
        """A process with these points in it, its imports under way; `go` lets it begin."""
        with (self.home / f"said-{len(self.started)}").open("w") as said:
            made = subprocess.Popen(
                [
                    sys.executable,
                    str(Path(__file__).with_name("crashing_worker.py")),
                    *points,
                    "--",
                    *program,
                ],
                cwd=self.home,
                env=self.environment,
                stdin=subprocess.PIPE,
                stdout=said,
                stderr=said,
                text=True,
            )
        self.started.append(made)
        return made

    def worker(self, *points: str, threads: int = 1, queues: str = f"{DIAL},{CONTROL}") -> Process:
        """A Celery worker as `dialer up` starts it, but for both queues."""
        name = f"worker{len(self.started)}-{self.name}"
        pool = ["--pool", "threads", "--concurrency", str(threads)]
        quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "-l", "INFO"]
        return self.process(
            *points,
            program=["celery", "-A", "worker.app", "worker", "-Q", queues, "-n", name, *pool, *quiet],
        )

    def load(self, *points: str) -> Process:
        """`dialer load`."""
        return self.process(*points, program=["dialer", "load", "campaign.toml", "list.csv", "--json"])

    def go(self, process: Process) -> None:
        """Let a process begin."""
        assert process.stdin is not None
        process.stdin.close()

    def said(self, process: Process) -> str:
        """What it has logged and printed."""
        return (self.home / f"said-{self.started.index(process)}").read_text()

    def killed(self, process: Process) -> None:
        """Wait until it has met its end."""
        self.until(lambda: process.poll() is not None, "the crash")
        assert process.returncode == -signal.SIGKILL, self.said(process)

    def stopped(self, process: Process) -> None:
        """Wait until it stands still."""
        status = Path(f"/proc/{process.pid}/stat")
        self.until(lambda: status.read_text().rpartition(")")[2].split()[0] == "T", "the standstill")

    def goes_on(self, process: Process) -> None:
        """Let one that stands still finish the task in its hands."""
        done = self.dials_over(process)
        process.send_signal(signal.SIGCONT)
        self.until(lambda: self.dials_over(process) > done, "the end of the old task")

    def until(self, condition: Callable[[], object], what: str, *, ringing: Sequence[str] = ()) -> None:
        """Look again and again until it is so; meanwhile be the beat of these tasks."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not condition():
            if time.monotonic() > deadline:
                words = "\n".join(f"--- {each.args}\n{self.said(each)}" for each in self.started)
                raise AssertionError(f"{what} did not come about\n{self.states()}\n{words}")
            if ringing and not self.redis.llen(self.key(CONTROL)):
                self.ring(*ringing)
            time.sleep(0.05)

    def end(self) -> None:
        """Leave no process behind."""
        for process in self.started:
            process.kill()
            process.communicate()
        self.ledger.close()
        self.redis.close()

    # --- the queue

    def key(self, queue: str) -> str:
        """What a queue is called in Redis."""
        return f"dialer:{read_identity(self.ledger).ledger_id}:{queue}"

    def ring(self, *tasks: str) -> None:
        """What beat does."""
        for task in tasks:
            self.send(f"dialer.{task}", (), CONTROL)

    def send(self, task: str, arguments: Sequence[Any], queue: str) -> None:
        with Celery("tests", broker=self.broker, set_as_current=False) as app:
            app.conf.broker_transport_options = {"global_keyprefix": self.key("")}
            app.send_task(task, arguments, queue=queue, ignore_result=True)

    def deliver_again(self, rows: "Sequence[Any]") -> int:
        """The tasks of these attempts, as they were sent, once more. Returns how many.

        As when a connection is lost, and the worker gives back what it still has in its hands, or when Redis
        comes back with an old memory.
        """
        for row in rows:
            self.send("dialer.dial", (row.id, row.fence, row.client_token), DIAL)
        return len(rows)

    def dials_over(self, *processes: Process) -> int:
        """How many tasks of dialing these have behind them; without any, all that were started."""
        return sum(self.said(each).count("dialer.dial is over") for each in processes or self.started)

    # --- the ledger and the journal

    def put(self, numbers: Sequence[str] = NUMBERS) -> None:
        """A list in the ledger, and its campaign started."""
        self.list(numbers)
        now = datetime.now(UTC)
        load(self.ledger, read_campaign(self.home / "campaign.toml"), self.home / "list.csv", now=now)
        with self.ledger.write() as db:
            runs.start(db, runs.find(db, self.name), now, exchange="sandbox")

    def list(self, cells: Sequence[str]) -> None:
        (self.home / "list.csv").write_text("\n".join(["phone", *cells]) + "\n")

    def an_hour_passes(self) -> None:
        """Every lease is over, and whoever had to wait is due."""
        hour = timedelta(hours=1)
        with self.ledger.write() as db:
            for table, column in (
                (attempts, "lease_until"),
                (attempts, "follow_at"),
                (recipients, "due_at"),
            ):
                for row in db.execute(select(table.c.id, table.c[column])).all():
                    if row[1] is not None:
                        db.execute(update(table).where(table.c.id == row.id).values({column: row[1] - hour}))

    def attempts(self) -> "list[Any]":
        """Every attempt with its recipient's number, in the list's order."""
        with self.ledger.read() as db:
            rows = select(attempts, recipients.c.phone, recipients.c.state.label("recipient"))
            return list(db.execute(rows.select_from(attempts.join(recipients)).order_by(attempts.c.id)))

    def states(self) -> Counter[str]:
        """How many attempts are in which state; recipients who have none are `waiting`."""
        with self.ledger.read() as db:
            people = len(db.execute(select(recipients.c.id)).all())
        found = Counter(str(row.state) for row in self.attempts())
        found["waiting"] = people - found.total()
        return +found

    def rings(self) -> Counter[str]:
        """How often each of this campaign's tokens made a telephone ring."""
        tokens = {row.client_token for row in self.attempts()}
        lines = (json.loads(line) for line in self._journal.read_text().splitlines())
        return Counter(
            line["client_token"] for line in lines if line["rang"] and line["client_token"] in tokens
        )

    def over(self) -> bool:
        """Whether nobody is left to be dialed."""
        return self.states().keys() <= {"placed", "ended", "unknown"}

    def dials_the_rest(self, *, unknown: int = 0) -> None:
        """Dialing goes on until nobody is left; everybody was rung once, but for those cut off in a call.

        Of those nobody can tell from here, so they are `unknown`, and were not rung again.
        """
        self.until(self.over, "the last call", ringing=("feed", "rescue"))
        # Whatever a dead worker had in its hands, and everything else, is delivered once more.
        self.until(lambda: not self.redis.llen(self.key(DIAL)), "the last task")
        done = self.dials_over()
        again = self.deliver_again(self.attempts())
        self.until(lambda: self.dials_over() >= done + again, "the end of all tasks")
        rings = self.rings()
        assert max(rings.values()) == 1, rings
        rows = self.attempts()
        assert sorted(row.phone for row in rows) == sorted(NUMBERS)
        assert sum(row.state == "unknown" for row in rows) == unknown
        for row in rows:
            if row.state != "unknown":
                assert rings[row.client_token] == 1, row
                assert row.contact_id
                assert row.recipient == "done"


@pytest.fixture(scope="module")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A sandbox that no rate slows down: its URL, and its journal."""
    journal = tmp_path_factory.mktemp("exchange") / "journal.jsonl"
    options = SandboxOptions(
        port=0,
        calls_per_second=1e6,
        burst=10**6,
        describe_burst=10**6,
        speed=1000,
        faults=True,
        journal=journal,
    )
    with running_sandbox(options) as url:
        yield url, journal


@pytest.fixture
def scene(
    tmp_path: Path,
    sqlite_ledger_url: str,
    valkey_url: str,
    valkey: redis.Redis,
    exchange: tuple[str, Path],
) -> Iterator[Scene]:
    """An empty ledger, an empty Redis, and nobody at work yet."""
    made = Scene(tmp_path, sqlite_ledger_url, valkey_url, *exchange)
    try:
        yield made
    finally:
        made.end()


# --- the loader -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("point", "entered"),
    [
        # Fails without: TEMPORARY in `_STAGING`; the second load finds the first one's table.
        pytest.param("SIGKILL before campaigns.call_list:CallList._recipient 2100", 0, id="while reading"),
        # Fails without: the one transaction of `put_list`.
        pytest.param("SIGKILL after campaigns.ledger.lists:_count_suppressed 1", 0, id="before the commit"),
        # Fails without: ON CONFLICT DO NOTHING in `_MERGE`.
        pytest.param("SIGKILL after campaigns.load:put_list 1", 2400, id="after the commit"),
    ],
)
def test_loader_killed(scene: Scene, point: str, entered: int) -> None:
    """A killed load has entered everybody or nobody, and repeating it enters everybody once."""
    numbers = [f"+1{area}555{last:04}" for area in (212, 303, 305, 415) for last in range(100, 700)]
    scene.list([*numbers, "no number"])
    first, second = scene.load(point), scene.load()
    scene.go(first)
    scene.killed(first)
    with scene.ledger.read() as db:
        assert len(db.execute(select(recipients.c.id)).all()) == entered
        assert len(db.execute(select(loads.c.id)).all()) == (1 if entered else 0)
    assert not (scene.home / "list.rejects.csv").exists()
    scene.go(second)
    second.wait(PATIENCE_SECONDS)
    assert second.returncode == 0, scene.said(second)
    report = json.loads(scene.said(second))
    assert (report["accepted"], report["duplicates"], report["rejected"]) == (
        len(numbers) - entered,
        entered,
        1,
    )
    with scene.ledger.read() as db:
        phones = sorted(db.execute(select(recipients.c.phone)).scalars())
    assert phones == sorted(numbers)
    assert (scene.home / "list.rejects.csv").exists()


# --- the feeder -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("points", "sent"),
    [
        pytest.param(["SIGKILL after worker.feed:claim 1"], 0, id="after the claim"),
        # Ten messages have left in two batches; the thirteenth waits in the third.
        pytest.param(
            ["worker.tasks:_BATCH = 5", "SIGKILL before worker.tasks:dial_task.apply_async 13"],
            10,
            id="in the middle of sending",
        ),
    ],
)
def test_feeder_killed(scene: Scene, points: list[str], sent: int) -> None:
    """Whom a killed feeder had claimed is dialed, whether the task was sent or not.

    Fails without: `queued` in `take_back_expired`.
    """
    scene.put()
    feeder, relief = scene.worker(*points, queues=CONTROL), scene.worker(threads=4)
    scene.go(feeder)
    scene.ring("feed")
    scene.killed(feeder)
    assert scene.states() == {"queued": len(NUMBERS)}
    assert scene.redis.llen(scene.key(DIAL)) == sent
    scene.an_hour_passes()
    scene.go(relief)
    scene.dials_the_rest()


# --- the dial worker --------------------------------------------------------------------------------------

FIFTH = 5
"""The attempt in whose hands the worker dies: four are over, nineteen wait."""


@pytest.mark.parametrize(
    ("point", "left", "rang"),
    [
        # Fails without: `queued` in `take_back_expired`.
        pytest.param(f"SIGKILL before worker.dial:Dialer.dial {FIFTH}", "queued", 0, id="task popped"),
        # Fails without: `queued` in `take_back_expired`.
        pytest.param(f"SIGKILL after worker.dial:Pacer.wait {FIFTH}", "queued", 0, id="slot granted"),
        # Fails without: the commit of mark_dialing before the request may leave; the next one's guard, too.
        pytest.param(f"SIGKILL after worker.dial:mark_dialing {FIFTH}", "dialing", 0, id="dialing committed"),
        # Fails without: `dialing` → unknown, and not returned, in `take_back_expired`. The first answer is
        # one to the question what the address is.
        pytest.param(
            f"SIGSTOP before http.client:HTTPResponse.begin {FIFTH + 1}", "dialing", 1, id="request sent"
        ),
        # Fails without: the same.
        pytest.param(f"SIGKILL before worker.dial:mark_placed {FIFTH}", "dialing", 1, id="answered"),
        # Fails without: the state in `locked`, as mark_dialing asks it.
        pytest.param(f"SIGKILL after worker.dial:mark_placed {FIFTH}", "placed", 1, id="recorded"),
    ],
)
def test_dial_worker_killed(scene: Scene, point: str, left: str, rang: int) -> None:
    """Whoever never rang is dialed by the next worker; whoever may have rung is not; the rest goes on.

    Where the worker had got to `dialing`, its task is delivered again at once; else when all is over.
    """
    scene.put()
    first, relief = scene.worker(point), scene.worker(threads=4)
    scene.go(first)
    scene.ring("feed")
    if "SIGSTOP" in point:
        # It waits for an answer that will lie there unread.
        scene.stopped(first)
        scene.until(lambda: scene.rings().total() >= FIFTH, "the fifth ring")
        first.kill()
    scene.killed(first)
    states = [row.state for row in scene.attempts()]
    assert states == ["placed"] * (FIFTH - 1) + [left] + ["queued"] * (len(NUMBERS) - FIFTH)
    assert scene.rings().total() == FIFTH - 1 + rang
    if left != "queued":
        assert scene.deliver_again([row for row in scene.attempts() if row.state != "queued"]) == FIFTH
    scene.go(relief)
    scene.until(
        lambda: scene.rings().total() >= len(NUMBERS) - 1 + rang, "the others", ringing=("feed", "rescue")
    )
    scene.an_hour_passes()
    if left == "dialing":
        scene.dials_the_rest(unknown=1)
        assert scene.rings().total() == len(NUMBERS) - 1 + rang
    else:
        scene.dials_the_rest()


def test_task_delivered_to_two_workers_at_once(scene: Scene) -> None:
    """Two workers that hold the same task at the same time dial it once.

    Fails without: the state in `locked`, as mark_dialing asks it.
    """
    scene.put()
    # They meet with the first task in both their hands; then they go through the other doubles side by side.
    point = "SIGSTOP before worker.dial:mark_dialing 1"
    pair = [scene.worker(point, queues=DIAL), scene.worker(point, queues=DIAL)]
    for each in claim(
        scene.ledger,
        keep_queued=1000,
        exchange="sandbox",
        now=datetime.now(UTC),
        lease=timedelta(seconds=120),
        ahead=timedelta(seconds=3),
    ):
        for _ in pair:
            scene.send("dialer.dial", (each.attempt_id, each.fence, each.client_token), DIAL)
    for worker in pair:
        scene.go(worker)
    for worker in pair:
        scene.stopped(worker)
    for worker in pair:
        worker.send_signal(signal.SIGCONT)
    scene.until(lambda: scene.dials_over() == 2 * len(NUMBERS), "the end of all tasks")
    scene.dials_the_rest()


def test_task_delivered_again_while_it_is_in_a_workers_hands(scene: Scene) -> None:
    """What is delivered again meanwhile is dialed by whoever is first, and by nobody else.

    Fails without: the state in `locked`, as mark_dialing asks it.
    """
    scene.put()
    slow = scene.worker(f"SIGSTOP after worker.dial:Pacer.wait {FIFTH}")
    relief = scene.worker(threads=4)
    scene.go(slow)
    scene.ring("feed")
    scene.stopped(slow)
    assert scene.deliver_again(scene.attempts()[FIFTH - 1 : FIFTH]) == 1
    scene.go(relief)
    scene.until(lambda: scene.rings().total() >= len(NUMBERS), "the last ring")
    scene.goes_on(slow)
    scene.dials_the_rest()
    assert scene.attempts()[FIFTH - 1].fence == 1


def test_task_of_an_earlier_claim_after_redis_forgot_everything(scene: Scene) -> None:
    """A task that outlived a FLUSHALL moves nothing once its attempt has been claimed anew.

    Fails without: the fence in `locked`, as mark_dialing asks it.
    """
    scene.put()
    old = scene.worker(f"SIGSTOP after worker.dial:Pacer.wait {FIFTH}")
    feeder = scene.worker(queues=CONTROL)
    scene.go(old)
    scene.ring("feed")
    scene.stopped(old)
    scene.redis.flushall()
    scene.an_hour_passes()
    scene.go(feeder)
    scene.until(
        lambda: Counter(row.fence for row in scene.attempts() if row.state == "queued") == {2: 20},
        "the second claim",
        ringing=("rescue", "feed"),
    )
    # Forgotten once more, so that all the worker has is the old task.
    scene.until(lambda: scene.redis.llen(scene.key(DIAL)) == 20, "the second sending")
    scene.redis.flushall()
    scene.goes_on(old)
    assert scene.states() == {"placed": FIFTH - 1, "queued": 20}
    assert scene.rings().total() == FIFTH - 1
    scene.an_hour_passes()
    scene.dials_the_rest()


def test_worker_stands_still_past_its_lease_after_the_slot(scene: Scene) -> None:
    """A worker that wakes up when others have dialed its attempt does not dial it.

    Fails without: both the state and the fence in `locked`, as mark_dialing asks it; here either is enough.
    """
    scene.put()
    asleep = scene.worker(f"SIGSTOP after worker.dial:Pacer.wait {FIFTH}")
    relief = scene.worker(threads=4)
    scene.go(asleep)
    scene.ring("feed")
    scene.stopped(asleep)
    scene.redis.delete(scene.key(DIAL))  # nobody else has an old task
    scene.an_hour_passes()
    scene.go(relief)
    # A worker feeds once when it starts: before the rescue, it finds nothing.
    scene.until(lambda: "dialer.feed is over" in scene.said(relief), "the feed at its start")
    scene.until(lambda: scene.states()["returned"] == 20, "the rescue", ringing=("rescue",))
    # Once only: a round that finds nobody left would finish the run, and that alone stops the worker.
    scene.ring("feed")
    scene.until(scene.over, "the last call")
    scene.goes_on(asleep)
    assert scene.rings().total() == len(NUMBERS)
    scene.dials_the_rest()


def test_worker_stands_still_past_its_lease_after_dialing_is_committed(scene: Scene) -> None:
    """A request whose time has passed while the worker stood still does not leave any more.

    The lease is waited for in earnest: the worker looks at a clock of its own.
    Fails without: the last look before the wire (`send_before` of `Connect.place`).
    """
    scene.put()
    relief = scene.worker(threads=4)
    scene.environment |= {"DIALER_READ_TIMEOUT_SECONDS": "2", "DIALER_CLAIM_LEASE_SECONDS": "10"}
    asleep = scene.worker(f"SIGSTOP after worker.dial:mark_dialing {FIFTH}")
    scene.go(asleep)
    scene.ring("feed")
    scene.stopped(asleep)
    token = scene.attempts()[FIFTH - 1].client_token
    scene.go(relief)
    others = {"placed": len(NUMBERS) - 1}
    scene.until(lambda: scene.states() == others | {"dialing": 1}, "the others", ringing=("feed", "rescue"))
    scene.until(lambda: scene.states() == others | {"unknown": 1}, "the lease's end", ringing=("rescue",))
    scene.goes_on(asleep)
    # Nobody else dials it: nothing is fed, and it is due in some seconds only.
    assert scene.rings()[token] == 0
    assert scene.states() == others | {"returned": 1}
    scene.an_hour_passes()
    scene.dials_the_rest()


def test_worker_stands_still_past_its_lease_with_the_answer_in_its_hands(scene: Scene) -> None:
    """An answer that is recorded after the attempt was given up settles it.

    Fails without: `_mark_placed_late`.
    """
    scene.put()
    asleep = scene.worker(f"SIGSTOP before worker.dial:mark_placed {FIFTH}")
    relief = scene.worker(threads=4)
    scene.go(asleep)
    scene.ring("feed")
    scene.stopped(asleep)
    scene.an_hour_passes()
    scene.go(relief)
    scene.until(scene.over, "the others", ringing=("rescue", "feed"))
    assert scene.states() == {"placed": len(NUMBERS) - 1, "unknown": 1}
    scene.goes_on(asleep)
    scene.dials_the_rest()


# --- the follower and the rescuer -------------------------------------------------------------------------


def test_follower_killed_between_the_outcome_and_its_record(scene: Scene) -> None:
    """An outcome that was told to a dead follower is asked for again; nobody stays in progress for ever.

    Fails without: `follow_at=until` in `take_due_follows`.
    """
    scene.environment["DIALER_FOLLOW_SECONDS"] = "0.1"
    scene.put()
    follower = scene.worker("SIGKILL before worker.follow:mark_ended 3")
    relief = scene.worker(threads=4)
    scene.go(follower)
    scene.ring("feed")
    scene.until(lambda: scene.states() == {"placed": len(NUMBERS)}, "the last call")
    scene.until(lambda: follower.poll() is not None, "the crash", ringing=("follow",))
    scene.killed(follower)
    assert scene.states() == {"ended": 2, "placed": len(NUMBERS) - 2}
    scene.an_hour_passes()
    scene.go(relief)
    scene.until(lambda: scene.states() == {"ended": len(NUMBERS)}, "the last outcome", ringing=("follow",))
    assert {row.outcome for row in scene.attempts()} == {"busy", "unreachable"}
    scene.dials_the_rest()


def test_rescuer_killed_in_the_middle(scene: Scene) -> None:
    """A killed rescue has moved nobody half-way, and the next one finds everybody.

    Fails without: the one transaction of `take_back_expired`.
    """
    scene.put()
    dialer = scene.worker(f"SIGKILL after worker.dial:mark_dialing {FIFTH}")
    rescuer = scene.worker("SIGKILL before campaigns.ledger.claims:_wait_again 1", queues=CONTROL)
    relief = scene.worker(threads=4)
    scene.go(dialer)
    scene.ring("feed")
    scene.killed(dialer)
    scene.an_hour_passes()
    before = {"placed": FIFTH - 1, "dialing": 1, "queued": len(NUMBERS) - FIFTH}
    assert scene.states() == before
    scene.redis.flushall()  # or the next worker would dial before anybody is rescued
    scene.go(rescuer)
    scene.ring("rescue")
    scene.killed(rescuer)
    assert scene.states() == before
    assert {row.recipient for row in scene.attempts()} == {"done", "in_progress"}
    scene.go(relief)
    scene.dials_the_rest(unknown=1)
