"""`dialer export`: the results, to standard output or into a file.

Heavy imports stand inside the commands, as in command_line.py.
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from campaigns.command_line import Name, Raw, RunNumber, app, put, the_ledger
from campaigns.list_input import is_standard
from campaigns.mistake import Mistake
from campaigns.plain_text import Rows

if TYPE_CHECKING:
    from campaigns.export import Cells, Format
    from campaigns.ledger import Ledger


@app.command(
    short_help="Write the results, as CSV or JSON Lines.",
    epilog="Example: dialer export clinic-reminders -o results.csv",
)
def export(
    name: Name,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Where to write. Default, and -: standard output."
        ),
    ] = None,
    run_number: RunNumber = None,
    written_as: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="csv|jsonl",
            help="Default: by FILE's name, .jsonl and .ndjson are JSON Lines; else CSV.",
        ),
    ] = None,
    excel: Annotated[
        bool,
        typer.Option(
            "--excel", help='CSV for Excel: numbers stay whole as text, ="+14155550101". Loading reads it.'
        ),
    ] = False,
    raw: Raw = False,
) -> None:
    """Write the results: one row per accepted row of the list, as CSV or as JSON Lines.

    In CSV a cell that a spreadsheet would take for a formula gets an apostrophe in front, unless --raw is
    given. A CSV file with letters beyond ASCII begins with a byte order mark, by which Excel knows UTF-8.
    """
    from campaigns.export import Cells, Format, format_of, refuse_other_format
    from campaigns.export import export as export_to

    if is_standard(output):
        output = None
    if output is not None:
        refuse_other_format(output)
    chosen = format_of(written_as, output)
    if excel and (raw or chosen != Format.CSV):
        raise Mistake(
            f"--excel: is about CSV's cells, and {'--raw' if raw else 'JSON Lines'} is another form"
        )
    cells = Cells.TEXT if excel else Cells.RAW if raw else Cells.DEFUSED
    with the_ledger(reads=True) as ledger:
        if output is None:
            sys.stdout.reconfigure(encoding="utf-8", newline="")  # type: ignore[union-attr] # a real stream
            out = Rows(sys.stdout)
            if excel and not sys.stdout.isatty():
                out.write(_MARK)
            export_to(ledger, name, out, chosen, number=run_number, cells=cells)
            # Not at the exit: a reader who has gone would be found there by nobody but Python.
            sys.stdout.flush()
            return
        count = export_file(ledger, name, output, chosen, number=run_number, cells=cells)
    put(f"{count:,} row{'' if count == 1 else 's'} in {output}")


def export_file(
    ledger: "Ledger",
    name: str,
    path: Path,
    written_as: "Format | None" = None,
    *,
    number: int | None = None,
    cells: "Cells | None" = None,
) -> int:
    """Write the results to a file, which appears whole or not at all. Returns how many rows.

    Of the run of this number; without one, of the latest. The format is the one that is told, or that the
    file's name tells. CSV for Excel, and CSV with letters beyond ASCII, has a byte order mark.
    """
    from campaigns.export import Cells, Format, format_of
    from campaigns.export import export as export_to

    if path.is_dir():
        raise Mistake(f"{path}: is a directory; name a file")
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise Mistake(f"{path}: cannot be written: {error.strerror}") from None
    try:
        chosen = written_as or format_of(None, path)
        cells = cells or Cells.DEFUSED
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            out = _Watched(file)
            count = export_to(ledger, name, out, chosen, number=number, cells=cells)
        if chosen == Format.CSV and (out.beyond_ascii or cells == Cells.TEXT):
            _put_mark(temporary)
        os.replace(temporary, path)
    except OSError as error:
        raise Mistake(f"{path}: cannot be written: {error.strerror}") from None
    finally:
        Path(temporary).unlink(missing_ok=True)
    return count


_MARK = "\ufeff"


class _Watched:
    """A stream that knows whether anything beyond ASCII was written to it."""

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self.beyond_ascii = False

    def write(self, text: str, /) -> int:
        if not text.isascii():
            self.beyond_ascii = True
        return self._out.write(text)


def _put_mark(path: str) -> None:
    """Put a byte order mark in front: without one Excel takes UTF-8 for the machine's own code page.

    What is all ASCII goes without it, because programs that read UTF-8 take it for a part of the first name.
    """
    marked = f"{path}.marked"
    try:
        with open(path, "rb") as plain, open(marked, "xb") as file:
            os.fchmod(file.fileno(), os.fstat(plain.fileno()).st_mode)
            file.write(_MARK.encode())
            shutil.copyfileobj(plain, file, 1 << 20)
        os.replace(marked, path)
    finally:
        Path(marked).unlink(missing_ok=True)
