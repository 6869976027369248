"""The dialer's processes on several hosts: everything that calls the program, and the ways in which it dies.

All that depends on the signatures of `campaigns` and `worker` stands in this file.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, event

from campaigns.campaign import Campaign
from campaigns.ledger import (
    Ledger,
    LedgerUnavailable,
    open_ledger,
    readmissions,
    requeues,
    runs,
    suppressions,
)
from campaigns.ledger.claims import Claim, take_back_queued
from campaigns.ledger.clock import DatabaseClock
from campaigns.ledger.expiry import expire
from campaigns.ledger.in_progress import CallLimit
from campaigns.ledger.lists import put_list
from campaigns.ledger.reached import Position, Reached, further
from campaigns.ledger.tables import EVERY_CAMPAIGN, metadata
from campaigns.ledger.tallies import fold
from campaigns.recipient import Recipient
from tests.batches import laid_out
from tests.model.backend import Backend, Client
from tests.model.world import Crash, World
from worker.answers import Answers
from worker.dial import Dialer, Timing
from worker.event_queue import Message
from worker.events import Hearing
from worker.feed import QueueUnavailable, feed
from worker.follow import Following
from worker.hang_up import HangingUp
from worker.pacer import PacerUnavailable, Slot
from worker.positions import PositionNotNoted
from worker.rescue import rescue
from worker.settle import FIRST_SEARCH, Settling

# The program's defaults.
LEASE = timedelta(seconds=30)
SEND_WITHIN_SECONDS = 15.0
PATIENCE = timedelta(seconds=300)
FIRST_LOOK = timedelta(seconds=65)
CALLS_PER_SECOND = 2.0


@dataclass
class Perils:
    """What goes wrong with processes in one episode. Rates are shares of the points where it can."""

    crash: float = 0.0
    ledger_away: float = 0.0
    commit_unanswered: float = 0.0
    """The transaction is committed, and the process learns only that the ledger is away."""
    no_slot: float = 0.02
    pacer_away: float = 0.0
    task_lost: float = 0.0
    task_twice: float = 0.0
    send_fails: float = 0.0
    own_clocks: bool = False
    """A mutation: each host goes by its own wall clock instead of by the database's."""


@dataclass
class Desk:
    """One real ledger, shared by all processes, and emptied for each episode."""

    engine: Engine
    kept: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    committing: Callable[[], None] = lambda: None

    @classmethod
    def at(cls, url: str) -> "Desk":
        """Open, and migrate, the ledger at an SQLAlchemy URL."""
        ledger = open_ledger(url)
        desk = cls(ledger._engine)
        event.listen(desk.engine, "commit", lambda _: desk.committing())
        with ledger.read() as db:
            for table in metadata.sorted_tables:
                desk.kept[table.name] = [dict(row) for row in db.execute(table.select()).mappings()]
        return desk

    def empty(self) -> None:
        """Put the ledger back into the state of a new one."""
        ledger = Ledger(self.engine)
        with ledger.write() as db:
            if not ledger.is_sqlite:
                names = ", ".join(f'"{table.name}"' for table in metadata.sorted_tables)
                db.exec_driver_sql(f"TRUNCATE {names} RESTART IDENTITY")
            for table in () if not ledger.is_sqlite else reversed(metadata.sorted_tables):
                db.execute(table.delete())
            # Triggers have counted the deletions.
            if ledger.is_sqlite:
                db.execute(metadata.tables["tallies"].delete())
            for table in metadata.sorted_tables:
                if self.kept[table.name]:
                    db.execute(table.insert(), self.kept[table.name])


