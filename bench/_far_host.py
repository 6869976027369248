"""A host of its own for a server, in a network namespace, that can vanish without a word. Linux, as root.

The server itself stays where it is: a process in the namespace forwards a TCP port to its Unix socket. The
host vanishes when both sides send to a MAC address that no interface has, so that packets are lost, nothing
is refused, and no interface goes down.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

_NO_ADDRESS = "02:00:00:00:00:99"
_numbers = count(os.getpid() % 200)

_FORWARD = """
import asyncio, sys
async def pump(reader, writer):
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()
async def accept(reader, writer):
    try:
        inner, outer = await asyncio.open_unix_connection(sys.argv[1])
    except OSError:
        writer.close()
        return
    await asyncio.gather(pump(reader, outer), pump(inner, writer))
async def main():
    server = await asyncio.start_server(accept, "0.0.0.0", 5432)
    print("ready", flush=True)
    await server.serve_forever()
asyncio.run(main())
"""


class FarHost:
    """A host with an address of its own."""

    def __init__(self, name: str, number: int) -> None:
        self.name = name
        self.near, self.address = f"10.213.{number}.1", f"10.213.{number}.2"
        self.link = f"{name}o"
        """Our end of the line to it."""

    @contextmanager
    def vanished(self) -> Iterator[None]:
        """The host is gone: not a packet comes through in either direction."""
        there = ("-n", self.name)
        lost = ("lladdr", _NO_ADDRESS, "nud", "permanent")
        _ip("neigh", "replace", self.address, *lost, "dev", self.link)
        _ip(*there, "neigh", "replace", self.near, *lost, "dev", "eth0")
        try:
            yield
        finally:
            _ip("neigh", "del", self.address, "dev", self.link)
            _ip(*there, "neigh", "del", self.near, "dev", "eth0")


def available() -> str | None:
    """None where a host can be made; else why not."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "network namespaces need Linux, and root"
    try:
        _ip("netns", "list")
    except (OSError, subprocess.CalledProcessError):
        return "network namespaces need iproute2 and the right to make them"
    return None


@contextmanager
def far_host(unix_socket: Path) -> Iterator[FarHost]:
    """A host whose port 5432 leads to a Unix socket."""
    number = next(_numbers)
    host = FarHost(f"dialer{number}", number)
    _ip("netns", "add", host.name)
    try:
        _ip("link", "add", host.link, "type", "veth", "peer", "name", "eth0", "netns", host.name)
        _ip("addr", "add", f"{host.near}/24", "dev", host.link)
        _ip("link", "set", host.link, "up")
        _ip("-n", host.name, "addr", "add", f"{host.address}/24", "dev", "eth0")
        _ip("-n", host.name, "link", "set", "eth0", "up")
        forward = subprocess.Popen(
            ["ip", "netns", "exec", host.name, sys.executable, "-c", _FORWARD, str(unix_socket)],
            stdout=subprocess.PIPE,
        )
        try:
            assert forward.stdout is not None
            forward.stdout.readline()
            yield host
        finally:
            forward.kill()
            forward.wait()
    finally:
        with suppress(subprocess.CalledProcessError):
            _ip("link", "del", host.link)
        _ip("netns", "del", host.name)


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)
