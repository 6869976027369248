"""The Celery app: its settings, its schedule, and what happens when a process starts and stops.

celery -A worker.app worker -Q dial -P threads
celery -A worker.app worker -Q control -P threads
celery -A worker.app beat
"""

import atexit
import logging
import os
import signal
import threading
import time
from types import FrameType
from typing import Any
from urllib.parse import quote

from celery import Celery
from celery.signals import (
    after_setup_logger,
    after_setup_task_logger,
    beat_init,
    worker_init,
    worker_ready,
    worker_shutting_down,
)
from celery.utils.log import get_multiprocessing_logger
from celery.worker import state
from kombu.exceptions import OperationalError as BrokerUnavailable

from campaigns.ledger import LedgerUnavailable
from campaigns.ledger.health import BEAT
from campaigns.ledger.identity import read_identity
from campaigns.ledger.positions import check
from campaigns.mistake import Mistake
from campaigns.plain_logs import make_plain, plain_errors
from campaigns.plain_text import complain
from campaigns.problem import ProblemCode
from campaigns.whereabouts import refuse_another_ledger
from worker import broker
from worker.beat import DoorbellScheduler
from worker.children import has_parent, stop_with_parent
from worker.connect_errors import Misconfigured, NeverSent
from worker.consumer import ConsumerWatch, watch_looks
from worker.events import listen
from worker.health import report
from worker.machine import machine, tcp_only
from worker.positions import PositionNotNoted
from worker.redis_address import read_redis_url
from worker.redis_start import find_trouble, refuse, warnings_of
from worker.redis_trouble import Trouble
from worker.rehearsal_speed import every
from worker.rehearsing import follow_clock
from worker.settings import CONNECT_TIMEOUT_SECONDS, DialerSettings
from worker.work import TICK
from worker.worker_options import check_options

log = logging.getLogger(__name__)

broker.install()
watch_looks(lambda queues: machine().work.looked(queues))

_REDIS_CODES = {
    "OOM": ProblemCode.REDIS_FULL,
    "READONLY": ProblemCode.REDIS_READ_ONLY,
    "MISCONF": ProblemCode.REDIS_NOT_SAVING,
    "NOPERM": ProblemCode.REDIS_NOT_PERMITTED,
    "NOAUTH": ProblemCode.REDIS_NOT_PERMITTED,
    "WRONGPASS": ProblemCode.REDIS_NOT_PERMITTED,
}
"""By Redis's own codes; of any other, Redis counts as away."""

_ENOUGH_FOR_BOTH = 8
"""Threads with which a worker of both queues does not keep calls waiting: rounds take five at most."""

_LEAVING_SECONDS = 4
"""How long a worker that has no call under way any more may take to stop."""

FEED_EVERY_SECONDS = 1.0
FOLLOW_EVERY_SECONDS = 1.0
SETTLE_EVERY_SECONDS = 2.0
HANG_UP_EVERY_SECONDS = 1.0
FIRE_EVERY_SECONDS = 5.0
RESCUE_EVERY_SECONDS = 5.0


def broker_url(redis_url: str) -> str:
    """The URL by which kombu's log names the same Redis; how to connect is in `broker.Link`, and secret."""
    address = read_redis_url(redis_url)
    if address.scheme != "unix":
        return address.shown
    return f"redis+socket://{quote(address.options['path'])}?virtual_host={address.options['db']}"


def make_app(settings: DialerSettings) -> Celery:
    """The Celery app for these settings."""
    app = Celery("dialer", include=["worker.tasks"], amqp=broker.PatientAMQP)
    control = settings.control_queue
    app.conf.update(
        broker_url=broker_url(settings.redis),
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_transport_options={
            # Redis keeps no copy of a task that somebody has taken: two more questions a task, for what the
            # ledger knows anyway, and feeds again when its lease is over instead of in an hour (celery#2599).
            "ack_emulation": False,
            # No task goes before another, so there is one list to look at, and not one for each priority.
            "priority_steps": [0],
            "socket_timeout": 10,
            "socket_connect_timeout": 3,
            "health_check_interval": 25,
            # Publishing fails soon while Redis is away. What waits says so by itself (worker/broker.py).
            "max_retries": 1,
            "interval_start": 0,
            "interval_step": 0.2,
            "interval_max": 0.2,
            "link": broker.Link(read_redis_url(settings.redis), _drop, _settle_dropped, _note_away),
            **tcp_only(settings.redis),
        },
        # Nothing of the dialer uses it. Messages on a channel of Redis could stop workers, and a user without
        # the right to channels could run none.
        worker_enable_remote_control=False,
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
        # Its codes for colours would be shown as text, as are all others (campaigns/plain_logs.py).
        worker_log_color=False,
        worker_send_task_events=False,
        task_default_queue=control,
        task_create_missing_queues=True,
        timezone="UTC",
        beat_scheduler="worker.beat:DoorbellScheduler",
        beat_max_loop_interval=1,
        beat_schedule={
            name: {
                "task": f"dialer.{name}",
                "schedule": seconds,
                # Without an expiry: the scheduler sends no more than a few, and two machines' clocks differ.
                "options": {"queue": control},
            }
            for name, seconds in (
                ("feed", FEED_EVERY_SECONDS),
                ("follow", FOLLOW_EVERY_SECONDS),
                ("settle", SETTLE_EVERY_SECONDS),
                ("hang_up", HANG_UP_EVERY_SECONDS),
                ("fire", every(FIRE_EVERY_SECONDS)),
                ("rescue", every(RESCUE_EVERY_SECONDS)),
            )
        },
    )
    return app


