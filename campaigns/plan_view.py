"""A plan in words and tables, for people; and as JSON, for machines."""

from collections import Counter
from datetime import datetime
from typing import Any

from campaigns import conflicts_view
from campaigns.attempt import RunState
from campaigns.calling_hours import Window
from campaigns.calling_hours_options import RECIPIENT
from campaigns.list_read import as_json as read_as_json
from campaigns.list_read import in_words as read_in_words
from campaigns.plain_text import visible
from campaigns.plan import Pace, Place, Plan
from campaigns.recipient import masked
from campaigns.time_words import about_days, clock, in_time, local
from campaigns.waits import opens_by
from campaigns.zone_data import is_known

_REASONS = 10
_PLACES = 20
_HOURS = 36  # lines of calls per hour; where there are more, they are told per day
_DAYS = 31
_BAR = 40  # characters
_NAMES = 3
_VALUE = 100  # characters of an attribute's value


def in_words(plan: Plan, call_seconds: float) -> list[str]:
    """What would become of the list, line by line."""
    return [
        *_rows(plan),
        *read_in_words(plan.read),
        *_changed(plan),
        *_rejections(plan),
        *_number_hints(plan),
        *_from_the_ledger(plan),
        *_heard(plan),
        *conflicts_view.in_words(plan.conflicts),
        *(_calling_hours(plan) if plan.calls else []),
        *(_reminders(plan) if plan.due_per_hour else []),
        *(_calls(plan, call_seconds) if plan.calls else []),
        "nothing was changed: this is what would happen",
    ]


def as_json(plan: Plan, call_seconds: float) -> dict[str, Any]:
    """The same for machines."""
    rules = plan.campaign.timetable.rules
    return {
        "campaign": plan.campaign.name,
        "list": str(plan.list_path),
        **read_as_json(plan.read),
        "at": _iso(plan.at),
        "ledger_read": plan.ledger_unread is None,
        "state": plan.state,
        "rows": plan.rows,
        "accepted": plan.accepted,
        "duplicates": plan.duplicates_in_list + plan.already_loaded,
        "duplicates_in_list": plan.duplicates_in_list,
        "already_loaded": plan.already_loaded,
        "suppressed": plan.suppressed,
        "changed": plan.changed,
        "updated": plan.updated,
        "changed_rows": [
            {"line": each.line, "key": each.key, "columns": list(each.columns), "taken": each.taken}
            for each in plan.first_changed
        ],
        "gone": plan.gone,
        "rejected": plan.rejected,
        "rejected_by_reason": [
            {"column": each.column, "reason": each.reason, "rows": each.rows, "lines": each.lines}
            for each in plan.rejections
        ],
        "leading_zeros": {"rows": plan.zeros_lost, "suggested": plan.suggest_zeros_lost},
        "other_countries": {"rows": plan.others_marked, "suggested": plan.suggest_others_marked},
        "limited": {
            "recipients": plan.limited,
            "first_until": _iso(plan.limited_until[0]) if plan.limited_until else None,
            "last_until": _iso(plan.limited_until[1]) if plan.limited_until else None,
        },
        "warnings": conflicts_view.as_json(plan.conflicts),
        "too_late": plan.too_late,
        "sample": [
            {
                "line": person.line,
                "phone": masked(person.phone),
                "time_zones": (person.zones or "").split(),
                "due_at": _iso(person.due_at),
                "attributes": person.attributes,
            }
            for person in plan.heard
        ],
        "shown_in": clock_of(plan),
        "calls": plan.calls,
        "never_open": plan.never,
        "calling_hours": [
            {
                "zones": list(place.zones),
                "calls": place.calls,
                "open": _is_open(plan, place),
                "windows": [{"opens": _iso(w.opens), "closes": _iso(w.closes)} for w in place.windows],
            }
            for place in plan.places
        ]
        if rules
        else None,
        "reminders_due_per_hour": [
            {"hour": _iso(hour), "calls": count} for hour, count in plan.due_per_hour.items()
        ],
        "forecast": {
            "calls_per_second": round(plan.pace.calls_per_second, 6),
            "set_by": plan.pace.set_by,
            "call_seconds": call_seconds,
            "finishes_at": _iso(plan.forecast.finishes_at),
            "not_called": plan.forecast.left,
            "calls_per_hour": [
                {"hour": _iso(hour), "calls": round(count, 1)}
                for hour, count in plan.forecast.per_hour.items()
            ],
        },
    }


