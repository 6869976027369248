"""One episode: what is chosen for it, the steps that chance takes, and the quiet in which it ends."""

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

from campaigns.attempt import Outcome
from campaigns.campaign import Campaign
from campaigns.ledger import LedgerUnavailable
from campaigns.ledger.reached import Reached
from campaigns.ledger.requeues import Asked
from campaigns.mistake import Mistake
from campaigns.recipient import Recipient
from tests.model.backend import Backend, Manners
from tests.model.hosts import PATIENCE, Desk, House, Perils, Process
from tests.model.journal import Journal
from tests.model.oracle import Oracle
from tests.model.world import World

SIDES = ("connect", "sandbox")
INSTANCE = "10a4c4eb-f57e-4d4c-b602-bf39176ced07"
FLOW = "b0b8f2dd-ed1b-4c44-af36-ce189a178181"
ZONES = ("America/New_York", "Europe/Berlin", "UTC")
UNDECIDED = ("queued", "dialing", "returned")
CONTROL = ("feed", "tidy", "follow", "settle", "hang_up", "hear")
WINDOWS = ("11:00-12:05", "12:00-12:20", "00:00-12:40", "06:00-15:00", "12:03-20:00", "08:00-23:59")


# Whether there is anything to feed, to tidy up, to follow, to search for and to hang up. The model asks
# first: a process that finds nothing takes as much time as one that does something.
_OF_SIDE = "run_id IN (SELECT id FROM runs WHERE exchange = ?)"
_DUE = f"""
    WITH times AS (SELECT CAST(? AS BIGINT) AS fed, CAST(? AS BIGINT) AS tidied,
        CAST(? AS BIGINT) AS followed, CAST(? AS BIGINT) AS settled, CAST(? AS BIGINT) AS hung_up)
    SELECT
        EXISTS (SELECT 1 FROM recipients JOIN runs ON runs.id = run_id AND runs.state = 'running'
            WHERE recipients.state = 'waiting' AND due_at <= fed AND {_OF_SIDE}),
        EXISTS (SELECT 1 FROM attempts WHERE state IN ('queued', 'dialing') AND lease_until < tidied
            AND {_OF_SIDE}),
        EXISTS (SELECT 1 FROM attempts WHERE state IN ('placed', 'ended') AND follow_at <= followed
            AND {_OF_SIDE}),
        EXISTS (SELECT 1 FROM attempts WHERE state = 'unknown' AND settle_at <= settled AND {_OF_SIDE}),
        EXISTS (SELECT 1 FROM attempts JOIN runs ON runs.id = run_id AND hang_up_at <= hung_up
            WHERE attempts.state = 'placed' AND {_OF_SIDE}),
        (SELECT count(*) FROM attempts WHERE {_OF_SIDE}
            AND (state IN ('queued', 'dialing', 'placed') OR state = 'unknown' AND settle_at IS NOT NULL))
    FROM times
"""


@dataclass
class Count:
    """What episodes have done."""

    episodes: int = 0
    steps: int = 0
    rings: int = 0
    transitions: int = 0
    crashes: int = 0
    kinds: Counter[str] = field(default_factory=Counter)

    def add(self, other: "Count") -> None:
        """Add another's numbers."""
        self.episodes += other.episodes
        self.steps += other.steps
        self.rings += other.rings
        self.transitions += other.transitions
        self.crashes += other.crashes
        self.kinds += other.kinds


