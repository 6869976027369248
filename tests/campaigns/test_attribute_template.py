import pytest
from hypothesis import given
from hypothesis import strategies as st

from campaigns.attribute_template import is_template, template_parts


def test_a_template_is_cut_at_its_columns() -> None:
    """Literals and columns alternate, and columns lose their outer space."""
    assert template_parts("Dear { first_name }, at {when}.") == (
        ["Dear ", ", at ", "."],
        ["first_name", "when"],
    )
    assert template_parts("{a}{b}") == (["", "", ""], ["a", "b"])


def test_doubled_braces_are_literal() -> None:
    """`{{` and `}}` are how a template says a brace."""
    assert template_parts("{{{name}}} {{x}}") == (["{", "} {x}"], ["name"])


@pytest.mark.parametrize("template", ["Dear {name", "Dear name}", "{a{b}", "{}", "{ }", "a } b"])
def test_a_broken_template_is_refused(template: str) -> None:
    """A brace without its partner, or without a name, is a mistake and not text."""
    assert is_template(template)
    with pytest.raises(ValueError, match=r"^has "):
        template_parts(template)


@given(st.lists(st.text(), min_size=1, max_size=5), st.text(alphabet="abc _-é", min_size=1))
def test_any_literals_survive(literals: list[str], column: str) -> None:
    """Every text can be written into a template and comes out unchanged."""
    name = column.strip() or "x"
    template = f"{{{name}}}".join(text.replace("{", "{{").replace("}", "}}") for text in literals)
    assert template_parts(template) == (literals, [name] * (len(literals) - 1))
