"""How fast the clock of a rehearsal runs, as its processes are told by the one that starts them."""

import os

SPEED = "DIALER_REHEARSAL_SPEED"
"""Seconds that the rehearsal's clock shows in a real second. Set by `dialer up` and `dialer run` alone."""


def speed() -> float:
    """The speed of the rehearsal that this process is part of; 1.0 outside one."""
    return float(os.environ.get(SPEED) or 1.0)


def every(seconds: float) -> float:
    """Real seconds between two rounds that are `seconds` apart outside a rehearsal; at least 1 in one."""
    return max(min(seconds, 1.0), seconds / speed())
