"""The seam between soapbatch and HTTP: a request in; a status, headers and a stream of bytes out.

`Transport` is the port. `lanes.ConnectionPool` is the default behind it, `ClientTransport` adapts a handed-in
`httpx.AsyncClient`. Everything that the HTTP stack raises becomes one of our errors in `failures`.
"""

import asyncio
import contextlib
import functools
import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Mapping
from typing import Any, Final, Protocol, cast

import attrs
import httpx

from soapbatch.errors import Applied, ClientClosed, ProtocolError, UsageError
from soapbatch.model import MASK, Limits
from soapbatch.system import retrieve_exception, wait_until_done
from soapbatch.transport.decompression import decompressed
from soapbatch.transport.error_mapping import place, stale_answer, transport_error

_LINE_BREAK: Final = re.compile(r"[\r\n\0]")


@attrs.frozen(kw_only=True)
class HttpRequest:
    """One POST. The repr shows neither the body nor the values of headers.

    Attributes:
        url: absolute, `http` or `https`.
        headers: sent as they are; `Host`, `Content-Length` and `Accept-Encoding` are added.
        body: the envelope.
    """

    url: str
    headers: Mapping[str, str] = attrs.field(repr=lambda headers: repr(sorted(headers)))
    body: bytes = attrs.field(repr=lambda _: MASK)


@attrs.define
class Progress:
    """How far a request has come; the transport writes it, the caller reads it when something ends the call.

    Attributes:
        phase: "queueing", "connecting", "sending", "waiting" or "reading".
        sent: whether a byte of the request may have left.
    """

    phase: str = "queueing"
    sent: bool = False

    @property
    def applied(self) -> Applied:
        """May the server have done it: "no" until a byte may have left, then "unknown"."""
        return "unknown" if self.sent else "no"


class HttpReply(Protocol):
    """The head of an answer, and its body as it arrives."""

    @property
    def status(self) -> int:
        """The HTTP status."""
        ...

    @property
    def headers(self) -> Mapping[str, str]:
        """The headers, by lower-case name."""
        ...

    def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body once, as it arrives, still encoded as `Content-Encoding` says.

        Raises:
            ConnectionLost: it broke before its end.
        """
        ...

    async def aclose(self) -> None:
        """Give the connection back, or close it when the body was not read to its end.

        Idempotent. A cancellation while it runs is raised after it is done.
        """
        ...


class Transport(Protocol):
    """What carries requests: the port that `Client` sends through."""

    async def send(self, request: HttpRequest, progress: Progress) -> HttpReply:
        """Send `request` once and return the head of the answer; close the reply in a `finally`.

        Redirects are not followed. Cancelling leaves nothing behind.

        Raises:
            ConnectFailed: nothing was sent.
            ConnectionLost: it broke after a byte may have left.
            DeadlineExceeded: a timeout of the transport's own ran out.
            ClientClosed: the transport was closed.
        """
        ...

    async def aclose(self) -> None:
        """Close what this transport owns. Idempotent."""
        ...


async def decoded(reply: HttpReply, limits: Limits) -> AsyncGenerator[bytes, None]:
    """Yield the body decoded as `Content-Encoding` says, in pieces of at most 64 KiB.

    Raises:
        UnreadableResponse: an encoding other than gzip and deflate; compressed data that is broken, cut short,
            or followed by something else.
        LimitExceeded: more than 1 MiB, and more than `limits.expansion` times the compressed size.
    """
    encoding = reply.headers.get("content-encoding", "")
    try:
        async with contextlib.aclosing(decompressed(reply.chunks(), encoding, limits)) as pieces:
            async for piece in pieces:
                yield piece
                del piece  # an error that is raised later shows no part of the answer in its frames
    except ProtocolError as error:
        error.status = reply.status
        raise


class Trace:
    """What httpcore calls on each step of a request (the httpx extension `trace`); it keeps `Progress` true.

    Attributes:
        is_used: whether anything was reported: a transport other than httpx's own reports nothing.
        is_stale: whether the answer was there before the question could be asked: it answers an earlier one.
    """

    __slots__ = ("_connected", "_has_yielded", "_is_sent", "_is_tunnel", "_progress", "is_stale", "is_used")

    def __init__(self, progress: Progress, connected: Callable[[Any], None] | None = None) -> None:
        """Write to `progress`; call `connected` with httpcore's stream when a socket is connected."""
        self._progress = progress
        self._connected = connected
        self._is_sent = False
        self._is_tunnel = False
        self._has_yielded = True
        self.is_used = False
        self.is_stale = False

    async def __call__(self, event: str, info: Mapping[str, Any]) -> None:
        """Take note of one step."""
        self.is_used = True
        protocol, _, step = event.partition(".")
        progress = self._progress
        if step == "send_request_headers.started":
            # A CONNECT through a proxy goes ahead of the request and is not it.
            self._is_tunnel = info["request"].method == b"CONNECT"
            if not self._is_tunnel:
                self._is_sent = progress.sent = True
                progress.phase = "sending"
        elif step in {"connect_tcp.started", "connect_unix_socket.started"}:
            progress.phase = "connecting"
            progress.sent = self._is_sent
        elif step == "connect_tcp.complete":
            if self._connected:
                self._connected(info["return_value"])
        elif self._is_tunnel:
            pass
        elif step == "receive_response_headers.started":
            progress.phase = "waiting"
            self._has_yielded = protocol != "http11"
            asyncio.get_running_loop().call_soon(self._yielded)
        elif step == "receive_response_headers.complete":
            progress.phase = "reading"
            # Bytes that come over the socket take at least one turn of the loop. What takes none was left over
            # in a buffer by an earlier exchange: the server sent more than one answer to it.
            self.is_stale = not self._has_yielded

    def _yielded(self) -> None:
        """Take note that the loop has turned while the answer was awaited."""
        self._has_yielded = True


