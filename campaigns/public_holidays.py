"""Is this day a public holiday there? The days are those of the `holidays` package."""

from datetime import date
from functools import lru_cache
from typing import Any


def known_place(text: str) -> str:
    """`us`, `US-FL` → the name under which `is_holiday` knows it. Raises ValueError for any other."""
    import holidays

    country, _, part = text.strip().upper().partition("-")
    places = holidays.list_supported_countries()
    if country not in places:
        raise ValueError('expected a country\'s two letters, such as "US", or with a part of it, "US-FL"')
    if not part:
        return country
    parts = {each.upper(): each for each in places[country]}
    if part not in parts:
        raise ValueError(f"{country} has no part {part}; there are: {', '.join(places[country]) or 'none'}")
    return f"{country}-{parts[part]}"


def is_holiday(place: str, day: date) -> bool:
    """Whether a day is a public holiday in a place that `known_place` has named."""
    return day in _days(place)


@lru_cache(maxsize=64)
def _days(place: str) -> Any:
    # Imported late: it takes a while, and most campaigns name none.
    import holidays

    country, _, part = place.partition("-")
    return holidays.country_holidays(country, subdiv=part or None)
