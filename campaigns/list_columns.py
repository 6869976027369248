"""Where in a list's rows everything stands that the campaign asks for."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from campaigns.attribute_template import is_template, template_parts
from campaigns.campaign import ListOptions
from campaigns.csv_records import folded
from campaigns.mistake import Mistake
from campaigns.nearest import nearest

MAX_COLUMNS = 1_000
"""Of a list. Exports of whole databases have a few hundred; what has more is no list of people."""


def refuse_too_many(path: Path, names: Sequence[str]) -> None:
    """Raises Mistake for a header with more than MAX_COLUMNS columns."""
    if len(names) > MAX_COLUMNS:
        raise Mistake(
            f"{path}: has {len(names):,} columns, and a list has {MAX_COLUMNS:,} at most; "
            "export only those that the campaign needs"
        )


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
    unique: dict[str, None] = {}
    # Where the counting for a name goes on: from 1 each time, thousands of equal names would take minutes.
    counted: dict[str, int] = {}
    for position, name in enumerate(names, start=1):
        plain = name if folded(name) else f"column {position}"
        candidate, count = plain, counted.get(plain, 1)
        if count > 1:
            candidate = f"{plain} ({count})"
        while candidate in unique or (candidate != name and candidate in taken):
            count += 1
            candidate = f"{plain} ({count})"
        counted[plain] = count
        unique[candidate] = None
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

    as_named, as_known = _places(names), _places(columns)

    def place(name: str, use: str) -> int:
        wanted = folded(name)
        # "name (2)" is what the second column called "name" is known as.
        hits = as_named.get(wanted) or as_known.get(wanted, [])
        if len(hits) > 1:
            places = " and ".join(str(i + 1) for i in hits[:5])
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


def _places(names: Sequence[str]) -> dict[str, list[int]]:
    """Where each name stands, as it is compared."""
    places: dict[str, list[int]] = {}
    for i, name in enumerate(names):
        places.setdefault(folded(name), []).append(i)
    return places


def _missing(path: Path, name: str, use: str, columns: tuple[str, ...]) -> str:
    shown = ", ".join(_quoted(column) for column in columns[:20]) + (", …" if len(columns) > 20 else "")
    by_folded = {folded(column): column for column in columns}
    near = nearest(folded(name), by_folded, cutoff=0.5)
    if near:
        hint = f"did you mean {_quoted(by_folded[near])}?"
    elif any(sum(c.isdecimal() for c in column) >= 7 for column in columns):
        hint = "its first row looks like a person; put a row with the columns' names above it"
    else:
        hint = "name one of these in the campaign file, or rename the column"
    return f'{path}: has no column "{name}" ({use}); its columns are {shown}; {hint}'


def _quoted(column: str) -> str:
    """On one line, and short even if the header is not one."""
    plain = "".join(c if c.isprintable() else "\ufffd" for c in " ".join(column.split()))
    return f'"{plain[:40]}…"' if len(plain) > 40 else f'"{plain}"'
