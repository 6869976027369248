"""The dialer's own processes, as `dialer up` starts them but each twice, and what they are asked."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bench.chaos.checker import Findings, Rules, check
from bench.chaos.ground import BURST, CALLS_PER_SECOND, Ground

MAX_ATTEMPTS = 3
MAX_ACTIVE_CALLS = 100
"""Fewer than there would be: 40 calls a second of about 4 s each."""
CAMPAIGN = f"""
name = "chaos"

[connect]
instance_id = "10a4c4eb-f57e-4d4c-b602-bf39176ced07"
contact_flow_id = "b0b8f2dd-ed1b-4c44-af36-ce189a178181"
source_phone_number = "+14155550199"

[redial]
max_attempts = {MAX_ATTEMPTS}
busy = "2s"
no_answer = "3s"
when_unknown = "redial"
"""


class Crew(Protocol):
    """Some dialer's processes."""

    @property
    def environment(self) -> Mapping[str, str]:
        """For all of them."""

    @property
    def posts(self) -> Mapping[str, Sequence[str]]:
        """Role → `python -m` what. They run for as long as the drill does."""

    def loading(self, piece: Path) -> list[list[str]]:
        """What hands a list in, one command after the other; each is repeated until it succeeds."""

    def hungry(self) -> bool:
        """Whether it is time for another piece of the list."""

    def settled(self) -> bool:
        """Whether nothing is left to be done for anybody."""

    def progress(self) -> str:
        """Where it stands, in a few words."""

    def findings(self, people: Sequence[str]) -> Findings:
        """The journal against what the dialer knows."""


_HELD_SECONDS = 60
"""How long recipients may be held by searches, and nothing else go on, until that is the end."""


@dataclass
class Dialer:
    """This project: two dial workers, a control worker, two schedulers at once, and `dialer load`."""

    ground: Ground

    def __post_init__(self) -> None:
        self._held_since: float | None = None
        self._file = self.ground.home / "chaos.toml"
        self._file.write_text(CAMPAIGN)
        self.environment: Mapping[str, str] = self.ground.environment | {
            "DIALER_DATABASE_URL": self.ground.database_url,
            "DIALER_REDIS_URL": self.ground.redis_url,
            "DIALER_DATA_DIR": str(self.ground.home / "data"),
            "DIALER_EXCHANGE": "sandbox",
            "DIALER_CALLS_PER_SECOND": f"{CALLS_PER_SECOND:g}",
            "DIALER_BURST": str(BURST),
            "DIALER_MAX_ACTIVE_CALLS": str(MAX_ACTIVE_CALLS),
            # A worker that dies takes its queued tasks along until their lease has passed. It dies every
            # other second here, so it has few, and the lease is the shortest that the settings allow.
            "DIALER_DIAL_THREADS": "4",
            "DIALER_READ_TIMEOUT_SECONDS": "2",
            "DIALER_CLAIM_LEASE_SECONDS": "10",
            # Calls end ten times as fast as real ones: by the time of a second request a busy line is free.
            "DIALER_REPLAY_WINDOW_SECONDS": "0",
            "DIALER_FOLLOW_SECONDS": "1",
            "DIALER_DESCRIBE_PER_SECOND": "100",
            "DIALER_SEARCH_PER_SECOND": "5",
            "DIALER_SETTLE_SECONDS": "10",
        }
        worker = ["celery", "-A", "worker.app", "worker", "--pool", "threads", "-l", "INFO"]
        quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
        beat = ["celery", "-A", "worker.app", "beat", "--loglevel", "INFO", "--pidfile", ""]
        queues = {"dial-1": "dial-sandbox", "dial-2": "dial-sandbox", "control": "control-sandbox"}
        workers = {
            role: [*worker, "-Q", queue, "-n", f"{role}@%h", "--concurrency", "4", *quiet]
            for role, queue in queues.items()
        }
        self.posts: Mapping[str, Sequence[str]] = {**workers, "beat-1": beat, "beat-2": beat}

    def loading(self, piece: Path) -> list[list[str]]:
        """Both may be repeated: loading again adds nobody, and what is started stays started."""
        return [["worker.cli", "load", str(self._file), str(piece)], ["worker.cli", "start", "chaos"]]

    def hungry(self) -> bool:
        """Fewer wait than are dialed in some seconds."""
        return self._people().get("waiting", 0) < 150

    def settled(self) -> bool:
        """No recipient waits or is in progress, nor is held only until a search has shown something.

        A call that fits two attempts is looked for on and on, and its recipient is held: when nothing has
        moved for a minute, that is how it ends.
        """
        people = self._people()
        searched = "SELECT 1 FROM attempts WHERE state = 'unknown' AND settle_at IS NOT NULL LIMIT 1"
        # In this order: a search that ends in between lets a recipient wait again.
        searching = bool(self.ground.rows(searched))
        if people.get("waiting", 0) + people.get("in_progress", 0) or people != self._people():
            self._held_since = None
            return False
        now = time.monotonic()
        self._held_since = self._held_since or now
        return not searching or now > self._held_since + _HELD_SECONDS

    def progress(self) -> str:
        """The recipients by state."""
        return ", ".join(f"{n} {state}" for state, n in sorted(self._people().items()))

    def findings(self, people: Sequence[str]) -> Findings:
        """The journal against the ledger, which is read without the dialer's help."""
        return check(
            self.ground.requests(),
            people,
            self.ground.rows("SELECT id, phone, state, attempts FROM recipients ORDER BY id"),
            self.ground.rows(
                "SELECT id, recipient_id, number, client_token, state, contact_id, outcome"
                " FROM attempts ORDER BY recipient_id, number"
            ),
            Rules(frozenset({"busy", "no_answer"}), MAX_ATTEMPTS, CALLS_PER_SECOND, BURST, MAX_ACTIVE_CALLS),
        )

    def _people(self) -> dict[str, int]:
        try:
            rows = self.ground.rows("SELECT state, count(*) AS n FROM recipients GROUP BY state")
        except Exception as error:
            if "recipients" in str(error):  # no such table: the first load has yet to make it
                return {}
            raise
        return {row["state"]: row["n"] for row in rows}