class ModelLedger(Ledger):
    """The real ledger as one process has it, with the points at which this process may be interrupted."""

    def __init__(self, engine: Engine, process: "Process") -> None:
        super().__init__(engine)
        self._process = process
        self._open = 0
        world = process.house.world
        self._clock = DatabaseClock(world.utc, away=LedgerUnavailable, monotonic=world.seconds)

    def now(self) -> datetime:
        """The database's clock, as the program reads it in PostgreSQL; in the mutation the host's own."""
        house = self._process.house
        if house.perils.own_clocks:
            return house.world.utc() + timedelta(seconds=self._process.clock_off)
        return self._clock.now()

    def make(self, move: Callable[[Connection], Any]) -> Any:
        """One move in one transaction: threads that share one have tests of their own."""
        with self.write() as db:
            return move(db)

    @contextmanager
    def _turn(self) -> Iterator[None]:
        # One task runs at a time, and one that is suspended here must not keep its process's others waiting.
        yield

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """One connection. Before and after it, the process may be suspended, killed, or cut off."""
        process, house = self._process, self._process.house
        if not self._open:
            house.world.point(process)
            house.may_crash(process)
            if house.happens(house.perils.ledger_away):
                raise LedgerUnavailable("the model has taken it away")
        self._open += 1
        before, house.committer = house.committer, process
        try:
            with super().connection() as db:
                yield db
        finally:
            self._open -= 1
            house.committer = before
            if not self._open:
                house.after_commit()
        if not self._open:
            house.may_crash(process)
            if house.happens(house.perils.commit_unanswered):
                raise LedgerUnavailable("the model has cut the connection after the commit")
            house.world.point(process)


@dataclass
class Slots:
    """A pacer of one process. Rates have tests of their own; what matters here is that waiting takes time."""

    process: "Process"

    def wait(self, horizon_seconds: float, *, lead_seconds: float = 0.0) -> Slot | None:
        """As `Pacer.wait`."""
        house = self.process.house
        if house.happens(house.perils.pacer_away):
            raise PacerUnavailable
        if house.happens(house.perils.no_slot):
            return None
        deadline = house.world.now + horizon_seconds
        while house.world.now <= deadline:
            left = deadline - house.world.now
            seconds = min(left, house.world.chance.choice((0.0, 0.0, 0.3, 3.0)))
            slot = Slot(house.world.now + seconds, house.world.now + seconds + 1.0)
            if seconds > lead_seconds:
                house.world.sleep(self.process, seconds - lead_seconds)
            if self.usable(slot):
                return slot
        return None

    def until(self, slot: Slot) -> None:
        """As `Pacer.until`."""
        seconds = slot.opens_at - self.process.house.world.now
        if seconds > 0:
            self.process.house.world.sleep(self.process, seconds)

    def usable(self, slot: Slot) -> bool:
        """As `Pacer.usable`."""
        return self.process.house.world.now <= slot.usable_until

    def throttled(self) -> None:
        """As `Pacer.throttled`."""
        if self.process.house.happens(self.process.house.perils.pacer_away):
            raise PacerUnavailable


@dataclass
class Queue:
    """Redis's queue of dial tasks of one side. It may lose, repeat and reorder what it holds."""

    waiting: list[Claim] = field(default_factory=list)
    delivered: list[Claim] = field(default_factory=list)
    """What has been delivered once, and may come again."""


@dataclass
class Noted:
    """What Redis knows of how far the ledger has come, in the place of `worker.positions.Positions`."""

    process: "Process"

    def note(self, position: Position) -> None:
        """As `Positions.note`."""
        house = self.process.house
        self._reach()
        if house.noted.epoch > position.epoch:
            raise PositionNotNoted("a newer epoch of this ledger is known")
        house.noted = further(house.noted, Reached(position.epoch, {position.slot: position.n}))
        highest = house.noted.slots[position.slot]
        self.process.ledger.reached.note(Position(position.epoch, position.slot, highest))

    def noted(self) -> Reached:
        """As `Positions.noted`."""
        self._reach()
        return self.process.house.noted

    def fill(self, noted: Reached) -> None:
        """As `Positions.fill`."""
        self._reach()
        self.process.house.noted = further(self.process.house.noted, self.process.ledger.reached.reached())

    def _reach(self) -> None:
        house = self.process.house
        house.world.point(self.process)
        if house.happens(house.perils.pacer_away):
            raise PositionNotNoted("Redis does not answer")


@dataclass
class Mail:
    """SQS with one side's contact events, as one process reads it."""

    process: "Process"
    backend: Backend

    def receive(self) -> list[Message]:
        """As `EventQueue.receive`: any of the messages, in any order."""
        house = self.process.house
        bodies = list(self.backend.events)
        house.world.chance.shuffle(bodies)
        self.process.house.world.point(self.process)
        return [Message(body, body, house.world.chance.choice((1, 1, 3, 6))) for body in bodies[:5]]

    def delete(self, messages: Sequence[Message]) -> None:
        """As `EventQueue.delete`."""
        house = self.process.house
        for message in messages:
            if message.body in self.backend.events and not house.happens(0.1):
                self.backend.events.remove(message.body)


