"""contact_id → outcome → redial, or done."""

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from math import ceil

from campaigns.attempt import Outcome
from campaigns.campaign import RedialOptions
from campaigns.ledger import Ledger, LedgerUnavailable
from campaigns.ledger.in_progress import CallLimit, calls_by_instance
from campaigns.ledger.outcomes import (
    Placed,
    Redial,
    anything_followed,
    follow_later,
    hold_undecided,
    look_again,
    mark_ended,
    mark_goes_on,
    mark_told_late,
    not_looked_at,
    take_due_follows,
    take_in_between,
    take_probe,
)
from campaigns.ledger.runs import pause
from campaigns.redial import RedialAt
from worker.answers import Answers
from worker.connect import CallReport, Connect
from worker.connect_errors import ClockWrong, ConnectError, Misconfigured, NeverSent, Throttled
from worker.pacer import Pacer, PacerUnavailable

log = logging.getLogger(__name__)

_HELD_FOR = timedelta(seconds=30)
"""How long calls that are being looked up stay taken; if this process dies they are due again after it."""

_BREATH = timedelta(seconds=5)
"""How long a round that came to nothing is waited after."""

_REST = timedelta(seconds=0.5)
"""How long a call is left alone between two looks, also when its instance is full."""

_ROUND = timedelta(seconds=2)
"""How long a round goes on: when Connect is slow, other work must not wait for it."""

_TOGETHER = 0.1
"""So much of a second's looks is taken together: their ends make room for others at once."""

# Connect's words, from the API reference of DisconnectReason and AnsweringMachineDetectionStatus (2025).
_BY_MACHINE_DETECTION = {
    "HUMAN_ANSWERED": Outcome.HUMAN_ANSWERED,
    "VOICEMAIL_BEEP": Outcome.VOICEMAIL,
    "VOICEMAIL_NO_BEEP": Outcome.VOICEMAIL,
    "AMD_UNANSWERED": Outcome.NO_ANSWER,
    "SIT_TONE_BUSY": Outcome.BUSY,
    # A tone without words for which one: what answered was a machine of the network.
    "SIT_TONE_DETECTED": Outcome.UNREACHABLE,
    "SIT_TONE_INVALID_NUMBER": Outcome.INVALID_NUMBER,
    "FAX_MACHINE_DETECTED": Outcome.FAX,
}
_BY_DISCONNECT_REASON = {
    "TELECOM_TIMEOUT": Outcome.NO_ANSWER,
    "TELECOM_UNANSWERED": Outcome.NO_ANSWER,
    "TELECOM_ORIGINATOR_CANCEL": Outcome.NO_ANSWER,
    "TELECOM_BUSY": Outcome.BUSY,
    "TELECOM_PROBLEM": Outcome.UNREACHABLE,
    "OUTBOUND_RESOURCE_ERROR": Outcome.UNREACHABLE,
    "OUTBOUND_ATTEMPT_FAILED": Outcome.UNREACHABLE,
    "TELECOM_NUMBER_INVALID": Outcome.INVALID_NUMBER,
    "OUTBOUND_DESTINATION_ENDPOINT_ERROR": Outcome.INVALID_NUMBER,
    "TELECOM_POTENTIAL_BLOCKING": Outcome.BLOCKED,
    # StopContact, by `dialer cancel --hang-up` or by somebody else.
    "API": Outcome.STOPPED,
}

_LEAST_LOOKS = 3
"""So often a call is looked at before it is given up, however long ago it was placed."""

_PROBED_AFTER = timedelta(seconds=1)
"""How long after placing the first call is asked about while it is not known whether Connect tells."""

_LONGEST_CALL = timedelta(days=1)
"""How long after placing a call is given up that goes on and on, or of which Connect refuses to tell."""

_LATEST_WORD = timedelta(days=3)
"""How long after placing nobody asks any more what became of a call that was given up."""


def outcome_of(report: CallReport) -> Outcome | None:
    """How a call ended, or None while it goes on."""
    if report.ended_at is None:
        return None
    by_machine = _BY_MACHINE_DETECTION.get(report.answering_machine_status or "")
    if by_machine is not None:
        return by_machine
    if report.answered_at is not None:
        return Outcome.ANSWERED
    return _BY_DISCONNECT_REASON.get(report.disconnect_reason or "", Outcome.NO_OUTCOME)


