"""`Dear {first_name}` → its literal parts and the columns between them."""

import re
from collections.abc import Mapping
from functools import lru_cache

_PIECES = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|([{}])|[^{}]+")


def is_template(spec: str) -> bool:
    """Whether an attribute's text is a template; otherwise it is the name of a column."""
    return "{" in spec or "}" in spec


def template_parts(template: str) -> tuple[list[str], list[str]]:
    """(literals, columns): a value is literals[0] + columns[0]'s cell + literals[1] + … + literals[-1].

    There is always one literal more than there are columns; it may be empty. `{{` and `}}` are literal
    braces. Column names come without outer space. Raises ValueError for a brace without its partner and
    for `{}`.
    """
    literals, columns = [""], []
    for piece in _PIECES.finditer(template):
        name, lone_brace = piece.groups()
        if lone_brace is not None:
            raise ValueError(
                f'has a "{lone_brace}" without its partner; write "{lone_brace * 2}" for a brace'
            )
        if name is None:
            text = piece.group()
            literals[-1] += text[0] if text in ("{{", "}}") else text
        elif not name.strip():
            raise ValueError('has "{}" without a column\'s name; write {name} for the column "name"')
        else:
            columns.append(name.strip())
            literals.append("")
    return literals, columns


@lru_cache(maxsize=64)  # asked for each row
def columns_of(spec: str) -> tuple[str, ...]:
    """The columns that a text names: itself, or those of a template. Raises ValueError as template_parts."""
    if not spec:
        return ()
    return tuple(template_parts(spec)[1]) if is_template(spec) else (spec,)


def filled(spec: str, cells: Mapping[str, str]) -> str:
    """The text with the cells of its columns. Raises ValueError as template_parts; KeyError."""
    if not is_template(spec):
        return cells[spec]
    literals, columns = template_parts(spec)
    return literals[0] + "".join(cells[name] + end for name, end in zip(columns, literals[1:], strict=True))
