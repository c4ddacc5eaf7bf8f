"""Connecting to whichever address of a host answers first."""

import asyncio
import socket
from typing import Any

import pytest

from soapbatch.transport.happy_eyeballs import connect

V4, V6 = socket.AF_INET, socket.AF_INET6


class Addresses:
    """Stands in for the network of a loop: what a name resolves to, and what becomes of each address.

    An address is `("10.0.0.1", 80)`: its host decides. "refused" fails, "silent" never answers, "slow" answers when it
    is told to, anything else connects at once.

    Attributes:
        tried: hosts in the order in which they were tried.
        made: all sockets.
    """

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *hosts: tuple[int, str]) -> None:
        """Let every name resolve to `hosts`."""
        self.tried: list[str] = []
        self.made: list[socket.socket] = []
        self.answer = asyncio.Event()
        self._hosts = hosts
        loop = asyncio.get_running_loop()
        monkeypatch.setattr(loop, "getaddrinfo", self._resolve)
        monkeypatch.setattr(loop, "sock_connect", self._connect)

    async def _resolve(self, _: str, port: int, **__: object) -> list[Any]:
        return [(family, socket.SOCK_STREAM, 0, "", (name, port)) for family, name in self._hosts]

    async def _connect(self, sock: socket.socket, address: tuple[str, int]) -> None:
        self.made.append(sock)
        self.tried.append(address[0])
        if "refused" in address[0]:
            raise ConnectionRefusedError(111, address[0])
        if "silent" in address[0]:
            await asyncio.Event().wait()
        if "slow" in address[0]:
            await self.answer.wait()

    def open(self) -> list[socket.socket]:
        """Return the sockets that are not closed."""
        return [sock for sock in self.made if sock.fileno() >= 0]


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let an address have next to no head start."""
    monkeypatch.setattr("soapbatch.transport.happy_eyeballs._HEAD_START", 0.001)


async def settled() -> None:
    """Let everything happen that is due."""
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("hosts", "tried"),
    [
        pytest.param([(V4, "good")], ["good"], id="one"),
        pytest.param([(V4, "good"), (V4, "other")], ["good"], id="the first answers"),
        pytest.param([(V6, "refused"), (V4, "good")], ["refused", "good"], id="the first refuses"),
        pytest.param([(V6, "silent"), (V4, "good")], ["silent", "good"], id="the first is silent"),
        pytest.param(
            [(V6, "silent 1"), (V6, "silent 2"), (V4, "good"), (V4, "other")],
            ["silent 1", "good"],
            id="families take turns",
        ),
        pytest.param([(V6, "silent"), (V4, "refused"), (V6, "good")], ["silent", "refused", "good"], id="one of three"),
    ],
)
async def test_the_first_address_that_answers(
    hosts: list[tuple[int, str]], tried: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Addresses are tried in turn, the next as soon as one fails or takes long; one socket is open in the end."""
    addresses = Addresses(monkeypatch, *hosts)
    sock = await connect("host", 80)
    await settled()
    assert addresses.tried == tried
    assert addresses.open() == [sock]
    assert not sock.getblocking()
    sock.close()


async def test_a_slow_address_may_still_win(monkeypatch: pytest.MonkeyPatch) -> None:
    """An address that was overtaken is not given up until another has answered."""
    addresses = Addresses(monkeypatch, (V4, "slow"), (V4, "silent"))
    connecting = asyncio.create_task(connect("host", 80))
    while len(addresses.tried) < 2:  # noqa: ASYNC110 - what is waited for has no event
        await asyncio.sleep(0.001)
    addresses.answer.set()
    sock = await connecting
    await settled()
    assert addresses.open() == [sock] == addresses.made[:1]
    sock.close()


async def test_no_address_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    """If all fail, the error of the first says why, and no socket stays open."""
    addresses = Addresses(monkeypatch, (V6, "refused 1"), (V4, "refused 2"))
    with pytest.raises(ConnectionRefusedError, match="refused 1"):
        await connect("host", 80)
    assert addresses.open() == []


async def test_no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name without any address is as good as one that is not known."""
    Addresses(monkeypatch)
    with pytest.raises(socket.gaierror, match="no address"):
        await connect("host", 80)


@pytest.mark.parametrize(
    "hosts",
    [
        pytest.param([(V4, "good")], id="one"),
        pytest.param([(V4, "slow 1"), (V4, "slow 2")], id="two at once"),
        pytest.param([(V6, "refused"), (V4, "slow")], id="after one that fails"),
        pytest.param([(V6, "silent"), (V4, "good")], id="beside a silent one"),
    ],
)
async def test_cancelling_leaves_no_socket(hosts: list[tuple[int, str]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whenever it is cancelled, also in the turn in which an address answers, no socket and no task stays behind."""
    tasks = asyncio.all_tasks()
    cancelled = 0
    for turns in range(30):
        addresses = Addresses(monkeypatch, *hosts)
        connecting = asyncio.create_task(connect("host", 80))
        for _ in range(turns):
            await asyncio.sleep(0 if turns < 20 else 0.001)
        addresses.answer.set()
        connecting.cancel()
        await asyncio.wait([connecting])
        if connecting.cancelled():
            cancelled += 1
        else:
            connecting.result().close()
        await settled()
        assert asyncio.all_tasks() == tasks
        assert addresses.open() == []
    assert cancelled > 2


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_an_address_needs_no_resolver(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An IP address is read at once: the threads that look up names may be busy."""
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", None)
    server = await asyncio.start_server(lambda _, writer: writer.close(), host, 0)
    async with server:
        sock = await connect(host, server.sockets[0].getsockname()[1])
        assert sock.getpeername()[0] == host
        sock.close()
        await asyncio.sleep(0.01)


async def test_a_name_that_no_host_has() -> None:
    """A host name that breaks the rules for names is as good as one that is not known."""
    with pytest.raises(socket.gaierror, match="not a name of a host"):
        await connect(f"{'x' * 64}.example", 80)