@dataclass(eq=False)
class Process:
    """One process of the dialer on a host: what the composition root of the program puts together."""

    house: "House"
    host: int
    side: str
    dead: bool = False
    ledger: ModelLedger = field(init=False)
    dialer: Dialer = field(init=False)
    following: Following = field(init=False)
    settling: Settling = field(init=False)
    hanging_up: HangingUp = field(init=False)

    def __post_init__(self) -> None:
        house = self.house
        self.ledger = ModelLedger(house.desk.engine, self)
        connect: Any = Client(house.backends[self.side], self)
        pacer: Any = Slots(self)
        self.dialer = Dialer(
            ledger=self.ledger,
            pacer=pacer,
            connect=connect,
            exchange=self.side,
            timing=Timing(
                lease=LEASE,
                send_within_seconds=SEND_WITHIN_SECONDS,
                replay_window_seconds=house.replay_window_seconds,
                follow_after=FIRST_LOOK,
                search_after=FIRST_SEARCH,
            ),
            clock=self.ledger.now,
            monotonic=house.world.seconds,
            sleep=lambda seconds: house.world.sleep(self, seconds),
            stopping=lambda: False,
            note_position=Noted(self).note,
        )
        self.following = Following(
            ledger=self.ledger,
            connect=connect,
            pacer=pacer,
            exchange=self.side,
            first=FIRST_LOOK,
            limit=house.limit,
            clock=self.ledger.now,
            answers=Answers(),
        )
        self.settling = Settling(
            ledger=self.ledger,
            connect=connect,
            search_pacer=pacer,
            describe_pacer=pacer,
            exchange=self.side,
            patience=PATIENCE,
            follow=True,
            clock=self.ledger.now,
        )
        self.hanging_up = HangingUp(
            ledger=self.ledger,
            connect=connect,
            pacer=pacer,
            exchange=self.side,
            longest=PATIENCE,
            clock=self.ledger.now,
        )

    @property
    def clock_off(self) -> float:
        """By how much its host's wall clock is ahead, in seconds."""
        return self.house.clocks_off[self.host]

    # --- what its workers do ----------------------------------------------------------------------------

    def dial(self, claim: Claim) -> None:
        """The task of a dial worker."""
        self.dialer.dial(claim)

    def feed(self) -> None:
        """Top up the queue."""
        positions: Any = Noted(self)
        feed(
            self.ledger,
            self._send,
            lambda: len(self.house.queues[self.side].waiting),
            calls_per_second=CALLS_PER_SECOND,
            exchange=self.side,
            lease=LEASE,
            limit=self.house.limit,
            clock=self.ledger.now,
            positions=positions,
        )

    def tidy(self) -> None:
        """What `dialer.rescue` does."""
        rescue(self.ledger, self.ledger.now(), lease=LEASE, search_after=FIRST_SEARCH)
        expire(self.ledger, self.ledger.now())
        runs.finish(self.ledger, self.ledger.now())
        fold(self.ledger)

    def follow(self) -> None:
        """Ask for outcomes."""
        self.following.follow(10)

    def settle(self) -> None:
        """Search for what is unknown."""
        self.settling.settle()

    def hang_up(self) -> None:
        """Hang up the calls of cancelled campaigns."""
        self.hanging_up.hang_up(10)

    def hear(self) -> None:
        """Take in contact events."""
        queue: Any = Mail(self, self.house.backends[self.side])
        Hearing(queue, self.following).hear()

    def take_back(self) -> None:
        """What a process does that was told to stop, when no worker of its side is left."""
        take_back_queued(self.ledger, self.side)

    def _send(self, claims: Sequence[Claim]) -> None:
        house = self.house
        for claim in claims:
            if house.happens(house.perils.send_fails):
                raise QueueUnavailable("Redis does not take the tasks")
            house.world.point(self)
            if not house.happens(house.perils.task_lost):
                house.queues[self.side].waiting.append(claim)
            if house.happens(house.perils.task_twice):
                house.queues[self.side].waiting.append(claim)

    # --- what an operator's command does ------------------------------------------------------------------

    def load(self, campaign: Campaign, people: Sequence[Recipient]) -> None:
        """`dialer load`."""
        put_list(
            self.ledger,
            campaign,
            laid_out(people),
            file_name="people.csv",
            columns=("phone",),
            now=self.ledger.now(),
        )

    def start(self, name: str, side: str) -> None:
        """`dialer start`, for real or as a trial: which of the two is said by the command."""
        with self.ledger.write() as db:
            exchange: Any = side
            runs.start_all(db, runs.find(db, name), self.ledger.now(), exchange=exchange)

    def pause(self, name: str) -> None:
        """`dialer pause`."""
        with self.ledger.write() as db:
            runs.pause_all(db, runs.find(db, name), "paused by an operator")

    def cancel(self, name: str, *, hang_up: bool) -> None:
        """`dialer cancel`."""
        with self.ledger.write() as db:
            runs.cancel_all(db, runs.find(db, name), self.ledger.now(), hang_up=hang_up)

    def requeue(self, name: str, asked: requeues.Asked) -> None:
        """`dialer requeue`."""
        with self.ledger.read() as db:
            run = runs.find(db, name)
        now = self.ledger.now()
        found = requeues.look(self.ledger, run.id, asked, now)
        requeues.ask_for_another(self.ledger, run, asked, found.attempt_ids, now, found.allowed_again)

    def suppress(self, phone: str, campaign_id: int = EVERY_CAMPAIGN) -> None:
        """`dialer suppress add`."""
        now = self.ledger.now()
        numbers = [suppressions.Number(phone, "asked to", now)]
        suppressions.put_numbers(self.ledger, numbers, campaign_id=campaign_id, now=now)

    def readmit(self, phone: str, campaign_id: int = EVERY_CAMPAIGN) -> None:
        """`dialer suppress remove`."""
        now = self.ledger.now()
        readmissions.remove_numbers(self.ledger, [phone], campaign_id=campaign_id, reason="asked to", now=now)


