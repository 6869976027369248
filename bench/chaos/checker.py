"""The stand-in's journal against the ledger: what must never be, each case in one line, and figures.

The journal says whose telephone rang and when, whatever the dialer believes. Nothing here uses the dialer's
own code, or words beyond the states that stand in its tables.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

Row = Mapping[str, Any]

OUTCOMES = {"voicemail": "answered", "voicemail_no_beep": "answered", "fax": "answered"}
"""What Connect says of a call that was not asked to detect machines; all others are called the same."""

OVER = ("ended", "refused", "unknown")
"""What an attempt is in before there may be another one for the same recipient."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What the campaign and the account allow."""

    redialed: frozenset[str]
    """Outcomes after which another attempt is made."""
    max_attempts: int
    calls_per_second: float
    burst: int
    max_active_calls: int = 10**9
    """Calls in progress at once."""


@dataclass
class Findings:
    """What a drill has shown."""

    figures: dict[str, float] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)


def check(
    journal: Sequence[Row],
    people: Sequence[str],
    recipients: Sequence[Row],
    attempts: Sequence[Row],
    rules: Rules,
) -> Findings:
    """Compare them.

    journal: the lines of the stand-in; people: the numbers whose loading was reported as done;
    recipients (id, phone, state, attempts) and attempts (recipient_id, number, client_token, state,
    contact_id, outcome): the ledger's rows, the attempts in order.
    """
    rings = [line for line in journal if line["rang"]]
    of = defaultdict(list)
    for attempt in attempts:
        of[attempt["recipient_id"]].append(attempt)
    violations = [
        *second_rings(rings),
        *rings_at_the_same_time(rings),
        *rings_that_the_ledger_denies(rings, recipients, attempts),
        *contacts_of_nobody(rings, attempts),
        *lost_people(people, recipients, rings),
        *wrong_attempts(recipients, of, rules),
        *wrong_outcomes(rings, attempts),
        *above_quota(journal, rules),
        *too_many_at_once(rings, rules.max_active_calls),
    ]
    states = Counter(row["state"] for row in recipients)
    figures = figures_of(journal, people, rules.calls_per_second, rules.burst) | {
        "attempts": len(attempts),
        "redials": sum(attempt["number"] > 1 for attempt in attempts),
        "unknown": sum(attempt["state"] == "unknown" for attempt in attempts),
        "held": states["held"],
        "unsettled": states["waiting"] + states["in_progress"],
        "lost": sum(1 for _ in lost_people(people, recipients, rings)),
    }
    return Findings(figures, violations)


def second_rings(rings: Sequence[Row]) -> Iterator[str]:
    """A client token is one attempt, which rings once."""
    by_token = Counter(line["client_token"] for line in rings)
    for token, count in by_token.items():
        if count > 1:
            phone = next(line["destination"] for line in rings if line["client_token"] == token)
            yield f"{phone} rang {count} times for token {token}"


def rings_at_the_same_time(rings: Sequence[Row]) -> Iterator[str]:
    """Nobody's telephone rings while they are called already."""
    by_phone = defaultdict(list)
    for line in rings:
        by_phone[line["destination"]].append(line["call"])
    for phone, calls in by_phone.items():
        for first, second in pairwise(sorted(calls, key=lambda call: call["placed_at"])):
            if second["placed_at"] < first["ended_at"]:
                yield f"{phone} was rung while a call to it went on"


def too_many_at_once(rings: Sequence[Row], limit: int) -> Iterator[str]:
    """There are never more calls in progress than the instance has room for."""
    begins = [(line["call"]["placed_at"], 1) for line in rings]
    ends = [(line["call"]["ended_at"], -1) for line in rings]
    active = most = 0
    # A call that ends makes room in that very moment.
    for _, step in sorted(begins + ends):
        active += step
        most = max(most, active)
    if most > limit:
        yield f"{most} calls were in progress at once; {limit} is the limit"


def rings_that_the_ledger_denies(
    rings: Sequence[Row], recipients: Sequence[Row], attempts: Sequence[Row]
) -> Iterator[str]:
    """Who rang has that contact in the ledger, or a last attempt that says that nobody knows."""
    phones = {row["id"]: row["phone"] for row in recipients}
    last = {attempt["recipient_id"]: attempt for attempt in attempts}
    by_token = {attempt["client_token"]: attempt for attempt in attempts}
    for line in rings:
        attempt, phone = by_token.get(line["client_token"]), line["destination"]
        if attempt is None:
            yield f"{phone} rang, and the ledger has no attempt with token {line['client_token']}"
        elif phones.get(attempt["recipient_id"]) != phone:
            yield f"{phone} rang for attempt {attempt['id']}, which is another number's"
        elif attempt["state"] == "unknown":
            if last[attempt["recipient_id"]] is not attempt:
                yield f"{phone} rang for attempt {attempt['id']}, which passed for silent"
        elif attempt["contact_id"] is None:
            yield f"{phone} rang for attempt {attempt['id']}, which is {attempt['state']} without a contact"
        elif attempt["contact_id"] != line["contact_id"]:
            yield f"{phone} rang as {line['contact_id']}, which is not the contact of attempt {attempt['id']}"