def next_look(first: timedelta, looks: int) -> timedelta:
    """How long to wait after look number `looks` (from 1): most calls are over at the first, a long one is
    looked at ever more rarely, a quarter of an hour apart at most."""
    doublings: int = 2 ** min(looks, 10)
    return min(first * doublings, max(first, timedelta(minutes=15)))


def deadline(first: timedelta) -> timedelta:
    """How long after placing a call that Connect knows nothing of is given up."""
    return max(timedelta(minutes=1), 10 * first)


def late_look(age: timedelta, redial_in: timedelta | None) -> timedelta | None:
    """How long to wait until a call that was given up `age` after it was placed is looked at once more.

    As long as it has been silent, a day at most; and right before its recipient would be dialed again. None
    when it is too late for any word.
    """
    if age >= _LATEST_WORD:
        return None
    wait = min(max(age, _BREATH), timedelta(days=1))
    if redial_in is not None and redial_in > 2 * _BREATH:
        wait = min(wait, redial_in - _BREATH)
    return wait


def ended_by(call: Placed, report: CallReport, now: datetime) -> datetime:
    """When a call had ended by the ledger's clock, at the latest.

    AWS's clock, which may be minutes off, tells only how long it lasted. It began before its contact was
    recorded, or, if a search found that, before its request could no longer leave. So no redial's wait is
    shorter than its rule says.
    """
    if report.ended_at is None or report.initiated_at is None:
        return now
    began = call.sent_by if call.found else call.placed_at
    return min(began + max(report.ended_at - report.initiated_at, timedelta(0)), now)