def httpx_headers(request: HttpRequest) -> dict[str, str]:
    """Return the headers of `request`, and that gzip is understood unless they say what is.

    Raises:
        UsageError: a value with a line break, which would start another header.
    """
    if broken := [name for name, value in request.headers.items() if _LINE_BREAK.search(value)]:
        raise UsageError(f"the value of the header {broken[0]!r} has a line break or a NUL in it; take it out")
    headers = dict(request.headers)
    if "accept-encoding" not in map(str.lower, headers):
        headers["Accept-Encoding"] = "gzip"
    return headers


class Pieces(Protocol):
    """A body as httpx and httpcore have it."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Return what yields it."""
        ...

    async def aclose(self) -> None:
        """Give the connection back, or close it."""
        ...


class Body:
    """A raw body, once, as it arrives; its errors are ours.

    An iterator and not a generator, so that nothing has to be finalized when it is left before its end.

    Attributes:
        pieces: what httpx gives.
        is_complete: whether it was read to its end.
    """

    def __init__(self, stream: Pieces, progress: Progress, url: str) -> None:
        """Prepare to read `stream`; `url` is for messages."""
        self._stream = stream
        self.pieces = aiter(stream)
        self._progress = progress
        self._url = url
        self.is_complete = False

    def __aiter__(self) -> "Body":
        """Return itself."""
        return self

    async def __anext__(self) -> bytes:
        """Return the next piece."""
        try:
            return await anext(self.pieces)
        except StopAsyncIteration:
            self.is_complete = True
            raise
        except Exception as error:  # noqa: BLE001 - whatever a foreign stack raises becomes ours
            progress = self._progress
            failure = transport_error(error, phase=progress.phase, is_sent=progress.sent, url=self._url)
        raise failure

    async def aclose(self) -> None:
        """Give the connection back to httpcore."""
        await self._stream.aclose()

    async def unwind(self) -> None:
        """Let httpcore's nested generators come to their end, once the socket is closed: reading fails then."""
        with contextlib.suppress(Exception):
            async for _ in self.pieces:
                pass


async def finished(work: Coroutine[Any, Any, None]) -> None:
    """Run `work`, which closes something, to its end; a cancellation that comes meanwhile is raised after it.

    What goes wrong while closing is not reported: the connection is gone either way.
    """
    task = asyncio.ensure_future(work)
    try:
        await wait_until_done(task)
    finally:
        retrieve_exception(task)


class ClientTransport:
    """Sends through an `httpx.AsyncClient` that somebody else made, and closes.

    Its timeouts, headers, cookies, authentication, proxies, mounts and hooks are its owner's and hold;
    redirects are not followed, whatever it says. httpx shares its connections through a pool that a cancelled
    request can spoil (httpx 0.28.1 with httpcore 1.0.9: later calls end in PoolTimeout) and that is slow with many
    callers at a time: the default transport has neither fault.
    """

    def __init__(self, client: httpx.AsyncClient) -> None:
        """Send through `client`."""
        self._client = client
        self._place = functools.lru_cache(maxsize=64)(place)
        # Hosts whose requests httpcore reports on. Of others it is only known that they were handed over.
        self._traced: set[str] = set()

    async def send(self, request: HttpRequest, progress: Progress) -> "ClientReply":
        """Send `request` once; see `Transport.send`."""
        if self._client.is_closed:
            raise ClientClosed(
                "the httpx.AsyncClient that was handed in is closed; keep it open while this client is used"
            )
        where = self._place(request.url)
        trace = Trace(progress)
        if where not in self._traced:
            progress.phase, progress.sent = "waiting", True
        try:
            response = await self._client.send(
                self._client.build_request(
                    "POST",
                    request.url,
                    content=request.body,
                    headers=httpx_headers(request),
                    extensions={"trace": trace},
                ),
                stream=True,
                follow_redirects=False,
            )
        except Exception as error:  # noqa: BLE001 - whatever a foreign stack raises becomes ours
            failure = transport_error(error, phase=progress.phase, is_sent=progress.sent, url=request.url)
        else:
            progress.phase = "reading"
            reply = ClientReply(response, progress, request.url)
            if not trace.is_stale:
                return reply
            await reply.aclose()
            failure = stale_answer(request.url)
        finally:
            if trace.is_used:
                self._traced.add(where)
        raise failure

    async def aclose(self) -> None:
        """Do nothing: the client is closed by whoever made it."""


class ClientReply:
    """An answer that came through an `httpx.AsyncClient`; see `HttpReply`."""

    def __init__(self, response: httpx.Response, progress: Progress, url: str) -> None:
        """Wrap `response`, whose body is still to be read unless a hook of the client has read it."""
        self._response = response
        self._body = Body(cast("httpx.AsyncByteStream", response.stream), progress, url)
        self._is_closed = False
        self.status = response.status_code
        self.headers: Mapping[str, str] = response.headers
        if response.is_stream_consumed:
            self._body.pieces = _only(response.content)
            self.headers = {name: value for name, value in response.headers.items() if name != "content-encoding"}

    @property
    def is_complete(self) -> bool:
        """Whether the body was read to its end."""
        return self._body.is_complete

    def chunks(self) -> AsyncIterator[bytes]:
        """Return the body; see `HttpReply.chunks`."""
        return self._body

    async def aclose(self) -> None:
        """Give the connection back, or close it; see `HttpReply.aclose`."""
        if not self._is_closed:
            self._is_closed = True
            await finished(self._response.aclose())


async def _only(content: bytes) -> AsyncGenerator[bytes, None]:
    """Yield a body that is there already."""
    yield content
