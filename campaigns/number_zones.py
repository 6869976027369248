"""A telephone number → every time zone in which its telephone may be."""

from functools import lru_cache

import phonenumbers
from phonenumbers import timezone

_NONE = "Etc/Unknown"


@lru_cache(maxsize=4096)
def number_zones(phone: str) -> frozenset[str]:
    """`+14155550100` → {`America/Los_Angeles`}; nothing for a number of which nothing is known. E.164 in."""
    number = phonenumbers.parse(phone)
    return frozenset(timezone.time_zones_for_number(number)) - {_NONE}
