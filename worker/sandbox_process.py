"""The sandbox of one data directory, for trials on this machine.

    python -m worker.sandbox_process

Like the embedded Redis it is shared: the first to take the lock serves, the others stand by. Its journal
lies in the data directory, so calls that were under way when it stopped are known when it starts again.
"""

import os
import threading
from pathlib import Path

from campaigns.mistake import Mistake
from campaigns.plain_logs import plain_errors
from campaigns.plain_text import complain
from campaigns.settings import load_settings
from worker.children import alone, stop_with_parent
from worker.rehearsal_speed import SPEED
from worker.sandbox.options import SandboxOptions, call_seconds_from, describe_burst, search_burst
from worker.sandbox.server import serve
from worker.settings import DialerSettings

_YES = ("1", "true", "yes")


def options(settings: DialerSettings, journal: Path | None) -> SandboxOptions:
    """A stand-in with the quotas that the settings expect of the real thing."""
    given = os.environ.get
    call_seconds = given("DIALER_SANDBOX_CALL_SECONDS")
    return SandboxOptions(
        port=int(given("DIALER_SANDBOX_PORT", "0")),
        calls_per_second=settings.calls_per_second,
        burst=settings.burst,
        describe_per_second=settings.describe_per_second,
        describe_burst=describe_burst(settings.describe_per_second),
        search_per_second=settings.search_per_second,
        search_burst=search_burst(settings.search_per_second),
        speed=float(given("DIALER_SANDBOX_SPEED", "1")),
        # The benchmarks' own; nobody else needs them.
        call_seconds=call_seconds_from(call_seconds) if call_seconds else None,
        search_delay_seconds=float(given("DIALER_SANDBOX_SEARCH_DELAY", "0")),
        search_only_ended=given("DIALER_SANDBOX_SEARCH_ONLY_ENDED", "").lower() in _YES,
        faults=given("DIALER_SANDBOX_FAULTS", "").lower() in _YES,
        journal=journal,
    )


def main() -> None:
    """Serve until SIGTERM, or until the parent is gone."""
    plain_errors()
    stop_with_parent()
    settings = load_settings(DialerSettings)
    with alone(settings.data_dir / "sandbox.lock", threading.Event()) as ours:
        if ours and SPEED in os.environ:
            _rehearse(settings)
        elif ours:
            serve(options(settings, settings.data_dir / "sandbox-journal.jsonl"))


def _rehearse(settings: DialerSettings) -> None:
    """Serve by the clock of the ledger's rehearsal. Its calls have a journal of their own."""
    # Not above: the sandbox of any other trial starts without what the ledger needs.
    from campaigns.ledger import open_ledger
    from worker.rehearsing import follow_clock

    ledger, stopping = open_ledger(settings.ledger_url, create=False), threading.Event()
    try:
        follow_clock(ledger, stopping)
        given = options(settings, settings.data_dir / "rehearsal-journal.jsonl")
        serve(given, clock=lambda: ledger.now().timestamp())
    finally:
        stopping.set()
        ledger.close()


if __name__ == "__main__":
    try:
        main()
    except Mistake as mistake:
        complain(mistake)
        raise SystemExit(2) from None
