"""The rejected rows as a CSV file that can be corrected and loaded."""

import csv
import filecmp
import os
import re
import tempfile
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, TextIO

from campaigns.call_list import NOTE_COLUMNS, RejectedRow
from campaigns.formulas import defused
from campaigns.mistake import Mistake

_NUMBERED = re.compile(r"(.*\.rejects)(?:-(\d+))?", re.DOTALL)


def default_rejects_path(list_path: Path, campaign: str | None = None, elsewhere: Path | None = None) -> Path:
    """`people.csv` → `people.rejects.csv` beside it; → `people.rejects-2.csv` when that itself is loaded.

    The corrections stand only in the file that is being loaded, so it is never written over by default.
    Where nothing can be written beside the list, in a folder of the
    campaign's in `elsewhere`, which is created.
    """
    if elsewhere is not None and campaign is not None and not os.access(list_path.parent, os.W_OK):
        folder = elsewhere / campaign
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as problem:
            raise Mistake(
                f"{folder}: cannot be created: {problem.strerror}; name another with --rejects"
            ) from None
        list_path = folder / list_path.name
    if list_path.suffix.lower() != ".csv":
        return list_path.with_name(list_path.name + ".rejects.csv")
    if match := _NUMBERED.fullmatch(list_path.stem):
        return list_path.with_name(f"{match[1]}-{int(match[2] or 1) + 1}.csv")
    return list_path.with_name(list_path.stem + ".rejects.csv")


class Rejecting(Protocol):
    """The list whose rows are rejected."""

    path: Path
    delimiter: str

    @property
    def columns(self) -> Sequence[str]:
        """The names of its columns, in order."""


def rejects_of_fire(directory: Path, campaign: str, fire: datetime) -> Path:
    """Where the rows go that a schedule's run has rejected: a file for each fire, by its own clock."""
    # With its offset: there are two of the same time in the night in which a clock is put back.
    return directory / campaign / f"{fire:%Y-%m-%dT%H%M%z}.rejects.csv"


class RejectsFile:
    """Collects rejected rows; the file appears, complete, at `close()`, and only if there are any.

    Columns: line, column, reason, then the list's own, with each row exactly as wide as it stood, so that
    what was not corrected is rejected again. A rejects file that is there already is never changed, because
    somebody may be correcting it: one with other rows gets the next free name, `people.rejects-2.csv`.
    Cells that a spreadsheet would take for formulas are written as text, unless `raw`; loading restores them.
    Leaving the `with` block by an exception changes nothing on the disk.
    """

    def __init__(self, path: Path, call_list: Rejecting, *, raw: bool = False) -> None:
        """Raises Mistake if the name is taken by something else, before any row is loaded."""
        self.path = path
        self.count = 0
        self.first: RejectedRow | None = None
        self._text = str if raw else defused
        self._header = [*NOTE_COLUMNS, *map(self._text, call_list.columns)]
        # The program that wrote the list reads this delimiter as a matter of course.
        self._delimiter = call_list.delimiter
        self._temporary: Path | None = None
        self._file: TextIO | None = None
        self._writer: Any = None
        if not path.parent.is_dir():
            raise Mistake(f"{path}: there is no such directory for the rejects file; create it first")
        if path.exists():
            if path.samefile(call_list.path):
                raise Mistake(f"{path}: is the list itself; name another file for the rejects")
            if not _is_rejects_file(path):
                raise Mistake(
                    f"{path}: exists and is no rejects file; name another with --rejects, or move it"
                )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self.discard()

    def write(self, rejected: RejectedRow) -> None:
        """Add one row. Raises Mistake if the file cannot be written."""
        self.first = self.first or rejected
        try:
            if self._file is None:
                self._open()
            # The notes are not read back. A reason that begins with a quoted cell is no formula.
            reason = rejected.reason if rejected.reason.startswith("'") else self._text(rejected.reason)
            notes = [rejected.line, self._text(rejected.column), reason]
            self._writer.writerow([*notes, *map(self._text, rejected.row.values())])
        except OSError as problem:
            raise Mistake(
                f"{self.path}: cannot be written: {problem.strerror}; name another file: --rejects FILE"
            ) from None
        self.count += 1

    def close(self) -> None:
        """Put the file in its place; `path` says which that is. Closing twice does nothing."""
        if self._file is None:
            return
        assert self._temporary is not None
        try:
            self._file.close()
            while self.path.exists() and not filecmp.cmp(self._temporary, self.path, shallow=False):
                self.path = _next_name(self.path)
            os.replace(self._temporary, self.path)
        except OSError as problem:
            self._temporary.unlink(missing_ok=True)
            raise Mistake(
                f"{self.path}: cannot be written: {problem.strerror}; name another file: --rejects FILE"
            ) from None
        finally:
            self._file = None

    def discard(self) -> None:
        """Forget what was written; an earlier file of that name stays as it is."""
        if self._file is not None and self._temporary is not None:
            self._file.close()
            self._temporary.unlink(missing_ok=True)
            self._file = None

    def _open(self) -> None:
        descriptor, name = tempfile.mkstemp(prefix=f".{self.path.name}.", dir=self.path.parent)
        self._temporary = Path(name)
        # Without the byte order mark Excel takes UTF-8 for the local code page, and the names that it then
        # saves along with the correction are spoiled for good.
        self._file = os.fdopen(descriptor, "w", encoding="utf-8-sig", newline="")
        self._writer = csv.writer(self._file, delimiter=self._delimiter)
        self._writer.writerow(self._header)


def _next_name(path: Path) -> Path:
    match = re.fullmatch(r"(.*?)(?:-(\d+))?", path.stem, re.DOTALL)
    assert match is not None
    return path.with_name(f"{match[1]}-{int(match[2] or 1) + 1}{path.suffix}")


def _is_rejects_file(path: Path) -> bool:
    with path.open("rb") as file:
        first = file.readline(4096).decode("utf-8-sig", errors="replace")
    return re.match(r"line([,;\t|])column\1reason\b", first) is not None
