"""Faults for the whole of a dialer, each brought about and mended again."""

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from _site import Site, frozen

_SECONDS = 40.0
"""How long most of them last."""


@dataclass(frozen=True)
class Breakage:
    """One fault. `strike` returns when it is over."""

    name: str
    strike: Callable[[Site], None]
    possible: Callable[[Site], bool]


BREAKAGES: list[Breakage] = []


def _breakage(name: str, possible: Callable[[Site], bool] = lambda _: True) -> Callable[..., None]:
    def add(strike: Callable[[Site], None]) -> None:
        BREAKAGES.append(Breakage(name, strike, possible))

    return add


# --- Redis --------------------------------------------------------------------------------------------------


@_breakage("Redis is full (noeviction)")
def _redis_full(site: Site) -> None:
    valkey = site.redis()
    valkey.config_set("maxmemory", "1")
    time.sleep(_SECONDS)
    valkey.config_set("maxmemory", "0")


@_breakage("Redis became a replica (READONLY)")
def _redis_replica(site: Site) -> None:
    valkey = site.redis()
    valkey.execute_command("REPLICAOF", "127.0.0.1", "1")
    time.sleep(_SECONDS)
    valkey.execute_command("REPLICAOF", "NO", "ONE")


@_breakage("Redis cannot write to its disk (MISCONF)")
def _redis_disk(site: Site) -> None:
    valkey = site.redis()
    folder = valkey.config_get("dir")["dir"]
    # A folder that vanishes under it fails as a full disk does.
    gone = site.home / "redis" / "gone"
    gone.mkdir(exist_ok=True)
    valkey.config_set("dir", str(gone))
    gone.rmdir()
    valkey.config_set("stop-writes-on-bgsave-error", "yes")
    valkey.config_set("save", "3600 1")
    valkey.bgsave()
    time.sleep(_SECONDS)
    valkey.config_set("dir", folder)
    valkey.bgsave()
    time.sleep(1)
    valkey.config_set("save", "")


@_breakage("Redis does not let us (NOPERM)")
def _redis_rights(site: Site) -> None:
    valkey = site.redis()
    valkey.execute_command("ACL", "SETUSER", "default", "resetchannels", "-@write", "-@blocking")
    time.sleep(_SECONDS)
    valkey.execute_command("ACL", "SETUSER", "default", "allchannels", "allkeys", "+@all")


@_breakage("Redis killed; it comes back empty after 10 s")
def _redis_killed(site: Site) -> None:
    site.stop_redis()
    time.sleep(10)
    site.start_redis()


@_breakage("Redis frozen")
def _redis_frozen(site: Site) -> None:
    with frozen(site.redis_pid()):
        time.sleep(_SECONDS)


@_breakage("FLUSHALL")
def _redis_flushed(site: Site) -> None:
    site.redis().flushall()


@_breakage("all clients unblocked with an error")
def _unblocked(site: Site) -> None:
    valkey = site.redis()
    for client in valkey.client_list():
        with suppress(Exception):
            valkey.execute_command("CLIENT", "UNBLOCK", client["id"], "ERROR")


# --- PostgreSQL and PgBouncer -------------------------------------------------------------------------------


@_breakage("PgBouncer killed; it is back after 10 s")
def _pooler_killed(site: Site) -> None:
    site.stop_pooler()
    time.sleep(10)
    site.start_pooler()


@_breakage("PgBouncer frozen (answers nothing)")
def _pooler_frozen(site: Site) -> None:
    with frozen(site.pooler_pid()):
        time.sleep(_SECONDS)


@_breakage("PgBouncer paused by its console")
def _pooler_paused(site: Site) -> None:
    site.pooler_says("SUSPEND" if site.pool_mode == "session" else "PAUSE")
    time.sleep(_SECONDS)
    site.pooler_says("RESUME")


@_breakage("PostgreSQL crashed; it is back after 20 s")
def _postgres_away(site: Site) -> None:
    site.pg_ctl("-m", "immediate", "stop")
    time.sleep(20)
    site.start_postgres()


@_breakage("PostgreSQL became read-only")
def _postgres_read_only(site: Site) -> None:
    _configure(site, "default_transaction_read_only = on")
    time.sleep(_SECONDS)
    _configure(site, "default_transaction_read_only = off")


@_breakage("PostgreSQL's disk full", lambda site: site.small_disk is not None)
def _postgres_full(site: Site) -> None:
    assert site.small_disk is not None
    stuffing = site.small_disk / "stuffing"
    with suppress(OSError), stuffing.open("wb") as file:
        while True:
            file.write(b"\0" * (1 << 20))
            file.flush()
    time.sleep(_SECONDS)
    stuffing.unlink()
    # Without room for its log it has ended, and something starts it again where it matters.
    site.start_postgres()


def _configure(site: Site, setting: str) -> None:
    site.sql(f"ALTER SYSTEM SET {setting}")
    site.sql("SELECT pg_reload_conf()")


# --- our own processes --------------------------------------------------------------------------------------


@_breakage("a dial worker killed")
def _dial_killed(site: Site) -> None:
    os.kill(site.process("-n dial1-"), signal.SIGKILL)


@_breakage("both dial workers frozen")
def _dial_frozen(site: Site) -> None:
    with frozen(site.process("-n dial1-")), frozen(site.process("-n dial2-")):
        time.sleep(_SECONDS)


@_breakage("the control worker killed")
def _control_killed(site: Site) -> None:
    os.kill(site.process("-n control-"), signal.SIGKILL)


@_breakage("the scheduler killed")
def _beat_killed(site: Site) -> None:
    os.kill(site.process(" beat "), signal.SIGKILL)


@_breakage("both dial workers no longer consume")
def _no_consumer(site: Site) -> None:
    # The processes live on, and report that they do (bench/_site.py, `_DEAF`).
    for name in ("-n dial1-", "-n dial2-"):
        os.kill(site.process(name), signal.SIGUSR2)


# --- Connect ------------------------------------------------------------------------------------------------


@_breakage("Connect answers calls with 500")
def _connect_errors(site: Site) -> None:
    site.break_connect(60, error_before=1.0)
    time.sleep(60)


@_breakage("Connect answers everything with 500")
def _connect_down(site: Site) -> None:
    site.break_connect(60, error_before=1.0, describe_error=1.0, search_error=1.0)
    time.sleep(60)


@_breakage("Connect answers late, and half the answers are lost")
def _connect_slow(site: Site) -> None:
    site.break_connect(60, error_after=0.3, slow_after=0.2)
    time.sleep(60)