def _drop(code: str, size: int) -> None:
    machine().dropped.count(code, size)


def _note_away(trouble: Trouble | None) -> None:
    if trouble is None:
        machine().note("redis", None)
        return
    code = _REDIS_CODES.get(trouble.code, ProblemCode.REDIS_AWAY)
    machine().note("redis", f"Redis does not work ({trouble.words}), and is waited for", code)


def _settle_dropped() -> None:
    machine().dropped.settle()


def _app_or_exit() -> Celery:
    try:
        return make_app(machine().settings)
    except Mistake as mistake:
        # `celery -A worker.app …` imports this module, and shows a traceback for anything else.
        complain(mistake)
        raise SystemExit(2) from None


app = _app_or_exit()


@after_setup_logger.connect  # type: ignore[untyped-decorator] # Celery has no types
@after_setup_task_logger.connect  # type: ignore[untyped-decorator] # Celery has no types
def _plain_logs(logger: logging.Logger, **_: Any) -> None:
    """Keys, reasons and what AWS says are text in the log, and begin no line of it."""
    plain_errors()
    broker.quiet()
    make_plain([logger, logging.getLogger(), get_multiprocessing_logger()])


@worker_init.connect  # type: ignore[untyped-decorator] # Celery has no types
def _check_options(sender: Any, **_: Any) -> None:
    """Refuse a worker that must not run, before `_open`: Celery calls them in this order."""
    if sender.app is not app:
        return
    try:
        check_options(sender, machine().settings)
    except Mistake as mistake:
        complain(mistake)
        raise SystemExit(2) from None


def keep_to_own_ledger(app: Celery, prefix: str) -> None:
    """Give all names in Redis this prefix. Before the first connection, which goes by what is set then."""
    app.conf.broker_transport_options = {**app.conf.broker_transport_options, "global_keyprefix": prefix}