def _rows(plan: Plan) -> list[str]:
    doubles = [(plan.duplicates_in_list, "within the list"), (plan.already_loaded, "loaded already")]
    which = " and ".join(f"{count:,} {where}" for count, where in doubles if count)
    duplicates = plan.duplicates_in_list + plan.already_loaded
    parts = [f"{plan.accepted:,} accepted"]
    parts += [f"{duplicates:,} duplicate{_s(duplicates)} ({which})"] if duplicates else []
    parts += [f"{plan.suppressed:,} suppressed"] if plan.suppressed else []
    parts += [f"{plan.rejected:,} rejected"] if plan.rejected else []
    return [f"{plan.campaign.name}: {plan.rows:,} row{_s(plan.rows)} in {plan.list_path}: {', '.join(parts)}"]


def _changed(plan: Plan) -> list[str]:
    """Those loaded already whose rows say something else now, and those who are not on the list."""
    lines = []
    if plan.changed:
        kept = plan.changed - plan.updated
        parts = [f"{plan.updated:,} would take the new row"] if plan.updated else []
        parts += [f"{kept:,} called already, so the old row stays"] if kept else []
        lines.append(f"changed since they were loaded: {', '.join(parts)}")
        for each in plan.first_changed:
            keeps = "" if each.taken else " (called already)"
            lines.append(f"  line {each.line}, key {each.key}: {', '.join(each.columns)}{keeps}")
        if plan.changed > len(plan.first_changed):
            lines.append(f"  … and {plan.changed - len(plan.first_changed):,} more")
    if plan.gone:
        lines.append(
            f"{plan.gone:,} loaded before not on this list: kept, unless it is loaded with --gone drop"
        )
    return lines


def _rejections(plan: Plan) -> list[str]:
    if not plan.rejections:
        return []
    shown, others = plan.rejections[:_REASONS], plan.rejections[_REASONS:]
    width = len(f"{shown[0].rows:,}")
    lines = ["rejected:"]
    for each in shown:
        more = " …" if each.rows > len(each.lines) else ""
        where = f"line{_s(each.rows)} {', '.join(map(str, each.lines))}{more}"
        what = f'"{each.column}" {each.reason}' if each.column else each.reason
        lines.append(f"  {each.rows:>{width},}  {what} ({where})")
    if others:
        rows = sum(each.rows for each in others)
        lines.append(f"  {rows:>{width},}  for {len(others):,} other reason{_s(len(others))}")
    return lines


def _number_hints(plan: Plan) -> list[str]:
    lines = []
    if plan.suggest_zeros_lost:
        rows = f"{plan.zeros_lost:,} row{_s(plan.zeros_lost)}"
        lines.append(
            "the numbers seem to have lost their leading zeros in a spreadsheet: "
            f'with leading_zeros = "lost" in [list], {rows} more would be accepted'
        )
    if plan.suggest_others_marked:
        rows = f"{plan.others_marked:,} row{_s(plan.others_marked)}"
        lines.append(
            "if each number of another country has its + or 00 in this list, say so: "
            f'with other_countries = "marked" in [list], {rows} more would be accepted'
        )
    return lines


def _from_the_ledger(plan: Plan) -> list[str]:
    """What there is to say of the ledger, and what it says of the people."""
    if plan.ledger_unread is not None:
        return [
            f"the ledger was not looked at, for {plan.ledger_unread}: "
            "nothing is known of who is loaded, suppressed or limited"
        ]
    lines = []
    if plan.state == RunState.CANCELLED:
        lines.append(
            f"{plan.campaign.name} was cancelled, so dialer load will refuse the list: "
            "give the campaign file another name"
        )
    if plan.limited_until is not None:
        first, last = (_at(at, plan.at) for at in plan.limited_until)
        until = f"the first may be called again {first}"
        until += f", the last {last}" if first != last else ""
        lines.append(f"limits: {plan.limited:,} of the accepted have had their calls; {until}")
    if plan.too_late:
        lines.append(
            f"limits: {_count(plan.too_late, 'reminder')} can never be in time, as the limits allow no call "
            "before the appointment"
        )
    return lines


