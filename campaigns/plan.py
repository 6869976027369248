"""What would become of a list if it were loaded and dialed now. Nothing is changed, nothing is written."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

from campaigns.attempt import RunState
from campaigns.call_list import CallList, RejectedRow, open_call_list
from campaigns.calling_hours import Window, windows
from campaigns.campaign import Campaign
from campaigns.conflicts import Conflict, conflicts
from campaigns.forecast import Forecast, Group, forecast
from campaigns.ledger import Ledger
from campaigns.ledger.preflight import Candidate, Entered, Known, Seen, There, entered, loaded, look_up
from campaigns.list_read import ListRead
from campaigns.load import LOAD_AGAIN, as_it_stands, refuse_changed
from campaigns.number_hints import NumberHints
from campaigns.reading import key_of
from campaigns.recipient import Recipient
from campaigns.same_telephone import telephone
from campaigns.timing import Timing, Untimely
from campaigns.waits import earliest, places

_BATCH = 500  # rows a look into the ledger
_REASONS = 200  # different ones are kept apart; a list may be wrong in a million ways
_LINES = 3  # are named for each reason
_HEARD = 3  # recipients are shown with what the flow is given of them
_CHANGED = 10  # changed rows are named
_QUARTER = timedelta(minutes=15)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast calls would start."""

    calls_per_second: float
    set_by: str
    """What keeps it from being faster: `DIALER_CALLS_PER_SECOND`, `DIALER_MAX_ACTIVE_CALLS` or `[pacing]`."""


def pace(campaign: Campaign, calls_per_second: float, max_active_calls: int, call: timedelta) -> Pace:
    """The slowest of the account's rate, the campaign's own, and what the calls at once let through.

    `call`: how long one is assumed to take, from the request to the end.
    """
    paces = [
        Pace(calls_per_second, "DIALER_CALLS_PER_SECOND"),
        Pace(max_active_calls / call.total_seconds(), "DIALER_MAX_ACTIVE_CALLS"),
    ]
    if campaign.pacing.calls_per_second is not None:
        paces.append(Pace(campaign.pacing.calls_per_second, "[pacing]"))
    return min(paces, key=lambda each: each.calls_per_second)


@dataclass(slots=True)
class Rejection:
    """Rows that are rejected for one reason."""

    column: str
    reason: str
    rows: int = 0
    lines: list[int] = field(default_factory=list)
    """The first of them."""


@dataclass(frozen=True, slots=True)
class Changed:
    """One row that says something else than when it was loaded."""

    line: int
    key: str
    columns: tuple[str, ...]
    """What differs: names of the list's columns, or of attributes."""
    taken: bool
    """Whether the new row would be taken; the recipient of another one was called already."""


@dataclass(frozen=True, slots=True)
class Place:
    """People who are in the same places, and may be called at the same hours."""

    zones: tuple[str, ...]
    """Nothing where one clock counts for everybody, or none at all."""
    calls: int
    windows: tuple[Window, ...]
    """The one that is open, or the next; and the one after that. None: never."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What would become of a list."""

    at: datetime
    campaign: Campaign
    list_path: Path
    read: ListRead
    ledger_unread: str | None
    """Why nobody looked into the ledger; None if somebody did."""
    state: RunState | None
    """Of the run that the list would go into; None if it would be a new one, or nobody looked."""
    rows: int
    accepted: int
    duplicates_in_list: int
    already_loaded: int
    suppressed: int
    changed: int
    """Of those loaded already: whose row says something else now."""
    updated: int
    """Those of them who were never called, and would take the new row."""
    first_changed: tuple[Changed, ...]
    gone: int
    """Who is loaded, and not on this list."""
    rejections: tuple[Rejection, ...]
    """The most frequent first."""
    limited: int
    """Of the accepted, who have had all calls that the limits allow."""
    limited_until: tuple[datetime, datetime] | None
    """When the first and the last of them may be called again."""
    too_late: int
    """Reminders of the accepted that the limits forbid until they have expired."""
    heard: tuple[Recipient, ...]
    """The first of the accepted, as the flow is given them: their attributes are filled in."""
    conflicts: tuple[Conflict, ...]
    """Choices of the campaign that cannot all hold."""
    places: tuple[Place, ...]
    """The largest first."""
    due_per_hour: dict[datetime, int]
    """Reminders that are still to fall due: how many in the hour that begins then."""
    pace: Pace
    forecast: Forecast
    zeros_lost: int = 0
    """Rejected rows that `leading_zeros = "lost"` would accept."""
    suggest_zeros_lost: bool = False
    others_marked: int = 0
    """Rejected rows that `other_countries = "marked"` would accept."""
    suggest_others_marked: bool = False
    """Whether the whole column looks as if a spreadsheet had dropped its leading zeros."""

    @property
    def rejected(self) -> int:
        """Rows that cannot be called as they stand."""
        return sum(each.rows for each in self.rejections)

    @property
    def calls(self) -> int:
        """A call to everybody; where there are several reminders, one for each."""
        return sum(place.calls for place in self.places)

    @property
    def never(self) -> int:
        """Calls for which the calling hours are never open."""
        hours = bool(self.campaign.timetable.rules)
        return sum(place.calls for place in self.places if hours and not place.windows)


