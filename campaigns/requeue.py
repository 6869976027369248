"""An operator asks for another attempt: what is asked, and whom it means.

The redial rules go on as they are: an attempt that was asked for counts like any other.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from campaigns.attempt import Outcome, RecipientState, RunState
from campaigns.ledger import Ledger
from campaigns.ledger.requeues import Asked, Found, cancelled, endings, refusals
from campaigns.ledger.requeues import look as look_at
from campaigns.ledger.runs import Run, find
from campaigns.mistake import Mistake
from campaigns.nearest import nearest
from campaigns.toml_values import duration

REFUSED, UNKNOWN, SUPPRESSED = "refused", "unknown", str(RecipientState.SUPPRESSED)
NAMES = (*Outcome, REFUSED, UNKNOWN, SUPPRESSED)
"""How an attempt can have ended, or not begun. `refused:CODE` is more exact than `refused`."""

_REFUSED_EXAMPLE = "refused:DestinationNotAllowedException"
_CODE = re.compile(r"[A-Za-z0-9_.-]+")
_DURATION = re.compile(r"\d+\s*[smhd]")


@dataclass(frozen=True, slots=True)
class Look:
    """Whom an operator's question means, before anything is done."""

    run: Run
    asked: Asked
    found: Found
    there_are: Counter[str]
    """If nobody is meant: how everybody's latest attempt ended instead."""
    unheard_of: tuple[str, ...]
    """The codes asked for with which nobody was ever refused …"""
    codes: Counter[str]
    """… and those that there are, if there are such."""

    @property
    def count(self) -> int:
        """How many can have another attempt."""
        return len(self.found.attempt_ids) + len(self.found.allowed_again)

    @property
    def in_doubt(self) -> int:
        """How many of them may have been rung already."""
        return self.found.endings[UNKNOWN]


def asked_for(names: Sequence[str], since: str | None, now: datetime) -> Asked:
    """What `--outcome` and `--since` say. Raises Mistake for what they cannot say."""
    outcomes: set[Outcome] = set()
    codes: set[str] = set()
    refused = unknown = suppressed = False
    given = [name.strip() for text in names for name in text.split(",") if name.strip()]
    if not given:
        raise Mistake(f"--outcome: say how the calls ended, for example --outcome busy,no_answer; {_known()}")
    for given_name in given:
        name = given_name
        code = name.removeprefix(f"{REFUSED}:").strip()
        if code != name:
            codes.add(_checked(code))
            continue
        name = plain_name(name)
        if name in set(Outcome):
            outcomes.add(Outcome(name))
        elif name == REFUSED:
            refused = True
        elif name == UNKNOWN:
            unknown = True
        elif name == SUPPRESSED:
            suppressed = True
        else:
            raise _no_such(given_name)
    since_then = since_when(since, now) if since is not None else None
    return Asked(frozenset(outcomes), refused, frozenset(codes), unknown, suppressed, since_then)


def plain_name(name: str) -> str:
    """An outcome as people write it → its name: `Busy` → `busy`, `No-Answer` → `no_answer`."""
    return re.sub(r"[\s_-]+", "_", name.strip().casefold())


def since_when(text: str, now: datetime) -> datetime:
    """`2026-03-02`, `2026-03-02T09:00` (local time, unless it says another), or `2h` ago. Raises Mistake."""
    text = text.strip()
    ago = _DURATION.fullmatch(text) is not None
    try:
        instant = now - duration(text) if ago else datetime.fromisoformat(text)
        # A naive one is local time to `astimezone`; the calendar's first and last days have no UTC.
        instant = instant.astimezone(UTC)
    except (ValueError, OverflowError):
        if ago:
            raise Mistake(f"--since {text}: is longer than a year ago; say a date: 2026-03-02") from None
        raise Mistake(
            f"--since {text!r}: is no time; expected one such as 2026-03-02, 2026-03-02T09:00, "
            "or how long ago: 2h, 1d"
        ) from None
    if instant > now:
        raise Mistake(f"--since {text}: is in the future; nothing has ended since then")
    return instant


def look(ledger: Ledger, name: str, asked: Asked, now: datetime) -> Look:
    """Find whom it means in the campaign's latest run. Changes nothing.

    Raises Mistake if there is no such campaign, or if it was cancelled.
    """
    with ledger.read() as db:
        run = find(db, name)
    if run.state == RunState.CANCELLED:
        raise cancelled(name)
    found = look_at(ledger, run.id, asked, now)
    anybody = found.attempt_ids or found.allowed_again
    there_are = Counter() if anybody else endings(ledger, run.id)
    # Somebody has it whose attempt is under way, or had it in an earlier one: then it is no slip of the pen.
    missing = [code for code in sorted(asked.codes) if f"{REFUSED}:{code}" not in found.endings]
    codes = refusals(ledger, run.id) if missing else Counter()
    unheard_of = tuple(code for code in missing if code not in codes)
    return Look(run, asked, found, there_are, unheard_of, codes)


def _checked(code: str) -> str:
    if not _CODE.fullmatch(code):
        raise Mistake(f"--outcome {REFUSED}:{code}: is no code; say {_REFUSED_EXAMPLE}, or {REFUSED} for all")
    return code


def _no_such(name: str) -> Mistake:
    near = nearest(plain_name(name), NAMES)
    hint = f"did you mean {near}? " if near else ""
    return Mistake(f"--outcome {name}: no attempt ends like that; {hint}{_known()}")


def _known() -> str:
    return f"there are: {', '.join(NAMES)}, {_REFUSED_EXAMPLE}"
