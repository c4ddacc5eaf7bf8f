"""One connection, as httpcore wants it to be: a socket of asyncio's, with TLS or without.

httpcore speaks HTTP over any stream. Its own goes through anyio and costs twice as much; and this one knows what only
a socket knows: whether a byte of a request has left, and whether an answer was there before its question.
"""

import asyncio
import selectors
import ssl
from collections import deque
from typing import Any, Final, cast

import httpcore

from soapbatch.dialing import dial
from soapbatch.transport import Progress

_TOO_MUCH: Final = 256 * 1024  # bytes that have been received and not read


class Wire(httpcore.AsyncNetworkStream, asyncio.Protocol):
    """A connection that serves one request after the other. Cancelling any of its awaits leaves it to be closed.

    Attributes:
        progress: of the request that is on its way.
        is_stale: whether the answer was there before the request was sent: it answers an earlier one.
    """

    def __init__(self) -> None:
        """Connect to nothing yet."""
        self.progress = Progress()
        self.is_stale = False
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
        try:
            sock = await dial(host, port)
            name = None if context is None else host
            await asyncio.get_running_loop().create_connection(
                lambda: self, sock=sock, ssl=context, server_hostname=name
            )
        except OSError as error:
            raise httpcore.ConnectError(str(error)) from error

    def begin(self, progress: Progress) -> None:
        """Take note that a request begins."""
        self.progress = progress
        self.is_stale = True  # until it is sent

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
            self._send()
        while not self._received and not self._is_over:
            self._news = asyncio.get_running_loop().create_future()
            try:
                await self._news
            finally:
                self._news = None
        if self._received:
            return self._take(max_bytes)
        if self._error is not None:
            raise httpcore.ReadError(str(self._error)) from self._error
        return b""

    async def aclose(self) -> None:
        """Close the socket at once: nothing is left in it that anybody waits for."""
        if self._transport is not None:
            self._transport.abort()
            await asyncio.sleep(0)  # in the next turn it is closed

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 - httpcore's own
        """Return what httpcore wants to know: `is_readable` while idle means that the connection is of no more use."""
        assert self._transport is not None  # noqa: S101 - it is connected
        if info != "is_readable":
            return self._transport.get_extra_info(info)
        return bool(self._received) or self._is_over or _is_readable(self._transport)

    # --- What asyncio tells -------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=0)  # so that resume_writing says when all has left

    def resume_writing(self) -> None:
        """Take note that the request has left as a whole."""
        if self.progress.phase == "sending":
            self.progress.phase = "waiting"

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

    def _send(self) -> None:
        request, self._unsent = b"".join(self._unsent), []
        self.is_stale = bool(self._received)
        self.progress.phase = "sending"
        self.progress.sent = True
        if self._transport is not None and not self._is_over:
            self._transport.write(request)
            if self._transport.get_write_buffer_size():
                return
        self.progress.phase = "waiting"

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
    with selectors.DefaultSelector() as selector:
        selector.register(transport.get_extra_info("socket"), selectors.EVENT_READ)
        return bool(selector.select(0))
