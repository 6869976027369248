"""Lists of people and files of numbers: cells, delimiters, quotes and encodings by chance."""

import random
from itertools import islice
from pathlib import Path

from campaigns.call_list import RejectedRow, open_call_list
from campaigns.campaign import ListOptions
from campaigns.mistake import Mistake
from campaigns.number_list import Options, open_number_list
from campaigns.phone_number import e164
from tests.fuzz.pieces import check_words, text

_OPTIONS = ListOptions(
    default_region="US", key="id", time_zone="tz", attributes={"Name": "name", "All": "{name} {id}" * 20}
)


def one(chance: random.Random, folder: Path) -> None:
    """Each row is a recipient that both databases take, or is rejected with a reason in one line."""
    path = folder / "fuzz.csv"
    path.write_bytes(_content(chance, ["phone", "id", "tz", "name"]))
    try:
        with open_call_list(path, chance.choice([_OPTIONS, ListOptions(default_region="US")])) as rows:
            assert len(rows.columns) <= 1_000
            _storable("".join(rows.columns))
            for row in islice(rows, 5_000):
                assert len(row.row) <= 1_000
                if isinstance(row, RejectedRow):
                    assert row.reason
                    "".join([row.column, row.reason, *row.row, *row.row.values()]).encode()
                    continue
                assert len(row.phone) <= 16
                _storable("".join([row.key, row.phone, row.time_zone or "", *row.row, *row.row.values()]))
    except Mistake as mistake:
        check_words(mistake, str(path))


def one_number_list(chance: random.Random, folder: Path) -> None:
    """The same of a do-not-call file, and of single cells."""
    path = folder / "fuzz-numbers.csv"
    path.write_bytes(_content(chance, ["phone", "reason", "date"]))
    try:
        for row in islice(open_number_list(path, Options(default_region="US")), 5_000):
            if not isinstance(row, RejectedRow):
                assert len(row.phone) <= 16
                _storable(row.phone + row.reason + row.note)
    except Mistake as mistake:
        check_words(mistake, str(path))
    try:
        assert len(e164(text(chance), chance.choice([None, "US", "DE", "IT"]))) <= 16
    except ValueError as problem:
        check_words(problem)


def _storable(what: str) -> None:
    assert "\0" not in what
    what.encode()  # no half characters


def _content(chance: random.Random, header: list[str]) -> bytes:
    delimiter = chance.choice(",;\t|")
    encoding = chance.choice(["utf-8", "utf-8-sig", "utf-16", "cp1252"])
    names = [name if chance.random() < 0.95 else text(chance) for name in header]
    names += chance.choice([[], ["a"] * chance.choice([1, 900, 20_000]), [""], names])
    lines = [delimiter.join(names)]
    if chance.random() < 0.1:
        lines.insert(0, "sep=" + chance.choice([delimiter, " " * 50_000 + "x", '"', ",,"]))
    for _ in range(chance.randrange(30)):
        cells = ["4155550100", "k", "America/New_York", "Ana", *[""] * (len(names) - 4)]
        cells[chance.randrange(len(cells))] = text(chance)
        lines.append(delimiter.join(cells[: max(1, len(names) + chance.choice([0, 0, 0, -1, 1]))]))
    if chance.random() < 0.1:
        lines.append(chance.choice([delimiter * 700_000, '"' + "x" * 140_000, '"\n' + '","\n' * 30_000]))
    content = chance.choice(["\n", "\r\n", "\r"]).join(lines).encode(encoding, "replace")
    for _ in range(chance.choice([0, 0, 1, 5])):
        at = chance.randrange(len(content))
        content = content[:at] + chance.choice([b"\xff", b"\x81", b"\0", b'"', b"\r", b"\xc3"]) + content[at:]
    return content
