"""Requests through transports, over real sockets: how tests send one, cancel one, and count what it leaves behind."""

import asyncio
import functools
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import httpx
import httpx2
import httpx_aiohttp
import pytest

from soapbatch.model import Limits
from soapbatch.transport import (
    ClientTransport,
    ConnectionPool,
    Decompressor,
    HttpResponse,
    Sender,
    SendState,
    merged_headers,
)


class Closable(Protocol):
    """What is closed in the end."""

    async def aclose(self) -> None:
        """Close it."""


C = TypeVar("C", bound=Closable)
T = TypeVar("T")

HEADERS = {"Content-Type": "text/xml", "SOAPAction": '"act"'}


class Owning(ClientTransport):
    """A ClientTransport whose client is closed with it, to stand in a row with other transports."""

    def __init__(self, client: Any) -> None:
        """Own `client`."""
        self._owned = client
        super().__init__(client)

    async def aclose(self) -> None:
        """Close the client."""
        await self._owned.aclose()


Make = Callable[[ssl.SSLContext], httpx.AsyncBaseTransport]
# What `Client(transport=)` and `Client(http_client=)` may be given; the tests have timeouts of their own.
TRANSPORTS: dict[str, Make] = {
    "pool": lambda verify: ConnectionPool(verify=verify),
    "client": lambda verify: Owning(httpx.AsyncClient(verify=verify, timeout=None)),  # noqa: S113 - see above
    "client of httpx2": lambda verify: Owning(httpx2.AsyncClient(verify=verify, timeout=None)),
    "client of aiohttp": lambda verify: Owning(httpx_aiohttp.HttpxAiohttpClient(verify=verify, timeout=None)),
    "transport of httpx": lambda verify: httpx.AsyncHTTPTransport(verify=verify),
    "pool in a client": lambda verify: Owning(
        httpx.AsyncClient(transport=ConnectionPool(verify=verify), timeout=None)  # noqa: S113 - see above
    ),
}


@asynccontextmanager
async def using(transport: C) -> AsyncIterator[C]:
    """Close `transport` in the end."""
    try:
        yield transport
    finally:
        await transport.aclose()


async def until(condition: Callable[[], object]) -> None:
    """Let the loop turn until `condition` holds; fail if it never does."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 - what it looks at knows nothing of events
            await asyncio.sleep(0.001)


async def body_of(response: HttpResponse) -> bytes:
    """Read the decompressed body of `response`, and close it."""
    try:
        decompressor = Decompressor(response.headers.get("content-encoding", ""), Limits())
        pieces: list[bytes] = []
        while (chunk := await response.read()) is not None:
            pieces += decompressor.feed(chunk)
        decompressor.finish()
        return b"".join(pieces)
    finally:
        await response.aclose()


async def send(
    transport: httpx.AsyncBaseTransport, url: str, body: bytes = b"<envelope/>", state: SendState | None = None
) -> HttpResponse:
    """Send `body` and return the response, unread."""
    headers = merged_headers(HEADERS, {})
    return await Sender(transport).send(url, headers, body, SendState() if state is None else state)


async def ask(
    transport: httpx.AsyncBaseTransport, url: str, body: bytes = b"<envelope/>", state: SendState | None = None
) -> bytes:
    """Send `body` and return the body of the response."""
    return await body_of(await send(transport, url, body, state))


class Steps(Generic[T]):
    """Awaits something, counts where it is suspended, and cancels the task at chosen places.

    Attributes:
        count: how often it was suspended.
    """

    def __init__(self, work: Awaitable[T], cancel_at: set[int]) -> None:
        """Cancel at each suspension whose number, from 1, is in `cancel_at`."""
        self._work = work
        self._cancel_at = cancel_at
        self.count = 0

    def __await__(self) -> Generator[Any, None, T]:
        """Await the work."""
        task = asyncio.current_task()
        assert task is not None
        steps: Any = self._work.__await__()
        step = functools.partial(steps.send, None)
        while True:
            try:
                waited = step()
            except StopIteration as end:
                result: T = end.value
                return result
            self.count += 1
            if self.count in self._cancel_at:
                asyncio.get_running_loop().call_soon(task.cancel)
            try:
                yield waited
            except BaseException as error:  # noqa: BLE001 - passed on
                step = functools.partial(steps.throw, error)
            else:
                step = functools.partial(steps.send, None)


def open_sockets() -> int:
    """Return how many sockets this process has open."""
    folder = Path("/proc/self/fd")
    if not folder.is_dir():
        pytest.skip("needs /proc to count sockets")
    count = 0
    for entry in folder.iterdir():
        try:
            count += str(entry.readlink()).startswith("socket:")
        except OSError:
            continue
    return count