@dataclass(frozen=True, slots=True)
class Following:
    """What asks Connect for outcomes, with all that it needs."""

    ledger: Ledger
    connect: Connect
    pacer: Pacer
    exchange: str
    first: timedelta
    """From placing a call until it is first looked at."""
    limit: CallLimit
    clock: Callable[[], datetime]
    stopping: Callable[[], bool] = lambda: False
    call_over: Callable[[], None] = lambda: None
    """Told when a call has ended while an instance had as many as it may: others wait for its place."""
    report_problem: Callable[[str | None], None] = lambda _: None
    """Told what keeps outcomes from being known, or None."""
    answers: Answers = field(default_factory=Answers)
    """What Connect has answered to this process: to be handed to all its rounds."""
    probes: bool = True
    """Whether the first call is asked about at once, to find out whether Connect tells."""

    def follow(self, looks: int) -> int:
        """Ask for the outcome of up to `looks` calls that are due to be looked at.

        Returns how many have ended. Those that this round does not come to are due again a little later.
        Looks that are left over go to the calls of instances that are full: others wait for their ends.
        """
        now = self.clock()
        counted = calls_by_instance(self.ledger, self.exchange, self.limit, now)
        full = sorted(instance for instance, count in counted.items() if count >= self.limit.most)
        due = take_due_follows(
            self.ledger,
            exchange=self.exchange,
            limit=looks,
            now=now,
            until=now + _HELD_FOR * self.ledger.clock_speed,
        )
        few = ceil(looks * _TOGETHER)
        ended = asked = 0
        while calls := due[:few] or self._in_between(full, min(few, looks - asked)):
            over, seen = self._look_at(calls, until=now + _ROUND * self.ledger.clock_speed, due=bool(due))
            ended, asked = ended + over, asked + seen
            if over and full:
                self.call_over()
            if seen < len(calls):
                self._put_back(due[seen:])
                return ended
            due = due[few:]
        for probe in self._probes(sorted(counted), looks - asked):
            ended += self._look_at([probe], until=now + _ROUND * self.ledger.clock_speed, due=False)[0]
        if not asked and not anything_followed(self.ledger, self.exchange):
            self.report_problem(None)
        return ended

    def _probes(self, instances: list[str], most: int) -> list[Placed]:
        """A call of each instance of which it is not known whether Connect tells of its calls.

        A missing right would be found out only by the first due look otherwise, a hundred calls later.
        """
        now = self.clock()
        silent = self.answers.silent(instances)[: max(0, most)] if self.probes else []
        taken = (
            take_probe(
                self.ledger,
                exchange=self.exchange,
                instance_id=instance_id,
                now=now,
                rest=_PROBED_AFTER,
                placed_after=self.answers.probe_after(instance_id, now),
            )
            for instance_id in silent
        )
        return [call for call in taken if call is not None]

    def _in_between(self, full: Sequence[str], few: int) -> Sequence[Placed]:
        if not full or few <= 0:
            return []
        now = self.clock()
        return take_in_between(
            self.ledger, exchange=self.exchange, instances=full, limit=few, now=now, rest=_REST
        )

    def _look_at(self, calls: Sequence[Placed], *, until: datetime, due: bool) -> tuple[int, int]:
        """(how many have ended, how many were asked for). Fewer than all if nothing can be asked now."""
        ended = 0
        for at, call in enumerate(calls):
            try:
                # The pacer's waits end early when the process is to stop.
                if self.clock() >= until or self.pacer.wait(2.0) is None or self.stopping():
                    return ended, at
                report = self.connect.describe(call.instance_id, call.contact_id)
            except (PacerUnavailable, NeverSent) as error:
                log.warning("no outcome can be asked for now: %s", error)
                self.report_problem(f"outcomes cannot be asked for: {error}")
                return ended, at
            except Throttled:
                with suppress(PacerUnavailable):
                    self.pacer.throttled()
                return ended, at
            except ConnectError as error:
                # Perhaps only this one's fault, so the others must not wait behind it.
                log.warning("contact %s cannot be followed now: %s", call.contact_id, error)
                self.report_problem(f"outcomes cannot be asked for: {error}")
                ended += self._not_told(call, error, due)
                continue
            self._told(call, report)
            self.report_problem(None)
            try:
                ended += self._judge(call, report, due)
            except LedgerUnavailable:
                raise
            except Exception as error:
                # Nor behind one that nobody foresaw. Its name only: its text may hold anything.
                log.error("contact %s cannot be judged: %s", call.contact_id, type(error).__name__)
        return ended, len(calls)

    def _told(self, call: Placed, report: CallReport | None) -> None:
        """Connect answers, so it lets us ask; about calls of which it refused to tell it is asked at once."""
        if report is not None:
            self.answers.told(call.instance_id, self.clock())
        if self.answers.answered(call.instance_id):
            look_again(self.ledger, exchange=self.exchange, instance_id=call.instance_id, now=self.clock())

    def _not_told(self, call: Placed, error: ConnectError, due: bool) -> bool:
        """Connect refuses to tell. That says nothing of the call. Returns whether it was given up."""
        now = self.clock()
        self.answers.refused(call.instance_id, now)
        # A 400 speaks of this request, a clock that is wrong is set; anything else of who may ask, and where.
        refused = isinstance(error, Misconfigured) and not isinstance(error, ClockWrong)
        if refused and error.status != 400:
            with self.ledger.write() as db:
                reason = f"{error.code}: how calls end cannot be asked for, connect:DescribeContact is needed"
                if pause(db, call.run_id, f"{reason}: {error.reason}", code=error.code[:40]):
                    log.error("a campaign has paused itself: %s", reason)
        if not due:
            return False
        if call.given_up:
            # About to be dialed again, perhaps, on the belief that Connect does not know the call.
            hold_undecided(self.ledger, call.attempt_id)
            self._look_for_it_later(call)
            return False
        if now - call.placed_at < _LONGEST_CALL or call.follows < _LEAST_LOOKS:
            follow_later(self.ledger, call.attempt_id, now + next_look(self.first, call.follows))
            return False
        reason = f"Connect has refused to tell for a day ({error.code})"
        return self._give_up(call, reason, hold=True, look_again=True)

    def _judge(self, call: Placed, report: CallReport | None, due: bool) -> bool:
        """Write down what a look has shown. Returns whether the call has ended."""
        if report is not None and report.ended_at is not None:
            return self.conclude(call, report)
        now = self.clock()
        age = now - call.placed_at
        if report is not None and age >= _LONGEST_CALL:
            return self._give_up(call, "Connect has had no end for it for a day")
        if report is not None and call.given_up:
            # It was silence, and not the call, that had come to its end.
            mark_goes_on(self.ledger, call.attempt_id, follow_at=now + next_look(self.first, call.follows))
        elif report is None and due:
            return self._wait_until_known(call)
        elif due:
            follow_later(self.ledger, call.attempt_id, now + next_look(self.first, call.follows))
        return False

    def conclude(self, call: Placed, report: CallReport) -> bool:
        """Write down how a call ended, if that is what the report says. Returns whether it was news."""
        outcome = outcome_of(report)
        if outcome is None or report.ended_at is None:
            return False
        if call.given_up and outcome == Outcome.NO_OUTCOME:
            follow_later(self.ledger, call.attempt_id, None)
            return False
        ended_at = ended_by(call, report, self.clock())
        redial = _as_ruled(call, outcome, ended_at)
        if call.given_up:
            return mark_told_late(self.ledger, call.attempt_id, outcome, ended_at=ended_at, redial=redial)
        reason = None
        if outcome == Outcome.NO_OUTCOME:
            reason = f"Connect gives no reason that is known here ({report.disconnect_reason or 'none'})"
        return mark_ended(
            self.ledger, call.attempt_id, outcome, ended_at=ended_at, redial=redial, reason=reason
        )

    def _put_back(self, calls: Sequence[Placed]) -> None:
        """Nobody could be asked about these. That is no look, and says nothing of them for a whole day."""
        now = self.clock()
        not_looked_at(self.ledger, calls, now + _BREATH)
        for call in calls:
            if now - call.placed_at >= _LONGEST_CALL and not (call.found or call.given_up):
                reason = "Connect could not be asked about it for a day"
                self._give_up(call, reason, hold=True, look_again=True)

    def _wait_until_known(self, call: Placed) -> bool:
        """Connect knows no such call. Look again later, or, after the deadline, give it up: returns True."""
        now = self.clock()
        age = now - call.placed_at
        if call.given_up:
            self._look_for_it_later(call)
            return False
        if age < deadline(self.first) or call.follows < _LEAST_LOOKS:
            follow_later(self.ledger, call.attempt_id, now + next_look(self.first, call.follows))
            return False
        if self.answers.told_lately(call.instance_id, now):
            return self._give_up(call, "Connect has not said how it ended", redial=True, look_again=True)
        # Asked in another Region, or at another address, about calls that Connect itself has named.
        reason = (
            "Connect does not know this call, nor has it told of another one within an hour: check the Region"
        )
        return self._give_up(call, reason, hold=True, look_again=True)

    def _look_for_it_later(self, call: Placed) -> None:
        now = self.clock()
        wait = late_look(now - call.placed_at, None)
        follow_later(self.ledger, call.attempt_id, now + wait if wait is not None else None)

    def _give_up(
        self,
        call: Placed,
        reason: str,
        *,
        redial: bool = False,
        hold: bool = False,
        look_again: bool = False,
    ) -> bool:
        """The call ends without an outcome: its recipient is redialed by the rule for that, held, or done."""
        now = self.clock()
        if call.given_up:
            follow_later(self.ledger, call.attempt_id, None)
            return False
        ruled = _as_ruled(call, Outcome.NO_OUTCOME, now)
        due_at = ruled(call.campaign.redial) if redial else None
        wait = late_look(now - call.placed_at, due_at - now if due_at is not None else None)
        return mark_ended(
            self.ledger,
            call.attempt_id,
            Outcome.NO_OUTCOME,
            ended_at=now,
            redial=ruled if redial else lambda _: None,
            reason=reason,
            look_again_at=now + wait if look_again and wait is not None else None,
            hold=hold,
        )


def _as_ruled(call: Placed, outcome: Outcome, ended_at: datetime) -> Redial:
    """When the rules have its recipient dialed again."""

    def redial(rules: RedialOptions) -> datetime | None:
        step = rules.next_step(call.rings(outcome), ended_at)
        return step.due_at if isinstance(step, RedialAt) else None

    return redial
