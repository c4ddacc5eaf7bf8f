"""A transport without a network: the client's own port, answered from memory."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable

import httpx

from soapbatch import Client, Limits
from tests.bench.inputs import BINDING, TICKET, VERSION, chunks


class _Body(httpx.AsyncByteStream):
    """A body that arrives chunk by chunk, with a turn of the loop before each, as from a socket."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = pieces

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in chunks(self._pieces):
            await asyncio.sleep(0)
            yield chunk


class InMemory(httpx.AsyncBaseTransport):
    """A transport that answers every request with the same body, made anew each time."""

    def __init__(self, body: Callable[[], Iterable[bytes]]) -> None:
        """Answer with `body()`."""
        self._body = body

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer `request`."""
        del request
        return httpx.Response(200, headers={"Content-Type": "text/xml; charset=utf-8"}, stream=_Body(self._body()))


def client_of(body: Callable[[], Iterable[bytes]]) -> Client:
    """Return a client whose every call is answered with `body()`."""
    return Client(
        "http://127.0.0.1",
        ticket=TICKET,
        version=VERSION,
        binding=BINDING,
        timeout=None,
        limits=Limits(bytes=1 << 30),
        transport=InMemory(body),
    )