@dataclass
class Choices:
    """What is the same throughout one episode. Each episode has only some of the perils: some faults are seen
    only where others are absent."""

    replay_window_seconds: float
    most_calls: int
    hosts: int
    campaigns: int
    numbers: int
    suspends: float
    mischief: float
    """The share of the steps in which something goes wrong outside of the processes."""
    resumes: float
    """The share of the steps in which a suspended task goes on, if there is one."""
    stands_still: float
    """The share of the suspended tasks that go on only after seconds or minutes."""
    perils: Perils
    manners: dict[str, Manners]
    outages: bool
    refuses: bool
    """For its first hours no backend tells how calls end."""
    late: bool
    """Calls are listed too late: only what the ledger could know is held against it."""
    operators: float
    """The share of the steps that an operator takes."""
    same_numbers: bool
    hours: bool
    limits: bool
    misroutes: bool

    @classmethod
    def drawn(cls, chance: Random) -> "Choices":
        """Draw an episode's choices."""

        def some(share: float, most: float) -> float:
            return chance.uniform(0.0, most) if chance.random() < share else 0.0

        perils = Perils(
            crash=some(0.5, 0.02),
            ledger_away=some(0.3, 0.02),
            commit_unanswered=some(0.3, 0.02),
            no_slot=some(0.5, 0.1),
            pacer_away=some(0.2, 0.1),
            task_lost=some(0.4, 0.3),
            task_twice=some(0.5, 0.5),
            send_fails=some(0.3, 0.1),
        )
        return cls(
            replay_window_seconds=chance.choice((0.0, 5.0)),
            most_calls=chance.choice((2, 3, 10)),
            hosts=chance.choice((1, 2, 3)),
            campaigns=chance.choice((1, 2, 2, 3)),
            numbers=chance.choice((2, 4, 8)),
            suspends=chance.choice((0.05, 0.2, 0.5)),
            mischief=0.05,
            resumes=0.7,
            stands_still=0.01,
            perils=perils,
            manners={side: cls._manners(chance, some) for side in SIDES},
            outages=chance.random() < 0.4,
            refuses=chance.random() < 0.05,
            late=chance.random() < 0.1,
            operators=chance.choice((0.03, 0.08, 0.2)),
            same_numbers=chance.random() < 0.5,
            hours=chance.random() < 0.35,
            limits=chance.random() < 0.3,
            misroutes=chance.random() < 0.2,
        )

    @staticmethod
    def _manners(chance: Random, some: Callable[[float, float], float]) -> Manners:
        in_progress = chance.random() < 0.3
        # A call that is not listed while it lasts must be listed before the search gives up, or nobody can
        # tell (docs/reliability.md, "What is not promised").
        longest = (
            chance.choice((5.0, 30.0, 120.0, 200.0)) if not in_progress else chance.choice((30.0, 1500.0))
        )
        return Manners(
            lost_answer=some(0.6, 0.5),
            lost_request=some(0.4, 0.3),
            never_sent=some(0.3, 0.2),
            throttled=some(0.3, 0.2),
            capacity=some(0.2, 0.2),
            refused=some(0.2, 0.1),
            misconfigured=some(0.1, 0.05),
            longest_flight=chance.choice((0.1, 1.5)),
            shortest_call=1.0,
            longest_call=longest,
            answered=chance.choice((0.2, 0.5, 0.9)),
            odd_end=some(0.2, 0.3),
            visible_after=chance.choice((0.0, 10.0)),
            listed_after=chance.choice((1.0, 30.0, 60.0)),
            lists_in_progress=in_progress,
            hides_phone=some(0.15, 0.3),
            clock_off=chance.choice((0.0, 0.0, 20.0, -20.0, 100.0, -100.0)),
        )


