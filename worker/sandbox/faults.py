"""Throttling, errors, dropped connections and slow answers on request."""

import math
import random
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from worker.sandbox.numbers import Fault, Script

Rate = Field(default=0.0, ge=0.0, le=1.0)


class FaultRates(BaseModel):
    """How large a share of the requests meets which fault. Shares add up to 1 at most."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    throttle: float = Rate
    error_before: float = Rate
    error_after: float = Rate
    drop_before: float = Rate
    drop_after: float = Rate
    slow_after: float = Rate
    describe_error: float = Rate
    """Of DescribeContact's requests, which throw dice of their own: it is not counted into the sum."""
    search_error: float = Rate
    """Of SearchContacts' requests, likewise."""
    slow_seconds: float = Field(default=15.0, ge=0.0, le=3600.0)
    """Real seconds until a slow answer comes; boto3 as the dialer sets it gives up after 10."""
    for_seconds: float | None = Field(default=None, gt=0.0, le=86_400.0)
    """Real seconds from now until there are no faults by chance any more; None: until others are posted."""
    seed: int = 0

    @model_validator(mode="after")
    def _at_most_all(self) -> Self:
        if sum(rate for _, rate in self.shares()) > 1.0 + 1e-9:
            raise ValueError("the rates add up to more than 1")
        return self

    def shares(self) -> list[tuple[Fault, float]]:
        """StartOutboundVoiceContact's faults and their shares, in a fixed order."""
        return [
            (Fault.THROTTLE, self.throttle),
            (Fault.ERROR_BEFORE, self.error_before),
            (Fault.ERROR_AFTER, self.error_after),
            (Fault.DROP_BEFORE, self.drop_before),
            (Fault.DROP_AFTER, self.drop_after),
            (Fault.SLOW_AFTER, self.slow_after),
        ]


class Faults:
    """Chooses each request's fault: the number's own first, then by the rates."""

    def __init__(self) -> None:
        self._met: set[str] = set()
        self.set(FaultRates())

    def set(self, rates: FaultRates, now: float = 0.0) -> None:
        """Use these rates from `now` on, with the same choices again for the same seed."""
        self.rates = rates
        self._until = math.inf if rates.for_seconds is None else now + rates.for_seconds
        # Each operation has dice of its own, so that looking at calls does not change which ones fail.
        self._chance = random.Random(rates.seed)  # noqa: S311 - a test's dice, not a secret
        self._others = {
            "DescribeContact": (rates.describe_error, random.Random(rates.seed)),  # noqa: S311 - likewise
            "SearchContacts": (rates.search_error, random.Random(rates.seed)),  # noqa: S311 - likewise
        }

    def of_number(self, script: Script, attempt: str) -> Fault | None:
        """The fault that the number asks for. `attempt` is the client token, or the number without one."""
        if script.fault is None or script.every_time:
            return script.fault
        if attempt in self._met:
            return None
        self._met.add(attempt)
        return script.fault

    def by_chance(self, now: float) -> Fault | None:
        """A throw of the dice for one request. `now` is in seconds since 1970."""
        if now >= self._until:
            return None
        shares = self.rates.shares()
        if not any(rate for _, rate in shares):
            return None
        left = self._chance.random()
        for fault, rate in shares:
            if left < rate:
                return fault
            left -= rate
        return None

    def fails(self, operation: str, now: float) -> bool:
        """A throw of the dice for one request of another operation."""
        rate, chance = self._others.get(operation, (0.0, None))
        return now < self._until and chance is not None and chance.random() < rate

    def remember(self, attempt: str) -> None:
        """An earlier life of the sandbox gave this attempt its number's fault."""
        self._met.add(attempt)
