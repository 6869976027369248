"""What may have rung is searched for in Connect, and settled by what is found there, or is not.

Two questions are asked: SearchContacts, which calls there were at that time; and DescribeContact, whom those
called that the ledger does not know. The client token is never sent again to find out: once a call is over,
that would ring a second time.
"""

import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from campaigns.ledger import Ledger, LedgerUnavailable
from campaigns.ledger.contacts import known_contacts
from campaigns.ledger.unknowns import (
    Unknown,
    anything_searched_for,
    calls_known_between,
    mark_found,
    mark_not_found,
    search_later,
    take_due_unknowns,
)
from campaigns.redial import dial_again_unfound
from worker.connect import Connect, Listed
from worker.connect_errors import Ambiguous, ConnectError, Refused, Throttled
from worker.pacer import Pacer, PacerUnavailable

log = logging.getLogger(__name__)

FIRST_SEARCH = timedelta(seconds=10)
"""How long after an attempt became unknown it is first searched for."""

_CLOCKS = timedelta(minutes=5)
"""A request whose clock is further off than this is refused by AWS (its signature counts as expired). So a
call that was placed is found within this time around the moment that our own clock wrote down."""

_NEAR = timedelta(seconds=10)
"""Enough for machines that keep their clocks; the last search, which decides, takes all of `_CLOCKS`."""

_NEIGHBOURS = timedelta(minutes=1)
"""How far around an attempt others are searched for along with it, and known calls must be listed too."""

_HELD_FOR = timedelta(minutes=5)
"""How long attempts that are searched for stay taken; if this process dies they are due again after it."""

_SHORTEST_WAIT = timedelta(seconds=5)
_LONGEST_WAIT = timedelta(days=1)
_GIVEN_UP_AFTER = timedelta(days=30)
_E164 = re.compile(r"\+[1-9][0-9]{1,14}")
_SLOT_SECONDS = 30.0
"""How long one request waits for its turn: the quotas are small, and others use them too."""

_MOST_RESULTS = 10_000
"""A query shows no more than this (admin guide, "Search for contacts"), without a word about the rest."""


@dataclass(frozen=True, slots=True)
class Stranger:
    """A call that Connect lists and the ledger does not know."""

    contact_id: str
    initiated_at: datetime
    phone: str | None
    attributes: Mapping[str, str]

    def may_be(self, unknown: Unknown) -> bool:
        """Whether this can be the attempt's call: by its token, or else to its number and at its time."""
        name = unknown.campaign.connect.search_attribute
        token = self.attributes.get(name) if name else None
        if token is not None:
            return token == unknown.client_token
        return (
            self.phone == unknown.phone
            and unknown.dialing_at - _CLOCKS <= self.initiated_at <= unknown.lease_until + _CLOCKS
        )


@dataclass(frozen=True, slots=True)
class Sweep:
    """All that a search has shown."""

    listed: frozenset[str]
    strangers: Sequence[Stranger]
    complete: bool
    """Whether Connect could tell whom each stranger called."""


Attribute = tuple[str, Sequence[str]]
"""A contact attribute's name, and the values of which it is to have one."""

_MOST_VALUES = 20
"""Values a criterion takes (API reference, SearchableContactAttributesCriteria)."""


class Interrupted(Exception):
    """The search did not come to its end."""


def next_search(age: timedelta, patience: timedelta) -> timedelta | None:
    """How long to wait after a search that settled nothing: as long as the attempt has been unknown.

    The one at the end of `patience` decides. Beyond it, which is where evidence could not be had, another
    comes after the same time, and the waits grow slowly to a day; None after a month.
    """
    wait = max(age, min(_SHORTEST_WAIT, patience))  # also where a clock that was put back makes it negative
    if age < patience:
        return min(wait, patience - age)
    wait = min(max(patience, age / 4), _LONGEST_WAIT)
    return wait if age < patience + _GIVEN_UP_AFTER else None


def _tokens(unknowns: Sequence[Unknown], last: bool) -> Sequence[Attribute | None]:
    """What to search by: the attempts' tokens where their campaigns have an attribute for them, else only by
    time. The last search goes by time alone: an attribute that is not searchable after all finds nothing."""
    if last or any(unknown.campaign.connect.search_attribute is None for unknown in unknowns):
        return [None]
    by_name: dict[str, list[str]] = {}
    for unknown in unknowns:
        by_name.setdefault(str(unknown.campaign.connect.search_attribute), []).append(unknown.client_token)
    return [
        (name, tokens[first : first + _MOST_VALUES])
        for name, tokens in by_name.items()
        for first in range(0, len(tokens), _MOST_VALUES)
    ]


