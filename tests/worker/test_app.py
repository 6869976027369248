"""The composition root: what Celery is told, how Redis is reached, and a start that fails in one line."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
import unicodedata
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from kombu.exceptions import OperationalError as BrokerUnavailable
from redis import Redis

from campaigns.ledger.clock import wall_clock
from campaigns.ledger.health import alive
from campaigns.ledger.identity import read_identity

ROOT = Path(__file__).parents[2]


@pytest.fixture
def celery(settings_environment: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Starts `python -m celery -A worker.app …` as an operator would."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "celery", "-A", "worker.app", *arguments],
            cwd=tmp_path,
            # Celery warns whoever is root.
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def key_in_redis(ledger: Any, name: str) -> str:
    """What a queue of this ledger is called in Redis."""
    return f"dialer:{read_identity(ledger).ledger_id}:{name}"


def until(true: Callable[[], bool], what: str) -> None:
    """Wait until something has happened in another process."""
    patience = threading.Event()
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end, f"not within a minute: {what}"
        patience.wait(0.05)


# --- Celery's configuration -------------------------------------------------------------------------------


def test_celery_never_sends_a_task_again_by_itself(program: SimpleNamespace) -> None:
    """Late acknowledgement for the ledger's sake, and every repetition of Celery's own is off."""
    conf = program.app.conf
    assert conf.task_acks_late is True
    assert conf.task_reject_on_worker_lost is False
    assert conf.task_publish_retry is False
    assert conf.worker_prefetch_multiplier == 1
    assert conf.task_ignore_result is True
    assert conf.result_backend is None
    # Redis has no copy that it could hand out again.
    assert conf.broker_transport_options["ack_emulation"] is False
    program.app.finalize()
    for task in ("dial", "feed", "follow", "settle", "hang_up", "rescue"):
        assert not hasattr(program.app.tasks[f"dialer.{task}"], "autoretry_for")


def test_only_json_is_spoken(program: SimpleNamespace) -> None:
    """Nothing that could run code is sent or accepted."""
    assert program.app.conf.task_serializer == "json"
    assert list(program.app.conf.accept_content) == ["json"]


def test_connection_to_redis_cannot_hang(program: SimpleNamespace) -> None:
    """Every wait for Redis has an end, and idle connections are looked after."""
    options = program.app.conf.broker_transport_options
    assert (options["socket_timeout"], options["socket_connect_timeout"]) == (10, 3)
    assert options["health_check_interval"] == 25
    assert program.app.conf.broker_connection_max_retries is None
    assert "socket_keepalive" not in options  # a Unix socket does not know it


def test_workers_stop_softly(program: SimpleNamespace) -> None:
    """A second signal still waits as long as an answer may take."""
    assert program.app.conf.worker_soft_shutdown_timeout == 13.0


def test_keepalive_is_for_tcp(program: SimpleNamespace) -> None:
    """A TCP connection whose other end is gone is found out."""
    assert program.root.tcp_only("redis://localhost:6379/0") == {"socket_keepalive": True}
    assert program.root.tcp_only("rediss://localhost:6379/0") == {"socket_keepalive": True}
    assert program.root.tcp_only("unix:///run/valkey.sock") == {}


@pytest.mark.parametrize(
    ("redis_url", "broker"),
    [
        ("redis://localhost:6379/0", "redis://localhost:6379/0"),
        ("rediss://user:secret@redis.internal:6380/1", "rediss://redis.internal:6380/1"),
        ("redis://redis.internal?db=3", "redis://redis.internal:6379/3"),
        ("unix:///tmp/dialer-0/valkey.sock", "redis+socket:///tmp/dialer-0/valkey.sock?virtual_host=0"),
        ("unix:///tmp/valkey.sock?db=3", "redis+socket:///tmp/valkey.sock?virtual_host=3"),
    ],
)
def test_kombu_knows_the_same_redis(program: SimpleNamespace, redis_url: str, broker: str) -> None:
    """What kombu's log calls it is the same place, without user and password."""
    assert program.root.broker_url(redis_url) == broker


def test_kombu_finds_the_same_socket(program: SimpleNamespace) -> None:
    """The path survives the translation: both connect to the same file."""
    with program.app.connection_for_write() as connection:
        theirs = connection.default_channel.pool.connection_kwargs["path"]
    ours = program.machine().redis.connection_pool.connection_kwargs["path"]
    assert theirs == ours


def test_schedule_is_the_control_queues(program: SimpleNamespace) -> None:
    """Feeding and following every second, rescuing every five, none of it behind dialing."""
    schedule = program.app.conf.beat_schedule
    assert {name: (entry["schedule"], entry["options"]["queue"]) for name, entry in schedule.items()} == {
        "feed": (1.0, "control-sandbox"),
        "follow": (1.0, "control-sandbox"),
        "settle": (2.0, "control-sandbox"),
        "hang_up": (1.0, "control-sandbox"),
        "fire": (5.0, "control-sandbox"),
        "rescue": (5.0, "control-sandbox"),
    }
    assert program.app.conf.task_default_queue == "control-sandbox"
    assert program.app.conf.beat_scheduler == "worker.beat:DoorbellScheduler"


