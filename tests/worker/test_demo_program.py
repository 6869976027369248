"""What the demo prints at its end can be pasted, wherever `dialer` is."""

import shlex
import sys
from pathlib import Path

import pytest

from worker.demo_cli import _this_program


@pytest.fixture
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout with a `.venv` whose Python runs this, outside of the PATH."""
    programs = tmp_path / "a checkout" / ".venv" / "bin"
    programs.mkdir(parents=True)
    for name in ("python", "dialer"):
        (programs / name).touch(mode=0o755)
    monkeypatch.setattr(sys, "executable", str(programs / "python"))
    monkeypatch.setenv("PATH", "/usr/bin")
    monkeypatch.chdir(tmp_path / "a checkout")
    return programs


def test_in_a_checkout_it_is_the_path_to_it(environment: Path) -> None:
    """As after `make demo`, which activates nothing."""
    assert _this_program() == ".venv/bin/dialer"


def test_in_an_activated_environment_it_is_its_name(
    environment: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the user has called it."""
    monkeypatch.setenv("PATH", f"{environment}:/usr/bin")
    assert _this_program() == "dialer"


def test_anothers_program_of_that_name_is_not_named(
    environment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is in the PATH may be another installation, which knows nothing of this one's version."""
    (tmp_path / "dialer").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert _this_program() == ".venv/bin/dialer"


def test_elsewhere_it_is_the_whole_path_in_quotes(
    environment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder with a blank in its name is pasted as one word."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert shlex.split(_this_program()) == [str(environment / "dialer")]


def test_without_a_script_it_is_the_module(environment: Path) -> None:
    """As in a checkout that was never installed."""
    (environment / "dialer").unlink()
    assert shlex.split(_this_program()) == [str(environment / "python"), "-m", "worker.cli"]
