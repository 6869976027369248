"""The composition root: the Celery app, its schedule, and the one place where the parts are put together.

celery -A worker.app worker -Q dial -P threads
celery -A worker.app worker -Q control -P threads
celery -A worker.app beat
"""

import sys
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cached_property, lru_cache
from typing import Any

from celery import Celery
from celery.signals import beat_init, worker_init, worker_ready, worker_shutting_down
from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from campaigns.ledger import Ledger, open_ledger
from campaigns.mistake import Mistake
from campaigns.settings import load_settings
from worker.children import stop_with_parent
from worker.connect import Connect
from worker.dial import Dialer, Timing
from worker.pacer import Pacer, Rate, bucket_name
from worker.settings import CONNECT_TIMEOUT_SECONDS, DialerSettings

FEED_EVERY_SECONDS = 1.0
FOLLOW_EVERY_SECONDS = 1.0
RESCUE_EVERY_SECONDS = 5.0


def monotonic() -> float:
    """Seconds that also pass while the machine sleeps: a lease does not wait for a suspended worker."""
    if sys.platform == "linux":
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


def now() -> datetime:
    """The present, in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True)
class Machine:
    """One process's parts, each made when it is first needed."""

    settings: DialerSettings
    stopping: threading.Event

    @cached_property
    def ledger(self) -> Ledger:
        """The ledger."""
        return open_ledger(self.settings.ledger_url)

    @cached_property
    def redis(self) -> "Redis[bytes]":
        """Redis, for the pacer."""
        return Redis.from_url(
            self.settings.redis,
            socket_timeout=5,
            socket_connect_timeout=3,
            health_check_interval=25,
            # One quick second try for a connection that went stale; beyond that nobody dials.
            retry=Retry(NoBackoff(), 1),
            **tcp_only(self.settings.redis),
        )

    @cached_property
    def connect(self) -> Connect:
        """Amazon Connect."""
        return Connect(
            read_timeout_seconds=self.settings.read_timeout_seconds,
            connect_timeout_seconds=CONNECT_TIMEOUT_SECONDS,
            max_connections=self.settings.dial_threads + 4,
        )

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
            ),
            clock=now,
            monotonic=monotonic,
            sleep=self.sleep,
            stopping=self.stopping.is_set,
        )

    def sleep(self, seconds: float) -> None:
        """Wait, but no longer than until this process is told to stop."""
        self.stopping.wait(seconds)

    def _pacer(self, api: str, rate: Rate) -> Pacer:
        settings = self.settings
        account = settings.account if settings.exchange == "connect" else f"{settings.account}-sandbox"
        bucket = bucket_name(account, self.connect.region, api)
        return Pacer(self.redis, bucket, rate, sleep=self.sleep, monotonic=monotonic)


@lru_cache(maxsize=1)
def machine() -> Machine:
    """This process's parts."""
    return Machine(settings=load_settings(DialerSettings), stopping=threading.Event())


def broker_url(redis_url: str) -> str:
    """The URL by which kombu knows the same Redis."""
    return redis_url.replace("unix://", "redis+socket://", 1)


def tcp_only(redis_url: str) -> dict[str, Any]:
    """Options that a Unix socket does not know."""
    return {} if redis_url.startswith("unix:") else {"socket_keepalive": True}


def make_app(settings: DialerSettings) -> Celery:
    """The Celery app for these settings."""
    app = Celery("dialer", include=["worker.tasks"])
    control, expires = settings.control_queue, 10
    app.conf.update(
        broker_url=broker_url(settings.redis),
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={
            # Unacknowledged tasks come again after this; the ledger refuses them (celery#2599).
            "visibility_timeout": 3600,
            "socket_timeout": 10,
            "socket_connect_timeout": 3,
            "health_check_interval": 25,
            **tcp_only(settings.redis),
        },
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        task_acks_late=True,
        # Neither may send a task again by itself: a lost task is the ledger's business.
        task_reject_on_worker_lost=False,
        task_publish_retry=False,
        worker_prefetch_multiplier=1,
        worker_concurrency=settings.dial_threads,
        # A second signal still waits for the calls whose request has left.
        worker_soft_shutdown_timeout=CONNECT_TIMEOUT_SECONDS + settings.read_timeout_seconds,
        worker_redirect_stdouts=False,
        worker_send_task_events=False,
        task_default_queue=control,
        task_create_missing_queues=True,
        timezone="UTC",
        beat_scheduler="worker.beat:DoorbellScheduler",
        beat_max_loop_interval=1,
        beat_schedule={
            name: {
                "task": f"dialer.{name}",
                "schedule": every,
                "options": {"queue": control, "expires": expires},
            }
            for name, every in (
                ("feed", FEED_EVERY_SECONDS),
                ("follow", FOLLOW_EVERY_SECONDS),
                ("rescue", RESCUE_EVERY_SECONDS),
            )
        },
    )
    return app


def _app_or_exit() -> Celery:
    try:
        return make_app(machine().settings)
    except Mistake as mistake:
        # `celery -A worker.app …` imports this module, and shows a traceback for anything else.
        print(f"dialer: {mistake}", file=sys.stderr)  # noqa: T201
        raise SystemExit(2) from None


app = _app_or_exit()


@worker_init.connect  # type: ignore[untyped-decorator] # Celery has no types
@beat_init.connect  # type: ignore[untyped-decorator] # Celery has no types
def _open(**_: Any) -> None:
    """Say at once what is wrong with the ledger or the AWS settings, not with the first call."""
    stop_with_parent()
    try:
        machine().ledger  # noqa: B018
        machine().connect.region  # noqa: B018
    except Mistake as mistake:
        print(f"dialer: {mistake}", file=sys.stderr)  # noqa: T201
        raise SystemExit(2) from None


@worker_ready.connect  # type: ignore[untyped-decorator] # Celery has no types
def _report_worker(sender: Any, **_: Any) -> None:
    from worker.health import report

    queues = sender.app.amqp.queues.consume_from
    report(machine(), "dial" if machine().settings.dial_queue in queues else "control")


@beat_init.connect  # type: ignore[untyped-decorator] # Celery has no types
def _report_beat(**_: Any) -> None:
    from worker.health import report

    report(machine(), "beat")


@worker_shutting_down.connect  # type: ignore[untyped-decorator] # Celery has no types
def _stop(**_: Any) -> None:
    machine().stopping.set()
