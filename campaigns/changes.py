"""What differs between two versions of one campaign's file."""

from collections.abc import Mapping
from dataclasses import dataclass

from campaigns.attempt import Outcome
from campaigns.campaign import Campaign, RedialOptions
from campaigns.redial import Rule


@dataclass(frozen=True, slots=True)
class Change:
    """One key that says something else than before."""

    key: str
    """As in the file, with its table: `redial.busy`."""
    was: object
    """As the ledger keeps it; None where it was not in the file and has no default."""
    now: object


def changes(was: Campaign, now: Campaign) -> tuple[Change, ...]:
    """The keys whose values differ, by name. Another order or spelling (`10m`, `600s`) is no difference."""
    return tuple(_differing(was.model_dump(mode="json"), now.model_dump(mode="json"), ""))


def more_often(was: RedialOptions, now: RedialOptions) -> tuple[Outcome, ...]:
    """The outcomes after which a recipient may be dialed again more often than before."""
    more_attempts = now.max_attempts > was.max_attempts
    if now.max_attempts == 1:
        return ()
    return tuple(
        outcome
        for outcome, rule in now.after.items()
        if more_attempts or _redials(rule) > _redials(was.after.get(outcome))
    )


def _redials(rule: Rule | None) -> float:
    """How often at most, as far as the rule itself says."""
    if rule is None:
        return 0
    return float("inf") if rule.max_redials is None else rule.max_redials


def _differing(was: Mapping[str, object], now: Mapping[str, object], prefix: str) -> list[Change]:
    found: list[Change] = []
    for key in sorted(was.keys() | now.keys()):
        before, after = was.get(key), now.get(key)
        # A rule is one value, whether it stands there as "10m" or as a table.
        if isinstance(before, dict) and isinstance(after, dict) and prefix != "redial.after.":
            found += _differing(before, after, f"{prefix}{key}.")
        elif before != after:
            # `after` holds the outcomes, which are keys of [redial] itself in the file.
            found.append(Change((prefix + key).replace("redial.after.", "redial."), before, after))
    return found