def matched(unknowns: Iterable[Unknown], strangers: Iterable[Stranger]) -> dict[int, Stranger]:
    """attempt_id → the call that must be it: to its number, nearest in time, each call for one attempt."""
    pairs = sorted(
        (abs(stranger.initiated_at - unknown.dialing_at), unknown.attempt_id, stranger.contact_id, stranger)
        for unknown in unknowns
        for stranger in strangers
        if stranger.may_be(unknown)
    )
    found: dict[int, Stranger] = {}
    taken: set[str] = set()
    for _, attempt_id, contact_id, stranger in pairs:
        if attempt_id not in found and contact_id not in taken:
            found[attempt_id] = stranger
            taken.add(contact_id)
    return found


@dataclass
class Settling:
    """The search for what is unknown, with all that it needs."""

    ledger: Ledger
    connect: Connect
    search_pacer: Pacer
    describe_pacer: Pacer
    exchange: str
    patience: timedelta
    """How long an attempt is searched for before it counts as never placed. Longer than calls last."""
    follow: bool
    """Whether outcomes are asked for at all."""
    clock: Callable[[], datetime]
    stopping: Callable[[], bool] = lambda: False
    report_problem: Callable[[str | None], None] = lambda _: None

    def settle(self) -> int:
        """Search for the attempts that are due to be searched for. Returns how many are settled."""
        began = self.clock()
        unknowns = take_due_unknowns(
            self.ledger,
            exchange=self.exchange,
            now=began,
            until=began + _HELD_FOR,
            within=_NEIGHBOURS,
            limit=200,
        )
        if not unknowns:
            if not anything_searched_for(self.ledger, self.exchange):
                self.report_problem(None)
            return 0
        last = any(began - unknown.unknown_at >= self.patience for unknown in unknowns)
        around = _CLOCKS if last else _NEAR
        since = min(unknown.dialing_at for unknown in unknowns) - around
        until = min(max(unknown.lease_until for unknown in unknowns) + around, began + around)
        try:
            sweep = self._sweep(
                unknowns[0].campaign.connect.instance_id, since, until, _tokens(unknowns, last)
            )
        except (ConnectError, PacerUnavailable, Interrupted) as error:
            self._failed(unknowns, str(error), alarm=not isinstance(error, Throttled | Interrupted))
            return 0
        except LedgerUnavailable:
            raise  # then nothing can be written down either; they are due again by themselves
        except Exception as error:
            # Its name only: what nobody foresaw may hold a number.
            self._failed(unknowns, f"{type(error).__name__} in the dialer itself", alarm=True)
            return 0
        self.report_problem(None)
        return self._judge(unknowns, sweep, began)

    def _failed(self, unknowns: Sequence[Unknown], why: str, *, alarm: bool) -> None:
        log.warning("what is unknown cannot be searched for now: %s", why)
        if alarm:
            self.report_problem(f"unknown calls cannot be searched for: {why}")
        self._try_later(unknowns, f"no search was possible: {why}", at_most=timedelta(minutes=1))

    def _sweep(
        self, instance_id: str, since: datetime, until: datetime, tokens: Sequence[Attribute | None]
    ) -> Sweep:
        """What Connect lists, and whom those called that we do not know. Raises ConnectError."""
        listed: dict[str, Listed] = {}
        for attribute in tokens:
            listed |= self._listed(instance_id, since, until, attribute)
        unfamiliar = sorted(listed.keys() - known_contacts(self.ledger, list(listed)))
        strangers: list[Stranger] = []
        complete = True
        for contact_id in unfamiliar:
            self._wait(self.describe_pacer)
            try:
                report = self.connect.describe(instance_id, contact_id)
            except Throttled:
                self.describe_pacer.throttled()
                raise
            except (Ambiguous, Refused) as error:
                # Perhaps only this one's fault, so the others must not wait behind it.
                log.warning("contact %s cannot be described now: %s", contact_id, error)
                report = None
            complete = complete and report is not None and _E164.fullmatch(report.phone or "") is not None
            strangers.append(
                Stranger(
                    contact_id,
                    listed[contact_id].initiated_at,
                    report.phone if report else None,
                    report.attributes if report else {},
                )
            )
        return Sweep(frozenset(listed), strangers, complete)

    def _listed(
        self, instance_id: str, since: datetime, until: datetime, attribute: Attribute | None
    ) -> dict[str, Listed]:
        listed: dict[str, Listed] = {}
        shown, token = 0, None
        while True:
            self._wait(self.search_pacer)
            try:
                page = self.connect.search(instance_id, since, until, token, attribute=attribute)
            except Throttled:
                self.search_pacer.throttled()
                raise
            listed |= {call.contact_id: call for call in page.calls}
            shown, token = shown + len(page.calls), page.next_token
            if token is None and shown < _MOST_RESULTS:
                return listed
            if token is None:
                latest = max(call.initiated_at for call in listed.values())
                if latest - since < timedelta(seconds=1):
                    raise Interrupted("more calls within a second than a search shows")
                since, shown = latest, 0

    def _wait(self, pacer: Pacer) -> None:
        if pacer.wait(_SLOT_SECONDS) is None:
            raise Interrupted("no turn within the quota")
        if self.stopping():  # which ends every sleep
            raise Interrupted("the worker is stopping")

    def _judge(self, unknowns: Sequence[Unknown], sweep: Sweep, began: datetime) -> int:
        """Write down what the search has shown. Returns how many attempts are settled."""
        settled = 0
        found = matched(unknowns, sweep.strangers)
        in_vain: list[Unknown] = []
        for unknown in unknowns:
            call = found.get(unknown.attempt_id)
            if call is None:
                in_vain.append(unknown)
            elif self._found(unknown, call):
                settled += 1
            else:
                self._try_later([unknown], "a call to this number was found, and may be another attempt's")
        seen = f"{len(sweep.listed):,} calls listed at that time, {len(sweep.strangers):,} of them not ours"
        early = [u for u in in_vain if began - u.unknown_at < self.patience]
        self._try_later(early, f"not found yet: {seen}")
        late = [u for u in in_vain if began - u.unknown_at >= self.patience]
        for unknown in late:
            doubt = self._why_not_believed(unknown, sweep)
            if doubt:
                self._try_later([unknown], f"nobody can tell: {doubt}")
                continue
            redial = dial_again_unfound(unknown.campaign.redial.when_unknown, unknown.not_found)
            log.warning(
                "attempt %d is not among Connect's calls; %s",
                unknown.attempt_id,
                "it is dialed again" if redial else "its recipient is held",
            )
            settled += mark_not_found(
                self.ledger,
                unknown.attempt_id,
                unknown.fence,
                redial=redial,
                now=self.clock(),
                evidence=f"never found: {seen}",
            )
        return settled

    def _found(self, unknown: Unknown, call: Stranger) -> bool:
        now = self.clock()
        moved = mark_found(
            self.ledger,
            unknown.attempt_id,
            unknown.fence,
            call.contact_id,
            placed_at=call.initiated_at,
            follow_at=now if self.follow else None,
            evidence="found among Connect's calls",
        )
        if moved:
            log.info("attempt %d was placed after all: contact %s", unknown.attempt_id, call.contact_id)
        return moved

    def _why_not_believed(self, unknown: Unknown, sweep: Sweep) -> str | None:
        """Why that it was not found proves nothing.

        How late Connect lists a call is not documented. But whatever hides this one would hide its
        neighbours too: calls of that time that we know by their contact_ids.
        """
        if not sweep.complete:
            return "Connect did not say whom some calls were for"
        neighbours = calls_known_between(
            self.ledger,
            exchange=self.exchange,
            instance_id=unknown.campaign.connect.instance_id,
            since=unknown.dialing_at - _NEIGHBOURS,
            until=unknown.dialing_at + _NEIGHBOURS,
        )
        missing = neighbours - sweep.listed
        if missing:
            return f"{len(missing):,} of {len(neighbours):,} calls placed at that time are not listed either"
        return None

    def _try_later(
        self, unknowns: Sequence[Unknown], evidence: str, *, at_most: timedelta = _LONGEST_WAIT
    ) -> None:
        now = self.clock()
        for hold in (False, True):
            these = [u for u in unknowns if (now - u.unknown_at >= self.patience) == hold]
            waits = [next_search(now - unknown.unknown_at, self.patience) for unknown in these]
            # A search that failed has not been one: whoever comes back after a month has one to begin with.
            last = None if at_most == _LONGEST_WAIT else now + at_most
            if these:
                search_later(
                    self.ledger,
                    [
                        (unknown, last if wait is None else now + min(wait, at_most))
                        for unknown, wait in zip(these, waits, strict=True)
                    ],
                    hold=hold,
                    evidence=evidence,
                )
