"""`dialer export`: the results, to standard output or into a file.

Heavy imports stand inside the commands, as in command_line.py.
"""

import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from campaigns.command_line import Name, Raw, RunNumber, app, put, the_ledger
from campaigns.mistake import Mistake
from campaigns.plain_text import Rows

if TYPE_CHECKING:
    from campaigns.export import Format
    from campaigns.ledger import Ledger


@app.command(
    short_help="Write the results, as CSV or JSON Lines.",
    epilog="Example: dialer export clinic-reminders -o results.csv",
)
def export(
    name: Name,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Where to write. Default: standard output."),
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
    raw: Raw = False,
) -> None:
    """Write the results: one row per accepted row of the list, as CSV or as JSON Lines.

    In CSV a cell that a spreadsheet would take for a formula gets an apostrophe in front, unless --raw is
    given.
    """
    from campaigns.export import export as export_to
    from campaigns.export import format_of

    chosen = format_of(written_as, output)
    with the_ledger(reads=True) as ledger:
        if output is None:
            sys.stdout.reconfigure(encoding="utf-8", newline="")  # type: ignore[union-attr] # a real stream
            export_to(ledger, name, Rows(sys.stdout), chosen, number=run_number, raw=raw)
            # Not at the exit: a reader who has gone would be found there by nobody but Python.
            sys.stdout.flush()
            return
        count = export_file(ledger, name, output, chosen, number=run_number, raw=raw)
    put(f"{count:,} row{'' if count == 1 else 's'} in {output}")


def export_file(
    ledger: "Ledger",
    name: str,
    path: Path,
    written_as: "Format | None" = None,
    *,
    number: int | None = None,
    raw: bool = False,
) -> int:
    """Write the results to a file, which appears whole or not at all. Returns how many rows.

    Of the run of this number; without one, of the latest. The format is the one that is told, or that the
    file's name tells.
    """
    from campaigns.export import export as export_to
    from campaigns.export import format_of

    if path.is_dir():
        raise Mistake(f"{path}: is a directory; name a file")
    try:
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise Mistake(f"{path}: cannot be written: {error.strerror}") from None
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as file:
            chosen = written_as or format_of(None, path)
            count = export_to(ledger, name, file, chosen, number=number, raw=raw)
        os.replace(temporary, path)
    except OSError as error:
        raise Mistake(f"{path}: cannot be written: {error.strerror}") from None
    finally:
        Path(temporary).unlink(missing_ok=True)
    return count
