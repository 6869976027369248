"""What the inputs are made of: values that have broken something once, or are of that kind."""

import random

TEXTS = [
    "",
    " ",
    "\0",
    "a\0b",
    "\u202e",
    "\ufeff",
    "\ud800",
    "\udcff",
    "\ufffd",
    "é" * 5,
    "x" * 300,
    "x" * 70_000,
    "." * 3_000,
    '"',
    '""',
    "'",
    "''''",
    "{",
    "}",
    "{{",
    "{a}" * 2_000,
    "{date:%Y%Y}",
    "%d.%m.%Y %H:%M %H",
    "%" * 50,
    "=1+1",
    "+" * 40,
    "+4915123456789012345",
    "4155550100",
    "1.4155E+10",
    "9" * 5_000,
    "-1",
    "1e400",
    "inf",
    "nan",
    "2026-02-30",
    "2026-11-23T14:00",
    "9999-12-31T23:59:59-23:59",
    "America/New_York",
    "../etc/passwd",
    "0 9 * * *",
    "* * * * *" * 40,
    "0 0 31 2 *",
    "30s",
    "99999999999999d",
    "09:00-20:00",
    "\r\n",
    "\t",
    "a,b;c|d",
]

NUMBERS = [
    "0",
    "-1",
    "1",
    "2.5",
    "inf",
    "nan",
    "1e400",
    "9" * 30,
    "9" * 5_000,
    "0x" + "f" * 100,
    "1_000",
    "true",
]


def text(chance: random.Random) -> str:
    """One of the texts, or characters by chance."""
    if chance.random() < 0.7:
        return chance.choice(TEXTS)
    return "".join(chr(chance.randrange(0x250)) for _ in range(chance.randrange(60)))


def check_words(problem: Exception, path: str = "") -> None:
    """A message is one line, and no page."""
    words = str(problem).replace(path, "") if path else str(problem)
    assert "\n" not in words, words[:200]
    assert len(words) < 5_000, words[:200]
