"""The program with one guard taken out at a time: what the model is worth is what it finds of these."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

from sqlalchemy import Connection

import campaigns.ledger.claims as claims
import campaigns.ledger.in_progress as in_progress
import campaigns.ledger.limits as limits
import campaigns.ledger.moves as moves
import campaigns.ledger.outcomes as outcomes
import campaigns.ledger.runs as runs
import campaigns.ledger.sendings as sendings
import campaigns.ledger.standing as standing
import campaigns.ledger.suppressions as suppressions
import campaigns.ledger.unknowns as unknowns
import campaigns.stranger as stranger
import worker.answers as answers
import worker.dial as dial
import worker.follow as follow
import worker.placing as placing
import worker.settle as settle
from campaigns.attempt import AttemptState, RecipientState
from tests.model.hosts import Desk
from tests.model.journal import Journal
from tests.model.steps import Choices, Episode
from tests.model.world import Violation
from worker.connect_errors import Ambiguous, NeverSent

Changes = Callable[[], Any]
"""Makes a context in which the program is changed."""


@dataclass(frozen=True)
class Mutant:
    """One guard, and how it is taken out."""

    name: str
    guard: str
    """What is missing then, in words."""
    changes: Changes
    choices: Callable[[Choices], None] | None = None
    """What is changed in an episode's choices instead."""
    why_not_found: str | None = None
    """Why nothing can be seen of it in the model, where that is known."""


MUTANTS: list[Mutant] = []


def mutant(
    guard: str, *, focus: Callable[[Choices], None] | None = None, why_not_found: str | None = None
) -> Callable[[Changes], Changes]:
    """Enter a context manager as a mutant, under its function's name."""

    def enter(changes: Changes) -> Changes:
        made = contextmanager(changes)  # type: ignore[arg-type] # each is a generator function
        MUTANTS.append(Mutant(changes.__name__, guard, made, focus, why_not_found))
        return changes

    return enter


# Where a guard is about one thing, the mutant has only episodes in which that thing happens.


def with_hours(choices: Choices) -> None:
    """All campaigns may have calling hours."""
    choices.hours, choices.limits, choices.suspends = True, False, 0.5
    for each in choices.manners.values():
        each.never_sent = 0.3


def with_limits(choices: Choices) -> None:
    """All campaigns may have limits, and share a few numbers."""
    choices.limits, choices.hours, choices.numbers = True, False, 4
    choices.campaigns = max(2, choices.campaigns)


def with_throttles(choices: Choices) -> None:
    """Calls come back without having rung, and operators are busy."""
    choices.operators = 0.2
    for each in choices.manners.values():
        each.throttled = each.throttled or 0.3


def with_lost_answers(choices: Choices) -> None:
    """Answers get lost often, those of calls that were placed and of others."""
    choices.hours = choices.limits = False
    for each in choices.manners.values():
        each.lost_answer, each.lost_request = 0.4, 0.2


def with_replays(choices: Choices) -> None:
    """Answers get lost, and requests are sent again."""
    with_lost_answers(choices)
    choices.replay_window_seconds = 5.0


def with_shared_numbers(choices: Choices) -> None:
    """Answers get lost, and recipients share two numbers."""
    with_lost_answers(choices)
    choices.same_numbers, choices.numbers = True, 2


def with_one_number(choices: Choices) -> None:
    """Answers get lost, requests are sent again, calls are short, and all have one of two numbers."""
    with_shared_numbers(choices)
    choices.replay_window_seconds = 5.0
    for each in choices.manners.values():
        each.shortest_call, each.longest_call, each.longest_flight = 0.2, 3.0, 0.1


def with_slow_workers(choices: Choices) -> None:
    """Recipients share two numbers, calls are listed at once, and their answers are recorded late."""
    with_shared_numbers(choices)
    choices.suspends, choices.stands_still, choices.most_calls = 0.15, 0.15, 10
    choices.numbers, choices.perils.crash = 1, 0.0
    choices.resumes, choices.mischief = 0.6, 0.15
    for each in choices.manners.values():
        each.lists_in_progress, each.visible_after, each.longest_call = True, 0.0, 60.0
        each.lost_answer, each.lost_request, each.clock_off = 0.15, 0.15, 0.0


def with_stopped_workers(choices: Choices) -> None:
    """Workers stand still, often for longer than a lease and the patience together."""
    choices.hours = choices.limits = False
    choices.suspends, choices.stands_still, choices.most_calls = 0.5, 0.1, 10


