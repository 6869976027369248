"""How far the reading of a file has come, where somebody is looking."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from campaigns.plain_text import print_line, visible

_A_LINE_EVERY_SECONDS = 3.0


class Reading(Protocol):
    """A file that is being read, row by row."""

    rows_read: int

    @property
    def bytes_read(self) -> int:
        """Of the file; the row in hand may count already."""


@contextmanager
def progress_bar(verb: str, file: Path) -> Iterator[Callable[[Reading], None]]:
    """Gives what is to be called now and then. `verb`: what is done to the file, such as "loading"."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    if console.is_dumb_terminal:
        # It cannot draw a line again: a line every few seconds says how far it is.
        yield _in_lines(verb, file)
        return
    columns: list[Any] = [
        # Without markup: a file may be called `[/]`.
        TextColumn(f"{verb} {{task.description}}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[rows]:,} rows"),
        TimeRemainingColumn(),
    ]
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(visible(file.name), total=file.stat().st_size if file.is_file() else None, rows=0)
        yield lambda reading: bar.update(task, completed=reading.bytes_read, rows=reading.rows_read)


def _in_lines(
    verb: str, file: Path, monotonic: Callable[[], float] = time.monotonic
) -> Callable[[Reading], None]:
    """Say how far the reading is, a line at a time and not more often than every few seconds."""
    total = file.stat().st_size if file.is_file() else 0
    said = monotonic()

    def update(reading: Reading) -> None:
        nonlocal said
        if monotonic() - said < _A_LINE_EVERY_SECONDS:
            return
        said = monotonic()
        share = f" ({min(1.0, reading.bytes_read / total):.0%})" if total else ""
        print_line(f"{verb} {file.name}: {reading.rows_read:,} rows{share}", sys.stderr)

    return update