def _heard(plan: Plan) -> list[str]:
    """The first recipients with what the flow is given, so that a template or a column can be seen wrong."""
    if not plan.heard or not plan.campaign.list.attributes:
        return []
    lines = [f"what the flow is given, for the first {_count(len(plan.heard), 'recipient')}:"]
    for person in plan.heard:
        told = ", ".join(f"{name} = {_shown(value)}" for name, value in person.attributes.items())
        lines.append(f"  line {person.line}, {masked(person.phone)}: {told}")
    return lines


def _shown(value: str) -> str:
    """An attribute's value as one line, in quotes, so that blanks at its ends and an empty one are seen."""
    text = visible(value)
    return f'"{text if len(text) <= _VALUE else text[: _VALUE - 1] + "…"}"'


def clock_of(plan: Plan) -> str | None:
    """By whose clock hours are shown: the campaign's own, or that of most calls; None: this machine's."""
    return _campaigns_clock(plan) or next(iter(_recipients_clocks(plan)), None)


def _campaigns_clock(plan: Plan) -> str | None:
    tables = (plan.campaign.calling_hours, plan.campaign.reminder)
    zones = (table.time_zone for table in tables if table is not None)
    return next((zone for zone in zones if zone not in (None, RECIPIENT) and is_known(zone)), None)


def _recipients_clocks(plan: Plan) -> list[str]:
    """The first zone of each place, that of most calls first."""
    calls: Counter[str] = Counter()
    for place in plan.places:
        if place.zones and is_known(place.zones[0]):
            calls[place.zones[0]] += place.calls
    return [zone for zone, _ in calls.most_common()]


def _by_clock(plan: Plan) -> str:
    """`by the campaign's clock, America/Denver`; or the recipients', or this machine's."""
    if (own := _campaigns_clock(plan)) is not None:
        return f"by the campaign's clock, {own}"
    clocks = _recipients_clocks(plan)
    if not clocks:
        return f"by this machine's clock, {local(plan.at, None):%Z}"
    whose = "the recipients' clock" if len(clocks) == 1 else "the clock of most recipients"
    return f"by {whose}, {clocks[0]}"


def _calling_hours(plan: Plan) -> list[str]:
    rules = plan.campaign.timetable.rules
    if not rules:
        return [f"calling hours: none; {_count(plan.calls, 'call')} at any time"]
    names = ", ".join(dict.fromkeys(rule.name for rule in rules))
    lines = [f"calling hours ({names}) of {_count(plan.calls, 'call')}:"]
    shown, others = plan.places[:_PLACES], plan.places[_PLACES:]
    where = [_where(plan, place) for place in shown]
    wide, count = max(map(len, where)), len(f"{shown[0].calls:,}")
    lines += [
        f"  {place.calls:>{count},}  {name:<{wide}}  {_when(plan, place)}"
        for place, name in zip(shown, where, strict=True)
    ]
    if others:
        calls = sum(place.calls for place in others)
        lines.append(f"  {calls:>{count},}  in {len(others):,} other places (--json has all)")
    if plan.never:
        lines.append(f"  nobody may ever be called for {_count(plan.never, 'call')}: their hours never open")
    return lines


def _where(plan: Plan, place: Place) -> str:
    """`America/New_York`, or the first of several."""
    zones = place.zones or tuple({rule.zone: None for rule in plan.campaign.timetable.rules if rule.zone})
    if not zones:
        return "no time zone known"
    if len(zones) <= _NAMES:
        return " + ".join(zones)
    return f"{' + '.join(zones[: _NAMES - 1])} + {len(zones) - _NAMES + 1} more"


