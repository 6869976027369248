"""What must never happen, and what must have become of everybody: told from the truth, not by the dialer.

It shares no rule with the program: hours, limits and redials are worked out anew, from the campaign's choices
as they stand in the ledger. It sees each transition when it is committed, and each ring when it happens.
"""

import json
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from campaigns.attempt import LEGAL_MOVES
from tests.model.backend import Backend, Ring
from tests.model.journal import Journal
from tests.model.world import MONDAY_NOON, Violation, World
from worker.connect import CallOrder

DAY_SECONDS = 24 * 3600.0
ROUND_SECONDS = 120.0
"""At the end of an episode, from the last round of feeding until it is judged, at most."""
SEND_WITHIN_SECONDS = 15.0
"""A limit counts from the moment that the dialer wrote down, and the request leaves within this of it."""


@dataclass
class Known:
    """One attempt, as the ledger had it when it was made."""

    attempt_id: int
    token: str
    recipient_id: int
    number: int
    run_id: int
    campaign_id: int
    campaign: str
    key: str
    phone: str
    zones: str | None
    closes: float | None = None
    """Until when its request may leave, by the hours at its last move to `dialing`."""
    limit: int | None = None
    """Calls to its number within 24 hours, likewise."""
    sends: list[float] = field(default_factory=list)
    dialed: tuple[int, float] = (0, 0.0)
    """Which move to `dialing` its last one was among all, and when it was."""


