"""One connection, as httpcore wants it to be: a socket of asyncio's, with TLS or without.

httpcore speaks HTTP over any stream. Its own goes through anyio and costs twice as much; and this one knows what only
a socket knows: whether a byte of a request has left, and whether something came before it was asked for.
"""

import asyncio
import errno
import select
import ssl
import sys
from collections import deque
from typing import Any, Final, cast

import httpcore

from soapbatch.transport.happy_eyeballs import dial
from soapbatch.transport.sending import Progress

_TOO_MUCH: Final = 256 * 1024  # bytes that have been received and not read
_PIECE: Final = 256 * 1024  # bytes that are sent at once, and encrypted in about a millisecond


class Wire(httpcore.AsyncNetworkStream, asyncio.Protocol):
    """A connection that serves one request after the other. Cancelling any of its awaits leaves it to be closed.

    Attributes:
        progress: of the request that is on its way.
    """

    def __init__(self) -> None:
        """Connect to nothing yet."""
        self.progress = Progress()
        self._is_used = False
        self._is_cut = False
        self._is_paused = False
        self._transport: asyncio.Transport | None = None
        self._unsent: list[bytes] = []
        self._received: deque[bytes] = deque()
        self._size = 0
        self._is_over = False
        self._error: Exception | None = None
        self._news: asyncio.Future[None] | None = None

    async def connect(self, host: str, port: int, context: ssl.SSLContext | None) -> None:
        """Connect; speak TLS if there is a `context`. Raises httpcore.ConnectError."""
        self.progress.phase = "connecting"
        name = None
        if context is not None:
            context.set_alpn_protocols(["http/1.1"])  # it may be somebody's who also speaks HTTP/2
            name = host
        try:
            sock = await dial(host, port)
            await asyncio.get_running_loop().create_connection(
                lambda: self, sock=sock, ssl=context, server_hostname=name
            )
        except ConnectionResetError as error:  # once there is a connection, that is all that asyncio says
            broken = error if context is None else ssl.SSLError(errno.ECONNRESET, "closed during the handshake")
            raise httpcore.ConnectError(str(broken)) from broken
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error

    # --- What httpcore asks for ---------------------------------------------------------------------------------

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Keep what is to be sent: httpcore writes head and body apart, and they go out as one when it reads."""
        del timeout
        if buffer:
            self._unsent.append(buffer)

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Return what has been received, as soon as there is anything; b"" at its end. Raises httpcore.ReadError."""
        del timeout
        if self._unsent:
            await self._send()
        while not self._received and not self._is_over:
            await self._wait()
        if self._received:
            return self._take(max_bytes)
        if self._error is not None:
            raise httpcore.ReadError(str(self._error)) from self._error
        return b""

    def is_sending(self) -> bool:
        """Return whether some of a request has not left, although it was answered."""
        assert self._transport is not None  # noqa: S101 - it is connected
        return self._is_cut or self._is_paused or self._transport.get_write_buffer_size() > 0

    async def aclose(self) -> None:
        """Close the socket at once: nothing is left in it that anybody waits for."""
        if self._transport is not None:
            self._transport.abort()
            await asyncio.sleep(0)  # in the next turn it is closed

    def get_extra_info(self, info: str) -> Any:
        """Return what httpcore wants to know: `is_readable` while idle means that the connection is of no more use."""
        assert self._transport is not None  # noqa: S101 - it is connected
        if info != "is_readable":
            return self._transport.get_extra_info(info)
        return bool(self._received) or self._is_over or _is_readable(self._transport)

    # --- What asyncio tells -------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._transport = cast("asyncio.Transport", transport)

    def pause_writing(self) -> None:
        """Take note that the network is slower than we."""
        self._is_paused = True

    def resume_writing(self) -> None:
        """Take note that more may be sent."""
        self._is_paused = False
        self._tell()

    def data_received(self, data: bytes) -> None:
        """Keep what came, and stop reading if it is too much."""
        self._received.append(data)
        self._size += len(data)
        if self._size > _TOO_MUCH and self._transport is not None:
            self._transport.pause_reading()
        self._tell()

    def eof_received(self) -> None:
        """Take note that nothing more comes; asyncio closes the connection then."""
        self._is_over = True
        self._tell()

    def connection_lost(self, exc: Exception | None) -> None:
        """Take note that the connection is gone."""
        self._is_over = True
        self._error = self._error or exc
        self._tell()

    # --- Inside -------------------------------------------------------------------------------------------------

    async def _send(self) -> None:
        """Send the request, piece by piece: encrypting all of a large one at once would stall the loop."""
        request, self._unsent = memoryview(b"".join(self._unsent)), []
        assert self._transport is not None  # noqa: S101 - it is connected
        # On a new TLS connection, readable means no more than that the server has sent session tickets.
        if self._received or self._is_over or (self._is_used and _is_readable(self._transport)):
            gone = ConnectionResetError(errno.ECONNRESET, "the server closed it, or said something unasked")
            raise httpcore.ConnectError(str(gone)) from gone
        self._is_used = True
        self.progress.phase = "sending"
        self.progress.sent = True
        while request and not self._received and not self._is_over:
            self._transport.write(request[:_PIECE])
            request = request[_PIECE:]
            while self._is_paused and not self._received and not self._is_over:
                await self._wait()
        self._is_cut = bool(request)
        self.progress.phase = "waiting"

    async def _wait(self) -> None:
        """Wait until asyncio tells anything."""
        self._news = asyncio.get_running_loop().create_future()
        try:
            await self._news
        finally:
            self._news = None

    def _take(self, max_bytes: int) -> bytes:
        data = self._received.popleft()
        if len(data) > max_bytes:
            self._received.appendleft(data[max_bytes:])
            data = data[:max_bytes]
        if self._size > _TOO_MUCH >= self._size - len(data) and self._transport is not None:
            self._transport.resume_reading()
        self._size -= len(data)
        return data

    def _tell(self) -> None:
        if self._news is not None and not self._news.done():
            self._news.set_result(None)


def _is_readable(transport: asyncio.Transport) -> bool:
    """Return whether something came that the event loop has not looked at yet."""
    sock = transport.get_extra_info("socket")
    if sys.platform == "win32":  # pragma: no cover - tested elsewhere
        return bool(select.select([sock], [], [], 0)[0])
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))
