"""Which digits can a number begin with that a pattern of phonenumbers matches?

Most digits of a list are decided by the first of them, which a set says faster than a pattern.
"""

import re

_ALL = frozenset("0123456789")
_OPTIONAL = ("?", "*", "{0")
_SET = re.compile(r"\[((?:\d-\d|\d)+)\]")


def first_digits(pattern: str) -> frozenset[str]:
    """All digits that a match can begin with, and perhaps others: all ten where that is not simple to say."""
    found = frozenset[str]()
    for alternative in _alternatives(pattern):
        found |= _of_one(alternative)
    return found


def _of_one(alternative: str) -> frozenset[str]:
    first = alternative[:1]
    if first == "(" and not alternative.startswith("(?"):
        inner, rest = _group(alternative[1:])
    elif alternative.startswith("(?:"):
        inner, rest = _group(alternative[3:])
    elif match := _SET.match(alternative):
        inner, rest = "", alternative[match.end() :]
    elif first.isdecimal():
        inner, rest = "", alternative[1:]
    else:
        return _ALL
    if rest.startswith(_OPTIONAL):
        return _ALL
    if inner:
        return first_digits(inner)
    if first != "[":
        return frozenset(first)
    return frozenset(digit for digit in _ALL if re.match(alternative[: -len(rest) or None], digit))


def _group(text: str) -> tuple[str, str]:
    """(what stands inside of a group that is open already, what stands behind it)."""
    depth = 1
    for place, mark in enumerate(text):
        depth += {"(": 1, ")": -1}.get(mark, 0)
        if depth == 0:
            return text[:place], text[place + 1 :]
    raise ValueError(f"a group is not closed: {text!r}")


def _alternatives(pattern: str) -> list[str]:
    found, depth = [""], 0
    for mark in pattern:
        depth += {"(": 1, ")": -1}.get(mark, 0)
        if mark == "|" and depth == 0:
            found.append("")
        else:
            found[-1] += mark
    return found
