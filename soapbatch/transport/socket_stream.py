"""One connected socket: bytes out, bytes in, with TLS or without.

Why a stream of our own. An answer must never be taken for the answer to another request. Only the owner of the socket
knows the two facts that this takes: whether a byte of a request has left, and whether bytes arrived before the request
was sent. The stream also costs half of what anyio's costs.

Rule 1. Bytes that arrived before a request is sent belong to no request: the connection is refused, nothing is sent.
Rule 2. `SendState.sent` is set before the first byte of a request is handed to the operating system.
Rule 3. A server may answer before it has read the whole request: sending stops as soon as bytes arrive.
"""

import asyncio
import errno
import select
import ssl
import sys
from collections import deque
from collections.abc import Coroutine
from typing import Any, Final, TypeVar, cast

import httpx

from soapbatch.transport.happy_eyeballs import connect
from soapbatch.transport.send_state import SendState

T = TypeVar("T")

_BUFFER: Final = 64 * 1024  # bytes that one read takes from the kernel
_READ_AHEAD: Final = 256 * 1024  # bytes that are received before anybody reads them; more wait in the kernel
_TURNS: Final = 5  # of the event loop, in which asyncio reads what has arrived, and reports an alert in it
_WRITE_PIECE: Final = 256 * 1024  # bytes that are encrypted at a time: about a millisecond


