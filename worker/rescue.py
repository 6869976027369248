"""What a crash left half-done goes back to due if it never rang, and is unknown if it may have."""

import logging
from datetime import datetime

from campaigns.ledger import Ledger
from campaigns.ledger.claims import Rescued, take_back_expired

log = logging.getLogger(__name__)


def rescue(ledger: Ledger, now: datetime) -> Rescued:
    """Take back the attempts whose lease has passed."""
    rescued = take_back_expired(ledger, now)
    if rescued.returned:
        log.warning("%d queued attempts did not reach a worker in time; they are due again", rescued.returned)
    if rescued.unknown:
        log.error("%d attempts were cut off while dialing; they may have rung", rescued.unknown)
    return rescued
