"""Campaign files: keys and values by chance in the place of good ones, and damage to the bytes."""

import json
import random
from pathlib import Path

from campaigns.campaign import read_campaign
from campaigns.mistake import Mistake
from campaigns.stored import Unreadable, read_stored
from tests.fuzz.pieces import NUMBERS, check_words, text

_GOOD = {
    "": ['name = "fuzz"'],
    "connect": [
        'instance_id = "10a4c4eb-f57e-4d4c-b602-bf39176ced07"',
        'contact_flow_id = "b0b8f2dd-ed1b-4c44-af36-ce189a178181"',
        'source_phone_number = "+14155550199"',
        'name = "Call {client_token}"',
        'references = { Link = { value = "https://example.org" } }',
    ],
    "list": [
        'phone = "phone"',
        'default_region = "US"',
        'key = "id"',
        'attributes = { A = "b", C = "{d} e" }',
    ],
    "pacing": ["calls_per_second = 1.0", "weight = 2"],
    "redial": ["max_attempts = 3", 'busy = "10m"', 'no_answer = { wait = "2h", max_redials = 2 }'],
    "calling_hours": ['weekdays = "09:00-20:00"', 'time_zone = "recipient"', 'holidays = "US"'],
    "limits": ["per_number_per_day = 1"],
    "schedule": ['cron = "0 9 * * MON-FRI"', 'time_zone = "Europe/Berlin"', 'list = "{date}.csv"'],
    "reminder": ['at = "when"', 'before = ["24h", "2h"]', 'format = "%d.%m.%Y %H:%M"'],
    "suppression": ['outcomes = ["fax"]'],
}


def one(chance: random.Random, folder: Path) -> None:
    """A file is read, or refused in one line; what was read comes back from the ledger equal."""
    path = folder / "fuzz.toml"
    path.write_bytes(_damaged(chance, _file(chance).encode("utf-8", "surrogatepass")))
    try:
        campaign = read_campaign(path)
    except Mistake as mistake:
        check_words(mistake, str(path))
        return
    stored = json.dumps(campaign.model_dump(mode="json"))
    try:
        assert read_stored(stored) == campaign
    except Unreadable as problem:
        raise AssertionError(f"read from the file, and not from the ledger: {problem}") from None


def _file(chance: random.Random) -> str:
    lines = []
    for table, good in _GOOD.items():
        if table not in ("", "connect") and chance.random() < 0.4:
            continue
        lines += [f"[{table}]"] if table else []
        for line in good:
            if chance.random() < 0.1:
                line = f"{line.partition('=')[0]}= {_value(chance, 0)}"
            if chance.random() < 0.98:
                lines.append(line)
        if chance.random() < 0.1:
            lines.append(f"{_key(chance)} = {_value(chance, 0)}")
    return "\n".join(lines)


def _key(chance: random.Random) -> str:
    if chance.random() < 0.1:
        return ".".join(["a"] * chance.choice([2, 90, 3_000, 50_000]))
    return (
        json.dumps(text(chance))
        if chance.random() < 0.5
        else chance.choice(["time_zone", "at", "after", "x"])
    )


def _value(chance: random.Random, depth: int) -> str:
    kind = chance.randrange(6)
    if kind == 0 and depth < 3:
        return "[" + ", ".join(_value(chance, depth + 1) for _ in range(chance.randrange(4))) + "]"
    if kind == 1 and depth < 3:
        return (
            "{ " + ", ".join(f"k{i} = {_value(chance, depth + 1)}" for i in range(chance.randrange(3))) + " }"
        )
    if kind == 2:
        return chance.choice(NUMBERS)
    if kind == 3:
        return "[" * (deep := chance.choice([1, 50, 900, 100_000])) + "]" * deep
    return json.dumps(text(chance))


def _damaged(chance: random.Random, content: bytes) -> bytes:
    if chance.random() < 0.7 or not content:
        return content
    at = chance.randrange(len(content))
    return content[:at] + chance.choice([b"\xff", b"\0", b"\n", b'"', b"[", b"=", b"#"]) + content[at:]