def with_late_lists(choices: Choices) -> None:
    """Answers get lost, and Connect lists calls later than they are searched for."""
    with_lost_answers(choices)
    choices.late, choices.operators, choices.stands_still, choices.suspends = True, 0.2, 0.15, 0.15


def with_skew(choices: Choices) -> None:
    """Answers get lost, and the clocks of AWS and of the ledger differ."""
    with_lost_answers(choices)
    for each in choices.manners.values():
        each.clock_off = 100.0


def with_outages(choices: Choices) -> None:
    """Connect does not tell how calls end, for a long time."""
    choices.hours = choices.limits = False
    choices.refuses, choices.operators = True, 0.03
    for each in choices.manners.values():
        each.lost_answer = each.lost_request = 0.0
        each.answered, each.event_sent = 0.9, 0.0


def with_crashes(choices: Choices) -> None:
    """Processes are killed often."""
    choices.hours = choices.limits = False
    choices.perils.crash = 0.02


def with_misroutes(choices: Choices) -> None:
    """Tasks of one side reach workers of the other."""
    choices.misroutes, choices.campaigns = True, 3


class _Row:
    """A row of the ledger in which some columns say something else."""

    def __init__(self, row: Any, **otherwise: Any) -> None:
        self._row = row
        self.__dict__.update(otherwise)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._row, name)


def _seen_as(**otherwise: Any) -> Any:
    """`moves.locked`, with rows that say something else."""
    locked = moves.locked

    def changed(db: Connection, *this: Any) -> Any:
        row = locked(db, *this)
        return row if row is None else _Row(row, **otherwise)

    return patch.object(moves, "locked", changed)


# --- the move to `dialing` --------------------------------------------------------------------------------


def _locked_anyhow(*, state: bool, fence: bool) -> Any:
    """`moves.locked` that asks only for the state, only for the fence, or for neither."""
    locked = moves.locked

    def changed(db: Connection, attempt_id: int, claim: int, *states: AttemptState) -> Any:
        if states != (AttemptState.QUEUED,):
            return locked(db, attempt_id, claim, *states)
        if not fence:
            now = db.exec_driver_sql(f"SELECT fence FROM attempts WHERE id = {attempt_id}").scalar()
            claim = claim if now is None else now
        return locked(db, attempt_id, claim, *(states if state else AttemptState))

    return patch.object(moves, "locked", changed)


@mutant("the move to `dialing` names the state that it expects")
def no_state() -> Iterator[None]:
    with _locked_anyhow(state=False, fence=True):
        yield


@mutant(
    "the move to `dialing` names the fence of its claim",
    why_not_found="the state is enough: an old task finds the attempt queued only if it may be dialed anyhow",
)
def no_fence() -> Iterator[None]:
    with _locked_anyhow(state=True, fence=False):
        yield


@mutant("`dialing` is committed before the request leaves", focus=with_crashes)
def dialing_not_committed() -> Iterator[None]:
    original = dial.mark_dialing
    owed: dict[int, Callable[[], Any]] = {}

    class RolledBack(Exception):
        pass

    def uncommitted(ledger: Any, attempt_id: int, fence: int, **more: Any) -> Any:
        found: list[Any] = []

        def make(move: Callable[[Connection], Any]) -> Any:
            try:
                with ledger.write() as db:
                    found.append(move(db))
                    raise RolledBack
            except RolledBack:
                return found[0]

        stand_in: Any = _Row(ledger, make=make)
        order = original(stand_in, attempt_id, fence, **more)
        owed[attempt_id] = lambda: original(ledger, attempt_id, fence, **more)
        return order

    def late(move: Any) -> Any:
        def recorded(ledger: Any, attempt_id: int, *this: Any, **more: Any) -> Any:
            owed.pop(attempt_id, lambda: None)()
            return move(ledger, attempt_id, *this, **more)

        return recorded

    with ExitStack() as stack:
        stack.enter_context(patch.object(dial, "mark_dialing", uncommitted))
        for name in ("mark_placed", "mark_returned", "mark_refused", "mark_unknown"):
            stack.enter_context(patch.object(dial, name, late(getattr(dial, name))))
        yield


@mutant("suppression is asked for again in the move to `dialing`", focus=with_throttles)
def no_suppression() -> Iterator[None]:
    with _seen_as(suppressed=False):
        yield


@mutant("the calling hours are asked for again in the move to `dialing`", focus=with_hours)
def no_hours() -> Iterator[None]:
    original = moves.campaign_of

    def always_open(*this: Any) -> Any:
        return original(*this).model_copy(update={"calling_hours": None})

    with patch.object(moves, "campaign_of", always_open):
        yield


