"""What the benchmarks share: a dialer in a folder of its own, with real processes and the sandbox."""

import csv
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from _ground import CAMPAIGN
from phonenumbers import PhoneNumber, is_valid_number

from campaigns.ledger import Ledger, open_ledger

ANSWERED = range(70)
"""Last two digits that a person answers in the sandbox, and that play no fault."""


class Office:
    """A dialer with one campaign, `bench`, which is loaded and not started yet."""

    def __init__(
        self,
        home: Path,
        rows: Iterable[Mapping[str, object]],
        settings: Mapping[str, object],
        campaign: str = "",
    ) -> None:
        """`rows`: the list. `settings`: environment variables, in place of whatever the caller has."""
        self.home = home
        self.data = home / "data"
        clean = {
            name: value for name, value in os.environ.items() if not name.startswith(("DIALER_", "AWS_"))
        }
        self._environment = {
            **clean,
            "PYTHONPATH": str(Path(__file__).resolve().parents[1]),
            "DIALER_DATA_DIR": str(self.data),
            **{name: str(value) for name, value in settings.items()},
        }
        (home / "campaign.toml").write_text(CAMPAIGN + campaign)
        everybody = list(rows)
        with (home / "list.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, list(everybody[0]))
            writer.writeheader()
            writer.writerows(everybody)
        self.dialer("load", "campaign.toml", "list.csv")

    def dialer(self, *arguments: str) -> str:
        """A `dialer` command that comes to its end; what it prints."""
        command = self._command(*arguments)
        done = subprocess.run(command, cwd=self.home, env=self._environment, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"dialer {arguments[0]} failed:\n{done.stderr}")
        return done.stdout

    @contextmanager
    def up(self, *arguments: str) -> Iterator[None]:
        """`dialer up --sandbox`; the sandbox answers already. Stopped at the end."""
        log = self.home / "up.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                self._command("up", "--sandbox", "--faults", *arguments),
                cwd=self.home,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
            )
        try:
            until = time.monotonic() + 60
            while not self._sandbox_answers():
                if process.poll() is not None or time.monotonic() > until:
                    raise SystemExit(f"dialer up does not come up:\n{log.read_text()}")
                time.sleep(0.2)
            yield
            if process.poll() is not None:
                raise SystemExit(f"dialer up has ended by itself:\n{log.read_text()}")
        finally:
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def ask(self, page: str, content: Mapping[str, object] | None = None) -> Any:
        """GET, or with content POST, one of the sandbox's own pages."""
        port = (self.data / "sandbox.port").read_text()
        body = None if content is None else json.dumps(content).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{port}/_sandbox/{page}", body)
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10) as said:
            return json.loads(said.read())

    def requests(self) -> list[dict[str, Any]]:
        """Every StartOutboundVoiceContact so far, as the sandbox wrote it down."""
        journal = (self.data / "sandbox-journal.jsonl").read_text()
        lines = journal[: journal.rfind("\n") + 1].splitlines()
        return [line for line in map(json.loads, lines) if line["operation"] == "StartOutboundVoiceContact"]

    @contextmanager
    def ledger(self) -> Iterator[Ledger]:
        """The ledger, to look into."""
        ledger = open_ledger(f"sqlite:///{self.data / 'ledger.sqlite'}", create=False)
        try:
            yield ledger
        finally:
            ledger.close()

    def _command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "worker.cli", *arguments]

    def _sandbox_answers(self) -> bool:
        try:
            self.ask("stats")
        except (OSError, ValueError):
            return False
        return True


@contextmanager
def office(
    rows: Iterable[Mapping[str, object]], settings: Mapping[str, object], campaign: str = ""
) -> Iterator[Office]:
    """An office that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="dialer-bench-") as folder:
        yield Office(Path(folder), rows, settings, campaign)


def phones(count: int, last_two_digits: range = ANSWERED) -> list[dict[str, object]]:
    """A list of so many different numbers, all of them reserved for fiction."""
    areas = (a for a in range(201, 990) if is_valid_number(PhoneNumber(1, a * 10**7 + 5550100)))
    numbers = (f"+1{area}55501{digits:02}" for area in areas for digits in last_two_digits)
    found: list[dict[str, object]] = [
        {"phone": number} for number, _ in zip(numbers, range(count), strict=False)
    ]
    if len(found) < count:
        raise SystemExit(f"there are {len(found):,} different numbers only; ask for fewer recipients")
    return found


class Stolen:
    """The share of the processors' time that a virtual machine's host gave to others since this was made."""

    def __init__(self) -> None:
        self._before = self._ticks()

    def __str__(self) -> str:
        stolen, total = (after - was for after, was in zip(self._ticks(), self._before, strict=True))
        return f"{stolen / max(total, 1):.0%}"

    @staticmethod
    def _ticks() -> tuple[int, int]:
        """(stolen, all) in clock ticks since the start of the machine; nothing where /proc does not say."""
        try:
            ticks = [int(field) for field in Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]
        except OSError:
            return 0, 0
        return ticks[7], sum(ticks)


def markdown(*cells: object) -> str:
    """One row of a table."""
    return f"| {' | '.join(map(str, cells))} |"
