"""The transport that a client or an app sends through, and transports around another one."""

import ssl
from collections.abc import Awaitable, Callable
from typing import Final

import httpx

from soapbatch.errors import UsageError
from soapbatch.model import Secret
from soapbatch.transport.pool import MAX_CONNECTIONS, ConnectionPool
from soapbatch.transport.sending import ClientTransport, HttpClient, proxy_through

_NOT_DEFAULT: Final = (
    "verify=, proxy=, trust_env= and max_connections= are of the default transport: give them to yours, "
    "for example transport=ConnectionPool(proxy=...)"
)


def choose_transport(
    transport: httpx.AsyncBaseTransport | None = None,
    http_client: HttpClient | None = None,
    *,
    verify: bool | ssl.SSLContext = True,
    proxy: str | Secret | httpx.Proxy | None = None,
    trust_env: bool = True,
    max_connections: int = MAX_CONNECTIONS,
) -> httpx.AsyncBaseTransport:
    """Return `transport`, or one that sends through `http_client`, or else a ConnectionPool with the other arguments.

    Raises:
        UsageError: the arguments contradict each other.
    """
    proxy = Secret.wrap(proxy)
    if transport is not None and http_client is not None:
        raise UsageError("pass transport= or http_client=, not both")
    if transport is None and http_client is None:
        return ConnectionPool(verify=verify, proxy=proxy, trust_env=trust_env, max_connections=max_connections)
    if (verify, proxy, trust_env, max_connections) != (True, None, True, MAX_CONNECTIONS):
        raise UsageError(_NOT_DEFAULT)
    return transport if http_client is None else ClientTransport(http_client)  # type: ignore[return-value] # one is there


class SharedTransport(httpx.AsyncBaseTransport):
    """Another transport, as several clients share it: closing a client does not close what the others use."""

    def __init__(
        self, transport: httpx.AsyncBaseTransport, on_close: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        """Send through `transport`. `on_close` is called in place of closing it."""
        self._transport = transport
        self._on_close = on_close

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send `request`."""
        return await self._transport.handle_async_request(request)

    def proxy_for(self, url: str) -> str | None:
        """Return what the other transport says; see `ConnectionPool.proxy_for`."""
        return proxy_through(self._transport, url)

    async def aclose(self) -> None:
        """Call `on_close`, if there is one."""
        if self._on_close is not None:
            await self._on_close()


class ForwardingTransport(httpx.AsyncBaseTransport):
    """Sends every request to one server, whatever host its URL names; the Host header still names that host.

    It is for tests: one embedded server on a loopback socket can be all the hosts of SuperOffice Online. Nothing is
    encrypted unless `base_url` says https.

        async with serve(online) as url, OnlineApp(..., transport=ForwardingTransport(url)) as app: ...
    """

    def __init__(self, base_url: str, transport: httpx.AsyncBaseTransport | None = None) -> None:
        """Send to `base_url`, for example "http://127.0.0.1:8080".

        Args:
            base_url: scheme, host and port. Paths are those of the requests.
            transport: what carries the requests, and is closed with this transport; None: a ConnectionPool that uses no
                proxy.
        """
        self._base_url = httpx.URL(base_url)
        self._transport = transport or ConnectionPool(trust_env=False)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send `request` to the one server."""
        base = self._base_url
        url = request.url.copy_with(scheme=base.scheme, host=base.host, port=base.port)
        return await self._transport.handle_async_request(
            httpx.Request(
                request.method,
                url,
                headers=request.headers.raw,
                stream=request.stream,
                extensions=request.extensions,
            )
        )

    async def aclose(self) -> None:
        """Close what carries the requests."""
        await self._transport.aclose()