def plan(
    campaign: Campaign,
    list_path: Path,
    ledger: Ledger | str,
    pace: Pace,
    now: datetime,
    progress: Callable[[CallList], None] = lambda _: None,
) -> Plan:
    """Read a list, and reckon what would become of it.

    `ledger`: open to be read, or why there is none. Raises Mistake for a file that cannot be read as a list,
    or that changes meanwhile.
    """
    before = as_it_stands(list_path)
    column = campaign.reminder.at if campaign.reminder else None
    with open_call_list(list_path, campaign.list, column) as call_list, Seen() as seen:
        tally = _Tally(campaign, ledger, seen, now, call_list.phone_column)
        rows: Iterator[Recipient | RejectedRow] = iter(call_list)
        while batch := list(islice(rows, _BATCH)):
            tally.add(batch)
            progress(call_list)
        progress(call_list)
        refuse_changed(list_path, before, LOAD_AGAIN)
    return tally.plan(list_path, ListRead.of(call_list), call_list.rows_read, pace)


class _Tally:
    """Counts rows as they come; its size is that of the places and hours, not of the list."""

    def __init__(
        self, campaign: Campaign, ledger: Ledger | str, seen: Seen, now: datetime, phone_column: str
    ) -> None:
        self._hints = NumberHints(campaign.list, phone_column)
        self._campaign, self._ledger, self._seen, self._now = campaign, ledger, seen, now
        self._timing = Timing(campaign, now)
        self._run: Entered | None = None if isinstance(ledger, str) else entered(ledger, campaign.name)
        self._accepted = self._twice = self._there = self._suppressed = self._limited = 0
        self._changed = self._updated = self._listed = 0
        self._first_changed: list[Changed] = []
        self._until: tuple[datetime, datetime] | None = None
        self._too_late = 0
        self._heard: list[Recipient] = []
        self._rejections: dict[tuple[str, str], Rejection] = {}
        # Zones → when due → how many.
        self._places: dict[tuple[str, ...], Counter[datetime]] = {}
        self._due: Counter[datetime] = Counter()

    def add(self, rows: Sequence[Recipient | RejectedRow]) -> None:
        found: list[tuple[Candidate, Sequence[Recipient]]] = []
        keys: list[str] = []
        for row in rows:
            self._hints.see(row)
            key = key_of(row, self._campaign.list) if isinstance(row, RejectedRow) else row.key
            if key and self._run is not None and self._seen.first_time(f"key {key}"):
                keys.append(key)
            if isinstance(row, RejectedRow):
                self._reject(row.line, row.column, row.reason)
                continue
            calls = self._timing.of(row)
            if isinstance(calls, Untimely):
                self._reject(row.line, calls.column, calls.reason)
                continue
            candidate = Candidate(row.key, row.phone, calls[0].appointment_at)
            same = (
                telephone(row.phone) if row.key == row.phone and candidate.appointment_at is None else row.key
            )
            if self._seen.first_time(f"row {same}\n{candidate.appointment_at}"):
                found.append((candidate, calls))
            else:
                self._twice += 1
        known = self._known([candidate for candidate, _ in found], keys)
        self._listed += known.listed
        for candidate, calls in found:
            there = known.there.get((candidate.key, candidate.appointment_at))
            if there is not None:
                self._there += 1
                self._compare(candidate.key, calls[0], there)
            elif candidate.phone in known.suppressed:
                self._suppressed += 1
            else:
                self._accept(calls, known.limited.get(candidate.phone))

    def _known(self, people: Sequence[Candidate], keys: Sequence[str]) -> Known:
        if isinstance(self._ledger, str) or not (people or keys):
            return Known()
        return look_up(self._ledger, self._campaign, self._run, people, self._now, keys)

    def _compare(self, key: str, row: Recipient, there: Sequence[There]) -> None:
        """Count a row that says something else than the ledger does, as the loader would."""
        differing = [(each, differ) for each in there if (differ := _differing(row, each))]
        if not differing:
            return
        taken = any(each.open for each, _ in differing)
        self._changed += 1
        self._updated += taken
        if len(self._first_changed) < _CHANGED:
            self._first_changed.append(Changed(row.line, key, differing[0][1], taken))

    def _accept(self, calls: Sequence[Recipient], limited_until: datetime | None) -> None:
        self._accepted += 1
        if len(self._heard) < _HEARD:
            self._heard.append(calls[0])
        if limited_until is not None:
            first, last = self._until or (limited_until, limited_until)
            self._until = min(first, limited_until), max(last, limited_until)
            self._limited += 1
        for person in calls:
            due = max(person.due_at or self._now, limited_until or self._now, self._now)
            if person.due_at is not None and person.due_at > self._now:
                self._due[person.due_at.replace(minute=0, second=0, microsecond=0)] += 1
            # By the quarter, so that there are not as many times as people.
            zones = places(self._campaign, person.zones)
            if limited_until is not None and person.expires_at is not None:
                at = earliest(self._campaign.timetable.rules, zones, due)
                self._too_late += at is None or at >= person.expires_at
            self._places.setdefault(zones, Counter())[_quarter_after(due, self._now)] += 1

    def _gone(self) -> int:
        if isinstance(self._ledger, str):
            return 0
        return max(0, loaded(self._ledger, self._campaign, self._run) - self._listed)

    def _reject(self, line: int, column: str, reason: str) -> None:
        about = (column, reason)
        if about not in self._rejections and len(self._rejections) >= _REASONS:
            about = ("", "other reasons")
        found = self._rejections.setdefault(about, Rejection(*about))
        found.rows += 1
        if len(found.lines) < _LINES:
            found.lines.append(line)

    def plan(self, list_path: Path, read: ListRead, rows: int, pace: Pace) -> Plan:
        rules = self._campaign.timetable.rules
        flows = [
            Group(list(due.items()), windows(rules, zones, self._now) if rules else None)
            for zones, due in self._places.items()
        ]
        found = [
            Place(zones, due.total(), tuple(islice(windows(rules, zones, self._now), 2)) if rules else ())
            for zones, due in self._places.items()
        ]
        return Plan(
            at=self._now,
            campaign=self._campaign,
            list_path=list_path,
            read=read,
            ledger_unread=self._ledger if isinstance(self._ledger, str) else None,
            state=self._run.state if self._run else None,
            rows=rows,
            accepted=self._accepted,
            duplicates_in_list=self._twice,
            already_loaded=self._there,
            suppressed=self._suppressed,
            changed=self._changed,
            updated=self._updated,
            first_changed=tuple(self._first_changed),
            gone=self._gone(),
            rejections=tuple(sorted(self._rejections.values(), key=lambda each: (-each.rows, each.lines))),
            limited=self._limited,
            limited_until=self._until,
            too_late=self._too_late,
            heard=tuple(self._heard),
            conflicts=conflicts(self._campaign, self._now),
            places=tuple(sorted(found, key=lambda place: (-place.calls, place.zones))),
            due_per_hour=dict(sorted(self._due.items())),
            pace=pace,
            forecast=forecast(flows, pace.calls_per_second, self._now),
            zeros_lost=self._hints.zeros_lost,
            suggest_zeros_lost=self._hints.suggest_zeros_lost,
            others_marked=self._hints.others_marked,
            suggest_others_marked=self._hints.suggest_others_marked,
        )


def _differing(row: Recipient, there: There) -> tuple[str, ...]:
    """In which columns and attributes a row differs. An empty cell is as good as none."""
    if there.over:
        return ()
    differ = [
        column
        for column in row.row.keys() | there.row.keys()
        if (row.row.get(column) or "") != (there.row.get(column) or "")
    ]
    differ += [
        name
        for name in row.attributes.keys() | there.attributes.keys()
        if (row.attributes.get(name) or "") != (there.attributes.get(name) or "") and name not in differ
    ]
    if row.phone != there.phone and not differ:
        differ = ["the number"]
    order = list(row.row)
    return tuple(sorted(differ, key=lambda name: order.index(name) if name in order else len(order)))


def _quarter_after(due: datetime, now: datetime) -> datetime:
    # What is due already is due now, and stays one group.
    return due if due <= now else _EPOCH + -(-(due - _EPOCH) // _QUARTER) * _QUARTER
