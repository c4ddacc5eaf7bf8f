"""Connect a socket to a host, at the address that answers first (RFC 8305, Happy Eyeballs).

`loop.create_connection(happy_eyeballs_delay=)` does the same, but loses the socket when a cancellation meets a
connection that was just made (CPython 3.11).
"""

import asyncio
import contextlib
import itertools
import socket
from collections.abc import Iterable, Sequence
from typing import Any, Final, TypeAlias

_HEAD_START: Final = 0.25  # seconds before the next address is tried as well; RFC 8305, section 5

_Address: TypeAlias = tuple[int, int, int, str, Any]


async def connect(host: str, port: int) -> socket.socket:
    """Return a connected socket. Cancelling leaves no socket behind.

    Raises:
        OSError: the name is not known, or no address could be reached: then it is the first address's error.
    """
    loop = asyncio.get_running_loop()
    addresses = _interleaved(await _addresses(host, port))
    attempts: list[asyncio.Task[socket.socket]] = []
    winner: socket.socket | None = None
    try:
        for address in addresses:
            attempts.append(loop.create_task(_connected(address)))
            winner = await _first(attempts, _HEAD_START if len(attempts) < len(addresses) else None)
            if winner is not None:
                return winner
    finally:
        for attempt in attempts:
            attempt.cancel()
            attempt.add_done_callback(lambda attempt: _give_up(attempt, winner))
    nowhere = socket.gaierror(socket.EAI_NONAME, "the host has no address")
    raise next((error for attempt in attempts if (error := attempt.exception()) is not None), nowhere)


async def _addresses(host: str, port: int) -> Sequence[_Address]:
    """Return the addresses of `host`. A name needs the resolver, which runs in a thread; an IP address does not."""
    with contextlib.suppress(socket.gaierror, UnicodeError):
        numeric = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
        return socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=numeric)
    try:
        return await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError:  # Python's codec for names refuses names that no name server can know
        raise socket.gaierror(socket.EAI_NONAME, "not a name of a host") from None


async def _first(attempts: list[asyncio.Task[socket.socket]], patience: float | None) -> socket.socket | None:
    """Return the first socket within `patience` seconds; None: the next address should be tried, or all have failed."""
    ends = None if patience is None else asyncio.get_running_loop().time() + patience
    while True:
        for attempt in attempts:
            if attempt.done() and attempt.exception() is None:
                return attempt.result()
        pending = [attempt for attempt in attempts if not attempt.done()]
        if not pending or (ends is not None and attempts[-1].done()):
            return None
        left = None if ends is None else max(0.0, ends - asyncio.get_running_loop().time())
        done, _ = await asyncio.wait(pending, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        if not done:
            return None


async def _connected(address: _Address) -> socket.socket:
    family, kind, protocol, _, where = address
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)  # noqa: FBT003 - its one argument
        await asyncio.get_running_loop().sock_connect(sock, where)
    except BaseException:
        sock.close()
        raise
    return sock


def _give_up(attempt: asyncio.Task[socket.socket], winner: socket.socket | None) -> None:
    """Close the socket of an attempt, unless it is the winner."""
    if not attempt.cancelled() and attempt.exception() is None and attempt.result() is not winner:
        attempt.result().close()


def _interleaved(addresses: Iterable[_Address]) -> list[_Address]:
    """Return addresses so that IPv6 and IPv4 take turns, the preferred family first."""
    families: dict[int, list[_Address]] = {}
    for address in addresses:
        families.setdefault(address[0], []).append(address)
    return [address for row in itertools.zip_longest(*families.values()) for address in row if address is not None]
