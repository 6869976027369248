"""What can be set."""

import math
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from campaigns.mistake import Mistake


class StartQuota(BaseModel):
    """The rate of StartOutboundVoiceContact, which /_sandbox/quota changes while the sandbox runs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    calls_per_second: float = Field(gt=0, allow_inf_nan=False)
    burst: int = Field(ge=1)


def call_seconds_from(text: str) -> tuple[float, float]:
    """`6-30` → (6.0, 30.0). Raises Mistake."""
    least, _, most = text.partition("-")
    try:
        return float(least), float(most)
    except ValueError:
        raise Mistake(f"{text!r} is no span of seconds; write the least and the most, such as 6-30") from None


def describe_burst(per_second: float) -> int:
    """The burst that goes with this rate of DescribeContact, as 15 goes with 10/s."""
    return max(15, int(per_second * 1.5)) if math.isfinite(per_second) else 15


def search_burst(per_second: float) -> int:
    """The burst that goes with this rate of SearchContacts, as 1 goes with 0.5/s."""
    return max(1, int(per_second * 2)) if math.isfinite(per_second) else 1


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
    call_seconds: tuple[float, float] | None = None
    """(least, most) call seconds of every call that makes a telephone ring, from its placing to its end.
    The number decides which of them. None: as the table of the numbers has it."""
    latency_seconds: float = 0.0
    """How long every answer takes."""
    search_delay_seconds: float = 0.0
    """How long a new call stays hidden from SearchContacts, in real seconds."""
    search_only_ended: bool = False
    """SearchContacts finds a call only once it is over (and the delay counts from there): Connect lists voice
    contacts when they were connected to an agent or disconnected, and no call here has an agent."""
    faults: bool = False
    """Requests for numbers that end in 89 to 99 meet the faults of docs/sandbox.md. Off by default, because a
    list of the user's own has such numbers too. Faults by share do not depend on it."""
    journal: Path | None = None
    incognito: bool = False
    """It does not say who it is, and counts as Amazon Connect: for drills and tests of real runs alone."""

    def __post_init__(self) -> None:
        """Raises Mistake for a value that cannot work."""
        for name in ("calls_per_second", "describe_per_second", "search_per_second", "speed"):
            if not 0 < getattr(self, name) < math.inf:
                raise Mistake(f"the sandbox's {name} must be above 0, such as 2.0")
        for name in ("burst", "describe_burst", "search_burst"):
            if getattr(self, name) < 1:
                raise Mistake(f"the sandbox's {name} must be 1 or more")
        for name in ("latency_seconds", "search_delay_seconds"):
            if getattr(self, name) < 0:
                raise Mistake(f"the sandbox's {name} must be 0 or more")
        if self.call_seconds is not None:
            least, most = self.call_seconds
            if not 0 < least <= most < math.inf:
                raise Mistake("the sandbox's call_seconds must be the least and the most, such as 6-30")
        if self.max_active_calls is not None and self.max_active_calls < 0:
            raise Mistake("the sandbox's max_active_calls must be 0 or more, or left out for no limit")
