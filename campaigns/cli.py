"""What an operator does: all the commands of this side."""

# In the order in which `dialer --help` lists them.
# isort: off
from campaigns.command_line import app
from campaigns import load_cli, start_cli, cancel_cli, drop_cli  # noqa: F401
from campaigns import requeue_cli, status_cli, explain_cli, export_cli  # noqa: F401
from campaigns import schedule_cli, suppress_cli, discard_cli  # noqa: F401
# isort: on

__all__ = ["app"]
