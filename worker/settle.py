"""What may have rung is searched for in Connect, and settled by what is found there, or is not.

Two questions are asked: SearchContacts, which calls there were at that time; and DescribeContact, whom those
called that the ledger does not know. The client token is never sent again to find out: once a call is over,
that would ring a second time.
"""

import logging
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar

from campaigns.attempt import AttemptState
from campaigns.brake import redial_after
from campaigns.ledger import Ledger, LedgerUnavailable
from campaigns.ledger.contacts import known_contacts
from campaigns.ledger.runs import pause
from campaigns.ledger.sendings import known_tokens, sendings
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
from campaigns.stranger import CLOCK_SKEW, Sending, Stranger, candidates, distance, tokens_in
from worker.connect import Connect, Listed
from worker.connect_errors import Ambiguous, ClockWrong, ConnectError, Misconfigured, Refused, Throttled
from worker.pacer import Pacer, PacerUnavailable

log = logging.getLogger(__name__)

_Answer = TypeVar("_Answer")

FIRST_SEARCH = timedelta(seconds=10)
"""How long after an attempt became unknown it is first searched for."""

_NEAR = timedelta(seconds=10)
"""Enough for machines that keep their clocks; the last search, which decides, takes all of CLOCK_SKEW."""

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

_TRIES = 4
"""How often one question is asked that is throttled each time."""

_MOST_RESULTS = 10_000
"""A query shows no more than this (admin guide, "Search for contacts"), without a word about the rest."""

_MOST_PAGES = 300
"""Of one query. Connect fills its pages, so 100 would do; a list without end is not followed."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """All that a search has shown."""

    listed: frozenset[str]
    strangers: Sequence[Stranger]
    complete: bool
    """Whether all that Connect lists could be read, and it could tell whom each stranger called."""


@dataclass(frozen=True, slots=True)
class Criterion:
    """What calls are searched by, beside their time: an attribute or a name that holds their tokens."""

    attribute: tuple[str, Sequence[str]] | None = None
    """An attribute's name, and the values of which it is to have one."""
    names: Sequence[str] | None = None


BY_TIME_ALONE = Criterion()
_MOST_VALUES = 20
"""Values a criterion takes (API reference, SearchableContactAttributesCriteria)."""
_MOST_NAMES = 100
"""Texts a criterion takes (API reference, NameCriteria)."""


class Interrupted(Exception):
    """The search did not come to its end."""


class Forbidden(Exception):
    """Connect does not let these credentials ask. Until that is mended, nothing in doubt can be settled."""

    def __init__(self, right: str, error: Misconfigured) -> None:
        super().__init__(f"{error.code}: {right} is needed: {error.reason}")
        self.code = error.code


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


def criteria(unknowns: Sequence[Unknown], last: bool) -> Sequence[Criterion]:
    """What to search by: the attempts' tokens where all their calls carry them, else only their time.

    The last search goes by time alone: an attribute that is not searchable after all finds nothing.
    """
    by_attribute: defaultdict[str, list[str]] = defaultdict(list)
    names: list[str] = []
    for unknown in unknowns:
        connect = unknown.campaign.connect
        if connect.search_attribute is not None:
            by_attribute[connect.search_attribute].append(unknown.client_token)
        elif connect.token_in_name:
            names.append(connect.name_of(unknown.client_token) or "")
        else:
            return [BY_TIME_ALONE]
    if last:
        return [BY_TIME_ALONE]
    attributes = [
        Criterion(attribute=(name, tokens[first : first + _MOST_VALUES]))
        for name, tokens in by_attribute.items()
        for first in range(0, len(tokens), _MOST_VALUES)
    ]
    firsts = range(0, len(names), _MOST_NAMES)
    return attributes + [Criterion(names=names[first : first + _MOST_NAMES]) for first in firsts]


