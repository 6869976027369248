"""What can be set."""

from dataclasses import dataclass
from pathlib import Path

from campaigns.mistake import Mistake


@dataclass(frozen=True, slots=True)
class SandboxOptions:
    """The sandbox's settings. Rates are requests per real second; defaults are a new account's quotas."""

    host: str = "127.0.0.1"
    port: int = 8480
    """0 picks a free one."""
    calls_per_second: float = 2.0
    burst: int = 5
    describe_per_second: float = 10.0
    """For DescribeContact, and again, separately, for StopContact."""
    describe_burst: int = 15
    search_per_second: float = 0.5
    search_burst: int = 1
    max_active_calls: int | None = None
    """Calls at once; one more is accepted and ends at once with TELECOM_BUSY. None: no limit."""
    speed: float = 1.0
    """Call seconds per real second; the rates above are not changed by it."""
    latency_seconds: float = 0.0
    """How long every answer takes."""
    search_delay_seconds: float = 0.0
    """How long a new call stays hidden from SearchContacts."""
    journal: Path | None = None

    def __post_init__(self) -> None:
        """Raises Mistake for a value that cannot work."""
        for name in ("calls_per_second", "describe_per_second", "search_per_second", "speed"):
            if not getattr(self, name) > 0:
                raise Mistake(f"the sandbox's {name} must be above 0, such as 2.0")
        for name in ("burst", "describe_burst", "search_burst"):
            if getattr(self, name) < 1:
                raise Mistake(f"the sandbox's {name} must be 1 or more")
        for name in ("latency_seconds", "search_delay_seconds"):
            if getattr(self, name) < 0:
                raise Mistake(f"the sandbox's {name} must be 0 or more")
        if self.max_active_calls is not None and self.max_active_calls < 0:
            raise Mistake("the sandbox's max_active_calls must be 0 or more, or left out for no limit")
