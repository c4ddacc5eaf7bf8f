"""How far a request has come: what may have been applied, and what httpcore's trace events say of it."""

import httpcore
import pytest

from soapbatch.transport import SendState
from soapbatch.transport.send_state import Trace


def test_it_says_what_may_have_been_applied() -> None:
    """Nothing was applied until a byte may have left."""
    state = SendState()
    assert (state.phase, state.applied) == ("queueing", "no")
    state.sent = True
    assert state.applied == "unknown"


async def test_a_connect_through_a_proxy_is_not_the_request() -> None:
    """Only what goes ahead to the proxy was sent: the request itself cannot have been applied."""
    state = SendState()
    trace = Trace(state)
    await trace("connection.connect_tcp.started", {})
    await trace("connection.connect_tcp.complete", {"return_value": object()})
    await trace("http11.send_request_headers.started", {"request": httpcore.Request("CONNECT", "http://h/")})
    await trace("http11.receive_response_headers.started", {})
    assert (state.phase, state.sent) == ("connecting", False)
    await trace("http11.send_request_headers.started", {"request": httpcore.Request("POST", "http://h/")})
    assert (state.phase, state.sent) == ("sending", True)
    await trace("connection.connect_tcp.started", {})
    assert state.sent
    await trace("http11.send_request_body.started", {})
    assert trace.is_used


async def test_http2_may_answer_at_once() -> None:
    """Over HTTP/2 another request may have read this one's answer already: that is not a stale one."""
    trace = Trace(SendState())
    await trace("http2.receive_response_headers.started", {})
    await trace("http2.receive_response_headers.complete", {})
    assert not trace.is_stale


@pytest.mark.parametrize("kind", ["tcp", "unix_socket"])
async def test_a_new_connection_has_sent_nothing(kind: str) -> None:
    """A request of which nothing was known is known to be unsent once a connection is made for it."""
    state = SendState("waiting", sent=True)
    await Trace(state)(f"connection.connect_{kind}.started", {})
    assert (state.phase, state.applied) == ("connecting", "no")


@pytest.mark.parametrize(
    ("first", "is_reused"),
    [
        ("connection.connect_tcp.started", False),
        ("socks.connect_tcp.started", False),
        ("connection.connect_unix_socket.started", False),
        ("http11.send_request_headers.started", True),
        ("http2.send_request_headers.started", True),
    ],
)
async def test_a_connection_that_served_before(first: str, is_reused: bool) -> None:  # noqa: FBT001 - a column
    """A request that begins without connecting goes over a connection that had served another."""
    trace = Trace(SendState())
    assert not trace.is_reused
    for event in (first, "http11.send_request_headers.started"):
        await trace(event, {"request": httpcore.Request("POST", "http://h/")})
        assert trace.is_reused == is_reused
