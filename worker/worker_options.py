"""What a worker may be started with: threads of one process, and the queues of this dialer."""

import shlex
from typing import Any

from celery.concurrency import get_implementation
from celery.concurrency.solo import TaskPool as Solo
from celery.concurrency.thread import TaskPool as Threads

from campaigns.mistake import Mistake
from worker.settings import DialerSettings


def check_options(worker: Any, settings: DialerSettings) -> None:
    """Raises Mistake, with the command that would do, for a worker that must not run.

    `worker`: Celery's, when its options are read and nothing is started yet (the signal `worker_init`).
    """
    ours = (settings.dial_queue, settings.control_queue)
    consumed = list(worker.app.amqp.queues.consume_from)
    wrong = _wrong_pool(worker) or _wrong_option(worker) or _wrong_queue(consumed, ours)
    if wrong:
        queues = ",".join(queue for queue in consumed if queue in ours) or settings.dial_queue
        command = f"celery -A worker.app worker -Q {shlex.quote(queues)} -P threads"
        raise Mistake(f"{wrong}: {command}")


def _wrong_pool(worker: Any) -> str | None:
    pool = get_implementation(worker.pool_cls)
    if isinstance(pool, type) and issubclass(pool, (Threads, Solo)):
        return None
    # Forked processes would share the connections to the ledger and to Redis, and read each other's answers.
    # Greenlets would stop each other in the middle of a transaction, as SQLite's locks know nothing of them.
    return "a worker's pool must be threads (or solo), because its tasks share one process's connections"


def _wrong_option(worker: Any) -> str | None:
    if worker.options.get("beat"):
        # It would stop with the worker, and be there as often as there are workers.
        return "beat is a process of its own (celery -A worker.app beat), not -B of a worker"
    if worker.options.get("autoscale"):
        # Celery's pool of threads cannot grow, and its autoscaler fails when it tries.
        return "threads are not scaled with --autoscale; set DIALER_DIAL_THREADS, or -c"
    return None


def _wrong_queue(consumed: list[str], ours: tuple[str, str]) -> str | None:
    others = [queue for queue in consumed if queue not in ours]
    if not others:
        return None
    # It would wait there for ever, and report itself as alive.
    return f"-Q {','.join(others)} is no queue of this dialer, which has {' and '.join(ours)}"
