"""The embedded Valkey: private, shared by all who use one data directory, and there again after any crash."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
import redis

from campaigns.mistake import Mistake
from worker.embedded_redis import private_directory
from worker.settings import DialerSettings

PATIENCE_SECONDS = 20.0


def until(condition: Callable[[], object], what: str) -> None:
    """Look again and again until it is so."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come about"
        time.sleep(0.05)


class House:
    """One data directory, its keepers, and its server."""

    def __init__(self, home: Path, log: Path) -> None:
        self.home = home
        self.log = log
        self.settings = DialerSettings(data_dir=home)
        self.directory = self.settings.runtime_dir
        self.keepers: list[subprocess.Popen[bytes]] = []

    def keeper(self) -> subprocess.Popen[bytes]:
        """Start a process that keeps the server, or stands by."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("DIALER_")}
        environment |= {"DIALER_DATA_DIR": str(self.home), "PYTHONPATH": str(Path.cwd())}
        with self.log.open("ab") as log:
            keeper = subprocess.Popen(
                [sys.executable, "-m", "worker.embedded_redis"],
                env=environment,
                cwd=self.home,
                stdout=log,
                stderr=log,
            )
        self.keepers.append(keeper)
        return keeper

    def server(self) -> int | None:
        """The process id of the server that answers, if any does."""
        with closing(redis.Redis.from_url(self.settings.redis, socket_timeout=2)) as client:
            try:
                return int(client.info("server")["process_id"])
            except (redis.RedisError, OSError):
                return None

    def serving(self, *, other_than: int | None = None) -> int:
        """Wait until a server answers."""
        until(lambda: self.server() not in (None, other_than), "an answer from Valkey")
        pid = self.server()
        assert pid is not None
        return pid

    def end(self) -> None:
        """Leave no process and no directory behind."""
        for keeper in self.keepers:
            keeper.terminate()
        for keeper in self.keepers:
            keeper.wait(PATIENCE_SECONDS)
        if (pid := self.server()) is not None:
            os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.directory, ignore_errors=True)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """A data directory that nobody uses yet."""
    home = tmp_path / "data"
    home.mkdir()
    made = House(home, tmp_path / "redis.log")
    yield made
    made.end()


def lives(pid: int) -> bool:
    """Whether a process runs. One that has ended and whose parent has not looked yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def holds_open(pid: int, path: Path) -> bool:
    """Whether a process has a file open."""
    try:
        return any(Path(os.readlink(each)) == path for each in Path(f"/proc/{pid}/fd").iterdir())
    except FileNotFoundError:
        return False


def test_only_its_user_can_reach_it(house: House) -> None:
    """It listens on a socket in a directory that nobody else may enter, and on no network port."""
    house.keeper()
    house.serving()
    assert house.directory.stat().st_mode & 0o777 == 0o700
    with closing(redis.Redis.from_url(house.settings.redis)) as client:
        assert client.info("server")["tcp_port"] == 0


def test_it_stops_with_its_keeper(house: House) -> None:
    """SIGTERM to the keeper ends the server, with exit code 0."""
    keeper = house.keeper()
    pid = house.serving()
    keeper.terminate()
    assert keeper.wait(PATIENCE_SECONDS) == 0
    until(lambda: not lives(pid), "the server's end")


def test_two_keepers_share_one_server_and_the_second_takes_over(house: House) -> None:
    """Whoever comes second stands by, and serves when the first has been stopped."""
    first = house.keeper()
    pid = house.serving()
    second = house.keeper()
    until(lambda: holds_open(second.pid, house.directory / "valkey.lock"), "the second one's waiting")
    assert pid == house.server()
    first.terminate()
    assert first.wait(PATIENCE_SECONDS) == 0
    house.serving(other_than=pid)
    assert second.poll() is None


def test_a_server_whose_keeper_was_killed_is_ended_by_the_next(house: House) -> None:
    """SIGKILL leaves a server that nobody guards; the stand-by ends it and starts its own."""
    first = house.keeper()
    pid = house.serving()
    second = house.keeper()
    until(lambda: holds_open(second.pid, house.directory / "valkey.lock"), "the second one's waiting")
    first.kill()
    first.wait()
    assert house.serving(other_than=pid) != pid
    until(lambda: not lives(pid), "the leftover's end")


def test_a_server_that_is_killed_comes_back(house: House) -> None:
    """The keeper notices within a moment, and the new server is empty: the ledger knows what was in it."""
    house.keeper()
    pid = house.serving()
    with closing(redis.Redis.from_url(house.settings.redis)) as client:
        client.set("doorbell", "rung")
        # The first PING ends the keeper's starting, the second is of its watching.
        pings = {"calls": 0}
        until(
            lambda: client.info("commandstats").get("cmdstat_ping", pings)["calls"] >= 2,
            "the keeper's watching",
        )
    os.kill(pid, signal.SIGKILL)
    house.serving(other_than=pid)
    with closing(redis.Redis.from_url(house.settings.redis)) as client:
        assert client.get("doorbell") is None


def test_a_deep_data_directory_is_no_obstacle(tmp_path: Path) -> None:
    """A socket's path has room for about 100 characters, however long the data directory's is."""
    deep = DialerSettings(data_dir=tmp_path / ("deep " * 40))
    assert len(deep.redis.removeprefix("unix://")) < 100
    assert deep.runtime_dir != DialerSettings(data_dir=tmp_path).runtime_dir


def test_somebody_elses_directory_is_refused(tmp_path: Path) -> None:
    """A link, or a file, where the directory should be is somebody's trap, and nothing is put into it."""
    with pytest.raises(Mistake, match="set TMPDIR"):
        private_directory(_link(tmp_path / "link", to=tmp_path))
    (tmp_path / "file").touch()
    with pytest.raises(Mistake, match="set TMPDIR"):
        private_directory(tmp_path / "file")
    if os.getuid() == 0:
        others = tmp_path / "others"
        others.mkdir()
        os.chown(others, 12345, 12345)
        with pytest.raises(Mistake, match="belongs to somebody else; set TMPDIR"):
            private_directory(others)


def test_a_refused_directory_is_said_in_one_line(house: House) -> None:
    """The process that cannot use its directory ends with 2 and says why, without a traceback."""
    _link(house.directory, to=Path(tempfile.gettempdir()))
    try:
        assert house.keeper().wait(PATIENCE_SECONDS) == 2
    finally:
        house.directory.unlink()
    said = house.log.read_text()
    assert said.count("\n") == 1
    assert said.startswith(f"dialer: {house.directory} belongs to somebody else")


def _link(link: Path, *, to: Path) -> Path:
    link.symlink_to(to, target_is_directory=True)
    return link
