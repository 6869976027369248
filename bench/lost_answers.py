"""Does anybody's telephone ring twice when Connect's answers get lost after the call was placed?

    python bench/lost_answers.py
    python bench/lost_answers.py --call-seconds 1-10 --replay-window 0

A fifth of all answers is lost, evenly by a 500, by a closed connection, and by coming after the read timeout.
Runs `dialer up --sandbox --speed 1`: real processes in real time with the dialer's default settings (2 calls
a second); only the replay window may be named. The sandbox forgets a token once its call is over, so sending
one too late rings again; and it lists a call in SearchContacts only some time after it has ended. Waits until
nobody is waiting, in progress or searched for, and compares the sandbox's journal with the ledger. Prints one
row of a Markdown table; progress goes to stderr. Fails if a human was rung twice or somebody is not accounted
for. Several can run at the same time.

A human is a number that is answered, by whatever, or rings unanswered. A busy line may be asked twice: nobody
hears it.
"""

import argparse
import sys
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

from _office import Office, markdown, office, phones
from sqlalchemy import select

from campaigns.attempt import AttemptState, RecipientState
from campaigns.ledger import Ledger
from campaigns.ledger.tables import attempts, recipients
from worker.sandbox.numbers import BUSY, script_for

LOST = {"error_after": "500", "drop_after": "closed", "slow_after": "timeout"}
DIGITS = range(80)
"""Last two digits: answered, unanswered, busy, voicemail; none plays a fault of its own."""


@dataclass
class Findings:
    """What the journal and the ledger say when they are compared."""

    requests: int = 0
    placed: int = 0
    replays: int = 0
    lost: Counter[str] = field(default_factory=Counter)
    humans_twice: int = 0
    busy_twice: int = 0
    found_by_search: int = 0
    unknown: int = 0
    not_in_ledger: int = 0
    unaccounted: list[str] = field(default_factory=list)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--recipients", type=int, default=300)
    parser.add_argument("--call-seconds", default="6-30", help="of calls that ring, least and most")
    parser.add_argument("--replay-window", type=float, help="seconds; by default the dialer's own")
    parser.add_argument("--share", type=float, default=0.2, help="of the answers that are lost")
    parser.add_argument(
        "--search-delay", type=float, default=30.0, help="until a call that is over is listed"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--patience", type=float, default=900.0, help="seconds in which nothing changes")
    options = parser.parse_args()
    settings = {
        "DIALER_MAX_ACTIVE_CALLS": 1_000,  # no obstacle
        "DIALER_SANDBOX_CALL_SECONDS": options.call_seconds,
        "DIALER_SANDBOX_SEARCH_DELAY": options.search_delay,
        "DIALER_SANDBOX_SEARCH_ONLY_ENDED": 1,
    }
    if options.replay_window is not None:
        settings["DIALER_REPLAY_WINDOW_SECONDS"] = options.replay_window
    began = time.monotonic()
    with office(phones(options.recipients, DIGITS), settings) as here:
        with here.up("--speed", "1"):
            each = options.share / len(LOST)
            # Slower than the read timeout, which is 10 s by default.
            here.ask("faults", {**dict.fromkeys(LOST, each), "slow_seconds": 15, "seed": options.seed})
            here.dialer("start", "bench", "--sandbox")
            _wait(here, options.patience)
        with here.ledger() as ledger:
            findings = _compare(here.requests(), ledger)
    _print_row(findings, options, (time.monotonic() - began) / 60)
    for problem in findings.unaccounted:
        print(f"not accounted for: {problem}", file=sys.stderr)
    raise SystemExit(1 if findings.humans_twice or findings.not_in_ledger or findings.unaccounted else 0)


def _wait(here: Office, patience: float) -> None:
    """Until nothing is left to do, or nothing has changed for `patience` seconds."""
    standing, since = None, time.monotonic()
    with here.ledger() as ledger:
        while time.monotonic() - since < patience:
            with ledger.read() as db:
                people = Counter(db.execute(select(recipients.c.state)).scalars())
                states = Counter(db.execute(select(attempts.c.state)).scalars())
                query = select(attempts.c.id).where(attempts.c.state == AttemptState.UNKNOWN)
                searched_for = len(db.execute(query.where(attempts.c.settle_at.is_not(None))).all())
            if (people, states) != standing:
                standing, since = (people, states), time.monotonic()
                shown = {**people, "attempts": dict(states), "searched for": searched_for}
                print("\r" + " ".join(f"{k}: {v}" for k, v in shown.items()), file=sys.stderr)
            busy = people[RecipientState.WAITING] or people[RecipientState.IN_PROGRESS] or searched_for
            if not busy:
                return
            time.sleep(2)


def _compare(requests: list[dict[str, Any]], ledger: Ledger) -> Findings:
    found = Findings(requests=len(requests))
    calls: dict[str, list[str]] = defaultdict(list)
    in_doubt: set[str] = set()
    for request in requests:
        found.replays += request["client_token"] in in_doubt
        if request["fault"] in LOST:
            found.lost[LOST[request["fault"]]] += 1
            in_doubt.add(request["client_token"])
        if request["rang"]:
            calls[request["destination"]].append(request["contact_id"])
    found.placed = sum(map(len, calls.values()))
    for number, contacts in calls.items():
        if script_for(number).ending is BUSY:
            found.busy_twice += len(contacts) - 1
        else:
            found.humans_twice += len(contacts) - 1
    with ledger.read() as db:
        people = db.execute(select(recipients.c.id, recipients.c.phone, recipients.c.state)).all()
        made = db.execute(select(attempts).order_by(attempts.c.recipient_id, attempts.c.number)).all()
    of: dict[int, list[Any]] = defaultdict(list)
    for attempt in made:
        of[attempt.recipient_id].append(attempt)
        found.found_by_search += attempt.unknown_at is not None and attempt.state == AttemptState.ENDED
        found.unknown += attempt.state == AttemptState.UNKNOWN
    for person in people:
        theirs, rings = of[person.id], calls[person.phone]
        known = {attempt.contact_id for attempt in theirs}
        shown = any(attempt.state == AttemptState.UNKNOWN for attempt in theirs)
        found.not_in_ledger += bool(rings) and not shown and known.isdisjoint(rings)
        last = theirs[-1] if theirs else None
        if last is None or not (
            (person.state == RecipientState.HELD and last.state == AttemptState.UNKNOWN)
            or (person.state == RecipientState.DONE and last.contact_id in rings)
        ):
            states = ", ".join(attempt.state for attempt in theirs) or "no attempt"
            found.unaccounted.append(f"{person.phone}: {person.state}, {states}, {len(rings)} rings")
    return found


def _print_row(found: Findings, options: argparse.Namespace, minutes: float) -> None:
    window = "default" if options.replay_window is None else f"{options.replay_window:g} s"
    cells = {
        "calls last": f"{options.call_seconds} s",
        "replay window": window,
        "recipients": options.recipients,
        "requests": found.requests,
        "calls placed": found.placed,
        **{f"lost: {kind}": found.lost[kind] for kind in LOST.values()},
        "sent again": found.replays,
        "humans rung twice": found.humans_twice,
        "busy lines rung twice": found.busy_twice,
        "unknown, found by search": found.found_by_search,
        "unknown at the end": found.unknown,
        "rang, not in the ledger": found.not_in_ledger,
        "not accounted for": len(found.unaccounted),
        "minutes": f"{minutes:.1f}",
    }
    print(markdown(*cells), markdown(*["--:"] * len(cells)), markdown(*cells.values()), sep="\n")


if __name__ == "__main__":
    main()
