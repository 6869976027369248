"""What lies in a queue, read: which task, with which arguments. All that is not so is dropped and counted.

Redis may hold anything that a client with its password has put there, or another program by mistake. Celery's
worker ends with many kinds of it. So a message is taken apart here, and made anew from what a task is: a name
and checked arguments. Nothing else of it reaches Celery.
"""

import base64
import json
import logging
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import count
from json.encoder import encode_basestring_ascii
from typing import Any, Final

from worker.seldom import Seldom

log = logging.getLogger(__name__)

LONGEST_MESSAGE: Final = 65_536
"""Bytes. One of ours has about 1,200."""
SHOWN_SECONDS: Final = 600.0
"""How long after the last dropped message the status goes on saying so."""

_JSON = ("application/json", "utf-8", "base64")
_ENCODE: Final[Mapping[type, Callable[[Any], str]]] = {int: str, str: encode_basestring_ascii}
_tags = count(1)  # next() of it is one step, also with several threads
_TASK_ID = re.compile(r"[0-9A-Za-z._:-]{1,128}")
_CLIENT_TOKEN = re.compile(r"[\x21-\x7e]{1,500}")  # as long as Connect takes one


def _is_id(value: object) -> bool:
    return type(value) is int and 0 < value < 2**63


def _is_fence(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**31


def _is_client_token(value: object) -> bool:
    return isinstance(value, str) and _CLIENT_TOKEN.fullmatch(value) is not None


ARGUMENTS: Final[Mapping[str, tuple[Callable[[object], bool], ...]]] = {
    "dialer.dial": (_is_id, _is_fence, _is_client_token),
    "dialer.feed": (),
    "dialer.follow": (),
    "dialer.settle": (),
    "dialer.hang_up": (),
    "dialer.fire": (),
    "dialer.rescue": (),
}
"""The dialer's tasks, and what each of their arguments has to be."""


class NotOurs(Exception):
    """A message that the dialer has not sent. Its text is the code of what is wrong with it.

    `size`, `json`, `envelope`, `content_type`, `task`, `body` or `arguments`; `key` for a whole key that is
    no list.
    """


def read_message(raw: bytes) -> str:
    """Return the message made anew, as kombu reads it. Raises NotOurs."""
    if len(raw) > LONGEST_MESSAGE:
        raise NotOurs("size")
    name, task_id, arguments = _read(raw)
    # Put together by hand, for that is done for each call: a name of ours, an id of plain characters, and
    # arguments in JSON. A number as tag, because one that Redis repeats would be taken for one under way.
    given = ",".join(_ENCODE[type(each)](each) for each in arguments)
    body = base64.b64encode(f"[[{given}],{{}},{{}}]".encode()).decode()
    return (
        f'{{"body":"{body}","content-encoding":"utf-8","content-type":"application/json",'
        f'"headers":{{"lang":"py","task":"{name}","id":"{task_id}","root_id":"{task_id}","retries":0}},'
        f'"properties":{{"correlation_id":"{task_id}","delivery_mode":2,"delivery_tag":"{next(_tags)}",'
        '"delivery_info":{"exchange":"","routing_key":""},"priority":0,"body_encoding":"base64"}}'
    )


def _read(raw: bytes) -> tuple[str, str, list[Any]]:
    """The task's name, its id and its arguments. Raises NotOurs."""
    outer = _parse(raw, "json")
    if not isinstance(outer, dict):
        raise NotOurs("envelope")
    headers, properties, body = outer.get("headers"), outer.get("properties"), outer.get("body")
    if not (isinstance(headers, dict) and isinstance(properties, dict) and isinstance(body, str)):
        raise NotOurs("envelope")
    if (outer.get("content-type"), outer.get("content-encoding"), properties.get("body_encoding")) != _JSON:
        raise NotOurs("content_type")
    name, task_id = headers.get("task"), headers.get("id")
    if not isinstance(name, str) or name not in ARGUMENTS:
        raise NotOurs("task")
    if not isinstance(task_id, str) or not _TASK_ID.fullmatch(task_id):
        raise NotOurs("envelope")
    try:
        inner = base64.b64decode(body, validate=True)
    except ValueError:
        raise NotOurs("body") from None
    found = _parse(inner, "body")
    if not isinstance(found, list) or len(found) != 3:
        raise NotOurs("body")
    arguments, named = found[0], found[1]
    checks = ARGUMENTS[name]
    if not isinstance(arguments, list) or named != {} or len(arguments) != len(checks):
        raise NotOurs("arguments")
    if not all(check(argument) for check, argument in zip(checks, arguments, strict=True)):
        raise NotOurs("arguments")
    return name, task_id, arguments


def _parse(text: bytes, code: str) -> Any:
    try:
        return json.loads(text.decode("utf-8"))
    except (ValueError, RecursionError):
        # No UTF-8, no JSON, an integer of thousands of digits, or nested too deeply.
        raise NotOurs(code) from None


@dataclass
class DroppedMessages:
    """Counts the messages that were dropped, and says so: in the log, and for the status.

    show: told a line for the status, or None when there is nothing to say any longer.
    """

    show: Callable[[str | None], object]
    monotonic: Callable[[], float] = time.monotonic
    counts: dict[str, int] = field(default_factory=dict)
    """Since the start of the process, by the code of NotOurs."""
    _last: float | None = field(default=None, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _seldom: Seldom = field(init=False)

    def __post_init__(self) -> None:
        self._seldom = Seldom(60.0, self.monotonic)

    def count(self, code: str, size: int) -> None:
        """One more. `size`: its bytes, which is all that is said of its content."""
        with self._lock:
            self.counts[code] = self.counts.get(code, 0) + 1
            self._last = self.monotonic()
            line = self._line()
        self.show(line)
        if self._seldom.due(code):
            log.warning(
                "a message in Redis was dropped, because the dialer did not send it (%s, %d bytes); "
                "%d of this kind since the start",
                code,
                size,
                self.counts[code],
            )

    def settle(self) -> None:
        """Take the line off the status when the last one is long past. Cheap; to be called often."""
        if self._last is None or self.monotonic() - self._last < SHOWN_SECONDS:
            return
        with self._lock:
            self._last = None
        self.show(None)

    def _line(self) -> str:
        kinds = ", ".join(f"{code}: {count}" for code, count in sorted(self.counts.items()))
        return (
            f"{sum(self.counts.values())} messages in Redis were not the dialer's and were dropped ({kinds})"
        )
