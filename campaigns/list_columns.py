"""Where in a list's rows everything stands that the campaign asks for."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from campaigns.attribute_template import is_template, template_parts
from campaigns.campaign import ListOptions
from campaigns.csv_records import folded
from campaigns.mistake import Mistake


@dataclass(frozen=True, slots=True)
class ColumnPlan:
    """Where in a row everything stands, so that nothing is looked up by name for each row."""

    phone: int
    key: int | None
    time_zone: int | None
    appointment: int | None
    attributes: tuple[tuple[str, tuple[str, ...], tuple[int, ...]], ...]
    """(name, literals, cells between the literals); see template_parts. No literals: it is that cell."""

    def used(self) -> frozenset[int]:
        places = {i for _, _, indexes in self.attributes for i in indexes}
        others = (self.phone, self.key, self.time_zone, self.appointment)
        return frozenset(places | {i for i in others if i is not None})


def unique_names(names: Sequence[str]) -> tuple[str, ...]:
    """Names for all columns: the second "name" is "name (2)", a nameless third column is "column 3"."""
    taken = set(names)
    unique: list[str] = []
    for position, name in enumerate(names, start=1):
        plain = name if folded(name) else f"column {position}"
        candidate, count = plain, 1
        while candidate in unique or (candidate != name and candidate in taken):
            count += 1
            candidate = f"{plain} ({count})"
        unique.append(candidate)
    return tuple(unique)


def wanted_columns(path: Path, options: ListOptions, appointment: str | None = None) -> list[str]:
    """The names of all columns that the campaign uses."""
    single = (options.phone, options.key, options.time_zone, appointment)
    names = [name for name in single if name is not None]
    for attribute, spec in options.attributes.items():
        names += _parts(path, attribute, spec)[1]
    return names


def _parts(path: Path, attribute: str, spec: str) -> tuple[list[str], list[str]]:
    if not is_template(spec):
        return ["", ""], [spec]
    try:
        return template_parts(spec)
    except ValueError as error:
        raise Mistake(f"{path}: [list] attributes: the template of {attribute} {error}") from None


def planned_columns(
    path: Path,
    options: ListOptions,
    names: Sequence[str],
    columns: tuple[str, ...],
    appointment: str | None = None,
) -> ColumnPlan:
    """Raises Mistake naming the column that is missing or not to be told from another."""

    def place(name: str, use: str) -> int:
        wanted = folded(name)
        # "name (2)" is what the second column called "name" is known as.
        hits = [i for i, n in enumerate(names) if folded(n) == wanted]
        hits = hits or [i for i, c in enumerate(columns) if folded(c) == wanted]
        if len(hits) > 1:
            places = " and ".join(str(i + 1) for i in hits)
            raise Mistake(f'{path}: columns {places} are both called "{name}" ({use}); rename one of them')
        if not hits:
            raise Mistake(_missing(path, name, use, columns))
        return hits[0]

    attributes = []
    for attribute, spec in options.attributes.items():
        literals, wanted = _parts(path, attribute, spec)
        indexes = tuple(place(name, f"for the attribute {attribute}") for name in wanted)
        attributes.append((attribute, () if literals == ["", ""] else tuple(literals), indexes))
    return ColumnPlan(
        phone=place(options.phone, "[list] phone"),
        key=None if options.key is None else place(options.key, "[list] key"),
        time_zone=None if options.time_zone is None else place(options.time_zone, "[list] time_zone"),
        appointment=None if appointment is None else place(appointment, "[reminder] at"),
        attributes=tuple(attributes),
    )


def _missing(path: Path, name: str, use: str, columns: tuple[str, ...]) -> str:
    shown = ", ".join(_quoted(column) for column in columns[:20]) + (", …" if len(columns) > 20 else "")
    by_folded = {folded(column): column for column in columns}
    near = difflib.get_close_matches(folded(name), by_folded, n=1, cutoff=0.5)
    if near:
        hint = f"did you mean {_quoted(by_folded[near[0]])}?"
    elif any(sum(c.isdecimal() for c in column) >= 7 for column in columns):
        hint = "its first row looks like a person; put a row with the columns' names above it"
    else:
        hint = "name one of these in the campaign file, or rename the column"
    return f'{path}: has no column "{name}" ({use}); its columns are {shown}; {hint}'


def _quoted(column: str) -> str:
    """On one line, and short even if the header is not one."""
    plain = "".join(c if c.isprintable() else "\ufffd" for c in " ".join(column.split()))
    return f'"{plain[:40]}…"' if len(plain) > 40 else f'"{plain}"'