class Oracle:
    """Compares the truth with the promises during an episode, and the ledger with the truth at its end."""

    def __init__(
        self,
        world: World,
        journal: Journal,
        sides: dict[str, str],
        *,
        most_calls: int,
        patience: float,
        replay_window_seconds: float,
        lenient: bool,
    ) -> None:
        self.world = world
        self.journal = journal
        self.sides = sides
        """Campaign → where its calls may ring, as the operator says when it is started."""
        self.started: set[str] = set()
        self.most_calls = most_calls
        self.patience = patience
        """Seconds for which a call in doubt is searched for."""
        self.replay_window_seconds = replay_window_seconds
        self.lenient = lenient
        """Connect tells of calls too late. Then only what the ledger could know is held against it."""
        self.backends: dict[str, Backend] = {}
        self.by_id: dict[int, Known] = {}
        self.by_token: dict[str, Known] = {}
        self.rings_of: dict[int, list[Ring]] = defaultdict(list)
        """Recipient → all rings."""
        self.requeued: dict[int, list[float]] = defaultdict(list)
        """Recipient → when an operator asked for another attempt."""
        self.rules: dict[int, list[tuple[float, dict[str, Any]]]] = defaultdict(list)
        """Campaign → since when which choices hold."""
        self.states: dict[int, str] = {}
        """Attempt → its state."""
        self.dialings = 0
        self.transitions = 0

    # --- while it goes on -------------------------------------------------------------------------------

    def after_commit(self) -> None:
        """Look at what was just committed."""
        for what, row_id, was, becomes, detail in self.journal.news():
            self.transitions += 1
            if what != "choices":
                self.world.note(f"{what} {row_id}: {was} -> {becomes} {(detail or '')[:12]}")
            match what:
                case "attempt":
                    self._attempt_moved(row_id, was, becomes, detail)
                case "requeue":
                    self.requeued[self.by_id[row_id].recipient_id].append(self.world.now)
                case "searched again":
                    self._broken(f"attempt {row_id} was settled, and is searched for again")
                case "choices":
                    self.rules[row_id].append((self.world.now, json.loads(detail or "{}")))

    def _attempt_moved(
        self, attempt_id: int, was: str | None, becomes: str | None, detail: str | None
    ) -> None:
        if becomes is None:
            self.states.pop(attempt_id, None)
        else:
            self.states[attempt_id] = becomes
        if was is None:
            self._made(attempt_id)
            if becomes != "queued":
                self._broken(f"attempt {attempt_id} was made {becomes}")
            return
        known = self.by_id[attempt_id]
        if becomes is None:
            if was not in ("queued", "returned"):
                self._broken(f"attempt {attempt_id} was deleted from {was}")
            if self._rang(known.token):
                self._broken(f"attempt {attempt_id} rang, and was deleted")
            return
        if was != becomes and becomes not in LEGAL_MOVES[was]:  # type: ignore[index] # a StrEnum is its text
            self._broken(f"attempt {attempt_id} moved from {was} to {becomes}")
        if becomes == "dialing":
            self._dialing(known)
        if becomes == "returned" and self._rang(known.token):
            self._broken(f"attempt {attempt_id} rang, and counts as one that never did")
        if detail is not None and becomes in ("placed", "ended"):
            self._check_contact(known, detail)

    def _made(self, attempt_id: int) -> None:
        row = self.journal.query(
            "SELECT a.id, a.client_token, a.recipient_id, a.number, a.run_id, r.campaign_id, c.name, p.key,"
            " p.phone, p.zones FROM attempts a JOIN recipients p ON p.id = a.recipient_id"
            " JOIN runs r ON r.id = a.run_id JOIN campaigns c ON c.id = r.campaign_id WHERE a.id = ?",
            attempt_id,
        )
        if not row:
            return  # made and withdrawn between two looks
        known = Known(*row[0])
        # An attempt that was withdrawn comes again under its number and its token.
        earlier = self.by_token.get(known.token)
        if earlier is not None and earlier.recipient_id != known.recipient_id:
            self._broken(f"one token for two people: attempts {earlier.attempt_id} and {attempt_id}")
        self.by_id[attempt_id] = self.by_token[known.token] = known

    def _dialing(self, known: Known) -> None:
        """Everything that must hold in the moment in which `dialing` is committed."""
        state, exchange, choices = self.journal.query(
            "SELECT r.state, r.exchange, CAST(c.choices AS TEXT) FROM runs r"
            " JOIN campaigns c ON c.id = r.campaign_id WHERE r.id = ?",
            known.run_id,
        )[0]
        if state != "running":
            self._broken(f"attempt {known.attempt_id} is dialed in a run that is {state}")
        if exchange != self.sides[known.campaign]:
            self._broken(f"attempt {known.attempt_id} of {known.campaign} is dialed through {exchange}")
        if self.journal.query(
            "SELECT 1 FROM suppressions WHERE phone = ? AND campaign_id IN (0, ?)",
            known.phone,
            known.campaign_id,
        ):
            self._broken(f"attempt {known.attempt_id} is dialed though its number is suppressed")
        chosen = json.loads(choices)
        self._not_known_to_be_called(known, chosen)
        known.closes = self._closes(known, chosen, self.world.now)
        if known.closes is not None and known.closes <= self.world.now:
            # Decided before it was committed; what may be sent is asked again in that moment.
            known.closes = self._closes(known, chosen, self.world.now - SEND_WITHIN_SECONDS)
        if known.closes is not None and known.closes <= self.world.now - SEND_WITHIN_SECONDS:
            self._broken(f"attempt {known.attempt_id} is dialed outside the calling hours")
        known.limit = chosen["limits"]["per_number_per_day"]
        self.dialings += 1
        known.dialed = (self.dialings, self.world.now)

    def _not_known_to_be_called(self, known: Known, choices: dict[str, Any]) -> None:
        """Whether the ledger itself tells of a call that goes on, or that was answered."""
        others = self.journal.query(
            "SELECT number, state, outcome, requeued_at FROM attempts WHERE recipient_id = ? AND id <> ?",
            known.recipient_id,
            known.attempt_id,
        )
        for number, state, outcome, _ in others:
            asked = any(each[0] >= number and each[3] is not None for each in others)
            if state == "placed":
                self._broken(f"attempt {known.attempt_id} is dialed while attempt number {number} is placed")
            if outcome == "answered" and not asked and "answered" not in choices["redial"]["after"]:
                self._broken(f"attempt {known.attempt_id} is dialed after number {number} was answered")

    def on_send(self, backend: str, order: CallOrder) -> None:
        """A request leaves for a backend."""
        known = self._known(order.client_token)
        if known.closes is not None and self.world.now >= known.closes:
            self._broken(f"attempt {known.attempt_id} was sent after the calling hours had ended")
        if known.phone != order.phone:
            self._broken(f"attempt {known.attempt_id} was sent to another number than its recipient's")
        known.sends.append(self.world.now)
        self.world.note(f"attempt {known.attempt_id} sent to {backend}")

    def on_ring(self, ring: Ring) -> None:
        """A telephone is about to ring."""
        known = self._known(ring.token)
        side = self.sides[known.campaign]
        what = f"attempt {known.attempt_id} ({known.campaign}, {known.key}, {known.phone})"
        if ring.backend != side:
            self._broken(f"{what} rang at {ring.backend}, and belongs to {side}")
        if known.campaign not in self.started:
            self._broken(f"{what} rang before anybody had started its campaign")
        # One of which nobody learns how it ends counts no longer than this.
        since = self.world.now - self.patience
        live = [each for each in self.backends[ring.backend].alive() if each.starts > since]
        if len(live) >= self.most_calls and not self.lenient:
            self._broken(f"{what} rang as call {len(live) + 1} at a time; the limit is {self.most_calls}")
        self.world.note(f"{what} rings as {ring.contact_id} until {ring.ends:.1f}, {_outcome(ring)}")
        self._not_twice(known, ring, what)
        if not self.lenient:
            self._within_limits(ring)
        self.rings_of[known.recipient_id].append(ring)

    def _not_twice(self, known: Known, ring: Ring, what: str) -> None:
        earlier = self.rings_of[known.recipient_id]
        asked = max(self.requeued[known.recipient_id], default=-1.0)
        tokens = Counter(other.token for other in earlier)
        for other in earlier:
            # Of a token that rang twice (see below) the dialer knows one call, perhaps the one that is over.
            if tokens[other.token] > 1:
                continue
            # An operator who asks for another attempt while one is in doubt has decided what it was.
            if other.ends > self.world.now and asked < other.starts and not self.lenient:
                self._broken(f"{what} rang while {other.contact_id} to the same recipient went on")
        same = [other for other in earlier if other.token == ring.token]
        if same:
            window = self.replay_window_seconds
            if not window or ring.sent_at > same[0].sent_at + window + 0.001:
                self._broken(f"{what} rang twice for one token: {same[0].contact_id} was first")
            return
        if earlier and not self.lenient:
            self._justified(known, ring, earlier, what)

    def _justified(self, known: Known, ring: Ring, earlier: list[Ring], what: str) -> None:
        """Whether a rule or an operator had asked for a ring after the last one.

        A token that rang twice (see `_not_twice`) ended in two ways; which of them the dialer hears of, or
        finds, is chance. So either may be the one that the rules go by.
        """
        asked = self.requeued[known.recipient_id]
        if any(at > earlier[-1].starts for at in asked):
            return
        lasts = [other for other in earlier if other.token == earlier[-1].token]
        objections = [self._objection(known, ring, last) for last in lasts]
        if all(objections):
            self._broken(f"{what} rang {objections[-1]}")
        tokens = {other.token for other in earlier}
        most = max(choices["redial"]["max_attempts"] for _, choices in self.rules[known.campaign_id])
        if len(tokens) >= most + len(asked):
            self._broken(f"{what} rang as attempt {len(tokens) + 1}; the most is {most}")

    def _objection(self, known: Known, ring: Ring, last: Ring) -> str | None:
        """What the rules that held since `last` say against a ring after it; None if one asks for it."""
        rules = self.rules[known.campaign_id]
        since = [
            choices
            for n, (_, choices) in enumerate(rules)
            if n + 1 == len(rules) or rules[n + 1][0] >= last.starts
        ]
        outcome = _outcome(last)
        waits = [
            _wait(choices["redial"]["after"][outcome])
            for choices in since
            if outcome in choices["redial"]["after"]
        ]
        if not waits:
            return f"though {last.contact_id} had ended as {outcome}"
        clock_off = max(0.0, -self.backends[ring.backend].manners.clock_off)
        if min(known.sends) < last.ends + min(waits) - 1.0 - clock_off:
            return f"sooner after {last.contact_id} than the rules say"
        return None

    def _within_limits(self, ring: Ring) -> None:
        """Look at all calls to a number, each by what had been dialed before it.

        A limit holds for those that a campaign with one dials, and counts the calls of all.
        """
        backend = self.backends[ring.backend]
        rang = {each.token for each in backend.rings if each.phone == ring.phone} | {ring.token}
        calls = sorted((self.by_token[token] for token in rang), key=lambda each: each.dialed)
        for n, known in enumerate(calls):
            since = known.dialed[1] - DAY_SECONDS + SEND_WITHIN_SECONDS
            before = sum(other.dialed[1] > since for other in calls[:n])
            if known.limit is not None and before >= known.limit:
                self._broken(
                    f"attempt {known.attempt_id} ({known.campaign}) is call {before + 1} to {known.phone}"
                    f" within a day; the limit is {known.limit}"
                )

    def _check_contact(self, known: Known, contact_id: str) -> None:
        owners = [each.by_id[contact_id] for each in self.backends.values() if contact_id in each.by_id]
        if not owners:
            self._broken(f"attempt {known.attempt_id} has contact {contact_id}, which is nobody's")
        if owners[0].token != known.token:
            other = self.by_token[owners[0].token]
            self._broken(
                f"attempt {known.attempt_id} ({known.campaign}, {known.key}) was given {contact_id}, the call"
                f" of attempt {other.attempt_id} ({other.campaign}, {other.key})"
            )

    # --- at the end -------------------------------------------------------------------------------------

    def at_the_end(self) -> None:
        """Compare the ledger with the truth, when nothing is under way any more."""
        self._everybody_is_somewhere()
        self._every_ring_is_known()
        self._tallies_are_counts()
        if self.journal.query("SELECT 1 FROM identity WHERE stopped_at IS NOT NULL"):
            self._broken("the ledger is stopped, and has lost nothing")

    def _everybody_is_somewhere(self) -> None:
        rows = self.journal.query(
            "SELECT p.id, c.name, p.key, p.state, p.due_at, p.attempts, r.state, p.waits_for,"
            " (SELECT a.state FROM attempts a WHERE a.recipient_id = p.id AND a.number = p.attempts)"
            " FROM recipients p JOIN runs r ON r.id = p.run_id JOIN campaigns c ON c.id = r.campaign_id"
        )
        for who, campaign, key, state, due_at, number, run, waits_for, latest in rows:
            name = f"{campaign}, {key} (recipient {who}, attempt {number} {latest})"
            if state == "in_progress":
                self._broken(f"{name} is in progress for ever")
            if state == "waiting" and run in ("finished", "cancelled"):
                self._broken(f"{name} waits in a run that is {run}")
            if state == "waiting" and run == "running":
                # Since the last round of feeding some may have come due.
                waits = self._instant(due_at) > self.world.now - ROUND_SECONDS or self.is_closed(who)
                if not waits:
                    self._broken(f"{name} is due in a running run, and is not called ({waits_for})")
            if state == "done" and not number:
                self._broken(f"{name} is done without an attempt")
            if latest in ("queued", "dialing"):
                self._broken(f"{name} is {latest} for ever")

    def _every_ring_is_known(self) -> None:
        for backend in self.backends.values():
            for ring in backend.rings:
                known = self._known(ring.token)
                rows = self.journal.query(
                    "SELECT a.state, a.contact_id, a.outcome, p.state FROM attempts a"
                    " JOIN recipients p ON p.id = a.recipient_id WHERE a.client_token = ?",
                    ring.token,
                )
                if not rows:
                    self._broken(f"{ring.contact_id} rang, and its attempt {known.attempt_id} is gone")
                state, contact_id, outcome, _ = rows[0]
                if state not in ("placed", "ended", "unknown"):
                    self._broken(f"{ring.contact_id} rang, and its attempt {known.attempt_id} is {state}")
                if contact_id == ring.contact_id and outcome not in (None, "no_outcome", _outcome(ring)):
                    self._broken(f"{ring.contact_id} was {_outcome(ring)}, and is recorded as {outcome}")

    def _tallies_are_counts(self) -> None:
        counted = self.journal.query(
            "SELECT run_id, what, state, sum(n) FROM tallies GROUP BY run_id, what, state HAVING sum(n) <> 0"
        )
        counts = [
            (run_id, what, state, n)
            for what in ("recipients", "attempts")
            for run_id, state, n in self.journal.query(
                f"SELECT run_id, state, count(*) FROM {what} GROUP BY run_id, state"
            )
        ]
        tallied = sorted((run_id, what, state, int(n)) for run_id, what, state, n in counted)
        if tallied != sorted(counts):
            self._broken(f"the tallies are {tallied}, and the counts {sorted(counts)}")

    # --- the truth ------------------------------------------------------------------------------------

    def _known(self, token: str) -> Known:
        known = self.by_token.get(token)
        if known is None:
            self._broken("a request was sent for an attempt that was never committed")
        assert known is not None
        return known

    def _rang(self, token: str) -> bool:
        return any(token in backend.by_token for backend in self.backends.values())

    def _closes(self, known: Known, choices: dict[str, Any], at: float) -> float | None:
        """When the window that is open at `at` closes; `at`, if none is open; None if it is always open."""
        hours = choices["calling_hours"]
        if hours is None:
            return None
        zones = [hours["time_zone"]]
        if zones == ["recipient"]:
            zones = (known.zones or "").split()
        ends = [self._closes_in(zone, hours["weekdays"][0], at) for zone in zones]
        return min(ends, default=at)

    def _closes_in(self, zone: str, window: str, at: float) -> float:
        local = (MONDAY_NOON + timedelta(seconds=at)).astimezone(ZoneInfo(zone))
        begins, _, ends = window.partition("-")
        opened, closes = (_on(local, text) for text in (begins, ends))
        if not opened <= local < closes:
            return at
        return (closes.astimezone(UTC) - MONDAY_NOON).total_seconds()

    def is_closed(self, recipient_id: int) -> bool:
        """Whether the calling hours are closed for this recipient just now."""
        row = self.journal.query(
            "SELECT p.zones, CAST(c.choices AS TEXT) FROM recipients p JOIN runs r ON r.id = p.run_id"
            " JOIN campaigns c ON c.id = r.campaign_id WHERE p.id = ?",
            recipient_id,
        )[0]
        known = Known(0, "", recipient_id, 0, 0, 0, "", "", "", row[0])
        closes = self._closes(known, json.loads(row[1]), self.world.now)
        return closes is not None and closes <= self.world.now

    @staticmethod
    def _instant(microseconds: int) -> float:
        return microseconds / 1e6 - MONDAY_NOON.timestamp()

    def _broken(self, promise: str) -> None:
        violation = Violation(f"at {self.world.now:,.1f} s: {promise}")
        # Also noted here: the program catches what nobody foresaw, and goes on.
        self.world.failure = self.world.failure or violation
        raise violation


def _on(day: datetime, text: str) -> datetime:
    hour, _, minute = text.partition(":")
    return day.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(
        hours=int(hour), minutes=int(minute)
    )


def _outcome(ring: Ring) -> str:
    """How a call ended, in the ledger's terms."""
    if ring.answered is not None:
        return "answered"
    return {
        "TELECOM_BUSY": "busy",
        "TELECOM_TIMEOUT": "no_answer",
        "TELECOM_UNANSWERED": "no_answer",
        "API": "stopped",
    }.get(ring.reason or "", "no_outcome")


def _wait(rule: str | dict[str, Any]) -> float:
    """A redial rule as the ledger has it, `600s` or a table with it → its wait in seconds."""
    text = rule if isinstance(rule, str) else rule["wait"]
    return float(text[:-1]) * {"s": 1, "m": 60, "h": 3600, "d": 86_400}[text[-1]]