@mutant("the request must have left before the calling hours end", focus=with_hours)
def no_closing() -> Iterator[None]:
    original = dial.Dialer._send_within

    def as_long(self: Any, order: Any, began: float) -> float:
        return original(self, SimpleNamespace(closes_at=None), began)  # type: ignore[arg-type]

    with patch.object(dial.Dialer, "_send_within", as_long):
        yield


@mutant("limits on calls to a number are asked for again in the move to `dialing`", focus=with_limits)
def no_limits() -> Iterator[None]:
    with patch.object(moves, "allowed_again", lambda *_: {}):
        yield


@mutant("limits count the calls of all campaigns", focus=with_limits)
def limits_of_one_kind() -> Iterator[None]:
    original = limits.calls_to

    def not_in_doubt(*this: Any) -> Any:
        return [call for call in original(*this) if not (call.dialing or call.in_doubt)]

    with patch.object(limits, "calls_to", not_in_doubt):
        yield


@mutant(
    "each number is decided for one attempt at a time",
    why_not_found="two transactions are never open at once here; tests/campaigns/ledger/test_limits.py",
)
def no_lock_on_numbers() -> Iterator[None]:
    with patch.object(moves, "one_at_a_time", lambda *_: None):
        yield


@mutant(
    "the move to `dialing` asks whether the campaign is running",
    why_not_found="pausing takes back what is queued in its own transaction, and none is open at once",
)
def dialed_while_paused() -> Iterator[None]:
    with _seen_as(run_state="running"):
        yield


@mutant("a worker asks whether the run is its side's", focus=with_misroutes)
def no_side_at_dialing() -> Iterator[None]:
    locked = moves.locked

    def mine(db: Connection, *this: Any) -> Any:
        row = locked(db, *this)
        return row if row is None else _Row(row, exchange=_Anything())

    with patch.object(moves, "locked", mine):
        yield


class _Anything:
    """Equal to everything."""

    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, _: object) -> bool:
        return True

    def __ne__(self, _: object) -> bool:
        return False


@mutant(
    "the feed claims only the runs of its side",
    why_not_found="rarely met: the worker's own question stands behind it; fails test_binding.py",
)
def no_side_at_feeding() -> Iterator[None]:
    from sqlalchemy import true

    with patch.object(claims, "_may_dial", lambda _: true()):
        yield


@mutant("neither the feed nor a worker asks for the side", focus=with_misroutes)
def no_side() -> Iterator[None]:
    from sqlalchemy import true

    locked = moves.locked

    def mine(db: Connection, *this: Any) -> Any:
        row = locked(db, *this)
        return row if row is None else _Row(row, exchange=_Anything())

    with patch.object(claims, "_may_dial", lambda _: true()), patch.object(moves, "locked", mine):
        yield


# --- sending ----------------------------------------------------------------------------------------------


@mutant("a request leaves only within its time (the last look)", focus=with_stopped_workers)
def no_last_look() -> Iterator[None]:
    with patch.object(dial.Dialer, "_send_within", lambda *_: 1e9):
        yield


@mutant("a request is sent again only within the replay window", focus=with_replays)
def replays_for_ever() -> Iterator[None]:
    def left(self: Any) -> float:
        return float(self._began + self.send_within_seconds - self.monotonic())

    with patch.object(placing.Placing, "_left", left):
        yield


@mutant("after an answer in doubt no later answer makes the attempt one that never rang", focus=with_replays)
def no_doubt() -> Iterator[None]:
    def send(self: Any) -> str:
        try:
            return str(self._on_a_slot())
        except Ambiguous as error:
            self._doubt = self._doubt or error
            raise

    with patch.object(placing.Placing, "_send", send):
        yield


@mutant("an answer that does not come is no proof that nothing was sent", focus=with_lost_answers)
def doubt_is_never_sent() -> Iterator[None]:
    original = placing.Placing.place

    def place(self: Any) -> str:
        try:
            return original(self)
        except Ambiguous as error:
            raise NeverSent(error.code, error.reason) from error

    with patch.object(placing.Placing, "place", place):
        yield


# --- rescue and feeding -------------------------------------------------------------------------------------


@mutant("rescue: `dialing` is never due again by itself", focus=with_crashes)
def dialing_is_due_again() -> Iterator[None]:
    original = claims._take

    def take(db: Connection, these: Any, becomes: Any, reason: str, **more: Any) -> list[int]:
        if becomes != AttemptState.UNKNOWN:
            return original(db, these, becomes, reason, **more)
        lost = original(db, these, AttemptState.RETURNED, reason)
        claims._wait_again(db, lost)
        return []

    with patch.object(claims, "_take", take):
        yield


