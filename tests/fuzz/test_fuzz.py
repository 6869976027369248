"""A moment of each fuzzer, with the same inputs every time; bench/fuzz.py goes on for minutes."""

from pathlib import Path

import pytest

from tests.fuzz import TARGETS, run


@pytest.mark.parametrize("what", TARGETS)
def test_hostile_input_is_one_line(what: str, tmp_path: Path) -> None:
    """No traceback, no hang, and nothing that a database would not take."""
    assert run(what, 1, tmp_path, seconds=240, cases=100) == 100
