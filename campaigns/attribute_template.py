"""`Dear {first_name}` → its literal parts and the columns between them."""

import re

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
