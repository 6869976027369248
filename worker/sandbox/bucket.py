"""The rate that one API allows: a token bucket, as AWS describes its own."""


class TokenBucket:
    """Full at first; every request takes one token; tokens come back at `per_second`, up to `burst`."""

    def __init__(self, per_second: float, burst: int, now: float) -> None:
        self._per_second = per_second
        self._burst = float(burst)
        self._tokens = float(burst)
        self._filled_at = now

    def take(self, now: float) -> bool:
        """Whether a request at `now` (seconds, any origin) is within the rate."""
        self._fill(now)
        if self._tokens < 1.0:
            return False
        self._tokens -= 1.0
        return True

    def change(self, per_second: float, burst: int, now: float) -> None:
        """Another rate from `now` on; what is in the bucket stays, as far as it still fits."""
        self._fill(now)
        self._per_second = per_second
        self._burst = float(burst)
        self._tokens = min(self._burst, self._tokens)

    def _fill(self, now: float) -> None:
        # A clock that was set back gives nothing and takes nothing.
        passed = max(0.0, now - self._filled_at)
        self._tokens = min(self._burst, self._tokens + passed * self._per_second)
        self._filled_at = now
