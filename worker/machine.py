"""One process's parts, each made when it is first needed, and all of them put together here."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property, lru_cache
from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from campaigns.client_token import Tokens
from campaigns.ledger import Ledger, open_ledger
from campaigns.ledger.clock import monotonic, wall_clock
from campaigns.problem import Problem, ProblemCode
from campaigns.settings import load_settings
from worker.answers import Answers
from worker.braking import answers
from worker.connect import Connect
from worker.dial import Dialer, Timing
from worker.event_queue import EventQueue
from worker.fire import Firing
from worker.follow import Following
from worker.hands import Hands
from worker.hang_up import HangingUp
from worker.messages import DroppedMessages
from worker.pacer import Pacer, Rate, bucket_name
from worker.positions import Positions, prefix_of
from worker.redis_address import RedisAddress, read_redis_url
from worker.settings import CONNECT_TIMEOUT_SECONDS, DialerSettings
from worker.settle import FIRST_SEARCH, Settling
from worker.work import Work

_CODES = {
    "follow": ProblemCode.OUTCOMES_NOT_TOLD,
    "settle": ProblemCode.UNKNOWNS_NOT_SEARCHED,
    "hang_up": ProblemCode.NOT_HUNG_UP,
    "events": ProblemCode.EVENTS_NOT_READ,
    "messages": ProblemCode.MALFORMED_MESSAGES,
    "version": ProblemCode.OTHER_VERSION,
}
"""The code of a problem that was noted without one, by what it was noted for."""

_DIAL_PROBLEM_SECONDS = 120.0
"""A problem of dialing that has not occurred again for this long is over."""


@dataclass(frozen=True)
class Machine:
    """One process's parts, each made when it is first needed."""

    settings: DialerSettings
    stopping: threading.Event
    problems: dict[str, Problem] = field(default_factory=dict)
    """What keeps which verb from its work, for the status."""
    noted: dict[str, float] = field(default_factory=dict)
    """When each of them was last noted, by the monotonic clock."""
    work: Work = field(default_factory=Work)
    """What this process did lately."""
    answers: Answers = field(default_factory=Answers)
    """What Connect has answered to this process when it was asked about calls."""

    @cached_property
    def ledger(self) -> Ledger:
        """The ledger."""
        return open_ledger(self.settings.ledger_url)

    def now(self) -> datetime:
        """The present by the ledger's clock, in UTC: the same on all machines."""
        return self.ledger.now()

    @cached_property
    def redis_address(self) -> RedisAddress:
        """Where Redis is, and how to connect to it."""
        return read_redis_url(self.settings.redis)

    @cached_property
    def redis(self) -> Redis:
        """Redis, for the pacer and the ledger's position."""
        return self.redis_address.client(
            socket_timeout=5,
            socket_connect_timeout=3,
            health_check_interval=25,
            # One quick second try for a connection that went stale; beyond that nobody dials.
            retry=Retry(NoBackoff(), 1),
        )

    @cached_property
    def dropped(self) -> DroppedMessages:
        """The messages in Redis that were not the dialer's."""
        return DroppedMessages(lambda problem: self.note("messages", problem))

    @cached_property
    def prefix(self) -> str:
        """What the names of the queues and of all keys in Redis begin with: the ledger's own.

        Two ledgers on one Redis database would take each other's tasks. Only the pace is shared: the quota is
        the account's.
        """
        return prefix_of(self.ledger)

    @cached_property
    def positions(self) -> Positions:
        """How far the ledger has come, as it is noted in Redis."""
        return Positions(self.redis, self.prefix, self.ledger.reached)

    @cached_property
    def connect(self) -> Connect:
        """Amazon Connect."""
        return Connect(
            exchange=self.settings.exchange,
            read_timeout_seconds=self.settings.read_timeout_seconds,
            connect_timeout_seconds=CONNECT_TIMEOUT_SECONDS,
            max_connections=self.settings.dial_threads + 4,
        )

    @property
    def endpoint(self) -> str | None:
        """Where the calls go, if that is not AWS's own address. Raises Misconfigured."""
        return self.connect.elsewhere

    @cached_property
    def start_pacer(self) -> Pacer:
        """The account's rate of StartOutboundVoiceContact."""
        rate = Rate(self.settings.calls_per_second, self.settings.burst)
        return self._pacer("StartOutboundVoiceContact", rate)

    @cached_property
    def describe_pacer(self) -> Pacer:
        """The account's rate of DescribeContact."""
        per_second = self.settings.describe_per_second
        return self._pacer("DescribeContact", Rate(per_second, max(1, int(per_second * 1.5))))

    @cached_property
    def stop_pacer(self) -> Pacer:
        """The account's rate of StopContact: a quota of its own, as large as DescribeContact's."""
        per_second = self.settings.describe_per_second
        return self._pacer("StopContact", Rate(per_second, max(1, int(per_second * 1.5))))

    @cached_property
    def search_pacer(self) -> Pacer:
        """The account's rate of SearchContacts."""
        per_second = self.settings.search_per_second
        return self._pacer("SearchContacts", Rate(per_second, max(1, int(per_second * 2))))

    @cached_property
    def tokens(self) -> Tokens:
        """What names the attempts for Connect."""
        return tokens_of(self.settings)

    @property
    def search_after(self) -> timedelta:
        """From `unknown` until the call is first searched for."""
        return min(FIRST_SEARCH, timedelta(seconds=self.settings.settle_seconds))

    @cached_property
    def settling(self) -> Settling:
        """What searches for unknown calls."""
        return Settling(
            ledger=self.ledger,
            connect=self.connect,
            search_pacer=self.search_pacer,
            describe_pacer=self.describe_pacer,
            exchange=self.settings.exchange,
            patience=timedelta(seconds=self.settings.settle_seconds),
            follow=self.settings.follow_seconds > 0,
            clock=self.now,
            stopping=self.stopping.is_set,
            report_problem=lambda problem: self.note("settle", problem),
        )

    def following(self, call_over: Callable[[], None]) -> Following:
        """What asks for outcomes."""
        return Following(
            ledger=self.ledger,
            connect=self.connect,
            pacer=self.describe_pacer,
            exchange=self.settings.exchange,
            # Calls that were placed while outcomes were asked for are followed to their ends all the same.
            first=timedelta(seconds=self.settings.follow_seconds or 65.0),
            limit=self.settings.call_limit,
            clock=self.now,
            stopping=self.stopping.is_set,
            call_over=call_over,
            report_problem=lambda problem: self.note("follow", problem),
            answers=self.answers,
            # Events tell without the right to ask: then it is missed only where a look is needed.
            probes=self.settings.events_queue_url is None,
        )

    @cached_property
    def hanging_up(self) -> HangingUp:
        """What hangs up the calls in progress of cancelled campaigns."""
        return HangingUp(
            ledger=self.ledger,
            connect=self.connect,
            pacer=self.stop_pacer,
            exchange=self.settings.exchange,
            longest=self.settings.call_limit.longest,
            clock=self.now,
            stopping=self.stopping.is_set,
            report_problem=lambda problem: self.note("hang_up", problem),
        )

    @cached_property
    def firing(self) -> Firing:
        """What begins the runs of schedules."""
        return Firing(
            ledger=self.ledger,
            exchange=self.settings.exchange,
            rejects=self.settings.data_dir / "rejects",
            clock=self.now,
            stopping=self.stopping.is_set,
            hands=Hands(),
        )

    @cached_property
    def event_queue(self) -> EventQueue:
        """The queue of contact events; only where DIALER_EVENTS_QUEUE_URL names one."""
        assert self.settings.events_queue_url is not None
        return EventQueue(self.settings.events_queue_url)

    def note(self, verb: str, problem: str | None, code: str | None = None) -> None:
        """Remember what keeps a verb from its work, or that nothing does.

        code: a ProblemCode; by default the problem's own, or else the verb's.
        """
        if problem is None:
            self.problems.pop(verb, None)
            return
        if code is None:
            code = problem.code if isinstance(problem, Problem) else _CODES.get(verb, ProblemCode.OTHER)
        self.noted[verb] = self.work.monotonic()
        self.problems[verb] = Problem(problem, code)

    def current_problems(self) -> list[Problem]:
        """What keeps this process from its work now, as its verbs have noted it."""
        now = self.work.monotonic()
        return [
            problem
            for verb, problem in list(self.problems.items())
            # Only a placed call takes it back, and there may be none to place for days.
            if verb != "dial" or now - self.noted.get(verb, now) < _DIAL_PROBLEM_SECONDS
        ]

    @property
    def clock_skew(self) -> timedelta:
        """How far the ledger's clock is ahead of this machine's."""
        return self.ledger.real_now() - wall_clock()

    @cached_property
    def dialer(self) -> Dialer:
        """What dials."""
        follow = self.settings.follow_seconds
        return Dialer(
            ledger=self.ledger,
            pacer=self.start_pacer,
            connect=self.connect,
            exchange=self.settings.exchange,
            timing=Timing(
                lease=self.settings.lease,
                send_within_seconds=self.settings.send_within_seconds,
                replay_window_seconds=self.settings.replay_window_seconds,
                follow_after=timedelta(seconds=follow) if follow else None,
                search_after=self.search_after,
            ),
            clock=self.now,
            monotonic=monotonic,
            # Not the sleep that ends with the process: what has been answered must still be written down.
            sleep=time.sleep,
            stopping=self.stopping.is_set,
            report_problem=lambda problem: self.note("dial", problem),
            speed=lambda: self.connect.speed,
            clock_skew=lambda: self.clock_skew,
            answers=lambda instance_id: answers(self.connect, instance_id),
            # A file has no standby that could lack the last moments: it is enough that each round of feeding
            # notes how far it has come, and spares each call a question.
            note_position=(lambda _: None) if self.ledger.is_sqlite else self.positions.note,
        )

    def sleep(self, seconds: float) -> None:
        """Wait, but no longer than until this process is told to stop; after that, in short steps.

        Without the steps, what still has to be written down would spin around a ledger that is away.
        """
        if self.stopping.is_set():
            time.sleep(min(seconds, 0.1))
        else:
            self.stopping.wait(seconds)

    def _pacer(self, api: str, rate: Rate) -> Pacer:
        settings = self.settings
        account = settings.account if settings.exchange == "connect" else f"{settings.account}-sandbox"
        bucket = bucket_name(account, self.connect.region, api)
        return Pacer(self.redis, bucket, rate, sleep=self.sleep, monotonic=monotonic)


def tokens_of(settings: DialerSettings) -> Tokens:
    """What names the attempts for Connect, with these settings' secret."""
    secret = settings.token_secret
    return Tokens(secret.get_secret_value().encode() if secret else None)


@lru_cache(maxsize=1)
def machine() -> Machine:
    """This process's parts."""
    return Machine(settings=load_settings(DialerSettings), stopping=threading.Event())


def tcp_only(redis_url: str) -> dict[str, Any]:
    """Options that a Unix socket does not know."""
    return {} if redis_url.startswith("unix:") else {"socket_keepalive": True}
