"""A process of the dialer that is killed, or stopped, at one exact point of its work.

    python crashing_worker.py "SIGKILL before worker.dial:mark_placed 5" -- celery -A worker.app worker …

runs `celery …`, which sends itself SIGKILL before `mark_placed` is called for the fifth time. Without
a point it is the program itself. It begins when its standard input ends, so that a test can have its imports
done while it looks at something else.

Failpoints exist only here. The program knows nothing of them: they cost it nothing, and nobody can switch
one on in it.
"""

import functools
import itertools
import signal
import sys
import threading
from ast import literal_eval
from contextlib import nullcontext
from importlib import import_module
from typing import Any

from celery.signals import task_postrun


def owner_of(place: str) -> tuple[Any, str]:
    """`module:Class.name` → what has it, and the name."""
    module, _, path = place.partition(":")
    *holders, name = path.split(".")
    return functools.reduce(getattr, holders, import_module(module)), name


def put_up(point: str) -> None:
    """`SIGNAL before|after PLACE PASSAGE` strikes there; `PLACE = VALUE` makes something smaller."""
    if " = " in point:
        place, value = point.split(" = ")
        setattr(*owner_of(place), literal_eval(value))
        return
    name, moment, place, passage = point.split()
    owner, attribute = owner_of(place)
    original = getattr(owner, attribute)
    passages = itertools.count(1)

    @functools.wraps(original)
    def passing(*arguments: Any, **more: Any) -> Any:
        now = next(passages) == int(passage)
        if now and moment == "before":
            strike(name)
        result = original(*arguments, **more)
        if now and moment == "after":
            strike(name)
        return result

    setattr(owner, attribute, passing)


def strike(name: str) -> None:
    """End, or stop, the whole process in this very line."""
    # One that stands still in the middle of another thread's transaction would keep all others from an SQLite
    # ledger, and they are to go on. One that is killed is to be killed anywhere.
    outside = import_module("worker.machine").machine().ledger._turn() if name == "SIGSTOP" else nullcontext()
    with outside:
        # Sent to the process, it may reach another thread first, and this one would get a little further.
        signal.pthread_kill(threading.get_ident(), signal.Signals[name])


def say_that_it_is_over(sender: Any, **_: Any) -> None:
    """One line for each task, for the test that waits for it."""
    print(f"{sender.name} is over", flush=True)  # noqa: T201


def main() -> None:
    """Put the points up, wait for the end of standard input, and be the program."""
    begin = sys.argv.index("--")
    points, (program, *arguments) = sys.argv[1:begin], sys.argv[begin + 1 :]
    import_module("worker.tasks")
    start = import_module({"celery": "celery.__main__", "dialer": "worker.cli"}[program]).main
    for point in points:
        put_up(point)
    task_postrun.connect(say_that_it_is_over)
    sys.stdin.read()
    sys.argv = [program, *arguments]
    start()


if __name__ == "__main__":
    main()
