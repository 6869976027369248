"""Damage to JSON: values of other types and sizes, and texts that are no JSON at all."""

import json
import random
from typing import Any

ODD_VALUES: list[Any] = [
    None,
    True,
    0,
    -1,
    1.5,
    1e308,
    10**30,
    253402300799,
    "",
    "\x00",
    "c\x00",
    "\ud800",
    "a\nb",
    "\u202e",
    "<html>",
    "../x",
    "9999-12-31T23:59:59Z",
    "0001-01-01T00:00:00+14:00",
    [],
    [[]],
    {},
    {"a": {"b": None}},
    "x" * 257,
    "x" * 100_000,
]

ODD_TEXTS: list[bytes] = [
    b"",
    b"<html><body>Please sign in</body></html>",
    b"null",
    b"[]",
    b'"text"',
    b"\xff\xfe\x00",
    b'{"a":',
    b"[" * 50_000,
    b'{"n":' + b"7" * 5_000 + b"}",
    b"\x1f\x8b\x08\x00",
]


def damaged(rng: random.Random, value: Any) -> Any:
    """The same JSON with one value of it exchanged for an odd one."""
    places = list(_places(value))
    if not places:
        return rng.choice(ODD_VALUES)
    copy = json.loads(json.dumps(value))
    path = rng.choice(places)
    inner = copy
    for step in path[:-1]:
        inner = inner[step]
    inner[path[-1]] = rng.choice(ODD_VALUES)
    return copy


def _places(value: Any, path: tuple[Any, ...] = ()) -> Any:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from _places(inner, (*path, key))