def _undecided(fitting: Sequence[tuple[Stranger, Sequence[Sending]]]) -> str:
    """Why calls that may be an attempt's decide nothing."""
    attempts = {each.attempt_id for _, these in fitting for each in these}
    contacts = ", ".join(sorted(call.contact_id for call, _ in fitting)[:3])
    calls = f"call {contacts} to this number" if len(fitting) == 1 else f"{len(fitting):,} calls ({contacts})"
    if len(attempts) == 1:
        return f"nobody can tell: {calls} could not be given to this attempt yet"
    return f"nobody can tell: {calls} can be of any of {len(attempts):,} attempts, so it decides nothing"


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
            until=began + _HELD_FOR * self.ledger.clock_speed,
            within=_NEIGHBOURS,
            limit=200,
        )
        if not unknowns:
            if not anything_searched_for(self.ledger, self.exchange):
                self.report_problem(None)
            return 0
        last = any(began - unknown.unknown_at >= self.patience for unknown in unknowns)
        around = CLOCK_SKEW if last else _NEAR
        since = min(unknown.dialing_at for unknown in unknowns) - around
        until = min(max(unknown.lease_until for unknown in unknowns) + around, began + around)
        instance_id = unknowns[0].campaign.connect.instance_id
        try:
            sweep = self.sweep(instance_id, since, until, criteria(unknowns, last))
        except Forbidden as error:
            self._failed(unknowns, str(error), alarm=True)
            self._pause(unknowns, error)
            return 0
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
        evidence = f"no search was possible: {why}"
        # While Connect is out of order, a recipient called then goes on being in progress: a run that counted
        # as finished would be left by those who could still settle them.
        out = [unknown for unknown in unknowns if unknown.in_outage]
        rest = [unknown for unknown in unknowns if not unknown.in_outage]
        self._try_later(out, evidence, at_most=timedelta(minutes=1), hold=False)
        self._try_later(rest, evidence, at_most=timedelta(minutes=1))

    def _pause(self, unknowns: Sequence[Unknown], error: Forbidden) -> None:
        """Their campaigns dial nothing more: each answer that gets lost would be one more in doubt."""
        for run_id in sorted({unknown.run_id for unknown in unknowns}):
            with self.ledger.write() as db:
                pause(db, run_id, f"what is unknown cannot be searched for: {error}", code=error.code[:40])

    def sweep(self, instance_id: str, since: datetime, until: datetime, by: Sequence[Criterion]) -> Sweep:
        """What Connect lists, and who was called by what we do not know. Raises ConnectError, Forbidden."""
        listed: dict[str, Listed] = {}
        complete = True
        try:
            for criterion in by:
                found, readable = self._listed(instance_id, since, until, criterion)
                listed |= found
                complete = complete and readable
        except (Refused, Forbidden) as error:
            if by == [BY_TIME_ALONE]:
                raise
            # An attribute needs a right of its own (connect:GetContactAttributes), and has to be searchable.
            log.warning("calls cannot be searched for by their tokens: %s", error)
            listed, complete = self._listed(instance_id, since, until, BY_TIME_ALONE)
        unfamiliar = sorted(listed.keys() - known_contacts(self.ledger, list(listed)))
        named = {contact_id: tokens_in([listed[contact_id].name or ""]) for contact_id in unfamiliar}
        ours = known_tokens(self.ledger, {token for tokens in named.values() for token in tokens})
        strangers: list[Stranger] = []
        for contact_id in unfamiliar:
            call = listed[contact_id]
            if not ours.isdisjoint(named[contact_id]):
                # Its name says whose it is.
                strangers.append(Stranger(contact_id, call.initiated_at, name=call.name))
                continue
            stranger = self._described(instance_id, call)
            complete = complete and _E164.fullmatch(stranger.phone or "") is not None
            strangers.append(stranger)
        return Sweep(frozenset(listed), strangers, complete)

    def _described(self, instance_id: str, call: Listed) -> Stranger:
        """What Connect says of a call, if it does. Raises ConnectError, Forbidden, Interrupted."""
        try:
            report = self._asked(
                self.describe_pacer, lambda: self.connect.describe(instance_id, call.contact_id)
            )
        except ClockWrong:
            raise  # no right is missing, and no campaign need pause
        except Misconfigured as error:
            raise Forbidden("connect:DescribeContact", error) from error
        except (Ambiguous, Refused) as error:
            # Perhaps only this one's fault, so the others must not wait behind it.
            log.warning("contact %s cannot be described now: %s", call.contact_id, error)
            report = None
        if report is None:
            return Stranger(call.contact_id, call.initiated_at, name=call.name)
        name = report.name or call.name
        return Stranger(call.contact_id, call.initiated_at, report.phone, report.attributes, name)

    def _listed(
        self, instance_id: str, since: datetime, until: datetime, by: Criterion
    ) -> tuple[dict[str, Listed], bool]:
        """The calls of that time, and whether all rows could be read. Raises ConnectError, Interrupted."""
        listed: dict[str, Listed] = {}
        shown, token, unreadable = 0, None, 0
        seen: set[str] = set()  # the names of this query's pages
        while True:
            search = partial(
                self.connect.search,
                instance_id,
                since,
                until,
                token,
                attribute=by.attribute,
                names=by.names,
            )
            try:
                page = self._asked(self.search_pacer, search)
            except ClockWrong:
                raise
            except Misconfigured as error:
                raise Forbidden("connect:SearchContacts", error) from error
            listed |= {call.contact_id: call for call in page.calls}
            unreadable += page.unreadable
            shown, token = shown + len(page.calls) + page.unreadable, page.next_token
            if token is not None and (token in seen or len(seen) >= _MOST_PAGES):
                raise Interrupted("Connect's list of calls does not end")
            seen.add(token or "")
            if token is None and shown < _MOST_RESULTS:
                if unreadable:
                    log.warning("%d calls that Connect lists name no contact or no time", unreadable)
                return listed, not unreadable
            if token is None:
                latest = max((call.initiated_at for call in listed.values()), default=since)
                if latest - since < timedelta(seconds=1) or latest > until + timedelta(seconds=1):
                    raise Interrupted("more calls within a second than a search shows")
                since, shown = latest, 0
                seen.clear()

    def _asked(self, pacer: Pacer, ask: Callable[[], _Answer]) -> _Answer:
        """One answer, at this pace; asked again where Connect says that it was asked too fast.

        Otherwise a search that shows hundreds of calls would begin anew each time, and come to no end.
        Raises ConnectError, Interrupted, PacerUnavailable.
        """
        for left in reversed(range(_TRIES)):
            self._wait(pacer)
            try:
                return ask()
            except Throttled:
                pacer.throttled()
                if not left:
                    raise
        raise AssertionError("unreachable")

    def _wait(self, pacer: Pacer) -> None:
        if pacer.wait(_SLOT_SECONDS) is None:
            raise Interrupted("no turn within the quota")
        if self.stopping():  # which ends every sleep
            raise Interrupted("the worker is stopping")

    def _judge(self, unknowns: Sequence[Unknown], sweep: Sweep, began: datetime) -> int:
        """Write down what the search has shown. Returns how many attempts are settled."""
        whose = self._whose(unknowns[0].campaign.connect.instance_id, sweep.strangers)
        found = self._settle_found(whose)
        in_vain: list[Unknown] = []
        for unknown in unknowns:
            if unknown.attempt_id in found:
                continue
            fitting = [
                (call, these)
                for call, these in whose
                if any(each.attempt_id == unknown.attempt_id for each in these)
            ]
            if fitting:
                # Never "never placed": one of these calls may be its own.
                self._try_later([unknown], _undecided(fitting))
            else:
                in_vain.append(unknown)
        settled = len(found)
        seen = f"{len(sweep.listed):,} calls listed at that time, {len(sweep.strangers):,} of them not ours"
        early = [u for u in in_vain if began - u.unknown_at < self.patience]
        self._try_later(early, f"not found yet: {seen}")
        late = [u for u in in_vain if began - u.unknown_at >= self.patience]
        for unknown in late:
            doubt = self._why_not_believed(unknown, sweep)
            if doubt:
                self._try_later([unknown], f"nobody can tell: {doubt}")
                continue
            redial = dial_again_unfound(
                unknown.campaign.redial.when_unknown,
                unknown.not_found,
                in_outage=unknown.in_outage,
                in_outages_before=unknown.not_found_in_outages,
            )
            again = redial_after(unknown.not_found_in_outages + 1) if unknown.in_outage else timedelta(0)
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
                taken_until=unknown.taken_until,
                wait=again,
            )
        return settled

    def _whose(self, instance_id: str, strangers: Sequence[Stranger]) -> list[tuple[Stranger, list[Sending]]]:
        """Each call with the attempts that can have made it, those of calls that no attempt fits left out."""
        with self.ledger.read() as db:
            all_of_them = sendings(
                self.ledger,
                db,
                exchange=self.exchange,
                instance_id=instance_id,
                phones={stranger.phone for stranger in strangers if stranger.phone is not None},
                tokens={token for stranger in strangers for token in stranger.tokens},
            )
        by_phone: defaultdict[str | None, list[Sending]] = defaultdict(list)
        by_token = {sending.client_token: sending for sending in all_of_them}
        for sending in all_of_them:
            by_phone[sending.phone].append(sending)
        found = []
        for stranger in strangers:
            its_own = [by_token[token] for token in stranger.tokens if token in by_token]
            if these := candidates(stranger, its_own or by_phone[stranger.phone]):
                found.append((stranger, these))
        return found

    def _settle_found(self, whose: Sequence[tuple[Stranger, list[Sending]]]) -> set[int]:
        """Settle the attempts that calls fit which fit no other. Returns their ids.

        Also such as are no longer searched for: what counted as never placed has been placed after all.
        """
        calls: defaultdict[int, list[tuple[Stranger, Sending]]] = defaultdict(list)
        for call, these in whose:
            if len(these) == 1 and these[0].state == AttemptState.UNKNOWN:
                calls[these[0].attempt_id].append((call, these[0]))
        settled = set()
        for attempt_id, its_calls in calls.items():
            # Several are of requests that were sent again; its contact is the nearest in time.
            call, sending = min(its_calls, key=lambda pair: (distance(*pair), pair[0].contact_id))
            if self._found(sending, call):
                settled.add(attempt_id)
        return settled

    def _found(self, sending: Sending, call: Stranger) -> bool:
        by_token = sending.client_token in call.tokens
        moved = mark_found(
            self.ledger,
            sending.attempt_id,
            sending.fence,
            call,
            follow_at=self.clock() if self.follow else None,
            evidence="found among Connect's calls" + (" by its token" if by_token else ""),
        )
        if moved:
            log.info("attempt %d was placed after all: contact %s", sending.attempt_id, call.contact_id)
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
        self,
        unknowns: Sequence[Unknown],
        evidence: str,
        *,
        at_most: timedelta = _LONGEST_WAIT,
        hold: bool = True,
    ) -> None:
        """Search for each again later. `hold`: beyond the patience its recipient is held meanwhile."""
        now = self.clock()
        for late in (False, True):
            these = [u for u in unknowns if (now - u.unknown_at >= self.patience) == late]
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
                    hold=hold and late,
                    evidence=evidence,
                )
