"""Send an envelope and read its response, over any httpx transport. Failures become errors of ours (`error_mapping`).

response = await Sender(transport).send(url, headers, body, state)
while (chunk := await response.read()) is not None: ...
await response.aclose()
"""

import contextlib
import functools
import re
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Mapping
from typing import Any, Final, Literal, Protocol, cast, runtime_checkable

import httpx

from soapbatch.errors import ClientClosed, ProtocolError, UsageError, clean_traceback
from soapbatch.system import run_to_completion
from soapbatch.transport.error_mapping import stale_response, transport_error
from soapbatch.transport.pool import ConnectionPool, PooledStream
from soapbatch.transport.send_state import EXTENSION, SendState, Trace

# RFC 9110, sections 5.1 and 5.5, without the obsolete bytes above ASCII.
_NAME: Final = re.compile(r"[-!#$%&'*+.^_`|~0-9A-Za-z]+")
_VALUE: Final = re.compile(r"(?:[!-~](?:[ -~\t]*[!-~])?)?")


# HTTP statuses with which SOAP stacks send faults.
_MAY_HOLD_A_FAULT: Final = frozenset({400, 500})


class Sender:
    """Sends envelopes through an `httpx.AsyncBaseTransport`."""

    def __init__(self, transport: httpx.AsyncBaseTransport) -> None:
        """Send through `transport`."""
        self._transport = transport
        self._url = functools.lru_cache(maxsize=64)(_parse_url)
        # Hosts for which the transport has reported trace events. A request to any other host counts as sent as soon as
        # the transport has it.
        self._traced: set[str] = set()
        self._answered: set[str] = set()  # hosts that have sent a response

    async def send(
        self,
        url: str,
        headers: list[tuple[bytes, bytes]],
        body: bytes,
        state: SendState,
        *,
        method: Literal["GET", "POST"] = "POST",
    ) -> "HttpResponse":
        """Send one request and return its response, whose body is still to be read. The caller closes it.

        Redirects are not followed. Cancelling leaves nothing behind.

        Args:
            url: absolute, http or https.
            headers: of the request, as `merged_headers` returns them. Host is added, unless it is among them.
            body: the envelope.
            state: of the request; transports that know it keep it true.
            method: of HTTP.

        Raises:
            ConnectFailed: nothing was sent.
            ConnectionLost: the connection broke after a byte may have left.
            DeadlineExceeded: a timeout of the transport's own ran out.
            ProtocolError: the answer is not HTTP.
            UsageError: a URL or a header that cannot be sent.
        """
        handled = sys.exception()
        trace = Trace(state)
        lengths = [(b"Content-Length", b"%d" % len(body))] if method == "POST" else []
        host = ""
        try:
            target = self._url(url)
            host = target.netloc.decode("ascii")
            if all(name.lower() != b"host" for name, _ in headers):
                headers = [(b"Host", target.netloc), *headers]
            if host not in self._traced:
                state.phase, state.sent = "waiting", True
            response = await self._transport.handle_async_request(
                httpx.Request(
                    method,
                    target,
                    headers=[*headers, *lengths],
                    stream=httpx.ByteStream(body),
                    extensions={EXTENSION: state, "trace": trace},
                )
            )
        except Exception as error:  # noqa: BLE001 - whatever a foreign transport raises becomes ours
            failure = transport_error(
                error,
                phase=state.phase,
                is_sent=state.sent,
                url=url,
                has_answered=host in self._answered,
                handled=handled,
            )
            if trace.is_reused and type(failure) is ProtocolError:
                failure = stale_response(url)  # the head is the rest of an earlier answer
        else:
            self._answered.add(host)
            state.phase = "reading"
            received = HttpResponse(response, state, url)
            if not trace.is_stale:
                return received
            await received.aclose()
            failure = stale_response(url)
        finally:
            if trace.is_used:
                self._traced.add(host)
        del headers, body  # tracebacks may show locals
        with clean_traceback():  # the frames of a transport hold the envelope
            raise failure

    def proxy_for(self, url: str) -> str | None:
        """Return the host of the proxy that a request to `url` would go through; None: there is none, or it is unknown.

        Only transports of this library say it: an `httpx.AsyncClient` does not.
        """
        with contextlib.suppress(httpx.InvalidURL, UnicodeError):  # `send` refuses such a URL, and says why
            return proxy_through(self._transport, url)
        return None

    async def aclose(self) -> None:
        """Close the transport, unless it is a pool that belongs to a block of its own."""
        if isinstance(self._transport, ConnectionPool):
            await self._transport.aclose_with_client()
        else:
            await self._transport.aclose()


