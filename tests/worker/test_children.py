"""Child processes, with real ones: they crash, stop when asked, and never outlive their parent."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from worker.children import Child, ChildFailed, alone

PATIENCE_SECONDS = 15.0


def until(condition: Callable[[], object], what: str) -> None:
    """Look again and again until it is so."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come about"
        time.sleep(0.02)


def lives(pid: int) -> bool:
    """Whether a process runs. One that has ended and whose parent has not looked yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.fixture
def child(tmp_path: Path) -> Iterator[Callable[..., Child]]:
    """Makes a child out of Python source; whatever happens, it is ended."""
    made: list[Child] = []

    def make(source: str, *, grace: float = 10.0) -> Child:
        name = f"part{len(made)}"
        (tmp_path / f"{name}.py").write_text(source)
        environment = {**os.environ, "PYTHONPATH": f"{Path.cwd()}:{tmp_path}"}
        made.append(Child(name, [name], environment, tmp_path / f"{name}.log", grace))
        return made[-1]

    yield make
    for each in made:
        each.kill()
        each.wait()


def test_a_crashed_child_is_started_again(child: Callable[..., Child], tmp_path: Path) -> None:
    """A crash costs a part of the dialer nothing but the time to start again."""
    pids = tmp_path / "pids"
    part = child(
        f"""
import os, time
with open({str(pids)!r}, "a") as file:
    print(os.getpid(), file=file)
time.sleep(600)
"""
    )
    part.start()
    until(lambda: pids.exists() and pids.read_text().endswith("\n"), "the first start")
    os.kill(int(pids.read_text()), signal.SIGKILL)

    def again() -> bool:
        part.watch()
        return pids.read_text().count("\n") == 2

    until(again, "the second start")


def test_a_child_keeps_to_its_processor_and_so_do_its_threads(
    child: Callable[..., Child], tmp_path: Path
) -> None:
    """Where a process can be told, which is Linux; one that is not there leaves it all of them."""
    if sys.platform != "linux":
        return
    allowed = os.sched_getaffinity(0)
    said = tmp_path / "said"
    source = f"""
import os, threading, time
time.sleep(0.5)  # as long as imports take at least; what is told after a start is told by then
def say():
    with open({str(said)!r}, "a") as file:
        print(sorted(os.sched_getaffinity(0)), file=file)
threading.Thread(target=say).start()
"""
    part = child(source)

    def heard(processor: int | None) -> str:
        said.unlink(missing_ok=True)
        part.processor = processor
        part.start()
        until(lambda: said.exists() and said.read_text().endswith("\n"), "its word")
        assert part.wait()
        return said.read_text().strip()

    assert heard(max(allowed)) == str([max(allowed)])
    assert heard(10_000) == heard(None) == str(sorted(allowed))


def test_a_child_whose_settings_are_wrong_is_reported_with_its_last_words(
    child: Callable[..., Child],
) -> None:
    """Exit code 2 means that trying again cannot help; what the child said is what the user reads."""
    part = child("import sys; print('dialer: DIALER_BURST: is wrong', file=sys.stderr); sys.exit(2)")
    part.start()
    assert part.wait()
    with pytest.raises(ChildFailed, match=r"^part0 stopped: DIALER_BURST: is wrong \(see .*part0\.log\)$"):
        part.watch()


def test_a_child_that_keeps_crashing_is_given_up(child: Callable[..., Child]) -> None:
    """Five crashes in a row are enough, and the last one's words are shown."""
    part = child("raise RuntimeError('no luck')")
    part.start()

    def crashes() -> None:
        for _ in range(5):
            assert part.wait()
            part.watch()

    with pytest.raises(ChildFailed, match="part0 stopped: RuntimeError: no luck"):
        crashes()
    assert part.log.read_text().count("RuntimeError: no luck") == 5


def test_last_words_are_of_this_start(child: Callable[..., Child]) -> None:
    """What an earlier process of that name logged is not taken for the words of one that died silently."""
    part = child("import sys; sys.exit(2)")
    part.log.write_text("yesterday's complaint\n")
    part.start()
    assert part.wait()
    with pytest.raises(ChildFailed, match="stopped: without a word"):
        part.watch()


