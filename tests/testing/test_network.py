"""Blocking the network: what leaves this machine is refused, whoever tries, and the error names who."""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from soapbatch import Client, SoapBatchError
from soapbatch.testing import NetServer, NetworkBlocked, block_network, serve

OUTSIDE = "203.0.113.5"  # RFC 5737: an address for documentation


def udp() -> None:
    """Send a datagram."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"x", (OUTSIDE, 53))


def connect_6() -> None:
    """Connect by IPv6."""
    with socket.socket(socket.AF_INET6, socket.SOCK_STREAM) as sender:
        sender.connect(("2001:db8::1", 80))


ATTEMPTS: dict[str, tuple[Callable[[], Any], str]] = {
    "connect": (lambda: socket.create_connection((OUTSIDE, 80), timeout=1), f"{OUTSIDE}:80"),
    "connect by IPv6": (connect_6, "[2001:db8::1]:80"),
    "datagram": (udp, f"{OUTSIDE}:53"),
    "name": (lambda: socket.getaddrinfo("crm.example.com", 443), "crm.example.com:443"),
    "name as bytes": (lambda: socket.getaddrinfo(b"crm.example.com", 443), "crm.example.com:443"),
    "old function": (lambda: socket.gethostbyname("crm.example.com"), "crm.example.com"),
    "httpx": (lambda: httpx.get("http://crm.example.com/", trust_env=False), "crm.example.com:80"),
}


@pytest.mark.parametrize("attempt", ATTEMPTS)
def test_what_leaves_the_machine_is_refused(attempt: str) -> None:
    """The error names the address and the line that tried, and the block has noted the attempt."""
    function, address = ATTEMPTS[attempt]
    with block_network() as attempts, pytest.raises(NetworkBlocked) as caught:
        function()
    assert [error.address for error in attempts] == [address]
    assert caught.value.address == address
    assert f"tried to reach {address}" in str(caught.value)
    assert Path(__file__).name in str(caught.value)
    assert "in the test tests/testing/test_network.py::test_what_leaves" in str(caught.value)


async def test_the_client_is_refused_and_named() -> None:
    """The library's own pool gives the same error at once, without a retry, and names the line of the test."""
    with block_network() as attempts:
        async with Client(f"https://{OUTSIDE}", ticket="7T:x") as client:
            with pytest.raises(NetworkBlocked):
                await client.batch.get_batch_task_info(1)
        async with Client("https://crm.example.com", ticket="7T:x") as client:
            with pytest.raises(NetworkBlocked, match=r"test_the_client_is_refused_and_named .*test_network.py"):
                await client.batch.get_batch_task_info(1)
    assert [error.address for error in attempts] == [f"{OUTSIDE}:443", "crm.example.com:443"]
    assert isinstance(attempts[0], SoapBatchError)
    assert " in task " in str(attempts[1])


async def test_a_foreign_client_is_refused_and_named() -> None:
    """Looking up a name happens in a thread; the error names the coroutine that asked all the same."""
    with block_network():
        async with httpx.AsyncClient(trust_env=False) as http:
            with pytest.raises(NetworkBlocked, match=r"test_a_foreign_client_is_refused_and_named .*test_network.py"):
                await http.get("https://crm.example.com")


def test_threads_are_refused_too() -> None:
    """The block holds for the whole process."""
    errors: list[BaseException] = []

    def attempt() -> None:
        try:
            socket.create_connection((OUTSIDE, 80), timeout=1)
        except NetworkBlocked as error:
            errors.append(error)

    with block_network():
        thread = threading.Thread(target=attempt)
        thread.start()
        thread.join()
    assert len(errors) == 1


async def test_this_machine_may_be_reached() -> None:
    """Loopback addresses, localhost and pairs of sockets work as without the block."""
    with block_network() as attempts:
        async with serve(NetServer()) as url:
            for base_url in (url, url.replace("127.0.0.1", "localhost")):
                async with Client(base_url, ticket="7T:x") as client:
                    assert await client.principal.get_system_info()
        left, right = socket.socketpair()
        left.close()
        right.close()
        assert socket.getaddrinfo(None, 80)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"x", ("127.0.0.1", 9))
    assert attempts == []


def test_the_block_ends() -> None:
    """After the block, and between nested ones, everything is as before."""
    look_up = asyncio.BaseEventLoop.getaddrinfo
    with block_network() as outer:
        with block_network() as inner, contextlib.suppress(NetworkBlocked):
            socket.getaddrinfo("crm.example.com", 443)
        with contextlib.suppress(NetworkBlocked):
            socket.getaddrinfo("crm.example.com", 444)
    assert [error.address for error in inner] == ["crm.example.com:443"]
    assert [error.address for error in outer] == ["crm.example.com:443", "crm.example.com:444"]
    assert asyncio.BaseEventLoop.getaddrinfo is look_up
    with contextlib.suppress(OSError):  # no NetworkBlocked
        socket.getaddrinfo("nowhere.invalid", 443)


def test_without_a_frame_to_show_the_error_says_something(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where every frame is a library's, and outside of pytest, the address is still named."""
    monkeypatch.delenv("PYTEST_CURRENT_TEST")
    monkeypatch.setattr("soapbatch.testing.network._OWN", "/")
    with block_network(), pytest.raises(NetworkBlocked, match="is in force, and something tried to reach 203"):
        socket.create_connection((OUTSIDE, 80), timeout=1)
