"""The `dialer` command: the operator's commands plus the machine's, and how each of them ends."""

import os
import sys
from collections.abc import Sequence

import typer

from campaigns.command_line import say
from campaigns.mistake import Mistake
from campaigns.plain_logs import plain_errors
from campaigns.plain_text import never_fail
from worker.until_stopped import INTERRUPTED, Stopped

# In the order in which `dialer --help` lists them.
# isort: off
from campaigns.cli import app
from worker import plan_cli, run_cli, demo_cli, up_cli, sandbox_cli, health_cli, reconcile_cli  # noqa: F401
# isort: on


_LONGEST_ARGUMENT = 10_000


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line. Exit codes: 0 done; 1 failed; 2 the input or the usage is wrong."""
    plain_errors()
    never_fail(sys.stdout, sys.stderr)
    sys.exit(_outcome(list(sys.argv[1:] if arguments is None else arguments)))


def _outcome(arguments: list[str]) -> int:
    try:
        _readable(arguments)
        # Not `app()`: its own ways with Ctrl-C and with a reader who has gone would come before ours.
        command = typer.main.get_command(app)
        with command.make_context("dialer", arguments or ["--help"]) as context:
            command.invoke(context)
    except typer.Exit as over:
        return over.exit_code
    except Mistake as mistake:
        say(f"dialer: {mistake}")
        return 2
    except typer.Abort:
        say("dialer: stopped; nothing was changed")
        return INTERRUPTED
    except typer.TyperException as error:
        context_of = getattr(error, "ctx", None)
        command_path = context_of.command_path if context_of else "dialer"
        say(f"dialer: {error.format_message().rstrip('.')} ({command_path} --help shows how)")
        return error.exit_code
    except (KeyboardInterrupt, Stopped) as stop:
        say("; ".join(["dialer: stopped", *([str(stop)] if str(stop) else [])]))
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever was reading has seen enough; Python would complain once more while it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except PermissionError as error:
        # The data directory of another user, or what is in it.
        say(f"dialer: {error.filename}: {error.strerror}; run the dialer as the user whose it is")
        return 2
    except Exception as error:
        from campaigns.ledger import LedgerUnavailable
        from campaigns.ledger.staging import Miscounted
        from worker.children import ChildFailed

        if isinstance(error, LedgerUnavailable | ChildFailed | Miscounted):
            say(f"dialer: {error}")
            return 1
        raise
    return 0


def _readable(arguments: Sequence[str]) -> None:
    """Raises Mistake for an argument that is no text, which no ledger and no terminal would take."""
    for argument in arguments:
        if len(argument) > _LONGEST_ARGUMENT:
            raise Mistake(f"{argument[:40]}…: has {len(argument):,} characters, too many for any argument")
        try:
            argument.encode()
        except UnicodeEncodeError:
            raise Mistake(f"{argument!r}: is not UTF-8; write it, or name the file, in UTF-8") from None


if __name__ == "__main__":
    main()