def test_a_child_that_is_asked_to_stop_finishes_what_it_has_begun(
    child: Callable[..., Child], tmp_path: Path
) -> None:
    """SIGTERM asks, wait waits, and the child's own way of ending is left to it."""
    ready, done = tmp_path / "ready", tmp_path / "done"
    part = child(
        f"""
import pathlib, signal, threading
stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
pathlib.Path({str(ready)!r}).touch()
stop.wait(600)
pathlib.Path({str(done)!r}).touch()
"""
    )
    part.start()
    until(ready.exists, "the start")
    part.ask_to_stop()
    assert part.wait()
    assert done.exists()


def test_a_child_that_does_not_stop_in_time_is_killed(child: Callable[..., Child], tmp_path: Path) -> None:
    """Stopping always comes to an end, and says when it had to use force."""
    ready = tmp_path / "ready"
    part = child(
        f"""
import pathlib, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
pathlib.Path({str(ready)!r}).touch()
time.sleep(600)
""",
        grace=0.2,
    )
    part.start()
    until(ready.exists, "the start")
    part.ask_to_stop()
    assert not part.wait()
    assert part.wait()


def test_children_stop_when_their_parent_is_killed(tmp_path: Path) -> None:
    """SIGKILL gives the parent no time for anything, and still no child is left."""
    pid_file = tmp_path / "pid"
    (tmp_path / "part.py").write_text(
        f"""
import os, pathlib, time
from worker.children import stop_with_parent
stop_with_parent()
pathlib.Path({str(pid_file)!r}).write_text(str(os.getpid()) + "\\n")
time.sleep(600)
"""
    )
    (tmp_path / "parent.py").write_text(
        f"""
import os, pathlib, time
from worker.children import Child
Child("part", ["part"], os.environ, pathlib.Path({str(tmp_path / "part.log")!r}), 5.0).start()
time.sleep(600)
"""
    )
    environment = {**os.environ, "PYTHONPATH": f"{Path.cwd()}:{tmp_path}"}
    parent = subprocess.Popen([sys.executable, "-m", "parent"], env=environment)
    try:
        until(lambda: pid_file.exists() and pid_file.read_text().endswith("\n"), "the child's start")
        pid = int(pid_file.read_text())
        assert lives(pid)
    finally:
        parent.kill()
        parent.wait()
    until(lambda: not lives(pid), "the child's end")


def test_the_second_waits_for_the_lock_and_takes_over_when_the_first_is_killed(tmp_path: Path) -> None:
    """Only one process is inside at a time, and the kernel lets go of the lock of one that was killed."""
    lock, inside = tmp_path / "lock", tmp_path / "inside"
    source = f"""
import pathlib, threading, time
from worker.children import alone
with alone(pathlib.Path({str(lock)!r}), threading.Event()) as ours:
    assert ours
    pathlib.Path({str(inside)!r}).touch()
    time.sleep(600)
"""
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd())}
    first = subprocess.Popen([sys.executable, "-c", source], env=environment)
    entered, stop = threading.Event(), threading.Event()

    def second() -> None:
        with alone(lock, stop) as ours:
            if ours:
                entered.set()

    thread = threading.Thread(target=second)
    try:
        until(inside.exists, "the first one's entry")
        thread.start()
        assert not entered.wait(0.5)
        first.kill()
        assert entered.wait(PATIENCE_SECONDS)
    finally:
        stop.set()
        first.kill()
        first.wait()
        if thread.ident is not None:
            thread.join()


def test_waiting_for_the_lock_ends_when_asked(tmp_path: Path) -> None:
    """A stand-by that is stopped never believes that it is inside."""
    stop = threading.Event()
    with alone(tmp_path / "lock", threading.Event()) as first:
        assert first
        threading.Timer(0.1, stop.set).start()
        with alone(tmp_path / "lock", stop) as second:
            assert not second


def test_a_child_that_has_worked_is_started_again_for_ever(
    child: Callable[..., Child], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What ends it now is something outside, which comes back: ten crashes, ever later, and no giving up."""
    now = [0.0]
    monkeypatch.setattr("worker.children.time", type("Clock", (), {"monotonic": lambda: now[0]}))
    part = child("raise SystemExit(1)")
    part.start()
    assert part.wait()
    now[0] = 31.0
    starts: list[float] = []
    for _ in range(10):
        before = part._started
        while part._started == before:
            part.watch()
            now[0] += 1.0
        starts.append(part._started)
        assert part.wait()
    pauses = [later - earlier for earlier, later in pairwise(starts)]
    assert pauses[:3] == [1.0, 1.0, 1.0]
    assert pauses[3:] == [2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
