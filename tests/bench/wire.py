"""A transport without a network: the client's own port, answered from memory."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable

import attrs

from soapbatch import Client, Limits
from soapbatch.transport.sending import HttpReply, HttpRequest, Progress
from tests.bench.inputs import BINDING, TICKET, VERSION, chunks


@attrs.frozen
class _Answer:
    """An answer that arrives chunk by chunk, with a turn of the loop before each, as from a socket."""

    pieces: Iterable[bytes]
    status: int = 200
    headers: dict[str, str] = attrs.field(factory=lambda: {"content-type": "text/xml; charset=utf-8"})

    async def chunks(self) -> AsyncIterator[bytes]:
        for chunk in chunks(self.pieces):
            await asyncio.sleep(0)
            yield chunk

    async def aclose(self) -> None:
        """Nothing is open."""


@attrs.frozen
class InMemory:
    """A transport that answers every request with the same body, made anew each time."""

    body: Callable[[], Iterable[bytes]]

    async def send(self, request: HttpRequest, progress: Progress) -> HttpReply:
        """Answer `request`."""
        del request
        progress.sent = True
        return _Answer(self.body())

    async def aclose(self) -> None:
        """Nothing is open."""


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
