"""Where in a list's rows everything stands that the campaign asks for."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from campaigns.attribute_template import columns_of, is_template, template_parts
from campaigns.campaign import ListOptions
from campaigns.csv_records import DELIMITERS, folded
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


class MissingColumns(Mistake):
    """The list lacks columns that the campaign names."""


@dataclass(frozen=True, slots=True)
class ColumnPlan:
    """Where in a row everything stands, so that nothing is looked up by name for each row."""

    phone: int
    key: int | None
    time_zone: int | None
    appointment: tuple[int, ...]
    """Where its parts stand, such as a day and a time; none without [reminder]."""
    attributes: tuple[tuple[str, tuple[str, ...], tuple[int, ...]], ...]
    """(name, literals, cells between the literals); see template_parts. No literals: it is that cell."""

    def used(self) -> frozenset[int]:
        places = {i for _, _, indexes in self.attributes for i in indexes}
        others = (self.phone, self.key, self.time_zone, *self.appointment)
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
    single = (options.phone, options.key, options.time_zone)
    names = [name for name in single if name is not None]
    if appointment is not None:
        names += columns_of(appointment)
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
    """Raises MissingColumns for all that are missing, and Mistake for one not to be told from another."""

    as_named, as_known = _places(names), _places(columns)
    missing: dict[str, str] = {}

    def place(name: str, use: str) -> int:
        wanted = folded(name)
        # "name (2)" is what the second column called "name" is known as.
        hits = as_named.get(wanted) or as_known.get(wanted, [])
        if len(hits) > 1:
            places = " and ".join(str(i + 1) for i in hits[:5])
            raise Mistake(f'{path}: columns {places} are both called "{name}" ({use}); rename one of them')
        if not hits:
            missing.setdefault(name, use)
            return 0
        return hits[0]

    attributes = []
    for attribute, spec in options.attributes.items():
        literals, wanted = _parts(path, attribute, spec)
        indexes = tuple(place(name, f"for the attribute {attribute}") for name in wanted)
        attributes.append((attribute, () if literals == ["", ""] else tuple(literals), indexes))
    plan = ColumnPlan(
        phone=place(options.phone, "[list] phone"),
        key=None if options.key is None else place(options.key, "[list] key"),
        time_zone=None if options.time_zone is None else place(options.time_zone, "[list] time_zone"),
        appointment=tuple(place(name, "[reminder] at") for name in columns_of(appointment or "")),
        attributes=tuple(attributes),
    )
    if missing:
        raise MissingColumns(_missing(path, missing, columns))
    return plan


def _places(names: Sequence[str]) -> dict[str, list[int]]:
    """Where each name stands, as it is compared."""
    places: dict[str, list[int]] = {}
    for i, name in enumerate(names):
        places.setdefault(folded(name), []).append(i)
    return places


def _missing(path: Path, missing: dict[str, str], columns: tuple[str, ...]) -> str:
    shown = ", ".join(_quoted(column) for column in columns[:20]) + (", …" if len(columns) > 20 else "")
    by_folded = {folded(column): column for column in columns}
    wanted = " and ".join(f'"{name}" ({use})' for name, use in missing.items())
    near = {name: nearest(folded(name), by_folded, cutoff=0.5) for name in missing}
    meant = [_quoted(by_folded[column]) for column in near.values() if column]
    if len(columns) == 1 and all(folded(name) in _parts_of(columns[0]) for name in missing):
        hint = "each of its lines stands in quotation marks as a whole; remove those at the ends of the lines"
    elif len(meant) == len(missing):
        hint = f"did you mean {' and '.join(meant)}?"
    elif any(sum(c.isdecimal() for c in column) >= 7 for column in columns):
        hint = "its first row looks like a person; put a row with the columns' names above it"
    else:
        hint = "name one of these in the campaign file, or rename the column"
        if meant:
            found = (
                f"{_quoted(by_folded[column])} for {_quoted(name)}" for name, column in near.items() if column
            )
            hint = f"did you mean {' and '.join(found)}? {hint}"
    return f"{path}: has no column {wanted}; its columns are {shown}; {hint}"


def _parts_of(line: str) -> set[str]:
    """The names in a header that was read as one."""
    return {folded(part) for mark in DELIMITERS for part in line.split(mark)}


def _quoted(column: str) -> str:
    """On one line, and short even if the header is not one."""
    plain = "".join(c if c.isprintable() else "\ufffd" for c in " ".join(column.split()))
    return f'"{plain[:40]}…"' if len(plain) > 40 else f'"{plain}"'
