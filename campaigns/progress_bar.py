"""How far the reading of a file has come, where somebody is looking."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from campaigns.plain_text import visible


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

    columns: list[Any] = [
        # Without markup: a file may be called `[/]`.
        TextColumn(f"{verb} {{task.description}}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[rows]:,} rows"),
        TimeRemainingColumn(),
    ]
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(visible(file.name), total=file.stat().st_size if file.is_file() else None, rows=0)
        yield lambda reading: bar.update(task, completed=reading.bytes_read, rows=reading.rows_read)
