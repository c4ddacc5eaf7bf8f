"""The transports around others: shared ones, and one that leads everything to one server."""

from typing import Any

import httpx
import pytest

from soapbatch import ConnectionPool, UsageError
from soapbatch.transport import ClientTransport, ForwardingTransport, SharedTransport, choose_transport


class Recording(httpx.AsyncBaseTransport):
    """Keeps what it is sent.

    Attributes:
        requests: the requests.
        closed: how often it was closed.
    """

    def __init__(self) -> None:
        """Begin with none."""
        self.requests: list[httpx.Request] = []
        self.closed = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Keep a request."""
        self.requests.append(request)
        return httpx.Response(200)

    async def aclose(self) -> None:
        """Count."""
        self.closed += 1


async def test_a_shared_transport_stays_open() -> None:
    """Or something else is done in place of closing it."""
    inner = Recording()
    request = httpx.Request("POST", "https://a.example")
    for shared in (SharedTransport(inner), SharedTransport(inner, inner.aclose)):
        assert (await shared.handle_async_request(request)).status_code == 200
        await shared.aclose()
    assert (inner.requests, inner.closed) == ([request, request], 1)


async def test_everything_goes_to_one_server() -> None:
    """The Host header and the path stay."""
    inner = Recording()
    forwarding = ForwardingTransport("http://127.0.0.1:8080", inner)
    request = httpx.Request("POST", "https://sod2.superoffice.com/Cust1/x?y=1", content=b"body", extensions={"a": 1})
    await forwarding.handle_async_request(request)
    await forwarding.aclose()
    sent = inner.requests[0]
    assert (str(sent.url), sent.headers["host"]) == ("http://127.0.0.1:8080/Cust1/x?y=1", "sod2.superoffice.com")
    assert (sent.method, await sent.aread(), sent.extensions, inner.closed) == ("POST", b"body", {"a": 1}, 1)
    assert isinstance(ForwardingTransport("http://127.0.0.1:1")._transport, ConnectionPool)


def test_the_transport_that_is_chosen() -> None:
    """The one that is given, one around a client, or a pool."""
    inner = Recording()
    client: Any = httpx.AsyncClient()
    assert choose_transport(inner) is inner
    assert isinstance(choose_transport(http_client=client), ClientTransport)
    assert isinstance(choose_transport(max_connections=3), ConnectionPool)
    with pytest.raises(UsageError, match="not both"):
        choose_transport(inner, client)
    with pytest.raises(UsageError, match="of the default transport"):
        choose_transport(inner, trust_env=False)
