"""Logs and tracebacks in which no value from outside acts as anything but text, or begins a line."""

import copy
import logging
import sys
import threading
import traceback
from collections.abc import Iterable
from types import TracebackType

from campaigns.plain_text import visible

_OF_TRACEBACK = (
    "Traceback (most recent call last)",
    '  File "',
    "\nDuring handling",
    "\nThe above exception",
)


class PlainFormatter(logging.Formatter):
    """Formats as another one does, with the message in one line and everything visible."""

    def __init__(self, inner: logging.Formatter | None = None) -> None:
        super().__init__()
        self._inner = inner or logging.Formatter()

    def format(self, record: logging.LogRecord) -> str:
        """Return the record's text; only a traceback takes more than a line."""
        plain = copy.copy(record)
        plain.msg, plain.args = visible(record.getMessage()), None
        plain.exc_text = _exception(record)
        plain.exc_info = None
        # As a net: what the other formatter adds, such as a thread's name, is visible too.
        return "\n".join(visible(line) for line in self._inner.format(plain).split("\n"))


def _exception(record: logging.LogRecord) -> str | None:
    # Python accepts an exception and True here, too, and makes three values of them.
    if isinstance(record.exc_info, tuple) and isinstance(record.exc_info[1], BaseException):
        return traceback_text(*record.exc_info)
    return record.exc_text


def traceback_text(
    kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
) -> str:
    """Return a traceback of which no line but its own comes from the exception's text."""
    lines: list[str] = []
    for piece in traceback.format_exception(kind, error, trace):
        own = piece.startswith(_OF_TRACEBACK)
        whole = piece.removesuffix("\n")
        lines += [visible(line) for line in (whole.split("\n") if own else [whole])]
    return "\n".join(lines)


def make_plain(loggers: Iterable[logging.Logger]) -> None:
    """Give each handler of these loggers a PlainFormatter around the one that it has."""
    for logger in loggers:
        for handler in logger.handlers:
            if not isinstance(handler.formatter, PlainFormatter):
                handler.setFormatter(PlainFormatter(handler.formatter))


def plain_errors() -> None:
    """What Python itself writes to standard error in this process: tracebacks, and logs without a handler."""
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(PlainFormatter())
    # Not in the place of another hook, such as a test runner's.
    if sys.excepthook is sys.__excepthook__:
        sys.excepthook = _report
    if threading.excepthook is threading.__excepthook__:
        threading.excepthook = _report_in_thread


def _report(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    print(traceback_text(kind, error, trace), file=sys.stderr, flush=True)  # noqa: T201


def _report_in_thread(what: threading.ExceptHookArgs) -> None:
    if what.exc_type is SystemExit:
        return
    name = visible(what.thread.name) if what.thread else "a thread"
    text = traceback_text(what.exc_type, what.exc_value, what.exc_traceback)
    print(f"Exception in thread {name}:\n{text}", file=sys.stderr, flush=True)  # noqa: T201