class HttpResponse:
    """The head of a response, and its body as it arrives.

    Attributes:
        status: of HTTP.
        headers: by name, in any case; several of one name are joined by a comma.
    """

    def __init__(self, response: httpx.Response, state: SendState, url: str) -> None:
        """Wrap `response`, whose body is still to be read."""
        self._response = response
        self._pieces: AsyncIterator[bytes] | None = None
        self._state = state
        self._url = url
        self._is_closed = False
        self.status = response.status_code
        response.headers.encoding = "iso-8859-1"  # as HTTP says; httpx would guess
        self.headers: Mapping[str, str] = response.headers

    async def read(self) -> bytes | None:
        """Return the next piece of the body as it was sent, encoded as `Content-Encoding` says; None at the end.

        Raises:
            ConnectionLost: the connection broke before the end.
        """
        handled = sys.exception()
        try:
            if self._pieces is None:
                self._pieces = aiter(cast("httpx.AsyncByteStream", self._response.stream))
            return await anext(self._pieces)
        except StopAsyncIteration:
            return None
        except Exception as error:  # noqa: BLE001 - whatever a foreign transport raises becomes ours
            state = self._state
            failure = transport_error(error, phase=state.phase, is_sent=state.sent, url=self._url, handled=handled)
        with clean_traceback():
            raise failure

    async def aclose(self) -> None:
        """Give the connection back, or close it when the body was not read to its end. Idempotent.

        A cancellation while it runs is raised after it is done.
        """
        if self._is_closed:
            return
        self._is_closed = True
        stream = self._response.stream
        if isinstance(stream, PooledStream):
            await stream.aclose()  # it is finished whatever is cancelled
        else:
            await run_to_completion(_close(self._pieces, cast("httpx.AsyncByteStream", stream)))


def proxy_through(transport: httpx.AsyncBaseTransport, url: str) -> str | None:
    """Return what `Sender.proxy_for` says of a transport."""
    ask: Callable[[str], str | None] | None = getattr(transport, "proxy_for", None)
    return None if ask is None else ask(url)


async def _close(pieces: AsyncIterator[bytes] | None, stream: httpx.AsyncByteStream) -> None:
    with contextlib.suppress(Exception):  # the connection is gone either way
        if isinstance(pieces, AsyncGenerator):  # without this, the garbage collector would close it
            await pieces.aclose()
    with contextlib.suppress(Exception):
        await stream.aclose()


def _parse_url(url: str) -> httpx.URL:
    try:
        return httpx.URL(url)
    except UnicodeError:  # a lone surrogate
        raise httpx.InvalidURL("not text") from None


@runtime_checkable
class HttpClient(Protocol):
    """What `http_client=` needs of a client: `httpx.AsyncClient` and `httpx2.AsyncClient` have it."""

    @property
    def is_closed(self) -> bool:
        """Whether it was closed."""
        ...

    @property
    def build_request(self) -> Callable[..., Any]:
        """A method that returns a request with the client's own headers, cookies and timeouts."""
        ...

    @property
    def send(self) -> Callable[..., Awaitable[Any]]:
        """A method that sends a request and returns its response."""
        ...