@worker_init.connect  # type: ignore[untyped-decorator] # Celery has no types
@beat_init.connect  # type: ignore[untyped-decorator] # Celery has no types
def _open(sender: Any = None, **_: Any) -> None:
    """Say at once what is wrong with the ledger or the AWS settings, not with the first call."""
    if sender is not None and sender.app is not app:
        return
    stop_with_parent()
    # The first two have lines of their own for each task, taken and done, that say nothing of the call.
    # The others log whole requests below it, telephone numbers and all, whatever level was asked for.
    for chatty in ("celery.worker.strategy", "celery.app.trace", "botocore", "urllib3"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    try:
        if not has_parent():
            refuse_another_ledger(machine().settings, create=True)
        prefix = _prefix()
        keep_to_own_ledger(app, prefix)
        follow_clock(machine().ledger, machine().stopping)
        _look_at_redis(prefix)
        machine().connect.verify()
    except (Mistake, Misconfigured) as mistake:
        complain(mistake)
        raise SystemExit(2) from None
    except NeverSent as silence:
        # The sandbox is only just starting, perhaps: this process may be started again, and find it.
        complain(silence)
        raise SystemExit(1) from None


def _look_at_redis(prefix: str) -> None:
    """Say at the start what is wrong with Redis. Raises Mistake for what waiting cannot mend."""
    address = machine().redis_address
    trouble = find_trouble(address, prefix)
    if not has_parent():
        for warning in warnings_of(address):
            log.warning("%s", warning)
    if trouble is None:
        return
    if not has_parent():
        # `dialer up` has seen this Redis work. To its children all faults are away, as in the middle of the
        # work: a child that is started again while a password is rotated must not end the whole dialer.
        refuse(trouble, address)
    log.error("waiting for Redis (%s): %s", trouble.code, trouble.words)


def _prefix() -> str:
    """The prefix of the ledger's names in Redis, as soon as the ledger answers."""
    # Without it this process does not know which queue is its own. A signal ends the waiting as it would end
    # the start.
    while True:
        try:
            return machine().prefix
        except LedgerUnavailable as error:
            log.error("waiting for the ledger: %s", error)
            time.sleep(1)


@worker_ready.connect  # type: ignore[untyped-decorator] # Celery has no types
def _report_worker(sender: Any, **_: Any) -> None:
    """Begin to report, for each role that the worker's queues give it."""
    queues = sender.app.amqp.queues.consume_from
    settings = machine().settings
    roles = {"dial": settings.dial_queue, "control": settings.control_queue}
    _compare_positions()
    # Celery says again that it is ready whenever it has connected to Redis again.
    first = not _reporting
    for role, queue in roles.items():
        if first and queue in queues:
            _reporting.append(report(machine(), role, queues=[queue], watch=_watch([queue], role)))
            atexit.register(_say_goodbye, _reporting[-1])
    if first and len(_reporting) == len(roles) and sender.controller.concurrency < _ENOUGH_FOR_BOTH:
        log.warning(
            "this worker dials and feeds with %d threads, and rounds that wait for Connect may take all of "
            "them: give it -c %d or more, or start a worker for each queue",
            sender.controller.concurrency,
            _ENOUGH_FOR_BOTH,
        )
    if roles["control"] in queues:
        # worker.tasks imports this module, so it cannot be imported above.
        from worker.tasks import feed_task

        if first and settings.listens:
            # Nobody waits for this thread at the end: what it had not recorded, the queue gives out again.
            listen(machine(), feed_task)
        # Whoever is due now need not wait for the scheduler, which first rings a second after its start.
        # Last, because it fails when Redis is away at this moment; the scheduler rings when it is back.
        try:
            feed_task.delay()
        except BrokerUnavailable as error:
            log.warning("nobody is fed at the start: Redis is away (%s)", type(error).__name__)


_reporting: list[threading.Thread] = []
"""The health threads of this process, one for each of its roles."""


def _watch(queues: list[str], role: str) -> ConsumerWatch:
    """What watches this worker's consumer."""
    # A dial task waits for a slot, calls, and records what came of it within its lease. A search waits
    # minutes for its quota.
    longest = 2 * machine().settings.lease.total_seconds() + 60 if role == "dial" else 900
    overdue = round(longest / BEAT.total_seconds())
    return ConsumerWatch(machine().work, queues, _under_way, overdue_after=overdue)


def _under_way() -> list[str]:
    # A copy, as other threads add to it.
    return [str(request.id) for request in list(state.reserved_requests)]


def _compare_positions() -> None:
    """Stop a ledger that has gone back before this process dials from it, or feeds."""
    try:
        if not check(machine().ledger, machine().positions.noted()):
            log.error("nothing is dialed: %s", read_identity(machine().ledger).stopped_reason)
    except (LedgerUnavailable, PositionNotNoted) as error:
        # The next feeding compares them; nothing is fed before.
        log.warning("how far the ledger has come is not compared at the start: %s", error)


@beat_init.connect  # type: ignore[untyped-decorator] # Celery has no types
def _report_beat(**_: Any) -> None:
    # Celery has no signal for a beat that stops.
    DoorbellScheduler.work = machine().work
    thread = report(machine(), "beat", watch=ConsumerWatch(machine().work, [TICK]))
    atexit.register(_say_goodbye, thread)
    end = signal.getsignal(signal.SIGTERM)

    def leave(number: int, frame: FrameType | None) -> None:
        # In the middle of a message redis-py may make an error of this end, and Celery then goes on.
        threading.Thread(target=_leave_for_good, args=(thread,), name="leaving", daemon=True).start()
        if callable(end):
            end(number, frame)

    signal.signal(signal.SIGTERM, leave)


def _leave_for_good(reporting: threading.Thread) -> None:
    _say_goodbye(reporting)
    os._exit(0)


def _say_goodbye(reporting: threading.Thread) -> None:
    """Let this process take itself off the list of the living, if the ledger lets it."""
    machine().stopping.set()
    reporting.join(5)


@worker_shutting_down.connect  # type: ignore[untyped-decorator] # Celery has no types
def _stop(**_: Any) -> None:
    machine().stopping.set()
    threading.Thread(target=_leave_in_time, name="leaving", daemon=True).start()


def _leave_in_time() -> None:
    """When Redis does not answer, go as soon as the calls under way have been recorded.

    Celery would wait its time-out for every connection that it closes, and be killed by whoever asked it to
    stop.
    """
    # The health thread has taken its leave of the ledger by then: it was told to stop with all the others.
    idle_seconds = 0
    # A task that waits for a ledger that is away must not keep the process until it is killed: by then every
    # call under way has its answer, and what could not be recorded is found by rescue.
    last = (
        time.monotonic()
        + CONNECT_TIMEOUT_SECONDS
        + machine().settings.read_timeout_seconds
        + _LEAVING_SECONDS
    )
    while idle_seconds < _LEAVING_SECONDS and time.monotonic() < last:
        time.sleep(1)
        idle_seconds = 0 if state.active_requests else idle_seconds + 1
    os._exit(0)
