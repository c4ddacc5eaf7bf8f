"""How far a request has come. The transport writes it; the call reads it when something ends the call.

A request carries its `SendState` in `httpx.Request.extensions`. `ConnectionPool` writes it. Other transports do not
know it: where they report httpcore's trace events, `Trace` writes it from those; where they report nothing, a request
that was handed over counts as sent.
"""

import asyncio
import math
from collections.abc import Mapping
from typing import Any, Final

import attrs

from soapbatch.errors import Applied

EXTENSION: Final = "soapbatch.send_state"
"""The key of a request's SendState in `httpx.Request.extensions`."""


@attrs.define
class SendState:
    """How far a request has come.

    Attributes:
        phase: what the request is doing, in the words of `errors.DeadlineExceeded`.
        sent: whether a byte of the request may have left.
        max_idle: seconds that a connection may have been idle before it carries the request. A server that closes an
            idle connection may do so while the request is on its way: then nobody knows whether it was applied.
    """

    phase: str = "queueing"
    sent: bool = False
    max_idle: float = math.inf

    @property
    def applied(self) -> Applied:
        """May the server have done it: "no" until a byte may have left, then "unknown"."""
        return "unknown" if self.sent else "no"


class Trace:
    """Keeps a SendState true by httpcore's trace events (the httpx extension `trace`).

    Attributes:
        is_used: whether an event was reported: a transport that is not httpcore's reports none.
        is_reused: whether the request went over a connection that had served another one.
        is_stale: whether the answer was there before the request was sent, so that it answers an earlier request.
    """

    __slots__ = ("_has_yielded", "_is_sent", "_is_tunnel", "_state", "is_reused", "is_stale", "is_used")

    def __init__(self, state: SendState) -> None:
        """Write to `state`."""
        self._state = state
        self._is_sent = False
        self._is_tunnel = False
        self._has_yielded = True
        self.is_used = False
        self.is_reused = False
        self.is_stale = False

    async def __call__(self, event: str, info: Mapping[str, Any]) -> None:
        """Take note of one event."""
        if not self.is_used:
            self.is_used, self.is_reused = True, ".connect_" not in event
        protocol, _, step = event.partition(".")
        state = self._state
        if step == "send_request_headers.started":
            # A CONNECT request to a proxy precedes the caller's request.
            self._is_tunnel = info["request"].method == b"CONNECT"
            if not self._is_tunnel:
                self._is_sent = state.sent = True
                state.phase = "sending"
        elif step in {"connect_tcp.started", "connect_unix_socket.started"}:
            state.phase = "connecting"
            state.sent = self._is_sent
        elif self._is_tunnel:
            pass
        elif step == "receive_response_headers.started":
            state.phase = "waiting"
            self._has_yielded = protocol != "http11"
            asyncio.get_running_loop().call_soon(self._yielded)
        elif step == "receive_response_headers.complete":
            state.phase = "reading"
            # Bytes that arrive over a socket take at least one turn of the event loop. Bytes that take none were left
            # in a buffer by an earlier exchange: the server has answered that one twice.
            self.is_stale = not self._has_yielded

    def _yielded(self) -> None:
        """Take note that the event loop has turned while the answer was awaited."""
        self._has_yielded = True