# --- the parts --------------------------------------------------------------------------------------------


def test_parts_are_made_of_the_settings(program: SimpleNamespace) -> None:
    """The dialer has the settings' leases and windows, and knows which exchange it serves."""
    machine = program.machine()
    timing = machine.dialer.timing
    assert machine.dialer.exchange == "sandbox"
    assert timing.lease == machine.settings.lease
    assert timing.send_within_seconds == 15.0
    assert timing.replay_window_seconds == 5.0
    assert machine is program.machine()


def test_trials_have_a_rate_of_their_own(program: SimpleNamespace) -> None:
    """A trial neither uses up nor slows down the real quota, and each API has its own."""
    machine = program.machine()
    buckets = {pacer._bucket for pacer in (machine.start_pacer, machine.describe_pacer, machine.stop_pacer)}
    assert buckets == {
        "dialer:pace:{default-sandbox:us-east-1:StartOutboundVoiceContact}",
        "dialer:pace:{default-sandbox:us-east-1:DescribeContact}",
        "dialer:pace:{default-sandbox:us-east-1:StopContact}",
    }


def test_sleep_ends_when_the_process_stops(program: SimpleNamespace) -> None:
    """A worker that waits for its slot gives it up at once when it is told to stop."""
    machine = program.machine()
    began = time.monotonic()
    threading.Timer(0.05, machine.stopping.set).start()
    machine.sleep(60)
    assert time.monotonic() - began < 30


def test_sleep_of_a_stopping_process_is_short_but_not_nothing(program: SimpleNamespace) -> None:
    """What still has to be written down waits for the ledger in steps instead of spinning."""
    machine = program.machine()
    machine.stopping.set()
    began = time.monotonic()
    machine.sleep(60)
    assert 0.1 <= time.monotonic() - began < 30


def test_monotonic_clock_runs_on_while_the_machine_sleeps(program: SimpleNamespace) -> None:
    """A lease does not wait for a suspended laptop."""

    def boot() -> float:  # elsewhere the monotonic clock itself counts sleep, or there is none that does
        return time.clock_gettime(time.CLOCK_BOOTTIME) if sys.platform == "linux" else time.monotonic()

    before = boot()
    assert before <= program.parts.monotonic() <= boot()


# --- processes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("DIALER_CALLS_PER_SECOND", "0", "dialer: DIALER_CALLS_PER_SECOND: "),
        ("DIALER_DATABASE_URL", "mysql://user:hunter2@db/x", "dialer: DIALER_DATABASE_URL: "),
        ("AWS_REGION", "", "dialer: NoRegionError: set AWS_REGION"),
    ],
)
def test_wrong_setting_stops_the_start_in_one_line(
    settings_environment: pytest.MonkeyPatch, celery: Callable[..., Any], name: str, value: str, said: str
) -> None:
    """Exit 2, the variable's name, and no traceback; a password stays unsaid."""
    settings_environment.setenv(name, value)
    process = celery("worker", "-Q", "dial-sandbox", "-P", "threads", "--loglevel", "WARNING")
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 2, output
    lines = [line for line in output.splitlines() if line.strip()]
    assert len(lines) == 1, output
    assert lines[0].startswith(said)
    assert "hunter2" not in output


POOL = "dialer: a worker's pool must be threads (or solo), because its tasks share one process's connections"


