"""Is this day a public holiday there? The days are those of the `holidays` package."""

from datetime import date
from functools import lru_cache

from campaigns.nearest import nearest


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
        near = nearest(part, parts, cutoff=0.7)
        there_are = f"there are: {', '.join(parts) or 'none'}"
        hint = f"did you mean {country}-{parts[near]}?" if near else there_are
        raise ValueError(f"{country} has no part {part}; {hint}")
    return f"{country}-{parts[part]}"


def is_holiday(place: str, day: date) -> bool:
    """Whether a day is a public holiday in a place that `known_place` has named."""
    return day in _days(place, day.year)


@lru_cache(maxsize=1024)
def _days(place: str, year: int) -> frozenset[date]:
    # Imported late: it takes a while, and most campaigns name none.
    import holidays

    country, _, part = place.partition("-")
    # A set of our own: the package's grows while it is asked, and another thread would find half a year.
    return frozenset(holidays.country_holidays(country, subdiv=part or None, years=year))