def contacts_of_nobody(rings: Sequence[Row], attempts: Sequence[Row]) -> Iterator[str]:
    """Every contact in the ledger is a call of the journal, under its attempt's own token."""
    known = {line["contact_id"]: line["client_token"] for line in rings}
    owners = Counter(attempt["contact_id"] for attempt in attempts if attempt["contact_id"])
    for attempt in attempts:
        contact = attempt["contact_id"]
        if contact and known.get(contact) != attempt["client_token"]:
            whose = "another attempt's" if contact in known else "no call of the journal"
            yield f"attempt {attempt['id']} has contact {contact}, which is {whose}"
    for contact, count in owners.items():
        if count > 1:
            yield f"contact {contact} stands in {count} attempts"


def lost_people(people: Sequence[str], recipients: Sequence[Row], rings: Sequence[Row]) -> Iterator[str]:
    """Everybody whose loading was reported as done is in the ledger, and was called or is held."""
    states = defaultdict(list)
    for row in recipients:
        states[row["phone"]].append(row["state"])
    rung = {line["destination"] for line in rings}
    for phone in people:
        match states.pop(phone, []):
            case []:
                yield f"{phone} was loaded and is not in the ledger"
            case ["done"]:
                if phone not in rung:
                    yield f"{phone} is done and never rang"
            case ["held"]:
                pass
            case ["waiting" | "in_progress" as state]:
                yield f"{phone} is still {state}"
            case found:
                yield f"{phone} is {' and '.join(found)} in the ledger"
    for phone in states:
        yield f"{phone} is in the ledger and on no list"


def wrong_attempts(recipients: Sequence[Row], of: Mapping[int, Sequence[Row]], rules: Rules) -> Iterator[str]:
    """Attempts are numbered from 1, follow each other, and are as many as the redial rules say."""
    for row in recipients:
        mine, phone = of.get(row["id"], ()), row["phone"]
        if [attempt["number"] for attempt in mine] != list(range(1, row["attempts"] + 1)):
            yield f"{phone} has {row['attempts']} attempts by its own count, and others in the ledger"
            continue
        # One that is unknown to the end and has another after it was never found: nobody was called.
        called = [attempt for attempt in mine if attempt["state"] != "unknown"]
        if len(called) > rules.max_attempts:
            yield f"{phone} was called {len(called)} times, and {rules.max_attempts} are allowed"
        for attempt in mine[:-1]:
            if attempt["state"] not in OVER:
                yield f"{phone} has attempt {attempt['number']} {attempt['state']}, and another after it"
            elif attempt["state"] == "ended" and attempt["outcome"] not in rules.redialed:
                yield f"{phone} was called again after attempt {attempt['number']} was {attempt['outcome']}"
        if not mine or row["state"] not in ("done", "held"):
            continue
        last = mine[-1]
        if row["state"] == "done" and last["state"] not in ("ended", "refused"):
            yield f"{phone} is done, and its last attempt is {last['state']}"
        if row["state"] == "held" and last["state"] != "unknown":
            yield f"{phone} is held, and its last attempt is {last['state']}"
        if last["outcome"] in rules.redialed and len(called) < rules.max_attempts:
            yield f"{phone} was {last['outcome']} and is {row['state']} after {len(called)} calls only"


def wrong_outcomes(rings: Sequence[Row], attempts: Sequence[Row]) -> Iterator[str]:
    """What the ledger says of a call is how it went."""
    endings = {line["contact_id"]: line["call"]["ending"] for line in rings}
    for attempt in attempts:
        ending = endings.get(attempt["contact_id"])
        if attempt["state"] == "ended" and ending and OUTCOMES.get(ending, ending) != attempt["outcome"]:
            yield f"attempt {attempt['id']} is {attempt['outcome']}, and the call was {ending}"


def above_quota(journal: Sequence[Row], rules: Rules) -> Iterator[str]:
    """No request comes above the account's rate."""
    over = too_early(journal, rules.calls_per_second, rules.burst)
    if over:
        yield f"{len(over)} requests came above the quota, the first at {over[0]:.3f}"


def too_early(journal: Sequence[Row], calls_per_second: float, burst: int) -> list[float]:
    """When requests found the bucket empty: one of our own, filled by the journal's clock."""
    tokens, at = float(burst), None
    over: list[float] = []
    for line in journal:
        now = line["epoch"]
        if at is not None:
            tokens = min(float(burst), tokens + max(0.0, now - at) * calls_per_second)
        at = now
        if tokens < 1.0:
            over.append(now)
        else:
            tokens -= 1.0
    return over


def figures_of(
    journal: Sequence[Row], people: Sequence[str], calls_per_second: float, burst: int
) -> dict[str, float]:
    """What the journal alone says."""
    rings = [line for line in journal if line["rang"]]
    rung = {line["destination"] for line in rings}
    return {
        "people": len(people),
        "requests": len(journal),
        "rings": len(rings),
        "second_rings": len(rings) - len({line["client_token"] for line in rings}),
        "never_rang": sum(phone not in rung for phone in people),
        "answers_lost": sum(line["fault"] is not None for line in journal),
        "above_quota": len(too_early(journal, calls_per_second, burst)),
        "busiest_second": busiest_second([line["epoch"] for line in journal]),
    }


def busiest_second(moments: Sequence[float]) -> int:
    """The most requests within any one second."""
    most, first = 0, 0
    ordered = sorted(moments)
    for last, moment in enumerate(ordered):
        while ordered[first] <= moment - 1.0:
            first += 1
        most = max(most, last - first + 1)
    return most