@pytest.mark.parametrize(
    ("options", "environment", "said", "queues"),
    [
        (["-Q", "dial-sandbox"], {}, POOL, "dial-sandbox"),
        (["-Q", "dial-sandbox", "-P", "prefork"], {}, POOL, "dial-sandbox"),
        (["-Q", "control-sandbox", "-P", "processes"], {}, POOL, "control-sandbox"),
        (
            ["-Q", "dial-sandbox,control-sandbox", "-P", "custom"],
            {"CELERY_CUSTOM_WORKER_POOL": "celery.concurrency.base:BasePool"},
            POOL,
            "dial-sandbox,control-sandbox",
        ),
        (["-P", "threads", "-B"], {}, "dialer: beat is a process of its own", "control-sandbox"),
        (
            ["-Q", "dial-sandbox", "-P", "threads", "--autoscale", "10,1"],
            {},
            "dialer: threads are not scaled with --autoscale; set DIALER_DIAL_THREADS, or -c",
            "dial-sandbox",
        ),
        (
            ["-Q", "dail", "-P", "threads"],
            {},
            "dialer: -Q dail is no queue of this dialer, which has dial-sandbox and control-sandbox",
            "dial-sandbox",
        ),
        (
            ["-Q", "control-sandbox,dial", "-P", "threads"],
            {},
            "dialer: -Q dial is no queue of this dialer, which has dial-sandbox and control-sandbox",
            "control-sandbox",
        ),
    ],
)
def test_worker_that_must_not_run_is_refused_at_once(
    settings_environment: pytest.MonkeyPatch,
    celery: Callable[..., Any],
    tmp_path: Path,
    options: list[str],
    environment: dict[str, str],
    said: str,
    queues: str,
) -> None:
    """Exit 2 in one line with the right command, before there is a ledger or a task is taken."""
    settings_environment.setenv("DIALER_DATABASE_URL", f"sqlite:///{tmp_path / 'untouched.sqlite'}")
    for name, value in environment.items():
        settings_environment.setenv(name, value)
    process = celery("worker", *options, "--loglevel", "WARNING")
    output, _ = process.communicate(timeout=120)
    lines = [line for line in output.splitlines() if line.strip()]
    assert (process.returncode, len(lines)) == (2, 1), output
    assert lines[0].startswith(said)
    assert lines[0].endswith(f": celery -A worker.app worker -Q {queues} -P threads")
    assert not (tmp_path / "untouched.sqlite").exists()


@pytest.mark.parametrize("role", ["dial", "beat"])
def test_process_reports_and_leaves(
    celery: Callable[..., Any], dial_ledger: Any, program: SimpleNamespace, role: str
) -> None:
    """A real process says that it lives, stops at SIGTERM by itself, and takes itself off the list."""
    arguments = ("beat",) if role == "beat" else ("worker", "-Q", "dial-sandbox", "-P", "threads")
    process = celery(*arguments, "--loglevel", "WARNING")
    now = wall_clock
    until(lambda: [found.role for found in alive(dial_ledger, now())] == [role], "it reports")
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    assert "Traceback" not in output
    assert alive(dial_ledger, now()) == []


def test_beat_that_is_in_the_middle_of_a_message_leaves(
    celery: Callable[..., Any], dial_ledger: Any, program: SimpleNamespace, valkey: Redis
) -> None:
    """SIGTERM while Redis takes its time: it neither waits for an answer nor goes on as if untold."""
    process = celery("beat", "--loglevel", "WARNING")
    until(lambda: valkey.llen(key_in_redis(dial_ledger, "control-sandbox")) > 0, "it rings")
    valkey.execute_command("CLIENT", "PAUSE", 60_000, "WRITE")
    try:
        until(lambda: valkey.info("clients")["blocked_clients"] > 0, "a message hangs")
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=8)
    finally:
        valkey.execute_command("CLIENT", "UNPAUSE")
    assert process.returncode == 0
    assert alive(dial_ledger, wall_clock()) == []


def test_control_worker_feeds_as_soon_as_it_is_ready(
    celery: Callable[..., Any], desk_of: Callable[..., Any], dial_ledger: Any, valkey: Redis
) -> None:
    """Whoever is due at the start is released without a word from the scheduler."""
    desk, now = desk_of(dial_ledger), datetime.now(UTC)
    desk.load(desk.campaign(), desk.people(1), now=now)
    desk.start(now=now, exchange="sandbox")
    celery("worker", "-Q", "control-sandbox", "-P", "threads", "--loglevel", "WARNING")
    until(lambda: valkey.llen(key_in_redis(dial_ledger, "dial-sandbox")) == 1, "somebody is released")


