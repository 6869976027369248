"""Who waits, and for what: which rule keeps how many people from being dialed, and until when."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from campaigns.calling_hours import Hours, Window, next_window, not_known
from campaigns.campaign import Campaign

_A_MOMENT = timedelta(microseconds=1)


class Rule(StrEnum):
    """What keeps somebody from being dialed now."""

    CALLING_HOURS = "calling_hours"
    LIMITS = "limits"
    REDIAL = "redial"
    REMINDER = "reminder"
    NO_TIME_ZONE = "no_time_zone"
    """None is known, and the calling hours go by it. For ever."""
    NEVER_OPEN = "never_open"
    """The calling hours of all their zones do not meet within a year."""
    NOT_KNOWN = "not_known"
    """The calling hours go by something that is not known here: a zone, a preset, a place's holidays."""


@dataclass(frozen=True, slots=True)
class Later:
    """People who are due later, for one reason."""

    rule: Rule
    """LIMITS, REDIAL or REMINDER."""
    recipients: int
    first: datetime
    """When the first of them is due."""
    last: datetime


@dataclass(frozen=True, slots=True)
class Waiting:
    """People of one run who wait, and are in the same places."""

    zones: str | None
    """IANA names, spaces between, as the ledger has them; None: none is known."""
    due: int
    """So many are due now, whatever the calling hours say."""
    later: tuple[Later, ...] = ()

    @property
    def recipients(self) -> int:
        """All of them."""
        return self.due + sum(later.recipients for later in self.later)


@dataclass(frozen=True, slots=True)
class Wait:
    """One rule, and those whom it keeps waiting."""

    rule: Rule
    recipients: int
    until: datetime | None
    """When the first of them can be dialed; None: never."""
    time_zone: str | None = None
    """By whose clock that was worked out; None: by no clock, or for ever."""
    why: str | None = None
    """With NOT_KNOWN: what is not known, in words, and what to do."""


def waits(groups: Iterable[Waiting], campaign: Campaign, now: datetime) -> tuple[Wait, ...]:
    """Whom the rules keep waiting, the largest part first. Whoever can be dialed now is in none of them."""
    found: dict[tuple[Rule, str | None], Wait] = {}
    for group in groups:
        zones = places(campaign, group.zones)
        window = campaign.timetable.window(zones, now) if campaign.timetable.rules else None
        if campaign.timetable.rules and window is None:
            _add(found, _for_ever(campaign, zones, group.recipients))
            continue
        if group.due and window is not None and window.opens > now:
            zone = opens_by(campaign.timetable.rules, zones, window)
            _add(found, Wait(Rule.CALLING_HOURS, group.due, window.opens, zone))
        for later in group.later:
            until = earliest(campaign.timetable.rules, zones, later.first)
            _add(found, Wait(later.rule, later.recipients, until))
    return tuple(sorted(found.values(), key=lambda wait: (-wait.recipients, wait.rule, wait.why or "")))


def _for_ever(campaign: Campaign, zones: Sequence[str], recipients: int) -> Wait:
    if why := not_known(campaign.timetable.rules, zones):
        return Wait(Rule.NOT_KNOWN, recipients, None, why=why)
    no_zone = campaign.timetable.asks_for_zones and not zones
    return Wait(Rule.NO_TIME_ZONE if no_zone else Rule.NEVER_OPEN, recipients, None)


def places(campaign: Campaign, known: str | None) -> tuple[str, ...]:
    """The zones that decide when somebody may be called: none where one clock counts for everybody."""
    return campaign.zones(known) if campaign.timetable.asks_for_zones else ()


def earliest(rules: Sequence[Hours], zones: Sequence[str], at: datetime) -> datetime | None:
    """The first open instant from `at` on; None if there is none within a year."""
    if not rules:
        return at
    window = next_window(rules, zones, at)
    return window.opens if window is not None else None


def opens_by(rules: Sequence[Hours], zones: Sequence[str], window: Window) -> str | None:
    """The zone whose clock opens a window, being the last one that was closed."""
    for rule in rules:
        for zone in [rule.zone] if rule.zone is not None else zones:
            own = next_window([rule], [zone], window.opens - _A_MOMENT)
            if own is None or own.opens >= window.opens:
                return zone
    return None


def _add(found: dict[tuple[Rule, str | None], Wait], more: Wait) -> None:
    """Join those whom one rule keeps; the first of them says until when."""
    about = (more.rule, more.why)
    known = found.get(about)
    if known is None:
        found[about] = more
        return
    sooner = more if known.until is None or (more.until and more.until < known.until) else known
    recipients = known.recipients + more.recipients
    found[about] = Wait(more.rule, recipients, sooner.until, sooner.time_zone, more.why)