class ClientTransport(httpx.AsyncBaseTransport):
    """Sends through an `httpx.AsyncClient`, or httpx2's, whose owner closes it.

    The client's timeouts, headers, cookies, authentication, proxies, mounts and hooks hold; redirects are not followed,
    whatever the client says. httpx shares its connections through a pool that a cancelled request can spoil (httpx
    0.28.1 with httpcore 1.0.9: later calls end in PoolTimeout) and that is slow with many callers at a time.
    `ConnectionPool` has neither fault.
    """

    def __init__(self, client: HttpClient) -> None:
        """Send through `client`."""
        self._client = client

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send `request` as one of the client's own.

        Raises:
            ClientClosed: the client is closed.
        """
        if self._client.is_closed:
            raise ClientClosed("the HTTP client that was handed in is closed; keep it open while this client is used")
        foreign = self._client.build_request(
            request.method,
            str(request.url),
            content=b"".join([part async for part in cast("httpx.AsyncByteStream", request.stream)]),
            headers=request.headers.raw,
            extensions=dict(request.extensions),
        )
        try:
            response = await self._client.send(foreign, stream=True, follow_redirects=False)
        except Exception as error:
            response = _response_of(error)
            if response is None:
                raise
        headers, stream = response.headers.raw, response.stream
        if response.is_stream_consumed:  # by a hook of the client
            headers = [(name, value) for name, value in headers if name.lower() != b"content-encoding"]
            try:
                stream = httpx.ByteStream(response.content)
            except Exception:  # ResponseNotRead: a hook has read the body without keeping it
                await run_to_completion(response.aclose())
                raise
        return httpx.Response(response.status_code, headers=headers, stream=_Foreign(response, stream))

    async def aclose(self) -> None:
        """Do nothing: the owner of the client closes it."""


def _response_of(error: Exception) -> Any:
    """Return the response of an HTTPStatusError that a hook of the client has raised; None: it is another error.

    httpx closes the response then: its body can be read only if the hook has read it.

    Raises:
        UsageError: the body is lost, and HTTP 400 and 500 mean nothing without it: it may hold a SOAP fault.
    """
    is_for_status = any(kind.__name__ == "HTTPStatusError" for kind in type(error).__mro__)
    response = getattr(error, "response", None) if is_for_status else None
    if response is None or response.is_stream_consumed:
        return response
    if response.status_code in _MAY_HOLD_A_FAULT:
        raise UsageError(
            f"HTTP {response.status_code}, and a response hook of http_client= raised for the status, which hides the "
            "SOAP fault in the body: take the hook out, or let it read the response before (await response.aread())",
            applied="unknown",
        )
    response.stream = httpx.ByteStream(b"")
    return response


class _Foreign(httpx.AsyncByteStream):
    """The body of a foreign client's response."""

    def __init__(self, response: Any, stream: Any) -> None:
        self._response = response
        self._stream = stream

    def __aiter__(self) -> AsyncIterator[bytes]:
        return aiter(self._stream)

    async def aclose(self) -> None:
        await self._response.aclose()


def merged_headers(own: Mapping[str, str], *extras: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """Return the headers of a request, encoded: `own`, and those of `extras` that do not name the same, in any case.

    Of several that name the same, the first one is sent. Gzip is accepted, unless `extras` say what is. The sender
    knows how long the body is: a Content-Length and a Transfer-Encoding in `extras` are left out.

    Raises:
        UsageError: one of `extras` is no mapping, or holds a name or a value that HTTP cannot carry.
    """
    headers = [(name.encode(), value.encode()) for name, value in own.items()]
    names = {name.lower() for name, _ in headers} | {b"content-length", b"transfer-encoding"}
    for extra in extras:
        if not isinstance(extra, Mapping):
            raise UsageError(f"the headers of Hooks are a mapping of names to values, not {type(extra).__name__}")
        for name, value in _checked_headers(extra):
            if name.lower() not in names:
                names.add(name.lower())
                headers.append((name, value))
    if b"accept-encoding" not in names:
        headers.append((b"Accept-Encoding", b"gzip"))
    return headers


def _checked_headers(extra: Mapping[str, str]) -> Iterator[tuple[bytes, bytes]]:
    for name, value in extra.items():
        if not (isinstance(name, str) and _NAME.fullmatch(name)):
            raise UsageError(f"a header cannot be named {name!r}: a name is ASCII letters, digits and hyphens")
        if not (isinstance(value, str) and _VALUE.fullmatch(value)):
            raise UsageError(
                f"the value of the header {name!r} cannot be sent: it must be ASCII text without line breaks "
                "and other control characters, and without a space at either end"
            )
        yield name.encode(), value.encode()
