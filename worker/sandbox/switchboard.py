"""Each request → its answer, decided without any network. routes.py carries the answers out."""

import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

from campaigns.mistake import Mistake
from campaigns.recipient import masked
from worker.sandbox import checks
from worker.sandbox.answers import Answer, after, before, error_answer, failed, throttled, too_many
from worker.sandbox.bucket import TokenBucket
from worker.sandbox.checks import ApiError, CallRequest
from worker.sandbox.describe import contact_view
from worker.sandbox.exchange import Call, Exchange
from worker.sandbox.faults import FaultRates, Faults
from worker.sandbox.journal import START, STOP, Entry, Journal
from worker.sandbox.numbers import OVER_QUOTA, Fault, script_for
from worker.sandbox.options import SandboxOptions, StartQuota
from worker.sandbox.search import check, search
from worker.sandbox.tally import Tally

log = logging.getLogger(__name__)


class Switchboard:
    """The stand-in's whole behaviour: rates, checks, faults, calls and the journal."""

    def __init__(
        self,
        options: SandboxOptions,
        clock: Callable[[], float],
        quota_clock: Callable[[], float] | None = None,
    ) -> None:
        """Reads an existing journal. Raises Mistake if that is damaged.

        `quota_clock`: the seconds by which the quotas are counted, where the clock of the calls runs faster.
        """
        self._options = options
        self._clock = clock
        self._quota_clock = quota_clock or clock
        self.faults = Faults()
        self.exchange = Exchange(speed=options.speed, max_active_calls=options.max_active_calls)
        self._tally = Tally()
        now = clock()
        self.quota = StartQuota(calls_per_second=options.calls_per_second, burst=options.burst)
        since = self._quota_clock()
        self._start_rate = TokenBucket(options.calls_per_second, options.burst, since)
        self._rates = {
            "DescribeContact": TokenBucket(options.describe_per_second, options.describe_burst, since),
            "StopContact": TokenBucket(options.describe_per_second, options.describe_burst, since),
            "SearchContacts": TokenBucket(options.search_per_second, options.search_burst, since),
        }
        self._journal = Journal(options.journal) if options.journal else None
        try:
            if self._journal:
                self._continue(self._journal, now)
        except Mistake:
            self.close()
            raise

    def start_outbound(self, body: bytes) -> Answer:
        """StartOutboundVoiceContact: rate, checks, faults before, the call, faults after.

        Raises OSError while the journal cannot be written.
        """
        now = self._clock()
        self._flush()
        if not self._start_rate.take(self._quota_clock()):
            return self._refuse(too_many(), body, now)
        try:
            asked = checks.start_outbound(body)
        except ApiError as error:
            return self._refuse(error_answer(error.status, error.code, error.message), body, now)

        script = script_for(
            asked.destination,
            ring_timeout_seconds=asked.ring_timeout_seconds,
            call_seconds=self._options.call_seconds,
            faults=self._options.faults,
        )
        fault = self.faults.of_number(script, asked.client_token or asked.destination)
        of_number = fault is not None
        fault = fault or self.faults.by_chance(now)
        if fault:
            log.info("%s: %s", masked(asked.destination), fault)
        refusal = before(fault)
        if refusal:
            self._record(_entry(now, asked, refusal, fault, of_number))
            return refusal

        placed = self.exchange.start(asked, script, now)
        contact_id = self.exchange.contact_id(placed.index)
        answer = after(fault, contact_id, self.faults.rates.slow_seconds)
        call = None if placed.replayed else self.exchange.calls[placed.index]
        self._record(
            _entry(now, asked, answer, fault, of_number, contact_id=contact_id, call=call),
            rang_before=placed.rang_before,
        )
        return answer

    def describe(self, instance_id: str, contact_id: str) -> Answer:
        """DescribeContact."""
        now = self._clock()
        if refusal := self._refusal("DescribeContact", now):
            return refusal
        index = self.exchange.find(instance_id, contact_id)
        if index is None:
            return error_answer(404, "ResourceNotFoundException", "The contact does not exist")
        return Answer(200, {"Contact": contact_view(self.exchange.calls[index], contact_id, now)})

    def stop(self, body: bytes) -> Answer:
        """StopContact. Raises OSError while the journal cannot be written."""
        now = self._clock()
        self._flush()
        if refusal := self._refusal("StopContact", now):
            return refusal
        try:
            instance_id, contact_id = checks.stop_contact(body)
        except ApiError as error:
            return error_answer(error.status, error.code, error.message)
        index = self.exchange.find(instance_id, contact_id)
        if index is None:
            return error_answer(410, "ContactNotFoundException", "The contact does not exist")
        if self.exchange.stop(index, now):
            call = self.exchange.calls[index]
            self._write(Entry(now, STOP, call.client_token, call.destination, 200, contact_id=contact_id))
        return Answer(200, {})

    def search(self, body: bytes) -> Answer:
        """SearchContacts."""
        now = self._clock()
        if refusal := self._refusal("SearchContacts", now):
            return refusal
        try:
            page = search(
                self.exchange,
                check(body),
                now,
                delay_seconds=self._options.search_delay_seconds,
                only_ended=self._options.search_only_ended,
            )
        except ApiError as error:
            return error_answer(error.status, error.code, error.message)
        return Answer(200, page)

    def set_faults(self, rates: FaultRates) -> None:
        """From now on faults come at these rates."""
        self.faults.set(rates, self._clock())

    def change_quota(self, quota: StartQuota) -> None:
        """From now on StartOutboundVoiceContact has this rate; a restart has that of the options again."""
        self._start_rate.change(quota.calls_per_second, quota.burst, self._quota_clock())
        self.quota = quota

    def stats(self) -> dict[str, Any]:
        """The figures of /_sandbox/stats."""
        return {
            **self._tally.figures(),
            "active_now": self.exchange.active(self._clock()),
            "max_active_seen": self.exchange.max_active_seen,
        }

    def call_lines(self) -> Iterator[str]:
        """Every call so far as a line of JSON; `outcome` is null while it lasts."""
        now = self._clock()
        for index in range(len(self.exchange.calls)):
            call = self.exchange.calls[index]
            line = {
                "destination": call.destination,
                "client_token": call.client_token,
                "contact_id": self.exchange.contact_id(index),
                "at": call.placed_at,
                "outcome": None if call.alive(now) else call.outcome,
                "rang": call.ending is not OVER_QUOTA,
            }
            yield json.dumps(line, separators=(",", ":")) + "\n"

    def close(self) -> None:
        """Close the journal."""
        if self._journal:
            self._journal.close()

    def _refusal(self, operation: str, now: float) -> Answer | None:
        """Above the rate, or a fault that was asked for."""
        allowed = self._rates[operation].take(self._quota_clock())
        fails = allowed and self.faults.fails(operation, now)
        self._tally.count_other(operation, throttled=not allowed, failed=fails)
        if not allowed:
            return throttled()
        return failed() if fails else None

    def _refuse(self, answer: Answer, body: bytes, now: float) -> Answer:
        destination, token = checks.destination_of(body)
        self._record(Entry(now, START, token, destination, answer.status, answer.error))
        return answer

    def _record(self, entry: Entry, *, rang_before: bool = False) -> None:
        self._tally.count(entry, rang_before=rang_before)
        self._write(entry)

    def _flush(self) -> None:
        # Before a call is placed. One whose line cannot be written is enough: that line waits.
        if self._journal:
            self._journal.flush()

    def _write(self, entry: Entry) -> None:
        if self._journal:
            self._journal.append(entry)

    def _continue(self, journal: Journal, now: float) -> None:
        """Take up the calls, tokens, figures and spent faults of an earlier life."""
        for entry in journal.entries():
            if entry.operation == STOP:
                index = self.exchange.index_of(entry.contact_id or "")
                if index is not None:
                    self.exchange.stop(index, entry.epoch)
                continue
            rang_before = entry.rang and self.exchange.has_rung(entry.client_token)
            if entry.call:
                if not self.exchange.calls and entry.contact_id:
                    self.exchange.continue_ids(entry.contact_id)
                if self.exchange.contact_id(self.exchange.add(entry.call, entry.epoch)) != entry.contact_id:
                    raise Mistake(
                        f"{self._options.journal}: lines are missing; name another file for the journal"
                    )
            self._tally.count(entry, rang_before=rang_before)
            if entry.fault_of_number:
                self.faults.remember(entry.client_token or entry.destination or "")
        self.exchange.active(now)


def _entry(
    now: float,
    asked: CallRequest,
    answer: Answer,
    fault: Fault | None,
    of_number: bool,
    *,
    contact_id: str | None = None,
    call: Call | None = None,
) -> Entry:
    return Entry(
        now,
        START,
        asked.client_token,
        asked.destination,
        answer.status,
        answer.error,
        contact_id,
        rang=call is not None and call.ending is not OVER_QUOTA,
        replayed=contact_id is not None and call is None,
        fault=fault,
        fault_of_number=of_number,
        call=call,
    )