class House:
    """All hosts with their processes, the two backends, the queues and the ledger."""

    def __init__(
        self,
        world: World,
        desk: Desk,
        backends: dict[str, Backend],
        perils: Perils,
        *,
        hosts: int,
        most_calls: int,
        replay_window_seconds: float,
        after_commit: Callable[[], None],
    ) -> None:
        self.world = world
        self.desk = desk
        self.backends = backends
        self.perils = perils
        self.limit = CallLimit(most_calls, PATIENCE)
        self.replay_window_seconds = replay_window_seconds
        self.after_commit = after_commit
        self.clocks_off = [0.0] * hosts
        self.queues = {side: Queue() for side in backends}
        self.noted = Reached()
        """What Redis knows of how far the ledger has come."""
        self.committer: Process | None = None
        self.crashes = 0
        desk.committing = self._before_commit
        self.processes = [Process(self, host, side) for host in range(hosts) for side in backends]

    def happens(self, share: float) -> bool:
        """Whether a thing happens that does in this share of the cases."""
        return share > 0.0 and self.world.chance.random() < share

    def may_crash(self, process: Process) -> None:
        """Perhaps the process is killed here. Raises Crash."""
        if self.happens(self.perils.crash):
            self._killed(process)
            raise Crash

    def kill(self, process: Process) -> None:
        """Kill a process from outside, wherever its tasks stand."""
        self._killed(process)
        self.world.end_tasks_of(process)

    def calm(self) -> None:
        """From now on nothing goes wrong any more."""
        self.perils = replace(Perils(no_slot=0.0), own_clocks=self.perils.own_clocks)

    def close(self) -> None:
        """Let go of the ledger."""
        self.desk.committing = lambda: None

    def _before_commit(self) -> None:
        process = self.committer
        if process is not None and not process.dead and self.happens(self.perils.crash):
            self._killed(process)
            raise Crash

    def _killed(self, process: Process) -> None:
        """Its place is taken by a new one. Its other tasks find out when they are resumed."""
        if not process.dead:
            process.dead = True
            self.crashes += 1
            if process in self.processes:  # not an operator's command: that ends here
                new = Process(self, process.host, process.side)
                self.processes[self.processes.index(process)] = new
