"""A recipient as the list has them → by whose clocks they may be called, and when: what the loader adds."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from campaigns.campaign import Campaign
from campaigns.number_zones import number_zones
from campaigns.recipient import Recipient


@dataclass(frozen=True, slots=True)
class Untimely:
    """There is no time at which this recipient may be called."""

    column: str
    """The list's column to correct."""
    reason: str
    """What is wrong and what to do. It completes a sentence that begins with the cell, or with the row."""


def timed(campaign: Campaign, person: Recipient, now: datetime) -> Sequence[Recipient] | Untimely:
    """One recipient for each time at which they are to be called; without reminders, one.

    Pure: nothing is read or written.
    """
    zones = number_zones(person.phone) | ({person.time_zone} if person.time_zone else set())
    return [replace(person, zones=" ".join(sorted(zones)) or None)]