def test_redis_that_is_away_at_the_start_does_not_keep_it_from_listening(
    program: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first feeding is lost and comes with the next round; contact events are taken in all the same."""

    def away() -> None:
        raise BrokerUnavailable("Error 111 connecting to 127.0.0.1:6379")

    listening: list[object] = []
    settings = program.machine().settings.model_copy(update={"events_queue_url": "https://sqs/events"})
    monkeypatch.setitem(vars(program.machine()), "settings", settings)
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", "http://127.0.0.1:9")  # or a trial would take no events
    monkeypatch.setattr(program.root, "report", lambda *_, **__: threading.Thread())
    monkeypatch.setattr(program.root, "listen", lambda _, call_over: listening.append(call_over))
    monkeypatch.setattr(program.root.atexit, "register", lambda *_: None)
    monkeypatch.setattr(program.tasks.feed_task, "delay", away)
    consumes = SimpleNamespace(consume_from={settings.control_queue: None})
    program.root._report_worker(SimpleNamespace(app=SimpleNamespace(amqp=SimpleNamespace(queues=consumes))))
    assert listening == [program.tasks.feed_task]


def test_control_worker_listens_for_contact_events(
    celery: Callable[..., Any],
    settings_environment: pytest.MonkeyPatch,
    mail: Any,
    dial_ledger: Any,
    program: SimpleNamespace,
) -> None:
    """A real control process empties the queue that the setting names, and stops in time all the same."""
    settings_environment.setenv("DIALER_EVENTS_QUEUE_URL", mail.url)
    mail.put('{"source": "aws.connect", "detail-type": "Amazon Connect Contact Event", "detail": {}}')
    process = celery("worker", "-Q", "control-sandbox", "-P", "threads", "--loglevel", "WARNING")
    until(lambda: bool(mail.count() == 0), "the message is taken")
    (reported,) = alive(dial_ledger, wall_clock())
    assert (reported.role, reported.problem) == ("control", None)
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=120)
    # Its request to SQS would wait for up to 20 s for a message.
    assert (process.returncode, time.monotonic() - began < 15) == (0, True), output
    assert "Traceback" not in output


def test_logs_of_every_process_show_text(settings_environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What Celery sets up for workers and for beat: a value cannot begin a line, nor act on a terminal."""
    program = """
import logging
from celery.utils.log import get_multiprocessing_logger, get_task_logger
from worker.app import app
app.log.setup(loglevel="INFO", colorize=True)
hostile = "\x1b[2J\\nforged \x9b"
for log in (logging.getLogger("worker.dial"), get_task_logger("t"), get_multiprocessing_logger()):
    log.error("contact %s", hostile)
    try:
        raise ValueError(hostile)
    except ValueError:
        log.exception("failed")
raise ValueError(hostile)
"""
    ended = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        check=False,
    )
    text = ended.stderr.decode()
    assert [c for c in text if c != "\n" and unicodedata.category(c) == "Cc"] == []
    assert [line for line in text.split("\n") if line.startswith("forged")] == []
    assert (
        len(re.findall(r"ERROR/MainProcess\].* contact \\x1b\[2J\\nforged \\x9b$", text, re.MULTILINE)) == 3
    )
    assert text.count("Traceback (most recent call last):\n  File") == 4
    assert len(re.findall(r"^ValueError: \\x1b\[2J\\nforged", text, re.MULTILINE)) == 4


def test_a_worker_of_both_queues_has_both_roles(
    celery: Callable[..., Any], dial_ledger: Any, program: SimpleNamespace
) -> None:
    """Each is reported and worked in, so that neither `status` nor `health` misses one."""
    process = celery(
        "worker", "-Q", "dial-sandbox,control-sandbox", "-P", "threads", "-c", "4", "-l", "WARNING"
    )
    until(lambda: len(alive(dial_ledger, wall_clock())) == 2, "both roles are reported")
    pid = {found.process.partition(":")[2] for found in alive(dial_ledger, wall_clock())}
    assert [found.role for found in alive(dial_ledger, wall_clock())] == ["control", "dial"]
    assert pid == {str(process.pid)}
    program.app.send_task("dialer.feed", queue="control-sandbox")
    began = alive(dial_ledger, wall_clock())
    until(
        lambda: all(
            found.worked_at > before.worked_at
            for found, before in zip(alive(dial_ledger, wall_clock()), began, strict=True)
        ),
        "both have worked",
    )
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=120)
    assert "this worker dials and feeds with 4 threads" in output
    assert alive(dial_ledger, wall_clock()) == []


def test_a_worker_whose_consumer_is_gone_ends_itself(
    settings_environment: pytest.MonkeyPatch, dial_ledger: Any, program: SimpleNamespace, tmp_path: Path
) -> None:
    """Its process and its health thread live on; only its end lets a supervisor start it again."""
    script = str(ROOT / "tests" / "crashing_worker.py")
    worker = ["celery", "-A", "worker.app", "worker", "-Q", "dial-sandbox", "-P", "threads", "-l", "WARNING"]
    # Python runs it at its start. After the signal the consumer asks Redis for nothing.
    (tmp_path / "sitecustomize.py").write_text(
        "import signal\n"
        "def deaf(*_):\n"
        "    from worker.broker import Channel\n"
        "    Channel._brpop_start = lambda self, *arguments, **more: None\n"
        "signal.signal(signal.SIGUSR2, deaf)\n"
    )
    process = subprocess.Popen(
        [sys.executable, script, "worker.health:ENDED_AFTER = 2", "--", *worker],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}", "PYTHONWARNINGS": "ignore"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        until(lambda: len(alive(dial_ledger, wall_clock())) == 1, "it is alive")
        (first,) = alive(dial_ledger, wall_clock())
        until(lambda: any(p.seen_at > first.seen_at for p in alive(dial_ledger, wall_clock())), "it goes on")
        process.send_signal(signal.SIGUSR2)
        output, _ = process.communicate(timeout=120)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 1, output
    assert "ends itself, to be started again" in output
    assert alive(dial_ledger, wall_clock()) == []