@mutant("rescue: `queued` past its lease is due again", focus=with_crashes)
def queued_is_lost() -> Iterator[None]:
    original = claims._take

    def take(db: Connection, these: Any, becomes: Any, reason: str, **more: Any) -> list[int]:
        if "did not arrive" in reason:
            return []
        return original(db, these, becomes, reason, **more)

    with patch.object(claims, "_take", take):
        yield


@mutant("rescue: `dialing` past its lease is unknown", focus=with_crashes)
def dialing_is_lost() -> Iterator[None]:
    original = claims._take

    def take(db: Connection, these: Any, becomes: Any, reason: str, **more: Any) -> list[int]:
        return [] if becomes == AttemptState.UNKNOWN else original(db, these, becomes, reason, **more)

    with patch.object(claims, "_take", take):
        yield


@mutant("a run is finished only when no recipient in it waits or is in progress")
def finished_too_soon() -> Iterator[None]:
    with patch.object(runs, "UNFINISHED", (RecipientState.IN_PROGRESS,)):
        yield


@mutant("calls in doubt count among the calls in progress", focus=with_lost_answers)
def doubt_takes_no_room() -> Iterator[None]:
    original = in_progress.in_progress

    def counted(db: Connection, exchange: str, limit: Any, now: Any) -> Any:
        return original(db, exchange, in_progress.CallLimit(limit.most, timedelta(0)), now)

    with patch.object(claims, "in_progress", counted):
        yield


@mutant("calls in progress are counted before others are released")
def no_room_asked_for() -> Iterator[None]:
    with patch.object(claims, "_rooms", lambda *_: {}):
        yield


# --- searching ----------------------------------------------------------------------------------------------


@mutant(
    "a call found among Connect's is given to one attempt only",
    focus=with_slow_workers,
    why_not_found="not met: an answer has to be recorded within one search; fails test_unknowns.py",
)
def contact_of_another() -> Iterator[None]:
    with patch.object(unknowns, "_has_an_attempt", lambda *_: False):
        yield


def _only(these: Callable[[Any], bool]) -> Any:
    """Attempts that are not like this are left out where a call's attempt is looked for."""
    original = sendings.sendings

    def fewer(*this: Any, **more: Any) -> Any:
        return [each for each in original(*this, **more) if these(each)]

    both = ExitStack()
    both.enter_context(patch.object(settle, "sendings", fewer))
    both.enter_context(patch.object(unknowns, "sendings", fewer))
    return both


@mutant(
    "a call that can be of an attempt that is being dialed decides nothing",
    focus=with_slow_workers,
    why_not_found="not met: an answer has to be late just while a search runs; fails test_unknowns.py",
)
def none_is_dialed() -> Iterator[None]:
    with _only(lambda each: each.state != AttemptState.DIALING):
        yield


@mutant(
    "a call that can be of a second one of a token that was sent again decides nothing", focus=with_one_number
)
def none_is_sent_again() -> Iterator[None]:
    with _only(lambda each: each.state not in (AttemptState.PLACED, AttemptState.ENDED)):
        yield


@mutant("a call that fits two attempts decides nothing", focus=with_shared_numbers)
def nearest_is_taken() -> Iterator[None]:
    original = stranger.candidates

    def nearest(call: Any, these: Any) -> Any:
        found = original(call, these)
        return sorted(found, key=lambda each: (stranger.distance(call, each), each.attempt_id))[:1]

    with patch.object(settle, "candidates", nearest), patch.object(unknowns, "candidates", nearest):
        yield


@mutant("the clocks of AWS and of the ledger may differ by five minutes", focus=with_skew)
def one_clock_with_aws() -> Iterator[None]:
    with patch.object(stranger, "CLOCK_SKEW", timedelta(seconds=5)):
        yield


@mutant(
    "what is settled is not put under search again",
    focus=with_lost_answers,
    why_not_found="rarely met: a search has to fail while another settles; fails test_settle.py",
)
def searched_again() -> Iterator[None]:
    with patch.object(unknowns, "_still_taken", lambda *_: True):
        yield


@mutant("a search that cannot have shown the call proves nothing", focus=with_lost_answers)
def every_search_is_believed() -> Iterator[None]:
    with patch.object(settle.Settling, "_why_not_believed", lambda *_: None):
        yield


