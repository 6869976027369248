"""A terminal that was closed: the command goes on to its clean end, and writes to it no longer."""

import os
import signal
import stat
import sys
from contextlib import suppress


def is_heeded() -> bool:
    """Whether SIGHUP is meant for this process; under nohup it is ignored, and stays so."""
    return signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN


def write_no_longer() -> None:
    """Point standard output and error to the null device where they are a terminal; files and pipes stay.

    Writing to a terminal that is gone raises an OSError, which would cut the stopping short half-way.
    """
    for stream in (sys.stdout, sys.stderr):
        # A test's stream may have no file.
        with suppress(OSError, ValueError):
            # Not isatty(): it says no of a terminal that is gone.
            if stat.S_ISCHR(os.fstat(stream.fileno()).st_mode):
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, stream.fileno())
                os.close(null)