class SocketStream(asyncio.BufferedProtocol):
    """A socket that serves one request after the other. A cancelled await leaves the stream good for closing only."""

    def __init__(self) -> None:
        """Prepare; `connect` opens the socket."""
        self._has_sent = False
        self._is_cut = False
        self._is_paused = False
        # The transport of the socket, then that of TLS, then that of the TLS inside it (behind an https proxy).
        self._layers: list[asyncio.Transport] = []
        self._buffer = memoryview(bytearray(_BUFFER))  # asyncio's TLS writes to slices of it
        self._received: deque[bytes] = deque()
        self._size = 0
        self._is_at_end = False
        self._error: Exception | None = None
        self._change: asyncio.Future[None] | None = None

    async def connect(self, host: str, port: int) -> None:
        """Connect to `host`.

        Raises:
            httpx.ConnectError: the name is unknown, or no address answers.
        """
        try:
            sock = await connect(host, port)
            await asyncio.get_running_loop().create_connection(lambda: self, sock=sock)
        except OSError as error:
            raise httpx.ConnectError(str(error)) from error

    async def start_tls(self, host: str, context: ssl.SSLContext) -> None:
        """Speak TLS with `host` from here on.

        Raises:
            httpx.ConnectError: the TLS handshake fails.
        """
        context.set_alpn_protocols(["http/1.1"])  # a client that speaks HTTP/2 may share the context
        loop = asyncio.get_running_loop()
        transport = None
        try:
            if not self._is_at_end:  # asyncio would wait for the handshake of a closed connection until it times out
                transport = await loop.start_tls(self._layers[-1], self, context, server_hostname=_tls_name(host))
        except ConnectionResetError:  # asyncio's error for a server that ends the handshake
            pass
        except (OSError, ValueError) as error:  # ValueError: no certificate can be issued for such a name
            raise httpx.ConnectError(str(error)) from error
        if transport is None:
            broken = ssl.SSLError(errno.ECONNRESET, "closed during the handshake")
            raise httpx.ConnectError(str(broken)) from broken
        self._layers.append(transport)
        self._has_sent = False

    async def send(self, data: bytes, state: SendState | None = None, patience: float | None = None) -> None:
        """Send a whole request, or as much of it as leaves before the server answers.

        Args:
            data: the request.
            state: updated as the request leaves; None for a request to a proxy, which is not the caller's.
            patience: seconds that the network may take for each 256 KiB; None: no limit.

        Raises:
            httpx.ConnectError: the server has closed the connection, or sent something unasked; nothing was sent.
            httpx.WriteTimeout: `patience` ran out.
        """
        if not self._has_sent and len(self._layers) > 1 and self.is_readable():
            # Session tickets, or the alert of a server that refuses the client: asyncio reads no more once it has
            # failed to write to a connection that was reset.
            for _ in range(_TURNS):
                await asyncio.sleep(0)
        if self._received or self._is_at_end or (self._has_sent and self.is_readable()):
            gone = self._error or ConnectionResetError(
                errno.ECONNRESET, "the server closed it, or sent something unasked"
            )
            raise httpx.ConnectError(str(gone)) from gone
        self._has_sent = True
        if state is not None:
            state.phase, state.sent = "sending", True
        rest = memoryview(data)
        self._is_cut = True
        while rest and not self._received and not self._is_at_end:
            self._layers[-1].write(rest[:_WRITE_PIECE])
            rest = rest[_WRITE_PIECE:]
            if self._is_paused:
                await within(patience, httpx.WriteTimeout, self._wait_for_room())
            elif rest:
                await asyncio.sleep(0)  # other tasks get their turn, and an early answer is noticed
        self._is_cut = bool(rest)
        if state is not None:
            state.phase = "waiting"

    async def read(self) -> bytes:
        """Return the bytes that have arrived, as soon as there are some; b"" at the end.

        Raises:
            httpx.ReadError: the connection broke.
        """
        while not self._received and not self._is_at_end:
            await self._wait()
        if self._received:
            data = self._received.popleft()
            if self._size > _READ_AHEAD >= self._size - len(data):
                self._layers[-1].resume_reading()
            self._size -= len(data)
            return data
        if self._error is not None:
            raise httpx.ReadError(str(self._error)) from self._error
        return b""

    def is_at_rest(self) -> bool:
        """Return whether the stream is open, every byte sent has left, and every byte that has arrived was read.

        A server may answer a request of which a part has not left.
        """
        if self._is_cut or self._received or self._is_at_end:
            return False
        return not any(layer.get_write_buffer_size() for layer in self._layers)

    def is_readable(self) -> bool:
        """Return whether something has arrived that the event loop has not looked at yet."""
        sock: Any = self._layers[0].get_extra_info("socket")
        if sys.platform == "win32":  # pragma: no cover - tested elsewhere
            return bool(select.select([sock], [], [], 0)[0])
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        return bool(poll.poll(0))

    async def aclose(self) -> None:
        """Close the socket at once, without sending what has not left."""
        if self._layers:
            self._layers[0].abort()
            await asyncio.sleep(0)  # in the next turn of the loop it is closed

    # What asyncio calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._layers = [cast("asyncio.Transport", transport)]

    def pause_writing(self) -> None:
        """Note that the network takes less than is sent."""
        self._is_paused = True

    def resume_writing(self) -> None:
        """Note that the network takes more."""
        self._is_paused = False
        self._wake()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where asyncio puts the next bytes: without it, each read allocates and frees 256 KiB."""
        del sizehint
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Keep what arrived; pause reading when it is too much."""
        data = bytes(self._buffer[:nbytes])
        self._received.append(data)
        self._size += len(data)
        if self._size > _READ_AHEAD:
            self._layers[-1].pause_reading()
        self._wake()

    def eof_received(self) -> None:
        """Note that nothing more arrives; asyncio closes the connection then."""
        self._is_at_end = True
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that the connection is gone."""
        self._is_at_end = True
        self._error = self._error or exc
        self._wake()

    async def _wait_for_room(self) -> None:
        """Wait until more may be sent, or until something arrives: that ends the sending."""
        while self._is_paused and not self._received and not self._is_at_end:
            await self._wait()

    async def _wait(self) -> None:
        """Wait until asyncio calls one of the methods above."""
        self._change = asyncio.get_running_loop().create_future()
        try:
            await self._change
        finally:
            self._change = None

    def _wake(self) -> None:
        if self._change is not None and not self._change.done():
            self._change.set_result(None)


async def within(seconds: float | None, kind: type[httpx.TimeoutException], work: Coroutine[Any, Any, T]) -> T:
    """Await `work` for at most `seconds` (None: no limit); raise `kind` when they have run out."""
    if seconds is None:
        return await work
    try:
        async with asyncio.timeout(seconds):
            return await work
    except TimeoutError:
        raise kind(f"after {seconds:g} s") from None


def _tls_name(host: str) -> str:
    """Return the name that a certificate bears: DNS takes `host.`, with a dot at its end, certificates do not."""
    return host.rstrip(".")