def _when(plan: Plan, place: Place) -> str:
    """`open until 20:00 (in 3 h 12 m)`, or when it opens and closes."""
    if not place.windows:
        return "never open"
    window = place.windows[0]
    if not window.holds(plan.at):
        return f"closed; next {_span(plan, place, window)} ({in_time(window.opens, plan.at)})"
    # The next one knows whose clock that is: this one began at no clock's hour, but now.
    zone = _clock_of(plan, place, place.windows[-1])
    until = f"open until {clock(window.closes, zone, plan.at)}{_whose(place, zone)}"
    until += f" ({in_time(window.closes, plan.at)})"
    return until if len(place.windows) == 1 else f"{until}; then {_span(plan, place, place.windows[1])}"


def _span(plan: Plan, place: Place, window: Window) -> str:
    """`tomorrow 09:00-20:00`, and whose clock that is where there are several."""
    zone = _clock_of(plan, place, window)
    opens, closes = clock(window.opens, zone, plan.at), clock(window.closes, zone, plan.at)
    same_day = local(window.opens, zone).date() == local(window.closes, zone).date()
    return f"{opens}-{closes.rsplit(' ')[-1] if same_day else closes}{_whose(place, zone)}"


def _whose(place: Place, zone: str | None) -> str:
    return f" {zone}" if len(place.zones) > 1 else ""


def _clock_of(plan: Plan, place: Place, window: Window) -> str | None:
    return opens_by(plan.campaign.timetable.rules, place.zones, window) or (place.zones or (None,))[0]


def _is_open(plan: Plan, place: Place) -> bool:
    return bool(place.windows) and place.windows[0].holds(plan.at)


def _reminders(plan: Plan) -> list[str]:
    total = sum(plan.due_per_hour.values())
    lines = [f"reminders fall due: {total:,} later, the others now; {_by_clock(plan)}:"]
    return lines + _histogram(plan.due_per_hour, clock_of(plan))


def _calls(plan: Plan, call_seconds: float) -> list[str]:
    reckoned = plan.forecast
    if reckoned.finishes_at is not None:
        days = about_days(reckoned.finishes_at, plan.at)
        zone = f"{local(reckoned.finishes_at, None):%Z}"
        end = "all dialed " + (f"in {days} {zone}" if days else _at(reckoned.finishes_at, plan.at))
    else:
        end = f"not all are dialed within a year, {reckoned.left:,} are left"
    return [
        f"at {plan.pace.calls_per_second:.4g} calls per second ({_set_by(plan.pace, call_seconds)}): {end}",
        f"  calls in each hour, {_by_clock(plan)}:",
        *_histogram(reckoned.per_hour, clock_of(plan)),
        "  it assumes one call to everybody, no redials, no other campaigns, "
        f"calls of {call_seconds:g} s, and workers that run all the time",
    ]


def _set_by(pace: Pace, call_seconds: float) -> str:
    if pace.set_by == "DIALER_MAX_ACTIVE_CALLS":
        most = round(pace.calls_per_second * call_seconds)
        return f"DIALER_MAX_ACTIVE_CALLS={most}, calls of {call_seconds:g} s"
    return "the campaign's own" if pace.set_by == "[pacing]" else pace.set_by


def _histogram(per_hour: dict[datetime, Any], zone: str | None) -> list[str]:
    """A line for each hour, by a zone's clock; for each day, where there are many. None: this machine's."""
    hours: Counter[str] = Counter()
    by_day = len(per_hour) > _HOURS
    for hour, calls in per_hour.items():
        hours[f"{local(hour, zone):{'%a %Y-%m-%d' if by_day else '%a %Y-%m-%d %H:%M'}}"] += calls
    most = max(hours.values(), default=0)
    if not most:
        return []
    width = len(f"{most:,.0f}")
    lines = [
        f"  {hour}  {calls:>{width},.0f}  {'█' * max(1, round(calls / most * _BAR))}"
        for hour, calls in hours.items()
    ]
    return lines if len(lines) <= _DAYS else [*lines[:_DAYS], f"  … and {len(lines) - _DAYS:,} days more"]


def _at(instant: datetime, now: datetime) -> str:
    return f"{clock(instant, None, now)} {local(instant, None):%Z} ({in_time(instant, now)})"


def _count(count: int, what: str) -> str:
    return f"{count:,} {what}{_s(count)}"


def _s(count: int) -> str:
    return "" if count == 1 else "s"


def _iso(instant: datetime | None) -> str | None:
    return instant.isoformat(timespec="seconds") if instant else None
