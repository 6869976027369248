"""Rules on calling that others have made, with their dates and sources: data, and no legal advice."""

import tomllib
from dataclasses import dataclass
from datetime import date
from functools import cache
from importlib.resources import files

from campaigns.calling_hours import Week
from campaigns.nearest import nearest

_PARTS = (*5 * ["weekdays"], *2 * ["weekend"])


@dataclass(frozen=True, slots=True)
class Preset:
    """One rule, as it was known on a day."""

    name: str
    in_words: str
    """What it allows, shortly."""
    week: Week
    per_number_per_day: int | None
    """Calls to one number within 24 hours."""
    per_number_per_week: int | None
    """Within 168 hours."""
    source: str
    as_of: date


def preset(name: str) -> Preset:
    """The preset of this name. Raises ValueError naming those that there are."""
    known = presets()
    if name not in known:
        near = nearest(name, known)
        hint = f"did you mean {near}?" if near else f"there are: {', '.join(known)}"
        raise ValueError(f"there is no preset {name!r}; {hint}")
    return known[name]


@cache
def presets() -> dict[str, Preset]:
    """All presets, by name."""
    from campaigns.calling_hours_options import minutes

    found = tomllib.loads(files("campaigns").joinpath("presets.toml").read_text(encoding="utf-8"))
    return {
        name: Preset(
            name=name,
            in_words=each["in_words"],
            week=tuple((minutes(each.get("every_day") or each[part]),) for part in _PARTS),
            per_number_per_day=each.get("per_number_per_day"),
            per_number_per_week=each.get("per_number_per_week"),
            source=each["source"],
            as_of=each["as_of"],
        )
        for name, each in found.items()
    }
