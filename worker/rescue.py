"""What a crash left half-done goes back to due if it never rang, and is unknown if it may have."""

import logging
from datetime import datetime, timedelta

from campaigns.ledger import Ledger
from campaigns.ledger.claims import Rescued, bring_forward, take_back_expired
from campaigns.ledger.outcomes import bring_follows_forward

log = logging.getLogger(__name__)


def rescue(ledger: Ledger, now: datetime, *, lease: timedelta, search_after: timedelta) -> Rescued:
    """Take back the attempts whose lease has passed, and those that a clock of another time put off."""
    longest = lease * ledger.clock_speed
    rescued = take_back_expired(ledger, now, longest_lease=longest, settle_at=now + search_after)
    if rescued.returned:
        log.warning("%d queued attempts did not reach a worker in time; they are due again", rescued.returned)
    if rescued.unknown:
        log.error("%d attempts were cut off while dialing; they may have rung", rescued.unknown)
    brought = bring_forward(ledger, now) + bring_follows_forward(ledger, now)
    if brought:
        log.warning("%d attempts were put off by a clock that was ahead; they are due now", brought)
    return rescued
