"""`dialer demo`: the bundled example, dialed in the sandbox.

Heavy imports stand inside the functions, as in campaigns/command_line.py.
"""

import os
import shlex
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from campaigns.command_line import app, put, say
from campaigns.mistake import Mistake
from worker.run_cli import run_to_the_end
from worker.until_stopped import Workers

if TYPE_CHECKING:
    from worker.settings import DialerSettings


@app.command(short_help="Dial the bundled example in the sandbox.", epilog="Example: dialer demo")
def demo(workers: Workers = 1) -> None:
    """Dial the bundled example, a clinic's reminders, through the sandbox. Nobody is called."""
    from worker.local import Trial, only_one

    home = Path(".dialer") / "demo"
    with only_one(home, "a demo"):
        for leftover in home.iterdir():
            if leftover.name != "lock":
                shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
        settings = demo_settings(home)
        examples = examples_dir()
        campaign_file = examples / "clinic-reminders.toml"
        list_file = home / "clinic-reminders.csv"
        shutil.copyfile(examples / "clinic-reminders.csv", list_file)
        say("a demo: made-up people, called through a stand-in for Amazon Connect at 50 calls per second")
        code = run_to_the_end(
            settings, campaign_file, list_file, Trial(speed=30.0, faults=True), workers, None
        )
        if code == 0:
            put(f"look closer: DIALER_DATA_DIR={home} {_this_program()} status clinic-reminders")
    raise typer.Exit(code)


def _this_program() -> str:
    """How the user starts `dialer`: by its path, where `make demo` has put it outside of the shell's PATH."""
    program, found = Path(sys.executable).parent / "dialer", shutil.which("dialer")
    if not program.exists():
        return "dialer" if found else shlex.join([sys.executable, "-m", "worker.cli"])
    if found and program.samefile(found):
        return "dialer"
    here = Path.cwd()
    return shlex.quote(str(program.relative_to(here) if program.is_relative_to(here) else program))


def examples_dir() -> Path:
    """Where the bundled example is: in the package, or beside it in a checkout."""
    for place in (Path(__file__).parent / "examples", Path(__file__).parent.parent / "examples"):
        if (place / "clinic-reminders.toml").is_file():
            return place
    raise Mistake("the bundled example is missing; install the package again")


def demo_settings(home: Path) -> "DialerSettings":
    """The demo's settings: the example's thousand rows within half a minute."""
    from campaigns.settings import load_settings
    from worker.settings import DialerSettings

    # In the environment, because the demo's processes read their settings there. All of them are set, to
    # nothing if need be, or what is configured, in a .env file too, would draw the demo into a real ledger.
    os.environ |= {f"DIALER_{name.upper()}": "" for name in DialerSettings.model_fields}
    os.environ |= {
        "DIALER_DATA_DIR": str(home),
        "DIALER_CALLS_PER_SECOND": "50",
        "DIALER_BURST": "50",
        "DIALER_MAX_ACTIVE_CALLS": "500",
        "DIALER_SETTLE_SECONDS": "90",
    }
    return load_settings(DialerSettings)
