"""Logs: one line for a message, and a traceback whose lines are its own."""

import io
import logging
import subprocess
import sys
import threading

import pytest

from campaigns.plain_logs import PlainFormatter, make_plain, plain_errors, traceback_text
from tests.campaigns.test_plain_text import acts

HOSTILE = "\x1b[2J\nERROR forged\r\u202e\x9b"
SHOWN = r"\x1b[2J\nERROR forged\r\u202e\x9b"


def logged(
    *, inner: str = "[%(levelname)s/%(threadName)s] %(message)s"
) -> tuple[logging.Logger, io.StringIO]:
    """A logger with one handler, made plain."""
    out = io.StringIO()
    logger = logging.Logger("test")
    handler = logging.StreamHandler(out)
    handler.setFormatter(logging.Formatter(inner))
    logger.addHandler(handler)
    make_plain([logger])
    make_plain([logger])  # as Celery's two signals do
    return logger, out


def test_a_message_is_one_line_whatever_is_in_it() -> None:
    """In the arguments, in the text itself, and in objects that say it when they are asked."""
    logger, out = logged()
    logger.warning("contact %s: %s", HOSTILE, ValueError(HOSTILE))
    logger.warning(f"contact {HOSTILE}")
    logger.warning("%(key)s is %(count)d", {"key": HOSTILE, "count": 3})
    assert out.getvalue().splitlines() == [
        f"[WARNING/MainThread] contact {SHOWN}: {SHOWN}",
        f"[WARNING/MainThread] contact {SHOWN}",
        f"[WARNING/MainThread] {SHOWN} is 3",
    ]


def test_what_the_other_formatter_adds_is_visible_too() -> None:
    """A thread's name, for one."""
    logger, out = logged()
    thread = threading.Thread(target=lambda: logger.warning("x"), name="\x1b[1m")
    thread.start()
    thread.join()
    assert out.getvalue() == "[WARNING/\\x1b[1m] x\n"


def test_the_record_itself_is_not_changed() -> None:
    """Other handlers, such as an error tracker's, get what was logged."""
    record = logging.LogRecord("n", logging.ERROR, "f", 1, "%s", (HOSTILE,), None)
    PlainFormatter().format(record)
    assert record.getMessage() == HOSTILE


def test_a_traceback_keeps_its_own_lines_only() -> None:
    """Frames have lines of their own; an exception's text, and its cause's, has one each."""
    logger, out = logged()
    try:
        try:
            raise KeyError(HOSTILE)
        except KeyError as error:
            raise ValueError(HOSTILE) from error
    except ValueError:
        logger.exception("it failed")
    lines = out.getvalue().splitlines()
    assert acts("".join(lines)) == set()
    assert f"ValueError: {SHOWN}" in lines
    assert lines.count("Traceback (most recent call last):") == 2
    assert sum(line.startswith('  File "') for line in lines) == 2
    assert not any(line.startswith("ERROR") for line in lines)


def test_a_traceback_without_an_exception_is_none() -> None:
    """`exc_info=True` where nothing was raised."""
    logger, out = logged(inner="%(message)s")
    logger.error("x", exc_info=True)
    assert out.getvalue().splitlines()[0] == "x"
    assert traceback_text(None, None, None) == "NoneType: None"


@pytest.mark.parametrize(
    "where", ["raise ValueError(HOSTILE)", "run_in_a_thread()", "logging.error(HOSTILE)"]
)
def test_what_python_writes_itself_is_text(where: str) -> None:
    """Uncaught errors, those of threads, and logs before there is a handler, in a process of its own."""
    program = f"""
import logging, threading
from campaigns.plain_logs import plain_errors
HOSTILE = {HOSTILE!r}
def fail():
    raise ValueError(HOSTILE)
def run_in_a_thread():
    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
plain_errors()
logging.getLogger("quiet").addHandler(logging.NullHandler())
{where.replace("logging.error", "logging.getLogger('loud').error")}
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    lines = ended.stderr.decode().split("\n")
    assert any(SHOWN in line for line in lines)
    assert acts("".join(lines)) == set()


def test_another_hook_stays_in_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    """A test runner's, or an error tracker's, goes on hearing of what was not caught."""

    def theirs(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(sys, "excepthook", theirs)
    monkeypatch.setattr(threading, "excepthook", theirs)
    plain_errors()
    assert (sys.excepthook, threading.excepthook) == (theirs, theirs)
