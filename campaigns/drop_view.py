"""What became of recipients who were to be taken out, or put back: in words, and for machines."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from campaigns.ledger.drop_keys import Dropped, Fate

_TAKEN_OUT = {
    Fate.DROPPED: "taken out; no call begins",
    Fate.UNDER_WAY: "taken out; the call under way goes on, and no other follows it",
    Fate.CALLED: "was called already; no other call follows",
    Fate.ALREADY: "was taken out before",
    Fate.OVER: "is not called anyway",
}
_PUT_BACK = {
    Fate.WAITING: "put back; waits for a call",
    Fate.PUT_BACK: "put back; no call is due",
    Fate.ALREADY: "was not taken out",
}
_SHOWN = 20


def in_words(name: str, done: Sequence[Dropped], *, undo: bool) -> list[str]:
    """A line for the campaign, and one for each recipient."""
    counted = Counter(each.fate for each in done)
    told = (Fate.WAITING, Fate.PUT_BACK) if undo else (Fate.DROPPED, Fate.UNDER_WAY, Fate.CALLED)
    count = sum(counted[fate] for fate in told)
    many = f"{count:,} recipient{'' if count == 1 else 's'}"
    lines = [f"{name}: {many} {'put back' if undo else 'taken out'}"]
    fates = _PUT_BACK if undo else _TAKEN_OUT
    lines += [f"  {each.key}: {fates[each.fate]}{_why(each, undo=undo)}" for each in done[:_SHOWN]]
    if len(done) > _SHOWN:
        lines.append(f"  … and {len(done) - _SHOWN:,} more (--json has all)")
    if count and not undo:
        lines.append(f"to put one back: dialer drop {name} KEY --undo")
    return lines


def as_json(name: str, done: Sequence[Dropped], *, undo: bool) -> dict[str, Any]:
    """The same for machines."""
    counted = Counter(each.fate for each in done)
    fates = _PUT_BACK if undo else _TAKEN_OUT
    return {
        "name": name,
        "undo": undo,
        **{str(fate): counted[fate] for fate in fates},
        "recipients": [
            {
                "key": each.key,
                "phone": each.phone,
                "run": each.run,
                "fate": str(each.fate),
                "state": each.state,
            }
            for each in done
        ],
    }


def _why(each: Dropped, *, undo: bool) -> str:
    shows = each.fate == Fate.OVER or (undo and each.fate == Fate.PUT_BACK)
    return f" ({each.state.replace('_', ' ')})" if shows else ""