@mutant("a search counts as in vain only after the patience", focus=with_lost_answers)
def no_patience() -> Iterator[None]:
    original = settle.Settling._judge

    def judge(self: Any, found: Any, sweep: Any, began: Any) -> int:
        kept, self.patience = self.patience, timedelta(seconds=20)
        try:
            return original(self, found, sweep, began)
        finally:
            self.patience = kept

    with patch.object(settle.Settling, "_judge", judge):
        yield


@mutant(
    "a next attempt that has not been dialed is withdrawn when a call is found after all",
    focus=with_late_lists,
    why_not_found="not met: a call has to turn up after its redial was claimed; fails test_settle.py",
)
def no_withdrawal() -> Iterator[None]:
    def nothing(db: Connection, row: Any, becomes: Any) -> None:
        return None

    with ExitStack() as stack:
        for module in (moves, unknowns, outcomes):
            stack.enter_context(patch.object(module, "called_after_all", nothing))
        yield


@mutant(
    "who was reached by an earlier attempt waits for no other",
    focus=with_late_lists,
    why_not_found="not met: an outcome has to be told just before the next dialing; fails test_outcomes.py",
)
def not_left_in_peace() -> Iterator[None]:
    with ExitStack() as stack:
        for module in (moves, unknowns, outcomes):
            stack.enter_context(patch.object(module, "leave_in_peace", lambda *_: None))
        yield


# --- outcomes, suppression, counts ------------------------------------------------------------------------


@mutant("where Connect refuses to tell, no recipient is dialed again", focus=with_outages)
def refusal_is_silence() -> Iterator[None]:
    def not_told(self: Any, call: Any, error: Any, due: bool) -> bool:
        return due and bool(self._wait_until_known(call))

    with ExitStack() as stack:
        stack.enter_context(patch.object(follow.Following, "_not_told", not_told))
        stack.enter_context(patch.object(answers.Answers, "told_lately", lambda *_: True))
        yield


@mutant("the outcome is what Connect says")
def everything_is_busy() -> Iterator[None]:
    from campaigns.attempt import Outcome

    original = follow.outcome_of
    with patch.object(follow, "outcome_of", lambda report: original(report) and Outcome.BUSY):
        yield


@mutant("who waits, or is queued, is suppressed with the number", focus=with_throttles)
def nobody_is_withdrawn() -> Iterator[None]:
    with patch.object(suppressions, "_withdraw", lambda *_: (0, 0)), _seen_as(suppressed=False):
        yield


@mutant("an answer that says it did not ring puts the recipient back", focus=with_throttles)
def returned_is_lost() -> Iterator[None]:
    def put_back(db: Connection, row: Any, reason: str, **_: Any) -> None:
        db.exec_driver_sql(f"UPDATE attempts SET state = 'returned' WHERE id = {row.id}")

    with patch.object(moves, "put_back", put_back):
        yield


@mutant("the database counts in the transaction of what it counts")
def a_count_is_missed() -> Iterator[None]:
    original = standing.move_recipient

    def uncounted(db: Connection, row: Any, *this: Any) -> None:
        original(db, row, *this)
        db.exec_driver_sql(f"DELETE FROM tallies WHERE run_id = {row.run_id} AND state = 'done'")

    with ExitStack() as stack:
        for module in (moves, unknowns):
            stack.enter_context(patch.object(module, "move_recipient", uncounted))
        yield


def _own_clocks(choices: Choices) -> None:
    with_lost_answers(choices)
    choices.hosts, choices.perils.own_clocks = 3, True
    for each in choices.manners.values():
        each.shortest_call, each.longest_call, each.clock_off = 100.0, 200.0, 0.0


@contextmanager
def _nothing_changed() -> Iterator[None]:
    yield


MUTANTS.append(Mutant("own_clocks", "all hosts go by one clock", _nothing_changed, _own_clocks))


def sees(mutant: Mutant, desk: Desk, journal: Journal, seed: str, steps: int) -> str | None:
    """What is seen of a mutant in one episode, and of the program itself is not; None if nothing is."""
    with mutant.changes():
        seen = _seen(Episode(seed, desk, journal, mutant.choices), steps)
    if seen is None:
        return None
    # The clocks are a mutation of the choices themselves.
    choices = None if mutant.choices is _own_clocks else mutant.choices
    return seen if _seen(Episode(seed, desk, journal, choices), steps) is None else None


def _seen(episode: Episode, steps: int) -> str | None:
    try:
        episode.run(steps)
    except Violation as violation:
        return str(violation)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None