class Episode:
    """One course of events, told by its seed alone."""

    def __init__(self, seed: str, desk: Desk, journal: Journal, mutate: "Mutate | None" = None) -> None:
        self.seed = seed
        self.chance = chance = Random(seed)
        self.choices = choices = Choices.drawn(chance)
        if mutate is not None:
            mutate(choices)
        desk.empty()
        journal.forget()
        self.world = World(chance, suspends=choices.suspends)
        self.names = [f"campaign-{n}" for n in range(choices.campaigns)]
        self.sides = {name: chance.choice(SIDES) for name in self.names}
        if choices.limits:
            # Limits are about one number in several campaigns at one place.
            choices.same_numbers = True
            self.sides = dict.fromkeys(self.names, chance.choice(SIDES))
        self.oracle = Oracle(
            self.world,
            journal,
            self.sides,
            most_calls=choices.most_calls,
            patience=PATIENCE.total_seconds(),
            replay_window_seconds=choices.replay_window_seconds,
            lenient=choices.late,
        )
        backends = {
            side: Backend(side, self.world, choices.manners[side], self.oracle.on_send, self.oracle.on_ring)
            for side in SIDES
        }
        self.oracle.backends = backends
        for backend in backends.values():
            if choices.refuses:
                backend.down["describe"] = (
                    chance.choice((3000.0, 9000.0)),
                    chance.choice(("forbidden", "500")),
                )
            if choices.late:
                backend.manners.listed_after, backend.manners.lists_in_progress = 900.0, False
                backend.manners.longest_call = min(backend.manners.longest_call, 120.0)
        self.house = House(
            self.world,
            desk,
            backends,
            choices.perils,
            hosts=choices.hosts,
            most_calls=choices.most_calls,
            replay_window_seconds=choices.replay_window_seconds,
            after_commit=self.oracle.after_commit,
        )
        self.house.clocks_off = [chance.choice((0.0, 120.0, -120.0, 240.0)) for _ in range(choices.hosts)]
        self.phones = [f"+1415555{n:04d}" for n in range(choices.numbers)]
        self.files: dict[str, dict[str, Any]] = {}
        self.people: dict[str, dict[str, Recipient]] = {name: {} for name in self.names}
        self.frozen: dict[int, float] = {}
        self.count = Count(episodes=1)

    def run(self, steps: int) -> Count:
        """Take so many steps, then let everything come to rest, and look. Raises Violation."""
        try:
            for name in self.names:
                self._operator("load", lambda process, name=name: self._load(process, name))
                if self.chance.random() < 0.8:
                    self._start(name)
            for _ in range(steps):
                self.step()
                self.count.steps += 1
            self._rest()
            self.oracle.after_commit()
            self.oracle.at_the_end()
        finally:
            self.world.close()
            self.house.close()
            self.count.rings = sum(len(each.rings) for each in self.house.backends.values())
            self.count.transitions = self.oracle.transitions
            self.count.crashes = self.house.crashes
        return self.count

    # --- what chance does -------------------------------------------------------------------------------

    def step(self) -> None:
        """One step."""
        chance = self.chance
        ready = [task for task in self.world.tasks if task.ready_at <= self.world.now]
        if ready and chance.random() < self.choices.resumes:
            task = chance.choice(ready)
            if chance.random() < self.choices.stands_still:
                # The process stands still: a suspended machine, a page fault that takes minutes.
                task.ready_at = self.world.now + chance.choice((3.0, 20.0, 40.0, 400.0))
                return
            self.world.resume(task)
            return
        if chance.random() < self.choices.operators:
            self._operate()
            return
        if chance.random() < self.choices.mischief:
            self._mischief()
            return
        busy = any(queue.waiting for queue in self.house.queues.values())
        if chance.random() < (0.2 if busy else 0.4) or len(self.world.tasks) > 12:
            self._time_passes()
            return
        self._work()

    def _work(self) -> None:
        side = self.chance.choice(SIDES)
        queue = self.house.queues[side]
        kinds = self._useful(side)
        if queue.waiting:
            kinds += ["dial"] * 8
        elif queue.delivered:
            kinds += ["dial"]
        if not kinds:
            self._time_passes()
            return
        process = self.chance.choice([each for each in self.house.processes if each.side == side])
        kind = self.chance.choice(kinds)
        if kind == "dial":
            self._deliver(process)
        else:
            self.spawn(process, kind, getattr(process, kind))

    def _useful(self, side: str, *, thorough: bool = False) -> list[str]:
        """The kinds of work that may find something to do; now and then all of them."""
        if self.chance.random() < 0.03:
            return list(CONTROL)
        now = int(self.world.utc().timestamp() * 1e6)
        row = self.oracle.journal.query(_DUE, *[now] * 5, *[side] * 6)[0]
        feed, tidy, follow, settle, hang_up, under_way = row
        kinds = []
        # With as many calls under way as there may be, it seldom finds room.
        if feed and (under_way < self.choices.most_calls or thorough or self.chance.random() < 0.2):
            kinds += ["feed"]
        if tidy:
            kinds += ["tidy"]
        if follow:
            kinds += ["follow"]
        if settle:
            kinds += ["settle"]
        if hang_up:
            kinds += ["hang_up"]
        if self.house.backends[side].events:
            kinds += ["hear"]
        return kinds

    def _deliver(self, process: Process) -> None:
        queue = self.house.queues[process.side]
        if self.choices.misroutes and self.chance.random() < 0.2:
            queue = self.house.queues[self.chance.choice(SIDES)]
        if queue.waiting and self.chance.random() < 0.95:
            at = 0 if self.chance.random() < 0.7 else self.chance.randrange(len(queue.waiting))
            claim = queue.waiting.pop(at)
            queue.delivered = [*queue.delivered[-5:], claim]
        elif queue.delivered:
            claim = self.chance.choice(queue.delivered)
        else:
            return
        self.spawn(process, "dial", lambda: process.dial(claim))

    def spawn(self, process: Process, kind: str, does: Callable[[], object]) -> None:
        """Let a process begin something, as its workers do: without the ledger, nothing comes of it."""

        def unless_ledger_is_away() -> None:
            with suppress(LedgerUnavailable):
                does()

        self.count.kinds[kind] += 1
        self.world.note(f"host {process.host} ({process.side}) begins to {kind}")
        self.world.spawn(process, kind, unless_ledger_is_away)

    def _time_passes(self) -> None:
        chance, world = self.chance, self.world
        waking = [task.ready_at for task in world.tasks if task.ready_at > world.now]
        busy = any(queue.waiting for queue in self.house.queues.values())
        dice = chance.random()
        edge = self._next_edge() if self.choices.hours else None
        if edge is not None and chance.random() < (0.4 if edge < world.now + 30.0 else 0.1):
            # Slowly towards the end of the hours, and then over it.
            until = edge + chance.choice((-20.0, -5.0, -1.0, -0.2, 0.0, 0.5))
        elif waking and chance.random() < 0.8:
            # A process that sleeps wakes up about when it wanted to, as a rule.
            until = min(waking) + chance.choice((0.0, 0.0, 0.3, 2.0))
        elif busy and chance.random() < 0.8:
            until = world.now + chance.uniform(0.0, 3.0)
        elif dice < 0.6:
            until = self._next_time(most=600.0)
        elif dice < 0.85:
            until = world.now + chance.uniform(0.0, 3.0)
        elif dice < 0.95:
            until = world.now + chance.uniform(3.0, 60.0)
        elif dice < 0.99:
            until = world.now + chance.uniform(60.0, 400.0)
        else:
            until = world.now + chance.uniform(400.0, 8000.0)
        world.advance(until)

    def _next_edge(self) -> float | None:
        """When the next window of any campaign opens or closes; None where none has any."""
        now = self.world.utc()
        edges = []
        for file in self.files.values():
            hours = file.get("calling_hours")
            if hours is None:
                continue
            zones = ZONES if hours["time_zone"] == "recipient" else [hours["time_zone"]]
            for zone in zones:
                local = now.astimezone(ZoneInfo(zone))
                for text in hours["weekdays"].split("-"):
                    hour, minute = map(int, text.split(":"))
                    edge = local.replace(hour=hour, minute=minute, second=0, microsecond=0)
                    edges.append((edge - local).total_seconds() % 86_400.0)
        return self.world.now + min(edges) if edges else None

    def _mischief(self) -> None:
        chance, world, house = self.chance, self.world, self.house
        kind = chance.choice(("kill", "outage", "outage", "flush", "clock", "stop", "hold", "hold"))
        self.count.kinds[kind] += 1
        match kind:
            case "kill" if house.perils.crash:
                house.kill(chance.choice(house.processes))
            case "outage" if self.choices.outages:
                operation = chance.choice(
                    ("describe", "describe", "describe", "search", "search", "stop", "place")
                )
                how = chance.choice(("500", "timeout", "forbidden", "unreachable"))
                if operation == "place":
                    how = "500"
                seconds = chance.choice((20.0, 120.0, 700.0, 5000.0))
                house.backends[chance.choice(SIDES)].down[operation] = (world.now + seconds, how)
            case "flush":
                queue = house.queues[chance.choice(SIDES)]
                queue.waiting = []
                house.noted = Reached()
            case "clock":
                house.clocks_off[chance.randrange(self.choices.hosts)] = chance.choice((0.0, 120.0, -200.0))
            case "hold":
                self._search_while_answers_come()
            case "stop":
                process = chance.choice(house.processes)
                self.spawn(process, "take_back", process.take_back)

    def _search_while_answers_come(self) -> None:
        """Answers to dial workers take as long as they may, and meanwhile what is unknown is searched for."""
        world = self.world
        for task in world.tasks:
            if task.kind == "dial":
                task.ready_at = max(task.ready_at, world.now + self.chance.uniform(5.0, 29.0))
        world.advance(min(self._next_time(), world.now + self.chance.uniform(0.0, 15.0)))
        for side in SIDES:
            process = next(each for each in self.house.processes if each.side == side)
            self.spawn(process, "settle", process.settle)

    # --- what operators do --------------------------------------------------------------------------------

    def _operate(self) -> None:
        name = self.chance.choice(self.names)
        kind = self.chance.choice(
            (
                "load",
                "load",
                "start",
                "start",
                "pause",
                "cancel",
                "requeue",
                "suppress",
                "readmit",
                "edit",
                "edit",
            )
        )
        match kind:
            case "load":
                self._operator(kind, lambda process: self._load(process, name))
            case "start":
                self._start(name)
            case "pause":
                self._operator(kind, lambda process: process.pause(name))
            case "cancel":
                if self.chance.random() < 0.2:
                    hang_up = self.chance.random() < 0.5
                    self._operator(kind, lambda process: process.cancel(name, hang_up=hang_up))
            case "requeue":
                asked = self._asked()
                self._operator(kind, lambda process: process.requeue(name, asked))
            case "suppress":
                phone = self._some_phone()
                self._operator(kind, lambda process: process.suppress(phone))
            case "readmit":
                phone = self._some_phone()
                self._operator(kind, lambda process: process.readmit(phone))
            case "edit":
                self._operator(kind, lambda process: self._edit(process, name))

    def _some_phone(self) -> str:
        """Best one that is about to be called: the others are suppressed without a race."""
        states = self.oracle.states
        on_its_way = [self.oracle.by_id[each].phone for each, state in states.items() if state in UNDECIDED]
        return self.chance.choice(on_its_way or self.phones)

    def _operator(self, kind: str, does: Callable[[Process], None]) -> None:
        process = Process(self.house, self.chance.randrange(self.choices.hosts), "connect")

        def unless_mistaken() -> None:
            with suppress(Mistake):
                does(process)

        self.spawn(process, kind, unless_mistaken)

    def _start(self, name: str) -> None:
        """Start a campaign, and now and then by a command of the other side, which must not do it."""
        decided = "SELECT 1 FROM campaigns WHERE name = ? AND exchange IS NOT NULL"
        if self.chance.random() < 0.1 and self.oracle.journal.query(decided, name):
            other = SIDES[self.sides[name] == SIDES[0]]
            self._operator("start", lambda process: process.start(name, other))
            return
        self.oracle.started.add(name)
        self._operator("start", lambda process: process.start(name, self.sides[name]))

    def _asked(self) -> Asked:
        outcomes = self.chance.sample(
            [Outcome.BUSY, Outcome.NO_ANSWER, Outcome.ANSWERED, Outcome.NO_OUTCOME], self.chance.randint(0, 2)
        )
        return Asked(
            outcomes=frozenset(outcomes),
            refused=self.chance.random() < 0.3,
            unknown=self.chance.random() < 0.3,
            suppressed=self.chance.random() < 0.3,
        )

    def _load(self, process: Process, name: str) -> None:
        people = self.people[name]
        for _ in range(self.chance.randint(3, 9)):
            key = f"key-{self.chance.randrange(30)}"
            if key not in people:
                people[key] = self._person(len(people) + 2, key)
        process.load(Campaign.model_validate(self._file(name)), list(people.values()))

    def _edit(self, process: Process, name: str) -> None:
        file = self._file(name)
        changed = self._drawn(name)
        table = self.chance.choice(("redial", "calling_hours", "limits", "pacing"))
        self.files[name] = {key: value for key, value in file.items() if key != table} | {
            key: value for key, value in changed.items() if key == table
        }
        process.load(Campaign.model_validate(self.files[name]), [])

    def _person(self, line: int, key: str) -> Recipient:
        phone = self.chance.choice(self.phones)
        if not self.choices.same_numbers:
            phone = f"+1415777{abs(hash_of(key)) % 10_000:04d}"
        return Recipient(
            line=line,
            key=key,
            phone=phone,
            attributes={},
            time_zone=None,
            row={"phone": phone},
            zones=self.chance.choice((*ZONES, None)),
        )

    def _file(self, name: str) -> dict[str, Any]:
        if name not in self.files:
            self.files[name] = self._drawn(name)
        return self.files[name]

    def _drawn(self, name: str) -> dict[str, Any]:
        chance = self.chance
        after: dict[str, Any] = {"busy": chance.choice(("1m", "10m"))}
        if chance.random() < 0.7:
            after["no_answer"] = chance.choice(("30s", "2m", "1h"))
        if chance.random() < 0.5:
            after["no_outcome"] = chance.choice(("1m", "5m"))
        file: dict[str, Any] = {
            "name": name,
            "connect": {
                "instance_id": INSTANCE,
                "contact_flow_id": FLOW,
                "source_phone_number": "+14155550199",
            },
            "redial": {"max_attempts": chance.choice((1, 2, 3)), **after},
        }
        if chance.random() < 0.3:
            file["redial"]["when_unknown"] = chance.choice(("hold", "redial"))
        if self.choices.hours and chance.random() < 0.7:
            window = chance.choice(WINDOWS)
            file["calling_hours"] = {
                "weekdays": window,
                "weekend": window,
                "time_zone": chance.choice((*ZONES, "recipient")),
            }
        if self.choices.limits and chance.random() < 0.8:
            file["limits"] = {"per_number_per_day": chance.choice((1, 2))}
        if chance.random() < 0.2:
            file["pacing"] = {"calls_per_second": chance.choice((0.1, 1.0))}
        if name.endswith("0") and hash_of(self.seed) % 5 == 0:
            file["connect"]["search_attribute"] = "DialerToken"
        if name.endswith("1") and hash_of(self.seed) % 4 == 0:
            file["connect"]["name"] = "call {client_token}"
        return file

    # --- the rest ---------------------------------------------------------------------------------------

    def _rest(self) -> None:
        """Nothing goes wrong any more, and all processes do their work until nothing moves."""
        house, world = self.house, self.world
        house.calm()
        world.suspends = 0.0
        for backend in house.backends.values():
            backend.down.clear()
            calm = backend.manners
            calm.lost_answer = calm.lost_request = calm.never_sent = calm.throttled = 0.0
            calm.capacity = calm.refused = calm.misconfigured = 0.0
        self._finish_tasks()
        workers = [next(each for each in house.processes if each.side == side) for side in SIDES]
        quiet = 0
        for _ in range(400):
            before = self.oracle.transitions
            for process in workers:
                for kind in self._useful(process.side, thorough=quiet > 0):
                    self.spawn(process, kind, getattr(process, kind))
                    self._finish_tasks()
                queue = house.queues[process.side]
                while queue.waiting:
                    claim = queue.waiting.pop(0)
                    self.spawn(process, "dial", lambda process=process, claim=claim: process.dial(claim))
                    self._finish_tasks()
            moved = self.oracle.transitions != before
            quiet = 0 if moved else quiet + 1
            if quiet > 3 and self._nothing_to_come():
                break
            world.advance(self._next_time())
        for process in workers:
            self.spawn(process, "tidy", process.tidy)
            self._finish_tasks()

    def _nothing_to_come(self) -> bool:
        """Whether nothing is in progress, and the calling hours of all who are due soon are closed."""
        query = self.oracle.journal.query
        if query("SELECT 1 FROM recipients WHERE state = 'in_progress' LIMIT 1"):
            return False
        now = int(self.world.utc().timestamp() * 1e6)
        rows = query(
            "SELECT p.id, p.due_at FROM recipients p JOIN runs r ON r.id = p.run_id"
            " WHERE p.state = 'waiting' AND r.state = 'running' AND p.due_at < ?",
            now + int(4 * 3600 * 1e6),
        )
        return all(due_at <= now and self.oracle.is_closed(who) for who, due_at in rows)

    def _next_time(self, most: float = 3600.0) -> float:
        """When the next thing is due, in the ledger or outside; `most` seconds from now at most."""
        now = int(self.world.utc().timestamp() * 1e6)
        row = self.oracle.journal.query(
            "SELECT min(at) FROM ("
            " SELECT min(due_at) AS at FROM recipients WHERE state = 'waiting' AND due_at > ?"
            " UNION ALL SELECT min(settle_at) FROM attempts WHERE state = 'unknown' AND settle_at > ?"
            " UNION ALL SELECT min(follow_at) FROM attempts WHERE state = 'placed' AND follow_at > ?"
            " UNION ALL SELECT min(lease_until) FROM attempts WHERE state IN ('queued', 'dialing')"
            " ) AS times",
            now,
            now,
            now,
        )[0][0]
        due = [self.world.now + most]
        if row is not None:
            due.append(self.oracle._instant(row) + 0.001)
        event = self.world.next_event()
        if event is not None:
            due.append(event + 0.001)
        return max(self.world.now + 0.5, min(due))

    def _finish_tasks(self) -> None:
        """Let all tasks come to their ends."""
        for _ in range(10_000):
            if not self.world.tasks:
                return
            task = min(self.world.tasks, key=lambda each: each.ready_at)
            self.world.advance(max(self.world.now, task.ready_at))
            self.world.resume(task)
        raise AssertionError("a task goes on for ever")


Mutate = Callable[[Choices], None]


def hash_of(text: str) -> int:
    """A number that depends on the text alone, in all processes."""
    return sum(ord(letter) * 31**n for n, letter in enumerate(text)) & 0x7FFFFFFF
