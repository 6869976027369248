"""A worker that is told to stop leaves, whatever its tasks wait for."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from worker import app as module


class Gone(BaseException):
    """Stands for the end of the process."""


@pytest.mark.parametrize(("busy", "seconds"), [(True, 17), (False, 4)])
def test_task_that_hangs_does_not_keep_the_process(
    program: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, busy: bool, seconds: int
) -> None:
    """Not even a task without end: after the longest call, and 4 s. Without one it is gone after 4 s.

    Fails without: the deadline in `_leave_in_time` (app.py).
    """
    slept = 0.0

    def sleep(for_seconds: float) -> None:
        nonlocal slept
        slept += for_seconds
        assert slept < 100, "it never leaves"

    def leave(code: int) -> None:
        assert code == 0
        raise Gone

    settings: Any = SimpleNamespace(read_timeout_seconds=10.0)
    monkeypatch.setattr(module, "machine", lambda: SimpleNamespace(settings=settings))
    monkeypatch.setattr(module, "time", SimpleNamespace(sleep=sleep, monotonic=lambda: slept))
    monkeypatch.setattr(module, "os", SimpleNamespace(_exit=leave))
    monkeypatch.setattr(module.state, "active_requests", {object()} if busy else set())
    go: Callable[[], None] = module._leave_in_time
    with pytest.raises(Gone):
        go()
    assert slept == seconds
